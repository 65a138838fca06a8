//! The profile: how one system lays out its export, as a TOML document.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::cell::{ColumnSpec, Values};

/// How an export of one system is laid out: which file holds which object, which column is the key, what the cells mean.
///
/// The layout of the shipped profiles is a convention where a vendor publishes nothing; each profile says so at its head.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The system's name in Waybill, such as `spark`.
    pub(crate) system: String,
    /// The name that people see.
    pub(crate) label: String,
    /// The name of the product in a manifest.
    #[serde(default)]
    pub(crate) product: Option<String>,
    /// Without it, any export in which one of the objects is found is accepted.
    pub(crate) recognise: Option<Recognise>,
    #[serde(default)]
    pub(crate) text: Text,
    #[serde(default)]
    pub(crate) values: Values,
    /// What a column means in every object, by name or by pattern.
    #[serde(default)]
    pub(crate) columns: BTreeMap<String, ColumnSpec>,
    /// Where a column points to in every object.
    #[serde(default)]
    pub(crate) links: BTreeMap<String, OneOrMany>,
    /// Files that are not read and not reported, by pattern.
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    /// The list of deleted records.
    pub(crate) deletions: Option<Deletions>,
    /// The list of merged records.
    pub(crate) merges: Option<Merges>,
    /// The description of custom columns.
    pub(crate) custom: Option<Custom>,
    #[serde(default, rename = "object")]
    pub(crate) objects: Vec<ObjectProfile>,
    /// Objects whose names are not known beforehand: one per file that fits the pattern.
    #[serde(default, rename = "family")]
    pub(crate) families: Vec<ObjectProfile>,
}

/// By what an export without a manifest is known.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Recognise {
    /// How many of the profile's objects must be there; 0 counts as 1.
    pub(crate) objects: usize,
    /// The least share of columns that the profile must know, from 0 to 1.
    pub(crate) share: f64,
}

/// How the bytes of a table become text. What the manifest or the file itself declares comes first.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Text {
    /// The encoding of a file that has no byte order mark and does not show itself as UTF-8.
    pub(crate) encoding: Option<String>,
    /// The delimiter; without it, it is found from the head of the file.
    pub(crate) delimiter: Option<char>,
    /// How many lines stand above the header.
    pub(crate) skip_lines: u64,
}

/// How one object is laid out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectProfile {
    /// The object's name; of a family, what a file's object is called: `*` stands for the file's stem.
    pub(crate) name: String,
    /// Other words for it that columns and manifests use, such as the singular.
    #[serde(default)]
    pub(crate) called: Vec<String>,
    /// Patterns of its files; without any, `NAME.csv`, `NAME.json`, `NAME.jsonl` and their parts `NAME.part-*`.
    #[serde(default)]
    pub(crate) files: Vec<String>,
    /// The column or columns that tell rows apart; none means that rows are told apart by where they stand.
    #[serde(default)]
    pub(crate) key: OneOrMany,
    /// The columns that tell rows apart in a file that has no key column.
    #[serde(default)]
    pub(crate) or_key: OneOrMany,
    /// The column with the time of the last change.
    pub(crate) modified: Option<String>,
    /// The column that is true for a deleted row.
    pub(crate) deleted: Option<String>,
    /// Whether its rows describe the source rather than being migrated one by one.
    #[serde(default)]
    pub(crate) reference: bool,
    /// What its columns mean, by name or by pattern.
    #[serde(default)]
    pub(crate) columns: BTreeMap<String, ColumnSpec>,
    /// Where its columns point to.
    #[serde(default)]
    pub(crate) links: BTreeMap<String, OneOrMany>,
    /// Columns that every row gets with the same value.
    #[serde(default)]
    pub(crate) constants: BTreeMap<String, String>,
    /// In a JSON document, the dotted path of the list of records.
    pub(crate) records: Option<String>,
    /// Rows of this object in a file that several objects share.
    pub(crate) shared: Option<Shared>,
    /// How the bytes of its files become text, where that differs.
    pub(crate) text: Option<Text>,
    /// How its cells are written, where that differs.
    pub(crate) values: Option<Values>,
}

/// Rows of one object inside a file that several objects share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shared {
    /// Patterns of the files.
    pub(crate) files: Vec<String>,
    /// The column that says to which object a row belongs.
    pub(crate) column: String,
    /// What the column says for this object, without regard to case.
    pub(crate) values: Vec<String>,
}

