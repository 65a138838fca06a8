//! Lets other processes read a ledger while one has it open: sled's directory has one owner, so the owner answers for it.
//!
//! The owner listens on a local socket in a directory that only its user may enter. What it hands out are sealed blocks:
//! contents open only to a reader who has the keyring. A socket that a killed process left behind refuses connections and
//! is replaced by the next owner.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::{
        fd::AsRawFd,
        unix::{
            fs::{DirBuilderExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bincode::{Decode, Encode};

use crate::{
    codec,
    ledger::{Core, OpenError},
    opening::lock,
    store::{Entry, SledStore, Store, StoreError},
};

/// The most bytes of one question.
const QUESTION: u32 = 4 << 10;
/// The most bytes of one answer.
const ANSWER: u32 = 1 << 30;
/// How long an owner may take to open a ledger before a reader gives up.
const OPENING: Duration = Duration::from_secs(60);
/// How long a reader looks for another way when the owner goes away.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Encode, Decode)]
enum Question {
    Blocks,
    Block(u64),
    HeadOf(u64, u64),
    Room(Vec<u8>),
}

#[derive(Debug, Encode, Decode)]
enum Answer {
    Blocks(u64),
    Bytes(Option<Vec<u8>>),
    Entries(Vec<Entry>),
    Failed(String),
}

/// Where the socket lies.
fn place(log: &Path) -> PathBuf {
    log.join("share")
}

/// A path to the socket that is short wherever the project lies: addresses of sockets have at most 108 bytes.
fn address(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/socket", dir.as_raw_fd()))
}

/// Answers readers as long as it lives.
#[derive(Debug)]
pub(crate) struct Server {
    dir: File,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Begins to answer. The caller holds the ledger's lock, so a socket that is there belongs to nobody.
    pub(crate) fn start(core: &Arc<Core>, log: &Path) -> io::Result<Self> {
        let path = place(log);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => fs::set_permissions(&path, Permissions::from_mode(0o700))?,
        }
        let dir = File::open(&path)?;
        let address = address(&dir);
        match fs::remove_file(&address) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(&address)?;
        fs::set_permissions(&address, Permissions::from_mode(0o600))?;
        let ending = Arc::new(AtomicBool::new(false));
        let (core, end) = (Arc::downgrade(core), Arc::clone(&ending));
        let thread = std::thread::Builder::new().name("waybill-share".into()).spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Acquire) {
                    return;
                }
                let (Ok(stream), core) = (stream, Weak::clone(&core)) else { continue };
                // A reader that cannot be answered looks for another way.
                let _ = std::thread::Builder::new().name("waybill-reader".into()).spawn(move || talk(stream, &core));
            }
        })?;
        Ok(Self { dir, ending, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        let address = address(&self.dir);
        // The connection wakes the thread; whether it is answered does not matter, nor whether the name goes.
        let woken = UnixStream::connect(&address).is_ok();
        let _ = fs::remove_file(&address);
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

/// Answers one reader until it goes, or until the ledger is closed.
fn talk(mut stream: UnixStream, core: &Weak<Core>) {
    while let Ok(question) = receive::<Question>(&mut stream, QUESTION) {
        let Some(core) = core.upgrade() else { return };
        let failed = |e: StoreError| Answer::Failed(e.to_string());
        let answer = match question {
            Question::Blocks => Answer::Blocks(core.blocks()),
            Question::Block(number) => core.store.block(number).map_or_else(failed, Answer::Bytes),
            Question::HeadOf(number, length) => core
                .store
                .head_of(number, usize::try_from(length).unwrap_or(usize::MAX))
                .map_or_else(failed, Answer::Bytes),
            Question::Room(prefix) => core.store.room(&prefix).map_or_else(failed, Answer::Entries),
        };
        drop(core);
        if send(&mut stream, &answer).is_err() {
            return;
        }
    }
}

fn send<T: Encode>(stream: &mut UnixStream, value: &T) -> io::Result<()> {
    let bytes = codec::encode(value).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_le_bytes())?;
    stream.write_all(&bytes)
}

fn receive<T: Decode<()>>(stream: &mut UnixStream, most: u32) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > most {
        return Err(io::Error::other("a message is too long"));
    }
    let mut bytes = Vec::new();
    stream.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    codec::decode(&bytes).map_err(io::Error::other)
}

/// A store that another process has open, read through its socket. When that process ends, this one goes on by itself.
#[derive(Debug)]
pub(crate) struct SharedStore {
    log: PathBuf,
    store: PathBuf,
    link: Mutex<Link>,
    /// As many as there were at the beginning: a reader sees one moment.
    blocks: u64,
}

