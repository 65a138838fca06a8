//! Finds the rows that were there before us and that records of the source *are*, by the `match` of their rules.
//!
//! What cannot be told is never guessed: several rows for one record, or several records for one row, wait for a person.

use std::collections::{BTreeMap, HashMap};

use futures::StreamExt;
use waybill_connectors::{Destination, Scan};
use waybill_ledger::{FieldName, Fields, RuleId, SubjectKey, Target, TargetPart, event::NameKind};
use waybill_projector::{
    key_prefix,
    mapping::{MatchKey, Rule},
};

use crate::{
    failure::Failure,
    world::{PhaseWorld, records_at},
};

/// What is known of the rows that records may be.
#[derive(Debug, Default)]
pub struct Matches(BTreeMap<RuleId, HashMap<MatchKey, Candidates>>);

/// The records and rows that hold the same.
#[derive(Debug, Default)]
struct Candidates {
    /// Records that have not landed yet.
    records: u32,
    /// Ids of rows that were there before us and that no record lives in.
    rows: Vec<String>,
    /// A row that is another record's, or another migration's, already.
    taken: Option<String>,
}

/// What a record is.
#[derive(Debug, PartialEq, Eq)]
pub enum Match {
    /// Nothing that was there before.
    New,
    /// This row.
    Row(String),
    /// A person must say which; the text says between what.
    Ambiguous(String),
}

impl Matches {
    /// Looks for the rows of one object that records of these rules may be.
    pub async fn find<D: Destination>(
        destination: &D,
        instance: &str,
        project: &str,
        key_field: Option<&FieldName>,
        rules: &[&Rule],
        world: &PhaseWorld<'_>,
    ) -> Result<Self, Failure> {
        let mut found = Self::default();
        for rule in rules.iter().filter(|rule| !rule.matching.is_empty()) {
            let mut candidates = waiting(rule, world)?;
            if let Some(first) = rule.matching.first().filter(|_| !candidates.is_empty()) {
                let fields: Vec<FieldName> = rule.matching.iter().chain(key_field).cloned().collect();
                let mut pages = destination.scan(&rule.to, &fields, Scan::Holding(first));
                while let Some(page) = pages.next().await {
                    for row in page? {
                        let Some(known) = rule.match_key(&row.record.fields).and_then(|key| candidates.get_mut(&key))
                        else {
                            continue;
                        };
                        let subject = SubjectKey::new(instance, rule.to.as_str(), &row.record.id);
                        let subject = world.ledger.find_subject(&subject);
                        let landed = subject.and_then(|subject| world.state.landing().owner(subject));
                        let key = key_field.and_then(|field| row.record.fields.text(field.as_str()));
                        match (landed, key) {
                            // Two records of the source that hold the same are the source's own affair.
                            (Some(landed), _) if landed.created => {}
                            (None, Some(key)) if key.starts_with(&key_prefix(project)) => {}
                            (None, None) => known.rows.push(row.record.id),
                            (Some(_), _) | (None, Some(_)) => known.taken = Some(row.record.id),
                        }
                    }
                }
            }
            found.0.insert(rule.id.clone(), candidates);
        }
        Ok(found)
    }

    /// Says what a record with these mapped fields is.
    pub fn of(&self, rule: &Rule, fields: &Fields) -> Match {
        let known = rule.match_key(fields).and_then(|key| self.0.get(&rule.id)?.get(&key));
        let Some(known) = known else { return Match::New };
        let by = rule.matching.iter().map(FieldName::as_str).collect::<Vec<_>>().join(" and ");
        match (known.rows.as_slice(), &known.taken) {
            ([], None) => Match::New,
            ([row], None) if known.records <= 1 => Match::Row(row.clone()),
            ([row], None) => Match::Ambiguous(format!(
                "{} records of {} have the {by} of {} {row}: only one can be that row",
                known.records, rule.from, rule.to
            )),
            ([], Some(row)) => Match::Ambiguous(format!(
                "{} {row} has the same {by} and is another record already, or another migration's",
                rule.to
            )),
            (rows, _) => {
                let shown = rows.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
                Match::Ambiguous(format!("{} rows of {} have the same {by}: {shown}", rows.len(), rule.to))
            }
        }
    }
}

/// Returns what the records are matched by that have not landed yet, with how many hold the same.
fn waiting(rule: &Rule, world: &PhaseWorld<'_>) -> Result<HashMap<MatchKey, Candidates>, Failure> {
    let mut waiting: HashMap<MatchKey, Candidates> = HashMap::new();
    let Some(object) = world.ledger.find_name(NameKind::Object, &rule.from) else { return Ok(waiting) };
    let part = world.ledger.find_name(NameKind::Rule, rule.id.as_str()).map(|rule| TargetPart { rule, part: 0 });
    for record in records_at(world.ledger, world.state.intake().positions(object))? {
        let (_, record) = record?;
        let subject = world.ledger.find_subject(&SubjectKey::new(world.source, &rule.from, &record.id));
        let target = subject.zip(part).map(|(subject, part)| Target { subject, part });
        if target.and_then(|target| world.state.landing().get(target)).is_some_and(|landed| landed.is_live()) {
            continue;
        }
        if let Some(key) = world.plan.match_key(rule, &record, world) {
            waiting.entry(key).or_default().records += 1;
        }
    }
    Ok(waiting)
}
