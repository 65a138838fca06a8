//! What the plan needs of the destination's schema that is not there yet, and the schema as it will be.

use std::collections::{BTreeMap, BTreeSet};

use waybill_ledger::{
    Choice, Digest, FieldKind, FieldName, FieldSchema, NewChoice, ObjectName, ObjectSchema, Record, Schema,
    SchemaChange, Variant,
};

use crate::mapping::{NewField, Plan, fold};

/// The plan asks for something that no destination has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// A kind of field that does not exist.
    #[error(
        "{object}.{field}: there is no kind of field `{kind}` (text, long_text, number, money, percent, date, time, bool, choice, choices, email, phone, url, reference)"
    )]
    Kind {
        /// The object.
        object: String,
        /// The field.
        field: String,
        /// The kind.
        kind: String,
    },
    /// A stage whose name has no place in the value map.
    #[error("the stage `{stage}` of the pipeline `{pipeline}` has no place in the value map `{map}`")]
    Stage {
        /// The stage.
        stage: String,
        /// The pipeline.
        pipeline: String,
        /// The map.
        map: String,
    },
}

/// What records of the source hold in fields that options are made of, by `object.field`.
pub type Options = BTreeMap<String, BTreeSet<String>>;

/// Returns the changes that make a destination ready for a plan; none if it is.
///
/// `data` is what records hold in the fields that the plan makes options of, `pipelines` and `stages` are the rows of those source objects, if the plan has pipelines.
pub fn changes<'a>(
    plan: &Plan,
    pipelines: impl Iterator<Item = &'a Record>,
    stages: impl Iterator<Item = &'a Record>,
    data: &Options,
    present: &Schema,
) -> Result<Vec<SchemaChange>, SchemaError> {
    let mut changes = Vec::new();
    let mut made = BTreeSet::new();
    for new in plan.new_objects.iter().filter(|new| present.object(new.name.as_str()).is_none()) {
        let (name, label, label_plural) = (new.name.clone(), new.label.clone(), new.label_plural.clone());
        made.insert(name.clone());
        changes.push(SchemaChange::AddObject { name, label, label_plural });
    }
    let written: BTreeSet<ObjectName> = plan
        .rules()
        .iter()
        .map(|rule| rule.to.clone())
        .chain(plan.seeds().iter().map(|seed| seed.to.clone()))
        .collect();
    for object in written {
        let known = present.object(object.as_str());
        if known.is_none() && !made.contains(&object) {
            continue;
        }
        let there = known.is_some_and(|known| known.field(plan.key_field().as_str()).is_some());
        if plan.has_key(object.as_str()) && !there {
            changes.push(SchemaChange::AddField { object, field: key_field(plan) });
        }
    }
    for new in &plan.new_fields {
        // A field that stands in for another one is not needed where that one can be set.
        let stood_for = plan.rules().iter().filter(|rule| rule.to == new.object).flat_map(|rule| &rule.fields);
        let mut stood_for = stood_for.filter(|(_, field)| field.instead.as_ref() == Some(&new.name)).peekable();
        let sets = |name: &str| {
            let known = present.object(new.object.as_str()).and_then(|known| known.field(name));
            known.is_some_and(|field| field.createable)
        };
        if stood_for.peek().is_some() && stood_for.all(|(name, _)| sets(name.as_str())) {
            continue;
        }
        let there = present.object(new.object.as_str()).and_then(|known| known.field(new.name.as_str()));
        let found: Vec<&String> = new.options_from.iter().filter_map(|from| data.get(from)).flatten().collect();
        match there.map(|field| &field.kind) {
            None => {
                let mut new = new.clone();
                for option in found {
                    if !new.options.iter().any(|known| fold(known) == fold(option)) {
                        new.options.push(option.clone());
                    }
                }
                // A choice of nothing is no field: it comes with the first value.
                if new.options_from.is_empty() || !new.options.is_empty() {
                    changes.push(SchemaChange::AddField { object: new.object.clone(), field: field(&new)? });
                }
            }
            Some(FieldKind::Choice { options, .. } | FieldKind::Choices { options, .. }) => {
                let known = |text: &str| {
                    let text = fold(text);
                    options.iter().any(|option| fold(&option.label) == text || fold(&option.value) == text)
                };
                let missing: Vec<NewChoice> = found
                    .into_iter()
                    .filter(|text| !known(text))
                    .map(|text| NewChoice { value: text.clone(), label: text.clone(), properties: BTreeMap::new() })
                    .collect();
                if !missing.is_empty() {
                    let (object, field) = (new.object.clone(), new.name.clone());
                    changes.push(SchemaChange::AddOptions { object, field, options: missing });
                }
            }
            Some(_) => {}
        }
    }
    if let Some(wanted) = &plan.pipelines {
        changes.extend(stage_changes(plan, wanted, pipelines, stages, present)?);
    }
    Ok(changes)
}

