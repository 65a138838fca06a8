//! The objects that every workspace has, read from `standard.model`.
//!
//! One object a paragraph: `singular plural words…`, then a field a line: `name TYPE words…`, `name > object clear|cascade` for
//! a relation to one (`>>` for one side of a morph relation), `name < object.field` for its other side. `@first`, `@signed` and
//! `@name` stand for the fields that all objects have. Types, defaults, options and what happens on destroy are those that a
//! freshly activated 2.21 workspace tells on `/rest/metadata/objects`.

use serde_json::{Value as Json, json};

use super::model::{Catalog, Choice, Field, Kind, Object, OnDestroy, Relation, Side, capital, stable_id, title};

const MODEL: &str = include_str!("standard.model");

/// Makes the catalog of a fresh workspace.
pub(crate) fn catalog(workspace: &str, now: i64) -> Catalog {
    let mut catalog = Catalog::default();
    let mut pending = Vec::new();
    for paragraph in MODEL.split("\n\n") {
        let mut lines = paragraph.lines().filter(|line| !line.trim().is_empty());
        let Some(head) = lines.next() else { continue };
        let number = object(&mut catalog, workspace, now, head);
        for line in lines {
            pending.push((number, line.trim().to_owned()));
        }
    }
    let mut inverses = Vec::new();
    for (object, line) in pending {
        field(&mut catalog, workspace, now, object, &line, &mut inverses);
    }
    for (field, source) in inverses {
        join(&mut catalog, field, &source);
    }
    label(&mut catalog);
    catalog
}

fn object(catalog: &mut Catalog, workspace: &str, now: i64, head: &str) -> u32 {
    let mut words = head.split(' ');
    let (singular, plural) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let words: Vec<&str> = words.collect();
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let number = catalog.next_number();
    let duplicates = value("duplicates").unwrap_or_default();
    let split = |text: &str| text.split('+').map(str::to_owned).collect();
    catalog.add_object(Object {
        number,
        id: stable_id(workspace, singular),
        universal: stable_id("universal", singular),
        singular: singular.into(),
        plural: plural.into(),
        label_singular: sentence(singular),
        label_plural: sentence(plural),
        description: json!(format!("The {} of the workspace", sentence(plural).to_lowercase())),
        icon: json!(format!("Icon{}", capital(singular))),
        shortcut: value("shortcut").map_or(Json::Null, |key| json!(key)),
        color: Json::Null,
        active: true,
        system: words.contains(&"system"),
        custom: false,
        searchable: words.contains(&"searchable"),
        label_synced: false,
        label: None,
        duplicates: duplicates.split('|').filter(|list| !list.is_empty()).map(split).collect(),
        fields: Vec::new(),
        created: now,
        updated: now,
    });
    number
}

/// Writes `calendarEvent` as `Calendar event`.
fn sentence(name: &str) -> String {
    capital(&title(name).to_lowercase())
}

/// Returns the lines that the words for what all objects have stand for.
pub(crate) fn common(word: &str) -> Vec<&'static str> {
    const ID: &str = "id UUID system required default=\"uuid\"";
    const CREATED_AT: &str = "createdAt DATE_TIME system required relative default=\"now\"";
    const UPDATED_AT: &str = "updatedAt DATE_TIME system required relative default=\"now\"";
    const DELETED_AT: &str = "deletedAt DATE_TIME system relative";
    const CREATED_BY: &str =
        r#"createdBy ACTOR system required default={"name":"'System'","source":"'MANUAL'","workspaceMemberId":null}"#;
    const UPDATED_BY: &str =
        r#"updatedBy ACTOR system required default={"name":"'System'","source":"'MANUAL'","workspaceMemberId":null}"#;
    const POSITION: &str = "position POSITION system required default=0";
    const SEARCH: &str = "searchVector TS_VECTOR system";
    match word {
        "@first" => vec![ID, CREATED_AT, UPDATED_AT, DELETED_AT],
        "@signed" => vec![CREATED_BY, UPDATED_BY, POSITION, SEARCH],
        "@id" => vec![ID],
        "@createdAt" => vec![CREATED_AT],
        "@updatedAt" => vec![UPDATED_AT],
        "@deletedAt" => vec![DELETED_AT],
        "@createdBy" => vec![CREATED_BY],
        "@updatedBy" => vec![UPDATED_BY],
        "@position" => vec![POSITION],
        "@searchVector" => vec![SEARCH],
        _ => Vec::new(),
    }
}

