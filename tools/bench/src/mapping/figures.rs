//! How good proposals are, against pairs that are known to be true.

use std::collections::BTreeSet;

use serde::Serialize;
use waybill_projector::propose::{Column, Proposal};

/// What a matcher reached on one set.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    pub(super) set: String,
    pub(super) source_columns: usize,
    pub(super) target_columns: usize,
    /// True pairs.
    pub(super) truth: usize,
    /// The share of source columns in the truth whose first candidate is true.
    pub(super) top1: f64,
    /// The share of them that have a true one among the first three.
    pub(super) top3: f64,
    /// The mean over true pairs of 1 / the place of the target among the candidates of the source column.
    pub(super) mrr: f64,
    /// The share of true pairs among as many highest-scored pairs as there are true ones ("recall at ground truth").
    pub(super) recall_at_truth: f64,
    /// Source columns for which something is proposed.
    pub(super) proposed: usize,
    /// The share of proposals that are true; one for a column that the truth leaves out is wrong.
    pub(super) precision: f64,
    /// Source columns in the truth for which nothing is proposed.
    pub(super) abstained: usize,
    pub(super) seconds: f64,
    /// True pairs whose target is not among the first three, with what comes first instead.
    pub(super) missed: Vec<Missed>,
}

/// A true pair that was not found.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Missed {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) place: Option<usize>,
    pub(super) first: Option<String>,
}

/// Returns how a column is called in a truth: with its object, where there is one.
pub(super) fn called(column: &Column) -> String {
    if column.object.is_empty() { column.name.clone() } else { format!("{}.{}", column.object, column.name) }
}

/// Scores proposals, which must hold more candidates than are looked at.
#[expect(clippy::cast_precision_loss, reason = "counts of columns")]
pub(super) fn figures(
    set: &str,
    source: &[Column],
    target: &[Column],
    truth: &BTreeSet<(usize, usize)>,
    proposals: &[Proposal],
    seconds: f64,
) -> Figures {
    let share = |part: usize, of: usize| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    let place = |pair: &(usize, usize)| {
        let candidates = &proposals[pair.0].candidates;
        candidates.iter().position(|candidate| candidate.target == pair.1).map(|place| place + 1)
    };
    let known: BTreeSet<usize> = truth.iter().map(|(source, _)| *source).collect();
    let within = |most: usize| {
        let found =
            |source: &&usize| truth.iter().any(|pair| pair.0 == **source && place(pair).is_some_and(|at| at <= most));
        share(known.iter().filter(found).count(), known.len())
    };
    let mut all: Vec<(f64, usize, usize)> = proposals
        .iter()
        .flat_map(|proposal| proposal.candidates.iter().map(|one| (one.confidence, proposal.source, one.target)))
        .collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let high = all.iter().take(truth.len()).filter(|(_, source, target)| truth.contains(&(*source, *target))).count();
    let chosen: Vec<&Proposal> = proposals.iter().filter(|proposal| proposal.chosen).collect();
    let right = chosen.iter().filter(|proposal| truth.contains(&(proposal.source, proposal.candidates[0].target)));
    let missed = truth.iter().filter(|pair| place(pair).is_none_or(|at| at > 3)).map(|pair| Missed {
        source: called(&source[pair.0]),
        target: called(&target[pair.1]),
        place: place(pair),
        first: proposals[pair.0].candidates.first().map(|first| called(&target[first.target])),
    });
    Figures {
        set: set.to_owned(),
        source_columns: source.len(),
        target_columns: target.len(),
        truth: truth.len(),
        top1: within(1),
        top3: within(3),
        mrr: truth.iter().filter_map(place).map(|at| 1.0 / at as f64).sum::<f64>() / truth.len().max(1) as f64,
        recall_at_truth: share(high, truth.len()),
        proposed: chosen.len(),
        precision: share(right.count(), chosen.len()),
        abstained: known.iter().filter(|source| !proposals[**source].chosen).count(),
        seconds,
        missed: missed.collect(),
    }
}

#[cfg(test)]
mod tests {
    use waybill_projector::propose::Candidate;

    use super::*;

    #[test]
    fn figures_are_what_they_are_called() {
        let column = |name: &str| Column { name: name.to_owned(), ..Column::default() };
        let source = ["a", "b", "c"].map(column);
        let target = ["x", "y", "z"].map(column);
        let candidate =
            |target, confidence| Candidate { target, confidence, assigned: confidence > 0.5, reason: String::new() };
        let proposals = [
            Proposal { source: 0, candidates: vec![candidate(0, 0.9), candidate(1, 0.2)], chosen: true },
            Proposal { source: 1, candidates: vec![candidate(2, 0.8), candidate(1, 0.3)], chosen: true },
            Proposal { source: 2, candidates: vec![candidate(2, 0.4)], chosen: false },
        ];
        let truth = BTreeSet::from([(0, 0), (1, 1)]);
        let figures = figures("set", &source, &target, &truth, &proposals, 0.0);
        assert!((figures.mrr - 0.75).abs() < 1e-9 && (figures.recall_at_truth - 0.5).abs() < 1e-9, "{figures:?}");
        assert!((figures.top1 - 0.5).abs() < 1e-9 && (figures.top3 - 1.0).abs() < 1e-9, "{figures:?}");
        assert!((figures.precision - 0.5).abs() < 1e-9 && figures.abstained == 0 && figures.missed.is_empty());
    }
}
