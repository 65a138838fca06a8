//! The whole story on Twenty, and the traps that it sets, through the real binary and real HTTP.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use waybill_tests::{Project, Workspace, edit, generate, rows};

fn export(dir: &Path, args: &[&str]) -> PathBuf {
    let export = dir.join("export");
    generate(&export, args);
    export
}

/// A project whose workspace is ready and whose plan is approved.
fn ready(size: &str) -> (tempfile::TempDir, Workspace, Project) {
    let dir = tempfile::tempdir().unwrap();
    let export = export(dir.path(), &["--size", size, "--seed", "7"]);
    let workspace = Workspace::start();
    let project = Project::twenty(&workspace, &export);
    project.ready();
    (dir, workspace, project)
}

/// Insists that no phase refused a row.
#[track_caller]
fn nothing_refused(run: &Json) {
    for phase in run["phases"].as_array().unwrap() {
        assert_eq!(phase["rejected"], 0, "{phase}");
    }
}

#[test]
fn step_s01_to_s15_a_company_moves_and_is_taken_back_and_moves_again() {
    let dir = tempfile::tempdir().unwrap();
    let export = export(dir.path(), &["--size", "500", "--seed", "7"]);
    let workspace = Workspace::start();
    let project = Project::twenty(&workspace, &export);
    project.run(&["discover"]).exits(0);
    project.run(&["assess"]).exits(0);
    project.run(&["plan"]).exits(0);
    // What is approved is the schema as it will be.
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    project.run(&["run"]).exits(3).says(&["person.waybillKey", "schema apply"]);
    project.run(&["schema", "apply"]).exits(0);
    project.run(&["preflight"]).exits(0);
    let before = workspace.digest();
    project.run(&["sample", "--size", "100"]).exits(0);
    project.run(&["diff"]).exits(0);
    project.run(&["rollback"]).exits(0);
    assert_eq!(workspace.digest(), before);
    let run = project.json(&["run"]);
    nothing_refused(&run);
    for object in project.json(&["reconcile"])["objects"].as_array().unwrap() {
        assert_eq!(object["matched"], object["expected_rows"], "{object}");
    }
    let moved = workspace.digest();
    let again = project.json(&["run"]);
    let idle = |phase: &Json| phase["created"] == 0 && phase["updated"] == 0;
    assert!(again["phases"].as_array().unwrap().iter().all(idle), "{again}");
    assert_eq!(workspace.digest(), moved);
    // Every value can say where it comes from.
    let person = workspace.ours("people")[0].clone();
    let explained = ["audit", "explain", "person", person["id"].as_str().unwrap(), "emails.primaryEmail"];
    let told = project.run(&explained).exits(0).out;
    assert!(told.contains("emails.primaryEmail"), "{told}");
    let handover = dir.path().join("handover");
    project.run(&["handover", handover.to_str().unwrap()]).exits(0);
    let report = project.json(&["rollback"]);
    assert!(report["differences"].as_array().unwrap().iter().all(|d| d["equal"] == d["before"]), "{report}");
    assert_eq!(workspace.digest(), before);
    assert_eq!(workspace.trash(), json!({}), "what is taken back is gone for good");
    // Step s15, and trap t09: a re-run finds a clean field.
    nothing_refused(&project.json(&["run"]));
    project.run(&["reconcile"]).exits(0);
    project.run(&["rollback"]).exits(0);
    assert_eq!(workspace.digest(), before);
    project.verifies();
}

#[test]
fn trap_t11_lost_answers_and_failing_servers_double_nothing() {
    let (_dir, workspace, project) = ready("400");
    let before = workspace.digest();
    for faults in [
        json!({ "after": 6, "lose_answers": 3 }),
        json!({ "after": 9, "lose_requests": 2, "errors": 2, "unavailable": 2 }),
        json!({ "after": 4, "limited": 3 }),
    ] {
        workspace.faults(&faults);
        let run = project.run(&["--json", "run"]).exits(0).json();
        nothing_refused(&run);
        workspace.faults(&json!({}));
        for object in project.json(&["reconcile"])["objects"].as_array().unwrap() {
            assert_eq!(object["matched"], object["expected_rows"], "{object}");
            assert_eq!(object["extra"], 0, "{object}");
        }
        let people = workspace.ours("people");
        let mut sources: Vec<&str> = people.iter().map(|row| row["sourceId"].as_str().unwrap()).collect();
        sources.sort_unstable();
        sources.dedup();
        assert_eq!(sources.len(), people.len());
        workspace.faults(&json!({ "after": 2, "lose_answers": 2 }));
        project.run(&["rollback"]).exits(0);
        workspace.faults(&json!({}));
        assert_eq!(workspace.digest(), before);
    }
    project.verifies();
}

