//! Holds the destination, read back, against what the ledger says it should hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::{Path, PathBuf},
};

use futures::StreamExt;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use waybill_connectors::{Destination, RemoteRecord, Scan, Selection};
use waybill_ledger::{
    Content, Digest, Event, Field, FieldName, Fields, Mapped, ObjectName, Position, SubjectKey,
    event::{MismatchClass, NameKind, ReconcileCounts, RunKind, RunOutcome},
    ledger::{Draft, Opened},
    names_of,
};
use waybill_projector::{key_prefix, landing::Landed, reconcile::compare};

use crate::{
    failure::Failure,
    flaws::Flaws,
    load::live_of,
    recorder::Recorder,
    session::{Reached, Session},
    state::State,
    write::{Desk, VERSION},
};

/// How many rows are read back at once.
const ROWS: usize = 400;
/// How many findings are listed by name at the terminal and on the page; the table of the report has all of them.
const LISTED: usize = 50;
/// How many findings the page shows.
const SHOWN: usize = 1_000;

/// What a reconciliation found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The run.
    pub run: u32,
    /// By object.
    pub objects: Vec<Reconciled>,
    /// The gravest findings; all stand in the ledger and in the report's table.
    pub findings: Vec<Line>,
    /// Every finding, as a CSV file.
    pub table: PathBuf,
    /// The report as a page.
    pub page: PathBuf,
    /// Rows picked at random, field by field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spots: Vec<Spot>,
    /// Records of the source that wait for a person.
    pub held: u64,
    /// The part of records that are wrong, missing or extra, in millionths.
    pub off: u64,
}

/// What was found in one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// The object.
    pub object: String,
    /// Rows that should be there.
    pub expected_rows: u64,
    /// Rows among them whose subject was forgotten: nobody can compare them.
    pub forgotten: u64,
    /// The counts.
    #[serde(flatten)]
    pub counts: ReconcileCounts,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The destination object.
    pub object: String,
    /// The destination id.
    pub id: String,
    /// The source record, if it is known.
    pub source: Option<String>,
    /// What was meant, where it is a field that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meant: Option<String>,
    /// What is there instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// The field; none for a whole record.
    pub field: Option<String>,
    /// Of which class.
    pub class: MismatchClass,
}

/// A row that was picked at random, as it should be and as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// The destination object.
    pub object: String,
    /// The destination id.
    pub id: String,
    /// The source record.
    pub source: String,
    /// Each mapped field: its name, what was meant, what is there.
    pub fields: Vec<(String, Option<String>, Option<String>)>,
}

/// Where findings go as they are found: each into the table at once, the gravest kept for the page.
struct Findings {
    table: csv::Writer<File>,
    path: PathBuf,
    kept: Vec<Line>,
    /// How many rows are to be shown, and those picked so far, with the number of each draw.
    spots: usize,
    picked: BTreeMap<u64, Spot>,
}

impl Findings {
    fn new(dir: &Path, run: u32, spots: usize) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir).map_err(|e| Failure::io("make", dir, &e))?;
        let path = dir.join(format!("reconcile-{run}.csv"));
        let file = File::create(&path).map_err(|e| Failure::io("write", &path, &e))?;
        let mut table = csv::Writer::from_writer(file);
        let head = ["class", "object", "id", "source record", "field", "meant", "found"];
        table.write_record(head).map_err(|e| Failure::failed(format!("{} cannot be written: {e}", path.display())))?;
        Ok(Self { table, path, kept: Vec::new(), spots, picked: BTreeMap::new() })
    }

    fn add(&mut self, lines: Vec<Line>) -> Result<(), Failure> {
        for line in lines {
            let class = class_word(line.class);
            let optional = |text: &Option<String>| text.clone().unwrap_or_default();
            let cells = [
                class,
                line.object.clone(),
                line.id.clone(),
                optional(&line.source),
                optional(&line.field),
                optional(&line.meant),
                optional(&line.found),
            ];
            let failed = |e: csv::Error| Failure::failed(format!("{} cannot be written: {e}", self.path.display()));
            self.table.write_record(cells).map_err(failed)?;
            self.kept.push(line);
        }
        if self.kept.len() > 2 * SHOWN {
            self.cut(SHOWN);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.table.flush().map_err(|e| Failure::io("write", &self.path, &e))
    }

    /// Returns the digest of the table.
    fn digest(&mut self) -> Result<Digest, Failure> {
        self.flush()?;
        let mut hasher = blake3::Hasher::new();
        let read = File::open(&self.path).and_then(|mut file| hasher.update_reader(&mut file).map(drop));
        read.map_err(|e| Failure::io("read", &self.path, &e))?;
        Ok(Digest(*hasher.finalize().as_bytes()))
    }

    /// Keeps the gravest.
    fn cut(&mut self, count: usize) {
        self.kept.sort_by_key(|line| std::cmp::Reverse(line.class));
        self.kept.truncate(count);
    }

    /// Returns the draw of a row, which its id and the run decide, if it is among the lowest so far.
    fn draw(&self, object: &ObjectName, id: &str) -> Option<u64> {
        if self.spots == 0 {
            return None;
        }
        let hash = blake3::hash(format!("{} {object} {id}", self.path.display()).as_bytes());
        let draw = u64::from_le_bytes(hash.as_bytes()[..8].try_into().unwrap_or_default());
        let full = self.picked.len() == self.spots;
        (!full || self.picked.keys().next_back().is_some_and(|highest| draw < *highest)).then_some(draw)
    }

    fn pick(&mut self, draw: u64, spot: Spot) {
        self.picked.insert(draw, spot);
        if self.picked.len() > self.spots {
            self.picked.pop_last();
        }
    }
}

