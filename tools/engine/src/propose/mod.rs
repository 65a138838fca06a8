//! Proposes where the source fields go that no rule uses, and writes the proposals into the plan for people to look at.

mod edit;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use waybill_ledger::{Event, FieldKind, FieldSchema, Record, Value, event::NameKind};
use waybill_projector::{
    inventory::Inventory,
    mapping::{Plan, Rule},
    propose::{Column, Proposal, Sample, Settings, propose as match_columns, propose_values},
};

use crate::{failure::Failure, prepare::Prepared, session::Session, world::records_at};

/// How many records of an object are looked at; of more, they are spread evenly.
const LOOKED_AT: usize = 20_000;
/// How many different values a field may have that the source calls a choice, for a value map to be proposed.
const CHOICES: u64 = 60;
/// How many runners-up are named.
const RUNNERS_UP: usize = 3;
/// Below this a runner-up is not worth a name.
const WORTH_NAMING: f64 = 0.02;

/// What is proposed for one source field under one rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposed {
    /// The rule that reads the object.
    pub rule: String,
    /// The source object.
    pub object: String,
    /// The source field.
    pub field: String,
    /// The destination field, with its object; none, if nothing is likely enough.
    pub target: Option<String>,
    /// How likely that is the right one, from 0 to 1; without a target, how likely the best guess is.
    pub confidence: f64,
    /// Why.
    pub reason: String,
    /// What else it may be, the best first.
    pub runners_up: Vec<RunnerUp>,
    /// The values that do not fit as they are, with what they may become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Values>,
    /// How the field rule would be written.
    #[serde(skip)]
    line: Option<Line>,
}

/// A destination field that a source field may go to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunnerUp {
    /// The destination field, with its object.
    pub target: String,
    /// How likely it is the right one, from 0 to 1.
    pub confidence: f64,
    /// Why.
    pub reason: String,
}

/// A value map that is proposed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Values {
    /// What the map would be called.
    pub map: String,
    /// Values with the option that is proposed for each.
    pub values: BTreeMap<String, String>,
    /// Values for which no option is likely enough.
    pub open: Vec<String>,
}

/// A field rule, as it is written into a plan.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    name: String,
    value: String,
    /// What a person must add before it can stand; it is then written as a comment.
    lacks: Option<&'static str>,
}

/// What was written into a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Field rules that were put in, by rule and destination field.
    pub fields: Vec<String>,
    /// Value maps that were put in.
    pub maps: Vec<String>,
    /// Source fields that were left open, as comments.
    pub open: Vec<String>,
    /// Rules that write their fields in one line, where no comment can stand: put proposals in by hand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_alone: Vec<String>,
}

impl Written {
    /// Returns whether the plan stayed as it was.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.maps.is_empty() && self.open.is_empty()
    }
}

/// What the records of an object hold in the fields that no rule uses.
struct Seen {
    samples: BTreeMap<String, Sample>,
    choices: BTreeMap<String, Vec<String>>,
}

impl Seen {
    /// Returns what a field chooses among, if it chooses: by what records share, or because the source says that it does.
    fn choices_of(&self, field: &FieldSchema) -> Option<Vec<String>> {
        if let Some(choices) = self.choices.get(field.name.as_str()) {
            return Some(choices.clone());
        }
        let sample = self.samples.get(field.name.as_str())?;
        let chooses = matches!(field.kind, FieldKind::Choice { .. } | FieldKind::Choices { .. });
        (chooses && sample.distinct() <= CHOICES).then(|| {
            let mut values: Vec<String> = sample.values().map(|(value, _)| value.to_owned()).collect();
            values.sort();
            values
        })
    }
}

