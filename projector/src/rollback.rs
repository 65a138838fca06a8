//! The inverse: what has to be done so that the destination is as if we had not written.

use std::collections::BTreeMap;

use waybill_ledger::{
    Envelope, Event, Field, FieldName, Fields, NameId, Position, RunId, SubjectId, Target,
    event::{Operation, RunKind},
};

/// What is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything that we wrote and have not taken back.
    Everything,
    /// What one run wrote; of a rollback, what it took back.
    Run(RunId),
    /// What was written to one destination object.
    Object(NameId),
    /// What one rule wrote.
    Rule(NameId),
    /// What one source record led to.
    Record(SubjectId),
}

/// The net inverse of all writes to one target within a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inverse {
    /// We created it, so it goes. Names the create.
    Delete {
        /// The confirmed create.
        created: Position,
    },
    /// We changed it, so the fields go back. Names the before-images, the oldest first.
    Restore {
        /// Where the before-images stand.
        before: Vec<Position>,
        /// The latest confirmed update.
        updated: Position,
    },
    /// We deleted it, so it comes back as it was before the first write in scope. Names the delete.
    Recreate {
        /// The confirmed delete.
        deleted: Position,
        /// The mapping that it held then, if we had written it.
        mapped: Option<Position>,
    },
}

/// Writes of one target, folded as they come.
#[derive(Debug, Clone, Default)]
struct Net {
    object: Option<NameId>,
    inverse: Option<Inverse>,
    /// The before-image of the write that is under way.
    image: Option<Position>,
    /// The latest mapping, and the one that the latest confirmed write left.
    pending: Option<Position>,
    mapped: Option<Position>,
    /// The mapping that the row held before the first write in scope.
    base: Option<Position>,
    /// The write that the one under way takes back, and the before-images that it puts back.
    inverts: Option<Position>,
    images: Vec<Position>,
    /// What a write ended, by that write: whoever takes it back makes it stand again.
    ended: Vec<(Position, Inverse)>,
    in_scope: bool,
}

/// The fold: every target's net inverse within a scope.
#[derive(Debug, Clone)]
pub struct Inverses {
    scope: Scope,
    kinds: BTreeMap<RunId, RunKind>,
    nets: BTreeMap<Target, Net>,
}

impl Inverses {
    /// Returns the fold before any event.
    pub fn new(scope: Scope) -> Self {
        Self { scope, kinds: BTreeMap::new(), nets: BTreeMap::new() }
    }

    /// Takes in one event.
    pub fn apply(&mut self, envelope: &Envelope) {
        if let (Event::RunStarted { kind, .. }, Some(run)) = (&envelope.event, envelope.run) {
            self.kinds.insert(run, *kind);
        }
        let (Some(subject), Some(part)) = (envelope.subject, envelope.target) else { return };
        let relevant = matches!(
            envelope.event,
            Event::RecordMapped { .. }
                | Event::BeforeImageTaken { .. }
                | Event::WriteIntended { .. }
                | Event::WriteConfirmed { .. }
        );
        if !relevant {
            return;
        }
        let target = Target { subject, part };
        let (at, scope) = (envelope.position, self.scope);
        let net = self.nets.entry(target).or_default();
        match &envelope.event {
            Event::RecordMapped { .. } => net.pending = Some(at),
            Event::BeforeImageTaken { .. } => net.image = Some(at),
            Event::WriteIntended { object, operation, inverts } => {
                net.object = Some(*object);
                net.inverts = *inverts;
                net.images = if inverts.is_some() { envelope.causes.clone() } else { Vec::new() };
                if *operation != Operation::Update {
                    net.image = None;
                }
                net.in_scope = match scope {
                    Scope::Everything => true,
                    Scope::Run(run) => envelope.run == Some(run),
                    Scope::Object(wanted) => *object == wanted,
                    Scope::Rule(rule) => part.rule == rule,
                    Scope::Record(wanted) => subject == wanted,
                };
            }
            Event::WriteConfirmed { operation, .. } => {
                // A rollback that is itself taken back wrote like any other run.
                let own = net.in_scope && matches!(scope, Scope::Run(_));
                net.confirmed(*operation, at, net.inverts.filter(|_| !own));
                if *operation == Operation::Delete {
                    net.pending = None;
                }
            }
            _ => {}
        }
    }

    /// Returns the inverse of every target that has one, with its destination object.
    pub fn finish(self) -> impl Iterator<Item = (Target, NameId, Inverse)> {
        self.nets.into_iter().filter_map(|(target, net)| Some((target, net.object?, net.inverse?)))
    }
}