/// How much may be wrong, missing or extra of what should be there, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tolerance(pub u64);

/// Reads back what each phase of a run landed, before the next one builds on it.
pub(crate) struct PhaseCheck<'a> {
    findings: Findings,
    project: &'a str,
    tolerance: Tolerance,
}

impl<'a> PhaseCheck<'a> {
    /// Returns a check that writes its table for this run among the reports.
    pub(crate) fn new(reports: &Path, run: u32, project: &'a str, tolerance: Tolerance) -> Result<Self, Failure> {
        Ok(Self { findings: Findings::new(reports, run, 0)?, project, tolerance })
    }

    /// Reconciles an object; an error if more of it is off than may be.
    pub(crate) async fn check<D: Destination, M: Flaws>(
        &mut self,
        desk: &Desk<D, M>,
        state: &State,
        object: &ObjectName,
    ) -> Result<Reconciled, Failure> {
        let found = object_of(desk, state, object, self.project, &mut self.findings).await?;
        let recorder = &desk.recorder;
        let name = recorder.name(NameKind::Object, object.as_str())?;
        recorder.append(vec![recorder.draft(Event::Reconciled { object: name, counts: found.counts })]).await?;
        self.findings.flush()?;
        let off = Tolerance(off(std::slice::from_ref(&found)));
        if off <= self.tolerance {
            return Ok(found);
        }
        let counts = &found.counts;
        self.findings.cut(LISTED);
        let lines = self.findings.kept.iter().map(|line| {
            let field = line.field.as_deref().map(|field| format!(" {field}")).unwrap_or_default();
            format!("{} {}{field}: {}", line.object, line.id, class_word(line.class))
        });
        Err(Failure::stopped(format!(
            "{object}: of {} rows that should be there {} are missing and {} wrong, and {} more are not known to the ledger",
            found.expected_rows, counts.missing, counts.wrong, counts.extra
        ))
        .details(lines)
        .hint(format!(
            "every finding stands in {}; the next phase was not begun, the same command goes on",
            self.findings.path.display()
        )))
    }

    /// Writes down which table was written.
    pub(crate) async fn finish(mut self, recorder: &Recorder) -> Result<PathBuf, Failure> {
        let digest = self.findings.digest()?;
        recorder.append(vec![written(recorder, digest, &self.findings.path)]).await?;
        Ok(self.findings.path)
    }
}

/// Returns the part of records that are wrong, missing or extra, in millionths.
fn off(objects: &[Reconciled]) -> u64 {
    let off: u64 = objects.iter().map(|found| found.counts.wrong + found.counts.missing + found.counts.extra).sum();
    let all: u64 = objects.iter().map(|found| found.expected_rows).sum();
    (off * 1_000_000).div_ceil(all.max(1))
}

fn written(recorder: &Recorder, digest: Digest, path: &Path) -> Draft {
    recorder.document(Event::ReportWritten { digest }, "report file", path.display().to_string())
}

