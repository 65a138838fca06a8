//! Why a field of the destination holds what it holds: from the source's bytes to what was read back, from the ledger alone.

use serde::Serialize;
use serde_json::Value as Json;
use waybill_ledger::{
    Content, Envelope, Event, Field, Fields, NameId, Position, SubjectId, TargetPart,
    event::{NameKind, Operation, Side},
    ledger::{Ledger, Opened, Query},
};
use waybill_projector::mapping::Plan;

use crate::{
    audit::{find, json_of},
    failure::Failure,
    prepare::last_schema,
    session::Session,
    write::VERSION,
};

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The destination object.
    pub object: String,
    /// The id of its record.
    pub id: String,
    /// The field.
    pub field: String,
    /// What the field holds by our latest write.
    pub value: Json,
    /// The source record that it came from.
    pub source: Option<Source>,
    /// The rule that made it.
    pub rule: RuleSaid,
    /// What the rule decided about it beyond copying.
    pub decisions: Vec<String>,
    /// Where the mapping is recorded.
    pub mapped: Position,
    /// The plan under which that happened, and who approved it.
    pub approval: Option<Approved>,
    /// The write.
    pub write: Write,
    /// What the field held before, if the record was there already.
    pub before: Option<Seen>,
    /// What was read back after the write.
    pub read_back: Option<Seen>,
    /// What was found about the field later: what the platform or a person did to it.
    pub later: Vec<Said>,
    /// The writes of this field before that one.
    pub earlier: Vec<Earlier>,
}

/// The source record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    /// Its object and id.
    pub record: String,
    /// Where its reading is recorded.
    pub read: Position,
    /// When it was read, in UTC.
    pub time: String,
    /// The source fields that the rule uses, as they were read.
    pub fields: serde_json::Map<String, Json>,
}

/// The rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleSaid {
    /// Its id and the field.
    pub id: String,
    /// What the plan says, if the plan of that time can be read.
    pub says: Option<Json>,
}

/// Who approved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Approved {
    /// The digest of the plan.
    pub plan: String,
    /// The person.
    pub by: String,
    /// Where that is recorded.
    pub position: Position,
    /// When, in UTC.
    pub time: String,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Write {
    /// What was done.
    pub operation: Operation,
    /// Where the intent is recorded.
    pub intended: Position,
    /// The batch, and how it travelled.
    pub batch: Option<String>,
    /// The remote job, if it was one.
    pub job: Option<String>,
    /// Where the outcome is recorded.
    pub confirmed: Position,
    /// When the outcome was known, in UTC.
    pub time: String,
    /// The run.
    pub run: Option<u32>,
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seen {
    /// Where that is recorded.
    pub position: Position,
    /// The value.
    pub value: Json,
}

/// Something that was said of the field.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Said {
    /// Where.
    pub position: Position,
    /// In words.
    pub what: String,
    /// What was expected and what was found.
    pub content: Option<Json>,
}

/// A write of the field before the latest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Earlier {
    /// Where its outcome is recorded.
    pub confirmed: Position,
    /// What it wrote.
    pub value: Json,
}

/// One write of the target while its events are read.
#[derive(Debug, Clone)]
struct Chapter {
    mapped: (Envelope, Fields, Vec<String>),
    before: Option<Seen>,
    intended: Envelope,
    confirmed: Option<Envelope>,
    read_back: Option<Seen>,
}

