//! How close a migration comes to what a server with a rate limit allows: Twenty, which takes a hundred requests a minute.
//!
//! Two ratios of one run. Its time, over the least in which the server can take as many requests: the bucket is full when it
//! begins, and gives a token every 600 milliseconds after that. Its requests, over the least that could have done the same:
//! each object's new rows divided by the rows of a batch. The rest are questions: what is there, who has a value that is allowed
//! once, how many arrived.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    Fallible,
    process::{Bench, Sandbox, watch},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Pace {
    /// Companies
    #[arg(long, default_value_t = 2_000)]
    companies: u64,
    /// Contacts
    #[arg(long, default_value_t = 10_000)]
    contacts: u64,
}

/// The server's own limit, and the rows of a batch that every version of it takes.
const BURST: u64 = 100;
const TOKEN: Duration = Duration::from_millis(600);
const ROWS: u64 = 60;

#[derive(Debug, Serialize)]
struct Figures {
    records: u64,
    rows: u64,
    changed: u64,
    requests: u64,
    refused: u64,
    least_requests: u64,
    requests_ratio: f64,
    seconds: f64,
    least_seconds: f64,
    time_ratio: f64,
    peak_mb: f64,
}

#[expect(clippy::print_stdout, reason = "figures are what this prints")]
pub(crate) fn run(bench: &Bench, what: &Pace, json: bool) -> Fallible<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir()?;
    let export = bench.generate(dir.path(), what.companies, what.contacts)?;
    let server = bench.sandbox(&["twenty"])?;
    // The prefilled workflow answers to people who are added; preflight asks to switch it off.
    let off = serde_json::json!({ "workflow": false });
    reqwest::blocking::Client::new().post(format!("{}/__sandbox/switches", server.url)).body(off.to_string()).send()?;
    let project = dir.path().join("project");
    bench.project(&project, "twenty", &export, &server)?;
    let step = |args: &[&str]| -> Fallible<(Duration, f64, Json)> {
        let out = dir.path().join("out.json");
        let began = Instant::now();
        let mut command = Command::new(bench.binary());
        command.arg("-C").arg(&project).arg("--json").args(args).stdout(fs::File::create(&out)?).stderr(Stdio::null());
        let peak = watch(&mut command)?;
        let told = fs::read_to_string(&out)?;
        Ok((began.elapsed(), peak, serde_json::from_str(&told).unwrap_or(Json::Null)))
    };
    step(&["schema", "apply"])?;
    step(&["approve", "--by", "Bench"])?;
    // What came before took from the bucket, too: it fills up again.
    std::thread::sleep(TOKEN * u32::try_from(BURST)? + Duration::from_secs(1));
    let before = counted(&server)?;
    let (took, peak_mb, told) = step(&["run"])?;
    let after = counted(&server)?;
    let of = |what: &str| -> Vec<u64> {
        told["phases"].as_array().into_iter().flatten().filter_map(|phase| phase[what].as_u64()).collect()
    };
    let (created, changed) = (of("created"), of("updated").iter().sum::<u64>());
    let requests = after.0 - before.0;
    let least_requests: u64 = created.iter().map(|rows| rows.div_ceil(ROWS)).sum();
    let least = TOKEN * u32::try_from(requests.saturating_sub(BURST))?;
    let figures = Figures {
        records: what.companies + what.contacts,
        rows: created.iter().sum(),
        changed,
        requests,
        refused: after.1 - before.1,
        least_requests,
        requests_ratio: ratio(requests, least_requests),
        seconds: took.as_secs_f64(),
        least_seconds: least.as_secs_f64(),
        time_ratio: took.as_secs_f64() / least.as_secs_f64().max(1e-9),
        peak_mb,
    };
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
        return Ok(());
    }
    println!(
        "{} records, {} rows, {} of them changed once more: {:.1} s, the limit allows {:.1} s for as many requests; ratio {:.3}",
        figures.records, figures.rows, figures.changed, figures.seconds, figures.least_seconds, figures.time_ratio
    );
    println!(
        "{} requests ({} more refused), {} at the least; ratio {:.3}; peak memory {:.0} MB",
        figures.requests, figures.refused, figures.least_requests, figures.requests_ratio, figures.peak_mb
    );
    Ok(())
}

/// Returns how many record operations the limit let pass, and how many it refused.
fn counted(server: &Sandbox) -> Fallible<(u64, u64)> {
    let text = reqwest::blocking::get(format!("{}/__sandbox/requests", server.url))?.text()?;
    let counts: Json = serde_json::from_str(&text)?;
    let count = |name: &str| counts[name].as_u64().ok_or("the sandbox does not count");
    Ok((count("taken")?, count("refused")?))
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / (other as f64).max(1.0)
}
