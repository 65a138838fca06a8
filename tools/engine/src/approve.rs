//! Approval: a named person sees what will be written, and binds the plan, the schema it touches, and how much.

use std::collections::BTreeMap;

use serde::Serialize;
use waybill_connectors::Destination;
use waybill_ledger::{
    Event, ObjectName, ObjectSchema, Position, Record, RuleId, SubjectKey, Target, TargetPart,
    event::{HoldReason, NameKind, Operation},
};
use waybill_projector::{
    landing::Landed,
    mapping::{self, FileFacts, Gone, Landing as Answer, MapOutcome, OwnerAnswer, Plan, PlanChange, Rule, World},
};

use crate::{
    failure::Failure,
    files::Files,
    flaws::Flaws,
    matching::{Match, Matches},
    prepare::Prepared,
    session::Session,
    state::{Approval, State},
    world::{self, PhaseWorld, records_at},
};

/// What a plan would write now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Prediction {
    /// By destination object.
    pub objects: Vec<Predicted>,
    /// Owners without a decision, with the records they own.
    pub undecided: Vec<Undecided>,
    /// What would wait, and what would change on the way, by rule and field.
    pub concerns: Vec<Concern>,
    /// What a rollback could not undo.
    pub residue: Vec<String>,
    /// What differs from the plan that was approved last; nothing if none was.
    pub changed: Option<Vec<PlanChange>>,
}

/// What a plan would write to one destination object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Predicted {
    /// The object.
    pub object: String,
    /// Rows to create.
    pub create: u64,
    /// Rows that are there and would change.
    pub update: u64,
    /// Those among them that were there before us and that a record turned out to be.
    pub matched: u64,
    /// Rows that are there and are as they should be.
    pub same: u64,
    /// Rows whose source record is gone and that the plan deletes.
    pub delete: u64,
    /// Rows in the trash that are deleted for good, because records need what they hold.
    pub destroy: u64,
    /// Records that would wait, by reason.
    pub held: BTreeMap<HoldReason, u64>,
    /// Records that the plan does not carry.
    pub skipped: u64,
    /// Bytes of the contents of the rows.
    pub bytes: u64,
}

/// An owner without a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undecided {
    /// The owner's id in the source.
    pub owner: String,
    /// The e-mail.
    pub email: Option<String>,
    /// Why there is no user.
    pub why: &'static str,
    /// Records that this owner owns.
    pub records: u64,
}

/// A world in which everything that exists has landed.
/// Records of which a rule makes something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Concern {
    /// The rule, or its field.
    pub at: String,
    /// What happens.
    pub what: String,
    /// Whether the records wait; otherwise they are written so.
    pub held: bool,
    /// How many records.
    pub records: u64,
}

/// Counts concerns while records are mapped.
#[derive(Debug, Default)]
struct Concerns(BTreeMap<(bool, String, String), u64>);

impl Concerns {
    fn held(&mut self, rule: &Rule, reason: HoldReason, text: &str) {
        // A hold's text quotes values after the field's name; what is counted is the field and the reason.
        let field = text.split_once(": ").and_then(|(head, _)| head.strip_prefix(&format!("{}.", rule.to)));
        let at = field.map_or_else(|| rule.id.to_string(), |field| format!("{}.{field}", rule.id));
        let what = match (reason, field) {
            (HoldReason::MissingValue, None) => text.to_owned(),
            _ => serde_json::to_value(reason).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default(),
        };
        *self.0.entry((true, at, what)).or_default() += 1;
    }

    /// Counts a record in whose way something stands.
    fn stands(&mut self, rule: &Rule, is: &Match) {
        let what = match is {
            Match::Buried(_) => "a row in the trash holds a value that is allowed once",
            _ => "ambiguous",
        };
        *self.0.entry((true, rule.id.to_string(), what.to_owned())).or_default() += 1;
    }

