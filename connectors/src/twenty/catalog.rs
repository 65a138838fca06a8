//! The workspace's metadata: its objects and fields, in the wire's words.
//!
//! Source: the metadata API of Twenty 2.21 (`/metadata`, `objects` with `fieldsList`); REST shows the same, but not what a
//! relation points to.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

/// Every object of a workspace, by its singular name, which is our object name.
#[derive(Debug, Clone, Default)]
pub(super) struct Catalog(BTreeMap<String, Object>);

/// One object.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) id: String,
    pub(super) singular: String,
    pub(super) plural: String,
    pub(super) label: String,
    pub(super) label_plural: String,
    pub(super) fields: Vec<Field>,
}

/// One field of an object, as the metadata has it: a composite is one field.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) label: String,
    pub(super) wire: Wire,
    pub(super) nullable: bool,
    pub(super) unique: bool,
    pub(super) defaulted: bool,
    /// The options as they are sent back when some are added: ids, colours and places stay.
    pub(super) options: Vec<Json>,
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wire {
    Text,
    Number,
    Date,
    DateTime,
    Boolean,
    Select,
    MultiSelect,
    Rating,
    Uuid,
    Array,
    RawJson,
    Currency,
    Emails,
    Phones,
    Links,
    FullName,
    Address,
    RichText,
    Files,
    /// A reference: the column that holds the id, and the object it points to where the metadata tells.
    ToOne {
        join: String,
        to: Option<String>,
    },
    /// What records cannot set, or what has no place in them: lists, actors, positions, search vectors.
    Other(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ObjectNode {
    id: String,
    name_singular: String,
    name_plural: String,
    label_singular: String,
    label_plural: String,
    #[serde(default)]
    is_active: Option<bool>,
    #[serde(default)]
    fields_list: Vec<FieldNode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldNode {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    label: String,
    #[serde(default)]
    is_active: Option<bool>,
    #[serde(default)]
    is_nullable: Option<bool>,
    #[serde(default)]
    is_unique: Option<bool>,
    #[serde(default)]
    default_value: Json,
    #[serde(default)]
    options: Json,
    #[serde(default)]
    settings: Json,
    #[serde(default)]
    relation: Option<RelationNode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RelationNode {
    target_object_metadata: TargetNode,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TargetNode {
    name_singular: String,
}

/// What is asked of the metadata.
pub(super) const QUERY: &str = "query($after:ConnectionCursor){objects(paging:{first:200,after:$after}){edges{node{id nameSingular namePlural labelSingular labelPlural isActive fieldsList{id type name label isActive isNullable isUnique defaultValue options settings relation{targetObjectMetadata{nameSingular}}}}}pageInfo{hasNextPage endCursor}}}";

impl Catalog {
    /// Adds a page of the metadata's answer.
    pub(super) fn add(&mut self, edges: Vec<Json>) -> Result<(), serde_json::Error> {
        for mut edge in edges {
            let node: ObjectNode = serde_json::from_value(edge["node"].take())?;
            if node.is_active == Some(false) {
                continue;
            }
            let object = Object {
                id: node.id,
                singular: node.name_singular,
                plural: node.name_plural,
                label: node.label_singular,
                label_plural: node.label_plural,
                fields: node
                    .fields_list
                    .into_iter()
                    .filter(|field| field.is_active != Some(false))
                    .map(field)
                    .collect(),
            };
            self.0.insert(object.singular.clone(), object);
        }
        Ok(())
    }

    /// Fills in what relations point to where the metadata does not tell: a field of a morph relation is called after its
    /// target.
    pub(super) fn complete(&mut self) {
        let names: Vec<String> = self.0.keys().cloned().collect();
        for field in self.0.values_mut().flat_map(|object| &mut object.fields) {
            if let Wire::ToOne { to: to @ None, .. } = &mut field.wire {
                let called = |name: &&String| field.name.ends_with(&capital(name));
                *to = names.iter().filter(called).max_by_key(|name| name.len()).cloned();
            }
        }
    }

    /// Returns an object.
    pub(super) fn object(&self, name: &str) -> Option<&Object> {
        self.0.get(name).or_else(|| self.0.values().find(|object| object.singular.eq_ignore_ascii_case(name)))
    }
}

impl Object {
    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Returns the name of a GraphQL type of the object.
    pub(super) fn type_name(&self, suffix: &str) -> String {
        format!("{}{suffix}", capital(&self.singular))
    }
}

/// Returns a name with its first letter in upper case, as names of types and wrappers have it.
pub(super) fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn field(node: FieldNode) -> Field {
    let one = node.settings["relationType"] == "MANY_TO_ONE";
    let wire = match node.kind.as_str() {
        "TEXT" => Wire::Text,
        "NUMBER" | "NUMERIC" => Wire::Number,
        "DATE" => Wire::Date,
        "DATE_TIME" => Wire::DateTime,
        "BOOLEAN" => Wire::Boolean,
        "SELECT" => Wire::Select,
        "MULTI_SELECT" => Wire::MultiSelect,
        "RATING" => Wire::Rating,
        "UUID" => Wire::Uuid,
        "ARRAY" => Wire::Array,
        "RAW_JSON" => Wire::RawJson,
        "CURRENCY" => Wire::Currency,
        "EMAILS" => Wire::Emails,
        "PHONES" => Wire::Phones,
        "LINKS" => Wire::Links,
        "FULL_NAME" => Wire::FullName,
        "ADDRESS" => Wire::Address,
        "RICH_TEXT" | "RICH_TEXT_V2" => Wire::RichText,
        "FILES" => Wire::Files,
        "RELATION" | "MORPH_RELATION" if one => Wire::ToOne {
            join: node.settings["joinColumnName"].as_str().map_or_else(|| format!("{}Id", node.name), str::to_owned),
            to: node.relation.map(|relation| relation.target_object_metadata.name_singular),
        },
        other => Wire::Other(other.to_owned()),
    };
    Field {
        id: node.id,
        name: node.name,
        label: node.label,
        wire,
        nullable: node.is_nullable.unwrap_or(true),
        unique: node.is_unique.unwrap_or(false),
        defaulted: !node.default_value.is_null(),
        options: node.options.as_array().cloned().unwrap_or_default(),
    }
}
