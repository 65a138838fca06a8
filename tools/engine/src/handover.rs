//! The closing reports: what arrived, what did not and why, and what has to be built again by hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Value as Json, json};
use waybill_ledger::{
    Content, Digest, Event, Position, Record, SubjectKey, Value,
    event::{NameKind, Side},
    ledger::Opened,
};
use waybill_projector::{
    accounting::SourceAccount,
    mapping::{Plan, Rule, unmapped},
};

use crate::{
    audit::value,
    failure::Failure,
    holds::{self, Held},
    prepare::{Prepared, last_schema},
    report::{Section, sections},
    run::Accounted,
    session::Session,
    world::records_at,
};

/// What is handed over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Handover {
    /// The destination.
    pub destination: Option<String>,
    /// Who approved the plan, and its digest.
    pub approval: Option<(String, String)>,
    /// The runs, in order.
    pub runs: Vec<RunLine>,
    /// What became of the records of each source object.
    pub sources: Vec<Accounted>,
    /// Rows that are ours at the destination, by object.
    pub objects: BTreeMap<String, u64>,
    /// Owners, and who took their records.
    pub owners: Vec<OwnerLine>,
    /// Records that wait for a person.
    pub held: Vec<Held>,
    /// Rows of the export that could not be read, with their file and line.
    pub unreadable: Vec<(String, u64, String)>,
    /// Records that the plan does not carry, by source object and reason.
    pub skipped: BTreeMap<String, u64>,
    /// Records that arrived in another shape than they had, by what the plan says of it.
    pub to_know: BTreeMap<String, u64>,
    /// Source fields and objects that no rule uses.
    pub not_carried: Vec<String>,
    /// The rebuild reference: definitions that are documented and never migrated, by source object.
    pub rebuild: BTreeMap<String, u64>,
    /// The files: how many arrived, wait, or are not carried.
    pub attachments: BTreeMap<String, u64>,
    /// The ledger's signed head.
    pub head: String,
    /// The files that were written, relative to the folder.
    pub files: Vec<PathBuf>,
    /// What could not be written, and why.
    pub notes: Vec<String>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunLine {
    /// Its number.
    pub run: u32,
    /// What it was.
    pub kind: String,
    /// Whether it came to its end.
    pub ended: bool,
}

/// One owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnerLine {
    /// The owner's id in the source.
    pub source: String,
    /// The e-mail.
    pub email: Option<String>,
    /// How the owner was resolved.
    pub how: &'static str,
    /// The destination's id of the user.
    pub user: Option<String>,
}

/// Writes the reports into a folder, and records that they were written.
pub async fn handover(session: &mut Session, dir: &Path) -> Result<Handover, Failure> {
    fs::create_dir_all(dir).map_err(|e| Failure::io("make the directory", dir, &e))?;
    let mut files = Vec::new();
    let mut notes = Vec::new();
    // The setup plan needs the destination; everything else is in the ledger.
    match Prepared::new(session).await {
        Ok(prepared) => {
            let written = crate::schema::export(&prepared, &dir.join("setup"))?;
            files.extend(written.into_iter().map(|path| Path::new("setup").join(path)));
        }
        Err(failure) => {
            notes.push(format!("the setup plan is not here, because the two systems cannot be asked: {failure}"));
        }
    }
    let mut found = gather(session)?;
    let (plan, _) = session.plan()?;
    let mut put = |name: &str, text: String| -> Result<(), Failure> {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|e| Failure::io("make the directory", parent, &e))?;
        }
        fs::write(&path, text).map_err(|e| Failure::io("write", &path, &e))?;
        files.push(PathBuf::from(name));
        Ok(())
    };
    let (list, counts) = attachments(session, &plan)?;
    found.attachments = counts;
    put("attachments.csv", list)?;
    let (list, counts) = to_know(session, &plan)?;
    if !counts.is_empty() {
        put("to-know.csv", list)?;
    }
    found.to_know = counts;
    put("not-carried.csv", not_carried(&found)?)?;
    for (object, records) in rebuild(session, &plan)? {
        found.rebuild.insert(object.clone(), records.len() as u64);
        let text = serde_json::to_string_pretty(&records).map_err(|e| Failure::failed(e.to_string()))?;
        put(&format!("rebuild/{object}.json"), text + "\n")?;
    }
    files.push(PathBuf::from("summary.html"));
    files.push(PathBuf::from("summary.json"));
    (found.files, found.notes) = (files, notes);
    let page = sections("Hand-over", &about(&found), &pages(&found));
    write_report(session, &dir.join("summary.html"), &page).await?;
    let text = serde_json::to_string_pretty(&found).map_err(|e| Failure::failed(e.to_string()))?;
    write_report(session, &dir.join("summary.json"), &text).await?;
    Ok(found)
}

