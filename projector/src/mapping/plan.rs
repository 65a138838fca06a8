//! The plan: what goes where, as a file that people edit and approve.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use waybill_ledger::{Digest, Field, FieldName, Fields, ObjectName, RuleId, Value};

use super::{
    condition::Condition,
    custom::CustomPlan,
    expand::Expand,
    field_rule::{FieldRule, Lookup, Missing, field_rules},
    objects::ObjectsPlan,
};
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
    /// Destination objects whose rows cannot carry a key of ours.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    without_key: BTreeSet<ObjectName>,
    /// The IANA zone in which moments become days, where the destination keeps only a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone: Option<String>,
    /// The most megabytes (1,048,576 bytes) of a file that is carried; 25 if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_limit_mb: Option<u32>,
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
    /// Objects that the destination must have.
    #[serde(default, rename = "object", skip_serializing_if = "Vec::is_empty")]
    pub new_objects: Vec<NewObject>,
    /// How custom objects of the source are carried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectsPlan>,
    /// Custom fields of the source that are carried as they are described there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) custom: Vec<CustomPlan>,
    /// Constant records.
    #[serde(default, rename = "seed", skip_serializing_if = "Vec::is_empty")]
    seeds: Vec<Seed>,
    /// Value maps by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub maps: BTreeMap<String, ValueMap>,
    /// The rules.
    #[serde(default, rename = "rule")]
    pub(super) rules: Vec<Rule>,
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
    /// The choice field that takes the pipeline, where the destination has no variants; it is made if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<FieldName>,
}

/// An object that the destination must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewObject {
    /// The object.
    pub name: ObjectName,
    /// The name that people see.
    pub label: String,
    /// The plural of it.
    pub label_plural: String,
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
    /// What it holds: text, long_text, number, money, percent, date, time, bool, choice, choices, email, phone, url, reference.
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
    /// Fields of the source, as `object.field`, whose values are options of a choice as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options_from: Vec<String>,
    /// The object that a reference points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<ObjectName>,
}

impl NewField {
    /// Returns a field of a kind, without any of the kind's particulars.
    pub(super) fn of(object: ObjectName, name: FieldName, label: String, kind: &str) -> Self {
        let kind = kind.to_owned();
        Self {
            object,
            name,
            label,
            kind,
            length: None,
            scale: None,
            options: Vec::new(),
            options_from: Vec::new(),
            to: None,
        }
    }

    /// Returns a choice without options.
    pub(crate) fn choice(object: ObjectName, name: FieldName, label: String) -> Self {
        Self::of(object, name, label, "choice")
    }
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
    /// The destination fields by which a record is known to be a row that was there before: one that holds the same in all of
    /// them. Without any, every record becomes a row of its own.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matching: Vec<FieldName>,
    /// What happens if a row in the destination's trash holds a value that a record needs and that is allowed once.
    #[serde(default, skip_serializing_if = "is_hold")]
    pub trash: Trash,
    /// How rows that are there already are treated.
    #[serde(default)]
    pub touch: Touch,
    /// Who wins a field that someone changed at the destination.
    #[serde(default)]
    pub conflict: Winner,
    /// What happens to the destination row when the source record is gone.
    #[serde(default)]
    pub gone: Gone,
    /// Makes one destination record for each occurrence of something that recurs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expand: Option<Expand>,
    /// The fields.
    #[serde(deserialize_with = "field_rules")]
    pub fields: BTreeMap<FieldName, FieldRule>,
}

