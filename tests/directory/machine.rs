//! A machine in a temporary folder: manifests, Secrets, keys, and the controller that works on them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use waxseal_shared::key::{Identity, IdentityFile, KeyKind};
use waxseal_shared::randomness;
use waxseal_tests::bounds::bounded;
use waxseal_tests::memory::{self, Mapping};
use waxseal_tests::processes::{Process, ProcessGroup, last_lines};
use waxseal_tests::programs::{self, Programs};
use waxseal_tests::{target_folder, waiting};

/// Longer than 30 s, after which the controller looks for changes that it did not notice.
const DEADLINE: Duration = Duration::from_secs(90);

/// The folders, and the group of processes that work on them. The processes end when this value is dropped.
pub(crate) struct Machine {
    group: ProcessGroup,
    programs: Programs,
}

/// A running controller.
pub(crate) struct Controller<'a> {
    machine: &'a Machine,
    process: Process,
    log: PathBuf,
}

impl Machine {
    /// Makes empty folders, without keys.
    pub(crate) fn new() -> Self {
        let programs = programs::build().unwrap_or_else(|error| panic!("{}", waxseal_tests::report(&error)));
        let parent = target_folder::find().expect("tests have a target folder").join("waxseal-directory");
        let group = ProcessGroup::start(&parent).expect("a process group");
        fs::create_dir(group.folder().join("manifests")).expect("a new folder");
        Self { group, programs }
    }

    /// Makes folders and runs the controller once, which makes the first key.
    pub(crate) fn with_key() -> Self {
        let machine = Self::new();
        machine.once().succeeds();
        machine
    }

    /// The `waxseal` program.
    pub(crate) fn waxseal(&self) -> &Path {
        &self.programs.waxseal
    }

    pub(crate) fn manifest(&self, file: &str) -> PathBuf {
        self.group.folder().join("manifests").join(file)
    }

    /// A place outside of the three folders.
    pub(crate) fn elsewhere(&self, file: &str) -> PathBuf {
        self.group.folder().join(file)
    }

    pub(crate) fn secret(&self, path: &str) -> PathBuf {
        self.group.folder().join("secrets").join(path)
    }

    pub(crate) fn key(&self, file: &str) -> PathBuf {
        self.group.folder().join("keys").join(file)
    }

    /// The names of the key files, sorted.
    pub(crate) fn key_files(&self) -> Vec<String> {
        let mut names = names(&self.key(""));
        names.retain(|name| name.ends_with(".key"));
        names
    }

    /// Makes a key file as an operator would. Returns the key id.
    pub(crate) fn add_key(&self, created_at: &str) -> String {
        self.add_identity(&Identity::generate(KeyKind::Hybrid, &mut randomness::system()), created_at)
    }

    /// Puts an identity into a key file. Returns the key id.
    pub(crate) fn add_identity(&self, identity: &Identity, created_at: &str) -> String {
        let id = identity.recipient().key_id().to_string();
        let text = IdentityFile::write(identity, created_at.parse().expect("a time"));
        fs::create_dir_all(self.key("")).expect("a folder");
        write_private(&self.key(&format!("{id}.key")), &text);
        id
    }

    /// Seals manifests into a file of the folder, with `waxseal` and the published keys.
    pub(crate) fn seal(&self, manifests: &str, file: &str) {
        let sealed = self.sealed(manifests);
        self.write_manifest(file, &sealed);
    }

    /// Puts a file into the folder of manifests in one step.
    pub(crate) fn write_manifest(&self, file: &str, text: impl AsRef<[u8]>) {
        let path = self.manifest(file);
        let aside = self.elsewhere("aside");
        fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        fs::write(&aside, text).expect("written");
        fs::rename(aside, path).expect("the same file system");
    }

