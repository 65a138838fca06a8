//! Law 7: a rollback is a run like any other, and can be taken back itself.

#![allow(clippy::unwrap_used)]

use serde_json::{Value as Json, json};
use waybill_tests::{Org, Project, edit, generate, text};

/// What our rows say, and whose they are, without the ids that the org gave them.
fn content(org: &Org) -> Vec<String> {
    let queries = [
        "SELECT Source_System_ID__c, Name, Phone, Industry, Parent.Source_System_ID__c FROM Account",
        "SELECT Source_System_ID__c, LastName, Title, Email, OwnerId, Account.Source_System_ID__c FROM Contact",
        "SELECT Source_System_ID__c, Name, Amount, StageName, CloseDate, Account.Source_System_ID__c FROM Opportunity",
        "SELECT Source_System_ID__c, Role, Contact.Source_System_ID__c, Opportunity.Source_System_ID__c FROM OpportunityContactRole",
        "SELECT Source_System_ID__c, Subject, Status, Who.Id, What.Id FROM Task WHERE WhoId = null AND WhatId = null",
    ];
    let mut lines = Vec::new();
    for query in queries {
        let mut rows: Vec<String> = org.query(query).iter().map(|row| plain(row).to_string()).collect();
        rows.sort();
        lines.append(&mut rows);
    }
    lines
}

/// A row without what the wire says about itself.
fn plain(row: &Json) -> Json {
    match row {
        Json::Object(fields) => fields
            .iter()
            .filter(|(name, _)| *name != "attributes")
            .map(|(name, value)| (name.clone(), plain(value)))
            .collect(),
        other => other.clone(),
    }
}

fn run_of(report: &Json) -> String {
    report["run"].to_string()
}

fn matched(project: &Project) {
    let report = project.json(&["reconcile"]);
    for object in report["objects"].as_array().unwrap() {
        assert_eq!(object["matched"], object["expected_rows"], "{object}");
    }
}

#[test]
fn law_7_a_rollback_is_taken_back_as_often_as_one_likes() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "150", "--plain", "--seed", "5"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    let baseline = org.digest();
    project.edit_plan("to = \"Contact\"\n", "to = \"Contact\"\ngone = \"delete\"\n");
    project.ready();
    project.run(&["run"]).exits(0);
    let loaded = content(&org);

    // A window in which people changed, re-pointed and deleted.
    let mut n = 0;
    let mut company = String::new();
    edit(&export, "contacts", |row| {
        n += 1;
        let later = ("updated_at", "2026-01-05T00:00:00Z".to_owned());
        match n % 6 {
            0 => vec![("job_title", format!("Changed {n}")), later],
            1 => vec![("is_deleted", "true".to_owned()), later],
            2 if !company.is_empty() => vec![("primary_company_id", company.clone()), later],
            _ => {
                company.clone_from(&row["primary_company_id"]);
                Vec::new()
            }
        }
    });
    let delta = run_of(&project.json(&["delta"]));
    let changed = content(&org);
    assert_ne!(loaded, changed);

    // The window goes, comes back, and goes again.
    let back = project.json(&["rollback", "--run", &delta]);
    assert!(back["objects"].as_array().unwrap().iter().any(|object| object["recreates"].as_u64() > Some(0)), "{back}");
    assert_eq!(content(&org), loaded);
    let again = project.json(&["rollback", "--run", &run_of(&back)]);
    assert_eq!(content(&org), changed);
    project.run(&["rollback", "--run", &run_of(&again)]).exits(0);
    assert_eq!(content(&org), loaded);

    // Everything goes, and comes back under new ids that everything follows.
    let before = org.query("SELECT Id, Source_System_ID__c FROM Account WHERE Source_System_ID__c != null");
    let all = project.json(&["rollback"]);
    assert_eq!(org.digest(), baseline);
    let there = project.json(&["rollback", "--run", &run_of(&all), "--dry-run"]);
    let made: u64 =
        there["objects"].as_array().unwrap().iter().map(|object| object["recreates"].as_u64().unwrap()).sum();
    assert!(made > 120, "{there}");
    assert_eq!(org.digest(), baseline, "a dry run writes nothing");
    project.json(&["rollback", "--run", &run_of(&all)]);
    assert_eq!(content(&org), loaded);
    let after = org.query("SELECT Id, Source_System_ID__c FROM Account WHERE Source_System_ID__c != null");
    assert_eq!(after.len(), before.len());
    assert!(
        after.iter().all(|row| !before.iter().any(|old| text(old, "Id") == text(row, "Id"))),
        "the org gives new ids"
    );
    matched(&project);

    // And then it goes for good: nothing that came back is forgotten.
    let gone = project.json(&["rollback"]);
    let appeared = |difference: &Json| difference["appeared"] != json!([]);
    assert!(!gone["differences"].as_array().unwrap().iter().any(appeared), "{gone}");
    assert_eq!(org.digest(), baseline);
    project.verifies();
}
