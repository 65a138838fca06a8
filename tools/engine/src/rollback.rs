//! Takes back what we wrote: rows we made go, fields we changed go back, in reverse order; then the proof.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use waybill_connectors::Destination;
use waybill_ledger::{
    Event, FieldKind, Mapped, NameId, ObjectName, Position, SubjectId, Target,
    event::{NameKind, Operation, RunKind, RunOutcome},
};
pub use waybill_projector::rollback::Scope;
use waybill_projector::rollback::{self, Inverses};

use crate::{
    baseline::{self, Difference},
    failure::Failure,
    files::Files,
    flaws::{Flaw, Flaws},
    moved::Moved,
    reconcile::reach,
    run::{AT_ONCE, JOB_ROWS},
    session::Session,
    state::State,
    write::{Change, Desk, Removal, Restore, Tally, Writer},
};

/// What a rollback would do, or did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The run; none for a dry run.
    pub run: Option<u32>,
    /// By destination object, in the order in which it is taken back.
    pub objects: Vec<Undone>,
    /// How each object differs from what it was before us; only after a rollback of everything.
    pub differences: Vec<Difference>,
    /// In a dry run, what would stay, the first of it, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// Of the schema elements that we made, what was taken away again, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schema: Vec<crate::schema::Change>,
    /// What no rollback can take back.
    pub residue: Vec<String>,
}

/// What was taken back of one object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Undone {
    /// The object.
    pub object: String,
    /// Rows to delete.
    pub deletes: u64,
    /// Rows to restore.
    pub restores: u64,
    /// Rows to make again.
    pub recreates: u64,
    /// Rows that were taken back.
    pub done: u64,
    /// Rows that already were as before.
    pub unchanged: u64,
    /// Rows that stay because someone built on them.
    pub held: u64,
    /// Rows whose way back the destination refused.
    pub rejected: u64,
    /// In a dry run, rows that would stay, wholly or in part, because of what people did.
    pub conflicts: u64,
}

/// Everything that is to be taken back. Rows that we made and never touched again are one bit each, by the number of their
/// target: there are as many as there are records. The others are few.
#[derive(Debug)]
struct Inverse {
    plain: Vec<u64>,
    others: BTreeMap<NameId, Planned>,
    /// Rows that were there before us, and that a rollback gave back: they are no records of ours any more.
    given_back: u64,
    /// Rows that lay in the trash, and that were deleted for good.
    destroyed: u64,
}

impl Inverse {
    /// Says what does not come back.
    fn told(&self) -> impl Iterator<Item = String> + use<> {
        let (rows, destroyed) = (self.given_back, self.destroyed);
        let given_back = (rows > 0).then(|| format!("{rows} rows that were there before us stay as they are, for they are no records of ours any more; `waybill run` takes them up again"));
        let destroyed = (destroyed > 0).then(|| format!("{destroyed} rows that lay in the trash were deleted for good and do not come back; `waybill audit log` tells where the ledger keeps what they held"));
        given_back.into_iter().chain(destroyed)
    }

    fn is_plain(&self, index: usize) -> bool {
        self.plain.get(index / 64).is_some_and(|bits| bits >> (index % 64) & 1 == 1)
    }

    /// Returns the plain rows of one object, by the numbers of their targets.
    fn plain_of(&self, state: &State, object: NameId) -> impl Iterator<Item = usize> {
        let landing = state.landing();
        (0..landing.len()).filter(move |index| {
            self.is_plain(*index) && landing.at(*index).is_some_and(|landed| landed.object == object)
        })
    }
}

/// The inverses of one object, but for its plain rows.
#[derive(Debug, Default)]
struct Planned {
    deletes: Vec<Removal>,
    restores: Vec<Restore>,
    recreates: Vec<(Target, Option<Position>, Position)>,
}

/// How a rollback goes about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct How {
    /// Nothing is written: it is only said what would be.
    pub dry: bool,
    /// Nothing is written if more rows than this would be.
    pub at_most: Option<u64>,
    /// What the schema steps made goes, too, as far as nobody holds anything in it.
    pub schema: bool,
}

