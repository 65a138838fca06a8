//! Which row that was there before us a record *is*: the one that holds the same in all fields of the rule's `match`.

use waybill_ledger::{Field, FieldKind, FieldName, Fields, Record, Value};

use super::{Mapping, Plan, Rule, World};

/// What records and rows are compared by: the values of the rule's `match` fields, without case and surrounding spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MatchKey([u8; 16]);

impl Rule {
    /// Returns what these fields are matched by; none if one of the rule's `match` fields holds nothing.
    pub fn match_key(&self, fields: &Fields) -> Option<MatchKey> {
        let mut hasher = blake3::Hasher::new();
        for name in &self.matching {
            let text = fields.value(name.as_str()).map(Value::to_string)?.trim().to_lowercase();
            if text.is_empty() {
                return None;
            }
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        let mut key = [0; 16];
        hasher.finalize_xof().fill(&mut key);
        (!self.matching.is_empty()).then_some(MatchKey(key))
    }

    pub(super) fn contradictions_of_match(&self, wrong: &mut Vec<String>) {
        for name in &self.matching {
            let own = self.fields.get(name);
            let Some(field) = own else {
                wrong.push(format!("{}: it matches by {name}, but sets no such field", self.id));
                continue;
            };
            if field.lookup.is_some() || field.owner || field.variant || field.file || field.children.is_some() {
                wrong.push(format!(
                    "{}: {name} holds no value of the record's own, so nothing is matched by it",
                    self.id
                ));
            }
        }
        if self.expand.is_some() && !self.matching.is_empty() {
            wrong.push(format!("{}: one of many occurrences cannot be a row that was there before", self.id));
        }
    }
}

impl Plan {
    /// Returns what a record is matched by under a rule; none if the rule does not want it, or if it holds nothing to match.
    pub fn match_key(&self, rule: &Rule, record: &Record, world: &impl World) -> Option<MatchKey> {
        if rule.matching.is_empty() || rule.when.as_ref().is_some_and(|when| when.holds(record) != Ok(true)) {
            return None;
        }
        let schema = world.schema(rule.to.as_str())?;
        let mut fields = Fields::new();
        for name in &rule.matching {
            let (field, known) = (rule.fields.get(name)?, schema.field(name.as_str())?);
            match self.field(rule, field, known, record, world, &mut |_| {}) {
                Mapping::Set(Field::Present(value)) => fields.set(name.clone(), value),
                _ => return None,
            }
        }
        rule.match_key(&fields)
    }
}

impl Plan {
    /// Returns what a record would hold, under a rule that wants it, in fields of which the destination allows each value once;
    /// our own key does not count.
    pub fn unique_values(&self, rule: &Rule, record: &Record, world: &impl World) -> Vec<(FieldName, Value)> {
        if rule.expand.is_some() || rule.when.as_ref().is_some_and(|when| when.holds(record) != Ok(true)) {
            return Vec::new();
        }
        let Some(schema) = world.schema(rule.to.as_str()) else { return Vec::new() };
        let unique = |name: &FieldName| schema.field(name.as_str()).filter(|known| known.unique);
        let fields = rule.fields.iter().filter(|(name, _)| **name != self.key_field());
        let values = fields.filter_map(|(name, field)| {
            match self.field(rule, field, unique(name)?, record, world, &mut |_| {}) {
                Mapping::Set(Field::Present(value)) if unique_form(&value).is_some() => Some((name.clone(), value)),
                _ => None,
            }
        });
        values.collect()
    }
}

/// Returns a value as it is compared where each is allowed once, without case and surrounding spaces; none if it holds nothing.
pub fn unique_form(value: &Value) -> Option<String> {
    let text = value.to_string().trim().to_lowercase();
    (!text.is_empty()).then_some(text)
}

/// Returns whether rows can be told apart by what this kind of field holds: short texts, which mean the same in both systems.
pub(super) fn tells_apart(kind: &FieldKind) -> bool {
    match kind {
        FieldKind::Text { rich, multiline, .. } => !rich && !multiline,
        FieldKind::Email | FieldKind::Phone | FieldKind::Url => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rule(text: &str) -> Result<Plan, super::super::PlanError> {
        Plan::parse(&format!(
            "version = 1\nfrom = \"spark\"\nto = \"salesforce\"\nkey_field = \"Key__c\"\n[[rule]]\nid = \"person\"\nfrom = \"people\"\nto = \"Contact\"\n{text}"
        ))
    }

    fn fields(values: &[(&str, &str)]) -> Fields {
        values.iter().map(|(name, value)| ((*name).to_owned(), Field::from(*value))).collect()
    }

    #[test]
    fn records_and_rows_are_compared_without_case_and_spaces_and_never_by_nothing() {
        let plan =
            rule("match = [\"Email\", \"LastName\"]\n[rule.fields]\nEmail = \"mail\"\nLastName = \"name\"").unwrap();
        let key = |mail: &str, name: &str| plan.rules()[0].match_key(&fields(&[("Email", mail), ("LastName", name)]));
        assert_eq!(key(" Ann@X.example", "Berg"), key("ann@x.example", "BERG "));
        assert_ne!(key("ann@x.example", "Berg"), key("ann@x.exampleb", "erg"), "the border between fields counts");
        assert_eq!(key("ann@x.example", "  "), None);
        assert_eq!(plan.rules()[0].match_key(&fields(&[("Email", "ann@x.example")])), None);
    }

    #[test]
    fn what_cannot_be_matched_by_is_said() {
        let wrong = |text: &str| rule(text).unwrap_err().to_string();
        assert!(wrong("match = [\"Email\"]\n[rule.fields]\nLastName = \"name\"").contains("sets no such field"));
        let lookup = "match = [\"AccountId\"]\n[rule.fields]\nAccountId = { from = \"a\", lookup = \"accounts\" }";
        assert!(wrong(lookup).contains("no value of the record's own"));
    }
}
