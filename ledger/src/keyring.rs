//! The subjects' keys: a file of fixed slots outside the ledger, so that a person can be forgotten.
//!
//! ```text
//! keys/project.key   wraps every subject's key (see the guard)
//! keys/signing.key   signs heads (see the guard)
//! keys/subjects      80-byte slots, the slot's number times 80 is its place:
//!                    state 1 (1 live, 2 destroyed) · zeros 3 · keyed digest of the readable id 16 ·
//!                    nonce 12 · the subject's key, wrapped 48; of a destroyed slot all but the state is zero
//! ```
//!
//! The digest of a readable id is blake3 keyed by a key derived from the project key, so the file names nobody. A
//! subject's key is random and wrapped with ChaCha20-Poly1305 under a key derived from the project key, with a random
//! nonce and with the slot number and the 20 bytes before the nonce as associated data: a changed slot does not open. (As
//! many slots as can be numbered, each with 96 random bits, stay within what that cipher is good for.) Slots are never
//! reused. A new slot is synced before the block that uses it.
//!
//! In memory a subject costs next to nothing: which slots may be whose is looked up in a file that every process makes anew.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{
    cipher,
    guard::{self, Guard},
    ports::Entropy,
    slots::Index,
    subject::{SubjectId, SubjectKey},
    vault::Key,
};

const SLOT: usize = 80;
/// How many keys are held open at a time: those of the rows of a few large batches, and of their sources.
const OPEN: usize = 1 << 16;
/// Slots that are read and kept together: what is looked for one after another mostly lies side by side.
const SHELF: u32 = 16;
/// How many of these are kept.
const SHELVES: usize = 1 << 10;
const LIVE: u8 = 1;
const DESTROYED: u8 = 2;

/// The keyring cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A key is missing; the text says which.
    #[error("{0}: without it the ledger proves, but its contents stay sealed")]
    Missing(String),
    /// A key file is not one.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The disk refuses.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The secret that opens the project key is missing or wrong.
    #[error("{0}")]
    Secret(String),
    /// There are more subjects than slots can number.
    #[error("the ledger has as many subjects as it can number")]
    Full,
}

impl KeyringError {
    /// A file of the keyring is not there.
    pub(crate) fn missing(path: &Path) -> Self {
        Self::Missing(format!("{} is missing", path.display()))
    }
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// The subject's key.
    Key(Key),
    /// The key was destroyed.
    Erased,
    /// The keyring is not here.
    Locked,
}

/// An open keyring.
#[derive(Debug)]
pub(crate) struct Keyring {
    path: PathBuf,
    file: File,
    wrapping: Key,
    indexing: Key,
    marking: Key,
    /// Slots on disk and synced.
    synced: u32,
    /// Slots that are not on disk yet.
    pending: Vec<u8>,
    index: Index,
    /// Keys that were used lately, each at the place of its slot's number modulo [`OPEN`].
    open: Vec<Option<(SubjectId, Key)>>,
    /// Slots that were read lately, [`SHELF`] of them each, by the number of the first; each at the place of that modulo
    /// [`SHELVES`].
    shelves: Vec<Option<(u32, Box<[u8]>)>>,
    /// Whether there is no keyring: nothing can be opened, and nobody is found.
    blind: bool,
}

impl Keyring {
    /// Returns what a reader has who has no keys.
    pub(crate) fn blind() -> Result<Self, KeyringError> {
        let path = PathBuf::from("/dev/null");
        let file = File::open(&path).map_err(|error| KeyringError::Io { path: path.clone(), error })?;
        Ok(Self {
            path,
            file,
            wrapping: [0; 32],
            indexing: [0; 32],
            marking: [0; 32],
            synced: 0,
            pending: Vec::new(),
            index: Index::new(PathBuf::from("/dev/null")),
            open: Vec::new(),
            shelves: Vec::new(),
            blind: true,
        })
    }

