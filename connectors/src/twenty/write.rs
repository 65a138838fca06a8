//! Writes go by REST: plain creates with our ids in batches, changes one by one, deletes for good by a list of ids.
//!
//! Never an upsert: it would match a stranger's row by its e-mail or domain, bring back what is in the trash, and reorder its
//! answer. A plain batch is refused whole, without a word about which record it was; so it is halved until that is known.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value as Json, json};
use waybill_ledger::{
    FieldName, Value,
    event::{Operation, UnknownCause},
};

use super::{
    Twenty,
    catalog::{Object, capital},
    columns::{Column, Columns, keys},
    files, id,
    read::by_ids,
    values::{self, Row},
    wire::{self, Counted, WireError},
};
use crate::{
    destination::{Batch, Journal, Outcome, Refusal, RemoteRecord, WriteRow},
    error::{RemoteError, Retry},
    transport::Lost,
};

/// The most bytes of one batch: well below the ten megabytes that the server takes.
const BYTES: usize = 4 << 20;
/// What the server says of a value that another row holds; it tells neither which value nor which row.
const DUPLICATE: &str = "A duplicate entry was detected";
/// The code of a write that did not leave.
const NOT_SENT: &str = "WAYBILL_NOT_SENT";

/// What became of one request for several rows.
enum Posted {
    /// The rows as they are now, by id.
    Done(BTreeMap<String, Row>),
    /// Nobody knows.
    Lost(UnknownCause),
    /// Nothing was done.
    Refused(WireError),
}

impl Twenty {
    pub(super) async fn write_rows<J: Journal>(
        &self,
        object: &Object,
        batch: &Batch,
        journal: &J,
    ) -> Result<Vec<Outcome>, RemoteError> {
        match batch.operation {
            Operation::Create => self.create(object, batch, journal).await,
            Operation::Update => self.update(object, batch).await,
            Operation::Delete => self.destroy(object, batch).await,
            Operation::Nothing => Ok(batch.rows.iter().map(done).collect()),
        }
    }

