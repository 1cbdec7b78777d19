//! `waxseal keys backup` and `waxseal keys restore` on a real cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Instant;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::api_group::BACKED_UP_ANNOTATION;
use waxseal_shared::key::{EncryptedFile, Recipient};
use waxseal_shared::key_backup::{self, BackedUpKey};
use waxseal_shared::key_life::HeldKey;
use waxseal_shared::names::{Namespace as NamespaceName, ObjectName};
use waxseal_shared::randomness;
use waxseal_shared::sealing_key::{KeyRole, KeyState};
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE};
use waxseal_tests::waiting;

use crate::controllers::{start_without_generation, started};
use crate::key_namespace::{Keys, MADE, TYPE, identity_secret, new_identity, secret};
use crate::missing_rights::take_from;
use crate::peers::{Peer, filter};
use crate::registration::{Context, Error, Test, TestResult};
use crate::rights::{rights, rights_of};
use crate::sealing::{DEADLINE, create, fingerprints, recipient_in, sealed, values, with_reason};

/// The Role of backup operators, and all that it lets them do.
const ROLE: &str = "waxseal-backup-operator";
const ROLE_RIGHTS: [(&str, &[&str]); 2] = [("sealingkeys", &["list"]), ("secrets", &["get", "list", "patch"])];
/// The number of runs that are killed.
const KILLS: u32 = 40;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("backup::a_cluster_that_lost_its_keys_is_restored_and_no_secret_changes", life),
        Test::on_own_cluster("backup::stock_age_and_kubectl_restore_a_backup", stock),
        Test::on_own_cluster("backup::missing_rights_are_named", missing_rights),
        Test::on_own_cluster("backup::the_role_of_backup_operators_is_enough_and_no_verb_is_too_many", role),
        Test::on_own_cluster("backup::broken_identities_and_foreign_secrets_stay_as_they_are", in_the_way),
        Test::on_own_cluster("backup::a_forged_backup_plants_no_key", forged),
        Test::on_own_cluster("backup::a_killed_restore_is_finished_by_the_next_one", killed),
    ]
}

/// An operator with a recovery key, in a folder with the files `recovery.key` and `recovery.yaml`.
struct Operator<'a> {
    context: &'a Context,
    folder: PathBuf,
    kubeconfig: PathBuf,
}

impl<'a> Operator<'a> {
    fn new(context: &'a Context, cluster: &Cluster) -> Result<Self, Error> {
        let folder = cluster.folder().join("operator");
        fs::create_dir(&folder)?;
        let operator = Self { context, folder, kubeconfig: cluster.admin_kubeconfig().to_owned() };
        let public = operator.run(operator.waxseal(&["generate", "--recovery", "-o", "recovery.key"]))?;
        assert!(public.status.success(), "{}", String::from_utf8_lossy(&public.stderr));
        fs::write(operator.folder.join("recovery.yaml"), public.stdout)?;
        Ok(operator)
    }

    /// An operator without rights.
    fn without_rights(context: &'a Context, cluster: &Cluster) -> Result<Self, Error> {
        let operator = Self::new(context, cluster)?;
        let kubeconfig = cluster.folder().join("operator.kubeconfig");
        cluster.write_kubeconfig(&kubeconfig, "admin", &cluster.user("operator", "operators")?, "default")?;
        Ok(Self { kubeconfig, ..operator })
    }

