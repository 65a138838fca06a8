//! Reads what was acknowledged, from any position.

use std::{
    ops::{Bound, RangeBounds, RangeInclusive},
    sync::{Arc, PoisonError, mpsc::sync_channel},
};

use crate::{
    block::{Block, BlockError},
    content::Content,
    event::Envelope,
    index::Query,
    keyring::{Held, KeyringError},
    ledger::Core,
    store::StoreError,
    subject::{Position, SubjectId},
    vault::{self, Shown, VaultError},
};

/// How many blocks are kept taken apart.
const CACHED: usize = 16;
/// How many blocks a reader is ahead of who takes them.
const AHEAD: usize = 2;
/// For fewer blocks than these, no thread is started.
const WORTH_A_THREAD: u64 = 4;

/// What became of an event's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It has none.
    Nothing,
    /// It was opened.
    Content(Content),
    /// Its subject was forgotten.
    Erased,
    /// It was not asked for, or the keys are not here.
    Locked,
}

impl Opened {
    /// Returns the content, if it was opened.
    pub fn content(self) -> Option<Content> {
        match self {
            Self::Content(content) => Some(content),
            Self::Nothing | Self::Erased | Self::Locked => None,
        }
    }
}

/// An event that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block is damaged.
    #[error("block {number} is damaged: {error}")]
    Block {
        /// The block.
        number: u64,
        /// What is wrong.
        error: BlockError,
    },
    /// A content is damaged.
    #[error("the content of event {position} is damaged: {error}")]
    Content {
        /// The event.
        position: Position,
        /// What is wrong.
        error: VaultError,
    },
    /// The keyring refuses.
    #[error(transparent)]
    Keys(#[from] KeyringError),
}

/// Reads a ledger. Cheap to clone; sees what is acknowledged at the moment of each call.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Core>);

