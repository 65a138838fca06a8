//! Custom objects of the source become objects of the destination, with rules of their own: what a source calls its own cannot
//! stand in a shipped plan.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use waybill_ledger::{FieldName, ObjectName, Record, RuleId};

use super::{
    condition::Condition,
    custom::{CustomPlan, Names, camel},
    field_rule::{FieldRule, Link, Lookup, Missing, field_rules},
    plan::{Gone, NewField, NewObject, Plan, Rule},
};
use crate::converge::{Touch, Winner};

/// How custom objects of the source are carried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectsPlan {
    /// The source object that lists them.
    pub list: String,
    /// Its field with the name of the source object.
    pub key: String,
    /// Its field with the name that people see.
    pub label: String,
    /// Its field with the plural of that.
    pub label_plural: String,
    /// The source object whose rows link their records to others.
    pub links: String,
    /// The objects that its rows call by other names.
    #[serde(default)]
    pub kinds: BTreeMap<String, String>,
    /// How the source's names of custom fields begin.
    pub prefix: String,
    /// Fields that each of them gets.
    #[serde(default, rename = "field", skip_serializing_if = "Vec::is_empty")]
    new_fields: Vec<AnyField>,
    /// How each of their records is mapped.
    #[serde(deserialize_with = "field_rules")]
    fields: BTreeMap<FieldName, FieldRule>,
}

/// A field of every such object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyField {
    name: FieldName,
    label: String,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<ObjectName>,
}

/// One way in which records of two source objects are linked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relation {
    /// The object of the one.
    pub from: String,
    /// The object of the other.
    pub to: String,
    /// What the link is called.
    pub name: String,
    /// Whether one record may be linked to several others.
    pub many: bool,
}

impl Relation {
    /// Reads the relation that a row of links is an example of: `from_object`, `to_object`, `relation` and `cardinality`.
    pub fn of(link: &Record) -> Option<Self> {
        let text = |name: &str| link.fields.value(name).map(|value| value.to_string().trim().to_owned());
        let many = text("cardinality").is_some_and(|kind| kind.eq_ignore_ascii_case("nn"));
        let (from, to) = (text("from_object")?, text("to_object")?);
        (!from.is_empty() && !to.is_empty()).then(|| Self {
            from,
            to,
            name: text("relation").unwrap_or_default(),
            many,
        })
    }
}