    fn waxseal(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.context.programs.waxseal);
        command.env_clear().current_dir(&self.folder).arg("keys").args(arguments);
        command
    }

    fn on_cluster(&self, arguments: &[&str]) -> Command {
        let mut command = self.waxseal(arguments);
        command.args(["--context", "admin", "--kubeconfig"]).arg(&self.kubeconfig);
        command
    }

    fn run(&self, mut command: Command) -> Result<Output, Error> {
        Ok(command.stdin(Stdio::null()).output()?)
    }

    /// Runs a command; returns its exit code and what it says.
    fn says(&self, arguments: &[&str]) -> Result<(Option<i32>, String), Error> {
        let output = self.run(self.on_cluster(arguments))?;
        let said = String::from_utf8(output.stderr)?;
        assert!(output.stdout.is_empty() && !said.contains("AGE-SECRET-KEY"), "{said}");
        Ok((output.status.code(), said))
    }

    /// Runs a command that must succeed.
    fn does(&self, arguments: &[&str]) -> Result<String, Error> {
        let (code, said) = self.says(arguments)?;
        assert_eq!(code, Some(0), "{said}");
        Ok(said)
    }

    fn backs_up(&self) -> Result<String, Error> {
        self.does(&["backup", "-o", "keys.age", "--keys", "recovery.yaml"])
    }

    fn restores(&self, more: &[&str]) -> Result<String, Error> {
        self.does(&[&["restore", "keys.age", "--identity", "recovery.key", "--yes"], more].concat())
    }

    /// Writes a keys file with the keys that the cluster publishes now.
    fn fetches(&self) -> TestResult {
        let fetch = ["fetch", "-o", "prod.yaml"];
        let (_, said) = self.says(&fetch)?;
        let accept: Vec<_> = fingerprints(&said).flat_map(|fingerprint| ["--accept", fingerprint]).collect();
        self.does(&[&fetch[..], &accept].concat())?;
        Ok(())
    }
}

/// The resourceVersion of every identity Secret.
async fn versions(keys: &Keys) -> Result<BTreeMap<String, String>, Error> {
    let version = |secret: &Secret| (secret.name_any(), secret.resource_version().unwrap_or_default());
    Ok(keys.identity_secrets().await?.iter().map(version).collect())
}

/// The identity in every identity Secret.
async fn contents(keys: &Keys) -> Result<BTreeMap<String, String>, Error> {
    let secrets = keys.identity_secrets().await?;
    let identity = |secret: &Secret| values(secret).into_iter().find(|(key, _)| key == "identity");
    Ok(secrets.iter().filter_map(|secret| Some((secret.name_any(), identity(secret)?.1))).collect())
}

/// Deletes all identity Secrets and all SealingKeys.
pub(crate) async fn delete_all(keys: &Keys) -> TestResult {
    let of_type = ListParams::default().fields(&format!("type={TYPE}"));
    keys.identities.delete_collection(&DeleteParams::default(), &of_type).await?;
    keys.published.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
    waiting::until("the end of all keys", DEADLINE, async || {
        let left = keys.published.list(&ListParams::default()).await.ok()?.items;
        (left.is_empty() && keys.identity_names().await.ok()?.is_empty()).then_some(())
    })
    .await?;
    Ok(())
}

async fn version_of(namespace: &Namespace) -> Result<Option<String>, Error> {
    Ok(namespace.api::<Secret>().get("db").await?.resource_version())
}

