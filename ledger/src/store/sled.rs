//! Blocks in sled 0.34.7, with what it takes to make "durable" true there.
//!
//! What is known about this version of sled, and what is done about it:
//!
//! - Its `flush` ends in `sync_file_range`, which does not survive a power cut. Every flush is followed by an `fdatasync`
//!   of its file.
//! - A page over 128 KiB becomes a blob file that is never synced and that no cache limit holds. A block is therefore
//!   several *chunks* of at most 15,000 bytes, set in one batch: eight of them lie on a page.
//! - A page is written again, with everything on it, when it has more than 16 keys and when it was changed ten times: values
//!   that come in the order of their keys are written three times over, and 0.6 of the file is dead. Chunks are therefore
//!   numbered, and the keys of those to come stand there as empty values: their pages have long been split to eight keys
//!   when the bytes arrive, and every byte is written once.
//! - A kill while it opens leaves a `snap.*.generating` file that makes every later open fail. It is removed first.
//! - Its cache lets go of pages only when a shard of it (one of 256) has been asked 64 times, whatever its capacity says: a
//!   scan touches each page once, and 400 MB of them stay. Values are therefore read one by one and each is asked for a few
//!   times more, which costs a tenth of the reading and keeps 30 MB instead of 400.
//! - Looking a key up can split the page that it lies on, and a split is a write. After an append every key of it is looked
//!   up before the flush, so that nothing is left for a reader to write.
//! - It goes through everything that was written since it was opened, when it is opened again: seconds, after a long run. A
//!   store that was written to a lot is therefore opened once more as it is closed, and nobody waits for it later.
//! - It panics on damage. Panics while it opens or reads become errors.
//! - After a write failed (a full disk), dropping it hangs. It is let go of without being dropped.

use std::{
    fs::{self, File},
    io,
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Entry, Store, StoreError};

/// The most bytes of one value.
const VALUE: usize = 15_000;
/// The bytes of sled's cache.
const CACHE: u64 = 16 << 20;
/// How often a value is asked for once more, so that the pages read before are let go of; and how often the last one of a
/// read, which may be the only one of its page.
const ASK_AGAIN: usize = 9;
const ASK_AGAIN_LAST: usize = 64;
/// How many keys of chunks to come there are at least. A page is split at 17 keys, so the last 16 may be on one that is not.
const AHEAD: u64 = 17;
/// What the keys of blocks, of chunks and of the room begin with.
const BLOCK: u8 = b'b';
const CHUNK: u8 = b'c';
const ROOM: u8 = b'r';
/// After so many blocks it is worth to open the database once more when it is closed.
const MANY: u32 = 256;
/// How long a lock may linger after its process was killed.
const LINGER: Duration = Duration::from_secs(1);

/// Keeps blocks in a sled database.
pub struct SledStore {
    path: PathBuf,
    db: Mutex<Option<ManuallyDrop<sled::Db>>>,
    /// sled's own file, to be synced after each flush.
    file: File,
    blocks: AtomicU64,
    /// The next chunk, and the first that has no key yet.
    chunks: Mutex<(u64, u64)>,
    failed: AtomicBool,
    /// How many blocks were appended since it was opened.
    appended: AtomicU32,
}

/// Where the chunks of a block are.
#[derive(Debug, Clone, Copy)]
struct Place {
    first: u64,
    count: u32,
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SledStore {
    /// Opens the database in `path`, making it if there is none.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let io = |error| StoreError::Io { path: path.to_owned(), error };
        fs::create_dir_all(path).map_err(io)?;
        remove_half_written_snapshots(path).map_err(io)?;
        let db = open(path)?;
        let file = File::open(path.join("db")).map_err(io)?;
        let not_ours = || damaged(path, "a key of it is not one of ours");
        let (blocks, next) = match contained(path, || db.scan_prefix([BLOCK]).next_back().transpose())? {
            None => (0, 0),
            Some((key, place)) => {
                let place = Place::read(&place).ok_or_else(not_ours)?;
                (number_in(&key).ok_or_else(not_ours)? + 1, place.first + u64::from(place.count))
            }
        };
        let keys = match contained(path, || db.scan_prefix([CHUNK]).keys().next_back().transpose())? {
            None => 0,
            Some(key) => number_in(&key).ok_or_else(not_ours)? + 1,
        };
        Ok(Self {
            path: path.to_owned(),
            db: Mutex::new(Some(ManuallyDrop::new(db))),
            file,
            blocks: AtomicU64::new(blocks),
            chunks: Mutex::new((next, keys.max(next))),
            failed: AtomicBool::new(false),
            appended: AtomicU32::new(0),
        })
    }

