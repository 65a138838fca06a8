//! Takes stock of the source: what is there, how much of it, what its fields hold, and what cannot be read.

use std::collections::BTreeMap;

use serde::Serialize;
use waybill_connectors::bundle::Bundle;
use waybill_ledger::{
    Digest, Event, Record, Value,
    event::{RunKind, RunOutcome, Side},
};
use waybill_projector::inventory::{FieldFacts, Inventory};

use crate::{
    extract::{Intaken, Reach},
    failure::Failure,
    prepare::last_schema,
    samples,
    session::Session,
};

/// How many records of an object that describes the source are kept to tell of them.
const DESCRIBING: usize = 5_000;
/// A file over this many bytes is not carried unless the plan says otherwise (the limit of a plan's default).
const LARGE: u64 = 25 << 20;

/// What the source holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Discovery {
    /// Which export shape was recognised.
    pub recognised: String,
    /// By what.
    pub evidence: String,
    /// When it was exported, if it says so.
    pub exported_at: Option<String>,
    /// The objects, in the order of the export.
    pub objects: Vec<Found>,
    /// The pipelines and their stages, in their order.
    pub pipelines: Vec<PipelineFound>,
    /// The people who own records.
    pub owners: Vec<OwnerFound>,
    /// The fields that hold tags, and the tags that records share.
    pub tags: Vec<TagsFound>,
    /// The files.
    pub attachments: AttachmentsFound,
    /// Files of the export that no object of the profile claims.
    pub unread: Vec<String>,
    /// What a person should know about the export.
    pub notes: Vec<String>,
}

/// One object of the source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// What was read of it.
    #[serde(flatten)]
    pub intake: Intaken,
    /// How many rows the export says it has.
    pub promised: Option<u64>,
    /// How many rows the source had when it exported, if the export says so.
    pub in_source: Option<u64>,
    /// Whether the export says that it was cut off.
    pub capped: bool,
    /// Whether the export says that it holds only the columns that were visible.
    pub visible_columns_only: bool,
    /// How many fields it has.
    pub fields: usize,
    /// What they hold.
    pub facts: Vec<FieldFacts>,
}

impl Found {
    /// Returns in words what the export holds less of than the source has, if anything.
    pub fn shortfall(&self) -> Option<String> {
        let read = self.intake.read - self.intake.gone;
        let mut short = Vec::new();
        if let Some(promised) = self.promised.filter(|promised| *promised != read) {
            short.push(format!("{read} rows are there, the export promises {promised}"));
        }
        if let Some(had) = self.in_source.filter(|had| *had != read) {
            short.push(format!("{read} rows are there, the source had {had}"));
        }
        if self.capped {
            short.push("the export says that it was cut off".to_owned());
        }
        if self.visible_columns_only {
            short.push("the export holds only the columns that were visible".to_owned());
        }
        (!short.is_empty()).then(|| format!("{}: {}", self.intake.object, short.join("; ")))
    }
}

/// One pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PipelineFound {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its stages, in their order.
    pub stages: Vec<String>,
}

/// One owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnerFound {
    /// The id by which records name the owner.
    pub id: String,
    /// The e-mail, if the source has a record of the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the source says that the owner is active.
    pub active: Option<bool>,
    /// Whether the source has a record of the owner.
    pub known: bool,
    /// Records owned, by object.
    pub records: BTreeMap<String, u64>,
}

/// A field of tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagsFound {
    /// The object.
    pub object: String,
    /// The field.
    pub field: String,
    /// How many different tags there are.
    pub distinct: u64,
    /// Tags that records share, the most frequent first.
    pub tags: Vec<(String, u64)>,
}

/// The files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AttachmentsFound {
    /// How many there are.
    pub files: u64,
    /// Their bytes, as the export says.
    pub bytes: u64,
    /// How many of them are over 25 MB.
    pub large: u64,
    /// How many of them name a file that is not in the export.
    pub missing: u64,
}

/// What is gathered while records pass.
#[derive(Debug, Default)]
struct Taking {
    inventories: BTreeMap<String, Inventory>,
    describing: BTreeMap<String, Vec<Record>>,
    owned: BTreeMap<String, BTreeMap<String, u64>>,
    attachments: AttachmentsFound,
}

impl Taking {
    fn see(&mut self, bundle: &Bundle, object: &str, record: &Record) {
        match self.inventories.get_mut(object) {
            Some(inventory) => inventory.add(record),
            None => self.inventories.entry(object.to_owned()).or_default().add(record),
        }
        let text = |name: &str| record.fields.text(name);
        if let Some(owner) = text("owner_id") {
            let owned = match self.owned.get_mut(owner) {
                Some(owned) => owned,
                None => self.owned.entry(owner.to_owned()).or_default(),
            };
            match owned.get_mut(object) {
                Some(count) => *count += 1,
                None => drop(owned.insert(object.to_owned(), 1)),
            }
        }
        if matches!(object, "users" | "pipelines" | "stages") {
            let records = self.describing.entry(object.to_owned()).or_default();
            if records.len() < DESCRIBING {
                records.push(record.clone());
            }
        }
        if object == "files" {
            self.attachments.files += 1;
            let bytes = number(record, "size_bytes").unwrap_or(0);
            self.attachments.bytes += bytes;
            self.attachments.large += u64::from(bytes > LARGE);
            let gone = text("path").is_some_and(|path| bundle.binary(path).is_err());
            self.attachments.missing += u64::from(gone);
        }
    }

