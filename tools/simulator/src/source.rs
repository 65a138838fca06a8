//! The company whose data is moved: what its CRM holds, what people change there, and what of it should arrive.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

/// One object of the source, and what the plan makes of it.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) to: &'static str,
    /// The field of the destination that holds the source's id; none if rows are known by their parents.
    pub(crate) tag: Option<&'static str>,
    /// Columns that hold values, with the fields they become.
    pub(crate) values: &'static [(&'static str, &'static str)],
    /// Columns that point somewhere, with the fields they become.
    pub(crate) links: &'static [(&'static str, &'static str, &'static str)],
    /// Columns that become rows between two others.
    pub(crate) through: &'static [Through],
    /// A column, and its field, whose values the destination allows once, the trash included.
    pub(crate) unique: Option<(&'static str, &'static str)>,
    /// How the destination shows a value in a field.
    pub(crate) shown: fn(&str, &str) -> String,
    /// Whether a record that is deleted in the source is deleted at the destination.
    pub(crate) goes: bool,
}

/// A column that becomes a row between the record's row and another.
#[derive(Debug)]
pub(crate) struct Through {
    pub(crate) column: &'static str,
    /// The object of the source that it points to.
    pub(crate) to: &'static str,
    /// The object of the row between.
    pub(crate) object: &'static str,
    /// Its field that points to the record's row, and the one that points to the other.
    pub(crate) ends: (&'static str, &'static str),
}

/// The cells of one record.
pub(crate) type Cells = BTreeMap<&'static str, String>;

/// One record, with everything it ever was.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) cells: Cells,
    pub(crate) past: Vec<Cells>,
    pub(crate) live: bool,
    /// The record that it was merged into.
    pub(crate) into: Option<String>,
    updated: u64,
}

/// The source.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) kinds: &'static [Kind],
    pub(crate) rows: BTreeMap<(&'static str, String), Row>,
    next: u64,
    exports: u64,
}

impl Source {
    /// Makes a company of about this many records.
    pub(crate) fn new(kinds: &'static [Kind], dice: &mut ChaCha8Rng, size: u64) -> Self {
        let mut source = Self { kinds, rows: BTreeMap::new(), next: 0, exports: 0 };
        for kind in kinds {
            let share = match kind.name {
                "companies" | "deal_contacts" | "notes" => size / 5,
                "deals" => size / 6,
                _ => size / 3,
            };
            for _ in 0..=share {
                source.add(dice, kind);
            }
        }
        source
    }

