//! Chooses a slice of records that shows what a whole object looks like.
//!
//! A part of the slice is spread evenly over the object; the rest goes to records that show something for the first time: an
//! owner, a stage, a field that is seldom filled, a text in another script. The same records are always chosen from the same
//! source.

use std::collections::BTreeSet;

/// Chooses among the records of one object, which it is shown in order.
#[derive(Debug, Clone)]
pub struct Picker {
    seen: BTreeSet<u64>,
    stride: u64,
    shown: u64,
    firsts: u64,
}

/// The least records of an object in a sample.
const LEAST: u64 = 4;
/// Of every so many records in a slice, one is there because of its place.
const SPREAD: u64 = 3;

/// Divides a sample among objects of these sizes: every object is there, and large ones do not crowd out small ones.
pub fn shares(size: u64, counts: &[u64]) -> Vec<u64> {
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact")]
    let roots: Vec<f64> = counts.iter().map(|count| (*count as f64).sqrt()).collect();
    let all: f64 = roots.iter().sum();
    let share = |(root, count): (&f64, &u64)| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of the size"
        )]
        let part = if all > 0.0 { (size as f64 * root / all).round() as u64 } else { 0 };
        part.max(LEAST).min(*count)
    };
    roots.iter().zip(counts).map(share).collect()
}

impl Picker {
    /// Returns a picker of about `wanted` of `count` records.
    pub fn new(wanted: u64, count: u64) -> Self {
        let spread = wanted.div_ceil(SPREAD).max(1);
        Self { seen: BTreeSet::new(), stride: (count / spread).max(1), shown: 0, firsts: wanted - spread.min(wanted) }
    }

    /// Shows the next record by its features, and returns whether it is chosen.
    pub fn pick(&mut self, features: impl IntoIterator<Item = u64>) -> bool {
        let by_place = self.shown.is_multiple_of(self.stride);
        self.shown += 1;
        let new: Vec<u64> = features.into_iter().filter(|feature| !self.seen.contains(feature)).collect();
        let by_feature = !new.is_empty() && self.firsts > 0 && !by_place;
        if by_feature {
            self.firsts -= 1;
        }
        if by_place || by_feature {
            self.seen.extend(new);
        }
        by_place || by_feature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_a_share_and_none_more_than_it_has() {
        assert_eq!(shares(100, &[10_000, 100, 2, 0]), [90, 9, 2, 0]);
        assert_eq!(shares(100, &[]), [0; 0]);
    }

    #[test]
    fn rare_things_are_chosen_and_the_rest_is_spread() {
        let mut picker = Picker::new(30, 1_000);
        let chosen: Vec<u64> = (0..1_000_u64).filter(|n| picker.pick([n % 7, 100 + u64::from(*n == 777)])).collect();
        assert!(chosen.contains(&777), "the only one of its kind");
        assert!((10..=30).contains(&chosen.len()), "{chosen:?}");
        assert!(chosen.iter().any(|n| *n < 100) && chosen.iter().any(|n| *n > 850));
        let mut few = Picker::new(4, 3);
        assert_eq!((0..3).filter(|_| few.pick([])).count(), 3, "of few records all are chosen");
    }
}
