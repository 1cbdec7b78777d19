//! A library for `LD_PRELOAD` (ld.so(8)): it shifts the wall clock of an unchanged program.
//!
//! The file that `WAXSEAL_TEST_CLOCK` names holds the shift in seconds: an `i64` in the machine's byte order. It is
//! read at each look at the clock, so a test moves the clock of a running program. Only the wall clock moves: timers,
//! which follow the monotonic clock, do not.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use libc::{CLOCK_REALTIME, CLOCK_REALTIME_COARSE, c_int, clockid_t, timespec};

/// Replaces `clock_gettime` of the C library (clock_gettime(2)), which Rust's standard library calls.
///
/// # Safety
///
/// `time` must point to a `timespec` that can be written, or be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the kernel checks both arguments.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    if result == 0 && [CLOCK_REALTIME, CLOCK_REALTIME_COARSE].contains(&clock) {
        // SAFETY: the kernel has just written there.
        unsafe { (*time).tv_sec += shift() };
    }
    if result == 0 { 0 } else { -1 }
}

/// Ends the program if the file is missing: without it, a test would run with the wrong clock.
fn shift() -> i64 {
    static FILE: OnceLock<File> = OnceLock::new();
    let open = || {
        let path = std::env::var_os("WAXSEAL_TEST_CLOCK").expect("WAXSEAL_TEST_CLOCK names a file");
        File::open(path).expect("the file of WAXSEAL_TEST_CLOCK can be read")
    };
    let mut seconds = [0; 8];
    let read = FILE.get_or_init(open).read_exact_at(&mut seconds, 0);
    read.expect("the file of WAXSEAL_TEST_CLOCK has 8 bytes");
    i64::from_ne_bytes(seconds)
}
