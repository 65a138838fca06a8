//! The only one that appends: every event of a run goes through here, and comes back into the state from the ledger.
//!
//! The state is fed by replay alone, live as after a restart. What a run believes is therefore what the ledger says.

use std::sync::Arc;

use waybill_ledger::{
    Content, Event, NameId, RunId, SubjectId, SubjectKey,
    event::{NameKind, RunKind, RunOutcome},
    ledger::{Appended, Draft, Ledger},
};

use crate::{
    aside::{Aside, aside},
    failure::Failure,
    state::State,
};

/// Appends events for one run.
#[derive(Clone)]
pub struct Recorder {
    ledger: Arc<Ledger>,
    run: Option<RunId>,
    actor: NameId,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("run", &self.run).finish_non_exhaustive()
    }
}

/// The actor of everything that the program does on its own.
const PROGRAM: &str = concat!("waybill ", env!("CARGO_PKG_VERSION"));

impl Recorder {
    /// Returns a recorder outside any run, acting as the program.
    pub fn new(ledger: Arc<Ledger>) -> Result<Self, Failure> {
        let actor = match ledger.find_name(NameKind::Actor, PROGRAM) {
            Some(actor) => actor,
            // Whoever only looks appends nothing, so its name is not needed.
            None if ledger.is_read_only() => NameId(0),
            None => ledger.name(NameKind::Actor, PROGRAM)?,
        };
        Ok(Self { ledger, run: None, actor })
    }

    /// Returns the same recorder, acting as this person.
    pub fn acting_as(&self, person: &str) -> Result<Self, Failure> {
        Ok(Self { actor: self.ledger.name(NameKind::Actor, person)?, ..self.clone() })
    }

    /// Begins a run and returns the recorder of it.
    pub async fn begin(
        &self,
        state: &mut State,
        kind: RunKind,
        plan: Option<waybill_ledger::Digest>,
    ) -> Result<Self, Failure> {
        let recorder = Self { run: Some(state.next_run()), ..self.clone() };
        recorder.append(vec![recorder.draft(Event::RunStarted { kind, plan })]).await?;
        state.catch_up(&recorder.ledger)?;
        Ok(recorder)
    }

    /// Goes on with a run that was broken off.
    pub async fn resume(&self, state: &mut State, run: RunId) -> Result<Self, Failure> {
        let recorder = Self { run: Some(run), ..self.clone() };
        recorder.append(vec![recorder.draft(Event::RunResumed)]).await?;
        state.catch_up(&recorder.ledger)?;
        Ok(recorder)
    }

    /// Ends the run.
    pub async fn end(&self, state: &mut State, outcome: RunOutcome) -> Result<(), Failure> {
        self.append(vec![self.draft(Event::RunEnded { outcome })]).await?;
        state.catch_up(&self.ledger)
    }

    /// Returns the run.
    pub fn run(&self) -> Option<RunId> {
        self.run
    }

    /// Returns the ledger, to read from.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Begins a draft of an event of this run.
    pub fn draft(&self, event: Event) -> Draft {
        let draft = Draft::new(self.actor, event);
        match self.run {
            Some(run) => draft.run(run),
            None => draft,
        }
    }

    /// Appends events and returns when they are durable.
    pub async fn append(&self, drafts: Vec<Draft>) -> Result<Appended, Failure> {
        if drafts.is_empty() {
            return Ok(Appended { first: self.ledger.reader().end(), count: 0 });
        }
        let receipt = self.ledger.append(drafts);
        aside(move || receipt.wait())
            .await
            .map_err(|e| Failure::failed(format!("the ledger's writer stopped: {e}")))?
            .map_err(Failure::from)
    }

    /// Hands events over on another thread, and returns at once. Whoever posts again waits for the last ones first, so that
    /// their order stays.
    pub fn post(&self, drafts: Vec<Draft>) -> Posted {
        let ledger = Arc::clone(&self.ledger);
        Posted(aside(move || if drafts.is_empty() { Ok(()) } else { ledger.append(drafts).wait().map(|_| ()) }))
    }

    /// Returns the number of a name, registering it first if it is new.
    pub fn name(&self, kind: NameKind, text: &str) -> Result<NameId, Failure> {
        Ok(self.ledger.name(kind, text)?)
    }

    /// Returns the slot of a subject, taking a new one if it is new.
    pub fn subject(&self, key: &SubjectKey) -> Result<SubjectId, Failure> {
        Ok(self.ledger.subject(key)?)
    }

    /// Writes down that a document of the program was made.
    pub fn document(&self, event: Event, kind: &str, text: String) -> Draft {
        self.draft(event).content(Content::Document { kind: kind.to_owned(), text })
    }
}

/// Events on their way into the ledger.
#[derive(Debug)]
pub struct Posted(Aside<Result<(), waybill_ledger::ledger::AppendError>>);

impl Posted {
    /// Returns when they are durable.
    pub async fn durable(self) -> Result<(), Failure> {
        let done = self.0.await.map_err(|e| Failure::failed(format!("the ledger's writer stopped: {e}")))?;
        done.map_err(Failure::from)
    }
}
