//! What a caller hands to the ledger: an event that has no position and no time yet.

use crate::{
    content::Content,
    event::Event,
    subject::{BatchId, NameId, Position, RunId, SubjectId, TargetPart},
};

/// An event before it is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub(crate) actor: NameId,
    pub(crate) event: Event,
    pub(crate) run: Option<RunId>,
    pub(crate) subject: Option<SubjectId>,
    pub(crate) target: Option<TargetPart>,
    pub(crate) batch: Option<BatchId>,
    pub(crate) causes: Vec<Position>,
    pub(crate) earlier: Vec<usize>,
    pub(crate) content: Option<Content>,
}

impl Draft {
    /// Begins a draft: this actor did this.
    pub fn new(actor: NameId, event: Event) -> Self {
        Self {
            actor,
            event,
            run: None,
            subject: None,
            target: None,
            batch: None,
            causes: Vec::new(),
            earlier: Vec::new(),
            content: None,
        }
    }

    /// Names the run it belongs to.
    #[must_use]
    pub fn run(mut self, run: RunId) -> Self {
        self.run = Some(run);
        self
    }

    /// Names the record it is about.
    #[must_use]
    pub fn subject(mut self, subject: SubjectId) -> Self {
        self.subject = Some(subject);
        self
    }

    /// Names which of the subject's destination records it is about.
    #[must_use]
    pub fn target(mut self, target: TargetPart) -> Self {
        self.target = Some(target);
        self
    }

    /// Names the batch it belongs to.
    #[must_use]
    pub fn batch(mut self, batch: BatchId) -> Self {
        self.batch = Some(batch);
        self
    }

    /// Adds an event that led to it.
    #[must_use]
    pub fn cause(mut self, cause: Position) -> Self {
        self.causes.push(cause);
        self
    }

    /// Adds an event that led to it and is appended together with it, by its index among the drafts.
    #[must_use]
    pub fn earlier(mut self, index: usize) -> Self {
        self.earlier.push(index);
        self
    }

    /// Gives it content, which is sealed under the key of its subject, or of the project if it has none.
    #[must_use]
    pub fn content(mut self, content: Content) -> Self {
        self.content = Some(content);
        self
    }
}
