//! Tables to match: CSV files as they come.

use std::{
    fs::File,
    io::{Read, Seek},
    path::Path,
};

use csv::{ByteRecord, ReaderBuilder};
use waybill_projector::propose::{Column, Sample};

use crate::Fallible;

/// What is looked at to find out what stands between cells.
const HEAD: u64 = 64 << 10;
/// Rows by which a file's rows are estimated.
const FIRST: u64 = 500;

/// Reads a table. Of more than `most` rows every second, third, … is taken, so that the whole file is seen.
pub(super) fn read(path: &Path, object: &str, most: u64) -> Fallible<Vec<Column>> {
    let named = |e: &dyn std::fmt::Display| format!("{} cannot be read: {e}", path.display());
    let mut file = File::open(path).map_err(|e| named(&e))?;
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head).map_err(|e| named(&e))?;
    let start = if head.starts_with(&[0xef, 0xbb, 0xbf]) { 3 } else { 0 };
    let delimiter = delimiter(&head[start..]);
    let length = file.metadata().map_err(|e| named(&e))?.len();
    file.seek(std::io::SeekFrom::Start(start as u64)).map_err(|e| named(&e))?;
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(file);
    let mut row = ByteRecord::new();
    if !reader.read_byte_record(&mut row).map_err(|e| named(&e))? {
        return Err(format!("{} is empty", path.display()).into());
    }
    let names = headers(&row);
    let mut samples = vec![Sample::default(); names.len()];
    let mut stride = 1;
    let mut number = 0;
    while reader.read_byte_record(&mut row).map_err(|e| named(&e))? {
        if number == FIRST {
            let all = length / (reader.position().byte() / FIRST).max(1);
            stride = all.div_ceil(most.max(1)).max(1);
        }
        number += 1;
        if number % stride != 0 {
            continue;
        }
        for (column, sample) in samples.iter_mut().enumerate() {
            let cell = row.get(column).map(String::from_utf8_lossy);
            sample.add(cell.as_deref());
        }
    }
    let column = |(name, sample)| Column {
        object: object.to_owned(),
        name,
        sample: Some(sample).filter(|sample: &Sample| sample.rows() > 0),
        ..Column::default()
    };
    Ok(names.into_iter().zip(samples).map(column).collect())
}

/// Names columns as data people expect it: one without a name by its place, a repeated name with a number.
fn headers(row: &ByteRecord) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (n, cell) in row.iter().enumerate() {
        let name = String::from_utf8_lossy(cell).trim().to_owned();
        let name = if name.is_empty() { format!("Unnamed: {n}") } else { name };
        let mut unique = name.clone();
        let mut again = 1;
        while names.contains(&unique) {
            unique = format!("{name}.{again}");
            again += 1;
        }
        names.push(unique);
    }
    names
}

/// Returns what stands between cells: that which gives the most cells of which all first rows have as many.
fn delimiter(head: &[u8]) -> u8 {
    let cells = |delimiter: u8| {
        let reader = ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(head);
        let counts: Vec<usize> = reader.into_byte_records().take(20).flatten().map(|row| row.len()).collect();
        let first = counts.first().copied().unwrap_or(0);
        // The last row may be cut.
        let whole = &counts[..counts.len().saturating_sub(usize::from(counts.len() > 2))];
        let same = whole.iter().filter(|count| **count == first).count();
        if first < 2 { 0 } else { same * 100 / whole.len().max(1) * 1_000 + first }
    };
    [b',', b';', b'\t', b'|'].into_iter().rev().max_by_key(|delimiter| cells(*delimiter)).unwrap_or(b',')
}

/// Reads the pairs that are true: a source column and a target column a row, a header line or none.
pub(super) fn truth(path: &Path) -> Fallible<Vec<(String, String)>> {
    let text = std::fs::read(path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
    pairs(&text)
}

/// Reads pairs out of the text of a truth file.
pub(super) fn pairs(text: &[u8]) -> Fallible<Vec<(String, String)>> {
    let text = text.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(text);
    let delimiter = delimiter(text);
    let comment = Some(b'#');
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).comment(comment).delimiter(delimiter).from_reader(text);
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row in reader.byte_records() {
        rows.push(row?.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect());
    }
    // A wider truth names its columns; otherwise the first two are meant.
    let named = |name: &str| rows.first().and_then(|row| row.iter().position(|cell| cell.eq_ignore_ascii_case(name)));
    let (one, two) = named("source_column").zip(named("target_column")).unwrap_or((0, 1));
    let pair = |row: &Vec<String>| Some((row.get(one)?.clone(), row.get(two)?.clone()));
    Ok(rows.iter().filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn table(text: &[u8]) -> Vec<Column> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.csv");
        std::fs::write(&path, text).unwrap();
        read(&path, "", 100_000).unwrap()
    }

    #[test]
    fn tables_are_read_as_they_come() {
        let plain = table(b"\xef\xbb\xbfid;name;name;\n1;\"a;b\";x\n2;c;y;z;more\n");
        let names: Vec<&str> = plain.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["id", "name", "name.1", "Unnamed: 3"]);
        let filled: Vec<u64> = plain.iter().map(|column| column.sample.as_ref().unwrap().filled()).collect();
        assert_eq!(filled, [2, 2, 2, 1]);
        for text in ["a,b\n1,2\n", "a\tb\n1\t2\n", "a|b\n1|2\n"] {
            assert_eq!(table(text.as_bytes()).len(), 2, "{text}");
        }
        assert_eq!(table(b"only\none\n").len(), 1);
    }

    #[test]
    fn of_a_long_table_rows_from_all_of_it_are_taken() {
        let text: String = std::iter::once("n\n".to_owned()).chain((0..20_000).map(|n| format!("{n:05}\n"))).collect();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.csv");
        std::fs::write(&path, text).unwrap();
        let sample = read(&path, "", 4_000).unwrap().remove(0).sample.unwrap();
        assert!((3_500..5_000).contains(&sample.rows()), "{}", sample.rows());
        assert!(sample.values().any(|(value, _)| value > "15000"));
    }

    #[test]
    fn a_truth_has_a_header_or_none() {
        assert_eq!(pairs(b"# why\na,b\nc,d\n").unwrap().len(), 2);
        let wide = pairs(b"source_table,source_column,target_table,target_column\nt,a,u,b\n").unwrap();
        assert_eq!(wide[1], ("a".to_owned(), "b".to_owned()));
    }
}
