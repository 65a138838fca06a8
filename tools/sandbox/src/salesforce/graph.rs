//! Records with their children in one call, and graphs of calls that succeed or fail as a whole.
//!
//! Source: "sObject Tree" and "Composite Graph" in the REST API Developer Guide.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value as Json, json};

use super::{
    composite::{Answer, Part, object, parts},
    model::Kind,
    org::{Org, RowError},
    service::{Call, Reply, Service},
};

/// Records of a tree, kinds of records in it, and how deep they lie.
const RECORDS: usize = 200;
const KINDS: usize = 5;
const DEPTH: usize = 5;
/// Calls of all graphs, graphs, kinds of calls in a graph, and failed graphs after which the rest is not done.
const NODES: usize = 500;
const GRAPHS: usize = 75;
const NODE_KINDS: usize = 15;
const FAILED: usize = 14;

/// A record of a tree: where it hangs, and what it says itself.
struct Leaf {
    reference: String,
    object: usize,
    fields: Map<String, Json>,
    /// The record above, and the lookup that points to it.
    parent: Option<(usize, String)>,
}

impl Org {
    /// Finds the object and the lookup behind the name of a child relationship.
    pub(crate) fn children_named(&self, parent: usize, name: &str) -> Option<(usize, usize)> {
        let own = &self.objects[parent].name;
        self.objects.iter().enumerate().filter(|(_, child)| child.plural.eq_ignore_ascii_case(name)).find_map(
            |(at, child)| {
                let field = child.fields.iter().position(|field| {
                    !field.system && matches!(&field.kind, Kind::Reference { to, .. } if to.iter().any(|to| to == own))
                });
                Some((at, field?))
            },
        )
    }
}

fn wrong(reference: &str, code: &str, message: &str) -> (String, Json) {
    (reference.to_owned(), json!([{ "statusCode": code, "message": message, "fields": [] }]))
}

/// Flattens a tree, parents first.
fn flatten(
    org: &Org,
    records: &Json,
    above: Option<(usize, usize, String)>,
    depth: usize,
    all: &mut Vec<Leaf>,
) -> Result<(), (String, Json)> {
    let Some(list) = records.as_array() else {
        return Err(wrong("", "INVALID_INPUT", "records is missing or not a list"));
    };
    if depth > DEPTH {
        return Err(wrong("", "INVALID_INPUT", "the tree is more than 5 levels deep"));
    }
    for record in list {
        let about = &record["attributes"];
        let reference = about["referenceId"].as_str().unwrap_or_default();
        if !reference.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(wrong(reference, "INVALID_INPUT", "Include a reference ID for each record in the request."));
        }
        if all.iter().any(|leaf| leaf.reference == reference) {
            let message = format!("Duplicate ReferenceId provided in the request: {reference}.");
            return Err(wrong(reference, "INVALID_INPUT", &message));
        }
        let kind = about["type"].as_str().unwrap_or_default();
        let known = org.find(kind).filter(|object| above.as_ref().is_none_or(|(child, _, _)| child == object));
        let Some(object) = known else {
            return Err(wrong(reference, "INVALID_TYPE", &format!("sObject type '{kind}' is not supported here.")));
        };
        let at = all.len();
        all.push(Leaf {
            reference: reference.to_owned(),
            object,
            fields: Map::new(),
            parent: above.as_ref().map(|(_, parent, field)| (*parent, field.clone())),
        });
        for (name, value) in record.as_object().into_iter().flatten().filter(|(name, _)| *name != "attributes") {
            let nested = value.get("records").filter(|_| org.objects[object].relationship(name).is_none());
            match nested.and_then(|records| Some((records, org.children_named(object, name)?))) {
                Some((records, (child, field))) => {
                    let field = org.objects[child].fields[field].name.clone();
                    flatten(org, records, Some((child, at, field)), depth + 1, all)?;
                }
                None => drop(all[at].fields.insert(name.clone(), value.clone())),
            }
        }
    }
    Ok(())
}

