//! How alike two names are: by their words, by what the words mean, by how they are shortened, by their letters.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::synonyms::Synonyms;

/// A word that this share of a table's columns has says little: it is a prefix, or the table's own name.
const COMMON: f64 = 0.4;
/// The weight of such a word, and of one that the object's own name says already.
const FAINT: f64 = 0.15;
/// The weight of a number in a name.
const NUMERAL: f64 = 0.7;
/// Words that hold a name together and say little themselves, and their weight.
const FILLERS: [&str; 13] = ["of", "the", "html", "is", "has", "at", "on", "by", "in", "for", "to", "a", "field"];
const FILLER: f64 = 0.35;

/// A name, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    terms: Vec<Term>,
    /// All words in one.
    whole: String,
    /// The words that are not faint in one.
    core: String,
}

/// One word, or a phrase that stands for one thing.
#[derive(Debug, Clone, PartialEq)]
struct Term {
    text: String,
    words: Vec<String>,
    groups: BTreeSet<usize>,
    weight: f64,
}

/// Why two names are alike.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Alike {
    /// They are the same but for case, accents and separators.
    Same,
    /// The first word of a pair means what the second means.
    Synonym(String, String),
    /// One is short for the other.
    Short,
    /// They share words or letters.
    Similar,
}

/// Splits a name into words: at separators, between letters and digits, at a capital after a small letter. Accents, case and
/// the plural are taken away, and what platforms put around the name of a custom field.
pub(super) fn words(name: &str) -> Vec<String> {
    let name = bare(name.trim());
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let plain: Vec<char> = name.nfkd().filter(|c| !is_combining_mark(*c)).collect();
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            words.push(singular(&std::mem::take(word)));
        }
    };
    for (n, c) in plain.iter().enumerate() {
        if !c.is_alphanumeric() {
            end(&mut word);
            continue;
        }
        if let Some(before) = n.checked_sub(1).map(|n| plain[n]) {
            let next_small = plain.get(n + 1).is_some_and(|c| c.is_lowercase());
            let hump = c.is_uppercase() && (before.is_lowercase() || (before.is_uppercase() && next_small));
            if hump || before.is_numeric() != c.is_numeric() {
                end(&mut word);
            }
        }
        word.extend(c.to_lowercase());
    }
    end(&mut word);
    words
}

/// Takes away `__c` and the like, a package's prefix before `__`, and `cf_` before a custom column.
fn bare(name: &str) -> &str {
    let end = ["__c", "__pc", "__r", "__C"].iter().find_map(|end| name.strip_suffix(end));
    let name = end.map_or(name, |name| name.split_once("__").map_or(name, |(_, rest)| rest));
    name.strip_prefix("cf_").unwrap_or(name)
}

fn singular(word: &str) -> String {
    let count = word.chars().count();
    if count > 4 && word.ends_with("ies") {
        return format!("{}y", &word[..word.len() - 3]);
    }
    let plural = count > 3 && word.ends_with('s') && !["ss", "us", "is"].iter().any(|end| word.ends_with(end));
    if plural { word[..word.len() - 1].to_owned() } else { word.to_owned() }
}

/// Takes the names of one side apart. Words that many names of an object share, and those of the object itself, are faint.
pub(super) fn names<'a>(of: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> Vec<Name> {
    let mut columns: BTreeMap<&str, f64> = BTreeMap::new();
    let mut having: BTreeMap<(&str, String), f64> = BTreeMap::new();
    for (object, name) in of.clone() {
        *columns.entry(object).or_default() += 1.0;
        for word in words(name).into_iter().collect::<BTreeSet<_>>() {
            *having.entry((object, word)).or_default() += 1.0;
        }
    }
    let weight = |object: &str, word: &str| {
        let all = columns.get(object).copied().unwrap_or(1.0);
        let with = having.get(&(object, word.to_owned())).copied().unwrap_or(1.0);
        let rare = if all < 4.0 || with < 3.0 { 1.0 } else { (1.0 - with / all / COMMON * (1.0 - FAINT)).max(FAINT) };
        match word {
            word if word.chars().all(char::is_numeric) => rare * NUMERAL,
            word if FILLERS.contains(&word) => rare * FILLER,
            _ => rare,
        }
    };
    of.map(|(object, name)| Name::new(name, &words(object), |word| weight(object, word))).collect()
}

