//! Steps s04 to s08 and s14, and what an auditor asks: decisions of people, and what they are shown before and after.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use serde_json::{Value as Json, json};
use waybill_tests::{Org, Project, generate, text};

fn project(size: &str) -> (tempfile::TempDir, Org, Project) {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", size]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    (dir, org, project)
}

fn check<'c>(preflight: &'c Json, name: &str) -> &'c Json {
    preflight["checks"].as_array().unwrap().iter().find(|check| check["check"] == name).unwrap()
}

#[test]
fn step_s04_an_approval_shows_what_changed_what_will_be_written_and_what_stays() {
    let (_dir, org, project) = project("600");
    project.run(&["schema", "apply"]).exits(0);
    let first = project.json(&["approve", "--by", "Ada"]);
    assert!(first["writes"]["changed"].is_null(), "nothing was approved before");
    assert!(first["writes"]["residue"].as_array().unwrap().iter().any(|line| text_of(line).contains("recycle bin")));
    project.run(&["run"]).exits(0);
    // A plan that is as it was writes nothing; one that was edited says where.
    let same = project.json(&["approve", "--by", "Ada"]);
    assert_eq!(same["writes"]["changed"], json!([]));
    for object in same["writes"]["objects"].as_array().unwrap() {
        assert_eq!((&object["create"], &object["update"]), (&json!(0), &json!(0)), "{object}");
        assert_eq!(object["same"], json!(live(&project, &text(object, "object"))), "{object}");
    }
    project.edit_plan(
        "Title = { from = \"job_title\", long = \"cut\" }",
        "Title = { cel = \"'Dr. ' + last_name\", long = \"cut\" }",
    );
    project.run(&["run"]).exits(3).says(&["edited since"]);
    let edited = project.json(&["approve", "--by", "Grace"]);
    assert_eq!(edited["writes"]["changed"][0]["at"], "rule contact: Title");
    assert_eq!(edited["writes"]["changed"][0]["before"]["from"], json!(["job_title"]));
    let contacts = edited["writes"]["objects"].as_array().unwrap().iter().find(|o| o["object"] == "Contact").unwrap();
    assert!(contacts["update"].as_u64().unwrap() > 100, "{contacts}");
    project.run(&["run"]).exits(0);
    assert!(org.count("Contact WHERE Title LIKE 'Dr. %'") > 100);
    project.verifies();
}

fn text_of(value: &Json) -> &str {
    value.as_str().unwrap()
}

fn live(project: &Project, object: &str) -> u64 {
    let report = project.json(&["reconcile"]);
    let found = report["objects"].as_array().unwrap().iter().find(|o| o["object"] == object).unwrap();
    found["expected_rows"].as_u64().unwrap()
}

#[test]
fn step_s05_a_field_is_there_only_when_our_user_may_set_it() {
    let (dir, org, project) = project("300");
    // The administrator made the field, and granted it to nobody.
    let field = json!({ "FullName": "Account.Source_System_ID__c", "Metadata": {
        "type": "Text", "label": "Source System ID", "length": 64, "externalId": true, "unique": true, "caseSensitive": true,
    }});
    assert_eq!(org.call("POST", "tooling/sobjects/CustomField", Some(&field)).0, 201);
    let preflight = project.run(&["--json", "preflight"]).exits(3).json();
    let schema = check(&preflight, "schema");
    assert_eq!(schema["verdict"], "blocks");
    assert!(
        schema["about"].as_array().unwrap().iter().any(|line| text_of(line) == "field Account.Source_System_ID__c")
    );
    let to = dir.path().join("project");
    let stages = org.query("SELECT ApiName FROM OpportunityStage WHERE IsActive = true");
    project.run(&["schema", "export", to.to_str().unwrap()]).exits(0);
    let set = to.join("force-app/main/default/standardValueSets/OpportunityStage.standardValueSet-meta.xml");
    let set = fs::read_to_string(set).unwrap();
    for stage in stages {
        let name = text(&stage, "ApiName").replace('&', "&amp;");
        assert!(set.contains(&format!("<fullName>{name}</fullName>")), "a deploy merges: {name}");
    }
    project.run(&["schema", "apply"]).exits(0);
    let preflight = project.json(&["preflight"]);
    assert_eq!(check(&preflight, "schema")["verdict"], "passes");
}