    /// Returns the kind of that name.
    pub(crate) fn kind(&self, name: &str) -> &'static Kind {
        self.kinds.iter().find(|kind| kind.name == name).unwrap_or(&self.kinds[0])
    }

    fn ids(&self, object: &str) -> Vec<String> {
        self.rows.iter().filter(|((kind, _), row)| *kind == object && row.live).map(|((_, id), _)| id.clone()).collect()
    }

    /// Adds a record.
    pub(crate) fn add(&mut self, dice: &mut ChaCha8Rng, kind: &'static Kind) {
        self.next += 1;
        let id = format!("{}{}", &kind.name[..1], self.next);
        let mut cells = Cells::new();
        for (column, _) in kind.values {
            cells.insert(column, value(dice, column, &id));
        }
        for (column, to, _) in kind.links {
            let targets = self.ids(to);
            // A role needs both ends; elsewhere an end may lack.
            let lacks = kind.tag.is_some() && dice.random_ratio(1, 4);
            match targets.choose(dice) {
                Some(target) if !lacks => cells.insert(column, target.clone()),
                _ => cells.insert(column, String::new()),
            };
        }
        if kind.name == "notes" {
            // Notes carry no key: some are alike in everything that can be seen.
            cells.insert("title", format!("note {}", dice.random_range(0..3)));
            cells.insert("body_html", format!("<p>text {}</p>", dice.random_range(0..2)));
            cells.insert("parent_object", "contact".to_owned());
        }
        if kind.name == "deal_contacts" {
            let pair = |cells: &Cells| (cells.get("deal_id").cloned(), cells.get("contact_id").cloned());
            let known: BTreeSet<_> =
                self.rows.iter().filter(|((name, _), _)| *name == kind.name).map(|(_, row)| pair(&row.cells)).collect();
            if known.contains(&pair(&cells)) || cells.values().any(String::is_empty) {
                return;
            }
        }
        if kind.name == "notes" && cells["parent_id"].is_empty() {
            return;
        }
        let updated = self.exports;
        self.rows.insert((kind.name, id), Row { cells, past: Vec::new(), live: true, into: None, updated });
    }

    /// Changes some records, adds some and deletes some.
    pub(crate) fn live_on(&mut self, dice: &mut ChaCha8Rng) {
        self.exports += 1;
        for kind in self.kinds {
            for id in self.ids(kind.name) {
                let now = self.exports;
                // A role and a note stay what they were.
                if kind.tag.is_some() && dice.random_ratio(1, 4) {
                    let mut changed: Vec<(&'static str, String)> = Vec::new();
                    for (column, _) in kind.values.iter().filter(|(column, _)| !["email", "domain"].contains(column)) {
                        if dice.random_ratio(1, 3) {
                            changed.push((column, value(dice, column, &id)));
                        }
                    }
                    if let Some(row) = self.rows.get_mut(&(kind.name, id.clone())).filter(|_| !changed.is_empty()) {
                        row.past.push(row.cells.clone());
                        row.cells.extend(changed);
                        row.updated = now;
                    }
                } else if dice.random_ratio(1, 24)
                    && kind.tag.is_some()
                    && let Some(row) = self.rows.get_mut(&(kind.name, id))
                {
                    (row.live, row.updated) = (false, now);
                }
            }
            for _ in 0..dice.random_range(0..3) {
                self.add(dice, kind);
            }
        }
        // Two contacts turn out to be one; what points to the one that goes is not touched.
        let contacts = self.ids("contacts");
        if let [first, .., last] = &contacts[..]
            && dice.random_ratio(1, 3)
        {
            let now = self.exports;
            if let Some(row) = self.rows.get_mut(&("contacts", last.clone())) {
                (row.live, row.into, row.updated) = (false, Some(first.clone()), now);
            }
        }
    }

    /// Returns the record that stands for this one now.
    pub(crate) fn survivor<'s>(&'s self, object: &'static str, id: &'s str) -> &'s str {
        let mut at = id;
        while let Some(into) = self.rows.get(&(object, at.to_owned())).and_then(|row| row.into.as_deref()) {
            at = into;
        }
        at
    }

    /// Writes an export of everything.
    pub(crate) fn export(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let stamp = |n: u64| format!("2026-01-15T06:{:02}:00Z", n.min(59));
        let mut listed = Vec::new();
        for kind in self.kinds {
            let rows: Vec<_> = self.rows.iter().filter(|((name, _), row)| *name == kind.name && row.live).collect();
            let file = format!("{}.csv", kind.name);
            let mut columns: Vec<&str> = kind.values.iter().map(|(column, _)| *column).collect();
            columns.extend(kind.links.iter().map(|(column, ..)| *column));
            if kind.name == "notes" {
                let more: Vec<&str> =
                    ["title", "body_html", "parent_object"].into_iter().filter(|c| !columns.contains(c)).collect();
                columns.extend(more);
            }
            let mut sheet = csv::Writer::from_path(dir.join(&file))?;
            sheet.write_record(["id", "updated_at"].iter().chain(&columns))?;
            for ((_, id), row) in &rows {
                let cells = columns.iter().map(|column| row.cells.get(column).map_or("", String::as_str));
                let lead = [id.clone(), stamp(row.updated)];
                sheet.write_record(lead.iter().map(String::as_str).chain(cells))?;
            }
            sheet.flush()?;
            listed.push(json!({ "name": kind.name, "files": [file], "format": "csv", "rows": rows.len(), "source_total": rows.len() }));
        }
        let mut gone = csv::Writer::from_path(dir.join("deleted.csv"))?;
        gone.write_record(["object", "id", "deleted_at"])?;
        let mut count = 0;
        for ((object, id), row) in self.rows.iter().filter(|(_, row)| !row.live && row.into.is_none()) {
            gone.write_record([object, id.as_str(), &stamp(row.updated)])?;
            count += 1;
        }
        gone.flush()?;
        listed.push(json!({ "name": "deleted", "files": ["deleted.csv"], "format": "csv", "rows": count }));
        let mut merges = csv::Writer::from_path(dir.join("merges.csv"))?;
        merges.write_record(["object", "merged_id", "surviving_id", "merged_at"])?;
        let merged =
            self.rows.iter().filter_map(|((object, id), row)| Some((object, id, row.into.as_ref()?, row.updated)));
        let mut count = 0;
        for (object, id, into, at) in merged {
            merges.write_record([object, id.as_str(), into, &stamp(at)])?;
            count += 1;
        }
        merges.flush()?;
        listed.push(json!({ "name": "merges", "files": ["merges.csv"], "format": "csv", "rows": count }));
        let manifest = json!({
            "bundle_format": "waybill-bundle/1", "product": "spark-crm", "bundle_id": format!("simulated-{}", self.exports),
            "sequence": self.exports + 1, "kind": "full", "exported_at": stamp(self.exports),
            "account": { "id": "simulated", "time_zone": "UTC", "currency": "EUR" },
            "objects": listed,
        });
        fs::write(dir.join("manifest.json"), manifest.to_string())
    }

    /// Returns the fields that hold values, as the destination should show them: what is empty is not there.
    pub(crate) fn wanted(kind: &Kind, cells: &Cells) -> BTreeMap<&'static str, String> {
        let fields = kind.values.iter().filter_map(|(column, field)| Some((*field, cells.get(column)?.clone())));
        fields
            .filter(|(_, value)| !value.is_empty())
            .map(|(field, value)| (field, (kind.shown)(field, &value)))
            .collect()
    }

    /// Returns how many notes there are by what can be seen of them.
    pub(crate) fn notes(&self) -> BTreeMap<&str, usize> {
        let mut notes = BTreeMap::new();
        if self.kind("notes").tag.is_some() {
            return notes;
        }
        for (_, row) in self.rows.iter().filter(|((name, _), _)| *name == "notes") {
            *notes.entry(row.cells["title"].as_str()).or_default() += 1;
        }
        notes
    }

    /// Returns the fields of a kind that hold values.
    pub(crate) fn fields(kind: &Kind) -> impl Iterator<Item = &'static str> {
        kind.values.iter().map(|(_, field)| *field)
    }

    /// Returns whether any live record points to this one.
    pub(crate) fn is_pointed_to(&self, object: &str, id: &str) -> bool {
        self.rows.iter().any(|((name, _), row)| {
            let points = |(column, to, _): &(&'static str, &'static str, &str)| {
                *to == object && self.survivor(to, &row.cells[column]) == id
            };
            row.live && self.kind(name).links.iter().any(points)
        })
    }
}

