//! The commands of the README, run exactly as a person pastes them.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE, deployed_pod};
use waxseal_tests::processes::{Process, ProcessGroup};
use waxseal_tests::terminal::{self, Shown, Terminal};
use waxseal_tests::{assets, target_folder, waiting};

use crate::backup::delete_all;
use crate::key_namespace::Keys;
use crate::kustomize::{does_the_job, on_empty_cluster};
use crate::registration::{Context, Error, Test, TestResult, own_cluster_slot};
use crate::sealing::recipient_in;

const README: &str = include_str!("../../README.md");
const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The deadline for what the controller does by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const PASSPHRASE: &str = "correct horse battery staple\n";
/// The value in all examples of the README.
const PASSWORD: &str = "correct-horse";

/// Makes contexts with the names of the clusters in the README, in the kubeconfig of the cluster that the test started.
pub(crate) const COPY_THE_CONTEXT: &str = r#"
context="$(kubectl config current-context)"
field() { kubectl config view -o "jsonpath={.contexts[?(@.name==\"$context\")].context.$1}"; }
for name in prod staging; do kubectl config set-context "$name" --cluster "$(field cluster)" --user "$(field user)"; done
"#;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        on_empty_cluster("readme::installing_by_helm_works_as_written", install_by_helm),
        on_empty_cluster("readme::installing_by_kustomize_works_as_written", install_by_kustomize),
        Test::blocking("readme::the_quick_start_works_as_written", quick_start),
        Test::blocking("readme::changing_a_value_works_as_written", changing_a_value),
        Test::blocking("readme::without_kubernetes_works_as_written", without_kubernetes),
        Test::blocking("readme::the_recovery_keys_work_as_written", recovery_keys),
        Test::on_own_cluster("readme::backup_and_restore_work_as_written", back_up),
    ]
}

/// Returns the code blocks in a language below a heading, up to the next heading of the same level or of level 2.
pub(crate) fn blocks(heading: &str, language: &str) -> Result<Vec<&'static str>, Error> {
    let (_, section) = README.split_once(heading).ok_or_else(|| format!("the README has no {heading:?}"))?;
    let level = heading.trim_start().split(' ').next().unwrap_or_default();
    let ends = ["\n## ".to_owned(), format!("\n{level} ")];
    let section = ends.iter().fold(section, |section, end| section.split(end).next().unwrap_or(section));
    let begin = format!("```{language}\n");
    let blocks = section.split(begin.as_str()).skip(1).filter_map(|rest| rest.split_once("```\n"));
    Ok(blocks.map(|(block, _)| block).collect())
}

/// A person with an empty folder, the programs in `PATH`, and terminals.
pub(crate) struct Person {
    /// The folder, and the processes that run in other terminals.
    group: ProcessGroup,
    path: std::ffi::OsString,
    kubeconfig: Option<PathBuf>,
    background: Vec<Process>,
}