/// The first person and company of the export, as the plan would make them: an address, and a site.
fn first(project: &Project) -> (String, String) {
    let config = project.config();
    let bundle = config.lines().find(|line| line.starts_with("bundle")).unwrap();
    let bundle = PathBuf::from(bundle.split('"').nth(1).unwrap());
    let contacts = waybill_tests::rows(&bundle.join("contacts.csv"));
    let email = contacts.iter().find(|row| row["email"].ends_with("@example.com") && !row["email"].contains("info"));
    let companies = waybill_tests::rows(&bundle.join("companies.csv"));
    let company = companies.iter().find(|row| !row["domain"].is_empty()).unwrap();
    (email.unwrap()["email"].to_lowercase(), format!("https://{}", company["domain"]))
}

#[test]
fn trap_t09_what_lies_in_the_trash_is_found_shown_and_never_brought_back_by_accident() {
    let (_dir, workspace, project) = ready("300");
    let (email, site) = first(&project);
    let body = json!({ "emails": { "primaryEmail": email }, "name": { "firstName": "Old" } });
    let old = workspace.call("POST", "/rest/people", Some(&body)).1["data"]["createPerson"].clone();
    let id = old["id"].as_str().unwrap();
    let body = json!({ "domainName": { "primaryLinkUrl": site }, "name": "Old Ltd" });
    let company = workspace.call("POST", "/rest/companies", Some(&body)).1["data"]["createCompany"].clone();
    let company = company["id"].as_str().unwrap();
    for path in [format!("/rest/people/{id}"), format!("/rest/companies/{company}")] {
        assert_eq!(workspace.call("DELETE", &format!("{path}?soft_delete=true"), None).0, 200);
    }
    let (before, trash) = (workspace.digest(), workspace.trash());
    assert_eq!(trash, json!({ "company": 1, "person": 1 }));
    // It is shown before anything is written, and the record waits.
    let preflight = project.run(&["--json", "preflight"]).exits(0).out;
    assert!(preflight.contains("in the trash"), "{preflight}");
    nothing_refused(&project.json(&["run"]));
    let waits = project.holds();
    assert!(waits.iter().any(|(record, why)| record.starts_with("contacts/") && why == "ambiguous"), "{waits:?}");
    assert!(project.run(&["holds", "list"]).exits(0).out.contains(id));
    assert_eq!(workspace.trash(), trash, "nothing came back");
    project.run(&["rollback"]).exits(0);
    assert_eq!(workspace.digest(), before);
    // The plan may say that it comes back; a rollback puts it where it was.
    project.set_plan(&project.plan().replace("match = [", "trash = \"restore\"\nmatch = ["));
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    nothing_refused(&project.json(&["run"]));
    let person = workspace.call("GET", &format!("/rest/people/{id}"), None);
    assert_eq!(person.0, 200, "it lives");
    assert_eq!(person.1["data"]["person"]["emails"]["primaryEmail"], email.as_str());
    assert!(!person.1["data"]["person"]["waybillKey"].as_str().unwrap().is_empty());
    project.run(&["reconcile"]).exits(0);
    project.run(&["rollback"]).exits(0);
    assert_eq!((workspace.digest(), workspace.trash()), (before.clone(), trash));
    let filter = format!("filter=and(id[eq]:{id},deletedAt[is]:NOT_NULL)");
    let back = workspace.call("GET", &format!("/rest/people?{filter}"), None).1["data"]["people"][0].clone();
    for field in ["name", "emails", "phones", "jobTitle", "companyId", "createdAt", "updatedAt", "deletedAt"] {
        let was = if field == "deletedAt" || field == "updatedAt" { continue } else { &old[field] };
        assert_eq!(&back[field], was, "{field}");
    }
    // Someone works with the person who came back: she stays where they find her, and that is told. The company goes.
    nothing_refused(&project.json(&["run"]));
    workspace.act_as(&json!({ "email": "ada.lovelace@example.com" }));
    let edit = json!({ "jobTitle": "By hand" });
    assert_eq!(workspace.call("PATCH", &format!("/rest/people/{id}"), Some(&edit)).0, 200);
    workspace.act_as(&json!({}));
    let told = project.run(&["rollback", "--dry-run"]).exits(0).out;
    assert!(told.contains("deletedAt stays as someone left it"), "{told}");
    project.run(&["rollback"]).exits(3);
    assert_eq!(workspace.trash(), json!({ "company": 1 }));
    let person = workspace.call("GET", &format!("/rest/people/{id}"), None).1["data"]["person"].clone();
    assert_eq!((&person["jobTitle"], &person["name"]), (&edit["jobTitle"], &old["name"]), "{person}");
    assert!(person["waybillKey"].as_str().unwrap_or_default().is_empty(), "it is no record of ours any more: {person}");
    project.verifies();
}

