use waybill_engine::{failure::Failure, run};

use super::{close, open, run::show, stop_on_signal};
use crate::{Context, exit::Exit};

/// Pick up what changed in the source since the last run, and records that waited
#[derive(Debug, clap::Args)]
pub(crate) struct DeltaArgs {}

impl DeltaArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let stop = stop_on_signal(context);
        let (mut session, bars) = open(context).await?;
        let done = run::delta(&mut session, &stop).await;
        let report = close(session, &bars, done).await?;
        show(context, &report)?;
        Ok(Exit::Done)
    }
}
