//! The options of selects, and their defaults.

use serde_json::{Value as Json, json};

use super::{Fault, check};
use crate::twenty::{
    model::{Choice, Field, Kind, col},
    records::unquoted,
    uuid::Uuid,
    workspace::Workspace,
};

fn fault(message: impl Into<String>, value: &Json) -> Fault {
    Fault::field("INVALID_FIELD_INPUT", message, value.clone())
}

impl Workspace {
    /// Reads a list of options. Those that say no id get one.
    pub(crate) fn read_options(&mut self, given: &Json) -> Result<Vec<Choice>, Fault> {
        let items = given.as_array().filter(|items| !items.is_empty());
        let items = items.ok_or_else(|| fault("Options are required for enum fields", given))?;
        let mut choices: Vec<Choice> = Vec::new();
        for item in items {
            let value = item["value"].as_str().unwrap_or_default();
            if !check::is_option_value(value) {
                return Err(fault(
                    format!("Value must be in UPPER_CASE and follow snake_case \"{value}\""),
                    &item["value"],
                ));
            }
            let label = item["label"].as_str().unwrap_or_default();
            if label.is_empty() {
                return Err(fault("Option label is required", &item["label"]));
            }
            if label.len() > 63 {
                return Err(fault("Option label is too long", &item["label"]));
            }
            if label.contains(',') {
                return Err(fault("Label must not contain a comma", &item["label"]));
            }
            let id = match item["id"].as_str() {
                Some(id) => Uuid::parse(id).ok_or_else(|| fault("Option id is invalid", &item["id"]))?.to_string(),
                None => Uuid::random(&mut self.dice).to_string(),
            };
            // Without a position there is none, and two that have none have the same.
            let position = item["position"].as_i64().unwrap_or(i64::MIN);
            for (what, twice) in [
                ("id", choices.iter().any(|known| known.id == id)),
                ("value", choices.iter().any(|known| known.value == value)),
                ("position", choices.iter().any(|known| known.position == position)),
            ] {
                if twice {
                    return Err(fault(format!("Duplicated option {what}"), item));
                }
            }
            let color = item.get("color").cloned().unwrap_or_default();
            choices.push(Choice { id, value: value.into(), label: label.into(), color, position });
        }
        choices.sort_by_key(|choice| choice.position);
        for choice in choices.iter_mut().filter(|choice| choice.position == i64::MIN) {
            choice.position = 0;
        }
        Ok(choices)
    }
}

/// Refuses a default that the type does not take. `Err(None)` is one that only the database refuses.
pub(crate) fn check_default(kind: Kind, choices: &[Choice], default: &Json) -> Result<(), Option<Fault>> {
    let quoted = |text: &str| text.len() >= 2 && text.starts_with('\'') && text.ends_with('\'');
    let one_of = |text: &str| {
        let message = format!("Default value \"{text}\" must be one of the option values");
        let known = choices.iter().any(|choice| choice.value == unquoted(text));
        if known { Ok(()) } else { Err(Some(fault(message, default))) }
    };
    match (kind, default) {
        (Kind::Text, Json::String(text)) if !quoted(text) => Err(None),
        (Kind::Select | Kind::Rating, Json::String(text)) if quoted(text) => one_of(text),
        (Kind::Select | Kind::Rating, given) if !given.is_null() => {
            Err(Some(fault("Default value should be as quoted string", default)))
        }
        (Kind::MultiSelect, Json::Array(list)) => list.iter().try_for_each(|item| match item.as_str() {
            Some(text) if quoted(text) => one_of(text),
            _ => Err(Some(fault("Default value should be as quoted string", default))),
        }),
        (_, Json::Null)
        | (Kind::RawJson | Kind::Array, _)
        | (Kind::Text, Json::String(_))
        | (Kind::Boolean, Json::Bool(_))
        | (Kind::Number, Json::Number(_)) => Ok(()),
        (Kind::DateTime | Kind::Date, Json::String(text)) if text == "now" || quoted(text) => Ok(()),
        (Kind::Uuid, Json::String(text)) if text == "uuid" || quoted(text) => Ok(()),
        (kind, Json::Object(_)) if !kind.parts().is_empty() => Ok(()),
        _ => Err(Some(fault("Default value is invalid", default))),
    }
}

impl Workspace {
    /// Puts new options in the place of the old ones. Rows follow an option that keeps its id; those of an option that is gone
    /// fall back to the default.
    pub(crate) fn replace_options(&mut self, field: u32, choices: Vec<Choice>) {
        let old: Field = self.catalog.field(field).clone();
        let default = match &old.default {
            Json::String(text) => Some(json!(unquoted(text))),
            Json::Array(list) => Some(json!(list.iter().filter_map(Json::as_str).map(unquoted).collect::<Vec<_>>())),
            _ => None,
        };
        let renamed = |value: &str| -> Option<String> {
            let before = old.choice(value)?;
            let kept = choices.iter().find(|choice| choice.id == before.id);
            let kept = kept.or_else(|| choices.iter().find(|choice| choice.value == value));
            kept.map(|choice| choice.value.clone())
        };
        self.rows.rewrite(&self.catalog, old.object, col(field, 0), |value| match value {
            Some(Json::String(text)) => renamed(text).map(|text| json!(text)).or_else(|| default.clone()),
            Some(Json::Array(list)) => {
                let kept: Vec<String> = list.iter().filter_map(Json::as_str).filter_map(renamed).collect();
                if kept.is_empty() { default.clone() } else { Some(json!(kept)) }
            }
            other => other.cloned(),
        });
        if let Some(field) = self.catalog.fields.get_mut(&field) {
            field.options = choices;
        }
        self.catalog.revision += 1;
    }
}
