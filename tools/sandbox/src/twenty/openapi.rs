//! The OpenAPI documents, written from the metadata as it is now.

use serde_json::{Map, Value as Json, json};

use super::{
    model::{Field, Kind, Object, Part, capital},
    show::wrapper,
    workspace::Workspace,
};

/// Which schema of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Create,
    Update,
    Response,
}

fn head(workspace: &Workspace, path: &str) -> Map<String, Json> {
    let mut document = Map::new();
    document.insert("openapi".into(), json!("3.1.1"));
    document.insert(
        "info".into(),
        json!({
            "title": "Twenty Api",
            "description": "Call the **REST API** with `Authorization: Bearer <token>`.",
            "termsOfService": "https://github.com/twentyhq/twenty?tab=coc-ov-file#readme",
            "contact": { "email": "felix@twenty.com" },
            "license": { "name": "AGPL-3.0", "url": "https://github.com/twentyhq/twenty?tab=License-1-ov-file#readme" },
            "version": "v0.1",
        }),
    );
    let servers =
        json!([{ "url": format!("{}/{path}", workspace.files.base), "description": "Production Development" }]);
    document.insert("servers".into(), servers);
    document
}

fn responses(status: &str, schema: Json) -> Json {
    json!({
        status: { "description": "Successful operation", "content": { "application/json": { "schema": schema } } },
        "400": { "$ref": "#/components/responses/400" }, "401": { "$ref": "#/components/responses/401" },
    })
}

fn parameters(names: &[&str]) -> Json {
    names.iter().map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })).collect()
}

fn body(schema: &str, list: bool) -> Json {
    let one = json!({ "$ref": format!("#/components/schemas/{schema}") });
    let schema = if list { json!({ "type": "array", "items": one }) } else { one };
    json!({ "description": "body", "required": true, "content": { "application/json": { "schema": schema } } })
}

fn data(key: &str, schema: Json) -> Json {
    json!({ "type": "object", "properties": { "data": { "type": "object", "properties": { key: schema } } } })
}

fn shared_parameters(cap: usize) -> Json {
    let query = |name: &str, description: &str, schema: Json| json!({ "name": name, "in": "query", "description": description, "required": false, "schema": schema });
    let text = json!({ "type": "string" });
    json!({
        "idPath": { "name": "id", "in": "path", "description": "Object id.", "required": true, "schema": { "type": "string", "format": "uuid" } },
        "startingAfter": query("starting_after", "Returns objects starting after a specific cursor.", text.clone()),
        "endingBefore": query("ending_before", "Returns objects ending before a specific cursor.", text.clone()),
        "filter": query("filter", "Format: field[COMPARATOR]:value,field2[COMPARATOR]:value2.", text.clone()),
        "depth": query("depth", "How many levels of related objects are included.", json!({ "type": "integer", "enum": [0, 1], "default": 1 })),
        "upsert": query("upsert", "If true, creates the object or updates it if it already exists.", json!({ "type": "boolean", "default": false })),
        "softDelete": query("soft_delete", "If true, soft deletes the objects.", json!({ "type": "boolean", "default": false })),
        "orderBy": query("order_by", "Format: field_name_1,field_name_2[DIRECTION_2]", text.clone()),
        "limit": query("limit", "Limits the number of objects returned.", json!({ "type": "integer", "minimum": 0, "maximum": cap, "default": 60 })),
        "groupBy": query("group_by", "Array of fields to group by.", text.clone()),
        "viewId": query("view_id", "View ID to apply filters from.", json!({ "type": "string", "format": "uuid" })),
        "aggregate": query("aggregate", "Array of aggregate operations to compute for each group.", text.clone()),
        "includeRecordsSample": query("include_records_sample", "If true, includes a sample of records for each group.", json!({ "type": "boolean", "default": false })),
        "orderByForRecords": query("order_by_for_records", "Order of the records of each group.", text),
    })
}

fn part_schema(kind: Kind, part: Part) -> Json {
    match part {
        Part::Number | Part::Micros => json!({ "type": "number" }),
        Part::Json => json!({ "type": "object" }),
        Part::List if kind == Kind::Links => json!({
            "type": "array",
            "items": { "type": "object", "properties": { "url": { "type": "string", "format": "uri" }, "label": { "type": "string" } } },
        }),
        Part::List if kind == Kind::Emails => {
            json!({ "type": "array", "items": { "type": "string", "format": "email" } })
        }
        Part::List => json!({ "type": "array", "items": { "type": "object" } }),
        _ => json!({ "type": "string" }),
    }
}

