//! What a source holds, field by field: how full, of which looks, how many different values.
//!
//! A fold over records that keeps a few values and counts per field, however many records there are. Examples are masked as
//! they are taken: letters and digits are only told apart. Values themselves are kept of fields that choose among few, and only
//! those that many records share.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    hash::{BuildHasherDefault, Hash, Hasher},
};

use hyperloglogplus::{HyperLogLog, HyperLogLogPlus};
use serde::{Deserialize, Serialize};
use waybill_ledger::{FieldName, Record, Value};

/// How many different values are counted one by one; beyond, they are estimated.
const EXACT: usize = 2_048;
/// How many different values a field may have to be one that chooses.
const CHOICES: usize = 60;
/// How many records must share a value that is shown.
const SHARED: u64 = 3;
/// How often each value of a field must come up on average for the field to be one that chooses: a name is shared, too. Of
/// lists (tags), less will do.
const OFTEN: u64 = 10;
const OFTEN_IN_LISTS: u64 = 3;
/// A value longer than this is no choice.
const CHOICE_LENGTH: usize = 60;
/// How many examples are kept, and how much of each.
const EXAMPLES: usize = 3;
const EXAMPLE_LENGTH: usize = 32;
/// An estimate is within about 1.6 in 100 of the truth: 2 to the 12th registers.
const PRECISION: u8 = 12;

/// What was seen of one object's records.
#[derive(Debug, Default)]
pub struct Inventory {
    records: u64,
    fields: BTreeMap<FieldName, Seen>,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldFacts {
    /// The field.
    pub name: String,
    /// What its values look like: `text`, `email`, `url`, `phone`, `number`, `date`, `time`, `bool`, `list`, `composite`,
    /// `mixed`, or `nothing` if it is always empty.
    pub looks: String,
    /// Records in which it holds something.
    pub filled: u64,
    /// Records in which it is there and empty.
    pub empty: u64,
    /// Records in which it is null.
    pub null: u64,
    /// Records that do not speak of it.
    pub absent: u64,
    /// How many different values it has.
    pub distinct: u64,
    /// Whether that is an estimate.
    pub estimated: bool,
    /// The most characters that a text of it has.
    pub longest: usize,
    /// The earliest and the latest day, of a date or a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<(String, String)>,
    /// Of a field that chooses among few: the values that records share, the most frequent first, and how many share them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub values: Vec<(String, u64)>,
    /// A few values, masked: a capital is X, another letter x, a digit 9.
    pub examples: Vec<String>,
    /// The same values as they are: for whoever asks for them at the terminal, and nowhere else.
    #[serde(skip)]
    pub plain: Vec<String>,
}

impl FieldFacts {
    /// Returns the share of records in which it holds something, in hundredths, rounded down.
    pub fn filled_percent(&self) -> u64 {
        let all = self.filled + self.empty + self.null + self.absent;
        (self.filled * 100).checked_div(all).unwrap_or(0)
    }
}

type Sketch = HyperLogLogPlus<u64, BuildHasherDefault<DefaultHasher>>;

#[derive(Debug)]
enum Distinct {
    Exact(BTreeSet<u64>),
    About(Box<Sketch>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(BTreeSet::new())
    }
}

impl Distinct {
    fn insert(&mut self, hash: u64) {
        match self {
            Self::Exact(hashes) => {
                hashes.insert(hash);
                if hashes.len() <= EXACT {
                    return;
                }
                let Ok(mut sketch) = Sketch::new(PRECISION, BuildHasherDefault::default()) else { return };
                for hash in hashes.iter() {
                    sketch.insert(hash);
                }
                *self = Self::About(Box::new(sketch));
            }
            Self::About(sketch) => sketch.insert(&hash),
        }
    }

    fn count(&mut self) -> (u64, bool) {
        match self {
            Self::Exact(hashes) => (hashes.len() as u64, false),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, rounded")]
            Self::About(sketch) => (sketch.count().round() as u64, true),
        }
    }
}

/// What was seen of one field.
#[derive(Debug)]
struct Seen {
    filled: u64,
    empty: u64,
    null: u64,
    looks: BTreeMap<&'static str, u64>,
    distinct: Distinct,
    choices: Option<BTreeMap<String, u64>>,
    longest: usize,
    days: Option<(String, String)>,
    examples: Vec<String>,
    plain: Vec<String>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            filled: 0,
            empty: 0,
            null: 0,
            looks: BTreeMap::new(),
            distinct: Distinct::default(),
            choices: Some(BTreeMap::new()),
            longest: 0,
            days: None,
            examples: Vec::new(),
            plain: Vec::new(),
        }
    }
}

