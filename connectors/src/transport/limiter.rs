//! A limiter for servers that tell nothing of their limits but a refusal: it counts as the server counts, and sleeps.
//!
//! The server's bucket counts what has come back since the last request it took, rounds down, and forgets the fraction
//! (seen on Twenty 2.21). Requests that come a little faster than one token takes to grow get none back at all, so a gap
//! is never shorter than that, by a margin for what the network does to gaps.

use std::time::Duration;

use tokio::{sync::Mutex, time::Instant};

/// How much longer than needed a gap is: the network makes some of them shorter on their way.
const MARGIN: Duration = Duration::from_millis(4);
/// How long after its time a request goes once more that came too early.
const SOON: Duration = Duration::from_millis(40);
/// Tokens that are never counted on: gaps that the network made too short are paid with them.
const RESERVE: u64 = 2;

/// So many requests in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) requests: u64,
    pub(crate) window: Duration,
}

impl Rate {
    /// Returns how long a token takes to grow, as the server rounds it, with the margin.
    fn gap(self) -> Duration {
        let micros = self.window.as_micros().div_ceil(u128::from(self.requests.max(1)));
        // The server counts whole milliseconds.
        Duration::from_millis(u64::try_from(micros.div_ceil(1_000)).unwrap_or(u64::MAX)) + MARGIN
    }
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    tokens: u64,
    last: Option<Instant>,
    /// When the request before the last was taken, unless that one was refused.
    before: Option<Instant>,
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Self { rate, tokens: full(rate), last: None, before: None }
    }

    fn available(&self, now: Instant) -> u64 {
        let Some(last) = self.last else { return self.tokens };
        let grown = now.saturating_duration_since(last).as_micros() / self.rate.gap().as_micros().max(1);
        full(self.rate).min(self.tokens.saturating_add(u64::try_from(grown).unwrap_or(u64::MAX)))
    }

    /// Returns when a token is there.
    fn ready(&self, now: Instant) -> Instant {
        match self.last {
            Some(last) if self.available(now) == 0 => last + self.rate.gap(),
            _ => now,
        }
    }

    fn take(&mut self, now: Instant) {
        self.tokens = self.available(now).saturating_sub(1);
        self.before = self.last.replace(now);
    }

    /// Believes a refusal. A request that came a moment too early is in time a moment later, because a refusal does not count
    /// as taken; if that is refused as well, somebody else took a token, and a whole one must grow.
    fn refused(&mut self, now: Instant) {
        let early = self.before.take().map(|before| before + SOON);
        self.tokens = 0;
        self.last = early.filter(|early| *early + self.rate.gap() > now).or(Some(now));
    }
}

/// Returns what a full bucket is counted for.
fn full(rate: Rate) -> u64 {
    if rate.requests > 2 * RESERVE { rate.requests - RESERVE } else { rate.requests.max(1) }
}

/// Lets requests go as fast as the server takes them. Without any rate, at once.
#[derive(Debug)]
pub(crate) struct Limiter(Mutex<Vec<Bucket>>);

impl Limiter {
    pub(crate) fn new(rates: &[Rate]) -> Self {
        Self(Mutex::new(rates.iter().map(|rate| Bucket::new(*rate)).collect()))
    }

    /// Waits until the server has a token for a request, and takes it.
    pub(crate) async fn take(&self) {
        loop {
            // Nobody sleeps with the lock: a request that is begun and left alone for a while would stop all others.
            let ready = {
                let mut buckets = self.0.lock().await;
                let now = Instant::now();
                let ready = buckets.iter().map(|bucket| bucket.ready(now)).max().unwrap_or(now);
                if ready <= now {
                    buckets.iter_mut().for_each(|bucket| bucket.take(now));
                    return;
                }
                ready
            };
            tokio::time::sleep_until(ready).await;
        }
    }

    /// Learns from a refusal that the server's bucket of this rate is empty: another client, or an earlier process, took from
    /// it. A rate that was not known counts from now on.
    pub(crate) async fn refused(&self, rate: Rate) {
        let mut buckets = self.0.lock().await;
        let at = buckets.iter().position(|bucket| bucket.rate.window == rate.window).unwrap_or_else(|| {
            buckets.push(Bucket::new(rate));
            buckets.len() - 1
        });
        if let Some(bucket) = buckets.get_mut(at) {
            bucket.rate = rate;
            bucket.refused(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MINUTE: Rate = Rate { requests: 100, window: Duration::from_secs(60) };

    /// A bucket as the server has it.
    struct Server(u64, Option<u128>);

    impl Server {
        fn takes(&mut self, at: u128) -> bool {
            let available =
                self.1.map_or(self.0, |last| 100.min(self.0 + u64::try_from((at - last) * 100 / 60_000).unwrap()));
            if available > 0 {
                (self.0, self.1) = (available - 1, Some(at));
            }
            available > 0
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_limiter_lets_go_the_server_takes_and_hardly_any_time_is_lost() {
        let (limiter, mut server, start) = (Limiter::new(&[MINUTE]), Server(100, None), Instant::now());
        let mut jitter = 0;
        for n in 0..600_u128 {
            limiter.take().await;
            // Every request takes another moment more to arrive; three of them come too close.
            jitter = if n % 200 == 150 { 0 } else { 3 };
            assert!(server.takes(start.elapsed().as_millis() + jitter), "request {n}");
        }
        assert!(jitter < 5);
        let least = Duration::from_secs(300);
        let ratio = start.elapsed().as_secs_f64() / least.as_secs_f64();
        assert!(ratio < 1.03, "{ratio}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_believed_and_teaches_the_rate() {
        let limiter = Limiter::new(&[MINUTE]);
        limiter.take().await;
        let start = Instant::now();
        limiter.refused(Rate { requests: 50, window: Duration::from_secs(60) }).await;
        limiter.take().await;
        limiter.take().await;
        assert!(start.elapsed() >= Duration::from_millis(2 * 1_200));
        let free = Limiter::new(&[]);
        let start = Instant::now();
        for _ in 0..1_000 {
            free.take().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
