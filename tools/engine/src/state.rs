//! What the ledger says, held in memory: nothing but folds, fed by replay alone.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use waybill_ledger::{
    Content, Digest, Envelope, Event, Position, RunId, SubjectId, SubjectKey,
    event::{Operation, RunKind, Side},
    ledger::{Ledger, Opened, Query},
};
use waybill_projector::{
    accounting::Accounts,
    delta::Intake,
    folds::{self, Folds},
    landing::Landing,
};

pub use waybill_projector::folds::{Baseline, Run};

use crate::{failure::Failure, ids::Ids};

/// What the ledger says of a project: its folds, and the few contents that they lead to.
#[derive(Debug)]
pub struct State {
    project: String,
    folds: Folds,
    approval: Option<Approval>,
    /// None as long as nobody wants to know.
    ids: Option<Ids>,
    /// How far the latest snapshot reaches.
    kept: Position,
}

/// What was approved, as the approval's document says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The digest of the plan's meaning.
    pub plan: String,
    /// The digest of the schema elements that the plan touches, as they will be after its own schema step.
    pub schema: String,
    /// The destination instance.
    pub destination: String,
    /// Who approved.
    pub by: String,
    /// The most writes by destination object and operation (`Account create`), deltas included.
    pub caps: BTreeMap<String, u64>,
    /// Where it stands in the ledger.
    #[serde(skip)]
    pub position: Option<Position>,
}

impl State {
    /// Returns the state of a ledger: from its latest snapshot, if it has one, and the events after it. Destination ids are
    /// contents and lie in no snapshot: see [`State::know_ids`].
    pub fn restore(project: &str, ledger: &Arc<Ledger>) -> Result<Self, Failure> {
        let kept = ledger.snapshot(SNAPSHOT, folds::FORM);
        // A snapshot that cannot be read is one that is not there.
        let folds = kept.and_then(|kept| Folds::read(kept.body).ok()).unwrap_or_default();
        let (project, kept) = (project.to_owned(), folds.next);
        let mut state = Self { project, folds, approval: None, ids: None, kept };
        state.approval = state.folds.approval.map(|at| read_approval(ledger, at)).transpose()?.flatten();
        state.catch_up(ledger)?;
        Ok(state)
    }

    /// Returns the state of a ledger from its events alone, whatever snapshot it has.
    pub fn rebuild(project: &str, ledger: &Arc<Ledger>) -> Result<Self, Failure> {
        let (project, folds) = (project.to_owned(), Folds::default());
        let ids = Some(Ids::default());
        let mut state = Self { project, folds, approval: None, ids, kept: Position(0) };
        state.catch_up(ledger)?;
        Ok(state)
    }

    /// Reads the ids by which the destination knows every record of ours, if they are not known yet: for whoever is going to write.
    /// What lands from then on is known, too.
    pub fn know_ids(&mut self, ledger: &Arc<Ledger>) -> Result<(), Failure> {
        self.catch_up(ledger)?;
        if self.ids.is_none() {
            self.ids = Some(read_ids(ledger, &self.folds)?);
        }
        Ok(())
    }

    /// Returns the canonical bytes of the folds: equal states have equal ones.
    pub fn canonical(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.folds.write(&mut bytes).map_err(|e| Failure::failed(format!("the state cannot be written: {e}")))?;
        Ok(bytes)
    }

    /// Takes in every event that the ledger has acknowledged since the last time.
    pub fn catch_up(&mut self, ledger: &Arc<Ledger>) -> Result<(), Failure> {
        let events = ledger.reader().read(self.folds.next.., needs_content);
        for event in events {
            let (envelope, opened) = event?;
            self.apply(&envelope, opened)?;
        }
        Ok(())
    }

