//! The schema step: what the destination lacks for a plan, made or written down for an administrator.

use std::path::{Path, PathBuf};

use serde::Serialize;
use waybill_connectors::{Destination, SchemaElement, SchemaOutcome, SchemaRemoval};
use waybill_ledger::{
    Content, Digest, Event, Schema, SchemaChange,
    event::{NameKind, RunKind, RunOutcome, Side},
    ledger::Opened,
};
use waybill_projector::schema_step;

use crate::{
    failure::Failure,
    flaws::Flaws,
    prepare::Prepared,
    recorder::Recorder,
    session::{Reached, Session},
};

/// Returns the digest of a schema.
pub fn digest(schema: &Schema) -> Digest {
    Digest::of(&waybill_ledger::codec::encode(schema).unwrap_or_default())
}

/// What came of one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The change, in words.
    pub what: String,
    /// What came of it: `made`, `present`, `manual` or `refused`; of one that is taken back `removed`, `absent` or `stays`.
    pub outcome: &'static str,
    /// What a person must do, or why it was refused.
    pub note: Option<String>,
}

/// Says what a change does.
pub fn words(change: &SchemaChange) -> String {
    match change {
        SchemaChange::AddObject { name, .. } => format!("object {name}"),
        SchemaChange::AddField { object, field } => format!("field {object}.{}", field.name),
        SchemaChange::AddOptions { object, field, options } => {
            let values: Vec<&str> = options.iter().map(|option| option.value.as_str()).collect();
            format!("options of {object}.{field}: {}", values.join(", "))
        }
        SchemaChange::AddVariant { object, label, .. } => format!("record type `{label}` of {object}"),
    }
}

/// Makes the changes that the plan needs.
pub async fn apply<M: Flaws>(session: &mut Session<M>, prepared: &Prepared) -> Result<Vec<Change>, Failure> {
    if prepared.changes.is_empty() {
        return Ok(Vec::new());
    }
    let (recorder, _) = session.begin(RunKind::Schema, Some(prepared.plan.digest())).await?;
    session.progress.begin("schema", prepared.changes.len() as u64);
    // What may be made is durable before it is: an answer that is lost leaves elements of which nobody can say whose they are.
    let elements: Vec<SchemaElement> = prepared.changes.iter().map(SchemaElement::of).collect();
    tell(&recorder, INTENDED, &elements).await?;
    let outcomes = prepared.reached.destination.apply_schema(&prepared.changes).await?;
    let made = elements.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == SchemaOutcome::Made);
    tell(&recorder, MADE, &made.map(|(element, _)| element.clone()).collect::<Vec<_>>()).await?;
    let mut done = Vec::new();
    for (change, outcome) in prepared.changes.iter().zip(outcomes) {
        let (outcome, note) = match outcome {
            SchemaOutcome::Made => ("made", None),
            SchemaOutcome::Present => ("present", None),
            SchemaOutcome::Manual(text) => ("manual", Some(text)),
            SchemaOutcome::Refused(text) => ("refused", Some(text)),
        };
        done.push(Change { what: words(change), outcome, note });
        session.progress.advance(1);
    }
    session.progress.end();
    let schema = prepared.reached.schema(&prepared.plan).await?;
    see_destination(&recorder, &prepared.reached, &schema).await?;
    let text = serde_json::to_string(&done).map_err(|e| Failure::failed(e.to_string()))?;
    let digest = Digest::of(text.as_bytes());
    recorder.append(vec![recorder.document(Event::ReportWritten { digest }, "schema step", text)]).await?;
    let whole = done.iter().all(|change| matches!(change.outcome, "made" | "present"));
    session.end(&recorder, if whole { RunOutcome::Done } else { RunOutcome::Stopped }).await?;
    Ok(done)
}

/// The documents that say what the schema steps mean to make, made, and took away again.
const INTENDED: &str = "schema intended";
const MADE: &str = "schema made";
const REMOVED: &str = "schema removed";

async fn tell(recorder: &Recorder, kind: &str, elements: &[SchemaElement]) -> Result<(), Failure> {
    let text = serde_json::to_string(elements).map_err(|e| Failure::failed(e.to_string()))?;
    let digest = Digest::of(text.as_bytes());
    recorder.append(vec![recorder.document(Event::ReportWritten { digest }, kind, text)]).await?;
    Ok(())
}

/// What we made of the destination's schema, as the ledger tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// The elements that are ours, in the order in which they were made.
    pub elements: Vec<SchemaElement>,
    /// Elements of which no answer said whether we made them.
    pub unclear: Vec<SchemaElement>,
}

