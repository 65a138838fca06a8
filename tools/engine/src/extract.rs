//! Reads the source into the ledger. What did not change since it was last read costs no event.

use std::{path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use waybill_connectors::{
    bundle::{Bundle, BundleError, DeletedHow, Extent, Item, Profile},
    rest::{Reading, Rest, RestError, Watermark},
    transport::Http,
};
use waybill_ledger::{
    Content, Digest, Event, FieldSchema, Micros, NameId, ObjectSchema, Record, SubjectId, SubjectKey,
    event::{GoneHow, NameKind, Side},
    ledger::{Draft, Opened},
};
use waybill_projector::mapping::Plan;

use crate::{
    aside::{Chunks, aside},
    failure::Failure,
    progress::Progress,
    project::{Project, SourceAt},
    readings::Readings,
    recorder::{Posted, Recorder},
    state::State,
};

/// How many rows travel together from the reader to the ledger.
const ROWS_AT_ONCE: usize = 512;

/// The source of a project, recognised and open.
#[derive(Debug)]
pub struct Source {
    place: Place,
    /// When its files were held against their digests.
    digests: Digests,
    profile: Profile,
    system: String,
}

/// Where the records are.
#[derive(Debug)]
enum Place {
    Export(Arc<Bundle>),
    Server(Box<Rest>),
}

/// When the files of an export are held against their digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digests {
    /// Before anything is read.
    Now,
    /// By the caller, beside reading them.
    Later,
}

/// How much of a source is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All of it.
    Everything,
    /// What changed since it was read the last time, where the source can tell; else all of it.
    Changes,
}

