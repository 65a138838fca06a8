//! How much speaks for two records standing for the same one.
//!
//! The method is that of Fellegi and Sunter ("A Theory for Record Linkage", 1969) with the weights by frequency of Winkler: each
//! field that both records have adds the logarithm of how much likelier it is to look so if they are the same than if they
//! are two. Agreement on a rare value counts for more than on a common one; what a record does not say counts nothing. The
//! weights were set by hand from how often people retype, move and marry, not fitted to any labelled set. All of it is whole
//! numbers, in sixteenths of a bit, so that every machine comes to the same result.

use super::{
    layout::{Slot, Who},
    profile::Profile,
};

/// Sixteenths of a bit.
pub(super) const BIT: i32 = 16;

/// The count of what never occurs.
const NEVER: u32 = 1;
/// How many values are counted together.
const WAITING: usize = 2_048;

/// How often values occur: a table of counts by hash, each above [`NEVER`]. Two values in one place count as one, which makes
/// both look more common.
#[derive(Debug)]
pub(super) struct Counts {
    table: Vec<u32>,
    /// Places that are still to be counted. They lie anywhere in the memory, which many at a time are sooner reached than one
    /// after the other.
    waiting: Vec<u32>,
}

impl Counts {
    pub(super) fn new() -> Self {
        // Memory that is given out as zeroes is not there before it is written to, and then page by page.
        Self { table: vec![NEVER; 1 << 21], waiting: Vec::with_capacity(WAITING) }
    }

