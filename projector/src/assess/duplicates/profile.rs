//! What is kept of a record to compare it: its slots, folded, some sixty bytes in all.

use waybill_ledger::ValueRef;

use super::layout::{SLOTS, Slot, Who};
use crate::assess::words::{company_into, email_into, fold_into, host_into, phone_into};

/// The most bytes that are kept of a slot. Names of people and streets are told apart long before that.
const MOST: usize = 48;

/// The slots of the record at hand.
#[derive(Debug, Default)]
pub(super) struct Draft {
    slots: [String; SLOTS],
    /// Which slots hold several values, with a space between them: a bit each.
    several: u16,
    scratch: String,
}

impl Draft {
    pub(super) fn clear(&mut self) {
        self.slots.iter_mut().for_each(String::clear);
        self.several = 0;
    }

    pub(super) fn get(&self, slot: Slot) -> &str {
        &self.slots[slot as usize]
    }

    /// Returns the values of a slot.
    pub(super) fn each(&self, slot: Slot) -> impl Iterator<Item = &str> {
        each(self.get(slot), self.several & 1 << slot as u16 != 0).filter(|value| !value.is_empty())
    }

    /// Takes in the value of a field.
    pub(super) fn take(&mut self, who: Who, slot: Slot, value: ValueRef<'_>) {
        match value {
            ValueRef::List(items) => {
                for item in items.iter().take(4) {
                    self.take(who, slot, item.into());
                }
            }
            ValueRef::Text(text) => self.text(who, slot, text),
            ValueRef::Date(day) if slot == Slot::Born => {
                use chrono::Datelike;
                use std::fmt::Write;
                let _ = write!(self.slots[slot as usize], "{:04}{:02}{:02}", day.year(), day.month(), day.day());
            }
            ValueRef::Map(_) | ValueRef::Bool(_) => {}
            value => self.text(who, slot, &value.shown()),
        }
    }

    fn text(&mut self, who: Who, slot: Slot, text: &str) {
        let own = &mut self.slots[slot as usize];
        let before = own.len();
        if !own.is_empty() {
            // A company has one web address; the first field that holds one says it.
            if slot == Slot::Domain || own.len() > MOST {
                return;
            }
            own.push(' ');
        }
        let start = own.len();
        match slot {
            Slot::Email => email_into(text, own),
            Slot::Phone => phone_into(text, own),
            Slot::Domain => host_into(text, own),
            Slot::Born | Slot::Number => own.extend(text.chars().filter(char::is_ascii_alphanumeric).take(MOST)),
            Slot::Name if who == Who::Companies => {
                self.scratch.clear();
                fold_into(text, MOST, &mut self.scratch);
                company_into(&self.scratch, own);
            }
            Slot::Postal => {
                if text.is_ascii() {
                    let bytes = text.bytes().filter(u8::is_ascii_alphanumeric).take(12);
                    own.extend(bytes.map(|byte| char::from(byte.to_ascii_lowercase())));
                } else {
                    own.extend(text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(12));
                }
            }
            Slot::Employer => {
                // Eight letters for as many groups of four bits.
                let hash = crate::hash::hash(text.trim());
                own.extend((0..8).map(|n| char::from(b'a' + u8::try_from(hash >> (4 * n) & 15).unwrap_or(0))));
            }
            _ => fold_into(text, MOST, own),
        }
        let parts: &str = own.get(start..).unwrap_or_default();
        // Nothing came of it, or it is there already.
        let again = matches!(slot, Slot::Email | Slot::Phone)
            && own.get(..before).unwrap_or_default().split(' ').any(|part| part == parts);
        if parts.is_empty() || again {
            own.truncate(before);
        } else if before > 0 {
            self.several |= 1 << slot as u16;
        }
    }

    /// Appends all slots, and returns how they lie there.
    pub(super) fn pack(&self, out: &mut String) -> Packed {
        let mut packed = Packed { start: out.len(), several: self.several, lengths: [0; SLOTS] };
        for (slot, length) in self.slots.iter().zip(&mut packed.lengths) {
            let mut end = slot.len().min(usize::from(u8::MAX));
            while !slot.is_char_boundary(end) {
                end -= 1;
            }
            *length = u8::try_from(end).unwrap_or(u8::MAX);
            out.push_str(&slot[..end]);
        }
        packed
    }
}

/// Returns the values of a slot; of an empty one, one empty text.
fn each(text: &str, several: bool) -> impl Iterator<Item = &str> {
    let (first, others) = if several { text.split_once(' ').unwrap_or((text, "")) } else { (text, "") };
    std::iter::once(first).chain(several.then(|| others.split(' ')).into_iter().flatten())
}

/// Where a packed record begins, which of its slots hold several values, and how many bytes each has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed {
    pub(super) start: usize,
    pub(super) several: u16,
    pub(super) lengths: [u8; SLOTS],
}

/// The slots of a packed record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Profile<'a> {
    slots: [&'a str; SLOTS],
    several: u16,
}

impl<'a> Profile<'a> {
    pub(super) fn unpack(text: &'a str, packed: &Packed) -> Self {
        let mut text = text.get(packed.start..).unwrap_or_default();
        let slots = packed.lengths.map(|length| {
            let (own, rest) = text.split_at_checked(usize::from(length)).unwrap_or((text, ""));
            text = rest;
            own
        });
        Self { slots, several: packed.several }
    }

    pub(super) fn get(&self, slot: Slot) -> &'a str {
        self.slots[slot as usize]
    }

    /// Returns the values of a slot; of an empty one, one empty text.
    pub(super) fn each(&self, slot: Slot) -> impl Iterator<Item = &'a str> {
        each(self.get(slot), self.several & 1 << slot as u16 != 0)
    }
}
