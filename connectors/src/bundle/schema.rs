//! The schema of an export: what its headers, its profile and its description of custom columns say together.

use waybill_ledger::{FieldKind, FieldSchema, ObjectName, ObjectSchema, Schema};

use super::{Bundle, BundleObject, Profile, cell::Kind, profile::fits};

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

impl Profile {
    /// Returns what a column holds in an export that has it, as far as the profile says: what [`Bundle::schema`] will show.
    pub fn kind_of(&self, object: &str, column: &str) -> FieldKind {
        let found = self.objects.iter().find(|known| known.name.eq_ignore_ascii_case(object));
        if found.is_some_and(|found| found.key.0.len() == 1 && found.key.0[0] == column) {
            return FieldKind::Id;
        }
        let links = found.and_then(|found| found.links.get(column)).or_else(|| self.links.get(column));
        if let Some(to) = links {
            return FieldKind::Reference { to: to.0.iter().map(ObjectName::new).collect() };
        }
        let said = || found.map(|found| &found.columns).into_iter().chain([&self.columns]).flatten();
        let spec = said()
            .find(|(name, _)| name.eq_ignore_ascii_case(column))
            .or_else(|| said().find(|(name, _)| name.contains('*') && fits(name, column)));
        kind(spec.map_or(Kind::Text, |(_, spec)| spec.kind))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_nobody_has_shown_yet_is_what_the_profile_says() {
        let spark = Profile::shipped("spark").expect("it ships");
        assert_eq!(spark.kind_of("contacts", "id"), FieldKind::Id);
        assert_eq!(spark.kind_of("notes", "owner_id"), FieldKind::Reference { to: vec!["users".into()] });
        assert_eq!(spark.kind_of("notes", "created_at"), FieldKind::Time);
        let html = FieldKind::Text { length: 0, multiline: true, rich: true };
        assert_eq!((spark.kind_of("notes", "body_html"), spark.kind_of("notes", "agenda_html")), (html.clone(), html));
        let text = FieldKind::Text { length: 0, multiline: false, rich: false };
        assert_eq!(spark.kind_of("nothing", "whatever"), text);
    }
}
