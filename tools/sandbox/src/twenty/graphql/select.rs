//! What of a record, a list or an entity was asked for.

use serde_json::{Map, Value as Json, json};

use super::parse::Asked;
use crate::twenty::{
    condition::{Compiler, Condition},
    model::Field,
    order::Order,
    query::{Page, Span},
    refusal::Refusal,
    rows::Row,
    uuid::Uuid,
    workspace::Workspace,
};

/// How many related records come with one when nobody says how many.
const RELATED: usize = 60;

/// Takes what was asked for out of a value that has it all.
pub(crate) fn pick(value: &Json, fields: &[Asked]) -> Json {
    if fields.is_empty() {
        return value.clone();
    }
    match value {
        Json::Array(list) => list.iter().map(|item| pick(item, fields)).collect(),
        Json::Object(map) => {
            let mut picked = Map::new();
            for field in fields {
                let value = map.get(&field.name).map_or(Json::Null, |value| pick(value, &field.fields));
                picked.insert(field.key.clone(), value);
            }
            Json::Object(picked)
        }
        other => other.clone(),
    }
}

impl Workspace {
    /// Reads a filter argument.
    pub(crate) fn condition(&self, object: u32, filter: Option<&Json>) -> Result<Condition, Refusal> {
        let compiler = Compiler { catalog: &self.catalog, schema: self.schema_name(), loose: false };
        compiler.compile(object, filter.unwrap_or(&Json::Null))
    }

    /// Writes what is asked for of a record.
    pub(crate) fn select(&self, object: u32, id: Uuid, row: &Row, fields: &[Asked]) -> Result<Json, Refusal> {
        let shown = self.show_row(object, id, row, 0);
        let mut picked = Map::new();
        for asked in fields {
            let value = match asked.name.as_str() {
                "__typename" => json!(self.catalog.object(object).type_name()),
                name => match self.catalog.find(object, name).filter(|field| field.kind.is_relation()) {
                    Some(field) => self.select_relation(field, id, row, asked)?,
                    None => self.select_plain(object, row, &shown, fields, asked),
                },
            };
            picked.insert(asked.key.clone(), value);
        }
        Ok(Json::Object(picked))
    }

    /// Writes a value; an id is hidden when its record is asked for as well, and lies in the trash.
    fn select_plain(&self, object: u32, row: &Row, shown: &Json, fields: &[Asked], asked: &Asked) -> Json {
        let value = shown.get(&asked.name).cloned().unwrap_or_default();
        let relation = asked.name.strip_suffix("Id").and_then(|stem| self.catalog.find(object, stem));
        if let Some((target, _)) = relation.and_then(Field::points)
            && fields.iter().any(|other| Some(other.name.as_str()) == asked.name.strip_suffix("Id"))
        {
            let at = relation.map_or(0, |field| crate::twenty::model::col(field.number, 0));
            let lives = row.text(at).and_then(Uuid::parse).is_some_and(|id| self.rows.live(target, id).is_some());
            return if lives { value } else { Json::Null };
        }
        pick(&value, &asked.fields)
    }

    fn select_relation(&self, field: &Field, id: Uuid, row: &Row, asked: &Asked) -> Result<Json, Refusal> {
        if let Some((target, _)) = field.points() {
            let at = crate::twenty::model::col(field.number, 0);
            let other = row.text(at).and_then(Uuid::parse);
            let found = other.and_then(|other| Some((other, self.rows.live(target, other)?)));
            return found.map_or(Ok(Json::Null), |(other, row)| self.select(target, other, row, &asked.fields));
        }
        let (target, mut ids) = self.related(field, id);
        let condition = self.condition(target, asked.arg("filter"))?;
        ids.retain(|id| self.rows.get(target, *id).is_some_and(|row| condition.meets(&self.catalog, &self.rows, row)));
        let order = match asked.arg("orderBy") {
            Some(order) => Order::read(&self.catalog, target, order)?,
            None => Order::by_id(&self.catalog, target),
        };
        let mut rows: Vec<(Uuid, &Row)> =
            ids.iter().filter_map(|id| Some((*id, self.rows.get(target, *id)?))).collect();
        rows.sort_by(|(_, one), (_, other)| order.compare(&self.catalog, one, other));
        let total = rows.len();
        let first = asked.arg("first").and_then(Json::as_u64).and_then(|first| usize::try_from(first).ok());
        rows.truncate(first.unwrap_or(RELATED));
        let page = Page {
            total,
            next: rows.len() < total,
            previous: false,
            start: rows.first().map(|(_, row)| order.cursor(row)),
            end: rows.last().map(|(_, row)| order.cursor(row)),
            ids: rows.into_iter().map(|(id, _)| id).collect(),
        };
        self.connection(target, &page, &order, &ids, &asked.fields)
    }

