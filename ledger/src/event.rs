//! What can happen. Events are immutable facts; their variants are appended, never edited.
//!
//! An event holds no personal content: no values, no readable ids, no names of people, no messages of a remote system.
//! Those are [`Content`](crate::content::Content) and live in the vault.

use bincode::{Decode, Encode};

use crate::subject::{BatchId, Digest, Fingerprint, Micros, NameId, Position, RunId, SubjectId, TargetPart};

/// One event with its circumstances, as it stands in a block.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Envelope {
    /// Its gapless number.
    pub position: Position,
    /// When it was appended: never before its predecessor.
    pub time: Micros,
    /// The run it belongs to, if any.
    pub run: Option<RunId>,
    /// Who acted: a person or a program.
    pub actor: NameId,
    /// The events that led to it.
    pub causes: Vec<Position>,
    /// The record it is about.
    pub subject: Option<SubjectId>,
    /// Which of the subject's destination records it is about.
    pub target: Option<TargetPart>,
    /// The batch it belongs to.
    pub batch: Option<BatchId>,
    /// What happened.
    pub event: Event,
    /// The commitment to its content in the vault, if it has content.
    pub content: Option<Digest>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    // -- project
    /// The ledger was begun.
    ProjectOpened,
    /// A name got its number. The text of a person's name is content; other names stand here.
    NameRegistered {
        /// The number.
        name: NameId,
        /// What it names.
        kind: NameKind,
        /// The text, unless it names a person.
        text: Option<String>,
    },
    /// A run began, under this plan (if it needs one).
    RunStarted {
        /// What the run does.
        kind: RunKind,
        /// The digest of the plan.
        plan: Option<Digest>,
    },
    /// A run stopped without being done and can go on.
    RunPaused {
        /// Why.
        reason: PauseReason,
    },
    /// A paused or broken run goes on.
    RunResumed,
    /// A run is over.
    RunEnded {
        /// How it went.
        outcome: RunOutcome,
    },
    /// The clock of the machine moved by more than a second against the ledger's time.
    ClockStepped {
        /// By how much, in microseconds; negative is backwards.
        by: i64,
    },
    /// A report was written to a file. Content: its path.
    ReportWritten {
        /// The digest of its bytes.
        digest: Digest,
    },

    // -- source
    /// A system was described. Content: the schema.
    SchemaSeen {
        /// Which side of the migration.
        side: Side,
        /// The system.
        system: NameId,
        /// The digest of the canonical schema.
        digest: Digest,
    },
    /// A source record was read. Content: the record.
    RecordExtracted {
        /// Its source object.
        object: NameId,
        /// When the source says it was last modified, by the source's clock.
        modified: Option<Micros>,
        /// The digest of its content, keyed by the subject.
        digest: Fingerprint,
    },
    /// The source says that a record is gone.
    RecordGone {
        /// Its source object.
        object: NameId,
        /// How it went.
        how: GoneHow,
    },
    /// A row could not be read as a record. Content: file and reason.
    RecordUnreadable {
        /// Its source object.
        object: NameId,
        /// The line in the file, counted from 1.
        line: u64,
    },
    /// An object was read up to here. Content: the cursor.
    CheckpointReached {
        /// The source object.
        object: NameId,
        /// Rows read in this run.
        read: u64,
        /// Rows among them that had not changed.
        unchanged: u64,
        /// The digest over the keys of the unchanged rows, in order.
        unchanged_keys: Digest,
        /// Whether the object was read to its end.
        complete: bool,
    },

    // -- plan
    /// A plan was stored. Content: its text.
    PlanStored {
        /// The digest of its meaning.
        plan: Digest,
    },
    /// A plan was proposed by the program. Content: the proposal.
    PlanProposed {
        /// The digest of its meaning.
        plan: Digest,
    },
    /// A person approved a plan. Content: the scope that was shown.
    PlanApproved {
        /// The digest of its meaning.
        plan: Digest,
        /// The digest of the schema elements it touches, as they will be after its own schema step.
        schema: Digest,
    },
    /// An owner of the source was matched to a user of the destination, or decided on. Content: the resolution.
    OwnerResolved {
        /// How.
        how: OwnerHow,
    },
    /// A gate let the migration pass or not.
    GateDecided {
        /// Which gate.
        gate: Gate,
        /// Whether it opened.
        open: bool,
    },

    // -- identity
    /// A source record *is* a destination record. Content: the destination id and what was compared.
    IdentityLinked {
        /// The destination record.
        destination: SubjectId,
        /// By which kind of key.
        by: LinkedBy,
        /// How many candidates there were.
        candidates: u32,
    },
    /// A link was taken back.
    IdentityUnlinked {
        /// The destination record.
        destination: SubjectId,
    },

    // -- mapping
    /// A record was mapped to one target. Content: fields and decisions.
    RecordMapped {
        /// The destination object.
        object: NameId,
        /// The digest of the mapped fields, keyed by the subject.
        digest: Fingerprint,
    },
    /// A source record went into a target that another one leads.
    RecordMerged {
        /// The subject that leads the target.
        into: SubjectId,
    },
    /// A record waits for a person. Content: the reason in words.
    RecordHeld {
        /// Why.
        reason: HoldReason,
    },
    /// A held record may go on.
    RecordReleased,
    /// The plan says that a record is not carried. Content: the reason in words.
    RecordSkipped {
        /// Why.
        reason: SkipReason,
    },

    // -- destination
    /// What the destination held of one object before us. Content: rows with id, version and digest.
    BaselineTaken {
        /// The destination object.
        object: NameId,
        /// Rows in this part.
        rows: u64,
        /// The digest over this part.
        digest: Digest,
        /// Whether this part is the last of the object.
        complete: bool,
    },
    /// A destination record was read before we write it. Content: the record.
    BeforeImageTaken {
        /// The destination record.
        destination: SubjectId,
    },
    /// Writes were put together to be sent.
    BatchFormed {
        /// The destination object.
        object: NameId,
        /// What is done.
        operation: Operation,
        /// How it is sent.
        transport: Transport,
        /// How many writes.
        rows: u32,
        /// The digest of what is sent.
        digest: Digest,
    },
    /// A write is about to leave. Nothing leaves before this is durable.
    WriteIntended {
        /// The destination object.
        object: NameId,
        /// What is done.
        operation: Operation,
        /// The write that this one undoes.
        inverts: Option<Position>,
    },
    /// The destination opened a job for a batch. Content: the job's id.
    RemoteJobOpened,
    /// A write was done. Content: the destination id.
    WriteConfirmed {
        /// The destination record.
        destination: SubjectId,
        /// What the destination says it did.
        operation: Operation,
    },
    /// A write was refused and changed nothing. Content: the destination's message.
    WriteRejected {
        /// The destination's error code.
        code: NameId,
    },
    /// It is not known whether a write was done.
    WriteUnknown {
        /// What happened to the answer.
        cause: UnknownCause,
    },
    /// A destination record as our write left it. Content: the record, or nothing if it equals what we meant to write.
    AfterImageTaken {
        /// The destination record.
        destination: SubjectId,
    },
    /// The destination changed something on its own in answer to our write. Content: the field and its values.
    SideEffectSeen {
        /// The destination record.
        destination: SubjectId,
        /// The destination object.
        object: NameId,
        /// The field; none if a whole row appeared.
        field: Option<NameId>,
    },

    // -- findings
    /// An object was reconciled.
    Reconciled {
        /// The destination object.
        object: NameId,
        /// What was found.
        counts: ReconcileCounts,
    },
    /// A value or a record does not match. Content: the values.
    MismatchFound {
        /// Of which class.
        class: MismatchClass,
        /// The destination object.
        object: NameId,
        /// The field; none for a whole record.
        field: Option<NameId>,
    },
    /// Something changed that is not ours. Content: the values.
    DriftFound {
        /// The destination record.
        destination: SubjectId,
        /// The destination object.
        object: NameId,
        /// The field; none for a whole record.
        field: Option<NameId>,
        /// What kind of change.
        kind: DriftKind,
    },

    // -- rollback
    /// A rollback was planned. Content: the plan.
    RollbackPlanned {
        /// Rows to delete.
        deletes: u64,
        /// Rows to restore.
        restores: u64,
        /// Rows to create again.
        recreates: u64,
    },

    // -- governance
    /// A subject's key was destroyed. Content: who asked and why.
    SubjectErased {
        /// The forgotten subject.
        erased: SubjectId,
    },
    /// The project key was replaced.
    KeyRotated,
    /// A head was signed and given out.
    HeadSigned {
        /// Blocks under it.
        blocks: u64,
        /// Its root.
        root: Digest,
    },
    /// Contents of one shape are packed with a dictionary from here on. Content: the dictionary.
    DictionaryAdded {
        /// Its number.
        dictionary: u16,
    },

    // -- people
    /// A person decided what becomes of a record that waits, or no longer should. Content: the destination id that the
    /// decision names, or the person's reason.
    HoldDecided {
        /// What.
        decision: HoldDecision,
    },
}

