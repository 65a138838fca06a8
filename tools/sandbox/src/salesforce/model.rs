//! The shape of the org: its objects and fields, standard ones from a table, custom ones as they are deployed.

use std::collections::HashMap;

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Id,
    Text { length: usize },
    Area { length: usize, html: bool },
    Email,
    Phone,
    Url,
    Bool,
    Int { digits: usize },
    Number { precision: usize, scale: usize, name: &'static str },
    Date,
    DateTime,
    Picklist { values: Vec<Option_>, restricted: bool, multi: bool },
    Reference { to: Vec<String>, relationship: String, on_delete: OnDelete },
    Base64,
}

/// One value of a picklist.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Option_ {
    pub(crate) value: String,
    pub(crate) label: String,
    pub(crate) active: bool,
}

/// What happens to a row when the row it points to is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDelete {
    /// It goes, too.
    Cascade,
    /// The delete is refused.
    Restrict,
    /// It points to nothing.
    Null,
}

/// One field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) defaulted: bool,
    pub(crate) createable: bool,
    pub(crate) updateable: bool,
    pub(crate) unique: bool,
    pub(crate) case_sensitive: bool,
    pub(crate) external: bool,
    pub(crate) id_lookup: bool,
    pub(crate) name_field: bool,
    pub(crate) custom: bool,
    pub(crate) system: bool,
}

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) plural: String,
    pub(crate) prefix: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) record_types: bool,
    pub(crate) setup: bool,
    pub(crate) custom: bool,
    /// Whether its ids are those of another object with the same prefix.
    pub(crate) shared: bool,
    by_name: HashMap<String, usize>,
}

impl Object {
    /// Returns whether a search looks at its rows: not at those that only join others (`search()` is missing from the supported
    /// calls of such objects in the Object Reference).
    pub(crate) fn searchable(&self) -> bool {
        const JOINS: [&str; 6] = [
            "AccountContactRelation",
            "CampaignMember",
            "ContentDocumentLink",
            "EventRelation",
            "OpportunityContactRole",
            "PricebookEntry",
        ];
        self.name == "User" || !self.setup && !JOINS.contains(&self.name.as_str())
    }

    pub(crate) fn field(&self, name: &str) -> Option<usize> {
        self.by_name.get(&name.to_ascii_lowercase()).copied()
    }

    /// Finds the reference field of a relationship name.
    pub(crate) fn relationship(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| {
            matches!(&field.kind, Kind::Reference { relationship, .. } if relationship.eq_ignore_ascii_case(name))
        })
    }

    /// Takes out the fields that say who made and changed a row, and when.
    fn unsign(&mut self) {
        let kept = ["Id", "IsDeleted", "SystemModstamp"];
        let fields: Vec<Field> = self.fields.drain(..).filter(|field| kept.contains(&field.name.as_str())).collect();
        self.by_name.clear();
        for field in fields {
            self.push(field);
        }
    }

    pub(crate) fn push(&mut self, field: Field) {
        self.by_name.insert(field.name.to_ascii_lowercase(), self.fields.len());
        self.fields.push(field);
    }

    pub(crate) fn new(name: &str, prefix: &str, label: &str, plural: &str) -> Self {
        let mut object = Self {
            name: name.into(),
            label: label.into(),
            plural: plural.into(),
            prefix: prefix.into(),
            fields: Vec::new(),
            record_types: false,
            setup: false,
            custom: name.ends_with("__c"),
            shared: false,
            by_name: HashMap::new(),
        };
        let user = |relationship: &str| Kind::Reference {
            to: vec!["User".into()],
            relationship: relationship.into(),
            on_delete: OnDelete::Null,
        };
        for (name, kind) in [
            ("Id", Kind::Id),
            ("IsDeleted", Kind::Bool),
            ("CreatedDate", Kind::DateTime),
            ("CreatedById", user("CreatedBy")),
            ("LastModifiedDate", Kind::DateTime),
            ("LastModifiedById", user("LastModifiedBy")),
            ("SystemModstamp", Kind::DateTime),
        ] {
            object.push(Field {
                name: name.into(),
                label: words(name),
                kind,
                required: false,
                defaulted: true,
                createable: false,
                updateable: false,
                unique: false,
                case_sensitive: false,
                external: false,
                id_lookup: name == "Id",
                name_field: false,
                custom: false,
                system: true,
            });
        }
        object
    }
}

