//! The block of another process, checked: how its heap is laid out.
//!
//! Always: what a [`Layout`] says is within bounds that make every sum and
//! product of the walk fit, and keep what is read at once small.

use std::mem::{offset_of, size_of};

use thmalloc_format::{
    Block, CachesLayout, CentralLayout, MAGIC, MapLayout, MetadataLayout, PagesLayout,
    RegionLayout, ScavengerLayout, SpanLayout, TransferLayout, VERSION,
};

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use crate::memory::{Fault, Memory};

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadBlock {
    /// It could not be read.
    Fault(Fault),
    /// Another version of the format.
    OtherVersion(u32),
    /// It does not lead anywhere yet: the loader is at work, and nothing was allocated.
    NotRelocated,
}

impl From<Fault> for BadBlock {
    fn from(fault: Fault) -> Self {
        BadBlock::Fault(fault)
    }
}

/// A block that can be walked by.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The version of thmalloc.
    pub release: String,
    /// The address of the heap's variable.
    pub heap: u64,
    /// Its size.
    pub heap_bytes: usize,
    /// See [`Block`]; so are all others.
    pub started_at: usize,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// The logarithm of a granule's size.
    pub granule_shift: u32,
    /// The logarithm of a region's size.
    pub region_shift: u32,
    /// The logarithm of a leaf's size.
    pub leaf_shift: u32,
    /// The page map.
    pub map: MapLayout,
    /// Regions.
    pub region: RegionLayout,
    /// Spans.
    pub span: SpanLayout,
    /// The page heap.
    pub pages: PagesLayout,
    /// Central lists.
    pub central: CentralLayout,
    /// Transfer caches.
    pub transfer: TransferLayout,
    /// CPU caches.
    pub caches: CachesLayout,
    /// The books.
    pub metadata: MetadataLayout,
    /// The scavenger.
    pub scavenger: ScavengerLayout,
    /// Size classes, that of number 0 first.
    pub classes: Vec<Class>,
}

/// A size class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// The size of its objects.
    pub bytes: u64,
    /// Objects of a span.
    pub objects: u32,
    /// A span's length.
    pub granules: u32,
    /// Words of a span's bitmap.
    pub bitmap_words: u32,
}

/// What was in the first version: a later one may only be longer.
const BLOCK_BYTES: usize = size_of::<Block>();

/// No variable of ours is as long.
const MOST_HEAP_BYTES: u32 = 1 << 22;

/// Nothing that has entries has longer ones.
const MOST_STRIDE: u32 = 1 << 16;

macro_rules! part {
    ($bytes:ident, $part:ident: $type:ident { $($field:ident),* $(,)? }) => {
        $type { $($field: u32_at($bytes, offset_of!(Block, $part.$field)),)* }
    };
}

impl Layout {
    /// Reads the block at an address, and the table of size classes. Nothing of the object
    /// that holds it lies below `start`.
    pub fn read(memory: &impl Memory, address: u64, start: u64) -> Result<Self, BadBlock> {
        let mut head = [0; 16];
        memory.read(address, &mut head)?;
        if head[..8] != MAGIC {
            return Err(corrupt("the block does not begin as one"));
        }
        let version = u32_at(&head, offset_of!(Block, version));
        if version != VERSION {
            return Err(BadBlock::OtherVersion(version));
        }
        if (u32_at(&head, offset_of!(Block, bytes)) as usize) < BLOCK_BYTES {
            return Err(corrupt("the block is too short"));
        }
        let mut bytes = [0; BLOCK_BYTES];
        memory.read(address, &mut bytes)?;
        let mut layout = Self::parse(&bytes);
        layout.check().map_err(corrupt)?;
        let table = u64_at(&bytes, offset_of!(Block, classes.table));
        // The loader has not come to them: they are 0, or where the linker would have them.
        if layout.heap.min(table) < start {
            return Err(BadBlock::NotRelocated);
        }
        layout.read_classes(memory, &bytes)?;
        Ok(layout)
    }

    fn parse(bytes: &[u8]) -> Self {
        let at = offset_of!(Block, release);
        let release = &bytes[at..at + 16];
        let release: String = release
            .iter()
            .take_while(|&&byte| byte != 0)
            .map(|&byte| {
                if byte.is_ascii_graphic() {
                    char::from(byte)
                } else {
                    '?'
                }
            })
            .collect();
        Self {
            release,
            heap: u64_at(bytes, offset_of!(Block, heap)),
            heap_bytes: u32_at(bytes, offset_of!(Block, heap_bytes)) as usize,
            started_at: u32_at(bytes, offset_of!(Block, started_at)) as usize,
            page_bytes: u32_at(bytes, offset_of!(Block, page_bytes)).into(),
            granule_shift: u32_at(bytes, offset_of!(Block, granule_shift)),
            region_shift: u32_at(bytes, offset_of!(Block, region_shift)),
            leaf_shift: u32_at(bytes, offset_of!(Block, leaf_shift)),
            map: part!(bytes, map: MapLayout {
                top_at, top_length, first_leaf_at, end_leaf_at, leaf_bytes, regions_at, spans_at,
                class_table_at, class_table_length_at, reserved,
            }),
            region: part!(bytes, region: RegionLayout {
                stride, touched_at, kind_at, used_at, run_at, dirty_run_at, start_at, reserved,
            }),
            span: part!(bytes, span: SpanLayout {
                stride, kind_at, class_at, granules_at, back_at, live_at, fresh_at, released_at,
                start_at, size_or_bitmap_at, words_at, inline_words,
            }),
            pages: part!(bytes, pages: PagesLayout {
                generation_at, regions_at, used_at, runs_dirty_at, holes_dirty_at, released_at,
                large_drawn_at, large_count_at,
            }),
            central: part!(bytes, central: CentralLayout {
                first_at, stride, generation_at, spans_at, live_at, free_at, released_at, drawn_at,
            }),
            transfer: part!(bytes, transfer: TransferLayout {
                first_at, stride, generation_at, objects_at, count_at, drawn_at,
            }),
            caches: part!(bytes, caches: CachesLayout {
                mode_at, count_at, memory_at, slots_at, slot_bytes, head_stride, generation_at,
                lists_at, list_stride, base_at, lock_bytes, reserved,
            }),
            metadata: part!(bytes, metadata: MetadataLayout {
                generation_at, mapped_at, used_at, newest_at,
            }),
            scavenger: part!(bytes, scavenger: ScavengerLayout {
                state_at, sleep_at, delay_at, turn_ended_at, next_turn_at, released_at,
                released_when_at, refaulted_at, request_at, served_at, served_bytes_at, thread_at,
            }),
            classes: Vec::new(),
        }
    }

