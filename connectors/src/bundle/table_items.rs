//! A table as items, and as what is met in a scan.

use std::sync::Arc;

use waybill_ledger::{FieldName, FieldRef, Fields, Record, Value, ValueRef};

use super::{
    cell::{self, ColumnSpec},
    container::Entry,
    item::{DeletedHow, Item, Origin, Sight},
    recipe::{Recipe, Role, Verdict},
    rows::{Body, Cells, Row, undoubled},
    table::{Table, TableRows},
};

/// The rows of one table, one after the other.
pub(crate) struct TableItems {
    file: String,
    rows: TableRows,
    layout: Layout,
    /// What had to be made of the cells of the row at hand, with its place among the names.
    made: Vec<(usize, Value)>,
    past_header: bool,
    over: bool,
}

/// How the cells of a row become fields.
struct Layout {
    recipe: Arc<Recipe>,
    /// The fields of a record, in the order of their names.
    names: Arc<[FieldName]>,
    /// What each cell of a row is, in the order of the file.
    columns: Vec<Column>,
    /// Fields that the file itself does not have, with what they hold in every record: by place, and by number in the recipe.
    constants: Vec<(usize, usize)>,
    roles: Roles,
}

/// One column of a file.
struct Column {
    /// Its place among the names; nothing, if nobody asked for it.
    place: Option<usize>,
    /// Whether its cells say what they hold: an empty one nothing, any other one its text.
    plain: bool,
    /// How its cells are written.
    spec: ColumnSpec,
}

/// Where the columns stand that play a part.
struct Roles {
    key: Vec<Option<usize>>,
    route: Option<usize>,
    modified: Option<usize>,
    deleted: Option<usize>,
}

/// Returns the names of the fields that records of a table have, constants among them, in their order.
pub(crate) fn names(table: &Table, recipe: &Recipe) -> Vec<FieldName> {
    let own = table.columns.iter().map(|column| FieldName::from(recipe.spelled(&column.name)));
    let mut names: Vec<FieldName> = own.chain(recipe.constants().iter().map(|(name, _)| name.clone())).collect();
    names.sort();
    names.dedup();
    names
}

impl TableItems {
    /// Opens `entry` for reading as `table` says. `names` are those of the fields that are asked for, in their order.
    pub(crate) fn open(
        file: &str,
        entry: &Entry,
        table: &Table,
        recipe: Arc<Recipe>,
        names: Arc<[FieldName]>,
    ) -> std::io::Result<Self> {
        let rows = table.dialect.open(entry)?;
        let layout = Layout::new(table, recipe, names);
        Ok(Self { file: file.to_owned(), rows, layout, made: Vec::new(), past_header: false, over: false })
    }

    /// Shows what the next row is to `see`; nothing at the end. Rows of other objects are stepped over.
    pub(crate) fn next_with<R>(&mut self, see: impl FnOnce(Sight<'_>) -> R) -> Option<R> {
        while !self.over {
            let row = match self.rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => {
                    self.over = true;
                    return None;
                }
                Err(error) => {
                    self.over = true;
                    let reason = format!("the file cannot be read any further: {error}");
                    let origin = Origin { file: self.file.clone(), line: 0 };
                    return Some(see(Sight::Unreadable { origin, reason }));
                }
            };
            if !self.past_header {
                self.past_header = true;
                continue;
            }
            let origin = || Origin { file: self.file.clone(), line: row.line };
            let fields = match self.layout.fields(&row, &mut self.made) {
                Ok(fields) => fields,
                Err(reason) if self.layout.recipe.route.tells_broken_rows() => {
                    return Some(see(Sight::Unreadable { origin: origin(), reason }));
                }
                Err(_) => continue,
            };
            let recipe = &self.layout.recipe;
            let at = |role| self.layout.roles.place(role).map_or(FieldRef::Absent, |place| fields[place]);
            let sight = match recipe.judge(&at, &|| origin().to_string()) {
                Verdict::Another => continue,
                Verdict::Keyless(reason) => Sight::Unreadable { origin: origin(), reason },
                Verdict::Gone(id) => Sight::Gone { id, how: DeletedHow::Deleted, at: recipe.changed(&at) },
                Verdict::Record(id) => {
                    let modified = recipe.changed(&at);
                    Sight::Record { id, fields: &fields, beyond: &[], modified, line: row.line }
                }
            };
            return Some(see(sight));
        }
        None
    }
}

