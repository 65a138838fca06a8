//! What a source holds, field by field: how full, of which looks, how many different values.
//!
//! A fold over records that keeps a few values and counts per field, however many records there are. Examples are masked as
//! they are taken: letters and digits are only told apart. Values themselves are kept of fields that choose among few, and only
//! those that many records share.

mod looks;

use std::hash::BuildHasherDefault;

use chrono::NaiveDate;
use hyperloglogplus::{HyperLogLog, HyperLogLogPlus};
use rustc_hash::{FxHashMap, FxHashSet, FxHasher};
use serde::{Deserialize, Serialize};
use waybill_ledger::{FieldName, FieldRef, Record, Value, ValueRef};

use self::looks::{Looks, is_blank, length_of, looks_of, masked};
use crate::hash::{hash, hash_value};

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
/// How many examples are kept, how much of each, and among how many different values they are looked for.
const EXAMPLES: usize = 3;
const EXAMPLE_LENGTH: usize = 32;
const EXAMPLES_AMONG: u32 = 1_000;
/// An estimate is within about 1.6 in 100 of the truth: 2 to the 12th registers.
const PRECISION: u8 = 12;
/// Of how many values it is remembered that they were looked at: a power of two.
const RECENT: usize = 256;

/// What was seen of one object's records.
#[derive(Debug, Default)]
pub struct Inventory {
    records: u64,
    /// The fields that rows are given by, then those that came up beside them.
    fields: Vec<(FieldName, Seen)>,
    places: FxHashMap<FieldName, usize>,
}

/// Counts the ids that come more than once, eight bytes each. Of two ids with one hash the second counts as repeated.
#[derive(Debug, Default)]
pub struct Repeats(Vec<u64>);

impl Repeats {
    /// Notes an id.
    pub fn note(&mut self, id: &str) {
        self.0.push(hash(id));
    }

    /// Returns how many of the ids had come before.
    pub fn count(mut self) -> u64 {
        let all = self.0.len();
        self.0.sort_unstable();
        self.0.dedup();
        (all - self.0.len()) as u64
    }
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

type Sketch = HyperLogLogPlus<u64, BuildHasherDefault<FxHasher>>;

#[derive(Debug)]
enum Distinct {
    Exact(FxHashSet<u64>),
    About(Box<Sketch>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(FxHashSet::default())
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

/// A value that a field chooses, and how many records hold it.
#[derive(Debug)]
struct Chosen {
    text: String,
    looks: Looks,
    count: u64,
}

/// What was seen of one field.
///
/// A value that was met before changes nothing but counts, so it is looked at only once as long as it is remembered.
#[derive(Debug)]
struct Seen {
    filled: u64,
    empty: u64,
    null: u64,
    /// How many records hold a value of these looks, in the order of [`Looks::ALL`].
    looks: [u64; Looks::ALL.len()],
    distinct: Distinct,
    /// By hash; none once there are too many to choose among.
    choices: Option<FxHashMap<u64, Chosen>>,
    /// Values that were looked at, each in the place that its hash gives it; empty as long as there are choices.
    recent: Vec<(u64, Looks)>,
    longest: usize,
    days: Option<(NaiveDate, NaiveDate)>,
    examples: Vec<String>,
    plain: Vec<String>,
    tried: u32,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            filled: 0,
            empty: 0,
            null: 0,
            looks: [0; Looks::ALL.len()],
            distinct: Distinct::default(),
            choices: Some(FxHashMap::default()),
            recent: Vec::new(),
            longest: 0,
            days: None,
            examples: Vec::new(),
            plain: Vec::new(),
            tried: 0,
        }
    }
}

impl Inventory {
    /// Begins with an object whose rows give their fields in this order.
    pub fn of(names: &[FieldName]) -> Self {
        let mut inventory = Self::default();
        for name in names {
            inventory.place(name);
        }
        inventory
    }

    /// Takes in a record.
    pub fn add(&mut self, record: &Record) {
        self.records += 1;
        for (name, value) in record.fields.iter() {
            self.note(name, value.into());
        }
    }

