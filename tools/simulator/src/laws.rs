//! The laws, checked from outside: by the rows of the destination, the source's records, and what people did.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use crate::{
    place::{Did, Dump, Place, TRASH},
    source::{Cells, Kind, Source},
    wire::Act,
};

/// All that can be seen from outside.
pub(crate) struct Landscape<'a> {
    pub(crate) place: &'a dyn Place,
    pub(crate) source: &'a Source,
    /// The destination before us.
    pub(crate) before: &'a Dump,
    pub(crate) dump: &'a Dump,
    pub(crate) acts: &'a [Act],
}

/// A row: its id and its fields.
type Found<'d> = (&'d str, &'d BTreeMap<String, Json>);

/// Returns the rows of a kind by the source's id.
fn by_tag<'d>(dump: &'d Dump, kind: &Kind) -> BTreeMap<String, Vec<Found<'d>>> {
    let mut rows: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let Some(tag) = kind.tag else { return rows };
    for ((_, id), fields) in dump.iter().filter(|((object, _), _)| object == kind.to) {
        if let Some(source) = fields.get(tag).and_then(Json::as_str) {
            rows.entry(source.to_owned()).or_default().push((id, fields));
        }
    }
    rows
}

/// No record of the source is at the destination more than once.
pub(crate) fn nothing_twice(source: &Source, dump: &Dump) -> Result<(), String> {
    for kind in source.kinds {
        for (id, rows) in by_tag(dump, kind) {
            if rows.len() > 1 && source.rows.contains_key(&(kind.name, id.clone())) {
                let ids: Vec<&str> = rows.iter().map(|(id, _)| *id).collect();
                return Err(format!("{} {id} is there {} times: {}", kind.name, rows.len(), ids.join(", ")));
            }
        }
    }
    for through in source.kinds.iter().flat_map(|kind| kind.through) {
        let mut pairs = BTreeSet::new();
        for ((_, id), row) in dump.iter().filter(|((object, _), _)| object == through.object) {
            let end = |field: &str| row.get(field).and_then(Json::as_str);
            let pair = (end(through.ends.0), end(through.ends.1));
            if pair.0.is_some() && pair.1.is_some() && !pairs.insert(pair) {
                return Err(format!("the {} {id} is there twice: {pair:?}", through.object));
            }
        }
    }
    let meant = source.notes();
    for (title, count) in notes(dump) {
        if count > meant.get(title).copied().unwrap_or(0) {
            return Err(format!("`{title}` is there {count} times, and {:?} in the source", meant.get(title)));
        }
    }
    let mut roles = BTreeSet::new();
    for ((_, id), fields) in dump.iter().filter(|((object, _), _)| object == "OpportunityContactRole") {
        // Two contacts with a role each that became one may have both.
        let merged = source.rows.values().any(|row| row.into.is_some());
        if !merged
            && !roles.insert((
                fields.get("OpportunityId").cloned().map(|v| v.to_string()),
                fields.get("ContactId").cloned().map(|v| v.to_string()),
            ))
        {
            return Err(format!("the role {id} is there twice"));
        }
    }
    Ok(())
}

/// Returns how many notes are there by what can be seen of them.
fn notes(dump: &Dump) -> BTreeMap<&str, usize> {
    let mut notes = BTreeMap::new();
    for (_, fields) in dump.iter().filter(|((object, _), _)| object == "ContentNote") {
        *notes.entry(fields.get("Title").and_then(Json::as_str).unwrap_or_default()).or_default() += 1;
    }
    notes
}

