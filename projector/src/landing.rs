//! Where every source record lives at the destination, and how far each write has come.
//!
//! A dense fold: one entry per target (subject, rule, part), in the order in which targets first appear. It keeps no
//! content: destination ids and field values are read from the ledger at the positions that stand here.

use waybill_ledger::{
    BatchId, Envelope, Event, NameId, Position, RunId, SubjectId, Target, TargetPart,
    event::{HoldReason, Operation},
};

use crate::writes::{IllegalTransition, WriteEvent, WriteState};

/// What is known of one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landed {
    /// Whose target it is.
    pub target: Target,
    /// The destination object, once known.
    pub object: NameId,
    /// How far the latest write has come.
    pub write: WriteState,
    /// What the latest write does.
    pub operation: Operation,
    /// The destination record, while it exists as far as we know.
    pub destination: Option<SubjectId>,
    /// Whether we created the destination record (otherwise it was there before us).
    pub created: bool,
    /// The mapping that the destination record holds by our latest confirmed write.
    pub mapped: Option<Position>,
    /// The first bytes of the digest of that mapping.
    pub digest: [u8; 8],
    /// The latest confirmed create of the destination record, or the link to it.
    pub since: Option<Position>,
    /// The latest after-image.
    pub after: Option<Position>,
    /// The latest intent, confirmed or not.
    pub intended: Option<Position>,
    /// The batch of the latest intent.
    pub batch: Option<BatchId>,
    /// The run of the latest confirmed write.
    pub run: Option<RunId>,
    /// The latest mapping, confirmed or not.
    pending: Option<(Position, [u8; 8])>,
    /// How many destination records this target has had.
    pub generation: u16,
    /// The next target of the same subject, as its index plus one.
    next: u32,
}

impl Landed {
    /// Returns whether the destination record exists as far as we know.
    pub fn is_live(&self) -> bool {
        self.destination.is_some()
    }

    /// Returns whether a write has left, or may have left, without an outcome.
    pub fn is_open(&self) -> bool {
        self.write.is_open()
    }

    /// Returns the latest mapping, whether or not its write is confirmed.
    pub fn latest_mapping(&self) -> Option<Position> {
        self.pending.map(|(position, _)| position)
    }
}

/// The fold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Landing {
    /// Subject to the index of its first target plus one.
    first: Vec<u32>,
    entries: Vec<Landed>,
    /// Destination subject to the index of its target plus one.
    ours: Vec<u32>,
    open: std::collections::BTreeSet<u32>,
}

impl Landing {
    /// Takes in one event. An event that cannot follow means a corrupt ledger.
    pub fn apply(&mut self, envelope: &Envelope) -> Result<(), IllegalTransition> {
        let (Some(subject), Some(part)) = (envelope.subject, envelope.target) else { return Ok(()) };
        let at = envelope.position;
        let target = Target { subject, part };
        let moved = match &envelope.event {
            Event::RecordMapped { object, digest } => {
                let entry = self.entry(target);
                let mut short = [0; 8];
                short.copy_from_slice(&digest.0[..8]);
                entry.object = *object;
                entry.pending = Some((at, short));
                return Ok(());
            }
            Event::IdentityLinked { destination, .. } => {
                let index = self.index(target);
                let entry = &mut self.entries[index];
                entry.destination = Some(*destination);
                entry.created = false;
                entry.since = Some(at);
                entry.generation += 1;
                self.own(*destination, index);
                return Ok(());
            }
            Event::IdentityUnlinked { destination } => {
                let index = self.index(target);
                self.entries[index].destination = None;
                self.entries[index].mapped = None;
                self.disown(*destination);
                return Ok(());
            }
            Event::AfterImageTaken { .. } => {
                self.entry(target).after = Some(at);
                return Ok(());
            }
            Event::WriteIntended { object, operation, .. } => {
                let entry = self.entry(target);
                entry.object = *object;
                entry.operation = *operation;
                entry.intended = Some(at);
                entry.batch = envelope.batch;
                WriteEvent::Intended
            }
            Event::WriteUnknown { .. } => WriteEvent::AnswerLost,
            Event::WriteRejected { .. } => WriteEvent::Rejected,
            Event::WriteConfirmed { .. } => WriteEvent::Confirmed,
            _ => return Ok(()),
        };
        let index = self.index(target);
        let entry = &mut self.entries[index];
        entry.write = entry.write.next(at, moved)?;
        if let Event::WriteConfirmed { destination, operation } = &envelope.event {
            entry.run = envelope.run;
            match operation {
                Operation::Create => {
                    entry.destination = Some(*destination);
                    entry.created = true;
                    entry.since = Some(at);
                    entry.generation += 1;
                    entry.after = None;
                }
                Operation::Update | Operation::Nothing => {}
                Operation::Delete => {
                    entry.destination = None;
                    entry.mapped = None;
                    entry.after = None;
                    entry.pending = None;
                }
            }
            if let Some((position, digest)) = entry.pending {
                entry.mapped = Some(position);
                entry.digest = digest;
            }
            match operation {
                Operation::Create => self.own(*destination, index),
                Operation::Delete => self.disown(*destination),
                Operation::Update | Operation::Nothing => {}
            }
        }
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        if self.entries[index].is_open() {
            self.open.insert(number);
        } else {
            self.open.remove(&number);
        }
        Ok(())
    }

