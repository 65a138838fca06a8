//! What a demanding customer tries before the real thing: on an org that already holds half of it, with kills, lost answers, a
//! used-up quota, locked rows, and people who go on working. A tenth of the size, unless `WAYBILL_SCALE` says how many tenths:
//! with 10 the org holds 2,500 of 5,000 records, people edit 370 rows, and 50,000 tasks stand under 500 accounts.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};
use waybill_tests::{Org, Project, edit, generate, rows, text};

/// Returns a number at the scale that is wanted.
fn scaled(tenth: usize) -> usize {
    static SCALE: std::sync::LazyLock<usize> =
        std::sync::LazyLock::new(|| std::env::var("WAYBILL_SCALE").map_or(1, |scale| scale.parse().unwrap()));
    tenth * *SCALE
}

/// Adds rows to a table of an export; what they do not name is empty.
fn append(export: &Path, table: &str, columns: &[&str], cells: &[Vec<String>]) {
    let path = export.join(format!("{table}.csv"));
    let header: Vec<String> = if path.is_file() {
        csv::Reader::from_path(&path).unwrap().headers().unwrap().iter().map(str::to_owned).collect()
    } else {
        let header: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
        std::fs::write(&path, format!("{}\n", header.join(","))).unwrap();
        header
    };
    let mut text = std::fs::read_to_string(&path).unwrap();
    for row in cells {
        let of = |name: &String| columns.iter().position(|column| column == name).map_or("", |at| row[at].as_str());
        text.push_str(&header.iter().map(of).collect::<Vec<_>>().join(","));
        text.push('\n');
    }
    std::fs::write(&path, text).unwrap();
    let count = rows(&path).len();
    let manifest = export.join("manifest.json");
    let mut about: Json = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    let objects = about["objects"].as_array_mut().unwrap();
    if !objects.iter().any(|object| object["name"] == table) {
        objects.push(json!({ "name": table, "files": [format!("{table}.csv")], "format": "csv" }));
    }
    for object in objects {
        object.as_object_mut().unwrap().remove("sha256");
        if object["name"] == table {
            (object["rows"], object["source_total"]) = (json!(count), json!(count));
        }
    }
    std::fs::write(&manifest, about.to_string()).unwrap();
}

fn create(org: &Org, object: &str, row: &Json) -> String {
    let (status, made) = org.call("POST", &format!("sobjects/{object}"), Some(row));
    assert_eq!(status, 201, "{made}");
    text(&made, "id")
}

/// An org that holds half of the contacts already, in the ways that matter, and a project that takes those over.
fn half_there(size: &str, org: &Org, dir: &Path) -> (Project, BTreeMap<String, String>) {
    let export = dir.join("export");
    generate(&export, &["--size", size, "--plain"]);
    let project = Project::new(org, &export);
    project.edit_plan("to = \"Contact\"\n", "to = \"Contact\"\nmatch = [\"Email\"]\n");
    let mut there = BTreeMap::new();
    let contacts = rows(&export.join("contacts.csv"));
    for (n, row) in contacts.iter().filter(|row| row["email"].contains('@')).enumerate().step_by(2) {
        let mut held = json!({ "LastName": "Before", "Email": row["email"].to_uppercase() });
        match n % 5 {
            0 => {}
            1 => held["Fax"] = json!("+44 1"),
            2 => held["MailingStreet"] = json!("s".repeat(255)),
            3 => held["Description"] = json!("Lange Zeilen – \"quoted\", <b>bold</b>\n".repeat(700)),
            _ => held["Title"] = json!("t".repeat(128)),
        }
        there.insert(row["email"].to_lowercase(), create(org, "Contact", &held));
    }
    project.run(&["schema", "apply"]).exits(0);
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    (project, there)
}

/// Begins a command and kills it without a word, until that has hit a living process so many times.
fn killed(project: &Project, command: &[&str], times: u32) {
    let mut hits = 0;
    let mut wait = Duration::from_millis(60);
    let began = Instant::now();
    while hits < times {
        assert!(began.elapsed() < Duration::from_secs(300), "{command:?} never lives long enough to be killed");
        let mut child = project.command(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(wait);
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            hits += 1;
            wait += Duration::from_millis(70);
        } else {
            // It was done before: sooner, then.
            wait = Duration::from_millis(40);
        }
        child.wait().unwrap();
        project.verifies();
    }
}

