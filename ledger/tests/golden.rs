//! A ledger that an earlier release wrote stays readable, event by event and content by content.
//!
//! `WAYBILL_GOLDEN=1 cargo test -p waybill-ledger --test golden` makes the golden ledger of a new format; those of released
//! formats are never made again.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use waybill_ledger::{
    BatchId, Content, Decision, Digest, Event, FieldName, Fields, Mapped, NameId, Position, Record, RuleId, RunId,
    SubjectKey, TargetPart, Value, codec,
    event::{KINDS, NameKind},
    ledger::{Depth, Draft, Home, Ledger, Ports, verify},
    proof,
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1.zip")
}

/// What the golden ledger holds: head, number of events, digest of what every event and every content says.
const TOLD: &str = include_str!("golden/v1.txt");

/// A value of which every field is made of this byte.
fn of_byte<T: bincode::Decode<()>>(kind: u8, byte: u8) -> Option<T> {
    (0..400).find_map(|length| codec::decode(&[vec![kind], vec![byte; length]].concat()).ok())
}

/// Every kind of event, twice; names, dictionaries and erasures are made by the ledger itself.
fn events() -> Vec<Event> {
    let own = ["NameRegistered", "DictionaryAdded", "SubjectErased"];
    let kinds = KINDS.iter().zip(0_u8..).filter(|(name, _)| !own.contains(name));
    kinds
        .flat_map(|(name, kind)| {
            let made: Vec<Event> = [0, 1].into_iter().filter_map(|byte| of_byte(kind, byte)).collect();
            assert!(!made.is_empty(), "{name} cannot be made");
            made
        })
        .collect()
}

fn record(n: u64) -> Record {
    let mut fields = Fields::new();
    fields.set("text", Value::Text(format!("Zoë {n} \u{1f600}")));
    fields.set("empty", Value::Text(String::new()));
    fields.set("flag", Value::Bool(n.is_multiple_of(2)));
    fields.set("amount", Value::Number("12345.6700".parse().unwrap()));
    fields.set("day", Value::Date("2024-02-29".parse().unwrap()));
    fields.set("moment", Value::Time("2024-02-29T23:59:59.999999Z".parse().unwrap()));
    fields.set("list", Value::List(vec!["a".into(), "b".into()]));
    Record { id: n.to_string(), fields }
}

fn contents() -> Vec<Content> {
    let mut contents: Vec<Content> =
        (0..11).flat_map(|kind| [0, 1].into_iter().filter_map(move |byte| of_byte(kind, byte))).collect();
    for n in 0..40 {
        contents.push(Content::Record { object: "people".into(), record: record(n) });
        contents.push(Content::Mapped(Mapped {
            object: "Contact".into(),
            key: format!("key {n}"),
            fields: record(n).fields,
            later: Fields::new(),
            decisions: vec![Decision {
                field: FieldName::from("text"),
                rule: RuleId::from("rule"),
                what: "as it is".into(),
            }],
        }));
    }
    contents
}

fn make(home: &Home) {
    let ledger = Ledger::create(home, Ports::system()).unwrap();
    for (kind, text) in [(NameKind::System, "crm:a"), (NameKind::Object, "people"), (NameKind::Actor, "Ada Lovelace")] {
        ledger.name(kind, text).unwrap();
    }
    let samples: Vec<Content> =
        (0..200).map(|n| Content::Record { object: "people".into(), record: record(n) }).collect();
    assert!(ledger.learn(&samples).unwrap());
    let subject = |n: usize| ledger.subject(&SubjectKey::new("crm:a", "people", n.to_string())).unwrap();
    let part = TargetPart { rule: NameId(2), part: 7 };
    for events in events().chunks(9) {
        let draft = |(n, event): (usize, &Event)| {
            let draft = Draft::new(NameId(3), event.clone()).subject(subject(n)).cause(Position(0));
            if n.is_multiple_of(2) { draft.run(RunId(3)).batch(BatchId(900)).target(part) } else { draft }
        };
        ledger.append(events.iter().enumerate().map(draft).collect()).wait().unwrap();
    }
    for contents in contents().chunks(17) {
        let draft = |(n, content): (usize, &Content)| {
            Draft::new(NameId(3), Event::RecordReleased).subject(subject(100 + n)).content(content.clone())
        };
        ledger.append(contents.iter().enumerate().map(draft).collect()).wait().unwrap();
    }
    ledger.forget(vec![Draft::new(NameId(3), Event::SubjectErased { erased: subject(101) })]).unwrap();
    ledger.close().unwrap();
}

