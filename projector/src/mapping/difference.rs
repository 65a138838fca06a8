//! What differs between two plans, as a person would say it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use super::plan::Plan;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanChange {
    /// Where: a rule's field, a value of a map, a setting.
    pub at: String,
    /// What stood there before; nothing if it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Json>,
    /// What stands there now; nothing if it was taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<Json>,
}

impl Plan {
    /// Returns what differs from an earlier plan, in the order of where it stands.
    pub fn changes_since(&self, earlier: &Self) -> Vec<PlanChange> {
        let (before, now) = (flat(earlier), flat(self));
        let mut changes = Vec::new();
        for (at, old) in &before {
            if now.get(at) != Some(old) {
                changes.push(PlanChange { at: at.clone(), before: Some(old.clone()), now: now.get(at).cloned() });
            }
        }
        for (at, new) in now.into_iter().filter(|(at, _)| !before.contains_key(at)) {
            changes.push(PlanChange { at, before: None, now: Some(new) });
        }
        changes.sort_by(|a, b| a.at.cmp(&b.at));
        changes
    }
}

/// Lays a plan out as lines that can be compared: lists of things with names become names.
fn flat(plan: &Plan) -> BTreeMap<String, Json> {
    let mut lines = BTreeMap::new();
    let Ok(Json::Object(all)) = serde_json::to_value(plan) else { return lines };
    for (section, value) in all {
        match (section.as_str(), value) {
            ("rule" | "seed", Json::Array(items)) => {
                for item in items {
                    let id = item.get("id").and_then(Json::as_str).unwrap_or_default().to_owned();
                    named(&mut lines, &format!("{section} {id}"), item);
                }
            }
            ("field", Json::Array(items)) => {
                for item in items {
                    let text = |name: &str| item.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
                    lines.insert(format!("new field {}.{}", text("object"), text("name")), item.clone());
                }
            }
            ("maps", Json::Object(maps)) => {
                for (name, map) in maps {
                    named(&mut lines, &format!("map {name}"), map);
                }
            }
            (_, Json::Object(items)) => {
                for (name, value) in items {
                    lines.insert(format!("{section}.{name}"), value);
                }
            }
            (_, value) => {
                lines.insert(section, value);
            }
        }
    }
    lines
}

/// Lays out a rule, a seed or a map: a line for each of its fields or values.
fn named(lines: &mut BTreeMap<String, Json>, at: &str, item: Json) {
    let Json::Object(item) = item else { return };
    for (name, value) in item {
        match (name.as_str(), value) {
            ("id", _) => {}
            ("fields" | "values", Json::Object(fields)) => {
                for (field, value) in fields {
                    lines.insert(format!("{at}: {field}"), value);
                }
            }
            (name, value) => {
                lines.insert(format!("{at} ({name})"), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PLAN: &str = r#"
        version = 1
        from = "spark"
        to = "salesforce"
        key_field = "Key__c"
        [maps.m.values]
        "a" = "A"
        [[rule]]
        id = "person"
        from = "people"
        to = "Contact"
        [rule.fields]
        LastName = "name"
        Title = { from = "title", map = "m" }
    "#;

    #[test]
    fn a_difference_names_the_field_and_both_sides_and_ignores_comments() {
        let plan = Plan::parse(PLAN).unwrap();
        assert!(Plan::parse(&format!("# a comment\n{PLAN}")).unwrap().changes_since(&plan).is_empty());
        let edited = PLAN
            .replace("LastName = \"name\"", "LastName = { from = \"name\", long = \"cut\" }\n        Email = \"mail\"")
            .replace("\"a\" = \"A\"", "\"b\" = \"B\"");
        let changes = Plan::parse(&edited).unwrap().changes_since(&plan);
        let said: Vec<_> = changes.iter().map(|c| (c.at.as_str(), c.before.is_some(), c.now.is_some())).collect();
        assert_eq!(
            said,
            [
                ("map m: a", true, false),
                ("map m: b", false, true),
                ("rule person: Email", false, true),
                ("rule person: LastName", true, true),
            ]
        );
    }
}