    /// Makes new keys in `dir`, which must have none.
    pub(crate) fn create(dir: &Path, guard: &Guard, entropy: &dyn Entropy) -> Result<Self, KeyringError> {
        fs::create_dir_all(dir).map_err(|error| KeyringError::Io { path: dir.to_owned(), error })?;
        let project = guard::create_project_key(dir, guard, entropy)?;
        guard::create_signing_key(dir, guard, &project, entropy)?;
        let path = dir.join("subjects");
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        open.and_then(|file| file.sync_all()).map_err(|error| KeyringError::Io { path, error })?;
        sync_dir(dir)?;
        let mut keyring = Self::open_with(dir, &project)?;
        // Slot 0 is the project itself.
        keyring.subject(&SubjectKey::new("waybill", "project", ""), entropy)?;
        keyring.sync()?;
        Ok(keyring)
    }

    /// Opens the keys in `dir`.
    pub(crate) fn open(dir: &Path, guard: &Guard) -> Result<Self, KeyringError> {
        let keyring = Self::open_with(dir, &guard::project_key(dir, guard)?)?;
        // A keyring of whose slots the first does not open was wrapped with another key.
        match keyring.len().checked_sub(1).map(|_| keyring.read(SubjectId::PROJECT)) {
            Some(Err(KeyringError::Damaged { .. })) if !matches!(guard, Guard::File) => {
                Err(KeyringError::Secret(format!("{} was made with another project key", keyring.path.display())))
            }
            _ => Ok(keyring),
        }
    }