    fn place(slot: Slot, value: &str) -> u32 {
        let mixed = crate::hash::hash(value) ^ (slot as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        u32::try_from(mixed >> 43).unwrap_or(0)
    }

    pub(super) fn add(&mut self, slot: Slot, value: &str) {
        self.waiting.push(Self::place(slot, value));
        if self.waiting.len() == WAITING {
            self.settle();
        }
    }

    /// Counts what waits. To be called before the first count is asked for.
    pub(super) fn settle(&mut self) {
        for place in self.waiting.drain(..) {
            if let Some(count) = self.table.get_mut(place as usize) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// Returns how many other records hold the value, besides the one that is asked for; at least 1.
    fn others(&self, slot: Slot, value: &str) -> u32 {
        self.table.get(Self::place(slot, value) as usize).map_or(1, |count| count.saturating_sub(NEVER + 1).max(1))
    }
}

/// Returns the logarithm to the base 2, in sixteenths.
pub(super) fn log2(number: u32) -> i32 {
    let number = number.max(1);
    let whole = number.ilog2();
    // Between two powers of two the curve is taken for straight: at most 0.09 off.
    let rest = (u64::from(number) << 4 >> whole) & 15;
    i32::try_from(whole).unwrap_or(0) * BIT + i32::try_from(rest).unwrap_or(0)
}

/// Compares pairs of records of one set.
#[derive(Debug)]
pub(super) struct Scorer<'a> {
    pub(super) who: Who,
    pub(super) records: u32,
    pub(super) counts: &'a Counts,
}

impl Scorer<'_> {
    /// Returns the weight from which on two records count as one: as many bits as it takes to single out one record among all,
    /// four more because few records have a double, and five more so that chance rarely makes one.
    pub(super) fn threshold(&self) -> i32 {
        (log2(self.records) + 9 * BIT).max(16 * BIT)
    }

    /// Returns whether the score of two records reaches the threshold. Most pairs that meet have little else in common, and that
    /// is seen before texts are compared letter by letter.
    pub(super) fn reaches(&self, threshold: i32, a: &Profile<'_>, b: &Profile<'_>) -> bool {
        // Likeness of texts may differ by which is asked first.
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        match self.who {
            Who::People => self.people(a, b, threshold),
            Who::Companies => self.companies(a, b, threshold),
        }
        .is_some_and(|score| score >= threshold)
    }

    /// Returns the score of two people; nothing if it is below the threshold for sure.
    fn people(&self, a: &Profile<'_>, b: &Profile<'_>, threshold: i32) -> Option<i32> {
        let (last, first) = (Slot::Name, Slot::First);
        let most = |slots: &[Slot], one: Slot, other: Slot| self.most_of_name(slots, a.get(one), b.get(other));
        let both = &[first, last];
        let crossable = a.get(first) == b.get(last) || a.get(last) == b.get(first);
        let mut names = most(&[last], last, last) + most(&[first], first, first);
        if crossable {
            names = names.max(most(both, last, first) + most(both, first, last) - BIT);
        }
        let mut score = self.shared(Slot::Email, a, b, 22, email_close, -24);
        score += self.shared(Slot::Phone, a, b, 16, |_, _| false, -16);
        score += self.equal(Slot::Employer, a, b, 5, -8);
        score += self.shared(Slot::Born, a, b, 12, day_close, -5 * BIT);
        score += self.shared(Slot::Number, a, b, 20, one_slip, -4 * BIT);
        let address = self.most_of_address(a, b).min(14 * BIT);
        if score + names + address < threshold {
            return None;
        }
        let straight = self.name(&[last], a.get(last), b.get(last)) + self.name(&[first], a.get(first), b.get(first));
        // A first name is rare among last names only because few are exchanged.
        let crossed = || self.name(both, a.get(last), b.get(first)) + self.name(both, a.get(first), b.get(last)) - BIT;
        score += if crossable { straight.max(crossed()) } else { straight };
        if score + address < threshold {
            return None;
        }
        Some(score + self.address(a, b).min(14 * BIT))
    }

    /// Returns the score of two companies; nothing if it is below the threshold for sure.
    fn companies(&self, a: &Profile<'_>, b: &Profile<'_>, threshold: i32) -> Option<i32> {
        let mut score = self.shared(Slot::Domain, a, b, 16, |_, _| false, -2 * BIT);
        score += self.shared(Slot::Phone, a, b, 10, |_, _| false, -16);
        score += self.shared(Slot::Email, a, b, 10, |_, _| false, -8);
        score += self.shared(Slot::Number, a, b, 16, one_slip, -4 * BIT);
        let (one, other) = (a.get(Slot::Name), b.get(Slot::Name));
        let name = if one.is_empty() || other.is_empty() { 0 } else { self.strong(Slot::Name, one, 12) };
        let address = self.most_of_address(a, b).min(10 * BIT);
        if score + name + address < threshold {
            return None;
        }
        score += self.company(one, other);
        if score + address < threshold {
            return None;
        }
        Some(score + self.address(a, b).min(10 * BIT))
    }

    /// The weight of agreeing on a value, which is smaller the more records hold it.
    fn rarity(&self, slot: Slot, value: &str) -> i32 {
        (log2(self.records) - log2(self.counts.others(slot, value))).max(0)
    }

    /// The same, of a value that is rare in the world, however few records there are here.
    fn strong(&self, slot: Slot, value: &str, bits: i32) -> i32 {
        (log2(self.records).max(bits * BIT) - log2(self.counts.others(slot, value))).max(0)
    }

    /// Compares values of which a record may have several: one in common is enough.
    fn shared(
        &self,
        slot: Slot,
        a: &Profile<'_>,
        b: &Profile<'_>,
        bits: i32,
        close: fn(&str, &str) -> bool,
        differ: i32,
    ) -> i32 {
        if a.get(slot).is_empty() || b.get(slot).is_empty() {
            return 0;
        }
        let mut best = None;
        for own in a.each(slot) {
            for other in b.each(slot) {
                if own == other {
                    best = best.max(Some(self.strong(slot, own, bits)));
                } else if close(own, other) {
                    best = best.max(Some(bits * BIT * 2 / 5));
                }
            }
        }
        best.unwrap_or(differ)
    }

    fn equal(&self, slot: Slot, a: &Profile<'_>, b: &Profile<'_>, most: i32, differ: i32) -> i32 {
        let (a, b) = (a.get(slot), b.get(slot));
        match (a.is_empty() || b.is_empty(), a == b) {
            (true, _) => 0,
            (false, true) => self.rarity(slot, a).min(most * BIT),
            (false, false) => differ,
        }
    }

    fn weight_of_name(&self, slots: &[Slot], a: &str, b: &str) -> i32 {
        let rarities = slots.iter().flat_map(|slot| [self.rarity(*slot, a), self.rarity(*slot, b)]);
        rarities.min().unwrap_or(0).min(12 * BIT)
    }

    /// Returns what [`Scorer::name`] comes to at most, without comparing letters.
    fn most_of_name(&self, slots: &[Slot], a: &str, b: &str) -> i32 {
        if a.is_empty() || b.is_empty() {
            return 0;
        }
        let weight = self.weight_of_name(slots, a, b);
        if a == b { weight } else { (weight * 2 / 3).max(BIT) }
    }

    fn name(&self, slots: &[Slot], a: &str, b: &str) -> i32 {
        if a.is_empty() || b.is_empty() {
            return 0;
        }
        let weight = || self.weight_of_name(slots, a, b);
        if a == b {
            return weight();
        }
        let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
        if short.chars().count() == 1 {
            return if long.starts_with(short) { BIT } else { -4 * BIT };
        }
        if long.split(' ').any(|word| word == short) {
            return weight() / 2;
        }
        let alike = strsim::jaro_winkler(a, b);
        if alike >= 0.92 {
            weight() * 2 / 3
        } else if alike >= 0.84 {
            weight() / 4
        } else if slots.contains(&Slot::First) {
            // Most pairs that share everything else are families.
            -12 * BIT
        } else {
            -4 * BIT
        }
    }

    /// Compares names of companies. Numbers in them tell branches and holdings apart.
    fn company(&self, a: &str, b: &str) -> i32 {
        if a.is_empty() || b.is_empty() {
            return 0;
        }
        let weight = || self.strong(Slot::Name, a, 12);
        if a == b {
            return weight();
        }
        if !numbers(a).eq(numbers(b)) {
            return -6 * BIT;
        }
        let (joined_a, joined_b) = (a.replace(' ', ""), b.replace(' ', ""));
        let alike = strsim::jaro_winkler(&joined_a, &joined_b);
        let overlap = overlap(a, b);
        if joined_a == joined_b || overlap == 100 {
            weight()
        } else if alike >= 0.93 && overlap >= 30 || overlap >= 75 {
            weight() * 2 / 3
        } else if overlap >= 50 || alike >= 0.9 {
            weight() / 4
        } else {
            -4 * BIT
        }
    }

    /// Returns what [`Scorer::address`] comes to at most, without comparing letters.
    fn most_of_address(&self, a: &Profile<'_>, b: &Profile<'_>) -> i32 {
        let most = |slot: Slot, bits: i32| {
            let (own, other) = (a.get(slot), b.get(slot));
            if own.is_empty() || other.is_empty() {
                return 0;
            }
            let weight = self.rarity(slot, own).min(bits * BIT);
            if own == other { weight } else { weight * 2 / 3 }
        };
        most(Slot::House, 4) + most(Slot::Street, 9) + most(Slot::City, 5) + most(Slot::Postal, 6)
    }

    fn address(&self, a: &Profile<'_>, b: &Profile<'_>) -> i32 {
        let mut score = self.equal(Slot::House, a, b, 4, -BIT);
        let (street_a, street_b) = (a.get(Slot::Street), b.get(Slot::Street));
        if !street_a.is_empty() && !street_b.is_empty() {
            let weight = || self.rarity(Slot::Street, street_a).min(9 * BIT);
            score += if street_a == street_b {
                weight()
            } else if (strsim::jaro_winkler(street_a, street_b) >= 0.9 || overlap(street_a, street_b) >= 60)
                && numbers(street_a).eq(numbers(street_b))
            {
                weight() * 2 / 3
            } else {
                -BIT
            };
        }
        let (city_a, city_b) = (a.get(Slot::City), b.get(Slot::City));
        if !city_a.is_empty() && !city_b.is_empty() {
            let weight = || self.rarity(Slot::City, city_a).min(5 * BIT);
            score += if city_a == city_b {
                weight()
            } else if strsim::jaro_winkler(city_a, city_b) >= 0.9 {
                weight() * 2 / 3
            } else {
                -BIT / 2
            };
        }
        let (code_a, code_b) = (a.get(Slot::Postal), b.get(Slot::Postal));
        if !code_a.is_empty() && !code_b.is_empty() {
            let weight = || self.rarity(Slot::Postal, code_a).min(6 * BIT);
            score += if code_a == code_b {
                weight()
            } else if one_slip(code_a, code_b) {
                weight() / 3
            } else {
                -BIT
            };
        }
        score
    }
}

/// Returns the words of a text that hold a digit.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| word.bytes().any(|byte| byte.is_ascii_digit()))
}

