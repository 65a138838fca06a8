//! What a column's values look like, worked out once per column.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime};

use super::{Kind, Sample, fold, sample::hashed};

/// Places in which runs of three letters are counted.
const GRAMS: usize = 512;
/// How many different words of a column are kept: those with the smallest hashes, the same in every column.
const WORDS: usize = 1_024;
/// How much of a value its letters are taken from.
const LETTERS: usize = 64;
/// The share of values that must look alike for the column to look so.
const MOST: f64 = 0.85;
/// At which shares of its sorted numbers a column is looked at.
const QUANTILES: [f64; 9] = [0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.98];

/// What the values of a column look like.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Profile {
    /// The hashes of different values, ascending, and below which all are there.
    pub(super) hashes: (Vec<u64>, u64),
    /// The hashes of words, ascending, each with how often it comes up.
    pub(super) words: Vec<(u64, f64)>,
    /// How often runs of three letters come up.
    pub(super) grams: Vec<f64>,
    /// Shares of the forms that values have: `Aa 9`.
    pub(super) forms: BTreeMap<String, f64>,
    /// The quantiles of numbers, or of days.
    pub(super) numbers: Option<[f64; 9]>,
    /// What they look like.
    pub(super) looks: Option<Kind>,
    /// The mean length, in characters.
    pub(super) length: f64,
    /// How many different values there are for each filled row.
    pub(super) variety: f64,
    /// How many rows hold something.
    pub(super) fill: f64,
    /// How many different values.
    pub(super) distinct: f64,
}

impl Profile {
    /// Looks at a sample; nothing can be said of an empty one.
    pub(super) fn new(sample: &Sample) -> Option<Self> {
        if sample.filled() == 0 {
            return None;
        }
        let mut words: BTreeMap<u64, f64> = BTreeMap::new();
        let mut grams = vec![0.0; GRAMS];
        let mut forms: BTreeMap<String, f64> = BTreeMap::new();
        let mut looks: BTreeMap<Kind, f64> = BTreeMap::new();
        let mut numbers: Vec<(f64, u64)> = Vec::new();
        let (mut different, mut all, mut length) = (0.0, 0.0, 0.0);
        for (value, count) in sample.values() {
            different += 1.0;
            all += count as f64;
            length += value.chars().count() as f64;
            let folded = fold(value);
            for word in folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                *words.entry(hashed(word)).or_default() += 1.0;
                if words.len() > WORDS {
                    words.pop_last();
                }
            }
            for run in runs(&folded) {
                grams[run] += 1.0;
            }
            *forms.entry(form(value)).or_default() += count as f64;
            let (kind, number) = looks_of(value);
            *looks.entry(kind).or_default() += count as f64;
            numbers.extend(number.map(|number| (number, count)));
        }
        for share in forms.values_mut() {
            *share /= all;
        }
        let numeric: f64 = numbers.iter().map(|(_, count)| *count as f64).sum();
        let looks = looks.into_iter().find(|(_, count)| *count >= all * MOST).map(|(kind, _)| kind);
        let distinct = sample.distinct() as f64;
        Some(Self {
            hashes: sample.hashes(),
            words: words.into_iter().collect(),
            grams,
            forms,
            numbers: (numeric >= all * MOST).then(|| quantiles(numbers)),
            looks,
            length: length / different,
            variety: distinct / sample.filled() as f64,
            fill: sample.filled() as f64 / sample.rows().max(1) as f64,
            distinct,
        })
    }
}

/// Returns the places of all runs of three letters; a value's beginning and end are letters, too.
fn runs(folded: &str) -> impl Iterator<Item = usize> {
    let letters: Vec<char> = std::iter::once('^').chain(folded.chars().take(LETTERS)).chain(['$']).collect();
    let mut places = Vec::with_capacity(letters.len());
    for run in letters.windows(3) {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for c in run {
            let c = if c.is_numeric() { '9' } else { *c };
            hash = (hash ^ u64::from(u32::from(c))).wrapping_mul(0x0100_0000_01b3);
        }
        places.push((hash >> 20) as usize % GRAMS);
    }
    places.into_iter()
}

/// Returns the form of a value: a run of capitals is `A`, of small letters `a`, of digits `9`; the first runs only.
fn form(value: &str) -> String {
    let mut form = String::new();
    for c in value.chars() {
        let c = match c {
            c if c.is_numeric() => '9',
            c if c.is_uppercase() => 'A',
            c if c.is_alphabetic() => 'a',
            c if c.is_whitespace() => ' ',
            c => c,
        };
        if !form.ends_with(c) {
            form.push(c);
        }
        if form.len() >= 16 {
            break;
        }
    }
    form
}