/// How many conflicts a dry run names.
const NAMED: usize = 200;

/// Stops if more rows would be written than a person wants.
fn must_be_capped<M>(
    session: &Session<M>,
    order: &[ObjectName],
    mut inverse: Inverse,
    at_most: Option<u64>,
) -> Result<(), Failure> {
    let objects: Vec<Undone> = order.iter().map(|object| summary(session, object, &mut inverse).0).collect();
    let rows = |undone: &Undone| undone.deletes + undone.restores + undone.recreates;
    // A write whose outcome is not known yet may have to be taken back as well.
    let open = session.state.landing().open().count() as u64;
    let all = objects.iter().map(rows).sum::<u64>() + open;
    if at_most.is_none_or(|most| all <= most) {
        return Ok(());
    }
    let lines = objects.iter().filter(|undone| rows(undone) > 0);
    Err(Failure::stopped(format!("this would take back {all} rows; at most {} are allowed", at_most.unwrap_or(0)))
        .details(lines.map(|undone| format!("{}: {}", undone.object, rows(undone))))
        .hint("look at it with --dry-run; narrow it with --run, --object, --rule or --record, or raise --at-most"))
}

/// Says what a rollback would do, and what would stay because of what people did: it reads the destination, and writes nothing.
async fn foresee<D: Destination, M: Flaws>(
    session: &Session<M>,
    desk: &Arc<Desk<D, M>>,
    scope: Scope,
    order: &[ObjectName],
) -> Result<Report, Failure> {
    let mut inverse = plan_of(session, scope)?;
    let mut report = Report { residue: inverse.told().collect(), ..Report::default() };
    // Rows that are put back point elsewhere by then.
    let restored = |work: &Planned| work.restores.iter().filter_map(|r| r.landed.destination).collect::<Vec<_>>();
    let others = inverse.others.values();
    let going: BTreeSet<SubjectId> =
        others.flat_map(|work| singly(session, &work.deletes).into_iter().chain(restored(work))).collect();
    let mut staying: BTreeSet<SubjectId> = BTreeSet::new();
    for object in order {
        let (mut undone, work) = summary(session, object, &mut inverse);
        let Some(name) = session.recorder.ledger().find_name(NameKind::Object, object.as_str()) else { continue };
        let writer = Writer::new(desk, object)?;
        desk.progress.begin(&format!("looking at {object}"), undone.deletes + undone.restores);
        let plain = plain_rows(session, &inverse, name);
        let mut told = BTreeMap::new();
        // Once more whenever a row turns out to stay: what it points to within its object stays with it.
        loop {
            let known = staying.len();
            let leaving = |state: &State, destination: SubjectId| {
                let plain = |index| inverse.is_plain(index);
                !staying.contains(&destination)
                    && (going.contains(&destination) || state.landing().owner_index(destination).is_some_and(plain))
            };
            let mut foreseen = writer.foresee_deletes(&session.state, &work.deletes, &leaving).await?;
            for chunk in plain.chunks(2_000) {
                let removals = removals_of(session, chunk)?;
                foreseen.extend(writer.foresee_deletes(&session.state, &removals, &leaving).await?);
                desk.progress.advance(chunk.len() as u64);
            }
            staying.extend(foreseen.iter().filter_map(|(destination, _)| *destination));
            told.extend(foreseen.into_iter().map(|(row, why)| ((row, row.is_none().then(|| why.clone())), why)));
            if staying.len() == known {
                break;
            }
        }
        let restores = writer.foresee_restores(&session.state, &work.restores).await?;
        desk.progress.end();
        undone.conflicts = (told.len() + restores.len()) as u64;
        report.conflicts.extend(told.into_values().chain(restores));
        report.conflicts.truncate(NAMED);
        report.objects.push(undone);
    }
    Ok(report)
}

/// Returns the destination records of rows that are deleted one by one.
fn singly<M>(session: &Session<M>, removals: &[Removal]) -> BTreeSet<SubjectId> {
    removals.iter().filter_map(|removal| session.state.landing().get(removal.target)?.destination).collect()
}

