//! Splits a table into rows and cells, and finds its way back after a broken row.
//!
//! The `csv` crate closes an open quote at the end of the file without a word and counts lines by line feeds; a migration
//! must say which row on which line was broken, and must not let one stray quote swallow a million rows. So the boundaries are
//! found here (RFC 4180, with CR, LF or CRLF as line ends), and the tests hold this reader against that crate.

use std::{
    borrow::Cow,
    io::{self, Read},
};

/// The longest row that is read. What is longer is taken for a broken row rather than for a reason to fill the memory.
const LONGEST: usize = 16 << 20;
const CHUNK: usize = 64 << 10;

/// Rows of a table in a stream of bytes that should be UTF-8.
#[derive(Debug)]
pub(crate) struct Rows<R> {
    input: R,
    delimiter: u8,
    longest: usize,
    buffer: Vec<u8>,
    /// What was read and not yet given lies between these places of the buffer.
    start: usize,
    end: usize,
    finished: bool,
    line: u64,
    spans: Vec<Span>,
}

/// One row, with the physical line on which it starts.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) line: u64,
    /// How many physical lines it takes.
    pub(crate) lines: u64,
    pub(crate) body: Body<'a>,
}

/// What a row holds.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// Cells.
    Cells(Cells<'a>),
    /// Something that is no row, and why.
    Broken(String),
}

/// The cells of one row.
#[derive(Debug)]
pub(crate) struct Cells<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
    quoted: bool,
    /// Whether a doubled quote stands inside.
    doubled: bool,
}

impl<'a> Cells<'a> {
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// Returns whether the cell was written in quotes.
    pub(crate) fn quoted(&self, index: usize) -> bool {
        self.spans.get(index).is_some_and(|span| span.quoted)
    }

    /// Returns whether this is an empty line, which is no row.
    pub(crate) fn is_blank_line(&self) -> bool {
        matches!(self.spans, [span] if !span.quoted && span.start == span.end)
    }

    /// Returns the row as one text, of which [`Cells::cut`] gives the cells; nothing if some cell is no text, and [`Cells::text`]
    /// tells which.
    pub(crate) fn whole(&self) -> Option<&'a str> {
        let end = self.spans.last().map_or(0, |span| span.end);
        let bytes = &self.bytes[..end];
        // All bytes are looked at, which many at a time are sooner than one after the other up to the first.
        if bytes.iter().fold(0, |found, byte| found | u8::from(*byte == 0)) != 0 {
            return None;
        }
        simdutf8::basic::from_utf8(bytes).ok()
    }

    /// Returns a cell of the row that [`Cells::whole`] gave, as it is written, and whether doubled quotes stand inside.
    #[inline]
    pub(crate) fn cut(&self, whole: &'a str, index: usize) -> (&'a str, bool) {
        match self.spans.get(index) {
            Some(span) => (&whole[span.start..span.end], span.doubled),
            None => ("", false),
        }
    }

    /// Returns the text of a cell, or why it is no text.
    pub(crate) fn text(&self, index: usize) -> Result<Cow<'a, str>, &'static str> {
        let Some(span) = self.spans.get(index) else { return Ok(Cow::Borrowed("")) };
        let text = std::str::from_utf8(&self.bytes[span.start..span.end])
            .map_err(|_| "it holds bytes that are no text in the file's encoding")?;
        if text.contains('\0') {
            return Err("it holds a NUL byte");
        }
        Ok(if span.doubled { Cow::Owned(undoubled(text)) } else { Cow::Borrowed(text) })
    }
}

/// Returns what a cell says in which quotes are doubled.
pub(crate) fn undoubled(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    // Cells like this are short lists, with a quote every few letters.
    while let Some(at) = rest.bytes().position(|byte| byte == b'"') {
        let (before, after) = rest.split_at(at + 1);
        plain.push_str(before);
        rest = after.strip_prefix('"').unwrap_or(after);
    }
    plain.push_str(rest);
    plain
}

impl<R: Read> Rows<R> {
    /// Reads rows from `input`, whose first line is line 1.
    pub(crate) fn new(input: R, delimiter: u8) -> Self {
        Self {
            input,
            delimiter,
            longest: LONGEST,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            finished: false,
            line: 1,
            spans: Vec::new(),
        }
    }

