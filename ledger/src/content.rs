//! What the vault keeps: everything that could tell something about a person.
//!
//! A content is encoded with bincode, committed to with a fresh salt, compressed, padded and sealed under the key of its
//! event's subject. Destroying that key makes it unreadable for ever; the commitment in the envelope stays.

use bincode::{Decode, Encode};

use crate::{
    event::OwnerHow,
    name::{FieldName, RuleId},
    record::{Fields, Record, Value},
    schema::Schema,
    subject::Digest,
};

pub use crate::vault::{VaultError, unbox};

/// The content of an event.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Content {
    /// A name, a path, a reason, a message: text that stands for itself.
    Text(String),
    /// A record, with the system and object it belongs to.
    Record {
        /// The readable object.
        object: String,
        /// The record.
        record: Record,
    },
    /// A mapped record.
    Mapped(Mapped),
    /// The id of a destination record.
    DestinationId {
        /// The readable object.
        object: String,
        /// The id that the destination uses.
        id: String,
    },
    /// A destination's refusal.
    Refusal {
        /// The message, as the destination worded it.
        message: String,
        /// The fields it names.
        fields: Vec<FieldName>,
    },
    /// A described system.
    Schema(Schema),
    /// Where a row that could not be read stands, and why it could not.
    Unreadable {
        /// The file, relative to the bundle.
        file: String,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// How an owner was resolved.
    Owner {
        /// The owner's id in the source.
        source: String,
        /// The e-mail that was compared.
        email: Option<String>,
        /// The user in the destination.
        user: Option<String>,
        /// How.
        how: OwnerHow,
    },
    /// Rows of a destination before us.
    Baseline(Vec<BaselineRow>),
    /// Two values that should be equal.
    Difference {
        /// The readable name of the record.
        record: String,
        /// The field.
        field: Option<FieldName>,
        /// What was expected; none is null.
        expected: Option<Value>,
        /// What was found; none is null.
        found: Option<Value>,
    },
    /// A document of the program itself (a plan, an approval, a rollback plan), as JSON or TOML text.
    Document {
        /// What it is, such as `plan` or `approval`.
        kind: String,
        /// Its text.
        text: String,
    },
    /// A dictionary that contents of one shape are packed with from here on. It was trained on made-up samples only.
    Dictionary {
        /// The shape.
        shape: Shape,
        /// The dictionary, in the form of zstd.
        bytes: Vec<u8>,
    },
}

/// What contents that look alike have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct Shape {
    /// The kind of content, as its number in the encoding.
    pub kind: u8,
    /// The readable object.
    pub object: String,
}

impl Content {
    /// Returns the shape of a content that is one of many alike.
    pub fn shape(&self) -> Option<Shape> {
        match self {
            Self::Record { object, .. } => Some(Shape { kind: 1, object: object.clone() }),
            Self::Mapped(mapped) => Some(Shape { kind: 2, object: mapped.object.clone() }),
            _ => None,
        }
    }
}

/// A record as the plan wants it at the destination, and why.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Mapped {
    /// The destination object.
    pub object: String,
    /// The idempotency key that the row carries.
    pub key: String,
    /// The fields to set.
    pub fields: Fields,
    /// Fields that a second pass sets, when the records they point to have landed.
    pub later: Fields,
    /// The decisions that were not trivial.
    pub decisions: Vec<Decision>,
}

/// One decision of the mapping.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Decision {
    /// The destination field it is about.
    pub field: FieldName,
    /// The rule that took it.
    pub rule: RuleId,
    /// What was decided, in words.
    pub what: String,
}

/// One row of a baseline.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BaselineRow {
    /// The id that the destination uses.
    pub id: String,
    /// The destination's version mark (a modification stamp), if it has one.
    pub version: Option<String>,
    /// The digest of the fields that can be set.
    pub digest: Digest,
}