/// Returns which destination records go with one object. Of this object alone: what of the objects before it is still there
/// was kept, for someone built on it.
fn leaving<'a>(
    inverse: &'a Inverse,
    name: NameId,
    singly: &'a BTreeSet<SubjectId>,
) -> impl Fn(&State, SubjectId) -> bool + Sync + 'a {
    move |state: &State, destination: SubjectId| {
        let landing = state.landing();
        let plain = |index| inverse.is_plain(index) && landing.at(index).is_some_and(|landed| landed.object == name);
        singly.contains(&destination) || landing.owner_index(destination).is_some_and(plain)
    }
}

fn plain_rows<M>(session: &Session<M>, inverse: &Inverse, name: NameId) -> Vec<u32> {
    inverse.plain_of(&session.state, name).map(|index| u32::try_from(index).unwrap_or(u32::MAX)).collect()
}

/// Takes back what is in scope, or only says what it would take back.
pub async fn rollback<M: Flaws>(
    session: &mut Session<M>,
    scope: Scope,
    how: How,
    stop: &CancellationToken,
) -> Result<Report, Failure> {
    let (plan, reached, schema) = reach(session).await?;
    let mut order: Vec<ObjectName> =
        plan.phases().map_err(|e| Failure::stopped(e.to_string()))?.into_iter().map(|phase| phase.object).collect();
    if !session.flaws.has(Flaw::ParentsFirst) {
        order.reverse();
    }
    let bin = !reached.destination.abilities().hard_delete;
    let removes = reached.destination.abilities().removes_schema;
    let residue = residue(session, &schema, &plan.key_field(), (bin, removes, how))?;
    if how.at_most.is_some() && !how.dry {
        let inverse = plan_of(session, scope)?;
        must_be_capped(session, &order, inverse, how.at_most)?;
    }
    let recorder = if how.dry { session.recorder.clone() } else { session.begin(RunKind::Rollback, None).await?.0 };
    let instance = reached.name();
    let progress = Arc::clone(&session.progress);
    // A file that was deleted is made again from the export, if that is still at hand.
    let binary = |object: &waybill_ledger::ObjectSchema| object.fields.iter().any(|f| f.kind == FieldKind::Binary);
    let files = match scope {
        Scope::Everything => None,
        _ if how.dry || !schema.objects.iter().any(binary) => None,
        _ => session.source().await.ok().map(|source| Files::new(source.shared(), plan.file_limit())),
    };
    let desk = Arc::new(Desk {
        destination: Arc::clone(&reached.destination),
        instance,
        user: reached.instance.user.clone(),
        key_field: plan.key_field(),
        without_key: plan.without_key().clone(),
        files,
        schema: Arc::new(schema),
        job_rows: session.project.config.destination.job_rows.unwrap_or(JOB_ROWS),
        at_once: session.project.config.destination.at_once.unwrap_or(AT_ONCE),
        written: plan.destination_objects().into_iter().collect(),
        recorder: recorder.clone(),
        progress: Arc::clone(&progress),
        stop: stop.clone(),
        flaws: session.flaws,
    });
    if how.dry {
        let foreseen = foresee(session, &desk, scope, &order).await?;
        return Ok(Report { residue: residue.into_iter().chain(foreseen.residue).collect(), ..foreseen });
    }
    for object in &order {
        let writer = Writer::new(&desk, object)?;
        writer.settle_open(&mut session.state).await?;
        writer.find_late(&mut session.state).await?;
    }
    let mut inverse = plan_of(session, scope)?;
    let count = |of: fn(&Planned) -> usize| inverse.others.values().map(of).sum::<usize>() as u64;
    let plain: u64 = inverse.plain.iter().map(|bits| u64::from(bits.count_ones())).sum();
    let event = Event::RollbackPlanned {
        deletes: plain + count(|p| p.deletes.len()),
        restores: count(|p| p.restores.len()),
        recreates: count(|p| p.recreates.len()),
    };
    recorder.append(vec![recorder.draft(event)]).await?;
    let mut report = Report { run: recorder.run().map(|run| run.0), residue, ..Report::default() };
    report.residue.extend(inverse.told());
    let moved = if inverse.others.values().any(|work| !(work.recreates.is_empty() && work.restores.is_empty())) {
        Moved::read(recorder.ledger(), &desk.instance)?
    } else {
        Moved::default()
    };
    // What was deleted comes back first, parents before what points to them.
    let mut made = BTreeMap::new();
    for object in order.iter().rev() {
        let name = recorder.ledger().find_name(NameKind::Object, object.as_str());
        let rows = name.and_then(|name| inverse.others.get_mut(&name)).map(|work| std::mem::take(&mut work.recreates));
        let Some(rows) = rows.filter(|rows| !rows.is_empty()) else { continue };
        progress.begin(&format!("making {object} again"), rows.len() as u64);
        let writer = Writer::new(&desk, object)?;
        let count = rows.len() as u64;
        let tally = recreate(&writer, &mut session.state, object, rows, &moved).await?;
        progress.end();
        made.insert(object.clone(), (count, tally));
    }
    for object in &order {
        let (mut undone, work) = summary(session, object, &mut inverse);
        let writer = Writer::new(&desk, object)?;
        if let Some((count, tally)) = made.remove(object) {
            undone.recreates = count;
            undone.add(tally);
        }
        progress.begin(&format!("taking back {object}"), undone.deletes + undone.restores);
        undone.add(writer.restore(&mut session.state, work.restores, &moved).await?);
        progress.advance(undone.restores);
        undone.add(delete(&writer, session, object, &inverse, work.deletes, stop).await?);
        progress.end();
        report.objects.push(undone);
        if stop.is_cancelled() {
            return Err(Failure::stopped("stopped as asked; everything taken back so far is in the ledger")
                .hint("run the same command again: it goes on where it stopped"));
        }
    }
    if scope == Scope::Everything {
        for object in plan.destination_objects() {
            report.differences.extend(baseline::compare(&desk, &session.state, &object).await?);
        }
    }
    let held = report.objects.iter().any(|object| object.held + object.rejected > 0);
    session.end(&recorder, if held { RunOutcome::DoneWithHolds } else { RunOutcome::Done }).await?;
    if how.schema && scope == Scope::Everything {
        report.schema = crate::schema::take_back(session, &reached).await?;
        let stays = report.schema.iter().filter(|change| change.outcome == "stays");
        let why = |change: &crate::schema::Change| change.note.clone().unwrap_or_default();
        report.residue.extend(stays.map(|change| format!("{} stays: {}", change.what, why(change))));
    }
    Ok(report)
}

