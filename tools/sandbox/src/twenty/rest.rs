//! Records by REST.

use serde_json::{Map, Value as Json, json};

use super::{
    condition::{Compiler, Condition},
    filter,
    model::Object,
    order::Order,
    query::Span,
    refusal::Refusal,
    service::{Call, Reply, State, no_route},
    show::wrapper,
    uuid::Uuid,
    workspace::Workspace,
};

type Answer = Result<Reply, Refusal>;

/// Answers a call to `/rest/…`.
pub(crate) fn answer(state: &mut State, call: &Call, method: &str, path: &[&str]) -> Answer {
    match (method, path) {
        (_, ["webhooks", rest @ ..]) => webhooks(state, call, method, rest),
        (_, ["apiKeys", rest @ ..]) => api_keys(state, method, rest),
        ("POST", ["batch", plural]) => create_many(state, call, plural),
        ("PATCH", ["restore", plural]) => restore(state, call, plural),
        ("POST", [plural, "duplicates"]) => duplicates(state, call, plural),
        ("PATCH", [plural, "merge"]) => merge(state, call, plural),
        ("GET", [plural, "groupBy"]) => group_by(state, call, plural),
        ("GET", [plural]) => list(state, call, plural),
        ("POST", [plural]) => create_one(state, call, plural),
        ("PATCH" | "PUT", [plural]) => update_many(state, call, plural),
        ("DELETE", [plural]) => delete_many(state, call, plural),
        (_, [plural, id]) => {
            let id = Uuid::parse(id).ok_or_else(|| Refusal::invalid(format!("'{id}' is not a valid UUID")))?;
            match method {
                "GET" => get(state, call, plural, id),
                "PATCH" | "PUT" => update_one(state, call, plural, id),
                "DELETE" => delete_one(state, call, plural, id),
                _ => Err(no_route(call)),
            }
        }
        _ => Err(Refusal::invalid(format!(
            "Query path '{}' invalid. Valid examples: /rest/companies/id or /rest/companies or /rest/batch/companies",
            call.address
        ))),
    }
}

fn object<'a>(state: &'a State, plural: &str) -> Result<&'a Object, Refusal> {
    let catalog = &state.workspace.catalog;
    catalog.by_plural(plural).ok_or_else(|| {
        let hint = match catalog.by_singular(plural) {
            Some(object) => format!("Did you mean '{}'?", object.plural),
            None => "eg: companies".into(),
        };
        Refusal::invalid(format!("object '{plural}' not found. {hint}"))
    })
}

fn depth(call: &Call) -> Result<u8, Refusal> {
    match call.parameter("depth") {
        None | Some("0" | "") => Ok(0),
        Some("1") => Ok(1),
        Some(other) => Err(Refusal::invalid(format!("'depth={other}' parameter invalid. Allowed values are 0, 1"))),
    }
}

/// Returns the condition of the `filter` parameter.
fn condition(workspace: &Workspace, call: &Call, object: u32) -> Result<Condition, Refusal> {
    let Some(text) = call.parameter("filter") else { return Ok(Condition::default()) };
    let filter = filter::parse(text)?;
    Compiler { catalog: &workspace.catalog, schema: workspace.schema_name(), loose: true }.compile(object, &filter)
}

/// Returns the body of a write.
fn body(call: &Call) -> Result<Json, Refusal> {
    call.json()?.ok_or_else(|| Refusal::type_error("Cannot read properties of undefined (reading 'position')"))
}

fn data(status: u16, key: String, value: Json) -> Reply {
    let mut data = Map::new();
    data.insert(key, value);
    Reply::json(status, &json!({ "data": data }))
}

impl Workspace {
    /// Writes records, in this order.
    pub(crate) fn show_all(&self, object: u32, ids: &[Uuid], depth: u8) -> Json {
        ids.iter().map(|id| self.show(object, *id, depth)).collect()
    }
}

