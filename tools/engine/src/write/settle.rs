//! Finds out what became of writes whose answer was lost: by asking the destination, never by guessing.

use std::collections::{BTreeMap, BTreeSet};

use waybill_connectors::{Batch, Destination, KnownBy, Outcome, RemoteError, RemoteRecord, Selection, WriteRow};
use waybill_ledger::{
    BatchId, Content, Event, Field, FieldName, Fields, Mapped, Position, Record, SubjectKey, Target,
    event::{DriftKind, HoldReason, NameKind, Operation, UnknownCause},
    ledger::{Draft, Opened},
};
use waybill_projector::landing::Landed;

use super::{Change, Tally, VERSION, Writer, Written, create::holds};
use crate::{
    failure::Failure,
    flaws::{Flaw, Flaws},
    state::State,
};

/// The longest that a request may be under way at a destination (Salesforce ends transactions after ten minutes).
const LONGEST: chrono::TimeDelta = chrono::TimeDelta::minutes(10);
/// The code of a write that never reached the destination.
const NOT_SENT: &str = "WAYBILL_NOT_SENT";
/// What is told of a record whose write was broken off before it was done.
const BROKEN_OFF: &str = "its write was broken off before it was done; the same command sends it again";
/// The code of a write that the destination does not show, although it can be asked.
pub(super) const NOT_THERE: &str = "WAYBILL_NOT_THERE";

impl<D: Destination, M: Flaws> Writer<D, M> {
    /// Closes intents that never left, so that none stays open. What was to be `landed` waits for the run that goes on.
    pub(super) async fn not_sent(
        &self,
        targets: &[(Target, Position)],
        batch: BatchId,
        error: &RemoteError,
        landed: bool,
    ) -> Result<(), Failure> {
        let code = self.rec().name(NameKind::Code, NOT_SENT)?;
        let drafts = targets.iter().map(|(target, intended)| {
            self.rec()
                .draft(Event::WriteRejected { code })
                .subject(target.subject)
                .target(target.part)
                .batch(batch)
                .cause(*intended)
                .content(Content::Refusal { message: error.to_string(), fields: Vec::new() })
        });
        self.rec().append(drafts.collect()).await?;
        if landed { self.wait(targets, BROKEN_OFF).await } else { Ok(()) }
    }

    /// Lets records wait whose write came to nothing, so that the next run looks at them whatever else it looks at.
    pub(super) async fn wait(&self, targets: &[(Target, Position)], why: &str) -> Result<(), Failure> {
        let event = Event::RecordHeld { reason: HoldReason::Rejected };
        let drafts = targets.iter().map(|(target, intended)| {
            self.about(event.clone(), *target, *intended).content(Content::Text(why.to_owned()))
        });
        self.rec().append(drafts.collect()).await?;
        Ok(())
    }

