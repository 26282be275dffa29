//! The six words for where memory is, as the screen and the metrics go through
//! them, and how a number of bytes is written where there is little room.

use thmalloc_inspect::snapshot::Words;

/// One of the six words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Live,
    Cached,
    Fragmented,
    Free,
    Metadata,
    Released,
}

impl Word {
    /// All six, in their order.
    pub const ALL: [Word; 6] = [
        Word::Live,
        Word::Cached,
        Word::Fragmented,
        Word::Free,
        Word::Metadata,
        Word::Released,
    ];

    /// The five that are memory.
    pub const RESIDENT: [Word; 5] = [
        Word::Live,
        Word::Cached,
        Word::Fragmented,
        Word::Free,
        Word::Metadata,
    ];

    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Word::Live => "live",
            Word::Cached => "cached",
            Word::Fragmented => "fragmented",
            Word::Free => "free",
            Word::Metadata => "metadata",
            Word::Released => "released",
        }
    }

    /// How many bytes it stands for.
    pub fn of(self, words: &Words) -> u64 {
        match self {
            Word::Live => words.live,
            Word::Cached => words.cached,
            Word::Fragmented => words.fragmented,
            Word::Free => words.free,
            Word::Metadata => words.metadata,
            Word::Released => words.released,
        }
    }
}

/// A number of bytes in five letters at most: 999, 1.5K, 1023M.
pub fn short(bytes: u64) -> String {
    if bytes < 1000 {
        return bytes.to_string();
    }
    // Six units are enough for 64 bits.
    let mut value = bytes as f64;
    for unit in ["K", "M", "G", "T", "P", "E"] {
        value /= 1024.0;
        if value < 9.95 {
            return format!("{value:.1}{unit}");
        }
        if value < 1023.5 {
            return format!("{value:.0}{unit}");
        }
    }
    format!("{value:.0}E")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_five_letters_at_most() {
        for (bytes, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0K"),
            (1024, "1.0K"),
            (1536, "1.5K"),
            (10_188, "9.9K"),
            (10_189, "10K"),
            (1_047_551, "1023K"),
            (1_048_064, "1.0M"),
            (5 << 30, "5.0G"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(short(bytes), text, "{bytes}");
        }
        for shift in 0..64 {
            assert!(short(1 << shift).len() <= 5);
            assert!(short((1 << shift) - 1).len() <= 5);
        }
    }
}
