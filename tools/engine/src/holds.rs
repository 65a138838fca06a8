//! What waits for a person.

use std::collections::BTreeMap;

use serde::Serialize;
use waybill_ledger::{Content, Event, Position, SubjectId, event::HoldReason, ledger::Opened};

use crate::{failure::Failure, session::Session};

/// A record that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The source record.
    pub record: String,
    /// Why, as one word.
    pub reason: HoldReason,
    /// Why, in words; they may quote values.
    pub why: String,
    /// Where that is recorded.
    pub position: Position,
}

/// Lists the records that wait, and why.
pub fn list(session: &Session) -> Result<Vec<Held>, Failure> {
    let reader = session.recorder.ledger().reader();
    let waiting: BTreeMap<SubjectId, HoldReason> = session.state.intake().held().collect();
    let mut latest = BTreeMap::new();
    for event in reader.read(Position(0).., |envelope| {
        matches!(envelope.event, Event::RecordHeld { .. }) && envelope.subject.is_some_and(|s| waiting.contains_key(&s))
    }) {
        if let (envelope, Opened::Content(Content::Text(why))) = event?
            && let Some(subject) = envelope.subject
        {
            latest.insert(subject, (envelope.position, why));
        }
    }
    let mut held = Vec::new();
    for (subject, reason) in waiting {
        let record = match session.state.intake().seen(subject) {
            Some(seen) => match reader.at(seen.position)? {
                Some((_, Opened::Content(Content::Record { object, record }))) => format!("{object}/{}", record.id),
                _ => format!("subject {subject}"),
            },
            None => format!("subject {subject}"),
        };
        let (position, why) = latest.remove(&subject).unwrap_or((Position(0), String::new()));
        held.push(Held { record, reason, why, position });
    }
    Ok(held)
}

/// Returns a hold's reason as one word.
pub fn word(reason: HoldReason) -> String {
    let json = serde_json::to_value(reason).ok();
    json.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
