//! The allocator of both programs wipes what it frees, also when a buffer grows or shrinks.
//!
//! The kernel shows this process its own memory, freed or not, in `/proc/self/mem` (proc(5)).

use std::alloc::System;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;

use zeroizing_alloc::ZeroAlloc;

#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Less than the size that the system's allocator gives back to the kernel at once, and a size that no other code asks
/// for.
const BYTES: usize = 12_345;
const SECRET: u8 = 0xa7;
/// A run of these bytes that is too long to be there by chance.
const TRACE: [u8; 16] = [SECRET; 16];

/// A buffer full of the secret, and its address.
fn filled() -> (Vec<u8>, u64) {
    let buffer = black_box(vec![SECRET; BYTES]);
    let address = buffer.as_ptr() as u64;
    (buffer, address)
}

/// Whether the secret is at an address, in memory that may have been freed. Allocates nothing: an allocation could
/// reuse this memory.
fn shows(address: u64) -> bool {
    let memory = File::open("/proc/self/mem").expect("Linux");
    let mut bytes = [0; BYTES];
    memory.read_exact_at(&mut bytes, address).expect("the heap does not shrink so fast");
    bytes.windows(TRACE.len()).any(|window| window == TRACE)
}

#[test]
fn a_buffer_is_wiped_when_it_is_freed() {
    let (buffer, address) = filled();
    assert!(shows(address), "the test sees no memory");
    drop(buffer);
    assert!(!shows(address));
}

#[test]
fn a_buffer_is_wiped_when_it_grows() {
    let (mut buffer, address) = filled();
    buffer.reserve_exact(4 * BYTES);
    assert_ne!(black_box(&buffer).as_ptr() as u64, address, "it grew in place");
    assert!(!shows(address));
}

#[test]
fn a_buffer_is_wiped_when_it_shrinks() {
    let (mut buffer, address) = filled();
    buffer.truncate(TRACE.len() - 1);
    buffer.shrink_to_fit();
    black_box(&buffer);
    assert!(!shows(address));
}
