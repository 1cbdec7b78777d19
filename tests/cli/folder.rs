//! A folder to run `waxseal` in. Checks everything that the program prints and writes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tempfile::TempDir;
use waxseal_tests::bounds::bounded;
use waxseal_tests::fixtures::shown_value;
use waxseal_tests::programs;

/// The first lines of [`SECRET`].
pub(crate) const HEAD: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\n";
/// The manifest of a Secret with one value.
pub(crate) const SECRET: &str =
    "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {A: a long value}\n";
/// A name that clears the line of a terminal, reverses the text, hides characters and ends the line.
pub(crate) const HOSTILE_NAME: &str = "a\u{1b}[2K\u{202e}\u{2066}\u{200b}\u{2028}\u{9b}\nb";
pub(crate) const HOSTILE_NAME_ESCAPED: &str = "a\\u{1b}[2K\\u{202e}\\u{2066}\\u{200b}\\u{2028}\\u{9b}\\nb";

/// A run that takes longer hangs.
const RUN_TIMEOUT: Duration = Duration::from_secs(60);

/// A temporary folder outside of all Git work trees.
pub(crate) struct Folder(TempDir);

/// A run of the program that has not started yet.
pub(crate) struct Run<'a> {
    folder: &'a Folder,
    command: Command,
    stdin: Vec<u8>,
    writes: Vec<String>,
}

/// The result of a run.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::with_prefix("waxseal-cli-").expect("a temporary folder"))
    }

    /// Creates a folder with the key of a cluster: `cluster.key` and `cluster.yaml`.
    pub(crate) fn with_key() -> Self {
        let folder = Self::new();
        folder.generate("cluster", &[]);
        folder
    }

    /// Generates a key: `NAME.key` and `NAME.yaml`.
    pub(crate) fn generate(&self, name: &str, options: &[&str]) {
        let identity = format!("{name}.key");
        let arguments = [&["keys", "generate", "-o", identity.as_str()], options].concat();
        let public = self.waxseal(&arguments).writes(&[&identity]).succeeds();
        self.write(&format!("{name}.yaml"), &public);
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a file in the folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).expect("a text file")
    }

    /// The recipient in a SealingKey from [`Self::generate`].
    pub(crate) fn recipient(&self, name: &str) -> String {
        let key = self.read(&format!("{name}.yaml"));
        let line = key.lines().find_map(|line| line.trim().strip_prefix("recipient: "));
        line.expect("a recipient").to_owned()
    }

    /// The key id in a SealingKey from [`Self::generate`].
    pub(crate) fn key_id(&self, name: &str) -> String {
        let key = self.read(&format!("{name}.yaml"));
        key.lines().find_map(|line| line.trim().strip_prefix("name: ")).expect("a name").to_owned()
    }

    /// The fingerprint of a key from [`Self::generate`].
    pub(crate) fn fingerprint(&self, name: &str) -> String {
        let json = self.waxseal(&["keys", "list", &format!("{name}.yaml"), "--format", "json"]).succeeds();
        let rows: Value = serde_json::from_str(&json).expect("JSON");
        rows[0]["fingerprint"].as_str().expect("a fingerprint").to_owned()
    }

    /// The SealingKey from [`Self::generate`] with another creation time.
    pub(crate) fn made_at(&self, name: &str, time: &str) -> String {
        let key = self.read(&format!("{name}.yaml"));
        let line = key.lines().find(|line| line.contains("createdAt")).expect("a creation time");
        key.replace(line, &format!("  createdAt: \"{time}\""))
    }

    pub(crate) fn waxseal(&self, arguments: &[&str]) -> Run<'_> {
        let mut command = Command::new(program());
        command.args(arguments);
        self.run(command)
    }

    /// Like [`Self::waxseal`], in a folder below this one.
    pub(crate) fn waxseal_in(&self, below: &str, arguments: &[&str]) -> Run<'_> {
        let mut run = self.waxseal(arguments);
        run.isolate();
        run.command.current_dir(self.path().join(below));
        run
    }

    /// Like [`Self::waxseal`], but kills the run if it uses more time or memory than a refusal may.
    pub(crate) fn bounded_waxseal(&self, arguments: &[&str]) -> Run<'_> {
        let mut command = bounded(program());
        command.args(arguments);
        self.run(command)
    }

    /// Git without the user's configuration, with an author for its commits.
    pub(crate) fn git_command(&self) -> Command {
        let mut command = Command::new("git");
        for setting in ["user.name=Test", "user.email=test@example.test", "protocol.file.allow=always"] {
            command.args(["-c", setting]);
        }
        self.isolated(&mut command);
        command
    }

    /// Runs Git without the user's configuration, and returns the line that it prints.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let outcome = self.git_command().args(arguments).output().expect("git runs");
        assert!(outcome.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&outcome.stderr));
        String::from_utf8(outcome.stdout).expect("UTF-8").trim_end().to_owned()
    }

    fn run(&self, command: Command) -> Run<'_> {
        Run { folder: self, command, stdin: Vec::new(), writes: Vec::new() }
    }

    /// Makes a command run in this folder, with only `PATH` of the environment, and without the user's configuration.
    pub(crate) fn isolated<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(self.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path().join("no-home"));
        command.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")])
    }

    /// The content of every file except those of Git, by path.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let root = self.path().canonicalize().expect("the folder exists");
        let mut files = BTreeMap::new();
        let mut waiting = vec![self.path().to_owned()];
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    waiting.extend(Some(path).filter(|path| !path.ends_with(".git")));
                } else {
                    let name = path.strip_prefix(self.path()).expect("it was found below").display().to_string();
                    // The target of a link to outside may be the output of these tests, which grows.
                    let is_inside = path.canonicalize().is_ok_and(|real| real.starts_with(&root));
                    let content =
                        if is_inside && path.is_file() { fs::read(path).expect("a file") } else { Vec::new() };
                    files.insert(name, content);
                }
            }
        }
        files
    }
}

