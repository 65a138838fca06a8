//! One file a command.

pub(crate) mod approve;
pub(crate) mod assess;
pub(crate) mod audit;
pub(crate) mod delta;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod discover;
pub(crate) mod erase;
pub(crate) mod generate;
pub(crate) mod handover;
pub(crate) mod holds;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod preflight;
pub(crate) mod reconcile;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod sample;
pub(crate) mod sandbox;
pub(crate) mod schema;
pub(crate) mod status;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use waybill_engine::{erase::again, failure::Failure, progress::Progress, project::Project, session::Session};

use crate::{Context, output::Bars};

/// Opens the project that the command is about, with bars for long work.
pub(crate) async fn open(context: &Context) -> Result<(Session, Arc<Bars>), Failure> {
    opened(context, Session::open).await
}

/// Opens the project for a command that may find nothing to write: see [`Session::open_lightly`].
pub(crate) async fn open_lightly(context: &Context) -> Result<(Session, Arc<Bars>), Failure> {
    opened(context, Session::open_lightly).await
}

/// Opens the project that the command asks about: also while another process writes its ledger.
pub(crate) async fn look(context: &Context) -> Result<(Session, Arc<Bars>), Failure> {
    opened(context, Session::look).await
}

async fn opened(
    context: &Context,
    open: impl AsyncFnOnce(Project, Arc<dyn Progress>) -> Result<Session, Failure>,
) -> Result<(Session, Arc<Bars>), Failure> {
    let project = Project::open(&context.dir)?;
    let bars = Arc::new(Bars::new(context.output));
    let session = open(project, Arc::clone(&bars) as _).await?;
    tell_forgotten(context, &session);
    Ok((session, bars))
}

fn tell_forgotten(context: &Context, session: &Session) {
    for (subject, position) in again(session) {
        context.output.say(&format!(
            "the keyring was older than the ledger: subject {subject}, erased at position {position}, is forgotten again"
        ));
    }
}

/// Takes the bars away and closes the ledger; an error of the work comes before one of closing.
pub(crate) async fn close<T>(session: Session, bars: &Bars, done: Result<T, Failure>) -> Result<T, Failure> {
    bars.clear();
    let closed = session.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

/// Returns a token that the first Ctrl-C cancels; the second one ends the process at once.
pub(crate) fn stop_on_signal(context: &Context) -> CancellationToken {
    let token = CancellationToken::new();
    let (stop, output) = (token.clone(), context.output);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        output.say("stopping after the batch under way; once more to stop at once (nothing acknowledged is lost)");
        stop.cancel();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::abort();
        }
    });
    token
}
