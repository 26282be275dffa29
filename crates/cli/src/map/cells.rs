//! What a cell of the picture shows: a page, or as many as fit into one cell.

use thmalloc_inspect::snapshot::{PageOwner, PageView, Snapshot};

/// The size classes that share a colour: up to so many bytes.
pub const BANDS: [u64; 6] = [64, 256, 1 << 10, 8 << 10, 64 << 10, 256 << 10];

/// Strengths of a colour: no live object, up to a quarter, a half, three
/// quarters of the bytes, more.
pub const STRENGTHS: usize = 5;

/// How a cell looks. The order is that of drawing and of the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// Of spans of small objects, of a band and a strength.
    Small(u8, u8),
    /// Of spans of small objects, of a band: mostly given back.
    SmallReleased(u8),
    /// Of large objects.
    Large,
    /// Of large objects, mostly without memory.
    LargeReleased,
    /// In no span, with memory.
    Free,
    /// In no span, given back.
    Released,
}

/// Which band each class belongs to.
pub struct Bands([u8; 256]);

impl Bands {
    /// As a reading says.
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut bands = [0; 256];
        for class in &snapshot.size_classes {
            if let Some(band) = bands.get_mut(class.class as usize) {
                *band = band_of(class.bytes);
            }
        }
        // Spans whose class the books do not list: the heap changed meanwhile.
        for span in snapshot.regions.iter().flat_map(|region| &region.spans) {
            if let PageOwner::Small(class) = span.owner {
                bands[usize::from(class)] = band_of(span.object_bytes);
            }
        }
        Bands(bands)
    }

    /// The band of a class.
    pub fn band(&self, class: u8) -> u8 {
        self.0[usize::from(class)]
    }

    /// The look of these pages together: what most of them are.
    pub fn look<'a>(&self, pages: impl Iterator<Item = &'a PageView>) -> Look {
        const LARGE: usize = BANDS.len();
        let mut resident = [0_u32; BANDS.len() + 1];
        let mut released = [0_u32; BANDS.len() + 1];
        let mut live = [0_u32; BANDS.len() + 1];
        let (mut free, mut empty) = (0, 0);
        for page in pages {
            let owner = match page.owner {
                PageOwner::Free if page.resident => {
                    free += 1;
                    continue;
                }
                PageOwner::Free => {
                    empty += 1;
                    continue;
                }
                PageOwner::Small(class) => usize::from(self.0[usize::from(class)]),
                PageOwner::Large => LARGE,
            };
            if page.resident {
                resident[owner] += 1;
                live[owner] += u32::from(page.live);
            } else {
                released[owner] += 1;
            }
        }
        let with_memory = free + resident.iter().sum::<u32>();
        let without = empty + released.iter().sum::<u32>();
        if with_memory >= without {
            let owner = most(&resident);
            if free > resident[owner] {
                return Look::Free;
            }
            if owner == LARGE {
                return Look::Large;
            }
            let share = live[owner].div_ceil(resident[owner].max(1));
            return Look::Small(owner as u8, strength(share));
        }
        // A span among many empty pages is to be seen: what it holds is why the
        // others cannot join.
        let both: [u32; BANDS.len() + 1] = std::array::from_fn(|i| resident[i] + released[i]);
        match most(&both) {
            owner if both[owner] == 0 => Look::Released,
            LARGE => Look::LargeReleased,
            owner => Look::SmallReleased(owner as u8),
        }
    }
}

/// The index of the largest; the first of several.
fn most(counts: &[u32]) -> usize {
    let mut best = 0;
    for (index, &count) in counts.iter().enumerate() {
        if count > counts[best] {
            best = index;
        }
    }
    best
}

fn band_of(bytes: u64) -> u8 {
    let band = BANDS.iter().position(|&limit| bytes <= limit);
    band.unwrap_or(BANDS.len() - 1) as u8
}

/// The strength of a share in 255ths.
fn strength(share: u32) -> u8 {
    match share {
        0 => 0,
        1..=64 => 1,
        65..=128 => 2,
        129..=191 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use thmalloc_inspect::sample::{Sample, Slot};

    fn page(owner: PageOwner, resident: bool, live: u8) -> PageView {
        PageView {
            owner,
            resident,
            live,
        }
    }

    #[test]
    fn a_page_shows_its_owner_its_strength_and_whether_it_has_memory() {
        let snapshot = Sample::new()
            .small(4, 1, |_| Slot::Live)
            .small(33, 1, |_| Slot::Live)
            .snapshot();
        let bands = Bands::of(&snapshot);
        let look = |owner, resident, live| bands.look([page(owner, resident, live)].iter());
        assert_eq!(look(PageOwner::Small(4), true, 255), Look::Small(0, 4));
        assert_eq!(look(PageOwner::Small(4), true, 3), Look::Small(0, 1));
        assert_eq!(look(PageOwner::Small(33), true, 0), Look::Small(2, 0));
        assert_eq!(look(PageOwner::Small(33), false, 0), Look::SmallReleased(2));
        assert_eq!(look(PageOwner::Large, true, 255), Look::Large);
        assert_eq!(look(PageOwner::Large, false, 255), Look::LargeReleased);
        assert_eq!(look(PageOwner::Free, true, 0), Look::Free);
        assert_eq!(look(PageOwner::Free, false, 0), Look::Released);
    }

    #[test]
    fn pages_together_show_what_most_of_them_are() {
        let bands = Bands([0; 256]);
        let small = page(PageOwner::Small(4), true, 100);
        let given = page(PageOwner::Small(4), false, 0);
        let empty = page(PageOwner::Free, false, 0);
        let free = page(PageOwner::Free, true, 0);
        assert_eq!(bands.look([small, small, free].iter()), Look::Small(0, 2));
        assert_eq!(bands.look([small, free, free].iter()), Look::Free);
        // Half of them is enough to be seen.
        assert_eq!(bands.look([small, empty].iter()), Look::Small(0, 2));
        assert_eq!(bands.look([empty, empty, free].iter()), Look::Released);
        let mixed = [small, given, empty, empty, empty];
        assert_eq!(bands.look(mixed.iter()), Look::SmallReleased(0));
    }
}