    /// Asks which of these creates were done. Returns what they came to, and those that were not done and may be sent
    /// again: our key is unique, so a create that is still under way makes the second one fail and not double.
    pub(super) async fn settle_creates(
        &self,
        state: &State,
        open: &[(&Change, Position)],
    ) -> Result<(Tally, Vec<Change>), Failure> {
        let mut tally = Tally::default();
        let mut resend = Vec::new();
        if open.is_empty() {
            return Ok((tally, resend));
        }
        self.jobs_over(state, open.iter().map(|(change, _)| change.target)).await?;
        let mapped: Vec<&Mapped> = open.iter().map(|(change, _)| &change.mapped).collect();
        let known_by = self.desk.destination.known_by(&self.object);
        let blindly = self.desk.flaws.has(Flaw::ResendBlindly);
        let found = if blindly { BTreeMap::new() } else { self.known_again(state, &mapped).await? };
        let (mut drafts, mut landed) = (Vec::new(), Vec::new());
        for (n, (change, intended)) in open.iter().enumerate() {
            let about = |event: Event| self.about(event, change.target, *intended);
            match found.get(&change.mapped.key).map(Vec::as_slice) {
                // Nothing would stop a second row: as long as the first may still be under way, it is not made.
                None | Some([])
                    if !blindly && matches!(known_by, KnownBy::Likeness(_)) && self.may_be_under_way(*intended)? =>
                {
                    let part = change.target.part;
                    tally.held += 1;
                    if state.intake().hold_of(change.target.subject, part) != Some(HoldReason::Undetermined) {
                        let text = "the answer was lost, and the row may still be under way; the next run asks again";
                        let event = Event::RecordHeld { reason: HoldReason::Undetermined };
                        drafts.push(about(event).content(Content::Text(text.to_owned())));
                    }
                }
                None | Some([]) => {
                    drafts.push(
                        about(Event::WriteRejected { code: self.rec().name(NameKind::Code, NOT_THERE)? }).content(
                            Content::Refusal {
                                message: "the destination has no such row".to_owned(),
                                fields: Vec::new(),
                            },
                        ),
                    );
                    resend.push((*change).clone());
                }
                Some([row]) if holds(&change.mapped.fields, &row.record.fields, |f, a, b| self.same(f, a, b)) => {
                    let id = &row.record.id;
                    let destination = self.destination_subject(id)?;
                    landed.push((n, drafts.len(), id.clone(), destination));
                    drafts.push(
                        about(Event::WriteConfirmed { destination, operation: Operation::Create })
                            .content(self.destination_id(id)),
                    );
                    tally.done += 1;
                }
                Some([row]) if matches!(known_by, KnownBy::Key | KnownBy::Id) => {
                    // Our key says that it is ours; that it is not as we meant it is somebody's work since, who did not wait
                    // for us to see it. It is not looked at: what they made of it is not to be taken for what we left.
                    let id = &row.record.id;
                    let destination = self.destination_subject(id)?;
                    let confirmed = Event::WriteConfirmed { destination, operation: Operation::Create };
                    drafts.push(about(confirmed).content(self.destination_id(id)));
                    let kind = DriftKind::Changed;
                    let drift = Event::DriftFound { destination, object: self.name, field: None, kind };
                    let text = format!("{} {id} was changed by someone else before we saw it", self.object);
                    drafts.push(about(drift).content(Content::Text(text)));
                    tally.done += 1;
                }
                Some(rows) => {
                    tally.held += 1;
                    let ids: Vec<&str> = rows.iter().map(|row| row.record.id.as_str()).collect();
                    drafts.push(about(Event::RecordHeld { reason: HoldReason::Undetermined }).content(Content::Text(
                        format!("the answer was lost, and {} is not as we meant to write it", ids.join(", ")),
                    )));
                }
            }
        }
        let first = self.rec().append(drafts).await?.first;
        let written: Vec<Written<'_>> = landed
            .into_iter()
            .map(|(n, at, id, destination)| Written {
                target: open[n].0.target,
                record: &open[n].0.record,
                id,
                destination,
                confirmed: Position(first.0 + at as u64),
                kept: Fields::new(),
                shown: None,
                fields: &open[n].0.mapped.fields,
            })
            .collect();
        self.look(&written).await?;
        Ok((tally, resend))
    }

    /// Finds the rows of these creates, by key, in whatever way the destination lets us know rows again.
    pub(super) async fn known_again(
        &self,
        state: &State,
        mapped: &[&Mapped],
    ) -> Result<BTreeMap<String, Vec<RemoteRecord>>, Failure> {
        match self.desk.destination.known_by(&self.object) {
            KnownBy::Id => self.by_id(mapped).await,
            KnownBy::Key => self.by_key(mapped).await,
            KnownBy::Fields(names) => self.by_fields(&names, mapped).await,
            KnownBy::Likeness(field) => self.by_likeness(state, &field, mapped).await,
        }
    }

    /// Reads the rows that have the ids which follow from these keys.
    async fn by_id(&self, mapped: &[&Mapped]) -> Result<BTreeMap<String, Vec<RemoteRecord>>, Failure> {
        let id = |mapped: &&Mapped| Some((self.desk.destination.id_for(&mapped.key)?, mapped.key.clone()));
        let keys: BTreeMap<String, String> = mapped.iter().filter_map(id).collect();
        let rows = self.read_ids(&columns(self.least(), mapped), keys.keys().cloned().collect()).await?;
        Ok(rows.into_iter().filter_map(|(id, row)| Some((keys.get(&id)?.clone(), vec![row]))).collect())
    }