/// Where deleted records are listed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deletions {
    pub(crate) file: String,
    pub(crate) object: String,
    pub(crate) id: String,
    pub(crate) at: Option<String>,
}

/// Where merged records are listed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Merges {
    pub(crate) file: String,
    pub(crate) object: String,
    pub(crate) id: String,
    pub(crate) into: String,
    pub(crate) at: Option<String>,
}

/// Where custom columns are described, in the columns of the bundle convention.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Custom {
    pub(crate) file: String,
    pub(crate) prefix: String,
}

/// One name, or a list of names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Names")]
pub(crate) struct OneOrMany(pub(crate) Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

impl From<Names> for OneOrMany {
    fn from(names: Names) -> Self {
        Self(match names {
            Names::One(name) => vec![name],
            Names::Many(names) => names,
        })
    }
}

impl Profile {
    /// Returns the profile that ships with Waybill for `system`, if there is one.
    pub fn shipped(system: &str) -> Option<Self> {
        let text = match system {
            "spark" => include_str!("../../profiles/spark.toml"),
            _ => return None,
        };
        Some(Self::parse(text).expect("a shipped profile is parsed by a test"))
    }

    /// Returns a profile that knows nothing but its name.
    pub(crate) fn bare(system: &str, label: &str) -> Self {
        Self {
            system: system.to_owned(),
            label: label.to_owned(),
            product: None,
            recognise: None,
            text: Text::default(),
            values: Values::default(),
            columns: BTreeMap::new(),
            links: BTreeMap::new(),
            exclude: Vec::new(),
            deletions: None,
            merges: None,
            custom: None,
            objects: Vec::new(),
            families: Vec::new(),
        }
    }

    /// Returns whether an export of this shape may have an object or, of an object, a column: one that an export lacks all the
    /// same is empty there, and not a mistake of whoever asks for it.
    pub fn may_have(&self, object: &str, column: Option<&str>) -> bool {
        let Some(found) = self.objects.iter().find(|known| known.name.eq_ignore_ascii_case(object)) else {
            return false;
        };
        let Some(column) = column else { return true };
        if self.custom.as_ref().is_some_and(|custom| column.starts_with(&custom.prefix)) {
            return false;
        }
        let named = found.key.0.iter().chain(&found.or_key.0).chain(&found.modified).chain(&found.deleted);
        let described =
            found.columns.keys().chain(self.columns.keys()).chain(found.links.keys()).chain(self.links.keys());
        named.chain(described).any(|pattern| fits(pattern, column))
    }

    /// Reads a profile from its TOML text.
    pub fn parse(toml: &str) -> Result<Self, ProfileError> {
        let profile: Self = toml::from_str(toml).map_err(|error| ProfileError::Syntax(error.to_string()))?;
        profile.check()?;
        Ok(profile)
    }

    /// Returns the system's name in Waybill.
    pub fn system(&self) -> &str {
        &self.system
    }

    fn check(&self) -> Result<(), ProfileError> {
        if self.objects.is_empty() && self.families.is_empty() {
            return Err(ProfileError::NoObjects);
        }
        let mut seen = std::collections::BTreeSet::new();
        for object in &self.objects {
            if !seen.insert(object.name.to_lowercase()) {
                return Err(ProfileError::ObjectTwice { object: object.name.clone() });
            }
        }
        if let Some(zone) = &self.values.time_zone
            && zone.parse::<chrono_tz::Tz>().is_err()
        {
            return Err(ProfileError::TimeZone { zone: zone.clone() });
        }
        let texts = std::iter::once(&self.text).chain(self.objects.iter().filter_map(|object| object.text.as_ref()));
        for text in texts {
            if let Some(delimiter) = text.delimiter
                && (!delimiter.is_ascii() || matches!(delimiter, '"' | '\n' | '\r'))
            {
                return Err(ProfileError::Delimiter { delimiter });
            }
            if let Some(label) = &text.encoding
                && encoding_rs::Encoding::for_label(label.as_bytes()).is_none()
            {
                return Err(ProfileError::Encoding { label: label.clone() });
            }
        }
        Ok(())
    }

    /// Returns the object that `word` means: its name or another word for it, without regard to case.
    pub(crate) fn object(&self, word: &str) -> Option<&ObjectProfile> {
        self.objects.iter().find(|object| object.answers_to(word))
    }
}

impl ObjectProfile {
    /// Returns an object about whose columns nothing is known, whose rows are told apart by where they stand.
    pub(crate) fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            called: Vec::new(),
            files: Vec::new(),
            key: OneOrMany::default(),
            or_key: OneOrMany::default(),
            modified: None,
            deleted: None,
            reference: false,
            columns: BTreeMap::new(),
            links: BTreeMap::new(),
            constants: BTreeMap::new(),
            records: None,
            shared: None,
            text: None,
            values: None,
        }
    }

    /// Returns whether `word` means this object.
    pub(crate) fn answers_to(&self, word: &str) -> bool {
        self.name.eq_ignore_ascii_case(word) || self.called.iter().any(|other| other.eq_ignore_ascii_case(word))
    }

    /// Returns whether the object's own files include `path`.
    pub(crate) fn owns(&self, path: &str) -> bool {
        if !self.files.is_empty() {
            return self.files.iter().any(|pattern| fits(pattern, path));
        }
        ["csv", "tsv", "json", "jsonl", "ndjson"].iter().any(|extension| {
            fits(&format!("{}.{extension}", self.name), path)
                || fits(&format!("{}.part-*.{extension}", self.name), path)
        })
    }
}

