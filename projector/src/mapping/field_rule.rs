//! How one destination field gets its value.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, value::MapAccessDeserializer},
};
use waybill_ledger::{FieldName, RuleId};

use super::{condition::Condition, form::Form};
use crate::converge::Winner;

/// How one destination field gets its value.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FieldRule {
    /// The source fields.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    pub from: Vec<String>,
    /// What stands between several source fields; without it, the first that holds something is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join: Option<String>,
    /// A constant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<toml::Value>,
    /// A CEL expression over the record's fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cel: Option<Condition>,
    /// The records of another source object that name this one, a line each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<Children>,
    /// The source object whose row the value names: the field takes the id of the row's destination record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookup: Option<Lookup>,
    /// The source field that says which of several objects the value names a row of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The record through which the looked-up one is found: the value names it, and its fields name the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<Through>,
    /// The field of that object by which it is named, if it is not the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Which rule's destination record is meant, where the object has several that the field may point to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
    /// What happens if that record did not land.
    #[serde(skip_serializing_if = "is_default")]
    pub missing: Missing,
    /// The constant record that stands in where there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// Whether the value is the id of an owner.
    #[serde(skip_serializing_if = "is_default")]
    pub owner: bool,
    /// The reference object whose row the value names, and the field of it that is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
    /// Whether the value is the name of a variant: the field takes its id.
    #[serde(skip_serializing_if = "is_default")]
    pub variant: bool,
    /// What is made of HTML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<Html>,
    /// Whether the value is the path of a file of the export, whose content the field takes.
    #[serde(skip_serializing_if = "is_default")]
    pub file: bool,
    /// The source field with the SHA-256 that the file should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The value map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
    /// What stands in where there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<toml::Value>,
    /// The record of another source object that names this one, and whose field is taken where `from` gives nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// The form into which the value is brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<Form>,
    /// The field that takes the value, as the source has it, where it does not fit this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spill: Option<FieldName>,
    /// Who wins this field if someone changed it at the destination, where that differs from the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Winner>,
    /// What happens to a text that is too long.
    #[serde(skip_serializing_if = "is_default")]
    pub long: Long,
    /// What happens to a value that cannot be converted.
    #[serde(skip_serializing_if = "is_default")]
    pub invalid: Invalid,
    /// The field that takes the value where our user may not set this one (original times).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<FieldName>,
    /// Whether the value is left out where our user may not set the field.
    #[serde(skip_serializing_if = "is_default")]
    pub if_allowed: bool,
    /// What a person should know of each record that has a value here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tell: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl FieldRule {
    /// Returns the source objects whose records the value may name.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        let (one, many, named) = match &self.lookup {
            None => (None, None, None),
            Some(Lookup::One(object)) => (Some(object), None, None),
            Some(Lookup::Each(objects)) => (None, Some(objects), None),
            Some(Lookup::ByKind(objects)) => (None, None, Some(objects)),
        };
        let many = many.into_iter().flatten().chain(named.into_iter().flat_map(BTreeMap::values));
        one.into_iter().chain(many).map(String::as_str)
    }
}

/// The source object whose row a value names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "`lookup` is an object, a list with one object for each of `from`, or a table of kinds")]
pub enum Lookup {
    /// Always this one.
    One(String),
    /// One for each of the rule's source fields: the first that landed is taken.
    Each(Vec<String>),
    /// The one that the rule's `kind` field calls so.
    ByKind(BTreeMap<String, String>),
}

/// The records of another source object that name the record at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Children {
    /// The object.
    pub object: String,
    /// Its field with the id of the record at hand.
    pub by: String,
    /// What each line shows: fields, or `field.other` for a field of the record that `field` names.
    pub show: Vec<String>,
    /// The objects that such fields name records of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
    /// What the records hold in these fields; others are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub is: BTreeMap<String, String>,
}

/// A record of another source object that names the record at hand, and what is taken of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The object.
    pub object: String,
    /// Its field with the id of the record at hand.
    pub by: String,
    /// Its field that is taken.
    pub take: String,
    /// What it holds in these fields; others are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub is: BTreeMap<String, String>,
    /// Its field by which the latest of several is chosen; without it, several are a question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<String>,
}

/// A record that stands between a value and the record it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Through {
    /// The object of the record that the value names.
    pub object: String,
    /// Its field with the value to go on with.
    pub from: String,
    /// Its field that says of which object that is, for a lookup by kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// Where a value is taken from in a reference row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Via {
    /// The reference object.
    pub object: String,
    /// The field.
    pub field: String,
}

/// What is made of HTML.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Html {
    /// Plain text, with its paragraphs and lists.
    Text,
    /// Text with the marks of Markdown where the HTML stresses, links or lists.
    Markdown,
    /// HTML without anything that could run or be fetched.
    Safe,
}

/// What happens when a record that is pointed to did not land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// The record waits.
    #[default]
    Hold,
    /// The field stays empty, and that is a decision on record.
    Blank,
    /// The rule's constant record stands in.
    Seed,
}

/// What happens to a text that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Long {
    /// The record waits.
    #[default]
    Hold,
    /// It is cut, and that is a decision on record.
    Cut,
}

/// What happens to a value that cannot be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invalid {
    /// The record waits.
    #[default]
    Hold,
    /// The field stays empty, and that is a decision on record.
    Blank,
}

/// Reads field rules as people write them: each is the name of a source field, or a table.
pub(super) fn field_rules<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<FieldName, FieldRule>, D::Error> {
    let written = BTreeMap::<FieldName, Written>::deserialize(from)?;
    Ok(written.into_iter().map(|(name, Written(rule))| (name, rule)).collect())
}

struct Written(FieldRule);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> de::Visitor<'de> for Reader {
            type Value = FieldRule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field rule: the name of a source field, or a table")
            }

            fn visit_str<E: de::Error>(self, from: &str) -> Result<FieldRule, E> {
                Ok(FieldRule { from: vec![from.to_owned()], ..FieldRule::default() })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, table: A) -> Result<FieldRule, A::Error> {
                FieldRule::deserialize(MapAccessDeserializer::new(table))
            }
        }
        from.deserialize_any(Reader).map(Written)
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "`from` is the name of a source field or a list of names")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
