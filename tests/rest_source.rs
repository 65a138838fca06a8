//! A source behind a REST API: the same records arrive as from an export, whatever way its lists are paged, while people go on
//! working, and when the wire fails.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value as Json, json};
use waybill_tests::{Org, Project, binary, generate, root, rows, text};

/// A company at work, in a process of its own.
struct Company {
    child: Child,
    url: String,
    token: String,
    about: Json,
    client: reqwest::blocking::Client,
}

impl Drop for Company {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Company {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(["sandbox", "spark", "--until-eof"]).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let about: Json = serde_json::from_str(&line).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::new();
        Self { child, url: text(&about, "url"), token: text(&about, "token"), about, client }
    }

    /// Turns a switch beside the wire.
    fn switch(&self, name: &str, body: &Json) -> Json {
        let url = format!("{}/{name}", text(&self.about, "switches"));
        let answer = self.client.post(url).body(body.to_string()).send().unwrap();
        let status = answer.status().as_u16();
        let answer: Json = serde_json::from_str(&answer.text().unwrap()).unwrap();
        assert_eq!(status, 200, "{answer}");
        answer
    }

    fn edit(&self, edits: &Json) -> Vec<String> {
        let answer = self.switch("edit", &json!({ "edits": edits }));
        answer["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    fn calls(&self) -> u64 {
        let answer = self.client.get(format!("{}/calls", text(&self.about, "switches"))).send().unwrap();
        serde_json::from_str::<Json>(&answer.text().unwrap()).unwrap()["calls"].as_u64().unwrap()
    }

    /// Returns the records of an object.
    fn records(&self, object: &str) -> Vec<Json> {
        let answer = self.client.get(format!("{}/dump", text(&self.about, "switches"))).send().unwrap();
        let text = answer.text().unwrap();
        let rows = text.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
        rows.filter(|row| row["object"] == object).map(|row| row["fields"].clone()).collect()
    }
}

/// A project that reads the company.
fn project(org: &Org, company: &Company, more: &str) -> Project {
    let project = Project::new(org, Path::new("/nowhere"));
    reads(&project, company, more);
    project
}

/// Lets a project read the company from now on.
fn reads(project: &Project, company: &Company, more: &str) {
    fs::write(project.path().join("source-token"), &company.token).unwrap();
    let server = format!("kind = \"rest\"\nurl = {:?}\ntoken = {{ file = \"source-token\" }}\n{more}", company.url);
    let kept = |line: &&str| {
        !["bundle", "kind", "url = \"http://127.0.0.1", "token = { file = \"source"]
            .iter()
            .any(|own| line.starts_with(own))
    };
    let config = project.config();
    let (source, rest) = config.split_once("[destination]").unwrap();
    let source: Vec<&str> = source.lines().filter(kept).collect();
    let source = source.join("\n").replace("[source]", &format!("[source]\n{server}"));
    project.set_config(&format!("{source}\n[destination]{rest}"));
}

/// The shipped description with small pages, changed like this.
fn description(project: &Project, change: impl Fn(String) -> String) {
    let shipped = fs::read_to_string(root().join("connectors/profiles/spark.rest.toml")).unwrap();
    fs::write(project.path().join("rest.toml"), change(shipped.replace("size = 100", "size = 20"))).unwrap();
}

/// Replaces what the description says about every list.
fn lists(shipped: &str, head: &str) -> String {
    let begin = shipped.find("records = \"data\"").unwrap();
    let end = shipped.find("changed = {").unwrap();
    format!("{}{head}\n{}", &shipped[..begin], &shipped[end..])
}

/// Returns every row of an org with what it points to in the place of ids, which are given in the order in which requests happen
/// to come, and without the moment at which the platform itself closed a task.
fn rows_of(org: &Org) -> Vec<String> {
    let (status, _, dump) = org.send("GET", "/__sandbox/dump", &[], Vec::new());
    assert_eq!(status, 200);
    let text = String::from_utf8(dump).unwrap();
    let mut rows: Vec<(String, Json)> = text
        .lines()
        .map(|line| {
            let mut row: Json = serde_json::from_str(line).unwrap();
            let fields = row["row"].as_object_mut().unwrap();
            fields.remove("CompletedDateTime");
            (fields.remove("Id").map(|id| id.as_str().unwrap().to_owned()).unwrap_or_default(), row)
        })
        .collect();
    assert!(rows.len() > 100, "{}", rows.len());
    // What a row points to is told by what that row says, and by what it points to in turn.
    let mut names: BTreeMap<String, String> =
        rows.iter().map(|(id, row)| (id.clone(), text_of(row, &BTreeMap::new()))).collect();
    for _ in 0..4 {
        names = rows.iter().map(|(id, row)| (id.clone(), text_of(row, &names))).collect();
    }
    let mut told: Vec<String> = rows.drain(..).map(|(id, row)| format!("{row} is {}", names[&id])).collect();
    for text in &mut told {
        for id in names.keys().filter(|id| id.len() == 18) {
            *text = text.replace(id.as_str(), "…");
        }
    }
    told.sort();
    told
}

/// Returns the digest of a row in which ids are replaced by names.
fn text_of(row: &Json, names: &BTreeMap<String, String>) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    row["object"].to_string().hash(&mut hasher);
    for (field, value) in row["row"].as_object().unwrap() {
        match value.as_str().filter(|text| text.len() == 18 && text.starts_with('0')) {
            Some(id) => (field, names.get(id).map_or("", String::as_str)).hash(&mut hasher),
            None => (field, value.to_string()).hash(&mut hasher),
        }
    }
    format!("{:016x}", hasher.finish())
}

