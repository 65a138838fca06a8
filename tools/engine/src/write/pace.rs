//! How many batches are under way at once: by how the last ones went.

use std::time::Duration;

/// How much slower than the best so far a row may be before we take it that the destination has enough to do.
const SLOWER: f64 = 2.0;

/// The number of batches that may be under way: one more after as many good ones as are under way, half as many after one that
/// met a lock, a busy system or silence, and no more while rows take longer than they did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    window: f64,
    most: f64,
    /// The shortest time that a row took, in seconds.
    best: Option<f64>,
}

impl Pace {
    /// Begins with two at once, or fewer if no more are wanted.
    pub(super) fn new(most: usize) -> Self {
        let most = f64::from(u16::try_from(most.max(1)).unwrap_or(u16::MAX));
        Self { window: most.min(2.0), most, best: None }
    }

    /// Returns how many batches may be under way now, at least one.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is at least 1 and at most 65535")]
    pub(super) fn window(&self) -> usize {
        self.window as usize
    }

    /// A batch of so many rows came back after so long, and nothing was in its way.
    pub(super) fn good(&mut self, rows: usize, took: Duration) {
        let row = took.as_secs_f64() / f64::from(u32::try_from(rows.max(1)).unwrap_or(u32::MAX));
        let best = self.best.map_or(row, |best| best.min(row));
        self.best = Some(best);
        if row <= best * SLOWER {
            self.window = (self.window + 1.0 / self.window).min(self.most);
        }
    }

    /// A batch met a lock or a busy system, or no answer came.
    pub(super) fn bad(&mut self) {
        self.window = (self.window / 2.0).max(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn good_batches_widen_it_up_to_the_most_and_a_bad_one_halves_it() {
        let mut pace = Pace::new(4);
        assert_eq!(pace.window(), 2);
        for _ in 0..20 {
            pace.good(100, SECOND);
        }
        assert_eq!(pace.window(), 4);
        pace.bad();
        assert_eq!(pace.window(), 2);
        pace.bad();
        pace.bad();
        assert_eq!(pace.window(), 1, "one batch is always under way");
    }

    #[test]
    fn a_destination_that_gets_slower_gets_no_more_at_once() {
        let mut pace = Pace::new(8);
        pace.good(100, SECOND);
        let before = pace.window();
        for _ in 0..20 {
            pace.good(100, SECOND * 3);
        }
        assert_eq!(pace.window(), before);
        for _ in 0..40 {
            pace.good(1_000, SECOND * 3);
        }
        assert_eq!(pace.window(), 8, "a larger batch may take longer");
    }

    #[test]
    fn who_wants_one_at_a_time_gets_one() {
        let mut pace = Pace::new(1);
        pace.good(1, SECOND);
        assert_eq!(pace.window(), 1);
        assert_eq!(Pace::new(0).window(), 1);
    }
}
