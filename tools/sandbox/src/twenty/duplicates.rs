//! Records that look alike: finding them, and making one of several.

use serde_json::{Value as Json, json};

use super::{
    condition::Condition,
    model::{Kind, Part, col},
    order::Order,
    query::{Page, Span},
    refusal::Refusal,
    rows::Row,
    uuid::Uuid,
    workspace::Workspace,
};

impl Workspace {
    /// Returns a page of lookalikes for each record that is given, as values or by id.
    pub(crate) fn find_duplicates(
        &mut self,
        object: u32,
        data: Option<&Json>,
        ids: Option<&Json>,
    ) -> Result<Vec<Page>, Refusal> {
        let data = data.filter(|data| !data.is_null());
        let ids = ids.filter(|ids| !ids.is_null());
        if data.is_some() && ids.is_some() {
            return Err(Refusal::invalid("You cannot provide both \"data\" and \"ids\" arguments"));
        }
        let mut looks: Vec<(Option<Uuid>, Row)> = Vec::new();
        if let Some(ids) = ids.and_then(Json::as_array) {
            for id in ids.iter().filter_map(Json::as_str) {
                let id = Uuid::parse(id).ok_or_else(|| Refusal::invalid(format!("'{id}' is not a valid UUID")))?;
                looks.push((Some(id), self.find(object, id)?.clone()));
            }
        } else {
            let bodies = data.and_then(Json::as_array).filter(|bodies| !bodies.is_empty()).ok_or_else(|| {
                Refusal::invalid("The \"data\" condition can not be empty when \"ids\" input not provided")
            })?;
            for body in bodies.iter().filter_map(Json::as_object) {
                let draft = self.draft(object, body)?;
                let mut row = Row::default();
                for (at, value) in draft.cells {
                    row.set(at, value);
                }
                looks.push((None, row));
            }
        }
        let order = Order::by_id(&self.catalog, object);
        let mut pages = Vec::new();
        for (own, row) in looks {
            let conditions = self.lookalike(object, &row);
            if conditions.is_empty() {
                pages.push(Page::default());
                continue;
            }
            let condition = Condition::any(conditions);
            let mut page = self.page(object, &condition, &order, &Span { limit: usize::MAX, ..Span::default() })?;
            let before = page.ids.len();
            page.ids.retain(|id| Some(*id) != own);
            page.total -= before - page.ids.len();
            page.start = page.ids.first().and_then(|id| Some(order.cursor(self.rows.get(object, *id)?)));
            page.end = page.ids.last().and_then(|id| Some(order.cursor(self.rows.get(object, *id)?)));
            pages.push(page);
        }
        Ok(pages)
    }

    /// Returns one condition for each criterion of the object that the row fills.
    fn lookalike(&self, object: u32, row: &Row) -> Vec<Condition> {
        let criteria = &self.catalog.object(object).duplicates;
        let whole = criteria.iter().filter_map(|names| {
            let cells: Option<Vec<_>> = names
                .iter()
                .map(|name| {
                    let at = self.catalog.flat(object, name)?;
                    Some((at, Some(row.get(at)?.clone())))
                })
                .collect();
            cells.filter(|cells| !cells.is_empty()).map(|cells| Condition::holds(&cells))
        });
        whole.collect()
    }

    /// Makes one record of several: the one with priority stays, is filled from the others, and takes over what points to them;
    /// the others are destroyed, not put in the trash.
    pub(crate) fn merge(
        &mut self,
        object: u32,
        ids: &Json,
        priority: usize,
        dry: bool,
        depth: u8,
    ) -> Result<Json, Refusal> {
        let definition = self.catalog.object(object);
        if definition.duplicates.is_empty() {
            return Err(Refusal::invalid(format!(
                "Merge is only available for objects with duplicate criteria. Object '{}' does not have duplicate criteria defined.",
                definition.singular
            )));
        }
        let mut chosen = Vec::new();
        for id in ids.as_array().into_iter().flatten() {
            let text = id.as_str().unwrap_or_default();
            chosen.push(Uuid::parse(text).ok_or_else(|| Refusal::invalid(format!("'{text}' is not a valid UUID")))?);
        }
        if chosen.len() < 2 {
            return Err(Refusal::invalid("At least 2 record IDs are required for merge"));
        }
        if chosen.len() > 9 {
            return Err(Refusal::invalid("Maximum 9 records can be merged at once"));
        }
        let keeper = *chosen.get(priority).ok_or_else(|| {
            let last = chosen.len() - 1;
            Refusal::invalid(format!("Invalid priority index. Must be between 0 and {last}"))
        })?;
        for id in &chosen {
            self.find(object, *id)?;
        }
        let others: Vec<Uuid> = chosen.iter().copied().filter(|id| *id != keeper).collect();
        let merged = self.merged(object, keeper, &others);
        if dry {
            let mut row = merged;
            let id = Uuid::random(&mut self.dice);
            row.set(self.catalog.col(object, "id"), Some(json!(id.to_string())));
            row.set(self.catalog.col(object, "deletedAt"), Some(self.moment()));
            return Ok(self.show_row(object, id, &row, depth));
        }
        for (child, field, _) in self.catalog.pointing_at(object) {
            let at = col(field, 0);
            for other in &others {
                for below in self.rows.table(child).children(at, *other) {
                    if let Some(mut row) = self.rows.get(child, below).cloned() {
                        row.set(at, Some(json!(keeper.to_string())));
                        self.rows.force(&self.catalog, child, below, Some(row));
                    }
                }
            }
        }
        for other in &others {
            self.rows.destroy(&self.catalog, object, *other);
        }
        self.rows.replace(&self.catalog, object, keeper, merged)?;
        Ok(self.show(object, keeper, depth))
    }

    fn merged(&self, object: u32, keeper: Uuid, others: &[Uuid]) -> Row {
        let mut row = self.rows.get(object, keeper).cloned().unwrap_or_default();
        for field in self.catalog.fields_of(object).filter(|field| !field.system && !field.is_list()) {
            for (part, at) in (0..).zip(field.cols()) {
                let lists = matches!(field.kind.parts().get(part).map(|(_, kind)| kind), Some(Part::List))
                    || matches!(field.kind, Kind::MultiSelect | Kind::Array);
                for value in others.iter().filter_map(|id| self.rows.get(object, *id)?.get(at).cloned()) {
                    match (row.get(at).cloned(), value) {
                        (None, value) => row.set(at, Some(value)),
                        (Some(Json::Array(mut own)), Json::Array(more)) if lists => {
                            for item in more {
                                if !own.contains(&item) {
                                    own.push(item);
                                }
                            }
                            row.set(at, Some(Json::Array(own)));
                        }
                        _ => {}
                    }
                }
            }
        }
        row.set(self.catalog.col(object, "updatedAt"), Some(self.moment()));
        row
    }
}
