//! What has been read of the source, and what must be looked at again.
//!
//! A fold over the source events. It keeps where the latest version of every source record stands in the ledger, so that
//! a load, a delta or a second pass can stream the records in the order in which they were read.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};

use crate::column::{Column, Digests};
use waybill_ledger::{
    Envelope, Event, Micros, NameId, Position, SubjectId, TargetPart,
    event::{HoldDecision, HoldReason},
};

/// What is known of one source record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Where its latest version stands.
    pub position: Position,
    /// Its source object.
    pub object: NameId,
    /// The first bytes of the keyed digest of its content.
    pub digest: [u8; 5],
    /// Whether the source still has it.
    pub live: bool,
    /// Whether the plan does not carry it.
    pub skipped: bool,
    /// Whether it went into a target that another record leads.
    pub merged: bool,
}

/// What is known of every record, a column each: there are as many as the source has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
struct Entries {
    subject: Column,
    position: Column,
    /// The number of the object, and flags in the lowest byte.
    traits: Column,
    digest: Digests<5>,
}

const LIVE: u8 = 1;
const SKIPPED: u8 = 2;
const MERGED: u8 = 4;

impl Entries {
    fn len(&self) -> usize {
        self.subject.len()
    }

    fn traits(&self, index: usize) -> (NameId, u8) {
        Self::traits_of(self.traits.get(index))
    }

    fn traits_of(traits: Option<u64>) -> (NameId, u8) {
        let traits = traits.unwrap_or(0);
        let [flags, ..] = traits.to_le_bytes();
        (NameId(u32::try_from(traits >> 8).unwrap_or(u32::MAX)), flags)
    }

    fn set_traits(&mut self, index: usize, object: NameId, flags: u8) {
        self.traits.set(index, Some(u64::from(object.0) << 8 | u64::from(flags)));
    }

    fn is(&self, index: usize, flag: u8) -> bool {
        self.traits(index).1 & flag != 0
    }

    fn flag(&mut self, index: usize, flag: u8, set: bool) {
        let (object, before) = self.traits(index);
        let after = if set { before | flag } else { before & !flag };
        if after != before {
            self.set_traits(index, object, after);
        }
    }

    fn unpack(&self, index: usize) -> Seen {
        Self::seen(self.position.get(index), self.traits.get(index), self.digest.get(index))
    }

    fn seen(position: Option<u64>, traits: Option<u64>, digest: [u8; 5]) -> Seen {
        let (object, flags) = Self::traits_of(traits);
        Seen {
            position: Position(position.unwrap_or(0)),
            object,
            digest,
            live: flags & LIVE != 0,
            skipped: flags & SKIPPED != 0,
            merged: flags & MERGED != 0,
        }
    }
}

/// What is known of one source object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct ObjectIntake {
    /// Where its first record stands.
    pub first: Option<Position>,
    /// Where its latest record stands.
    pub last: Option<Position>,
    /// How many records the source has.
    pub live: u64,
    /// How many records the source had and no longer has.
    pub gone: u64,
    /// How many rows could not be read when the object was last read whole, and since.
    pub unreadable: u64,
    /// How many rows could not be read since the latest checkpoint.
    unreadable_since: u64,
    /// Whether it was read to its end at least once.
    pub complete: bool,
    /// The latest modification that the source told, by the source's clock.
    pub modified: Option<Micros>,
    /// Where the latest checkpoint stands that says how far the source was read.
    pub checkpoint: Option<Position>,
}

/// The fold: the source as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Intake {
    /// Subject to the index of its entry. Subjects of the destination lie between, so entries are kept apart.
    index: Column,
    seen: Entries,
    objects: BTreeMap<NameId, ObjectIntake>,
    /// What waits: targets, or records as a whole.
    held: BTreeMap<(SubjectId, Option<TargetPart>), HoldReason>,
    /// What people decided about records that wait, and where that stands, until it is done.
    decided: BTreeMap<(SubjectId, Option<TargetPart>), (HoldDecision, Position)>,
    erased: BTreeSet<SubjectId>,
    /// Records that the source merged into others: which, and where that stands.
    merged: BTreeMap<SubjectId, (SubjectId, Position)>,
}

