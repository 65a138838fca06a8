//! Texts brought into the form in which they are compared.

use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;

/// Appends a text as small letters and digits without accents, everything else one space. At most `most` bytes are added.
pub(crate) fn fold_into(text: &str, most: usize, out: &mut String) {
    if text.is_ascii() {
        fold_ascii(text, most, out);
        return;
    }
    let start = out.len();
    let mut gap = false;
    let mut push = |c: char| -> bool {
        if c.is_alphanumeric() {
            if gap && out.len() > start {
                out.push(' ');
            }
            gap = false;
            if out.len() + c.len_utf8() > start + most {
                return false;
            }
            out.push(c);
        } else if c != '\'' && c != '’' {
            gap = true;
        }
        true
    };
    if text.chars().all(|c| c < LATIN_END) {
        text.chars().all(|c| {
            if c.is_ascii() {
                push(c.to_ascii_lowercase())
            } else {
                LATIN.get(c as usize).is_some_and(|plain| plain.chars().all(&mut push))
            }
        });
    } else {
        text.nfkd().all(|c| plain(c).all(&mut push));
    }
}

/// Letters from here on are not in [`LATIN`]: the end of Latin Extended-A.
const LATIN_END: char = '\u{180}';

/// What becomes of each letter of the languages that are written in Latin. None of them changes with what stands beside it.
static LATIN: LazyLock<Vec<String>> =
    LazyLock::new(|| ('\0'..LATIN_END).map(|c| std::iter::once(c).nfkd().flat_map(plain).collect()).collect());

/// Returns a character of a decomposed text as small letters without accents: a mark is nothing.
fn plain(c: char) -> impl Iterator<Item = char> {
    let instead = match c {
        'ß' | 'ẞ' => "ss",
        'æ' | 'Æ' => "ae",
        'œ' | 'Œ' => "oe",
        'ø' | 'Ø' => "o",
        'ł' | 'Ł' => "l",
        'đ' | 'Đ' => "d",
        'ı' => "i",
        _ => "",
    };
    let own = instead.is_empty() && !unicode_normalization::char::is_combining_mark(c);
    instead.chars().chain(own.then(|| c.to_lowercase()).into_iter().flatten())
}

/// The same of a text that has nothing but ASCII, as most have.
fn fold_ascii(text: &str, most: usize, out: &mut String) {
    let start = out.len();
    let mut gap = false;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            if gap && out.len() > start {
                out.push(' ');
            }
            gap = false;
            if out.len() + 1 > start + most {
                return;
            }
            out.push(char::from(byte.to_ascii_lowercase()));
        } else if byte != b'\'' {
            gap = true;
        }
    }
}

/// Appends a text in small letters.
pub(crate) fn lower_into(text: &str, out: &mut String) {
    if text.is_ascii() {
        let start = out.len();
        out.push_str(text);
        out[start..].make_ascii_lowercase();
    } else {
        out.extend(text.chars().flat_map(char::to_lowercase));
    }
}

/// Returns a choice as people mean it: one width, one case, no surrounding and no repeated space.
pub(crate) fn meant(text: &str) -> String {
    let one_width: String = text.nfkc().collect();
    one_width.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Appends the last nine digits of a phone number, by which numbers with and without country code meet; what follows an `x`
/// is an extension. Fewer than six digits are no number.
pub(crate) fn phone_into(text: &str, out: &mut String) {
    let number = match text.find(['x', 'X']) {
        Some(at) => text.get(..at).unwrap_or(text),
        None => text,
    };
    let mut digits = [0_u8; 20];
    let mut count = 0;
    for byte in number.bytes().filter(u8::is_ascii_digit) {
        if count < digits.len() {
            digits[count] = byte;
            count += 1;
        }
    }
    if count < 6 {
        return;
    }
    out.extend(digits[count.saturating_sub(9)..count].iter().map(|digit| char::from(*digit)));
}

/// Appends an e-mail address in small letters, without the part after `+`. What is no address is left out.
pub(crate) fn email_into(text: &str, out: &mut String) {
    let text = text.trim();
    let bytes = text.as_bytes();
    let Some(at) = bytes.iter().position(|byte| *byte == b'@').filter(|_| text.len() <= 120) else { return };
    let local = bytes[..at].iter().position(|byte| *byte == b'+').unwrap_or(at);
    let (local, domain) = (&text[..local], &text[at + 1..]);
    let spaced = if text.is_ascii() {
        bytes.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0x0B)
    } else {
        text.contains(char::is_whitespace)
    };
    if local.is_empty() || spaced || !domain.as_bytes().contains(&b'.') {
        return;
    }
    lower_into(local, out);
    out.push('@');
    lower_into(domain, out);
}

/// Appends the host of a web address, in small letters and without `www.`.
pub(crate) fn host_into(text: &str, out: &mut String) {
    let text = text.trim();
    let rest = match text.find(':') {
        Some(at) if text[at..].starts_with("://") => &text[at + 3..],
        _ => text,
    };
    let host = rest.split(['/', '?', '#', ':']).next().unwrap_or(rest);
    let host = host.rsplit('@').next().unwrap_or(host);
    let bare = match host.get(..4) {
        Some(www) if www.eq_ignore_ascii_case("www.") => &host[4..],
        _ => host,
    };
    if bare.contains('.') && bare.len() <= 100 && !bare.contains(char::is_whitespace) {
        lower_into(bare.trim_end_matches('.'), out);
    }
}

