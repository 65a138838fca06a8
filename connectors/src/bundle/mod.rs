//! Reads an export: a folder, an archive, or several archives of one export, laid out as a [`Profile`] says.
//!
//! ```no_run
//! use waybill_connectors::bundle::{Bundle, Item, Profile};
//!
//! let profile = Profile::shipped("spark").expect("Waybill ships it");
//! let bundle = Bundle::open("export.zip".as_ref(), &profile)?;
//! for item in bundle.read("contacts")? {
//!     match item {
//!         Item::Record { record, .. } => println!("{}", record.id),
//!         Item::Unreadable { origin, reason } => println!("{origin}: {reason}"),
//!         Item::Gone { id, .. } => println!("{id} is gone"),
//!     }
//! }
//! # Ok::<(), waybill_connectors::bundle::BundleError>(())
//! ```
//!
//! A file is read as a stream, so its size does not matter. Every row of every file becomes exactly one [`Item`]; a row that is
//! no record says where it stands and what is wrong with it.
//!
//! **Invariant:** nothing here writes, and nothing here guesses: an encoding that cannot be told, a date that can be read in two
//! ways, an export that nobody knows are errors with a question.

mod cell;
mod container;
mod custom;
mod encoding;
mod error;
mod gone;
mod item;
pub(crate) mod json;
mod json_stream;
mod manifest;
mod moment;
mod open;
mod part;
mod pledge;
mod profile;
mod recipe;
mod recognise;
mod rows;
mod scan;
mod schema;
mod table;
mod table_items;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    io::Read,
    path::Path,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use waybill_ledger::Schema;

pub(crate) use self::{
    cell::{ColumnSpec, Values},
    container::{Container, Entry, Spool},
    profile::{Custom, ObjectProfile, OneOrMany, fits},
    recipe::{Recipe, join_key},
    recognise::Look,
};
use self::{custom::CustomColumns, gone::GoneList, part::Part, pledge::Pledge};
pub use self::{
    error::BundleError,
    item::{DeletedHow, Item, Origin, Sight},
    pledge::Mark,
    profile::{Profile, ProfileError},
};

/// An export that was opened and found to be what the profile says.
#[derive(Debug, Clone)]
pub struct Bundle {
    container: Container,
    identity: Identity,
    objects: Vec<BundleObject>,
    custom: CustomColumns,
    gone: Vec<GoneList>,
    unread: Vec<String>,
    notes: Vec<String>,
    pledges: Arc<[Pledge]>,
}

/// One object of an export.
#[derive(Debug, Clone)]
pub struct BundleObject {
    /// The name, as the profile spells it.
    pub name: String,
    /// The rows that the manifest promises for the files of this object.
    pub rows: Option<u64>,
    /// The rows that the source had when it exported, if the manifest says so.
    pub source_total: Option<u64>,
    /// Whether the manifest says that the export was cut off.
    pub capped: bool,
    /// Whether the manifest says that only visible columns were exported.
    pub visible_columns_only: bool,
    /// The files, relative to the bundle.
    pub files: Vec<String>,
    /// The columns of all its files, as the profile spells them.
    pub columns: Vec<String>,
    /// Those columns for which the profile has no word. They are read all the same.
    pub unknown: Vec<String>,
    /// The column or columns that tell rows apart; none means that the place in the file does.
    pub key: Vec<String>,
    /// The objects to which its columns point.
    pub links: BTreeMap<String, Vec<String>>,
    /// Whether its rows describe the source (pipelines, stages, users) rather than being migrated one by one.
    pub reference: bool,
    /// What a person should know about its files.
    pub notes: Vec<String>,
    /// The words by which columns and lists call the object.
    words: Arc<[String]>,
    parts: Vec<Part>,
}

/// Whose export it is, and how we know.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The product, in the words of the profile.
    pub product: String,
    /// The variant of the product, if the manifest says so.
    pub variant: Option<String>,
    /// By what it was recognised.
    pub evidence: String,
    /// The share of columns that the profile knows, from 0 to 1.
    pub matched: f64,
    /// Whether the export came with a manifest. Without one, a person should confirm what was recognised.
    pub manifest: bool,
    /// Whose data it is.
    pub account: Account,
    /// When it was exported.
    pub exported_at: Option<DateTime<Utc>>,
    /// The export's own id.
    pub bundle_id: Option<String>,
    /// The export's place in a series of deltas.
    pub sequence: Option<u64>,
    /// The export before it in a series.
    pub previous_bundle_id: Option<String>,
    /// Whether it holds everything or what changed.
    pub extent: Extent,
    /// What the exporter adds in words.
    pub notes: Option<String>,
}

/// Whether an export holds everything or what changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Everything that the source has.
    Full,
    /// What changed since a moment, that moment included.
    Delta {
        /// The moment.
        since: Option<DateTime<Utc>>,
    },
}

/// Whose data an export holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The account's id in the source.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// The IANA zone of times without offset.
    pub time_zone: Option<String>,
    /// Its language and region.
    pub locale: Option<String>,
    /// Its ISO 4217 currency.
    pub currency: Option<String>,
    /// The region of phone numbers without country code.
    pub phone_region: Option<String>,
    /// The workspace inside the account.
    pub workspace: Option<String>,
}

