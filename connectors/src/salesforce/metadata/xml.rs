//! The files of a deploy, in metadata format.

use std::{collections::BTreeSet, fmt::Write};

use quick_xml::escape::escape;
use waybill_ledger::{FieldKind, FieldSchema, SchemaChange};

use super::{ACTIVITIES, Files, STAGES, Stage, holder, merged, objects, of};

const NAMESPACE: &str = "http://soap.sforce.com/2006/04/metadata";

/// Writes an XML file.
fn document(root: &str, body: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{NAMESPACE}\">\n{body}</{root}>\n")
}

/// Writes an element with text.
fn element(name: &str, text: impl AsRef<str>) -> String {
    format!("<{name}>{}</{name}>", escape(text.as_ref()))
}

/// Returns the files of all changes but the permission set and the package.
pub(super) fn files(changes: &[SchemaChange], stages: &[Stage]) -> Files {
    let mut files = Files::new();
    let shared = shared_fields(changes);
    if !shared.is_empty() {
        files.insert("objects/Activity.object".to_owned(), document("CustomObject", &shared));
    }
    for object in objects(changes) {
        let mut body = String::new();
        for change in of(changes, &object) {
            match change {
                SchemaChange::AddObject { label, label_plural, .. } => body.push_str(&new_object(label, label_plural)),
                SchemaChange::AddField { object, .. } if holder(object) != object.as_str() => {}
                SchemaChange::AddField { field, .. } => {
                    let _ = writeln!(body, "  <fields>{}</fields>", field_elements(field));
                }
                SchemaChange::AddVariant { name, label, options, .. } => {
                    let _ = writeln!(body, "  <businessProcesses>{}</businessProcesses>", process(name, options));
                    let _ = writeln!(body, "  <recordTypes>{}</recordTypes>", record_type(name, label));
                }
                SchemaChange::AddOptions { .. } => {}
            }
        }
        if !body.is_empty() {
            files.insert(format!("objects/{object}.object"), document("CustomObject", &body));
        }
        for change in of(changes, &object) {
            if let SchemaChange::AddOptions { object, field, options } = change
                && (object.as_str(), field.as_str()) == STAGES
            {
                let text = value_set(&merged(stages, options));
                files.insert("standardValueSets/OpportunityStage.standardValueSet".to_owned(), text);
            }
        }
    }
    files
}

/// Writes the fields that tasks and events share, each once.
fn shared_fields(changes: &[SchemaChange]) -> String {
    let mut fields = std::collections::BTreeMap::new();
    for change in changes {
        if let SchemaChange::AddField { object, field } = change
            && holder(object) != object.as_str()
        {
            fields.entry(field.name.as_str()).or_insert_with(|| field_elements(field));
        }
    }
    fields.values().map(|elements| format!("  <fields>{elements}</fields>\n")).collect()
}

/// Returns the files of all changes in source format, under this folder: one file a field, a process, a record type.
pub(super) fn source(changes: &[SchemaChange], stages: &[Stage], under: &str) -> Files {
    let mut files = Files::new();
    for change in changes {
        match change {
            SchemaChange::AddObject { name, label, label_plural } => {
                let path = format!("{under}/objects/{name}/{name}.object-meta.xml");
                files.insert(path, document("CustomObject", &new_object(label, label_plural)));
            }
            SchemaChange::AddField { object, field } => {
                let path = format!("{under}/objects/{}/fields/{}.field-meta.xml", holder(object), field.name);
                files.insert(path, document("CustomField", &format!("  {}\n", field_elements(field))));
            }
            SchemaChange::AddVariant { object, name, label, options } => {
                let at = format!("{under}/objects/{object}");
                let path = format!("{at}/businessProcesses/{}.businessProcess-meta.xml", process_name(name));
                files.insert(path, document("BusinessProcess", &format!("  {}\n", process(name, options))));
                let path = format!("{at}/recordTypes/{name}.recordType-meta.xml");
                files.insert(path, document("RecordType", &format!("  {}\n", record_type(name, label))));
            }
            SchemaChange::AddOptions { object, field, options } if (object.as_str(), field.as_str()) == STAGES => {
                let path = format!("{under}/standardValueSets/OpportunityStage.standardValueSet-meta.xml");
                files.insert(path, value_set(&merged(stages, options)));
            }
            SchemaChange::AddOptions { .. } => {}
        }
    }
    files
}

