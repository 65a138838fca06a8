//! The Twenty sandbox over real HTTP: statuses, headers, bodies and the rate limit, as a client meets them.
//!
//! What can be told from requests and answers alone is tested beside the server; here are a socket, a clock that runs, and many
//! clients at once.

#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::{Value as Json, json};
use waybill_sandbox::twenty::{Options, Running, Switches, serve};

/// A workspace that listens.
struct Workspace {
    // Stops the server when it goes.
    _runtime: tokio::runtime::Runtime,
    running: Running,
    client: Client,
}

impl Workspace {
    fn start(options: Options) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let running = runtime.block_on(serve(options)).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Self { _runtime: runtime, running, client }
    }

    /// Without a rate limit and without the workflow.
    fn unlimited() -> Self {
        let switches = Switches { workflow: false, ..Switches::default() };
        Self::start(Options { limits: false, switches, ..Options::default() })
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.running.url))
    }

    fn send(&self, method: &str, path: &str, body: Option<&Json>) -> Response {
        let mut request = self.request(method, path).bearer_auth(&self.running.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        request.send().unwrap()
    }

    fn call(&self, method: &str, path: &str, body: Option<&Json>) -> (u16, Json) {
        let answer = self.send(method, path, body);
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().unwrap()).unwrap_or(Json::Null))
    }
}

#[test]
fn answers_carry_the_headers_of_the_server_and_no_others() {
    let workspace = Workspace::unlimited();
    let answer = workspace.send("GET", "/rest/companies?limit=1", None);
    let header =
        |answer: &Response, name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "content-type").as_deref(), Some("application/json; charset=utf-8"));
    assert_eq!(header(&answer, "access-control-allow-origin").as_deref(), Some("*"));
    assert_eq!(header(&answer, "x-powered-by").as_deref(), Some("Express"));
    for name in ["retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-request-id", "content-encoding"] {
        assert_eq!(header(&answer, name), None, "{name}");
    }
    let tag = header(&answer, "etag").unwrap();
    assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");
    let again = workspace.request("GET", "/rest/companies?limit=1").bearer_auth(&workspace.running.token);
    let again = again.header("if-none-match", &tag).send().unwrap();
    assert_eq!((again.status().as_u16(), again.text().unwrap().as_str()), (304, ""));
    let head = workspace.send("HEAD", "/rest/companies?limit=1", None);
    assert_eq!((head.status().as_u16(), head.text().unwrap().as_str()), (200, ""));
    assert_eq!(workspace.send("OPTIONS", "/rest/companies", None).status(), 204);
    assert_eq!(workspace.request("GET", "/healthz").send().unwrap().status(), 200);
}

#[test]
fn statuses_are_those_of_the_server() {
    let workspace = Workspace::unlimited();
    let status = |method: &str, path: &str, body: Option<Json>| workspace.call(method, path, body.as_ref()).0;
    assert_eq!(workspace.request("GET", "/rest/people").send().unwrap().status(), 403, "no key");
    assert_eq!(workspace.request("GET", "/rest/people").bearer_auth("x").send().unwrap().status(), 401, "a bad key");
    assert_eq!(
        workspace
            .request("POST", "/graphql")
            .bearer_auth("x")
            .json(&json!({ "query": "{ people { totalCount } }" }))
            .send()
            .unwrap()
            .status(),
        200
    );
    let body = json!({ "emails": { "primaryEmail": "a@b.co" } });
    assert_eq!(status("POST", "/rest/people", Some(body.clone())), 201);
    assert_eq!(status("POST", "/rest/people", Some(body.clone())), 400, "no 409");
    assert_eq!(status("POST", "/rest/people?upsert=true", Some(body.clone())), 201, "also when it updates");
    assert_eq!(status("POST", "/rest/batch/people?upsert=true", Some(json!([body]))), 201);
    assert_eq!(status("GET", "/rest/people/99999999-9999-4999-8999-999999999999", None), 404);
    assert_eq!(status("GET", "/rest/peoples", None), 400, "no 404");
    assert_eq!(status("GET", "/rest/", None), 404);
    assert_eq!(status("POST", "/rest/metadata/objects", Some(json!({}))), 400);
    assert_eq!(status("GET", "/rest/metadata/objects", None), 200);
    let huge = json!({ "jobTitle": "x".repeat(11 << 20) });
    let (status, answer) = workspace.call("POST", "/rest/people", Some(&huge));
    assert_eq!((status, answer), (500, json!("request entity too large")));
}