fn limit(call: &Call, cap: usize) -> Result<usize, Refusal> {
    match call.parameter("limit") {
        None => Ok(60.min(cap)),
        Some(text) => {
            let refused = || Refusal::invalid(format!("limit '{text}' is invalid. Should be an integer"));
            Ok(text.parse::<usize>().map_err(|_| refused())?.min(cap))
        }
    }
}

fn list(state: &mut State, call: &Call, plural: &str) -> Answer {
    let (number, plural) = object(state, plural).map(|object| (object.number, object.plural.clone()))?;
    let depth = depth(call)?;
    let limit = limit(call, state.workspace.switches.cap)?;
    let span = Span {
        limit,
        after: call.parameter("starting_after").map(str::to_owned),
        before: call.parameter("ending_before").map(str::to_owned),
        ..Span::default()
    };
    state.take_token()?;
    let workspace = &state.workspace;
    let condition = condition(workspace, call, number)?;
    let order = Order::parse(&workspace.catalog, number, call.parameter("order_by").unwrap_or_default())?;
    let page = workspace.page(number, &condition, &order, &span)?;
    let records = workspace.show_all(number, &page.ids, depth);
    Ok(Reply::json(
        200,
        &json!({
            "data": { plural: records },
            "totalCount": page.total,
            "pageInfo": {
                "startCursor": page.start, "endCursor": page.end, "hasNextPage": page.next, "hasPreviousPage": page.previous,
            },
        }),
    ))
}

fn get(state: &mut State, call: &Call, plural: &str, id: Uuid) -> Answer {
    let (number, singular) = object(state, plural).map(|object| (object.number, object.singular.clone()))?;
    let depth = depth(call)?;
    state.take_token()?;
    state.workspace.find(number, id)?;
    Ok(data(200, singular, state.workspace.show(number, id, depth)))
}

fn create_one(state: &mut State, call: &Call, plural: &str) -> Answer {
    let (number, key) = object(state, plural).map(|object| (object.number, wrapper("create", &object.singular)))?;
    let depth = depth(call)?;
    let body = body(call)?;
    state.take_token()?;
    let author = state.workspace.api();
    let ids = state.workspace.create(number, &[body], call.flag("upsert"), &author)?;
    let record = ids.first().map_or(Json::Null, |id| state.workspace.show(number, *id, depth));
    Ok(data(201, key, record))
}

fn create_many(state: &mut State, call: &Call, plural: &str) -> Answer {
    let (number, key) = object(state, plural).map(|object| (object.number, wrapper("create", &object.plural)))?;
    let depth = depth(call)?;
    let Json::Array(bodies) = body(call)? else {
        return Err(Refusal::type_error("args.data.forEach is not a function"));
    };
    state.take_token()?;
    let author = state.workspace.api();
    let upsert = call.flag("upsert");
    // The updates of an upsert are committed before its inserts begin; this is where it breaks.
    if upsert && crate::countdown::take(&mut state.faults.partial_upserts) {
        let known: Vec<Json> = bodies
            .iter()
            .filter(|body| {
                let draft = body.as_object().map(|body| state.workspace.draft(number, body));
                draft.and_then(Result::ok).is_some_and(|draft| state.workspace.is_known(number, &draft))
            })
            .cloned()
            .collect();
        state.workspace.create(number, &known, true, &author)?;
        return Ok(Reply::json(500, &json!({ "statusCode": 500, "message": "Internal server error" })));
    }
    let ids = state.workspace.create(number, &bodies, upsert, &author)?;
    Ok(data(201, key, state.workspace.show_all(number, &ids, depth)))
}

fn update_one(state: &mut State, call: &Call, plural: &str, id: Uuid) -> Answer {
    let (number, key) = object(state, plural).map(|object| (object.number, wrapper("update", &object.singular)))?;
    let depth = depth(call)?;
    let body = body(call)?;
    state.take_token()?;
    let author = state.workspace.api();
    let id = state.workspace.update(number, id, &body, &author)?;
    Ok(data(200, key, state.workspace.show(number, id, depth)))
}

