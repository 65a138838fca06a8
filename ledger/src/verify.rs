//! Checks a ledger from its bytes up, trusting nothing that it says about itself.

use std::{
    fmt, fs, io,
    num::NonZero,
    ops::Range,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    thread::available_parallelism,
};

use crate::{
    anchor::Anchor,
    block::{Block, Header},
    codec,
    content::Content,
    event::{Envelope, Event},
    guard,
    head::{Head, NoteError, Scribe, open_note},
    keyring::{Held, Keyring, KeyringError},
    ledger::{Home, OpenError},
    merkle::Frontier,
    opening::opening,
    pack::Packer,
    share::{self, Way},
    store::{SledStore, Store, look},
    subject::{Digest, Micros, Position, SubjectId},
    vault,
};

/// How deep a verification goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every byte is checked against the trees; no key is needed.
    Bytes,
    /// Contents are opened too, and held against their commitments.
    Contents,
}

/// What a verification found to be whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The head that everything adds up to.
    pub head: Head,
    /// The signed head, if the keys are there.
    pub signed: Option<String>,
    /// Contents that were opened and that their envelopes commit to.
    pub contents: u64,
    /// Contents that nobody can open any more, because their subject was forgotten.
    pub erased: u64,
    /// The subjects that were forgotten, each with the position of the event that says so.
    pub forgotten: Vec<(SubjectId, Position)>,
    /// Contents that were checked as sealed bytes only.
    pub sealed: u64,
    /// Whether the head is at or after the last acknowledged one.
    pub anchored: bool,
    /// The blocks of the earlier head that this history goes on from, if one was given.
    pub since: Option<u64>,
}

/// A ledger that does not verify.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It cannot even be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The earlier head is not one of this ledger.
    #[error("the earlier head: {0}")]
    Earlier(#[from] NoteError),
    /// The history that an earlier head speaks of is not the beginning of this one.
    #[error("the ledger is not what it was: its first {blocks} blocks do not lead to the earlier head")]
    Rewritten {
        /// The blocks that the earlier head speaks of.
        blocks: u64,
    },
    /// Bytes were changed or lost.
    #[error("{0}")]
    Damage(Damage),
    /// The store's file was torn, and its store does not verify. The file as it was before anything touched it was kept.
    #[error(
        "{error} (byte {at} of its file is the first that is not as it was written; the file as it was lies in {copy})"
    )]
    Torn {
        /// Where the first message stands that is not whole.
        at: u64,
        /// Where the file was copied to.
        copy: PathBuf,
        /// What the verification found.
        error: Box<VerifyError>,
    },
}

/// Where a ledger is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The block.
    pub block: u64,
    /// The event, if it is known.
    pub position: Option<Position>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "event {position} in block {}: {}", self.block, self.what),
            None => write!(f, "block {}: {}", self.block, self.what),
        }
    }
}

/// Verifies the ledger in `home`; if a process has it open, that process hands the blocks over.
///
/// With [`Depth::Contents`] and without keys, contents are checked as sealed bytes; the answer says how many were. With an
/// earlier signed head (`since`), the history that it speaks of must be the beginning of this one.
pub fn verify(home: &Home, depth: Depth, since: Option<&str>) -> Result<Verified, VerifyError> {
    let io = |path: PathBuf| move |error| OpenError::Io { path, error };
    if !home.anchor().exists() {
        return Err(OpenError::Missing { path: home.log.clone() }.into());
    }
    // The anchor first: what it names is there when the blocks are counted afterwards.
    let acknowledged = Anchor::look(&home.anchor()).map_err(io(home.anchor()))?;
    let way = share::way(&home.log, &home.store())?;
    let keyring = match (depth, Keyring::open(&home.keys, &home.guard)) {
        (Depth::Bytes, _) | (_, Err(KeyringError::Missing(_))) => None,
        (Depth::Contents, Ok(keyring)) => Some(keyring),
        (Depth::Contents, Err(e)) => return Err(OpenError::from(e).into()),
    };
    match way {
        Way::Shared(shared) => verify_store(home, &acknowledged, keyring.as_ref(), shared, since),
        Way::Free(lock) => {
            // Before sled heals what it takes for a write that was broken off: the file as it is, if it is not whole.
            let copy = match look::first_tear(&home.store()).map_err(io(home.store()))? {
                None => None,
                Some(at) => Some((at, keep(home).map_err(io(home.store()))?)),
            };
            let store = SledStore::open(&home.store()).map_err(|e| opening(&home.log, e));
            let checked = match store {
                Ok(store) => verify_store(home, &acknowledged, keyring.as_ref(), Box::new(store), since),
                Err(e) => Err(e.into()),
            };
            drop(lock);
            match (copy, checked) {
                (Some((_, copy)), Ok(found)) => {
                    // All that was acknowledged is there: what was torn had never been.
                    fs::remove_file(&copy).map_err(io(copy))?;
                    Ok(found)
                }
                (Some((at, copy)), Err(error)) => Err(VerifyError::Torn { at, copy, error: Box::new(error) }),
                (None, checked) => checked,
            }
        }
    }
}