    /// Reads the rows that carry these keys.
    async fn by_key(&self, mapped: &[&Mapped]) -> Result<BTreeMap<String, Vec<RemoteRecord>>, Failure> {
        let values = mapped.iter().map(|mapped| mapped.key.clone()).collect();
        let fields = columns(self.least(), mapped);
        let selection = Selection::Keys { field: self.desk.key_field.clone(), values };
        let mut found: BTreeMap<String, Vec<RemoteRecord>> = BTreeMap::new();
        for row in self.desk.destination.read(&self.object, &fields, &selection).await? {
            if let Some(key) = row.record.fields.text(self.desk.key_field.as_str()) {
                found.entry(key.to_owned()).or_default().push(row);
            }
        }
        Ok(found)
    }

    /// Finds rows by the fields of which the destination allows each combination once.
    async fn by_fields(
        &self,
        names: &[FieldName],
        mapped: &[&Mapped],
    ) -> Result<BTreeMap<String, Vec<RemoteRecord>>, Failure> {
        let Some(first) = names.first() else { return Ok(BTreeMap::new()) };
        let rows = self.holding(first, names, mapped).await?;
        let same = |row: &RemoteRecord, mapped: &Mapped| {
            names.iter().all(|n| self.same(n, &row.record.fields.get(n.as_str()), &mapped.fields.get(n.as_str())))
        };
        let found = |mapped: &&Mapped| rows.iter().filter(|row| same(row, mapped)).cloned().collect();
        Ok(mapped.iter().map(|mapped| (mapped.key.clone(), found(mapped))).collect())
    }

    /// Finds rows that hold what we meant to write, that our user changed last, and that no target of ours is known to live
    /// in. As many equal intents as there are such rows were done.
    async fn by_likeness(
        &self,
        state: &State,
        field: &FieldName,
        mapped: &[&Mapped],
    ) -> Result<BTreeMap<String, Vec<RemoteRecord>>, Failure> {
        let mut rows = self.holding(field, std::slice::from_ref(field), mapped).await?;
        rows.retain(|row| {
            let key = SubjectKey::new(&self.desk.instance, self.object.as_str(), &row.record.id);
            let subject = self.rec().ledger().find_subject(&key);
            let known = subject.is_some_and(|subject| state.landing().owner(subject).is_some());
            !known && row.modified_by.as_ref().is_none_or(|by| *by == self.desk.user)
        });
        let mut found = BTreeMap::new();
        for mapped in mapped {
            let like = |row: &RemoteRecord| holds(&mapped.fields, &row.record.fields, |f, a, b| self.same(f, a, b));
            let at = rows.iter().position(like);
            found.insert(mapped.key.clone(), at.map(|at| rows.swap_remove(at)).into_iter().collect());
        }
        Ok(found)
    }

    /// Reads the rows that hold in this field what any of these mappings does.
    async fn holding(
        &self,
        field: &FieldName,
        least: &[FieldName],
        mapped: &[&Mapped],
    ) -> Result<Vec<RemoteRecord>, Failure> {
        let values = mapped.iter().filter_map(|mapped| Some(mapped.fields.value(field.as_str())?.to_string()));
        let values: std::collections::BTreeSet<String> = values.collect();
        let selection = Selection::Keys { field: field.clone(), values: values.into_iter().collect() };
        Ok(self.desk.destination.read(&self.object, &columns(least, mapped), &selection).await?)
    }

    /// Returns whether a write that left then may still be under way at the destination.
    fn may_be_under_way(&self, intended: Position) -> Result<bool, Failure> {
        let Some((envelope, _)) = self.rec().ledger().reader().at(intended)? else { return Ok(false) };
        let micros = self.rec().ledger().now().0 - envelope.time.0;
        Ok(chrono::TimeDelta::microseconds(micros) < LONGEST)
    }

