//! Puts fields of rows back to what they were before us: only where nobody has changed them since.

use std::collections::{BTreeMap, BTreeSet};

use waybill_connectors::{Batch, Destination, Outcome, RemoteRecord, WriteRow};
use waybill_ledger::{
    Content, Event, Field, FieldKind, FieldName, Fields, Position, Record, SubjectId, Target, Value,
    event::{DriftKind, HoldReason, NameKind, Operation},
    ledger::Draft,
};
use waybill_projector::{
    landing::Landed,
    rollback::{self, oldest},
};

use super::{BatchJournal, Tally, VERSION, Writer, retry::until_done, settle::without_version};
use crate::{
    failure::Failure,
    flaws::{Flaw, Flaws},
    moved::Moved,
    state::State,
};

/// A row whose fields are to go back.
#[derive(Debug, Clone)]
pub struct Restore {
    /// Its target.
    pub landed: Landed,
    /// Where its before-images stand, the oldest first.
    pub before: Vec<Position>,
    /// The write that this undoes.
    pub inverts: Position,
}

/// A row that is to be put back, with what it held before us.
#[derive(Debug)]
struct Imaged {
    restore: Restore,
    destination: SubjectId,
    id: String,
    before: Fields,
}

/// A restore whose row was read and merged.
#[derive(Debug)]
struct Putting {
    restore: Restore,
    destination: SubjectId,
    id: String,
    set: Fields,
    now: RemoteRecord,
    mapped: Option<waybill_ledger::Mapped>,
}

