//! What the end-to-end tests share: the real binary, a sandbox of its own for every test, and the public wire.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc, clippy::return_self_not_must_use)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, OnceLock},
    time::Duration,
};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

mod twenty;

pub use twenty::Workspace;

/// Returns the real binary, built once.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // One that was built elsewhere, such as the one that is to be released.
        if let Some(path) = std::env::var_os("WAYBILL_BINARY") {
            return path.into();
        }
        let own = std::env::current_exe().unwrap();
        // target/PROFILE/deps/test-hash
        let profile = own.parent().and_then(Path::parent).unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        // With the whole workspace and its tests in view, the features of dependencies are those that the tests were built
        // with, and nothing is built twice.
        build.args(["build", "--workspace", "--bins", "--tests", "--quiet"]).current_dir(root());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        build.env("CARGO_TARGET_DIR", profile.parent().unwrap());
        // What cargo tells of this package would make build scripts of others run again, and half the workspace with them.
        let told = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];
        for (name, _) in std::env::vars().filter(|(name, _)| told.iter().any(|prefix| name.starts_with(prefix))) {
            build.env_remove(name);
        }
        assert!(build.status().unwrap().success(), "the binary does not build");
        profile.join("waybill")
    })
}

/// Returns the root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Returns real data that is not part of this repository, or says that the test is skipped.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = root().parent()?.join("shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    {
        eprintln!("skipped: {name} is real data that is not part of this repository, and it is not here");
    }
    None
}

/// A sandbox in a process of its own.
#[derive(Debug)]
pub struct Org {
    child: Child,
    /// Its address.
    pub url: String,
    /// A token.
    pub token: String,
    /// The certificate authority, with https.
    pub ca: Option<PathBuf>,
    /// Everything that it told when it started.
    pub about: Json,
    client: reqwest::blocking::Client,
}

impl Drop for Org {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Org {
    /// Starts an org.
    pub fn start(args: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(["sandbox", "salesforce", "--limits", "off", "--until-eof"]).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let about: Json = serde_json::from_str(&line).unwrap();
        let text = |name: &str| about[name].as_str().map(str::to_owned);
        let ca = text("ca_certificate").map(PathBuf::from);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::blocking::Client::builder().timeout(Duration::from_secs(60));
        if let Some(ca) = &ca {
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(&fs::read(ca).unwrap()).unwrap());
        }
        let client = builder.build().unwrap();
        Self { child, url: text("url").unwrap(), token: text("token").unwrap(), ca, about, client }
    }

