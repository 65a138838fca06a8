//! An open ledger: the one writer, and every reader beside it.
//!
//! ```text
//! log/store/      the blocks, in sled
//! log/anchor      the last acknowledged head
//! log/ledger.txt  the ledger's name and its public key
//! log/lock        held by the process that writes
//! keys/           see the keyring
//! ```

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    Micros,
    anchor::Anchor,
    block::Header,
    codec,
    content::Content,
    event::{Event, NameKind},
    guard,
    head::{Head, Scribe},
    index::Index as Lookup,
    keyring::{self, Keyring},
    merkle::Frontier,
    opening::{
        catch_up, erased_entry, forget_again, ignore_missing, index_of, lock, opening, read_dictionaries, read_names,
        sync_files, write_synced,
    },
    pack::{self, Packer},
    proof::{self, Proof},
    share::{self, Server, Way},
    store::{SledStore, Store},
    subject::{Digest, Fingerprint, NameId, Position, SubjectId, SubjectKey},
    writer::Writer,
};

pub use crate::{
    draft::Draft,
    guard::Guard,
    index::Query,
    keyring::KeyringError,
    ports::{Clock, Entropy, Ports, Sealing},
    reader::{Opened, ReadError, Reader},
    store::{MemoryStore, StoreError},
    verify::{Depth, Verified, VerifyError, verify},
    writer::{AppendError, Appended, Receipt},
};

/// Where a ledger and its keys are. Keep copies of the two apart.
#[derive(Debug, Clone)]
pub struct Home {
    /// The directory of the log.
    pub log: PathBuf,
    /// The directory of the keys.
    pub keys: PathBuf,
    /// How the project key is kept.
    pub guard: Guard,
}

impl Home {
    /// Names the directories; the project key is kept in a file.
    pub fn new(log: impl Into<PathBuf>, keys: impl Into<PathBuf>) -> Self {
        Self { log: log.into(), keys: keys.into(), guard: Guard::File }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.log.join("store")
    }

    pub(crate) fn anchor(&self) -> PathBuf {
        self.log.join("anchor")
    }

    pub(crate) fn about(&self) -> PathBuf {
        self.log.join("ledger.txt")
    }
}

/// A ledger that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none.
    #[error("there is no ledger in {path}")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("another process is writing the ledger in {path}")]
    Held {
        /// Where it is.
        path: PathBuf,
    },
    /// The store has lost what was acknowledged.
    #[error("the ledger in {path} has lost events: {acknowledged} were acknowledged, {found} are there (positions {found} to {} are gone)", .acknowledged.0 - 1)]
    Behind {
        /// Where it is.
        path: PathBuf,
        /// How many events were acknowledged.
        acknowledged: Position,
        /// How many are there.
        found: Position,
    },
    /// The store is damaged.
    #[error("the ledger in {path} is damaged: {what}")]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A newer release wrote it.
    #[error("the ledger in {path} was written by a newer release: {what}")]
    Newer {
        /// Where it is.
        path: PathBuf,
        /// What is not known.
        what: String,
    },
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// The disk refuses.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// A subject that cannot be forgotten.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// The event does not name a subject that can be forgotten.
    #[error("only a record's subject can be forgotten")]
    NotASubject,
    /// The ledger does not take the event.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The key cannot be destroyed. It will be when the ledger is opened next.
    #[error("the key is still there and is destroyed when the ledger is opened next: {0}")]
    Keys(#[from] KeyringError),
}

/// An open ledger.
#[derive(Debug)]
pub struct Ledger {
    pub(crate) core: Arc<Core>,
    writer: Writer,
    names: Mutex<Names>,
    forgotten_again: Vec<(SubjectId, Position)>,
    read_only: bool,
    /// Where snapshots lie, and whether they are ours to write.
    pub(crate) snapshots: Option<(PathBuf, bool)>,
    /// Answers readers in other processes.
    server: Option<Server>,
    /// Held as long as the ledger is open.
    _lock: Option<File>,
}

/// What an open ledger is put together from.
struct Parts<'a> {
    store: Box<dyn Store>,
    keyring: Keyring,
    ports: Ports,
    scribe: Option<Scribe>,
    acknowledged: Option<Head>,
    anchor: Option<Anchor>,
    lock: Option<File>,
    keys: Option<Keys>,
    /// Where the log lies, and whether its index is ours to write.
    place: Option<(&'a Path, bool)>,
}

