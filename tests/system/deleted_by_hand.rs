//! SealingKeys and identity Secrets that somebody deletes by hand, while the controller runs and while it does not.
//!
//! A SealingKey comes back, as strict as it was. An identity Secret does not: its key is gone until somebody restores
//! the Secret. No Secret changes, and no key ever becomes less strict.

use std::collections::BTreeMap;
use std::process::Command;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use waxseal_shared::sealing_key::{KeyState, SealingKey};
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{self, Controller};
use waxseal_tests::waiting;

use crate::controllers::{started_with_generation, until_warned};
use crate::key_namespace::{Keys, Seen, new_identity, secret};
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{DEADLINE, create, opaque, patch, run, with_reason};

use Deleted::{Identity, Published};
use Key::{Primary, Retired, Revoked};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster(
            "deleted_by_hand::deletions_while_the_controller_runs_change_no_secret_and_relax_no_key",
            async |context, cluster| all_cases(context, cluster, Running::Yes).await,
        ),
        Test::on_own_cluster(
            "deleted_by_hand::deletions_while_no_controller_runs_change_no_secret_and_relax_no_key",
            async |context, cluster| all_cases(context, cluster, Running::No).await,
        ),
        Test::on_own_cluster("deleted_by_hand::a_deleted_sealing_key_is_published_again", republished),
        Test::on_own_cluster("deleted_by_hand::a_key_whose_identity_secret_is_being_deleted_is_replaced", finalized),
        Test::on_own_cluster("deleted_by_hand::an_older_identity_secret_brings_no_revoked_key_back", older),
    ]
}

/// Whether a controller runs at the moment of the deletion.
#[derive(Clone, Copy, PartialEq)]
enum Running {
    Yes,
    No,
}

/// The keys of each case. [`Key::secret`] names their identity Secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Revoked,
    Retired,
    Primary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deleted {
    Published(Key),
    Identity(Key),
}

/// What is deleted, and how it ends.
struct Case {
    deleted: &'static [Deleted],
    /// The keys that are published in the end, in the states that they had.
    published: &'static [Key],
    /// Whether the controller makes a new key.
    makes_key: bool,
    /// The reasons of the SealedSecrets that are sealed to the revoked key, to the retired key, to the primary, and to
    /// both the retired key and the primary.
    reasons: [&'static str; 4],
}

const AS_BEFORE: [&str; 4] = ["KeyRevoked", "Materialised", "Materialised", "Materialised"];
const OBJECTS: [(&str, &[Key]); 4] =
    [("revoked", &[Revoked]), ("retired", &[Retired]), ("primary", &[Primary]), ("both", &[Retired, Primary])];
const ALL: &[Key] = &[Revoked, Retired, Primary];

const CASES: &[Case] = &[
    Case {
        deleted: &[Published(Revoked), Published(Retired), Published(Primary)],
        published: ALL,
        makes_key: false,
        reasons: AS_BEFORE,
    },
    Case { deleted: &[Published(Revoked)], published: ALL, makes_key: false, reasons: AS_BEFORE },
    Case { deleted: &[Published(Retired)], published: ALL, makes_key: false, reasons: AS_BEFORE },
    Case { deleted: &[Published(Primary)], published: ALL, makes_key: false, reasons: AS_BEFORE },
    Case {
        deleted: &[Identity(Revoked), Identity(Retired), Identity(Primary)],
        published: &[],
        makes_key: false,
        reasons: ["AwaitingKeys"; 4],
    },
    Case {
        deleted: &[Published(Revoked), Identity(Revoked), Identity(Retired), Published(Primary), Identity(Primary)],
        published: &[],
        makes_key: false,
        reasons: ["AwaitingKeys"; 4],
    },
    Case {
        deleted: &[Identity(Revoked)],
        published: &[Retired, Primary],
        makes_key: false,
        reasons: ["KeyMissing", "Materialised", "Materialised", "Materialised"],
    },
    Case {
        deleted: &[Identity(Retired)],
        published: &[Revoked, Primary],
        makes_key: false,
        reasons: ["KeyRevoked", "KeyMissing", "Materialised", "Materialised"],
    },
    Case {
        deleted: &[Identity(Primary)],
        published: &[Revoked, Retired],
        makes_key: true,
        reasons: ["KeyRevoked", "Materialised", "KeyMissing", "Materialised"],
    },
    Case {
        deleted: &[Identity(Primary), Published(Retired)],
        published: &[Revoked, Retired],
        makes_key: true,
        reasons: ["KeyRevoked", "Materialised", "KeyMissing", "Materialised"],
    },
];

impl Key {
    /// The name of its identity Secret.
    fn secret(self) -> &'static str {
        match self {
            Revoked => "revoked",
            Retired => "retired",
            Primary => "primary",
        }
    }

