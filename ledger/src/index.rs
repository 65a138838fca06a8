//! Where to look: in which blocks a record is spoken of, and what each block can hold at all.
//!
//! Everything here can be thrown away and is rebuilt from the blocks. Records are kept as *sorted runs* of (subject, block):
//! what is new is gathered in memory, written as a sorted file, and eight files of one size are merged into one of the next.
//! Beside them every block has a *summary*: kinds of events, runs, actors and times, so that a question passes over blocks
//! that cannot answer it.
//!
//! ```text
//! index/FIRST-END.run   pages of 4,096 bytes: 511 × (subject u32 · block u32) · the first 8 bytes of blake3 over them;
//!                       a last page is filled up with 0xff
//!                       then the first subject of every page, u32 each
//!                       then: `WIDX` · 1 u32 · entries u64 · pages u64 · first 8 bytes of blake3 over the page list and these
//! index/summaries       96 bytes a block: kinds u64 · actors u64 (bit: number modulo 64) · runs, least and greatest u32 ·
//!                       times, first and last i64 · position of the first event u64 · leaf of the block 32 · zeros ·
//!                       first 8 bytes of blake3
//! ```

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::{
    block::Block,
    event::{Envelope, number_of},
    subject::{Digest, Micros, NameId, Position, RunId, SubjectId},
};

const PAGE: usize = 4_096;
const ENTRIES: usize = 511;
const MAGIC: &[u8; 4] = b"WIDX";
const TRAILER: usize = 32;
const SUMMARY: usize = 96;
const SUMMED: usize = SUMMARY - 8;
/// How many entries are gathered before they are written.
const GATHERED: usize = 1 << 17;
/// How many files of one size are merged into one.
const FAN: usize = 8;

type Pair = (u32, u32);

/// What a block can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    kinds: u64,
    actors: u64,
    runs: (u32, u32),
    times: (i64, i64),
    /// The position of its first event.
    pub(crate) first: Position,
    /// Its leaf in the tree of blocks.
    pub(crate) leaf: Digest,
}

impl Summary {
    fn of(first: Position) -> Self {
        let leaf = Digest([0; 32]);
        Self { kinds: 0, actors: 0, runs: (u32::MAX, 0), times: (i64::MAX, i64::MIN), first, leaf }
    }

    fn add(&mut self, envelope: &Envelope) {
        self.kinds |= 1 << (envelope.event.number() % 64);
        self.actors |= 1 << (envelope.actor.0 % 64);
        if let Some(RunId(run)) = envelope.run {
            self.runs = (self.runs.0.min(run), self.runs.1.max(run));
        }
        self.times = (self.times.0.min(envelope.time.0), self.times.1.max(envelope.time.0));
    }

    fn to_bytes(self) -> [u8; SUMMARY] {
        let mut bytes = [0; SUMMARY];
        bytes[..8].copy_from_slice(&self.kinds.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.actors.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.runs.0.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.runs.1.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.times.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.times.1.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[48..80].copy_from_slice(&self.leaf.0);
        let check = check(&bytes[..SUMMED]);
        bytes[SUMMED..].copy_from_slice(&check);
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SUMMARY] = bytes.try_into().ok()?;
        if bytes[SUMMED..] != check(&bytes[..SUMMED]) {
            return None;
        }
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let short = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        Some(Self {
            kinds: long(0),
            actors: long(8),
            runs: (short(16), short(20)),
            times: (long(24).cast_signed(), long(32).cast_signed()),
            first: Position(long(40)),
            leaf: Digest(bytes[48..80].try_into().expect("32 bytes")),
        })
    }
}

/// What is asked of events: a block that cannot answer is passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// Of one of these kinds, by number; empty is every kind.
    pub kinds: Vec<u8>,
    /// By this actor.
    pub actor: Option<NameId>,
    /// Of this run.
    pub run: Option<RunId>,
    /// Not before this time.
    pub after: Option<Micros>,
    /// Before this time.
    pub before: Option<Micros>,
    /// About this record, as subject or as the other record.
    pub subject: Option<SubjectId>,
}

impl Query {
    /// Asks for events of these kinds, by name. A name that is no kind's has no events.
    pub fn of(kinds: &[&str]) -> Self {
        Self { kinds: kinds.iter().map(|kind| number_of(kind).unwrap_or(u8::MAX)).collect(), ..Self::default() }
    }