/// Words that say which legal form a company has, not who it is.
const FORMS: &[&str] = &[
    "ltd",
    "limited",
    "llc",
    "inc",
    "incorporated",
    "corp",
    "corporation",
    "co",
    "company",
    "plc",
    "gmbh",
    "ag",
    "kg",
    "ohg",
    "ug",
    "se",
    "sa",
    "s a",
    "sarl",
    "sas",
    "spa",
    "srl",
    "bv",
    "nv",
    "ab",
    "as",
    "a s",
    "aps",
    "oy",
    "oyj",
    "kft",
    "sro",
    "pty",
    "pvt",
    "lp",
    "llp",
    "sons",
    "and",
    "the",
];

/// Appends the words of a company's folded name without those of legal forms, if others are left.
pub(crate) fn company_into(folded: &str, out: &mut String) {
    let start = out.len();
    let mut words = folded.split(' ').peekable();
    while let Some(word) = words.next() {
        let pair = words.peek().is_some_and(|next| matches!((word, *next), ("a", "s") | ("s", "a")));
        if pair {
            words.next();
            continue;
        }
        if !FORMS.contains(&word) {
            if out.len() > start {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
    if out.len() == start {
        out.push_str(folded);
    }
}

/// Returns how a name sounds: American Soundex (National Archives, "The Soundex Indexing System") of its first word; of a
/// name in other letters, its first four.
pub(crate) fn sound(name: &str) -> [u8; 4] {
    let end = name.bytes().position(|byte| byte == b' ').unwrap_or(name.len());
    let word = name.get(..end).unwrap_or(name);
    let mut code = [b'0'; 4];
    if !word.is_ascii() {
        for (place, byte) in code.iter_mut().zip(crate::hash::hash(word).to_le_bytes()) {
            *place = byte;
        }
        return code;
    }
    let class = |byte: u8| match byte {
        b'b' | b'f' | b'p' | b'v' => b'1',
        b'c' | b'g' | b'j' | b'k' | b'q' | b's' | b'x' | b'z' => b'2',
        b'd' | b't' => b'3',
        b'l' => b'4',
        b'm' | b'n' => b'5',
        b'r' => b'6',
        b'h' | b'w' => b'-',
        _ => b'0',
    };
    let mut bytes = word.bytes();
    let Some(first) = bytes.next() else { return code };
    code[0] = first;
    let (mut at, mut last) = (1, class(first));
    for byte in bytes {
        let own = class(byte);
        if own == b'-' {
            continue;
        }
        if own != b'0' && own != last {
            code[at] = own;
            at += 1;
            if at == code.len() {
                break;
            }
        }
        last = own;
    }
    code
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(by: impl Fn(&str, &mut String), text: &str) -> String {
        let mut out = String::new();
        by(text, &mut out);
        out
    }

    #[test]
    fn names_meet_whatever_their_accents() {
        let fold = |text: &str| made(|text, out| fold_into(text, 60, out), text);
        assert_eq!(fold("  Jörg-Peter  O'Brien "), "jorg peter obrien");
        assert_eq!(fold("Schmidt-Weiß"), "schmidt weiss");
        assert_eq!(fold("Søren Łukasz"), "soren lukasz");
        assert_eq!(fold("ＡＣＭＥ　Ｌｔｄ"), "acme ltd");
        assert_eq!(made(|text, out| fold_into(text, 4, out), "abcdef"), "abcd");
    }

    #[test]
    fn a_text_folds_alike_whichever_way_it_takes() {
        for text in ["", "  a ", "Ab-C d'E  9", "it's", "--x--"] {
            // One character that folds to nothing sends it the longer way.
            let long = format!("{text}\u{301}");
            for most in [2, 3, 60] {
                let fold = |text: &str| made(|text, out| fold_into(text, most, out), text);
                assert_eq!(fold(text), fold(&long), "{text:?}, {most}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_letter_of_the_table_folds_as_any_other(text in "[\u{0}-\u{17f}]{0,8}", most in 1_usize..12) {
            // A Greek letter sends it the longer way; it stands apart, and behind all that matters.
            let (mut short, mut long) = (String::new(), String::new());
            fold_into(&text, most, &mut short);
            fold_into(&format!("{text} ω"), most, &mut long);
            prop_assert_eq!(short.trim_end(), long.trim_end_matches('ω').trim_end());
        }
    }

    #[test]
    fn phones_addresses_and_hosts_meet() {
        assert_eq!(made(phone_into, "+45 12 34 56 78"), made(phone_into, "004512345678"));
        assert_eq!(made(phone_into, "(030) 123456 x77"), "030123456");
        assert_eq!(made(phone_into, "12345"), "");
        assert_eq!(made(email_into, " Ada+News@Example.COM "), "ada@example.com");
        assert_eq!(made(email_into, "not an address"), "");
        assert_eq!(made(host_into, "https://www.Acme.example/about?x"), "acme.example");
        assert_eq!(made(host_into, "acme.example"), "acme.example");
    }

    #[test]
    fn companies_lose_their_legal_form_and_nothing_else() {
        assert_eq!(made(company_into, "acme bakery a s"), "acme bakery");
        assert_eq!(made(company_into, "the company"), "the company");
        assert_eq!(made(company_into, "west gmbh co kg"), "west");
    }

    #[test]
    fn sounds_are_those_of_the_national_archives() {
        for (name, code) in [
            ("washington", "w252"),
            ("lee", "l000"),
            ("gutierrez", "g362"),
            ("pfister", "p236"),
            ("jackson", "j250"),
            ("tymczak", "t522"),
            ("ashcraft", "a261"),
        ] {
            assert_eq!(std::str::from_utf8(&sound(name)).unwrap_or_default(), code, "{name}");
        }
    }

    #[test]
    fn choices_are_told_by_what_is_meant() {
        assert_eq!(meant(" Needs  Analysis "), meant("needs analysis"));
        assert_eq!(meant("Ａ級"), meant("a級"));
        assert_ne!(meant("open"), meant("opened"));
    }
}
