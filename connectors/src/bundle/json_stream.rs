//! Finds the records inside a JSON document of any size, one at a time.

use std::{
    io::{self, Read},
    sync::Arc,
};

use super::{
    container::Entry,
    encoding::{self, Decoded},
    item::{Item, Origin},
    json,
    recipe::Recipe,
};

/// The longest record that is read.
const LONGEST: usize = 16 << 20;

/// How a JSON file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One document: a list of records, or an envelope around one.
    Document,
    /// One record per line.
    Lines,
}

/// Returns whether a file, whatever its name says, holds one record per line: its first two lines are an object each, or begin to
/// be one.
pub(crate) fn is_lines(head: &[u8]) -> bool {
    let mut lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let first = lines
        .next()
        .is_some_and(|line| line.starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok());
    first && lines.next().is_some_and(|line| line.starts_with(b"{"))
}

/// The records of one JSON file, one after the other.
pub(crate) struct JsonItems {
    file: String,
    elements: Elements<Decoded<Box<dyn Read + Send>>>,
    recipe: Arc<Recipe>,
}

impl JsonItems {
    /// Opens `entry` for reading.
    pub(crate) fn open(file: &str, entry: &Entry, layout: Layout, recipe: Arc<Recipe>) -> io::Result<Self> {
        let head = encoding::head(entry.open()?)?;
        // JSON is UTF-8 (RFC 8259); UTF-16 is recognised all the same.
        let encoding = encoding::detect(&head, None).unwrap_or(encoding_rs::UTF_8);
        let input = encoding::decode(entry.open()?, encoding);
        let elements = Elements::new(input, layout, recipe.records.as_deref());
        Ok(Self { file: file.to_owned(), elements, recipe })
    }
}

