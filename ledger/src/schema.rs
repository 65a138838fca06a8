//! How a system describes its objects and fields. Both sides of a migration are described in these words.

use bincode::{Decode, Encode};

use crate::name::{FieldName, ObjectName};

/// What a system says about itself: its objects, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Schema {
    /// The described objects.
    pub objects: Vec<ObjectSchema>,
}

impl Schema {
    /// Returns the object of that name, matched without regard to case, as CRMs do.
    pub fn object(&self, name: &str) -> Option<&ObjectSchema> {
        self.objects.iter().find(|object| object.name.as_str().eq_ignore_ascii_case(name))
    }
}

/// One object (table, entity) of a system.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ObjectSchema {
    /// The name that the wire uses.
    pub name: ObjectName,
    /// The name that people see.
    pub label: String,
    /// Whether our user may create rows.
    pub createable: bool,
    /// Whether our user may change rows.
    pub updateable: bool,
    /// Whether our user may delete rows.
    pub deletable: bool,
    /// The fields that our user can see.
    pub fields: Vec<FieldSchema>,
    /// The variants (record types) of the object, where the system has them.
    pub variants: Vec<Variant>,
}

impl ObjectSchema {
    /// Returns the field of that name, matched without regard to case.
    pub fn field(&self, name: &str) -> Option<&FieldSchema> {
        self.fields.iter().find(|field| field.name.as_str().eq_ignore_ascii_case(name))
    }
}

/// A named variant of an object, with a choice of its own of fields, options and steps.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Variant {
    /// The id by which rows name it.
    pub id: String,
    /// The stable technical name.
    pub name: String,
    /// The name that people see.
    pub label: String,
    /// Whether our user may create rows of it.
    pub available: bool,
}

/// One field of an object.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FieldSchema {
    /// The name that the wire uses.
    pub name: FieldName,
    /// The name that people see.
    pub label: String,
    /// What it holds.
    pub kind: FieldKind,
    /// Whether a row cannot be created without it.
    pub required: bool,
    /// Whether our user may set it on create.
    pub createable: bool,
    /// Whether our user may change it later.
    pub updateable: bool,
    /// Whether the system refuses a second row with the same value.
    pub unique: bool,
    /// Whether rows can be addressed by it.
    pub external_id: bool,
    /// Whether the system compares it with regard to case.
    pub case_sensitive: bool,
}

/// What a field holds, with the limits that the system enforces.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum FieldKind {
    /// The id of the row itself.
    Id,
    /// Text of at most `length` characters; 0 means that no limit is known.
    Text {
        /// The most characters it takes.
        length: u32,
        /// Whether it may hold line breaks.
        multiline: bool,
        /// Whether it holds HTML.
        rich: bool,
    },
    /// An e-mail address.
    Email,
    /// A phone number.
    Phone,
    /// A web address.
    Url,
    /// True or false.
    Bool,
    /// A number with `scale` digits after the point; `precision` 0 means that no limit is known.
    Number {
        /// Digits in total.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
    /// An amount of money, otherwise as a number.
    Money {
        /// Digits in total.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
    /// A percentage, otherwise as a number.
    Percent {
        /// Digits in total.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
    /// A day.
    Date,
    /// A moment.
    Time,
    /// One of several options.
    Choice {
        /// The options, in the system's order.
        options: Vec<Choice>,
        /// Whether other values are refused.
        restricted: bool,
    },
    /// Several of several options.
    Choices {
        /// The options, in the system's order.
        options: Vec<Choice>,
        /// Whether other values are refused.
        restricted: bool,
    },
    /// A reference to a row of one of these objects.
    Reference {
        /// The objects it may point to; more than one makes it polymorphic.
        to: Vec<ObjectName>,
    },
    /// Bytes, such as the content of a file.
    Binary,
    /// A composite (an address, a name), usually read-only.
    Composite,
    /// Something that the system has and Waybill has no word for.
    Other {
        /// The system's own word for it.
        kind: String,
    },
}

/// One option of a choice field.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Choice {
    /// The value that the wire uses.
    pub value: String,
    /// The text that people see.
    pub label: String,
    /// Whether new rows may use it.
    pub active: bool,
}

/// One change that makes a system's schema ready for a migration. Changes only add; nothing is renamed or taken away.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum SchemaChange {
    /// An object is added.
    AddObject {
        /// Its name.
        name: ObjectName,
        /// The name that people see.
        label: String,
        /// The plural of it.
        label_plural: String,
    },
    /// A field is added to an object and made writable for our user.
    AddField {
        /// The object.
        object: ObjectName,
        /// The field as it shall be; `required`, `createable` and `updateable` say what is wanted.
        field: FieldSchema,
    },
    /// Options are added to a choice field; those that are there stay.
    AddOptions {
        /// The object.
        object: ObjectName,
        /// The field.
        field: FieldName,
        /// The options that are missing.
        options: Vec<NewChoice>,
    },
    /// A variant is added to an object.
    AddVariant {
        /// The object.
        object: ObjectName,
        /// The technical name.
        name: String,
        /// The name that people see.
        label: String,
        /// Which options of the governing field the variant allows, in order (for an opportunity: its stages).
        options: Vec<String>,
    },
}

/// An option to be added, with what the system keeps about options of that field.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct NewChoice {
    /// The value that the wire uses.
    pub value: String,
    /// The text that people see.
    pub label: String,
    /// Further properties by name, such as `probability`, `forecast`, `closed` and `won` of a stage.
    pub properties: std::collections::BTreeMap<String, String>,
}

/// Someone who can own records.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct User {
    /// The id by which records name them.
    pub id: String,
    /// Their name.
    pub name: String,
    /// Their e-mail.
    pub email: String,
    /// Whether they can own records now.
    pub active: bool,
}
