//! Days and moments as exports write them. What can be read in two ways is not read at all.

use chrono::{DateTime, Duration, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound, TimeZone, Utc};
use chrono_tz::Tz;
use serde::Deserialize;

/// What comes first in a date written with figures, such as `03/04/2024`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DateOrder {
    /// The day.
    Dmy,
    /// The month.
    Mdy,
}

/// Reads a day.
///
/// Years have four digits; a date with two is not read, because the century would be a guess.
pub(crate) fn date(text: &str, format: Option<&str>, order: Option<DateOrder>, serial: bool) -> Option<NaiveDate> {
    if let Some(format) = format {
        return NaiveDate::parse_from_str(text, format).ok();
    }
    if let Some(day) = plain_day(text.as_bytes()).or_else(|| figures(text, order)) {
        return Some(day);
    }
    if serial && let Some(moment) = spreadsheet(text) {
        return (moment.time() == NaiveTime::MIN).then(|| moment.date());
    }
    // A date-time at midnight is a day that a program has lengthened.
    let (day, rest) = text.split_once(['T', ' '])?;
    let midnight = matches!(
        rest.trim_end_matches('Z'),
        "00:00"
            | "00:00:00"
            | "00:00:00.0"
            | "00:00:00.000"
            | "00:00:00.000000"
            | "00:00:00.000+0000"
            | "00:00:00+00:00"
    );
    if midnight { figures(day, order) } else { None }
}

/// Reads a moment, to the microsecond. A time without offset is local to `zone`; without a zone it is not read, nor is a local
/// time that occurs twice or never.
pub(crate) fn time(
    text: &str,
    format: Option<&str>,
    order: Option<DateOrder>,
    zone: Option<Tz>,
    serial: bool,
) -> Option<DateTime<Utc>> {
    match format {
        Some("epoch_ms") => return text.parse().ok().and_then(DateTime::from_timestamp_millis),
        Some("epoch_s") => return text.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        Some(format) => {
            return DateTime::parse_from_str(text, format)
                .map(|moment| moment.to_utc())
                .ok()
                .or_else(|| NaiveDateTime::parse_from_str(text, format).ok().and_then(|local| settle(local, zone)));
        }
        None => {}
    }
    match plain_moment(text.as_bytes()) {
        Some(Plain::Moment(moment)) => return Some(moment),
        Some(Plain::Local(local)) => return settle(local, zone),
        None => {}
    }
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.to_utc().trunc_subsecs(6));
    }
    if let Some(day) = figures(text, order) {
        return settle(day.and_time(NaiveTime::MIN), zone);
    }
    if serial && let Some(local) = spreadsheet(text) {
        return settle(local, zone);
    }
    let (day, rest) = text.split_once(['T', ' '])?;
    let day = figures(day, order)?;
    let rest = rest.trim();
    if let Some(clock) = rest.strip_suffix('Z') {
        return Some(day.and_time(clock_time(clock)?).and_utc());
    }
    if let Some(at) = rest.rfind(['+', '-']) {
        let (clock, offset) = rest.split_at(at);
        return Some((day.and_time(clock_time(clock.trim_end())?) - self::offset(offset)?).and_utc());
    }
    settle(day.and_time(clock_time(rest)?), zone)
}

/// Reads this many figures, and nothing else, from the front of a text; returns the rest.
#[inline]
fn take(text: &[u8], count: usize) -> Option<(u32, &[u8])> {
    let (figures, rest) = text.split_at_checked(count)?;
    let sum = |number, figure: &u8| figure.is_ascii_digit().then(|| number * 10 + u32::from(figure - b'0'));
    Some((figures.iter().try_fold(0, sum)?, rest))
}

/// Steps over a mark at the front of a text.
#[inline]
fn past(text: &[u8], mark: u8) -> Option<&[u8]> {
    text.strip_prefix(&[mark])
}

/// Reads a day like `2024-11-10` from the front of a text; returns the rest.
fn day_of(text: &[u8]) -> Option<(NaiveDate, &[u8])> {
    let (year, rest) = take(text, 4)?;
    let (month, rest) = take(past(rest, b'-')?, 2)?;
    let (day, rest) = take(past(rest, b'-')?, 2)?;
    Some((NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?, rest))
}

/// Reads `2024-11-10` and nothing else.
fn plain_day(text: &[u8]) -> Option<NaiveDate> {
    day_of(text).filter(|(_, rest)| rest.is_empty()).map(|(day, _)| day)
}

/// What a text says that is written as most programs write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plain {
    Moment(DateTime<Utc>),
    /// By the clock of a place that the text does not name.
    Local(NaiveDateTime),
}

