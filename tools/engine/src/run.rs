//! A load and a delta: gates first, then the phases.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use futures::StreamExt;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use waybill_connectors::{Destination, Scan};
use waybill_ledger::{
    Content, Event, Position, SubjectKey,
    event::{Gate, HoldReason, NameKind, PauseReason, RunKind, RunOutcome},
    ledger::Opened,
};
use waybill_projector::{accounting::SourceAccount, key_prefix};

use crate::{
    approve::{must_be_approved, must_be_capped},
    baseline,
    extract::Intaken,
    failure::{Failure, FailureKind},
    flaws::{Flaw, Flaws},
    load::{Loader, Phase, Span},
    prepare::Prepared,
    reconcile::{PhaseCheck, Tolerance},
    recorder::Recorder,
    sample, samples,
    session::Session,
    state::{Approval, State},
    write::Desk,
};

/// The most rows in one job, unless the project says otherwise: what is under way is held in memory.
pub(crate) const JOB_ROWS: usize = 10_000;
/// The most batches under way at once, unless the configuration says otherwise.
pub(crate) const AT_ONCE: usize = 3;

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunReport {
    /// Its number.
    pub run: u32,
    /// Whether it went on with one that was broken off.
    pub resumed: bool,
    /// What was read.
    pub read: Vec<Intaken>,
    /// What was done, phase by phase.
    pub phases: Vec<Phase>,
    /// Every finding of the phases that were read back, as a CSV file, if they were to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciled: Option<PathBuf>,
    /// What became of the records of each source object.
    pub sources: Vec<Accounted>,
    /// Records that wait for a person.
    pub held: u64,
    /// The ledger's signed head.
    pub head: String,
}

/// The account of one source object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accounted {
    /// The object.
    pub object: String,
    /// The account.
    #[serde(flatten)]
    pub account: SourceAccount,
}

/// What a run is asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    kind: RunKind,
    /// About how many records it lands, if not all.
    sample: Option<u64>,
    /// Whether each phase is read back before the next, and what may be off.
    reconcile: Option<Tolerance>,
}

/// Lands everything, or goes on with a load that was broken off. With a tolerance, each phase is read back and compared before
/// the next one begins.
pub async fn load<M: Flaws>(
    session: &mut Session<M>,
    stop: &CancellationToken,
    reconcile: Option<Tolerance>,
) -> Result<RunReport, Failure> {
    run(session, stop, Asked { kind: RunKind::Load, sample: None, reconcile }).await
}

/// Lands a slice of about `size` records, with everything that they point to.
pub async fn sample<M: Flaws>(
    session: &mut Session<M>,
    stop: &CancellationToken,
    size: u64,
) -> Result<RunReport, Failure> {
    if size == 0 {
        return Err(
            Failure::usage("a sample has at least one record").hint("100 to 500 records show most of what there is")
        );
    }
    run(session, stop, Asked { kind: RunKind::Sample, sample: Some(size), reconcile: None }).await
}

/// Lands what changed since the last load or delta, and what waited. With a tolerance, each phase is read back and compared
/// before the next one begins.
pub async fn delta<M: Flaws>(
    session: &mut Session<M>,
    stop: &CancellationToken,
    reconcile: Option<Tolerance>,
) -> Result<RunReport, Failure> {
    let loaded = session.state.runs().iter().any(|run| matches!(run.kind, RunKind::Load) && run.ended.is_some());
    if !loaded {
        return Err(Failure::stopped("there is no finished load to pick up changes from")
            .hint("land everything first with `waybill run`"));
    }
    run(session, stop, Asked { kind: RunKind::Delta, sample: None, reconcile }).await
}

