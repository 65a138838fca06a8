//! How lists are paged: given an answer, the next request or the end. No I/O.
//!
//! The kinds are those of the convention "declarative REST source"; each names the public APIs it covers.

use serde::Deserialize;
use serde_json::Value as Json;

use super::{answer::find, description::SendIn};
use crate::bundle::json::{given_back, plain};

/// How one list is paged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Paging {
    /// One answer holds everything.
    None,
    /// Numbered pages (Zoho, Freshdesk, Freshsales, JSON:API).
    Page {
        /// The parameter with the number.
        page: String,
        #[serde(default = "one")]
        first: u64,
        /// The parameter with the size.
        limit: Option<String>,
        #[serde(default = "hundred")]
        size: u64,
        /// Where the answer says whether there is more,
        more: Option<String>,
        /// or how many pages there are. Without either, an empty page is the end.
        pages: Option<String>,
        /// The server gives no page after this one.
        max: Option<u64>,
    },
    /// A place in the list (ActiveCampaign, Close, Pipedrive v1).
    Offset {
        /// The parameter with the place.
        offset: String,
        limit: String,
        #[serde(default = "hundred")]
        size: u64,
        /// Where the answer gives the next place,
        next: Option<String>,
        /// whether there is more,
        more: Option<String>,
        /// or how many records there are in all. Without any, an empty page is the end.
        total: Option<String>,
        /// The server gives nothing from this place on.
        max: Option<u64>,
    },
    /// An opaque mark (HubSpot, Pipedrive v2, Keap, Pipeliner, Intercom).
    Cursor {
        /// What takes the mark.
        send: String,
        #[serde(default, rename = "in")]
        place: SendIn,
        /// Where the answer gives the next one.
        read: String,
        /// Where the answer says whether there is more.
        more: Option<String>,
        limit: Option<String>,
        #[serde(default = "hundred")]
        size: u64,
    },
    /// The address of the next page in the `Link` header (RFC 8288; Spark real estate, Freshdesk).
    LinkHeader {
        #[serde(default = "next")]
        rel: String,
        limit: Option<String>,
        #[serde(default = "hundred")]
        size: u64,
    },
    /// The address of the next page in the answer (HubSpot `paging.next.link`).
    NextUrl {
        read: String,
        limit: Option<String>,
        #[serde(default = "hundred")]
        size: u64,
    },
    /// A value of the last record (HighLevel; keyset by id).
    LastRow {
        send: String,
        #[serde(default, rename = "in")]
        place: SendIn,
        /// Where the value is in a record.
        read: String,
        limit: Option<String>,
        #[serde(default = "hundred")]
        size: u64,
    },
}

fn one() -> u64 {
    1
}

fn hundred() -> u64 {
    100
}

fn next() -> String {
    "next".to_owned()
}

/// What the request of one page adds to that of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: Vec<(String, String)>,
    /// Dotted places in the body.
    pub(crate) body: Vec<(String, Json)>,
    /// The whole address, where the server gives one.
    pub(crate) url: Option<String>,
}

/// What an answer shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) body: &'a Json,
    /// Its `Link` header.
    pub(crate) link: Option<&'a str>,
    /// How many records it holds.
    pub(crate) records: u64,
    pub(crate) last: Option<&'a Json>,
}

/// What follows an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another page.
    Page(Turn),
    /// There is no more.
    End,
    /// There is more, but the server will not give it in this way.
    Capped,
}

/// Why a list cannot be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PagingError {
    /// The server leads in a circle.
    #[error("the server gives the same page again: the mark of the next page repeats")]
    Repeats,
    /// A page brings nothing new.
    #[error("a page holds nothing that the pages before it did not hold")]
    NothingNew,
    /// There should be more, and no way to it.
    #[error("the answer says that there is more, but {path} does not say where")]
    NoMark {
        /// Where the mark should be.
        path: String,
    },
    /// The answer lacks what says whether there is more.
    #[error("the answer has no {path}, which says whether there is more")]
    NoSign {
        /// Where the sign should be.
        path: String,
    },
    /// The next page is at another server.
    #[error("the next page is said to be at {origin}, another server: our secret is not sent there")]
    OtherServer {
        /// Its origin.
        origin: String,
    },
    /// The server does not give the whole list.
    #[error("the server gives no more after {records} records, and there are more")]
    Capped {
        /// How many came.
        records: u64,
    },
    /// Fewer records came than there are.
    #[error("the server says that there are {total} records, and gives {found}")]
    Short {
        /// What the server says.
        total: u64,
        /// What came.
        found: u64,
    },
    /// A list moves faster than it can be read.
    #[error("the list changes while it is read, {passes} times in a row")]
    Restless {
        /// How often it was read.
        passes: u32,
    },
}

