//! What can be done to records, whichever of the two languages asks.

use serde_json::{Map, Value as Json, json};

use super::{
    condition::Condition,
    draft::{self, Draft},
    model::{Kind, col, field_of, part_of},
    refusal::Refusal,
    rows::{Row, key_of},
    scalar,
    uuid::Uuid,
    worker::{Event, Happening},
    workspace::{Author, Workspace},
};

/// The most rows that an update by filter touches.
const UPDATE_CAP: usize = 200;

impl Workspace {
    /// Creates records, all or none; or, as an upsert, updates those that are there.
    ///
    /// An upsert is not atomic: rows that match are updated and committed one after another, and only then all new rows go in as
    /// one insert. The updated come first in the answer.
    pub(crate) fn create(
        &mut self,
        object: u32,
        bodies: &[Json],
        upsert: bool,
        author: &Author,
    ) -> Result<Vec<Uuid>, Refusal> {
        self.may_write(object)?;
        if self.catalog.object(object).singular == "workspaceMember" {
            return Err(Refusal::permission());
        }
        let cap = self.switches.cap;
        if bodies.len() > cap {
            return Err(Refusal::coded(
                "TOO_MANY_RECORDS_TO_UPDATE",
                format!("Maximum number of records to upsert is {cap}."),
            ));
        }
        let mut drafts = Vec::with_capacity(bodies.len());
        for body in bodies {
            drafts.push(self.draft(object, &entries(body))?);
        }
        if !upsert {
            return self.insert_all(object, drafts, author);
        }
        let mut matched = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            matched.push(self.matching(object, draft)?);
        }
        let (mut done, mut new) = (Vec::new(), Vec::new());
        for (mut draft, found) in drafts.into_iter().zip(matched) {
            let Some(id) = found else {
                new.push(draft);
                continue;
            };
            let created_by = self.catalog.find(object, "createdBy").map(|field| field.number);
            draft.id = None;
            draft.cells.retain(|(at, _)| Some(field_of(*at)) != created_by);
            // Whatever the record says of its trash, an upsert brings it back.
            let deleted = self.catalog.col(object, "deletedAt");
            draft.cells.retain(|(at, _)| *at != deleted);
            draft.cells.push((deleted, None));
            self.change(object, id, draft, author)?;
            done.retain(|known| *known != id);
            done.push(id);
        }
        done.extend(self.insert_all(object, new, author)?);
        Ok(done)
    }

    /// Refuses what the role of the key does not allow.
    fn may_write(&self, _object: u32) -> Result<(), Refusal> {
        if self.switches.write_right { Ok(()) } else { Err(Refusal::permission()) }
    }

    /// Reads a body, and finds the rows that its relations name by a key.
    pub(crate) fn draft(&mut self, object: u32, body: &Map<String, Json>) -> Result<Draft, Refusal> {
        let mut draft = draft::read(&self.catalog, &self.files, &mut self.dice, object, body)?;
        for connect in std::mem::take(&mut draft.connects) {
            let Some((target, _)) = self.catalog.field(connect.field).points() else { continue };
            let table = self.rows.table(target);
            let id_col = self.catalog.col(target, "id");
            let alike = |row: &Row| connect.key.iter().all(|(at, value)| row.get(*at) == value.as_ref());
            let named = connect.key.iter().find(|(at, _)| *at == id_col);
            let found: Vec<Uuid> = match named.and_then(|(_, value)| Uuid::parse(value.as_ref()?.as_str()?)) {
                Some(id) => self.rows.live(target, id).filter(|row| alike(row)).map(|_| id).into_iter().collect(),
                None => {
                    let live = table.rows.iter().filter(|(_, row)| table.is_live(row) && alike(row));
                    live.map(|(id, _)| *id).collect()
                }
            };
            let [only] = found.as_slice() else {
                let key: Vec<String> = connect
                    .key
                    .iter()
                    .map(|(at, value)| {
                        let text = value.as_ref().and_then(Json::as_str).unwrap_or_default();
                        format!("{} = {text}", self.catalog.col_name(*at))
                    })
                    .collect();
                return Err(Refusal::invalid(format!(
                    "Expected 1 record to connect to {}, but found {} for {}",
                    self.catalog.field(connect.field).name,
                    found.len(),
                    key.join(" and ")
                )));
            };
            draft.cells.push((col(connect.field, 0), Some(json!(only.to_string()))));
        }
        Ok(draft)
    }

    /// Returns the row that an upsert means, by its id or any of its unique keys; trash included.
    fn matching(&self, object: u32, draft: &Draft) -> Result<Option<Uuid>, Refusal> {
        let table = self.rows.table(object);
        let mut found: Vec<(Uuid, String)> = Vec::new();
        if let Some(id) = draft.id.filter(|id| table.rows.contains_key(id)) {
            found.push((id, format!("id (id: {id})")));
        }
        let cell = |at| draft.cells.iter().rev().find(|(known, _)| *known == at).and_then(|(_, value)| value.clone());
        for field in self.catalog.fields_of(object).filter(|field| field.unique) {
            let holder = key_of(&self.catalog, field.number, cell).and_then(|key| table.holder(field.number, &key));
            if let Some(id) = holder {
                let parts: Vec<String> = field
                    .key_cols()
                    .into_iter()
                    .map(|at| {
                        let value = cell(at).unwrap_or_default();
                        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                        match field.kind.parts().get(part_of(at)) {
                            Some((part, _)) => format!("{}.{part}: {text}", field.name),
                            None => format!("{}: {text}", field.name),
                        }
                    })
                    .collect();
                found.push((id, format!("{} ({})", field.name, parts.join(", "))));
            }
        }
        match found.as_slice() {
            [] => Ok(None),
            [(first, _), others @ ..] if others.iter().all(|(id, _)| id == first) => Ok(Some(*first)),
            all => {
                let keys: Vec<&str> = all.iter().map(|(_, text)| text.as_str()).collect();
                Err(Refusal::invalid(format!(
                    "Multiple records found with the same unique field values for {}. Cannot determine which record to update.",
                    keys.join("; ")
                )))
            }
        }
    }

    /// Returns whether an upsert of a draft would update a row.
    pub(crate) fn is_known(&self, object: u32, draft: &Draft) -> bool {
        matches!(self.matching(object, draft), Ok(Some(_)))
    }

    /// Inserts records as one statement: all or none.
    fn insert_all(&mut self, object: u32, drafts: Vec<Draft>, author: &Author) -> Result<Vec<Uuid>, Refusal> {
        let mut made = Vec::with_capacity(drafts.len());
        if let Err(refusal) = self.place_all(object, drafts, author, &mut made) {
            for id in made {
                self.rows.force(&self.catalog, object, id, None);
            }
            return Err(refusal);
        }
        for id in &made {
            if let Some(row) = self.rows.get(object, *id) {
                self.files.bind(&self.catalog, row);
            }
            self.happened(Event { object, id: *id, what: Happening::Created, diff: Map::new(), source: author.source });
        }
        Ok(made)
    }

    fn place_all(
        &mut self,
        object: u32,
        drafts: Vec<Draft>,
        author: &Author,
        made: &mut Vec<Uuid>,
    ) -> Result<(), Refusal> {
        for draft in drafts {
            self.place_one(object, draft, author, made)?;
        }
        for id in made {
            if let Some(row) = self.rows.get(object, *id) {
                self.rows.check_references(&self.catalog, object, *id, row)?;
            }
        }
        Ok(())
    }

    fn place_one(&mut self, object: u32, draft: Draft, author: &Author, made: &mut Vec<Uuid>) -> Result<(), Refusal> {
        let id = draft.id.unwrap_or_else(|| Uuid::random(&mut self.dice));
        let mut row = Row::default();
        for (at, value) in self.defaults(object, author) {
            row.set(at, value);
        }
        for (at, value) in draft.cells {
            row.set(at, value);
        }
        row.set(self.catalog.col(object, "id"), Some(json!(id.to_string())));
        let at = self.catalog.col(object, "position");
        let place = match row.get(at) {
            Some(Json::String(word)) if word == "last" => Some(self.rows.after_last(object)),
            Some(Json::Number(_)) => None,
            _ => Some(self.rows.before_first(object)),
        };
        if let Some(place) = place {
            row.set(at, Some(scalar::double(place)));
        }
        self.rows.place(&self.catalog, object, id, row)?;
        made.push(id);
        Ok(())
    }

    /// Returns what a record holds that says nothing.
    fn defaults(&mut self, object: u32, author: &Author) -> super::composite::Cells {
        let moment = self.moment();
        let mut cells = Vec::new();
        let signatures = ["createdBy", "updatedBy"];
        for name in signatures {
            cells.extend(self.signature(object, name, author));
        }
        let Self { catalog, dice, .. } = self;
        for field in catalog.fields_of(object).filter(|field| !signatures.contains(&field.name.as_str())) {
            if field.kind == Kind::Position || field.kind == Kind::Actor {
                continue;
            }
            let value = match (&field.default, field.kind) {
                (Json::Null, _) => continue,
                (Json::String(word), Kind::DateTime) if word == "now" => moment.clone(),
                (Json::String(word), Kind::Uuid) if word == "uuid" => json!(Uuid::random(dice).to_string()),
                (Json::String(quoted), _) => json!(unquoted(quoted)),
                (Json::Array(list), _) => {
                    json!(list.iter().filter_map(Json::as_str).map(unquoted).collect::<Vec<_>>())
                }
                (other, _) => other.clone(),
            };
            cells.push((col(field.number, 0), Some(value)));
        }
        cells
    }

    /// Changes a row as a draft says, and signs the change.
    fn change(&mut self, object: u32, id: Uuid, draft: Draft, author: &Author) -> Result<(), Refusal> {
        let before = self.rows.get(object, id).cloned().ok_or_else(Refusal::not_found)?;
        let mut after = before.clone();
        let updated = self.catalog.col(object, "updatedAt");
        after.set(updated, Some(self.moment()));
        for (at, value) in self.signature(object, "updatedBy", author) {
            after.set(at, value);
        }
        let position = self.catalog.col(object, "position");
        for (at, value) in draft.cells {
            let value = match value {
                Some(Json::String(word)) if at == position && word == "last" => {
                    Some(scalar::double(self.rows.after_last(object)))
                }
                Some(Json::String(_)) if at == position => Some(scalar::double(self.rows.before_first(object))),
                value => value,
            };
            after.set(at, value);
        }
        self.rows.replace(&self.catalog, object, id, after)?;
        let mut id = id;
        if let Some(to) = draft.id.filter(|to| *to != id) {
            if let Err(refusal) = self.rows.rename(&self.catalog, object, id, to) {
                self.rows.force(&self.catalog, object, id, Some(before));
                return Err(refusal);
            }
            id = to;
        }
        if let Some(row) = self.rows.get(object, id) {
            self.files.bind(&self.catalog, row);
        }
        self.note_change(object, id, &before, author);
        Ok(())
    }

    /// Notes what changed, for those who are told of it later.
    fn note_change(&mut self, object: u32, id: Uuid, before: &Row, author: &Author) {
        let Some(after) = self.rows.get(object, id) else { return };
        let deleted = self.rows.table(object).deleted;
        let what = match (before.get(deleted).is_some(), after.get(deleted).is_some()) {
            (true, false) => Happening::Restored,
            (false, true) => Happening::Deleted,
            _ => Happening::Updated,
        };
        let diff = self.diff(object, before, after);
        self.happened(Event { object, id, what, diff, source: author.source });
    }

    /// Changes one record. One that is in the trash is changed, too, and stays there.
    pub(crate) fn update(&mut self, object: u32, id: Uuid, body: &Json, author: &Author) -> Result<Uuid, Refusal> {
        self.may_write(object)?;
        let draft = self.draft(object, &entries(body))?;
        let now_at = draft.id.unwrap_or(id);
        self.change(object, id, draft, author)?;
        Ok(now_at)
    }

    /// Changes every record that a condition meets, the trash included.
    pub(crate) fn update_all(
        &mut self,
        object: u32,
        condition: &Condition,
        body: &Json,
        author: &Author,
    ) -> Result<Vec<Uuid>, Refusal> {
        self.may_write(object)?;
        let draft = self.draft(object, &entries(body))?;
        let found = self.all_matching(object, condition);
        if found.len() > UPDATE_CAP {
            return Err(Refusal::coded(
                "TOO_MANY_RECORDS_TO_UPDATE",
                format!("Cannot update more than {UPDATE_CAP} records at once"),
            ));
        }
        let before: Vec<(Uuid, Row)> =
            found.iter().filter_map(|id| Some((*id, self.rows.get(object, *id)?.clone()))).collect();
        for id in &found {
            if let Err(refusal) = self.change(object, *id, draft.clone(), author) {
                for (id, row) in before {
                    self.rows.force(&self.catalog, object, id, Some(row));
                }
                return Err(refusal);
            }
        }
        Ok(found)
    }

    /// Puts records in the trash, also those that lie there already.
    pub(crate) fn trash(&mut self, object: u32, ids: &[Uuid], author: &Author) -> Result<(), Refusal> {
        self.may_write(object)?;
        let moment = self.moment();
        self.set_deleted(object, ids, Some(moment), author)
    }

    /// Takes records out of the trash; others are merely touched.
    pub(crate) fn restore(&mut self, object: u32, ids: &[Uuid], author: &Author) -> Result<(), Refusal> {
        self.may_write(object)?;
        self.set_deleted(object, ids, None, author)
    }

    fn set_deleted(&mut self, object: u32, ids: &[Uuid], value: Option<Json>, author: &Author) -> Result<(), Refusal> {
        let deleted = self.catalog.col(object, "deletedAt");
        for id in ids {
            let draft = Draft { cells: vec![(deleted, value.clone())], ..Draft::default() };
            self.change(object, *id, draft, author)?;
        }
        Ok(())
    }

    /// Removes records for good.
    pub(crate) fn destroy(&mut self, object: u32, ids: &[Uuid], author: &Author) -> Result<(), Refusal> {
        self.may_write(object)?;
        for id in ids {
            if self.rows.destroy(&self.catalog, object, *id).is_some() {
                let what = Happening::Destroyed;
                self.happened(Event { object, id: *id, what, diff: Map::new(), source: author.source });
            }
        }
        Ok(())
    }
}

/// Takes the quotes off a default, which is a piece of SQL.
pub(crate) fn unquoted(text: &str) -> &str {
    text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text)
}

/// Returns a body's keys and values; those of a list are its places, as JavaScript has it.
fn entries(body: &Json) -> Map<String, Json> {
    match body {
        Json::Object(map) => map.clone(),
        Json::Array(list) => list.iter().enumerate().map(|(at, item)| (at.to_string(), item.clone())).collect(),
        _ => Map::new(),
    }
}
