use serde::Serialize;
use waybill_engine::failure::Failure;

use super::{close, look};
use crate::{Context, exit::Exit, output::table};

/// See where the project stands
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {}

#[derive(Debug, Serialize)]
struct Status {
    events: u64,
    head: String,
    approved_by: Option<String>,
    runs: Vec<RunLine>,
    objects: Vec<ObjectLine>,
    held: usize,
    open: usize,
}

#[derive(Debug, Serialize)]
struct RunLine {
    run: u32,
    kind: waybill_ledger::event::RunKind,
    at: String,
    outcome: Option<waybill_ledger::event::RunOutcome>,
}

#[derive(Debug, Serialize)]
struct ObjectLine {
    object: String,
    live: usize,
}

impl StatusArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (session, bars) = look(context).await?;
        let ledger = session.recorder.ledger();
        let mut objects = std::collections::BTreeMap::new();
        for landed in session.state.landing().all().filter(waybill_projector::landing::Landed::is_live) {
            *objects.entry(landed.object).or_insert(0usize) += 1;
        }
        let status = Status {
            events: ledger.reader().end().0,
            head: ledger.head().root.to_string(),
            approved_by: session.state.approval().map(|approval| approval.by.clone()),
            runs: session
                .state
                .runs()
                .iter()
                .map(|run| RunLine {
                    run: run.id.0,
                    kind: run.kind,
                    at: run.at.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
                    outcome: run.ended.map(|(_, outcome)| outcome),
                })
                .collect(),
            objects: objects
                .into_iter()
                .map(|(object, live)| ObjectLine { object: ledger.name_text(object).unwrap_or_default(), live })
                .collect(),
            held: session.state.intake().held().count(),
            open: session.state.landing().open().count(),
        };
        close(session, &bars, Ok(())).await?;
        context.output.document(&status, || {
            let runs = status.runs.iter().map(|run| {
                let outcome = run.outcome.as_ref().map_or_else(|| "not ended".to_owned(), word);
                vec![run.run.to_string(), word(&run.kind), run.at.clone(), outcome]
            });
            let objects = status.objects.iter().map(|object| vec![object.object.clone(), object.live.to_string()]);
            format!(
                "{} events, head {}\napproved by: {}\n\n{}\n\n{}\n\n{} records wait for a person; {} writes have no outcome yet",
                status.events,
                &status.head[..6],
                status.approved_by.as_deref().unwrap_or("nobody"),
                table(&["run", "kind", "began", "outcome"], 4, runs),
                table(&["object", "rows of ours"], 1, objects),
                status.held,
                status.open,
            )
        })?;
        Ok(Exit::Done)
    }
}

/// Returns the word that a value serialises as.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