    /// Drops `count` physical lines.
    pub(crate) fn skip_lines(&mut self, count: u64) -> io::Result<()> {
        for _ in 0..count {
            self.drop_line()?;
        }
        Ok(())
    }

    /// Reads the next row; blank lines are stepped over. An error means that the file itself cannot be read further.
    pub(crate) fn next(&mut self) -> io::Result<Option<Row<'_>>> {
        let (line, step) = loop {
            let step = match scan(&self.buffer[self.start..self.end], self.finished, self.delimiter, &mut self.spans) {
                Step::More if self.end - self.start < self.longest => {
                    self.fill()?;
                    continue;
                }
                // Too long to be true: look at what is there as if it were all.
                Step::More => match scan(&self.buffer[self.start..self.end], true, self.delimiter, &mut self.spans) {
                    Step::Row { next, lines } | Step::Broken { next, lines, .. } => Step::TooLong { next, lines },
                    other => other,
                },
                step => step,
            };
            let line = self.line;
            match step {
                Step::End => return Ok(None),
                Step::Row { next, lines } => {
                    let row_start = self.start;
                    self.advance(next, lines);
                    let blank = Cells { bytes: &self.buffer[row_start..self.end], spans: &self.spans }.is_blank_line();
                    if blank {
                        continue;
                    }
                    break (line, Ok((row_start, lines)));
                }
                Step::Broken { next, lines, fault } => {
                    self.advance(next, lines);
                    break (line, Err((fault.tell(line), lines)));
                }
                Step::TooLong { next, lines } => {
                    let whole = next >= self.end - self.start;
                    let reason = format!(
                        "it is longer than {} MiB, as after a quote that is never closed",
                        self.longest.div_ceil(1 << 20)
                    );
                    if whole {
                        self.drop_line()?;
                        break (line, Err((reason, self.line - line)));
                    }
                    self.advance(next, lines);
                    break (line, Err((reason, lines)));
                }
                Step::More => unreachable!("a scan that takes the input for complete never asks for more"),
            }
        };
        Ok(Some(match step {
            Ok((row_start, lines)) => {
                let body = Body::Cells(Cells { bytes: &self.buffer[row_start..self.end], spans: &self.spans });
                Row { line, lines, body }
            }
            Err((reason, lines)) => Row { line, lines, body: Body::Broken(reason) },
        }))
    }

    fn advance(&mut self, bytes: usize, lines: u64) {
        self.start += bytes;
        self.line += lines;
    }

    /// Reads more; what is kept is doubled each time, so that a long row is not scanned over and over.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let wanted = self.end + self.end.max(CHUNK);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        while self.end < wanted {
            match self.input.read(&mut self.buffer[self.end..wanted]) {
                Ok(0) => {
                    self.finished = true;
                    break;
                }
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Drops everything up to the next line end, however far it is.
    fn drop_line(&mut self) -> io::Result<()> {
        loop {
            let rest = &self.buffer[self.start..self.end];
            if let Some(at) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'))
                && (at + 1 < rest.len() || self.finished)
            {
                let end = line_end(rest, at);
                self.advance(end, 1);
                return Ok(());
            }
            if self.finished {
                self.start = self.end;
                return Ok(());
            }
            let keep = usize::from(rest.last() == Some(&b'\r'));
            self.start = self.end - keep;
            self.fill()?;
        }
    }
}

enum Step {
    End,
    More,
    Row { next: usize, lines: u64 },
    Broken { next: usize, lines: u64, fault: Fault },
    TooLong { next: usize, lines: u64 },
}

/// What is wrong with the quotes of a row; lines count from the row's first.
enum Fault {
    NeverClosed { opened: u64, cell: usize },
    TextAfterQuote { cell: usize },
}

impl Fault {
    fn tell(&self, line: u64) -> String {
        match self {
            Self::NeverClosed { opened, cell } => {
                format!("the quote that opens cell {} on line {} is never closed", cell + 1, line + opened)
            }
            Self::TextAfterQuote { cell } => {
                format!(
                    "in cell {} text follows the closing quote: a quote inside is not doubled, or one is missing",
                    cell + 1
                )
            }
        }
    }
}