fn id_of(project: &Project) -> String {
    project.config().lines().find(|line| line.starts_with("id = ")).unwrap().to_owned()
}

fn read(report: &Json, object: &str) -> Json {
    let found = report["read"].as_array().unwrap().iter().find(|read| read["object"] == object);
    found.unwrap_or_else(|| panic!("{object} was not read: {report}")).clone()
}

#[test]
fn from_a_server_the_same_arrives_as_from_an_export() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "400", "--seed", "5"]);
    let (one, two) = (Org::start(&[]), Org::start(&[]));
    let from_files = Project::new(&one, &export);
    from_files.ready();
    let by_files = from_files.json(&["run"]);

    let company = Company::start(&["--size", "400", "--seed", "5"]);
    let from_server = project(&two, &company, "");
    let own = id_of(&from_server);
    from_server.set_config(&from_server.config().replace(&own, &id_of(&from_files)));
    from_server.ready();
    let by_server = from_server.json(&["run"]);
    assert_eq!(by_server["phases"], by_files["phases"]);
    assert_eq!(by_server["sources"], by_files["sources"]);
    assert!(rows_of(&two) == rows_of(&one), "the same rows, the same files, field by field");
    let files = rows(&export.join("files.csv")).len() as u64;
    assert!(files > 0 && two.count("ContentVersion") > 0);
    from_server.run(&["reconcile"]).exits(0);

    // A project that began with an export goes on with the server: to it, nothing has changed.
    reads(&from_files, &company, "");
    let delta = from_files.json(&["delta"]);
    for read in delta["read"].as_array().unwrap() {
        assert_eq!((&read["extracted"], &read["gone"]), (&json!(0), &json!(0)), "{read}");
    }
    assert!(rows_of(&one) == rows_of(&two));
    from_files.verifies();
    from_server.verifies();
}

