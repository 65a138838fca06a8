//! Values on the wire, and records put together and taken apart.
//!
//! **Invariant:** a composite leaves whole. The server keeps, loses or recomputes the parts that a write leaves out, and does
//! so differently for each type (Twenty 2.21, "Partial update of a composite"); so what a write does not set is sent as it is.

use chrono::{DateTime, NaiveDate, SecondsFormat};
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json, json};
use waybill_ledger::{Field, FieldName, Fields, Record, Value};

use super::{
    catalog::Wire,
    columns::{Column, Columns, Part},
};
use crate::destination::RemoteRecord;

/// A row as the wire has it.
pub(super) type Row = Map<String, Json>;

/// Millionths of an amount.
const MICROS: i64 = 1_000_000;
/// The largest integer that every JSON parser keeps.
const SAFE: i64 = 1 << 53;

/// Puts fields into the body of a write. `present` is the row as it is, which composites are completed from; a new row has none.
/// A field that the object does not have comes back as an error.
pub(super) fn body<'f>(
    fields: impl Iterator<Item = (&'f FieldName, Option<&'f Value>)>,
    columns: &Columns,
    present: Option<&Row>,
) -> Result<Row, FieldName> {
    let mut body = Row::new();
    for (name, value) in fields {
        let column = columns.get(name.as_str()).ok_or_else(|| name.clone())?;
        // Files are uploaded first: what the record says of them is known then.
        if column.wire == Wire::Files {
            continue;
        }
        if column.part == Part::Whole {
            body.insert(column.key.clone(), whole(value, &column.wire));
            continue;
        }
        let composite = body.entry(column.key.clone()).or_insert_with(|| {
            let known = present.and_then(|row| row.get(&column.key)).and_then(Json::as_object);
            Json::Object(known.map(|known| base(known, &column.wire)).unwrap_or_default())
        });
        if let Json::Object(parts) = composite {
            set(parts, column.part, value);
        }
    }
    Ok(body)
}

/// Returns the parts of a composite that a write sends along as they are.
fn base(known: &Row, wire: &Wire) -> Row {
    let mut parts = known.clone();
    if *wire == Wire::RichText {
        // Either form is made of the other: an old one sent along would stay beside the new.
        parts.clear();
    }
    parts
}

