//! What one reading of a process says: the same for every command that shows it.
//!
//! All sizes are bytes unless a name says otherwise.

use serde::Serialize;

/// The version of the JSON that a [`Snapshot`] becomes; raised whenever a field
/// changes its meaning or goes.
pub const JSON_VERSION: u32 = 1;

/// A process's heap, read once.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// [`JSON_VERSION`].
    pub version: u32,
    /// Whose.
    pub process: Process,
    /// When it was read, in milliseconds since 1970.
    pub time_ms: u64,
    /// Is it the picture of one moment?
    pub consistency: Consistency,
    /// Its heaps, that with most memory first. Mostly there is one; all that
    /// follows is of all of them together.
    pub heaps: Vec<HeapView>,
    /// Where memory is.
    pub bytes: Words,
    /// What the whole process has, as the kernel counts it.
    pub resident: Resident,
    /// Running totals: two readings give rates.
    pub totals: Totals,
    /// Size classes that have spans.
    pub size_classes: Vec<ClassView>,
    /// CPU caches that were ever used.
    pub cpu_caches: Vec<CpuCacheView>,
    /// Large objects.
    pub large: Large,
    /// Who gives memory back; of several heaps, that of the first.
    pub scavenger: Scavenger,
    /// The regions of the heap, in the order of their addresses; left out of the
    /// JSON of `stat`.
    #[serde(skip)]
    pub regions: Vec<RegionView>,
}

/// A process.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// Its number here.
    pub pid: u32,
    /// Its name, as in /proc/PID/comm.
    pub name: String,
    /// Its arguments, joined; the name in brackets where it has none.
    pub command: String,
    /// Threads, those of the scavengers included.
    pub threads: u32,
    /// The file that holds the heap's code: the library, or the program itself; of
    /// several heaps, of the first of [`Snapshot::heaps`], as are the next two.
    pub library: String,
    /// The version of thmalloc in it.
    pub release: String,
    /// How its CPU caches are entered: `rseq` or `lock`.
    pub cache_mode: String,
    /// Heaps that are in none of the figures, since their books cannot be read
    /// together with the others'.
    pub heaps_left_out: u32,
}

/// A heap of the process.
#[derive(Clone, Debug, Serialize)]
pub struct HeapView {
    /// The file that holds its code.
    pub library: String,
    /// The version of thmalloc in it.
    pub release: String,
    /// How its CPU caches are entered: `rseq` or `lock`.
    pub cache_mode: String,
    /// Where its memory is.
    pub bytes: Words,
    /// Who gives its memory back.
    pub scavenger: Scavenger,
}

/// Is a reading the picture of one moment? See the format's header.
#[derive(Clone, Debug, Serialize)]
pub struct Consistency {
    /// All books were read without anybody changing them meanwhile. CPU caches
    /// change without a lock, and are counted as of no one moment.
    pub exact: bool,
    /// How often reading began again.
    pub attempts: u32,
    /// If not exact: sections of locks that were entered while it was read for
    /// the last time.
    pub changes: u64,
    /// Is what is resident known page by page (/proc/PID/pagemap), or only as the
    /// books expect it?
    pub by_page: bool,
}

/// The six words for where memory is, and their sum. `live` + `cached` +
/// `fragmented` + `free` + `metadata` = `resident`; all of these are memory that
/// the system has given, `released` is address space only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Words {
    /// Handed out to the program: resident bytes of its objects, rounded up to
    /// their size class. The rest of a large object's last page counts here.
    pub live: u64,
    /// Free objects in CPU caches and transfer caches.
    pub cached: u64,
    /// Free objects in spans that hold others, and what the ends of spans leave
    /// unused: as far as it is resident.
    pub fragmented: u64,
    /// Whole spans that wait: resident pages in no span.
    pub free: u64,
    /// The allocator's own books.
    pub metadata: u64,
    /// Pages of the heap without memory: given back, or of objects that the
    /// program has not touched yet (`untouched` says how much of it).
    pub released: u64,
    /// The part of `released` that lies in live objects: never touched.
    pub untouched: u64,
    /// The sum of all but `released`.
    pub resident: u64,
}

/// The process as the kernel counts it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Resident {
    /// All (`Rss` of smaps_rollup).
    pub total: u64,
    /// Anonymous memory.
    pub anonymous: u64,
    /// Pages of files and of shared memory.
    pub file_and_shared: u64,
    /// In the heap's own mappings, books included: the figure that
    /// `Words::resident` is held to.
    pub heap: u64,
    /// Stacks of threads, as far as they can be told: `[stack]`, and mappings
    /// around the stack pointers of the threads.
    pub stacks: u64,
    /// Anonymous memory that is neither the heap's nor a stack: the program's own
    /// mmap, or `brk`.
    pub other_anonymous: u64,
    /// Swapped out.
    pub swapped: u64,
    /// Page faults of the whole process so far, without reading from a disk.
    pub minor_faults: u64,
}

