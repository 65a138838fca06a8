//! Whole migrations in one process, seed after seed: how many broke a law, and which deliberate mistakes are noticed.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use serde::Serialize;
use waybill_engine::flaws::{Flaw, Mutant, Sound};
use waybill_simulator::{Destination, Told, Violation, simulate_to};

use crate::Fallible;

#[derive(Debug, clap::Args)]
pub(crate) struct Simulate {
    /// Where the records go: `salesforce` or `twenty`
    #[arg(long, default_value = "salesforce", value_parser = destination)]
    to: Destination,
    /// How many seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Let the engine make this mistake, or each in its turn with `all`: the first seed that notices it is told
    #[arg(long)]
    flaw: Option<String>,
    /// Tell everything that happened until a law was broken
    #[arg(long)]
    tell: bool,
}

fn destination(name: &str) -> Result<Destination, String> {
    Destination::named(name).ok_or_else(|| format!("`{name}` is no destination of the simulator"))
}

#[derive(Debug, Default, Serialize)]
struct Figures {
    to: &'static str,
    seeds: u64,
    from: u64,
    seconds: f64,
    requests: u64,
    broken_off: u64,
    acts: usize,
    violations: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Caught {
    flaw: String,
    seed: Option<u64>,
    what: Option<String>,
}

#[expect(clippy::print_stdout, reason = "figures are what this prints")]
pub(crate) fn run(what: &Simulate, json: bool) -> Fallible<()> {
    if let Some(name) = &what.flaw {
        let wanted: Vec<Flaw> =
            Flaw::ALL.into_iter().filter(|flaw| name == "all" || format!("{flaw:?}") == *name).collect();
        if wanted.is_empty() {
            let known = Flaw::ALL.map(|flaw| format!("{flaw:?}")).join(", ");
            return Err(format!("`{name}` is no mistake; these are: {known}").into());
        }
        let mut caught = Vec::new();
        for flaw in wanted {
            let first = first_of(what, |seed| simulate_to(what.to, seed, Mutant(flaw)));
            if let (true, false, Some(first)) = (what.tell, json, &first) {
                println!("{}", first.story.join("\n"));
            }
            let line = Caught {
                flaw: format!("{flaw:?}"),
                seed: first.as_ref().map(|violation| violation.seed),
                what: first.map(|violation| violation.what),
            };
            if !json {
                match (&line.seed, &line.what) {
                    (Some(seed), Some(what)) => println!("{:<24} seed {seed:>5}  {what}", line.flaw),
                    _ => println!("{:<24} not noticed within {} seeds", line.flaw, what.seeds),
                }
            }
            caught.push(line);
        }
        if json {
            println!("{}", serde_json::to_string_pretty(&caught)?);
        }
        let missed = caught.iter().filter(|caught| caught.seed.is_none()).count();
        return if missed == 0 { Ok(()) } else { Err(format!("{missed} mistakes were not noticed").into()) };
    }
    let began = Instant::now();
    let figures = Mutex::new(Figures { to: what.to.name(), seeds: what.seeds, from: what.from, ..Figures::default() });
    each(what, |seed| {
        let told = simulate_to(what.to, seed, Sound);
        let mut figures = figures.lock().unwrap_or_else(PoisonError::into_inner);
        match told {
            Ok(told) => {
                figures.requests += told.requests;
                figures.broken_off += told.broken_off;
                figures.acts += told.acts;
            }
            Err(violation) => {
                if !json {
                    println!("{violation}");
                    if what.tell {
                        println!("{}", violation.story.join("\n"));
                    }
                }
                figures.violations.push(violation.to_string());
            }
        }
        true
    });
    let mut figures = figures.into_inner().unwrap_or_else(PoisonError::into_inner);
    figures.seconds = began.elapsed().as_secs_f64();
    if json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        println!(
            "{}: {} seeds from {}: {} requests, {} times broken off, {} acts of people, {:.0} s; {} broke a law",
            figures.to,
            figures.seeds,
            figures.from,
            figures.requests,
            figures.broken_off,
            figures.acts,
            figures.seconds,
            figures.violations.len()
        );
    }
    if figures.violations.is_empty() { Ok(()) } else { Err("a law was broken".into()) }
}

/// Goes through the seeds on every core; ends early when `work` says so.
fn each(what: &Simulate, work: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(what.from);
    let end = what.from + what.seeds;
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || !work(seed) {
                        // The others stop after the seed that they are at.
                        next.store(end, Ordering::Relaxed);
                        return;
                    }
                }
            });
        }
    });
}

/// Returns the violation of the lowest seed that was seen to have one.
fn first_of(what: &Simulate, tell: impl Fn(u64) -> Result<Told, Violation> + Sync) -> Option<Violation> {
    let found: Mutex<BTreeMap<u64, Violation>> = Mutex::default();
    each(what, |seed| match tell(seed) {
        Ok(_) => true,
        Err(violation) => {
            found.lock().unwrap_or_else(PoisonError::into_inner).insert(seed, violation);
            false
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().next()
}