    /// Returns whether an event is what is asked for.
    pub fn wants(&self, envelope: &Envelope) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&envelope.event.number()))
            && self.actor.is_none_or(|actor| envelope.actor == actor)
            && self.run.is_none_or(|run| envelope.run == Some(run))
            && self.after.is_none_or(|after| envelope.time >= after)
            && self.before.is_none_or(|before| envelope.time < before)
            && self
                .subject
                .is_none_or(|subject| envelope.subject == Some(subject) || envelope.event.other() == Some(subject))
    }

    fn may_be_in(&self, summary: &Summary) -> bool {
        let kinds = self.kinds.iter().fold(0_u64, |bits, kind| bits | 1 << (kind % 64));
        (kinds == 0 || kinds & summary.kinds != 0)
            && self.actor.is_none_or(|actor| summary.actors >> (actor.0 % 64) & 1 == 1)
            && self.run.is_none_or(|run| summary.runs.0 <= run.0 && run.0 <= summary.runs.1)
            && self.after.is_none_or(|after| summary.times.1 >= after.0)
            && self.before.is_none_or(|before| summary.times.0 < before.0)
    }
}

/// The index of a ledger.
#[derive(Debug)]
pub(crate) struct Index {
    /// Where it lies; in memory alone, if nowhere.
    dir: Option<PathBuf>,
    runs: Vec<Run>,
    gathered: Vec<Pair>,
    /// The block up to which the files reach.
    written: u32,
    summaries: Vec<Summary>,
    summary_file: Option<File>,
}

/// What a block that is being filled speaks of.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    subjects: Vec<u32>,
    summary: Option<Summary>,
}

impl Gather {
    /// Takes in one event of the block.
    pub(crate) fn note(&mut self, envelope: &Envelope) {
        self.summary.get_or_insert_with(|| Summary::of(envelope.position)).add(envelope);
        self.subjects.extend(envelope.subject.map(|subject| subject.0));
        self.subjects.extend(envelope.event.other().map(|subject| subject.0));
    }
}

/// A sorted file.
#[derive(Debug)]
struct Run {
    path: PathBuf,
    file: File,
    blocks: (u32, u32),
    entries: u64,
    /// The first subject of every page.
    fences: Vec<u32>,
}

impl Index {
    /// Opens what is left of an index; whatever is not whole is thrown away if `own`, and passed over if not. What it lacks
    /// is added with [`Index::add`], from [`Index::next`] on.
    pub(crate) fn open(dir: Option<&Path>, own: bool, blocks: u64) -> Self {
        let mut index = Self {
            dir: dir.filter(|_| own).map(Path::to_owned),
            runs: Vec::new(),
            gathered: Vec::new(),
            written: 0,
            summaries: Vec::new(),
            summary_file: None,
        };
        if let Some(dir) = dir
            && index.load(dir, own, blocks).is_err()
        {
            index.start_over();
        }
        index
    }