    /// Counts a record for which a row in the trash goes for good.
    fn clears(&mut self, rule: &Rule) {
        let what = "a row in the trash that holds its value is deleted for good".to_owned();
        *self.0.entry((false, rule.id.to_string(), what)).or_default() += 1;
    }

    fn mapped(&mut self, decisions: &[waybill_ledger::Decision]) {
        const LOSSES: [(&str, &str); 6] = [
            ("cut from", "a text is cut"),
            ("rounded", "a number is rounded"),
            ("left empty", "a value is left out"),
            ("the time of day", "the time of day is left out"),
            ("line breaks", "line breaks become spaces"),
            ("the source has no time", "a day becomes midnight"),
        ];
        for decision in decisions {
            let loss = LOSSES.iter().find(|(start, _)| decision.what.starts_with(start)).map(|(_, what)| *what);
            if let Some(what) = loss.or_else(|| decision.what.strip_prefix(mapping::TOLD)) {
                *self.0.entry((false, decision.rule.to_string(), what.to_owned())).or_default() += 1;
            }
        }
    }

    fn done(self) -> Vec<Concern> {
        let concern = |((held, at, what), records)| Concern { at, what, held, records };
        self.0.into_iter().map(concern).collect()
    }
}

/// Returns how many bytes of content a row carries.
fn bytes_of(fields: &waybill_ledger::Fields) -> u64 {
    let size = |value: &waybill_ledger::Value| match value {
        waybill_ledger::Value::Map(parts) => {
            parts.get(mapping::FILE_SIZE).and_then(|size| size.to_string().parse::<u64>().ok())
        }
        _ => None,
    };
    fields.iter().filter_map(|(_, value)| value.and_then(size)).sum::<u64>()
}

struct Ideal<'a, M> {
    prepared: &'a Prepared,
    state: &'a State,
    session: &'a Session<M>,
    instance: &'a str,
    files: &'a Files,
    /// What has landed already.
    landed: PhaseWorld<'a>,
    /// Records that would wait: whatever points to them waits with them.
    waiting: std::cell::RefCell<std::collections::HashSet<(String, String)>>,
}

impl<M: Flaws> World for Ideal<'_, M> {
    fn record(&self, object: &str, id: &str) -> Option<Record> {
        world::record(self.session.recorder.ledger(), self.state, self.instance, object, id)
    }

    fn children(&self, object: &str, by: &str, id: &str) -> Vec<Record> {
        self.landed.children(object, by, id)
    }

    fn file(&self, path: &str) -> Result<FileFacts, String> {
        // Until something has landed, nobody asks whether a content is the same as before.
        if self.state.landing().is_empty() { self.files.size(path) } else { self.files.look(path) }
    }

    fn landed(&self, object: &str, by: Option<&str>, value: &str, rule: Option<&RuleId>, to: &[ObjectName]) -> Answer {
        if let Answer::Id(id) = self.landed.landed(object, by, value, rule, to) {
            return Answer::Id(id);
        }
        if by.is_some() {
            return Answer::Id(value.to_owned());
        }
        let key = SubjectKey::new(self.instance, object, value);
        let found =
            self.session.recorder.ledger().find_subject(&key).and_then(|subject| self.state.intake().seen(subject));
        let waits = self.waiting.borrow().contains(&(object.to_owned(), value.to_owned()));
        match found {
            Some(seen) if seen.live && waits => Answer::Held,
            Some(seen) if seen.live => Answer::Id(value.to_owned()),
            _ => Answer::Missing,
        }
    }

    fn reference(&self, object: &str, id: &str) -> Option<&Record> {
        self.prepared.references.get(object, id)
    }

    fn owner(&self, id: &str) -> OwnerAnswer {
        match self.prepared.owners.get(id) {
            None => OwnerAnswer::Unknown,
            Some(owner) => owner.user.clone().map_or(OwnerAnswer::Held, OwnerAnswer::User),
        }
    }

    fn seed(&self, id: &str) -> Option<String> {
        Some(self.landed.seed(id).unwrap_or_else(|| id.to_owned()))
    }

    fn variant(&self, object: &str, name: &str) -> Option<String> {
        let object = self.prepared.schema.object(object)?;
        let variant = object.variants.iter().find(|v| v.name == name || v.label == name)?;
        Some(if variant.id.is_empty() { variant.name.clone() } else { variant.id.clone() })
    }

    fn schema(&self, object: &str) -> Option<&ObjectSchema> {
        self.prepared.schema.object(object)
    }
}

