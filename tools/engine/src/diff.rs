//! Field by field: what the source held, what the rule made of it, what we meant, and what the destination holds now.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value as Json;
use waybill_connectors::{Destination, RemoteRecord, Selection};
use waybill_ledger::{
    Content, Event, Field, FieldName, Mapped, ObjectName, Record, RunId, Target,
    event::{NameKind, RunKind},
    ledger::{Opened, Query},
};
use waybill_projector::{landing::Landed, mapping::Plan, reconcile::compare};

use crate::{audit::value, failure::Failure, reconcile::reach, session::Session, write::VERSION};

/// Rows read at once.
const ROWS: usize = 500;

/// How a field came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// As the source holds it.
    Same,
    /// As the rule made it.
    Expected,
    /// As the platform left it after our write.
    SideEffect,
    /// Changed by someone else since.
    Changed,
    /// Neither as we meant it nor as the platform left it.
    Error,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldDiff {
    /// The destination field.
    pub field: String,
    /// The source fields that the rule uses, as they were read.
    pub source: serde_json::Map<String, Json>,
    /// What the plan says.
    pub rule: Option<Json>,
    /// What was decided beyond copying.
    pub decisions: Vec<String>,
    /// What we meant to write.
    pub intended: Json,
    /// What the destination holds now.
    pub now: Json,
    /// How it came out.
    pub class: Class,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordDiff {
    /// The destination object.
    pub object: String,
    /// The id of its record.
    pub id: String,
    /// The source record.
    pub source: String,
    /// The rule.
    pub rule: String,
    /// Whether the record is there.
    pub there: bool,
    /// The fields.
    pub fields: Vec<FieldDiff>,
}

/// How the fields of one object came out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The destination object.
    pub object: String,
    /// Records looked at.
    pub records: u64,
    /// Records that are not there any more.
    pub missing: u64,
    /// Fields by class.
    pub fields: BTreeMap<Class, u64>,
}

/// The whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// The run whose records were compared.
    pub run: u32,
    /// The destination.
    pub destination: String,
    /// Who approved the plan.
    pub approved_by: Option<String>,
    /// Sums by object, in the order of loading.
    pub objects: Vec<Summary>,
    /// The records.
    pub records: Vec<RecordDiff>,
    /// Records of the source that wait for a person.
    pub held: u64,
}

impl Diff {
    /// Returns whether every field is as it should be.
    pub fn is_clean(&self) -> bool {
        let wrong = |summary: &Summary| {
            summary.missing > 0 || [Class::Changed, Class::Error].iter().any(|class| summary.fields.contains_key(class))
        };
        !self.objects.iter().any(wrong)
    }
}

/// Compares what a run wrote, the latest sample unless one is named.
pub async fn diff(session: &mut Session, run: Option<u32>) -> Result<Diff, Failure> {
    let (plan, reached, schema) = reach(session).await?;
    let run = match run {
        Some(run) => RunId(run),
        None => session
            .state
            .runs()
            .iter()
            .rev()
            .find(|run| matches!(run.kind, RunKind::Sample))
            .map(|run| run.id)
            .ok_or_else(|| {
                Failure::usage("there is no sample to look at")
                    .hint("land one with `waybill sample`, or name another run with --run")
            })?,
    };
    let instance = reached.name();
    let order: Vec<ObjectName> =
        plan.phases().map_err(|e| Failure::stopped(e.to_string()))?.into_iter().map(|phase| phase.object).collect();
    let mut records = Vec::new();
    let mut objects = Vec::new();
    for object in &order {
        let landed = written(session, run, object)?;
        if landed.is_empty() {
            continue;
        }
        let mut summary = Summary { object: object.to_string(), ..Summary::default() };
        for chunk in landed.chunks(ROWS) {
            let found = compare_chunk(session, &plan, &*reached.destination, &schema, object, chunk).await?;
            for record in found {
                summary.records += 1;
                summary.missing += u64::from(!record.there);
                for field in &record.fields {
                    *summary.fields.entry(field.class).or_default() += 1;
                }
                records.push(record);
            }
        }
        objects.push(summary);
    }
    Ok(Diff {
        run: run.0,
        destination: instance,
        approved_by: session.state.approval().map(|approval| approval.by.clone()),
        objects,
        records,
        held: session.state.intake().held().count() as u64,
    })
}

/// Returns the targets that a run wrote and that are still ours.
fn written(session: &Session, run: RunId, object: &ObjectName) -> Result<Vec<Landed>, Failure> {
    let ledger = session.recorder.ledger();
    let Some(name) = ledger.find_name(NameKind::Object, object.as_str()) else { return Ok(Vec::new()) };
    let query = Query { run: Some(run), ..Query::of(&["WriteConfirmed"]) };
    let (mut seen, mut landed) = (BTreeSet::new(), Vec::new());
    for event in ledger.reader().find(query, .., |_| false) {
        let (envelope, _) = event?;
        let (Some(subject), Some(part), Event::WriteConfirmed { .. }) =
            (envelope.subject, envelope.target, &envelope.event)
        else {
            continue;
        };
        let target = Target { subject, part };
        if let Some(found) = session.state.landing().get(target).filter(|found| found.object == name && found.is_live())
            && seen.insert(target)
        {
            landed.push(found);
        }
    }
    Ok(landed)
}

