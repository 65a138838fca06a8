use serde::Serialize;
use waybill_engine::{failure::Failure, session::Session};
use waybill_ledger::{Content, Event, Position, event::HoldReason, ledger::Opened};

use super::{close, look};
use crate::{Context, exit::Exit, output::table};

/// See what waits for a person
#[derive(Debug, clap::Args)]
pub(crate) struct HoldsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the records that wait, and why
    List,
}

#[derive(Debug, Serialize)]
struct Held {
    record: String,
    reason: HoldReason,
    why: String,
    position: Position,
}

impl HoldsArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let What::List = self.what;
        let (session, bars) = look(context).await?;
        let done = list(&session);
        let held = close(session, &bars, done).await?;
        if context.output.json {
            for held in &held {
                context.output.item(held, String::new)?;
            }
            return Ok(Exit::Done);
        }
        if held.is_empty() {
            context.output.line("nothing waits for a person")?;
            return Ok(Exit::Done);
        }
        let rows = held.iter().map(|held| {
            let reason = serde_json::to_value(held.reason).ok().and_then(|value| value.as_str().map(str::to_owned));
            vec![held.record.clone(), reason.unwrap_or_default(), held.why.clone()]
        });
        context.output.line(&table(&["record", "reason", "why"], 3, rows))?;
        Ok(Exit::Done)
    }
}

fn list(session: &Session) -> Result<Vec<Held>, Failure> {
    let reader = session.recorder.ledger().reader();
    let waiting: std::collections::BTreeMap<_, _> = session.state.intake().held().collect();
    let mut latest = std::collections::BTreeMap::new();
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
