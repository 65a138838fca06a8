//! The event log of Waybill: what happened, to whom, in which order, durable and provable.
//!
//! This crate knows no CRM. It keeps *events* ([`event`]) about *subjects* ([`subject`]) and seals what could tell
//! something about a person ([`content`]) under a key per subject, so that a person can be forgotten while every proof
//! still holds.
//!
//! **Invariant:** nothing here is `async`; the writer hands back a receipt to wait on.
//! **Invariant:** an envelope holds no content, no readable id, no person's name.

mod anchor;
pub mod block;
mod cipher;
pub mod codec;
pub mod content;
mod draft;
pub mod event;
mod guard;
pub mod head;
mod index;
mod keyring;
pub mod ledger;
pub mod merkle;
mod opening;
mod pack;
mod ports;
pub mod proof;
mod reader;
pub mod record;
pub mod schema;
mod share;
pub mod snapshot;
pub mod store;
pub mod subject;
mod vault;
mod verify;
mod writer;

pub use content::{BaselineRow, Content, Decision, Mapped, Shape};
pub use event::{Envelope, Event};
pub use record::{Field, FieldName, Fields, ObjectName, Record, RuleId, SystemName, Value};
pub use schema::{Choice, FieldKind, FieldSchema, NewChoice, ObjectSchema, Schema, SchemaChange, User, Variant};
pub use subject::{
    BatchId, Digest, Fingerprint, Micros, NameId, Position, RunId, SubjectId, SubjectKey, Target, TargetPart,
};