    fn open_with(dir: &Path, project: &Key) -> Result<Self, KeyringError> {
        let path = dir.join("subjects");
        let io = |error| KeyringError::Io { path: path.clone(), error };
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(KeyringError::missing(&path)),
            Err(error) => return Err(io(error)),
        };
        let length = file.metadata().map_err(io)?.len();
        // A kill while slots were written may leave a part of one; no block uses it.
        let count = u32::try_from(length / SLOT as u64).map_err(|_| KeyringError::Full)?;
        let mut index = Index::new(dir.to_owned()).filling();
        each_slot(&file, count, |slot, bytes| {
            let digest = match bytes[0] {
                LIVE => Some(digest_in(bytes)),
                DESTROYED => None,
                _ => {
                    let what = format!("slot {slot} is neither live nor destroyed");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
            };
            index.push(digest);
            Ok(())
        })
        .map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => KeyringError::Damaged { path: path.clone(), what: error.to_string() },
            _ => io(error),
        })?;
        Ok(Self {
            wrapping: blake3::derive_key("waybill ledger: wrapping of subject keys, v1", project),
            indexing: blake3::derive_key("waybill ledger: index of subjects, v1", project),
            marking: blake3::derive_key("waybill ledger: snapshots, v1", project),
            synced: count,
            pending: Vec::new(),
            path,
            file,
            index: index.done(),
            open: vec![None; OPEN],
            shelves: vec![None; SHELVES],
            blind: false,
        })
    }

    /// Returns the key by which snapshots are known to be ours, if there is a keyring.
    pub(crate) fn marking(&self) -> Option<Key> {
        (!self.blind).then_some(self.marking)
    }

    /// Returns whether there are no keys.
    pub(crate) fn is_blind(&self) -> bool {
        self.blind
    }

    /// Returns the slot of a subject, if it has one.
    pub(crate) fn find(&mut self, key: &SubjectKey) -> Result<Option<SubjectId>, KeyringError> {
        self.find_digest(self.digest(key))
    }

    fn find_digest(&mut self, digest: [u8; 16]) -> Result<Option<SubjectId>, KeyringError> {
        let candidates = self.index.candidates(&digest);
        for slot in candidates.map_err(|error| KeyringError::Io { path: self.path.clone(), error })? {
            if self.near(SubjectId(slot))?[DIGEST] == digest {
                return Ok(Some(SubjectId(slot)));
            }
        }
        Ok(None)
    }

    /// Returns a slot, of which those beside it are kept at hand: to see whose it is. Keys are read from the disk, where another
    /// process may have destroyed them meanwhile.
    fn near(&mut self, subject: SubjectId) -> Result<[u8; SLOT], KeyringError> {
        let first = subject.0 / SHELF * SHELF;
        if first + SHELF > self.synced || self.shelves.is_empty() {
            return self.slot(subject);
        }
        let shelf = &mut self.shelves[(first / SHELF) as usize % SHELVES];
        let bytes = match shelf {
            Some((of, bytes)) if *of == first => bytes,
            _ => {
                let mut bytes = vec![0; SHELF as usize * SLOT].into_boxed_slice();
                self.file
                    .read_exact_at(&mut bytes, u64::from(first) * SLOT as u64)
                    .map_err(|error| KeyringError::Io { path: self.path.clone(), error })?;
                &mut shelf.insert((first, bytes)).1
            }
        };
        let at = (subject.0 - first) as usize * SLOT;
        Ok(bytes[at..at + SLOT].try_into().expect("a slot's bytes"))
    }

    /// Returns the slot of a subject, taking a new one if it has none.
    pub(crate) fn subject(&mut self, key: &SubjectKey, entropy: &dyn Entropy) -> Result<SubjectId, KeyringError> {
        if self.blind {
            return Err(KeyringError::missing(&self.path));
        }
        let digest = self.digest(key);
        if let Some(subject) = self.find_digest(digest)? {
            return Ok(subject);
        }
        let subject = SubjectId(self.index.len());
        if subject.0 == u32::MAX {
            return Err(KeyringError::Full);
        }
        let (mut own, mut nonce) = ([0; 32], [0; 12]);
        entropy.fill(&mut own);
        entropy.fill(&mut nonce);
        let mut slot = [0; SLOT];
        slot[0] = LIVE;
        slot[DIGEST].copy_from_slice(&digest);
        let mut wrapped = own.to_vec();
        cipher::seal(&self.wrapping, nonce, &associated(subject, &slot), &mut wrapped, 0);
        slot[NONCE].copy_from_slice(&nonce);
        slot[WRAPPED].copy_from_slice(&wrapped);
        self.pending.extend_from_slice(&slot);
        self.index.push(&digest);
        self.open[subject.0 as usize % OPEN] = Some((subject, own));
        Ok(subject)
    }

    /// Returns what the slot holds.
    pub(crate) fn key(&mut self, subject: SubjectId) -> Result<Held, KeyringError> {
        if self.blind {
            return Ok(Held::Locked);
        }
        let open = subject.0 as usize % OPEN;
        if let Some((_, key)) = self.open[open].filter(|(held, _)| *held == subject) {
            return Ok(Held::Key(key));
        }
        let held = self.read(subject)?;
        if let Held::Key(key) = held {
            self.open[open] = Some((subject, key));
        }
        Ok(held)
    }

    fn read(&self, subject: SubjectId) -> Result<Held, KeyringError> {
        self.unwrap(subject, &self.slot(subject)?)
    }

    /// Returns a way to read keys that reads many slots at a time, past the keys that are open.
    pub(crate) fn pages(&self) -> Pages<'_> {
        Pages { keyring: self, first: 0, bytes: Vec::new() }
    }

    fn unwrap(&self, subject: SubjectId, slot: &[u8; SLOT]) -> Result<Held, KeyringError> {
        let damaged =
            |what: &str| KeyringError::Damaged { path: self.path.clone(), what: format!("slot {subject}: {what}") };
        if slot[0] == DESTROYED {
            let empty = slot[1..].iter().all(|byte| *byte == 0);
            return if empty { Ok(Held::Erased) } else { Err(damaged("it is destroyed and not empty")) };
        }
        let nonce = slot[NONCE].try_into().expect("a nonce has 12 bytes");
        let key = cipher::open(&self.wrapping, nonce, &associated(subject, slot), &slot[WRAPPED])
            .ok_or_else(|| damaged("it does not open with the project key"))?;
        key.try_into().map(Held::Key).map_err(|_| damaged("its key has a wrong length"))
    }

    /// Destroys a slot for ever: the digest of the readable id and the key are overwritten and synced. Returns whether it
    /// was live.
    pub(crate) fn destroy(&mut self, subject: SubjectId) -> Result<bool, KeyringError> {
        self.sync()?;
        let live = self.slot(subject)?[0] == LIVE;
        if live {
            let mut slot = [0; SLOT];
            slot[0] = DESTROYED;
            self.open[subject.0 as usize % OPEN] = None;
            self.shelves[(subject.0 / SHELF) as usize % SHELVES] = None;
            let io = |error| KeyringError::Io { path: self.path.clone(), error };
            self.file.write_all_at(&slot, u64::from(subject.0) * SLOT as u64).map_err(io)?;
            self.file.sync_data().map_err(io)?;
        }
        Ok(live)
    }

    /// Returns how many slots there are.
    pub(crate) fn len(&self) -> u32 {
        self.index.len()
    }

    /// Makes every new slot durable.
    pub(crate) fn sync(&mut self) -> Result<(), KeyringError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let io = |error| KeyringError::Io { path: self.path.clone(), error };
        self.file.write_all_at(&self.pending, u64::from(self.synced) * SLOT as u64).map_err(io)?;
        self.file.sync_data().map_err(io)?;
        self.synced = self.index.len();
        self.pending.clear();
        Ok(())
    }

    fn slot(&self, subject: SubjectId) -> Result<[u8; SLOT], KeyringError> {
        let mut slot = [0; SLOT];
        if subject.0 >= self.index.len() {
            let what = format!("it has no slot {subject}");
            return Err(KeyringError::Damaged { path: self.path.clone(), what });
        }
        match subject.0.checked_sub(self.synced) {
            Some(pending) => {
                let at = pending as usize * SLOT;
                slot.copy_from_slice(&self.pending[at..at + SLOT]);
            }
            None => self
                .file
                .read_exact_at(&mut slot, u64::from(subject.0) * SLOT as u64)
                .map_err(|error| KeyringError::Io { path: self.path.clone(), error })?,
        }
        Ok(slot)
    }

    fn digest(&self, key: &SubjectKey) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.indexing);
        for part in [&key.system, &key.object, &key.id] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.finalize().as_bytes()[..16].try_into().expect("a hash has 32 bytes")
    }
}

