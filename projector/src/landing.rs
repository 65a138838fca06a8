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

use crate::column::{Column, Digests};
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
    /// The first bytes of the digest of that mapping. One that changed is taken for the same once in 10^12 times.
    pub digest: [u8; 5],
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

/// What is known of every target, a column each: there are as many targets as there are records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
struct Entries {
    subject: Column,
    /// None while the destination has no record of ours.
    destination: Column,
    mapped: Column,
    after: Column,
    /// See [`Traits`].
    traits: Column,
    digest: Digests<5>,
}

/// What has few values, in one number of a target: its kind, its part, its generation and its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Traits {
    /// Its rule and object, as the number of a [`Kind`].
    kind: u16,
    part: u16,
    generation: u8,
    flags: Flags,
}

impl Traits {
    fn unpack(number: u64) -> Self {
        let [flags, generation, part0, part1, kind0, kind1, ..] = number.to_le_bytes();
        let (part, kind) = (u16::from_le_bytes([part0, part1]), u16::from_le_bytes([kind0, kind1]));
        Self { kind, part, generation, flags: Flags(flags) }
    }

    fn pack(self) -> u64 {
        let ([part0, part1], [kind0, kind1]) = (self.part.to_le_bytes(), self.kind.to_le_bytes());
        u64::from_le_bytes([self.flags.0, self.generation, part0, part1, kind0, kind1, 0, 0])
    }
}

impl Entries {
    fn len(&self) -> usize {
        self.subject.len()
    }

    fn is_of(&self, index: usize, subject: SubjectId) -> bool {
        self.subject.get(index) == Some(subject.0.into())
    }

    fn lives_in(&self, index: usize, destination: SubjectId) -> bool {
        self.destination.get(index) == Some(destination.0.into())
    }

    fn traits(&self, index: usize) -> Traits {
        Traits::unpack(self.traits.get(index).unwrap_or(0))
    }

    fn change(&mut self, index: usize, change: impl FnOnce(&mut Traits)) {
        let before = self.traits(index);
        let mut after = before;
        change(&mut after);
        if after != before {
            self.traits.set(index, Some(after.pack()));
        }
    }

    fn set(&mut self, index: usize, flag: u8, on: bool) {
        self.change(index, |traits| traits.flags.set(flag, on));
    }
}

/// What many targets have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
struct Kind {
    rule: NameId,
    object: NameId,
}

/// How far a target's latest write has come, what that write does, and what we have done to the record: in one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    pending: Option<(Position, [u8; 5])>,
    intended: Option<Position>,
    batch: Option<BatchId>,
}

