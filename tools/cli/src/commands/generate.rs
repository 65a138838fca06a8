use std::path::PathBuf;

use waybill_engine::failure::Failure;
use waybill_sandbox::spark_bundle;

use crate::{Context, exit::Exit, output::table};

/// Make a synthetic export of a company, messy in the ways real ones are
///
/// The same size and seed always give the same bytes. Nothing in it is anyone's data; all addresses are under
/// `example` domains.
#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    /// The folder to write the export to; it must not exist or be empty
    #[arg(value_name = "DIR")]
    to: PathBuf,
    /// About how many records in all
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    size: u64,
    /// The seed of everything that looks random
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Break one row in so many, to see how the reader takes it (0: none)
    #[arg(long, default_value_t = 0, value_name = "N")]
    broken: u64,
    /// Exactly so many companies, instead of a share of the size
    #[arg(long, value_name = "N")]
    companies: Option<u64>,
    /// Exactly so many contacts, instead of a share of the size
    #[arg(long, value_name = "N")]
    contacts: Option<u64>,
    /// Without the mess: a tidy company, to measure with
    #[arg(long)]
    plain: bool,
    /// Let the parent companies form a cycle
    #[arg(long)]
    cycle: bool,
    /// Write so many contacts, and as many companies, a second time under another id
    #[arg(long, default_value_t = 0, value_name = "N")]
    duplicates: u64,
    /// Let so many contacts, and as many deals, name a company that is not there
    #[arg(long, default_value_t = 0, value_name = "N")]
    orphans: u64,
    /// Give so many contacts, and as many meetings, a day that cannot be
    #[arg(long, default_value_t = 0, value_name = "N")]
    bad_dates: u64,
    /// Write what was planted by these to a file, as JSON: outside the export, to hold a finding against
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

impl GenerateArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let spec = spark_bundle::Spec {
            size: self.size,
            seed: self.seed,
            broken: self.broken,
            cycle: self.cycle,
            accounts: self.companies,
            contacts: self.contacts,
            plain: self.plain,
            planted: spark_bundle::Planted {
                duplicates: self.duplicates,
                orphans: self.orphans,
                bad_dates: self.bad_dates,
            },
        };
        let summary =
            spark_bundle::generate(&spec, &self.to).map_err(|e| Failure::io("write the export to", &self.to, &e))?;
        if let Some(path) = &self.truth {
            let text = serde_json::to_string_pretty(&summary.planted).map_err(|e| Failure::failed(e.to_string()))?;
            std::fs::write(path, text).map_err(|e| Failure::io("write what was planted to", path, &e))?;
        }
        context.output.document(&summary, || {
            let rows = summary.rows.iter().map(|(object, rows)| vec![object.clone(), rows.to_string()]);
            format!("{}\n\n{} rows in {}", table(&["object", "rows"], 1, rows), summary.total(), self.to.display())
        })?;
        Ok(Exit::Done)
    }
}