impl<D: Destination, M: Flaws> Writer<D, M> {
    /// Puts fields back to what they were before us, except those that someone changed since.
    pub(crate) async fn restore(
        &self,
        state: &mut State,
        restores: Vec<Restore>,
        moved: &Moved,
    ) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let size = self.size(Operation::Update, restores.len()).min(2_000);
        for chunk in restores.chunks(size) {
            let restore = async |batch, last| self.restore_batch(state, batch, moved, last).await;
            tally += until_done(chunk.to_vec(), restore).await?;
        }
        Ok(tally)
    }

    async fn restore_batch(
        &self,
        state: &mut State,
        restores: Vec<Restore>,
        moved: &Moved,
        last: bool,
    ) -> Result<(Tally, Vec<Restore>), Failure> {
        let mut tally = Tally::default();
        let (rows, forgotten) = self.images(state, restores, moved)?;
        tally.held += forgotten.len() as u64;
        let forgotten = forgotten.into_iter().map(|restore| {
            let event = Event::RecordHeld { reason: HoldReason::Forgotten };
            self.about(event, restore.landed.target, restore.inverts)
        });
        self.rec().append(forgotten.collect()).await?;
        let found = self.read_images(&rows).await?;
        let (mut drafts, mut ready) = (Vec::new(), Vec::new());
        for Imaged { restore, destination, id, before } in rows {
            let Some(now) = found.get(&id) else {
                let event = Event::DriftFound { destination, object: self.name, field: None, kind: DriftKind::Deleted };
                drafts
                    .push(self.about(event, restore.landed.target, restore.inverts).content(self.destination_id(&id)));
                tally.held += 1;
                continue;
            };
            let (mut ours, mapped) = self.ours(&restore.landed)?;
            if self.desk.flaws.has(Flaw::IgnoreDriftInRollback) {
                ours = now.record.fields.clone();
            }
            let merged = self.merged(&restore, &before, &ours, now);
            for field in &merged.drift {
                let name = self.rec().name(NameKind::Field, field.as_str())?;
                let event =
                    Event::DriftFound { destination, object: self.name, field: Some(name), kind: DriftKind::Changed };
                drafts.push(self.about(event, restore.landed.target, restore.inverts).content(Content::Difference {
                    record: format!("{}/{id}", self.object),
                    field: Some(field.clone()),
                    expected: ours.value(field.as_str()).cloned(),
                    found: now.record.fields.value(field.as_str()).cloned(),
                }));
            }
            tally.held += u64::from(!merged.drift.is_empty());
            ready.push(Putting { restore, destination, id, set: merged.set, now: now.clone(), mapped });
        }
        self.rec().append(drafts).await?;
        self.put_back(state, ready, tally, last).await
    }

    /// Merges what a row held before us, what we left it with, and what it is now. A row that we brought back from the trash goes
    /// there again only if nobody built on it, as a row that we made is deleted only then: what people work with stays where
    /// they find it.
    fn merged(&self, restore: &Restore, before: &Fields, ours: &Fields, now: &RemoteRecord) -> rollback::Restored {
        let mut merged = rollback::restore(before, ours, &now.record.fields, &|name, a, b| self.same(name, a, b));
        let Some(mark) = self.desk.destination.trash_mark().filter(|mark| merged.set.value(mark).is_some()) else {
            return merged;
        };
        let touched = restore.landed.touched || now.modified_by.as_ref().is_some_and(|by| *by != self.desk.user);
        if (touched || !merged.drift.is_empty()) && !self.desk.flaws.has(Flaw::IgnoreDriftInRollback) {
            merged.set.set(mark, Field::Absent);
            merged.now.set(mark, Field::Absent);
            merged.drift.push(FieldName::from(mark));
        }
        merged
    }

    /// Lets fields point to where rows live by now that were deleted and made again.
    pub(crate) fn follow(&self, state: &State, moved: &Moved, fields: &mut Fields) {
        moved.follow(self.rec().ledger(), state, &self.schema, fields);
    }

    /// Returns whether a row points to one of these targets' rows of its own object.
    pub(crate) fn points_to(&self, targets: &BTreeSet<Target>, fields: &Fields, moved: &Moved) -> bool {
        let own = |kind: &FieldKind| matches!(kind, FieldKind::Reference { to } if to.contains(&self.object));
        fields.iter().any(|(name, value)| {
            let (Some(Value::Text(id)), Some(field)) = (value, self.schema.field(name.as_str())) else { return false };
            own(&field.kind)
                && moved.target(self.rec().ledger(), &field.kind, id).is_some_and(|target| targets.contains(&target))
        })
    }

    /// Finds what these rows held before us; those whose records were forgotten come second.
    fn images(
        &self,
        state: &State,
        restores: Vec<Restore>,
        moved: &Moved,
    ) -> Result<(Vec<Imaged>, Vec<Restore>), Failure> {
        let (mut rows, mut forgotten) = (Vec::new(), Vec::new());
        for restore in restores {
            let destination = restore.landed.destination;
            let Some((destination, id)) = destination.and_then(|d| Some((d, state.destination_id(d)?))) else {
                forgotten.push(restore);
                continue;
            };
            let mut images = restore.before.iter().map(|at| self.image_at(Some(*at))).collect::<Result<Vec<_>, _>>()?;
            if self.desk.flaws.has(Flaw::NewestImage) {
                images.reverse();
            }
            let mut before = without_version(oldest(images)).0;
            self.follow(state, moved, &mut before);
            rows.push(Imaged { restore, destination, id, before });
        }
        Ok((rows, forgotten))
    }

    /// Reads the fields of these rows that are to go back.
    async fn read_images(&self, rows: &[Imaged]) -> Result<BTreeMap<String, RemoteRecord>, Failure> {
        let names: BTreeSet<FieldName> =
            rows.iter().flat_map(|row| row.before.iter().map(|(name, _)| name.clone())).collect();
        let names: Vec<FieldName> = names.into_iter().collect();
        self.read_ids(&names, rows.iter().map(|row| row.id.clone()).collect()).await
    }

    /// Returns what we left a row with, and the mapping behind it.
    pub(super) fn ours(&self, landed: &Landed) -> Result<(Fields, Option<waybill_ledger::Mapped>), Failure> {
        let mapped = match landed.mapped {
            Some(at) => self.mapping_at(at)?,
            None => None,
        };
        let mut ours = mapped.as_ref().map(|mapped| mapped.fields.clone()).unwrap_or_default();
        for (name, value) in without_version(self.image_at(landed.after)?).0.iter() {
            ours.set(name.clone(), value.map_or(Field::Null, |value| Field::Present(value.clone())));
        }
        if let (Some(mapped), Some(key)) = (&mapped, self.key()) {
            ours.set(key.clone(), Value::Text(mapped.key.clone()));
        }
        Ok((ours, mapped))
    }

    async fn put_back(
        &self,
        state: &mut State,
        ready: Vec<Putting>,
        mut tally: Tally,
        last: bool,
    ) -> Result<(Tally, Vec<Restore>), Failure> {
        let (nothing, ready): (Vec<Putting>, Vec<Putting>) = ready.into_iter().partition(|row| row.set.is_empty());
        tally.unchanged += nothing.len() as u64;
        let mut again = Vec::new();
        if ready.is_empty() {
            state.catch_up(self.rec().ledger())?;
            return Ok((tally, again));
        }
        let number = state.next_batch();
        let batch = Batch {
            object: self.object.clone(),
            operation: Operation::Update,
            key_field: self.key().cloned(),
            rows: ready
                .iter()
                .map(|row| WriteRow { key: row.id.clone(), id: Some(row.id.clone()), fields: row.set.clone() })
                .collect(),
        };
        let mut drafts = vec![self.batch_formed(number, &batch)];
        for row in &ready {
            drafts.extend(self.putting(row, drafts.len())?.into_iter().map(|draft| draft.batch(number)));
        }
        let first = self.rec().append(drafts).await?.first;
        let intended = |n: usize| Position(first.0 + 1 + 3 * n as u64 + 2);
        let sent: Vec<_> = ready.iter().enumerate().map(|(n, row)| (row.restore.landed.target, intended(n))).collect();
        let journal = BatchJournal { recorder: self.rec(), batch: number, files: self.desk.files.as_ref() };
        let outcomes = match self.desk.destination.write(&batch, &journal).await {
            Ok(outcomes) => outcomes,
            Err(e) => {
                self.not_sent(&sent, number, &e, false).await?;
                state.catch_up(self.rec().ledger())?;
                return Err(e.into());
            }
        };
        let mut drafts = Vec::new();
        for (n, (row, outcome)) in ready.iter().zip(outcomes).enumerate() {
            let about = |event: Event| self.about(event, row.restore.landed.target, intended(n)).batch(number);
            match outcome {
                Outcome::Done { .. } => {
                    tally.done += 1;
                    let event = Event::WriteConfirmed { destination: row.destination, operation: Operation::Update };
                    drafts.push(about(event).content(self.destination_id(&row.id)));
                    if self.lets_go(&row.restore.landed, &row.set) {
                        drafts.push(about(Event::IdentityUnlinked { destination: row.destination }));
                    }
                }
                Outcome::Unknown(cause) => drafts.push(about(Event::WriteUnknown { cause })),
                Outcome::Rejected(refusal) => {
                    if self.refuse(&refusal, last, about, &mut drafts)? {
                        again.push(row.restore.clone());
                    } else {
                        tally.rejected += 1;
                    }
                }
            }
        }
        self.rec().append(drafts).await?;
        state.catch_up(self.rec().ledger())?;
        let (settled, open) = self.ask(state, &sent, last).await?;
        tally += settled;
        again.extend(open.into_iter().map(|n| ready[n].restore.clone()));
        Ok((tally, again))
    }

    /// Returns whether a restore of these fields ends that a row which was there before us is a record of ours: it takes our key
    /// out again.
    pub(super) fn lets_go(&self, landed: &Landed, set: &Fields) -> bool {
        let key = self.key().filter(|key| set.contains(key.as_str()));
        !landed.created && key.is_some_and(|key| set.value(key.as_str()).is_none())
    }

    /// Returns the three events that precede a restore: what the row will stand for, what it is now, and the intent.
    fn putting(&self, row: &Putting, start: usize) -> Result<[Draft; 3], Failure> {
        let target = row.restore.landed.target;
        let image = |fields: Fields| Content::Record {
            object: self.object.to_string(),
            record: Record { id: row.id.clone(), fields },
        };
        let mut mapped = row.mapped.clone().unwrap_or_else(|| waybill_ledger::Mapped {
            object: self.object.to_string(),
            key: String::new(),
            fields: Fields::new(),
            later: Fields::new(),
            decisions: Vec::new(),
        });
        let mut before = Fields::new();
        for (name, value) in row.set.iter() {
            if *name != self.desk.key_field {
                mapped.fields.set(name.clone(), value.map_or(Field::Null, |value| Field::Present(value.clone())));
            }
            let now = row.now.record.fields.get(name.as_str());
            before.set(name.clone(), if now == Field::Absent { Field::Null } else { now });
        }
        if let Some(version) = &row.now.version {
            before.set(VERSION, Value::Text(version.clone()));
        }
        let bytes = crate::load::fields_bytes(&mapped.fields)?;
        let digest = self.rec().ledger().digest(target.subject, &bytes)?;
        let about = |event: Event| self.about(event, target, row.restore.inverts);
        let inverts = Some(row.restore.inverts);
        Ok([
            about(Event::RecordMapped { object: self.name, digest }).content(Content::Mapped(mapped)),
            about(Event::BeforeImageTaken { destination: row.destination }).content(image(before)),
            row.restore
                .before
                .iter()
                .fold(
                    about(Event::WriteIntended { object: self.name, operation: Operation::Update, inverts }),
                    |draft, at| draft.cause(*at),
                )
                .earlier(start)
                .earlier(start + 1)
                .content(image(row.set.clone())),
        ])
    }

    /// Says of rows that were to be put back which fields would stay as people left them; writes nothing.
    pub async fn foresee_restores(&self, state: &State, restores: &[Restore]) -> Result<Vec<String>, Failure> {
        let mut staying = Vec::new();
        for chunk in restores.chunks(200) {
            let (known, forgotten) = self.images(state, chunk.to_vec(), &Moved::default())?;
            for _ in forgotten {
                staying.push(format!("a row of {} stays: its record was forgotten", self.object));
            }
            let found = self.read_images(&known).await?;
            for Imaged { restore, id, before, .. } in &known {
                let Some(now) = found.get(id) else {
                    staying.push(format!("{} {id} is gone already", self.object));
                    continue;
                };
                let (ours, _) = self.ours(&restore.landed)?;
                for field in self.merged(restore, before, &ours, now).drift {
                    staying.push(format!("{} {id}: {field} stays as someone left it", self.object));
                }
            }
        }
        Ok(staying)
    }
}