/// Deletes what we made of one object: the plain rows chunk by chunk, then the others.
async fn delete<D: Destination, M: Flaws>(
    writer: &Writer<D, M>,
    session: &mut Session<M>,
    object: &ObjectName,
    inverse: &Inverse,
    others: Vec<Removal>,
    stop: &CancellationToken,
) -> Result<Tally, Failure> {
    let Some(name) = session.recorder.ledger().find_name(NameKind::Object, object.as_str()) else {
        return Ok(Tally::default());
    };
    let singly = singly(session, &others);
    let leaving = leaving(inverse, name, &singly);
    let plain = plain_rows(session, inverse, name);
    let size = writer.delete_size(plain.len() + others.len());
    let (mut tally, mut later) = (Tally::default(), Vec::new());
    for chunk in plain.chunks(size) {
        let removals = removals_of(session, chunk)?;
        let (done, early) = writer.delete(&mut session.state, removals, &leaving, false).await?;
        tally += done;
        later.extend(early);
        if stop.is_cancelled() {
            return Ok(tally);
        }
    }
    later.extend(others);
    tally += writer.delete_in_order(&mut session.state, later, &leaving).await?;
    Ok(tally)
}

/// Returns the removals of plain rows: what each undoes is the create that its after-image names.
fn removals_of<M>(session: &Session<M>, indices: &[u32]) -> Result<Vec<Removal>, Failure> {
    let landed = indices.iter().filter_map(|index| session.state.landing().at(*index as usize));
    let mut by_image: BTreeMap<Position, Removal> =
        landed.filter_map(|row| Some((row.after?, Removal { target: row.target, inverts: None }))).collect();
    let (Some(first), Some(last)) = (by_image.keys().next().copied(), by_image.keys().next_back().copied()) else {
        return Ok(Vec::new());
    };
    for event in session.recorder.ledger().reader().read(first..=last, |_| false) {
        let (envelope, _) = event?;
        if let Some(removal) = by_image.get_mut(&envelope.position) {
            removal.inverts = envelope.causes.first().copied();
        }
    }
    Ok(by_image.into_values().collect())
}

