//! "Did you mean": names that are near to one that does not exist, as the reference implementation of GraphQL finds them.

/// Returns the names that are near enough, the nearest first.
pub(crate) fn near<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "lengths of names"
    )]
    let threshold = (wanted.chars().count() as f64 * 0.4).floor() as usize + 1;
    let mut found: Vec<(usize, &str)> =
        names.map(|name| (distance(wanted, name), name)).filter(|(distance, _)| *distance <= threshold).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, name)| name).collect()
}

/// Returns how many letters must be put in, taken out, changed or swapped; only in case, one.
fn distance(one: &str, other: &str) -> usize {
    if one == other {
        return 0;
    }
    let (one, other): (Vec<char>, Vec<char>) =
        (one.to_lowercase().chars().collect(), other.to_lowercase().chars().collect());
    if one == other {
        return 1;
    }
    let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
    for (i, row) in table.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in table[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=one.len() {
        for j in 1..=other.len() {
            let cost = usize::from(one[i - 1] != other[j - 1]);
            let mut least = (table[i - 1][j] + 1).min(table[i][j - 1] + 1).min(table[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                least = least.min(table[i - 2][j - 2] + cost);
            }
            table[i][j] = least;
        }
    }
    table[one.len()][other.len()]
}

/// Writes the end of a message: `Did you mean "a", "b", or "c"?`
pub(crate) fn hint(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().take(5).map(|name| format!("\"{name}\"")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => format!(" Did you mean {one}?"),
        [one, two] => format!(" Did you mean {one} or {two}?"),
        [first @ .., last] => format!(" Did you mean {}, or {last}?", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{hint, near};

    #[test]
    fn near_names_are_suggested() {
        let names = ["id", "nameSingular", "isSystem", "isActive", "isRemote"];
        assert_eq!(near("isCustom", names.into_iter()), ["isSystem"]);
        assert_eq!(hint(&["a", "b", "c"]), " Did you mean \"a\", \"b\", or \"c\"?");
        assert_eq!(hint(&[]), "");
    }
}