impl Landscape<'_> {
    /// Returns the records whose rows people deleted, or whose rows went or changed with those.
    fn beyond(&self) -> BTreeSet<(&'static str, String)> {
        let live: BTreeMap<&str, BTreeMap<String, Vec<_>>> =
            self.source.kinds.iter().map(|kind| (kind.name, by_tag(self.dump, kind))).collect();
        let deleted = self.acts.iter().any(|act| matches!(act.what, Did::Deleted(_)));
        let mut beyond = BTreeSet::new();
        for ((name, id), row) in &self.source.rows {
            let kind = self.source.kind(name);
            let lacks = kind.tag.is_some() && live.get(name).is_none_or(|rows| !rows.contains_key(id));
            if lacks && (deleted || self.is_buried(kind, &row.cells)) {
                beyond.insert((*name, id.clone()));
            }
        }
        if beyond.is_empty() {
            return beyond;
        }
        // Only as many as people deleted, with what hangs on them.
        loop {
            let more: Vec<_> = self
                .source
                .rows
                .iter()
                .filter(|((name, id), row)| {
                    !beyond.contains(&(*name, id.clone()))
                        && self.source.kind(name).links.iter().any(|(column, to, _)| {
                            beyond.contains(&(*to, self.source.survivor(to, &row.cells[column]).to_owned()))
                        })
                })
                .map(|(key, _)| key.clone())
                .collect();
            if more.is_empty() {
                return beyond;
            }
            beyond.extend(more);
        }
    }

    /// Returns whether a row in the trash holds what only one row may, and the record waits for that.
    fn is_buried(&self, kind: &Kind, cells: &Cells) -> bool {
        let (waits, goes) = (self.place.buried_waits(), self.place.buried_goes());
        let Some((_, field)) = kind.unique.filter(|_| waits || goes) else { return false };
        let wanted = Source::wanted(kind, cells);
        let Some(value) = wanted.get(field) else { return false };
        let object = format!("{TRASH}{}", kind.to);
        // What goes for good stays while others point to it.
        let pointed = |id: &str| self.dump.values().any(|row| row.iter().any(|(name, v)| name != "id" && v == id));
        let mut buried = self.dump.iter().filter(|((name, id), _)| *name == object && (waits || pointed(id)));
        buried
            .any(|(_, row)| row.get(field).and_then(Json::as_str).is_some_and(|held| held.eq_ignore_ascii_case(value)))
    }

    /// Every row between two others is there, and none to a row that the source no longer names.
    fn between(
        &self,
        beyond: &BTreeSet<(&'static str, String)>,
        id_of: &dyn Fn(&str, &str) -> Option<String>,
    ) -> Result<(), String> {
        for ((name, id), row) in self.source.rows.iter().filter(|(_, row)| row.live) {
            for through in self.source.kind(name).through {
                let to = self.source.survivor(through.to, &row.cells[through.column]).to_owned();
                let there = self.source.rows.get(&(through.to, to.clone())).is_some_and(|row| row.live);
                if !there || beyond.contains(&(*name, id.clone())) || beyond.contains(&(through.to, to.clone())) {
                    continue;
                }
                let (Some(own), Some(other)) = (id_of(name, id), id_of(through.to, &to)) else { continue };
                let mut rows = self.dump.iter().filter(|((object, _), _)| object == through.object);
                let is = |row: &BTreeMap<String, Json>, field: &str, id: &str| {
                    row.get(field).and_then(Json::as_str) == Some(id)
                };
                if !rows.any(|(_, row)| is(row, through.ends.0, &own) && is(row, through.ends.1, &other)) {
                    return Err(format!(
                        "{name} {id} ({own}) has no {} to {} {to} ({other})",
                        through.object, through.to
                    ));
                }
            }
        }
        Ok(())
    }

    fn edits(&self, object: &str, id: &str) -> impl Iterator<Item = &Act> {
        self.acts.iter().filter(move |act| act.object == object && act.id == id)
    }
}

