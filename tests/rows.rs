//! Rows a01 to a05, a13 and a14: Spark CRM to Salesforce, read back through Salesforce's own wire.

#![allow(clippy::unwrap_used, clippy::float_cmp)]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{LazyLock, OnceLock},
};

use serde_json::Value as Json;
use waybill_tests::{Org, Project, generate, rows, text};

/// One migration that all rows look at.
struct Moved {
    org: Org,
    project: Project,
    export: PathBuf,
    _dir: tempfile::TempDir,
}

fn moved() -> &'static Moved {
    static MOVED: OnceLock<Moved> = OnceLock::new();
    MOVED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let export = dir.path().join("export");
        generate(&export, &["--size", "1200", "--seed", "7"]);
        let org = Org::start(&[]);
        let project = Project::new(&org, &export);
        project.ready();
        project.run(&["run"]).exits(0);
        Moved { org, project, export, _dir: dir }
    })
}

/// Source rows by id.
fn source(object: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let all = rows(&moved().export.join(format!("{object}.csv")));
    all.into_iter().filter(|row| row["is_deleted"] != "true").map(|row| (row["id"].clone(), row)).collect()
}

/// The destination ids of an object's records, as the ledger's public answer tells them.
fn landed(object: &str) -> BTreeMap<String, String> {
    static KNOWN: LazyLock<std::sync::Mutex<BTreeMap<String, BTreeMap<String, String>>>> =
        LazyLock::new(Default::default);
    let mut known = KNOWN.lock().unwrap();
    if let Some(found) = known.get(object) {
        return found.clone();
    }
    let mut found = BTreeMap::new();
    let held = moved().project.holds();
    for id in source(object).keys().filter(|id| !held.contains_key(&format!("{object}/{id}"))) {
        let done = moved().project.run(&["--json", "audit", "record", &format!("{object}/{id}")]).exits(0);
        let confirmed = done
            .out
            .lines()
            .map(|line| serde_json::from_str::<Json>(line).unwrap())
            .find(|line| line["event"] == "WriteConfirmed");
        found.insert(id.clone(), confirmed.unwrap()["content"]["id"].as_str().unwrap().to_owned());
    }
    known.insert(object.to_owned(), found.clone());
    found
}

/// Destination rows by what identifies them in the source beyond doubt.
fn by<'r>(rows: &'r [Json], field: &str) -> BTreeMap<String, &'r Json> {
    rows.iter().map(|row| (text(row, field), row)).collect()
}

#[test]
fn row_a01_every_contact_has_an_account() {
    let org = &moved().org;
    let found = org.query("SELECT Id, FirstName, LastName, Email, Title, MobilePhone, MailingCity, AccountId, Account.Name FROM Contact WHERE Source_System_ID__c != null");
    assert_eq!(found.len(), source("contacts").len() - count_held("contacts"));
    let unassigned: Vec<&Json> = found.iter().filter(|row| row["Account"]["Name"] == "Unassigned").collect();
    let orphans = source("contacts").values().filter(|row| row["primary_company_id"].is_empty()).count();
    assert!(orphans > 0, "the export has contacts without a company");
    assert!(unassigned.len() >= orphans);
    assert_eq!(org.count("Account WHERE Name = 'Unassigned'"), 1, "the designated account is created once");
    assert!(found.iter().all(|row| !row["AccountId"].is_null()));
    let emails = by(&found, "Email");
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for contact in source("contacts").values() {
        *times.entry(contact["email"].trim().to_lowercase()).or_default() += 1;
    }
    let mut compared = 0;
    for contact in source("contacts").values() {
        let email = contact["email"].trim();
        let alone = !email.is_empty() && times[&email.to_lowercase()] == 1;
        let Some(row) = emails.get(email).filter(|_| alone) else { continue };
        compared += 1;
        assert_eq!(text(row, "MailingCity"), contact["address_city"].trim(), "{}", contact["id"]);
        assert_eq!(text(row, "Title"), contact["job_title"].trim(), "{}", contact["id"]);
        assert_eq!(text(row, "MobilePhone"), contact["mobile_phone"].trim(), "{}", contact["id"]);
    }
    assert!(compared > 200, "{compared} contacts were compared by e-mail");
}