    fn load(&mut self, dir: &Path, own: bool, blocks: u64) -> io::Result<()> {
        if own {
            fs::create_dir_all(dir)?;
        }
        let mut found: Vec<(u32, u32, PathBuf)> = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            match range_of(&path) {
                Some((first, end)) => found.push((first, end, path)),
                None if own && path.extension().is_some_and(|kind| kind == "new") => fs::remove_file(&path)?,
                None => {}
            }
        }
        // The longest run from each block on; what a merge left behind lies within it.
        found.sort_by_key(|(first, end, _)| (*first, Reverse(*end)));
        for (first, end, path) in found {
            let follows = first == self.written && u64::from(end) <= blocks;
            match follows.then(|| Run::open(&path, (first, end))).transpose() {
                Ok(Some(run)) => {
                    self.written = end;
                    self.runs.push(run);
                }
                _ if own => fs::remove_file(&path)?,
                _ => {}
            }
        }
        let path = dir.join("summaries");
        let mut options = OpenOptions::new();
        options.read(true);
        if own {
            options.write(true).create(true).truncate(false);
        }
        let file = options.open(path)?;
        let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, 0)?;
        let whole = bytes.chunks_exact(SUMMARY).map_while(Summary::read);
        self.summaries.extend(whole.take(usize::try_from(blocks).unwrap_or(usize::MAX)));
        if own {
            file.set_len((self.summaries.len() * SUMMARY) as u64)?;
            self.summary_file = Some(file);
        }
        Ok(())
    }

    /// Throws everything away; from now on the index is in memory alone.
    pub(crate) fn start_over(&mut self) {
        if let Some(dir) = self.dir.take() {
            // What cannot be removed is passed over when it is opened next.
            let _ = fs::remove_dir_all(dir);
        }
        self.runs.clear();
        self.gathered.clear();
        self.summaries.clear();
        self.summary_file = None;
        self.written = 0;
    }

    /// Returns what is known of the first blocks.
    pub(crate) fn summaries(&self) -> &[Summary] {
        &self.summaries
    }

    /// Returns the first block that is not in it: blocks from there on must be added, in order.
    pub(crate) fn next(&self) -> u64 {
        u64::from(self.written).min(self.summaries.len() as u64)
    }

    /// Takes in a block that is in the ledger now.
    pub(crate) fn close_block(&mut self, number: u64, leaf: Digest, gathered: Gather) {
        let Gather { mut subjects, summary: Some(summary) } = gathered else { return };
        let summary = Summary { leaf, ..summary };
        let Ok(block) = u32::try_from(number) else { return };
        if number == self.summaries.len() as u64 {
            self.summaries.push(summary);
            let at = number * SUMMARY as u64;
            let kept = self.summary_file.as_ref().map(|file| file.write_all_at(&summary.to_bytes(), at));
            if kept.is_some_and(|kept| kept.is_err()) {
                self.summary_file = None;
            }
        }
        if block >= self.written {
            subjects.sort_unstable();
            subjects.dedup();
            self.gathered.extend(subjects.iter().map(|subject| (*subject, block)));
            if self.gathered.len() >= GATHERED && self.dir.is_some() && self.write(block + 1).is_err() {
                // A full disk must not stop the ledger for the index's sake: what is gathered stays in memory.
                self.dir = None;
            }
        }
    }

    /// Adds a block that is in the ledger already.
    pub(crate) fn add(&mut self, number: u64, block: &Block) -> Result<(), crate::block::BlockError> {
        let mut gathered = Gather::default();
        for index in 0..block.header.events {
            gathered.note(&block.envelope(index)?);
        }
        self.close_block(number, block.header.leaf(), gathered);
        Ok(())
    }

    fn write(&mut self, end: u32) -> io::Result<()> {
        let Some(dir) = self.dir.clone() else { return Ok(()) };
        self.gathered.sort_unstable();
        let run = Run::write(&dir, (self.written, end), self.gathered.iter().copied().map(Ok))?;
        self.runs.push(run);
        self.gathered.clear();
        self.written = end;
        // Files of about one size follow one another at the end.
        while let Some(same) = self.mergeable() {
            let merged: Vec<Run> = self.runs.drain(same..).collect();
            let blocks = (merged[0].blocks.0, merged[merged.len() - 1].blocks.1);
            let run = Run::write(&dir, blocks, Merge::new(&merged)?)?;
            self.runs.push(run);
            for old in merged {
                fs::remove_file(&old.path)?;
            }
        }
        Ok(())
    }

    fn mergeable(&self) -> Option<usize> {
        let level = |run: &Run| (run.entries / GATHERED as u64).max(1).ilog2() / FAN.ilog2();
        let last = level(self.runs.last()?);
        let same = self.runs.iter().rev().take_while(|run| level(run) <= last).count();
        (same >= FAN).then(|| self.runs.len() - same)
    }

    /// Returns the blocks that speak of a record, in order.
    pub(crate) fn blocks_of(&self, subject: SubjectId) -> io::Result<Vec<u64>> {
        let mut blocks = Vec::new();
        for run in &self.runs {
            run.blocks_of(subject.0, &mut blocks)?;
        }
        blocks.extend(self.gathered.iter().filter(|(of, _)| *of == subject.0).map(|(_, block)| *block));
        blocks.sort_unstable();
        blocks.dedup();
        Ok(blocks.into_iter().map(u64::from).collect())
    }

    /// Returns the blocks from `from` on that may hold what is asked for, in order.
    pub(crate) fn blocks_for(&self, query: &Query, from: u64) -> io::Result<Vec<u64>> {
        let able = |number: &u64| {
            let summary = usize::try_from(*number).ok().and_then(|number| self.summaries.get(number));
            summary.is_none_or(|summary| query.may_be_in(summary))
        };
        Ok(match query.subject {
            Some(subject) => self.blocks_of(subject)?.into_iter().filter(|n| *n >= from).filter(able).collect(),
            None => (from..self.summaries.len() as u64).filter(able).collect(),
        })
    }
}

