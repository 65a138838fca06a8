//! Which slots of the keyring may be a subject's: an index that lies in a file, but for the latest.

use std::{
    collections::BTreeSet,
    fs::File,
    hash::{BuildHasher, RandomState},
    io::{self, BufRead, BufReader, BufWriter, Seek, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// How many of the latest slots are found in memory: when there are more, they go into the file.
const LATEST: usize = 1 << 18;
/// How many slots are put in order at a time where a keyring is opened.
const TOGETHER: usize = 1 << 20;
/// Bytes of an entry in the file.
const ENTRY: usize = 8;
/// Entries that are read at a time.
const PAGE: usize = 64;

/// Slots by 32 bits of their digest. There are more slots than records, so memory keeps one number for each page of the file. The
/// slot itself says whether it is the one.
///
/// The file has no name and goes with the process. Its bits are keyed with what only this process knows, so that what is left
/// of it on a disk says nothing about anybody who was forgotten.
#[derive(Debug)]
pub(crate) struct Index {
    dir: PathBuf,
    keyed: RandomState,
    /// How many slots there are, destroyed ones included.
    slots: u32,
    latest: BTreeSet<Entry>,
    /// How many of the latest are enough for the file.
    enough: usize,
    settled: Option<Settled>,
}

/// The bits of a digest above its slot: in the order of the bits.
type Entry = u64;

/// Entries in order, in a file.
#[derive(Debug)]
struct Settled {
    file: File,
    entries: usize,
    /// The bits of the first entry of every page.
    pages: Vec<u32>,
}

fn bits_of(entry: Entry) -> u32 {
    u32::try_from(entry >> 32).unwrap_or(u32::MAX)
}

fn slot_of(entry: Entry) -> u32 {
    let [a, b, c, d, ..] = entry.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

impl Index {
    /// Returns an index of nothing, whose file lies where `dir` is.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, keyed: RandomState::new(), slots: 0, latest: BTreeSet::new(), enough: LATEST, settled: None }
    }

    /// Returns how many slots there are.
    pub(crate) fn len(&self) -> u32 {
        self.slots
    }

    fn bits(&self, digest: &[u8; 16]) -> u32 {
        bits_of(self.keyed.hash_one(digest))
    }

    /// Counts the next slot, and returns its entry.
    fn next(&mut self, digest: &[u8; 16]) -> Entry {
        let entry = u64::from(self.bits(digest)) << 32 | u64::from(self.slots);
        self.slots += 1;
        entry
    }

    /// Takes in the next slot.
    pub(crate) fn push(&mut self, digest: &[u8; 16]) {
        let entry = self.next(digest);
        self.latest.insert(entry);
        if self.latest.len() < self.enough {
            return;
        }
        match Settled::of(&self.dir, self.settled.as_ref(), self.latest.iter().copied(), self.latest.len()) {
            Ok(settled) => {
                (self.settled, self.enough) = (Some(settled), LATEST);
                self.latest.clear();
            }
            // A disk that has no room for it: memory has, until there may be some again.
            Err(_) => self.enough += LATEST,
        }
    }

    /// Begins to take in many slots.
    pub(crate) fn filling(self) -> Filling {
        Filling { index: self, entries: Vec::new() }
    }

    /// Returns the slots that may have a digest.
    pub(crate) fn candidates(&self, digest: &[u8; 16]) -> io::Result<Vec<u32>> {
        let bits = self.bits(digest);
        let mut found = Vec::new();
        if let Some(settled) = &self.settled {
            settled.find(bits, &mut found)?;
        }
        let first = u64::from(bits) << 32;
        found.extend(self.latest.range(first..=first | u64::from(u32::MAX)).map(|entry| slot_of(*entry)));
        Ok(found)
    }
}

/// An index that takes in many slots, which are put in order together.
#[derive(Debug)]
pub(crate) struct Filling {
    index: Index,
    entries: Vec<Entry>,
}

impl Filling {
    /// Takes in the next slot, or passes over it where it was destroyed.
    pub(crate) fn push(&mut self, digest: Option<&[u8; 16]>) {
        let Some(digest) = digest else {
            self.index.slots += 1;
            return;
        };
        let entry = self.index.next(digest);
        self.entries.push(entry);
        if self.entries.len() >= TOGETHER {
            self.settle();
        }
    }

    /// Returns the index of all of them.
    pub(crate) fn done(mut self) -> Index {
        if self.entries.len() >= LATEST || self.index.settled.is_some() {
            self.settle();
        }
        self.index.latest.extend(self.entries);
        self.index.enough = (self.index.latest.len() / LATEST + 1) * LATEST;
        self.index
    }

    /// Moves what there is into the file, if the disk has room.
    fn settle(&mut self) {
        let Self { index, entries } = self;
        entries.sort_unstable();
        match Settled::of(&index.dir, index.settled.as_ref(), entries.iter().copied(), entries.len()) {
            Ok(settled) => index.settled = Some(settled),
            Err(_) => index.latest.extend(entries.iter().copied()),
        }
        entries.clear();
    }
}

impl Settled {
    /// Writes so many entries, which come in order, and those of an earlier file.
    fn of(
        dir: &Path,
        before: Option<&Self>,
        mut entries: impl Iterator<Item = Entry>,
        count: usize,
    ) -> io::Result<Self> {
        let total = before.map_or(0, |before| before.entries) + count;
        let mut settled =
            Self { file: tempfile::tempfile_in(dir)?, entries: 0, pages: Vec::with_capacity(total.div_ceil(PAGE)) };
        let mut to = BufWriter::with_capacity(1 << 16, settled.file.try_clone()?);
        let mut earlier = before.map(Self::all).transpose()?;
        let mut old = || earlier.as_mut().map_or(Ok(None), each);
        let (mut one, mut other) = (old()?, entries.next());
        while let Some(entry) = one.into_iter().chain(other).min() {
            if one == Some(entry) {
                one = old()?;
            } else {
                other = entries.next();
            }
            if settled.entries.is_multiple_of(PAGE) {
                settled.pages.push(bits_of(entry));
            }
            settled.entries += 1;
            to.write_all(&entry.to_be_bytes())?;
        }
        to.flush()?;
        Ok(settled)
    }

    /// Returns the file, from its beginning.
    fn all(&self) -> io::Result<BufReader<File>> {
        let mut file = self.file.try_clone()?;
        file.rewind()?;
        Ok(BufReader::with_capacity(1 << 16, file))
    }

    fn find(&self, bits: u32, found: &mut Vec<u32>) -> io::Result<()> {
        // The first of them may be the last of the page before the one that begins with them.
        let mut page = self.pages.partition_point(|first| *first < bits).saturating_sub(1);
        let mut bytes = [0; PAGE * ENTRY];
        while page < self.pages.len() && self.pages[page] <= bits {
            let count = PAGE.min(self.entries - page * PAGE);
            let bytes = &mut bytes[..count * ENTRY];
            self.file.read_exact_at(bytes, (page * PAGE * ENTRY) as u64)?;
            let entries = bytes.as_chunks().0.iter().map(|entry| Entry::from_be_bytes(*entry));
            found.extend(entries.filter(|entry| bits_of(*entry) == bits).map(slot_of));
            page += 1;
        }
        Ok(())
    }
}

/// Returns the next entry of a file, if there is one.
fn each(file: &mut BufReader<File>) -> io::Result<Option<Entry>> {
    if file.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut entry = [0; ENTRY];
    io::Read::read_exact(file, &mut entry)?;
    Ok(Some(Entry::from_be_bytes(entry)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn digest(n: u32) -> [u8; 16] {
        std::array::from_fn(|at| n.to_le_bytes()[at % 4])
    }

    fn is_found(index: &Index, slot: u32) -> bool {
        index.candidates(&digest(slot)).unwrap().contains(&slot)
    }

    /// Returns an index of slots of which every tenth was destroyed, the first of them taken in together.
    fn index(dir: &Path, together: u32, all: u32) -> Index {
        let mut filling = Index::new(dir.to_owned()).filling();
        for slot in 0..together {
            filling.push((slot % 10 != 9).then_some(&digest(slot)));
        }
        let mut index = filling.done();
        for slot in together..all {
            index.push(&digest(slot));
        }
        assert_eq!(index.len(), all);
        index
    }

    #[test]
    fn every_live_slot_is_among_the_candidates_of_its_digest_however_many_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let latest = u32::try_from(LATEST).unwrap();
        for (together, more, settled) in
            [(0, 1_000, 0), (3_000, 10, 0), (100, 2 * latest + 7, 2), (8 * latest, latest, 1)]
        {
            let all = together + more;
            let index = index(dir.path(), together, all);
            for slot in (0..all).step_by(if all > 10_000 { 97 } else { 1 }).chain(all - 20..all) {
                assert_eq!(is_found(&index, slot), slot >= together || slot % 10 != 9, "slot {slot} of {all}");
            }
            let others: usize = (all..all + 1_000).map(|n| index.candidates(&digest(n)).unwrap().len()).sum();
            assert!(others <= 10, "{others} candidates for a thousand who are not there");
            let memory = index.latest.len();
            assert!(memory < LATEST, "{memory} in memory");
            assert_eq!(index.settled.is_some(), settled > 0);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the files have no names");
    }

    #[test]
    fn where_the_disk_refuses_memory_has_room() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        let latest = u32::try_from(LATEST).unwrap();
        for (together, all) in [(10, latest + 50), (4 * latest + 50, 5 * latest + 50)] {
            let index = index(&gone, together, all);
            assert!(index.settled.is_none());
            assert!((together..all).step_by(997).all(|slot| is_found(&index, slot)));
            assert!(is_found(&index, 3) && is_found(&index, all - 1));
        }
    }

    proptest! {
        #[test]
        fn what_was_settled_is_found_by_its_bits(
            // Few different bits: their entries lie over several pages, and begin anywhere in one.
            parts in prop::collection::vec(prop::collection::btree_set((0u32..6, 0u32..2_000), 0..400), 1..4),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let entry = |(bits, slot): &(u32, u32)| u64::from(*bits) << 32 | u64::from(*slot);
            let mut all: Vec<(u32, u32)> = Vec::new();
            let mut settled: Option<Settled> = None;
            for part in &parts {
                let new: Vec<_> = part.iter().filter(|one| !all.contains(one)).copied().collect();
                settled = Some(Settled::of(dir.path(), settled.as_ref(), new.iter().map(entry), new.len()).unwrap());
                all.extend(new);
            }
            all.sort_unstable();
            let settled = settled.unwrap();
            prop_assert_eq!(settled.entries, all.len());
            for bits in 0..7 {
                let mut found = Vec::new();
                settled.find(bits, &mut found).unwrap();
                let wanted: Vec<u32> = all.iter().filter(|one| one.0 == bits).map(|one| one.1).collect();
                prop_assert_eq!(found, wanted);
            }
        }
    }
}
