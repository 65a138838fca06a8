//! Records as they are answered: every field, empty ones in the way of their type.

use serde_json::{Map, Value as Json, json};

use super::{
    model::{Field, Kind, Part, capital, col},
    rows::Row,
    uuid::Uuid,
    workspace::Workspace,
};

/// How many related records are shown with one.
const RELATED: usize = 60;

impl Workspace {
    /// Writes a record; at depth 1, with the records next to it.
    pub(crate) fn show(&self, object: u32, id: Uuid, depth: u8) -> Json {
        self.rows.get(object, id).map_or(Json::Null, |row| self.show_row(object, id, row, depth))
    }

    /// Writes a row that need not be in the table any more.
    pub(crate) fn show_row(&self, object: u32, id: Uuid, row: &Row, depth: u8) -> Json {
        let mut record = Map::new();
        for field in self.catalog.fields_of(object).filter(|field| field.active) {
            if field.is_list() {
                if depth > 0 {
                    record.insert(field.name.clone(), self.show_list(field, id));
                }
            } else if let Some((target, _)) = field.points() {
                let mut value = row.get(col(field.number, 0)).cloned().unwrap_or_default();
                if depth > 0 {
                    let other = value.as_str().and_then(Uuid::parse).filter(|id| self.rows.live(target, *id).is_some());
                    // A record in the trash hides not only itself but also that it is pointed to.
                    if other.is_none() {
                        value = Json::Null;
                    }
                    let other = other.map_or(Json::Null, |id| self.show(target, id, 0));
                    record.insert(field.join(), value);
                    record.insert(field.name.clone(), other);
                } else {
                    record.insert(field.join(), value);
                }
            } else {
                record.insert(field.name.clone(), self.show_field(object, field, row));
            }
        }
        Json::Object(record)
    }

    /// Returns the live rows that point to one by the other side of a list field, by id.
    pub(crate) fn related(&self, field: &Field, id: Uuid) -> (u32, Vec<Uuid>) {
        let Some(relation) = &field.relation else { return (0, Vec::new()) };
        let mut children = self.rows.table(relation.target).children(col(relation.inverse, 0), id);
        children.retain(|child| self.rows.live(relation.target, *child).is_some());
        (relation.target, children)
    }

    fn show_list(&self, field: &Field, id: Uuid) -> Json {
        let (target, children) = self.related(field, id);
        children.into_iter().take(RELATED).map(|child| self.show(target, child, 0)).collect()
    }

    /// Writes the value of a field that is no relation.
    pub(crate) fn show_field(&self, object: u32, field: &Field, row: &Row) -> Json {
        if field.kind == Kind::TsVector {
            return json!(self.search_vector(object, row));
        }
        let parts = field.kind.parts();
        if parts.is_empty() {
            let value = row.get(col(field.number, 0)).cloned();
            return match (field.kind, value) {
                (Kind::Files, Some(list)) => self.files.show(&list, self.now),
                (_, Some(value)) => value,
                (Kind::Text, None) => json!(""),
                (Kind::Array | Kind::MultiSelect, None) => json!([]),
                (_, None) => Json::Null,
            };
        }
        let mut composite = Map::new();
        for (at, (part, kind)) in (0..).zip(parts) {
            let value = row.get(col(field.number, at)).cloned().unwrap_or_else(|| match kind {
                Part::Text => json!(""),
                Part::List => json!([]),
                Part::Json => json!({}),
                _ => Json::Null,
            });
            composite.insert((*part).to_owned(), value);
        }
        Json::Object(composite)
    }

    /// Writes what the search index holds of a row: the words of what says which row it is, and of its address.
    fn search_vector(&self, object: u32, row: &Row) -> String {
        let definition = self.catalog.object(object);
        if !definition.searchable {
            return String::new();
        }
        let label = definition.label.and_then(|label| self.catalog.fields.get(&label));
        let fields = self.catalog.fields_of(object).filter(|field| {
            label.is_some_and(|label| label.number == field.number) || matches!(field.kind, Kind::Emails | Kind::Links)
        });
        let mut words: std::collections::BTreeMap<String, Vec<usize>> = std::collections::BTreeMap::new();
        let mut place = 0;
        for text in fields.flat_map(Field::cols).filter_map(|at| row.text(at)) {
            for word in text.split(|letter: char| !letter.is_alphanumeric() && !".@-_".contains(letter)) {
                if !word.is_empty() {
                    place += 1;
                    words.entry(word.to_lowercase()).or_default().push(place);
                }
            }
        }
        let entries: Vec<String> = words
            .into_iter()
            .map(|(word, places)| {
                let places: Vec<String> = places.iter().map(ToString::to_string).collect();
                format!("'{word}':{}", places.join(","))
            })
            .collect();
        entries.join(" ")
    }

    /// Returns what people call a row.
    pub(crate) fn label_of(&self, object: u32, row: &Row) -> String {
        let label = self.catalog.object(object).label.and_then(|label| self.catalog.fields.get(&label));
        let Some(field) = label else { return String::new() };
        let texts: Vec<&str> = field.cols().into_iter().filter_map(|at| row.text(at)).collect();
        texts.join(" ")
    }

    /// Returns what differs between two states of a row, field by field, as it is told to those who watch.
    pub(crate) fn diff(&self, object: u32, before: &Row, after: &Row) -> Map<String, Json> {
        let mut diff = Map::new();
        for field in self.catalog.fields_of(object) {
            let watched = !["updatedAt", "updatedBy", "deletedAt", "searchVector"].contains(&field.name.as_str());
            let changed = watched && field.cols().into_iter().any(|at| before.get(at) != after.get(at));
            if !changed || field.is_list() {
                continue;
            }
            let (name, was, is) = if field.points().is_some() {
                let at = col(field.number, 0);
                (field.join(), before.get(at).cloned().unwrap_or_default(), after.get(at).cloned().unwrap_or_default())
            } else {
                let shown = |row| self.show_field(object, field, row);
                (field.name.clone(), shown(before), shown(after))
            };
            diff.insert(name, json!({ "before": was, "after": is }));
        }
        diff
    }
}

/// Returns the wrapper key of an answer: `createPerson`, `createPeople`.
pub(crate) fn wrapper(verb: &str, name: &str) -> String {
    format!("{verb}{}", capital(name))
}
