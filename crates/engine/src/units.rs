//! Sizes as people write them, and as `/proc` prints them.

/// Formats bytes with a binary unit and three significant digits: `2 GiB`, `310 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value.fract() == 0.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        format!("{value:.digits$} {}", UNITS[unit])
    }
}

/// Formats bytes in MiB, rounded up: for a size that is promised to be enough.
pub fn bytes_at_least(n: u64) -> String {
    format!("{} MiB", n.div_ceil(1 << 20))
}

/// Reads a size such as `2GiB`, `512MiB`, `1.5 GB` or a plain number of bytes.
///
/// # Errors
/// A message with the text that was given and what is accepted.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1024.0 * 1024.0,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        _ => return Err(format!("'{text}' is not a size: write it like 2GiB, 512MiB or 1.5GB")),
    };
    let value: f64 = number
        .parse()
        .map_err(|_| format!("'{text}' is not a size: write it like 2GiB, 512MiB or 1.5GB"))?;
    let total = value * scale;
    if !(1.0..=9e15).contains(&total) {
        return Err(format!("'{text}' is not a size between 1 byte and 8 PiB"));
    }
    Ok(total as u64)
}

/// Reads a field such as `MemTotal`, in bytes, from a file of `/proc` with lines such as `MemTotal:  2048 kB`.
/// `None` if there is no such field or it is not in kB.
pub fn proc_bytes(file: &str, field: &str) -> Option<u64> {
    let value = file.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back() {
        assert_eq!(parse_bytes("2GiB").unwrap(), 2 << 30);
        assert_eq!(parse_bytes("1.5 GB").unwrap(), 1_500_000_000);
        assert_eq!(parse_bytes("4096").unwrap(), 4096);
        for bad in ["", "GiB", "-1GiB", "2 gigs", "0", "1e9TiB", "1.2.3M"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_written_short() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(2 << 30), "2 GiB");
        assert_eq!(bytes(325_000_000), "310 MiB");
        assert_eq!(bytes(1_700_000_000), "1.58 GiB");
        assert_eq!(bytes_at_least((1 << 20) + 1), "2 MiB");
    }

    #[test]
    fn fields_of_proc_are_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1536 kB\nThreads:\t1\n";
        assert_eq!(proc_bytes(status, "VmRSS"), Some(1536 * 1024));
        assert_eq!(proc_bytes(status, "Vm"), None, "a field has its whole name");
        assert_eq!(proc_bytes(status, "Threads"), None, "no bytes");
        assert_eq!(proc_bytes("MemTotal:       2048 kB\n", "MemTotal"), Some(2 << 20));
    }
}
