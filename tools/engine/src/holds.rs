//! What waits for a person, and what the person decides.

use std::collections::BTreeMap;

use serde::Serialize;
use waybill_connectors::{Destination, RemoteRecord, Selection};
use waybill_ledger::{
    Content, Event, ObjectName, Position, SubjectId, SubjectKey, TargetPart,
    event::{HoldDecision, HoldReason},
    ledger::{Draft, Opened},
};
use waybill_projector::landing::Landed;

use crate::{audit, failure::Failure, session::Session};

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
    /// What was decided, and is done with the next run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided: Option<HoldDecision>,
}

/// What a person decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// A decision that needs nothing more.
    Plain(HoldDecision),
    /// The record is the row with this id.
    Row(String),
}

/// Records that a person decides about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// One record, as `object/id` of the source.
    Record(String),
    /// All that wait for this reason.
    All(HoldReason),
}

/// What was decided about one record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decided {
    /// The source record.
    pub record: String,
    /// What.
    pub decision: HoldDecision,
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
        let record = name_of(session, subject)?;
        let (position, why) = latest.remove(&subject).unwrap_or((Position(0), String::new()));
        let decided = session.state.intake().decisions(subject).map(|(_, decision)| decision).next();
        held.push(Held { record, reason, why, position, decided });
    }
    Ok(held)
}

/// Returns the readable name of a source record.
fn name_of(session: &Session, subject: SubjectId) -> Result<String, Failure> {
    let Some(seen) = session.state.intake().seen(subject) else { return Ok(format!("subject {subject}")) };
    Ok(match session.recorder.ledger().reader().at(seen.position)? {
        Some((_, Opened::Content(Content::Record { object, record }))) => format!("{object}/{}", record.id),
        _ => format!("subject {subject}"),
    })
}

/// Writes down what a person decided about records that wait: the next run or delta does it. Nothing is written at the
/// destination, and nothing is written down if the decision does not fit one of the records.
pub async fn decide(
    session: &mut Session,
    which: &Which,
    choice: &Choice,
    by: &str,
    why: Option<&str>,
) -> Result<Vec<Decided>, Failure> {
    let subjects: Vec<SubjectId> = match which {
        Which::Record(name) => vec![audit::find(session, name)?],
        Which::All(reason) => {
            let held = session.state.intake().held().filter(|(_, held)| held == reason);
            held.map(|(subject, _)| subject).collect()
        }
    };
    if matches!(choice, Choice::Row(_)) && subjects.len() > 1 {
        return Err(Failure::usage("several records cannot all be one row").hint("name one record"));
    }
    let recorder = session.recorder.acting_as(by)?;
    let (mut drafts, mut names, mut at) = (Vec::new(), Vec::new(), Vec::new());
    for subject in subjects {
        let record = name_of(session, subject)?;
        for Answer { part, content, unlink } in parts(session, subject, &record, choice).await? {
            let about = |event: Event| part.into_iter().fold(recorder.draft(event).subject(subject), Draft::target);
            // The row is nobody's from here on.
            drafts.extend(unlink.map(|destination| about(Event::IdentityUnlinked { destination })));
            let content = content.or_else(|| why.map(|why| Content::Text(why.to_owned())));
            let event = Event::HoldDecided { decision: choice.decision() };
            at.push(drafts.len() as u64);
            drafts.push(content.into_iter().fold(about(event), Draft::content));
            names.push(record.clone());
        }
    }
    if drafts.is_empty() {
        return Ok(Vec::new());
    }
    let first = recorder.append(drafts).await?.first;
    session.state.catch_up(recorder.ledger())?;
    let decided = names.into_iter().zip(at).map(|(record, at)| Decided {
        record,
        decision: choice.decision(),
        position: Position(first.0 + at),
    });
    Ok(decided.collect())
}

impl Choice {
    fn decision(&self) -> HoldDecision {
        match self {
            Self::Plain(decision) => *decision,
            Self::Row(_) => HoldDecision::Row,
        }
    }
}

/// What a decision is to one part of a record.
struct Answer {
    part: Option<TargetPart>,
    /// What the ledger must keep of it.
    content: Option<Content>,
    /// The row that was the record's until someone removed it.
    unlink: Option<SubjectId>,
}

/// Returns the parts of a record that a decision is about; an error if it does not fit.
async fn parts(session: &Session, subject: SubjectId, record: &str, choice: &Choice) -> Result<Vec<Answer>, Failure> {
    let (intake, landing) = (session.state.intake(), session.state.landing());
    let mut answers_of = Vec::new();
    if choice == &Choice::Plain(HoldDecision::Carry) {
        let left_out = intake.decisions(subject).filter(|(_, decision)| *decision == HoldDecision::Skip);
        answers_of.extend(left_out.map(|(part, _)| Answer { part, content: None, unlink: None }));
        return if answers_of.is_empty() {
            Err(Failure::usage(format!("nobody decided to leave {record} out")))
        } else {
            Ok(answers_of)
        };
    }
    let held: Vec<(Option<TargetPart>, HoldReason)> = intake.holds(subject).collect();
    if held.is_empty() {
        return Err(Failure::usage(format!("{record} does not wait for anybody"))
            .hint("`waybill holds list` shows the records that wait"));
    }
    for (part, reason) in held {
        let mut live = landing.of(subject).filter(|landed| part.is_none_or(|part| landed.target.part == part));
        let live = live.find(Landed::is_live);
        let fits = match choice.decision() {
            HoldDecision::Source | HoldDecision::Destination => reason == HoldReason::Conflict,
            HoldDecision::Again => reason == HoldReason::TargetGone,
            HoldDecision::New | HoldDecision::Row => reason == HoldReason::Ambiguous,
            HoldDecision::Skip => reason == HoldReason::TargetGone || live.is_none(),
            HoldDecision::Carry => false,
        };
        if !fits {
            return Err(Failure::usage(format!(
                "{record} waits because of `{}`: `{}` does not answer that",
                word(reason),
                decision_word(choice.decision())
            ))
            .hint(answers(reason)));
        }
        let (mut content, mut unlink) = (None, None);
        match (choice, part, live) {
            (Choice::Row(id), Some(part), _) => content = Some(row(session, record, part, id).await?),
            (Choice::Plain(HoldDecision::Skip), _, Some(landed)) => {
                let object = session.recorder.ledger().name_text(landed.object).unwrap_or_default();
                let id = landed.destination.and_then(|destination| session.state.destination_id(destination));
                if let Some(id) = id
                    && let Some(row) = read(session, &object.as_str().into(), &id).await?
                {
                    let what = format!("{record} has its row again: {object} {}", row.record.id);
                    return Err(Failure::usage(what).hint("the next run or delta goes on with it"));
                }
                unlink = landed.destination;
            }
            _ => {}
        }
        answers_of.push(Answer { part, content, unlink });
    }
    Ok(answers_of)
}