    fn place(&self, number: u64) -> Result<Option<Place>, StoreError> {
        if number >= self.blocks() {
            return Ok(None);
        }
        let not_ours = || damaged(&self.path, &format!("block {number} has no place in it"));
        let value = self.with(|db| db.get(key(BLOCK, number)))?.ok_or_else(not_ours)?;
        Place::read(&value).map(Some).ok_or_else(not_ours)
    }

    fn with<T>(&self, work: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StoreError> {
        let db = {
            let held = self.db.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(db) = held.as_ref() else { return Err(StoreError::Closed) };
            ManuallyDrop::new(sled::Db::clone(db))
        };
        let done = contained(&self.path, || work(&db));
        if !self.failed.load(Ordering::Acquire) {
            drop(ManuallyDrop::into_inner(db));
        }
        done
    }
}

impl Store for SledStore {
    fn blocks(&self) -> u64 {
        self.blocks.load(Ordering::Acquire)
    }

    fn append(&self, number: u64, block: &[u8], room: &[Entry]) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Closed);
        }
        let next = self.blocks();
        if number != next {
            return Err(StoreError::Conflict { number, next });
        }
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, keys) = *chunks;
        let mut batch = sled::Batch::default();
        let mut end = first;
        for bytes in block.chunks(VALUE) {
            batch.insert(&key(CHUNK, end), bytes);
            end += 1;
        }
        let count = u32::try_from(end - first).map_err(|_| damaged(&self.path, "a block is too long"))?;
        // One by one: sled takes the parts of a batch in no order, which would split pages anywhere.
        let ahead = keys.max(first)..keys.max(end + AHEAD);
        batch.insert(&key(BLOCK, number), &Place { first, count }.to_bytes());
        for (name, value) in room {
            batch.insert([&[ROOM], name.as_slice()].concat(), value.as_slice());
        }
        let done = self
            .with(|db| {
                ahead.clone().try_for_each(|chunk| db.insert(key(CHUNK, chunk), &[]).map(drop))?;
                ask_again(db, &key(CHUNK, ahead.end - 1), 1)?;
                db.apply_batch(batch)?;
                // Looking a key up can split its page, which is a write: so before the flush.
                (first..end).try_for_each(|chunk| ask_again(db, &key(CHUNK, chunk), ASK_AGAIN))?;
                ask_again(db, &key(BLOCK, number), 1)?;
                db.flush().map(drop)
            })
            .and_then(|()| self.file.sync_data().map_err(|error| StoreError::Io { path: self.path.join("db"), error }));
        match done {
            Ok(()) => {
                *chunks = (end, ahead.end);
                self.blocks.store(number + 1, Ordering::Release);
                self.appended.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(e) => {
                self.failed.store(true, Ordering::Release);
                Err(e)
            }
        }
    }

    fn block(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.head_of(number, usize::MAX)
    }

    fn head_of(&self, number: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(Place { first, count }) = self.place(number)? else { return Ok(None) };
        let bytes = self.with(|db| {
            let mut bytes = Vec::new();
            for chunk in first..first + u64::from(count) {
                let key = key(CHUNK, chunk);
                let Some(value) = db.get(key)? else { return Ok(None) };
                bytes.extend_from_slice(&value);
                if bytes.len() >= length || chunk + 1 == first + u64::from(count) {
                    ask_again(db, &key, ASK_AGAIN_LAST)?;
                    break;
                }
                ask_again(db, &key, ASK_AGAIN)?;
            }
            Ok(Some(bytes))
        })?;
        bytes.map(Some).ok_or_else(|| damaged(&self.path, &format!("a chunk of block {number} is missing")))
    }

    fn room(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let prefix = [&[ROOM], prefix].concat();
        self.with(|db| {
            db.scan_prefix(&prefix).map(|entry| entry.map(|(key, value)| (key[1..].to_vec(), value.to_vec()))).collect()
        })
    }

    fn abandon(&self) {
        self.failed.store(true, Ordering::Release);
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(db) = db
            && !self.failed.load(Ordering::Acquire)
        {
            // sled panics on damage even while it closes; everything that was acknowledged is on the disk already.
            let closed = catch_unwind(AssertUnwindSafe(|| drop(ManuallyDrop::into_inner(db))));
            if closed.is_ok() && self.appended.load(Ordering::Relaxed) >= MANY {
                // Only saves time: whoever opens it next does the same.
                let _ = open(&self.path);
            }
        }
    }
}