#[test]
fn rows_that_are_there_are_updated_and_put_back_with_every_part() {
    let (_dir, workspace, project) = ready("300");
    let (email, _) = first(&project);
    let body = json!({
        "emails": { "primaryEmail": email, "additionalEmails": ["second@x.example"] },
        "phones": { "primaryPhoneNumber": "+33612345678", "additionalPhones": [{ "number": "+4520123456" }] },
        "linkedinLink": { "primaryLinkUrl": "https://linkedin.com/in/x", "primaryLinkLabel": "In" },
        "name": { "firstName": "There", "lastName": "Before" }, "jobTitle": "Boss",
        "createdAt": "2019-01-02T03:04:05.000Z", "updatedAt": "2020-01-02T03:04:05.000Z",
    });
    let before = workspace.call("POST", "/rest/people", Some(&body)).1["data"]["createPerson"].clone();
    let digest = workspace.digest();
    let path = format!("/rest/people/{}", before["id"].as_str().unwrap());
    nothing_refused(&project.json(&["run"]));
    let now = workspace.call("GET", &path, None).1["data"]["person"].clone();
    assert_eq!(now["emails"]["primaryEmail"], email.as_str());
    assert_ne!(now["name"], before["name"]);
    assert_eq!(now["linkedinLink"], before["linkedinLink"], "what the plan does not set stays");
    project.run(&["reconcile"]).exits(0);
    project.run(&["rollback"]).exits(0);
    let after = workspace.call("GET", &path, None).1["data"]["person"].clone();
    for field in ["emails", "phones", "linkedinLink", "name", "jobTitle", "createdAt", "updatedAt"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(workspace.digest(), digest);
    project.verifies();
}

#[test]
fn step_s07_preflight_says_what_will_fire() {
    let dir = tempfile::tempdir().unwrap();
    let export = export(dir.path(), &["--size", "200"]);
    let workspace = Workspace::with(&["--limits", "off"]);
    let hook = json!({ "targetUrl": "https://hooks.example/x", "operations": ["company.created"] });
    assert_eq!(workspace.call("POST", "/rest/webhooks", Some(&hook)).0, 201);
    let events = ["company.deleted", "company.restored", "message.*"];
    let hook = json!({ "targetUrl": "https://silent.example/x", "operations": events });
    assert_eq!(workspace.call("POST", "/rest/webhooks", Some(&hook)).0, 201);
    let project = Project::twenty(&workspace, &export);
    project.run(&["schema", "apply"]).exits(0);
    let checks = project.json(&["preflight"]);
    let check = checks["checks"].as_array().unwrap().iter().find(|check| check["check"] == "automation").unwrap();
    let about = check["about"].to_string();
    assert!(about.contains("Create company when adding a new person (person.upserted)"), "{about}");
    assert!(about.contains("hooks.example") && !about.contains("Quick Lead"), "{about}");
    assert!(
        about.contains("on person, when rows are made") && about.contains("on company, when rows are made"),
        "{about}"
    );
    assert!(!about.contains("silent.example"), "nothing of ours sets it off: {about}");
    assert_eq!(check["verdict"], "warns");
}

#[test]
fn trap_t07_the_usual_limit_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let export = export(dir.path(), &["--size", "300", "--seed", "7"]);
    let workspace = Workspace::with(&[]);
    workspace.switch(&json!({ "workflow": false }));
    let project = Project::twenty(&workspace, &export);
    project.set_config(&project.config().replace("requests_per_minute = 0\n", ""));
    project.ready();
    nothing_refused(&project.json(&["run"]));
    let (taken, refused) = workspace.counted();
    assert!(taken > 60, "{taken} requests are enough to need the limit");
    // A new process cannot know what the one before it took, and learns it from a refusal; a slow answer makes the next request
    // come a moment too early.
    assert!(refused * 10 <= taken, "{refused} of {taken} requests were refused");
    project.verifies();
}