/// Keeps a copy of sled's file as it is.
fn keep(home: &Home) -> io::Result<PathBuf> {
    let copy = home.log.join("db.as-it-was");
    fs::copy(home.store().join("db"), &copy)?;
    Ok(copy)
}

fn verify_store(
    home: &Home,
    acknowledged: &Head,
    keyring: Option<&Keyring>,
    store: Box<dyn Store>,
    since: Option<&str>,
) -> Result<Verified, VerifyError> {
    let io = |path: PathBuf| move |error| OpenError::Io { path, error };
    let about = fs::read_to_string(home.about()).map_err(io(home.about()))?;
    let key = about.lines().find_map(|line| line.strip_prefix("key ")).unwrap_or_default();
    let since = since.map(|note| open_note(note, key)).transpose()?;
    let mut found = check(&*store, keyring, acknowledged, since)?;
    if found.head.blocks < acknowledged.blocks {
        let (acknowledged, found) = (acknowledged.end, found.head.end);
        return Err(OpenError::Behind { path: home.log.clone(), acknowledged, found }.into());
    }
    found.anchored = true;
    if let Ok(secret) = guard::signing_key(&home.keys, &home.guard) {
        let scribe = Scribe::new(&secret);
        if key != scribe.verifier() {
            let what = "its public key is not that of its signing key".to_owned();
            return Err(OpenError::Damaged { path: home.about(), what }.into());
        }
        found.signed = Some(scribe.sign(&found.head));
    }
    Ok(found)
}

/// How many blocks are checked at a time.
const AT_ONCE: u64 = 32;

/// What the block of a number is found to be, when it is looked at alone.
struct Looked {
    header: Header,
    /// The times of its first and its last event.
    times: (Micros, Micros),
    contents: u64,
    erased: u64,
    sealed: u64,
    forgotten: Vec<(SubjectId, Position)>,
}

/// Why a block could not be looked at alone.
enum Alone {
    /// It adds a dictionary, or needs one that a block before it adds: it must be looked at in its turn.
    InTurn,
    Damaged(Damage),
}

/// What every block is looked at with.
struct Look<'a> {
    store: &'a dyn Store,
    keyring: Option<&'a Keyring>,
    packer: Packer,
}

impl Look<'_> {
    /// Looks at one block. In its turn it may add a dictionary.
    fn at(&self, number: u64, in_turn: bool) -> Result<Looked, Alone> {
        let damage =
            |position: Option<Position>, what: String| Alone::Damaged(Damage { block: number, position, what });
        let bytes = self.store.block(number).map_err(|e| damage(None, e.to_string()))?;
        let bytes = bytes.ok_or_else(|| damage(None, "it is missing".into()))?;
        let block = Block::parse(bytes).map_err(|e| damage(None, e.to_string()))?;
        let header = block.header;
        if block.stored() != header.stored || block.envelope_root() != header.envelopes {
            return Err(damage(None, "its envelopes are not those that its header commits to".into()));
        }
        // Which content was changed, its key tells: so the contents are looked at all the same.
        let vault_is_whole = block.vault() == header.vault;
        let mut looked = Looked {
            header,
            times: (Micros(i64::MAX), Micros(i64::MIN)),
            contents: 0,
            erased: 0,
            sealed: 0,
            forgotten: Vec::new(),
        };
        let mut held: Option<(SubjectId, Held)> = None;
        let mut slots = self.keyring.map(Keyring::pages);
        for index in 0..header.events {
            let position = Position(header.first.0 + u64::from(index));
            let envelope = block.envelope(index).map_err(|e| damage(Some(position), e.to_string()))?;
            if envelope.time < looked.times.1 {
                return Err(damage(Some(position), "its time is before that of the event before it".into()));
            }
            looked.times = (looked.times.0.min(envelope.time), envelope.time);
            if envelope.causes.iter().any(|cause| *cause >= position) {
                return Err(damage(Some(position), "it names a cause that comes after it".into()));
            }
            if let Event::SubjectErased { erased } = envelope.event {
                looked.forgotten.push((erased, position));
            }
            let adds = matches!(envelope.event, Event::DictionaryAdded { .. });
            if adds && !in_turn {
                return Err(Alone::InTurn);
            }
            let Some(commitment) = envelope.content else { continue };
            let Some(slots) = &mut slots else {
                *(if block.sealed(index).is_some() { &mut looked.sealed } else { &mut looked.erased }) += 1;
                continue;
            };
            let subject = envelope.subject.unwrap_or(SubjectId::PROJECT);
            // What is told of one record often stands together.
            let key = match held {
                Some((known, key)) if known == subject => key,
                _ => slots.key(subject).map_err(|e| damage(Some(position), e.to_string()))?,
            };
            held = Some((subject, key));
            match (key, block.sealed(index)) {
                (Held::Locked, Some(_)) => looked.sealed += 1,
                (Held::Erased, _) | (_, None) => looked.erased += 1,
                (Held::Key(key), Some(bytes)) => {
                    let shown = vault::open_plain(bytes, &key, position, subject, &commitment, &self.packer);
                    match shown {
                        Ok(shown) if adds => self.learn(&envelope, &shown.plain, &damage)?,
                        Ok(_) => {}
                        Err(_) if !in_turn && vault_is_whole => return Err(Alone::InTurn),
                        Err(e) => return Err(damage(Some(position), e.to_string())),
                    }
                    looked.contents += 1;
                }
            }
        }
        if !vault_is_whole {
            return Err(damage(None, "its sealed contents are not those that its header commits to".into()));
        }
        Ok(looked)
    }

    fn learn(
        &self,
        envelope: &Envelope,
        plain: &[u8],
        damage: &impl Fn(Option<Position>, String) -> Alone,
    ) -> Result<(), Alone> {
        let at = Some(envelope.position);
        match codec::decode(plain).map_err(|e| damage(at, e.to_string()))? {
            Content::Dictionary { shape, bytes } => {
                let learned = self.packer.learn(shape, bytes).map(|dictionary| Event::DictionaryAdded { dictionary });
                if learned.as_ref() == Some(&envelope.event) {
                    return Ok(());
                }
                Err(damage(at, "a dictionary is out of turn".into()))
            }
            _ => Err(damage(at, "it adds no dictionary".into())),
        }
    }

    /// Looks at some blocks, on as many threads as the machine has; one after the other, if one of them must wait its turn.
    fn all(&self, numbers: Range<u64>) -> Vec<Result<Looked, Damage>> {
        let next = AtomicU64::new(numbers.start);
        let work = || {
            let mut found = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return found;
                }
                found.push((number, self.at(number, false)));
            }
        };
        let mut found = std::thread::scope(|scope| {
            let others: Vec<_> =
                (1..available_parallelism().map_or(1, NonZero::get)).map(|_| scope.spawn(work)).collect();
            let mut found = work();
            found.extend(others.into_iter().flat_map(|other| other.join().unwrap_or_default()));
            found
        });
        found.sort_by_key(|(number, _)| *number);
        let whole = found.len() as u64 == numbers.end - numbers.start;
        if whole && found.iter().all(|(_, looked)| !matches!(looked, Err(Alone::InTurn))) {
            let looked = found.into_iter().map(|(number, looked)| in_turn(number, looked));
            return looked.collect();
        }
        numbers.map(|number| in_turn(number, self.at(number, true))).collect()
    }
}

