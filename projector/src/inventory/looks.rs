//! What a value looks like, by itself.

use rust_decimal::Decimal;
use waybill_ledger::ValueRef;

use super::EXAMPLE_LENGTH;

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    Text,
    Email,
    Url,
    Phone,
    Number,
    Date,
    Time,
    Bool,
    List,
    Composite,
}

impl Looks {
    pub(super) const ALL: [Self; 10] = [
        Self::Text,
        Self::Email,
        Self::Url,
        Self::Phone,
        Self::Number,
        Self::Date,
        Self::Time,
        Self::Bool,
        Self::List,
        Self::Composite,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Email => "email",
            Self::Url => "url",
            Self::Phone => "phone",
            Self::Number => "number",
            Self::Date => "date",
            Self::Time => "time",
            Self::Bool => "bool",
            Self::List => "list",
            Self::Composite => "composite",
        }
    }
}

/// Returns how many characters a number has when it is shown.
pub(super) fn length_of(number: Decimal) -> usize {
    let figures = number.mantissa().unsigned_abs().checked_ilog10().map_or(1, |power| power as usize + 1);
    let sign = usize::from(number.is_sign_negative());
    match number.scale() as usize {
        0 => sign + figures,
        scale => sign + figures.max(scale + 1) + 1,
    }
}

pub(super) fn looks_of(value: ValueRef<'_>) -> Looks {
    match value {
        ValueRef::Text(text) => looks_of_text(text.trim()),
        ValueRef::Bool(_) => Looks::Bool,
        ValueRef::Number(_) => Looks::Number,
        ValueRef::Date(_) => Looks::Date,
        ValueRef::Time(_) => Looks::Time,
        ValueRef::List(_) => Looks::List,
        ValueRef::Map(_) => Looks::Composite,
    }
}

/// Returns whether a text holds nothing but space.
pub(super) fn is_blank(text: &str) -> bool {
    text.bytes().next().is_none_or(|first| !first.is_ascii_graphic() && text.trim_start().is_empty())
}

/// What a byte of a text tells about it, as bits.
const DIGIT: u8 = 1;
const PHONE_MARK: u8 = 2;
const SPACE: u8 = 4;
const AT: u8 = 8;
const OTHER: u8 = 16;
const WIDE: u8 = 32;

const CLASSES: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let mut place = 0;
    while place < classes.len() {
        #[expect(clippy::cast_possible_truncation, reason = "there are as many places as bytes")]
        let byte = place as u8;
        classes[place] = match byte {
            b'0'..=b'9' => DIGIT,
            b'+' | b'-' | b'(' | b')' | b'/' | b'.' | b'x' => PHONE_MARK,
            b' ' => SPACE,
            b'\t'..=b'\r' => SPACE | OTHER,
            b'@' => AT,
            128.. => OTHER | WIDE,
            _ => OTHER,
        };
        place += 1;
    }
    classes
};

/// How many bytes are looked at together.
const STRIDE: usize = 16;

fn looks_of_text(text: &str) -> Looks {
    let bytes = text.as_bytes();
    let Some(first) = bytes.first() else { return Looks::Text };
    // A number of a phone may have spaces, nothing else that is told from texts has.
    let spaced = matches!(first, b'+' | b'(' | b'0');
    let mut seen = 0;
    for stride in bytes.chunks(STRIDE) {
        seen |= stride.iter().fold(0, |seen, byte| seen | CLASSES[usize::from(*byte)]);
        if seen & SPACE != 0 && !spaced {
            return Looks::Text;
        }
    }
    if seen & WIDE != 0 && !spaced && text.contains(char::is_whitespace) {
        return Looks::Text;
    }
    if seen & AT != 0
        && let Some((name, host)) = text.split_once('@')
        && !name.is_empty()
        && host.contains('.')
        && !host.contains('@')
    {
        return Looks::Email;
    }
    if text.starts_with("http://") || text.starts_with("https://") || text.starts_with("www.") {
        return Looks::Url;
    }
    let numeric = matches!(first, b'1'..=b'9' | b'-' | b'.') && seen & DIGIT != 0;
    if numeric && (seen == DIGIT || text.parse::<f64>().is_ok_and(f64::is_finite)) {
        return Looks::Number;
    }
    if seen & DIGIT == 0 || seen & (AT | OTHER) != 0 {
        return Looks::Text;
    }
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    if (6..=20).contains(&digits) { Looks::Phone } else { Looks::Text }
}

/// Tells letters from digits and nothing else.
pub(super) fn masked(text: &str) -> String {
    let mask = |c: char| match c {
        c if c.is_ascii_digit() || c.is_numeric() => '9',
        c if c.is_uppercase() => 'X',
        c if c.is_alphabetic() => 'x',
        c if c.is_control() => ' ',
        c => c,
    };
    let mut masked: String = text.chars().take(EXAMPLE_LENGTH).map(mask).collect();
    if text.chars().nth(EXAMPLE_LENGTH).is_some() {
        masked.push('…');
    }
    masked
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn one_look_tells_what_several_did(text in "[0-9+.x() /-]{0,24}|[a-z0-9@. \\t]{0,12}|(https?://|www.)[a-z. ]{0,9}|[-0-9.e]{0,9}|[0-9\u{a0}é@.]{0,9}") {
            let several = |text: &str| {
                if text.contains(char::is_whitespace) && !text.starts_with(['+', '(', '0']) {
                    return Looks::Text;
                }
                let parts: Vec<&str> = text.split('@').collect();
                if let [name, host] = parts[..] && !name.is_empty() && host.contains('.') {
                    return Looks::Email;
                }
                if ["http://", "https://", "www."].iter().any(|start| text.starts_with(start)) {
                    return Looks::Url;
                }
                if text.parse::<f64>().is_ok_and(f64::is_finite) && !text.starts_with(['+', '0']) {
                    return Looks::Number;
                }
                let digits = text.chars().filter(char::is_ascii_digit).count();
                let other = text.chars().all(|c| c.is_ascii_digit() || "+-()/. x".contains(c));
                if other && (6..=20).contains(&digits) { Looks::Phone } else { Looks::Text }
            };
            prop_assert_eq!(looks_of_text(text.trim()), several(text.trim()));
            prop_assert_eq!(is_blank(&text), text.trim().is_empty());
        }

        #[test]
        fn a_number_is_as_long_as_it_is_shown(mantissa in any::<i64>(), digits in 0_u32..63, scale in 0_u32..28) {
            let number = Decimal::from_i128_with_scale(i128::from(mantissa >> digits), scale);
            prop_assert_eq!(length_of(number), number.to_string().len());
        }

        #[test]
        fn no_letter_and_no_digit_of_a_value_stays_in_an_example(text in "\\PC{0,60}") {
            for c in masked(&text).chars() {
                prop_assert!(!c.is_alphanumeric() || ['X', 'x', '9'].contains(&c), "{c}");
            }
        }
    }
}
