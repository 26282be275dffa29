//! Something that is done once, by whoever comes first; others wait.
//!
//! Always: the state goes 0 (not begun), 1 (under way), 2 (done), and never
//! back. What is done must not come back here: start-up makes system calls
//! only, and what may allocate waits until it is done.

use super::atomic::{AtomicU32, Ordering};
use crate::{fatal, os};

const NOT_BEGUN: u32 = 0;
const UNDER_WAY: u32 = 1;
const DONE: u32 = 2;

/// The state of something that is done once.
pub struct Once {
    state: AtomicU32,
}

impl Once {
    /// Where the state stands, in bytes from the start: a `u32`.
    pub const STATE_AT: usize = core::mem::offset_of!(Self, state);

    /// Not begun.
    pub const fn new() -> Self {
        Self {
            state: AtomicU32::new(NOT_BEGUN),
        }
    }

    /// Is it done? What was done is then seen.
    pub fn is_done(&self) -> bool {
        // Acquire: pairs with the Release in `call`.
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Does `work` if nobody has; waits for whoever is at it. `work` must not
    /// come back here.
    #[cold]
    pub fn call(&self, work: impl FnOnce()) {
        // Acquire on failure: pairs with the Release below, as in `is_done`.
        match self.state.compare_exchange(
            NOT_BEGUN,
            UNDER_WAY,
            Ordering::Relaxed,
            Ordering::Acquire,
        ) {
            Ok(_) => {
                work();
                // Release: pairs with the Acquire in `is_done` and `call`.
                self.state.store(DONE, Ordering::Release);
                os::futex_wake_all(&self.state);
            }
            Err(DONE) => {}
            Err(_) if os::is_single_threaded() => fatal::waits_for_itself(),
            Err(_) => {
                while !self.is_done() {
                    os::futex_wait(&self.state, UNDER_WAY);
                }
            }
        }
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}