fn set(parts: &mut Row, part: Part, value: Option<&Value>) {
    let text = |value: Option<&Value>| Json::String(value.map(ToString::to_string).unwrap_or_default());
    match part {
        Part::Whole => {}
        Part::Text(key) => {
            parts.insert(key.to_owned(), text(value));
        }
        Part::Number(key) => {
            parts.insert(key.to_owned(), value.map_or(Json::Null, number));
        }
        Part::Amount => {
            parts.insert("amountMicros".to_owned(), value.map_or(Json::Null, micros));
        }
        Part::Texts(key) => {
            parts.insert(key.to_owned(), Json::Array(items(value).map(|item| text(Some(item))).collect()));
        }
        Part::Phone => {
            // The server makes the country and the calling code of an international number; old ones would contradict it.
            let number = text(value);
            let international = number.as_str().is_some_and(|number| number.starts_with('+'));
            for key in ["primaryPhoneCountryCode", "primaryPhoneCallingCode"] {
                if international {
                    parts.remove(key);
                } else {
                    parts.insert(key.to_owned(), Json::String(String::new()));
                }
            }
            parts.insert("primaryPhoneNumber".to_owned(), number);
        }
        Part::Phones => {
            let phones = items(value).map(|item| json!({ "number": item.to_string() })).collect();
            parts.insert("additionalPhones".to_owned(), Json::Array(phones));
        }
        Part::Links => {
            let links = items(value).map(|item| match item {
                Value::Map(parts) => {
                    let part = |name: &str| parts.get(name).map(ToString::to_string).unwrap_or_default();
                    json!({ "url": part("url"), "label": part("label") })
                }
                url => json!({ "url": url.to_string(), "label": "" }),
            });
            parts.insert("secondaryLinks".to_owned(), Json::Array(links.collect()));
        }
    }
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    match value {
        Some(Value::List(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    }
    .iter()
}

fn number(value: &Value) -> Json {
    let text = match value {
        Value::Number(number) => number.normalize().to_string(),
        other => other.to_string(),
    };
    serde_json::from_str::<serde_json::Number>(&text).map_or(Json::String(text), Json::Number)
}

/// Returns the millionths of an amount; what is smaller is cut off, as the server does.
fn micros(value: &Value) -> Json {
    let Value::Number(amount) = value else { return number(value) };
    let exact = amount.checked_mul(Decimal::from(MICROS)).map(|micros| micros.trunc().normalize().to_string());
    match exact.as_ref().and_then(|text| text.parse::<i64>().ok()) {
        Some(micros) if micros.abs() <= SAFE => Json::from(micros),
        // Digits in a text keep what a number would lose.
        _ => Json::String(exact.unwrap_or_else(|| amount.to_string())),
    }
}

fn whole(value: Option<&Value>, wire: &Wire) -> Json {
    let Some(value) = value else {
        return if matches!(wire, Wire::MultiSelect | Wire::Array) { json!([]) } else { Json::Null };
    };
    match (wire, value) {
        (Wire::Number, value) => number(value),
        (Wire::Boolean, Value::Bool(flag)) => Json::Bool(*flag),
        (Wire::DateTime, Value::Time(time)) => Json::String(time.to_rfc3339_opts(SecondsFormat::Millis, true)),
        (Wire::MultiSelect | Wire::Array, value) => {
            items(Some(value)).map(|item| Json::String(item.to_string())).collect()
        }
        (Wire::RawJson, value) => raw(value),
        (_, other) => Json::String(other.to_string()),
    }
}

fn raw(value: &Value) -> Json {
    match value {
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Number(_) => number(value),
        Value::List(items) => items.iter().map(raw).collect(),
        Value::Map(parts) => Json::Object(parts.iter().map(|(name, part)| (name.clone(), raw(part))).collect()),
        other => Json::String(other.to_string()),
    }
}

/// Reads one column of a row.
pub(super) fn read(column: &Column, row: &Row) -> Field {
    let Some(held) = row.get(&column.key) else { return Field::Absent };
    let text = |name: &str| held[name].as_str().map_or(Field::Null, blank_is_null);
    match column.part {
        Part::Whole => read_whole(held, &column.wire),
        Part::Text(name) => text(name),
        Part::Number(name) => decimal(&held[name]).map_or(Field::Null, Field::from),
        Part::Amount => match decimal(&held["amountMicros"]) {
            Some(micros) => Field::from((micros / Decimal::from(MICROS)).normalize()),
            None => Field::Null,
        },
        Part::Texts(name) => {
            list(held[name].as_array().into_iter().flatten().filter_map(Json::as_str).map(Value::from))
        }
        Part::Phone => {
            let part = |name: &str| held[name].as_str().unwrap_or_default();
            blank_is_null(&international(part("primaryPhoneNumber"), part("primaryPhoneCallingCode")))
        }
        Part::Phones => list(held["additionalPhones"].as_array().into_iter().flatten().map(|phone| {
            let part = |name: &str| phone[name].as_str().unwrap_or_default();
            Value::from(international(part("number"), part("callingCode")))
        })),
        Part::Links => list(held["secondaryLinks"].as_array().into_iter().flatten().map(value_of)),
    }
}

fn blank_is_null(text: &str) -> Field {
    if text.is_empty() { Field::Null } else { Field::from(text) }
}

fn list(items: impl Iterator<Item = Value>) -> Field {
    let items: Vec<Value> = items.collect();
    if items.is_empty() { Field::Null } else { Field::Present(Value::List(items)) }
}

/// Returns a number whole, of the two parts that the server keeps.
fn international(number: &str, calling: &str) -> String {
    let calling = calling.trim_start_matches('+');
    if number.is_empty() || calling.is_empty() || number.starts_with('+') {
        number.to_owned()
    } else {
        format!("+{calling}{number}")
    }
}

fn decimal(held: &Json) -> Option<Decimal> {
    let text = match held {
        Json::Number(number) => number.to_string(),
        Json::String(text) => text.clone(),
        _ => return None,
    };
    text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(&text)).ok()
}

fn read_whole(held: &Json, wire: &Wire) -> Field {
    match (wire, held) {
        (_, Json::Null) => Field::Null,
        (Wire::Number, held) => decimal(held).map_or_else(|| Field::from(held.to_string()), Field::from),
        (Wire::Boolean, Json::Bool(flag)) => Field::from(*flag),
        (Wire::Date, Json::String(text)) => {
            let day = text.get(..10).and_then(|day| day.parse::<NaiveDate>().ok());
            day.map_or_else(|| Field::from(text.as_str()), Field::from)
        }
        (Wire::DateTime, Json::String(text)) => DateTime::parse_from_rfc3339(text)
            .map_or_else(|_| Field::from(text.as_str()), |time| Field::from(time.to_utc())),
        (_, Json::String(text)) => blank_is_null(text),
        (_, Json::Array(held)) => list(held.iter().map(value_of)),
        (_, held) => Field::Present(value_of(held)),
    }
}

fn value_of(held: &Json) -> Value {
    match held {
        Json::Null => Value::from(""),
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => decimal(held).map_or_else(|| Value::from(number.to_string()), Value::Number),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::List(items.iter().map(value_of).collect()),
        Json::Object(parts) => Value::Map(parts.iter().map(|(name, part)| (name.clone(), value_of(part))).collect()),
    }
}

/// Returns a row in our words, with these fields of it.
pub(super) fn record<'n>(row: &Row, columns: &Columns, fields: impl Iterator<Item = &'n FieldName>) -> RemoteRecord {
    let text = |name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
    let mut known = Fields::new();
    for name in fields {
        if let Some(column) = columns.get(name.as_str()) {
            known.set(name.clone(), read(column, row));
        }
    }
    RemoteRecord {
        record: Record { id: text("id").unwrap_or_default(), fields: known },
        version: text("updatedAt"),
        modified_by: row.get("updatedBy").map(actor),
    }
}

/// Returns who an actor is: a member by its id, everyone else by what they are and are called.
pub(super) fn actor(actor: &Json) -> String {
    let text = |name: &str| actor[name].as_str().unwrap_or_default();
    match actor["workspaceMemberId"].as_str() {
        Some(member) => format!("member:{member}"),
        None => format!("{}:{}", text("source"), text("name")),
    }
}