/// Shows a value as it is.
pub(crate) fn as_is(_field: &str, value: &str) -> String {
    value.to_owned()
}

fn text(dice: &mut ChaCha8Rng) -> String {
    let words = ["Grüße", "\"quoted\"", "line, comma", "plain", "O'Neil", "名前", "100%", "naïve", "two  spaces"];
    (0..dice.random_range(1..4)).map(|_| *words.choose(dice).unwrap_or(&"word")).collect::<Vec<_>>().join(" ")
}

fn value(dice: &mut ChaCha8Rng, column: &str, id: &str) -> String {
    let may_lack = !["name", "last_name", "email", "close_date", "title", "role"].contains(&column);
    if may_lack && dice.random_ratio(1, 3) {
        return String::new();
    }
    match column {
        "email" => format!("{id}@example.com"),
        "domain" => format!("{id}.example.com"),
        "body_html" => format!("<p>text {}</p>", dice.random_range(0..999)),
        "close_date" | "due_at" => format!("2026-0{}-1{}", dice.random_range(1..9), dice.random_range(0..9)),
        "amount" => format!("{}.5", dice.random_range(1..90_000)),
        "role" => ["Decision Maker", "Evaluator"].choose(dice).map_or_else(String::new, |role| (*role).to_owned()),
        "phone" => format!("+45 {}", dice.random_range(10_000_000..99_999_999)),
        "first_name" | "last_name" | "job_title" => {
            text(dice).split(' ').next().unwrap_or("Name").replace('"', "") + &dice.random_range(0..99).to_string()
        }
        _ => format!("{} {}", text(dice), dice.random_range(0..999)),
    }
}
