//! How the named cells of a row become a record: the same for tables and for JSON.

use std::{collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use waybill_ledger::{Field, FieldName, Fields, Record, Value};

use super::{
    cell::{ColumnSpec, Conventions, boolean, typed},
    item::{DeletedHow, Item, Origin},
    profile::{ObjectProfile, Profile, Shared, fits},
};

/// Everything that must be known to read the rows of one object.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    pub(crate) key: Vec<String>,
    pub(crate) modified: Option<String>,
    pub(crate) deleted: Option<String>,
    pub(crate) conventions: Arc<Conventions>,
    /// Column names as the profile spells them, by lower case.
    spelling: BTreeMap<String, String>,
    /// Exact names in lower case, then patterns, the object's own before the common ones.
    exact: BTreeMap<String, ColumnSpec>,
    patterns: Vec<(String, ColumnSpec)>,
    constants: Vec<(FieldName, Value)>,
    pub(crate) route: Route,
    pub(crate) records: Option<String>,
}

/// Which rows of a file belong to the object.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// All of them.
    All,
    /// Those whose column says one of these words.
    Only { column: String, words: Vec<String> },
    /// Those whose column says none of these words, because other objects take them.
    Rest { column: String, words: Vec<String> },
}

impl Recipe {
    /// Gathers what `profile` and the description of custom columns say about `object`.
    pub(crate) fn new(
        profile: &Profile,
        object: &ObjectProfile,
        custom: &BTreeMap<String, ColumnSpec>,
        conventions: Arc<Conventions>,
    ) -> Self {
        let mut exact = BTreeMap::new();
        let mut patterns = Vec::new();
        let mut spelling = BTreeMap::new();
        for columns in [&object.columns, custom, &profile.columns] {
            for (name, spec) in columns {
                if name.contains('*') {
                    patterns.push((name.clone(), spec.clone()));
                } else {
                    exact.entry(name.to_lowercase()).or_insert_with(|| spec.clone());
                    spelling.entry(name.to_lowercase()).or_insert_with(|| name.clone());
                }
            }
        }
        let named = object.key.0.iter().chain(&object.or_key.0).chain(&object.modified).chain(&object.deleted);
        for name in named.chain(object.links.keys()).chain(profile.links.keys()) {
            spelling.entry(name.to_lowercase()).or_insert_with(|| name.clone());
        }
        Self {
            key: object.key.0.clone(),
            modified: object.modified.clone(),
            deleted: object.deleted.clone(),
            conventions,
            spelling,
            exact,
            patterns,
            constants: object
                .constants
                .iter()
                .map(|(name, value)| (FieldName::new(name), Value::Text(value.clone())))
                .collect(),
            route: Route::All,
            records: object.records.clone(),
        }
    }

    /// Returns the column as the profile spells it; files differ in case.
    pub(crate) fn spelled(&self, column: &str) -> String {
        self.spelling.get(&column.to_lowercase()).cloned().unwrap_or_else(|| column.to_owned())
    }

    /// Returns what a column holds, if anything was said about it.
    pub(crate) fn declared(&self, column: &str) -> Option<&ColumnSpec> {
        let lower = column.to_lowercase();
        self.exact
            .get(&lower)
            .or_else(|| self.patterns.iter().find(|(pattern, _)| fits(pattern, column)).map(|(_, spec)| spec))
    }

    /// Returns whether the profile has a word for the column.
    pub(crate) fn knows(&self, column: &str) -> bool {
        self.spelling.contains_key(&column.to_lowercase()) || self.declared(column).is_some()
    }

