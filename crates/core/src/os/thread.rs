//! A thread of the library's own, and what must be known about others.
#![allow(unsafe_code)] // Functions of libc's that may be missing, and system calls.

use core::ffi::{c_int, c_void};
use core::mem::{MaybeUninit, transmute};
use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::linux::call;
use super::process::weak_address;

/// `PTHREAD_CANCEL_DISABLE` of pthread.h, in glibc.
const CANCEL_DISABLE: c_int = 1;

/// What a thread runs.
pub type Entry = extern "C" fn(*mut c_void) -> *mut c_void;

/// The stack of the thread, of which little is ever touched; the second where
/// the first is refused: static thread-local storage of all libraries comes out
/// of it.
const STACK_BYTES: [usize; 2] = [256 << 10, 8 << 20];

/// The signals that libc uses itself, to cancel threads and to change the
/// user of all of them: a thread that blocks these hangs the others.
const LIBC_SIGNALS: u64 = 1 << 31 | 1 << 32;

type Attributes = *mut libc::pthread_attr_t;
type AttrInit = extern "C" fn(Attributes) -> c_int;
type AttrSet = extern "C" fn(Attributes, usize) -> c_int;
type AttrSetInt = extern "C" fn(Attributes, c_int) -> c_int;
type Create =
    extern "C" fn(*mut libc::pthread_t, *const libc::pthread_attr_t, Entry, *mut c_void) -> c_int;
type SetCancel = extern "C" fn(c_int, *mut c_int) -> c_int;
type Join = extern "C" fn(libc::pthread_t, *mut *mut c_void) -> c_int;

/// A function of libc's, or `return` where it has none.
macro_rules! weak_function {
    ($name:literal, $type:ty $(, $otherwise:expr)?) => {{
        let address = weak_address!($name);
        if address.is_null() {
            return $($otherwise)?;
        }
        // SAFETY: the address of the C function of that name, which has this
        // type (its manual page).
        unsafe { transmute::<*const u8, $type>(address) }
    }};
}

/// Libc's own pthread_create(3); null: not looked for yet, or not there.
// SAFETY: a section of variables.
#[unsafe(link_section = ".data.thmalloc_entry")]
static CREATE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// Looks for libc's own pthread_create(3), behind any that the program defines:
/// that may hold a lock while it allocates. To be called as soon as all libraries
/// are there, since the loader has a lock while it runs their constructors, and
/// this takes it. May allocate.
pub fn find_thread_functions() {
    if CREATE.load(Ordering::Relaxed).is_null() {
        // SAFETY: a C string; RTLD_NEXT is what comes behind this library.
        let create = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()) };
        // Relaxed: an address, which publishes nothing.
        CREATE.store(create, Ordering::Relaxed);
    }
}

/// A thread of the library's own, as libc knows it.
pub type Thread = libc::pthread_t;

/// Starts a thread of the process with a small stack, of the ordinary
/// scheduling policy, with all signals blocked but libc's own. Keeps errno. May
/// allocate; must not be called with any lock held. `None` where libc or the
/// system refuses, or there are no threads at all.
pub fn start_thread(entry: Entry) -> Option<Thread> {
    let init = weak_function!("pthread_attr_init", AttrInit, None);
    let destroy = weak_function!("pthread_attr_destroy", AttrInit, None);
    let set_stack = weak_function!("pthread_attr_setstacksize", AttrSet, None);
    let set_inherit = weak_function!("pthread_attr_setinheritsched", AttrSetInt, None);
    let create = CREATE.load(Ordering::Relaxed);
    if create.is_null() {
        return None;
    }
    // SAFETY: the address of libc's function of that type (its manual page).
    let create = unsafe { transmute::<*mut c_void, Create>(create) };
    let mut attributes = MaybeUninit::uninit();
    let attributes: Attributes = attributes.as_mut_ptr();
    // SAFETY: errno's address is valid for the calling thread (errno(3)).
    let errno = unsafe { &mut *libc::__errno_location() };
    let kept = *errno;
    let mut thread = 0;
    let mut started = false;
    if init(attributes) == 0 {
        let inherits = set_inherit(attributes, libc::PTHREAD_EXPLICIT_SCHED) != 0;
        let blocked = block_signals();
        for stack in STACK_BYTES {
            started = !inherits
                && set_stack(attributes, stack) == 0
                && create(&mut thread, attributes, entry, null_mut()) == 0;
            if started {
                break;
            }
        }
        restore_signals(blocked);
        destroy(attributes);
    }
    *errno = kept;
    started.then_some(thread)
}