    fn state(self) -> KeyState {
        match self {
            Revoked => KeyState::Revoked,
            Retired => KeyState::Retired,
            Primary => KeyState::Active,
        }
    }

    fn created_at(self) -> &'static str {
        match self {
            Revoked => "2026-01-01T00:00:00Z",
            Retired => "2026-02-01T00:00:00Z",
            Primary => "2026-03-01T00:00:00Z",
        }
    }
}

/// A cluster with a key in each state, and with SealedSecrets that are sealed to them.
struct Installation<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    keys: Keys,
    namespace: Namespace,
    ids: BTreeMap<Key, String>,
    /// The identity Secrets as they must be at the beginning of each case.
    identities: Vec<Secret>,
    /// The Secrets that must not change: name and resourceVersion.
    secrets: BTreeMap<String, Option<String>>,
}

async fn all_cases(context: &Context, cluster: &Cluster, running: Running) -> TestResult {
    let (mut installation, mut controller) = Installation::start(context, cluster).await?;
    let seen = Seen::follow(installation.keys.published.clone()).await?;
    for (number, case) in CASES.iter().enumerate() {
        let failed = |error: Error| format!("{:?}: {error}", case.deleted);
        if running == Running::No {
            drop(controller);
            installation.delete(case.deleted).await.map_err(failed)?;
            controller = installation.start_controller(&format!("case-{number}")).await?;
        } else {
            installation.delete(case.deleted).await.map_err(failed)?;
        }
        installation.assert_end(case, &controller).await.map_err(failed)?;
        drop(controller);
        controller = installation.restore(&format!("restored-{number}")).await.map_err(failed)?;
    }
    assert_eq!(Seen::assert_none_relaxed(&seen), 1);
    Ok(())
}

/// The SealingKey comes back with the same content, which nobody can change.
async fn republished(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let keys = Keys::of(cluster);
    let _controller = started_with_generation(context, cluster, "republished").await?;
    let name = keys.first().await?;
    let before = keys.published.get(&name).await?;
    keys.delete(&name).await?;
    let published = async || keys.published.get_opt(&name).await.ok().flatten();
    let after = waiting::until("the return of the SealingKey", DEADLINE, published).await?;
    assert_ne!(before.uid(), after.uid());
    assert_eq!(before.spec, after.spec);
    let change = json!({"spec": {"recipient": "age1other"}});
    let refused = keys.published.patch(&name, &PatchParams::default(), &Patch::Merge(change)).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.message.contains("never changes")));
    Ok(())
}

/// A backup from before the revocation replaces the identity Secret twice: while no controller runs, and, while one
/// runs, some time after the Secret was deleted.
async fn older(context: &Context, cluster: &Cluster) -> TestResult {
    let (installation, controller) = Installation::start(context, cluster).await?;
    let seen = Seen::follow(installation.keys.published.clone()).await?;
    let revoked = installation.identities.iter().find(|secret| secret.name_any() == Revoked.secret());
    let mut older = revoked.ok_or("no identity Secret")?.clone();
    (older.metadata.resource_version, older.metadata.uid) = (None, None);
    older.data.get_or_insert_default().remove("state");
    let identities = &installation.keys.identities;
    drop(controller);
    identities.delete(Revoked.secret(), &DeleteParams::default()).await?;
    identities.create(&PostParams::default(), &older).await?;
    let _controller = installation.start_controller("older").await?;
    installation.keys.until_durable(Revoked.secret(), "Revoked").await?;

    identities.delete(Revoked.secret(), &DeleteParams::default()).await?;
    installation.until_published(&[Retired, Primary], 0).await?;
    identities.create(&PostParams::default(), &older).await?;
    installation.keys.until_durable(Revoked.secret(), "Revoked").await?;
    installation.until_published(ALL, 0).await?;
    with_reason(&installation.namespace, "revoked", "KeyRevoked").await?;
    assert_eq!(Seen::assert_none_relaxed(&seen), 1);
    Ok(())
}

