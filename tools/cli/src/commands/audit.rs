use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::json;
use waybill_engine::{
    audit::{self, Filter, Line, Outcome},
    explain::{Explanation, explain},
    failure::Failure,
    project::Project,
};
use waybill_ledger::{
    Micros, Position, RunId,
    ledger::{Depth, Opened, verify},
    proof,
};
use waybill_projector::audit::{describe, kind};

use super::{close, look};
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
        /// About this record: object/id of the source or of the destination
        #[arg(long, value_name = "RECORD")]
        record: Option<String>,
        /// Only how writes and records came out
        #[arg(long, value_name = "OUTCOME")]
        outcome: Option<Came>,
        /// Not before this time, such as 2026-03-01T12:00:00Z
        #[arg(long, value_name = "TIME")]
        after: Option<DateTime<Utc>>,
        /// Before this time
        #[arg(long, value_name = "TIME")]
        before: Option<DateTime<Utc>>,
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
        /// As of this position: later events are left out
        #[arg(long, value_name = "POSITION")]
        at: Option<u64>,
    },
    /// Tell why a field of a destination record holds what it holds: source, rule, plan, approval, write, read-back
    Explain {
        /// The destination object, such as Contact
        #[arg(value_name = "OBJECT")]
        object: String,
        /// The id of its record
        #[arg(value_name = "ID")]
        id: String,
        /// The field
        #[arg(value_name = "FIELD")]
        field: String,
    },
    /// Check every byte of the ledger, and with the keys every content
    Verify {
        /// Check bytes only, without opening contents
        #[arg(long)]
        bytes: bool,
        /// A file with an earlier signed head, whose history must be the beginning of this one
        #[arg(long, value_name = "HEAD")]
        since: Option<PathBuf>,
    },
    /// Write a proof that one event is in the ledger, for people who do not have it
    Prove {
        /// The event
        #[arg(value_name = "POSITION")]
        position: u64,
        /// Open the event's content in the proof: whoever has the proof can read it
        #[arg(long)]
        open: bool,
        /// Where to write it; stdout, if it is left out
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Check a proof; no ledger and no project are needed
    VerifyProof {
        /// The proof
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The ledger's public key, as you know it from elsewhere
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
}

/// How a write, or a record on its way, came out.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Came {
    Confirmed,
    Rejected,
    Unknown,
    Held,
    Skipped,
}

impl From<Came> for Outcome {
    fn from(came: Came) -> Self {
        match came {
            Came::Confirmed => Self::Confirmed,
            Came::Rejected => Self::Rejected,
            Came::Unknown => Self::Unknown,
            Came::Held => Self::Held,
            Came::Skipped => Self::Skipped,
        }
    }
}

impl AuditArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.what {
            What::Log { run, event, actor, record, outcome, after, before, from, at, limit } => {
                let filter = Filter {
                    run: run.map(RunId),
                    event,
                    actor,
                    record,
                    outcome: outcome.map(Into::into),
                    after: after.map(|time| Micros(time.timestamp_micros())),
                    before: before.map(|time| Micros(time.timestamp_micros())),
                    end: at.map(|at| Position(at.saturating_add(1))),
                    from: from.map(Position),
                };
                let (session, bars) = look(context).await?;
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
            What::Record { record, at } => {
                let (session, bars) = look(context).await?;
                let done = audit::record(&session, &record, at.map(|at| Position(at.saturating_add(1))));
                for line in close(session, &bars, done).await? {
                    context.output.item(&line, || long(&line))?;
                }
            }
            What::Explain { object, id, field } => {
                let (session, bars) = look(context).await?;
                let done = explain(&session, &object, &id, &field);
                let answer = close(session, &bars, done).await?;
                context.output.document(&answer, || told(&answer))?;
            }
            What::Verify { bytes, since } => {
                let home = Project::open(&context.dir)?.home();
                let depth = if bytes { Depth::Bytes } else { Depth::Contents };
                let since = since.map(|path| read(&path)).transpose()?;
                let checked = tokio::task::spawn_blocking(move || verify(&home, depth, since.as_deref()))
                    .await
                    .map_err(|e| Failure::failed(format!("the verification stopped: {e}")))??;
                let document = json!({
                    "events": checked.head.end, "blocks": checked.head.blocks, "root": checked.head.root,
                    "contents": checked.contents, "erased": checked.erased, "forgotten": checked.forgotten, "sealed": checked.sealed,
                    "anchored": checked.anchored, "since": checked.since, "head": checked.signed,
                });
                context.output.document(&document, || {
                    let contents = if checked.sealed > 0 {
                        format!("{} contents checked as sealed bytes only (no keys, or --bytes)", checked.sealed)
                    } else {
                        let at: Vec<String> = checked.forgotten.iter().map(|(_, at)| at.to_string()).collect();
                        let at =
                            if at.is_empty() { String::new() } else { format!(" (at positions {})", at.join(", ")) };
                        format!("{} contents opened and checked, {} forgotten{at}", checked.contents, checked.erased)
                    };
                    let head =
                        checked.signed.as_deref().map(|head| format!("\n\n{}", head.trim_end())).unwrap_or_default();
                    let since = checked.since.map_or_else(String::new, |blocks| {
                        format!("\nits first {blocks} blocks are those of the earlier head")
                    });
                    format!(
                        "verified: {} events in {} blocks{since}\n{contents}\nroot {}{head}",
                        checked.head.end, checked.head.blocks, checked.head.root
                    )
                })?;
            }
            What::Prove { position, open: show, out } => {
                let (session, bars) = look(context).await?;
                let done = audit::prove(&session, Position(position), show);
                let proof = close(session, &bars, done).await?;
                match out {
                    None => context.output.line(proof.trim_end())?,
                    Some(path) => {
                        std::fs::write(&path, proof).map_err(|e| {
                            Failure::usage(format!("{} cannot be written: {e}", path.display()))
                                .hint("check the path and the directory's rights")
                        })?;
                        let document = json!({ "position": position, "proof": path, "open": show });
                        context.output.document(&document, || {
                            let open = if show { "; it opens the event's content" } else { "" };
                            format!("{}: a proof of event {position}{open}", path.display())
                        })?;
                    }
                }
            }
            What::VerifyProof { file, key } => verify_proof(context, &file, key.as_deref())?,
        }
        Ok(Exit::Done)
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| {
        Failure::usage(format!("{} cannot be read: {e}", path.display())).hint("check the path and the file's rights")
    })
}

