//! Several calls in one: composite, with references from one call to another, and composite batch, without.
//!
//! Source: "Composite", "Composite Batch" in the REST API Developer Guide, and recorded answers.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::{Map, Value as Json, json};

use super::service::{Call, Reply, Service, form};
use crate::door::path_parts;

/// The most calls in one, and the most of them that read or write many rows.
const CALLS: usize = 25;
const MANY: usize = 5;

/// One call of several.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) reference: String,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) body: Option<Json>,
    pub(crate) headers: HashMap<String, String>,
}

/// What a call of several was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Json,
    headers: Box<Map<String, Json>>,
}

impl Answer {
    pub(crate) fn refused(code: &str, message: &str) -> Self {
        Self { status: 400, body: json!([{ "errorCode": code, "message": message }]), headers: Box::default() }
    }

    /// What the others say when one call of a whole failed.
    pub(crate) fn rolled_back() -> Self {
        let message = "The transaction was rolled back since another operation in the same transaction failed.";
        Self::refused("PROCESSING_HALTED", message)
    }

    pub(crate) fn failed(&self) -> bool {
        self.status >= 400
    }

    pub(crate) fn json(self, reference: &str) -> Json {
        json!({
            "body": self.body, "httpHeaders": *self.headers, "httpStatusCode": self.status, "referenceId": reference,
        })
    }
}

fn bad(code: &str, message: &str) -> Reply {
    Reply::error(400, code, message)
}

/// Reads an object from a request.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Json>, Reply> {
    match serde_json::from_slice(body) {
        Ok(Json::Object(map)) => Ok(map),
        Ok(_) => Err(bad("JSON_PARSER_ERROR", "Expected an object at [line:1, column:1]")),
        Err(e) => Err(bad("JSON_PARSER_ERROR", &e.to_string())),
    }
}

/// Reads the calls of a `compositeRequest`.
pub(crate) fn parts(request: Option<&Json>, most: usize) -> Result<Vec<Part>, Reply> {
    let Some(list) = request.and_then(Json::as_array) else {
        return Err(bad("JSON_PARSER_ERROR", "compositeRequest is missing or not a list"));
    };
    if list.is_empty() || list.len() > most {
        return Err(bad("LIMIT_EXCEEDED", &format!("a request has between 1 and {most} subrequests")));
    }
    let mut parts: Vec<Part> = Vec::with_capacity(list.len());
    for part in list {
        let text = |name: &str| part[name].as_str().map(str::to_owned);
        let known = ["method", "url", "referenceId", "body", "httpHeaders"];
        if let Some(name) = part.as_object().and_then(|map| map.keys().find(|name| !known.contains(&name.as_str()))) {
            return Err(bad("JSON_PARSER_ERROR", &format!("Unrecognized field \"{name}\" in a subrequest")));
        }
        let (Some(method), Some(url), Some(reference)) = (text("method"), text("url"), text("referenceId")) else {
            return Err(bad("JSON_PARSER_ERROR", "a subrequest needs method, url and referenceId"));
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !reference.starts_with(|c: char| c.is_ascii_alphanumeric()) || !reference.chars().all(plain) {
            let message = format!(
                "Provided referenceId ('{reference}') must start with a letter or a number, and it can contain only letters, numbers and underscores ('_')."
            );
            return Err(bad("INVALID_INPUT", &message));
        }
        if parts.iter().any(|part| part.reference == reference) {
            return Err(bad("INVALID_INPUT", &format!("Duplicate ReferenceId provided in the request: {reference}.")));
        }
        let headers = part["httpHeaders"].as_object().into_iter().flatten();
        parts.push(Part {
            reference,
            method: method.to_ascii_uppercase(),
            url,
            body: part.get("body").cloned().filter(|body| !body.is_null()),
            headers: headers
                .filter_map(|(name, value)| Some((name.to_ascii_lowercase(), value.as_str()?.to_owned())))
                .collect(),
        });
    }
    Ok(parts)
}

/// Answers so far, by reference.
pub(crate) type Known = BTreeMap<String, Answer>;

/// Puts what `@{ref.path}` names where it stands; the error is the answer of the call.
pub(crate) fn resolve(part: &Part, known: &Known) -> Result<Part, Answer> {
    let mut part = part.clone();
    part.url = fill(&part.url, known)?;
    if let Some(body) = &mut part.body {
        fill_all(body, known)?;
    }
    Ok(part)
}

fn fill_all(value: &mut Json, known: &Known) -> Result<(), Answer> {
    match value {
        Json::String(text) if text.starts_with("@{") && text.find('}') == Some(text.len() - 1) => {
            *value = named(&text[2..text.len() - 1], known)?;
            Ok(())
        }
        Json::String(text) => {
            *text = fill(text, known)?;
            Ok(())
        }
        Json::Array(list) => list.iter_mut().try_for_each(|item| fill_all(item, known)),
        Json::Object(map) => map.values_mut().try_for_each(|item| fill_all(item, known)),
        _ => Ok(()),
    }
}

fn fill(text: &str, known: &Known) -> Result<String, Answer> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("@{") {
        let Some((path, after)) = after.split_once('}') else { break };
        filled.push_str(before);
        match named(path, known)? {
            Json::String(text) => filled.push_str(&text),
            other => filled.push_str(&other.to_string()),
        }
        rest = after;
    }
    Ok(filled + rest)
}