fn in_turn(number: u64, looked: Result<Looked, Alone>) -> Result<Looked, Damage> {
    looked.map_err(|alone| match alone {
        Alone::Damaged(damage) => damage,
        Alone::InTurn => Damage { block: number, position: None, what: "a dictionary is out of turn".into() },
    })
}

/// Checks every block of a store.
pub(crate) fn check(
    store: &dyn Store,
    keyring: Option<&Keyring>,
    acknowledged: &Head,
    since: Option<(u64, Digest)>,
) -> Result<Verified, VerifyError> {
    let rewritten = |blocks| VerifyError::Rewritten { blocks };
    let mut tree = Frontier::default();
    if let Some((0, root)) = since
        && root != tree.root()
    {
        return Err(rewritten(0));
    }
    let look = Look { store, keyring, packer: Packer::new() };
    let (mut end, mut last) = (Position(0), Micros(i64::MIN));
    let (mut contents, mut erased, mut sealed, mut forgotten) = (0, 0, 0, Vec::new());
    let blocks = store.blocks();
    let chunks =
        (0..blocks).step_by(usize::try_from(AT_ONCE).unwrap_or(1)).map(|first| first..(first + AT_ONCE).min(blocks));
    for (number, looked) in chunks.flat_map(|numbers| numbers.clone().zip(look.all(numbers))) {
        let looked = looked.map_err(VerifyError::Damage)?;
        let damage = |what: &str| VerifyError::Damage(Damage { block: number, position: None, what: what.into() });
        if looked.header.first != end || looked.header.previous != tree.root() {
            return Err(damage("it does not follow the block before it"));
        }
        if looked.times.0 < last {
            return Err(damage("its times are before those of the block before it"));
        }
        (end, last) = (looked.header.end(), looked.times.1.max(last));
        (contents, erased, sealed) = (contents + looked.contents, erased + looked.erased, sealed + looked.sealed);
        forgotten.extend(looked.forgotten);
        tree.push(looked.header.leaf());
        if let Some((blocks, root)) = since
            && blocks == tree.size()
            && root != tree.root()
        {
            return Err(rewritten(blocks));
        }
        if acknowledged.blocks == tree.size() && acknowledged.root != tree.root() {
            return Err(damage("up to here it is not what was acknowledged"));
        }
    }
    if let Some((blocks, _)) = since
        && blocks > tree.size()
    {
        return Err(rewritten(blocks));
    }
    let head = Head { blocks: tree.size(), end, root: tree.root() };
    Ok(Verified {
        head,
        signed: None,
        contents,
        erased,
        forgotten,
        sealed,
        anchored: false,
        since: since.map(|(blocks, _)| blocks),
    })
}
