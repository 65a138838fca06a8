//! From the text of one cell to a value. What does not parse stays text: a bad value is a finding of the mapping, not a loss here.

use std::str::FromStr;

use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::Deserialize;
use waybill_ledger::{FieldRef, Value, ValueRef};

use super::moment::{self, DateOrder};

/// How the cells of an export are written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Values {
    /// The IANA zone of times without offset, where the manifest names none.
    pub(crate) time_zone: Option<String>,
    /// The mark before the fraction of a number.
    pub(crate) decimal: char,
    /// The mark between groups of three digits; without one, grouped numbers are not numbers.
    pub(crate) grouping: Option<char>,
    /// Whether day or month comes first in dates written with figures.
    pub(crate) date_order: Option<DateOrder>,
    /// Whether a whole number in a date column is a spreadsheet's day count (1900 system).
    pub(crate) serial_dates: bool,
    /// What an empty cell means.
    pub(crate) empty: Empty,
    /// Words that stand for nothing, such as `-` or `null`.
    pub(crate) nothing: Vec<String>,
}

impl Default for Values {
    fn default() -> Self {
        Self {
            time_zone: None,
            decimal: '.',
            grouping: None,
            date_order: None,
            serial_dates: false,
            empty: Empty::Null,
            nothing: Vec::new(),
        }
    }
}

/// What an empty cell of a table means. It is the profile's decision, because most exporters write every empty value the
/// same way, and only a few tell `""` from nothing on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Empty {
    /// The field holds nothing, quoted or not.
    #[default]
    Null,
    /// A text column holds an empty text, any other column nothing.
    Text,
    /// `""` is an empty text in a text column; an unquoted empty cell is nothing.
    Quoted,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    #[default]
    Text,
    LongText,
    Html,
    Email,
    Phone,
    Url,
    Choice,
    Number,
    Money,
    Percent,
    Bool,
    Date,
    Time,
    List,
    Json,
}

/// What a column holds and how it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "SpecForm")]
pub(crate) struct ColumnSpec {
    pub(crate) kind: Kind,
    /// Between the items of a list.
    pub(crate) separator: char,
    /// A `chrono` format for dates and times, or `epoch_s`, `epoch_ms`.
    pub(crate) format: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SpecForm {
    Kind(Kind),
    Full(FullSpec),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FullSpec {
    #[serde(rename = "type")]
    kind: Kind,
    separator: Option<char>,
    format: Option<String>,
}

impl From<SpecForm> for ColumnSpec {
    fn from(form: SpecForm) -> Self {
        match form {
            SpecForm::Kind(kind) => kind.into(),
            SpecForm::Full(FullSpec { kind, separator, format }) => {
                Self { kind, separator: separator.unwrap_or(';'), format }
            }
        }
    }
}

impl From<Kind> for ColumnSpec {
    fn from(kind: Kind) -> Self {
        Self { kind, separator: ';', format: None }
    }
}

impl Kind {
    /// Returns whether the column holds text as it stands.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::LongText | Self::Html | Self::Email | Self::Phone | Self::Url | Self::Choice)
    }
}

/// [`Values`] with the zone looked up.
#[derive(Debug, Clone)]
pub(crate) struct Conventions {
    pub(crate) values: Values,
    pub(crate) zone: Option<Tz>,
}

/// Returns whether every cell of a column that is not empty is its own text, and every other one nothing.
pub(crate) fn is_plain(spec: &ColumnSpec, conventions: &Conventions) -> bool {
    spec.kind.is_text() && conventions.values.nothing.is_empty() && conventions.values.empty == Empty::Null
}

/// Reads one cell of a table into `field`. A value that needs room of its own is returned instead.
pub(crate) fn read<'a>(
    text: &'a str,
    quoted: bool,
    spec: &ColumnSpec,
    conventions: &Conventions,
    field: &mut FieldRef<'a>,
) -> Option<Value> {
    if text.is_empty() {
        let empty_text = spec.kind.is_text()
            && match conventions.values.empty {
                Empty::Null => false,
                Empty::Text => true,
                Empty::Quoted => quoted,
            };
        *field = if empty_text { FieldRef::Present(ValueRef::Text("")) } else { FieldRef::Null };
    } else if conventions.values.nothing.iter().any(|word| word == text) {
        *field = FieldRef::Null;
    } else if let Some(value) = scalar(text, spec, conventions) {
        *field = FieldRef::Present(value);
    } else if matches!(spec.kind, Kind::List | Kind::Json) {
        return Some(typed(text, spec, conventions));
    } else {
        *field = FieldRef::Present(ValueRef::Text(text));
    }
    None
}

