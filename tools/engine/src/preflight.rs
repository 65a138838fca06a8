//! Looks at everything that could stop a run or surprise its people, before the first record is written.

use serde::Serialize;
use waybill_connectors::{Automation, Destination, Planned, Touch};
use waybill_ledger::{
    Event, FieldKind, ObjectName, SchemaChange,
    event::{Gate, HoldReason, NameKind, Operation, Transport},
};
use waybill_projector::mapping::{Rule, Severity, Trash};

use crate::{
    approve::{self, Prediction},
    failure::Failure,
    prepare::Prepared,
    run::{AT_ONCE, JOB_ROWS},
    session::Session,
    write::rows_of_job,
};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to do.
    Passes,
    /// Worth a person's look; a run may begin.
    Warns,
    /// A run may not begin.
    Blocks,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at; scripts may depend on it.
    pub check: &'static str,
    /// How it came out.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// How many records it concerns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// The rules, fields, objects or people it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<String>,
}

/// The whole of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preflight {
    /// The checks, in the order in which they are best dealt with.
    pub checks: Vec<Check>,
    /// What the plan would write.
    pub writes: Prediction,
}

impl Preflight {
    /// Returns whether a run may begin.
    pub fn passes(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Blocks)
    }
}

fn check(check: &'static str, verdict: Verdict, found: impl Into<String>) -> Check {
    Check { check, verdict, found: found.into(), remedy: None, records: None, about: Vec::new() }
}

impl Check {
    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    fn about(mut self, about: Vec<String>) -> Self {
        self.about = about;
        self
    }

    fn records(mut self, records: u64) -> Self {
        self.records = Some(records);
        self
    }
}

/// Makes every check, and records whether a run may begin.
pub async fn preflight(session: &mut Session) -> Result<Preflight, Failure> {
    let prepared = Prepared::new(session).await?;
    let mut checks = fits(&prepared);
    checks.push(schema(&prepared));
    checks.push(match prepared.must_be_acyclic(session) {
        Ok(()) => check("cycles", Verdict::Passes, "no record is its own ancestor"),
        Err(failure) => check("cycles", Verdict::Blocks, failure.what.clone())
            .about(failure.details.clone())
            .remedy("break each circle in the source and export again"),
    });
    let writes = approve::predict(session, &prepared).await?;
    checks.push(owners(&writes));
    checks.extend(concerns(&writes));
    checks.push(times(&prepared));
    checks.extend(limits(session, &prepared, &writes).await?);
    checks.push(automation(&prepared, &writes).await?);
    checks.push(approval(session, &prepared));
    let preflight = Preflight { checks, writes };
    let open = preflight.passes();
    let recorder = &session.recorder;
    recorder.append(vec![recorder.draft(Event::GateDecided { gate: Gate::Preflight, open })]).await?;
    session.state.catch_up(session.recorder.ledger())?;
    Ok(preflight)
}

/// Holds the plan against both schemas: fields that do not exist, that our user may not set, that a rule must set.
fn fits(prepared: &Prepared) -> Vec<Check> {
    let findings = prepared.findings();
    let say = |severity: Severity| -> Vec<String> {
        let found = findings.iter().filter(|finding| finding.severity == severity);
        found.map(|finding| format!("{}: {}", finding.at, finding.what)).collect()
    };
    let (blocks, notes) = (say(Severity::Blocks), say(Severity::Note));
    let mut checks = vec![if blocks.is_empty() {
        check("plan", Verdict::Passes, "every field of the plan exists, and our user may set it")
    } else {
        check("plan", Verdict::Blocks, format!("{} things in the plan do not fit the two systems", blocks.len()))
            .about(blocks)
            .remedy("correct the plan, the export or our user's permissions")
    }];
    if !notes.is_empty() {
        checks.push(check("plan-notes", Verdict::Warns, "something in the plan has no effect").about(notes));
    }
    checks
}

fn schema(prepared: &Prepared) -> Check {
    let missing: Vec<String> = prepared.changes.iter().map(crate::schema::words).collect();
    let fields = prepared.changes.iter().filter(|change| matches!(change, SchemaChange::AddField { .. })).count();
    if missing.is_empty() {
        return check("schema", Verdict::Passes, "the destination has every field, option and record type of the plan");
    }
    check("schema", Verdict::Blocks, format!("{} things are missing, {fields} of them fields", missing.len()))
        .about(missing)
        .remedy("`waybill schema apply`, or `waybill schema export DIR` for an administrator")
}

