//! The exit codes: a contract that scripts depend on.

use std::process::ExitCode;

use waybill_engine::failure::FailureKind;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// Something failed.
    Failed = 1,
    /// The command or the configuration is wrong.
    Usage = 2,
    /// A gate, a hold or a finding stopped it.
    Stopped = 3,
    /// The ledger failed verification.
    Ledger = 4,
}

impl From<FailureKind> for Exit {
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Failed => Self::Failed,
            FailureKind::Usage => Self::Usage,
            FailureKind::Stopped => Self::Stopped,
            FailureKind::Ledger => Self::Ledger,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
