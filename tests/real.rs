//! Data that nobody here made: it moves, reconciles to nothing wrong or to named holds, and goes back to the byte.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value as Json, json};
use waybill_tests::{Org, Project, root, rows, shared, text};

/// Makes a project over real data, by a profile and a plan that lie beside this test.
fn project(org: &Org, name: &str, data: &Path) -> Project {
    let project = Project::bare(org, data);
    let own = root().join("tests/real").join(name);
    fs::copy(own.join("profile.toml"), project.path().join("profile.toml")).unwrap();
    project.set_plan(&fs::read_to_string(own.join("plan.toml")).unwrap());
    let config =
        project.config().replace("system = \"spark\"", &format!("system = \"{name}\"\nprofile = \"profile.toml\""));
    project.set_config(&config);
    project
}

/// Moves, reconciles, and takes back; returns what waited, by reason. `look` sees the destination in between.
fn journey(name: &str, data: &Path, look: impl FnOnce(&Org, &Project)) -> BTreeMap<String, usize> {
    let org = Org::start(&[]);
    let project = project(&org, name, data);
    let before = org.digest();
    project.ready();
    let run = project.json(&["run"]);
    for source in run["sources"].as_array().unwrap() {
        let count = |key: &str| source[key].as_u64().unwrap();
        let all = ["landed", "partly", "merged", "deleted", "held", "skipped", "unreadable"]
            .iter()
            .map(|key| count(key))
            .sum::<u64>();
        assert_eq!(all, count("read"), "every record is accounted for exactly once: {source}");
    }
    let report = project.json(&["reconcile"]);
    for object in report["objects"].as_array().unwrap() {
        assert_eq!(object["matched"], object["expected_rows"], "{object}\n{}", report["findings"]);
        let name = object["object"].as_str().unwrap();
        assert_eq!(object["expected_rows"], json!(org.count(&format!("{name} WHERE Source_System_ID__c != null"))));
    }
    look(&org, &project);
    let mut holds = BTreeMap::new();
    for reason in project.holds().into_values() {
        *holds.entry(reason).or_default() += 1;
    }
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    project.verifies();
    holds
}

fn sum(rows: &[Json], field: &str) -> f64 {
    rows.iter().filter_map(|row| row[field].as_f64()).sum()
}

#[test]
fn maven_sales_pipeline() {
    let Some(data) = shared("maven-crm-sales") else { return };
    let holds = journey("maven", &data, |org, _| {
        let deals = rows(&data.join("sales_pipeline.csv"));
        let found = org.query("SELECT StageName, Amount, CloseDate, AccountId, Sales_Manager__c FROM Opportunity WHERE Source_System_ID__c != null");
        let dated = deals.iter().filter(|deal| !deal["close_date"].is_empty() || !deal["engage_date"].is_empty());
        assert_eq!(found.len(), dated.count());
        let won = found.iter().filter(|row| row["StageName"] == "Closed Won").count();
        assert_eq!(won, deals.iter().filter(|deal| deal["deal_stage"] == "Won").count());
        let total: f64 = deals.iter().filter_map(|deal| deal["close_value"].parse::<f64>().ok()).sum();
        assert!((sum(&found, "Amount") - total).abs() < 0.01);
        assert!(found.iter().all(|row| !text(row, "Sales_Manager__c").is_empty()));
        let accounts =
            org.query("SELECT Name, Parent.Name, AnnualRevenue FROM Account WHERE Source_System_ID__c != null");
        let parents: BTreeMap<String, String> = rows(&data.join("accounts.csv"))
            .into_iter()
            .map(|account| (account["account"].clone(), account["subsidiary_of"].clone()))
            .collect();
        assert_eq!(accounts.len(), parents.len());
        for account in &accounts {
            let parent = account["Parent"]["Name"].as_str().unwrap_or_default();
            assert_eq!(parents[&text(account, "Name")], parent);
        }
    });
    assert_eq!(
        holds,
        BTreeMap::from([("missing-value".to_owned(), 500)]),
        "deals that nobody has engaged in have no date"
    );
}

#[test]
fn hubspot_style_export() {
    let Some(data) = shared("hubspot-style-export") else { return };
    let holds = journey("hubspot", &data, |org, _| {
        let contacts = rows(&data.join("hubspot_contacts.csv"));
        let found = org.query("SELECT Email, LastName, Account.Name FROM Contact WHERE Source_System_ID__c != null");
        assert_eq!(found.len(), contacts.len());
        let alone = contacts.iter().filter(|contact| contact["Associated Company Domain"].is_empty()).count();
        assert_eq!(found.iter().filter(|row| row["Account"]["Name"] == "Without a company").count(), alone);
        let deals = rows(&data.join("hubspot_deals.csv"));
        let found =
            org.query("SELECT Name, Amount, Account.Website FROM Opportunity WHERE Source_System_ID__c != null");
        let total: f64 = deals.iter().map(|deal| deal["Amount"].parse::<f64>().unwrap()).sum();
        assert!((sum(&found, "Amount") - total).abs() < 0.01);
        assert_eq!(org.count("OpportunityContactRole WHERE Source_System_ID__c != null"), deals.len() as u64);
    });
    assert!(holds.is_empty(), "{holds:?}");
}

#[test]
fn salesforce_npsp_trailhead() {
    let Some(data) = shared("salesforce-npsp-trailhead") else { return };
    let holds = journey("npsp", &data, |org, _| {
        let roles = rows(&data.join("OpportunityContactRole.csv"));
        assert_eq!(org.count("OpportunityContactRole WHERE Source_System_ID__c != null"), roles.len() as u64);
        let campaigns = org.query("SELECT Name, Parent.Name FROM Campaign WHERE Source_System_ID__c != null");
        let source = rows(&data.join("Campaign.csv"));
        let names: BTreeMap<&str, &str> =
            source.iter().map(|row| (row["sf_id"].as_str(), row["Name"].as_str())).collect();
        let pairs = |pairs: Vec<(String, String)>| -> BTreeMap<(String, String), usize> {
            let mut counts = BTreeMap::new();
            for pair in pairs {
                *counts.entry(pair).or_default() += 1;
            }
            counts
        };
        let expected = source.iter().map(|row| {
            (row["Name"].clone(), names.get(row["parent_id"].as_str()).copied().unwrap_or_default().to_owned())
        });
        let found = campaigns
            .iter()
            .map(|row| (text(row, "Name"), row["Parent"]["Name"].as_str().unwrap_or_default().to_owned()));
        assert_eq!(pairs(found.collect()), pairs(expected.collect()));
        let donations = org.query("SELECT Amount, Donation_Kind__c FROM Opportunity WHERE Source_System_ID__c != null");
        let total: f64 =
            rows(&data.join("Opportunity.csv")).iter().filter_map(|row| row["Amount"].parse::<f64>().ok()).sum();
        assert!((sum(&donations, "Amount") - total).abs() < 0.01);
        assert!(donations.iter().all(|row| !text(row, "Donation_Kind__c").is_empty()));
    });
    assert!(holds.is_empty(), "{holds:?}");
}
