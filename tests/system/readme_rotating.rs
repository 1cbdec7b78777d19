//! The chapter "Rotating keys" of the README, followed line by line.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use waxseal_shared::manifest::read_keys;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{KeyRole, KeyState};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller};
use waxseal_tests::waiting;

use crate::backup::delete_all;
use crate::key_namespace::Keys;
use crate::readme::{COPY_THE_CONTEXT, PATIENCE, Person, blocks};
use crate::registration::{Context, Error, Test, TestResult};
use crate::rotation::is_current;
use crate::sealing::{condition, fingerprints, opaque, recipient_in, values};

/// The key id in the commands of the README.
const KEY: &str = "k2f41ab09c3d4e5f6";
const CASES: [&str; 3] = ["\n### Routine\n", "\n### Compromise\n", "\n### Disaster\n"];
/// The replacements in all commands of an operator whose repository has no `.waxseal.yaml`.
const WITHOUT_CONFIGURATION: [(&str, &str); 8] = [
    ("waxseal seal --in-place apps/", "waxseal seal -n shop --keys prod.yaml apps/shop/db.yaml -o db.sealed.yaml"),
    ("git add .gitignore .waxseal.yaml .waxseal apps", "git add .gitignore prod.yaml db.sealed.yaml"),
    ("kubectl apply --server-side -f apps/shop/db.yaml", "kubectl apply --server-side -f db.sealed.yaml"),
    ("waxseal keys fetch prod", "waxseal keys fetch -o prod.yaml"),
    ("waxseal rotate apps/", "waxseal rotate db.sealed.yaml --keys prod.yaml"),
    (" apps/ ", " db.sealed.yaml "),
    ("--to prod", "--keys prod.yaml"),
    (".waxseal/prod.yaml", "prod.yaml"),
];
const TAKE: (&str, &str) = ("Take it into the file? Type yes: ", "yes\n");
const GONE: (&str, &str) = ("Make it Retired in the file? Type yes: ", "yes\n");

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("readme_rotating::rotating_keys_works_as_written", rotating),
        Test::on_own_cluster("readme_rotating::the_routine_works_without_a_configuration", quick_start),
    ]
}

async fn rotating(context: &Context, cluster: &Cluster) -> TestResult {
    let mut of_cases = 0;
    for case in CASES {
        of_cases += blocks(case, "sh")?.len();
    }
    assert_eq!(of_cases, blocks("\n## Rotating keys\n", "sh")?.len(), "the cases below follow all commands");
    let person = person_with_repository(context, cluster)?;
    let mut operator = Operator::begin(context, cluster, person, &[]).await?;
    operator.routine().await?;
    operator.compromise().await?;
    operator.disaster().await
}

/// A repository with the two files of the quick start, `prod.yaml` and `db.sealed.yaml`.
async fn quick_start(context: &Context, cluster: &Cluster) -> TestResult {
    let person = person_with_repository(context, cluster)?;
    fs::remove_file(person.folder().join(".waxseal.yaml"))?;
    Operator::begin(context, cluster, person, &WITHOUT_CONFIGURATION).await?.routine().await
}

/// An operator with a Git repository. The cluster `prod` is the cluster of the test. The cluster `staging` is the one
/// that all tests share: no command of the chapter needs its context.
struct Operator<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    person: Person,
    keys: Keys,
    /// `None` while the cluster is lost.
    controller: Option<Controller>,
    recovery_recipient: String,
    /// What the operator replaces in each command, and by what.
    replacements: &'a [(&'a str, &'a str)],
}

impl<'a> Operator<'a> {
    /// Installs a controller with a recovery key, and a Secret that is sealed, committed and applied.
    async fn begin(
        context: &'a Context,
        cluster: &'a Cluster,
        person: Person,
        replacements: &'a [(&'a str, &'a str)],
    ) -> Result<Self, Error> {
        installation::apply(cluster).await?;
        let recovery_recipient = make_recovery_key(&person)?;
        let keys = Keys::of(cluster);
        let mut operator = Self { context, cluster, person, keys, controller: None, recovery_recipient, replacements };
        operator.installs("first").await?.ready().await?;
        operator.follows("waxseal keys fetch prod --context prod", "", &[TAKE, TAKE])?;
        operator.follows("waxseal seal --in-place apps/\nkubectl create namespace shop", "", &[])?;
        operator.commits_and_applies()?;
        operator.until_current().await?;
        Ok(operator)
    }

