//! Faults that a test arms: what real networks and real orgs do now and then.

use serde::Deserialize;

use crate::countdown::{count_down, take};

/// What is armed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Faults {
    /// Sessions expire once, after this many further calls.
    pub(crate) expire_after: Option<u32>,
    /// This many calls are answered with 503.
    pub(crate) unavailable: u32,
    /// The answers of this many writes are lost after they were done.
    pub(crate) lose_answers: u32,
    /// The daily allowance is used up after this many further calls.
    pub(crate) quota_after: Option<u32>,
    /// This many rows cannot be locked,
    pub(crate) lock_rows: u32,
    /// after this many could.
    pub(crate) lock_after: u32,
    /// The next job fails after this many rows.
    pub(crate) fail_job_after: Option<usize>,
    /// Jobs begin this many milliseconds late.
    pub(crate) slow: u64,
}

impl Faults {
    /// Returns what happens to a call: its session expires, the server is busy, the quota is gone, its answer is lost.
    pub(crate) fn before(&mut self, writes: bool) -> (bool, bool, bool, bool) {
        let expired = count_down(&mut self.expire_after);
        let unavailable = take(&mut self.unavailable);
        let quota = match &mut self.quota_after {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        let lost = writes && !unavailable && !quota && take(&mut self.lose_answers);
        (expired, unavailable, quota, lost)
    }

    pub(crate) fn lock_row(&mut self) -> bool {
        if take(&mut self.lock_after) {
            return false;
        }
        take(&mut self.lock_rows)
    }

    pub(crate) fn take_job_failure(&mut self) -> Option<usize> {
        self.fail_job_after.take()
    }
}
