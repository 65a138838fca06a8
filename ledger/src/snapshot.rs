//! Snapshots of projections: opening a ledger of many events need not take in every event again.
//!
//! A snapshot is disposable. It says up to which head it reaches, and is marked with a key of the project: one of another
//! ledger, of a future that was lost, of another form, or that someone else has changed is passed over, and the events are
//! taken in from the beginning. A snapshot must hold no contents: erasing a subject does not reach it.
//!
//! ```text
//! snapshots/NAME   `WSNP` · 1 u32 · form u32 · 0 u32 · blocks u64 · end position u64 · root 32
//!                  · what the projection wrote
//!                  · mark 32: blake3 over all that, keyed by `derive_key("waybill ledger: snapshots, v1", project key)`
//! ```

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::PoisonError,
};

use crate::{
    ledger::Ledger,
    merkle::Frontier,
    subject::{Digest, Position},
};

const MAGIC: &[u8; 4] = b"WSNP";
const HEAD: usize = 64;
const MARK: usize = 32;
/// How much of a snapshot is read at a time.
const BUFFER: usize = 256 << 10;

/// A snapshot that fits the ledger.
#[derive(Debug)]
pub struct Kept {
    /// The position after the last event in it.
    pub end: Position,
    /// What the projection wrote.
    pub body: BufReader<io::Take<File>>,
}

/// A file, and the mark over everything that was written to it.
struct Marked<'a> {
    file: BufWriter<&'a File>,
    mark: blake3::Hasher,
}

impl Write for Marked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.mark.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Ledger {
    /// Keeps a snapshot of a projection that has taken in every event before `end`. `form` is the projection's own number
    /// for how it writes; `write` writes it, without contents.
    ///
    /// Returns whether it was kept: only the process that writes the ledger keeps one, and only at the end of a block, as
    /// every [`Ledger::head`] is.
    pub fn keep_snapshot(
        &self,
        name: &str,
        form: u32,
        end: Position,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<bool> {
        let (Some((dir, true)), Some(key)) = (&self.snapshots, self.core.keyring().marking()) else {
            return Ok(false);
        };
        let Some(head) = self.head_at(end) else { return Ok(false) };
        fs::create_dir_all(dir)?;
        let path = dir.join(name);
        let new = path.with_extension("new");
        let file = File::create(&new)?;
        let mut to = Marked { file: BufWriter::with_capacity(1 << 16, &file), mark: blake3::Hasher::new_keyed(&key) };
        to.write_all(&head_bytes(form, head))?;
        write(&mut to)?;
        let mark = to.mark.finalize();
        to.file.write_all(mark.as_bytes())?;
        to.file.flush()?;
        drop(to);
        fs::rename(new, path)?;
        Ok(true)
    }

    /// Returns the latest snapshot of a projection, if there is one of this form and it fits this ledger.
    pub fn snapshot(&self, name: &str, form: u32) -> Option<Kept> {
        let path = self.snapshots.as_ref()?.0.join(name);
        // Whatever is wrong with a snapshot, the events tell the same.
        self.read_snapshot(path, form).ok().flatten()
    }

    fn read_snapshot(&self, path: PathBuf, form: u32) -> io::Result<Option<Kept>> {
        let Some(key) = self.core.keyring().marking() else { return Ok(None) };
        let mut file = File::open(path)?;
        let Some(marked) = file.metadata()?.len().checked_sub(MARK as u64).filter(|length| *length >= HEAD as u64)
        else {
            return Ok(None);
        };
        let mut head = [0; HEAD];
        file.read_exact(&mut head)?;
        let end = Position(u64::from_le_bytes(head[24..32].try_into().expect("eight bytes")));
        match self.head_at(end) {
            Some(here) if head_bytes(form, here) == head => {}
            _ => return Ok(None),
        }
        file.seek(SeekFrom::Start(0))?;
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update_reader((&mut file).take(marked))?;
        let mut mark = [0; MARK];
        file.read_exact(&mut mark)?;
        if hasher.finalize() != mark {
            return Ok(None);
        }
        file.seek(SeekFrom::Start(HEAD as u64))?;
        Ok(Some(Kept { end, body: BufReader::with_capacity(BUFFER, file.take(marked - HEAD as u64)) }))
    }

    /// Returns how many blocks end at a position and their root, if a block ends there.
    fn head_at(&self, end: Position) -> Option<(u64, Position, Digest)> {
        let index = self.core.index.read().unwrap_or_else(PoisonError::into_inner);
        let blocks = if end == index.end { index.firsts.len() } else { index.firsts.binary_search(&end).ok()? };
        let mut tree = Frontier::default();
        for leaf in &index.leaves[..blocks] {
            tree.push(*leaf);
        }
        Some((blocks as u64, end, tree.root()))
    }
}

fn head_bytes(form: u32, (blocks, end, root): (u64, Position, Digest)) -> [u8; HEAD] {
    let mut bytes = [0; HEAD];
    bytes[..4].copy_from_slice(MAGIC);
    bytes[4..8].copy_from_slice(&1_u32.to_le_bytes());
    bytes[8..12].copy_from_slice(&form.to_le_bytes());
    bytes[16..24].copy_from_slice(&blocks.to_le_bytes());
    bytes[24..32].copy_from_slice(&end.0.to_le_bytes());
    bytes[32..].copy_from_slice(&root.0);
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        event::Event,
        ledger::{Draft, Home, Ports},
        subject::{NameId, SubjectKey},
    };