/// What the writer and the readers share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) store: Box<dyn Store>,
    pub(crate) keyring: Mutex<Keyring>,
    pub(crate) ports: Ports,
    /// None for a reader without the keys.
    pub(crate) scribe: Option<Scribe>,
    pub(crate) index: RwLock<Index>,
    pub(crate) packer: Packer,
    /// Where to look for what.
    pub(crate) lookup: RwLock<Lookup>,
    /// Nanoseconds spent on it.
    pub(crate) indexing: AtomicU64,
    pub(crate) cache: Mutex<Vec<(u64, Arc<crate::block::Block>)>>,
    /// Keeps a ledger in memory's keys as long as it lives.
    keys: Option<Keys>,
}

impl Core {
    /// Returns how many blocks are acknowledged.
    pub(crate) fn blocks(&self) -> u64 {
        self.index.read().unwrap_or_else(PoisonError::into_inner).tree.size()
    }

    pub(crate) fn keyring(&self) -> MutexGuard<'_, Keyring> {
        self.keyring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of a ledger without a home. A directory of its own goes with the ledger.
#[derive(Debug)]
struct Keys {
    dir: PathBuf,
    goes: bool,
}

impl Drop for Keys {
    fn drop(&mut self) {
        if self.goes {
            // A directory that cannot be removed is in the temporary directory and holds keys to nothing.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Where the blocks begin, and their tree.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    /// The first position of every block.
    pub(crate) firsts: Vec<Position>,
    pub(crate) end: Position,
    pub(crate) tree: Frontier,
    /// The leaf of every block.
    pub(crate) leaves: Vec<Digest>,
    pub(crate) last_time: i64,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            firsts: Vec::new(),
            end: Position(0),
            tree: Frontier::default(),
            leaves: Vec::new(),
            last_time: i64::MIN,
        }
    }
}

impl Index {
    /// Takes in a block whose header was read before.
    pub(crate) fn remember(&mut self, first: Position, leaf: Digest) {
        self.firsts.push(first);
        self.tree.push(leaf);
        self.leaves.push(leaf);
    }

    pub(crate) fn push(&mut self, header: &Header) {
        self.remember(header.first, header.leaf());
        self.end = header.end();
        self.last_time = header.times.1.0;
    }

