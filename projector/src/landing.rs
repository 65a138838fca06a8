//! Where every source record lives at the destination, and how far each write has come.
//!
//! A dense fold: one entry per target (subject, rule, part), in the order in which targets first appear. It keeps no
//! content: destination ids and field values are read from the ledger at the positions that stand here.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};
use waybill_ledger::{
    BatchId, Envelope, Event, NameId, Position, SubjectId, Target, TargetPart,
    event::{DriftKind, Operation},
};

use crate::place::Place;
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
    /// Whether all that we ever did here is one create: then its inverse is to delete it, without looking further back.
    pub plain: bool,
    /// Whether it was found to be a record that was there before us, and no write of ours was confirmed since.
    pub untouched: bool,
    /// The mapping that the destination record holds by our latest confirmed write.
    pub mapped: Option<Position>,
    /// The first bytes of the digest of that mapping.
    pub digest: [u8; 8],
    /// The latest after-image.
    pub after: Option<Position>,
    /// The latest intent, while it has no outcome.
    pub intended: Option<Position>,
    /// The batch of that intent.
    pub batch: Option<BatchId>,
    /// Whether people were seen to have changed the destination record, whoever wrote to it last.
    pub touched: bool,
    /// How many destination records this target has had; 255 stands for more.
    pub generation: u8,
    /// The latest mapping whose write is not confirmed.
    pending: Option<Position>,
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
        self.pending.or(self.mapped)
    }
}

/// No record.
const NOBODY: u32 = u32::MAX;

/// One target in 32 bytes: there are as many as there are records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
struct Entry {
    subject: u32,
    destination: u32,
    mapped: Place,
    after: Place,
    digest: [u8; 8],
    part: u16,
    /// Its rule and object, as the number of a [`Kind`].
    kind: u16,
    generation: u8,
    /// See [`Flags`].
    flags: Flags,
}

/// What many targets have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
struct Kind {
    rule: NameId,
    object: NameId,
}

/// How far a target's latest write has come, what that write does, and what we have done to the record: in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
struct Flags(u8);

impl Flags {
    const UNTOUCHED: u8 = 1 << 5;
    const CREATED: u8 = 1 << 6;
    const CHANGED: u8 = 1 << 7;
    const WRITES: [WriteState; 5] =
        [WriteState::Planned, WriteState::Intended, WriteState::Unknown, WriteState::Confirmed, WriteState::Rejected];
    const OPERATIONS: [Operation; 4] = [Operation::Nothing, Operation::Create, Operation::Update, Operation::Delete];

    fn write(self) -> WriteState {
        Self::WRITES.get(usize::from(self.0 & 7)).copied().unwrap_or_default()
    }

    fn set_write(&mut self, write: WriteState) {
        self.0 = self.0 & !7 | index_in(&Self::WRITES, &write);
    }

    fn operation(self) -> Operation {
        Self::OPERATIONS[usize::from(self.0 >> 3 & 3)]
    }

    fn set_operation(&mut self, operation: Operation) {
        self.0 = self.0 & !(3 << 3) | index_in(&Self::OPERATIONS, &operation) << 3;
    }

    fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn set(&mut self, flag: u8, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }
}

fn index_in<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|other| other == one).and_then(|at| u8::try_from(at).ok()).unwrap_or(0)
}

/// What is known only while a write is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
struct UnderWay {
    /// The latest mapping, and the first bytes of its digest.
    pending: Option<(Position, [u8; 8])>,
    intended: Option<Position>,
    batch: Option<BatchId>,
}

/// The fold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Landing {
    /// By subject, an index plus one: of a source record its first target, of a destination record the target in it.
    slots: Vec<u32>,
    entries: Vec<Entry>,
    kinds: Vec<Kind>,
    /// By a target's index, the target that its subject had before it.
    earlier: BTreeMap<u32, u32>,
    under_way: BTreeMap<u32, UnderWay>,
    /// Targets whose records people were seen to have changed.
    touched: BTreeSet<u32>,
}