/// Everything that the source has is at the destination as the source has it, and what people changed is as they left it.
pub(crate) fn arrived(land: &Landscape<'_>) -> Result<(), String> {
    let beyond = land.beyond();
    let tags: BTreeMap<&str, BTreeMap<String, Vec<_>>> =
        land.source.kinds.iter().map(|kind| (kind.name, by_tag(land.dump, kind))).collect();
    let id_of = |name: &str, id: &str| tags.get(name).and_then(|rows| rows.get(id)).map(|rows| rows[0].0.to_owned());
    let roles: BTreeMap<(String, String), &BTreeMap<String, Json>> = land
        .dump
        .iter()
        .filter(|((object, _), _)| object == "OpportunityContactRole")
        .map(|(_, fields)| {
            let text = |name: &str| fields.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
            ((text("OpportunityId"), text("ContactId")), fields)
        })
        .collect();
    for ((name, id), row) in &land.source.rows {
        if beyond.contains(&(*name, id.clone())) {
            continue;
        }
        let kind = land.source.kind(name);
        if kind.name == "notes" && kind.tag.is_none() {
            continue;
        }
        if kind.tag.is_none() {
            // Two contacts with a role each that became one may have both.
            if land.source.rows.values().any(|row| row.into.is_some()) {
                continue;
            }
            let contact_id = land.source.survivor("contacts", &row.cells["contact_id"]).to_owned();
            let ends = (id_of("deals", &row.cells["deal_id"]), id_of("contacts", &contact_id));
            let (Some(deal), Some(contact)) = ends else { continue };
            // A role that landed stays while both its ends do.
            match roles.get(&(deal, contact)) {
                None if row.live && land.source.rows[&("contacts", contact_id.clone())].live => {
                    return Err(format!("the role {id} is not there"));
                }
                Some(fields) if fields.get("Role").and_then(Json::as_str) != Some(&row.cells["role"]) => {
                    return Err(format!("the role {id} is {:?}, not {}", fields.get("Role"), row.cells["role"]));
                }
                _ => {}
            }
            continue;
        }
        let found = tags.get(name).and_then(|rows| rows.get(id)).and_then(|rows| rows.first());
        let Some((there, fields)) = found else {
            if row.live {
                return Err(format!("{name} {id} is not there"));
            }
            continue;
        };
        let acts: Vec<&Act> = land.edits(kind.to, there).collect();
        // A row that was there before us stays.
        let stranger = is_in(land.before, kind.to, there);
        if !row.live && kind.goes && !stranger && acts.is_empty() && !land.source.is_pointed_to(name, id) {
            // The platform's own record of a contact's company hangs on nothing.
            let others = land.dump.iter().filter(|((object, _), _)| object != "AccountContactRelation");
            let hangs = others
                .map(|(_, fields)| fields)
                .any(|fields| fields.iter().any(|(name, value)| name != "Id" && value.as_str() == Some(there)));
            if !hangs {
                return Err(format!("{name} {id} was deleted in the source, and {there} is still there"));
            }
        }
        if !acts.is_empty() || !row.live {
            continue;
        }
        let wanted = Source::wanted(kind, &row.cells);
        for field in Source::fields(kind) {
            if !same(wanted.get(field).map(String::as_str), fields.get(field)) {
                return Err(format!(
                    "{name} {id} ({there}): {field} is {:?}, the source says {:?}",
                    fields.get(field),
                    wanted.get(field)
                ));
            }
        }
        for (column, to, field) in kind.links.iter().filter(|(_, _, field)| !field.is_empty()) {
            let pointed = land.source.survivor(to, &row.cells[column]).to_owned();
            let pointed = &pointed;
            if beyond.contains(&(*to, pointed.clone()))
                || land.source.rows.get(&(*to, pointed.clone())).is_some_and(|to| !to.live)
            {
                continue;
            }
            let wanted = if pointed.is_empty() { None } else { id_of(to, land.source.survivor(to, pointed)) };
            if fields.get(*field).and_then(Json::as_str) != wanted.as_deref() {
                return Err(format!("{name} {id} ({there}): {field} is {:?}, not {wanted:?}", fields.get(*field)));
            }
        }
    }
    land.between(&beyond, &id_of)?;
    if notes(land.dump) != land.source.notes() {
        return Err(format!("the notes are {:?}, not {:?}", notes(land.dump), land.source.notes()));
    }
    for act in land.acts.iter().filter(|act| !act.met) {
        let Did::Deleted(Some(tag)) = &act.what else { continue };
        let Some(kind) = land.source.kinds.iter().find(|kind| kind.to == act.object) else { continue };
        // Whoever takes it out of the trash again wants it to be there.
        let restored = |later: &&Act| later.id == act.id && matches!(later.what, Did::Restored);
        if land.acts.iter().any(|later| restored(&later)) {
            continue;
        }
        if let Some((again, _)) = tags.get(kind.name).and_then(|rows| rows.get(tag)).and_then(|rows| rows.first()) {
            return Err(format!(
                "{} {tag} was deleted by a person as {} and is there again as {again}",
                kind.name, act.id
            ));
        }
    }
    for ((object, id), _) in land.before.iter().filter(|((object, _), _)| object.starts_with(TRASH)) {
        let touched = land.acts.iter().any(|act| act.id == *id);
        if land.place.buried_waits() && !touched && !land.dump.contains_key(&(object.clone(), id.clone())) {
            return Err(format!("{object} {id} is in the trash no more, and the plan does not bring it back"));
        }
    }
    kept(land.place, land.dump, land.acts, false)
}

/// Returns whether a row is there, in the trash or not.
fn is_in(dump: &Dump, object: &str, id: &str) -> bool {
    let object = object.strip_prefix(TRASH).unwrap_or(object);
    [object.to_owned(), format!("{TRASH}{object}")]
        .into_iter()
        .any(|object| dump.contains_key(&(object, id.to_owned())))
}

