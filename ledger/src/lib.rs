//! The event log of Waybill: what happened, to whom, in which order, durable and provable.
//!
//! This crate knows no CRM. It keeps *events* ([`event`]) about *subjects* ([`subject`]) and seals what could tell
//! something about a person ([`content`]) under a key per subject, so that a person can be forgotten while every proof
//! still holds.
//!
//! # A ledger
//!
//! Events are drafted, appended together, and durable when the receipt says so. What they tell about a person is sealed under
//! that subject's key; everything else is in the clear, so that most questions need no key at all.
//!
//! ```
//! use waybill_ledger::{
//!     Content, Event, Position, SubjectKey,
//!     event::NameKind,
//!     ledger::{Depth, Draft, Home, Ledger, Opened, Ports, verify},
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = tempfile::tempdir()?;
//! let home = Home::new(dir.path().join("ledger"), dir.path().join("keys"));
//! let ledger = Ledger::create(&home, Ports::system())?;
//!
//! let ada = ledger.name(NameKind::Actor, "Ada Lovelace")?;
//! let person = ledger.subject(&SubjectKey::new("crm:a", "people", "4711"))?;
//! let draft = Draft::new(ada, Event::RecordReleased).subject(person).content(Content::Text("asked by letter".into()));
//! let appended = ledger.append(vec![draft]).wait()?;
//!
//! let (envelope, opened) = ledger.reader().at(appended.first)?.ok_or("it is there")?;
//! assert_eq!(envelope.subject, Some(person));
//! assert_eq!(opened, Opened::Content(Content::Text("asked by letter".into())));
//! ledger.close()?;
//!
//! let found = verify(&home, Depth::Contents, None)?;
//! assert_eq!(found.head.end, Position(2), "the name and the event");
//! # Ok(())
//! # }
//! ```
//!
//! # Proving without showing, and forgetting without losing the proof
//!
//! A proof is checked without a ledger, by anyone who knows its public key. Forgetting a subject destroys its key: what was
//! sealed under it is gone from every copy, and proofs still hold.
//!
//! ```
//! use waybill_ledger::{Content, Event, NameId, Position, SubjectKey, ledger::{Draft, Ledger, Opened, Ports}, proof};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ledger = Ledger::memory(Ports::system())?;
//! let person = ledger.subject(&SubjectKey::new("crm:a", "people", "4711"))?;
//! let draft = Draft::new(NameId(0), Event::RecordReleased).subject(person).content(Content::Text("a secret".into()));
//! let at = ledger.append(vec![draft]).wait()?.first;
//!
//! let proof = serde_json::to_string(&ledger.prove(at, false)?)?;
//! ledger.forget(vec![Draft::new(NameId(0), Event::SubjectErased { erased: person })])?;
//!
//! assert_eq!(ledger.reader().at(at)?.map(|(_, opened)| opened), Some(Opened::Erased));
//! assert_eq!(proof::check(&proof)?.envelope.position, at);
//! # Ok(())
//! # }
//! ```
//!
//! # Projections
//!
//! Whatever is to be known is folded from events. A projection that keeps a snapshot takes in only what came since.
//!
//! ```
//! use std::io::Read;
//! use waybill_ledger::{Event, NameId, Position, ledger::{Draft, Home, Ledger, Ports}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let home = Home::new(dir.path().join("ledger"), dir.path().join("keys"));
//! # let ledger = Ledger::create(&home, Ports::system())?;
//! # ledger.append(vec![Draft::new(NameId(0), Event::RunResumed)]).wait()?;
//! let mut resumed = 0_u64;
//! for event in ledger.reader().read(Position(0).., |_| false) {
//!     resumed += u64::from(event?.0.event == Event::RunResumed);
//! }
//! ledger.keep_snapshot("resumed", 1, ledger.head().end, |to| to.write_all(&resumed.to_le_bytes()))?;
//!
//! let mut kept = ledger.snapshot("resumed", 1).ok_or("it was kept")?;
//! let mut bytes = [0; 8];
//! kept.body.read_exact(&mut bytes)?;
//! let mut resumed = u64::from_le_bytes(bytes);
//! for event in ledger.reader().read(kept.end.., |_| false) {
//!     resumed += u64::from(event?.0.event == Event::RunResumed);
//! }
//! assert_eq!(resumed, 1);
//! # Ok(())
//! # }
//! ```
//!
//! The bytes of everything are in `FORMAT.md`, precisely enough to check a proof without this crate.
//!
//! **Invariant:** nothing here is `async`; the writer hands back a receipt to wait on.
//! **Invariant:** an envelope holds no content, no readable id, no person's name.

mod anchor;
pub mod block;
pub mod borrowed;
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
pub mod name;
mod opening;
mod pack;
mod ports;
pub mod proof;
mod reader;
pub mod record;
pub mod schema;
mod share;
mod slots;
pub mod snapshot;
pub mod store;
pub mod subject;
mod vault;
mod verify;
mod writer;

pub use borrowed::{FieldRef, ValueRef};
pub use content::{BaselineRow, Content, Decision, Mapped, Shape};
pub use event::{Envelope, Event};
pub use name::{FieldName, ObjectName, RuleId, SystemName};
pub use record::{Field, Fields, Record, Value, names_of};
pub use schema::{Choice, FieldKind, FieldSchema, NewChoice, ObjectSchema, Schema, SchemaChange, User, Variant};
pub use subject::{
    BatchId, Digest, Fingerprint, Micros, NameId, Position, RunId, SubjectId, SubjectKey, Target, TargetPart,
};