    /// Starts a controller with the recovery key.
    async fn installs(&mut self, name: &str) -> Result<&Controller, Error> {
        let mut command = Command::new(&self.context.programs.waxseal_controller);
        command.env_clear().env("WAXSEAL_RECOVERY_RECIPIENT", &self.recovery_recipient);
        let controller = Controller::start_command(self.cluster, command, name).await?;
        Ok(self.controller.insert(controller))
    }

    /// Stops the controller, and deletes all keys, the SealedSecret and the Secret.
    async fn loses_the_cluster(&mut self) -> TestResult {
        self.controller.take().ok_or("no controller")?.stop().await?;
        self.objects().delete("db", &DeleteParams::default()).await?;
        let gone = async || self.secrets().get_opt("db").await.ok()?.is_none().then_some(());
        waiting::until("the end of the Secret", PATIENCE, gone).await?;
        delete_all(&self.keys).await
    }

    /// Runs a block about a key, exactly as it stands if the repository is as in the README.
    fn follows(&self, block: &str, key: &str, answers: &[(&str, &str)]) -> Result<String, Error> {
        self.person.pastes(&self.written(block).replace(KEY, key), answers)
    }

    fn written(&self, text: &str) -> String {
        self.replacements.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    fn is_refused(&self, block: &str, key: &str) -> Result<String, Error> {
        match self.follows(block, key, &[]) {
            Ok(said) => Err(format!("nothing is refused: {said}").into()),
            Err(error) => Ok(error.to_string()),
        }
    }

    /// Backs the keys up, and puts the file where it is kept.
    fn backs_up(&self, block: &str, kept: &str) -> TestResult {
        let said = self.follows(block, "", &[])?;
        assert!(said.contains("(Recovery, from "), "{said}");
        let folder = self.person.folder();
        fs::create_dir_all(folder.join("safe"))?;
        Ok(fs::rename(folder.join("prod-keys.age"), folder.join("safe").join(kept))?)
    }

    fn commits_and_applies(&self) -> TestResult {
        self.follows("git add .gitignore .waxseal.yaml .waxseal apps\ngit commit -q -m Change", "", &[])?;
        self.applies()
    }

    fn applies(&self) -> TestResult {
        self.follows("kubectl apply --server-side -f apps/shop/db.yaml", "", &[]).map(drop)
    }

    /// Waits until the cluster has an Active key; returns its id.
    async fn primary(&self) -> Result<String, Error> {
        let active = waiting::until("an Active key", PATIENCE, async || {
            let found = self.keys.published.list(&ListParams::default()).await.ok()?;
            let mut active = found.items.iter().filter(|key| key.spec.role == KeyRole::Cluster);
            active.find(|key| key.spec.state == KeyState::Active).map(ResourceExt::name_any)
        });
        Ok(active.await?)
    }

    fn objects(&self) -> Api<SealedSecret> {
        Api::namespaced(self.cluster.client(), "shop")
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.cluster.client(), "shop")
    }

    async fn until(&self, what: &str, is_wanted: impl Fn(&SealedSecret) -> bool) -> TestResult {
        let found = async || {
            let object = self.objects().get_opt("db").await.ok()??;
            let is_judged = object.status.as_ref()?.observed_generation == object.metadata.generation;
            (is_judged && is_wanted(&object)).then_some(())
        };
        match waiting::until(what, PATIENCE, found).await {
            Ok(()) => Ok(()),
            Err(error) => Err(format!("{error}: {:?}", self.objects().get("db").await?.status).into()),
        }
    }

    async fn until_reason(&self, type_: &str, reason: &str) -> TestResult {
        self.until(reason, |object| condition(object, type_).is_some_and(|found| found.1 == reason)).await
    }

    /// Waits until the Secret is right, and its SealedSecret is sealed to all keys and to no revoked one.
    async fn until_current(&self) -> TestResult {
        self.until_reason("Ready", "Materialised").await?;
        self.until("no KeyCurrent", |object| object.status.as_ref().is_some_and(is_current)).await
    }

    async fn secret_is(&self, password: &str) -> TestResult {
        let found: BTreeMap<_, _> = values(&self.secrets().get("db").await?).into_iter().collect();
        let expected = [("PASSWORD", password), ("TOKEN", "hunter2")];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        Ok(())
    }

    async fn secret_version(&self) -> Result<Option<String>, Error> {
        Ok(self.secrets().get("db").await?.resource_version())
    }

