//! Proposes a value map: which option of the destination a value of the source becomes.

use super::{fold, names::names};

/// From which confidence on an option is proposed.
const THRESHOLD: f64 = 0.6;
/// What a value must be ahead of the runner-up to be proposed.
const AHEAD: f64 = 0.08;

/// What one value may become.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueProposal {
    /// The value of the source.
    pub value: String,
    /// The option that is proposed, if one is likely enough and clearly ahead.
    pub option: Option<String>,
    /// How likely the best option is the right one, from 0 to 1.
    pub confidence: f64,
    /// Why.
    pub reason: String,
    /// The best options, the proposed one first.
    pub candidates: Vec<(String, f64)>,
}

/// Proposes an option for every value. Several values may become the same option.
pub fn propose_values(values: &[String], options: &[String]) -> Vec<ValueProposal> {
    let source = names(values.iter().map(|value| ("", value.as_str())));
    let target = names(options.iter().map(|option| ("", option.as_str())));
    let proposed = values.iter().zip(&source).map(|(value, name)| {
        let score = |(option, other): (&String, _)| {
            let (score, reason) = if value == option {
                (1.0, "the same")
            } else if fold(value) == fold(option) {
                (0.99, "the same but for case and spaces")
            } else {
                let (alike, why) = name.alike(other);
                let reason = match why {
                    super::names::Alike::Same => "the same but for separators",
                    super::names::Alike::Synonym(..) => "a synonym",
                    super::names::Alike::Short => "one is short for the other",
                    super::names::Alike::Similar => "similar",
                };
                (alike * 0.95, reason)
            };
            (option.clone(), score, reason)
        };
        let mut ranked: Vec<(String, f64, &str)> = options.iter().zip(&target).map(score).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        ranked.truncate(3);
        let (confidence, reason) = ranked.first().map_or((0.0, "no options"), |(_, score, reason)| (*score, *reason));
        let second = ranked.get(1).map_or(0.0, |(_, score, _)| *score);
        let sure = confidence >= THRESHOLD && (confidence >= 0.99 || confidence - second >= AHEAD);
        ValueProposal {
            value: value.clone(),
            option: ranked.first().filter(|_| sure).map(|(option, ..)| option.clone()),
            confidence,
            reason: reason.to_owned(),
            candidates: ranked.into_iter().map(|(option, score, _)| (option, score)).collect(),
        }
    });
    proposed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(value: &str, options: &[&str]) -> Option<String> {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        propose_values(&[value.to_owned()], &options).remove(0).option
    }

    #[test]
    fn a_value_becomes_the_option_that_people_mean_or_none() {
        let stages = ["Prospecting", "Qualification", "Closed Won", "Closed Lost"];
        assert_eq!(option("closed  won", &stages).as_deref(), Some("Closed Won"));
        assert_eq!(option("CLOSED_LOST", &stages).as_deref(), Some("Closed Lost"));
        assert_eq!(option("Qualificaton", &stages).as_deref(), Some("Qualification"));
        assert_eq!(option("Closed", &stages), None);
        assert_eq!(option("Zebra", &stages), None);
        assert_eq!(option("anything", &[]), None);
    }
}
