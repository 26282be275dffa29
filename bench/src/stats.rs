//! Figures of several rounds.

/// The middle of some figures; `None` if there are none.
pub fn median(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => None,
        n if n % 2 == 1 => Some(figures[n / 2]),
        n => Some((figures[n / 2 - 1] + figures[n / 2]) / 2.0),
    }
}

/// Between which of the figures the median of many more would lie, with a
/// probability of 95 %: the order statistics at half the number less and more its
/// root (Conover, "Practical Nonparametric Statistics", 3.2). `None` if there are
/// none; of fewer than six, all of them.
pub fn median_interval(figures: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let mut figures: Vec<f64> = figures.into_iter().collect();
    figures.sort_by(f64::total_cmp);
    let count = figures.len();
    let below = (count as f64 - 1.96 * (count as f64).sqrt()) / 2.0;
    let first = below.max(1.0) as usize - 1;
    Some((*figures.get(first)?, figures[count - 1 - first]))
}

/// How far the rounds of a figure lie apart: half the distance from the smallest
/// to the largest, of five and more without the outermost two.
pub fn scatter(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    let inner = match figures.len() {
        0 | 1 => return 0.0,
        2..5 => &figures[..],
        n => &figures[1..n - 1],
    };
    (inner[inner.len() - 1] - inner[0]) / 2.0
}

/// Whether two series differ: there are three rounds of each at least, and their
/// medians lie further apart than the rounds of either scatter.
pub fn differ(a: &[f64], b: &[f64]) -> bool {
    let medians = median(a.iter().copied()).zip(median(b.iter().copied()));
    let enough = a.len().min(b.len()) >= 3;
    medians.is_some_and(|(x, y)| enough && (x - y).abs() > scatter(a).max(scatter(b)))
}

/// The geometric mean; `None` if there are none.
pub fn geometric_mean(figures: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = figures.into_iter().fold((0.0, 0), |(sum, count), figure| {
        (sum + figure.ln(), count + 1)
    });
    (count > 0).then(|| (sum / f64::from(count)).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median([9.0, 1.0, 5.0, 6.0]), Some(5.5));
    }

    #[test]
    fn the_interval_of_a_median_narrows_with_the_rounds() {
        assert_eq!(median_interval([]), None);
        assert_eq!(median_interval([2.0, 1.0, 3.0]), Some((1.0, 3.0)));
        // The tenth and the twenty-second of 31.
        let figures = (1..=31).map(f64::from);
        assert_eq!(median_interval(figures), Some((10.0, 22.0)));
    }

    #[test]
    fn rounds_that_scatter_more_than_the_difference_are_no_difference() {
        let quiet = [1.00, 1.01, 0.99];
        assert!(differ(&quiet, &[1.10, 1.11, 1.09]));
        assert!(!differ(&quiet, &[1.10, 1.30, 0.90]));
        assert!(!differ(&quiet, &quiet));
        // Two rounds say nothing.
        assert!(!differ(&quiet, &[2.0, 2.0]));
        // One outlier of five is not looked at, two are.
        assert!(differ(&quiet, &[1.1, 1.1, 1.1, 1.1, 5.0]));
        assert!(!differ(&quiet, &[1.1, 1.1, 1.1, 5.0, 5.0]));
    }

    #[test]
    fn the_geometric_mean_of_a_double_and_a_half_is_one() {
        let mean = geometric_mean([2.0, 0.5]).expect("two");
        assert!((mean - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean([]), None);
    }
}