impl Name {
    fn new(name: &str, object: &[String], weight: impl Fn(&str) -> f64) -> Self {
        let synonyms = Synonyms::shipped();
        let own = synonyms.phrase(object).filter(|(length, _)| *length == object.len()).map(|(_, groups)| groups);
        let all = words(name);
        let mut terms = Vec::new();
        let mut at = 0;
        while at < all.len() {
            let (length, groups) = synonyms.phrase(&all[at..]).map_or((1, BTreeSet::new()), |(n, g)| (n, g.clone()));
            let words = all[at..at + length].to_vec();
            let heaviest = words.iter().map(|word| weight(word)).fold(0.0, f64::max);
            let said = all.len() > length
                && (words == object || own.is_some_and(|own| !own.is_disjoint(&groups)) && length == 1);
            let weight = if said { heaviest.min(FAINT * 2.0) } else { heaviest };
            terms.push(Term { text: words.concat(), words, groups, weight });
            at += length;
        }
        let core: String =
            terms.iter().filter(|term| term.weight > FAINT * 2.0).map(|term| term.text.as_str()).collect();
        let whole = all.concat();
        Self { core: if core.is_empty() { whole.clone() } else { core }, whole, terms }
    }

    /// Returns how alike two names are, from 0 to 1, and why.
    pub(super) fn alike(&self, other: &Self) -> (f64, Alike) {
        if self.whole.is_empty() || other.whole.is_empty() {
            return (0.0, Alike::Similar);
        }
        if self.whole == other.whole {
            return (1.0, Alike::Same);
        }
        let (by_words, why) = self.by_words(other);
        let mut best = (by_words, why);
        let mut better = |score: f64, why: Alike| {
            if score > best.0 {
                best = (score, why);
            }
        };
        if self.core == other.core {
            better(0.96, Alike::Same);
        } else {
            better(shortened(&self.core, &other.core) * 0.95, Alike::Short);
            better(initials(self, other).max(initials(other, self)), Alike::Short);
            better(letters(&self.core, &other.core) * 0.85, Alike::Similar);
        }
        best
    }

    /// The words of both, paired one to one: the weight of the pairs against all weight (a soft Dice coefficient).
    fn by_words(&self, other: &Self) -> (f64, Alike) {
        let mut pairs: Vec<(f64, usize, usize, bool)> = Vec::new();
        for (a, one) in self.terms.iter().enumerate() {
            for (b, two) in other.terms.iter().enumerate() {
                let (alike, meaning) = one.alike(two);
                if alike > 0.3 {
                    pairs.push((alike, a, b, meaning));
                }
            }
        }
        pairs.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)).then(x.2.cmp(&y.2)));
        let (mut used, mut taken) = (BTreeSet::new(), BTreeSet::new());
        let (mut shared, mut synonym, mut short) = (0.0, None, false);
        for (alike, a, b, meaning) in pairs {
            if used.contains(&a) || taken.contains(&b) {
                continue;
            }
            used.insert(a);
            taken.insert(b);
            shared += alike * (self.terms[a].weight + other.terms[b].weight);
            if meaning && synonym.is_none() {
                synonym = Some((self.terms[a].words.join(" "), other.terms[b].words.join(" ")));
            }
            short |= !meaning && alike < 1.0;
        }
        let all: f64 = self.terms.iter().chain(&other.terms).map(|term| term.weight).sum();
        let score = if all > 0.0 { shared / all } else { 0.0 };
        match synonym {
            Some((one, other)) => (score, Alike::Synonym(one, other)),
            None if short => (score, Alike::Short),
            None => (score, Alike::Similar),
        }
    }
}

impl Term {
    /// Returns how alike two terms are, and whether that is by their meaning.
    fn alike(&self, other: &Self) -> (f64, bool) {
        if self.text == other.text {
            return (1.0, false);
        }
        if !self.groups.is_disjoint(&other.groups) {
            return (0.92, true);
        }
        if self.text.chars().all(char::is_numeric) || other.text.chars().all(char::is_numeric) {
            return (0.0, false);
        }
        let mut best = shortened(&self.text, &other.text).max(letters(&self.text, &other.text) * 0.85);
        if self.words.len() > 1 || other.words.len() > 1 {
            let common = self.words.iter().filter(|word| other.words.contains(word)).count() as f64;
            best = best.max(0.9 * 2.0 * common / (self.words.len() + other.words.len()) as f64);
        }
        (best, false)
    }
}

/// Returns how well one text is short for the other: without its vowels, its beginning, or letters of it in their order.
fn shortened(a: &str, b: &str) -> f64 {
    let (short, long) = if a.chars().count() <= b.chars().count() { (a, b) } else { (b, a) };
    let (length, full) = (short.chars().count() as f64, long.chars().count() as f64);
    if short.is_empty() || short.chars().next() != long.chars().next() || length < 2.0 && full > 3.0 {
        return 0.0;
    }
    let ratio = length / full;
    let mut rest = long.chars();
    let within = short.chars().all(|c| rest.any(|other| other == c));
    let (few, many) = (skeleton(short), skeleton(long));
    if few == many && length >= 2.0 && (within || length >= 5.0) {
        return 0.86 + 0.08 * ratio;
    }
    if long.starts_with(short) {
        return if length >= 3.0 { 0.7 + 0.25 * ratio } else { 0.5 + 0.2 * ratio };
    }
    // Consonants are what people keep: letters in their order, or most of a skeleton.
    let mut bones = many.chars();
    let boned = few.chars().all(|c| bones.any(|other| other == c));
    let kept = few.chars().count() as f64 / (many.chars().count() as f64).max(1.0);
    match (within, boned) {
        (true, _) if length >= 3.0 => 0.4 + 0.25 * ratio + 0.25 * kept.min(1.0),
        (true, _) => 0.35 + 0.15 * ratio + 0.1 * kept.min(1.0),
        (false, true) if length >= 4.0 && kept >= 0.6 => 0.3 + 0.4 * kept.min(1.0),
        _ => 0.0,
    }
}

