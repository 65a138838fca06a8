//! The ids by which the destination knows the records of ours, in a few bytes each.
//!
//! Ids that were given one after another begin and end alike: a page keeps what its ids have in common once, and the rest of
//! each in as many bytes as the longest needs. UUIDs lie in the 16 bytes that they are.

use std::collections::BTreeMap;

use uuid::Uuid;

/// Ids of one page.
const PAGE: usize = 256;
/// In the first byte of a place: nothing is here.
const NOTHING: u8 = 0;
/// In the first byte of a place: a UUID in its usual writing.
const UUID: u8 = u8::MAX;
/// The longest id that lies in a page. No platform has ids near it; what is longer lies apart.
const LONGEST: usize = 200;

/// Ids by the number of a target.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    pages: Vec<Page>,
    long: BTreeMap<usize, Box<str>>,
}

#[derive(Debug, Clone, Default)]
struct Page {
    /// What the ids begin with and end in, UUIDs apart.
    prefix: Box<str>,
    suffix: Box<str>,
    /// Bytes of a place: one for what is there, then the rest of the id, filled up with zeros.
    width: usize,
    places: Box<[u8]>,
}

/// Returns the UUID that an id is, if it would be written so again.
fn uuid(id: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(id).ok()?;
    let usual = &*uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == id;
    usual.then_some(uuid)
}

/// Returns how far two texts are alike.
fn alike(mut both: impl Iterator<Item = ((usize, char), char)>, one: &str, other: &str) -> usize {
    both.find(|((_, a), b)| a != b).map_or(one.len().min(other.len()), |((at, _), _)| at)
}

impl Page {
    fn get(&self, place: usize) -> Option<String> {
        let bytes = self.places.get(place * self.width..(place + 1) * self.width)?;
        match bytes.split_first()? {
            (&NOTHING, _) => None,
            (&UUID, rest) => rest.first_chunk().map(|bytes| Uuid::from_bytes(*bytes).hyphenated().to_string()),
            (length, rest) => {
                let rest = std::str::from_utf8(rest.get(..usize::from(*length) - 1)?).ok()?;
                Some([&self.prefix, rest, &self.suffix].concat())
            }
        }
    }

    fn rest_of<'i>(&self, id: &'i str) -> Option<&'i str> {
        id.strip_prefix(&*self.prefix)?.strip_suffix(&*self.suffix)
    }

    /// Writes an id into its place, if it begins as the others do and there is room.
    fn fits(&mut self, place: usize, id: &str) -> bool {
        let uuid = uuid(id);
        let (kind, rest) = match &uuid {
            Some(uuid) => (UUID, uuid.as_bytes().as_slice()),
            None => match self.rest_of(id).map(|rest| (u8::try_from(rest.len() + 1), rest.as_bytes())) {
                Some((Ok(kind), rest)) => (kind, rest),
                _ => return false,
            },
        };
        let fits = rest.len() < self.width;
        if fits {
            let bytes = &mut self.places[place * self.width..(place + 1) * self.width];
            bytes[0] = kind;
            bytes[1..=rest.len()].copy_from_slice(rest);
        }
        fits
    }

    /// Returns a page with one more id.
    fn with(&self, place: usize, id: &str) -> Self {
        let mut ids: Vec<Option<String>> = (0..PAGE).map(|place| self.get(place)).collect();
        ids[place] = Some(id.to_owned());
        let others = || ids.iter().flatten().map(String::as_str).filter(|id| uuid(id).is_none());
        let first = others().next().unwrap_or_default();
        let prefix =
            others().fold(first, |prefix, id| &prefix[..alike(prefix.char_indices().zip(id.chars()), prefix, id)]);
        // What all begin with is not looked at once more: an id may be no longer than that.
        let rests = || others().map(|id| &id[prefix.len()..]);
        let first = rests().next().unwrap_or_default();
        let suffix = rests().fold(first, |suffix, id| {
            let (back, other) = (suffix.char_indices().rev(), id.chars().rev());
            let alike = back.zip(other).take_while(|((_, a), b)| a == b).last();
            alike.map_or("", |((at, _), _)| &suffix[at..])
        });
        let longest = rests().map(|rest| rest.len() - suffix.len()).max().unwrap_or(0);
        let uuids = ids.iter().flatten().any(|id| uuid(id).is_some());
        let width = 1 + if uuids { longest.max(16) } else { longest };
        let (prefix, suffix) = (prefix.into(), suffix.into());
        let mut page = Self { prefix, suffix, width, places: vec![0; PAGE * width].into() };
        for (place, id) in ids.iter().enumerate() {
            if let Some(id) = id {
                page.fits(place, id);
            }
        }
        page
    }
}

