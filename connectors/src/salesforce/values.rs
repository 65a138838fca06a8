//! Values on the wire: JSON in rows and collections, text in bulk files.
//!
//! Source: "Valid Date and DateTime Formats" and "Primitive Data Types" in the SOAP API Developer Guide; "Prepare CSV
//! Files" in the Bulk API 2.0 Developer Guide (`#N/A` clears a field, an empty cell leaves it).

use std::{borrow::Cow, collections::BTreeMap};

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use rust_decimal::Decimal;
use serde_json::Value as Json;
use waybill_ledger::{Field, FieldKind, Value};

/// How a bulk file says that a field is to hold nothing.
pub(super) const CLEARED: &str = "#N/A";

/// Returns the JSON of a value; `None` is null, and so is an empty text, which this platform does not keep.
pub(super) fn to_json(value: Option<&Value>) -> Json {
    match value {
        None => Json::Null,
        Some(Value::Text(text)) if text.is_empty() => Json::Null,
        Some(Value::Bool(flag)) => Json::Bool(*flag),
        Some(Value::Number(number)) => {
            let text = number.normalize().to_string();
            let digits = text.chars().filter(char::is_ascii_digit).count();
            // Beyond 15 digits a JSON number would lose some; the platform takes numbers as text, too.
            match serde_json::from_str::<serde_json::Number>(&text) {
                Ok(number) if digits <= 15 => Json::Number(number),
                _ => Json::String(text),
            }
        }
        Some(other) => Json::String(to_text(other)),
    }
}

/// Returns the cell of a value in a bulk file; `None` clears the field.
pub(super) fn to_cell(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        None => CLEARED.into(),
        Some(Value::Text(text)) if text.is_empty() => CLEARED.into(),
        Some(Value::Text(text)) => text.into(),
        Some(Value::Number(number)) => number.normalize().to_string().into(),
        Some(other) => to_text(other).into(),
    }
}

fn to_text(value: &Value) -> String {
    match value {
        Value::Time(time) => time.to_rfc3339_opts(SecondsFormat::Millis, true),
        Value::List(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(";"),
        other => other.to_string(),
    }
}

/// Reads a value as the field's kind says.
pub(super) fn from_json(value: &Json, kind: Option<&FieldKind>) -> Field {
    into_field(value.clone(), kind)
}

/// Turns a value into what the field's kind says.
pub(super) fn into_field(value: Json, kind: Option<&FieldKind>) -> Field {
    let text = match value {
        Json::Null => return Field::Null,
        Json::Bool(flag) => return Field::from(flag),
        Json::Number(number) => {
            let text = number.to_string();
            let parsed = text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(&text));
            return parsed.map_or_else(|_| Field::from(text.as_str()), Field::from);
        }
        Json::Object(parts) => {
            let parts: BTreeMap<String, Value> = parts
                .into_iter()
                .filter(|(name, _)| *name != "attributes")
                .filter_map(|(name, part)| Some((name, present(into_field(part, None))?)))
                .collect();
            return Field::Present(Value::Map(parts));
        }
        Json::Array(items) => {
            return Field::Present(Value::List(
                items.into_iter().filter_map(|item| present(into_field(item, None))).collect(),
            ));
        }
        Json::String(text) => text,
    };
    match kind {
        Some(FieldKind::Date) => text.parse::<NaiveDate>().map_or_else(|_| Field::from(text.as_str()), Field::from),
        Some(FieldKind::Time) => time(&text).map_or_else(|| Field::from(text.as_str()), Field::from),
        Some(FieldKind::Choices { .. }) => {
            Field::Present(Value::List(text.split(';').map(|item| Value::Text(item.to_owned())).collect()))
        }
        Some(FieldKind::Number { .. } | FieldKind::Money { .. } | FieldKind::Percent { .. }) => {
            text.parse::<Decimal>().map_or_else(|_| Field::from(text.as_str()), Field::from)
        }
        _ => Field::Present(Value::Text(text)),
    }
}

fn present(field: Field) -> Option<Value> {
    match field {
        Field::Present(value) => Some(value),
        Field::Null | Field::Absent => None,
    }
}

/// Reads a time in the form of the REST API (`2022-03-17T16:21:26.000+0000`) or of RFC 3339.
fn time(text: &str) -> Option<DateTime<Utc>> {
    // The platform leaves out the colon of the offset.
    let offset = text.len().checked_sub(5).filter(|at| text.is_char_boundary(*at)).map(|at| text.split_at(at));
    let parsed = match offset {
        Some((moment, offset)) if offset.is_ascii() && offset.starts_with(['+', '-']) => {
            let (hours, minutes) = offset.split_at(3);
            DateTime::parse_from_rfc3339(&format!("{moment}{hours}:{minutes}"))
        }
        _ => DateTime::parse_from_rfc3339(text),
    };
    parsed.ok().map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_survives_the_wire(mantissa in -999_999_999_999_999_999i64..999_999_999_999_999_999, scale in 0u32..6) {
            let value = Value::Number(Decimal::new(mantissa, scale));
            let kind = FieldKind::Money { precision: 18, scale: 6 };
            let back = from_json(&to_json(Some(&value)), Some(&kind));
            let Some(Value::Number(back)) = back.value() else { panic!("no number") };
            prop_assert_eq!(back.normalize(), Decimal::new(mantissa, scale).normalize());
        }
    }

    #[test]
    fn values_read_as_their_field_says() {
        let read = |text: &str, kind: &FieldKind| from_json(&Json::String(text.into()), Some(kind));
        assert_eq!(read("2024-05-01", &FieldKind::Date), Field::from(NaiveDate::from_ymd_opt(2024, 5, 1).unwrap()));
        let time = read("2022-03-17T16:21:26.000+0000", &FieldKind::Time);
        assert_eq!(to_json(time.value()), Json::String("2022-03-17T16:21:26.000Z".into()));
        let many = read("a;b", &FieldKind::Choices { options: vec![], restricted: false });
        assert_eq!(to_cell(many.value()), "a;b");
        assert_eq!(from_json(&Json::Null, None), Field::Null);
        assert_eq!(to_cell(None), CLEARED);
        assert_eq!(to_json(Some(&Value::from(""))), Json::Null);
    }
}
