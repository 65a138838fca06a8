//! Values of one column: what each type takes, how it is stored, and how a refusal reads.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde_json::{Map, Value as Json, json};

use super::{
    inspect::inspect,
    model::{Field, Kind},
    refusal::Refusal,
    uuid::Uuid,
};

/// Reads a value for a scalar field. Nothing, an empty text and an empty list are stored as nothing.
pub(crate) fn read(field: &Field, value: &Json) -> Result<Option<Json>, Refusal> {
    let name = &field.name;
    if value.is_null() && field.kind != Kind::Position {
        return Ok(None);
    }
    match field.kind {
        Kind::Number => number(name, value).map(Some),
        Kind::Date => date(name, value).map(Some),
        Kind::DateTime => date_time(name, value).map(Some),
        Kind::Boolean => match value {
            Json::Bool(_) => Ok(Some(value.clone())),
            other => Err(Refusal::invalid(format!("Invalid boolean value {} for field \"{name}\"", inspect(other)))),
        },
        Kind::Select | Kind::Rating => select(field, value),
        Kind::MultiSelect => multi_select(field, value),
        Kind::Array => Ok(some_list(strings(name, value)?)),
        Kind::RawJson => raw_json(name, value).map(Some),
        Kind::Uuid => uuid(name, value).map(Some),
        Kind::Position => position(name, value).map(Some),
        _ => match text(name, value)? {
            // A column that may not be empty keeps the empty text, for it has nothing else.
            None if !field.nullable => Ok(Some(json!(""))),
            read => Ok(read),
        },
    }
}

/// Reads a text; an empty one is nothing.
pub(crate) fn text(name: &str, value: &Json) -> Result<Option<Json>, Refusal> {
    match value {
        Json::Null => Ok(None),
        Json::String(text) if text.is_empty() => Ok(None),
        Json::String(_) => Ok(Some(value.clone())),
        other => Err(Refusal::invalid(format!("Invalid string value {} for text field \"{name}\"", inspect(other)))),
    }
}

/// Reads a number. Whatever the flavour of the field, the column is a double.
pub(crate) fn number(name: &str, value: &Json) -> Result<Json, Refusal> {
    let read = value.as_f64().filter(|_| value.is_number());
    read.map(double)
        .ok_or_else(|| Refusal::invalid(format!("Invalid number value {} for field \"{name}\"", inspect(value))))
}

/// Writes a double as JavaScript does: without a fraction where there is none.
pub(crate) fn double(value: f64) -> Json {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range, and without a fraction")]
    if value.fract() == 0.0 && value.abs() < 9.2e18 { json!(value as i64) } else { json!(value) }
}

/// Reads a day; of a full time, the day.
pub(crate) fn date(name: &str, value: &Json) -> Result<Json, Refusal> {
    let refused = || {
        let value = inspect(value);
        Refusal::invalid(format!("Invalid value {value} for date field \"{name}\". Expected format: 'YYYY-MM-DD'"))
    };
    let text = value.as_str().ok_or_else(refused)?;
    let day = match text.split_once('T') {
        None => text,
        Some(_) => {
            parse_time(text).ok_or_else(refused)?;
            &text[..10]
        }
    };
    let shaped = day.len() == 10 && NaiveDate::parse_from_str(day, "%Y-%m-%d").is_ok();
    if shaped { Ok(json!(day)) } else { Err(refused()) }
}

/// Reads a time, and writes it as the server does: in UTC, with milliseconds.
pub(crate) fn date_time(name: &str, value: &Json) -> Result<Json, Refusal> {
    let time = value.as_str().and_then(parse_time).ok_or_else(|| {
        let value = inspect(value);
        Refusal::invalid(format!(
            "Invalid value {value} for date-time field \"{name}\". Expected format: 'YYYY-MM-DDTHH:mm:ssZ'"
        ))
    })?;
    Ok(json!(write_time(time)))
}

/// Writes milliseconds since 1970.
pub(crate) fn write_time(millis: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(millis).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Reads ISO 8601 to milliseconds since 1970. A time without a zone is in the server's, which is UTC.
pub(crate) fn parse_time(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z") {
        return Some(time.timestamp_millis());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        let text = text.strip_suffix('Z').unwrap_or(text);
        if let Ok(time) = NaiveDateTime::parse_from_str(text, format) {
            return Some(time.and_utc().timestamp_millis());
        }
    }
    let day = (text.len() == 10).then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())??;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

