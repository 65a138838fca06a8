//! The last acknowledged head, kept outside the store: what sled loses in silence is found against it.
//!
//! ```text
//! two records of 512 bytes, written in turn, so that one is always whole:
//! "WANC" 4 · version u16 · zeros 2 · turn u64 · blocks u64 · end position u64 · root 32 · zeros · blake3 of the 496 bytes before, its first 16
//! ```

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use crate::{
    head::Head,
    subject::{Digest, Position},
};

const RECORD: usize = 512;
const MAGIC: [u8; 8] = *b"WANC\x01\0\0\0";

/// An open anchor.
#[derive(Debug)]
pub(crate) struct Anchor {
    file: File,
    turn: u64,
}

impl Anchor {
    /// Makes an anchor at the start of a ledger.
    pub(crate) fn create(path: &Path, head: &Head) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.write_all_at(&[0; 2 * RECORD], 0)?;
        let mut anchor = Self { file, turn: 0 };
        anchor.write(head)?;
        anchor.file.sync_all()?;
        Ok(anchor)
    }

    /// Opens an anchor and returns the last head that was acknowledged.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Head)> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let (turn, head) = read(&file)?;
        Ok((Self { file, turn }, head))
    }

    /// Returns the last head that was acknowledged, without opening for writing.
    pub(crate) fn look(path: &Path) -> io::Result<Head> {
        Ok(read(&File::open(path)?)?.1)
    }

    /// Writes a head and makes it durable.
    pub(crate) fn write(&mut self, head: &Head) -> io::Result<()> {
        self.turn += 1;
        let mut record = [0; RECORD];
        record[..8].copy_from_slice(&MAGIC);
        record[8..16].copy_from_slice(&self.turn.to_le_bytes());
        record[16..24].copy_from_slice(&head.blocks.to_le_bytes());
        record[24..32].copy_from_slice(&head.end.0.to_le_bytes());
        record[32..64].copy_from_slice(&head.root.0);
        let check = *blake3::hash(&record[..496]).as_bytes();
        record[496..].copy_from_slice(&check[..16]);
        self.file.write_all_at(&record, (self.turn % 2) * RECORD as u64)?;
        self.file.sync_data()
    }
}

fn read(file: &File) -> io::Result<(u64, Head)> {
    let mut best = None;
    for place in 0..2 {
        let mut record = [0; RECORD];
        if file.read_exact_at(&mut record, place * RECORD as u64).is_err() {
            continue;
        }
        if record[..8] != MAGIC || record[496..] != blake3::hash(&record[..496]).as_bytes()[..16] {
            continue;
        }
        let long = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().expect("eight bytes"));
        let root = Digest(record[32..64].try_into().expect("32 bytes"));
        let head = Head { blocks: long(16), end: Position(long(24)), root };
        if best.is_none_or(|(turn, _)| long(8) > turn) {
            best = Some((long(8), head));
        }
    }
    best.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "neither record of the anchor is whole"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn head(n: u64) -> Head {
        Head { blocks: n, end: Position(n * 10), root: Digest::of(&n.to_le_bytes()) }
    }

    #[test]
    fn the_last_head_reads_back_and_a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("anchor");
        let mut anchor = Anchor::create(&path, &head(0)).unwrap();
        for n in 1..6 {
            anchor.write(&head(n)).unwrap();
            assert_eq!(Anchor::look(&path).unwrap(), head(n));
        }
        let (_, last) = Anchor::open(&path).unwrap();
        assert_eq!(last, head(5));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Anchor::look(&path).unwrap(), head(4));
        bytes[RECORD + 40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(Anchor::look(&path).is_err());
    }
}
