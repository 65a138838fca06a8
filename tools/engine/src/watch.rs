//! Deltas for as long as a cutover takes: one after the other, until the time is up.

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    failure::{Failure, FailureKind},
    reconcile::Tolerance,
    run::{self, RunReport},
    session::Session,
};

/// How long, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// No delta begins after so long.
    pub lasts: Duration,
    /// From the beginning of one delta to that of the next one.
    pub every: Duration,
    /// Whether each phase is read back before the next, and what may be off.
    pub reconcile: Option<Tolerance>,
}

/// One delta of a watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pass {
    /// Its number, from 1.
    pub pass: u64,
    /// Records that were new or changed at the source.
    pub changed: u64,
    /// Records that the source said are gone.
    pub gone: u64,
    /// Rows written at the destination: made, changed or removed.
    pub written: u64,
    /// What the delta did.
    pub report: RunReport,
}

/// How a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// Deltas that went through.
    pub passes: u64,
    /// Deltas that failed and were tried again with the next one.
    pub failed: u64,
    /// Whether the last one found nothing to do.
    pub quiet: bool,
}

/// What a watch tells while it lasts.
#[derive(Debug)]
pub enum Told<'a> {
    /// A delta went through.
    Pass(&'a Pass),
    /// A delta failed; the next one tries again.
    Failed(&'a Failure),
}

/// Runs deltas until the window is over or somebody stops it, and tells of each one. A source or a destination that cannot be
/// reached for a while is tried again with the next delta; whatever a person must decide ends the watch. A delta that has begun
/// is always finished.
pub async fn watch(
    session: &mut Session,
    stop: &CancellationToken,
    window: Window,
    tell: &mut (dyn FnMut(Told<'_>) -> Result<(), Failure> + Send),
) -> Result<Watched, Failure> {
    let end = Instant::now() + window.lasts;
    let mut watched = Watched { passes: 0, failed: 0, quiet: false };
    loop {
        let began = Instant::now();
        let failure = match run::delta(session, stop, window.reconcile).await {
            Ok(report) => {
                watched.passes += 1;
                let pass = pass(watched.passes, report);
                watched.quiet = pass.changed + pass.gone + pass.written == 0;
                tell(Told::Pass(&pass))?;
                None
            }
            Err(failure) if failure.kind == FailureKind::Failed => {
                watched.failed += 1;
                watched.quiet = false;
                tell(Told::Failed(&failure))?;
                Some(failure)
            }
            Err(failure) => return Err(failure),
        };
        let next = began + window.every;
        if next >= end || stop.is_cancelled() {
            return failure.map_or(Ok(watched), Err);
        }
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = stop.cancelled() => return failure.map_or(Ok(watched), Err),
        }
    }
}

fn pass(pass: u64, report: RunReport) -> Pass {
    Pass {
        pass,
        changed: report.read.iter().map(|read| read.extracted).sum(),
        gone: report.read.iter().map(|read| read.gone).sum(),
        written: report.phases.iter().map(|phase| phase.created + phase.updated + phase.deleted).sum(),
        report,
    }
}