    pub(crate) fn head(&self) -> Head {
        Head { blocks: self.tree.size(), end: self.end, root: self.tree.root() }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Names {
    by_text: HashMap<(NameKind, String), NameId>,
    texts: Vec<(NameKind, String)>,
}

impl Names {
    pub(crate) fn insert(&mut self, kind: NameKind, text: String) {
        let id = NameId(u32::try_from(self.texts.len() + 1).unwrap_or(u32::MAX));
        self.texts.push((kind, text.clone()));
        self.by_text.insert((kind, text), id);
    }
}

impl Ledger {
    /// Makes a new ledger with new keys, and opens it.
    pub fn create(home: &Home, ports: Ports) -> Result<Self, OpenError> {
        let io = |error| OpenError::Io { path: home.log.clone(), error };
        fs::create_dir_all(&home.log).map_err(io)?;
        let lock = lock(&home.log)?;
        if home.anchor().exists() {
            let what = "it exists already".to_owned();
            return Err(OpenError::Damaged { path: home.log.clone(), what });
        }
        let keyring = match Keyring::open(&home.keys, &home.guard) {
            // Keys without a ledger: an earlier creation was broken off before it wrote anything.
            Ok(keyring) if keyring.len() <= 1 => keyring,
            Ok(_) => {
                let what = format!("it is gone, but its keys in {} are there", home.keys.display());
                return Err(OpenError::Damaged { path: home.log.clone(), what });
            }
            Err(KeyringError::Missing(_)) => {
                fs::remove_dir_all(&home.keys).or_else(ignore_missing).map_err(io)?;
                Keyring::create(&home.keys, &home.guard, &*ports.entropy)?
            }
            Err(e) => return Err(e.into()),
        };
        let scribe = Scribe::new(&guard::signing_key(&home.keys, &home.guard)?);
        let about = format!("waybill ledger 1\norigin {}\nkey {}\n", scribe.origin(), scribe.verifier());
        write_synced(&home.about(), about.as_bytes()).map_err(io)?;
        let store = SledStore::open(&home.store()).map_err(|e| opening(&home.log, e))?;
        sync_files(&home.store()).map_err(io)?;
        let index = Index::default();
        let anchor = Anchor::create(&home.anchor(), &index.head()).map_err(io)?;
        keyring::sync_dir(&home.log)?;
        let ledger = Self::start(Parts {
            store: Box::new(store),
            keyring,
            ports,
            scribe: Some(scribe),
            acknowledged: None,
            anchor: Some(anchor),
            lock: Some(lock),
            keys: None,
            place: Some((&home.log, true)),
        })?;
        ledger.shared(home)
    }

    /// Opens a ledger for writing.
    pub fn open(home: &Home, ports: Ports) -> Result<Self, OpenError> {
        if !home.anchor().exists() {
            return Err(OpenError::Missing { path: home.log.clone() });
        }
        let lock = lock(&home.log)?;
        Self::open_locked(home, ports, lock)
    }

    fn open_locked(home: &Home, ports: Ports, lock: File) -> Result<Self, OpenError> {
        let io = |error| OpenError::Io { path: home.anchor(), error };
        let (anchor, acknowledged) = Anchor::open(&home.anchor()).map_err(io)?;
        // Both read a lot where there is a lot.
        let (keyring, store) = std::thread::scope(|scope| {
            let keyring = scope.spawn(|| Keyring::open(&home.keys, &home.guard));
            let store = SledStore::open(&home.store());
            (keyring.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), store)
        });
        let keyring = keyring?;
        let scribe = Scribe::new(&guard::signing_key(&home.keys, &home.guard)?);
        let store = store.map_err(|e| opening(&home.log, e))?;
        let ledger = Self::start(Parts {
            store: Box::new(store),
            keyring,
            ports,
            scribe: Some(scribe),
            acknowledged: Some(acknowledged),
            anchor: Some(anchor),
            lock: Some(lock),
            keys: None,
            place: Some((&home.log, true)),
        })?;
        ledger.shared(home)
    }

    /// Opens a ledger to read it, also while another process writes it: then as it was at this moment. Without the keys,
    /// contents stay locked.
    pub fn look(home: &Home, ports: Ports) -> Result<Self, OpenError> {
        let anchor = home.anchor();
        if !anchor.exists() {
            return Err(OpenError::Missing { path: home.log.clone() });
        }
        // Before the blocks are counted: what is acknowledged now is among them.
        let acknowledged = Anchor::look(&anchor).map_err(|error| OpenError::Io { path: anchor, error })?;
        let keyring = match Keyring::open(&home.keys, &home.guard) {
            Ok(keyring) => keyring,
            Err(KeyringError::Missing(_)) => Keyring::blind()?,
            Err(KeyringError::Io { error, .. }) if error.kind() == io::ErrorKind::PermissionDenied => Keyring::blind()?,
            Err(e) => return Err(e.into()),
        };
        match share::way(&home.log, &home.store())? {
            Way::Shared(store) => Self::reading(home, ports, keyring, &acknowledged, store, None),
            Way::Free(lock) if !keyring.is_blind() => Self::open_locked(home, ports, lock),
            Way::Free(lock) => {
                let store = SledStore::open(&home.store()).map_err(|e| opening(&home.log, e))?;
                Self::reading(home, ports, keyring, &acknowledged, Box::new(store), Some(lock))
            }
        }
    }

    pub(crate) fn reading(
        home: &Home,
        ports: Ports,
        keyring: Keyring,
        acknowledged: &Head,
        store: Box<dyn Store>,
        lock: Option<File>,
    ) -> Result<Self, OpenError> {
        let scribe = guard::signing_key(&home.keys, &home.guard).ok().map(|key| Scribe::new(&key));
        Self::start(Parts {
            store,
            keyring,
            ports,
            scribe,
            acknowledged: Some(*acknowledged),
            anchor: None,
            lock,
            keys: None,
            place: Some((&home.log, false)),
        })
    }

    /// Answers readers in other processes from now on.
    fn shared(mut self, home: &Home) -> Result<Self, OpenError> {
        let server = Server::start(&self.core, &home.log);
        self.server = Some(server.map_err(|error| OpenError::Io { path: home.log.join("share"), error })?);
        Ok(self)
    }

    /// Makes a ledger in memory. Its keys lie in the temporary directory and go with it.
    pub fn memory(ports: Ports) -> Result<Self, OpenError> {
        Self::with_store(Box::new(MemoryStore::new()), ports)
    }

    /// Opens a ledger over a store of the caller's, with the keys in a directory of their own, which are made if there are
    /// none. There is no anchor: the caller must know what was acknowledged.
    pub fn over(store: Box<dyn Store>, keys: &Path, guard: &Guard, ports: Ports) -> Result<Self, OpenError> {
        Self::without_home(store, Keys { dir: keys.to_owned(), goes: false }, guard, ports)
    }

    /// Makes a ledger over a store of the caller's. Its keys lie in the temporary directory and go with it.
    pub fn with_store(store: Box<dyn Store>, ports: Ports) -> Result<Self, OpenError> {
        let mut name = [0; 8];
        ports.entropy.fill(&mut name);
        let dir = std::env::temp_dir().join(format!("waybill-{:016x}", u64::from_le_bytes(name)));
        Self::without_home(store, Keys { dir, goes: true }, &Guard::File, ports)
    }

    fn without_home(store: Box<dyn Store>, keys: Keys, guard: &Guard, ports: Ports) -> Result<Self, OpenError> {
        let keyring = match Keyring::open(&keys.dir, guard) {
            Err(KeyringError::Missing(_)) if store.blocks() == 0 => Keyring::create(&keys.dir, guard, &*ports.entropy)?,
            opened => opened?,
        };
        let scribe = Some(Scribe::new(&guard::signing_key(&keys.dir, guard)?));
        Self::start(Parts {
            store,
            keyring,
            ports,
            scribe,
            acknowledged: None,
            anchor: None,
            lock: None,
            keys: Some(keys),
            place: None,
        })
    }

    fn start(parts: Parts<'_>) -> Result<Self, OpenError> {
        let Parts { store, keyring, ports, scribe, acknowledged, anchor, lock, keys, place } = parts;
        let mut lookup = Lookup::open(
            place.map(|(log, _)| log.join("index")).as_deref(),
            place.is_some_and(|(_, own)| own),
            store.blocks(),
        );
        let log = place.map_or(Path::new("memory"), |(log, _)| log);
        let index = index_of(&*store, log, acknowledged.as_ref(), &mut lookup)?;
        let core = Arc::new(Core {
            store,
            keyring: Mutex::new(keyring),
            ports,
            scribe,
            index: RwLock::new(index),
            packer: Packer::new(),
            lookup: RwLock::new(lookup),
            indexing: AtomicU64::new(0),
            cache: Mutex::default(),
            keys,
        });
        catch_up(&core)?;
        // A reader beside the owner sees one moment, and leaves to the owner what the owner must do.
        let beside = lock.is_none() && core.keys.is_none();
        read_dictionaries(&core, beside)?;
        let forgotten_again = if beside { Vec::new() } else { forget_again(&core)? };
        let names = read_names(&core, beside)?;
        let read_only = anchor.is_none() && core.keys.is_none();
        let writer = Writer::start(Arc::clone(&core), anchor);
        let snapshots = place.map(|(log, own)| (log.join("snapshots"), own));
        Ok(Self {
            core,
            writer,
            names: Mutex::new(names),
            forgotten_again,
            read_only,
            snapshots,
            server: None,
            _lock: lock,
        })
    }

    /// Returns the slot of a subject, taking a new one if it has none.
    pub fn subject(&self, key: &SubjectKey) -> Result<SubjectId, KeyringError> {
        self.core.keyring().subject(key, &*self.core.ports.entropy)
    }

    /// Returns the slot of a subject, if it has one.
    pub fn find_subject(&self, key: &SubjectKey) -> Option<SubjectId> {
        // A keyring that cannot be read fails at the next append, which says so.
        self.core.keyring().find(key).ok().flatten()
    }

    /// Returns the number of a name, registering it durably if it is new.
    pub fn name(&self, kind: NameKind, text: &str) -> Result<NameId, AppendError> {
        let mut names = self.names();
        if let Some(id) = names.by_text.get(&(kind, text.to_owned())) {
            return Ok(*id);
        }
        let id = NameId(u32::try_from(names.texts.len() + 1).map_err(|_| AppendError::Closed)?);
        let personal = kind == NameKind::Actor && !text.starts_with("waybill ");
        let event = Event::NameRegistered { name: id, kind, text: (!personal).then(|| text.to_owned()) };
        let mut draft = Draft::new(NameId(0), event);
        if personal {
            draft = draft.content(Content::Text(text.to_owned()));
        }
        self.writer.append(&self.core, vec![draft]).wait()?;
        names.insert(kind, text.to_owned());
        Ok(id)
    }

    /// Returns the number of a name, if it is registered.
    pub fn find_name(&self, kind: NameKind, text: &str) -> Option<NameId> {
        self.names().by_text.get(&(kind, text.to_owned())).copied()
    }

    /// Returns the text of a name.
    pub fn name_text(&self, name: NameId) -> Option<String> {
        let index = usize::try_from(name.0).ok()?.checked_sub(1)?;
        self.names().texts.get(index).map(|(_, text)| text.clone())
    }

    /// Returns every registered name of a kind, in the order of their numbers.
    pub fn names_of(&self, kind: NameKind) -> Vec<String> {
        self.names().texts.iter().filter(|(known, _)| *known == kind).map(|(_, text)| text.clone()).collect()
    }

    /// Returns the fingerprint of `bytes`, keyed by a subject: equal contents of two subjects cannot be told from each other.
    pub fn digest(&self, subject: SubjectId, bytes: &[u8]) -> Result<Fingerprint, KeyringError> {
        let key = match self.core.keyring().key(subject)? {
            keyring::Held::Key(key) => blake3::derive_key("waybill ledger: digest of contents, v1", &key),
            keyring::Held::Erased => [0; 32],
            keyring::Held::Locked => return Err(KeyringError::missing(Path::new("keys/subjects"))),
        };
        let digest = blake3::keyed_hash(&key, bytes);
        Ok(Fingerprint(digest.as_bytes()[..16].try_into().expect("a hash has 32 bytes")))
    }

    /// Forgets subjects for ever: writes down that they were forgotten, makes that durable, then destroys their keys. What
    /// was sealed under those keys can be read by nobody any more, from this ledger or from any copy; every proof holds.
    ///
    /// The drafts say who and why; each must be a [`Event::SubjectErased`]. A process that is killed in between finishes
    /// when the ledger is opened next. What no subject has (the project itself) cannot be forgotten.
    pub fn forget(&self, drafts: Vec<Draft>) -> Result<Appended, ForgetError> {
        let erased: Vec<SubjectId> = drafts
            .iter()
            .map(|draft| match draft.event {
                Event::SubjectErased { erased } if erased != SubjectId::PROJECT => Ok(erased),
                _ => Err(ForgetError::NotASubject),
            })
            .collect::<Result<_, _>>()?;
        let appended = self.writer.append(&self.core, drafts).wait()?;
        let mut keyring = self.core.keyring();
        for subject in erased {
            keyring.destroy(subject)?;
        }
        Ok(appended)
    }

    /// Returns where a subject was forgotten, if it was.
    pub fn forgotten_at(&self, subject: SubjectId) -> Result<Option<Position>, StoreError> {
        let entries = self.core.store.room(&erased_entry(subject, Position(0)).0)?;
        let position = entries.into_iter().next().and_then(|(_, position)| position.try_into().ok());
        Ok(position.map(u64::from_be_bytes).map(Position))
    }

    /// Returns the subjects that had to be forgotten again when this ledger was opened, and where each was forgotten first:
    /// an older keyring was put back, or an erasure was broken off.
    pub fn forgotten_again(&self) -> &[(SubjectId, Position)] {
        &self.forgotten_again
    }

    /// Learns to pack contents of one shape, from samples. A dictionary holds raw pieces of its samples and outlives every
    /// erasure, so they must be made up: from schema names and constants, never from a customer's records. All samples
    /// must have the same shape. Returns whether there was enough to learn from; a shape is learned once.
    pub fn learn(&self, samples: &[Content]) -> Result<bool, AppendError> {
        let Some(shape) = samples.first().and_then(Content::shape) else { return Ok(false) };
        // Names are registered under the same lock: one thing at a time.
        let _turn = self.names();
        if self.core.packer.dictionary_of(&shape).is_some() {
            return Ok(false);
        }
        let alike = samples.iter().filter(|sample| sample.shape().as_ref() == Some(&shape));
        let encoded: Vec<Vec<u8>> = alike.map(codec::encode).collect::<Result<_, _>>()?;
        let (Some(bytes), Some(dictionary)) = (pack::train(&encoded), self.core.packer.next()) else {
            return Ok(false);
        };
        let content = Content::Dictionary { shape: shape.clone(), bytes: bytes.clone() };
        let draft = Draft::new(NameId(0), Event::DictionaryAdded { dictionary }).content(content);
        self.writer.append(&self.core, vec![draft]).wait()?;
        self.core.packer.learn(shape, bytes);
        Ok(true)
    }

    /// Hands events over to be appended together, in order and without a gap.
    pub fn append(&self, drafts: Vec<Draft>) -> Receipt {
        self.writer.append(&self.core, drafts)
    }

    /// Returns whether nothing can be appended: another process writes this ledger, or its keys are not here.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Returns how long the writing thread has been at the index, of all the time that appends took.
    pub fn spent_on_index(&self) -> Duration {
        Duration::from_nanos(self.core.indexing.load(Ordering::Relaxed))
    }

    /// Verifies this ledger with everything that it holds, as [`verify`] does one that nobody has open.
    pub fn check(&self) -> Result<Verified, VerifyError> {
        let head = self.head();
        crate::verify::check(&*self.core.store, Some(&*self.core.keyring()), &head, None)
    }

    /// Returns the time by the ledger's clock.
    pub fn now(&self) -> Micros {
        self.core.ports.clock.now()
    }

    /// Returns the head: everything acknowledged so far.
    pub fn head(&self) -> Head {
        self.core.index.read().unwrap_or_else(PoisonError::into_inner).head()
    }

    /// Returns the head, signed, as a checkpoint note.
    pub fn signed_head(&self) -> Result<String, KeyringError> {
        Ok(self.scribe()?.sign(&self.head()))
    }

    fn scribe(&self) -> Result<&Scribe, KeyringError> {
        self.core.scribe.as_ref().ok_or_else(|| KeyringError::missing(Path::new("keys/signing.key")))
    }

    /// Returns a reader of what was acknowledged.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.core))
    }

