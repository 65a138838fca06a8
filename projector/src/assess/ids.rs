//! The ids of an object's records, packed: a dozen bytes each.

use std::hash::Hasher;

use rustc_hash::{FxHashMap, FxHasher};

/// Hashes a text. Two texts of one object with one hash are taken for one: with ten million records, one chance in 300,000.
pub(crate) fn hash(text: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(text.as_bytes());
    hasher.write_u8(0xFF);
    hasher.finish()
}

/// Ids by record number.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    numbers: FxHashMap<u64, u32>,
}

impl Ids {
    /// Adds the id of the next record; returns its number, and whether the id is new.
    pub(crate) fn push(&mut self, id: &str) -> (u32, bool) {
        let number = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(id.as_bytes());
        self.ends.push(self.bytes.len());
        let mut new = false;
        self.numbers.entry(hash(id)).or_insert_with(|| {
            new = true;
            number
        });
        (number, new)
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the number of the record whose id has this hash.
    pub(crate) fn number(&self, hash: u64) -> Option<u32> {
        self.numbers.get(&hash).copied()
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
