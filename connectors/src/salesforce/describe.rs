//! Describes: what Salesforce says about its objects, in our words.
//!
//! Source: "sObject Describe" in the REST API Developer Guide.

use serde::Deserialize;
use waybill_ledger::{Choice, FieldKind, FieldSchema, ObjectName, ObjectSchema, Variant};

/// The part of a describe that we read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Describe {
    name: String,
    label: String,
    createable: bool,
    updateable: bool,
    deletable: bool,
    fields: Vec<DescribeField>,
    #[serde(default)]
    record_type_infos: Vec<RecordTypeInfo>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeField {
    name: String,
    label: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    length: u32,
    #[serde(default)]
    precision: u32,
    #[serde(default)]
    scale: u32,
    #[serde(default)]
    digits: u32,
    nillable: bool,
    defaulted_on_create: bool,
    createable: bool,
    updateable: bool,
    #[serde(default)]
    unique: bool,
    #[serde(default)]
    external_id: bool,
    #[serde(default)]
    case_sensitive: bool,
    #[serde(default)]
    html_formatted: bool,
    #[serde(default)]
    restricted_picklist: bool,
    #[serde(default)]
    picklist_values: Vec<PicklistValue>,
    #[serde(default)]
    reference_to: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct PicklistValue {
    active: bool,
    label: Option<String>,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordTypeInfo {
    available: bool,
    #[serde(default)]
    developer_name: Option<String>,
    name: String,
    master: bool,
    record_type_id: String,
}

impl From<Describe> for ObjectSchema {
    fn from(describe: Describe) -> Self {
        Self {
            name: describe.name.into(),
            label: describe.label,
            createable: describe.createable,
            updateable: describe.updateable,
            deletable: describe.deletable,
            fields: describe.fields.into_iter().map(FieldSchema::from).collect(),
            variants: describe
                .record_type_infos
                .into_iter()
                .filter(|info| !info.master)
                .map(|info| Variant {
                    id: info.record_type_id,
                    name: info.developer_name.unwrap_or_else(|| info.name.clone()),
                    label: info.name,
                    available: info.available,
                })
                .collect(),
        }
    }
}

impl From<DescribeField> for FieldSchema {
    fn from(field: DescribeField) -> Self {
        // Booleans are never nillable and default to false.
        let required = field.createable && !field.nillable && !field.defaulted_on_create && field.kind != "boolean";
        Self {
            kind: kind(&field),
            name: field.name.into(),
            label: field.label,
            required,
            createable: field.createable,
            updateable: field.updateable,
            unique: field.unique,
            external_id: field.external_id,
            case_sensitive: field.case_sensitive,
        }
    }
}

fn kind(field: &DescribeField) -> FieldKind {
    let options = || {
        let values = field.picklist_values.iter();
        values
            .map(|value| Choice {
                value: value.value.clone(),
                label: value.label.clone().unwrap_or_else(|| value.value.clone()),
                active: value.active,
            })
            .collect()
    };
    let (precision, scale, restricted) = (field.precision, field.scale, field.restricted_picklist);
    match field.kind.as_str() {
        "id" => FieldKind::Id,
        "string" | "encryptedstring" | "combobox" => {
            FieldKind::Text { length: field.length, multiline: false, rich: false }
        }
        "textarea" => FieldKind::Text { length: field.length, multiline: true, rich: field.html_formatted },
        "email" => FieldKind::Email,
        "phone" => FieldKind::Phone,
        "url" => FieldKind::Url,
        "boolean" => FieldKind::Bool,
        "int" => FieldKind::Number { precision: field.digits.max(1), scale: 0 },
        "long" | "double" => FieldKind::Number { precision, scale },
        "currency" => FieldKind::Money { precision, scale },
        "percent" => FieldKind::Percent { precision, scale },
        "date" => FieldKind::Date,
        "datetime" => FieldKind::Time,
        "picklist" => FieldKind::Choice { options: options(), restricted },
        "multipicklist" => FieldKind::Choices { options: options(), restricted },
        "reference" => {
            let mut to: Vec<ObjectName> = field.reference_to.iter().map(|to| to.as_str().into()).collect();
            // A note's id is the id of its document ("ContentNote" in the Object Reference).
            if field.reference_to.iter().any(|to| to == "ContentDocument") {
                to.push("ContentNote".into());
            }
            FieldKind::Reference { to }
        }
        "base64" => FieldKind::Binary,
        "address" | "location" | "complexvalue" => FieldKind::Composite,
        other => FieldKind::Other { kind: other.to_owned() },
    }
}
