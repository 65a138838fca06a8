//! What records of Twenty hold, in our words: a composite is shown part by part, each as a field of its own.
//!
//! A part is named as the server names it (`emails.primaryEmail`), with two exceptions where the server's form is not what
//! people mean: an amount is shown as an amount (`amount.amount`, not its millionths), and a phone number is shown whole, in
//! its international form, as the server makes it of its three parts.
//!
//! Source: the field types of Twenty 2.21, as a live workspace reads and writes them.

use std::collections::BTreeMap;

use waybill_ledger::{Choice, FieldKind, FieldName, FieldSchema, ObjectSchema};

use super::catalog::{Field, Object, Wire};

/// Text without limit: the server has none.
pub(super) const TEXT: FieldKind = FieldKind::Text { length: 0, multiline: true, rich: false };
/// One line of it.
const LINE: FieldKind = FieldKind::Text { length: 0, multiline: false, rich: false };
/// A number: stored as a double.
pub(super) const NUMBER: FieldKind = FieldKind::Number { precision: 0, scale: 0 };
/// An amount: kept in millionths.
const AMOUNT: FieldKind = FieldKind::Money { precision: 24, scale: 6 };
/// Several texts.
const LIST: FieldKind = FieldKind::Choices { options: Vec::new(), restricted: false };

/// Which part of a field a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// A text in it.
    Text(&'static str),
    /// A number in it.
    Number(&'static str),
    /// Its amount.
    Amount,
    /// Its first phone number.
    Phone,
    /// Its other phone numbers.
    Phones,
    /// A list of texts in it.
    Texts(&'static str),
    /// Its other links.
    Links,
}

/// One of our fields, and where it is in a record.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) shown: FieldName,
    /// The key in the record: the field's name, or the column of a reference.
    pub(super) key: String,
    pub(super) part: Part,
    pub(super) wire: Wire,
    pub(super) schema: FieldSchema,
}

impl Column {
    /// Returns what a query selects to read it.
    pub(super) fn selection(&self) -> String {
        match keys(&self.wire) {
            Some(keys) => format!("{}{{{}}}", self.key, keys.join(" ")),
            None => self.key.clone(),
        }
    }

    /// Returns the path of a filter on it; none where the server has no such filter.
    pub(super) fn path(&self) -> Option<Vec<&str>> {
        match self.part {
            Part::Whole => Some(vec![&self.key]),
            Part::Text(part) | Part::Number(part) => Some(vec![&self.key, part]),
            Part::Amount => Some(vec![&self.key, "amountMicros"]),
            Part::Phone => Some(vec![&self.key, "primaryPhoneNumber"]),
            Part::Phones | Part::Texts(_) | Part::Links => None,
        }
    }
}

/// Returns the parts of a composite, as the server names them.
pub(super) fn keys(wire: &Wire) -> Option<&'static [&'static str]> {
    Some(match wire {
        Wire::Currency => &["amountMicros", "currencyCode"],
        Wire::Emails => &["primaryEmail", "additionalEmails"],
        Wire::Phones => {
            &["primaryPhoneNumber", "primaryPhoneCountryCode", "primaryPhoneCallingCode", "additionalPhones"]
        }
        Wire::Links => &["primaryLinkUrl", "primaryLinkLabel", "secondaryLinks"],
        Wire::FullName => &["firstName", "lastName"],
        Wire::Address => &ADDRESS,
        Wire::RichText => &["blocknote", "markdown"],
        _ => return None,
    })
}

const ADDRESS: [&str; 8] = [
    "addressStreet1",
    "addressStreet2",
    "addressCity",
    "addressState",
    "addressPostcode",
    "addressCountry",
    "addressLat",
    "addressLng",
];

/// Returns the parts of a type by the names that we show, with what each holds.
fn parts(wire: &Wire) -> Vec<(&'static str, Part, FieldKind)> {
    let text = |name| (name, Part::Text(name), LINE);
    match wire {
        Wire::Currency => vec![("amount", Part::Amount, AMOUNT), text("currencyCode")],
        Wire::Emails => vec![
            ("primaryEmail", Part::Text("primaryEmail"), FieldKind::Email),
            ("additionalEmails", Part::Texts("additionalEmails"), LIST),
        ],
        Wire::Phones => {
            vec![("primaryPhoneNumber", Part::Phone, FieldKind::Phone), ("additionalPhones", Part::Phones, LIST)]
        }
        Wire::Links => vec![
            ("primaryLinkUrl", Part::Text("primaryLinkUrl"), FieldKind::Url),
            text("primaryLinkLabel"),
            ("secondaryLinks", Part::Links, FieldKind::Other { kind: "LINKS".into() }),
        ],
        Wire::FullName => vec![text("firstName"), text("lastName")],
        Wire::Address => ADDRESS
            .into_iter()
            .map(|name| match name {
                "addressLat" | "addressLng" => (name, Part::Number(name), NUMBER),
                // A street may have several lines.
                _ => (name, Part::Text(name), TEXT),
            })
            .collect(),
        // The blocks are made of the text whenever it is written.
        Wire::RichText => vec![("markdown", Part::Text("markdown"), TEXT)],
        _ => Vec::new(),
    }
}

/// Returns the type that has a part of this name.
pub(super) fn composite_with(part: &str) -> Option<Wire> {
    let all = [Wire::Currency, Wire::Emails, Wire::Phones, Wire::Links, Wire::FullName, Wire::Address, Wire::RichText];
    all.into_iter().find(|wire| parts(wire).iter().any(|(name, ..)| *name == part))
}

