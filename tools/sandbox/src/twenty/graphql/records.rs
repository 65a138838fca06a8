//! Records by GraphQL: each root field is one operation on one object.

use serde_json::{Map, Value as Json, json};

use super::parse::{Asked, Kind};
use crate::twenty::{
    order::Order, query::Page, refusal::Refusal, rows::Row, service::State, show::wrapper, uuid::Uuid,
    workspace::Workspace,
};

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    One,
    Many,
    Duplicates,
    GroupBy,
    Search,
    Create,
    CreateMany,
    Update,
    UpdateMany,
    Delete,
    DeleteMany,
    Destroy,
    DestroyMany,
    Restore,
    RestoreMany,
    Merge,
}

/// Returns what a root field does, and to which object.
pub(crate) fn door(workspace: &Workspace, kind: Kind, name: &str) -> Option<(u32, Door)> {
    if kind == Kind::Query && name == "search" {
        return Some((0, Door::Search));
    }
    let pairs = [
        ("create", Door::Create, Door::CreateMany),
        ("update", Door::Update, Door::UpdateMany),
        ("delete", Door::Delete, Door::DeleteMany),
        ("destroy", Door::Destroy, Door::DestroyMany),
        ("restore", Door::Restore, Door::RestoreMany),
    ];
    for object in workspace.catalog.objects.values().filter(|object| object.active) {
        let (one, many) = (object.singular.as_str(), object.plural.as_str());
        let found = if kind == Kind::Query {
            match name {
                name if name == one => Some(Door::One),
                name if name == many => Some(Door::Many),
                name if name.strip_suffix("Duplicates") == Some(one) && !object.duplicates.is_empty() => {
                    Some(Door::Duplicates)
                }
                name if name.strip_suffix("GroupBy") == Some(many) => Some(Door::GroupBy),
                _ => None,
            }
        } else if name == wrapper("merge", many) && !object.duplicates.is_empty() {
            Some(Door::Merge)
        } else {
            pairs.iter().find_map(|(verb, single, several)| {
                if name == wrapper(verb, one) {
                    Some(*single)
                } else {
                    (name == wrapper(verb, many)).then_some(*several)
                }
            })
        };
        if let Some(found) = found {
            return Some((object.number, found));
        }
    }
    None
}

