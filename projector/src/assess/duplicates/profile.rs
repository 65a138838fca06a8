//! What is kept of a record to compare it: its slots, folded, some sixty bytes in all.

use waybill_ledger::Value;

use super::layout::{SLOTS, Slot, Who};
use crate::assess::words::{company_into, email_into, fold_into, host_into, phone_into};

/// The most bytes that are kept of a slot. Names of people and streets are told apart long before that.
const MOST: usize = 48;

/// The slots of the record at hand.
#[derive(Debug, Default)]
pub(super) struct Draft {
    slots: [String; SLOTS],
    scratch: String,
}

impl Draft {
    pub(super) fn clear(&mut self) {
        self.slots.iter_mut().for_each(String::clear);
    }

    pub(super) fn get(&self, slot: Slot) -> &str {
        &self.slots[slot as usize]
    }

    /// Takes in the value of a field.
    pub(super) fn take(&mut self, who: Who, slot: Slot, value: &Value) {
        match value {
            Value::List(items) => {
                for item in items.iter().take(4) {
                    self.take(who, slot, item);
                }
            }
            Value::Text(text) => self.text(who, slot, text),
            Value::Date(day) if slot == Slot::Born => {
                use chrono::Datelike;
                use std::fmt::Write;
                let _ = write!(self.slots[slot as usize], "{:04}{:02}{:02}", day.year(), day.month(), day.day());
            }
            Value::Map(_) | Value::Bool(_) => {}
            value => self.text(who, slot, &value.to_string()),
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
                own.extend(text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(12));
            }
            Slot::Employer => {
                use std::fmt::Write;
                let _ = write!(own, "{:x}", crate::assess::ids::hash(text.trim()) & 0xFFFF_FFFF);
            }
            _ => fold_into(text, MOST, own),
        }
        let parts: &str = own.get(start..).unwrap_or_default();
        // Nothing came of it, or it is there already.
        let again = matches!(slot, Slot::Email | Slot::Phone)
            && own.get(..before).unwrap_or_default().split(' ').any(|part| part == parts);
        if parts.is_empty() || again {
            own.truncate(before);
        }
    }

    /// Appends all slots, each with its length before it.
    pub(super) fn pack(&self, out: &mut Vec<u8>) {
        for slot in &self.slots {
            let mut end = slot.len().min(usize::from(u8::MAX));
            while !slot.is_char_boundary(end) {
                end -= 1;
            }
            out.push(u8::try_from(end).unwrap_or(u8::MAX));
            out.extend_from_slice(&slot.as_bytes()[..end]);
        }
    }
}

/// The slots of a packed record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Profile<'a>([&'a str; SLOTS]);

impl<'a> Profile<'a> {
    pub(super) fn unpack(mut bytes: &'a [u8]) -> Self {
        let mut slots = [""; SLOTS];
        for slot in &mut slots {
            let Some((length, rest)) = bytes.split_first() else { break };
            let (own, rest) = rest.split_at(usize::from(*length).min(rest.len()));
            *slot = std::str::from_utf8(own).unwrap_or_default();
            bytes = rest;
        }
        Self(slots)
    }

    pub(super) fn get(&self, slot: Slot) -> &'a str {
        self.0[slot as usize]
    }
}
