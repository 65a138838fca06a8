//! What columns hold, in one vocabulary for both sides, and how well two such things agree.

use waybill_ledger::FieldKind;

use super::names::words;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Text of one line.
    Text,
    /// Text of several lines.
    LongText,
    /// An e-mail address.
    Email,
    /// A phone number.
    Phone,
    /// A web address.
    Url,
    /// True or false.
    Bool,
    /// A number.
    Number,
    /// An amount of money.
    Money,
    /// A percentage.
    Percent,
    /// A day.
    Date,
    /// A moment.
    Time,
    /// One of several options, or several of them.
    Choice,
    /// A reference to a row.
    Reference,
    /// Anything else.
    Other,
}

impl Kind {
    /// Returns the kind of a described field.
    pub fn of(kind: &FieldKind) -> Self {
        match kind {
            FieldKind::Id | FieldKind::Reference { .. } => Self::Reference,
            FieldKind::Text { multiline: true, .. } | FieldKind::Text { rich: true, .. } => Self::LongText,
            FieldKind::Text { .. } => Self::Text,
            FieldKind::Email => Self::Email,
            FieldKind::Phone => Self::Phone,
            FieldKind::Url => Self::Url,
            FieldKind::Bool => Self::Bool,
            FieldKind::Number { .. } => Self::Number,
            FieldKind::Money { .. } => Self::Money,
            FieldKind::Percent { .. } => Self::Percent,
            FieldKind::Date => Self::Date,
            FieldKind::Time => Self::Time,
            FieldKind::Choice { .. } | FieldKind::Choices { .. } => Self::Choice,
            FieldKind::Binary | FieldKind::Composite | FieldKind::Other { .. } => Self::Other,
        }
    }

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::LongText => "long text",
            Self::Email => "e-mail",
            Self::Phone => "phone",
            Self::Url => "web address",
            Self::Bool => "yes or no",
            Self::Number => "number",
            Self::Money => "money",
            Self::Percent => "percent",
            Self::Date => "date",
            Self::Time => "moment",
            Self::Choice => "choice",
            Self::Reference => "reference",
            Self::Other => "other",
        }
    }

    /// Guesses from a name alone, where neither a description nor a value says more.
    pub(super) fn guess(name: &str) -> Option<Self> {
        let words = words(name);
        let (first, last) = (words.first()?.as_str(), words.last()?.as_str());
        match last {
            "id" if words.len() > 1 => return Some(Self::Reference),
            "at" | "datetime" | "timestamp" => return Some(Self::Time),
            "date" | "on" if words.len() > 1 => return Some(Self::Date),
            "email" => return Some(Self::Email),
            "phone" | "fax" | "mobile" => return Some(Self::Phone),
            "url" | "website" => return Some(Self::Url),
            "amount" | "revenue" | "price" => return Some(Self::Money),
            "percent" => return Some(Self::Percent),
            "count" | "minute" | "second" => return Some(Self::Number),
            "html" | "description" | "body" => return Some(Self::LongText),
            _ => {}
        }
        (matches!(first, "is" | "has") && words.len() > 1).then_some(Self::Bool)
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Number | Self::Money | Self::Percent)
    }

    fn is_time(self) -> bool {
        matches!(self, Self::Date | Self::Time)
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::LongText | Self::Choice | Self::Email | Self::Phone | Self::Url)
    }

    /// Returns how well values of one kind fit the other, from -1 (never) over 0 (who knows) to 1 (the same).
    pub(super) fn agreement(self, other: Self) -> f64 {
        match (self.min(other), self.max(other)) {
            (a, b) if a == b => match a {
                Self::Text | Self::Other => 0.3,
                _ => 1.0,
            },
            (a, b) if a.is_number() && b.is_number() || a.is_time() && b.is_time() => 0.8,
            (Self::Text, Self::LongText) => 0.1,
            (Self::Text, Self::Choice | Self::Email | Self::Phone | Self::Url)
            | (Self::LongText | Self::Bool, Self::Choice) => 0.0,
            (Self::Text | Self::Phone, b) if b.is_number() => -0.3,
            (Self::Text, Self::Reference) => -0.2,
            (Self::Number, Self::Reference) => -0.7,
            (a, b) if b == Self::Other || a == Self::Other => -0.2,
            (a, b) if a.is_text() && b.is_text() => -0.6,
            _ => -1.0,
        }
    }
}