/// Carries out a root field.
pub(crate) fn answer(state: &mut State, kind: Kind, asked: &Asked) -> Result<Json, Refusal> {
    let workspace = &mut state.workspace;
    let Some((object, door)) = door(workspace, kind, &asked.name) else { return Ok(Json::Null) };
    let author = workspace.api();
    let upsert = asked.arg("upsert") == Some(&json!(true));
    let empty = json!({});
    match door {
        Door::Search => Ok(workspace.search(asked)),
        Door::One => {
            workspace.check_nesting(object, &asked.fields, false)?;
            let condition = workspace.condition(object, asked.arg("filter"))?;
            let found = workspace.scan(object, &condition, false).next();
            let (id, row) = found.ok_or_else(Refusal::not_found)?;
            workspace.select(object, id, row, &asked.fields)
        }
        Door::Many => list(workspace, object, asked),
        Door::Duplicates => {
            let pages = workspace.find_duplicates(object, asked.arg("data"), asked.arg("ids"))?;
            let order = Order::by_id(&workspace.catalog, object);
            pages
                .into_iter()
                .map(|page| workspace.connection(object, &page, &order, &page.ids, &asked.fields))
                .collect::<Result<Vec<Json>, Refusal>>()
                .map(Json::Array)
        }
        Door::GroupBy => groups(workspace, object, asked),
        Door::Create => {
            let body = asked.arg("data").cloned().unwrap_or_default();
            let ids = workspace.create(object, &[body], upsert, &author)?;
            one(workspace, object, ids.first().copied(), asked)
        }
        Door::CreateMany => {
            let data = asked.arg("data").cloned().unwrap_or_default();
            let bodies = data.as_array().cloned().unwrap_or_else(|| vec![data]);
            let ids = workspace.create(object, &bodies, upsert, &author)?;
            several(workspace, object, &ids, asked)
        }
        Door::Update => {
            let id = id_of(asked)?;
            let id = workspace.update(object, id, asked.arg("data").unwrap_or(&empty), &author)?;
            one(workspace, object, Some(id), asked)
        }
        Door::UpdateMany => {
            let condition = workspace.condition(object, asked.arg("filter"))?;
            let ids = workspace.update_all(object, &condition, asked.arg("data").unwrap_or(&empty), &author)?;
            several(workspace, object, &ids, asked)
        }
        Door::Delete => {
            let id = there(workspace, object, asked)?;
            workspace.trash(object, &[id], &author)?;
            one(workspace, object, Some(id), asked)
        }
        Door::DeleteMany => {
            let condition = workspace.condition(object, asked.arg("filter"))?;
            let ids = workspace.all_matching(object, &condition);
            workspace.trash(object, &ids, &author)?;
            several(workspace, object, &ids, asked)
        }
        Door::Destroy => {
            let id = there(workspace, object, asked)?;
            let gone = one(workspace, object, Some(id), asked)?;
            workspace.destroy(object, &[id], &author)?;
            Ok(gone)
        }
        Door::DestroyMany => {
            let condition = workspace.condition(object, asked.arg("filter"))?;
            let ids = workspace.all_matching(object, &condition);
            let gone = several(workspace, object, &ids, asked)?;
            workspace.destroy(object, &ids, &author)?;
            Ok(gone)
        }
        Door::Restore => {
            let id = there(workspace, object, asked)?;
            workspace.restore(object, &[id], &author)?;
            one(workspace, object, Some(id), asked)
        }
        Door::RestoreMany => {
            let condition = workspace.condition(object, asked.arg("filter"))?;
            let ids = workspace.restore_all(object, &condition)?;
            several(workspace, object, &ids, asked)
        }
        Door::Merge => {
            let priority = asked.arg("conflictPriorityIndex").and_then(Json::as_u64).unwrap_or(0);
            let priority = usize::try_from(priority).unwrap_or(usize::MAX);
            let dry = asked.arg("dryRun") == Some(&json!(true));
            let merged = workspace.merge(object, asked.arg("ids").unwrap_or(&Json::Null), priority, dry, 0)?;
            match merged["id"].as_str().and_then(Uuid::parse).filter(|_| !dry) {
                Some(id) => one(workspace, object, Some(id), asked),
                None => Ok(super::select::pick(&merged, &asked.fields)),
            }
        }
    }
}

fn id_of(asked: &Asked) -> Result<Uuid, Refusal> {
    let text = asked.arg("id").and_then(Json::as_str).unwrap_or_default();
    Uuid::parse(text).ok_or_else(|| Refusal::invalid(format!("'{text}' is not a valid UUID")))
}

/// Returns the id of a record that is there, if only in the trash.
fn there(workspace: &Workspace, object: u32, asked: &Asked) -> Result<Uuid, Refusal> {
    let id = id_of(asked)?;
    workspace.rows.get(object, id).map(|_| id).ok_or_else(Refusal::not_found)
}

fn one(workspace: &Workspace, object: u32, id: Option<Uuid>, asked: &Asked) -> Result<Json, Refusal> {
    let row: Option<(Uuid, &Row)> = id.and_then(|id| Some((id, workspace.rows.get(object, id)?)));
    row.map_or(Ok(Json::Null), |(id, row)| workspace.select(object, id, row, &asked.fields))
}

fn several(workspace: &Workspace, object: u32, ids: &[Uuid], asked: &Asked) -> Result<Json, Refusal> {
    ids.iter()
        .map(|id| one(workspace, object, Some(*id), asked))
        .collect::<Result<Vec<Json>, Refusal>>()
        .map(Json::Array)
}