#[test]
fn step_s10_what_people_do_during_a_watch_arrives_once() {
    let company = Company::start(&["--size", "300"]);
    let org = Org::start(&[]);
    let project = project(&org, &company, "description = \"rest.toml\"\n");
    description(&project, |shipped| shipped);
    project.edit_plan("to = \"Contact\"\n", "to = \"Contact\"\ngone = \"delete\"\n");
    project.ready();
    project.run(&["run"]).exits(0);
    let contacts = company.records("contacts");
    let free = |n: usize| contacts[n]["id"].as_str().unwrap().to_owned();

    let mut watch = project
        .command(&["--json", "delta", "--watch", "10m", "--every", "500ms"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut passes = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Json>(&passes.next().unwrap().unwrap()).unwrap();
    let quiet = next();
    assert_eq!((&quiet["changed"], &quiet["gone"], &quiet["written"]), (&json!(0), &json!(0), &json!(0)), "{quiet}");

    // Ten changes in one and the same moment, while the lists are being paged through.
    let change = |n: usize, title: &str| json!({ "op": "update", "object": "contacts", "id": free(n), "fields": { "job_title": title } });
    let all: Vec<Json> = (0..10).map(|n| change(n, "Same Moment")).collect();
    company.switch("edit", &json!({ "edits": all, "advance_ms": 0, "list": "contacts", "after_pages": 2 }));
    // And one at a time: somebody new, somebody gone, two that are one.
    let made = company.edit(&json!([
        { "op": "create", "object": "contacts", "fields": { "first_name": "Nova", "last_name": "Newcomer", "email": "nova@example.com", "owner_id": "101" } },
        change(20, "Once"),
        { "op": "delete", "object": "contacts", "id": free(30) },
        { "op": "merge", "object": "contacts", "id": free(31), "into": free(32) },
    ]));
    assert_eq!(made.len(), 4);
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    let mut all = Vec::new();
    // Until two passes in a row bring nothing.
    let mut idle = 0;
    while idle < 2 {
        let pass = next();
        for name in ["changed", "gone"] {
            *seen.entry(name).or_default() += pass[name].as_u64().unwrap();
        }
        let quiet = pass["changed"] == 0 && pass["gone"] == 0 && pass["written"] == 0;
        idle = if quiet && seen.get("gone").is_some_and(|gone| *gone > 0) { idle + 1 } else { 0 };
        all.push(pass);
    }
    // Whoever asks it to stop gets a clean end.
    assert!(Command::new("kill").args(["-INT", &watch.id().to_string()]).status().unwrap().success());
    assert!(watch.wait().unwrap().success());
    assert_eq!(seen["gone"], 2, "{all:?}");
    let extracted = project.events("RecordExtracted").len();
    let gone = project.events("RecordGone").len();
    assert_eq!(gone, 2);
    assert_eq!(org.count("Contact WHERE Title = 'Same Moment'"), 10);
    assert_eq!(org.count("Contact WHERE LastName = 'Newcomer'"), 1);
    assert_eq!(org.count("Contact WHERE Title = 'Once'"), 1);
    for id in [free(30), free(31)] {
        let done = project.run(&["--json", "audit", "record", &format!("contacts/{id}")]).exits(0);
        assert_eq!(done.out.matches("\"RecordGone\"").count(), 1, "{}", done.out);
    }
    let ended = project
        .run(&["delta", "--watch", "1s", "--every", "400ms"])
        .exits(0)
        .says(&["the last one found nothing to do"]);
    assert!(ended.out.starts_with("pass 1 "), "{}", ended.out);
    // Nothing is left: a further delta reads no more than the last minutes and finds nothing.
    let before = company.calls();
    let delta = project.json(&["delta"]);
    assert!(company.calls() - before < 120, "a delta asks for changes, not for everything");
    assert_eq!((&read(&delta, "contacts")["extracted"], &read(&delta, "contacts")["gone"]), (&json!(0), &json!(0)));
    assert_eq!(project.events("RecordExtracted").len(), extracted);
    project.run(&["reconcile"]).exits(0);
    project.verifies();
}

/// Every way of paging that the sandbox speaks, as a description says it; and whether it is recognised without one.
const KINDS: [(&str, &str, bool); 9] = [
    (
        "cursor",
        "records = \"data\"\npaging = { type = \"cursor\", send = \"cursor\", read = \"meta.next_cursor\", limit = \"limit\", size = 20 }\ntotal = { path = \"meta.total\" }",
        true,
    ),
    (
        "after",
        "records = \"results\"\npaging = { type = \"cursor\", send = \"after\", read = \"paging.next.after\", limit = \"limit\", size = 20 }\ntotal = { path = \"total\" }",
        true,
    ),
    (
        "start",
        "records = \"data\"\npaging = { type = \"offset\", offset = \"start\", limit = \"limit\", size = 20, more = \"additional_data.pagination.more_items_in_collection\", next = \"additional_data.pagination.next_start\" }",
        true,
    ),
    (
        "page",
        "records = \"data\"\npaging = { type = \"page\", page = \"page\", limit = \"per_page\", size = 20, more = \"info.more_records\" }",
        true,
    ),
    (
        "link",
        "records = \"$\"\npaging = { type = \"link_header\", limit = \"per_page\", size = 20 }\ntotal = { header = \"x-total-count\" }",
        true,
    ),
    (
        "next-url",
        "records = \"data\"\npaging = { type = \"next_url\", read = \"links.next\", limit = \"limit\", size = 20 }",
        true,
    ),
    (
        "total",
        "records = \"data\"\npaging = { type = \"offset\", offset = \"offset\", limit = \"limit\", size = 20, total = \"meta.total\" }\ntotal = { path = \"meta.total\" }",
        true,
    ),
    ("bare", "records = \"$\"\npaging = { type = \"page\", page = \"page\", limit = \"per_page\", size = 20 }", false),
    (
        "last-row",
        "records = \"data\"\npaging = { type = \"last_row\", send = \"after_id\", read = \"id\", limit = \"limit\", size = 20 }",
        false,
    ),
];

#[test]
fn every_way_of_paging_brings_every_record_also_while_people_work() {
    let org = Org::start(&[]);
    for (kind, head, _) in KINDS {
        let company = Company::start(&["--size", "300", "--paging", kind]);
        let project = project(&org, &company, "description = \"rest.toml\"\n");
        description(&project, |shipped| lists(&shipped, head));
        let contacts = company.records("contacts");
        // While the contacts are read, three of those that were read go away: others move to pages that were read.
        let gone: Vec<Json> =
            (0..3).map(|n| json!({ "op": "delete", "object": "contacts", "id": contacts[n]["id"] })).collect();
        let looked = project.json(&["discover"]);
        let count = |report: &Json, object: &str| {
            let found = report["objects"].as_array().unwrap().iter().find(|found| found["object"] == object).unwrap();
            found["read"].as_u64().unwrap() - found["gone"].as_u64().unwrap()
        };
        assert_eq!(count(&looked, "contacts"), contacts.len() as u64, "{kind}");
        assert_eq!(count(&looked, "machine"), company.records("machine").len() as u64, "{kind}");
        // The first page of a list is looked at before it is read.
        company.switch("edit", &json!({ "edits": gone, "list": "contacts", "after_pages": 3 }));
        project.json(&["discover"]);
        // Whoever was read and stayed is there; who went is gone.
        let status = project.json(&["discover"]);
        let there = company.records("contacts").len() as u64;
        assert_eq!(there, contacts.len() as u64 - 3);
        assert_eq!(count(&status, "contacts"), there, "{kind}");
        assert_eq!(project.events("RecordGone").len(), 3, "{kind}");
        project.verifies();
    }
}

#[test]
fn a_search_that_is_posted_is_a_list_too() {
    let company = Company::start(&["--size", "300", "--paging", "search"]);
    let org = Org::start(&[]);
    let project = project(&org, &company, "description = \"rest.toml\"\n");
    description(&project, |shipped| {
        let head = "records = \"data\"\npaging = { type = \"cursor\", send = \"pagination.starting_after\", in = \"body\", read = \"pages.next.starting_after\", limit = \"pagination.per_page\", size = 20 }\n\
            changed = { field = \"updated_at\", send = \"filter.updated_since\", in = \"body\" }\n";
        let text = lists(&shipped, head).replacen(
            "changed = { field = \"updated_at\", send = \"updated_since\", overlap_s = 300 }\n",
            "",
            1,
        );
        let feed =
            "\npaging = { type = \"cursor\", send = \"cursor\", read = \"meta.next_cursor\", limit = \"limit\" }";
        let text = text.replace("since = \"since\"", &format!("since = \"since\"{feed}"));
        let (before, objects) = text.split_once("[[object]]").unwrap();
        let posted = |line: &str| match line.strip_prefix("path = \"").and_then(|rest| rest.strip_suffix('"')) {
            Some(path) => format!("path = \"{path}/search\"\nmethod = \"POST\"\nbody = {{}}"),
            None => line.to_owned(),
        };
        format!("{before}[[object]]{}", objects.lines().map(posted).collect::<Vec<_>>().join("\n"))
    });
    let looked = project.json(&["discover"]);
    let found = looked["objects"].as_array().unwrap().iter().find(|found| found["object"] == "contacts").unwrap();
    assert_eq!(found["read"], json!(company.records("contacts").len()));
    let ids = company.edit(&json!([{ "op": "update", "object": "contacts", "id": company.records("contacts")[3]["id"], "fields": { "job_title": "Changed" } }]));
    let before = project.events("RecordExtracted").len();
    project.run(&["plan"]);
    let after = project.events("RecordExtracted").len();
    assert_eq!(after - before, ids.len(), "a look at the plan reads what changed");
}

#[test]
fn trap_t15_an_unknown_way_of_paging_is_recognised_or_asked_about() {
    let org = Org::start(&[]);
    for (kind, _, known) in KINDS {
        // Large enough that a first page does not hold everything.
        let company = Company::start(&["--size", "500", "--paging", kind]);
        let project = project(&org, &company, "description = \"rest.toml\"\n");
        description(&project, |shipped| lists(&shipped, ""));
        if known {
            let looked = project.json(&["discover"]);
            let evidence = looked["evidence"].as_str().unwrap();
            assert!(evidence.contains("recognised"), "{kind}: {evidence}");
            let found =
                looked["objects"].as_array().unwrap().iter().find(|found| found["object"] == "contacts").unwrap();
            assert_eq!(found["read"], json!(company.records("contacts").len()), "{kind}");
        } else {
            project.run(&["discover"]).exits(3).says(&["How is it paged?", "/contacts answers", "hint:", "`paging`"]);
            assert!(project.events("RecordExtracted").is_empty(), "{kind}: nothing was taken");
        }
    }
    // The server of another product is refused by its own word.
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "200"]);
    let manifest = fs::read_to_string(export.join("manifest.json")).unwrap();
    fs::write(export.join("manifest.json"), manifest.replace("spark-crm", "smartdesk")).unwrap();
    let company = Company::start(&["--export", export.to_str().unwrap()]);
    let project = project(&org, &company, "");
    project.run(&["discover"]).exits(3).says(&["looks like a server of smartdesk"]);
}

