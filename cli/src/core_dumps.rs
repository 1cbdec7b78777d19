//! Core dumps, which would write keys and values to the disk.
//!
//! The controller has a copy of this file. The only crate of this workspace that both programs use is `shared`, which
//! does no input or output.

use rustix::io;
use rustix::process::{Resource, Rlimit, setrlimit};

/// Forbids core dumps of this process, permanently.
///
/// The limit alone is not enough: the kernel ignores the limit when it pipes a dump to a program, but then it still
/// obeys the dumpable attribute (core(5)). A process that is not dumpable is also protected from debuggers: without
/// `CAP_SYS_PTRACE`, not even its own user can read its memory or attach to it (prctl(2)).
pub(crate) fn forbid() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
}
