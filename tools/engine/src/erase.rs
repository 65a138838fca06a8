//! Forgets a person: destroys the keys of every subject that is the same record, so that nobody can read them again.

use std::collections::BTreeSet;

use serde::Serialize;
use waybill_ledger::{Content, Event, Position, SubjectId, ledger::Opened};
use waybill_projector::audit::kind;

use crate::{aside::aside, audit, failure::Failure, session::Session};

/// What was forgotten, and what a person must still look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forgotten {
    /// The subjects, each with the position of the event that says so.
    pub erased: Vec<(SubjectId, Position)>,
    /// Destination records among them that are still there, as object/id: the ledger forgets them, the destination does not.
    pub still_there: Vec<String>,
    /// Events of other subjects whose contents mention one of the forgotten ids.
    pub mentions: Vec<Mention>,
}

/// An event of another subject whose content mentions a forgotten one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mention {
    /// The event.
    pub position: Position,
    /// What kind of event.
    pub event: String,
    /// The subject it is about; none is the project itself.
    pub subject: Option<SubjectId>,
}

/// The most mentions that are listed.
const MENTIONS: usize = 1_000;

/// Forgets a record and everything that is the same record on the other side.
pub async fn erase(session: &mut Session, name: &str, by: &str, reason: &str) -> Result<Forgotten, Failure> {
    let ledger = std::sync::Arc::clone(session.recorder.ledger());
    let found = audit::find(session, name)?;
    let state = &session.state;
    // The closure: the source record, every target of it, and every record that went into one of them.
    let mut closure = BTreeSet::from([found]);
    closure.extend(state.landing().owner(found).map(|landed| landed.target.subject));
    for subject in closure.clone() {
        closure.extend(state.landing().of(subject).filter_map(|landed| landed.destination));
    }
    for event in ledger.reader().read(Position(0).., |_| false) {
        let (envelope, _) = event?;
        if let (Event::RecordMerged { into }, Some(subject)) = (&envelope.event, envelope.subject)
            && (closure.contains(into) || closure.contains(&subject))
        {
            closure.extend([*into, subject]);
        }
    }
    let mut ids = BTreeSet::from([name.rsplit_once('/').map_or(name, |(_, id)| id).to_owned()]);
    let mut still_there = Vec::new();
    for subject in &closure {
        for landed in state.landing().of(*subject) {
            let Some(id) = landed.destination.and_then(|destination| state.destination_id(destination)) else {
                continue;
            };
            if landed.is_live() {
                let object = ledger.name_text(landed.object).unwrap_or_default();
                still_there.push(format!("{object}/{id}"));
            }
            ids.insert(id);
        }
    }
    let mut mentions = Vec::new();
    for event in ledger.reader().read(Position(0).., |envelope| !is_of(envelope.subject, &closure)) {
        let (envelope, opened) = event?;
        let Opened::Content(content) = opened else { continue };
        if mentions.len() < MENTIONS && !is_of(envelope.subject, &closure) && mentions_any(&content, &ids) {
            let event = kind(&envelope.event);
            mentions.push(Mention { position: envelope.position, event, subject: envelope.subject });
        }
    }
    let recorder = session.recorder.acting_as(by)?;
    let drafts: Vec<_> = closure
        .iter()
        .map(|subject| {
            recorder.draft(Event::SubjectErased { erased: *subject }).content(Content::Text(reason.to_owned()))
        })
        .collect();
    let writing = std::sync::Arc::clone(&ledger);
    let appended = aside(move || writing.forget(drafts))
        .await
        .map_err(|e| Failure::failed(format!("the ledger's writer stopped: {e}")))?
        .map_err(|e| Failure::failed(e.to_string()).hint("run the same command again"))?;
    session.state.catch_up(&ledger)?;
    let erased = closure.into_iter().enumerate().map(|(n, subject)| (subject, Position(appended.first.0 + n as u64)));
    Ok(Forgotten { erased: erased.collect(), still_there, mentions })
}

fn is_of(subject: Option<SubjectId>, closure: &BTreeSet<SubjectId>) -> bool {
    subject.is_some_and(|subject| closure.contains(&subject))
}

/// Returns whether a content of another subject names one of these ids, as a value of its own.
fn mentions_any(content: &Content, ids: &BTreeSet<String>) -> bool {
    audit::json_of(Opened::Content(content.clone())).is_some_and(|json| names_any(&json, ids))
}

fn names_any(json: &serde_json::Value, ids: &BTreeSet<String>) -> bool {
    match json {
        serde_json::Value::String(text) => {
            ids.contains(text) || text.split(|c: char| !c.is_alphanumeric() && c != '-').any(|word| ids.contains(word))
        }
        serde_json::Value::Array(items) => items.iter().any(|item| names_any(item, ids)),
        serde_json::Value::Object(items) => items.values().any(|item| names_any(item, ids)),
        _ => false,
    }
}

/// Returns what must be forgotten again because an older keyring was put back, each with the position that says so.
pub fn again(session: &Session) -> &[(SubjectId, Position)] {
    session.recorder.ledger().forgotten_again()
}