/// The fold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Landing {
    /// By subject, an index: of a source record its first target, of a destination record the target in it.
    slots: Column,
    entries: Entries,
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
                let index = self.entry_of(target, Some(*object));
                self.under_way(index).pending = Some((at, digest.head()));
            }
            Event::IdentityLinked { destination, .. } => {
                let index = self.entry_of(target, None);
                self.own(*destination, index);
                self.entries.set(index, Flags::CREATED, false);
                self.entries.set(index, Flags::UNTOUCHED, true);
            }
            Event::IdentityUnlinked { destination } => {
                let index = self.entry_of(target, None);
                self.entries.mapped.set(index, None);
                self.disown(*destination, index);
            }
            Event::DriftFound { destination, field: None, kind: DriftKind::Changed, .. } => {
                let index = self.entry_of(target, None);
                if self.entries.lives_in(index, *destination) {
                    self.touched.insert(number(index));
                }
            }
            Event::AfterImageTaken { .. } => {
                let index = self.entry_of(target, None);
                self.entries.after.set(index, Some(at.0));
            }
            Event::WriteIntended { object, operation, .. } => {
                self.entry_of(target, Some(*object));
                let index = self.moved(target, at, WriteEvent::Intended)?;
                self.entries.change(index, |traits| traits.flags.set_operation(*operation));
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
            self.entries.set(index, Flags::UNTOUCHED, false);
        }
        match operation {
            Operation::Create => {
                self.own(destination, index);
                self.entries.set(index, Flags::CREATED, true);
                self.entries.after.set(index, None);
            }
            Operation::Update => self.entries.set(index, Flags::CHANGED, true),
            Operation::Nothing => {}
            Operation::Delete => {
                self.entries.mapped.set(index, None);
                self.entries.after.set(index, None);
                self.disown(destination, index);
                return;
            }
        }
        if let Some((position, digest)) = pending {
            self.entries.mapped.set(index, Some(position.0));
            self.entries.digest.set(index, digest);
        }
    }

    fn moved(&mut self, target: Target, at: Position, event: WriteEvent) -> Result<usize, IllegalTransition> {
        let index = self.entry_of(target, None);
        let write = self.entries.traits(index).flags.write().next(at, event)?;
        self.entries.change(index, |traits| traits.flags.set_write(write));
        Ok(index)
    }

    fn under_way(&mut self, index: usize) -> &mut UnderWay {
        self.under_way.entry(number(index)).or_default()
    }

    fn own(&mut self, destination: SubjectId, index: usize) {
        self.entries.destination.set(index, Some(destination.0.into()));
        self.entries.change(index, |traits| traits.generation = traits.generation.saturating_add(1));
        self.slots.set(destination.0 as usize, Some(index as u64));
    }

    fn disown(&mut self, destination: SubjectId, index: usize) {
        self.entries.destination.set(index, None);
        self.touched.remove(&number(index));
        self.slots.set(destination.0 as usize, None);
    }

    /// Returns the first target of a source record.
    fn head(&self, subject: SubjectId) -> Option<u32> {
        let head = self.slots.short(subject.0 as usize)?;
        self.entries.is_of(head as usize, subject).then_some(head)
    }

    fn find(&self, target: Target) -> Option<usize> {
        self.indexes(target.subject).find(|index| self.part(*index) == target.part)
    }

    /// Returns the numbers of a subject's targets, the latest first.
    fn indexes(&self, subject: SubjectId) -> impl Iterator<Item = usize> {
        let first = self.head(subject);
        std::iter::successors(first, |index| self.earlier.get(index).copied()).map(|index| index as usize)
    }

    fn part(&self, index: usize) -> TargetPart {
        let traits = self.entries.traits(index);
        TargetPart { rule: self.kinds[usize::from(traits.kind)].rule, part: traits.part }
    }

    fn kind(&self, index: usize) -> Kind {
        self.kinds[usize::from(self.entries.traits(index).kind)]
    }

    /// Returns the number of a kind. They are few: rules and objects of a plan.
    fn number_of(&mut self, kind: Kind) -> u16 {
        let at = self.kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
            self.kinds.push(kind);
            self.kinds.len() - 1
        });
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// Returns a target's entry, which is made if there is none; what object it is written to may be known by now.
    fn entry_of(&mut self, target: Target, object: Option<NameId>) -> usize {
        if let Some(index) = self.find(target) {
            let kind = self.kind(index);
            if let Some(object) = object.filter(|object| *object != kind.object) {
                let kind = self.number_of(Kind { object, ..kind });
                self.entries.change(index, |traits| traits.kind = kind);
            }
            return index;
        }
        let index = self.entries.len();
        if let Some(earlier) = self.head(target.subject) {
            self.earlier.insert(number(index), earlier);
        }
        let kind = self.number_of(Kind { rule: target.part.rule, object: object.unwrap_or(NameId(0)) });
        self.entries.subject.set(index, Some(target.subject.0.into()));
        let traits = Traits { kind, part: target.part.part, ..Traits::default() };
        self.entries.traits.set(index, Some(traits.pack()));
        self.slots.set(target.subject.0 as usize, Some(index as u64));
        index
    }

    fn unpack(&self, index: usize) -> Option<Landed> {
        let Entries { subject, destination, mapped, after, traits, digest: _ } = &self.entries;
        let [subject, destination, mapped, after, traits] =
            [subject, destination, mapped, after, traits].map(|column| column.get(index));
        self.unpacked(index, [subject, destination, mapped, after, traits])
    }

    fn unpacked(&self, index: usize, entry: [Option<u64>; 5]) -> Option<Landed> {
        let [subject, destination, mapped, after, traits] = entry;
        let record = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok()).map(SubjectId);
        let (subject, destination) = (record(subject)?, record(destination));
        let Traits { kind, part, generation, flags } = Traits::unpack(traits.unwrap_or(0));
        let Kind { rule, object } = self.kinds[usize::from(kind)];
        let under_way = self.under_way.get(&number(index)).copied().unwrap_or_default();
        Some(Landed {
            target: Target { subject, part: TargetPart { rule, part } },
            object,
            write: flags.write(),
            operation: flags.operation(),
            destination,
            created: flags.has(Flags::CREATED),
            plain: flags.has(Flags::CREATED) && !flags.has(Flags::CHANGED) && generation == 1 && destination.is_some(),
            untouched: flags.has(Flags::UNTOUCHED),
            mapped: mapped.map(Position),
            digest: self.entries.digest.get(index),
            after: after.map(Position),
            intended: under_way.intended,
            batch: under_way.batch,
            touched: self.touched.contains(&number(index)),
            generation,
            pending: under_way.pending.map(|(position, _)| position),
        })
    }

    /// Lets it take no more memory than it needs now.
    pub(crate) fn compact(&mut self) {
        let Entries { subject, destination, mapped, after, traits, digest: _ } = &mut self.entries;
        for column in [subject, destination, mapped, after, traits, &mut self.slots] {
            column.compact();
        }
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
        self.entries.len() == 0
    }

    /// Returns every target of a subject, the latest first.
    pub fn of(&self, subject: SubjectId) -> impl Iterator<Item = Landed> {
        self.indexes(subject).filter_map(|index| self.unpack(index))
    }

    /// Returns the number of the target that lives in a destination record, counted from 0 in the order of [`all`](Self::all).
    pub fn owner_index(&self, destination: SubjectId) -> Option<usize> {
        let index = self.slots.short(destination.0 as usize)? as usize;
        self.entries.lives_in(index, destination).then_some(index)
    }

    /// Returns the target that lives in a destination record, if one of ours does.
    pub fn owner(&self, destination: SubjectId) -> Option<Landed> {
        self.owner_index(destination).and_then(|index| self.unpack(index))
    }

    /// Returns every target, in the order in which they first appeared.
    pub fn all(&self) -> impl Iterator<Item = Landed> {
        let Entries { subject, destination, mapped, after, traits, digest: _ } = &self.entries;
        let len = self.entries.len();
        let sides = subject.numbers_to(len).zip(destination.numbers_to(len));
        let all = sides.zip(mapped.numbers_to(len).zip(after.numbers_to(len))).zip(traits.numbers_to(len)).enumerate();
        all.filter_map(|(index, (((subject, destination), (mapped, after)), traits))| {
            self.unpacked(index, [subject, destination, mapped, after, traits])
        })
    }

    /// Returns the targets of one destination object, in the order in which they first appeared.
    pub fn of_object(&self, object: NameId) -> impl Iterator<Item = Landed> {
        let kinds: Vec<bool> = self.kinds.iter().map(|kind| kind.object == object).collect();
        let any = kinds.contains(&true);
        let all = self.entries.traits.numbers().take(if any { self.entries.len() } else { 0 }).enumerate();
        let of = all.filter(move |(_, traits)| kinds[usize::from(Traits::unpack(traits.unwrap_or(0)).kind)]);
        of.filter_map(|(index, _)| self.unpack(index))
    }

    /// Returns whether a source record has a row at the destination.
    pub fn lives(&self, subject: SubjectId) -> bool {
        self.indexes(subject).any(|index| self.entries.destination.get(index).is_some())
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
    u32::try_from(index).unwrap_or(u32::MAX)
}
