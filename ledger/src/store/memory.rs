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
        held.blocks.push(block.to_vec());
        held.room.extend(room.iter().cloned());
        Ok(())
    }

    fn block(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        Ok(self.held().blocks.get(number).cloned())
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
