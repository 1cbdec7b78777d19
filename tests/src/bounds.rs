//! Running a program that the kernel ends when it uses too much memory or processor time.

use std::ffi::OsStr;
use std::process::Command;

/// The memory in KiB that a program may allocate: 64 MiB.
const KIBIBYTES: u32 = 64 * 1024;
/// The processor time in seconds that all threads of a program may use together; longer without the optimiser.
const SECONDS: u32 = if cfg!(debug_assertions) { 10 } else { 1 };

/// `-d` limits all private writable mappings (`RLIMIT_DATA`, Linux 4.7 and later), so it also limits the resident part
/// of them. Beyond the limit an allocation fails, and a Rust program aborts.
const SCRIPT: &str = r#"ulimit -d "$1" && ulimit -t "$2" && shift 2 && exec "$@""#;

/// Returns a command that runs the program with 64 MiB of memory and the processor time that a refusal may need.
///
/// Beyond a limit the program ends by a signal and has no exit code. Other processes on the machine do not use up its
/// processor time.
pub fn bounded(program: impl AsRef<OsStr>) -> Command {
    within(KIBIBYTES, SECONDS, program)
}

fn within(kibibytes: u32, seconds: u32, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "bounds", &kibibytes.to_string(), &seconds.to_string()]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_program_within_its_bounds_keeps_its_output_and_exit_code() {
        let output = bounded("sh").args(["-c", "echo \"$0\"; exit 3", "an argument"]).output().expect("sh runs");
        assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"an argument\n"[..], Some(3)));
    }

    #[test]
    fn too_much_time_ends_a_program() {
        let status = within(KIBIBYTES, 1, "sh").args(["-c", "while :; do :; done"]).status().expect("sh runs");
        assert!(status.signal().is_some(), "{status}");
    }

    #[test]
    fn too_much_memory_is_not_given() {
        let line = |mebibytes: u32| {
            let read = "head -c \"$0\" /dev/zero | tr '\\0' x | sort";
            let mut command = bounded("sh");
            command.args(["-c", &format!("{read} -S 1G | wc -c"), &(mebibytes << 20).to_string()]);
            let output = command.stderr(Stdio::null()).output().expect("sh runs");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        assert_eq!(line(1), ((1 << 20) + 1).to_string());
        assert_eq!(line(128), "0");
    }
}