    fn own(&mut self, destination: SubjectId, index: usize) {
        let slot = destination.0 as usize;
        if self.ours.len() <= slot {
            self.ours.resize(slot + 1, 0);
        }
        self.ours[slot] = u32::try_from(index + 1).unwrap_or(u32::MAX);
    }

    fn disown(&mut self, destination: SubjectId) {
        if let Some(owner) = self.ours.get_mut(destination.0 as usize) {
            *owner = 0;
        }
    }

    fn find(&self, target: Target) -> Option<usize> {
        let mut at = *self.first.get(target.subject.0 as usize)?;
        while at != 0 {
            let index = at as usize - 1;
            let entry = self.entries.get(index)?;
            if entry.target.part == target.part {
                return Some(index);
            }
            at = entry.next;
        }
        None
    }

    fn index(&mut self, target: Target) -> usize {
        if let Some(index) = self.find(target) {
            return index;
        }
        let slot = target.subject.0 as usize;
        if self.first.len() <= slot {
            self.first.resize(slot + 1, 0);
        }
        let index = self.entries.len();
        self.entries.push(Landed {
            target,
            object: NameId(0),
            write: WriteState::Planned,
            operation: Operation::Nothing,
            destination: None,
            created: false,
            mapped: None,
            digest: [0; 8],
            since: None,
            after: None,
            intended: None,
            batch: None,
            run: None,
            pending: None,
            generation: 0,
            next: self.first[slot],
        });
        self.first[slot] = u32::try_from(index + 1).unwrap_or(u32::MAX);
        index
    }

    fn entry(&mut self, target: Target) -> &mut Landed {
        let index = self.index(target);
        &mut self.entries[index]
    }

    /// Returns what is known of a target.
    pub fn get(&self, target: Target) -> Option<&Landed> {
        self.find(target).map(|index| &self.entries[index])
    }

    /// Returns every target of a subject, the latest first.
    pub fn of(&self, subject: SubjectId) -> impl Iterator<Item = &Landed> {
        let mut at = self.first.get(subject.0 as usize).copied().unwrap_or(0);
        std::iter::from_fn(move || {
            let entry = self.entries.get((at as usize).checked_sub(1)?)?;
            at = entry.next;
            Some(entry)
        })
    }

    /// Returns the target that lives in a destination record, if one of ours does.
    pub fn owner(&self, destination: SubjectId) -> Option<&Landed> {
        let index = (*self.ours.get(destination.0 as usize)? as usize).checked_sub(1)?;
        self.entries.get(index)
    }

    /// Returns every target, in the order in which they first appeared.
    pub fn all(&self) -> impl Iterator<Item = &Landed> {
        self.entries.iter()
    }

    /// Returns the targets whose latest write has no outcome.
    pub fn open(&self) -> impl Iterator<Item = &Landed> {
        self.open.iter().filter_map(|index| self.entries.get(*index as usize))
    }

    /// Returns the target of a rule's only part.
    pub fn of_rule(&self, subject: SubjectId, rule: NameId) -> Option<&Landed> {
        self.get(Target { subject, part: TargetPart { rule, part: 0 } })
    }
}

/// Returns whether a hold concerns the destination rather than the record itself.
pub fn is_destination_hold(reason: HoldReason) -> bool {
    matches!(
        reason,
        HoldReason::Rejected
            | HoldReason::Undetermined
            | HoldReason::Conflict
            | HoldReason::TargetGone
            | HoldReason::Ambiguous
    )
}
