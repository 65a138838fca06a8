//! What is measured of the ledger. Each part runs in a process of its own, so that memory and caches are its own.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use waybill_ledger::{
    Content, Position, RunId, SubjectKey,
    ledger::{Depth, Draft, Home, Ledger, Ports, Query, Receipt, Sealing, verify},
};
use waybill_projector::landing::Landing;

use super::{
    Shape,
    data::{self, Made},
};
use crate::Fallible;

/// What a part found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Figures {
    /// What the part is about, in seconds.
    pub(super) seconds: f64,
    /// Events, or whatever the part counts.
    pub(super) count: u64,
    /// Bytes of contents.
    pub(super) payload: u64,
    /// Bytes on the disk.
    pub(super) disk: u64,
    /// The peak of resident memory, in MB.
    pub(super) peak_mb: f64,
    /// Seconds spent on the index, on opening, or on whatever else the part says.
    pub(super) other: f64,
    /// Targets that a fold knows.
    pub(super) targets: usize,
    /// The median and the worst, in milliseconds.
    pub(super) median_ms: f64,
    pub(super) worst_ms: f64,
}

/// How many records are made at a time; making them is not measured.
const AT_ONCE: u64 = 16_384;
/// How many batches are handed over before the first must be durable.
const UNDER_WAY: usize = 2;

pub(super) fn home(dir: &Path) -> Home {
    Home::new(dir.join("ledger"), dir.join("keys"))
}

/// Makes records by the thousand and times what is done with them.
pub(super) fn timed(
    shape: &Shape,
    mut work: impl FnMut(u64, &mut [Made]) -> Fallible<()>,
) -> Fallible<(Duration, u64)> {
    let (mut took, mut payload, records) = (Duration::ZERO, 0, shape.events / 4);
    for first in (0..records).step_by(usize::try_from(AT_ONCE)?) {
        let mut made: Vec<Made> = (first..records.min(first + AT_ONCE)).map(data::make).collect();
        payload += made
            .iter()
            .map(|made| (data::bytes(&made.record).len() + data::bytes(&made.mapped).len()) as u64)
            .sum::<u64>();
        let began = Instant::now();
        work(first, &mut made)?;
        took += began.elapsed();
    }
    Ok((took, payload))
}

/// Appends the history.
pub(super) fn append(dir: &Path, shape: &Shape) -> Fallible<Figures> {
    let sealing = Sealing { events: shape.block_events, bytes: shape.block_bytes };
    let ledger = Ledger::create(&home(dir), Ports { sealing, ..Ports::system() })?;
    for samples in data::samples() {
        ledger.learn(&samples)?;
    }
    let mut receipts: VecDeque<Receipt> = VecDeque::new();
    let (took, payload) = timed(shape, |first, made| {
        for (batch, made) in made.chunks_mut(shape.batch / 4).enumerate() {
            let first = first + (batch * (shape.batch / 4)) as u64;
            receipts.push_back(ledger.append(drafts(&ledger, first, made)?));
            if receipts.len() > UNDER_WAY
                && let Some(receipt) = receipts.pop_front()
            {
                receipt.wait()?;
            }
        }
        receipts.drain(..).try_for_each(|receipt| receipt.wait().map(drop))?;
        Ok(())
    })?;
    let other = ledger.spent_on_index().as_secs_f64();
    let count = ledger.head().end.0;
    ledger.close()?;
    let disk = bytes_in(&dir.join("ledger"))? + bytes_in(&dir.join("keys"))?;
    Ok(Figures { seconds: took.as_secs_f64(), count, payload, disk, other, ..Figures::default() })
}

fn drafts(ledger: &Ledger, first: u64, made: &mut [Made]) -> Fallible<Vec<Draft>> {
    let mut drafts = Vec::with_capacity(made.len() * 4);
    for (n, made) in (first..).zip(made) {
        let source = ledger.subject(&SubjectKey::new("crm:a", "contacts", &made.id))?;
        let destination = ledger.subject(&SubjectKey::new("crm:b", "Contact", &made.destination))?;
        let [read, mapped, intended, confirmed] = data::events(made, n, destination);
        let draft = |event| Draft::new(data::ACTOR, event).run(RunId(1)).subject(source);
        let own = drafts.len();
        drafts.push(draft(read).content(std::mem::replace(&mut made.record, Content::Text(String::new()))));
        drafts.push(
            draft(mapped)
                .target(data::PART)
                .earlier(own)
                .content(std::mem::replace(&mut made.mapped, Content::Text(String::new()))),
        );
        drafts.push(draft(intended).target(data::PART).batch(data::batch(n)).earlier(own + 1));
        drafts.push(draft(confirmed).target(data::PART).batch(data::batch(n)).earlier(own + 2));
    }
    Ok(drafts)
}