async fn run<M: Flaws>(session: &mut Session<M>, stop: &CancellationToken, asked: Asked) -> Result<RunReport, Failure> {
    let kind = asked.kind;
    if session.state.approval().is_none() {
        return Err(Failure::stopped("nobody has approved the plan").hint(
            "look at the plan with `waybill plan`, then let a person approve it with `waybill approve --by NAME`",
        ));
    }
    // Everything read since the last run of this kind ended is new to it; the reading itself happens below.
    let since = session
        .state
        .runs()
        .iter()
        .filter(|run| matches!(run.kind, RunKind::Load | RunKind::Delta))
        .filter_map(|run| (run.ended.is_some() || session.flaws.has(Flaw::LateCheckpoint)).then_some(run.began))
        .next_back();
    let prepared = Prepared::new(session).await?;
    prepared.must_fit()?;
    let approval = must_be_approved(session, &prepared)?;
    if !prepared.changes.is_empty() {
        let lines = prepared.changes.iter().map(crate::schema::words);
        return Err(Failure::stopped("the destination lacks what the plan needs").details(lines).hint(
            "make it with `waybill schema apply`, or hand the files of `waybill schema export` to an administrator",
        ));
    }
    prepared.must_be_acyclic(session)?;
    let plan = prepared.plan.digest();
    let (recorder, resumed) = session.begin(kind, Some(plan)).await?;
    let gates = [Gate::Approval, Gate::Schema, Gate::Owners];
    recorder.append(gates.map(|gate| recorder.draft(Event::GateDecided { gate, open: true })).into()).await?;
    let span = match (kind, since) {
        (RunKind::Delta, Some(since)) => Span::Since(since),
        _ => Span::Everything,
    };
    let chosen = match asked.sample {
        None => None,
        Some(size) => {
            let (ledger, source) = (session.recorder.ledger(), prepared.source.instance());
            let schema = &prepared.source_schema;
            Some(sample::choose(&prepared.plan, ledger, &session.state, &source, schema, size)?)
        }
    };
    let part = Part { span, chosen, resumed, reconcile: asked.reconcile };
    let done = Box::pin(work(session, &prepared, &approval, &recorder, stop, part)).await;
    let (phases, reconciled) = match done {
        Ok(done) => done,
        Err(failure) => {
            pause(session, &recorder, &failure).await;
            return Err(failure);
        }
    };
    let sources = accounts(session, &prepared);
    if let Err(failure) = must_balance(session, &sources, kind) {
        pause(session, &recorder, &failure).await;
        return Err(failure);
    }
    let held = session.state.intake().held().count() as u64;
    let outcome = if held > 0 { RunOutcome::DoneWithHolds } else { RunOutcome::Done };
    let head = recorder.ledger().head();
    recorder.append(vec![recorder.draft(Event::HeadSigned { blocks: head.blocks, root: head.root })]).await?;
    session.end(&recorder, outcome).await?;
    Ok(RunReport {
        run: recorder.run().map_or(0, |run| run.0),
        resumed,
        read: prepared.intake,
        phases,
        reconciled,
        sources,
        held,
        head: session.recorder.ledger().signed_head()?,
    })
}

/// Which part of the source a run lands, and how.
struct Part {
    span: Span,
    chosen: Option<BTreeSet<Position>>,
    resumed: bool,
    reconcile: Option<Tolerance>,
}