/// Returns how many words two texts share, in hundredths of the longer one.
fn overlap(a: &str, b: &str) -> usize {
    let (count_a, count_b) = (a.split(' ').count(), b.split(' ').count());
    let shared = a.split(' ').filter(|word| b.split(' ').any(|other| other == *word)).count();
    shared.min(count_b) * 100 / count_a.max(count_b).max(1)
}

/// Returns whether one slip of the hand makes one of the other: a character wrong, missing, too many, or two swapped.
fn one_slip(a: &str, b: &str) -> bool {
    if a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    // What is alike at both ends need not be looked at; what is left of one slip is two characters at most.
    let front = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let back = a.bytes().rev().zip(b.bytes().rev()).take_while(|(a, b)| a == b).count();
    front + back + 8 >= a.len().max(b.len()) && strsim::osa_distance(a, b) <= 1
}

/// Returns whether two days, as eight digits, are one slip apart or have day and month exchanged.
fn day_close(a: &str, b: &str) -> bool {
    if one_slip(a, b) {
        return true;
    }
    match (a.get(..4), a.get(4..6), a.get(6..8), b.get(..4), b.get(4..6), b.get(6..8)) {
        (Some(year), Some(month), Some(day), Some(other_year), Some(other_month), Some(other_day)) => {
            year == other_year && month == other_day && day == other_month
        }
        _ => false,
    }
}

