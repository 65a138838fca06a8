//! A walk through one list, page by page, that cannot be led in a circle and does not miss what moves between two pages.

use std::{collections::HashSet, sync::Arc};

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Url;
use serde_json::Value as Json;

use super::{
    answer::{self, find},
    description::{Changed, SendIn, Stream, Total},
    error::RestError,
    paging::{Next, Pager, Paging, PagingError, Shown, Turn},
    wire::{Answer, Ask, Wire},
};
use crate::{
    bundle::{join_key, json},
    error::RemoteError,
};

/// How often a list that moves is read again, at most.
const PASSES: u32 = 6;
/// So many pages in a row without anything new are a circle.
const IDLE: u32 = 3;

/// One list of the server.
#[derive(Debug, Clone)]
pub(crate) struct List {
    /// The object, for messages.
    pub(crate) object: String,
    pub(crate) ask: Ask,
    pub(crate) records: String,
    pub(crate) paging: Paging,
    pub(crate) total: Option<Total>,
    /// How changes are asked for; without it the list is always whole.
    pub(crate) changed: Option<Changed>,
    /// Whether nothing moves inside it.
    pub(crate) still: bool,
    /// The columns that tell its records apart; without any, the whole record does.
    pub(crate) key: Vec<String>,
    /// How its records are made of what the server gives.
    pub(crate) stream: Option<Arc<Stream>>,
}

/// The records of one page that no page before it had.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    pub(crate) rows: Vec<Json>,
}

/// The walk.
#[derive(Debug)]
pub(crate) struct Walk {
    wire: Arc<Wire>,
    list: List,
    since: Option<DateTime<Utc>>,
    pager: Pager,
    turn: Option<Turn>,
    here: Option<Url>,
    /// The requests of this pass: the same one twice is a circle.
    asked: HashSet<[u8; 16]>,
    met: HashSet<[u8; 16]>,
    pass: Pass,
    passes: u32,
    total: Option<u64>,
    began: Option<DateTime<Utc>>,
}

#[derive(Debug, Default)]
struct Pass {
    pages: u32,
    rows: u64,
    idle: u32,
    /// New records after which no known one came yet.
    tail: u64,
    /// New records before a known one: something moved while an earlier pass went by.
    moved: u64,
}

impl Walk {
    /// Begins at the first page of what changed since a moment, or of everything.
    pub(crate) fn new(wire: Arc<Wire>, list: List, since: Option<DateTime<Utc>>) -> Self {
        let pager = Pager::new(&list.paging);
        let turn = Some(pager.first());
        let since = since.filter(|_| list.changed.is_some());
        Self {
            wire,
            list,
            since,
            pager,
            turn,
            here: None,
            asked: HashSet::new(),
            met: HashSet::new(),
            pass: Pass::default(),
            passes: 1,
            total: None,
            began: None,
        }
    }

    /// Returns when the server gave the first page, by its own clock.
    pub(crate) fn began(&self) -> Option<DateTime<Utc>> {
        self.began
    }

    /// Returns how many records the server says there are.
    pub(crate) fn total(&self) -> Option<u64> {
        self.total
    }

    /// Returns whether the walk has met the record.
    pub(crate) fn has_met(&self, id: &str) -> bool {
        self.met.contains(&mark(id.as_bytes()))
    }

    /// Returns how the list is walked.
    pub(crate) fn list(&self) -> &List {
        &self.list
    }