    /// Keeps a snapshot, if taking in what came since the last one would take a while.
    pub fn keep(&mut self, ledger: &Ledger) -> Result<(), Failure> {
        if self.folds.next.0 < self.kept.0 + WORTH.max(self.kept.0 / 16) {
            return Ok(());
        }
        self.folds.compact();
        let write = |to: &mut dyn std::io::Write| self.folds.write(to).map_err(std::io::Error::other);
        match ledger.keep_snapshot(SNAPSHOT, folds::FORM, self.folds.next, write) {
            Ok(_) => {}
            // The ledger does without: a snapshot saves time and nothing else.
            Err(error) => tracing::warn!(%error, "no snapshot could be kept"),
        }
        self.kept = self.folds.next;
        Ok(())
    }

    fn apply(&mut self, envelope: &Envelope, opened: Opened) -> Result<(), Failure> {
        self.folds.apply(envelope).map_err(|e| Failure::ledger(e.to_string()))?;
        match (&envelope.event, opened) {
            (Event::PlanApproved { .. }, Opened::Content(content)) => {
                self.approval = Some(approval_of(envelope.position, content)?);
            }
            (
                Event::WriteConfirmed { destination, .. } | Event::IdentityLinked { destination, .. },
                Opened::Content(Content::DestinationId { id, .. }),
            ) => {
                if let (Some(ids), Some(target)) = (&mut self.ids, self.folds.landing.owner_index(*destination)) {
                    ids.insert(target, &id);
                }
            }
            (Event::SubjectErased { erased }, _) => {
                // As if its contents had never been readable.
                for destination in self.folds.landing.of(*erased).filter_map(|landed| landed.destination) {
                    if let (Some(ids), Some(target)) = (&mut self.ids, self.folds.landing.owner_index(destination)) {
                        ids.remove(target);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns what has been read of the source.
    pub fn intake(&self) -> &Intake {
        &self.folds.intake
    }

    /// Returns where every record lives.
    pub fn landing(&self) -> &Landing {
        &self.folds.landing
    }

    /// Returns the accounts of law 9.
    pub fn accounts(&self) -> &Accounts {
        &self.folds.accounts
    }

    /// Returns every run, in order.
    pub fn runs(&self) -> &[Run] {
        &self.folds.runs
    }

    /// Returns the latest approval.
    pub fn approval(&self) -> Option<&Approval> {
        self.approval.as_ref()
    }

    /// Returns the latest baseline of an object.
    pub fn baseline(&self, object: waybill_ledger::NameId) -> Option<&Baseline> {
        self.folds.baselines.get(&object)
    }

    /// Returns the remote job that was opened for a batch.
    pub fn job(&self, ledger: &Ledger, batch: waybill_ledger::BatchId) -> Result<Option<String>, Failure> {
        let Some(at) = self.folds.jobs.get(&batch) else { return Ok(None) };
        Ok(match ledger.reader().at(*at)?.map(|(_, opened)| opened) {
            Some(Opened::Content(Content::Text(job))) => Some(job),
            _ => None,
        })
    }

    /// Returns the number of the next batch.
    pub fn next_batch(&mut self) -> waybill_ledger::BatchId {
        self.folds.batches += 1;
        waybill_ledger::BatchId(self.folds.batches)
    }

    /// Returns the number of the next run.
    pub fn next_run(&self) -> RunId {
        RunId(self.runs().last().map_or(1, |run| run.id.0 + 1))
    }

    /// Returns the last run that writes records, if it is of this kind and plan and has not ended.
    pub fn unfinished(&self, kind: RunKind, plan: Option<Digest>) -> Option<RunId> {
        let writes =
            |run: &&Run| matches!(run.kind, RunKind::Sample | RunKind::Load | RunKind::Delta | RunKind::Rollback);
        let last = self.runs().iter().rev().find(writes)?;
        (last.kind == kind && last.plan == plan && last.ended.is_none()).then_some(last.id)
    }

    /// Returns the id by which the destination knows a record of ours, while it is there. Only a state that was told to
    /// ([`State::know_ids`]) knows ids.
    pub fn destination_id(&self, destination: SubjectId) -> Option<String> {
        self.ids.as_ref()?.get(self.landing().owner_index(destination)?)
    }

    /// Returns how many rows of a destination object are ours and forgotten: they are there, and the ledger cannot say which.
    pub fn forgotten(&self, object: waybill_ledger::NameId) -> u64 {
        let live = self.folds.erased.iter().flat_map(|subject| self.landing().of(*subject));
        live.filter(|landed| landed.object == object && landed.is_live()).count() as u64
    }

    /// Returns how many subjects were forgotten.
    pub(crate) fn forgotten_subjects(&self) -> usize {
        self.folds.erased.len()
    }

    /// Returns where one side was described last.
    pub fn schema_seen(&self, side: Side) -> Option<Position> {
        self.folds.schemas.get(&side).copied()
    }

    /// Returns the position up to which the state is current.
    pub fn position(&self) -> Position {
        self.folds.next
    }

    /// Returns how many writes of this kind are confirmed under the present approval.
    pub fn confirmed(&self, object: waybill_ledger::NameId, operation: Operation) -> u64 {
        self.accounts().confirmed(object, operation)
    }

    /// Returns the subject key of a constant record of the plan.
    pub fn seed_key(&self, seed: &str) -> SubjectKey {
        SubjectKey::new(format!("waybill:{}", self.project), "seed", seed)
    }
}

/// The name of the snapshot.
const SNAPSHOT: &str = "state";
/// After how many events a snapshot is worth its bytes; of a large ledger, after a sixteenth of all.
const WORTH: u64 = 8_192;

/// Chooses the events whose content the state needs; all others stay sealed.
fn needs_content(envelope: &Envelope) -> bool {
    matches!(envelope.event, Event::PlanApproved { .. }) || names_destination(envelope)
}

/// Returns whether an event's content is the id of a destination record.
fn names_destination(envelope: &Envelope) -> bool {
    matches!(envelope.event, Event::WriteConfirmed { operation: Operation::Create, .. } | Event::IdentityLinked { .. })
}

fn read_approval(ledger: &Ledger, at: Position) -> Result<Option<Approval>, Failure> {
    match ledger.reader().at(at)?.map(|(_, opened)| opened) {
        Some(Opened::Content(content)) => approval_of(at, content).map(Some),
        // Whoever has no keys sees that there is one, and not what it says.
        Some(Opened::Locked) => Ok(None),
        _ => Err(Failure::ledger(format!("the approval at position {at} cannot be read"))),
    }
}

fn approval_of(at: Position, content: Content) -> Result<Approval, Failure> {
    let damaged = |what: String| Failure::ledger(format!("the approval at position {at} is damaged: {what}"));
    let Content::Document { text, .. } = content else { return Err(damaged("it is no document".to_owned())) };
    let approval: Approval = serde_json::from_str(&text).map_err(|e| damaged(e.to_string()))?;
    Ok(Approval { position: Some(at), ..approval })
}

/// Returns the bytes over which a content's digest is taken.
pub fn canonical(content: &Content) -> Result<Vec<u8>, Failure> {
    waybill_ledger::codec::encode(content).map_err(|e| Failure::failed(format!("a record cannot be encoded: {e}")))
}

/// Reads the ids of every record that is there.
fn read_ids(ledger: &Ledger, folds: &Folds) -> Result<Ids, Failure> {
    let mut ids = Ids::default();
    let query = Query::of(&["WriteConfirmed", "IdentityLinked"]);
    for event in ledger.reader().find(query, ..folds.next, names_destination) {
        let (envelope, opened) = event?;
        let (Event::WriteConfirmed { destination, .. } | Event::IdentityLinked { destination, .. }) = envelope.event
        else {
            continue;
        };
        if let (Opened::Content(Content::DestinationId { id, .. }), Some(target)) =
            (opened, folds.landing.owner_index(destination))
        {
            ids.insert(target, &id);
        }
    }
    Ok(ids)
}