/// Returns what a part of this name holds.
pub(super) fn kind_of_part(wire: &Wire, part: &str) -> Option<FieldKind> {
    parts(wire).into_iter().find(|(name, ..)| *name == part).map(|(_, _, kind)| kind)
}

/// Names of fields that the server keeps for itself.
const KEPT: [&str; 5] = ["id", "position", "searchVector", "createdBy", "updatedBy"];

/// Returns the columns of an object, in the order of its metadata.
pub(super) fn columns(object: &Object) -> Vec<Column> {
    object.fields.iter().flat_map(of_field).collect()
}

fn of_field(field: &Field) -> Vec<Column> {
    let parts = parts(&field.wire);
    if parts.is_empty() {
        let (key, kind) = match (&field.wire, field.name.as_str()) {
            (_, "id") => (field.name.clone(), FieldKind::Id),
            (Wire::ToOne { join, to }, _) => {
                (join.clone(), FieldKind::Reference { to: to.iter().map(|to| to.as_str().into()).collect() })
            }
            (Wire::Other(kind), _) if kind == "RELATION" || kind == "MORPH_RELATION" => return Vec::new(),
            _ => (field.name.clone(), simple(field)),
        };
        return vec![column(field, key.clone(), &key, Part::Whole, kind, field.unique)];
    }
    parts
        .into_iter()
        .enumerate()
        .map(|(n, (name, part, kind))| {
            let shown = format!("{}.{name}", field.name);
            // Of a composite, the first part is what is unique.
            column(field, field.name.clone(), &shown, part, kind, field.unique && n == 0)
        })
        .collect()
}

fn column(field: &Field, key: String, shown: &str, part: Part, kind: FieldKind, unique: bool) -> Column {
    let kept = KEPT.contains(&field.name.as_str()) || matches!(field.wire, Wire::Other(_));
    let trash = field.name == "deletedAt";
    let short = matches!(kind, FieldKind::Text { .. } | FieldKind::Email | FieldKind::Url);
    let schema = FieldSchema {
        name: shown.into(),
        label: field.label.clone(),
        required: part == Part::Whole && !kept && !field.nullable && !field.defaulted,
        createable: !kept && !trash,
        // Which files a record has is decided when it is made.
        updateable: !kept && field.wire != Wire::Files,
        unique,
        external_id: unique && short,
        case_sensitive: kind != FieldKind::Email,
        kind,
    };
    Column { shown: shown.into(), key, part, wire: field.wire.clone(), schema }
}

fn simple(field: &Field) -> FieldKind {
    let options = || {
        let text = |option: &serde_json::Value, name: &str| option[name].as_str().unwrap_or_default().to_owned();
        let choice = |option| Choice { value: text(option, "value"), label: text(option, "label"), active: true };
        field.options.iter().map(choice).collect()
    };
    match &field.wire {
        Wire::Text | Wire::Uuid => TEXT,
        Wire::Number => NUMBER,
        Wire::Date => FieldKind::Date,
        Wire::DateTime => FieldKind::Time,
        Wire::Boolean => FieldKind::Bool,
        Wire::Select | Wire::Rating => FieldKind::Choice { options: options(), restricted: true },
        Wire::MultiSelect => FieldKind::Choices { options: options(), restricted: true },
        Wire::Array => LIST,
        Wire::Files => FieldKind::Binary,
        Wire::RawJson => FieldKind::Other { kind: "RAW_JSON".to_owned() },
        Wire::Other(kind) => FieldKind::Other { kind: kind.clone() },
        other => FieldKind::Other { kind: format!("{other:?}") },
    }
}

/// Returns an object in our words.
pub(super) fn describe(object: &Object) -> ObjectSchema {
    // Members come from invitations: the API refuses to make one.
    let writable = object.singular != "workspaceMember";
    ObjectSchema {
        name: object.singular.as_str().into(),
        label: object.label.clone(),
        createable: writable,
        updateable: writable,
        deletable: writable,
        fields: columns(object).into_iter().map(|column| column.schema).collect(),
        variants: Vec::new(),
    }
}

/// Returns the fields that the server gives every new object and that a plan may set.
pub(super) fn born() -> Vec<FieldSchema> {
    let field = |name: &str, wire: Wire, nullable: bool| Field {
        id: String::new(),
        name: name.to_owned(),
        label: name.to_owned(),
        wire,
        nullable,
        unique: false,
        defaulted: !nullable,
        options: Vec::new(),
    };
    let all = [
        field("id", Wire::Uuid, false),
        field("name", Wire::Text, true),
        field("createdAt", Wire::DateTime, false),
        field("updatedAt", Wire::DateTime, false),
        field("deletedAt", Wire::DateTime, true),
    ];
    all.iter().flat_map(of_field).map(|column| column.schema).collect()
}

/// The columns of an object by the names that we show.
#[derive(Debug, Clone)]
pub(super) struct Columns(BTreeMap<FieldName, Column>);

impl Columns {
    pub(super) fn of(object: &Object) -> Self {
        Self(columns(object).into_iter().map(|column| (column.shown.clone(), column)).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Column> {
        self.0.get(name)
    }

    /// Returns all of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Column> {
        self.0.values()
    }

    /// Returns those whose values the server allows once.
    pub(super) fn unique(&self) -> impl Iterator<Item = &Column> {
        self.0.values().filter(|column| column.schema.unique)
    }
}
