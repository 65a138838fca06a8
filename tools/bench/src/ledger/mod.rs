//! The ledger, held against what people know: the same history, in one run, each part in a process of its own.

#![expect(clippy::cast_precision_loss, reason = "figures are ratios of three digits")]

mod data;
mod parts;
mod rivals;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use clap::{Args, ValueEnum};
use parts::Figures;

use crate::Fallible;

/// The shape of the history.
#[derive(Debug, Clone, Args)]
pub(crate) struct Shape {
    /// Events; of each four, two have a content of 300 to 1,500 bytes
    #[arg(long, default_value_t = 2_000_000)]
    pub(crate) events: u64,
    /// Events that are committed together
    #[arg(long, default_value_t = 1_024)]
    pub(crate) batch: usize,
    /// Events at which a block is sealed
    #[arg(long, default_value_t = 1_024)]
    pub(crate) block_events: u32,
    /// Bytes of sealed contents at which a block is sealed
    #[arg(long, default_value_t = 256 << 10)]
    pub(crate) block_bytes: usize,
}

/// One measured thing, in a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    Append,
    Raw,
    Replay,
    Verify,
    Hash,
    History,
    HistoryCold,
    Sqlite,
    SqliteIndexed,
    SqliteReplay,
    Redb,
    Fjall,
    Postgres,
}

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Ledger {
    #[command(flatten)]
    shape: Shape,
    /// Events of the large ledger, for histories and memory; 0 leaves it out
    #[arg(long, default_value_t = 10_000_000)]
    large: u64,
    /// Try block sizes against each other instead
    #[arg(long)]
    sweep: bool,
    /// Leave out PostgreSQL, redb and fjall
    #[arg(long)]
    few: bool,
}

/// One part, for this program's own use.
#[derive(Debug, Clone, Args)]
pub(crate) struct One {
    #[arg(value_enum)]
    part: Part,
    #[command(flatten)]
    shape: Shape,
    /// The directory of the ledger or of the rival
    #[arg(long)]
    dir: PathBuf,
    /// Where a rival puts the ledger's own blocks
    #[arg(long)]
    other: Option<PathBuf>,
}

/// Runs one part and prints what it found.
#[expect(clippy::print_stdout, reason = "the caller reads it")]
pub(crate) fn one(one: &One) -> Fallible<()> {
    let One { part, shape, dir, other } = one;
    let other = other.as_deref().unwrap_or(dir);
    let figures = match part {
        Part::Append => parts::append(dir, shape)?,
        Part::Raw => parts::raw(dir, other)?,
        Part::Replay => parts::replay(dir)?,
        Part::Verify => parts::verified(dir)?,
        Part::Hash => parts::hashed(shape)?,
        Part::History => parts::history(dir, shape, false)?,
        Part::HistoryCold => parts::history(dir, shape, true)?,
        Part::Sqlite => rivals::sqlite(dir, shape, false)?,
        Part::SqliteIndexed => rivals::sqlite(dir, shape, true)?,
        Part::SqliteReplay => rivals::sqlite_replay(dir)?,
        Part::Redb => rivals::redb(dir, other)?,
        Part::Fjall => rivals::fjall(dir, other)?,
        Part::Postgres => rivals::postgres(dir, shape)?,
    };
    println!("{}", serde_json::to_string(&Figures { peak_mb: parts::peak_mb(), ..figures })?);
    Ok(())
}

/// Runs parts, each in a process of its own.
struct Runner {
    place: tempfile::TempDir,
}

