//! Rows in the trash that stand in a record's way: read whole, and deleted for good while they lie there.
//!
//! The filter of the delete says that the row is in the trash, so that one which somebody brought back meanwhile is left alone:
//! this is the one write on Twenty that holds on a condition (Twenty 2.21, "Bulk writes by filter do not exclude the trash").

use http::Method;
use serde_json::{Value as Json, json};
use waybill_ledger::{FieldKind, FieldName, event::UnknownCause};

use super::{
    Twenty,
    catalog::{Object, Wire, capital},
    columns::Columns,
    read::{TRASHED, selected},
    values,
    wire::{self, Counted},
    write::{by_id, gone, is_uuid, not_sent, refusal, refused},
};
use crate::{
    destination::{Outcome, RemoteRecord},
    error::RemoteError,
    transport::Lost,
};

impl Twenty {
    /// Reads rows that lie in the trash: every column that has a value of its own, but for files.
    pub(super) async fn read_buried(&self, object: &Object, ids: &[String]) -> Result<Vec<RemoteRecord>, RemoteError> {
        let columns = Columns::of(object);
        let told = |wire: &Wire| !matches!(wire, Wire::Other(_) | Wire::Files);
        let fields: Vec<FieldName> = columns
            .iter()
            .filter(|column| told(&column.wire) && column.schema.kind != FieldKind::Id)
            .map(|column| column.shown.clone())
            .collect();
        let select = selected(&columns, fields.iter());
        let mut found = Vec::new();
        for ids in ids.chunks(self.batch_rows.max(1)) {
            let filter = json!({ "and": [{ "id": { "in": ids } }, { TRASHED: { "is": "NOT_NULL" } }] });
            let rows = self.all(object, &select, &filter).await?;
            found.extend(rows.iter().map(|row| values::record(row, &columns, fields.iter())));
        }
        Ok(found)
    }

    /// Deletes rows for good that lie in the trash.
    pub(super) async fn destroy_trashed(&self, object: &Object, ids: &[String]) -> Result<Vec<Outcome>, RemoteError> {
        let mut outcomes = Vec::with_capacity(ids.len());
        for ids in ids.chunks(self.batch_rows.max(1)) {
            let all = |outcome: &Outcome| ids.iter().map(|_| outcome.clone()).collect::<Vec<_>>();
            if !ids.iter().all(|id| is_uuid(id)) {
                outcomes.extend(all(&Outcome::Rejected(gone("it has no id"))));
                continue;
            }
            let filter = format!("and(id%5Bin%5D:%5B{}%5D,{TRASHED}%5Bis%5D:NOT_NULL)", ids.join(","));
            let path = format!("/rest/{}?filter={filter}", object.plural);
            let response = match self.wire.send(Method::DELETE, &path, None, Counted::Yes).await {
                Ok(response) => response,
                Err(Lost::NotSent(error)) if outcomes.is_empty() => return Err(error),
                Err(Lost::NotSent(error)) => {
                    outcomes.extend(all(&not_sent(&error)));
                    continue;
                }
                Err(Lost::Unknown(cause, _)) => {
                    outcomes.extend(all(&Outcome::Unknown(cause)));
                    continue;
                }
            };
            let status = response.status.as_u16();
            if status == 400 {
                let error = refused("a delete", status, wire::error_of(&response.body))?;
                outcomes.extend(all(&Outcome::Rejected(refusal(error, false))));
                continue;
            }
            let response = wire::check("a delete", response)?;
            let Ok(mut answer) = serde_json::from_slice::<Json>(&response.body) else {
                outcomes.extend(all(&Outcome::Unknown(UnknownCause::NoResult)));
                continue;
            };
            let destroyed = by_id(answer["data"][format!("delete{}", capital(&object.plural))].take());
            let outcome = |id: &String| {
                if destroyed.contains_key(id) {
                    Outcome::Done { id: id.clone(), shown: None }
                } else {
                    Outcome::Rejected(gone("it is in the trash no more"))
                }
            };
            outcomes.extend(ids.iter().map(outcome));
        }
        Ok(outcomes)
    }
}
