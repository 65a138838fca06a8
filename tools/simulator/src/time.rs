//! Time and chance of a simulation: nothing moves them but the seed.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use waybill_ledger::{
    Micros,
    ledger::{Clock, Entropy},
};

/// When every story begins, in microseconds.
const BEGIN: i64 = 1_768_000_000_000_000;

/// A clock that only the simulation moves.
#[derive(Debug)]
pub(crate) struct Time(AtomicI64);

impl Time {
    pub(crate) fn new() -> Self {
        Self(AtomicI64::new(BEGIN))
    }

    pub(crate) fn pass(&self, millis: u64) {
        self.0.fetch_add(i64::try_from(millis * 1_000).unwrap_or(0), Ordering::Relaxed);
    }

    fn micros(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clock for Time {
    fn now(&self) -> Micros {
        Micros(self.micros())
    }

    fn steady(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.micros() - BEGIN).unwrap_or(0))
    }
}

/// Randomness that is the same every time.
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) Mutex<ChaCha8Rng>);

impl Entropy for Chance {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}
