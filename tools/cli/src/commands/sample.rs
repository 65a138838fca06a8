use waybill_engine::{failure::Failure, run};

use super::{close, open, run::words, stop_on_signal};
use crate::{Context, exit::Exit};

/// Land a slice of everything first, with all that it points to; look at it with `diff`, take it back with `rollback`
#[derive(Debug, clap::Args)]
pub(crate) struct SampleArgs {
    /// About how many records; what they point to comes with them
    #[arg(long, value_name = "N", default_value_t = 200)]
    size: u64,
}

impl SampleArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (mut session, bars) = open(context).await?;
        let stop = stop_on_signal(context);
        let done = run::sample(&mut session, &stop, self.size).await;
        let report = close(session, &bars, done).await?;
        context.output.document(&report, || {
            let next = "look at it field by field with `waybill diff`, and take it back with `waybill rollback --run";
            format!("{}\n\n{next} {}`", words(&report), report.run)
        })?;
        Ok(Exit::Done)
    }
}