impl Inverse {
    /// The write that had ended it was taken back: the same is to be undone, and this is the write that it undoes.
    fn again(self, at: Position) -> Self {
        match self {
            Self::Delete { .. } => Self::Delete { created: at },
            Self::Restore { before, .. } => Self::Restore { before, updated: at },
            Self::Recreate { mapped, .. } => Self::Recreate { deleted: at, mapped },
        }
    }

    /// Returns what is left of it after a write took `undone` back by putting back these before-images.
    fn without(self, operation: Operation, undone: Position, images: &[Position]) -> Option<Self> {
        match (self, operation) {
            (_, Operation::Delete) => None,
            (Self::Recreate { deleted, .. }, Operation::Create) if deleted == undone => None,
            (Self::Restore { mut before, updated }, Operation::Update) => {
                let all = before.len();
                before.retain(|image| !images.contains(image));
                // A write that does not say which images it put back put back all that its scope had.
                let whole = before.len() == all && updated == undone;
                (!whole && !before.is_empty()).then_some(Self::Restore { before, updated })
            }
            (other, _) => Some(other),
        }
    }
}

impl Net {
    fn confirmed(&mut self, operation: Operation, at: Position, inverts: Option<Position>) {
        let stood = self.inverse.clone();
        if let Some(undone) = inverts {
            self.inverse = match self.ended.iter().position(|(by, _)| *by == undone) {
                Some(n) => Some(self.ended.swap_remove(n).1.again(at)),
                None => self.inverse.take().and_then(|inverse| inverse.without(operation, undone, &self.images)),
            };
        } else if self.in_scope {
            if self.inverse.is_none() {
                self.base = self.mapped;
            }
            self.inverse = match (operation, self.inverse.take()) {
                (Operation::Create, Some(Inverse::Recreate { .. }))
                | (Operation::Delete, Some(Inverse::Delete { .. })) => None,
                (Operation::Create, _) => Some(Inverse::Delete { created: at }),
                (Operation::Update, None) => {
                    self.image.map(|image| Inverse::Restore { before: vec![image], updated: at })
                }
                (Operation::Update, Some(Inverse::Restore { mut before, .. })) => {
                    before.extend(self.image);
                    Some(Inverse::Restore { before, updated: at })
                }
                (Operation::Delete, _) => Some(Inverse::Recreate { deleted: at, mapped: self.base }),
                (Operation::Update | Operation::Nothing, other) => other,
            };
        } else if operation == Operation::Delete {
            self.inverse = None;
        }
        // An ordinary update adds to what is to be taken back; everything else may end it.
        if let Some(stood) = stood.filter(|stood| self.inverse.as_ref() != Some(stood))
            && (inverts.is_some() || operation == Operation::Delete)
        {
            self.ended.push((at, stood));
        }
        self.mapped = if operation == Operation::Delete { None } else { self.pending };
    }
}

/// What a three-way merge of a restore comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// Fields to set back, with their old values.
    pub set: Fields,
    /// The same fields as they are now.
    pub now: Fields,
    /// Fields that someone changed since: they stay.
    pub drift: Vec<FieldName>,
}

/// Merges what was before us, what we left, and what is now: a field as we left it goes back, one that someone changed
/// since stays.
pub fn restore(
    before: &Fields,
    ours: &Fields,
    now: &Fields,
    same: &dyn Fn(&FieldName, &Field, &Field) -> bool,
) -> Restored {
    let mut restored = Restored::default();
    let known = |field: Field| if field == Field::Absent { Field::Null } else { field };
    for (name, value) in before.iter() {
        let old = value.map_or(Field::Null, |value| Field::Present(value.clone()));
        let now = known(now.get(name.as_str()));
        if same(name, &old, &now) {
            continue;
        }
        let left = ours.get(name.as_str());
        if left != Field::Absent && !same(name, &left, &now) {
            restored.drift.push(name.clone());
            continue;
        }
        restored.set.set(name.clone(), old);
        restored.now.set(name.clone(), now);
    }
    restored
}