/// The kinds of events, by their numbers in the encoding.
pub const KINDS: [&str; 44] = [
    "ProjectOpened",
    "NameRegistered",
    "RunStarted",
    "RunPaused",
    "RunResumed",
    "RunEnded",
    "ClockStepped",
    "ReportWritten",
    "SchemaSeen",
    "RecordExtracted",
    "RecordGone",
    "RecordUnreadable",
    "CheckpointReached",
    "PlanStored",
    "PlanProposed",
    "PlanApproved",
    "OwnerResolved",
    "GateDecided",
    "IdentityLinked",
    "IdentityUnlinked",
    "RecordMapped",
    "RecordMerged",
    "RecordHeld",
    "RecordReleased",
    "RecordSkipped",
    "BaselineTaken",
    "BeforeImageTaken",
    "BatchFormed",
    "WriteIntended",
    "RemoteJobOpened",
    "WriteConfirmed",
    "WriteRejected",
    "WriteUnknown",
    "AfterImageTaken",
    "SideEffectSeen",
    "Reconciled",
    "MismatchFound",
    "DriftFound",
    "RollbackPlanned",
    "SubjectErased",
    "KeyRotated",
    "HeadSigned",
    "DictionaryAdded",
    "HoldDecided",
];

/// Returns the number of a kind by its name, in whatever case, if there is such a kind.
pub fn number_of(kind: &str) -> Option<u8> {
    KINDS.iter().position(|known| known.eq_ignore_ascii_case(kind)).and_then(|at| u8::try_from(at).ok())
}