/// Returns the value of a text that is not empty, or the text itself if it is not what the column promises.
pub(crate) fn typed(text: &str, spec: &ColumnSpec, conventions: &Conventions) -> Value {
    let made = match spec.kind {
        Kind::List => Some(Value::List(items(text, spec.separator).into_iter().map(Value::Text).collect())),
        Kind::Json => serde_json::from_str(text.trim()).ok().and_then(super::json::value),
        _ => scalar(text, spec, conventions).map(ValueRef::to_value),
    };
    made.unwrap_or_else(|| Value::Text(text.to_owned()))
}

/// Returns the number, the flag, the day or the moment that the column promises, if the text is one.
#[inline]
fn scalar(text: &str, spec: &ColumnSpec, conventions: &Conventions) -> Option<ValueRef<'static>> {
    let values = &conventions.values;
    // Most texts have no space around them, and that is seen at their ends.
    let bare = || match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    };
    let format = spec.format.as_deref();
    match spec.kind {
        Kind::Number | Kind::Money | Kind::Percent => {
            number(bare(), values.decimal, values.grouping).map(ValueRef::Number)
        }
        Kind::Bool => boolean(bare()).map(ValueRef::Bool),
        Kind::Date => moment::date(bare(), format, values.date_order, values.serial_dates).map(ValueRef::Date),
        Kind::Time => {
            moment::time(bare(), format, values.date_order, conventions.zone, values.serial_dates).map(ValueRef::Time)
        }
        _ => None,
    }
}

/// Reads a number with the declared marks. Scientific notation is refused: a spreadsheet that writes it has already dropped
/// digits.
pub(crate) fn number(text: &str, decimal: char, grouping: Option<char>) -> Option<Decimal> {
    if let Some(number) = plain_number(text, decimal) {
        return Some(number);
    }
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (if text.starts_with('-') { "-" } else { "" }, rest),
        None => ("", text),
    };
    let (whole, fraction) = match digits.split_once(decimal) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let whole = match grouping {
        Some(mark) if whole.contains(mark) => {
            let mut groups = whole.split(mark);
            let first = groups.next().unwrap_or_default();
            let well_formed = (1..=3).contains(&first.len()) && groups.all(|group| group.len() == 3);
            if !well_formed {
                return None;
            }
            whole.replace(mark, "")
        }
        _ => whole.to_owned(),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let enough = !whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
    if !enough || !all_digits(&whole) || !fraction.is_none_or(all_digits) {
        return None;
    }
    // `from_str_exact` refuses what does not fit, where `from_str` would round.
    let plain = match fraction {
        Some(fraction) if !fraction.is_empty() => {
            format!("{sign}{}.{fraction}", if whole.is_empty() { "0" } else { &whole })
        }
        _ => format!("{sign}{whole}"),
    };
    Decimal::from_str_exact(&plain).ok()
}

/// Reads a number of up to eighteen figures that has no mark but the one before its fraction: almost all are of that kind. What
/// it does not read may be a number all the same.
fn plain_number(text: &str, decimal: char) -> Option<Decimal> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let (mut mantissa, mut scale, mut fraction) = (0_i64, 0_u32, false);
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + i64::from(byte - b'0');
                scale += u32::from(fraction);
            }
            _ if !fraction && char::from(*byte) == decimal => fraction = true,
            _ => return None,
        }
    }
    // A point with nothing after or before it, and a zero with a sign, are for the longer way.
    let odd = fraction && (scale == 0 || digits.len() == scale as usize + 1) || negative && mantissa == 0;
    (!odd).then(|| Decimal::new(if negative { -mantissa } else { mantissa }, scale))
}

/// Reads the words for true and false that exports use (bundle convention, "Values").
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" => return Some(true),
        "false" => return Some(false),
        _ => {}
    }
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(&["true", "1", "yes", "y", "t"]) {
        Some(true)
    } else if is(&["false", "0", "no", "n", "f"]) {
        Some(false)
    } else {
        None
    }
}

/// Splits a list; `\` takes the special meaning from the separator and from itself. Empty items are not items.
pub(crate) fn items(text: &str, separator: char) -> Vec<String> {
    let mut found = Vec::new();
    let mut item = String::new();
    let mut characters = text.chars().peekable();
    let mut close = |item: &mut String| {
        let trimmed = item.trim();
        if !trimmed.is_empty() {
            found.push(trimmed.to_owned());
        }
        item.clear();
    };
    while let Some(character) = characters.next() {
        if character == '\\' {
            match characters.peek() {
                Some(&next) if next == separator || next == '\\' => {
                    item.push(next);
                    characters.next();
                }
                _ => item.push('\\'),
            }
        } else if character == separator {
            close(&mut item);
        } else {
            item.push(character);
        }
    }
    close(&mut item);
    found
}