    async fn until_confirmed(&self, key: &str, state: KeyState) -> TestResult {
        let confirmed = async || {
            let status = self.keys.published.get_opt(key).await.ok()??.status?;
            (status.state == Some(state)).then_some(())
        };
        Ok(waiting::until("the confirmed state", PATIENCE, confirmed).await?)
    }

    async fn routine(&mut self) -> TestResult {
        let [rotate, follow, back_up, prune, delete] = blocks(CASES[0], "sh")?[..] else {
            return Err("not five blocks".into());
        };
        let version = self.secret_version().await?;
        let old = self.primary().await?;
        let refused = self.is_refused(delete, &old)?;
        assert!(refused.contains(&format!("{old} is still in use: its state is Active\n")), "{refused}");
        self.backs_up(back_up, "first.age")?;
        self.person.pastes("git branch feature", &[])?;

        let said = self.follows(rotate, &old, &[("Make a new primary? Type yes: ", "yes\n")])?;
        let new = self.primary().await?;
        let fingerprint = fingerprints(&said).next().ok_or("no fingerprint")?;
        let log = self.controller.as_ref().map(Controller::log_text).unwrap_or_default();
        assert!(new != old && said.contains(&new) && log.contains(fingerprint), "{said}");
        self.until_reason("KeyCurrent", "Behind").await?;
        let said = self.follows(follow, &old, &[TAKE])?;
        assert!(said.contains("changed 1 of 1 SealedSecret in 1 file\n"), "{said}");
        self.until_confirmed(&old, KeyState::Retired).await?;
        let refused = self.is_refused(delete, &old)?;
        let named = "SealedSecret shop/db: not opened through another key yet\n";
        let count = format!("{old} is still needed by 1 SealedSecret in the cluster, ");
        assert!(refused.contains(named) && refused.contains(&count), "{refused}");

        self.commits_and_applies()?;
        self.until_current().await?;
        self.follows("waxseal rotate apps/ --check", "", &[])?;
        self.backs_up(back_up, "second.age")?;
        let shown = async || {
            let status = self.keys.published.get_opt(&old).await.ok()??.status?;
            status.last_backup_time
        };
        waiting::until("the time of the backup", PATIENCE, shown).await?;
        self.follows(prune, &old, &[])?;
        self.commits_and_applies()?;
        self.until_current().await?;
        let refused = self.is_refused(delete, &old)?;
        assert!(refused.contains("feature") && !refused.contains("in the cluster"), "{refused}");
        self.person.pastes("git branch -f feature main", &[])?;
        self.follows(delete, &old, &[("Delete it? Type yes: ", "yes\n")])?;

        assert!(self.keys.published.get_opt(&old).await?.is_none());
        assert_eq!(self.keys.identity_names().await?, [format!("waxseal-key-after-{old}")]);
        let keys_file = self.person.folder().join(self.written(".waxseal/prod.yaml"));
        assert!(fs::read_to_string(keys_file)?.contains(&old), "the file goes on saying whose key it was");
        self.until_current().await?;
        assert_eq!(self.secret_version().await?, version);
        Ok(())
    }

    async fn compromise(&mut self) -> TestResult {
        let [revoke, fetch, usage, set, reseal] = blocks(CASES[1], "sh")?[..] else {
            return Err("not five blocks".into());
        };
        let version = self.secret_version().await?;
        let key = self.primary().await?;
        self.follows(revoke, &key, &[("Revoke it? Type yes: ", "yes\n")])?;
        let published = self.keys.published.get(&key).await?;
        let confirmed = published.status.and_then(|status| status.state);
        assert_eq!((published.spec.state, confirmed), (KeyState::Revoked, Some(KeyState::Revoked)));
        assert_eq!(self.state_in_keys_file(&key)?, Some(KeyState::Revoked));
        self.until_reason("Ready", "KeyRevoked").await?;
        assert_eq!(self.secret_version().await?, version);

        let new = self.primary().await?;
        self.follows(fetch, &key, &[TAKE])?;
        assert_eq!(self.state_in_keys_file(&new)?, Some(KeyState::Active));
        self.commits_and_applies()?;
        let said = self.follows(usage, &key, &[])?;
        assert!(said.contains("opens 2 sealed values in 1 file") && said.contains("stays readable"), "{said}");
        self.follows(set, &key, &[("Value of PASSWORD: ", "battery-staple\n")])?;
        self.follows(reseal, &key, &[])?;
        assert!(!fs::read_to_string(self.person.folder().join("apps/shop/db.yaml"))?.contains(&key));
        self.commits_and_applies()?;
        self.until_current().await?;
        self.secret_is("battery-staple").await
    }

