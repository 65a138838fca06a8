//! Looks for what is wrong with the source's data, and says what the plan will do about it. Nothing is changed, and the
//! destination is not asked: what it needs is known from when it was last described.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde::Serialize;
use waybill_connectors::{
    bundle::{Bundle, BundleObject, Sight},
    pace,
};
use waybill_ledger::{Digest, Event, FieldKind, Schema, event::Side};
use waybill_projector::{
    assess::{
        self, Completeness, Effects, Finding, NAMED, ObjectAssessor, Settled, Setup, Severity,
        duplicates::{Layout, Who},
        grade::{Grade, Jobs, Wire, grade},
    },
    mapping::Plan,
};

use crate::{
    aside::aside,
    failure::Failure,
    looking::{side_by_side, through},
    prepare::last_schema,
    progress::Progress,
    session::Session,
    untouched::Marks,
};

/// A file over this many megabytes (of 2 to the 20th bytes) is told, unless the configuration says otherwise.
const FILE_LIMIT_MB: u64 = 25;
/// How many records a second are expected to land, unless the configuration says otherwise: a guess on the safe side, below
/// what a sandbox org takes by bulk jobs. A sample of one's own is the better figure.
const RECORDS_PER_SECOND: u64 = 300;

/// What is wrong with the source's data, and how well it fits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Assessment {
    /// How well the source fits the destination under the plan.
    pub grade: Grade,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// How full the rows are.
    pub completeness: Vec<Completeness>,
    /// How the search for duplicates went.
    pub compared: Vec<Compared>,
    /// What could not be looked for, and why.
    pub skipped: Vec<String>,
}

/// How the search for duplicates in one object went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The object.
    pub object: String,
    /// Pairs that were compared.
    pub pairs: u64,
    /// Records that had a value in common with so many others that not all pairs of them were compared.
    pub crowded: u64,
}

impl Assessment {
    /// Returns whether something must be mended before anything can be written.
    pub fn blocks(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Blocks)
    }
}

/// One object that was read, how many bytes its files have, and its rows that are no records.
type Read = (Settled, u64, Option<Finding>);

/// What all readers need.
struct Work {
    bundle: Bundle,
    /// Files of which it is not known that they are what the manifest says.
    unproven: BTreeSet<String>,
    schema: Schema,
    words: BTreeMap<String, String>,
    companies: BTreeSet<String>,
    plan: Option<Plan>,
    destination: Option<Schema>,
    exported: DateTime<Utc>,
    file_limit: u64,
    progress: Arc<dyn Progress>,
}

/// Reads the export and says what is wrong with it.
pub async fn assess(session: &mut Session) -> Result<Assessment, Failure> {
    let source = session.source_unchecked().await?;
    source.must_be_known(&session.recorder)?;
    let mut skipped = Vec::new();
    let plan = if session.project.plan_path().exists() {
        Some(session.plan()?.0)
    } else {
        skipped.push("what the plan does with each finding: the project has no plan.toml".to_owned());
        None
    };
    let destination = Some(last_schema(session, Side::Destination)?).filter(|schema| !schema.objects.is_empty());
    if destination.is_none() {
        skipped.push(
            "values that the destination needs, lengths and options: it was not described yet (`waybill plan` does that)"
                .to_owned(),
        );
    }
    let settings = session.project.config.assess.clone().unwrap_or_default();
    let bundle = source.whole(&*session.progress).await?;
    let schema = bundle.schema()?;
    let words = bundle.words();
    let companies = schema
        .objects
        .iter()
        .filter(|object| Layout::find(object, &|_| false).is_some_and(|layout| layout.who == Who::Companies))
        .map(|object| object.name.to_string())
        .collect();
    skipped.extend(unknown_targets(&schema, &words));
    let exported = bundle.identity().exported_at;
    let to = &session.project.config.destination;
    let usual = pace(&to.system);
    let given = |rows: Option<usize>| rows.map(|rows| rows as u64);
    let rows_per_request = given(to.batch_rows).unwrap_or(usual.request_rows);
    let limit = to.requests_per_minute.or(usual.requests_per_minute);
    let at_most = limit.map_or(u64::MAX, |requests| (requests * rows_per_request / 60).max(1));
    let wire = Wire {
        rows_per_request,
        jobs: usual.jobs.map(|(from, rows)| Jobs {
            from: given(to.bulk_threshold).unwrap_or(from),
            rows: given(to.job_rows).unwrap_or(rows),
        }),
        records_per_second: settings.records_per_second.unwrap_or(RECORDS_PER_SECOND.min(at_most)),
    };
    let marks = Marks::take(&bundle, session.recorder.ledger());
    let unproven = Marks::kept(session.recorder.ledger()).others(&bundle);
    let work = Work {
        bundle,
        unproven,
        schema,
        words,
        companies,
        plan,
        destination,
        exported: exported.unwrap_or_else(Utc::now),
        file_limit: settings.file_limit_mb.unwrap_or(FILE_LIMIT_MB) << 20,
        progress: Arc::clone(&session.progress),
    };
    let (joined, file_bytes, work) = aside(move || {
        let done = work.read()?;
        Ok::<_, Failure>((done.0, done.1, work))
    })
    .await
    .map_err(|e| Failure::failed(format!("the reader stopped: {e}")))??;
    if !work.unproven.is_empty() {
        marks.keep(session.recorder.ledger());
    }
    let effects = work.effects();
    let grade = grade(&work.schema, &joined.completeness, &joined.findings, file_bytes, &effects, wire);
    let compared =
        joined.compared.into_iter().map(|(object, pairs, crowded)| Compared { object, pairs, crowded }).collect();
    let assessment =
        Assessment { grade, findings: joined.findings, completeness: joined.completeness, compared, skipped };
    write_down(session, &assessment).await?;
    Ok(assessment)
}

