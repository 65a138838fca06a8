//! What the fields of an object hold that they should not: spellings of one choice, days that cannot be, values that are missing.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use waybill_ledger::{FieldKind, ObjectSchema, Value, ValueRef};

use super::{Effects, Finding, Severity, Tally, ids::Ids, words::meant};
use crate::hash::hash;

/// A field with more different values than this is not one that chooses.
const CHOICES: usize = 500;
/// A choice is no longer than this.
const CHOICE_LENGTH: usize = 120;
/// The first year that a business could mean.
const EARLIEST: i32 = 1900;
/// How many years ahead of the export a day may lie.
const AHEAD: i32 = 30;

/// How full the rows of an object are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completeness {
    /// The object.
    pub object: String,
    /// How many records it has.
    pub records: u64,
    /// How many fields it has.
    pub fields: u64,
    /// The share of cells that hold something, in hundredths, rounded down.
    pub filled_percent: u64,
    /// How full each field is.
    pub by_field: Vec<FieldFill>,
}

/// How full a field is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldFill {
    /// The field.
    pub field: String,
    /// How many records hold something in it.
    pub filled: u64,
}

/// The values of a field that chooses, by their hashes.
pub(super) type Choices = FxHashMap<u64, (String, Tally)>;

/// What one field is looked at for.
#[derive(Debug)]
pub(super) enum Look {
    /// For nothing but whether it is filled.
    Fill,
    /// For spellings, by hash: how many records have each value, and which are the first.
    Choice(Option<Choices>),
    /// For days that cannot be. Of a day of the past, one after the export is impossible.
    Day { past: bool, birth: bool },
    /// For texts in a field of numbers or flags.
    Typed,
    /// For what is no address.
    Email,
}

impl Look {
    pub(super) fn of(name: &str, kind: &FieldKind) -> Self {
        match kind {
            FieldKind::Choice { .. } | FieldKind::Choices { .. } => Self::Choice(Some(FxHashMap::default())),
            FieldKind::Date | FieldKind::Time => {
                let birth = name.contains("birth") || name.ends_with("dob");
                let past = birth
                    || [
                        "created_at",
                        "updated_at",
                        "occurred_at",
                        "sent_at",
                        "entered_at",
                        "closed_at",
                        "completed_at",
                    ]
                    .contains(&name)
                    || name.ends_with("_activity_at");
                Self::Day { past, birth }
            }
            FieldKind::Number { .. } | FieldKind::Money { .. } | FieldKind::Percent { .. } | FieldKind::Bool => {
                Self::Typed
            }
            FieldKind::Email => Self::Email,
            _ => Self::Fill,
        }
    }
}

/// What was found wrong with one field.
#[derive(Debug, Default)]
pub(super) struct Wrong {
    unreadable: Tally,
    far_off: Tally,
    after: Tally,
    no_address: Tally,
}

/// Returns whether a value says something.
pub(super) fn says(value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Text(text) => match text.as_bytes().first() {
            None => false,
            Some(first) => first.is_ascii_graphic() || !text.trim_ascii_start().is_empty(),
        },
        ValueRef::List(items) => !items.is_empty(),
        _ => true,
    }
}

/// Looks at one value that says something.
pub(super) fn look(look: &mut Look, wrong: &mut Wrong, value: ValueRef<'_>, record: u32, exported: DateTime<Utc>) {
    match look {
        Look::Fill => {}
        Look::Choice(slot) => {
            let Some(choices) = slot else { return };
            let mut over = false;
            let mut note = |text: &str| {
                let hash = hash(text);
                if let Some((_, tally)) = choices.get_mut(&hash) {
                    tally.add(record);
                } else if choices.len() < CHOICES && text.len() <= CHOICE_LENGTH {
                    choices.entry(hash).or_insert_with(|| (text.to_owned(), Tally::default())).1.add(record);
                } else {
                    over = true;
                }
            };
            match value {
                ValueRef::Text(text) => note(text),
                ValueRef::List(items) => items.iter().for_each(|item| {
                    if let Value::Text(text) = item {
                        note(text);
                    }
                }),
                _ => {}
            }
            if over {
                *slot = None;
            }
        }
        Look::Day { past, .. } => match value {
            ValueRef::Text(_) => wrong.unreadable.add(record),
            ValueRef::Date(day) => {
                wrong.look_at_day(day, *past && day > exported.date_naive(), record, exported);
            }
            ValueRef::Time(at) => wrong.look_at_day(at.date_naive(), *past && at > exported, record, exported),
            _ => {}
        },
        Look::Typed => {
            if let ValueRef::Text(_) = value {
                wrong.unreadable.add(record);
            }
        }
        Look::Email => {
            if let ValueRef::Text(text) = value
                && !is_address(text.trim())
            {
                wrong.no_address.add(record);
            }
        }
    }
}