/// Folds the ledger into the net inverse of the scope.
fn plan_of<M>(session: &Session<M>, scope: Scope) -> Result<Inverse, Failure> {
    let landing = session.state.landing();
    let mut fold = Inverses::new(scope);
    let mut plain = vec![0_u64; landing.len().div_ceil(64)];
    for event in session.recorder.ledger().reader().read(Position(0).., |_| false) {
        let (envelope, _) = event?;
        let target = envelope.subject.zip(envelope.target).map(|(subject, part)| Target { subject, part });
        let Some(index) = target.and_then(|target| landing.index_of(target)) else {
            fold.apply(&envelope);
            continue;
        };
        let Some(landed) = landing.at(index).filter(|landed| landed.plain && landed.after.is_some()) else {
            fold.apply(&envelope);
            continue;
        };
        let wanted = match scope {
            Scope::Everything => true,
            Scope::Run(run) => envelope.run == Some(run),
            Scope::Object(object) => landed.object == object,
            Scope::Rule(rule) => landed.target.part.rule == rule,
            Scope::Record(subject) => landed.target.subject == subject,
        };
        if wanted && matches!(envelope.event, Event::WriteConfirmed { operation: Operation::Create, .. }) {
            plain[index / 64] |= 1 << (index % 64);
        }
    }
    let runs = session.state.runs();
    let of_rollback = |run| runs.iter().any(|known| known.id == run && known.kind == RunKind::Rollback);
    let of_rollback = matches!(scope, Scope::Run(run) if of_rollback(run));
    let (mut given_back, mut destroyed) = (0, 0);
    let mut others: BTreeMap<NameId, Planned> = BTreeMap::new();
    for (target, object, inverse) in fold.finish() {
        let landed = landing.get(target);
        let planned = others.entry(object).or_default();
        match (inverse, landed) {
            (rollback::Inverse::Delete { created }, Some(landed)) if landed.is_live() => {
                planned.deletes.push(Removal { target: landed.target, inverts: Some(created) });
            }
            (rollback::Inverse::Restore { before, updated }, Some(landed)) if landed.is_live() => {
                planned.restores.push(Restore { landed, before, inverts: updated });
            }
            // It never was a record of ours: it lay in the trash.
            (rollback::Inverse::Recreate { .. }, Some(landed)) if landed.generation == 0 => destroyed += 1,
            (rollback::Inverse::Recreate { deleted, mapped }, Some(landed)) if !landed.is_live() => {
                planned.recreates.push((target, mapped, deleted));
            }
            (rollback::Inverse::Restore { .. }, Some(landed)) if of_rollback && !landed.is_live() => given_back += 1,
            // Someone else removed it meanwhile: it is drift already, and there is nothing to take back.
            _ => {}
        }
    }
    Ok(Inverse { plain, others, given_back, destroyed })
}

fn summary<M>(session: &Session<M>, object: &ObjectName, inverse: &mut Inverse) -> (Undone, Planned) {
    let name = session.recorder.ledger().find_name(NameKind::Object, object.as_str());
    let plain = name.map_or(0, |name| inverse.plain_of(&session.state, name).count() as u64);
    let work = name.and_then(|name| inverse.others.remove(&name)).unwrap_or_default();
    let undone = Undone {
        object: object.to_string(),
        deletes: plain + work.deletes.len() as u64,
        restores: work.restores.len() as u64,
        recreates: work.recreates.len() as u64,
        ..Undone::default()
    };
    (undone, work)
}

