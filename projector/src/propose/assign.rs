//! The assignment: which pairs, each row and each column at most once, weigh the most together.
//!
//! Shortest augmenting paths with potentials (Kuhn 1955, Munkres 1957, in the form of Jonker and Volgenant 1987), n²·m steps
//! for n rows and m columns, n the smaller. Sixty lines of our own, because the crates that solve it want whole numbers as
//! weights, or bring a graph library along.

/// Returns the column of each row in an assignment of the greatest total weight. Weights are at least 0, and a pair of
/// weight 0 is as good as none: it is left out.
pub(super) fn assign(weights: &[Vec<f64>]) -> Vec<Option<usize>> {
    let rows = weights.len();
    let columns = weights.first().map_or(0, Vec::len);
    if rows > columns {
        let turned: Vec<Vec<f64>> = (0..columns).map(|c| weights.iter().map(|row| row[c]).collect()).collect();
        let mut assigned = vec![None; rows];
        for (column, row) in assign(&turned).into_iter().enumerate() {
            if let Some(row) = row {
                assigned[row] = Some(column);
            }
        }
        return assigned;
    }
    // Row and column 0 stand for nothing: rows and columns count from 1.
    let mut of_row = vec![0.0; rows + 1];
    let mut of_column = vec![0.0; columns + 1];
    let mut row_at = vec![0_usize; columns + 1];
    for row in 1..=rows {
        row_at[0] = row;
        let mut column = 0;
        let mut least = vec![f64::INFINITY; columns + 1];
        let mut before = vec![0_usize; columns + 1];
        let mut seen = vec![false; columns + 1];
        while row_at[column] != 0 {
            seen[column] = true;
            let from = row_at[column];
            let (mut step, mut next) = (f64::INFINITY, 0);
            for to in 1..=columns {
                if seen[to] {
                    continue;
                }
                let cost = -weights[from - 1][to - 1] - of_row[from] - of_column[to];
                if cost < least[to] {
                    least[to] = cost;
                    before[to] = column;
                }
                if least[to] < step {
                    step = least[to];
                    next = to;
                }
            }
            for to in 0..=columns {
                if seen[to] {
                    of_row[row_at[to]] += step;
                    of_column[to] -= step;
                } else {
                    least[to] -= step;
                }
            }
            column = next;
        }
        while column != 0 {
            row_at[column] = row_at[before[column]];
            column = before[column];
        }
    }
    let mut assigned = vec![None; rows];
    for column in 1..=columns {
        let row = row_at[column];
        if row != 0 && weights[row - 1][column - 1] > 0.0 {
            assigned[row - 1] = Some(column - 1);
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weight(weights: &[Vec<f64>], assigned: &[Option<usize>]) -> f64 {
        assigned.iter().zip(weights).filter_map(|(column, row)| column.map(|column| row[column])).sum()
    }

    fn best(weights: &[Vec<f64>], taken: u32) -> f64 {
        let Some((row, rest)) = weights.split_first() else { return 0.0 };
        let pair = |column: usize| row[column] + best(rest, taken | 1 << column);
        let free = (0..row.len()).filter(|column| taken & 1 << column == 0);
        free.map(pair).fold(best(rest, taken), f64::max)
    }

    proptest! {
        #[test]
        fn no_other_assignment_weighs_more(
            weights in (0_usize..6, 0_usize..6).prop_flat_map(|(rows, columns)| {
                prop::collection::vec(prop::collection::vec((0_u32..20).prop_map(f64::from), columns), rows)
            })
        ) {
            let assigned = assign(&weights);
            let mut columns: Vec<usize> = assigned.iter().flatten().copied().collect();
            columns.sort_unstable();
            columns.dedup();
            prop_assert_eq!(columns.len(), assigned.iter().flatten().count());
            prop_assert!((weight(&weights, &assigned) - best(&weights, 0)).abs() < 1e-9);
        }
    }

    #[test]
    fn the_whole_counts_and_not_the_first_pick() {
        // A greedy pick takes 0.9 and leaves 0.1; the assignment takes 0.8 twice.
        assert_eq!(assign(&[vec![0.9, 0.8], vec![0.8, 0.1]]), [Some(1), Some(0)]);
        assert_eq!(assign(&[vec![0.0, 0.0]]), [None]);
        assert_eq!(assign(&[]), [] as [Option<usize>; 0]);
    }
}
