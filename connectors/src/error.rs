//! What can go wrong between us and a system outside.

use std::time::Duration;

/// An error of a conversation with a system, not of one row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// The server cannot be reached, or the connection broke and nothing was changed by it.
    #[error("{system} at {url} cannot be reached: {reason}")]
    Unreachable {
        /// The system.
        system: String,
        /// Where we tried, without secrets.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// The server does not accept who we are.
    #[error("{system} does not accept our credentials ({code})")]
    Unauthorized {
        /// The system.
        system: String,
        /// Its error code.
        code: String,
    },
    /// We may not do this.
    #[error("{system} does not permit {what} ({code})")]
    Forbidden {
        /// The system.
        system: String,
        /// What we tried.
        what: String,
        /// Its error code.
        code: String,
    },
    /// The quota is used up.
    #[error("the quota of {system} is used up ({code})")]
    Quota {
        /// The system.
        system: String,
        /// Its error code.
        code: String,
        /// When it may go on, if the server says so.
        wait: Option<Duration>,
    },
    /// The server is busy or failing; the request changed nothing or can be repeated.
    #[error("{system} is busy or failing ({code})")]
    Busy {
        /// The system.
        system: String,
        /// The status or code.
        code: String,
    },
    /// The server refuses the request as such.
    #[error("{system} refuses {what} ({code})")]
    Refused {
        /// The system.
        system: String,
        /// What we asked for.
        what: String,
        /// Its error code.
        code: String,
        /// Its message; it may quote values, so it is never logged.
        message: String,
    },
    /// The answer is not what the system's documentation promises.
    #[error("{system} answered {what} in a form that we do not understand: {detail}")]
    Malformed {
        /// The system.
        system: String,
        /// What we asked for.
        what: String,
        /// What is wrong with it, without quoting it.
        detail: String,
    },
    /// Something must be known that the server does not tell us.
    #[error("{system} does not tell {what}")]
    Untold {
        /// The system.
        system: String,
        /// What we have to know, and why.
        what: String,
        /// What a person can do about it.
        hint: &'static str,
    },
    /// The journal refused, so nothing more was sent.
    #[error(transparent)]
    Journal(#[from] crate::destination::JournalClosed),
}

impl RemoteError {
    /// Returns what a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "check the address in waybill.toml and the network, then run the same command again"
            }
            Self::Unauthorized { .. } => {
                "check the token or the client secret that waybill.toml names, then run the same command again"
            }
            Self::Forbidden { .. } => "ask an administrator to grant the permission, then run the same command again",
            Self::Quota { .. } => "wait until the quota is renewed, then run the same command again: it goes on",
            Self::Busy { .. } => "run the same command again: it goes on where it stopped",
            Self::Refused { .. } => "the code says what the system wants; correct the plan or the configuration",
            Self::Malformed { .. } => "check that waybill.toml points at the right server",
            Self::Untold { hint, .. } => hint,
            Self::Journal(_) => "look at the error of the ledger first",
        }
    }

    /// Returns whether and how the same request may be sent again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy { .. } => Retry::Soon,
            Self::Quota { .. } => Retry::Later,
            _ => Retry::Never,
        }
    }
}

/// Whether sending the same thing again may help. The connector says *what* may be retried; *how* is written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// The answer would be the same.
    Never,
    /// After a short pause (locks, a busy server).
    Soon,
    /// After the quota is renewed.
    Later,
}
