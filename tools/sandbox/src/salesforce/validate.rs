//! What the platform refuses: types, lengths, picklists, references, required and read-only fields.
//!
//! Source: "Status Codes and Error Responses" in the REST API Developer Guide, with the wording of real answers.

use chrono::{DateTime, NaiveDate};
use serde_json::{Map, Value as Json};

use super::{
    ids::Id,
    model::{Field, Kind, Object},
    org::{Changes, Org, RowError, Val},
};

/// What is done with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    Create,
    Update,
}

/// Checks the fields of a row and turns them into values.
pub(crate) fn changes(
    org: &Org,
    object: usize,
    body: &Map<String, Json>,
    write: Write,
) -> Result<Changes, Vec<RowError>> {
    let definition = &org.objects[object];
    let (mut changes, mut errors) = (Changes::new(), Vec::new());
    for (name, value) in body {
        if name == "attributes" {
            continue;
        }
        if name.eq_ignore_ascii_case("id") {
            let message = match write {
                Write::Create => "cannot specify Id in an insert call",
                Write::Update => "The Id field should not be specified in the sobject data.",
            };
            errors.push(RowError::on("INVALID_FIELD_FOR_INSERT_UPDATE", message, "Id"));
            continue;
        }
        if let Value::Nested(parent) = Value::of(value) {
            match by_parent(org, object, name, parent) {
                Ok(change) => changes.push(change),
                Err(error) => errors.push(error),
            }
            continue;
        }
        let Some(field) = definition.field(name).filter(|field| org.is_granted(object, *field)) else {
            let message = format!("No such column '{name}' on sobject of type {}", definition.name);
            errors.push(RowError::new("INVALID_FIELD", message));
            continue;
        };
        let known = &definition.fields[field];
        let may = if write == Write::Create { org.creates(object, field) } else { known.updateable };
        if !may {
            errors.push(not_settable(&known.name));
            continue;
        }
        match convert(org, object, known, value) {
            Ok(value) => changes.push((field, value)),
            Err(error) => errors.push(error),
        }
    }
    errors.extend(odd_times(org, definition, &changes));
    let missing = missing(&definition.fields, &changes, write);
    if !missing.is_empty() {
        let mut error =
            RowError::new("REQUIRED_FIELD_MISSING", format!("Required fields are missing: [{}]", missing.join(", ")));
        error.fields = missing;
        errors.push(error);
    }
    if errors.is_empty() { Ok(changes) } else { Err(errors) }
}

/// The error of a field that our user may not set.
pub(crate) fn not_settable(name: &str) -> RowError {
    let message = format!(
        "Unable to create/update fields: {name}. Please check the security settings of this field and verify that it is read/write for your profile or permission set."
    );
    RowError::on("INVALID_FIELD_FOR_INSERT_UPDATE", message, name)
}

/// Audit times may not lie ahead, and no row was changed before it was made.
fn odd_times(org: &Org, object: &Object, changes: &Changes) -> Vec<RowError> {
    let given = |name: &str| {
        let at = object.field(name)?;
        changes.iter().rev().find(|(field, _)| *field == at).and_then(|(_, value)| match value {
            Some(Val::Time(time)) => Some(*time),
            _ => None,
        })
    };
    let now = org.clock();
    let (created, modified) = (given("CreatedDate"), given("LastModifiedDate"));
    let mut errors = Vec::new();
    if created.is_some_and(|created| created > now) {
        let text = "Created Date: a date in the future is not allowed";
        errors.push(RowError::on("FIELD_INTEGRITY_EXCEPTION", text, "CreatedDate"));
    }
    if modified.is_some_and(|modified| modified < created.unwrap_or(now)) {
        let text = "Last Modified Date: must not be before Created Date";
        errors.push(RowError::on("FIELD_INTEGRITY_EXCEPTION", text, "LastModifiedDate"));
    }
    errors
}

/// A lookup by a parent's external id, or a plain value.
enum Value<'a> {
    Plain,
    Nested(&'a Map<String, Json>),
}

impl<'a> Value<'a> {
    fn of(value: &'a Json) -> Self {
        match value {
            Json::Object(map) => Self::Nested(map),
            _ => Self::Plain,
        }
    }
}

