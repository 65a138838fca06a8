//! How alike the values of two columns are.

use std::collections::BTreeMap;

use super::profile::Profile;

/// What the values of a pair of columns say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Likeness {
    /// How much of the different values both have: the mean of what is common to all (Jaccard) and to the smaller side.
    pub(super) overlap: f64,
    /// How much that means, from 0 to 1: many common values that few other columns hold mean much, `true` and `7` little.
    pub(super) strength: f64,
    /// How many different values both have, as far as the samples go, and how many the source has.
    pub(super) common: (usize, usize),
    /// How alike the words are (cosine; words of few columns count more).
    pub(super) words: f64,
    /// How alike runs of letters are (cosine; runs of few columns count more).
    pub(super) grams: f64,
    /// How much of the forms both have.
    pub(super) forms: f64,
    /// How alike the numbers lie, if both hold numbers or days.
    pub(super) numbers: Option<f64>,
    /// How alike length, variety and fill are.
    pub(super) shape: f64,
}

/// What all columns of both sides hold, to tell what is rare.
#[derive(Debug)]
pub(super) struct Corpus {
    values: [BTreeMap<u64, f64>; 2],
    /// Weighted and of length one: the runs of letters and the words of each side's columns.
    grams: [Vec<Vec<f64>>; 2],
    words: [Vec<Vec<(u64, f64)>>; 2],
}

impl Corpus {
    pub(super) fn new(source: &[Option<Profile>], target: &[Option<Profile>]) -> Self {
        let sides = [source, target];
        let values = sides.map(|side| {
            let mut having: BTreeMap<u64, f64> = BTreeMap::new();
            for hash in side.iter().flatten().flat_map(|profile| &profile.hashes.0) {
                *having.entry(*hash).or_default() += 1.0;
            }
            having
        });
        let all = sides.iter().map(|side| side.iter().flatten().count()).sum::<usize>() as f64;
        let mut having_word: BTreeMap<u64, f64> = BTreeMap::new();
        let mut having_gram: Vec<f64> = Vec::new();
        for profile in sides.iter().flat_map(|side| side.iter().flatten()) {
            for (hash, _) in &profile.words {
                *having_word.entry(*hash).or_default() += 1.0;
            }
            having_gram.resize(profile.grams.len(), 0.0);
            for (place, count) in profile.grams.iter().enumerate() {
                having_gram[place] += f64::from(u8::from(*count > 0.0));
            }
        }
        let rare = |having: f64| (1.0 + all / having.max(1.0)).ln();
        let grams = sides.map(|side| {
            let weighed = |profile: &Profile| {
                let weights = profile.grams.iter().zip(&having_gram);
                unit(weights.map(|(count, having)| count.sqrt() * rare(*having)).collect())
            };
            side.iter().map(|profile| profile.as_ref().map(weighed).unwrap_or_default()).collect()
        });
        let words = sides.map(|side| {
            let weighed = |profile: &Profile| {
                let weight =
                    |(hash, count): &(u64, f64)| count.sqrt() * rare(having_word.get(hash).copied().unwrap_or(1.0));
                let weights = unit(profile.words.iter().map(weight).collect());
                profile.words.iter().map(|(hash, _)| *hash).zip(weights).collect()
            };
            side.iter().map(|profile| profile.as_ref().map(weighed).unwrap_or_default()).collect()
        });
        Self { values, grams, words }
    }

    /// Compares a column of the source with one of the target, both by their place.
    pub(super) fn likeness(&self, source: (usize, &Profile), target: (usize, &Profile)) -> Likeness {
        let (a, b) = (source.1, target.1);
        let (overlap, strength, common) = self.overlap(a, b);
        Likeness {
            overlap,
            strength,
            common,
            words: joined(&self.words[0][source.0], &self.words[1][target.0]),
            grams: self.grams[0][source.0].iter().zip(&self.grams[1][target.0]).map(|(a, b)| a * b).sum(),
            forms: a.forms.iter().filter_map(|(form, share)| b.forms.get(form).map(|other| share.min(*other))).sum(),
            numbers: a.numbers.zip(b.numbers).map(|(a, b)| along(&a, &b)),
            shape: shape(a, b),
        }
    }