#[test]
fn whatever_fails_on_the_way_nothing_is_lost() {
    let company = Company::start(&["--size", "300", "--rate", "200"]);
    let (one, two) = (Org::start(&[]), Org::start(&[]));
    let calm = project(&one, &company, "");
    calm.ready();
    let calmly = calm.json(&["run"]);

    let rough = project(&two, &company, "");
    rough.set_config(&rough.config().replace(&id_of(&rough), &id_of(&calm)));
    rough.run(&["schema", "apply"]).exits(0);
    for faults in [
        json!({ "after": 5, "unavailable": 3 }),
        json!({ "after": 12, "throttle": 4 }),
        json!({ "after": 25, "reset": 2 }),
        json!({ "after": 30, "truncate": 2 }),
    ] {
        company.switch("faults", &faults);
        rough.run(&["approve", "--by", "Test Person"]).exits(0);
    }
    // A token that expires in the middle stops the reading; with a new one it goes on.
    company.switch("faults", &json!({ "expire_after": 30 }));
    rough.run(&["run"]).exits(1).says(&["does not accept our credentials", "hint:"]);
    let token = company.switch("token", &json!({}));
    fs::write(rough.path().join("source-token"), text(&token, "token")).unwrap();
    company.switch("faults", &json!({ "after": 7, "truncate": 1, "reset": 1, "throttle": 1, "unavailable": 1 }));
    let run = rough.json(&["run"]);
    assert_eq!(run["sources"], calmly["sources"]);
    assert!(rows_of(&two) == rows_of(&one));
    rough.run(&["reconcile"]).exits(0);
    rough.verifies();
}

