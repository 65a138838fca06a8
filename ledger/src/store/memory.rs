//! A store in memory, with a disk's honest faults: what was not synced is lost when the power goes.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Entry, Store, StoreError};

/// Keeps blocks in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    blocks: Vec<Vec<u8>>,
    room: BTreeMap<Vec<u8>, Vec<u8>>,
    fail_after: Option<u64>,
    cut_after: Option<u64>,
    /// What was written and not synced when the power went.
    unsynced: Option<(Vec<u8>, Vec<Entry>)>,
    dark: bool,
    unreadable: bool,
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets every append fail once this many have succeeded, as a full disk does.
    pub fn fail_after(&self, appends: u64) {
        self.held().fail_after = Some(appends);
    }

    /// Lets the power go once this many appends have succeeded: the next one is written, and the power goes before its sync.
    /// From then on nothing works until [`MemoryStore::restore`].
    pub fn cut_power_after(&self, appends: u64) {
        self.held().cut_after = Some(appends);
    }

    /// Gives the power back. What was not synced is lost, or has reached the disk by chance.
    pub fn restore(&self, by_chance: bool) {
        let mut held = self.held();
        held.dark = false;
        if let Some((block, room)) = held.unsynced.take().filter(|_| by_chance) {
            held.blocks.push(block);
            held.room.extend(room);
        }
    }

    /// Lets every read of a block fail, as a bad disk does, or none.
    pub fn fail_reads(&self, fail: bool) {
        self.held().unreadable = fail;
    }

    /// Changes one byte of a block, as a bad disk does.
    pub fn flip(&self, block: usize, byte: usize) {
        if let Some(byte) = self.held().blocks.get_mut(block).and_then(|block| block.get_mut(byte)) {
            *byte ^= 1;
        }
    }

    /// Loses the newest blocks, as a disk that lied about a sync does.
    pub fn lose(&self, blocks: usize) {
        let mut held = self.held();
        let keep = held.blocks.len().saturating_sub(blocks);
        held.blocks.truncate(keep);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn blocks(&self) -> u64 {
        self.held().blocks.len() as u64
    }

    fn append(&self, number: u64, block: &[u8], room: &[Entry]) -> Result<(), StoreError> {
        let mut held = self.held();
        if let Some(left) = &mut held.fail_after {
            let Some(less) = left.checked_sub(1) else {
                let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
                return Err(StoreError::Io { path: "memory".into(), error });
            };
            *left = less;
        }
        let next = held.blocks.len() as u64;
        if number != next {
            return Err(StoreError::Conflict { number, next });
        }
        if held.dark {
            return Err(StoreError::Closed);
        }
        match held.cut_after {
            Some(0) => {
                (held.cut_after, held.dark) = (None, true);
                held.unsynced = Some((block.to_vec(), room.to_vec()));
                return Err(StoreError::Closed);
            }
            Some(left) => held.cut_after = Some(left - 1),
            None => {}
        }
        held.blocks.push(block.to_vec());
        held.room.extend(room.iter().cloned());
        Ok(())
    }

    fn block(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let held = self.held();
        if held.unreadable {
            return Err(StoreError::Io {
                path: "memory".into(),
                error: std::io::Error::other("the disk does not read"),
            });
        }
        Ok(held.blocks.get(number).cloned())
    }

    fn head_of(&self, number: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.block(number)?.map(|mut block| {
            block.truncate(length);
            block
        }))
    }

    fn room(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        let held = self.held();
        let entries = held.room.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        Ok(entries.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn abandon(&self) {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        content::Content,
        event::Event,
        ledger::{Draft, Guard, Ledger, Opened, Ports},
        subject::{NameId, SubjectKey},
        verify::check,
    };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Whenever the power goes, and whatever of the unsynced reaches the disk: what was acknowledged is there, in order
        /// and verifying, and of what was not there is all of a block or nothing.
        #[test]
        fn what_was_acknowledged_survives_a_power_cut(
            lives in prop::collection::vec((prop::collection::vec(1usize..40, 1..12), 0u64..12, any::<bool>()), 1..5),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let store = Arc::new(MemoryStore::new());
            let mut acknowledged: Vec<String> = Vec::new();
            for (life, (appends, cut, by_chance)) in lives.into_iter().enumerate() {
                let ledger = Ledger::over(Box::new(Arc::clone(&store)), dir.path(), &Guard::File, Ports::system()).unwrap();
                let there: Vec<String> = texts(&ledger);
                prop_assert!(there.len() >= acknowledged.len() && there[..acknowledged.len()] == acknowledged[..]);
                acknowledged = there;
                store.cut_power_after(cut);
                for (n, count) in appends.into_iter().enumerate() {
                    let subject = ledger.subject(&SubjectKey::new("crm", "people", format!("{life} {n}"))).unwrap();
                    let text = |k: usize| format!("{life} {n} {k}");
                    let draft = |k: usize| {
                        Draft::new(NameId(0), Event::RecordReleased).subject(subject).content(Content::Text(text(k)))
                    };
                    match ledger.append((0..count).map(draft).collect()).wait() {
                        Ok(_) => acknowledged.extend((0..count).map(text)),
                        Err(_) => break,
                    }
                }
                drop(ledger);
                store.restore(by_chance);
            }
            let ledger = Ledger::over(Box::new(Arc::clone(&store)), dir.path(), &Guard::File, Ports::system()).unwrap();
            let there = texts(&ledger);
            prop_assert!(there.len() >= acknowledged.len() && there[..acknowledged.len()] == acknowledged[..]);
            let found = check(&*store, Some(&ledger.core.keyring()), &ledger.head(), None).unwrap();
            prop_assert_eq!(found.contents, there.len() as u64);
        }
    }

    fn texts(ledger: &Ledger) -> Vec<String> {
        let events = ledger.reader().events(crate::subject::Position(0)).map(Result::unwrap);
        events
            .filter_map(|(_, opened)| match opened {
                Opened::Content(Content::Text(text)) => Some(text),
                _ => None,
            })
            .collect()
    }
}
