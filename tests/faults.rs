//! Once, also when answers are lost, rows are locked, sessions expire, jobs fail, and processes die.

#![allow(clippy::unwrap_used)]

use std::{process::Stdio, time::Duration};

use serde_json::json;
use waybill_tests::{Org, Project, generate};

fn ready(size: &str, extra: &str) -> (tempfile::TempDir, Org, Project) {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", size]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    if !extra.is_empty() {
        project.set_config(&project.config().replace("[destination]\n", &format!("[destination]\n{extra}\n")));
    }
    project.ready();
    (dir, org, project)
}

/// Insists that the migration is whole, and that it goes back.
fn whole(org: &Org, project: &Project, before: &str) {
    let report = project.json(&["reconcile"]);
    for object in report["objects"].as_array().unwrap() {
        assert_eq!(object["matched"], object["expected_rows"], "{object}");
        let name = object["object"].as_str().unwrap();
        if let Some(ours) = org.ours(name) {
            assert_eq!(object["expected_rows"], json!(ours), "{name}");
        }
    }
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    project.verifies();
}

#[test]
fn trap_t11_a_lost_answer_is_found_out_and_never_doubled() {
    let (_dir, org, project) = ready("500", "");
    let before = org.digest();
    org.faults(&json!({ "lose_answers": 4 }));
    project.run(&["run"]).exits(0);
    assert!(!project.events("WriteUnknown").is_empty());
    whole(&org, &project, &before);
}

#[test]
fn trap_t05_locked_rows_are_sent_again() {
    let (_dir, org, project) = ready("400", "");
    let before = org.digest();
    org.faults(&json!({ "lock_rows": 25, "lock_after": 10 }));
    let run = project.json(&["run"]);
    assert!(run["phases"].as_array().unwrap().iter().all(|phase| phase["rejected"] == 0), "{run}");
    let refused = project.events("WriteRejected");
    assert!(refused.iter().any(|event| event["what"].as_str().unwrap().contains("UNABLE_TO_LOCK_ROW")));
    whole(&org, &project, &before);
}

#[test]
fn a_session_that_expires_midway_is_renewed_and_a_busy_server_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "400"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.sign_in_as_client();
    project.ready();
    org.faults(&json!({ "expire_after": 12, "unavailable": 2 }));
    project.run(&["run"]).exits(0);
    // The token that this test uses has expired with all others: the project's own reconciliation looks for it.
    let report = project.json(&["reconcile"]);
    assert!(
        report["objects"].as_array().unwrap().iter().all(|object| object["matched"] == object["expected_rows"]),
        "{report}"
    );
}

#[test]
fn trap_t01_a_used_up_quota_stops_the_run_and_the_next_one_goes_on() {
    let (_dir, org, project) = ready("500", "");
    let before = org.digest();
    org.faults(&json!({ "quota_after": 26 }));
    project.run(&["run"]).exits(3).says(&["quota", "REQUEST_LIMIT_EXCEEDED", "hint:"]);
    project.verifies();
    org.faults(&json!({}));
    let run = project.json(&["run"]);
    assert_eq!(run["resumed"], true);
    whole(&org, &project, &before);
}

#[test]
fn a_job_that_fails_midway_is_finished_by_another() {
    let (_dir, org, project) = ready("900", "bulk_threshold = 50\njob_rows = 200");
    let before = org.digest();
    org.faults(&json!({ "fail_job_after": 0 }));
    let run = project.json(&["run"]);
    assert!(run["phases"].as_array().unwrap().iter().all(|phase| phase["rejected"] == 0), "{run}");
    whole(&org, &project, &before);
}

#[test]
fn a_killed_run_goes_on_where_it_was_and_nothing_is_there_twice() {
    let (_dir, org, project) = ready("900", "");
    let before = org.digest();
    for round in 0..6u64 {
        let mut child = project.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(90 + 130 * round));
        // SIGKILL: no chance to say goodbye.
        let _ = child.kill();
        child.wait().unwrap();
        project.verifies();
    }
    project.run(&["run"]).exits(0);
    whole(&org, &project, &before);
}

#[test]
fn a_killed_bulk_run_takes_its_job_up_again() {
    let (_dir, org, project) = ready("900", "bulk_threshold = 50\njob_rows = 150");
    let before = org.digest();
    org.faults(&json!({ "slow": 250 }));
    for _ in 0..3 {
        let mut child = project.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(600));
        let _ = child.kill();
        child.wait().unwrap();
        project.verifies();
    }
    org.faults(&json!({}));
    project.run(&["run"]).exits(0);
    whole(&org, &project, &before);
}

#[test]
fn a_rollback_that_is_killed_goes_on() {
    let (_dir, org, project) = ready("700", "");
    let before = org.digest();
    project.run(&["run"]).exits(0);
    for round in 0..3u64 {
        let mut child = project.command(&["rollback"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(60 + 80 * round));
        let _ = child.kill();
        child.wait().unwrap();
    }
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
    project.verifies();
}

#[test]
fn ctrl_c_stops_after_the_batch_and_the_same_command_goes_on() {
    let (_dir, org, project) = ready("1500", "");
    let before = org.digest();
    for round in 0..4u64 {
        let child = project.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(150 + 100 * round));
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let done = waybill_tests::Done::from(child.wait_with_output().unwrap());
        if done.code == 3 {
            done.says(&["stopped as asked", "goes on where it stopped"]);
        }
        project.verifies();
    }
    project.run(&["run"]).exits(0);
    whole(&org, &project, &before);
}

#[test]
fn no_value_of_a_record_reaches_the_log_the_errors_or_the_ledgers_files() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "300", "--plain"]);
    let contacts = export.join("contacts.csv");
    let text = std::fs::read_to_string(&contacts).unwrap();
    let row = text.lines().nth(1).unwrap();
    let name = row.split(',').nth(2).unwrap().to_owned();
    std::fs::write(&contacts, text.replace(&format!(",{name},"), ",Canaryname,")).unwrap();
    let manifest = export.join("manifest.json");
    let mut about: serde_json::Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    about["objects"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .for_each(|object| drop(object.as_object_mut().unwrap().remove("sha256")));
    std::fs::write(&manifest, about.to_string()).unwrap();
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.ready();
    org.faults(&json!({ "lose_answers": 2, "lock_rows": 3, "lock_after": 5 }));
    let done: waybill_tests::Done = project.command(&["run"]).env("WAYBILL_LOG", "trace").output().unwrap().into();
    let done = done.exits(0);
    assert!(org.count("Contact WHERE LastName = 'Canaryname'") > 0, "the canary landed");
    for (what, text) in [("log", &done.err), ("output", &done.out)] {
        assert!(!text.contains("Canaryname"), "the {what} tells a record's value");
        assert!(!text.contains(&org.token), "the {what} tells a secret");
    }
    let mut open = vec![project.path().join("ledger"), project.path().join("keys")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(10).any(|window| window == b"Canaryname"), "{}", path.display());
            }
        }
    }
}
