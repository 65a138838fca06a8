//! Metadata deploys and the Tooling API: new fields, stages, sales processes, record types, permission sets.
//!
//! Source: "Deploy Metadata with Apex Testing Using REST" and the metadata types in the Metadata API Developer Guide;
//! "CustomField" in the Tooling API reference. What is deployed is invisible until a permission set grants it.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read},
};

use serde_json::{Value as Json, json};

use super::{
    ids::Id,
    model::{Field, Kind, Object, OnDelete, Option_, option},
    org::{Org, RowError, Val},
    service::{Call, Reply, Service},
    xml::Element,
};

/// The most bytes that a deploy may unpack to.
const UNPACKED: u64 = 64 << 20;

/// What was wrong with one component.
#[derive(Debug)]
struct Problem {
    kind: &'static str,
    name: String,
    problem: String,
}

impl Service {
    /// `/metadata/deployRequest…`
    pub(crate) fn deploy(&self, call: &Call, path: &[&str]) -> Reply {
        match (call.method.as_str(), path) {
            ("POST", []) => {
                let Some(files) = archive(call) else {
                    return Reply::error(400, "INVALID_REQUEST", "the request has no zip file");
                };
                let mut org = self.org();
                let before = org.clone();
                let (count, problems) = deploy_files(&mut org, &files);
                if !problems.is_empty() {
                    *org = before;
                }
                org.refresh_grants();
                let mut deploys = super::service::locked(&self.deploys);
                let id = Id::new("0Af", deploys.len() as u64 + 1);
                let result = result(id, count, &problems);
                deploys.push(result);
                let pending = json!({ "id": id.to_string(), "done": false, "status": "Pending", "success": false });
                Reply::json(201, &json!({ "id": id.to_string(), "deployResult": pending, "deployOptions": {} }))
            }
            ("GET", [id]) => {
                let deploys = super::service::locked(&self.deploys);
                let found = Id::parse(id).and_then(|id| deploys.get(usize::try_from(id.number).ok()?.checked_sub(1)?));
                found.map_or_else(Reply::not_found, |result| {
                    Reply::json(200, &json!({ "id": id, "deployResult": result }))
                })
            }
            _ => Reply::not_found(),
        }
    }

    /// `/tooling/sobjects/…`
    pub(crate) fn tooling(&self, call: &Call, path: &[&str]) -> Reply {
        match (call.method.as_str(), path) {
            ("POST", [kind]) if kind.eq_ignore_ascii_case("CustomField") => {
                let Ok(body) = serde_json::from_slice::<Json>(&call.body) else {
                    return Reply::error(400, "JSON_PARSER_ERROR", "the body is not JSON");
                };
                let name = body["FullName"].as_str().unwrap_or_default();
                let Some((object, field)) = name.split_once('.') else {
                    return Reply::error(400, "FIELD_INTEGRITY_EXCEPTION", "FullName must be Object.Field__c");
                };
                let mut element = from_json("fields", &body["Metadata"]);
                element.children.push(Element { name: "fullName".into(), text: field.into(), ..Element::default() });
                let mut org = self.org();
                let Some(at) = org.find(object) else { return Reply::not_found() };
                if org.objects[at].field(field).is_some() {
                    let short = field.trim_end_matches("__c");
                    let message = format!("There is already a field named {short} on {object}.");
                    return Reply::error(400, "DUPLICATE_DEVELOPER_NAME", &message);
                }
                match custom_field(&element) {
                    Ok(field) => {
                        org.objects[at].push(field);
                        let number = org.objects[at].fields.len() as u64;
                        Reply::json(
                            201,
                            &json!({ "id": Id::new("00N", number).to_string(), "success": true, "errors": [], "warnings": [], "infos": [] }),
                        )
                    }
                    Err(problem) => Reply::error(400, "FIELD_INTEGRITY_EXCEPTION", &problem),
                }
            }
            _ => Reply::not_found(),
        }
    }
}

fn from_json(name: &str, value: &Json) -> Element {
    let mut element = Element { name: name.to_owned(), ..Element::default() };
    match value {
        Json::Object(map) => {
            for (name, value) in map {
                match value {
                    Json::Array(items) => element.children.extend(items.iter().map(|item| from_json(name, item))),
                    other => element.children.push(from_json(name, other)),
                }
            }
        }
        Json::String(text) => element.text.clone_from(text),
        Json::Null => {}
        other => element.text = other.to_string(),
    }
    element
}