    /// Proves that an event is in the ledger as it is now; with `show`, opens its content in the proof. There is no proof of
    /// an event that is not there; a content that was forgotten cannot be shown.
    pub fn prove(&self, position: Position, show: bool) -> Result<Option<Proof>, ReadError> {
        let (head, leaves) = {
            let index = self.core.index.read().unwrap_or_else(PoisonError::into_inner);
            (index.head(), index.leaves.clone())
        };
        let Some((number, block, index)) = self.reader().block_of(position)? else { return Ok(None) };
        let content = if show { self.reader().plain(&block, index)? } else { None };
        let scribe = self.scribe()?;
        let (head, key) = (scribe.sign(&head), scribe.verifier());
        Ok(proof::make(proof::Parts { block: &block, number, index, leaves: &leaves, head, key, content }))
    }

    /// Closes the ledger: waits for every append, and lets go of the lock.
    pub fn close(mut self) -> Result<(), AppendError> {
        self.server = None;
        self.writer.close()
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the encoded bytes over which a digest of a value is taken.
pub fn canonical<T: bincode::Encode>(value: &T) -> Result<Vec<u8>, codec::CodecError> {
    codec::encode(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::AtomicI64;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        event::{RunKind, RunOutcome},
        store::Store,
        subject::{Micros, RunId},
        verify::check,
    };

    fn home(dir: &Path) -> Home {
        Home::new(dir.join("ledger"), dir.join("keys"))
    }

    fn held(ledger: &Ledger, n: usize) -> Draft {
        let subject = ledger.subject(&SubjectKey::new("spark", "contacts", n.to_string())).unwrap();
        Draft::new(NameId(1), Event::RecordReleased).subject(subject).content(Content::Text(format!("text of {n}")))
    }

    #[test]
    fn what_was_acknowledged_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(dir.path());
        let ledger = Ledger::create(&home, Ports::system()).unwrap();
        let person = ledger.name(NameKind::Actor, "Ada Lovelace").unwrap();
        let started = Draft::new(person, Event::RunStarted { kind: RunKind::Load, plan: None }).run(RunId(1));
        let first = ledger.append(vec![started]).wait().unwrap().first;
        let drafts: Vec<Draft> = (0..3_000).map(|n| held(&ledger, n).cause(first)).collect();
        let appended = ledger.append(drafts).wait().unwrap();
        assert_eq!((appended.first, appended.count), (first.next(), 3_000));
        let after = Draft::new(person, Event::RunEnded { outcome: RunOutcome::Done }).run(RunId(1)).earlier(0);
        let both = vec![held(&ledger, 1), after];
        let last = ledger.append(both).wait().unwrap();
        let head = ledger.head();
        assert!(matches!(Ledger::open(&home, Ports::system()), Err(OpenError::Held { .. })));
        ledger.close().unwrap();

        let verified = verify(&home, Depth::Contents, None).unwrap();
        assert_eq!((verified.head, verified.contents, verified.sealed), (head, 3_002, 0));
        let ledger = Ledger::open(&home, Ports::system()).unwrap();
        assert_eq!(ledger.head(), head);
        assert_eq!(ledger.name_text(person).as_deref(), Some("Ada Lovelace"));
        assert_eq!(ledger.name(NameKind::Actor, "Ada Lovelace").unwrap(), person);
        let mut next = Position(0);
        for event in ledger.reader().events(Position(0)) {
            let (envelope, _) = event.unwrap();
            assert_eq!(envelope.position, next, "gapless");
            next = next.next();
        }
        assert_eq!(next, Position(last.first.0 + 2));
        let (envelope, opened) = ledger.reader().at(Position(appended.first.0 + 77)).unwrap().unwrap();
        assert_eq!(opened, Opened::Content(Content::Text("text of 77".into())));
        assert_eq!(envelope.causes, [first]);
        let (envelope, _) = ledger.reader().at(last.first.next()).unwrap().unwrap();
        assert_eq!(envelope.causes, [last.first]);
        assert_eq!(ledger.reader().at(next).unwrap(), None);
    }

    #[test]
    fn nothing_readable_lies_in_the_log_and_without_keys_it_still_proves() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(dir.path());
        let ledger = Ledger::create(&home, Ports::system()).unwrap();
        let subject = ledger.subject(&SubjectKey::new("spark", "contacts", "canary-id")).unwrap();
        let actor = ledger.name(NameKind::Actor, "canary person").unwrap();
        let content = Content::Text("canary canary canary".repeat(40));
        let draft = Draft::new(actor, Event::RecordReleased).subject(subject).content(content);
        ledger.append(vec![draft]).wait().unwrap();
        ledger.close().unwrap();
        let mut seen = 0;
        for entry in fs::read_dir(home.store()).unwrap().chain(fs::read_dir(&home.log).unwrap()) {
            let path = entry.unwrap().path();
            if path.is_file() {
                seen += 1;
                assert!(!fs::read(&path).unwrap().windows(6).any(|w| w == b"canary"), "{}", path.display());
            }
        }
        assert!(seen > 2);
        fs::rename(&home.keys, dir.path().join("elsewhere")).unwrap();
        let verified = verify(&home, Depth::Contents, None).unwrap();
        assert_eq!((verified.contents, verified.sealed), (0, 2));
        assert!(matches!(Ledger::open(&home, Ports::system()), Err(OpenError::Keys(KeyringError::Missing(_)))));
    }

