//! Reads go by GraphQL: values of a filter travel as variables, which REST's filter grammar cannot quote, pages are as long as
//! we ask, and only the columns that are wanted come back.
//!
//! References are read as columns (`companyId`), never as records: a record in the trash would hide that it is pointed to.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use waybill_ledger::{FieldKind, FieldName, Fields};

use super::{
    SYSTEM, Twenty,
    catalog::{Object, Wire},
    columns::{Column, Columns},
    files,
    values::{self, Row},
    wire::Counted,
};
use crate::{
    destination::{Holder, RemoteRecord, Scan, Selection},
    error::RemoteError,
};

/// Rows of one page. The server does not cap it; one that does says that there is more.
pub(super) const PAGE: usize = 500;
/// Values of one filter.
const VALUES: usize = 1_000;
/// The column that says that a row is in the trash, and when it came there.
pub(super) const TRASHED: &str = "deletedAt";

/// One page of rows.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    /// Where the next one begins, if there is one.
    pub(super) next: Option<String>,
}

impl Twenty {
    /// Asks for one page of rows, in the order of their ids.
    pub(super) async fn page(
        &self,
        object: &Object,
        select: &str,
        filter: &Json,
        first: usize,
        after: Option<&str>,
    ) -> Result<Page, RemoteError> {
        let (plural, kind) = (&object.plural, object.type_name("FilterInput"));
        let query = format!(
            "query($filter:{kind},$first:Int,$after:String){{{plural}(filter:$filter,first:$first,after:$after,orderBy:[{{id:AscNullsFirst}}]){{edges{{node{{{select}}}}}pageInfo{{hasNextPage endCursor}}}}}}"
        );
        let variables = json!({ "filter": filter, "first": first, "after": after });
        let mut data = self.wire.ask("rows", "/graphql", &query, variables, Counted::Yes).await?;
        let mut found = data[plural].take();
        let Json::Array(edges) = found["edges"].take() else { return Err(strange("rows", "it has no edges")) };
        let rows = edges.into_iter().filter_map(|mut edge| match edge["node"].take() {
            Json::Object(row) => Some(row),
            _ => None,
        });
        let more = found["pageInfo"]["hasNextPage"] == json!(true);
        let next = found["pageInfo"]["endCursor"].as_str().filter(|_| more).map(str::to_owned);
        Ok(Page { rows: rows.collect(), next })
    }

    /// Reads every row that a filter finds.
    pub(super) async fn all(&self, object: &Object, select: &str, filter: &Json) -> Result<Vec<Row>, RemoteError> {
        let mut page = self.page(object, select, filter, PAGE, None).await?;
        let mut rows = std::mem::take(&mut page.rows);
        while let Some(next) = page.next.take() {
            page = self.page(object, select, filter, PAGE, Some(&next)).await?;
            rows.append(&mut page.rows);
        }
        Ok(rows)
    }

    /// Reads rows as a selection says. A read by id that asks when rows went to the trash finds those in the trash, too: that
    /// is how the server itself has it, and how a row that is to be brought back is read before.
    pub(super) async fn select(
        &self,
        object: &Object,
        fields: &[FieldName],
        selection: &Selection,
    ) -> Result<Vec<RemoteRecord>, RemoteError> {
        self.must_be_called_so()?;
        let columns = Columns::of(object);
        let content = files::of(&columns, fields).cloned();
        let plain: Vec<FieldName> =
            fields.iter().filter(|name| content.as_ref().is_none_or(|file| file.shown != **name)).cloned().collect();
        let fields = plain.as_slice();
        let mut found = Vec::new();
        match selection {
            Selection::Ids(ids) => {
                let select = selected(&columns, fields.iter());
                let trash = fields.iter().any(|field| field.as_str() == TRASHED);
                for ids in ids.chunks(VALUES) {
                    let filter = by_ids(ids.iter().map(String::as_str), trash);
                    found.extend(self.all(object, &select, &filter).await?);
                }
            }
            Selection::Keys { field, values } => {
                let column = column_of(object, &columns, field)?;
                let select = selected(&columns, fields.iter().chain([field]));
                for values in values.chunks(VALUES) {
                    found.extend(self.all(object, &select, &any_of(column, values)).await?);
                }
            }
        }
        // A row is found once by its id, and once by each value of a column.
        let mut seen = BTreeSet::new();
        found.retain(|row| row.get("id").and_then(Json::as_str).is_none_or(|id| seen.insert(id.to_owned())));
        let also = match selection {
            Selection::Keys { field, .. } => Some(field),
            Selection::Ids(_) => None,
        };
        let mut rows: Vec<RemoteRecord> =
            found.iter().map(|row| values::record(row, &columns, fields.iter().chain(also))).collect();
        if let Some(column) = content {
            self.measure(object, &column, &mut rows).await?;
        }
        Ok(rows)
    }

