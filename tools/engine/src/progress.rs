//! How long work tells where it is, without knowing who listens.

/// Listens to long work.
pub trait Progress: Send + Sync {
    /// A stretch of work begins, of about `of` steps.
    fn begin(&self, what: &str, of: u64);
    /// `by` more steps are done.
    fn advance(&self, by: u64);
    /// The stretch is over.
    fn end(&self);
    /// Something worth a line happened.
    fn note(&self, text: &str);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _of: u64) {}
    fn advance(&self, _by: u64) {}
    fn end(&self) {}
    fn note(&self, _text: &str) {}
}