impl Event {
    /// Returns the number of the event's kind, an index into [`KINDS`].
    pub fn number(&self) -> u8 {
        match self {
            Self::ProjectOpened => 0,
            Self::NameRegistered { .. } => 1,
            Self::RunStarted { .. } => 2,
            Self::RunPaused { .. } => 3,
            Self::RunResumed => 4,
            Self::RunEnded { .. } => 5,
            Self::ClockStepped { .. } => 6,
            Self::ReportWritten { .. } => 7,
            Self::SchemaSeen { .. } => 8,
            Self::RecordExtracted { .. } => 9,
            Self::RecordGone { .. } => 10,
            Self::RecordUnreadable { .. } => 11,
            Self::CheckpointReached { .. } => 12,
            Self::PlanStored { .. } => 13,
            Self::PlanProposed { .. } => 14,
            Self::PlanApproved { .. } => 15,
            Self::OwnerResolved { .. } => 16,
            Self::GateDecided { .. } => 17,
            Self::IdentityLinked { .. } => 18,
            Self::IdentityUnlinked { .. } => 19,
            Self::RecordMapped { .. } => 20,
            Self::RecordMerged { .. } => 21,
            Self::RecordHeld { .. } => 22,
            Self::RecordReleased => 23,
            Self::RecordSkipped { .. } => 24,
            Self::BaselineTaken { .. } => 25,
            Self::BeforeImageTaken { .. } => 26,
            Self::BatchFormed { .. } => 27,
            Self::WriteIntended { .. } => 28,
            Self::RemoteJobOpened => 29,
            Self::WriteConfirmed { .. } => 30,
            Self::WriteRejected { .. } => 31,
            Self::WriteUnknown { .. } => 32,
            Self::AfterImageTaken { .. } => 33,
            Self::SideEffectSeen { .. } => 34,
            Self::Reconciled { .. } => 35,
            Self::MismatchFound { .. } => 36,
            Self::DriftFound { .. } => 37,
            Self::RollbackPlanned { .. } => 38,
            Self::SubjectErased { .. } => 39,
            Self::KeyRotated => 40,
            Self::HeadSigned { .. } => 41,
            Self::DictionaryAdded { .. } => 42,
            Self::HoldDecided { .. } => 43,
        }
    }

