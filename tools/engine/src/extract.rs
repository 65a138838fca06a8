//! Reads the source into the ledger. What did not change since it was last read costs no event.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;
use waybill_connectors::bundle::{Bundle, BundleError, DeletedHow, Extent, Item, Profile};
use waybill_ledger::{
    Content, Digest, Event, Micros, Record, SubjectId, SubjectKey,
    event::{GoneHow, NameKind, Side},
    ledger::Draft,
};

use crate::{
    aside::{Chunks, aside},
    failure::Failure,
    progress::Progress,
    recorder::{Posted, Recorder},
    state::State,
};

/// How many rows travel together from the reader to the ledger.
const ROWS_AT_ONCE: usize = 512;

/// The source of a project, recognised and open.
#[derive(Debug)]
pub struct Source {
    bundle: Bundle,
    profile: Profile,
    system: String,
}

/// What was read of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Intaken {
    /// The source object.
    pub object: String,
    /// Rows read.
    pub read: u64,
    /// Records among them that are new or changed.
    pub extracted: u64,
    /// Records among them that had not changed.
    pub unchanged: u64,
    /// Records that the source says are gone.
    pub gone: u64,
    /// Rows that could not be read.
    pub unreadable: u64,
    /// Rows under an id that another row of this reading has already used.
    pub repeated: u64,
}

impl Source {
    /// Opens the export and recognises its shape.
    pub async fn open(path: PathBuf, profile: Profile, system: &str) -> Result<Self, Failure> {
        let shape = profile.clone();
        let bundle = aside(move || Bundle::open(&path, &shape))
            .await
            .map_err(|e| Failure::failed(format!("the reader stopped: {e}")))??;
        Ok(Self { bundle, profile, system: system.to_owned() })
    }

    /// Returns the export.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Returns whether an export of this shape may have an object or, of an object, a field.
    pub fn may_have(&self, object: &str, field: Option<&str>) -> bool {
        self.profile.may_have(object, field)
    }

    /// Returns the system with its account, the first part of every source subject.
    pub fn instance(&self) -> String {
        match &self.bundle.identity().account.id {
            Some(account) => format!("{}:{account}", self.system),
            None => self.system.clone(),
        }
    }

    /// Names a record of this source.
    pub fn key(&self, object: &str, id: &str) -> SubjectKey {
        SubjectKey::new(self.instance(), object, id)
    }

    /// Stops if this export is of another account than the one that the project has read: the same ids would be other
    /// records.
    pub fn must_be_known(&self, recorder: &Recorder) -> Result<(), Failure> {
        let own = self.instance();
        let known: Vec<String> = recorder
            .ledger()
            .names_of(NameKind::System)
            .into_iter()
            .filter(|name| *name == self.system || name.starts_with(&format!("{}:", self.system)))
            .collect();
        if known.is_empty() || known.contains(&own) {
            return Ok(());
        }
        Err(Failure::stopped(format!("this export is of {own}, but the project has read {}", known.join(", "))).hint(
            "check the export (its manifest names the account), or make a project of its own for the other account",
        ))
    }

    /// Writes down how the source describes itself. What a delta does not speak of stays as it was known before.
    pub async fn see_schema(
        &self,
        recorder: &Recorder,
        known: &waybill_ledger::Schema,
    ) -> Result<waybill_ledger::Schema, Failure> {
        let mut schema = self.bundle.schema()?;
        for object in &known.objects {
            if schema.object(object.name.as_str()).is_none() {
                schema.objects.push(object.clone());
            }
        }
        schema.objects.sort_by(|a, b| a.name.cmp(&b.name));
        let system = recorder.name(NameKind::System, &self.instance())?;
        let digest = crate::schema::digest(&schema);
        recorder
            .append(vec![
                recorder
                    .draft(Event::SchemaSeen { side: Side::Source, system, digest })
                    .content(Content::Schema(schema.clone())),
            ])
            .await?;
        Ok(schema)
    }

    /// Reads these objects to their end, and shows every record to `watch`, also those that have not changed.
    pub async fn extract(
        &self,
        recorder: &Recorder,
        state: &mut State,
        objects: &[String],
        progress: &dyn Progress,
        watch: &mut (dyn FnMut(&str, &Record) + Send),
    ) -> Result<Vec<Intaken>, Failure> {
        let mut taken = Vec::new();
        for object in self.bundle.objects() {
            if objects.contains(&object.name) {
                progress.begin(&format!("reading {}", object.name), object.rows.unwrap_or(0));
                taken.push(self.extract_object(recorder, state, &object.name, progress, watch).await?);
                progress.end();
            }
        }
        Ok(taken)
    }

