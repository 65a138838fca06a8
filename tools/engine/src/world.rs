//! What the mapping may ask while it maps: where other records landed, what reference rows say, who owns what.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use waybill_ledger::{
    Content, ObjectName, ObjectSchema, Position, Record, RuleId, Schema, SubjectKey,
    event::NameKind,
    ledger::{Ledger, Opened},
};
use waybill_projector::{
    landing::Landed,
    mapping::{FileFacts, Landing as Answer, OwnerAnswer, Plan, Rule, World},
    owners::OwnerResolution,
    write_key,
};

use crate::{failure::Failure, files::Files, state::State};

/// The rows of reference objects (users, pipelines, stages), whole in memory.
#[derive(Debug, Clone, Default)]
pub struct References(BTreeMap<String, BTreeMap<String, Record>>);

/// The most rows of one reference object: these are lists that people keep, not data.
const REFERENCE_ROWS: u64 = 100_000;

impl References {
    /// Reads the reference objects of the plan out of the ledger.
    pub fn load(plan: &Plan, ledger: &Arc<Ledger>, state: &State) -> Result<Self, Failure> {
        let mut all = BTreeMap::new();
        for object in plan.reference_objects() {
            let Some(name) = ledger.find_name(NameKind::Object, &object) else { continue };
            let rows = state.intake().object(name).live;
            if rows > REFERENCE_ROWS {
                return Err(Failure::usage(format!(
                    "the plan takes `{object}` as a reference, but it has {rows} rows"
                ))
                .hint(format!(
                    "references are read whole; at most {REFERENCE_ROWS} rows fit: make it a rule instead"
                )));
            }
            let mut records = BTreeMap::new();
            for record in records_at(ledger, state.intake().positions(name))? {
                let (_, record) = record?;
                records.insert(record.id.clone(), record);
            }
            all.insert(object, records);
        }
        Ok(Self(all))
    }

    /// Returns the rows of one reference object, by id.
    pub fn of(&self, object: &str) -> impl Iterator<Item = &Record> {
        self.0.get(object).into_iter().flat_map(BTreeMap::values)
    }

    /// Returns one row.
    pub fn get(&self, object: &str, id: &str) -> Option<&Record> {
        self.0.get(object)?.get(id)
    }
}

/// Reads source records at these positions, which must ascend. Forgotten and locked ones are left out.
pub fn records_at(
    ledger: &Arc<Ledger>,
    wanted: Vec<Position>,
) -> Result<impl Iterator<Item = Result<(Position, Record), Failure>> + use<>, Failure> {
    let (first, last) = (wanted.first().copied().unwrap_or(Position(0)), wanted.last().copied());
    let end = last.map_or(Position(0), Position::next);
    let reader = ledger.reader();
    let mut next = 0;
    let events = reader.read(first..end, move |envelope| {
        while wanted.get(next).is_some_and(|at| *at < envelope.position) {
            next += 1;
        }
        wanted.get(next) == Some(&envelope.position)
    });
    Ok(events.filter_map(|event| match event {
        Ok((envelope, Opened::Content(Content::Record { record, .. }))) => Some(Ok((envelope.position, record))),
        Ok(_) => None,
        Err(e) => Some(Err(e.into())),
    }))
}

/// The world of one phase.
#[derive(Debug)]
pub struct PhaseWorld<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The project's id, part of every key.
    pub project: &'a str,
    /// The ledger, for subjects and names.
    pub ledger: &'a Arc<Ledger>,
    /// What the ledger says.
    pub state: &'a State,
    /// The source's instance.
    pub source: &'a str,
    /// Reference rows.
    pub references: &'a References,
    /// How owners were resolved, by their id in the source.
    pub owners: &'a BTreeMap<String, OwnerResolution>,
    /// The destination's schema.
    pub schema: &'a Schema,
    /// Source objects that this phase lands: a record among them that is not there yet still may come.
    pub coming: &'a BTreeSet<String>,
    /// Ids by other fields than the key, for lookups that need them: (object, field, value) to ids.
    pub others: &'a Alternates,
    /// The files of the export.
    pub files: &'a Files,
    /// When the source was read.
    pub exported: Option<DateTime<Utc>>,
}

impl PhaseWorld<'_> {
    /// Returns the rule that makes the row of a record that may still land, if only one does, and one row of each.
    fn rule_to_come(&self, object: &str, rule: Option<&RuleId>, to: &[ObjectName]) -> Option<&str> {
        let fits =
            |it: &&Rule| it.from == object && rule.map_or(to.is_empty() || to.contains(&it.to), |rule| it.id == *rule);
        let mut fitting = self.plan.rules().iter().filter(fits);
        let only = fitting.next().filter(|it| it.expand.is_none())?;
        fitting.next().is_none().then_some(only.id.as_str())
    }

    /// Returns the records that a rule makes of one: itself, or its occurrences with their numbers.
    pub fn occurrences(&self, rule: &Rule, record: &Record) -> Result<Vec<(u16, Record)>, String> {
        occurrences(self.plan, rule, record, self.exported, self)
    }
}

