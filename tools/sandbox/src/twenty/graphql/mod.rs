//! The two GraphQL doors: records, whose schema follows the metadata, and the metadata itself.
//!
//! Requests are parsed, and schemas validated and introspected, by a library; operations on records are carried out here, field
//! by field, as the server does: it does not validate them against the schema, so that a selected field that does not exist is
//! `null`, and a wrong value is refused by what reads values.

mod parse;
mod records;
mod schema;
mod select;
mod suggest;
mod system;

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use self::parse::{Asked, Kind, Request};
pub(crate) use self::schema::Schemas;
use super::{
    refusal::Refusal,
    service::{Call, Reply, State},
};
use crate::multipart;

/// The most root fields of a request, and the most fields in all.
const ROOTS: usize = 20;
const FIELDS: usize = 2_000;

fn errors(list: Vec<Json>) -> Reply {
    Reply::json(200, &json!({ "errors": list }))
}

/// A file that came with the request.
pub(crate) struct Upload {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// What was sent: the query, what it is given, and the files.
struct Sent {
    query: String,
    variables: Map<String, Json>,
    operation: Option<String>,
    files: Vec<Upload>,
}

fn sent(call: &Call) -> Result<Sent, Box<Reply>> {
    let kind = call.headers.get("content-type").cloned().unwrap_or_default();
    let mut files = Vec::new();
    let body = if let Some(parts) = multipart::parts(&kind, &call.body) {
        // The GraphQL multipart request specification: the operations, which variable each part is, the parts.
        let json = |name: &str| {
            let part = parts.iter().find(|part| part.name == name);
            part.and_then(|part| serde_json::from_slice::<Json>(part.body).ok()).unwrap_or_default()
        };
        let (mut operations, map) = (json("operations"), json("map"));
        for (name, places) in map.as_object().into_iter().flatten() {
            let Some(part) = parts.iter().find(|part| part.name == *name) else { continue };
            for place in places.as_array().into_iter().flatten().filter_map(Json::as_str) {
                let pointer = format!("/{}", place.replace('.', "/"));
                if let Some(slot) = operations.pointer_mut(&pointer) {
                    *slot = json!({ "__upload": files.len() });
                }
            }
            files.push(Upload { name: part.file.clone().unwrap_or_default(), bytes: part.body.to_vec() });
        }
        operations
    } else {
        match call.json() {
            Ok(body) => body.unwrap_or_default(),
            Err(refusal) => return Err(Box::new(Reply::refused(&refusal))),
        }
    };
    if body.is_array() {
        let body = json!({ "errors": [{ "message": "Batching is not supported." }] });
        return Err(Box::new(Reply::json(400, &body)));
    }
    let Some(query) = body["query"].as_str() else {
        let body = json!({ "errors": [{ "message": "Must provide query string." }] });
        return Err(Box::new(Reply::json(400, &body)));
    };
    Ok(Sent {
        query: query.to_owned(),
        variables: body["variables"].as_object().cloned().unwrap_or_default(),
        operation: body["operationName"].as_str().map(str::to_owned),
        files,
    })
}

/// Answers a request about records.
pub(crate) fn core(state: &mut State, call: &Call) -> Reply {
    let sent = match sent(call) {
        Ok(sent) => sent,
        Err(reply) => return *reply,
    };
    let request = match parse::read(&sent.query, &sent.variables, sent.operation.as_deref()) {
        Ok(request) => request,
        Err(error) => return errors(vec![error]),
    };
    if !call.headers.contains_key("authorization") {
        // Whoever says no name sees a schema with nothing in it.
        let unknown = |field: &Asked| unknown_root(&request, field);
        return errors(request.fields.iter().map(unknown).collect());
    }
    if let Err(refusal) = state.admit(call) {
        return errors(vec![refusal.graphql()]);
    }
    if request.fields.iter().any(Asked::is_introspection) {
        let schema = match state.schemas.core(&state.workspace) {
            Ok(schema) => schema,
            Err(message) => return errors(vec![json!({ "message": message })]),
        };
        return introspect(&schema, &sent);
    }
    if let Err(refusal) = bounds(&request) {
        return Reply::json(200, &json!({ "errors": [refusal.graphql()], "data": {} }));
    }
    if let Some(field) = request.fields.iter().find(|field| {
        records::door(&state.workspace, request.kind, &field.name).is_none() && field.name != "__typename"
    }) {
        return errors(vec![unknown_root(&request, field)]);
    }
    let token = if request.fields.iter().all(|field| field.name == "__typename") { Ok(()) } else { state.take_token() };
    let mut data = Map::new();
    let mut failed = Vec::new();
    for field in &request.fields {
        let answer = match &token {
            Err(refusal) => Err(refusal.clone()),
            Ok(()) if field.name == "__typename" => Ok(json!(request.kind.type_name())),
            Ok(()) => records::answer(state, request.kind, field),
        };
        let value = answer.unwrap_or_else(|refusal| {
            failed.push(refusal.graphql());
            Json::Null
        });
        data.insert(field.key.clone(), value);
    }
    let mut body = json!({ "data": data });
    if !failed.is_empty() {
        body["errors"] = json!(failed);
    }
    Reply::json(200, &body)
}

fn unknown_root(request: &Request, field: &Asked) -> Json {
    json!({
        "message": format!("Cannot query field \"{}\" on type \"{}\".", field.name, request.kind.type_name()),
        "locations": [{ "line": field.line, "column": field.column }],
    })
}

/// Refuses what asks for too much at once, or for the same twice.
fn bounds(request: &Request) -> Result<(), Refusal> {
    let roots = request.fields.len();
    if roots > ROOTS {
        return Err(Refusal::coded(
            "TOO_COMPLEX_QUERY",
            format!(
                "Query too complex - Too many root resolvers requested: {roots} - Maximum allowed root resolvers: {ROOTS}"
            ),
        ));
    }
    let mut names: Vec<&str> = Vec::new();
    for field in &request.fields {
        if names.contains(&field.name.as_str()) {
            return Err(Refusal::database(format!("Duplicate root resolver: \"{}\"", field.name)));
        }
        names.push(&field.name);
    }
    let fields: usize = request.fields.iter().map(Asked::count).sum();
    if fields > FIELDS {
        return Err(Refusal::coded(
            "TOO_COMPLEX_QUERY",
            format!("Query too complex - Too many fields requested: {fields} - Maximum allowed fields: {FIELDS}"),
        ));
    }
    Ok(())
}

fn introspect(schema: &Arc<schema::Known>, sent: &Sent) -> Reply {
    match schema.introspect(&sent.query, sent.operation.as_deref(), &sent.variables) {
        Ok(data) => Reply::json(200, &json!({ "data": data })),
        Err(list) => errors(list),
    }
}

/// Answers a request about metadata, files, webhooks and keys. Here the schema is law.
pub(crate) fn metadata(state: &mut State, call: &Call) -> Reply {
    let sent = match sent(call) {
        Ok(sent) => sent,
        Err(reply) => return *reply,
    };
    let request = match parse::read(&sent.query, &sent.variables, sent.operation.as_deref()) {
        Ok(request) => request,
        Err(error) => return errors(vec![error]),
    };
    let schema = match Schemas::metadata() {
        Ok(schema) => schema,
        Err(message) => return errors(vec![json!({ "message": message })]),
    };
    if let Err(list) = schema.validate(&sent.query) {
        return errors(list);
    }
    if !call.headers.contains_key("authorization") {
        let error = json!({
            "message": "Forbidden resource",
            "extensions": {
                "code": "FORBIDDEN",
                "response": { "message": "Forbidden resource", "error": "Forbidden", "statusCode": 403 },
                "userFriendlyMessage": "An error occurred.",
            },
        });
        return Reply::json(200, &json!({ "errors": [error], "data": null }));
    }
    if let Err(refusal) = state.admit(call) {
        return errors(vec![refusal.graphql()]);
    }
    if request.fields.iter().any(Asked::is_introspection) {
        return introspect(&schema, &sent);
    }
    let mut data = Map::new();
    let mut failed = Vec::new();
    for field in &request.fields {
        match system::answer(state, request.kind == Kind::Mutation, field, &sent.files) {
            Ok(value) => drop(data.insert(field.key.clone(), select::pick(&value, &field.fields))),
            Err(refusal) => failed.push(refusal.graphql()),
        }
    }
    if failed.is_empty() {
        Reply::json(200, &json!({ "data": data }))
    } else {
        // Every field of this API must be there, so that one that fails takes all with it.
        Reply::json(200, &json!({ "errors": failed, "data": null }))
    }
}