async fn life(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let (keys, operator) = (Keys::of(cluster), Operator::new(context, cluster)?);
    let controller = Controller::start(cluster, &context.programs, "before").await?;
    controller.ready().await?;
    let first = keys.first().await?;
    let (one, two) = (cluster.namespace("one").await?, cluster.namespace("two").await?);
    create(&one, &sealed(context, cluster, &controller, &one)?).await?;
    keys.ask_for(&first, "Retired").await?;
    keys.until_published(&first, KeyState::Retired).await?;
    keys.until_durable("first-sealing-key", "Retired").await?;
    let successor = format!("waxseal-key-after-{first}");
    let has_successor = async || keys.primary().await.ok().filter(|primary| *primary != first);
    waiting::until("the SealingKey of the successor", DEADLINE, has_successor).await?;
    create(&two, &sealed(context, cluster, &controller, &two)?).await?;
    let brought = keys.add("brought").await?;
    // The controller retires it, because it is old.
    keys.until_published(&brought, KeyState::Retired).await?;
    keys.ask_for(&brought, "Revoked").await?;
    keys.until_durable("brought", "Revoked").await?;
    for namespace in [&one, &two] {
        with_reason(namespace, "db", "Materialised").await?;
    }
    operator.fetches()?;
    let said = operator.backs_up()?;
    assert!(said.ends_with("keys.age has 3 keys of context admin\n"), "{said}");
    for name in keys.identity_names().await? {
        let secret = keys.identities.get(&name).await?;
        let time: Timestamp = secret.annotations()[BACKED_UP_ANNOTATION].parse()?;
        assert!(time.subsec_nanosecond() == 0 && time <= Timestamp::now(), "{time}");
    }
    let (before, published) = (contents(&keys).await?, published(&keys).await?);
    let secret_versions = [version_of(&one).await?, version_of(&two).await?];

    drop(controller);
    delete_all(&keys).await?;
    let _controller = Controller::start(cluster, &context.programs, "after").await?;
    let said = operator.restores(&["--keys", "prod.yaml"])?;
    assert_eq!(said.matches("the controller confirms: ").count(), 3, "{said}");
    assert!(said.contains(&format!("the controller confirms: {brought} is Revoked\n")), "{said}");
    assert_eq!(contents(&keys).await?, before);
    assert_eq!(self::published(&keys).await?, published);
    for namespace in [&one, &two] {
        with_reason(namespace, "db", "Materialised").await?;
    }
    assert_eq!([version_of(&one).await?, version_of(&two).await?], secret_versions);
    for namespace in [&one, &two] {
        opens_again(namespace).await?;
    }

    // Again, into a cluster that runs and has all keys.
    let stored = versions(&keys).await?;
    let said = operator.restores(&[])?;
    assert_eq!(said.matches(" and stays as it is\n").count(), 3, "{said}");
    assert_eq!(versions(&keys).await?, stored);

    // Into a cluster that has a newer key, and lacks an old one.
    let second = published.iter().find(|(_, state)| **state == KeyState::Active).ok_or("no primary")?.0;
    keys.ask_for(second, "Retired").await?;
    keys.until_durable(&successor, "Retired").await?;
    keys.identities.delete("first-sealing-key", &DeleteParams::default()).await?;
    keys.until_gone(&first).await?;
    let newer = self::published(&keys).await?;
    let said = operator.restores(&["--keys", "prod.yaml"])?;
    assert!(!said.contains("becomes the primary"), "{said}");
    assert!(said.contains(&format!("{second} is there (Retired) and stays as it is\n")), "{said}");
    let mut expected = newer;
    expected.insert(first.clone(), KeyState::Retired);
    assert_eq!(self::published(&keys).await?, expected);
    assert_eq!(expected.values().filter(|state| **state == KeyState::Active).count(), 1);
    Ok(())
}

/// The state of every SealingKey.
async fn published(keys: &Keys) -> Result<BTreeMap<String, KeyState>, Error> {
    let found = keys.published.list(&ListParams::default()).await?;
    Ok(found.items.iter().map(|key| (key.name_any(), key.spec.state)).collect())
}

/// Deletes the Secret; the controller opens the SealedSecret to make it again.
async fn opens_again(namespace: &Namespace) -> TestResult {
    let secrets = namespace.api::<Secret>();
    secrets.delete("db", &DeleteParams::default()).await?;
    let made = waiting::until("the Secret", DEADLINE, async || secrets.get_opt("db").await.ok().flatten()).await?;
    assert_eq!(values(&made), [("PASSWORD".to_owned(), "hunter2".to_owned())]);
    Ok(())
}