impl Layout {
    fn new(table: &Table, recipe: Arc<Recipe>, names: Arc<[FieldName]>) -> Self {
        let place = |name: &str| names.binary_search_by(|own| own.as_str().cmp(name)).ok();
        let columns: Vec<Column> = table
            .columns
            .iter()
            .map(|column| {
                let spec = recipe.declared(&column.name).cloned().unwrap_or_default();
                let place = place(&recipe.spelled(&column.name));
                Column { place, plain: cell::is_plain(&spec, &recipe.conventions), spec }
            })
            .collect();
        let constants = recipe
            .constants()
            .iter()
            .enumerate()
            .filter_map(|(n, (name, _))| Some((place(name.as_str())?, n)))
            .filter(|(place, _)| columns.iter().all(|column| column.place != Some(*place)))
            .collect();
        let of = |role| recipe.column(role).and_then(place);
        let roles = Roles {
            key: (0..recipe.key.len()).map(|n| of(Role::Key(n))).collect(),
            route: of(Role::Route),
            modified: of(Role::Modified),
            deleted: of(Role::Deleted),
        };
        Self { recipe, names, columns, constants, roles }
    }

    /// Reads the fields of a row, or says why it has none.
    fn fields<'a>(&'a self, row: &Row<'a>, made: &'a mut Vec<(usize, Value)>) -> Result<Vec<FieldRef<'a>>, String> {
        let cells = match &row.body {
            Body::Broken(reason) => return Err(reason.clone()),
            Body::Cells(cells) => cells,
        };
        if cells.len() != self.columns.len() {
            // A quote that was not closed shows as one long row.
            let lines = match row.lines {
                0 | 1 => String::new(),
                lines => format!("; it takes lines {} to {}", row.line, row.line + lines - 1),
            };
            return Err(format!("it has {} cells where the header has {}{lines}", cells.len(), self.columns.len()));
        }
        let Some(whole) = cells.whole() else { return Err(self.fault(cells)) };
        let conventions = &self.recipe.conventions;
        made.clear();
        let mut fields = vec![FieldRef::Absent; self.names.len()];
        for (index, Column { place, plain, spec }) in self.columns.iter().enumerate() {
            let Some(place) = place else { continue };
            let (text, doubled) = cells.cut(whole, index);
            let field = &mut fields[*place];
            if !doubled {
                if *plain {
                    let held = FieldRef::Present(ValueRef::Text(text));
                    *field = if text.is_empty() { FieldRef::Null } else { held };
                } else if let Some(value) = cell::read(text, cells.quoted(index), spec, conventions, field) {
                    made.push((*place, value));
                }
                continue;
            }
            let text = undoubled(text);
            let mut told = FieldRef::Absent;
            match (cell::read(&text, true, spec, conventions, &mut told), told) {
                (Some(value), _) => made.push((*place, value)),
                (None, FieldRef::Present(value)) => made.push((*place, value.to_value())),
                (None, _) => *field = FieldRef::Null,
            }
        }
        let made: &'a [(usize, Value)] = made;
        for (place, value) in made {
            fields[*place] = FieldRef::Present(value.into());
        }
        for (place, n) in &self.constants {
            fields[*place] = FieldRef::from(self.recipe.constants().get(*n).map(|(_, value)| value));
        }
        Ok(fields)
    }

    /// Tells which cell of a row is no text.
    fn fault(&self, cells: &Cells<'_>) -> String {
        let mut faults = self.columns.iter().enumerate().filter_map(|(index, column)| {
            let reason = cells.text(index).err()?;
            Some((self.names.get(column.place?)?, reason))
        });
        match faults.next() {
            Some((name, reason)) => format!("the cell of column {name} is no text: {reason}"),
            None => "it is no text".to_owned(),
        }
    }
}

impl Roles {
    fn place(&self, role: Role) -> Option<usize> {
        match role {
            Role::Route => self.route,
            Role::Key(n) => self.key.get(n).copied().flatten(),
            Role::Modified => self.modified,
            Role::Deleted => self.deleted,
        }
    }
}

impl Iterator for TableItems {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        let (names, file) = (Arc::clone(&self.layout.names), self.file.clone());
        self.next_with(|sight| match sight {
            Sight::Record { id, fields, modified, line, .. } => {
                let pairs = names.iter().zip(fields).filter_map(|(name, field)| match field {
                    FieldRef::Absent => None,
                    FieldRef::Null => Some((name.clone(), None)),
                    FieldRef::Present(value) => Some((name.clone(), Some(value.to_value()))),
                });
                let record = Record { id: id.into_owned(), fields: Fields::from_row(pairs.collect()) };
                Item::Record { record, modified, origin: Origin { file, line } }
            }
            Sight::Unreadable { origin, reason } => Item::Unreadable { origin, reason },
            Sight::Gone { id, how, at } => Item::Gone { id: id.into_owned(), how, at },
        })
    }
}
