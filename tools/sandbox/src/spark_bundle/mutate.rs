//! The same company a day later: an export with some records changed, some new, and some gone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::Path,
};

use chrono::{DateTime, Duration, Utc};
use serde::Serialize;

use super::{
    dice::Dice,
    manifest,
    sheet::{Made, Workshop, digest_of},
    words,
};

/// What happens to the company overnight.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// Contacts, companies and deals that someone changed.
    pub changed: u64,
    /// New contacts, companies and deals.
    pub created: u64,
    /// Contacts that are gone; half of them no longer in the file, half of them marked in it. Those that nothing refers to go
    /// first.
    pub deleted: u64,
}

/// What happened, by object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Records changed.
    pub changed: BTreeMap<String, u64>,
    /// Records added.
    pub created: BTreeMap<String, u64>,
    /// Records gone.
    pub deleted: BTreeMap<String, u64>,
}

/// The tables in which something happens.
const TABLES: [&str; 3] = ["contacts", "companies", "deals"];

/// One table of the export, as it lies on disk.
#[derive(Debug, Clone)]
struct Listed {
    name: String,
    files: Vec<String>,
    rows: u64,
}

impl Listed {
    fn is_csv(&self) -> bool {
        self.files
            .first()
            .is_some_and(|file| Path::new(file).extension().is_some_and(|own| own.eq_ignore_ascii_case("csv")))
    }
}

/// What the manifest of the export says that matters here.
struct Before {
    manifest: serde_json::Value,
    exported_at: DateTime<Utc>,
    tables: Vec<Listed>,
}

/// Copies the export at `input` to `output`, a day later. Where fewer records exist than are to change or to go, all do.
///
/// The export must be whole: a row that is broken stops the work, because it cannot be told what it was.
pub fn mutate(input: &Path, output: &Path, seed: u64, edits: &Edits) -> io::Result<Changes> {
    fs::create_dir_all(output)?;
    if fs::read_dir(output)?.next().is_some() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is not empty", output.display())));
    }
    let before = Before::read(input)?;
    let now = before.exported_at + Duration::days(1);
    let sequence = before.manifest["sequence"].as_u64().unwrap_or(1) + 1;
    let plan = Choice::make(input, &before, seed, edits)?;
    let mut workshop = Workshop::new(output, 0);
    let mut changes = Changes::default();
    for table in &before.tables {
        if TABLES.contains(&table.name.as_str()) {
            let mut rewriting = Rewriting { input, table, seed, sequence, since: before.exported_at, plan: &plan };
            rewriting.write(&mut workshop, &mut changes)?;
        } else if table.name != "deleted" {
            workshop.made.push(copy(input, output, table)?);
        }
    }
    tell_deletions(input, &mut workshop, &plan, now)?;
    if input.join("files").is_dir() {
        workshop.binaries = copy_folder(&input.join("files"), &output.join("files"))?;
    }
    let previous = before.manifest["bundle_id"].as_str().unwrap_or_default();
    manifest::write(&workshop, &format!("{previous}+{seed}"), Some((previous, now)), sequence)?;
    Ok(changes)
}

impl Before {
    fn read(input: &Path) -> io::Result<Self> {
        let bad = |reason: String| io::Error::new(io::ErrorKind::InvalidData, format!("manifest.json: {reason}"));
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(input.join("manifest.json"))?)?;
        let exported_at = manifest["exported_at"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| bad("exported_at is no time".to_owned()))?;
        let mut tables = Vec::new();
        for object in manifest["objects"].as_array().ok_or_else(|| bad("objects is no list".to_owned()))? {
            let files =
                object["files"].as_array().into_iter().flatten().filter_map(|file| file.as_str().map(str::to_owned));
            tables.push(Listed {
                name: object["name"].as_str().unwrap_or_default().to_owned(),
                files: files.collect(),
                rows: object["rows"].as_u64().unwrap_or(0),
            });
        }
        Ok(Self { manifest, exported_at, tables })
    }

    fn rows(&self, name: &str) -> u64 {
        self.tables.iter().find(|table| table.name == name).map_or(0, |table| table.rows)
    }
}

