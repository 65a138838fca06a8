//! Faults that a test arms: what real networks and real servers do now and then.

use serde::{Deserialize, Serialize};

use crate::countdown::take;

/// What is armed. Counts are of calls to the records and the metadata; `after` lets that many pass first.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Faults {
    /// Calls that pass before anything happens.
    pub(crate) after: u32,
    /// Writes whose connection breaks before anything is done.
    pub(crate) lose_requests: u32,
    /// Writes whose answer is lost after they were done.
    pub(crate) lose_answers: u32,
    /// Writes whose connection breaks, and that are done later all the same.
    pub(crate) late_commits: u32,
    /// How many milliseconds later.
    pub(crate) late_by: i64,
    /// Calls that are answered with 500.
    pub(crate) errors: u32,
    /// Calls that are answered with 503.
    pub(crate) unavailable: u32,
    /// Calls that are answered with 429, whatever the limiter says.
    pub(crate) limited: u32,
    /// Batch upserts that update what is there and then fail to insert what is new.
    pub(crate) partial_upserts: u32,
    /// Bodies of more bytes than this are answered with 500.
    pub(crate) large_body: Option<usize>,
    /// How many milliseconds every answer takes.
    pub(crate) slow: u64,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    LoseRequest,
    LoseAnswer,
    CommitLate,
    Error,
    Unavailable,
    Limited,
}

impl Faults {
    /// Returns what happens to the next call.
    pub(crate) fn fate(&mut self, writes: bool, bytes: usize) -> Fate {
        if self.large_body.is_some_and(|most| bytes > most) {
            return Fate::Error;
        }
        let armed =
            self.lose_requests + self.lose_answers + self.late_commits + self.errors + self.unavailable + self.limited;
        if armed == 0 || take(&mut self.after) {
            return Fate::Pass;
        }
        for (count, fate, only_writes) in [
            (&mut self.unavailable, Fate::Unavailable, false),
            (&mut self.errors, Fate::Error, false),
            (&mut self.limited, Fate::Limited, false),
            (&mut self.lose_requests, Fate::LoseRequest, true),
            (&mut self.late_commits, Fate::CommitLate, true),
            (&mut self.lose_answers, Fate::LoseAnswer, true),
        ] {
            if (writes || !only_writes) && take(count) {
                return fate;
            }
        }
        Fate::Pass
    }
}
