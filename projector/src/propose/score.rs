//! How likely a pair of columns is a true one: what is known of it, weighed.
//!
//! The weights are those of a logistic regression: each part of the evidence adds to the log-odds, evidence that does not
//! exist adds nothing, and the sum becomes a probability. Two sets: one for pairs of which both sides have values, one for
//! names alone. They were fitted on a sample of public pairs of tables (of other trades, and some of CRMs) and of pairs made
//! from tables with renamed, shortened and prefixed columns, and rounded: figures on those are no held-out ones.

use super::{
    Kind,
    names::{Alike, Name},
    profile::Profile,
    values::{Corpus, Likeness},
};

/// Weights of the evidence, in log-odds.
#[derive(Debug)]
struct Weights {
    base: f64,
    name: f64,
    /// A name that is (nearly) the same says more than twice what one half alike says.
    same_name: f64,
    kind: f64,
    overlap: f64,
    plain_overlap: f64,
    words: f64,
    grams: f64,
    forms: f64,
    numbers: f64,
    shape: f64,
}

const NAMES_ALONE: Weights = Weights {
    base: -5.5,
    name: 5.2,
    same_name: 2.4,
    kind: 0.8,
    overlap: 0.0,
    plain_overlap: 0.0,
    words: 0.0,
    grams: 0.0,
    forms: 0.0,
    numbers: 0.0,
    shape: 0.0,
};

const WITH_VALUES: Weights = Weights {
    base: -7.6,
    name: 3.6,
    same_name: 2.7,
    kind: 0.6,
    overlap: 4.0,
    plain_overlap: 0.4,
    words: 1.2,
    grams: 1.3,
    forms: 0.1,
    numbers: 0.2,
    shape: 1.6,
};

/// Returns the probability of log-odds.
pub(super) fn probability(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

/// What is known of one column beside its values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) names: &'a [Name],
    pub(super) kind: Option<Kind>,
    pub(super) profile: Option<&'a Profile>,
    /// Whether the values are its options, and no sample of rows.
    pub(super) listed: bool,
}

/// What speaks for a pair.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Evidence {
    pub(super) name: f64,
    pub(super) alike: Alike,
    /// Whether the second name of a side, the label, says it.
    pub(super) by_label: bool,
    pub(super) kinds: Option<(Kind, Kind)>,
    pub(super) values: Option<Likeness>,
    pub(super) listed: bool,
}

impl Evidence {
    pub(super) fn new(corpus: &Corpus, source: (usize, Known<'_>), target: (usize, Known<'_>)) -> Self {
        let (mut name, mut alike, mut by_label) = (0.0, Alike::Similar, false);
        for (a, one) in source.1.names.iter().enumerate() {
            for (b, two) in target.1.names.iter().enumerate() {
                let (score, why) = one.alike(two);
                // The name is what a column is; a label is what someone wrote over it.
                let score = if a + b == 0 { score } else { score * 0.97 };
                if score > name {
                    (name, alike, by_label) = (score, why, a + b > 0);
                }
            }
        }
        let values = source.1.profile.zip(target.1.profile);
        Self {
            name,
            alike,
            by_label,
            kinds: source.1.kind.zip(target.1.kind),
            values: values.map(|(a, b)| corpus.likeness((source.0, a), (target.0, b))),
            listed: source.1.listed || target.1.listed,
        }
    }

    /// Returns the log-odds that the pair is a true one.
    pub(super) fn odds(&self) -> f64 {
        let values = self.values.filter(|_| !self.listed);
        let w = if values.is_some() { WITH_VALUES } else { NAMES_ALONE };
        let mut odds = w.base + w.name * self.name + w.same_name * self.name.powi(4);
        odds += w.kind * self.kinds.map_or(0.0, |(a, b)| a.agreement(b));
        if let Some(v) = values {
            odds += w.overlap * v.overlap * v.strength + w.plain_overlap * v.overlap;
            odds += w.words * v.words + w.grams * v.grams + w.forms * v.forms + w.shape * v.shape;
            odds += w.numbers * v.numbers.map_or(0.0, |numbers| 2.0 * numbers - 1.0);
        } else if let Some(v) = self.values {
            // Options are all there may be: how much of what the source holds is among them.
            let held = v.common.0 as f64 / v.common.1.max(1) as f64;
            odds += if v.common.0 == 0 { -0.5 } else { 3.0 * held * v.strength + held };
        }
        odds
    }

    /// Returns in words what speaks for the pair, the strongest first.
    pub(super) fn words(&self, target: &str) -> String {
        let mut said: Vec<String> = Vec::new();
        let what = if self.by_label { "label" } else { "name" };
        match &self.alike {
            Alike::Same => said.push(format!("same {what}")),
            Alike::Synonym(one, other) if self.name > 0.35 => said.push(format!("synonym: {one} ~ {other}")),
            Alike::Short if self.name > 0.5 => said.push(format!("one {what} is short for the other")),
            Alike::Similar | Alike::Short if self.name > 0.35 => said.push(format!("similar {what}")),
            _ => {}
        }
        if let Some(values) = &self.values {
            let (common, of) = values.common;
            if self.listed && common > 0 {
                said.push(format!("{common} of {of} values are options of {target}"));
            } else if !self.listed && common > 0 && values.overlap * values.strength > 0.05 {
                said.push(format!("{common} of {of} sampled values occur on both sides"));
            } else if !self.listed {
                match values.numbers {
                    Some(numbers) if numbers > 0.8 => said.push("numbers lie alike".to_owned()),
                    _ if values.grams > 0.5 => said.push("values read alike".to_owned()),
                    _ if values.forms > 0.7 => said.push("values have the same form".to_owned()),
                    _ => {}
                }
            }
        }
        if let Some((one, other)) = self.kinds {
            if one == other && one != Kind::Other {
                said.push(format!("types agree: {}", one.word()));
            } else if one.agreement(other) <= -0.6 {
                said.push(format!("types differ: {} and {}", one.word(), other.word()));
            }
        }
        if said.is_empty() { "little speaks for it".to_owned() } else { said.join("; ") }
    }
}
