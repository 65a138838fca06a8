//! Whole migrations in one process, from a seed: the engine and its folds as they are, against a sandbox without a socket,
//! the ledger on a store whose unsynced writes are lost, time and chance from the seed, and faults on both sides.
//!
//! A seed tells one story for each destination: a place that people work in, a source, a load, changes on both sides, deltas, a rollback, and all of
//! it again; answers are lost, come late or garbled, the process is killed, people edit, delete and add meanwhile. After each
//! part the laws are checked from outside: by the rows that it holds, not by what the engine believes.
//!
//! ```
//! let told = waybill_simulator::simulate(7, waybill_engine::flaws::Sound).expect("the laws hold");
//! assert!(told.requests > 0);
//! ```

mod laws;
mod org;
mod place;
mod source;
mod story;
mod time;
mod wire;
mod workspace;

use waybill_engine::flaws::Flaws;

/// Where a story's records go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Destination {
    /// A Salesforce org.
    #[default]
    Salesforce,
    /// A Twenty workspace.
    Twenty,
}

impl Destination {
    /// Returns the destination of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Salesforce, Self::Twenty].into_iter().find(|destination| destination.name() == name)
    }

    /// Returns its name, as projects have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Salesforce => "salesforce",
            Self::Twenty => "twenty",
        }
    }
}

/// What a seed came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How many requests the destination got.
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
#[error("seed {seed}: {what}\nreplay it with: waybill-bench simulate --to {} --seeds 1 --from {seed}", to.name())]
pub struct Violation {
    /// Where its records went.
    pub to: Destination,
    /// The seed.
    pub seed: u64,
    /// What was found.
    pub what: String,
    /// What happened until then, in order.
    pub story: Vec<String>,
}

/// Tells the story of a seed, on Salesforce.
pub fn simulate<M: Flaws>(seed: u64, flaws: M) -> Result<Told, Violation> {
    simulate_to(Destination::Salesforce, seed, flaws)
}

/// Tells the story of a seed on this destination. The same seed is another story on each.
pub fn simulate_to<M: Flaws>(to: Destination, seed: u64, flaws: M) -> Result<Told, Violation> {
    waybill_engine::aside::stay_on_this_thread();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let told = match runtime {
        Ok(runtime) => runtime.block_on(story::tell(to, seed, flaws)),
        Err(e) => Err((e.to_string(), Vec::new())),
    };
    told.map_err(|(what, story)| Violation { to, seed, what, story })
}
