//! The plan: what goes where, as a file that people edit and approve.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use waybill_ledger::{Digest, Field, FieldName, Fields, ObjectName, RuleId, Value};

use super::condition::Condition;
use crate::converge::{Touch, Winner};

/// The version of the plan's form that this release reads.
const VERSION: u32 = 1;

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    version: u32,
    /// The source system.
    pub from: String,
    /// The destination system.
    pub to: String,
    key_field: FieldName,
    /// Objects that are read whole and used, but are not records of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    references: Vec<String>,
    /// How owners become users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<OwnerPlan>,
    /// How pipelines become variants, and their stages options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipelines: Option<PipelinePlan>,
    /// Fields that the destination must have.
    #[serde(default, rename = "field", skip_serializing_if = "Vec::is_empty")]
    pub new_fields: Vec<NewField>,
    /// Constant records.
    #[serde(default, rename = "seed", skip_serializing_if = "Vec::is_empty")]
    seeds: Vec<Seed>,
    /// Value maps by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub maps: BTreeMap<String, ValueMap>,
    /// The rules.
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
}

/// How owners become users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerPlan {
    /// The source object that lists the owners.
    pub object: String,
    /// Its field with the e-mail.
    pub email: String,
    /// Who takes records whose owner has no user, unless decided otherwise: the e-mail of a user of the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Who takes records without an owner: the e-mail of a user of the destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unowned: Option<String>,
    /// What a person decided for single owners, by their e-mail: `hold`, or the e-mail of a user of the destination.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub decided: BTreeMap<String, String>,
}

/// How pipelines become variants (on Salesforce: record types with a sales process), and their stages options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelinePlan {
    /// The destination object.
    pub object: ObjectName,
    /// Its field that holds the stage.
    pub field: FieldName,
    /// The source object of pipelines.
    pub pipelines: String,
    /// The source object of stages.
    pub stages: String,
    /// The stages' field with the id of their pipeline.
    pub pipeline: String,
    /// The field with the name, of both.
    pub name: String,
    /// The stages' field with their place.
    pub position: String,
    /// The stages' field with the probability (0 to 100).
    pub probability: String,
    /// The stages' field with the category.
    pub category: String,
    /// Which categories mean what.
    pub won: String,
    /// The category of lost stages.
    pub lost: String,
    /// The stages' field with the forecast category.
    pub forecast: String,
    /// The value map of forecast categories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast_map: Option<String>,
    /// The value map of stage names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
}

/// A field that the destination must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewField {
    /// The object.
    pub object: ObjectName,
    /// The field.
    pub name: FieldName,
    /// The name that people see.
    pub label: String,
    /// What it holds: text, long_text, number, money, percent, date, time, bool, choice, email, phone, url.
    pub kind: String,
    /// The most characters of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u32>,
    /// Digits after the point of a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<u32>,
    /// The options of a choice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// A constant record, such as the account of those who have none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Its id within the plan.
    pub id: String,
    /// The destination object.
    pub to: ObjectName,
    /// Its fields.
    #[serde(rename = "fields")]
    raw: BTreeMap<FieldName, toml::Value>,
    #[serde(skip)]
    fields: Fields,
}

impl Seed {
    /// Returns the id of the rule that stands for it.
    pub fn rule_id(&self) -> String {
        format!("seed.{}", self.id)
    }

    /// Returns its fields.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }
}

/// A value map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueMap {
    /// Whether case and surrounding or repeated spaces are ignored.
    #[serde(default)]
    pub fold: bool,
    /// What becomes of other values.
    #[serde(default)]
    pub otherwise: Otherwise,
    /// The value for all others, where `otherwise` is `value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The values.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
}

impl ValueMap {
    /// Returns what a value becomes.
    pub fn get(&self, value: &str) -> Option<&str> {
        if let Some(found) = self.values.get(value) {
            return Some(found);
        }
        if !self.fold {
            return None;
        }
        let folded = fold(value);
        self.values.iter().find(|(key, _)| fold(key) == folded).map(|(_, found)| found.as_str())
    }
}

/// What becomes of a value that a map does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Otherwise {
    /// The record waits.
    #[default]
    Hold,
    /// The value stays as it is.
    Keep,
    /// The field stays empty.
    Blank,
    /// The map's `value` is taken.
    Value,
}

/// A rule: which records of a source object become which records of a destination object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its stable id.
    pub id: RuleId,
    /// The source object.
    pub from: String,
    /// The destination object.
    pub to: ObjectName,
    /// Which records it wants, as a CEL expression over their fields; all, if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Condition>,
    /// How rows that are there already are treated.
    #[serde(default)]
    pub touch: Touch,
    /// Who wins a field that someone changed at the destination.
    #[serde(default)]
    pub conflict: Winner,
    /// What happens to the destination row when the source record is gone.
    #[serde(default)]
    pub gone: Gone,
    /// The fields.
    pub fields: BTreeMap<FieldName, FieldRule>,
}