fn verify_proof(context: &Context, file: &Path, key: Option<&str>) -> Result<(), Failure> {
    let refused = |why: String| {
        Failure::ledger(format!("{} proves nothing: {why}", file.display()))
            .hint("ask for a new proof, and compare its head with one that you hold")
    };
    let proven = proof::check(&read(file)?).map_err(|e| refused(e.to_string()))?;
    if key.is_some_and(|key| key != proven.key) {
        return Err(refused(format!("it is signed by {}, which is not the key given", proven.key)));
    }
    let envelope = &proven.envelope;
    let what = describe(envelope, |name| format!("name {name}"));
    let content = proven.content.map(Opened::Content).and_then(audit::json_of);
    let document = json!({
        "position": envelope.position, "event": kind(&envelope.event), "what": what, "time": envelope.time.to_utc(),
        "subject": envelope.subject, "run": envelope.run, "blocks": proven.blocks, "root": proven.root,
        "key": proven.key, "content": content,
    });
    context.output.document(&document, || {
        let content = content.as_ref().and_then(|content| serde_json::to_string_pretty(content).ok());
        format!(
            "proven: event {} ({}: {what}) at {}\nis in the ledger whose head over {} blocks is {}\nsigned by {}{}{}",
            envelope.position,
            kind(&envelope.event),
            envelope.time.to_utc().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            proven.blocks,
            proven.root,
            proven.key,
            if key.is_none() {
                "\ncompare that key with the one in the ledger's `ledger.txt`, or give it with --key"
            } else {
                ""
            },
            content.map(|content| format!("\n{content}")).unwrap_or_default(),
        )
    })
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

/// Words an explanation: one line a station, each with its position in the ledger.
fn told(answer: &Explanation) -> String {
    let json = |value: &serde_json::Value| match value {
        serde_json::Value::Null => "(nothing)".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut lines =
        vec![format!("{}/{} {}: {}", answer.object, answer.id, answer.field, json(&answer.value)), String::new()];
    let mut line = |what: &str, at: Option<Position>, text: String| {
        let at = at.map_or_else(String::new, |at| at.0.to_string());
        lines.push(format!("  {at:>9}  {what:<10}  {text}"));
    };
    if let Some(source) = &answer.source {
        line("read", Some(source.read), format!("{} at {}", source.record, source.time));
        for (name, value) in &source.fields {
            line("", None, format!("{name}: {}", json(value)));
        }
    }
    let says = answer.rule.says.as_ref().map(|says| format!(" = {says}")).unwrap_or_default();
    line("rule", Some(answer.mapped), format!("{}{says}", answer.rule.id));
    for decision in &answer.decisions {
        line("", None, decision.clone());
    }
    if let Some(approved) = &answer.approval {
        let plan = approved.plan.get(..6).unwrap_or_default();
        line("approved", Some(approved.position), format!("plan {plan} by {} at {}", approved.by, approved.time));
    }
    if let Some(before) = &answer.before {
        line("before", Some(before.position), json(&before.value));
    }
    let run = answer.write.run.map(|run| format!(" in run {run}")).unwrap_or_default();
    let batch = answer.write.batch.as_deref().unwrap_or("nothing had to be sent");
    line("sent", Some(answer.write.intended), format!("{batch}{run}"));
    if let Some(job) = &answer.write.job {
        line("", None, format!("job {job}"));
    }
    line("confirmed", Some(answer.write.confirmed), format!("at {}", answer.write.time));
    match &answer.read_back {
        Some(seen) => line("read back", Some(seen.position), json(&seen.value)),
        None => line("read back", None, "not yet".to_owned()),
    }
    for said in &answer.later {
        let content = said.content.as_ref().map(|content| format!(" {content}")).unwrap_or_default();
        line("later", Some(said.position), format!("{}{content}", said.what));
    }
    for earlier in &answer.earlier {
        line("earlier", Some(earlier.confirmed), json(&earlier.value));
    }
    lines.join("\n")
}