/// Every object is as the ledger says, and every row of ours is there once.
fn whole(org: &Org, project: &Project) {
    let report = project.json(&["reconcile"]);
    for object in report["objects"].as_array().unwrap() {
        assert_eq!(object["matched"], object["expected_rows"], "{object}");
        let name = object["object"].as_str().unwrap();
        if let Some(ours) = org.ours(name) {
            assert_eq!(object["expected_rows"], json!(ours), "{name}");
        }
    }
    for object in ["Account", "Contact", "Opportunity", "Task", "Event"] {
        let keys = org.query(&format!("SELECT Source_System_ID__c FROM {object} WHERE Source_System_ID__c != null"));
        let keys: Vec<String> = keys.iter().map(|row| text(row, "Source_System_ID__c")).collect();
        let once: std::collections::BTreeSet<&String> = keys.iter().collect();
        assert_eq!(keys.len(), once.len(), "{object} has a key twice");
    }
}

#[test]
fn onto_an_org_that_holds_half_of_it_and_back_with_twenty_kills() {
    let dir = tempfile::tempdir().unwrap();
    let org = Org::start(&["--latency", "2"]);
    let (project, there) = half_there(&scaled(1_000).to_string(), &org, dir.path());
    assert!(there.len() > scaled(60), "{}", there.len());
    let (before, present) = (org.digest(), org.count("Contact"));
    killed(&project, &["run"], 8);
    project.run(&["run"]).exits(0);
    whole(&org, &project);
    // A day later.
    let titles = std::cell::Cell::new(0);
    edit(&dir.path().join("export"), "contacts", |row| {
        titles.set(titles.get() + 1);
        let fresh = if titles.get() % 5 == 0 { String::new() } else { format!("Title {}", row["id"]) };
        if titles.get() % 2 == 0 { vec![("job_title", fresh)] } else { Vec::new() }
    });
    killed(&project, &["delta"], 5);
    project.run(&["delta"]).exits(0);
    assert!(org.count("Contact WHERE Title LIKE 'Title %'") > scaled(40) as u64);
    whole(&org, &project);
    killed(&project, &["rollback"], 7);
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    assert_eq!(org.count("Contact"), present);
    project.verifies();
}