impl Wrong {
    fn look_at_day(&mut self, day: NaiveDate, after: bool, record: u32, exported: DateTime<Utc>) {
        if day.year() < EARLIEST || day.year() > exported.year() + AHEAD {
            self.far_off.add(record);
        } else if after {
            self.after.add(record);
        }
    }

    /// Returns the findings of one field.
    pub(super) fn findings(
        self,
        object: &str,
        field: &str,
        look: &Look,
        ids: &Ids,
        effects: &Effects<'_>,
    ) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut add = |kind: &str, severity, tally: &Tally, what: String, plan: String| {
            if tally.count > 0 {
                found.push(Finding {
                    kind: kind.to_owned(),
                    severity,
                    object: object.to_owned(),
                    field: Some(field.to_owned()),
                    count: tally.count,
                    what,
                    plan,
                    records: ids.each(&tally.first),
                });
            }
        };
        let unreadable = || effects.unreadable(object, field);
        match look {
            Look::Day { birth, .. } => {
                let what = "the value is no day or time that can be read".to_owned();
                add("date-unreadable", Severity::Warning, &self.unreadable, what, unreadable());
                let what = format!("the year is before {EARLIEST} or more than {AHEAD} years ahead");
                add("date-far-off", Severity::Warning, &self.far_off, what, effects.implausible(object, field));
                let (kind, what) = if *birth {
                    ("birth-in-future", "the birth is after the export")
                } else {
                    ("date-after-export", "it tells of the past and is after the export")
                };
                add(kind, Severity::Warning, &self.after, what.to_owned(), effects.implausible(object, field));
            }
            Look::Typed => {
                let what = "the value is not of the field's kind (a number, yes or no)".to_owned();
                add("value-unreadable", Severity::Warning, &self.unreadable, what, unreadable());
            }
            Look::Email => {
                let what = "the value is no e-mail address".to_owned();
                add("email-invalid", Severity::Warning, &self.no_address, what, unreadable());
            }
            Look::Fill | Look::Choice(_) => {}
        }
        found
    }
}

/// Returns the findings about spellings of one field: one for every meaning that is spelled in more than one way.
pub(super) fn variants(object: &str, field: &str, choices: Choices, ids: &Ids, effects: &Effects<'_>) -> Vec<Finding> {
    let mut by_meaning: BTreeMap<String, Vec<(String, Tally)>> = BTreeMap::new();
    for (value, tally) in choices.into_values() {
        by_meaning.entry(meant(&value)).or_default().push((value, tally));
    }
    let mut found = Vec::new();
    for (_, mut spellings) in by_meaning {
        // The most frequent first.
        spellings.sort_by(|a, b| b.1.count.cmp(&a.1.count).then_with(|| a.0.cmp(&b.0)));
        if spellings.len() < 2 {
            continue;
        }
        let told: Vec<String> = spellings.iter().map(|(value, tally)| format!("`{value}` ({})", tally.count)).collect();
        let texts: Vec<&str> = spellings.iter().map(|(value, _)| value.as_str()).collect();
        let mut others = Tally::default();
        spellings.iter().skip(1).for_each(|(_, tally)| others.merge(tally));
        found.push(Finding {
            kind: "value-variants".to_owned(),
            severity: Severity::Note,
            object: object.to_owned(),
            field: Some(field.to_owned()),
            count: others.count,
            what: format!("one choice in {} spellings: {}", spellings.len(), told.join(", ")),
            plan: effects.variants(object, field, &texts),
            records: ids.each(&others.first),
        });
    }
    found
}

