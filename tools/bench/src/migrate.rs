//! A migration, against a loader without memory: records a second to the last confirmation, to the end of the read-back, and on
//! the way back.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    Fallible,
    loader::{Jsforce, Rows},
    per_second,
    process::{Bench, Sandbox},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Migrate {
    /// Companies
    #[arg(long, default_value_t = 20_000)]
    companies: u64,
    /// Contacts
    #[arg(long, default_value_t = 100_000)]
    contacts: u64,
    /// Where the modules of Node.js are, jsforce among them
    #[arg(long, default_value = "target/clients/node_modules")]
    modules: PathBuf,
}

#[derive(Debug, Serialize)]
struct Figures {
    records: u64,
    plan_seconds: f64,
    approve_seconds: f64,
    /// From the start of `run` to the last company or contact that was confirmed.
    confirmed_seconds: f64,
    /// From the start of `run` to the last company or contact that was read back.
    read_back_seconds: f64,
    run_seconds: f64,
    rollback_seconds: f64,
    /// Records a second to the last confirmation.
    records_per_second: f64,
    jsforce_records_per_second: f64,
    jsforce_prepared_records_per_second: f64,
    /// Over jsforce that reads the same export.
    load_ratio: f64,
    read_back_ratio: f64,
    /// Over jsforce that uploads files which have the destination's columns already.
    load_over_prepared_ratio: f64,
    read_back_over_prepared_ratio: f64,
    /// Of the whole `rollback` over the whole `run`.
    rollback_ratio: f64,
    peak_mb: f64,
}

#[expect(clippy::print_stdout, reason = "figures are what this prints")]
pub(crate) fn run(bench: &Bench, what: &Migrate, json: bool) -> Fallible<()> {
    let jsforce = Jsforce::find(&what.modules)?;
    let dir = tempfile::tempdir()?;
    let export = bench.generate(dir.path(), what.companies, what.contacts)?;
    jsforce.prepare(&export)?;

    let org = bench.sandbox(&["salesforce", "--limits", "off"])?;
    let project = dir.path().join("project");
    bench.project(&project, "salesforce", &export, &org)?;
    let mut peak = 0_f64;
    let mut step = |args: &[&str]| -> Fallible<f64> {
        let (took, mb) = bench.step(&project, args)?;
        peak = peak.max(mb);
        Ok(took.as_secs_f64())
    };
    let plan_seconds = step(&["plan"])?;
    step(&["schema", "apply"])?;
    let approve_seconds = step(&["approve", "--by", "Bench"])?;
    let began = SystemTime::now();
    let run_seconds = step(&["run"])?;
    let (confirmed, read_back) = moments(bench, &project, began)?;
    let rollback_seconds = step(&["rollback"])?;
    drop(org);

    let alone = |rows| jsforce.load(&fields_only(bench, dir.path())?, &export, rows);
    let (same, prepared) = (alone(Rows::Export)?.per_second(), alone(Rows::Prepared)?.per_second());
    let records = what.companies + what.contacts;
    let (to_confirmed, to_read_back) = (per_second(records, confirmed), per_second(records, read_back));
    let figures = Figures {
        records,
        plan_seconds,
        approve_seconds,
        confirmed_seconds: confirmed.as_secs_f64(),
        read_back_seconds: read_back.as_secs_f64(),
        run_seconds,
        rollback_seconds,
        records_per_second: to_confirmed,
        jsforce_records_per_second: same,
        jsforce_prepared_records_per_second: prepared,
        load_ratio: to_confirmed / same,
        read_back_ratio: to_read_back / same,
        load_over_prepared_ratio: to_confirmed / prepared,
        read_back_over_prepared_ratio: to_read_back / prepared,
        rollback_ratio: run_seconds / rollback_seconds,
        peak_mb: peak,
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
        return Ok(());
    }
    let Figures { load_ratio, read_back_ratio, load_over_prepared_ratio, read_back_over_prepared_ratio, .. } = figures;
    println!("{records} records: plan {plan_seconds:.1} s, approve {approve_seconds:.1} s, run {run_seconds:.1} s");
    println!(
        "to the last confirmation {:.2} s, {to_confirmed:.0} a second; to the end of the read-back {:.2} s",
        figures.confirmed_seconds, figures.read_back_seconds
    );
    println!(
        "jsforce out of the same export {same:.0} a second: ratio {load_ratio:.2}, read back {read_back_ratio:.2}"
    );
    println!(
        "jsforce out of prepared files {prepared:.0} a second: ratio {load_over_prepared_ratio:.2}, read back {read_back_over_prepared_ratio:.2}"
    );
    println!("rollback {rollback_seconds:.1} s: ratio {:.2} to the run", figures.rollback_ratio);
    println!("peak memory {:.0} MB", figures.peak_mb);
    Ok(())
}

/// Returns how long after `began` the last company or contact was confirmed, and the last one read back.
fn moments(bench: &Bench, project: &Path, began: SystemTime) -> Fallible<(Duration, Duration)> {
    let mut log = Command::new(bench.binary())
        .arg("-C")
        .arg(project)
        .args(["audit", "log", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let began = DateTime::<Utc>::from(began);
    let (mut confirmed, mut read_back) = (Duration::ZERO, Duration::ZERO);
    for line in BufReader::new(log.stdout.take().ok_or("the log has no output")?).lines() {
        let line = line?;
        let last = match () {
            () if line.contains(r#""event":"WriteConfirmed""#) => &mut confirmed,
            () if line.contains(r#""event":"AfterImageTaken""#) => &mut read_back,
            () => continue,
        };
        let event: serde_json::Value = serde_json::from_str(&line)?;
        if matches!(event["rule"].as_str(), Some("account" | "contact")) {
            let at: DateTime<Utc> = event["time"].as_str().unwrap_or_default().parse()?;
            *last = (*last).max((at - began).to_std().unwrap_or_default());
        }
    }
    if !log.wait()?.success() || read_back.is_zero() {
        return Err("the log tells of no company or contact that was written and read back".into());
    }
    Ok((confirmed, read_back))
}

/// Starts a sandbox that has the fields of the plan and no records of ours.
fn fields_only(bench: &Bench, dir: &Path) -> Fallible<Sandbox> {
    let org = bench.sandbox(&["salesforce", "--limits", "off"])?;
    let small = tempfile::tempdir_in(dir)?;
    let export = bench.generate(small.path(), 10, 10)?;
    let project = small.path().join("project");
    bench.project(&project, "salesforce", &export, &org)?;
    bench.step(&project, &["plan"])?;
    bench.step(&project, &["schema", "apply"])?;
    Ok(org)
}
