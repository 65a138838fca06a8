//! The mapping: from a source record to what the plan wants at the destination, with a reason for everything.
//!
//! Pure: what it must know of the world it asks a [`World`], which answers from memory.

mod check;
mod condition;
mod convert;
mod plan;

use std::collections::BTreeSet;

use waybill_ledger::{
    Decision, Field, FieldName, FieldSchema, Fields, Mapped, ObjectSchema, Record, RuleId, Value,
    event::{HoldReason, SkipReason},
};

use self::convert::{Unfit, fit, is_blank};
pub use self::{
    check::{Finding, Severity, check, unmapped},
    condition::Condition,
    plan::{
        FieldRule, Gone, Invalid, Long, Missing, NewField, Otherwise, OwnerPlan, PipelinePlan, Plan, PlanError, Rule,
        Seed, ValueMap, Via, fold,
    },
};

/// What the mapping may ask.
pub trait World {
    /// Returns where the record of a source object landed that is named by `value`: by its id, or by the field `by`.
    fn landed(&self, object: &str, by: Option<&str>, value: &str, rule: Option<&RuleId>) -> Landing;

    /// Returns a row of a reference object.
    fn reference(&self, object: &str, id: &str) -> Option<&Record>;

    /// Returns who owns what the source says this owner owns; the empty text stands for no owner.
    fn owner(&self, source_owner_id: &str) -> OwnerAnswer;

    /// Returns the destination id of a constant record.
    fn seed(&self, id: &str) -> Option<String>;

    /// Returns the id of a variant of a destination object.
    fn variant(&self, object: &str, name: &str) -> Option<String>;

    /// Returns the schema of a destination object.
    fn schema(&self, object: &str) -> Option<&ObjectSchema>;
}

/// Where a record that is pointed to is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// It landed, with this destination id.
    Id(String),
    /// It may still land in this phase.
    NotYet,
    /// It is known, and did not land.
    Held,
    /// There is no such record.
    Missing,
    /// Several records are named so.
    Ambiguous,
}

/// Who owns something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerAnswer {
    /// The user with this destination id.
    User(String),
    /// The owner is known, and waits for a decision or a user.
    Held,
    /// The source does not list such an owner.
    Unknown,
}

/// What the mapping of a record came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapOutcome {
    /// It is to land so. The key is still empty: it depends on more than the record.
    Mapped(Mapped),
    /// It waits for a person.
    Held {
        /// Why.
        reason: HoldReason,
        /// Why, in words; they may quote values.
        text: String,
    },
    /// The plan does not carry it.
    Skipped {
        /// Why.
        reason: SkipReason,
        /// Why, in words.
        text: String,
    },
}

/// What came of one field.
enum Mapping {
    Set(Field),
    Leave,
    Later,
    Hold(HoldReason, String),
}

impl Plan {
    /// Maps a record by a rule.
    pub fn map(&self, rule: &Rule, record: &Record, world: &impl World) -> MapOutcome {
        if let Some(condition) = &rule.when {
            match condition.holds(record) {
                Ok(true) => {}
                Ok(false) => {
                    let text = format!("the rule `{}` does not want it: its condition is false", rule.id);
                    return MapOutcome::Skipped { reason: SkipReason::Condition, text };
                }
                Err(text) => return MapOutcome::Held { reason: HoldReason::BadValue, text },
            }
        }
        let Some(schema) = world.schema(rule.to.as_str()) else {
            let text = format!("the destination has no object {}", rule.to);
            return MapOutcome::Held { reason: HoldReason::BadValue, text };
        };
        let (mut fields, mut later, mut decisions) = (Fields::new(), Fields::new(), Vec::new());
        let mut holds: Vec<(HoldReason, String)> = Vec::new();
        for (name, field) in &rule.fields {
            let Some(known) = schema.field(name.as_str()) else {
                holds.push((HoldReason::BadValue, format!("{}.{name} is not a field of the destination", rule.to)));
                continue;
            };
            let mut decide = |what: String| {
                let id = RuleId::from(format!("{}.{name}", rule.id));
                decisions.push(Decision { field: name.clone(), rule: id, what });
            };
            match self.field(rule, field, known, record, world, &mut decide) {
                Mapping::Set(value) => fields.set(known.name.clone(), value),
                Mapping::Leave => {}
                Mapping::Later => later.set(known.name.clone(), Field::Null),
                Mapping::Hold(reason, text) => holds.push((reason, format!("{}.{name}: {text}", rule.to))),
            }
        }
        if holds.is_empty() {
            holds.extend(self.missing(schema, &fields, &later));
        }
        match holds.first() {
            None => {
                MapOutcome::Mapped(Mapped { object: rule.to.to_string(), key: String::new(), fields, later, decisions })
            }
            Some((reason, _)) => {
                let text = holds.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ");
                MapOutcome::Held { reason: *reason, text }
            }
        }
    }