impl Landing {
    /// Takes in one event. An event that cannot follow means a corrupt ledger.
    pub fn apply(&mut self, envelope: &Envelope) -> Result<(), IllegalTransition> {
        let (Some(subject), Some(part)) = (envelope.subject, envelope.target) else { return Ok(()) };
        let at = envelope.position;
        let target = Target { subject, part };
        match &envelope.event {
            Event::RecordMapped { object, digest } => {
                let index = self.entry_of(target);
                self.set_object(index, *object);
                self.under_way(index).pending = Some((at, digest.head()));
            }
            Event::IdentityLinked { destination, .. } => {
                let index = self.entry_of(target);
                self.own(*destination, index);
                self.entries[index].flags.set(Flags::CREATED, false);
                self.entries[index].flags.set(Flags::UNTOUCHED, true);
            }
            Event::IdentityUnlinked { destination } => {
                let index = self.entry_of(target);
                self.entries[index].mapped = Place::NOWHERE;
                self.disown(*destination, index);
            }
            Event::DriftFound { destination, field: None, kind: DriftKind::Changed, .. } => {
                let index = self.entry_of(target);
                if self.entries[index].destination == destination.0 {
                    self.touched.insert(number(index));
                }
            }
            Event::AfterImageTaken { .. } => {
                let index = self.entry_of(target);
                self.entries[index].after = Place::new(at);
            }
            Event::WriteIntended { object, operation, .. } => {
                let index = self.moved(target, at, WriteEvent::Intended)?;
                self.set_object(index, *object);
                self.entries[index].flags.set_operation(*operation);
                let under_way = self.under_way(index);
                under_way.intended = Some(at);
                under_way.batch = envelope.batch;
            }
            Event::WriteUnknown { .. } => {
                self.moved(target, at, WriteEvent::AnswerLost)?;
            }
            Event::WriteRejected { .. } => {
                let index = self.moved(target, at, WriteEvent::Rejected)?;
                let under_way = self.under_way(index);
                (under_way.intended, under_way.batch) = (None, None);
            }
            Event::WriteConfirmed { destination, operation } => {
                let index = self.moved(target, at, WriteEvent::Confirmed)?;
                self.confirmed(index, *destination, *operation);
            }
            _ => {}
        }
        Ok(())
    }

    fn confirmed(&mut self, index: usize, destination: SubjectId, operation: Operation) {
        let pending = self.under_way.remove(&number(index)).and_then(|under_way| under_way.pending);
        if operation != Operation::Nothing {
            self.entries[index].flags.set(Flags::UNTOUCHED, false);
        }
        match operation {
            Operation::Create => {
                self.own(destination, index);
                let entry = &mut self.entries[index];
                entry.flags.set(Flags::CREATED, true);
                entry.after = Place::NOWHERE;
            }
            Operation::Update => self.entries[index].flags.set(Flags::CHANGED, true),
            Operation::Nothing => {}
            Operation::Delete => {
                let entry = &mut self.entries[index];
                entry.mapped = Place::NOWHERE;
                entry.after = Place::NOWHERE;
                self.disown(destination, index);
                return;
            }
        }
        if let Some((position, digest)) = pending {
            let entry = &mut self.entries[index];
            entry.mapped = Place::new(position);
            entry.digest = digest;
        }
    }

    fn moved(&mut self, target: Target, at: Position, event: WriteEvent) -> Result<usize, IllegalTransition> {
        let index = self.entry_of(target);
        let flags = &mut self.entries[index].flags;
        flags.set_write(flags.write().next(at, event)?);
        Ok(index)
    }

    fn under_way(&mut self, index: usize) -> &mut UnderWay {
        self.under_way.entry(number(index)).or_default()
    }