fn same(wanted: Option<&str>, found: Option<&Json>) -> bool {
    match (wanted, found) {
        (None, None | Some(Json::Null)) => true,
        (Some(wanted), Some(Json::String(found))) => {
            // The destination keeps e-mails in small letters, and dates of a day.
            found.eq_ignore_ascii_case(wanted)
        }
        (Some(wanted), Some(Json::Number(found))) => wanted.parse::<f64>().ok() == found.as_f64(),
        _ => false,
    }
}

/// Returns the last thing that was done to each field, and to each row as a whole.
fn last_words(acts: &[Act]) -> BTreeMap<(&str, &str, &'static str), &Act> {
    let mut last = BTreeMap::new();
    for act in acts {
        let field = match act.what {
            Did::Set(field, _) => field,
            Did::Deleted(_) | Did::Restored => "-",
            Did::Made(_) => continue,
        };
        last.insert((act.object.as_str(), act.id.as_str(), field), act);
    }
    last
}

/// Returns whether a field holds after this act what it held before people came to it, with nobody else in between: then it is
/// as it was left to them, and goes back with the rest if that was ours.
fn taken_back(acts: &[Act], last: &Act) -> bool {
    let Did::Set(field, value) = &last.what else { return false };
    let mut held = &last.before;
    if held == value {
        return true;
    }
    for act in acts.iter().rev().skip_while(|act| !std::ptr::eq(*act, last)).skip(1) {
        let Did::Set(own, set) = &act.what else { continue };
        if (own, &act.object, &act.id) != (field, &last.object, &last.id) {
            continue;
        }
        if set != held {
            return false;
        }
        held = &act.before;
        if held == value {
            return true;
        }
    }
    false
}

/// What people did is as they left it. What automation did in our user's name may be taken for what the platform made of our
/// write, and go with it.
fn kept(place: &dyn Place, dump: &Dump, acts: &[Act], given_back: bool) -> Result<(), String> {
    let gone: BTreeSet<(&str, &str)> = acts
        .iter()
        .filter(|act| matches!(act.what, Did::Deleted(_)))
        .map(|act| (act.object.as_str(), act.id.as_str()))
        .collect();
    for ((object, id, _), act) in last_words(acts) {
        // What automation did in our user's name hides who was there before it, unless that was a field of ours.
        let hidden = acts
            .iter()
            .any(|later| later.automated && (&*later.object, &*later.id) == (object, id) && later.at >= act.at);
        // Who takes back what automation did leaves the field as we wrote it: then it is ours again.
        let undone = acts.iter().any(|earlier| {
            let field = |act: &Act| if let Did::Set(field, _) = act.what { Some(field) } else { None };
            let same = earlier.object == object && earlier.id == id && field(earlier) == field(act);
            earlier.automated && same && earlier.at <= act.at
        });
        let mine = !act.early || given_back;
        let excused = act.met || undone || taken_back(acts, act) || act.automated;
        if excused || hidden && !place.is_ours(object, &act.what) || !mine {
            continue;
        }
        let row = dump.get(&(object.to_owned(), id.to_owned()));
        match (&act.what, row) {
            (Did::Deleted(_), Some(_)) => {
                return Err(format!("{object} {id} was deleted by a person and is there again"));
            }
            (Did::Set(field, value), Some(row)) if row.get(*field).unwrap_or(&Json::Null) != value => {
                return Err(format!(
                    "{object} {id}: a person set {field} to {value}, and it is {:?}",
                    row.get(*field).unwrap_or(&Json::Null)
                ));
            }
            (Did::Set(field, value), None) if !gone.contains(&(object, id)) && gone.is_empty() => {
                return Err(format!("{object} {id}: a person set {field} to {value}, and the row is gone"));
            }
            _ => {}
        }
    }
    for act in acts.iter().filter(|act| !act.met) {
        let Did::Made(child) = &act.what else { continue };
        let Some((object, id)) = child.split_once('/') else { continue };
        let row = dump.get(&(object.to_owned(), id.to_owned()));
        if row.is_none() && gone.is_empty() {
            return Err(format!("{child}, which a person made, is gone"));
        }
        let held = row.and_then(|row| row.get(place.hangs_by(object))).and_then(Json::as_str);
        if row.is_some() && held != Some(&act.id) && gone.is_empty() {
            return Err(format!("{child}, which a person made under {}, hangs there no more", act.id));
        }
    }
    Ok(())
}