/// Makes a row as the workspace's own people do, and puts it into the trash if it is to lie there.
fn was_here(workspace: &Workspace, plural: &str, body: &Json, trashed: bool) -> String {
    let (status, made) = workspace.call("POST", &format!("/rest/{plural}"), Some(body));
    assert_eq!(status, 201, "{made}");
    let id = made["data"].as_object().unwrap().values().next().unwrap()["id"].as_str().unwrap().to_owned();
    if trashed {
        assert_eq!(workspace.call("DELETE", &format!("/rest/{plural}/{id}?soft_delete=true"), None).0, 200);
    }
    id
}

#[test]
fn trap_t09_what_lies_in_the_trash_goes_for_good_where_the_plan_says_so_and_is_told_before() {
    let (_dir, workspace, project) = ready("300");
    let (email, site) = first(&project);
    let body = json!({ "emails": { "primaryEmail": email }, "name": { "firstName": "Old" }, "jobTitle": "Treasurer" });
    let old = was_here(&workspace, "people", &body, true);
    // Someone still works for the company that lies in the trash.
    let body = json!({ "domainName": { "primaryLinkUrl": site }, "name": "Old Ltd" });
    let company = was_here(&workspace, "companies", &body, false);
    was_here(&workspace, "people", &json!({ "name": { "lastName": "Stays" }, "companyId": company }), false);
    assert_eq!(workspace.call("DELETE", &format!("/rest/companies/{company}?soft_delete=true"), None).0, 200);
    let before = workspace.digest();
    project.set_plan(&project.plan().replace("match = [", "trash = \"destroy\"\nmatch = ["));
    // Whoever approves sees it, and how many; a limit of none would stop the run.
    let approved = project.json(&["approve", "--by", "Test Person"]);
    let destroys = |object: &str| {
        let objects = approved["writes"]["objects"].as_array().unwrap();
        objects.iter().find(|known| known["object"] == object).unwrap()["destroy"].clone()
    };
    assert_eq!((destroys("person"), destroys("company"), destroys("note")), (json!(1), json!(1), json!(0)));
    let residue = approved["writes"]["residue"].to_string();
    assert!(residue.contains("2 rows in the trash are deleted for good"), "{residue}");
    nothing_refused(&project.json(&["run"]));
    assert_eq!(workspace.trash(), json!({ "company": 1 }), "what somebody points to stays");
    let found = workspace.list("people", &format!("&filter=emails.primaryEmail[eq]:{email}"));
    assert_eq!(found.len(), 1);
    assert!(found[0]["id"] != old.as_str() && found[0]["jobTitle"] != "Treasurer", "{found:?}");
    let told = project.run(&["holds", "list"]).exits(0).out;
    assert!(told.contains(&company) && told.contains("still point to it"), "{told}");
    // Intent first, and before it what the row held.
    let record = format!("contacts/{}", found[0]["sourceId"].as_str().unwrap());
    let life = project.run(&["--json", "audit", "record", &record]).exits(0).out;
    let about = |words: &[&str]| life.lines().position(|line| words.iter().all(|word| line.contains(word)));
    let order = [
        about(&["BeforeImageTaken", "Treasurer"]),
        about(&["WriteIntended", "elete", &old]),
        about(&["WriteConfirmed", "elete", &old]),
        about(&["WriteIntended", "reate"]),
    ];
    assert!(order.iter().all(Option::is_some) && order.is_sorted(), "{order:?}\n{life}");
    let again = project.json(&["run"]);
    let idle = |phase: &Json| phase["created"] == 0 && phase["updated"] == 0 && phase["deleted"] == 0;
    assert!(again["phases"].as_array().unwrap().iter().all(idle), "{again}");
    project.run(&["reconcile"]).exits(0);
    let report = project.json(&["rollback"]);
    assert!(report["residue"].to_string().contains("1 rows that lay in the trash were deleted for good"), "{report}");
    assert_eq!((workspace.digest(), workspace.trash()), (before, json!({ "company": 1 })));
    project.verifies();
}

