//! The last words: what was found, where, and the likely cause; then abort.
//!
//! Always: one line on standard error by one write, text on the stack, no
//! lock, no allocation; SIGABRT in the context of the failing call, so that a
//! debugger shows who made it.

use crate::os;

/// What a program asked for when its pointer was found to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `free`, and what is the same: `operator delete`, a Rust deallocation.
    Free,
    /// `realloc`, `reallocarray`, a Rust reallocation.
    Realloc,
    /// `malloc_usable_size`.
    UsableSize,
    /// `free_sized`.
    FreeSized,
    /// `free_aligned_sized`.
    FreeAlignedSized,
    /// Objects on their way from a cache to their span.
    Flush,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Call::Free => "free",
            Call::Realloc => "realloc",
            Call::UsableSize => "malloc_usable_size",
            Call::FreeSized => "free_sized",
            Call::FreeAlignedSized => "free_aligned_sized",
            // Seen late: the object came in by an earlier free.
            Call::Flush => "free",
        }
    }
}

/// Text on the stack. What does not fit is cut.
pub struct Text<const ROOM: usize> {
    text: [u8; ROOM],
    length: usize,
}

/// A line.
pub type Line = Text<256>;

impl<const ROOM: usize> Text<ROOM> {
    /// A line that begins with the library's name.
    pub fn new() -> Self {
        let line = Self {
            text: [0; ROOM],
            length: 0,
        };
        line.text("thmalloc: ")
    }

    /// Ends the line, and begins another.
    pub fn line(self) -> Self {
        self.text("\nthmalloc: ")
    }

    /// Adds bytes.
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        // One byte is kept for the line's end.
        for &byte in bytes {
            if let Some(place) = self.text[..ROOM - 1].get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
        self
    }

    /// Adds text.
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a number in decimal.
    pub fn number(self, number: usize) -> Self {
        self.digits(number, 10)
    }

    /// Adds an address as `%p` prints it.
    pub fn address(self, address: usize) -> Self {
        self.text("0x").digits(address, 16)
    }

    fn digits(self, mut number: usize, base: usize) -> Self {
        let mut digits = [0_u8; 20];
        let mut first = digits.len();
        loop {
            first = first.saturating_sub(1);
            let digit = (number % base) as u8;
            let letter = if digit < 10 { b'0' } else { b'a' - 10 };
            if let Some(place) = digits.get_mut(first) {
                *place = letter + digit;
            }
            number /= base;
            if number == 0 {
                break;
            }
        }
        self.bytes(digits.get(first..).unwrap_or_default())
    }

    /// Ends the line: the bytes of all.
    pub fn finish(&mut self) -> &[u8] {
        if let Some(end) = self.text.get_mut(self.length) {
            *end = b'\n';
            self.length += 1;
        }
        self.text.get(..self.length).unwrap_or_default()
    }

    /// Writes the line to standard error.
    pub fn write(mut self) {
        os::write_stderr(self.finish());
    }
}

impl<const ROOM: usize> Default for Text<ROOM> {
    fn default() -> Self {
        Self::new()
    }
}

fn misuse(call: Call, address: usize) -> Line {
    Line::new()
        .text(call.name())
        .text(" of ")
        .address(address)
        .text(": ")
}

fn die(line: Line) -> ! {
    line.write();
    os::abort()
}

/// The address is not in any span, though it could be one of the process.
#[cold]
#[inline(never)]
pub fn foreign(call: Call, address: usize) -> ! {
    if address >> os::USER_ADDRESS_BITS != 0 {
        die(misuse(call, address)
            .text("not an address of this process (corrupted pointer, or freed memory was read)"))
    }
    die(misuse(call, address).text(
        "not from thmalloc (a stack or static address, another allocator's, or a corrupted pointer)",
    ))
}

/// The address lies inside an object, not at its start.
#[cold]
#[inline(never)]
pub fn interior(call: Call, address: usize, object: usize, object_bytes: usize) -> ! {
    die(misuse(call, address)
        .number(address - object)
        .text(" bytes into an object of ")
        .number(object_bytes)
        .text(" bytes at ")
        .address(object)
        .text(" (pass the address that malloc returned)"))
}

/// The object is free already.
#[cold]
#[inline(never)]
pub fn already_free(call: Call, address: usize) -> ! {
    die(misuse(call, address).text("already free (double free, or use of an old pointer)"))
}

/// The size that came with a free is not the object's.
#[cold]
#[inline(never)]
pub fn wrong_size(call: Call, address: usize, given: usize, object_bytes: usize) -> ! {
    die(misuse(call, address)
        .text("the size given is ")
        .number(given)
        .text(" bytes, the object has ")
        .number(object_bytes)
        .text(" (wrong size, or wrong pointer)"))
}

/// `operator new` has no memory, and the program has no C++ runtime that could
/// throw `std::bad_alloc`.
#[cold]
#[inline(never)]
pub fn cannot_throw(bytes: usize) -> ! {
    die(Line::new()
        .text("operator new of ")
        .number(bytes)
        .text(" bytes: out of memory, and no C++ runtime was found to throw std::bad_alloc"))
}

/// A process with one thread waits for that thread itself: it is in the middle of a call of
/// the heap's, which a signal handler interrupted. The handler allocates, or has left
/// it by longjmp(3) or exit(3).
#[cold]
#[inline(never)]
pub fn waits_for_itself() -> ! {
    die(Line::new().text(
        "a call of malloc or free would wait for ever for one that a signal handler interrupted \
         (handlers must not allocate, nor leave one by longjmp or exit)",
    ))
}

/// The books do not agree: a bug of ours, or a wild write of the program's.
#[cold]
#[inline(never)]
pub fn inconsistent(what: &str, address: usize) -> ! {
    die(Line::new()
        .text("inconsistent heap: ")
        .text(what)
        .text(" at ")
        .address(address))
}
