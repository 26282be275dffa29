//! Stands in for the core's atomics.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{self, AtomicUsize as Count};

pub use loom::sync::atomic::Ordering;
use loom::sync::atomic::{AtomicU64 as LoomWord, fence as loom_fence};
use loom::thread::ThreadId;

use crate::in_model;

/// More words than any model has.
const MOST_WORDS: usize = 16;

loom::lazy_static! {
    static ref WORDS: Words = Words {
        words: std::array::from_fn(|_| LoomWord::new(0)),
        used: Count::new(0),
    };
}

/// The words of one execution: a source's `const fn` cannot make loom's, and loom
/// wants them to be there before the threads that share them.
struct Words {
    words: [LoomWord; MOST_WORDS],
    used: Count,
}

/// Where compilers put the fences of `SeqCst`, which loom takes as `AcqRel`. Both
/// are right; what needs two such operations in their order has a fence between
/// them either way, and where one is less than that, has none in one of the two.
#[derive(Clone, Copy, PartialEq)]
pub enum Fences {
    /// In front of each.
    Leading,
    /// Behind each.
    Trailing,
}

thread_local! {
    static FENCES: Cell<Fences> = const { Cell::new(Fences::Leading) };
    /// Who read last, which word and what, if no word was used since.
    static LAST_READ: Cell<Option<(ThreadId, usize, u64)>> = const { Cell::new(None) };
}

/// From now on they are there.
pub fn set_fences(fences: Fences) {
    FENCES.set(fences);
}

/// Makes the words of this execution, before there are other threads; and none
/// was read yet.
pub fn begin() {
    assert_eq!(WORDS.used.load(Ordering::Relaxed), 0);
    forget_last_read();
}

/// Something else was done since a word was read.
pub fn forget_last_read() {
    LAST_READ.set(None);
}

/// A fence between other threads and this one.
pub fn fence(ordering: Ordering) {
    forget_last_read();
    match in_model() {
        true => loom_fence(ordering),
        false => atomic::fence(ordering),
    }
}

fn fenced<R>(ordering: Ordering, operation: impl FnOnce() -> R) -> R {
    forget_last_read();
    if ordering != Ordering::SeqCst {
        return operation();
    }
    if FENCES.get() == Fences::Leading {
        loom_fence(Ordering::SeqCst);
    }
    let result = operation();
    if FENCES.get() == Fences::Trailing {
        loom_fence(Ordering::SeqCst);
    }
    result
}

/// What a word can hold.
pub trait Value: Copy {
    /// As a number.
    fn number(self) -> u64;
    /// From that number.
    fn of(number: u64) -> Self;
}

/// A word of loom's that can stand in a `const fn`. Outside of models (the
/// sources have tests of their own) it is a plain atomic.
pub struct Word<T> {
    initial: u64,
    place: OnceLock<usize>,
    plain: atomic::AtomicU64,
    value: PhantomData<T>,
}

impl<T: Value> Word<T> {
    const fn with(initial: u64) -> Self {
        Self {
            initial,
            place: OnceLock::new(),
            plain: atomic::AtomicU64::new(initial),
            value: PhantomData,
        }
    }

    fn place(&self) -> usize {
        *self.place.get_or_init(|| {
            assert_eq!(self.initial, 0, "as all of an execution's words");
            WORDS.used.fetch_add(1, Ordering::Relaxed)
        })
    }

    fn word(&self) -> &'static LoomWord {
        &WORDS.words[self.place()]
    }

    /// What a futex sees.
    pub fn load_now(&self) -> T {
        forget_last_read();
        T::of(self.word().load(Ordering::Acquire))
    }

    /// Reads it. A relaxed read that the same thread repeats at once may see what
    /// it saw, and here does: a spinning thread is not worth a hundred steps.
    pub fn load(&self, ordering: Ordering) -> T {
        if !in_model() {
            return T::of(self.plain.load(ordering));
        }
        if ordering != Ordering::Relaxed {
            return T::of(fenced(ordering, || self.word().load(ordering)));
        }
        let me = (loom::thread::current().id(), self.place());
        if let Some((reader, word, value)) = LAST_READ.get()
            && (reader, word) == me
        {
            return T::of(value);
        }
        let value = self.word().load(ordering);
        LAST_READ.set(Some((me.0, me.1, value)));
        T::of(value)
    }

    /// Writes it.
    pub fn store(&self, value: T, ordering: Ordering) {
        match in_model() {
            true => fenced(ordering, || self.word().store(value.number(), ordering)),
            false => self.plain.store(value.number(), ordering),
        }
    }

    /// Exchanges it.
    pub fn swap(&self, value: T, ordering: Ordering) -> T {
        let value = value.number();
        T::of(match in_model() {
            true => fenced(ordering, || self.word().swap(value, ordering)),
            false => self.plain.swap(value, ordering),
        })
    }

    /// Adds to it.
    pub fn fetch_add(&self, value: T, ordering: Ordering) -> T {
        let value = value.number();
        T::of(match in_model() {
            true => fenced(ordering, || self.word().fetch_add(value, ordering)),
            false => self.plain.fetch_add(value, ordering),
        })
    }

    /// Exchanges it if it has that value.
    pub fn compare_exchange(
        &self,
        current: T,
        new: T,
        success: Ordering,
        failure: Ordering,
    ) -> Result<T, T> {
        let (old, new) = (current.number(), new.number());
        let before = match in_model() {
            true => fenced(success, || {
                self.word().compare_exchange(old, new, success, failure)
            }),
            false => self.plain.compare_exchange(old, new, success, failure),
        };
        before.map(T::of).map_err(T::of)
    }
}

macro_rules! word {
    ($name:ident, $value:ty, $of:expr) => {
        /// Such a word.
        pub type $name = Word<$value>;

        impl Word<$value> {
            /// A word of that value.
            pub const fn new(initial: $value) -> Self {
                Self::with(initial as u64)
            }
        }

        impl Value for $value {
            fn number(self) -> u64 {
                self as u64
            }

            fn of(number: u64) -> Self {
                $of(number)
            }
        }
    };
}

word!(AtomicU32, u32, |number| number as u32);
word!(AtomicUsize, usize, |number| number as usize);
word!(AtomicU64, u64, |number| number);
word!(AtomicBool, bool, |number| number != 0);