/// A target, the id of its record, what we meant to write, and the source record behind it.
type Meant = (Landed, String, Mapped, Option<(String, Record)>);

async fn compare_chunk<D: Destination>(
    session: &Session,
    plan: &Plan,
    destination: &D,
    schema: &waybill_ledger::Schema,
    object: &ObjectName,
    chunk: &[Landed],
) -> Result<Vec<RecordDiff>, Failure> {
    let ledger = session.recorder.ledger();
    let mut mapped: Vec<Meant> = Vec::new();
    let mut wanted: BTreeSet<FieldName> = BTreeSet::new();
    for landed in chunk {
        let id = landed.destination.and_then(|destination| session.state.destination_id(destination));
        let Some((at, id)) = landed.mapped.zip(id) else { continue };
        let Some((envelope, Opened::Content(Content::Mapped(content)))) = ledger.reader().at(at)? else { continue };
        wanted.extend(content.fields.iter().map(|(name, _)| name.clone()));
        let mut source = None;
        for cause in &envelope.causes {
            if let Some((envelope, Opened::Content(Content::Record { object, record }))) = ledger.reader().at(*cause)?
                && matches!(envelope.event, Event::RecordExtracted { .. })
            {
                source = Some((object, record));
            }
        }
        mapped.push((*landed, id, content, source));
    }
    let wanted: Vec<FieldName> = wanted.into_iter().collect();
    let ids = mapped.iter().map(|(_, id, ..)| id.clone()).collect();
    let rows = destination.read(object, &wanted, &Selection::Ids(ids)).await?;
    let rows: BTreeMap<String, RemoteRecord> = rows.into_iter().map(|row| (row.record.id.clone(), row)).collect();
    let user = destination.identify().await?.user;
    let known = schema.object(object.as_str());
    let mut found = Vec::with_capacity(mapped.len());
    for (landed, id, content, source) in mapped {
        let rule = ledger.name_text(landed.target.part.rule).unwrap_or_default();
        let now = rows.get(&id);
        let after = after(session, &landed)?;
        let kind = |field: &str| known.and_then(|known| known.field(field)).map(|field| field.kind.clone());
        let wrong: BTreeSet<FieldName> = now
            .map(|now| compare(&content.fields, &now.record.fields, kind))
            .unwrap_or_default()
            .into_iter()
            .map(|mismatch| mismatch.field)
            .collect();
        let others = now.and_then(|now| now.modified_by.as_ref()).is_some_and(|by| *by != user);
        let fields = content.fields.iter().map(|(name, value)| {
            let intended = value.map_or(Field::Null, |value| Field::Present(value.clone()));
            let is = now.map_or(Field::Absent, |now| now.record.fields.get(name.as_str()));
            let (from, says) = said(plan, &rule, name);
            let used: serde_json::Map<String, Json> = from
                .iter()
                .filter_map(|from| Some((from.clone(), shown(&source.as_ref()?.1.fields.get(from)))))
                .collect();
            let left = after.as_ref().map(|after| after.get(name.as_str())).unwrap_or_default();
            let class = if !wrong.contains(name) {
                let copied = used.len() == 1 && used.values().all(|value| *value == shown(&intended));
                if copied { Class::Same } else { Class::Expected }
            } else if left != Field::Absent && (left == is || left.is_blank() && is.is_blank()) {
                Class::SideEffect
            } else if others {
                Class::Changed
            } else {
                Class::Error
            };
            let about = content.decisions.iter().filter(|decision| decision.field == *name);
            FieldDiff {
                field: name.to_string(),
                source: used,
                rule: says,
                decisions: about.map(|decision| decision.what.clone()).collect(),
                intended: shown(&intended),
                now: shown(&is),
                class,
            }
        });
        let fields = fields.collect();
        let source = source.map_or_else(|| rule.clone(), |(object, record)| format!("{object}/{}", record.id));
        found.push(RecordDiff { object: object.to_string(), id, source, rule, there: now.is_some(), fields });
    }
    Ok(found)
}

/// Returns the source fields of a rule's field, and what the plan says of it.
fn said(plan: &Plan, rule: &str, name: &FieldName) -> (Vec<String>, Option<Json>) {
    let field = plan
        .rule(&rule.into())
        .and_then(|rule| rule.fields.iter().find(|(own, field)| *own == name || field.instead.as_ref() == Some(name)));
    match field {
        None => (Vec::new(), None),
        Some((_, field)) => (field.from.clone(), serde_json::to_value(field).ok()),
    }
}

fn after(session: &Session, landed: &Landed) -> Result<Option<waybill_ledger::Fields>, Failure> {
    let Some(at) = landed.after else { return Ok(None) };
    Ok(match session.recorder.ledger().reader().at(at)? {
        Some((_, Opened::Content(Content::Record { mut record, .. }))) => {
            record.fields.set(VERSION, Field::Absent);
            Some(record.fields)
        }
        _ => None,
    })
}

/// Returns a field as JSON. A content is shown by its size and digest.
fn shown(field: &Field) -> Json {
    match field {
        Field::Absent | Field::Null => Json::Null,
        Field::Present(waybill_ledger::Value::Map(parts)) if parts.contains_key("md5") => {
            let part = |name: &str| parts.get(name).map(ToString::to_string).unwrap_or_default();
            Json::String(format!("{} bytes, MD5 {}", part("size"), part("md5")))
        }
        Field::Present(found) => value(found),
    }
}
