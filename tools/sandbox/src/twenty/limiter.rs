//! The rate limit: two token buckets, refilled the way the server refills them.
//!
//! A bucket counts what has come back since the last accepted take, rounds down, and forgets the fraction: calls that come a
//! little faster than one token takes to grow get none at all. A refused take changes nothing.

use super::{refusal::Refusal, workspace::Switches};

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    /// Tokens left, and when the last was taken; nothing before the first.
    state: Option<(i64, i64)>,
}

impl Bucket {
    fn take(&mut self, limit: i64, window: i64, now: i64) -> Result<(), Refusal> {
        let available = match self.state {
            None => limit,
            Some((tokens, last)) => limit.min(tokens + (now - last).max(0) * limit / window.max(1)),
        };
        if available < 1 {
            return Err(Refusal::limit(limit, window));
        }
        self.state = Some((available - 1, now));
        Ok(())
    }
}

/// The buckets of a workspace, which all its keys share.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limiter {
    short: Bucket,
    long: Bucket,
}

impl Limiter {
    /// Takes a token of each bucket, the short one's first: what the long one refuses has cost a short token already.
    pub(crate) fn take(&mut self, switches: &Switches, now: i64) -> Result<(), Refusal> {
        if switches.short_limit > 0 {
            self.short.take(switches.short_limit, switches.short_window, now)?;
        }
        if switches.long_limit > 0 {
            self.long.take(switches.long_limit, switches.long_window, now)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Limiter, Switches};

    /// Returns how many of `count` calls pass that come `gap` milliseconds apart.
    fn passes(limiter: &mut Limiter, now: &mut i64, count: usize, gap: i64) -> usize {
        let switches = Switches::default();
        (0..count)
            .filter(|_| {
                *now += gap;
                limiter.take(&switches, *now).is_ok()
            })
            .count()
    }

    #[test]
    fn a_hundred_pass_at_full_speed_and_sixteen_after_ten_seconds() {
        let (mut limiter, mut now) = (Limiter::default(), 0);
        assert_eq!(passes(&mut limiter, &mut now, 130, 1), 100);
        now += 10_000;
        assert_eq!(passes(&mut limiter, &mut now, 30, 0), 16);
    }

    #[test]
    fn calls_a_little_too_close_get_no_refill() {
        let (mut limiter, mut now) = (Limiter::default(), 0);
        assert_eq!(passes(&mut limiter, &mut now, 150, 500), 100 + (150 - 100) / 2, "the refused ones let it grow");
        let (mut limiter, mut now) = (Limiter::default(), 0);
        assert_eq!(passes(&mut limiter, &mut now, 150, 600), 150);
    }

    #[test]
    fn an_empty_bucket_gives_one_token_every_six_hundred_milliseconds() {
        let (mut limiter, mut now) = (Limiter::default(), 0);
        passes(&mut limiter, &mut now, 100, 1);
        assert_eq!(passes(&mut limiter, &mut now, 60, 100), 10);
    }

    #[test]
    fn a_tight_loop_meets_the_short_window_too() {
        let (mut limiter, mut now) = (Limiter::default(), 0);
        passes(&mut limiter, &mut now, 100, 0);
        now += 100;
        let messages: Vec<String> = (0..20)
            .filter_map(|_| limiter.take(&Switches::default(), now).err())
            .map(|refusal| refusal.message.clone())
            .collect();
        assert_eq!(messages[0], "Limit reached (100 tokens per 60000 ms)");
        assert_eq!(messages[19], "Limit reached (100 tokens per 1000 ms)");
    }
}
