//! The schema step on Twenty: objects, fields, relations and options through the metadata API, one by one.
//!
//! Nothing that is there is renamed or taken away: options are added to those that are there, which keep their ids, so that
//! rows keep their values. Metadata calls cost nothing of the rate limit.
//!
//! Source: `/rest/metadata/objects` and `/rest/metadata/fields` of Twenty 2.21.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use http::Method;
use serde_json::{Value as Json, json};
use waybill_ledger::{Choice, FieldKind, FieldSchema, NewChoice, ObjectName, SchemaChange};

use super::{
    Twenty,
    catalog::{Catalog, Object, Wire},
    columns::{self, Columns},
    wire::{self, Counted},
};
use crate::{destination::SchemaOutcome, error::RemoteError, transport::Response};

/// The colours that the product shows, so that new options can be told apart.
const COLOURS: [&str; 10] = ["green", "turquoise", "sky", "blue", "purple", "pink", "red", "orange", "yellow", "gray"];
/// The most characters of a name, a label and an option's value.
const NAME: usize = 63;

impl Twenty {
    /// Makes what is missing.
    pub(super) async fn make(&self, changes: &[SchemaChange]) -> Result<Vec<SchemaOutcome>, RemoteError> {
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            // What one change makes, the next may need.
            let catalog = self.read_catalog().await?;
            outcomes.push(self.make_one(&catalog, change).await?);
        }
        self.forget().await;
        Ok(outcomes)
    }

    async fn make_one(&self, catalog: &Catalog, change: &SchemaChange) -> Result<SchemaOutcome, RemoteError> {
        let missing = |object: &ObjectName| SchemaOutcome::Refused(format!("there is no object {object}"));
        match change {
            SchemaChange::AddObject { name, label, label_plural } => {
                if catalog.object(name.as_str()).is_some() {
                    return Ok(SchemaOutcome::Present);
                }
                let plural = plural_of(name.as_str(), label_plural);
                let body = json!({
                    "nameSingular": name.as_str(), "namePlural": plural, "labelSingular": short(label),
                    "labelPlural": if label_plural == label { format!("{} (all)", short(label)) } else { short(label_plural) },
                    "icon": "IconBox",
                });
                self.metadata(Method::POST, "/rest/metadata/objects", &body).await
            }
            SchemaChange::AddField { object, field } => {
                let Some(known) = catalog.object(object.as_str()) else { return Ok(missing(object)) };
                if Columns::of(known).get(field.name.as_str()).is_some() {
                    return Ok(SchemaOutcome::Present);
                }
                match body_of(catalog, known, field) {
                    Ok(body) => self.metadata(Method::POST, "/rest/metadata/fields", &body).await,
                    Err(why) => Ok(SchemaOutcome::Refused(why)),
                }
            }
            SchemaChange::AddOptions { object, field, options } => {
                let Some(known) = catalog.object(object.as_str()) else { return Ok(missing(object)) };
                let Some(known) = known.field(field.as_str()) else {
                    return Ok(SchemaOutcome::Refused(format!("{object} has no field {field}")));
                };
                let new: Vec<&NewChoice> = options
                    .iter()
                    .filter(|new| known.options.iter().all(|there| there["value"] != new.value.as_str()))
                    .collect();
                if new.is_empty() {
                    return Ok(SchemaOutcome::Present);
                }
                // The list replaces the one that is there: with their ids, its options stay what they are.
                let mut all = known.options.clone();
                let place = |option: &Json| option["position"].as_i64().unwrap_or(-1);
                let first = all.iter().map(place).max().unwrap_or(-1) + 1;
                all.extend((first..).zip(new).map(|(at, new)| option(&new.value, &new.label, at)));
                let path = format!("/rest/metadata/fields/{}", known.id);
                self.metadata(Method::PATCH, &path, &json!({ "options": all })).await
            }
            SchemaChange::AddVariant { label, .. } => Ok(SchemaOutcome::Refused(format!(
                "Twenty has no record types: let the plan's pipelines name a field that takes `{label}`"
            ))),
        }
    }

    pub(super) async fn metadata(&self, method: Method, path: &str, body: &Json) -> Result<SchemaOutcome, RemoteError> {
        let response = self.wire.send(method, path, Some(body), Counted::No).await.map_err(RemoteError::from)?;
        Self::metadata_outcome(&response)
    }

    /// Returns what came of a change of the metadata.
    pub(super) fn metadata_outcome(response: &Response) -> Result<SchemaOutcome, RemoteError> {
        if response.status.is_success() {
            return Ok(SchemaOutcome::Made);
        }
        let error = wire::error_of(&response.body);
        match wire::refused("a change of the data model", response.status.as_u16(), error.clone()) {
            RemoteError::Refused { .. } | RemoteError::Busy { .. } => {
                Ok(SchemaOutcome::Refused(format!("{} ({})", error.message, error.code)))
            }
            other => Err(other),
        }
    }
}

