//! The one thread that writes: gathers drafts into blocks, makes each block durable, and only then acknowledges.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    anchor::Anchor,
    block::Builder,
    codec::CodecError,
    draft::Draft,
    event::{Envelope, Event},
    index::Gather,
    keyring::{Held, KeyringError},
    ledger::Core,
    opening::{dictionary_entry, erased_entry, name_entry},
    store::StoreError,
    subject::{Micros, NameId, Position, SubjectId},
    vault::{self, Boxed},
};

/// How many appends may wait before the caller does.
const WAITING: usize = 64;
/// A step of the clock that is worth an event, in microseconds.
const STEP: i64 = 1_000_000;

/// An append that was not made durable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// An event cannot be encoded; nothing was appended.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The keyring refuses.
    #[error("the keyring: {0}")]
    Keys(Arc<KeyringError>),
    /// The store refuses. Nothing more is taken; the process must end.
    #[error("the ledger cannot be written: {0}")]
    Store(Arc<StoreError>),
    /// The anchor cannot be written. Nothing more is taken; the process must end.
    #[error("the ledger's anchor cannot be written: {0}")]
    Anchor(Arc<io::Error>),
    /// An earlier append failed.
    #[error("the ledger takes no more: an earlier write failed")]
    Closed,
}

impl AppendError {
    /// Returns whether the disk is full.
    pub fn is_full(&self) -> bool {
        let full = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded
            )
        };
        match self {
            Self::Store(error) => matches!(&**error, StoreError::Io { error, .. } if full(error)),
            Self::Keys(error) => matches!(&**error, KeyringError::Io { error, .. } if full(error)),
            Self::Anchor(error) => full(error),
            _ => false,
        }
    }
}

/// Where appended events stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The position of the first.
    pub first: Position,
    /// How many there are.
    pub count: u64,
}

/// Waits for an append to be durable.
#[derive(Debug)]
pub struct Receipt(Receiver<Result<Appended, AppendError>>);

impl Receipt {
    /// Returns when every event of the append is durable.
    pub fn wait(self) -> Result<Appended, AppendError> {
        self.0.recv().unwrap_or(Err(AppendError::Closed))
    }
}

struct Request {
    drafts: Vec<(Draft, Option<Boxed>)>,
    done: SyncSender<Result<Appended, AppendError>>,
}

/// The handle on the writing thread, or on what writes without one.
#[derive(Debug)]
pub(crate) struct Writer {
    send: Mutex<Option<SyncSender<Request>>>,
    thread: Mutex<Option<JoinHandle<Result<(), AppendError>>>>,
    /// None after a failure.
    inline: Option<Mutex<Option<Desk>>>,
}

impl Writer {
    pub(crate) fn start(core: Arc<Core>, anchor: Option<Anchor>) -> Self {
        if core.ports.inline {
            let inline = Some(Mutex::new(Some(Desk::new(core, anchor))));
            return Self { send: Mutex::new(None), thread: Mutex::new(None), inline };
        }
        let (send, receive) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("waybill-ledger".into())
            .spawn(move || Desk::new(core, anchor).work(&receive))
            .expect("the system can start a thread");
        Self { send: Mutex::new(Some(send)), thread: Mutex::new(Some(thread)), inline: None }
    }

    /// Packs the contents on the caller's thread and hands the drafts over.
    pub(crate) fn append(&self, core: &Core, mut drafts: Vec<Draft>) -> Receipt {
        let (done, receipt) = sync_channel(1);
        let (packer, entropy) = (&core.packer, &*core.ports.entropy);
        let packed = drafts
            .drain(..)
            .map(|mut draft| {
                let boxed = draft.content.take().map(|content| vault::pack(&content, packer, entropy)).transpose()?;
                Ok((draft, boxed))
            })
            .collect::<Result<Vec<_>, CodecError>>();
        match packed {
            Err(e) => {
                // The channel has room for one answer and this is the first.
                let _ = done.send(Err(e.into()));
            }
            Ok(drafts) if let Some(inline) = &self.inline => {
                let mut desk = inline.lock().unwrap_or_else(PoisonError::into_inner);
                // Without a desk the answer is dropped, and the receipt says so.
                let written = desk.as_mut().map(|desk| {
                    let taken = desk.take(Request { drafts, done });
                    taken.and_then(|()| desk.commit()).map_err(|e| desk.give_up(&e))
                });
                if matches!(written, Some(Err(()))) {
                    *desk = None;
                }
            }
            Ok(drafts) => {
                let send = self.send.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(send) = send {
                    // A thread that is gone drops the receiver of the answer, and the receipt says so.
                    let _ = send.send(Request { drafts, done });
                }
            }
        }
        Receipt(receipt)
    }

