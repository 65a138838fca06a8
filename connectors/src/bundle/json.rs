//! JSON values as ledger values, and one JSON object as the fields of a record.

use std::borrow::Cow;

use serde_json::Value as Json;
use waybill_ledger::{Field, Fields, Value};

use super::{
    cell::{Kind, json_number, typed},
    recipe::Recipe,
};

/// Marks a number that `f64` might not hold, so that [`value`] reads it digit by digit.
const EXACT: &str = "\0#";

/// Returns the value of a JSON value; `null` has none. Inside a composite, a `null` is left out.
pub(crate) fn value(json: Json) -> Option<Value> {
    Some(match json {
        Json::Null => return None,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => number_value(&number.to_string()),
        Json::String(text) => match text.strip_prefix(EXACT) {
            Some(digits) => number_value(digits),
            None => Value::Text(text),
        },
        Json::Array(items) => Value::List(items.into_iter().filter_map(value).collect()),
        Json::Object(parts) => {
            Value::Map(parts.into_iter().filter_map(|(name, part)| Some((name, value(part)?))).collect())
        }
    })
}

fn number_value(digits: &str) -> Value {
    json_number(digits).map_or_else(|| Value::Text(digits.to_owned()), Value::Number)
}

/// Reads one record from its JSON text.
///
/// Nested objects become fields with dotted names, unless their column is declared as `json`; lists stay lists. `null` is null, an
/// empty string is an empty text, a missing key is absent.
pub(crate) fn fields(bytes: &[u8], recipe: &Recipe) -> Result<Fields, String> {
    record(parse(bytes)?, recipe)
}

/// Reads a JSON text; numbers of more digits than `f64` holds are marked strings, which [`value`] and [`plain`] know.
pub(crate) fn parse(bytes: &[u8]) -> Result<Json, String> {
    serde_json::from_slice(&keep_long_numbers(bytes)).map_err(|error| {
        // The library counts lines from the text's own start and quotes nothing.
        format!("it is not JSON: {}", without_place(&error.to_string()))
    })
}

/// Returns a scalar as the text that it was.
pub(crate) fn plain(json: &Json) -> Option<String> {
    match json {
        Json::Null | Json::Array(_) | Json::Object(_) => None,
        Json::Bool(flag) => Some(flag.to_string()),
        Json::Number(number) => Some(number.to_string()),
        Json::String(text) => Some(text.strip_prefix(EXACT).unwrap_or(text).to_owned()),
    }
}

/// Returns a scalar as it is sent back to whoever gave it.
pub(crate) fn given_back(json: &Json) -> Json {
    match json.as_str().and_then(|text| text.strip_prefix(EXACT)) {
        Some(digits) => digits.parse::<u64>().map_or_else(|_| Json::String(digits.to_owned()), Json::from),
        None => json.clone(),
    }
}

/// Reads one record from parsed JSON.
pub(crate) fn record(json: Json, recipe: &Recipe) -> Result<Fields, String> {
    let Json::Object(parts) = json else { return Err("it is not an object".to_owned()) };
    let mut fields = Fields::new();
    flatten("", parts, recipe, &mut fields)?;
    Ok(fields)
}

fn without_place(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

fn flatten(
    prefix: &str,
    parts: serde_json::Map<String, Json>,
    recipe: &Recipe,
    fields: &mut Fields,
) -> Result<(), String> {
    for (key, json) in parts {
        let name = format!("{prefix}{key}");
        let spec = recipe.declared(&name);
        match json {
            Json::Object(inner) if !inner.is_empty() && spec.is_none_or(|spec| spec.kind != Kind::Json) => {
                flatten(&format!("{name}."), inner, recipe, fields)?;
                continue;
            }
            _ => {}
        }
        let field = match value(json) {
            None => Field::Null,
            Some(value) => {
                if holds_nul(&value) {
                    return Err(format!("the field {name} is no text: it holds a NUL byte"));
                }
                Field::Present(match spec {
                    Some(spec) => shape(value, spec, recipe),
                    None => value,
                })
            }
        };
        fields.set(recipe.spelled(&name), field);
    }
    Ok(())
}

/// Gives a scalar the type that its column promises.
fn shape(value: Value, spec: &super::cell::ColumnSpec, recipe: &Recipe) -> Value {
    let text = match value {
        Value::Text(text) if text.is_empty() => return Value::Text(text),
        Value::Text(text) => text,
        Value::Number(number) if matches!(spec.kind, Kind::Number | Kind::Money | Kind::Percent) => {
            return Value::Number(number);
        }
        Value::Number(number) => {
            return match typed(&number.to_string(), spec, &recipe.conventions) {
                Value::Text(text) if !spec.kind.is_text() => {
                    json_number(&text).map_or(Value::Text(text), Value::Number)
                }
                value => value,
            };
        }
        Value::Bool(flag) if spec.kind.is_text() => return Value::Text(flag.to_string()),
        other => return other,
    };
    typed(&text, spec, &recipe.conventions)
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.contains('\0'),
        Value::List(items) => items.iter().any(holds_nul),
        Value::Map(parts) => parts.values().any(holds_nul),
        _ => false,
    }
}