    async fn extract_object(
        &self,
        recorder: &Recorder,
        state: &mut State,
        object: &str,
        progress: &dyn Progress,
        watch: &mut (dyn FnMut(&str, &Record) + Send),
    ) -> Result<Intaken, Failure> {
        let name = recorder.name(NameKind::Object, object)?;
        let mut items = Chunks::of(self.bundle.read(object)?, ROWS_AT_ONCE);
        let stopped = |e| Failure::failed(format!("the reader of {object} stopped: {e}"));
        let mut counts = Intaken { object: object.to_owned(), ..Intaken::default() };
        let mut unchanged_keys = blake3::Hasher::new();
        let (mut met, mut whole) = (Met::default(), true);
        let mut posted: Option<Posted> = None;
        while let Some(rows) = items.next().await.map_err(stopped)? {
            let read = rows.len() as u64;
            let mut drafts = Vec::with_capacity(rows.len());
            for item in rows {
                counts.read += 1;
                match item {
                    Item::Record { record, modified, origin } => {
                        watch(object, &record);
                        let subject = recorder.subject(&self.key(object, &record.id))?;
                        let content = Content::Record { object: object.to_owned(), record };
                        let bytes = crate::state::canonical(&content)?;
                        let digest = recorder.ledger().digest(subject, &bytes)?;
                        if !met.insert(subject) {
                            // Two rows under one id: the first one stands, the second is told, none is lost.
                            counts.repeated += 1;
                            drafts.push(
                                recorder.draft(Event::RecordUnreadable { object: name, line: origin.line }).content(
                                    Content::Unreadable {
                                        file: origin.file,
                                        line: origin.line,
                                        reason: format!("an earlier row already has the id {}", record_id(&content)),
                                    },
                                ),
                            );
                            continue;
                        }
                        let seen = state.intake().seen(subject);
                        if seen.is_some_and(|seen| seen.live && seen.digest == digest.0[..8]) {
                            counts.unchanged += 1;
                            unchanged_keys.update(&subject.0.to_le_bytes());
                            continue;
                        }
                        counts.extracted += 1;
                        let modified = modified.map(Micros::from);
                        drafts.push(
                            recorder
                                .draft(Event::RecordExtracted { object: name, modified, digest })
                                .subject(subject)
                                .content(content),
                        );
                    }
                    Item::Unreadable { origin, reason } => {
                        counts.unreadable += 1;
                        // Line 0 is the file as a whole: it could not be read to its end.
                        whole &= origin.line > 0;
                        drafts.push(
                            recorder
                                .draft(Event::RecordUnreadable { object: name, line: origin.line })
                                .content(Content::Unreadable { file: origin.file, line: origin.line, reason }),
                        );
                    }
                    Item::Gone { id, how, at } => {
                        counts.gone += 1;
                        drafts.extend(self.gone(recorder, state, object, &id, &how, at)?);
                    }
                }
            }
            // While these become durable, the next ones are read and digested.
            if let Some(before) = posted.take() {
                Posted::durable(before).await?;
                state.catch_up(recorder.ledger())?;
            }
            posted = Some(recorder.post(drafts));
            progress.advance(read);
        }
        if let Some(last) = posted {
            last.durable().await?;
            state.catch_up(recorder.ledger())?;
        }
        recorder
            .append(vec![recorder.draft(Event::CheckpointReached {
                object: name,
                read: counts.read,
                unchanged: counts.unchanged,
                unchanged_keys: Digest(*unchanged_keys.finalize().as_bytes()),
                complete: whole && self.bundle.identity().extent == Extent::Full,
            })])
            .await?;
        state.catch_up(recorder.ledger())?;
        Ok(counts)
    }

    fn gone(
        &self,
        recorder: &Recorder,
        state: &State,
        object: &str,
        id: &str,
        how: &DeletedHow,
        at: Option<DateTime<Utc>>,
    ) -> Result<Option<Draft>, Failure> {
        let subject = recorder.subject(&self.key(object, id))?;
        if state.intake().seen(subject).is_some_and(|seen| !seen.live) {
            return Ok(None);
        }
        let name = recorder.name(NameKind::Object, object)?;
        let (how, words) = match how {
            DeletedHow::Deleted => (GoneHow::Deleted, "deleted in the source".to_owned()),
            DeletedHow::Merged { into } => (GoneHow::Merged, format!("merged into {object}/{into} in the source")),
        };
        let words = match at {
            Some(at) => format!("{words} at {}", at.to_rfc3339()),
            None => words,
        };
        Ok(Some(recorder.draft(Event::RecordGone { object: name, how }).subject(subject).content(Content::Text(words))))
    }
}

fn record_id(content: &Content) -> &str {
    match content {
        Content::Record { record, .. } => &record.id,
        _ => "",
    }
}

/// The subjects met in one reading: one bit a slot.
#[derive(Debug, Default)]
struct Met(Vec<u64>);

impl Met {
    /// Notes a subject, and returns whether it is new.
    fn insert(&mut self, subject: SubjectId) -> bool {
        let (word, bit) = (subject.0 as usize / 64, 1 << (subject.0 % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        let hint = error.hint();
        Self::usage(error.to_string()).hint(hint)
    }
}
