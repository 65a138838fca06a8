//! What a person can get wrong: each has a clear error, a next step, its exit code, and a ledger that still verifies.

#![allow(clippy::unwrap_used)]

use std::{fs, path::Path, process::Command, time::Duration};

use waybill_tests::{Done, Org, Project, binary, generate};

fn small() -> (tempfile::TempDir, Org, Project) {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "200"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    (dir, org, project)
}

#[test]
fn a_folder_that_is_no_project() {
    let dir = tempfile::tempdir().unwrap();
    let done: Done = Command::new(binary()).arg("-C").arg(dir.path()).arg("run").output().unwrap().into();
    done.exits(2).says(&["is not a project", "hint:", "waybill init"]);
}

#[test]
fn an_export_that_is_not_there() {
    let (_dir, org, project) = small();
    project.set_bundle(Path::new("/nowhere/export"));
    for command in ["discover", "plan", "run"] {
        let done = project.run(&[command]);
        if command == "run" {
            done.exits(3);
        } else {
            done.exits(2).says(&["/nowhere/export", "hint:"]);
        }
    }
    project.verifies();
    let _ = org;
}

#[test]
fn a_file_that_the_manifest_names_and_that_is_missing() {
    let (dir, _org, project) = small();
    fs::remove_file(dir.path().join("export/contacts.csv")).unwrap();
    project.run(&["discover"]).exits(2).says(&["contacts.csv", "hint:"]);
    project.verifies();
}

#[test]
fn a_file_that_is_not_what_the_manifest_says() {
    let (dir, _org, project) = small();
    // One that the plan reads, which is held against its digest while it is gone through, and one that describes the source.
    for file in ["contacts.csv", "pipelines.csv"] {
        let path = dir.path().join("export").join(file);
        let whole = fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        // A letter of the last row: the file still reads as a table.
        let at = damaged.iter().rposition(u8::is_ascii_alphabetic).unwrap();
        damaged[at] ^= 1;
        fs::write(&path, damaged).unwrap();
        for command in ["discover", "assess", "plan"] {
            project.run(&[command]).exits(2).says(&[file, "SHA-256", "hint:", "original export"]);
        }
        assert!(project.events("ReportWritten").is_empty(), "nothing is taken for what the source holds");
        fs::write(&path, whole).unwrap();
    }
    project.run(&["discover"]).exits(0);
    project.run(&["assess"]).exits(0);
    // What `discover` found to be right is digested again by `assess` once someone has touched it, whatever its times say.
    let path = dir.path().join("export/contacts.csv");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut damaged = fs::read(&path).unwrap();
    let at = damaged.iter().rposition(u8::is_ascii_alphabetic).unwrap();
    damaged[at] ^= 1;
    fs::write(&path, damaged).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    project.run(&["assess"]).exits(2).says(&["contacts.csv", "SHA-256"]);
    project.verifies();
}

#[test]
fn a_profile_that_does_not_exist() {
    let (_dir, _org, project) = small();
    project.set_config(&project.config().replace("[source]\n", "[source]\nprofile = \"none.toml\"\n"));
    project.run(&["discover"]).exits(1).says(&["none.toml", "hint:"]);
    project.set_config(
        &project.config().replace("profile = \"none.toml\"\n", "").replace("system = \"spark\"", "system = \"acme\""),
    );
    project.run(&["discover"]).exits(2).says(&["no profile is shipped for `acme`", "hint:"]);
    project.verifies();
}

#[test]
fn trap_t15_an_export_of_another_shape() {
    let (dir, _org, project) = small();
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("contacts.csv"), "Record ID,First Name,Associated Company IDs\n1,Ada,2\n").unwrap();
    fs::write(other.join("companies.csv"), "Record ID,Company name,Associated Contact IDs\n2,Acme,1\n").unwrap();
    project.set_bundle(&other);
    project.run(&["discover"]).exits(2).says(&["HubSpot", "hint:"]);
    let strange = dir.path().join("strange");
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("planets.csv"), "planet,moons\nmars,2\n").unwrap();
    project.set_bundle(&strange);
    project.run(&["discover"]).exits(2).says(&["planets.csv", "hint:"]);
    project.verifies();
}

#[test]
fn a_plan_that_names_a_field_of_neither_side() {
    let (_dir, org, project) = small();
    let before = org.digest();
    project.edit_plan(
        "Phone = { from = \"phone\", long = \"cut\" }",
        "Phone = { from = \"telephone\", long = \"cut\" }\nShoeSize__c = \"name\"",
    );
    let done = project.run(&["plan"]).exits(3);
    assert!(done.out.contains("has no field `telephone`"), "{}", done.out);
    assert!(done.out.contains("ShoeSize__c"), "{}", done.out);
    project.run(&["approve", "--by", "Test"]).exits(3).says(&["telephone", "ShoeSize__c", "hint:"]);
    assert_eq!(org.digest(), before);
    project.verifies();
}

