//! A body, read: which columns it writes, and to which rows it points.

use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value as Json, json};

use super::{
    composite::{self, Cells},
    files,
    inspect::inspect,
    model::{Catalog, Field, Kind, Named, col},
    refusal::Refusal,
    scalar,
    uuid::Uuid,
};

/// What a body asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) id: Option<Uuid>,
    pub(crate) cells: Cells,
    /// Relations that name the other row by a key.
    pub(crate) connects: Vec<Connect>,
}

/// A row to point to, named by a unique key.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    /// The relation.
    pub(crate) field: u32,
    /// The columns of the other object, and what they must hold.
    pub(crate) key: Cells,
}

/// Reads a body against the metadata of its object.
pub(crate) fn read(
    catalog: &Catalog,
    files: &files::Store,
    dice: &mut ChaCha8Rng,
    object: u32,
    body: &Map<String, Json>,
) -> Result<Draft, Refusal> {
    let mut draft = Draft::default();
    for (key, value) in body {
        match catalog.named(object, key) {
            None => {
                let singular = &catalog.object(object).singular;
                return Err(Refusal::invalid(format!("Object {singular} doesn't have any \"{key}\" field.")));
            }
            Some(Named::Join(field)) => {
                let id = if value.is_null() { None } else { Some(scalar::uuid(key, value)?) };
                draft.cells.push((col(field.number, 0), id));
            }
            Some(Named::Field(field)) => read_field(catalog, files, dice, field, value, &mut draft)?,
        }
    }
    // The database takes no U+0000, and says so in words of its own.
    if draft.cells.iter().any(|(_, value)| value.as_ref().is_some_and(has_nul)) {
        return Err(Refusal::database_surprise());
    }
    Ok(draft)
}

fn has_nul(value: &Json) -> bool {
    match value {
        Json::String(text) => text.contains('\0'),
        Json::Array(list) => list.iter().any(has_nul),
        Json::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

fn read_field(
    catalog: &Catalog,
    files: &files::Store,
    dice: &mut ChaCha8Rng,
    field: &Field,
    value: &Json,
    draft: &mut Draft,
) -> Result<(), Refusal> {
    match field.kind {
        Kind::TsVector => {
            let name = &field.name;
            return Err(Refusal::invalid(format!("{name} TS_VECTOR-typed field does not support write operations")));
        }
        Kind::Relation | Kind::MorphRelation => return relation(catalog, dice, field, value, draft),
        Kind::Files => {
            let list = files.read(&field.name, &field.settings, value)?;
            draft.cells.push((col(field.number, 0), list));
        }
        Kind::Uuid if field.system && field.name == "id" => {
            if let Some(text) = value.as_str() {
                let refused = || Refusal::coded("INVALID_QUERY_INPUT", format!("Value \"{text}\" is not a valid UUID"));
                draft.id = Some(Uuid::parse(text).ok_or_else(refused)?);
            } else if !value.is_null() {
                return Err(Refusal::invalid(format!("Invalid UUID value {} for field \"id\"", inspect(value))));
            }
        }
        kind if kind.parts().is_empty() => {
            draft.cells.push((col(field.number, 0), scalar::read(field, value)?));
        }
        _ => draft.cells.extend(composite::read(field, value, dice)?),
    }
    Ok(())
}

fn relation(
    catalog: &Catalog,
    dice: &mut ChaCha8Rng,
    field: &Field,
    value: &Json,
    draft: &mut Draft,
) -> Result<(), Refusal> {
    let name = &field.name;
    let Some((target, _)) = field.points() else {
        return Err(Refusal::invalid(format!("One-to-many relation {name} field does not support write operations.")));
    };
    let refused = || Refusal::invalid(format!("Relation \"{name}\" requires connect or disconnect operation"));
    if value.is_null() {
        return Ok(());
    }
    let asked = value.as_object().filter(|asked| asked.len() == 1).ok_or_else(refused)?;
    if asked.get("disconnect") == Some(&json!(true)) {
        draft.cells.push((col(field.number, 0), None));
        return Ok(());
    }
    let wanted = asked.get("connect").and_then(|connect| connect["where"].as_object()).ok_or_else(refused)?;
    let mut key: Cells = Vec::new();
    for (part, value) in wanted {
        let Some(Named::Field(field)) = catalog.named(target, part) else {
            let singular = &catalog.object(target).singular;
            return Err(Refusal::invalid(format!("Object {singular} doesn't have any \"{part}\" field.")));
        };
        if field.name == "id" {
            key.push((col(field.number, 0), Some(scalar::uuid("id", value)?)));
        } else if field.kind.parts().is_empty() {
            key.push((col(field.number, 0), scalar::read(field, value)?));
        } else {
            key.extend(composite::read(field, value, dice)?.into_iter().filter(|(_, value)| value.is_some()));
        }
    }
    let whole = catalog
        .fields_of(target)
        .filter(|field| field.unique || field.name == "id")
        .any(|field| field.key_cols().iter().all(|at| key.iter().any(|(known, value)| known == at && value.is_some())));
    if !whole {
        return Err(Refusal::invalid(format!(
            "Missing required fields: at least one unique constraint have to be fully populated for '{name}'."
        )));
    }
    draft.connects.push(Connect { field: field.number, key });
    Ok(())
}
