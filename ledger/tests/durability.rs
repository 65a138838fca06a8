//! Kills a real writer while it acknowledges, and looks at what is there afterwards.
//!
//! `WAYBILL_KILLS=200 cargo test -p waybill-ledger --test durability` kills it as often as that.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use waybill_ledger::{
    Content, Event, NameId, Position, SubjectKey,
    ledger::{Depth, Draft, Home, Ledger, OpenError, Opened, Ports, verify},
};

/// Where the child writes; without it, the child's test does nothing.
const CHILD: &str = "WAYBILL_TEST_WRITER";

fn home(dir: &Path) -> Home {
    Home::new(dir.join("ledger"), dir.join("keys"))
}

fn open(home: &Home) -> Result<Ledger, OpenError> {
    match Ledger::open(home, Ports::system()) {
        Err(OpenError::Missing { .. }) => Ledger::create(home, Ports::system()),
        other => other,
    }
}

/// What an event at this position says, so that anyone can tell whether it is whole.
fn text(position: u64) -> String {
    format!("event {position} {}", "x".repeat((position * 37 % 700).try_into().unwrap()))
}

/// The child: appends for ever, and says after each append what is durable. Not a test of its own.
#[test]
fn writer() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let ledger = open(&home(Path::new(&dir))).unwrap();
    let mut out = std::io::stdout();
    let mut size = 1;
    loop {
        let next = ledger.head().end.0;
        size = size * 7 % 2_003;
        let drafts = (next..next + size).map(|position| {
            let subject = ledger.subject(&SubjectKey::new("test", "rows", (position / 3).to_string())).unwrap();
            Draft::new(NameId(0), Event::RecordReleased).subject(subject).content(Content::Text(text(position)))
        });
        let appended = ledger.append(drafts.collect()).wait().unwrap();
        assert_eq!(appended.first, Position(next));
        writeln!(out, "acknowledged {}", next + size).unwrap();
        out.flush().unwrap();
    }
}

fn child(dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "writer", "--nocapture", "--test-threads", "1"]).env(CHILD, dir).stdout(Stdio::piped());
    command
}

/// The last number that the child acknowledged, among what it printed.
fn acknowledged(lines: impl Iterator<Item = String>) -> u64 {
    lines.filter_map(|line| line.split("acknowledged ").nth(1)?.parse().ok()).last().unwrap_or(0)
}

/// Opens a ledger whose process was just killed; its lock may linger.
fn reopen(home: &Home) -> Ledger {
    let began = Instant::now();
    loop {
        match open(home) {
            Ok(ledger) => return ledger,
            Err(OpenError::Held { .. }) if began.elapsed() < Duration::from_secs(10) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => panic!("the ledger cannot be opened after a kill: {e}"),
        }
    }
}

#[test]
fn whatever_was_acknowledged_survives_a_kill_at_any_moment() {
    let kills: u32 = std::env::var("WAYBILL_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    let (mut durable, mut seed, mut opened_before_any) = (0, 0x9e37_79b9_u64, 0);
    for kill in 0..kills {
        // A ledger that grows for ever says nothing new: begin again now and then.
        if kill % 40 == 39 {
            fs::remove_dir_all(&home.log).unwrap();
            fs::remove_dir_all(&home.keys).unwrap();
            durable = 0;
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = Duration::from_micros((seed >> 33) % if kill % 3 == 0 { 40_000 } else { 400_000 });
        let mut child = child(dir.path()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let told = acknowledged(out.lines().map_while(Result::ok));
        child.wait().unwrap();
        opened_before_any += u32::from(told == 0);
        durable = durable.max(told);

        let ledger = reopen(&home);
        let end = ledger.head().end.0;
        assert!(end >= durable, "kill {kill}: {durable} events were acknowledged, {end} are there");
        let mut next = 0;
        for event in ledger.reader().events(Position(0)) {
            let (envelope, opened) = event.unwrap();
            assert_eq!(envelope.position.0, next);
            assert_eq!(opened, Opened::Content(Content::Text(text(next))), "kill {kill}, event {next}");
            next += 1;
        }
        assert_eq!(next, end);
        durable = end;
        drop(ledger);
        let verified = verify(&home, Depth::Contents, None).unwrap();
        assert_eq!(verified.head.end.0, end, "kill {kill}");
    }
    eprintln!(
        "{kills} kills, {opened_before_any} of them before the first acknowledgement; {durable} events at the end"
    );
}

/// A file that was written to, by its path, with what a trace says of it.
fn path_of(call: &str) -> Option<PathBuf> {
    let (_, rest) = call.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    Some(PathBuf::from(path))
}

#[test]
fn an_acknowledgement_follows_a_sync_of_every_file_that_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("skipped: strace is not here, or may not trace");
        return;
    }
    let own = child(dir.path());
    let mut traced = Command::new("strace");
    let calls = "trace=write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync";
    traced.args(["-f", "-y", "-s", "40", "-e", calls, "-o"]).arg(&trace).arg(own.get_program()).args(own.get_args());
    traced.env(CHILD, dir.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = traced.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let acknowledgements = (0..60).filter(|_| lines.next().is_some_and(|line| line.is_ok())).count();
    assert!(acknowledgements >= 50, "only {acknowledgements} lines came");
    process.kill().unwrap();
    process.wait().unwrap();

    // Files of the ledger that were written and not synced since. A snapshot of sled's is rebuilt if it is not whole, and
    // so is the index.
    let mut dirty: BTreeSet<PathBuf> = BTreeSet::new();
    let mut begun: BTreeMap<String, String> = BTreeMap::new();
    let (mut checked, mut synced) = (0, BTreeSet::new());
    let text = fs::read_to_string(&trace).unwrap();
    for (number, line) in text.lines().enumerate() {
        let (process, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        let whole = if let Some(start) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(process.to_owned(), start.to_owned());
            // What is written may be on its way from the moment of the call.
            if start.contains("write") { format!("{start} = 1") } else { continue }
        } else if call.starts_with("<... ") {
            let Some(start) = begun.remove(process) else { continue };
            format!("{start} {call}")
        } else {
            call.to_owned()
        };
        if whole.contains("\"acknowledged ") && whole.starts_with("write(1<") {
            let before: Vec<&str> = text.lines().skip(number.saturating_sub(25)).take(26).collect();
            assert!(dirty.is_empty(), "acknowledged while these were not synced: {dirty:?}\n{}", before.join("\n"));
            checked += 1;
            continue;
        }
        let Some(path) = path_of(&whole).filter(|path| path.starts_with(dir.path()) && *path != trace) else {
            continue;
        };
        let rebuilt = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("snap."))
            || path.parent().is_some_and(|dir| dir.ends_with("index"));
        if whole.starts_with("fsync") || whole.starts_with("fdatasync") {
            if whole.trim_end().ends_with("= 0") {
                dirty.remove(&path);
                synced.insert(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        } else if !rebuilt {
            dirty.insert(path);
        }
    }
    assert!(checked >= 40, "the trace shows only {checked} acknowledgements");
    for name in ["db", "anchor", "subjects"] {
        assert!(synced.contains(name), "{name} was never synced; these were: {synced:?}");
    }
}
