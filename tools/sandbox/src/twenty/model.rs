//! What a workspace is made of: objects, fields, relations, as its metadata tells them.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::uuid::Uuid;

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Text,
    Number,
    Date,
    DateTime,
    Boolean,
    Select,
    MultiSelect,
    Rating,
    Currency,
    Emails,
    Phones,
    Links,
    FullName,
    Address,
    RichText,
    RawJson,
    Array,
    Uuid,
    Actor,
    Position,
    Files,
    TsVector,
    Relation,
    MorphRelation,
}

/// What a part of a composite field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Text,
    Number,
    /// Whole millionths.
    Micros,
    List,
    Id,
    Json,
}

use Kind as K;

const NAMES: [(Kind, &str); 24] = [
    (K::Actor, "ACTOR"),
    (K::Address, "ADDRESS"),
    (K::Array, "ARRAY"),
    (K::Boolean, "BOOLEAN"),
    (K::Currency, "CURRENCY"),
    (K::Date, "DATE"),
    (K::DateTime, "DATE_TIME"),
    (K::Emails, "EMAILS"),
    (K::Files, "FILES"),
    (K::FullName, "FULL_NAME"),
    (K::Links, "LINKS"),
    (K::MorphRelation, "MORPH_RELATION"),
    (K::MultiSelect, "MULTI_SELECT"),
    (K::Number, "NUMBER"),
    (K::Phones, "PHONES"),
    (K::Position, "POSITION"),
    (K::Rating, "RATING"),
    (K::RawJson, "RAW_JSON"),
    (K::Relation, "RELATION"),
    (K::RichText, "RICH_TEXT"),
    (K::Select, "SELECT"),
    (K::Text, "TEXT"),
    (K::TsVector, "TS_VECTOR"),
    (K::Uuid, "UUID"),
];

impl Kind {
    /// Returns the name on the wire.
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(kind, _)| *kind == self).map_or("TEXT", |(_, name)| name)
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// Returns the parts of a composite, in the order in which they are shown; a scalar has none.
    pub(crate) fn parts(self) -> &'static [(&'static str, Part)] {
        match self {
            K::FullName => &[("firstName", Part::Text), ("lastName", Part::Text)],
            K::Emails => &[("primaryEmail", Part::Text), ("additionalEmails", Part::List)],
            K::Phones => &[
                ("primaryPhoneNumber", Part::Text),
                ("primaryPhoneCountryCode", Part::Text),
                ("primaryPhoneCallingCode", Part::Text),
                ("additionalPhones", Part::List),
            ],
            K::Links => {
                &[("primaryLinkLabel", Part::Text), ("primaryLinkUrl", Part::Text), ("secondaryLinks", Part::List)]
            }
            K::Address => &[
                ("addressStreet1", Part::Text),
                ("addressStreet2", Part::Text),
                ("addressCity", Part::Text),
                ("addressPostcode", Part::Text),
                ("addressState", Part::Text),
                ("addressCountry", Part::Text),
                ("addressLat", Part::Number),
                ("addressLng", Part::Number),
            ],
            K::Currency => &[("amountMicros", Part::Micros), ("currencyCode", Part::Id)],
            K::RichText => &[("blocknote", Part::Id), ("markdown", Part::Text)],
            K::Actor => {
                &[("source", Part::Id), ("workspaceMemberId", Part::Id), ("name", Part::Text), ("context", Part::Json)]
            }
            _ => &[],
        }
    }

    pub(crate) fn is_relation(self) -> bool {
        matches!(self, K::Relation | K::MorphRelation)
    }

    /// Returns the part by which a composite is unique, and what else belongs to the key.
    pub(crate) fn key_parts(self) -> &'static [u32] {
        match self {
            K::Emails => &[0],
            K::Links => &[1],
            K::Phones => &[0, 1, 2],
            _ => &[],
        }
    }
}

/// A column: a field and, in a composite, its part.
pub(crate) type Col = u32;

/// Returns the column of a part of a field.
pub(crate) fn col(field: u32, part: u32) -> Col {
    field << 4 | part
}

/// Returns the field of a column.
pub(crate) fn field_of(col: Col) -> u32 {
    col >> 4
}

/// Returns the place of a column among the parts of its field.
pub(crate) fn part_of(col: Col) -> usize {
    (col & 0xf) as usize
}