impl Person {
    pub(crate) fn new(context: &Context, kubeconfig: Option<PathBuf>) -> Result<Self, Error> {
        let programs = [&context.programs.waxseal, &context.assets.kubectl, &context.assets.age];
        let folders = programs.iter().filter_map(|program| program.parent().map(Path::to_owned));
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&inherited)))?;
        let group = ProcessGroup::start(&target_folder::find()?.join("test-clusters"))?;
        Ok(Self { group, path, kubeconfig, background: Vec::new() })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.group.folder()
    }

    /// Writes `db.yaml`, the first manifest of the README.
    fn has_the_manifest(&self) -> TestResult {
        let manifest = blocks("# Waxseal\n", "yaml")?;
        Ok(fs::write(self.folder().join("db.yaml"), manifest.first().ok_or("no manifest")?)?)
    }

    fn prepare(&self, command: &mut Command) {
        command.env_clear().current_dir(self.folder()).env("PATH", &self.path).env("HOME", self.folder());
        // Several controllers run on this machine at once.
        command.env("WAXSEAL_LISTEN", "127.0.0.1:0").env("WAXSEAL_METRICS_LISTEN", "127.0.0.1:0");
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
    }

    /// Starts a block in another terminal, where it stays; returns the path of its log.
    fn starts(&mut self, block: &str) -> Result<PathBuf, Error> {
        let log = self.folder().join("controller.log");
        let mut shell = Command::new("sh");
        self.prepare(&mut shell);
        shell.args(["-eu", "-c", block]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        self.background.push(self.group.spawn(&mut shell)?);
        Ok(log)
    }

    /// Runs a block to its end and answers its questions; returns everything that the terminal showed.
    pub(crate) fn pastes(&self, block: &str, answers: &[(&str, &str)]) -> Result<String, Error> {
        let mut terminal = Terminal::open();
        let mut shell = Command::new(std::env::current_exe()?);
        self.prepare(&mut shell);
        terminal::run_in_session(&mut shell, "sh", &["-eu", "-c", block], Some(&terminal));
        shell.stdin(terminal.other_end()).stdout(terminal.other_end()).stderr(terminal.other_end());
        let mut child = self.group.spawn(&mut shell)?;
        // The session ends when all other ends of the terminal are closed. `shell` holds one of them.
        drop(shell);
        let mut shown = Shown::of(&terminal);
        for (question, answer) in answers {
            shown.waits_for(question).map_err(|error| format!("{error}, after\n{block}"))?;
            terminal.types(answer);
        }
        let seen = shown.ends().map_err(|error| format!("{error}, after\n{block}"))?;
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("{status}: the terminal shows\n{seen}\nafter\n{block}").into());
        }
        Ok(seen)
    }
}

/// Returns the fingerprint that a controller has logged.
fn logged_fingerprint(log: &Path) -> Result<String, Error> {
    let fingerprint = waiting::until_blocking("the fingerprint in the controller's log", PATIENCE, || {
        let text = fs::read_to_string(log).ok()?;
        let line = text.lines().find(|line| line.contains("fingerprint"))?;
        let (_, digest) = line.split_once("sha256:")?;
        Some(format!("sha256:{}", digest.get(..64)?))
    });
    Ok(fingerprint?)
}

/// The commands to install from a clone: by Helm, and by Kustomize.
fn install_commands() -> Result<[&'static str; 2], Error> {
    let heading = "\n### From a clone\n";
    let [programs, helm, kustomize] = blocks(heading, "sh")?[..] else { return Err("not three blocks".into()) };
    // The builds of the programs and of the image take minutes: these commands are not run. The tests build the same
    // programs and the same image in another way.
    assert!(programs.starts_with("cargo install --locked --path cli\n"), "{programs}");
    let [image] = blocks(heading, "bash")?[..] else { return Err("not one block for the image".into()) };
    for part in ["deploy/image/build-binary target/image\n", "--file deploy/image/Containerfile "] {
        assert!(image.contains(part), "{image}");
    }
    Ok([helm, kustomize])
}

/// A person with a clone, and with helm in `PATH`.
fn person_with_clone(context: &Context, cluster: &Cluster) -> Result<Person, Error> {
    let mut person = Person::new(context, Some(cluster.admin_kubeconfig().to_owned()))?;
    symlink(Path::new(REPOSITORY).join("deploy"), person.folder().join("deploy"))?;
    let helm = assets::helm()?.parent().ok_or("no folder")?.to_owned();
    person.path = std::env::join_paths([helm].into_iter().chain(std::env::split_paths(&person.path)))?;
    Ok(person)
}

async fn install_by_helm(context: &Context, cluster: &Cluster) -> TestResult {
    let [helm, _] = install_commands()?;
    let said = person_with_clone(context, cluster)?.pastes(helm, &[])?;
    assert!(said.contains("waxseal keys fetch --context"), "{said}");
    the_installation_works(context, cluster).await
}

async fn install_by_kustomize(context: &Context, cluster: &Cluster) -> TestResult {
    let [_, kustomize] = install_commands()?;
    let person = person_with_clone(context, cluster)?;
    let [kustomization] = blocks("\n### From a clone\n", "yaml")?[..] else { return Err("not one file".into()) };
    fs::write(person.folder().join("kustomization.yaml"), kustomization)?;
    person.pastes(kustomize, &[])?;
    the_installation_works(context, cluster).await
}

