//! Step s02 and trap t13: what is wrong with the data of an export is found, counted and named, before anything is written.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value as Json;
use waybill_tests::{Done, Org, Project, binary, generate, rows};

type Row = BTreeMap<String, String>;

/// A project over an export, with no destination that answers.
fn alone(dir: &Path, export: &Path) -> Project {
    let at = dir.join("project");
    let done: Done = Command::new(binary())
        .args(["init", "--from", "spark", "--to", "salesforce", "--url", "http://127.0.0.1:9", "--bundle"])
        .arg(export)
        .arg(&at)
        .output()
        .unwrap()
        .into();
    done.exits(0);
    Project::at(&at)
}

fn findings<'a>(found: &'a Json, kind: &str, object: &str, field: Option<&str>) -> Vec<&'a Json> {
    let all = found["findings"].as_array().unwrap().iter();
    all.filter(|finding| {
        finding["kind"] == kind && finding["object"] == object && field.is_none_or(|field| finding["field"] == field)
    })
    .collect()
}

/// The records that the only finding of this kind names, each once.
#[track_caller]
fn named(found: &Json, kind: &str, object: &str, field: &str) -> BTreeSet<String> {
    let one = findings(found, kind, object, Some(field));
    assert!(one.len() < 2, "{one:?}");
    let Some(one) = one.first() else { return BTreeSet::new() };
    let names: Vec<&str> = one["records"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|g| g.as_array().unwrap())
        .map(|id| id.as_str().unwrap())
        .collect();
    let set: BTreeSet<String> = names.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(set.len(), names.len(), "each record is named once");
    assert_eq!(one["count"].as_u64().unwrap(), set.len() as u64);
    assert!(!one["plan"].as_str().unwrap().is_empty());
    set
}

fn plan_of(found: &Json, kind: &str, object: &str, field: Option<&str>) -> String {
    findings(found, kind, object, field)[0]["plan"].as_str().unwrap().to_owned()
}

fn ids(rows: &[Row], wanted: impl Fn(&Row) -> bool) -> BTreeSet<String> {
    rows.iter().filter(|row| row["is_deleted"] != "true" && wanted(row)).map(|row| row["id"].clone()).collect()
}

fn made(dir: &Path, args: &[&str]) -> (PathBuf, Vec<Json>) {
    let (export, truth) = (dir.join("export"), dir.join("truth.json"));
    let mut all = vec!["--truth", truth.to_str().unwrap()];
    all.extend(args);
    generate(&export, &all);
    (export, serde_json::from_str(&fs::read_to_string(&truth).unwrap()).unwrap())
}