/// Two fields of which the first cannot lie after the second.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) wrong: Tally,
}

/// Pairs of names: what begins, and what ends it.
const SPANS: &[(&str, &[&str])] = &[
    ("created_at", &["updated_at", "closed_at", "close_date", "completed_at", "deleted_at", "converted_at"]),
    ("starts_at", &["ends_at"]),
    ("started_on", &["ended_on"]),
    ("start_date", &["end_date", "due_date", "completion_date"]),
    ("entered_at", &["left_at"]),
    ("hired_on", &["left_on"]),
    ("opens_at", &["closes_at"]),
    ("opened_at", &["closed_at"]),
];

/// Returns the spans of an object.
pub(super) fn spans(schema: &ObjectSchema) -> Vec<Span> {
    let place = |name: &str| schema.fields.iter().position(|field| field.name.as_str() == name);
    let mut spans = Vec::new();
    for (from, ends) in SPANS {
        for to in *ends {
            if let (Some(from), Some(to)) = (place(from), place(to)) {
                spans.push(Span { from, to, wrong: Tally::default() });
            }
        }
    }
    spans
}

/// Returns whether the first moment is after the second. A day without a time is taken with a day of grace, for time zones.
pub(super) fn is_after(from: ValueRef<'_>, to: ValueRef<'_>) -> bool {
    let day = |value: ValueRef<'_>| match value {
        ValueRef::Date(day) => Some(day),
        ValueRef::Time(at) => Some(at.date_naive()),
        _ => None,
    };
    match (from, to) {
        (ValueRef::Time(from), ValueRef::Time(to)) => from > to,
        (ValueRef::Date(from), ValueRef::Date(to)) => from > to,
        (from, to) => match (day(from), day(to)) {
            (Some(from), Some(to)) => to.succ_opt().is_some_and(|grace| from > grace),
            _ => false,
        },
    }
}

/// Returns whether a text could be the address of a mailbox.
fn is_address(text: &str) -> bool {
    is_plain_address(text) || is_any_address(text)
}

/// Returns whether a text is an address of nothing but letters, figures and the usual marks, as almost all are.
fn is_plain_address(text: &str) -> bool {
    let (mut ats, mut dots, mut last) = (0, 0, b'.');
    for byte in text.bytes() {
        match byte {
            b'@' if last != b'@' && (ats, dots) == (0, 0) => (ats, dots) = (1, 0),
            b'.' if ats == 1 && matches!(last, b'@' | b'.') => return false,
            b'.' if ats == 1 => dots += 1,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'+' => {}
            _ => return false,
        }
        last = byte;
    }
    ats == 1 && dots > 0 && last != b'.' && !text.starts_with('@')
}

fn is_any_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    !local.is_empty()
        && !local.contains([' ', '@', ',', ';'])
        && domain.split('.').count() > 1
        && domain.split('.').all(|label| !label.is_empty() && !label.contains(|c: char| c.is_whitespace() || c == ','))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_day_and_a_time_are_compared_with_a_day_of_grace() {
        let day = |d: u32| ValueRef::Date(NaiveDate::from_ymd_opt(2025, 3, d).unwrap());
        let at = |text: &str| ValueRef::Time(text.parse().unwrap());
        assert!(is_after(day(2), day(1)) && !is_after(day(1), day(1)));
        assert!(!is_after(at("2025-03-02T08:00:00Z"), day(1)) && is_after(at("2025-03-03T08:00:00Z"), day(1)));
        assert!(is_after(at("2025-03-03T08:00:01Z"), at("2025-03-03T08:00:00Z")));
        assert!(!is_after(ValueRef::Text("2025-03-03"), day(1)));
    }

    proptest! {
        #[test]
        fn a_plain_address_is_an_address(text in "[a-c.@+ -]{0,10}") {
            prop_assert!(!is_plain_address(&text) || is_any_address(&text), "{text}");
        }
    }

    #[test]
    fn addresses_are_told_from_other_texts() {
        for (text, is) in [
            ("a@b.de", true),
            ("info@example.com", true),
            ("not an address", false),
            ("a@b", false),
            ("@b.de", false),
            ("a@b..de", false),
        ] {
            assert_eq!(is_address(text), is, "{text}");
        }
    }
}