    pub(super) fn about(&self, event: Event, target: Target, cause: Position) -> Draft {
        self.rec().draft(event).subject(target.subject).target(target.part).cause(cause)
    }

    /// Settles every write to this object that an earlier process left open. A job that was opened is taken up again; a
    /// request is settled by asking.
    pub async fn settle_open(&self, state: &mut State) -> Result<Tally, Failure> {
        if self.desk.flaws.has(Flaw::ForgetOpenWrites) {
            return Ok(Tally::default());
        }
        let open: Vec<Landed> = state.landing().open().filter(|landed| landed.object == self.name).collect();
        let mut batches: BTreeMap<Option<BatchId>, Vec<Landed>> = BTreeMap::new();
        for landed in open {
            batches.entry(landed.batch).or_default().push(landed);
        }
        let mut tally = Tally::default();
        for (batch, open) in batches {
            let job = batch.map(|batch| state.job(self.rec().ledger(), batch)).transpose()?.flatten();
            if let Some(job) = job {
                match open.first().map(|landed| landed.operation) {
                    Some(Operation::Create) => {
                        self.resume_job(&open, &job).await?;
                        state.catch_up(self.rec().ledger())?;
                    }
                    // Updates and deletes are settled one by one by reading the rows, once the job does nothing any more.
                    _ => self.jobs_over(state, open.iter().map(|landed| landed.target)).await?,
                }
            }
            let mut creates = Vec::new();
            for landed in &open {
                let Some(landed) = state.landing().get(landed.target).filter(Landed::is_open) else {
                    continue;
                };
                match landed.operation {
                    Operation::Create => creates.push(landed),
                    Operation::Update | Operation::Nothing => {
                        let settled = self.settle_update(&landed).await?;
                        if settled.done == 0 {
                            let intended = landed.intended.unwrap_or(Position(0));
                            self.wait(&[(landed.target, intended)], BROKEN_OFF).await?;
                        }
                        tally += settled;
                    }
                    Operation::Delete => tally += self.settle_delete(state, &landed).await?,
                }
            }
            let changes = self.changes(&creates)?;
            let open: Vec<(&Change, Position)> = changes
                .iter()
                .map(|change| (change, change.landed.and_then(|l| l.intended).unwrap_or(Position(0))))
                .collect();
            // What was not done is mapped again by the run that goes on.
            let (settled, again) = self.settle_creates(state, &open).await?;
            tally += settled;
            let again: Vec<(Target, Position)> = again
                .iter()
                .map(|change| (change.target, change.landed.and_then(|l| l.intended).unwrap_or(Position(0))))
                .collect();
            self.wait(&again, BROKEN_OFF).await?;
            state.catch_up(self.rec().ledger())?;
        }
        Ok(tally)
    }

    /// Rebuilds the changes behind open creates from the ledger.
    fn changes(&self, creates: &[Landed]) -> Result<Vec<Change>, Failure> {
        let mut changes = Vec::new();
        for landed in creates {
            let Some(at) = landed.latest_mapping() else { continue };
            let Some(mapped) = self.mapping_at(at)? else { continue };
            changes.push(Change {
                target: landed.target,
                record: String::new(),
                cause: None,
                digest: waybill_ledger::Fingerprint([0; 16]),
                rule: waybill_ledger::RuleId::from(""),
                mapped,
                landed: Some(*landed),
                inverts: None,
                coming: Fields::new(),
                decided: None,
            });
        }
        Ok(changes)
    }

    /// Waits until the jobs are over with which these writes went, as far as they are open: what a job has not done by then it
    /// will not do, and before that nobody can say what became of them.
    pub(super) async fn jobs_over(&self, state: &State, targets: impl Iterator<Item = Target>) -> Result<(), Failure> {
        let open = targets.filter_map(|target| state.landing().get(target)).filter(Landed::is_open);
        let batches: BTreeSet<BatchId> = open.filter_map(|landed| landed.batch).collect();
        for batch in batches {
            if let Some(job) = state.job(self.rec().ledger(), batch)? {
                self.desk.destination.ended(&job).await?;
            }
        }
        Ok(())
    }