#[derive(Debug)]
enum Link {
    Shared(UnixStream),
    Own(SledStore, #[expect(dead_code, reason = "held as long as the store is open")] File),
}

impl SharedStore {
    /// Connects to the process that has the ledger in `log` open; nothing, if there is none.
    pub(crate) fn connect(log: &Path, store: &Path) -> Option<Self> {
        let mut link = Link::Shared(dial(log)?);
        let Ok(Answer::Blocks(blocks)) = link.ask(&Question::Blocks) else { return None };
        Some(Self { log: log.to_owned(), store: store.to_owned(), link: Mutex::new(link), blocks })
    }

    fn ask(&self, question: &Question) -> Result<Answer, StoreError> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        loop {
            match link.ask(question) {
                Ok(Answer::Failed(what)) => return Err(StoreError::Damaged { path: self.store.clone(), what }),
                Ok(answer) => return Ok(answer),
                Err(error) if began.elapsed() > PATIENCE => {
                    return Err(StoreError::Io { path: place(&self.log), error });
                }
                // The owner is gone: another one has come, or nobody has.
                Err(_) => {
                    if let Some(stream) = dial(&self.log) {
                        *link = Link::Shared(stream);
                    } else if let Ok(lock) = lock(&self.log) {
                        *link = Link::Own(SledStore::open(&self.store)?, lock);
                    } else {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
            }
        }
    }

    fn bytes(&self, question: &Question) -> Result<Option<Vec<u8>>, StoreError> {
        match self.ask(question)? {
            Answer::Bytes(bytes) => Ok(bytes),
            _ => Err(StoreError::Damaged { path: place(&self.log), what: "an answer is not one".into() }),
        }
    }
}

/// A way to the blocks: through the process that has the ledger open, or by its lock, if none has.
#[derive(Debug)]
pub(crate) enum Way {
    /// Another process answers.
    Shared(Box<SharedStore>),
    /// Nobody has it open, and nobody can as long as this is held.
    Free(File),
}

/// Finds a way to the blocks. An owner that is still opening the ledger answers when it is done.
pub(crate) fn way(log: &Path, store: &Path) -> Result<Way, OpenError> {
    let began = Instant::now();
    loop {
        if let Some(shared) = SharedStore::connect(log, store) {
            return Ok(Way::Shared(Box::new(shared)));
        }
        match lock(log) {
            Ok(lock) => return Ok(Way::Free(lock)),
            Err(OpenError::Held { .. }) if began.elapsed() < OPENING => {}
            Err(e) => return Err(e),
        }
    }
}

fn dial(log: &Path) -> Option<UnixStream> {
    let dir = File::open(place(log)).ok()?;
    UnixStream::connect(address(&dir)).ok()
}

impl Link {
    fn ask(&mut self, question: &Question) -> io::Result<Answer> {
        let failed = |e: StoreError| Answer::Failed(e.to_string());
        match (self, question) {
            (Self::Shared(stream), question) => {
                send(stream, question)?;
                receive(stream, ANSWER)
            }
            (Self::Own(store, _), Question::Blocks) => Ok(Answer::Blocks(store.blocks())),
            (Self::Own(store, _), Question::Block(number)) => {
                Ok(store.block(*number).map_or_else(failed, Answer::Bytes))
            }
            (Self::Own(store, _), Question::HeadOf(number, length)) => {
                let length = usize::try_from(*length).unwrap_or(usize::MAX);
                Ok(store.head_of(*number, length).map_or_else(failed, Answer::Bytes))
            }
            (Self::Own(store, _), Question::Room(prefix)) => {
                Ok(store.room(prefix).map_or_else(failed, Answer::Entries))
            }
        }
    }
}

impl Store for SharedStore {
    fn blocks(&self) -> u64 {
        self.blocks
    }

    fn append(&self, _: u64, _: &[u8], _: &[Entry]) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    fn block(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        if number >= self.blocks { Ok(None) } else { self.bytes(&Question::Block(number)) }
    }

    fn head_of(&self, number: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        if number >= self.blocks { Ok(None) } else { self.bytes(&Question::HeadOf(number, length as u64)) }
    }

    fn room(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        match self.ask(&Question::Room(prefix.to_vec()))? {
            Answer::Entries(entries) => Ok(entries),
            _ => Err(StoreError::Damaged { path: place(&self.log), what: "an answer is not one".into() }),
        }
    }

