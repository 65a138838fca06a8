use std::path::PathBuf;

use waybill_engine::{
    failure::Failure,
    project::{Project, SecretRef, SourceKind},
};

use crate::{Context, exit::Exit};

/// Make a directory a project, with the pair's blueprint as its plan
///
/// Writes `waybill.toml` and `plan.toml` into DIR and nothing else. Edit both: the configuration says where the export or the
/// server is that records come from and how to reach the destination, the plan says what goes where.
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
    /// The server to read instead of an export: the address of its REST API. Its token is looked for in the environment
    /// variable SYSTEM_TOKEN, such as SPARK_TOKEN, unless waybill.toml is changed to say otherwise
    #[arg(long, value_name = "URL", conflicts_with = "bundle")]
    source_url: Option<String>,
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
        if let Some(url) = self.source_url {
            let variable = format!("{}_TOKEN", self.from.to_uppercase());
            project.config.source.kind = Some(SourceKind::Rest);
            project.config.source.url = Some(url);
            project.config.source.token = Some(SecretRef::Env(variable));
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
