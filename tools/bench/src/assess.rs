//! `discover` and `assess` on a large generated export, against reading the same bytes with the csv crate alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    Fallible,
    process::{Bench, watch},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Assess {
    /// About how many records the export has
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
}

#[derive(Debug, Serialize)]
struct Figures {
    records: u64,
    csv_mb: f64,
    /// Reading every record of every table with the csv crate, into one record that is used again.
    csv_seconds: f64,
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
    // The first reading warms the page cache for all.
    read(&export)?;
    let (records, bytes, csv) = read(&export)?;
    let step = |step: &str| -> Fallible<(Duration, f64)> {
        let mut command = Command::new(bench.binary());
        command.arg("-C").arg(&project).arg(step).stdout(Stdio::null()).stderr(Stdio::null());
        let began = Instant::now();
        let peak = watch(&mut command)?;
        Ok((began.elapsed(), peak))
    };
    let (discover, discover_peak_mb) = step("discover")?;
    let (assess, assess_peak_mb) = step("assess")?;
    let ratio = |time: Duration| time.as_secs_f64() / csv.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52 bytes")]
    let csv_mb = bytes as f64 / f64::from(1 << 20);
    let figures = Figures {
        records,
        csv_mb,
        csv_seconds: csv.as_secs_f64(),
        discover_seconds: discover.as_secs_f64(),
        discover_peak_mb,
        assess_seconds: assess.as_secs_f64(),
        assess_peak_mb,
        discover_ratio: ratio(discover),
        assess_ratio: ratio(assess),
        ratio: ratio(discover + assess),
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
        return Ok(());
    }
    println!(
        "{} rows in {:.0} MB of tables: the csv crate alone reads them in {:.2} s",
        figures.records, figures.csv_mb, figures.csv_seconds
    );
    for (step, seconds, ratio, peak) in [
        ("discover", figures.discover_seconds, figures.discover_ratio, figures.discover_peak_mb),
        ("assess", figures.assess_seconds, figures.assess_ratio, figures.assess_peak_mb),
    ] {
        println!("{step}: {seconds:.2} s ({ratio:.1} times as long), peak memory {peak:.0} MB");
    }
    println!("both: {:.1} times as long", figures.ratio);
    Ok(())
}

/// Reads every table; returns its rows and bytes and how long that took.
pub(crate) fn read(dir: &Path) -> Fallible<(u64, u64, Duration)> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in [dir.to_owned(), dir.join("objects")] {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "csv") {
                files.push(path);
            }
        }
    }
    let began = Instant::now();
    let (mut rows, mut bytes) = (0, 0);
    let mut record = csv::ByteRecord::new();
    for file in files {
        bytes += fs::metadata(&file)?.len();
        let mut reader = csv::Reader::from_path(file)?;
        while reader.read_byte_record(&mut record)? {
            rows += 1;
        }
    }
    Ok((rows, bytes, began.elapsed()))
}
