//! Which slots of the keyring may be a subject's: an index in memory.

/// Slots by the first four bytes of their digest: open addressing, 80 to 95 hundredths full, over slot numbers with one byte
/// of the digest beside each. There are as many slots as there are records, so this is all that is kept of them in memory; the
/// slot itself says whether it is the one.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// How many slots there are, destroyed ones included.
    slots: u32,
    /// The slot plus one, and a byte of its digest; zeros are free.
    table: Vec<[u8; 5]>,
}

impl Index {
    /// Returns an index of nothing, with room for so many slots and some more.
    pub(crate) fn with_room(slots: usize) -> Self {
        Self { slots: 0, table: vec![[0; 5]; (slots * 10 / 8).max(64)] }
    }

    /// Returns how many slots there are.
    pub(crate) fn len(&self) -> u32 {
        self.slots
    }

    /// Returns whether one more slot fits.
    pub(crate) fn has_room(&self) -> bool {
        (self.slots as usize + 1) * 20 <= self.table.len() * 19
    }

    /// Takes in the next slot: where there is [room](Self::has_room).
    pub(crate) fn push(&mut self, digest: Option<u32>) {
        self.slots += 1;
        if let Some(digest) = digest {
            let mut at = start(digest, self.table.len());
            while self.table[at] != [0; 5] {
                at = following(at, self.table.len());
            }
            let [a, b, c, d] = self.slots.to_le_bytes();
            self.table[at] = [a, b, c, d, tag(digest)];
        }
    }

    /// Returns the slots that may have a digest.
    pub(crate) fn candidates(&self, digest: u32) -> Candidates {
        Candidates { tag: tag(digest), at: start(digest, self.table.len()) }
    }
}

/// Slots that may have a digest, one after another.
pub(crate) struct Candidates {
    tag: u8,
    at: usize,
}

impl Candidates {
    /// Returns the next of them in the index that they come from.
    pub(crate) fn next(&mut self, index: &Index) -> Option<u32> {
        loop {
            let [a, b, c, d, tag] = *index.table.get(self.at)?;
            let slot = u32::from_le_bytes([a, b, c, d]).checked_sub(1)?;
            self.at = following(self.at, index.table.len());
            if tag == self.tag {
                return Some(slot);
            }
        }
    }
}

/// The byte of a digest that its place in the table does not tell.
fn tag(digest: u32) -> u8 {
    digest.to_le_bytes()[0]
}

/// Digests are evenly spread over 32 bits: scaled down, they are evenly spread over the table.
fn start(digest: u32, length: usize) -> usize {
    usize::try_from((u64::from(digest) * length as u64) >> 32).unwrap_or(0)
}

fn following(at: usize, length: usize) -> usize {
    if at + 1 == length { 0 } else { at + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_live_slot_is_among_the_candidates_of_its_digest_however_full_the_table_is() {
        // Digests that crowd into one corner, differ in their last byte alone, or are spread over everything.
        let digest = |n: u32| match n % 3 {
            0 => n,
            1 => (n << 8) | 7,
            _ => n.wrapping_mul(2_654_435_761),
        };
        let mut index = Index::with_room(0);
        for n in 0..5_000 {
            if !index.has_room() {
                let mut larger = Index::with_room(index.len() as usize);
                (0..n).for_each(|n| larger.push((n % 10 != 9).then(|| digest(n))));
                index = larger;
            }
            index.push((n % 10 != 9).then(|| digest(n)));
            assert_eq!(index.len(), n + 1);
        }
        for n in 0..5_000 {
            let mut candidates = index.candidates(digest(n));
            let found = std::iter::from_fn(|| candidates.next(&index)).any(|slot| slot == n);
            assert_eq!(found, n % 10 != 9, "slot {n}");
        }
        let nobody = Index::default();
        assert_eq!(nobody.candidates(7).next(&nobody), None);
    }
}
