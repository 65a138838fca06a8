//! The head of a table: its encoding, its delimiter, its header, and what had to be put right to read them.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use encoding_rs::Encoding;
use unicode_normalization::UnicodeNormalization;

use super::{
    container::Entry,
    encoding,
    error::BundleError,
    rows::{Body, Rows},
};

/// How the bytes of one table become rows.
#[derive(Debug, Clone)]
pub(crate) struct Dialect {
    pub(crate) encoding: &'static Encoding,
    pub(crate) delimiter: u8,
    pub(crate) skip_lines: u64,
}

/// What is declared about a table, by the manifest or else by the profile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    pub(crate) encoding: Option<String>,
    pub(crate) delimiter: Option<char>,
    pub(crate) skip_lines: u64,
}

/// One column of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// The name after trimming and composing; a second column of the same name gets a number.
    pub(crate) name: String,
    /// Whether another column before it has the same name.
    pub(crate) repeated: bool,
}

/// A table whose head was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) dialect: Dialect,
    /// Empty for a file without any line.
    pub(crate) columns: Vec<Column>,
    /// What a person should know about the header.
    pub(crate) notes: Vec<String>,
}

/// Rows of a table, decoded.
pub(crate) type TableRows = Rows<encoding::Decoded<Box<dyn Read + Send>>>;

impl Dialect {
    /// Opens the table; the next row is the header.
    pub(crate) fn open(&self, entry: &Entry) -> io::Result<TableRows> {
        let mut rows = Rows::new(encoding::decode(entry.open()?, self.encoding), self.delimiter);
        rows.skip_lines(self.skip_lines)?;
        Ok(rows)
    }
}

impl Table {
    /// Looks at the head of a file. Among several delimiters that would do, the one that yields `wanted` columns wins.
    pub(crate) fn look(file: &str, entry: &Entry, declared: &Declared, wanted: &[String]) -> Result<Self, BundleError> {
        let io = |source| BundleError::Io { file: file.to_owned(), source };
        let head = encoding::head(entry.open().map_err(io)?).map_err(io)?;
        let label = match &declared.encoding {
            Some(label) => Some(
                Encoding::for_label(label.trim().as_bytes())
                    .ok_or_else(|| BundleError::NoSuchEncoding { label: label.clone(), file: file.to_owned() })?,
            ),
            None => None,
        };
        let encoding = encoding::detect(&head, label)
            .map_err(|line| BundleError::EncodingUnknown { file: file.to_owned(), line })?;
        let delimiter = match declared.delimiter.and_then(|delimiter| u8::try_from(delimiter).ok()) {
            Some(delimiter) => delimiter,
            None if file.to_lowercase().ends_with(".tsv") => b'\t',
            None => sniff(&encoding::glance(&head, encoding), declared.skip_lines, wanted),
        };
        let dialect = Dialect { encoding, delimiter, skip_lines: declared.skip_lines };
        let mut notes = Vec::new();
        if encoding != encoding_rs::UTF_8 {
            notes.push(format!("{file} is read as {}", encoding.name()));
        }
        let mut rows = dialect.open(entry).map_err(io)?;
        let columns = match rows.next().map_err(io)? {
            None => Vec::new(),
            Some(row) => {
                let bad = |reason: &str| BundleError::Unreadable {
                    file: file.to_owned(),
                    line: row.line,
                    reason: format!("the header cannot be read: {reason}"),
                };
                match &row.body {
                    Body::Broken(reason) => return Err(bad(reason)),
                    Body::Cells(cells) => {
                        let mut raw = Vec::with_capacity(cells.len());
                        for index in 0..cells.len() {
                            raw.push(cells.text(index).map_err(bad)?.into_owned());
                        }
                        header(file, &raw, &mut notes)
                    }
                }
            }
        };
        Ok(Self { dialect, columns, notes })
    }
}

/// Puts a header right: outer space goes, accents are composed (NFC), an empty name becomes the column's number, and a name that
/// was there before gets a number, so that no column is lost.
pub(crate) fn header(file: &str, raw: &[String], notes: &mut Vec<String>) -> Vec<Column> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut columns = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let composed: String = raw.trim().nfc().collect();
        let place = index + 1;
        let name = if composed.is_empty() {
            notes.push(format!("{file}: column {place} has no name and is called \"column {place}\""));
            format!("column {place}")
        } else {
            if composed != *raw {
                notes.push(format!(
                    "{file}: the name of column {place} was trimmed or its accents composed: {composed:?}"
                ));
            }
            composed
        };
        let count = seen.entry(name.to_lowercase()).or_default();
        *count += 1;
        let repeated = *count > 1;
        if repeated {
            notes.push(format!("{file}: column {place} has the name of an earlier one: {name:?}"));
        }
        let name = if repeated { format!("{name} ({count})") } else { name };
        columns.push(Column { name, repeated });
    }
    columns
}

/// Finds the delimiter: the one under which the most rows of the head have as many cells as the header.
fn sniff(head: &str, skip_lines: u64, wanted: &[String]) -> u8 {
    let mut best = (b',', (0, 0, 0));
    for delimiter in *b",;\t|" {
        let mut rows = Rows::new(head.as_bytes(), delimiter);
        let Ok(()) = rows.skip_lines(skip_lines) else { continue };
        let (mut width, mut known, mut alike) = (0, 0, 0);
        let mut count = 0;
        while let Ok(Some(row)) = rows.next() {
            let Body::Cells(cells) = row.body else { continue };
            count += 1;
            if count == 1 {
                width = cells.len();
                known = (0..width)
                    .filter_map(|index| cells.text(index).ok())
                    .filter(|name| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name.trim())))
                    .count();
            } else if cells.len() == width {
                alike += 1;
            }
            if count == 100 {
                break;
            }
        }
        if width < 2 {
            continue;
        }
        // A comma inside a header of another table rarely splits its rows alike.
        let score = (known, alike, width);
        if score > best.1 {
            best = (delimiter, score);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_the_one_that_makes_rows_alike() {
        assert_eq!(sniff("a;b;c\n1,5;2;3\n4;5,1;6\n", 0, &[]), b';');
        assert_eq!(sniff("a\tb\n1,2\t3\n", 0, &[]), b'\t');
        assert_eq!(sniff("id|name, first\n1|x\n", 0, &["id".to_owned()]), b'|');
        assert_eq!(sniff("only\none\n", 0, &[]), b',');
        assert_eq!(sniff("Report; of today\na,b\n1,2\n", 1, &[]), b',');
    }

    #[test]
    fn a_header_is_put_right_and_says_so() {
        let raw = [" Name", "Cafe\u{301}", "", "name", "Name"].map(str::to_owned);
        let mut notes = Vec::new();
        let names: Vec<String> = header("x.csv", &raw, &mut notes).into_iter().map(|column| column.name).collect();
        assert_eq!(names, ["Name", "Café", "column 3", "name (2)", "Name (3)"]);
        assert_eq!(notes.len(), 5);
    }
}