fn select(field: &Field, value: &Json) -> Result<Option<Json>, Refusal> {
    let Some(read) = text(&field.name, value)? else { return Ok(None) };
    let chosen = read.as_str().unwrap_or_default();
    if field.choice(chosen).is_some() {
        return Ok(Some(read));
    }
    let valid: Vec<&str> = field.options.iter().map(|choice| choice.value.as_str()).collect();
    Err(Refusal::invalid(format!(
        "Invalid value \"{chosen}\" for field \"{}\". Valid values are: {}",
        field.name,
        valid.join(", ")
    )))
}

fn multi_select(field: &Field, value: &Json) -> Result<Option<Json>, Refusal> {
    let chosen = strings(&field.name, value)?;
    if chosen.iter().all(|value| field.choice(value).is_some()) {
        return Ok(some_list(chosen));
    }
    Err(Refusal::invalid(format!("Invalid value {} for multi select field \"{}\"", inspect(value), field.name)))
}

/// Reads a list of texts; a text alone is a list of one.
fn strings(name: &str, value: &Json) -> Result<Vec<String>, Refusal> {
    let refused = || {
        let value = inspect(value);
        Refusal::invalid(format!("Invalid value {value} for field \"{name} - Array values need to be string\""))
    };
    match value {
        Json::String(text) => Ok(vec![text.clone()]),
        Json::Array(list) => list.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(refused)).collect(),
        _ => Err(refused()),
    }
}

fn some_list(list: Vec<String>) -> Option<Json> {
    (!list.is_empty()).then(|| json!(list))
}

/// Reads JSON, given as such or as a text that holds it.
pub(crate) fn raw_json(name: &str, value: &Json) -> Result<Json, Refusal> {
    let refused = || Refusal::invalid(format!("Invalid object value {} for field \"{name}\"", inspect(value)));
    let read = match value {
        Json::String(text) => serde_json::from_str(text).map_err(|_| refused())?,
        other => other.clone(),
    };
    if read.is_object() || read.is_array() { Ok(as_stored(&read)) } else { Err(refused()) }
}

/// Orders keys as the database's binary JSON does: shorter ones first.
pub(crate) fn as_stored(value: &Json) -> Json {
    match value {
        Json::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by_key(|key| (key.len(), key.as_bytes().to_vec()));
            let sorted: Map<String, Json> = keys.into_iter().map(|key| (key.clone(), as_stored(&map[key]))).collect();
            Json::Object(sorted)
        }
        Json::Array(list) => Json::Array(list.iter().map(as_stored).collect()),
        other => other.clone(),
    }
}

/// Reads an id that a field holds.
pub(crate) fn uuid(name: &str, value: &Json) -> Result<Json, Refusal> {
    value
        .as_str()
        .and_then(Uuid::parse)
        .map(|id| json!(id.to_string()))
        .ok_or_else(|| Refusal::invalid(format!("Invalid UUID value {} for field \"{name}\"", inspect(value))))
}

fn position(name: &str, value: &Json) -> Result<Json, Refusal> {
    match value {
        Json::Number(_) => number(name, value),
        Json::String(word) if word == "first" || word == "last" => Ok(value.clone()),
        other => Err(Refusal::invalid(format!("Invalid position value {} for field \"{name}\"", inspect(other)))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{as_stored, date, date_time, double};

    #[test]
    fn times_are_written_in_utc() {
        for (given, stored) in [
            ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.000Z"),
            ("2019-03-04T05:06:07.890+02:00", "2019-03-04T03:06:07.890Z"),
            ("2019-03-04T05:06:07", "2019-03-04T05:06:07.000Z"),
            ("2026-12-31", "2026-12-31T00:00:00.000Z"),
        ] {
            assert_eq!(date_time("f", &json!(given)).ok(), Some(json!(stored)), "{given}");
        }
        for refused in [json!(1), json!("31/12/2026"), json!("2024"), json!("2024-13-01T10:30:00Z"), json!(true)] {
            assert!(date_time("f", &refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn days_are_real_days() {
        assert_eq!(date("f", &json!("2020-02-29T10:00:00Z")).ok(), Some(json!("2020-02-29")));
        for refused in ["31-12-1999", "2023-02-30", "2024", "2024-1-1"] {
            assert!(date("f", &json!(refused)).is_err(), "{refused}");
        }
    }

    #[test]
    fn numbers_are_doubles_and_keys_are_ordered() {
        assert_eq!(double(1.0).to_string(), "1");
        assert_eq!(double(9_007_199_254_740_992.0).to_string(), "9007199254740992");
        assert_eq!(double(1.75).to_string(), "1.75");
        assert_eq!(
            as_stored(&json!({ "bb": 1, "a": { "dd": 1, "c": 2 } })).to_string(),
            r#"{"a":{"c":2,"dd":1},"bb":1}"#
        );
    }
}