/// Maps everything without writing anything, and counts. What is at the destination is only read where a rule matches.
pub async fn predict<M: Flaws>(session: &Session<M>, prepared: &Prepared) -> Result<Prediction, Failure> {
    let mut matches = BTreeMap::new();
    for phase in prepared.plan.phases().map_err(|e| Failure::stopped(e.to_string()))? {
        let rules: Vec<&Rule> = phase.rules.iter().filter_map(|id| prepared.plan.rule(id)).collect();
        let schema = prepared.schema.object(phase.object.as_str());
        let once = |name: &str| schema.and_then(|schema| schema.field(name)).is_some_and(|field| field.unique);
        let asks = |rule: &&Rule| !rule.matching.is_empty() || rule.fields.keys().any(|name| once(name.as_str()));
        if !rules.iter().any(asks) {
            continue;
        }
        let others = world::alternates(session.recorder.ledger(), &session.state, &rules)?;
        let (instance, coming) = (prepared.source.instance(), std::collections::BTreeSet::new());
        let world = phase_world(session, prepared, &instance, &others, &coming);
        let key = prepared.plan.key_field();
        let key = Some(&key).filter(|_| prepared.plan.has_key(phase.object.as_str()));
        let (name, project) = (prepared.reached.name(), &session.project.config.project.id);
        let destination = &*prepared.reached.destination;
        matches.insert(phase.object.clone(), Matches::find(destination, &name, project, key, &rules, &world).await?);
    }
    counted(session, prepared, &matches)
}

fn phase_world<'a, M: Flaws>(
    session: &'a Session<M>,
    prepared: &'a Prepared,
    instance: &'a str,
    others: &'a world::Alternates,
    coming: &'a std::collections::BTreeSet<String>,
) -> PhaseWorld<'a> {
    PhaseWorld {
        plan: &prepared.plan,
        project: &session.project.config.project.id,
        ledger: session.recorder.ledger(),
        state: &session.state,
        source: instance,
        references: &prepared.references,
        owners: &prepared.owners,
        schema: &prepared.schema,
        coming,
        others,
        files: &prepared.files,
        exported: prepared.source.bundle().identity().exported_at,
    }
}

