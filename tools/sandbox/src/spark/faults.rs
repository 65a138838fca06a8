//! Faults that a test arms: what real networks and real servers do now and then.

use serde::Deserialize;

/// What is armed. Each is counted in calls of the API.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Faults {
    /// So many calls go well before any of the others happens.
    pub(crate) after: u32,
    /// This many calls are answered with 503.
    pub(crate) unavailable: u32,
    /// This many calls are answered with 429,
    pub(crate) throttle: u32,
    /// and told to wait so many seconds.
    pub(crate) retry_after: u32,
    /// The connection breaks before this many answers are out.
    pub(crate) reset: u32,
    /// This many answers end in the middle.
    pub(crate) truncate: u32,
    /// Every token that was given expires once, after this many further calls.
    pub(crate) expire_after: Option<u32>,
    /// The mark of the next page is always that of the second one.
    pub(crate) circle: bool,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Unavailable,
    Throttled { wait: u32 },
    Reset,
    Truncated,
}

impl Faults {
    /// Returns whether the tokens expire now.
    pub(crate) fn expires(&mut self) -> bool {
        match &mut self.expire_after {
            Some(0) => {
                self.expire_after = None;
                true
            }
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    /// Returns what happens to the next call.
    pub(crate) fn next(&mut self) -> Fault {
        if take(&mut self.after) {
            Fault::None
        } else if take(&mut self.unavailable) {
            Fault::Unavailable
        } else if take(&mut self.throttle) {
            Fault::Throttled { wait: self.retry_after }
        } else if take(&mut self.reset) {
            Fault::Reset
        } else if take(&mut self.truncate) {
            Fault::Truncated
        } else {
            Fault::None
        }
    }
}

fn take(count: &mut u32) -> bool {
    let left = *count > 0;
    *count = count.saturating_sub(1);
    left
}
