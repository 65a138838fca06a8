//! The two identities of accountability (law 9).
//!
//! Source, per object: read = landed + partly landed + merged + deleted + held + skipped + unreadable + waiting, exactly
//! one each; after a complete run nothing is waiting. Targets, per run and object: planned = created + updated + no-op +
//! deleted + rejected + open; after a complete run nothing is open but what is held as undetermined.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};
use waybill_ledger::{
    Envelope, Event, NameId, RunId, SubjectId, TargetPart,
    event::{Operation, RunKind},
};

use crate::{
    delta::{Intake, ObjectIntake},
    landing::Landing,
};

/// What became of the writes of one run to one destination object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, Encode, Decode)]
pub struct TargetAccount {
    /// Intents.
    pub planned: u64,
    /// Rows created.
    pub created: u64,
    /// Rows changed.
    pub updated: u64,
    /// Rows that already were as they should be.
    pub nothing: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// Writes that were refused or never left.
    pub rejected: u64,
}

impl TargetAccount {
    /// Returns the intents without an outcome.
    pub fn open(&self) -> u64 {
        self.planned - self.created - self.updated - self.nothing - self.deleted - self.rejected
    }
}

/// What became of the records of one source object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct SourceAccount {
    /// Records and rows that were read.
    pub read: u64,
    /// Records whose every target is there.
    pub landed: u64,
    /// Records of which a part is there and a part waits.
    pub partly: u64,
    /// Records that went into a target of another record.
    pub merged: u64,
    /// Records that the source deleted.
    pub deleted: u64,
    /// Records that wait for a person.
    pub held: u64,
    /// Records that the plan does not carry.
    pub skipped: u64,
    /// Rows that could not be read.
    pub unreadable: u64,
    /// Records that no run has come to yet.
    pub waiting: u64,
}

impl SourceAccount {
    /// Returns whether every record is accounted for exactly once.
    pub fn balances(&self) -> bool {
        let parts = self.landed + self.partly + self.merged + self.deleted + self.held + self.skipped + self.unreadable;
        self.read == parts + self.waiting
    }

    /// Counts the records of every source object that was read.
    pub fn all(intake: &Intake, landing: &Landing) -> BTreeMap<NameId, Self> {
        let begin = |object: NameId, known: &ObjectIntake| {
            let merged = intake.merged(object).min(known.gone);
            Self {
                read: known.live + known.gone + known.unreadable,
                deleted: known.gone - merged,
                merged,
                unreadable: known.unreadable,
                ..Self::default()
            }
        };
        let mut all: BTreeMap<NameId, Self> =
            intake.objects().map(|(object, known)| (object, begin(object, known))).collect();
        let anything_waits = intake.is_waiting();
        for (subject, seen) in intake.records().filter(|(_, seen)| seen.live) {
            let Some(account) = all.get_mut(&seen.object) else { continue };
            let lives = landing.lives(subject);
            let held = anything_waits && intake.hold(subject).is_some();
            let part = match (lives, held, seen.skipped, seen.merged) {
                (true, true, ..) => &mut account.partly,
                (true, false, ..) => &mut account.landed,
                (false, true, ..) => &mut account.held,
                (false, false, _, true) => &mut account.merged,
                (false, false, true, false) => &mut account.skipped,
                (false, false, false, false) => &mut account.waiting,
            };
            *part += 1;
        }
        all
    }
}

/// The fold of the second identity, and of what an approval has been used for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Accounts {
    runs: BTreeMap<(RunId, NameId), TargetAccount>,
    kinds: BTreeMap<RunId, RunKind>,
    /// The object of each intent that has no outcome yet.
    open: BTreeMap<(SubjectId, TargetPart), (Option<RunId>, NameId)>,
    /// Confirmed writes under the present approval, without those that take back.
    used: BTreeMap<(NameId, Operation), u64>,
}