fn counted<M: Flaws>(
    session: &Session<M>,
    prepared: &Prepared,
    matches: &BTreeMap<ObjectName, Matches>,
) -> Result<Prediction, Failure> {
    let ledger = session.recorder.ledger();
    let instance = prepared.source.instance();
    let rules: Vec<&Rule> = prepared.plan.rules().iter().collect();
    let files = &prepared.files;
    let others = world::alternates(ledger, &session.state, &rules)?;
    let exported = prepared.source.bundle().identity().exported_at;
    let coming = std::collections::BTreeSet::new();
    let landed = phase_world(session, prepared, &instance, &others, &coming);
    let world = Ideal {
        prepared,
        state: &session.state,
        session,
        instance: &instance,
        files,
        landed,
        waiting: std::cell::RefCell::default(),
    };
    let mut objects: BTreeMap<String, Predicted> = BTreeMap::new();
    let mut owned: BTreeMap<String, u64> = BTreeMap::new();
    for seed in prepared.plan.seeds() {
        let subject = ledger.find_subject(&session.state.seed_key(&seed.id));
        let live = subject.is_some_and(|s| session.state.landing().of(s).any(|landed| landed.is_live()));
        let counts = objects.entry(seed.to.to_string()).or_default();
        *if live { &mut counts.same } else { &mut counts.create } += 1;
    }
    let mut concerns = Concerns::default();
    // In the order of loading: a record waits for those that it points to.
    let order = prepared.plan.phases().map_err(|e| Failure::stopped(e.to_string()))?;
    let in_order = order.iter().flat_map(|phase| &phase.rules).filter_map(|id| prepared.plan.rule(id));
    for rule in in_order {
        let counts = objects.entry(rule.to.to_string()).or_default();
        let Some(object) = ledger.find_name(NameKind::Object, &rule.from) else { continue };
        let rule_name = ledger.find_name(NameKind::Rule, rule.id.as_str());
        let owner_fields: Vec<&String> =
            rule.fields.values().filter(|field| field.owner).filter_map(|field| field.from.first()).collect();
        session.progress.begin(&format!("mapping {}", rule.from), session.state.intake().object(object).live);
        for record in records_at(ledger, session.state.intake().positions(object))? {
            let (_, record) = record?;
            session.progress.advance(1);
            for field in &owner_fields {
                if let Some(owner) = record.fields.value(field) {
                    *owned.entry(owner.to_string()).or_default() += 1;
                }
            }
            let occurrences = match world::occurrences(&prepared.plan, rule, &record, exported, &world) {
                Ok(occurrences) => occurrences,
                Err(text) => {
                    world.waiting.borrow_mut().insert((rule.from.clone(), record.id.clone()));
                    *counts.held.entry(HoldReason::BadValue).or_default() += 1;
                    concerns.held(rule, HoldReason::BadValue, &text);
                    continue;
                }
            };
            for (part, record) in occurrences {
                match prepared.plan.map(rule, &record, &world) {
                    MapOutcome::Mapped(mapped) => {
                        world.waiting.borrow_mut().remove(&(rule.from.clone(), record.id.clone()));
                        concerns.mapped(&mapped.decisions);
                        counts.bytes += bytes_of(&mapped.fields);
                        let subject = ledger.find_subject(&SubjectKey::new(&instance, &rule.from, &record.id));
                        let landed = subject.zip(rule_name).and_then(|(subject, rule)| {
                            let part = TargetPart { rule, part };
                            session.state.landing().get(Target { subject, part })
                        });
                        let live = landed.filter(Landed::is_live);
                        let same = live.zip(subject).map(|(landed, subject)| -> Result<bool, Failure> {
                            let digest = ledger.digest(subject, &crate::load::fields_bytes(&mapped.fields)?)?;
                            Ok(landed.mapped.is_some() && digest.0.starts_with(&landed.digest))
                        });
                        let same = same.transpose()?;
                        let is = matches.get(&rule.to).filter(|_| same.is_none());
                        let is = is.map_or(Match::New, |matches| matches.of(rule, &mapped.fields));
                        match &is {
                            Match::New => {}
                            Match::Row(_) | Match::Trashed { .. } => {
                                counts.matched += 1;
                                counts.update += 1;
                                continue;
                            }
                            Match::Obstructed { by, row } => {
                                counts.destroy += by.len() as u64;
                                concerns.clears(rule);
                                counts.matched += u64::from(row.is_some());
                                *if row.is_some() { &mut counts.update } else { &mut counts.create } += 1;
                                continue;
                            }
                            Match::Ambiguous(_) | Match::Buried(_) => {
                                world.waiting.borrow_mut().insert((rule.from.clone(), record.id.clone()));
                                concerns.stands(rule, &is);
                                *counts.held.entry(HoldReason::Ambiguous).or_default() += 1;
                                continue;
                            }
                        }
                        *match same {
                            None => &mut counts.create,
                            Some(true) => &mut counts.same,
                            Some(false) => &mut counts.update,
                        } += 1;
                    }
                    MapOutcome::Held { reason, text } => {
                        world.waiting.borrow_mut().insert((rule.from.clone(), record.id.clone()));
                        concerns.held(rule, reason, &text);
                        *counts.held.entry(reason).or_default() += 1;
                    }
                    MapOutcome::Skipped { .. } => counts.skipped += 1,
                }
            }
        }
        session.progress.end();
        if rule.gone == Gone::Delete {
            counts.delete += session.state.intake().object(object).gone;
        }
    }
    let objects = order
        .iter()
        .filter_map(|phase| {
            Some(Predicted { object: phase.object.to_string(), ..objects.remove(phase.object.as_str())? })
        })
        .collect();
    let undecided = prepared
        .owners
        .values()
        .filter(|owner| owner.is_undecided())
        .filter_map(|owner| {
            Some(Undecided {
                owner: owner.source.clone(),
                email: owner.email.clone(),
                why: crate::prepare::how(owner.how),
                records: *owned.get(&owner.source)?,
            })
        })
        .collect();
    let objects: Vec<Predicted> = objects;
    let residue = residue(prepared, &objects);
    let changed = changed(session, prepared)?;
    Ok(Prediction { objects, undecided, concerns: concerns.done(), residue, changed })
}

