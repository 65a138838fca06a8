//! How does this API page its lists? Says what it recognised and by what, and asks when it does not know: it never guesses.

use std::sync::OnceLock;

use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value as Json;

use super::{
    answer::find,
    paging::{Paging, linked},
};

/// A way of paging that is known from public APIs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shape {
    /// What people call it.
    pub(crate) name: String,
    /// Where the records are.
    pub(crate) records: String,
    /// Places in an answer that must all be there.
    #[serde(default)]
    signs: Vec<String>,
    /// A relation that the `Link` header must have.
    link: Option<String>,
    pub(crate) paging: Paging,
}

#[derive(Debug, Deserialize)]
struct Shapes {
    shape: Vec<Shape>,
}

/// What the first answers of an API show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recognised {
    /// One known shape.
    Shape { name: String, records: String, paging: Paging, evidence: String },
    /// This list shows nothing that tells; another one may.
    Nothing { found: String },
    /// More than one shape fits.
    Several { found: Vec<String> },
}

fn shapes() -> &'static [Shape] {
    static SHAPES: OnceLock<Vec<Shape>> = OnceLock::new();
    SHAPES.get_or_init(|| {
        let shapes: Shapes = toml::from_str(include_str!("../../profiles/rest_shapes.toml"))
            .expect("the shipped list is parsed by a test");
        shapes.shape
    })
}

/// Recognises the shape of one answer.
pub(crate) fn recognise(path: &str, headers: &HeaderMap, body: &Json) -> Recognised {
    let link = headers.get(http::header::LINK).and_then(|link| link.to_str().ok());
    let mut fitting: Vec<&Shape> = shapes()
        .iter()
        .filter(|shape| {
            let linked = shape.link.as_ref().is_none_or(|rel| link.is_some_and(|link| linked(link, rel).is_some()));
            let signs = shape.signs.iter().all(|sign| find(body, sign).is_some());
            linked && signs && find(body, &shape.records).is_some_and(Json::is_array)
        })
        .collect();
    // One that asks for everything another asks for, and more, says more.
    let weight = |shape: &Shape| shape.signs.len() + usize::from(shape.link.is_some());
    let most = fitting.iter().map(|shape| weight(shape)).max().unwrap_or(0);
    let covers = |by: &Shape, other: &Shape| {
        other.signs.iter().all(|sign| by.signs.contains(sign)) && (other.link.is_none() || by.link == other.link)
    };
    if let Some(best) = fitting.iter().find(|shape| weight(shape) == most).copied() {
        fitting.retain(|other| std::ptr::eq(*other, best) || !covers(best, other));
    }
    match fitting.as_slice() {
        [] => Recognised::Nothing { found: format!("{path} answers {}", outline(body)) },
        [shape] => Recognised::Shape {
            name: shape.name.clone(),
            records: shape.records.clone(),
            paging: shape.paging.clone(),
            evidence: match &shape.link {
                Some(rel) => format!("{path}: a Link header with rel={rel}"),
                None => format!("{path}: {}", shape.signs.join(", ")),
            },
        },
        several => Recognised::Several {
            found: several.iter().map(|shape| format!("{path} could be paged by {}", shape.name)).collect(),
        },
    }
}

/// Returns a known shape by its name: how it is paged and where its records are.
pub(crate) fn named(name: &str) -> Option<(Paging, String)> {
    shapes().iter().find(|shape| shape.name == name).map(|shape| (shape.paging.clone(), shape.records.clone()))
}

/// Says what an answer is made of, without its values.
pub(crate) fn outline(body: &Json) -> String {
    fn kind(json: &Json) -> String {
        match json {
            Json::Null => "null".to_owned(),
            Json::Bool(_) => "a flag".to_owned(),
            Json::Number(_) => "a number".to_owned(),
            Json::String(_) => "text".to_owned(),
            Json::Array(all) => format!("a list of {}", all.len()),
            Json::Object(parts) => {
                let shown: Vec<&str> = parts.keys().take(8).map(String::as_str).collect();
                format!("{{{}{}}}", shown.join(", "), if parts.len() > 8 { ", …" } else { "" })
            }
        }
    }
    match body {
        Json::Object(parts) => {
            let shown = parts.iter().take(8).map(|(name, part)| format!("{name}: {}", kind(part)));
            format!("{{ {} }}", shown.collect::<Vec<_>>().join(", "))
        }
        other => kind(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn of(body: &Json, link: Option<&str>) -> Recognised {
        let mut headers = HeaderMap::new();
        if let Some(link) = link {
            headers.insert("link", link.parse().unwrap());
        }
        recognise("/contacts", &headers, body)
    }

    fn name(body: &Json, link: Option<&str>) -> String {
        match of(body, link) {
            Recognised::Shape { name, .. } => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answers_of_public_apis_are_known_by_their_envelope() {
        let row = json!({ "id": 1 });
        let hubspot = json!({ "results": [row], "paging": { "next": { "after": "x", "link": "https://…" } } });
        assert!(name(&hubspot, None).contains("HubSpot"));
        let v2 = json!({ "data": [row], "additional_data": { "next_cursor": null } });
        assert!(name(&v2, None).contains("Pipedrive v2"));
        let v1 = json!({ "data": [row], "additional_data": { "pagination": { "more_items_in_collection": true, "next_start": 1 } } });
        assert!(name(&v1, None).contains("Pipedrive v1"));
        let zoho = json!({ "data": [row], "info": { "page": 1, "count": 1, "more_records": false } });
        assert!(name(&zoho, None).contains("Zoho"));
        let link = "<https://x.example/a?page=2>; rel=\"next\", <https://x.example/a?page=9>; rel=\"last\"";
        assert!(name(&json!([row]), Some(link)).contains("Link"));
    }

    #[test]
    fn what_does_not_tell_is_not_guessed() {
        let Recognised::Nothing { found } = of(&json!([{ "id": 1 }]), None) else {
            panic!("a bare list tells nothing")
        };
        assert!(found.contains("a list of 1"), "{found}");
        assert!(matches!(of(&json!({ "data": [{ "id": 1 }] }), None), Recognised::Nothing { .. }));
        assert!(matches!(of(&json!({ "error": "x" }), None), Recognised::Nothing { .. }));
        let both = json!({ "data": [], "additional_data": { "next_cursor": "a" }, "info": { "page": 1, "more_records": true } });
        let Recognised::Several { found } = of(&both, None) else { panic!("two shapes fit") };
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn the_values_of_an_answer_are_not_told() {
        let told = outline(&json!({ "email": "canary@example.com", "n": [1, 2], "a": { "b": 1 } }));
        assert_eq!(told, "{ email: text, n: a list of 2, a: {b} }");
    }
}
