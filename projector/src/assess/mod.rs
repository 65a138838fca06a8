//! What is wrong with the data of a source, and what the plan will do about it.
//!
//! A fold over records ([`ObjectAssessor`], one an object, so that objects can be read side by side) and a join of what the
//! folds kept ([`join`]). Kept are counts, hashes, ids and folded names, never records.
//!
//! **Invariant:** the same records give the same findings. Only which records are named first, and which of two spellings
//! stands first, follows from the order in which they are read.

mod associations;
pub mod duplicates;
mod effect;
pub mod grade;
mod ids;
mod object;
mod values;
mod words;

use serde::{Deserialize, Serialize};

pub use self::{
    associations::{Joined, join},
    effect::Effects,
    object::{ObjectAssessor, Settled, Setup},
    values::{Completeness, FieldFill},
};

/// How many records of a finding are named, however many there are.
pub const NAMED: usize = 1_000;

/// Something that a person should know before the migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of finding it is: stable, for scripts.
    pub kind: String,
    /// How bad it is.
    pub severity: Severity,
    /// The object.
    pub object: String,
    /// The field, or several joined with ` and `.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// How many records it is about.
    pub count: u64,
    /// What was found, in words.
    pub what: String,
    /// What the plan will do with them.
    pub plan: String,
    /// The ids of the records, at most [`NAMED`] of them; those that belong together stand in one group.
    pub records: Vec<Vec<String>>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing may be written before it is mended.
    Blocks,
    /// Records wait, or values are lost.
    Warning,
    /// Worth knowing.
    Note,
}

/// How many records something is true of, and the numbers of the first ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    count: u64,
    first: Vec<u32>,
}

impl Tally {
    fn add(&mut self, record: u32) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(record);
        }
    }

    /// Takes another in. The first records of both stay the first.
    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.first.extend(&other.first);
        self.first.sort_unstable();
        self.first.truncate(NAMED);
    }
}

#[cfg(test)]
mod tests;