/// Says what a rollback could not undo.
fn residue(prepared: &Prepared, objects: &[Predicted]) -> Vec<String> {
    let mut lines = Vec::new();
    if !prepared.changes.is_empty() {
        lines.push(format!(
            "{} fields, options and record types that `waybill schema apply` makes stay{}",
            prepared.changes.len(),
            if prepared.destination().abilities().removes_schema {
                ", until `waybill rollback --schema` takes away those in which nobody holds anything"
            } else {
                " in the org"
            }
        ));
    }
    let destroys: u64 = objects.iter().map(|object| object.destroy).sum();
    if destroys > 0 {
        lines.push(format!(
            "{destroys} rows in the trash are deleted for good, because records need values that they hold: nothing brings them back, the ledger keeps what they held"
        ));
    }
    let creates: u64 = objects.iter().map(|object| object.create).sum();
    if creates > 0 && !prepared.destination().abilities().hard_delete {
        lines.push(format!("up to {creates} rows that a rollback deletes lie in the recycle bin until it is emptied"));
    }
    let deletes: u64 = objects.iter().map(|object| object.delete).sum();
    if deletes > 0 {
        lines.push(format!("{deletes} rows that are deleted and made again by a rollback get other ids"));
    }
    lines.push(
        "what the org's own automation does outside of these objects: e-mails, other systems, other records".into(),
    );
    lines
}

/// Returns what differs from the plan that was approved last.
fn changed<M: Flaws>(session: &Session<M>, prepared: &Prepared) -> Result<Option<Vec<PlanChange>>, Failure> {
    let Some((_, Some(text))) = crate::explain::approval(session.recorder.ledger(), Position(u64::MAX - 1))? else {
        return Ok(None);
    };
    let Ok(plan) = Plan::parse(&text) else { return Ok(None) };
    let plan = crate::prepare::whole(plan, &prepared.source_schema, session)?;
    Ok(Some(prepared.plan.changes_since(&plan)))
}

/// The caps that a prediction leads to: what is predicted, and `allowance` percent more for what the source still gains.
pub fn caps(prediction: &Prediction, allowance: u64) -> BTreeMap<String, u64> {
    let mut caps = BTreeMap::new();
    for predicted in &prediction.objects {
        let held: u64 = predicted.held.values().sum();
        let more = |rows: u64| rows + (rows * allowance).div_ceil(100).max(if allowance > 0 { 20 } else { 0 });
        let creates = predicted.create + held;
        caps.insert(format!("{} create", predicted.object), more(creates));
        // The second pass and a delta change rows that are there: each at most as often as there are rows.
        let there = predicted.update + predicted.same;
        caps.insert(format!("{} update", predicted.object), more(2 * (creates + there)));
        caps.insert(format!("{} delete", predicted.object), more(predicted.delete + predicted.destroy));
    }
    caps
}

