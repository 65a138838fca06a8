//! Checks a ledger from its bytes up, trusting nothing that it says about itself.

use std::{fmt, fs, path::PathBuf};

use crate::{
    anchor::Anchor,
    block::Block,
    content::Content,
    event::Event,
    head::{Head, NoteError, Scribe, open_note},
    keyring::{self, Held, Keyring, KeyringError},
    ledger::{Home, OpenError},
    merkle::Frontier,
    opening::opening,
    pack::Packer,
    share::{self, Way},
    store::{SledStore, Store},
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
    let keyring = match (depth, Keyring::open(&home.keys)) {
        (Depth::Bytes, _) | (_, Err(KeyringError::Missing(_))) => None,
        (Depth::Contents, Ok(keyring)) => Some(keyring),
        (Depth::Contents, Err(e)) => return Err(OpenError::from(e).into()),
    };
    let (store, _lock): (Box<dyn Store>, _) = match way {
        Way::Shared(shared) => (Box::new(shared), None),
        Way::Free(lock) => (Box::new(SledStore::open(&home.store()).map_err(|e| opening(&home.log, e))?), Some(lock)),
    };
    let about = fs::read_to_string(home.about()).map_err(io(home.about()))?;
    let key = about.lines().find_map(|line| line.strip_prefix("key ")).unwrap_or_default();
    let since = since.map(|note| open_note(note, key)).transpose()?;
    let mut found = check(&*store, keyring.as_ref(), &acknowledged, since)?;
    if found.head.blocks < acknowledged.blocks {
        let (acknowledged, found) = (acknowledged.end, found.head.end);
        return Err(OpenError::Behind { path: home.log.clone(), acknowledged, found }.into());
    }
    found.anchored = true;
    if let Ok(secret) = keyring::signing_key(&home.keys) {
        let scribe = Scribe::new(&secret);
        if key != scribe.verifier() {
            let what = "its public key is not that of its signing key".to_owned();
            return Err(OpenError::Damaged { path: home.about(), what }.into());
        }
        found.signed = Some(scribe.sign(&found.head));
    }
    Ok(found)
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
    let packer = Packer::new();
    let (mut end, mut last) = (Position(0), Micros(i64::MIN));
    let (mut contents, mut erased, mut sealed) = (0, 0, 0);
    for number in 0..store.blocks() {
        let damage =
            |position: Option<Position>, what: String| VerifyError::Damage(Damage { block: number, position, what });
        let bytes = store.block(number).map_err(|e| damage(None, e.to_string()))?;
        let bytes = bytes.ok_or_else(|| damage(None, "it is missing".into()))?;
        let block = Block::parse(bytes).map_err(|e| damage(None, e.to_string()))?;
        let header = block.header;
        if header.first != end || header.previous != tree.root() {
            return Err(damage(None, "it does not follow the block before it".into()));
        }
        if block.stored() != header.stored || block.envelope_root() != header.envelopes {
            return Err(damage(None, "its envelopes are not those that its header commits to".into()));
        }
        if block.vault_root() != header.vault {
            return Err(damage(None, "its sealed contents are not those that its header commits to".into()));
        }
        for index in 0..header.events {
            let position = Position(header.first.0 + u64::from(index));
            let envelope = block.envelope(index).map_err(|e| damage(Some(position), e.to_string()))?;
            if envelope.time < last {
                return Err(damage(Some(position), "its time is before that of the event before it".into()));
            }
            last = envelope.time;
            if envelope.causes.iter().any(|cause| *cause >= position) {
                return Err(damage(Some(position), "it names a cause that comes after it".into()));
            }
            let Some(commitment) = envelope.content else { continue };
            let subject = envelope.subject.unwrap_or(SubjectId::PROJECT);
            let held = keyring.map(|keyring| keyring.key(subject)).transpose();
            match (held.map_err(|e| damage(Some(position), e.to_string()))?, block.sealed(index)) {
                (None | Some(Held::Locked), Some(_)) => sealed += 1,
                (Some(Held::Erased), _) | (_, None) => erased += 1,
                (Some(Held::Key(key)), Some(bytes)) => {
                    let content = vault::open(bytes, &key, position, subject, &commitment, &packer)
                        .map_err(|e| damage(Some(position), e.to_string()))?;
                    if let (Event::DictionaryAdded { dictionary }, Content::Dictionary { shape, bytes }) =
                        (&envelope.event, content)
                        && packer.learn(shape, bytes) != Some(*dictionary)
                    {
                        return Err(damage(Some(position), "a dictionary is out of turn".into()));
                    }
                    contents += 1;
                }
            }
        }
        end = header.end();
        tree.push(header.leaf());
        if let Some((blocks, root)) = since
            && blocks == tree.size()
            && root != tree.root()
        {
            return Err(rewritten(blocks));
        }
        if acknowledged.blocks == tree.size() && acknowledged.root != tree.root() {
            return Err(damage(None, "up to here it is not what was acknowledged".into()));
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
        sealed,
        anchored: false,
        since: since.map(|(blocks, _)| blocks),
    })
}
