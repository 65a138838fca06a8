use std::path::PathBuf;

use waybill_engine::{
    diff::{self, Class, Diff},
    failure::Failure,
    report,
};

use super::{close, open};
use crate::{Context, exit::Exit, output::table};

/// Show field by field what a sample did: source, rule, what was meant, what is there now
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    /// The run; the latest sample, if it is left out
    #[arg(long, value_name = "N")]
    run: Option<u32>,
    /// Write the whole comparison as a page that can be sent to a colleague; it shows record contents
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Show every field, not only those that are not as in the source
    #[arg(long)]
    all: bool,
    /// Show at most so many records
    #[arg(long, value_name = "N", default_value_t = 20)]
    show: usize,
}

impl DiffArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (mut session, bars) = open(context).await?;
        let done = diff::diff(&mut session, self.run).await;
        let done = match (done, &self.html) {
            (Ok(found), Some(path)) => {
                waybill_engine::handover::write_report(&session, path, &report::diff(&found)).await.map(|()| found)
            }
            (done, _) => done,
        };
        let found = close(session, &bars, done).await?;
        context.output.document(&found, || self.words(&found))?;
        Ok(if found.is_clean() { Exit::Done } else { Exit::Stopped })
    }

    fn words(&self, found: &Diff) -> String {
        let sums = found.objects.iter().map(|object| {
            let of = |class: Class| object.fields.get(&class).copied().unwrap_or(0).to_string();
            let counts = [Class::Same, Class::Expected, Class::SideEffect, Class::Changed, Class::Error].map(of);
            [vec![object.object.clone(), object.records.to_string(), object.missing.to_string()], counts.into()]
                .concat()
        });
        let header = ["object", "records", "gone", "same", "as the rule", "platform", "changed", "wrong"];
        let mut text = format!("run {}\n\n{}", found.run, table(&header, 1, sums));
        let telling = |record: &&diff::RecordDiff| {
            !record.there || record.fields.iter().any(|field| self.all || field.class != Class::Same)
        };
        let mut telling: Vec<&diff::RecordDiff> = found.records.iter().filter(telling).collect();
        // What is wrong comes first.
        telling.sort_by_key(|record| {
            std::cmp::Reverse((!record.there, record.fields.iter().map(|field| field.class).max()))
        });
        for record in telling.iter().take(self.show) {
            let gone = if record.there { "" } else { ": not there any more" };
            text.push_str(&format!("\n\n{} → {} {}{gone}\n", record.source, record.object, record.id));
            let fields = record.fields.iter().filter(|field| self.all || field.class != Class::Same);
            let rows = fields.map(|field| {
                let source: Vec<String> =
                    field.source.iter().map(|(name, value)| format!("{name}: {}", short(value))).collect();
                vec![
                    field.field.clone(),
                    source.join(", "),
                    field.decisions.join("; "),
                    short(&field.intended),
                    if field.class <= Class::Expected { "the same".to_owned() } else { short(&field.now) },
                    serde_json::to_value(field.class)
                        .ok()
                        .and_then(|v| v.as_str().map(str::to_owned))
                        .unwrap_or_default(),
                ]
            });
            text.push_str(&table(&["field", "source", "decided", "meant", "now", ""], 6, rows));
        }
        if telling.len() > self.show {
            text.push_str(&format!(
                "\n\n… and {} more records (--show, --json, --html FILE)",
                telling.len() - self.show
            ));
        }
        if let Some(path) = &self.html {
            text.push_str(&format!("\n\n{}: the whole comparison", path.display()));
        }
        text
    }
}

/// Shortens a value to what fits a line.
fn short(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::Null => "(nothing)".to_owned(),
        serde_json::Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    if text.chars().count() <= 40 { text } else { text.chars().take(39).chain(['…']).collect() }
}