async fn the_installation_works(context: &Context, cluster: &Cluster) -> TestResult {
    let pod = deployed_pod(cluster, KEY_NAMESPACE).await?;
    let image = concat!("registry.example.com/waxseal-controller:", env!("CARGO_PKG_VERSION"));
    assert_eq!(pod.containers[0].image.as_deref(), Some(image));
    let namespace = cluster.namespace("installed").await?;
    does_the_job(context, cluster, &namespace).await
}

fn quick_start(context: &Context) -> TestResult {
    let _slot = own_cluster_slot()?;
    let cluster = Cluster::start(&context.assets.kubernetes, &[])?;
    let mut person = Person::new(context, Some(cluster.admin_kubeconfig().to_owned()))?;
    symlink(Path::new(REPOSITORY).join("deploy"), person.folder().join("deploy"))?;
    let mut blocks = blocks("\n## Quick start in a cluster\n", "sh")?.into_iter();
    let build = blocks.next().ok_or("no block")?;
    assert!(build.starts_with("cargo build --release\nexport PATH="), "{build}");
    let (mut fingerprint, mut shown) = (String::new(), String::new());
    for block in blocks {
        if block.starts_with("waxseal-controller ") {
            let log = person.starts(block)?;
            fingerprint = logged_fingerprint(&log)?;
            let published = || person.pastes("kubectl get sealingkeys -n waxseal-system -o name", &[]).ok();
            waiting::until_blocking("the public key", PATIENCE, || published().filter(|names| names.contains('/')))?;
        } else if block.starts_with("waxseal keys fetch ") {
            let asked = person.pastes(block, &[("Take it into the file? Type yes: ", "yes\n")])?;
            assert!(asked.contains("(Cluster, Active, created "), "{asked}");
            assert!(asked.contains(&fingerprint), "{fingerprint} was logged: {asked}");
        } else {
            shown += &person.pastes(block, &[])?;
        }
    }
    for part in ["sealedsecret.waxseal.dev/db condition met", "Materialised"] {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    assert!(!shown.contains("Warning:"), "{shown}");
    assert!(shown.ends_with(PASSWORD), "{shown}");
    several_clusters(&person, &fingerprint)
}

/// Both clusters are the cluster of the quick start, under two contexts.
fn several_clusters(person: &Person, fingerprint: &str) -> TestResult {
    let heading = "\n## Several clusters\n";
    let [configuration] = blocks(heading, "yaml")?[..] else {
        return Err("not one configuration".into());
    };
    let [fetch, seal] = blocks(heading, "sh")?[..] else {
        return Err("not two blocks".into());
    };
    fs::write(person.folder().join(".waxseal.yaml"), configuration)?;
    person.pastes(COPY_THE_CONTEXT, &[])?;
    let answer = ("Take it into the file? Type yes: ", "yes\n");
    let asked = person.pastes(fetch, &[answer, answer])?;
    assert_eq!(asked.matches(fingerprint).count(), 2, "{asked}");
    let shop = person.folder().join("apps/shop");
    fs::create_dir_all(&shop)?;
    person.has_the_manifest()?;
    fs::rename(person.folder().join("db.yaml"), shop.join("db.yaml"))?;
    let said = person.pastes(seal, &[])?;
    assert!(
        said.contains("(Cluster, from cluster prod, .waxseal/prod.yaml)") && said.contains("sealed 1 Secret in 1 file"),
        "{said}"
    );
    assert!(fs::read_to_string(shop.join("db.yaml"))?.contains("kind: SealedSecret"));
    Ok(())
}

fn changing_a_value(context: &Context) -> TestResult {
    let person = Person::new(context, None)?;
    person.has_the_manifest()?;
    fs::copy(&context.keys_file, person.folder().join("prod.yaml"))?;
    person.pastes("waxseal seal --keys prod.yaml db.yaml -o db.sealed.yaml", &[])?;
    let sealed = || fs::read_to_string(person.folder().join("db.sealed.yaml"));
    let before = sealed()?;
    let [typed, piped, removed] = blocks("\n## Change a value\n", "sh")?[..] else {
        return Err("not three blocks".into());
    };
    person.pastes(typed, &[("Value of PASSWORD: ", "battery-staple\n")])?;
    let changed = sealed()?;
    assert_ne!(changed, before);
    person.pastes(piped, &[])?;
    assert!(sealed()?.contains("TOKEN: wax1."));
    person.pastes(removed, &[])?;
    assert_eq!(sealed()?, changed);
    Ok(())
}

fn without_kubernetes(context: &Context) -> TestResult {
    let mut person = Person::new(context, None)?;
    person.has_the_manifest()?;
    let blocks = blocks("\n## Without Kubernetes\n", "sh")?;
    let (look, blocks) = blocks.split_last().ok_or("no block")?;
    for block in blocks {
        if block.starts_with("waxseal-controller ") {
            let log = person.starts(block)?;
            logged_fingerprint(&log)?;
            let published = person.folder().join("keys/sealing-keys.yaml");
            waiting::until_blocking("the public keys", PATIENCE, || published.exists().then_some(()))?;
        } else {
            person.pastes(block, &[])?;
        }
    }
    // A person repeats the command until the Secret exists.
    let shown = waiting::until_blocking("the Secret", PATIENCE, || person.pastes(look, &[]).ok())?;
    assert_eq!(shown, PASSWORD);
    Ok(())
}

fn recovery_keys(context: &Context) -> TestResult {
    let person = Person::new(context, None)?;
    person.has_the_manifest()?;
    fs::copy(&context.keys_file, person.folder().join("prod.yaml"))?;
    let [make, seal, open, drill] = blocks("\n## Recovery keys\n", "sh")?[..] else {
        return Err("not four blocks".into());
    };
    let answers = [
        ("Enter passphrase (leave empty to autogenerate a secure one): ", PASSPHRASE),
        ("Confirm passphrase: ", PASSPHRASE),
        ("Passphrase of recovery.key: ", PASSPHRASE),
    ];
    person.pastes(make, &answers)?;
    person.pastes(seal, &[])?;
    let drilled = person.pastes(drill, &answers[2..])?;
    assert!(drilled.contains("1 of 1 SealedSecret opened"), "{drilled}");
    let opened = person.pastes(open, &answers[2..])?;
    assert!(opened.contains(&format!("PASSWORD: {}\n", BASE64_STANDARD.encode(PASSWORD))), "{opened}");
    Ok(())
}

/// A cluster with a recovery key loses its keys.
async fn back_up(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let person = Person::new(context, Some(cluster.admin_kubeconfig().to_owned()))?;
    person.pastes("waxseal keys generate --recovery -o recovery.key > recovery.yaml", &[])?;
    let public = fs::read_to_string(person.folder().join("recovery.yaml"))?;
    let recipient = recipient_in(&public)?;
    let configured = || {
        let mut command = Command::new(&context.programs.waxseal_controller);
        command.env_clear().env("WAXSEAL_RECOVERY_RECIPIENT", recipient);
        command
    };
    let controller = Controller::start_command(cluster, configured(), "readme").await?;
    controller.ready().await?;
    person.pastes(COPY_THE_CONTEXT, &[])?;
    let answer = ("Take it into the file? Type yes: ", "yes\n");
    person.pastes("waxseal keys fetch --context prod -o prod.yaml", &[answer, answer])?;
    let [back_up, restore] = blocks("\n## Back up the keys\n", "sh")?[..] else {
        return Err("not two blocks".into());
    };
    let said = person.pastes(back_up, &[])?;
    assert!(said.contains("(Recovery, from prod.yaml)") && said.contains("has 1 key of context prod"), "{said}");
    // A controller that makes keys would make a new first key as soon as the old one is gone.
    controller.stop().await?;
    delete_all(&Keys::of(cluster)).await?;
    let mut without_generation = configured();
    without_generation.env("WAXSEAL_NO_KEY_GENERATION", "true");
    let _controller = Controller::start_command(cluster, without_generation, "readme-again").await?;
    let said = person.pastes(restore, &[("Restore 1 key? Type yes: ", "yes\n")])?;
    assert!(said.contains("the controller confirms: "), "{said}");
    Ok(())
}
