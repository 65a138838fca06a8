//! How Waybill speaks with the systems outside: sources it reads, destinations it writes.
//!
//! **Invariant:** nothing here decides what goes where, and nothing here appends to the ledger.
//! **Invariant:** a source can only read.

pub mod blueprints;
pub mod bundle;
pub mod destination;
pub mod error;
pub mod salesforce;
pub mod transport;

pub use destination::{
    Abilities, Batch, Budget, Destination, Instance, Journal, JournalClosed, Limits, Outcome, Refusal, RemoteRecord,
    Scan, SchemaOutcome, Selection, WriteRow,
};
pub use error::{RemoteError, Retry};