impl Iterator for JsonItems {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        loop {
            let element = self.elements.next()?;
            let origin = Origin { file: self.file.clone(), line: element.line };
            match element.body.and_then(|bytes| json::fields(&bytes, &self.recipe)) {
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
    }
}

/// The text of one record, or why there is none.
struct Element {
    line: u64,
    body: Result<Vec<u8>, String>,
}

struct Elements<R> {
    input: Bytes<R>,
    layout: Layout,
    /// Where the list lies, from the outside in; `None` means the first list of objects. `*` is an object whose values are records.
    path: Option<Vec<String>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Before,
    InList,
    InMap,
    Over,
}

/// Why the rest of a document cannot be read.
enum Stop {
    Broken(&'static str),
    Failed(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl<R: Read> Elements<R> {
    fn new(input: R, layout: Layout, path: Option<&str>) -> Self {
        let path = path
            .map(|path| path.split('.').filter(|part| !part.is_empty() && *part != "$").map(str::to_owned).collect());
        Self { input: Bytes::new(input), layout, path, state: State::Before }
    }

    fn next(&mut self) -> Option<Element> {
        if self.state == State::Over {
            return None;
        }
        let result = match self.layout {
            Layout::Lines => self.line().map_err(Stop::Failed),
            Layout::Document => self.element(),
        };
        match result {
            Ok(Some(element)) => Some(element),
            Ok(None) => {
                self.state = State::Over;
                None
            }
            Err(stop) => {
                self.state = State::Over;
                let reason = match stop {
                    Stop::Broken(reason) => format!("the file cannot be read any further: {reason}"),
                    Stop::Failed(error) => format!("the file cannot be read any further: {error}"),
                };
                Some(Element { line: self.input.line, body: Err(reason) })
            }
        }
    }

    fn line(&mut self) -> io::Result<Option<Element>> {
        loop {
            let line = self.input.line;
            let mut bytes = Vec::new();
            let mut too_long = false;
            let mut any = false;
            while let Some(byte) = self.input.next()? {
                any = true;
                if byte == b'\n' {
                    break;
                }
                if bytes.len() < LONGEST {
                    bytes.push(byte);
                } else {
                    too_long = true;
                }
            }
            if !any {
                return Ok(None);
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let body = if too_long { Err("it is longer than 16 MiB".to_owned()) } else { Ok(bytes) };
            return Ok(Some(Element { line, body }));
        }
    }

    fn element(&mut self) -> Result<Option<Element>, Stop> {
        let mut first = false;
        if self.state == State::Before {
            if self.input.solid()?.is_none() {
                return Ok(None);
            }
            let path = self.path.clone();
            self.state = match self.locate(path.as_deref())? {
                Some(state) => state,
                None => return Err(Stop::Broken("there is no list of records where one is expected")),
            };
            first = true;
        }
        let close = if self.state == State::InList { b']' } else { b'}' };
        match self.input.solid()? {
            Some(byte) if byte == close => return Ok(None),
            Some(b',') if !first => {
                self.input.next()?;
            }
            Some(_) if first => {}
            Some(_) => return Err(Stop::Broken("a comma is missing between two records")),
            None => return Err(Stop::Broken("the list of records does not end")),
        }
        if self.state == State::InMap {
            self.key()?;
        }
        self.input.solid()?;
        let line = self.input.line;
        let mut bytes = Vec::new();
        let body = match self.value(Some(&mut bytes)) {
            Ok(()) if bytes.len() >= LONGEST => Err("it is longer than 16 MiB".to_owned()),
            Ok(()) => Ok(bytes),
            Err(Stop::Broken(reason)) => {
                self.state = State::Over;
                Err(format!("{reason}, so nothing after it can be read"))
            }
            Err(failed) => return Err(failed),
        };
        Ok(Some(Element { line, body }))
    }

    /// Goes to the records; the next byte belongs to the first of them.
    fn locate(&mut self, path: Option<&[String]>) -> Result<Option<State>, Stop> {
        match (self.input.solid()?, path) {
            (Some(b'['), None | Some([])) => {
                self.input.next()?;
                Ok(Some(State::InList))
            }
            (Some(b'{'), Some([star])) if star == "*" => {
                self.input.next()?;
                Ok(Some(State::InMap))
            }
            (Some(b'{'), path) => {
                self.input.next()?;
                loop {
                    if self.input.solid()? == Some(b'}') {
                        return Ok(None);
                    }
                    let key = self.key()?;
                    let next = self.input.solid()?;
                    let found = match path {
                        Some([wanted, rest @ ..]) if *wanted == key => return self.locate(Some(rest)),
                        None if next == Some(b'[') => {
                            self.input.next()?;
                            if matches!(self.input.solid()?, Some(b'{' | b']')) {
                                Some(State::InList)
                            } else {
                                self.rest_of_list()?;
                                None
                            }
                        }
                        _ => {
                            self.value(None)?;
                            None
                        }
                    };
                    if found.is_some() {
                        return Ok(found);
                    }
                    if self.input.solid()? == Some(b',') {
                        self.input.next()?;
                    }
                }
            }
            _ => Ok(None),
        }
    }

    fn rest_of_list(&mut self) -> Result<(), Stop> {
        loop {
            match self.input.solid()? {
                Some(b']') => {
                    self.input.next()?;
                    return Ok(());
                }
                Some(b',') => {
                    self.input.next()?;
                }
                Some(b'}' | b':') => return Err(Stop::Broken("a list is not JSON")),
                Some(_) => self.value(None)?,
                None => return Err(Stop::Broken("a list does not end")),
            }
        }
    }

    /// Reads a key and its colon.
    fn key(&mut self) -> Result<String, Stop> {
        if self.input.solid()? != Some(b'"') {
            return Err(Stop::Broken("a key is expected"));
        }
        let mut bytes = Vec::new();
        self.value(Some(&mut bytes))?;
        let key = serde_json::from_slice(&bytes).map_err(|_| Stop::Broken("a key is not JSON"))?;
        if self.input.solid()? != Some(b':') {
            return Err(Stop::Broken("a colon is missing after a key"));
        }
        self.input.next()?;
        self.input.solid()?;
        Ok(key)
    }

    /// Reads one value, by its brackets and quotes alone, so that a value with a fault inside still has an end.
    fn value(&mut self, mut keep: Option<&mut Vec<u8>>) -> Result<(), Stop> {
        let mut depth = 0_usize;
        let mut inside = false;
        loop {
            let Some(byte) = self.input.peek()? else {
                return if depth == 0 && !inside { Ok(()) } else { Err(Stop::Broken("the record does not end")) };
            };
            if depth == 0 && !inside && matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(());
            }
            self.input.next()?;
            let mut push = |byte| {
                if let Some(keep) = &mut keep
                    && keep.len() < LONGEST
                {
                    keep.push(byte);
                }
            };
            push(byte);
            match byte {
                b'\\' if inside => {
                    if let Some(escaped) = self.input.next()? {
                        push(escaped);
                    }
                }
                b'"' => {
                    inside = !inside;
                    if !inside && depth == 0 {
                        return Ok(());
                    }
                }
                b'{' | b'[' if !inside => depth += 1,
                b'}' | b']' if !inside => {
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }
}

/// Bytes one at a time, with the line that comes next.
struct Bytes<R> {
    input: R,
    buffer: Vec<u8>,
    at: usize,
    line: u64,
}

impl<R: Read> Bytes<R> {
    fn new(input: R) -> Self {
        Self { input, buffer: Vec::new(), at: 0, line: 1 }
    }

    fn peek(&mut self) -> io::Result<Option<u8>> {
        if self.at == self.buffer.len() {
            self.buffer.resize(64 << 10, 0);
            let count = loop {
                match self.input.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result,
                }
            };
            self.at = 0;
            self.buffer.truncate(*count.as_ref().unwrap_or(&0));
            count?;
        }
        Ok(self.buffer.get(self.at).copied())
    }

    fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.at += 1;
            if byte == b'\n' {
                self.line += 1;
            }
        }
        Ok(byte)
    }

    /// Steps over white space and returns the byte that comes next.
    fn solid(&mut self) -> io::Result<Option<u8>> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.next()?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8], layout: Layout, path: Option<&str>) -> Vec<(u64, Result<String, String>)> {
        let mut elements = Elements::new(text, layout, path);
        std::iter::from_fn(|| elements.next())
            .map(|element| (element.line, element.body.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())))
            .collect()
    }

