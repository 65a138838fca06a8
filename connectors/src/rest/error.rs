//! What can stop the reading of a REST source.

use super::{description::DescriptionError, paging::PagingError};
use crate::{bundle::BundleError, error::RemoteError};

/// An error of a REST source as a whole. What is wrong with one record is an [`Item`](crate::bundle::Item).
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The description is wrong.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The conversation failed.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A list cannot be read to its end.
    #[error("{object} cannot be read to the end: {error}")]
    Paging {
        /// The object.
        object: String,
        /// Why.
        error: PagingError,
    },
    /// The shape of the answers is not known, or could be several.
    #[error("the answers of {url} do not say how they are to be read: {what}")]
    Question {
        /// The server.
        url: String,
        /// What is not known.
        what: String,
        /// What was found, one line each.
        found: Vec<String>,
    },
    /// The answers are those of another product.
    #[error("{url} is not {expected} as Waybill knows it: it looks like {looks_like}")]
    Foreign {
        /// The server.
        url: String,
        /// What was expected.
        expected: String,
        /// What it looks like.
        looks_like: String,
        /// By what it was known.
        found: Vec<String>,
    },
    /// The server does not have something.
    #[error("{system} has no {what}")]
    Absent {
        /// The system.
        system: String,
        /// The path.
        what: String,
    },
    /// The source has no such object.
    #[error("the source has no object {object}; it has {found}")]
    NoSuchObject {
        /// The object.
        object: String,
        /// Those that it has.
        found: String,
    },
    /// What was read does not hang together.
    #[error(transparent)]
    Layout(#[from] BundleError),
    /// What was read cannot be put aside.
    #[error("what was read cannot be put aside: {0}")]
    Aside(#[from] std::io::Error),
}

impl RestError {
    /// Returns what a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Description(_) => "correct the description that waybill.toml names",
            Self::Remote(error) => error.hint(),
            Self::Paging { error, .. } => match error {
                PagingError::Repeats | PagingError::NothingNew | PagingError::NoMark { .. } => {
                    "check `paging` in the description against the API's documentation; nothing of the list was taken for whole"
                }
                PagingError::NoSign { .. } => "check the paths of `paging` in the description against an answer",
                PagingError::OtherServer { .. } => "set base_url to the server that holds the lists",
                PagingError::Capped { .. } => {
                    "ask for less at once: a filter in `query`, or `changed` with sorted = true, which goes on from where the list ended"
                }
                PagingError::Short { .. } | PagingError::Restless { .. } => {
                    "run the same command again when less is being changed at the source"
                }
            },
            Self::Question { .. } => {
                "say it in the description: `records` is where the list is, `paging` how the next page is asked for"
            }
            Self::Foreign { .. } => "point at the right server, or write a description for this one",
            Self::Absent { .. } => "check the path in the description; optional = true lets a server do without",
            Self::NoSuchObject { .. } => "check the name of the object in the plan",
            Self::Layout(error) => error.hint(),
            Self::Aside(_) => "free some space where temporary files go, then run the same command again",
        }
    }

    /// Returns the particulars, one line each.
    pub fn details(&self) -> &[String] {
        match self {
            Self::Question { found, .. } | Self::Foreign { found, .. } => found,
            _ => &[],
        }
    }
}