#[test]
fn step_s06_owners_are_decided_by_people_and_held_records_are_released_without_a_new_run() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "500"]);
    // One of them has two users in the org; nobody guesses which.
    let users = export.join("users.csv");
    let edited = fs::read_to_string(&users).unwrap().replace("grace.hopper@example.com", "twin@example.com");
    fs::write(&users, edited).unwrap();
    let manifest = fs::read_to_string(export.join("manifest.json")).unwrap();
    let mut manifest: Json = serde_json::from_str(&manifest).unwrap();
    for object in manifest["objects"].as_array_mut().unwrap() {
        object.as_object_mut().unwrap().remove("sha256");
    }
    fs::write(export.join("manifest.json"), manifest.to_string()).unwrap();
    let org = Org::start(&[]);
    let project = Project::bare(&org, &export);
    project.edit_plan(
        "email = \"email\"\n",
        "email = \"email\"\nunowned = \"ada.lovelace@example.com\"\n[owners.decided]\n\"nobody@example.org\" = \"ada.lovelace@example.com\"\n\"katherine.johnson@example.com\" = \"ada.lovelace@example.com\"\n",
    );
    project.run(&["schema", "apply"]).exits(0);
    let preflight = project.run(&["--json", "preflight"]).exits(3).json();
    let owners = check(&preflight, "owners");
    assert!(
        text_of(&owners["about"][0]).contains("several users") && owners["records"].as_u64().unwrap() > 50,
        "{owners}"
    );
    project.run(&["approve", "--by", "Ada"]).exits(3).says(&["twin@example.com", "several users"]);
    project.edit_plan("\"nobody@example.org\" = ", "\"twin@example.com\" = \"hold\"\n\"nobody@example.org\" = ");
    project.run(&["approve", "--by", "Ada"]).exits(0);
    project.run(&["run"]).exits(0);
    let waiting = project.holds().values().filter(|reason| *reason == "owner").count();
    assert!(waiting > 20, "{waiting}");
    let before = org.count("Contact WHERE Source_System_ID__c != null");
    project.edit_plan("\"twin@example.com\" = \"hold\"", "\"twin@example.com\" = \"alan.turing@example.com\"");
    project.run(&["approve", "--by", "Ada"]).exits(0);
    project.run(&["delta"]).exits(0);
    assert!(project.holds().values().all(|reason| reason != "owner"), "{:?}", project.holds());
    assert!(org.count("Contact WHERE Source_System_ID__c != null") > before);
    project.verifies();
}