/// Reads a JSON number without rounding, if it fits.
pub(crate) fn json_number(text: &str) -> Option<Decimal> {
    Decimal::from_str_exact(text).ok().or_else(|| {
        let exact = Decimal::from_scientific(text).ok()?;
        Decimal::from_str(&exact.to_string()).ok()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use waybill_ledger::Field;

    use super::*;

    fn conventions(values: Values) -> Conventions {
        Conventions { values, zone: None }
    }

    fn read(text: &str, quoted: bool, spec: &ColumnSpec, conventions: &Conventions) -> Field {
        let mut field = FieldRef::Absent;
        match (super::read(text, quoted, spec, conventions, &mut field), field) {
            (Some(made), _) => Field::Present(made),
            (None, FieldRef::Absent) => Field::Absent,
            (None, FieldRef::Null) => Field::Null,
            (None, FieldRef::Present(value)) => Field::Present(value.to_value()),
        }
    }

    proptest! {
        #[test]
        fn the_short_way_to_a_number_leads_where_the_long_one_does(text in "[-+]?[0-9]{0,12}([.,][0-9]{0,9})?") {
            if let Some(short) = plain_number(&text, '.') {
                let long = Decimal::from_str_exact(&text).unwrap();
                prop_assert_eq!((short.to_string(), short.scale()), (long.to_string(), long.scale()));
            }
        }
    }

    #[test]
    fn numbers_follow_the_declared_marks() {
        let read = |text, decimal, grouping| number(text, decimal, grouping).map(|n| n.to_string());
        assert_eq!(read("1426792.50", '.', None).as_deref(), Some("1426792.50"));
        assert_eq!(read("-7", '.', None).as_deref(), Some("-7"));
        assert_eq!(read(".5", '.', None).as_deref(), Some("0.5"));
        assert_eq!(read("1.234.567,8", ',', Some('.')).as_deref(), Some("1234567.8"));
        assert_eq!(read("12.34,5", ',', Some('.')), None);
        assert_eq!(read("1,5", '.', None), None, "a comma is not a point unless declared");
        assert_eq!(read("1.5E+11", '.', None), None, "digits are lost already");
        assert_eq!(read("", '.', None), None);
        assert_eq!(read("-", '.', None), None);
        assert_eq!(read("٣", '.', None), None);
        assert_eq!(read(&"9".repeat(40), '.', None), None);
    }

    #[test]
    fn a_list_keeps_escaped_separators() {
        assert_eq!(items(r"a\;b; c ;;d\\", ';'), ["a;b", "c", r"d\"]);
        assert_eq!(items("VIP,  fair 2024 ", ','), ["VIP", "fair 2024"]);
        assert_eq!(items(r"C:\new", ','), [r"C:\new"]);
    }

    #[test]
    fn nothing_is_lost_when_a_cell_breaks_its_promise() {
        let conventions = conventions(Values::default());
        let spec = ColumnSpec::from(Kind::Number);
        assert_eq!(read("about 5", false, &spec, &conventions), Field::Present(Value::Text("about 5".into())));
        let spec = ColumnSpec::from(Kind::Bool);
        assert_eq!(read("maybe", false, &spec, &conventions), Field::Present(Value::Text("maybe".into())));
        assert_eq!(read("TRUE", false, &spec, &conventions), Field::Present(Value::Bool(true)));
    }

    #[test]
    fn the_profile_decides_what_an_empty_cell_means() {
        let text = ColumnSpec::default();
        let flag = ColumnSpec::from(Kind::Bool);
        let empty = |empty| conventions(Values { empty, ..Values::default() });
        let blank = Field::Present(Value::Text(String::new()));
        assert_eq!(read("", true, &text, &empty(Empty::Null)), Field::Null);
        assert_eq!(read("", false, &text, &empty(Empty::Text)), blank);
        assert_eq!(read("", true, &text, &empty(Empty::Quoted)), blank);
        assert_eq!(read("", false, &text, &empty(Empty::Quoted)), Field::Null);
        assert_eq!(read("", true, &flag, &empty(Empty::Text)), Field::Null);
        let dash = conventions(Values { nothing: vec!["-".into()], ..Values::default() });
        assert_eq!(read("-", false, &text, &dash), Field::Null);
    }

    #[test]
    fn json_in_a_cell_becomes_its_parts() {
        let conventions = conventions(Values::default());
        let spec = ColumnSpec::from(Kind::Json);
        let Field::Present(Value::Map(parts)) = read(r#"{"city":"Oslo","zip":null}"#, true, &spec, &conventions) else {
            panic!("not a map");
        };
        assert_eq!(parts.get("city"), Some(&Value::Text("Oslo".into())));
        assert!(!parts.contains_key("zip"));
    }
}
