//! Fields of several columns: what each takes, and what becomes of the parts that a write leaves out.
//!
//! The server is uneven about the latter: names, addresses, amounts and actors keep what is left out, links lose it, e-mails lose
//! the primary address and keep the others, phones keep the primary parts and lose the others.

use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value as Json, json};

use super::{
    inspect::inspect,
    links,
    model::{Col, Field, Kind, Part, col},
    phones::{self, Phone},
    refusal::Refusal,
    rich_text, scalar,
};

/// Columns to write; `None` clears.
pub(crate) type Cells = Vec<(Col, Option<Json>)>;

/// Who can have made a record.
const SOURCES: [&str; 10] =
    ["EMAIL", "CALENDAR", "WORKFLOW", "AGENT", "API", "IMPORT", "MANUAL", "SYSTEM", "WEBHOOK", "APPLICATION"];

/// Reads a value for a composite field. `null` changes nothing.
pub(crate) fn read(field: &Field, value: &Json, dice: &mut ChaCha8Rng) -> Result<Cells, Refusal> {
    let name = &field.name;
    let given = match value {
        Json::Null if field.kind == Kind::RichText => {
            return Err(Refusal::type_error("Cannot read properties of null (reading 'blocknote')"));
        }
        Json::Null => return Ok(Vec::new()),
        Json::Object(given) => given,
        other => {
            return Err(Refusal::invalid(format!("Invalid object value {} for field \"{name}\"", inspect(other))));
        }
    };
    let parts = field.kind.parts();
    if let Some(unknown) = given.keys().find(|key| !parts.iter().any(|(part, _)| part == key)) {
        let kind = words(field.kind);
        return Err(Refusal::invalid(format!("Invalid subfield {unknown} for {kind} field \"{name}\"")));
    }
    match field.kind {
        Kind::Emails => emails(field, given),
        Kind::Phones => phones(field, given),
        Kind::Links => links(field, given),
        Kind::RichText => rich_text(field, given, dice),
        _ => plain(field, given),
    }
}

/// Writes the name of a kind in the middle of a sentence.
fn words(kind: Kind) -> String {
    kind.name().to_lowercase().replace('_', " ")
}

fn path(field: &Field, part: &str) -> String {
    format!("{}.{part}", field.name)
}

/// Reads the parts that are given, and leaves the others.
fn plain(field: &Field, given: &Map<String, Json>) -> Result<Cells, Refusal> {
    let mut cells = Vec::new();
    for (at, (part, kind)) in (0..).zip(field.kind.parts()) {
        let Some(value) = given.get(*part) else { continue };
        let path = path(field, part);
        let read = match (kind, *part) {
            (_, _) if value.is_null() => None,
            (Part::Number, _) => Some(loose_number(&path, value)?),
            (Part::Micros, _) => Some(micros(&path, value)?),
            (Part::Json, _) => Some(scalar::raw_json(&path, value)?),
            (_, "workspaceMemberId") => Some(scalar::uuid(&path, value)?),
            (_, "source") => {
                let known = value.as_str().is_some_and(|source| SOURCES.contains(&source));
                if !known {
                    let value = inspect(value);
                    return Err(Refusal::invalid(format!("Invalid value {value} for field \"{path}\"")));
                }
                Some(value.clone())
            }
            _ => scalar::text(&path, value)?,
        };
        cells.push((col(field.number, at), read));
    }
    Ok(cells)
}

fn not_a_number(path: &str) -> Refusal {
    Refusal::invalid(format!("Invalid number value NaN for field \"{path}\""))
}

/// Reads a number, or a text that is one.
fn loose_number(path: &str, value: &Json) -> Result<Json, Refusal> {
    let read = match value {
        Json::String(text) => text.trim().parse::<f64>().ok().filter(|number| number.is_finite()),
        other => other.as_f64(),
    };
    read.map(scalar::double).ok_or_else(|| not_a_number(path))
}

/// Reads millionths; a fraction of one is cut off, digits in a text keep their precision.
fn micros(path: &str, value: &Json) -> Result<Json, Refusal> {
    if let Some(exact) = value.as_str().and_then(|text| text.trim().parse::<i64>().ok()) {
        return Ok(json!(exact));
    }
    let read = loose_number(path, value)?;
    Ok(read.as_f64().map_or(read, |number| scalar::double(number.trunc())))
}

fn email(path: &str, text: &str) -> Result<String, Refusal> {
    let refused = || Refusal::invalid(format!("Invalid string value '{text}' for email field \"{path}\""));
    let (local, domain) = text.split_once('@').ok_or_else(refused)?;
    let strange = |letter: char| letter.is_whitespace() || letter.is_control() || "()<>[]:;,\\\"@".contains(letter);
    let sound =
        |part: &str| !part.is_empty() && !part.contains(strange) && part.split('.').all(|piece| !piece.is_empty());
    if sound(local) && sound(domain) { Ok(text.to_lowercase()) } else { Err(refused()) }
}

fn emails(field: &Field, given: &Map<String, Json>) -> Result<Cells, Refusal> {
    let primary = path(field, "primaryEmail");
    let read = match given.get("primaryEmail").map(|value| scalar::text(&primary, value)).transpose()?.flatten() {
        Some(text) => Some(json!(email(&primary, text.as_str().unwrap_or_default())?)),
        None => None,
    };
    let mut cells = vec![(col(field.number, 0), read)];
    if let Some(value) = given.get("additionalEmails") {
        let path = path(field, "additionalEmails");
        let refused =
            || Refusal::invalid(format!("Invalid string value {} for email field \"{path}\"", inspect(value)));
        let list: Vec<String> = match value {
            Json::Null => Vec::new(),
            Json::Array(list) => {
                let read = list.iter().map(|item| email(&path, item.as_str().ok_or_else(refused)?));
                read.collect::<Result<_, _>>()?
            }
            _ => return Err(refused()),
        };
        cells.push((col(field.number, 1), (!list.is_empty()).then(|| json!(list))));
    }
    Ok(cells)
}

