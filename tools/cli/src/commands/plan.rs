use std::fmt::Write as _;

use serde::Serialize;
use waybill_engine::{
    approve::{Prediction, predict},
    failure::Failure,
    prepare::{OwnerLine, Prepared},
    propose::{self, Proposed, Written},
    schema::words,
    session::Session,
};
use waybill_projector::mapping::{Finding, Severity, unmapped};

use super::{close, open};
use crate::{Context, exit::Exit, output::table};

/// Hold the plan against both systems and show what it would write
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// Write proposals for fields that no rule uses into the plan: likely ones as field rules, the rest as comments
    #[arg(long)]
    propose: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    plan: String,
    destination: String,
    order: Vec<String>,
    writes: Prediction,
    owners: Vec<OwnerLine>,
    schema: Vec<String>,
    unmapped: Vec<String>,
    proposals: Vec<Proposed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Written>,
    findings: Vec<Finding>,
}

impl PlanArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (mut session, bars) = open(context).await?;
        let done = shown(&mut session, self.propose).await;
        let (shown, circle) = close(session, &bars, done).await?;
        context.output.document(&shown, || human(&shown))?;
        if let Some(circle) = circle {
            return Err(circle);
        }
        let blocks = shown.findings.iter().any(|finding| finding.severity == Severity::Blocks);
        Ok(if blocks { Exit::Stopped } else { Exit::Done })
    }
}

async fn shown(session: &mut Session, write: bool) -> Result<(Shown, Option<Failure>), Failure> {
    let prepared = Prepared::new(session).await?;
    let findings = prepared.findings();
    let circle = prepared.must_be_acyclic(session).err();
    let order = prepared.plan.phases().map(|steps| steps.into_iter().map(|step| step.object.to_string()).collect());
    let writes = if findings.iter().any(|finding| finding.severity == Severity::Blocks) {
        Prediction::default()
    } else {
        predict(session, &prepared).await?
    };
    let proposals = propose::propose(session, &prepared)?;
    let written = if write { Some(propose::write(session, &prepared, &proposals).await?) } else { None };
    let shown = Shown {
        plan: prepared.plan.digest().to_string(),
        destination: prepared.destination_name(),
        order: order.unwrap_or_default(),
        writes,
        owners: prepared.owner_lines(),
        schema: prepared.changes.iter().map(words).collect(),
        unmapped: unmapped(&prepared.plan, &prepared.source_schema),
        proposals,
        written,
        findings,
    };
    Ok((shown, circle))
}

fn human(shown: &Shown) -> String {
    let mut text = format!("plan {} for {}\norder: {}\n", &shown.plan[..6], shown.destination, shown.order.join(", "));
    text.push_str("\nwould write\n");
    text.push_str(&writes(&shown.writes));
    text.push_str("\n\nowners\n");
    let owners = shown.owners.iter().map(|owner| {
        vec![
            owner.source.clone(),
            owner.email.clone().unwrap_or_else(|| "-".into()),
            owner.user.clone().unwrap_or_else(|| "-".into()),
            owner.how.to_owned(),
        ]
    });
    text.push_str(&table(&["owner", "e-mail", "user", "how"], 4, owners));
    if !shown.proposals.is_empty() {
        text.push_str("\n\nnot mapped, and what is proposed (write it into the plan with `waybill plan --propose`)\n");
        text.push_str(&proposals(&shown.proposals));
    }
    if let Some(written) = &shown.written {
        text.push_str(&told(written));
    }
    let mut list = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            text.push_str(&format!("\n\n{title}\n  {}", lines.join("\n  ")));
        }
    };
    list("the destination lacks (make it with `waybill schema apply`)", &shown.schema);
    list("not mapped, and so not carried", &shown.unmapped);
    let findings: Vec<String> = shown
        .findings
        .iter()
        .map(|finding| {
            let severity = if finding.severity == Severity::Blocks { "blocks" } else { "note" };
            format!("{severity}: {}: {}", finding.at, finding.what)
        })
        .collect();
    list("findings", &findings);
    text
}

fn proposals(proposals: &[Proposed]) -> String {
    let rows = proposals.iter().map(|one| {
        let runners: Vec<String> =
            one.runners_up.iter().map(|other| format!("{} {:.2}", other.target, other.confidence)).collect();
        vec![
            format!("{}.{}", one.object, one.field),
            one.target.clone().unwrap_or_else(|| "-".into()),
            one.reason.clone(),
            runners.join(", "),
            format!("{:.2}", one.confidence),
        ]
    });
    table(&["field", "goes to", "because", "or else", "sure"], 4, rows)
}

fn told(written: &Written) -> String {
    let mut text = if written.is_empty() {
        "\n\nnothing new to propose: the plan stays as it is".to_owned()
    } else {
        format!(
            "\n\nput into the plan: {} field rules, {} value maps, {} fields left open as comments; look at them, then run \
             `waybill plan` again",
            written.fields.len(),
            written.maps.len(),
            written.open.len()
        )
    };
    if !written.left_alone.is_empty() {
        let rules = written.left_alone.join(", ");
        text.push_str(&format!("\nleft alone, because they write their fields in one line: {rules}"));
    }
    text
}

/// Writes a prediction as a table.
pub(super) fn writes(prediction: &Prediction) -> String {
    let rows = prediction.objects.iter().map(|object| {
        let held: Vec<String> =
            object.held.iter().map(|(reason, count)| format!("{count} {}", kebab(reason))).collect();
        vec![
            object.object.clone(),
            object.create.to_string(),
            object.update.to_string(),
            object.same.to_string(),
            object.delete.to_string(),
            object.skipped.to_string(),
            if held.is_empty() { "0".to_owned() } else { held.join(", ") },
        ]
    });
    let mut text = table(&["object", "create", "change", "same", "delete", "skip", "hold"], 1, rows);
    for object in prediction.objects.iter().filter(|object| object.matched > 0) {
        let _ = write!(
            text,
            "\n{} rows of {} were there before and are taken over: they get our key, and a rollback gives them back",
            object.matched, object.object
        );
    }
    for object in prediction.objects.iter().filter(|object| object.destroy > 0) {
        let _ = write!(
            text,
            "\n{} rows of {} in the trash are deleted for good: records need what they hold, and no rollback brings them back",
            object.destroy, object.object
        );
    }
    text
}

fn kebab(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
