//! The org's rows: what is there, what points to what, and what the platform does on its own.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    ids::Id,
    model::{self, Kind, Object, OnDelete},
};

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Val {
    Text(Box<str>),
    Bool(bool),
    /// A number, as its shortest decimal text would be.
    Num(f64),
    /// Days since 1970.
    Date(i32),
    /// Milliseconds since 1970.
    Time(i64),
    Ref(Id),
}

/// One row. Fields that hold nothing are not there.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) values: Vec<(u16, Val)>,
    pub(crate) created: i64,
    pub(crate) created_by: Id,
    /// When the row was last written: its `SystemModstamp`, which nobody sets.
    pub(crate) stamped: i64,
    pub(crate) modified: i64,
    pub(crate) modified_by: Id,
    pub(crate) deleted: bool,
}

impl Row {
    pub(crate) fn get(&self, field: usize) -> Option<&Val> {
        let field = u16::try_from(field).ok()?;
        let at = self.values.binary_search_by_key(&field, |(field, _)| *field).ok()?;
        Some(&self.values[at].1)
    }

    pub(crate) fn set(&mut self, field: usize, value: Option<Val>) {
        let Ok(field) = u16::try_from(field) else { return };
        match (self.values.binary_search_by_key(&field, |(field, _)| *field), value) {
            (Ok(at), Some(value)) => self.values[at].1 = value,
            (Ok(at), None) => drop(self.values.remove(at)),
            (Err(at), Some(value)) => self.values.insert(at, (field, value)),
            (Err(_), None) => {}
        }
    }
}

/// Returns whether a field tells who made or changed a row, or when.
pub(crate) fn is_audit(field: &str) -> bool {
    ["CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById"].contains(&field)
}

/// Writes an audit field of a row.
fn sign(row: &mut Row, field: &str, value: &Val) {
    match (field, value) {
        ("CreatedDate", Val::Time(time)) => row.created = *time,
        ("LastModifiedDate", Val::Time(time)) => row.modified = *time,
        ("CreatedById", Val::Ref(user)) => row.created_by = *user,
        ("LastModifiedById", Val::Ref(user)) => row.modified_by = *user,
        _ => {}
    }
}

/// An error of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowError {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) fields: Vec<String>,
}

impl RowError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), fields: Vec::new() }
    }

    pub(crate) fn on(code: &'static str, message: impl Into<String>, field: &str) -> Self {
        Self { code, message: message.into(), fields: vec![field.to_owned()] }
    }
}

/// The rows of one object.
#[derive(Debug, Default, Clone)]
pub(crate) struct Table {
    pub(crate) rows: BTreeMap<u64, Row>,
    /// Live rows by the value of a unique or external field, folded unless the field minds case.
    pub(crate) keys: HashMap<u16, HashMap<String, Vec<u64>>>,
    /// Live rows by what they point to. Everything that a company has points to a few users.
    pub(crate) children: HashMap<(u16, Id), BTreeSet<u64>>,
    pub(crate) next: u64,
    pub(crate) live: u64,
}

/// The org.
#[derive(Debug, Clone)]
pub(crate) struct Org {
    pub(crate) objects: Vec<Object>,
    pub(crate) tables: Vec<Table>,
    by_name: HashMap<String, usize>,
    by_prefix: HashMap<[u8; 3], usize>,
    /// Who acts now.
    pub(crate) user: Id,
    /// Who migrations sign in as.
    pub(crate) integration: Id,
    pub(crate) id: Id,
    /// Advances by one with every write, so that marks change.
    pub(crate) now: i64,
    /// Whether time goes on between writes, as it does for clients that have a clock of their own.
    pub(crate) wall: bool,
    /// What went to the bin with a row.
    together: HashMap<Id, Vec<(usize, u64)>>,
    next_custom: u32,
    /// Custom fields that our user may use.
    granted: std::collections::HashSet<(usize, usize)>,
    /// Record types that permission sets of our user make visible, as `object.name` in lower case.
    pub(crate) visible_record_types: std::collections::HashSet<String>,
    /// What each permission set makes visible.
    pub(crate) record_types_of: HashMap<u64, Vec<String>>,
    /// How much data the org may hold.
    pub(crate) storage_kb: u64,
    /// The org's switch that lets a permission to set audit fields be given at all.
    pub(crate) audit_switch: bool,
    /// Whether an upsert that creates may set audit fields, too.
    pub(crate) audit_on_upsert: bool,
    /// The bytes of versions of files.
    pub(crate) blobs: HashMap<Id, Arc<Vec<u8>>>,
}