/// Finds the zip file in a multipart request.
fn archive(call: &Call) -> Option<BTreeMap<String, String>> {
    let kind = call.headers.get("content-type")?;
    let boundary = kind.split_once("boundary=")?.1.split(';').next()?.trim().trim_matches('"');
    let mark = format!("--{boundary}");
    let parts = split(&call.body, mark.as_bytes());
    for part in parts {
        let Some(at) = find(part, b"\r\n\r\n") else { continue };
        let (head, body) = part.split_at(at);
        let body = body.get(4..)?;
        let body = body.strip_suffix(b"\r\n").unwrap_or(body);
        if String::from_utf8_lossy(head).to_ascii_lowercase().contains("application/zip") {
            return unzip(body);
        }
    }
    None
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn split<'b>(mut bytes: &'b [u8], mark: &[u8]) -> Vec<&'b [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find(bytes, mark) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + mark.len()..];
    }
    parts.push(bytes);
    parts
}

fn unzip(bytes: &[u8]) -> Option<BTreeMap<String, String>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).ok()?;
    let (mut files, mut left) = (BTreeMap::new(), UNPACKED);
    for n in 0..archive.len() {
        let file = archive.by_index(n).ok()?;
        if file.is_dir() {
            continue;
        }
        let name = file.name().to_owned();
        let mut text = String::new();
        file.take(left).read_to_string(&mut text).ok()?;
        left = left.saturating_sub(text.len() as u64);
        files.insert(name, text);
    }
    Some(files)
}

fn result(id: Id, count: usize, problems: &[Problem]) -> Json {
    let failures: Vec<Json> = problems
        .iter()
        .map(|problem| {
            json!({
                "componentType": problem.kind, "fullName": problem.name, "fileName": "", "problemType": "Error",
                "problem": problem.problem, "success": false, "created": false, "changed": false, "deleted": false,
            })
        })
        .collect();
    let good = problems.is_empty();
    json!({
        "id": id.to_string(), "done": true, "success": good, "status": if good { "Succeeded" } else { "Failed" },
        "numberComponentsTotal": count, "numberComponentsDeployed": if good { count } else { 0 },
        "numberComponentErrors": problems.len(), "numberTestsTotal": 0, "numberTestsCompleted": 0, "numberTestErrors": 0,
        "details": { "componentFailures": failures, "componentSuccesses": [] },
    })
}

/// Deploys the files: values first, then objects, then permissions.
fn deploy_files(org: &mut Org, files: &BTreeMap<String, String>) -> (usize, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut count = 0;
    let problem = |kind, name: &str, problem: String| Problem { kind, name: name.to_owned(), problem };
    if !files.contains_key("package.xml") {
        return (0, vec![problem("", "package.xml", "No package.xml found".into())]);
    }
    let order = |path: &str| match path.split('/').next() {
        Some("standardValueSets") => 0,
        Some("objects") => 1,
        Some("permissionsets") => 2,
        _ => 3,
    };
    let mut paths: Vec<&String> = files.keys().collect();
    paths.sort_by_key(|path| order(path));
    for path in paths {
        let stem = path.rsplit('/').next().and_then(|file| file.split('.').next()).unwrap_or_default();
        let root = match Element::parse(&files[path]) {
            Ok(root) => root,
            Err(e) => {
                problems.push(problem("", stem, format!("Error parsing file: {e}")));
                continue;
            }
        };
        match path.split('/').next() {
            Some("standardValueSets") => {
                count += 1;
                if let Err(text) = value_set(org, stem, &root) {
                    problems.push(problem("StandardValueSet", stem, text));
                }
            }
            Some("objects") => count += deploy_object(org, stem, &root, &mut problems),
            Some("permissionsets") => {
                count += 1;
                permission_set(org, stem, &root, &mut problems);
            }
            _ => {}
        }
    }
    (count, problems)
}

/// Deploys the fields that tasks and events share.
fn deploy_activity(org: &mut Org, root: &Element, problems: &mut Vec<Problem>) -> usize {
    let mut count = 0;
    for element in root.all("fields") {
        count += 1;
        match custom_field(element) {
            Err(problem) => {
                let name = format!("Activity.{}", element.get("fullName").unwrap_or_default());
                problems.push(Problem { kind: "CustomField", name, problem });
            }
            Ok(field) => {
                for at in ["Task", "Event"].iter().filter_map(|name| org.find(name)).collect::<Vec<_>>() {
                    match org.objects[at].field(&field.name) {
                        Some(known) => org.objects[at].fields[known] = field.clone(),
                        None => org.objects[at].push(field.clone()),
                    }
                    org.reindex(at);
                }
            }
        }
    }
    count
}