/// Returns the records that a rule makes of one: itself, or its occurrences with their numbers.
pub(crate) fn occurrences(
    plan: &Plan,
    rule: &Rule,
    record: &Record,
    exported: Option<DateTime<Utc>>,
    world: &impl World,
) -> Result<Vec<(u16, Record)>, String> {
    let Some(expand) = &rule.expand else { return Ok(vec![(0, record.clone())]) };
    let moved = world.children(&rule.from, &expand.series, &record.id);
    let moved: Vec<_> = moved.iter().filter_map(|other| expand.original_start(other, plan.zone())).collect();
    expand.occurrences(record, &moved, exported, plan.zone())
}

/// Reads the latest version of a source record.
pub(crate) fn record(ledger: &Arc<Ledger>, state: &State, source: &str, object: &str, id: &str) -> Option<Record> {
    let subject = ledger.find_subject(&SubjectKey::new(source, object, id))?;
    let seen = state.intake().seen(subject).filter(|seen| seen.live)?;
    match ledger.reader().at(seen.position) {
        Ok(Some((_, Opened::Content(Content::Record { record, .. })))) => Some(record),
        _ => None,
    }
}

/// Builds the index of other fields by which these rules look records up.
pub(crate) fn alternates(ledger: &Arc<Ledger>, state: &State, rules: &[&Rule]) -> Result<Alternates, Failure> {
    let wanted: BTreeSet<(String, String)> = rules.iter().flat_map(|rule| rule.alternate_lookups()).collect();
    let mut others = Alternates::new();
    for (object, field) in wanted {
        let Some(name) = ledger.find_name(NameKind::Object, &object) else { continue };
        for record in records_at(ledger, state.intake().positions(name))? {
            let (_, record) = record?;
            let value = record.fields.value(&field).map(|value| value.to_string().trim().to_owned());
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                others.entry((object.clone(), field.clone(), value)).or_default().push(record.id);
            }
        }
    }
    Ok(others)
}

/// Ids of source records by the values of other fields.
pub type Alternates = BTreeMap<(String, String, String), Vec<String>>;

impl World for PhaseWorld<'_> {
    fn record(&self, object: &str, id: &str) -> Option<Record> {
        record(self.ledger, self.state, self.source, object, id)
    }

    fn children(&self, object: &str, by: &str, id: &str) -> Vec<Record> {
        let ids = self.others.get(&(object.to_owned(), by.to_owned(), id.to_owned()));
        ids.into_iter().flatten().filter_map(|id| World::record(self, object, id)).collect()
    }

    fn file(&self, path: &str) -> Result<FileFacts, String> {
        self.files.look(path)
    }

    fn landed(&self, object: &str, by: Option<&str>, value: &str, rule: Option<&RuleId>, to: &[ObjectName]) -> Answer {
        let id = match by {
            None => value,
            Some(field) => {
                match self.others.get(&(object.to_owned(), field.to_owned(), value.to_owned())).map(Vec::as_slice) {
                    None | Some([]) => return Answer::Missing,
                    Some([id]) => id.as_str(),
                    Some(_) => return Answer::Ambiguous,
                }
            }
        };
        let key = SubjectKey::new(self.source, object, id);
        let Some(subject) = self.ledger.find_subject(&key) else { return Answer::Missing };
        // Whoever points to a record that was merged into another one points to that one.
        let survivor = self.state.intake().survivor(subject);
        let (subject, merged) = (survivor, survivor != subject);
        let Some(seen) = self.state.intake().seen(subject) else { return Answer::Missing };
        let landed = match rule {
            Some(rule) => self
                .ledger
                .find_name(NameKind::Rule, rule.as_str())
                .and_then(|rule| self.state.landing().of_rule(subject, rule)),
            None => {
                let to: Vec<_> =
                    to.iter().filter_map(|to| self.ledger.find_name(NameKind::Object, to.as_str())).collect();
                let fits = |landed: &Landed| landed.is_live() && (to.is_empty() || to.contains(&landed.object));
                self.state.landing().of(subject).find(fits)
            }
        };
        if let Some(id) = landed.and_then(|l| l.destination).and_then(|d| self.state.destination_id(d)) {
            return Answer::Id(id);
        }
        if !seen.live {
            return Answer::Missing;
        }
        if !self.coming.contains(object) {
            return Answer::Held;
        }
        // A record that was merged into another one has no row of its own to come.
        let rule = self.rule_to_come(object, rule, to).filter(|_| !merged);
        Answer::NotYet(rule.map(|rule| write_key(self.project, self.source, object, id, rule, 0)))
    }

    fn reference(&self, object: &str, id: &str) -> Option<&Record> {
        self.references.get(object, id)
    }

    fn owner(&self, source_owner_id: &str) -> OwnerAnswer {
        match self.owners.get(source_owner_id) {
            None => OwnerAnswer::Unknown,
            Some(resolution) => match &resolution.user {
                Some(user) => OwnerAnswer::User(user.clone()),
                None => OwnerAnswer::Held,
            },
        }
    }

    fn seed(&self, id: &str) -> Option<String> {
        let subject = self.ledger.find_subject(&self.state.seed_key(id))?;
        let landed = self.state.landing().of(subject).find(waybill_projector::landing::Landed::is_live)?;
        self.state.destination_id(landed.destination?)
    }

    fn variant(&self, object: &str, name: &str) -> Option<String> {
        let object = self.schema.object(object)?;
        let variant = object.variants.iter().find(|v| v.name == name || v.label == name)?;
        Some(variant.id.clone())
    }

    fn schema(&self, object: &str) -> Option<&ObjectSchema> {
        self.schema.object(object)
    }
}
