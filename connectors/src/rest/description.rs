//! The description of a REST source: a TOML document that anyone can write who has the API's documentation.
//!
//! The words follow the convention "declarative REST source": secrets are named, never contained; what the description leaves
//! out is recognised from the first answers, or asked.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::paging::Paging;
use crate::bundle::{ColumnSpec, Custom, ObjectProfile, OneOrMany, Profile, Values};

/// The format that this reader knows.
const FORMAT: &str = "waybill-rest/1";

/// How to read the records of one system through its REST API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    format: String,
    /// The system's name in Waybill, such as `spark`.
    pub(crate) system: String,
    /// The name that people see.
    pub(crate) label: String,
    /// The shipped profile whose objects, columns and links these records have.
    layout: Option<String>,
    #[serde(default)]
    pub(crate) client: Client,
    #[serde(default)]
    pub(crate) limits: Limits,
    #[serde(default)]
    pub(crate) clock: Clock,
    /// How lists are paged, where a stream does not say; without either it is recognised.
    pub(crate) paging: Option<Paging>,
    /// Where the list of records is in an answer, where a stream does not say; without either it is recognised.
    pub(crate) records: Option<String>,
    /// Where an answer says how many records there are in all.
    pub(crate) total: Option<Total>,
    /// How changed records are asked for, where a stream does not say.
    pub(crate) changed: Option<Changed>,
    pub(crate) account: Option<Account>,
    pub(crate) binaries: Option<Binaries>,
    pub(crate) deletions: Option<Feed>,
    pub(crate) merges: Option<Feed>,
    custom: Option<Custom>,
    #[serde(default)]
    columns: BTreeMap<String, ColumnSpec>,
    #[serde(default)]
    links: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    values: Option<Values>,
    #[serde(default, rename = "object")]
    pub(crate) streams: Vec<Stream>,
    /// The profile that all this makes.
    #[serde(skip)]
    profile: Option<Profile>,
}

/// How the server is reached.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Client {
    /// The address that paths are appended to; the project's configuration comes first.
    pub(crate) base_url: Option<String>,
    pub(crate) auth: AuthSpec,
    /// Headers of every request.
    pub(crate) headers: BTreeMap<String, String>,
    /// How long one request may take.
    pub(crate) timeout_s: Option<u64>,
}

/// How a request says who asks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum AuthSpec {
    /// Nobody asks.
    None,
    /// `Authorization: Bearer …`.
    #[default]
    Bearer,
    /// Any header; `${secret}` in the template stands for the secret.
    Header {
        name: String,
        #[serde(default = "whole")]
        template: String,
    },
    /// The secret as the user of basic authentication, or as the password of a named one.
    Basic { user: Option<String> },
    /// A parameter of the query.
    Query { name: String },
    /// The OAuth 2.0 client credentials grant (RFC 6749, section 4.4): the secret is the client's.
    #[serde(rename = "oauth2_client")]
    Oauth2Client {
        token_path: String,
        client_id: Option<String>,
        #[serde(default = "bearer")]
        prefix: String,
    },
}

fn whole() -> String {
    "${secret}".to_owned()
}

fn bearer() -> String {
    "Bearer".to_owned()
}

/// How much may be asked, and what is done when it was too much.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// So many requests,
    pub(crate) requests: Option<u32>,
    /// in so many seconds.
    pub(crate) per_seconds: u32,
    /// The header with the number of requests that are left.
    pub(crate) remaining: Option<String>,
    /// The header that says when the count begins anew.
    pub(crate) reset: Option<String>,
    pub(crate) reset_unit: ResetUnit,
    pub(crate) retry_after: String,
    pub(crate) retry_on: Vec<u16>,
    /// How often a request is sent at most.
    pub(crate) tries: u32,
    /// The first pause between two of them; each next one is twice as long,
    pub(crate) first_ms: u64,
    /// up to this.
    pub(crate) max_ms: u64,
    /// The longest that is waited because a server says so; beyond it the run stops and can be gone on with.
    pub(crate) longest_wait_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: None,
            per_seconds: 1,
            remaining: None,
            reset: None,
            reset_unit: ResetUnit::SecondsLeft,
            retry_after: "retry-after".to_owned(),
            retry_on: vec![408, 420, 429, 500, 502, 503, 504],
            tries: 8,
            first_ms: 200,
            max_ms: 30_000,
            longest_wait_s: 900,
        }
    }
}

/// What the number in the reset header counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResetUnit {
    SecondsLeft,
    MillisecondsLeft,
    UnixSeconds,
}

/// Where the source tells the time; without a path, the `Date` header does.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Clock {
    pub(crate) path: Option<String>,
}

/// Where a number of records stands.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Total {
    pub(crate) path: Option<String>,
    pub(crate) header: Option<String>,
}