/// Reads keys, many slots at a time: what lies near in the ledger has slots that lie near.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    keyring: &'a Keyring,
    first: u32,
    bytes: Vec<u8>,
}

impl Pages<'_> {
    /// How many slots are read at a time.
    const SLOTS: u32 = 256;

    /// Returns what the slot holds.
    pub(crate) fn key(&mut self, subject: SubjectId) -> Result<Held, KeyringError> {
        if self.keyring.blind {
            return Ok(Held::Locked);
        }
        if subject.0 >= self.keyring.synced {
            return self.keyring.read(subject);
        }
        if subject.0 < self.first || subject.0 - self.first >= u32::try_from(self.bytes.len() / SLOT).unwrap_or(0) {
            self.first = subject.0 / Self::SLOTS * Self::SLOTS;
            let count = Self::SLOTS.min(self.keyring.synced - self.first);
            self.bytes.resize(count as usize * SLOT, 0);
            let at = u64::from(self.first) * SLOT as u64;
            self.keyring
                .file
                .read_exact_at(&mut self.bytes, at)
                .map_err(|error| KeyringError::Io { path: self.keyring.path.clone(), error })?;
        }
        let at = (subject.0 - self.first) as usize * SLOT;
        self.keyring.unwrap(subject, self.bytes[at..at + SLOT].try_into().expect("a slot's bytes"))
    }
}

/// Where the parts of a slot are.
const DIGEST: std::ops::Range<usize> = 4..20;
const NONCE: std::ops::Range<usize> = 20..32;
const WRAPPED: std::ops::Range<usize> = 32..80;

fn associated(subject: SubjectId, slot: &[u8; SLOT]) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..4].copy_from_slice(&subject.0.to_le_bytes());
    bytes[4..].copy_from_slice(&slot[..20]);
    bytes
}

fn digest_in(slot: &[u8]) -> &[u8; 16] {
    slot[DIGEST].try_into().expect("a digest has 16 bytes")
}