/// Reads one row of the destination, if it is there.
async fn read(session: &Session, object: &ObjectName, id: &str) -> Result<Option<RemoteRecord>, Failure> {
    let reached = session.destination().await?;
    let rows = reached.destination.read(object, &[], &Selection::Ids(vec![id.to_owned()])).await?;
    Ok(rows.into_iter().next())
}

/// Returns what the ledger keeps of the row that a record is said to be, if it is there and nobody else's.
async fn row(session: &Session, record: &str, part: TargetPart, id: &str) -> Result<Content, Failure> {
    let (plan, _) = session.plan()?;
    let rule = session.recorder.ledger().name_text(part.rule).unwrap_or_default();
    let rule = plan.rule(&rule.as_str().into());
    let Some(object) = rule.map(|rule| rule.to.clone()) else {
        return Err(Failure::stopped(format!("the plan has no rule for {record} any more")));
    };
    let Some(row) = read(session, &object, id).await? else {
        return Err(Failure::usage(format!("the destination has no {object} {id}, or our user may not see it")));
    };
    let reached = session.destination().await?;
    let subject = SubjectKey::new(reached.name(), object.as_str(), &row.record.id);
    let subject = session.recorder.ledger().find_subject(&subject);
    if subject.is_some_and(|subject| session.state.landing().owner(subject).is_some()) {
        return Err(Failure::usage(format!("{object} {id} is another record's")));
    }
    Ok(Content::DestinationId { object: object.to_string(), id: row.record.id })
}

/// Says what a person can answer to a hold.
pub fn answers(reason: HoldReason) -> &'static str {
    match reason {
        HoldReason::Conflict => "`source` writes what the source says, `destination` leaves what is there",
        HoldReason::TargetGone => "`again` makes the row again, `skip` leaves the record out",
        HoldReason::Ambiguous => "`row --is ID` says which row it is, `new` makes one, `skip` leaves the record out",
        HoldReason::Owner => "decide about its owner in the plan, or `skip` leaves the record out",
        HoldReason::UnmappedValue => "give its value a place in the plan's value map, or `skip` leaves the record out",
        HoldReason::MissingParent | HoldReason::Cycle => {
            "it goes on when what it points to has landed; `skip` leaves the record out"
        }
        HoldReason::MissingValue | HoldReason::BadValue => {
            "mend it in the source or let the plan mend it, or `skip` leaves the record out"
        }
        HoldReason::Rejected => {
            "every run tries it again: remove what the destination objects to, or `skip` leaves it out"
        }
        HoldReason::Undetermined | HoldReason::Resumed => "the next run looks at it again",
        HoldReason::Forgotten => "nobody can decide about a record that was forgotten",
    }
}

/// Every decision, as the word for it and what it means.
pub const DECISIONS: [(HoldDecision, &str, &str); 7] = [
    (HoldDecision::Source, "source", "Both sides changed a field: write what the source says"),
    (HoldDecision::Destination, "destination", "Both sides changed a field: leave what is there"),
    (HoldDecision::Again, "again", "Someone removed the row: make it again"),
    (HoldDecision::New, "new", "It is none of the rows that it could be: make a new one"),
    (HoldDecision::Row, "row", "It is the row that `--is` names"),
    (HoldDecision::Skip, "skip", "Do not carry the record"),
    (HoldDecision::Carry, "carry", "Carry a record after all that was left out"),
];

/// Returns a decision as one word.
pub fn decision_word(decision: HoldDecision) -> &'static str {
    DECISIONS.iter().find(|(known, ..)| *known == decision).map_or("", |(_, word, _)| word)
}

/// Returns the decision that a word means.
pub fn decision_named(text: &str) -> Option<HoldDecision> {
    DECISIONS.iter().find(|(_, word, _)| *word == text).map(|(decision, ..)| *decision)
}

/// Returns the reason that a word means.
pub fn reason_named(text: &str) -> Option<HoldReason> {
    const ALL: [HoldReason; 13] = [
        HoldReason::Owner,
        HoldReason::UnmappedValue,
        HoldReason::MissingParent,
        HoldReason::MissingValue,
        HoldReason::BadValue,
        HoldReason::Ambiguous,
        HoldReason::Rejected,
        HoldReason::Undetermined,
        HoldReason::Conflict,
        HoldReason::TargetGone,
        HoldReason::Cycle,
        HoldReason::Forgotten,
        HoldReason::Resumed,
    ];
    ALL.into_iter().find(|reason| word(*reason) == text)
}

/// Returns a hold's reason as one word.
pub fn word(reason: HoldReason) -> String {
    let json = serde_json::to_value(reason).ok();
    json.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
