//! Wiping the stack, where computations leave copies of keys.

/// More bytes than the deepest computation uses in a build without optimisation.
const DEPTH: usize = 128 * 1024;

/// Does some work with keys, then overwrites the stack that the work used.
///
/// The result must hold its secrets on the heap: on the stack they would survive.
pub(crate) fn wiped_after<T>(work: impl FnOnce() -> T) -> T {
    let result = do_deeper(work);
    zeroize::zeroize_stack::<DEPTH>();
    result
}

// Never inlined: the work must run in a deeper frame, which the caller overwrites.
#[inline(never)]
fn do_deeper<T>(work: impl FnOnce() -> T) -> T {
    work()
}