fn deploy_object(org: &mut Org, name: &str, root: &Element, problems: &mut Vec<Problem>) -> usize {
    if name == "Activity" {
        return deploy_activity(org, root, problems);
    }
    let mut count = 0;
    let at = match org.find(name) {
        Some(at) => at,
        None if name.ends_with("__c") && root.get("label").is_some() => {
            let prefix = org.next_prefix();
            let label = root.get("label").unwrap_or(name);
            let mut object = Object::new(name, &prefix, label, root.get("pluralLabel").unwrap_or(label));
            object.push(Field {
                name_field: true,
                defaulted: true,
                ..plain(
                    "Name",
                    root.all("nameField").next().and_then(|field| field.get("label")).unwrap_or("Name"),
                    Kind::Text { length: 80 },
                )
            });
            object.push(Field {
                defaulted: true,
                ..plain(
                    "OwnerId",
                    "Owner ID",
                    Kind::Reference {
                        to: vec!["User".into()],
                        relationship: "Owner".into(),
                        on_delete: OnDelete::Null,
                    },
                )
            });
            count += 1;
            org.add_object(object)
        }
        None => {
            let problem = format!("In field: no CustomObject named {name} found");
            problems.push(Problem { kind: "CustomObject", name: name.into(), problem });
            return 1;
        }
    };
    for element in root.all("fields") {
        count += 1;
        let full = element.get("fullName").unwrap_or_default();
        // Source: "Activity" in the Metadata API Developer Guide: tasks and events have no custom fields of their own.
        if ["Task", "Event"].contains(&name) {
            let problem = "Custom fields of tasks and events are defined on Activity".to_owned();
            problems.push(Problem { kind: "CustomField", name: format!("{name}.{full}"), problem });
            continue;
        }
        if ["ContentNote", "ContentDocumentLink", "ContentDocument"].contains(&name) {
            let problem = format!("Entity Enumeration Or ID: bad value for restricted picklist field: {name}");
            problems.push(Problem { kind: "CustomField", name: format!("{name}.{full}"), problem });
            continue;
        }
        match custom_field(element) {
            Err(problem) => problems.push(Problem { kind: "CustomField", name: format!("{name}.{full}"), problem }),
            Ok(field) => match org.objects[at].field(&field.name) {
                Some(known) => org.objects[at].fields[known] = field,
                None => org.objects[at].push(field),
            },
        }
    }
    org.reindex(at);
    for element in root.all("businessProcesses") {
        count += 1;
        if let Err(problem) = business_process(org, name, element) {
            let full = format!("{name}.{}", element.get("fullName").unwrap_or_default());
            problems.push(Problem { kind: "BusinessProcess", name: full, problem });
        }
    }
    for element in root.all("recordTypes") {
        count += 1;
        if let Err(problem) = record_type(org, name, element) {
            let full = format!("{name}.{}", element.get("fullName").unwrap_or_default());
            problems.push(Problem { kind: "RecordType", name: full, problem });
        }
    }
    count
}

fn plain(name: &str, label: &str, kind: Kind) -> Field {
    Field {
        name: name.into(),
        label: label.into(),
        kind,
        required: false,
        defaulted: false,
        createable: true,
        updateable: true,
        unique: false,
        case_sensitive: false,
        external: false,
        id_lookup: false,
        name_field: false,
        custom: false,
        system: false,
    }
}

