use waybill_engine::{
    failure::Failure,
    reconcile::{self, Reconciled, Report, Tolerance},
};

use super::{close, open, stop_on_signal};
use crate::{Context, exit::Exit, output::table};

/// Read the destination back and compare every mapped field
#[derive(Debug, clap::Args)]
pub(crate) struct ReconcileArgs {
    /// How much may be wrong, missing or extra before this fails
    #[arg(long, value_name = "PERCENT", default_value = "0.5%", value_parser = percent)]
    threshold: Tolerance,
    /// Show so many rows picked at random, field by field
    #[arg(long, value_name = "N", default_value_t = 0)]
    spot: usize,
}

/// Reads a percentage.
pub(super) fn percent(text: &str) -> Result<Tolerance, String> {
    let number: f64 = text.trim_end_matches('%').trim().parse().map_err(|_| "a percentage, such as 0.5%".to_owned())?;
    if !(0.0..=100.0).contains(&number) {
        return Err("a percentage from 0 to 100".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1000000")]
    Ok(Tolerance((number * 10_000.0).round() as u64))
}

impl ReconcileArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let stop = stop_on_signal(context);
        let (mut session, bars) = open(context).await?;
        let done = reconcile::reconcile(&mut session, self.spot, &stop).await;
        let report = close(session, &bars, done).await?;
        context.output.document(&report, || human(&report))?;
        Ok(if Tolerance(report.off) > self.threshold { Exit::Stopped } else { Exit::Done })
    }
}

/// Words what was found, object by object.
pub(super) fn counted<'r>(objects: impl IntoIterator<Item = &'r Reconciled>) -> String {
    let rows = objects.into_iter().map(|object| {
        let counts = &object.counts;
        let numbers = [
            object.expected_rows,
            counts.matched + counts.expected,
            counts.side_effect,
            counts.drift,
            counts.missing,
            counts.extra,
            counts.wrong,
        ];
        std::iter::once(object.object.clone()).chain(numbers.map(|n| n.to_string())).collect()
    });
    table(&["object", "ours", "equal", "platform", "drift", "missing", "extra", "wrong"], 1, rows)
}

fn human(report: &Report) -> String {
    let mut text = counted(&report.objects);
    let forgotten: u64 = report.objects.iter().map(|object| object.forgotten).sum();
    if forgotten > 0 {
        text.push_str(&format!("\n\n{forgotten} rows are of forgotten records: nobody can compare them"));
    }
    if !report.findings.is_empty() {
        let lines = report.findings.iter().map(|line| {
            let class = serde_json::to_value(line.class).ok().and_then(|value| value.as_str().map(str::to_owned));
            vec![
                class.unwrap_or_default(),
                line.object.clone(),
                line.id.clone(),
                line.field.clone().unwrap_or_else(|| "-".into()),
            ]
        });
        text.push_str(&format!("\n\nfindings\n{}", table(&["class", "object", "id", "field"], 4, lines)));
    }
    for spot in &report.spots {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(nothing)".to_owned());
        let rows = spot.fields.iter().map(|(name, meant, now)| vec![name.clone(), shown(meant), shown(now)]);
        let table = table(&["field", "meant", "there now"], 3, rows);
        text.push_str(&format!("\n\n{} {} from {}\n{table}", spot.object, spot.id, spot.source));
    }
    text.push_str(&format!("\n\nevery finding: {}\nas a page: {}", report.table.display(), report.page.display()));
    if report.held > 0 {
        text.push_str(&format!("\n\n{} records of the source wait for a person: `waybill holds list`", report.held));
    }
    text
}