/// Proposes a target for every field of the objects that rules read and that no rule uses.
pub fn propose(session: &Session, prepared: &Prepared) -> Result<Vec<Proposed>, Failure> {
    let plan = &prepared.plan;
    let used = plan.source_fields();
    let mut seen: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut all = Vec::new();
    for rule in plan.rules() {
        let Some(source) = prepared.source_schema.object(&rule.from) else { continue };
        let unused: Vec<&FieldSchema> = source
            .fields
            .iter()
            .filter(|field| used.get(&rule.from).is_none_or(|used| !used.contains(field.name.as_str())))
            .collect();
        if unused.is_empty() {
            continue;
        }
        let Some(target) = prepared.schema.object(rule.to.as_str()) else { continue };
        if !seen.contains_key(rule.from.as_str()) {
            let names = unused.iter().map(|field| field.name.to_string()).collect();
            seen.insert(&rule.from, look(session, &rule.from, &names)?);
        }
        let Some(seen) = seen.get(rule.from.as_str()) else { continue };
        let set: BTreeSet<String> = rule.fields.keys().map(|name| name.as_str().to_ascii_lowercase()).collect();
        let taken = |field: &FieldSchema| {
            !field.createable
                || field.name == plan.key_field()
                || set.contains(&field.name.as_str().to_ascii_lowercase())
        };
        // Fields that are mapped are there, too: how they are called tells what is a prefix and what a name.
        let fields: Vec<&FieldSchema> = target.fields.iter().collect();
        let targets: Vec<Column> =
            fields.iter().map(|field| Column { taken: taken(field), ..Column::of(rule.to.as_str(), field) }).collect();
        let others: Vec<&FieldSchema> = source.fields.iter().collect();
        let columns: Vec<Column> = others
            .iter()
            .map(|field| Column {
                taken: field.kind == FieldKind::Id || !unused.iter().any(|unused| unused.name == field.name),
                sample: seen.samples.get(field.name.as_str()).cloned(),
                ..Column::of(&rule.from, field)
            })
            .collect();
        all.extend(unused.iter().filter(|field| field.kind == FieldKind::Id).map(|field| key(rule, field)));
        let settings = Settings { candidates: RUNNERS_UP + 1, ..Settings::default() };
        for proposal in match_columns(&columns, &targets, &settings) {
            all.push(proposed(plan, rule, others[proposal.source], &fields, &proposal, seen));
        }
    }
    Ok(all)
}

/// The id of a record goes nowhere of its own: Waybill's key field carries it.
fn key(rule: &Rule, field: &FieldSchema) -> Proposed {
    Proposed {
        rule: rule.id.to_string(),
        object: rule.from.clone(),
        field: field.name.to_string(),
        target: None,
        confidence: 0.0,
        reason: "the record's own id, which Waybill's key field carries".to_owned(),
        runners_up: Vec::new(),
        values: None,
        line: None,
    }
}

fn proposed(
    plan: &Plan,
    rule: &Rule,
    field: &FieldSchema,
    fields: &[&FieldSchema],
    proposal: &Proposal,
    seen: &Seen,
) -> Proposed {
    let named = |target: usize| format!("{}.{}", rule.to, fields[target].name);
    let first = proposal.candidates.first();
    let target = first.filter(|_| proposal.chosen).map(|first| fields[first.target]);
    let values = target.and_then(|target| values(rule, target, &seen.choices_of(field)?));
    let runners_up = proposal.candidates.iter().skip(usize::from(proposal.chosen));
    Proposed {
        rule: rule.id.to_string(),
        object: rule.from.clone(),
        field: field.name.to_string(),
        target: target.map(|target| format!("{}.{}", rule.to, target.name)),
        confidence: first.map_or(0.0, |first| hundredths(first.confidence)),
        reason: match (first, proposal.chosen) {
            (Some(first), true) => first.reason.clone(),
            (Some(_), false) => "nothing is likely enough".to_owned(),
            (None, _) => "no field of the destination is free".to_owned(),
        },
        runners_up: runners_up
            .filter(|one| one.confidence >= WORTH_NAMING)
            .take(RUNNERS_UP)
            .map(|one| RunnerUp {
                target: named(one.target),
                confidence: hundredths(one.confidence),
                reason: one.reason.clone(),
            })
            .collect(),
        line: target.map(|target| line(plan, field, target, values.as_ref())),
        values,
    }
}

fn hundredths(confidence: f64) -> f64 {
    (confidence * 100.0).round() / 100.0
}

/// Proposes a value map, unless every value is an option as it is.
fn values(rule: &Rule, target: &FieldSchema, values: &[String]) -> Option<Values> {
    let (FieldKind::Choice { options, .. } | FieldKind::Choices { options, .. }) = &target.kind else { return None };
    let options: Vec<String> =
        options.iter().filter(|option| option.active).map(|option| option.value.clone()).collect();
    if options.is_empty() || values.is_empty() || values.iter().all(|value| options.contains(value)) {
        return None;
    }
    let (mut mapped, mut open) = (BTreeMap::new(), Vec::new());
    for proposal in propose_values(values, &options) {
        match proposal.option {
            Some(option) => drop(mapped.insert(proposal.value, option)),
            None => open.push(proposal.value),
        }
    }
    let name = target.name.as_str().trim_end_matches("__c").to_ascii_lowercase();
    Some(Values { map: format!("{}_{name}", rule.id), values: mapped, open })
}

