//! A `delta` that finds nothing changed, against reading the same bytes with the csv crate alone.

use serde::Serialize;

use crate::{Fallible, alone::Alone, process::Bench};

#[derive(Debug, clap::Args)]
pub(crate) struct Delta {
    /// How many companies and contacts the export has
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
}

#[derive(Debug, Serialize)]
struct Figures {
    #[serde(flatten)]
    alone: Alone,
    run_seconds: f64,
    /// The first delta after the run, and the one after it.
    first_seconds: f64,
    second_seconds: f64,
    peak_mb: f64,
    first_ratio: f64,
    second_ratio: f64,
}

#[expect(clippy::print_stdout, reason = "figures are what this prints")]
pub(crate) fn run(bench: &Bench, what: &Delta, json: bool) -> Fallible<()> {
    let dir = tempfile::tempdir()?;
    let (companies, contacts) = (what.records / 6, what.records - what.records / 6);
    let export = bench.generate(dir.path(), companies, contacts)?;
    let org = bench.sandbox(&["salesforce", "--limits", "off"])?;
    let project = dir.path().join("project");
    bench.project(&project, "salesforce", &export, &org)?;
    let step = |args: &[&str]| bench.step(&project, args);
    step(&["plan"])?;
    step(&["schema", "apply"])?;
    step(&["approve", "--by", "Bench"])?;
    let (load, _) = step(&["run"])?;
    let alone = Alone::read(&export)?;
    let (first, peak) = step(&["delta"])?;
    let (second, again) = step(&["delta"])?;
    let figures = Figures {
        alone,
        run_seconds: load.as_secs_f64(),
        first_seconds: first.as_secs_f64(),
        second_seconds: second.as_secs_f64(),
        peak_mb: peak.max(again),
        first_ratio: alone.ratio(first),
        second_ratio: alone.ratio(second),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
        return Ok(());
    }
    println!("{}; landed in {:.0} s", alone.words(), figures.run_seconds);
    for (which, seconds, ratio) in [
        ("first", figures.first_seconds, figures.first_ratio),
        ("second", figures.second_seconds, figures.second_ratio),
    ] {
        println!("{which} delta, nothing changed: {seconds:.2} s ({ratio:.1} times as long)");
    }
    println!("peak memory {:.0} MB", figures.peak_mb);
    Ok(())
}