    #[test]
    fn an_index_that_leads_elsewhere_is_thrown_away_and_what_was_acknowledged_is_held_against_the_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(dir.path());
        let ledger = Ledger::create(&home, Ports::system()).unwrap();
        for n in 0..6 {
            ledger.append(vec![held(&ledger, n)]).wait().unwrap();
        }
        let head = ledger.head();
        ledger.close().unwrap();
        let path = home.log.join("index/summaries");
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len() % 6, 0);
        let each = whole.len() / 6;
        // Two blocks that changed places: each summary is whole, and the tree is another.
        let mut swapped = whole.clone();
        swapped[each..each * 2].copy_from_slice(&whole[each * 2..each * 3]);
        swapped[each * 2..each * 3].copy_from_slice(&whole[each..each * 2]);
        for changed in [swapped, whole[..each * 3].to_vec(), whole[each..].to_vec(), Vec::new()] {
            fs::create_dir_all(home.log.join("index")).unwrap();
            fs::write(&path, changed).unwrap();
            let ledger = Ledger::open(&home, Ports::system()).unwrap();
            assert_eq!(ledger.head(), head);
            assert_eq!(ledger.reader().events(Position(0)).count(), 6);
            ledger.close().unwrap();
        }
    }

    #[test]
    fn a_log_that_lost_its_tail_is_refused_and_says_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(dir.path());
        let ledger = Ledger::create(&home, Ports::system()).unwrap();
        ledger.append(vec![held(&ledger, 1)]).wait().unwrap();
        ledger.close().unwrap();
        let copy = dir.path().join("copy");
        copy_dir(&home.store(), &copy);
        let ledger = Ledger::open(&home, Ports::system()).unwrap();
        ledger.append((0..5).map(|n| held(&ledger, n)).collect()).wait().unwrap();
        ledger.close().unwrap();
        fs::remove_dir_all(home.store()).unwrap();
        copy_dir(&copy, &home.store());
        let error = Ledger::open(&home, Ports::system()).unwrap_err();
        assert!(matches!(error, OpenError::Behind { acknowledged: Position(6), found: Position(1), .. }), "{error}");
        assert!(error.to_string().contains("positions 1 to 5 are gone"), "{error}");
        assert!(verify(&home, Depth::Bytes, None).is_err());
    }

    fn copy_dir(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_dir() {
                copy_dir(&entry.path(), &to.join(entry.file_name()));
            } else {
                fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }

    #[derive(Debug, Clone, Default)]
    struct Shared(Arc<MemoryStore>);

    impl Store for Shared {
        fn blocks(&self) -> u64 {
            self.0.blocks()
        }
        fn append(&self, number: u64, block: &[u8], room: &[crate::store::Entry]) -> Result<(), StoreError> {
            self.0.append(number, block, room)
        }
        fn block(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.block(number)
        }
        fn head_of(&self, number: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.head_of(number, length)
        }
        fn room(&self, prefix: &[u8]) -> Result<Vec<crate::store::Entry>, StoreError> {
            self.0.room(prefix)
        }
        fn abandon(&self) {}
    }

    #[test]
    fn after_a_failed_write_nothing_more_is_taken_and_what_was_acknowledged_stays() {
        let store = Shared::default();
        let ledger = Ledger::with_store(Box::new(store.clone()), Ports::system()).unwrap();
        ledger.append(vec![held(&ledger, 1)]).wait().unwrap();
        store.0.fail_after(0);
        let error = ledger.append(vec![held(&ledger, 2)]).wait().unwrap_err();
        assert!(error.is_full(), "{error}");
        assert!(matches!(ledger.append(vec![held(&ledger, 3)]).wait(), Err(AppendError::Closed)));
        assert_eq!(ledger.reader().end(), Position(1));
        assert!(ledger.close().is_err());
        let nothing = Head { blocks: 0, end: Position(0), root: Digest::of(b"") };
        assert_eq!(check(&store, None, &nothing, None).unwrap().head.end, Position(1));
    }

    #[test]
    fn a_disk_that_does_not_read_is_said_and_leaves_the_ledger_as_it_is() {
        let store = Arc::new(MemoryStore::new());
        let ledger = Ledger::with_store(Box::new(Arc::clone(&store)), Ports::system()).unwrap();
        for n in 0..6 {
            ledger.append(vec![held(&ledger, n)]).wait().unwrap();
        }
        store.fail_reads(true);
        let failed = ledger.reader().events(Position(0)).next().unwrap().unwrap_err();
        assert!(failed.to_string().contains("memory: the disk does not read"), "{failed}");
        assert!(ledger.reader().at(Position(3)).is_err());
        assert!(ledger.prove(Position(3), true).is_err());
        assert!(check(&*store, None, &ledger.head(), None).unwrap_err().to_string().contains("does not read"));
        store.fail_reads(false);
        ledger.append(vec![held(&ledger, 6)]).wait().unwrap();
        assert_eq!(ledger.reader().events(Position(0)).flatten().count(), 7);
        assert_eq!(check(&*store, None, &ledger.head(), None).unwrap().head, ledger.head());
    }

    #[test]
    fn a_step_of_the_clock_is_an_event_and_time_never_runs_backwards() {
        struct Set(AtomicI64);
        impl Clock for Set {
            fn now(&self) -> Micros {
                Micros(self.0.load(Ordering::Relaxed))
            }
            fn steady(&self) -> Duration {
                Duration::ZERO
            }
        }
        let clock = Arc::new(Set(AtomicI64::new(5_000_000)));
        let ports = Ports { clock: clock.clone(), ..Ports::system() };
        let ledger = Ledger::memory(ports).unwrap();
        ledger.append(vec![held(&ledger, 1)]).wait().unwrap();
        clock.0.store(2_000_000, Ordering::Relaxed);
        ledger.append(vec![held(&ledger, 2)]).wait().unwrap();
        let events: Vec<_> = ledger.reader().events(Position(0)).map(|event| event.unwrap().0).collect();
        assert_eq!(events[1].event, Event::ClockStepped { by: -3_000_000 });
        assert!(events.iter().all(|event| event.time == Micros(5_000_000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
        #[test]
        fn any_changed_byte_of_any_block_is_found(at in any::<prop::sample::Index>(), block in 0usize..3) {
            let store = Shared::default();
            let ledger = Ledger::with_store(Box::new(store.clone()), Ports::system()).unwrap();
            for n in 0..3 {
                ledger.append(vec![held(&ledger, n), held(&ledger, n + 1)]).wait().unwrap();
            }
            let head = ledger.head();
            let length = store.block(block as u64).unwrap().unwrap().len();
            store.0.flip(block, at.index(length));
            let found = check(&store, Some(&ledger.core.keyring()), &head, None);
            prop_assert!(found.is_err());
        }
    }
}