/// Returns what makes a field.
fn body_of(catalog: &Catalog, object: &Object, field: &FieldSchema) -> Result<Json, String> {
    let (name, part) = match field.name.as_str().split_once('.') {
        Some((name, part)) => (name, Some(part)),
        None => (field.name.as_str(), None),
    };
    let mut body = json!({
        "objectMetadataId": object.id, "name": name, "label": short(&field.label), "icon": "IconTransferIn",
    });
    if let Some(part) = part {
        let wire = columns::composite_with(part)
            .ok_or_else(|| format!("Twenty has no kind of field with a part called `{part}`"))?;
        body["type"] = json!(word(&wire));
        return Ok(body);
    }
    match &field.kind {
        FieldKind::Reference { to } => {
            let Some(name) = name.strip_suffix("Id").filter(|name| !name.is_empty()) else {
                return Err(format!("a reference is named after its column: `{name}Id`"));
            };
            let target = to.first().and_then(|to| catalog.object(to.as_str()));
            let target = target.ok_or_else(|| "there is no such object to point to".to_owned())?;
            // The other side is a list on the object that is pointed to, and its name must be free there.
            let other = format!("{} of {}", short(&field.label), object.label_plural);
            body["name"] = json!(name);
            body["type"] = json!("RELATION");
            body["relationCreationPayload"] = json!({
                "type": "MANY_TO_ONE", "targetObjectMetadataId": target.id, "targetFieldLabel": short(&other),
                "targetFieldIcon": "IconTransferIn",
            });
        }
        FieldKind::Choice { options, .. } | FieldKind::Choices { options, .. } => {
            let several = matches!(field.kind, FieldKind::Choices { .. });
            body["type"] = json!(if several { "MULTI_SELECT" } else { "SELECT" });
            body["options"] = (0..).zip(options).map(|(at, choice)| option(&choice.value, &choice.label, at)).collect();
        }
        kind => body["type"] = json!(word(&wire_of(kind))),
    }
    if field.unique {
        body["isUnique"] = json!(true);
    }
    Ok(body)
}

/// Returns the type that keeps a kind of value. Addresses and numbers that a source holds as text stay text: a composite would
/// refuse, or change, what people wrote.
fn wire_of(kind: &FieldKind) -> Wire {
    match kind {
        FieldKind::Bool => Wire::Boolean,
        FieldKind::Number { .. } | FieldKind::Money { .. } | FieldKind::Percent { .. } => Wire::Number,
        FieldKind::Date => Wire::Date,
        FieldKind::Time => Wire::DateTime,
        _ => Wire::Text,
    }
}

fn word(wire: &Wire) -> &'static str {
    match wire {
        Wire::Number => "NUMBER",
        Wire::Date => "DATE",
        Wire::DateTime => "DATE_TIME",
        Wire::Boolean => "BOOLEAN",
        Wire::Currency => "CURRENCY",
        Wire::Emails => "EMAILS",
        Wire::Phones => "PHONES",
        Wire::Links => "LINKS",
        Wire::FullName => "FULL_NAME",
        Wire::Address => "ADDRESS",
        Wire::RichText => "RICH_TEXT",
        _ => "TEXT",
    }
}

fn option(value: &str, label: &str, at: i64) -> Json {
    let colour = usize::try_from(at).map_or(COLOURS[0], |at| COLOURS[at % COLOURS.len()]);
    json!({ "value": value, "label": label, "color": colour, "position": at })
}