impl Paging {
    /// Says what cannot work.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.size() == Some(0) {
            return Err("a page of size 0 holds nothing".to_owned());
        }
        match self {
            Self::Cursor { place: SendIn::Order, .. } | Self::LastRow { place: SendIn::Order, .. } => {
                Err("a mark is sent in query, header or body".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Returns whether a record that goes away moves others between pages.
    pub(crate) fn shifts(&self) -> bool {
        matches!(self, Self::Page { .. } | Self::Offset { .. } | Self::LinkHeader { .. })
    }

    fn size(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Page { size, .. }
            | Self::Offset { size, .. }
            | Self::Cursor { size, .. }
            | Self::LinkHeader { size, .. }
            | Self::NextUrl { size, .. }
            | Self::LastRow { size, .. } => Some(*size),
        }
    }

    fn limited(&self) -> Turn {
        let mut turn = Turn::default();
        let (limit, place) = match self {
            Self::None => return turn,
            Self::Offset { limit, .. } => (Some(limit), SendIn::Query),
            Self::Page { limit, .. } | Self::LinkHeader { limit, .. } | Self::NextUrl { limit, .. } => {
                (limit.as_ref(), SendIn::Query)
            }
            Self::Cursor { limit, place, .. } | Self::LastRow { limit, place, .. } => (limit.as_ref(), *place),
        };
        if let (Some(limit), Some(size)) = (limit, self.size()) {
            match place {
                SendIn::Body => turn.body.push((limit.clone(), Json::from(size))),
                _ => turn.query.push((limit.clone(), size.to_string())),
            }
        }
        turn
    }
}

/// A walk through the pages of one list.
#[derive(Debug, Clone)]
pub(crate) struct Pager {
    paging: Paging,
    /// The number of the page, or the place in the list.
    at: u64,
}

impl Pager {
    pub(crate) fn new(paging: &Paging) -> Self {
        let at = if let Paging::Page { first, .. } = paging { *first } else { 0 };
        Self { paging: paging.clone(), at }
    }

    /// Returns the request of the first page.
    pub(crate) fn first(&self) -> Turn {
        let mut turn = self.paging.limited();
        match &self.paging {
            Paging::Page { page, .. } => turn.query.push((page.clone(), self.at.to_string())),
            Paging::Offset { offset, .. } => turn.query.push((offset.clone(), self.at.to_string())),
            _ => {}
        }
        turn
    }

    /// Returns what follows an answer.
    pub(crate) fn next(&mut self, shown: Shown<'_>) -> Result<Next, PagingError> {
        let body = shown.body;
        let flag = |path: &str| match find(body, path) {
            Some(Json::Bool(flag)) => Ok(*flag),
            Some(Json::Number(number)) => Ok(number.as_f64() != Some(0.0)),
            Some(Json::String(text)) => Ok(matches!(text.as_str(), "true" | "1" | "yes")),
            Some(Json::Null) => Ok(false),
            _ => Err(PagingError::NoSign { path: path.to_owned() }),
        };
        let count = |path: &str| {
            let found = find(body, path).and_then(plain).and_then(|text| text.parse::<u64>().ok());
            found.ok_or_else(|| PagingError::NoSign { path: path.to_owned() })
        };
        let mark = |path: &str, json: &Json| find(json, path).and_then(plain).filter(|text| !text.is_empty());
        match &self.paging {
            Paging::None => Ok(Next::End),
            Paging::Page { page, first, more, pages, max, .. } => {
                let goes_on = match (more, pages) {
                    (Some(path), _) => flag(path)?,
                    (None, Some(path)) => self.at + 1 < count(path)? + first,
                    (None, None) => shown.records > 0,
                };
                if !goes_on {
                    return Ok(Next::End);
                }
                if max.is_some_and(|max| self.at >= max) {
                    return Ok(Next::Capped);
                }
                self.at += 1;
                let mut turn = self.paging.limited();
                turn.query.push((page.clone(), self.at.to_string()));
                Ok(Next::Page(turn))
            }
            Paging::Offset { offset, next, more, total, max, .. } => {
                let after = self.at + shown.records;
                let goes_on = match (more, total) {
                    (Some(path), _) => flag(path)?,
                    (None, Some(path)) => after < count(path)? && shown.records > 0,
                    (None, None) => shown.records > 0,
                };
                let told = match next {
                    Some(path) => find(body, path).filter(|told| !told.is_null()).and_then(plain),
                    None => None,
                };
                let to = match (next, told) {
                    _ if !goes_on => return Ok(Next::End),
                    (None, _) => after,
                    (Some(path), None) if more.is_some() || total.is_some() => {
                        return Err(PagingError::NoMark { path: path.clone() });
                    }
                    (Some(_), None) => return Ok(Next::End),
                    (Some(path), Some(told)) => told.parse().map_err(|_| PagingError::NoMark { path: path.clone() })?,
                };
                if to <= self.at {
                    return Err(PagingError::Repeats);
                }
                if max.is_some_and(|max| to >= max) {
                    return Ok(Next::Capped);
                }
                self.at = to;
                let mut turn = self.paging.limited();
                turn.query.push((offset.clone(), self.at.to_string()));
                Ok(Next::Page(turn))
            }
            Paging::Cursor { send, place, read, more, .. } => {
                let goes_on = more.as_ref().map(|path| flag(path)).transpose()?;
                match (goes_on, mark(read, body)) {
                    (Some(false), _) | (None, None) => Ok(Next::End),
                    (Some(true), None) => Err(PagingError::NoMark { path: read.clone() }),
                    (_, Some(found)) => Ok(Next::Page(self.sent(send, *place, Json::String(found)))),
                }
            }
            Paging::LinkHeader { rel, .. } => Ok(match shown.link.and_then(|link| linked(link, rel)) {
                Some(url) => Next::Page(Turn { url: Some(url), ..Turn::default() }),
                None => Next::End,
            }),
            Paging::NextUrl { read, .. } => Ok(match mark(read, body) {
                Some(url) => Next::Page(Turn { url: Some(url), ..Turn::default() }),
                None => Next::End,
            }),
            Paging::LastRow { send, place, read, size, .. } => {
                let Some(last) = shown.last.filter(|_| shown.records >= *size) else { return Ok(Next::End) };
                let found = find(last, read).filter(|found| !found.is_null()).cloned();
                let found = found.ok_or_else(|| PagingError::NoMark { path: read.clone() })?;
                Ok(Next::Page(self.sent(send, *place, found)))
            }
        }
    }

    fn sent(&self, send: &str, place: SendIn, mark: Json) -> Turn {
        let mut turn = self.paging.limited();
        let text = plain(&mark).unwrap_or_else(|| mark.to_string());
        match place {
            SendIn::Header => turn.headers.push((send.to_owned(), text)),
            SendIn::Body => turn.body.push((send.to_owned(), given_back(&mark))),
            SendIn::Query | SendIn::Order => turn.query.push((send.to_owned(), text)),
        }
        turn
    }
}

/// Returns the address of a relation in a `Link` header (RFC 8288, section 3).
pub(crate) fn linked(header: &str, rel: &str) -> Option<String> {
    let mut rest = header;
    while let Some(open) = rest.find('<') {
        let (target, after) = rest[open + 1..].split_once('>')?;
        // The parameters end where the next address begins; a comma may stand in a quoted value.
        let end = after.find(",<").or_else(|| after.find(", <")).unwrap_or(after.len());
        let (parameters, tail) = after.split_at(end);
        let is = parameters.split(';').filter_map(|one| one.split_once('=')).any(|(name, value)| {
            name.trim().eq_ignore_ascii_case("rel")
                && value.trim().trim_matches('"').split_ascii_whitespace().any(|one| one.eq_ignore_ascii_case(rel))
        });
        if is {
            return Some(target.trim().to_owned());
        }
        rest = tail;
    }
    None
}

#[cfg(test)]
mod tests;
