//! Deliberate mistakes of the engine, by which a simulation shows that it would notice them.
//!
//! The engine is generic over who makes them. In the program nobody does: [`Sound`] is empty, and every question to it is
//! answered when the program is compiled.

/// Says which mistakes the engine makes.
pub trait Flaws: Copy + Send + Sync + std::fmt::Debug + 'static {
    /// Returns whether it makes this one.
    fn has(self, flaw: Flaw) -> bool;
}

/// An engine without deliberate mistakes: that of the program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sound;

impl Flaws for Sound {
    #[inline]
    fn has(self, _: Flaw) -> bool {
        false
    }
}

/// An engine with one deliberate mistake, for simulations.
#[derive(Debug, Clone, Copy)]
pub struct Mutant(pub Flaw);

impl Flaws for Mutant {
    fn has(self, flaw: Flaw) -> bool {
        self.0 == flaw
    }
}

/// One deliberate mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Rows are changed without a look at what they held.
    SkipBeforeImage,
    /// A create whose answer was lost is taken for one that was not done, without asking.
    ResendBlindly,
    /// Ids are given to the rows of a batch in the order in which they came back.
    JoinByPosition,
    /// A field that became empty in the source is left as it is.
    DropNull,
    /// What people changed since is overwritten by a delta.
    IgnoreDriftInDelta,
    /// What people changed since is overwritten, or removed, by a rollback.
    IgnoreDriftInRollback,
    /// A batch leaves before its intents are durable.
    SendBeforeIntent,
    /// Writes that a killed process left open are not asked about.
    ForgetOpenWrites,
    /// Rows are removed although other people's records hang on them.
    IgnoreChildren,
    /// A row that a person removed is made again by a delta.
    RecreateRemoved,
    /// A delta that was broken off goes on from where it began, not from what it had read before.
    LateCheckpoint,
    /// What points within an object is not filled in once its other end has landed.
    SkipSecondPass,
    /// A row that was refused counts as done.
    SwallowRefusals,
    /// The source's deletions are not carried.
    KeepDeleted,
    /// A rollback takes parents before their children.
    ParentsFirst,
    /// A rollback puts back what was before the newest change, not before the oldest.
    NewestImage,
}

impl Flaw {
    /// Every mistake.
    pub const ALL: [Self; 16] = [
        Self::SkipBeforeImage,
        Self::ResendBlindly,
        Self::JoinByPosition,
        Self::DropNull,
        Self::IgnoreDriftInDelta,
        Self::IgnoreDriftInRollback,
        Self::SendBeforeIntent,
        Self::ForgetOpenWrites,
        Self::IgnoreChildren,
        Self::RecreateRemoved,
        Self::LateCheckpoint,
        Self::SkipSecondPass,
        Self::SwallowRefusals,
        Self::KeepDeleted,
        Self::ParentsFirst,
        Self::NewestImage,
    ];
}
