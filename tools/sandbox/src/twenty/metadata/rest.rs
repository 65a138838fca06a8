//! Metadata by REST, in the format of new workspaces or in the legacy one.

use serde_json::{Map, Value as Json, json};

use super::without_nulls;
use crate::twenty::{
    refusal::Refusal,
    service::{Call, Reply, State, no_route},
    uuid::Uuid,
    workspace::Workspace,
};

/// Which of the two kinds a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noun {
    Object,
    Field,
}

impl Noun {
    fn plural(self) -> &'static str {
        if self == Self::Object { "objects" } else { "fields" }
    }

    fn singular(self) -> &'static str {
        if self == Self::Object { "object" } else { "field" }
    }

    fn capital(self) -> &'static str {
        if self == Self::Object { "Object" } else { "Field" }
    }
}

/// Answers a call to `/rest/metadata/…`.
pub(crate) fn answer(state: &mut State, call: &Call, method: &str, path: &[&str]) -> Result<Reply, Refusal> {
    if !state.workspace.switches.data_model_right {
        return Err(Refusal::permission().with_status(403));
    }
    let noun = match path.first() {
        Some(&"objects") => Noun::Object,
        Some(&"fields") => Noun::Field,
        _ => return Err(no_route(call)),
    };
    let workspace = &mut state.workspace;
    match (method, &path[1..]) {
        ("GET", []) => list(workspace, call, noun),
        ("POST", []) => {
            let body = call.json()?.unwrap_or_else(|| json!({}));
            let number = match noun {
                Noun::Object => workspace.create_object(&body)?,
                Noun::Field => workspace.create_field(&body)?,
            };
            let shown = workspace.entity(noun, number);
            Ok(Reply::json(201, &workspace.wrapped(shown, &format!("createOne{}", noun.capital()))))
        }
        (_, [id]) => {
            let number = find(workspace, noun, id)?;
            match method {
                "GET" => {
                    let shown = without_nulls(workspace.entity(noun, number));
                    Ok(Reply::json(200, &workspace.wrapped(shown, noun.singular())))
                }
                "PATCH" | "PUT" => {
                    let body = call.json()?.unwrap_or_else(|| json!({}));
                    match noun {
                        Noun::Object => workspace.update_object(number, &body)?,
                        Noun::Field => workspace.update_field(number, &body)?,
                    }
                    let shown = workspace.entity(noun, number);
                    Ok(Reply::json(200, &workspace.wrapped(shown, &format!("updateOne{}", noun.capital()))))
                }
                "DELETE" => {
                    let shown = workspace.entity(noun, number);
                    match noun {
                        Noun::Object => workspace.delete_object(number)?,
                        Noun::Field => workspace.delete_field(number)?,
                    }
                    Ok(Reply::json(200, &workspace.wrapped(shown, &format!("deleteOne{}", noun.capital()))))
                }
                _ => Err(no_route(call)),
            }
        }
        _ => Err(no_route(call)),
    }
}

fn find(workspace: &Workspace, noun: Noun, id: &str) -> Result<u32, Refusal> {
    let id = Uuid::parse(id)
        .ok_or_else(|| Refusal::framework(400, "Validation failed (uuid is expected)", "Bad Request"))?
        .to_string();
    let found = match noun {
        Noun::Object => workspace.catalog.object_by_id(&id).map(|object| object.number),
        Noun::Field => workspace.catalog.field_by_id(&id).map(|field| field.number),
    };
    let (code, message) = match noun {
        Noun::Object => ("OBJECT_METADATA_NOT_FOUND", "Object metadata not found"),
        Noun::Field => ("FIELD_METADATA_NOT_FOUND", "Field metadata not found"),
    };
    found.ok_or_else(|| Refusal::coded(code, message).with_status(404))
}

impl Workspace {
    fn entity(&self, noun: Noun, number: u32) -> Json {
        match noun {
            Noun::Object => self.show_object_metadata(self.catalog.object(number)),
            Noun::Field => self.show_field_metadata(self.catalog.field(number)),
        }
    }

    /// Writes an answer bare, or in the wrapper of the legacy format.
    fn wrapped(&self, shown: Json, key: &str) -> Json {
        if self.switches.new_metadata_format {
            return shown;
        }
        let mut data = Map::new();
        data.insert(key.to_owned(), shown);
        json!({ "data": data })
    }
}

/// Lists entities by id, the highest first; cursors are plain ids.
fn list(workspace: &Workspace, call: &Call, noun: Noun) -> Result<Reply, Refusal> {
    let limit = match call.parameter("limit") {
        None => 60,
        Some(text) => {
            let refused = || Refusal::invalid(format!("limit '{text}' is invalid. Should be an integer"));
            text.parse::<usize>().map_err(|_| refused())?.min(200)
        }
    };
    let mut ids: Vec<(&str, u32)> = match noun {
        Noun::Object => workspace.catalog.objects.values().map(|object| (object.id.as_str(), object.number)).collect(),
        Noun::Field => workspace.catalog.fields.values().map(|field| (field.id.as_str(), field.number)).collect(),
    };
    ids.sort_by(|one, other| other.cmp(one));
    let total = ids.len();
    if let Some(after) = call.parameter("starting_after") {
        ids.retain(|(id, _)| *id < after);
    }
    let mut more = false;
    if let Some(before) = call.parameter("ending_before") {
        ids.retain(|(id, _)| *id > before);
        ids.drain(..ids.len().saturating_sub(limit));
    } else {
        more = ids.len() > limit;
        ids.truncate(limit);
    }
    let shown: Vec<Json> = ids.iter().map(|(_, number)| without_nulls(workspace.entity(noun, *number))).collect();
    let page = json!({
        "hasNextPage": more, "startCursor": ids.first().map(|(id, _)| id), "endCursor": ids.last().map(|(id, _)| id),
    });
    let data = if workspace.switches.new_metadata_format { json!(shown) } else { json!({ noun.plural(): shown }) };
    Ok(Reply::json(200, &json!({ "data": data, "pageInfo": page, "totalCount": total })))
}
