//! Lands records: map, intend, write, confirm, read back; phase by phase in the order of their references.
//!
//! One mechanism serves the first load, the second pass, a delta and a repeated run: every record is mapped again, and the
//! difference to what was last written is written. Nothing to write is nothing sent.

mod closing;
mod dependents;
mod obstructed;
mod quiet;
mod seeds;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use waybill_connectors::Destination;
use waybill_ledger::{
    Content, Event, Field, FieldName, Fields, Mapped, NameId, ObjectName, Position, Record, RuleId, SubjectId,
    SubjectKey, Target, TargetPart, Value,
    event::{HoldDecision, HoldReason, LinkedBy, NameKind, Operation, SkipReason},
    ledger::{Draft, Ledger, Opened},
};
use waybill_projector::{
    Positions,
    landing::Landed,
    mapping::{MapOutcome, Plan, Rule},
    order::Phase as Step,
    owners::OwnerResolution,
    write_key,
};

use self::obstructed::{Obstructed, is_untouched};
use crate::{
    approve::must_be_capped,
    aside::{Aside, aside},
    failure::Failure,
    files::Files,
    flaws::{Flaw, Flaws, Sound},
    matching::{Match, Matches},
    reconcile::{PhaseCheck, Reconciled},
    recorder::Recorder,
    state::{Approval, State},
    world::{Alternates, PhaseWorld, References, alternates, records_at},
    write::{Change, Crew, Desk, Tally, Writer},
};

/// How many source records are mapped at once.
const RECORDS_AT_ONCE: usize = 1_000;

/// Which records a load looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Every record that the source has.
    Everything,
    /// Records read since this position, and those that wait. Rows that a person removed are not made again.
    Since(Position),
}

/// What a load did to one destination object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Phase {
    /// The destination object.
    pub object: String,
    /// Rows created.
    pub created: u64,
    /// Rows changed.
    pub updated: u64,
    /// Rows that already were as they should be.
    pub unchanged: u64,
    /// Rows deleted because the source deleted them.
    pub deleted: u64,
    /// Records that wait for a person.
    pub held: u64,
    /// Rows that the destination refused.
    pub rejected: u64,
    /// Records that the plan does not carry.
    pub skipped: u64,
    /// Rows with our key that the destination counts after the phase.
    pub counted: u64,
    /// What was found when the phase was read back, if it was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<Reconciled>,
}

/// Everything that a load needs and does not change.
pub struct Loader<'a, D, M = Sound> {
    /// Writes.
    pub desk: &'a Arc<Desk<D, M>>,
    /// The project's id, part of every key.
    pub project: &'a str,
    /// The approved plan.
    pub plan: &'a Plan,
    /// The source's instance, the first part of source subjects.
    pub source: &'a str,
    /// How owners were resolved.
    pub owners: &'a BTreeMap<String, OwnerResolution>,
    /// What was approved.
    pub approval: &'a Approval,
    /// The files of the export.
    pub files: &'a Files,
    /// When the source was read.
    pub exported: Option<DateTime<Utc>>,
    /// Where the records stand that are looked at, if not all of them are.
    pub chosen: Option<BTreeSet<Position>>,
}

impl<D, M> std::fmt::Debug for Loader<'_, D, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").field("source", &self.source).finish_non_exhaustive()
    }
}

/// One phase while it runs.
struct Stage<'p> {
    object: ObjectName,
    name: NameId,
    rules: Vec<&'p Rule>,
    references: &'p References,
    others: Alternates,
    matches: Matches,
    span: Span,
    counts: Phase,
}

/// One record on its way, with the rule that wants it.
#[derive(Debug, Clone)]
struct Coming<'p> {
    subject: SubjectId,
    rule: &'p Rule,
    record: Record,
    /// The event that brought the record.
    cause: Position,
}

/// What waits to be sent.
#[derive(Debug, Default)]
struct Outbox {
    creates: Vec<Change>,
    /// Records that were just found to be rows that are there.
    links: Vec<Change>,
    /// Records that wait until a row in the trash is gone.
    obstructed: Vec<Obstructed>,
    updates: BTreeMap<RuleId, Vec<Change>>,
    notes: Vec<Draft>,
}