/// A row to be written: field and value; `None` clears.
pub(crate) type Changes = Vec<(usize, Option<Val>)>;

impl Org {
    pub(crate) fn new(now: i64) -> Self {
        let mut org = Self {
            objects: Vec::new(),
            tables: Vec::new(),
            by_name: HashMap::new(),
            by_prefix: HashMap::new(),
            user: Id::new("005", 1),
            integration: Id::new("005", 1),
            id: Id::new("00D", 1),
            now,
            wall: false,
            together: HashMap::new(),
            next_custom: 0,
            granted: std::collections::HashSet::new(),
            visible_record_types: std::collections::HashSet::new(),
            record_types_of: HashMap::new(),
            blobs: HashMap::new(),
            storage_kb: 10 << 20,
            audit_switch: false,
            audit_on_upsert: false,
        };
        for object in model::standard() {
            org.add_object(object);
        }
        org
    }

    pub(crate) fn add_object(&mut self, object: Object) -> usize {
        let index = self.objects.len();
        self.by_name.insert(object.name.to_ascii_lowercase(), index);
        let mut prefix = [b'0'; 3];
        prefix.copy_from_slice(&object.prefix.as_bytes()[..3]);
        if !object.shared {
            self.by_prefix.insert(prefix, index);
        }
        self.objects.push(object);
        self.tables.push(Table { next: 1, ..Table::default() });
        index
    }