    /// Sends a request to the public wire and returns status and answer.
    pub fn call(&self, method: &str, path: &str, body: Option<&Json>) -> (u16, Json) {
        let url = if path.starts_with("/__") || path.starts_with("/services") {
            format!("{}{path}", self.url)
        } else {
            format!("{}/services/data/v62.0/{path}", self.url)
        };
        let mut request = self.client.request(method.parse().unwrap(), url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Json::Null))
    }

    /// Sends a request as it is, and returns status, headers and bytes.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (u16, BTreeMap<String, String>, Vec<u8>) {
        let mut request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().unwrap();
        let headers = answer.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        (answer.status().as_u16(), headers, answer.bytes().unwrap().to_vec())
    }

    /// Sends a body that is not JSON, and returns status and text.
    pub fn raw(&self, method: &str, path: &str, kind: &str, body: &str) -> (u16, String) {
        let url = format!("{}/services/data/v62.0/{path}", self.url);
        let request =
            self.client.request(method.parse().unwrap(), url).bearer_auth(&self.token).header("content-type", kind);
        let answer = request.body(body.to_owned()).send().unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    }

    /// Reads bytes.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let url = format!("{}/services/data/v62.0/{path}", self.url);
        let answer = self.client.get(url).bearer_auth(&self.token).send().unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.bytes().unwrap().to_vec()
    }

    /// Reads a page of text with its headers.
    pub fn page(&self, path: &str) -> (BTreeMap<String, String>, String) {
        let url = format!("{}/services/data/v62.0/{path}", self.url);
        let answer = self.client.get(url).bearer_auth(&self.token).send().unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        let headers = answer.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        (headers, answer.text().unwrap())
    }

    /// Asks a query and returns every row.
    pub fn query(&self, soql: &str) -> Vec<Json> {
        let query = reqwest::Url::parse_with_params("q:", [("q", soql)]).unwrap();
        let mut path = format!("query?{}", query.query().unwrap());
        let mut rows = Vec::new();
        loop {
            let (status, page) = self.call("GET", &path, None);
            assert_eq!(status, 200, "{soql}: {page}");
            rows.extend(page["records"].as_array().unwrap().iter().cloned());
            match page["nextRecordsUrl"].as_str() {
                Some(next) => next.clone_into(&mut path),
                None => return rows,
            }
        }
    }

    /// Counts rows.
    pub fn count(&self, from: &str) -> u64 {
        let query = reqwest::Url::parse_with_params("q:", [("q", format!("SELECT COUNT() FROM {from}"))]).unwrap();
        let (_, answer) = self.call("GET", &format!("query?{}", query.query().unwrap()), None);
        answer["totalSize"].as_u64().unwrap()
    }

    /// Counts the rows of an object that carry our key; `None` where rows of it cannot.
    pub fn ours(&self, object: &str) -> Option<u64> {
        let keyless = ["ContentNote", "ContentDocumentLink"].contains(&object);
        (!keyless).then(|| self.count(&format!("{object} WHERE Source_System_ID__c != null")))
    }

    /// Returns the digest of all live data rows.
    pub fn digest(&self) -> String {
        self.call("GET", "/__sandbox/digest", None).1["live"].as_str().unwrap().to_owned()
    }

    /// Returns every live row of an object, a line each, in canonical form.
    pub fn dump(&self, object: &str) -> Vec<String> {
        let answer = self.client.get(format!("{}/__sandbox/dump?object={object}", self.url)).send().unwrap();
        answer.text().unwrap().lines().map(str::to_owned).collect()
    }

    /// Arms faults.
    pub fn faults(&self, faults: &Json) {
        assert_eq!(self.call("POST", "/__sandbox/faults", Some(faults)).0, 200);
    }

    /// Lets another person act from now on.
    pub fn act_as(&self, email: &str) {
        assert_eq!(self.call("POST", "/__sandbox/act-as", Some(&json!({ "email": email }))).0, 200);
    }
}

/// A project in a folder of its own.
#[derive(Debug)]
pub struct Project {
    /// Everything of the test lies here.
    pub dir: TempDir,
    /// Where the project lies, if not in there.
    at: Option<PathBuf>,
    /// One command at a time: tests share a project, and a ledger has one writer.
    turn: Mutex<()>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Done {
    /// The exit code.
    pub code: i32,
    /// What it printed.
    pub out: String,
    /// What it said.
    pub err: String,
}

impl Done {
    /// Returns the document that it printed.
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.out, self.err))
    }

    /// Insists on an exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// Insists that what it printed holds these words.
    #[track_caller]
    pub fn shows(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.out.contains(word), "`{word}` is not in:\n{}\n{}", self.out, self.err);
        }
        self
    }

    /// Insists that what it said holds these words.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not in:\n{}\n{}", self.err, self.out);
        }
        self
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A deterministic Spark export.
pub fn generate(dir: &Path, args: &[&str]) {
    let done: Done = Command::new(binary()).arg("generate").arg(dir).args(args).output().unwrap().into();
    done.exits(0);
}

impl Project {
    /// Makes a project over an export, with the shipped plan and these owner decisions.
    pub fn new(org: &Org, bundle: &Path) -> Self {
        let project = Self::bare(org, bundle);
        project.decide_owners();
        project
    }

