//! Faults that happen a given number of times, or once after a given number of calls.

/// Takes one of what is left.
pub(crate) fn take(count: &mut u32) -> bool {
    let left = *count > 0;
    *count = count.saturating_sub(1);
    left
}

/// Counts a call; the one at zero is it.
pub(crate) fn count_down(left: &mut Option<u32>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(count) => {
            *count -= 1;
            false
        }
        None => false,
    }
}
