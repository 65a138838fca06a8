//! Records that are rows which were there before us: taken over by the plan's `match`, and given back whole.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use waybill_tests::{Org, Project, generate, rows, text};

/// A project whose org already holds half of the contacts, in the ways that matter.
struct Held {
    _dir: tempfile::TempDir,
    org: Org,
    project: Project,
    /// By e-mail, the id of each row that was there.
    there: BTreeMap<String, String>,
    before: String,
}

fn create(org: &Org, object: &str, row: &Json) -> String {
    let (status, made) = org.call("POST", &format!("sobjects/{object}"), Some(row));
    assert_eq!(status, 201, "{made}");
    text(&made, "id")
}

fn held(size: &str) -> Held {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", size]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.edit_plan("to = \"Contact\"\n", "to = \"Contact\"\nmatch = [\"Email\"]\n");
    let mut seen = BTreeMap::<String, usize>::new();
    let contacts: Vec<_> = rows(&export.join("contacts.csv"))
        .into_iter()
        .filter(|row| row["is_deleted"] != "true" && row["email"].contains('@'))
        .collect();
    for row in &contacts {
        *seen.entry(row["email"].to_lowercase()).or_default() += 1;
    }
    let mut there = BTreeMap::new();
    let once: Vec<_> = contacts.iter().filter(|row| seen[&row["email"].to_lowercase()] == 1).collect();
    for (n, row) in once.into_iter().step_by(2).enumerate() {
        let mut held = json!({ "LastName": "Before", "Email": row["email"].to_uppercase() });
        match n % 4 {
            // Nothing where the source has something.
            0 => {}
            // Something where the source has nothing.
            1 => held["Fax"] = json!("+44 1"),
            2 => held["Title"] = json!("t".repeat(128)),
            _ => held["Description"] = json!("Lange Zeilen – \"quoted\", <b>bold</b>\n".repeat(700)),
        }
        for name in ["MobilePhone", "Department", "MailingStreet"] {
            held[name] = json!(format!("{name} {n}"));
        }
        there.insert(row["email"].to_lowercase(), create(&org, "Contact", &held));
    }
    project.run(&["schema", "apply"]).exits(0);
    let before = org.digest();
    Held { _dir: dir, org, project, there, before }
}

#[test]
fn rows_that_were_there_are_taken_over_and_given_back_to_the_byte() {
    let Held { _dir, org, project, there, before } = held("800");
    assert!(there.len() > 80, "{}", there.len());
    let present = org.count("Contact");
    let shown = project.json(&["approve", "--by", "Test Person"]);
    let contacts = shown["writes"]["objects"].as_array().unwrap().iter().find(|o| o["object"] == "Contact").unwrap();
    assert_eq!(contacts["matched"], json!(there.len()), "{contacts}");
    project.run(&["run"]).exits(0);
    assert_eq!(org.count("Contact"), present + contacts["create"].as_u64().unwrap(), "nobody is there twice");
    for (email, id) in &there {
        let row =
            &org.query(&format!("SELECT Email, LastName, Fax, Source_System_ID__c FROM Contact WHERE Id = '{id}'"))[0];
        assert_eq!(text(row, "Email").to_lowercase(), *email);
        assert_ne!(row["LastName"], "Before");
        assert!(text(row, "Source_System_ID__c").starts_with("wb-"));
    }
    let fax = org.count("Contact WHERE Fax = '+44 1'");
    assert!(fax > 10, "a field that the plan does not set stays");
    let reconciled = project.json(&["reconcile"]);
    for object in reconciled["objects"].as_array().unwrap() {
        assert_eq!(object["matched"], object["expected_rows"], "{object}");
    }
    let moved = org.digest();
    project.run(&["run"]).exits(0);
    assert_eq!(org.digest(), moved, "a second run writes nothing");
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    assert_eq!(org.count("Contact WHERE Source_System_ID__c != null"), 0);
    // Step s15: and once more.
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    project.run(&["run"]).exits(0);
    for id in there.values() {
        let row = &org.query(&format!("SELECT Source_System_ID__c FROM Contact WHERE Id = '{id}'"))[0];
        assert!(row["Source_System_ID__c"].is_string(), "the same rows are taken over again");
    }
    assert_eq!(org.count("Contact"), present + contacts["create"].as_u64().unwrap());
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    project.verifies();
}

#[test]
fn what_people_change_after_a_run_is_drift_where_it_is_ours_and_nobodys_business_elsewhere() {
    let Held { _dir, org, project, there, .. } = held("800");
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    project.run(&["run"]).exits(0);
    org.act_as("grace.hopper@example.com");
    let mut ids = there.values();
    let ours: Vec<&String> = ids.by_ref().take(27).collect();
    let theirs: Vec<&String> = ids.by_ref().take(10).collect();
    for id in &ours {
        assert_eq!(
            org.call("PATCH", &format!("sobjects/Contact/{id}"), Some(&json!({ "LastName": "Married" }))).0,
            204
        );
    }
    for id in &theirs {
        assert_eq!(
            org.call("PATCH", &format!("sobjects/Contact/{id}"), Some(&json!({ "AssistantName": "Jo" }))).0,
            204
        );
    }
    org.act_as("integration@sandbox.example.com");
    project.run(&["rollback"]).exits(3);
    let drift = project.events("DriftFound");
    assert_eq!(drift.len(), ours.len(), "{drift:?}");
    assert_eq!(org.count("Contact WHERE LastName = 'Married'"), ours.len() as u64);
    assert_eq!(org.count("Contact WHERE AssistantName = 'Jo'"), theirs.len() as u64);
    assert_eq!(
        org.count("Contact WHERE LastName = 'Before'"),
        (there.len() - ours.len()) as u64,
        "all others are back"
    );
    assert_eq!(org.count("Contact"), there.len() as u64, "no row of ours is left");
    let after = org.digest();
    project.run(&["rollback"]).exits(3);
    assert_eq!(org.digest(), after, "a second rollback changes nothing");
    project.verifies();
}

#[test]
fn what_is_not_clear_waits_and_is_settled_by_making_it_clear() {
    let Held { _dir, org, project, there, .. } = held("300");
    let (email, id) = there.iter().next().unwrap();
    let twin = create(&org, "Contact", &json!({ "LastName": "Twin", "Email": email }));
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    project.run(&["run"]).exits(0);
    let waiting = project.holds();
    assert_eq!(waiting.values().filter(|reason| *reason == "ambiguous").count(), 1, "{waiting:?}");
    for id in [id, &twin] {
        let row = &org.query(&format!("SELECT Source_System_ID__c FROM Contact WHERE Id = '{id}'"))[0];
        assert_eq!(row["Source_System_ID__c"], Json::Null, "neither is touched");
    }
    assert_eq!(org.call("DELETE", &format!("sobjects/Contact/{twin}"), None).0, 204);
    project.run(&["run"]).exits(0);
    assert!(!project.holds().values().any(|reason| reason == "ambiguous"));
    let row = &org.query(&format!("SELECT LastName, Source_System_ID__c FROM Contact WHERE Id = '{id}'"))[0];
    assert!(row["Source_System_ID__c"].is_string() && row["LastName"] != "Before", "{row}");
    project.verifies();
}
