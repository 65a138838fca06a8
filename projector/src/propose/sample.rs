//! A bounded look at a column's values: the same values stay in it, whatever order they come in and however many there are.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use super::fold;

/// How many different values a sample keeps.
const KEPT: usize = 1_024;
/// How much of a value is kept.
const LENGTH: usize = 256;

/// Different values of one column, with how often each came up.
///
/// Kept are those with the smallest hashes (a bottom-k sketch, Cohen and Kaplan 2007): samples of two columns keep the same
/// values of what both hold, so that a common part shows even if each keeps one value in a thousand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    rows: u64,
    filled: u64,
    values: BTreeMap<u64, (String, u64)>,
    cut: bool,
}

impl Sample {
    /// Takes in the value of one row; nothing, and white space, count as empty.
    pub fn add(&mut self, value: Option<&str>) {
        self.rows += 1;
        let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else { return };
        self.filled += 1;
        self.count(value, 1);
    }

    /// Takes in one of several values of a row that was taken in already.
    pub fn add_more(&mut self, value: &str) {
        if !value.trim().is_empty() {
            self.count(value.trim(), 1);
        }
    }

    fn count(&mut self, value: &str, times: u64) {
        let folded = fold(value);
        let hash = hashed(&folded);
        if let Some((_, count)) = self.values.get_mut(&hash) {
            *count += times;
            return;
        }
        if self.values.len() >= KEPT {
            self.cut = true;
            match self.values.last_key_value() {
                Some((last, _)) if *last < hash => return,
                _ => drop(self.values.pop_last()),
            }
        }
        self.values.insert(hash, (value.chars().take(LENGTH).collect(), times));
    }

    /// Returns how many rows were taken in.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns how many of them hold something.
    pub fn filled(&self) -> u64 {
        self.filled
    }

    /// Returns how many different values there are: counted, or estimated if there are more than are kept.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, rounded")]
    pub fn distinct(&self) -> u64 {
        match self.values.last_key_value() {
            Some((last, _)) if self.cut => ((KEPT - 1) as f64 / (*last as f64 / u64::MAX as f64)).round() as u64,
            _ => self.values.len() as u64,
        }
    }

    /// Returns the kept values with how often each came up, in an order of no meaning.
    pub fn values(&self) -> impl Iterator<Item = (&str, u64)> {
        self.values.values().map(|(value, count)| (value.as_str(), *count))
    }

    /// Returns the hashes of the kept values, ascending, and below which hash all values are kept.
    pub(super) fn hashes(&self) -> (Vec<u64>, u64) {
        let all = match self.values.last_key_value() {
            Some((last, _)) if self.cut => *last,
            _ => u64::MAX,
        };
        (self.values.keys().copied().collect(), all)
    }
}

/// A list of values, each once, such as the options of a choice.
impl<'a> FromIterator<&'a str> for Sample {
    fn from_iter<T: IntoIterator<Item = &'a str>>(values: T) -> Self {
        let mut sample = Self::default();
        for value in values {
            sample.add(Some(value));
        }
        sample
    }
}

/// The same on every machine: a hasher without a random key, as the inventory uses it.
pub(super) fn hashed(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sample_is_bounded_and_tells_how_much_there_was() {
        let mut sample = Sample::default();
        for n in 0..50_000 {
            sample.add(Some(&format!("value {}", n % 20_000)));
        }
        sample.add(None);
        sample.add(Some("  "));
        assert_eq!((sample.rows(), sample.filled(), sample.values().count()), (50_002, 50_000, KEPT));
        assert!((18_000..22_000).contains(&sample.distinct()), "{}", sample.distinct());
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_matter(mut values in prop::collection::vec(0_u32..3_000, 0..2_500)) {
            let of = |values: &[u32]| values.iter().map(u32::to_string).fold(Sample::default(), |mut sample, value| {
                sample.add(Some(&value));
                sample
            });
            let sample = of(&values);
            values.sort_unstable();
            prop_assert_eq!(sample, of(&values));
        }
    }
}
