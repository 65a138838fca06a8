//! Where blocks lie: a narrow trait, sled first.

pub(crate) mod look;
mod memory;
mod sled;

use std::{fmt, io, path::PathBuf};

pub use self::{memory::MemoryStore, sled::SledStore};

/// A key and a value of the room.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Keeps blocks in order, and a small room of keys and values beside them.
///
/// A store has one writer. What it acknowledges is durable.
pub trait Store: Send + Sync + fmt::Debug {
    /// Returns how many blocks there are.
    fn blocks(&self) -> u64;

    /// Adds a block, if `number` is the next one, and sets these entries of the room together with it. When this returns,
    /// both are durable.
    fn append(&self, number: u64, block: &[u8], room: &[Entry]) -> Result<(), StoreError>;

    /// Returns a block.
    fn block(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns the first bytes of a block, at least `length` of them unless it is shorter.
    fn head_of(&self, number: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError>;

    /// Returns the entries of the room whose keys begin with `prefix`, in order.
    fn room(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError>;

    /// Lets go of the store after a failure without waiting for it.
    fn abandon(&self);
}

impl<S: Store> Store for std::sync::Arc<S> {
    fn blocks(&self) -> u64 {
        (**self).blocks()
    }

    fn append(&self, number: u64, block: &[u8], room: &[Entry]) -> Result<(), StoreError> {
        (**self).append(number, block, room)
    }

    fn block(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).block(number)
    }

    fn head_of(&self, number: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        (**self).head_of(number, length)
    }

    fn room(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        (**self).room(prefix)
    }

    fn abandon(&self) {
        (**self).abandon();
    }
}

/// The store refuses.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk refuses.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The store's own files are damaged.
    #[error("the store in {path} is damaged: {what}")]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The block is not the next one: someone else has written.
    #[error("block {number} is not the next one ({next}): another process has written")]
    Conflict {
        /// The block that was to be added.
        number: u64,
        /// The next one.
        next: u64,
    },
    /// An earlier write failed, so nothing more is taken.
    #[error("an earlier write failed, so the store takes no more")]
    Closed,
}
