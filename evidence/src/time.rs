//! Times as text for people.

/// Formats seconds since 1970 as `2026-11-21T12:00:00Z`, and as a number beyond the year 9999.
pub fn utc(unix_seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    if unix_seconds > LAST {
        return format!("{unix_seconds} s since 1970");
    }
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Counted in years that begin in March, so that the leap day is the last (400 years have 146,097 days).
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Parses a time of RFC 3339, such as `2026-11-21T12:00:00Z` or `2026-11-21T13:00:00.25+01:00`, to whole seconds since
/// 1970. `None` for any other text, for a day or time that does not exist, and before 1970.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let (time, zone) = time.split_at(time.find(['Z', 'z', '+', '-'])?);
    let ahead_s = match zone {
        "Z" | "z" => 0,
        _ => {
            let [hours, minutes] = numbers(&zone[1..], ':', [2, 2])?;
            let seconds = (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60)?;
            if zone.starts_with('-') { -seconds } else { seconds }
        }
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let is_leap_year = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let last_day = match month {
        2 => 28 + i64::from(is_leap_year),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_date = (1..=12).contains(&month) && (1..=last_day).contains(&day);
    let is_time = hour < 24 && minute < 60 && second < 60;
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    if !(is_date && is_time && is_fraction) {
        return None;
    }
    // A year begins in March, as in `utc`, so that the leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second - ahead_s).ok()
}

/// Parses numbers with the given counts of digits.
fn numbers<const N: usize>(text: &str, separator: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (unix_seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_210_096, "2024-02-29T12:34:56Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "253402300800 s since 1970"),
        ] {
            assert_eq!(utc(unix_seconds), text);
            let read = if text.ends_with('Z') { Some(unix_seconds) } else { None };
            assert_eq!(parse_rfc3339(text), read, "{text}");
        }
    }

    #[test]
    fn rfc_3339_times_are_parsed_strictly() {
        for text in ["2024-02-29T12:34:56Z", "2024-02-29t12:34:56.999z", "2024-03-01T00:04:56+11:30"] {
            assert_eq!(parse_rfc3339(text), Some(1_709_210_096), "{text}");
        }
        assert_eq!(parse_rfc3339("2024-02-29T10:34:56-02:00"), Some(1_709_210_096));
        for bad in [
            "",
            "now",
            "2024-02-29",
            "2024-02-29T12:34:56",
            "2024-02-29 12:34:56Z",
            "2024-02-29T12:34Z",
            "2024-02-29T12:34:56.Z",
            "2024-02-29T12:34:56Zulu",
            "2024-02-29T12:34:56+2",
            "2024-02-29T12:34:56+24:00",
            "2024-02-29T24:00:00Z",
            "2024-02-29T12:60:00Z",
            "2024-02-29T12:34:60Z",
            "2023-02-29T12:34:56Z",
            "2100-02-29T12:34:56Z",
            "2024-04-31T12:34:56Z",
            "2024-13-01T12:34:56Z",
            "2024-00-01T12:34:56Z",
            "2024-01-00T12:34:56Z",
            "24-02-29T12:34:56Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