fn field(catalog: &mut Catalog, workspace: &str, now: i64, object: u32, line: &str, inverses: &mut Vec<(u32, String)>) {
    if line.starts_with('@') {
        for line in common(line) {
            field(catalog, workspace, now, object, line, inverses);
        }
        return;
    }
    let words: Vec<&str> = line.split(' ').collect();
    let (name, kind) = (words[0], words.get(1).copied().unwrap_or_default());
    let has = |word: &str| words[2..].contains(&word);
    let value = |name: &str| words[2..].iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let singular = catalog.object(object).singular.clone();
    let mut made = blank(workspace, &singular, object, name, now);
    made.number = catalog.next_number();
    made.system = has("system");
    made.nullable = !has("required");
    made.unique = has("unique");
    made.default = value("default").map_or(Json::Null, |text| serde_json::from_str(text).unwrap_or(Json::Null));
    match kind {
        ">" | ">>" => {
            made.kind = if kind == ">" { Kind::Relation } else { Kind::MorphRelation };
            let on = if has("cascade") { OnDestroy::Cascade } else { OnDestroy::Clear };
            let target = catalog.by_singular(words[2]).map_or(0, |object| object.number);
            made.relation = Some(Relation { side: Side::One(on), target, inverse: 0 });
            made.settings = one_settings(&made.join(), on);
            if kind == ">>" {
                made.morph = Some(stable_id(workspace, &format!("{singular}.target")));
            }
        }
        "<" => {
            made.kind = Kind::Relation;
            made.settings = json!({ "relationType": "ONE_TO_MANY" });
            inverses.push((made.number, words[2].to_owned()));
        }
        kind => {
            made.kind = Kind::parse(kind).unwrap_or(Kind::Text);
            if let Some(max) = value("max").and_then(|max| max.parse::<u64>().ok()) {
                made.settings = json!({ "maxNumberOfValues": max });
            } else if let Some(data) = value("data") {
                made.settings = json!({ "dataType": data });
            } else if has("relative") {
                made.settings = json!({ "displayFormat": "RELATIVE" });
            }
            let options = value("options").unwrap_or_default().split('|').filter(|text| !text.is_empty());
            made.options = options
                .zip(0..)
                .map(|(text, position)| {
                    let (value, color) = text.split_once(':').unwrap_or((text, "gray"));
                    let id = stable_id(workspace, &format!("{singular}.{name}.{value}"));
                    let label = sentence(&value.to_lowercase().replace('_', " "));
                    Choice { id, value: value.into(), label, color: json!(color), position }
                })
                .collect();
        }
    }
    catalog.add_field(made);
}

/// Returns the settings of a relation to one.
pub(crate) fn one_settings(join: &str, on: OnDestroy) -> Json {
    let on = if on == OnDestroy::Cascade { "CASCADE" } else { "SET_NULL" };
    json!({ "onDelete": on, "relationType": "MANY_TO_ONE", "joinColumnName": join })
}

/// Makes a text field with nothing set.
pub(crate) fn blank(workspace: &str, singular: &str, object: u32, name: &str, now: i64) -> Field {
    Field {
        number: 0,
        id: stable_id(workspace, &format!("{singular}.{name}")),
        universal: stable_id("universal", &format!("{singular}.{name}")),
        object,
        name: name.into(),
        kind: Kind::Text,
        label: title(name),
        description: json!(format!("{} of the {}", title(name), sentence(singular).to_lowercase())),
        icon: json!("IconAbc"),
        active: true,
        system: false,
        nullable: true,
        unique: false,
        custom: false,
        default: Json::Null,
        settings: Json::Null,
        options: Vec::new(),
        relation: None,
        morph: None,
        label_synced: false,
        created: now,
        updated: now,
    }
}

/// Ties the two fields of a relation together.
fn join(catalog: &mut Catalog, list: u32, source: &str) {
    let Some((object, name)) = source.split_once('.') else { return };
    let Some(one) = catalog.by_singular(object).and_then(|object| catalog.find(object.number, name)) else { return };
    let (one, target) = (one.number, one.object);
    if let Some(field) = catalog.fields.get_mut(&list) {
        field.relation = Some(Relation { side: Side::Many, target, inverse: one });
    }
    if let Some(relation) = catalog.fields.get_mut(&one).and_then(|field| field.relation.as_mut()) {
        relation.inverse = list;
    }
}

/// Says which field tells which row it is.
fn label(catalog: &mut Catalog) {
    let heads = MODEL.split("\n\n").filter_map(|paragraph| paragraph.lines().find(|line| !line.trim().is_empty()));
    let labels: Vec<(String, String)> = heads
        .filter_map(|head| {
            let name = head.split(' ').find_map(|word| word.strip_prefix("label="))?;
            Some((head.split(' ').next()?.to_owned(), name.to_owned()))
        })
        .collect();
    for (singular, name) in labels {
        let Some(object) = catalog.by_singular(&singular).map(|object| object.number) else { continue };
        let label = catalog.find(object, &name).map(|field| field.number);
        if let Some(object) = catalog.objects.get_mut(&object) {
            object.label = label;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::model::{Kind, Side},
        catalog,
    };

    #[test]
    fn every_relation_has_two_sides_that_agree() {
        let catalog = catalog("w", 0);
        assert_eq!(catalog.objects.len(), 28);
        for field in catalog.fields.values().filter(|field| field.kind.is_relation()) {
            let relation = field.relation.as_ref().expect("a relation");
            assert!(catalog.objects.contains_key(&relation.target), "{}", field.name);
            let other = catalog.field(relation.inverse);
            let back = other.relation.as_ref().expect("a relation");
            assert_eq!((back.target, back.inverse), (field.object, field.number), "{}", field.name);
            assert_ne!(matches!(back.side, Side::Many), matches!(relation.side, Side::Many));
        }
    }

    #[test]
    fn every_object_has_what_all_objects_have() {
        let catalog = catalog("w", 0);
        for object in catalog.objects.values() {
            for (name, kind) in [("id", Kind::Uuid), ("position", Kind::Position), ("createdBy", Kind::Actor)] {
                assert_eq!(
                    catalog.find(object.number, name).map(|field| field.kind),
                    Some(kind),
                    "{}",
                    object.singular
                );
            }
            assert!(object.label.is_some());
        }
    }
}