    async fn create<J: Journal>(
        &self,
        object: &Object,
        batch: &Batch,
        journal: &J,
    ) -> Result<Vec<Outcome>, RemoteError> {
        self.must_be_called_so()?;
        let columns = Columns::of(object);
        let content = files::of(&columns, batch.rows.iter().flat_map(|row| batch.sets(row)).map(|(name, _)| name));
        let mut outcomes: Vec<Option<Outcome>> = vec![None; batch.rows.len()];
        let mut bodies: Vec<Json> = Vec::with_capacity(batch.rows.len());
        for (row, outcome) in batch.rows.iter().zip(&mut outcomes) {
            let key = batch.key_of(row).map(|(field, key)| (field, Value::from(key)));
            let key = key.iter().map(|(field, key)| (*field, Some(key)));
            match values::body(batch.sets(row).chain(key), &columns, None) {
                Ok(mut body) => {
                    body.insert("id".into(), json!(id::of_key(&row.key)));
                    if let Some(column) = content {
                        match self.upload(object, column, row, journal).await? {
                            Ok(file) => drop(body.insert(column.key.clone(), file)),
                            Err(refused) => *outcome = Some(refused),
                        }
                    }
                    bodies.push(Json::Object(body));
                }
                Err(field) => {
                    *outcome = Some(Outcome::Rejected(no_field(object, field)));
                    bodies.push(Json::Null);
                }
            }
        }
        let waiting: Vec<usize> = (0..bodies.len()).filter(|n| outcomes[*n].is_none()).collect();
        let mut parts: Vec<Vec<usize>> = pieces(&waiting, &bodies, self.batch_rows);
        parts.reverse();
        let mut answered = false;
        while let Some(part) = parts.pop() {
            let posted = match self.post(object, &bodies, &part).await {
                Ok(posted) => posted,
                Err(error) if answered => {
                    // Earlier requests have written: these rows did not leave, and say so one by one.
                    for n in part {
                        outcomes[n] = Some(not_sent(&error));
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            answered = true;
            match posted {
                Posted::Done(mut rows) => {
                    for row in rows.values() {
                        self.learn_name(row);
                    }
                    for n in part {
                        let row = &batch.rows[n];
                        let found = rows.remove(&id::of_key(&row.key));
                        let names = batch.sets(row).map(|(name, _)| name).chain(batch.key());
                        outcomes[n] = Some(match found {
                            // A content is compared by what is downloaded, not by what was sent.
                            Some(_) if content.is_some() => Outcome::Done { id: id::of_key(&row.key), shown: None },
                            Some(now) => shown(values::record(&now, &columns, names)),
                            None => Outcome::Unknown(UnknownCause::NoResult),
                        });
                    }
                }
                Posted::Lost(cause) => {
                    for n in part {
                        outcomes[n] = Some(Outcome::Unknown(cause));
                    }
                }
                Posted::Refused(error) if error.message == DUPLICATE => {
                    let rest = self.taken(object, batch, &columns, &part, &mut outcomes).await?;
                    match (rest.len(), part.len()) {
                        (0, _) => {}
                        // Nothing holds their values, so it is one of them against another.
                        (rest_len, all) if rest_len == all && all > 1 => parts.extend(halves(rest)),
                        (_, 1) => outcomes[part[0]] = Some(Outcome::Rejected(refusal(error, false))),
                        _ => parts.push(rest),
                    }
                }
                Posted::Refused(error) => match part.as_slice() {
                    [one] => outcomes[*one] = Some(Outcome::Rejected(refusal(error, false))),
                    _ => parts.extend(halves(part)),
                },
            }
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Unknown(UnknownCause::NoResult))).collect())
    }

    async fn post(&self, object: &Object, bodies: &[Json], part: &[usize]) -> Result<Posted, RemoteError> {
        let body = Json::Array(part.iter().map(|n| bodies[*n].clone()).collect());
        let path = format!("/rest/batch/{}", object.plural);
        let response = match self.wire.send(Method::POST, &path, Some(&body), Counted::Yes).await {
            Ok(response) => response,
            Err(Lost::NotSent(error)) => return Err(error),
            Err(Lost::Unknown(cause, _)) => return Ok(Posted::Lost(cause)),
        };
        let status = response.status.as_u16();
        if status == 400 || status == 404 || wire::too_large(&response) {
            return refused("a batch of rows", status, wire::error_of(&response.body)).map(Posted::Refused);
        }
        let response = wire::check("a batch of rows", response)?;
        let Ok(mut answer) = serde_json::from_slice::<Json>(&response.body) else {
            return Ok(Posted::Lost(UnknownCause::NoResult));
        };
        let rows = answer["data"][format!("create{}", capital(&object.plural))].take();
        Ok(Posted::Done(by_id(rows)))
    }

    /// Finds which rows of a refused batch meet a value, or an id, that is taken already, and says so of each. Returns the
    /// others.
    async fn taken(
        &self,
        object: &Object,
        batch: &Batch,
        columns: &Columns,
        part: &[usize],
        outcomes: &mut [Option<Outcome>],
    ) -> Result<Vec<usize>, RemoteError> {
        let ids: Vec<String> = part.iter().map(|n| id::of_key(&batch.rows[*n].key)).collect();
        let there = self.all(object, "id deletedAt", &by_ids(ids.iter().map(String::as_str), true)).await?;
        let there: BTreeMap<&str, bool> =
            there.iter().filter_map(|row| Some((row.get("id")?.as_str()?, row["deletedAt"].is_string()))).collect();
        let mut rest = Vec::new();
        for (n, id) in part.iter().zip(&ids) {
            outcomes[*n] = match there.get(id.as_str()) {
                Some(false) => Some(Outcome::Rejected(Refusal {
                    code: "DUPLICATE_ID".into(),
                    message: DUPLICATE.into(),
                    fields: Vec::new(),
                    retry: Retry::Never,
                    duplicate: true,
                })),
                Some(true) => Some(Outcome::Rejected(Refusal {
                    code: "ID_IN_TRASH".into(),
                    message: format!("its row {id} is in the trash: bring it back, or delete it for good"),
                    fields: Vec::new(),
                    retry: Retry::Never,
                    duplicate: false,
                })),
                None => {
                    rest.push(*n);
                    None
                }
            };
        }
        for column in columns.unique() {
            let value = |n: &usize| batch.rows[*n].fields.value(column.shown.as_str()).map(ToString::to_string);
            let wanted: BTreeSet<String> = rest.iter().filter_map(value).collect();
            if wanted.is_empty() {
                continue;
            }
            let wanted: Vec<String> = wanted.into_iter().collect();
            let holders = self.find_holders(object, &column.shown, &wanted).await?;
            rest.retain(|n| {
                let mine = value(n);
                let holder = holders
                    .iter()
                    .find(|holder| mine.as_ref().is_some_and(|mine| mine.eq_ignore_ascii_case(&holder.value)));
                let Some(holder) = holder else { return true };
                let place = if holder.trashed.is_some() { "in the trash " } else { "" };
                outcomes[*n] = Some(Outcome::Rejected(Refusal {
                    code: "DUPLICATE_VALUE".into(),
                    message: format!("{DUPLICATE}: {} is that of {} {place}already", column.shown, holder.id),
                    fields: vec![column.shown.clone()],
                    retry: Retry::Never,
                    duplicate: false,
                }));
                false
            });
        }
        Ok(rest)
    }

    async fn update(&self, object: &Object, batch: &Batch) -> Result<Vec<Outcome>, RemoteError> {
        self.must_be_called_so()?;
        let columns = Columns::of(object);
        let present = self.present(object, &columns, batch).await?;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(batch.rows.len());
        for row in &batch.rows {
            // Without an id the address is that of the whole table, and every row would be changed.
            let Some(id) = row.id.as_ref().filter(|id| !id.is_empty()) else {
                outcomes.push(Outcome::Rejected(gone("it has no id")));
                continue;
            };
            let known = match &present {
                Some(present) => match present.get(id) {
                    Some(known) => Some(known),
                    None => {
                        outcomes.push(Outcome::Rejected(gone("it is no longer there")));
                        continue;
                    }
                },
                None => None,
            };
            let mut body = match values::body(batch.sets(row), &columns, known) {
                Ok(body) => body,
                Err(field) => {
                    outcomes.push(Outcome::Rejected(no_field(object, field)));
                    continue;
                }
            };
            // The server stamps every write that does not say when it was: a migration is no edit, so the time stays.
            if let (Some(time), false) = (known.and_then(|row| row.get("updatedAt")), body.contains_key("updatedAt")) {
                body.insert("updatedAt".into(), time.clone());
            }
            match self.patch(object, id, &Json::Object(body), row, &columns).await {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) if outcomes.is_empty() => return Err(error),
                Err(error) => outcomes.push(not_sent(&error)),
            }
        }
        Ok(outcomes)
    }

