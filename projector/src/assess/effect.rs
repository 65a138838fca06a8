//! What the plan will do with what was found: in words, from its rules.

use std::fmt::Write;

use waybill_ledger::{FieldKind, FieldSchema, Schema};

use super::words::meant;
use crate::mapping::{FieldRule, Invalid, Long, Missing, Otherwise, Plan, Rule, fold};

/// What a field of the source becomes when no rule reads it.
const UNUSED: &str = "not carried: no rule uses the field";

/// The plan and what is known of the destination, to be asked.
#[derive(Debug, Clone, Copy)]
pub struct Effects<'a> {
    /// The plan, if there is one.
    pub plan: Option<&'a Plan>,
    /// The destination as it was last described; nothing, if it never was.
    pub destination: Option<&'a Schema>,
}

impl<'a> Effects<'a> {
    /// Returns the rules for an object.
    pub(crate) fn rules(&self, object: &str) -> impl Iterator<Item = &'a Rule> {
        let object = object.to_owned();
        self.plan.into_iter().flat_map(Plan::rules).filter(move |rule| rule.from == object)
    }

    /// Returns the field rules that read a source field, with the rule they belong to.
    fn readers(&self, object: &str, field: &str) -> Vec<(&'a Rule, String, &'a FieldRule)> {
        let mut readers = Vec::new();
        for rule in self.rules(object) {
            for (name, own) in &rule.fields {
                if own.from.iter().any(|from| from == field) {
                    readers.push((rule, format!("{}.{name}", rule.to), own));
                }
            }
        }
        readers
    }

    fn says(&self, object: &str, field: &str, mut say: impl FnMut(&Rule, &FieldRule) -> String) -> String {
        let Some(plan) = self.plan else { return "there is no plan yet".to_owned() };
        let readers = self.readers(object, field);
        if readers.is_empty() {
            let owners = plan.owners.as_ref().is_some_and(|owners| owners.object == object);
            let read = plan.source_fields().get(object).is_some_and(|fields| fields.contains(field));
            return match (owners || read, self.rules(object).next().is_some() || plan.source_objects().contains(object))
            {
                (true, _) => "read as a reference, not carried as a record of its own".to_owned(),
                (false, true) => UNUSED.to_owned(),
                (false, false) => "not carried: no rule reads the object".to_owned(),
            };
        }
        let mut words: Vec<String> = Vec::new();
        for (rule, name, own) in readers {
            let said = say(rule, own);
            if !words.iter().any(|known| known.ends_with(&said)) {
                words.push(format!("{name}: {said}"));
            }
        }
        words.join("; ")
    }

    /// What becomes of two records that stand for one.
    pub(crate) fn doubled(&self, object: &str) -> String {
        let to: Vec<String> = self.rules(object).map(|rule| rule.to.to_string()).collect();
        match (self.plan, to.is_empty()) {
            (None, _) => "there is no plan yet".to_owned(),
            (_, true) => "not carried: no rule reads the object".to_owned(),
            (_, false) => format!(
                "each lands as a record of its own in {}: merge them in the source, or afterwards",
                to.join(", ")
            ),
        }
    }

    /// What becomes of a reference that leads nowhere.
    pub(crate) fn dangling(&self, object: &str, field: &str) -> String {
        self.says(object, field, |_, own| {
            if own.owner {
                return self.unknown_owner();
            }
            if own.via.is_some() {
                return "the record is held: missing-parent".to_owned();
            }
            if own.lookup.is_none() {
                return "carried as a text".to_owned();
            }
            match (own.missing, &own.seed) {
                (Missing::Blank, _) => "left empty".to_owned(),
                (Missing::Seed, Some(seed)) => self.constant(seed),
                _ => "the record is held: missing-parent".to_owned(),
            }
        })
    }

    fn unknown_owner(&self) -> String {
        match self
            .plan
            .and_then(|plan| plan.owners.as_ref())
            .and_then(|owners| owners.unowned.as_ref().or(owners.fallback.as_ref()))
        {
            // An owner whom the source does not list has no row that a decision could name.
            Some(_) => "the record is held: the source lists no such owner".to_owned(),
            None => "the record is held: owner".to_owned(),
        }
    }

    fn constant(&self, seed: &str) -> String {
        let found = self.plan.and_then(|plan| plan.seeds().iter().find(|known| known.id == seed));
        let name = found.and_then(|seed| seed.fields().text("Name").or_else(|| seed.fields().text("name")));
        match (found, name) {
            (Some(found), Some(name)) => format!("linked to the constant {} {name}", found.to),
            _ => format!("linked to the constant record {seed}"),
        }
    }

    /// What becomes of a reference that holds nothing.
    pub(crate) fn unlinked(&self, object: &str, field: &str) -> String {
        self.says(object, field, |rule, own| match &own.seed {
            Some(seed) => self.constant(seed),
            None if own.default.is_some() => "the plan's default stands in".to_owned(),
            None if self.needs(rule, own) => "the record is held: missing-value".to_owned(),
            None => "left empty".to_owned(),
        })
    }

    fn needs(&self, rule: &Rule, own: &FieldRule) -> bool {
        Self::named(rule, own).and_then(|name| self.target(rule, name)).is_some_and(|field| field.required)
    }

    /// Returns the destination field that a field rule is for.
    fn named<'r>(rule: &'r Rule, own: &FieldRule) -> Option<&'r str> {
        rule.fields.iter().find(|(_, field)| std::ptr::eq(*field, own)).map(|(name, _)| name.as_str())
    }

    fn target(&self, rule: &Rule, field: &str) -> Option<&'a FieldSchema> {
        self.destination?.object(rule.to.as_str())?.field(field)
    }

    /// What becomes of records whose parents form a circle.
    pub(crate) fn circle(&self, object: &str, field: &str) -> (bool, String) {
        let follows =
            self.rules(object).any(|rule| rule.self_references().any(|(_, own)| own.from.iter().any(|f| f == field)));
        if follows {
            (true, "nothing is written before the circle is broken in the source".to_owned())
        } else {
            (false, self.dangling(object, field))
        }
    }

    /// What becomes of a value that is not what its field promises.
    pub(crate) fn unreadable(&self, object: &str, field: &str) -> String {
        self.says(object, field, |rule, own| {
            let text = match Self::named(rule, own).and_then(|name| self.target(rule, name)) {
                Some(known) => matches!(known.kind, FieldKind::Text { .. }),
                // A field that only stands in for another goes where texts go.
                None => own.from.first().is_some_and(|first| first != field),
            };
            match own.invalid {
                _ if text => "carried as it stands".to_owned(),
                Invalid::Blank => "left empty".to_owned(),
                Invalid::Hold => "the record is held: bad-value".to_owned(),
            }
        })
    }

    /// What becomes of a value that can be carried, but cannot be true.
    pub(crate) fn implausible(&self, object: &str, field: &str) -> String {
        self.says(object, field, |_, _| "carried as it stands".to_owned())
    }

    /// What becomes of spellings of one choice.
    pub(crate) fn variants(&self, object: &str, field: &str, spellings: &[&str]) -> String {
        let Some(plan) = self.plan else { return "there is no plan yet".to_owned() };
        if let Some(pipelines) = &plan.pipelines
            && object == pipelines.stages
            && field == pipelines.name
        {
            return format!("one option of {}.{}", pipelines.object, pipelines.field);
        }
        self.says(object, field, |rule, own| {
            if let Some(name) = &own.map {
                return mapped(plan, name, spellings);
            }
            match Self::named(rule, own).and_then(|name| self.target(rule, name)).map(|field| &field.kind) {
                Some(FieldKind::Choice { options, restricted } | FieldKind::Choices { options, restricted }) => {
                    let folded = spellings.first().map(|spelling| fold(spelling)).unwrap_or_default();
                    match options.iter().find(|option| option.active && fold(&option.value) == folded) {
                        Some(option) => format!("all become the option `{}`", option.value),
                        None if *restricted => "the records are held: unmapped-value".to_owned(),
                        None => "carried as they stand, each as an option of its own".to_owned(),
                    }
                }
                Some(_) => "carried as they stand".to_owned(),
                None => "matched with the destination's options without regard to case and spaces".to_owned(),
            }
        })
    }

    /// What becomes of a record that lacks what the destination needs.
    pub(crate) fn lacking() -> String {
        "held: missing-value".to_owned()
    }

    /// What becomes of a text that is longer than the destination takes.
    pub(crate) fn long(long: Long) -> String {
        match long {
            Long::Cut => "cut".to_owned(),
            Long::Hold => "the record is held: bad-value".to_owned(),
        }
    }

    /// What becomes of a file.
    pub(crate) fn file(&self, object: &str) -> String {
        match (self.plan, self.rules(object).next()) {
            (None, _) => "there is no plan yet".to_owned(),
            (_, None) => "not carried: the plan has no rule for files".to_owned(),
            (_, Some(rule)) => format!("not carried as a {}: told instead", rule.to),
        }
    }
}

/// Says what a value map makes of several spellings.
fn mapped(plan: &Plan, name: &str, spellings: &[&str]) -> String {
    let Some(map) = plan.maps.get(name) else { return format!("there is no value map {name}") };
    let mut words = format!("mapped by the value map {name}");
    let mut results: Vec<String> = Vec::new();
    for spelling in spellings {
        let result = match (map.get(spelling.trim()), map.otherwise, &map.value) {
            (Some(found), ..) => format!("`{found}`"),
            (None, Otherwise::Keep, _) => "as it stands".to_owned(),
            (None, Otherwise::Blank, _) => "empty".to_owned(),
            (None, Otherwise::Value, Some(other)) => format!("`{other}`"),
            (None, ..) => "held: unmapped-value".to_owned(),
        };
        if !results.contains(&result) {
            results.push(result);
        }
    }
    let _ = write!(words, ": {}", results.join(", "));
    let meanings = spellings.iter().map(|spelling| meant(spelling)).collect::<std::collections::BTreeSet<_>>();
    if results.len() > meanings.len() {
        words.push_str(" (the map tells the spellings apart)");
    }
    words
}
