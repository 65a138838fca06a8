//! What is gathered of a source while it is gone through.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use waybill_connectors::bundle::{Bundle, BundleObject, Sight};
use waybill_ledger::{Record, Value, ValueRef};
use waybill_projector::inventory::{Inventory, Repeats};

use super::{AttachmentsFound, DESCRIBING, Found, LARGE, OwnerFound, PipelineFound};
use crate::{
    aside::{Aside, aside},
    failure::Failure,
    looking::{side_by_side, through},
    progress::{Progress, Silent},
};

/// What is gathered while records pass.
#[derive(Debug, Default)]
pub(super) struct Taking {
    pub(super) facts: BTreeMap<String, Inventory>,
    describing: BTreeMap<String, Vec<Record>>,
    owned: BTreeMap<String, BTreeMap<String, u64>>,
    pub(super) attachments: AttachmentsFound,
}

/// What is gathered of one object that is only looked at.
pub(super) struct Looked {
    found: Found,
    inventory: Inventory,
    owned: BTreeMap<String, u64>,
    attachments: AttachmentsFound,
}

/// Objects that are gone through, and files that are held against their digests, beside everything else.
pub(super) struct Looking(Aside<Result<Vec<Looked>, Failure>>);

impl Looking {
    pub(super) fn begin(
        bundle: &Arc<Bundle>,
        objects: BTreeSet<String>,
        files: BTreeSet<String>,
        progress: &Arc<dyn Progress>,
    ) -> Self {
        let (bundle, progress) = (Arc::clone(bundle), Arc::clone(progress));
        Self(aside(move || {
            let wanted = |object: &BundleObject| objects.contains(&object.name);
            let progress: &dyn Progress = if objects.is_empty() { &Silent } else { &*progress };
            side_by_side(&bundle, &wanted, &files, progress, &|object| Looked::at(&bundle, object, progress))
        }))
    }

    pub(super) async fn end(self) -> Result<Vec<Looked>, Failure> {
        self.0.await.map_err(|e| Failure::failed(format!("the reader stopped: {e}")))?
    }
}

impl Looked {
    /// Goes through an object.
    fn at(bundle: &Bundle, object: &BundleObject, progress: &dyn Progress) -> Result<Self, Failure> {
        let names = bundle.names(&object.name)?;
        let place = |name: &str| names.iter().position(|own| own.as_str() == name);
        let (owner, files) =
            (place("owner_id"), (object.name == "files").then(|| (place("size_bytes"), place("path"))));
        let mut looked = Self {
            found: Found { object: object.name.clone(), ..Found::default() },
            inventory: Inventory::of(&names),
            owned: BTreeMap::new(),
            attachments: AttachmentsFound::default(),
        };
        let mut ids = Repeats::default();
        through(bundle, object, &names, progress, |sight| {
            let Self { found, inventory, owned, attachments } = &mut looked;
            match sight {
                Sight::Record { id, fields, beyond, .. } => {
                    found.read += 1;
                    ids.note(&id);
                    inventory.add_row(fields, beyond);
                    let value = |place: Option<usize>| fields.get(place?).and_then(|field| field.value());
                    if let Some(ValueRef::Text(owner)) = value(owner)
                        && !owner.is_empty()
                    {
                        match owned.get_mut(owner) {
                            Some(count) => *count += 1,
                            None => drop(owned.insert(owner.to_owned(), 1)),
                        }
                    }
                    if let Some((size, path)) = files {
                        attachments.see(bundle, value(size), value(path));
                    }
                }
                Sight::Unreadable { .. } => {
                    found.read += 1;
                    found.unreadable += 1;
                }
                Sight::Gone { .. } => {
                    found.read += 1;
                    found.gone += 1;
                }
            }
        })?;
        looked.found.repeated = ids.count();
        looked.found.records = looked.found.read - looked.found.gone - looked.found.unreadable - looked.found.repeated;
        Ok(looked)
    }
}

