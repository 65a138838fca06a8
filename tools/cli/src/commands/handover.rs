use std::path::PathBuf;

use waybill_engine::{failure::Failure, handover};

use super::{close, open};
use crate::{Context, exit::Exit, output::table};

/// Write the closing reports: summary, list of files, what was not carried and why, what to build again by hand
#[derive(Debug, clap::Args)]
pub(crate) struct HandoverArgs {
    /// The folder; `handover` in the project, if it is left out. The reports show record contents
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl HandoverArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let dir = self.dir.unwrap_or_else(|| context.dir.join("handover"));
        let (mut session, bars) = open(context).await?;
        let done = handover::handover(&mut session, &dir).await;
        let found = close(session, &bars, done).await?;
        context.output.document(&found, || {
            let sources = found.sources.iter().map(|source| {
                let a = &source.account;
                let numbers = [a.read, a.landed, a.partly, a.held, a.skipped, a.deleted, a.unreadable];
                std::iter::once(source.object.clone()).chain(numbers.map(|n| n.to_string())).collect()
            });
            let header = ["source", "read", "landed", "partly", "held", "skipped", "deleted", "unreadable"];
            let (setup, files): (Vec<_>, Vec<_>) = found.files.iter().partition(|path| path.starts_with("setup"));
            let mut files: Vec<String> = files.iter().map(|path| format!("  {}", dir.join(path).display())).collect();
            if !setup.is_empty() {
                let at = dir.join("setup").join("SETUP.md");
                files.push(match setup.len() - 1 {
                    0 => format!("  {}", at.display()),
                    more => format!("  {} and a source project of {more} files beside it", at.display()),
                });
            }
            let notes: String = found.notes.iter().map(|note| format!("\n{note}\n")).collect();
            let rebuild: u64 = found.rebuild.values().sum();
            format!(
                "{}\n\n{} fields and objects are not carried; {rebuild} definitions are to be built again by hand\n{notes}\n{}",
                table(&header, 1, sources),
                found.not_carried.len(),
                files.join("\n"),
            )
        })?;
        Ok(Exit::Done)
    }
}
