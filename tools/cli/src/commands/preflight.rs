use waybill_engine::{
    failure::Failure,
    preflight::{self, Check, Verdict},
};

use super::{close, open};
use crate::{Context, exit::Exit, output::table};

/// Look at everything that could stop a run: limits, permissions, missing fields, owners, values, files, automation
#[derive(Debug, clap::Args)]
pub(crate) struct PreflightArgs {
    /// Show at most so many particulars of a check
    #[arg(long, value_name = "N", default_value_t = 8)]
    show: usize,
}

impl PreflightArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (mut session, bars) = open(context).await?;
        let done = preflight::preflight(&mut session).await;
        let found = close(session, &bars, done).await?;
        context.output.document(&found, || self.words(&found.checks))?;
        Ok(if found.passes() { Exit::Done } else { Exit::Stopped })
    }

    fn words(&self, checks: &[Check]) -> String {
        let verdict = |verdict: Verdict| match verdict {
            Verdict::Passes => "passes",
            Verdict::Warns => "warns",
            Verdict::Blocks => "BLOCKS",
        };
        let rows = checks.iter().map(|check| {
            let records = check.records.map_or_else(String::new, |records| records.to_string());
            vec![check.check.to_owned(), verdict(check.verdict).to_owned(), check.found.clone(), records]
        });
        let mut text = table(&["check", "verdict", "found", "records"], 3, rows);
        for check in checks.iter().filter(|check| check.verdict != Verdict::Passes) {
            text.push_str(&format!("\n\n{} ({})", check.check, verdict(check.verdict)));
            for line in check.about.iter().take(self.show) {
                text.push_str(&format!("\n  {line}"));
            }
            if check.about.len() > self.show {
                text.push_str(&format!("\n  … and {} more (--show, --json)", check.about.len() - self.show));
            }
            if let Some(remedy) = &check.remedy {
                text.push_str(&format!("\n  → {remedy}"));
            }
        }
        let blocks = checks.iter().filter(|check| check.verdict == Verdict::Blocks).count();
        text.push_str(&match blocks {
            0 => "\n\nnothing blocks a run".to_owned(),
            1 => "\n\none check blocks a run".to_owned(),
            n => format!("\n\n{n} checks block a run"),
        });
        text
    }
}
