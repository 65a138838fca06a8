//! Steps that every migration has, and traps on the way, through the real binary and real HTTP.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value as Json, json};
use waybill_tests::{Org, Project, generate, text};

fn export(dir: &Path, args: &[&str]) -> PathBuf {
    let export = dir.join("export");
    generate(&export, args);
    export
}

/// A project that has moved a small company.
fn moved(size: &str, extra: &str) -> (tempfile::TempDir, Org, Project) {
    let dir = tempfile::tempdir().unwrap();
    let export = export(dir.path(), &["--size", size]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    if !extra.is_empty() {
        let config = project.config().replace("[destination]\n", &format!("[destination]\n{extra}\n"));
        project.set_config(&config);
    }
    project.ready();
    (dir, org, project)
}

#[test]
fn step_s04_nothing_is_written_under_an_unapproved_or_edited_plan() {
    let dir = tempfile::tempdir().unwrap();
    let export = export(dir.path(), &["--size", "300"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.run(&["schema", "apply"]).exits(0);
    let before = org.digest();
    project.run(&["run"]).exits(3).says(&["nobody has approved the plan", "hint:"]);
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    project.edit_plan("Phone = { from = \"phone\", long = \"cut\" }\n", "");
    project.run(&["run"]).exits(3).says(&["Test Person", "edited since", "hint:"]);
    assert_eq!(org.digest(), before);
    project.run(&["approve", "--by", "Second Person"]).exits(0);
    project.run(&["run"]).exits(0);
    assert_ne!(org.digest(), before);
    project.verifies();
    let approvals = project.events("PlanApproved");
    let actors: Vec<&str> = approvals.iter().map(|event| event["actor"].as_str().unwrap()).collect();
    assert_eq!(actors, ["Test Person", "Second Person"]);
}

#[test]
fn step_s05_a_destination_that_lacks_a_field_is_refused_with_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let export = export(dir.path(), &["--size", "300"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    project.run(&["run"]).exits(3).says(&["Account.Source_System_ID__c", "Stage_Entered_Date__c", "schema apply"]);
    project.run(&["schema", "apply"]).exits(0);
    // The approval binds the schema as it is after the plan's own step.
    project.run(&["run"]).exits(0);
}

#[test]
fn step_s09_to_s12_a_company_moves_and_is_taken_back_to_the_byte() {
    let (_dir, org, project) = moved("600", "");
    let before = org.digest();
    let dry = project.json(&["rollback", "--dry-run"]);
    assert!(dry["objects"].as_array().unwrap().iter().all(|object| object["deletes"] == 0));
    let run = project.json(&["run"]);
    for phase in run["phases"].as_array().unwrap() {
        assert_eq!(phase["rejected"], 0, "{phase}");
        let object = phase["object"].as_str().unwrap();
        if let Some(ours) = org.ours(object) {
            assert_eq!(phase["counted"], json!(ours), "{phase}");
        }
    }
    let report = project.json(&["reconcile"]);
    for object in report["objects"].as_array().unwrap() {
        assert_eq!(object["matched"], object["expected_rows"], "{object}");
    }
    // The same command again changes nothing.
    let moved = org.digest();
    let again = project.json(&["run"]);
    assert!(
        again["phases"].as_array().unwrap().iter().all(|phase| phase["created"] == 0 && phase["updated"] == 0),
        "{again}"
    );
    assert_eq!(org.digest(), moved);
    let report = project.json(&["rollback"]);
    assert!(report["differences"].as_array().unwrap().iter().all(|d| d["equal"] == d["before"]), "{report}");
    assert_eq!(org.digest(), before);
    project.verifies();
    // Step s15: after a rollback the same migration runs again cleanly.
    project.run(&["run"]).exits(0);
    project.run(&["reconcile"]).exits(0);
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    project.verifies();
}

#[test]
fn step_s09_volume_goes_by_bulk_jobs() {
    let (_dir, org, project) = moved("900", "bulk_threshold = 50\njob_rows = 120");
    let before = org.digest();
    let run = project.json(&["run"]);
    assert!(run["phases"].as_array().unwrap().iter().all(|phase| phase["rejected"] == 0), "{run}");
    assert!(project.events("RemoteJobOpened").len() >= 4);
    project.run(&["reconcile"]).exits(0);
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    project.verifies();
}

#[test]
fn step_s10_a_delta_carries_new_and_changed_records_and_keeps_what_people_changed() {
    let (dir, org, project) = moved("600", "");
    let before = org.digest();
    project.run(&["run"]).exits(0);
    let contact = org.query("SELECT Id FROM Contact WHERE Source_System_ID__c != null ORDER BY Id LIMIT 1");
    let id = text(&contact[0], "Id");
    // Someone at the destination changes a field that the source does not touch any more.
    org.act_as("alan.turing@example.com");
    assert_eq!(org.call("PATCH", &format!("sobjects/Contact/{id}"), Some(&json!({ "Department": "By hand" }))).0, 204);
    org.act_as("integration@sandbox.example.com");
    let companies = dir.path().join("export/companies.csv");
    let text_ = std::fs::read_to_string(&companies).unwrap();
    let mut lines: Vec<String> = text_.lines().map(str::to_owned).collect();
    let header: Vec<&str> = lines[0].trim_start_matches('\u{feff}').split(',').collect();
    let new: Vec<String> = header
        .iter()
        .map(|name| match *name {
            "id" => "9999999".to_owned(),
            "name" => "Newcomer Ltd".to_owned(),
            "owner_id" => "101".to_owned(),
            "created_at" | "updated_at" => "2026-01-01T00:00:00Z".to_owned(),
            "is_deleted" => "false".to_owned(),
            _ => String::new(),
        })
        .collect();
    lines.push(new.join(","));
    std::fs::write(&companies, format!("{}\n", lines.join("\n"))).unwrap();
    // The manifest's digests and counts are those of the first export.
    let manifest = dir.path().join("export/manifest.json");
    let mut about: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    for object in about["objects"].as_array_mut().unwrap() {
        for key in ["sha256", "rows", "source_total"] {
            object.as_object_mut().unwrap().remove(key);
        }
    }
    std::fs::write(&manifest, about.to_string()).unwrap();
    let delta = project.json(&["delta"]);
    let accounts = &delta["phases"][0];
    assert_eq!((&accounts["object"], &accounts["created"]), (&json!("Account"), &json!(1)), "{delta}");
    assert_eq!(org.count("Account WHERE Name = 'Newcomer Ltd'"), 1);
    let kept = org.query(&format!("SELECT Department FROM Contact WHERE Id = '{id}'"));
    assert_eq!(text(&kept[0], "Department"), "By hand");
    // What a person changed is drift: the rollback leaves it and says so, and takes back everything else.
    let done = project.run(&["--json", "rollback"]).exits(3);
    assert!(done.out.contains("\"held\": 1"), "{}", done.out);
    assert_eq!(org.count("Contact WHERE Source_System_ID__c != null"), 1);
    assert_eq!(org.count("Opportunity WHERE Source_System_ID__c != null"), 0);
    assert_ne!(org.digest(), before);
    project.verifies();
}

#[test]
fn step_s10_a_delta_that_finds_nothing_reads_nothing_and_asks_for_counts_alone() {
    let dir = tempfile::tempdir().unwrap();
    let export = export(dir.path(), &["--plain", "--size", "100", "--companies", "60", "--contacts", "400"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.ready();
    project.run(&["run"]).exits(0);
    let left = || {
        let (status, limits) = org.call("GET", "limits", None);
        assert_eq!(status, 200);
        limits["DailyApiRequests"]["Remaining"].as_u64().unwrap()
    };
    let gates = || project.events("GateDecided").iter().filter(|e| e["what"].to_string().contains("`ours`")).count();
    let (digest, before) = (org.digest(), gates());
    let idle = || {
        let began = left();
        let delta = project.json(&["delta"]);
        for phase in delta["phases"].as_array().unwrap() {
            for what in ["created", "updated", "deleted", "held", "rejected"] {
                assert_eq!(phase[what], json!(0), "{delta}");
            }
        }
        let read = |object: &str| delta["read"].as_array().unwrap().iter().find(|r| r["object"] == object).cloned();
        let contacts = read("contacts").unwrap();
        let counts = |name: &str| contacts[name].as_u64().unwrap();
        assert_eq!((counts("read"), counts("extracted"), counts("unchanged")), (400, 0, 400));
        let landed = |object: &str| delta["phases"].as_array().unwrap().iter().find(|p| p["object"] == object).cloned();
        assert_eq!(landed("Contact").unwrap()["counted"], json!(400), "{delta}");
        began - left()
    };
    let (first, second) = (idle(), idle());
    assert_eq!(first, second, "the first delta after a load costs what any other does");
    assert!(first < 60, "{first} requests");
    // Without digests in the manifest the files are read, and bring nothing all the same.
    waybill_tests::edit(&export, "contacts", |_| Vec::new());
    assert_eq!(idle(), first);
    assert_eq!((org.digest(), gates()), (digest, before), "no row of ours was looked at");
    // What a person does meanwhile shows in the counts, and is looked at.
    let gone = org.query("SELECT Id FROM Contact WHERE Source_System_ID__c != null ORDER BY Id LIMIT 1");
    assert_eq!(org.call("DELETE", &format!("sobjects/Contact/{}", text(&gone[0], "Id")), None).0, 204);
    project.run(&["delta"]).exits(0);
    assert_eq!(project.holds().values().collect::<Vec<_>>(), ["target-gone"]);
    // A file that changed is read, and what changed in it lands.
    waybill_tests::edit(&export, "companies", |row| {
        let to = row["name"].starts_with('A').then(|| ("name", format!("{} Renamed", row["name"])));
        to.into_iter().collect()
    });
    let renamed = waybill_tests::rows(&export.join("companies.csv"));
    let renamed = renamed.iter().filter(|row| row["name"].ends_with(" Renamed")).count() as u64;
    let delta = project.json(&["delta"]);
    assert_eq!((renamed > 0, &delta["phases"][0]["updated"]), (true, &json!(renamed)), "{delta}");
    assert_eq!(org.count("Account WHERE Name LIKE '% Renamed'"), renamed);
    // What the org counts by its index is what it finds row by row, the deleted left out.
    for object in ["Account", "Contact", "AccountContactRelation", "Opportunity", "Task", "User"] {
        assert_eq!(org.count(object), org.query(&format!("SELECT Id FROM {object}")).len() as u64, "{object}");
    }
    for object in ["Account", "Contact", "Opportunity"] {
        let holding = format!("{object} WHERE Source_System_ID__c != null");
        assert_eq!(org.count(&holding), org.query(&format!("SELECT Id FROM {holding}")).len() as u64, "{object}");
    }
    project.verifies();
}

#[test]
fn step_s11_what_is_wrong_missing_or_extra_is_named() {
    let (_dir, org, project) = moved("400", "");
    project.run(&["run"]).exits(0);
    let ids: Vec<String> = org
        .query("SELECT Id FROM Contact WHERE Source_System_ID__c != null ORDER BY Id LIMIT 3")
        .iter()
        .map(|row| text(row, "Id"))
        .collect();
    org.act_as("alan.turing@example.com");
    assert_eq!(
        org.call("PATCH", &format!("sobjects/Contact/{}", ids[0]), Some(&json!({ "LastName": "Edited" }))).0,
        204
    );
    org.act_as("integration@sandbox.example.com");
    assert_eq!(
        org.call("PATCH", &format!("sobjects/Contact/{}", ids[1]), Some(&json!({ "LastName": "Wrong" }))).0,
        204
    );
    assert_eq!(org.call("DELETE", &format!("sobjects/Contact/{}", ids[2]), None).0, 204);
    let key = org.query(&format!("SELECT Source_System_ID__c FROM Contact WHERE Id = '{}'", ids[0]));
    let prefix = &text(&key[0], "Source_System_ID__c")[..12];
    let extra = json!({ "LastName": "Extra", "Source_System_ID__c": format!("{prefix}{}", "0".repeat(32)) });
    assert_eq!(org.call("POST", "sobjects/Contact", Some(&extra)).0, 201);
    let done = project.run(&["--json", "reconcile", "--threshold", "0.1%"]).exits(3);
    let report = done.json();
    let class = |id: &str| {
        let lines = report["findings"].as_array().unwrap().iter();
        lines.filter(|line| line["id"] == id).map(|line| line["class"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(class(&ids[0]), ["drift"]);
    assert_eq!(class(&ids[1]), ["wrong"]);
    assert_eq!(class(&ids[2]), ["missing"]);
    assert!(report["findings"].as_array().unwrap().iter().any(|line| line["class"] == "extra"));
    // A row with our key that the ledger does not know stops the next run.
    project.run(&["run"]).exits(3).says(&["that the ledger does not know", "hint:"]);
    project.verifies();
}

#[test]
fn step_s11_a_phase_that_does_not_hold_up_stops_the_run_before_the_next_builds_on_it() {
    let (_dir, org, project) = moved("300", "");
    let report = project.run(&["--json", "run", "--reconcile", "--threshold", "0"]).exits(0).json();
    for phase in report["phases"].as_array().unwrap() {
        let found = &phase["reconciled"];
        let equal = ["matched", "expected", "side_effect"].iter().map(|class| found[*class].as_u64().unwrap());
        assert_eq!(Some(equal.sum::<u64>()), found["expected_rows"].as_u64(), "{phase}");
    }
    let table = report["reconciled"].as_str().unwrap();
    assert!(fs::read_to_string(table).unwrap().starts_with("class,object,id"), "{table}");

    // Nobody but us wrote this, and it is not what we wrote.
    let account = org.query("SELECT Id FROM Account WHERE Source_System_ID__c != null ORDER BY Id LIMIT 1");
    let path = format!("sobjects/Account/{}", text(&account[0], "Id"));
    let (_, before) = org.call("GET", &path, None);
    assert_eq!(org.call("PATCH", &path, Some(&json!({ "Name": "Wrong" }))).0, 204);
    let stopped = project.run(&["run", "--reconcile", "--threshold", "0"]).exits(3);
    stopped.says(&["Account", "1 wrong", "the next phase was not begun", "hint:"]);
    let run = project.events("RunStarted").last().unwrap()["run"].clone();
    let mut read = project.events("Reconciled");
    read.retain(|event| event["run"] == run);
    let told: Vec<&str> = read.iter().map(|event| event["what"].as_str().unwrap()).collect();
    assert!(told.iter().any(|what| what.contains("Account")), "{told:?}");
    assert!(!told.iter().any(|what| what.contains("Contact")), "contacts point to accounts: {told:?}");

    assert_eq!(org.call("PATCH", &path, Some(&json!({ "Name": before["Name"] }))).0, 204);
    project.run(&["run", "--reconcile", "--threshold", "0"]).exits(0).shows(&["which went on", "read back"]);
    // The same for what a delta lands.
    project.run(&["delta", "--reconcile"]).exits(0).shows(&["read back", "every finding"]);
    project.run(&["run", "--threshold", "101", "--reconcile"]).exits(2).says(&["a percentage from 0 to 100"]);
    project.verifies();
}

#[test]
fn step_s12_children_that_people_hung_on_our_rows_are_never_taken_with_them() {
    let (_dir, org, project) = moved("300", "");
    project.run(&["run"]).exits(0);
    let account = org
        .query("SELECT Id FROM Account WHERE Source_System_ID__c != null AND Name != 'Unassigned' ORDER BY Id LIMIT 1");
    let id = text(&account[0], "Id");
    org.act_as("grace.hopper@example.com");
    assert_eq!(org.call("POST", "sobjects/Contact", Some(&json!({ "LastName": "Later", "AccountId": id }))).0, 201);
    org.act_as("integration@sandbox.example.com");
    project.run(&["rollback"]).exits(3);
    assert_eq!(org.count("Contact WHERE LastName = 'Later'"), 1);
    assert_eq!(org.count(&format!("Account WHERE Id = '{id}'")), 1);
    assert_eq!(org.count("Account WHERE Source_System_ID__c != null"), 1, "everything else is gone");
    let drift = project.events("DriftFound");
    assert!(drift.iter().any(|event| event["what"].as_str().unwrap().contains("has children")), "{drift:?}");
}

#[test]
fn step_s13_the_life_of_a_record_is_told_in_order_with_its_causes() {
    let (_dir, org, project) = moved("300", "");
    project.run(&["run"]).exits(0);
    project.run(&["rollback"]).exits(0);
    let contact = project
        .events("RecordExtracted")
        .into_iter()
        .find(|event| event["what"].as_str().unwrap().contains("contacts"));
    assert!(contact.is_some());
    let rows = waybill_tests::rows(&project_export(&project).join("contacts.csv"));
    let done = project.run(&["--json", "audit", "record", &format!("contacts/{}", rows[0]["id"])]).exits(0);
    let life: Vec<serde_json::Value> = done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = life.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let expected = [
        "RecordExtracted",
        "RecordMapped",
        "WriteIntended",
        "WriteConfirmed",
        "AfterImageTaken",
        "WriteIntended",
        "WriteConfirmed",
    ];
    assert_eq!(kinds, expected);
    let position = |n: usize| life[n]["position"].clone();
    assert_eq!(life[1]["causes"], json!([position(0)]));
    assert_eq!(life[2]["causes"], json!([position(1)]));
    assert_eq!(life[5]["causes"], json!([position(3)]), "the inverse names the write that it undoes");
    let _ = org;
}

fn project_export(project: &Project) -> PathBuf {
    let config = project.config();
    let line = config.lines().find(|line| line.starts_with("bundle")).unwrap().to_owned();
    PathBuf::from(line.split('"').nth(1).unwrap())
}

#[test]
fn trap_t17_the_source_is_only_read() {
    let dir = tempfile::tempdir().unwrap();
    let export = export(dir.path(), &["--size", "300"]);
    let digest = |dir: &Path| {
        let mut all: Vec<(PathBuf, Vec<u8>)> = Vec::new();
        let mut open = vec![dir.to_owned()];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { open.push(path) } else { all.push((path.clone(), std::fs::read(path).unwrap())) }
            }
        }
        all.sort();
        all
    };
    let before = digest(&export);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.ready();
    project.run(&["run"]).exits(0);
    project.run(&["rollback"]).exits(0);
    assert_eq!(digest(&export), before);
}

#[test]
fn a_server_with_its_own_certificate_authority_is_trusted_when_the_project_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let export = export(dir.path(), &["--size", "200"]);
    let org = Org::start(&["--tls", dir.path().join("tls").to_str().unwrap()]);
    let project = Project::new(&org, &export);
    assert!(org.url.starts_with("https://"));
    project.ready();
    project.run(&["run"]).exits(0);
    let without =
        project.config().lines().filter(|line| !line.starts_with("ca_certificate")).collect::<Vec<_>>().join("\n");
    project.set_config(&without);
    project.run(&["reconcile"]).exits(1).says(&["cannot be reached"]);
}

#[test]
fn the_demo_tells_the_whole_story() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("demo");
    let output = std::process::Command::new(waybill_tests::binary())
        .args(["demo", "--size", "600", "--dir", to.to_str().unwrap()])
        .output()
        .unwrap();
    let done = waybill_tests::Done::from(output).exits(0);
    done.says(&["to the byte", "The whole story took"]);
    assert!(to.join("project/plan.toml").exists(), "with --dir everything stays");
    let output = std::process::Command::new(waybill_tests::binary()).args(["demo", "--size", "200"]).output().unwrap();
    waybill_tests::Done::from(output).exits(0).says(&["to the byte"]);
}

#[test]
fn step_s01_and_trap_t10_what_the_source_holds_and_what_the_export_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "300"]);
    // The source says that it has more contacts than the export holds, and that it was cut.
    let path = export.join("manifest.json");
    let mut manifest: Json = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let contacts = manifest["objects"].as_array_mut().unwrap().iter_mut().find(|object| object["name"] == "contacts");
    let contacts = contacts.unwrap();
    contacts["source_total"] = 31_417.into();
    contacts["capped"] = true.into();
    fs::write(&path, manifest.to_string()).unwrap();

    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    let found = project.json(&["discover"]);
    let objects = found["objects"].as_array().unwrap();
    let object = |name: &str| objects.iter().find(|object| object["object"] == name).unwrap();
    let rows = waybill_tests::rows(&export.join("contacts.csv"));
    assert_eq!(object("contacts")["read"].as_u64().unwrap(), rows.len() as u64);
    assert_eq!(
        (object("contacts")["in_source"].as_u64(), object("contacts")["capped"].as_bool()),
        (Some(31_417), Some(true))
    );

    // Fields: held against the file itself.
    let facts = object("contacts")["facts"].as_array().unwrap();
    let email = facts.iter().find(|facts| facts["name"] == "email").unwrap();
    let emails: Vec<&str> =
        rows.iter().filter_map(|row| row.get("email")).map(String::as_str).filter(|e| !e.trim().is_empty()).collect();
    let different: std::collections::BTreeSet<&str> = emails.iter().copied().collect();
    assert_eq!(email["filled"].as_u64().unwrap(), emails.len() as u64);
    assert_eq!(email["distinct"].as_u64().unwrap(), different.len() as u64);
    assert_eq!(email["looks"], "email");
    for example in email["examples"].as_array().unwrap() {
        assert!(!different.contains(example.as_str().unwrap()), "examples are masked: {example}");
    }

    // Pipelines with their stages, owners with what they own, tags, files: each from its own file.
    let stages: usize =
        found["pipelines"].as_array().unwrap().iter().map(|p| p["stages"].as_array().unwrap().len()).sum();
    assert_eq!(stages, waybill_tests::rows(&export.join("stages.csv")).len());
    let owned: u64 = found["owners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|owner| owner["records"]["contacts"].as_u64().unwrap_or(0))
        .sum();
    let named = rows.iter().filter(|row| row.get("owner_id").is_some_and(|owner| !owner.is_empty())).count();
    assert_eq!(owned, named as u64);

    // For people: what is missing is said, values are masked unless asked for.
    let told = project.run(&["discover", "--fields", "contacts"]).exits(0);
    let told = told.says(&["31417", "cut off"]);
    assert!(told.out.contains("contacts.email"), "{}", told.out);
    let one = different.iter().next().unwrap();
    assert!(!told.out.contains(one));
    let shown = project.run(&["discover", "--fields", "contacts", "--show-values"]).exits(0);
    assert!(different.iter().any(|email| shown.out.contains(*email)), "{}", shown.out);
    project.run(&["discover", "--fields", "planets"]).exits(2).says(&["no object `planets`", "hint:"]);
    assert!(!project.events("ReportWritten").is_empty(), "the inventory is written down");
}
