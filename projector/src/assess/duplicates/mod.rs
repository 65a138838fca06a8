//! Records that stand for the same person or company.
//!
//! Not all pairs are compared: records meet in blocks, by several keys each (an e-mail address, a phone number, how the name
//! sounds with the postal code, …), so that one wrong field does not keep two apart. What meets is scored ([`score`]), and what
//! scores enough is joined into clusters. A block that too many share (a switchboard, a common name) is not compared in full: of
//! strong keys the neighbours by name are, of weak ones nothing, since narrower keys cover its records too; how many records
//! that concerned is told.

mod layout;
mod profile;
mod score;

use waybill_ledger::{Record, ValueRef};

pub use self::layout::{Layout, Slot, Who};
use self::{
    profile::{Draft, Packed, Profile},
    score::{Counts, Scorer},
};
use super::words::sound;
use crate::hash::hash;

/// The largest block of which all pairs are compared.
const LARGEST: usize = 80;
/// How many neighbours are compared in a larger one.
const NEIGHBOURS: usize = 6;
/// For the records of how many groups the memory is asked at once.
const AHEAD: usize = 32;
/// In how many parts records are compared, each by itself. Which pairs are compared depends on it, so it is the same on every
/// machine; what is found does not.
const PARTS: usize = 8;

/// How many bytes are mostly kept of a record, and by how many keys it meets others.
const USUAL: usize = 64;
const KEYS: usize = 6;

/// The kinds of keys by which records meet.
#[derive(Debug, Clone, Copy)]
enum Key {
    Email,
    Phone,
    Number,
    Domain,
    Name,
    Names,
    NamePlace,
    FirstPlace,
    Address,
    NameEmployer,
    NameBorn,
    FirstBorn,
    NameWord,
}

impl Key {
    /// Whether a value that many share is still worth looking at.
    fn is_strong(self) -> bool {
        matches!(self, Self::Email | Self::Phone | Self::Number | Self::Domain | Self::Name)
    }
}

/// A key by which a record meets others: its hash in two halves, of which the lowest bit says whether the key is strong, and the
/// record.
pub(super) type Meeting = [u32; 3];

/// Takes in the records of one object and finds those that stand for the same one.
#[derive(Debug)]
pub struct Linker {
    who: Who,
    slots: Vec<Slot>,
    packed: String,
    starts: Vec<Packed>,
    /// In parts, by the hash: what meets is in one part.
    keys: [Vec<Meeting>; PARTS],
    counts: Counts,
    draft: Draft,
}

/// What stands for the same one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Records that belong together, by number, in ascending order.
    pub clusters: Vec<Vec<u32>>,
    /// How many pairs were compared.
    pub compared: u64,
    /// How many records were in a block that was too large to be compared in full.
    pub crowded: u64,
}

impl Linker {
    /// Begins with an object of this layout.
    pub fn new(layout: &Layout) -> Self {
        Self::with_room(layout, 0)
    }

    /// Begins with an object of this layout and room for this many records.
    pub fn with_room(layout: &Layout, records: usize) -> Self {
        Self {
            who: layout.who,
            slots: layout.fields.iter().map(|(_, slot)| *slot).collect(),
            packed: String::with_capacity(records * USUAL),
            starts: Vec::with_capacity(records),
            keys: std::array::from_fn(|_| Vec::with_capacity(records * KEYS / PARTS)),
            counts: Counts::new(),
            draft: Draft::default(),
        }
    }

    /// Takes in the next record.
    pub fn add(&mut self, layout: &Layout, record: &Record) {
        self.add_values(layout.fields.iter().map(|(name, _)| record.fields.look(name).value()));
    }

