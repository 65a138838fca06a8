//! What can be wrong with a bundle as a whole. What is wrong with one row is an [`Item`](super::Item).

use std::path::PathBuf;

/// An error that stops the reading of a bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Nothing is at the path.
    #[error("there is nothing at {path}")]
    Missing {
        /// The path that was given.
        path: PathBuf,
    },
    /// What is at the path is neither a folder nor an archive nor a table.
    #[error("{path} is not an export: {found}")]
    NotABundle {
        /// The path that was given.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The files are not laid out as the profile says.
    #[error("this is not an export of {expected} as Waybill knows it{}; found {found}", .looks_like.as_ref().map_or(String::new(), |name| format!(": it looks like {name}")))]
    UnknownShape {
        /// What the profile reads.
        expected: String,
        /// The known product whose export this looks like.
        looks_like: Option<String>,
        /// The files and headers that were found.
        found: String,
    },
    /// The manifest is not one, or contradicts itself.
    #[error("{file} cannot be used: {reason}")]
    Manifest {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The manifest lists a file that is not there.
    #[error("the manifest lists {file} for {object}, but the file is not in the export")]
    FileMissing {
        /// The file.
        file: String,
        /// The object whose rows it holds.
        object: String,
    },
    /// A file is not the one that was exported.
    #[error("{file} was changed or damaged after the export: its SHA-256 is {found}, the manifest says {expected}")]
    DigestMismatch {
        /// The file.
        file: String,
        /// The digest that the manifest gives.
        expected: String,
        /// The digest of the file.
        found: String,
    },
    /// An archive cannot be read.
    #[error("the archive {archive} cannot be read: {reason}")]
    Archive {
        /// The archive.
        archive: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Two parts of the export hold different files under one name.
    #[error("{file} is in the export twice: in {first} and in {second}")]
    Twice {
        /// The file.
        file: String,
        /// Where it was seen first.
        first: String,
        /// Where it was seen again.
        second: String,
    },
    /// A column that the profile cannot do without is not there.
    #[error("{file} has no column {column}, by which the rows of {object} are told apart; it has {found}")]
    ColumnMissing {
        /// The file.
        file: String,
        /// The object.
        object: String,
        /// The column or columns.
        column: String,
        /// The columns that are there.
        found: String,
    },
    /// A column that the profile relies on is there twice.
    #[error("{file} has the column {column} twice, and the rows of {object} are told apart by it")]
    ColumnTwice {
        /// The file.
        file: String,
        /// The object.
        object: String,
        /// The column.
        column: String,
    },
    /// The text is in an encoding that cannot be told.
    #[error("{file} is not UTF-8 (the first other byte stands on line {line}), and no other encoding is declared")]
    EncodingUnknown {
        /// The file.
        file: String,
        /// The line of the first byte that is not UTF-8.
        line: u64,
    },
    /// A declared encoding has no meaning.
    #[error("{label:?} is not the name of an encoding ({file})")]
    NoSuchEncoding {
        /// The declared name.
        label: String,
        /// The file it is declared for.
        file: String,
    },
    /// Dates can be read in two ways.
    #[error("{file} writes dates with day and month in figures ({column}, line {line}), and nothing says which comes first{}", .shown.as_ref().map_or(String::new(), |s| format!("; {s}")))]
    DateOrder {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// The first line with such a date.
        line: u64,
        /// What other rows of the column suggest.
        shown: Option<String>,
    },
    /// A small file that must be read as a whole has a row that cannot be read.
    #[error("{file}, line {line}: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// The line.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The caller asked for an object that the bundle does not have.
    #[error("the export has no object {object}; it has {found}")]
    NoSuchObject {
        /// The object.
        object: String,
        /// The objects that are there.
        found: String,
    },
    /// The disk or the archive failed.
    #[error("{file} cannot be read: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl BundleError {
    /// Returns what a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "check the path of the export in waybill.toml",
            Self::NotABundle { .. } => {
                "point at a folder, a ZIP archive, or a CSV or JSON file; spreadsheets are to be saved as CSV first"
            }
            Self::UnknownShape { looks_like: Some(_), .. } => {
                "export from the right product, or write a profile for this one and name it in waybill.toml"
            }
            Self::UnknownShape { looks_like: None, .. } => {
                "check that the path points at the export itself; for another layout, write a profile and name it in waybill.toml"
            }
            Self::Manifest { .. } => "export again; a manifest is never to be edited by hand",
            Self::FileMissing { .. } => "put the file back, or export again: part of the data would be missing",
            Self::DigestMismatch { .. } => "take the file from the original export, or export again",
            Self::Archive { .. } => "copy the archive again from where it came from, or export again",
            Self::Twice { .. } => "keep one export per folder: these archives do not belong together",
            Self::ColumnMissing { .. } => "export with all columns, or name the right key column in the profile",
            Self::ColumnTwice { .. } => "rename one of the two columns and export again",
            Self::EncodingUnknown { .. } => {
                "export as UTF-8, or declare the encoding in the profile, for example: encoding = \"windows-1252\""
            }
            Self::NoSuchEncoding { .. } => {
                "use a name from the WHATWG Encoding Standard, such as utf-8, utf-16le or windows-1252"
            }
            Self::DateOrder { .. } => {
                "say which comes first in the profile: date_order = \"dmy\" or date_order = \"mdy\""
            }
            Self::Unreadable { .. } => "correct the line and run the same command again",
            Self::NoSuchObject { .. } => "check the name of the object in the plan",
            Self::Io { .. } => "check that the disk and the file can be read, then run the same command again",
        }
    }
}
