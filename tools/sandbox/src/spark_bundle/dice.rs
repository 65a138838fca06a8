//! Chance that is always the same: every row throws its own dice, so that rows can refer to each other without being remembered.

use chrono::{DateTime, Duration, FixedOffset, NaiveDate, TimeZone, Utc};

/// A small generator (SplitMix64, Steele, Lea and Flood 2014), seeded by what it is thrown for.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// Returns the dice of row `index` of `what`.
    pub(super) fn new(seed: u64, what: &str, index: u64) -> Self {
        let mut state = seed ^ 0x5851_F42D_4C95_7F2D;
        for byte in what.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        let mut dice = Self(state ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        dice.next();
        dice
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `bound`; 0 if there is none.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        // The upper half of a product with a 64-bit number fits.
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Returns a number below `bound`, small ones more often: some companies are large.
    pub(super) fn skewed(&mut self, bound: u64) -> u64 {
        let first = self.below(bound);
        first.min(self.below(bound))
    }

    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        let index = self.below(from.len() as u64);
        from[usize::try_from(index).unwrap_or(0)]
    }

    /// Returns a moment in working life, between 2022 and the end of 2025.
    pub(super) fn moment(&mut self) -> DateTime<Utc> {
        let from = Utc.with_ymd_and_hms(2022, 1, 3, 6, 0, 0).single().unwrap_or_default();
        let minutes = self.below(1_430 * 24 * 60);
        from + Duration::minutes(i64::try_from(minutes).unwrap_or(0))
    }

    /// Returns a moment after `from`, at most `days` later and never after the export.
    pub(super) fn after(&mut self, from: DateTime<Utc>, days: u64) -> DateTime<Utc> {
        let minutes = self.between(1, days * 24 * 60);
        (from + Duration::minutes(i64::try_from(minutes).unwrap_or(0))).min(exported_at() - Duration::hours(1))
    }

    pub(super) fn day(&mut self) -> NaiveDate {
        self.moment().date_naive()
    }

    /// Writes a moment: as UTC when tidy, else in any of the forms that the convention allows.
    pub(super) fn stamp(&mut self, at: DateTime<Utc>, plain: bool) -> String {
        let offset = |hours: i32| FixedOffset::east_opt(hours * 3600).map(|zone| at.with_timezone(&zone));
        match if plain { 9 } else { self.below(10) } {
            0 | 1 => offset(1).map_or_else(String::new, |local| local.format("%Y-%m-%dT%H:%M:%S%:z").to_string()),
            2 => offset(-5).map_or_else(String::new, |local| local.format("%Y-%m-%dT%H:%M:%S%:z").to_string()),
            // Without offset: local to the account, whose zone is UTC+0 all year.
            3 => at.format("%Y-%m-%dT%H:%M:%S").to_string(),
            4 => at.format("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
            _ => at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }
    }
}

/// When every generated export was made.
pub(super) fn exported_at() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 15, 6, 0, 0).single().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_are_the_same_today_and_tomorrow() {
        let mut dice = Dice::new(1, "contacts", 7);
        let thrown: Vec<u64> = (0..4).map(|_| dice.below(1_000)).collect();
        let mut again = Dice::new(1, "contacts", 7);
        assert_eq!(thrown, (0..4).map(|_| again.below(1_000)).collect::<Vec<_>>());
        assert_ne!(Dice::new(1, "contacts", 8).next(), Dice::new(1, "contacts", 7).next());
        assert_ne!(Dice::new(2, "contacts", 7).next(), Dice::new(1, "contacts", 7).next());
        assert_eq!(dice.below(0), 0);
    }
}