impl Ids {
    /// Keeps the id of a target's record.
    pub(crate) fn insert(&mut self, target: usize, id: &str) {
        self.remove(target);
        if id.is_empty() || id.len() > LONGEST {
            self.long.insert(target, id.into());
            return;
        }
        if self.pages.len() <= target / PAGE {
            self.pages.resize(target / PAGE + 1, Page::default());
        }
        let page = &mut self.pages[target / PAGE];
        if !page.fits(target % PAGE, id) {
            *page = page.with(target % PAGE, id);
        }
    }

    /// Forgets the id of a target's record.
    pub(crate) fn remove(&mut self, target: usize) {
        if let Some(page) = self.pages.get_mut(target / PAGE) {
            let (place, width) = (target % PAGE, page.width);
            page.places.get_mut(place * width..(place + 1) * width).unwrap_or_default().fill(NOTHING);
        }
        self.long.remove(&target);
    }

    /// Returns the id of a target's record, if it is kept.
    pub(crate) fn get(&self, target: usize) -> Option<String> {
        let short = self.pages.get(target / PAGE).and_then(|page| page.get(target % PAGE));
        short.or_else(|| self.long.get(&target).map(|id| String::from(&**id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_any_form_read_back() {
        let long = "x".repeat(300);
        let forms = [
            "0015500001QdQWfAAN",
            "0015500001QdQWgAAN",
            "20202020-1c25-4d02-bf25-6aeccf7ea419",
            "20202020-1C25-4D02-BF25-6AECCF7EA419",
            "00000000-0000-0000-0000-000000000000",
            "202020201c25-4d02-bf25-6aeccf7ea419--",
            "+2020202-1c25-4d02-bf25-6aeccf7ea419",
            "",
            "a",
            "éa",
            "éb",
            "è",
            "0015500001QdQWxAAN",
            "éxa",
            "aa",
            "aaa",
            &long,
        ];
        // Every form beside every other, in one page and in two, in both orders, and after another one in its place.
        for (one, other) in forms.iter().flat_map(|one| forms.iter().map(move |other| (one, other))) {
            for (at, beside) in [(3, 7), (7, 3), (3, 300)] {
                let mut ids = Ids::default();
                ids.insert(at, other);
                ids.insert(at, one);
                ids.insert(beside, other);
                assert_eq!((ids.get(at).as_deref(), ids.get(beside).as_deref()), (Some(*one), Some(*other)));
                ids.remove(at);
                assert_eq!((ids.get(at), ids.get(beside).as_deref(), ids.get(4)), (None, Some(*other), None));
            }
        }
        assert_eq!(Ids::default().get(400), None);
    }

    #[test]
    fn ids_that_follow_one_another_take_what_they_differ_in() {
        let mut ids = Ids::default();
        for n in 0..10_000 {
            ids.insert(n, &format!("0015500001Q{:04}AAN", n * 7 % 10_000));
        }
        assert!((0..10_000).all(|n| ids.get(n) == Some(format!("0015500001Q{:04}AAN", n * 7 % 10_000))));
        let bytes: usize = ids.pages.iter().map(|page| page.places.len()).sum();
        assert!(bytes <= 10_240 * 5, "{bytes}");
    }
}