    /// Checks what others rely on. That an offset lies within what it is of is
    /// not: what is beyond reads as 0.
    fn check(&self) -> Result<(), &'static str> {
        let ok = |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(what) };
        let page = self.page_bytes;
        ok(
            page.is_power_of_two() && (1 << 12..=1 << 16).contains(&page),
            "its pages have a size that no system's have",
        )?;
        ok(
            (12..=20).contains(&self.granule_shift)
                && 1 << self.granule_shift >= page
                && 1 << self.granule_shift <= 16 * page,
            "granules of a size that cannot be",
        )?;
        ok(
            self.region_shift > self.granule_shift && self.region_shift - self.granule_shift <= 5,
            "regions of a size that cannot be",
        )?;
        ok(
            self.leaf_shift >= self.region_shift
                && self.leaf_shift - self.region_shift <= 12
                && self.leaf_shift >= 28,
            "leaves of a size that cannot be",
        )?;
        ok(
            (64..=MOST_HEAP_BYTES as usize).contains(&self.heap_bytes),
            "a heap of a size that cannot be",
        )?;
        let strides = [
            self.region.stride,
            self.span.stride,
            self.central.stride,
            self.transfer.stride,
            self.caches.head_stride,
            self.caches.list_stride,
        ];
        ok(
            strides
                .iter()
                .all(|stride| (8..=MOST_STRIDE).contains(stride)),
            "entries of a size that cannot be",
        )?;
        ok(
            self.region.stride <= 4096 && self.span.stride <= 1024 && self.span.inline_words <= 64,
            "metadata of a size that cannot be",
        )?;
        ok(
            self.map.top_length <= 1 << 20 && self.map.leaf_bytes <= 1 << 28,
            "a page map of a size that cannot be",
        )?;
        let top_bits = u64::from(self.map.top_length.max(1)).ilog2() + self.leaf_shift;
        ok(top_bits < 60, "a page map beyond any address space")?;
        ok(
            (4096..=1 << 24).contains(&self.caches.slot_bytes)
                && self.caches.slot_bytes.is_multiple_of(8)
                && self.caches.lock_bytes <= 1 << 17,
            "CPU caches of a size that cannot be",
        )
    }

    fn read_classes(&mut self, memory: &impl Memory, block: &[u8]) -> Result<(), BadBlock> {
        let field = |at| u32_at(block, at) as usize;
        let count = field(offset_of!(Block, classes.count));
        let stride = field(offset_of!(Block, classes.stride));
        if !(2..=256).contains(&count) || !(8..=256).contains(&stride) {
            return Err(corrupt("a table of size classes that cannot be"));
        }
        let mut table = vec![0; count * stride];
        memory.read(u64_at(block, offset_of!(Block, classes.table)), &mut table)?;
        let bytes_at = field(offset_of!(Block, classes.bytes_at));
        let objects_at = field(offset_of!(Block, classes.objects_at));
        let granules_at = field(offset_of!(Block, classes.span_granules_at));
        let words_at = field(offset_of!(Block, classes.bitmap_words_at));
        self.classes = table
            .chunks_exact(stride)
            .map(|entry| Class {
                bytes: u32_at(entry, bytes_at).into(),
                objects: u16_at(entry, objects_at).into(),
                granules: u8_at(entry, granules_at).into(),
                bitmap_words: u8_at(entry, words_at).into(),
            })
            .collect();
        self.classes[0] = Class::default();
        let mut below = 0;
        for class in &self.classes[1..] {
            let span = u64::from(class.granules) << self.granule_shift;
            let fits = class.bytes > below
                && class.objects != 0
                && class.bytes * u64::from(class.objects) <= span
                && class.granules <= self.region_granules()
                && class.bitmap_words * 64 >= class.objects;
            if !fits {
                return Err(corrupt("a size class that cannot be"));
            }
            below = class.bytes;
        }
        Ok(())
    }

    /// Granules of a region.
    pub fn region_granules(&self) -> u32 {
        1 << (self.region_shift - self.granule_shift)
    }

    /// Pages of a granule.
    pub fn granule_pages(&self) -> usize {
        ((1 << self.granule_shift) / self.page_bytes) as usize
    }

    /// Pages of a region.
    pub fn region_pages(&self) -> usize {
        ((1 << self.region_shift) / self.page_bytes) as usize
    }

    /// Regions of a leaf.
    pub fn leaf_regions(&self) -> usize {
        1 << (self.leaf_shift - self.region_shift)
    }
}

fn corrupt(what: &'static str) -> BadBlock {
    BadBlock::Fault(Fault::Corrupt(what))
}
