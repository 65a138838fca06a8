use waybill_engine::{
    failure::Failure,
    run::{self, RunReport},
};

use super::{close, open, stop_on_signal};
use crate::{Context, exit::Exit, output::table};

/// Land everything; the same command again goes on where it stopped
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {}

impl RunArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let stop = stop_on_signal(context);
        let (mut session, bars) = open(context).await?;
        let done = run::load(&mut session, &stop).await;
        let report = close(session, &bars, done).await?;
        show(context, &report)?;
        Ok(Exit::Done)
    }
}

/// Prints what a run did.
pub(super) fn show(context: &Context, report: &RunReport) -> Result<(), Failure> {
    context.output.document(report, || words(report))
}

/// Words what a run did.
pub(super) fn words(report: &RunReport) -> String {
    let phases = report.phases.iter().map(|phase| {
        let numbers = [
            phase.created,
            phase.updated,
            phase.unchanged,
            phase.deleted,
            phase.rejected,
            phase.held,
            phase.skipped,
            phase.counted,
        ];
        std::iter::once(phase.object.clone()).chain(numbers.map(|n| n.to_string())).collect()
    });
    let header = ["object", "created", "changed", "same", "deleted", "refused", "held", "skipped", "counted"];
    let sources = report.sources.iter().map(|source| {
        let account = &source.account;
        let numbers = [
            account.read,
            account.landed,
            account.partly,
            account.merged,
            account.deleted,
            account.held,
            account.skipped,
            account.unreadable,
        ];
        std::iter::once(source.object.clone()).chain(numbers.map(|n| n.to_string())).collect()
    });
    let account = ["source", "read", "landed", "partly", "merged", "deleted", "held", "skipped", "unreadable"];
    let resumed = if report.resumed { ", which went on" } else { "" };
    format!(
        "run {}{resumed}\n\n{}\n\n{}\n\n{}\n{}",
        report.run,
        table(&header, 1, phases),
        table(&account, 1, sources),
        if report.held > 0 {
            format!("{} records wait for a person: see them with `waybill holds list`\n", report.held)
        } else {
            String::new()
        },
        report.head.trim_end()
    )
}