/// An option of a select.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Choice {
    pub(crate) id: String,
    pub(crate) value: String,
    pub(crate) label: String,
    pub(crate) color: Json,
    pub(crate) position: i64,
}

/// What happens to a row when the one it points to is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDestroy {
    Clear,
    Cascade,
}

/// One side of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// This row holds the id of the other.
    One(OnDestroy),
    /// Other rows hold the id of this one.
    Many,
}

/// A relation, seen from one of its fields.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) side: Side,
    pub(crate) target: u32,
    /// The field on the other side; a morph relation's is the same as any other's.
    pub(crate) inverse: u32,
}

/// A field.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) id: String,
    pub(crate) universal: String,
    pub(crate) object: u32,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) label: String,
    pub(crate) description: Json,
    pub(crate) icon: Json,
    pub(crate) active: bool,
    pub(crate) system: bool,
    pub(crate) nullable: bool,
    pub(crate) unique: bool,
    pub(crate) custom: bool,
    pub(crate) default: Json,
    pub(crate) settings: Json,
    pub(crate) options: Vec<Choice>,
    pub(crate) relation: Option<Relation>,
    pub(crate) morph: Option<String>,
    pub(crate) label_synced: bool,
    pub(crate) created: i64,
    pub(crate) updated: i64,
}

impl Field {
    /// Returns the name of the column that holds the id of the other row.
    pub(crate) fn join(&self) -> String {
        format!("{}Id", self.name)
    }

    /// Returns what happens on destroy, of a field that points to another row.
    pub(crate) fn points(&self) -> Option<(u32, OnDestroy)> {
        match &self.relation {
            Some(Relation { side: Side::One(on), target, .. }) => Some((*target, *on)),
            _ => None,
        }
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(&self.relation, Some(Relation { side: Side::Many, .. }))
    }

    /// Returns the columns that belong to the field.
    pub(crate) fn cols(&self) -> Vec<Col> {
        let parts = self.kind.parts().len();
        if parts == 0 {
            vec![col(self.number, 0)]
        } else {
            (0..).take(parts).map(|part| col(self.number, part)).collect()
        }
    }

    /// Returns the columns that make up the field's unique key.
    pub(crate) fn key_cols(&self) -> Vec<Col> {
        let parts = self.kind.key_parts();
        if parts.is_empty() {
            vec![col(self.number, 0)]
        } else {
            parts.iter().map(|part| col(self.number, *part)).collect()
        }
    }

    pub(crate) fn choice(&self, value: &str) -> Option<&Choice> {
        self.options.iter().find(|choice| choice.value == value)
    }
}

/// An object.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) number: u32,
    pub(crate) id: String,
    pub(crate) universal: String,
    pub(crate) singular: String,
    pub(crate) plural: String,
    pub(crate) label_singular: String,
    pub(crate) label_plural: String,
    pub(crate) description: Json,
    pub(crate) icon: Json,
    pub(crate) shortcut: Json,
    pub(crate) color: Json,
    pub(crate) active: bool,
    pub(crate) system: bool,
    pub(crate) custom: bool,
    pub(crate) searchable: bool,
    pub(crate) label_synced: bool,
    /// The field that says which row it is.
    pub(crate) label: Option<u32>,
    /// Each a list of column names that together make two rows alike.
    pub(crate) duplicates: Vec<Vec<String>>,
    pub(crate) fields: Vec<u32>,
    pub(crate) created: i64,
    pub(crate) updated: i64,
}

impl Object {
    /// Returns the name of the object as types and wrapper keys have it.
    pub(crate) fn type_name(&self) -> String {
        capital(&self.singular)
    }

    pub(crate) fn plural_type_name(&self) -> String {
        capital(&self.plural)
    }

    /// Returns the table's name, which messages of the database tell.
    pub(crate) fn table(&self) -> String {
        if self.custom { format!("_{}", self.singular) } else { self.singular.clone() }
    }
}

/// What a key of a body names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named<'a> {
    Field(&'a Field),
    /// The id column of a relation to one.
    Join(&'a Field),
}

/// Objects and fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) objects: BTreeMap<u32, Object>,
    pub(crate) fields: BTreeMap<u32, Field>,
    next: u32,
    /// Grows with every change, so that what was derived from the metadata knows when it is stale.
    pub(crate) revision: u64,
}