fn count_held(object: &str) -> usize {
    moved().project.holds().keys().filter(|record| record.starts_with(&format!("{object}/"))).count()
}

#[test]
fn row_a02_companies_keep_their_parents_and_industries() {
    let org = &moved().org;
    let found = org.query("SELECT Id, Name, Website, Industry, NumberOfEmployees, ParentId FROM Account WHERE Source_System_ID__c != null");
    let rows = by(&found, "Id");
    let ids = landed("companies");
    let mut parents = 0;
    for (id, company) in &source("companies") {
        let row = rows[&ids[id]];
        assert_eq!(text(row, "Name"), company["name"].trim());
        let domain = if company["domain"].is_empty() { &company["website"] } else { &company["domain"] };
        assert_eq!(text(row, "Website"), domain.trim());
        if let Some(parent) = ids.get(&company["parent_company_id"]) {
            parents += 1;
            assert_eq!(text(row, "ParentId"), *parent, "the parent of {id}");
        }
        if company["industry"] == "Software" {
            assert_eq!(text(row, "Industry"), "Technology");
        }
    }
    assert!(parents > 3, "the export has parent companies");
}

#[test]
fn row_a02_a_circle_of_parents_is_reported_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "300", "--cycle"]);
    let org = Org::start(&[]);
    let before = org.digest();
    let project = Project::new(&org, &export);
    project.run(&["schema", "apply"]).exits(0);
    project.run(&["approve", "--by", "Test Person"]).exits(3).says(&["circle", "ParentId", "→", "hint:"]);
    project.run(&["run"]).exits(3);
    assert_eq!(org.digest(), before);
    project.verifies();
}

#[test]
fn row_a03_and_a05_deals_carry_amount_date_stage_probability_and_entry_time() {
    let org = &moved().org;
    let found = org.query("SELECT Id, Name, Amount, CloseDate, StageName, Probability, Stage_Entered_Date__c, RecordType.Name, Owner.Email, AccountId FROM Opportunity WHERE Source_System_ID__c != null");
    let rows = by(&found, "Id");
    let (ids, stages, pipelines, users) = (landed("deals"), source("stages"), source("pipelines"), source("users"));
    let deals = source("deals");
    for (id, destination) in &ids {
        let (deal, row) = (&deals[id], rows[destination]);
        let amount: f64 = deal["amount"].parse().unwrap_or(0.0);
        assert!((row["Amount"].as_f64().unwrap_or(0.0) - amount).abs() < 0.006, "{id}: {row}");
        let date = if deal["close_date"].is_empty() {
            deal["closed_at"].get(..10).unwrap_or_default()
        } else {
            &deal["close_date"]
        };
        assert_eq!(text(row, "CloseDate"), date);
        let stage = &stages[&deal["stage_id"]];
        let fold = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        assert_eq!(fold(&text(row, "StageName")), fold(&stage["name"]), "{id}");
        assert_eq!(row["Probability"].as_f64().unwrap(), stage["probability"].parse::<f64>().unwrap(), "{id}");
        assert_eq!(row["RecordType"]["Name"], Json::from(pipelines[&deal["pipeline_id"]]["name"].as_str()), "{id}");
        assert_eq!(text(row, "Stage_Entered_Date__c").is_empty(), deal["stage_entered_at"].is_empty(), "{id}");
        let email = users.get(&deal["owner_id"]).map(|user| user["email"].to_lowercase()).unwrap_or_default();
        if ["ada.lovelace@example.com", "grace.hopper@example.com", "alan.turing@example.com"].contains(&email.as_str())
        {
            assert_eq!(row["Owner"]["Email"], Json::from(email), "{id}");
        }
    }
    assert!(ids.len() > 80);
    let active = org.query("SELECT ApiName, DefaultProbability FROM OpportunityStage WHERE IsActive = true");
    assert!(active.len() > 10, "deploying new stages keeps those of the org");
}