fn phones(field: &Field, given: &Map<String, Json>) -> Result<Cells, Refusal> {
    let part = |name: &str| -> Result<Option<String>, Refusal> {
        let Some(value) = given.get(name) else { return Ok(None) };
        let text = scalar::text(&path(field, name), value)?;
        Ok(Some(text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()))
    };
    let (number, country, calling) =
        (part("primaryPhoneNumber")?, part("primaryPhoneCountryCode")?, part("primaryPhoneCallingCode")?);
    let asked = Phone {
        number: number.clone().unwrap_or_default(),
        country: country.clone().unwrap_or_default(),
        calling: calling.clone().unwrap_or_default(),
    };
    let read = phones::read(&asked)?;
    let filled = |text: String| (!text.is_empty()).then(|| json!(text));
    let mut cells = Vec::new();
    // What was inferred is written as well, when there is a number that it belongs to.
    let inferred = !asked.number.is_empty();
    if number.is_some() {
        cells.push((col(field.number, 0), filled(read.number)));
    }
    if country.is_some() || inferred {
        cells.push((col(field.number, 1), filled(read.country)));
    }
    if calling.is_some() || inferred {
        cells.push((col(field.number, 2), filled(read.calling)));
    }
    let mut others = Vec::new();
    let list = path(field, "additionalPhones");
    match given.get("additionalPhones") {
        None | Some(Json::Null) => {}
        Some(Json::Array(items)) => {
            for item in items {
                let text = |name: &str| match &item[name] {
                    Json::Null => Ok(String::new()),
                    Json::String(text) => Ok(text.clone()),
                    other => Err(Refusal::invalid(format!(
                        "Invalid string value {} for text field \"{list}.{name}\"",
                        inspect(other)
                    ))),
                };
                let asked =
                    Phone { number: text("number")?, country: text("countryCode")?, calling: text("callingCode")? };
                let read = phones::read(&asked)?;
                others.push(json!({ "number": read.number, "callingCode": read.calling, "countryCode": read.country }));
            }
        }
        Some(other) => {
            return Err(Refusal::invalid(format!("Invalid value {} for field \"{list}\"", inspect(other))));
        }
    }
    cells.push((col(field.number, 3), (!others.is_empty()).then(|| json!(others))));
    Ok(cells)
}

fn links(field: &Field, given: &Map<String, Json>) -> Result<Cells, Refusal> {
    let text = |name: &str| match given.get(name) {
        Some(value) => scalar::text(&path(field, name), value),
        None => Ok(None),
    };
    let mut label = text("primaryLinkLabel")?;
    let mut url = match text("primaryLinkUrl")? {
        Some(url) => links::normalise(url.as_str().unwrap_or_default())?,
        None => None,
    };
    let list = path(field, "secondaryLinks");
    let mut others = Vec::new();
    match given.get("secondaryLinks") {
        None | Some(Json::Null) => {}
        Some(Json::Array(items)) => {
            for item in items {
                let Some(item) = item.as_object() else {
                    return Err(Refusal::invalid(format!("Invalid value {} for field \"{list}\"", inspect(item))));
                };
                let mut link = item.clone();
                let own = scalar::text(&format!("{list}.url"), item.get("url").unwrap_or(&Json::Null))?;
                let own = links::normalise(own.as_ref().and_then(Json::as_str).unwrap_or_default())?;
                link.insert("url".into(), own.map_or(Json::Null, |url| json!(url)));
                others.push(Json::Object(link));
            }
        }
        Some(other) => {
            return Err(Refusal::invalid(format!("Invalid value {} for field \"{list}\"", inspect(other))));
        }
    }
    if url.is_none()
        && let Some(at) = others.iter().position(|link| link["url"].is_string())
    {
        let first = others.remove(at);
        url = first["url"].as_str().map(str::to_owned);
        label = Some(first["label"].clone()).filter(|label| label.as_str().is_some_and(|text| !text.is_empty()));
    }
    Ok(vec![
        (col(field.number, 0), label),
        (col(field.number, 1), url.map(|url| json!(url))),
        (col(field.number, 2), (!others.is_empty()).then(|| json!(others))),
    ])
}

fn rich_text(field: &Field, given: &Map<String, Json>, dice: &mut ChaCha8Rng) -> Result<Cells, Refusal> {
    let text = |name: &str| match given.get(name) {
        Some(value) => scalar::text(&path(field, name), value),
        None => Ok(None),
    };
    let (blocknote, markdown) = (text("blocknote")?, text("markdown")?);
    if let Some(blocks) = blocknote.as_ref().and_then(Json::as_str)
        && serde_json::from_str::<Vec<Json>>(blocks).is_err()
    {
        return Err(Refusal::invalid(format!(
            "Invalid blocknote value for field \"{}\" - must contain valid JSON",
            path(field, "blocknote")
        )));
    }
    let (blocknote, markdown) = match (blocknote, markdown) {
        (None, Some(text)) => {
            let blocks = rich_text::blocks(text.as_str().unwrap_or_default(), dice);
            (Some(json!(blocks)), Some(text))
        }
        (Some(blocks), None) => {
            let text = rich_text::markdown(blocks.as_str().unwrap_or_default());
            (Some(blocks), text.map(|text| json!(text)))
        }
        both => both,
    };
    Ok(vec![(col(field.number, 0), blocknote), (col(field.number, 1), markdown)])
}