/// What happens to a destination row when its source record is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gone {
    /// It stays, and is told.
    #[default]
    Keep,
    /// It is deleted.
    Delete,
}

/// How one destination field gets its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "FieldRuleForm")]
pub struct FieldRule {
    /// The source fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<String>,
    /// What stands between several source fields; without it, the first that holds something is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// A constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<toml::Value>,
    /// A CEL expression over the record's fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cel: Option<Condition>,
    /// The source object whose row the value names: the field takes the id of the row's destination record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookup: Option<String>,
    /// The field of that object by which it is named, if it is not the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Which rule's destination record is meant, where the object has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// What happens if that record did not land.
    #[serde(skip_serializing_if = "is_default")]
    pub missing: Missing,
    /// The constant record that stands in where there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// Whether the value is the id of an owner.
    #[serde(skip_serializing_if = "is_default")]
    pub owner: bool,
    /// The reference object whose row the value names, and the field of it that is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// Whether the value is the name of a variant: the field takes its id.
    #[serde(skip_serializing_if = "is_default")]
    pub variant: bool,
    /// The value map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
    /// What stands in where there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<toml::Value>,
    /// What happens to a text that is too long.
    #[serde(skip_serializing_if = "is_default")]
    pub long: Long,
    /// What happens to a value that cannot be converted.
    #[serde(skip_serializing_if = "is_default")]
    pub invalid: Invalid,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where a value is taken from in a reference row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Via {
    /// The reference object.
    pub object: String,
    /// The field.
    pub field: String,
}

/// What happens when a record that is pointed to did not land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The record waits.
    #[default]
    Hold,
    /// The field stays empty, and that is a decision on record.
    Blank,
    /// The rule's constant record stands in.
    Seed,
}

/// What happens to a text that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Long {
    /// The record waits.
    #[default]
    Hold,
    /// It is cut, and that is a decision on record.
    Cut,
}

/// What happens to a value that cannot be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invalid {
    /// The record waits.
    #[default]
    Hold,
    /// The field stays empty, and that is a decision on record.
    Blank,
}