#[test]
fn row_a04_each_pipeline_is_a_record_type_with_a_sales_process_and_a_setup_plan() {
    let Moved { org, project, .. } = moved();
    let types =
        org.query("SELECT Name, DeveloperName, BusinessProcess.Name FROM RecordType WHERE SobjectType = 'Opportunity'");
    for pipeline in source("pipelines")
        .values()
        .filter(|pipeline| source("stages").values().any(|s| s["pipeline_id"] == pipeline["id"]))
    {
        let own = types.iter().find(|row| row["Name"] == pipeline["name"].as_str());
        assert!(own.is_some_and(|row| !row["BusinessProcess"].is_null()), "{}: {types:?}", pipeline["name"]);
    }
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("manifest");
    project.run(&["schema", "export", to.to_str().unwrap()]).exits(0);
    let read = |name: &str| std::fs::read_to_string(to.join(name)).unwrap();
    assert!(read("manifest/package.xml").contains("Source_System_ID__c"));
    let project: Json = serde_json::from_str(&read("sfdx-project.json")).unwrap();
    assert_eq!(project["packageDirectories"][0]["path"], "force-app");
    let key = read("force-app/main/default/objects/Account/fields/Source_System_ID__c.field-meta.xml");
    assert!(key.contains("<externalId>true</externalId>") && key.contains("<CustomField"), "{key}");
    let types = to.join("force-app/main/default/objects/Opportunity/recordTypes");
    assert!(std::fs::read_dir(types).unwrap().count() >= 2, "each pipeline is a record type");
    assert!(read("SETUP.md").contains("Waybill_Migration"));
}

#[test]
fn row_a13_roles_keep_their_label_and_unknown_ones_become_other() {
    let org = &moved().org;
    let found = org.query("SELECT Id, OpportunityId, ContactId, Role, IsPrimary, Source_Role__c FROM OpportunityContactRole WHERE Source_System_ID__c != null");
    let rows = by(&found, "Id");
    let (ids, deals, contacts) = (landed("deal_contacts"), landed("deals"), landed("contacts"));
    let all = source("deal_contacts");
    let mut other = 0;
    for (id, destination) in &ids {
        let (link, row) = (&all[id], rows[destination]);
        assert_eq!(text(row, "OpportunityId"), deals[&link["deal_id"]]);
        assert_eq!(text(row, "ContactId"), contacts[&link["contact_id"]]);
        assert_eq!(text(row, "Source_Role__c"), link["role"].trim());
        let known = [
            "Business User",
            "Decision Maker",
            "Economic Buyer",
            "Economic Decision Maker",
            "Evaluator",
            "Executive Sponsor",
            "Influencer",
            "Technical Buyer",
        ];
        let folded = link["role"].split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        let expected = match known.iter().find(|known| known.to_lowercase() == folded) {
            Some(known) => known,
            None if folded.is_empty() => "",
            None => "Other",
        };
        other += usize::from(expected == "Other");
        assert_eq!(text(row, "Role"), expected, "{id}");
    }
    assert!(other > 0, "the export has roles that Salesforce does not know");
}

#[test]
fn row_a14_no_record_lands_without_a_decided_owner() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "300"]);
    let org = Org::start(&[]);
    let project = Project::bare(&org, &export);
    let before = org.digest();
    project.run(&["schema", "apply"]).exits(0);
    project.run(&["approve", "--by", "Test Person"]).exits(3).says(&[
        "nobody@example.org",
        "katherine.johnson@example.com",
        "inactive user",
        "no user",
        "fallback",
        "hint:",
    ]);
    project.run(&["run"]).exits(3).says(&["nobody has approved"]);
    assert_eq!(org.digest(), before);
    project.edit_plan(
        "email = \"email\"\n",
        "email = \"email\"\nunowned = \"ada.lovelace@example.com\"\n[owners.decided]\n\"nobody@example.org\" = \"hold\"\n\"katherine.johnson@example.com\" = \"alan.turing@example.com\"\n",
    );
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    project.run(&["run"]).exits(0);
    assert!(project.holds().values().any(|reason| reason == "owner"), "{:?}", project.holds());
    for object in ["Account", "Contact", "Opportunity"] {
        let strays = org.count(&format!("{object} WHERE Source_System_ID__c != null AND OwnerId = null"));
        assert_eq!(strays, 0);
    }
    let owners = org.query("SELECT Owner.Email FROM Contact WHERE Source_System_ID__c != null");
    assert!(owners.iter().all(|row| row["Owner"]["Email"] != "katherine.johnson@example.com"));
    project.verifies();
}
