//! A Twenty workspace in a process of its own, spoken to as any client speaks to it.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value as Json, json};

use crate::{Project, binary};

/// A workspace that listens.
#[derive(Debug)]
pub struct Workspace {
    child: Child,
    /// Its address.
    pub url: String,
    /// A key.
    pub token: String,
    client: reqwest::blocking::Client,
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Workspace {
    /// Starts a workspace without a rate limit, whose prefilled workflow is off: a person switches it off before a migration.
    pub fn start() -> Self {
        let workspace = Self::with(&["--limits", "off"]);
        workspace.switch(&json!({ "workflow": false }));
        workspace
    }

    /// Starts a workspace with these options.
    pub fn with(args: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(["sandbox", "twenty", "--until-eof"]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let about: Json = serde_json::from_str(&line).unwrap();
        let text = |name: &str| about[name].as_str().unwrap().to_owned();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(60)).build().unwrap();
        Self { child, url: text("url"), token: text("token"), client }
    }

    /// Sends a request and returns status and answer.
    pub fn call(&self, method: &str, path: &str, body: Option<&Json>) -> (u16, Json) {
        let url = format!("{}{path}", self.url);
        let mut request = self.client.request(method.parse().unwrap(), url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().unwrap()).unwrap_or(Json::Null))
    }

    /// Reads bytes at an address that the server signed.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let answer = self.client.get(format!("{}{path}", self.url)).send().unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.bytes().unwrap().to_vec()
    }

    /// Returns every live row of an object by REST, as the public API pages it.
    pub fn rows(&self, plural: &str) -> Vec<Json> {
        self.list(plural, "")
    }

    /// Returns the rows that carry Waybill's key.
    pub fn ours(&self, plural: &str) -> Vec<Json> {
        self.list(plural, "&filter=waybillKey[is]:NOT_NULL")
    }

    /// Returns the rows of a filter, page by page.
    pub fn list(&self, plural: &str, filter: &str) -> Vec<Json> {
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let (status, page) = self.call("GET", &format!("/rest/{plural}?limit=200{filter}{after}"), None);
            assert_eq!(status, 200, "{plural}{filter}: {page}");
            rows.extend(page["data"][plural].as_array().unwrap().iter().cloned());
            if page["pageInfo"]["hasNextPage"] != true {
                return rows;
            }
            after = format!("&starting_after={}", page["pageInfo"]["endCursor"].as_str().unwrap());
        }
    }

    /// Returns the rows that carry our key by the id that they have in the source.
    pub fn by_source(&self, plural: &str) -> BTreeMap<String, Json> {
        self.ours(plural)
            .into_iter()
            .map(|row| (row["sourceId"].as_str().unwrap_or_default().to_owned(), row))
            .collect()
    }

    /// Returns the metadata of an object's field.
    pub fn field(&self, object: &str, field: &str) -> Json {
        let (_, objects) = self.call("GET", "/rest/metadata/objects?limit=200", None);
        let objects = objects["data"].as_array().unwrap().clone();
        let object = objects.into_iter().find(|known| known["nameSingular"] == object).unwrap();
        let fields = object["fields"].as_array().unwrap();
        fields.iter().find(|known| known["name"] == field).cloned().unwrap_or(Json::Null)
    }

    /// Returns the digest of all live rows.
    pub fn digest(&self) -> String {
        self.call("GET", "/__sandbox/digest", None).1["live"].as_str().unwrap().to_owned()
    }

    /// Returns how many rows lie in the trash.
    pub fn trash(&self) -> Json {
        self.call("GET", "/__sandbox/digest", None).1["residue"]["trash"].clone()
    }

    /// Arms faults.
    pub fn faults(&self, faults: &Json) {
        assert_eq!(self.call("POST", "/__sandbox/faults", Some(faults)).0, 200);
    }

    /// Switches what differs between servers.
    pub fn switch(&self, switches: &Json) {
        assert_eq!(self.call("POST", "/__sandbox/switches", Some(switches)).0, 200);
    }

    /// Lets a member, or another API key of that name, act from now on.
    pub fn act_as(&self, who: &Json) {
        assert_eq!(self.call("POST", "/__sandbox/act-as", Some(who)).0, 200);
    }

    /// Returns the names of every field, and the values of its options, by object.
    pub fn schema(&self) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
        let (_, objects) = self.call("GET", "/rest/metadata/objects?limit=200", None);
        let text = |of: &Json, name: &str| of[name].as_str().unwrap_or_default().to_owned();
        let options = |field: &Json| {
            field["options"].as_array().into_iter().flatten().map(|option| text(option, "value")).collect()
        };
        let fields = |object: &Json| {
            let fields = object["fields"].as_array().unwrap().iter();
            fields.map(|field| (text(field, "name"), options(field))).collect()
        };
        let objects = objects["data"].as_array().unwrap();
        objects.iter().map(|object| (text(object, "nameSingular"), fields(object))).collect()
    }

    /// Returns how many requests were answered: all that the limit counts, and those that it refused.
    pub fn counted(&self) -> (u64, u64) {
        let (status, counts) = self.call("GET", "/__sandbox/requests", None);
        assert_eq!(status, 200, "{counts}");
        (counts["taken"].as_u64().unwrap(), counts["refused"].as_u64().unwrap())
    }
}

impl Project {
    /// Makes a project that moves an export to a workspace, with the shipped plan and these owner decisions.
    pub fn twenty(workspace: &Workspace, bundle: &Path) -> Self {
        let project = Self::twenty_bare(workspace, bundle);
        project.decide_owners();
        let config = project.config().replace("[destination]\n", "[destination]\nrequests_per_minute = 0\n");
        project.set_config(&config);
        project
    }

    /// Makes a project that moves an export to a workspace, with the shipped plan and the usual limit.
    pub fn twenty_bare(workspace: &Workspace, bundle: &Path) -> Self {
        Self::to("twenty", &workspace.url, &workspace.token, bundle)
    }
}
