use std::path::PathBuf;

use waybill_engine::{failure::Failure, prepare::Prepared, schema};

use super::{close, open};
use crate::{Context, exit::Exit, output::table};

/// Make the destination ready for the plan, or write down what an administrator must do
#[derive(Debug, clap::Args)]
pub(crate) struct SchemaArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make the fields, options and record types that the plan needs
    Apply,
    /// Write them as files that an administrator can deploy, with a setup plan
    Export {
        /// The folder to write to
        #[arg(value_name = "DIR")]
        to: PathBuf,
    },
}

impl SchemaArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.what {
            What::Apply => apply(context).await,
            What::Export { to } => export(context, to).await,
        }
    }
}

async fn apply(context: &Context) -> Result<Exit, Failure> {
    let (mut session, bars) = open(context).await?;
    let done = async {
        let prepared = Prepared::new(&mut session).await?;
        schema::apply(&mut session, &prepared).await
    }
    .await;
    let changes = close(session, &bars, done).await?;
    context.output.document(&changes, || {
        if changes.is_empty() {
            return "the destination has everything that the plan needs".to_owned();
        }
        let rows = changes.iter().map(|change| vec![change.what.clone(), change.outcome.to_owned()]);
        let mut text = table(&["change", "outcome"], 2, rows);
        for change in &changes {
            if let Some(note) = &change.note {
                text.push_str(&format!("\n\n{}: {note}", change.what));
            }
        }
        text
    })?;
    let whole = changes.iter().all(|change| matches!(change.outcome, "made" | "present"));
    Ok(if whole { Exit::Done } else { Exit::Stopped })
}

async fn export(context: &Context, to: PathBuf) -> Result<Exit, Failure> {
    let (mut session, bars) = open(context).await?;
    let done = async {
        let prepared = Prepared::new(&mut session).await?;
        schema::export(&prepared, &to)
    }
    .await;
    let paths = close(session, &bars, done).await?;
    context.output.document(&paths, || {
        let lines: Vec<String> = paths.iter().map(|path| to.join(path).display().to_string()).collect();
        lines.join("\n")
    })?;
    Ok(Exit::Done)
}