impl Inventory {
    /// Takes in a record.
    pub fn add(&mut self, record: &Record) {
        self.records += 1;
        for (name, value) in record.fields.iter() {
            match self.fields.get_mut(name) {
                Some(seen) => seen.add(value),
                None => self.fields.entry(name.clone()).or_default().add(value),
            }
        }
    }

    /// Returns how many records were taken in.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Returns what every field holds, in the order of their names.
    pub fn fields(self) -> Vec<FieldFacts> {
        let records = self.records;
        self.fields.into_iter().map(|(name, seen)| seen.facts(name.to_string(), records)).collect()
    }
}

impl Seen {
    fn add(&mut self, value: Option<&Value>) {
        match value {
            None => self.null += 1,
            Some(Value::Text(text)) if text.trim().is_empty() => self.empty += 1,
            Some(Value::List(items)) if items.is_empty() => self.empty += 1,
            Some(value) => {
                self.filled += 1;
                *self.looks.entry(looks_of(value)).or_default() += 1;
                self.note(value);
            }
        }
    }

    fn note(&mut self, value: &Value) {
        if let Value::List(items) = value {
            for item in items {
                self.note(item);
            }
            return;
        }
        let text = match value {
            Value::Text(text) => std::borrow::Cow::Borrowed(text.as_str()),
            value => std::borrow::Cow::Owned(value.to_string()),
        };
        self.longest = self.longest.max(text.chars().count());
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        self.distinct.insert(hasher.finish());
        if let Value::Date(_) | Value::Time(_) = value {
            let day = text.get(..10).unwrap_or(&text).to_owned();
            self.days = Some(match self.days.take() {
                None => (day.clone(), day),
                Some((first, last)) => (first.min(day.clone()), last.max(day)),
            });
        }
        if let Some(choices) = &mut self.choices {
            if let Some(count) = choices.get_mut(text.as_ref()) {
                *count += 1;
            } else if choices.len() < CHOICES && text.len() <= CHOICE_LENGTH {
                choices.insert(text.to_string(), 1);
            } else {
                self.choices = None;
            }
        }
        if self.examples.len() < EXAMPLES {
            let example = masked(&text);
            if !self.examples.contains(&example) {
                self.examples.push(example);
                self.plain.push(text.chars().take(EXAMPLE_LENGTH).collect());
            }
        }
    }

    fn facts(mut self, name: String, records: u64) -> FieldFacts {
        let (distinct, estimated) = self.distinct.count();
        let often = if self.looks.contains_key("list") { OFTEN_IN_LISTS } else { OFTEN };
        let choices = self.choices.unwrap_or_default();
        let chooses = choices.values().sum::<u64>() >= often * distinct;
        let mut values: Vec<(String, u64)> =
            choices.into_iter().filter(|(_, count)| chooses && *count >= SHARED).collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let looks = match self.looks.len() {
            0 => "nothing",
            _ => self
                .looks
                .iter()
                .find(|(_, count)| **count * 100 >= self.filled * 95)
                .map_or("mixed", |(looks, _)| *looks),
        };
        // What looks like a text now and then and like something else now and then is a text.
        let texts: u64 = ["text", "email", "url", "phone", "number"].iter().filter_map(|of| self.looks.get(of)).sum();
        let looks = if looks == "mixed" && texts == self.filled { "text" } else { looks };
        FieldFacts {
            name,
            looks: looks.to_owned(),
            filled: self.filled,
            empty: self.empty,
            null: self.null,
            absent: records - self.filled - self.empty - self.null,
            distinct,
            estimated,
            longest: self.longest,
            days: self.days,
            values,
            examples: self.examples,
            plain: self.plain,
        }
    }
}

fn looks_of(value: &Value) -> &'static str {
    match value {
        Value::Text(text) => looks_of_text(text.trim()),
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::Date(_) => "date",
        Value::Time(_) => "time",
        Value::List(_) => "list",
        Value::Map(_) => "composite",
    }
}

