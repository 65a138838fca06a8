//! Custom fields of the source become custom fields of the destination, as the source itself describes them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use waybill_ledger::{FieldKind, FieldName, FieldSchema, ObjectName, RuleId, Schema};

use super::{
    field_rule::FieldRule,
    plan::{NewField, Plan},
};

/// The most characters of a custom field's name before `__c`, and of its label (Salesforce: "Custom Field Limits").
const NAME: usize = 40;
/// The most characters of a text on one line.
const LINE: u32 = 255;

/// Which custom fields of the source a rule carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomPlan {
    /// The rule.
    pub rule: RuleId,
    /// How the source's names of custom fields begin.
    pub prefix: String,
    /// Those that are not carried.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub except: BTreeSet<String>,
    /// How the destination spells names of custom fields.
    #[serde(default, skip_serializing_if = "is_default")]
    pub names: Names,
    /// Whether the beginning of the name is part of it at the destination, too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep_prefix: bool,
    /// Whether the options of a choice are those that the records hold, instead of those that the source lists.
    #[serde(default, skip_serializing_if = "is_default")]
    pub options_from_data: bool,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How a destination spells names of custom fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Names {
    /// `Lead_score__c`.
    #[default]
    Suffixed,
    /// `leadScore`.
    Camel,
}

impl Plan {
    /// Returns the plan with a rule and a new field for every custom field of the source that it carries and that no rule
    /// names yet.
    #[must_use]
    pub fn with_custom_fields(mut self, source: &Schema) -> Self {
        for custom in self.custom.clone() {
            let Some(at) = self.rules.iter().position(|rule| rule.id == custom.rule) else { continue };
            let (object, from) = (self.rules[at].to.clone(), self.rules[at].from.clone());
            let used: BTreeSet<String> = self.rules[at].fields.values().flat_map(|field| field.from.clone()).collect();
            let wanted = |field: &&FieldSchema| {
                let name = field.name.as_str();
                name.starts_with(&custom.prefix) && !custom.except.contains(name) && !used.contains(name)
            };
            let fields = source.object(&from).map_or(&[][..], |object| object.fields.as_slice());
            // In the order of their names: an export and a server, or two exports, may tell the same columns in another order.
            let mut carried: Vec<&FieldSchema> = fields.iter().filter(wanted).collect();
            carried.sort_by(|a, b| a.name.cmp(&b.name));
            for field in carried {
                let label = if field.label.is_empty() { field.name.as_str() } else { &field.label };
                let taken = |name: &FieldName| self.rules[at].fields.contains_key(name);
                let stem = if custom.keep_prefix { label } else { label.trim_start_matches(&custom.prefix) };
                let name = match custom.names {
                    Names::Suffixed => unused(stem, &taken),
                    Names::Camel => unused_camel(stem, &taken),
                };
                let rule = FieldRule { from: vec![field.name.to_string()], ..FieldRule::default() };
                self.rules[at].fields.insert(name.clone(), rule);
                if !self.new_fields.iter().any(|new| new.object == object && new.name == name) {
                    let label: String = label.chars().take(NAME).collect();
                    let mut new = new_field(object.clone(), name, label, &field.kind);
                    if custom.options_from_data {
                        "choices".clone_into(&mut new.kind);
                        new.options_from = vec![format!("{from}.{}", field.name)];
                    }
                    self.new_fields.push(new);
                }
            }
        }
        self
    }
}

/// Returns a name of letters, digits and single underscores that begins with a letter and is not taken.
fn unused(label: &str, taken: &dyn Fn(&FieldName) -> bool) -> FieldName {
    let mut name = String::new();
    for c in label.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_end_matches('_');
    let name = if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name.to_owned() } else { format!("F_{name}") };
    (1..10_000_u32)
        .map(|turn| {
            let suffix = if turn == 1 { String::new() } else { format!("_{turn}") };
            let stem: String = name.chars().take(NAME - suffix.len()).collect();
            FieldName::from(format!("{}{suffix}__c", stem.trim_end_matches('_')))
        })
        .find(|name| !taken(name))
        .unwrap_or_else(|| FieldName::from("Custom__c"))
}

/// Returns words in one, each but the first with a capital letter: `leadScore`.
pub(super) fn camel(text: &str) -> String {
    let mut name = String::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()) {
        let mut letters = word.chars();
        let first = letters.next().unwrap_or_default();
        // A word in capitals is one word, not many: VIP becomes vip.
        let rest: String = letters.collect();
        let rest = if rest.chars().all(|c| !c.is_ascii_lowercase()) { rest.to_lowercase() } else { rest };
        name.push(if name.is_empty() { first.to_ascii_lowercase() } else { first.to_ascii_uppercase() });
        name.push_str(&rest);
    }
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { name } else { format!("field{name}") }
}