/// Explains a field of a destination record.
pub fn explain(session: &Session, object: &str, id: &str, field: &str) -> Result<Explanation, Failure> {
    let ledger = session.recorder.ledger();
    let name = format!("{object}/{id}");
    let subject = find(session, &name)?;
    let Some(landed) = session.state.landing().owner(subject) else {
        return Err(Failure::usage(format!("no record of ours lives in {name}")).hint(
            "what other people's records hold is not in the ledger; see `waybill audit record` for its history",
        ));
    };
    let target = landed.target;
    let field_id = ledger.find_name(NameKind::Field, field);
    let (chapters, later) = chapters(ledger, target.subject, target.part, subject, field, field_id)?;
    let holds = |chapter: &Chapter| chapter.confirmed.is_some() && chapter.mapped.1.contains(field);
    let written: Vec<&Chapter> = chapters.iter().filter(|chapter| holds(chapter)).collect();
    let Some(last) = written.last() else {
        let known: Vec<String> = chapters
            .iter()
            .rev()
            .find(|chapter| chapter.confirmed.is_some())
            .map(|chapter| chapter.mapped.1.iter().map(|(name, _)| name.to_string()).collect())
            .unwrap_or_default();
        return Err(Failure::usage(format!("no write of ours has set {object}.{field} of {id}"))
            .hint(format!("the fields that we set are: {}", known.join(", "))));
    };
    // The field holds its value since the first of the latest writes that agree on it.
    let value = last.mapped.1.get(field);
    let since = written.iter().rposition(|chapter| chapter.mapped.1.get(field) != value).map_or(0, |at| at + 1);
    let chapter = written[since];
    let Some(confirmed) = &chapter.confirmed else {
        return Err(Failure::failed("a write without an outcome was taken for one that has it"));
    };
    let rule = ledger.name_text(target.part.rule).unwrap_or_default();
    let approved = approval(ledger, chapter.mapped.0.position)?;
    let said = approved.as_ref().and_then(|(_, plan)| plan.as_ref()).map(|text| {
        let schema = last_schema(session, Side::Source).unwrap_or_default();
        let plan = Plan::parse(text).ok()?;
        crate::prepare::whole(plan, &schema, session).ok()
    });
    let plan = said.flatten();
    let field_rule = plan.as_ref().and_then(|plan| plan.rule(&rule.as_str().into())).and_then(|rule| {
        rule.fields.iter().find(|(name, by)| {
            name.as_str().eq_ignore_ascii_case(field)
                || by.instead.as_ref().is_some_and(|instead| instead.as_str().eq_ignore_ascii_case(field))
        })
    });
    let says = field_rule.and_then(|(_, rule)| serde_json::to_value(rule).ok());
    let used: Vec<String> = field_rule.map(|(_, rule)| rule.from.clone()).unwrap_or_default();
    Ok(Explanation {
        object: object.to_owned(),
        id: id.to_owned(),
        field: field.to_owned(),
        value: shown(&value),
        source: source(ledger, &chapter.mapped.0, &used)?,
        rule: RuleSaid { id: format!("{rule}.{field}"), says },
        decisions: chapter.mapped.2.clone(),
        mapped: chapter.mapped.0.position,
        approval: approved.map(|(approved, _)| approved),
        write: write(ledger, chapter, confirmed)?,
        before: chapter.before.clone(),
        read_back: chapter.read_back.clone(),
        later: later.into_iter().filter(|said| said.position > confirmed.position).collect(),
        earlier: written[..since]
            .iter()
            .filter_map(|chapter| {
                let confirmed = chapter.confirmed.as_ref()?.position;
                Some(Earlier { confirmed, value: shown(&chapter.mapped.1.get(field)) })
            })
            .collect(),
    })
}

/// Reads the writes of a target, and what was said of the field meanwhile.
fn chapters(
    ledger: &Ledger,
    subject: SubjectId,
    part: TargetPart,
    destination: SubjectId,
    field: &str,
    field_id: Option<NameId>,
) -> Result<(Vec<Chapter>, Vec<Said>), Failure> {
    let mut chapters: Vec<Chapter> = Vec::new();
    let mut said = Vec::new();
    let (mut mapped, mut before) = (None, None);
    let query = Query { subject: Some(subject), ..Query::default() };
    for event in ledger.reader().find(query, .., |_| true) {
        let (envelope, opened) = event?;
        if envelope.target != Some(part) {
            continue;
        }
        let content = match opened {
            Opened::Content(content) => Some(content),
            _ => None,
        };
        let image = |content: Option<Content>| match content {
            Some(Content::Record { record, .. }) => Some(record.fields),
            _ => None,
        };
        match &envelope.event {
            Event::RecordMapped { .. } => {
                if let Some(Content::Mapped(found)) = content {
                    let about = found.decisions.iter().filter(|d| d.field.as_str().eq_ignore_ascii_case(field));
                    let decisions = about.map(|decision| decision.what.clone()).collect();
                    mapped = Some((envelope, found.fields, decisions));
                }
            }
            Event::BeforeImageTaken { .. } => {
                let fields = image(content).filter(|fields| fields.contains(field));
                before = fields.map(|fields| Seen { position: envelope.position, value: shown(&fields.get(field)) });
            }
            Event::WriteIntended { .. } => {
                if let Some(mapped) = mapped.clone() {
                    let before = before.take();
                    chapters.push(Chapter { mapped, before, intended: envelope, confirmed: None, read_back: None });
                }
            }
            Event::WriteConfirmed { destination: to, .. } if *to == destination => {
                if let Some(chapter) = chapters.last_mut() {
                    chapter.confirmed = Some(envelope);
                }
            }
            Event::AfterImageTaken { destination: of } if *of == destination => {
                if let Some(chapter) = chapters.last_mut() {
                    // An image names what differs from what we wrote; everything else is as we wrote it.
                    let fields = image(content).unwrap_or_default();
                    let value = if fields.contains(field) && field != VERSION {
                        fields.get(field)
                    } else {
                        chapter.mapped.1.get(field)
                    };
                    chapter.read_back = Some(Seen { position: envelope.position, value: shown(&value) });
                }
            }
            Event::SideEffectSeen { field: of, .. }
            | Event::MismatchFound { field: of, .. }
            | Event::DriftFound { field: of, .. }
                if of.is_some() && *of == field_id =>
            {
                let name = |name: NameId| ledger.name_text(name).unwrap_or_default();
                said.push(Said {
                    position: envelope.position,
                    what: waybill_projector::audit::describe(&envelope, name),
                    content: content.and_then(|content| json_of(Opened::Content(content))),
                });
            }
            _ => {}
        }
    }
    Ok((chapters, said))
}