/// Opens sled's database.
fn open(path: &Path) -> Result<sled::Db, StoreError> {
    let began = Instant::now();
    loop {
        let config =
            sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(None).mode(sled::Mode::LowSpace);
        match contained(path, || config.open()) {
            Err(StoreError::Io { error, .. }) if began.elapsed() < LINGER && error.to_string().contains("lock") => {
                std::thread::sleep(Duration::from_millis(50));
            }
            opened => return opened,
        }
    }
}

impl Place {
    fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.first.to_le_bytes());
        bytes[8..].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (first, count) = bytes.split_at_checked(8)?;
        let first = u64::from_le_bytes(first.try_into().ok()?);
        Some(Self { first, count: u32::from_le_bytes(count.try_into().ok()?) })
    }
}

fn key(kind: u8, number: u64) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&number.to_be_bytes());
    key
}

fn number_in(key: &[u8]) -> Option<u64> {
    key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes)
}

fn ask_again(db: &sled::Db, key: &[u8], times: usize) -> sled::Result<()> {
    (0..times).try_for_each(|_| db.contains_key(key).map(drop))
}

fn damaged(path: &Path, what: &str) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), what: what.to_owned() }
}

/// Calls into sled; its panics and its errors become ours.
fn contained<T>(path: &Path, work: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(StoreError::Io { path: path.to_owned(), error }),
        Ok(Err(sled::Error::Corruption { .. })) => Err(damaged(path, "a checksum in the store is wrong")),
        Ok(Err(e)) => Err(damaged(path, &e.to_string())),
        Err(panic) => {
            let what = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "sled stopped without a reason".to_owned());
            Err(damaged(path, &what))
        }
    }
}

fn remove_half_written_snapshots(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
    use super::*;

    #[test]
    fn blocks_of_any_size_read_back_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let sizes = [1, 152, VALUE - 1, VALUE, VALUE + 1, 70_000, 3_000_000, 40 * VALUE, 200_000];
        let bytes = |n: usize| (0..sizes[n]).map(|i| (i * 31 + n) as u8).collect::<Vec<u8>>();
        {
            let store = SledStore::open(dir.path()).unwrap();
            for n in 0..sizes.len() {
                let room = [(format!("name/{n}").into_bytes(), vec![n as u8])];
                store.append(n as u64, &bytes(n), &room).unwrap();
            }
            assert!(matches!(store.append(3, b"x", &[]), Err(StoreError::Conflict { number: 3, next: 9 })));
        }
        fs::write(dir.path().join("snap.00.generating"), b"half").unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        assert_eq!(store.blocks(), sizes.len() as u64);
        for (n, size) in sizes.into_iter().enumerate() {
            assert_eq!(store.block(n as u64).unwrap().unwrap(), bytes(n));
            assert!(store.head_of(n as u64, 100).unwrap().unwrap().starts_with(&bytes(n)[..size.min(100)]));
        }
        assert_eq!(store.block(9).unwrap(), None);
        assert_eq!(store.room(b"name/").unwrap().len(), sizes.len());
        let blobs = fs::read_dir(dir.path().join("blobs")).map_or(0, Iterator::count);
        assert_eq!(blobs, 0, "no page may become a blob file");
    }
}