/// Writes a field rule so that it can stand in the plan: a reference needs to know what it looks up.
fn line(plan: &Plan, field: &FieldSchema, target: &FieldSchema, values: Option<&Values>) -> Line {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let from = quoted(field.name.as_str());
    let whole = |value: String| Line { name: target.name.to_string(), value, lacks: None };
    if let FieldKind::Reference { to } = &target.kind {
        if let (Some(owners), FieldKind::Reference { to: objects }) = (&plan.owners, &field.kind)
            && objects.iter().any(|object| object.as_str() == owners.object)
        {
            return whole(format!("{{ from = {from}, owner = true }}"));
        }
        let lands = |rule: &&Rule| {
            to.contains(&rule.to)
                && matches!(&field.kind, FieldKind::Reference { to } if to.iter().any(|to| to.as_str() == rule.from))
        };
        return match plan.rules().iter().find(lands) {
            Some(rule) => whole(format!("{{ from = {from}, lookup = {}, missing = \"blank\" }}", quoted(&rule.from))),
            None => Line { lacks: Some("what it looks up"), ..whole(format!("{{ from = {from}, lookup = \"?\" }}")) },
        };
    }
    match values {
        Some(values) => whole(format!("{{ from = {from}, map = {} }}", quoted(&values.map))),
        None => whole(from),
    }
}

/// Looks at the records of an object.
fn look(session: &Session, object: &str, fields: &BTreeSet<String>) -> Result<Seen, Failure> {
    let ledger = session.recorder.ledger();
    let mut samples: BTreeMap<String, Sample> = fields.iter().map(|field| (field.clone(), Sample::default())).collect();
    let mut inventory = Inventory::default();
    if let Some(name) = ledger.find_name(NameKind::Object, object) {
        let positions = session.state.intake().positions(name);
        let step = positions.len().div_ceil(LOOKED_AT).max(1);
        for record in records_at(ledger, positions.into_iter().step_by(step).collect())? {
            let (_, record) = record?;
            for (field, sample) in &mut samples {
                take(&record, field, sample);
            }
            inventory.add(&record);
        }
    }
    let facts = inventory.fields().into_iter().filter(|facts| !facts.values.is_empty());
    let choices = facts.map(|facts| (facts.name, facts.values.into_iter().map(|(value, _)| value).collect())).collect();
    Ok(Seen { samples, choices })
}

fn take(record: &Record, field: &str, sample: &mut Sample) {
    match record.fields.value(field) {
        None => sample.add(None),
        Some(Value::Text(text)) => sample.add(Some(text)),
        Some(Value::List(items)) => {
            let mut items = items.iter().map(Value::to_string);
            sample.add(items.next().as_deref());
            for item in items {
                sample.add_more(&item);
            }
        }
        Some(value) => sample.add(Some(&value.to_string())),
    }
}

/// Writes proposals into the plan file, and what was written into the ledger.
pub async fn write(session: &Session, prepared: &Prepared, proposals: &[Proposed]) -> Result<Written, Failure> {
    let (text, written) = edit::put_in(&prepared.text, proposals).map_err(|e| {
        Failure::failed(format!("the proposals could not be put into the plan: {e}")).hint("put them in by hand")
    })?;
    if written.is_empty() {
        return Ok(written);
    }
    let plan = Plan::parse(&text).map_err(|e| {
        Failure::failed(format!("with the proposals the plan would contradict itself, so nothing was written: {e}"))
            .hint("put them in by hand, and tell us")
    })?;
    let path = session.project.plan_path();
    let beside = path.with_extension("toml.new");
    std::fs::write(&beside, &text).map_err(|e| Failure::io("write the plan", &beside, &e))?;
    std::fs::rename(&beside, &path).map_err(|e| Failure::io("write the plan", &path, &e))?;
    let event = Event::PlanProposed { plan: plan.digest() };
    session.recorder.append(vec![session.recorder.document(event, "proposal", text)]).await?;
    Ok(written)
}