/// Which rows change and which go, by their place in the table, and how many are new.
#[derive(Debug, Default)]
struct Choice {
    changed: BTreeMap<&'static str, BTreeSet<u64>>,
    created: BTreeMap<&'static str, u64>,
    /// Places of contacts that go, and whether the row stays with a mark.
    gone: BTreeMap<u64, bool>,
    /// The ids of those whose row does not stay.
    listed: Vec<String>,
    /// Companies that new contacts and deals may belong to.
    some_company: String,
}

impl Choice {
    fn make(input: &Path, before: &Before, seed: u64, edits: &Edits) -> io::Result<Self> {
        let mut choice = Self::default();
        let contacts = ids(input, before, "contacts")?;
        choice.some_company = ids(input, before, "companies")?.first().cloned().unwrap_or_default();

        let referred = referred(input, before)?;
        let live = |index: &usize| !contacts[*index].is_empty();
        let (free, needed): (Vec<usize>, Vec<usize>) =
            (0..contacts.len()).filter(live).partition(|&index| !referred.contains(&contacts[index]));
        let mut dice = Dice::new(seed, "who goes", 0);
        for mut from in [free, needed] {
            while (choice.gone.len() as u64) < edits.deleted && !from.is_empty() {
                let place = usize::try_from(dice.below(from.len() as u64)).unwrap_or(0);
                let index = from.swap_remove(place);
                let marked = choice.gone.len() % 2 == 1;
                if !marked {
                    choice.listed.push(contacts[index].clone());
                }
                choice.gone.insert(index as u64, marked);
            }
        }

        let sizes = TABLES.map(|name| before.rows(name));
        let all: u64 = sizes.iter().sum();
        let gone_before = contacts.iter().filter(|id| id.is_empty()).count() as u64;
        let room = all.saturating_sub(choice.gone.len() as u64 + gone_before);
        let mut dice = Dice::new(seed, "what changes", 0);
        let mut left = edits.changed.min(room);
        while left > 0 {
            let mut place = dice.below(all);
            for (name, size) in TABLES.into_iter().zip(sizes) {
                if place >= size {
                    place -= size;
                    continue;
                }
                let index = usize::try_from(place).unwrap_or(0);
                let goes = name == "contacts"
                    && (choice.gone.contains_key(&place) || contacts.get(index).is_none_or(String::is_empty));
                if !goes && choice.changed.entry(name).or_default().insert(place) {
                    left -= 1;
                }
                break;
            }
        }
        for turn in 0..edits.created {
            let name =
                ["contacts", "contacts", "companies", "contacts", "deals"][usize::try_from(turn % 5).unwrap_or(0)];
            *choice.created.entry(name).or_default() += 1;
        }
        Ok(choice)
    }
}

/// Rewrites one table.
struct Rewriting<'a> {
    input: &'a Path,
    table: &'a Listed,
    seed: u64,
    sequence: u64,
    since: DateTime<Utc>,
    plan: &'a Choice,
}