fn new_object(label: &str, plural: &str) -> String {
    format!(
        "  <deploymentStatus>Deployed</deploymentStatus>\n  {}\n  {}\n  <nameField>{}<type>Text</type></nameField>\n  <sharingModel>ReadWrite</sharingModel>\n",
        element("label", label),
        element("pluralLabel", plural),
        element("label", "Name"),
    )
}

/// Writes the elements of a custom field.
pub(super) fn field_elements(field: &FieldSchema) -> String {
    let number = |kind: &str, precision: u32, scale: u32| {
        format!("<type>{kind}</type><precision>{}</precision><scale>{scale}</scale>", precision.clamp(1, 18))
    };
    let kind = match &field.kind {
        FieldKind::Text { multiline: false, length, .. } => {
            format!("<type>Text</type><length>{}</length>", (*length).clamp(1, 255))
        }
        FieldKind::Text { rich, length, .. } => {
            let kind = if *rich { "Html" } else { "LongTextArea" };
            let length = (*length).clamp(256, 131_072);
            format!("<type>{kind}</type><length>{length}</length><visibleLines>5</visibleLines>")
        }
        FieldKind::Email => "<type>Email</type>".into(),
        FieldKind::Phone => "<type>Phone</type>".into(),
        FieldKind::Url => "<type>Url</type>".into(),
        FieldKind::Bool => "<type>Checkbox</type><defaultValue>false</defaultValue>".into(),
        FieldKind::Number { precision, scale } => number("Number", *precision, *scale),
        FieldKind::Money { precision, scale } => number("Currency", *precision, *scale),
        FieldKind::Percent { precision, scale } => number("Percent", *precision, *scale),
        FieldKind::Date => "<type>Date</type>".into(),
        FieldKind::Time => "<type>DateTime</type>".into(),
        FieldKind::Choice { options, restricted } | FieldKind::Choices { options, restricted } => {
            let many = matches!(field.kind, FieldKind::Choices { .. });
            let values: String = options
                .iter()
                .map(|option| {
                    format!(
                        "<value>{}<default>false</default>{}</value>",
                        element("fullName", &option.value),
                        element("label", &option.label)
                    )
                })
                .collect();
            let (kind, lines) =
                if many { ("MultiselectPicklist", "<visibleLines>4</visibleLines>") } else { ("Picklist", "") };
            format!(
                "<type>{kind}</type>{lines}<valueSet><restricted>{restricted}</restricted><valueSetDefinition><sorted>false</sorted>{values}</valueSetDefinition></valueSet>"
            )
        }
        FieldKind::Reference { to } => {
            let to = to.first().map_or("Account", |to| to.as_str());
            let name: String = field.name.as_str().trim_end_matches("__c").chars().filter(|c| *c != '_').collect();
            format!(
                "<type>Lookup</type><referenceTo>{to}</referenceTo><relationshipName>{name}s</relationshipName><deleteConstraint>SetNull</deleteConstraint>"
            )
        }
        FieldKind::Id | FieldKind::Binary | FieldKind::Composite | FieldKind::Other { .. } => {
            "<type>Text</type><length>255</length>".into()
        }
    };
    let mut text = element("fullName", field.name.as_str());
    if field.unique {
        let _ = write!(text, "<caseSensitive>{}</caseSensitive>", field.case_sensitive);
    }
    if field.external_id {
        text.push_str("<externalId>true</externalId>");
    }
    text.push_str(&element("label", &field.label));
    text.push_str(&kind);
    if field.unique {
        text.push_str("<unique>true</unique>");
    }
    text
}

/// The name of the sales process of a record type.
fn process_name(name: &str) -> String {
    format!("{} Process", name.chars().take(70).collect::<String>())
}

fn process(name: &str, options: &[String]) -> String {
    let values: String = options
        .iter()
        // Names of values in a sales process are percent-encoded in part.
        .map(|value| {
            format!(
                "<values>{}<default>false</default></values>",
                element("fullName", value.replace('%', "%25").replace('/', "%2F"))
            )
        })
        .collect();
    format!("{}<isActive>true</isActive>{values}", element("fullName", process_name(name)))
}

fn record_type(name: &str, label: &str) -> String {
    format!(
        "{}<active>true</active>{}{}",
        element("fullName", name),
        element("businessProcess", process_name(name)),
        element("label", label)
    )
}

