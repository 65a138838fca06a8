//! Takes stock of the source: what is there, how much of it, what its fields hold, and what cannot be read.
//!
//! What a server shows is read into the ledger, so that nobody asks it twice. An export lies on the disk and stays there: of it,
//! only what describes the source and what no rule of the plan reads is read into the ledger here, because nothing else ever
//! would; the rest is gone through, several objects side by side, and read into the ledger when the plan is held against it.

mod taking;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;
use waybill_connectors::bundle::BundleObject;
use waybill_ledger::{
    Digest, Event, Record, Schema,
    event::{RunKind, RunOutcome, Side},
};
use waybill_projector::inventory::{FieldFacts, Inventory};

use self::taking::{Looking, Taking};
use crate::{
    extract::Reach,
    failure::Failure,
    flaws::Flaws,
    prepare::{last_schema, whole},
    progress::{Progress, Silent},
    samples,
    session::Session,
    untouched::Marks,
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
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Found {
    /// Its name.
    pub object: String,
    /// Rows read.
    pub read: u64,
    /// Records among them, each once.
    pub records: u64,
    /// Records that the source says are gone.
    pub gone: u64,
    /// Rows that could not be read.
    pub unreadable: u64,
    /// Rows under an id that another row has already used.
    pub repeated: u64,
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
        let read = self.read - self.gone;
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
        (!short.is_empty()).then(|| format!("{}: {}", self.object, short.join("; ")))
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

/// Goes through the whole source and returns what there is.
pub async fn discover<M: Flaws>(session: &mut Session<M>) -> Result<Discovery, Failure> {
    let source = session.source_unchecked().await?;
    let known = last_schema(session, Side::Source)?;
    source.must_be_known(&session.recorder)?;
    let bundle = source.shared();
    let progress = Arc::clone(&session.progress);
    let marks = Marks::take(&bundle, session.recorder.ledger());
    // Nothing is taken for what the source holds before its file was held against its digest.
    let mut left = if source.is_export() { planned(session, &bundle.schema()?) } else { BTreeSet::new() };
    left.retain(|name| bundle.object(name).is_ok_and(|object| !object.reference));
    let later: BTreeSet<String> =
        left.iter().filter_map(|name| bundle.object(name).ok()).flat_map(|object| object.files.clone()).collect();
    let first = bundle.pledged().map(|(file, _)| file.to_owned()).filter(|file| !later.contains(file)).collect();
    Looking::begin(&bundle, BTreeSet::new(), first, &progress).end().await?;
    let (recorder, _) = session.begin(RunKind::Discover, None).await?;
    let schema = source.see_schema(&recorder, &known).await?;
    // What the plan reads is gone through while the rest is read into the ledger.
    let mut under_way = vec![Looking::begin(&bundle, left.clone(), later, &progress)];
    let mut taking = Taking::default();
    let mut objects: Vec<Found> = Vec::new();
    // What describes the source comes first: by it we know what else the plan will read.
    let describes = |object: &&BundleObject| object.reference || !source.is_export();
    let mut now: BTreeSet<String> =
        bundle.objects().iter().filter(describes).map(|object| object.name.clone()).collect();
    let mut read = left;
    while !now.is_empty() {
        let shapes = schema.objects.iter().filter(|object| now.contains(object.name.as_str())).cloned();
        samples::teach_source(recorder.ledger(), &bundle, &Schema { objects: shapes.collect() }).await?;
        let mut watch = |object: &str, record: &Record| taking.see(&bundle, object, record);
        let shown: &dyn Progress = if read.is_empty() { &*progress } else { &Silent };
        let names: Vec<String> = now.iter().cloned().collect();
        let taken = source.extract(&recorder, &mut session.state, &names, Reach::Everything, shown, &mut watch).await?;
        for intake in taken {
            let facts = taking.facts.remove(&intake.object).map(Inventory::fields).unwrap_or_default();
            objects.push(Found {
                records: intake.extracted + intake.unchanged,
                object: intake.object,
                read: intake.read,
                gone: intake.gone,
                unreadable: intake.unreadable,
                repeated: intake.repeated,
                facts,
                ..Found::default()
            });
        }
        read.append(&mut now);
        let rest = bundle.objects().iter().map(|object| object.name.clone()).filter(|name| !read.contains(name));
        let planned = planned(session, &schema);
        let (known_now, unplanned): (BTreeSet<String>, BTreeSet<String>) =
            rest.partition(|name| planned.contains(name));
        read.extend(known_now.iter().cloned());
        under_way.push(Looking::begin(&bundle, known_now, BTreeSet::new(), &progress));
        now = unplanned;
    }
    for looking in under_way {
        objects.extend(looking.end().await?.into_iter().map(|looked| taking.take(looked)));
    }
    let place = |name: &str| bundle.objects().iter().position(|object| object.name == name);
    objects.sort_by_key(|found| place(&found.object));
    for found in &mut objects {
        let Ok(object) = bundle.object(&found.object) else { continue };
        found.promised = object.rows;
        found.in_source = object.source_total;
        found.capped = object.capped;
        found.visible_columns_only = object.visible_columns_only;
        found.fields = schema.object(&found.object).map_or(0, |object| object.fields.len());
    }
    let pipelines = taking.pipelines();
    let owners = taking.owners();
    let identity = bundle.identity();
    let tags = |found: &Found| -> Vec<TagsFound> {
        let lists = found.facts.iter().filter(|facts| facts.looks == "list" && facts.name.starts_with("tags"));
        lists
            .map(|facts| TagsFound {
                object: found.object.clone(),
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
        unread: bundle.unread().to_vec(),
        notes: bundle.notes().to_vec(),
    };
    // Written down without anyone's address: who an owner is, the owner's own record says.
    let mut written = discovery.clone();
    written.owners.iter_mut().for_each(|owner| owner.email = None);
    let text = serde_json::to_string(&written).map_err(|e| Failure::failed(e.to_string()))?;
    let digest = Digest::of(text.as_bytes());
    recorder.append(vec![recorder.document(Event::ReportWritten { digest }, "inventory", text)]).await?;
    session.end(&recorder, RunOutcome::Done).await?;
    marks.keep(recorder.ledger());
    Ok(discovery)
}

/// Returns the objects that the plan reads, as far as that is known by now. Without a plan that can be read there are none.
fn planned<M: Flaws>(session: &Session<M>, schema: &Schema) -> BTreeSet<String> {
    let plan = session.project.plan().ok().and_then(|(plan, _)| whole(plan, schema, session).ok());
    plan.map(|plan| plan.source_objects().into_iter().collect()).unwrap_or_default()
}
