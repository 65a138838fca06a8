//! How the named cells of a row become a record: the same for tables and for JSON.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use chrono::{DateTime, Utc};
use waybill_ledger::{FieldName, FieldRef, Fields, Record, Value, ValueRef};

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

    /// Returns the column that plays this part.
    pub(crate) fn column(&self, role: Role) -> Option<&str> {
        match role {
            Role::Route => match &self.route {
                Route::All => None,
                Route::Only { column, .. } | Route::Rest { column, .. } => Some(column),
            },
            Role::Key(n) => self.key.get(n).map(String::as_str),
            Role::Modified => self.modified.as_deref(),
            Role::Deleted => self.deleted.as_deref(),
        }
    }

    /// Returns the fields that every record has with the same value, where the file itself does not have them.
    pub(crate) fn constants(&self) -> &[(FieldName, Value)] {
        &self.constants
    }

    /// Says what a row is: `at` gives what stands in the column that plays a part, constants included, and `place` says where the
    /// row stands.
    pub(crate) fn judge<'a>(&self, at: &dyn Fn(Role) -> FieldRef<'a>, place: &dyn Fn() -> String) -> Verdict<'a> {
        let said = |words: &[String]| {
            let text = plain(at(Role::Route)).unwrap_or_default();
            words.iter().any(|word| word.eq_ignore_ascii_case(text.trim()))
        };
        let ours = match &self.route {
            Route::All => true,
            Route::Only { words, .. } => said(words),
            Route::Rest { words, .. } => !said(words),
        };
        if !ours {
            return Verdict::Another;
        }
        let id = match self.key.len() {
            0 => Cow::Owned(place()),
            1 => match plain(at(Role::Key(0))) {
                Some(Cow::Borrowed(text)) => Cow::Borrowed(text.trim()),
                Some(Cow::Owned(text)) => Cow::Owned(text.trim().to_owned()),
                None => Cow::Borrowed(""),
            },
            parts => {
                let part =
                    |n| plain(at(Role::Key(n))).map(|text: Cow<'a, str>| text.trim().to_owned()).unwrap_or_default();
                let parts: Vec<String> = (0..parts).map(part).collect();
                // A part of a joined key may be empty, such as the label of an association; the whole may not.
                if parts.iter().all(String::is_empty) { Cow::Borrowed("") } else { Cow::Owned(join_key(&parts)) }
            }
        };
        if id.is_empty() {
            return Verdict::Keyless(format!("it has no key: {} is empty", self.key.join(" and ")));
        }
        let deleted = match at(Role::Deleted).value() {
            Some(ValueRef::Bool(flag)) => flag,
            Some(ValueRef::Text(text)) => boolean(text.trim()) == Some(true),
            _ => false,
        };
        if deleted { Verdict::Gone(id) } else { Verdict::Record(id) }
    }

    /// Returns when the source last changed the row, if it says so; `at` as in [`Recipe::judge`].
    pub(crate) fn changed<'a>(&self, at: &dyn Fn(Role) -> FieldRef<'a>) -> Option<DateTime<Utc>> {
        moment(at(Role::Modified), &self.conventions)
    }

    /// Turns the fields of one row into an item; `None` means that the row belongs to another object.
    pub(crate) fn finish(&self, mut fields: Fields, origin: Origin) -> Option<Item> {
        for (name, value) in &self.constants {
            if !fields.contains(name.as_str()) {
                fields.set(name.clone(), value.clone());
            }
        }
        let at = |role| self.column(role).map_or(FieldRef::Absent, |column| fields.look(column));
        let (verdict, modified) = (self.judge(&at, &|| origin.to_string()), || self.changed(&at));
        Some(match verdict {
            Verdict::Another => return None,
            Verdict::Keyless(reason) => Item::Unreadable { origin, reason },
            Verdict::Gone(id) => Item::Gone { id: id.into_owned(), how: DeletedHow::Deleted, at: modified() },
            Verdict::Record(id) => {
                let (id, modified) = (id.into_owned(), modified());
                Item::Record { record: Record { id, fields }, modified, origin }
            }
        })
    }
}

/// The parts that columns play, whatever they are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Tells to which object a row belongs.
    Route,
    /// A part of the key, by its place.
    Key(usize),
    /// Tells when the row was last changed.
    Modified,
    /// Tells that the record is gone.
    Deleted,
}

/// What a row is.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    /// A row of another object.
    Another,
    /// A row without a key, and why.
    Keyless(String),
    /// A record of this id that is gone.
    Gone(Cow<'a, str>),
    /// A record of this id.
    Record(Cow<'a, str>),
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
fn plain(field: FieldRef<'_>) -> Option<Cow<'_, str>> {
    Some(match field.value()? {
        ValueRef::Text(text) => Cow::Borrowed(text),
        ValueRef::Bool(flag) => flag.to_string().into(),
        ValueRef::Number(number) => number.to_string().into(),
        ValueRef::Date(day) => day.to_string().into(),
        ValueRef::Time(at) => at.to_rfc3339().into(),
        ValueRef::List(_) | ValueRef::Map(_) => return None,
    })
}

/// Returns the moment that a field holds, whatever its column was declared as.
pub(crate) fn moment(field: FieldRef<'_>, conventions: &Conventions) -> Option<DateTime<Utc>> {
    let read = |text: &str| match typed(text, &super::cell::Kind::Time.into(), conventions) {
        Value::Time(at) => Some(at),
        _ => None,
    };
    match field.value()? {
        ValueRef::Time(at) => Some(at),
        ValueRef::Text(text) => read(text),
        ValueRef::Date(day) => read(&day.to_string()),
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
