//! The digests that a manifest gives, and holding the files against them.

use std::{
    io::Read,
    sync::atomic::{AtomicUsize, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Bundle, container::Entry, error::BundleError};

/// What the manifest says of the bytes of one file.
#[derive(Debug, Clone)]
pub(crate) struct Pledge {
    pub(crate) path: String,
    pub(crate) entry: Entry,
    /// The SHA-256, in hexadecimal.
    pub(crate) expected: String,
}

impl Pledge {
    /// Reads the file to its end and holds it against the digest.
    fn check(&self) -> Result<(), BundleError> {
        let found =
            self.entry.open().and_then(digest).map_err(|source| BundleError::Io { file: self.path.clone(), source })?;
        if self.expected.eq_ignore_ascii_case(&found) {
            return Ok(());
        }
        Err(BundleError::DigestMismatch { file: self.path.clone(), expected: self.expected.clone(), found })
    }
}

/// By what a file that was held against its digest is known again, and known to be as it was: what the file system notes of it
/// changes whenever someone writes to it, puts another in its place, or sets its times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The digest that the manifest gives.
    digest: String,
    /// The device and the number of the file on it.
    place: (u64, u64),
    /// In bytes.
    size: u64,
    /// When it was last written to, by the clock that anyone can set: seconds and nanoseconds.
    modified: (i64, i64),
    /// When anything about it was last changed, by the clock of the machine: seconds and nanoseconds (`st_ctim` of POSIX,
    /// "sys/stat.h").
    changed: (i64, i64),
}

/// How coarse the clock of a file system may be: two seconds on the coarsest in use.
const COARSE: TimeDelta = TimeDelta::seconds(2);

impl Mark {
    /// Returns whether a change at `now` or later would show: one that follows another at once may bear the same time.
    pub fn would_tell(&self, now: DateTime<Utc>) -> bool {
        let nanos = u32::try_from(self.changed.1).unwrap_or(0);
        DateTime::from_timestamp(self.changed.0, nanos).is_some_and(|changed| changed + COARSE < now)
    }

    #[cfg(unix)]
    fn of(pledge: &Pledge) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let about = std::fs::metadata(pledge.entry.on_disk()?).ok()?;
        Some(Self {
            digest: pledge.expected.to_ascii_lowercase(),
            place: (about.dev(), about.ino()),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        })
    }

    /// Elsewhere the time of a change is not told, or can be set.
    #[cfg(not(unix))]
    fn of(_: &Pledge) -> Option<Self> {
        None
    }
}

impl Bundle {
    /// Returns the mark of every file of which the manifest gives a digest, as it is now. What is not on the disk has none.
    pub fn marks(&self) -> impl Iterator<Item = (&str, Mark)> {
        self.pledges.iter().filter_map(|pledge| Some((pledge.path.as_str(), Mark::of(pledge)?)))
    }

    /// Returns a digest over all that a reading of an object depends on: its files and the lists of what is gone, by the digests
    /// that the manifest gives of them, and how they are read. Two readings with the same one show the same. Nothing, if the
    /// manifest gives no digest of one of the files.
    pub fn fingerprint(&self, object: &str) -> Result<Option<String>, BundleError> {
        let own = self.object(object)?;
        let mut all = ring::digest::Context::new(&ring::digest::SHA256);
        let mut add = |path: &str, reading: &dyn std::fmt::Debug| {
            let pledge = self.pledges.iter().find(|pledge| pledge.path == path)?;
            all.update(format!("{} {reading:?}\n", pledge.expected.to_ascii_lowercase()).as_bytes());
            Some(())
        };
        let parts = own.parts.iter().try_for_each(|part| add(&part.path, &part.reading()));
        let gone = self.gone.iter().try_for_each(|list| add(list.file(), &list.reading()));
        if parts.and(gone).is_none() {
            return Ok(None);
        }
        let around = (env!("CARGO_PKG_VERSION"), &own.name, &own.words, &self.identity.extent, &self.identity.account);
        all.update(format!("{around:?}").as_bytes());
        Ok(Some(hex(&all.finish())))
    }

    /// Returns the files of which the manifest gives a digest, each with its size in bytes.
    pub fn pledged(&self) -> impl Iterator<Item = (&str, u64)> {
        self.pledges.iter().map(|pledge| (pledge.path.as_str(), pledge.entry.size))
    }

    /// Holds a file against its digest, if the manifest gives one: for whoever opened the export with [`Bundle::open_unchecked`].
    /// Blocks on the disk.
    pub fn check(&self, file: &str) -> Result<(), BundleError> {
        self.pledges.iter().find(|pledge| pledge.path == file).map_or(Ok(()), Pledge::check)
    }
}

/// Holds files against their digests, several side by side; the first in the order of the manifest that does not fit is told.
pub(crate) fn check_all(pledges: &[Pledge]) -> Result<(), BundleError> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let next = AtomicUsize::new(0);
    let work = || {
        let mut wrong: Option<(usize, BundleError)> = None;
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(pledge) = pledges.get(n) else { return wrong };
            if let Err(error) = pledge.check() {
                wrong.get_or_insert((n, error));
            }
        }
    };
    let wrong = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let done =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.flatten().min_by_key(|(n, _)| *n)
    });
    wrong.map_or(Ok(()), |(_, error)| Err(error))
}

/// Returns the SHA-256 of everything `input` gives, in lower-case hexadecimal.
fn digest(mut input: impl Read) -> std::io::Result<String> {
    let mut hasher = ring::digest::Context::new(&ring::digest::SHA256);
    let mut chunk = vec![0; 256 << 10];
    loop {
        match input.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => hasher.update(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hex(&hasher.finish()))
}

fn hex(digest: &ring::digest::Digest) -> String {
    digest.as_ref().iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