impl Service {
    /// `POST /composite/tree/ROOT`: all or nothing.
    pub(crate) fn tree(&self, call: &Call, root: &str) -> Reply {
        let body = match object(&call.body) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let mut org = self.org();
        let Some(root) = org.find(root) else { return Reply::not_found() };
        let refuse = |(reference, errors): (String, Json)| {
            let results = json!([{ "referenceId": reference, "errors": errors }]);
            Reply::json(400, &json!({ "hasErrors": true, "results": results }))
        };
        let mut all = Vec::new();
        if let Err(error) = flatten(&org, &body.get("records").cloned().unwrap_or_default(), None, 1, &mut all) {
            return refuse(error);
        }
        if let Some(leaf) = all.iter().find(|leaf| leaf.parent.is_none() && leaf.object != root) {
            return refuse(wrong(&leaf.reference, "INVALID_TYPE", "the record is not of the type in the address"));
        }
        let kinds: BTreeSet<usize> = all.iter().map(|leaf| leaf.object).collect();
        if all.is_empty() || all.len() > RECORDS || kinds.len() > KINDS {
            let message = format!("a tree has between 1 and {RECORDS} records of at most {KINDS} types");
            return refuse(wrong("", "INVALID_INPUT", &message));
        }
        let before = org.clone();
        let mut made = BTreeMap::new();
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for (at, leaf) in all.iter().enumerate() {
            let mut fields = leaf.fields.clone();
            if let Some((parent, lookup)) = &leaf.parent {
                // A parent that was refused has said so itself.
                let Some(id) = made.get(parent) else { continue };
                fields.insert(lookup.clone(), json!(format!("{id}")));
            }
            match org.create(leaf.object, &fields) {
                Ok(id) => {
                    made.insert(at, id);
                    results.push(json!({ "referenceId": leaf.reference, "id": id.to_string() }));
                }
                Err(wrong) => errors.push(json!({ "referenceId": leaf.reference, "errors": status_codes(&wrong) })),
            }
        }
        if errors.is_empty() {
            return Reply::json(201, &json!({ "hasErrors": false, "results": results }));
        }
        *org = before;
        Reply::json(400, &json!({ "hasErrors": true, "results": errors }))
    }

    /// `POST /composite/graph`: every graph is a whole, and they know nothing of each other.
    pub(crate) fn graphs(self: &Arc<Self>, call: &Call, _: &str) -> Reply {
        let body = match object(&call.body) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let Some(list) = body.get("graphs").and_then(Json::as_array) else {
            return Reply::error(400, "JSON_PARSER_ERROR", "graphs is missing or not a list");
        };
        let mut graphs: Vec<(String, Vec<Part>)> = Vec::new();
        for graph in list {
            let Some(id) = graph["graphId"].as_str() else {
                return Reply::error(400, "JSON_PARSER_ERROR", "a graph needs a graphId");
            };
            if graphs.iter().any(|(known, _)| known == id) {
                return Reply::error(400, "INVALID_INPUT", &format!("Duplicate graphId: {id}"));
            }
            match parts(graph.get("compositeRequest"), NODES) {
                Ok(parts) => graphs.push((id.to_owned(), parts)),
                Err(reply) => return reply,
            }
        }
        let nodes: usize = graphs.iter().map(|(_, parts)| parts.len()).sum();
        if graphs.is_empty() || graphs.len() > GRAPHS || nodes > NODES {
            let message = format!("a request has between 1 and {GRAPHS} graphs with at most {NODES} nodes");
            return Reply::error(400, "LIMIT_EXCEEDED", &message);
        }
        let (mut answers, mut failed) = (Vec::new(), 0);
        for (id, parts) in &graphs {
            let kinds: BTreeSet<(&str, String)> =
                parts.iter().map(|part| (part.method.as_str(), kind_of(&part.url))).collect();
            let allowed = parts.iter().all(is_node) && kinds.len() <= NODE_KINDS;
            let (answered, good) = if failed >= FAILED || !allowed {
                let answer = if allowed {
                    Answer::rolled_back()
                } else {
                    Answer::refused(
                        "INVALID_INPUT",
                        "the graph has a node that graphs do not take, or too many kinds of nodes",
                    )
                };
                (parts.iter().map(|part| answer.clone().json(&part.reference)).collect(), false)
            } else {
                self.sequence(call, parts, true)
            };
            failed += usize::from(!good);
            answers.push(json!({
                "graphId": id, "graphResponse": { "compositeResponse": answered }, "isSuccessful": good,
            }));
        }
        Reply::json(200, &json!({ "graphs": answers }))
    }
}

/// Writes errors as collections, trees and bulk results do.
fn status_codes(errors: &[RowError]) -> Json {
    let all = errors
        .iter()
        .map(|error| json!({ "statusCode": error.code, "message": error.message, "fields": error.fields }));
    Json::Array(all.collect())
}

/// The path of a node, up to the object.
fn kind_of(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().split('/').take(6).collect::<Vec<_>>().join("/").to_lowercase()
}

/// Returns whether graphs take such a call: one row, by its id or by an external id.
fn is_node(part: &Part) -> bool {
    let path = part.url.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    matches!(
        (part.method.as_str(), parts.as_slice()),
        ("POST", ["services", "data", _, "sobjects", _])
            | ("GET" | "PATCH" | "DELETE", ["services", "data", _, "sobjects", _, _])
            | ("GET" | "PATCH" | "POST" | "DELETE", ["services", "data", _, "sobjects", _, _, _])
    )
}
