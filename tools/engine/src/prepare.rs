//! Everything that a command about the plan needs to know: the plan, both schemas, the owners, what is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;
use waybill_connectors::Destination;
use waybill_ledger::{
    Content, Digest, Event, Record, Schema, SchemaChange, User, Value,
    event::{NameKind, OwnerHow, RunKind, RunOutcome, Side},
    ledger::{Ledger, Opened},
};
use waybill_projector::{
    mapping::{self, Finding, Plan, Relation, Severity},
    order::find_cycles,
    owners::{self, OwnerResolution},
    schema_step,
};

use crate::{
    extract::{Intaken, Reach, Source},
    failure::Failure,
    files::Files,
    flaws::Flaws,
    samples,
    session::{Reached, Session},
    state::State,
    world::{References, records_at},
};

/// A plan, held against both sides.
#[derive(Debug)]
pub struct Prepared {
    /// The plan.
    pub plan: Plan,
    /// Its text, as it stands in the file.
    pub text: String,
    /// The source.
    pub source: Source,
    /// The files that it has.
    pub files: Files,
    /// What was read of it just now.
    pub intake: Vec<Intaken>,
    /// The schema of the source, as far as any reading has shown it.
    pub source_schema: Schema,
    /// The destination.
    pub reached: Reached,
    /// The destination's schema as it is.
    pub present: Schema,
    /// What the plan needs and the destination lacks.
    pub changes: Vec<SchemaChange>,
    /// The destination's schema as it will be after those changes.
    pub schema: Schema,
    /// Everyone who can own records at the destination.
    pub users: Vec<User>,
    /// How owners were resolved, by their id in the source.
    pub owners: BTreeMap<String, OwnerResolution>,
    /// What records hold in the fields that the plan makes options of.
    pub options: schema_step::Options,
    /// Rows of reference objects.
    pub references: References,
}

/// One owner, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnerLine {
    /// The owner's id in the source.
    pub source: String,
    /// The e-mail.
    pub email: Option<String>,
    /// The user in the destination.
    pub user: Option<String>,
    /// How.
    pub how: &'static str,
}

impl Prepared {
    /// Reads the source and describes the destination.
    pub async fn new<M: Flaws>(session: &mut Session<M>) -> Result<Self, Failure> {
        let (plan, text) = session.project.plan()?;
        let source = session.source().await?;
        let reached = session.destination().await?;
        Self::read(session, plan, text, source, reached).await
    }

    async fn read<M: Flaws>(
        session: &mut Session<M>,
        plan: Plan,
        text: String,
        source: Source,
        reached: Reached,
    ) -> Result<Self, Failure> {
        let users = reached.users().await?;
        source.must_be_known(&session.recorder)?;
        let (recorder, _) = session.begin(RunKind::Discover, None).await?;
        let source_schema = source.see_schema(&recorder, &last_schema(session, Side::Source)?).await?;
        samples::teach_source(recorder.ledger(), &source.shared(), &source_schema).await?;
        let progress = std::sync::Arc::clone(&session.progress);
        // What the source calls its own is known once its lists are read, and is read then.
        let (mut intake, mut read) = (Vec::new(), BTreeSet::new());
        let plan = loop {
            let whole = whole(plan.clone(), &source_schema, session)?;
            let objects: Vec<String> = whole.source_objects().into_iter().filter(|o| read.insert(o.clone())).collect();
            if objects.is_empty() {
                break whole;
            }
            let reach = Reach::Changes;
            intake.extend(
                source.extract(&recorder, &mut session.state, &objects, reach, &*progress, &mut |_, _| {}).await?,
            );
        };
        let present = reached.schema(&plan).await?;
        crate::schema::see_destination(&recorder, &reached, &present).await?;
        session.end(&recorder, RunOutcome::Done).await?;
        let references = References::load(&plan, session.recorder.ledger(), &session.state)?;
        let options = options(&plan, session.recorder.ledger(), &session.state)?;
        let pipelines = plan.pipelines.iter();
        let changes = schema_step::changes(
            &plan,
            pipelines.clone().flat_map(|p| references.of(&p.pipelines)),
            pipelines.flat_map(|p| references.of(&p.stages)),
            &options,
            &present,
        )
        .map_err(|e| Failure::stopped(e.to_string()).hint("correct the plan's value map or kinds"))?;
        // What an approval binds is the schema as the destination itself will show it.
        let changes: Vec<SchemaChange> = changes.into_iter().map(|change| reached.destination.shaped(change)).collect();
        let schema = schema_step::after(&present, &changes, &reached.destination.born());
        let owners = match &plan.owners {
            None => BTreeMap::new(),
            Some(wanted) => owners::resolve(wanted, references.of(&wanted.object), &users)
                .map_err(|e| Failure::usage(e.to_string()).hint("correct [owners] in the plan"))?,
        };
        let files = Files::new(source.shared(), plan.file_limit());
        Ok(Self {
            plan,
            text,
            source,
            files,
            intake,
            source_schema,
            reached,
            present,
            changes,
            schema,
            users,
            owners,
            options,
            references,
        })
    }