fn update_many(state: &mut State, call: &Call, plural: &str) -> Answer {
    let (number, key) = object(state, plural).map(|object| (object.number, wrapper("update", &object.plural)))?;
    let depth = depth(call)?;
    let body = body(call)?;
    state.take_token()?;
    let condition = condition(&state.workspace, call, number)?;
    let author = state.workspace.api();
    let ids = state.workspace.update_all(number, &condition, &body, &author)?;
    Ok(data(200, key, state.workspace.show_all(number, &ids, depth)))
}

fn delete_one(state: &mut State, call: &Call, plural: &str, id: Uuid) -> Answer {
    let (number, key) = object(state, plural).map(|object| (object.number, wrapper("delete", &object.singular)))?;
    state.take_token()?;
    let author = state.workspace.api();
    if state.workspace.rows.get(number, id).is_none() {
        return Err(Refusal::not_found());
    }
    if call.flag("soft_delete") {
        state.workspace.trash(number, &[id], &author)?;
        return Ok(data(200, key, state.workspace.show(number, id, 0)));
    }
    state.workspace.destroy(number, &[id], &author)?;
    Ok(data(200, key, json!({ "id": id.to_string() })))
}

fn delete_many(state: &mut State, call: &Call, plural: &str) -> Answer {
    let (number, key) = object(state, plural).map(|object| (object.number, wrapper("delete", &object.plural)))?;
    let soft = call.flag("soft_delete");
    state.take_token()?;
    let condition = condition(&state.workspace, call, number)?;
    if condition.is_empty() {
        let kind = if soft { "delete" } else { "destroy" };
        return Err(Refusal::invalid(format!(
            "Filters are mandatory for bulk {kind} operations. Please provide at least one filter to prevent accidental deletion of all records."
        )));
    }
    let author = state.workspace.api();
    let ids = state.workspace.all_matching(number, &condition);
    if soft {
        state.workspace.trash(number, &ids, &author)?;
        return Ok(data(200, key, state.workspace.show_all(number, &ids, 0)));
    }
    state.workspace.destroy(number, &ids, &author)?;
    Ok(data(200, key, ids.iter().map(|id| json!({ "id": id.to_string() })).collect()))
}

fn restore(state: &mut State, call: &Call, plural: &str) -> Answer {
    let (number, key) = object(state, plural).map(|object| (object.number, wrapper("restore", &object.plural)))?;
    let depth = depth(call)?;
    state.take_token()?;
    let condition = condition(&state.workspace, call, number)?;
    let ids = state.workspace.restore_all(number, &condition)?;
    Ok(data(200, key, state.workspace.show_all(number, &ids, depth)))
}

impl Workspace {
    /// Takes out of the trash what a condition meets, and returns what it still meets afterwards: asked for trashed rows, none.
    pub(crate) fn restore_all(&mut self, object: u32, condition: &Condition) -> Result<Vec<Uuid>, Refusal> {
        let author = self.api();
        let mut ids = self.all_matching(object, condition);
        self.restore(object, &ids, &author)?;
        ids.retain(|id| self.rows.get(object, *id).is_some_and(|row| condition.meets(&self.catalog, &self.rows, row)));
        Ok(ids)
    }
}

fn duplicates(state: &mut State, call: &Call, plural: &str) -> Answer {
    let (number, key) =
        object(state, plural).map(|object| (object.number, format!("{}Duplicates", object.singular)))?;
    let depth = depth(call)?;
    let body = body(call)?;
    state.take_token()?;
    let pages = state.workspace.find_duplicates(number, body.get("data"), body.get("ids"))?;
    let pages: Vec<Json> = pages
        .into_iter()
        .map(|page| {
            let records = state.workspace.show_all(number, &page.ids, depth);
            json!({
                key.clone(): records, "totalCount": page.total,
                "pageInfo": {
                    "hasNextPage": page.next, "hasPreviousPage": page.previous, "startCursor": page.start, "endCursor": page.end,
                },
            })
        })
        .collect();
    Ok(Reply::json(200, &json!({ "data": pages })))
}

