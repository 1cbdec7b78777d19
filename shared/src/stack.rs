//! The stack, where computations leave copies of the keys that they worked with.

/// More than the deepest computation here takes, unoptimised.
const DEPTH: usize = 128 * 1024;

/// Does some work with keys and overwrites the stack that it used.
///
/// What it returns must hold its secrets elsewhere, or they are on the stack again.
pub(crate) fn wiped_after<T>(work: impl FnOnce() -> T) -> T {
    let result = do_deeper(work);
    zeroize::zeroize_stack::<DEPTH>();
    result
}

/// A frame of its own, so that all of the work lies in what is overwritten.
#[inline(never)]
fn do_deeper<T>(work: impl FnOnce() -> T) -> T {
    work()
}
