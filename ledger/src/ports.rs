//! What the ledger takes from the machine: time and randomness. Tests put their own in place.

use std::{
    cell::RefCell,
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::subject::Micros;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Returns the wall clock's time, which people can set.
    fn now(&self) -> Micros;

    /// Returns the time since some fixed moment, by a clock that nobody can set.
    fn steady(&self) -> Duration;
}

/// Gives random bytes that nobody can guess.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// When a block is sealed: at whichever comes first, or when nothing more waits to be appended.
///
/// The default is what a sweep (`waybill-bench ledger --sweep`, 1,000,000 events on two cores) found best for append and disk
/// together; peak memory was 117 to 121 MB throughout:
///
/// | events, KiB | events a second | bytes on disk over bytes of contents |
/// |---|---|---|
/// | 256, 64 | 188,000 | 0.686 |
/// | 512, 64 | 213,000 | 0.684 |
/// | 512, 128 | 230,000 | 0.679 |
/// | 1,024, 128 | 229,000 | 0.678 |
/// | **1,024, 256** | **236,000** | **0.676** |
/// | 2,048, 256 | 232,000 | 0.675 |
/// | 2,048, 512 | 209,000 | 0.674 |
/// | 4,096, 1,024 | 208,000 | 0.673 |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealing {
    /// So many events.
    pub events: u32,
    /// So many bytes of sealed contents.
    pub bytes: usize,
}

impl Default for Sealing {
    fn default() -> Self {
        Self { events: 1_024, bytes: 256 << 10 }
    }
}

/// The clock, the randomness and the threads that a ledger uses.
#[derive(Clone)]
pub struct Ports {
    /// Tells the time of events.
    pub clock: Arc<dyn Clock>,
    /// Makes keys, salts and nonces.
    pub entropy: Arc<dyn Entropy>,
    /// When a block is sealed.
    pub sealing: Sealing,
    /// Whether whoever appends writes, too, and at once: every append is then a block of its own, in the order of the calls. A
    /// simulation needs that; otherwise a thread of the ledger's own writes.
    pub inline: bool,
}

impl Ports {
    /// Returns the machine's own clock and randomness.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock(Instant::now())),
            entropy: Arc::new(SystemEntropy),
            sealing: Sealing::default(),
            inline: false,
        }
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ports")
    }
}

struct SystemClock(Instant);

impl Clock for SystemClock {
    fn now(&self) -> Micros {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn steady(&self) -> Duration {
        self.0.elapsed()
    }
}

struct SystemEntropy;

/// Random bytes that were drawn and not given away yet.
struct Drawn {
    bytes: [u8; 4_096],
    left: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; 4_096], left: 0 }) };
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let draw = |bytes: &mut [u8]| getrandom::fill(bytes).expect("the operating system gives random bytes");
        if bytes.len() > 256 {
            return draw(bytes);
        }
        // Every content takes two draws: asking the system for many at a time spares a call for each.
        DRAWN.with_borrow_mut(|drawn| {
            if drawn.left < bytes.len() {
                draw(&mut drawn.bytes);
                drawn.left = drawn.bytes.len();
            }
            let given = &mut drawn.bytes[drawn.left - bytes.len()..drawn.left];
            bytes.copy_from_slice(given);
            given.fill(0);
            drawn.left -= bytes.len();
        });
    }
}