    fn records(&self, object: &str) -> &[Record] {
        self.describing.get(object).map_or(&[], Vec::as_slice)
    }

    fn pipelines(&self) -> Vec<PipelineFound> {
        let name = |record: &Record| record.fields.text("name").unwrap_or(&record.id).to_owned();
        let mut pipelines: Vec<&Record> = self.records("pipelines").iter().collect();
        pipelines.sort_by_key(|record| number(record, "position"));
        let of = |pipeline: &Record| {
            let own = |stage: &&Record| stage.fields.text("pipeline_id") == Some(pipeline.id.as_str());
            let mut stages: Vec<&Record> = self.records("stages").iter().filter(own).collect();
            stages.sort_by_key(|stage| number(stage, "position"));
            let stages = stages.into_iter().map(name).collect();
            PipelineFound { id: pipeline.id.clone(), name: name(pipeline), stages }
        };
        pipelines.into_iter().map(of).collect()
    }

    fn owners(&mut self) -> Vec<OwnerFound> {
        let mut owners: Vec<OwnerFound> = std::mem::take(&mut self.owned)
            .into_iter()
            .map(|(id, records)| {
                let user = self.records("users").iter().find(|user| user.id == id);
                OwnerFound {
                    email: user.and_then(|user| user.fields.text("email")).map(str::to_owned),
                    active: user.and_then(|user| match user.fields.value("is_active") {
                        Some(Value::Bool(active)) => Some(*active),
                        _ => None,
                    }),
                    known: user.is_some(),
                    id,
                    records,
                }
            })
            .collect();
        owners.sort_by_key(|owner| (std::cmp::Reverse(owner.records.values().sum::<u64>()), owner.id.clone()));
        owners
    }
}

fn number(record: &Record, field: &str) -> Option<u64> {
    match record.fields.value(field) {
        Some(Value::Number(number)) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// Reads the whole export into the ledger and returns what there is.
pub async fn discover(session: &mut Session) -> Result<Discovery, Failure> {
    let source = session.source().await?;
    let known = last_schema(session, Side::Source)?;
    source.must_be_known(&session.recorder)?;
    let (recorder, _) = session.begin(RunKind::Discover, None).await?;
    let schema = source.see_schema(&recorder, &known).await?;
    samples::teach_source(recorder.ledger(), &schema).await?;
    let names: Vec<String> = source.bundle().objects().iter().map(|object| object.name.clone()).collect();
    let progress = std::sync::Arc::clone(&session.progress);
    let mut taking = Taking::default();
    let mut watch = |object: &str, record: &Record| taking.see(source.bundle(), object, record);
    let taken =
        source.extract(&recorder, &mut session.state, &names, Reach::Everything, &*progress, &mut watch).await?;
    let pipelines = taking.pipelines();
    let owners = taking.owners();
    let identity = source.bundle().identity();
    let found = |intake: Intaken| {
        let object = source.bundle().object(&intake.object).ok();
        Found {
            promised: object.and_then(|object| object.rows),
            in_source: object.and_then(|object| object.source_total),
            capped: object.is_some_and(|object| object.capped),
            visible_columns_only: object.is_some_and(|object| object.visible_columns_only),
            fields: schema.object(&intake.object).map_or(0, |object| object.fields.len()),
            facts: taking.inventories.remove(&intake.object).map(Inventory::fields).unwrap_or_default(),
            intake,
        }
    };
    let objects: Vec<Found> = taken.into_iter().map(found).collect();
    let tags = |object: &Found| -> Vec<TagsFound> {
        let lists = object.facts.iter().filter(|facts| facts.looks == "list" && facts.name.starts_with("tags"));
        lists
            .map(|facts| TagsFound {
                object: object.intake.object.clone(),
                field: facts.name.clone(),
                distinct: facts.distinct,
                tags: facts.values.clone(),
            })
            .collect()
    };
    let discovery = Discovery {
        recognised: identity.product.clone(),
        evidence: identity.evidence.clone(),
        exported_at: identity.exported_at.map(|at| at.to_rfc3339()),
        tags: objects.iter().flat_map(tags).collect(),
        objects,
        pipelines,
        owners,
        attachments: taking.attachments,
        unread: source.bundle().unread().to_vec(),
        notes: source.bundle().notes().to_vec(),
    };
    // Written down without anyone's address: who an owner is, the owner's own record says.
    let mut written = discovery.clone();
    written.owners.iter_mut().for_each(|owner| owner.email = None);
    let text = serde_json::to_string(&written).map_err(|e| Failure::failed(e.to_string()))?;
    let digest = Digest::of(text.as_bytes());
    recorder.append(vec![recorder.document(Event::ReportWritten { digest }, "inventory", text)]).await?;
    session.end(&recorder, RunOutcome::Done).await?;
    Ok(discovery)
}
