//! The ways in which public APIs page their lists: each reads its own parameters and answers in its own envelope.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value as Json, json};

use super::data::Key;

/// How lists are paged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paging {
    /// `?limit=&cursor=`, `meta.next_cursor`.
    #[default]
    Cursor,
    /// `?limit=&after=`, `results`, `paging.next.after` (HubSpot v3).
    After,
    /// `?start=&limit=`, `additional_data.pagination` (Pipedrive v1).
    Start,
    /// `?page=&per_page=`, `info.more_records` (Zoho v2).
    Page,
    /// `?page=&per_page=`, a bare list, the `Link` header (Spark real estate, Freshdesk).
    Link,
    /// `?limit=`, `links.next` with a whole address.
    NextUrl,
    /// `?limit=&offset=`, `meta.total` (ActiveCampaign).
    Total,
    /// `?page=&per_page=`, a bare list that ends with an empty page (Freshdesk).
    Bare,
    /// `?limit=&after_id=`: rows after the last one seen.
    LastRow,
    /// A search that is posted, `pagination.starting_after`, `pages.next` (Intercom).
    Search,
}

/// Makes the address of a page out of its parameters.
pub(crate) type Address<'a> = dyn Fn(&[(&str, String)]) -> String + 'a;

/// The most rows of a page.
const MOST: usize = 500;

/// Where a page begins, and how much of the list it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begin {
    /// After so many rows.
    Place(usize),
    /// After this row, in the order of changes or of ids.
    After(i64, Key),
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) from: Begin,
    pub(crate) size: usize,
    page: usize,
}

/// What is given, and what is there beyond it.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) rows: Vec<Json>,
    pub(crate) total: usize,
    /// Whether rows follow.
    pub(crate) more: bool,
    /// The last row's place in the order.
    pub(crate) last: Option<(i64, Key)>,
    pub(crate) server_time: String,
}