    /// Returns the key prefix of the next custom object.
    pub(crate) fn next_prefix(&mut self) -> String {
        self.next_custom += 1;
        format!("a{:02}", self.next_custom)
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_ascii_lowercase()).copied()
    }

    pub(crate) fn of_id(&self, id: Id) -> Option<usize> {
        self.by_prefix.get(&id.prefix).copied()
    }

    /// Returns whether an id is one of this object's.
    pub(crate) fn is_of(&self, id: Id, object: usize) -> bool {
        let definition = &self.objects[object];
        definition.prefix.as_bytes() == id.prefix
            && (!definition.shared || self.tables[object].rows.contains_key(&id.number))
    }

    pub(crate) fn row(&self, id: Id) -> Option<&Row> {
        self.tables[self.of_id(id)?].rows.get(&id.number)
    }

    pub(crate) fn is_live(&self, id: Id) -> bool {
        self.row(id).is_some_and(|row| !row.deleted)
    }

    pub(crate) fn id(&self, object: usize, number: u64) -> Id {
        Id::new(&self.objects[object].prefix, number)
    }

    /// Returns the text by which a unique field is compared.
    pub(crate) fn key_text(&self, object: usize, field: usize, value: &Val) -> String {
        let text = match value {
            Val::Text(text) => text.to_string(),
            Val::Num(number) => number.to_string(),
            other => format!("{other:?}"),
        };
        if self.objects[object].fields[field].case_sensitive { text } else { text.to_lowercase() }
    }

    fn is_indexed(&self, object: usize, field: usize) -> bool {
        let field = &self.objects[object].fields[field];
        field.unique || field.external || field.id_lookup
    }

    fn index(&mut self, object: usize, number: u64, add: bool) {
        let Some(row) = self.tables[object].rows.get(&number) else { return };
        let values = row.values.clone();
        for (field, value) in values {
            let at = usize::from(field);
            if let Val::Ref(id) = value {
                let list = self.tables[object].children.entry((field, id)).or_default();
                if add {
                    list.insert(number);
                } else {
                    list.remove(&number);
                }
                if list.is_empty() {
                    self.tables[object].children.remove(&(field, id));
                }
            }
            if self.is_indexed(object, at) {
                let key = self.key_text(object, at, &value);
                let keys = self.tables[object].keys.entry(field).or_default();
                let list = keys.entry(key.clone()).or_default();
                if add {
                    list.push(number);
                } else {
                    list.retain(|known| *known != number);
                }
                if list.is_empty() {
                    keys.remove(&key);
                }
            }
        }
    }

    /// Adds a field to the index after it was made.
    pub(crate) fn reindex(&mut self, object: usize) {
        let table = &mut self.tables[object];
        table.keys.clear();
        table.children.clear();
        let live: Vec<u64> = table.rows.iter().filter(|(_, row)| !row.deleted).map(|(number, _)| *number).collect();
        for number in live {
            self.index(object, number, true);
        }
    }

    /// Returns the live rows that hold this value in an indexed field.
    pub(crate) fn holders(&self, object: usize, field: usize, value: &Val) -> &[u64] {
        let key = self.key_text(object, field, value);
        let Ok(field) = u16::try_from(field) else { return &[] };
        self.tables[object].keys.get(&field).and_then(|keys| keys.get(&key)).map_or(&[], Vec::as_slice)
    }

    fn tick(&mut self) -> i64 {
        self.now = self.clock().max(self.now + 1);
        self.now
    }

    /// Returns what time it is.
    pub(crate) fn clock(&self) -> i64 {
        if self.wall { self.now.max(chrono::Utc::now().timestamp_millis()) } else { self.now }
    }

    /// Refuses a second row with a unique value.
    fn unique(&self, object: usize, own: Option<u64>, changes: &Changes) -> Result<(), RowError> {
        for (field, value) in changes {
            let definition = &self.objects[object].fields[*field];
            let Some(value) = value.as_ref().filter(|_| definition.unique) else { continue };
            let other = self.holders(object, *field, value).iter().find(|number| Some(**number) != own);
            if let Some(other) = other {
                let id = self.id(object, *other).short();
                let name = &definition.name;
                return Err(RowError::new(
                    "DUPLICATE_VALUE",
                    format!("duplicate value found: {name} duplicates value on record with id: {id}"),
                ));
            }
        }
        Ok(())
    }

    /// Returns how much of the data storage is used: most rows count two kilobytes, whatever they hold (Salesforce Help, "Data
    /// and File Storage Allocations").
    pub(crate) fn kilobytes(&self) -> u64 {
        let sizes = self.objects.iter().zip(&self.tables).filter(|(object, _)| !object.setup);
        let size = |name: &str| match name {
            "Campaign" => 8,
            "CampaignMember" => 1,
            "OpportunityContactRole" | "ContentVersion" | "ContentDocument" | "ContentDocumentLink" | "ContentNote" => {
                0
            }
            _ => 2,
        };
        sizes.map(|(object, table)| size(&object.name) * table.live).sum()
    }

    /// Creates a row of values that were validated.
    pub(crate) fn insert(&mut self, object: usize, mut changes: Changes) -> Result<Id, RowError> {
        self.unique(object, None, &changes)?;
        self.check_activity(object, None, &mut changes)?;
        self.no_twin(object, &changes)?;
        let number = self.tables[object].next;
        self.insert_as(object, number, changes);
        Ok(self.id(object, number))
    }

    /// Creates a row with this number.
    pub(super) fn insert_as(&mut self, object: usize, number: u64, changes: Changes) {
        let now = self.tick();
        let user = self.user;
        let mut row = Row {
            values: Vec::new(),
            created: now,
            created_by: user,
            stamped: now,
            modified: now,
            modified_by: user,
            deleted: false,
        };
        for (field, value) in changes {
            match value {
                Some(value) if self.objects[object].fields[field].system => {
                    sign(&mut row, &self.objects[object].fields[field].name, &value);
                }
                value => row.set(field, value),
            }
        }
        // A task about somebody or something is touched again by the platform itself.
        let about = |name: &str| self.objects[object].field(name).is_some_and(|field| row.get(field).is_some());
        if self.objects[object].name == "Task" && (about("WhoId") || about("WhatId")) {
            (row.modified, row.modified_by) = (now, user);
        }
        self.tables[object].next = self.tables[object].next.max(number + 1);
        self.tables[object].live += 1;
        self.tables[object].rows.insert(number, row);
        self.derive(object, number, true);
        self.index(object, number, true);
        self.after_write(object, number);
    }

    /// Refuses a second relation of one contact and one account.
    fn no_twin(&self, object: usize, changes: &Changes) -> Result<(), RowError> {
        if self.objects[object].name != "AccountContactRelation" {
            return Ok(());
        }
        let at = |name: &str| self.objects[object].field(name).unwrap_or(0);
        let (account, contact) = (at("AccountId"), at("ContactId"));
        let given = |field: usize| {
            changes.iter().find(|(known, _)| *known == field).and_then(|(_, value)| match value {
                Some(Val::Ref(id)) => Some(*id),
                _ => None,
            })
        };
        let (Some(account_id), Some(contact_id)) = (given(account), given(contact)) else { return Ok(()) };
        let key = (u16::try_from(contact).unwrap_or(0), contact_id);
        let rows = self.tables[object].children.get(&key).into_iter().flatten();
        for number in rows {
            let row = self.tables[object].rows.get(number);
            if row.and_then(|row| row.get(account)) == Some(&Val::Ref(account_id)) {
                let id = self.id(object, *number).short();
                let message = format!("duplicate value found: <unknown> duplicates value on record with id: {id}");
                return Err(RowError::new("DUPLICATE_VALUE", message));
            }
        }
        Ok(())
    }

    /// Writes a field of a row, and keeps the index in order.
    pub(super) fn write_field(&mut self, object: usize, number: u64, field: &str, value: Val) {
        self.index(object, number, false);
        self.put(object, number, field, Some(value));
        self.index(object, number, true);
    }

    /// Writes or clears a field of a row that is not in the index yet.
    pub(super) fn write_field_or_clear(&mut self, object: usize, number: u64, field: &str, value: Option<Val>) {
        self.put(object, number, field, value);
    }

    /// Changes a row.
    pub(crate) fn update(&mut self, object: usize, number: u64, mut changes: Changes) -> Result<(), RowError> {
        self.unique(object, Some(number), &changes)?;
        self.check_activity(object, Some(number), &mut changes)?;
        self.no_circle(object, number, &changes)?;
        self.index(object, number, false);
        let (now, user) = (self.tick(), self.user);
        if let Some(row) = self.tables[object].rows.get_mut(&number) {
            for (field, value) in changes {
                row.set(field, value);
            }
            (row.modified, row.stamped) = (now, now);
            row.modified_by = user;
        }
        self.derive(object, number, false);
        self.index(object, number, true);
        self.after_write(object, number);
        Ok(())
    }

    /// Refuses a row that would be its own ancestor.
    fn no_circle(&self, object: usize, number: u64, changes: &Changes) -> Result<(), RowError> {
        let own = self.id(object, number);
        for (field, value) in changes {
            let (Some(Val::Ref(parent)), Kind::Reference { to, .. }) =
                (value, &self.objects[object].fields[*field].kind)
            else {
                continue;
            };
            if !to.iter().any(|to| to.eq_ignore_ascii_case(&self.objects[object].name)) {
                continue;
            }
            let mut at = Some(*parent);
            for _ in 0..10_000 {
                let Some(id) = at else { break };
                if id == own {
                    let label = &self.objects[object].fields[*field].name;
                    return Err(RowError::on("CIRCULAR_DEPENDENCY", "attempt to violate hierarchy constraints", label));
                }
                at = self.row(id).and_then(|row| row.get(*field)).and_then(|value| match value {
                    Val::Ref(id) => Some(*id),
                    _ => None,
                });
            }
        }
        Ok(())
    }

    fn text(&self, object: usize, number: u64, field: &str) -> Option<String> {
        let field = self.objects[object].field(field)?;
        match self.tables[object].rows.get(&number)?.get(field)? {
            Val::Text(text) => Some(text.to_string()),
            _ => None,
        }
    }

    fn put(&mut self, object: usize, number: u64, field: &str, value: Option<Val>) {
        if let Some(field) = self.objects[object].field(field)
            && let Some(row) = self.tables[object].rows.get_mut(&number)
        {
            row.set(field, value);
        }
    }

    fn fill(&mut self, object: usize, number: u64, field: &str, value: Val) {
        let empty = self.objects[object]
            .field(field)
            .is_some_and(|at| self.tables[object].rows.get(&number).is_some_and(|row| row.get(at).is_none()));
        if empty {
            self.put(object, number, field, Some(value));
        }
    }

    /// Sets what follows from other fields, and defaults of new rows.
    fn derive(&mut self, object: usize, number: u64, new: bool) {
        let name = self.objects[object].name.clone();
        if new {
            let user = self.user;
            self.fill(object, number, "OwnerId", Val::Ref(user));
            let defaults: &[(&str, &str)] = match name.as_str() {
                "Lead" => &[("Status", "Open - Not Contacted")],
                "Case" => &[("Status", "New"), ("Priority", "Medium")],
                "Task" => &[("Status", "Not Started"), ("Priority", "Normal"), ("TaskSubtype", "Task")],
                "CampaignMember" => &[("Status", "Sent")],
                "Event" => &[("ShowAs", "Busy"), ("EventSubtype", "Event")],
                "EventRelation" => &[("Status", "New")],
                "ContentVersion" => &[("Origin", "C"), ("ContentLocation", "S")],
                "ContentDocumentLink" => &[("Visibility", "AllUsers")],
                _ => &[],
            };
            for (field, value) in defaults {
                self.fill(object, number, field, Val::Text((*value).into()));
            }
        }
        match name.as_str() {
            "Contact" | "Lead" => {
                let first = self.text(object, number, "FirstName");
                let last = self.text(object, number, "LastName").unwrap_or_default();
                let name = first.map_or(last.clone(), |first| format!("{first} {last}"));
                self.put(object, number, "Name", Some(Val::Text(name.into())));
            }
            "Opportunity" => self.derive_opportunity(object, number),
            "Task" | "Event" => self.derive_activity(object, number),
            _ => {}
        }
    }

    fn derive_opportunity(&mut self, object: usize, number: u64) {
        let stage = self.text(object, number, "StageName").unwrap_or_default();
        let found = self.find("OpportunityStage").and_then(|stages| {
            let api = self.objects[stages].field("ApiName")?;
            let row = self.tables[stages].rows.values().find(|row| {
                !row.deleted && matches!(row.get(api), Some(Val::Text(name)) if name.eq_ignore_ascii_case(&stage))
            })?;
            let get = |name: &str| self.objects[stages].field(name).and_then(|at| row.get(at)).cloned();
            Some((
                get("IsClosed"),
                get("IsWon"),
                get("DefaultProbability"),
                get("ForecastCategoryName"),
                get("ForecastCategory"),
            ))
        });
        let (closed, won, probability, forecast, code) = found.unwrap_or((None, None, None, None, None));
        let no = Val::Bool(false);
        self.put(object, number, "IsClosed", Some(closed.unwrap_or_else(|| no.clone())));
        self.put(object, number, "IsWon", Some(won.unwrap_or(no)));
        self.fill(object, number, "Probability", probability.unwrap_or(Val::Num(0.0)));
        self.fill(object, number, "ForecastCategoryName", forecast.unwrap_or_else(|| Val::Text("Omitted".into())));
        self.put(object, number, "ForecastCategory", Some(code.unwrap_or_else(|| Val::Text("Omitted".into()))));
        let get = |org: &Self, name: &str| {
            let at = org.objects[object].field(name)?;
            match org.tables[object].rows.get(&number)?.get(at)? {
                Val::Num(number) => Some(*number),
                _ => None,
            }
        };
        let expected =
            get(self, "Amount").zip(get(self, "Probability")).map(|(a, p)| Val::Num((a * p).round() / 100.0));
        self.put(object, number, "ExpectedRevenue", expected);
    }

    /// Does what the platform does after a write: the direct relation of a contact and its account, one primary role.
    fn after_write(&mut self, object: usize, number: u64) {
        match self.objects[object].name.as_str() {
            "Contact" => self.relate(object, number),
            "OpportunityContactRole" => self.one_primary(object, number),
            _ => {}
        }
    }

    fn relate(&mut self, object: usize, number: u64) {
        let contact = self.id(object, number);
        let account = self.objects[object].field("AccountId").and_then(|at| {
            match self.tables[object].rows.get(&number)?.get(at)? {
                Val::Ref(id) => Some(*id),
                _ => None,
            }
        });
        let Some(relations) = self.find("AccountContactRelation") else { return };
        let at = |name: &str| self.objects[relations].field(name).unwrap_or(0);
        let (account_at, contact_at, direct_at, active_at) =
            (at("AccountId"), at("ContactId"), at("IsDirect"), at("IsActive"));
        let key = (u16::try_from(contact_at).unwrap_or(0), contact);
        let existing = self.tables[relations].children.get(&key).cloned().unwrap_or_default();
        let is_direct = |org: &Self, number: &u64| {
            org.tables[relations].rows.get(number).and_then(|row| row.get(direct_at)) == Some(&Val::Bool(true))
        };
        let direct: Vec<u64> = existing.iter().copied().filter(|number| is_direct(self, number)).collect();
        let stays = direct.iter().any(|number| {
            account.is_some_and(|account| {
                self.tables[relations].rows.get(number).and_then(|row| row.get(account_at)) == Some(&Val::Ref(account))
            })
        });
        if stays {
            return;
        }
        for number in direct {
            self.remove(relations, number);
        }
        if let Some(account) = account {
            let changes = vec![
                (account_at, Some(Val::Ref(account))),
                (contact_at, Some(Val::Ref(contact))),
                (direct_at, Some(Val::Bool(true))),
                (active_at, Some(Val::Bool(true))),
            ];
            // Relations have no unique fields, so this cannot be refused.
            let _ = self.insert(relations, changes);
        }
    }

    fn one_primary(&mut self, object: usize, number: u64) {
        let at = |name: &str| self.objects[object].field(name).unwrap_or(0);
        let (opportunity, primary) = (at("OpportunityId"), at("IsPrimary"));
        let Some(row) = self.tables[object].rows.get(&number) else { return };
        let (Some(Val::Ref(parent)), Some(Val::Bool(true))) = (row.get(opportunity), row.get(primary)) else { return };
        let key = (u16::try_from(opportunity).unwrap_or(0), *parent);
        let others = self.tables[object].children.get(&key).cloned().unwrap_or_default();
        for other in others.into_iter().filter(|other| *other != number) {
            if let Some(row) = self.tables[object].rows.get_mut(&other)
                && row.get(primary) == Some(&Val::Bool(true))
            {
                row.set(primary, Some(Val::Bool(false)));
            }
        }
    }

    /// Deletes a row, and with it what the platform deletes.
    pub(crate) fn delete(&mut self, id: Id) -> Result<(), RowError> {
        self.bin(id).map(drop)
    }

    /// Takes rows out of the bin for good.
    pub(crate) fn purge(&mut self, rows: &[(usize, u64)]) {
        for (object, number) in rows {
            if self.tables[*object].rows.get(number).is_some_and(|row| row.deleted) {
                self.tables[*object].rows.remove(number);
            }
        }
    }

    /// Deletes a row, and returns everything that went with it.
    pub(crate) fn bin(&mut self, id: Id) -> Result<Vec<(usize, u64)>, RowError> {
        let Some(object) = self.of_id(id) else {
            return Err(RowError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"));
        };
        match self.tables[object].rows.get(&id.number) {
            None => return Err(RowError::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")),
            Some(row) if row.deleted => return Err(RowError::new("ENTITY_IS_DELETED", "entity is deleted")),
            Some(_) if self.objects[object].name == "ContentVersion" => {
                let message = "entity type ContentVersion does not support delete";
                return Err(RowError::new("INVALID_TYPE_FOR_OPERATION", message));
            }
            Some(row) => {
                let direct = self.objects[object]
                    .field("IsDirect")
                    .filter(|_| self.objects[object].name == "AccountContactRelation");
                if direct.is_some_and(|at| row.get(at) == Some(&Val::Bool(true))) {
                    return Err(RowError::new(
                        "INVALID_OPERATION",
                        "You can't delete the relationship between a contact and its primary account.",
                    ));
                }
            }
        }
        let mut going = vec![(object, id.number)];
        let mut at = 0;
        while at < going.len() {
            let (object, number) = going[at];
            let id = self.id(object, number);
            for (child, field, rows, on_delete) in self.pointing(id) {
                match on_delete {
                    OnDelete::Restrict => {
                        let name = self.name_of(object, number);
                        let others: Vec<String> = rows.iter().map(|row| self.id(child, *row).short()).collect();
                        return Err(RowError::new(
                            "DELETE_FAILED",
                            format!(
                                "Your attempt to delete {name} could not be completed because it is associated with the following {}.: {}",
                                self.objects[child].plural.to_lowercase(),
                                others.join(", ")
                            ),
                        ));
                    }
                    OnDelete::Cascade => {
                        for row in rows {
                            if !going.contains(&(child, row)) {
                                going.push((child, row));
                            }
                        }
                    }
                    OnDelete::Null => {
                        for row in rows {
                            self.index(child, row, false);
                            let (now, user) = (self.tick(), self.user);
                            if let Some(row) = self.tables[child].rows.get_mut(&row) {
                                row.set(field, None);
                                (row.modified, row.stamped) = (now, now);
                                row.modified_by = user;
                            }
                            self.index(child, row, true);
                        }
                    }
                }
            }
            at += 1;
        }
        for (object, number) in &going {
            self.remove(*object, *number);
        }
        self.together.insert(id, going.clone());
        Ok(going)
    }

    /// Returns a row of the bin and what went there with it.
    pub(crate) fn went_with(&self, id: Id) -> Vec<(usize, u64)> {
        let own = self.of_id(id).map(|object| vec![(object, id.number)]);
        self.together.get(&id).cloned().or(own).unwrap_or_default()
    }

    /// Takes rows out of the bin, unless a unique value is taken meanwhile.
    pub(crate) fn restore(&mut self, rows: &[(usize, u64)]) -> Result<(), RowError> {
        for (object, number) in rows {
            if let Some(row) = self.tables[*object].rows.get(number).filter(|row| row.deleted) {
                let values = row.values.iter().map(|(field, value)| (usize::from(*field), Some(value.clone())));
                self.unique(*object, None, &values.collect())?;
            }
        }
        for (object, number) in rows {
            let (now, user) = (self.tick(), self.user);
            if let Some(row) = self.tables[*object].rows.get_mut(number).filter(|row| row.deleted) {
                row.deleted = false;
                (row.modified, row.stamped) = (now, now);
                row.modified_by = user;
                self.tables[*object].live += 1;
                self.index(*object, *number, true);
            }
        }
        Ok(())
    }

    fn pointing(&self, id: Id) -> Vec<(usize, usize, Vec<u64>, OnDelete)> {
        let mut found = Vec::new();
        for (child, object) in self.objects.iter().enumerate() {
            for (field, definition) in object.fields.iter().enumerate().filter(|(_, field)| !field.system) {
                let Kind::Reference { on_delete, .. } = &definition.kind else { continue };
                let key = (u16::try_from(field).unwrap_or(u16::MAX), id);
                if let Some(rows) = self.tables[child].children.get(&key) {
                    found.push((child, field, rows.iter().copied().collect(), *on_delete));
                }
            }
        }
        found
    }

    fn remove(&mut self, object: usize, number: u64) {
        self.index(object, number, false);
        let (now, user) = (self.tick(), self.user);
        if let Some(row) = self.tables[object].rows.get_mut(&number)
            && !row.deleted
        {
            row.deleted = true;
            (row.modified, row.stamped) = (now, now);
            row.modified_by = user;
            self.tables[object].live -= 1;
        }
        // A note and its document are one.
        if self.objects[object].name == "ContentDocument"
            && let Some(notes) = self.find("ContentNote")
            && self.tables[notes].rows.get(&number).is_some_and(|row| !row.deleted)
        {
            self.remove(notes, number);
        }
    }

    pub(crate) fn name_of(&self, object: usize, number: u64) -> String {
        let at = self.objects[object].fields.iter().position(|field| field.name_field);
        let row = self.tables[object].rows.get(&number);
        match at.and_then(|at| row.and_then(|row| row.get(at))) {
            Some(Val::Text(text)) => text.to_string(),
            _ => self.id(object, number).to_string(),
        }
    }

    /// Returns whether our user may use a field: custom ones only if a permission set grants them.
    pub(crate) fn is_granted(&self, object: usize, field: usize) -> bool {
        let known = &self.objects[object].fields[field];
        // The permission is there only where the org's switch is on.
        if known.name == "PermissionsCreateAuditFields" && !self.audit_switch {
            return false;
        }
        !known.custom || self.granted.contains(&(object, field))
    }

    /// Looks again at what permission sets grant.
    pub(crate) fn refresh_grants(&mut self) {
        let mut granted = std::collections::HashSet::new();
        for object in 0..self.objects.len() {
            for field in 0..self.objects[object].fields.len() {
                if self.grants(object, field) {
                    granted.insert((object, field));
                }
            }
        }
        self.granted = granted;
        self.visible_record_types = self
            .assigned_sets()
            .iter()
            .flat_map(|set| self.record_types_of.get(set).cloned().unwrap_or_default())
            .collect();
    }

    /// Returns whether our user may say who made a row of this object and when: the org's switch, the permission, and an object of
    /// the published list (Salesforce Help, "Set Audit Fields upon Record Creation").
    pub(crate) fn signs(&self, object: usize) -> bool {
        const OBJECTS: [&str; 22] = [
            "Account",
            "ArticleVersion",
            "Attachment",
            "CampaignMember",
            "Case",
            "CaseComment",
            "Contact",
            "ContentNote",
            "ContentVersion",
            "Contract",
            "EmailMessage",
            "Event",
            "FeedComment",
            "FeedItem",
            "Idea",
            "IdeaComment",
            "Lead",
            "Opportunity",
            "Quote",
            "Task",
            "Vote",
            "WorkOrder",
        ];
        let object = &self.objects[object];
        let listed = object.custom || OBJECTS.contains(&object.name.as_str());
        self.audit_switch && listed && self.may("PermissionsCreateAuditFields")
    }

    /// Returns whether our user may set a field of a new row.
    pub(crate) fn creates(&self, object: usize, field: usize) -> bool {
        let known = &self.objects[object].fields[field];
        known.createable || is_audit(&known.name) && self.signs(object)
    }

    /// Returns whether a permission set of our user has this permission.
    pub(crate) fn may(&self, permission: &str) -> bool {
        let Some(sets) = self.find("PermissionSet") else { return false };
        let Some(field) = self.objects[sets].field(permission) else { return false };
        let held = |set: &u64| {
            let row = self.tables[sets].rows.get(set).filter(|row| !row.deleted);
            row.and_then(|row| row.get(field)) == Some(&Val::Bool(true))
        };
        self.assigned_sets().iter().any(held)
    }

    /// Returns the permission sets of our user.
    fn assigned_sets(&self) -> Vec<u64> {
        let Some(assignments) = self.find("PermissionSetAssignment") else { return Vec::new() };
        let at = |name: &str| self.objects[assignments].field(name).unwrap_or(0);
        let (set_at, assignee_at) = (at("PermissionSetId"), at("AssigneeId"));
        let rows = self.tables[assignments].rows.values();
        rows.filter(|row| !row.deleted && row.get(assignee_at) == Some(&Val::Ref(self.integration)))
            .filter_map(|row| match row.get(set_at)? {
                Val::Ref(id) => Some(id.number),
                _ => None,
            })
            .collect()
    }

    /// Returns the user with this e-mail.
    pub(crate) fn user_by_email(&self, email: &str) -> Option<Id> {
        let users = self.find("User")?;
        let field = self.objects[users].field("Email")?;
        let rows = self.tables[users].rows.iter();
        let found =
            rows.filter(|(_, row)| matches!(row.get(field), Some(Val::Text(text)) if text.eq_ignore_ascii_case(email)));
        found.map(|(number, _)| self.id(users, *number)).next()
    }

    fn grants(&self, object: usize, field: usize) -> bool {
        let definition = &self.objects[object].fields[field];
        if !definition.custom || definition.required || self.objects[object].custom && definition.name == "Name" {
            return true;
        }
        let (Some(assignments), Some(permissions)) =
            (self.find("PermissionSetAssignment"), self.find("FieldPermissions"))
        else {
            return false;
        };
        let at = |object: usize, name: &str| self.objects[object].field(name).unwrap_or(0);
        let (set_at, assignee_at) = (at(assignments, "PermissionSetId"), at(assignments, "AssigneeId"));
        let (parent_at, field_at, edit_at) =
            (at(permissions, "ParentId"), at(permissions, "Field"), at(permissions, "PermissionsEdit"));
        let wanted = format!("{}.{}", self.objects[object].name, definition.name);
        let held: Vec<&Val> = self.tables[assignments]
            .rows
            .values()
            .filter(|row| !row.deleted && row.get(assignee_at) == Some(&Val::Ref(self.integration)))
            .filter_map(|row| row.get(set_at))
            .collect();
        self.tables[permissions].rows.values().any(|row| {
            !row.deleted
                && matches!(row.get(field_at), Some(Val::Text(name)) if name.eq_ignore_ascii_case(&wanted))
                && row.get(edit_at) == Some(&Val::Bool(true))
                && row.get(parent_at).is_some_and(|parent| held.contains(&parent))
        })
    }
}
