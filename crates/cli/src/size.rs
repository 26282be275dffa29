//! Sizes as people read them.

/// Bytes with a unit, three figures at least: `17.3 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be printed as 1024.0 is one of the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A size class's or a page's size: without a fraction where there is none.
pub fn exact(size: u64) -> String {
    if size >= 1 << 20 && size.is_multiple_of(1 << 20) {
        format!("{} MiB", size >> 20)
    } else if size >= 1 << 10 && size.is_multiple_of(1 << 10) {
        format!("{} KiB", size >> 10)
    } else if size < 10_000 {
        format!("{size} B")
    } else {
        bytes(size)
    }
}

/// A share of a whole, in percent; of nothing it is none.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".into();
    }
    let share = part as f64 * 100.0 / whole as f64;
    match part {
        0 => "0 %".into(),
        _ if share < 1.0 => "<1 %".into(),
        _ if part < whole => format!("{:.0} %", share.min(99.0)),
        _ => format!("{share:.0} %"),
    }
}

/// Text of another process on one line, whatever is in it.
pub fn line(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if c.is_control()
            // Without width, of another direction, or the end of a line.
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_reads_best() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1 << 20, "1.0 MiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (18_140_365, "17.3 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(size), text);
        }
        assert_eq!(exact(288), "288 B");
        assert_eq!(exact(4608), "4608 B");
        assert_eq!(exact(9216), "9 KiB");
        assert_eq!(exact(262_144), "256 KiB");
        assert_eq!(exact(2 << 20), "2 MiB");
    }

    #[test]
    fn percents_are_neither_none_nor_all_unless_they_are() {
        assert_eq!(percent(0, 0), "0 %");
        assert_eq!(percent(0, 10), "0 %");
        assert_eq!(percent(1, 1000), "<1 %");
        assert_eq!(percent(999, 1000), "99 %");
        assert_eq!(percent(1000, 1000), "100 %");
    }

    #[test]
    fn what_would_break_a_line_is_spelt_out() {
        assert_eq!(line("a\nb\u{1}\u{1b}[2J"), r"a\nb\u{1}\u{1b}[2J");
        assert_eq!(
            line("\u{202e}a\u{2066}\u{200b}"),
            r"\u{202e}a\u{2066}\u{200b}"
        );
        assert_eq!(line("größe 木"), "größe 木");
    }
}