fn field_schema(field: &Field) -> Json {
    let values: Vec<&str> = field.options.iter().map(|choice| choice.value.as_str()).collect();
    let parts = field.kind.parts();
    let mut schema = match field.kind {
        Kind::Number | Kind::Position => json!({ "type": "number" }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Date => json!({ "type": "string", "format": "date" }),
        Kind::DateTime => json!({ "type": "string", "format": "date-time" }),
        Kind::Uuid => json!({ "type": "string", "format": "uuid" }),
        Kind::Select | Kind::Rating => json!({ "type": "string", "enum": values }),
        Kind::MultiSelect => json!({ "type": "array", "items": { "type": "string", "enum": values } }),
        Kind::Array => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::RawJson => json!({ "type": "object" }),
        Kind::Files => json!({
            "type": "array",
            "items": { "type": "object", "properties": { "fileId": { "type": "string", "format": "uuid" }, "label": { "type": "string" } } },
        }),
        _ if !parts.is_empty() => {
            let properties: Map<String, Json> =
                parts.iter().map(|(name, part)| ((*name).to_owned(), part_schema(field.kind, *part))).collect();
            json!({ "type": "object", "properties": properties })
        }
        _ => json!({ "type": "string" }),
    };
    if !field.description.is_null() {
        schema["description"] = field.description.clone();
    }
    schema
}

fn object_schema(workspace: &Workspace, object: &Object, purpose: Use) -> Json {
    let mut properties = Map::new();
    for field in workspace.catalog.fields_of(object.number).filter(|field| field.active) {
        let (list, response) = (field.is_list(), purpose == Use::Response);
        if field.kind == Kind::TsVector
            || !response && (list || field.system && !["position", "createdBy"].contains(&field.name.as_str()))
        {
            continue;
        }
        if let Some(relation) = &field.relation {
            let target = workspace.catalog.object(relation.target).type_name();
            let one = json!({ "$ref": format!("#/components/schemas/{target}ForResponse") });
            if list {
                properties.insert(field.name.clone(), json!({ "type": "array", "items": one }));
                continue;
            }
            properties.insert(field.join(), json!({ "type": "string", "format": "uuid" }));
            if response {
                properties.insert(field.name.clone(), json!({ "type": "object", "oneOf": [one] }));
            }
            continue;
        }
        properties.insert(field.name.clone(), field_schema(field));
    }
    json!({ "type": "object", "description": object.description, "properties": properties })
}

/// Writes the document of the records.
pub(crate) fn core(workspace: &Workspace) -> Json {
    let mut objects: Vec<&Object> = workspace.catalog.objects.values().filter(|object| object.active).collect();
    objects.sort_by(|one, other| one.plural.cmp(&other.plural));
    let (mut schemas, mut paths) = (Map::new(), Map::new());
    let mut tags = vec![json!({ "name": "General", "description": "General requests" })];
    for object in objects {
        let name = object.type_name();
        for (suffix, purpose) in [("", Use::Create), ("ForUpdate", Use::Update), ("ForResponse", Use::Response)] {
            schemas.insert(format!("{name}{suffix}"), object_schema(workspace, object, purpose));
        }
        let description = format!("Object `{}`", object.plural_type_name());
        tags.push(json!({ "name": object.plural, "description": description }));
        object_paths(&mut paths, object);
    }
    let mut document = head(workspace, "rest/");
    let error = |message: &str, error: &str, status: u16| {
        json!({
            "description": error,
            "content": { "application/json": { "schema": {
                "type": "object",
                "properties": { "statusCode": { "type": "number" }, "messages": { "type": "array", "items": { "type": "string" } }, "error": { "type": "string" } },
                "example": { "statusCode": status, "message": message, "error": error },
            } } },
        })
    };
    document.insert(
        "components".into(),
        json!({
            "securitySchemes": { "bearerAuth": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
            "schemas": schemas, "parameters": shared_parameters(workspace.switches.cap),
            "responses": { "400": error("error message", "Bad Request", 400), "401": error("Token invalid.", "Unauthorized", 401) },
        }),
    );
    document.insert("security".into(), json!([{ "bearerAuth": [] }]));
    document.insert(
        "externalDocs".into(),
        json!({ "description": "Find out more about **Twenty**", "url": "https://twenty.com" }),
    );
    document.insert("paths".into(), Json::Object(paths));
    document.insert("tags".into(), json!(tags));
    Json::Object(document)
}

fn object_paths(paths: &mut Map<String, Json>, object: &Object) {
    let (one, many, name) = (&object.singular, &object.plural, object.type_name());
    let tag = json!([many]);
    let shown = json!({ "$ref": format!("#/components/schemas/{name}ForResponse") });
    let list = json!({ "type": "array", "items": shown });
    let ids = json!({ "type": "object", "properties": { "id": { "type": "string", "format": "uuid" } } });
    let operation = |summary: &str, id: &str, names: &[&str], request: Option<Json>, responses: Json| {
        let mut operation = json!({
            "tags": tag, "summary": summary, "operationId": id, "parameters": parameters(names), "responses": responses,
        });
        if let Some(request) = request {
            operation["requestBody"] = request;
        }
        operation
    };
    let (title, plural) = (capital(one), capital(many));
    let mut found = data(many, list.clone());
    found["properties"]["pageInfo"] = json!({
        "type": "object",
        "properties": { "hasNextPage": { "type": "boolean" }, "startCursor": { "type": "string" }, "endCursor": { "type": "string" } },
    });
    found["properties"]["totalCount"] = json!({ "type": "integer" });
    paths.insert(
        format!("/{many}"),
        json!({
            "get": operation(&format!("Find Many {many}"), &format!("findMany{plural}"), &["orderBy", "filter", "limit", "depth", "startingAfter", "endingBefore"], None, responses("200", found)),
            "post": operation(&format!("Create One {one}"), &format!("createOne{title}"), &["depth", "upsert"], Some(body(&name, false)), responses("201", data(&wrapper("create", one), shown.clone()))),
            "delete": operation(&format!("Delete Many {many}"), &format!("deleteMany{plural}"), &["filter", "softDelete"], None, responses("200", data(&wrapper("delete", many), json!({ "type": "array", "items": ids })))),
            "patch": operation(&format!("Update Many {many}"), &format!("updateMany{plural}"), &["depth", "filter"], Some(body(&format!("{name}ForUpdate"), false)), responses("200", data(&wrapper("update", many), list.clone()))),
        }),
    );
    paths.insert(
        format!("/batch/{many}"),
        json!({ "post": operation(&format!("Create Many {many}"), &format!("createMany{plural}"), &["depth", "upsert"], Some(body(&name, true)), responses("201", data(&wrapper("create", many), list.clone()))) }),
    );
    paths.insert(
        format!("/{many}/{{id}}"),
        json!({
            "get": operation(&format!("Find One {one}"), &format!("findOne{title}"), &["idPath", "depth"], None, responses("200", data(one, shown.clone()))),
            "delete": operation(&format!("Delete One {one}"), &format!("deleteOne{title}"), &["idPath", "softDelete"], None, responses("200", data(&wrapper("delete", one), ids))),
            "patch": operation(&format!("Update One {one}"), &format!("updateOne{title}"), &["idPath", "depth"], Some(body(&format!("{name}ForUpdate"), false)), responses("200", data(&wrapper("update", one), shown.clone()))),
        }),
    );
    paths.insert(
        format!("/{many}/duplicates"),
        json!({ "post": operation(&format!("Find {one} Duplicates"), &format!("find{title}Duplicates"), &["depth"], None, responses("200", json!({ "type": "object", "properties": { "data": { "type": "array", "items": { "type": "object" } } } }))) }),
    );
    paths.insert(
        format!("/restore/{many}/{{id}}"),
        json!({ "patch": operation(&format!("Restore One {one}"), &format!("restoreOne{title}"), &["idPath", "depth"], None, responses("200", data(&wrapper("restore", one), shown.clone()))) }),
    );
    paths.insert(
        format!("/restore/{many}"),
        json!({ "patch": operation(&format!("Restore Many {many}"), &format!("restoreMany{plural}"), &["depth", "filter"], None, responses("200", data(&wrapper("restore", many), list))) }),
    );
    paths.insert(
        format!("/{many}/merge"),
        json!({ "patch": operation(&format!("Merge Many {many}"), &format!("mergeMany{plural}"), &["depth"], None, responses("200", data(&wrapper("merge", one), shown))) }),
    );
    paths.insert(
        format!("/{many}/groupBy"),
        json!({ "get": operation(&format!("Group By {many}"), &format!("groupBy{plural}"), &["groupBy", "filter", "orderBy", "limit", "viewId", "aggregate", "includeRecordsSample", "orderByForRecords"], None, responses("200", json!({ "type": "array", "items": { "type": "object" } }))) }),
    );
}

/// Writes the document of the metadata.
pub(crate) fn metadata(workspace: &Workspace) -> Json {
    let mut paths = Map::new();
    for (plural, name) in [("objects", "Object"), ("fields", "Field"), ("webhooks", "Webhook"), ("apiKeys", "ApiKey")] {
        let shown = json!({ "type": "object" });
        let list = json!({ "type": "object", "properties": { "data": { "type": "array", "items": shown } } });
        let operation = |verb: &str, status: &str, schema: &Json| json!({ "tags": [plural], "summary": format!("{verb} {name}"), "operationId": format!("{}{name}", verb.replace(' ', "")), "responses": responses(status, schema.clone()) });
        paths.insert(
            format!("/{plural}"),
            json!({ "get": operation("Find Many", "200", &list), "post": operation("Create One", "201", &shown) }),
        );
        paths.insert(
            format!("/{plural}/{{id}}"),
            json!({
                "get": operation("Find One", "200", &shown), "patch": operation("Update One", "200", &shown),
                "delete": operation("Delete One", "200", &shown),
            }),
        );
    }
    let mut document = head(workspace, "rest/metadata/");
    document.insert("security".into(), json!([{ "bearerAuth": [] }]));
    document.insert("paths".into(), Json::Object(paths));
    Json::Object(document)
}