/// Waits for the end of a thread that [`start_thread`] started. At most once. The caller
/// is not cancelled meanwhile, as it would be by libc's pthread_join(3) alone.
pub fn join_thread(thread: Thread) {
    let join = weak_function!("pthread_join", Join);
    let set_cancel = weak_function!("pthread_setcancelstate", SetCancel);
    let mut before = CANCEL_DISABLE;
    set_cancel(CANCEL_DISABLE, &raw mut before);
    join(thread, null_mut());
    set_cancel(before, null_mut());
}

/// Lets the calling thread run on every CPU that the main thread may run on.
pub fn leave_cpus_to_main_thread() {
    let mut set = [0_u64; 128];
    let bytes = size_of_val(&set);
    let place = set.as_mut_ptr().addr();
    // SAFETY: the buffer is valid for the length given; the main thread's number
    // is that of the process.
    unsafe {
        let main = call(libc::SYS_getpid, [0; 6]) as usize;
        let length = call(libc::SYS_sched_getaffinity, [main, bytes, place, 0, 0, 0]);
        if let Ok(length) = usize::try_from(length) {
            call(libc::SYS_sched_setaffinity, [0, length, place, 0, 0, 0]);
        }
    }
}

fn change_signals(how: c_int, set: u64) -> u64 {
    let mut old = 0_u64;
    let (new, kept): (*const u64, *mut u64) = (&set, &mut old);
    let bytes = size_of::<u64>();
    let arguments = [how as usize, new.addr(), kept.addr(), bytes, 0, 0];
    // SAFETY: both sets are valid for the length given, the kernel's.
    unsafe { call(libc::SYS_rt_sigprocmask, arguments) };
    old
}

fn block_signals() -> u64 {
    change_signals(libc::SIG_BLOCK, !LIBC_SIGNALS)
}

fn restore_signals(set: u64) {
    change_signals(libc::SIG_SETMASK, set);
}

/// Names the calling thread, as `top -H` shows it; and lets its timers come as
/// late as suits the system, in nanoseconds.
pub fn name_thread(name: &'static core::ffi::CStr, slack: usize) {
    let prctl = |option: c_int, value: usize| {
        // SAFETY: the name is a C string; the slack is a number.
        unsafe { call(libc::SYS_prctl, [option as usize, value, 0, 0, 0, 0]) };
    };
    prctl(libc::PR_SET_NAME, name.as_ptr().addr());
    prctl(libc::PR_SET_TIMERSLACK, slack);
}

/// Has the process one thread, this one? False where the system does not tell.
pub fn is_only_thread() -> bool {
    match thread_count() {
        Some(count) => count == 1,
        // A thread that is alone may leave the others, and nothing happens; one
        // that is not, may not (unshare(2), CLONE_THREAD).
        // SAFETY: changes nothing.
        None => unsafe {
            call(
                libc::SYS_unshare,
                [libc::CLONE_THREAD as usize, 0, 0, 0, 0, 0],
            ) == 0
        },
    }
}

/// How many threads the process has; `None` where /proc does not tell.
fn thread_count() -> Option<usize> {
    let mut status = MaybeUninit::<libc::stat>::zeroed();
    let path = c"/proc/self/task";
    let arguments = [
        libc::AT_FDCWD as usize,
        path.as_ptr().addr(),
        status.as_mut_ptr().addr(),
        0,
        0,
        0,
    ];
    // SAFETY: the path is a C string, and the status has the kernel's type. It
    // is zeroed, which is a value of it, and the kernel fills it.
    let links = unsafe {
        if call(libc::SYS_newfstatat, arguments) != 0 {
            return None;
        }
        status.assume_init().st_nlink
    };
    // A folder for each thread, and the two that each folder has (proc(5)).
    usize::try_from(links).ok()?.checked_sub(2)
}