    /// Takes in the next record by its values, in the order of the layout.
    pub(super) fn add_values<'a>(&mut self, values: impl Iterator<Item = Option<ValueRef<'a>>>) {
        self.draft.clear();
        for (slot, value) in self.slots.iter().zip(values) {
            if let Some(value) = value {
                self.draft.take(self.who, *slot, value);
            }
        }
        let number = u32::try_from(self.starts.len()).unwrap_or(u32::MAX);
        self.starts.push(self.draft.pack(&mut self.packed));
        self.count();
        self.meet(number);
    }

    fn count(&mut self) {
        let Self { draft, counts, .. } = self;
        for slot in [Slot::Name, Slot::First, Slot::House, Slot::Street, Slot::City, Slot::Postal, Slot::Employer] {
            let value = draft.get(slot);
            if !value.is_empty() {
                counts.add(slot, value);
            }
        }
        for slot in [Slot::Email, Slot::Phone, Slot::Born, Slot::Number, Slot::Domain] {
            draft.each(slot).for_each(|value| counts.add(slot, value));
        }
    }

    fn meet(&mut self, record: u32) {
        let Self { who, draft, keys, .. } = self;
        let mut key = |kind: Key, parts: [u64; 3]| {
            let mut mixed = 0x51_7C_C1_B7_27_22_0A_95_u64 ^ (kind as u64 + 1);
            for part in parts {
                mixed = (mixed ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
            }
            let mixed = mixed & !1 | u64::from(kind.is_strong());
            #[expect(clippy::cast_possible_truncation, reason = "the two halves of a hash")]
            keys[(mixed >> 32) as usize % PARTS].push([(mixed >> 32) as u32, mixed as u32, record]);
        };
        let sounds = |text: &str| if text.is_empty() { 0 } else { u64::from(u32::from_le_bytes(sound(text))) };
        let get = |slot: Slot| draft.get(slot);
        for (slot, kind) in [
            (Slot::Email, Key::Email),
            (Slot::Phone, Key::Phone),
            (Slot::Number, Key::Number),
            (Slot::Domain, Key::Domain),
        ] {
            for value in draft.each(slot) {
                key(kind, [hash(value), 0, 0]);
            }
        }
        let postal = if get(Slot::Postal).is_empty() { 0 } else { hash(get(Slot::Postal)) };
        let longest = get(Slot::Street).split(' ').max_by_key(|word| word.len()).unwrap_or_default();
        if !longest.is_empty() && (!get(Slot::House).is_empty() || postal != 0) {
            key(
                Key::Address,
                [hash(longest), hash(get(Slot::House)), if get(Slot::House).is_empty() { postal } else { 0 }],
            );
        }
        let name = get(Slot::Name);
        match who {
            Who::People => {
                let (last, first) = (sounds(name), sounds(get(Slot::First)));
                let employer = get(Slot::Employer);
                if last != 0 && first != 0 {
                    key(Key::Names, [last.min(first), last.max(first), 0]);
                }
                if last != 0 && postal != 0 {
                    key(Key::NamePlace, [last, postal, 0]);
                }
                if first != 0 && postal != 0 {
                    key(Key::FirstPlace, [first, postal, 0]);
                }
                if last != 0 && !employer.is_empty() {
                    key(Key::NameEmployer, [last, hash(employer), 0]);
                }
                let born = get(Slot::Born);
                if !born.is_empty() {
                    let letter = |name: &str| name.chars().next().map_or(0, |c| u64::from(u32::from(c)));
                    key(Key::NameBorn, [hash(born), letter(name), 0]);
                    key(Key::FirstBorn, [hash(born), letter(get(Slot::First)), 1]);
                }
            }
            Who::Companies if !name.is_empty() => {
                // The order of words does not matter, nor how they are run together.
                let sum = |text: &str| text.bytes().map(hash_byte).fold(0_u64, u64::wrapping_add);
                key(Key::Name, [name.split(' ').map(sum).fold(0, u64::wrapping_add), 0, 0]);
                let numbers = name.split(' ').filter(|word| word.bytes().any(|b| b.is_ascii_digit())).map(hash);
                let numbers = numbers.fold(0, u64::wrapping_add);
                for word in name.split(' ').filter(|word| word.len() > 2 && !word.bytes().any(|b| b.is_ascii_digit())) {
                    key(Key::NameWord, [sounds(word), numbers, postal]);
                    key(Key::NameWord, [sounds(word), numbers, hash(get(Slot::City))]);
                }
            }
            Who::Companies => {}
        }
    }

    /// Compares what meets, and returns what stands for the same one.
    pub fn link(self) -> Links {
        let (linking, keys) = self.linking();
        Linking::links(linking.records(), keys.into_iter().map(|keys| linking.part(keys)))
    }

    /// Returns what comparing takes, and the parts in which it can be done side by side: see [`Linking::part`].
    pub(super) fn linking(mut self) -> (Linking, [Vec<Meeting>; PARTS]) {
        self.counts.settle();
        (Linking { who: self.who, packed: self.packed, starts: self.starts, counts: self.counts }, self.keys)
    }
}

/// What is kept of the records of one object while they are compared.
#[derive(Debug)]
pub(super) struct Linking {
    who: Who,
    packed: String,
    /// Where each record lies.
    starts: Vec<Packed>,
    counts: Counts,
}

/// What comparing a part came to.
#[derive(Debug)]
pub(super) struct Compared {
    /// Of two records that stand for the same one.
    joined: Vec<(u32, u32)>,
    compared: u64,
    crowded: Vec<u32>,
}

impl Linking {
    pub(super) fn records(&self) -> usize {
        self.starts.len()
    }