/// The two ways to write a field rule: a source field, or a table.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a field rule is the name of a source field or a table of: from, join, value, cel, lookup, by, rule, missing, seed, owner, via, variant, map, default, long, invalid"
)]
enum FieldRuleForm {
    Short(String),
    Table(Box<FieldRuleTable>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldRuleTable {
    #[serde(default)]
    from: Option<OneOrMany>,
    join: Option<String>,
    value: Option<toml::Value>,
    cel: Option<Condition>,
    lookup: Option<String>,
    by: Option<String>,
    rule: Option<RuleId>,
    #[serde(default)]
    missing: Missing,
    seed: Option<String>,
    #[serde(default)]
    owner: bool,
    via: Option<Via>,
    #[serde(default)]
    variant: bool,
    map: Option<String>,
    default: Option<toml::Value>,
    #[serde(default)]
    long: Long,
    #[serde(default)]
    invalid: Invalid,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<FieldRuleForm> for FieldRule {
    fn from(form: FieldRuleForm) -> Self {
        let table = match form {
            FieldRuleForm::Table(table) => *table,
            FieldRuleForm::Short(from) => FieldRuleTable {
                from: Some(OneOrMany::One(from)),
                join: None,
                value: None,
                cel: None,
                lookup: None,
                by: None,
                rule: None,
                missing: Missing::default(),
                seed: None,
                owner: false,
                via: None,
                variant: false,
                map: None,
                default: None,
                long: Long::default(),
                invalid: Invalid::default(),
            },
        };
        Self {
            from: match table.from {
                None => Vec::new(),
                Some(OneOrMany::One(one)) => vec![one],
                Some(OneOrMany::Many(many)) => many,
            },
            join: table.join,
            value: table.value,
            cel: table.cel,
            lookup: table.lookup,
            by: table.by,
            rule: table.rule,
            missing: table.missing,
            seed: table.seed,
            owner: table.owner,
            via: table.via,
            variant: table.variant,
            map: table.map,
            default: table.default,
            long: table.long,
            invalid: table.invalid,
        }
    }
}

/// A plan that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct PlanError(pub Vec<String>);

impl Plan {
    /// Reads a plan and checks that it agrees with itself.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let mut plan: Self = toml::from_str(text).map_err(|e| PlanError(vec![e.to_string().trim_end().to_owned()]))?;
        let mut wrong = Vec::new();
        if plan.version != VERSION {
            wrong.push(format!("the plan has version {}, this release reads version {VERSION}", plan.version));
        }
        for seed in &mut plan.seeds {
            for (name, value) in &seed.raw {
                match constant(value) {
                    Some(value) => seed.fields.set(name.clone(), value),
                    None => wrong.push(format!("seed `{}`: {name} is no text, number, flag or date", seed.id)),
                }
            }
        }
        plan.contradictions(&mut wrong);
        if wrong.is_empty() { Ok(plan) } else { Err(PlanError(wrong)) }
    }

    fn contradictions(&self, wrong: &mut Vec<String>) {
        let mut ids = BTreeSet::new();
        for rule in &self.rules {
            if !ids.insert(rule.id.as_str()) {
                wrong.push(format!("two rules have the id `{}`", rule.id));
            }
            let mut names = BTreeSet::new();
            for (name, field) in &rule.fields {
                let at = format!("{}.{name}", rule.id);
                if !names.insert(name.as_str().to_ascii_lowercase()) {
                    wrong.push(format!("{at}: two rules set this field (names differ only by case)"));
                }
                if name.as_str().eq_ignore_ascii_case(self.key_field.as_str()) {
                    wrong.push(format!("{at}: this field carries Waybill's own key and cannot be mapped"));
                }
                self.contradictions_of(field, &at, wrong);
            }
        }
        for (n, rule) in self.rules.iter().enumerate() {
            for other in &self.rules[n + 1..] {
                let same = rule.from == other.from && rule.to == other.to;
                if same && (rule.when.is_none() || other.when.is_none()) {
                    wrong.push(format!(
                        "the rules `{}` and `{}` both make every record of {} a record of {}: give both a `when`, or join them",
                        rule.id, other.id, rule.from, rule.to
                    ));
                }
            }
        }
        let mut seeds = BTreeSet::new();
        for seed in &self.seeds {
            if !seeds.insert(&seed.id) {
                wrong.push(format!("two seeds have the id `{}`", seed.id));
            }
        }
        if self.rules.is_empty() {
            wrong.push("the plan has no rule".to_owned());
        }
        if let Some(name) =
            self.pipelines.as_ref().and_then(|p| p.map.as_ref()).filter(|name| !self.maps.contains_key(*name))
        {
            wrong.push(format!("pipelines: there is no value map `{name}`"));
        }
    }

    fn contradictions_of(&self, field: &FieldRule, at: &str, wrong: &mut Vec<String>) {
        let sources = [!field.from.is_empty(), field.value.is_some(), field.cel.is_some()];
        if sources.iter().filter(|given| **given).count() != 1 {
            wrong.push(format!("{at}: exactly one of `from`, `value` and `cel` says where the value comes from"));
        }
        if let Some(map) = &field.map
            && !self.maps.contains_key(map)
        {
            wrong.push(format!("{at}: there is no value map `{map}`"));
        }
        if let Some(seed) = &field.seed
            && !self.seeds.iter().any(|known| known.id == *seed)
        {
            wrong.push(format!("{at}: there is no seed `{seed}`"));
        }
        if field.missing == Missing::Seed && field.seed.is_none() {
            wrong.push(format!("{at}: `missing = \"seed\"` needs a `seed`"));
        }
        if let Some(object) = &field.lookup
            && !self.rules.iter().any(|rule| rule.from == *object)
        {
            wrong.push(format!("{at}: it looks up `{object}`, but no rule lands records of that object"));
        }
        if let Some(id) = &field.rule
            && !self.rules.iter().any(|rule| rule.id == *id && Some(&rule.from) == field.lookup.as_ref())
        {
            wrong.push(format!("{at}: there is no rule `{id}` for the object it looks up"));
        }
        if field.owner && self.owners.is_none() {
            wrong.push(format!("{at}: it names an owner, but the plan has no [owners]"));
        }
        let kinds = [field.lookup.is_some(), field.owner, field.variant];
        if kinds.iter().filter(|given| **given).count() > 1 {
            wrong.push(format!("{at}: a value is a lookup, an owner or a variant, not several of them"));
        }
        for value in field.value.iter().chain(&field.default) {
            if constant(value).is_none() {
                wrong.push(format!("{at}: a constant is a text, a number, a flag or a date"));
            }
        }
    }

    /// Returns the digest of what the plan means; comments, spaces and the order of tables do not count.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("a plan has text keys only"))
    }

    /// Returns the rules, in the order of the file.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns a rule.
    pub fn rule(&self, id: &RuleId) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == *id)
    }

    /// Returns the constant records.
    pub fn seeds(&self) -> &[Seed] {
        &self.seeds
    }

    /// Returns the destination field that carries our key.
    pub fn key_field(&self) -> FieldName {
        self.key_field.clone()
    }

    /// Returns the objects that are read whole.
    pub fn reference_objects(&self) -> BTreeSet<String> {
        let mut objects: BTreeSet<String> = self.references.iter().cloned().collect();
        objects.extend(self.owners.iter().map(|owners| owners.object.clone()));
        objects.extend(self.pipelines.iter().flat_map(|p| [p.pipelines.clone(), p.stages.clone()]));
        let vias = self.rules.iter().flat_map(|rule| rule.fields.values()).filter_map(|field| field.via.as_ref());
        objects.extend(vias.map(|via| via.object.clone()));
        objects
    }

    /// Returns every source object that the plan reads.
    pub fn source_objects(&self) -> BTreeSet<String> {
        let mut objects = self.reference_objects();
        objects.extend(self.rules.iter().map(|rule| rule.from.clone()));
        objects
    }

    /// Returns every destination object that the plan writes, each once.
    pub fn destination_objects(&self) -> Vec<ObjectName> {
        let mut objects: BTreeSet<ObjectName> = self.rules.iter().map(|rule| rule.to.clone()).collect();
        objects.extend(self.seeds.iter().map(|seed| seed.to.clone()));
        objects.extend(self.pipelines.iter().map(|pipelines| pipelines.object.clone()));
        objects.into_iter().collect()
    }

    /// Returns the destination fields that the plan sets, by object; the key field is one of them.
    pub fn destination_fields(&self) -> BTreeMap<ObjectName, BTreeSet<FieldName>> {
        let mut fields: BTreeMap<ObjectName, BTreeSet<FieldName>> = BTreeMap::new();
        for object in self.destination_objects() {
            fields.entry(object).or_default().insert(self.key_field.clone());
        }
        for rule in &self.rules {
            fields.entry(rule.to.clone()).or_default().extend(rule.fields.keys().cloned());
        }
        for seed in &self.seeds {
            fields.entry(seed.to.clone()).or_default().extend(seed.raw.keys().cloned());
        }
        if let Some(pipelines) = &self.pipelines {
            fields.entry(pipelines.object.clone()).or_default().insert(pipelines.field.clone());
        }
        fields
    }

    /// Returns the source fields that the plan uses, by object.
    pub fn source_fields(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut fields: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for object in self.source_objects() {
            fields.entry(object).or_default();
        }
        for rule in &self.rules {
            let conditions = rule.when.iter().chain(rule.fields.values().filter_map(|field| field.cel.as_ref()));
            let used = fields.entry(rule.from.clone()).or_default();
            used.extend(conditions.flat_map(Condition::fields));
            used.extend(rule.fields.values().flat_map(|field| field.from.iter().cloned()));
            for field in rule.fields.values() {
                if let (Some(object), Some(by)) = (&field.lookup, &field.by) {
                    fields.entry(object.clone()).or_default().insert(by.clone());
                }
                if let Some(via) = &field.via {
                    fields.entry(via.object.clone()).or_default().insert(via.field.clone());
                }
            }
        }
        if let Some(owners) = &self.owners {
            fields.entry(owners.object.clone()).or_default().insert(owners.email.clone());
        }
        if let Some(p) = &self.pipelines {
            fields.entry(p.pipelines.clone()).or_default().insert(p.name.clone());
            let used = [&p.pipeline, &p.name, &p.position, &p.probability, &p.category, &p.forecast];
            fields.entry(p.stages.clone()).or_default().extend(used.into_iter().cloned());
        }
        fields
    }
}

