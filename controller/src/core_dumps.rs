//! Core dumps, which would write every key and value to a disk.
//!
//! The CLI has the same file: `shared`, the only crate that both programs use, does no IO.

use rustix::io;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Forbids them to this process, for good.
///
/// The limit alone is not enough: where the kernel pipes dumps to a program it does not count, but
/// the dumpable attribute does (core(5)). Without that attribute nobody reads the process's memory
/// or attaches to it who lacks `CAP_SYS_PTRACE`, not even its own user (prctl(2)).
pub(crate) fn forbid() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}
