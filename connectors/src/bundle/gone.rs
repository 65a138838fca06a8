//! The lists of deleted and merged records (bundle convention, "deleted.csv" and "merges.csv").

use std::{collections::BTreeSet, sync::Arc};

use waybill_ledger::Fields;

use super::{
    error::BundleError,
    item::{DeletedHow, Item},
    part::{Part, PartItems, as_text},
    profile::{Deletions, Merges},
    recipe::moment,
};

/// One list, with the columns that matter.
#[derive(Debug, Clone)]
pub(crate) struct GoneList {
    part: Part,
    object: String,
    id: String,
    into: Option<String>,
    at: Option<String>,
}

impl GoneList {
    pub(crate) fn deletions(part: Part, columns: &Deletions) -> Self {
        let Deletions { object, id, at, .. } = columns.clone();
        Self { part, object, id, into: None, at }
    }

    pub(crate) fn merges(part: Part, columns: &Merges) -> Self {
        let Merges { object, id, into, at, .. } = columns.clone();
        Self { part, object, id, into: Some(into), at }
    }

    pub(crate) fn file(&self) -> &str {
        &self.part.path
    }

    /// Says how the list is read, wherever it lies.
    pub(crate) fn reading(&self) -> impl std::fmt::Debug {
        (self.part.reading(), &self.object, &self.id, &self.into, &self.at)
    }

    /// Reads the whole list once and returns the words for objects in it. A row that says nothing usable is an error: a deletion
    /// that goes unnoticed leaves a record alive.
    pub(crate) fn check(&self) -> Result<BTreeSet<String>, BundleError> {
        let io = |source| BundleError::Io { file: self.part.path.clone(), source };
        let mut words = BTreeSet::new();
        for item in self.part.open().map_err(io)? {
            match item {
                Item::Record { record, origin, .. } => {
                    let bad = |column: &str| BundleError::Unreadable {
                        file: origin.file.clone(),
                        line: origin.line,
                        reason: format!("the column {column} is empty"),
                    };
                    let has = |column: &str| as_text(record.fields.value(column)).ok_or_else(|| bad(column));
                    words.insert(has(&self.object)?.to_lowercase());
                    has(&self.id)?;
                    if let Some(into) = &self.into {
                        has(into)?;
                    }
                }
                Item::Unreadable { origin, reason } => {
                    return Err(BundleError::Unreadable { file: origin.file, line: origin.line, reason });
                }
                Item::Gone { .. } => {}
            }
        }
        Ok(words)
    }

    /// Opens the list for the rows about one object.
    pub(crate) fn open(&self, words: Arc<[String]>) -> std::io::Result<GoneItems> {
        Ok(GoneItems { list: self.clone(), items: self.part.open()?, words })
    }
}

/// The rows of a list that are about one object.
pub(crate) struct GoneItems {
    list: GoneList,
    items: PartItems,
    words: Arc<[String]>,
}

impl GoneItems {
    fn gone(&self, fields: &Fields) -> Option<Item> {
        let list = &self.list;
        let object = as_text(fields.value(&list.object))?;
        if !self.words.iter().any(|word| word.eq_ignore_ascii_case(object)) {
            return None;
        }
        let how = match &list.into {
            None => DeletedHow::Deleted,
            Some(into) => DeletedHow::Merged { into: as_text(fields.value(into))?.to_owned() },
        };
        let at = list.at.as_ref().and_then(|at| moment(fields.look(at), &list.part.recipe.conventions));
        Some(Item::Gone { id: as_text(fields.value(&list.id))?.to_owned(), how, at })
    }
}

impl Iterator for GoneItems {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            match self.items.next()? {
                Item::Record { record, .. } => {
                    if let Some(item) = self.gone(&record.fields) {
                        return Some(item);
                    }
                }
                // The list was read once without a fault; one that shows now is told.
                other => return Some(other),
            }
        }
    }
}
