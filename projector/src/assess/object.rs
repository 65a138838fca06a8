//! The fold over the records of one object.

use chrono::{DateTime, Utc};
use rustc_hash::{FxHashMap, FxHashSet};
use waybill_ledger::{FieldKind, FieldName, FieldRef, ObjectSchema, Record, ValueRef};

use super::{
    Effects, Tally,
    duplicates::{Layout, Linker, Who},
    ids::Ids,
    values::{self, Look, Span, Wrong},
};
use crate::{hash::hash, mapping::Long};

/// How many different targets of a reference are counted one by one.
const FEW: usize = 2_048;

/// For how many records room is made before they are there: a manifest may promise anything.
const MOST_ROOM: u64 = 1 << 22;

/// What must be known to look at the records of one object.
#[derive(Debug)]
pub struct Setup<'a> {
    /// How the source describes it.
    pub schema: &'a ObjectSchema,
    /// The fields by which its rows are given, in their order.
    pub names: &'a [FieldName],
    /// The objects by every word that columns and values use for them, in small letters.
    pub words: &'a std::collections::BTreeMap<String, String>,
    /// How many rows it is said to have, if that is known.
    pub rows: Option<u64>,
    /// Whether its rows describe the source rather than being migrated one by one.
    pub reference: bool,
    /// The objects whose records are companies.
    pub companies: &'a std::collections::BTreeSet<String>,
    /// The plan and the destination.
    pub effects: Effects<'a>,
    /// When the export was made.
    pub exported: DateTime<Utc>,
    /// The most bytes of a file.
    pub file_limit: u64,
}

/// Takes in the records of one object.
#[derive(Debug)]
pub struct ObjectAssessor {
    pub(super) object: String,
    pub(super) ids: Ids,
    pub(super) gone: FxHashSet<u64>,
    pub(super) repeated: Tally,
    pub(super) columns: Vec<Column>,
    pub(super) references: Vec<Reference>,
    pub(super) mixed: Vec<Mixed>,
    pub(super) spans: Vec<Span>,
    pub(super) needs: Vec<Need>,
    pub(super) files: Option<Files>,
    pub(super) linker: Option<(Who, Vec<usize>, Linker)>,
    exported: DateTime<Utc>,
    /// The column of each field of a row, and the place in a row of each column.
    places: Vec<Option<usize>>,
    row: Vec<Option<usize>>,
}

/// All records of one object, ready to be held together with those of others.
#[derive(Debug)]
pub struct Settled(pub(super) ObjectAssessor);

/// One field.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: FieldName,
    pub(super) filled: u64,
    pub(super) look: Look,
    pub(super) wrong: Wrong,
    /// The fewest characters that some rule's field takes of it, and what happens to more.
    pub(super) limit: Option<(usize, Long, String)>,
    pub(super) long: Tally,
}

/// A field that names a record of another object.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) column: usize,
    pub(super) to: Vec<String>,
    /// Whether it leads to the object itself, so that it may lead in a circle.
    pub(super) own: bool,
    /// Whether it names the company of a person.
    pub(super) employer: bool,
    pub(super) blank: Tally,
    pub(super) few: FxHashMap<u64, Tally>,
    pub(super) many: Vec<(u64, u32)>,
}

/// Two fields of which one names the object and the other the record.
#[derive(Debug)]
pub(super) struct Mixed {
    object: usize,
    pub(super) column: usize,
    pub(super) named: FxHashMap<String, Vec<(u64, u32)>>,
}

/// A field that the destination needs, with the fields that it is taken from.
#[derive(Debug)]
pub(super) struct Need {
    pub(super) target: String,
    pub(super) from: Vec<usize>,
    pub(super) lacking: Tally,
}

/// The files that hang on records.
#[derive(Debug, Default)]
pub(super) struct Files {
    size: Option<usize>,
    path: Option<usize>,
    limit: u64,
    pub(super) bytes: u64,
    pub(super) large: Tally,
    pub(super) missing: Tally,
}