/// Writes the assessment down without naming a record and without what single records hold: whoever is forgotten later must
/// not live on in a report. The same command over the same export names them again.
async fn write_down(session: &Session, assessment: &Assessment) -> Result<(), Failure> {
    let mut written = assessment.clone();
    for finding in &mut written.findings {
        finding.records.clear();
        if finding.kind == "value-variants" {
            finding.what.clear();
            finding.plan.clear();
        }
    }
    let text = serde_json::to_string(&written).map_err(|e| Failure::failed(e.to_string()))?;
    let digest = Digest::of(text.as_bytes());
    let recorder = &session.recorder;
    recorder.append(vec![recorder.document(Event::ReportWritten { digest }, "assessment", text)]).await?;
    Ok(())
}

/// Returns the references whose objects the export does not have at all.
fn unknown_targets(schema: &Schema, words: &BTreeMap<String, String>) -> Vec<String> {
    let mut lines = Vec::new();
    for object in &schema.objects {
        for field in &object.fields {
            let FieldKind::Reference { to } = &field.kind else { continue };
            if !to.iter().any(|to| words.contains_key(&to.as_str().to_lowercase())) {
                let to: Vec<&str> = to.iter().map(waybill_ledger::ObjectName::as_str).collect();
                lines.push(format!(
                    "whether {}.{} leads anywhere: the export has no {}",
                    object.name,
                    field.name,
                    to.join(" or ")
                ));
            }
        }
    }
    lines
}

impl Work {
    fn effects(&self) -> Effects<'_> {
        Effects { plan: self.plan.as_ref(), destination: self.destination.as_ref() }
    }

    /// Reads all objects, and holds files against their digests beside it.
    fn read(&self) -> Result<(assess::Joined, u64), Failure> {
        let done =
            side_by_side(&self.bundle, &|_| true, &self.unproven, &*self.progress, &|object| self.read_object(object))?;
        let (mut objects, mut broken, mut file_bytes) = (Vec::new(), Vec::new(), 0);
        for (object, bytes, unreadable) in done {
            file_bytes += bytes;
            objects.push(object);
            broken.extend(unreadable);
        }
        let mut joined = assess::join(objects, &self.words, &self.effects());
        joined.add(broken);
        Ok((joined, file_bytes))
    }

    fn read_object(&self, object: &BundleObject) -> Result<Read, Failure> {
        let schema = self
            .schema
            .object(&object.name)
            .ok_or_else(|| Failure::failed(format!("the export does not describe {}", object.name)))?;
        let names = self.bundle.names(&object.name)?;
        let mut assessor = ObjectAssessor::new(&Setup {
            schema,
            names: &names,
            words: &self.words,
            rows: object.rows,
            reference: object.reference,
            companies: &self.companies,
            effects: self.effects(),
            exported: self.exported,
            file_limit: self.file_limit,
        });
        let there = |path: &str| self.bundle.has_binary(path);
        let (mut broken, mut places) = (0, Vec::new());
        through(&self.bundle, object, &names, &*self.progress, |sight| match sight {
            Sight::Record { id, fields, beyond, .. } => assessor.add_row(&id, fields, beyond, &there),
            Sight::Gone { id, .. } => assessor.gone(&id),
            Sight::Unreadable { origin, .. } => {
                broken += 1;
                if places.len() < NAMED {
                    places.push(vec![origin.to_string()]);
                }
            }
        })?;
        let unreadable = (broken > 0).then(|| Finding {
            kind: "unreadable-row".to_owned(),
            severity: Severity::Warning,
            object: object.name.clone(),
            field: None,
            count: broken,
            what: "the row is no record".to_owned(),
            plan: "not carried, and told with file and line".to_owned(),
            records: places,
        });
        let bytes = assessor.file_bytes();
        Ok((assessor.settle(), bytes, unreadable))
    }
}
