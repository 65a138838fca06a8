//! Writes the tables of an export: quoting, parts, digests, and here and there a broken row.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Summary, planted::Planter};

/// After so many rows a table goes on in another file.
const ROWS_PER_FILE: u64 = 200_000;

/// The columns that every table has, after its own.
pub(super) const COMMON: [&str; 4] = ["created_at", "updated_at", "created_by_id", "is_deleted"];

/// The folder in which an export is made, and what was made so far.
#[derive(Debug)]
pub(super) struct Workshop {
    pub(super) dir: PathBuf,
    pub(super) made: Vec<Made>,
    pub(super) binaries: (u64, u64),
    pub(super) planter: Planter,
    break_every: u64,
    rows: u64,
}

/// One finished table.
#[derive(Debug, Clone, Default)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) files: Vec<String>,
    pub(super) sha256: Vec<String>,
    pub(super) format: &'static str,
    pub(super) rows: u64,
    pub(super) broken: u64,
}

/// A table being written.
#[derive(Debug)]
pub(super) struct Sheet {
    dir: PathBuf,
    header: Vec<u8>,
    columns: Vec<String>,
    width: usize,
    /// Whether the first column is the id, without which a row is nothing.
    begins_with_id: bool,
    out: Option<Output>,
    line: Vec<u8>,
    made: Made,
    in_file: u64,
}

impl Workshop {
    pub(super) fn new(dir: &Path, break_every: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            made: Vec::new(),
            binaries: (0, 0),
            planter: Planter::default(),
            break_every,
            rows: 0,
        }
    }

    /// Begins a table. Its name may hold one folder.
    pub(super) fn sheet(&self, name: &str, columns: &[&str]) -> io::Result<Sheet> {
        self.begin(name, name, columns, false)
    }

    /// Begins a table that starts with a byte order mark, as some programs write it.
    pub(super) fn marked_sheet(&self, name: &str, columns: &[&str]) -> io::Result<Sheet> {
        self.begin(name, name, columns, true)
    }

    /// Begins a table whose file lies in another place than its name says.
    pub(super) fn begin(&self, name: &str, stem: &str, columns: &[&str], mark: bool) -> io::Result<Sheet> {
        let mut header = Vec::new();
        for column in columns {
            cell(&mut header, column);
        }
        finish_line(&mut header);
        let mut sheet = Sheet {
            dir: self.dir.clone(),
            header,
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            width: columns.len(),
            begins_with_id: columns.first().is_some_and(|column| matches!(*column, "id" | "file_id")),
            out: None,
            line: Vec::new(),
            made: Made { name: name.to_owned(), format: "csv", ..Made::default() },
            in_file: 0,
        };
        sheet.next_file(stem, mark)?;
        Ok(sheet)
    }

    /// Ends a table.
    pub(super) fn end(&mut self, mut sheet: Sheet) -> io::Result<()> {
        sheet.close_file()?;
        self.made.push(sheet.made);
        Ok(())
    }

    /// Writes a record, broken if its turn has come.
    pub(super) fn record(&mut self, sheet: &mut Sheet, cells: &[&str]) -> io::Result<()> {
        self.rows += 1;
        if self.break_every > 0 && self.rows.is_multiple_of(self.break_every) {
            return sheet.broken_row(cells, self.rows / self.break_every);
        }
        if self.planter.is_idle() {
            return sheet.row(cells);
        }
        let (own, double) = self.planter.plant(&sheet.made.name, &sheet.columns, cells);
        match own {
            Some(row) => sheet.row(&row.iter().map(String::as_str).collect::<Vec<_>>())?,
            None => sheet.row(cells)?,
        }
        match double {
            Some(row) => sheet.row(&row.iter().map(String::as_str).collect::<Vec<_>>()),
            None => Ok(()),
        }
    }

    /// Writes a file that is listed in the manifest without being a table.
    pub(super) fn document(&mut self, name: &str, text: &str, rows: u64) -> io::Result<()> {
        let file = format!("{name}.json");
        fs::write(self.dir.join(&file), text)?;
        let sha256 = vec![format!("{:x}", Sha256::digest(text))];
        self.made.push(Made { name: name.to_owned(), files: vec![file], sha256, format: "json", rows, broken: 0 });
        Ok(())
    }

    pub(super) fn summary(&self) -> Summary {
        let count = |of: fn(&Made) -> u64| -> BTreeMap<String, u64> {
            self.made.iter().map(|made| (made.name.clone(), of(made))).filter(|(_, count)| *count > 0).collect()
        };
        Summary {
            rows: count(|made| made.rows),
            broken: count(|made| made.broken),
            planted: self.planter.truth.clone(),
        }
    }
}

