//! What the ledger means: pure folds, the mapping, the inverse.
//!
//! **Invariant:** nothing here does I/O, reads a clock or awaits. The same events give the same state, on any machine and
//! in any batching.
//! **Invariant:** nothing here knows a particular CRM.

pub mod accounting;
pub mod assess;
pub mod audit;
mod column;
pub mod converge;
pub mod delta;
pub mod folds;
mod hash;
pub mod inventory;
mod key;
pub mod landing;
pub mod mapping;
pub mod order;
pub mod owners;
pub mod propose;
pub mod reconcile;
pub mod rollback;
pub mod sample;
pub mod schema_step;
pub mod writes;

pub use column::Positions;
pub use key::{key_prefix, write_key};
