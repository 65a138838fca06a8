//! The items of one object, page by page: what an export's reader gives, from a server.

use std::{collections::HashSet, fmt, str::FromStr, sync::Arc};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value as Json;

use super::{
    Rest,
    answer::{arrange, find},
    description::{Detail, GoneHow},
    downloads::encoded,
    error::RestError,
    walk::{List, Walk, id_of},
    wire::Ask,
};
use crate::bundle::{BundleError, DeletedHow, Item, Origin, Recipe, json};

/// How far a source was read, by the source's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Watermark(DateTime<Utc>);

impl Watermark {
    /// Returns the moment.
    pub fn at(self) -> DateTime<Utc> {
        self.0
    }
}

impl fmt::Display for Watermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl FromStr for Watermark {
    type Err = chrono::ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(DateTime::parse_from_rfc3339(text)?.to_utc()))
    }
}

/// What is gone, of all objects.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    rows: Vec<GoneRow>,
}

#[derive(Debug)]
struct GoneRow {
    object: String,
    id: String,
    how: DeletedHow,
    at: Option<DateTime<Utc>>,
}

/// A reading of one object under way.
#[derive(Debug)]
pub struct Reading<'a> {
    rest: &'a Rest,
    walk: Walk,
    recipe: Arc<Recipe>,
    words: Arc<[String]>,
    detail: Option<Detail>,
    gone_how: GoneHow,
    lists_files: bool,
    /// Where its rows come from, for people.
    file: String,
    line: u64,
    since: Option<Watermark>,
    latest: Option<DateTime<Utc>>,
    told_gone: bool,
}

impl<'a> Reading<'a> {
    pub(crate) fn new(
        rest: &'a Rest,
        object: &str,
        list: List,
        recipe: Arc<Recipe>,
        words: Arc<[String]>,
        since: Option<Watermark>,
    ) -> Self {
        let stream = list.stream.clone();
        let changed = list.changed.as_ref();
        let overlap = TimeDelta::seconds(changed.map_or(0, |changed| changed.overlap_s.into()));
        let from = since.filter(|_| changed.is_some()).map(|since| since.0 - overlap);
        let file = format!("{} {}", if list.ask.post { "POST" } else { "GET" }, list.ask.path);
        Self {
            walk: Walk::new(Arc::clone(&rest.wire), list, from),
            recipe,
            words,
            detail: stream.as_ref().and_then(|stream| stream.detail.clone()),
            gone_how: stream.map_or(GoneHow::None, |stream| stream.gone.clone()),
            lists_files: rest.lists_files(object),
            file,
            line: 0,
            since,
            latest: None,
            told_gone: false,
            rest,
        }
    }

    /// Returns the items of the next page; none at the end. An error means that the object was not read to its end, and that
    /// what came is no more than a part of it.
    pub async fn next(&mut self) -> Result<Option<Vec<Item>>, RestError> {
        if let Some(sheet) = self.walk.next().await? {
            let mut items = Vec::with_capacity(sheet.rows.len());
            for row in sheet.rows {
                self.line += 1;
                let item = self.item(row).await?;
                if let Some(Item::Record { modified: at, .. } | Item::Gone { at, .. }) = &item {
                    self.latest = self.latest.max(*at);
                }
                items.extend(item);
            }
            return Ok(Some(items));
        }
        if self.told_gone || self.gone_how != GoneHow::Listed {
            return Ok(None);
        }
        self.told_gone = true;
        let gone = self.rest.gone(self.since).await?;
        let mut told = HashSet::new();
        let ours = gone.rows.iter().filter(|row| {
            let named = self.words.iter().any(|word| word.eq_ignore_ascii_case(&row.object));
            // What stands in the list is there, whatever was said of it before.
            named && !self.walk.has_met(&row.id) && told.insert(row.id.as_str())
        });
        Ok(Some(ours.map(|row| Item::Gone { id: row.id.clone(), how: row.how.clone(), at: row.at }).collect()))
    }

    /// Returns up to where the source has been read, once it was read to the end: when the reading began by the server's clock,
    /// or the latest change that was seen, whichever is earlier, and never before where it began.
    pub fn watermark(&self) -> Option<Watermark> {
        let reached = match (self.walk.began(), self.latest) {
            (Some(began), Some(latest)) => Some(began.min(latest)),
            (began, latest) => began.or(latest),
        };
        reached.map(Watermark).max(self.since)
    }