fn merge(state: &mut State, call: &Call, plural: &str) -> Answer {
    let (number, key) = object(state, plural).map(|object| (object.number, wrapper("merge", &object.singular)))?;
    let depth = depth(call)?;
    let body = body(call)?;
    state.take_token()?;
    let priority = body["conflictPriorityIndex"].as_u64().and_then(|at| usize::try_from(at).ok()).unwrap_or(0);
    let record = state.workspace.merge(number, &body["ids"], priority, body["dryRun"] == json!(true), depth)?;
    Ok(data(200, key, record))
}

fn group_by(state: &mut State, call: &Call, plural: &str) -> Answer {
    let number = object(state, plural)?.number;
    let read = |name: &str| -> Result<Json, Refusal> {
        let Some(text) = call.parameter(name) else { return Ok(Json::Null) };
        serde_json::from_str(text).map_err(|_| Refusal::invalid(format!("'{name}' invalid. It should be a JSON array")))
    };
    let (groups, aggregate) = (read("group_by")?, read("aggregate")?);
    let limit = limit(call, state.workspace.switches.cap)?;
    state.take_token()?;
    let condition = condition(&state.workspace, call, number)?;
    let names: Vec<String> =
        aggregate.as_array().into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    let grouped = state.workspace.group(number, &condition, &groups)?;
    let mut answers = Vec::new();
    for group in grouped.into_iter().take(limit) {
        let mut answer = Map::new();
        answer.insert("groupByDimensionValues".into(), json!(group.values));
        for name in &names {
            answer.insert(name.clone(), state.workspace.aggregate(number, &group.ids, name)?);
        }
        if call.flag("include_records_sample") {
            let sample: Vec<Uuid> = group.ids.iter().take(10).copied().collect();
            answer.insert(plural.to_owned(), state.workspace.show_all(number, &sample, 0));
        }
        answers.push(Json::Object(answer));
    }
    Ok(Reply::json(200, &Json::Array(answers)))
}

fn webhooks(state: &mut State, call: &Call, method: &str, path: &[&str]) -> Answer {
    let missing = || Refusal::framework(404, "Webhook not found", "Not Found");
    let workspace = &mut state.workspace;
    match (method, path) {
        ("GET", []) => Ok(Reply::json(200, &workspace.webhooks())),
        ("POST", []) => Ok(Reply::json(201, &workspace.create_webhook(&body(call)?)?)),
        ("GET", [id]) => Ok(Reply::json(200, &workspace.webhook(id).ok_or_else(missing)?)),
        ("PATCH", [id]) => Ok(Reply::json(200, &workspace.update_webhook(id, &body(call)?).ok_or_else(missing)?)),
        ("DELETE", [id]) if workspace.delete_webhook(id) => Ok(Reply::json(200, &json!(true))),
        ("DELETE", [_]) => Err(missing()),
        _ => Err(no_route(call)),
    }
}

/// Keys may be read by a key, and neither made nor revoked.
fn api_keys(state: &State, method: &str, path: &[&str]) -> Answer {
    let workspace = &state.workspace;
    let revoked = if state.keys.revoked { json!(super::scalar::write_time(workspace.now)) } else { Json::Null };
    let key = json!({
        "id": workspace.key.0, "name": workspace.key.1, "expiresAt": "2126-01-01T00:00:00.000Z", "revokedAt": revoked,
    });
    if method == "GET" && !workspace.switches.keys_right {
        return Err(Refusal::permission().with_status(403));
    }
    match (method, path) {
        ("GET", []) => Ok(Reply::json(200, &json!([key]))),
        ("GET", [id]) if *id == workspace.key.0 => Ok(Reply::json(200, &key)),
        ("GET", [_]) => Err(Refusal::framework(404, "Api key not found", "Not Found")),
        _ => Err(Refusal::coded("FORBIDDEN_EXCEPTION", "This endpoint requires a session access token")),
    }
}