    /// Takes in a row, with its fields in the order of the names, and those beside them.
    pub fn add_row(&mut self, fields: &[FieldRef<'_>], beyond: &[(&FieldName, FieldRef<'_>)]) {
        self.records += 1;
        for ((_, seen), field) in self.fields.iter_mut().zip(fields) {
            seen.add(*field);
        }
        for (name, field) in beyond {
            self.note(name, *field);
        }
    }

    fn note(&mut self, name: &FieldName, field: FieldRef<'_>) {
        let place = self.place(name);
        self.fields[place].1.add(field);
    }

    fn place(&mut self, name: &FieldName) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        self.fields.push((name.clone(), Seen::default()));
        self.places.insert(name.clone(), self.fields.len() - 1);
        self.fields.len() - 1
    }

    /// Returns how many records were taken in.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Returns what every field holds of which a record has spoken, in the order of their names.
    pub fn fields(mut self) -> Vec<FieldFacts> {
        let records = self.records;
        self.fields.retain(|(_, seen)| seen.filled + seen.empty + seen.null > 0);
        self.fields.sort_by(|a, b| a.0.cmp(&b.0));
        self.fields.into_iter().map(|(name, seen)| seen.facts(name.to_string(), records)).collect()
    }
}

impl Seen {
    fn add(&mut self, field: FieldRef<'_>) {
        match field {
            FieldRef::Absent => {}
            FieldRef::Null => self.null += 1,
            FieldRef::Present(ValueRef::Text(text)) if is_blank(text) => self.empty += 1,
            FieldRef::Present(ValueRef::List([])) => self.empty += 1,
            FieldRef::Present(ValueRef::List(items)) => {
                self.filled += 1;
                self.looks[Looks::List as usize] += 1;
                for item in items {
                    self.item(item);
                }
            }
            FieldRef::Present(value) => {
                self.filled += 1;
                let looks = self.note(value);
                self.looks[looks as usize] += 1;
            }
        }
    }

    /// Notes an item of a list; a list in a list has items of the same field.
    fn item(&mut self, item: &Value) {
        match item {
            Value::List(items) => {
                for item in items {
                    self.item(item);
                }
            }
            item => {
                self.note(item.into());
            }
        }
    }

    /// Notes a value and returns what it looks like.
    fn note(&mut self, value: ValueRef<'_>) -> Looks {
        let hash = hash_value(value);
        // The low bits of the hash find the place.
        #[expect(clippy::cast_possible_truncation, reason = "only the low bits count")]
        let place = hash as usize % RECENT;
        if let Some(choices) = &mut self.choices {
            if let Some(chosen) = choices.get_mut(&hash) {
                chosen.count += 1;
                return chosen.looks;
            }
        } else if let Some((known, looks)) = self.recent.get(place)
            && *known == hash
        {
            return *looks;
        }
        let looks = looks_of(value);
        self.distinct.insert(hash);
        self.measure(value);
        if self.examples.len() < EXAMPLES && self.tried < EXAMPLES_AMONG {
            self.tried += 1;
            let text = value.shown();
            let example = masked(&text);
            if !self.examples.contains(&example) {
                self.examples.push(example);
                self.plain.push(text.chars().take(EXAMPLE_LENGTH).collect());
            }
        }
        match &mut self.choices {
            None => self.recent[place] = (hash, looks),
            Some(choices) => {
                let text = value.shown();
                if choices.len() < CHOICES && text.len() <= CHOICE_LENGTH {
                    choices.insert(hash, Chosen { text: text.into_owned(), looks, count: 1 });
                } else {
                    self.choices = None;
                    self.recent = vec![(0, Looks::Text); RECENT];
                    self.recent[place] = (hash, looks);
                }
            }
        }
        looks
    }

    fn measure(&mut self, value: ValueRef<'_>) {
        let text = match value {
            // A text has no more characters than bytes.
            ValueRef::Text(text) if text.len() <= self.longest => return,
            ValueRef::Date(day) => {
                self.day(day);
                // As it is shown: `2024-11-10`.
                self.longest = self.longest.max(10);
                return;
            }
            ValueRef::Time(at) => {
                self.day(at.date_naive());
                // As it is shown: `2024-11-10T13:05:09Z`, with as many figures behind the second as it needs.
                let shown = match at.timestamp_subsec_micros() {
                    0 => 20,
                    micros if micros % 1_000 == 0 => 24,
                    _ => 27,
                };
                self.longest = self.longest.max(shown);
                return;
            }
            ValueRef::Number(number) => {
                self.longest = self.longest.max(length_of(number));
                return;
            }
            value => value.shown(),
        };
        self.longest = self.longest.max(text.chars().count());
    }