async fn work<M: Flaws>(
    session: &mut Session<M>,
    prepared: &Prepared,
    approval: &Approval,
    recorder: &Recorder,
    stop: &CancellationToken,
    part: Part,
) -> Result<(Vec<Phase>, Option<PathBuf>), Failure> {
    let Part { span, chosen, resumed, reconcile } = part;
    let instance = prepared.reached.name();
    let progress = std::sync::Arc::clone(&session.progress);
    let project = session.project.config.project.id.clone();
    let desk = Arc::new(Desk {
        destination: Arc::clone(&prepared.reached.destination),
        instance,
        user: prepared.reached.instance.user.clone(),
        key_field: prepared.plan.key_field(),
        without_key: prepared.plan.without_key().clone(),
        files: Some(prepared.files.clone()),
        schema: Arc::new(prepared.schema.clone()),
        job_rows: session.project.config.destination.job_rows.unwrap_or(JOB_ROWS),
        at_once: session.project.config.destination.at_once.unwrap_or(AT_ONCE),
        written: prepared.plan.destination_objects().into_iter().collect(),
        recorder: recorder.clone(),
        progress,
        stop: stop.clone(),
        flaws: session.flaws,
    });
    let source = prepared.source.instance();
    let loader = Loader {
        desk: &desk,
        project: &project,
        plan: &prepared.plan,
        source: &source,
        owners: &prepared.owners,
        approval,
        files: &prepared.files,
        exported: prepared.source.bundle().identity().exported_at,
        chosen,
    };
    let state = &mut session.state;
    if span != Span::Everything
        && !resumed
        && reconcile.is_none()
        && let Some(phases) = Box::pin(loader.quiet(state)).await?
    {
        return Ok((phases, None));
    }
    state.know_ids(recorder.ledger())?;
    settle(&desk, state, prepared).await?;
    ours(&desk, state, prepared, &project).await?;
    let nothing_of_ours = !state.landing().all().any(|landed| landed.is_live());
    if nothing_of_ours && !resumed && span == Span::Everything {
        for object in prepared.plan.destination_objects() {
            baseline::take(&desk, state, &object).await?;
        }
    } else {
        for object in prepared.plan.destination_objects() {
            let name = recorder.name(NameKind::Object, object.as_str())?;
            let whole = state.baseline(name).is_some_and(|baseline| baseline.complete);
            if !whole && nothing_of_ours {
                baseline::take(&desk, state, &object).await?;
            }
        }
    }
    // The caps are looked at once more here, before the first write of this run.
    for object in prepared.plan.destination_objects() {
        let name = recorder.name(NameKind::Object, object.as_str())?;
        must_be_capped(state, approval, object.as_str(), name, waybill_ledger::event::Operation::Create, 0)?;
    }
    samples::teach_destination(recorder.ledger(), state.intake(), &prepared.plan, &prepared.schema, &source).await?;
    let (reports, run) = (session.project.reports(), recorder.run().map_or(0, |run| run.0));
    let mut check = reconcile.map(|most| PhaseCheck::new(&reports, run, &project, most)).transpose()?;
    let phases = loader.load(state, span, check.as_mut()).await?;
    let table = match check {
        Some(check) => Some(check.finish(recorder).await?),
        None => None,
    };
    Ok((phases, table))
}

/// Settles every write that an earlier process left open.
pub(crate) async fn settle<D: Destination, M: Flaws>(
    desk: &Arc<Desk<D, M>>,
    state: &mut State,
    prepared: &Prepared,
) -> Result<(), Failure> {
    if state.landing().open().next().is_none() {
        return Ok(());
    }
    for object in prepared.plan.destination_objects() {
        crate::write::Writer::new(desk, &object)?.settle_open(state).await?;
    }
    Ok(())
}

/// Stops if the destination has rows with this project's key that the ledger does not know: a restored old ledger must
/// not double a migration.
async fn ours<D: Destination, M: Flaws>(
    desk: &Arc<Desk<D, M>>,
    state: &mut State,
    prepared: &Prepared,
    project: &str,
) -> Result<(), Failure> {
    let ledger = desk.recorder.ledger();
    let (prefix, key) = (key_prefix(project), prepared.plan.key_field());
    let mut strange = Vec::new();
    for object in prepared.plan.destination_objects() {
        if desk.key(&object).is_none() {
            continue;
        }
        let fields = [key.clone()];
        let mut unknown = Vec::new();
        let mut pages = desk.destination.scan(&object, &fields, Scan::Holding(&key));
        desk.progress.begin(&format!("looking for our keys in {object}"), 0);
        while let Some(page) = pages.next().await {
            for row in page? {
                desk.progress.advance(1);
                let Some(text) = row.record.fields.text(key.as_str()).filter(|text| text.starts_with(&prefix)) else {
                    continue;
                };
                let subject = ledger.find_subject(&SubjectKey::new(&desk.instance, object.as_str(), &row.record.id));
                if subject.and_then(|subject| state.landing().owner(subject)).is_none() {
                    unknown.push((text.to_owned(), format!("{object} {}", row.record.id)));
                }
            }
        }
        desk.progress.end();
        // Rows of forgotten subjects are there, and nobody can say any more which they are.
        let name = desk.recorder.name(NameKind::Object, object.as_str())?;
        if unknown.len() as u64 > state.forgotten(name) {
            strange.append(&mut unknown);
        }
    }
    // A create that was given up may have been done after all, long after. The ledger knows that it was meant; to send it again
    // makes the destination say that the key is taken, and then the row is looked at.
    let mut strange: BTreeMap<String, String> = strange.into_iter().collect();
    if !strange.is_empty() {
        let mapped = |envelope: &waybill_ledger::Envelope| matches!(envelope.event, Event::RecordMapped { .. });
        for event in ledger.reader().read(Position(0).., mapped) {
            if let (_, Opened::Content(Content::Mapped(meant))) = event? {
                strange.remove(&meant.key);
            }
        }
    }
    let mut strange: Vec<String> = strange.into_values().collect();
    let open = strange.is_empty();
    let draft = desk.recorder.draft(Event::GateDecided { gate: Gate::Ours, open });
    desk.recorder.append(vec![draft]).await?;
    state.catch_up(ledger)?;
    if open {
        return Ok(());
    }
    let count = strange.len();
    strange.truncate(20);
    Err(Failure::stopped(format!(
        "the destination has {count} rows with this project's key that the ledger does not know"
    ))
    .details(strange)
    .hint("is this an old copy of the ledger? Put the latest one in place; a run from here would double records"))
}

