use waybill_engine::{
    failure::Failure,
    reconcile::Tolerance,
    run::{self, RunReport},
};

use super::{
    close, open,
    reconcile::{counted, percent},
    stop_on_signal,
};
use crate::{Context, exit::Exit, output::table};

/// Land everything; the same command again goes on where it stopped
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    phases: Phases,
}

/// Whether phases are read back.
#[derive(Debug, clap::Args)]
pub(super) struct Phases {
    /// Read each phase back before the next one builds on it, and stop there if too much of it is off
    #[arg(long)]
    reconcile: bool,
    /// How much of a phase may be wrong, missing or extra
    #[arg(long, value_name = "PERCENT", default_value = "0.5%", value_parser = percent, requires = "reconcile")]
    threshold: Tolerance,
}

impl Phases {
    /// Returns what may be off, if phases are read back.
    pub(super) fn tolerance(&self) -> Option<Tolerance> {
        self.reconcile.then_some(self.threshold)
    }
}

impl RunArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let stop = stop_on_signal(context);
        let (mut session, bars) = open(context).await?;
        let done = run::load(&mut session, &stop, self.phases.tolerance()).await;
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
    let read_back = match &report.reconciled {
        Some(findings) => {
            let read = report.phases.iter().filter_map(|phase| phase.reconciled.as_ref());
            format!("read back\n{}\nevery finding: {}\n\n", counted(read), findings.display())
        }
        None => String::new(),
    };
    let resumed = if report.resumed { ", which went on" } else { "" };
    format!(
        "run {}{resumed}\n\n{}\n\n{}{}\n\n{}\n{}",
        report.run,
        table(&header, 1, phases),
        read_back,
        table(&account, 1, sources),
        if report.held > 0 {
            format!("{} records wait for a person: see them with `waybill holds list`\n", report.held)
        } else {
            String::new()
        },
        report.head.trim_end()
    )
}
