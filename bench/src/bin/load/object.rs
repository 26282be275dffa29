//! Objects from `malloc`: made, written, checked, freed, through the C ABI.
//!
//! Always: an object's first words say how long it is and whose address it was
//! written at, so that it can be freed by a thread that knows its address
//! alone, and an object that two owners got is found.
#![allow(
    unsafe_code,
    reason = "malloc and free of the C ABI are what is measured"
)]

use std::process::abort;
use std::ptr;

/// The bytes of an object's head; no object is smaller.
pub const HEAD_BYTES: usize = 16;
const STAMP: u64 = 0x6c6f_6164_2d6f_626a;

/// Bytes and objects made, less those freed, by one thread or all.
#[derive(Clone, Copy, Default)]
pub struct Account {
    /// Bytes as asked for.
    pub live: i64,
    /// Bytes as `malloc_usable_size` has them.
    pub usable: i64,
    /// Objects.
    pub objects: i64,
}

/// Allocates an object of `bytes`, at least [`HEAD_BYTES`], and writes all of it.
pub fn make(bytes: usize, account: &mut Account) -> *mut u8 {
    // SAFETY: malloc may be called with any size.
    let object = unsafe { libc::malloc(bytes) }.cast::<u8>();
    if object.is_null() {
        eprintln!("load: malloc({bytes}) returned NULL");
        abort();
    }
    let size = bytes as u64;
    // SAFETY: malloc returned `bytes`, which nobody else has; HEAD_BYTES of
    // them are the two words, and its result is aligned for them.
    unsafe {
        let head = object.cast::<u64>();
        head.write(size);
        head.add(1).write(STAMP ^ size ^ object.addr() as u64);
        ptr::write_bytes(object.add(HEAD_BYTES), bytes as u8, bytes - HEAD_BYTES);
    }
    account.live += size as i64;
    account.usable += usable(object);
    account.objects += 1;
    object
}

/// Frees an object that [`make`] made; ends the process if it was written to.
pub fn free(object: *mut u8, account: &mut Account) {
    let bytes = length(object);
    // SAFETY: `length` found the object whole, so `bytes` are the object's, and
    // it was made by malloc; whoever took its address out of the books frees it.
    unsafe {
        if bytes > HEAD_BYTES && object.add(bytes - 1).read() != bytes as u8 {
            damaged(object);
        }
        account.live -= bytes as i64;
        account.usable -= usable(object);
        account.objects -= 1;
        libc::free(object.cast());
    }
}

/// How many bytes a live object has.
pub fn length(object: *mut u8) -> usize {
    let head = object.cast::<u64>();
    // SAFETY: the books hold addresses of objects that `make` made and nobody
    // has freed; each has its head.
    let (size, stamp) = unsafe { (head.read(), head.add(1).read()) };
    if stamp != STAMP ^ size ^ object.addr() as u64 {
        damaged(object);
    }
    size as usize
}

fn usable(object: *mut u8) -> i64 {
    // SAFETY: the object is live.
    unsafe { libc::malloc_usable_size(object.cast()) as i64 }
}

#[cold]
fn damaged(object: *mut u8) -> ! {
    eprintln!("load: the object at {object:?} was written to by someone else");
    abort();
}

/// A way to allocate and free, for timing the calls alone.
#[derive(Clone, Copy)]
pub struct Calls {
    /// Allocates.
    pub malloc: fn(usize) -> *mut u8,
    /// Frees what `malloc` returned.
    pub free: fn(*mut u8),
    /// Whether what `malloc` returns may be written to.
    pub writable: bool,
}

/// The allocator.
pub const ALLOCATOR: Calls = Calls {
    // SAFETY: malloc may be called with any size.
    malloc: |bytes| unsafe { libc::malloc(bytes) }.cast(),
    // SAFETY: the timing loop frees what `malloc` returned, once.
    free: |object| unsafe { libc::free(object.cast()) },
    writable: true,
};

/// Calls that do nothing: what is slow about them is the machine.
pub const NOTHING: Calls = Calls {
    malloc: |bytes| ptr::without_provenance_mut(std::hint::black_box(bytes)),
    free: |object| {
        std::hint::black_box(object);
    },
    writable: false,
};

/// Writes the first words of an object of at least [`HEAD_BYTES`].
pub fn write_head(object: *mut u8, calls: Calls) {
    if calls.writable && !object.is_null() {
        // SAFETY: the object was returned by malloc for at least HEAD_BYTES.
        unsafe { ptr::write_bytes(object, 1, HEAD_BYTES) };
    }
}
