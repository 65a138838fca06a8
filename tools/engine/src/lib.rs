//! Runs a migration: the only place that awaits both a system and the ledger.
//!
//! **Invariant:** nothing leaves for a destination before its intent is durable.
//! **Invariant:** what a run believes comes back to it from the ledger ([`state`]); it keeps no memory of its own.

pub mod approve;
pub mod aside;
pub mod assess;
pub mod audit;
pub mod baseline;
pub mod diff;
pub mod discover;
pub mod erase;
pub mod explain;
pub mod extract;
pub mod failure;
mod files;
pub mod flaws;
pub mod handover;
pub mod holds;
mod ids;
pub mod load;
mod looking;
pub mod matching;
mod moved;
pub mod preflight;
pub mod prepare;
pub mod progress;
pub mod project;
pub mod propose;
mod readings;
pub mod reconcile;
pub mod recorder;
pub mod report;
pub mod rollback;
pub mod run;
pub mod sample;
mod samples;
pub mod schema;
pub mod session;
pub mod state;
mod untouched;
pub mod watch;
pub mod world;
pub mod write;