#[test]
fn step_s07_preflight_says_what_would_stop_a_run_and_what_will_answer_to_it() {
    let (_dir, org, project) = project("800");
    project.run(&["schema", "apply"]).exits(0);
    let clean = project.json(&["preflight"]);
    for name in ["plan", "schema", "cycles", "owners", "values", "limits", "automation"] {
        assert_eq!(check(&clean, name)["verdict"], "passes", "{name}: {clean}");
    }
    let losses = check(&clean, "losses");
    assert_eq!(losses["verdict"], "warns");
    let about: Vec<&str> = losses["about"].as_array().unwrap().iter().map(text_of).collect();
    assert!(about.iter().any(|line| line.starts_with("call.ActivityDate: the time of day")), "{about:?}");
    assert_eq!(check(&clean, "times")["verdict"], "warns", "our user may not set original times");
    // What an administrator has switched on.
    let rows = [
        ("ApexTrigger", json!({ "Name": "ContactGuard", "TableEnumOrId": "Contact", "Status": "Active" })),
        ("FlowDefinitionView", json!({ "Label": "Greet", "TriggerObjectOrEventLabel": "Account", "IsActive": true })),
        ("DuplicateRule", json!({ "MasterLabel": "Same e-mail", "SobjectType": "Contact", "IsActive": true })),
        (
            "ValidationRule",
            json!({ "ValidationName": "Needs_Amount", "EntityDefinitionId": "Opportunity", "Active": true }),
        ),
        ("DuplicateRule", json!({ "MasterLabel": "Asleep", "SobjectType": "Contact", "IsActive": false })),
    ];
    for (object, row) in rows {
        assert_eq!(org.call("POST", &format!("/__sandbox/setup/{object}"), Some(&row)).0, 201, "{object}");
    }
    let told = project.json(&["preflight"]);
    let automation = check(&told, "automation");
    assert_eq!((&automation["verdict"], automation["about"].as_array().unwrap().len()), (&json!("warns"), 4));
    // An org without room.
    assert_eq!(org.call("POST", "/__sandbox/storage", Some(&json!({ "kilobytes": 1_024 }))).0, 200);
    let full = project.run(&["--json", "preflight"]).exits(3).json();
    let storage = full["checks"].as_array().unwrap().iter().find(|c| c["about"] == json!(["DataStorageMB"])).unwrap();
    assert_eq!(storage["verdict"], "blocks", "{storage}");
    assert!(text(storage, "remedy").contains("storage"));
    assert_eq!(project.events("GateDecided").len(), 3, "each preflight is in the ledger");
    project.verifies();
}

#[test]
fn step_s07_a_plan_that_maps_twice_narrows_or_names_what_is_not_there_is_said_before_anything_is_written() {
    let (_dir, org, project) = project("300");
    project.run(&["schema", "apply"]).exits(0);
    let before = org.digest();
    let plan = project.plan();
    let with = |old: &str, new: &str| {
        project.set_plan(&plan);
        project.edit_plan(old, new);
    };
    with(
        "Phone = { from = \"phone\", long = \"cut\" }\nMobilePhone",
        "Phone = \"phone\"\nphone = \"mobile_phone\"\nMobilePhone",
    );
    project.run(&["preflight"]).exits(2).says(&["contact.phone", "two rules set this field"]);
    with("LastName = { from = [\"last_name\", \"email\", \"first_name\"], long = \"cut\" }\n", "");
    let said = project.run(&["plan"]).exits(3).out;
    assert!(said.contains("`Contact` needs `LastName`"), "{said}");
    with("Title = { from = \"job_title\", long = \"cut\" }", "Title = \"job_tittle\"");
    let found = project.run(&["--json", "preflight"]).exits(3).json();
    assert!(check(&found, "plan")["about"][0].as_str().unwrap().contains("no field `job_tittle`"));
    // A value that no option knows, a text that loses its end: with the rule, and of how many records.
    with("CallType = { from = \"direction\", map = \"direction\" }", "CallType = \"outcome\"");
    project.edit_plan(
        "Department = { from = \"department\", long = \"cut\" }",
        "Fax = { from = \"email\", long = \"cut\" }\nSalutation = { from = \"description\", long = \"cut\" }",
    );
    let found = project.json(&["preflight"]);
    let about =
        |name: &str| -> Vec<&str> { check(&found, name)["about"].as_array().unwrap().iter().map(text_of).collect() };
    assert!(about("waiting").iter().any(|line| line.starts_with("call.CallType: unmapped-value (")), "{found}");
    assert_eq!(check(&found, "values")["verdict"], "warns");
    assert!(about("losses").iter().any(|line| line.starts_with("email.ActivityDate: the time of day is left out (")));
    assert_eq!(org.digest(), before);
}