/// Writes a report to a file, and records where and with which digest: whoever is forgotten later may be named in it.
pub async fn write_report(session: &Session, path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|e| Failure::io("write", path, &e))?;
    let recorder = &session.recorder;
    let digest = Digest::of(text.as_bytes());
    let place = path.display().to_string();
    recorder.append(vec![recorder.document(Event::ReportWritten { digest }, "report file", place)]).await?;
    Ok(())
}

fn gather(session: &Session) -> Result<Handover, Failure> {
    let ledger = session.recorder.ledger();
    let state = &session.state;
    let (plan, _) = session.plan()?;
    let mut objects = BTreeMap::new();
    for landed in state.landing().all().filter(waybill_projector::landing::Landed::is_live) {
        *objects.entry(ledger.name_text(landed.object).unwrap_or_default()).or_default() += 1;
    }
    let mut sources = Vec::new();
    for (name, account) in SourceAccount::all(state.intake(), state.landing()) {
        let object = ledger.name_text(name).unwrap_or_default();
        if plan.rules().iter().any(|rule| rule.from == object) {
            sources.push(Accounted { object, account });
        }
    }
    let (mut owners, mut unreadable, mut skipped) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
    let wanted = |envelope: &waybill_ledger::Envelope| {
        matches!(
            envelope.event,
            Event::OwnerResolved { .. } | Event::RecordUnreadable { .. } | Event::RecordSkipped { .. }
        )
    };
    for event in ledger.reader().read(.., wanted) {
        let (envelope, opened) = event?;
        match (&envelope.event, opened) {
            (_, Opened::Content(Content::Owner { source, email, user, how })) => {
                let line = OwnerLine { source: source.clone(), email, how: crate::prepare::how(how), user };
                owners.insert(source, line);
            }
            (_, Opened::Content(Content::Unreadable { file, line, reason })) => {
                unreadable.push((file, line, reason));
            }
            (Event::RecordSkipped { .. }, Opened::Content(Content::Text(why))) => {
                let still = envelope.subject.and_then(|subject| state.intake().seen(subject));
                if let Some(seen) = still.filter(|seen| seen.skipped) {
                    let object = ledger.name_text(seen.object).unwrap_or_default();
                    *skipped.entry(format!("{object}: {why}")).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    unreadable.sort();
    unreadable.dedup();
    let source = last_schema(session, Side::Source)?;
    Ok(Handover {
        destination: state.approval().map(|approval| approval.destination.clone()),
        approval: state.approval().map(|approval| (approval.by.clone(), approval.plan.clone())),
        runs: state
            .runs()
            .iter()
            .map(|run| RunLine {
                run: run.id.0,
                kind: format!("{:?}", run.kind).to_lowercase(),
                ended: run.ended.is_some(),
            })
            .collect(),
        sources,
        objects,
        owners: owners.into_values().collect(),
        held: holds::list(session)?,
        unreadable,
        skipped,
        not_carried: unmapped(&plan, &source),
        to_know: BTreeMap::new(),
        rebuild: BTreeMap::new(),
        attachments: BTreeMap::new(),
        head: ledger.signed_head()?,
        files: Vec::new(),
        notes: Vec::new(),
    })
}

/// Lists the records that became something of which the plan says that a person should know, with what they hold there; and
/// counts them.
fn to_know(session: &Session, plan: &Plan) -> Result<(String, BTreeMap<String, u64>), Failure> {
    let (ledger, state) = (session.recorder.ledger(), &session.state);
    let systems = ledger.names_of(NameKind::System);
    // Where the mappings stand that may tell, with the record and the rule.
    let mut mapped: BTreeMap<Position, (String, &Rule)> = BTreeMap::new();
    for rule in plan.rules().iter().filter(|rule| rule.fields.values().any(|field| field.tell.is_some())) {
        let object = ledger.find_name(NameKind::Object, &rule.from);
        let Some((object, name)) = object.zip(ledger.find_name(NameKind::Rule, rule.id.as_str())) else { continue };
        for found in records_at(ledger, state.intake().positions(object))? {
            let (_, record) = found?;
            let key = |system: &String| ledger.find_subject(&SubjectKey::new(system, &rule.from, &record.id));
            let landed = systems.iter().find_map(key).and_then(|subject| state.landing().of_rule(subject, name));
            if let Some(at) =
                landed.filter(waybill_projector::landing::Landed::is_live).and_then(|landed| landed.mapped)
            {
                mapped.insert(at, (format!("{}/{}", rule.from, record.id), rule));
            }
        }
    }
    let mut csv = csv::Writer::from_writer(Vec::new());
    let failed = |e: csv::Error| Failure::failed(format!("the list of what to know cannot be written: {e}"));
    csv.write_record(["record", "field", "value", "what"]).map_err(failed)?;
    let mut counts = BTreeMap::new();
    let bounds = mapped.keys().next().copied().zip(mapped.keys().next_back().copied());
    let wanted = |envelope: &waybill_ledger::Envelope| mapped.contains_key(&envelope.position);
    let events = bounds.map(|(first, last)| ledger.reader().read(first..=last, wanted));
    for event in events.into_iter().flatten() {
        let (envelope, opened) = event?;
        let Some((record, rule)) = mapped.get(&envelope.position) else { continue };
        let Opened::Content(Content::Mapped(content)) = opened else { continue };
        for (name, field) in &rule.fields {
            let (Some(text), Some(held)) = (&field.tell, content.fields.value(name.as_str())) else { continue };
            let place = format!("{}.{name}", rule.to);
            csv.write_record([record.as_str(), &place, &held.to_string(), text]).map_err(failed)?;
            *counts.entry(format!("{} to {}: {text}", rule.from, rule.to)).or_default() += 1;
        }
    }
    let bytes = csv.into_inner().map_err(|e| Failure::failed(e.to_string()))?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), counts))
}

/// Lists every file of the source: what hangs on what, and where it is now.
fn attachments(session: &Session, plan: &Plan) -> Result<(String, BTreeMap<String, u64>), Failure> {
    let ledger = session.recorder.ledger();
    let mut csv = csv::Writer::from_writer(Vec::new());
    let failed = |e: csv::Error| Failure::failed(format!("the list of files cannot be written: {e}"));
    csv.write_record(["file", "parent", "name", "bytes", "state", "destination", "why"]).map_err(failed)?;
    let waiting: BTreeMap<String, Held> =
        holds::list(session)?.into_iter().map(|held| (held.record.clone(), held)).collect();
    let mut counts = BTreeMap::new();
    let files: BTreeSet<&str> = plan
        .rules()
        .iter()
        .filter(|rule| rule.fields.values().any(|field| field.file))
        .map(|rule| rule.from.as_str())
        .collect();
    for object in files {
        let Some(name) = ledger.find_name(NameKind::Object, object) else { continue };
        let instance = ledger.names_of(NameKind::System);
        for found in records_at(ledger, session.state.intake().positions(name))? {
            let (_, record) = found?;
            let text = |field: &str| record.fields.value(field).map(ToString::to_string).unwrap_or_default();
            let subject =
                instance.iter().find_map(|system| ledger.find_subject(&SubjectKey::new(system, object, &record.id)));
            let landed = subject.and_then(|subject| {
                session.state.landing().of(subject).find(waybill_projector::landing::Landed::is_live)
            });
            let id = landed.and_then(|landed| landed.destination).and_then(|d| session.state.destination_id(d));
            let held = waiting.get(&format!("{object}/{}", record.id));
            let state = match (&id, held) {
                (Some(_), _) => "arrived",
                (None, Some(_)) => "waits",
                (None, None) => "not carried",
            };
            *counts.entry(state.to_owned()).or_default() += 1;
            let parent = format!("{}/{}", text("parent_object"), text("parent_id"));
            let why = held.map(|held| held.why.clone()).unwrap_or_default();
            let id = id.unwrap_or_default();
            csv.write_record([&record.id, &parent, &text("name"), &text("size_bytes"), state, &id, &why])
                .map_err(failed)?;
        }
    }
    let bytes = csv.into_inner().map_err(|e| Failure::failed(e.to_string()))?;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), counts))
}