    fn missing(&self, schema: &ObjectSchema, fields: &Fields, later: &Fields) -> Option<(HoldReason, String)> {
        let empty: BTreeSet<&str> = schema
            .fields
            .iter()
            .filter(|field| field.required && field.createable && field.name != self.key_field())
            .map(|field| field.name.as_str())
            .filter(|name| is_blank(&fields.get(name)) && !later.contains(name))
            .collect();
        let names = empty.into_iter().collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| (HoldReason::MissingValue, format!("{} needs a value in {names}", schema.name)))
    }

    fn field(
        &self,
        rule: &Rule,
        field: &FieldRule,
        known: &FieldSchema,
        record: &Record,
        world: &impl World,
        decide: &mut impl FnMut(String),
    ) -> Mapping {
        let mut value = match taken(field, record) {
            Ok(value) => value,
            Err(text) => return Mapping::Hold(HoldReason::BadValue, text),
        };
        if let (Some(via), false) = (&field.via, is_blank(&value)) {
            let id = text_of(&value);
            match world.reference(&via.object, &id) {
                Some(row) => value = row.fields.get(&via.field),
                None => {
                    return Mapping::Hold(
                        HoldReason::MissingParent,
                        format!("{} has no row with the id `{id}`", via.object),
                    );
                }
            }
        }
        if let (Some(name), false) = (&field.map, is_blank(&value)) {
            match self.mapped(name, &text_of(&value), decide) {
                Ok(Some(mapped)) => value = mapped,
                Ok(None) => value = Field::Null,
                Err(text) => return Mapping::Hold(HoldReason::UnmappedValue, text),
            }
        }
        if is_blank(&value) && !field.owner {
            if let Some(default) = field.default.as_ref().and_then(plan::constant) {
                decide("the source holds nothing; the plan's default stands in".to_owned());
                value = default;
            } else if let Some(seed) = &field.seed {
                return seeded(seed, world, decide);
            } else {
                return match value {
                    Field::Absent => Mapping::Leave,
                    _ => Mapping::Set(Field::Null),
                };
            }
        }
        if field.owner {
            return owned(&value, world);
        }
        if let Some(object) = &field.lookup {
            return looked_up(rule, field, object, &text_of(&value), world, decide);
        }
        if field.variant {
            let name = text_of(&value);
            return match world.variant(rule.to.as_str(), &name) {
                Some(id) => Mapping::Set(Field::from(id.as_str())),
                None => Mapping::Hold(HoldReason::UnmappedValue, format!("{} has no record type `{name}`", rule.to)),
            };
        }
        let Field::Present(value) = value else { return Mapping::Set(Field::Null) };
        match fit(&value, &known.kind, field.long) {
            Ok(fitted) => {
                if let Some(decision) = fitted.decision {
                    decide(decision);
                }
                Mapping::Set(Field::Present(fitted.value))
            }
            Err(unfit) => {
                let (reason, text) = match unfit {
                    Unfit::Bad(text) => (HoldReason::BadValue, text),
                    Unfit::NotAnOption(text) => (HoldReason::UnmappedValue, text),
                };
                if field.invalid == Invalid::Blank {
                    decide(format!("left empty: {text}"));
                    return Mapping::Set(Field::Null);
                }
                Mapping::Hold(reason, format!("`{value}` does not fit: {text}"))
            }
        }
    }

    fn mapped(&self, name: &str, value: &str, decide: &mut impl FnMut(String)) -> Result<Option<Field>, String> {
        let Some(map) = self.maps.get(name) else { return Err(format!("there is no value map `{name}`")) };
        if let Some(found) = map.get(value) {
            if found != value {
                decide(format!("the value map `{name}` makes it `{found}`"));
            }
            return Ok(Some(Field::from(found)));
        }
        match (map.otherwise, &map.value) {
            (Otherwise::Keep, _) => Ok(Some(Field::from(value))),
            (Otherwise::Blank, _) => {
                decide(format!("the value map `{name}` does not name it; the field stays empty"));
                Ok(None)
            }
            (Otherwise::Value, Some(other)) => {
                decide(format!("the value map `{name}` does not name it; `{other}` stands for all others"));
                Ok(Some(Field::from(other.as_str())))
            }
            (Otherwise::Hold | Otherwise::Value, _) => {
                Err(format!("the value map `{name}` has no place for `{value}`"))
            }
        }
    }
}

