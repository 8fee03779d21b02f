//! Numbers as reports and progress lines print them: three significant digits, then the unit.
//!
//! JSON never passes through here: it keeps every digit. Sentences made of numbers are in
//! [`crate::report`].

/// Defines an enum whose variants each have a name for people, which its `label` returns.
macro_rules! labelled {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal,)+ }
    ) => {
        $(#[$attribute])*
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Returns the name for people.
            pub fn label(self) -> &'static str {
                match self { $($name::$variant => $label,)+ }
            }
        }
    };
}
pub(crate) use labelled;

/// Prints a time in milliseconds as µs, ms or s.
pub(crate) fn time(ms: f64) -> String {
    if ms > 0.0 && ms < 0.0995 {
        format!("{} µs", significant(ms * 1e3))
    } else if ms < 999.5 {
        format!("{} ms", significant(ms))
    } else {
        format!("{} s", significant(ms / 1e3))
    }
}

/// Prints a limit in milliseconds with the digits of the plan: `2 s`, not `2.00 s`.
pub(crate) fn time_limit(ms: f64) -> String {
    if ms < 1000.0 { format!("{ms} ms") } else { format!("{} s", ms / 1e3) }
}

/// Prints a rate, with k or M from a thousand or a million on.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate < 999.5 => significant(rate),
        rate if rate < 999.5e3 => format!("{}k", significant(rate / 1e3)),
        rate => format!("{}M", significant(rate / 1e6)),
    }
}

/// Prints bytes in MiB or GiB.
pub(crate) fn bytes(bytes: u64) -> String {
    let mib = bytes as f64 / (1u64 << 20) as f64;
    if mib < 1023.5 {
        format!("{} MiB", significant(mib))
    } else {
        format!("{} GiB", significant(mib / 1024.0))
    }
}

/// Prints bytes that may be negative, in KiB below 1 MiB.
pub(crate) fn signed_bytes(value: f64) -> String {
    let sign = if value < -0.5 { "-" } else { "" };
    let magnitude = value.abs();
    if magnitude < (1u64 << 20) as f64 {
        format!("{sign}{:.1} KiB", magnitude / 1024.0)
    } else {
        format!("{sign}{}", bytes(magnitude as u64))
    }
}

/// Prints a share of 1 in percent, to a tenth. Only the whole is printed as 100 %, and only zero as 0 %.
pub(crate) fn percent(share: f64) -> String {
    match share {
        share if share >= 1.0 - 1e-9 => "100 %".into(),
        share if share <= 1e-9 => "0 %".into(),
        share => format!("{:.1} %", (share * 100.0).clamp(0.1, 99.9)),
    }
}

/// Prints an upper bound on a share in percent, rounded up to a tenth, so that "at most" stays true.
pub(crate) fn percent_up(share: f64) -> String {
    tenths_of_percent((share * 1000.0 - ROUNDING_ERROR).ceil())
}

/// Prints a lower bound on a share, which may exceed 1, in percent, rounded down to a tenth, so that "at least"
/// stays true.
pub(crate) fn percent_down(share: f64) -> String {
    tenths_of_percent((share * 1000.0 + ROUNDING_ERROR).floor())
}

/// Error of the arithmetic on shares, in tenths of a percent.
const ROUNDING_ERROR: f64 = 1e-6;

fn tenths_of_percent(tenths: f64) -> String {
    // Zero rounded up is the negative zero, which would print as -0.
    let tenths = if tenths > 0.0 { tenths } else { 0.0 };
    let digits = usize::from(tenths % 10.0 != 0.0);
    format!("{:.digits$} %", tenths / 10.0)
}

/// Prints a limit on a share with the digits of the plan: `90 %`, not `90.0 %`.
pub(crate) fn percent_limit(share: f64) -> String {
    format!("{} %", (share * 100.0 * 1e6).round() / 1e6)
}

/// Prints the ratio of later to earlier as a signed change in percent.
pub(crate) fn change(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}

/// Prints a count with commas between thousands.
pub(crate) fn count(count: usize) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Prints a length in tokens; multiples of 1024 as K: 8192 is `8K`.
pub(crate) fn tokens(tokens: usize) -> String {
    if tokens >= 1024 && tokens.is_multiple_of(1024) {
        format!("{}K", tokens / 1024)
    } else {
        tokens.to_string()
    }
}

fn significant(value: f64) -> String {
    match value.abs() {
        value if value < 1e-9 => "0".into(),
        magnitude if magnitude < 9.995 => format!("{value:.2}"),
        magnitude if magnitude < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Prints seconds since 1970 as ISO 8601 in UTC.
pub(crate) fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 0000-03-01, so that the leap day is the last of its year; see Howard
    // Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_read_them() {
        assert_eq!(time(0.0), "0 ms");
        assert_eq!(time(0.00123), "1.23 µs");
        assert_eq!(time(0.0995), "0.10 ms");
        assert_eq!(time(4.2123), "4.21 ms");
        assert_eq!(time(999.4), "999 ms");
        assert_eq!(time(999.6), "1.00 s");
        assert_eq!(time(35_000.0), "35.0 s");
        assert_eq!(time_limit(2000.0), "2 s");
        assert_eq!(time_limit(250.0), "250 ms");
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(1_340_000.0), "1.34M");
        assert_eq!(rate(999.7), "1.00k");
        assert_eq!(bytes(1536 << 20), "1.50 GiB");
        assert_eq!(bytes(300 << 20), "300 MiB");
        assert_eq!(percent(0.99999), "99.9 %");
        assert_eq!(percent(1.0 - 1e-15), "100 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.9), "90.0 %");
        assert_eq!((percent_limit(0.9), percent_limit(0.555)), ("90 %".into(), "55.5 %".into()));
        assert_eq!(percent(0.0001), "0.1 %");
        let bounds = [0.0, 0.0301, 0.25, 0.9999, 1.0, 1.5]
            .map(|share| (percent_down(share), percent_up(share)));
        let expected = [
            ("0", "0"),
            ("3", "3.1"),
            ("25", "25"),
            ("99.9", "100"),
            ("100", "100"),
            ("150", "150"),
        ];
        assert_eq!(bounds, expected.map(|(low, high)| (format!("{low} %"), format!("{high} %"))));
        assert_eq!(change(1.021), "+2.1 %");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(123), "123");
        assert_eq!(
            (tokens(8192), tokens(512), tokens(1025)),
            ("8K".into(), "512".into(), "1025".into())
        );
    }

    #[test]
    fn dates_around_leap_days() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), expected);
        }
    }
}