fn check(bytes: &[u8]) -> [u8; 8] {
    blake3::hash(bytes).as_bytes()[..8].try_into().expect("a hash has 32 bytes")
}

fn range_of(path: &Path) -> Option<(u32, u32)> {
    let (first, end) = path.file_name()?.to_str()?.strip_suffix(".run")?.split_once('-')?;
    Some((first.parse().ok()?, end.parse().ok()?))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "an index file is not whole")
}

impl Run {
    fn write(dir: &Path, blocks: Pair, pairs: impl Iterator<Item = io::Result<Pair>>) -> io::Result<Self> {
        let path = dir.join(format!("{:010}-{:010}.run", blocks.0, blocks.1));
        let new = path.with_extension("new");
        let mut out = BufWriter::new(File::create(&new)?);
        let (mut fences, mut entries) = (Vec::new(), 0_u64);
        let mut page = Vec::with_capacity(PAGE);
        let mut seal = |page: &mut Vec<u8>| -> io::Result<()> {
            page.resize(ENTRIES * 8, 0xff);
            let check = check(page);
            page.extend_from_slice(&check);
            out.write_all(page)?;
            page.clear();
            Ok(())
        };
        for pair in pairs {
            let (subject, block) = pair?;
            if page.is_empty() {
                fences.push(subject);
            }
            page.extend_from_slice(&subject.to_le_bytes());
            page.extend_from_slice(&block.to_le_bytes());
            entries += 1;
            if page.len() == ENTRIES * 8 {
                seal(&mut page)?;
            }
        }
        if !page.is_empty() {
            seal(&mut page)?;
        }
        let mut tail: Vec<u8> = fences.iter().flat_map(|fence| fence.to_le_bytes()).collect();
        tail.extend_from_slice(MAGIC);
        tail.extend_from_slice(&1_u32.to_le_bytes());
        tail.extend_from_slice(&entries.to_le_bytes());
        tail.extend_from_slice(&(fences.len() as u64).to_le_bytes());
        let sum = check(&tail);
        tail.extend_from_slice(&sum);
        out.write_all(&tail)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(&new, &path)?;
        let file = File::open(&path)?;
        Ok(Self { path, file, blocks, entries, fences })
    }

    fn open(path: &Path, blocks: Pair) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let start = length.checked_sub(TRAILER as u64).ok_or_else(damaged)?;
        let mut trailer = [0; TRAILER];
        file.read_exact_at(&mut trailer, start)?;
        let long = |at: usize| u64::from_le_bytes(trailer[at..at + 8].try_into().expect("eight bytes"));
        let (entries, pages) = (long(8), long(16));
        let expected = pages.checked_mul(PAGE as u64 + 4).and_then(|bytes| bytes.checked_add(TRAILER as u64));
        if trailer[..4] != *MAGIC || expected != Some(length) {
            return Err(damaged());
        }
        let mut tail = vec![0; usize::try_from(length - pages * PAGE as u64).map_err(|_| damaged())?];
        file.read_exact_at(&mut tail, pages * PAGE as u64)?;
        let (known, sum) = tail.split_at(tail.len() - 8);
        if *sum != check(known) {
            return Err(damaged());
        }
        let list = &known[..known.len() - (TRAILER - 8)];
        let fences = list.chunks_exact(4).map(|fence| u32::from_le_bytes(fence.try_into().expect("four bytes")));
        Ok(Self { path: path.to_owned(), file, blocks, entries, fences: fences.collect() })
    }

    fn page(&self, number: usize) -> io::Result<Vec<Pair>> {
        let mut page = vec![0; PAGE];
        self.file.read_exact_at(&mut page, (number * PAGE) as u64)?;
        let (pairs, sum) = page.split_at(ENTRIES * 8);
        if *sum != check(pairs) {
            return Err(damaged());
        }
        let rest = usize::try_from(self.entries).unwrap_or(usize::MAX).saturating_sub(number * ENTRIES).min(ENTRIES);
        let short = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        Ok(pairs.chunks_exact(8).take(rest).map(|pair| (short(&pair[..4]), short(&pair[4..]))).collect())
    }

    fn blocks_of(&self, subject: u32, blocks: &mut Vec<u32>) -> io::Result<()> {
        // The page before the first that begins with this subject may end with it.
        let from = self.fences.partition_point(|fence| *fence < subject).saturating_sub(1);
        for number in from..self.fences.len() {
            if self.fences[number] > subject {
                break;
            }
            let page = self.page(number)?;
            let start = page.partition_point(|pair| pair.0 < subject);
            blocks.extend(page[start..].iter().take_while(|pair| pair.0 == subject).map(|pair| pair.1));
        }
        Ok(())
    }
}

