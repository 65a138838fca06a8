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
    /// Of a thousand writes, so many are done and their answers lost,
    pub(crate) lose_per_mille: u64,
    /// and so many are lost before they are done.
    pub(crate) drop_per_mille: u64,
    /// Sessions expire with every so many calls.
    pub(crate) expire_every: u64,
    /// Of a thousand rows, so many cannot be locked at the moment.
    pub(crate) lock_per_mille: u64,
    /// A job under way holds the rows that the rows it has in work point to: those of other jobs cannot be loaded then.
    pub(crate) hold_parents: bool,
    /// Calls since these faults were armed.
    #[serde(skip)]
    calls: u64,
    /// Rows since then.
    #[serde(skip)]
    rows: u64,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mishap {
    /// All sessions expire before it.
    pub(crate) expired: bool,
    /// The server is busy.
    pub(crate) unavailable: bool,
    /// The daily allowance is used up.
    pub(crate) quota: bool,
    /// It is done, and its answer is lost.
    pub(crate) lost: bool,
    /// It is lost before it is done.
    pub(crate) dropped: bool,
}

impl Faults {
    /// Returns what happens to a call.
    pub(crate) fn before(&mut self, writes: bool) -> Mishap {
        self.calls += 1;
        let every = self.expire_every > 0 && self.calls.is_multiple_of(self.expire_every);
        let expired = count_down(&mut self.expire_after) || every;
        let unavailable = take(&mut self.unavailable);
        let quota = match &mut self.quota_after {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        let chance = chance(self.calls);
        let by_rate = chance < self.lose_per_mille;
        let dropped = writes && !by_rate && chance < self.lose_per_mille + self.drop_per_mille;
        let lost = writes && !unavailable && !quota && (by_rate || take(&mut self.lose_answers));
        Mishap { expired, unavailable, quota, lost, dropped }
    }

    pub(crate) fn lock_row(&mut self) -> bool {
        self.rows += 1;
        if chance(self.rows) < self.lock_per_mille {
            return true;
        }
        if take(&mut self.lock_after) {
            return false;
        }
        take(&mut self.lock_rows)
    }

    pub(crate) fn take_job_failure(&mut self) -> Option<usize> {
        self.fail_job_after.take()
    }
}

/// Returns a number below a thousand, spread by a hash (SplitMix64's finaliser): the same for every run of as many.
fn chance(count: u64) -> u64 {
    let mut mixed = count.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (mixed ^ (mixed >> 27)) % 1_000
}