    fn overlap(&self, a: &Profile, b: &Profile) -> (f64, f64, (usize, usize)) {
        let bound = a.hashes.1.min(b.hashes.1);
        let rare = |hash: &u64| {
            let having = |side: usize| self.values[side].get(hash).copied().unwrap_or(1.0).max(1.0);
            1.0 / (having(0) * having(1)).sqrt()
        };
        let (mut one, mut two) = (0, 0);
        let (mut common, mut weight, mut only) = (0_usize, 0.0, [0.0, 0.0]);
        let (left, right) = (&a.hashes.0, &b.hashes.0);
        let within = |hashes: &[u64], at: usize| hashes.get(at).copied().filter(|hash| *hash <= bound);
        loop {
            match (within(left, one), within(right, two)) {
                (Some(x), Some(y)) if x == y => {
                    common += 1;
                    weight += rare(&x);
                    one += 1;
                    two += 1;
                }
                (Some(x), y) if y.is_none_or(|y| x < y) => {
                    only[0] += rare(&x);
                    one += 1;
                }
                (_, Some(y)) => {
                    only[1] += rare(&y);
                    two += 1;
                }
                (_, None) => break,
            }
        }
        if common == 0 {
            return (0.0, 0.0, (0, one));
        }
        let jaccard = weight / (weight + only[0] + only[1]);
        let contained = weight / (weight + only[0].min(only[1]));
        (f64::midpoint(jaccard, contained), weight / (weight + 3.0), (common, one))
    }
}

fn unit(mut weights: Vec<f64>) -> Vec<f64> {
    let length = weights.iter().map(|weight| weight * weight).sum::<f64>().sqrt();
    if length > 0.0 {
        for weight in &mut weights {
            *weight /= length;
        }
    }
    weights
}

/// The sum of products over what two ascending lists have in common.
fn joined(a: &[(u64, f64)], b: &[(u64, f64)]) -> f64 {
    let (mut one, mut two, mut sum) = (0, 0, 0.0);
    while let (Some((x, left)), Some((y, right))) = (a.get(one), b.get(two)) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => one += 1,
            std::cmp::Ordering::Greater => two += 1,
            std::cmp::Ordering::Equal => {
                sum += left * right;
                one += 1;
                two += 1;
            }
        }
    }
    sum
}

/// Returns how alike numbers lie: by their quantiles, as they are and by their size, the worse of both.
fn along(a: &[f64; 9], b: &[f64; 9]) -> f64 {
    let near = |f: fn(f64) -> f64| {
        let (low, high) = (a[0].min(b[0]), a[8].max(b[8]));
        let width = f(high) - f(low);
        if width <= 0.0 {
            return 1.0;
        }
        let apart: f64 = a.iter().zip(b).map(|(a, b)| (f(*a) - f(*b)).abs()).sum::<f64>() / 9.0;
        (1.0 - apart / width).max(0.0)
    };
    near(|x| x).min(near(|x: f64| x.signum() * x.abs().ln_1p()))
}

fn shape(a: &Profile, b: &Profile) -> f64 {
    let ratio = |a: f64, b: f64| if a.max(b) > 0.0 { a.min(b) / a.max(b) } else { 1.0 };
    let length = ratio(a.length, b.length);
    let variety = ratio(a.variety, b.variety).max(ratio(a.distinct, b.distinct));
    let fill = 1.0 - (a.fill - b.fill).abs();
    (2.0 * length + variety + fill) / 4.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::propose::Sample;

    fn profile(values: &[&str]) -> Option<Profile> {
        Profile::new(&values.iter().copied().collect::<Sample>())
    }

    fn likeness(a: &[&str], b: &[&str]) -> Likeness {
        let (a, b) = (vec![profile(a)], vec![profile(b)]);
        Corpus::new(&a, &b).likeness((0, a[0].as_ref().unwrap()), (0, b[0].as_ref().unwrap()))
    }

    #[test]
    fn the_same_values_are_all_alike() {
        let cities = ["Oslo", "Bergen", "Stavanger", "Trondheim"];
        let same = likeness(&cities, &cities);
        for part in [same.overlap, same.words, same.grams, same.forms, same.shape] {
            assert!((part - 1.0).abs() < 1e-9, "{same:?}");
        }
        assert_eq!(same.common, (4, 4));
        let other = likeness(&cities, &["1", "2", "3"]);
        assert!(other.overlap + other.words + other.grams + other.forms < 0.1, "{other:?}");
    }

    #[test]
    fn numbers_are_compared_by_where_they_lie() {
        let near = likeness(&["1", "2", "3", "4", "5"], &["1.5", "2.5", "3.5", "4.5"]).numbers.unwrap();
        let far = likeness(&["1", "2", "3", "4", "5"], &["1000", "2000", "3000"]).numbers.unwrap();
        assert!(near > 0.8 && far < 0.5, "{near} {far}");
    }
}
