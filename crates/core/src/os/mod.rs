//! The platform: the only code that makes system calls, reads thread-local
//! storage or knows the processor.
//!
//! Always: no call here allocates, panics, or changes errno. Addresses are
//! plain `*mut u8`; lengths are bytes and multiples of [`PAGE_BYTES`].
//!
//! Another architecture would add a file beside `x86_64.rs` (thread-local
//! storage) and one beside `cpu_cache/x86_64.rs` (restartable sequences); outside of this
//! crate only `operator new` and `delete` have assembly.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")))]
compile_error!("thmalloc runs on Linux x86-64 with glibc");

mod ending;
mod hugepages;
mod linux;
mod process;
mod resident;
mod thread;
mod x86_64;

pub use ending::{
    Identity, append, at_exit, duplicate, identity, process_name, process_number,
    working_directory, write_all,
};
pub use hugepages::{HugePages, collapse, forbid_hugepages, huge_pages, split_hugepage};
pub use linux::{
    Protection, abort, decommit, do_not_dump, futex_wait, futex_wait_for, futex_wake_all,
    futex_wake_one, is_locked, is_one_mapping, map, map_aligned, may_map_instead, membarrier_rseq,
    move_pages, populate, protect, register_membarrier_rseq, reserve, sleep_briefly, unmap,
    write_stderr, yield_now,
};
pub use process::{
    at_fork, environment, is_libc_set_up, is_secure_execution, is_single_threaded, lock_streams,
    possible_cpus, reset_streams, rseq_has_concurrency_id, rseq_offset, unlock_streams,
};
pub use resident::{LOOK_PAGES, PageScan, Resident};
pub use thread::{
    Thread, find_thread_functions, is_main_thread, is_only_thread, join_thread,
    leave_cpus_to_main_thread, name_thread, now, start_thread, thread_number, watch_main_thread,
    watch_this_thread,
};
pub use x86_64::{ThreadLocals, thread_locals, thread_locals_offset};

/// The size of a system page on x86-64.
pub const PAGE_BYTES: usize = 4096;

/// The end of user addresses: 47 bits, the most that Linux hands out on
/// x86-64 unless asked for more (`Documentation/arch/x86/x86_64/mm.rst`).
pub const USER_ADDRESS_BITS: u32 = 47;

/// The system has no memory to give, or a limit stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;