/// Returns the records of source objects that no rule reads and that the plan does not use: what is only documented.
fn rebuild(session: &Session, plan: &Plan) -> Result<BTreeMap<String, Vec<Json>>, Failure> {
    let ledger = session.recorder.ledger();
    let used = plan.source_objects();
    let mut all = BTreeMap::new();
    for (name, _) in session.state.intake().objects() {
        let object = ledger.name_text(name).unwrap_or_default();
        if used.contains(&object) {
            continue;
        }
        let mut records = Vec::new();
        for found in records_at(ledger, session.state.intake().positions(name))? {
            records.push(shown(&found?.1));
        }
        if !records.is_empty() {
            all.insert(object, records);
        }
    }
    Ok(all)
}

fn shown(record: &Record) -> Json {
    let mut fields = serde_json::Map::new();
    fields.insert("id".to_owned(), json!(record.id));
    for (name, held) in record.fields.iter() {
        let Some(held) = held else { continue };
        fields.insert(name.to_string(), whole(held));
    }
    Json::Object(fields)
}

/// Writes a value as what it is, with its parts.
fn whole(held: &Value) -> Json {
    match held {
        Value::Map(parts) => Json::Object(parts.iter().map(|(name, part)| (name.clone(), whole(part))).collect()),
        Value::List(items) => items.iter().map(whole).collect(),
        Value::Number(number) => number.to_string().parse().map_or_else(|_| value(held), Json::Number),
        other => value(other),
    }
}

