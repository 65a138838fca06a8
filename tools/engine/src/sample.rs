//! Chooses the records of a sample: some of every object, with everything that they point to.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use waybill_ledger::{FieldKind, Position, Record, Schema, SubjectKey, Value, event::NameKind, ledger::Ledger};
use waybill_projector::{
    mapping::{Plan, pointed},
    sample::{Picker, shares},
};

use crate::{
    failure::Failure,
    state::State,
    world::{record, records_at},
};

/// A text longer than this is worth looking at.
const LONG: usize = 1_000;

/// Returns where the records of a sample of about `size` stand.
pub fn choose(
    plan: &Plan,
    ledger: &Arc<Ledger>,
    state: &State,
    source: &str,
    schema: &Schema,
    size: u64,
) -> Result<BTreeSet<Position>, Failure> {
    let objects: BTreeSet<&str> = plan.rules().iter().map(|rule| rule.from.as_str()).collect();
    let objects: Vec<&str> = objects.into_iter().collect();
    let names: Vec<_> = objects.iter().map(|object| ledger.find_name(NameKind::Object, object)).collect();
    let counts: Vec<u64> = names.iter().map(|name| name.map_or(0, |name| state.intake().object(name).live)).collect();
    let mut chosen = BTreeSet::new();
    let mut coming = VecDeque::new();
    for ((object, name), (wanted, count)) in
        objects.iter().zip(&names).zip(shares(size, &counts).into_iter().zip(&counts))
    {
        let Some(name) = name else { continue };
        let owners = owner_fields(plan, object);
        let mut picker = Picker::new(wanted, *count);
        for found in records_at(ledger, state.intake().positions(*name))? {
            let (at, record) = found?;
            if picker.pick(features(object, &record, schema, &owners)) {
                chosen.insert(at);
                coming.push_back(((*object).to_owned(), record));
            }
        }
    }
    // What the chosen ones point to comes with them, and what that points to.
    while let Some((object, at_hand)) = coming.pop_front() {
        for rule in plan.rules().iter().filter(|rule| rule.from == object) {
            let through = |object: &str, id: &str| record(ledger, state, source, object, id);
            for (other, id) in pointed(rule, &at_hand, &through) {
                let subject = ledger.find_subject(&SubjectKey::new(source, &other, &id));
                let Some(seen) = subject.and_then(|subject| state.intake().seen(subject)).filter(|seen| seen.live)
                else {
                    continue;
                };
                if chosen.insert(seen.position)
                    && let Some(found) = record(ledger, state, source, &other, &id)
                {
                    coming.push_back((other, found));
                }
            }
        }
    }
    Ok(chosen)
}

fn owner_fields<'p>(plan: &'p Plan, object: &str) -> BTreeSet<&'p str> {
    let rules = plan.rules().iter().filter(|rule| rule.from == object);
    let fields = rules.flat_map(|rule| rule.fields.values()).filter(|field| field.owner || field.via.is_some());
    fields.flat_map(|field| field.from.iter().map(String::as_str)).collect()
}

/// Returns what a record shows: its owner and stage, its options, which fields it fills, and what is odd in its texts.
fn features(object: &str, record: &Record, schema: &Schema, owners: &BTreeSet<&str>) -> Vec<u64> {
    let known = schema.object(object);
    let mut found = Vec::new();
    let mut feature = |what: &str, name: &str, value: &str| {
        let mut hasher = DefaultHasher::new();
        (what, name, value).hash(&mut hasher);
        found.push(hasher.finish());
    };
    for (name, value) in record.fields.iter() {
        let Some(value) = value else { continue };
        let name = name.as_str();
        let text = value.to_string();
        if text.trim().is_empty() {
            continue;
        }
        feature("filled", name, "");
        let kind = known.and_then(|known| known.field(name)).map(|field| &field.kind);
        let few = matches!(kind, Some(FieldKind::Choice { .. } | FieldKind::Bool)) || owners.contains(name);
        if few {
            feature("value", name, &text);
        }
        if let Value::Text(text) = value {
            for (odd, what) in [
                (!text.is_ascii(), "another script"),
                (text.contains('\n'), "several lines"),
                (text.len() > LONG, "long"),
                (text.trim() != text, "spaces around"),
            ] {
                if odd {
                    feature(what, name, "");
                }
            }
        }
    }
    found
}

/// How many records of each source object were chosen.
pub fn counts(ledger: &Ledger, chosen: &BTreeSet<Position>) -> Result<BTreeMap<String, u64>, Failure> {
    let mut counts = BTreeMap::new();
    let (Some(first), Some(last)) = (chosen.first(), chosen.last()) else { return Ok(counts) };
    for event in ledger.reader().read(*first..=*last, |envelope| chosen.contains(&envelope.position)) {
        if let waybill_ledger::Event::RecordExtracted { object, .. } = event?.0.event {
            *counts.entry(ledger.name_text(object).unwrap_or_default()).or_default() += 1;
        }
    }
    Ok(counts)
}
