//! What lies behind a row: its parents and children by their friendly names, its bytes, and the conditions that a client
//! sets on it.
//!
//! Source: "sObject Relationships", "sObject Blob Get" and "Conditional Requests" in the REST API Developer Guide.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::DateTime;

use super::{
    ids::Id,
    model::Kind,
    org::{Org, RowError, Val},
    resources::http_date,
    service::{Call, Cursor, Reply, Service},
    soql::run::{Column, Selected},
};

impl Service {
    /// `GET /sobjects/OBJECT/ID/NAME`
    pub(crate) fn related(&self, call: &Call, root: &str, object: usize, id: Id, name: &str) -> Reply {
        let fields: Option<Vec<String>> =
            call.query.get("fields").map(|text| text.split(',').map(|name| name.trim().to_owned()).collect());
        let (selected, total) = {
            let org = self.org();
            if !org.is_live(id) {
                return Reply::not_found();
            }
            let definition = &org.objects[object];
            if let Some(field) = definition.field(name).filter(|field| definition.fields[*field].kind == Kind::Base64) {
                return bytes(&org, object, id, field);
            }
            if let Some(field) = definition.relationship(name).filter(|field| org.is_granted(object, *field)) {
                let Some(Val::Ref(parent)) = org.field_value(object, id.number, field) else {
                    return Reply::not_found();
                };
                let Some(target) = org.of_id(parent) else { return Reply::not_found() };
                return match org.record(target, parent.number, fields.as_deref(), root) {
                    Ok(record) => Reply::json(200, &record),
                    Err(error) => Reply::rows(&[error]),
                };
            }
            let Some((child, field)) = org.children_named(object, name) else { return Reply::not_found() };
            let columns = match columns(&org, child, fields.as_deref()) {
                Ok(columns) => columns,
                Err(error) => return Reply::rows(&[error]),
            };
            let key = (u16::try_from(field).unwrap_or(u16::MAX), id);
            let rows: Vec<u64> = org.tables[child].children.get(&key).into_iter().flatten().copied().collect();
            let total = rows.len();
            (Selected { object: child, rows, columns }, total)
        };
        self.page(Cursor { selected, root: root.to_owned() }, 0, total.clamp(1, 2_000), None)
    }
}

fn columns(org: &Org, object: usize, fields: Option<&[String]>) -> Result<Vec<Column>, RowError> {
    let definition = &org.objects[object];
    let granted = |field: &usize| org.is_granted(object, *field);
    match fields {
        None => Ok((0..definition.fields.len()).filter(granted).map(Column::Field).collect()),
        Some(names) => names
            .iter()
            .map(|name| {
                definition.field(name).filter(granted).map(Column::Field).ok_or_else(|| {
                    let message = format!("No such column '{name}' on sobject of type {}", definition.name);
                    RowError::new("INVALID_FIELD", message)
                })
            })
            .collect(),
    }
}

/// The bytes of a field, as they are.
fn bytes(org: &Org, object: usize, id: Id, field: usize) -> Reply {
    let Some(Val::Text(text)) = org.field_value(object, id.number, field) else { return Reply::not_found() };
    match STANDARD.decode(text.as_bytes()) {
        Ok(bytes) => Reply { kind: "application/octet-stream", ..Reply::csv(bytes) },
        Err(_) => Reply::not_found(),
    }
}

/// The mark of a row; only accounts have one.
fn mark(org: &Org, id: Id) -> Option<String> {
    let object = org.of_id(id).filter(|object| org.objects[*object].name == "Account")?;
    let row = org.tables[object].rows.get(&id.number)?;
    let hash = blake3::hash(format!("{id}/{}", row.modified).as_bytes()).to_hex();
    Some(format!("\"{}\"", &hash[..16]))
}

/// Answers in place of the row if a condition does not hold; the error is that answer.
pub(crate) fn conditions(org: &Org, call: &Call, id: Id) -> Result<(), Reply> {
    let reads = call.method == "GET";
    let Some(row) = org.row(id) else { return Ok(()) };
    let unmet =
        || Reply::error(412, "PRECONDITION_FAILED", "The resource does not meet one or more specified preconditions.");
    let date = |name: &str| -> Result<Option<i64>, Reply> {
        let Some(text) = call.headers.get(name) else { return Ok(None) };
        match DateTime::parse_from_rfc2822(text) {
            Ok(date) => Ok(Some(date.timestamp())),
            Err(_) if reads => Ok(None),
            Err(_) => Err(Reply::error(400, "INVALID_HEADER_VALUE", &format!("{name} is not a date: {text}"))),
        }
    };
    let (since, until) = (date("if-modified-since")?, date("if-unmodified-since")?);
    let modified = row.modified / 1_000;
    if let Some(mark) = mark(org, id) {
        let names = |header: &str| {
            let list = call.headers.get(header)?;
            Some(list.trim() == "*" || list.split(',').any(|tag| tag.trim().trim_start_matches("W/") == mark))
        };
        if names("if-match") == Some(false) {
            return Err(unmet());
        }
        if names("if-none-match") == Some(true) {
            return Err(if reads { marked(Reply::empty(304), org, id) } else { unmet() });
        }
    }
    if until.is_some_and(|until| modified > until) {
        return Err(unmet());
    }
    if since.is_some_and(|since| modified <= since) {
        return Err(if reads { marked(Reply::empty(304), org, id) } else { unmet() });
    }
    Ok(())
}

/// Adds what a later condition can name.
pub(crate) fn marked(reply: Reply, org: &Org, id: Id) -> Reply {
    let reply = match org.row(id) {
        Some(row) => reply.header("Last-Modified", http_date(row.modified)),
        None => reply,
    };
    match mark(org, id) {
        Some(mark) => reply.header("ETag", mark),
        None => reply,
    }
}