fn looks_of_text(text: &str) -> &'static str {
    if text.contains(char::is_whitespace) && !text.starts_with(['+', '(', '0']) {
        return "text";
    }
    if let Some((name, host)) = text.split_once('@')
        && !name.is_empty()
        && host.contains('.')
        && !host.contains('@')
    {
        return "email";
    }
    if text.starts_with("http://") || text.starts_with("https://") || text.starts_with("www.") {
        return "url";
    }
    if text.parse::<f64>().is_ok_and(f64::is_finite) && !text.starts_with(['+', '0']) {
        return "number";
    }
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let other = text.chars().all(|c| c.is_ascii_digit() || "+-()/. x".contains(c));
    if other && (6..=20).contains(&digits) { "phone" } else { "text" }
}

/// Tells letters from digits and nothing else.
fn masked(text: &str) -> String {
    let mask = |c: char| match c {
        c if c.is_ascii_digit() || c.is_numeric() => '9',
        c if c.is_uppercase() => 'X',
        c if c.is_alphabetic() => 'x',
        c if c.is_control() => ' ',
        c => c,
    };
    let mut masked: String = text.chars().take(EXAMPLE_LENGTH).map(mask).collect();
    if text.chars().nth(EXAMPLE_LENGTH).is_some() {
        masked.push('…');
    }
    masked
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use waybill_ledger::Fields;

    use super::*;

    fn record(id: u64, fields: Vec<(&str, Option<Value>)>) -> Record {
        let mut all = Fields::new();
        for (name, value) in fields {
            all.set(name, value.map_or(waybill_ledger::Field::Null, waybill_ledger::Field::Present));
        }
        Record { id: id.to_string(), fields: all }
    }

    #[test]
    fn fields_are_told_by_what_they_hold() {
        let mut inventory = Inventory::default();
        for n in 0..10_000_u64 {
            let mut fields = vec![
                ("email", Some(format!("Ada.{n}@example.org").into())),
                ("status", Some(["open", "closed"][usize::from(n % 3 == 0)].into())),
                ("phone", Some(format!("+49 30 {}", 100_000 + n).into())),
                ("nothing", Some("".into())),
                ("null", None),
                ("day", Some(Value::Date(chrono::NaiveDate::from_ymd_opt(2020, 1, 1 + (n % 28) as u32).unwrap()))),
            ];
            if n % 4 == 0 {
                fields.push(("rare", Some("Grace Hopper".into())));
            }
            inventory.add(&record(n, fields));
        }
        let facts = inventory.fields();
        let of = |name: &str| facts.iter().find(|facts| facts.name == name).unwrap();
        let email = of("email");
        assert_eq!((email.looks.as_str(), email.filled, email.estimated), ("email", 10_000, true));
        assert!((9_500..10_500).contains(&email.distinct), "{}", email.distinct);
        assert_eq!(email.examples, ["Xxx.9@xxxxxxx.xxx", "Xxx.99@xxxxxxx.xxx", "Xxx.999@xxxxxxx.xxx"]);
        assert!(email.values.is_empty());
        assert_eq!(of("status").values, [("open".to_owned(), 6_666), ("closed".to_owned(), 3_334)]);
        assert_eq!((of("phone").looks.as_str(), of("nothing").looks.as_str()), ("phone", "nothing"));
        assert_eq!((of("nothing").empty, of("null").null, of("rare").absent), (10_000, 10_000, 7_500));
        assert_eq!(of("rare").filled_percent(), 25);
        assert_eq!(of("day").days, Some(("2020-01-01".to_owned(), "2020-01-28".to_owned())));
    }

    proptest! {
        #[test]
        fn no_letter_and_no_digit_of_a_value_stays_in_an_example(text in "\\PC{0,60}") {
            for c in masked(&text).chars() {
                prop_assert!(!c.is_alphanumeric() || ['X', 'x', '9'].contains(&c), "{c}");
            }
        }

        #[test]
        fn every_record_is_counted_once(values in prop::collection::vec(prop::option::of(prop::option::of("[a-c]{0,2}")), 0..200)) {
            let mut inventory = Inventory::default();
            for (n, value) in (0..).zip(&values) {
                let fields = value.iter().map(|value| ("field", value.clone().map(Value::Text))).collect();
                inventory.add(&record(n, fields));
            }
            for facts in inventory.fields() {
                prop_assert_eq!(facts.filled + facts.empty + facts.null + facts.absent, values.len() as u64);
            }
        }
    }
}