/// Returns where the line ends whose end begins at `at`: CRLF counts as one.
fn line_end(bytes: &[u8], at: usize) -> usize {
    if bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n') { at + 2 } else { at + 1 }
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Returns the place, from `at` on, of the first byte that is `wanted` or a line end; nothing if there is none. Eight bytes are
/// looked at together: a byte of the difference to a wanted one is zero where it stands (Warren, "Hacker's Delight", 6-1).
fn find(bytes: &[u8], mut at: usize, wanted: u8) -> Option<usize> {
    let same = LOW * u64::from(wanted);
    while let Some(eight) = bytes.get(at..at + 8).and_then(|eight| <[u8; 8]>::try_from(eight).ok()) {
        let eight = u64::from_le_bytes(eight);
        let differs = eight ^ same;
        // The second part finds what is smaller than 14: line ends, and a few that are looked at and stepped over.
        let mut marks = (differs.wrapping_sub(LOW) & !differs | eight.wrapping_sub(LOW * 14) & !eight) & HIGH;
        while marks != 0 {
            let place = at + marks.trailing_zeros() as usize / 8;
            let byte = bytes[place];
            if byte == wanted || byte == b'\n' || byte == b'\r' {
                return Some(place);
            }
            marks &= marks - 1;
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|&byte| byte == wanted || byte == b'\n' || byte == b'\r').map(|place| at + place)
}

/// Finds the first row in `bytes`. After a broken quote, reading goes on with the line after the one on which the quote opened,
/// because nothing tells where the cell was meant to end.
fn scan(bytes: &[u8], all: bool, delimiter: u8, spans: &mut Vec<Span>) -> Step {
    spans.clear();
    if bytes.is_empty() {
        return if all { Step::End } else { Step::More };
    }
    let mut at = 0;
    let mut lines = 0;
    loop {
        let cell = spans.len();
        if bytes.get(at) == Some(&b'"') {
            let (open, opened) = (at, lines);
            let broken = |fault| {
                let end = bytes[open..].iter().position(|byte| matches!(byte, b'\n' | b'\r')).map(|end| open + end);
                match end {
                    Some(end) if end + 1 < bytes.len() || all => {
                        Step::Broken { next: line_end(bytes, end), lines: opened + 1, fault }
                    }
                    None if all => Step::Broken { next: bytes.len(), lines: opened + 1, fault },
                    _ => Step::More,
                }
            };
            let mut doubled = false;
            at += 1;
            loop {
                match bytes.get(at) {
                    None if all => return broken(Fault::NeverClosed { opened, cell }),
                    None => return Step::More,
                    Some(b'"') => match bytes.get(at + 1) {
                        Some(b'"') => {
                            doubled = true;
                            at += 2;
                        }
                        None if !all => return Step::More,
                        _ => break,
                    },
                    Some(b'\r') if at + 1 == bytes.len() && !all => return Step::More,
                    Some(b'\r' | b'\n') => {
                        lines += 1;
                        at = line_end(bytes, at);
                    }
                    Some(_) => at = find(bytes, at, b'"').unwrap_or(bytes.len()),
                }
            }
            spans.push(Span { start: open + 1, end: at, quoted: true, doubled });
            at += 1;
            if !matches!(bytes.get(at), None | Some(b'\r' | b'\n')) && bytes.get(at) != Some(&delimiter) {
                return broken(Fault::TextAfterQuote { cell });
            }
        } else {
            let start = at;
            if bytes.get(at) != Some(&delimiter) {
                at = find(bytes, at, delimiter).unwrap_or(bytes.len());
            }
            spans.push(Span { start, end: at, quoted: false, doubled: false });
        }
        match bytes.get(at) {
            Some(&byte) if byte == delimiter => at += 1,
            None if all => return Step::Row { next: at, lines: lines + 1 },
            Some(b'\r') if at + 1 == bytes.len() && !all => return Step::More,
            Some(_) => return Step::Row { next: line_end(bytes, at), lines: lines + 1 },
            None => return Step::More,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    type Read = (u64, Result<Vec<String>, String>);

    fn read(bytes: &[u8], delimiter: u8, longest: usize) -> Vec<Read> {
        let mut rows = Rows::new(bytes, delimiter);
        rows.longest = longest;
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let body = match row.body {
                Body::Broken(reason) => Err(reason),
                Body::Cells(cells) => {
                    (0..cells.len()).map(|i| cells.text(i).map(Cow::into_owned).map_err(str::to_owned)).collect()
                }
            };
            found.push((row.line, body));
        }
        found
    }

    fn cells(line: u64, cells: &[&str]) -> Read {
        (line, Ok(cells.iter().map(|&cell| cell.to_owned()).collect()))
    }

    #[test]
    fn lines_are_counted_whatever_ends_them() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["a,b", "", "1,\"x", "y\"", "2,z"].join(end);
            let found = read(text.as_bytes(), b',', LONGEST);
            let two_lines = format!("x{end}y");
            assert_eq!(found, [cells(1, &["a", "b"]), cells(3, &["1", &two_lines]), cells(5, &["2", "z"])], "{end:?}");
        }
    }

    #[test]
    fn a_quote_that_never_closes_costs_one_line() {
        let found = read(b"a,b\n1,\"oops\n2,x\n3,y\n", b',', LONGEST);
        assert_eq!(found[1].0, 2);
        assert!(found[1].1.as_ref().unwrap_err().contains("cell 2 on line 2"));
        assert_eq!(found[2..], [cells(3, &["2", "x"]), cells(4, &["3", "y"])]);
    }

    #[test]
    fn a_quote_inside_a_quoted_cell_costs_one_row() {
        let found = read(b"\"He said \"hi\" to me\",1\nx,2\n", b',', LONGEST);
        assert!(found[0].1.is_err());
        assert_eq!(found[1], cells(2, &["x", "2"]));
    }

    #[test]
    fn a_row_without_end_does_not_fill_the_memory() {
        let mut text = b"a,\"".to_vec();
        text.extend(std::iter::repeat_n(b'x', 400_000));
        text.extend(b"\nb,1\n");
        let found = read(&text, b',', 100_000);
        assert!(found[0].1.as_ref().unwrap_err().contains("longer"));
        assert_eq!(found[1], cells(2, &["b", "1"]));
        let open = [b"a,\"one\n".as_slice(), "b,2\n".repeat(50_000).as_bytes()].concat();
        let found = read(&open, b',', 100_000);
        assert_eq!((found.len(), &found[1]), (50_001, &cells(2, &["b", "2"])));
    }

    #[test]
    fn what_is_no_text_is_told() {
        let found = read(b"a\0,b\n\xff,c\n", b',', LONGEST);
        assert!(found[0].1.as_ref().unwrap_err().contains("NUL"));
        assert!(found[1].1.as_ref().unwrap_err().contains("no text"));
    }

    /// Cells that are hard to write and hard to read.
    fn cell() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z]{0,6}", "[,;\"\r\n\t |'x]{0,6}", "\\PC{0,8}"]
    }

    proptest! {
        #[test]
        fn what_the_csv_crate_writes_is_read_back(
            rows in prop::collection::vec(prop::collection::vec(cell(), 2..5), 0..8),
            delimiter in prop::sample::select(b",;\t|".to_vec()),
            always in any::<bool>(),
            crlf in any::<bool>(),
        ) {
            let style = if always { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary };
            let end = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut writer = csv::WriterBuilder::new()
                .delimiter(delimiter).quote_style(style).terminator(end).flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let bytes = writer.into_inner().unwrap();
            let found: Vec<Vec<String>> = read(&bytes, delimiter, LONGEST).into_iter().map(|(_, row)| row.unwrap()).collect();
            prop_assert_eq!(found, rows);
        }

        #[test]
        fn where_nothing_is_broken_both_readers_agree(
            cells in prop::collection::vec(("\"([ab,\r\n]|\"\"){0,6}\"|[ab]{0,3}|[ab]\"[ab]?", "[,,\r\n]|\r\n"), 0..20),
        ) {
            let text: String = cells.iter().flat_map(|(cell, end)| [cell.as_str(), end.as_str()]).collect();
            let found = read(text.as_bytes(), b',', LONGEST);
            let mut model = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let expected: Vec<Vec<String>> =
                model.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
            let found: Vec<Vec<String>> = found.into_iter().map(|(_, row)| row.unwrap()).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_bytes_end_and_every_line_is_accounted_for(
            bytes in prop::collection::vec(prop::sample::select(b"a,\"\r\n\0\xff".to_vec()), 0..300),
            longest in 1usize..40,
        ) {
            let mut rows = Rows::new(bytes.as_slice(), b',');
            rows.longest = longest;
            let mut next_line = 1;
            while let Some(row) = rows.next().unwrap() {
                prop_assert!(row.line >= next_line);
                next_line = row.line + row.lines;
            }
        }
    }
}