/// How the records that changed since a moment are asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Changed {
    /// The field of a record that says when it changed.
    pub(crate) field: Option<String>,
    /// The parameter, header or place in the body that takes the moment.
    pub(crate) send: Option<String>,
    #[serde(default, rename = "in")]
    pub(crate) place: SendIn,
    /// `rfc3339`, `epoch_s`, `epoch_ms`, or a `chrono` format.
    #[serde(default = "rfc3339")]
    pub(crate) format: String,
    /// What is read again, because a change may show later than its time says.
    #[serde(default = "overlap")]
    pub(crate) overlap_s: u32,
    /// Whether the list comes in the ascending order of the field, so that one that ends too early can be begun again from
    /// where it ended.
    #[serde(default)]
    pub(crate) sorted: bool,
}

fn rfc3339() -> String {
    "rfc3339".to_owned()
}

fn overlap() -> u32 {
    300
}

/// Where a value is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SendIn {
    #[default]
    Query,
    Header,
    Body,
    /// Nowhere: the list comes with the latest change first, and is read down to the moment.
    Order,
}

/// Whose data it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    pub(crate) path: String,
    /// Where the account is in the answer.
    #[serde(default = "root")]
    pub(crate) record: String,
    /// The name of the product must be this one, where the answer has it.
    pub(crate) product: Option<String>,
}

fn root() -> String {
    "$".to_owned()
}

/// Where the files are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Binaries {
    /// The path on the server; `{id}` stands for what the `*` of `like` is.
    pub(crate) path: String,
    /// How the records call a file; the first `*` is its id.
    pub(crate) like: String,
    /// The object whose records list the files,
    pub(crate) object: String,
    /// with the name in this column,
    pub(crate) name: String,
    /// and the size in bytes in this one.
    pub(crate) size: Option<String>,
}

/// A list of records that are gone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Feed {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) records: Option<String>,
    pub(crate) paging: Option<Paging>,
    /// The column with the object's name.
    pub(crate) object: String,
    pub(crate) id: String,
    /// The column with the record that lives on, of a merge.
    pub(crate) into: Option<String>,
    pub(crate) at: Option<String>,
    /// The parameter that takes the moment since when.
    pub(crate) since: Option<String>,
}

/// How one object is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stream {
    /// The object's name; `*` of one that is there for every record of another.
    pub(crate) name: String,
    /// The records for which there is one such list each.
    pub(crate) each: Option<Each>,
    #[serde(default)]
    pub(crate) method: Method,
    /// The path below the base address; `{each}` stands for the field that `each` names.
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) query: BTreeMap<String, String>,
    /// The body of a search that is posted.
    pub(crate) body: Option<serde_json::Value>,
    pub(crate) records: Option<String>,
    pub(crate) paging: Option<Paging>,
    pub(crate) total: Option<Total>,
    /// False: there is no way to ask for changes, so it is always read whole.
    #[serde(default = "yes")]
    pub(crate) incremental: bool,
    pub(crate) changed: Option<Changed>,
    #[serde(default)]
    pub(crate) gone: GoneHow,
    /// Whether nothing moves inside the list while it is paged through: it is not read a second time to find out.
    #[serde(default)]
    pub(crate) still: bool,
    /// Whether a server that does not have it may do without.
    #[serde(default)]
    pub(crate) optional: bool,
    pub(crate) detail: Option<Detail>,
    /// Columns that are found elsewhere in a record, by their dotted path.
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, FieldFrom>,
    #[serde(default)]
    called: Vec<String>,
    #[serde(default)]
    key: OneOrMany,
    modified: Option<String>,
    deleted: Option<String>,
    #[serde(default)]
    reference: bool,
    #[serde(default)]
    columns: BTreeMap<String, ColumnSpec>,
    #[serde(default)]
    links: BTreeMap<String, OneOrMany>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    #[default]
    Get,
    Post,
}

/// For which records there is a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Each {
    pub(crate) object: String,
    pub(crate) field: String,
}

/// The single record, where a row of the list is shorter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Detail {
    pub(crate) path: String,
    #[serde(default = "root")]
    pub(crate) record: String,
}

/// Where a column is found in a record.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum FieldFrom {
    /// At a dotted path, such as `team_member_ids[0]`.
    Path(String),
    /// In a list of names and values: the column's `*` is the name.
    Pairs { each: String, key: String, value: String },
}

/// How the source says that a record is gone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum GoneHow {
    /// By the lists of the deleted and merged, if they are described, and by the field that `deleted` names.
    #[default]
    Listed,
    /// It does not.
    None,
    /// A row of a feed whose record is `null`.
    NullRecord { record: String },
    /// What is no longer in the list is gone: it is read whole every time.
    Compare,
}