impl Catalog {
    pub(crate) fn next_number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    pub(crate) fn add_object(&mut self, object: Object) {
        self.revision += 1;
        self.objects.insert(object.number, object);
    }

    pub(crate) fn add_field(&mut self, field: Field) {
        self.revision += 1;
        if let Some(object) = self.objects.get_mut(&field.object) {
            object.fields.push(field.number);
        }
        self.fields.insert(field.number, field);
    }

    pub(crate) fn remove_field(&mut self, number: u32) {
        self.revision += 1;
        if let Some(field) = self.fields.remove(&number)
            && let Some(object) = self.objects.get_mut(&field.object)
        {
            object.fields.retain(|known| *known != number);
        }
    }

    /// Returns an object that is known to be there.
    pub(crate) fn object(&self, number: u32) -> &Object {
        self.objects.get(&number).expect("numbers of objects come from the catalog, and go with their rows")
    }

    /// Returns a field that is known to be there.
    pub(crate) fn field(&self, number: u32) -> &Field {
        self.fields.get(&number).expect("numbers of fields come from the catalog, and go with their columns")
    }

    pub(crate) fn by_plural(&self, name: &str) -> Option<&Object> {
        self.objects.values().find(|object| object.plural == name)
    }

    pub(crate) fn by_singular(&self, name: &str) -> Option<&Object> {
        self.objects.values().find(|object| object.singular == name)
    }

    pub(crate) fn object_by_id(&self, id: &str) -> Option<&Object> {
        self.objects.values().find(|object| object.id == id)
    }

    pub(crate) fn field_by_id(&self, id: &str) -> Option<&Field> {
        self.fields.values().find(|field| field.id == id)
    }

    /// Returns the fields of an object, in the order of its metadata.
    pub(crate) fn fields_of(&self, object: u32) -> impl Iterator<Item = &Field> {
        self.objects
            .get(&object)
            .into_iter()
            .flat_map(|object| &object.fields)
            .filter_map(|field| self.fields.get(field))
    }

    pub(crate) fn find(&self, object: u32, name: &str) -> Option<&Field> {
        self.fields_of(object).find(|field| field.name == name)
    }

    /// Returns the column of a scalar field of a standard object.
    pub(crate) fn col(&self, object: u32, name: &str) -> Col {
        self.find(object, name).map_or(0, |field| col(field.number, 0))
    }

    /// Returns what a key names: a field, or the column of one that points to a row.
    pub(crate) fn named(&self, object: u32, key: &str) -> Option<Named<'_>> {
        if let Some(field) = self.find(object, key) {
            return Some(Named::Field(field));
        }
        let stem = key.strip_suffix("Id")?;
        self.find(object, stem).filter(|field| field.points().is_some()).map(Named::Join)
    }

    /// Returns the fields of other objects that point to rows of this one.
    pub(crate) fn pointing_at(&self, object: u32) -> Vec<(u32, u32, OnDestroy)> {
        let pointing = self.fields.values().filter_map(|field| {
            let (target, on) = field.points()?;
            (target == object).then_some((field.object, field.number, on))
        });
        pointing.collect()
    }

    /// Returns the column of a name such as `emailsPrimaryEmail`.
    pub(crate) fn flat(&self, object: u32, name: &str) -> Option<Col> {
        self.fields_of(object).find_map(|field| {
            if field.name == name && field.kind.parts().is_empty() {
                return Some(col(field.number, 0));
            }
            let parts = (0..).zip(field.kind.parts());
            let mut found = parts.filter(|(_, (part, _))| format!("{}{}", field.name, capital(part)) == name);
            found.next().map(|(at, _)| col(field.number, at))
        })
    }

    /// Returns the name of a column as the database has it.
    pub(crate) fn col_name(&self, at: Col) -> String {
        let field = self.field(field_of(at));
        match field.kind.parts().get(part_of(at)) {
            Some((part, _)) => format!("{}{}", field.name, capital(part)),
            None if field.points().is_some() => field.join(),
            None => field.name.clone(),
        }
    }
}

/// Writes the first letter large.
pub(crate) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Writes `jobTitle` as `Job Title`.
pub(crate) fn title(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.push(letter);
    }
    capital(&text)
}

/// Returns an id that belongs to a thing of this workspace for ever.
pub(crate) fn stable_id(workspace: &str, thing: &str) -> String {
    Uuid::named(&format!("{workspace}/{thing}")).to_string()
}
