//! Processes that cannot outlive the run that started them.
//!
//! A [`ProcessGroup`] consists of two tiny programs every POSIX system has, beside the processes
//! put into it:
//!
//! - a *keeper* (`cat`) that leads a process group and so reserves its id;
//! - a *watcher* (`sh`), outside of that group, that reads a pipe of which only this process holds
//!   the other end. At the end of file it kills the group and removes the group's folder.
//!
//! The kernel closes the pipe however this process ends: return, panic, Ctrl-C, SIGTERM, even
//! SIGKILL. So there are no signal handlers to install, nothing to register in `main`, and no
//! cleanup code that has to get its turn. Linux' parent-death signal would need `unsafe` or
//! another program, ends with the *thread* that started the child, and does not exist elsewhere.
//! Both helpers lead groups of their own, so a Ctrl-C at the terminal does not reach them.

use std::ffi::OsStr;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Removal is tried again because a killed process may still be writing when the first try runs.
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

/// A group of processes and a folder that vanish together with the process that holds this value.
///
/// Dropping it kills the group with SIGKILL and returns after the folder is gone.
#[derive(Debug)]
pub struct ProcessGroup {
    folder: PathBuf,
    keeper: Child,
    watcher: Child,
}

impl ProcessGroup {
    /// Creates a folder with a unique name below `parent` (created if absent) and an empty group.
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

    /// The folder that goes with the group; readable by the user only.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts `command` as a member of the group, from its first moment on.
    ///
    /// Processes that it starts in turn are members too, unless they leave the group.
    pub fn spawn(&self, command: &mut Command) -> Result<Process, Error> {
        start(command.process_group(self.id())).map(Process)
    }

    fn id(&self) -> i32 {
        i32::try_from(self.keeper.id()).expect("process ids are positive and fit pid_t")
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // `wait` closes the pipe first: that is the watcher's order to kill. A failure to wait
        // changes nothing about it.
        let _ = self.watcher.wait();
        let _ = self.keeper.wait();
    }
}

/// A member of a [`ProcessGroup`]; it is killed and reaped on drop.
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
        // Both fail only for a process that is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The last lines of a log file, for an error about the process that wrote it.
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

    /// The parent whose death the tests below watch: does nothing unless they start it.
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
    fn a_group_dies_with_its_parent_however_that_dies() {
        // Not SIGINT or SIGHUP: a run in the background may have inherited that they are ignored.
        for signal in [Signal::KILL, Signal::TERM] {
            assert_group_dies(|parent| {
                let pid = Pid::from_child(parent);
                kill_process(pid, signal).expect("the parent runs");
            });
        }
    }

    #[test]
    fn a_group_dies_when_its_parent_panics() {
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

    /// The sleeper inherits the parent's stdout, so its end of file means that both are dead.
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