async fn stock(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let (keys, operator) = (Keys::of(cluster), Operator::new(context, cluster)?);
    let ids = [keys.add("one").await?, keys.add("two").await?];
    let revoked = format!("# state: Revoked\n{}", values(&secret("x", &new_identity(), MADE))[0].1);
    keys.identities.create(&PostParams::default(), &identity_secret("three", revoked.as_bytes())).await?;
    operator.backs_up()?;
    let file = fs::read(operator.folder.join("keys.age"))?;
    let plain = Peer::Age.decrypt(context, &operator.folder.join("recovery.key"), &file)?;
    let text = String::from_utf8(plain)?;
    assert!(text.starts_with("# waxseal key backup, version 1\n"), "{}", text.lines().next().unwrap_or_default());
    delete_all(&keys).await?;
    let mut kubectl = Command::new(&context.assets.kubectl);
    kubectl.env_clear().env("HOME", &operator.folder).args(["create", "-f", "-", "--kubeconfig"]);
    let made = filter(kubectl.arg(cluster.admin_kubeconfig()), text.as_bytes())?;
    let made = String::from_utf8(made)?;
    assert_eq!(made.lines().count(), 6, "{made}");
    let states = published(&keys).await?;
    assert_eq!(ids.map(|id| states[&id]), [KeyState::Active; 2]);
    let _controller = started(context, cluster, "stock").await?;
    for (id, state) in states {
        keys.until_published(&id, state).await?;
    }
    assert_eq!(keys.durable("three").await.as_deref(), Some("Revoked"));
    Ok(())
}

/// Gives the operator these rights on the Secrets of the key namespace.
pub(crate) async fn give(cluster: &Cluster, verbs: &[&str]) -> TestResult {
    let name = format!("operator-{}", verbs.join("-"));
    let role: Role = serde_json::from_value(json!({
        "metadata": {"name": name}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}],
    }))?;
    Api::namespaced(cluster.client(), KEY_NAMESPACE).create(&PostParams::default(), &role).await?;
    bind(cluster, &name).await
}

/// Binds the operator to a Role in the key namespace.
async fn bind(cluster: &Cluster, role: &str) -> TestResult {
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": role},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "operators"}],
    }))?;
    Api::namespaced(cluster.client(), KEY_NAMESPACE).create(&PostParams::default(), &binding).await?;
    Ok(())
}

async fn role(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let (keys, operator) = (Keys::of(cluster), Operator::without_rights(context, cluster)?);
    keys.add("one").await?;
    // This RoleBinding lets every account list SealingKeys: without it, only the Role of the operator does.
    let bindings: Api<RoleBinding> = Api::namespaced(cluster.client(), KEY_NAMESPACE);
    bindings.delete("waxseal-sealing-keys-reader", &DeleteParams::default()).await?;
    bind(cluster, ROLE).await?;
    let until_said = async |code: i32, text: &str| {
        let outcome = waiting::until(text, DEADLINE, async || {
            let _none = fs::remove_file(operator.folder.join("keys.age"));
            let (ended, said) = operator.says(&["backup", "-o", "keys.age", "--keys", "recovery.yaml"]).ok()?;
            (ended == Some(code) && said.contains(text)).then_some(())
        });
        outcome.await
    };
    until_said(0, "keys.age has 1 key of context admin").await?;
    assert!(keys.identities.get("one").await?.annotations().contains_key(BACKED_UP_ANNOTATION));
    let user = cluster.client_as(&cluster.user("operator", "operators")?)?;
    assert_eq!(rights_of(user, KEY_NAMESPACE).await?, rights(&ROLE_RIGHTS));

    let roles: Api<Role> = Api::namespaced(cluster.client(), KEY_NAMESPACE);
    for ((resource, verbs), kind) in ROLE_RIGHTS.iter().zip(["SealingKeys", "Secrets"]) {
        for verb in *verbs {
            let mut role = roles.get(ROLE).await?;
            let whole = role.rules.clone();
            assert_eq!(take_from(&mut role.rules, verb, resource), 1);
            let mut lacking = roles.replace(ROLE, &PostParams::default(), &role).await?;
            until_said(5, &format!("the API server does not let you {verb} {kind} in {KEY_NAMESPACE} (403)")).await?;
            lacking.rules = whole;
            roles.replace(ROLE, &PostParams::default(), &lacking).await?;
            until_said(0, "keys.age has 1 key of context admin").await?;
        }
    }
    Ok(())
}