impl Intake {
    /// Takes in one event.
    pub fn apply(&mut self, envelope: &Envelope) {
        match (&envelope.event, envelope.subject) {
            (Event::RecordExtracted { object, modified, digest }, Some(subject)) => {
                self.merged.remove(&subject);
                self.extracted(subject, envelope.position, *object, digest.head());
                let entry = self.objects.entry(*object).or_default();
                entry.modified = entry.modified.max(*modified);
            }
            (Event::RecordGone { object, .. }, Some(subject)) => {
                if let Some(index) = self.entry(subject)
                    && self.seen.is(index, LIVE)
                {
                    self.seen.flag(index, LIVE, false);
                    let entry = self.objects.entry(*object).or_default();
                    entry.live -= 1;
                    entry.gone += 1;
                }
                self.release(subject);
                self.forget_decisions(subject);
            }
            (Event::RecordUnreadable { object, .. }, _) => {
                let entry = self.objects.entry(*object).or_default();
                entry.unreadable_since += 1;
                entry.unreadable += 1;
            }
            (Event::CheckpointReached { object, complete, .. }, _) => {
                let entry = self.objects.entry(*object).or_default();
                entry.complete |= *complete;
                // Whoever reads everything again meets every broken row again; mended ones are broken no more.
                if *complete {
                    entry.unreadable = entry.unreadable_since;
                }
                entry.unreadable_since = 0;
                if envelope.content.is_some() {
                    entry.checkpoint = Some(envelope.position);
                }
            }
            (Event::RecordHeld { reason }, Some(subject)) => {
                self.held.insert((subject, envelope.target), *reason);
            }
            (Event::HoldDecided { decision: HoldDecision::Carry }, Some(subject)) => {
                self.undecide(subject, envelope.target);
                // The next run looks at it, whatever else it looks at.
                self.held.entry((subject, envelope.target)).or_insert(HoldReason::Resumed);
            }
            (Event::HoldDecided { decision }, Some(subject)) => {
                self.decided.insert((subject, envelope.target), (*decision, envelope.position));
            }
            // What was decided is done: the next time, somebody decides anew.
            (Event::WriteConfirmed { .. }, Some(subject)) if !self.decided.is_empty() => {
                self.undecide(subject, envelope.target);
            }
            (
                Event::RecordReleased
                | Event::RecordMapped { .. }
                | Event::RecordSkipped { .. }
                | Event::RecordMerged { .. },
                Some(subject),
            ) => {
                self.held.remove(&(subject, envelope.target));
                self.held.remove(&(subject, None));
                if let Event::RecordMerged { into } = envelope.event {
                    self.merged.insert(subject, (into, envelope.position));
                }
                if let Some(index) = self.entry(subject) {
                    self.seen.flag(index, SKIPPED, matches!(envelope.event, Event::RecordSkipped { .. }));
                    self.seen.flag(index, MERGED, matches!(envelope.event, Event::RecordMerged { .. }));
                }
            }
            (Event::SubjectErased { erased }, _) => {
                self.release(*erased);
                self.forget_decisions(*erased);
                self.erased.insert(*erased);
                if let Some(index) = self.entry(*erased) {
                    self.seen.digest.set(index, [0; 5]);
                }
            }
            _ => {}
        }
    }

    /// Lets it take no more memory than it needs now.
    pub(crate) fn compact(&mut self) {
        let Entries { subject, position, traits, digest: _ } = &mut self.seen;
        for column in [subject, position, traits, &mut self.index] {
            column.compact();
        }
    }

    /// Ends every hold of a record.
    fn release(&mut self, subject: SubjectId) {
        let targets: Vec<_> = self.holds(subject).map(|(target, _)| target).collect();
        for target in targets {
            self.held.remove(&(subject, target));
        }
    }

    fn forget_decisions(&mut self, subject: SubjectId) {
        let parts: Vec<_> = self.decisions(subject).map(|(part, _)| part).collect();
        for part in parts {
            self.decided.remove(&(subject, part));
        }
    }

    fn undecide(&mut self, subject: SubjectId, target: Option<TargetPart>) {
        self.decided.remove(&(subject, target));
        self.decided.remove(&(subject, None));
    }

    /// Returns what a person decided about a target, and where that stands, while it is not done.
    pub fn decided(&self, subject: SubjectId, part: TargetPart) -> Option<(HoldDecision, Position)> {
        if self.decided.is_empty() {
            return None;
        }
        self.decided.get(&(subject, Some(part))).or_else(|| self.decided.get(&(subject, None))).copied()
    }

    /// Returns what people decided about a record, by the part of it.
    pub fn decisions(&self, subject: SubjectId) -> impl Iterator<Item = (Option<TargetPart>, HoldDecision)> {
        let all = self.decided.range((subject, None)..);
        all.take_while(move |((of, _), _)| *of == subject).map(|((_, part), (decision, _))| (*part, *decision))
    }

    /// Returns what of a record waits.
    pub fn holds(&self, subject: SubjectId) -> impl Iterator<Item = (Option<TargetPart>, HoldReason)> {
        let all = self.held.range((subject, None)..);
        all.take_while(move |((of, _), _)| *of == subject).map(|((_, target), reason)| (*target, *reason))
    }

    fn extracted(&mut self, subject: SubjectId, position: Position, object: NameId, digest: [u8; 5]) {
        let known = self.entry(subject);
        let entry = self.objects.entry(object).or_default();
        entry.first.get_or_insert(position);
        entry.last = Some(position);
        let index = match known {
            Some(known) => {
                if !self.seen.is(known, LIVE) {
                    entry.live += 1;
                    entry.gone -= 1;
                }
                known
            }
            None => {
                entry.live += 1;
                let index = self.seen.len();
                self.seen.subject.set(index, Some(subject.0.into()));
                self.index.set(subject.0 as usize, Some(index as u64));
                index
            }
        };
        self.seen.position.set(index, Some(position.0));
        self.seen.set_traits(index, object, LIVE);
        self.seen.digest.set(index, digest);
    }