    /// Reads what updates send along as it is: the composites that they touch, and the time of the last change.
    async fn present(
        &self,
        object: &Object,
        columns: &Columns,
        batch: &Batch,
    ) -> Result<Option<BTreeMap<String, Row>>, RemoteError> {
        let mut select: BTreeSet<String> = BTreeSet::from(["id".into(), "updatedAt".into()]);
        let mut stamped = true;
        for row in &batch.rows {
            let touched = row.fields.iter().filter_map(|(name, _)| columns.get(name.as_str()));
            select.extend(touched.filter(|column| keys(&column.wire).is_some()).map(Column::selection));
            stamped &= row.fields.contains("updatedAt");
        }
        if stamped && select.len() == 2 {
            return Ok(None);
        }
        let select = select.into_iter().collect::<Vec<_>>().join(" ");
        let ids = batch.rows.iter().filter_map(|row| row.id.as_deref());
        let rows = self.all(object, &select, &by_ids(ids, true)).await?;
        Ok(Some(rows.into_iter().filter_map(keyed).collect()))
    }

    async fn patch(
        &self,
        object: &Object,
        id: &str,
        body: &Json,
        row: &WriteRow,
        columns: &Columns,
    ) -> Result<Outcome, RemoteError> {
        let path = format!("/rest/{}/{id}", object.plural);
        let response = match self.wire.send(Method::PATCH, &path, Some(body), Counted::Yes).await {
            Ok(response) => response,
            Err(Lost::NotSent(error)) => return Err(error),
            Err(Lost::Unknown(cause, _)) => return Ok(Outcome::Unknown(cause)),
        };
        let status = response.status.as_u16();
        if status == 400 || status == 404 || wire::too_large(&response) {
            let error = refused("a change", status, wire::error_of(&response.body))?;
            return Ok(Outcome::Rejected(refusal(error, false)));
        }
        let response = wire::check("a change", response)?;
        let answer: Json = serde_json::from_slice(&response.body).unwrap_or_default();
        let now = answer["data"][format!("update{}", capital(&object.singular))].as_object();
        // A row that went to the trash by this very write is not there any more for anyone who reads.
        let lives = |row: &&Row| row.get("deletedAt").is_none_or(Json::is_null);
        Ok(match now.filter(|row| row.get("id").and_then(Json::as_str) == Some(id)) {
            Some(now) if lives(&now) => shown(values::record(now, columns, row.fields.names())),
            Some(_) => done(row),
            None => Outcome::Unknown(UnknownCause::NoResult),
        })
    }

