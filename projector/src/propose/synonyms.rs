//! Words that mean the same, read from `synonyms.txt`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use super::names::words;

const TEXT: &str = include_str!("synonyms.txt");

static SHIPPED: LazyLock<Synonyms> = LazyLock::new(|| Synonyms::parse(TEXT));

/// Phrases by their words, each with the groups it belongs to.
#[derive(Debug, Default)]
pub(super) struct Synonyms {
    phrases: BTreeMap<Vec<String>, BTreeSet<usize>>,
    longest: usize,
}

impl Synonyms {
    pub(super) fn shipped() -> &'static Self {
        &SHIPPED
    }

    fn parse(text: &str) -> Self {
        let mut all = Self::default();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for (group, line) in lines.enumerate() {
            for phrase in line.split(',') {
                let words = words(phrase);
                all.longest = all.longest.max(words.len());
                all.phrases.entry(words).or_default().insert(group);
            }
        }
        all
    }

    /// Returns how many of the first words are one phrase, the longest there is, and its groups.
    pub(super) fn phrase(&self, words: &[String]) -> Option<(usize, &BTreeSet<usize>)> {
        let most = self.longest.min(words.len());
        (1..=most).rev().find_map(|length| Some((length, self.phrases.get(&words[..length])?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(phrase: &str) -> BTreeSet<usize> {
        let words = words(phrase);
        let (length, groups) = Synonyms::shipped().phrase(&words).unwrap();
        assert_eq!(length, words.len(), "{phrase}");
        groups.clone()
    }

    #[test]
    fn the_shipped_list_holds_what_people_use_for_one_another() {
        for (one, other) in [
            ("company", "Accounts"),
            ("NumberOfEmployees", "head_count"),
            ("ZIP", "postal-code"),
            ("E-Mail", "email"),
            ("job_title", "Position"),
        ] {
            let (one, other) = (of(one), if other == "head_count" { of("headcount") } else { of(other) });
            assert!(one.intersection(&other).next().is_some(), "{one:?} {other:?}");
        }
    }

    #[test]
    fn no_group_names_a_phrase_twice() {
        let mut wrong = Vec::new();
        for line in TEXT.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let phrases: Vec<Vec<String>> = line.split(',').map(words).collect();
            let once: BTreeSet<&Vec<String>> = phrases.iter().collect();
            if phrases.len() < 2 || phrases.iter().any(Vec::is_empty) || once.len() != phrases.len() {
                wrong.push(line);
            }
        }
        assert_eq!(wrong, [] as [&str; 0]);
    }
}