impl Description {
    /// Returns the description that ships with Waybill for `system`, if there is one.
    pub fn shipped(system: &str) -> Option<Self> {
        let text = match system {
            "spark" => include_str!("../../profiles/spark.rest.toml"),
            _ => return None,
        };
        Some(Self::parse(text).expect("a shipped description is parsed by a test"))
    }

    /// Reads a description from its TOML text.
    pub fn parse(toml: &str) -> Result<Self, DescriptionError> {
        let mut parsed: Self = toml::from_str(toml).map_err(|error| DescriptionError::Syntax(error.to_string()))?;
        parsed.check()?;
        parsed.profile = Some(parsed.make_profile()?);
        Ok(parsed)
    }

    /// Returns the system's name in Waybill.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// Returns the layout of the records, as of an export.
    pub fn profile(&self) -> &Profile {
        self.profile.as_ref().expect("a description is only made by `parse`")
    }

    /// Returns how changes of a stream are asked for.
    pub(crate) fn changed_of<'a>(&'a self, stream: &'a Stream) -> Option<&'a Changed> {
        let compared = stream.gone == GoneHow::Compare;
        stream.changed.as_ref().or(self.changed.as_ref()).filter(|_| stream.incremental && !compared)
    }

    fn check(&self) -> Result<(), DescriptionError> {
        if self.format != FORMAT {
            return Err(DescriptionError::Format { found: self.format.clone() });
        }
        if self.streams.is_empty() {
            return Err(DescriptionError::NoObjects);
        }
        let mut seen = std::collections::BTreeSet::new();
        for stream in &self.streams {
            let wrong = |what: String| Err(DescriptionError::Object { object: stream.name.clone(), what });
            if !seen.insert(stream.name.to_lowercase()) {
                return wrong("it is described twice".to_owned());
            }
            if !stream.path.starts_with('/') {
                return wrong(format!("its path {:?} does not begin with /", stream.path));
            }
            if stream.name.contains('*') != stream.each.is_some() {
                return wrong("a name with * and `each` go together".to_owned());
            }
            if let Some(each) = &stream.each {
                let before = self.streams.iter().take_while(|other| other.name != stream.name);
                if !before.into_iter().any(|other| other.name == each.object) {
                    return wrong(format!("`each` names {}, which must be described before it", each.object));
                }
                if !stream.path.contains("{each}") {
                    return wrong("its path has no {each}".to_owned());
                }
            }
            if stream.body.is_some() && stream.method == Method::Get {
                return wrong("a body goes with method = \"POST\"".to_owned());
            }
            if let Some(detail) = &stream.detail
                && !detail.path.contains("{id}")
            {
                return wrong(format!("the path of its single record, {:?}, has no {{id}}", detail.path));
            }
            if let Some(changed) = self.changed_of(stream) {
                if changed.send.is_none() && changed.place != SendIn::Order {
                    return wrong("`changed` does not say what to send; in = \"order\" sends nothing".to_owned());
                }
                if changed.place == SendIn::Body && stream.body.is_none() {
                    return wrong("`changed` sends its moment in a body, and there is none".to_owned());
                }
            }
            if let Some(paging) = stream.paging.as_ref().or(self.paging.as_ref()) {
                paging.check().map_err(|what| DescriptionError::Object { object: stream.name.clone(), what })?;
            }
            for (column, from) in &stream.fields {
                if matches!(from, FieldFrom::Pairs { .. }) != column.contains('*') {
                    return wrong(format!("the column {column}: a * and a list of pairs go together"));
                }
            }
        }
        if self.limits.tries == 0 || self.limits.per_seconds == 0 || self.limits.requests == Some(0) {
            return Err(DescriptionError::Limits);
        }
        if let Some(files) = &self.binaries
            && (!files.like.contains('*') || !files.path.contains("{id}"))
        {
            return Err(DescriptionError::Binaries);
        }
        if let Some(zone) = self.values.as_ref().and_then(|values| values.time_zone.as_ref())
            && zone.parse::<chrono_tz::Tz>().is_err()
        {
            return Err(DescriptionError::TimeZone { zone: zone.clone() });
        }
        Ok(())
    }

