//! What a test may ask and do behind the wire: digest, dump, faults, clock, switches, reset.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{
    model::{Kind, field_of, part_of},
    rows::Row,
    scalar::write_time,
    service::{Call, Reply, State},
    uuid::Uuid,
    workspace::{Author, Workspace},
};

/// Columns that say who and when, not what.
const SYSTEM: [&str; 6] = ["createdAt", "updatedAt", "deletedAt", "createdBy", "updatedBy", "position"];

/// `/__sandbox/…`
pub(crate) fn answer(state: &mut State, start: &Workspace, call: &Call) -> Reply {
    let path: Vec<&str> = call.path.iter().skip(1).map(String::as_str).collect();
    let body = || serde_json::from_slice::<Json>(&call.body).unwrap_or_default();
    let refused = |message: String| Reply::json(400, &json!({ "error": message }));
    match (call.method.as_str(), path.as_slice()) {
        ("GET", ["digest"]) => {
            let now = state.clock();
            state.pass(now);
            Reply::json(200, &digest(&state.workspace))
        }
        ("GET", ["dump"]) => {
            let now = state.clock();
            state.pass(now);
            Reply::bytes("application/x-ndjson", dump(&state.workspace, call.parameter("object")).into_bytes())
        }
        ("GET", ["faults"]) => Reply::json(200, &json!(state.faults)),
        ("POST", ["faults"]) => match serde_json::from_slice(&call.body) {
            Ok(faults) => {
                state.faults = faults;
                Reply::json(200, &json!({}))
            }
            Err(error) => refused(error.to_string()),
        },
        ("POST", ["reset"]) => {
            state.reset(start);
            Reply::json(200, &json!({}))
        }
        // How many record operations passed the limit since the start, and how many it refused.
        ("GET", ["requests"]) => Reply::json(200, &json!({ "taken": state.asked.0, "refused": state.asked.1 })),
        ("GET", ["clock"]) => Reply::json(200, &clock(state)),
        // Puts the clock forward; what becomes due on the way is done. `settle` goes as far as the last of it.
        ("POST", ["clock"]) => {
            let body = body();
            let mut by = body["advance_ms"].as_i64().unwrap_or(0).max(0);
            if body["settle"] == json!(true) {
                by = by.max(state.workspace.busy_until().map_or(0, |due| due - state.clock()));
            }
            advance(state, by);
            Reply::json(200, &clock(state))
        }
        ("GET", ["switches"]) => Reply::json(200, &json!(state.workspace.switches)),
        // What differs between servers and versions.
        ("POST", ["switches"]) => {
            let mut merged = json!(state.workspace.switches);
            for (name, value) in body().as_object().into_iter().flatten() {
                merged[name] = value.clone();
            }
            match serde_json::from_value(merged) {
                Ok(switches) => {
                    state.workspace.switches = switches;
                    Reply::json(200, &json!(state.workspace.switches))
                }
                Err(error) => refused(error.to_string()),
            }
        }
        // Revokes the key, or gives it back.
        ("POST", ["key"]) => {
            state.keys.revoked = body()["revoked"] == json!(true);
            Reply::json(200, &json!({ "revoked": state.keys.revoked }))
        }
        // Lets a member, or another key of this name, work in place of the key; without either, the key again.
        ("POST", ["act-as"]) => {
            let body = body();
            if let Some(key) = body["key"].as_str() {
                state.workspace.acting = Some(Author::new("API", key));
                return Reply::json(200, &json!({ "as": key }));
            }
            let email = body["email"].as_str();
            let member = email.and_then(|email| state.workspace.member(email));
            if member.is_none() && email.is_some() {
                return refused("there is no such member".into());
            }
            state.workspace.acting = member;
            Reply::json(200, &json!({ "as": state.workspace.api().name }))
        }
        // A token that expired an hour ago.
        ("GET", ["expired-token"]) => {
            let now = state.clock() / 1_000;
            let token = state.keys.issue(&state.workspace.id, &state.workspace.key.0, now - 7_200, now - 3_600);
            Reply::json(200, &json!({ "token": token }))
        }
        // Somebody accepts an invitation.
        ("POST", ["members"]) => {
            let body = body();
            let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            let workspace = &mut state.workspace;
            let id = body["id"].as_str().map_or_else(|| Uuid::random(&mut workspace.dice).to_string(), str::to_owned);
            let user = Uuid::random(&mut workspace.dice).to_string();
            let author = Author::new("MANUAL", "System");
            let (first, last, email) = (text("firstName"), text("lastName"), text("userEmail"));
            if workspace.put_member(&id, &user, &first, &last, &email, &author) {
                Reply::json(201, &json!({ "id": id }))
            } else {
                refused("the id or the e-mail is not accepted".into())
            }
        }
        _ => Reply::json(404, &json!({ "error": "there is no such door" })),
    }
}

