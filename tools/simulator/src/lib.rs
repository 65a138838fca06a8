//! Whole migrations in one process, from a seed: the engine and its folds as they are, against the sandbox org without a
//! socket, the ledger on a store whose unsynced writes are lost, time and chance from the seed, and faults on both sides.
//!
//! A seed tells one story: an org that people work in, a source, a load, changes on both sides, deltas, a rollback, and all of
//! it again; answers are lost, come late or garbled, the process is killed, people edit, delete and add meanwhile. After each
//! part the laws are checked from outside: by the rows that the org holds, not by what the engine believes.
//!
//! ```
//! let told = waybill_simulator::simulate(7, waybill_engine::flaws::Sound).expect("the laws hold");
//! assert!(told.requests > 0);
//! ```

mod laws;
mod source;
mod story;
mod wire;

use waybill_engine::flaws::Flaws;

/// What a seed came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How many requests the org got.
    pub requests: u64,
    /// The digest of all of them, in order.
    pub log: String,
    /// The head of the ledger at the end.
    pub head: String,
    /// How often the process was killed or its run failed.
    pub broken_off: u64,
    /// What people did meanwhile.
    pub acts: usize,
}

/// A law that a seed broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {what}\nreplay it with: waybill-bench simulate --seeds 1 --from {seed}")]
pub struct Violation {
    /// The seed.
    pub seed: u64,
    /// What was found.
    pub what: String,
    /// What happened until then, in order.
    pub story: Vec<String>,
}

/// Tells the story of a seed.
pub fn simulate<M: Flaws>(seed: u64, flaws: M) -> Result<Told, Violation> {
    waybill_engine::aside::stay_on_this_thread();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let told = match runtime {
        Ok(runtime) => runtime.block_on(story::tell(seed, flaws)),
        Err(e) => Err((e.to_string(), Vec::new())),
    };
    told.map_err(|(what, story)| Violation { seed, what, story })
}