    /// Returns the event's kind, as one word.
    pub fn kind(&self) -> &'static str {
        KINDS[usize::from(self.number())]
    }

    /// Returns the further record that the event is about, beside its subject.
    pub fn other(&self) -> Option<SubjectId> {
        match self {
            Self::IdentityLinked { destination, .. }
            | Self::IdentityUnlinked { destination }
            | Self::BeforeImageTaken { destination }
            | Self::WriteConfirmed { destination, .. }
            | Self::AfterImageTaken { destination }
            | Self::SideEffectSeen { destination, .. }
            | Self::DriftFound { destination, .. } => Some(*destination),
            Self::RecordMerged { into } => Some(*into),
            Self::SubjectErased { erased } => Some(*erased),
            _ => None,
        }
    }
}

/// What a registered name names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum NameKind {
    /// A system.
    System,
    /// An object of a system.
    Object,
    /// A field of an object.
    Field,
    /// A rule of the plan.
    Rule,
    /// A program or a person that acts.
    Actor,
    /// An error code of a destination.
    Code,
}

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    /// Takes stock of the source.
    Discover,
    /// Makes the destination's schema ready.
    Schema,
    /// Lands a slice to look at.
    Sample,
    /// Lands everything.
    Load,
    /// Lands what changed.
    Delta,
    /// Compares both sides.
    Reconcile,
    /// Takes back.
    Rollback,
}

/// Why a run paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum PauseReason {
    /// A person asked.
    Asked,
    /// The destination's quota is used up.
    Quota,
    /// The destination cannot be reached.
    Unreachable,
    /// A finding that a person must look at.
    Finding,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// All done.
    Done,
    /// Done, with records that wait for a person.
    DoneWithHolds,
    /// Stopped by a finding.
    Stopped,
    /// Failed.
    Failed,
}

/// Which side of the migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub enum Side {
    /// Where records come from.
    Source,
    /// Where records go.
    Destination,
}

/// How a source record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum GoneHow {
    /// It was deleted.
    Deleted,
    /// It was merged into another record.
    Merged,
}

/// How an owner was resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum OwnerHow {
    /// One active user has the same e-mail.
    Email,
    /// A person decided on a fallback user.
    Fallback,
    /// A person decided to wait for the user.
    Hold,
    /// Nobody has decided.
    Unmatched,
    /// The user with that e-mail is inactive.
    Inactive,
    /// Several users have that e-mail.
    Ambiguous,
}

/// A gate between steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Gate {
    /// The plan is approved, and nothing it was approved for has moved.
    Approval,
    /// The destination has every schema element.
    Schema,
    /// Every owner has a decision.
    Owners,
    /// The run fits the limits.
    Preflight,
    /// The row counts of a phase agree.
    Phase,
    /// The ledger and the destination agree on what is ours.
    Ours,
}

/// By what a source record was recognised as a destination record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum LinkedBy {
    /// By our idempotency key.
    OurKey,
    /// By a unique value of both.
    UniqueValue,
    /// By a person.
    Person,
}

