//! Questions about what happened.

use serde::Serialize;
use waybill_ledger::{
    Content, Envelope, FieldName, Micros, NameId, Position, RunId, SubjectId, SubjectKey, Value,
    event::{KINDS, NameKind, number_of},
    ledger::{Ledger, Opened, Query, ReadError},
};
use waybill_projector::audit::{describe, kind};

use crate::{failure::Failure, session::Session};

/// One event, for people and scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its position.
    pub position: Position,
    /// When, in UTC.
    pub time: String,
    /// The run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Who acted.
    pub actor: String,
    /// What kind of event.
    pub event: String,
    /// What happened, in words.
    pub what: String,
    /// The rule of the target it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The events that led to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Position>,
    /// Its content, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<serde_json::Value>,
}

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this run.
    pub run: Option<RunId>,
    /// Of this kind, such as `WriteConfirmed`.
    pub event: Option<String>,
    /// By this actor.
    pub actor: Option<String>,
    /// About this record.
    pub record: Option<String>,
    /// Only the outcomes of writes of this kind.
    pub outcome: Option<Outcome>,
    /// Not before this time.
    pub after: Option<Micros>,
    /// Before this time.
    pub before: Option<Micros>,
    /// Up to this position, which is left out.
    pub end: Option<Position>,
    /// From this position on.
    pub from: Option<Position>,
}

/// How a write, or a record on its way, came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Confirmed,
    /// Refused.
    Rejected,
    /// Not known at that moment.
    Unknown,
    /// Waiting for a person.
    Held,
    /// Not carried.
    Skipped,
}

impl Outcome {
    fn kind(self) -> &'static str {
        match self {
            Self::Confirmed => "WriteConfirmed",
            Self::Rejected => "WriteRejected",
            Self::Unknown => "WriteUnknown",
            Self::Held => "RecordHeld",
            Self::Skipped => "RecordSkipped",
        }
    }
}

/// Returns what the filter asks of the ledger; nothing, if no event can be like that.
fn query(session: &Session, filter: &Filter) -> Result<Option<Query>, Failure> {
    let number = |name: &str| {
        number_of(name).ok_or_else(|| {
            Failure::usage(format!("there is no kind of event called `{name}`"))
                .hint(format!("the kinds are: {}", KINDS.join(", ")))
        })
    };
    let of_event = filter.event.as_deref().map(number).transpose()?;
    let of_outcome = filter.outcome.map(|outcome| number(outcome.kind())).transpose()?;
    if let (Some(event), Some(outcome)) = (of_event, of_outcome)
        && event != outcome
    {
        return Ok(None);
    }
    let actor = match &filter.actor {
        None => None,
        Some(name) => match session.recorder.ledger().find_name(NameKind::Actor, name) {
            Some(actor) => Some(actor),
            None if name == "waybill" => Some(NameId(0)),
            None => return Ok(None),
        },
    };
    Ok(Some(Query {
        kinds: of_event.or(of_outcome).into_iter().collect(),
        actor,
        run: filter.run,
        after: filter.after,
        before: filter.before,
        subject: filter.record.as_deref().map(|name| find(session, name)).transpose()?,
    }))
}

/// Calls `each` with every event that the filter wants, in order, until it says to stop.
pub fn log(
    session: &Session,
    filter: &Filter,
    mut each: impl FnMut(Line) -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let ledger = session.recorder.ledger();
    let Some(query) = query(session, filter)? else { return Ok(()) };
    let range = filter.from.unwrap_or(Position(0))..filter.end.unwrap_or(Position(u64::MAX));
    for event in ledger.reader().find(query, range, |_| false) {
        if !each(line(ledger, &event?.0, None))? {
            return Ok(());
        }
    }
    Ok(())
}

/// Returns the whole life of one record, or its life before `end`: by `system/object/id`, `object/id`, or the id of a
/// destination record.
pub fn record(session: &Session, name: &str, end: Option<Position>) -> Result<Vec<Line>, Failure> {
    let ledger = session.recorder.ledger();
    let subject = find(session, name)?;
    // A destination record's life is that of the source record that lives in it.
    let subject = session.state.landing().owner(subject).map_or(subject, |landed| landed.target.subject);
    let query = Query { subject: Some(subject), ..Query::default() };
    let mut lines = Vec::new();
    for event in ledger.reader().find(query, ..end.unwrap_or(Position(u64::MAX)), |_| true) {
        let (envelope, opened) = event?;
        lines.push(line(ledger, &envelope, Some(opened)));
    }
    Ok(lines)
}

/// Proves that an event is in the ledger; returns the proof's text.
pub fn prove(session: &Session, position: Position, show: bool) -> Result<String, Failure> {
    let ledger = session.recorder.ledger();
    let unknown = || Failure::usage(format!("the ledger has no event {position}")).hint("see `waybill audit log`");
    let proof = ledger.prove(position, show)?.ok_or_else(unknown)?;
    if show && !proof.shows_content() {
        let about = ledger.reader().at(position)?.and_then(|(envelope, _)| envelope.subject);
        if let Some(at) =
            about.map(|subject| ledger.forgotten_at(subject)).transpose().map_err(ReadError::from)?.flatten()
        {
            return Err(Failure::usage(format!("the content of event {position} was forgotten at position {at}"))
                .hint("nobody can open it any more; leave out --open to prove the event itself"));
        }
        return Err(Failure::usage(format!("event {position} has no content that can be opened"))
            .hint("it never had one, or its subject was forgotten; leave out --open to prove the event itself"));
    }
    serde_json::to_string_pretty(&proof)
        .map(|text| text + "\n")
        .map_err(|e| Failure::failed(format!("the proof cannot be written: {e}")))
}