/// After a rollback the destination is as it was, but for what people did, and for rows of ours that they built on.
pub(crate) fn given_back(place: &dyn Place, before: &Dump, after: &Dump, acts: &[Act]) -> Result<(), String> {
    kept(place, after, acts, true)?;
    let touched: BTreeSet<(&str, &str)> = acts.iter().map(|act| (act.object.as_str(), act.id.as_str())).collect();
    let deleted = acts.iter().any(|act| matches!(act.what, Did::Deleted(_)));
    for ((object, id), row) in before {
        let is_touched = touched.contains(&(object.strip_prefix(TRASH).unwrap_or(object), id.as_str()));
        // Who deletes a row there puts it into the trash.
        if place.has_trash() && !is_in(after, object, id) {
            // What lay in the trash may be deleted for good, if the plan says so, and if a value of it is allowed once.
            let buried = object.starts_with(TRASH) || deleted && is_touched;
            let kind = place.kinds().iter().find(|kind| object.strip_prefix(TRASH).unwrap_or(object) == kind.to);
            let holds = kind.and_then(|kind| kind.unique).is_some_and(|(_, field)| row.contains_key(field));
            if place.buried_goes() && buried && holds {
                continue;
            }
            return Err(format!("{object} {id}, which was there before us, is gone for good"));
        }
        let Some(now) = after.get(&(object.clone(), id.clone())) else {
            if is_touched || deleted && !place.has_trash() {
                continue;
            }
            return Err(format!("{object} {id}, which was there before us, is gone"));
        };
        // Who changed it while it was out of the trash changed it; who put it back there ended what we can take back of it.
        let own = object.strip_prefix(TRASH).unwrap_or(object);
        if acts.iter().any(|act| act.object == own && act.id == *id && matches!(act.what, Did::Deleted(_))) {
            continue;
        }
        let names: BTreeSet<&String> = row.keys().chain(now.keys()).collect();
        for name in names {
            let was_set = acts.iter().any(|act| {
                act.object == own && act.id == *id && matches!(act.what, Did::Set(field, _) if field == name)
            });
            if row.get(name) != now.get(name) && !was_set {
                return Err(format!(
                    "{object} {id}: {name} was {:?} before us and is {:?}",
                    row.get(name),
                    now.get(name)
                ));
            }
        }
    }
    // What people touched stays, and whatever that points to; so may what automation did to a field of ours.
    let touched: BTreeSet<(&str, &str)> = acts
        .iter()
        .filter(|act| !act.automated || place.is_ours(&act.object, &act.what))
        .map(|act| (act.object.as_str(), act.id.as_str()))
        .collect();
    let made: BTreeSet<&str> = acts
        .iter()
        .filter_map(|act| match &act.what {
            Did::Made(child) => child.split_once('/').map(|(_, id)| id),
            _ => None,
        })
        .collect();
    let extra: BTreeMap<&str, (&str, &BTreeMap<String, Json>)> = after
        .iter()
        .filter(|(key, _)| !before.contains_key(*key))
        .map(|((object, id), row)| (id.as_str(), (object.as_str(), row)))
        .collect();
    let mut allowed: BTreeSet<&str> = extra
        .iter()
        .filter(|(id, (object, _))| {
            made.contains(*id) || touched.contains(&(object.strip_prefix(TRASH).unwrap_or(object), **id))
        })
        .map(|(id, _)| *id)
        .collect();
    loop {
        let more: Vec<&str> = allowed
            .iter()
            .filter_map(|id| extra.get(id))
            .flat_map(|(_, row)| row.values().filter_map(Json::as_str))
            .filter_map(|value| extra.get_key_value(value).map(|(id, _)| *id))
            .chain(side_records(&extra, &allowed))
            .filter(|id| !allowed.contains(id))
            .collect();
        if more.is_empty() {
            break;
        }
        allowed.extend(more);
    }
    match extra.iter().find(|(id, _)| !allowed.contains(*id)) {
        Some((id, (object, row))) => {
            Err(format!("{object} {id} of ours is still there, and nobody built on it: {row:?}"))
        }
        None => Ok(()),
    }
}

/// The platform's own records between rows that stay.
fn side_records<'a>(
    extra: &BTreeMap<&'a str, (&'a str, &'a BTreeMap<String, Json>)>,
    allowed: &BTreeSet<&'a str>,
) -> Vec<&'a str> {
    extra
        .iter()
        .filter(|(_, (object, row))| {
            *object == "AccountContactRelation"
                && row.get("ContactId").and_then(Json::as_str).is_some_and(|id| allowed.contains(id))
        })
        .map(|(id, _)| *id)
        .collect()
}
