//! Objects that change their size.
#![allow(unsafe_code)] // Copies memory.

use super::Heap;
use crate::cpu_cache::x86_64;
use crate::fatal::Call;
use crate::size_class::SizeClass;
use crate::sync::atomic::Ordering;

impl Heap {
    /// Changes an object's size; it may move. Null where there is no memory:
    /// the object is then as it was.
    ///
    /// # Safety
    /// `object` is not null, nobody else uses it, and if it moves nobody uses
    /// the old one any more.
    pub unsafe fn reallocate(&self, object: *mut u8, bytes: usize) -> *mut u8 {
        let address = object.expose_provenance();
        let class = match self.class_or_span(address, Call::Realloc) {
            Ok(class) => class,
            Err(large) => return self.reallocate_large(large, bytes),
        };
        let old = class.bytes();
        if bytes <= old && wastes_little(bytes, old) {
            return object;
        }
        let Some(new_class) = SizeClass::for_size(bytes) else {
            return self.move_object(object, class, bytes);
        };
        let new = x86_64::take_inline(new_class.number());
        if new.is_null() {
            return self.move_object(object, class, bytes);
        }
        // SAFETY: both objects have that many bytes, and are apart; the old one is
        // given up.
        unsafe {
            new.copy_from_nonoverlapping(object, old.min(bytes));
            self.free_class_inline(object, class, Call::Realloc);
        }
        new
    }

    /// Moves a small object of the class to a new one of so many bytes, where no
    /// sequence takes that.
    #[cold]
    #[inline(never)]
    fn move_object(&self, object: *mut u8, class: SizeClass, bytes: usize) -> *mut u8 {
        let old = class.bytes();
        let new = self.allocate(bytes);
        if new.is_null() && bytes <= old {
            return self.keep_whole(object);
        }
        if !new.is_null() {
            // SAFETY: both objects have that many bytes, and are apart; the
            // old one is given up.
            unsafe {
                new.copy_from_nonoverlapping(object, old.min(bytes));
                self.free_class(object, class, Call::Realloc);
            }
        }
        new
    }

    /// An object that was to become smaller, and stays as it is for want of
    /// memory: programs do not expect that to fail.
    #[cold]
    pub(super) fn keep_whole(&self, object: *mut u8) -> *mut u8 {
        // Relaxed: a hint for messages about misuse.
        self.has_oversized.store(true, Ordering::Relaxed);
        object
    }

    /// Can an object be much larger than what was asked for last? See
    /// `keep_whole`.
    pub fn has_oversized(&self) -> bool {
        self.has_oversized.load(Ordering::Relaxed)
    }
}

/// May an object of `old` bytes stay where it is for `bytes`? A quarter may be
/// wasted.
pub(super) fn wastes_little(bytes: usize, old: usize) -> bool {
    bytes >= old - old / 4 || old <= 64 && bytes >= old / 2
}