/// Returns a change as the metadata will show what it makes.
pub(super) fn shaped(change: SchemaChange) -> SchemaChange {
    match change {
        SchemaChange::AddField { object, field } => SchemaChange::AddField { object, field: shaped_field(field) },
        SchemaChange::AddOptions { object, field, options } => {
            let mut taken: Vec<String> = Vec::new();
            let options = options.into_iter().map(|choice| {
                let value = free(&choice.value, &mut taken);
                NewChoice { value, label: label(&choice.label), properties: choice.properties }
            });
            SchemaChange::AddOptions { object, field, options: options.collect() }
        }
        other => other,
    }
}

fn shaped_field(mut field: FieldSchema) -> FieldSchema {
    let part = field.name.as_str().split_once('.').map(|(_, part)| part);
    field.kind = match (part, field.kind) {
        (Some(part), kind) => {
            columns::composite_with(part).and_then(|wire| columns::kind_of_part(&wire, part)).unwrap_or(kind)
        }
        (None, FieldKind::Choice { options, .. }) => {
            FieldKind::Choice { options: shaped_options(options), restricted: true }
        }
        (None, FieldKind::Choices { options, .. }) => {
            FieldKind::Choices { options: shaped_options(options), restricted: true }
        }
        (None, kind @ FieldKind::Reference { .. }) => kind,
        (None, kind) => match wire_of(&kind) {
            Wire::Number => columns::NUMBER,
            Wire::Text => columns::TEXT,
            _ => kind,
        },
    };
    let short = matches!(field.kind, FieldKind::Text { .. } | FieldKind::Email | FieldKind::Url);
    field.required = false;
    field.createable = true;
    field.updateable = true;
    field.external_id = field.unique && short;
    field.case_sensitive = field.kind != FieldKind::Email;
    field
}

fn shaped_options(options: Vec<Choice>) -> Vec<Choice> {
    let mut taken = Vec::new();
    let shaped = options.into_iter().map(|choice| {
        let value = free(&choice.value, &mut taken);
        Choice { value, label: label(&choice.label), active: true }
    });
    shaped.collect()
}

/// Returns a label as the server takes it: without a comma, not empty, at most 63 characters.
fn label(text: &str) -> String {
    let words = text.replace(',', " ").split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() { "(empty)".to_owned() } else { short(&words) }
}

pub(super) fn short(text: &str) -> String {
    let text: String = text.trim().chars().take(NAME).collect();
    text.trim_end().to_owned()
}

/// Returns the value of an option that no other has.
fn free(text: &str, taken: &mut Vec<String>) -> String {
    let stem = upper_snake(text);
    let mut value = stem.clone();
    let mut turn = 2;
    while taken.contains(&value) {
        let suffix = format!("_{turn}");
        value = format!("{}{suffix}", stem.chars().take(NAME - suffix.len()).collect::<String>().trim_end_matches('_'));
        turn += 1;
    }
    taken.push(value.clone());
    value
}

/// Returns a text as an option's value: upper-case letters and digits, single underscores between, a letter first.
fn upper_snake(text: &str) -> String {
    let mut value = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            value.push(c.to_ascii_uppercase());
        } else if c.is_alphanumeric() {
            // Letters that the server does not take are told by their number, so that two words stay two.
            let _ = write!(value, "U{:X}", u32::from(c));
        } else if !value.is_empty() && !value.ends_with('_') {
            value.push('_');
        }
    }
    let value = value.trim_end_matches('_');
    let value =
        if value.starts_with(|c: char| c.is_ascii_uppercase()) { value.to_owned() } else { format!("V_{value}") };
    let value: String = value.chars().take(NAME).collect();
    value.trim_end_matches('_').to_owned()
}

/// Returns the plural name of an object: its plural label in camel case, or its name with an `s`.
fn plural_of(name: &str, label_plural: &str) -> String {
    let mut plural = String::new();
    for word in label_plural.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let mut letters = word.chars();
        let first = letters.next().unwrap_or_default();
        let first = if plural.is_empty() { first.to_ascii_lowercase() } else { first.to_ascii_uppercase() };
        plural.push(first);
        plural.extend(letters);
    }
    let sound = plural.starts_with(|c: char| c.is_ascii_lowercase()) && plural != name && plural.len() <= NAME;
    if sound { plural } else { format!("{name}s") }
}