    fn abandon(&self) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        anchor::Anchor,
        content::Content,
        event::{Event, NameKind},
        keyring::Keyring,
        ledger::{Depth, Draft, Home, Ledger, Opened, Ports, verify},
        subject::{NameId, Position, SubjectKey},
    };

    fn home(dir: &Path) -> Home {
        Home::new(dir.join("a".repeat(120)).join("log"), dir.join("keys"))
    }

    fn append(ledger: &Ledger, count: u64) {
        let subject = ledger.subject(&SubjectKey::new("crm", "people", "1")).unwrap();
        let next = ledger.head().end.0;
        let draft =
            |n| Draft::new(NameId(0), Event::RecordReleased).subject(subject).content(Content::Text(format!("{n}")));
        ledger.append((next..next + count).map(draft).collect()).wait().unwrap();
    }

    fn texts(ledger: &Ledger) -> Vec<String> {
        let events = ledger.reader().events(Position(0)).map(Result::unwrap);
        events.filter_map(|(_, opened)| opened.content()).map(|content| format!("{content:?}")).collect()
    }

    #[test]
    fn others_read_while_one_writes_and_go_on_when_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(dir.path());
        let writer = Ledger::create(&home, Ports::system()).unwrap();
        append(&writer, 3_000);
        assert!(matches!(Ledger::open(&home, Ports::system()), Err(OpenError::Held { .. })));
        let reader = Ledger::look(&home, Ports::system()).unwrap();
        append(&writer, 10);
        assert_eq!(reader.head().end, Position(3_000), "a reader sees one moment");
        assert_eq!(texts(&reader), texts(&writer)[..3_000]);
        assert_eq!(verify(&home, Depth::Contents, None).unwrap().head, writer.head());
        assert!(reader.append(vec![Draft::new(NameId(0), Event::RecordReleased)]).wait().is_err());
        writer.close().unwrap();
        assert_eq!(texts(&reader).len(), 3_000, "the writer is gone, the reader reads on");
        drop(reader);
        Ledger::open(&home, Ports::system()).unwrap().close().unwrap();
    }

    #[test]
    fn what_is_registered_while_a_reader_opens_is_not_part_of_its_moment() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(dir.path());
        let writer = Ledger::create(&home, Ports::system()).unwrap();
        writer.name(NameKind::Object, "people").unwrap();
        let Way::Shared(store) = way(&home.log, &home.store()).unwrap() else { panic!("the writer answers") };
        writer.name(NameKind::Object, "places").unwrap();
        let acknowledged = Anchor::look(&home.anchor()).unwrap();
        let keyring = Keyring::open(&home.keys, &home.guard).unwrap();
        let late = Ledger::reading(&home, Ports::system(), keyring, &acknowledged, store, None);
        assert!(matches!(late, Err(OpenError::Behind { .. })), "an anchor of later is refused");

        let acknowledged = Anchor::look(&home.anchor()).unwrap();
        let Way::Shared(store) = way(&home.log, &home.store()).unwrap() else { panic!("the writer answers") };
        writer.name(NameKind::Object, "things").unwrap();
        let keyring = Keyring::open(&home.keys, &home.guard).unwrap();
        let reader = Ledger::reading(&home, Ports::system(), keyring, &acknowledged, store, None).unwrap();
        assert_eq!(reader.names_of(NameKind::Object), ["people", "places"]);
    }

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_only_the_owner_may_enter() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(dir.path());
        Ledger::create(&home, Ports::system()).unwrap().close().unwrap();
        let share = File::open(place(&home.log)).unwrap();
        drop(UnixListener::bind(address(&share)).unwrap());
        let ledger = Ledger::look(&home, Ports::system()).unwrap();
        append(&ledger, 1);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&place(&home.log)), 0o700);
        assert_eq!(mode(&place(&home.log).join("socket")), 0o600);
    }

    #[test]
    fn without_the_keys_a_reader_gets_envelopes_only() {
        let dir = tempfile::tempdir().unwrap();
        let home = home(dir.path());
        let writer = Ledger::create(&home, Ports::system()).unwrap();
        append(&writer, 5);
        let elsewhere = Home { keys: dir.path().join("nowhere"), ..home };
        let reader = Ledger::look(&elsewhere, Ports::system()).unwrap();
        let events: Vec<_> = reader.reader().events(Position(0)).map(Result::unwrap).collect();
        assert_eq!(events.len(), 5);
        assert!(events.iter().all(|(_, opened)| *opened == Opened::Locked));
    }
}