async fn missing_rights(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let (keys, operator) = (Keys::of(cluster), Operator::without_rights(context, cluster)?);
    let id = keys.add("one").await?;
    let refused = |verb: &str| {
        format!(
            "the API server does not let you {verb} Secrets in waxseal-system (403)\n\
             hint: ask for a Role with the verb {verb} on secrets in waxseal-system\n"
        )
    };
    let backup = ["backup", "-o", "keys.age", "--keys", "recovery.yaml"];
    let (code, said) = operator.says(&backup)?;
    assert_eq!((code, said), (Some(5), format!("error: context admin: {}", refused("list"))));
    // A new right is in force a moment after it was given.
    let until = async |verb: &str, arguments: &[&str]| {
        let end = refused(verb);
        let what = format!("the right to {verb}");
        let said = waiting::until(&what, DEADLINE, async || {
            let (code, said) = operator.says(arguments).ok()?;
            let _none = fs::remove_file(operator.folder.join("other.age"));
            (code == Some(5) && said.ends_with(&end)).then_some(said)
        });
        said.await
    };
    let other = ["backup", "-o", "other.age", "--keys", "recovery.yaml"];
    give(cluster, &["list"]).await?;
    let said = until("get", &other).await?;
    let error = "error: context admin: other.age is a good backup, but its time was not recorded: ";
    assert!(said.contains(error), "{said}");
    give(cluster, &["get"]).await?;
    until("patch", &other).await?;
    let unrecorded = keys.identities.get("one").await?;
    assert!(!unrecorded.annotations().contains_key(BACKED_UP_ANNOTATION));
    give(cluster, &["patch"]).await?;
    waiting::until("the right to patch", DEADLINE, async || {
        let _none = fs::remove_file(operator.folder.join("keys.age"));
        (operator.says(&backup).ok()?.0 == Some(0)).then_some(())
    })
    .await?;
    assert!(keys.identities.get("one").await?.annotations().contains_key(BACKED_UP_ANNOTATION));

    keys.identities.delete("one", &DeleteParams::default()).await?;
    let fingerprint = fingerprint_in(&operator)?;
    let restore = ["restore", "keys.age", "--identity", "recovery.key", "--yes", "--accept", &fingerprint, "--no-wait"];
    let (code, said) = operator.says(&restore)?;
    assert!(code == Some(5) && said.ends_with(&refused("create")), "{said}");
    give(cluster, &["create"]).await?;
    waiting::until("the right to create", DEADLINE, async || {
        (operator.says(&restore).ok()?.0 == Some(0)).then_some(())
    })
    .await?;
    assert_eq!(keys.identity_names().await?, ["one"]);
    assert!(values(&keys.identities.get("one").await?)[0].1.contains("AGE-SECRET-KEY-PQ-1"), "{id}");

    let absent = [&restore[..], &["-n", "absent"]].concat();
    let admin = Operator { kubeconfig: cluster.admin_kubeconfig().to_owned(), ..operator };
    let (code, said) = admin.says(&absent)?;
    let end =
        "error: context admin: there is no namespace absent\nhint: make it with `kubectl create namespace absent`\n";
    assert!(code == Some(5) && said.ends_with(end), "{said}");
    Ok(())
}

/// The only fingerprint that a restore shows.
fn fingerprint_in(operator: &Operator<'_>) -> Result<String, Error> {
    let (_, said) = operator.says(&["restore", "keys.age", "--identity", "recovery.key"])?;
    Ok(fingerprints(&said).next().ok_or(said.as_str())?.to_owned())
}

