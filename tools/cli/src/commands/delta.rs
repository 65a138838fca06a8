use std::time::Duration;

use waybill_engine::{
    failure::Failure,
    run,
    watch::{Pass, Told, Window, watch},
};

use super::{
    close, open_lightly,
    run::{Phases, show},
    stop_on_signal,
};
use crate::{Context, exit::Exit};

/// Pick up what changed in the source since the last run, and records that waited
///
/// With `--watch`, does so again and again for as long as a cutover takes, and tells after each time what came. Of a server only
/// the changes since the last checkpoint are read, by the server's own clock; of an export, the files that are not the same as
/// the last time. A server that cannot be reached for a while is tried again with the next pass; a gate or a finding ends the
/// watch, as it ends a delta.
#[derive(Debug, clap::Args)]
pub(crate) struct DeltaArgs {
    /// Go on for this long, such as 90s, 30m, 24h or 2d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    watch: Option<Duration>,
    /// How long from one pass to the next
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "60s", requires = "watch")]
    every: Duration,
    #[command(flatten)]
    phases: Phases,
}

impl DeltaArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let stop = stop_on_signal(context);
        let (mut session, bars) = open_lightly(context).await?;
        let Some(lasts) = self.watch else {
            let done = run::delta(&mut session, &stop, self.phases.tolerance()).await;
            let report = close(session, &bars, done).await?;
            show(context, &report)?;
            return Ok(Exit::Done);
        };
        let output = context.output;
        let mut tell = |told: Told<'_>| match told {
            Told::Pass(pass) => {
                bars.clear();
                output.item(pass, || words(pass))
            }
            Told::Failed(failure) => {
                bars.clear();
                output.say(&format!("{failure}; it is tried again with the next pass"));
                Ok(())
            }
        };
        let done = watch(
            &mut session,
            &stop,
            Window { lasts, every: self.every, reconcile: self.phases.tolerance() },
            &mut tell,
        )
        .await;
        let watched = close(session, &bars, done).await?;
        output.say(&format!(
            "{} passes{}{}",
            watched.passes,
            if watched.failed > 0 {
                format!(", {} more failed and were tried again", watched.failed)
            } else {
                String::new()
            },
            if watched.quiet { "; the last one found nothing to do" } else { "" }
        ));
        Ok(Exit::Done)
    }
}

/// Words one pass in a line, with a line for each object that something came of.
fn words(pass: &Pass) -> String {
    let mut lines = vec![format!(
        "pass {} (run {}): {} new or changed, {} gone, {} written, {} waiting",
        pass.pass, pass.report.run, pass.changed, pass.gone, pass.written, pass.report.held
    )];
    for read in pass.report.read.iter().filter(|read| read.extracted + read.gone + read.unreadable > 0) {
        lines.push(format!(
            "  {}: {} new or changed, {} gone, {} unreadable",
            read.object, read.extracted, read.gone, read.unreadable
        ));
    }
    for phase in pass.report.phases.iter().filter(|phase| phase.created + phase.updated + phase.deleted > 0) {
        lines.push(format!(
            "  {}: {} created, {} changed, {} deleted",
            phase.object, phase.created, phase.updated, phase.deleted
        ));
    }
    lines.join("\n")
}

/// Reads a duration: a number with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => return number.parse().map(Duration::from_millis).map_err(|_| "too long".to_owned()),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("write a number and its unit, such as 90s, 30m, 24h or 2d".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a number and its unit, such as 90s".to_owned())?;
    let seconds = number.checked_mul(seconds).filter(|seconds| *seconds <= 366 * 86_400);
    match seconds.map(Duration::from_secs) {
        Some(Duration::ZERO) => Err("nothing lasts no time".to_owned()),
        Some(found) => Ok(found),
        None => Err("that is more than a year".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "s", "10", "10y", "-1s", "0s", "99999999999999d", "1.5h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
