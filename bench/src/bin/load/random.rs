//! Random numbers and sizes: the same for every allocator.

/// A generator of random numbers (splitmix64).
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    /// A generator whose numbers depend on `seed` alone.
    pub fn new(seed: u64) -> Random {
        Random(mix(seed))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True once in `n`, on average.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Spreads the bits of `number`.
pub fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Sizes of objects, from 2^`first` bytes to 2^`last`.
///
/// Each power of two has half as many objects as the one below it: most objects
/// are small, and each power of two has the same share of the bytes.
#[derive(Clone, Copy)]
pub struct Sizes {
    first: u32,
    last: u32,
}

impl Sizes {
    /// What a service allocates: 16 bytes to 4 MiB.
    pub const ALL: Sizes = Sizes { first: 4, last: 22 };
    /// Small objects: 16 bytes to 1 KiB.
    pub const SMALL: Sizes = Sizes { first: 4, last: 10 };
    /// Small and medium objects: 16 bytes to 64 KiB.
    pub const MEDIUM: Sizes = Sizes { first: 4, last: 16 };
    /// Large objects: 256 KiB to 4 MiB.
    pub const LARGE: Sizes = Sizes {
        first: 18,
        last: 22,
    };

    /// A size.
    pub fn draw(self, random: &mut Random) -> usize {
        let octaves = self.last - self.first;
        let octave = loop {
            let zeros = random.next().trailing_zeros();
            if zeros < octaves {
                break self.first + zeros;
            }
        };
        (1 << octave) + random.below(1 << octave)
    }

    /// How many objects `bytes` are, on average, with room for chance.
    pub fn capacity(self, bytes: usize) -> usize {
        let octaves = self.last - self.first;
        // 1.5 times the lower end of each power of two, all with the same bytes.
        let mean = octaves as usize * (3 << (self.first - 1)) / 2;
        bytes / mean * 5 / 4 + 2000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_power_of_two_has_about_the_same_bytes_and_half_the_objects() {
        let mut random = Random::new(1);
        let mut objects = [0_usize; 24];
        let mut total = 0;
        for _ in 0..1_000_000 {
            let size = Sizes::ALL.draw(&mut random);
            assert!((16..4 << 20).contains(&size));
            objects[size.ilog2() as usize] += 1;
            total += size;
        }
        for octave in 4..12 {
            let ratio = objects[octave] as f64 / objects[octave + 1] as f64;
            assert!((1.8..2.2).contains(&ratio), "{octave}: {ratio}");
        }
        let expected = Sizes::ALL.capacity(total);
        assert!(expected > 1_000_000, "{expected}");
    }
}
