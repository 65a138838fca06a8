//! What happens when a ledger is opened: its blocks are followed from header to header, and what it remembers in the room
//! (names, dictionaries, forgotten subjects) is read from the events that say so.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::Path,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    block::{BlockError, HEADER, Header},
    content::Content,
    event::Event,
    head::Head,
    index::Index as Lookup,
    ledger::{Core, Index, Names, OpenError},
    reader::{self, Opened, Reader},
    store::{Store, StoreError},
    subject::{NameId, Position, SubjectId},
};

/// The room's prefixes for names, for forgotten subjects and for dictionaries.
const NAME_ROOM: &[u8] = b"name/";
const ERASED_ROOM: &[u8] = b"erased/";
const DICTIONARY_ROOM: &[u8] = b"dictionary/";

/// Returns the entry of the room that remembers where a subject was forgotten.
pub(crate) fn erased_entry(subject: SubjectId, position: Position) -> (Vec<u8>, Vec<u8>) {
    ([ERASED_ROOM, &subject.0.to_be_bytes()].concat(), position.0.to_be_bytes().to_vec())
}

/// Destroys again the keys of every subject that the ledger says was forgotten, and returns those that were there: an
/// older keyring was put back, or the process was killed between the event and the key.
pub(crate) fn forget_again(core: &Core) -> Result<Vec<(SubjectId, Position)>, OpenError> {
    let damaged = |what: String| OpenError::Damaged { path: "forgotten subjects".into(), what };
    let mut again = Vec::new();
    let mut keyring = core.keyring();
    for (key, position) in core.store.room(ERASED_ROOM).map_err(|e| damaged(e.to_string()))? {
        let subject = key.get(ERASED_ROOM.len()..).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let position = position.try_into().ok().map(u64::from_be_bytes);
        let (Some(subject), Some(position)) = (subject, position) else {
            return Err(damaged("an entry is not one".into()));
        };
        let subject = SubjectId(subject);
        // A keyring that is older than the subject has no key of it.
        if subject.0 < keyring.len() && keyring.destroy(subject)? {
            again.push((subject, Position(position)));
        }
    }
    Ok(again)
}

/// Returns the entry of the room that remembers where a dictionary was added.
pub(crate) fn dictionary_entry(dictionary: u16, position: Position) -> (Vec<u8>, Vec<u8>) {
    ([DICTIONARY_ROOM, &dictionary.to_be_bytes()].concat(), position.0.to_be_bytes().to_vec())
}

/// Returns the entry of the room that remembers where a name was registered.
pub(crate) fn name_entry(name: NameId, position: Position) -> (Vec<u8>, Vec<u8>) {
    ([NAME_ROOM, &name.0.to_be_bytes()].concat(), position.0.to_be_bytes().to_vec())
}

/// Adds to the index what it lacks: all of it, if someone deleted it.
pub(crate) fn catch_up(core: &Core) -> Result<(), OpenError> {
    let mut lookup = core.lookup.write().unwrap_or_else(PoisonError::into_inner);
    for number in lookup.next()..core.blocks() {
        let damaged = |what: String| OpenError::Damaged { path: "blocks".into(), what };
        let block = reader::load(core, number).map_err(|e| damaged(e.to_string()))?;
        lookup.add(number, &block).map_err(|e| damaged(format!("block {number}: {e}")))?;
    }
    Ok(())
}

/// Returns the positions at which the room says that something was registered, in order.
///
/// A reader beside the owner sees one moment: what the owner has registered since then is passed over.
fn registered(core: &Core, room: &[u8], beside: bool) -> Result<Vec<Position>, String> {
    let end = core.index.read().unwrap_or_else(PoisonError::into_inner).end;
    let entries = core.store.room(room).map_err(|e| e.to_string())?;
    let mut positions = Vec::with_capacity(entries.len());
    for (_, position) in entries {
        let position = position.try_into().map(u64::from_be_bytes).map(Position);
        let position = position.map_err(|_| "an entry has no position".to_owned())?;
        match position < end {
            true => positions.push(position),
            false if beside => {}
            false => return Err(format!("event {position} is not there")),
        }
    }
    Ok(positions)
}

/// Learns the dictionaries that were added.
pub(crate) fn read_dictionaries(core: &Arc<Core>, beside: bool) -> Result<(), OpenError> {
    let damaged = |what: String| OpenError::Damaged { path: "dictionaries".into(), what };
    let reader = Reader::new(Arc::clone(core));
    for position in registered(core, DICTIONARY_ROOM, beside).map_err(damaged)? {
        match reader.at(position).map_err(|e| damaged(e.to_string()))? {
            Some((_, Opened::Locked)) => {}
            Some((envelope, Opened::Content(Content::Dictionary { shape, bytes })))
                if core
                    .packer
                    .learn(shape.clone(), bytes.clone())
                    .map(|dictionary| Event::DictionaryAdded { dictionary })
                    == Some(envelope.event.clone()) => {}
            _ => return Err(damaged(format!("event {position} adds none"))),
        }
    }
    Ok(())
}

