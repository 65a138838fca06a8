//! `discover` and `assess` on a large generated export, against reading the same bytes with the csv crate alone.

use std::process::Command;

use serde::Serialize;

use crate::{Fallible, alone::Alone, process::Bench};

#[derive(Debug, clap::Args)]
pub(crate) struct Assess {
    /// About how many records the export has
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
}

#[derive(Debug, Serialize)]
struct Figures {
    #[serde(flatten)]
    alone: Alone,
    discover_seconds: f64,
    discover_peak_mb: f64,
    assess_seconds: f64,
    assess_peak_mb: f64,
    discover_ratio: f64,
    assess_ratio: f64,
    /// Of both together to the csv crate.
    ratio: f64,
}

#[expect(clippy::print_stdout, reason = "figures are what this prints")]
pub(crate) fn run(bench: &Bench, what: &Assess, json: bool) -> Fallible<()> {
    let dir = tempfile::tempdir()?;
    let (export, project) = (dir.path().join("export"), dir.path().join("project"));
    let size = what.records.to_string();
    Bench::ends_well(Command::new(bench.binary()).arg("generate").arg(&export).args(["--size", &size]))?;
    Bench::ends_well(
        Command::new(bench.binary())
            .args(["init", "--from", "spark", "--to", "salesforce", "--url", "http://127.0.0.1:9", "--bundle"])
            .arg(&export)
            .arg(&project),
    )?;
    let alone = Alone::read(&export)?;
    let (discover, discover_peak_mb) = bench.step(&project, &["discover"])?;
    let (assess, assess_peak_mb) = bench.step(&project, &["assess"])?;
    let figures = Figures {
        alone,
        discover_seconds: discover.as_secs_f64(),
        discover_peak_mb,
        assess_seconds: assess.as_secs_f64(),
        assess_peak_mb,
        discover_ratio: alone.ratio(discover),
        assess_ratio: alone.ratio(assess),
        ratio: alone.ratio(discover + assess),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
        return Ok(());
    }
    println!("{}", alone.words());
    for (step, seconds, ratio, peak) in [
        ("discover", figures.discover_seconds, figures.discover_ratio, figures.discover_peak_mb),
        ("assess", figures.assess_seconds, figures.assess_ratio, figures.assess_peak_mb),
    ] {
        println!("{step}: {seconds:.2} s ({ratio:.1} times as long), peak memory {peak:.0} MB");
    }
    println!("both: {:.1} times as long", figures.ratio);
    Ok(())
}