#[test]
fn a_key_that_may_not_see_keys_must_be_named_and_takes_nobody_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let export = export(dir.path(), &["--size", "200", "--seed", "7"]);
    let workspace = Workspace::start();
    workspace.switch(&json!({ "workflow": false, "keys_right": false }));
    let project = Project::twenty(&workspace, &export);
    project.run(&["preflight"]).exits(1).says(&["what our key is called", "key_name"]);
    let named = |name: &str| {
        let config = project.config();
        let config = config.lines().filter(|line| !line.starts_with("key_name")).collect::<Vec<_>>().join("\n");
        project.set_config(&config.replace("[destination]\n", &format!("[destination]\nkey_name = \"{name}\"\n")));
    };
    named("Something else");
    project.ready();
    let before = workspace.digest();
    // The first rows show that it is called otherwise: nothing more is sent, and nothing is lost.
    project.run(&["run"]).exits(1).says(&["Waybill sandbox", "key_name"]);
    named("Waybill sandbox");
    nothing_refused(&project.json(&["run"]));
    project.run(&["reconcile"]).exits(0);
    // What another key changed is not ours, and a rollback leaves it.
    let person = workspace.ours("people")[0].clone();
    let path = format!("/rest/people/{}", person["id"].as_str().unwrap());
    workspace.act_as(&json!({ "key": "Another integration" }));
    assert_eq!(workspace.call("PATCH", &path, Some(&json!({ "avatarUrl": "https://x.example/a.png" }))).0, 200);
    workspace.act_as(&json!({}));
    let report = project.run(&["--json", "rollback"]).exits(3).json();
    let held: u64 = report["objects"].as_array().unwrap().iter().map(|object| object["held"].as_u64().unwrap()).sum();
    assert!(held >= 1, "{report}");
    assert_eq!(workspace.call("GET", &path, None).0, 200, "it stays");
    assert_eq!(workspace.call("DELETE", &path, None).0, 200);
    project.run(&["rollback"]).exits(0);
    assert_eq!(workspace.digest(), before);
    project.verifies();
}

#[test]
fn rows_that_point_to_others_of_their_object_are_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = ["--plain", "--size", "100", "--companies", "150", "--contacts", "200"];
    let export = export(dir.path(), &sizes);
    let ids: Vec<String> = rows(&export.join("companies.csv")).into_iter().map(|row| row["id"].clone()).collect();
    // Each company belongs to the one that comes after it.
    let above = |id: &str| {
        let at = ids.iter().position(|known| known == id).unwrap();
        ids.get(at + 1).cloned().unwrap_or_default()
    };
    edit(&export, "companies", |row| vec![("parent_company_id", above(&row["id"]))]);
    let workspace = Workspace::start();
    workspace.switch(&json!({ "workflow": false }));
    let project = Project::twenty(&workspace, &export);
    project.run(&["schema", "apply"]).exits(0);
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    let (before, _) = workspace.counted();
    project.run(&["run"]).exits(0);
    let (asked, _) = workspace.counted();
    let companies = workspace.by_source("companies");
    for id in &ids {
        let above = companies.get(&above(id)).map_or(Json::Null, |above| above["id"].clone());
        assert_eq!(companies[id]["parentCompanyId"], above, "{id}");
    }
    assert!(asked - before < 100, "{} requests for {} companies", asked - before, ids.len());
    project.run(&["reconcile"]).exits(0);
    let (before, _) = workspace.counted();
    project.run(&["run"]).exits(0);
    let (asked, _) = workspace.counted();
    assert!(asked - before < 60, "a run that finds nothing to do asks {} times", asked - before);
}