/// Returns what the schema steps made and did not take away again.
pub fn made<M>(session: &Session<M>) -> Result<Made, Failure> {
    let (mut made, mut pending): (Made, Vec<SchemaElement>) = (Made::default(), Vec::new());
    let wanted = |envelope: &waybill_ledger::Envelope| matches!(envelope.event, Event::ReportWritten { .. });
    for event in session.recorder.ledger().reader().read(.., wanted) {
        let (_, Opened::Content(Content::Document { kind, text })) = event? else { continue };
        if ![INTENDED, MADE, REMOVED].contains(&kind.as_str()) {
            continue;
        }
        let told: Vec<SchemaElement> = serde_json::from_str(&text)
            .map_err(|e| Failure::ledger(format!("the list of schema elements cannot be read: {e}")))?;
        match kind.as_str() {
            INTENDED => {
                // What was meant before, was not answered, and is not meant again, is there by now.
                made.unclear.extend(pending.drain(..).filter(|element| !told.contains(element)));
                made.unclear.retain(|element| !told.contains(element));
                pending = told;
            }
            MADE => {
                pending.clear();
                made.elements.extend(told);
            }
            _ => {
                made.elements.retain(|element| !told.contains(element));
                made.unclear.retain(|element| !told.contains(element));
            }
        }
    }
    made.unclear.extend(pending);
    Ok(made)
}

/// Takes away what the schema steps made, the latest first, as far as it is as we made it and holds nothing of anyone's.
pub async fn take_back<M: Flaws>(session: &mut Session<M>, reached: &Reached) -> Result<Vec<Change>, Failure> {
    let made = made(session)?;
    let mut done: Vec<Change> = Vec::new();
    if !made.elements.is_empty() {
        let (recorder, _) = session.begin(RunKind::Schema, None).await?;
        let elements: Vec<SchemaElement> = made.elements.iter().rev().cloned().collect();
        session.progress.begin("taking the schema back", elements.len() as u64);
        for element in elements {
            // One by one: what is gone is told before the next one goes.
            let removal = reached.destination.remove_schema(std::slice::from_ref(&element)).await?;
            let removal = removal.into_iter().next().unwrap_or(SchemaRemoval::Absent);
            let (outcome, note) = match removal {
                SchemaRemoval::Removed => ("removed", None),
                SchemaRemoval::Absent => ("absent", None),
                SchemaRemoval::Stays(why) => ("stays", Some(why)),
            };
            if note.is_none() {
                tell(&recorder, REMOVED, std::slice::from_ref(&element)).await?;
            }
            done.push(Change { what: element.to_string(), outcome, note });
            session.progress.advance(1);
        }
        session.progress.end();
        let (plan, _) = session.plan()?;
        let schema = reached.schema(&plan).await?;
        see_destination(&recorder, reached, &schema).await?;
        let text = serde_json::to_string(&done).map_err(|e| Failure::failed(e.to_string()))?;
        let digest = Digest::of(text.as_bytes());
        recorder.append(vec![recorder.document(Event::ReportWritten { digest }, "schema step", text)]).await?;
        session.end(&recorder, RunOutcome::Done).await?;
    }
    let why = "no answer said whether we made it";
    done.extend(made.unclear.iter().map(|element| Change {
        what: element.to_string(),
        outcome: "stays",
        note: Some(why.to_owned()),
    }));
    Ok(done)
}

/// Writes the changes as files for an administrator, with a setup plan in words.
pub fn export(prepared: &Prepared, dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let name = prepared.plan.pipelines.as_ref().map(|pipelines| pipelines.name.clone()).unwrap_or_default();
    let label = |row: &waybill_ledger::Record| row.fields.value(&name).map(ToString::to_string);
    let labels = prepared.pipelines().filter_map(label).collect();
    let all = schema_step::changes(
        &prepared.plan,
        prepared.pipelines(),
        prepared.stages(),
        &prepared.options,
        &without(&prepared.present, &prepared.plan, &labels),
    )
    .map_err(|e| Failure::usage(e.to_string()))?;
    std::fs::create_dir_all(dir).map_err(|e| Failure::io("make the directory", dir, &e))?;
    prepared
        .reached
        .destination
        .export_schema(&all, &prepared.present, dir)
        .map_err(|e| Failure::io("write the schema files to", dir, &e))
}

/// Returns a schema as it would be if the plan's own elements had never been made: the export is whole at any time.
fn without(
    present: &Schema,
    plan: &waybill_projector::mapping::Plan,
    pipelines: &std::collections::BTreeSet<String>,
) -> Schema {
    let mut schema = present.clone();
    schema.objects.retain(|object| plan.new_objects.iter().all(|new| new.name != object.name));
    for object in &mut schema.objects {
        if plan.pipelines.as_ref().is_some_and(|pipelines| pipelines.object == object.name) {
            object.variants.retain(|variant| !pipelines.contains(&variant.label));
        }
        object.fields.retain(|field| {
            let new = plan.new_fields.iter().any(|new| new.object == object.name && new.name == field.name);
            !new && field.name != plan.key_field()
        });
    }
    schema
}

/// Writes down how the destination describes itself.
pub(crate) async fn see_destination(recorder: &Recorder, reached: &Reached, schema: &Schema) -> Result<(), Failure> {
    let system = recorder.name(NameKind::System, &reached.name())?;
    let event = Event::SchemaSeen { side: Side::Destination, system, digest: digest(schema) };
    recorder.append(vec![recorder.draft(event).content(Content::Schema(schema.clone()))]).await?;
    Ok(())
}
