//! What the ledger says, held in memory: nothing but folds, fed by replay alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use waybill_ledger::{
    Content, Digest, Envelope, Event, Position, RunId, SubjectId, SubjectKey,
    event::{Operation, RunKind, RunOutcome, Side},
    ledger::{Ledger, Opened},
};
use waybill_projector::{accounting::Accounts, delta::Intake, landing::Landing};

use crate::failure::Failure;

/// The folds of a project.
#[derive(Debug)]
pub struct State {
    project: String,
    next: Position,
    intake: Intake,
    landing: Landing,
    accounts: Accounts,
    runs: Vec<Run>,
    approval: Option<Approval>,
    ids: DestinationIds,
    /// Baselines by destination object, in the order of the parts.
    baselines: BTreeMap<waybill_ledger::NameId, Baseline>,
    jobs: BTreeMap<waybill_ledger::BatchId, String>,
    batches: u64,
    schemas: BTreeMap<Side, Position>,
    erased: BTreeSet<SubjectId>,
}

/// A run as the ledger tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// What it does.
    pub kind: RunKind,
    /// The plan it runs under.
    pub plan: Option<Digest>,
    /// Its first event.
    pub began: Position,
    /// When it began.
    pub at: waybill_ledger::Micros,
    /// Its last event and how it ended.
    pub ended: Option<(Position, RunOutcome)>,
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

/// A baseline of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Baseline {
    /// Where its parts stand.
    pub parts: Vec<Position>,
    /// Rows in all parts.
    pub rows: u64,
    /// Whether it is whole.
    pub complete: bool,
}

impl State {
    /// Returns the state of an empty ledger.
    pub fn new(project: &str) -> Self {
        Self {
            project: project.to_owned(),
            next: Position(0),
            intake: Intake::default(),
            landing: Landing::default(),
            accounts: Accounts::default(),
            runs: Vec::new(),
            approval: None,
            ids: DestinationIds::default(),
            baselines: BTreeMap::new(),
            jobs: BTreeMap::new(),
            batches: 0,
            schemas: BTreeMap::new(),
            erased: BTreeSet::new(),
        }
    }

    /// Takes in every event that the ledger has acknowledged since the last time.
    pub fn catch_up(&mut self, ledger: &Arc<Ledger>) -> Result<(), Failure> {
        let events = ledger.reader().read(self.next.., needs_content);
        for event in events {
            let (envelope, opened) = event?;
            self.next = envelope.position.next();
            self.apply(&envelope, opened)?;
        }
        Ok(())
    }

