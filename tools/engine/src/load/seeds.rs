//! Lands the constant records that the plan itself brings.

use std::sync::Arc;

use waybill_connectors::Destination;
use waybill_ledger::{Fields, Mapped, RuleId, Target, TargetPart, event::NameKind};
use waybill_projector::write_key;

use super::{Loader, Outbox, Stage, fields_bytes};
use crate::{
    failure::Failure,
    flaws::Flaws,
    state::State,
    write::{Change, Crew, Writer},
};

impl<D: Destination, M: Flaws> Loader<'_, D, M> {
    /// Lands the constant records of the plan that belong to this object.
    pub(super) async fn land_seeds(
        &self,
        state: &mut State,
        stage: &mut Stage<'_>,
        writer: &Arc<Writer<D, M>>,
    ) -> Result<(), Failure> {
        let mut outbox = Outbox::default();
        for seed in self.plan.seeds().iter().filter(|seed| seed.to == stage.object) {
            let subject = self.rec().subject(&state.seed_key(&seed.id))?;
            let rule = RuleId::from(seed.rule_id());
            let part = TargetPart { rule: self.rec().name(NameKind::Rule, rule.as_str())?, part: 0 };
            let target = Target { subject, part };
            let digest = self.ledger().digest(subject, &fields_bytes(seed.fields())?)?;
            let landed = state.landing().get(target);
            let key = write_key(self.project, "waybill", "seed", &seed.id, rule.as_str(), 0);
            let mapped = Mapped {
                object: stage.object.to_string(),
                key,
                fields: seed.fields().clone(),
                later: Fields::new(),
                decisions: Vec::new(),
            };
            let record = format!("seed/{}", seed.id);
            let change = Change {
                target,
                record,
                cause: None,
                mapped,
                digest,
                coming: Fields::new(),
                landed,
                rule: rule.clone(),
                inverts: None,
                decided: None,
            };
            match landed {
                Some(landed) if landed.is_live() && digest.0.starts_with(&landed.digest) => stage.counts.unchanged += 1,
                Some(landed) if landed.is_live() => outbox.updates.entry(rule).or_default().push(change),
                _ => outbox.creates.push(change),
            }
        }
        let mut crew = Crew::new(writer, state, outbox.creates.len());
        self.send(state, stage, writer, &mut crew, &mut outbox, true).await
    }
}