/// The calling thread's number in the system.
pub fn thread_number() -> u32 {
    // SAFETY: takes no arguments.
    unsafe { call(libc::SYS_gettid, [0; 6]) as u32 }
}

/// Is the calling thread the one that the process began with?
pub fn is_main_thread() -> bool {
    // SAFETY: neither takes arguments.
    unsafe { call(libc::SYS_gettid, [0; 6]) == call(libc::SYS_getpid, [0; 6]) }
}

/// Nanoseconds on a clock that nobody sets.
pub fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let place: *mut libc::timespec = &mut time;
    let clock = libc::CLOCK_MONOTONIC as usize;
    // SAFETY: the place is valid for the result.
    unsafe { call(libc::SYS_clock_gettime, [clock, place.addr(), 0, 0, 0, 0]) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The key of the main thread's end plus one; 0: none yet.
// SAFETY: a section of variables.
#[unsafe(link_section = ".data.thmalloc_entry")]
static MAIN_KEY: AtomicU32 = AtomicU32::new(0);

/// Has `ended` called in the main thread when it ends before the process does
/// (pthread_exit(3) in `main`). To be called once, by that thread. False where
/// libc cannot do it.
pub fn watch_main_thread(ended: extern "C" fn(*mut c_void)) -> bool {
    type KeyCreate = extern "C" fn(*mut libc::pthread_key_t, extern "C" fn(*mut c_void)) -> c_int;
    let create = weak_function!("pthread_key_create", KeyCreate, false);
    let mut key = 0;
    if create(&mut key, ended) != 0 {
        return false;
    }
    // Relaxed: read by this thread, or by a child of a fork.
    MAIN_KEY.store(key + 1, Ordering::Relaxed);
    watch_this_thread()
}

/// As [`watch_main_thread`], in the child of a fork, whose only thread is its
/// main thread. False where there is nothing to call.
pub fn watch_this_thread() -> bool {
    type SetSpecific = extern "C" fn(libc::pthread_key_t, *const c_void) -> c_int;
    let set = weak_function!("pthread_setspecific", SetSpecific, false);
    match MAIN_KEY.load(Ordering::Relaxed).checked_sub(1) {
        // Anything but null has the function called.
        Some(key) => set(key, null::<u8>().wrapping_add(1).cast()) == 0,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted() {
        let before = thread_count().expect("/proc");
        let leave = [libc::CLONE_THREAD as usize, 0, 0, 0, 0, 0];
        std::thread::scope(|scope| {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || stopped.recv());
            assert!(thread_count().expect("/proc") > 1);
            assert!(!is_only_thread());
            // SAFETY: changes nothing.
            assert_ne!(unsafe { call(libc::SYS_unshare, leave) }, 0);
            drop(stop);
        });
        assert!(before >= 1);
    }

    #[test]
    fn the_clock_goes_forward() {
        let before = now();
        assert!(before != 0 && now() >= before);
    }

    #[test]
    fn a_thread_blocks_all_signals_but_those_of_libc() {
        static BLOCKED: AtomicU32 = AtomicU32::new(0);
        extern "C" fn entry(_: *mut c_void) -> *mut c_void {
            let set = change_signals(libc::SIG_BLOCK, 0);
            let has = |signal: c_int| set >> (signal - 1) & 1 != 0;
            let right = has(libc::SIGTERM) && has(libc::SIGUSR1) && !has(32) && !has(33);
            BLOCKED.store(1 + u32::from(right), Ordering::Release);
            null_mut()
        }
        find_thread_functions();
        let thread = start_thread(entry).expect("a thread");
        join_thread(thread);
        while BLOCKED.load(Ordering::Acquire) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(BLOCKED.load(Ordering::Acquire), 2);
    }
}