/// Reads `2024-11-10T13:05:09Z`, with a fraction of a second, and with an offset or nothing at its end: how most programs write a
/// moment. What it does not read may be a moment all the same.
fn plain_moment(text: &[u8]) -> Option<Plain> {
    let (day, rest) = day_of(text)?;
    let (hour, rest) = take(past(rest, b'T')?, 2)?;
    let (minute, rest) = take(past(rest, b':')?, 2)?;
    let (second, rest) = take(past(rest, b':')?, 2)?;
    let (micros, zone) = match rest {
        [b'.', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return None;
            }
            // What is finer than a microsecond is cut off.
            let kept = digits.min(6);
            let scale = 10_u32.pow(u32::try_from(6 - kept).ok()?);
            (take(rest, kept)?.0 * scale, &rest[digits..])
        }
        rest => (0, rest),
    };
    // A leap second is for the longer way.
    let local = day.and_hms_micro_opt(hour, minute, second, micros)?;
    let offset = match zone {
        b"" => return Some(Plain::Local(local)),
        b"Z" => return Some(Plain::Moment(local.and_utc())),
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hours, rest) = take(rest, 2)?;
            let (minutes, rest) = take(past(rest, b':')?, 2)?;
            if hours > 23 || minutes > 59 || !rest.is_empty() {
                return None;
            }
            let seconds = i64::from(hours * 60 + minutes) * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    local.and_utc().checked_sub_signed(Duration::seconds(offset)).map(Plain::Moment)
}

/// What a date shows about the order of its figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figures {
    /// Its form leaves no question, or it is no date.
    Plain,
    /// It needs an order, and only this one fits.
    Only(DateOrder),
    /// It can be read in two ways.
    TwoWays,
}

/// Returns whether the order of day and month must be known to read `text`.
pub(crate) fn figures_of(text: &str) -> Figures {
    needs_order(text).unwrap_or(Figures::Plain)
}

fn needs_order(text: &str) -> Option<Figures> {
    let day = text.trim().split(['T', ' ']).next()?;
    let parts: Vec<&str> = day.split(['/', '.', '-']).collect();
    let [first, second, year] = parts[..] else { return None };
    if year.len() != 4 {
        return None;
    }
    let (first, second): (u32, u32) = (small(first)?, small(second)?);
    year.parse::<u32>().ok()?;
    Some(match (first > 12, second > 12) {
        (true, false) => Figures::Only(DateOrder::Dmy),
        (false, true) => Figures::Only(DateOrder::Mdy),
        _ => Figures::TwoWays,
    })
}

fn small(text: &str) -> Option<u32> {
    (matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Reads `2024-11-10`, `2024/11/10`, `20241110`, and with a declared order also `10.11.2024`.
fn figures(text: &str, order: Option<DateOrder>) -> Option<NaiveDate> {
    if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return NaiveDate::parse_from_str(text, "%Y%m%d").ok();
    }
    let mut parts = text.split(['-', '/', '.']);
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let full = |year: &str| -> Option<i32> {
        (year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit())).then(|| year.parse().ok())?
    };
    if let Some(year) = full(first) {
        return NaiveDate::from_ymd_opt(year, small(second)?, small(third)?);
    }
    let year = full(third)?;
    match order? {
        DateOrder::Dmy => NaiveDate::from_ymd_opt(year, small(second)?, small(first)?),
        DateOrder::Mdy => NaiveDate::from_ymd_opt(year, small(first)?, small(second)?),
    }
}

/// Reads `13:05`, `13:05:09`, `13:05:09.123456`, `01:05 PM`.
fn clock_time(text: &str) -> Option<NaiveTime> {
    let text = text.trim();
    for format in ["%H:%M:%S%.f", "%H:%M", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p"] {
        if let Ok(time) = NaiveTime::parse_from_str(text, format) {
            return Some(time.trunc_subsecs(6));
        }
    }
    None
}

/// Reads `+0530`, `+05:30`, `-08`.
fn offset(text: &str) -> Option<Duration> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text[1..].split(':').collect();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        2 => (digits.parse::<i64>().ok()?, 0),
        4 => (digits[..2].parse().ok()?, digits[2..].parse().ok()?),
        _ => return None,
    };
    (hours <= 18 && minutes < 60).then(|| Duration::minutes(sign * (hours * 60 + minutes)))
}

fn settle(local: NaiveDateTime, zone: Option<Tz>) -> Option<DateTime<Utc>> {
    match zone?.from_local_datetime(&local) {
        LocalResult::Single(moment) => Some(moment.to_utc().trunc_subsecs(6)),
        LocalResult::Ambiguous(..) | LocalResult::None => None,
    }
}