/// Splits `LikeThis` into words.
pub(crate) fn words(name: &str) -> String {
    let mut words = String::new();
    let mut last = ' ';
    for c in name.trim_end_matches("__c").chars() {
        if c == '_' {
            words.push(' ');
        } else {
            if c.is_ascii_uppercase() && last.is_ascii_lowercase() {
                words.push(' ');
            }
            words.push(c);
        }
        last = c;
    }
    words
}

/// Reads the standard objects.
pub(crate) fn standard() -> Vec<Object> {
    let sets: HashMap<&str, Vec<Option_>> = include_str!("picklists.txt")
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, values)| (name, values.split('|').map(option).collect()))
        .collect();
    let mut objects: Vec<Object> = Vec::new();
    for line in include_str!("objects.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if first == "object" {
            let (name, prefix, plural) =
                (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let mut object = Object::new(name, prefix, &self::words(name), plural);
            for flag in words {
                object.record_types |= flag == "recordtypes";
                object.setup |= flag == "setup";
                object.shared |= flag == "shared";
                if flag == "unsigned" {
                    object.unsign();
                }
            }
            objects.push(object);
        } else if let Some(object) = objects.last_mut() {
            object.push(field(first, words, &sets));
        }
    }
    objects
}

pub(crate) fn option(value: &str) -> Option_ {
    Option_ { value: value.to_owned(), label: value.to_owned(), active: true }
}

fn field<'l>(name: &str, mut words: impl Iterator<Item = &'l str>, sets: &HashMap<&str, Vec<Option_>>) -> Field {
    let kind = words.next().unwrap_or_default();
    let mut parts = kind.split(':');
    let (kind, argument) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let length = argument.parse().unwrap_or(0);
    let pair = || {
        let (precision, scale) = argument.split_once(',').unwrap_or((argument, "0"));
        (precision.parse().unwrap_or(18), scale.parse().unwrap_or(0))
    };
    let picklist = |restricted, multi| Kind::Picklist {
        values: sets.get(argument).cloned().unwrap_or_default(),
        restricted,
        multi,
    };
    let number = |name| {
        let (precision, scale) = pair();
        Kind::Number { precision, scale, name }
    };
    let kind = match kind {
        "textarea" => Kind::Area { length, html: false },
        "html" => Kind::Area { length, html: true },
        "email" => Kind::Email,
        "phone" => Kind::Phone,
        "url" => Kind::Url,
        "boolean" => Kind::Bool,
        "int" => Kind::Int { digits: length },
        "currency" => number("currency"),
        "percent" => number("percent"),
        "double" => number("double"),
        "date" => Kind::Date,
        "datetime" => Kind::DateTime,
        "picklist" => picklist(false, false),
        "rpicklist" => picklist(true, false),
        "multipicklist" => picklist(false, true),
        "base64" => Kind::Base64,
        "reference" => Kind::Reference {
            to: argument.split('/').map(str::to_owned).collect(),
            relationship: parts.next().unwrap_or_default().to_owned(),
            on_delete: match parts.next() {
                Some("cascade") => OnDelete::Cascade,
                Some("restrict") => OnDelete::Restrict,
                _ => OnDelete::Null,
            },
        },
        _ => Kind::Text { length },
    };
    let mut field = Field {
        name: name.into(),
        label: self::words(name),
        kind,
        required: false,
        defaulted: false,
        createable: true,
        updateable: true,
        unique: false,
        case_sensitive: false,
        external: false,
        id_lookup: false,
        name_field: false,
        custom: false,
        system: false,
    };
    for flag in words {
        match flag {
            "*" => field.required = true,
            "d" => field.defaulted = true,
            "ro" => (field.createable, field.updateable) = (false, false),
            "co" => field.updateable = false,
            "idlookup" => field.id_lookup = true,
            "name" => field.name_field = true,
            other => {
                if let Some(label) = other.strip_prefix("label=") {
                    field.label = label.replace('_', " ");
                }
            }
        }
    }
    field
}