/// Kinds of events that came after the golden ledger was made: what it says is not touched by them.
const LATER: [&str; 1] = ["HoldDecided"];

/// Everything that a ledger says, in a few lines.
fn told(home: &Home) -> String {
    let verified = verify(home, Depth::Contents, None).unwrap();
    let ledger = Ledger::open(home, Ports::system()).unwrap();
    let mut all = String::new();
    let mut kinds = vec![false; KINDS.len()];
    for event in ledger.reader().events(Position(0)) {
        let (envelope, opened) = event.unwrap();
        kinds[usize::from(envelope.event.number())] = true;
        all.push_str(&format!("{envelope:?} {opened:?}\n"));
        if envelope.position.0.is_multiple_of(23) {
            let proof = ledger.prove(envelope.position, true).unwrap().unwrap();
            proof::check(&serde_json::to_string(&proof).unwrap()).unwrap();
        }
    }
    let known = KINDS.iter().zip(&kinds).filter(|(name, _)| !LATER.contains(name));
    let missing: Vec<&str> = known.filter(|(_, seen)| !**seen).map(|(name, _)| *name).collect();
    assert!(missing.is_empty(), "no event of the kinds {missing:?}");
    format!(
        "blocks {}\nevents {}\nroot {}\ncontents {}\nerased {}\nsaid {}\n",
        verified.head.blocks,
        verified.head.end,
        verified.head.root,
        verified.contents,
        verified.erased,
        Digest::of(all.as_bytes())
    )
}

fn files(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files(&entry.path(), all);
        } else if entry.file_type().unwrap().is_file() {
            all.push(entry.path());
        }
    }
}

#[test]
fn the_golden_ledger_of_format_1_says_what_it_always_said() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path().join("ledger"), dir.path().join("keys"));
    if std::env::var("WAYBILL_GOLDEN").is_ok() {
        make(&home);
        let mut zip = zip::ZipWriter::new(File::create(golden()).unwrap());
        let mut all = Vec::new();
        files(dir.path(), &mut all);
        all.sort();
        for path in all {
            let name = path.strip_prefix(dir.path()).unwrap().to_str().unwrap();
            let options = zip::write::SimpleFileOptions::default().unix_permissions(0o600);
            zip.start_file(name, options).unwrap();
            zip.write_all(&fs::read(&path).unwrap()).unwrap();
        }
        zip.finish().unwrap();
        fs::write(golden().with_extension("txt"), told(&home)).unwrap();
        eprintln!("made {}", golden().display());
        return;
    }
    let mut zip = zip::ZipArchive::new(File::open(golden()).unwrap()).unwrap();
    for n in 0..zip.len() {
        let mut file = zip.by_index(n).unwrap();
        let path = dir.path().join(file.enclosed_name().unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(told(&home), TOLD);
    // It is not only read: it goes on.
    let ledger = Ledger::open(&home, Ports::system()).unwrap();
    assert_eq!(ledger.names_of(NameKind::Actor), ["Ada Lovelace"]);
    let subject = ledger.find_subject(&SubjectKey::new("crm:a", "people", "100")).unwrap();
    let draft = Draft::new(NameId(3), Event::RecordReleased).subject(subject);
    ledger.append(vec![draft.content(Content::Record { object: "people".into(), record: record(1) })]).wait().unwrap();
    ledger.close().unwrap();
    verify(&home, Depth::Contents, None).unwrap();
}