#[test]
fn a_server_that_cannot_be_read_to_the_end_is_an_error_and_no_checkpoint() {
    let org = Org::start(&[]);
    let company = Company::start(&["--size", "300", "--paging", "page", "--max-page", "2"]);
    let paged = project(&org, &company, "description = \"rest.toml\"\n");
    let page = |max: &str| {
        format!(
            "records = \"data\"\npaging = {{ type = \"page\", page = \"page\", limit = \"per_page\", size = 20, more = \"info.more_records\"{max} }}"
        )
    };
    description(&paged, |shipped| lists(&shipped, &page(", max = 2")));
    paged.run(&["discover"]).exits(1).says(&["cannot be read to the end", "gives no more after", "hint:"]);
    description(&paged, |shipped| lists(&shipped, &page("")));
    paged.run(&["discover"]).exits(1).says(&["Spark CRM refuses"]);

    let circle = Company::start(&["--size", "300", "--faults", "{\"circle\": true}"]);
    let turning = project(&org, &circle, "description = \"rest.toml\"\n");
    description(&turning, |shipped| shipped);
    turning.run(&["discover"]).exits(1).says(&["the same page again"]);
    let reached = turning.events("CheckpointReached");
    assert!(!reached.iter().any(|event| event["what"].as_str().unwrap().contains("companies")), "{reached:?}");
}