    /// Writes a connection: edges, the page, and what is computed of the whole list.
    pub(crate) fn connection(
        &self,
        object: u32,
        page: &Page,
        order: &Order,
        all: &[Uuid],
        fields: &[Asked],
    ) -> Result<Json, Refusal> {
        let name = self.catalog.object(object).type_name();
        let mut picked = Map::new();
        for asked in fields {
            let value = match asked.name.as_str() {
                "__typename" => json!(format!("{name}Connection")),
                "edges" => {
                    let mut edges = Vec::new();
                    for id in &page.ids {
                        let Some(row) = self.rows.get(object, *id) else { continue };
                        let mut edge = Map::new();
                        for part in &asked.fields {
                            let value = match part.name.as_str() {
                                "node" => self.select(object, *id, row, &part.fields)?,
                                "cursor" => json!(order.cursor(row)),
                                "__typename" => json!(format!("{name}Edge")),
                                _ => Json::Null,
                            };
                            edge.insert(part.key.clone(), value);
                        }
                        edges.push(Json::Object(edge));
                    }
                    Json::Array(edges)
                }
                "pageInfo" => {
                    let info = json!({
                        "hasNextPage": page.next, "hasPreviousPage": page.previous, "startCursor": page.start,
                        "endCursor": page.end, "__typename": "PageInfo",
                    });
                    pick(&info, &asked.fields)
                }
                "totalCount" => json!(page.total),
                // A field that is not there is null; here nothing checks names beforehand.
                measure => self.aggregate(object, all, measure).unwrap_or_default(),
            };
            picked.insert(asked.key.clone(), value);
        }
        Ok(Json::Object(picked))
    }

    /// Refuses a list inside a list.
    pub(crate) fn check_nesting(&self, object: u32, fields: &[Asked], inside: bool) -> Result<(), Refusal> {
        for asked in fields {
            let Some(field) = self.catalog.find(object, &asked.name).filter(|field| field.kind.is_relation()) else {
                continue;
            };
            if let Some((target, _)) = field.points() {
                self.check_nesting(target, &asked.fields, inside)?;
                continue;
            }
            if inside {
                return Err(Refusal::coded(
                    "TOO_COMPLEX_QUERY",
                    "Query complexity is too high. One-to-Many relation cannot be nested in another One-to-Many relation.",
                ));
            }
            let target = field.relation.as_ref().map_or(0, |relation| relation.target);
            if let Some(node) = asked.child("edges").and_then(|edges| edges.child("node")) {
                self.check_nesting(target, &node.fields, true)?;
            }
        }
        Ok(())
    }

    /// Reads the arguments of a list.
    pub(crate) fn span(asked: &Asked) -> Result<Span, Refusal> {
        let count = |name: &str| asked.arg(name).and_then(Json::as_u64).and_then(|count| usize::try_from(count).ok());
        let text = |name: &str| asked.arg(name).and_then(Json::as_str).map(str::to_owned);
        if asked.args.contains_key("first")
            && asked.args.contains_key("last")
            && count("first").is_some()
            && count("last").is_some()
        {
            return Err(Refusal::invalid("Cannot provide both first and last"));
        }
        Ok(Span {
            limit: count("first").or_else(|| count("last")).unwrap_or(200),
            after: text("after"),
            before: text("before"),
            offset: count("offset").unwrap_or(0),
            last: count("last").is_some(),
        })
    }
}