fn unused_camel(label: &str, taken: &dyn Fn(&FieldName) -> bool) -> FieldName {
    let stem: String = camel(label).chars().take(NAME).collect();
    (1..10_000_u32)
        .map(|turn| FieldName::from(if turn == 1 { stem.clone() } else { format!("{stem}{turn}") }))
        .find(|name| !taken(name))
        .unwrap_or_else(|| FieldName::from("custom"))
}

fn new_field(object: ObjectName, name: FieldName, label: String, kind: &FieldKind) -> NewField {
    let (word, length, scale) = match kind {
        // A length that the source does not tell is as long as the kind allows.
        FieldKind::Text { multiline: false, rich: false, length: 0 } => ("text", Some(LINE), None),
        FieldKind::Text { multiline: false, rich: false, length } if *length <= LINE => ("text", Some(*length), None),
        FieldKind::Text { length, .. } => ("long_text", Some((*length).max(32_768)), None),
        FieldKind::Email => ("email", None, None),
        FieldKind::Phone => ("phone", None, None),
        FieldKind::Url => ("url", None, None),
        FieldKind::Bool => ("bool", None, None),
        FieldKind::Number { scale, .. } => ("number", None, Some(*scale)),
        FieldKind::Money { scale, .. } => ("money", None, Some(*scale)),
        FieldKind::Percent { scale, .. } => ("percent", None, Some(*scale)),
        FieldKind::Date => ("date", None, None),
        FieldKind::Time => ("time", None, None),
        FieldKind::Choice { .. } => ("choice", None, None),
        FieldKind::Choices { .. } => ("choices", None, None),
        _ => ("text", Some(LINE), None),
    };
    let options = match kind {
        FieldKind::Choice { options, .. } | FieldKind::Choices { options, .. } => {
            options.iter().map(|option| option.value.clone()).collect()
        }
        _ => Vec::new(),
    };
    NewField { length, scale, options, ..NewField::of(object, name, label, word) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use waybill_ledger::{Choice, ObjectSchema};

    const PLAN: &str = r#"
        version = 1
        from = "spark"
        to = "salesforce"
        key_field = "Key__c"
        [[custom]]
        rule = "person"
        prefix = "cf_"
        except = ["cf_secret"]
        [[rule]]
        id = "person"
        from = "people"
        to = "Contact"
        [rule.fields]
        LastName = "name"
        Level__c = { from = "cf_level" }
    "#;

    fn field(name: &str, label: &str, kind: FieldKind) -> FieldSchema {
        FieldSchema {
            name: name.into(),
            label: label.into(),
            kind,
            required: false,
            createable: false,
            updateable: false,
            unique: false,
            external_id: false,
            case_sensitive: false,
        }
    }

    #[test]
    fn custom_fields_become_rules_and_new_fields_of_the_same_kind() {
        let text = |length| FieldKind::Text { length, multiline: false, rich: false };
        let option = |value: &str| Choice { value: value.into(), label: value.into(), active: true };
        let fields = vec![
            field("name", "Name", text(0)),
            field("cf_level", "Level", text(0)),
            field("cf_secret", "Secret", text(0)),
            field("cf_size", "Größe (cm)", FieldKind::Number { precision: 0, scale: 1 }),
            field(
                "cf_mood",
                "Mood",
                FieldKind::Choice { options: vec![option("good"), option("bad")], restricted: false },
            ),
            field("cf_mood2", "Mood!", text(80)),
        ];
        let object = ObjectSchema {
            name: "people".into(),
            label: "People".into(),
            createable: false,
            updateable: false,
            deletable: false,
            fields,
            variants: Vec::new(),
        };
        let source = Schema { objects: vec![object] };
        let plan = Plan::parse(PLAN).unwrap().with_custom_fields(&source);
        let names: Vec<&str> = plan.rules()[0].fields.keys().map(FieldName::as_str).collect();
        assert_eq!(names, ["Gr_e_cm__c", "LastName", "Level__c", "Mood_2__c", "Mood__c"]);
        let new: Vec<_> = plan.new_fields.iter().map(|new| (new.name.as_str(), new.kind.as_str(), new.scale)).collect();
        assert_eq!(new, [("Mood__c", "choice", None), ("Mood_2__c", "text", None), ("Gr_e_cm__c", "number", Some(1))]);
        assert_eq!(plan.new_fields[0].options, ["good", "bad"]);
        assert_eq!(plan.clone().with_custom_fields(&source), plan, "a second turn adds nothing");
        let mut turned = source.clone();
        turned.objects[0].fields.reverse();
        assert_eq!(Plan::parse(PLAN).unwrap().with_custom_fields(&turned), plan, "the order of columns says nothing");
    }
}
