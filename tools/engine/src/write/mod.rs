//! Sends writes so that each happens once: intent first, then the wire, then the outcome, then a look at what is there.

mod clear;
mod create;
mod crew;
mod late;
mod pace;
mod remove;
mod restore;
mod retry;
mod settle;
mod update;

use std::{collections::BTreeMap, sync::Arc};

use tokio_util::sync::CancellationToken;
use waybill_connectors::{Batch, Destination, Journal, JournalClosed, RemoteRecord, Selection};
use waybill_ledger::{
    BatchId, Content, Digest, Event, Field, FieldName, Fields, Fingerprint, Mapped, NameId, ObjectName, ObjectSchema,
    Position, Record, RuleId, Schema, SubjectId, SubjectKey, Target, Value,
    event::{HoldDecision, NameKind, Operation, Transport},
    ledger::{Draft, Opened},
    names_of,
};
use waybill_projector::{landing::Landed, reconcile};

use crate::{
    failure::Failure,
    files::Files,
    flaws::{Flaws, Sound},
    progress::Progress,
    recorder::Recorder,
};

pub use clear::Obstacle;
pub use crew::Crew;
pub(crate) use crew::rows_of_job;
pub use remove::Removal;
pub use restore::Restore;

/// The pseudo-field of an after-image that holds the destination's version mark.
pub const VERSION: &str = "@version";

/// What every write needs.
pub struct Desk<D, M = Sound> {
    /// The destination.
    pub destination: Arc<D>,
    /// Its instance, the first part of destination subjects.
    pub instance: String,
    /// The id of the user we act as: what anyone else changed is not ours.
    pub user: String,
    /// The field that carries our key.
    pub key_field: FieldName,
    /// Objects whose rows cannot carry it.
    pub without_key: std::collections::BTreeSet<ObjectName>,
    /// The files of the export, where there is one.
    pub files: Option<Files>,
    /// The destination's schema.
    pub schema: Arc<Schema>,
    /// The most rows in one job.
    pub job_rows: usize,
    /// The most batches under way at once.
    pub at_once: usize,
    /// The objects that the plan writes: rows that point to the same row of one of these wait for each other.
    pub written: std::collections::BTreeSet<ObjectName>,
    /// Appends.
    pub recorder: Recorder,
    /// Listens.
    pub progress: Arc<dyn Progress>,
    /// Ends the work between two batches.
    pub stop: CancellationToken,
    /// The mistakes that a simulation wants.
    pub flaws: M,
}

impl<D, M> std::fmt::Debug for Desk<D, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl<D, M> Desk<D, M> {
    /// Returns the field that carries our key in rows of an object, if they can.
    pub fn key(&self, object: &ObjectName) -> Option<&FieldName> {
        (!self.without_key.contains(object)).then_some(&self.key_field)
    }
}

/// A record that the plan wants at the destination, and what is known of its target.
#[derive(Debug, Clone)]
pub struct Change {
    /// The target.
    pub target: Target,
    /// The readable source record.
    pub record: String,
    /// The event that led to it.
    pub cause: Option<Position>,
    /// What the plan wants.
    pub mapped: Mapped,
    /// The digest of its fields.
    pub digest: Fingerprint,
    /// Where rows of its own object will be that it points to and that have not landed yet, as far as that can be known.
    pub coming: Fields,
    /// What is known of the target.
    pub landed: Option<Landed>,
    /// The rule.
    pub rule: RuleId,
    /// The write that this one undoes.
    pub inverts: Option<Position>,
    /// What a person decided about it, if it waited.
    pub decided: Option<HoldDecision>,
}

/// What a batch came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows created, changed or deleted.
    pub done: u64,
    /// Rows that already were as they should be.
    pub unchanged: u64,
    /// Rows refused.
    pub rejected: u64,
    /// Rows that wait for a person.
    pub held: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.done += other.done;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        self.held += other.held;
    }
}

