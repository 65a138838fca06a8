//! Changes rows that are there: what the source moved, unless someone else moved it too.

use waybill_connectors::{Batch, Destination, Outcome, RemoteRecord, WriteRow};
use waybill_ledger::{
    Content, Event, Field, FieldName, Fields, Position, Record, Value,
    event::{DriftKind, HoldDecision, HoldReason, Operation},
};
use waybill_projector::converge::{Converged, Touch, Views, Winner, converge};

use super::{BatchJournal, Change, Tally, VERSION, Writer, Written, retry::until_done, settle::without_version};
use crate::{
    failure::Failure,
    flaws::{Flaw, Flaws},
    state::State,
};

/// An update whose before-image is known.
struct Ready {
    change: Change,
    id: String,
    destination: waybill_ledger::SubjectId,
    converged: Converged,
    version: Option<String>,
    /// What the destination is known to hold differently from what we wrote.
    after: Fields,
}

impl<D: Destination, M: Flaws> Writer<D, M> {
    /// Brings these rows to what the plan wants now.
    pub async fn update(
        &self,
        state: &mut State,
        changes: Vec<Change>,
        touch: Touch,
        winner: &(dyn Fn(&FieldName) -> Winner + Sync),
    ) -> Result<Tally, Failure> {
        let mut tally = Tally::default();
        let size = self.size(Operation::Update, changes.len()).min(2_000);
        let mut rest = changes.into_iter().peekable();
        while rest.peek().is_some() {
            let batch: Vec<Change> = rest.by_ref().take(size).collect();
            let ready = self.prepare(state, batch, touch, winner, &mut tally).await?;
            tally += until_done(ready, async |ready, last| self.update_batch(state, ready, last).await).await?;
        }
        Ok(tally)
    }