impl Run<'_> {
    pub(crate) fn stdin(mut self, text: impl AsRef<[u8]>) -> Self {
        self.stdin = text.as_ref().to_vec();
        self
    }

    /// The files that the run must create or change; it must not touch other files.
    pub(crate) fn writes(mut self, names: &[&str]) -> Self {
        self.writes = names.iter().map(|name| (*name).to_owned()).collect();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.isolate();
        self.command.env(name, value);
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.isolate();
        self.command.env_remove(name);
        self
    }

    /// Checks that the run ends with 0 and prints nothing except its result and the recipients; returns the result.
    pub(crate) fn succeeds(self) -> String {
        self.warns("")
    }

    /// Checks that the run ends with 0 and prints exactly this on stderr, apart from the recipients; returns the
    /// result.
    pub(crate) fn warns(self, stderr: &str) -> String {
        let outcome = self.finish();
        assert_eq!((without_recipients(&outcome.stderr).as_str(), outcome.status.code()), (stderr, Some(0)));
        outcome.stdout
    }

    /// Checks that the run ends with 0 and prints exactly this on stdout, and nothing on stderr except the recipients.
    pub(crate) fn prints(self, stdout: &str) {
        assert_eq!(self.succeeds(), stdout);
    }

    /// Checks that the run ends with this code, without a result and with exactly this on stderr, apart from the
    /// recipients.
    pub(crate) fn fails(self, code: i32, stderr: &str) {
        let outcome = self.finish();
        assert_eq!((without_recipients(&outcome.stderr).as_str(), outcome.status.code()), (stderr, Some(code)));
        assert_eq!(outcome.stdout, "");
    }

    fn isolate(&mut self) {
        if self.command.get_envs().next().is_none() {
            self.folder.isolated(&mut self.command);
        }
    }

    /// Runs the program and returns its result. Checks only the files that were written.
    pub(crate) fn finish(mut self) -> Outcome {
        self.isolate();
        let before = self.folder.files();
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let outcome = communicate(self.command.spawn().expect("waxseal starts"), self.stdin);
        let after = self.folder.files();
        let touched = after.iter().filter(|(name, content)| before.get(*name) != Some(content));
        let touched: Vec<_> = touched.map(|(name, _)| name.as_str()).collect();
        self.writes.sort();
        assert_eq!(touched, self.writes, "the files that were written\n{}", outcome.stderr);
        assert!(before.keys().all(|name| after.contains_key(name)), "a file is gone");
        outcome
    }
}

