//! The mapping: from a source record to what the plan wants at the destination, with a reason for everything.
//!
//! Pure: what it must know of the world it asks a [`World`], which answers from memory.

mod check;
mod condition;
mod convert;
mod custom;
mod difference;
mod expand;
mod field_rule;
mod form;
mod html;
mod matching;
mod objects;
mod plan;

use std::collections::{BTreeMap, BTreeSet};

use waybill_ledger::{
    Decision, Field, FieldKind, FieldName, FieldSchema, Fields, Mapped, ObjectName, ObjectSchema, Record, RuleId,
    Value,
    event::{HoldReason, SkipReason},
};

use self::convert::{Unfit, fit, is_blank};
pub use self::{
    check::{Finding, Severity, check, unmapped},
    condition::Condition,
    custom::CustomPlan,
    difference::PlanChange,
    expand::Expand,
    field_rule::{Children, FieldRule, Html, Invalid, Link, Long, Lookup, Missing, Via},
    form::Form,
    matching::{MatchKey, unique_form},
    objects::{ObjectsPlan, Relation},
    plan::{
        Gone, NewField, NewObject, Otherwise, OwnerPlan, PipelinePlan, Plan, PlanError, Rule, Seed, Trash, ValueMap,
        fold,
    },
};

/// What the mapping may ask.
pub trait World {
    /// Returns where the record of a source object landed that is named by `value`: by its id, or by the field `by`. It is a
    /// row of one of the objects `to`, or of any if that is empty.
    fn landed(&self, object: &str, by: Option<&str>, value: &str, rule: Option<&RuleId>, to: &[ObjectName]) -> Landing;

    /// Returns a source record.
    fn record(&self, object: &str, id: &str) -> Option<Record>;

    /// Returns the live records of a source object whose field `by` names the record `id`, in the order of their ids.
    fn children(&self, object: &str, by: &str, id: &str) -> Vec<Record>;

    /// Looks at a file of the export. The error says why it cannot be read.
    fn file(&self, path: &str) -> Result<FileFacts, String>;

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

/// What is known of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// How many bytes it has.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// Its MD5, in hexadecimal digits: what some systems tell of a file that they hold.
    pub md5: String,
}

/// The part of a binary value that names a file of the export.
pub const FILE_PATH: &str = "path";
/// The part of a binary value that is the content itself, as text.
pub const FILE_TEXT: &str = "text";
/// The part of a binary value with its size in bytes.
pub const FILE_SIZE: &str = "size";
/// The part of a binary value with its MD5.
pub const FILE_MD5: &str = "md5";
/// The part of a binary value with its SHA-256.
pub const FILE_SHA256: &str = "sha256";

impl FileFacts {
    /// Looks at a content that is at hand.
    pub fn of(content: &[u8]) -> Self {
        use sha2::Digest as _;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            size: content.len() as u64,
            sha256: hex(&sha2::Sha256::digest(content)),
            md5: hex(&md5::Md5::digest(content)),
        }
    }

    /// Returns the value that stands for the content: where it is, and by what it is known again.
    fn value(&self, part: &str, of: &str) -> Value {
        let text = |text: &str| Value::Text(text.to_owned());
        Value::Map(BTreeMap::from([
            (part.to_owned(), text(of)),
            (FILE_SIZE.to_owned(), Value::Number(self.size.into())),
            (FILE_SHA256.to_owned(), text(&self.sha256)),
            (FILE_MD5.to_owned(), text(&self.md5)),
        ]))
    }
}

/// Where a record that is pointed to is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// It landed, with this destination id.
    Id(String),
    /// It may still land in this phase; if so, with this key.
    NotYet(Option<String>),
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

/// How a decision begins that only says what a person should know.
pub const TOLD: &str = "to know: ";