    /// Replaces a piece of a file, which must be there.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.manifest(file)).expect("it was written");
        assert!(text.contains(from), "no {from} in {text}");
        self.write_manifest(file, text.replace(from, to));
    }

    /// Seals manifests with `waxseal seal -n shop`. Returns the output.
    pub(crate) fn sealed(&self, manifests: &str) -> String {
        let mut command = Command::new(&self.programs.waxseal);
        command.args(["seal", "-", "-n", "shop", "--keys"]).arg(self.key("sealing-keys.yaml"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(manifests.as_bytes()).expect("it reads");
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "failed to seal");
        String::from_utf8(output.stdout).expect("text")
    }

    fn command(&self) -> Command {
        self.with_arguments(Command::new(&self.programs.waxseal_controller))
    }

    fn with_arguments(&self, mut command: Command) -> Command {
        command.env_clear().current_dir(self.group.folder()).stdin(Stdio::null());
        command.args(["directory", "--manifests", "manifests", "--secrets", "secrets", "--keys", "keys"]);
        command
    }

    /// Runs the controller until it has done its work once.
    pub(crate) fn once(&self) -> Once {
        self.once_with(&[])
    }

    /// Like [`Self::once`], with the most verbose log.
    pub(crate) fn once_talkative(&self) -> Once {
        self.once_with(&[("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")])
    }

    /// Like [`Self::once`], and the operator forbids labels and annotations that begin with one of these.
    pub(crate) fn once_forbidding(&self, prefixes: &str) -> Once {
        self.once_with(&[("WAXSEAL_FORBID_METADATA", prefixes)])
    }

    /// Like [`Self::once`], and the configuration has these recovery keys, joined by commas.
    pub(crate) fn once_with_recovery_keys(&self, recipients: &str) -> Once {
        self.once_with(&[("WAXSEAL_RECOVERY_RECIPIENT", recipients)])
    }

    /// Like [`Self::once`], and the log is text for people.
    pub(crate) fn once_in_text(&self) -> Once {
        self.once_with(&[("WAXSEAL_LOG_FORMAT", "text")])
    }

    /// Like [`Self::once`], within the bounds of [`bounded`].
    pub(crate) fn bounded_once(&self) -> Once {
        let mut command = self.with_arguments(bounded(&self.programs.waxseal_controller));
        Once(command.arg("--once").output().expect("the controller starts"))
    }

    /// Starts the controller.
    pub(crate) fn start(&self) -> Controller<'_> {
        self.start_with(&[])
    }

    /// Like [`Self::once`], with these environment variables.
    pub(crate) fn once_with(&self, variables: &[(&str, &str)]) -> Once {
        let mut command = self.command();
        command.arg("--once").envs(variables.iter().copied());
        Once(command.output().expect("the controller starts"))
    }

    /// Starts the controller with these environment variables.
    pub(crate) fn start_with(&self, variables: &[(&str, &str)]) -> Controller<'_> {
        let mut command = self.command();
        command.envs(variables.iter().copied());
        self.spawn(command)
    }

    /// Starts the controller for a single run.
    pub(crate) fn start_once(&self) -> Controller<'_> {
        let mut command = self.command();
        command.arg("--once");
        self.spawn(command)
    }

    /// Starts the controller so that its memory can be read.
    pub(crate) fn start_readable(&self) -> Controller<'_> {
        let command = memory::readable(&self.programs.waxseal_controller).expect("/proc is mounted");
        self.spawn(self.with_arguments(command))
    }

    fn spawn(&self, mut command: Command) -> Controller<'_> {
        let log = tempfile::Builder::new().suffix(".log").tempfile_in(self.group.folder()).expect("a file");
        let log = log.into_temp_path().keep().expect("a file");
        command.stderr(File::create(&log).expect("a file"));
        let process = self.group.spawn(&mut command).expect("the controller starts");
        Controller { machine: self, process, log }
    }

    /// The values of a Secret as a program reads them: following the links.
    pub(crate) fn values(&self, secret: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = self.secret(secret);
        let keys = names(&folder).into_iter().filter(|name| !name.starts_with(".."));
        keys.map(|key| (key.clone(), fs::read(folder.join(key)).expect("a value"))).collect()
    }

    pub(crate) fn value(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.secret(path)).ok()
    }

    /// The status file; null if it is not there.
    pub(crate) fn status(&self) -> Value {
        let text = fs::read(self.secret("..waxseal-status.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// The `Ready` condition of a SealedSecret in the namespace `shop`: status, reason, message.
    pub(crate) fn ready(&self, name: &str) -> Option<[String; 3]> {
        self.condition(name, "Ready")
    }

    /// A condition of a SealedSecret in the namespace `shop`: status, reason, message.
    pub(crate) fn condition(&self, name: &str, type_: &str) -> Option<[String; 3]> {
        let status = self.status();
        let entries = status["sealedSecrets"].as_array()?;
        let entry = entries.iter().find(|entry| entry["name"] == name && entry["namespace"] == "shop")?;
        let conditions = entry["status"]["conditions"].as_array()?;
        let condition = conditions.iter().find(|condition| condition["type"] == type_)?;
        Some(["status", "reason", "message"].map(|field| condition[field].as_str().unwrap_or_default().to_owned()))
    }

    /// Asserts that the status has this reason. Returns the message.
    #[track_caller]
    pub(crate) fn assert_reason(&self, name: &str, expected: &str) -> String {
        let Some([status, reason, message]) = self.ready(name) else { panic!("no {name} in {}", self.status()) };
        assert_eq!(reason, expected, "{message}");
        assert_eq!(status == "True", expected == "Materialised");
        message
    }
}

/// The result of a run with `--once`.
pub(crate) struct Once(Output);

impl Once {
    pub(crate) fn is_success(&self) -> bool {
        self.0.status.success()
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> String {
        let log = self.log();
        assert_eq!(self.0.status.code(), Some(0), "{log}");
        log
    }

    #[track_caller]
    pub(crate) fn fails(self) -> String {
        let log = self.log();
        assert_eq!(self.0.status.code(), Some(1), "{log}");
        log
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).expect("text")
    }

    /// The log of a run that succeeds, without the lines about held keys, which each start has.
    #[track_caller]
    pub(crate) fn news(self) -> String {
        let log = self.succeeds();
        log.split_inclusive('\n').filter(|line| !line.contains("holds a sealing key")).collect()
    }
}

impl Controller<'_> {
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let waited = waiting::until_blocking(what, DEADLINE, || condition().then_some(()));
        waited.unwrap_or_else(|error| panic!("{error}; the log ends with:\n{}", last_lines(&self.log, 20)));
    }

    /// Like [`Self::wait_until`], without pauses between the looks.
    #[track_caller]
    pub(crate) fn watch_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        self.wait_until(what, || {
            let start = Instant::now();
            while start.elapsed() < DEADLINE {
                if condition() {
                    return true;
                }
            }
            false
        });
    }

    #[track_caller]
    pub(crate) fn wait_for_value(&self, path: &str, value: &str) {
        self.wait_until(&format!("{path} = {value}"), || self.machine.value(path).as_deref() == Some(value));
    }

    /// Waits until the status has this reason. Returns the message.
    #[track_caller]
    pub(crate) fn wait_for_reason(&self, name: &str, reason: &str) -> String {
        let mut found = None;
        self.wait_until(&format!("{name}: {reason}"), || {
            found = self.machine.ready(name).filter(|[_, seen, _]| seen == reason);
            found.is_some()
        });
        // The status can already have another reason by now.
        let [status, _, message] = found.expect("it was awaited");
        assert_eq!(status == "True", reason == "Materialised");
        message
    }

    /// Sends a signal and waits for the end. Returns the exit code.
    #[track_caller]
    pub(crate) fn stop(self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
        self.ends()
    }

    /// Waits for the end. Returns the exit code.
    #[track_caller]
    pub(crate) fn ends(mut self) -> Option<i32> {
        let ended = waiting::until_blocking("the end", DEADLINE, || self.process.try_wait().expect("our child"));
        ended.unwrap_or_else(|error| panic!("{error}:\n{}", last_lines(&self.log, 20))).code()
    }

    /// Returns the writable memory of the controller, read while all its threads sleep.
    #[track_caller]
    pub(crate) fn idle_memory(&self) -> Vec<Mapping> {
        let mut found = None;
        self.wait_until("rest", || {
            let read = memory::read_idle(self.process.id());
            found = read.unwrap_or_else(|error| panic!("{}", waxseal_tests::report(&error)));
            found.is_some()
        });
        found.expect("it was awaited")
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.log.clone()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("it was created")
    }
}

/// A Secret with one value.
pub(crate) fn secret(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{password: {value}}}\n")
}

/// Returns the time in five minutes. A key of this time becomes the primary, and the controller does not refuse it as a
/// key from the future.
pub(crate) fn later() -> String {
    (Timestamp::now() + SignedDuration::from_mins(5)).to_string()
}

/// The names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

pub(crate) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("changed");
}