fn value_set(stages: &[Stage]) -> String {
    let values: String = stages
        .iter()
        .map(|stage| {
            format!(
                "  <standardValue>{}<default>false</default>{}<closed>{}</closed>{}<probability>{}</probability><won>{}</won></standardValue>\n",
                element("fullName", &stage.value),
                element("label", &stage.label),
                stage.closed,
                element("forecastCategory", forecast(&stage.forecast)),
                stage.probability,
                stage.won,
            )
        })
        .collect();
    document("StandardValueSet", &format!("  <sorted>false</sorted>\n{values}"))
}

/// The forecast category as the metadata type spells it (`BestCase`), not as rows do (`Best Case`).
fn forecast(name: &str) -> String {
    name.chars().filter(|c| !c.is_whitespace()).collect()
}

/// Returns the permission set that grants new fields and record types, and what it granted before.
pub(super) fn permission_set(
    name: &str,
    changes: &[SchemaChange],
    fields: &BTreeSet<String>,
    variants: &BTreeSet<String>,
) -> String {
    let (mut fields, mut variants) = (fields.clone(), variants.clone());
    let mut objects = BTreeSet::new();
    for change in changes {
        match change {
            // Required fields must not be listed: everyone has them.
            SchemaChange::AddField { object, field } if !field.required && holder(object) != object.as_str() => {
                // Tasks and events share the field and its permissions: whoever lists one and not the other takes it away.
                fields.extend(ACTIVITIES.iter().map(|activity| format!("{activity}.{}", field.name)));
            }
            SchemaChange::AddField { object, field } if !field.required => {
                fields.insert(format!("{object}.{}", field.name));
            }
            SchemaChange::AddVariant { object, name, .. } => {
                variants.insert(format!("{object}.{name}"));
            }
            SchemaChange::AddObject { name, .. } => {
                objects.insert(name.to_string());
            }
            SchemaChange::AddField { .. } | SchemaChange::AddOptions { .. } => {}
        }
    }
    let mut body = format!(
        "  <hasActivationRequired>false</hasActivationRequired>\n  {}\n",
        element("label", name.replace('_', " "))
    );
    for field in fields {
        let _ = writeln!(
            body,
            "  <fieldPermissions><editable>true</editable>{}<readable>true</readable></fieldPermissions>",
            element("field", field)
        );
    }
    for object in objects {
        let _ = writeln!(
            body,
            "  <objectPermissions><allowCreate>true</allowCreate><allowDelete>true</allowDelete><allowEdit>true</allowEdit><allowRead>true</allowRead><modifyAllRecords>true</modifyAllRecords>{}<viewAllRecords>true</viewAllRecords></objectPermissions>",
            element("object", object)
        );
    }
    for variant in variants {
        let _ = writeln!(
            body,
            "  <recordTypeVisibilities>{}<visible>true</visible></recordTypeVisibilities>",
            element("recordType", variant)
        );
    }
    document("PermissionSet", &body)
}

/// Returns the list of what is in the archive.
pub(super) fn package(changes: &[SchemaChange], permission_set: Option<&str>, version: u32) -> String {
    let mut members: std::collections::BTreeMap<&str, BTreeSet<String>> = std::collections::BTreeMap::new();
    for change in changes {
        match change {
            SchemaChange::AddObject { name, .. } => {
                members.entry("CustomObject").or_default().insert(name.to_string());
            }
            SchemaChange::AddField { object, field } => {
                let name = format!("{}.{}", holder(object), field.name);
                members.entry("CustomField").or_default().insert(name);
            }
            SchemaChange::AddOptions { object, field, .. } => {
                if (object.as_str(), field.as_str()) == STAGES {
                    members.entry("StandardValueSet").or_default().insert("OpportunityStage".into());
                }
            }
            SchemaChange::AddVariant { object, name, .. } => {
                members.entry("BusinessProcess").or_default().insert(format!("{object}.{}", process_name(name)));
                members.entry("RecordType").or_default().insert(format!("{object}.{name}"));
            }
        }
    }
    if let Some(name) = permission_set {
        members.entry("PermissionSet").or_default().insert(name.to_owned());
    }
    let mut body = String::new();
    for (kind, names) in members {
        let names: String = names.iter().map(|name| element("members", name)).collect();
        let _ = writeln!(body, "  <types>{names}{}</types>", element("name", kind));
    }
    let _ = writeln!(body, "  <version>{version}.0</version>");
    document("Package", &body)
}