/// Writes the very same blocks to a file, with one sync each.
pub(super) fn raw(dir: &Path, other: &Path) -> Fallible<Figures> {
    let blocks = blocks(dir)?;
    let mut took = Duration::ZERO;
    let mut file = File::create(other.join("raw"))?;
    let mut written = 0;
    for block in blocks {
        let block = block?;
        let began = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        took += began.elapsed();
        written += block.len() as u64;
    }
    Ok(Figures { seconds: took.as_secs_f64(), disk: written, ..Figures::default() })
}

/// Reads the blocks of a ledger, one after the other.
pub(super) fn blocks(dir: &Path) -> Fallible<impl Iterator<Item = Fallible<Vec<u8>>>> {
    let store = waybill_ledger::store::SledStore::open(&home(dir).log.join("store"))?;
    Ok((0..waybill_ledger::store::Store::blocks(&store))
        .map(move |number| Ok(waybill_ledger::store::Store::block(&store, number)?.ok_or("a block is missing")?)))
}

/// Replays the envelopes into the fold that knows where every record lives.
pub(super) fn replay(dir: &Path) -> Fallible<Figures> {
    let ledger = Ledger::open(&home(dir), Ports::system())?;
    let began = Instant::now();
    let mut landing = Landing::default();
    let mut count = 0;
    for event in ledger.reader().read(Position(0).., |_| false) {
        landing.apply(&event?.0)?;
        count += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Figures { seconds, count, targets: landing.len(), ..Figures::default() })
}

/// Checks everything: hashes, tree, signatures, every content.
pub(super) fn verified(dir: &Path) -> Fallible<Figures> {
    let began = Instant::now();
    let found = verify(&home(dir), Depth::Contents, None)?;
    Ok(Figures { seconds: began.elapsed().as_secs_f64(), count: found.contents, ..Figures::default() })
}

/// Hashes the same contents one by one, on two threads.
pub(super) fn hashed(shape: &Shape) -> Fallible<Figures> {
    let records = shape.events / 4;
    let (mut took, mut payload) = (Duration::ZERO, 0);
    for first in (0..records).step_by(usize::try_from(AT_ONCE)?) {
        let made = (first..records.min(first + AT_ONCE)).map(data::make);
        let contents: Vec<Vec<u8>> =
            made.flat_map(|made| [data::bytes(&made.record), data::bytes(&made.mapped)]).collect();
        payload += contents.iter().map(|content| content.len() as u64).sum::<u64>();
        let began = Instant::now();
        let (left, right) = contents.split_at(contents.len() / 2);
        let hash =
            |contents: &[Vec<u8>]| contents.iter().fold(0_u8, |all, content| all ^ blake3::hash(content).as_bytes()[0]);
        let all = std::thread::scope(|scope| {
            let other = scope.spawn(|| hash(right));
            hash(left) ^ other.join().unwrap_or(0)
        });
        std::hint::black_box(all);
        took += began.elapsed();
    }
    Ok(Figures { seconds: took.as_secs_f64(), payload, ..Figures::default() })
}

/// Asks for the histories of records, in an open process.
pub(super) fn history(dir: &Path, shape: &Shape, cold: bool) -> Fallible<Figures> {
    let began = Instant::now();
    let ledger = Ledger::open(&home(dir), Ports::system())?;
    let opened = began.elapsed().as_secs_f64();
    let asked: u64 = if cold { 60 } else { 600 };
    let mut took = Vec::new();
    for n in 0..asked {
        let made = data::make((n * 7_919 + 13) * (shape.events / 4 / 8_000_000).max(1) % (shape.events / 4));
        if cold {
            drop_caches(dir)?;
        }
        let began = Instant::now();
        let key = SubjectKey::new("crm:a", "contacts", &made.id);
        let subject = ledger.find_subject(&key).ok_or("a record is not known")?;
        let query = Query { subject: Some(subject), ..Query::default() };
        let life = ledger.reader().find(query, Position(0).., |_| true).collect::<Result<Vec<_>, _>>()?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
        if life.len() != 4 {
            return Err(format!("record {n} has {} events", life.len()).into());
        }
    }
    took.sort_by(f64::total_cmp);
    Ok(Figures {
        median_ms: took[took.len() / 2],
        worst_ms: took[took.len() - 1],
        other: opened,
        count: asked,
        ..Figures::default()
    })
}

/// Lets the system forget what it holds of the files below a directory.
fn drop_caches(dir: &Path) -> Fallible<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            drop_caches(&path)?;
        } else if path.is_file() {
            let file = File::open(&path)?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// The bytes that files below a directory take on the disk.
pub(super) fn bytes_in(path: &Path) -> Fallible<u64> {
    let about = fs::symlink_metadata(path)?;
    if !about.is_dir() {
        return Ok(about.blocks() * 512);
    }
    fs::read_dir(path)?.try_fold(0, |sum, entry| Ok(sum + bytes_in(&entry?.path())?))
}

/// The peak of this process's resident memory, in MB.
pub(super) fn peak_mb() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}
