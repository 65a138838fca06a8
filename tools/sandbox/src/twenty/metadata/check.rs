//! What names, options and defaults must look like.

use serde_json::Value as Json;

use super::Fault;
use crate::twenty::model::{Kind, Object, capital};
use crate::twenty::workspace::Workspace;

/// Names that the server keeps for itself.
const RESERVED: [&str; 49] = [
    "event",
    "events",
    "field",
    "fields",
    "link",
    "links",
    "type",
    "types",
    "object",
    "objects",
    "user",
    "users",
    "workspace",
    "workspaces",
    "role",
    "roles",
    "job",
    "jobs",
    "plan",
    "plans",
    "index",
    "relation",
    "relations",
    "search",
    "searches",
    "currency",
    "currencies",
    "address",
    "addresses",
    "aggregate",
    "fullNames",
    "featureFlag",
    "featureFlags",
    "appToken",
    "appTokens",
    "keyValuePair",
    "keyValuePairs",
    "userWorkspace",
    "userWorkspaces",
    "twoFactorMethod",
    "twoFactorMethods",
    "approvedAccessDomain",
    "approvedAccessDomains",
    "pageLayout",
    "pageLayouts",
    "billingCustomer",
    "billingSubscription",
    "billingPlan",
    "billingProduct",
];

const LONGEST: usize = 63;

/// Says what is wrong with a name, if anything is.
pub(crate) fn name(name: &str) -> Option<&'static str> {
    if name.len() > LONGEST {
        return Some("Name is too long");
    }
    let first = name.chars().next().is_some_and(|letter| letter.is_ascii_lowercase());
    if !first || !name.chars().all(|letter| letter.is_ascii_alphanumeric()) {
        return Some("Name is not valid: it must start with lowercase letter and contain only alphanumeric letters");
    }
    let reserved = RESERVED.contains(&name) || name.starts_with("pageLayout") || name.starts_with("billing");
    reserved.then_some("This name is reserved. Use a different name or the system will add \"Custom\" suffix.")
}

/// Returns whether text is made of words in capitals and digits, joined by single underscores.
pub(crate) fn is_option_value(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.chars().all(|letter| letter.is_ascii_uppercase() || letter.is_ascii_digit())
    };
    text.len() <= LONGEST
        && text.chars().next().is_some_and(|letter| letter.is_ascii_uppercase())
        && text.split('_').all(word)
}

/// Writes a label as a name: `Related tickets` becomes `relatedTickets`.
pub(crate) fn camel(label: &str) -> String {
    let words = label.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = String::new();
    for word in words {
        let word = word.to_owned();
        if name.is_empty() {
            let mut letters = word.chars();
            name.extend(letters.next().map(|first| first.to_ascii_lowercase()));
            name.extend(letters);
        } else {
            name.push_str(&capital(&word));
        }
    }
    name
}

impl Workspace {
    /// Refuses a name that a field of this object cannot have.
    pub(crate) fn check_field_name(&self, object: &Object, field: &str) -> Result<(), Fault> {
        let fault = |code, message: String| Err(Fault::field(code, message, Json::String(field.to_owned())));
        if let Some(message) = name(field) {
            return fault("INVALID_FIELD_INPUT", message.to_owned());
        }
        if self.catalog.named(object.number, field).is_some() {
            return fault(
                "NOT_AVAILABLE",
                format!("Name \"{field}\" is not available as it is already used by another field"),
            );
        }
        let column = self.catalog.fields_of(object.number).any(|known| {
            known.kind.parts().iter().any(|(part, _)| format!("{}{}", known.name, capital(part)) == field)
        });
        if column {
            return fault("RESERVED_KEYWORD", format!("Name \"{field}\" is reserved composite field name"));
        }
        Ok(())
    }
}

/// Says whether a type can be the key of a unique index.
pub(crate) fn can_be_unique(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Text
            | Kind::Number
            | Kind::Date
            | Kind::DateTime
            | Kind::Uuid
            | Kind::Select
            | Kind::Boolean
            | Kind::Rating
            | Kind::Emails
            | Kind::Links
            | Kind::Phones
    )
}

#[cfg(test)]
mod tests {
    use super::{camel, is_option_value, name};

    #[test]
    fn names_are_camel_case_and_not_reserved() {
        for sound in ["ticket", "ticket2", "subjectLine", "a"] {
            assert_eq!(name(sound), None, "{sound}");
        }
        for bad in ["Ticket", "my_ticket", "1a", "", "event", "addresses", "pageLayoutThing", &"x".repeat(64)] {
            assert!(name(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn option_values_are_words_in_capitals() {
        for sound in ["LOW", "A_B", "A1_2B", "A"] {
            assert!(is_option_value(sound), "{sound}");
        }
        for bad in ["low", "A B", "1A", "_A", "A_", "A__B", ""] {
            assert!(!is_option_value(bad), "{bad}");
        }
    }

    #[test]
    fn labels_become_names() {
        assert_eq!(camel("Tickets"), "tickets");
        assert_eq!(camel("Related tickets"), "relatedTickets");
        assert_eq!(camel("Point of Contact"), "pointOfContact");
    }
}