fn by_parent(
    org: &Org,
    object: usize,
    name: &str,
    parent: &Map<String, Json>,
) -> Result<(usize, Option<Val>), RowError> {
    let definition = &org.objects[object];
    let unknown =
        || RowError::new("INVALID_FIELD", format!("No such column '{name}' on sobject of type {}", definition.name));
    let field = definition.relationship(name).ok_or_else(unknown)?;
    let Kind::Reference { to, .. } = &definition.fields[field].kind else { return Err(unknown()) };
    let wanted = parent.get("attributes").and_then(|a| a.get("type")).and_then(Json::as_str);
    let target = wanted.or(to.first().map(String::as_str)).and_then(|name| org.find(name)).ok_or_else(unknown)?;
    let Some((key, value)) = parent.iter().find(|(key, _)| *key != "attributes") else { return Err(unknown()) };
    let at = org.objects[target].field(key).filter(|at| {
        let field = &org.objects[target].fields[*at];
        field.external || field.id_lookup
    });
    let at = at.ok_or_else(unknown)?;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match org.holders(target, at, &Val::Text(text.as_str().into())) {
        [one] => Ok((field, Some(Val::Ref(org.id(target, *one))))),
        [] => Err(RowError::new(
            "INVALID_FIELD",
            format!("Foreign key external ID: {text} not found for field {key} in entity {}", org.objects[target].name),
        )),
        _ => Err(RowError::new(
            "DUPLICATE_EXTERNAL_ID",
            format!("{key}: more than one record found for external id field"),
        )),
    }
}

fn missing(fields: &[Field], changes: &Changes, write: Write) -> Vec<String> {
    let mut missing = Vec::new();
    for (at, field) in fields.iter().enumerate().filter(|(_, field)| field.required) {
        let given = changes.iter().rev().find(|(changed, _)| *changed == at).map(|(_, value)| value.is_some());
        let lacks = match write {
            Write::Create => given != Some(true) && !field.defaulted,
            Write::Update => given == Some(false),
        };
        if lacks {
            missing.push(field.name.clone());
        }
    }
    missing
}

fn bad_type(field: &Field, shown: &str) -> RowError {
    let message = format!("{}: value not of required type: {shown}", field.label);
    RowError::on("INVALID_TYPE_ON_FIELD_IN_RECORD", message, &field.name)
}

