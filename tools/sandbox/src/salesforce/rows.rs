//! sObject rows and collections.
//!
//! Source: "Using REST Resources" and "sObject Collections" in the REST API Developer Guide.

use serde_json::{Map, Value as Json, json};

use super::{
    ids::Id,
    model::Kind,
    org::{Org, RowError, Val},
    related::{conditions, marked},
    service::{Call, Reply, Service, locked},
    validate::{Write, changes},
};

/// The most rows of one collection.
const COLLECTION: usize = 200;
/// The most runs of rows of one type in a collection.
const CHUNKS: usize = 10;
/// The most ids of one retrieve.
const RETRIEVE: usize = 2_000;

impl Org {
    /// Validates and creates a row.
    pub(crate) fn create(&mut self, object: usize, body: &Map<String, Json>) -> Result<Id, Vec<RowError>> {
        self.create_with(object, body, None)
    }

    /// The same, with the bytes of a multipart body.
    pub(crate) fn create_with(
        &mut self,
        object: usize,
        body: &Map<String, Json>,
        blob: Option<Vec<u8>>,
    ) -> Result<Id, Vec<RowError>> {
        // The platform lets an org run a tenth over before it refuses rows.
        if !self.objects[object].setup && self.kilobytes() * 10 > self.storage_kb * 11 {
            return Err(vec![RowError::new("STORAGE_LIMIT_EXCEEDED", "storage limit exceeded")]);
        }
        match self.objects[object].name.as_str() {
            "ContentVersion" => return self.create_version(object, body, blob),
            "ContentNote" => return self.create_note(object, body),
            "ContentDocumentLink" => return self.create_link(object, body),
            "ContentDocument" => {
                let message = "entity type ContentDocument does not support create";
                return Err(vec![RowError::new("INVALID_TYPE_FOR_OPERATION", message)]);
            }
            _ => {}
        }
        let values = changes(self, object, body, Write::Create)?;
        let name = self.objects[object].name.clone();
        if let Some(error) = self.refuses_create(object, &name) {
            return Err(vec![error]);
        }
        let id = self.insert(object, values).map_err(|error| vec![error])?;
        if matches!(name.as_str(), "PermissionSetAssignment" | "FieldPermissions") {
            self.refresh_grants();
        }
        Ok(id)
    }

    /// Creates a row in an upsert, which sets no audit fields (Salesforce Help, "Set Audit Fields upon Record Creation").
    fn create_by_upsert(&mut self, object: usize, body: &Map<String, Json>) -> Result<Id, Vec<RowError>> {
        let audit = body.keys().find(|name| {
            let known = self.objects[object].field(name).map(|at| &self.objects[object].fields[at].name);
            known.is_some_and(|name| super::org::is_audit(name))
        });
        if let Some(name) = audit.filter(|_| !self.audit_on_upsert) {
            return Err(vec![super::validate::not_settable(name)]);
        }
        self.create(object, body)
    }

    fn refuses_create(&self, object: usize, name: &str) -> Option<RowError> {
        let allowed = !self.objects[object].setup
            || ["PermissionSet", "PermissionSetAssignment", "FieldPermissions"].contains(&name);
        (!allowed)
            .then(|| RowError::new("INVALID_TYPE_FOR_OPERATION", format!("entity type {name} does not support create")))
    }

    /// Validates and changes a row.
    pub(crate) fn change_as(&mut self, object: usize, id: Id, body: &Map<String, Json>) -> Result<(), Vec<RowError>> {
        if self.objects[object].name == "ContentNote" {
            self.live(id).map_err(|error| vec![error])?;
            return self.change_note(object, id, body);
        }
        self.change(id, body)
    }

    /// Validates and changes a row of the object that its id tells.
    pub(crate) fn change(&mut self, id: Id, body: &Map<String, Json>) -> Result<(), Vec<RowError>> {
        let object = self.live(id).map_err(|error| vec![error])?;
        let values = changes(self, object, body, Write::Update)?;
        self.update(object, id.number, values).map_err(|error| vec![error])
    }

