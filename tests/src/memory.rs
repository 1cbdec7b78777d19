//! Reading the memory of a running process from `/proc/PID/maps` and `/proc/PID/mem` (proc(5)).
//!
//! The programs under test forbid core dumps. Reading their memory then needs `CAP_SYS_PTRACE` in the user namespace in
//! which they were started. Root has it. Another user has it in a user namespace that the user creates
//! (user_namespaces(7)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::canaries::{Canaries, Sighting};

/// The bit of `CAP_SYS_PTRACE` (capabilities(7)).
const CAP_SYS_PTRACE: u32 = 19;

/// A range of memory that the process can write.
pub struct Mapping {
    /// A path, `[heap]`, `[stack]`, or an empty text for other memory.
    pub name: String,
    /// The content.
    pub bytes: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "failed to read the memory of process {process}: the tests need CAP_SYS_PTRACE (root has it; in a container, \
         add it), or `unshare` and the right to create user namespaces"
    )]
    Forbidden { process: u32, source: io::Error },
    #[error("failed to read the memory of process {process}")]
    Read { process: u32, source: io::Error },
    #[error("failed to understand the memory map of process {process}")]
    Map { process: u32 },
    #[error("failed to understand the status of a thread of process {process}")]
    Status { process: u32 },
}

/// Returns a command that runs a program so that the caller may read its memory.
pub fn readable(program: &Path) -> io::Result<Command> {
    if holds_ptrace(&fs::read_to_string("/proc/self/status")?) {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--"]).arg(program);
    Ok(command)
}

fn holds_ptrace(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or_default();
    bits >> CAP_SYS_PTRACE & 1 == 1
}

/// Returns the maximum of resident memory of a process so far, in KiB (`VmHWM` of proc(5)).
pub fn most_resident(process: u32) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{process}/status"));
    let status = status.map_err(|source| Error::Read { process, source })?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kibibytes.ok_or(Error::Map { process })
}

/// Reads all memory that a process can write: heaps, stacks, static variables.
pub fn read(process: u32) -> Result<Vec<Mapping>, Error> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Forbidden { process, source },
        _ => Error::Read { process, source },
    };
    let map = fs::read_to_string(format!("/proc/{process}/maps")).map_err(failed)?;
    let memory = File::open(format!("/proc/{process}/mem")).map_err(failed)?;
    let mut mappings = Vec::new();
    for line in map.lines() {
        let (start, end, name) = writable(line).ok_or(Error::Map { process })?;
        if start < end {
            let mut bytes = vec![0; end - start];
            memory.read_exact_at(&mut bytes, start as u64).map_err(failed)?;
            mappings.push(Mapping { name, bytes });
        }
    }
    Ok(mappings)
}

/// Like [`read`]. Returns `None` unless every thread of the process sleeps all the time that the reading takes.
pub fn read_idle(process: u32) -> Result<Option<Vec<Mapping>>, Error> {
    let Some(before) = switches(process)? else { return Ok(None) };
    let memory = read(process);
    // A thread that runs can also make the reading fail: it can unmap memory.
    if switches(process)? == Some(before) { memory.map(Some) } else { Ok(None) }
}

/// Whether every thread of a process sleeps.
pub fn is_idle(process: u32) -> Result<bool, Error> {
    Ok(switches(process)?.is_some())
}

/// Returns the number of context switches of each thread, by thread id; `None` unless every thread sleeps. The number
/// of a thread that wakes and sleeps again is larger.
fn switches(process: u32) -> Result<Option<BTreeMap<OsString, u64>>, Error> {
    let failed = |source| Error::Read { process, source };
    let mut switches = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{process}/task")).map_err(failed)? {
        let thread = thread.map_err(failed)?;
        // Fails if the thread has just ended.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { return Ok(None) };
        let (is_asleep, count) = state_and_switches(&status).ok_or(Error::Status { process })?;
        if !is_asleep {
            return Ok(None);
        }
        switches.insert(thread.file_name(), count);
    }
    Ok(Some(switches))
}