impl AttachmentsFound {
    fn see(&mut self, bundle: &Bundle, size: Option<ValueRef<'_>>, path: Option<ValueRef<'_>>) {
        self.files += 1;
        let bytes = match size {
            Some(ValueRef::Number(number)) => number.to_string().parse().unwrap_or(0),
            _ => 0,
        };
        self.bytes += bytes;
        self.large += u64::from(bytes > LARGE);
        if let Some(ValueRef::Text(path)) = path
            && !path.is_empty()
        {
            self.missing += u64::from(!bundle.has_binary(path));
        }
    }

    fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.large += other.large;
        self.missing += other.missing;
    }
}

impl Taking {
    /// Takes in a record that is read into the ledger.
    pub(super) fn see(&mut self, bundle: &Bundle, object: &str, record: &Record) {
        match self.facts.get_mut(object) {
            Some(inventory) => inventory.add(record),
            None => self.facts.entry(object.to_owned()).or_default().add(record),
        }
        if let Some(owner) = record.fields.text("owner_id") {
            self.owns(owner, object, 1);
        }
        if matches!(object, "users" | "pipelines" | "stages") {
            let records = self.describing.entry(object.to_owned()).or_default();
            if records.len() < DESCRIBING {
                records.push(record.clone());
            }
        }
        if object == "files" {
            let value = |name: &str| record.fields.look(name).value();
            self.attachments.see(bundle, value("size_bytes"), value("path"));
        }
    }

    /// Takes in an object that was only looked at.
    pub(super) fn take(&mut self, looked: Looked) -> Found {
        for (owner, count) in looked.owned {
            self.owns(&owner, &looked.found.object, count);
        }
        self.attachments.add(&looked.attachments);
        Found { facts: looked.inventory.fields(), ..looked.found }
    }

    fn owns(&mut self, owner: &str, object: &str, records: u64) {
        let owned = match self.owned.get_mut(owner) {
            Some(owned) => owned,
            None => self.owned.entry(owner.to_owned()).or_default(),
        };
        match owned.get_mut(object) {
            Some(count) => *count += records,
            None => drop(owned.insert(object.to_owned(), records)),
        }
    }

    fn records(&self, object: &str) -> &[Record] {
        self.describing.get(object).map_or(&[], Vec::as_slice)
    }

    pub(super) fn pipelines(&self) -> Vec<PipelineFound> {
        let name = |record: &Record| record.fields.text("name").unwrap_or(&record.id).to_owned();
        let mut pipelines: Vec<&Record> = self.records("pipelines").iter().collect();
        pipelines.sort_by_key(|record| number(record, "position"));
        let of = |pipeline: &Record| {
            let own = |stage: &&Record| stage.fields.text("pipeline_id") == Some(pipeline.id.as_str());
            let mut stages: Vec<&Record> = self.records("stages").iter().filter(own).collect();
            stages.sort_by_key(|stage| number(stage, "position"));
            let stages = stages.into_iter().map(name).collect();
            PipelineFound { id: pipeline.id.clone(), name: name(pipeline), stages }
        };
        pipelines.into_iter().map(of).collect()
    }

    pub(super) fn owners(&mut self) -> Vec<OwnerFound> {
        let mut owners: Vec<OwnerFound> = std::mem::take(&mut self.owned)
            .into_iter()
            .map(|(id, records)| {
                let user = self.records("users").iter().find(|user| user.id == id);
                OwnerFound {
                    email: user.and_then(|user| user.fields.text("email")).map(str::to_owned),
                    active: user.and_then(|user| match user.fields.value("is_active") {
                        Some(Value::Bool(active)) => Some(*active),
                        _ => None,
                    }),
                    known: user.is_some(),
                    id,
                    records,
                }
            })
            .collect();
        owners.sort_by_key(|owner| (std::cmp::Reverse(owner.records.values().sum::<u64>()), owner.id.clone()));
        owners
    }
}

fn number(record: &Record, field: &str) -> Option<u64> {
    match record.fields.value(field) {
        Some(Value::Number(number)) => number.to_string().parse().ok(),
        _ => None,
    }
}