    /// Reads the rows as they are, and decides field by field.
    async fn prepare(
        &self,
        state: &mut State,
        changes: Vec<Change>,
        touch: Touch,
        winner: &(dyn Fn(&FieldName) -> Winner + Sync),
        tally: &mut Tally,
    ) -> Result<Vec<Ready>, Failure> {
        let mut names: Vec<FieldName> = self.least().to_vec();
        let mut ids = Vec::new();
        for change in &changes {
            ids.extend(change.landed.and_then(|l| l.destination).and_then(|d| state.destination_id(d)));
            for (name, _) in change.mapped.fields.iter() {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
        }
        let found = self.read_ids(&names, ids).await?;
        let (mut ready, mut drafts, mut again) = (Vec::new(), Vec::new(), Vec::new());
        for mut change in changes {
            let Some((destination, id)) = change
                .landed
                .and_then(|landed| landed.destination)
                .and_then(|destination| Some((destination, state.destination_id(destination)?)))
            else {
                continue;
            };
            let hold = |reason: HoldReason, text: String| {
                let draft = self
                    .rec()
                    .draft(Event::RecordHeld { reason })
                    .subject(change.target.subject)
                    .target(change.target.part)
                    .content(Content::Text(text));
                match change.cause {
                    Some(cause) => draft.cause(cause),
                    None => draft,
                }
            };
            let Some(now) = found.get(&id) else {
                let wanted = change.decided == Some(HoldDecision::Again);
                if wanted {
                    drafts.push(self.about(
                        Event::IdentityUnlinked { destination },
                        change.target,
                        change.cause.unwrap_or(Position(0)),
                    ));
                }
                if wanted || self.desk.flaws.has(Flaw::RecreateRemoved) {
                    again.push(change);
                    continue;
                }
                tally.held += 1;
                drafts.push(hold(
                    HoldReason::TargetGone,
                    format!(
                        "{} {id} is no longer there; it is never created again without a person's word",
                        self.object
                    ),
                ));
                continue;
            };
            let landed = change.landed.as_ref();
            let last = match landed.and_then(|landed| landed.mapped) {
                Some(at) => self.mapping_at(at)?.map(|mapped| mapped.fields),
                None => None,
            };
            let ignore = self.desk.flaws.has(Flaw::IgnoreDriftInDelta);
            let winner = |field: &FieldName| match change.decided {
                _ if ignore => Winner::Source,
                Some(HoldDecision::Source) => Winner::Source,
                Some(HoldDecision::Destination) => Winner::Destination,
                _ => winner(field),
            };
            let (after, left) = without_version(self.image_at(landed.and_then(|landed| landed.after))?);
            let same = |name: &FieldName, one: &_, other: &_| self.same(name, one, other);
            let mut converged = converge(
                &Views {
                    last: last.as_ref(),
                    after: &after,
                    desired: &change.mapped.fields,
                    now: &now.record.fields,
                    same: &same,
                },
                touch,
                winner,
            );
            if !converged.conflicts.is_empty() {
                tally.held += 1;
                let fields: Vec<&str> = converged.conflicts.iter().map(FieldName::as_str).collect();
                drafts.push(hold(
                    HoldReason::Conflict,
                    format!("the source and someone at the destination both changed {}", fields.join(", ")),
                ));
                continue;
            }
            if self.desk.flaws.has(Flaw::DropNull) {
                converged.set = converged.set.iter().filter_map(|(n, v)| Some((n.clone(), v?.clone()))).collect();
            }
            if self.desk.flaws.has(Flaw::SkipBeforeImage) {
                converged.before = Fields::new();
            }
            if last.is_none() {
                self.leave_fixed(&mut converged, &mut change);
            }
            let unmarked = self.key().filter(|key| now.record.fields.get(key.as_str()).is_blank());
            if let (None, Some(key)) = (&last, unmarked.cloned()) {
                // A row that was there before us and is now a record of ours: it gets our key, and loses it on rollback.
                converged.before.set(key.clone(), Field::Null);
                converged.set.set(key, Value::Text(change.mapped.key.clone()));
            }
            // The mapping that is recorded holds only what we stand for: fields left to others are not ours.
            let mut ours = Fields::new();
            for (name, value) in change.mapped.fields.iter() {
                let written = converged.set.contains(name.as_str());
                let kept = last.as_ref().is_some_and(|last| last.contains(name.as_str()));
                if written || kept {
                    let value = value.map_or(Field::Null, |v| Field::Present(v.clone()));
                    let stood = last.as_ref().map_or(Field::Absent, |last| last.get(name.as_str()));
                    // What someone else has set to the very value that the source has now is theirs: we stand for what we wrote.
                    let theirs = !written && kept && !self.same(name, &stood, &value);
                    // What a person decided to leave as it is does not come up again until the source moves once more.
                    let decided = change.decided == Some(HoldDecision::Destination)
                        && !self.same(name, &now.record.fields.get(name.as_str()), &value);
                    let theirs = theirs && !decided;
                    ours.set(name.clone(), if theirs { stood } else { value });
                }
            }
            change.mapped.fields = ours;
            if last.is_some()
                && change.landed.is_some_and(|landed| !landed.touched)
                && (now.modified_by.as_deref().is_some_and(|by| by != self.desk.user)
                    || left.is_some() && left != now.version && self.is_changed(&change, now)?)
            {
                // Our own write will hide that: from now on the row is known to be a person's, too.
                let event = Event::DriftFound { destination, object: self.name, field: None, kind: DriftKind::Changed };
                let text = format!("{} {id} was changed by someone else before this update", self.object);
                let target = change.target;
                let draft = self.rec().draft(event).subject(target.subject).target(target.part);
                drafts.push(draft.content(Content::Text(text)));
            }
            ready.push(Ready { change, id, destination, converged, version: now.version.clone(), after });
        }
        self.rec().append(drafts).await?;
        state.catch_up(self.rec().ledger())?;
        *tally += self.create(state, again).await?;
        Ok(ready)
    }

    /// Returns whether a field of a row is not as we left it. Automation that acts in our user's name hides who wrote before it.
    fn is_changed(&self, change: &Change, now: &RemoteRecord) -> Result<bool, Failure> {
        let Some(landed) = &change.landed else { return Ok(false) };
        let (ours, _) = self.ours(landed)?;
        let now = &now.record.fields;
        Ok(ours.iter().filter(|(name, _)| now.contains(name.as_str())).any(|(name, value)| {
            let left = value.map_or(Field::Null, |value| Field::Present(value.clone()));
            !self.same(name, &left, &now.get(name.as_str()))
        }))
    }

    /// Leaves the fields of a row that was there before us which nobody can change once it is made.
    fn leave_fixed(&self, converged: &mut Converged, change: &mut Change) {
        let fixed = |name: &FieldName| self.schema.field(name.as_str()).is_some_and(|field| !field.updateable);
        let names: Vec<FieldName> =
            converged.set.iter().map(|(name, _)| name.clone()).filter(|name| fixed(name)).collect();
        for name in names {
            converged.set.set(name.clone(), Field::Absent);
            converged.before.set(name.clone(), Field::Absent);
            let what = "the row was there before us, and this field cannot be changed: left as it is".to_owned();
            let rule = format!("{}.{name}", change.rule).into();
            change.mapped.decisions.push(waybill_ledger::Decision { field: name, rule, what });
        }
    }

    /// Sends one batch of prepared updates. Returns what it came to and the rows that may be sent again.
    async fn update_batch(
        &self,
        state: &mut State,
        ready: Vec<Ready>,
        last: bool,
    ) -> Result<(Tally, Vec<Ready>), Failure> {
        let (mut tally, mut again) = (Tally::default(), Vec::new());
        let number = state.next_batch();
        let (nothing, something): (Vec<Ready>, Vec<Ready>) =
            ready.into_iter().partition(|row| row.converged.set.is_empty());
        tally.unchanged += nothing.len() as u64;
        let batch = Batch {
            object: self.object.clone(),
            operation: Operation::Update,
            key_field: self.key().cloned(),
            rows: something
                .iter()
                .map(|row| WriteRow {
                    key: row.change.mapped.key.clone(),
                    id: Some(row.id.clone()),
                    fields: row.converged.set.clone(),
                })
                .collect(),
        };
        let mut drafts = Vec::new();
        for row in &nothing {
            drafts.push(self.mapped(row));
            let mapped = drafts.len() - 1;
            let target = row.change.target;
            let event = Event::WriteIntended { object: self.name, operation: Operation::Nothing, inverts: None };
            drafts.push(self.rec().draft(event).subject(target.subject).target(target.part).earlier(mapped));
            let intended = drafts.len() - 1;
            let event = Event::WriteConfirmed { destination: row.destination, operation: Operation::Nothing };
            drafts.push(
                self.rec()
                    .draft(event)
                    .subject(target.subject)
                    .target(target.part)
                    .earlier(intended)
                    .content(self.destination_id(&row.id)),
            );
        }
        if !something.is_empty() {
            drafts.push(self.batch_formed(number, &batch));
        }
        let start = drafts.len();
        for row in &something {
            let target = row.change.target;
            let mut before = row.converged.before.clone();
            if let Some(version) = &row.version {
                before.set(VERSION, Value::Text(version.clone()));
            }
            let image = |fields: Fields| Content::Record {
                object: self.object.to_string(),
                record: Record { id: row.id.clone(), fields },
            };
            drafts.push(self.mapped(row).batch(number));
            let mapped = drafts.len() - 1;
            drafts.push(
                self.rec()
                    .draft(Event::BeforeImageTaken { destination: row.destination })
                    .subject(target.subject)
                    .target(target.part)
                    .batch(number)
                    .content(image(before)),
            );
            drafts.push(
                self.rec()
                    .draft(Event::WriteIntended { object: self.name, operation: Operation::Update, inverts: None })
                    .subject(target.subject)
                    .target(target.part)
                    .batch(number)
                    .earlier(mapped)
                    .earlier(mapped + 1)
                    .content(image(row.converged.set.clone())),
            );
        }
        let first = self.rec().append(drafts).await?.first;
        let intended = |n: usize| Position(first.0 + (start + 3 * n + 2) as u64);
        let sent: Vec<_> = something.iter().enumerate().map(|(n, row)| (row.change.target, intended(n))).collect();
        if something.is_empty() {
            state.catch_up(self.rec().ledger())?;
            return Ok((tally, again));
        }

        let journal = BatchJournal { recorder: self.rec(), batch: number, files: self.desk.files.as_ref() };
        let outcomes = match self.desk.destination.write(&batch, &journal).await {
            Ok(outcomes) => outcomes,
            Err(e) => {
                self.not_sent(&sent, number, &e, true).await?;
                state.catch_up(self.rec().ledger())?;
                return Err(e.into());
            }
        };
        let (mut drafts, mut landed, mut retry) = (Vec::new(), Vec::new(), Vec::new());
        for (n, (row, outcome)) in something.iter().zip(outcomes).enumerate() {
            let about = |event: Event| self.about(event, row.change.target, intended(n)).batch(number);
            match outcome {
                Outcome::Done { shown, .. } => {
                    landed.push((n, drafts.len(), shown));
                    let event = Event::WriteConfirmed { destination: row.destination, operation: Operation::Update };
                    drafts.push(about(event).content(self.destination_id(&row.id)));
                }
                Outcome::Unknown(cause) => drafts.push(about(Event::WriteUnknown { cause })),
                Outcome::Rejected(refusal) => {
                    if self.refuse(&refusal, last, about, &mut drafts)? {
                        retry.push(n);
                    } else {
                        tally.rejected += 1;
                    }
                }
            }
        }
        let first = self.rec().append(drafts).await?.first;
        tally.done += landed.len() as u64;
        let written: Vec<Written<'_>> = landed
            .into_iter()
            .map(|(n, at, shown)| Written {
                target: something[n].change.target,
                record: &something[n].change.record,
                id: something[n].id.clone(),
                destination: something[n].destination,
                confirmed: Position(first.0 + at as u64),
                fields: &something[n].converged.set,
                kept: something[n].after.clone(),
                shown,
            })
            .collect();
        self.look(&written).await?;
        drop(written);
        state.catch_up(self.rec().ledger())?;
        let (settled, open) = self.ask(state, &sent, last).await?;
        tally += settled;
        retry.extend(open);
        again.extend(something.into_iter().enumerate().filter(|(n, _)| retry.contains(n)).map(|(_, row)| row));
        Ok((tally, again))
    }

    fn mapped(&self, row: &Ready) -> waybill_ledger::ledger::Draft {
        let draft = self
            .rec()
            .draft(Event::RecordMapped { object: self.name, digest: row.change.digest })
            .subject(row.change.target.subject)
            .target(row.change.target.part)
            .content(Content::Mapped(row.change.mapped.clone()));
        match row.change.cause {
            Some(cause) => draft.cause(cause),
            None => draft,
        }
    }
}