#[test]
fn what_people_edit_is_kept_by_a_delta_and_only_what_both_changed_waits() {
    let dir = tempfile::tempdir().unwrap();
    let org = Org::start(&[]);
    let (project, there) = half_there(&scaled(1_000).to_string(), &org, dir.path());
    let (theirs, others, both) = (scaled(27) as u64, scaled(10) as u64, scaled(14));
    project.run(&["run"]).exits(0);
    org.act_as("grace.hopper@example.com");
    let edited: Vec<(&String, &String)> = there.iter().take(scaled(37)).collect();
    for (n, (_, id)) in edited.iter().enumerate() {
        let edit = if n < scaled(27) { json!({ "LastName": "Married" }) } else { json!({ "AssistantName": "Jo" }) };
        assert_eq!(org.call("PATCH", &format!("sobjects/Contact/{id}"), Some(&edit)).0, 204);
    }
    org.act_as("integration@sandbox.example.com");
    // The source moves all of them: the same field for the first of them, another one for the rest.
    let moved: BTreeMap<&String, usize> = edited.iter().enumerate().map(|(n, (email, _))| (*email, n)).collect();
    edit(&dir.path().join("export"), "contacts", |row| match moved.get(&row["email"].to_lowercase()) {
        Some(n) if *n < both => vec![("last_name", "Moved".to_owned())],
        Some(_) => vec![("job_title", "Moved".to_owned())],
        None => Vec::new(),
    });
    project.run(&["delta"]).exits(0);
    assert_eq!(org.count("Contact WHERE LastName = 'Married'"), theirs, "no edit of a person is lost");
    assert_eq!(org.count("Contact WHERE AssistantName = 'Jo'"), others);
    assert_eq!(org.count("Contact WHERE LastName = 'Moved'"), 0);
    assert_eq!(org.count("Contact WHERE Title = 'Moved'"), scaled(23) as u64, "what only the source moved is carried");
    let waiting = project.holds();
    assert_eq!(waiting.values().filter(|reason| *reason == "conflict").count(), both, "{waiting:?}");
    let after = org.digest();
    project.run(&["delta"]).exits(0);
    assert_eq!(org.digest(), after, "a second delta changes nothing");
    // Everything that was found is in the report, by name.
    let report = project.json(&["reconcile", "--spot", "3"]);
    assert_eq!(report["spots"].as_array().unwrap().len(), 3);
    let contacts = report["objects"].as_array().unwrap().iter().find(|object| object["object"] == "Contact").unwrap();
    assert_eq!((&contacts["drift"], &contacts["wrong"]), (&json!(theirs), &json!(0)), "{contacts}");
    let lines = rows(Path::new(report["table"].as_str().unwrap()));
    let drift: Vec<_> = lines.iter().filter(|line| line["class"] == "drift").collect();
    assert!(drift.iter().all(|line| line["found"] == "Married" && line["field"] == "LastName"), "{drift:?}");
    assert_eq!(drift.len() as u64, theirs);
    let page = std::fs::read_to_string(report["page"].as_str().unwrap()).unwrap();
    assert!(drift.iter().all(|line| page.contains(&line["id"]) && page.contains(&line["source record"])));
    // What a rollback would meet is told before; a cap stops it before its first write.
    let foreseen = project.json(&["rollback", "--dry-run"]);
    let of = |name: &str| foreseen["objects"].as_array().unwrap().iter().find(|o| o["object"] == name).unwrap().clone();
    assert_eq!(of("Contact")["conflicts"], json!(theirs), "{:#}", foreseen["conflicts"]);
    assert_eq!(of("Account")["conflicts"], json!(0), "{foreseen}");
    project.run(&["rollback", "--at-most", "10"]).exits(3).says(&["at most 10 are allowed", "hint:"]);
    assert_eq!(org.digest(), after, "neither has written anything");
    // And back: what people edited stays, all else is as before.
    project.run(&["rollback"]).exits(3);
    assert_eq!(org.count("Contact WHERE LastName = 'Married'"), theirs);
    assert_eq!(org.count("Contact WHERE AssistantName = 'Jo'"), others);
    assert_eq!(org.count("Contact WHERE LastName = 'Before'"), there.len() as u64 - theirs);
    assert_eq!(org.count("Contact"), there.len() as u64);
    project.verifies();
}

#[test]
fn lost_answers_and_expired_tokens_double_nothing_and_every_unknown_is_settled_by_a_read() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", &scaled(5_000).to_string(), "--plain"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.sign_in_as_client();
    project.ready();
    let before = org.digest();
    org.faults(&json!({ "lose_per_mille": 100, "drop_per_mille": 40, "expire_every": 97 }));
    // A read that is lost is repeated; what stops the command in the end is started again, as a person would.
    let mut tries = 0;
    loop {
        let done = project.run(&["run"]);
        tries += 1;
        if done.code == 0 {
            break;
        }
        assert!(tries < 25, "{}", done.err);
    }
    org.faults(&json!({}));
    let lost = project.events("WriteUnknown").len();
    assert!(lost > 5, "{lost} answers were lost in {tries} tries");
    project.run(&["run"]);
    let undetermined = project.holds().values().filter(|reason| *reason == "undetermined").count();
    let reconciled = project.json(&["reconcile"]);
    for object in reconciled["objects"].as_array().unwrap() {
        assert_eq!(object["matched"], object["expected_rows"], "{object} {:#}", reconciled["findings"]);
        assert_eq!((&object["missing"], &object["extra"]), (&json!(0), &json!(0)), "{object}");
    }
    // Rows without a key are held while the first may still be under way; that is told, and none is there twice.
    let (there, meant) = (org.dump("ContentNote").len(), rows(&export.join("notes.csv")).len());
    assert!(there <= meant && there + undetermined >= meant, "{there} of {meant} notes, {undetermined} undetermined");
    if undetermined == 0 {
        project.run(&["rollback"]).exits(0);
        assert_eq!(org.digest(), before);
    }
    project.verifies();
}

