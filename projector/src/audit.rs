//! What an event says, in words that people read.

use waybill_ledger::{Envelope, Event, NameId, event::Operation};

/// Returns one line about what happened. `name` gives the text of a name.
pub fn describe(envelope: &Envelope, name: impl Fn(NameId) -> String) -> String {
    match &envelope.event {
        Event::ProjectOpened => "the project was opened".into(),
        Event::NameRegistered { kind, .. } => format!("a name was registered ({kind:?})").to_lowercase(),
        Event::RunStarted { kind, plan } => match plan {
            Some(plan) => format!("a run began: {}, under plan {}", lower(kind), plan.short()),
            None => format!("a run began: {}", lower(kind)),
        },
        Event::RunPaused { reason } => format!("the run paused: {}", lower(reason)),
        Event::RunResumed => "the run goes on".into(),
        Event::RunEnded { outcome } => format!("the run ended: {}", lower(outcome)),
        Event::ClockStepped { by } => format!("the clock stepped by {by} µs"),
        Event::ReportWritten { digest } => format!("a report was written ({})", digest.short()),
        Event::SchemaSeen { side, digest, .. } => format!("the {} was described ({})", lower(side), digest.short()),
        Event::RecordExtracted { object, digest, .. } => format!("read from {} ({})", name(*object), digest.short()),
        Event::RecordGone { object, how } => format!("gone from {}: {}", name(*object), lower(how)),
        Event::RecordUnreadable { object, line } => {
            format!("a row of {} in line {line} could not be read", name(*object))
        }
        Event::CheckpointReached { object, read, unchanged, .. } => {
            format!("{} was read: {read} rows, {unchanged} unchanged", name(*object))
        }
        Event::PlanStored { plan } => format!("plan {} was stored", plan.short()),
        Event::PlanProposed { plan } => format!("plan {} was proposed", plan.short()),
        Event::PlanApproved { plan, .. } => format!("plan {} was approved", plan.short()),
        Event::OwnerResolved { how } => format!("an owner was resolved: {}", lower(how)),
        Event::GateDecided { gate, open } => {
            format!("the gate `{}` {}", lower(gate), if *open { "let it pass" } else { "stopped it" })
        }
        Event::IdentityLinked { by, candidates, .. } => format!("linked by {} among {candidates}", lower(by)),
        Event::IdentityUnlinked { .. } => "unlinked".into(),
        Event::RecordMapped { object, digest } => format!("mapped to {} ({})", name(*object), digest.short()),
        Event::RecordMerged { into } => format!("merged into subject {into}"),
        Event::RecordHeld { reason } => format!("waits for a person: {}", lower(reason)),
        Event::RecordReleased => "released".into(),
        Event::RecordSkipped { reason } => format!("not carried: {}", lower(reason)),
        Event::BaselineTaken { object, rows, .. } => format!("baseline of {}: {rows} rows", name(*object)),
        Event::BeforeImageTaken { .. } => "read as it was before our write".into(),
        Event::BatchFormed { object, operation, rows, .. } => {
            format!("a batch of {rows} was formed: {} in {}", lower(operation), name(*object))
        }
        Event::WriteIntended { object, operation, inverts } => {
            let what = format!("about to {} in {}", verb(*operation), name(*object));
            match inverts {
                Some(at) => format!("{what}, to undo event {at}"),
                None => what,
            }
        }
        Event::RemoteJobOpened => "the destination opened a job".into(),
        Event::WriteConfirmed { operation, .. } => match operation {
            Operation::Create => "created".into(),
            Operation::Update => "changed".into(),
            Operation::Delete => "deleted".into(),
            Operation::Nothing => "already as it should be".into(),
        },
        Event::WriteRejected { code } => format!("refused: {}", name(*code)),
        Event::WriteUnknown { cause } => format!("the answer was lost: {}", lower(cause)),
        Event::AfterImageTaken { .. } => "read as our write left it".into(),
        Event::SideEffectSeen { object, field, .. } => {
            format!("the destination changed {} on its own", at(name(*object), field.map(&name)))
        }
        Event::Reconciled { object, counts } => format!(
            "{} reconciled: {} matched, {} wrong, {} missing, {} extra",
            name(*object),
            counts.matched + counts.expected,
            counts.wrong,
            counts.missing,
            counts.extra
        ),
        Event::MismatchFound { class, object, field } => {
            format!("mismatch in {}: {}", at(name(*object), field.map(&name)), lower(class))
        }
        Event::DriftFound { object, field, kind, .. } => {
            format!("drift in {}: {}", at(name(*object), field.map(&name)), lower(kind))
        }
        Event::RollbackPlanned { deletes, restores, recreates } => {
            format!("a rollback was planned: {deletes} to delete, {restores} to restore, {recreates} to create again")
        }
        Event::SubjectErased { erased } => format!("subject {erased} was forgotten"),
        Event::KeyRotated => "the project key was replaced".into(),
        Event::HoldDecided { decision } => format!("a person decided: {}", lower(decision)),
        Event::DictionaryAdded { dictionary } => format!("dictionary {dictionary} was added"),
        Event::HeadSigned { blocks, root } => format!("head {} over {blocks} blocks was signed", root.short()),
    }
}

/// Returns the kind of an event as one word, by which logs are filtered.
pub fn kind(event: &Event) -> String {
    event.kind().to_owned()
}

fn at(object: String, field: Option<String>) -> String {
    match field {
        Some(field) => format!("{object}.{field}"),
        None => object,
    }
}

fn verb(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Update => "change",
        Operation::Delete => "delete",
        Operation::Nothing => "leave as it is",
    }
}

/// Turns `LikeThis` into `like this`.
fn lower(value: &impl std::fmt::Debug) -> String {
    let mut words = String::new();
    for c in format!("{value:?}").chars() {
        if c.is_ascii_uppercase() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push(c.to_ascii_lowercase());
        } else {
            words.push(c);
        }
    }
    words
}