#[test]
fn a_plan_that_contradicts_itself() {
    let (_dir, _org, project) = small();
    let plan = project.plan();
    project.set_plan(
        &plan.replace("lookup = \"companies\", missing = \"seed\"", "lookup = \"orders\", missing = \"seed\""),
    );
    project.run(&["plan"]).exits(2).says(&["looks up `orders`", "no rule lands records", "hint:"]);
    let twice = format!(
        "{plan}\n[[rule]]\nid = \"again\"\nfrom = \"companies\"\nto = \"Account\"\n[rule.fields]\nName = \"name\"\n"
    );
    project.set_plan(&twice);
    project.run(&["plan"]).exits(2).says(&["`account` and `again` both make every record of companies"]);
    project.set_plan(&plan.replace("Website = ", "WEBSITE = \"name\"\nWebsite = "));
    project.run(&["plan"]).exits(2).says(&["differ only by case"]);
    project.set_plan(&plan.replace("[[rule]]", "[[rul]]"));
    project.run(&["plan"]).exits(2).says(&["rul", "hint:"]);
}

#[test]
fn a_token_that_is_wrong() {
    let (_dir, _org, project) = small();
    fs::write(project.path().join("token"), "00Dxx!wrong-canary-token").unwrap();
    let done =
        project.run(&["plan"]).exits(1).says(&["does not accept our credentials", "INVALID_SESSION_ID", "hint:"]);
    assert!(!done.err.contains("canary"), "a secret never reaches an error");
    project.verifies();
}

#[test]
fn a_server_that_is_not_there() {
    let (_dir, org, project) = small();
    drop(org);
    project.run(&["plan"]).exits(1).says(&["cannot be reached", "127.0.0.1", "hint:"]);
    project.verifies();
}

#[test]
fn a_second_run_while_one_is_running() {
    let (_dir, org, project) = small();
    project.ready();
    org.faults(&serde_json::json!({ "slow": 3000 }));
    project.set_config(&project.config().replace("[destination]\n", "[destination]\nbulk_threshold = 10\n"));
    let mut first = project
        .command(&["run"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(700));
    project.run(&["run"]).exits(1).says(&["another process is writing the ledger", "hint:"]);
    let _ = first.kill();
    first.wait().unwrap();
    project.verifies();
}

#[test]
fn a_disk_that_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "1000"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.ready();
    let before = org.digest();
    let ledger = project.path().join("ledger/store/db");
    let blocks = fs::metadata(&ledger).unwrap().len() / 1024 + 64;
    // A limit on the size of files fails writes as a full disk does; the signal that comes with it is ignored.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" -C \"$1\" run");
    let done: Done =
        Command::new("bash").arg("-c").arg(script).arg(binary()).arg(project.path()).output().unwrap().into();
    done.exits(1).says(&["hint:", "same command again"]);
    project.verifies();
    project.run(&["run"]).exits(0);
    project.run(&["reconcile"]).exits(0);
    project.run(&["rollback"]).exits(0);
    assert_eq!(org.digest(), before);
}

#[test]
fn a_ledger_that_was_changed_is_refused() {
    let (_dir, _org, project) = small();
    project.run(&["discover"]).exits(0);
    let store = project.path().join("ledger/store/db");
    let mut bytes = fs::read(&store).unwrap();
    bytes.iter_mut().skip(5_000).step_by(997).for_each(|byte| *byte ^= 0x40);
    fs::write(&store, bytes).unwrap();
    let done = project.run(&["audit", "verify"]);
    assert!(done.code == 4, "{}\n{}", done.out, done.err);
    done.says(&["is the first that is not as it was written", "db.as-it-was", "hint:"]);
    let done = project.run(&["discover"]);
    assert!(done.code == 4, "{}\n{}", done.out, done.err);
}

#[test]
fn usage_that_makes_no_sense() {
    let (_dir, _org, project) = small();
    project.run(&["fly"]).exits(2);
    project.run(&["approve"]).exits(2);
    project.run(&["rollback", "--run", "1", "--object", "Account"]).exits(2);
    project.run(&["rollback", "--run", "99"]).exits(2).says(&["there is no run 99", "hint:"]);
    project.run(&["audit", "record", "contacts/none"]).exits(2).says(&["knows no record", "hint:"]);
    project.run(&["delta"]).exits(3).says(&["no finished load", "hint:"]);
}
