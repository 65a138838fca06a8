//! The schema of an export: what its headers, its profile and its description of custom columns say together.

use waybill_ledger::{FieldKind, FieldSchema, ObjectName, ObjectSchema, Schema};

use super::{Bundle, BundleObject, cell::Kind};

impl Bundle {
    pub(crate) fn describe(&self) -> Schema {
        let mut objects: Vec<ObjectSchema> = self.objects.iter().map(|object| self.object_schema(object)).collect();
        objects.sort_by(|left, right| left.name.cmp(&right.name));
        Schema { objects }
    }

    fn object_schema(&self, object: &BundleObject) -> ObjectSchema {
        let words: Vec<&str> = object.words.iter().map(String::as_str).collect();
        let fields = object
            .columns
            .iter()
            .map(|column| {
                let custom = self.custom.column(&words, column);
                let declared = object.parts.iter().find_map(|part| part.recipe.declared(column));
                let is_key = object.key.len() == 1 && object.key[0] == *column;
                let kind = if is_key {
                    FieldKind::Id
                } else if let Some(to) = object.links.get(column) {
                    FieldKind::Reference { to: to.iter().map(ObjectName::new).collect() }
                } else if let Some(custom) = custom {
                    custom.kind.clone()
                } else {
                    kind(declared.map_or(Kind::Text, |spec| spec.kind))
                };
                FieldSchema {
                    name: column.as_str().into(),
                    label: custom.map_or_else(|| column.clone(), |custom| custom.label.clone()),
                    kind,
                    required: is_key || custom.is_some_and(|custom| custom.required),
                    createable: false,
                    updateable: false,
                    unique: is_key,
                    external_id: is_key,
                    case_sensitive: true,
                }
            })
            .collect();
        ObjectSchema {
            name: object.name.as_str().into(),
            label: object.name.clone(),
            createable: false,
            updateable: false,
            deletable: false,
            fields,
            variants: Vec::new(),
        }
    }
}

fn kind(kind: Kind) -> FieldKind {
    let text = |multiline, rich| FieldKind::Text { length: 0, multiline, rich };
    match kind {
        Kind::Text => text(false, false),
        Kind::LongText => text(true, false),
        Kind::Html => text(true, true),
        Kind::Email => FieldKind::Email,
        Kind::Phone => FieldKind::Phone,
        Kind::Url => FieldKind::Url,
        Kind::Choice => FieldKind::Choice { options: Vec::new(), restricted: false },
        Kind::Number => FieldKind::Number { precision: 0, scale: 0 },
        Kind::Money => FieldKind::Money { precision: 0, scale: 0 },
        Kind::Percent => FieldKind::Percent { precision: 0, scale: 0 },
        Kind::Bool => FieldKind::Bool,
        Kind::Date => FieldKind::Date,
        Kind::Time => FieldKind::Time,
        Kind::List => FieldKind::Choices { options: Vec::new(), restricted: false },
        Kind::Json => FieldKind::Other { kind: "json".to_owned() },
    }
}