/// Puts numbers of more digits than `f64` holds into marked strings, because the parser would round them.
fn keep_long_numbers(bytes: &[u8]) -> Cow<'_, [u8]> {
    const SAFE: usize = 15;
    let mut changed: Option<Vec<u8>> = None;
    let mut copied = 0;
    let mut at = 0;
    let mut inside = false;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if inside => at += 2,
            b'"' => {
                inside = !inside;
                at += 1;
            }
            b'0'..=b'9' | b'-' if !inside => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
                    .count();
                if length > SAFE {
                    let out = changed.get_or_insert_with(Vec::new);
                    out.extend_from_slice(&bytes[copied..at]);
                    out.extend_from_slice(b"\"\\u0000#");
                    out.extend_from_slice(&bytes[at..at + length]);
                    out.push(b'"');
                    copied = at + length;
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    match changed {
        None => Cow::Borrowed(bytes),
        Some(mut out) => {
            out.extend_from_slice(&bytes[copied..]);
            Cow::Owned(out)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bundle::{
        cell::{Conventions, Values},
        profile::Profile,
    };
    use std::{collections::BTreeMap, sync::Arc};

    fn recipe(columns: &str) -> Recipe {
        let text = format!("system='x'\nlabel='X'\n[[object]]\nname='a'\nkey='id'\n[object.columns]\n{columns}");
        let profile = Profile::parse(&text).unwrap();
        let conventions = Arc::new(Conventions { values: Values::default(), zone: None });
        Recipe::new(&profile, &profile.objects[0], &BTreeMap::new(), conventions)
    }

    #[test]
    fn the_three_kinds_of_nothing_stay_apart() {
        let fields = fields(br#"{"id":"1","none":null,"empty":""}"#, &recipe("")).unwrap();
        assert_eq!(fields.get("none"), Field::Null);
        assert_eq!(fields.get("empty"), Field::Present(Value::Text(String::new())));
        assert_eq!(fields.get("other"), Field::Absent);
    }

    #[test]
    fn nested_objects_get_dotted_names_and_numbers_stay_exact() {
        let text = br#"{"id":12345678901234567890123,"a":{"b":{"c":0.1}},"raw":{"x":1},"n":12345678901234.123456,"q":"-1234567890123456 \" 9"}"#;
        let fields = fields(text, &recipe("id='text'\nraw='json'")).unwrap();
        assert_eq!(fields.text("id"), Some("12345678901234567890123"));
        assert_eq!(fields.value("a.b.c"), Some(&Value::Number("0.1".parse().unwrap())));
        assert_eq!(fields.value("n"), Some(&Value::Number("12345678901234.123456".parse().unwrap())));
        assert_eq!(fields.text("q"), Some("-1234567890123456 \" 9"));
        assert!(matches!(fields.value("raw"), Some(Value::Map(_))));
    }

    #[test]
    fn declared_types_hold_for_json_too() {
        let recipe =
            recipe("at={type='time',format='epoch_ms'}\non='bool'\ntags={type='list',separator=','}\nname='text'");
        let fields = fields(br#"{"id":1,"at":1700000000123,"on":1,"tags":"a, b","name":7}"#, &recipe).unwrap();
        assert!(matches!(fields.value("at"), Some(Value::Time(_))));
        assert_eq!(fields.value("on"), Some(&Value::Bool(true)));
        assert_eq!(fields.value("tags"), Some(&Value::List(vec!["a".into(), "b".into()])));
        assert_eq!(fields.text("name"), Some("7"));
    }

    #[test]
    fn what_is_no_record_says_why() {
        assert_eq!(fields(b"[1]", &recipe("")).unwrap_err(), "it is not an object");
        assert!(fields(b"{\"a\":", &recipe("")).unwrap_err().starts_with("it is not JSON"));
        assert!(fields(br#"{"a":"x\u0000"}"#, &recipe("")).unwrap_err().contains("NUL"));
    }
}
