use serde_json::json;
use waybill_engine::{
    audit::{self, Filter, Line},
    failure::Failure,
    project::Project,
};
use waybill_ledger::{
    Position, RunId,
    ledger::{Depth, verify},
};

use super::{close, open};
use crate::{Context, exit::Exit};

/// Ask what happened, and prove it
#[derive(Debug, clap::Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List events, in order
    Log {
        /// Of this run
        #[arg(long, value_name = "N")]
        run: Option<u32>,
        /// Of this kind, such as `WriteConfirmed`
        #[arg(long, value_name = "KIND")]
        event: Option<String>,
        /// By this actor
        #[arg(long, value_name = "NAME")]
        actor: Option<String>,
        /// From this position on
        #[arg(long, value_name = "POSITION")]
        from: Option<u64>,
        /// As of this position: later events are left out
        #[arg(long, value_name = "POSITION")]
        at: Option<u64>,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Tell the whole life of one record, with contents and causes
    Record {
        /// The record: object/id of the source or of the destination
        #[arg(value_name = "RECORD")]
        record: String,
    },
    /// Check every byte of the ledger, and with the keys every content
    Verify {
        /// Check bytes only, without opening contents
        #[arg(long)]
        bytes: bool,
    },
}

impl AuditArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.what {
            What::Log { run, event, actor, from, at, limit } => {
                let filter = Filter {
                    run: run.map(RunId),
                    event,
                    actor,
                    before: at.map(|at| Position(at.saturating_add(1))),
                    from: from.map(Position),
                };
                let (session, bars) = open(context).await?;
                let mut left = limit.unwrap_or(usize::MAX);
                let done = audit::log(&session, &filter, |line| {
                    if left == 0 {
                        return Ok(false);
                    }
                    left -= 1;
                    context.output.item(&line, || short(&line))?;
                    Ok(true)
                });
                close(session, &bars, done).await?;
            }
            What::Record { record } => {
                let (session, bars) = open(context).await?;
                let done = audit::record(&session, &record);
                for line in close(session, &bars, done).await? {
                    context.output.item(&line, || long(&line))?;
                }
            }
            What::Verify { bytes } => {
                let home = Project::open(&context.dir)?.home();
                let depth = if bytes { Depth::Bytes } else { Depth::Contents };
                let checked = tokio::task::spawn_blocking(move || verify(&home, depth))
                    .await
                    .map_err(|e| Failure::failed(format!("the verification stopped: {e}")))??;
                let document = json!({
                    "events": checked.head.end, "blocks": checked.head.blocks, "root": checked.head.root,
                    "contents": checked.contents, "erased": checked.erased, "sealed": checked.sealed,
                    "anchored": checked.anchored, "head": checked.signed,
                });
                context.output.document(&document, || {
                    let contents = if checked.sealed > 0 {
                        format!("{} contents checked as sealed bytes only (no keys, or --bytes)", checked.sealed)
                    } else {
                        format!("{} contents opened and checked, {} forgotten", checked.contents, checked.erased)
                    };
                    let head =
                        checked.signed.as_deref().map(|head| format!("\n\n{}", head.trim_end())).unwrap_or_default();
                    format!(
                        "verified: {} events in {} blocks\n{contents}\nroot {}{head}",
                        checked.head.end, checked.head.blocks, checked.head.root
                    )
                })?;
            }
        }
        Ok(Exit::Done)
    }
}

fn short(line: &Line) -> String {
    let run = line.run.map_or_else(|| "-".to_owned(), |run| run.to_string());
    format!("{:>8}  {}  run {run:>3}  {:<18}  {}", line.position.0, line.time, line.event, line.what)
}

fn long(line: &Line) -> String {
    let mut text = short(line);
    if let Some(rule) = &line.rule {
        text.push_str(&format!("  [{rule}]"));
    }
    if !line.causes.is_empty() {
        let causes: Vec<String> = line.causes.iter().map(ToString::to_string).collect();
        text.push_str(&format!("  because of {}", causes.join(", ")));
    }
    if let Some(content) = &line.content {
        let content = serde_json::to_string_pretty(content).unwrap_or_default();
        for row in content.lines() {
            text.push_str("\n            ");
            text.push_str(row);
        }
    }
    text
}
