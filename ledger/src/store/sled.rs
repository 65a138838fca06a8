//! Blocks in sled 0.34.7, with what it takes to make "durable" true there.
//!
//! What is known about this version of sled, and what is done about it:
//!
//! - Its `flush` ends in `sync_file_range`, which does not survive a power cut. Every flush is followed by an `fdatasync`
//!   of its file.
//! - A page over 128 KiB becomes a blob file that is never synced and that no cache limit holds. A block is therefore
//!   several values of at most 7,000 bytes, set in one batch.
//! - A kill while it opens leaves a `snap.*.generating` file that makes every later open fail. It is removed first.
//! - Its cache lets go of pages only when a shard of it (one of 256) has been asked 64 times, whatever its capacity says: a
//!   scan touches each page once, and 400 MB of them stay. Values are therefore read one by one and each is asked for a few
//!   times more, which costs a tenth of the reading and keeps 30 MB instead of 400.
//! - Looking a key up can split the page that it lies on, and a split is a write. After an append every key of it is looked
//!   up before the flush, so that nothing is left for a reader to write.
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
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Entry, Store, StoreError};

/// The most bytes of one value.
const VALUE: usize = 7_000;
/// The bytes of sled's cache.
const CACHE: u64 = 16 << 20;
/// How often a value is asked for once more, so that the pages read before are let go of; and how often the last one of a
/// read, which may be the only one of its page.
const ASK_AGAIN: usize = 4;
const ASK_AGAIN_LAST: usize = 64;
/// Blocks have keys that begin with this, the room's keys begin with [`ROOM`].
const BLOCK: u8 = b'b';
const ROOM: u8 = b'r';
/// How long a lock may linger after its process was killed.
const LINGER: Duration = Duration::from_secs(1);

/// Keeps blocks in a sled database.
pub struct SledStore {
    path: PathBuf,
    db: Mutex<Option<ManuallyDrop<sled::Db>>>,
    /// sled's own file, to be synced after each flush.
    file: File,
    blocks: AtomicU64,
    failed: AtomicBool,
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
        let began = Instant::now();
        let db = loop {
            let config =
                sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(None).mode(sled::Mode::LowSpace);
            match contained(path, || config.open()) {
                Ok(db) => break db,
                Err(StoreError::Io { error, .. }) if began.elapsed() < LINGER && error.to_string().contains("lock") => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(e) => return Err(e),
            }
        };
        let file = File::open(path.join("db")).map_err(io)?;
        let last = contained(path, || db.scan_prefix([BLOCK]).keys().next_back().transpose())?;
        let blocks = match last {
            None => 0,
            Some(key) => {
                let number = key.get(1..9).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
                number.ok_or_else(|| damaged(path, "a key of it is not one of ours"))? + 1
            }
        };
        Ok(Self {
            path: path.to_owned(),
            db: Mutex::new(Some(ManuallyDrop::new(db))),
            file,
            blocks: AtomicU64::new(blocks),
            failed: AtomicBool::new(false),
        })
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
        let mut batch = sled::Batch::default();
        for (part, bytes) in block.chunks(VALUE).enumerate() {
            let part = u32::try_from(part).map_err(|_| damaged(&self.path, "a block is too long"))?;
            batch.insert(key(number, part).as_slice(), bytes);
        }
        for (name, value) in room {
            batch.insert([&[ROOM], name.as_slice()].concat(), value.as_slice());
        }
        let done = self
            .with(|db| {
                db.apply_batch(batch)?;
                // Looking a key up can split its page, which is a write: so before the flush.
                (0..parts(block.len())).try_for_each(|part| ask_again(db, &key(number, part), ASK_AGAIN))?;
                db.flush().map(drop)
            })
            .and_then(|()| self.file.sync_data().map_err(|error| StoreError::Io { path: self.path.join("db"), error }));
        match done {
            Ok(()) => {
                self.blocks.store(number + 1, Ordering::Release);
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
        if number >= self.blocks() {
            return Ok(None);
        }
        self.with(|db| {
            let mut bytes = Vec::new();
            for part in 0.. {
                let key = key(number, part);
                let Some(value) = db.get(key)? else { break };
                bytes.extend_from_slice(&value);
                if value.len() < VALUE || bytes.len() >= length {
                    ask_again(db, &key, ASK_AGAIN_LAST)?;
                    break;
                }
                ask_again(db, &key, ASK_AGAIN)?;
            }
            Ok((!bytes.is_empty()).then_some(bytes))
        })
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
            let _ = catch_unwind(AssertUnwindSafe(|| drop(ManuallyDrop::into_inner(db))));
        }
    }
}

fn key(number: u64, part: u32) -> [u8; 13] {
    let mut key = [BLOCK; 13];
    key[1..9].copy_from_slice(&number.to_be_bytes());
    key[9..].copy_from_slice(&part.to_be_bytes());
    key
}

/// How many values a block of so many bytes has.
fn parts(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(VALUE)).unwrap_or(u32::MAX)
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
        let sizes = [1, 152, 6_999, 7_000, 7_001, 70_000, 1_200_000];
        let bytes = |n: usize| (0..sizes[n]).map(|i| (i * 31 + n) as u8).collect::<Vec<u8>>();
        {
            let store = SledStore::open(dir.path()).unwrap();
            for n in 0..sizes.len() {
                let room = [(format!("name/{n}").into_bytes(), vec![n as u8])];
                store.append(n as u64, &bytes(n), &room).unwrap();
            }
            assert!(matches!(store.append(3, b"x", &[]), Err(StoreError::Conflict { number: 3, next: 7 })));
        }
        fs::write(dir.path().join("snap.00.generating"), b"half").unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        assert_eq!(store.blocks(), sizes.len() as u64);
        for (n, size) in sizes.into_iter().enumerate() {
            assert_eq!(store.block(n as u64).unwrap().unwrap(), bytes(n));
            assert!(store.head_of(n as u64, 100).unwrap().unwrap().starts_with(&bytes(n)[..size.min(100)]));
        }
        assert_eq!(store.block(7).unwrap(), None);
        assert_eq!(store.room(b"name/").unwrap().len(), sizes.len());
        let blobs = fs::read_dir(dir.path().join("blobs")).map_or(0, Iterator::count);
        assert_eq!(blobs, 0, "no page may become a blob file");
    }
}