#[test]
fn the_configuration_says_what_it_lacks() {
    let org = Org::start(&[]);
    let company = Company::start(&["--size", "200"]);
    let own = project(&org, &company, "");
    let good = own.config();
    own.set_config(&good.replace("kind = \"rest\"", "bundle = \"/nowhere\""));
    own.run(&["discover"]).exits(2).says(&["an export and a server", "kind"]);
    own.set_config(&good.replace("{ file = \"source-token\" }", "{ env = \"NO_SUCH_TOKEN\" }"));
    own.run(&["discover"]).exits(2).says(&["NO_SUCH_TOKEN"]);
    own.set_config(&good.replace("kind = \"rest\"", "kind = \"rest\"\ndescription = \"mine.toml\""));
    fs::write(own.path().join("mine.toml"), "format = \"waybill-rest/1\"\nsystem = \"spark\"\nlabel = \"x\"\n")
        .unwrap();
    own.run(&["discover"]).exits(2).says(&["mine.toml", "names no object"]);
    fs::write(own.path().join("source-token"), "wrong").unwrap();
    own.set_config(&good);
    own.run(&["discover"]).exits(1).says(&["does not accept our credentials"]);
    let init: waybill_tests::Done = Command::new(binary())
        .args(["init", "--from", "spark", "--to", "salesforce", "--source-url", &company.url])
        .arg(own.dir.path().join("another"))
        .output()
        .unwrap()
        .into();
    init.exits(0);
    let another = Project::at(&own.dir.path().join("another"));
    assert!(another.config().contains("SPARK_TOKEN"), "{}", another.config());
    own.run(&["sandbox", "spark", "--tls"]).exits(2).says(&["--tls is not for this system"]);
}