impl Sheet {
    /// Writes a row.
    pub(super) fn row(&mut self, cells: &[&str]) -> io::Result<()> {
        debug_assert_eq!(cells.len(), self.width, "{}: a row must be as wide as its header", self.made.name);
        self.turn_over()?;
        self.line.clear();
        for text in cells {
            cell(&mut self.line, text);
        }
        finish_line(&mut self.line);
        self.count()
    }

    /// Writes a row that no reader can take for a record, in one of the ways that happen.
    fn broken_row(&mut self, cells: &[&str], turn: u64) -> io::Result<()> {
        self.turn_over()?;
        self.line.clear();
        let kind = if turn.is_multiple_of(6) && !self.begins_with_id { 5 } else { turn % 6 };
        // One line, so that the fault stays where it is.
        let tame: Vec<String> = cells.iter().map(|text| text.replace(['\r', '\n', '"', ','], " ")).collect();
        for (index, text) in tame.iter().enumerate() {
            match (kind, index) {
                (0, 0) => cell(&mut self.line, ""),
                (1, 1) => cell(&mut self.line, &format!("{text}\0")),
                (2, 1) => {
                    self.line.extend_from_slice(b"caf\xE9");
                    self.line.push(b',');
                }
                (3, 1) => {
                    // Something must follow the quote, or the next such row would close it.
                    self.line.push(b'"');
                    cell(&mut self.line, if text.is_empty() { "never closed" } else { text });
                }
                (4, index) if index + 1 == tame.len() => {}
                _ => cell(&mut self.line, text),
            }
        }
        if kind == 5 {
            cell(&mut self.line, "one too many");
        }
        finish_line(&mut self.line);
        self.made.broken += 1;
        self.count()
    }

    fn count(&mut self) -> io::Result<()> {
        self.made.rows += 1;
        self.in_file += 1;
        match &mut self.out {
            Some(out) => out.write_all(&self.line),
            None => Err(io::Error::other("the table is closed already")),
        }
    }

    /// Goes on in another file once this one is full.
    fn turn_over(&mut self) -> io::Result<()> {
        if self.in_file < ROWS_PER_FILE {
            return Ok(());
        }
        self.close_file()?;
        let stem = format!("{}.part-{:04}", self.made.name, self.made.files.len() + 1);
        self.next_file(&stem, false)
    }

    fn next_file(&mut self, stem: &str, mark: bool) -> io::Result<()> {
        let file = format!("{stem}.csv");
        let path = self.dir.join(&file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut out = Output { file: BufWriter::with_capacity(256 << 10, File::create(path)?), hasher: Sha256::new() };
        if mark {
            out.write_all(b"\xEF\xBB\xBF")?;
        }
        out.write_all(&self.header)?;
        self.out = Some(out);
        self.made.files.push(file);
        self.in_file = 0;
        Ok(())
    }

    fn close_file(&mut self) -> io::Result<()> {
        if let Some(mut out) = self.out.take() {
            out.file.flush()?;
            self.made.sha256.push(format!("{:x}", out.hasher.finalize()));
        }
        Ok(())
    }
}

/// A file and the digest of what went into it.
#[derive(Debug)]
struct Output {
    file: BufWriter<File>,
    hasher: Sha256,
}

impl Output {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }
}

/// Adds a cell with the comma after it, quoted only where RFC 4180 wants it.
fn cell(line: &mut Vec<u8>, text: &str) {
    if text.contains(['"', ',', '\r', '\n']) {
        line.push(b'"');
        for byte in text.bytes() {
            if byte == b'"' {
                line.push(b'"');
            }
            line.push(byte);
        }
        line.push(b'"');
    } else {
        line.extend_from_slice(text.as_bytes());
    }
    line.push(b',');
}

/// Puts a line end in the place of the last comma.
fn finish_line(line: &mut Vec<u8>) {
    line.pop();
    line.extend_from_slice(b"\r\n");
}

/// Returns the SHA-256 of a file.
pub(super) fn digest_of(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut Hashing(&mut hasher))?;
    Ok(format!("{:x}", hasher.finalize()))
}

struct Hashing<'a>(&'a mut Sha256);

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