    /// Waits until everything is written and ends the thread.
    pub(crate) fn close(&self) -> Result<(), AppendError> {
        self.send.lock().unwrap_or_else(PoisonError::into_inner).take();
        match self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(thread) => thread.join().unwrap_or(Err(AppendError::Closed)),
            None => Ok(()),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`.
        let _ = self.close();
    }
}

/// The writing thread's own things.
#[derive(Debug)]
struct Desk {
    core: Arc<Core>,
    anchor: Option<Anchor>,
    builder: Builder,
    gathered: Gather,
    room: Vec<(Vec<u8>, Vec<u8>)>,
    waiting: Vec<(SyncSender<Result<Appended, AppendError>>, Appended)>,
    next: Position,
    last: Micros,
    clock: (Micros, Duration),
}

impl Desk {
    fn new(core: Arc<Core>, anchor: Option<Anchor>) -> Self {
        let (next, last) = {
            let index = core.index.read().unwrap_or_else(PoisonError::into_inner);
            (index.end, Micros(index.last_time))
        };
        let clock = (core.ports.clock.now(), core.ports.clock.steady());
        Self {
            core,
            anchor,
            builder: Builder::default(),
            gathered: Gather::default(),
            room: Vec::new(),
            waiting: Vec::new(),
            next,
            last,
            clock,
        }
    }

    /// Lets go of the store, and answers everyone who waits.
    fn give_up(&mut self, error: &AppendError) {
        self.core.store.abandon();
        for (done, _) in self.waiting.drain(..) {
            // A caller that no longer waits needs no answer.
            let _ = done.send(Err(error.clone()));
        }
    }

    fn work(mut self, receive: &Receiver<Request>) -> Result<(), AppendError> {
        while let Ok(request) = receive.recv() {
            let mut request = Some(request);
            let done = loop {
                if let Some(request) = request.take()
                    && let Err(e) = self.take(request)
                {
                    break Err(e);
                }
                match receive.try_recv() {
                    Ok(next) => request = Some(next),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break self.commit(),
                }
            };
            if let Err(e) = done {
                self.give_up(&e);
                return Err(e);
            }
        }
        Ok(())
    }

    fn take(&mut self, request: Request) -> Result<(), AppendError> {
        self.notice_clock()?;
        let appended = Appended { first: self.next, count: request.drafts.len() as u64 };
        self.waiting.push((request.done, appended));
        let held = self.keys_of(&request.drafts)?;
        for ((draft, boxed), held) in request.drafts.into_iter().zip(held) {
            let mut causes = draft.causes;
            causes.extend(draft.earlier.iter().map(|index| Position(appended.first.0 + *index as u64)));
            let envelope = Envelope {
                position: self.next,
                time: self.time(),
                run: draft.run,
                actor: draft.actor,
                causes,
                subject: draft.subject,
                target: draft.target,
                batch: draft.batch,
                event: draft.event,
                content: boxed.as_ref().map(|boxed| boxed.commitment),
            };
            self.push(&envelope, boxed.as_ref().zip(held))?;
        }
        Ok(())
    }

    /// Returns the keys under which contents are sealed, with one look into the keyring.
    fn keys_of(&self, drafts: &[(Draft, Option<Boxed>)]) -> Result<Vec<Option<Held>>, AppendError> {
        let mut keyring = self.core.keyring();
        let key = |(draft, boxed): &(Draft, Option<Boxed>)| {
            let subject = draft.subject.unwrap_or(SubjectId::PROJECT);
            boxed.as_ref().map(|_| keyring.key(subject)).transpose().map_err(keys)
        };
        drafts.iter().map(key).collect()
    }

    fn push(&mut self, envelope: &Envelope, content: Option<(&Boxed, Held)>) -> Result<(), AppendError> {
        let subject = envelope.subject.unwrap_or(SubjectId::PROJECT);
        let entropy = &*self.core.ports.entropy;
        let sealed = match content {
            Some((boxed, Held::Key(key))) => Some(vault::seal(boxed, &key, envelope.position, subject, entropy)),
            Some((_, Held::Locked)) => return Err(AppendError::Closed),
            // Nothing more is kept about a forgotten subject.
            Some((_, Held::Erased)) | None => None,
        };
        self.builder.push(envelope, sealed.as_deref())?;
        self.gathered.note(envelope);
        if let Event::NameRegistered { name, .. } = envelope.event {
            self.room.push(name_entry(name, envelope.position));
        }
        if let Event::DictionaryAdded { dictionary } = envelope.event {
            self.room.push(dictionary_entry(dictionary, envelope.position));
        }
        if let Event::SubjectErased { erased } = envelope.event {
            self.room.push(erased_entry(erased, envelope.position));
        }
        self.next = self.next.next();
        let sealing = self.core.ports.sealing;
        if self.builder.events() >= sealing.events || self.builder.vault_bytes() >= sealing.bytes {
            self.commit()?;
        }
        Ok(())
    }

    fn time(&mut self) -> Micros {
        self.last = self.last.max(self.core.ports.clock.now());
        self.last
    }

    /// Writes down a step of the wall clock against the clock that nobody can set.
    fn notice_clock(&mut self) -> Result<(), AppendError> {
        let (now, steady) = (self.core.ports.clock.now(), self.core.ports.clock.steady());
        let (then, steady_then) = std::mem::replace(&mut self.clock, (now, steady));
        let passed = i64::try_from(steady.saturating_sub(steady_then).as_micros()).unwrap_or(i64::MAX);
        let by = now.0.saturating_sub(then.0).saturating_sub(passed);
        if by.abs() <= STEP {
            return Ok(());
        }
        let envelope = Envelope {
            position: self.next,
            time: self.time(),
            run: None,
            actor: NameId(0),
            causes: Vec::new(),
            subject: None,
            target: None,
            batch: None,
            event: Event::ClockStepped { by },
            content: None,
        };
        self.push(&envelope, None)
    }

    /// Seals the block, makes it durable, and acknowledges what it completes.
    fn commit(&mut self) -> Result<(), AppendError> {
        if self.builder.events() > 0 {
            let (number, previous) = {
                let index = self.core.index.read().unwrap_or_else(PoisonError::into_inner);
                (index.tree.size(), index.tree.root())
            };
            let (header, bytes) = std::mem::take(&mut self.builder).finish(previous);
            self.core.keyring().sync().map_err(keys)?;
            self.core.store.append(number, &bytes, &self.room).map_err(|e| AppendError::Store(Arc::new(e)))?;
            self.room.clear();
            let (gathered, began) = (std::mem::take(&mut self.gathered), Instant::now());
            self.core.lookup.write().unwrap_or_else(PoisonError::into_inner).close_block(
                number,
                header.leaf(),
                gathered,
            );
            let spent = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.core.indexing.fetch_add(spent, Ordering::Relaxed);
            let head = {
                let mut index = self.core.index.write().unwrap_or_else(PoisonError::into_inner);
                index.push(&header);
                index.head()
            };
            if let Some(anchor) = &mut self.anchor {
                anchor.write(&head).map_err(|e| AppendError::Anchor(Arc::new(e)))?;
            }
        }
        let durable = self.next;
        self.waiting.retain(|(done, appended)| {
            let there = appended.first.0 + appended.count <= durable.0;
            if there {
                // A caller that no longer waits needs no answer.
                let _ = done.send(Ok(*appended));
            }
            !there
        });
        Ok(())
    }
}

fn keys(error: KeyringError) -> AppendError {
    AppendError::Keys(Arc::new(error))
}