/// What happens to a row in the trash that stands in a record's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trash {
    /// The record waits for a person, who brings the row back or deletes it for good.
    #[default]
    Hold,
    /// The row is brought back and becomes the record's; a rollback puts it into the trash again, as it was.
    Restore,
    /// The row is deleted for good and the record becomes a row of its own. No rollback brings it back; the ledger keeps what
    /// it held.
    Destroy,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_hold(trash: &Trash) -> bool {
    *trash == Trash::Hold
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
        if let Some(zone) = self.zone.as_ref().filter(|zone| zone.parse::<chrono_tz::Tz>().is_err()) {
            wrong.push(format!("`{zone}` is no zone: name one as `Europe/London` is named"));
        }
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
            rule.contradictions_of_match(wrong);
            if let Some(expand) = &rule.expand {
                expand.contradictions(&rule.id, wrong);
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
        for custom in self.custom.iter().filter(|custom| !ids.contains(custom.rule.as_str())) {
            wrong.push(format!("[[custom]]: there is no rule `{}`", custom.rule));
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
        let from = !field.from.is_empty() || field.link.is_some();
        let sources = [from, field.value.is_some(), field.cel.is_some(), field.children.is_some()];
        if sources.iter().filter(|given| **given).count() != 1 {
            wrong.push(format!(
                "{at}: exactly one of `from` (or `link`), `value`, `cel` and `children` says where the value comes from"
            ));
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
        for object in field.objects().filter(|object| !self.rules.iter().any(|rule| rule.from == *object)) {
            wrong.push(format!("{at}: it looks up `{object}`, but no rule lands records of that object"));
        }
        match &field.lookup {
            Some(Lookup::Each(objects)) if objects.len() != field.from.len() => {
                wrong.push(format!("{at}: `lookup` lists one object for each of `from`"));
            }
            Some(Lookup::ByKind(_))
                if field.kind.is_none() && field.through.as_ref().is_none_or(|t| t.kind.is_none()) =>
            {
                wrong.push(format!("{at}: a `lookup` by kinds needs the `kind` field that says which it is"));
            }
            _ => {}
        }
        if let Some(id) = &field.rule
            && !self.rules.iter().any(|rule| rule.id == *id && field.objects().any(|object| object == rule.from))
        {
            wrong.push(format!("{at}: there is no rule `{id}` for the object it looks up"));
        }
        if field.owner && self.owners.is_none() {
            wrong.push(format!("{at}: it names an owner, but the plan has no [owners]"));
        }
        let kinds = [field.lookup.is_some(), field.owner, field.variant, field.file];
        if kinds.iter().filter(|given| **given).count() > 1 {
            wrong.push(format!("{at}: a value is a lookup, an owner, a variant or a file, not several of them"));
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

    /// Returns whether rows of this object carry our key.
    pub fn has_key(&self, object: &str) -> bool {
        !self.without_key.iter().any(|other| other.as_str().eq_ignore_ascii_case(object))
    }

    /// Returns the objects whose rows cannot carry our key.
    pub fn without_key(&self) -> &BTreeSet<ObjectName> {
        &self.without_key
    }

    /// Returns the zone in which moments become days; UTC, unless the plan names one.
    pub fn zone(&self) -> chrono_tz::Tz {
        self.zone.as_ref().and_then(|zone| zone.parse().ok()).unwrap_or(chrono_tz::UTC)
    }

    /// Returns the most bytes of a file that is carried.
    pub fn file_limit(&self) -> u64 {
        u64::from(self.file_limit_mb.unwrap_or(25)) << 20
    }

    /// Returns the objects that are read whole.
    pub fn reference_objects(&self) -> BTreeSet<String> {
        let mut objects: BTreeSet<String> = self.references.iter().cloned().collect();
        objects.extend(self.owners.iter().map(|owners| owners.object.clone()));
        objects.extend(self.pipelines.iter().flat_map(|p| [p.pipelines.clone(), p.stages.clone()]));
        let vias = self.rules.iter().flat_map(|rule| rule.fields.values()).filter_map(|field| field.via.as_ref());
        objects.extend(vias.map(|via| via.object.clone()));
        objects.extend(self.objects.iter().map(|objects| objects.list.clone()));
        objects
    }

    /// Returns every source object that the plan reads.
    pub fn source_objects(&self) -> BTreeSet<String> {
        let mut objects = self.reference_objects();
        objects.extend(self.rules.iter().map(|rule| rule.from.clone()));
        let children = self.rules.iter().flat_map(|rule| rule.fields.values()).filter_map(|f| f.children.as_ref());
        objects.extend(
            self.rules.iter().flat_map(|rule| rule.fields.values()).filter_map(|f| Some(f.through.clone()?.object)),
        );
        let links = self.rules.iter().flat_map(|rule| rule.fields.values()).filter_map(|field| field.link.as_ref());
        objects.extend(links.map(|link| link.object.clone()));
        objects.extend(self.objects.iter().map(|objects| objects.links.clone()));
        for children in children {
            objects.insert(children.object.clone());
            objects.extend(children.links.values().cloned());
        }
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
            let key = self.has_key(object.as_str()).then(|| self.key_field.clone());
            fields.entry(object).or_default().extend(key);
        }
        for rule in &self.rules {
            // Of two fields that stand in for each other, only one is set, and which one the destination decides; it decides of
            // a field that is set where that is allowed, too.
            let names = rule
                .fields
                .iter()
                .filter(|(_, field)| field.instead.is_none() && !field.if_allowed)
                .map(|(name, _)| name.clone());
            let of = fields.entry(rule.to.clone()).or_default();
            of.extend(names);
            of.extend(rule.fields.values().filter_map(|field| field.spill.clone()));
        }
        for seed in &self.seeds {
            fields.entry(seed.to.clone()).or_default().extend(seed.raw.keys().cloned());
        }
        if let Some(pipelines) = &self.pipelines {
            let of = fields.entry(pipelines.object.clone()).or_default();
            of.insert(pipelines.field.clone());
            of.extend(pipelines.into.clone());
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
            used.extend(
                rule.fields
                    .values()
                    .flat_map(|field| field.from.iter().chain(&field.kind).chain(&field.sha256).cloned()),
            );
            used.extend(rule.expand.iter().flat_map(Expand::fields));
            for field in rule.fields.values() {
                if let (Some(Lookup::One(object)), Some(by)) = (&field.lookup, &field.by) {
                    fields.entry(object.clone()).or_default().insert(by.clone());
                }
                if let Some(through) = &field.through {
                    let of = fields.entry(through.object.clone()).or_default();
                    of.extend([through.from.clone()].into_iter().chain(through.kind.clone()));
                }
                if let Some(children) = &field.children {
                    let own = children.show.iter().filter_map(|shown| shown.split('.').next()).map(str::to_owned);
                    let of = fields.entry(children.object.clone()).or_default();
                    of.extend(own.chain([children.by.clone()]).chain(children.is.keys().cloned()));
                    for (link, other) in children.show.iter().filter_map(|shown| shown.split_once('.')) {
                        if let Some(object) = children.links.get(link) {
                            fields.entry(object.clone()).or_default().insert(other.to_owned());
                        }
                    }
                }
                if let Some(link) = &field.link {
                    let of = fields.entry(link.object.clone()).or_default();
                    of.extend([link.by.clone(), link.take.clone()]);
                    of.extend(link.is.keys().chain(&link.latest).cloned());
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
        let lookups = self.fields.values().filter_map(|field| match &field.lookup {
            Some(Lookup::One(object)) => Some((object.clone(), field.by.clone()?)),
            _ => None,
        });
        let children = self.fields.values().filter_map(|field| field.children.as_ref());
        let links = self.fields.values().filter_map(|field| field.link.as_ref());
        let links = links.map(|link| (link.object.clone(), link.by.clone()));
        let moved = self.expand.iter().map(|expand| (self.from.clone(), expand.series.clone()));
        lookups.chain(children.map(|children| (children.object.clone(), children.by.clone()))).chain(links).chain(moved)
    }

    /// Returns who wins a field that someone changed at the destination.
    pub fn winner(&self, field: &FieldName) -> Winner {
        self.fields.get(field).and_then(|field| field.conflict).unwrap_or(self.conflict)
    }

    /// Returns the fields by which records of this rule point to records of the same source object.
    pub fn self_references(&self) -> impl Iterator<Item = (&FieldName, &FieldRule)> {
        self.fields.iter().filter(|(_, field)| {
            let own = field.rule.as_ref().is_none_or(|rule| *rule == self.id);
            own && field.objects().any(|object| object == self.from)
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