    /// Makes a project with the shipped plan as it is.
    pub fn bare(org: &Org, bundle: &Path) -> Self {
        let project = Self::to("salesforce", &org.url, &org.token, bundle);
        if let Some(ca) = &org.ca {
            let line = format!("[destination]\nca_certificate = {:?}\n", ca.display().to_string());
            project.set_config(&project.config().replace("[destination]\n", &line));
        }
        project
    }

    /// Makes a project that moves an export to a system at an address, with the shipped plan as it is.
    fn to(system: &str, url: &str, token: &str, bundle: &Path) -> Self {
        let project = Self::empty();
        let mut init = Command::new(binary());
        init.args(["init", "--from", "spark", "--to", system, "--url", url, "--bundle"]).arg(bundle);
        let done: Done = init.arg(project.path()).output().unwrap().into();
        done.exits(0);
        let sign_in = "\n[destination.auth]\ntype = \"token\"\ntoken = { file = \"token\" }\n";
        project.set_config(&(project.config() + sign_in));
        fs::write(project.path().join("token"), token).unwrap();
        project
    }

    /// Says who owns what nobody owns.
    fn decide_owners(&self) {
        let owners = "[owners]\nobject = \"users\"\nemail = \"email\"\n";
        let decided = "fallback = \"grace.hopper@example.com\"\nunowned = \"ada.lovelace@example.com\"\n";
        self.edit_plan(owners, &format!("{owners}{decided}"));
    }

    /// Makes room for a project.
    fn empty() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), at: None, turn: Mutex::default() }
    }

    /// Takes a folder for a project, whatever is in it.
    pub fn at(path: &Path) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), at: Some(path.to_owned()), turn: Mutex::default() }
    }

    /// Returns the project's folder.
    pub fn path(&self) -> PathBuf {
        self.at.clone().unwrap_or_else(|| self.dir.path().join("project"))
    }

    /// Returns the configuration.
    pub fn config(&self) -> String {
        fs::read_to_string(self.path().join("waybill.toml")).unwrap()
    }

    /// Writes the configuration.
    pub fn set_config(&self, text: &str) {
        fs::write(self.path().join("waybill.toml"), text).unwrap();
    }

    /// Lets the project read another export from now on.
    pub fn set_bundle(&self, bundle: &Path) {
        let lines: Vec<String> = self
            .config()
            .lines()
            .map(|line| {
                if line.starts_with("bundle = ") {
                    format!("bundle = {:?}", bundle.display().to_string())
                } else {
                    line.to_owned()
                }
            })
            .collect();
        self.set_config(&lines.join("\n"));
    }

    /// Returns the plan.
    pub fn plan(&self) -> String {
        fs::read_to_string(self.path().join("plan.toml")).unwrap()
    }

    /// Writes the plan.
    pub fn set_plan(&self, text: &str) {
        fs::write(self.path().join("plan.toml"), text).unwrap();
    }

    /// Replaces a passage of the plan, which must be there.
    #[track_caller]
    pub fn edit_plan(&self, old: &str, new: &str) {
        let plan = self.plan();
        assert!(plan.contains(old), "the plan has no `{old}`");
        self.set_plan(&plan.replacen(old, new, 1));
    }

    /// Signs in as a client with a secret, which gets a new token when one expires, instead of with one token.
    pub fn sign_in_as_client(&self) {
        let token = "type = \"token\"\ntoken = { file = \"token\" }";
        let client =
            "type = \"client_credentials\"\nclient_id = \"waybill-sandbox\"\nclient_secret = { file = \"secret\" }";
        self.set_config(&self.config().replace(token, client));
        std::fs::write(self.path().join("secret"), "sandbox-secret-1\n").unwrap();
    }

    /// Prepares a command of the binary on this project.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("-C").arg(self.path()).args(args);
        command
    }

    /// Runs a command.
    pub fn run(&self, args: &[&str]) -> Done {
        let _turn = self.turn.lock();
        self.command(args).output().unwrap().into()
    }

    /// Runs a command that must succeed, and returns its document.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Json {
        let mut all = vec!["--json"];
        all.extend(args);
        self.run(&all).exits(0).json()
    }

    /// Makes the org ready and approves the plan.
    #[track_caller]
    pub fn ready(&self) {
        self.run(&["schema", "apply"]).exits(0);
        self.run(&["approve", "--by", "Test Person"]).exits(0);
    }

    /// Insists that the ledger verifies.
    #[track_caller]
    pub fn verifies(&self) {
        self.run(&["audit", "verify"]).exits(0);
    }

    /// Returns the events of one kind.
    pub fn events(&self, kind: &str) -> Vec<Json> {
        let done = self.run(&["--json", "audit", "log", "--event", kind]).exits(0);
        done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns what waits, by record.
    pub fn holds(&self) -> BTreeMap<String, String> {
        let done = self.run(&["--json", "holds", "list"]).exits(0);
        done.out
            .lines()
            .map(|line| serde_json::from_str::<Json>(line).unwrap())
            .map(|hold| (hold["record"].as_str().unwrap().to_owned(), hold["reason"].as_str().unwrap().to_owned()))
            .collect()
    }
}