    /// Takes up a job of creates that an earlier process opened, and records what it says.
    async fn resume_job(&self, open: &[Landed], job: &str) -> Result<(), Failure> {
        let operation = Operation::Create;
        let changes = self.changes(open)?;
        let rows = changes
            .iter()
            .map(|change| WriteRow { key: change.mapped.key.clone(), id: None, fields: change.mapped.fields.clone() })
            .collect();
        let batch = Batch { object: self.object.clone(), operation, key_field: self.key().cloned(), rows };
        let outcomes = self.desk.destination.resume(&batch, job).await?;
        let (mut drafts, mut landed) = (Vec::new(), Vec::new());
        for (change, outcome) in changes.iter().zip(outcomes) {
            let intended = change.landed.and_then(|landed| landed.intended).unwrap_or(Position(0));
            let about = |event: Event| self.about(event, change.target, intended);
            match outcome {
                Outcome::Done { id, shown } => {
                    let destination = self.destination_subject(&id)?;
                    landed.push((change, drafts.len(), id.clone(), destination, shown));
                    drafts.push(
                        about(Event::WriteConfirmed { destination, operation }).content(self.destination_id(&id)),
                    );
                }
                Outcome::Rejected(refusal) if !refusal.duplicate => {
                    drafts.push(
                        about(Event::WriteRejected { code: self.rec().name(NameKind::Code, &refusal.code)? })
                            .content(Content::Refusal { message: refusal.message, fields: refusal.fields }),
                    );
                }
                Outcome::Rejected(_) | Outcome::Unknown(_) => {
                    drafts.push(about(Event::WriteUnknown { cause: UnknownCause::Restart }));
                }
            }
        }
        let first = self.rec().append(drafts).await?.first;
        let written: Vec<Written<'_>> = landed
            .into_iter()
            .map(|(change, at, id, destination, shown)| Written {
                target: change.target,
                record: &change.record,
                id,
                destination,
                confirmed: Position(first.0 + at as u64),
                fields: &change.mapped.fields,
                kept: Fields::new(),
                shown,
            })
            .collect();
        self.look(&written).await
    }

    /// Settles an update: the row is as we meant it, as it was before, or something else that a person must look at.
    pub(super) async fn settle_update(&self, landed: &Landed) -> Result<Tally, Failure> {
        let Some(intended) = landed.intended else { return Ok(Tally::default()) };
        let Some((envelope, Opened::Content(Content::Record { record: meant, .. }))) =
            self.rec().ledger().reader().at(intended)?
        else {
            return Ok(Tally::default());
        };
        let before = self.image_before(&envelope.causes)?;
        let names: Vec<FieldName> = meant.fields.iter().map(|(name, _)| name.clone()).collect();
        let now = self.read_ids(&names, vec![meant.id.clone()]).await?;
        let (event, content, tally) = match (now.get(&meant.id), landed.destination) {
            (Some(now), Some(destination))
                if holds(&meant.fields, &now.record.fields, |f, a, b| self.same(f, a, b))
                    || self.shows(&before, &meant.fields, &now.record.fields) =>
            {
                let tally = Tally { done: 1, ..Tally::default() };
                let event = Event::WriteConfirmed { destination, operation: landed.operation };
                (event, self.destination_id(&meant.id), tally)
            }
            _ => {
                let code = self.rec().name(NameKind::Code, NOT_THERE)?;
                let message = "the destination does not show the change".to_owned();
                let content = Content::Refusal { message, fields: names };
                (Event::WriteRejected { code }, content, Tally::default())
            }
        };
        let mut drafts = vec![self.about(event, landed.target, intended).content(content)];
        if let Some(destination) = landed.destination.filter(|_| tally.done > 0 && self.lets_go(landed, &meant.fields))
        {
            drafts.push(self.about(Event::IdentityUnlinked { destination }, landed.target, intended));
        }
        let lets_go = drafts.len() > 1;
        let confirmed = self.rec().append(drafts).await?.first;
        if let Some(destination) = landed.destination.filter(|_| tally.done > 0 && !lets_go) {
            let mut kept = without_version(self.image_at(landed.after)?).0;
            for name in meant.fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>() {
                kept.set(name, waybill_ledger::Field::Absent);
            }
            let (id, record) = (meant.id.clone(), format!("{}/{}", self.object, meant.id));
            let (target, record, fields) = (landed.target, record.as_str(), &meant.fields);
            self.look(&[Written { target, record, id, destination, confirmed, fields, kept, shown: None }]).await?;
        }
        Ok(tally)
    }

