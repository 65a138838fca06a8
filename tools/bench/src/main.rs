//! What we measure: always as a ratio between two things in one run, on the same data.
//!
//! `migrate` moves a generated company through the real binary into a sandbox of its own and back, and holds it against
//! jsforce, which has no memory, loading the same companies and contacts. `memory` holds the peak memory of two sizes against each
//! other. `delta` holds a delta that finds nothing changed against reading the export's bytes. `assess` holds taking stock of a large export against reading its bytes; `duplicates` tells how many known
//! duplicates are found; `mapping` holds proposals against known mappings. `ledger` holds the ledger against stores that
//! people know; `pace` holds a migration against what a rate limit allows. The sandbox is another process and counts for neither.

mod alone;
mod assess;
mod delta;
mod duplicates;
mod ledger;
mod loader;
mod mapping;
mod migrate;
mod pace;
mod process;
mod simulate;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use serde::Serialize;

use process::{Bench, Trip};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Debug, Parser)]
#[command(name = "waybill-bench", version, about = "Measures Waybill, as ratios within one run")]
struct Cli {
    /// The binary to measure; without it, the one beside this one
    #[arg(long, global = true)]
    binary: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Records a second, there and back, against jsforce
    Migrate(migrate::Migrate),
    /// Peak memory at one size against that at twice the size
    Memory {
        /// Records at the smaller size
        #[arg(long, default_value_t = 500_000)]
        records: u64,
    },
    /// How close a migration to Twenty comes to what its rate limit allows, in time and in requests
    Pace(pace::Pace),
    /// A delta that finds nothing changed, against reading the same bytes with the csv crate alone
    Delta(delta::Delta),
    /// How long the demo takes
    Demo,
    /// Taking stock of and assessing a generated export, against reading the same bytes with the csv crate alone
    Assess(assess::Assess),
    /// Precision and recall of finding duplicates, on labelled data
    Duplicates(duplicates::Duplicates),
    /// The ledger against stores that people know, in speed and size
    Ledger(ledger::Ledger),
    /// What `waybill plan` proposes, against mappings that are known
    Mapping(mapping::Mapping),
    /// Whole migrations in one process under faults, seed after seed; every law is checked after each
    Simulate(simulate::Simulate),
    /// One part of `ledger`, in a process of its own
    #[command(hide = true)]
    Part(ledger::One),
}

#[derive(Debug, Serialize)]
struct MemoryFigures {
    smaller: Trip,
    larger: Trip,
    growth_mb: f64,
}

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            #[expect(clippy::print_stderr, reason = "a tool of our own, with one thing to say")]
            {
                eprintln!("error: {e}");
            }
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "figures are what this prints")]
fn run(cli: &Cli) -> Fallible<()> {
    match &cli.what {
        What::Ledger(what) => return ledger::run(what),
        What::Part(one) => return ledger::one(one),
        What::Mapping(what) => return mapping::run(what, cli.json),
        What::Duplicates(what) => return duplicates::run(what, cli.json),
        What::Simulate(what) => return simulate::run(what, cli.json),
        _ => {}
    }
    let bench = Bench::new(cli.binary.clone())?;
    match cli.what {
        What::Ledger(_) | What::Part(_) | What::Mapping(_) | What::Duplicates(_) | What::Simulate(_) => {}
        What::Pace(ref what) => return pace::run(&bench, what, cli.json),
        What::Delta(ref what) => return delta::run(&bench, what, cli.json),
        What::Assess(ref what) => return assess::run(&bench, what, cli.json),
        What::Migrate(ref what) => return migrate::run(&bench, what, cli.json),
        What::Memory { records } => {
            let smaller = bench.trip(records / 6, records - records / 6, true)?;
            let larger = bench.trip(records / 3, 2 * records - records / 3, true)?;
            let figures = MemoryFigures { growth_mb: larger.peak_mb - smaller.peak_mb, smaller, larger };
            if cli.json {
                println!("{}", serde_json::to_string_pretty(&figures)?);
                return Ok(());
            }
            for trip in [&figures.smaller, &figures.larger] {
                println!(
                    "{} records: peak {:.0} MB (run {:.0} s, reconcile {:.0} s, rollback {:.0} s), ledger {:.0} MB",
                    trip.records,
                    trip.peak_mb,
                    trip.run.as_secs_f64(),
                    trip.reconcile.as_secs_f64(),
                    trip.rollback.as_secs_f64(),
                    trip.ledger_mb
                );
            }
            println!("growth {:.1} MB", figures.growth_mb);
        }
        What::Demo => {
            let took = bench.demo()?;
            println!("demo {:.1} s", took.as_secs_f64());
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of records are far below 2^52")]
fn per_second(records: u64, time: Duration) -> f64 {
    records as f64 / time.as_secs_f64().max(1e-9)
}
