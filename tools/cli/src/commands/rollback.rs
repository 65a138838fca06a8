use waybill_engine::{
    failure::Failure,
    rollback::{self, How, Report},
    session::Session,
};
use waybill_ledger::{RunId, event::NameKind};
use waybill_projector::rollback::Scope;

use super::{close, open, stop_on_signal};
use crate::{Context, exit::Exit, output::table};

/// Take back what was written: rows go, fields go back, in reverse order
///
/// What people changed since stays and is listed. Without a scope, everything is taken back, and the destination is
/// compared row by row with what it was before.
#[derive(Debug, clap::Args)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    scope: ScopeArgs,
    /// Only show what would be taken back, and what would stay because people built on it
    #[arg(long)]
    dry_run: bool,
    /// Stop before the first write if more rows than this would be taken back
    #[arg(long, value_name = "N")]
    at_most: Option<u64>,
    /// Also take away the fields, options and objects that `waybill schema apply` made, where nobody holds anything in them;
    /// what somebody uses stays and is named
    #[arg(long, conflicts_with_all = ["run", "object", "rule", "record"])]
    schema: bool,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct ScopeArgs {
    /// What one run wrote
    #[arg(long, value_name = "N")]
    run: Option<u32>,
    /// What was written to one destination object
    #[arg(long, value_name = "OBJECT")]
    object: Option<String>,
    /// What one rule wrote
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// What one source record led to
    #[arg(long, value_name = "RECORD")]
    record: Option<String>,
}

impl RollbackArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let stop = stop_on_signal(context);
        let (mut session, bars) = open(context).await?;
        let done = match scope(&session, &self.scope) {
            Ok(scope) => {
                let how = How { dry: self.dry_run, at_most: self.at_most, schema: self.schema };
                rollback::rollback(&mut session, scope, how, &stop).await
            }
            Err(failure) => Err(failure),
        };
        let report = close(session, &bars, done).await?;
        let dry = self.dry_run;
        context.output.document(&report, || human(&report, dry))?;
        let held = report.objects.iter().any(|object| object.held + object.rejected > 0);
        let differs = report.differences.iter().any(|difference| !difference.is_none());
        Ok(if held || differs { Exit::Stopped } else { Exit::Done })
    }
}

fn scope(session: &Session, args: &ScopeArgs) -> Result<Scope, Failure> {
    let name = |kind, text: &str, what: &str| {
        session.recorder.ledger().find_name(kind, text).ok_or_else(|| {
            Failure::usage(format!("nothing was written for the {what} `{text}`"))
                .hint("see what was written with `waybill status` and `waybill audit log`")
        })
    };
    if let Some(run) = args.run {
        if !session.state.runs().iter().any(|known| known.id == RunId(run)) {
            return Err(Failure::usage(format!("there is no run {run}")).hint("see the runs with `waybill status`"));
        }
        return Ok(Scope::Run(RunId(run)));
    }
    if let Some(object) = &args.object {
        return Ok(Scope::Object(name(NameKind::Object, object, "object")?));
    }
    if let Some(rule) = &args.rule {
        return Ok(Scope::Rule(name(NameKind::Rule, rule, "rule")?));
    }
    if let Some(record) = &args.record {
        return Ok(Scope::Record(waybill_engine::audit::find(session, record)?));
    }
    Ok(Scope::Everything)
}

fn human(report: &Report, dry: bool) -> String {
    if dry {
        let rows = report.objects.iter().map(|object| {
            let numbers = [object.deletes, object.restores, object.recreates, object.conflicts];
            std::iter::once(object.object.clone()).chain(numbers.map(|n| n.to_string())).collect()
        });
        let mut text = table(&["object", "delete", "restore", "make again", "would stay"], 1, rows);
        if !report.conflicts.is_empty() {
            let lines: Vec<String> = report.conflicts.iter().map(|line| format!("  {line}")).collect();
            text.push_str(&format!("\n\nwhat would stay\n{}", lines.join("\n")));
        }
        for line in &report.residue {
            text.push_str(&format!("\n\nresidue: {line}"));
        }
        return text;
    }
    let rows = report.objects.iter().map(|object| {
        let numbers = [
            object.deletes,
            object.restores,
            object.recreates,
            object.done,
            object.unchanged,
            object.held,
            object.rejected,
        ];
        std::iter::once(object.object.clone()).chain(numbers.map(|n| n.to_string())).collect()
    });
    let mut text = table(&["object", "delete", "restore", "make again", "done", "same", "held", "refused"], 1, rows);
    if !report.differences.is_empty() {
        let rows = report.differences.iter().map(|difference| {
            let numbers = [
                difference.before,
                difference.now,
                difference.equal,
                difference.changed.len() as u64,
                difference.appeared.len() as u64,
                difference.vanished.len() as u64,
            ];
            std::iter::once(difference.object.clone()).chain(numbers.map(|n| n.to_string())).collect()
        });
        let table = table(&["object", "before us", "now", "equal", "changed", "new", "gone"], 1, rows);
        text.push_str(&format!("\n\nagainst the baseline\n{table}"));
        if report.differences.iter().all(waybill_engine::baseline::Difference::is_none) {
            text.push_str("\n\nevery row is as it was before us");
        }
    }
    let gone = report.schema.iter().filter(|change| change.outcome != "stays").count();
    if gone > 0 {
        text.push_str(&format!("\n\n{gone} fields, options and objects that we made are taken away again"));
    }
    for line in &report.residue {
        text.push_str(&format!("\n\nresidue: {line}"));
    }
    text
}