    fn apply(&mut self, envelope: &Envelope, opened: Opened) -> Result<(), Failure> {
        self.intake.apply(envelope);
        self.landing.apply(envelope).map_err(|e| Failure::ledger(e.to_string()))?;
        self.accounts.apply(envelope);
        let content = match opened {
            Opened::Content(content) => Some(content),
            Opened::Nothing | Opened::Erased | Opened::Locked => None,
        };
        match (&envelope.event, content) {
            (Event::RunStarted { kind, plan }, _) => {
                if let Some(id) = envelope.run {
                    let (began, at) = (envelope.position, envelope.time);
                    self.runs.push(Run { id, kind: *kind, plan: *plan, began, at, ended: None });
                }
            }
            (Event::RunEnded { outcome }, _) => {
                if let Some(run) = self.runs.iter_mut().find(|run| Some(run.id) == envelope.run) {
                    run.ended = Some((envelope.position, *outcome));
                }
            }
            (Event::PlanApproved { .. }, Some(Content::Document { text, .. })) => {
                let mut approval: Approval = serde_json::from_str(&text).map_err(|e| {
                    Failure::ledger(format!("the approval at position {} is damaged: {e}", envelope.position))
                })?;
                approval.position = Some(envelope.position);
                self.approval = Some(approval);
            }
            (
                Event::WriteConfirmed { destination, .. } | Event::IdentityLinked { destination, .. },
                Some(Content::DestinationId { id, .. }),
            ) => {
                if let Some(target) = self.landing.owner_index(*destination) {
                    self.ids.insert(target, &id);
                }
            }
            (Event::SubjectErased { erased }, _) => {
                // As if its contents had never been readable.
                self.erased.insert(*erased);
                for destination in self.landing.of(*erased).filter_map(|landed| landed.destination) {
                    if let Some(target) = self.landing.owner_index(destination) {
                        self.ids.remove(target);
                    }
                }
            }
            (Event::BaselineTaken { object, rows, complete, .. }, _) => {
                let baseline = self.baselines.entry(*object).or_default();
                if baseline.complete {
                    *baseline = Baseline::default();
                }
                baseline.parts.push(envelope.position);
                baseline.rows += rows;
                baseline.complete = *complete;
            }
            (Event::RemoteJobOpened, Some(Content::Text(job))) => {
                if let Some(batch) = envelope.batch {
                    self.jobs.insert(batch, job);
                }
            }
            (Event::SchemaSeen { side, .. }, _) => {
                self.schemas.insert(*side, envelope.position);
            }
            (Event::BatchFormed { .. }, _) => {
                self.batches = self.batches.max(envelope.batch.map_or(0, |batch| batch.0));
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns what has been read of the source.
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Returns where every record lives.
    pub fn landing(&self) -> &Landing {
        &self.landing
    }

    /// Returns the accounts of law 9.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Returns every run, in order.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Returns the latest approval.
    pub fn approval(&self) -> Option<&Approval> {
        self.approval.as_ref()
    }

    /// Returns the latest baseline of an object.
    pub fn baseline(&self, object: waybill_ledger::NameId) -> Option<&Baseline> {
        self.baselines.get(&object)
    }

    /// Returns the remote job that was opened for a batch.
    pub fn job(&self, batch: waybill_ledger::BatchId) -> Option<&str> {
        self.jobs.get(&batch).map(String::as_str)
    }

    /// Returns the number of the next batch.
    pub fn next_batch(&mut self) -> waybill_ledger::BatchId {
        self.batches += 1;
        waybill_ledger::BatchId(self.batches)
    }

    /// Returns the number of the next run.
    pub fn next_run(&self) -> RunId {
        RunId(self.runs.last().map_or(1, |run| run.id.0 + 1))
    }

    /// Returns the last run that writes records, if it is of this kind and plan and has not ended.
    pub fn unfinished(&self, kind: RunKind, plan: Option<Digest>) -> Option<RunId> {
        let writes =
            |run: &&Run| matches!(run.kind, RunKind::Sample | RunKind::Load | RunKind::Delta | RunKind::Rollback);
        let last = self.runs.iter().rev().find(writes)?;
        (last.kind == kind && last.plan == plan && last.ended.is_none()).then_some(last.id)
    }

    /// Returns the id by which the destination knows a record of ours, while it is there.
    pub fn destination_id(&self, destination: SubjectId) -> Option<String> {
        self.ids.get(self.landing.owner_index(destination)?)
    }

    /// Returns how many rows of a destination object are ours and forgotten: they are there, and the ledger cannot say which.
    pub fn forgotten(&self, object: waybill_ledger::NameId) -> u64 {
        let live = self.erased.iter().flat_map(|subject| self.landing.of(*subject));
        live.filter(|landed| landed.object == object && landed.is_live()).count() as u64
    }

    /// Returns where one side was described last.
    pub fn schema_seen(&self, side: Side) -> Option<Position> {
        self.schemas.get(&side).copied()
    }

    /// Returns the position up to which the state is current.
    pub fn position(&self) -> Position {
        self.next
    }

    /// Returns how many writes of this kind are confirmed under the present approval.
    pub fn confirmed(&self, object: waybill_ledger::NameId, operation: Operation) -> u64 {
        self.accounts.confirmed(object, operation)
    }

    /// Returns the subject key of a constant record of the plan.
    pub fn seed_key(&self, seed: &str) -> SubjectKey {
        SubjectKey::new(format!("waybill:{}", self.project), "seed", seed)
    }
}

/// Chooses the events whose content the state needs; all others stay sealed.
fn needs_content(envelope: &Envelope) -> bool {
    matches!(
        envelope.event,
        Event::PlanApproved { .. }
            | Event::WriteConfirmed { operation: Operation::Create, .. }
            | Event::IdentityLinked { .. }
            | Event::RemoteJobOpened
    )
}

/// Returns the bytes over which a content's digest is taken.
pub fn canonical(content: &Content) -> Result<Vec<u8>, Failure> {
    waybill_ledger::codec::encode(content).map_err(|e| Failure::failed(format!("a record cannot be encoded: {e}")))
}

/// Destination ids by the number of the target that lives there, in a few bytes each: short ids lie in place, long ones
/// apart.
#[derive(Debug, Default)]
struct DestinationIds {
    short: Vec<[u8; 19]>,
    long: BTreeMap<usize, Box<str>>,
}

impl DestinationIds {
    fn insert(&mut self, slot: usize, id: &str) {
        if self.short.len() <= slot {
            self.short.resize(slot + 1, [0; 19]);
        }
        let mut packed = [0; 19];
        if id.len() < packed.len() {
            packed[0] = u8::try_from(id.len()).unwrap_or(0);
            packed[1..=id.len()].copy_from_slice(id.as_bytes());
        } else {
            self.long.insert(slot, id.into());
        }
        self.short[slot] = packed;
    }

    fn remove(&mut self, slot: usize) {
        if let Some(packed) = self.short.get_mut(slot) {
            *packed = [0; 19];
        }
        self.long.remove(&slot);
    }

    fn get(&self, slot: usize) -> Option<String> {
        let packed = self.short.get(slot)?;
        match packed[0] {
            0 => self.long.get(&slot).map(|id| String::from(&**id)),
            length => std::str::from_utf8(&packed[1..=usize::from(length)]).ok().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destination_ids_of_any_length_read_back() {
        let mut ids = DestinationIds::default();
        ids.insert(7, "0015500001QdQWfAAN");
        ids.insert(3, "20202020-1c25-4d02-bf25-6aeccf7ea419");
        assert_eq!(ids.get(7).as_deref(), Some("0015500001QdQWfAAN"));
        assert_eq!(ids.get(3).as_deref(), Some("20202020-1c25-4d02-bf25-6aeccf7ea419"));
        ids.remove(3);
        ids.remove(7);
        assert_eq!((ids.get(3), ids.get(7)), (None, None));
        assert_eq!(ids.get(4), None);
        assert_eq!(ids.get(400), None);
    }
}
