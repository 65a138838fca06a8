//! The order of a list, and the cursors that mark a place in it.

use std::cmp::Ordering;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value as Json, json};

use super::{
    condition::compare,
    model::{Catalog, Col, Kind, Named, Part, col},
    refusal::Refusal,
    rows::Row,
};

/// How one column is ordered.
#[derive(Debug, Clone)]
struct Key {
    path: Vec<String>,
    at: Col,
    kind: Kind,
    descending: bool,
    nulls_first: bool,
}

/// The order of a list; ties are broken by id.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    keys: Vec<Key>,
}

const DIRECTIONS: [&str; 4] = ["AscNullsFirst", "AscNullsLast", "DescNullsFirst", "DescNullsLast"];

impl Order {
    /// Reads `lastField[DescNullsLast],name.firstName`.
    pub(crate) fn parse(catalog: &Catalog, object: u32, text: &str) -> Result<Self, Refusal> {
        let mut keys = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (path, direction) = match part.split_once('[') {
                None => (part, DIRECTIONS[0]),
                Some((path, direction)) => (path, direction.strip_suffix(']').unwrap_or(direction)),
            };
            if !DIRECTIONS.contains(&direction) {
                return Err(Refusal::invalid(format!(
                    "'order_by' direction '{direction}' invalid. Allowed values are '{}'. eg: ?order_by=field_1[AscNullsFirst],field_2[DescNullsLast],field_3",
                    DIRECTIONS.join("', '")
                )));
            }
            keys.push((path.split('.').map(str::to_owned).collect::<Vec<_>>(), direction));
        }
        Self::of(catalog, object, keys)
    }

    /// Reads `[{name:AscNullsFirst},{emails:{primaryEmail:DescNullsLast}}]`.
    pub(crate) fn read(catalog: &Catalog, object: u32, value: &Json) -> Result<Self, Refusal> {
        let one = std::slice::from_ref(value);
        let items = value.as_array().map_or(one, Vec::as_slice);
        let mut keys = Vec::new();
        for (name, value) in items.iter().filter_map(Json::as_object).flatten() {
            match value {
                Json::Object(parts) => {
                    for (part, direction) in parts {
                        keys.push((vec![name.clone(), part.clone()], direction.as_str().unwrap_or_default()));
                    }
                }
                other => keys.push((vec![name.clone()], other.as_str().unwrap_or_default())),
            }
        }
        Self::of(catalog, object, keys)
    }

    fn of(catalog: &Catalog, object: u32, paths: Vec<(Vec<String>, &str)>) -> Result<Self, Refusal> {
        let mut keys = Vec::new();
        for (path, direction) in paths {
            let refused = || {
                let name = path.join(".");
                Refusal::coded("FIELD_NOT_FOUND", format!("Field \"{name}\" does not exist or is not sortable"))
            };
            let field = match catalog.named(object, &path[0]).ok_or_else(refused)? {
                Named::Field(field) if field.kind.is_relation() => return Err(refused()),
                Named::Field(field) | Named::Join(field) => field,
            };
            let parts = field.kind.parts();
            let (at, kind) = match (path.get(1), parts.is_empty()) {
                (None, true) => (col(field.number, 0), field.kind),
                (Some(part), false) => {
                    let at = parts.iter().position(|(known, _)| known == part).ok_or_else(refused)?;
                    let number = matches!(parts[at].1, Part::Number | Part::Micros);
                    let kind = if number { Kind::Number } else { Kind::Text };
                    (col(field.number, u32::try_from(at).unwrap_or(0)), kind)
                }
                _ => return Err(refused()),
            };
            let kind = if field.points().is_some() { Kind::Uuid } else { kind };
            let descending = direction.starts_with("Desc");
            keys.push(Key { path, at, kind, descending, nulls_first: direction.ends_with("First") });
        }
        if !keys.iter().any(|key| key.path == ["id"]) {
            let at = catalog.col(object, "id");
            keys.push(Key { path: vec!["id".into()], at, kind: Kind::Uuid, descending: false, nulls_first: true });
        }
        Ok(Self { keys })
    }

    /// Returns the order by id alone.
    pub(crate) fn by_id(catalog: &Catalog, object: u32) -> Self {
        Self::of(catalog, object, Vec::new()).unwrap_or(Self { keys: Vec::new() })
    }

    pub(crate) fn is_by_id(&self) -> bool {
        matches!(self.keys.as_slice(), [key] if key.path == ["id"] && !key.descending)
    }

    /// Compares a row with another's place.
    pub(crate) fn compare(&self, catalog: &Catalog, one: &Row, other: &Row) -> Ordering {
        for key in &self.keys {
            let order = match (one.get(key.at), other.get(key.at)) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) if key.nulls_first => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) if key.nulls_first => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(one), Some(other)) => {
                    let order = compare(catalog, key.at, key.kind, one, other);
                    if key.descending { order.reverse() } else { order }
                }
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }

    /// Writes the cursor of a row: the values it is ordered by, and its id.
    pub(crate) fn cursor(&self, row: &Row) -> String {
        let mut place = Map::new();
        for key in &self.keys {
            let value = row.get(key.at).cloned().unwrap_or(Json::Null);
            match key.path.as_slice() {
                [name, part] => {
                    let inner = place.entry(name.clone()).or_insert_with(|| json!({}));
                    inner[part] = value;
                }
                path => drop(place.insert(path[0].clone(), value)),
            }
        }
        STANDARD.encode(Json::Object(place).to_string())
    }

    /// Reads a cursor as the row that would have it. One of another order is refused.
    pub(crate) fn place(&self, cursor: &str) -> Result<Row, Refusal> {
        let bytes = STANDARD.decode(cursor).ok();
        let place = bytes.and_then(|bytes| serde_json::from_slice::<Map<String, Json>>(&bytes).ok());
        let place = place.ok_or_else(|| Refusal::coded("INVALID_CURSOR", format!("Invalid cursor: {cursor}")))?;
        let foreign = || Refusal::coded("INVALID_CURSOR", "Invalid cursor");
        let mut row = Row::default();
        let mut names: Vec<&str> = Vec::new();
        for key in &self.keys {
            let value = match key.path.as_slice() {
                [name, part] => place.get(name).and_then(|inner| inner.get(part)),
                path => place.get(&path[0]),
            };
            names.push(&key.path[0]);
            let value = value.ok_or_else(foreign)?;
            row.set(key.at, Some(value.clone()).filter(|value| !value.is_null()));
        }
        if place.keys().any(|name| !names.contains(&name.as_str())) {
            return Err(foreign());
        }
        Ok(row)
    }
}