#[test]
fn step_s08_a_sample_lands_whole_is_compared_field_by_field_and_taken_back() {
    let (dir, org, project) = project("3000");
    project.ready();
    let before = org.digest();
    let sampled = project.json(&["sample", "--size", "200"]);
    let created: u64 =
        sampled["phases"].as_array().unwrap().iter().map(|phase| phase["created"].as_u64().unwrap()).sum();
    assert!((150..900).contains(&created), "{created}");
    for object in [
        "Account",
        "Contact",
        "Opportunity",
        "OpportunityContactRole",
        "Task",
        "Event",
        "ContentNote",
        "ContentVersion",
    ] {
        let landed = sampled["phases"].as_array().unwrap().iter().find(|phase| phase["object"] == object).unwrap();
        assert!(landed["created"].as_u64().unwrap() >= 3, "{landed}");
    }
    // Referentially closed: whoever points somewhere points to a record that is there.
    let orphans = sampled["sources"].as_array().unwrap().iter().map(|s| s["held"].as_u64().unwrap()).sum::<u64>();
    let why = project.run(&["holds", "list"]).out;
    assert!(!why.contains("companies") || orphans == 0 || !why.contains("Account.ParentId"), "{why}");
    let owners = org.query("SELECT OwnerId FROM Contact WHERE Source_System_ID__c != null GROUP BY OwnerId");
    assert!(owners.len() >= 3, "across owners: {owners:?}");
    let stages = org.query("SELECT StageName FROM Opportunity WHERE Source_System_ID__c != null GROUP BY StageName");
    assert!(stages.len() >= 5, "across stages: {stages:?}");

    let page = dir.path().join("sample.html");
    let diff = project.json(&["diff", "--html", page.to_str().unwrap()]);
    let wrong = |diff: &Json, class: &str| -> u64 {
        diff["objects"].as_array().unwrap().iter().map(|o| o["fields"][class].as_u64().unwrap_or(0)).sum()
    };
    assert_eq!((wrong(&diff, "error"), wrong(&diff, "changed")), (0, 0));
    assert!(wrong(&diff, "same") > 500 && wrong(&diff, "expected") > 200);
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("as the rule made it") && !html.contains("<script"));
    let one = diff["records"].as_array().unwrap().iter().find(|record| record["object"] == "Opportunity").unwrap();
    let stage = one["fields"].as_array().unwrap().iter().find(|field| field["field"] == "StageName").unwrap();
    assert_eq!(stage["rule"]["via"]["object"], "stages", "{stage}");
    assert!(stage["source"]["stage_id"].is_string() && stage["intended"] == stage["now"], "{stage}");

    // A person changes one field: the next comparison names it, and ends with 3.
    let account =
        org.query("SELECT Id FROM Account WHERE Source_System_ID__c != null AND Name != 'Unassigned' LIMIT 1");
    let id = text(&account[0], "Id");
    org.act_as("grace.hopper@example.com");
    assert_eq!(org.call("PATCH", &format!("sobjects/Account/{id}"), Some(&json!({ "Phone": "1" }))).0, 204);
    org.act_as("integration@sandbox.example.com");
    let changed = project.run(&["--json", "diff"]).exits(3).json();
    assert_eq!(wrong(&changed, "changed"), 1);

    let run = sampled["run"].to_string();
    project.run(&["rollback", "--run", &run]).exits(3);
    assert_eq!(org.call("DELETE", &format!("sobjects/Account/{id}"), None).0, 204);
    project.run(&["rollback", "--run", &run]);
    assert_eq!(org.digest(), before);
    // Again, and then the whole.
    project.run(&["sample", "--size", "100"]).exits(0);
    project.run(&["diff"]).exits(0);
    project.run(&["run"]).exits(0);
    let report = project.json(&["reconcile"]);
    for object in report["objects"].as_array().unwrap() {
        assert_eq!(object["matched"], object["expected_rows"], "{object}");
    }
    project.verifies();
}