/// Writes rows of one object.
#[derive(Debug)]
pub struct Writer<D, M = Sound> {
    desk: Arc<Desk<D, M>>,
    object: ObjectName,
    name: NameId,
    schema: ObjectSchema,
}

impl<D: Destination, M: Flaws> Writer<D, M> {
    /// Returns a writer for an object that the destination has.
    pub fn new(desk: &Arc<Desk<D, M>>, object: &ObjectName) -> Result<Self, Failure> {
        let schema = desk.schema.object(object.as_str()).cloned().ok_or_else(|| {
            Failure::stopped(format!("the destination has no object {object}, or our user may not see it"))
                .hint("check the plan and the user's permissions; `waybill plan` lists what is missing")
        })?;
        let name = desk.recorder.name(NameKind::Object, object.as_str())?;
        Ok(Self { desk: Arc::clone(desk), object: object.clone(), name, schema })
    }

    /// Returns the field that carries our key, if rows of this object can.
    fn key(&self) -> Option<&FieldName> {
        self.desk.key(&self.object)
    }

    /// Returns the least that a read must ask for.
    fn least(&self) -> &[FieldName] {
        self.key().map_or(&[], std::slice::from_ref)
    }

    fn rec(&self) -> &Recorder {
        &self.desk.recorder
    }

    fn destination_subject(&self, id: &str) -> Result<SubjectId, Failure> {
        self.rec().subject(&SubjectKey::new(&self.desk.instance, self.object.as_str(), id))
    }

    /// Returns the fingerprint of a record's encoded fields, keyed by its subject.
    pub(crate) fn fingerprint(&self, subject: SubjectId, bytes: &[u8]) -> Result<Fingerprint, Failure> {
        Ok(self.rec().ledger().digest(subject, bytes)?)
    }

    fn destination_id(&self, id: &str) -> Content {
        Content::DestinationId { object: self.object.to_string(), id: id.to_owned() }
    }

    fn batch_formed(&self, number: BatchId, batch: &Batch) -> Draft {
        let rows = u32::try_from(batch.rows.len()).unwrap_or(u32::MAX);
        let mut hasher = blake3::Hasher::new();
        for row in &batch.rows {
            hasher.update(row.key.as_bytes());
        }
        self.rec()
            .draft(Event::BatchFormed {
                object: self.name,
                operation: batch.operation,
                transport: self.desk.destination.transport(&self.object, batch.operation, batch.rows.len()),
                rows,
                digest: Digest(*hasher.finalize().as_bytes()),
            })
            .batch(number)
    }

    fn size(&self, operation: Operation, rows: usize) -> usize {
        match self.desk.destination.transport(&self.object, operation, rows) {
            Transport::Job => self.desk.job_rows,
            Transport::Request => self.desk.destination.abilities().request_rows,
        }
        .max(1)
    }