impl<D: Destination, M: Flaws> Loader<'_, D, M> {
    /// Lands what `span` says, and returns what was done, phase by phase; with a `check`, each is read back before the next
    /// begins.
    pub(crate) async fn load(
        &self,
        state: &mut State,
        span: Span,
        mut check: Option<&mut PhaseCheck<'_>>,
    ) -> Result<Vec<Phase>, Failure> {
        let references = References::load(self.plan, self.ledger(), state)?;
        let steps = self.plan.phases().map_err(|e| Failure::stopped(e.to_string()))?;
        let mut done = Vec::new();
        // What will be deleted is known before the first write: more than was approved is not begun.
        if self.chosen.is_none() {
            for step in &steps {
                self.must_be_capped_deletes(state, step)?;
            }
        }
        for step in &steps {
            let mut phase = self.phase(state, step, &references, span).await?;
            if let Some(check) = &mut check {
                phase.reconciled = Some(check.check(self.desk, state, &step.object).await?);
                state.catch_up(self.ledger())?;
            }
            done.push(phase);
        }
        // What the source has no more goes last, and children before what they point to.
        if self.chosen.is_none() {
            for (step, phase) in steps.iter().zip(&mut done).rev() {
                let tally = self.remove_gone(state, step).await?;
                phase.deleted += tally.done;
                phase.held += tally.held;
                phase.rejected += tally.rejected;
            }
        }
        Ok(done)
    }

    fn ledger(&self) -> &Arc<Ledger> {
        self.desk.recorder.ledger()
    }

    fn rec(&self) -> &Recorder {
        &self.desk.recorder
    }

    async fn phase(
        &self,
        state: &mut State,
        step: &Step,
        references: &References,
        span: Span,
    ) -> Result<Phase, Failure> {
        let rules = self.rules(step);
        let name = self.rec().name(NameKind::Object, step.object.as_str())?;
        let counts = Phase { object: step.object.to_string(), ..Phase::default() };
        let others = alternates(self.ledger(), state, &rules)?;
        let (object, matches) = (step.object.clone(), Matches::default());
        let mut stage = Stage { object, name, rules, references, others, matches, span, counts };
        let writer = Arc::new(Writer::new(self.desk, &step.object)?);
        stage.add(writer.settle_open(state).await?, Operation::Nothing);
        writer.find_late(state).await?;
        self.let_go(state, &stage, &writer).await?;
        stage.matches = self.matches(state, &stage).await?;
        self.land_seeds(state, &mut stage, &writer).await?;
        let sources: BTreeSet<String> = stage.rules.iter().map(|rule| rule.from.clone()).collect();
        let later = self.land(state, &mut stage, &writer, &sources, None).await?;
        if !later.is_empty() && !self.desk.flaws.has(Flaw::SkipSecondPass) {
            // The second pass: what these records point to within their own object has landed by now.
            let first = std::mem::take(&mut stage.counts);
            self.land(state, &mut stage, &writer, &BTreeSet::new(), Some(&later)).await?;
            let second = std::mem::replace(&mut stage.counts, first);
            stage.counts.updated += second.updated;
            stage.counts.held += second.held;
            stage.counts.rejected += second.rejected;
        }
        self.close_phase(state, &mut stage).await?;
        Ok(stage.counts)
    }

    fn rules(&self, step: &Step) -> Vec<&Rule> {
        step.rules.iter().filter_map(|id| self.plan.rule(id)).collect()
    }

    /// Looks for the rows that records of this phase are.
    async fn matches(&self, state: &State, stage: &Stage<'_>) -> Result<Matches, Failure> {
        let key = self.desk.key(&stage.object);
        let nothing = BTreeSet::new();
        let world = self.world(state, stage, &nothing);
        Matches::find(&*self.desk.destination, &self.desk.instance, self.project, key, &stage.rules, &world).await
    }

    fn world<'w>(&'w self, state: &'w State, stage: &'w Stage<'_>, coming: &'w BTreeSet<String>) -> PhaseWorld<'w> {
        PhaseWorld {
            files: self.files,
            exported: self.exported,
            plan: self.plan,
            project: self.project,
            ledger: self.ledger(),
            state,
            source: self.source,
            references: stage.references,
            owners: self.owners,
            schema: &self.desk.schema,
            coming,
            others: &stage.others,
        }
    }

    /// Lands the records of some rules. Returns where the records stand that have fields for a second pass, ascending.
    async fn land(
        &self,
        state: &mut State,
        stage: &mut Stage<'_>,
        writer: &Arc<Writer<D, M>>,
        coming: &BTreeSet<String>,
        only: Option<&[Position]>,
    ) -> Result<Vec<Position>, Failure> {
        let mut later = Vec::new();
        for rule in stage.rules.clone() {
            let Some(object) = self.ledger().find_name(NameKind::Object, &rule.from) else { continue };
            let part = self.part(rule)?;
            let mut positions = state.intake().positions(object);
            match (only, stage.span) {
                (Some(only), _) => positions.retain(|at| only.binary_search(at).is_ok()),
                (None, Span::Since(since)) if self.points_elsewhere(state, rule, since)? => {}
                (None, Span::Since(since)) => {
                    let held = state.intake().held().filter_map(|(subject, _)| state.intake().seen(subject));
                    let held: BTreeSet<Position> = held.map(|seen| seen.position).collect();
                    positions.retain(|at| *at >= since || held.contains(at));
                }
                (None, Span::Everything) => {}
            }
            if let Some(chosen) = &self.chosen {
                positions.retain(|at| chosen.contains(at));
            }
            let pass = if only.is_some() { ", second pass" } else { "" };
            self.desk.progress.begin(&format!("{} to {}{pass}", rule.from, rule.to), positions.len() as u64);
            let mut outbox = Outbox::default();
            let mut crew = Crew::new(writer, state, positions.len());
            // From here on they are kept for as long as the rule takes, which may be hours.
            let (mut left, positions) = (positions.len(), positions.into_iter().collect::<Positions>());
            let mut next = positions.iter();
            let mut ahead = read_ahead(self.ledger(), next.by_ref().take(RECORDS_AT_ONCE).collect());
            while left > 0 {
                let count = left.min(RECORDS_AT_ONCE);
                left -= count;
                let records = ahead.await.map_err(|e| Failure::failed(format!("the reader stopped: {e}")))??;
                ahead = read_ahead(self.ledger(), next.by_ref().take(RECORDS_AT_ONCE).collect());
                for (cause, record) in records {
                    let subject = self.rec().subject(&SubjectKey::new(self.source, &rule.from, &record.id))?;
                    let coming_record = Coming { subject, rule, record, cause };
                    if self.map(state, stage, &coming_record, part, coming, &mut outbox)? {
                        later.push(cause);
                    }
                }
                self.send(state, stage, writer, &mut crew, &mut outbox, false).await?;
                self.desk.progress.advance(count as u64);
                if let Err(stopped) = self.check_stop() {
                    // What is under way comes home first.
                    crew.come_home(state).await?;
                    return Err(stopped);
                }
            }
            self.send(state, stage, writer, &mut crew, &mut outbox, true).await?;
            self.desk.progress.end();
        }
        later.sort_unstable();
        Ok(later)
    }

    /// Maps one record and puts what comes of it into the outbox. Returns whether it has fields for a second pass.
    fn map(
        &self,
        state: &State,
        stage: &mut Stage<'_>,
        coming: &Coming<'_>,
        part: TargetPart,
        sources: &BTreeSet<String>,
        outbox: &mut Outbox,
    ) -> Result<bool, Failure> {
        let world = self.world(state, stage, sources);
        let rule = coming.rule;
        let occurrences = match world.occurrences(rule, &coming.record) {
            Ok(occurrences) => occurrences,
            Err(text) => {
                if !self.left_out(state, stage, coming, part, outbox) {
                    self.hold(state, stage, coming, part, HoldReason::BadValue, text, outbox);
                }
                return Ok(false);
            }
        };
        let outcomes: Vec<(u16, MapOutcome)> =
            occurrences.into_iter().map(|(number, record)| (number, self.plan.map(rule, &record, &world))).collect();
        let mut later = false;
        for (number, outcome) in outcomes {
            let part = TargetPart { part: number, ..part };
            if self.left_out(state, stage, coming, part, outbox) {
                continue;
            }
            match outcome {
                MapOutcome::Mapped(mut mapped) => {
                    later |= !mapped.later.is_empty();
                    let (id, record) = (rule.id.as_str(), &coming.record.id);
                    mapped.key = write_key(self.project, self.source, &rule.from, record, id, number);
                    self.sort(state, stage, coming, part, mapped, outbox)?;
                }
                MapOutcome::Held { reason, text } => self.hold(state, stage, coming, part, reason, text, outbox),
                MapOutcome::Skipped { reason, text } => {
                    stage.counts.skipped += 1;
                    // Another rule may carry what this one does not want.
                    let told = state.intake().seen(coming.subject).is_some_and(|seen| seen.skipped)
                        || state.intake().hold(coming.subject).is_some()
                        || state.landing().of(coming.subject).any(|landed| landed.is_live());
                    if !told {
                        outbox.notes.push(self.note(coming, part, Event::RecordSkipped { reason }, text));
                    }
                }
            }
        }
        Ok(later)
    }

    /// Returns whether a person decided that a target is not carried, and says so once.
    fn left_out(
        &self,
        state: &State,
        stage: &mut Stage<'_>,
        coming: &Coming<'_>,
        part: TargetPart,
        outbox: &mut Outbox,
    ) -> bool {
        let intake = state.intake();
        let Some((HoldDecision::Skip, _)) = intake.decided(coming.subject, part) else { return false };
        stage.counts.skipped += 1;
        let told = intake.seen(coming.subject).is_some_and(|seen| seen.skipped);
        if !told || intake.hold_of(coming.subject, part).is_some() {
            let event = Event::RecordSkipped { reason: SkipReason::Decided };
            outbox.notes.push(self.note(coming, part, event, "a person decided so".to_owned()));
        }
        true
    }

    #[expect(clippy::too_many_arguments, reason = "a hold says all of this")]
    fn hold(
        &self,
        state: &State,
        stage: &mut Stage<'_>,
        coming: &Coming<'_>,
        part: TargetPart,
        reason: HoldReason,
        text: String,
        outbox: &mut Outbox,
    ) {
        let target = Target { subject: coming.subject, part };
        self.hold_target(state, stage, (target, Some(coming.cause)), (reason, text), outbox);
    }

    /// Lets a target wait for a person, and says so once.
    fn hold_target(
        &self,
        state: &State,
        stage: &mut Stage<'_>,
        (target, cause): (Target, Option<Position>),
        (reason, text): (HoldReason, String),
        outbox: &mut Outbox,
    ) {
        stage.counts.held += 1;
        if state.intake().hold_of(target.subject, target.part) != Some(reason) {
            let draft = self.rec().draft(Event::RecordHeld { reason }).subject(target.subject).target(target.part);
            outbox.notes.push(cause.into_iter().fold(draft, Draft::cause).content(Content::Text(text)));
        }
    }

    /// Takes the keys of rows to come out of what is mapped, and returns where these rows will be: a destination whose ids we
    /// choose can be told before they are there.
    fn to_come(&self, mapped: &mut Mapped) -> Fields {
        let keys = mapped.later.iter().filter_map(|(name, key)| Some((name.clone(), key?.to_string())));
        let keys: Vec<(FieldName, String)> = keys.collect();
        let mut rows = Fields::new();
        for (name, key) in keys {
            if let Some(id) = self.desk.destination.id_for(&key) {
                rows.set(name.clone(), Value::Text(id));
            }
            mapped.later.set(name, Field::Null);
        }
        rows
    }

    /// Decides what a mapped record needs: a create, an update, or nothing.
    fn sort(
        &self,
        state: &State,
        stage: &mut Stage<'_>,
        coming: &Coming<'_>,
        part: TargetPart,
        mut mapped: Mapped,
        outbox: &mut Outbox,
    ) -> Result<(), Failure> {
        let coming_rows = self.to_come(&mut mapped);
        let target = Target { subject: coming.subject, part };
        let digest = self.ledger().digest(coming.subject, &fields_bytes(&mapped.fields)?)?;
        let landed = state.landing().get(target);
        // That someone removed its row stays true, whatever the source says.
        let held = state.intake().hold_of(coming.subject, part).is_some_and(|why| why != HoldReason::TargetGone);
        let decided = state.intake().decided(coming.subject, part);
        let change = Change {
            target,
            record: format!("{}/{}", coming.rule.from, coming.record.id),
            cause: Some(coming.cause),
            mapped,
            digest,
            coming: coming_rows,
            landed,
            rule: coming.rule.id.clone(),
            inverts: None,
            decided: decided.map(|(decision, _)| decision),
        };
        match landed {
            // What became of the last write is not known yet: nothing more is sent until it is.
            Some(landed) if landed.is_open() => stage.counts.held += 1,
            Some(landed) if landed.is_live() && landed.mapped.is_some() && digest.0.starts_with(&landed.digest) => {
                stage.counts.unchanged += 1;
                if held {
                    outbox.notes.push(self.note(
                        coming,
                        part,
                        Event::RecordReleased,
                        "it needs nothing any more".into(),
                    ));
                }
            }
            Some(landed) if landed.is_live() => outbox.updates.entry(coming.rule.id.clone()).or_default().push(change),
            Some(landed)
                if landed.generation > 0
                    && !is_untouched(&landed)
                    && stage.span != Span::Everything
                    && change.decided != Some(HoldDecision::Again)
                    && !self.desk.flaws.has(Flaw::RecreateRemoved) =>
            {
                stage.counts.held += 1;
                if state.intake().hold_of(coming.subject, part) != Some(HoldReason::TargetGone) {
                    let text = "its row was removed; a delta never makes it again without a person's word".to_owned();
                    let event = Event::RecordHeld { reason: HoldReason::TargetGone };
                    outbox.notes.push(self.note(coming, part, event, text));
                }
            }
            _ => match (decided, stage.matches.of(coming.rule, &change.mapped.fields)) {
                (Some((HoldDecision::Row, at)), _) => {
                    let Some((_, Opened::Content(Content::DestinationId { id, .. }))) =
                        self.ledger().reader().at(at)?
                    else {
                        return Err(Failure::ledger(format!("the decision at position {at} names no row")));
                    };
                    let row = SubjectKey::new(&self.desk.instance, stage.object.as_str(), &id);
                    let owned = self.ledger().find_subject(&row).and_then(|row| state.landing().owner(row));
                    if owned.is_some() {
                        let text = format!("it was to be {} {id}, which is another record's by now", stage.object);
                        self.hold(state, stage, coming, part, HoldReason::Ambiguous, text, outbox);
                        return Ok(());
                    }
                    self.link(stage, change, (LinkedBy::Person, id), outbox)?;
                }
                (Some((HoldDecision::New, _)), Match::Ambiguous(_) | Match::Buried(_)) | (_, Match::New) => {
                    outbox.creates.push(change);
                }
                (_, Match::Row(id)) => self.link(stage, change, (LinkedBy::UniqueValue, id), outbox)?,
                (_, Match::Trashed { id, set }) => {
                    let mut change = change;
                    for (name, value) in set.iter() {
                        let value = value.cloned().map_or(Field::Null, Into::into);
                        change.mapped.fields.set(name.clone(), value);
                    }
                    self.link(stage, change, (LinkedBy::UniqueValue, id), outbox)?;
                }
                (_, Match::Obstructed { by, row }) => outbox.obstructed.push(Obstructed { change, by, row }),
                (_, Match::Ambiguous(text) | Match::Buried(text)) => {
                    self.hold(state, stage, coming, part, HoldReason::Ambiguous, text, outbox);
                }
            },
        }
        Ok(())
    }

    /// Says that a record is a row that was there, and lets it be updated.
    fn link(
        &self,
        stage: &Stage<'_>,
        change: Change,
        (by, id): (LinkedBy, String),
        outbox: &mut Outbox,
    ) -> Result<(), Failure> {
        let subject = SubjectKey::new(&self.desk.instance, stage.object.as_str(), &id);
        let destination = self.rec().subject(&subject)?;
        let event = Event::IdentityLinked { destination, by, candidates: 1 };
        let object = stage.object.to_string();
        let draft = self.rec().draft(event).subject(change.target.subject).target(change.target.part);
        let draft = change.cause.into_iter().fold(draft, Draft::cause);
        outbox.notes.push(draft.content(Content::DestinationId { object, id }));
        outbox.links.push(change);
        Ok(())
    }

    /// Sends what the outbox has: whole batches, or everything if `flush`.
    async fn send(
        &self,
        state: &mut State,
        stage: &mut Stage<'_>,
        writer: &Writer<D, M>,
        crew: &mut Crew<D, M>,
        outbox: &mut Outbox,
        flush: bool,
    ) -> Result<(), Failure> {
        self.clear(state, stage, writer, crew, outbox).await?;
        self.rec().append(std::mem::take(&mut outbox.notes)).await?;
        state.catch_up(self.ledger())?;
        for mut change in std::mem::take(&mut outbox.links) {
            change.landed = state.landing().get(change.target);
            outbox.updates.entry(change.rule.clone()).or_default().push(change);
        }
        let creates = std::mem::take(&mut outbox.creates);
        if !creates.is_empty() {
            let object = stage.object.as_str();
            let more = crew.more(state) + creates.len() as u64;
            if let Err(over) = must_be_capped(state, self.approval, object, stage.name, Operation::Create, more) {
                crew.come_home(state).await?;
                return Err(over);
            }
            for change in creates {
                crew.add(state, change);
            }
        }
        let tally = if flush { crew.finish(state).await? } else { crew.go(state).await? };
        stage.add(tally, Operation::Create);
        let least = if flush { 1 } else { crew.size().min(200) };
        if outbox.updates.values().any(|updates| updates.len() >= least) {
            stage.add(crew.come_home(state).await?, Operation::Create);
        }
        for (rule, updates) in &mut outbox.updates {
            if updates.len() < least {
                continue;
            }
            let updates = std::mem::take(updates);
            must_be_capped(
                state,
                self.approval,
                stage.object.as_str(),
                stage.name,
                Operation::Update,
                updates.len() as u64,
            )?;
            let known = self.plan.rule(rule);
            let winner = |field: &FieldName| known.map(|rule| rule.winner(field)).unwrap_or_default();
            let touch = known.map(|rule| rule.touch).unwrap_or_default();
            let tally = writer.update(state, updates, touch, &winner).await?;
            stage.add(tally, Operation::Update);
        }
        Ok(())
    }

    fn note(&self, coming: &Coming<'_>, part: TargetPart, event: Event, text: String) -> Draft {
        self.rec().draft(event).subject(coming.subject).target(part).cause(coming.cause).content(Content::Text(text))
    }

    fn part(&self, rule: &Rule) -> Result<TargetPart, Failure> {
        Ok(TargetPart { rule: self.rec().name(NameKind::Rule, rule.id.as_str())?, part: 0 })
    }

    /// Returns an error if the person asked to stop.
    fn check_stop(&self) -> Result<(), Failure> {
        if self.desk.stop.is_cancelled() {
            return Err(Failure::stopped("stopped as asked; everything sent so far is in the ledger")
                .hint("run the same command again: it goes on where it stopped"));
        }
        Ok(())
    }
}

