//! The metadata API: objects and fields, shown, made, changed and dropped.

pub(crate) mod check;
mod fields;
mod objects;
mod options;
mod relations;
pub(crate) mod rest;

use serde_json::{Map, Value as Json, json};

use super::{
    model::{Choice, Field, Object},
    refusal::Refusal,
    scalar::write_time,
    workspace::Workspace,
};

/// What was being done when something was refused.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Doing {
    Creating,
    Updating,
    Deleting,
}

impl Doing {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Creating => ("creating", "create"),
            Self::Updating => ("updating", "update"),
            Self::Deleting => ("deleting", "delete"),
        }
    }
}

/// What is wrong with an entity.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// `objectMetadata`, `fieldMetadata` or `index`.
    pub(crate) entity: &'static str,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) value: Box<Json>,
}

impl Fault {
    pub(crate) fn field(code: &'static str, message: impl Into<String>, value: Json) -> Self {
        Self { entity: "fieldMetadata", code, message: message.into(), value: Box::new(value) }
    }

    pub(crate) fn object(code: &'static str, message: impl Into<String>) -> Self {
        Self { entity: "objectMetadata", code, message: message.into(), value: Box::default() }
    }

    fn entry(&self, about: &Json, doing: &str) -> Json {
        let mut error = json!({ "code": self.code, "message": self.message });
        if !self.value.is_null() {
            error["value"] = (*self.value).clone();
        }
        error["userFriendlyMessage"] = json!(self.message);
        json!({
            "status": "fail", "errors": [error], "flatEntityMinimalInformation": about, "metadataName": self.entity, "type": doing,
        })
    }

    /// Writes the refusal: the fault, and what follows from it for the entities that hang on it.
    pub(crate) fn refuse(&self, doing: Doing, noun: &str, about: &Json, noise: &[Json]) -> Refusal {
        let (doing, verb) = doing.words();
        let mut errors = Map::new();
        let mut summary = Map::new();
        summary.insert("totalErrors".into(), json!(1 + noise.len()));
        if !noise.is_empty() {
            let follow = Self::field("OBJECT_METADATA_NOT_FOUND", "Object metadata not found", Json::Null);
            let entries: Vec<Json> = noise.iter().map(|about| follow.entry(about, verb)).collect();
            summary.insert("fieldMetadata".into(), json!(entries.len()));
            errors.insert("fieldMetadata".into(), json!(entries));
        }
        errors.insert(self.entity.into(), json!([self.entry(about, verb)]));
        summary.insert(self.entity.into(), json!(1));
        Refusal::whole(
            400,
            json!({
                "statusCode": 400, "error": "METADATA_VALIDATION_ERROR",
                "message": format!("Multiple validation errors occurred while {doing} {noun}"),
                "errors": errors, "summary": summary,
                "userFriendlyMessage": "Validation failed. Please check your data and try again.",
            }),
        )
    }
}

/// The refusal of a body whose class does not fit.
pub(crate) fn bad_class(messages: &[String]) -> Refusal {
    Refusal::whole(400, json!({ "message": messages, "error": "Bad Request", "statusCode": 400 }))
}

/// The refusal of a migration that the database does not carry out: a bare text.
pub(crate) fn failed_migration(what: &str, universal: &str) -> Refusal {
    Refusal::whole(
        500,
        json!(format!("Migration action 'create' for '{what}' (universalIdentifier: {universal}) failed")),
    )
}

/// Drops the keys that hold nothing, as reads do.
fn without_nulls(value: Json) -> Json {
    match value {
        Json::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into(),
        other => other,
    }
}

fn show_choice(choice: &Choice) -> Json {
    json!({
        "id": choice.id, "color": choice.color, "label": choice.label, "value": choice.value, "position": choice.position,
    })
}

impl Workspace {
    /// Writes a field.
    pub(crate) fn show_field_metadata(&self, field: &Field) -> Json {
        let options: Json =
            if field.options.is_empty() { Json::Null } else { field.options.iter().map(show_choice).collect() };
        json!({
            "id": field.id, "universalIdentifier": field.universal, "applicationId": self.application(field.custom),
            "type": field.kind.name(), "name": field.name, "label": field.label, "description": field.description,
            "icon": field.icon, "isActive": field.active, "isSystem": field.system, "isUIEditable": !field.system,
            "isUIReadOnly": field.system, "isNullable": field.nullable, "isUnique": field.unique,
            "defaultValue": field.default, "options": options, "settings": field.settings, "workspaceId": self.id,
            "objectMetadataId": self.catalog.object(field.object).id, "isLabelSyncedWithName": field.label_synced,
            "morphId": field.morph, "createdAt": write_time(field.created), "updatedAt": write_time(field.updated),
        })
    }

    /// Writes an object with its fields.
    pub(crate) fn show_object_metadata(&self, object: &Object) -> Json {
        let mut shown = self.show_object_alone(object);
        shown["fields"] =
            self.catalog.fields_of(object.number).map(|field| without_nulls(self.show_field_metadata(field))).collect();
        shown
    }

    /// Writes an object, and null for its fields, which are many.
    pub(crate) fn show_object_alone(&self, object: &Object) -> Json {
        let label = object.label.and_then(|label| self.catalog.fields.get(&label)).map(|field| field.id.clone());
        let duplicates = if object.duplicates.is_empty() { Json::Null } else { json!(object.duplicates) };
        json!({
            "id": object.id, "universalIdentifier": object.universal, "applicationId": self.application(object.custom),
            "nameSingular": object.singular, "namePlural": object.plural, "labelSingular": object.label_singular,
            "labelPlural": object.label_plural, "description": object.description, "icon": object.icon,
            "shortcut": object.shortcut, "color": object.color, "duplicateCriteria": duplicates, "isRemote": false,
            "isActive": object.active, "isSystem": object.system, "isUIEditable": !object.system,
            "isUICreatable": !object.system, "isUIReadOnly": object.system, "isSearchable": object.searchable,
            "isLabelSyncedWithName": object.label_synced, "workspaceId": self.id,
            "imageIdentifierFieldMetadataId": null, "labelIdentifierFieldMetadataId": label,
            "createdAt": write_time(object.created), "updatedAt": write_time(object.updated), "fields": null,
        })
    }
}