#[test]
fn a_quota_for_part_of_the_work_is_used_up_and_the_next_day_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", &scaled(2_000).to_string(), "--plain"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.ready();
    let before = org.digest();
    // What the whole work takes, on an org of its own.
    let other = Org::start(&[]);
    let twin = Project::new(&other, &export);
    twin.ready();
    let used = |org: &Org| {
        let (_, limits) = org.call("GET", "limits", None);
        limits["DailyApiRequests"]["Max"].as_u64().unwrap() - limits["DailyApiRequests"]["Remaining"].as_u64().unwrap()
    };
    let start = used(&other);
    twin.run(&["run"]).exits(0);
    let whole_work = used(&other) - start;
    org.faults(&json!({ "quota_after": whole_work * 6 / 10 }));
    project.run(&["run"]).exits(3).says(&["quota", "hint:", "goes on; at the earliest at 20"]);
    let paused = project.events("RunPaused");
    assert_eq!(paused.len(), 1, "{paused:?}");
    project.run(&["run"]).exits(3).says(&["quota"]);
    org.faults(&json!({}));
    let run = project.json(&["run"]);
    assert_eq!(run["resumed"], true);
    whole(&org, &project);
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    project.verifies();
}

#[test]
fn a_delta_carries_what_is_new_changed_merged_and_gone_each_once() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", &scaled(1_000).to_string(), "--plain"]);
    let (gone_rows, new, changed) = (scaled(30), scaled(50), scaled(50));
    let at = |hour: usize| format!("2026-01-16T{hour:02}:00:00Z");
    let contact = |n: usize, hour: usize| {
        vec![format!("99{n:04}"), "New".to_owned(), format!("Comer{n}"), format!("new{n}@example.com"), at(hour)]
    };
    let columns = ["id", "first_name", "last_name", "email", "updated_at"];
    // Some that will be deleted again, and one that turns out to be another one; a task stands under that one.
    append(&export, "contacts", &columns, &(0..=gone_rows).map(|n| contact(n, 1)).collect::<Vec<_>>());
    let merged_away = format!("99{gone_rows:04}");
    let task = ["77001", "Call them", &merged_away, &at(1)].map(str::to_owned).to_vec();
    append(&export, "tasks", &["id", "title", "contact_id", "updated_at"], &[task]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.edit_plan("to = \"Contact\"\n", "to = \"Contact\"\ngone = \"delete\"\n");
    project.ready();
    let before = org.digest();
    project.run(&["run"]).exits(0);
    let landed = org.count("Contact");
    // As many new as changed, of which two fifths at the same moment; some gone, one merged.
    append(&export, "contacts", &columns, &(5_000..5_000 + new).map(|n| contact(n, 2)).collect::<Vec<_>>());
    let mut seen = 0;
    edit(&export, "contacts", |row| {
        seen += 1;
        if (10..10 + changed).contains(&seen) {
            let hour = if seen < 10 + scaled(20) { 3 } else { 4 + seen % 10 };
            return vec![("job_title", format!("Changed {}", row["id"])), ("updated_at", at(hour))];
        }
        Vec::new()
    });
    let gone = |n: usize| vec!["contacts".to_owned(), format!("99{n:04}"), at(5)];
    append(&export, "deleted", &["object", "id", "deleted_at"], &(0..gone_rows).map(gone).collect::<Vec<_>>());
    let survivor = rows(&export.join("contacts.csv"))[0]["id"].clone();
    let merge = vec!["contacts".to_owned(), merged_away.clone(), survivor.clone(), at(6)];
    append(&export, "merges", &["object", "merged_id", "surviving_id", "merged_at"], &[merge]);
    let text_of = std::fs::read_to_string(export.join("contacts.csv")).unwrap();
    let kept: Vec<&str> =
        text_of.lines().filter(|line| !(0..=gone_rows).any(|n| line.starts_with(&format!("99{n:04},")))).collect();
    std::fs::write(export.join("contacts.csv"), format!("{}\n", kept.join("\n"))).unwrap();
    append(&export, "contacts", &columns, &[]);
    // So many deletes nobody has approved.
    project
        .run(&["delta"])
        .exits(3)
        .says(&[&format!("this would delete {} rows of Contact", gone_rows + 1), "approve again"]);
    project.run(&["approve", "--by", "Test Person"]).exits(0);
    let delta = project.json(&["delta"]);
    let phase = |name: &str| delta["phases"].as_array().unwrap().iter().find(|p| p["object"] == name).unwrap().clone();
    let contacts = phase("Contact");
    assert_eq!((&contacts["created"], &contacts["updated"]), (&json!(new), &json!(changed)), "{contacts}");
    assert_eq!(contacts["deleted"], json!(gone_rows + 1), "{contacts}");
    assert_eq!(org.count("Contact"), landed + (new - gone_rows - 1) as u64);
    assert_eq!(org.count("Contact WHERE Title LIKE 'Changed %'"), changed as u64);
    assert_eq!(org.count("Contact WHERE LastName LIKE 'Comer%'"), new as u64);
    // The task follows the merge, though nobody has touched it.
    let task = &org.query("SELECT Who.Email FROM Task WHERE Subject = 'Call them'")[0];
    let email = rows(&export.join("contacts.csv"))[0]["email"].clone();
    assert_eq!(text(&task["Who"], "Email").to_lowercase(), email.to_lowercase(), "{task}");
    let merged = delta["sources"].as_array().unwrap().iter().find(|s| s["object"] == "contacts").unwrap();
    assert_eq!((&merged["merged"], &merged["deleted"]), (&json!(1), &json!(gone_rows)), "{merged}");
    let moved = org.digest();
    let again = project.json(&["delta"]);
    assert_eq!(org.digest(), moved, "a second delta changes nothing: {again}");
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    project.verifies();
}