#[test]
fn the_limit_holds_against_many_clients_at_once() {
    let workspace = Workspace::start(Options::default());
    let passed: usize = std::thread::scope(|scope| {
        let one = || (0..40).filter(|_| workspace.call("GET", "/rest/companies?limit=1", None).0 == 200).count();
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum()
    });
    // A token comes back every 0.6 seconds while they try.
    assert!((100..120).contains(&passed), "{passed}");
    let answer = workspace.send("GET", "/rest/companies?limit=1", None);
    assert_eq!((answer.status().as_u16(), answer.headers().get("retry-after")), (429, None));
    assert!(answer.text().unwrap().contains("Limit reached (100 tokens per "));
    assert_eq!(workspace.call("GET", "/rest/metadata/objects?limit=1", None).0, 200, "metadata is free");
    // The clock can be put forward instead of waiting.
    workspace.call("POST", "/__sandbox/clock", Some(&json!({ "advance_ms": 60_000 })));
    assert_eq!(workspace.call("GET", "/rest/companies?limit=1", None).0, 200);
}

#[test]
fn a_lost_answer_is_a_connection_that_breaks() {
    let workspace = Workspace::unlimited();
    workspace.call("POST", "/__sandbox/faults", Some(&json!({ "lose_answers": 1 })));
    let request = workspace.request("POST", "/rest/notes").bearer_auth(&workspace.running.token);
    let sent = request.header("content-type", "application/json").body("{\"title\":\"lost\"}").send();
    assert!(sent.and_then(Response::text).is_err());
    let (_, answer) = workspace.call("GET", "/rest/notes?filter=title[eq]:lost", None);
    assert_eq!(answer["totalCount"], 1, "the work was done");
    workspace.call("POST", "/__sandbox/faults", Some(&json!({ "slow": 300 })));
    let before = std::time::Instant::now();
    workspace.call("GET", "/rest/notes", None);
    assert!(before.elapsed() >= Duration::from_millis(300));
}

#[test]
fn the_timeline_appears_while_time_goes_by() {
    let workspace = Workspace::unlimited();
    workspace.call("POST", "/rest/notes", Some(&json!({ "title": "n" })));
    let total = || workspace.call("GET", "/rest/timelineActivities", None).1["totalCount"].clone();
    assert_eq!(total(), 0);
    workspace.call("POST", "/__sandbox/clock", Some(&json!({ "settle": true })));
    assert_eq!(total(), 1);
}

#[test]
fn it_speaks_https_with_a_certificate_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let workspace = Workspace::start(Options { tls: Some(dir.path().to_owned()), ..Options::default() });
    assert!(workspace.running.url.starts_with("https://"));
    let pem = std::fs::read(workspace.running.ca_certificate.as_ref().unwrap()).unwrap();
    let client =
        Client::builder().tls_certs_merge(reqwest::Certificate::from_pem_bundle(&pem).unwrap()).build().unwrap();
    let url = format!("{}/rest/open-api/core", workspace.running.url);
    let answer: Json =
        serde_json::from_str(&client.get(url).bearer_auth(&workspace.running.token).send().unwrap().text().unwrap())
            .unwrap();
    assert!(answer["servers"][0]["url"].as_str().unwrap().starts_with("https://"), "{}", answer["servers"]);
}

#[test]
fn the_command_line_serves_it() {
    let mut command = Command::new(waybill_tests::binary());
    command.args(["sandbox", "twenty", "--limits", "off", "--until-eof"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let about: Json = serde_json::from_str(&line).unwrap();
    assert_eq!(about["system"], "twenty");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("{}/rest/companies", about["url"].as_str().unwrap());
    let answer = Client::new().get(url).bearer_auth(about["token"].as_str().unwrap()).send().unwrap();
    assert_eq!(answer.status(), 200);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success(), "it stops when its input ends");
}