impl ObjectAssessor {
    /// Begins with an object.
    pub fn new(setup: &Setup<'_>) -> Self {
        let schema = setup.schema;
        let room = setup.rows.map_or(0, |rows| usize::try_from(rows.min(MOST_ROOM)).unwrap_or(0));
        let object = schema.name.to_string();
        let mut fields: Vec<&waybill_ledger::FieldSchema> = schema.fields.iter().collect();
        // Records give their fields in the order of the names.
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        let sorted = ObjectSchema { fields: fields.iter().map(|field| (*field).clone()).collect(), ..schema.clone() };
        let place = |name: &str| fields.iter().position(|field| field.name.as_str() == name);
        let is_company =
            |word: &str| setup.words.get(&word.to_lowercase()).is_some_and(|object| setup.companies.contains(object));
        let layout = (!setup.reference).then(|| Layout::find(&sorted, &is_company)).flatten();
        let resolved = |word: &str| setup.words.get(&word.to_lowercase()).cloned();
        // `parent_id` with `parent_object` beside it.
        let names_object = |field: &str| place(&format!("{}_object", field.strip_suffix("_id")?));
        let references = fields
            .iter()
            .enumerate()
            .filter_map(|(column, field)| {
                let FieldKind::Reference { to } = &field.kind else { return None };
                if names_object(field.name.as_str()).is_some() {
                    return None;
                }
                let to: Vec<String> = to.iter().filter_map(|to| resolved(to.as_str())).collect();
                (!to.is_empty()).then(|| Reference {
                    column,
                    own: to.contains(&object) && is_hierarchy(field.name.as_str()),
                    employer: layout.as_ref().is_some_and(|layout| layout.who == Who::People)
                        && to.iter().any(|to| setup.companies.contains(to)),
                    to,
                    blank: Tally::default(),
                    few: FxHashMap::default(),
                    many: Vec::new(),
                })
            })
            .collect();
        let mixed = fields
            .iter()
            .enumerate()
            .filter_map(|(column, field)| {
                let object = names_object(field.name.as_str())?;
                Some(Mixed { object, column, named: FxHashMap::default() })
            })
            .collect();
        let mut needs = Vec::new();
        let mut limits: FxHashMap<usize, (usize, Long, String)> = FxHashMap::default();
        for rule in setup.effects.rules(&object) {
            let Some(target) = setup.effects.destination.and_then(|schema| schema.object(rule.to.as_str())) else {
                continue;
            };
            for (name, own) in &rule.fields {
                let Some(known) = target.field(name.as_str()) else { continue };
                let stands_in = own.default.is_some() || own.seed.is_some() || own.value.is_some() || own.cel.is_some();
                let from: Vec<usize> = own.from.iter().filter_map(|name| place(name)).collect();
                if known.required && known.createable && !stands_in && !own.owner {
                    needs.push(Need {
                        target: format!("{}.{name}", rule.to),
                        from: from.clone(),
                        lacking: Tally::default(),
                    });
                }
                if let FieldKind::Text { length, .. } = known.kind
                    && length > 0
                    && own.map.is_none()
                    && own.via.is_none()
                    && own.join.is_none()
                {
                    let limit = (length as usize, own.long, format!("{}.{name}", rule.to));
                    for column in from {
                        let tightest = limits.get(&column).is_none_or(|known| limit.0 < known.0);
                        if tightest {
                            limits.insert(column, limit.clone());
                        }
                    }
                }
            }
        }
        let files = (object == "files").then(|| Files {
            size: place("size_bytes"),
            path: place("path"),
            limit: setup.file_limit,
            ..Files::default()
        });
        let linker = layout.map(|layout| {
            let columns = layout.fields.iter().filter_map(|(name, _)| place(name)).collect();
            (layout.who, columns, Linker::with_room(&layout, room))
        });
        let columns = fields
            .iter()
            .enumerate()
            .map(|(n, field)| Column {
                name: field.name.clone(),
                filled: 0,
                look: look_of(&object, setup.reference, field),
                wrong: Wrong::default(),
                limit: limits.remove(&n),
                long: Tally::default(),
            })
            .collect();
        Self {
            places: setup.names.iter().map(|name| place(name.as_str())).collect(),
            row: fields.iter().map(|field| setup.names.iter().position(|name| *name == field.name)).collect(),
            spans: values::spans(&sorted),
            ids: Ids::with_room(room),
            gone: FxHashSet::default(),
            repeated: Tally::default(),
            columns,
            references,
            mixed,
            needs,
            files,
            linker,
            exported: setup.exported,
            object,
        }
    }

    /// Takes all records for taken in.
    pub fn settle(mut self) -> Settled {
        for record in self.ids.settle() {
            self.repeated.add(record);
        }
        Settled(self)
    }

