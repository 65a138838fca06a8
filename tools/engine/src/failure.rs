//! The one error that leaves the engine: what happened, whose it is, and what to do next.

use std::{fmt, io, path::Path};

use waybill_connectors::RemoteError;
use waybill_ledger::ledger::{AppendError, KeyringError, OpenError, ReadError, VerifyError};

/// Why a command did not end well.
#[derive(Debug)]
pub struct Failure {
    /// Whose it is; decides the exit code.
    pub kind: FailureKind,
    /// What happened, in one sentence.
    pub what: String,
    /// The particulars, one per line: records by id, never by content.
    pub details: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
}

/// Whose a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// Something failed: the network, the disk, the remote system.
    Failed,
    /// The command, the configuration or the plan is wrong.
    Usage,
    /// A gate, a hold or a finding stopped it; a person decides.
    Stopped,
    /// The ledger is damaged.
    Ledger,
}

impl Failure {
    fn new(kind: FailureKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), details: Vec::new(), hint: None }
    }

    /// Something failed that may work next time.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Failed, what)
    }

    /// The user, the configuration or the plan asked for something impossible.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, what)
    }

    /// A gate, a hold or a finding stopped the work.
    pub fn stopped(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Stopped, what)
    }

    /// The ledger failed verification.
    pub fn ledger(what: impl Into<String>) -> Self {
        Self::new(FailureKind::Ledger, what)
    }

    /// A file or directory refused.
    pub fn io(what: &str, path: &Path, error: &io::Error) -> Self {
        let failure = Self::failed(format!("cannot {what} {}: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::StorageFull => failure.hint("free some space on that disk, then run the same command again"),
            io::ErrorKind::NotFound => failure.hint("check the path"),
            _ => failure,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a line of particulars.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// Adds lines of particulars.
    #[must_use]
    pub fn details(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(lines);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.details.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl std::error::Error for Failure {}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let kind = match error {
            RemoteError::Quota { .. } => FailureKind::Stopped,
            _ => FailureKind::Failed,
        };
        let hint = error.hint();
        let failure = Self::new(kind, error.to_string());
        let RemoteError::Quota { wait: Some(wait), .. } = error else { return failure.hint(hint) };
        let earliest =
            chrono::TimeDelta::from_std(wait).ok().and_then(|wait| chrono::Utc::now().checked_add_signed(wait));
        match earliest {
            Some(at) => failure.hint(format!("{hint}; at the earliest at {}", at.format("%Y-%m-%d %H:%M UTC"))),
            None => failure.hint(hint),
        }
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let failure = Self::failed(error.to_string());
        if error.is_full() {
            return failure
                .hint("free some space on the disk of the ledger, then run the same command again: it goes on");
        }
        failure.hint("everything acknowledged before is safe; look at the disk, then run the same command again")
    }
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Missing(_) => Self::usage(error.to_string())
                .hint("put the project's keys back in place, or set what [keys] in waybill.toml names; `waybill audit verify` proves the ledger without them"),
            KeyringError::Secret(_) => Self::usage(error.to_string())
                .hint("[keys] in waybill.toml says where the secret is found; it must be the one that the project was made with"),
            KeyringError::Damaged { .. } => {
                Self::ledger(error.to_string()).hint("put the last good copy of the project's keys in place")
            }
            _ => Self::failed(error.to_string()).hint("look at the disk of the keys, then run the same command again"),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let text = error.to_string();
        match error {
            OpenError::Missing { .. } => Self::usage(text).hint("begin with `waybill discover`"),
            OpenError::Held { .. } => {
                Self::failed(text).hint("wait until it is done, or stop it with Ctrl-C; then run the command again")
            }
            OpenError::Behind { .. } | OpenError::Damaged { .. } => Self::ledger(text)
                .hint("do not write with it; put the last good copy of the ledger in place and verify it first"),
            OpenError::Newer { .. } => Self::usage(text).hint("use the release that wrote it, or a newer one"),
            OpenError::Keys(error) => error.into(),
            OpenError::Io { error, .. } => {
                let failure = Self::failed(text);
                match error.kind() {
                    io::ErrorKind::StorageFull => {
                        failure.hint("free some space on that disk, then run the same command again")
                    }
                    _ => failure.hint("look at the disk and the rights of the directory"),
                }
            }
        }
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Keys(error) => error.into(),
            other => Self::ledger(other.to_string()).hint("check the ledger with `waybill audit verify`"),
        }
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Open(error) => error.into(),
            VerifyError::Earlier(error) => Self::usage(format!("the earlier head: {error}"))
                .hint("give the file of a head that this ledger signed: three lines, an empty one and a signature"),
            error @ VerifyError::Rewritten { .. } => Self::ledger(error.to_string()).hint(
                "one of the two is not what was acknowledged: compare with other copies of the ledger and of the head",
            ),
            torn @ VerifyError::Torn { .. } => Self::ledger(format!("the ledger does not verify: {torn}")).hint(
                "do not write with it; put the last good copy of the ledger in place, and keep the copied file for whoever looks into it",
            ),
            VerifyError::Damage(damage) => Self::ledger(format!("the ledger does not verify: {damage}"))
                .hint("do not write with it; put the last good copy of the ledger in place"),
        }
    }
}
