#![allow(clippy::unwrap_used)]

mod layouts;
mod messy;
mod refusals;

use std::{fs, path::Path};

use waybill_ledger::{FieldRef, Fields, Record};

use super::*;

/// A folder to fill with files.
struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.put(name, text.as_bytes());
        }
        folder
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn open(&self, profile: &str) -> Result<Bundle, BundleError> {
        Bundle::open(self.path(), &Profile::parse(profile).unwrap())
    }
}

/// A profile of contacts with an id, in which `more` stands below the object.
fn contacts(more: &str) -> String {
    format!("system = 'x'\nlabel = 'X'\n[[object]]\nname = 'contacts'\ncalled = ['contact']\nkey = 'id'\n{more}")
}

/// One line per item, for comparing.
fn tell(item: &Item) -> String {
    match item {
        Item::Record { record, .. } => {
            let fields: Vec<String> = record
                .fields
                .iter()
                .filter(|(name, _)| name.as_str() != "id")
                .map(|(name, value)| {
                    format!("{name}={}", value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}")))
                })
                .collect();
            format!("{} {}", record.id, fields.join(" ")).trim().to_owned()
        }
        Item::Unreadable { origin, reason } => format!("unreadable {origin}: {reason}"),
        Item::Gone { id, how: DeletedHow::Deleted, at } => format!("gone {id} {at:?}"),
        Item::Gone { id, how: DeletedHow::Merged { into }, .. } => format!("merged {id} into {into}"),
    }
}

/// Reads an object, and sees to it that a scan meets the same.
fn told(bundle: &Bundle, object: &str) -> Vec<String> {
    let read: Vec<String> = bundle.read(object).unwrap().map(|item| tell(&item)).collect();
    let names = bundle.names(object).unwrap();
    let mut met = Vec::new();
    let mut see = |sight: Sight<'_>| {
        met.push(tell(&match sight {
            Sight::Record { id, fields, beyond, modified, line } => {
                let all = names.iter().zip(fields.iter().copied()).chain(beyond.iter().copied());
                let pairs = all.filter_map(|(name, field)| match field {
                    FieldRef::Absent => None,
                    FieldRef::Null => Some((name.clone(), None)),
                    FieldRef::Present(value) => Some((name.clone(), Some(value.to_value()))),
                });
                let record = Record { id: id.into_owned(), fields: Fields::from_row(pairs.collect()) };
                Item::Record { record, modified, origin: Origin { file: String::new(), line } }
            }
            Sight::Unreadable { origin, reason } => Item::Unreadable { origin, reason },
            Sight::Gone { id, how, at } => Item::Gone { id: id.into_owned(), how, at },
        }));
    };
    bundle.scan(object, &names, &mut see).unwrap();
    assert_eq!(met, read, "a scan meets what reading gives");
    read
}
