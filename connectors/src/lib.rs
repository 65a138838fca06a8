//! How Waybill speaks with the systems outside: sources it reads, destinations it writes.
//!
//! **Invariant:** nothing here decides what goes where, and nothing here appends to the ledger.
//! **Invariant:** a source can only read.

pub mod blueprints;
pub mod bundle;
pub mod destination;
pub mod error;
mod reach;
pub mod rest;
pub mod salesforce;
pub mod transport;
pub mod twenty;

pub use destination::{
    Abilities, Automation, Automations, Batch, Budget, Destination, Hanging, Holder, Instance, Journal, JournalClosed,
    KnownBy, Limits, Need, Outcome, Planned, Refusal, RemoteRecord, Scan, SchemaElement, SchemaOutcome, SchemaRemoval,
    Selection, Touch, WriteRow,
};
pub use error::{RemoteError, Retry};
pub use reach::{AnyDestination, Pace, pace};
