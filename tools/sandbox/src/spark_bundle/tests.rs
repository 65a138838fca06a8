#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use super::*;

/// Returns every file under `dir` with its bytes.
fn all(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

fn made(spec: &Spec) -> (tempfile::TempDir, Summary) {
    let dir = tempfile::tempdir().unwrap();
    let summary = generate(spec, dir.path()).unwrap();
    (dir, summary)
}

/// Returns the rows of a table, without its header, by column.
fn rows(dir: &Path, file: &str) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(dir.join(file)).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

#[test]
fn the_same_spec_gives_the_same_bytes() {
    let spec = Spec { size: 500, broken: 40, ..Spec::default() };
    let (one, two) = (made(&spec), made(&spec));
    assert_eq!(all(one.0.path()), all(two.0.path()));
    let other = made(&Spec { seed: 2, ..spec });
    assert_ne!(all(one.0.path())["contacts.csv"], all(other.0.path())["contacts.csv"]);
}

#[test]
fn the_size_is_about_what_was_asked_for() {
    for size in [0, 100, 2_000] {
        let (_dir, summary) = made(&Spec { size, ..Spec::default() });
        let records = summary.total()
            - ["users", "pipelines", "stages", "custom_fields", "workflows", "sequences"]
                .iter()
                .map(|name| summary.rows[*name])
                .sum::<u64>();
        assert!(records.abs_diff(size) <= size / 10 + 5, "{records} records for a size of {size}");
    }
    let (_dir, summary) = made(&Spec { size: 0, accounts: Some(30), contacts: Some(70), ..Spec::default() });
    assert_eq!((summary.rows["companies"], summary.rows["contacts"]), (30, 70));
}

#[test]
fn the_manifest_counts_and_weighs_what_is_there() {
    let (dir, summary) = made(&Spec { size: 300, ..Spec::default() });
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.path().join("manifest.json")).unwrap()).unwrap();
    for object in manifest["objects"].as_array().unwrap() {
        let name = object["name"].as_str().unwrap();
        assert_eq!(object["rows"].as_u64().unwrap(), summary.rows.get(name).copied().unwrap_or(0), "{name}");
        let file = object["files"][0].as_str().unwrap();
        assert_eq!(object["sha256"][0], sheet::digest_of(&dir.path().join(file)).unwrap());
        if object["format"] == "csv" {
            assert_eq!(rows(dir.path(), file).len() as u64, object["rows"].as_u64().unwrap(), "{name}");
        }
    }
}

#[test]
fn references_lead_somewhere() {
    for plain in [false, true] {
        let (dir, _) = made(&Spec { size: 1_000, plain, ..Spec::default() });
        let ids =
            |file: &str| -> BTreeSet<String> { rows(dir.path(), file).iter().map(|row| row["id"].clone()).collect() };
        let (companies, contacts, deals, users) =
            (ids("companies.csv"), ids("contacts.csv"), ids("deals.csv"), ids("users.csv"));
        let check = |file: &str, column: &str, among: &BTreeSet<String>| {
            for row in rows(dir.path(), file) {
                assert!(row[column].is_empty() || among.contains(&row[column]), "{file}: {column} {}", row[column]);
            }
        };
        check("contacts.csv", "primary_company_id", &companies);
        check("contacts.csv", "owner_id", &users);
        check("companies.csv", "parent_company_id", &companies);
        check("deals.csv", "company_id", &companies);
        check("deals.csv", "primary_contact_id", &contacts);
        check("deals.csv", "stage_id", &ids("stages.csv"));
        check("deal_contacts.csv", "deal_id", &deals);
        check("deal_contacts.csv", "contact_id", &contacts);
        check("contact_companies.csv", "company_id", &companies);
        check("calls.csv", "contact_id", &contacts);
        let without =
            |file: &str, column: &str| rows(dir.path(), file).iter().filter(|row| row[column].is_empty()).count();
        assert_eq!(plain, without("contacts.csv", "primary_company_id") == 0);
        assert_eq!(plain, without("deals.csv", "company_id") == 0);
    }
}