fn list(workspace: &Workspace, object: u32, asked: &Asked) -> Result<Json, Refusal> {
    if let Some(node) = asked.child("edges").and_then(|edges| edges.child("node")) {
        workspace.check_nesting(object, &node.fields, false)?;
    }
    let condition = workspace.condition(object, asked.arg("filter"))?;
    let order = match asked.arg("orderBy") {
        Some(order) => Order::read(&workspace.catalog, object, order)?,
        None => Order::by_id(&workspace.catalog, object),
    };
    let page = workspace.page(object, &condition, &order, &Workspace::span(asked)?)?;
    let plain = ["edges", "pageInfo", "totalCount", "__typename"];
    // Going through the whole list again is only for what is computed of it.
    let all: Vec<Uuid> = if asked.fields.iter().all(|field| plain.contains(&field.name.as_str())) {
        Vec::new()
    } else {
        workspace.scan(object, &condition, false).map(|(id, _)| id).collect()
    };
    workspace.connection(object, &page, &order, &all, &asked.fields)
}

fn groups(workspace: &Workspace, object: u32, asked: &Asked) -> Result<Json, Refusal> {
    let condition = workspace.condition(object, asked.arg("filter"))?;
    let mut groups = workspace.group(object, &condition, asked.arg("groupBy").unwrap_or(&Json::Null))?;
    let limit = asked.arg("limit").and_then(Json::as_u64).and_then(|limit| usize::try_from(limit).ok());
    groups.truncate(limit.unwrap_or(usize::MAX));
    let order = match asked.arg("orderByForRecords") {
        Some(order) => Order::read(&workspace.catalog, object, order)?,
        None => Order::by_id(&workspace.catalog, object),
    };
    let mut answers = Vec::new();
    for group in groups {
        let rows: Vec<&Row> = group.ids.iter().filter_map(|id| workspace.rows.get(object, *id)).collect();
        let (first, last) = (rows.first(), rows.last());
        let page = Page {
            total: group.ids.len(),
            next: false,
            previous: false,
            start: first.map(|row| order.cursor(row)),
            end: last.map(|row| order.cursor(row)),
            ids: group.ids.clone(),
        };
        let mut answer = workspace.connection(object, &page, &order, &group.ids, &asked.fields)?;
        for field in asked.fields.iter().filter(|field| field.name == "groupByDimensionValues") {
            answer[field.key.as_str()] = json!(group.values);
        }
        answers.push(answer);
    }
    Ok(Json::Array(answers))
}

impl Workspace {
    /// Looks for words in what records are called.
    fn search(&self, asked: &Asked) -> Json {
        let words = asked.arg("searchInput").and_then(Json::as_str).unwrap_or_default().to_lowercase();
        let limit =
            asked.arg("limit").and_then(Json::as_u64).and_then(|limit| usize::try_from(limit).ok()).unwrap_or(50);
        let mut edges = Vec::new();
        for object in self.catalog.objects.values().filter(|object| object.searchable && object.active) {
            let table = self.rows.table(object.number);
            for (id, row) in table.rows.iter().filter(|(_, row)| table.is_live(row)) {
                let label = self.label_of(object.number, row);
                let found = words.split_whitespace().all(|word| label.to_lowercase().contains(word));
                if found && edges.len() < limit {
                    let node = json!({
                        "recordId": id.to_string(), "objectNameSingular": object.singular, "objectLabelSingular": object.label_singular,
                        "label": label, "imageUrl": "", "tsRankCD": 0.1, "tsRank": 0.06,
                    });
                    edges.push(json!({ "node": node, "cursor": id.to_string() }));
                }
            }
        }
        let page = json!({ "hasNextPage": false, "endCursor": edges.last().map(|edge: &Json| edge["cursor"].clone()) });
        let mut whole = Map::new();
        whole.insert("edges".into(), json!(edges));
        whole.insert("pageInfo".into(), page);
        super::select::pick(&Json::Object(whole), &asked.fields)
    }
}