fn not_carried(found: &Handover) -> Result<String, Failure> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    let failed = |e: csv::Error| Failure::failed(format!("the list cannot be written: {e}"));
    csv.write_record(["what", "reason", "records", "why"]).map_err(failed)?;
    for held in &found.held {
        csv.write_record([held.record.as_str(), &holds::word(held.reason), "1", &held.why]).map_err(failed)?;
    }
    for (file, line, reason) in &found.unreadable {
        csv.write_record([&format!("{file}:{line}"), "unreadable", "1", reason]).map_err(failed)?;
    }
    for (what, records) in &found.skipped {
        let (object, why) = what.split_once(": ").unwrap_or((what, ""));
        csv.write_record([object, "skipped", &records.to_string(), why]).map_err(failed)?;
    }
    for field in &found.not_carried {
        csv.write_record([field.as_str(), "no-rule", "", "no rule of the plan uses it"]).map_err(failed)?;
    }
    let bytes = csv.into_inner().map_err(|e| Failure::failed(e.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn about(found: &Handover) -> String {
    let destination = found.destination.as_deref().unwrap_or("no destination yet");
    match &found.approval {
        Some((by, plan)) => format!("{destination}. Plan {} approved by {by}.", plan.get(..6).unwrap_or_default()),
        None => format!("{destination}. Nobody has approved a plan."),
    }
}

fn pages(found: &Handover) -> Vec<Section> {
    let section = |title: &str, words: &str, columns: &[&str], rows: Vec<Vec<String>>| Section {
        title: title.to_owned(),
        words: if words.is_empty() { Vec::new() } else { vec![words.to_owned()] },
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        rows,
    };
    let sources = found.sources.iter().map(|source| {
        let a = &source.account;
        let numbers = [a.read, a.landed, a.partly, a.merged, a.deleted, a.held, a.skipped, a.unreadable, a.waiting];
        std::iter::once(source.object.clone()).chain(numbers.map(|n| n.to_string())).collect()
    });
    let pairs = |map: &BTreeMap<String, u64>| -> Vec<Vec<String>> {
        map.iter().map(|(name, count)| vec![name.clone(), count.to_string()]).collect()
    };
    let owners = found.owners.iter().map(|owner| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![owner.source.clone(), text(&owner.email), owner.how.to_owned(), text(&owner.user)]
    });
    let held = found.held.iter().map(|held| vec![held.record.clone(), holds::word(held.reason), held.why.clone()]);
    let unreadable = found.unreadable.iter().map(|(file, line, why)| vec![file.clone(), line.to_string(), why.clone()]);
    let runs = found.runs.iter().map(|run| {
        vec![run.run.to_string(), run.kind.clone(), if run.ended { "ended" } else { "not ended" }.to_owned()]
    });
    let account =
        ["source", "read", "landed", "partly", "merged", "deleted", "held", "skipped", "unreadable", "waiting"];
    vec![
        section(
            "Every record of the source",
            "Each record that was read is in exactly one column.",
            &account,
            sources.collect(),
        ),
        section("Rows at the destination", "", &["object", "rows"], pairs(&found.objects)),
        section("Files", "Each file is in attachments.csv.", &["state", "files"], pairs(&found.attachments)),
        section("Owners", "", &["owner", "e-mail", "how", "user"], owners.collect()),
        section("What waits for a person", "", &["record", "reason", "why"], held.collect()),
        section("What could not be read", "", &["file", "line", "why"], unreadable.collect()),
        section("What the plan's conditions leave out", "", &["object and rule", "records"], pairs(&found.skipped)),
        section(
            "What no rule carries",
            "Fields and objects of the source that the plan does not use.",
            &["field"],
            found.not_carried.iter().map(|field| vec![field.clone()]).collect(),
        ),
        section(
            "To be built again by hand",
            "Definitions are documented in the folder `rebuild`, with their triggers, conditions, actions and timing. Nothing of them is migrated as code.",
            &["object", "definitions"],
            pairs(&found.rebuild),
        ),
        section(
            "What became something else",
            "Records that the plan carries in another shape, as it says; each is in to-know.csv.",
            &["what", "records"],
            pairs(&found.to_know),
        ),
        section("Runs", "", &["run", "kind", ""], runs.collect()),
        Section {
            title: "Proof".to_owned(),
            words: found
                .notes
                .iter()
                .cloned()
                .chain([format!(
                    "Every event behind these figures is in the ledger under this signed head: {}",
                    found.head.trim()
                )])
                .collect(),
            columns: Vec::new(),
            rows: Vec::new(),
        },
    ]
}
