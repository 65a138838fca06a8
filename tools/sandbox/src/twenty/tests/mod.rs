//! What a client can notice of the server, through requests and answers alone.

#![allow(clippy::unwrap_used)]

mod answers;
mod composites;
mod fields;
mod files;
mod filters;
mod graphql;
mod metadata;
mod records;
mod service;
mod standard;
mod trash;
mod upserts;
mod values;

use std::time::Duration;

use axum::{
    body::Bytes,
    http::{Request, Response},
};
use serde_json::{Value as Json, json};

use super::{Broken, Options, Server, Switches};

/// A workspace and a client with its key.
pub(super) struct Client {
    pub(super) server: Server,
}

impl Client {
    /// A workspace without a rate limit and without the workflow.
    pub(super) fn new() -> Self {
        let switches = Switches { workflow: false, ..Switches::default() };
        Self::with(&Options { limits: false, switches, ..Options::default() })
    }

    pub(super) fn with(options: &Options) -> Self {
        Self { server: Server::new(options).unwrap() }
    }

    pub(super) fn raw(&self, request: &Request<Bytes>) -> Result<Response<Bytes>, Broken> {
        self.server.answer(request)
    }

    /// Sends a request with these headers and no others.
    pub(super) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.raw(&request.body(Bytes::from(body.to_owned())).unwrap()).unwrap()
    }

    /// Returns what the `authorization` header says.
    pub(super) fn bearer(&self) -> String {
        format!("Bearer {}", self.server.token())
    }

    pub(super) fn try_send(&self, method: &str, path: &str, body: Option<&Json>) -> Result<(u16, Json), Broken> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://twenty.example{}", path.replace('"', "%22")))
            .header("authorization", self.bearer())
            .header("content-type", "application/json")
            .body(body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string())))
            .unwrap();
        let response = self.raw(&request)?;
        let status = response.status().as_u16();
        let json = serde_json::from_slice(response.body()).unwrap_or(Json::Null);
        Ok((status, json))
    }

    pub(super) fn send(&self, method: &str, path: &str, body: Option<&Json>) -> (u16, Json) {
        self.try_send(method, path, body).unwrap()
    }

    pub(super) fn get(&self, path: &str) -> (u16, Json) {
        self.send("GET", path, None)
    }

    pub(super) fn post(&self, path: &str, body: &Json) -> (u16, Json) {
        self.send("POST", path, Some(body))
    }

    pub(super) fn patch(&self, path: &str, body: &Json) -> (u16, Json) {
        self.send("PATCH", path, Some(body))
    }

    pub(super) fn put(&self, path: &str, body: &Json) -> (u16, Json) {
        self.send("PUT", path, Some(body))
    }

    pub(super) fn delete(&self, path: &str) -> (u16, Json) {
        self.send("DELETE", path, None)
    }

    /// Creates a record, and returns it.
    pub(super) fn create(&self, plural: &str, body: &Json) -> Json {
        let (status, answer) = self.post(&format!("/rest/{plural}"), body);
        assert_eq!(status, 201, "{answer}");
        answer["data"].as_object().unwrap().values().next().unwrap().clone()
    }

    /// Lists records, and returns them.
    pub(super) fn list(&self, path: &str) -> Vec<Json> {
        let (status, answer) = self.get(path);
        assert_eq!(status, 200, "{answer}");
        answer["data"].as_object().unwrap().values().next().unwrap().as_array().unwrap().clone()
    }

    /// Asserts a refusal: its status and what its message says.
    pub(super) fn refuses(&self, method: &str, path: &str, body: Option<&Json>, status: u16, words: &str) -> Json {
        let (got, answer) = self.send(method, path, body);
        let message = answer["messages"][0].as_str().or(answer["message"].as_str()).unwrap_or_default();
        assert_eq!(got, status, "{method} {path} {body:?}: {answer}");
        assert!(message.contains(words), "{method} {path}: {words:?} is not in {answer}");
        answer
    }

    pub(super) fn graphql(&self, query: &str, variables: &Json) -> Json {
        let (status, answer) = self.post("/graphql", &json!({ "query": query, "variables": variables }));
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Reads a record.
    pub(super) fn read(&self, plural: &str, id: &str) -> Json {
        let (status, answer) = self.get(&format!("/rest/{plural}/{id}"));
        assert_eq!(status, 200, "{answer}");
        answer["data"].as_object().unwrap().values().next().unwrap().clone()
    }

    pub(super) fn wait(&self, millis: u64) {
        self.server.advance(Duration::from_millis(millis));
    }

    /// Returns the id of an object's metadata.
    pub(super) fn object_id(&self, singular: &str) -> String {
        let (_, answer) = self.get("/rest/metadata/objects?limit=200");
        let object = answer["data"].as_array().unwrap().iter().find(|object| object["nameSingular"] == singular);
        object.unwrap()["id"].as_str().unwrap().to_owned()
    }
}

/// Returns the `id` of a record.
pub(super) fn id(record: &Json) -> String {
    record["id"].as_str().unwrap_or_else(|| panic!("{record}")).to_owned()
}

/// Returns the titles of the notes of a page.
pub(super) fn titles(page: &Json) -> Vec<String> {
    let notes = page["data"]["notes"].as_array().unwrap();
    notes.iter().map(|note| note["title"].as_str().unwrap().to_owned()).collect()
}