/// Joins before-images, the oldest first: the oldest value of each field is what was before us.
pub fn oldest(images: impl IntoIterator<Item = Fields>) -> Fields {
    let mut joined = Fields::new();
    for image in images {
        for (name, value) in image.iter() {
            if !joined.contains(name.as_str()) {
                joined.set(name.clone(), value.map_or(Field::Null, |value| Field::Present(value.clone())));
            }
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn same(_: &FieldName, a: &Field, b: &Field) -> bool {
        a == b || (a.is_blank() && b.is_blank())
    }

    fn fields(values: &[Option<u8>]) -> Fields {
        values
            .iter()
            .enumerate()
            .filter_map(|(n, value)| Some((format!("f{n}"), Field::from(i64::from((*value)?)))))
            .collect()
    }

    proptest! {
        #[test]
        fn undisturbed_a_restore_gives_exactly_what_was_before(
            old in prop::collection::vec(0u8..4, 5), new in prop::collection::vec(0u8..4, 5),
        ) {
            let before: Vec<_> = old.iter().copied().map(Some).collect();
            let ours: Vec<_> = new.iter().copied().map(Some).collect();
            let restored = restore(&fields(&before), &fields(&ours), &fields(&ours), &same);
            prop_assert!(restored.drift.is_empty());
            let mut now = fields(&ours);
            for (name, value) in restored.set.iter() {
                now.set(name.clone(), value.map_or(Field::Null, |v| Field::Present(v.clone())));
            }
            prop_assert_eq!(now, fields(&before));
        }

        #[test]
        fn what_someone_changed_is_never_touched(
            old in prop::collection::vec(0u8..4, 5), new in prop::collection::vec(0u8..4, 5),
            edited in prop::collection::vec(prop::option::of(9u8..12), 5),
        ) {
            let wrap = |values: &[u8]| values.iter().copied().map(Some).collect::<Vec<_>>();
            let now: Vec<_> = new.iter().zip(&edited).map(|(ours, edit)| Some(edit.unwrap_or(*ours))).collect();
            let restored = restore(&fields(&wrap(&old)), &fields(&wrap(&new)), &fields(&now), &same);
            for (n, edit) in edited.iter().enumerate() {
                let name = format!("f{n}");
                if edit.is_some() {
                    prop_assert!(!restored.set.contains(&name));
                    prop_assert!(restored.drift.iter().any(|field| field.as_str() == name));
                } else {
                    prop_assert_eq!(restored.set.contains(&name), old[n] != new[n]);
                }
            }
        }
    }

    /// A destination row in the life of one target: what is written to it, and the events that tell of it.
    #[derive(Default)]
    struct Life {
        row: Option<Vec<u8>>,
        envelopes: Vec<Envelope>,
        /// What stands at a position: a mapping or a before-image.
        contents: BTreeMap<Position, Fields>,
    }

    impl Life {
        fn tell(&mut self, run: u32, event: Event) -> Position {
            let position = Position(self.envelopes.len() as u64);
            self.envelopes.push(Envelope {
                position,
                time: waybill_ledger::Micros(0),
                run: Some(RunId(run)),
                actor: NameId(0),
                causes: Vec::new(),
                subject: Some(SubjectId(1)),
                target: Some(waybill_ledger::TargetPart { rule: NameId(1), part: 0 }),
                batch: None,
                event,
                content: None,
            });
            position
        }

        fn happens(&mut self, run: u32, wanted: Option<Vec<u8>>) {
            self.write(run, wanted, (None, Vec::new()));
        }

        /// Takes back what is in scope, as a run of its own.
        fn roll_back(&mut self, run: u32, scope: Scope) {
            let inverse = self.inverse(scope);
            let wanted = self.taken_back(scope);
            let values = |fields: Fields| {
                (0..3).map(move |n| match fields.value(&format!("f{n}")) {
                    Some(waybill_ledger::Value::Number(number)) => u8::try_from(number.mantissa()).unwrap_or(0),
                    _ => 0,
                })
            };
            let wanted = wanted.map(|fields| values(fields).collect::<Vec<_>>());
            let (inverts, images) = match inverse {
                None => return,
                Some(Inverse::Delete { created }) => (created, Vec::new()),
                Some(Inverse::Restore { updated, before }) => (updated, before),
                Some(Inverse::Recreate { deleted, .. }) => (deleted, Vec::new()),
            };
            self.write(run, wanted, (Some(inverts), images));
        }

        fn write(&mut self, run: u32, wanted: Option<Vec<u8>>, (inverts, images): (Option<Position>, Vec<Position>)) {
            let object = NameId(2);
            let operation = match (&self.row, &wanted) {
                (None, None) => return,
                (None, Some(_)) => Operation::Create,
                (Some(_), Some(_)) => Operation::Update,
                (Some(_), None) => Operation::Delete,
            };
            let all = |values: &[u8]| fields(&values.iter().copied().map(Some).collect::<Vec<_>>());
            if let Some(wanted) = &wanted {
                let digest = waybill_ledger::Fingerprint([0; 16]);
                let at = self.tell(run, Event::RecordMapped { object, digest });
                self.contents.insert(at, all(wanted));
            }
            if let (Some(now), Some(wanted)) = (self.row.clone(), &wanted) {
                let changed = now.iter().zip(wanted).map(|(now, wanted)| (now != wanted).then_some(*now));
                let image = fields(&changed.collect::<Vec<_>>());
                let at = self.tell(run, Event::BeforeImageTaken { destination: SubjectId(2) });
                self.contents.insert(at, image);
            }
            self.tell(run, Event::WriteIntended { object, operation, inverts });
            self.envelopes.last_mut().expect("it was just told").causes = images;
            self.tell(run, Event::WriteConfirmed { destination: SubjectId(2), operation });
            self.row = wanted;
        }

        /// Takes back what is in scope in one step, by the net inverse.
        fn inverse(&self, scope: Scope) -> Option<Inverse> {
            let mut fold = Inverses::new(scope);
            self.envelopes.iter().for_each(|envelope| fold.apply(envelope));
            fold.finish().next().map(|(_, _, inverse)| inverse)
        }

        /// Returns what the row is once what is in scope was taken back.
        fn taken_back(&self, scope: Scope) -> Option<Fields> {
            let all = |values: &Vec<u8>| fields(&values.iter().copied().map(Some).collect::<Vec<_>>());
            let now = self.row.as_ref().map(all);
            match self.inverse(scope) {
                None => now,
                Some(Inverse::Delete { .. }) => None,
                Some(Inverse::Recreate { mapped, .. }) => mapped.map(|at| self.contents[&at].clone()),
                Some(Inverse::Restore { before, .. }) => now.map(|now| {
                    let before = oldest(before.iter().map(|at| self.contents[at].clone()));
                    let mut back = now.clone();
                    for (name, value) in restore(&before, &now, &now, &same).set.iter() {
                        back.set(name.clone(), value.map_or(Field::Null, |v| Field::Present(v.clone())));
                    }
                    back
                }),
            }
        }
    }

    proptest! {
        /// Law 7: to take back the net of many writes ends where taking back one after the other does, which is where the scope
        /// began. (A row that one run deletes and makes again is not in the game: only a load does that, and the row stays.)
        #[test]
        fn the_net_inverse_ends_where_step_by_step_does(
            earlier in prop::collection::vec(prop::option::weighted(0.8, prop::collection::vec(0u8..4, 3)), 0..5),
            later in prop::collection::vec(prop::option::weighted(0.8, prop::collection::vec(0u8..4, 3)), 0..5),
        ) {
            let mut life = Life::default();
            for wanted in earlier {
                life.happens(1, wanted);
            }
            let before = life.row.clone();
            for wanted in later {
                if before.is_some() && life.row.is_none() {
                    break;
                }
                life.happens(2, wanted);
            }
            let all = |values: Vec<u8>| fields(&values.into_iter().map(Some).collect::<Vec<_>>());
            prop_assert_eq!(life.taken_back(Scope::Run(RunId(2))), before.map(all));
            prop_assert_eq!(life.taken_back(Scope::Everything), None);
        }
    }

    proptest! {
        /// Law 7: the inverse of an inverse is what was there before it, as often as one likes.
        #[test]
        fn a_rollback_that_is_rolled_back_leaves_what_was_there(
            earlier in prop::collection::vec(prop::collection::vec(0u8..4, 3), 0..3),
            later in prop::collection::vec(prop::option::weighted(0.8, prop::collection::vec(0u8..4, 3)), 1..4),
            everything in any::<bool>(),
            times in 1u32..5,
        ) {
            let mut life = Life::default();
            for wanted in earlier {
                life.happens(1, Some(wanted));
            }
            let before = life.row.clone();
            for wanted in later {
                let gone = wanted.is_none();
                life.happens(2, wanted);
                if gone {
                    break;
                }
            }
            let after = life.row.clone();
            let scope = if everything { Scope::Everything } else { Scope::Run(RunId(2)) };
            life.roll_back(3, scope);
            let back = life.row.clone();
            prop_assert_eq!(&back, if everything { &None } else { &before });
            for n in 0..times {
                // Each rollback takes back the one before it.
                life.roll_back(4 + n, Scope::Run(RunId(3 + n)));
                prop_assert_eq!(&life.row, if n % 2 == 0 { &after } else { &back });
            }
            // However often it went to and fro, everything can be taken back.
            life.roll_back(20, Scope::Everything);
            prop_assert_eq!(&life.row, &None);
            prop_assert_eq!(life.inverse(Scope::Everything), None);
        }
    }

    #[test]
    fn the_oldest_image_of_a_field_is_what_was_before_us() {
        let joined = oldest([fields(&[Some(1)]), fields(&[Some(2), Some(3)])]);
        assert_eq!(joined, fields(&[Some(1), Some(3)]));
    }
}