/// Reads a custom field, or says what it lacks.
fn custom_field(element: &Element) -> Result<Field, String> {
    let name =
        element.get("fullName").filter(|name| name.ends_with("__c")).ok_or("a custom field's name ends with __c")?;
    let label = element.get("label").ok_or("Required field is missing: label")?;
    let length =
        || element.number("length").ok_or_else(|| "Must specify 'length' for a CustomField of this type".to_owned());
    let pair = || -> Result<(usize, usize), String> {
        let missing = |what: &str| format!("Must specify '{what}' for a CustomField of this type");
        let precision = element.number("precision").ok_or_else(|| missing("precision"))?;
        let scale = element.number("scale").ok_or_else(|| missing("scale"))?;
        if precision > 18 || scale > precision {
            return Err("precision must be at most 18".into());
        }
        Ok((precision, scale))
    };
    let number = |name| pair().map(|(precision, scale)| Kind::Number { precision, scale, name });
    let kind = match element.get("type").unwrap_or_default() {
        "Text" => match length()? {
            length @ 1..=255 => Kind::Text { length },
            _ => return Err("length must be between 1 and 255".into()),
        },
        "TextArea" => Kind::Area { length: 255, html: false },
        kind @ ("LongTextArea" | "Html") => {
            element.number("visibleLines").ok_or("Must specify 'visibleLines' for a CustomField of this type")?;
            match length()? {
                length @ 256..=131_072 => Kind::Area { length, html: kind == "Html" },
                _ => return Err("length must be between 256 and 131072".into()),
            }
        }
        "Email" => Kind::Email,
        "Phone" => Kind::Phone,
        "Url" => Kind::Url,
        "Checkbox" => {
            element.get("defaultValue").ok_or("Must specify 'defaultValue' for a CustomField of type Checkbox")?;
            Kind::Bool
        }
        "Number" => number("double")?,
        "Currency" => number("currency")?,
        "Percent" => number("percent")?,
        "Date" => Kind::Date,
        "DateTime" => Kind::DateTime,
        kind @ ("Picklist" | "MultiselectPicklist") => {
            let set =
                element.all("valueSet").next().ok_or("Must specify a valueSet for a CustomField of type Picklist")?;
            let values: Vec<Option_> = set
                .all("valueSetDefinition")
                .flat_map(|definition| definition.all("value"))
                .filter_map(|value| {
                    let name = value.get("fullName")?;
                    Some(Option_ { label: value.get("label").unwrap_or(name).to_owned(), ..option(name) })
                })
                .collect();
            Kind::Picklist { values, restricted: set.flag("restricted"), multi: kind == "MultiselectPicklist" }
        }
        "Lookup" => {
            let to = element.get("referenceTo").ok_or("Must specify 'referenceTo' for a CustomField of type Lookup")?;
            let on_delete = match element.get("deleteConstraint") {
                Some("Restrict") => OnDelete::Restrict,
                Some("Cascade") => OnDelete::Cascade,
                _ => OnDelete::Null,
            };
            let relationship = name.replace("__c", "__r");
            Kind::Reference { to: vec![to.to_owned()], relationship, on_delete }
        }
        other => return Err(format!("'{other}' is not a valid value for the enum 'FieldType'")),
    };
    let external = element.flag("externalId");
    if external && !matches!(kind, Kind::Text { .. } | Kind::Number { .. } | Kind::Email) {
        return Err("a field of this type cannot be an external ID".into());
    }
    Ok(Field {
        required: element.flag("required"),
        unique: element.flag("unique"),
        case_sensitive: element.flag("caseSensitive"),
        external,
        custom: true,
        ..plain(name, label, kind)
    })
}

fn set(org: &mut Org, object: usize, number: u64, name: &str, value: Val) {
    if let Some(field) = org.objects[object].field(name)
        && let Some(row) = org.tables[object].rows.get_mut(&number)
    {
        row.set(field, Some(value));
    }
}

/// Creates a setup row from texts and flags.
pub(crate) fn setup_row(org: &mut Org, object: &str, values: &[(&str, Val)]) -> Result<Id, RowError> {
    let at = org.find(object).ok_or_else(|| RowError::new("INVALID_TYPE", object))?;
    let changes =
        values.iter().filter_map(|(name, value)| Some((org.objects[at].field(name)?, Some(value.clone())))).collect();
    org.insert(at, changes)
}

fn text(value: &str) -> Val {
    Val::Text(value.into())
}

fn find_row(org: &Org, object: usize, wanted: &[(&str, &Val)]) -> Option<u64> {
    let fields: Vec<(usize, &Val)> =
        wanted.iter().filter_map(|(name, value)| Some((org.objects[object].field(name)?, *value))).collect();
    let rows = org.tables[object].rows.iter();
    rows.filter(|(_, row)| !row.deleted)
        .find(|(_, row)| fields.iter().all(|(field, value)| row.get(*field) == Some(value)))
        .map(|(number, _)| *number)
}