/// Removes the lines about recipients: every run that seals something prints them.
fn without_recipients(stderr: &str) -> String {
    stderr.split_inclusive('\n').filter(|line| !line.starts_with("sealed to k")).collect()
}

/// The program under test, built once.
pub(crate) fn program() -> &'static PathBuf {
    // Keeps the error, too: otherwise every test would try the build again.
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = PROGRAM.get_or_init(|| programs::build().map(|built| built.waxseal).map_err(|error| error.to_string()));
    built.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// Writes the whole input of a program and reads all its output until it ends.
pub(crate) fn communicate(mut child: Child, stdin: Vec<u8>) -> Outcome {
    // `None` if stdin is a terminal.
    let pipe = child.stdin.take();
    // A program may end without reading all of its input.
    let writer = thread::spawn(move || pipe.into_iter().for_each(|mut pipe| drop(pipe.write_all(&stdin))));
    let stdout = collect(child.stdout.take().expect("it is piped"));
    let stderr = collect(child.stderr.take().expect("it is piped"));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if start.elapsed() > RUN_TIMEOUT {
            let _dead = child.kill().and_then(|()| child.wait());
            panic!("waxseal did not end");
        }
        thread::sleep(Duration::from_millis(5));
    };
    writer.join().expect("it does not panic");
    let text = |reader: thread::JoinHandle<Vec<u8>>| {
        String::from_utf8(reader.join().expect("it does not panic")).expect("UTF-8")
    };
    Outcome { status, stdout: text(stdout), stderr: text(stderr) }
}

fn collect(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe");
        bytes
    })
}

/// Reads the values in the `data` of an opened Secret, without the code under test.
pub(crate) fn data_of(secret: &str) -> BTreeMap<String, Vec<u8>> {
    let lines = secret.lines().skip_while(|line| *line != "data:").skip(1);
    let entries = lines.map_while(|line| line.strip_prefix("  ")).map(|line| {
        let (key, value) = line.split_once(": ").expect("a key and a value");
        let value = BASE64_STANDARD.decode(value.trim_matches('"')).expect("base64");
        (key.trim_matches('"').to_owned(), value)
    });
    entries.collect()
}

/// The lines of `before` that are gone, and the new lines of `after`. All other lines must stay in their order, byte
/// for byte.
#[track_caller]
pub(crate) fn changed_lines<'a>(before: &'a str, after: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let present: BTreeSet<_> = after.split_inclusive('\n').collect();
    let (kept, gone): (Vec<_>, Vec<_>) = before.split_inclusive('\n').partition(|line| present.contains(line));
    let mut kept = kept.into_iter().peekable();
    let new = after.split_inclusive('\n').filter(|line| kept.next_if_eq(line).is_none()).collect();
    assert_eq!(kept.next(), None, "a line is gone or moved:\n{after}");
    (gone, new)
}

/// Checks that a text contains no value of at least 8 bytes, plain or as base64.
#[track_caller]
pub(crate) fn assert_sealed(text: &str, values: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(shown_value(text, values), None, "a value shows");
}

/// The id of the only envelope in a text.
#[track_caller]
pub(crate) fn envelope(text: &str) -> String {
    let ids: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("    e")?.strip_suffix(':')).collect();
    assert_eq!(ids.len(), 1, "{text}");
    format!("e{}", ids[0])
}
