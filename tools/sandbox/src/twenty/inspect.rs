//! Values as the server's messages quote them: the way Node prints a value for a developer.

use serde_json::Value as Json;

/// Writes a value: `'text'`, `5`, `{ a: 1 }`, `[ 'RED' ]`; what lies deeper than two levels is `[Object]`.
pub(crate) fn inspect(value: &Json) -> String {
    deep(value, 0)
}

fn deep(value: &Json, depth: usize) -> String {
    match value {
        Json::Null => "null".into(),
        Json::Bool(flag) => flag.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => format!("'{text}'"),
        Json::Array(list) if list.is_empty() => "[]".into(),
        Json::Array(_) if depth > 2 => "[Array]".into(),
        Json::Array(list) => {
            let items: Vec<String> = list.iter().map(|item| deep(item, depth + 1)).collect();
            format!("[ {} ]", items.join(", "))
        }
        Json::Object(map) if map.is_empty() => "{}".into(),
        Json::Object(_) if depth > 2 => "[Object]".into(),
        Json::Object(map) => {
            let items: Vec<String> =
                map.iter().map(|(key, item)| format!("{key}: {}", deep(item, depth + 1))).collect();
            format!("{{ {} }}", items.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::inspect;

    #[test]
    fn values_are_quoted_as_node_quotes_them() {
        assert_eq!(inspect(&json!(["GREEN"])), "[ 'GREEN' ]");
        assert_eq!(inspect(&json!({ "a": { "b": 1 } })), "{ a: { b: 1 } }");
        assert_eq!(inspect(&json!({ "a": [{ "b": { "c": 1 } }] })), "{ a: [ { b: [Object] } ] }");
    }
}