    fn live(&self, id: Id) -> Result<usize, RowError> {
        let object = self.of_id(id);
        match object.and_then(|object| self.tables[object].rows.get(&id.number)) {
            None => Err(RowError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")),
            Some(row) if row.deleted => Err(RowError::new("ENTITY_IS_DELETED", "entity is deleted")),
            Some(_) => Ok(object.unwrap_or_default()),
        }
    }

    /// Writes a whole row, or these fields of it.
    pub(crate) fn record(
        &self,
        object: usize,
        number: u64,
        fields: Option<&[String]>,
        root: &str,
    ) -> Result<Json, RowError> {
        let definition = &self.objects[object];
        let wanted: Vec<usize> = match fields {
            None => (0..definition.fields.len()).filter(|field| self.is_granted(object, *field)).collect(),
            Some(names) => names
                .iter()
                .map(|name| {
                    let field = definition.field(name).filter(|field| self.is_granted(object, *field));
                    field.ok_or_else(|| {
                        RowError::new(
                            "INVALID_FIELD",
                            format!("No such column '{name}' on sobject of type {}", definition.name),
                        )
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        let mut row = Map::new();
        row.insert("attributes".into(), self.attributes(object, number, root));
        for field in wanted {
            let known = &definition.fields[field];
            let value = self.field_value(object, number, field);
            row.insert(
                known.name.clone(),
                value.map_or(Json::Null, |value| super::validate::json(self, &value, &known.kind)),
            );
        }
        Ok(Json::Object(row))
    }
}

fn object_of(body: &[u8]) -> Result<Map<String, Json>, Reply> {
    match serde_json::from_slice(body) {
        Ok(Json::Object(map)) => Ok(map),
        Ok(_) => Err(Reply::error(400, "JSON_PARSER_ERROR", "Expected an object at [line:1, column:1]")),
        Err(e) => Err(Reply::error(400, "JSON_PARSER_ERROR", &e.to_string())),
    }
}

/// A row, and the bytes that came with it.
type RowAndBlob = (Map<String, Json>, Option<Vec<u8>>);

/// Reads a row, and the bytes that come with it in a multipart body.
fn row_and_blob(call: &Call) -> Result<RowAndBlob, Reply> {
    let kind = call.headers.get("content-type").map(String::as_str).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("multipart/") {
        return Ok((object_of(&call.body)?, None));
    }
    let bad = |text: &str| Reply::error(400, "INVALID_MULTIPART_REQUEST", text);
    let parts = crate::multipart::parts(kind, &call.body)
        .ok_or_else(|| bad("the parts of the request cannot be told apart"))?;
    let row = parts.iter().find(|part| part.kind.starts_with("application/json"));
    let row = object_of(row.ok_or_else(|| bad("Multipart message must include a non-binary part"))?.body)?;
    let blob = parts.iter().find(|part| part.file.is_some());
    let blob = blob.ok_or_else(|| bad("Multipart message must include a binary part with a file name"))?;
    if !["VersionData", "Body"].contains(&blob.name.as_str()) {
        return Err(bad(&format!("Binary part {} is not a blob field", blob.name)));
    }
    Ok((row, Some(blob.body.to_vec())))
}

impl Org {
    fn is_blob(&self, object: usize, field: &str) -> bool {
        let definition = &self.objects[object];
        definition.field(field).is_some_and(|at| definition.fields[at].kind == Kind::Base64)
    }
}

impl Service {
    /// `/sobjects/…`
    pub(crate) fn sobjects(&self, call: &Call, root: &str, path: &[&str]) -> Reply {
        let mut org = self.org();
        let Some(object) = path.first().and_then(|name| org.find(name)) else { return Reply::not_found() };
        let rest = &path[1..];
        match (call.method.as_str(), rest) {
            ("GET", []) => Reply::json(200, &json!({ "objectDescribe": org.brief(object, root), "recentItems": [] })),
            ("POST", []) => match row_and_blob(call) {
                Err(reply) => reply,
                Ok((body, blob)) => match org.create_with(object, &body, blob) {
                    Ok(id) => Reply::json(201, &json!({ "id": id.to_string(), "success": true, "errors": [] }))
                        .header("Location", format!("{root}/sobjects/{}/{id}", org.objects[object].name)),
                    Err(errors) => Reply::rows(&errors),
                },
            },
            ("GET", [id, field]) if org.is_blob(object, field) => {
                let id = Id::parse(id).filter(|id| org.is_of(*id, object) && org.is_live(*id));
                match id.and_then(|id| org.bytes(object, id.number)) {
                    Some(bytes) => Reply::bytes(bytes.to_vec()),
                    None => Reply::not_found(),
                }
            }
            // An upsert by an id that is not there yet.
            ("POST", [key]) if key.eq_ignore_ascii_case("id") => {
                match object_of(&call.body).map(|body| org.create(object, &body)) {
                    Err(reply) => reply,
                    Ok(Ok(id)) => upserted(root, id, true),
                    Ok(Err(errors)) => Reply::rows(&errors),
                }
            }
            (method, [] | ["describe"]) => {
                let allowed = if rest.is_empty() { "HEAD,GET,POST" } else { "HEAD,GET" };
                let message = format!("HTTP Method '{method}' not allowed. Allowed are {allowed}");
                Reply::error(405, "METHOD_NOT_ALLOWED", &message)
            }
            (method, [id]) => {
                let Some(id) = Id::parse(id).filter(|id| org.is_of(*id, object)) else {
                    let message = format!("Provided external ID field does not exist or is not accessible: {id}");
                    return Reply::error(404, "NOT_FOUND", &message);
                };
                one(&mut org, call, method, object, id, root)
            }
            ("GET", [id, name]) if Id::parse(id).is_some_and(|id| org.is_of(id, object)) => {
                let id = Id::parse(id).unwrap_or(Id::new("000", 0));
                drop(org);
                self.related(call, root, object, id, name)
            }
            (method, [field, value]) => by_key(&mut org, call, method, object, field, value, root),
            _ => Reply::not_found(),
        }
    }

    /// `/composite/sobjects…`
    pub(crate) fn collections(&self, call: &Call, root: &str, path: &[&str]) -> Reply {
        let all_or_none = |body: &Map<String, Json>| body.get("allOrNone").and_then(Json::as_bool).unwrap_or(false);
        match (call.method.as_str(), path) {
            ("POST" | "PATCH", []) => {
                let body = match object_of(&call.body) {
                    Ok(body) => body,
                    Err(reply) => return reply,
                };
                let Some(records) = body.get("records").and_then(Json::as_array) else {
                    return Reply::error(400, "JSON_PARSER_ERROR", "records is missing");
                };
                if records.len() > COLLECTION {
                    let message = "record limit reached. cannot submit more than 200 records into this call";
                    return Reply::error(400, "EXCEEDED_ID_LIMIT", message);
                }
                if let Some(reply) = mistyped(records) {
                    return reply;
                }
                let creates = call.method == "POST";
                self.collection(records, all_or_none(&body), |org, record| write_row(org, record, creates))
            }
            ("DELETE", []) => {
                let ids: Vec<Json> =
                    call.query.get("ids").map(|ids| ids.split(',').map(|id| json!(id)).collect()).unwrap_or_default();
                if ids.len() > COLLECTION {
                    return Reply::error(400, "EXCEEDED_ID_LIMIT", "cannot delete more than 200 records in one call");
                }
                let whole = call.query.get("allOrNone").is_some_and(|flag| flag == "true");
                self.collection(&ids, whole, |org, id| {
                    let text = id.as_str().unwrap_or_default();
                    let id = Id::parse(text)
                        .ok_or_else(|| vec![RowError::new("MALFORMED_ID", format!("malformed id {text}"))])?;
                    org.delete(id).map(|()| (id, None)).map_err(|error| vec![error])
                })
            }
            ("GET" | "POST", [object]) => self.retrieve(call, root, object),
            ("PATCH", [object, field]) => {
                let body = match object_of(&call.body) {
                    Ok(body) => body,
                    Err(reply) => return reply,
                };
                let records = body.get("records").and_then(Json::as_array).cloned().unwrap_or_default();
                if records.len() > COLLECTION {
                    return Reply::error(400, "EXCEEDED_ID_LIMIT", "cannot upsert more than 200 records in one call");
                }
                if let Some(reply) = mistyped(&records) {
                    return reply;
                }
                let (object, field) = ((*object).to_owned(), (*field).to_owned());
                self.collection(&records, all_or_none(&body), move |org, record| {
                    upsert_row(org, &object, &field, record)
                })
            }
            _ => Reply::not_found(),
        }
    }

    fn collection(
        &self,
        records: &[Json],
        all_or_none: bool,
        write: impl Fn(&mut Org, &Json) -> Result<(Id, Option<bool>), Vec<RowError>>,
    ) -> Reply {
        let mut org = self.org();
        let before = all_or_none.then(|| org.clone());
        let mut results = Vec::with_capacity(records.len());
        for record in records {
            let locked_row = locked(&self.faults).lock_row();
            let result = if locked_row {
                Err(vec![RowError::new(
                    "UNABLE_TO_LOCK_ROW",
                    "unable to obtain exclusive access to this record or 1 records",
                )])
            } else {
                write(&mut org, record)
            };
            results.push(result);
        }
        if let Some(before) = before.filter(|_| results.iter().any(Result::is_err)) {
            *org = before;
            for result in &mut results {
                if result.is_ok() {
                    *result = Err(vec![RowError::new(
                        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                        "Record rolled back because not all records were valid and the request was using AllOrNone header",
                    )]);
                }
            }
        }
        let answers: Vec<Json> = results
            .into_iter()
            .map(|result| match result {
                Ok((id, created)) => {
                    let mut answer = json!({ "id": id.to_string(), "success": true, "errors": [] });
                    if let Some(created) = created {
                        answer["created"] = json!(created);
                    }
                    answer
                }
                Err(errors) => {
                    let errors: Vec<Json> = errors
                        .iter()
                        .map(|error| json!({ "statusCode": error.code, "message": error.message, "fields": error.fields }))
                        .collect();
                    json!({ "success": false, "errors": errors })
                }
            })
            .collect();
        Reply::json(200, &Json::Array(answers))
    }

    fn retrieve(&self, call: &Call, root: &str, object: &str) -> Reply {
        let org = self.org();
        let Some(object) = org.find(object) else { return Reply::not_found() };
        let texts = |value: Option<&Json>| -> Vec<String> {
            value
                .and_then(Json::as_array)
                .into_iter()
                .flatten()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        let (ids, fields) = if call.method == "POST" {
            match object_of(&call.body) {
                Ok(body) => (texts(body.get("ids")), texts(body.get("fields"))),
                Err(reply) => return reply,
            }
        } else {
            let list = |name: &str| -> Vec<String> {
                call.query.get(name).map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default()
            };
            (list("ids"), list("fields"))
        };
        if ids.len() > RETRIEVE {
            return Reply::error(400, "EXCEEDED_ID_LIMIT", "cannot retrieve more than 2000 records in one call");
        }
        let mut rows = Vec::with_capacity(ids.len());
        for text in &ids {
            let id = Id::parse(text).filter(|id| org.is_of(*id, object));
            let Some(id) = id else {
                return Reply::error(400, "MALFORMED_ID", &format!("malformed id {text}"));
            };
            if !org.is_live(id) {
                rows.push(Json::Null);
                continue;
            }
            match org.record(object, id.number, Some(&fields), root) {
                Ok(row) => rows.push(row),
                Err(error) => return Reply::rows(&[error]),
            }
        }
        Reply::json(200, &Json::Array(rows))
    }
}

/// Refuses a whole collection: a record does not say what it is, or the types change too often.
fn mistyped(records: &[Json]) -> Option<Reply> {
    let mut chunks: Vec<&str> = Vec::new();
    for record in records {
        let Some(kind) = record["attributes"]["type"].as_str() else {
            return Some(Reply::error(
                400,
                "INVALID_INPUT",
                "Please include sObject type in each record's attributes.",
            ));
        };
        if chunks.last().is_none_or(|last| !last.eq_ignore_ascii_case(kind)) {
            chunks.push(kind);
        }
    }
    (chunks.len() > CHUNKS).then(|| {
        let message =
            "Cannot have more than 10 chunks in a single operation. Please rearrange the data to reduce chunking.";
        Reply::error(400, "INVALID_INPUT", message)
    })
}

fn write_row(org: &mut Org, record: &Json, creates: bool) -> Result<(Id, Option<bool>), Vec<RowError>> {
    let refuse = |code, text: &str| vec![RowError::new(code, text)];
    let Json::Object(record) = record else { return Err(refuse("JSON_PARSER_ERROR", "a record is not an object")) };
    let kind = record.get("attributes").and_then(|attributes| attributes.get("type")).and_then(Json::as_str);
    let Some(object) = kind.and_then(|kind| org.find(kind)) else {
        return Err(refuse("INVALID_TYPE", "sObject type is missing or not supported"));
    };
    if creates {
        return org.create(object, record).map(|id| (id, None));
    }
    let key = record.keys().find(|key| key.eq_ignore_ascii_case("id")).cloned();
    let text = key.as_ref().and_then(|key| record.get(key)).and_then(Json::as_str).unwrap_or_default().to_owned();
    let Some(id) = Id::parse(&text).filter(|id| org.is_of(*id, object)) else {
        return Err(refuse("MALFORMED_ID", "Id: id value of incorrect type"));
    };
    let mut fields = record.clone();
    if let Some(key) = key {
        fields.remove(&key);
    }
    org.change_as(object, id, &fields).map(|()| (id, None))
}

fn upsert_row(org: &mut Org, object: &str, field: &str, record: &Json) -> Result<(Id, Option<bool>), Vec<RowError>> {
    let refuse = |code, text: String| vec![RowError::new(code, text)];
    let Json::Object(record) = record else {
        return Err(refuse("JSON_PARSER_ERROR", "a record is not an object".into()));
    };
    let kind = record.get("attributes").and_then(|about| about["type"].as_str()).and_then(|kind| org.find(kind));
    let Some(object) = org.find(object).filter(|object| kind == Some(*object)) else {
        return Err(refuse("INVALID_TYPE", "the record is not of the type in the address".into()));
    };
    let value = record.iter().find(|(key, _)| key.eq_ignore_ascii_case(field)).and_then(|(_, value)| match value {
        Json::String(text) => Some(text.clone()),
        Json::Null => None,
        other => Some(other.to_string()),
    });
    if field.eq_ignore_ascii_case("Id") {
        let mut fields = record.clone();
        fields.retain(|key, _| !key.eq_ignore_ascii_case("id"));
        return match value {
            None => org.create_by_upsert(object, &fields).map(|id| (id, Some(true))),
            Some(text) => {
                let id = Id::parse(&text).ok_or_else(|| refuse("MALFORMED_ID", format!("malformed id {text}")))?;
                org.change(id, &fields).map(|()| (id, Some(false)))
            }
        };
    }
    upsert(org, object, field, &value.unwrap_or_default(), record).map(|(id, created)| (id, Some(created)))
}

/// Finds a row by an external id and changes it, or creates it.
pub(crate) fn upsert(
    org: &mut Org,
    object: usize,
    field: &str,
    value: &str,
    record: &Map<String, Json>,
) -> Result<(Id, bool), Vec<RowError>> {
    let at = org.objects[object].field(field).filter(|at| {
        let field = &org.objects[object].fields[*at];
        field.external || field.id_lookup
    });
    let Some(at) = at else {
        let message = format!("Provided external ID field does not exist or is not accessible: {field}");
        return Err(vec![RowError::new("NOT_FOUND", message)]);
    };
    if value.is_empty() {
        return Err(vec![RowError::new("MISSING_ARGUMENT", format!("{field} not specified"))]);
    }
    match org.holders(object, at, &Val::Text(value.into())).to_vec().as_slice() {
        [] => {
            let mut fields = record.clone();
            fields.insert(org.objects[object].fields[at].name.clone(), json!(value));
            org.create_by_upsert(object, &fields).map(|id| (id, true))
        }
        [one] => {
            let id = org.id(object, *one);
            let mut fields = record.clone();
            fields.retain(|key, _| !key.eq_ignore_ascii_case(field));
            org.change(id, &fields).map(|()| (id, false))
        }
        several => {
            let ids: Vec<String> = several.iter().map(|number| org.id(object, *number).to_string()).collect();
            let message = format!("{field}: more than one record found for external id field: [{}]", ids.join(", "));
            Err(vec![RowError::new("DUPLICATE_EXTERNAL_ID", message)])
        }
    }
}

/// The answer of an upsert: until version 45.0 a row that was there before was changed without a word.
fn upserted(root: &str, id: Id, created: bool) -> Reply {
    let mut body = json!({ "id": id.to_string(), "success": true, "errors": [] });
    if super::bulk::version(root) < 46.0 {
        return if created { Reply::json(201, &body) } else { Reply::empty(204) };
    }
    body["created"] = json!(created);
    Reply::json(if created { 201 } else { 200 }, &body)
}

fn one(org: &mut Org, call: &Call, method: &str, object: usize, id: Id, root: &str) -> Reply {
    let live = org.live(id);
    if let (Ok(_), "GET" | "PATCH", Err(reply)) = (&live, method, conditions(org, call, id)) {
        return reply;
    }
    match method {
        "GET" => {
            if let Err(error) = live {
                let code = if error.code == "ENTITY_IS_DELETED" { error.code } else { "NOT_FOUND" };
                return Reply::error(404, code, &error.message);
            }
            let fields: Option<Vec<String>> =
                call.query.get("fields").map(|text| text.split(',').map(|name| name.trim().to_owned()).collect());
            match org.record(object, id.number, fields.as_deref(), root) {
                Ok(row) => marked(Reply::json(200, &row), org, id),
                Err(error) => Reply::rows(&[error]),
            }
        }
        "PATCH" => {
            if let Err(error) = live {
                return Reply::error(404, error.code, &error.message);
            }
            match object_of(&call.body).map(|body| org.change_as(object, id, &body)) {
                Err(reply) => reply,
                Ok(Ok(())) => Reply::empty(204),
                Ok(Err(errors)) => Reply::rows(&errors),
            }
        }
        "DELETE" => {
            if let Err(error) = live {
                return Reply::error(404, error.code, &error.message);
            }
            match org.delete(id) {
                Ok(()) => {
                    org.refresh_grants();
                    Reply::empty(204)
                }
                Err(error) => Reply::rows(&[error]),
            }
        }
        other => {
            let message = format!("HTTP Method '{other}' not allowed. Allowed are HEAD,GET,PATCH,DELETE");
            Reply::error(405, "METHOD_NOT_ALLOWED", &message)
        }
    }
}

fn by_key(org: &mut Org, call: &Call, method: &str, object: usize, field: &str, value: &str, root: &str) -> Reply {
    if field.eq_ignore_ascii_case("id") {
        let Some(id) = Id::parse(value).filter(|id| org.is_of(*id, object)) else { return Reply::not_found() };
        let reply = one(org, call, method, object, id, root);
        return if (method, reply.status) == ("PATCH", 204) { upserted(root, id, false) } else { reply };
    }
    let known = org.objects[object].field(field).filter(|at| {
        let field = &org.objects[object].fields[*at];
        field.external || field.id_lookup
    });
    let Some(at) = known else {
        let message = format!("Provided external ID field does not exist or is not accessible: {field}");
        return Reply::error(404, "NOT_FOUND", &message);
    };
    let found = org.holders(object, at, &Val::Text(value.into())).to_vec();
    if found.len() > 1 {
        let name = &org.objects[object].name;
        let urls: Vec<Json> =
            found.iter().map(|n| json!(format!("{root}/sobjects/{name}/{}", org.id(object, *n)))).collect();
        return Reply::json(300, &Json::Array(urls));
    }
    match (method, found.first()) {
        ("PATCH", found) => {
            if found.is_none() && call.query.get("updateOnly").is_some_and(|flag| flag == "true") {
                return Reply::not_found();
            }
            match object_of(&call.body).map(|body| upsert(org, object, field, value, &body)) {
                Err(reply) => reply,
                Ok(Ok((id, created))) => upserted(root, id, created),
                Ok(Err(errors)) => Reply::rows(&errors),
            }
        }
        (_, None) => Reply::not_found(),
        (method, Some(number)) => {
            let id = org.id(object, *number);
            one(org, call, method, object, id, root)
        }
    }
}