/// Finalizers keep the identity Secret of the primary. A copy of the Secret keeps the key Active. Without the copy, a
/// new key becomes the primary, and the old one still opens.
async fn finalized(context: &Context, cluster: &Cluster) -> TestResult {
    let (installation, controller) = Installation::start(context, cluster).await?;
    let (identities, key) = (&installation.keys.identities, &installation.ids[&Primary]);
    let name = Primary.secret();
    let mut copy = identities.get(name).await?;
    (copy.metadata.resource_version, copy.metadata.uid) = (None, None);
    copy.metadata.name = Some("z-copy".to_owned());
    identities.create(&PostParams::default(), &copy).await?;
    patch(identities, name, json!({"metadata": {"finalizers": ["example.com/hold"]}})).await?;
    identities.delete(name, &DeleteParams::default()).await?;
    let said = format!("the identity Secret {name} is being deleted, and its finalizers keep it: ");
    until_warned(&controller, &format!("{said}another Secret holds its key {key}, too")).await?;
    let names_copy = async || {
        let published = installation.keys.published.get(key).await.ok()?;
        (published.status?.identity_secret?.name == "z-copy").then_some(published.spec.state)
    };
    assert_eq!(waiting::until("the copy in the status", DEADLINE, names_copy).await?, KeyState::Active);
    let seen = Seen::follow(installation.keys.published.clone()).await?;
    identities.delete("z-copy", &DeleteParams::default()).await?;
    installation.keys.until_published(key, KeyState::Retired).await?;
    let lost = format!("nothing new is sealed to its key {key}, and when the Secret is gone, nothing opens with it");
    until_warned(&controller, &format!("{said}{lost}")).await?;
    installation.keys.until_durable(name, "Retired").await?;
    Seen::assert_always_active(&seen);
    // The controller opens the SealedSecret to make its Secret again.
    let secrets = installation.namespace.api::<Secret>();
    secrets.delete("primary", &DeleteParams::default()).await?;
    waiting::until("the Secret", DEADLINE, async || secrets.get_opt("primary").await.ok().flatten()).await?;
    with_reason(&installation.namespace, "primary", "Materialised").await?;
    patch(identities, name, json!({"metadata": {"finalizers": Value::Null}})).await?;
    installation.until_published(&[Revoked, Retired], 1).await?;
    with_reason(&installation.namespace, "primary", "KeyMissing").await?;
    Ok(())
}

impl<'a> Installation<'a> {
    async fn start(context: &'a Context, cluster: &'a Cluster) -> Result<(Self, Controller), Error> {
        installation::apply(cluster).await?;
        let (keys, namespace) = (Keys::of(cluster), cluster.namespace("deletion").await?);
        let mut ids = BTreeMap::new();
        let mut recipients = BTreeMap::new();
        for key in [Revoked, Retired, Primary] {
            let identity = new_identity();
            recipients.insert(key, identity.recipient().clone());
            ids.insert(key, identity.recipient().key_id().to_string());
            keys.identities.create(&PostParams::default(), &secret(key.secret(), &identity, key.created_at())).await?;
        }
        let (identities, secrets) = (Vec::new(), BTreeMap::new());
        let mut installation = Self { context, cluster, keys, namespace, ids, identities, secrets };
        let controller = installation.start_controller("start").await?;
        controller.ready().await?;
        for (name, sealed_to) in OBJECTS {
            let mut seal = Command::new(&context.programs.waxseal);
            seal.env_clear().args(["seal", "-n", installation.namespace.name(), "-"]);
            seal.args(sealed_to.iter().flat_map(|key| ["--recipient", recipients[key].as_str()]));
            let sealed = run(&mut seal, &opaque(name, &[("PASSWORD", "hunter2")]))?;
            create(&installation.namespace, &serde_json::from_str(&sealed)?).await?;
            with_reason(&installation.namespace, name, "Materialised").await?;
        }
        for key in [Retired, Revoked] {
            let (id, state) = (installation.ids[&key].clone(), key.state());
            installation.keys.ask_for(&id, state.as_str()).await?;
            installation.keys.until_durable(key.secret(), state.as_str()).await?;
        }
        with_reason(&installation.namespace, "revoked", "KeyRevoked").await?;
        installation.identities = installation.keys.identity_secrets().await?;
        installation.secrets = installation.secret_versions().await?;
        assert_eq!((installation.identities.len(), installation.secrets.len()), (3, OBJECTS.len()));
        Ok((installation, controller))
    }