/// Follows a path such as `q1.records[0].Id`; names are case-sensitive.
fn named(path: &str, known: &Known) -> Result<Json, Answer> {
    let reference = path.split(['.', '[']).next().unwrap_or_default();
    let missing = || {
        let message = format!("Invalid reference specified. No value for {path} found in {reference}");
        Answer::refused("PROCESSING_HALTED", &message)
    };
    let answer = known.get(reference).filter(|answer| !answer.failed()).ok_or_else(missing)?;
    let mut at = &answer.body;
    for step in path[reference.len()..].split(['.', '[']).filter(|step| !step.is_empty()) {
        at = match step.strip_suffix(']') {
            Some(number) => number.parse::<usize>().ok().and_then(|number| at.get(number)),
            None => at.get(step),
        }
        .ok_or_else(missing)?;
    }
    if at.is_null() || at.is_object() || at.is_array() { Err(missing()) } else { Ok(at.clone()) }
}

impl Service {
    /// Does one call of several.
    pub(crate) fn part(self: &Arc<Self>, outer: &Call, part: &Part) -> Answer {
        let (path, query) = part.url.split_once('?').unwrap_or((part.url.as_str(), ""));
        let path: Vec<String> = path_parts(path).collect();
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let (version, rest) = match names.as_slice() {
            ["services", "data", version, rest @ ..] if part.url.starts_with('/') => (*version, rest),
            _ => return answer_of(Reply::not_found()),
        };
        if Self::offered(version).is_none() {
            return answer_of(Reply::not_found());
        }
        let call = Call {
            method: part.method.clone(),
            path: path.clone(),
            query: form(query.as_bytes()),
            headers: part.headers.clone(),
            body: part.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default(),
            base: outer.base.clone(),
            address: part.url.len(),
        };
        answer_of(self.data(&call, &format!("/services/data/{}", version.to_lowercase()), rest))
    }

    /// `POST /composite`
    pub(crate) fn composite(self: &Arc<Self>, call: &Call, _: &str) -> Reply {
        let body = match object(&call.body) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let known = ["allOrNone", "collateSubrequests", "compositeRequest"];
        if let Some(name) = body.keys().find(|name| !known.contains(&name.as_str())) {
            return bad("JSON_PARSER_ERROR", &format!("Unrecognized field \"{name}\""));
        }
        let parts = match parts(body.get("compositeRequest"), CALLS) {
            Ok(parts) => parts,
            Err(reply) => return reply,
        };
        let many = |part: &&Part| {
            let url = part.url.to_ascii_lowercase();
            ["/query", "/queryall", "/composite/sobjects"].iter().any(|name| url.contains(name))
        };
        if parts.iter().filter(many).count() > MANY {
            return bad("LIMIT_EXCEEDED", "at most 5 subrequests may be queries or sObject collections");
        }
        let whole = body.get("allOrNone").and_then(Json::as_bool).unwrap_or(false);
        let (answers, _) = self.sequence(call, &parts, whole);
        Reply::json(200, &json!({ "compositeResponse": answers }))
    }