/// Takes the value out of the record.
fn taken(field: &FieldRule, record: &Record) -> Result<Field, String> {
    if let Some(constant) = &field.value {
        return Ok(plan::constant(constant).unwrap_or_default());
    }
    if let Some(expression) = &field.cel {
        return expression.value(record);
    }
    if let Some(join) = &field.join {
        let parts: Vec<String> = field
            .from
            .iter()
            .map(|name| record.fields.get(name))
            .filter(|part| !is_blank(part))
            .map(|part| text_of(&part))
            .collect();
        return Ok(if parts.is_empty() { Field::Null } else { Field::from(parts.join(join)) });
    }
    let mut first = Field::Absent;
    for name in &field.from {
        let value = record.fields.get(name);
        if !is_blank(&value) {
            return Ok(value);
        }
        if first == Field::Absent {
            first = value;
        }
    }
    Ok(first)
}

fn owned(value: &Field, world: &impl World) -> Mapping {
    let id = if is_blank(value) { String::new() } else { text_of(value) };
    match world.owner(&id) {
        OwnerAnswer::User(user) => Mapping::Set(Field::from(user.as_str())),
        OwnerAnswer::Held if id.is_empty() => {
            Mapping::Hold(HoldReason::Owner, "it has no owner, and the plan names nobody for such records".into())
        }
        OwnerAnswer::Held => Mapping::Hold(HoldReason::Owner, format!("its owner `{id}` has no user yet")),
        OwnerAnswer::Unknown => Mapping::Hold(HoldReason::Owner, format!("the source lists no owner `{id}`")),
    }
}

fn seeded(seed: &str, world: &impl World, decide: &mut impl FnMut(String)) -> Mapping {
    match world.seed(seed) {
        Some(id) => {
            decide(format!("the constant record `{seed}` stands in"));
            Mapping::Set(Field::from(id.as_str()))
        }
        None => Mapping::Hold(HoldReason::MissingParent, format!("the constant record `{seed}` has not landed")),
    }
}

fn looked_up(
    rule: &Rule,
    field: &FieldRule,
    object: &str,
    value: &str,
    world: &impl World,
    decide: &mut impl FnMut(String),
) -> Mapping {
    let (reason, text) = match world.landed(object, field.by.as_deref(), value, field.rule.as_ref()) {
        Landing::Id(id) => return Mapping::Set(Field::from(id.as_str())),
        Landing::NotYet if object == rule.from => return Mapping::Later,
        Landing::NotYet | Landing::Held => (HoldReason::MissingParent, format!("{object} `{value}` has not landed")),
        Landing::Missing => (HoldReason::MissingParent, format!("there is no {object} `{value}`")),
        Landing::Ambiguous => (HoldReason::Ambiguous, format!("several {object} are `{value}`")),
    };
    match (field.missing, &field.seed) {
        (Missing::Blank, _) => {
            decide(format!("left empty: {text}"));
            Mapping::Set(Field::Null)
        }
        (Missing::Seed, Some(seed)) => seeded(seed, world, decide),
        (Missing::Hold | Missing::Seed, _) => Mapping::Hold(reason, text),
    }
}

fn text_of(field: &Field) -> String {
    field
        .value()
        .map(|value| match value {
            Value::Text(text) => text.trim().to_owned(),
            other => other.to_string(),
        })
        .unwrap_or_default()
}

/// Returns the fields that a rule points to records of its own object by, with the ids they hold.
pub fn parents<'a>(rule: &'a Rule, record: &'a Record) -> impl Iterator<Item = (&'a FieldName, String)> {
    rule.self_references().filter_map(|(name, field)| {
        let value = taken(field, record).ok()?;
        (!is_blank(&value)).then(|| (name, text_of(&value)))
    })
}

#[cfg(test)]
mod tests;
