//! A `delta` that finds nothing changed, against reading the same bytes with the csv crate alone.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    Fallible,
    assess::read,
    process::{Bench, watch},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Delta {
    /// How many companies and contacts the export has
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
}

#[derive(Debug, Serialize)]
struct Figures {
    records: u64,
    csv_mb: f64,
    /// Reading every record of every table with the csv crate, into one record that is used again: the fastest of three.
    csv_seconds: f64,
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
    let step = |args: &[&str]| -> Fallible<(Duration, f64)> {
        let mut command = Command::new(bench.binary());
        command.arg("-C").arg(&project).args(args).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let peak = watch(&mut command)?;
        Ok((began.elapsed(), peak))
    };
    step(&["plan"])?;
    step(&["schema", "apply"])?;
    step(&["approve", "--by", "Bench"])?;
    let (load, _) = step(&["run"])?;
    let mut csv = Duration::MAX;
    let (mut rows, mut bytes) = (0, 0);
    for _ in 0..3 {
        let (all, size, took) = read(&export)?;
        (rows, bytes, csv) = (all, size, csv.min(took));
    }
    let (first, peak) = step(&["delta"])?;
    let (second, again) = step(&["delta"])?;
    let ratio = |time: Duration| time.as_secs_f64() / csv.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52 bytes")]
    let csv_mb = bytes as f64 / f64::from(1 << 20);
    let figures = Figures {
        records: rows,
        csv_mb,
        csv_seconds: csv.as_secs_f64(),
        run_seconds: load.as_secs_f64(),
        first_seconds: first.as_secs_f64(),
        second_seconds: second.as_secs_f64(),
        peak_mb: peak.max(again),
        first_ratio: ratio(first),
        second_ratio: ratio(second),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
        return Ok(());
    }
    println!(
        "{} rows in {:.0} MB of tables: the csv crate alone reads them in {:.2} s; landed in {:.0} s",
        figures.records, figures.csv_mb, figures.csv_seconds, figures.run_seconds
    );
    for (which, seconds, ratio) in [
        ("first", figures.first_seconds, figures.first_ratio),
        ("second", figures.second_seconds, figures.second_ratio),
    ] {
        println!("{which} delta, nothing changed: {seconds:.2} s ({ratio:.1} times as long)");
    }
    println!("peak memory {:.0} MB", figures.peak_mb);
    Ok(())
}