impl Bundle {
    /// Opens the export at `path` and checks that it is what `profile` says, files and digests included. Blocks on the disk.
    pub fn open(path: &Path, profile: &Profile) -> Result<Self, BundleError> {
        open::open(Container::open(path)?, path, profile, true)
    }

    /// The same without reading the files for their digests: whoever wants to do that beside something else calls
    /// [`Bundle::check`] for every file that is [`Bundle::pledged`], and takes nothing for what the source holds before.
    pub fn open_unchecked(path: &Path, profile: &Profile) -> Result<Self, BundleError> {
        open::open(Container::open(path)?, path, profile, false)
    }

    /// Opens what was read of a source elsewhere as if it were an export.
    pub(crate) fn over(container: Container, shown: &Path, profile: &Profile) -> Result<Self, BundleError> {
        open::open(container, shown, profile, true)
    }

    /// Says by what the source was known, where that is not the manifest.
    pub(crate) fn known_by(&mut self, evidence: String) {
        self.identity.evidence = evidence;
    }

    /// Adds what a person should know.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Returns how the rows of an object are read.
    pub(crate) fn recipe(&self, object: &str) -> Result<Option<Arc<Recipe>>, BundleError> {
        Ok(self.object(object)?.parts.first().map(|part| Arc::clone(&part.recipe)))
    }

    /// Returns the words by which columns and lists call an object.
    pub(crate) fn words_of(&self, object: &str) -> Result<Arc<[String]>, BundleError> {
        Ok(Arc::clone(&self.object(object)?.words))
    }

    /// Returns the objects that are there, in the order of the profile.
    pub fn objects(&self) -> &[BundleObject] {
        &self.objects
    }

    /// Returns the object of that name.
    pub fn object(&self, name: &str) -> Result<&BundleObject, BundleError> {
        self.objects.iter().find(|object| object.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
            let found: Vec<&str> = self.objects.iter().map(|object| object.name.as_str()).collect();
            BundleError::NoSuchObject { object: name.to_owned(), found: found.join(", ") }
        })
    }

    /// Returns the names of the objects that are there by every word that columns and lists use for them, in small letters.
    pub fn words(&self) -> BTreeMap<String, String> {
        let of = |object: &BundleObject| {
            object.words.iter().map(|word| (word.to_lowercase(), object.name.clone())).collect::<Vec<_>>()
        };
        self.objects.iter().flat_map(of).collect()
    }

    /// Returns whose export it is, and how we know.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the files that no object of the profile claims. They are not read.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }

    /// Returns what a person should know about the export as a whole.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the objects and fields of the export. Nothing in it can be written.
    pub fn schema(&self) -> Result<Schema, BundleError> {
        Ok(self.describe())
    }

    /// Returns the rows that the manifest promises for `object`.
    pub fn expected(&self, object: &str) -> Option<u64> {
        self.object(object).ok()?.rows
    }

    /// Opens `object` for reading, first the rows of its files, then the records that are gone.
    pub fn read(&self, object: &str) -> Result<Items, BundleError> {
        let object = self.object(object)?;
        Ok(Items {
            parts: object.parts.iter().cloned().collect(),
            gone: self.gone.iter().cloned().collect(),
            words: Arc::clone(&object.words),
            current: None,
        })
    }

    /// Returns whether the export holds a binary.
    pub fn has_binary(&self, path: &str) -> bool {
        self.container.look_up(path).is_some()
    }

    /// Opens a binary of the export by its path, such as `files/17/offer.pdf`; also gives its size in bytes.
    pub fn binary(&self, path: &str) -> Result<(Box<dyn Read + Send>, u64), BundleError> {
        let entry = self
            .container
            .look_up(path)
            .ok_or_else(|| BundleError::FileMissing { file: path.to_owned(), object: "files".to_owned() })?;
        let input = entry.open().map_err(|source| BundleError::Io { file: path.to_owned(), source })?;
        Ok((input, entry.size))
    }
}

/// The items of one object, read as they are asked for.
pub struct Items {
    parts: VecDeque<Part>,
    gone: VecDeque<GoneList>,
    words: Arc<[String]>,
    current: Option<Box<dyn Iterator<Item = Item> + Send>>,
}

impl std::fmt::Debug for Items {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Items").field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

impl Iterator for Items {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.current.as_mut().and_then(Iterator::next) {
                return Some(item);
            }
            let (file, opened) = if let Some(part) = self.parts.pop_front() {
                let opened = part.open().map(|items| Box::new(items) as Box<dyn Iterator<Item = Item> + Send>);
                (part.path, opened)
            } else if let Some(list) = self.gone.pop_front() {
                let opened = list.open(Arc::clone(&self.words)).map(|items| Box::new(items) as Box<_>);
                (list.file().to_owned(), opened)
            } else {
                return None;
            };
            match opened {
                Ok(items) => self.current = Some(items),
                Err(error) => {
                    self.current = None;
                    let (origin, reason) = Origin::of_closed(&file, &error);
                    return Some(Item::Unreadable { origin, reason });
                }
            }
        }
    }
}