    fn day(&mut self, day: NaiveDate) {
        self.days = Some(self.days.map_or((day, day), |(first, last)| (first.min(day), last.max(day))));
    }

    fn facts(mut self, name: String, records: u64) -> FieldFacts {
        let (distinct, estimated) = self.distinct.count();
        let of = |looks: Looks| self.looks[looks as usize];
        let often = if of(Looks::List) > 0 { OFTEN_IN_LISTS } else { OFTEN };
        let choices = self.choices.unwrap_or_default();
        let chooses = choices.values().map(|chosen| chosen.count).sum::<u64>() >= often * distinct;
        let mut values: Vec<(String, u64)> = choices
            .into_values()
            .filter(|chosen| chooses && chosen.count >= SHARED)
            .map(|chosen| (chosen.text, chosen.count))
            .collect();
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        // What looks like a text now and then and like something else now and then is a text.
        let texts = [Looks::Text, Looks::Email, Looks::Url, Looks::Phone, Looks::Number].map(of).iter().sum::<u64>();
        let looks = match Looks::ALL.into_iter().find(|looks| of(*looks) * 100 >= self.filled * 95) {
            _ if self.filled == 0 => "nothing",
            Some(looks) => looks.word(),
            None if texts == self.filled => "text",
            None => "mixed",
        };
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
            days: self.days.map(|(first, last)| (first.to_string(), last.to_string())),
            values,
            examples: self.examples,
            plain: self.plain,
        }
    }
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
                ("number", Some(Value::Number(rust_decimal::Decimal::new(i64::try_from(n).unwrap(), 2)))),
                (
                    "at",
                    Some(Value::Time(
                        chrono::DateTime::from_timestamp_millis(1_000 * i64::try_from(n).unwrap() + 5).unwrap(),
                    )),
                ),
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
        assert_eq!((of("day").longest, of("day").distinct, of("at").longest), (10, 28, 24));
        for name in ["number", "at"] {
            assert!((9_500..10_500).contains(&of(name).distinct), "{name}: {}", of(name).distinct);
        }
    }

    proptest! {
        #[test]
        fn an_id_that_came_before_is_repeated(ids in prop::collection::vec("[a-c]{0,2}", 0..40)) {
            let mut repeats = Repeats::default();
            for id in &ids {
                repeats.note(id);
            }
            let different: std::collections::BTreeSet<&String> = ids.iter().collect();
            prop_assert_eq!(repeats.count(), (ids.len() - different.len()) as u64);
        }

        #[test]
        fn a_row_is_what_its_record_is(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of(prop::option::of("[a-c]{0,2}|[0-9]{1,9}|[a-c]{65}")), 3), 0..200)
        ) {
            let names: Vec<FieldName> = ["a", "b", "c"].map(FieldName::new).to_vec();
            let (mut by_record, mut by_row, mut beside) = (Inventory::default(), Inventory::of(&names), Inventory::of(&names[..1]));
            for (n, row) in (0..).zip(&rows) {
                let values: Vec<Option<Option<Value>>> =
                    row.iter().map(|field| field.clone().map(|value| value.map(Value::Text))).collect();
                let spoken = names.iter().zip(&values).filter_map(|(name, field)| Some((name.as_str(), field.clone()?)));
                by_record.add(&record(n, spoken.collect()));
                let fields: Vec<FieldRef<'_>> =
                    values.iter().map(|field| field.as_ref().map_or(FieldRef::Absent, |value| value.as_ref().into())).collect();
                by_row.add_row(&fields, &[]);
                let beyond: Vec<_> = names.iter().zip(fields.iter().copied()).skip(1).collect();
                beside.add_row(&fields[..1], &beyond);
            }
            let facts = by_record.fields();
            prop_assert_eq!(&by_row.fields(), &facts);
            prop_assert_eq!(&beside.fields(), &facts);
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