    fn state_in_keys_file(&self, id: &str) -> Result<Option<KeyState>, Error> {
        let keys = read_keys(&fs::read_to_string(self.person.folder().join(".waxseal/prod.yaml"))?)?;
        Ok(keys.iter().find(|key| key.recipient.key_id().as_str() == id).map(|key| key.state))
    }

    async fn disaster(&mut self) -> TestResult {
        let [fetch, rotate, restore] = blocks(CASES[2], "sh")?[..] else {
            return Err("not three blocks".into());
        };
        let [_, _, back_up, ..] = blocks(CASES[0], "sh")?[..] else {
            return Err("not three blocks".into());
        };
        self.backs_up(back_up, "third.age")?;
        let lost = self.primary().await?;
        self.loses_the_cluster().await?;
        self.installs("second").await?.ready().await?;
        self.follows(fetch, "", &[TAKE, GONE])?;
        self.follows(rotate, "", &[])?;
        self.commits_and_applies()?;
        self.until_current().await?;
        self.secret_is("battery-staple").await?;

        assert_eq!(self.state_in_keys_file(&lost)?, Some(KeyState::Retired));
        self.sets_a_value().await?;
        self.is_in_a_hurry(back_up, restore).await
    }

    /// Sets a value in the file, which still has a wrap for the lost key.
    async fn sets_a_value(&self) -> TestResult {
        let answer = ("Value of PASSWORD: ", "horse-battery\n");
        self.follows("waxseal set apps/shop/db.yaml PASSWORD", "", &[answer])?;
        self.commits_and_applies()?;
        self.until_current().await?;
        self.secret_is("horse-battery").await
    }

    /// Another cluster is lost. The SealedSecrets are there before the keys.
    async fn is_in_a_hurry(&mut self, back_up: &str, restore: &str) -> TestResult {
        self.backs_up(back_up, "fourth.age")?;
        let folder = self.person.folder();
        fs::rename(folder.join("safe/fourth.age"), folder.join("prod-keys.age"))?;
        self.loses_the_cluster().await?;
        self.applies()?;
        self.installs("third").await?;
        self.until_reason("Ready", "AwaitingKeys").await?;
        self.follows(restore, "", &[("Restore 1 key? Type yes: ", "yes\n")])?;
        self.until_current().await?;
        self.secret_is("horse-battery").await?;
        assert_eq!(self.person.pastes("git status --porcelain -- apps .waxseal", &[])?, "");
        Ok(())
    }
}

/// Makes contexts and a Git repository with the configuration of the chapter "Several clusters", the keys file of
/// `staging`, and a plain Secret.
fn person_with_repository(context: &Context, cluster: &Cluster) -> Result<Person, Error> {
    let person = Person::new(context, Some(cluster.admin_kubeconfig().to_owned()))?;
    person.pastes(COPY_THE_CONTEXT, &[])?;
    let [configuration] = blocks("\n## Several clusters\n", "yaml")?[..] else {
        return Err("not one configuration".into());
    };
    let manifest = opaque("db", &[("PASSWORD", "correct-horse"), ("TOKEN", "hunter2")]);
    let staging = fs::read_to_string(&context.keys_file)?;
    let files = [
        (".gitignore", "recovery.key\nprod-keys.age\n"),
        (".waxseal.yaml", configuration),
        (".waxseal/staging.yaml", &staging),
        ("apps/shop/db.yaml", &manifest),
    ];
    for folder in [".waxseal", "apps/shop"] {
        fs::create_dir_all(person.folder().join(folder))?;
    }
    for (path, text) in files {
        fs::write(person.folder().join(path), text)?;
    }
    let git = "git init -q -b main\ngit config user.name Operator\ngit config user.email operator@example.com";
    person.pastes(git, &[])?;
    Ok(person)
}

/// Makes `recovery.key`; returns its recipient.
fn make_recovery_key(person: &Person) -> Result<String, Error> {
    person.pastes("waxseal keys generate --recovery -o recovery.key > recovery.yaml", &[])?;
    let public = fs::read_to_string(person.folder().join("recovery.yaml"))?;
    Ok(recipient_in(&public)?.to_owned())
}