/// Returns whether two addresses are one but for a slip in the letters before the `@`.
fn email_close(a: &str, b: &str) -> bool {
    if a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let (Some((local_a, domain_a)), Some((local_b, domain_b))) = (a.split_once('@'), b.split_once('@')) else {
        return false;
    };
    domain_a == domain_b && local_a.len() > 3 && digits(local_a).eq(digits(local_b)) && one_slip(local_a, local_b)
}

fn digits(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
    use proptest::prelude::*;

    use super::{
        super::{layout::SLOTS, profile::Packed},
        *,
    };

    #[test]
    fn logarithms_are_near_enough() {
        for (number, bits) in [(1, 0.0), (2, 1.0), (3, 1.585), (1_000, 9.966), (560_000, 19.095)] {
            assert!((f64::from(log2(number)) / f64::from(BIT) - bits).abs() < 0.15, "{number}");
        }
    }

    proptest! {
        #[test]
        fn a_look_at_what_is_possible_at_most_changes_nothing(
            slots in prop::collection::vec(("(ada|ada maria|adah|bob|b|)", "(ada|ada maria|adah|bob|b|12 st|12 street|)"), SLOTS),
            counted in prop::collection::vec("(ada|adah|bob|b|12 st)", 0..30),
            records in 2_u32..3_000_000,
            threshold in 0..600_i32,
        ) {
            let mut counts = Counts::new();
            for (n, value) in counted.iter().enumerate() {
                counts.add([Slot::Name, Slot::First, Slot::Street, Slot::City][n % 4], value);
            }
            counts.settle();
            let all = |of: fn(&(String, String)) -> &String| -> (String, Packed) {
                let texts: Vec<&String> = slots.iter().map(of).collect();
                let several = texts.iter().enumerate().map(|(n, text)| u16::from(text.contains(' ')) << n).sum();
                let lengths = std::array::from_fn(|n| texts[n].len() as u8);
                (texts.iter().map(|text| text.as_str()).collect(), Packed { start: 0, several, lengths })
            };
            let (one, other) = (all(|slot| &slot.0), all(|slot| &slot.1));
            let (one, other) = (Profile::unpack(&one.0, &one.1), Profile::unpack(&other.0, &other.1));
            let (a, b) = if one <= other { (one, other) } else { (other, one) };
            for who in [Who::People, Who::Companies] {
                let scorer = Scorer { who, records, counts: &counts };
                let score = match who {
                    Who::People => scorer.people(&a, &b, i32::MIN / 2),
                    Who::Companies => scorer.companies(&a, &b, i32::MIN / 2),
                };
                prop_assert_eq!(scorer.reaches(threshold, &one, &other), score.unwrap() >= threshold);
            }
        }
    }

    #[test]
    fn slips_are_told_from_other_values() {
        assert!(one_slip("3165", "3615") && one_slip("3165", "316") && !one_slip("3165", "1635"));
        assert!(
            day_close("19080419", "19081904")
                && day_close("19080419", "19080418")
                && !day_close("19080419", "19110521")
        );
        assert!(email_close("ada.byron@x.example", "ada.bryon@x.example"));
        assert!(!email_close("ada12@x.example", "ada13@x.example"));
        assert_eq!(overlap("main street 4", "street main 4"), 100);
    }
}
