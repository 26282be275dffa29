//! Size classes: the table against a search through the classes, and what it
//! promises.

use thmalloc_core::size_class::{GRANULE_BYTES, MAX_SHARED_BYTES, MAX_SMALL_BYTES, SizeClass};

/// The smallest class that fits, found by looking at each.
fn search(bytes: usize, align: usize) -> Option<SizeClass> {
    SizeClass::all().find(|class| {
        let natural = if align > 8 { 16.max(align) } else { align };
        class.bytes() >= bytes.max(1) && class.bytes() % natural == 0
    })
}

#[test]
fn the_table_finds_what_a_search_finds() {
    for bytes in 0..=MAX_SMALL_BYTES + 1 {
        assert_eq!(SizeClass::for_size(bytes), search(bytes, 1), "{bytes}");
    }
    for shift in 0..=16 {
        let align = 1 << shift;
        for bytes in (0..=MAX_SMALL_BYTES + 600).step_by(7) {
            let found = SizeClass::for_layout(bytes, align);
            assert_eq!(found, search(bytes, align), "{bytes} at {align}");
        }
    }
    assert_eq!(SizeClass::for_layout(1, 2 * GRANULE_BYTES), None);
}

#[test]
fn no_shared_span_and_none_of_its_objects_wastes_more_than_an_eighth() {
    let mut below = 0;
    for class in SizeClass::all() {
        let info = class.info();
        let span = info.span_granules as usize * GRANULE_BYTES;
        // The least that gets this class wastes the most.
        let waste = (class.bytes() - (below + 1)) as f64 / class.bytes() as f64;
        let unused = span - info.objects as usize * class.bytes();
        let most = match class.bytes() {
            ..=128 => 1.0,
            129..=MAX_SHARED_BYTES => 0.125,
            _ => 1.0 / 3.0,
        };
        assert!(waste < most, "{class:?}");
        assert!(
            class.bytes() > 128 || class.bytes() - below <= 16,
            "{class:?}"
        );
        // The smallest have more room than a span's bitmap has bits.
        assert!(class.bytes() < 16 || unused * 8 <= span, "{class:?}");
        below = class.bytes();
    }
}

#[test]
fn each_power_of_two_is_a_class() {
    for shift in 3..=18 {
        let class = SizeClass::for_size(1 << shift).expect("a small size");
        assert_eq!(class.bytes(), 1 << shift);
    }
}
