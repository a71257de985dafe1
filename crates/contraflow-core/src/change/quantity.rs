//! Durations and counts as people write them: a whole number, a unit.

use std::time::Duration;

const MS_PER_UNIT: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a duration: `500ms`, `5s`, `2m`, `1h`, `7d`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    let (number, unit) = text.split_at(split);
    let (_, per) = MS_PER_UNIT
        .iter()
        .find(|(name, _)| *name == unit.trim_start())?;
    count(number)?.checked_mul(*per).map(Duration::from_millis)
}

/// Reads a whole number without sign; `_` may separate digits.
#[must_use]
pub fn count(text: &str) -> Option<u64> {
    let starts = text.starts_with(|c: char| c.is_ascii_digit());
    let digits: String = text.chars().filter(|&c| c != '_').collect();
    (starts && digits.bytes().all(|b| b.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

/// Writes a duration in the largest unit that shows it whole.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let whole = MS_PER_UNIT
        .iter()
        .rev()
        .find(|(_, per)| ms > 0 && ms.is_multiple_of(*per));
    let (unit, per) = whole.copied().unwrap_or(("s", 1_000));
    format!("{}{unit}", ms / per)
}

#[cfg(test)]
mod tests;