/// Reads a status file of proc(5): whether the thread sleeps, and how often it gave up the processor or lost it.
fn state_and_switches(status: &str) -> Option<(bool, u64)> {
    let field = |name| status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()));
    let count = |name| field(name)?.parse::<u64>().ok();
    let switches = count("voluntary_ctxt_switches")? + count("nonvoluntary_ctxt_switches")?;
    Some((field("State")?.starts_with('S'), switches))
}

/// Returns start, end and name of a line of the map; an empty range if the process cannot write there.
fn writable(line: &str) -> Option<(usize, usize, String)> {
    let mut fields = line.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let parse = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (parse(start)?, parse(end)?);
    let end = if fields.next()?.starts_with("rw") { end } else { start };
    Some((start, end, fields.nth(3).unwrap_or_default().to_owned()))
}

/// Returns every place in memory that shows a secret, with the name of its mapping.
pub fn sightings(memory: &[Mapping], canaries: &Canaries) -> Vec<(String, Sighting)> {
    let found = memory.iter().flat_map(|mapping| {
        let sightings = canaries.sightings(&mapping.bytes).into_iter();
        sightings.map(|sighting| (mapping.name.clone(), sighting))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;

    use super::*;

    /// A shell keeps its input in a variable.
    #[test]
    fn a_secret_in_the_memory_of_a_process_is_found() {
        let mut command = readable(Path::new("sh")).expect("/proc is mounted");
        command.args(["-c", "read -r secret; echo ready; read -r _"]);
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let mut stdin = shell.stdin.take().expect("it is piped");
        let secret = format!("{:032x}", u128::from(std::process::id()) * 0x9e37_79b9_7f4a_7c15);
        writeln!(stdin, "{secret}").expect("it reads");
        let mut ready = String::new();
        BufReader::new(shell.stdout.take().expect("it is piped")).read_line(&mut ready).expect("it writes");
        let memory = read(shell.id()).unwrap_or_else(|error| panic!("{}", crate::report(&error)));
        drop(stdin);
        shell.wait().expect("our child");
        assert!(memory.iter().any(|mapping| mapping.name == "[heap]"));
        assert!(!sightings(&memory, &Canaries::new([("it", &secret)])).is_empty());
        let other = "none of this shell's business";
        assert!(sightings(&memory, &Canaries::new([("other", other)])).is_empty());
    }

    #[test]
    fn only_writable_mappings_are_read() {
        let heap = "55d0c0a00000-55d0c0a21000 rw-p 00000000 00:00 0                          [heap]";
        assert_eq!(writable(heap), Some((0x55d0_c0a0_0000, 0x55d0_c0a2_1000, "[heap]".to_owned())));
        let code = "55d0c0a00000-55d0c0a21000 r-xp 00000000 08:01 99 /bin/sh";
        assert_eq!(writable(code).map(|(start, end, _)| end - start), Some(0));
        assert_eq!(writable("nonsense"), None);
    }

    #[test]
    fn a_thread_that_slept_all_the_time_has_the_same_number_of_switches() {
        let status = |state: &str, voluntary: u32, other: u32| {
            let counts = format!("voluntary_ctxt_switches:\t{voluntary}\nnonvoluntary_ctxt_switches:\t{other}\n");
            format!("Name:\tx\nState:\t{state}\nThreads:\t2\n{counts}")
        };
        assert_eq!(state_and_switches(&status("S (sleeping)", 40, 2)), Some((true, 42)));
        assert_eq!(state_and_switches(&status("R (running)", 40, 2)), Some((false, 42)));
        assert_eq!(state_and_switches("State:\tS (sleeping)\n"), None);
    }

    #[test]
    fn the_bit_of_cap_sys_ptrace_decides() {
        assert!(holds_ptrace("Name:\tx\nCapEff:\t0000000000080000\n"));
        assert!(!holds_ptrace("Name:\tx\nCapEff:\tfffffffffff7ffff\n"));
        assert!(!holds_ptrace(""));
    }
}