    fn entry(&self, subject: SubjectId) -> Option<usize> {
        self.index.short(subject.0 as usize).map(|index| index as usize)
    }

    /// Returns what is known of a source record.
    pub fn seen(&self, subject: SubjectId) -> Option<Seen> {
        self.entry(subject).map(|index| self.seen.unpack(index))
    }

    /// Returns every record, in the order in which they were first read.
    pub fn records(&self) -> impl Iterator<Item = (SubjectId, Seen)> {
        let Entries { subject, position, traits, digest } = &self.seen;
        let all = subject.numbers().zip(position.numbers().zip(traits.numbers())).enumerate();
        all.filter_map(|(index, (subject, (position, traits)))| {
            let subject = SubjectId(u32::try_from(subject?).ok()?);
            Some((subject, Entries::seen(position, traits, digest.get(index))))
        })
    }

    /// Returns the live records of an object, in the order in which they were first read.
    pub fn live(&self, object: NameId) -> impl Iterator<Item = (SubjectId, Seen)> {
        let live = self.seen.traits.numbers().enumerate().filter(move |(_, traits)| {
            let (of, flags) = Entries::traits_of(*traits);
            of == object && flags & LIVE != 0
        });
        live.filter_map(|(index, _)| Some((SubjectId(self.seen.subject.short(index)?), self.seen.unpack(index))))
    }

    /// Returns whether this event holds the latest version of a record that the source still has.
    pub fn is_latest(&self, envelope: &Envelope) -> bool {
        envelope
            .subject
            .and_then(|subject| self.seen(subject))
            .is_some_and(|seen| seen.live && seen.position == envelope.position)
    }

    /// Returns what is known of a source object.
    pub fn object(&self, object: NameId) -> ObjectIntake {
        self.objects.get(&object).copied().unwrap_or_default()
    }

    /// Returns the source objects that were read, by the number of their name.
    pub fn objects(&self) -> impl Iterator<Item = (NameId, &ObjectIntake)> {
        self.objects.iter().map(|(name, object)| (*name, object))
    }

    /// Returns the records that wait for a person, and why.
    pub fn held(&self) -> impl Iterator<Item = (SubjectId, HoldReason)> {
        let mut last = None;
        self.held.iter().filter_map(move |((subject, _), reason)| {
            (last.replace(*subject) != Some(*subject)).then_some((*subject, *reason))
        })
    }

    /// Returns whether anything waits, or was decided and is not done.
    pub fn is_waiting(&self) -> bool {
        !self.held.is_empty() || !self.decided.is_empty()
    }

    /// Returns whether records were read, or merged into others, at a position or after it.
    pub fn is_new_since(&self, since: Position) -> bool {
        self.objects.values().any(|object| object.last >= Some(since))
            || self.merged.values().any(|(_, at)| *at >= since)
    }

    /// Returns how many targets wait for this reason.
    pub fn held_for(&self, reason: HoldReason) -> u64 {
        self.held.values().filter(|held| **held == reason).count() as u64
    }

    /// Returns why a record waits, as a whole or in part, if it does.
    pub fn hold(&self, subject: SubjectId) -> Option<HoldReason> {
        self.holds(subject).next().map(|(_, reason)| reason)
    }

    /// Returns why a target waits, if it does.
    pub fn hold_of(&self, subject: SubjectId, part: TargetPart) -> Option<HoldReason> {
        self.held.get(&(subject, Some(part))).or_else(|| self.held.get(&(subject, None))).copied()
    }

    /// Returns the record that stands for this one now: itself, or what the source merged it into, however often.
    pub fn survivor(&self, subject: SubjectId) -> SubjectId {
        let mut at = subject;
        // A circle would be the source's mistake; nobody walks it forever.
        for _ in 0..=self.merged.len() {
            match self.merged.get(&at) {
                Some((into, _)) => at = *into,
                None => return at,
            }
        }
        subject
    }

    /// Returns whether records of this object were merged into others since a position.
    pub fn merged_since(&self, object: NameId, since: Position) -> bool {
        self.merged
            .iter()
            .any(|(subject, (_, at))| *at >= since && self.seen(*subject).is_some_and(|seen| seen.object == object))
    }

    /// Returns how many records of an object are gone because they were merged into others.
    pub fn merged(&self, object: NameId) -> u64 {
        let merged = self.merged.keys().filter_map(|subject| self.seen(*subject));
        merged.filter(|seen| seen.object == object && !seen.live).count() as u64
    }

    /// Returns whether the subject was forgotten.
    pub fn is_erased(&self, subject: SubjectId) -> bool {
        self.erased.contains(&subject)
    }

    /// Returns where the latest versions of an object's live records stand, ascending.
    pub fn positions(&self, object: NameId) -> Vec<Position> {
        let mut positions: Vec<Position> = self.live(object).map(|(_, seen)| seen.position).collect();
        positions.sort_unstable();
        positions
    }
}