    fn slot(&mut self, subject: SubjectId) -> &mut u32 {
        let slot = subject.0 as usize;
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, 0);
        }
        &mut self.slots[slot]
    }

    fn own(&mut self, destination: SubjectId, index: usize) {
        self.entries[index].destination = destination.0;
        self.entries[index].generation = self.entries[index].generation.saturating_add(1);
        *self.slot(destination) = number(index) + 1;
    }

    fn disown(&mut self, destination: SubjectId, index: usize) {
        self.entries[index].destination = NOBODY;
        self.touched.remove(&number(index));
        *self.slot(destination) = 0;
    }

    fn head(&self, subject: SubjectId) -> u32 {
        let head = self.slots.get(subject.0 as usize).copied().unwrap_or(0);
        let own = |entry: &&Entry| entry.subject == subject.0;
        match (head as usize).checked_sub(1).and_then(|index| self.entries.get(index)).filter(own) {
            Some(_) => head,
            None => 0,
        }
    }

    fn find(&self, target: Target) -> Option<usize> {
        self.indexes(target.subject).find(|index| self.part(*index) == target.part)
    }

    /// Returns the numbers of a subject's targets, the latest first.
    fn indexes(&self, subject: SubjectId) -> impl Iterator<Item = usize> {
        let first = self.head(subject).checked_sub(1);
        std::iter::successors(first, |index| self.earlier.get(index).copied()).map(|index| index as usize)
    }

    fn part(&self, index: usize) -> TargetPart {
        TargetPart { rule: self.kind(index).rule, part: self.entries[index].part }
    }

    fn kind(&self, index: usize) -> Kind {
        self.kinds[usize::from(self.entries[index].kind)]
    }

    /// Returns the number of a kind. They are few: rules and objects of a plan.
    fn number_of(&mut self, kind: Kind) -> u16 {
        let at = self.kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
            self.kinds.push(kind);
            self.kinds.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    fn set_object(&mut self, index: usize, object: NameId) {
        let kind = self.kind(index);
        if kind.object != object {
            self.entries[index].kind = self.number_of(Kind { object, ..kind });
        }
    }

    fn entry_of(&mut self, target: Target) -> usize {
        if let Some(index) = self.find(target) {
            return index;
        }
        let index = self.entries.len();
        if let Some(earlier) = self.head(target.subject).checked_sub(1) {
            self.earlier.insert(number(index), earlier);
        }
        let kind = self.number_of(Kind { rule: target.part.rule, object: NameId(0) });
        self.entries.push(Entry {
            subject: target.subject.0,
            destination: NOBODY,
            mapped: Place::NOWHERE,
            after: Place::NOWHERE,
            digest: [0; 8],
            part: target.part.part,
            kind,
            generation: 0,
            flags: Flags::default(),
        });
        *self.slot(target.subject) = number(index) + 1;
        index
    }

    fn unpack(&self, index: usize) -> Option<Landed> {
        let entry = self.entries.get(index)?;
        let under_way = self.under_way.get(&number(index)).copied().unwrap_or_default();
        Some(Landed {
            target: Target { subject: SubjectId(entry.subject), part: self.part(index) },
            object: self.kind(index).object,
            write: entry.flags.write(),
            operation: entry.flags.operation(),
            destination: (entry.destination != NOBODY).then_some(SubjectId(entry.destination)),
            created: entry.flags.has(Flags::CREATED),
            plain: entry.flags.has(Flags::CREATED)
                && !entry.flags.has(Flags::CHANGED)
                && entry.generation == 1
                && entry.destination != NOBODY,
            untouched: entry.flags.has(Flags::UNTOUCHED),
            mapped: entry.mapped.get(),
            digest: entry.digest,
            after: entry.after.get(),
            intended: under_way.intended,
            batch: under_way.batch,
            touched: self.touched.contains(&number(index)),
            generation: entry.generation,
            pending: under_way.pending.map(|(position, _)| position),
        })
    }

    /// Returns what is known of a target.
    pub fn get(&self, target: Target) -> Option<Landed> {
        self.find(target).and_then(|index| self.unpack(index))
    }

    /// Returns the number of a target, counted from 0 in the order of [`all`](Self::all).
    pub fn index_of(&self, target: Target) -> Option<usize> {
        self.find(target)
    }

    /// Returns the target of a number.
    pub fn at(&self, index: usize) -> Option<Landed> {
        self.unpack(index)
    }

    /// Returns how many targets there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is no target.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns every target of a subject, the latest first.
    pub fn of(&self, subject: SubjectId) -> impl Iterator<Item = Landed> {
        self.indexes(subject).filter_map(|index| self.unpack(index))
    }

    /// Returns the number of the target that lives in a destination record, counted from 0 in the order of [`all`](Self::all).
    pub fn owner_index(&self, destination: SubjectId) -> Option<usize> {
        let index = (*self.slots.get(destination.0 as usize)? as usize).checked_sub(1)?;
        self.entries.get(index).filter(|entry| entry.destination == destination.0).map(|_| index)
    }

    /// Returns the target that lives in a destination record, if one of ours does.
    pub fn owner(&self, destination: SubjectId) -> Option<Landed> {
        self.owner_index(destination).and_then(|index| self.unpack(index))
    }

    /// Returns every target, in the order in which they first appeared.
    pub fn all(&self) -> impl Iterator<Item = Landed> {
        (0..self.entries.len()).filter_map(|index| self.unpack(index))
    }

    /// Returns the targets whose latest write has no outcome.
    pub fn open(&self) -> impl Iterator<Item = Landed> {
        self.under_way.keys().filter_map(|index| self.unpack(*index as usize)).filter(Landed::is_open)
    }

    /// Returns the target of a rule's only part.
    pub fn of_rule(&self, subject: SubjectId, rule: NameId) -> Option<Landed> {
        self.get(Target { subject, part: TargetPart { rule, part: 0 } })
    }
}

/// Entries are numbered in 32 bits, as subjects are.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NOBODY)
}