/// Finds a record by `system/object/id` or `object/id`.
pub fn find(session: &Session, name: &str) -> Result<SubjectId, Failure> {
    let ledger = session.recorder.ledger();
    let unknown = || {
        Failure::usage(format!("the ledger knows no record `{name}`"))
            .hint("name it as object/id, such as contacts/c-17 or Contact/003…, or as system/object/id")
    };
    let (head, id) = name.rsplit_once('/').ok_or_else(unknown)?;
    let (system, object) = head.rsplit_once('/').map_or((None, head), |(system, object)| (Some(system), object));
    let mut systems = ledger.names_of(NameKind::System);
    if let Some(system) = system {
        systems = vec![system.to_owned()];
    }
    systems.iter().find_map(|system| ledger.find_subject(&SubjectKey::new(system, object, id))).ok_or_else(unknown)
}

/// Returns one event for people.
pub fn line(ledger: &Ledger, envelope: &Envelope, opened: Option<Opened>) -> Line {
    let name = |name: NameId| match name {
        NameId(0) => "waybill".to_owned(),
        name => ledger.name_text(name).unwrap_or_else(|| format!("name {name}")),
    };
    Line {
        position: envelope.position,
        time: envelope.time.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        run: envelope.run,
        actor: name(envelope.actor),
        event: kind(&envelope.event),
        what: describe(envelope, name),
        rule: envelope.target.map(|part| name(part.rule)),
        causes: envelope.causes.clone(),
        content: match opened {
            Some(Opened::Erased) => Some(forgotten(ledger, envelope.subject)),
            opened => opened.and_then(json_of),
        },
    }
}

/// Says that a content was forgotten, and where.
fn forgotten(ledger: &Ledger, subject: Option<SubjectId>) -> serde_json::Value {
    let at = subject.and_then(|subject| ledger.forgotten_at(subject).ok().flatten());
    at.map_or_else(|| "forgotten".to_owned(), |at| format!("forgotten at position {at}")).into()
}

/// Returns a content as JSON.
pub fn json_of(opened: Opened) -> Option<serde_json::Value> {
    let content = match opened {
        Opened::Content(content) => content,
        Opened::Erased => return Some(serde_json::json!("forgotten")),
        Opened::Nothing | Opened::Locked => return None,
    };
    Some(match content {
        Content::Text(text) => text.into(),
        Content::Record { object, record } => {
            serde_json::json!({ "object": object, "id": record.id, "fields": fields(record.fields.iter()) })
        }
        Content::Mapped(mapped) => {
            let decisions: Vec<String> = mapped
                .decisions
                .iter()
                .map(|decision| format!("{}: {} ({})", decision.field, decision.what, decision.rule))
                .collect();
            let later: Vec<String> = mapped.later.iter().map(|(name, _)| name.to_string()).collect();
            serde_json::json!({
                "object": mapped.object, "key": mapped.key, "fields": fields(mapped.fields.iter()),
                "later": later, "decisions": decisions,
            })
        }
        Content::DestinationId { object, id } => serde_json::json!({ "object": object, "id": id }),
        Content::Refusal { message, fields } => {
            let fields: Vec<&str> = fields.iter().map(FieldName::as_str).collect();
            serde_json::json!({ "message": message, "fields": fields })
        }
        Content::Schema(schema) => serde_json::json!({ "objects": schema.objects.len() }),
        Content::Unreadable { file, line, reason } => {
            serde_json::json!({ "file": file, "line": line, "reason": reason })
        }
        Content::Owner { source, email, user, how } => {
            serde_json::json!({ "owner": source, "email": email, "user": user, "how": crate::prepare::how(how) })
        }
        Content::Baseline(rows) => serde_json::json!({ "rows": rows.len() }),
        Content::Difference { record, field, expected, found } => serde_json::json!({
            "record": record, "field": field, "expected": expected.as_ref().map(value), "found": found.as_ref().map(value),
        }),
        Content::Dictionary { shape, bytes } => serde_json::json!({ "for": shape.object, "bytes": bytes.len() }),
        Content::Document { kind, text } => serde_json::json!({ "document": kind, "text": text }),
    })
}

fn fields<'a>(fields: impl Iterator<Item = (&'a FieldName, Option<&'a Value>)>) -> serde_json::Value {
    let pairs = fields.map(|(name, content)| (name.to_string(), content.map_or(serde_json::Value::Null, value)));
    serde_json::Value::Object(pairs.collect())
}

pub(crate) fn value(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::List(items) => items.iter().map(self::value).collect(),
        other => other.to_string().into(),
    }
}

/// Returns the number of an object's name, if the ledger knows it.
pub fn object(session: &Session, name: &str) -> Option<NameId> {
    session.recorder.ledger().find_name(NameKind::Object, name)
}