/// Replaces the stages: what is not listed is switched off.
fn value_set(org: &mut Org, name: &str, root: &Element) -> Result<(), String> {
    if name != "OpportunityStage" {
        return Err(format!("the standard value set {name} is not supported here"));
    }
    let stages = org.find("OpportunityStage").ok_or("there are no stages")?;
    let all: Vec<u64> = org.tables[stages].rows.keys().copied().collect();
    for number in all {
        set(org, stages, number, "IsActive", Val::Bool(false));
    }
    let mut options = Vec::new();
    for (place, element) in root.all("standardValue").enumerate() {
        let value = element.get("fullName").ok_or("a value has no fullName")?;
        let category = element.get("forecastCategory").ok_or("Required field is missing: forecastCategory")?;
        let shown = match category {
            "BestCase" => "Best Case",
            "Forecast" => "Commit",
            known @ ("Omitted" | "Pipeline" | "Closed" | "Commit") => known,
            other => return Err(format!("'{other}' is not a valid value for the enum 'ForecastCategories'")),
        };
        let probability: f64 = element
            .get("probability")
            .and_then(|text| text.parse().ok())
            .ok_or("Required field is missing: probability")?;
        if !(0.0..=100.0).contains(&probability) {
            return Err(format!("the probability of {value} is not a percentage"));
        }
        let api = text(value);
        let number = match find_row(org, stages, &[("ApiName", &api)]) {
            Some(number) => number,
            None => setup_row(org, "OpportunityStage", &[("ApiName", api)]).map_err(|e| e.message)?.number,
        };
        let label = element.get("label").unwrap_or(value);
        #[expect(clippy::cast_precision_loss, reason = "a place in a list")]
        let order = (place + 1) as f64;
        for (field, value) in [
            ("MasterLabel", text(label)),
            ("DefaultProbability", Val::Num(probability)),
            ("ForecastCategory", text(category)),
            ("ForecastCategoryName", text(shown)),
            ("IsActive", Val::Bool(true)),
            ("IsClosed", Val::Bool(element.flag("closed"))),
            ("IsWon", Val::Bool(element.flag("won"))),
            ("SortOrder", Val::Num(order)),
        ] {
            set(org, stages, number, field, value);
        }
        options.push(Option_ { value: value.to_owned(), label: label.to_owned(), active: true });
    }
    if let Some(object) = org.find("Opportunity")
        && let Some(field) = org.objects[object].field("StageName")
        && let Kind::Picklist { values, .. } = &mut org.objects[object].fields[field].kind
    {
        *values = options;
    }
    Ok(())
}

fn stage_names(org: &Org) -> Vec<String> {
    let field = org
        .find("Opportunity")
        .and_then(|object| Some(&org.objects[object].fields[org.objects[object].field("StageName")?]));
    match field.map(|field| &field.kind) {
        Some(Kind::Picklist { values, .. }) => {
            values.iter().filter(|option| option.active).map(|option| option.value.clone()).collect()
        }
        _ => Vec::new(),
    }
}

fn business_process(org: &mut Org, object: &str, element: &Element) -> Result<(), String> {
    let name = element.get("fullName").ok_or("Required field is missing: fullName")?;
    if object != "Opportunity" {
        return Err("business processes here are those of opportunities".into());
    }
    let known = stage_names(org);
    let values: Vec<String> = element
        .all("values")
        .filter_map(|value| value.get("fullName").map(|name| name.replace("%2F", "/").replace("%25", "%")))
        .collect();
    if values.is_empty() {
        return Err("a business process has at least one value".into());
    }
    if let Some(unknown) = values.iter().find(|value| !known.contains(value)) {
        return Err(format!("Picklist value: {unknown} in picklist: StageName not found"));
    }
    let processes = org.find("BusinessProcess").ok_or("there are no processes")?;
    let (name, of) = (text(name), text(object));
    if find_row(org, processes, &[("Name", &name), ("TableEnumOrId", &of)]).is_none() {
        setup_row(org, "BusinessProcess", &[("Name", name), ("TableEnumOrId", of), ("IsActive", Val::Bool(true))])
            .map_err(|e| e.message)?;
    }
    Ok(())
}

