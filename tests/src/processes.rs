//! Processes that end with the test run that started them.
//!
//! A [`ProcessGroup`] has two small helpers, which every POSIX system has, in addition to the processes that tests
//! start in it:
//!
//! - the *keeper* (`cat`) leads a process group and so reserves its id;
//! - the *watcher* (`sh`) is outside of that group and reads a pipe. Only this process holds the other end. At the end
//!   of file the watcher kills the group and removes the folder of the group.
//!
//! The kernel closes the pipe when this process ends for any reason: return, panic, Ctrl-C, SIGTERM, also SIGKILL. So
//! test programs need no signal handler, no code in `main` and no cleanup code. Linux' parent-death signal is not used:
//! it needs `unsafe` or another program, it is sent when the *thread* that started the child ends, and it exists only
//! on Linux. Both helpers lead groups of their own, so Ctrl-C at the terminal does not reach them.

use std::ffi::OsStr;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The script of the watcher. It retries the removal, because a killed process can still write during the first try.
const WATCH: &str = r#"
trap '' HUP INT TERM
while read -r _; do :; done
kill -s KILL -- "-$1"
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$2" && exit 0
    sleep 1
done
exit 1
"#;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to start {program}")]
    Start { program: String, source: io::Error },
    #[error("failed to create a folder below {}", parent.display())]
    Folder { parent: PathBuf, source: io::Error },
}

/// A group of processes and a folder. Both are removed when the process that holds this value ends.
///
/// Dropping it kills the group with SIGKILL and waits until the folder is gone, for about 10 seconds at most.
#[derive(Debug)]
pub struct ProcessGroup {
    folder: PathBuf,
    keeper: Child,
    watcher: Child,
}

impl ProcessGroup {
    /// Creates an empty group, and a folder with a unique name below `parent`, which is created if it is absent.
    pub fn start(parent: &Path) -> Result<Self, Error> {
        let folder = create_folder(parent).map_err(|source| Error::Folder { parent: parent.to_owned(), source })?;
        let keeper = start(quiet("cat").stdin(Stdio::piped()).process_group(0))?;
        let watcher = start(
            quiet("sh")
                .args(["-c", WATCH, "watcher", &keeper.id().to_string()])
                .arg(&folder)
                .stdin(Stdio::piped())
                .process_group(0),
        )?;
        Ok(Self { folder, keeper, watcher })
    }

    /// The folder that is removed with the group. Only the user can read it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts `command` as a member of the group.
    ///
    /// Processes that it starts are members, too, unless they leave the group.
    pub fn spawn(&self, command: &mut Command) -> Result<Process, Error> {
        start(command.process_group(self.id())).map(Process)
    }

    fn id(&self) -> i32 {
        i32::try_from(self.keeper.id()).expect("process ids are positive and fit pid_t")
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // `wait` closes the pipe first, which makes the watcher kill the group, also if `wait` fails.
        let _ = self.watcher.wait();
        let _ = self.keeper.wait();
    }
}

/// A member of a [`ProcessGroup`]. It is killed and reaped on drop.
#[derive(Debug)]
pub struct Process(Child);

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the last lines of a log file, for an error about the process that wrote it.
pub fn last_lines(log: &Path, count: usize) -> String {
    let text = match std::fs::read(log) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return format!("({} cannot be read: {error})", log.display()),
    };
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn create_folder(parent: &Path) -> io::Result<PathBuf> {
    std::fs::create_dir_all(parent)?;
    Ok(tempfile::Builder::new().prefix("run-").tempdir_in(parent)?.keep())
}