    /// Deletes rows for good: what lies in the trash still holds its id and its values.
    async fn destroy(&self, object: &Object, batch: &Batch) -> Result<Vec<Outcome>, RemoteError> {
        let mut outcomes = Vec::with_capacity(batch.rows.len());
        for rows in batch.rows.chunks(self.batch_rows.max(1)) {
            let ids: Vec<&str> = rows.iter().filter_map(|row| row.id.as_deref()).filter(|id| is_uuid(id)).collect();
            if ids.len() != rows.len() {
                outcomes.extend(rows.iter().map(|_| Outcome::Rejected(gone("it has no id"))));
                continue;
            }
            let path = format!("/rest/{}?filter=id%5Bin%5D:%5B{}%5D", object.plural, ids.join(","));
            let all = |outcome: &dyn Fn(&WriteRow) -> Outcome| rows.iter().map(outcome).collect::<Vec<_>>();
            let response = match self.wire.send(Method::DELETE, &path, None, Counted::Yes).await {
                Ok(response) => response,
                Err(Lost::NotSent(error)) if outcomes.is_empty() => return Err(error),
                Err(Lost::NotSent(error)) => {
                    outcomes.extend(all(&|_| not_sent(&error)));
                    continue;
                }
                Err(Lost::Unknown(cause, _)) => {
                    outcomes.extend(all(&|_| Outcome::Unknown(cause)));
                    continue;
                }
            };
            let status = response.status.as_u16();
            if status == 400 {
                let error = refused("a delete", status, wire::error_of(&response.body))?;
                outcomes.extend(all(&|_| Outcome::Rejected(refusal(error.clone(), false))));
                continue;
            }
            wire::check("a delete", response)?;
            // A row that the answer does not name was gone already, which is as deleted as we want it.
            outcomes.extend(all(&|row| done(row)));
        }
        Ok(outcomes)
    }
}

/// Returns rows by their ids.
pub(super) fn by_id(rows: Json) -> BTreeMap<String, Row> {
    let Json::Array(rows) = rows else { return BTreeMap::new() };
    rows.into_iter()
        .filter_map(|row| match row {
            Json::Object(row) => keyed(row),
            _ => None,
        })
        .collect()
}

fn keyed(row: Row) -> Option<(String, Row)> {
    let id = row.get("id")?.as_str()?.to_owned();
    Some((id, row))
}

