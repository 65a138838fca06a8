use std::path::PathBuf;

use waybill_engine::{failure::Failure, project::Project};

use crate::{Context, exit::Exit};

/// Make a directory a project, with the pair's blueprint as its plan
///
/// Writes `waybill.toml` and `plan.toml` into DIR and nothing else. Edit both: the configuration says where the export is
/// and how to reach the destination, the plan says what goes where.
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The directory to make a project
    #[arg(value_name = "DIR")]
    project: PathBuf,
    /// The system that records come from
    #[arg(long, value_name = "SYSTEM")]
    from: String,
    /// The system that records go to
    #[arg(long, value_name = "SYSTEM")]
    to: String,
    /// The export to read: a folder or a zip file
    #[arg(long, value_name = "PATH")]
    bundle: Option<PathBuf>,
    /// The address of the destination
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl InitArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut project = Project::init(&self.project, &self.from, &self.to, waybill_engine::project::random_id())?;
        if let Some(bundle) = self.bundle {
            let bundle = std::path::absolute(&bundle).unwrap_or(bundle);
            project.config.source.bundle = Some(bundle);
        }
        project.config.destination.url = self.url;
        project.save()?;
        context.output.document(
            &serde_json::json!({ "project": self.project, "from": self.from, "to": self.to }),
            || {
                format!(
                    "{} is a project from {} to {}\n\nnext: edit {}/waybill.toml and plan.toml, then `waybill discover -C {}`",
                    self.project.display(),
                    self.from,
                    self.to,
                    self.project.display(),
                    self.project.display(),
                )
            },
        )?;
        Ok(Exit::Done)
    }
}