impl Rewriting<'_> {
    fn write(&mut self, workshop: &mut Workshop, changes: &mut Changes) -> io::Result<()> {
        let name = self.table.name.as_str();
        let columns = header(&self.input.join(&self.table.files[0]))?;
        let borrowed: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut sheet = workshop.sheet(name, &borrowed)?;
        let count = |of: &mut BTreeMap<String, u64>| *of.entry(name.to_owned()).or_default() += 1;
        let at = |column: &str| columns.iter().position(|own| own == column);
        let nothing = BTreeSet::new();
        let changed = self.plan.changed.get(name).unwrap_or(&nothing);
        let mut last = Vec::new();
        let mut index = 0;
        each_row(self.input, self.table, columns.len(), |row| {
            let place = index;
            index += 1;
            let mut cells: Vec<String> = row.iter().map(str::to_owned).collect();
            let gone = if name == "contacts" { self.plan.gone.get(&place) } else { None };
            if let Some(marked) = gone {
                count(&mut changes.deleted);
                if !marked {
                    return Ok(());
                }
                set(&mut cells, at("is_deleted"), "true".to_owned());
                set(&mut cells, at("updated_at"), self.moment(place));
            } else if changed.contains(&place) {
                count(&mut changes.changed);
                self.change(&mut cells, place, &at);
                set(&mut cells, at("updated_at"), self.moment(place));
            }
            let borrowed: Vec<&str> = cells.iter().map(String::as_str).collect();
            sheet.row(&borrowed)?;
            if gone.is_none() {
                last = cells;
            }
            Ok(())
        })?;
        for turn in 0..self.plan.created.get(name).copied().unwrap_or(0) {
            count(&mut changes.created);
            let mut cells = if last.is_empty() { vec![String::new(); columns.len()] } else { last.clone() };
            self.renew(&mut cells, turn, &at);
            let borrowed: Vec<&str> = cells.iter().map(String::as_str).collect();
            sheet.row(&borrowed)?;
        }
        workshop.end(sheet)
    }

    /// Returns a moment between the two exports.
    fn moment(&self, place: u64) -> String {
        let seconds = Dice::new(self.seed, "when", place).between(60, 80_000);
        let at = self.since + Duration::seconds(i64::try_from(seconds).unwrap_or(60));
        at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Changes one field to something that it was not.
    fn change(&self, cells: &mut [String], place: u64, at: &impl Fn(&str) -> Option<usize>) {
        let mut dice = Dice::new(self.seed, "change", place);
        let (column, value) = match self.table.name.as_str() {
            "contacts" if dice.percent(50) => ("job_title", format!("Head of Section {}", dice.below(90_000))),
            "contacts" => ("mobile_phone", format!("+46{}", 100_000_000 + dice.below(800_000_000))),
            "companies" => ("phone", format!("+46{}", 100_000_000 + dice.below(800_000_000))),
            _ => ("amount", format!("{}.25", 500_000 + dice.below(400_000))),
        };
        set(cells, at(column), value);
    }

    /// Makes a new record out of another one.
    fn renew(&self, cells: &mut [String], turn: u64, at: &impl Fn(&str) -> Option<usize>) {
        let mut dice = Dice::new(self.seed, &self.table.name, u64::MAX - turn);
        let number = self.sequence * 1_000_000 + turn;
        let company = self.plan.some_company.clone();
        let moment = self.moment(u64::MAX - turn);
        let fields: Vec<(&str, String)> = match self.table.name.as_str() {
            "contacts" => {
                let (first, last) = words::person(&mut dice, false);
                vec![
                    ("id", (9_000_000_000 + number).to_string()),
                    ("first_name", first.to_owned()),
                    ("last_name", last.to_owned()),
                    ("email", format!("new.{number}.{}@example.com", self.seed)),
                    ("primary_company_id", company),
                    ("owner_id", "101".to_owned()),
                ]
            }
            "companies" => {
                let name = words::company(&mut dice, number);
                vec![
                    ("id", (8_000_000_000 + number).to_string()),
                    ("domain", format!("{}.example", words::slug(&name))),
                    ("name", name),
                    ("parent_company_id", String::new()),
                    ("owner_id", "102".to_owned()),
                ]
            }
            _ => vec![
                ("id", (7_000_000_000 + number).to_string()),
                ("name", format!("New deal {number}")),
                ("company_id", company),
                ("primary_contact_id", String::new()),
                ("owner_id", "103".to_owned()),
            ],
        };
        for (column, value) in fields {
            set(cells, at(column), value);
        }
        for (column, value) in
            [("created_at", moment.clone()), ("updated_at", moment), ("is_deleted", "false".to_owned())]
        {
            set(cells, at(column), value);
        }
    }
}

fn set(cells: &mut [String], at: Option<usize>, value: String) {
    if let Some(at) = at {
        cells[at] = value;
    }
}

