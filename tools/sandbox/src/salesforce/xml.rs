//! XML as clients send it: elements by their local names, and texts escaped for the way back.

use std::borrow::Cow;

use quick_xml::{
    Reader,
    events::{BytesStart, Event},
};

/// How deep elements may lie in each other.
const DEPTH: usize = 64;

/// An element of an XML file.
#[derive(Debug, Default, Clone)]
pub(crate) struct Element {
    /// Its name without a prefix.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
    /// Whether it says `xsi:nil`.
    pub(crate) nil: bool,
    /// Its `xsi:type`, without a prefix.
    pub(crate) kind: Option<String>,
}

impl Element {
    fn named(start: &BytesStart<'_>) -> Self {
        let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
        let mut element = Self { name, ..Self::default() };
        for attribute in start.attributes().flatten() {
            let value = String::from_utf8_lossy(&attribute.value).into_owned();
            match attribute.key.local_name().as_ref() {
                b"nil" => element.nil = matches!(value.as_str(), "true" | "1"),
                b"type" => element.kind = Some(value.rsplit(':').next().unwrap_or_default().to_owned()),
                _ => {}
            }
        }
        element
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader::from_str(text);
        let mut open: Vec<Element> = vec![Element::default()];
        loop {
            match reader.read_event().map_err(|e| e.to_string())? {
                Event::Start(start) => {
                    if open.len() > DEPTH {
                        return Err("the elements are too deep".into());
                    }
                    open.push(Element::named(&start));
                }
                Event::Empty(start) => {
                    if let Some(parent) = open.last_mut() {
                        parent.children.push(Element::named(&start));
                    }
                }
                Event::End(_) => {
                    let done = open.pop().ok_or("an element ends that never began")?;
                    open.last_mut().ok_or("too many elements end")?.children.push(done);
                }
                Event::Text(text) => {
                    if let Some(at) = open.last_mut() {
                        at.text.push_str(&text.decode().map_err(|e| e.to_string())?);
                    }
                }
                Event::GeneralRef(name) => {
                    let name = name.decode().map_err(|e| e.to_string())?;
                    let text = match &*name {
                        "amp" => "&".to_owned(),
                        "lt" => "<".to_owned(),
                        "gt" => ">".to_owned(),
                        "quot" => "\"".to_owned(),
                        "apos" => "'".to_owned(),
                        other => other
                            .strip_prefix('#')
                            .and_then(|digits| match digits.strip_prefix('x') {
                                Some(hex) => u32::from_str_radix(hex, 16).ok(),
                                None => digits.parse().ok(),
                            })
                            .and_then(char::from_u32)
                            .map(String::from)
                            .ok_or("an unknown entity")?,
                    };
                    if let Some(at) = open.last_mut() {
                        at.text.push_str(&text);
                    }
                }
                Event::CData(text) => {
                    if let Some(at) = open.last_mut() {
                        at.text.push_str(&text.decode().map_err(|e| e.to_string())?);
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let mut root = open.pop().filter(|_| open.is_empty()).ok_or("an element never ends")?;
        root.children.pop().ok_or_else(|| "the file is empty".to_owned())
    }

    pub(crate) fn all(&self, name: &'static str) -> impl Iterator<Item = &Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    pub(crate) fn get(&self, name: &'static str) -> Option<&str> {
        self.all(name).next().map(|child| child.text.trim())
    }

    pub(crate) fn flag(&self, name: &'static str) -> bool {
        self.get(name) == Some("true")
    }

    pub(crate) fn number(&self, name: &'static str) -> Option<usize> {
        self.get(name).and_then(|text| text.parse().ok())
    }
}

/// Escapes a text for XML.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    quick_xml::escape::escape(text)
}
