//! What a test may ask and do behind the wire: digest, dump, faults, reset.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{
    org::Org,
    service::{Call, Reply, Service, locked},
};

impl Service {
    /// `/__sandbox/…`
    pub(crate) fn admin(&self, call: &Call, path: &[&str]) -> Reply {
        match (call.method.as_str(), path) {
            ("GET", ["digest"]) => Reply::json(200, &digest(&self.org())),
            ("GET", ["dump"]) => dump(&self.org(), call.query.get("object").map(String::as_str)),
            ("POST", ["faults"]) => match serde_json::from_slice(&call.body) {
                Ok(faults) => {
                    *locked(&self.faults) = faults;
                    Reply::json(200, &json!({}))
                }
                Err(e) => Reply::error(400, "JSON_PARSER_ERROR", &e.to_string()),
            },
            ("POST", ["reset"]) => {
                self.reset();
                Reply::json(200, &json!({}))
            }
            // Registers the certificate, or the public key, of the connected app: what signed assertions are checked with.
            ("POST", ["certificate"]) => {
                if self.trust(&String::from_utf8_lossy(&call.body)) {
                    Reply::json(200, &json!({}))
                } else {
                    Reply::error(400, "INVALID_REQUEST", "this is no RSA certificate or public key in PEM")
                }
            }
            // The org's switch for audit fields, and whether an upsert that creates may set them, which nobody has documented.
            ("POST", ["audit-fields"]) => {
                let body = serde_json::from_slice::<Json>(&call.body).unwrap_or_default();
                let Some(enabled) = body["enabled"].as_bool() else { return Reply::not_found() };
                let mut org = self.org();
                org.audit_switch = enabled;
                org.audit_on_upsert = body["on_upsert"].as_bool().unwrap_or(false);
                Reply::json(200, &json!({ "enabled": enabled }))
            }
            // How much room the org has.
            ("POST", ["storage"]) => {
                let size = serde_json::from_slice::<Json>(&call.body).ok().and_then(|body| body["kilobytes"].as_u64());
                let Some(size) = size else { return Reply::not_found() };
                self.org().storage_kb = size;
                Reply::json(200, &json!({ "kilobytes": size }))
            }
            // What an administrator keeps in Setup and nobody creates by the API: triggers, flows, rules.
            ("POST", ["setup", object]) => {
                let mut org = self.org();
                let body = serde_json::from_slice::<Json>(&call.body).unwrap_or_default();
                let object = org.find(object).filter(|object| org.objects[*object].setup);
                let (Some(object), Json::Object(fields)) = (object, body) else { return Reply::not_found() };
                let values = fields.iter().filter_map(|(name, value)| {
                    let field = org.objects[object].field(name)?;
                    let value = match value {
                        Json::Bool(flag) => super::org::Val::Bool(*flag),
                        other => super::org::Val::Text(other.as_str()?.into()),
                    };
                    Some((field, Some(value)))
                });
                let values = values.collect();
                match org.insert(object, values) {
                    Ok(id) => Reply::json(201, &json!({ "id": id.to_string() })),
                    Err(error) => Reply::rows(&[error]),
                }
            }
            // Acts as another user from now on: what people do beside a migration.
            ("POST", ["act-as"]) => {
                let email = serde_json::from_slice::<Json>(&call.body)
                    .ok()
                    .and_then(|body| body["email"].as_str().map(str::to_owned));
                let mut org = self.org();
                let found = email.and_then(|email| org.user_by_email(&email));
                match found {
                    Some(user) => {
                        org.user = user;
                        Reply::json(200, &json!({ "user_id": user.to_string() }))
                    }
                    None => Reply::not_found(),
                }
            }
            _ => Reply::not_found(),
        }
    }
}

/// Writes a live row in a form that does not depend on when and by whom it was written.
fn canonical(org: &Org, object: usize, number: u64) -> Json {
    let mut row = BTreeMap::new();
    row.insert("Id".to_owned(), json!(org.id(object, number).to_string()));
    for (at, field) in org.objects[object].fields.iter().enumerate().filter(|(_, field)| !field.system) {
        let value = org.tables[object].rows.get(&number).and_then(|row| row.get(at));
        // A flag that is false and one that was never set are one thing.
        let value = value.filter(|value| **value != super::org::Val::Bool(false));
        if let Some(value) = value {
            row.insert(field.name.clone(), super::validate::json(org, value, &field.kind));
        }
    }
    json!(row)
}

pub(crate) fn digest(org: &Org) -> Json {
    let (mut live, mut setup) = (blake3::Hasher::new(), blake3::Hasher::new());
    let mut objects = serde_json::Map::new();
    let mut residue = serde_json::Map::new();
    let (mut order, mut rows) = ((0..org.objects.len()).collect::<Vec<_>>(), 0);
    order.sort_by_key(|object| org.objects[*object].name.clone());
    for object in order {
        let (definition, table) = (&org.objects[object], &org.tables[object]);
        let mut own = blake3::Hasher::new();
        for (number, _) in table.rows.iter().filter(|(_, row)| !row.deleted) {
            own.update(canonical(org, object, *number).to_string().as_bytes()).update(b"\n");
        }
        let own = own.finalize();
        let bin = table.rows.len() as u64 - table.live;
        if definition.setup {
            setup.update(definition.name.as_bytes()).update(own.as_bytes());
            continue;
        }
        if bin > 0 {
            residue.insert(definition.name.clone(), json!(bin));
        }
        if table.live > 0 {
            live.update(definition.name.as_bytes()).update(own.as_bytes());
            objects.insert(definition.name.clone(), json!({ "rows": table.live, "blake3": own.to_hex().to_string() }));
            rows += table.live;
        }
    }
    for object in &org.objects {
        for field in object.fields.iter().filter(|field| field.custom) {
            setup.update(format!("{}.{}", object.name, field.name).as_bytes());
        }
    }
    json!({
        "live": live.finalize().to_hex().to_string(), "live_rows": rows, "objects": objects,
        "setup": setup.finalize().to_hex().to_string(), "residue": residue,
    })
}

fn dump(org: &Org, only: Option<&str>) -> Reply {
    let mut text = String::new();
    for object in 0..org.objects.len() {
        let name = &org.objects[object].name;
        let wanted = only.map_or(!org.objects[object].setup, |only| only.eq_ignore_ascii_case(name));
        if !wanted {
            continue;
        }
        for (number, _) in org.tables[object].rows.iter().filter(|(_, row)| !row.deleted) {
            let line = json!({ "object": name, "row": canonical(org, object, *number) });
            text.push_str(&line.to_string());
            text.push('\n');
        }
    }
    let mut reply = Reply::csv(text.into_bytes());
    reply.kind = "application/x-ndjson";
    reply
}
