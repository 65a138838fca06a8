//! The destination before us, and the proof that it is so again.

use std::collections::BTreeMap;

use futures::StreamExt;
use serde::Serialize;
use waybill_connectors::{Destination, RemoteRecord, Scan};
use waybill_ledger::{
    BaselineRow, Content, Digest, Event, FieldName, ObjectName, ObjectSchema, Position, event::NameKind, ledger::Opened,
};

use crate::{failure::Failure, flaws::Flaws, recorder::Recorder, state::State, write::Desk};

/// Rows in one part of a baseline.
const PART: usize = 2_000;

/// How the destination differs from its baseline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The object.
    pub object: String,
    /// Rows that were there before us.
    pub before: u64,
    /// Rows that are there now.
    pub now: u64,
    /// Rows that are there exactly as before.
    pub equal: u64,
    /// Ids of rows that hold other values than before.
    pub changed: Vec<String>,
    /// Ids of rows that were not there before.
    pub appeared: Vec<String>,
    /// Ids of rows that were there before and are not now.
    pub vanished: Vec<String>,
}

impl Difference {
    /// Returns whether the object is as it was.
    pub fn is_none(&self) -> bool {
        self.changed.is_empty() && self.appeared.is_empty() && self.vanished.is_empty()
    }
}

/// Writes down what an object holds, row by row as a digest.
pub async fn take<D: Destination, M: Flaws>(
    desk: &Desk<D, M>,
    state: &mut State,
    object: &ObjectName,
) -> Result<u64, Failure> {
    let recorder = &desk.recorder;
    let name = recorder.name(NameKind::Object, object.as_str())?;
    let fields = settable(desk.schema.object(object.as_str()), &desk.key_field);
    let mut pages = desk.destination.scan(object, &fields, Scan::All);
    let (mut rows, mut total) = (Vec::new(), 0);
    desk.progress.begin(&format!("baseline of {object}"), 0);
    while let Some(page) = pages.next().await {
        let page = page?;
        total += page.len() as u64;
        desk.progress.advance(page.len() as u64);
        rows.extend(page.iter().map(row).collect::<Result<Vec<_>, _>>()?);
        while rows.len() > PART {
            let part: Vec<BaselineRow> = rows.drain(..PART).collect();
            write(recorder, name, part, false).await?;
        }
    }
    write(recorder, name, rows, true).await?;
    desk.progress.end();
    state.catch_up(recorder.ledger())?;
    Ok(total)
}

/// Compares an object with its baseline. Both come in the order of their ids.
pub async fn compare<D: Destination, M: Flaws>(
    desk: &Desk<D, M>,
    state: &State,
    object: &ObjectName,
) -> Result<Option<Difference>, Failure> {
    let ledger = desk.recorder.ledger();
    let Some(name) = ledger.find_name(NameKind::Object, object.as_str()) else { return Ok(None) };
    let Some(baseline) = state.baseline(name).filter(|baseline| baseline.complete) else { return Ok(None) };
    let mut difference = Difference { object: object.to_string(), ..Difference::default() };
    let mut before: BTreeMap<String, BaselineRow> = BTreeMap::new();
    let mut parts = baseline.parts.iter().copied();
    let mut exhausted = false;
    let fields = settable(desk.schema.object(object.as_str()), &desk.key_field);
    let mut pages = desk.destination.scan(object, &fields, Scan::All);
    desk.progress.begin(&format!("comparing {object}"), baseline.rows);
    while let Some(page) = pages.next().await {
        for now in page? {
            difference.now += 1;
            // Read parts until they reach as far as this row, so that only a part or two is in memory.
            while !exhausted && before.last_key_value().is_none_or(|(last, _)| *last < now.record.id) {
                match parts.next() {
                    Some(at) => before.extend(part(ledger, at)?.into_iter().map(|row| (row.id.clone(), row))),
                    None => exhausted = true,
                }
            }
            let later = before.split_off(&now.record.id);
            difference.vanished.extend(std::mem::replace(&mut before, later).into_keys());
            match before.remove(&now.record.id) {
                None => difference.appeared.push(now.record.id),
                Some(old) if old.digest == row(&now)?.digest => difference.equal += 1,
                Some(old) => difference.changed.push(old.id),
            }
            desk.progress.advance(1);
        }
    }
    difference.vanished.extend(before.into_keys());
    for at in parts {
        difference.vanished.extend(part(ledger, at)?.into_iter().map(|row| row.id));
    }
    difference.before = baseline.rows;
    desk.progress.end();
    Ok(Some(difference))
}

fn part(ledger: &waybill_ledger::ledger::Ledger, at: Position) -> Result<Vec<BaselineRow>, Failure> {
    match ledger.reader().at(at)? {
        Some((_, Opened::Content(Content::Baseline(rows)))) => Ok(rows),
        _ => Err(Failure::ledger(format!("the baseline at position {at} cannot be read"))
            .hint("check the ledger with `waybill audit verify`")),
    }
}

async fn write(
    recorder: &Recorder,
    object: waybill_ledger::NameId,
    rows: Vec<BaselineRow>,
    complete: bool,
) -> Result<(), Failure> {
    let mut hasher = blake3::Hasher::new();
    for row in &rows {
        hasher.update(row.id.as_bytes()).update(&row.digest.0);
    }
    let digest = Digest(*hasher.finalize().as_bytes());
    let event = Event::BaselineTaken { object, rows: rows.len() as u64, digest, complete };
    recorder.append(vec![recorder.draft(event).content(Content::Baseline(rows))]).await?;
    Ok(())
}

/// Digests the settable fields that hold something: a field that did not exist before and holds nothing is no change.
fn row(remote: &RemoteRecord) -> Result<BaselineRow, Failure> {
    let held: waybill_ledger::Fields =
        remote.record.fields.iter().filter_map(|(name, value)| Some((name.clone(), value?.clone()))).collect();
    let digest = Digest::of(&crate::load::fields_bytes(&held)?);
    Ok(BaselineRow { id: remote.record.id.clone(), version: remote.version.clone(), digest })
}

/// Returns the fields that a writer can set, our key among them.
fn settable(schema: Option<&ObjectSchema>, key: &FieldName) -> Vec<FieldName> {
    let fields = schema.into_iter().flat_map(|schema| &schema.fields);
    let mut names: Vec<FieldName> =
        fields.filter(|field| field.createable || field.updateable).map(|field| field.name.clone()).collect();
    if schema.is_some_and(|schema| schema.field(key.as_str()).is_none()) {
        names.retain(|name| name != key);
    }
    names
}