/// Broken identities, Secrets that a SealedSecret made, and Secrets that have the name of a key.
async fn in_the_way(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let (keys, operator) = (Keys::of(cluster), Operator::new(context, cluster)?);
    let create = async |secret: Secret| keys.identities.create(&PostParams::default(), &secret).await;
    let id = keys.add("one").await?;
    let other = keys.add("two").await?;
    create(identity_secret("broken", b"hunter2")).await?;
    let mut materialised = secret("materialised", &new_identity(), MADE);
    materialised.metadata.labels = Some([("waxseal.dev/secret".to_owned(), "owned".to_owned())].into());
    create(materialised).await?;
    let (code, said) = operator.says(&["backup", "-o", "keys.age", "--keys", "recovery.yaml"])?;
    let end = "keys.age has 2 keys of context admin\nerror: context admin: not in the backup: the identity Secret broken \
               cannot be used: the identity: line 1: neither an identity nor a comment\n";
    assert!(code == Some(3) && said.ends_with(end), "{said}");
    for (name, is_recorded) in [("one", true), ("two", true), ("broken", false), ("materialised", false)] {
        let found = keys.identities.get(name).await?;
        assert_eq!(found.annotations().contains_key(BACKED_UP_ANNOTATION), is_recorded, "{name}");
    }

    for name in ["one", "two"] {
        keys.identities.delete(name, &DeleteParams::default()).await?;
    }
    let (_, said) = operator.says(&["restore", "keys.age", "--identity", "recovery.key"])?;
    let accept: Vec<_> = fingerprints(&said).flat_map(|fingerprint| ["--accept", fingerprint]).collect();
    let mut foreign = identity_secret("one", b"theirs");
    foreign.type_ = Some("Opaque".to_owned());
    create(foreign).await?;
    create(secret("two", &new_identity(), MADE)).await?;
    let restored = operator.restores(&[&accept[..], &["--no-wait"]].concat())?;
    let warning = "warning: context admin: the identity Secret broken cannot be used: ";
    assert!(restored.starts_with(warning), "{restored}");
    for id in [&id, &other] {
        assert!(restored.contains(&format!("restored {id} to the Secret waxseal-key-{id}\n")), "{restored}");
    }
    let theirs = keys.identities.get("one").await?;
    assert_eq!((values(&theirs)[0].1.as_str(), theirs.type_.as_deref()), ("theirs", Some("Opaque")));
    assert_eq!(keys.identity_names().await?.len(), 5);

    // No controller runs that would publish the keys.
    let restore = ["restore", "keys.age", "--identity", "recovery.key", "--timeout", "1s"];
    let (code, said) = operator.says(&restore)?;
    let end = "error: context admin: no SealingKey in the namespace waxseal-system\nhint: the keys are stored: start the \
               controller, or see in its log why it does not use them\n";
    assert!(code == Some(5) && said.ends_with(end), "{said}");

    // A foreign Secret has the last name that `restore` tries.
    keys.identities.delete(&format!("waxseal-key-{id}"), &DeleteParams::default()).await?;
    let mut foreign = identity_secret(&format!("waxseal-key-{id}"), b"theirs");
    foreign.type_ = Some("Opaque".to_owned());
    create(foreign).await?;
    let restore = [&["restore", "keys.age", "--identity", "recovery.key", "--yes", "--no-wait"], &accept[..]].concat();
    let (code, said) = operator.says(&restore)?;
    let end = format!(
        "error: context admin: a Secret waxseal-key-{id} is there that cannot be used as {id}\nhint: find out who made \
         it, and repair it; or, if it does not hold this key, remove it, and run the command again\n"
    );
    assert!(code == Some(3) && said.ends_with(&end), "{said}");
    Ok(())
}

