//! Proving and forgetting, through the real binary, and against a verifier that shares no code with it.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value as Json;
use waybill_ledger::{
    Content, Position,
    ledger::{Home, Ledger, Ports},
};
use waybill_tests::{Org, Project, generate, root, rows, text};

fn moved() -> (tempfile::TempDir, Org, Project) {
    moved_of(&["--size", "300"])
}

/// Moves a company of this size.
fn moved_of(size: &[&str]) -> (tempfile::TempDir, Org, Project) {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, size);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.ready();
    project.run(&["run"]);
    (dir, org, project)
}

/// A Python with the two packages that the verifier needs, or why there is none.
fn python() -> Result<PathBuf, String> {
    let own = root().join("target/verifier/bin/python3");
    let candidates = [own, PathBuf::from("python3")];
    let able = |python: &PathBuf| {
        let mut command = Command::new(python);
        command.args(["-c", "import blake3, cryptography"]);
        command.output().is_ok_and(|output| output.status.success())
    };
    candidates.into_iter().find(able).ok_or_else(|| "no python3 with the packages blake3 and cryptography".to_owned())
}

fn checked_by_python(python: &Path, proof: &Path) -> Result<Json, String> {
    let output = Command::new(python)
        .arg(root().join("tests/verifier/verify.py"))
        .arg(proof)
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        return serde_json::from_slice(&output.stdout).map_err(|e| e.to_string());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_proof_is_checked_without_a_ledger_and_any_change_of_it_is_refused() {
    let (dir, _org, project) = moved();
    let confirmed = project.events("WriteConfirmed")[3]["position"].to_string();
    let proof = dir.path().join("proof.json");
    let proof_text = proof.to_str().unwrap();
    project.run(&["audit", "prove", &confirmed, "--open", "--out", proof_text]).exits(0);
    let key = fs::read_to_string(project.path().join("ledger/ledger.txt")).unwrap();
    let key = key.lines().find_map(|line| line.strip_prefix("key ")).unwrap().to_owned();

    // Checking needs no project: an empty directory will do.
    let elsewhere = Project::at(&dir.path().join("nothing"));
    let proven = elsewhere.json(&["audit", "verify-proof", proof_text, "--key", &key]);
    assert_eq!(proven["position"].to_string(), confirmed);
    assert_eq!(proven["event"], "WriteConfirmed");
    assert!(text(&proven["content"], "id").len() == 18, "{proven}");
    elsewhere
        .run(&["audit", "verify-proof", proof_text, "--key", "other+00000000+AQ=="])
        .exits(4)
        .says(&["not the key"]);

    let whole = fs::read_to_string(&proof).unwrap();
    let changed = dir.path().join("changed.json");
    let python = python();
    if let Err(why) = &python {
        eprintln!("the verifier in Python was skipped: {why}");
    }
    if let Ok(python) = &python {
        let by_python = checked_by_python(python, &proof).unwrap();
        assert_eq!(by_python["position"], proven["position"]);
        assert_eq!(by_python["root"], proven["root"]);
        assert_eq!(by_python["subject"], proven["subject"]);
        assert_eq!(by_python["blocks"], proven["blocks"]);
        assert!(by_python["plain"].as_str().unwrap().contains(&hex(&text(&proven["content"], "id"))));
    }
    // Every fortieth byte, one after the other: both verifiers refuse what was changed, or find it unchanged in meaning. (Every byte is
    // the affair of a property test beside the code.)
    for at in (0..whole.len()).step_by(40) {
        let mut bytes = whole.clone().into_bytes();
        bytes[at] ^= 1;
        if String::from_utf8(bytes.clone()).is_err() {
            continue;
        }
        fs::write(&changed, &bytes).unwrap();
        let ours = elsewhere.run(&["audit", "verify-proof", changed.to_str().unwrap(), "--json"]);
        let ours = (ours.code == 0).then(|| ours.json());
        assert!(ours.as_ref().is_none_or(|ours| *ours == proven), "a change at byte {at} went unseen");
        if let Ok(python) = &python {
            let theirs = checked_by_python(python, &changed);
            assert_eq!(theirs.is_ok(), ours.is_some(), "the two verifiers differ at byte {at}: {theirs:?}");
        }
    }
    project.run(&["audit", "prove", "99999999"]).exits(2).says(&["no event 99999999", "hint:"]);
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_earlier_head_is_a_beginning_of_the_ledger_or_it_is_refused() {
    let (dir, _org, project) = moved();
    let head = project.json(&["audit", "verify"]);
    let early = dir.path().join("head");
    fs::write(&early, text(&head, "head")).unwrap();
    let early = early.to_str().unwrap();
    project.run(&["reconcile"]).exits(0);
    let later = project.json(&["audit", "verify", "--since", early]);
    assert_eq!(later["since"], head["blocks"]);
    assert!(later["blocks"].as_u64() > head["blocks"].as_u64());

    // Another ledger's head, and a head that was changed after it was signed.
    let (_other_dir, _other_org, other) = moved();
    other.run(&["audit", "verify", "--since", early]).exits(2).says(&["not signed by the key", "hint:"]);
    let changed = fs::read_to_string(early).unwrap().replacen(&format!("\n{}\n", head["blocks"]), "\n1\n", 1);
    fs::write(early, changed).unwrap();
    project.run(&["audit", "verify", "--since", early]).exits(2).says(&["changed after it was signed"]);
}

#[test]
fn a_forgotten_person_is_in_no_byte_and_every_proof_still_holds() {
    let (dir, org, project) = moved();
    let row = &org
        .query("SELECT Id, LastName, Email FROM Contact WHERE Source_System_ID__c != null AND Email != null LIMIT 1")
        [0];
    let (id, email) = (text(row, "Id"), text(row, "Email"));
    let name = format!("Contact/{id}");
    let life = project.run(&["audit", "record", &name]).exits(0);
    assert!(life.out.contains(&email), "before it is forgotten, the ledger can tell: {}", life.out);
    let lines = project.run(&["--json", "audit", "record", &name]).exits(0).out;
    let lines = lines.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let told =
        lines.filter(|line| line["event"] == "RecordMapped").map(|line| line["position"].to_string()).next().unwrap();
    let confirmed = project.events("WriteConfirmed");
    let confirmed = confirmed[0]["position"].to_string();
    let proof = dir.path().join("proof.json");
    project.run(&["audit", "prove", &confirmed, "--out", proof.to_str().unwrap()]).exits(0);
    let copy = dir.path().join("copy");
    copy_dir(&project.path(), &copy);

    let forgotten = project.json(&["erase", &name, "--by", "Data Protection", "--reason", "asked by letter"]);
    let erased = forgotten["erased"].as_array().unwrap().clone();
    assert_eq!(erased.len(), 2, "the source record and the row: {forgotten}");
    assert_eq!(forgotten["still_there"], serde_json::json!([name]));

    // Nobody finds it, nothing tells of it, everything verifies, and old proofs hold.
    project.run(&["audit", "record", &name]).exits(2).says(&["knows no record"]);
    let log = project.run(&["audit", "log", "--json"]).exits(0);
    assert!(!log.out.contains(&email) && !log.out.contains(&id));
    let verified = project.json(&["audit", "verify"]);
    assert!(verified["erased"].as_u64().unwrap() >= 4, "{verified}");
    assert_eq!(verified["forgotten"], forgotten["erased"], "verify says where each was forgotten");
    let at = erased[0][1].to_string();
    project.run(&["audit", "prove", &told, "--open"]).exits(2).says(&[&format!("was forgotten at position {at}")]);
    project.run(&["audit", "prove", &told]).exits(0);
    project.run(&["audit", "verify-proof", proof.to_str().unwrap()]).exits(0);

    // The copy from before, with the keyring of today: as dark as the ledger itself.
    fs::copy(project.path().join("keys/subjects"), copy.join("keys/subjects")).unwrap();
    let old = Project::at(&copy);
    let events = old.run(&["audit", "record", &name]).exits(2);
    assert!(!events.out.contains(&email));
    old.run(&["audit", "verify"]).exits(0);

    // The keyring from before, put back: it is told what it must forget again.
    let before = dir.path().join("before");
    generate(&before, &["--size", "100"]);
    let dark = fs::read(project.path().join("keys/subjects")).unwrap();
    let mut restored = dark.clone();
    for slot in &erased {
        let slot = usize::try_from(slot[0].as_u64().unwrap()).unwrap();
        assert_eq!(dark[slot * 80], 2, "the slot is destroyed");
        assert!(dark[slot * 80 + 1..(slot + 1) * 80].iter().all(|byte| *byte == 0));
        // A live slot of anyone stands for the old one: what counts is that it is destroyed again.
        let live = dark[80..160].to_vec();
        restored[slot * 80..(slot + 1) * 80].copy_from_slice(&live);
    }
    fs::write(project.path().join("keys/subjects"), &restored).unwrap();
    let told = project.run(&["status"]).exits(0);
    assert!(told.err.contains("forgotten again") && told.err.contains(&erased[0][1].to_string()), "{}", told.err);
    assert_eq!(fs::read(project.path().join("keys/subjects")).unwrap(), dark);

    // The rest goes on: a run, a reconciliation and a rollback say what they cannot do.
    let report = project.run(&["reconcile"]).exits(0);
    assert!(report.out.contains("forgotten"), "{}", report.out);
    project.run(&["rollback"]);
    let left = org.query("SELECT Id FROM Contact WHERE Source_System_ID__c != null");
    assert_eq!(left.len(), 1, "only the forgotten row is left: {left:?}");
    assert_eq!(text(&left[0], "Id"), id);
    project.verifies();
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_dir(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

#[test]
fn people_read_while_a_run_writes_and_after_it_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "1000"]);
    let org = Org::start(&["--latency", "150"]);
    let project = Project::new(&org, &export);
    project.ready();
    let mut run = project.command(&["run"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut read = 0;
    // The ledger as it was at one position: the same answer beside the writer as without one.
    let then: [&[&str]; 2] =
        [&["audit", "log", "--json", "--at", "150"], &["audit", "log", "--at", "150", "--event", "NameRegistered"]];
    let mut beside: Option<[String; 2]> = None;
    let contact = "contacts/".to_owned() + &rows(&export.join("contacts.csv"))[0]["id"];
    let questions: [&[&str]; 7] = [
        &["audit", "record", &contact],
        &["audit", "log", "--event", "WriteConfirmed", "--limit", "5"],
        &["status", "--json"],
        &["audit", "log", "--json", "--limit", "20"],
        &["holds", "list", "--json"],
        &["audit", "verify", "--json"],
        &["audit", "prove", "1"],
    ];
    'running: for _ in 0..40 {
        let told = then.map(|question| project.run(question).exits(0).out);
        if run.try_wait().unwrap().is_none() {
            assert!(beside.as_ref().is_none_or(|before| *before == told));
            beside = Some(told);
        }
        for question in questions {
            if run.try_wait().unwrap().is_some() {
                break 'running;
            }
            let done = project.run(question).exits(0);
            let written_meanwhile = run.try_wait().unwrap().is_none();
            read += usize::from(written_meanwhile && !done.out.is_empty());
        }
        if read >= 10 {
            break;
        }
    }
    assert!(read >= 5, "only {read} questions were answered while the run was writing");
    if run.try_wait().unwrap().is_none() {
        project.run(&["run"]).exits(1).says(&["another process is writing the ledger", "hint:"]);
    }
    run.kill().unwrap();
    run.wait().unwrap();
    // The socket and the lock of the killed process are still there, and mean nothing.
    for question in questions {
        project.run(question).exits(0);
    }
    assert_eq!(beside.unwrap(), then.map(|question| project.run(question).exits(0).out));
    project.run(&["run"]);
    project.run(&["reconcile"]).exits(0);
    project.verifies();
}

#[test]
fn step_s13_the_log_answers_by_every_filter_and_the_same_without_its_index() {
    let (_dir, org, project) = moved();
    project.run(&["reconcile"]).exits(0);
    let log = |args: &[&str]| -> Vec<Json> {
        let mut all = vec!["--json", "audit", "log"];
        all.extend(args);
        project.run(&all).exits(0).out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = log(&[]);
    let id = text(&org.query("SELECT Id FROM Contact WHERE Source_System_ID__c != null LIMIT 1")[0], "Id");
    let record = format!("Contact/{id}");
    let life = project.run(&["--json", "audit", "record", &record]).exits(0).out;
    let kinds: Vec<String> =
        life.lines().map(|line| text(&serde_json::from_str::<Json>(line).unwrap(), "event")).collect();
    let expected = ["RecordExtracted", "RecordMapped", "WriteIntended", "WriteConfirmed", "AfterImageTaken"];
    assert!(expected.iter().all(|kind| kinds.iter().any(|own| own == kind)), "{kinds:?}");
    let mut confirmed = life.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let confirmed = confirmed.rfind(|line| line["event"] == "WriteConfirmed").unwrap();

    let answers = || {
        [
            log(&["--run", "2"]),
            log(&["--event", "WriteConfirmed"]),
            log(&["--outcome", "held"]),
            log(&["--actor", "Test Person"]),
            log(&["--record", &record]),
            log(&["--record", &record, "--outcome", "confirmed"]),
            log(&["--after", &text(&confirmed, "time")]),
            log(&["--before", &text(&confirmed, "time")]),
            log(&["--from", "100", "--at", "199"]),
        ]
    };
    let found = answers();
    let only = |wanted: &dyn Fn(&Json) -> bool| all.iter().filter(|line| wanted(line)).cloned().collect::<Vec<_>>();
    assert_eq!(found[0], only(&|line| line["run"] == 2));
    assert_eq!(found[1], only(&|line| line["event"] == "WriteConfirmed"));
    assert_eq!(found[2], only(&|line| line["event"] == "RecordHeld"));
    assert_eq!(found[3], only(&|line| line["actor"] == "Test Person"));
    assert!(!found[4].is_empty() && found[4].iter().all(|line| all.contains(line)));
    assert!(found[5].iter().any(|line| line["position"] == confirmed["position"]));
    assert_eq!(found[6], only(&|line| text(line, "time") >= text(&confirmed, "time")));
    assert_eq!(found[7], only(&|line| text(line, "time") < text(&confirmed, "time")));
    assert_eq!(found[8].len(), 100);
    let sizes: Vec<usize> = found.iter().map(Vec::len).collect();
    assert!(sizes[0] >= 2 && sizes[1] > 10 && sizes[3] >= 1, "{sizes:?}");

    fs::remove_dir_all(project.path().join("ledger/index")).unwrap();
    assert_eq!(answers(), found);
    fs::write(project.path().join("ledger/index/summaries"), [7; 1_000]).unwrap();
    assert_eq!(answers(), found);

    // As of an earlier position the record is not confirmed yet.
    let before = (confirmed["position"].as_u64().unwrap() - 1).to_string();
    let early = project.run(&["--json", "audit", "record", &record, "--at", &before]).exits(0).out;
    assert!(early.contains("WriteIntended") && !early.contains("WriteConfirmed"));
    project.run(&["audit", "log", "--event", "Nonsense"]).exits(2).says(&[
        "no kind of event",
        "WriteConfirmed",
        "hint:",
    ]);
}

#[test]
fn no_dictionary_holds_a_piece_of_a_record() {
    // Of fewer records nothing is learned.
    let (dir, _org, project) = moved_of(&["--size", "300", "--companies", "310", "--contacts", "400"]);
    let home = Home::new(project.path().join("ledger"), project.path().join("keys"));
    let ledger = Ledger::look(&home, Ports::system()).unwrap();
    let dictionaries: Vec<Vec<u8>> = ledger
        .reader()
        .events(Position(0))
        .filter_map(|event| match event.unwrap().1.content() {
            Some(Content::Dictionary { bytes, .. }) => Some(bytes),
            _ => None,
        })
        .collect();
    assert!(dictionaries.len() >= 6, "only {} dictionaries were learned", dictionaries.len());
    let mut looked_for = 0;
    for (file, columns) in
        [("contacts.csv", ["email", "last_name", "phone"]), ("companies.csv", ["name", "domain", "phone"])]
    {
        for row in rows(&dir.path().join("export").join(file)) {
            for value in columns.iter().filter_map(|column| row.get(*column)).filter(|value| value.len() >= 6) {
                looked_for += 1;
                let found = dictionaries
                    .iter()
                    .any(|dictionary| dictionary.windows(value.len()).any(|piece| piece == value.as_bytes()));
                assert!(!found, "a dictionary holds `{value}` of {file}");
            }
        }
    }
    assert!(looked_for > 300, "only {looked_for} values were looked for");
}

#[test]
fn a_snapshot_changes_no_answer_and_a_rollback_goes_on_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "2500"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.ready();
    project.run(&["run"]);
    let snapshot = project.path().join("ledger/snapshots/state");
    assert!(snapshot.exists(), "so many events are worth a snapshot");
    let questions: [&[&str]; 3] =
        [&["status", "--json"], &["holds", "list", "--json"], &["audit", "log", "--json", "--limit", "5"]];
    let ask = || questions.map(|question| project.run(question).exits(0).out);
    let with = ask();
    let from_the_events = || {
        fs::remove_file(&snapshot).unwrap();
        assert_eq!(ask(), with, "the events tell the same");
        fs::read(&snapshot).unwrap()
    };
    let kept = from_the_events();
    assert!(from_the_events() == kept, "two processes lead to the same bytes");
    let email = org.query("SELECT Id FROM Contact WHERE Source_System_ID__c != null LIMIT 1");
    let id = text(&email[0], "Id");
    assert!(!kept.windows(id.len()).any(|piece| piece == id.as_bytes()), "a snapshot holds no content");

    // Whoever is forgotten after the snapshot is as forgotten from it as from the events.
    let copy = dir.path().join("copy");
    copy_dir(&project.path(), &copy);
    let forgetting = Project::at(&copy);
    let name = format!("Contact/{id}");
    forgetting.run(&["erase", &name, "--by", "Data Protection", "--reason", "asked"]).exits(0);
    let ask = || questions.map(|question| forgetting.run(question).exits(0).out);
    let from_snapshot = ask();
    forgetting.run(&["audit", "record", &name]).exits(2).says(&["knows no record"]);
    fs::remove_file(copy.join("ledger/snapshots/state")).unwrap();
    assert_eq!(ask(), from_snapshot);
    project.run(&["rollback"]);
    assert!(org.query("SELECT Id FROM Contact WHERE Source_System_ID__c != null").is_empty());
    project.verifies();
}

#[test]
fn a_project_key_under_a_passphrase_is_needed_to_read_and_not_to_prove() {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("export");
    generate(&export, &["--size", "100"]);
    let org = Org::start(&[]);
    let project = Project::new(&org, &export);
    project.set_config(&format!("{}\n[keys]\npassphrase = {{ env = \"OUR_PASSPHRASE\" }}\n", project.config()));
    let run = |args: &[&str], passphrase: Option<&str>| {
        let mut command = project.command(args);
        command.env_remove("OUR_PASSPHRASE");
        if let Some(passphrase) = passphrase {
            command.env("OUR_PASSPHRASE", passphrase);
        }
        waybill_tests::Done::from(command.output().unwrap())
    };
    let right = Some("correct horse battery staple");
    run(&["discover"], None).exits(2).says(&["OUR_PASSPHRASE is not set", "hint:"]);
    for step in [&["schema", "apply"][..], &["approve", "--by", "Test Person"], &["run"]] {
        run(step, right).exits(0);
    }
    let key = fs::read_to_string(project.path().join("keys/project.key")).unwrap();
    assert!(key.starts_with("waybill key 1\nargon2id "), "{key}");
    run(&["status"], Some("wrong")).exits(2).says(&["the passphrase does not open", "hint:"]);
    run(&["reconcile"], right).exits(0);
    // Without it, everything is proven and nothing is told.
    let verified = run(&["audit", "verify"], None).exits(0);
    assert!(verified.out.contains("sealed"), "{}", verified.out);
    let log = run(&["audit", "log", "--limit", "2000"], None).exits(0);
    let email = org.query("SELECT Email FROM Contact WHERE Email != null LIMIT 1");
    assert!(!log.out.contains(&text(&email[0], "Email")));
    run(&["run"], None).exits(2).says(&["OUR_PASSPHRASE is not set"]);
}