fn quantiles(mut numbers: Vec<(f64, u64)>) -> [f64; 9] {
    numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: u64 = numbers.iter().map(|(_, count)| count).sum();
    QUANTILES.map(|share| {
        let wanted = share * all as f64;
        let mut seen = 0.0;
        for (number, count) in &numbers {
            seen += *count as f64;
            if seen >= wanted {
                return *number;
            }
        }
        numbers.last().map_or(0.0, |(number, _)| *number)
    })
}

/// Returns what one value looks like, and its number, if it has one: of a day, how many days after 1970.
fn looks_of(value: &str) -> (Kind, Option<f64>) {
    let plain = value.trim();
    let lower = plain.to_ascii_lowercase();
    if matches!(lower.as_str(), "true" | "false" | "yes" | "no" | "y" | "n" | "t" | "f") {
        return (Kind::Bool, None);
    }
    if let Some(days) = day(plain) {
        return (if plain.len() > 10 { Kind::Time } else { Kind::Date }, Some(days));
    }
    let digits = plain.chars().filter(char::is_ascii_digit).count();
    let bare: String = plain.chars().filter(|c| !matches!(c, ',' | '$' | '€' | '£' | '%' | ' ')).collect();
    if digits > 0
        && !plain.starts_with('+')
        && let Ok(number) = bare.parse::<f64>()
        && number.is_finite()
    {
        let kind = match plain {
            plain if plain.ends_with('%') => Kind::Percent,
            plain if plain.starts_with(['$', '€', '£']) => Kind::Money,
            _ => Kind::Number,
        };
        return (kind, Some(number));
    }
    if let Some((name, host)) = plain.split_once('@')
        && !name.is_empty()
        && host.contains('.')
        && !plain.contains(' ')
    {
        return (Kind::Email, None);
    }
    if lower.starts_with("http://") || lower.starts_with("https://") || lower.starts_with("www.") {
        return (Kind::Url, None);
    }
    let dialled = plain.chars().all(|c| c.is_ascii_digit() || "+-()/. x".contains(c));
    if dialled && (7..=20).contains(&digits) {
        return (Kind::Phone, None);
    }
    (if plain.chars().count() > 80 { Kind::LongText } else { Kind::Text }, None)
}

/// Returns the day of a date or a moment in one of the usual forms.
fn day(text: &str) -> Option<f64> {
    if !(6..=40).contains(&text.len()) || !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let days = |date: NaiveDate| (date - NaiveDate::default()).num_days() as f64;
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(days(date));
    }
    if text.len() > 10 {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Some(days(time.date_naive()));
        }
        for form in ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%d %H:%M:%S%.f%z"] {
            if let Ok(time) = DateTime::parse_from_str(text, form) {
                return Some(days(time.date_naive()));
            }
        }
        let local = [
            "%Y-%m-%d %H:%M:%S%.f",
            "%Y-%m-%dT%H:%M:%S%.f",
            "%Y-%m-%d %H:%M",
            "%m/%d/%Y %H:%M:%S",
            "%m/%d/%Y %H:%M",
            "%d/%m/%Y %H:%M:%S",
            "%d/%m/%Y %H:%M",
            "%m/%d/%y %I:%M %p",
        ];
        return local
            .iter()
            .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
            .map(|time| days(time.date()));
    }
    if !text.contains(['/', '.', '-']) {
        return None;
    }
    let forms = ["%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%Y/%m/%d", "%m/%d/%y", "%d-%m-%Y", "%d/%m/%y"];
    forms.iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok()).map(days)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_told_by_their_looks() {
        for (value, kind) in [
            ("2024-01-23", Kind::Date),
            ("02/03/24", Kind::Date),
            ("2024-01-23T02:46:47.000+0000", Kind::Time),
            ("02/23/26 08:55 PM", Kind::Time),
            ("1,234.50", Kind::Number),
            ("$12", Kind::Money),
            ("12%", Kind::Percent),
            ("TRUE", Kind::Bool),
            ("ada@example.com", Kind::Email),
            ("https://example.com", Kind::Url),
            ("+49 30 123456", Kind::Phone),
            ("831.605.2433x72946", Kind::Phone),
            ("Closed Won", Kind::Text),
        ] {
            assert_eq!(looks_of(value).0, kind, "{value}");
        }
        assert_eq!(form("Ada L. 1815"), "Aa A. 9");
    }

    #[test]
    fn a_profile_tells_of_the_column() {
        let values: Vec<String> = (0..100).map(|n| (n % 50).to_string()).collect();
        let profile = Profile::new(&values.iter().map(String::as_str).collect()).unwrap();
        assert_eq!((profile.looks, profile.numbers.map(|q| q[4])), (Some(Kind::Number), Some(24.0)));
        assert!((profile.variety - 0.5).abs() < 1e-9);
        assert_eq!(Profile::new(&Sample::default()), None);
    }
}
