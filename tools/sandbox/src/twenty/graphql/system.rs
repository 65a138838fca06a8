//! The metadata by GraphQL, and what else its door leads to: files, webhooks, keys.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value as Json, json};

use super::{Upload, parse::Asked};
use crate::twenty::{
    model::{Field, Object},
    refusal::Refusal,
    service::State,
    uuid::Uuid,
    workspace::Workspace,
};

/// The most entities of a page.
const PAGE: usize = 1_000;

/// Carries out a root field; what comes back has more than was asked for.
pub(crate) fn answer(state: &mut State, mutation: bool, asked: &Asked, files: &[Upload]) -> Result<Json, Refusal> {
    let input = asked.args.get("input").cloned().unwrap_or_default();
    let text = |name: &str| asked.arg(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    if mutation && (asked.name.contains("OneObject") || asked.name.contains("OneField")) {
        if !state.workspace.switches.data_model_right {
            return Err(Refusal::permission());
        }
        return change(&mut state.workspace, &asked.name, &input);
    }
    let workspace = &mut state.workspace;
    let now = workspace.now;
    match asked.name.as_str() {
        "__typename" => Ok(json!(if mutation { "Mutation" } else { "Query" })),
        "objects" => Ok(objects(workspace, asked)),
        "fields" => Ok(fields(workspace, asked, None)),
        "object" => {
            let object = workspace.catalog.object_by_id(&text("id")).ok_or_else(|| missing("Object"))?.number;
            Ok(object_node(workspace, workspace.catalog.object(object), asked))
        }
        "field" => {
            let field = workspace.catalog.field_by_id(&text("id")).ok_or_else(|| missing("Field"))?;
            Ok(field_node(workspace, field, Some(asked)))
        }
        "webhooks" => Ok(workspace.webhooks()),
        "webhook" => Ok(workspace.webhook(&text("id")).unwrap_or_default()),
        "createWebhook" => workspace.create_webhook(&input),
        "updateWebhook" => {
            let id = input["id"].as_str().unwrap_or_default();
            workspace.update_webhook(id, &input["update"]).ok_or_else(Refusal::not_found)
        }
        "deleteWebhook" => {
            let webhook = workspace.webhook(&text("id")).ok_or_else(Refusal::not_found)?;
            workspace.delete_webhook(&text("id"));
            Ok(webhook)
        }
        "apiKeys" | "apiKey" if !workspace.switches.keys_right => Err(Refusal::permission()),
        "apiKeys" | "apiKey" => {
            let key = json!({
                "id": workspace.key.0, "name": workspace.key.1, "expiresAt": "2126-01-01T00:00:00.000Z", "revokedAt": null,
            });
            if asked.name == "apiKeys" {
                return Ok(json!([key]));
            }
            Ok(if input["id"] == json!(workspace.key.0) { key } else { Json::Null })
        }
        "createApiKey" | "revokeApiKey" | "generateApiKeyToken" => {
            let mut refusal = Refusal::coded("FORBIDDEN", "This endpoint requires a session access token");
            refusal.graphql = ("FORBIDDEN", None);
            Err(refusal)
        }
        "uploadFilesFieldFile" => {
            let at =
                asked.arg("file").and_then(|file| file["__upload"].as_u64()).and_then(|at| usize::try_from(at).ok());
            let file = at.and_then(|at| files.get(at));
            let file =
                file.ok_or_else(|| Refusal::invalid("Variable \"$file\" got invalid value; Upload value invalid."))?;
            let id = Uuid::random(&mut workspace.dice);
            let size = file.bytes.len();
            workspace.files.open(id, &file.name, size, &text("fieldMetadataId"), now);
            workspace.files.receive(&id.to_string(), &file.bytes)?;
            workspace.files.complete(&id.to_string(), now)
        }
        "createFileUpload" => {
            let id = Uuid::random(&mut workspace.dice);
            let size = asked.arg("size").and_then(Json::as_f64).unwrap_or(0.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a size in bytes")]
            let size = size.max(0.0) as usize;
            Ok(workspace.files.open(id, &text("filename"), size, &text("fieldMetadataId"), now))
        }
        "completeFileUpload" => workspace.files.complete(&text("fileId"), now),
        _ => Ok(Json::Null),
    }
}

fn missing(what: &str) -> Refusal {
    let code = if what == "Object" { "OBJECT_METADATA_NOT_FOUND" } else { "FIELD_METADATA_NOT_FOUND" };
    let mut refusal = Refusal::coded(code, format!("{what} metadata not found"));
    refusal.graphql = ("NOT_FOUND", Some(code));
    refusal
}

fn change(workspace: &mut Workspace, name: &str, input: &Json) -> Result<Json, Refusal> {
    let id = input["id"].as_str().unwrap_or_default().to_owned();
    if name.ends_with("OneObject") {
        let number = match name {
            "createOneObject" => workspace.create_object(&input["object"])?,
            _ => workspace.catalog.object_by_id(&id).ok_or_else(|| missing("Object"))?.number,
        };
        if name == "updateOneObject" {
            workspace.update_object(number, &input["update"])?;
        }
        let shown = whole_object(workspace, workspace.catalog.object(number));
        if name == "deleteOneObject" {
            workspace.delete_object(number)?;
        }
        return Ok(shown);
    }
    let number = match name {
        "createOneField" => workspace.create_field(&input["field"])?,
        _ => workspace.catalog.field_by_id(&id).ok_or_else(|| missing("Field"))?.number,
    };
    if name == "updateOneField" {
        workspace.update_field(number, &input["update"])?;
    }
    let shown = field_node(workspace, workspace.catalog.field(number), None);
    if name == "deleteOneField" {
        workspace.delete_field(number)?;
    }
    Ok(shown)
}

/// Writes a field, with its object and its relation as far as they are asked for; without a question, with all of them.
fn field_node(workspace: &Workspace, field: &Field, asked: Option<&Asked>) -> Json {
    let mut node = workspace.show_field_metadata(field);
    let object = |number: u32| workspace.show_object_alone(workspace.catalog.object(number));
    if asked.is_none_or(|asked| asked.child("object").is_some()) {
        node["object"] = object(field.object);
    }
    let below = asked.map(|asked| asked.child("relation"));
    if let (Some(relation), None | Some(Some(_))) = (&field.relation, below) {
        let wants = |name: &str| below.flatten().is_none_or(|below| below.child(name).is_some());
        let mut told = Map::new();
        told.insert("type".into(), json!(if field.is_list() { "ONE_TO_MANY" } else { "MANY_TO_ONE" }));
        for (name, number) in [("sourceObjectMetadata", field.object), ("targetObjectMetadata", relation.target)] {
            if wants(name) {
                told.insert(name.into(), object(number));
            }
        }
        for (name, number) in [("sourceFieldMetadata", field.number), ("targetFieldMetadata", relation.inverse)] {
            if wants(name) {
                told.insert(name.into(), workspace.show_field_metadata(workspace.catalog.field(number)));
            }
        }
        node["relation"] = Json::Object(told);
    }
    node
}

/// Writes an object with all that can be asked of it.
fn whole_object(workspace: &Workspace, object: &Object) -> Json {
    let mut node = workspace.show_object_alone(object);
    let list: Vec<Json> =
        workspace.catalog.fields_of(object.number).map(|field| field_node(workspace, field, None)).collect();
    node["fields"] = connection(list.clone(), 0, list.len());
    node["fieldsList"] = json!(list);
    node
}

/// Writes an object with what was asked of it: the fields are many, and seldom wanted.
fn object_node(workspace: &Workspace, object: &Object, asked: &Asked) -> Json {
    let mut node = workspace.show_object_alone(object);
    if let Some(below) = asked.child("fieldsList") {
        let list = workspace.catalog.fields_of(object.number);
        node["fieldsList"] = list.map(|field| field_node(workspace, field, Some(below))).collect();
    }
    node["fields"] = match asked.child("fields") {
        Some(below) => fields(workspace, below, Some(object.number)),
        None => Json::Null,
    };
    node
}

/// Writes a part of a list, with the cursors that lists of metadata have: places in it.
fn connection(nodes: Vec<Json>, from: usize, total: usize) -> Json {
    let cursor = |at: usize| STANDARD.encode(format!("arrayconnection:{at}"));
    let (first, count) = (from, nodes.len());
    let edge = |(node, at): (Json, usize)| {
        Json::Object(Map::from_iter([("node".into(), node), ("cursor".into(), json!(cursor(at)))]))
    };
    let edges: Json = nodes.into_iter().zip(first..).map(edge).collect();
    let end = if count == 0 { Json::Null } else { json!(cursor(first + count - 1)) };
    let start = if count == 0 { Json::Null } else { json!(cursor(first)) };
    let page = json!({
        "hasNextPage": first + count < total, "hasPreviousPage": first > 0, "startCursor": start, "endCursor": end,
    });
    Json::Object(Map::from_iter([("edges".into(), edges), ("pageInfo".into(), page)]))
}

/// Returns where a page begins and how many it holds.
fn page(asked: &Asked, total: usize) -> (usize, usize) {
    let paging = asked.args.get("paging").cloned().unwrap_or_default();
    let place = |name: &str| {
        let bytes = STANDARD.decode(paging[name].as_str()?).ok()?;
        String::from_utf8(bytes).ok()?.strip_prefix("arrayconnection:")?.parse::<usize>().ok()
    };
    let count = |name: &str| paging[name].as_u64().and_then(|count| usize::try_from(count).ok());
    let until = place("before").unwrap_or(total).min(total);
    if let Some(last) = count("last") {
        let last = last.min(PAGE).min(until);
        return (until - last, last);
    }
    let from = place("after").map_or(0, |after| after + 1).min(until);
    (from, count("first").unwrap_or(10).min(PAGE).min(until - from))
}

/// Decides a filter on flags and ids.
fn meets(shown: &Json, filter: &Json) -> bool {
    filter.as_object().into_iter().flatten().all(|(name, test)| match name.as_str() {
        "and" => test.as_array().into_iter().flatten().all(|item| meets(shown, item)),
        "or" => test.as_array().is_none_or(|items| items.is_empty() || items.iter().any(|item| meets(shown, item))),
        name => test.as_object().into_iter().flatten().all(|(operator, value)| match operator.as_str() {
            "eq" | "is" => &shown[name] == value,
            "neq" | "isNot" => &shown[name] != value,
            "in" => value.as_array().is_some_and(|list| list.contains(&shown[name])),
            "notIn" => value.as_array().is_some_and(|list| !list.contains(&shown[name])),
            _ => true,
        }),
    })
}

/// Returns the question that asks for nothing.
fn nothing_asked() -> Asked {
    Asked { key: String::new(), name: String::new(), args: Map::new(), fields: Vec::new(), line: 0, column: 0 }
}

fn objects(workspace: &Workspace, asked: &Asked) -> Json {
    let filter = asked.args.get("filter").cloned().unwrap_or_default();
    let mut found: Vec<&Object> = workspace.catalog.objects.values().collect();
    found.sort_by(|one, other| other.id.cmp(&one.id));
    found.retain(|object| filter.is_null() || meets(&workspace.show_object_alone(object), &filter));
    let (from, count) = page(asked, found.len());
    let none = nothing_asked();
    let node = asked.child("edges").and_then(|edges| edges.child("node")).unwrap_or(&none);
    let nodes = found[from..from + count].iter().map(|object| object_node(workspace, object, node)).collect();
    connection(nodes, from, found.len())
}

fn fields(workspace: &Workspace, asked: &Asked, of: Option<u32>) -> Json {
    let filter = asked.args.get("filter").cloned().unwrap_or_default();
    let mut found: Vec<&Field> =
        workspace.catalog.fields.values().filter(|field| of.is_none_or(|of| field.object == of)).collect();
    found.sort_by(|one, other| other.id.cmp(&one.id));
    found.retain(|field| filter.is_null() || meets(&workspace.show_field_metadata(field), &filter));
    let (from, count) = page(asked, found.len());
    let none = nothing_asked();
    let node = asked.child("edges").and_then(|edges| edges.child("node")).unwrap_or(&none);
    let nodes = found[from..from + count].iter().map(|field| field_node(workspace, field, Some(node))).collect();
    connection(nodes, from, found.len())
}