fn planted(truth: &[Json], kind: &str, object: &str, field: &str) -> BTreeSet<String> {
    truth
        .iter()
        .filter(|one| one["kind"] == kind && one["object"] == object && one["field"] == field)
        .map(|one| one["records"][0].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn step_s02_what_was_planted_is_found_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (export, truth) =
        made(dir.path(), &["--plain", "--size", "3000", "--duplicates", "40", "--orphans", "11", "--bad-dates", "13"]);
    let project = alone(dir.path(), &export);
    let found = project.json(&["assess"]);

    // References: by what the files say, and by what was planted.
    let contacts = rows(&export.join("contacts.csv"));
    let companies: BTreeSet<String> = ids(&rows(&export.join("companies.csv")), |_| true);
    let lost =
        ids(&contacts, |row| !row["primary_company_id"].is_empty() && !companies.contains(&row["primary_company_id"]));
    assert_eq!(lost, planted(&truth, "orphan", "contacts", "primary_company_id"));
    assert_eq!(named(&found, "orphaned-reference", "contacts", "primary_company_id"), lost);
    assert_eq!(
        named(&found, "orphaned-reference", "deals", "company_id"),
        planted(&truth, "orphan", "deals", "company_id")
    );
    assert_eq!(lost.len(), 11);
    assert_eq!(
        plan_of(&found, "orphaned-reference", "contacts", Some("primary_company_id")),
        "Contact.AccountId: linked to the constant Account Unassigned"
    );
    assert_eq!(plan_of(&found, "orphaned-reference", "deals", Some("company_id")), "Opportunity.AccountId: left empty");

    // Days that cannot be.
    let mut days = 0;
    for (kind, field) in [
        ("date-unreadable", "created_at"),
        ("birth-in-future", "cf_birthday"),
        ("date-far-off", "last_activity_at"),
        ("date-order", "created_at and updated_at"),
    ] {
        let wanted = planted(&truth, kind, "contacts", field);
        assert!(!wanted.is_empty(), "{kind}");
        days += wanted.len();
        assert_eq!(named(&found, kind, "contacts", field), wanted, "{kind}");
    }
    assert_eq!(days, 13);
    assert_eq!(
        named(&found, "date-order", "meetings", "starts_at and ends_at"),
        planted(&truth, "date-order", "meetings", "starts_at and ends_at")
    );

    // Duplicates: all that were planted, and no others.
    for (kind, object) in [("duplicate-people", "contacts"), ("duplicate-companies", "companies")] {
        let pair = |ids: &Json| -> BTreeSet<String> {
            ids.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
        };
        let wanted: BTreeSet<BTreeSet<String>> = truth
            .iter()
            .filter(|one| one["kind"] == "duplicate" && one["object"] == object)
            .map(|one| pair(&one["records"]))
            .collect();
        let one = findings(&found, kind, object, None);
        let called: BTreeSet<BTreeSet<String>> = one[0]["records"].as_array().unwrap().iter().map(pair).collect();
        assert_eq!(wanted.len(), 40);
        assert_eq!(called.difference(&wanted).collect::<Vec<_>>(), Vec::<&BTreeSet<String>>::new(), "{object}");
        assert_eq!(wanted.difference(&called).collect::<Vec<_>>(), Vec::<&BTreeSet<String>>::new(), "{object}");
        assert!(one[0]["plan"].as_str().unwrap().contains("each lands as a record of its own"));
    }

    // A tidy export has nothing else that a person must look at.
    let expected = ["orphaned-reference", "date-", "birth-", "duplicate-", "value-unreadable"];
    for finding in found["findings"].as_array().unwrap() {
        let kind = finding["kind"].as_str().unwrap();
        assert!(expected.iter().any(|prefix| kind.starts_with(prefix)), "{finding}");
    }
    // It is written down without a record's name, and the ledger holds.
    assert_eq!(project.events("ReportWritten").len(), 1);
    project.verifies();
}

#[test]
fn step_s02_what_a_messy_export_lacks_is_counted_from_its_own_files() {
    let dir = tempfile::tempdir().unwrap();
    let (export, _) = made(dir.path(), &["--size", "2500", "--seed", "5", "--broken", "300"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    let unseen = project.run(&["--json", "assess"]).exits(0);
    assert!(unseen.err.contains("not described yet"), "{}", unseen.err);
    project.run(&["plan"]).exits(0);
    let before = org.digest();
    let found = project.json(&["assess"]);
    assert_eq!(org.digest(), before, "nothing is written");
    assert_eq!(found["skipped"].as_array().unwrap().len(), 0, "{}", found["skipped"]);

    // The reader's own account says which rows are records; the broken ones are left out of both counts.
    let read = |file: &str| -> Vec<Row> {
        let text = fs::read(export.join(file)).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let sound = |record: &csv::StringRecord| {
            record.len() == header.len()
                && !record.iter().any(|cell| cell.contains(['\0', '\u{fffd}']))
                && !record[0].is_empty()
        };
        reader
            .records()
            .filter_map(Result::ok)
            .filter(sound)
            .map(|record| header.iter().cloned().zip(record.iter().map(str::to_owned)).collect())
            .collect()
    };
    // An unclosed quote swallows rows for a reader that does not know it; only files without one are compared.
    let whole = |file: &str| {
        let text = fs::read(export.join(file)).unwrap();
        String::from_utf8_lossy(&text).matches('"').count().is_multiple_of(2)
    };
    let mut compared = 0;
    for (file, object, field, kind) in [
        ("contacts.csv", "contacts", "primary_company_id", "without-company"),
        ("contacts.csv", "contacts", "email", "email-invalid"),
        ("deals.csv", "deals", "close_date", "missing-required"),
        ("companies.csv", "companies", "employee_count", "value-unreadable"),
    ] {
        if !whole(file) {
            continue;
        }
        compared += 1;
        let all = read(file);
        let (wanted, at) = match kind {
            "without-company" => (ids(&all, |row| row[field].is_empty()), field),
            "email-invalid" => (ids(&all, |row| row[field] == "not an address"), field),
            "value-unreadable" => (ids(&all, |row| row[field] == "50-100"), field),
            _ => (ids(&all, |row| row[field].is_empty() && row["closed_at"].is_empty()), "close_date and closed_at"),
        };
        assert!(!wanted.is_empty(), "{kind}");
        let called = named(&found, kind, object, at);
        assert_eq!(called, wanted, "{kind}");
    }
    assert!(compared >= 2, "{compared}");
    assert_eq!(
        plan_of(&found, "without-company", "contacts", None),
        "Contact.AccountId: linked to the constant Account Unassigned"
    );
    let plan = "Contact.Email: left empty; Contact.LastName: carried as it stands";
    assert_eq!(plan_of(&found, "email-invalid", "contacts", None), plan);
    assert_eq!(plan_of(&found, "missing-required", "deals", None), "held: missing-value");
    assert_eq!(plan_of(&found, "value-unreadable", "companies", None), "Account.NumberOfEmployees: left empty");

    // Every broken row, as the inventory counts them.
    let inventory = project.json(&["discover"]);
    let objects = inventory["objects"].as_array().unwrap();
    let unreadable: u64 = objects.iter().map(|object| object["unreadable"].as_u64().unwrap()).sum();
    let all = found["findings"].as_array().unwrap().iter().filter(|finding| finding["kind"] == "unreadable-row");
    assert_eq!(all.map(|finding| finding["count"].as_u64().unwrap()).sum::<u64>(), unreadable);

    // Completeness and grade agree with the inventory.
    for full in found["completeness"].as_array().unwrap() {
        let object = objects.iter().find(|object| object["object"] == full["object"]).unwrap();
        assert_eq!(full["records"], object["records"]);
        for facts in object["facts"].as_array().unwrap() {
            let own = full["by_field"].as_array().unwrap().iter().find(|own| own["field"] == facts["name"]).unwrap();
            assert_eq!(own["filled"], facts["filled"], "{}.{}", full["object"], facts["name"]);
        }
    }
    let grade = &found["grade"];
    let fit = |object: &str| {
        let all = grade["objects"].as_array().unwrap().iter();
        all.filter(|own| own["object"] == object).map(|own| own["fit"].as_str().unwrap().to_owned()).next().unwrap()
    };
    assert_eq!(
        (fit("contacts").as_str(), fit("notes").as_str(), fit("stages").as_str()),
        ("lossy", "lossy", "reference")
    );
    assert!(grade["expected_seconds"].as_u64().unwrap() > 0 && !grade["constraints"].as_array().unwrap().is_empty());

    // For people.
    let told = project.run(&["assess"]).exits(0);
    for word in ["without-company", "Unassigned", "compatibility", "complexity", "expected"] {
        assert!(told.out.contains(word), "{word}: {}", told.out);
    }
}

#[test]
fn trap_t13_spellings_of_one_choice_are_reported_with_what_becomes_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let (export, _) = made(dir.path(), &["--size", "1500"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.run(&["plan"]).exits(0);
    let found = project.json(&["assess"]);
    let meant = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let mut groups = 0;
    for (file, object, field) in [
        ("contacts.csv", "contacts", "status"),
        ("companies.csv", "companies", "industry"),
        ("deal_contacts.csv", "deal_contacts", "role"),
        ("stages.csv", "stages", "name"),
        ("tasks.csv", "tasks", "priority"),
    ] {
        let mut by_meaning: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for row in rows(&export.join(file)).iter().filter(|row| !row[field].is_empty()) {
            *by_meaning.entry(meant(&row[field])).or_default().entry(row[field].clone()).or_default() += 1;
        }
        by_meaning.retain(|_, spellings| spellings.len() > 1);
        let called = findings(&found, "value-variants", object, Some(field));
        assert_eq!(called.len(), by_meaning.len(), "{object}.{field}: {called:?}");
        for spellings in by_meaning.values() {
            groups += 1;
            let most = spellings.values().max().unwrap();
            let others = spellings.values().sum::<u64>() - most;
            let one = called
                .iter()
                .find(|one| {
                    spellings
                        .iter()
                        .all(|(text, count)| one["what"].as_str().unwrap().contains(&format!("`{text}` ({count})")))
                })
                .unwrap_or_else(|| panic!("{spellings:?} in {called:?}"));
            assert_eq!(one["count"].as_u64(), Some(others));
        }
    }
    assert!(groups >= 8, "{groups}");
    let plan = |object: &str, field: &str| plan_of(&found, "value-variants", object, Some(field));
    assert!(plan("companies", "industry").starts_with("Account.Industry: mapped by the value map industry: `"));
    assert_eq!(plan("stages", "name"), "one option of Opportunity.StageName");
    assert_eq!(plan("contacts", "status"), "not carried: no rule uses the field");
}

#[test]
fn step_s02_a_circle_of_parents_blocks_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (export, _) = made(dir.path(), &["--size", "400", "--cycle"]);
    let project = alone(dir.path(), &export);
    let done = project.run(&["--json", "assess"]).exits(3);
    let found = done.json();
    let circle = findings(&found, "cycle", "companies", Some("parent_company_id"));
    assert_eq!(circle[0]["severity"], "blocks");
    assert_eq!(circle[0]["records"], serde_json::json!([["3000001", "3000008", "3000015"]]));
    assert!(circle[0]["plan"].as_str().unwrap().contains("nothing is written before"));
    assert_eq!(found["findings"][0]["kind"], "cycle", "the worst comes first");
}

#[test]
fn step_s02_files_rows_and_references_of_a_hand_made_export() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    fs::create_dir_all(export.join("files/f1")).unwrap();
    let put = |name: &str, text: &str| fs::write(export.join(name), text).unwrap();
    put(
        "manifest.json",
        r#"{"bundle_format":"waybill-bundle/1","product":"spark-crm","exported_at":"2026-01-15T06:00:00Z","account":{"id":"a","time_zone":"UTC"}}"#,
    );
    put("users.csv", "id,email,first_name,last_name,is_active\n1,ada@example.com,Ada,Byron,true\n");
    put(
        "companies.csv",
        "id,name,domain,parent_company_id,owner_id\nc1,One,one.example,c1,1\nc2,Two,two.example,c3,1\nc3,Three,three.example,,9\nc3,Three again,,,1\n",
    );
    put("contacts.csv", "id,first_name,last_name,primary_company_id\np1,Ada,King,c9\np2,Bob,Li,c4\np3,Eve,Wu,\n");
    put("deleted.csv", "object,id,deleted_at\ncompany,c4,2025-01-01T00:00:00Z\n");
    put(
        "notes.csv",
        "id,title,parent_object,parent_id\nn1,a,contact,p1\nn2,b,contact,p9\nn3,c,planet,p1\nn4,d,company,c2\n",
    );
    put(
        "files.csv",
        "file_id,parent_object,parent_id,name,path,size_bytes\nf1,contact,p1,a.txt,files/f1/a.txt,2097153\nf2,contact,p1,b.txt,files/f2/b.txt,5\n",
    );
    put("files/f1/a.txt", "hello");
    let project = alone(dir.path(), &export);
    let config = project.config();
    project.set_config(&format!("{config}\n[assess]\nfile_limit_mb = 2\nrecords_per_second = 2\n"));
    let found = project.run(&["--json", "assess"]).exits(3).json();
    let only = |id: &str| BTreeSet::from([id.to_owned()]);
    for (kind, object, field, id) in [
        ("self-parent", "companies", "parent_company_id", "c1"),
        ("orphaned-reference", "companies", "owner_id", "c3"),
        ("orphaned-reference", "contacts", "primary_company_id", "p1"),
        ("reference-to-deleted", "contacts", "primary_company_id", "p2"),
        ("without-company", "contacts", "primary_company_id", "p3"),
        ("orphaned-reference", "notes", "parent_id", "n2"),
        ("unknown-object", "notes", "parent_id", "n3"),
        ("file-too-large", "files", "size_bytes", "f1"),
        ("file-missing", "files", "path", "f2"),
    ] {
        assert_eq!(named(&found, kind, object, field), only(id), "{kind}");
    }
    assert_eq!(findings(&found, "repeated-id", "companies", None)[0]["count"], 1);
    assert_eq!(found["grade"]["to_carry"], 19);
    assert_eq!(found["grade"]["expected_seconds"], 10);
    // Without a plan the same is found, and it is said that nobody knows what becomes of it.
    fs::remove_file(project.path().join("plan.toml")).unwrap();
    let done = project.run(&["--json", "assess"]).exits(0);
    assert!(done.err.contains("no plan.toml"), "{}", done.err);
    assert_eq!(named(&done.json(), "orphaned-reference", "contacts", "primary_company_id"), only("p1"));
}