    /// Returns the rows of the plan's pipelines.
    pub fn pipelines(&self) -> impl Iterator<Item = &Record> {
        self.plan.pipelines.iter().flat_map(|pipelines| self.references.of(&pipelines.pipelines))
    }

    /// Returns the rows of the plan's stages.
    pub fn stages(&self) -> impl Iterator<Item = &Record> {
        self.plan.pipelines.iter().flat_map(|pipelines| self.references.of(&pipelines.stages))
    }

    /// Holds the plan against both sides.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = mapping::check(&self.plan, &self.source_schema, &self.schema, &|object, field| {
            self.source.may_have(object, field)
        });
        if let Err(circle) = self.plan.phases() {
            findings.push(Finding { severity: Severity::Blocks, at: "plan".into(), what: circle.to_string() });
        }
        findings
    }

    /// Stops on a finding that blocks.
    pub fn must_fit(&self) -> Result<(), Failure> {
        let blocking: Vec<String> = self
            .findings()
            .into_iter()
            .filter(|finding| finding.severity == Severity::Blocks)
            .map(|finding| format!("{}: {}", finding.at, finding.what))
            .collect();
        if blocking.is_empty() {
            return Ok(());
        }
        Err(Failure::stopped("the plan does not fit the two systems")
            .details(blocking)
            .hint("correct the plan, the export or the destination, then run the command again; nothing was written"))
    }

    /// Stops if records of one object point to each other in a circle.
    pub fn must_be_acyclic<M: Flaws>(&self, session: &Session<M>) -> Result<(), Failure> {
        let ledger = session.recorder.ledger();
        // This plan was approved, and a run under it began, only after all that was read by then had been looked at.
        let (plan, lands) = (Some(self.plan.digest()), [RunKind::Sample, RunKind::Load, RunKind::Delta]);
        let runs = session.state.runs().iter().filter(|run| run.plan == plan && lands.contains(&run.kind));
        let approved = session.state.approval().filter(|approval| approval.plan == self.plan.digest().to_string());
        let looked_at = runs.map(|run| run.began).next_back().max(approved.and_then(|approval| approval.position));
        for rule in self.plan.rules() {
            let fields: Vec<_> = rule.self_references().map(|(name, _)| name.clone()).collect();
            for field in fields {
                let Some(object) = ledger.find_name(waybill_ledger::event::NameKind::Object, &rule.from) else {
                    continue;
                };
                if looked_at.is_some() && session.state.intake().object(object).last < looked_at {
                    continue;
                }
                let mut parents = BTreeMap::new();
                for record in records_at(ledger, session.state.intake().positions(object))? {
                    let (_, record) = record?;
                    let parent = mapping::parents(rule, &record).find(|(name, _)| **name == field).map(|(_, id)| id);
                    if let Some(parent) = parent {
                        parents.insert(record.id.clone(), parent);
                    }
                }
                let cycles = find_cycles(&parents);
                if !cycles.is_empty() {
                    return Err(Failure::stopped(format!(
                        "{} records of {} point to each other in a circle through {field}",
                        cycles.len(),
                        rule.from
                    ))
                    .details(cycles.iter().map(|cycle| cycle.join(" → ")))
                    .hint("break each circle in the source and export again; nothing was written"));
                }
            }
        }
        Ok(())
    }

    /// Returns the digest of the schema elements that the plan touches, as they will be.
    pub fn touched(&self) -> Digest {
        let source = self.source.with_unseen(&self.source_schema, &self.plan);
        schema_step::touched(&self.plan, &source, &self.schema)
    }

    /// Returns every owner for people, those without a decision first.
    pub fn owner_lines(&self) -> Vec<OwnerLine> {
        let mut lines: Vec<(bool, OwnerLine)> = self
            .owners
            .values()
            .filter(|owner| !owner.source.is_empty())
            .map(|owner| {
                let user = owner.user.as_ref().and_then(|id| self.users.iter().find(|user| user.id == *id));
                let line = OwnerLine {
                    source: owner.source.clone(),
                    email: owner.email.clone(),
                    user: user.map(|user| user.email.clone()),
                    how: how(owner.how),
                };
                (!owner.is_undecided(), line)
            })
            .collect();
        lines.sort_by(|a, b| (a.0, &a.1.source).cmp(&(b.0, &b.1.source)));
        lines.into_iter().map(|(_, line)| line).collect()
    }

    /// Writes down how owners were resolved.
    pub async fn record_owners<M: Flaws>(&self, session: &Session<M>) -> Result<(), Failure> {
        let recorder = &session.recorder;
        let Some(wanted) = &self.plan.owners else { return Ok(()) };
        let mut drafts = Vec::new();
        for owner in self.owners.values().filter(|owner| !owner.source.is_empty()) {
            let subject = recorder.subject(&self.source.key(&wanted.object, &owner.source))?;
            drafts.push(recorder.draft(Event::OwnerResolved { how: owner.how }).subject(subject).content(
                Content::Owner {
                    source: owner.source.clone(),
                    email: owner.email.clone(),
                    user: owner.user.clone(),
                    how: owner.how,
                },
            ));
        }
        recorder.append(drafts).await?;
        Ok(())
    }

    /// Returns the destination's name with its instance.
    pub fn destination_name(&self) -> String {
        self.reached.name()
    }

    /// Returns the connector.
    pub fn destination(&self) -> &impl Destination {
        &*self.reached.destination
    }
}

