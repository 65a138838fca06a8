use waybill_engine::{failure::Failure, holds};

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

impl HoldsArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let What::List = self.what;
        let (session, bars) = look(context).await?;
        let done = holds::list(&session);
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
        let rows = held.iter().map(|held| vec![held.record.clone(), holds::word(held.reason), held.why.clone()]);
        context.output.line(&table(&["record", "reason", "why"], 3, rows))?;
        Ok(Exit::Done)
    }
}