    fn append(ledger: &Ledger, count: usize) {
        let subject = ledger.subject(&SubjectKey::new("crm", "people", "1")).unwrap();
        let drafts = (0..count).map(|_| Draft::new(NameId(0), Event::RecordReleased).subject(subject)).collect();
        ledger.append(drafts).wait().unwrap();
    }

    fn body(kept: Kept) -> Vec<u8> {
        let mut body = Vec::new();
        { kept.body }.read_to_end(&mut body).unwrap();
        body
    }

    #[test]
    fn a_snapshot_is_found_again_and_one_that_does_not_fit_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(dir.path().join("log"), dir.path().join("keys"));
        let ledger = Ledger::create(&home, Ports::system()).unwrap();
        append(&ledger, 3);
        let end = ledger.head().end;
        append(&ledger, 5);
        assert!(ledger.snapshot("state", 1).is_none());
        assert!(!ledger.keep_snapshot("state", 1, Position(2), |_| Ok(())).unwrap(), "no block ends there");
        assert!(ledger.keep_snapshot("state", 1, end, |to| to.write_all(b"three")).unwrap());
        let path = home.log.join("snapshots/state");
        let whole = fs::read(&path).unwrap();
        ledger.close().unwrap();

        let ledger = Ledger::open(&home, Ports::system()).unwrap();
        let kept = ledger.snapshot("state", 1).unwrap();
        assert_eq!((kept.end, body(kept)), (end, b"three".to_vec()));
        assert!(ledger.snapshot("state", 2).is_none(), "of another form");
        let beside = Ledger::look(&home, Ports::system()).unwrap();
        assert_eq!(body(beside.snapshot("state", 1).unwrap()), b"three");
        assert!(!beside.keep_snapshot("state", 1, end, |_| Ok(())).unwrap(), "a reader keeps none");
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(ledger.snapshot("state", 1).is_none(), "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(ledger.snapshot("state", 1).is_none(), "cut at {at}");
        }
        // Of another ledger: same events, other keys.
        let other = Home::new(dir.path().join("other"), dir.path().join("other keys"));
        let ledger = Ledger::create(&other, Ports::system()).unwrap();
        append(&ledger, 3);
        fs::create_dir_all(other.log.join("snapshots")).unwrap();
        fs::write(other.log.join("snapshots/state"), &whole).unwrap();
        assert!(ledger.snapshot("state", 1).is_none());
    }
}
