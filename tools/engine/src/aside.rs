//! Work that takes the disk or the processor for long, beside the thread that everything else runs on.
//!
//! Threads are a port: a simulation keeps everything on its own thread, so that the same seed does the same in the same order.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};

thread_local! {
    static STAYS: Cell<bool> = const { Cell::new(false) };
}

/// Lets everything that this thread starts from now on happen on it, at once and in order.
pub fn stay_on_this_thread() {
    STAYS.set(true);
}

/// Returns on how many threads work may go on side by side.
pub(crate) fn cores() -> usize {
    if STAYS.get() { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

/// The work ended without a result: it panicked, or the program is ending.
#[derive(Debug)]
pub(crate) struct Stopped(String);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Work under way, or its result.
#[derive(Debug)]
pub(crate) enum Aside<T> {
    Done(Option<T>),
    Running(JoinHandle<T>),
}

// What is done is held by value and never pinned.
impl<T> Unpin for Aside<T> {}

impl<T> Future for Aside<T> {
    type Output = Result<T, Stopped>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Done(done) => Poll::Ready(done.take().ok_or_else(|| Stopped("it was asked for twice".to_owned()))),
            Self::Running(running) => Pin::new(running).poll(context).map_err(|e| Stopped(e.to_string())),
        }
    }
}

/// Begins to work.
pub(crate) fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Aside<T> {
    if STAYS.get() { Aside::Done(Some(work())) } else { Aside::Running(tokio::task::spawn_blocking(work)) }
}

/// Items in chunks, of which the next ones are made while the last ones are worked on.
pub(crate) struct Chunks<T> {
    size: usize,
    from: From<T>,
}

enum From<T> {
    Here(Box<dyn Iterator<Item = T> + Send>),
    Beside(mpsc::Receiver<Vec<T>>, Option<JoinHandle<()>>),
}

/// How many chunks may wait to be worked on.
const WAITING: usize = 4;

impl<T: Send + 'static> Chunks<T> {
    /// Begins to make them.
    pub(crate) fn of(items: impl Iterator<Item = T> + Send + 'static, size: usize) -> Self {
        if STAYS.get() {
            return Self { size, from: From::Here(Box::new(items)) };
        }
        let (send, receive) = mpsc::channel(WAITING);
        let maker = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::with_capacity(size);
            for item in items {
                chunk.push(item);
                if chunk.len() == size && send.blocking_send(std::mem::take(&mut chunk)).is_err() {
                    return;
                }
            }
            // A receiver that is gone has failed already and says why.
            let _ = send.blocking_send(chunk);
        });
        Self { size, from: From::Beside(receive, Some(maker)) }
    }

    /// Returns the next chunk; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<T>>, Stopped> {
        match &mut self.from {
            From::Here(items) => {
                let chunk: Vec<T> = items.by_ref().take(self.size).collect();
                Ok((!chunk.is_empty()).then_some(chunk))
            }
            From::Beside(receive, maker) => {
                if let Some(chunk) = receive.recv().await {
                    return Ok(Some(chunk));
                }
                match maker.take() {
                    Some(maker) => maker.await.map(|()| None).map_err(|e| Stopped(e.to_string())),
                    None => Ok(None),
                }
            }
        }
    }
}

/// Tasks under way at the same time, each on its own. Dropped, they end where they stand.
pub(crate) struct Tasks<T>(Under<T>);

enum Under<T> {
    Here(FuturesUnordered<BoxFuture<'static, T>>),
    Beside(JoinSet<T>),
}

impl<T> fmt::Debug for Tasks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("under_way", &self.len()).finish_non_exhaustive()
    }
}

impl<T> Tasks<T> {
    /// Returns how many are under way.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Under::Here(tasks) => tasks.len(),
            Under::Beside(tasks) => tasks.len(),
        }
    }
}

impl<T: Send + 'static> Tasks<T> {
    /// Returns no tasks.
    pub(crate) fn new() -> Self {
        Self(if STAYS.get() { Under::Here(FuturesUnordered::new()) } else { Under::Beside(JoinSet::new()) })
    }

    /// Begins one.
    pub(crate) fn begin(&mut self, task: impl Future<Output = T> + Send + 'static) {
        match &mut self.0 {
            Under::Here(tasks) => tasks.push(task.boxed()),
            Under::Beside(tasks) => {
                tasks.spawn(task);
            }
        }
    }

    /// Returns what the next one that ends came to; nothing if none is under way.
    pub(crate) async fn next(&mut self) -> Option<Result<T, Stopped>> {
        match &mut self.0 {
            Under::Here(tasks) => tasks.next().await.map(Ok),
            Under::Beside(tasks) => tasks.join_next().await.map(|done| done.map_err(|e| Stopped(e.to_string()))),
        }
    }

    /// Returns what one came to that has ended by now.
    pub(crate) fn ended(&mut self) -> Option<Result<T, Stopped>> {
        match &mut self.0 {
            Under::Here(tasks) => tasks.next().now_or_never().flatten().map(Ok),
            Under::Beside(tasks) => tasks.try_join_next().map(|done| done.map_err(|e| Stopped(e.to_string()))),
        }
    }
}
