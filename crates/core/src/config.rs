//! Options, from the environment variable `THMALLOC_CONF`: a list such as
//! `cache=lock,…`, read once, at the first allocation. What is not understood
//! is named on standard error and ignored. A process that runs with more
//! rights than its user (AT_SECURE) gets the defaults.

use crate::fatal::Line;
use crate::os;

/// How the CPU caches are entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// By restartable sequences.
    Rseq,
    /// With a lock.
    Lock,
}

impl CacheMode {
    /// The option's value.
    pub fn name(self) -> &'static str {
        match self {
            CacheMode::Rseq => "rseq",
            CacheMode::Lock => "lock",
        }
    }
}

/// The options in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// `cache=rseq|lock`. Restartable sequences are used only where the system
    /// has them.
    pub cache_mode: CacheMode,
}

impl Config {
    /// What holds where nothing is said.
    pub const DEFAULT: Config = Config {
        cache_mode: CacheMode::Rseq,
    };

    /// Reads the environment.
    pub fn from_environment() -> Self {
        if os::is_secure_execution() {
            return Self::DEFAULT;
        }
        match os::environment(b"THMALLOC_CONF") {
            Some(text) => Self::parse(text, &mut warn),
            None => Self::DEFAULT,
        }
    }

    /// Reads a list of options; `unknown` gets each that is not understood.
    pub fn parse(text: &[u8], unknown: &mut dyn FnMut(&[u8])) -> Self {
        let mut config = Self::DEFAULT;
        for option in text.split(|&byte| byte == b',') {
            match option {
                b"" => {}
                b"cache=rseq" => config.cache_mode = CacheMode::Rseq,
                b"cache=lock" => config.cache_mode = CacheMode::Lock,
                other => unknown(other),
            }
        }
        config
    }
}

fn warn(option: &[u8]) {
    let shown = option.get(..60).unwrap_or(option);
    Line::new()
        .text("THMALLOC_CONF: unknown option \"")
        .bytes(shown)
        .text("\", ignored (known: cache=rseq|lock)")
        .write();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Config, Vec<String>) {
        let mut unknown = Vec::new();
        let config = Config::parse(text.as_bytes(), &mut |option| {
            unknown.push(String::from_utf8_lossy(option).into_owned());
        });
        (config, unknown)
    }

    #[test]
    fn the_last_of_two_equal_options_counts() {
        let (config, unknown) = parse("cache=rseq,cache=lock,");
        assert_eq!(config.cache_mode, CacheMode::Lock);
        assert!(unknown.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_named_and_the_rest_holds() {
        let (config, unknown) = parse("cahce=lock,cache=lock,cache=");
        assert_eq!(config.cache_mode, CacheMode::Lock);
        assert_eq!(unknown, ["cahce=lock", "cache="]);
    }
}
