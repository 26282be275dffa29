//! Codes of granules: what the class table has for each, and how `free` tells from it
//! whether an address is an object's first byte.
//!
//! Objects stand at multiples of their size from their span's start. In most classes
//! that is so from each granule's start, too, since spans are one granule or the size
//! divides it; then a granule's code is the class's number. In the others the first
//! granule of a span has the class's number, and each further one a code of its own
//! for its place.
//!
//! Always: an address in a granule passes by its code if and only if an object begins
//! there, or could behind the last one. `n` is a multiple of `d` if and only if
//! `n × m` mod 2ᵏ is below `m`, with `m` = ⌈2ᵏ / d⌉ (Lemire, Kaser and Kurz, "Faster
//! Remainder by Direct Computation", 2019); exact with k = 32 for offsets in one
//! granule, and with k = 64 in a span, as the tests see.

use super::{CLASS_COUNT, ClassInfo, FAST_TABLES, GRANULE_BYTES, SizeClass, classes};

/// How many codes there are: as many as a byte has.
pub const CODE_COUNT: usize = 256;

/// What an address in a granule that is not its span's first has to pass.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PlaceCheck {
    /// The multiplier, with k = 64.
    pub multiplier: u64,
    /// What the granule's distance from the span's start adds to the product.
    pub distance: u64,
    /// The class's number.
    pub class: u64,
}

/// For each code from [`CLASS_COUNT`] on.
pub static PLACE_CHECKS: [PlaceCheck; CODE_COUNT - CLASS_COUNT] = place_checks();

/// The first of a class's codes for the further granules of its spans; 0: none.
static FURTHER_CODES: [u8; CLASS_COUNT] = further_codes();

/// The code of a granule of a span of the class, `place` granules from its start.
pub fn code(class: SizeClass, place: usize) -> u8 {
    match FURTHER_CODES[class.number()] {
        first if first != 0 && place != 0 => first + (place - 1) as u8,
        _ => class.number() as u8,
    }
}

/// The class of a code.
pub fn class_of(code: u8) -> SizeClass {
    match (code as usize).checked_sub(CLASS_COUNT) {
        Some(index) => SizeClass(PLACE_CHECKS[index].class as u8),
        None => SizeClass(code),
    }
}

/// The class of the object that begins at `offset` in a granule with this code, if one
/// does: what `free` has in assembly.
#[inline(always)]
pub fn class_at(code: u8, offset: u16) -> Option<SizeClass> {
    let check = FAST_TABLES.first_checks[code as usize];
    if u32::from(offset).wrapping_mul(check) < check {
        return Some(SizeClass(code));
    }
    let place = PLACE_CHECKS.get((code as usize).checked_sub(CLASS_COUNT)?)?;
    let product = u64::from(offset).wrapping_mul(place.multiplier);
    let begins = product.wrapping_add(place.distance) < place.multiplier;
    begins.then_some(SizeClass(place.class as u8))
}

/// Is each granule like the first?
const fn is_uniform(class: &ClassInfo) -> bool {
    class.span_granules == 1 || GRANULE_BYTES.is_multiple_of(class.bytes as usize)
}

pub(super) const fn first_checks() -> [u32; CODE_COUNT] {
    let classes = classes();
    let mut checks = [0; CODE_COUNT];
    let mut number = 1;
    while number < CLASS_COUNT {
        checks[number] = (1_u64 << 32).div_ceil(classes[number].bytes as u64) as u32;
        number += 1;
    }
    checks
}

const fn further_codes() -> [u8; CLASS_COUNT] {
    let classes = classes();
    let mut codes = [0; CLASS_COUNT];
    let (mut number, mut next) = (1, CLASS_COUNT);
    while number < CLASS_COUNT {
        if !is_uniform(&classes[number]) {
            codes[number] = next as u8;
            next += classes[number].span_granules as usize - 1;
        }
        number += 1;
    }
    assert!(next <= CODE_COUNT);
    codes
}

const fn place_checks() -> [PlaceCheck; CODE_COUNT - CLASS_COUNT] {
    let classes = classes();
    let codes = further_codes();
    let none = PlaceCheck {
        multiplier: 0,
        distance: 0,
        class: 0,
    };
    let mut checks = [none; CODE_COUNT - CLASS_COUNT];
    let mut number = 1;
    while number < CLASS_COUNT {
        let mut place = 1;
        while codes[number] != 0 && place < classes[number].span_granules as usize {
            // Rounded up; exact for the powers of two.
            let multiplier = u64::MAX / classes[number].bytes as u64 + 1;
            let index = codes[number] as usize - CLASS_COUNT + place - 1;
            checks[index] = PlaceCheck {
                multiplier,
                distance: multiplier.wrapping_mul((place * GRANULE_BYTES) as u64),
                class: number as u64,
            };
            place += 1;
        }
        number += 1;
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_passes_where_an_object_begins_and_nowhere_else() {
        for class in SizeClass::all() {
            let info = class.info();
            for place in 0..info.span_granules as usize {
                let code = code(class, place);
                assert_eq!(class_of(code), class);
                for offset in 0..GRANULE_BYTES {
                    let begins = (place * GRANULE_BYTES + offset).is_multiple_of(class.bytes());
                    let expected = begins.then_some(class);
                    assert_eq!(
                        class_at(code, offset as u16),
                        expected,
                        "{class:?} {offset}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_no_class_passes_nowhere() {
        let used = SizeClass::all().map(|class| {
            let info = class.info();
            code(class, info.span_granules as usize - 1)
        });
        let unused = used.max().expect("classes") + 1;
        for code in [0].into_iter().chain(unused..=u8::MAX) {
            assert_eq!(class_of(code), SizeClass::NONE);
            for offset in 0..=u16::MAX {
                assert_eq!(class_at(code, offset), None);
            }
        }
    }
}