/// What came of one field.
enum Mapping {
    Set(Field),
    /// Part of it fits; the rest is what did not.
    Split(Field, String),
    Leave,
    /// What it points to may still land, with this key.
    Later(Option<String>),
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
        let mut fields = Fields::with_capacity(rule.fields.len());
        let (mut later, mut decisions) = (Fields::new(), Vec::new());
        let mut holds: Vec<(HoldReason, String)> = Vec::new();
        for (name, field) in &rule.fields {
            let allowed = schema.field(name.as_str()).is_some_and(|known| known.createable);
            if field.if_allowed && !allowed {
                let what = "our user may not set this field: left out".to_owned();
                decisions.push(Decision { field: name.clone(), rule: format!("{}.{name}", rule.id).into(), what });
                continue;
            }
            let name = field.instead.as_ref().filter(|_| !allowed).unwrap_or(name);
            let Some(known) = schema.field(name.as_str()) else {
                holds.push((HoldReason::BadValue, format!("{}.{name} is not a field of the destination", rule.to)));
                continue;
            };
            let mut decide = |what: String| {
                let id = RuleId::from(format!("{}.{name}", rule.id));
                decisions.push(Decision { field: name.clone(), rule: id, what });
            };
            let mapping = self.field(rule, field, known, record, world, &mut decide);
            let mapping = match &field.spill {
                None => mapping,
                Some(spill) => self.spilled(field, spill, mapping, schema, record, &mut fields, &mut decide),
            };
            if let (Some(text), Mapping::Split(value, _) | Mapping::Set(value)) = (&field.tell, &mapping)
                && !is_blank(value)
            {
                decide(format!("{TOLD}{text}"));
            }
            match mapping {
                Mapping::Split(value, _) | Mapping::Set(value) => fields.set(known.name.clone(), value),
                Mapping::Leave => {}
                Mapping::Later(key) => later.set(known.name.clone(), key.map_or(Field::Null, Field::from)),
                Mapping::Hold(reason, text) => holds.push((reason, format!("{}.{name}: {text}", rule.to))),
            }
        }
        if holds.is_empty() {
            holds.extend(self.missing(schema, &fields, &later));
        }
        match holds.first() {
            None => {
                // It waits for its batch with ten thousand others.
                fields.shrink_to_fit();
                MapOutcome::Mapped(Mapped { object: rule.to.to_string(), key: String::new(), fields, later, decisions })
            }
            Some((reason, _)) => {
                let text = holds.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("; ");
                MapOutcome::Held { reason: *reason, text }
            }
        }
    }

    /// Lets another field take what does not fit; it holds nothing where everything fits.
    #[expect(clippy::too_many_arguments, reason = "it stands between a field's mapping and the record's")]
    fn spilled(
        &self,
        field: &FieldRule,
        spill: &FieldName,
        mapping: Mapping,
        schema: &ObjectSchema,
        record: &Record,
        fields: &mut Fields,
        decide: &mut impl FnMut(String),
    ) -> Mapping {
        let (kept, rest, why) = match mapping {
            Mapping::Split(kept, rest) => (kept, Field::from(rest), "some of it does not fit".to_owned()),
            Mapping::Hold(HoldReason::BadValue | HoldReason::UnmappedValue, why) => {
                (Field::Null, taken(field, record).unwrap_or_default(), why)
            }
            other => {
                if !fields.contains(spill.as_str()) {
                    fields.set(spill.clone(), Field::Null);
                }
                return other;
            }
        };
        let fitted = match (schema.field(spill.as_str()), &rest) {
            (Some(known), Field::Present(rest)) => fit(rest, &known.kind, field.long, self.zone()),
            _ => Err(Unfit::Bad(format!("there is no field {spill} to take it"))),
        };
        match fitted {
            Ok(fitted) => {
                decide(format!("{spill} takes what does not fit: {why}"));
                fields.set(spill.clone(), Field::Present(fitted.value));
                Mapping::Set(kept)
            }
            Err(Unfit::Bad(text) | Unfit::NotAnOption(text)) => {
                Mapping::Hold(HoldReason::BadValue, format!("{why}; {spill}: {text}"))
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
        let mut value = match &field.children {
            Some(children) => listed(children, record, world),
            None => match taken(field, record) {
                Ok(value) => value,
                Err(text) => return Mapping::Hold(HoldReason::BadValue, text),
            },
        };
        if let (Some(wanted), Field::Present(Value::Text(html))) = (field.html, &value) {
            value = match wanted {
                Html::Safe => Field::from(html::safe(html)),
                Html::Markdown => match html::markdown(html) {
                    Some(text) => Field::from(text),
                    None => return Mapping::Hold(HoldReason::BadValue, "it cannot be read as HTML".to_owned()),
                },
                Html::Text => match html::text(html) {
                    Some(text) => Field::from(text),
                    None => return Mapping::Hold(HoldReason::BadValue, "it cannot be read as HTML".to_owned()),
                },
            };
        }
        if let (Some(link), true) = (&field.link, is_blank(&value)) {
            match linked(link, record, world) {
                Ok(found) => value = found,
                Err(text) => return Mapping::Hold(HoldReason::Ambiguous, text),
            }
        }
        let mut rest = None;
        if let (Some(form), Field::Present(given), false) = (field.form, &value, is_blank(&value)) {
            match form.bring(given, matches!(known.kind, FieldKind::Choices { .. })) {
                Ok((fit, left)) => (value, rest) = (fit, left),
                Err(text) if field.invalid == Invalid::Blank => {
                    decide(format!("left empty: {text}"));
                    value = Field::Null;
                }
                Err(text) => return Mapping::Hold(HoldReason::BadValue, format!("`{given}` does not fit: {text}")),
            }
        }
        if let Some(left) = rest {
            if field.spill.is_some() {
                return Mapping::Split(value, left);
            }
            if field.invalid != Invalid::Blank {
                return Mapping::Hold(HoldReason::BadValue, format!("`{left}` does not fit"));
            }
            decide(format!("left out: {left}"));
        }
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
        let mut between = None;
        if let Some(through) = &field.through {
            let id = text_of(&value);
            let Some(next) = world.record(&through.object, &id) else {
                let text = format!("there is no {} `{id}`", through.object);
                return Mapping::Hold(HoldReason::MissingParent, text);
            };
            value = next.fields.get(&through.from);
            between = Some(next);
        }
        if let Some(lookup) = &field.lookup {
            let record = between.as_ref().unwrap_or(record);
            let to: &[ObjectName] = match &known.kind {
                FieldKind::Reference { to } => to,
                _ => &[],
            };
            return looked_up(rule, field, lookup, &value, record, to, world, decide);
        }
        if field.variant {
            let name = text_of(&value);
            return match world.variant(rule.to.as_str(), &name) {
                Some(id) => Mapping::Set(Field::from(id.as_str())),
                None => Mapping::Hold(HoldReason::UnmappedValue, format!("{} has no record type `{name}`", rule.to)),
            };
        }
        let Field::Present(value) = value else { return Mapping::Set(Field::Null) };
        if matches!(known.kind, FieldKind::Binary) {
            return self.content(field, &value, record, world);
        }
        match fit(&value, &known.kind, field.long, self.zone()) {
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

    /// Returns the value that stands for a content, which itself is sent when its row is.
    fn content(&self, field: &FieldRule, value: &Value, record: &Record, world: &impl World) -> Mapping {
        let text = value.to_string();
        let (facts, part) = if field.file {
            match world.file(text.trim()) {
                Ok(facts) => (facts, FILE_PATH),
                Err(why) => return Mapping::Hold(HoldReason::BadValue, why),
            }
        } else {
            (FileFacts::of(text.as_bytes()), FILE_TEXT)
        };
        if facts.size > self.file_limit() {
            let (size, limit) = (facts.size >> 20, self.file_limit() >> 20);
            let why = format!("the file has {size} MB, the plan carries files of at most {limit} MB");
            return Mapping::Hold(HoldReason::BadValue, why);
        }
        let listed = field.sha256.as_ref().map(|name| text_of(&record.fields.get(name))).unwrap_or_default();
        if !listed.is_empty() && !facts.sha256.is_empty() && !listed.eq_ignore_ascii_case(&facts.sha256) {
            let why = "the file is not the one that the export lists: their SHA-256 differ".to_owned();
            return Mapping::Hold(HoldReason::BadValue, why);
        }
        Mapping::Set(Field::Present(facts.value(part, if field.file { text.trim() } else { &text })))
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

#[expect(clippy::too_many_arguments, reason = "a lookup is asked in one place, and needs all that the mapping has")]
fn looked_up(
    rule: &Rule,
    field: &FieldRule,
    lookup: &Lookup,
    value: &Field,
    record: &Record,
    to: &[ObjectName],
    world: &impl World,
    decide: &mut impl FnMut(String),
) -> Mapping {
    let mut failure: Option<(HoldReason, String)> = None;
    for (object, value) in named(field, lookup, value, record) {
        let Some(object) = object else {
            failure = failure.or(Some((HoldReason::UnmappedValue, format!("the rule knows no kind `{value}`"))));
            continue;
        };
        let why = match world.landed(object, field.by.as_deref(), &value, field.rule.as_ref(), to) {
            Landing::Id(id) => return Mapping::Set(Field::from(id.as_str())),
            Landing::NotYet(key) if object == rule.from => return Mapping::Later(key),
            Landing::NotYet(_) | Landing::Held => {
                (HoldReason::MissingParent, format!("{object} `{value}` has not landed"))
            }
            Landing::Missing => (HoldReason::MissingParent, format!("there is no {object} `{value}`")),
            Landing::Ambiguous => (HoldReason::Ambiguous, format!("several {object} are `{value}`")),
        };
        failure = failure.or(Some(why));
    }
    let Some((reason, text)) = failure else { return Mapping::Set(Field::Null) };
    match (field.missing, &field.seed) {
        (Missing::Blank, _) => {
            decide(format!("left empty: {text}"));
            Mapping::Set(Field::Null)
        }
        (Missing::Seed, Some(seed)) => seeded(seed, world, decide),
        (Missing::Hold | Missing::Seed, _) => Mapping::Hold(reason, text),
    }
}

/// Returns the records that a lookup names, the first choice first; of an unknown kind only the kind.
fn named<'r>(
    field: &'r FieldRule,
    lookup: &'r Lookup,
    value: &Field,
    record: &Record,
) -> Vec<(Option<&'r str>, String)> {
    match lookup {
        Lookup::One(object) => vec![(Some(object), text_of(value))],
        Lookup::Each(objects) => {
            let values = field.from.iter().map(|name| record.fields.get(name));
            let pairs = objects.iter().zip(values).filter(|(_, value)| !is_blank(value));
            pairs.map(|(object, value)| (Some(object.as_str()), text_of(&value))).collect()
        }
        Lookup::ByKind(objects) => {
            let kind = field.through.as_ref().map_or(&field.kind, |through| &through.kind);
            let kind = kind.as_ref().map(|kind| text_of(&record.fields.get(kind))).unwrap_or_default();
            match objects.iter().find(|(name, _)| fold(name) == fold(&kind)) {
                Some((_, object)) => vec![(Some(object), text_of(value))],
                None => vec![(None, kind)],
            }
        }
    }
}

/// Returns the records that name this one, a line each.
fn listed(children: &Children, record: &Record, world: &impl World) -> Field {
    let line = |child: &Record| {
        let shown = children.show.iter().filter_map(|shown| {
            let value = match shown.split_once('.') {
                None => child.fields.get(shown),
                Some((link, other)) => {
                    let id = child.fields.get(link);
                    let object = children.links.get(link).filter(|_| !is_blank(&id))?;
                    world.record(object, &text_of(&id))?.fields.get(other)
                }
            };
            (!is_blank(&value)).then(|| text_of(&value))
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    let mut all = world.children(&children.object, &children.by, &record.id);
    all.retain(|child| holds(child, &children.is));
    let lines: Vec<String> = all.iter().map(line).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { Field::Null } else { Field::from(lines.join("\n")) }
}

/// Returns what a record that names this one holds.
fn linked(link: &Link, record: &Record, world: &impl World) -> Result<Field, String> {
    let mut found = world.children(&link.object, &link.by, &record.id);
    found.retain(|child| holds(child, &link.is) && !is_blank(&child.fields.get(&link.take)));
    if let Some(latest) = &link.latest {
        // Of two of the same time, the one with the higher id: a choice that is the same every time.
        found.sort_by_key(|child| (text_of(&child.fields.get(latest)), child.id.clone()));
        return Ok(found.last().map_or(Field::Null, |child| child.fields.get(&link.take)));
    }
    match found.as_slice() {
        [] => Ok(Field::Null),
        [one] => Ok(one.fields.get(&link.take)),
        several => Err(format!("{} records of {} name it", several.len(), link.object)),
    }
}

/// Returns whether a record holds these values.
fn holds(record: &Record, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| fold(&text_of(&record.fields.get(name))) == fold(value))
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

/// Returns the records that a record points to by a rule's lookups. `read` reads a record that stands between.
pub fn pointed(rule: &Rule, record: &Record, read: &dyn Fn(&str, &str) -> Option<Record>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for field in rule.fields.values() {
        let Some(lookup) = field.lookup.as_ref().filter(|_| field.by.is_none()) else { continue };
        let Ok(value) = taken(field, record) else { continue };
        if is_blank(&value) {
            continue;
        }
        let all = match &field.through {
            None => named(field, lookup, &value, record),
            Some(through) => {
                let id = text_of(&value);
                let Some(next) = read(&through.object, &id) else { continue };
                found.push((through.object.clone(), id));
                named(field, lookup, &next.fields.get(&through.from), &next)
            }
        };
        found.extend(all.into_iter().filter_map(|(object, id)| Some((object?.to_owned(), id))));
    }
    found
}

/// Returns the fields that a rule points to records of its own object by, with the ids they hold.
pub fn parents<'a>(rule: &'a Rule, record: &'a Record) -> impl Iterator<Item = (&'a FieldName, String)> {
    rule.self_references().filter_map(|(name, field)| {
        let value = taken(field, record).ok()?;
        let lookup = field.lookup.as_ref().filter(|_| !is_blank(&value))?;
        let own = named(field, lookup, &value, record).into_iter().find(|(object, _)| *object == Some(&rule.from))?;
        Some((name, own.1))
    })
}

#[cfg(test)]
mod tests;