#[test]
fn parents_form_a_cycle_only_when_asked() {
    for cycle in [false, true] {
        let (dir, _) = made(&Spec { size: 400, cycle, ..Spec::default() });
        let parents: BTreeMap<String, String> = rows(dir.path(), "companies.csv")
            .into_iter()
            .map(|row| (row["id"].clone(), row["parent_company_id"].clone()))
            .collect();
        let loops = parents.keys().any(|start| {
            let mut at = parents[start].clone();
            for _ in 0..parents.len() {
                if at == *start {
                    return true;
                }
                at = parents.get(&at).cloned().unwrap_or_default();
            }
            false
        });
        assert_eq!(loops, cycle);
        assert!(parents.values().any(|parent| !parent.is_empty()));
    }
}

#[test]
fn one_row_in_so_many_is_broken() {
    let (_dir, summary) = made(&Spec { size: 1_000, broken: 25, ..Spec::default() });
    let broken: u64 = summary.broken.values().sum();
    let kept_whole: u64 = ["users", "pipelines", "stages", "custom_fields", "custom_objects", "workflows", "sequences"]
        .iter()
        .map(|name| summary.rows[*name])
        .sum();
    assert_eq!(broken, (summary.total() - kept_whole) / 25);
    assert!(!summary.broken.contains_key("users"));
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("mine.txt"), "mine").unwrap();
    assert!(generate(&Spec::default(), dir.path()).is_err());
    assert_eq!(all(dir.path()).len(), 1);
}

#[test]
fn edits_are_what_the_files_say() {
    let (dir, _) = made(&Spec { size: 800, ..Spec::default() });
    let after = tempfile::tempdir().unwrap();
    let edits = Edits { changed: 40, created: 10, deleted: 7 };
    let changes = mutate(dir.path(), after.path(), 5, &edits).unwrap();
    let sum = |of: &BTreeMap<String, u64>| of.values().sum::<u64>();
    assert_eq!((sum(&changes.changed), sum(&changes.created), sum(&changes.deleted)), (40, 10, 7));

    let (mut changed, mut created, mut gone) = (0, 0, 0);
    for file in ["contacts.csv", "companies.csv", "deals.csv"] {
        let by_id = |dir: &Path| -> BTreeMap<String, BTreeMap<String, String>> {
            rows(dir, file).into_iter().map(|row| (row["id"].clone(), row)).collect()
        };
        let (old, new) = (by_id(dir.path()), by_id(after.path()));
        for (id, row) in &old {
            match new.get(id) {
                None => gone += 1,
                Some(now) if now["is_deleted"] == "true" => gone += 1,
                Some(now) if now != row => {
                    changed += 1;
                    assert!(now["updated_at"].as_str() > "2026-01-15T06:00:00Z", "{}", now["updated_at"]);
                    let fields = now.iter().filter(|(name, value)| row[*name] != **value).count();
                    assert_eq!(fields, 2, "one field and the time");
                }
                Some(_) => {}
            }
        }
        created += new.keys().filter(|id| !old.contains_key(*id)).count();
    }
    assert_eq!((changed, created, gone), (40, 10, 7));
    assert_eq!(rows(after.path(), "deleted.csv").len(), 4, "every other one is listed, the rest is marked");

    let again = tempfile::tempdir().unwrap();
    mutate(dir.path(), again.path(), 5, &edits).unwrap();
    assert_eq!(all(after.path()), all(again.path()));
    let third = tempfile::tempdir().unwrap();
    let changes = mutate(after.path(), third.path(), 6, &edits).unwrap();
    assert_eq!((sum(&changes.changed), sum(&changes.created), sum(&changes.deleted)), (40, 10, 7));
}

#[test]
fn nothing_happens_when_nothing_is_asked() {
    let (dir, _) = made(&Spec { size: 200, plain: true, ..Spec::default() });
    let after = tempfile::tempdir().unwrap();
    assert_eq!(mutate(dir.path(), after.path(), 1, &Edits::default()).unwrap(), Changes::default());
    let (mut old, mut new) = (all(dir.path()), all(after.path()));
    for files in [&mut old, &mut new] {
        files.remove("manifest.json");
        files.remove("deleted.csv");
    }
    assert_eq!(old, new);
}
