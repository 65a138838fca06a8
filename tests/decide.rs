//! What waits for a person goes on as the person decides, and not otherwise: `waybill holds decide`.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value as Json, json};
use waybill_tests::{Org, Project, edit, generate, rows, text};

struct Company {
    _dir: tempfile::TempDir,
    org: Org,
    project: Project,
    export: PathBuf,
    /// Contacts whose address nobody else has: id and e-mail.
    contacts: Vec<(String, String)>,
}

fn company() -> Company {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "200"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.edit_plan("to = \"Contact\"\n", "to = \"Contact\"\nmatch = [\"Email\"]\n");
    let mut seen = BTreeMap::<String, usize>::new();
    let all = rows(&export.join("contacts.csv"));
    for row in &all {
        *seen.entry(row["email"].to_lowercase()).or_default() += 1;
    }
    let once = |row: &&BTreeMap<String, String>| {
        row["is_deleted"] != "true" && row["email"].contains('@') && seen[&row["email"].to_lowercase()] == 1
    };
    let contacts: Vec<_> = all.iter().filter(once).map(|row| (row["id"].clone(), row["email"].clone())).collect();
    assert!(contacts.len() > 10, "{contacts:?}");
    project.run(&["schema", "apply"]).exits(0);
    Company { _dir: dir, org, project, export, contacts }
}

impl Company {
    fn rows(&self, email: &str) -> Vec<Json> {
        self.org.query(&format!("SELECT Id, Title, LastName, Source_System_ID__c FROM Contact WHERE Email = '{email}'"))
    }

    /// Changes a column of these contacts in the source.
    fn set(&self, ids: &[&str], column: &'static str, value: &str) {
        self.edit("contacts", ids, column, value);
    }

    fn edit(&self, table: &str, ids: &[&str], column: &'static str, value: &str) {
        edit(&self.export, table, |row| {
            if ids.contains(&row["id"].as_str()) { vec![(column, value.to_owned())] } else { Vec::new() }
        });
    }

    fn decide(&self, args: &[&str]) -> waybill_tests::Done {
        let mut all = vec!["holds", "decide", "--by", "Ada Lovelace"];
        all.extend(args);
        self.project.run(&all)
    }
}

#[test]
fn a_conflict_goes_as_decided_and_a_removed_row_is_made_again_only_on_a_persons_word() {
    let company = company();
    let Company { org, project, contacts, .. } = &company;
    let [(source, to_source), (there, to_there), (gone, to_gone), (left, to_left)] = &contacts[..4] else { panic!() };
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    project.run(&["run"]).exits(0);
    org.act_as("alan.turing@example.com");
    for email in [to_source, to_there] {
        let path = format!("sobjects/Contact/{}", text(&company.rows(email)[0], "Id"));
        assert_eq!(org.call("PATCH", &path, Some(&json!({ "Title": "The person's" }))).0, 204);
    }
    for email in [to_gone, to_left] {
        let path = format!("sobjects/Contact/{}", text(&company.rows(email)[0], "Id"));
        assert_eq!(org.call("DELETE", &path, None).0, 204);
    }
    org.act_as("integration@sandbox.example.com");
    company.set(&[source, there, gone, left], "job_title", "The source's");
    project.run(&["delta"]).exits(0);
    let waiting = project.holds();
    let name = |id: &str| format!("contacts/{id}");
    for (id, reason) in [(source, "conflict"), (there, "conflict"), (gone, "target-gone"), (left, "target-gone")] {
        assert_eq!(waiting.get(&name(id)).map(String::as_str), Some(reason), "{waiting:?}");
    }
    project.run(&["holds", "list"]).exits(0).shows(&["waybill holds decide", "`source`", "`again`"]);

    // An answer to another question is none.
    company.decide(&["again", &name(source)]).exits(2).says(&["does not answer that", "hint:", "`destination`"]);
    company.decide(&["source", &name(gone)]).exits(2).says(&["does not answer that"]);
    company.decide(&["row", &name(gone)]).exits(2).says(&["--is"]);
    company.decide(&["source", "contacts/nobody"]).exits(2);
    company.decide(&["source", &name(&contacts[5].0)]).exits(2).says(&["does not wait"]);
    company.decide(&["source", "--all", "whatever"]).exits(2).says(&["holds list"]);
    assert!(project.events("HoldDecided").is_empty(), "what does not fit is not written down");

    company.decide(&["source", &name(source), "--reason", "asked her"]).exits(0).shows(&["the next `waybill run`"]);
    company.decide(&["destination", &name(there)]).exits(0);
    company.decide(&["again", &name(gone)]).exits(0);
    company.decide(&["skip", &name(left)]).exits(0);
    let shown = project.run(&["--json", "holds", "list"]).exits(0);
    assert_eq!(shown.out.matches("\"decided\"").count(), 4, "{}", shown.out);
    assert_eq!(company.rows(to_gone).len(), 0, "a decision writes nothing yet");
    project.run(&["delta"]).exits(0);
    assert_eq!(company.rows(to_source)[0]["Title"], "The source's");
    assert_eq!(company.rows(to_there)[0]["Title"], "The person's");
    let again = company.rows(to_gone);
    assert_eq!((again.len(), &again[0]["Title"]), (1, &json!("The source's")));
    assert_eq!(company.rows(to_left).len(), 0);
    let waiting = project.holds();
    for id in [source, there, gone, left] {
        assert!(!waiting.contains_key(&name(id)), "{waiting:?}");
    }

    // A decision is for once: what nobody disputes goes on, a new dispute waits again.
    company.set(&[there], "last_name", "Renamed");
    project.run(&["delta"]).exits(0);
    let row = &company.rows(to_there)[0];
    assert_eq!((&row["LastName"], &row["Title"]), (&json!("Renamed"), &json!("The person's")));
    company.set(&[there, left], "job_title", "Once more");
    project.run(&["delta"]).exits(0);
    assert_eq!(company.rows(to_there)[0]["Title"], "The person's");
    assert_eq!(project.holds().get(&name(there)).map(String::as_str), Some("conflict"));
    // But what was left out stays left out until a person says otherwise.
    assert_eq!(company.rows(to_left).len(), 0);
    company.decide(&["carry", &name(left)]).exits(0);
    company.decide(&["destination", "--all", "conflict"]).exits(0).shows(&[&name(there)]);
    project.run(&["delta"]).exits(0);
    assert_eq!(project.holds().get(&name(left)).map(String::as_str), Some("target-gone"), "{:?}", project.holds());
    assert!(!project.holds().contains_key(&name(there)));
    project.run(&["audit", "record", &name(source)]).exits(0).shows(&["a person decided: source"]);
    assert_eq!(project.events("HoldDecided")[0]["actor"], "Ada Lovelace");
    project.verifies();
}