    fn make_profile(&self) -> Result<Profile, DescriptionError> {
        let mut profile = match &self.layout {
            None => Profile::bare(&self.system, &self.label),
            Some(name) => Profile::shipped(name).ok_or_else(|| DescriptionError::Layout { name: name.clone() })?,
        };
        self.system.clone_into(&mut profile.system);
        self.label.clone_into(&mut profile.label);
        profile.columns.extend(self.columns.clone());
        profile.links.extend(self.links.clone());
        if let Some(values) = &self.values {
            profile.values = values.clone();
        }
        if self.custom.is_some() {
            profile.custom.clone_from(&self.custom);
        }
        // Files that several objects share are an affair of exports.
        for object in &mut profile.objects {
            object.shared = None;
        }
        for stream in &self.streams {
            let family = stream.each.is_some();
            let known = if family { &mut profile.families } else { &mut profile.objects };
            let at = known.iter().position(|object| object.name.eq_ignore_ascii_case(&stream.name));
            let object = match at {
                Some(at) => &mut known[at],
                None => {
                    let mut plain = ObjectProfile::plain(&stream.name);
                    if family {
                        plain.files = vec!["objects/*.jsonl".to_owned()];
                    }
                    known.push(plain);
                    known.last_mut().expect("it was just pushed")
                }
            };
            object.records = None;
            if !stream.key.0.is_empty() {
                object.key = stream.key.clone();
                object.or_key = OneOrMany::default();
            }
            if object.key.0.is_empty() {
                return Err(DescriptionError::Object {
                    object: stream.name.clone(),
                    what: "nothing says which column tells its records apart; set key".to_owned(),
                });
            }
            let changed = self.changed_of(stream).and_then(|changed| changed.field.clone());
            if let Some(modified) = stream.modified.clone().or(changed) {
                object.modified = Some(modified);
            }
            if stream.deleted.is_some() {
                object.deleted.clone_from(&stream.deleted);
            }
            object.called.extend(stream.called.iter().cloned());
            object.reference |= stream.reference;
            object.columns.extend(stream.columns.clone());
            object.links.extend(stream.links.clone());
        }
        Ok(profile)
    }
}

/// What is wrong with a description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// The text is not TOML, or not in the shape of a description.
    #[error("the description cannot be read: {0}")]
    Syntax(String),
    /// Another format.
    #[error("the description's format is {found:?}, and this version of Waybill reads {FORMAT:?}")]
    Format {
        /// What it says.
        found: String,
    },
    /// It reads nothing.
    #[error("the description names no object")]
    NoObjects,
    /// No such layout ships.
    #[error("the description's layout {name:?} is no profile that ships")]
    Layout {
        /// The name.
        name: String,
    },
    /// Something about one object.
    #[error("the description of {object}: {what}")]
    Object {
        /// The object.
        object: String,
        /// What is wrong.
        what: String,
    },
    /// The limits allow nothing.
    #[error("the description's limits allow no request: requests, per_seconds and tries are at least 1")]
    Limits,
    /// Files cannot be found.
    #[error("the description of binaries: `like` needs a * and `path` an {{id}}")]
    Binaries,
    /// The time zone is unknown.
    #[error("the description's time zone {zone:?} is not in the IANA database")]
    TimeZone {
        /// The name of the zone.
        zone: String,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(text: &str) -> Result<Description, DescriptionError> {
        Description::parse(&format!("format = 'waybill-rest/1'\nsystem = 'x'\nlabel = 'X'\n{text}"))
    }

    fn refused(text: &str) -> String {
        with(text).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_description_parses_and_has_the_layout_of_the_exports() {
        let spark = Description::shipped("spark").unwrap();
        assert_eq!(spark.system(), "spark");
        assert!(spark.profile().may_have("contacts", Some("first_name")));
        assert!(spark.streams.iter().any(|stream| stream.each.is_some()));
        assert!(Description::shipped("nothing").is_none());
    }

    #[test]
    fn a_description_that_cannot_work_is_refused_with_the_reason() {
        let people = "[[object]]\nname = 'people'\nkey = 'id'\n";
        assert!(refused("").contains("names no object"));
        assert!(refused(&format!("{people}path = 'people'")).contains("does not begin with /"));
        assert!(refused("[[object]]\nname = 'people'\npath = '/people'").contains("set key"));
        assert!(refused(&format!("layout = 'moon'\n{people}path = '/p'")).contains("moon"));
        assert!(refused(&format!("{people}path = '/p'\nchanged = {{ field = 'at' }}")).contains("what to send"));
        assert!(refused(&format!("{people}path = '/p'\nbody = {{ a = 1 }}")).contains("POST"));
        assert!(refused(&format!("{people}path = '/p'\n{people}path = '/q'")).contains("twice"));
        assert!(refused(&format!("{people}path = '/p'\nunheard = 1")).contains("unheard"));
        let paging = "paging = { type = 'page', page = 'page', size = 0 }";
        assert!(refused(&format!("{people}path = '/p'\n{paging}")).contains("size"));
        assert!(refused(&format!("[limits]\ntries = 0\n{people}path = '/p'")).contains("at least 1"));
        let format = Description::parse("format='waybill-rest/9'\nsystem='x'\nlabel='X'").unwrap_err();
        assert_eq!(format, DescriptionError::Format { found: "waybill-rest/9".into() });
    }
}