/// Writes the list of the deleted: those of the export before, and the new ones.
fn tell_deletions(input: &Path, workshop: &mut Workshop, plan: &Choice, now: DateTime<Utc>) -> io::Result<()> {
    let columns = ["object", "id", "deleted_at", "deleted_by_id", "permanent"];
    let mut sheet = workshop.sheet("deleted", &columns)?;
    let old = Listed { name: "deleted".to_owned(), files: vec!["deleted.csv".to_owned()], rows: 0 };
    if input.join("deleted.csv").is_file() {
        each_row(input, &old, columns.len(), |row| sheet.row(&row.iter().collect::<Vec<_>>()))?;
    }
    let at = (now - Duration::hours(2)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    for id in &plan.listed {
        sheet.row(&["contact", id, &at, "101", "true"])?;
    }
    workshop.end(sheet)
}

fn reader(path: &Path) -> io::Result<csv::Reader<File>> {
    csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(path).map_err(io::Error::from)
}

fn header(path: &Path) -> io::Result<Vec<String>> {
    let mut row = csv::StringRecord::new();
    reader(path)?.read_record(&mut row)?;
    Ok(row.iter().map(str::to_owned).collect())
}

/// Gives every row of a table, over all its files.
fn each_row(
    input: &Path,
    table: &Listed,
    width: usize,
    mut take: impl FnMut(&csv::StringRecord) -> io::Result<()>,
) -> io::Result<()> {
    for file in &table.files {
        let mut reader = reader(&input.join(file))?;
        let mut row = csv::StringRecord::new();
        reader.read_record(&mut row)?;
        while reader.read_record(&mut row)? {
            if row.len() != width {
                let line = row.position().map_or(0, csv::Position::line);
                let reason = format!("{file}, near line {line}: the row has {} cells instead of {width}", row.len());
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            take(&row)?;
        }
    }
    Ok(())
}

/// Returns the ids of a table in order.
fn ids(input: &Path, before: &Before, name: &str) -> io::Result<Vec<String>> {
    let Some(table) = before.tables.iter().find(|table| table.name == name) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let columns = header(&input.join(&table.files[0]))?;
    let gone = columns.iter().position(|column| column == "is_deleted");
    each_row(input, table, columns.len(), |row| {
        let is_gone = gone.and_then(|gone| row.get(gone)) == Some("true");
        found.push(if is_gone { String::new() } else { row.get(0).unwrap_or_default().to_owned() });
        Ok(())
    })?;
    Ok(found)
}

/// Returns every id to which a column of another table points.
fn referred(input: &Path, before: &Before) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for table in before.tables.iter().filter(|table| table.is_csv()) {
        let columns = header(&input.join(&table.files[0]))?;
        let pointing: Vec<usize> = (1..columns.len()).filter(|&index| columns[index].ends_with("_id")).collect();
        if pointing.is_empty() {
            continue;
        }
        each_row(input, table, columns.len(), |row| {
            found.extend(
                pointing.iter().filter_map(|&index| row.get(index)).filter(|id| !id.is_empty()).map(str::to_owned),
            );
            Ok(())
        })?;
    }
    Ok(found)
}

/// Copies the files of a table as they are.
fn copy(input: &Path, output: &Path, table: &Listed) -> io::Result<Made> {
    let mut sha256 = Vec::new();
    for file in &table.files {
        let to = output.join(file);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::copy(input.join(file), &to)?;
        sha256.push(digest_of(&to)?);
    }
    let format = if table.is_csv() { "csv" } else { "json" };
    Ok(Made { name: table.name.clone(), files: table.files.clone(), sha256, format, rows: table.rows, broken: 0 })
}

/// Copies a folder with everything in it, and returns how many files and bytes that were.
fn copy_folder(from: &Path, to: &Path) -> io::Result<(u64, u64)> {
    fs::create_dir_all(to)?;
    let mut total = (0, 0);
    for item in fs::read_dir(from)? {
        let item = item?;
        let (files, bytes) = if item.file_type()?.is_dir() {
            copy_folder(&item.path(), &to.join(item.file_name()))?
        } else {
            (1, fs::copy(item.path(), to.join(item.file_name()))?)
        };
        total = (total.0 + files, total.1 + bytes);
    }
    Ok(total)
}
