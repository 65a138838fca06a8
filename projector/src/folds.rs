//! Everything that the ledger says of a project, as one fold with a canonical snapshot.
//!
//! It holds no content: where a content matters, its position stands here. A snapshot is its encoded bytes; a snapshot and
//! the events after it give the same bytes as all events from the beginning.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
};

use bincode::{
    Decode, Encode, config,
    error::{DecodeError, EncodeError},
};
use waybill_ledger::{
    BatchId, Digest, Envelope, Event, Micros, NameId, Position, RunId, SubjectId,
    event::{RunKind, RunOutcome, Side},
};

use crate::{accounting::Accounts, delta::Intake, landing::Landing, writes::IllegalTransition};

/// The form of a snapshot. It changes whenever a fold does: snapshots of another form are thrown away.
pub const FORM: u32 = 11;

/// A run as the ledger tells it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
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
    pub at: Micros,
    /// Its last event and how it ended.
    pub ended: Option<(Position, RunOutcome)>,
}

/// A baseline of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Baseline {
    /// Where its parts stand.
    pub parts: Vec<Position>,
    /// Rows in all parts.
    pub rows: u64,
    /// Whether it is whole.
    pub complete: bool,
}

/// The folds of a project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Folds {
    /// The position after the last event that was taken in.
    pub next: Position,
    /// What has been read of the source.
    pub intake: Intake,
    /// Where every record lives.
    pub landing: Landing,
    /// The accounts of law 9.
    pub accounts: Accounts,
    /// Every run, in order.
    pub runs: Vec<Run>,
    /// The latest approval.
    pub approval: Option<Position>,
    /// Baselines by destination object, in the order of the parts.
    pub baselines: BTreeMap<NameId, Baseline>,
    /// The events that name the remote jobs of batches.
    pub jobs: BTreeMap<BatchId, Position>,
    /// How many batches were formed.
    pub batches: u64,
    /// Where each side was described last.
    pub schemas: BTreeMap<Side, Position>,
    /// Who was forgotten.
    pub erased: BTreeSet<SubjectId>,
}

impl Folds {
    /// Takes in the next event. An event that cannot follow means a corrupt ledger.
    pub fn apply(&mut self, envelope: &Envelope) -> Result<(), IllegalTransition> {
        self.landing.apply(envelope)?;
        self.intake.apply(envelope);
        self.accounts.apply(envelope);
        let at = envelope.position;
        match &envelope.event {
            Event::RunStarted { kind, plan } => {
                if let Some(id) = envelope.run {
                    self.runs.push(Run { id, kind: *kind, plan: *plan, began: at, at: envelope.time, ended: None });
                }
            }
            Event::RunEnded { outcome } => {
                if let Some(run) = self.runs.iter_mut().find(|run| Some(run.id) == envelope.run) {
                    run.ended = Some((at, *outcome));
                }
            }
            Event::PlanApproved { .. } => self.approval = Some(at),
            Event::SubjectErased { erased } => {
                self.erased.insert(*erased);
            }
            Event::BaselineTaken { object, rows, complete, .. } => {
                let baseline = self.baselines.entry(*object).or_default();
                if baseline.complete {
                    *baseline = Baseline::default();
                }
                baseline.parts.push(at);
                baseline.rows += rows;
                baseline.complete = *complete;
            }
            Event::RemoteJobOpened => {
                if let Some(batch) = envelope.batch {
                    self.jobs.insert(batch, at);
                }
            }
            Event::SchemaSeen { side, .. } => {
                self.schemas.insert(*side, at);
            }
            Event::BatchFormed { .. } => {
                self.batches = self.batches.max(envelope.batch.map_or(0, |batch| batch.0));
            }
            _ => {}
        }
        self.next = at.next();
        Ok(())
    }

    /// Lets the folds take no more memory than they need now: what has just changed takes more for a while.
    pub fn compact(&mut self) {
        self.intake.compact();
        self.landing.compact();
    }