/// Returns the names that were registered.
pub(crate) fn read_names(core: &Arc<Core>, beside: bool) -> Result<Names, OpenError> {
    let damaged = |what: String| OpenError::Damaged { path: "names".into(), what };
    let mut names = Names::default();
    let reader = Reader::new(Arc::clone(core));
    for position in registered(core, NAME_ROOM, beside).map_err(damaged)? {
        let none = || damaged(format!("event {position} registers no name"));
        let (envelope, opened) = reader.at(position).map_err(|e| damaged(e.to_string()))?.ok_or_else(none)?;
        match (envelope.event, opened) {
            (Event::NameRegistered { kind, text: Some(text), .. }, _)
            | (Event::NameRegistered { kind, text: None, .. }, Opened::Content(Content::Text(text))) => {
                names.insert(kind, text);
            }
            (Event::NameRegistered { kind, .. }, Opened::Locked) => names.insert(kind, format!("(sealed {position})")),
            (Event::NameRegistered { kind, .. }, _) => names.insert(kind, format!("(forgotten {position})")),
            _ => return Err(none()),
        }
    }
    Ok(names)
}

/// Follows the blocks from header to header, and compares the tree with the last acknowledged head.
///
/// The index remembers the leaf of every block, so the headers need not be read again: the last one names the root over all
/// before it. An index that does not lead there is thrown away.
pub(crate) fn index_of(
    store: &dyn Store,
    path: &Path,
    acknowledged: Option<&Head>,
    lookup: &mut Lookup,
) -> Result<Index, OpenError> {
    let damaged = |what: String| OpenError::Damaged { path: path.to_owned(), what };
    let rewritten =
        |head: &Head| damaged(format!("its first {} blocks are not those that were acknowledged", head.blocks));
    let mut index = Index::default();
    if let Some((_, known)) = lookup.summaries().split_last() {
        for summary in known {
            index.remember(summary.first, summary.leaf);
            if acknowledged.is_some_and(|head| head.blocks == index.tree.size() && head.root != index.tree.root()) {
                break;
            }
        }
        let number = index.tree.size();
        let next = header_of(store, path, number);
        if number < known.len() as u64 || next.is_ok_and(|header| header.previous != index.tree.root()) {
            lookup.start_over();
            index = Index::default();
        } else if let Some(summary) = lookup.summaries().last() {
            index.end = summary.first;
        }
    }
    for number in index.tree.size()..store.blocks() {
        let header = header_of(store, path, number)?;
        if header.first != index.end || header.previous != index.tree.root() {
            return Err(damaged(format!("block {number} does not follow the one before it")));
        }
        index.push(&header);
        if let Some(head) = acknowledged.filter(|head| head.blocks == number + 1)
            && head.root != index.tree.root()
        {
            return Err(rewritten(head));
        }
    }
    match acknowledged {
        Some(head) if head.blocks > index.tree.size() => {
            Err(OpenError::Behind { path: path.to_owned(), acknowledged: head.end, found: index.end })
        }
        _ => Ok(index),
    }
}

fn header_of(store: &dyn Store, path: &Path, number: u64) -> Result<Header, OpenError> {
    let damaged = |what: String| OpenError::Damaged { path: path.to_owned(), what };
    let bytes = store.head_of(number, HEADER).map_err(|e| opening(path, e))?;
    let bytes = bytes.ok_or_else(|| damaged(format!("block {number} is missing")))?;
    Header::read(&bytes).map_err(|e| match e {
        BlockError::Newer(_) => OpenError::Newer { path: path.to_owned(), what: e.to_string() },
        e => damaged(format!("block {number}: {e}")),
    })
}

pub(crate) fn opening(path: &Path, error: StoreError) -> OpenError {
    match error {
        StoreError::Io { path, error } => OpenError::Io { path, error },
        StoreError::Damaged { what, .. } => OpenError::Damaged { path: path.to_owned(), what },
        other => OpenError::Damaged { path: path.to_owned(), what: other.to_string() },
    }
}

/// Takes the lock of a ledger. It can linger a moment after its process was killed.
pub(crate) fn lock(log: &Path) -> Result<File, OpenError> {
    let path = log.join("lock");
    let io = |error| OpenError::Io { path: path.clone(), error };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < Duration::from_secs(1) => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::Held { path: log.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
    }
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    File::open(path)?.sync_all()
}

pub(crate) fn sync_files(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() {
            File::open(path)?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}

pub(crate) fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