/// Divides rows into requests, by count and by bytes.
fn pieces(rows: &[usize], bodies: &[Json], most: usize) -> Vec<Vec<usize>> {
    let mut pieces: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for n in rows {
        let size = bodies[*n].to_string().len();
        match pieces.last_mut().filter(|piece| piece.len() < most.max(1) && bytes + size <= BYTES) {
            Some(piece) => piece.push(*n),
            None => {
                pieces.push(vec![*n]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    pieces
}

fn halves(rows: Vec<usize>) -> [Vec<usize>; 2] {
    let (first, second) = rows.split_at(rows.len() / 2);
    // What is taken from a stack comes in reverse.
    [second.to_vec(), first.to_vec()]
}

/// Returns the error of a refused write; missing rights are an error of the conversation, not of a row.
pub(super) fn refused(what: &str, status: u16, error: WireError) -> Result<WireError, RemoteError> {
    match wire::refused(what, status, error.clone()) {
        denied @ (RemoteError::Forbidden { .. } | RemoteError::Unauthorized { .. }) => Err(denied),
        _ => Ok(error),
    }
}

pub(super) fn refusal(error: WireError, duplicate: bool) -> Refusal {
    // Field names stand in double quotes, a composite's part after a dot.
    let mut fields: Vec<FieldName> = Vec::new();
    for words in error.message.split("field \"").skip(1) {
        fields.extend(words.split('"').next().map(FieldName::from));
    }
    let code = if error.code.is_empty() { "REFUSED".to_owned() } else { error.code };
    Refusal { code, message: error.message, fields, retry: Retry::Never, duplicate }
}

pub(super) fn gone(message: &str) -> Refusal {
    let code = "RECORD_NOT_FOUND".to_owned();
    Refusal { code, message: message.to_owned(), fields: Vec::new(), retry: Retry::Never, duplicate: false }
}

fn no_field(object: &Object, field: FieldName) -> Refusal {
    Refusal {
        code: "FIELD_NOT_FOUND".into(),
        message: format!("Object {} doesn't have any \"{field}\" field.", object.singular),
        fields: vec![field],
        retry: Retry::Never,
        duplicate: false,
    }
}

/// The outcome of a row that was done, and is not shown.
fn done(row: &WriteRow) -> Outcome {
    Outcome::Done { id: row.id.clone().unwrap_or_default(), shown: None }
}

/// The outcome of a row that the answer shows.
fn shown(row: RemoteRecord) -> Outcome {
    Outcome::Done { id: row.record.id.clone(), shown: Some(Box::new(row)) }
}

/// The outcome of a row that did not leave.
pub(super) fn not_sent(error: &RemoteError) -> Outcome {
    Outcome::Rejected(Refusal {
        code: NOT_SENT.to_owned(),
        message: error.to_string(),
        fields: Vec::new(),
        retry: Retry::Soon,
        duplicate: false,
    })
}

/// Returns whether a text is an id: anything else in a filter could mean more rows than one.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_hold_so_many_rows_and_so_many_bytes() {
        let bodies: Vec<Json> = (0..130).map(|n| json!({ "n": n })).collect();
        let rows: Vec<usize> = (0..130).collect();
        let counts = |bodies: &[Json]| pieces(&rows, bodies, 60).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(&bodies), [60, 60, 10]);
        let large: Vec<Json> = (0..130).map(|_| json!("x".repeat(BYTES / 3))).collect();
        assert!(counts(&large).iter().all(|count| *count <= 3));
        assert_eq!(halves(vec![1, 2, 3]), [vec![2, 3], vec![1]]);
    }

    #[test]
    fn a_refusal_names_the_field_that_the_server_names() {
        let error = WireError {
            code: "BadRequestException".into(),
            message: "Invalid string value 'nope' for email field \"emails.primaryEmail\"".into(),
        };
        assert_eq!(refusal(error, false).fields, [FieldName::from("emails.primaryEmail")]);
        assert!(!is_uuid("") && !is_uuid("x],deletedAt[is]:NULL") && is_uuid("2ed6657d-e927-568b-95e1-2665a8aea6a2"));
    }
}