impl Plan {
    /// Returns the plan with an object, its fields and a rule for every custom object that the source lists and that no rule
    /// reads yet; `relations` are the ways in which its records are linked.
    #[must_use]
    pub fn with_custom_objects<'r>(
        mut self,
        listed: impl Iterator<Item = &'r Record>,
        relations: &BTreeSet<Relation>,
    ) -> Self {
        let Some(plan) = self.objects.clone() else { return self };
        let text = |record: &Record, name: &str| {
            record.fields.value(name).map(|value| value.to_string().trim().to_owned()).filter(|text| !text.is_empty())
        };
        let mut own = BTreeSet::new();
        for record in listed {
            let key = text(record, &plan.key).unwrap_or_else(|| record.id.clone());
            if self.rules.iter().any(|rule| rule.from == key) {
                continue;
            }
            let label = text(record, &plan.label).unwrap_or_else(|| key.clone());
            let label_plural = text(record, &plan.label_plural).unwrap_or_else(|| format!("{label}s"));
            let name = ObjectName::from(camel(&key));
            self.add_object(&plan, name.clone(), label, label_plural);
            self.rules.push(rule(RuleId::from(key.as_str()), key.clone(), name, None, plan.fields.clone()));
            self.custom.push(CustomPlan {
                rule: RuleId::from(key.as_str()),
                prefix: plan.prefix.clone(),
                except: BTreeSet::new(),
                names: Names::Camel,
                keep_prefix: false,
                options_from_data: false,
            });
            own.insert(key);
        }
        for relation in relations.iter().filter(|relation| own.contains(&relation.from)) {
            if relation.many { self.add_junction(&plan, relation) } else { self.add_reference(&plan, relation) }
        }
        self
    }

    fn add_object(&mut self, plan: &ObjectsPlan, name: ObjectName, label: String, label_plural: String) {
        for field in &plan.new_fields {
            self.new_fields.push(NewField {
                to: field.to.clone(),
                ..NewField::of(name.clone(), field.name.clone(), field.label.clone(), &field.kind)
            });
        }
        self.new_objects.push(NewObject { name, label, label_plural });
    }

    /// Returns where records of an object land that a link calls so.
    fn lands(&self, plan: &ObjectsPlan, called: &str) -> Option<(String, ObjectName)> {
        let from = plan.kinds.get(called).map_or(called, String::as_str);
        let rule = self.rules.iter().find(|rule| rule.from == from)?;
        Some((from.to_owned(), rule.to.clone()))
    }

    fn reference(&mut self, object: &ObjectName, name: &FieldName, label: &str, to: ObjectName) {
        let field = NewField::of(object.clone(), name.clone(), label.to_owned(), "reference");
        self.new_fields.push(NewField { to: Some(to), ..field });
    }

    /// A record points to at most one other: a reference.
    fn add_reference(&mut self, plan: &ObjectsPlan, relation: &Relation) {
        let Some((target, to)) = self.lands(plan, &relation.to) else { return };
        let Some(at) = self.rules.iter().position(|rule| rule.from == relation.from) else { return };
        let object = self.rules[at].to.clone();
        let stem = camel(if relation.name.is_empty() { &relation.to } else { &relation.name });
        let mut name = FieldName::from(format!("{stem}Id"));
        if self.rules[at].fields.contains_key(&name) {
            name = FieldName::from(format!("{stem}{}Id", capital(&camel(&relation.to))));
        }
        let is = [("from_object", &relation.from), ("to_object", &relation.to), ("relation", &relation.name)];
        let is = is.into_iter().filter(|(_, value)| !value.is_empty());
        let link = Link {
            object: plan.links.clone(),
            by: "from_id".into(),
            take: "to_id".into(),
            is: is.map(|(name, value)| (name.to_owned(), value.clone())).collect(),
            latest: None,
        };
        let field = FieldRule {
            link: Some(link),
            lookup: Some(Lookup::One(target)),
            missing: Missing::Blank,
            ..FieldRule::default()
        };
        self.rules[at].fields.insert(name.clone(), field);
        self.reference(&object, &name, &capital(&stem), to);
    }

    /// Records of two objects point to each other freely: an object between them, with a row for each link.
    fn add_junction(&mut self, plan: &ObjectsPlan, relation: &Relation) {
        let (Some((one, one_to)), Some((other, other_to))) =
            (self.lands(plan, &relation.from), self.lands(plan, &relation.to))
        else {
            return;
        };
        let stem = format!("{}{}", camel(&relation.from), capital(&camel(&relation.to)));
        let mut name = stem.clone();
        while self.new_objects.iter().any(|known| known.name.as_str() == name) {
            name.push_str("Link");
        }
        let object = ObjectName::from(name);
        let label =
            format!("{} {}", capital(&relation.from.replace('_', " ")), capital(&relation.to.replace('_', " ")));
        let condition = format!(
            "from_object == {} && to_object == {} && relation == {} && cardinality == 'nn'",
            quoted(&relation.from),
            quoted(&relation.to),
            quoted(&relation.name)
        );
        let Ok(when) = Condition::new(&condition) else { return };
        let look = |from: &str, object: &str| FieldRule {
            from: vec![from.to_owned()],
            lookup: Some(Lookup::One(object.to_owned())),
            ..FieldRule::default()
        };
        let side = |called: &str| FieldName::from(format!("{}Id", camel(called)));
        let (mine, mut theirs) = (side(&relation.from), side(&relation.to));
        if mine == theirs {
            theirs = FieldName::from(format!("other{}", capital(theirs.as_str())));
        }
        let constant = FieldRule { value: Some(toml::Value::String(relation.name.clone())), ..FieldRule::default() };
        let mut fields =
            BTreeMap::from([(mine.clone(), look("from_id", &one)), (theirs.clone(), look("to_id", &other))]);
        if !relation.name.is_empty() {
            fields.insert("name".into(), constant);
        }
        // What every custom object gets of its source, a row of links has as far as it has the same columns.
        for (name, field) in &plan.fields {
            if field.from == ["id"] {
                fields.insert(name.clone(), field.clone());
            }
        }
        self.reference(&object, &mine, &capital(&relation.from), one_to);
        self.reference(&object, &theirs, &capital(&relation.to), other_to);
        let id = format!("{}-{}", object, relation.name.replace(' ', "-"));
        self.rules.push(rule(RuleId::from(id), plan.links.clone(), object.clone(), Some(when), fields));
        self.add_object(plan, object, label.clone(), format!("{label} links"));
    }
}

