//! A table as items.

use std::sync::Arc;

use waybill_ledger::{Field, FieldName, Fields};

use super::{
    cell::{self, ColumnSpec},
    container::Entry,
    item::{Item, Origin},
    recipe::Recipe,
    rows::Body,
    table::{Table, TableRows},
};

/// The rows of one table, one after the other.
pub(crate) struct TableItems {
    file: String,
    rows: TableRows,
    /// With their places in a row, in the order of their names: as a record keeps them.
    columns: Vec<(usize, FieldName, ColumnSpec)>,
    recipe: Arc<Recipe>,
    past_header: bool,
    over: bool,
}

impl TableItems {
    /// Opens `entry` for reading as `table` says.
    pub(crate) fn open(file: &str, entry: &Entry, table: &Table, recipe: Arc<Recipe>) -> std::io::Result<Self> {
        let mut columns: Vec<(usize, FieldName, ColumnSpec)> = table
            .columns
            .iter()
            .enumerate()
            .map(|(place, column)| {
                let name = recipe.spelled(&column.name);
                let spec = recipe.declared(&column.name).cloned().unwrap_or_default();
                (place, FieldName::from(name), spec)
            })
            .collect();
        columns.sort_by(|a, b| a.1.cmp(&b.1));
        let rows = table.dialect.open(entry)?;
        Ok(Self { file: file.to_owned(), rows, columns, recipe, past_header: false, over: false })
    }
}

impl Iterator for TableItems {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
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
                    return Some(Item::Unreadable { origin: Origin { file: self.file.clone(), line: 0 }, reason });
                }
            };
            if !self.past_header {
                self.past_header = true;
                continue;
            }
            let origin = Origin { file: self.file.clone(), line: row.line };
            let read = match &row.body {
                Body::Broken(reason) => Err(reason.clone()),
                Body::Cells(cells) if cells.len() != self.columns.len() => Err(format!(
                    "it has {} cells where the header has {}{}",
                    cells.len(),
                    self.columns.len(),
                    // A quote that was not closed shows as one long row.
                    if row.lines > 1 {
                        format!("; it takes lines {} to {}", row.line, row.line + row.lines - 1)
                    } else {
                        String::new()
                    }
                )),
                Body::Cells(cells) => {
                    let mut fields = Vec::with_capacity(self.columns.len());
                    let mut fault = None;
                    for (index, name, spec) in &self.columns {
                        match cells.text(*index) {
                            Ok(text) => match cell::read(&text, cells.quoted(*index), spec, &self.recipe.conventions) {
                                Field::Present(value) => fields.push((name.clone(), Some(value))),
                                Field::Null => fields.push((name.clone(), None)),
                                Field::Absent => {}
                            },
                            Err(reason) => {
                                fault = Some(format!("the cell of column {name} is no text: {reason}"));
                                break;
                            }
                        }
                    }
                    fault.map_or_else(|| Ok(Fields::from_row(fields)), Err)
                }
            };
            match read {
                Ok(fields) => {
                    if let Some(item) = self.recipe.finish(fields, origin) {
                        return Some(item);
                    }
                }
                Err(reason) if self.recipe.route.tells_broken_rows() => {
                    return Some(Item::Unreadable { origin, reason });
                }
                Err(_) => {}
            }
        }
        None
    }
}
