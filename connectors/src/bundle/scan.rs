//! Going through an object without making records of its rows: for those who look at every cell and keep next to nothing.

use std::{borrow::Cow, sync::Arc};

use waybill_ledger::{FieldName, FieldRef};

use super::{
    Bundle,
    error::BundleError,
    item::{Item, Origin, Sight},
};

impl Bundle {
    /// Returns the names of the fields that records of `object` have, in their order: what [`Bundle::scan`] wants to be given.
    /// Records of JSON may have others beside them.
    pub fn names(&self, object: &str) -> Result<Arc<[FieldName]>, BundleError> {
        let mut names: Vec<FieldName> = self.object(object)?.parts.iter().flat_map(super::part::Part::names).collect();
        names.sort();
        names.dedup();
        Ok(names.into())
    }

    /// Shows everything of `object` to `see`, in the order of [`Bundle::read`] and with the same words; `names` are those that
    /// [`Bundle::names`] returned.
    pub fn scan(
        &self,
        object: &str,
        names: &Arc<[FieldName]>,
        see: &mut dyn FnMut(Sight<'_>),
    ) -> Result<(), BundleError> {
        let object = self.object(object)?;
        let closed = |file: &str, error: std::io::Error| {
            let (origin, reason) = Origin::of_closed(file, &error);
            Sight::Unreadable { origin, reason }
        };
        for part in &object.parts {
            if let Err(error) = part.scan(names, see) {
                see(closed(&part.path, error));
            }
        }
        for list in &self.gone {
            match list.open(Arc::clone(&object.words)) {
                Ok(items) => items.for_each(|item| show(&item, names, see)),
                Err(error) => see(closed(list.file(), error)),
            }
        }
        Ok(())
    }
}

/// Shows an item that was made.
pub(crate) fn show(item: &Item, names: &[FieldName], see: &mut dyn FnMut(Sight<'_>)) {
    match item {
        Item::Record { record, modified, origin } => {
            let mut fields = vec![FieldRef::Absent; names.len()];
            let mut beyond = Vec::new();
            for (name, value) in record.fields.iter() {
                match names.binary_search(name) {
                    Ok(place) => fields[place] = value.into(),
                    Err(_) => beyond.push((name, value.into())),
                }
            }
            let id = Cow::Borrowed(record.id.as_str());
            see(Sight::Record { id, fields: &fields, beyond: &beyond, modified: *modified, line: origin.line });
        }
        Item::Unreadable { origin, reason } => {
            see(Sight::Unreadable { origin: origin.clone(), reason: reason.clone() });
        }
        Item::Gone { id, how, at } => see(Sight::Gone { id: Cow::Borrowed(id), how: how.clone(), at: *at }),
    }
}