/// Returns whether `text` fits `pattern`, where `*` stands for any characters but `/`. Case does not matter.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    fn inner(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len())
                .take_while(|&taken| taken == 0 || text[taken - 1] != b'/')
                .any(|taken| inner(rest, &text[taken..])),
            Some((byte, rest)) => text
                .split_first()
                .is_some_and(|(first, others)| first.eq_ignore_ascii_case(byte) && inner(rest, others)),
        }
    }
    inner(pattern.as_bytes(), text.as_bytes())
}

/// What is wrong with a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The text is not TOML, or not in the shape of a profile.
    #[error("the profile cannot be read: {0}")]
    Syntax(String),
    /// The profile reads nothing.
    #[error("the profile names no object")]
    NoObjects,
    /// Two objects have one name.
    #[error("the profile names the object {object} twice")]
    ObjectTwice {
        /// The name.
        object: String,
    },
    /// The time zone is unknown.
    #[error("the profile's time zone {zone:?} is not in the IANA database")]
    TimeZone {
        /// The name of the zone.
        zone: String,
    },
    /// The delimiter cannot be one.
    #[error("{delimiter:?} cannot be a delimiter")]
    Delimiter {
        /// The character.
        delimiter: char,
    },
    /// The encoding is unknown.
    #[error("{label:?} is not the name of an encoding")]
    Encoding {
        /// The name.
        label: String,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_shipped_profile_parses() {
        assert_eq!(Profile::shipped("spark").unwrap().system(), "spark");
        assert!(Profile::shipped("nothing").is_none());
    }

    #[test]
    fn a_star_stays_inside_one_folder() {
        assert!(fits("objects/*.csv", "objects/machine.csv"));
        assert!(fits("Contacts.part-*.csv", "contacts.part-0002.CSV"));
        assert!(!fits("*.csv", "objects/machine.csv"));
        assert!(!fits("contacts.csv", "contacts.csv.bak"));
    }

    #[test]
    fn a_profile_that_cannot_work_is_refused() {
        let with = |text: &str| {
            Profile::parse(&format!("system = 'x'\nlabel = 'X'\n{text}\n[[object]]\nname = 'a'\n")).unwrap_err()
        };
        assert!(matches!(with("[values]\ntime_zone = 'Mars/Base'"), ProfileError::TimeZone { .. }));
        assert!(matches!(with("[text]\ndelimiter = '\"'"), ProfileError::Delimiter { .. }));
        assert!(matches!(with("[text]\nencoding = 'klingon'"), ProfileError::Encoding { .. }));
        assert!(matches!(with("[[object]]\nname = 'A'"), ProfileError::ObjectTwice { .. }));
        assert!(matches!(with("unheard = 1"), ProfileError::Syntax(_)));
        assert_eq!(Profile::parse("system='x'\nlabel='X'").unwrap_err(), ProfileError::NoObjects);
    }
}
