//! What came of reading each object of an export, so that files that are the same are not read again.
//!
//! `plan`, `approve`, `run` and every `delta` hold the source against the ledger. An object whose files have the digests that they
//! had when it was last read through, and of which nothing was read since, would show the same records once more: its checkpoint
//! is written again, and nothing is read. The digests themselves were held against the files by then, as always.

use std::{collections::BTreeMap, io::Write};

use serde::{Deserialize, Serialize};
use waybill_ledger::{Digest, NameId, Position, ledger::Ledger};

use crate::{extract::Intaken, state::State};

/// The snapshot that holds the readings, and the form in which it does.
const SNAPSHOT: &str = "readings";
const FORM: u32 = 1;

/// One reading of one object, in which every row was a record, or that brought nothing new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// What the reading depends on: see `Bundle::fingerprint`.
    files: String,
    /// What the ledger knew of the object afterwards.
    known: Known,
    /// What a second reading comes to.
    pub(crate) counts: Intaken,
    /// The digest of the keys of its records.
    keys: [u8; 32],
}

/// What tells that nothing of an object was read since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    last: Option<u64>,
    live: u64,
    gone: u64,
    /// How many subjects were forgotten: a forgotten record is met anew.
    forgotten: usize,
}

impl Known {
    fn now(state: &State, object: NameId) -> Self {
        let known = state.intake().object(object);
        Self {
            last: known.last.map(|Position(at)| at),
            live: known.live,
            gone: known.gone,
            forgotten: state.forgotten_subjects(),
        }
    }
}

impl Reading {
    /// Returns the digest of the keys of its records.
    pub(crate) fn keys(&self) -> Digest {
        Digest(self.keys)
    }
}

/// The latest reading of each object, by the object's name.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    all: BTreeMap<String, Reading>,
    changed: bool,
}

impl Readings {
    /// Returns what was kept; nothing if it cannot be read or someone else has written it.
    pub(crate) fn kept(ledger: &Ledger) -> Self {
        let kept = ledger.snapshot(SNAPSHOT, FORM);
        Self { all: kept.and_then(|kept| serde_json::from_reader(kept.body).ok()).unwrap_or_default(), changed: false }
    }

    /// Returns what a reading of these files would come to, if they were read through before and nothing happened since.
    pub(crate) fn of(&self, object: &str, files: &str, name: NameId, state: &State) -> Option<&Reading> {
        self.all.get(object).filter(|reading| reading.files == files && reading.known == Known::now(state, name))
    }

    /// Notes what came of reading an object through.
    pub(crate) fn note(&mut self, files: String, counts: &Intaken, keys: Digest, name: NameId, state: &State) {
        let again = Intaken { extracted: 0, unchanged: counts.extracted + counts.unchanged, ..counts.clone() };
        let reading = Reading { files, known: Known::now(state, name), counts: again, keys: keys.0 };
        self.changed = true;
        self.all.insert(counts.object.clone(), reading);
    }

    /// Keeps what is new.
    pub(crate) fn keep(&self, ledger: &Ledger) {
        if !self.changed {
            return;
        }
        let write = |to: &mut dyn Write| serde_json::to_writer(to, &self.all).map_err(Into::into);
        if let Err(error) = ledger.keep_snapshot(SNAPSHOT, FORM, ledger.head().end, write) {
            // Without it the files are read again, and nothing else.
            tracing::warn!(%error, "what was read of the export could not be kept");
        }
    }
}