    /// Returns the before-image among the causes of an intent: the latest, if it undoes earlier ones.
    fn image_before(&self, causes: &[Position]) -> Result<Fields, Failure> {
        let mut latest = Fields::new();
        let mut causes = causes.to_vec();
        causes.sort_unstable();
        for at in causes {
            if let Some((envelope, Opened::Content(Content::Record { record, .. }))) =
                self.rec().ledger().reader().at(at)?
                && matches!(envelope.event, Event::BeforeImageTaken { .. })
            {
                latest = record.fields;
            }
        }
        Ok(latest)
    }

    /// Returns whether a write was done, whatever others have made of the row since: a row is written whole, so a field that it
    /// was to change is as it was meant, and none is as it was before.
    fn shows(&self, before: &Fields, meant: &Fields, now: &Fields) -> bool {
        let mut done = false;
        for (name, value) in meant.iter() {
            let meant = value.map_or(Field::Null, |value| Field::Present(value.clone()));
            let (was, is) = (before.get(name.as_str()), now.get(name.as_str()));
            if was == Field::Absent || self.same(name, &was, &meant) {
                continue;
            }
            if self.same(name, &was, &is) {
                return false;
            }
            done |= self.same(name, &meant, &is);
        }
        done
    }

    /// Settles a delete: the row is gone, or it is not.
    pub(super) async fn settle_delete(&self, state: &State, landed: &Landed) -> Result<Tally, Failure> {
        let Some(intended) = landed.intended else { return Ok(Tally::default()) };
        // What never was a record of ours lay in the trash.
        let Some(destination) = landed.destination else { return self.settle_clearing(landed).await };
        let Some(id) = state.destination_id(destination) else { return Ok(Tally::default()) };
        let now = self.read_ids(self.least(), vec![id.clone()]).await?;
        let draft = if now.contains_key(&id) {
            let code = self.rec().name(NameKind::Code, NOT_THERE)?;
            let message = "the row is still there".to_owned();
            self.about(Event::WriteRejected { code }, landed.target, intended)
                .content(Content::Refusal { message, fields: Vec::new() })
        } else {
            self.about(Event::WriteConfirmed { destination, operation: Operation::Delete }, landed.target, intended)
                .content(self.destination_id(&id))
        };
        self.rec().append(vec![draft]).await?;
        Ok(Tally { done: u64::from(!now.contains_key(&id)), ..Tally::default() })
    }
}

/// Returns these columns and those that the mappings set.
fn columns(least: &[FieldName], mapped: &[&Mapped]) -> Vec<FieldName> {
    let mut fields = least.to_vec();
    for (name, _) in mapped.iter().flat_map(|mapped| mapped.fields.iter()) {
        if !fields.contains(name) {
            fields.push(name.clone());
        }
    }
    fields
}

/// Returns these columns and those that the rows hold.
pub(super) fn columns_of(least: &[FieldName], rows: &[&Record]) -> Vec<FieldName> {
    let mut fields = least.to_vec();
    for (name, _) in rows.iter().flat_map(|row| row.fields.iter()) {
        if !fields.contains(name) {
            fields.push(name.clone());
        }
    }
    fields
}

/// Takes our version mark out of an after-image.
pub(super) fn without_version(mut image: Fields) -> (Fields, Option<String>) {
    let version = image.text(VERSION).map(str::to_owned);
    image.set(VERSION, waybill_ledger::Field::Absent);
    (image, version)
}
