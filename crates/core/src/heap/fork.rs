//! fork(2): the child gets a heap on which nobody is in the middle of anything.
//!
//! Before a fork the heap is started if it is not, every lock is taken, in the order
//! of ranks, and in lock mode every list of the CPU caches is stopped; afterwards they
//! are released in the parent and in the child alike. A restartable sequence that
//! another thread is in at that moment has either written its last word, or not: the
//! kernel copies the pages of a process so that what one thread wrote before something
//! else is there if that is (`dup_mmap`, which keeps faults waiting until all
//! tables are copied).
//!
//! Libc takes the lock on its list of streams after the handlers have run, and a
//! thread that has it may wait for another that allocates, so that lock comes
//! first of all here, where there are other threads (glibc's own allocator is
//! locked behind it for the same reason: its bug 19431).
//!
//! The handlers run last before the fork and first after it, since they are
//! registered when the library is loaded or by the first allocation: those of
//! others may allocate.
#![allow(unsafe_code)] // Locks without guards.

use super::HEAP;
use crate::os;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Registers the handlers. Libc may allocate meanwhile.
pub fn register() {
    os::at_fork(before, in_parent, in_child);
}

/// Did [`before`] take the locks? Written and read with them held, but for
/// false.
// SAFETY: a section of variables.
#[unsafe(link_section = ".data.thmalloc_entry")]
static HELD: AtomicBool = AtomicBool::new(false);

extern "C" fn before() {
    // With one thread, nobody is in the middle of anything but perhaps this
    // one itself, of which a signal handler forks: the child goes on with it as
    // the parent does.
    if os::is_single_threaded() {
        return;
    }
    // Before any lock, since libc may allocate in there. A start that another thread is
    // at, or comes to from here on, would stay under way in the child for good.
    HEAP.ensure_started();
    os::lock_streams();
    HEAP.standstill.lock_for_fork();
    // Relaxed: see there.
    HELD.store(true, Ordering::Relaxed);
    HEAP.caches.lock_for_fork();
    for transfer in &HEAP.transfer {
        transfer.lock_for_fork();
    }
    for central in &HEAP.central {
        central.lock_for_fork();
    }
    HEAP.pages.lock_for_fork();
    HEAP.map.lock_for_fork();
    HEAP.metadata.lock_for_fork();
}

extern "C" fn in_parent() {
    if HELD.load(Ordering::Relaxed) {
        unlock();
        os::unlock_streams();
    }
    HEAP.pages.note_fork();
}

extern "C" fn in_child() {
    if HELD.load(Ordering::Relaxed) {
        unlock();
        os::reset_streams();
        HEAP.scavenger.reset_after_fork();
        HEAP.schedule.reset_after_fork();
    }
    // Where there was one thread, it goes on as it was, and the scavenger's was not
    // there: a process in which nobody has looked yet has nothing to put right, and
    // writes to no page of its parent's.
    HEAP.scavenger.forget_load();
}

fn unlock() {
    HELD.store(false, Ordering::Relaxed);
    // SAFETY: `before` ran in this thread, or in the one that this process is a
    // copy of.
    unsafe {
        HEAP.metadata.unlock_after_fork();
        HEAP.map.unlock_after_fork();
        HEAP.pages.unlock_after_fork();
        for central in &HEAP.central {
            central.unlock_after_fork();
        }
        for transfer in &HEAP.transfer {
            transfer.unlock_after_fork();
        }
        HEAP.caches.unlock_after_fork();
        HEAP.standstill.unlock_after_fork();
    }
}