fn source(ledger: &Ledger, mapped: &Envelope, used: &[String]) -> Result<Option<Source>, Failure> {
    for cause in &mapped.causes {
        let Some((envelope, opened)) = ledger.reader().at(*cause)? else { continue };
        let Event::RecordExtracted { .. } = envelope.event else { continue };
        let time = time(&envelope);
        let Opened::Content(Content::Record { object, record }) = opened else { continue };
        let shown = |name: &String| (name.clone(), shown(&record.fields.get(name)));
        let fields = used.iter().map(shown).collect();
        return Ok(Some(Source { record: format!("{object}/{}", record.id), read: envelope.position, time, fields }));
    }
    Ok(None)
}

/// Finds the approval that was in force at a position, and the text of its plan.
pub(crate) fn approval(ledger: &Ledger, at: Position) -> Result<Option<(Approved, Option<String>)>, Failure> {
    let (mut approved, mut stored) = (None, None);
    let mut plans: Vec<(String, String)> = Vec::new();
    let wanted = |envelope: &Envelope| matches!(envelope.event, Event::PlanStored { .. } | Event::PlanApproved { .. });
    for event in ledger.reader().read(..=at, wanted) {
        let (envelope, opened) = event?;
        match (&envelope.event, opened) {
            (Event::PlanStored { plan }, Opened::Content(Content::Document { text, .. })) => {
                plans.push((plan.to_string(), text));
            }
            (Event::PlanApproved { plan, .. }, _) => {
                stored =
                    plans.iter().rev().find(|(digest, _)| *digest == plan.to_string()).map(|(_, text)| text.clone());
                approved = Some(Approved {
                    plan: plan.to_string(),
                    by: ledger.name_text(envelope.actor).unwrap_or_default(),
                    position: envelope.position,
                    time: time(&envelope),
                });
            }
            _ => {}
        }
    }
    Ok(approved.map(|approved| (approved, stored)))
}

fn write(ledger: &Ledger, chapter: &Chapter, confirmed: &Envelope) -> Result<Write, Failure> {
    let operation = match &confirmed.event {
        Event::WriteConfirmed { operation, .. } => *operation,
        _ => Operation::Nothing,
    };
    let (mut batch, mut job) = (None, None);
    if let Some(number) = chapter.intended.batch {
        // The batch was formed just before its intents, and its job opened just after them.
        let from = Position(chapter.mapped.0.position.0.saturating_sub(200_000));
        let of = |envelope: &Envelope| {
            envelope.batch == Some(number)
                && matches!(envelope.event, Event::BatchFormed { .. } | Event::RemoteJobOpened)
        };
        for event in ledger.reader().read(from..=confirmed.position, of) {
            let (envelope, opened) = event?;
            match (&envelope.event, opened) {
                (Event::BatchFormed { transport, rows, .. }, _) => {
                    batch = Some(format!("batch {} of {rows} rows, sent as a {}", number.0, word(*transport)));
                }
                (_, Opened::Content(Content::Text(text))) => job = Some(text),
                _ => {}
            }
        }
    }
    Ok(Write {
        operation,
        intended: chapter.intended.position,
        batch,
        job,
        confirmed: confirmed.position,
        time: time(confirmed),
        run: confirmed.run.map(|run| run.0),
    })
}

fn word(transport: waybill_ledger::event::Transport) -> &'static str {
    match transport {
        waybill_ledger::event::Transport::Request => "request",
        waybill_ledger::event::Transport::Job => "bulk job",
    }
}

fn time(envelope: &Envelope) -> String {
    envelope.time.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Returns a field as JSON; what is absent is told apart from what is empty.
fn shown(field: &Field) -> Json {
    match field {
        Field::Absent => Json::String("(not in the source)".to_owned()),
        Field::Null => Json::Null,
        Field::Present(value) => crate::audit::value(value),
    }
}