fn clock(state: &State) -> Json {
    json!({ "now": write_time(state.clock()), "now_ms": state.clock() })
}

/// Puts the clock forward.
pub(crate) fn advance(state: &mut State, millis: i64) {
    let until = state.clock() + millis;
    if state.wall {
        state.offset += millis;
    }
    state.pass(until);
}

/// Writes a row in a form that does not depend on when and by whom it was written.
fn canonical(workspace: &Workspace, object: u32, id: Uuid, row: &Row) -> Json {
    let mut cells = BTreeMap::new();
    cells.insert("id".to_owned(), json!(id.to_string()));
    for (at, value) in &row.cells {
        let Some(field) = workspace.catalog.fields.get(&field_of(*at)) else { continue };
        if field.object != object || SYSTEM.contains(&field.name.as_str()) {
            continue;
        }
        let value = match (field.kind, value) {
            // The ids of blocks are made up anew whenever they are derived.
            (Kind::RichText, Json::String(text)) if part_of(*at) == 0 => without_ids(text),
            (_, value) => value.clone(),
        };
        cells.insert(workspace.catalog.col_name(*at), value);
    }
    json!(cells)
}

fn without_ids(blocks: &str) -> Json {
    let Ok(mut blocks) = serde_json::from_str::<Vec<Json>>(blocks) else { return json!(blocks) };
    for block in blocks.iter_mut().filter_map(Json::as_object_mut) {
        block.remove("id");
    }
    json!(blocks)
}

/// Returns the digest: what lives, by object, and what a rollback cannot take away.
pub(crate) fn digest(workspace: &Workspace) -> Json {
    let mut live = blake3::Hasher::new();
    let mut objects = serde_json::Map::new();
    let (mut trash, mut side) = (serde_json::Map::new(), serde_json::Map::new());
    let mut rows = 0;
    let mut order: Vec<u32> = workspace.catalog.objects.keys().copied().collect();
    order.sort_by_key(|object| workspace.catalog.object(*object).singular.clone());
    for object in order {
        let (definition, table) = (workspace.catalog.object(object), workspace.rows.table(object));
        let mut own = blake3::Hasher::new();
        let (mut count, mut binned, mut written) = (0, 0, 0);
        for (id, row) in &table.rows {
            if !table.is_live(row) {
                binned += 1;
            } else if row.automatic {
                written += 1;
            } else {
                own.update(canonical(workspace, object, *id, row).to_string().as_bytes()).update(b"\n");
                count += 1;
            }
        }
        let own = own.finalize();
        if binned > 0 {
            trash.insert(definition.singular.clone(), json!(binned));
        }
        if written > 0 {
            side.insert(definition.singular.clone(), json!(written));
        }
        if count > 0 {
            live.update(definition.singular.as_bytes()).update(own.as_bytes());
            objects.insert(definition.singular.clone(), json!({ "rows": count, "blake3": own.to_hex().to_string() }));
            rows += count;
        }
    }
    let mut setup = blake3::Hasher::new();
    let mut names: Vec<String> = workspace
        .catalog
        .fields
        .values()
        .map(|field| {
            let choices: Vec<&str> = field.options.iter().map(|choice| choice.value.as_str()).collect();
            let object = &workspace.catalog.object(field.object).singular;
            format!("{object}.{}:{}:{}:{}", field.name, field.kind.name(), field.active, choices.join("|"))
        })
        .collect();
    names.sort();
    for name in names {
        setup.update(name.as_bytes()).update(b"\n");
    }
    json!({
        "live": live.finalize().to_hex().to_string(), "live_rows": rows, "objects": objects,
        "setup": setup.finalize().to_hex().to_string(), "residue": { "trash": trash, "side": side },
    })
}

fn dump(workspace: &Workspace, only: Option<&str>) -> String {
    let mut text = String::new();
    for (object, definition) in &workspace.catalog.objects {
        if only.is_some_and(|only| only != definition.singular && only != definition.plural) {
            continue;
        }
        let table = workspace.rows.table(*object);
        for (id, row) in &table.rows {
            let line = json!({
                "object": definition.singular, "live": table.is_live(row), "side": row.automatic,
                "row": canonical(workspace, *object, *id, row),
            });
            text.push_str(&line.to_string());
            text.push('\n');
        }
    }
    text
}