#[test]
fn trap_t05_jobs_under_way_at_once_never_share_a_parent() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    let (companies, contacts) = (scaled(40).to_string(), scaled(4_000).to_string());
    generate(&export, &["--plain", "--size", "100", "--companies", &companies, "--contacts", &contacts]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    let config = project.config().replacen(
        "[destination]\n",
        "[destination]\nbulk_threshold = 100\njob_rows = 400\nat_once = 4\n",
        1,
    );
    project.set_config(&config);
    project.ready();
    // Jobs take their time, so that several are at work together; whoever shares a parent with another meets a lock.
    org.faults(&json!({ "hold_parents": true, "slow": 150 }));
    project.run(&["run"]).exits(0);
    assert!(org.count("Contact") >= scaled(4_000) as u64);
    let refused = project.events("WriteRejected");
    assert!(refused.is_empty(), "no row met a lock: {} did", refused.len());
    // And they were at work together: a second job was opened before any row of the first was confirmed.
    let mut order = project.events("RemoteJobOpened");
    order.append(&mut project.events("WriteConfirmed"));
    order.sort_by_key(|event| event["position"].as_u64());
    let together = order.windows(2).filter(|pair| pair.iter().all(|event| event["event"] == "RemoteJobOpened"));
    assert!(together.count() >= 2, "jobs went one after the other");
    whole(&org, &project);
}

#[test]
fn trap_t05_thousands_of_tasks_under_few_accounts_that_are_locked_now_and_then_all_land() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "300", "--plain", "--companies", &scaled(50).to_string()]);
    let companies: Vec<String> = rows(&export.join("companies.csv")).iter().map(|row| row["id"].clone()).collect();
    let task = |n: usize| {
        let company = companies[n % companies.len()].clone();
        vec![format!("88{n:05}"), format!("Crowded {n}"), company, "2026-01-14T00:00:00Z".to_owned()]
    };
    append(
        &export,
        "tasks",
        &["id", "title", "company_id", "updated_at"],
        &(0..scaled(5_000)).map(task).collect::<Vec<_>>(),
    );
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.ready();
    let before = org.digest();
    org.faults(&json!({ "lock_per_mille": 30 }));
    project.run(&["run"]).exits(0);
    assert_eq!(
        org.count("Task WHERE Subject LIKE 'Crowded %'"),
        scaled(5_000) as u64,
        "none is lost, none is there twice"
    );
    assert!(project.events("WriteRejected").len() > 50, "rows were locked");
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    project.verifies();
}