    /// Turns the fields of one row into an item; `None` means that the row belongs to another object.
    pub(crate) fn finish(&self, mut fields: Fields, origin: Origin) -> Option<Item> {
        let said = |column: &str, words: &[String]| {
            let text = plain(&fields.get(column)).unwrap_or_default();
            words.iter().any(|word| word.eq_ignore_ascii_case(text.trim()))
        };
        let ours = match &self.route {
            Route::All => true,
            Route::Only { column, words } => said(column, words),
            Route::Rest { column, words } => !said(column, words),
        };
        if !ours {
            return None;
        }
        for (name, value) in &self.constants {
            if !fields.contains(name.as_str()) {
                fields.set(name.clone(), value.clone());
            }
        }
        let id = if self.key.is_empty() {
            origin.to_string()
        } else {
            let parts: Vec<String> = self
                .key
                .iter()
                .map(|column| plain(&fields.get(column)).map(|text| text.trim().to_owned()).unwrap_or_default())
                .collect();
            // A part of a joined key may be empty, such as the label of an association; the whole may not.
            if parts.iter().all(String::is_empty) {
                let reason = format!("it has no key: {} is empty", self.key.join(" and "));
                return Some(Item::Unreadable { origin, reason });
            }
            join_key(&parts)
        };
        let modified = self.modified.as_ref().and_then(|column| moment(&fields.get(column), &self.conventions));
        let deleted = self.deleted.as_ref().is_some_and(|column| match fields.get(column) {
            Field::Present(Value::Bool(flag)) => flag,
            Field::Present(Value::Text(text)) => boolean(text.trim()) == Some(true),
            _ => false,
        });
        Some(if deleted {
            Item::Gone { id, how: DeletedHow::Deleted, at: modified }
        } else {
            Item::Record { record: Record { id, fields }, modified, origin }
        })
    }
}

impl Route {
    /// Returns the rows of `object` in a file that it shares.
    pub(crate) fn only(shared: &Shared) -> Self {
        Self::Only { column: shared.column.clone(), words: shared.values.clone() }
    }

    /// Returns the rows that are left in a file of `object` after others took theirs.
    pub(crate) fn left(profile: &Profile, path: &str) -> Self {
        let mut others = profile
            .objects
            .iter()
            .filter_map(|object| object.shared.as_ref())
            .filter(|shared| shared.files.iter().any(|pattern| fits(pattern, path)))
            .peekable();
        let Some(first) = others.peek() else { return Self::All };
        let column = first.column.clone();
        Self::Rest { column, words: others.flat_map(|shared| shared.values.iter().cloned()).collect() }
    }

    /// Returns whether a row that cannot be read is to be told here: exactly one of the objects that share a file tells it.
    pub(crate) fn tells_broken_rows(&self) -> bool {
        !matches!(self, Self::Only { .. })
    }
}

/// Joins the parts of a key with `|`. A `|` or `\` inside a part is escaped, so that two keys never become one.
pub(crate) fn join_key(parts: &[String]) -> String {
    match parts {
        [only] => only.clone(),
        parts => {
            let escaped: Vec<String> = parts.iter().map(|part| part.replace('\\', r"\\").replace('|', r"\|")).collect();
            escaped.join("|")
        }
    }
}

/// Returns a value as the text that it was, for keys.
fn plain(field: &Field) -> Option<String> {
    Some(match field.value()? {
        Value::Text(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Date(day) => day.to_string(),
        Value::Time(at) => at.to_rfc3339(),
        Value::List(_) | Value::Map(_) => return None,
    })
}

/// Returns the moment that a field holds, whatever its column was declared as.
pub(crate) fn moment(field: &Field, conventions: &Conventions) -> Option<DateTime<Utc>> {
    match field.value()? {
        Value::Time(at) => Some(*at),
        Value::Text(text) => match typed(text, &super::cell::Kind::Time.into(), conventions) {
            Value::Time(at) => Some(at),
            _ => None,
        },
        Value::Date(day) => match typed(&day.to_string(), &super::cell::Kind::Time.into(), conventions) {
            Value::Time(at) => Some(at),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_never_become_one() {
        let join = |parts: &[&str]| join_key(&parts.iter().map(|&part| part.to_owned()).collect::<Vec<_>>());
        assert_eq!(join(&["a|b"]), "a|b");
        assert_eq!(join(&["7", "9"]), "7|9");
        assert_ne!(join(&["a|b", "c"]), join(&["a", "b|c"]));
        assert_ne!(join(&["a\\", "b"]), join(&["a", "\\b"]));
    }
}
