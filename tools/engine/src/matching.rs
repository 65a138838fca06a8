//! Finds the rows that were there before us and that records of the source *are*, by the `match` of their rules.
//!
//! What cannot be told is never guessed: several rows for one record, or several records for one row, wait for a person. So do
//! records that want a value which the destination allows once, and which another record or row has; what lies in the
//! destination's trash counts as long as the destination counts it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::StreamExt;
use waybill_connectors::{Destination, Holder, Scan};
use waybill_ledger::{FieldName, Fields, Record, RuleId, SubjectKey, Target, TargetPart, Value, event::NameKind};
use waybill_projector::{
    key_prefix,
    mapping::{MatchKey, Rule, Trash, unique_form},
};

use crate::{
    failure::Failure,
    world::{PhaseWorld, records_at},
};

/// What is known of the rows that records may be.
#[derive(Debug, Default)]
pub struct Matches {
    matched: BTreeMap<RuleId, HashMap<MatchKey, Candidates>>,
    /// Who wants, and who has, each value that is allowed once.
    claims: BTreeMap<FieldName, HashMap<String, Claim>>,
}

/// A value that is allowed once.
#[derive(Debug, Default)]
struct Claim {
    /// Records that want it and have not landed yet.
    records: u32,
    /// Rows that hold it.
    holders: Vec<Holder>,
}

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
    /// This row, which is in the trash and comes back: an update of it sets these fields, too.
    Trashed {
        /// Its id.
        id: String,
        /// What brings it back.
        set: Fields,
    },
    /// This row, or a new one, once these rows in the trash are deleted for good.
    Obstructed {
        /// The ids of the rows in the trash.
        by: Vec<String>,
        /// The row that it is; none for a new one.
        row: Option<String>,
    },
    /// A person must say which; the text says between what.
    Ambiguous(String),
    /// A row in the trash stands in its way, and the plan does not bring it back; the text says which.
    Buried(String),
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
            found.matched.insert(rule.id.clone(), candidates);
        }
        found.claim(destination, rules, world).await?;
        Ok(found)
    }

    /// Finds out who wants and who has the values that are allowed once.
    async fn claim<D: Destination>(
        &mut self,
        destination: &D,
        rules: &[&Rule],
        world: &PhaseWorld<'_>,
    ) -> Result<(), Failure> {
        let Some(object) = rules.first().map(|rule| &rule.to) else { return Ok(()) };
        let schema = world.schema.object(object.as_str());
        let unique = |name: &FieldName| schema.and_then(|schema| schema.field(name.as_str())).is_some_and(|f| f.unique);
        let mut wanted: BTreeMap<FieldName, BTreeSet<String>> = BTreeMap::new();
        for rule in rules.iter().filter(|rule| rule.fields.keys().any(&unique)) {
            for record in landing(rule, world)? {
                for (field, value) in world.plan.unique_values(rule, &record?, world) {
                    let Some(form) = unique_form(&value) else { continue };
                    self.claims.entry(field.clone()).or_default().entry(form).or_default().records += 1;
                    wanted.entry(field).or_default().insert(value.to_string());
                }
            }
        }
        for (field, values) in wanted {
            let values: Vec<String> = values.into_iter().collect();
            for holder in destination.holders(object, &field, &values).await? {
                let claims = self.claims.get_mut(&field);
                let claim = unique_form(&Value::Text(holder.value.clone())).and_then(|form| claims?.get_mut(&form));
                if let Some(claim) = claim {
                    claim.holders.push(holder);
                }
            }
        }
        Ok(())
    }

    /// Says what a record with these mapped fields is.
    pub fn of(&self, rule: &Rule, fields: &Fields) -> Match {
        let is = self.matched(rule, fields);
        if matches!(is, Match::Ambiguous(_)) {
            return is;
        }
        let own = match &is {
            Match::Row(id) => Some(id.as_str()),
            _ => None,
        };
        let mut back: Option<(&str, &Fields)> = None;
        let mut by: Vec<String> = Vec::new();
        for (field, claims) in &self.claims {
            let value = fields.value(field.as_str()).and_then(unique_form);
            let Some(claim) = value.and_then(|value| claims.get(&value)) else { continue };
            if claim.records > 1 {
                return Match::Ambiguous(format!(
                    "{} records of {} have the same {field}, and {} allows it once",
                    claim.records, rule.from, rule.to
                ));
            }
            for holder in claim.holders.iter().filter(|holder| Some(holder.id.as_str()) != own) {
                match &holder.trashed {
                    None => {
                        return Match::Ambiguous(format!(
                            "{} {} has the same {field} already, and no `match` of the plan says that they are one",
                            rule.to, holder.id
                        ));
                    }
                    Some(set)
                        if rule.trash == Trash::Restore
                            && own.is_none()
                            && back.is_none_or(|(id, _)| id == holder.id) =>
                    {
                        back = Some((&holder.id, set));
                    }
                    Some(_) if rule.trash == Trash::Destroy => {
                        if !by.contains(&holder.id) {
                            by.push(holder.id.clone());
                        }
                    }
                    Some(_) => {
                        return Match::Buried(format!(
                            "{} {} in the trash has the same {field}, and the trash counts: bring it back, delete it for good, or let the plan say `trash = \"restore\"` or `\"destroy\"`",
                            rule.to, holder.id
                        ));
                    }
                }
            }
        }
        if !by.is_empty() {
            return Match::Obstructed { by, row: own.map(str::to_owned) };
        }
        match back {
            Some((id, set)) => Match::Trashed { id: id.to_owned(), set: set.clone() },
            None => is,
        }
    }

    /// Says which row that was there before a record is, by the rule's `match`.
    fn matched(&self, rule: &Rule, fields: &Fields) -> Match {
        let known = rule.match_key(fields).and_then(|key| self.matched.get(&rule.id)?.get(&key));
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
    for record in landing(rule, world)? {
        if let Some(key) = world.plan.match_key(rule, &record?, world) {
            waiting.entry(key).or_default().records += 1;
        }
    }
    Ok(waiting)
}

/// Returns the records of a rule that have not landed yet.
fn landing<'w>(
    rule: &'w Rule,
    world: &'w PhaseWorld<'_>,
) -> Result<impl Iterator<Item = Result<Record, Failure>> + use<'w>, Failure> {
    let object = world.ledger.find_name(NameKind::Object, &rule.from);
    let part = world.ledger.find_name(NameKind::Rule, rule.id.as_str()).map(|rule| TargetPart { rule, part: 0 });
    let positions = object.map(|object| world.state.intake().positions(object)).unwrap_or_default();
    let records = records_at(world.ledger, positions)?.map(|record| record.map(|(_, record)| record));
    Ok(records.filter(move |record| {
        let Ok(record) = record else { return true };
        let subject = world.ledger.find_subject(&SubjectKey::new(world.source, &rule.from, &record.id));
        let target = subject.zip(part).map(|(subject, part)| Target { subject, part });
        !target.and_then(|target| world.state.landing().get(target)).is_some_and(|landed| landed.is_live())
    }))
}