impl Stage<'_> {
    fn add(&mut self, tally: Tally, operation: Operation) {
        match operation {
            Operation::Create => self.counts.created += tally.done,
            Operation::Update => self.counts.updated += tally.done,
            Operation::Delete => self.counts.deleted += tally.done,
            // What an earlier process left open is counted by the run that meant it.
            Operation::Nothing => {}
        }
        self.counts.unchanged += tally.unchanged;
        self.counts.rejected += tally.rejected;
        self.counts.held += tally.held;
    }
}

/// Reads records on another thread while the ones before them are mapped and written.
fn read_ahead(ledger: &Arc<Ledger>, positions: Vec<Position>) -> Aside<Result<Vec<(Position, Record)>, Failure>> {
    let ledger = Arc::clone(ledger);
    aside(move || records_at(&ledger, positions)?.collect())
}

/// Returns the canonical bytes of fields.
pub(crate) fn fields_bytes(fields: &Fields) -> Result<Vec<u8>, Failure> {
    waybill_ledger::codec::encode(fields).map_err(|e| Failure::failed(format!("fields cannot be encoded: {e}")))
}

/// Returns the numbers of the targets of one destination object that are there, in the order of their latest mapping.
pub(crate) fn live_of(state: &State, object: NameId) -> Vec<u32> {
    let ours = state.landing().of_object(object).filter(Landed::is_live);
    let numbers = ours.filter_map(|landed| state.landing().index_of(landed.target));
    let mut live: Vec<u32> = numbers.filter_map(|number| u32::try_from(number).ok()).collect();
    let key = |number: &u32| state.landing().at(*number as usize).map(|landed| (landed.mapped, landed.target));
    // They mostly are in that order.
    if !live.is_sorted_by_key(key) {
        live.sort_by_cached_key(key);
    }
    live
}