impl Accounts {
    /// Takes in one event.
    pub fn apply(&mut self, envelope: &Envelope) {
        match (&envelope.event, envelope.run) {
            (Event::RunStarted { kind, .. }, Some(run)) => {
                self.kinds.insert(run, *kind);
            }
            (Event::PlanApproved { .. }, _) => self.used.clear(),
            _ => {}
        }
        let (Some(subject), Some(part)) = (envelope.subject, envelope.target) else { return };
        let target = (subject, part);
        match &envelope.event {
            Event::WriteIntended { object, .. } => {
                self.open.insert(target, (envelope.run, *object));
                if let Some(run) = envelope.run {
                    self.runs.entry((run, *object)).or_default().planned += 1;
                }
            }
            Event::WriteConfirmed { operation, .. } => {
                let Some((run, object)) = self.open.remove(&target) else { return };
                // The outcome belongs to the run that meant it, also when a later one found it out.
                if let Some(run) = run {
                    let account = self.runs.entry((run, object)).or_default();
                    *match operation {
                        Operation::Create => &mut account.created,
                        Operation::Update => &mut account.updated,
                        Operation::Delete => &mut account.deleted,
                        Operation::Nothing => &mut account.nothing,
                    } += 1;
                }
                let takes_back = run.and_then(|run| self.kinds.get(&run)) == Some(&RunKind::Rollback);
                if !takes_back {
                    *self.used.entry((object, *operation)).or_default() += 1;
                    return;
                }
                // What was taken back can be written again under the same approval.
                let undone = match operation {
                    Operation::Create => Operation::Delete,
                    Operation::Delete => Operation::Create,
                    same => *same,
                };
                let used = self.used.entry((object, undone)).or_default();
                *used = used.saturating_sub(1);
            }
            Event::WriteRejected { .. } => {
                if let Some((Some(run), object)) = self.open.remove(&target) {
                    self.runs.entry((run, object)).or_default().rejected += 1;
                }
            }
            _ => {}
        }
    }

    /// Returns the account of one run, by destination object.
    pub fn run(&self, run: RunId) -> impl Iterator<Item = (NameId, &TargetAccount)> {
        self.runs.range((run, NameId(0))..=(run, NameId(u32::MAX))).map(|((_, object), account)| (*object, account))
    }

    /// Returns how many writes of this kind the present approval has been used for.
    pub fn confirmed(&self, object: NameId, operation: Operation) -> u64 {
        self.used.get(&(object, operation)).copied().unwrap_or(0)
    }

    /// Returns how many intents have no outcome.
    pub fn open(&self) -> u64 {
        self.open.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use waybill_ledger::{Micros, Position, Target, event::UnknownCause};

    use super::*;
    use crate::writes::{WriteEvent, WriteState};

    fn envelope(at: u64, target: Target, event: Event) -> Envelope {
        Envelope {
            position: Position(at),
            time: Micros(0),
            run: Some(RunId(1)),
            actor: NameId(1),
            causes: Vec::new(),
            subject: Some(target.subject),
            target: Some(target.part),
            batch: None,
            event,
            content: None,
        }
    }

    proptest! {
        /// Whatever happens to writes, every intent has one outcome or is open.
        #[test]
        fn planned_is_the_sum_of_its_outcomes(steps in prop::collection::vec((0u32..5, 0u8..4, 0u8..4), 0..200)) {
            let operations = [Operation::Create, Operation::Update, Operation::Delete, Operation::Nothing];
            let mut accounts = Accounts::default();
            let mut states: BTreeMap<u32, (WriteState, Operation)> = BTreeMap::new();
            for (at, (subject, step, operation)) in steps.into_iter().enumerate() {
                let target = Target { subject: SubjectId(subject), part: TargetPart { rule: NameId(2), part: 0 } };
                let (state, meant) = states.entry(subject).or_insert((WriteState::Planned, Operation::Nothing));
                let operation = operations[usize::from(operation)];
                let (moved, event) = match step {
                    0 => (WriteEvent::Intended, Event::WriteIntended { object: NameId(3), operation, inverts: None }),
                    1 => (WriteEvent::AnswerLost, Event::WriteUnknown { cause: UnknownCause::Timeout }),
                    2 => (WriteEvent::Rejected, Event::WriteRejected { code: NameId(4) }),
                    _ => (WriteEvent::Confirmed, Event::WriteConfirmed { destination: SubjectId(9), operation: *meant }),
                };
                let Ok(next) = state.next(Position(0), moved) else { continue };
                *state = next;
                if moved == WriteEvent::Intended {
                    *meant = operation;
                }
                accounts.apply(&envelope(at as u64, target, event));
                let open = states.values().filter(|(state, _)| state.is_open()).count() as u64;
                let account = accounts.run(RunId(1)).next().map(|(_, account)| *account).unwrap_or_default();
                prop_assert_eq!(account.open(), open);
                prop_assert_eq!(accounts.open(), open);
            }
        }
    }
}