/// Writes an export by hand: tables by name with their columns and rows, and files by their place.
pub fn export_by_hand(dir: &Path, zone: &str, tables: &[(&str, &str, Vec<String>)], files: &[(&str, &[u8])]) {
    let write = |path: PathBuf, bytes: &[u8]| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    for (name, columns, rows) in tables {
        write(dir.join(format!("{name}.csv")), format!("{columns}\n{}\n", rows.join("\n")).as_bytes());
    }
    for (path, bytes) in files {
        write(dir.join("files").join(path), bytes);
    }
    let manifest = serde_json::json!({
        "bundle_format": "waybill-bundle/1", "product": "spark-crm", "bundle_id": "by-hand", "kind": "full",
        "exported_at": "2024-06-01T00:00:00Z", "account": { "id": "acme", "time_zone": zone, "currency": "EUR" },
    });
    write(dir.join("manifest.json"), manifest.to_string().as_bytes());
}

/// Changes cells of a table of an export, row by row, and lets the manifest forget its digest.
pub fn edit(
    export: &Path,
    table: &str,
    mut change: impl FnMut(&BTreeMap<String, String>) -> Vec<(&'static str, String)>,
) {
    let path = export.join(format!("{table}.csv"));
    let mut reader = csv::Reader::from_path(&path).unwrap();
    let header = reader.headers().unwrap().clone();
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(&header).unwrap();
    for record in reader.records() {
        let record = record.unwrap();
        let row = header.iter().map(str::to_owned).zip(record.iter().map(str::to_owned)).collect();
        let changes = change(&row);
        let cells = header.iter().zip(record.iter()).map(|(name, cell)| {
            changes.iter().find(|(column, _)| *column == name).map_or(cell.to_owned(), |(_, value)| value.clone())
        });
        out.write_record(cells).unwrap();
    }
    std::fs::write(&path, out.into_inner().unwrap()).unwrap();
    let manifest = export.join("manifest.json");
    let mut about: Json = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    for object in about["objects"].as_array_mut().unwrap() {
        object.as_object_mut().unwrap().remove("sha256");
    }
    std::fs::write(&manifest, about.to_string()).unwrap();
}

/// Reads a CSV file as rows by column name.
pub fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut reader = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let header = reader.headers().unwrap().clone();
    reader
        .records()
        .map(|record| header.iter().map(str::to_owned).zip(record.unwrap().iter().map(str::to_owned)).collect())
        .collect()
}

/// Returns a text field of a row; null is the empty text.
pub fn text(row: &Json, name: &str) -> String {
    match &row[name] {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