fn key_field(plan: &Plan) -> FieldSchema {
    FieldSchema {
        name: plan.key_field(),
        label: "Source System ID".into(),
        kind: FieldKind::Text { length: 64, multiline: false, rich: false },
        required: false,
        createable: true,
        updateable: true,
        unique: true,
        external_id: true,
        case_sensitive: true,
    }
}

fn field(new: &NewField) -> Result<FieldSchema, SchemaError> {
    let length = new.length.unwrap_or(255);
    let (precision, scale) = (18, new.scale.unwrap_or(2));
    let kind = match new.kind.as_str() {
        "text" => FieldKind::Text { length, multiline: false, rich: false },
        "long_text" => FieldKind::Text { length: new.length.unwrap_or(32_768), multiline: true, rich: false },
        "number" => FieldKind::Number { precision, scale: new.scale.unwrap_or(0) },
        "money" => FieldKind::Money { precision, scale },
        "percent" => FieldKind::Percent { precision, scale },
        "date" => FieldKind::Date,
        "time" => FieldKind::Time,
        "bool" => FieldKind::Bool,
        "email" => FieldKind::Email,
        "phone" => FieldKind::Phone,
        "url" => FieldKind::Url,
        "reference" => FieldKind::Reference { to: new.to.iter().cloned().collect() },
        "choice" => {
            FieldKind::Choice { options: new.options.iter().map(|value| option(value)).collect(), restricted: true }
        }
        "choices" => {
            // Several values travel with semicolons between them: none may hold one. The label keeps the source's word.
            let apart = |label: &String| Choice { value: label.replace(';', ","), label: label.clone(), active: true };
            FieldKind::Choices { options: new.options.iter().map(apart).collect(), restricted: true }
        }
        other => {
            let (object, field) = (new.object.to_string(), new.name.to_string());
            return Err(SchemaError::Kind { object, field, kind: other.to_owned() });
        }
    };
    Ok(FieldSchema {
        name: new.name.clone(),
        label: new.label.clone(),
        kind,
        required: false,
        createable: true,
        updateable: true,
        unique: false,
        external_id: false,
        case_sensitive: false,
    })
}

fn option(value: &str) -> Choice {
    Choice { value: value.to_owned(), label: value.to_owned(), active: true }
}

