//! The ids of an object's records, packed: two dozen bytes each.

use crate::hash::hash;

/// How long an id mostly is.
const USUAL: usize = 10;
/// For how many ids at once the memory is asked.
const TOGETHER: usize = 64;

/// Ids by record number.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    hashes: Vec<u64>,
    index: Index,
}

/// Finds records by the hash of their ids. Made at once when all are known, because a table that grows with every record is
/// never in the processor's caches.
#[derive(Debug, Default)]
struct Index {
    /// By how much a hash is shifted to give its group.
    shift: u32,
    /// Where each group begins, and where the last one ends.
    groups: Vec<u32>,
    /// Record numbers with the hashes of their ids, group by group, in ascending order in each.
    records: Vec<(u64, u32)>,
}

impl Index {
    fn of(hashes: &[u64]) -> Self {
        // About four records a group.
        let bits = (hashes.len() / 4).max(1).ilog2() + 1;
        let mut index = Self { shift: u64::BITS - bits, groups: vec![0; (1 << bits) + 1], records: Vec::new() };
        for hash in hashes {
            let group = index.group(*hash);
            index.groups[group + 1] += 1;
        }
        for group in 1..index.groups.len() {
            index.groups[group] += index.groups[group - 1];
        }
        let mut next = index.groups.clone();
        index.records = vec![(0, 0); hashes.len()];
        for (number, hash) in (0..).zip(hashes) {
            let place = &mut next[index.group(*hash)];
            index.records[*place as usize] = (*hash, number);
            *place += 1;
        }
        index
    }

    /// Returns the records with the hash of an earlier one.
    fn again(&self) -> Vec<u32> {
        let mut again = Vec::new();
        for group in self.groups.windows(2) {
            let records = &self.records[group[0] as usize..group[1] as usize];
            for (n, (hash, number)) in records.iter().enumerate() {
                if records[..n].iter().any(|(other, _)| other == hash) {
                    again.push(*number);
                }
            }
        }
        again.sort_unstable();
        again
    }

    fn group(&self, hash: u64) -> usize {
        usize::try_from(hash >> self.shift).unwrap_or(0)
    }

    /// Returns the records among which those with this hash are.
    fn records(&self, hash: u64) -> &[(u64, u32)] {
        let group = self.group(hash);
        let place = |group: usize| self.groups.get(group).map_or(0, |place| *place as usize);
        &self.records[place(group)..place(group + 1)]
    }

    fn first(&self, hash: u64) -> Option<u32> {
        self.records(hash).iter().find(|(own, _)| *own == hash).map(|(_, number)| *number)
    }
}

impl Ids {
    /// Begins with room for this many records.
    pub(crate) fn with_room(records: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(records * USUAL),
            ends: Vec::with_capacity(records),
            hashes: Vec::with_capacity(records),
            index: Index::default(),
        }
    }

    /// Adds the id of the next record; returns its number.
    pub(crate) fn push(&mut self, id: &str) -> u32 {
        let number = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(id.as_bytes());
        self.ends.push(self.bytes.len());
        self.hashes.push(hash(id));
        number
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Takes all records for known: from here on they are found by their hashes. Returns those whose ids earlier ones have.
    pub(crate) fn settle(&mut self) -> Vec<u32> {
        self.index = Index::of(&self.hashes);
        let again = self.index.again();
        self.hashes = Vec::new();
        again
    }

    /// Returns the number of the first record whose id has this hash.
    pub(crate) fn number(&self, hash: u64) -> Option<u32> {
        self.index.first(hash)
    }

    /// Returns those of `targets`, each the hash of an id with a number that goes with it, that no record has.
    pub(crate) fn unknown(&self, targets: &[(u64, u32)]) -> Vec<(u64, u32)> {
        let mut unknown = Vec::new();
        let mut groups = Vec::with_capacity(TOGETHER);
        for some in targets.chunks(TOGETHER) {
            // Where to look is found for many first, so that the memory is asked for all of them at once.
            groups.clear();
            groups.extend(some.iter().map(|(hash, _)| self.index.records(*hash)));
            let missing =
                some.iter().zip(&groups).filter(|((hash, _), group)| group.iter().all(|(own, _)| own != hash));
            unknown.extend(missing.map(|(target, _)| *target));
        }
        unknown
    }

    /// Returns the id of a record.
    pub(crate) fn id(&self, number: u32) -> String {
        let at = number as usize;
        let start = if at == 0 { 0 } else { self.ends.get(at - 1).copied().unwrap_or(0) };
        let end = self.ends.get(at).copied().unwrap_or(start);
        String::from_utf8_lossy(self.bytes.get(start..end).unwrap_or_default()).into_owned()
    }

    /// Returns the ids of these records, each a group of its own.
    pub(crate) fn each(&self, numbers: &[u32]) -> Vec<Vec<String>> {
        numbers.iter().map(|number| vec![self.id(*number)]).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_id_leads_to_its_first_record(texts in prop::collection::vec("[a-c]{0,4}|[0-9]{9}", 0..400)) {
            let mut ids = Ids::default();
            let mut first: BTreeMap<&str, u32> = BTreeMap::new();
            let mut again = Vec::new();
            for (n, text) in (0..).zip(&texts) {
                prop_assert_eq!(ids.push(text), n);
                if first.contains_key(text.as_str()) {
                    again.push(n);
                }
                first.entry(text).or_insert(n);
            }
            prop_assert_eq!(ids.settle(), again);
            for (text, n) in &first {
                prop_assert_eq!(ids.number(hash(text)), Some(*n));
            }
            prop_assert_eq!(ids.number(hash("none")), None);
            let targets: Vec<(u64, u32)> = (0..).zip(["none", "a", "000000000"].iter().cycle().take(200)).map(|(n, text)| (hash(text), n)).collect();
            let unknown: Vec<(u64, u32)> = targets.iter().filter(|(target, _)| first.keys().all(|text| hash(text) != *target)).copied().collect();
            prop_assert_eq!(ids.unknown(&targets), unknown);
            for (n, text) in (0..).zip(&texts) {
                prop_assert_eq!(&ids.id(n), text);
            }
        }
    }
}
