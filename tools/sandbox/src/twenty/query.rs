//! Finding records: one, a page of them, all that meet a condition.

use std::{cmp::Ordering, ops::Bound};

use super::{condition::Condition, order::Order, refusal::Refusal, rows::Row, uuid::Uuid, workspace::Workspace};

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Span {
    pub(crate) limit: usize,
    pub(crate) after: Option<String>,
    pub(crate) before: Option<String>,
    pub(crate) offset: usize,
    /// Whether the end of the list is wanted, not its beginning.
    pub(crate) last: bool,
}

/// A part of a list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    pub(crate) ids: Vec<Uuid>,
    /// How many the whole list holds.
    pub(crate) total: usize,
    pub(crate) next: bool,
    pub(crate) previous: bool,
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
}

impl Workspace {
    /// Returns every record that a condition meets, the trash included, by id.
    pub(crate) fn all_matching(&self, object: u32, condition: &Condition) -> Vec<Uuid> {
        self.scan(object, condition, true).map(|(id, _)| id).collect()
    }

    /// Goes through the rows that meet a condition, by id.
    pub(crate) fn scan<'a>(
        &'a self,
        object: u32,
        condition: &'a Condition,
        trash: bool,
    ) -> Box<dyn Iterator<Item = (Uuid, &'a Row)> + 'a> {
        let table = self.rows.table(object);
        let trash = trash || condition.sees_trash;
        let wanted = move |row: &Row| (trash || table.is_live(row)) && condition.meets(&self.catalog, &self.rows, row);
        match condition.narrow(&self.catalog, &self.rows, object) {
            Some(ids) => Box::new(
                ids.into_iter()
                    .filter_map(move |id| table.rows.get(&id).map(|row| (id, row)))
                    .filter(move |(_, row)| wanted(row)),
            ),
            None => Box::new(table.rows.iter().map(|(id, row)| (*id, row)).filter(move |(_, row)| wanted(row))),
        }
    }

    /// Returns a page of a list.
    pub(crate) fn page(&self, object: u32, condition: &Condition, order: &Order, span: &Span) -> Result<Page, Refusal> {
        if span.after.is_some() && span.before.is_some() {
            return Err(Refusal::invalid("Cannot provide both before and after"));
        }
        let after = span.after.as_ref().map(|cursor| order.place(cursor)).transpose()?;
        let before = span.before.as_ref().map(|cursor| order.place(cursor)).transpose()?;
        // The usual way through a whole table: nothing to sort, and the page begins where the cursor says.
        if condition.is_empty() && order.is_by_id() && before.is_none() && !span.last && span.offset == 0 {
            return Ok(self.next_page(object, order, span.limit, after.as_ref()));
        }
        let mut found: Vec<(Uuid, &Row)> = self.scan(object, condition, false).collect();
        let total = found.len();
        if !order.is_by_id() {
            found.sort_by(|(_, one), (_, other)| order.compare(&self.catalog, one, other));
        }
        if let Some(place) = &after {
            let past = found.partition_point(|(_, row)| order.compare(&self.catalog, row, place) != Ordering::Greater);
            found.drain(..past);
        }
        if let Some(place) = &before {
            let until = found.partition_point(|(_, row)| order.compare(&self.catalog, row, place) == Ordering::Less);
            found.truncate(until);
        }
        found.drain(..span.offset.min(found.len()));
        let backward = before.is_some() || span.last;
        let more = found.len() > span.limit;
        if backward {
            found.drain(..found.len().saturating_sub(span.limit));
        } else {
            found.truncate(span.limit);
        }
        let (first, last) = (found.first(), found.last());
        let cursor = |row: Option<&(Uuid, &Row)>| row.map(|(_, row)| order.cursor(row));
        // Going backward, the server names the ends the other way round.
        let (start, end) = if backward { (cursor(last), cursor(first)) } else { (cursor(first), cursor(last)) };
        Ok(Page {
            total,
            next: !backward && more,
            previous: backward && more,
            start,
            end,
            ids: found.into_iter().map(|(id, _)| id).collect(),
        })
    }

    fn next_page(&self, object: u32, order: &Order, limit: usize, after: Option<&Row>) -> Page {
        let table = self.rows.table(object);
        let place = after.and_then(|place| Uuid::parse(place.text(self.catalog.col(object, "id"))?));
        let from = place.map_or(Bound::Unbounded, Bound::Excluded);
        let mut live = table.rows.range((from, Bound::Unbounded)).filter(|(_, row)| table.is_live(row));
        let found: Vec<(&Uuid, &Row)> = live.by_ref().take(limit).collect();
        let cursor = |row: Option<&(&Uuid, &Row)>| row.map(|(_, row)| order.cursor(row));
        Page {
            total: table.live,
            next: live.next().is_some(),
            previous: false,
            start: cursor(found.first()),
            end: cursor(found.last()),
            ids: found.into_iter().map(|(id, _)| *id).collect(),
        }
    }

    /// Returns the record that lives, if it does.
    pub(crate) fn find(&self, object: u32, id: Uuid) -> Result<&Row, Refusal> {
        self.rows.live(object, id).ok_or_else(Refusal::not_found)
    }
}