/// Writes the changes as a plan in words: Twenty has no files that could be deployed.
pub(super) fn export(changes: &[SchemaChange], dir: &Path) -> Result<Vec<PathBuf>, std::io::Error> {
    let mut text = String::from(
        "# Setup plan\n\nWhat the plan needs in the workspace, in the order in which to do it: Settings → Data model, or let\n`waybill schema apply` do it through the metadata API. Names matter, labels do not.\n\n",
    );
    for (n, change) in (1..).zip(changes) {
        let words = match change {
            SchemaChange::AddObject { name, label, label_plural } => {
                format!("Add the object `{name}` ({label}, {label_plural}).")
            }
            SchemaChange::AddField { object, field } => field_words(object, field),
            SchemaChange::AddOptions { object, field, options } => {
                let mut words = format!("Add options to `{object}.{field}`, after those that are there:\n");
                for option in options {
                    let property = |name: &str| option.properties.get(name).map_or("", String::as_str);
                    let _ = writeln!(
                        words,
                        "   - `{}` ({}): probability {}, won {}, closed {} (Twenty keeps the order only)",
                        option.value,
                        option.label,
                        property("probability"),
                        property("won"),
                        property("closed"),
                    );
                }
                words.trim_end().to_owned()
            }
            SchemaChange::AddVariant { object, label, .. } => {
                format!("`{label}` of {object} has no counterpart in Twenty.")
            }
        };
        let _ = writeln!(text, "{n}. {words}");
    }
    let path = PathBuf::from("SETUP.md");
    fs::write(dir.join(&path), text)?;
    Ok(vec![path])
}

fn field_words(object: &ObjectName, field: &FieldSchema) -> String {
    let name = field.name.as_str().split('.').next().unwrap_or_default();
    let unique = if field.unique { ", unique" } else { "" };
    match &field.kind {
        FieldKind::Reference { to } => {
            let to = to.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let name = name.trim_end_matches("Id");
            format!("Add the relation `{object}.{name}` ({}): each belongs to one {to}.", field.label)
        }
        FieldKind::Choice { options, .. } | FieldKind::Choices { options, .. } => {
            let several = if matches!(field.kind, FieldKind::Choices { .. }) { "MULTI_SELECT" } else { "SELECT" };
            let options: Vec<String> =
                options.iter().map(|option| format!("`{}` ({})", option.value, option.label)).collect();
            format!("Add the field `{object}.{name}` ({}), {several}: {}.", field.label, options.join(", "))
        }
        kind => {
            let part = field.name.as_str().split_once('.').and_then(|(_, part)| columns::composite_with(part));
            let wire = part.unwrap_or_else(|| wire_of(kind));
            format!("Add the field `{object}.{name}` ({}), {}{unique}.", field.label, word(&wire))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_spelled_as_the_server_takes_them_and_stay_apart() {
        for (text, value) in [
            ("Closed Won", "CLOSED_WON"),
            ("  needs   analysis ", "NEEDS_ANALYSIS"),
            ("1st call", "V_1ST_CALL"),
            ("R&D; labs", "R_D_LABS"),
            ("Größe", "GRUF6UDFE"),
            ("日本", "U65E5U672C"),
            ("__", "V"),
        ] {
            assert_eq!(upper_snake(text), value);
        }
        let choice = |value: &str| Choice { value: value.into(), label: value.into(), active: true };
        let shaped = shaped_options(vec![choice("a b"), choice("A-B"), choice("Hannover, 2024")]);
        let told: Vec<_> = shaped.iter().map(|choice| (choice.value.as_str(), choice.label.as_str())).collect();
        assert_eq!(told, [("A_B", "a b"), ("A_B_2", "A-B"), ("HANNOVER_2024", "Hannover 2024")]);
        assert_eq!(shaped_options(shaped.clone()), shaped, "what is shaped stays as it is");
    }

    #[test]
    fn plurals_are_names_and_never_the_singular() {
        assert_eq!(plural_of("machine", "Machines"), "machines");
        assert_eq!(plural_of("sheep", "Sheep"), "sheeps");
        assert_eq!(plural_of("serviceCase", "Service cases"), "serviceCases");
        assert_eq!(plural_of("thing", "日本"), "things");
    }
}
