//! Kills a real writer while it acknowledges, and looks at what is there afterwards.
//!
//! `WAYBILL_KILLS=200 cargo test -p waybill-ledger --test durability` kills it as often as that, and
//! `WAYBILL_POWER_CUTS=26` lets the power go as often on a file system of its own (as root, where there are loop devices).

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
    ledger::{Depth, Draft, Guard, Home, Ledger, OpenError, Opened, Ports, VerifyError, verify},
    store::{Entry, SledStore, Store, StoreError},
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

/// Where the child dies between the keyring's sync and the block's.
const DYING: &str = "WAYBILL_TEST_DYING_WRITER";

/// A store that kills its process when a block is about to be written.
#[derive(Debug)]
struct Dying(SledStore, u64);

impl Store for Dying {
    fn blocks(&self) -> u64 {
        self.0.blocks()
    }

    fn append(&self, number: u64, block: &[u8], room: &[Entry]) -> Result<(), StoreError> {
        if number >= self.1 {
            let own = std::process::id().to_string();
            Command::new("kill").args(["-9", &own]).status().unwrap();
        }
        self.0.append(number, block, room)
    }

    fn block(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.block(number)
    }

    fn head_of(&self, number: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.head_of(number, length)
    }

    fn room(&self, prefix: &[u8]) -> Result<Vec<Entry>, StoreError> {
        self.0.room(prefix)
    }

    fn abandon(&self) {
        self.0.abandon();
    }
}

/// The child that dies. Not a test of its own.
#[test]
fn dying_writer() {
    let Ok(dir) = std::env::var(DYING) else { return };
    let home = home(Path::new(&dir));
    let store = Dying(SledStore::open(&home.log.join("store")).unwrap(), 3);
    let ledger = Ledger::over(Box::new(store), &home.keys, &Guard::File, Ports::system()).unwrap();
    for n in 0.. {
        let subject = ledger.subject(&SubjectKey::new("test", "rows", format!("new {n}"))).unwrap();
        let draft = Draft::new(NameId(0), Event::RecordReleased).subject(subject).content(Content::Text(text(n)));
        ledger.append(vec![draft]).wait().unwrap();
    }
}

#[test]
fn a_kill_between_the_keyring_and_the_block_leaves_a_slot_that_nobody_uses() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(dir.path());
    Ledger::create(&home, Ports::system()).unwrap().close().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "dying_writer", "--test-threads", "1"]).env(DYING, dir.path());
    child.stdout(Stdio::null()).stderr(Stdio::null());
    assert!(!child.status().unwrap().success(), "it was killed");
    // Slots: the project, three with blocks, and the one whose block never came.
    let slots = fs::metadata(home.keys.join("subjects")).unwrap().len() / 80;
    assert_eq!(slots, 5, "the slot was durable before its block");
    let ledger = reopen(&home);
    assert_eq!(ledger.head().end, Position(3));
    for (n, event) in (0..).zip(ledger.reader().events(Position(0))) {
        assert_eq!(event.unwrap().1, Opened::Content(Content::Text(text(n))));
    }
    // Whoever comes next takes a slot after it, or the slot itself for the same record.
    let late = ledger.subject(&SubjectKey::new("test", "rows", "new 3")).unwrap();
    let other = ledger.subject(&SubjectKey::new("test", "rows", "someone else")).unwrap();
    assert_eq!((late.0, other.0), (4, 5));
    let draft = Draft::new(NameId(0), Event::RecordReleased).subject(late).content(Content::Text("at last".into()));
    ledger.append(vec![draft]).wait().unwrap();
    ledger.close().unwrap();
    assert_eq!(verify(&home, Depth::Contents, None).unwrap().contents, 4);
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy_dir(&entry.path(), &to.join(entry.file_name())),
            kind if kind.is_file() => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
            _ => {}
        }
    }
}