    /// Reads one page of a scan.
    pub(super) async fn scan_page(
        &self,
        object: &Object,
        fields: &[FieldName],
        scan: Scan<'_>,
        after: Option<&str>,
    ) -> Result<(Vec<RemoteRecord>, Option<String>), RemoteError> {
        let columns = Columns::of(object);
        // A scan of files does not look into them: that they cannot be changed is enough to compare by.
        let content = files::of(&columns, fields).map(|column| column.shown.clone());
        let fields: Vec<FieldName> = fields.iter().filter(|name| Some(*name) != content.as_ref()).cloned().collect();
        let filter = holding(object, &columns, scan)?;
        let page = self.page(object, &selected(&columns, fields.iter()), &filter, PAGE, after).await?;
        let rows = page.rows.iter().map(|row| values::record(row, &columns, fields.iter())).collect();
        Ok((rows, page.next))
    }

    /// Counts live rows.
    pub(super) async fn count_rows(&self, object: &Object, scan: Scan<'_>) -> Result<u64, RemoteError> {
        let filter = holding(object, &Columns::of(object), scan)?;
        let (plural, kind) = (&object.plural, object.type_name("FilterInput"));
        let query = format!("query($filter:{kind}){{{plural}(filter:$filter,first:1){{totalCount}}}}");
        let data = self.wire.ask("a count", "/graphql", &query, json!({ "filter": filter }), Counted::Yes).await?;
        data[plural]["totalCount"].as_u64().ok_or_else(|| strange("a count", "it has no number"))
    }

    /// Finds the rows that hold values which are allowed once, in the trash or not.
    pub(super) async fn find_holders(
        &self,
        object: &Object,
        field: &FieldName,
        wanted: &[String],
    ) -> Result<Vec<Holder>, RemoteError> {
        let columns = Columns::of(object);
        let column = column_of(object, &columns, field)?;
        let select = format!("id {TRASHED} {}", column.selection());
        // Addresses are kept in lower case, and a filter compares as it stands.
        let lower = column.schema.kind == FieldKind::Email;
        let wanted: BTreeSet<String> =
            wanted.iter().map(|value| if lower { value.to_lowercase() } else { value.clone() }).collect();
        let wanted: Vec<String> = wanted.into_iter().collect();
        let mut holders = Vec::new();
        for values in wanted.chunks(VALUES) {
            let filter = with_trash(any_of(column, values));
            for row in self.all(object, &select, &filter).await? {
                let text = |name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
                let Some(value) = values::read(column, &row).value().map(ToString::to_string) else { continue };
                let back = || [(TRASHED, waybill_ledger::Field::Null)].into_iter().collect::<Fields>();
                let trashed = text(TRASHED).map(|_| back());
                holders.push(Holder { value, id: text("id").unwrap_or_default(), trashed });
            }
        }
        Ok(holders)
    }
}

fn holding(object: &Object, columns: &Columns, scan: Scan<'_>) -> Result<Json, RemoteError> {
    match scan {
        Scan::All => Ok(json!({})),
        Scan::Holding(field) => {
            let path = column_of(object, columns, field)?.path().unwrap_or_default();
            Ok(nested(&path, json!({ "is": "NOT_NULL" })))
        }
    }
}

fn column_of<'c>(object: &Object, columns: &'c Columns, field: &FieldName) -> Result<&'c Column, RemoteError> {
    columns.get(field.as_str()).filter(|column| column.path().is_some()).ok_or_else(|| RemoteError::Refused {
        system: SYSTEM.to_owned(),
        what: format!("a search of {} by {field}", object.plural),
        code: "FIELD_NOT_FOUND".to_owned(),
        message: String::new(),
    })
}

fn strange(what: &str, detail: &str) -> RemoteError {
    RemoteError::Malformed { system: SYSTEM.to_owned(), what: what.to_owned(), detail: detail.to_owned() }
}

/// Returns what a query selects to read these fields, with what every row is known and dated by.
pub(super) fn selected<'n>(columns: &Columns, fields: impl Iterator<Item = &'n FieldName>) -> String {
    let mut parts = BTreeSet::from([
        "id".to_owned(),
        "updatedAt".to_owned(),
        "updatedBy{source name workspaceMemberId}".to_owned(),
    ]);
    parts.extend(fields.filter_map(|name| columns.get(name.as_str())).map(Column::selection));
    parts.into_iter().collect::<Vec<_>>().join(" ")
}

/// Returns a test at the end of a path.
pub(super) fn nested(path: &[&str], test: Json) -> Json {
    path.iter().rev().fold(test, |test, name| json!({ *name: test }))
}

fn any_of(column: &Column, values: &[String]) -> Json {
    let path = column.path().unwrap_or_default();
    let values: Vec<Json> = match column.wire {
        Wire::Number => values.iter().filter_map(|value| serde_json::from_str(value).ok()).collect(),
        _ => values.iter().map(|value| json!(value)).collect(),
    };
    nested(&path, json!({ "in": values }))
}

/// Returns a filter by ids, with or without the trash.
pub(super) fn by_ids<'i>(ids: impl Iterator<Item = &'i str>, trash: bool) -> Json {
    let filter = json!({ "id": { "in": ids.collect::<Vec<_>>() } });
    if trash { with_trash(filter) } else { filter }
}

/// As soon as a filter mentions when rows were deleted, those that were are found.
pub(super) fn with_trash(filter: Json) -> Json {
    json!({ "and": [filter, { "or": [{ TRASHED: { "is": "NULL" } }, { TRASHED: { "is": "NOT_NULL" } }] }] })
}
