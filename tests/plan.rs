//! Proposing a map: what the plan does not carry gets a target with a reason, or is left open by name.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use serde_json::Value as Json;
use waybill_tests::{Org, Project, generate};

/// A project on a generated export, and field rules that are taken out of its plan: the line, and where its source field goes.
fn project() -> (tempfile::TempDir, Org, Project) {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "400"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    (dir, org, project)
}

const TAKEN_OUT: [(&str, &str, &str); 7] = [
    ("Industry = { from = \"industry\", map = \"industry\" }\n", "companies.industry", "Account.Industry"),
    (
        "NumberOfEmployees = { from = \"employee_count\", invalid = \"blank\" }\n",
        "companies.employee_count",
        "Account.NumberOfEmployees",
    ),
    ("MobilePhone = { from = \"mobile_phone\", long = \"cut\" }\n", "contacts.mobile_phone", "Contact.MobilePhone"),
    ("Title = { from = \"job_title\", long = \"cut\" }\n", "contacts.job_title", "Contact.Title"),
    ("Amount = \"amount\"\n", "deals.amount", "Opportunity.Amount"),
    (
        "AccountId = { from = \"company_id\", lookup = \"companies\", missing = \"blank\" }\n",
        "deals.company_id",
        "Opportunity.AccountId",
    ),
    ("LeadSource = \"source\"\n", "deals.source", "Opportunity.LeadSource"),
];

fn proposals(shown: &Json) -> BTreeMap<String, Json> {
    let all = shown["proposals"].as_array().unwrap().iter();
    let field = |one: &Json| format!("{}.{}", one["object"].as_str().unwrap(), one["field"].as_str().unwrap());
    all.map(|one| (field(one), one.clone())).collect()
}

#[test]
fn step_s03_every_source_field_gets_a_target_with_a_reason_or_is_left_open_by_name() {
    let (_dir, org, project) = project();
    let before = org.digest();
    for (line, ..) in TAKEN_OUT {
        project.edit_plan(line, "");
    }
    let plan = project.plan();
    let shown = project.json(&["plan"]);
    assert_eq!(project.plan(), plan, "only `--propose` writes");
    let proposed = proposals(&shown);
    for (_, field, target) in TAKEN_OUT {
        let one = &proposed[field];
        assert_eq!(one["target"], target, "{one}");
        assert!(one["confidence"].as_f64().unwrap() >= 0.5 && !one["reason"].as_str().unwrap().is_empty(), "{one}");
        assert!(one["runners_up"].is_array(), "{one}");
    }
    // Whatever the plan does not carry has a line of its own, with a target or without.
    for field in shown["unmapped"].as_array().unwrap() {
        let field = field.as_str().unwrap();
        assert!(field.ends_with("(the whole object)") || proposed.contains_key(field), "{field} is dropped silently");
    }
    // No two fields of one rule go to the same place.
    let mut targets: Vec<(&Json, &str)> =
        proposed.values().filter_map(|one| Some((&one["rule"], one["target"].as_str()?))).collect();
    let all = targets.len();
    targets.sort_by_key(|(rule, target)| (rule.to_string(), *target));
    targets.dedup();
    assert_eq!(targets.len(), all);

    let written = project.json(&["plan", "--propose"])["written"].clone();
    for rule in ["account.Industry", "contact.Title", "opportunity.Amount", "opportunity.AccountId"] {
        assert!(written["fields"].as_array().unwrap().iter().any(|field| field == rule), "{rule}: {written}");
    }
    let after = project.plan();
    // Line by line, what stood there still stands there, in its order.
    let mut rest = after.lines();
    for line in plan.lines() {
        assert!(rest.any(|other| other == line), "`{line}` is gone or elsewhere");
    }
    for line in [
        "NumberOfEmployees = \"employee_count\"",
        "AccountId = { from = \"company_id\", lookup = \"companies\", missing = \"blank\" }",
    ] {
        assert!(after.contains(&format!("\n{line}\n")), "{line}\n{after}");
    }
    assert!(after.contains("# proposed for contacts.job_title ("), "{after}");
    assert!(after.contains("# left open: contacts."), "{after}");
    // The values that are no options become a map of their own.
    assert!(after.contains("Industry = { from = \"industry\", map = \"account_industry\" }"), "{after}");
    assert!(after.contains("[maps.account_industry.values]\n"), "{after}");

    // A second time nothing is new.
    let again = project.json(&["plan", "--propose"]);
    for kind in ["fields", "maps", "open"] {
        assert!(again["written"][kind].as_array().unwrap().is_empty(), "{again}");
    }
    assert_eq!(project.plan(), after);
    assert_eq!(project.events("PlanProposed").len(), 1);
    // And the plan stands: it can be approved like any other.
    project.ready();
    assert_eq!(org.digest(), before, "a plan writes no record");
    project.verifies();
}