    /// Reads rows by id, as a map.
    async fn read_ids(
        &self,
        fields: &[FieldName],
        ids: Vec<String>,
    ) -> Result<BTreeMap<String, RemoteRecord>, Failure> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let rows = self.desk.destination.read(&self.object, fields, &Selection::Ids(ids)).await?;
        Ok(rows.into_iter().map(|row| (row.record.id.clone(), row)).collect())
    }

    /// Returns whether two values of a field are the same to the destination.
    fn same(&self, name: &FieldName, one: &Field, other: &Field) -> bool {
        reconcile::same(self.schema.field(name.as_str()).map(|field| &field.kind), one, other)
    }

    /// Looks at rows that we just wrote, and keeps what the destination made of them.
    async fn look(&self, written: &[Written<'_>]) -> Result<(), Failure> {
        let unseen = || written.iter().filter(|row| row.shown.is_none());
        let fields: Vec<FieldName> = names_of(unseen().map(|row| row.fields.names())).into_iter().cloned().collect();
        let found = self.read_ids(&fields, unseen().map(|row| row.id.clone()).collect()).await?;
        let mut drafts = Vec::with_capacity(written.len());
        for row in written {
            let Some(now) = row.shown.as_deref().or_else(|| found.get(&row.id)) else { continue };
            // What the platform made of fields that this write left alone, it made then.
            let mut image = row.kept.clone();
            // What someone else has touched since we wrote cannot be told from what the platform did: it is drift, if anything.
            let alone = now.modified_by.as_deref().is_none_or(|by| by == self.desk.user);
            let mut beside = now.record.fields.beside();
            for (name, value) in row.fields.iter() {
                if !image.is_empty() {
                    image.set(name.clone(), Field::Absent);
                }
                let is = beside.of(name);
                if value.is_some() && value == is.flatten() {
                    continue;
                }
                let meant = value.map_or(Field::Null, |value| Field::Present(value.clone()));
                let is = is.map_or(Field::Absent, |value| value.map_or(Field::Null, |value| value.clone().into()));
                if alone && !self.same(name, &meant, &is) {
                    let is = if is == Field::Absent { Field::Null } else { is };
                    drafts.push(
                        self.rec()
                            .draft(Event::SideEffectSeen {
                                destination: row.destination,
                                object: self.name,
                                field: Some(self.rec().name(NameKind::Field, name.as_str())?),
                            })
                            .subject(row.target.subject)
                            .target(row.target.part)
                            .cause(row.confirmed)
                            .content(Content::Difference {
                                record: row.record.to_owned(),
                                field: Some(name.clone()),
                                expected: meant.value().cloned(),
                                found: is.value().cloned(),
                            }),
                    );
                    image.set(name.clone(), is);
                }
            }
            if let Some(version) = &now.version {
                image.set(VERSION, Value::Text(version.clone()));
            }
            drafts.push(
                self.rec()
                    .draft(Event::AfterImageTaken { destination: row.destination })
                    .subject(row.target.subject)
                    .target(row.target.part)
                    .cause(row.confirmed)
                    .content(Content::Record {
                        object: self.object.to_string(),
                        record: Record { id: row.id.clone(), fields: image },
                    }),
            );
        }
        self.rec().append(drafts).await?;
        Ok(())
    }

    /// Reads the mapping at a position.
    pub(crate) fn mapping_at(&self, at: Position) -> Result<Option<Mapped>, Failure> {
        Ok(match self.rec().ledger().reader().at(at)? {
            Some((_, Opened::Content(Content::Mapped(mapped)))) => Some(mapped),
            _ => None,
        })
    }

    /// Reads the after-image at a position.
    fn image_at(&self, at: Option<Position>) -> Result<Fields, Failure> {
        let Some(at) = at else { return Ok(Fields::new()) };
        Ok(match self.rec().ledger().reader().at(at)? {
            Some((_, Opened::Content(Content::Record { record, .. }))) => record.fields,
            _ => Fields::new(),
        })
    }
}

/// A row that a confirmed write left.
#[derive(Debug)]
struct Written<'c> {
    target: Target,
    record: &'c str,
    id: String,
    destination: SubjectId,
    confirmed: Position,
    /// The fields that were written.
    fields: &'c Fields,
    /// What the destination was known to hold differently in other fields.
    kept: Fields,
    /// The row as the answer to the write showed it, if it did.
    shown: Option<Box<RemoteRecord>>,
}

/// Writes down the remote job of one batch before the job gets any rows.
#[derive(Debug)]
struct BatchJournal<'a> {
    recorder: &'a Recorder,
    batch: BatchId,
    files: Option<&'a Files>,
}

impl Journal for BatchJournal<'_> {
    async fn job_opened(&self, job: &str) -> Result<(), JournalClosed> {
        let draft =
            self.recorder.draft(Event::RemoteJobOpened).batch(self.batch).content(Content::Text(job.to_owned()));
        self.recorder.append(vec![draft]).await.map(|_| ()).map_err(|_| JournalClosed)
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        let files = self.files.ok_or_else(|| "the export is not at hand".to_owned())?;
        files.read(path)
    }
}