#[test]
fn explain_answers_from_the_ledger_alone() {
    let (dir, org, project) = project("600");
    project.ready();
    project.run(&["run"]).exits(0);
    let row = &org.query("SELECT Id, Phone, Industry FROM Account WHERE Industry = 'Technology' AND Phone != null AND Source_System_ID__c != null LIMIT 1")[0];
    let (id, phone) = (text(row, "Id"), text(row, "Phone"));
    // Both systems are gone.
    drop(org);
    fs::remove_dir_all(dir.path().join("export")).unwrap();
    let answer = project.json(&["audit", "explain", "Account", &id, "Phone"]);
    assert_eq!(answer["value"], json!(phone));
    assert!(text(&answer["source"], "record").starts_with("companies/"), "{answer}");
    assert_eq!(answer["source"]["fields"]["phone"].as_str().unwrap().trim(), phone);
    assert_eq!((&answer["rule"]["id"], &answer["rule"]["says"]["from"]), (&json!("account.Phone"), &json!(["phone"])));
    assert_eq!(answer["approval"]["by"], "Test Person");
    assert_eq!(answer["write"]["operation"], "create");
    assert_eq!(answer["read_back"]["value"], json!(phone));
    for at in [
        &answer["source"]["read"],
        &answer["mapped"],
        &answer["approval"]["position"],
        &answer["write"]["intended"],
        &answer["write"]["confirmed"],
        &answer["read_back"]["position"],
    ] {
        let at = at.as_u64().unwrap().to_string();
        let line = project.run(&["--json", "audit", "log", "--from", &at, "--limit", "1"]).exits(0).out;
        assert!(line.contains(&format!("\"position\":{at}")), "{line}");
    }
    let industry = project.json(&["audit", "explain", "Account", &id, "Industry"]);
    assert_eq!(industry["value"], "Technology");
    assert_eq!(industry["rule"]["says"]["map"], "industry");
    project.run(&["audit", "explain", "Account", &id, "Nonsense"]).exits(2).says(&["no write of ours", "Phone"]);
    project.run(&["audit", "explain", "Account", "001000000000999AAA", "Phone"]).exits(2).says(&["knows no record"]);
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap()
}

#[test]
fn step_s14_the_hand_over_names_everything_that_did_not_come_and_what_to_build_again() {
    let (dir, _org, project) = project("900");
    project.run(&["discover"]).exits(0);
    project.ready();
    project.run(&["run"]).exits(0);
    let to = dir.path().join("handover");
    let done = project.json(&["handover", to.to_str().unwrap()]);
    let summary: Json = serde_json::from_str(&read(&to, "summary.json")).unwrap();
    assert_eq!(summary["sources"], done["sources"]);
    for source in summary["sources"].as_array().unwrap() {
        let parts = ["landed", "partly", "merged", "deleted", "held", "skipped", "unreadable", "waiting"];
        let sum: u64 = parts.iter().map(|part| source[*part].as_u64().unwrap()).sum();
        assert_eq!(source["read"], json!(sum), "{source}");
    }
    let holds = project.holds();
    let listed = read(&to, "not-carried.csv");
    for record in holds.keys() {
        assert!(listed.contains(&format!("{record},")), "{record}");
    }
    assert!(listed.contains("custom_objects (the whole object),no-rule"), "{listed}");
    let files = read(&to, "attachments.csv");
    let arrived = files.lines().filter(|line| line.contains(",arrived,068")).count() as u64;
    assert_eq!(json!(arrived), done["attachments"]["arrived"]);
    assert!(arrived > 3);
    let workflows: Json = serde_json::from_str(&read(&to, "rebuild/workflows.json")).unwrap();
    let first = &workflows.as_array().unwrap()[0];
    assert!(first["trigger"]["on"].is_string() && first["actions"].is_array(), "{first}");
    assert!(read(&to, "setup/SETUP.md").contains("page layout"));
    let page = read(&to, "summary.html");
    assert!(page.contains("To be built again by hand") && page.contains("workflows") && !page.contains("<script"));
    assert!(project.events("ReportWritten").len() >= 3);
    project.verifies();
}
