//! Rows that were deleted and made again: a destination that chooses ids itself gives them new ones, and what points to the old
//! ids has to follow.

use std::{collections::HashMap, sync::Arc};

use waybill_ledger::{
    Event, Field, FieldKind, Fields, ObjectSchema, Position, SubjectId, SubjectKey, Target, Value, event::Operation,
    ledger::Ledger,
};
use waybill_projector::landing::Landed;

use crate::{failure::Failure, state::State};

/// The rows of ours that were deleted, by the record that they were, and the targets that they belonged to.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    instance: String,
    gone: HashMap<SubjectId, Target>,
}

impl Moved {
    /// Finds them.
    pub(crate) fn read(ledger: &Arc<Ledger>, instance: &str) -> Result<Self, Failure> {
        let mut gone = HashMap::new();
        for event in ledger.reader().read(Position(0).., |_| false) {
            let (envelope, _) = event?;
            if let (Event::WriteConfirmed { destination, operation: Operation::Delete }, Some(subject), Some(part)) =
                (&envelope.event, envelope.subject, envelope.target)
            {
                gone.insert(*destination, Target { subject, part });
            }
        }
        Ok(Self { instance: instance.to_owned(), gone })
    }

    /// Returns the target that a row belonged to which a field points to, if that row was deleted.
    pub(crate) fn target(&self, ledger: &Ledger, kind: &FieldKind, id: &str) -> Option<Target> {
        let FieldKind::Reference { to } = kind else { return None };
        to.iter().find_map(|object| {
            let subject = ledger.find_subject(&SubjectKey::new(&self.instance, object.as_str(), id))?;
            self.gone.get(&subject).copied()
        })
    }

    /// Lets fields that point to rows which live under another id by now point there.
    pub(crate) fn follow(&self, ledger: &Ledger, state: &State, schema: &ObjectSchema, fields: &mut Fields) {
        if self.gone.is_empty() {
            return;
        }
        let mut found = Vec::new();
        for (name, value) in fields.iter() {
            let (Some(Value::Text(id)), Some(field)) = (value, schema.field(name.as_str())) else { continue };
            let landed = self.target(ledger, &field.kind, id).and_then(|target| state.landing().get(target));
            let lives = landed.filter(Landed::is_live).and_then(|landed| landed.destination);
            if let Some(new) = lives.and_then(|destination| state.destination_id(destination)) {
                found.push((name.clone(), new));
            }
        }
        for (name, id) in found {
            fields.set(name, Field::from(id));
        }
    }
}
