//! Takes rows out of the destination's trash for good that stand in a record's way, where the plan says so.
//!
//! Nothing brings such a row back. So it is read whole, and what it held is durable before the intent; a row that somebody
//! brought back meanwhile, or that others point to, stays; and it is told as residue, from the approval on.

use std::collections::{BTreeMap, BTreeSet};

use waybill_connectors::{Batch, Destination, Outcome, RemoteRecord, WriteRow};
use waybill_ledger::{
    Content, Event, Fields, Position, Record, RuleId, SubjectId, Target, TargetPart, Value,
    event::{NameKind, Operation},
    ledger::Opened,
};
use waybill_projector::landing::Landed;

use super::{
    Tally, VERSION, Writer,
    remove::{Look, some},
    retry::refused,
    settle::NOT_THERE,
};
use crate::{failure::Failure, flaws::Flaws, state::State};

/// A row in the trash that stands in a record's way.
#[derive(Debug, Clone)]
pub struct Obstacle {
    /// The record's target.
    pub target: Target,
    /// Its rule.
    pub rule: RuleId,
    /// The event that led to it.
    pub cause: Option<Position>,
    /// The row's id.
    pub id: String,
}

/// An obstacle that goes.
struct Going<'o> {
    target: Target,
    obstacle: &'o Obstacle,
    destination: SubjectId,
    image: RemoteRecord,
}

impl<D: Destination, M: Flaws> Writer<D, M> {
    /// Takes these rows out for good. Returns why rows still stand, by their ids; of all others nothing is left.
    pub async fn clear(&self, state: &mut State, obstacles: &[Obstacle]) -> Result<BTreeMap<String, String>, Failure> {
        let mut standing = BTreeMap::new();
        let mut known = BTreeSet::new();
        // Two records may want two values of one row.
        let once: Vec<&Obstacle> = obstacles.iter().filter(|obstacle| known.insert(&obstacle.id)).collect();
        for chunk in once.chunks(self.desk.destination.abilities().request_rows.max(1)) {
            self.clear_batch(state, chunk, &mut standing).await?;
        }
        Ok(standing)
    }