    /// Returns whether everything is read, not only what changed.
    pub fn is_whole(&self) -> bool {
        self.since.is_none() || self.walk.list().changed.is_none()
    }

    /// Returns whether a record that this reading does not bring is gone.
    pub fn compares(&self) -> bool {
        self.gone_how == GoneHow::Compare
    }

    async fn item(&self, row: Json) -> Result<Option<Item>, RestError> {
        let origin = Origin { file: self.file.clone(), line: self.line };
        let row = match &self.gone_how {
            GoneHow::NullRecord { record } => match find(&row, record) {
                None | Some(Json::Null) => {
                    let at = self.recipe.modified.as_ref().and_then(|column| find(&row, column)).and_then(json::plain);
                    let at = at.and_then(|text| Some(DateTime::parse_from_rfc3339(&text).ok()?.to_utc()));
                    return Ok(Some(match id_of(&row, &self.recipe.key) {
                        Some(id) => Item::Gone { id, how: DeletedHow::Deleted, at },
                        None => {
                            Item::Unreadable { origin, reason: "it says that a record is gone, and not which".into() }
                        }
                    }));
                }
                Some(record) => record.clone(),
            },
            _ => row,
        };
        let row = match (&self.detail, id_of(&row, &self.recipe.key)) {
            (Some(detail), Some(id)) => match self.single(detail, &id).await {
                Ok(row) => row,
                // It went away after it was listed; the next delta says so.
                Err(RestError::Absent { .. }) => return Ok(None),
                Err(error) => return Err(error),
            },
            _ => row,
        };
        if self.lists_files {
            self.rest.listed(&row);
        }
        Ok(match json::record(row, &self.recipe) {
            Ok(fields) => self.recipe.finish(fields, origin),
            Err(reason) => Some(Item::Unreadable { origin, reason }),
        })
    }

    async fn single(&self, detail: &Detail, id: &str) -> Result<Json, RestError> {
        let ask = Ask::get(&detail.path.replace("{id}", &encoded(id)));
        let paging = |error| RestError::Paging { object: self.walk.list().object.clone(), error };
        let url = self.rest.wire.address(&ask, None, None).map_err(paging)?;
        let answer = self.rest.wire.json(&ask, &url).await?;
        let row = find(&answer.body, &detail.record).cloned().unwrap_or(Json::Null);
        Ok(match &self.walk.list().stream {
            Some(stream) => arrange(row, stream),
            None => row,
        })
    }
}

impl Gone {
    /// Reads the lists of the deleted and the merged; a merge comes first, because a merged record may be listed as deleted too.
    pub(crate) async fn read(rest: &Rest, since: Option<Watermark>) -> Result<Self, RestError> {
        let mut gone = Self::default();
        let merges = rest.description.merges.as_ref();
        for feed in merges.into_iter().chain(&rest.description.deletions) {
            let list = rest.feed(feed)?;
            let overlap = TimeDelta::seconds(list.changed.as_ref().map_or(0, |changed| changed.overlap_s.into()));
            let mut walk = Walk::new(Arc::clone(&rest.wire), list, since.map(|since| since.0 - overlap));
            let mut line = 0;
            while let Some(sheet) = walk.next().await? {
                for row in sheet.rows {
                    line += 1;
                    let text =
                        |path: &str| find(&row, path).and_then(json::plain).filter(|text| !text.trim().is_empty());
                    let must = |path: &str| {
                        text(path).ok_or_else(|| BundleError::Unreadable {
                            file: feed.path.clone(),
                            line,
                            reason: format!("{path} is empty"),
                        })
                    };
                    let how = match &feed.into {
                        None => DeletedHow::Deleted,
                        Some(into) => DeletedHow::Merged { into: must(into)?.trim().to_owned() },
                    };
                    let at = feed.at.as_ref().and_then(|at| text(at));
                    gone.rows.push(GoneRow {
                        object: must(&feed.object)?.trim().to_owned(),
                        id: must(&feed.id)?.trim().to_owned(),
                        how,
                        at: at.and_then(|at| Some(DateTime::parse_from_rfc3339(&at).ok()?.to_utc())),
                    });
                }
            }
        }
        Ok(gone)
    }
}