impl Runner {
    fn dir(&self, name: &str) -> Fallible<PathBuf> {
        let dir = self.place.path().join(name);
        std::fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    fn run(part: Part, shape: &Shape, dir: &Path, other: Option<&Path>) -> Fallible<Figures> {
        let name = part.to_possible_value().ok_or("a part has a name")?.get_name().to_owned();
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["part", &name, "--events", &shape.events.to_string(), "--batch", &shape.batch.to_string()]);
        command.args(["--block-events", &shape.block_events.to_string()]);
        command.args(["--block-bytes", &shape.block_bytes.to_string()]);
        command.arg("--dir").arg(dir);
        if let Some(other) = other {
            command.arg("--other").arg(other);
        }
        let output = command.stderr(std::process::Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("{name} ended with {}", output.status).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    fn append(&self, name: &str, shape: &Shape) -> Fallible<(PathBuf, Figures)> {
        let dir = self.dir(name)?;
        let figures = Self::run(Part::Append, shape, &dir, None)?;
        Ok((dir, figures))
    }
}

#[expect(clippy::print_stdout, reason = "figures are what this prints")]
fn line(what: &str, found: &str, bar: &str) {
    println!("{what:<66} {found:>24}   {bar}");
}

/// Measures.
pub(crate) fn run(what: &Ledger) -> Fallible<()> {
    let runner = Runner { place: tempfile::tempdir()? };
    if what.sweep {
        return sweep(&runner, &what.shape);
    }
    let shape = &what.shape;
    let rate = |figures: &Figures| shape.events as f64 / figures.seconds;
    line("", "measured", "bar");
    let (dir, own) = runner.append("own", shape)?;
    line("durable append, events a second", &format!("{:.0}", rate(&own)), "");
    line("  bytes on disk over bytes of contents", &ratio(own.disk as f64, own.payload as f64), "at most 0.75");
    line("  share of the time spent on the index", &format!("{:.1} %", own.other / own.seconds * 100.0), "at most 5 %");
    line("  peak memory", &format!("{:.0} MB", own.peak_mb), "");

    let rival = runner.dir("indexed")?;
    let indexed = Runner::run(Part::SqliteIndexed, shape, &rival, None)?;
    line("durable append over SQLite with an index on the subject", &ratio(indexed.seconds, own.seconds), "at least 3");
    line("  SQLite: bytes on disk over bytes of contents", &ratio(indexed.disk as f64, indexed.payload as f64), "");
    std::fs::remove_dir_all(rival)?;
    let rival = runner.dir("plain")?;
    let plain = Runner::run(Part::Sqlite, shape, &rival, None)?;
    line("durable append over SQLite without an index", &ratio(plain.seconds, own.seconds), "at least 0.6");
    let select = Runner::run(Part::SqliteReplay, shape, &rival, None)?;
    std::fs::remove_dir_all(rival)?;
    let replay = Runner::run(Part::Replay, shape, &dir, None)?;
    if replay.targets != select.targets {
        return Err("the two folds differ".into());
    }
    line("replay into the identity projection over SELECT", &ratio(select.seconds, replay.seconds), "at least 1.5");
    line("  events a second", &format!("{:.0}", replay.count as f64 / replay.seconds), "");

    let other = runner.dir("raw")?;
    let raw = Runner::run(Part::Raw, shape, &dir, Some(&other))?;
    std::fs::remove_dir_all(other)?;
    line("durable append over a raw file of the same bytes", &ratio(raw.seconds, own.seconds), "at least 0.1");
    let hashed = Runner::run(Part::Hash, shape, &dir, None)?;
    let verified = Runner::run(Part::Verify, shape, &dir, None)?;
    line(
        "verify, bytes of contents a second over blake3 alone",
        &ratio(hashed.seconds, verified.seconds),
        "at least 0.2",
    );

    let small = Shape { batch: 200, ..shape.clone() };
    let (small_dir, small) = runner.append("small", &small)?;
    std::fs::remove_dir_all(small_dir)?;
    line("durable append in batches of 200, over batches of 1,024", &ratio(own.seconds, small.seconds), "report");
    if !what.few {
        for (name, part) in [("redb", Part::Redb), ("fjall", Part::Fjall)] {
            let other = runner.dir(name)?;
            let found = Runner::run(part, shape, &dir, Some(&other))?;
            std::fs::remove_dir_all(other)?;
            line(
                &format!("{name} with the same blocks, over a raw file"),
                &ratio(raw.seconds, found.seconds),
                "report",
            );
            line("  its bytes on disk over bytes of contents", &ratio(found.disk as f64, own.payload as f64), "");
        }
        let other = runner.dir("postgres")?;
        match Runner::run(Part::Postgres, shape, &other, None) {
            Ok(found) => {
                line(
                    "durable append over PostgreSQL (COPY, index on the subject)",
                    &ratio(found.seconds, own.seconds),
                    "report",
                );
                line("  its bytes on disk over bytes of contents", &ratio(found.disk as f64, found.payload as f64), "");
            }
            Err(e) => line("PostgreSQL", "not measured", &e.to_string()),
        }
    }
    std::fs::remove_dir_all(dir)?;
    if what.large > 0 {
        large(&runner, &Shape { events: what.large, ..shape.clone() })?;
    }
    Ok(())
}

fn ratio(one: f64, other: f64) -> String {
    format!("{:.2}", one / other)
}

fn large(runner: &Runner, shape: &Shape) -> Fallible<()> {
    let (dir, own) = runner.append("large", shape)?;
    line(&format!("peak memory appending {} events", shape.events), &format!("{:.0} MB", own.peak_mb), "under 400 MB");
    line("  events a second", &format!("{:.0}", shape.events as f64 / own.seconds), "");
    let replay = Runner::run(Part::Replay, shape, &dir, None)?;
    line("peak memory replaying them", &format!("{:.0} MB", replay.peak_mb), "under 500 MB");
    let warm = Runner::run(Part::History, shape, &dir, None)?;
    line("one record's history, in an open process, median", &format!("{:.2} ms", warm.median_ms), "under 5 ms");
    line("  the slowest of them", &format!("{:.2} ms", warm.worst_ms), "");
    line("  opening", &format!("{:.2} s", warm.other), "report");
    let cold = Runner::run(Part::HistoryCold, shape, &dir, None)?;
    line("the same with the page cache dropped, median", &format!("{:.2} ms", cold.median_ms), "under 50 ms");
    Ok(())
}

/// Tries block sizes: append, disk and memory together.
fn sweep(runner: &Runner, shape: &Shape) -> Fallible<()> {
    line("events and KiB of contents at which a block is sealed", "events/s   disk   peak MB", "");
    for (events, bytes) in [
        (256, 64),
        (512, 64),
        (1_024, 64),
        (512, 128),
        (1_024, 128),
        (1_024, 256),
        (2_048, 256),
        (2_048, 512),
        (4_096, 1_024),
    ] {
        // Batches are larger than any block, so that the size alone decides.
        let shape = Shape { block_events: events, block_bytes: bytes << 10, batch: 4_096, ..shape.clone() };
        let (dir, own) = runner.append("sweep", &shape)?;
        std::fs::remove_dir_all(dir)?;
        let rate = shape.events as f64 / own.seconds;
        let disk = own.disk as f64 / own.payload as f64;
        line(&format!("{events} events, {bytes} KiB"), &format!("{rate:.0}   {disk:.3}   {:.0}", own.peak_mb), "");
    }
    Ok(())
}