/// What was read of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Opens what the project reads, over the network or whatever else carries requests. The files of an export are held against
    /// the digests that it gives, now or by the caller.
    pub async fn of(project: &Project, wire: Option<&Arc<dyn Http>>, digests: Digests) -> Result<Self, Failure> {
        let system = &project.config.source.system;
        match project.source()? {
            SourceAt::Bundle(path, profile) => Self::open(path, *profile, system, digests).await,
            SourceAt::Rest(description, endpoint) => {
                let profile = description.profile().clone();
                let rest = match wire {
                    Some(wire) => {
                        let (own, files) = (Arc::clone(wire), Arc::clone(wire));
                        Box::pin(Rest::connect_over(own, files, *description, endpoint)).await?
                    }
                    None => Box::pin(Rest::connect(*description, endpoint)).await?,
                };
                Ok(Self::over(rest, profile, system))
            }
        }
    }

    /// Takes a server that answered.
    pub fn over(rest: Rest, profile: Profile, system: &str) -> Self {
        Self { place: Place::Server(Box::new(rest)), digests: Digests::Now, profile, system: system.to_owned() }
    }

    /// Opens the export and recognises its shape.
    pub async fn open(path: PathBuf, profile: Profile, system: &str, digests: Digests) -> Result<Self, Failure> {
        let shape = profile.clone();
        let open = move || match digests {
            Digests::Now => Bundle::open(&path, &shape),
            Digests::Later => Bundle::open_unchecked(&path, &shape),
        };
        let bundle = aside(open).await.map_err(|e| Failure::failed(format!("the reader stopped: {e}")))??;
        Ok(Self { place: Place::Export(Arc::new(bundle)), digests, profile, system: system.to_owned() })
    }

    /// Returns the export; of a server, what it shows of itself, with the first page of each list.
    pub fn shared(&self) -> Arc<Bundle> {
        match &self.place {
            Place::Export(bundle) => Arc::clone(bundle),
            Place::Server(rest) => rest.shared(),
        }
    }

    /// Returns whether it is an export, which can be read again at no cost, and not a server.
    pub fn is_export(&self) -> bool {
        matches!(self.place, Place::Export(_))
    }

    /// Returns the same to look at.
    pub fn bundle(&self) -> &Bundle {
        match &self.place {
            Place::Export(bundle) => bundle,
            Place::Server(rest) => rest.bundle(),
        }
    }

    /// Returns everything that the source has, to go through it more than once.
    pub async fn whole(&self, progress: &dyn Progress) -> Result<Bundle, Failure> {
        match &self.place {
            Place::Export(bundle) => Ok(Bundle::clone(bundle)),
            Place::Server(rest) => {
                progress.begin("reading", 0);
                let whole = Box::pin(rest.whole(&|rows| progress.advance(rows))).await;
                progress.end();
                Ok(whole?)
            }
        }
    }

    /// Returns whether an export of this shape may have an object or, of an object, a field.
    pub fn may_have(&self, object: &str, field: Option<&str>) -> bool {
        self.profile.may_have(object, field)
    }

    /// Returns a schema with the fields of a plan that this source has not shown yet and may have. A server shows a field with the
    /// first record that has it: until then, it is what the profile says.
    pub fn with_unseen(&self, schema: &waybill_ledger::Schema, plan: &Plan) -> waybill_ledger::Schema {
        let mut whole = schema.clone();
        if matches!(self.place, Place::Export(_)) {
            return whole;
        }
        for (object, fields) in plan.source_fields() {
            let at = whole.objects.iter().position(|known| known.name.as_str() == object).unwrap_or_else(|| {
                let (name, label) = (object.as_str().into(), object.clone());
                whole.objects.push(ObjectSchema {
                    name,
                    label,
                    createable: false,
                    updateable: false,
                    deletable: false,
                    fields: Vec::new(),
                    variants: Vec::new(),
                });
                whole.objects.len() - 1
            });
            let known = &mut whole.objects[at];
            for field in fields {
                if known.field(&field).is_none() && self.may_have(&object, Some(&field)) {
                    known.fields.push(FieldSchema {
                        name: field.as_str().into(),
                        label: field.clone(),
                        kind: self.profile.kind_of(&object, &field),
                        required: false,
                        createable: false,
                        updateable: false,
                        unique: false,
                        external_id: false,
                        case_sensitive: true,
                    });
                }
            }
        }
        whole
    }

    /// Returns the system with its account, the first part of every source subject.
    pub fn instance(&self) -> String {
        match &self.bundle().identity().account.id {
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

    /// Writes down how the source describes itself. What a delta, or the first page of a server's list, does not speak of stays as
    /// it was known before.
    pub async fn see_schema(
        &self,
        recorder: &Recorder,
        known: &waybill_ledger::Schema,
    ) -> Result<waybill_ledger::Schema, Failure> {
        let mut schema = self.bundle().schema()?;
        let partial =
            matches!(self.place, Place::Server(_)) || matches!(self.bundle().identity().extent, Extent::Delta { .. });
        for object in &known.objects {
            match schema.objects.iter_mut().find(|seen| seen.name == object.name) {
                None => schema.objects.push(object.clone()),
                Some(seen) if partial => {
                    let unseen = object.fields.iter().filter(|field| seen.field(field.name.as_str()).is_none());
                    let unseen: Vec<_> = unseen.cloned().collect();
                    seen.fields.extend(unseen);
                }
                Some(_) => {}
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

    /// Reads these objects to their end, and shows every record that is read to `watch`, also those that have not changed. Where
    /// only changes are wanted, files that are the same as when they were last read are not read.
    pub async fn extract(
        &self,
        recorder: &Recorder,
        state: &mut State,
        objects: &[String],
        reach: Reach,
        progress: &dyn Progress,
        watch: &mut (dyn FnMut(&str, &Record) + Send),
    ) -> Result<Vec<Intaken>, Failure> {
        let mut taken = Vec::new();
        let mut readings = Readings::kept(recorder.ledger());
        for object in self.bundle().objects().iter().filter(|object| objects.contains(&object.name)) {
            let name = recorder.name(NameKind::Object, &object.name)?;
            let files = self.files_of(&object.name)?;
            if reach == Reach::Changes
                && let Some(same) = files.as_deref().and_then(|files| readings.of(&object.name, files, name, state))
            {
                let complete = self.bundle().identity().extent == Extent::Full;
                let counts = same.counts.clone();
                checkpoint(recorder, state, name, &counts, (same.keys(), complete, None)).await?;
                taken.push(counts);
                continue;
            }
            progress.begin(&format!("reading {}", object.name), object.rows.or(object.source_total).unwrap_or(0));
            let read = Box::pin(self.extract_object(recorder, state, &object.name, reach, progress, watch)).await?;
            progress.end();
            if let (Some(files), Some(keys)) = (files, read.keys) {
                readings.note(files, &read.counts, keys, name, state);
            }
            taken.push(read.counts);
        }
        readings.keep(recorder.ledger());
        Ok(taken)
    }

    /// Returns what tells whether the files of an object are the same as another time, if they were held against their digests.
    fn files_of(&self, object: &str) -> Result<Option<String>, Failure> {
        match &self.place {
            Place::Export(bundle) if self.digests == Digests::Now => Ok(bundle.fingerprint(object)?),
            _ => Ok(None),
        }
    }

    async fn extract_object(
        &self,
        recorder: &Recorder,
        state: &mut State,
        object: &str,
        reach: Reach,
        progress: &dyn Progress,
        watch: &mut (dyn FnMut(&str, &Record) + Send),
    ) -> Result<ReadThrough, Failure> {
        let name = recorder.name(NameKind::Object, object)?;
        let since = match reach {
            Reach::Everything => None,
            Reach::Changes => watermark(recorder, state, name)?,
        };
        let mut items = self.items(object, since)?;
        let mut counts = Intaken { object: object.to_owned(), ..Intaken::default() };
        let (mut unchanged_keys, mut keys, mut told_any) = (blake3::Hasher::new(), blake3::Hasher::new(), false);
        let (mut met, mut whole) = (Met::default(), true);
        let mut posted: Option<Posted> = None;
        loop {
            let rows = match items.next(object).await {
                Ok(Some(rows)) => rows,
                Ok(None) => break,
                Err(failure) => {
                    // What was read before stays; without a checkpoint it is read again.
                    if let Some(last) = posted.take() {
                        last.durable().await?;
                        state.catch_up(recorder.ledger())?;
                    }
                    return Err(failure);
                }
            };
            let read = rows.len() as u64;
            let mut drafts = Vec::with_capacity(rows.len());
            for item in rows {
                match item {
                    Item::Record { record, modified, origin } => {
                        counts.read += 1;
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
                        keys.update(&subject.0.to_le_bytes());
                        let seen = state.intake().seen(subject);
                        if seen.is_some_and(|seen| seen.live && digest.0.starts_with(&seen.digest)) {
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
                        counts.read += 1;
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
                        let told = self.gone(recorder, state, object, &id, &how, at)?;
                        // A server tells again what it told in the last minutes before; an export tells everything once.
                        if told.is_empty() && matches!(self.place, Place::Server(_)) {
                            continue;
                        }
                        counts.read += 1;
                        counts.gone += 1;
                        drafts.extend(told);
                    }
                }
            }
            told_any |= !drafts.is_empty();
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
        if items.compares() && whole {
            counts.gone += self.missing(recorder, state, object, name, &met, counts.read).await?;
        }
        let complete = whole && items.is_whole() && self.bundle().identity().extent == Extent::Full;
        let unchanged_keys = Digest(*unchanged_keys.finalize().as_bytes());
        checkpoint(recorder, state, name, &counts, (unchanged_keys, complete, items.watermark())).await?;
        // A second reading tells nothing, if this one told nothing, or nothing but new records.
        let repeats = whole && (!told_any || counts.read == counts.extracted + counts.unchanged);
        Ok(ReadThrough { keys: repeats.then(|| Digest(*keys.finalize().as_bytes())), counts })
    }

    /// Begins to read an object.
    fn items(&self, object: &str, since: Option<Watermark>) -> Result<Items<'_>, Failure> {
        Ok(match &self.place {
            Place::Export(bundle) => Items::Export(Chunks::of(bundle.read(object)?, ROWS_AT_ONCE)),
            Place::Server(rest) => Items::Server(Box::new(rest.read(object, since)?)),
        })
    }

    /// Tells of every record that the whole list no longer holds that it is gone.
    async fn missing(
        &self,
        recorder: &Recorder,
        state: &mut State,
        object: &str,
        name: NameId,
        met: &Met,
        read: u64,
    ) -> Result<u64, Failure> {
        let live = state.intake().live(name);
        let missing: Vec<SubjectId> = live.map(|(subject, _)| subject).filter(|subject| !met.holds(*subject)).collect();
        if read == 0 && !missing.is_empty() {
            return Err(Failure::stopped(format!(
                "the list of {object} is empty, and {} records of it were read before",
                missing.len()
            ))
            .hint("an empty list looks like a failure at the source: nothing was taken for deleted"));
        }
        for some in missing.chunks(ROWS_AT_ONCE) {
            let drafts = some.iter().map(|subject| {
                recorder
                    .draft(Event::RecordGone { object: name, how: GoneHow::Deleted })
                    .subject(*subject)
                    .content(Content::Text("no longer in the list of the source".to_owned()))
            });
            recorder.append(drafts.collect()).await?;
        }
        state.catch_up(recorder.ledger())?;
        Ok(missing.len() as u64)
    }

    fn gone(
        &self,
        recorder: &Recorder,
        state: &State,
        object: &str,
        id: &str,
        how: &DeletedHow,
        at: Option<DateTime<Utc>>,
    ) -> Result<Vec<Draft>, Failure> {
        let key = self.key(object, id);
        let known = recorder.ledger().find_subject(&key);
        // A server's lists of what is gone reach back to records that nobody has ever read. Of those that were merged it is kept
        // into which: others may still point to them.
        if matches!(self.place, Place::Server(_)) && known.is_none_or(|subject| state.intake().seen(subject).is_none())
        {
            let DeletedHow::Merged { into } = how else { return Ok(Vec::new()) };
            if known.is_some_and(|subject| state.intake().survivor(subject) != subject) {
                return Ok(Vec::new());
            }
            let event = Event::RecordMerged { into: recorder.subject(&self.key(object, into))? };
            return Ok(vec![recorder.draft(event).subject(recorder.subject(&key)?)]);
        }
        let subject = recorder.subject(&key)?;
        if state.intake().seen(subject).is_some_and(|seen| !seen.live) {
            return Ok(Vec::new());
        }
        let name = recorder.name(NameKind::Object, object)?;
        let into = match how {
            DeletedHow::Merged { into } => Some(into),
            DeletedHow::Deleted => None,
        };
        let (how, words) = match how {
            DeletedHow::Deleted => (GoneHow::Deleted, "deleted in the source".to_owned()),
            DeletedHow::Merged { into } => (GoneHow::Merged, format!("merged into {object}/{into} in the source")),
        };
        let words = match at {
            Some(at) => format!("{words} at {}", at.to_rfc3339()),
            None => words,
        };
        let gone = Event::RecordGone { object: name, how };
        let mut drafts = vec![recorder.draft(gone).subject(subject).content(Content::Text(words))];
        if let Some(into) = into {
            let event = Event::RecordMerged { into: recorder.subject(&self.key(object, into))? };
            drafts.push(recorder.draft(event).subject(subject));
        }
        Ok(drafts)
    }
}

/// Writes down that everything before it is durable: from here on, nobody has to read that again.
async fn checkpoint(
    recorder: &Recorder,
    state: &mut State,
    object: NameId,
    counts: &Intaken,
    (unchanged_keys, complete, watermark): (Digest, bool, Option<Watermark>),
) -> Result<(), Failure> {
    let (read, unchanged) = (counts.read, counts.unchanged);
    let reached = recorder.draft(Event::CheckpointReached { object, read, unchanged, unchanged_keys, complete });
    let reached = match watermark {
        Some(watermark) => reached.content(Content::Text(watermark.to_string())),
        None => reached,
    };
    recorder.append(vec![reached]).await?;
    state.catch_up(recorder.ledger())
}

/// What came of reading one object through.
struct ReadThrough {
    counts: Intaken,
    /// The digest of the keys of all records, if a second reading of the same would bring nothing.
    keys: Option<Digest>,
}

/// The items of one object, wherever they come from.
enum Items<'a> {
    Export(Chunks<Item>),
    Server(Box<Reading<'a>>),
}

impl Items<'_> {
    async fn next(&mut self, object: &str) -> Result<Option<Vec<Item>>, Failure> {
        match self {
            Self::Export(chunks) => {
                chunks.next().await.map_err(|e| Failure::failed(format!("the reader of {object} stopped: {e}")))
            }
            Self::Server(reading) => Ok(Box::pin(reading.next()).await?),
        }
    }

    fn watermark(&self) -> Option<Watermark> {
        match self {
            Self::Export(_) => None,
            Self::Server(reading) => reading.watermark(),
        }
    }

    fn is_whole(&self) -> bool {
        match self {
            Self::Export(_) => true,
            Self::Server(reading) => reading.is_whole(),
        }
    }

    fn compares(&self) -> bool {
        match self {
            Self::Export(_) => false,
            Self::Server(reading) => reading.compares(),
        }
    }
}

/// Returns how far the object was read, by the clock of the source, as the latest checkpoint says.
fn watermark(recorder: &Recorder, state: &State, object: NameId) -> Result<Option<Watermark>, Failure> {
    let Some(at) = state.intake().object(object).checkpoint else { return Ok(None) };
    Ok(match recorder.ledger().reader().at(at)? {
        Some((_, Opened::Content(Content::Text(text)))) => text.parse().ok(),
        // Without its keys nobody knows; everything is read again, which changes nothing.
        _ => None,
    })
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

    fn holds(&self, subject: SubjectId) -> bool {
        self.0.get(subject.0 as usize / 64).is_some_and(|word| word & (1 << (subject.0 % 64)) != 0)
    }
}

impl From<RestError> for Failure {
    fn from(error: RestError) -> Self {
        let (hint, details) = (error.hint(), error.details().to_vec());
        let failure = match error {
            RestError::Remote(error) => return error.into(),
            RestError::Layout(error) => return error.into(),
            RestError::Description(_) | RestError::NoSuchObject { .. } => Self::usage(error.to_string()),
            RestError::Question { .. } | RestError::Foreign { .. } => Self::stopped(error.to_string()),
            RestError::Paging { .. } | RestError::Absent { .. } | RestError::Aside(_) => {
                Self::failed(error.to_string())
            }
        };
        failure.details(details).hint(hint)
    }
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        let hint = error.hint();
        Self::usage(error.to_string()).hint(hint)
    }
}