    /// Compares what meets in one part.
    pub(super) fn part(&self, mut keys: Vec<Meeting>) -> Compared {
        keys.sort_unstable_by_key(|[high, low, record]| (u64::from(*high) << 32 | u64::from(*low), *record));
        let records = self.records();
        let scorer =
            Scorer { who: self.who, records: u32::try_from(records).unwrap_or(u32::MAX), counts: &self.counts };
        let threshold = scorer.threshold();
        let profile = |record: u32| Profile::unpack(&self.packed, &self.starts[record as usize]);
        let mut clusters = Clusters::new(records);
        let mut found = Compared { joined: Vec::new(), compared: 0, crowded: Vec::new() };
        let mut join = |block: &[(u32, Profile<'_>)], within: usize, found: &mut Compared| {
            for (n, (one, own)) in block.iter().enumerate() {
                for (other, theirs) in block.iter().skip(n + 1).take(within) {
                    if one == other || clusters.root(*one) == clusters.root(*other) {
                        continue;
                    }
                    found.compared += 1;
                    if scorer.reaches(threshold, own, theirs) {
                        clusters.join(*one, *other);
                        found.joined.push((*one, *other));
                    }
                }
            }
        };
        let mut groups = keys.chunk_by(|a, b| a[0] == b[0] && a[1] == b[1]).filter(|group| group.len() > 1).peekable();
        let mut ahead: Vec<&[Meeting]> = Vec::new();
        let mut block: Vec<(u32, Profile<'_>)> = Vec::new();
        while groups.peek().is_some() {
            // Records lie anywhere in the memory: it is asked for those of many groups at once, instead of one after the other.
            ahead.clear();
            ahead.extend(groups.by_ref().take(AHEAD));
            let near = ahead.iter().flat_map(|group| group.iter().take(LARGEST));
            let start = |key: &Meeting| self.starts[key[2] as usize].start;
            let bytes = near.map(|key| self.packed.as_bytes().get(start(key)).map_or(0, |byte| u32::from(*byte)));
            std::hint::black_box(bytes.fold(0, u32::wrapping_add));
            for group in &ahead {
                let strong = group[0][1] & 1 == 1;
                if group.len() > LARGEST {
                    found.crowded.extend(group.iter().map(|key| key[2]));
                    if !strong {
                        continue;
                    }
                }
                block.clear();
                block.extend(group.iter().map(|key| (key[2], profile(key[2]))));
                if group.len() > LARGEST {
                    block.sort_unstable_by(|(a, own), (b, theirs)| {
                        let by = |slot: Slot| own.get(slot).cmp(theirs.get(slot));
                        by(Slot::Name).then_with(|| by(Slot::First)).then_with(|| a.cmp(b))
                    });
                    join(&block, NEIGHBOURS, &mut found);
                } else {
                    join(&block, LARGEST, &mut found);
                }
            }
        }
        found
    }

    /// Returns what all parts together came to.
    pub(super) fn links(records: usize, parts: impl IntoIterator<Item = Compared>) -> Links {
        let (mut clusters, mut crowded, mut compared) = (Clusters::new(records), vec![false; records], 0);
        for part in parts {
            compared += part.compared;
            part.joined.into_iter().for_each(|(one, other)| clusters.join(one, other));
            part.crowded.into_iter().for_each(|record| crowded[record as usize] = true);
        }
        let crowded = crowded.iter().filter(|crowded| **crowded).count() as u64;
        Links { clusters: clusters.groups(), compared, crowded }
    }
}

fn hash_byte(byte: u8) -> u64 {
    u64::from(byte).wrapping_add(1).wrapping_mul(0xD6E8_FEB8_6659_FD93).rotate_left(u32::from(byte % 61))
}

/// Sets that are joined two by two: union by the smaller number, with paths halved.
#[derive(Debug)]
struct Clusters(Vec<u32>);

impl Clusters {
    fn new(records: usize) -> Self {
        Self((0..u32::try_from(records).unwrap_or(u32::MAX)).collect())
    }

    fn root(&mut self, mut of: u32) -> u32 {
        while self.0[of as usize] != of {
            let above = self.0[self.0[of as usize] as usize];
            self.0[of as usize] = above;
            of = above;
        }
        of
    }

    fn join(&mut self, one: u32, other: u32) {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other) as usize] = one.min(other);
    }

    fn groups(mut self) -> Vec<Vec<u32>> {
        let records = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let mut groups: std::collections::BTreeMap<u32, Vec<u32>> = std::collections::BTreeMap::new();
        for record in 0..records {
            let root = self.root(record);
            if root != record {
                groups.entry(root).or_insert_with(|| vec![root]).push(record);
            }
        }
        groups.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
