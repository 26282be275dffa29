//! Fields of shared structures that a lock guards, but that others may look at
//! without it: plain loads and stores of whole words.
//!
//! Always: Relaxed. A field publishes nothing; who needs its value to be exact
//! holds the lock that the structure's header names, and who does not (a check
//! of a foreign pointer, a statistic) lives with one that is about to change.
#![allow(unsafe_code)] // A link gives back the reference that was put in.

use super::atomic::{AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// A word that can be a [`Field`].
pub trait Word: Copy {
    /// The atomic of the same size.
    type Atomic;
    /// Makes it.
    fn new(value: Self) -> Self::Atomic;
    /// Reads it.
    fn load(atomic: &Self::Atomic) -> Self;
    /// Writes it.
    fn store(atomic: &Self::Atomic, value: Self);
}

macro_rules! word {
    ($word:ty, $atomic:ty) => {
        impl Word for $word {
            type Atomic = $atomic;
            fn new(value: Self) -> Self::Atomic {
                <$atomic>::new(value)
            }
            #[inline]
            fn load(atomic: &Self::Atomic) -> Self {
                // Relaxed: see the module's header.
                atomic.load(Ordering::Relaxed)
            }
            #[inline]
            fn store(atomic: &Self::Atomic, value: Self) {
                // Relaxed: see the module's header.
                atomic.store(value, Ordering::Relaxed);
            }
        }
    };
}

word!(u8, AtomicU8);
word!(u16, AtomicU16);
word!(u32, AtomicU32);
word!(u64, AtomicU64);
word!(usize, AtomicUsize);

/// A word of a shared structure.
#[repr(transparent)]
pub struct Field<T: Word>(T::Atomic);

impl<T: Word> Field<T> {
    /// A field of that value.
    pub fn new(value: T) -> Self {
        Self(T::new(value))
    }

    /// Reads the word.
    #[inline]
    pub fn get(&self) -> T {
        T::load(&self.0)
    }

    /// Writes the word.
    #[inline]
    pub fn set(&self, value: T) {
        T::store(&self.0, value);
    }
}

/// A field that names a structure which is never taken down, or none.
#[repr(transparent)]
pub struct Link<T: 'static>(AtomicPtr<T>);

impl<T: Sync + 'static> Link<T> {
    /// A link to nothing.
    pub const fn none() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// Whither it leads.
    #[inline]
    pub fn get(&self) -> Option<&'static T> {
        // Relaxed: see the module's header. SAFETY: only `set` writes it, and
        // only null or a reference that lives for good.
        unsafe { self.0.load(Ordering::Relaxed).as_ref() }
    }

    /// Leads it elsewhere.
    #[inline]
    pub fn set(&self, target: Option<&'static T>) {
        let address = target.map_or(core::ptr::null_mut(), |t| core::ptr::from_ref(t).cast_mut());
        // Relaxed: see the module's header.
        self.0.store(address, Ordering::Relaxed);
    }
}

/// A structure that can stand in one [`List`] at a time.
pub trait Linked: Sync + Sized + 'static {
    /// Its links to the one before and the one after.
    fn links(&self) -> (&Link<Self>, &Link<Self>);
}

/// A doubly linked list through the structures themselves. Who changes it
/// holds the lock of the tier it belongs to.
#[repr(transparent)]
pub struct List<T: Linked> {
    first: Link<T>,
}

impl<T: Linked> List<T> {
    /// An empty list.
    pub const fn new() -> Self {
        Self {
            first: Link::none(),
        }
    }

    /// The first, if any.
    #[inline]
    pub fn first(&self) -> Option<&'static T> {
        self.first.get()
    }

    /// Puts `item`, which is in no list, first.
    pub fn push(&self, item: &'static T) {
        let (before, after) = item.links();
        let old = self.first.get();
        before.set(None);
        after.set(old);
        if let Some(old) = old {
            old.links().0.set(Some(item));
        }
        self.first.set(Some(item));
    }

    /// Takes `item`, which is in this list, out.
    pub fn remove(&self, item: &'static T) {
        let (before, after) = item.links();
        match before.get() {
            Some(before) => before.links().1.set(after.get()),
            None => self.first.set(after.get()),
        }
        if let Some(after) = after.get() {
            after.links().0.set(before.get());
        }
        before.set(None);
        after.set(None);
    }

    /// All of them, first to last.
    pub fn iter(&self) -> impl Iterator<Item = &'static T> {
        core::iter::successors(self.first.get(), |item| item.links().1.get())
    }
}

impl<T: Linked> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}