/// A file, or shared memory, that a process has mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MappedFile {
    /// Its path as the kernel writes it, or a name in brackets.
    pub name: String,
    /// Its pages that the process has mapped and that are in memory.
    pub resident: u64,
}

/// Running totals since the heap's first use.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Totals {
    /// Bytes that went from spans and transfer caches into CPU caches, and to the
    /// program as large objects: what the program allocates, without what its CPU
    /// caches serve by themselves.
    pub drawn: u64,
    /// Given back to the system.
    pub released: u64,
    /// Wanted again after they were given back.
    pub refaulted: u64,
}

/// A size class.
#[derive(Clone, Debug, Serialize)]
pub struct ClassView {
    /// Its number.
    pub class: u32,
    /// The size of its objects.
    pub bytes: u64,
    /// Objects of the program's.
    pub live: u64,
    /// Free objects in CPU caches and transfer caches.
    pub cached: u64,
    /// Free objects in its spans.
    pub free: u64,
    /// Spans.
    pub spans: u64,
    /// A span's length.
    pub span_bytes: u64,
    /// Objects of a span.
    pub span_objects: u64,
    /// Pages of its spans that were given back.
    pub released_pages: u64,
    /// Resident bytes of its spans that hold no live and no cached object.
    pub fragmented: u64,
    /// Resident bytes of its spans.
    pub resident: u64,
    /// At most so many bytes of an object are there because sizes are rounded up:
    /// the class's size less that of the class below, less one, for each live one.
    pub waste_at_most: u64,
}

/// The cache of a CPU, or of some threads in lock mode.
#[derive(Clone, Debug, Serialize)]
pub struct CpuCacheView {
    /// The slot's number.
    pub slot: u32,
    /// Free objects in it.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
}

/// Large objects: those above 256 KiB.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Large {
    /// How many there are.
    pub count: u64,
    /// Their usable size, resident or not.
    pub bytes: u64,
    /// As far as resident.
    pub resident: u64,
    /// The largest, first; at most [`LARGEST`] of them.
    pub largest: Vec<LargeObject>,
}

/// As many large objects are listed.
pub const LARGEST: usize = 10;

/// A large object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LargeObject {
    /// Its address.
    pub address: u64,
    /// Its usable size.
    pub bytes: u64,
    /// As far as resident.
    pub resident: u64,
}

/// Who gives memory back.
#[derive(Clone, Debug, Serialize)]
pub struct Scavenger {
    /// What it is doing.
    pub state: ScavengerState,
    /// How long unused memory waits, in milliseconds.
    pub delay_ms: u64,
    /// Milliseconds since its thread's last turn; `None`: there was none.
    pub last_turn_ago_ms: Option<u64>,
    /// Milliseconds to its next turn; `None`: it waits to be woken.
    pub next_turn_in_ms: Option<u64>,
    /// Milliseconds since memory was given back last, by whomever; `None`: never.
    pub last_release_ago_ms: Option<u64>,
}

/// What the scavenger is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScavengerState {
    /// There is no thread. In a process with one, what frees leave is given back by the
    /// frees themselves; in one with more, nobody does it below 6 MiB of address space.
    InLine,
    /// Its thread waits for its next turn.
    Waiting,
    /// Its thread sleeps until somebody frees something.
    Asleep,
    /// Switched off.
    Off,
    /// The main thread has ended.
    Gone,
}

/// 2 MiB of the heap.
#[derive(Clone, Debug)]
pub struct RegionView {
    /// The address of its first byte.
    pub address: u64,
    /// Its pages, in order.
    pub pages: Vec<PageView>,
    /// Its spans, in order; a large object that covers several regions is in each
    /// of them.
    pub spans: Vec<SpanView>,
}

/// A page of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageView {
    /// What covers it.
    pub owner: PageOwner,
    /// Does it have memory?
    pub resident: bool,
    /// Of a small span's page: which share of its bytes is live objects', in
    /// 255ths, cached ones not included. 255 for a large object's.
    pub live: u8,
}

/// What covers a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOwner {
    /// No span.
    Free,
    /// A span of small objects of that class.
    Small(u8),
    /// A large object.
    Large,
}

/// A span, or the part of it that lies in a region.
#[derive(Clone, Debug)]
pub struct SpanView {
    /// The first page of the region that it covers.
    pub first_page: u32,
    /// How many of the region's pages it covers.
    pub pages: u32,
    /// The address of its own first byte.
    pub address: u64,
    /// Its whole length.
    pub bytes: u64,
    /// What it is; never `PageOwner::Free`.
    pub owner: PageOwner,
    /// The size of its objects; a large object's usable size.
    pub object_bytes: u64,
    /// Objects that fit; 1 for a large one.
    pub objects: u32,
    /// The program's objects; 1 for a large one.
    pub live: u32,
    /// Its free objects in caches.
    pub cached: u32,
}