    async fn clear_batch(
        &self,
        state: &mut State,
        obstacles: &[&Obstacle],
        standing: &mut BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let going = self.may_be_cleared(state, obstacles, standing).await?;
        if going.is_empty() {
            return Ok(());
        }
        let number = state.next_batch();
        let row = |going: &Going<'_>| WriteRow {
            key: going.obstacle.id.clone(),
            id: Some(going.obstacle.id.clone()),
            fields: Fields::new(),
        };
        let batch = Batch {
            object: self.object.clone(),
            operation: Operation::Delete,
            key_field: None,
            rows: going.iter().map(row).collect(),
        };
        let mut drafts = vec![self.batch_formed(number, &batch)];
        for row in &going {
            let mut fields = row.image.record.fields.clone();
            if let Some(version) = &row.image.version {
                fields.set(VERSION, Value::Text(version.clone()));
            }
            let record = Record { id: row.obstacle.id.clone(), fields };
            let of = |event: Event| {
                let draft = self.rec().draft(event).subject(row.target.subject).target(row.target.part).batch(number);
                row.obstacle.cause.into_iter().fold(draft, waybill_ledger::ledger::Draft::cause)
            };
            let image = drafts.len();
            drafts.push(
                of(Event::BeforeImageTaken { destination: row.destination })
                    .content(Content::Record { object: self.object.to_string(), record }),
            );
            let event = Event::WriteIntended { object: self.name, operation: Operation::Delete, inverts: None };
            drafts.push(of(event).earlier(image).content(self.destination_id(&row.obstacle.id)));
        }
        let first = self.rec().append(drafts).await?.first;
        let intended = |n: usize| Position(first.0 + 2 + 2 * n as u64);
        let ids: Vec<String> = going.iter().map(|row| row.obstacle.id.clone()).collect();
        let outcomes = match self.desk.destination.destroy_buried(&self.object, &ids).await {
            Ok(outcomes) => outcomes,
            Err(e) => {
                let targets: Vec<_> = going.iter().enumerate().map(|(n, row)| (row.target, intended(n))).collect();
                self.not_sent(&targets, number, &e, false).await?;
                state.catch_up(self.rec().ledger())?;
                return Err(e.into());
            }
        };
        let mut drafts = Vec::new();
        for (n, (row, outcome)) in going.iter().zip(outcomes).enumerate() {
            let about = |event: Event| self.about(event, row.target, intended(n)).batch(number);
            match outcome {
                Outcome::Done { .. } => {
                    let event = Event::WriteConfirmed { destination: row.destination, operation: Operation::Delete };
                    drafts.push(about(event).content(self.destination_id(&row.obstacle.id)));
                }
                Outcome::Unknown(cause) => drafts.push(about(Event::WriteUnknown { cause })),
                Outcome::Rejected(refusal) => {
                    let code = self.rec().name(NameKind::Code, &refusal.code)?;
                    drafts.push(about(Event::WriteRejected { code }).content(Content::Refusal {
                        message: refusal.message.clone(),
                        fields: refusal.fields.clone(),
                    }));
                    standing.insert(row.obstacle.id.clone(), refused(&refusal));
                }
            }
        }
        self.rec().append(drafts).await?;
        state.catch_up(self.rec().ledger())?;
        for row in &going {
            let Some(open) = state.landing().get(row.target).filter(Landed::is_open) else { continue };
            if self.settle_clearing(&open).await?.done == 0 {
                let why = format!("{} {} still lies in the trash: the answer was lost", self.object, row.obstacle.id);
                standing.insert(row.obstacle.id.clone(), why);
            }
        }
        state.catch_up(self.rec().ledger())
    }

    /// Returns which of these rows are there.
    pub async fn there(&self, ids: Vec<String>) -> Result<BTreeSet<String>, Failure> {
        Ok(self.read_ids(self.least(), ids).await?.into_keys().collect())
    }

    /// Returns the rows that lie in the trash and that nobody points to.
    async fn may_be_cleared<'o>(
        &self,
        state: &State,
        obstacles: &[&'o Obstacle],
        standing: &mut BTreeMap<String, String>,
    ) -> Result<Vec<Going<'o>>, Failure> {
        let ids: Vec<String> = obstacles.iter().map(|obstacle| obstacle.id.clone()).collect();
        let buried = self.desk.destination.buried(&self.object, &ids).await?;
        let mut buried: BTreeMap<String, RemoteRecord> =
            buried.into_iter().map(|row| (row.record.id.clone(), row)).collect();
        let elsewhere: Vec<String> = ids.iter().filter(|id| !buried.contains_key(*id)).cloned().collect();
        for id in self.read_ids(self.least(), elsewhere).await?.into_keys() {
            let why = format!("{} {id} is in the trash no more", self.object);
            standing.insert(id, why);
        }
        let children = self.children(state, &ids, &|_, _| false, Look::Buried).await?;
        let mut going: Vec<Going<'o>> = Vec::new();
        for obstacle in obstacles {
            let Some(image) = buried.remove(&obstacle.id) else { continue };
            if let Some(children) = children.get(&obstacle.id).filter(|children| !children.staying.is_empty()) {
                let why = format!(
                    "{} {} in the trash has a value that it needs, and records still point to it: {}",
                    self.object,
                    obstacle.id,
                    some(&children.staying)
                );
                standing.insert(obstacle.id.clone(), why);
                continue;
            }
            let rule = self.rec().name(NameKind::Rule, &format!("{}.trash", obstacle.rule))?;
            let of = |row: &&Going<'_>| row.target.subject == obstacle.target.subject && row.target.part.rule == rule;
            let part = u16::try_from(going.iter().filter(of).count()).unwrap_or(u16::MAX);
            let target = Target { subject: obstacle.target.subject, part: TargetPart { rule, part } };
            let destination = self.destination_subject(&obstacle.id)?;
            going.push(Going { target, obstacle, destination, image });
        }
        Ok(going)
    }

    /// Settles the end of a row in the trash: it lies there, somebody brought it back, or it is gone.
    pub(super) async fn settle_clearing(&self, landed: &Landed) -> Result<Tally, Failure> {
        let Some(intended) = landed.intended else { return Ok(Tally::default()) };
        let Some((_, Opened::Content(Content::DestinationId { id, .. }))) =
            self.rec().ledger().reader().at(intended)?
        else {
            return Ok(Tally::default());
        };
        let one = [id.clone()];
        let there = !self.desk.destination.buried(&self.object, &one).await?.is_empty()
            || !self.read_ids(self.least(), one.to_vec()).await?.is_empty();
        let draft = if there {
            let code = self.rec().name(NameKind::Code, NOT_THERE)?;
            let message = "the row is still there".to_owned();
            self.about(Event::WriteRejected { code }, landed.target, intended)
                .content(Content::Refusal { message, fields: Vec::new() })
        } else {
            let destination = self.destination_subject(&id)?;
            self.about(Event::WriteConfirmed { destination, operation: Operation::Delete }, landed.target, intended)
                .content(self.destination_id(&id))
        };
        self.rec().append(vec![draft]).await?;
        Ok(Tally { done: u64::from(!there), ..Tally::default() })
    }
}