    /// Returns the next page; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Sheet>, RestError> {
        let Some(turn) = self.turn.take() else { return Ok(None) };
        let ask = self.filtered().turned(&turn);
        let url = self.wire.address(&ask, turn.url.as_deref(), self.here.as_ref()).map_err(|e| self.stuck(e))?;
        if !self.asked.insert(mark(format!("{url} {:?} {:?}", turn.headers, ask.body).as_bytes())) {
            return Err(self.stuck(PagingError::Repeats));
        }
        let answer = self.wire.json(&ask, &url).await?;
        self.here = Some(url);
        self.began = self.began.or(answer.at);
        let rows = self.rows(&answer)?;
        self.total = self.total_of(&answer).or(self.total);
        let shown =
            Shown { body: &answer.body, link: answer.header("link"), records: rows.len() as u64, last: rows.last() };
        let mut next = self.pager.next(shown).map_err(|e| self.stuck(e))?;
        if self.is_past(rows.last()) {
            next = Next::End;
        }
        let last_change = rows.last().and_then(|row| self.change_of(row));
        let fresh = self.take(rows);
        match next {
            Next::Page(turn) => {
                if self.pass.idle >= IDLE {
                    return Err(self.stuck(PagingError::NothingNew));
                }
                self.turn = Some(turn);
            }
            Next::Capped => self.begin_again_from(last_change)?,
            Next::End => self.end_of_pass()?,
        }
        Ok(Some(Sheet { rows: fresh }))
    }

    fn stuck(&self, error: PagingError) -> RestError {
        RestError::Paging { object: self.list.object.clone(), error }
    }

    /// Returns the request of the list with the moment in it.
    fn filtered(&self) -> Ask {
        let mut ask = self.list.ask.clone();
        if let (Some(since), Some(changed)) = (self.since, &self.list.changed)
            && let Some(send) = &changed.send
        {
            let text = written(since, &changed.format);
            match changed.place {
                SendIn::Query => ask.query.push((send.clone(), text)),
                SendIn::Header => ask.headers.push((send.clone(), text)),
                SendIn::Body => answer::put(ask.body.get_or_insert(Json::Null), send, Json::String(text)),
                SendIn::Order => {}
            }
        }
        ask
    }

    fn rows(&self, answer: &Answer) -> Result<Vec<Json>, RestError> {
        let rows = answer::records(answer.body.clone(), &self.list.records).ok_or_else(|| {
            RestError::Remote(RemoteError::Malformed {
                system: self.wire.system.clone(),
                what: self.list.object.clone(),
                detail: format!("there is no list of records at {}", self.list.records),
            })
        })?;
        Ok(match &self.list.stream {
            Some(stream) => rows.into_iter().map(|row| answer::arrange(row, stream)).collect(),
            None => rows,
        })
    }

    fn total_of(&self, answer: &Answer) -> Option<u64> {
        let total = self.list.total.as_ref()?;
        let told = total.path.as_ref().and_then(|path| find(&answer.body, path)).and_then(json::plain);
        told.or_else(|| total.header.as_ref().and_then(|name| answer.header(name)).map(str::to_owned))?
            .trim()
            .parse()
            .ok()
    }

    /// Keeps the records that no page had before.
    fn take(&mut self, rows: Vec<Json>) -> Vec<Json> {
        let pass = &mut self.pass;
        pass.pages += 1;
        pass.rows += rows.len() as u64;
        let (met, key) = (&mut self.met, &self.list.key);
        let had_rows = !rows.is_empty();
        let fresh: Vec<Json> = rows
            .into_iter()
            .filter(|row| {
                let own = match id_of(row, key) {
                    Some(id) => mark(id.as_bytes()),
                    None => mark(row.to_string().as_bytes()),
                };
                let new = met.insert(own);
                if new {
                    pass.tail += 1;
                } else {
                    pass.moved += std::mem::take(&mut pass.tail);
                }
                new
            })
            .collect();
        pass.idle = if had_rows && fresh.is_empty() && self.passes == 1 { pass.idle + 1 } else { 0 };
        fresh
    }

    /// A list in which places or page numbers count is read until a pass finds nothing that had moved: what goes away while it
    /// is read moves a later record onto a page that was read already.
    fn end_of_pass(&mut self) -> Result<(), RestError> {
        let moves = self.list.paging.shifts() && !self.list.still && self.pass.pages > 1;
        let disturbed = self.passes == 1 || self.pass.moved > 0;
        if moves && disturbed {
            if self.passes >= PASSES {
                return Err(self.stuck(PagingError::Restless { passes: self.passes }));
            }
            self.passes += 1;
            self.pass = Pass::default();
            self.asked.clear();
            self.pager = Pager::new(&self.list.paging);
            self.turn = Some(self.pager.first());
            return Ok(());
        }
        let found = self.pass.rows.max(self.met.len() as u64);
        // What a server counts when it is asked for changes may be them or everything.
        match self.total.filter(|_| self.since.is_none()) {
            Some(total) if found < total => Err(self.stuck(PagingError::Short { total, found })),
            _ => Ok(()),
        }
    }

    /// Where the server gives no more although there is more, a list in the order of changes is begun again from where it ended.
    fn begin_again_from(&mut self, last: Option<DateTime<Utc>>) -> Result<(), RestError> {
        let sorted = self.list.changed.as_ref().is_some_and(|changed| changed.sorted);
        match last.filter(|last| sorted && self.since.is_none_or(|since| *last > since)) {
            Some(last) => {
                self.since = Some(last);
                self.pass = Pass::default();
                self.pager = Pager::new(&self.list.paging);
                self.turn = Some(self.pager.first());
                // What the server counts from now on is the rest.
                self.total = None;
                Ok(())
            }
            None => Err(self.stuck(PagingError::Capped { records: self.met.len() as u64 })),
        }
    }

    fn change_of(&self, row: &Json) -> Option<DateTime<Utc>> {
        let field = self.list.changed.as_ref()?.field.as_ref()?;
        DateTime::parse_from_rfc3339(&find(row, field).and_then(json::plain)?).ok().map(|at| at.to_utc())
    }

    /// Returns whether a list with the latest change first has come down to the moment.
    fn is_past(&self, last: Option<&Json>) -> bool {
        let descends = self.list.changed.as_ref().is_some_and(|changed| changed.place == SendIn::Order);
        descends
            && self.since.is_some_and(|since| last.and_then(|row| self.change_of(row)).is_some_and(|at| at < since))
    }
}

/// Returns the id of a record, as the recipe of its object will make it.
pub(crate) fn id_of(row: &Json, key: &[String]) -> Option<String> {
    if key.is_empty() {
        return None;
    }
    let parts: Vec<String> = key
        .iter()
        .map(|column| find(row, column).and_then(json::plain).unwrap_or_default().trim().to_owned())
        .collect();
    parts.iter().any(|part| !part.is_empty()).then(|| join_key(&parts))
}

fn mark(bytes: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    short
}

/// Writes a moment as the server wants it; never later than it is.
pub(crate) fn written(at: DateTime<Utc>, format: &str) -> String {
    match format {
        "rfc3339" => at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "epoch_s" => at.timestamp().to_string(),
        "epoch_ms" => at.timestamp_millis().to_string(),
        format => at.format(format).to_string(),
    }
}