    async fn start_controller(&self, name: &str) -> Result<Controller, Error> {
        let mut command = Command::new(&self.context.programs.waxseal_controller);
        // The keys are older than the default renewal period: with it, the controller would make a new primary.
        command.env_clear().env("WAXSEAL_RENEW_AFTER", "0");
        Ok(Controller::start_command(self.cluster, command, name).await?)
    }

    async fn secret_versions(&self) -> Result<BTreeMap<String, Option<String>>, Error> {
        let secrets = self.namespace.api::<Secret>().list_metadata(&ListParams::default()).await?;
        Ok(secrets.iter().map(|secret| (secret.name_any(), secret.resource_version())).collect())
    }

    async fn delete(&self, deleted: &[Deleted]) -> TestResult {
        let params = DeleteParams::default();
        for deleted in deleted {
            match deleted {
                Published(key) => drop(self.keys.published.delete(&self.ids[key], &params).await?),
                Identity(key) => drop(self.keys.identities.delete(key.secret(), &params).await?),
            }
        }
        Ok(())
    }

    /// Waits for the end that the case describes.
    async fn assert_end(&self, case: &Case, controller: &Controller) -> TestResult {
        self.until_published(case.published, usize::from(case.makes_key)).await?;
        for ((name, _), reason) in OBJECTS.iter().zip(case.reasons) {
            with_reason(&self.namespace, name, reason).await?;
        }
        let has_key = case.makes_key || case.published.contains(&Primary);
        let expected = if has_key { 200 } else { 503 };
        let ready = async || controller.get("/readyz").await.filter(|(code, _)| *code == expected);
        let (_, body) = waiting::until(&format!("the readiness {expected}"), DEADLINE, ready).await?;
        assert!(has_key || body == "AwaitingKeys", "{body}");
        assert_eq!(self.secret_versions().await?, self.secrets);
        Ok(())
    }

    /// Waits until exactly these keys are published, and this many Active ones that are new.
    async fn until_published(&self, keys: &[Key], new_count: usize) -> TestResult {
        let mut found = BTreeMap::new();
        let is_as_expected = waiting::until("the published keys", DEADLINE, async || {
            let objects = self.keys.published.list(&ListParams::default()).await.ok()?.items;
            found = objects.iter().map(|object: &SealingKey| (object.name_any(), object.spec.state)).collect();
            let mut others = found.clone();
            let are_there = keys.iter().all(|key| others.remove(&self.ids[key]) == Some(key.state()));
            let are_new = others
                .iter()
                .all(|(id, state)| *state == KeyState::Active && !self.ids.values().any(|known| known == id));
            (are_there && are_new && others.len() == new_count).then_some(())
        });
        let outcome = is_as_expected.await;
        outcome.map_err(|error| format!("{error}; there are {found:?}, known are {:?}", self.ids).into())
    }

    /// Puts the identity Secrets back, while no controller runs, and removes new ones. Then everything is as it was.
    async fn restore(&mut self, name: &str) -> Result<Controller, Error> {
        for secret in self.keys.identity_secrets().await? {
            self.keys.identities.delete(&secret.name_any(), &DeleteParams::default()).await?;
        }
        for secret in &self.identities {
            let mut copy = secret.clone();
            (copy.metadata.resource_version, copy.metadata.uid) = (None, None);
            self.keys.identities.create(&PostParams::default(), &copy).await?;
        }
        let controller = self.start_controller(name).await?;
        controller.ready().await?;
        self.until_published(ALL, 0).await?;
        for ((name, _), reason) in OBJECTS.iter().zip(AS_BEFORE) {
            with_reason(&self.namespace, name, reason).await?;
        }
        assert_eq!(self.secret_versions().await?, self.secrets);
        Ok(controller)
    }
}