fn rule(
    id: RuleId,
    from: String,
    to: ObjectName,
    when: Option<Condition>,
    fields: BTreeMap<FieldName, FieldRule>,
) -> Rule {
    Rule {
        id,
        from,
        to,
        when,
        matching: Vec::new(),
        trash: super::plan::Trash::default(),
        touch: Touch::default(),
        conflict: Winner::default(),
        gone: Gone::default(),
        expand: None,
        fields,
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use waybill_ledger::{Field, Fields};

    const PLAN: &str = r#"
        version = 1
        from = "spark"
        to = "crm"
        key_field = "key"
        [objects]
        list = "custom_objects"
        key = "key"
        label = "label"
        label_plural = "label_plural"
        links = "object_links"
        kinds = { company = "companies" }
        prefix = "cf_"
        fields = { name = "name", sourceId = "id" }
        [[objects.field]]
        name = "sourceId"
        label = "Source ID"
        kind = "text"
        [[rule]]
        id = "company"
        from = "companies"
        to = "company"
        [rule.fields]
        name = "name"
    "#;

    #[test]
    fn a_custom_object_gets_a_rule_references_and_junctions() {
        let fields: Fields = [("key", "service_case"), ("label", "Case"), ("label_plural", "Cases")]
            .into_iter()
            .map(|(name, text)| (name, Field::from(text)))
            .collect();
        let listed = [Record { id: "service_case".into(), fields }];
        let relation =
            |name: &str, many| Relation { from: "service_case".into(), to: "company".into(), name: name.into(), many };
        let relations = BTreeSet::from([relation("owned by", false), relation("seen by", true)]);
        let plan = Plan::parse(PLAN).unwrap().with_custom_objects(listed.iter(), &relations);
        let rules: Vec<(&str, &str, &str)> =
            plan.rules().iter().map(|rule| (rule.id.as_str(), rule.from.as_str(), rule.to.as_str())).collect();
        assert_eq!(rules[1], ("service_case", "service_case", "serviceCase"));
        assert_eq!(rules[2], ("serviceCaseCompany-seen-by", "object_links", "serviceCaseCompany"));
        let own = &plan.rules()[1].fields["ownedById"];
        assert_eq!(own.link.as_ref().unwrap().is["relation"], "owned by");
        let objects: Vec<&str> = plan.new_objects.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(objects, ["serviceCase", "serviceCaseCompany"]);
        let references = plan.new_fields.iter().filter(|field| field.kind == "reference");
        let references: Vec<String> = references.map(|field| format!("{}.{}", field.object, field.name)).collect();
        assert_eq!(
            references,
            ["serviceCase.ownedById", "serviceCaseCompany.serviceCaseId", "serviceCaseCompany.companyId"]
        );
        assert!(plan.phases().is_ok());
        let again = plan.clone().with_custom_objects(listed.iter(), &relations);
        assert_eq!(again, plan, "a second turn adds nothing");
    }
}