/// Leaves a word about why the run stopped; the ledger may be what failed, so this is allowed to fail.
async fn pause<M: Flaws>(session: &mut Session<M>, recorder: &Recorder, failure: &Failure) {
    let reason = match failure.kind {
        FailureKind::Stopped if failure.what.starts_with("stopped as asked") => PauseReason::Asked,
        FailureKind::Stopped if failure.what.contains("quota") => PauseReason::Quota,
        FailureKind::Stopped => PauseReason::Finding,
        _ => PauseReason::Unreachable,
    };
    if recorder.append(vec![recorder.draft(Event::RunPaused { reason })]).await.is_ok() {
        // The failure that is being reported matters more than one of catching up.
        let _ = session.state.catch_up(recorder.ledger());
    }
}

/// Checks both identities of law 9: every record read is somewhere, and every intent has an outcome or is held as
/// undetermined.
fn must_balance<M: Flaws>(session: &Session<M>, sources: &[Accounted], kind: RunKind) -> Result<(), Failure> {
    // A sample leaves most records where they are.
    let whole = kind != RunKind::Sample;
    let mut unbalanced: Vec<String> = sources
        .iter()
        .filter(|source| !source.account.balances() || whole && source.account.waiting > 0)
        .map(|source| format!("{}: {:?}", source.object, source.account))
        .collect();
    let state = &session.state;
    let forgotten = state
        .landing()
        .open()
        .filter(|landed| {
            state.intake().hold_of(landed.target.subject, landed.target.part) != Some(HoldReason::Undetermined)
        })
        .count();
    if forgotten > 0 {
        unbalanced.push(format!("{forgotten} writes have neither an outcome nor a hold"));
    }
    if unbalanced.is_empty() {
        return Ok(());
    }
    Err(Failure::stopped(
        "the accounts do not balance: some records were read, or meant to be written, and are nowhere",
    )
    .details(unbalanced)
    .hint("run the same command again; if this stays, keep the ledger and report it"))
}

fn accounts<M: Flaws>(session: &Session<M>, prepared: &Prepared) -> Vec<Accounted> {
    let ledger = session.recorder.ledger();
    let mut objects: Vec<String> = prepared.plan.rules().iter().map(|rule| rule.from.clone()).collect();
    let mut told = std::collections::BTreeSet::new();
    objects.retain(|object| told.insert(object.clone()));
    let mut all = SourceAccount::all(session.state.intake(), session.state.landing());
    objects
        .into_iter()
        .filter_map(|object| {
            let name = ledger.find_name(NameKind::Object, &object)?;
            let account = all.remove(&name).unwrap_or_default();
            Some(Accounted { object, account })
        })
        .collect()
}