/// Why a record waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldReason {
    /// Its owner has no decision.
    Owner,
    /// A value has no place in the value map.
    UnmappedValue,
    /// A record that it needs did not land.
    MissingParent,
    /// A required field would be empty.
    MissingValue,
    /// A value cannot be converted.
    BadValue,
    /// More than one destination record could be meant.
    Ambiguous,
    /// The destination refused it.
    Rejected,
    /// It is not known whether the write was done.
    Undetermined,
    /// Someone changed the destination record since.
    Conflict,
    /// The destination record is gone.
    TargetGone,
    /// Its parents form a cycle.
    Cycle,
    /// Its contents were forgotten, so nobody knows what to do with its destination record.
    Forgotten,
    /// A person decided that it is carried after all; the next run looks at it.
    Resumed,
}

/// What a person decides about a record that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldDecision {
    /// Where both sides changed a field, the source's value is written, this once.
    Source,
    /// Where both sides changed a field, the destination keeps what it has, this once.
    Destination,
    /// The row that was removed is made again.
    Again,
    /// The record is none of the rows that it could be: a new one is made.
    New,
    /// The record is this row of the destination.
    Row,
    /// The record is not carried.
    Skip,
    /// The record is carried after all.
    Carry,
}

/// Why a record is not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// No rule of the plan wants its object.
    NoRule,
    /// The condition of every rule for its object is false.
    Condition,
    /// The source says it is deleted.
    Deleted,
    /// It is reference material (pipelines, stages, users): read, used, and not a record of its own.
    Reference,
    /// A person decided so.
    Decided,
}

/// What is done to a destination record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It is created.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// Nothing: it already is as it should be.
    Nothing,
}

/// How a batch is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// One request that answers with the outcome.
    Request,
    /// A job that the destination works off.
    Job,
}

/// What happened to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum UnknownCause {
    /// The connection broke after the request had left.
    ConnectionLost,
    /// The time ran out.
    Timeout,
    /// The server failed while it worked.
    ServerError,
    /// Our process ended before it could record the answer.
    Restart,
    /// The job's results do not speak of this row.
    NoResult,
}

/// What a reconciliation counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode, serde::Serialize)]
pub struct ReconcileCounts {
    /// Records that match in every mapped field.
    pub matched: u64,
    /// Records that differ only as the destination is known to change values.
    pub expected: u64,
    /// Records that the destination changed in answer to our write.
    pub side_effect: u64,
    /// Records that someone changed since.
    pub drift: u64,
    /// Records that should be there and are not.
    pub missing: u64,
    /// Records that carry our key and that we know nothing of.
    pub extra: u64,
    /// Records with a wrong value.
    pub wrong: u64,
}

/// The class of a mismatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MismatchClass {
    /// The destination changed the value in a known way.
    Expected,
    /// The destination changed the value on its own.
    SideEffect,
    /// Someone changed the value since.
    Drift,
    /// The record is not there.
    Missing,
    /// The record is there and we know nothing of it.
    Extra,
    /// The value is wrong.
    Wrong,
}

/// What kind of change drift is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftKind {
    /// A field was changed.
    Changed,
    /// The record was created by someone else.
    Created,
    /// The record was deleted by someone else.
    Deleted,
    /// Other people's records hang on it.
    HasChildren,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_number_of_a_kind_is_its_number_in_the_encoding() {
        let events = [
            Event::ProjectOpened,
            Event::RunResumed,
            Event::ClockStepped { by: 1 },
            Event::RecordReleased,
            Event::RemoteJobOpened,
            Event::SubjectErased { erased: SubjectId(1) },
            Event::KeyRotated,
            Event::DictionaryAdded { dictionary: 1 },
            Event::HoldDecided { decision: HoldDecision::Again },
        ];
        for event in events {
            assert_eq!(crate::codec::encode(&event).unwrap()[0], event.number(), "{}", event.kind());
            assert!(format!("{event:?}").starts_with(event.kind()));
        }
        let last = Event::HoldDecided { decision: HoldDecision::Again };
        assert_eq!(usize::from(last.number()) + 1, KINDS.len());
    }
}