/// Several sorted files, as one.
struct Merge<'a> {
    parts: Vec<(&'a Run, usize, std::vec::IntoIter<Pair>)>,
    heap: BinaryHeap<Reverse<(Pair, usize)>>,
}

impl<'a> Merge<'a> {
    fn new(runs: &'a [Run]) -> io::Result<Self> {
        let mut merge =
            Self { parts: runs.iter().map(|run| (run, 0, Vec::new().into_iter())).collect(), heap: BinaryHeap::new() };
        for part in 0..runs.len() {
            merge.refill(part)?;
        }
        Ok(merge)
    }

    fn refill(&mut self, part: usize) -> io::Result<()> {
        let (run, page, rest) = &mut self.parts[part];
        if rest.len() == 0 && *page < run.fences.len() {
            *rest = run.page(*page)?.into_iter();
            *page += 1;
        }
        self.heap.extend(rest.next().map(|pair| Reverse((pair, part))));
        Ok(())
    }
}

impl Iterator for Merge<'_> {
    type Item = io::Result<Pair>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((pair, part)) = self.heap.pop()?;
        Some(self.refill(part).map(|()| pair))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_kind_that_is_none_is_asked_for_in_vain() {
        let of = |kinds: &[&str]| Query::of(kinds).kinds;
        assert_eq!(of(&["ProjectOpened", "recordextracted"]), [0, number_of("RecordExtracted").unwrap()]);
        assert_eq!(of(&["Nonsense"]), [u8::MAX], "an empty list would ask for everything");
    }

    fn fill(index: &mut Index, blocks: std::ops::Range<u32>) {
        for block in blocks {
            let subjects = (0..700_u32).map(|n| (block * 131 + n * n) % 5_000).collect();
            index.close_block(
                block.into(),
                Digest([0; 32]),
                Gather { subjects, summary: Some(Summary::of(Position(0))) },
            );
        }
    }

    fn expected(blocks: u32, subject: u32) -> Vec<u64> {
        let speaks = |block: &u32| (0..700).any(|n| (block * 131 + n * n) % 5_000 == subject);
        (0..blocks).filter(speaks).map(u64::from).collect()
    }

    #[test]
    fn files_are_merged_and_every_record_is_found_in_every_block_that_speaks_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::open(Some(dir.path()), true, 0);
        fill(&mut index, 0..3_000);
        assert!(index.runs.len() < 12, "{} files", index.runs.len());
        let reopened = Index::open(Some(dir.path()), true, 3_000);
        assert!(reopened.next() > 2_500);
        for subject in (0..5_000).step_by(97) {
            let expected = expected(3_000, subject);
            assert_eq!(index.blocks_of(SubjectId(subject)).unwrap(), expected, "subject {subject}");
            let known: BTreeSet<u64> = reopened.blocks_of(SubjectId(subject)).unwrap().into_iter().collect();
            assert!(expected.iter().filter(|block| **block < reopened.next()).all(|block| known.contains(block)));
        }
    }

    #[test]
    fn what_is_not_whole_is_thrown_away() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = Index::open(Some(dir.path()), true, 0);
        fill(&mut index, 0..600);
        let files: Vec<PathBuf> = index.runs.iter().map(|run| run.path.clone()).collect();
        assert!(files.len() >= 2);
        let last = &files[files.len() - 1];
        let mut bytes = fs::read(last).unwrap();
        let at = bytes.len() - 40;
        bytes[at] ^= 1;
        fs::write(last, bytes).unwrap();
        let reopened = Index::open(Some(dir.path()), true, 600);
        assert_eq!(u64::from(reopened.written), u64::from(range_of(last).unwrap().0));
        assert!(!last.exists());
        // More blocks than the ledger has: an index of something else.
        assert_eq!(Index::open(Some(dir.path()), true, 3).written, 0);
    }
}