fn quiet(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn start(command: &mut Command) -> Result<Child, Error> {
    command
        .spawn()
        .map_err(|source| Error::Start { program: command.get_program().to_string_lossy().into_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, Signal, kill_process};
    use std::io::{BufRead, BufReader, Read};
    use std::sync::mpsc;
    use std::time::Duration;

    const PARENT: &str = "WAXSEAL_TEST_PARENT_FOLDER";
    const LONG: Duration = Duration::from_secs(20);

    /// The parent that the tests below start and kill. Without them it does nothing.
    #[test]
    fn parent_of_a_group() {
        let Some(folder) = std::env::var_os(PARENT) else {
            return;
        };
        let group = ProcessGroup::start(Path::new(&folder)).expect("the helpers start");
        let _sleeper = group.spawn(Command::new("sleep").arg("600")).expect("sleep starts");
        let mut order = String::new();
        write_line("ready");
        let _ = io::stdin().read_line(&mut order);
        assert_ne!(order.trim(), "panic", "asked to panic");
    }

    #[test]
    fn a_group_ends_when_its_parent_is_killed() {
        // Not SIGINT or SIGHUP: a run in the background can inherit that they are ignored.
        for signal in [Signal::KILL, Signal::TERM] {
            assert_group_dies(|parent| {
                let pid = Pid::from_child(parent);
                kill_process(pid, signal).expect("the parent runs");
            });
        }
    }

    #[test]
    fn a_group_ends_when_its_parent_panics() {
        assert_group_dies(|parent| {
            let mut stdin = parent.stdin.take().expect("stdin is piped");
            io::Write::write_all(&mut stdin, b"panic\n").expect("the parent reads");
        });
    }

    #[test]
    fn dropping_a_group_kills_its_members_and_removes_its_folder() {
        let parent = tempfile::tempdir().expect("a folder");
        let group = ProcessGroup::start(parent.path()).expect("the helpers start");
        std::fs::write(group.folder().join("file"), "content").expect("the folder is writable");
        let mut sleeper = group.spawn(Command::new("sleep").arg("600")).expect("sleep starts");
        assert!(sleeper.try_wait().expect("it is our child").is_none());
        drop(group);
        assert!(!sleeper.wait().expect("it is our child").success());
        assert_eq!(entries(parent.path()), 0);
    }

    #[test]
    fn the_last_lines_of_a_log_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        std::fs::write(&log, "one\ntwo\nthree\n").expect("the folder is writable");
        assert_eq!(last_lines(&log, 2), "two\nthree");
        assert_eq!(last_lines(&log, 9), "one\ntwo\nthree");
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let parent = tempfile::tempdir().expect("a folder");
        let group = ProcessGroup::start(parent.path()).expect("the helpers start");
        let error = group.spawn(&mut Command::new("/nonexistent/etcd"));
        assert_eq!(error.expect_err("it does not exist").to_string(), "failed to start /nonexistent/etcd");
    }

    /// The sleeper inherits the parent's stdout, so its end of file means that both have ended.
    fn assert_group_dies(kill: impl FnOnce(&mut Child)) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut parent = start_parent(folder.path());
        let mut output = BufReader::new(parent.stdout.take().expect("stdout is piped"));
        read_until_ready(&mut output);
        assert_eq!(entries(folder.path()), 1);
        kill(&mut parent);
        let (sender, dead) = mpsc::channel();
        std::thread::spawn(move || sender.send(output.read_to_end(&mut Vec::new())));
        assert!(dead.recv_timeout(LONG).expect("all die").is_ok());
        crate::waiting::until_blocking("removal", LONG, || (entries(folder.path()) == 0).then_some(()))
            .expect("the folder is removed");
        let _ = parent.wait();
    }

    fn start_parent(folder: &Path) -> Child {
        Command::new(std::env::current_exe().expect("a test has an executable"))
            .args(["--exact", "processes::tests::parent_of_a_group"])
            .arg("--nocapture")
            .env(PARENT, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the tests can start themselves")
    }

    fn read_until_ready(output: &mut impl BufRead) {
        let mut lines = output.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.ends_with("ready")));
    }

    fn write_line(line: &str) {
        let mut stdout = io::stdout().lock();
        io::Write::write_all(&mut stdout, format!("{line}\n").as_bytes()).expect("stdout is open");
        io::Write::flush(&mut stdout).expect("stdout is open");
    }

    fn entries(folder: &Path) -> usize {
        std::fs::read_dir(folder).expect("it exists").count()
    }
}