fn owners(writes: &Prediction) -> Check {
    let waiting: Vec<String> = writes
        .undecided
        .iter()
        .map(|owner| {
            let email = owner.email.as_deref().unwrap_or("no e-mail");
            format!("{} ({email}): {}, owns {} records", owner.owner, owner.why, owner.records)
        })
        .collect();
    if waiting.is_empty() {
        return check("owners", Verdict::Passes, "every owner has an active user or a person's decision");
    }
    let records = writes.undecided.iter().map(|owner| owner.records).sum();
    check("owners", Verdict::Blocks, format!("{} owners have no decision", waiting.len()))
        .about(waiting)
        .records(records)
        .remedy("decide in the plan under [owners], or make the users")
}

/// What would wait, and what would be written with a loss, by rule.
fn concerns(writes: &Prediction) -> Vec<Check> {
    let of = |held: bool| writes.concerns.iter().filter(move |concern| concern.held == held);
    let lines = |held: bool| -> Vec<String> {
        of(held).map(|concern| format!("{}: {} ({})", concern.at, concern.what, concern.records)).collect()
    };
    let total = |held: bool| of(held).map(|concern| concern.records).sum();
    let mut checks = Vec::new();
    let unmapped = writes.objects.iter().filter_map(|object| object.held.get(&HoldReason::UnmappedValue)).sum::<u64>();
    checks.push(if unmapped == 0 {
        check("values", Verdict::Passes, "every value that a value map or a picklist must know is known")
    } else {
        check("values", Verdict::Warns, "some values have no place in a value map or a picklist")
            .records(unmapped)
            .remedy("add them to the plan's maps, or let the records wait")
    });
    checks.push(if total(true) == 0 {
        check("waiting", Verdict::Passes, "no record would wait for a person")
    } else {
        check("waiting", Verdict::Warns, "some records would wait for a person")
            .about(lines(true))
            .records(total(true))
            .remedy("correct the source or the plan, or let them wait: `waybill holds list` names them after the run")
    });
    checks.push(if total(false) == 0 {
        check("losses", Verdict::Passes, "every value arrives as it is")
    } else {
        check("losses", Verdict::Warns, "some values change on the way, as the plan says")
            .about(lines(false))
            .records(total(false))
            .remedy("widen the field or change the rule, if that is not what you want")
    });
    checks
}

/// Original times, and the zone in which moments become days.
fn times(prepared: &Prepared) -> Check {
    let mut instead = Vec::new();
    for rule in prepared.plan.rules() {
        let Some(object) = prepared.schema.object(rule.to.as_str()) else { continue };
        let sets = |name: &str| object.field(name).is_some_and(|field| field.createable);
        let refused = rule.fields.iter().filter(|(name, _)| !sets(name.as_str()));
        instead.extend(refused.filter_map(|(name, field)| match &field.instead {
            Some(other) => Some(format!("{}.{name} goes to {other}", rule.to)),
            None => field.if_allowed.then(|| format!("{}.{name} is left out", rule.to)),
        }));
    }
    instead.sort();
    instead.dedup();
    let days = prepared.plan.rules().iter().any(|rule| {
        let object = prepared.schema.object(rule.to.as_str());
        rule.fields.keys().any(|name| {
            let field = object.and_then(|object| object.field(name.as_str()));
            field.is_some_and(|field| field.kind == FieldKind::Date)
        })
    });
    let zone = if days { format!("; moments become days in {}", prepared.plan.zone()) } else { String::new() };
    if instead.is_empty() {
        return check("times", Verdict::Passes, format!("original times are kept{zone}"));
    }
    check(
        "times",
        Verdict::Warns,
        format!("our user may not set original times; other fields take them where there are any{zone}"),
    )
    .about(instead)
    .remedy("give our user the permission to set audit fields on create, before the first run")
}

