//! Options, from the environment variable `THMALLOC_CONF`: a list such as
//! `release_delay=2000,stats_at_exit`, read once, at the first allocation. What is not understood
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

/// Where a summary is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary<'a> {
    /// To standard error.
    Stderr,
    /// To the end of the file of that path.
    File(&'a [u8]),
}

/// The options in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config<'a> {
    /// `cache=rseq|cpu|lock`. Restartable sequences are used only where the system
    /// has them.
    pub cache_mode: CacheMode,
    /// `cache=cpu`: sequences number the caches by the CPU, as they do before Linux
    /// 6.3, which has no concurrency ids.
    pub by_cpu: bool,
    /// `release_delay=MILLISECONDS|off`. How long memory is unused before it is
    /// given back to the system, in milliseconds; `None`: it is not.
    pub release_delay: Option<u32>,
    /// `stats_at_exit`, `stats_at_exit=FILE`. Where a summary of the heap goes when
    /// the process ends.
    pub stats_at_exit: Option<Summary<'a>>,
}

/// Unused memory waits so long, in milliseconds: three bursts of a load that
/// comes every 100 ms, and well below a second with all that follows.
const RELEASE_DELAY: u32 = 300;

/// A day; what is longer is an error in the unit.
const MAX_RELEASE_DELAY: u32 = 86_400_000;

/// The longest path of a file, with what it is relative to.
pub const MAX_PATH_BYTES: usize = 4095;

impl Config<'static> {
    /// What holds where nothing is said.
    pub const DEFAULT: Config<'static> = Config {
        cache_mode: CacheMode::Rseq,
        by_cpu: false,
        release_delay: Some(RELEASE_DELAY),
        stats_at_exit: None,
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
}

impl<'a> Config<'a> {
    /// Reads a list of options; `unknown` gets each that is not understood.
    pub fn parse(text: &'a [u8], unknown: &mut dyn FnMut(&[u8])) -> Self {
        let mut config = Config::DEFAULT;
        for option in text.split(|&byte| byte == b',') {
            match option {
                b"" => {}
                b"cache=rseq" => (config.cache_mode, config.by_cpu) = (CacheMode::Rseq, false),
                b"cache=cpu" => (config.cache_mode, config.by_cpu) = (CacheMode::Rseq, true),
                b"cache=lock" => (config.cache_mode, config.by_cpu) = (CacheMode::Lock, false),
                b"release_delay=off" => config.release_delay = None,
                b"stats_at_exit" => config.stats_at_exit = Some(Summary::Stderr),
                other if let Some(path) = path_of_stats(other) => {
                    config.stats_at_exit = Some(Summary::File(path));
                }
                other => match other.strip_prefix(b"release_delay=").and_then(number) {
                    Some(delay) if delay <= MAX_RELEASE_DELAY => config.release_delay = Some(delay),
                    _ => unknown(other),
                },
            }
        }
        config
    }
}

/// The file of `stats_at_exit=FILE`.
fn path_of_stats(option: &[u8]) -> Option<&[u8]> {
    let path = option.strip_prefix(b"stats_at_exit=")?;
    (1..=MAX_PATH_BYTES).contains(&path.len()).then_some(path)
}

/// A decimal number.
fn number(text: &[u8]) -> Option<u32> {
    let digits = || text.iter().map(|byte| byte.wrapping_sub(b'0'));
    if text.is_empty() || digits().any(|digit| digit > 9) {
        return None;
    }
    digits().try_fold(0_u32, |value, digit| {
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

fn warn(option: &[u8]) {
    let shown = option.get(..60).unwrap_or(option);
    Line::new()
        .text("THMALLOC_CONF: unknown option \"")
        .bytes(shown)
        .text("\", ignored (known: cache=rseq|cpu|lock, release_delay=MS|off, ")
        .text("stats_at_exit[=FILE])")
        .write();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Config<'_>, Vec<String>) {
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
        let by_cpu = |text| parse(text).0.by_cpu;
        assert!(by_cpu("cache=lock,cache=cpu"));
        assert!(!by_cpu("cache=cpu,cache=rseq") && !by_cpu("cache=cpu,cache=lock"));
    }

    #[test]
    fn what_is_not_understood_is_named_and_the_rest_holds() {
        let (config, unknown) = parse("cahce=lock,cache=lock,cache=");
        assert_eq!(config.cache_mode, CacheMode::Lock);
        assert_eq!(unknown, ["cahce=lock", "cache="]);
    }

    #[test]
    fn a_summary_goes_to_standard_error_or_to_a_file() {
        for (text, summary) in [
            ("", None),
            ("stats_at_exit", Some(Summary::Stderr)),
            ("stats_at_exit=a=b", Some(Summary::File(b"a=b"))),
            (
                "stats_at_exit,stats_at_exit=/x/y",
                Some(Summary::File(b"/x/y")),
            ),
        ] {
            let (config, unknown) = parse(text);
            assert_eq!(
                (config.stats_at_exit, unknown.len()),
                (summary, 0),
                "{text}"
            );
        }
        let long = format!("stats_at_exit={}", "x".repeat(MAX_PATH_BYTES + 1));
        for text in ["stats_at_exit=", "stats_at_exits", &long] {
            let (config, unknown) = parse(text);
            assert_eq!(config.stats_at_exit, None, "{text}");
            assert_eq!(unknown, [text]);
        }
    }

    #[test]
    fn a_delay_is_a_number_of_milliseconds_or_off() {
        for (text, delay) in [
            ("", Some(RELEASE_DELAY)),
            ("release_delay=0", Some(0)),
            ("release_delay=2500", Some(2500)),
            ("release_delay=off", None),
        ] {
            let (config, unknown) = parse(text);
            assert_eq!((config.release_delay, unknown.len()), (delay, 0), "{text}");
        }
        for text in [
            "release_delay=",
            "release_delay=1s",
            "release_delay=-1",
            "release_delay=99999999999",
            "release_delay=86400001",
            "release-delay=5",
        ] {
            let (config, unknown) = parse(text);
            assert_eq!(config.release_delay, Some(RELEASE_DELAY), "{text}");
            assert_eq!(unknown, [text]);
        }
    }
}
