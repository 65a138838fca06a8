//! Loads a row of a bulk job, whichever of the two bulk interfaces it came through.
//!
//! Source: "Prepare CSV Files" and "Relationship Fields in a Header Row" in the Bulk API 2.0 Developer Guide.

use serde_json::{Map, Value as Json, json};

use super::{
    ids::Id,
    model::Kind,
    org::{Org, RowError},
    rows::upsert,
};

/// What a job does with its rows.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) object: String,
    pub(crate) operation: String,
    /// The field that an upsert finds rows by.
    pub(crate) external: Option<String>,
}

/// The id of the row and whether it is new, or the id as far as it is known and what is wrong.
pub(crate) type Loaded = Result<(Id, bool), (String, Vec<RowError>)>;

/// Checks the columns of a file; the error is that of the whole job or batch.
pub(crate) fn check_header(org: &Org, task: &Task, header: &[String]) -> Result<(), String> {
    let object = org.find(&task.object).ok_or("InvalidBatch : the object is gone")?;
    if task.operation.ends_with("elete") && (header.len() != 1 || !header[0].eq_ignore_ascii_case("id")) {
        return Err(format!("InvalidBatch : {} needs exactly the column Id", task.operation));
    }
    header.iter().try_for_each(|name| check_column(org, object, task, name))
}

fn check_column(org: &Org, object: usize, task: &Task, name: &str) -> Result<(), String> {
    let unknown = || format!("InvalidBatch : Field name not found : {name}");
    if name.eq_ignore_ascii_case("id") && task.operation != "insert" {
        return Ok(());
    }
    let Some((relation, field)) = name.split_once('.') else {
        let known = org.objects[object].field(name).filter(|field| org.is_granted(object, *field));
        return known.map(|_| ()).ok_or_else(unknown);
    };
    let (kind, relation) = relation.split_once(':').map_or((None, relation), |(kind, relation)| (Some(kind), relation));
    let at = org.objects[object].relationship(relation).ok_or_else(unknown)?;
    let Kind::Reference { to, .. } = &org.objects[object].fields[at].kind else { return Err(unknown()) };
    if (to.len() > 1) != kind.is_some() {
        return Err(unknown());
    }
    let target = kind.or(to.first().map(String::as_str)).and_then(|name| org.find(name)).ok_or_else(unknown)?;
    let usable = org.objects[target].field(field).is_some_and(|at| {
        let field = &org.objects[target].fields[at];
        field.external || field.id_lookup
    });
    if usable { Ok(()) } else { Err(unknown()) }
}

/// Returns which columns of a file point to rows that the platform locks while it loads a row: those of everything but setup
/// objects (Source: "Record-Level Locking" in Record Access: Under the Hood).
pub(crate) fn locking_columns(org: &Org, task: &Task, header: &[String]) -> Vec<usize> {
    let Some(object) = org.find(&task.object) else { return Vec::new() };
    let locks = |name: &String| {
        let field = org.objects[object].field(name).map(|at| &org.objects[object].fields[at]);
        let Some(Kind::Reference { to, .. }) = field.map(|field| &field.kind) else { return false };
        to.iter().any(|target| org.find(target).is_some_and(|target| !org.objects[target].setup))
    };
    header.iter().enumerate().filter(|(_, name)| locks(name)).map(|(column, _)| column).collect()
}

/// Loads a row of a CSV file.
pub(crate) fn load_row(org: &mut Org, task: &Task, header: &[String], row: &[String]) -> Loaded {
    let mut body = Map::new();
    let mut id = None;
    for (name, cell) in header.iter().zip(row) {
        if name.eq_ignore_ascii_case("id") {
            id = Some(cell.clone());
            continue;
        }
        if cell.is_empty() {
            continue;
        }
        let value = if cell == "#N/A" { Json::Null } else { json!(cell) };
        match name.split_once('.') {
            None => {
                body.insert(name.clone(), value);
            }
            Some((relation, field)) => {
                let (kind, relation) =
                    relation.split_once(':').map_or((None, relation), |(kind, name)| (Some(kind), name));
                let mut parent = json!({ field: value });
                if let Some(kind) = kind {
                    parent["attributes"] = json!({ "type": kind });
                }
                body.insert(relation.to_owned(), parent);
            }
        }
    }
    load(org, task, id, &body)
}

/// Loads a row of a JSON or XML batch, whose lookups by external id are nested.
pub(crate) fn load_record(org: &mut Org, task: &Task, record: &Map<String, Json>) -> Loaded {
    let mut body = record.clone();
    body.retain(|name, _| name != "attributes" && !name.eq_ignore_ascii_case("id"));
    let id = record.iter().find(|(name, _)| name.eq_ignore_ascii_case("id")).map(|(_, value)| value);
    let id = id.and_then(Json::as_str).map(str::to_owned);
    load(org, task, id, &body)
}

fn load(org: &mut Org, task: &Task, id: Option<String>, body: &Map<String, Json>) -> Loaded {
    let none = |errors: Vec<RowError>| (String::new(), errors);
    let Some(object) = org.find(&task.object) else { return Err(none(Vec::new())) };
    let known = |id: Option<String>| {
        let text = id.unwrap_or_default();
        Id::parse(&text).filter(|id| org.is_of(*id, object)).ok_or_else(|| {
            (text.clone(), vec![RowError::on("MALFORMED_ID", format!("Id: id value of incorrect type: {text}"), "Id")])
        })
    };
    match task.operation.as_str() {
        "insert" if id.as_ref().is_some_and(|id| !id.is_empty()) => {
            let error = RowError::on("INVALID_FIELD_FOR_INSERT_UPDATE", "cannot specify Id in an insert call", "Id");
            Err(none(vec![error]))
        }
        "insert" => org.create(object, body).map(|id| (id, true)).map_err(none),
        "update" => {
            let id = known(id)?;
            org.change(id, body).map(|()| (id, false)).map_err(|errors| (id.to_string(), errors))
        }
        "delete" | "hardDelete" => {
            let id = known(id)?;
            let gone = org.bin(id).map_err(|error| (id.to_string(), vec![error]))?;
            if task.operation == "hardDelete" {
                org.purge(&gone);
            }
            Ok((id, false))
        }
        _ => {
            let field = task.external.clone().unwrap_or_default();
            if field.eq_ignore_ascii_case("Id") {
                return match id.filter(|id| !id.is_empty()) {
                    None => org.create(object, body).map(|id| (id, true)).map_err(none),
                    id => {
                        let id = known(id)?;
                        org.change(id, body).map(|()| (id, false)).map_err(|errors| (id.to_string(), errors))
                    }
                };
            }
            let value = body.iter().find(|(key, _)| key.eq_ignore_ascii_case(&field)).and_then(|(_, v)| match v {
                Json::Null => None,
                Json::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            });
            upsert(org, object, &field, &value.unwrap_or_default(), body).map_err(none)
        }
    }
}

/// Writes what is wrong with a row as result files do: the code, the message, the fields.
pub(crate) fn error_text(errors: &[RowError]) -> String {
    let text = errors
        .first()
        .map(|error| format!("{}:{}:{} --", error.code, error.message, error.fields.join(" ")).replace(": --", ":--"));
    text.unwrap_or_default()
}