/// What the run takes of the destination's limits.
async fn limits(session: &Session, prepared: &Prepared, writes: &Prediction) -> Result<Vec<Check>, Failure> {
    let destination = prepared.destination();
    let left = destination.limits().await?;
    let to = &session.project.config.destination;
    let (most, at_once) = (to.job_rows.unwrap_or(JOB_ROWS), to.at_once.unwrap_or(AT_ONCE));
    let mut planned = Vec::new();
    for object in &writes.objects {
        let name: ObjectName = object.object.as_str().into();
        let known = session.recorder.ledger().find_name(NameKind::Object, &object.object);
        let baseline = known.and_then(|name| session.state.baseline(name)).map_or(0, |baseline| baseline.rows);
        let rows = usize::try_from(object.create).unwrap_or(most);
        let is_job = |rows| destination.transport(&name, Operation::Create, rows) == Transport::Job;
        planned.push(Planned {
            object: name.clone(),
            creates: object.create,
            updates: object.update,
            present: baseline + object.update + object.same,
            bytes: object.bytes,
            create_rows: rows_of_job(rows, most, at_once, is_job) as u64,
            update_rows: most as u64,
        });
    }
    let mut checks = Vec::new();
    for need in destination.needs(&planned) {
        let Some(budget) = left.budgets.get(need.limit) else {
            checks.push(check(
                "limits",
                Verdict::Warns,
                format!("the destination does not tell its limit {}", need.limit),
            ));
            continue;
        };
        let found = format!(
            "about {} {} of {} that are left ({} in all)",
            need.amount, need.what, budget.remaining, budget.max
        );
        checks.push(if need.amount > budget.remaining {
            let remedy = match need.limit {
                "DataStorageMB" | "FileStorageMB" => "make room or buy storage; the platform refuses rows beyond it",
                _ => "run in parts on several days: a run pauses when the limit is used up, and goes on later",
            };
            // A daily limit pauses a run, storage ends it.
            let verdict = if need.limit.starts_with("Daily") { Verdict::Warns } else { Verdict::Blocks };
            check("limits", verdict, found).about(vec![need.limit.to_owned()]).remedy(remedy)
        } else if need.amount * 5 > budget.remaining * 4 {
            check("limits", Verdict::Warns, found)
                .about(vec![need.limit.to_owned()])
                .remedy("it is close: nothing else should use the org meanwhile")
        } else {
            check("limits", Verdict::Passes, found).about(vec![need.limit.to_owned()])
        });
    }
    if !destination.abilities().hard_delete {
        checks.push(check(
            "hard-delete",
            Verdict::Passes,
            "rows that a rollback deletes lie in the recycle bin until it is emptied; they hold no unique key there",
        ));
    }
    Ok(checks)
}

/// Returns what is done to each object, as far as it can be told before.
fn touches(prepared: &Prepared, writes: &Prediction) -> Vec<Touch> {
    let touch = |object: waybill_ledger::ObjectName| {
        let known = writes.objects.iter().find(|known| known.object == object.as_str());
        let (creates, updates) = known.map_or((false, false), |known| (known.create > 0, known.update > 0));
        let rules: Vec<&Rule> = prepared.plan.rules().iter().filter(|rule| rule.to == object).collect();
        // What is made is changed once more where records point to others of their object.
        let later = rules.iter().flat_map(|rule| rule.self_references()).map(|(name, _)| name).filter(|_| creates);
        let all = rules.iter().flat_map(|rule| rule.fields.keys()).filter(|_| updates);
        let updates: std::collections::BTreeSet<_> = later.chain(all).cloned().collect();
        let updated = known.is_some_and(|known| known.matched > 0);
        Touch {
            creates,
            updates: updates.into_iter().collect(),
            restores: updated && rules.iter().any(|rule| rule.trash == Trash::Restore),
            deletes: known.is_some_and(|known| known.delete + known.destroy > 0),
            object,
        }
    };
    prepared.plan.destination_objects().into_iter().map(touch).collect()
}

async fn automation(prepared: &Prepared, writes: &Prediction) -> Result<Check, Failure> {
    let found = prepared.destination().automation(&touches(prepared, writes)).await?;
    let on = |on: &Option<String>| on.as_ref().map_or_else(String::new, |on| format!(", {on}"));
    let told =
        |active: &Automation| format!("{} `{}` on {}{}", active.kind, active.name, active.object, on(&active.on));
    let mut about: Vec<String> = found.active.iter().map(told).collect();
    about.extend(found.unseen.iter().map(|(kind, code)| format!("{kind}s: our user may not look ({code})")));
    if about.is_empty() {
        return Ok(check("automation", Verdict::Passes, "nothing runs by itself on the objects of the plan"));
    }
    let what = format!("{} things run by themselves when records are written", found.active.len());
    Ok(check("automation", Verdict::Warns, what)
        .about(about)
        .remedy("switch off what must not answer to a migration, or let it pass our user by; what it changes is told"))
}

fn approval(session: &Session, prepared: &Prepared) -> Check {
    match approve::must_be_approved(session, prepared) {
        Ok(approval) => check("approval", Verdict::Passes, format!("approved by {}", approval.by)),
        Err(failure) => check("approval", Verdict::Warns, failure.what.clone())
            .about(failure.details.clone())
            .remedy("`waybill approve --by NAME`, once everything else is as it should be"),
    }
}