impl Reader {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self(core)
    }

    /// Returns the position after the last event.
    pub fn end(&self) -> Position {
        self.0.index.read().unwrap_or_else(PoisonError::into_inner).end
    }

    /// Returns every event in a range of positions; contents are opened where `wanted` says so.
    pub fn read<R, F>(
        &self,
        range: R,
        wanted: F,
    ) -> impl Iterator<Item = Result<(Envelope, Opened), ReadError>> + use<R, F>
    where
        R: RangeBounds<Position>,
        F: FnMut(&Envelope) -> bool,
    {
        let (mut next, end) = self.bounds(&range);
        let (core, mut wanted) = (Arc::clone(&self.0), wanted);
        let mut current: Option<Ready> = None;
        let mut blocks =
            (next < end).then(|| ahead(&core, number_of(&core, next)..=number_of(&core, Position(end.0 - 1))));
        std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            if current.as_ref().is_none_or(|ready| next >= ready.block.header.end()) {
                match blocks.as_mut().and_then(Iterator::next)? {
                    Ok(mut ready) => {
                        let before = next.0.saturating_sub(ready.block.header.first.0);
                        ready.envelopes.by_ref().take(usize::try_from(before).unwrap_or(usize::MAX)).for_each(drop);
                        current = Some(ready);
                    }
                    Err(e) => {
                        next = end;
                        return Some(Err(e));
                    }
                }
            }
            let Ready { block, envelopes } = current.as_mut()?;
            let index = u32::try_from(next.0 - block.header.first.0).ok()?;
            let position = next;
            next = position.next();
            Some(match envelopes.next()? {
                Ok(envelope) => open(&core, block, envelope, index, &mut wanted),
                Err(error) => Err(ReadError::Block { number: number_of(&core, position), error }),
            })
        })
    }

    /// Returns every event from a position on, with all contents.
    pub fn events(&self, from: Position) -> impl Iterator<Item = Result<(Envelope, Opened), ReadError>> + use<> {
        self.read(from.., |_| true)
    }

    /// Returns every event in a range of positions that is what `query` asks for, in order; contents are opened where
    /// `wanted` says so. Blocks that cannot hold such an event are not read.
    pub fn find<R, F>(
        &self,
        query: Query,
        range: R,
        mut wanted: F,
    ) -> impl Iterator<Item = Result<(Envelope, Opened), ReadError>> + use<R, F>
    where
        R: RangeBounds<Position>,
        F: FnMut(&Envelope) -> bool,
    {
        let (start, end) = self.bounds(&range);
        let from = number_of(&self.0, start);
        let lookup = self.0.lookup.read().unwrap_or_else(PoisonError::into_inner);
        // An index that cannot be read costs time, never an answer.
        let blocks = lookup.blocks_for(&query, from).unwrap_or_else(|_| (from..self.0.blocks()).collect());
        drop(lookup);
        let (core, mut blocks) = (Arc::clone(&self.0), blocks.into_iter());
        let mut current: Option<(Block, u32)> = None;
        std::iter::from_fn(move || {
            loop {
                let Some((block, next)) = &mut current else {
                    match load(&core, blocks.next()?) {
                        Ok(block) if block.header.first < end => current = Some((block, 0)),
                        Ok(_) => return None,
                        Err(e) => return Some(Err(e)),
                    }
                    continue;
                };
                if *next >= block.header.events {
                    current = None;
                    continue;
                }
                let index = *next;
                *next += 1;
                let position = Position(block.header.first.0 + u64::from(index));
                if position < start || position >= end {
                    continue;
                }
                match block.envelope(index) {
                    Ok(envelope) if !query.wants(&envelope) => {}
                    Ok(envelope) => return Some(open(&core, block, envelope, index, &mut wanted)),
                    Err(error) => {
                        return Some(Err(ReadError::Block { number: number_of(&core, position), error }));
                    }
                }
            }
        })
    }

    fn bounds(&self, range: &impl RangeBounds<Position>) -> (Position, Position) {
        let start = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at.next(),
            Bound::Unbounded => Position(0),
        };
        let end = match range.end_bound() {
            Bound::Included(at) => at.next(),
            Bound::Excluded(at) => *at,
            Bound::Unbounded => Position(u64::MAX),
        };
        (start, end.min(self.end()))
    }

    /// Returns one event with its content.
    pub fn at(&self, position: Position) -> Result<Option<(Envelope, Opened)>, ReadError> {
        match self.block_of(position)? {
            Some((_, block, index)) => event(&self.0, &block, index, &mut |_| true).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the block of an event and the event's index in it.
    pub(crate) fn block_of(&self, position: Position) -> Result<Option<(u64, Arc<Block>, u32)>, ReadError> {
        if position >= self.end() {
            return Ok(None);
        }
        let number = number_of(&self.0, position);
        let cached = {
            let cache = self.0.cache.lock().unwrap_or_else(PoisonError::into_inner);
            cache.iter().find(|(held, _)| *held == number).map(|(_, block)| Arc::clone(block))
        };
        let block = if let Some(block) = cached {
            block
        } else {
            let block = Arc::new(load(&self.0, number)?);
            let mut cache = self.0.cache.lock().unwrap_or_else(PoisonError::into_inner);
            if cache.len() >= CACHED {
                cache.remove(0);
            }
            cache.push((number, Arc::clone(&block)));
            block
        };
        let index = u32::try_from(position.0 - block.header.first.0).unwrap_or(u32::MAX);
        Ok(Some((number, block, index)))
    }

    /// Returns the salt and the encoded bytes of an event's content, if it has one that can be opened.
    pub(crate) fn plain(&self, block: &Block, index: u32) -> Result<Option<Shown>, ReadError> {
        let position = Position(block.header.first.0 + u64::from(index));
        let envelope =
            block.envelope(index).map_err(|error| ReadError::Block { number: number_of(&self.0, position), error })?;
        let subject = envelope.subject.unwrap_or(SubjectId::PROJECT);
        let (Some(commitment), Some(sealed)) = (envelope.content, block.sealed(index)) else { return Ok(None) };
        let Held::Key(key) = self.0.keyring().key(subject)? else { return Ok(None) };
        vault::open_plain(sealed, &key, position, subject, &commitment, &self.0.packer)
            .map(Some)
            .map_err(|error| ReadError::Content { position, error })
    }
}

fn number_of(core: &Core, position: Position) -> u64 {
    let index = core.index.read().unwrap_or_else(PoisonError::into_inner);
    index.firsts.partition_point(|first| *first <= position).saturating_sub(1) as u64
}

pub(crate) fn load(core: &Core, number: u64) -> Result<Block, ReadError> {
    let missing = || ReadError::Block { number, error: BlockError::Form("it is missing") };
    let bytes = core.store.block(number)?.ok_or_else(missing)?;
    Block::parse(bytes).map_err(|error| ReadError::Block { number, error })
}

/// A block whose envelopes are decoded.
struct Ready {
    block: Block,
    envelopes: std::vec::IntoIter<Result<Envelope, BlockError>>,
}

fn ready(core: &Core, number: u64) -> Result<Ready, ReadError> {
    let block = load(core, number)?;
    let envelopes: Vec<_> = (0..block.header.events).map(|index| block.envelope(index)).collect();
    Ok(Ready { block, envelopes: envelopes.into_iter() })
}

type ReadyBlocks = Box<dyn Iterator<Item = Result<Ready, ReadError>> + Send>;

/// Returns blocks in order; if they are many, two threads take turns to read ahead.
fn ahead(core: &Arc<Core>, numbers: RangeInclusive<u64>) -> ReadyBlocks {
    let here = |numbers: RangeInclusive<u64>| -> ReadyBlocks {
        let own = Arc::clone(core);
        Box::new(numbers.map(move |number| ready(&own, number)))
    };
    if numbers.end() - numbers.start() < WORTH_A_THREAD {
        return here(numbers);
    }
    let mut readers = Vec::new();
    for turn in 0..2 {
        let (send, receive) = sync_channel(AHEAD);
        let (own, turns) = (Arc::clone(core), numbers.clone().skip(turn).step_by(2));
        // Whoever reads no further drops the receiver, and the thread ends.
        let reading = std::thread::Builder::new().name("waybill-ahead".into()).spawn(move || {
            for number in turns {
                if send.send(ready(&own, number)).is_err() {
                    return;
                }
            }
        });
        match reading {
            Ok(_) => readers.push(receive),
            Err(_) => return here(numbers),
        }
    }
    let mut turn = 0;
    Box::new(std::iter::from_fn(move || {
        turn = 1 - turn;
        readers[1 - turn].recv().ok()
    }))
}

fn event(
    core: &Core,
    block: &Block,
    index: u32,
    wanted: &mut impl FnMut(&Envelope) -> bool,
) -> Result<(Envelope, Opened), ReadError> {
    let position = Position(block.header.first.0 + u64::from(index));
    let envelope =
        block.envelope(index).map_err(|error| ReadError::Block { number: number_of(core, position), error })?;
    open(core, block, envelope, index, wanted)
}

fn open(
    core: &Core,
    block: &Block,
    envelope: Envelope,
    index: u32,
    wanted: &mut impl FnMut(&Envelope) -> bool,
) -> Result<(Envelope, Opened), ReadError> {
    let position = envelope.position;
    let Some(commitment) = envelope.content else { return Ok((envelope, Opened::Nothing)) };
    if !wanted(&envelope) {
        return Ok((envelope, Opened::Locked));
    }
    let subject = envelope.subject.unwrap_or(SubjectId::PROJECT);
    let held = core.keyring().key(subject)?;
    let opened = match (held, block.sealed(index)) {
        (Held::Locked, _) => Opened::Locked,
        (Held::Erased, _) | (_, None) => Opened::Erased,
        (Held::Key(key), Some(sealed)) => Opened::Content(
            vault::open(sealed, &key, position, subject, &commitment, &core.packer)
                .map_err(|error| ReadError::Content { position, error })?,
        ),
    };
    Ok((envelope, opened))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use crate::{
        event::{Event, KINDS},
        ledger::{Draft, Home, Ledger, Ports, Query},
        subject::{NameId, Position, RunId, SubjectId, SubjectKey},
    };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_index_finds_what_reading_everything_finds(
            batches in prop::collection::vec((0u32..40, 1u32..4, 0u32..5, 1usize..400), 1..12),
            kind in prop::option::of(0u8..u8::try_from(KINDS.len()).unwrap()), run in prop::option::of(0u32..6),
            subject in prop::option::of(0u32..45), actor in prop::option::of(0u32..5), from in 0u64..600,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let home = Home::new(dir.path().join("log"), dir.path().join("keys"));
            let ledger = Ledger::create(&home, Ports::system()).unwrap();
            for (who, run, actor, count) in batches {
                let draft = |n: usize| {
                    let id = (who + u32::try_from(n % 3).unwrap()).to_string();
                    let subject = ledger.subject(&SubjectKey::new("crm", "people", id)).unwrap();
                    let event = if n.is_multiple_of(5) { Event::RemoteJobOpened } else { Event::AfterImageTaken { destination: subject } };
                    let draft = Draft::new(NameId(actor), event).run(RunId(run));
                    if n.is_multiple_of(2) { draft.subject(subject) } else { draft }
                };
                ledger.append((0..count).map(draft).collect()).wait().unwrap();
            }
            let query = Query {
                kinds: kind.into_iter().collect(),
                actor: actor.map(NameId),
                run: run.map(RunId),
                subject: subject.map(SubjectId),
                ..Query::default()
            };
            let found = |ledger: &Ledger| -> Vec<u64> {
                ledger.reader().find(query.clone(), Position(from).., |_| false).map(|event| event.unwrap().0.position.0).collect()
            };
            let all = ledger.reader().read(Position(from).., |_| false).map(|event| event.unwrap().0);
            let expected: Vec<u64> = all.filter(|envelope| query.wants(envelope)).map(|envelope| envelope.position.0).collect();
            prop_assert_eq!(&found(&ledger), &expected);
            ledger.close().unwrap();
            let again = Ledger::open(&home, Ports::system()).unwrap();
            prop_assert_eq!(&found(&again), &expected);
        }
    }
}