impl Undone {
    fn add(&mut self, tally: Tally) {
        self.done += tally.done;
        self.unchanged += tally.unchanged;
        self.held += tally.held;
        self.rejected += tally.rejected;
    }
}

/// Makes rows again as they were. What points to a row of the same object waits until that is there.
async fn recreate<D: Destination, M: Flaws>(
    writer: &Writer<D, M>,
    state: &mut State,
    object: &ObjectName,
    rows: Vec<(Target, Option<Position>, Position)>,
    moved: &Moved,
) -> Result<Tally, Failure> {
    let mut tally = Tally::default();
    let mut rest = Vec::with_capacity(rows.len());
    for (target, mapped, deleted) in rows {
        match mapped.map(|at| writer.mapping_at(at)).transpose()?.flatten() {
            Some(mapped) => rest.push((target, mapped, deleted)),
            // What it held was forgotten.
            None => tally.held += 1,
        }
    }
    while !rest.is_empty() {
        let coming: BTreeSet<Target> = rest.iter().map(|(target, ..)| *target).collect();
        let (mut ready, waiting): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|(_, mapped, _)| !writer.points_to(&coming, &mapped.fields, moved));
        rest = waiting;
        if ready.is_empty() {
            ready = std::mem::take(&mut rest);
        }
        tally += make(writer, state, object, ready, moved).await?;
    }
    Ok(tally)
}

async fn make<D: Destination, M: Flaws>(
    writer: &Writer<D, M>,
    state: &mut State,
    object: &ObjectName,
    rows: Vec<(Target, Mapped, Position)>,
    moved: &Moved,
) -> Result<Tally, Failure> {
    let mut changes = Vec::new();
    for (target, mut mapped, deleted) in rows {
        writer.follow(state, moved, &mut mapped.fields);
        changes.push(Change {
            target,
            record: format!("{object} of event {deleted}"),
            cause: Some(deleted),
            digest: writer.fingerprint(target.subject, &crate::load::fields_bytes(&mapped.fields)?)?,
            mapped,
            landed: state.landing().get(target),
            rule: waybill_ledger::RuleId::from("rollback"),
            inverts: Some(deleted),
            coming: waybill_ledger::Fields::new(),
            decided: None,
        });
    }
    writer.create(state, changes).await
}

/// Says what stays: the schema elements that we added, and what lies in a `bin` that the destination keeps.
fn residue<M>(
    session: &Session<M>,
    schema: &waybill_ledger::Schema,
    key: &waybill_ledger::FieldName,
    (bin, removes, how): (bool, bool, How),
) -> Result<Vec<String>, Failure> {
    let made = session.state.runs().iter().any(|run| run.kind == RunKind::Schema);
    if !made {
        return Ok(Vec::new());
    }
    if removes {
        let elements = crate::schema::made(session)?.elements.len();
        return Ok(match (elements, how.schema, how.dry) {
            (0, ..) | (_, true, false) => Vec::new(),
            (_, true, true) => vec![format!(
                "of {elements} things that `waybill schema apply` made, those go in which nobody holds anything by then"
            )],
            (_, false, _) => vec![format!(
                "{elements} things that `waybill schema apply` made stay; `waybill rollback --schema` takes away those in which nobody holds anything"
            )],
        });
    }
    let objects: Vec<&str> = schema
        .objects
        .iter()
        .filter(|object| object.field(key.as_str()).is_some())
        .map(|object| object.name.as_str())
        .collect();
    Ok(vec![format!(
        "fields, options and record types that `waybill schema apply` made stay (among them {key} on {}){}",
        objects.join(", "),
        if bin { "; rows in the recycle bin stay until it is emptied" } else { "" }
    )])
}