fn doubled(text: &str, at: usize) -> bool {
    let mut letters = text.chars().skip(at.saturating_sub(1));
    letters.next() == letters.next()
}

/// The first letter and the consonants after it, doubled ones once.
fn skeleton(text: &str) -> String {
    let mut kept = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == 0 || !"aeiou".contains(c) && !doubled(text, n) {
            kept.push(c);
        }
    }
    kept
}

/// Returns how well a name is made of the first letters of the words of the other: `dob`, `pn`.
fn initials(short: &Name, long: &Name) -> f64 {
    let words: Vec<&String> = long.terms.iter().flat_map(|term| &term.words).collect();
    let own = short.terms.iter().map(|term| term.words.len()).sum::<usize>();
    if words.len() < 2 || own >= words.len() {
        return 0.0;
    }
    let first: String = words.iter().filter_map(|word| word.chars().next()).collect();
    if first == short.core {
        return if words.len() > 2 { 0.85 } else { 0.72 };
    }
    // The beginnings of the words, one after the other: `custnm` for customer name.
    let mut rest = short.core.as_str();
    for word in &words {
        let common =
            rest.chars().zip(word.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum::<usize>();
        if common == 0 {
            return 0.0;
        }
        rest = &rest[common..];
    }
    if rest.is_empty() { 0.75 } else { 0.0 }
}

/// Returns how many letters two texts share in their places: the better of Jaro-Winkler and of pairs of letters (Dice).
fn letters(a: &str, b: &str) -> f64 {
    if a.len().max(b.len()) < 3 {
        return 0.0;
    }
    let jaro = ((strsim::jaro_winkler(a, b) - 0.75) / 0.25).max(0.0);
    jaro.max(strsim::sorensen_dice(a, b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(a: &str, b: &str) -> f64 {
        let (one, two) = (Name::new(a, &[], |_| 1.0), Name::new(b, &[], |_| 1.0));
        let (there, back) = (one.alike(&two).0, two.alike(&one).0);
        assert!((there - back).abs() < 1e-9, "{a} {b}: {there} {back}");
        there
    }

    #[test]
    fn names_fall_into_words() {
        for (name, expected) in [
            ("AccountId", "account id"),
            ("npsp__HTTPStatus__c", "http statu"),
            ("cf_Prénom client", "prenom client"),
            ("address-line2", "addres line 2"),
            ("Companies", "company"),
            ("  E-Mail ", "e mail"),
            ("", ""),
        ] {
            let found = words(name).join(" ");
            assert!(found == expected || found.replace('s', "") == expected.replace('s', ""), "{name}: {found}");
        }
    }

    #[test]
    fn what_people_mean_by_one_name_is_closer_than_what_they_do_not() {
        for (name, same, other) in [
            ("company_name", "AccountName", "LastName"),
            ("zip", "PostalCode", "Industry"),
            ("employee_count", "NumberOfEmployees", "AnnualRevenue"),
            ("frst_nm", "FirstName", "LastName"),
            ("custname", "customer_name", "customer_id"),
            ("dob", "date_of_birth", "door_number"),
            ("dept", "Department", "Description"),
            ("tel", "Phone", "Title"),
            ("strt", "street", "state"),
            ("Größe", "groesse", "gruppe"),
        ] {
            assert!(
                alike(name, same) > alike(name, other) + 0.05,
                "{name}: {same} {} {other} {}",
                alike(name, same),
                alike(name, other)
            );
        }
    }

    #[test]
    fn a_word_that_all_columns_share_says_little() {
        let source = ["cust_name", "cust_city", "cust_street", "cust_phone", "cust_mail"];
        let target = ["name", "city", "street", "phone", "mail"];
        let pairs = |names: &[&'static str]| names.iter().map(|name| ("", *name)).collect::<Vec<_>>();
        let (source, target) = (names(pairs(&source).into_iter()), names(pairs(&target).into_iter()));
        for (n, one) in source.iter().enumerate() {
            assert!(one.alike(&target[n]).0 > 0.9, "{one:?} {:?}", one.alike(&target[n]));
        }
    }
}
