//! Transfer caches against a list of what went in.

use proptest::prelude::*;
use thmalloc_core::metadata::Metadata;
use thmalloc_core::size_class::{CLASS_COUNT, MAX_BATCH, SizeClass};
use thmalloc_core::transfer_cache::TransferCache;

use crate::cases;

#[test]
fn what_went_in_comes_out_once_the_last_first() {
    let classes =
        (0..CLASS_COUNT - 1).prop_map(|index| SizeClass::all().nth(index).expect("a class"));
    let step = (any::<bool>(), 1..=MAX_BATCH);
    let steps = proptest::collection::vec(step, 1..100);
    proptest!(cases(300), |(class in classes, steps in steps)| {
        let (metadata, cache) = (Metadata::new(), TransferCache::new());
        let (mut inside, mut next) = (Vec::new(), 1);
        for (put, count) in steps {
            if put {
                let objects: Vec<_> = (next..next + count).collect();
                let before = inside.len();
                if cache.put(&metadata, class, &objects) {
                    inside.extend(&objects);
                    next += count;
                } else {
                    assert!(before + count > 2 * class.batch(), "room for two batches");
                }
            } else {
                let mut out = vec![0; count];
                let taken = cache.take(&mut out);
                assert_eq!(taken, count.min(inside.len()));
                assert_eq!(&out[..taken], inside.split_off(inside.len() - taken));
            }
            assert_eq!(cache.len(), inside.len());
            assert_eq!(cache.is_empty(), inside.is_empty());
            assert!(inside.len() <= 4 * class.batch(), "kept small");
        }
    });
}