#[test]
fn what_could_be_several_rows_is_the_one_that_a_person_names() {
    let company = company();
    let Company { org, project, contacts, .. } = &company;
    let [(named, to_named), (new, to_new)] = &contacts[..2] else { panic!() };
    let deals = rows(&company.export.join("deals.csv"));
    let bad = &deals.iter().find(|row| row["is_deleted"] != "true").unwrap()["id"];
    company.edit("deals", &[bad], "name", "To be decided");
    company.edit("deals", &[bad], "close_date", "");
    let landed = || org.count("Opportunity WHERE Name = 'To be decided'");
    let deal = format!("deals/{bad}");
    let create = |email: &str| {
        let row = json!({ "LastName": "Before", "Email": email });
        text(&org.call("POST", "sobjects/Contact", Some(&row)).1, "id")
    };
    let twins = [create(to_named), create(to_named)];
    let others = [create(to_new), create(to_new)];
    let before = org.digest();
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    project.run(&["run"]).exits(0);
    let name = |id: &str| format!("contacts/{id}");
    let waiting = project.holds();
    assert_eq!(waiting.get(&name(named)).map(String::as_str), Some("ambiguous"), "{waiting:?}");
    assert_eq!(waiting.get(&name(new)).map(String::as_str), Some("ambiguous"), "{waiting:?}");
    assert_eq!(waiting.get(&deal).map(String::as_str), Some("missing-value"), "{waiting:?}");

    let ours = text(&org.query("SELECT Id FROM Contact WHERE Source_System_ID__c != null LIMIT 1")[0], "Id");
    company.decide(&["row", &name(named), "--is", &ours]).exits(2).says(&["another record's"]);
    let removed = create("gone@example.com");
    assert_eq!(org.call("DELETE", &format!("sobjects/Contact/{removed}"), None).0, 204);
    company.decide(&["row", &name(named), "--is", &removed]).exits(2).says(&["has no Contact"]);
    company.decide(&["row", &name(named), "--is", &twins[1]]).exits(0);
    company.decide(&["new", &name(new)]).exits(0);
    company.decide(&["skip", &deal]).exits(0);
    let report = project.run(&["--json", "run"]).exits(0).json();
    let account = report["sources"].as_array().unwrap().iter().find(|source| source["object"] == "deals").unwrap();
    assert!(account["skipped"].as_u64().unwrap() >= 1, "{account}");
    assert!(!project.holds().keys().any(|held| [name(named), name(new), deal.clone()].contains(held)));
    let key = |id: &str| org.query(&format!("SELECT Source_System_ID__c FROM Contact WHERE Id = '{id}'"))[0].clone();
    assert!(key(&twins[1])["Source_System_ID__c"].is_string(), "the row that was named is the record's");
    for id in [&twins[0], &others[0], &others[1]] {
        assert_eq!(key(id)["Source_System_ID__c"], Json::Null, "nobody touched the others");
    }
    assert_eq!((company.rows(to_named).len(), company.rows(to_new).len(), landed()), (2, 3, 0));

    // Mended in the source and carried after all.
    company.edit("deals", &[bad], "close_date", "2026-03-04");
    project.run(&["delta"]).exits(0);
    assert_eq!(landed(), 0);
    company.decide(&["carry", &deal]).exits(0);
    project.run(&["delta"]).exits(0);
    assert_eq!(landed(), 1);
    // All of it is taken back, the named row to the byte.
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    project.verifies();
}