/// Reads a spreadsheet's day count: days since 1899-12-30, with the time of day as fraction. The first sixty days are refused:
/// the program counts a 29 February 1900 that never was.
fn spreadsheet(text: &str) -> Option<NaiveDateTime> {
    let (days, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(days) || !plain(fraction) || days.len() > 7 {
        return None;
    }
    let count: i64 = days.parse().ok()?;
    if !(61..=2_958_465).contains(&count) {
        return None;
    }
    // Eleven digits are finer than a microsecond of a day.
    let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(11).collect();
    let micros = (fraction.parse::<i128>().ok()? * 86_400_000_000 + 50_000_000_000) / 100_000_000_000;
    let day = NaiveDate::from_ymd_opt(1899, 12, 30)? + Duration::days(count);
    Some(day.and_time(NaiveTime::MIN) + Duration::microseconds(i64::try_from(micros).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn moment(text: &str, zone: Option<&str>) -> Option<String> {
        time(text, None, Some(DateOrder::Mdy), zone.map(|zone| zone.parse().unwrap()), false).map(|at| at.to_rfc3339())
    }

    #[test]
    fn the_forms_of_the_wild_are_read() {
        for text in [
            "2024-01-23T02:46:47Z",
            "2024-01-23T02:46:47.000+0000",
            "2024-01-23T08:16:47+05:30",
            "2024-01-23 02:46:47+00:00",
            "2024-01-22T18:46:47-08",
        ] {
            assert_eq!(moment(text, None).as_deref(), Some("2024-01-23T02:46:47+00:00"), "{text}");
        }
        assert_eq!(moment("2024-07-23 02:46", Some("Europe/Oslo")).as_deref(), Some("2024-07-23T00:46:00+00:00"));
        assert_eq!(moment("02/23/2026 08:55 PM", Some("UTC")).as_deref(), Some("2026-02-23T20:55:00+00:00"));
        assert_eq!(
            time("1700000000123", Some("epoch_ms"), None, None, false).unwrap().timestamp_millis(),
            1_700_000_000_123
        );
    }

    proptest! {
        #[test]
        fn the_short_way_to_a_moment_leads_where_the_long_one_does(
            text in "[12][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,10})?(Z|[+-][01][0-9]:[0-6][0-9])"
        ) {
            let long = DateTime::parse_from_rfc3339(&text).ok().map(|at| at.to_utc().trunc_subsecs(6));
            if let Some(short) = plain_moment(text.as_bytes()) {
                prop_assert_eq!(Some(short), long.map(Plain::Moment));
            }
            prop_assert_eq!(time(&text, None, None, None, false), long);
        }

        #[test]
        fn the_short_way_to_a_local_time_leads_where_the_long_one_does(
            text in "[12][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,10})?"
        ) {
            let (day, clock) = text.split_once('T').unwrap();
            if let Some(short) = plain_moment(text.as_bytes()) {
                let long = figures(day, None).zip(clock_time(clock)).map(|(day, clock)| Plain::Local(day.and_time(clock)));
                prop_assert_eq!(Some(short), long);
            }
        }

        #[test]
        fn the_short_way_to_a_day_leads_where_the_long_one_does(text in "[12][0-9]{3}-[01][0-9]-[0-3][0-9]") {
            prop_assert_eq!(plain_day(text.as_bytes()), figures(&text, None));
        }
    }

    #[test]
    fn a_guess_is_never_made() {
        assert_eq!(moment("2024-07-23 02:46", None), None, "no zone");
        assert_eq!(moment("2024-10-27 02:30", Some("Europe/Oslo")), None, "occurs twice");
        assert_eq!(moment("2024-03-31 02:30", Some("Europe/Oslo")), None, "never occurs");
        assert_eq!(date("03/04/2024", None, None, false), None, "no order");
        assert_eq!(date("29/09/24", None, Some(DateOrder::Dmy), false), None, "no century");
        assert_eq!(date("45631", None, None, false), None, "a number unless declared");
    }

    #[test]
    fn declared_orders_and_serials_are_read() {
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d);
        assert_eq!(date("29/09/2024", None, Some(DateOrder::Dmy), false), day(2024, 9, 29));
        assert_eq!(date("9/29/2024", None, Some(DateOrder::Mdy), false), day(2024, 9, 29));
        assert_eq!(date("13/13/2024", None, Some(DateOrder::Mdy), false), None);
        assert_eq!(date("45631", None, None, true), day(2024, 12, 5));
        assert_eq!(date("20240229", None, None, false), day(2024, 2, 29));
        assert_eq!(date("2024-02-30", None, None, false), None);
        assert_eq!(date("2024-02-29T00:00:00Z", None, None, false), day(2024, 2, 29));
        let noon = time("45631.5", None, None, Some(Tz::UTC), true).unwrap();
        assert_eq!(noon.to_rfc3339(), "2024-12-05T12:00:00+00:00");
    }

    #[test]
    fn the_order_of_figures_is_told_only_when_it_must_be() {
        assert_eq!(figures_of("29/09/2024"), Figures::Only(DateOrder::Dmy));
        assert_eq!(figures_of("9/29/2024 10:00"), Figures::Only(DateOrder::Mdy));
        assert_eq!(figures_of("03.04.2024"), Figures::TwoWays);
        assert_eq!(figures_of("2024-04-03"), Figures::Plain);
        assert_eq!(figures_of("1.2.3"), Figures::Plain);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_left(text in ".{0,40}") {
            for order in [None, Some(DateOrder::Dmy), Some(DateOrder::Mdy)] {
                let _ = date(&text, None, order, true);
                let _ = time(&text, None, order, Some(Tz::Europe__Oslo), true);
                let _ = figures_of(&text);
            }
        }

        #[test]
        fn what_is_written_in_rfc_3339_is_read_back(micros in 0i64..4_000_000_000_000_000) {
            let at = DateTime::from_timestamp_micros(micros).unwrap();
            prop_assert_eq!(time(&at.to_rfc3339(), None, None, None, false), Some(at));
        }
    }
}
