//! Reading an answer: dotted paths into JSON, and what the columns of a record are made of.

use serde_json::{Map, Value as Json};

use super::description::{FieldFrom, Stream};
use crate::bundle::json::plain;

/// Returns what is at a dotted path, such as `meta.next` or `ids[0]`; `$` is the whole. A name with a dot in it is found too.
pub(crate) fn find<'a>(json: &'a Json, path: &str) -> Option<&'a Json> {
    let path = path.strip_prefix('$').map_or(path, |rest| rest.strip_prefix('.').unwrap_or(rest));
    if path.is_empty() {
        return Some(json);
    }
    if let Json::Object(parts) = json
        && let Some(found) = parts.get(path)
    {
        return Some(found);
    }
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let (name, index) = match name.split_once('[') {
        Some((name, index)) => (name, Some(index.strip_suffix(']')?.parse::<usize>().ok()?)),
        None => (name, None),
    };
    let mut found = if name.is_empty() { json } else { json.get(name)? };
    if let Some(index) = index {
        found = found.get(index)?;
    }
    find(found, rest)
}

/// Puts a value at a dotted path, making the objects on the way.
pub(crate) fn put(json: &mut Json, path: &str, value: Json) {
    if !json.is_object() {
        *json = Json::Object(Map::new());
    }
    let Json::Object(parts) = json else { return };
    match path.split_once('.') {
        None => {
            parts.insert(path.to_owned(), value);
        }
        Some((name, rest)) => put(parts.entry(name.to_owned()).or_insert(Json::Null), rest, value),
    }
}

/// Returns the records of an answer. A single object where a list should be is a list of one (Actimo answers so).
pub(crate) fn records(body: Json, path: &str) -> Option<Vec<Json>> {
    let found = if path == "$" { body } else { find(&body, path)?.clone() };
    match found {
        Json::Array(all) => Some(all),
        one @ Json::Object(_) if path != "$" => Some(vec![one]),
        _ => None,
    }
}

/// Gives a record the columns that the description finds elsewhere in it. Everything else stays as it is.
pub(crate) fn arrange(record: Json, stream: &Stream) -> Json {
    if stream.fields.is_empty() {
        return record;
    }
    let mut found = Vec::new();
    let mut used = Vec::new();
    for (column, from) in &stream.fields {
        match from {
            FieldFrom::Path(path) => {
                if let Some(value) = find(&record, path) {
                    found.push((column.clone(), value.clone()));
                }
                if path != column {
                    used.push(path.clone());
                }
            }
            FieldFrom::Pairs { each, key, value } => {
                for pair in find(&record, each).and_then(Json::as_array).into_iter().flatten() {
                    if let Some(name) = find(pair, key).and_then(plain) {
                        let value = find(pair, value).cloned().unwrap_or(Json::Null);
                        found.push((column.replacen('*', &name, 1), value));
                    }
                }
                used.push(each.clone());
            }
        }
    }
    let Json::Object(mut parts) = record else { return record };
    for path in used {
        parts.remove(&path);
    }
    parts.extend(found);
    Json::Object(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_lead_through_objects_and_lists() {
        let body = json!({ "a": { "b": [{ "c": 1 }, { "c": null }] }, "x.y": 2 });
        assert_eq!(find(&body, "a.b[0].c"), Some(&json!(1)));
        assert_eq!(find(&body, "a.b[1].c"), Some(&Json::Null));
        assert_eq!(find(&body, "$.a.b[2]"), None);
        assert_eq!(find(&body, "x.y"), Some(&json!(2)));
        assert_eq!(find(&body, "$"), Some(&body));
        let mut empty = Json::Null;
        put(&mut empty, "pagination.starting_after", json!("m"));
        assert_eq!(empty, json!({ "pagination": { "starting_after": "m" } }));
    }

    #[test]
    fn records_are_a_list_or_one() {
        assert_eq!(records(json!([1]), "$"), Some(vec![json!(1)]));
        assert_eq!(records(json!({ "data": [1, 2] }), "data").map(|all| all.len()), Some(2));
        assert_eq!(records(json!({ "data": { "id": 1 } }), "data").map(|all| all.len()), Some(1));
        assert_eq!(records(json!({ "data": null }), "data"), None);
        assert_eq!(records(json!({ "error": "x" }), "$"), None);
    }

    #[test]
    fn columns_are_found_where_the_description_says() {
        let text = "name='p'\npath='/p'\n[fields]\nowner_id='team_member_ids[0]'\n\"cf_*\"={each='custom',key='id',value='value'}";
        let Ok(stream) = toml::from_str::<Stream>(text) else { panic!("the stream parses") };
        let record =
            json!({ "id": 1, "team_member_ids": [7, 8], "custom": [{ "id": 3, "value": "x" }], "city": "Bergen" });
        let made = arrange(record, &stream);
        assert_eq!(made, json!({ "id": 1, "team_member_ids": [7, 8], "city": "Bergen", "cf_3": "x", "owner_id": 7 }));
    }
}