/// Records that a named person approved the plan as it stands.
pub async fn approve<M: Flaws>(
    session: &mut Session<M>,
    prepared: &Prepared,
    by: &str,
    allowance: u64,
) -> Result<(Approval, Prediction), Failure> {
    prepared.must_fit()?;
    prepared.must_be_acyclic(session)?;
    let prediction = predict(session, prepared).await?;
    if !prediction.undecided.is_empty() {
        let lines = prediction.undecided.iter().map(|owner| {
            let email = owner.email.as_deref().unwrap_or("no e-mail");
            format!("{} ({email}): {}, owns {} records", owner.owner, owner.why, owner.records)
        });
        return Err(Failure::stopped("these owners have no user at the destination, and nobody has decided about them")
            .details(lines)
            .hint("decide in the plan under [owners]: fallback = \"…\", or one by one under [owners.decided]; or make the user, then approve again"));
    }
    prepared.record_owners(session).await?;
    let plan = prepared.plan.digest();
    let schema = prepared.touched();
    let approval = Approval {
        plan: plan.to_string(),
        schema: schema.to_string(),
        destination: prepared.destination_name(),
        by: by.to_owned(),
        caps: caps(&prediction, allowance),
        position: None,
    };
    let person = session.recorder.acting_as(by)?;
    let text = serde_json::to_string_pretty(&approval).map_err(|e| Failure::failed(e.to_string()))?;
    let stored = person.document(Event::PlanStored { plan }, "plan", prepared.text.clone());
    let approved = person.document(Event::PlanApproved { plan, schema }, "approval", text).earlier(0);
    person.append(vec![stored, approved]).await?;
    session.state.catch_up(session.recorder.ledger())?;
    Ok((approval, prediction))
}

/// Stops unless the plan is approved for this destination and nothing that the approval binds has moved.
pub fn must_be_approved<M: Flaws>(session: &Session<M>, prepared: &Prepared) -> Result<Approval, Failure> {
    let hint = "look at the plan with `waybill plan`, then let a person approve it with `waybill approve --by NAME`";
    let Some(approval) = session.state.approval() else {
        return Err(Failure::stopped("nobody has approved the plan").hint(hint));
    };
    let mut moved = Vec::new();
    let plan = prepared.plan.digest();
    if approval.plan != plan.to_string() {
        let approved = approval.plan.get(..6).unwrap_or_default();
        moved.push(format!("the plan was edited since: approved is {approved}, the file is {}", plan.short()));
    }
    if approval.destination != prepared.destination_name() {
        moved.push(format!("it was approved for {}, this is {}", approval.destination, prepared.destination_name()));
    }
    let touched = prepared.touched();
    if moved.is_empty() && approval.schema != touched.to_string() {
        moved.push(
            "a field, an option or a record type that the plan touches has changed at the source or the destination"
                .into(),
        );
    }
    if moved.is_empty() {
        return Ok(approval.clone());
    }
    Err(Failure::stopped(format!("the approval by {} does not cover this", approval.by)).details(moved).hint(hint))
}

/// Stops if this many further writes are more than was approved.
pub fn must_be_capped(
    session: &State,
    approval: &Approval,
    object: &str,
    name: waybill_ledger::NameId,
    operation: Operation,
    more: u64,
) -> Result<(), Failure> {
    let verb = match operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
        Operation::Nothing => return Ok(()),
    };
    let cap = approval.caps.get(&format!("{object} {verb}")).copied().unwrap_or(0);
    let used = session.confirmed(name, operation);
    if used + more <= cap {
        return Ok(());
    }
    Err(Failure::stopped(format!("this would {verb} {} rows of {object}; approved are {cap}", used + more))
        .hint("look at what the source gained, then approve again with `waybill approve --by NAME`"))
}
