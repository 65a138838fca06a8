//! The files that a server has: fetched when someone looks at one, and put aside for the second look.
//!
//! Whoever looks is not asynchronous, as with files on a disk; so the fetching is done on a thread of its own.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError, mpsc},
};

use bytes::Bytes;

use super::{error::RestError, wire::Wire};
use crate::bundle::Spool;

/// The files of one source.
#[derive(Debug)]
pub(crate) struct Downloads {
    path: String,
    like: String,
    known: Mutex<BTreeMap<String, Known>>,
    spool: Spool,
    ask: Mutex<Option<mpsc::Sender<Wanted>>>,
    wire: Arc<Wire>,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    /// The list of files says how large it is.
    Size(u64),
    /// It lies in the spool.
    Here { start: u64, size: u64 },
}

type Wanted = (String, mpsc::SyncSender<Result<Bytes, RestError>>);

impl Downloads {
    /// Returns the files that lie at `path` on the server and are called `like` in the records. `wire` is theirs alone: it is
    /// driven by another thread.
    pub(crate) fn new(wire: Arc<Wire>, path: &str, like: &str) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            like: like.to_owned(),
            known: Mutex::default(),
            spool: Spool::new()?,
            ask: Mutex::default(),
            wire,
        })
    }

    /// Takes in what the list of files says, so that nothing is fetched to know its size.
    pub(crate) fn listed(&self, path: &str, size: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(path.to_owned()).or_insert(Known::Size(size));
    }

    /// Returns the size of a file, if the server has one of that name. What goes wrong on the way shows when it is read.
    pub(crate) fn size(self: &Arc<Self>, path: &str) -> Option<u64> {
        self.id(path)?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied();
        match known {
            Some(Known::Size(size) | Known::Here { size, .. }) => Some(size),
            None => match self.here(path) {
                Ok((_, size)) => Some(size),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(_) => Some(0),
            },
        }
    }

    /// Opens a file, which is fetched with its first byte if it is not here yet.
    pub(crate) fn open(self: &Arc<Self>, path: &str) -> Box<dyn Read + Send> {
        Box::new(Lazy { downloads: Arc::clone(self), path: path.to_owned(), input: None })
    }

    fn here(&self, path: &str) -> io::Result<(u64, u64)> {
        if let Some(Known::Here { start, size }) =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied()
        {
            return Ok((start, size));
        }
        let id = self.id(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let bytes = self.fetch(self.path.replace("{id}", &encoded(id)))?;
        let (start, size) = (self.spool.put(&bytes)?, bytes.len() as u64);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), Known::Here { start, size });
        Ok((start, size))
    }

    /// Returns what the first `*` of the pattern is in a path.
    fn id<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (head, tail) = self.like.split_once('*')?;
        let rest = path.strip_prefix(head)?;
        let id = if tail.is_empty() { rest } else { rest.split('/').next()? };
        let fits = crate::bundle::fits(tail, &rest[id.len()..]);
        (!id.is_empty() && fits && !id.contains("..")).then_some(id)
    }

    fn fetch(&self, path: String) -> io::Result<Bytes> {
        let (send, receive) = mpsc::sync_channel(1);
        let gone = || io::Error::other("the thread that fetches files has ended");
        {
            let mut ask = self.ask.lock().unwrap_or_else(PoisonError::into_inner);
            if ask.is_none() {
                *ask = Some(begin(Arc::clone(&self.wire))?);
            }
            ask.as_ref().ok_or_else(gone)?.send((path, send)).map_err(|_| gone())?;
        }
        receive.recv().map_err(|_| gone())?.map_err(|error| match error {
            RestError::Absent { .. } => io::Error::new(io::ErrorKind::NotFound, error.to_string()),
            error => io::Error::other(error.to_string()),
        })
    }
}

/// Starts the thread; it ends when nobody can ask any more.
fn begin(wire: Arc<Wire>) -> io::Result<mpsc::Sender<Wanted>> {
    let (send, receive) = mpsc::channel::<Wanted>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("files".to_owned()).spawn(move || {
        for (path, answer) in receive {
            // Whoever asked may have given up.
            let _ = answer.send(runtime.block_on(wire.bytes(&path)));
        }
    })?;
    Ok(send)
}

/// A file that is fetched when its first byte is wanted.
struct Lazy {
    downloads: Arc<Downloads>,
    path: String,
    input: Option<Box<dyn Read + Send>>,
}

impl Read for Lazy {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let input = match &mut self.input {
            Some(input) => input,
            none => {
                let (start, size) = self.downloads.here(&self.path)?;
                none.insert(self.downloads.spool.entry(start, size).open()?)
            }
        };
        input.read(out)
    }
}

/// Writes an id as a part of a path (RFC 3986, section 3.3).
pub(crate) fn encoded(id: &str) -> String {
    let mut text = String::new();
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