/// The forger knows the recovery key's public half, and a name that keeps a successor from being made.
async fn forged(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let (keys, operator) = (Keys::of(cluster), Operator::new(context, cluster)?);
    let controller = Controller::start(cluster, &context.programs, "forged").await?;
    controller.ready().await?;
    let first = keys.first().await?;
    operator.fetches()?;
    let forge = |created_at: Timestamp| -> TestResult {
        let key = HeldKey::new(new_identity(), KeyRole::Cluster, created_at, KeyState::Active);
        let secret_name = ObjectName::parse(&format!("waxseal-key-after-{first}"))?;
        let text = key_backup::write(&[BackedUpKey { secret_name, key }], &NamespaceName::parse(KEY_NAMESPACE)?);
        let public = fs::read_to_string(operator.folder.join("recovery.yaml"))?;
        let recipient = Recipient::parse(recipient_in(&public)?)?;
        let file = EncryptedFile::seal(text.as_bytes(), &[recipient], &mut randomness::system())?;
        Ok(fs::write(operator.folder.join("keys.age"), file.to_armour())?)
    };
    let before = versions(&keys).await?;
    let restore = ["restore", "keys.age", "--identity", "recovery.key", "--yes", "--keys", "prod.yaml"];
    forge(Timestamp::now())?;
    let (code, said) = operator.says(&restore)?;
    assert!(code == Some(3) && said.contains(" was not accepted: nothing was restored\n"), "{said}");
    assert!(said.contains(" becomes the primary: new values are sealed to it\n"), "{said}");
    forge("2100-01-01T00:00:00Z".parse()?)?;
    let (code, said) = operator.says(&restore)?;
    assert!(code == Some(3) && said.contains("its creation time, 2100-01-01T00:00:00Z, is in the future"), "{said}");
    assert_eq!(versions(&keys).await?, before);

    // Even if somebody accepts an old key under such a name, the name stays free for the successor.
    forge(MADE.parse()?)?;
    let fingerprint = fingerprint_in(&operator)?;
    operator.restores(&["--accept", &fingerprint])?;
    let names = keys.identity_names().await?;
    assert!(names.len() == 2 && !names.contains(&format!("waxseal-key-after-{first}")), "{names:?}");
    assert_eq!(published(&keys).await?[&first], KeyState::Active);
    Ok(())
}

async fn killed(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let (keys, operator) = (Keys::of(cluster), Operator::new(context, cluster)?);
    for at in 0..12 {
        keys.add(&format!("key-{at}")).await?;
    }
    let controller = started(context, cluster, "before").await?;
    operator.fetches()?;
    operator.backs_up()?;
    drop(controller);
    let before = contents(&keys).await?;
    let arguments = ["restore", "keys.age", "--identity", "recovery.key", "--yes", "--keys", "prod.yaml", "--no-wait"];
    let start = || operator.on_cluster(&arguments).stdin(Stdio::null()).stderr(Stdio::null()).spawn();
    delete_all(&keys).await?;
    let begin = Instant::now();
    assert!(start()?.wait()?.success());
    let whole_run = begin.elapsed();
    let mut partial = 0;
    for round in 0..10 * KILLS {
        if round >= KILLS && partial > 0 {
            break;
        }
        if keys.identity_names().await?.len() == before.len() {
            delete_all(&keys).await?;
        }
        let mut child = start()?;
        // The machine can be slower now than it was when the whole run was measured.
        thread::sleep(whole_run * (1 + round / KILLS) * (round % KILLS) / KILLS);
        child.kill()?;
        child.wait()?;
        let present = contents(&keys).await?;
        assert!(present.iter().all(|(name, content)| before.get(name) == Some(content)), "{:?}", present.keys());
        partial += u32::from(!present.is_empty() && present.len() < before.len());
    }
    assert!(partial > 0, "no run was killed between two keys");
    // The controller is not ready yet if the last run was killed before it stored a key.
    let _controller = start_without_generation(context, cluster, "after").await?;
    let said = operator.restores(&["--keys", "prod.yaml", "--timeout", "30s"])?;
    assert_eq!(said.matches("the controller confirms: ").count(), before.len(), "{said}");
    assert_eq!(contents(&keys).await?, before);
    Ok(())
}
