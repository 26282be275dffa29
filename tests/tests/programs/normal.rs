//! Removes from a program's output what differs between two runs anyway.

/// Every run of digits becomes `#`, every run of blanks one blank.
pub fn numbers(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    for c in text.chars() {
        let c = match c {
            '0'..='9' => '#',
            '\t' => ' ',
            c => c,
        };
        if !(matches!(c, '#' | ' ') && normal.ends_with(c)) {
            normal.push(c);
        }
    }
    normal
}

/// The lines for which `keep` holds.
pub fn lines(text: &str, keep: impl Fn(&str) -> bool) -> String {
    let kept: Vec<&str> = text.lines().filter(|line| keep(line)).collect();
    kept.join("\n")
}

/// `0x` and the digits after it become `ADDRESS`.
pub fn addresses(text: &str) -> String {
    let mut parts = text.split("0x");
    let mut normal = parts.next().unwrap_or_default().to_string();
    for part in parts {
        normal.push_str("ADDRESS");
        normal.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    normal
}