    /// Writes the snapshot. Equal folds write equal bytes.
    pub fn write(&self, mut to: &mut dyn Write) -> Result<(), EncodeError> {
        bincode::encode_into_std_write(self, &mut to, config::standard()).map(drop)
    }

    /// Reads a snapshot, which must be one that [`Folds::write`] wrote.
    pub fn read(mut from: impl Read) -> Result<Self, DecodeError> {
        bincode::decode_from_std_read(&mut from, config::standard())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use waybill_ledger::{
        Fingerprint, Target, TargetPart,
        event::{GoneHow, HoldReason, Operation, UnknownCause},
    };

    use super::*;

    /// One step of a made-up history: what is tried, with whom, and two small numbers.
    type Step = (u8, u32, u8, u8);

    fn event(folds: &Folds, step: Step) -> Envelope {
        let (what, who, a, b) = step;
        let target =
            Target { subject: SubjectId(1 + who), part: TargetPart { rule: NameId(1 + u32::from(a % 2)), part: 0 } };
        let landed = folds.landing.get(target);
        let object = NameId(5 + who % 3);
        let destination = SubjectId(100 + u32::from(a) * 7 + u32::from(b));
        let operations = [Operation::Create, Operation::Update, Operation::Delete, Operation::Nothing];
        let operation = operations[usize::from(b % 4)];
        let digest = Fingerprint([a ^ b; 16]);
        let open = landed.is_some_and(|landed| landed.is_open());
        let event = match what {
            0 | 1 => Event::RecordExtracted { object, modified: Some(Micros(i64::from(a))), digest },
            2 | 3 => Event::RecordMapped { object, digest },
            4 => Event::RecordHeld { reason: HoldReason::Undetermined },
            6..=8 if open => Event::WriteConfirmed { destination, operation: landed.unwrap().operation },
            9 if open => Event::WriteRejected { code: NameId(3) },
            10 if open => Event::WriteUnknown { cause: UnknownCause::Timeout },
            6..=10 => Event::WriteIntended { object, operation, inverts: None },
            11 => Event::AfterImageTaken { destination },
            12 => Event::SubjectErased { erased: target.subject },
            13 => Event::RunStarted { kind: RunKind::Load, plan: Some(Digest([a; 32])) },
            14 => Event::RunEnded { outcome: RunOutcome::Done },
            15 => Event::RemoteJobOpened,
            16 => Event::RecordGone { object, how: GoneHow::Deleted },
            5 => Event::IdentityUnlinked { destination: landed.and_then(|l| l.destination).unwrap_or(destination) },
            _ => Event::RecordReleased,
        };
        Envelope {
            position: folds.next,
            time: Micros(folds.next.0.cast_signed()),
            run: Some(RunId(u32::from(a % 3))),
            actor: NameId(1),
            causes: Vec::new(),
            subject: Some(target.subject),
            target: Some(target.part),
            batch: Some(BatchId(u64::from(b))),
            event,
            content: None,
        }
    }

    fn bytes(folds: &Folds) -> Vec<u8> {
        let mut bytes = Vec::new();
        folds.write(&mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn a_snapshot_and_its_tail_equal_a_full_replay_byte_for_byte(
            steps in prop::collection::vec((0u8..18, 0u32..12, any::<u8>(), any::<u8>()), 1..300),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
        ) {
            let (mut all, mut history) = (Folds::default(), Vec::new());
            for step in steps {
                let event = event(&all, step);
                all.apply(&event).unwrap();
                history.push(event);
            }
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(history.len() + 1)).collect();
            cuts.sort_unstable();
            let mut pieced = Folds::default();
            for (n, event) in history.iter().enumerate() {
                for _ in cuts.iter().filter(|cut| **cut == n) {
                    pieced = Folds::read(bytes(&pieced).as_slice()).unwrap();
                    pieced.compact();
                }
                pieced.apply(event).unwrap();
            }
            prop_assert_eq!(bytes(&pieced), bytes(&all));
            prop_assert_eq!(Folds::read(bytes(&all).as_slice()).unwrap(), all);
        }
    }
}
