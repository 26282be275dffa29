//! Samples of a process's memory: fewer of them where nothing changes.

use crate::run::Seen;

/// Memory that changes by less is written down as unchanged.
const SAME_BYTES: u64 = 64 << 10;

/// The samples without those in the middle of a stretch in which memory stays
/// within `same` bytes of where the stretch began.
pub fn thinned(samples: &[(i64, u64)], same: u64) -> Vec<(i64, u64)> {
    let mut kept: Vec<(i64, u64)> = Vec::new();
    let mut skipped = None;
    for sample in samples {
        match kept.last() {
            Some(last) if last.1.abs_diff(sample.1) <= same => skipped = Some(*sample),
            _ => {
                kept.extend(skipped.take());
                kept.push(*sample);
            }
        }
    }
    kept.extend(skipped);
    kept
}

/// All samples as CSV, in KiB.
pub fn csv(all: &[Seen]) -> String {
    let mut csv = "scenario,allocator,ms_since_the_load_was_gone,anonymous_kib\n".to_string();
    for seen in all {
        for (at, bytes) in thinned(&seen.samples, SAME_BYTES) {
            csv += &format!(
                "{},{},{at},{}\n",
                seen.scenario,
                seen.allocator,
                bytes >> 10
            );
        }
    }
    csv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_keeps_its_first_and_its_last_sample() {
        let samples = [
            (0, 5),
            (1, 5),
            (2, 6),
            (3, 5),
            (4, 90),
            (5, 90),
            (6, 20),
            (7, 20),
        ];
        let expected = [(0, 5), (3, 5), (4, 90), (5, 90), (6, 20), (7, 20)];
        assert_eq!(thinned(&samples, 2), expected);
        assert_eq!(thinned(&[], 2), []);
        assert_eq!(thinned(&[(1, 2)], 2), [(1, 2)]);
    }

    #[test]
    fn a_slow_change_is_not_lost() {
        let samples: Vec<(i64, u64)> = (0..100).map(|n| (n, n as u64)).collect();
        let kept = thinned(&samples, 9);
        assert!(kept.len() >= 10, "{kept:?}");
        assert_eq!(kept.last(), samples.last());
    }

    #[test]
    fn csv_has_a_line_for_each_sample_that_is_kept() {
        let seen = Seen {
            scenario: "large".to_string(),
            allocator: "glibc".to_string(),
            samples: vec![(-20, 1 << 20), (0, 3 << 20)],
            ..Seen::default()
        };
        let csv = csv(&[seen]);
        let lines: Vec<&str> = csv.lines().skip(1).collect();
        assert_eq!(lines, ["large,glibc,-20,1024", "large,glibc,0,3072"]);
    }
}