impl Rule {
    /// Returns the (object, field) pairs by which this rule looks records up other than by their id.
    pub fn alternate_lookups(&self) -> impl Iterator<Item = (String, String)> {
        self.fields.values().filter_map(|field| Some((field.lookup.clone()?, field.by.clone()?)))
    }

    /// Returns the fields by which records of this rule point to records of the same source object.
    pub fn self_references(&self) -> impl Iterator<Item = (&FieldName, &FieldRule)> {
        self.fields.iter().filter(|(_, field)| {
            let own = field.rule.as_ref().is_none_or(|rule| *rule == self.id);
            own && field.lookup.as_deref() == Some(&self.from)
        })
    }
}

/// Returns a constant of the plan as a value.
pub(super) fn constant(value: &toml::Value) -> Option<Field> {
    Some(Field::Present(match value {
        toml::Value::String(text) => Value::Text(text.clone()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::Number(number.to_string().parse().ok()?),
        toml::Value::Boolean(flag) => Value::Bool(*flag),
        toml::Value::Datetime(time) => {
            let text = time.to_string();
            match chrono::DateTime::parse_from_rfc3339(&text) {
                Ok(time) => Value::Time(time.to_utc()),
                Err(_) => Value::Date(text.parse().ok()?),
            }
        }
        toml::Value::Array(_) | toml::Value::Table(_) => return None,
    }))
}

/// Returns a text in one case, without surrounding and with single spaces: how people mean options.
pub fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
