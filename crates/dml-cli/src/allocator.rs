//! Memory of a process that computes in large blocks and then makes the same blocks again.

/// Large blocks of a training step are reused instead of being given back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc's `mimalloc.h`, which the crate does not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed memory: the system would clear every page of it before the next step may have it, which takes a tenth of the step.
pub(crate) fn keep_freed_memory() {
    // SAFETY: not thread-safe, but no other thread runs yet; -1 is a value of this option, and a number without an option is ignored.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}