    fn document(text: &str, path: Option<&str>) -> Vec<(u64, Result<String, String>)> {
        read(text.as_bytes(), Layout::Document, path)
    }

    #[test]
    fn lists_and_envelopes_are_found() {
        let two = vec![(2, Ok("{\"a\":1}".to_owned())), (3, Ok("{\"a\":\"]\\\"\"}".to_owned()))];
        assert_eq!(document("[\n{\"a\":1},\n{\"a\":\"]\\\"\"}]", None), two);
        assert_eq!(document("{\"n\":[1,2],\"data\":[\n{\"a\":1},\n{\"a\":\"]\\\"\"}],\"x\":1}", None), two);
        assert_eq!(document("{\"x\":{\"y\":[\n{\"a\":1},\n{\"a\":\"]\\\"\"}]}}", Some("x.y")), two);
        assert_eq!(document("{\"0\":\n{\"a\":1},\"1\":\n{\"a\":\"]\\\"\"}}", Some("*")), two);
        assert_eq!(document("[]", None), []);
        assert_eq!(document("  ", None), []);
    }

    #[test]
    fn a_fault_costs_one_record_where_it_can() {
        let found = document("[{\"a\":},{\"b\":1},{\"c\":", None);
        assert_eq!(found[1], (1, Ok("{\"b\":1}".to_owned())));
        assert!(found[2].1.as_ref().unwrap_err().contains("does not end"));
        assert_eq!(found.len(), 3);
        assert!(document("{\"a\":1}", None)[0].1.is_err());
        assert!(document("[{} {}]", None)[1].1.as_ref().unwrap_err().contains("comma"));
        let lines = read(b"{\"a\":1}\n\n{\"b\n{\"c\":1}", Layout::Lines, None);
        assert_eq!(lines.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 4]);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<i32>().prop_map(Into::into),
            any::<bool>().prop_map(Into::into),
            "[\\PC\"\\\\{}\\[\\],:\n]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..4)
                    .prop_map(|parts| serde_json::Value::Object(parts.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_record_of_a_list_is_found(records in prop::collection::vec(json(), 0..6), pretty in any::<bool>()) {
            let list = serde_json::Value::Array(records.clone());
            let text = if pretty { serde_json::to_string_pretty(&list) } else { serde_json::to_string(&list) }.unwrap();
            let found: Vec<serde_json::Value> =
                document(&text, None).into_iter().map(|(_, body)| serde_json::from_str(&body.unwrap()).unwrap()).collect();
            prop_assert_eq!(found, records);
        }

        #[test]
        fn any_bytes_come_to_an_end(bytes in prop::collection::vec(prop::sample::select(b"[]{},:\"\\ax1\n\xff".to_vec()), 0..80)) {
            for path in [None, Some("a"), Some("*")] {
                let _ = read(&bytes, Layout::Document, path);
            }
            let _ = read(&bytes, Layout::Lines, None);
        }
    }
}