    /// Returns how many records were taken in.
    pub fn records(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Returns how many bytes the files have that its records stand for.
    pub fn file_bytes(&self) -> u64 {
        self.files.as_ref().map_or(0, |files| files.bytes)
    }

    /// Notes that the source says of a record that it is gone.
    pub fn gone(&mut self, id: &str) {
        self.gone.insert(hash(id));
    }

    /// Takes in a record. `there` says whether a file of the export exists.
    pub fn add(&mut self, record: &Record, there: &dyn Fn(&str) -> bool) {
        let beyond: Vec<_> = record.fields.iter().map(|(name, value)| (name, value.into())).collect();
        self.add_row(&record.id, &[], &beyond, there);
    }

    /// Takes in a row, with its fields in the order of the names, and those beside them; `there` as above.
    pub fn add_row(
        &mut self,
        id: &str,
        fields: &[FieldRef<'_>],
        beyond: &[(&FieldName, FieldRef<'_>)],
        there: &dyn Fn(&str) -> bool,
    ) {
        let number = self.ids.push(id);
        for (place, field) in self.places.iter().zip(fields) {
            if let (Some(place), FieldRef::Present(value)) = (place, field) {
                self.columns[*place].look(*value, number, self.exported);
            }
        }
        for (name, field) in beyond {
            let place = self.columns.binary_search_by(|column| column.name.cmp(name));
            if let (Ok(place), FieldRef::Present(value)) = (place, field) {
                self.columns[place].look(*value, number, self.exported);
            }
        }
        let values = Values { row: &self.row, columns: &self.columns, fields, beyond };
        for reference in &mut self.references {
            reference.note(values.at(reference.column), number);
        }
        for mixed in &mut self.mixed {
            if let (Some(ValueRef::Text(object)), Some(ValueRef::Text(id))) =
                (values.at(mixed.object), values.at(mixed.column))
            {
                let edge = (hash(id.trim()), number);
                match mixed.named.get_mut(object) {
                    Some(edges) => edges.push(edge),
                    None => drop(mixed.named.insert(object.to_owned(), vec![edge])),
                }
            }
        }
        for span in &mut self.spans {
            if let (Some(from), Some(to)) = (values.at(span.from), values.at(span.to))
                && values::is_after(from, to)
            {
                span.wrong.add(number);
            }
        }
        for need in &mut self.needs {
            if need.from.iter().all(|column| values.at(*column).is_none()) {
                need.lacking.add(number);
            }
        }
        if let Some(files) = &mut self.files {
            files.note(&values, number, there);
        }
        if let Some((_, columns, linker)) = &mut self.linker {
            linker.add_values(columns.iter().map(|column| values.at(*column)));
        }
    }
}

/// What a row says, by column.
struct Values<'r> {
    /// For each column the place of its field in a row.
    row: &'r [Option<usize>],
    columns: &'r [Column],
    fields: &'r [FieldRef<'r>],
    beyond: &'r [(&'r FieldName, FieldRef<'r>)],
}

impl<'r> Values<'r> {
    /// Returns the value in a column, if it says something.
    fn at(&self, column: usize) -> Option<ValueRef<'r>> {
        let field = match self.row[column].and_then(|place| self.fields.get(place)) {
            Some(field) => *field,
            None if self.beyond.is_empty() => return None,
            None => self.beyond.iter().find(|(name, _)| **name == self.columns[column].name)?.1,
        };
        field.value().filter(|value| values::says(*value))
    }
}

impl Column {
    /// Looks at a value.
    fn look(&mut self, value: ValueRef<'_>, record: u32, exported: DateTime<Utc>) {
        if !values::says(value) {
            return;
        }
        self.filled += 1;
        values::look(&mut self.look, &mut self.wrong, value, record, exported);
        if let (Some((limit, ..)), ValueRef::Text(text)) = (&self.limit, value)
            && text.len() > *limit
            && text.trim().chars().count() > *limit
        {
            self.long.add(record);
        }
    }
}

/// Returns whether records that name each other by this field stand one above the other. Who made a record may be itself.
fn is_hierarchy(field: &str) -> bool {
    !field.ends_with("_by_id") && !matches!(field, "owner_id" | "series_id")
}

/// What a field is looked at for. The names of what describes the source (stages, pipelines) are choices of other records.
fn look_of(object: &str, reference: bool, field: &waybill_ledger::FieldSchema) -> Look {
    if reference && field.name.as_str() == "name" && object != "users" {
        return Look::Choice(Some(FxHashMap::default()));
    }
    Look::of(field.name.as_str(), &field.kind)
}

impl Reference {
    fn note(&mut self, value: Option<ValueRef<'_>>, record: u32) {
        let hashed = match value {
            None => return self.blank.add(record),
            Some(value) => hash(value.shown().trim()),
        };
        if self.own {
            self.many.push((hashed, record));
        } else if let Some(tally) = self.few.get_mut(&hashed) {
            tally.add(record);
        } else if self.few.len() < FEW && self.many.is_empty() {
            self.few.entry(hashed).or_default().add(record);
        } else {
            if self.many.is_empty() {
                // Too many targets for that: what was counted one by one so far stays so.
                self.few.values_mut().for_each(|tally| tally.first.shrink_to_fit());
            }
            self.many.push((hashed, record));
        }
    }
}

impl Files {
    fn note(&mut self, values: &Values<'_>, record: u32, there: &dyn Fn(&str) -> bool) {
        let bytes = self.size.and_then(|column| values.at(column)).map_or(0, |value| match value {
            ValueRef::Number(number) => number.to_string().parse().unwrap_or(0),
            ValueRef::Text(text) => text.trim().parse().unwrap_or(0),
            _ => 0,
        });
        self.bytes += bytes;
        if bytes > self.limit {
            self.large.add(record);
        }
        if let Some(ValueRef::Text(path)) = self.path.and_then(|column| values.at(column))
            && !there(path)
        {
            self.missing.add(record);
        }
    }
}
