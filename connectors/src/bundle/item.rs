//! What reading an object of a bundle gives: records, rows that could not be read, and records that are gone.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use waybill_ledger::{FieldName, FieldRef, Record};

/// Where a row stands, for people who want to look at it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The file, relative to the bundle, with `/` between folders.
    pub file: String,
    /// The physical line on which the row starts, counted from 1.
    pub line: u64,
}

impl Origin {
    /// Returns the place of a file as a whole that cannot be opened, and what to say of it.
    pub(crate) fn of_closed(file: &str, error: &std::io::Error) -> (Self, String) {
        (Self { file: file.to_owned(), line: 0 }, format!("the file cannot be opened: {error}"))
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One thing found while reading an object. Every row of every file leads to exactly one item.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A record. A cell that is not what its column promises stays as text, so that nothing is lost.
    Record {
        /// The record, with its key as id.
        record: Record,
        /// When the source last changed it, if it says so.
        modified: Option<DateTime<Utc>>,
        /// Where it stands.
        origin: Origin,
    },
    /// A row that is not a record: the wrong number of cells, bytes that are no text, no key.
    Unreadable {
        /// Where it stands.
        origin: Origin,
        /// What is wrong with it, without quoting it.
        reason: String,
    },
    /// A record that the source says no longer exists.
    Gone {
        /// Its id.
        id: String,
        /// How it went.
        how: DeletedHow,
        /// When it went, if the source says so.
        at: Option<DateTime<Utc>>,
    },
}

/// One thing met in a scan: an [`Item`], where it lies. It lasts until the next one is met.
#[derive(Debug)]
pub enum Sight<'a> {
    /// A record.
    Record {
        /// Its key.
        id: Cow<'a, str>,
        /// Its fields, in the order of the names that the scan was given.
        fields: &'a [FieldRef<'a>],
        /// Its fields that are not among those names: records of JSON may show one at any place of a file.
        beyond: &'a [(&'a FieldName, FieldRef<'a>)],
        /// When the source last changed it, if it says so.
        modified: Option<DateTime<Utc>>,
        /// The physical line on which it starts, counted from 1.
        line: u64,
    },
    /// A row that is not a record.
    Unreadable {
        /// Where it stands.
        origin: Origin,
        /// What is wrong with it, without quoting it.
        reason: String,
    },
    /// A record that the source says no longer exists.
    Gone {
        /// Its id.
        id: Cow<'a, str>,
        /// How it went.
        how: DeletedHow,
        /// When it went, if the source says so.
        at: Option<DateTime<Utc>>,
    },
}

/// How a record of the source ceased to exist.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DeletedHow {
    /// It was deleted.
    Deleted,
    /// It was merged into another record, which lives on.
    Merged {
        /// The id of the survivor.
        into: String,
    },
}