fn stage_changes<'a>(
    plan: &Plan,
    wanted: &crate::mapping::PipelinePlan,
    pipelines: impl Iterator<Item = &'a Record>,
    stages: impl Iterator<Item = &'a Record>,
    present: &Schema,
) -> Result<Vec<SchemaChange>, SchemaError> {
    let known = present.object(wanted.object.as_str());
    let options = match known.and_then(|object| object.field(wanted.field.as_str())).map(|field| &field.kind) {
        Some(FieldKind::Choice { options, .. }) => options.as_slice(),
        _ => &[],
    };
    let text = |record: &Record, field: &str| {
        record
            .fields
            .value(field)
            .map(ToString::to_string)
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let names: BTreeMap<String, String> =
        pipelines.map(|pipeline| (pipeline.id.clone(), text(pipeline, &wanted.name))).collect();
    let mut rows: Vec<&Record> = stages.collect();
    let place = |record: &Record| text(record, &wanted.position).parse::<f64>().unwrap_or(f64::MAX);
    rows.sort_by(|a, b| place(a).total_cmp(&place(b)).then_with(|| a.id.cmp(&b.id)));

    let mut missing: Vec<NewChoice> = Vec::new();
    let mut of_pipeline: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for stage in rows {
        let pipeline = text(stage, &wanted.pipeline);
        let name = text(stage, &wanted.name);
        let mapped = match wanted.map.as_ref().and_then(|name| plan.maps.get(name).map(|map| (name, map))) {
            None => name.clone(),
            Some((map_name, map)) => match (map.get(&name), map.otherwise, &map.value) {
                (Some(found), ..) => found.to_owned(),
                (None, crate::mapping::Otherwise::Value, Some(value)) => value.clone(),
                (None, crate::mapping::Otherwise::Hold, _) => {
                    let pipeline = names.get(&pipeline).cloned().unwrap_or(pipeline);
                    return Err(SchemaError::Stage { stage: name, pipeline, map: map_name.clone() });
                }
                (None, ..) => name.clone(),
            },
        };
        let folded = fold(&mapped);
        let there = options
            .iter()
            .find(|option| option.active && (fold(&option.value) == folded || fold(&option.label) == folded));
        let value = match (there, missing.iter().find(|new| fold(&new.value) == folded)) {
            (Some(option), _) => option.value.clone(),
            (None, Some(new)) => new.value.clone(),
            (None, None) => {
                let category = text(stage, &wanted.category);
                let forecast = text(stage, &wanted.forecast);
                let forecast = wanted
                    .forecast_map
                    .as_ref()
                    .and_then(|name| plan.maps.get(name)?.get(&forecast))
                    .map_or(forecast.clone(), str::to_owned);
                let won = category == wanted.won;
                let properties = [
                    ("probability", text(stage, &wanted.probability)),
                    ("forecast", forecast),
                    ("closed", (won || category == wanted.lost).to_string()),
                    ("won", won.to_string()),
                ];
                let properties = properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
                missing.push(NewChoice { value: mapped.clone(), label: mapped.clone(), properties });
                mapped.clone()
            }
        };
        if let Some((id, _)) = names.get_key_value(&pipeline) {
            let stages = of_pipeline.entry(id).or_default();
            if !stages.contains(&value) {
                stages.push(value);
            }
        }
    }
    let mut changes = Vec::new();
    if !missing.is_empty() {
        let (object, field) = (wanted.object.clone(), wanted.field.clone());
        changes.push(SchemaChange::AddOptions { object, field, options: missing });
    }
    if let Some(into) = &wanted.into {
        changes.extend(pipeline_choice(wanted.object.clone(), into.clone(), known, names.values()));
        return Ok(changes);
    }
    let variants = known.map_or(&[][..], |object| object.variants.as_slice());
    for (id, label) in &names {
        let there = variants.iter().any(|variant| variant.label == *label || variant.name == *label);
        if let (false, Some(options)) = (there, of_pipeline.get(id.as_str())) {
            changes.push(SchemaChange::AddVariant {
                object: wanted.object.clone(),
                name: technical(label, id),
                label: label.clone(),
                options: options.clone(),
            });
        }
    }
    Ok(changes)
}

/// Returns what a choice field needs to take every pipeline.
fn pipeline_choice<'n>(
    object: ObjectName,
    into: FieldName,
    known: Option<&ObjectSchema>,
    names: impl Iterator<Item = &'n String>,
) -> Option<SchemaChange> {
    let names: BTreeSet<&String> = names.filter(|name| !name.is_empty()).collect();
    let field = known.and_then(|object| object.field(into.as_str()));
    let Some(field) = field else {
        let label = "Pipeline".to_owned();
        let options: Vec<String> = names.into_iter().cloned().collect();
        let new = NewField { options, ..NewField::choice(object.clone(), into, label) };
        return self::field(&new).ok().map(|field| SchemaChange::AddField { object, field });
    };
    let options = match &field.kind {
        FieldKind::Choice { options, .. } => options.as_slice(),
        _ => return None,
    };
    let there = |name: &str| options.iter().any(|option| fold(&option.label) == fold(name) || option.value == name);
    let missing: Vec<NewChoice> = names
        .into_iter()
        .filter(|name| !there(name))
        .map(|name| NewChoice { value: name.clone(), label: name.clone(), properties: BTreeMap::new() })
        .collect();
    (!missing.is_empty()).then_some(SchemaChange::AddOptions { object, field: into, options: missing })
}