fn record_type(org: &mut Org, object: &str, element: &Element) -> Result<(), String> {
    let name = element.get("fullName").ok_or("Required field is missing: fullName")?;
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.contains("__")
        && !name.ends_with('_')
        && name.len() <= 80;
    if !valid {
        return Err(format!("The Record Type Name can only contain underscores and alphanumeric characters: {name}"));
    }
    let label = element.get("label").ok_or("Required field is missing: label")?;
    let process = match element.get("businessProcess") {
        Some(process) => {
            let processes = org.find("BusinessProcess").ok_or("there are no processes")?;
            let number = find_row(org, processes, &[("Name", &text(process))]).ok_or_else(|| {
                format!("In field: businessProcess - no BusinessProcess named {object}.{process} found")
            })?;
            Some(Val::Ref(org.id(processes, number)))
        }
        None if object == "Opportunity" => return Err("Required field is missing: businessProcess".into()),
        None => None,
    };
    let types = org.find("RecordType").ok_or("there are no record types")?;
    let (developer, of) = (text(name), text(object));
    let number = match find_row(org, types, &[("DeveloperName", &developer), ("SobjectType", &of)]) {
        Some(number) => number,
        None => {
            setup_row(org, "RecordType", &[("DeveloperName", developer), ("SobjectType", of)])
                .map_err(|e| e.message)?
                .number
        }
    };
    set(org, types, number, "Name", text(label));
    set(org, types, number, "IsActive", Val::Bool(element.flag("active")));
    if let Some(process) = process {
        set(org, types, number, "BusinessProcessId", process);
    }
    Ok(())
}

/// Deploying a permission set replaces what it granted.
fn permission_set(org: &mut Org, name: &str, root: &Element, problems: &mut Vec<Problem>) {
    let mut problem =
        |text: String| problems.push(Problem { kind: "PermissionSet", name: name.to_owned(), problem: text });
    let (Some(sets), Some(permissions)) = (org.find("PermissionSet"), org.find("FieldPermissions")) else { return };
    let Some(label) = root.get("label") else { return problem("Required field is missing: label".into()) };
    let own = text(name);
    let number = match find_row(org, sets, &[("Name", &own)]) {
        Some(number) => number,
        None => match setup_row(org, "PermissionSet", &[("Name", own), ("Label", text(label))]) {
            Ok(id) => id.number,
            Err(error) => return problem(error.message),
        },
    };
    let parent = Val::Ref(org.id(sets, number));
    let old: Vec<u64> = {
        let field = org.objects[permissions].field("ParentId").unwrap_or(0);
        let rows = org.tables[permissions].rows.iter();
        rows.filter(|(_, row)| !row.deleted && row.get(field) == Some(&parent)).map(|(number, _)| *number).collect()
    };
    for number in old {
        // A permission that is replaced leaves nothing behind.
        let id = org.id(permissions, number);
        let _ = org.delete(id);
    }
    for element in root.all("fieldPermissions") {
        let full = element.get("field").unwrap_or_default().to_owned();
        let known = full.split_once('.').and_then(|(object, field)| {
            let object = org.find(object)?;
            Some((object, org.objects[object].field(field)?))
        });
        match known {
            None => problem(format!("In field: field - no CustomField named {full} found")),
            Some((object, field)) if org.objects[object].fields[field].required => {
                problem(format!("You cannot deploy to a required field: {full}"));
            }
            Some((object, _)) => {
                let kind = org.objects[object].name.clone();
                let made = setup_row(
                    org,
                    "FieldPermissions",
                    &[
                        ("ParentId", parent.clone()),
                        ("SobjectType", text(&kind)),
                        ("Field", text(&full)),
                        ("PermissionsRead", Val::Bool(element.flag("readable"))),
                        ("PermissionsEdit", Val::Bool(element.flag("editable"))),
                    ],
                );
                if let Err(error) = made {
                    problem(error.message);
                }
            }
        }
    }
    let mut held = Vec::new();
    for element in root.all("userPermissions") {
        let name = element.get("name").unwrap_or_default();
        let field = org.objects[sets].field(&format!("Permissions{name}"));
        match field.filter(|field| org.is_granted(sets, *field)) {
            Some(_) if element.flag("enabled") => held.push(format!("Permissions{name}")),
            Some(_) => {}
            None => problem(format!("Unknown user permission: {name}")),
        }
    }
    let all: Vec<String> = org.objects[sets].fields.iter().map(|field| field.name.clone()).collect();
    for name in all.into_iter().filter(|name| name.starts_with("Permissions")) {
        let enabled = Val::Bool(held.contains(&name));
        org.write_field(sets, number, &name, enabled);
    }
    let mut visible = Vec::new();
    for element in root.all("recordTypeVisibilities") {
        let full = element.get("recordType").unwrap_or_default();
        let types = org.find("RecordType");
        let known = full.split_once('.').zip(types).and_then(|((object, name), types)| {
            find_row(org, types, &[("SobjectType", &text(object)), ("DeveloperName", &text(name))])
        });
        if known.is_none() {
            problem(format!("In field: recordType - no RecordType named {full} found"));
        } else if element.flag("visible") {
            visible.push(full.to_ascii_lowercase());
        }
    }
    org.record_types_of.insert(number, visible);
}
