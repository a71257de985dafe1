//! Durations and sizes as people write them: a whole number and a unit.

use std::time::Duration;

const MS_PER_UNIT: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const BYTES_PER_UNIT: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Reads a duration: `500ms`, `5s`, `2m`, `1h`, `7d`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    quantity(text, &MS_PER_UNIT).map(Duration::from_millis)
}

/// Reads a size in bytes: `512B`, `64KiB`, `16MiB`, `1GB`.
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    quantity(text, &BYTES_PER_UNIT)
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

/// Writes a size in the largest binary unit that shows it whole.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    let binary = &BYTES_PER_UNIT[..4];
    let whole = binary
        .iter()
        .rev()
        .find(|(_, per)| bytes > 0 && bytes.is_multiple_of(*per));
    let (unit, per) = whole.copied().unwrap_or(("B", 1));
    format!("{}{unit}", bytes / per)
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '_')?;
    let (number, unit) = text.split_at(split);
    let (_, per) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    count(number)?.checked_mul(*per)
}

#[cfg(test)]
mod tests;