/// Wherever a byte of sled's files is flipped: the ledger says what is damaged or what is gone, or nothing is gone. It is
/// never shorter without a word.
#[test]
fn a_flipped_byte_in_the_stores_own_files_is_never_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let whole = home(&dir.path().join("whole"));
    let ledger = Ledger::create(&whole, Ports::system()).unwrap();
    for block in 0..60 {
        let drafts = (block * 20..block * 20 + 20).map(|n| {
            let subject = ledger.subject(&SubjectKey::new("test", "rows", n.to_string())).unwrap();
            Draft::new(NameId(0), Event::RecordReleased).subject(subject).content(Content::Text(text(n)))
        });
        ledger.append(drafts.collect()).wait().unwrap();
    }
    let head = ledger.head();
    ledger.close().unwrap();
    let bytes = fs::read(whole.log.join("store/db")).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let (mut refused, mut gone, mut torn) = (0, 0, 0);
    // sled prints its panics; they are expected here.
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut wrong = Vec::new();
    for flip in 0..48 {
        let at = used * flip / 48 + flip * 7 % 97;
        let copy = home(&dir.path().join(format!("copy {flip}")));
        copy_dir(&whole.log, &copy.log);
        copy_dir(&whole.keys, &copy.keys);
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        fs::write(copy.log.join("store/db"), &changed).unwrap();
        let changed_file = dir.path().join("changed");
        fs::write(&changed_file, changed).unwrap();
        let found = verify(&copy, Depth::Contents, None);
        let kept = copy.log.join("db.as-it-was");
        let found = match found {
            Err(VerifyError::Torn { error, copy, .. }) => {
                torn += 1;
                if fs::read(copy).ok() != fs::read(&changed_file).ok() {
                    wrong.push(format!("byte {at}: the file as it was is not"));
                }
                Err(*error)
            }
            found => {
                if kept.exists() {
                    wrong.push(format!("byte {at}: a copy was left behind"));
                }
                found
            }
        };
        match found {
            Ok(found) if found.head == head => {}
            Ok(found) => wrong.push(format!("byte {at}: it verifies with {} events", found.head.end)),
            Err(VerifyError::Open(OpenError::Behind { acknowledged, found, .. })) => {
                gone += 1;
                if acknowledged != head.end || found >= acknowledged {
                    wrong.push(format!("byte {at}: {found} of {acknowledged}"));
                }
            }
            Err(e) => {
                refused += 1;
                if !e.to_string().contains("damaged") {
                    wrong.push(format!("byte {at}: {e}"));
                }
            }
        }
        fs::remove_dir_all(copy.log.parent().unwrap()).unwrap();
    }
    std::panic::set_hook(quiet);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused + gone >= 24, "only {refused} flips were refused and {gone} named what is gone");
    assert!(torn >= 20, "only {torn} tears were seen before sled could heal them");
}

fn done(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// A file system in a file. Unmounted when it goes.
struct Disk(PathBuf);

impl Disk {
    fn mount(image: &Path, at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).ok()?;
        done("mount", &["-o", "loop", image.to_str()?, at.to_str()?]).then_some(Self(at))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        done("umount", &["-l", &self.0.to_string_lossy()]);
    }
}

/// The heavy run: the machine stops at a random moment, and what its disk holds then is mounted again.
#[test]
fn whatever_was_acknowledged_survives_a_power_cut() {
    let Some(cuts) = std::env::var("WAYBILL_POWER_CUTS").ok().and_then(|text| text.parse::<u32>().ok()) else {
        eprintln!("skipped: power cuts are part of the heavy run (WAYBILL_POWER_CUTS=26, as root)");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut seed = 0x51_7c_c1_b7_u64;
    for cut in 0..cuts {
        let (image, frozen) = (dir.path().join("image"), dir.path().join("frozen"));
        assert!(done("truncate", &["-s", "400M", image.to_str().unwrap()]));
        assert!(done("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]));
        let disk = Disk::mount(&image, dir.path().join("disk")).expect("a loop device, and the right to mount it");
        let mut child = child(&disk.0).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, told) = std::sync::mpsc::channel();
        let reading = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let number = line.split("acknowledged ").nth(1).and_then(|text| text.parse::<u64>().ok());
                if let Some(number) = number
                    && send.send(number).is_err()
                {
                    return;
                }
            }
        });
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_micros(200_000 + (seed >> 33) % 2_000_000));
        // What was told before the machine stands still must be on the disk as it is now: not what the system still holds.
        let durable = told.try_iter().last().unwrap_or(0);
        assert!(done("kill", &["-STOP", &child.id().to_string()]));
        assert!(done("cp", &["--sparse=always", image.to_str().unwrap(), frozen.to_str().unwrap()]));
        child.kill().unwrap();
        child.wait().unwrap();
        reading.join().unwrap();
        drop(disk);
        let disk = Disk::mount(&frozen, dir.path().join("again")).expect("the file system is whole");
        let home = home(&disk.0);
        if durable > 0 {
            let verified = verify(&home, Depth::Contents, None).unwrap_or_else(|e| panic!("cut {cut}: {e}"));
            assert!(verified.head.end.0 >= durable, "cut {cut}: {durable} acknowledged, {} there", verified.head.end);
        }
        let ledger = reopen(&home);
        for (n, event) in (0..).zip(ledger.reader().events(Position(0))) {
            assert_eq!(event.unwrap().1, Opened::Content(Content::Text(text(n))), "cut {cut}");
        }
        ledger.close().unwrap();
        eprintln!("cut {cut}: {durable} acknowledged, all there");
    }
}