/// Says how an owner was resolved.
pub fn how(how: OwnerHow) -> &'static str {
    match how {
        OwnerHow::Email => "same e-mail",
        OwnerHow::Fallback => "decided: fallback",
        OwnerHow::Hold => "decided: hold",
        OwnerHow::Unmatched => "no user",
        OwnerHow::Inactive => "inactive user",
        OwnerHow::Ambiguous => "several users",
    }
}

/// Returns a plan with the objects and fields of its own that the source has shown.
pub(crate) fn whole<M: Flaws>(plan: Plan, schema: &Schema, session: &Session<M>) -> Result<Plan, Failure> {
    let Some(objects) = plan.objects.clone() else { return Ok(plan.with_custom_fields(schema)) };
    let (ledger, state) = (session.recorder.ledger(), &session.state);
    let mut relations = BTreeSet::new();
    for link in records_of(ledger, state, &objects.links)? {
        relations.extend(Relation::of(&link?.1));
    }
    let listed = References::load(&plan, ledger, state)?;
    Ok(plan.with_custom_objects(listed.of(&objects.list), &relations).with_custom_fields(schema))
}

/// Reads the live records of a source object.
fn records_of(
    ledger: &Arc<Ledger>,
    state: &State,
    object: &str,
) -> Result<impl Iterator<Item = Result<(waybill_ledger::Position, Record), Failure>>, Failure> {
    let name = ledger.find_name(NameKind::Object, object);
    records_at(ledger, name.map(|name| state.intake().positions(name)).unwrap_or_default())
}

/// Returns what records hold in the fields that the plan makes options of.
pub(crate) fn options(plan: &Plan, ledger: &Arc<Ledger>, state: &State) -> Result<schema_step::Options, Failure> {
    let mut wanted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for from in plan.new_fields.iter().flat_map(|new| &new.options_from) {
        if let Some((object, field)) = from.split_once('.') {
            wanted.entry(object).or_default().insert(field);
        }
    }
    let mut found = schema_step::Options::new();
    for (object, fields) in wanted {
        for record in records_of(ledger, state, object)? {
            let (_, record) = record?;
            for field in &fields {
                let items = match record.fields.value(field) {
                    None => continue,
                    Some(Value::List(items)) => items.clone(),
                    Some(one) => vec![one.clone()],
                };
                let texts = items.iter().map(|item| item.to_string().trim().to_owned()).filter(|text| !text.is_empty());
                found.entry(format!("{object}.{field}")).or_default().extend(texts);
            }
        }
    }
    // Spelled alike but for case and spaces, they are one option.
    for texts in found.values_mut() {
        let mut seen = BTreeSet::new();
        texts.retain(|text| seen.insert(mapping::fold(text)));
    }
    Ok(found)
}

/// Returns the latest schema of one side that the ledger has seen.
pub(crate) fn last_schema<M: Flaws>(session: &Session<M>, side: Side) -> Result<Schema, Failure> {
    let reader = session.recorder.ledger().reader();
    let Some(at) = session.state.schema_seen(side) else { return Ok(Schema::default()) };
    match reader.at(at)? {
        Some((_, Opened::Content(Content::Schema(schema)))) => Ok(schema),
        _ => Ok(Schema::default()),
    }
}