    /// Does calls one after the other, as a whole or each for itself, and says whether all went well.
    pub(crate) fn sequence(self: &Arc<Self>, call: &Call, parts: &[Part], whole: bool) -> (Vec<Json>, bool) {
        let before = whole.then(|| self.org().clone());
        let mut known = Known::new();
        for part in parts {
            let answer = match resolve(part, &known) {
                Ok(part) if part.url.to_ascii_lowercase().contains("/composite/") && !may_nest(&part.url) => {
                    Answer::refused("INVALID_INPUT", "this resource is not one of a composite request")
                }
                Ok(part) => self.part(call, &part),
                Err(answer) => answer,
            };
            let failed = answer.failed();
            known.insert(part.reference.clone(), answer);
            if failed && whole {
                break;
            }
        }
        let good = known.values().all(|answer| !answer.failed());
        let rolls_back = before.filter(|_| !good).map(|before| *self.org() = before).is_some();
        let answers = parts
            .iter()
            .map(|part| {
                let answer = known.remove(&part.reference).filter(|answer| !rolls_back || answer.failed());
                answer.unwrap_or_else(Answer::rolled_back).json(&part.reference)
            })
            .collect();
        (answers, good)
    }

    /// `POST /composite/batch`: calls that know nothing of each other, each counted.
    pub(crate) fn batch(self: &Arc<Self>, call: &Call) -> Reply {
        let body = match object(&call.body) {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let Some(list) = body.get("batchRequests").and_then(Json::as_array) else {
            return bad("JSON_PARSER_ERROR", "batchRequests is missing or not a list");
        };
        if list.is_empty() || list.len() > CALLS {
            return bad("LIMIT_EXCEEDED", &format!("a batch has between 1 and {CALLS} subrequests"));
        }
        self.count(list.len() as u64 - 1);
        let halts = body.get("haltOnError").and_then(Json::as_bool).unwrap_or(false);
        let (mut results, mut errors) = (Vec::new(), false);
        for item in list {
            if halts && errors {
                let halted = json!([{ "errorCode": "BATCH_PROCESSING_HALTED", "message": "The batch processing is halted because a prior request failed" }]);
                results.push(json!({ "statusCode": 412, "result": halted }));
                continue;
            }
            let (Some(method), Some(url)) = (item["method"].as_str(), item["url"].as_str()) else {
                return bad("JSON_PARSER_ERROR", "a subrequest needs method and url");
            };
            let url = url.trim_start_matches('/');
            let url = url.strip_prefix("services/data/").unwrap_or(url);
            let answer = self.part(
                call,
                &Part {
                    reference: String::new(),
                    method: method.to_ascii_uppercase(),
                    url: format!("/services/data/{url}"),
                    body: item.get("richInput").cloned().filter(|body| !body.is_null()),
                    headers: HashMap::new(),
                },
            );
            errors |= answer.failed();
            results.push(json!({ "statusCode": answer.status, "result": answer.body }));
        }
        Reply::json(200, &json!({ "hasErrors": errors, "results": results }))
    }
}

fn may_nest(url: &str) -> bool {
    url.to_ascii_lowercase().contains("/composite/sobjects")
}

fn answer_of(reply: Reply) -> Answer {
    let shown = ["Location", "ETag", "Last-Modified"];
    let headers = reply.headers.into_iter().filter(|(name, _)| shown.contains(name));
    Answer {
        status: reply.status,
        body: serde_json::from_slice(&reply.body).unwrap_or(Json::Null),
        headers: Box::new(headers.map(|(name, value)| (name.to_owned(), json!(value))).collect()),
    }
}