/// Turns a JSON value into a value of a field; empty texts are nothing.
pub(crate) fn convert(org: &Org, object: usize, field: &Field, value: &Json) -> Result<Option<Val>, RowError> {
    let text = match value {
        Json::Null => return Ok(if matches!(field.kind, Kind::Bool) { Some(Val::Bool(false)) } else { None }),
        Json::String(text) if text.is_empty() => return Ok(None),
        Json::String(text) => text.clone(),
        Json::Bool(flag) => flag.to_string(),
        Json::Number(number) => number.to_string(),
        Json::Array(_) | Json::Object(_) => return Err(bad_type(field, "a structure")),
    };
    let too_long = |length: usize| {
        (text.chars().count() > length).then(|| {
            let message = format!("{}: data value too large: {text} (max length={length})", field.label);
            RowError::on("STRING_TOO_LONG", message, &field.name)
        })
    };
    let kept = |text: &str| Ok(Some(Val::Text(text.into())));
    match &field.kind {
        Kind::Text { length } | Kind::Area { length, .. } => too_long(*length).map_or_else(|| kept(&text), Err),
        Kind::Phone => too_long(40).map_or_else(|| kept(&text), Err),
        Kind::Url => too_long(255).map_or_else(|| kept(&text), Err),
        Kind::Email => {
            if let Some(error) = too_long(80) {
                return Err(error);
            }
            if is_email(&text) {
                return kept(&text);
            }
            let message = format!("{}: invalid email address: {text}", field.label);
            Err(RowError::on("INVALID_EMAIL_ADDRESS", message, &field.name))
        }
        Kind::Bool => match text.to_lowercase().as_str() {
            "true" | "1" | "yes" => Ok(Some(Val::Bool(true))),
            "false" | "0" | "no" => Ok(Some(Val::Bool(false))),
            _ => Err(bad_type(field, &text)),
        },
        Kind::Int { digits } => number(field, &text, *digits, 0),
        Kind::Number { precision, scale, .. } => number(field, &text, *precision, *scale),
        Kind::Date => date(&text).map(|days| Some(Val::Date(days))).ok_or_else(|| not_parsed("date", &text)),
        Kind::DateTime => time(&text).map(|time| Some(Val::Time(time))).ok_or_else(|| not_parsed("datetime", &text)),
        Kind::Picklist { values, restricted, multi } => {
            let parts: Vec<&str> = if *multi { text.split(';').collect() } else { vec![&text] };
            for part in parts {
                let known = values.iter().any(|option| option.active && option.value == part);
                if *restricted && !known {
                    let message = format!("{}: bad value for restricted picklist field: {part}", field.label);
                    return Err(RowError::on("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, &field.name));
                }
            }
            too_long(if *multi { 4_099 } else { 255 }).map_or_else(|| kept(&text), Err)
        }
        Kind::Reference { to, .. } => reference(org, object, field, to, &text),
        Kind::Id | Kind::Base64 => kept(&text),
    }
}

fn reference(org: &Org, object: usize, field: &Field, to: &[String], text: &str) -> Result<Option<Val>, RowError> {
    let wrong = || {
        let message = format!("{}: id value of incorrect type: {text}", field.label);
        RowError::on("MALFORMED_ID", message, &field.name)
    };
    let id = Id::parse(text).ok_or_else(wrong)?;
    let target = org.of_id(id).ok_or_else(wrong)?;
    if !to.iter().any(|name| name.eq_ignore_ascii_case(&org.objects[target].name)) {
        return Err(wrong());
    }
    if !org.is_live(id) {
        let error = match org.objects[target].name.as_str() {
            "RecordType" => format!("Record Type ID: this ID value isn't valid for the user: {text}"),
            _ => "invalid cross reference id".to_owned(),
        };
        return Err(RowError::on("INVALID_CROSS_REFERENCE_KEY", error, &field.name));
    }
    let row = org.row(id);
    let get = |name: &str| org.objects[target].field(name).and_then(|at| row.and_then(|row| row.get(at)));
    match org.objects[target].name.as_str() {
        "User" if field.name == "OwnerId" && get("IsActive") == Some(&Val::Bool(false)) => Err(RowError::new(
            "INACTIVE_OWNER_OR_USER",
            format!(
                "operation performed with inactive user [{}] as owner of {}",
                id.short(),
                org.objects[object].name.to_lowercase()
            ),
        )),
        "RecordType" => {
            let same = matches!(get("SobjectType"), Some(Val::Text(of)) if **of == *org.objects[object].name);
            let active = get("IsActive") == Some(&Val::Bool(true));
            if same && active {
                return Ok(Some(Val::Ref(id)));
            }
            let message = format!("Record Type ID: this ID value isn't valid for the user: {text}");
            Err(RowError::on("INVALID_CROSS_REFERENCE_KEY", message, &field.name))
        }
        _ => Ok(Some(Val::Ref(id))),
    }
}

fn number(field: &Field, text: &str, precision: usize, scale: usize) -> Result<Option<Val>, RowError> {
    let number: f64 = text.parse().map_err(|_| bad_type(field, text))?;
    if !number.is_finite() {
        return Err(bad_type(field, text));
    }
    let whole = number.abs().trunc();
    let digits = if whole < 1.0 { 0 } else { format!("{whole}").len() };
    if digits > precision.saturating_sub(scale) {
        let message = format!("{}: value outside of valid range on numeric field: {text}", field.label);
        return Err(RowError::on("NUMBER_OUTSIDE_VALID_RANGE", message, &field.name));
    }
    // The platform rounds half up to the field's scale.
    let rounded: f64 = format!("{:.*}", scale, number + number.signum() * 1e-9).parse().unwrap_or(number);
    Ok(Some(Val::Num(rounded)))
}

pub(crate) fn date(text: &str) -> Option<i32> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    text.parse::<NaiveDate>().ok().map(|date| date.to_epoch_days())
}

pub(crate) fn time(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
        .ok()
        .map(|time| time.timestamp_millis())
}

fn not_parsed(kind: &str, text: &str) -> RowError {
    let message = format!(
        "Cannot deserialize instance of {kind} from VALUE_STRING value {text} or request may be missing a required field at [line:1, column:1]"
    );
    RowError::new("JSON_PARSER_ERROR", message)
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let plain = |c: char| c.is_ascii_graphic() && !"()<>,;:\\\"[]@".contains(c);
    !local.is_empty()
        && local.chars().all(plain)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && domain.contains('.')
        && domain
            .split('.')
            .all(|label| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
}

/// Writes a value as JSON, as the REST API does.
pub(crate) fn json(org: &Org, value: &Val, kind: &Kind) -> Json {
    match value {
        Val::Text(text) => Json::String(text.to_string()),
        Val::Bool(flag) => Json::Bool(*flag),
        Val::Num(number) =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "whole numbers of at most nine digits")]
            if matches!(kind, Kind::Int { .. }) {
                Json::from(*number as i64)
            } else {
                Json::from(*number)
            }
        }
        Val::Date(days) => Json::String(NaiveDate::from_epoch_days(*days).unwrap_or_default().to_string()),
        Val::Time(time) => Json::String(stamp(*time)),
        Val::Ref(id) => {
            let _ = org;
            Json::String(id.to_string())
        }
    }
}

/// Writes a moment as the REST API does: `2022-03-17T16:21:26.000+0000`.
pub(crate) fn stamp(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}