/// Returns a technical name: letters, digits and single underscores, beginning with a letter, and unique by the id.
fn technical(label: &str, id: &str) -> String {
    let mut name = String::new();
    for c in label.chars().chain("_".chars()).chain(id.chars()) {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    let name = name.trim_end_matches('_');
    let name: String =
        if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name.to_owned() } else { format!("P_{name}") };
    name.chars().take(80).collect()
}

/// Returns the schema as it will be after these changes; `born` are the fields that every new object has by itself.
#[must_use]
pub fn after(present: &Schema, changes: &[SchemaChange], born: &[FieldSchema]) -> Schema {
    let mut schema = present.clone();
    for change in changes {
        match change {
            SchemaChange::AddObject { name, label, .. } => schema.objects.push(ObjectSchema {
                name: name.clone(),
                label: label.clone(),
                createable: true,
                updateable: true,
                deletable: true,
                fields: born.to_vec(),
                variants: Vec::new(),
            }),
            SchemaChange::AddField { object, field } => {
                if let Some(known) = object_mut(&mut schema, object) {
                    known.fields.push(field.clone());
                }
            }
            SchemaChange::AddOptions { object, field, options } => {
                let known = object_mut(&mut schema, object);
                let field = known.and_then(|known| known.fields.iter_mut().find(|known| known.name == *field));
                if let Some(FieldKind::Choice { options: present, .. } | FieldKind::Choices { options: present, .. }) =
                    field.map(|field| &mut field.kind)
                {
                    present.extend(options.iter().map(|new| Choice {
                        value: new.value.clone(),
                        label: new.label.clone(),
                        active: true,
                    }));
                }
            }
            SchemaChange::AddVariant { object, name, label, .. } => {
                if let Some(known) = object_mut(&mut schema, object) {
                    let variant =
                        Variant { id: String::new(), name: name.clone(), label: label.clone(), available: true };
                    known.variants.push(variant);
                }
            }
        }
    }
    schema
}

fn object_mut<'s>(schema: &'s mut Schema, name: &ObjectName) -> Option<&'s mut ObjectSchema> {
    schema.objects.iter_mut().find(|object| object.name.as_str().eq_ignore_ascii_case(name.as_str()))
}

/// Returns the digest of those schema elements that a plan touches, and of no others: what an approval binds.
///
/// Ids of variants do not count (they differ before and after they are made), nor does the order of anything.
pub fn touched(plan: &Plan, source: &Schema, destination: &Schema) -> Digest {
    let mut lines = BTreeSet::new();
    for (object, fields) in plan.source_fields() {
        let known = source.object(&object);
        for field in fields {
            let kind = known.and_then(|known| known.field(&field)).map(|field| &field.kind);
            lines.insert(format!("source {object}.{field} {}", kind_text(kind)));
        }
    }
    for (object, fields) in plan.destination_fields() {
        let known = destination.object(object.as_str());
        let can = known.map(|known| (known.createable, known.updateable, known.deletable));
        lines.insert(format!("destination {object} {can:?}"));
        for field in fields {
            let field_schema = known.and_then(|known| known.field(field.as_str()));
            let flags = field_schema.map(|f| (f.required, f.createable, f.updateable, f.unique, f.external_id));
            let kind = kind_text(field_schema.map(|field| &field.kind));
            lines.insert(format!("destination {object}.{field} {kind} {flags:?}"));
        }
        // A field that became required blocks creates, so it is touched too.
        for field in known.map_or(&[][..], |known| known.fields.as_slice()).iter().filter(|field| field.required) {
            lines.insert(format!("destination {object}.{} required", field.name));
        }
        for variant in known.map_or(&[][..], |known| known.variants.as_slice()) {
            lines.insert(format!("destination {object} variant {} {}", variant.label, variant.available));
        }
    }
    Digest::of(lines.into_iter().collect::<Vec<_>>().join("\n").as_bytes())
}

fn kind_text(kind: Option<&FieldKind>) -> String {
    match kind {
        None => "missing".to_owned(),
        Some(FieldKind::Choice { options, restricted } | FieldKind::Choices { options, restricted }) => {
            let mut values: Vec<&str> = options.iter().filter(|o| o.active).map(|o| o.value.as_str()).collect();
            values.sort_unstable();
            format!("choice {restricted} {values:?}")
        }
        Some(other) => format!("{other:?}"),
    }
}
