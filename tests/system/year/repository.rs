//! The Git repository of the year, and the person who works in it with `waxseal` and `git`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use waxseal_tests::clock::Clock;

use crate::registration::{Context, Error, TestResult};
use crate::sealing::{fingerprints, run};

const CONFIGURATION: &str = "\
version: 1
clusters:
  prod: {keys: .waxseal/prod.yaml}
  edge: {keys: .waxseal/edge.yaml}
rules:
  - paths: [\"apps/**\"]
    clusters: [prod, edge]
";
const DATA_KEYS: [&str; 3] = ["PASSWORD", "tls.key", "url"];
/// The number of Secrets in a namespace that have a file of their own. The others stand five to a file.
const ALONE: usize = 80;
const IN_A_FILE: usize = 5;

/// `NAMESPACE/NAME` of a Secret.
pub(super) type Title = String;
/// The values of all Secrets, by data key.
pub(super) type Values = BTreeMap<Title, BTreeMap<String, String>>;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators"): the same choices in every run.
pub(super) struct Choices(u64);

impl Choices {
    pub(super) fn of_seed(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// True in one of `count` cases.
    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    /// A password, a text of up to 60 lines, JSON, or a URL.
    fn value(&mut self) -> String {
        let word = format!("{:016x}", self.next());
        match self.next() % 4 {
            0 => word,
            1 => format!("line \u{e9}\n\t{word}\n").repeat(1 + (self.next() % 30) as usize),
            2 => format!("{{\"user\": \"app\", \"password\": \"{word}\"}}"),
            _ => format!("postgres://app:{word}@db.example:5432/shop?x=$(y)"),
        }
    }
}

/// A clone of the repository with a work tree.
pub(super) struct Repository<'a> {
    context: &'a Context,
    clock: &'a Clock,
    kubeconfig: PathBuf,
    folder: PathBuf,
    choices: Choices,
    /// What the Secrets must hold when the branch `main` is deployed.
    pub(super) values: Values,
}

impl<'a> Repository<'a> {
    /// An empty repository with a `.waxseal.yaml`. The kubeconfig has the context `prod`.
    pub(super) fn create(
        context: &'a Context,
        clock: &'a Clock,
        kubeconfig: &Path,
        folder: &Path,
    ) -> Result<Self, Error> {
        let (kubeconfig, folder) = (kubeconfig.to_owned(), folder.to_owned());
        let values = Values::new();
        let repository = Self { context, clock, kubeconfig, folder, choices: Choices::of_seed(2026), values };
        std::fs::create_dir_all(repository.path(".waxseal"))?;
        std::fs::write(repository.path(".waxseal.yaml"), CONFIGURATION)?;
        repository.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(repository)
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.folder.join(below)
    }

    /// Runs `git` without the configuration of this machine, at the time of the clock.
    fn git_output(&self, folder: &Path, arguments: &[&str]) -> Result<Output, Error> {
        let mut git = Command::new("git");
        git.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/nonexistent");
        git.envs([("GIT_CONFIG_GLOBAL", "/dev/null"), ("GIT_CONFIG_NOSYSTEM", "1")]);
        // The folders of the tests lie in the work tree of Waxseal itself.
        git.env("GIT_CEILING_DIRECTORIES", folder.parent().ok_or("a folder below another one")?);
        let now = self.clock.now().as_second();
        for variable in ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"] {
            git.env(variable, format!("@{now} +0000"));
        }
        git.args(["-c", "user.name=Operator", "-c", "user.email=operator@example.test", "-c", "gc.auto=0"]);
        Ok(git.current_dir(folder).args(arguments).output()?)
    }

    /// Runs `git`, which must succeed.
    pub(super) fn git(&self, arguments: &[&str]) -> Result<String, Error> {
        let output = self.git_output(&self.folder, arguments)?;
        if !output.status.success() {
            return Err(format!("git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Commits everything, if something has changed.
    pub(super) fn commit(&self, message: &str) -> TestResult {
        self.git(&["add", "--all"])?;
        if self.git(&["status", "--porcelain"])?.is_empty() {
            return Ok(());
        }
        self.git(&["commit", "--quiet", "--message", message]).map(drop)
    }

    /// Checks out `main` into a folder, as a GitOps tool does. Returns the manifests that changed.
    pub(super) fn check_out_main(&self, folder: &Path) -> Result<Vec<PathBuf>, Error> {
        let git = |arguments: &[&str]| {
            let output = self.git_output(folder, arguments)?;
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok::<_, Error>(String::from_utf8(output.stdout)?)
        };
        git(&["init", "--quiet"])?;
        git(&["fetch", "--quiet", self.folder.to_str().ok_or("a path in UTF-8")?, "main"])?;
        let before = self.git_output(folder, &["rev-parse", "--verify", "--quiet", "HEAD"])?;
        let changed = match before.status.success() {
            true => git(&["diff", "--name-only", "HEAD", "FETCH_HEAD", "--", "apps"])?,
            false => git(&["ls-tree", "-r", "--name-only", "FETCH_HEAD", "--", "apps"])?,
        };
        git(&["reset", "--quiet", "--hard", "FETCH_HEAD"])?;
        Ok(changed.lines().map(|path| folder.join(path)).collect())
    }

    /// The command `waxseal` in the work tree, with the kubeconfig and the clock.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut waxseal = Command::new(&self.context.programs.waxseal);
        waxseal.env_clear().env("KUBECONFIG", &self.kubeconfig).current_dir(&self.folder).args(arguments);
        self.clock.give_to(&mut waxseal);
        waxseal
    }

    /// Runs `waxseal`, which must succeed; returns its stdout.
    pub(super) fn waxseal(&self, arguments: &[&str]) -> Result<String, Error> {
        run(&mut self.command(arguments), "").map_err(|error| format!("waxseal {arguments:?}: {error}").into())
    }

    /// Runs `waxseal`, which must fail with this exit code; returns its stderr.
    pub(super) fn refused(&self, code: i32, arguments: &[&str]) -> Result<String, Error> {
        let output = self.command(arguments).output()?;
        let stderr = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(code), "waxseal {arguments:?}: {stderr}");
        Ok(stderr)
    }

    /// Fetches the keys of the cluster, and accepts all that `fetch` shows, also that a lost key becomes Retired in the
    /// file. Fails if the fingerprint of a new key is not in the controller's log.
    pub(super) fn fetch_keys(&self, controller_log: &str) -> TestResult {
        let fetch = ["keys", "fetch", "prod", "--context", "prod"];
        let said = String::from_utf8(self.command(&fetch).output()?.stderr)?;
        let fingerprint = |line: &str| line.rsplit(' ').next().map(str::to_owned);
        let new: Vec<_> = said.lines().filter(|line| line.starts_with("new key ")).filter_map(fingerprint).collect();
        assert!(new.iter().all(|fingerprint| controller_log.contains(fingerprint)), "{said}");
        let accept = fingerprints(&said).flat_map(|fingerprint| ["--accept", fingerprint]);
        self.waxseal(&fetch.into_iter().chain(accept).collect::<Vec<_>>()).map(drop)
    }

    /// Writes the manifests of Secrets with new values, and seals them.
    pub(super) fn seal_new(&mut self, namespace: &str, count: usize) -> TestResult {
        std::fs::create_dir_all(self.path("apps").join(namespace))?;
        let mut files = BTreeMap::<String, String>::new();
        for number in 0..count {
            let name = format!("app-{number:03}");
            let title = format!("{namespace}/{name}");
            let values = self.new_values(1 + number % DATA_KEYS.len());
            files.entry(file_of(&title)?).or_default().push_str(&manifest(namespace, &name, &values));
            self.values.insert(title, values);
        }
        for (file, text) in files {
            std::fs::write(self.path(&file), text)?;
        }
        self.waxseal(&["seal", "--in-place", &format!("apps/{namespace}")]).map(drop)
    }

    fn new_values(&mut self, count: usize) -> BTreeMap<String, String> {
        DATA_KEYS[..count].iter().map(|key| ((*key).to_owned(), self.choices.value())).collect()
    }

    /// Changes one value in `count` with `waxseal set`. Returns the Secrets that change.
    pub(super) fn edit_one_in(&mut self, count: u64) -> Result<Vec<Title>, Error> {
        let all = self.values.iter().flat_map(|(title, values)| values.keys().map(move |key| (title, key)));
        let all: Vec<_> = all.map(|(title, key)| (title.clone(), key.clone())).collect();
        let mut edited = Vec::new();
        for (title, key) in all {
            if self.choices.one_in(count) {
                let value = self.choices.value();
                let file = file_of(&title)?;
                run(&mut self.command(&["set", &file, &key, "--name", &title]), &value)?;
                self.values.get_mut(&title).ok_or("no such Secret")?.insert(key, value);
                edited.push(title);
            }
        }
        edited.dedup();
        Ok(edited)
    }

    pub(super) fn delete_merged_branches(&self) -> TestResult {
        let merged = self.git(&["branch", "--merged", "main", "--format", "%(refname:short)"])?;
        let merged = merged.lines().filter(|branch| *branch != "main");
        self.git(&["branch", "--quiet", "--delete"].into_iter().chain(merged).collect::<Vec<_>>()).map(drop)
    }

    /// Merges a branch. Where it conflicts, takes the files of `main`. Returns the number of conflicts.
    pub(super) fn merge(&self, branch: &str) -> Result<usize, Error> {
        let merge = self.git_output(&self.folder, &["merge", "--quiet", "--no-edit", branch])?;
        if merge.status.success() {
            return Ok(0);
        }
        let conflicts = self.git(&["diff", "--name-only", "--diff-filter=U"])?;
        let files: Vec<_> = conflicts.lines().collect();
        assert!(!files.is_empty(), "{}", String::from_utf8_lossy(&merge.stderr));
        self.git(&[&["checkout", "--quiet", "--ours", "--"][..], &files].concat())?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--no-edit"])?;
        Ok(files.len())
    }
}

/// The file of a SealedSecret, from the top of the repository.
fn file_of(title: &str) -> Result<String, Error> {
    let (namespace, name) = title.split_once('/').ok_or("a title without a namespace")?;
    let number: usize = name.trim_start_matches("app-").parse()?;
    let file = if number < ALONE { name.to_owned() } else { format!("group-{}", number / IN_A_FILE) };
    Ok(format!("apps/{namespace}/{file}.yaml"))
}

/// A Secret manifest as a person writes it. A JSON string is also a YAML string.
fn manifest(namespace: &str, name: &str, values: &BTreeMap<String, String>) -> String {
    let mut text = format!(
        "---\n# {name} belongs to the team of {namespace}.\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  \
         namespace: {namespace}\nstringData:\n"
    );
    for (key, value) in values {
        // Writing to a text never fails.
        let _ = writeln!(text, "  {key}: {}", serde_json::json!(value));
    }
    text
}