/// Goes through the slots of a file.
fn each_slot(file: &File, count: u32, mut each: impl FnMut(u32, &[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut page = vec![0; SLOT * 1_024];
    let mut first = 0;
    while first < count {
        let now = (count - first).min(1_024);
        let page = &mut page[..now as usize * SLOT];
        file.read_exact_at(page, u64::from(first) * SLOT as u64)?;
        for (slot, bytes) in (first..).zip(page.chunks_exact(SLOT)) {
            each(slot, bytes)?;
        }
        first += now;
    }
    Ok(())
}

/// Makes new names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), KeyringError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| KeyringError::Io { path: dir.to_owned(), error })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ports::Ports;

    fn named(id: usize) -> SubjectKey {
        SubjectKey::new("spark:acme", "contacts", id.to_string())
    }

    #[test]
    fn slots_are_stable_and_their_keys_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let entropy = Ports::system().entropy;
        let mut keyring = Keyring::create(dir.path(), &Guard::File, &*entropy).unwrap();
        let slots: Vec<SubjectId> = (0..3_000).map(|n| keyring.subject(&named(n), &*entropy).unwrap()).collect();
        assert_eq!(slots[0], SubjectId(1), "slot 0 is the project");
        assert_eq!(keyring.subject(&named(7), &*entropy).unwrap(), slots[7], "a subject has one slot");
        let keys: Vec<Held> = slots.iter().map(|slot| keyring.key(*slot).unwrap()).collect();
        keyring.sync().unwrap();
        drop(keyring);

        let mut keyring = Keyring::open(dir.path(), &Guard::File).unwrap();
        assert_eq!(keyring.len(), 3_001);
        for (n, slot) in slots.iter().enumerate() {
            assert_eq!(keyring.find(&named(n)).unwrap(), Some(*slot));
            assert_eq!(keyring.key(*slot).unwrap(), keys[n]);
        }
        assert_eq!(keyring.find(&named(3_000)).unwrap(), None);
        assert_eq!(keyring.subject(&named(3_000), &*entropy).unwrap(), SubjectId(3_001));
    }

    #[test]
    fn a_changed_slot_is_refused_and_names_itself() {
        let dir = tempfile::tempdir().unwrap();
        let entropy = Ports::system().entropy;
        let mut keyring = Keyring::create(dir.path(), &Guard::File, &*entropy).unwrap();
        let slot = keyring.subject(&named(1), &*entropy).unwrap();
        keyring.sync().unwrap();
        drop(keyring);
        let path = dir.path().join("subjects");
        let mut bytes = fs::read(&path).unwrap();
        for at in 0..SLOT {
            bytes[SLOT + at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let error = Keyring::open(dir.path(), &Guard::File).and_then(|mut keyring| keyring.key(slot)).unwrap_err();
            assert!(error.to_string().contains("slot 1"), "byte {at}: {error}");
            bytes[SLOT + at] ^= 1;
        }
    }

    #[test]
    fn a_destroyed_slot_is_gone_for_good_and_never_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let entropy = Ports::system().entropy;
        let mut keyring = Keyring::create(dir.path(), &Guard::File, &*entropy).unwrap();
        let slots: Vec<SubjectId> = (0..5).map(|n| keyring.subject(&named(n), &*entropy).unwrap()).collect();
        keyring.sync().unwrap();
        let before = fs::read(dir.path().join("subjects")).unwrap();
        assert!(keyring.destroy(slots[2]).unwrap());
        assert!(!keyring.destroy(slots[2]).unwrap());
        for mut keyring in [keyring, Keyring::open(dir.path(), &Guard::File).unwrap()] {
            assert_eq!(keyring.key(slots[2]).unwrap(), Held::Erased);
            assert_eq!(keyring.find(&named(2)).unwrap(), None);
            assert_eq!(keyring.find(&named(3)).unwrap(), Some(slots[3]));
            assert!(keyring.subject(&named(2), &*entropy).unwrap() > slots[4]);
        }
        let after = fs::read(dir.path().join("subjects")).unwrap();
        let old = &before[slots[2].0 as usize * SLOT + 4..][..76];
        assert!(!after.windows(16).any(|window| old.windows(16).any(|piece| piece == window && piece != [0; 16])));
    }

    #[test]
    fn the_file_names_nobody_and_keys_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let entropy = Ports::system().entropy;
        let mut keyring = Keyring::create(dir.path(), &Guard::File, &*entropy).unwrap();
        keyring.subject(&SubjectKey::new("spark", "contacts", "Hildegard-Canary"), &*entropy).unwrap();
        keyring.sync().unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(9).any(|window| window == b"Hildegard"));
        }
    }
}