/// Returns a class as one word.
pub fn class_word(class: MismatchClass) -> String {
    let json = serde_json::to_value(class).ok();
    json.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Reconciles every object that the plan writes, and shows so many rows picked at random.
pub async fn reconcile<M: Flaws>(
    session: &mut Session<M>,
    spots: usize,
    stop: &CancellationToken,
) -> Result<Report, Failure> {
    let (plan, reached, schema) = reach(session).await?;
    let (recorder, _) = session.begin(RunKind::Reconcile, Some(plan.digest())).await?;
    let instance = reached.name();
    let progress = std::sync::Arc::clone(&session.progress);
    let project = session.project.config.project.id.clone();
    let desk = Desk {
        destination: std::sync::Arc::clone(&reached.destination),
        instance: instance.clone(),
        user: reached.instance.user.clone(),
        key_field: plan.key_field(),
        without_key: plan.without_key().clone(),
        files: None,
        schema: std::sync::Arc::new(schema),
        job_rows: 1,
        at_once: 1,
        written: plan.destination_objects().into_iter().collect(),
        recorder: recorder.clone(),
        progress,
        stop: stop.clone(),
        flaws: session.flaws,
    };
    let mut objects = Vec::new();
    let run = recorder.run().map_or(0, |run| run.0);
    let mut findings = Findings::new(&session.project.reports(), run, spots)?;
    for object in plan.destination_objects() {
        let found = object_of(&desk, &session.state, &object, &project, &mut findings).await?;
        let name = recorder.name(NameKind::Object, object.as_str())?;
        recorder.append(vec![recorder.draft(Event::Reconciled { object: name, counts: found.counts })]).await?;
        objects.push(found);
        if stop.is_cancelled() {
            return Err(Failure::stopped("stopped as asked; nothing was changed"));
        }
    }
    let off = off(&objects);
    findings.cut(SHOWN);
    let table = findings.digest()?;
    let page = findings.path.with_extension("html");
    let mut report = Report {
        run,
        objects,
        findings: findings.kept,
        table: findings.path,
        page,
        spots: findings.picked.into_values().collect(),
        held: session.state.intake().held().count() as u64,
        off,
    };
    let html = crate::report::reconciled(&report, &instance);
    std::fs::write(&report.page, &html).map_err(|e| Failure::io("write", &report.page, &e))?;
    let page = Digest::of(html.as_bytes());
    let drafts = vec![written(&recorder, table, &report.table), written(&recorder, page, &report.page)];
    recorder.append(drafts).await?;
    session.end(&recorder, if off == 0 { RunOutcome::Done } else { RunOutcome::Stopped }).await?;
    report.findings.truncate(LISTED);
    Ok(report)
}

async fn object_of<D: Destination, M: Flaws>(
    desk: &Desk<D, M>,
    state: &State,
    object: &ObjectName,
    project: &str,
    findings: &mut Findings,
) -> Result<Reconciled, Failure> {
    let recorder = &desk.recorder;
    let name = recorder.name(NameKind::Object, object.as_str())?;
    let live = live_of(state, name);
    desk.progress.begin(&format!("reading {object} back"), live.len() as u64);
    let mut found = Reconciled {
        object: object.to_string(),
        expected_rows: live.len() as u64,
        forgotten: state.forgotten(name),
        counts: ReconcileCounts::default(),
    };
    for chunk in live.chunks(ROWS) {
        let chunk: Vec<Landed> = chunk.iter().filter_map(|number| state.landing().at(*number as usize)).collect();
        let mapped = mappings(recorder, &chunk)?;
        let fields: Vec<FieldName> =
            names_of(mapped.values().map(|mapped| mapped.fields.names())).into_iter().cloned().collect();
        let ids = chunk.iter().filter_map(|landed| state.destination_id(landed.destination?)).collect();
        let rows = desk.destination.read(object, &fields, &Selection::Ids(ids)).await?;
        let rows: BTreeMap<String, RemoteRecord> = rows.into_iter().map(|row| (row.record.id.clone(), row)).collect();
        let mut drafts = Vec::new();
        for landed in &chunk {
            let Some(id) = landed.destination.and_then(|d| state.destination_id(d)) else { continue };
            let mapped = landed.mapped.and_then(|at| mapped.get(&at));
            let seen = row(desk, object, name, landed, &id, mapped, rows.get(&id), &mut drafts)?;
            let count = match seen.iter().map(|line| line.class).max() {
                None => &mut found.counts.matched,
                Some(MismatchClass::Expected) => &mut found.counts.expected,
                Some(MismatchClass::SideEffect) => &mut found.counts.side_effect,
                Some(MismatchClass::Drift) => &mut found.counts.drift,
                Some(MismatchClass::Missing) => &mut found.counts.missing,
                Some(MismatchClass::Extra) => &mut found.counts.extra,
                Some(MismatchClass::Wrong) => &mut found.counts.wrong,
            };
            *count += 1;
            let name = if seen.is_empty() { None } else { source_of(recorder, state, landed)? };
            findings.add(seen.into_iter().map(|line| Line { source: name.clone(), ..line }).collect())?;
            if let (Some(mapped), Some(now), Some(draw)) = (mapped, rows.get(&id), findings.draw(object, &id)) {
                let source = source_of(recorder, state, landed)?;
                findings.pick(draw, spot(object, &id, source, mapped, now));
            }
        }
        recorder.append(drafts).await?;
        desk.progress.advance(chunk.len() as u64);
    }
    desk.progress.end();
    let mut extra = extra(desk, state, object, project).await?;
    if extra.len() as u64 <= found.forgotten {
        extra.clear();
    }
    let mut drafts = Vec::new();
    for id in extra {
        found.counts.extra += 1;
        let event = Event::MismatchFound { class: MismatchClass::Extra, object: name, field: None };
        let content = Content::DestinationId { object: object.to_string(), id: id.clone() };
        drafts.push(recorder.draft(event).content(content));
        let class = MismatchClass::Extra;
        let (object, source, field, meant, found) = (object.to_string(), None, None, None, None);
        findings.add(vec![Line { object, id, source, meant, found, field, class }])?;
    }
    recorder.append(drafts).await?;
    Ok(found)
}

/// Compares one row, and returns what is not as it was meant.
#[expect(clippy::too_many_arguments, reason = "one row is these things, and only one place compares it")]
fn row<D: Destination, M: Flaws>(
    desk: &Desk<D, M>,
    object: &ObjectName,
    name: waybill_ledger::NameId,
    landed: &Landed,
    id: &str,
    mapped: Option<&Mapped>,
    now: Option<&RemoteRecord>,
    drafts: &mut Vec<Draft>,
) -> Result<Vec<Line>, Failure> {
    let recorder = &desk.recorder;
    let line = |field: Option<&FieldName>, class| Line {
        object: object.to_string(),
        id: id.to_owned(),
        source: None,
        field: field.map(ToString::to_string),
        meant: None,
        found: None,
        class,
    };
    let about = |event: Event| {
        let draft = recorder.draft(event).subject(landed.target.subject).target(landed.target.part);
        match landed.mapped {
            Some(at) => draft.cause(at),
            None => draft,
        }
    };
    let Some(now) = now else {
        let event = Event::MismatchFound { class: MismatchClass::Missing, object: name, field: None };
        drafts.push(about(event).content(Content::DestinationId { object: object.to_string(), id: id.to_owned() }));
        return Ok(vec![line(None, MismatchClass::Missing)]);
    };
    let Some(mapped) = mapped else { return Ok(Vec::new()) };
    let schema = desk.schema.object(object.as_str());
    let kind = |field: &str| schema.and_then(|schema| schema.field(field)).map(|field| field.kind.clone());
    let wrong = compare(&mapped.fields, &now.record.fields, kind);
    if wrong.is_empty() {
        return Ok(Vec::new());
    }
    let after = after_image(recorder, landed.after)?;
    let touched = landed.touched || now.modified_by.as_ref().is_some_and(|by| *by != desk.user);
    let mut lines = Vec::new();
    for mismatch in wrong {
        let left = after.get(mismatch.field.as_str());
        let class = if left != Field::Absent && left == mismatch.found
            || left.is_blank() && left != Field::Absent && mismatch.found.is_blank()
        {
            MismatchClass::SideEffect
        } else if touched {
            MismatchClass::Drift
        } else {
            MismatchClass::Wrong
        };
        let field = Some(recorder.name(NameKind::Field, mismatch.field.as_str())?);
        drafts.push(about(Event::MismatchFound { class, object: name, field }).content(Content::Difference {
            record: format!("{object}/{id}"),
            field: Some(mismatch.field.clone()),
            expected: mismatch.meant.value().cloned(),
            found: mismatch.found.value().cloned(),
        }));
        let text = |field: &Field| field.value().map(ToString::to_string);
        let (meant, found) = (text(&mismatch.meant), text(&mismatch.found));
        lines.push(Line { meant, found, ..line(Some(&mismatch.field), class) });
    }
    Ok(lines)
}

/// Returns the source record behind a target, as `object/id`.
fn source_of(recorder: &Recorder, state: &State, landed: &Landed) -> Result<Option<String>, Failure> {
    let Some(seen) = state.intake().seen(landed.target.subject) else { return Ok(None) };
    Ok(match recorder.ledger().reader().at(seen.position)? {
        Some((_, Opened::Content(Content::Record { object, record }))) => Some(format!("{object}/{}", record.id)),
        _ => None,
    })
}

fn spot(object: &ObjectName, id: &str, source: Option<String>, mapped: &Mapped, now: &RemoteRecord) -> Spot {
    let text = |field: Field| field.value().map(ToString::to_string);
    let fields = mapped.fields.iter().map(|(name, meant)| {
        (name.to_string(), meant.map(ToString::to_string), text(now.record.fields.get(name.as_str())))
    });
    let source = source.unwrap_or_else(|| "(forgotten)".to_owned());
    Spot { object: object.to_string(), id: id.to_owned(), source, fields: fields.collect() }
}

/// Reads the mappings of these targets, which come in the order of their positions.
fn mappings(recorder: &Recorder, chunk: &[Landed]) -> Result<BTreeMap<Position, Mapped>, Failure> {
    let wanted: BTreeSet<Position> = chunk.iter().filter_map(|landed| landed.mapped).collect();
    let (Some(first), Some(last)) = (wanted.first().copied(), wanted.last().copied()) else {
        return Ok(BTreeMap::new());
    };
    let mut found = BTreeMap::new();
    for event in recorder.ledger().reader().read(first..=last, |envelope| wanted.contains(&envelope.position)) {
        if let (envelope, Opened::Content(Content::Mapped(mapped))) = event? {
            found.insert(envelope.position, mapped);
        }
    }
    Ok(found)
}

fn after_image(recorder: &Recorder, at: Option<Position>) -> Result<Fields, Failure> {
    let Some(at) = at else { return Ok(Fields::new()) };
    Ok(match recorder.ledger().reader().at(at)? {
        Some((_, Opened::Content(Content::Record { mut record, .. }))) => {
            record.fields.set(VERSION, Field::Absent);
            record.fields
        }
        _ => Fields::new(),
    })
}

/// Finds rows that carry this project's key and that the ledger does not know.
async fn extra<D: Destination, M: Flaws>(
    desk: &Desk<D, M>,
    state: &State,
    object: &ObjectName,
    project: &str,
) -> Result<Vec<String>, Failure> {
    let (prefix, key) = (key_prefix(project), desk.key_field.clone());
    if desk.schema.object(object.as_str()).is_none_or(|schema| schema.field(key.as_str()).is_none()) {
        return Ok(Vec::new());
    }
    let fields = [key.clone()];
    let mut pages = desk.destination.scan(object, &fields, Scan::Holding(&key));
    let mut extra = Vec::new();
    while let Some(page) = pages.next().await {
        for row in page? {
            if !row.record.fields.text(key.as_str()).is_some_and(|text| text.starts_with(&prefix)) {
                continue;
            }
            let subject = SubjectKey::new(&desk.instance, object.as_str(), &row.record.id);
            let subject = desk.recorder.ledger().find_subject(&subject);
            if subject.and_then(|subject| state.landing().owner(subject)).is_none() {
                extra.push(row.record.id);
            }
        }
    }
    Ok(extra)
}

/// Describes what a rollback and a reconciliation need of the destination.
pub(crate) async fn reach<M: Flaws>(
    session: &Session<M>,
) -> Result<(waybill_projector::mapping::Plan, Reached, waybill_ledger::Schema), Failure> {
    let (plan, _) = session.plan()?;
    let reached = session.destination().await?;
    let schema = reached.schema(&plan).await?;
    Ok((plan, reached, schema))
}
