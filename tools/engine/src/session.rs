//! An open project: its ledger, what the ledger says, and who listens.

use std::sync::Arc;

use waybill_connectors::{AnyDestination, Destination, Instance, transport::Http};
use waybill_ledger::{
    Event, Schema, User,
    event::{RunKind, RunOutcome},
    ledger::{Ledger, OpenError, Ports},
};
use waybill_projector::mapping::Plan;

use crate::{
    aside::aside,
    extract::{Digests, Source},
    failure::Failure,
    flaws::{Flaws, Sound},
    progress::Progress,
    project::Project,
    recorder::Recorder,
    state::State,
};

/// An open project.
pub struct Session<M = Sound> {
    /// The project.
    pub project: Project,
    /// What the ledger says.
    pub state: State,
    /// Appends to it.
    pub recorder: Recorder,
    /// Who listens to long work.
    pub progress: Arc<dyn Progress>,
    /// The mistakes that a simulation wants.
    pub flaws: M,
    /// What carries requests, where it is not the network.
    wire: Option<Arc<dyn Http>>,
}

impl<M> std::fmt::Debug for Session<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("project", &self.project.dir).finish_non_exhaustive()
    }
}

impl Session {
    /// Opens the project's ledger for writing, making it if there is none yet.
    pub async fn open(project: Project, progress: Arc<dyn Progress>) -> Result<Self, Failure> {
        let mut session = Self::open_lightly(project, progress).await?;
        session.know_ids()?;
        Ok(session)
    }

    /// The same for whoever may find that there is nothing to write: where records live at the destination is not known before
    /// [`Session::know_ids`].
    pub async fn open_lightly(project: Project, progress: Arc<dyn Progress>) -> Result<Self, Failure> {
        let home = project.home();
        let ledger = aside(move || match Ledger::open(&home, Ports::system()) {
            Err(OpenError::Missing { .. }) => Ledger::create(&home, Ports::system()),
            opened => opened,
        })
        .await
        .map_err(|e| Failure::failed(format!("the ledger could not be opened: {e}")))??;
        Self::over(Arc::new(ledger), project, progress, (Sound, None)).await
    }

    /// Opens the project's ledger to read it, also while another process writes it.
    pub async fn look(project: Project, progress: Arc<dyn Progress>) -> Result<Self, Failure> {
        let home = project.home();
        let ledger = aside(move || match Ledger::look(&home, Ports::system()) {
            Err(OpenError::Missing { .. }) => Ledger::create(&home, Ports::system()),
            opened => opened,
        })
        .await
        .map_err(|e| Failure::failed(format!("the ledger could not be opened: {e}")))??;
        Self::over(Arc::new(ledger), project, progress, (Sound, None)).await
    }
}

impl<M: Flaws> Session<M> {
    /// Opens a project whose ledger the caller has opened and whose requests the caller carries, with the mistakes that are
    /// to be noticed.
    pub async fn on(
        ledger: Ledger,
        wire: Arc<dyn Http>,
        flaws: M,
        project: Project,
        progress: Arc<dyn Progress>,
    ) -> Result<Self, Failure> {
        let mut session = Self::over(Arc::new(ledger), project, progress, (flaws, Some(wire))).await?;
        session.know_ids()?;
        Ok(session)
    }

    async fn over(
        ledger: Arc<Ledger>,
        project: Project,
        progress: Arc<dyn Progress>,
        (flaws, wire): (M, Option<Arc<dyn Http>>),
    ) -> Result<Self, Failure> {
        let recorder = Recorder::new(Arc::clone(&ledger))?;
        if ledger.reader().end().0 <= 1 && !ledger.is_read_only() {
            recorder.append(vec![recorder.draft(Event::ProjectOpened)]).await?;
        }
        let state = State::restore(&project.config.project.id, &ledger)?;
        Ok(Self { project, state, recorder, progress, flaws, wire })
    }

    /// Reads where every record of ours lives at the destination, if that is not known yet.
    pub fn know_ids(&mut self) -> Result<(), Failure> {
        self.state.know_ids(self.recorder.ledger())
    }

    /// Opens the source that the project reads.
    pub async fn source(&self) -> Result<Source, Failure> {
        Source::of(&self.project, self.wire.as_ref(), Digests::Now).await
    }

    /// The same for whoever holds the files against their digests beside reading them.
    pub async fn source_unchecked(&self) -> Result<Source, Failure> {
        Source::of(&self.project, self.wire.as_ref(), Digests::Later).await
    }

    /// Connects to the destination that the project writes.
    pub async fn destination(&self) -> Result<Reached, Failure> {
        let destination = self.project.reach(self.wire.as_ref()).await?;
        let instance = destination.identify().await?;
        Ok(Reached { destination: Arc::new(destination), instance })
    }

    /// Reads the plan and refuses it if it contradicts itself. It carries the custom fields that the source has shown.
    pub fn plan(&self) -> Result<(Plan, String), Failure> {
        let (plan, text) = self.project.plan()?;
        let schema = crate::prepare::last_schema(self, waybill_ledger::event::Side::Source)?;
        Ok((crate::prepare::whole(plan, &schema, self)?, text))
    }

    /// Ends the session: everything is durable and the lock is free when it returns.
    pub async fn close(mut self) -> Result<(), Failure> {
        let ledger = Arc::clone(self.recorder.ledger());
        // What a run has appended last may not be taken in yet.
        self.state.catch_up(&ledger)?;
        self.state.keep(&ledger)?;
        drop(self);
        let Some(ledger) = Arc::into_inner(ledger) else { return Ok(()) };
        aside(move || ledger.close())
            .await
            .map_err(|e| Failure::failed(format!("the ledger could not be closed: {e}")))??;
        Ok(())
    }

    /// Begins a run, or goes on with the last one of this kind if it was broken off under the same plan.
    pub async fn begin(
        &mut self,
        kind: RunKind,
        plan: Option<waybill_ledger::Digest>,
    ) -> Result<(Recorder, bool), Failure> {
        if let Some(run) = self.state.unfinished(kind, plan) {
            let recorder = self.recorder.resume(&mut self.state, run).await?;
            return Ok((recorder, true));
        }
        let recorder = self.recorder.begin(&mut self.state, kind, plan).await?;
        Ok((recorder, false))
    }

    /// Ends a run.
    pub async fn end(&mut self, recorder: &Recorder, outcome: RunOutcome) -> Result<(), Failure> {
        recorder.end(&mut self.state, outcome).await
    }
}

/// A destination that answered.
#[derive(Debug)]
pub struct Reached {
    /// The connection.
    pub destination: Arc<AnyDestination>,
    /// Which instance it is and who we are there.
    pub instance: Instance,
}

impl Reached {
    /// Returns the system with its instance, the first part of every destination subject.
    pub fn name(&self) -> String {
        format!("{}:{}", self.destination.system(), self.instance.id)
    }

    /// Describes the objects that the plan touches.
    pub async fn schema(&self, plan: &Plan) -> Result<Schema, Failure> {
        Ok(self.destination.describe(&plan.destination_objects()).await?)
    }

    /// Lists everyone who can own records.
    pub async fn users(&self) -> Result<Vec<User>, Failure> {
        Ok(self.destination.users().await?)
    }
}