impl Paging {
    /// Returns the kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "cursor" => Self::Cursor,
            "after" => Self::After,
            "start" => Self::Start,
            "page" => Self::Page,
            "link" => Self::Link,
            "next-url" => Self::NextUrl,
            "total" => Self::Total,
            "bare" => Self::Bare,
            "last-row" => Self::LastRow,
            "search" => Self::Search,
            _ => return None,
        })
    }

    /// The names of all kinds.
    pub const NAMES: [&'static str; 10] =
        ["cursor", "after", "start", "page", "link", "next-url", "total", "bare", "last-row", "search"];

    /// Returns the parameters that a list takes.
    pub(crate) fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Cursor | Self::NextUrl => &["limit", "cursor"],
            Self::After => &["limit", "after"],
            Self::Start => &["start", "limit"],
            Self::Page | Self::Link | Self::Bare => &["page", "per_page"],
            Self::Total => &["limit", "offset"],
            Self::LastRow => &["limit", "after_id"],
            Self::Search => &[],
        }
    }

    /// Reads what is asked for; `query` also holds what a search has in its body.
    pub(crate) fn wanted(self, query: &BTreeMap<String, String>, deepest: Option<usize>) -> Result<Wanted, String> {
        let number = |name: &str, usual: usize| match query.get(name) {
            None => Ok(usual),
            Some(text) => text.parse::<usize>().map_err(|_| format!("{name} is no number")),
        };
        let size_name =
            if matches!(self, Self::Page | Self::Link | Self::Bare | Self::Search) { "per_page" } else { "limit" };
        let size = number(size_name, 25)?;
        if size == 0 || size > MOST {
            return Err(format!("{size_name} must be between 1 and {MOST}"));
        }
        let mark =
            |name: &str| query.get(name).map(|mark| decode(mark).ok_or_else(|| format!("{name} is not one of ours")));
        let after = |mark: Option<Result<(i64, Key), String>>| {
            mark.transpose().map(|found| found.map_or(Begin::Place(0), |(at, key)| Begin::After(at, key)))
        };
        let mut page = 1;
        let from = match self {
            Self::Cursor | Self::NextUrl => after(mark("cursor"))?,
            Self::After => after(mark("after"))?,
            Self::Search => after(mark("starting_after"))?,
            Self::LastRow => match query.get("after_id") {
                None => Begin::Place(0),
                Some(id) => Begin::After(i64::MIN, Key::new(id)),
            },
            Self::Start => Begin::Place(number("start", 0)?),
            Self::Total => Begin::Place(number("offset", 0)?),
            Self::Page | Self::Link | Self::Bare => {
                page = number("page", 1)?;
                if page == 0 {
                    return Err("page begins with 1".to_owned());
                }
                if deepest.is_some_and(|deepest| page > deepest) {
                    return Err(format!("no page after {} is given", deepest.unwrap_or_default()));
                }
                Begin::Place((page - 1) * size)
            }
        };
        Ok(Wanted { from, size, page })
    }

    /// Returns whether rows are given in the order of ids, whatever is asked for.
    pub(crate) fn by_id(self) -> bool {
        !matches!(self, Self::Cursor | Self::After | Self::NextUrl | Self::Search)
    }

    /// Puts a page into its envelope, with the `Link` header and the count header.
    pub(crate) fn envelope(
        self,
        wanted: &Wanted,
        given: Given,
        address: &Address<'_>,
    ) -> (Json, Vec<(&'static str, String)>) {
        let Given { rows, total, more, last, server_time } = given;
        let mark = || last.as_ref().filter(|_| more).map(|(at, key)| encode(*at, key));
        let place = match wanted.from {
            Begin::Place(place) => place,
            Begin::After(..) => 0,
        };
        let count = rows.len();
        match self {
            Self::Cursor => (
                json!({ "data": rows, "meta": { "next_cursor": mark(), "total": total, "server_time": server_time } }),
                Vec::new(),
            ),
            Self::After => {
                let mut body =
                    Map::from_iter([("results".to_owned(), Json::Array(rows)), ("total".to_owned(), json!(total))]);
                if let Some(mark) = mark() {
                    body.insert("paging".to_owned(), json!({ "next": { "after": mark } }));
                }
                (Json::Object(body), Vec::new())
            }
            Self::Start => {
                let mut pagination = json!({ "start": place, "limit": wanted.size, "more_items_in_collection": more });
                if more {
                    pagination["next_start"] = json!(place + count);
                }
                (json!({ "success": true, "data": rows, "additional_data": { "pagination": pagination } }), Vec::new())
            }
            Self::Page => {
                let info =
                    json!({ "page": wanted.page, "per_page": wanted.size, "count": count, "more_records": more });
                (json!({ "data": rows, "info": info }), Vec::new())
            }
            Self::Link => {
                let page = |page: usize| address(&[("page", page.to_string()), ("per_page", wanted.size.to_string())]);
                let mut links = Vec::new();
                if more {
                    links.push(format!("<{}>; rel=\"next\"", page(wanted.page + 1)));
                }
                if total > wanted.size {
                    links.push(format!("<{}>; rel=\"last\"", page(total.div_ceil(wanted.size))));
                }
                let mut headers = vec![("x-total-count", total.to_string())];
                if !links.is_empty() {
                    headers.push(("link", links.join(", ")));
                }
                (Json::Array(rows), headers)
            }
            Self::NextUrl => {
                let next = mark().map(|mark| address(&[("cursor", mark), ("limit", wanted.size.to_string())]));
                (json!({ "data": rows, "links": { "next": next } }), Vec::new())
            }
            Self::Total => {
                (json!({ "data": rows, "meta": { "total": total, "offset": place, "limit": wanted.size } }), Vec::new())
            }
            Self::Bare => (Json::Array(rows), Vec::new()),
            Self::LastRow => (json!({ "data": rows }), Vec::new()),
            Self::Search => {
                let mut pages = json!({ "type": "pages", "per_page": wanted.size });
                if let Some(mark) = mark() {
                    pages["next"] = json!({ "starting_after": mark });
                }
                (json!({ "type": "list", "data": rows, "pages": pages, "total_count": total }), Vec::new())
            }
        }
    }
}

fn encode(at: i64, key: &Key) -> String {
    let text = match key {
        Key::Number(number) => format!("{at}|n{number}"),
        Key::Text(.., text) => format!("{at}|t{text}"),
    };
    URL_SAFE_NO_PAD.encode(text)
}

fn decode(mark: &str) -> Option<(i64, Key)> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(mark).ok()?).ok()?;
    let (at, key) = text.split_once('|')?;
    let key = match key.split_at_checked(1)? {
        ("n", number) => Key::Number(number.parse().ok()?),
        ("t", text) => Key::new(text),
        _ => return None,
    };
    Some((at.parse().ok()?, key))
}
