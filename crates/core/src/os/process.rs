//! What the process was started with, and what glibc set up for it.
#![allow(unsafe_code)] // C variables and functions of glibc.

use core::ffi::{CStr, c_char, c_int, c_void};

use super::linux::cpu_set_bytes;

/// The entry of the auxiliary vector that tells how many bytes of the rseq
/// area the kernel fills (Linux 6.3; `include/uapi/linux/auxvec.h`).
const AT_RSEQ_FEATURE_SIZE: u64 = 27;

/// Where the concurrency id `mm_cid` ends in `struct rseq`.
const RSEQ_CONCURRENCY_ID_END: u64 = 28;

/// The address of a variable or function that may be missing, by the global
/// offset table; null where no library defines it.
macro_rules! weak_address {
    ($name:literal) => {{
        let address: *const u8;
        // SAFETY: loads an entry of the global offset table, which the loader
        // filled before any code of this library ran.
        unsafe {
            core::arch::asm!(
                concat!(".weak ", $name),
                concat!("mov {}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                out(reg) address,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        address
    }};
}

/// Where glibc put this process's rseq areas, relative to the thread pointer;
/// `None` where glibc has none (before 2.35, or switched off), or the kernel
/// did not register the calling thread.
pub fn rseq_offset() -> Option<isize> {
    let size = weak_address!("__rseq_size").cast::<u32>();
    let offset = weak_address!("__rseq_offset").cast::<isize>();
    if size.is_null() || offset.is_null() {
        return None;
    }
    // SAFETY: both are constants of glibc's after start-up (its manual, section
    // "Restartable Sequences"), and 0 before.
    let (size, offset) = unsafe { (*size, *offset) };
    (size != 0 && offset != 0).then_some(offset)
}

/// Does the kernel tell each thread a concurrency id (`mm_cid`)? It is below
/// the number of threads that run at once, whatever CPUs they run on.
pub fn rseq_has_concurrency_id() -> bool {
    // SAFETY: errno's address is valid for the calling thread (errno(3)), and nobody else
    // writes there; the other reads the auxiliary vector, and sets errno where it has no
    // such entry (getauxval(3)).
    let bytes = unsafe {
        let errno = libc::__errno_location();
        let kept = *errno;
        let bytes = libc::getauxval(AT_RSEQ_FEATURE_SIZE);
        *errno = kept;
        bytes
    };
    bytes >= RSEQ_CONCURRENCY_ID_END
}

/// Does the process run with more rights than its user (AT_SECURE)? Then its
/// environment is not to be trusted.
pub fn is_secure_execution() -> bool {
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// More CPUs than the process will ever see: no CPU number and no concurrency
/// id reaches it. From the kernel itself, whose sets of CPUs have room for all
/// that there can be (sched_setaffinity(2), "C library/kernel differences"):
/// files that tell the same may be made up in a container. `None` where it is
/// refused.
pub fn possible_cpus() -> Option<usize> {
    match cpu_set_bytes() {
        0 => None,
        bytes => Some(bytes * 8),
    }
}

pub(super) use weak_address;

/// The value of an environment variable, also before libc has set `environ`.
pub fn environment(name: &[u8]) -> Option<&'static [u8]> {
    let mut entry = environment_block()?;
    loop {
        // SAFETY: the block is an array of C strings that ends with NULL
        // (environ(7)). The program may change it, but only while it runs:
        // this is called once, from the first allocation.
        let text = unsafe {
            if (*entry).is_null() {
                return None;
            }
            CStr::from_ptr(*entry).to_bytes()
        };
        if let Some(value) = text.strip_prefix(name).and_then(|t| t.strip_prefix(b"=")) {
            return Some(value);
        }
        entry = entry.wrapping_add(1);
    }
}

/// Has libc set itself up? False for what the loader allocates before.
pub fn is_libc_set_up() -> bool {
    environment_of_libc().is_some()
}

/// What libc's `environ` points to, once it does.
fn environment_of_libc() -> Option<*const *const c_char> {
    let variable = weak_address!("environ").cast::<*const *const c_char>();
    if variable.is_null() {
        return None;
    }
    // SAFETY: `environ` is a variable of libc's.
    let block = unsafe { *variable };
    (!block.is_null()).then_some(block)
}

fn environment_block() -> Option<*const *const c_char> {
    if let Some(block) = environment_of_libc() {
        return Some(block);
    }
    // The first allocation may come before libc's own constructor. The loader
    // keeps where the stack began: argc, argv, NULL, then the environment
    // (System V ABI for x86-64, section 3.4.1).
    let stack_end = weak_address!("__libc_stack_end").cast::<*const usize>();
    if stack_end.is_null() {
        return None;
    }
    // SAFETY: the loader's constant, set before any other code ran; the words
    // there are never moved.
    unsafe {
        let words = *stack_end;
        if words.is_null() {
            return None;
        }
        let arguments = *words;
        Some(words.add(1 + arguments + 1).cast())
    }
}

/// Has the process one thread only, for all that glibc knows (its manual,
/// section "Single-Threaded Processes")? False where it does not tell.
pub fn is_single_threaded() -> bool {
    let variable = weak_address!("__libc_single_threaded").cast::<u8>();
    // SAFETY: a variable of libc's, which says that it may be read at any time.
    !variable.is_null() && unsafe { variable.read_volatile() } != 0
}

/// A function of libc's without arguments, if it has it.
macro_rules! weak_call {
    ($name:literal) => {{
        let function = weak_address!($name);
        if !function.is_null() {
            // SAFETY: the address of a C function of that type.
            unsafe { core::mem::transmute::<*const u8, extern "C" fn()>(function)() };
        }
    }};
}

/// Takes the lock on libc's list of streams, before any of the heap's: fork(2)
/// of libc takes it, too, but after the handlers have run, and a thread that
/// has it may wait for one that allocates. It may be taken again by its holder.
pub fn lock_streams() {
    weak_call!("_IO_list_lock");
}

/// Releases what [`lock_streams`] took.
pub fn unlock_streams() {
    weak_call!("_IO_list_unlock");
}

/// In the child of a fork: whoever had the lock of [`lock_streams`], it is free
/// now.
pub fn reset_streams() {
    weak_call!("_IO_list_resetlock");
}

type ForkHandler = extern "C" fn();

unsafe extern "C" {
    // What pthread_atfork(3) calls, which glibc offers only as a static
    // library. LSB 5.0 documents it.
    fn __register_atfork(
        prepare: Option<ForkHandler>,
        parent: Option<ForkHandler>,
        child: Option<ForkHandler>,
        library: *const c_void,
    ) -> c_int;
}

/// Has `prepare` called before each fork(2), and `parent` or `child` after it.
/// May allocate. False where libc has no memory for it.
pub fn at_fork(prepare: ForkHandler, parent: ForkHandler, child: ForkHandler) -> bool {
    // SAFETY: the handlers are static functions of a file that is never unloaded
    // (`libthmalloc.so` says so itself, the crate `thmalloc` asks for it); a null library
    // keeps them for good.
    unsafe { __register_atfork(Some(prepare), Some(parent), Some(child), core::ptr::null()) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_more_possible_cpus_than_online_ones() {
        let online = std::thread::available_parallelism()
            .expect("a number")
            .get();
        assert!(possible_cpus().is_some_and(|possible| possible >= online));
    }

    #[test]
    fn the_environment_is_found() {
        assert_eq!(
            environment(b"PATH").map(<[u8]>::to_vec),
            std::env::var("PATH").ok().map(String::into_bytes)
        );
        assert_eq!(environment(b"THMALLOC_NO_SUCH_VARIABLE"), None);
    }
}
