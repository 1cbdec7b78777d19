//! A change of keys: what the controller says and offers, and what `waxseal rotate` makes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use waxseal_shared::format::Sealed;
use waxseal_shared::key::{Identity, KeyKind};
use waxseal_shared::key_life::HeldKey;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::open::open;
use waxseal_shared::randomness;
use waxseal_shared::sealed_secret::{BoundTo, OfferedWraps, SealedSecret, SealedSecretStatus};
use waxseal_shared::sealing_key::{KeyRole, KeyState};
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{self, Controller};
use waxseal_tests::waiting;

use crate::controllers::{readiness, started, until_warned};
use crate::key_namespace::{Keys, new_identity, sealing_key, secret};
use crate::kustomize::kubectl;
use crate::registration::{Context, Error, Test, TestResult};
use crate::rights::{requests_in, writes};
use crate::sealing::{DEADLINE, condition, create, opaque, run, seal_text_with, with_reason};

const FIRST: &str = "2026-01-01T00:00:00Z";
const SECOND: &str = "2026-02-01T00:00:00Z";

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("rotation::every_object_is_behind_a_new_key_and_gets_its_wraps_once", whole),
        Test::on_own_cluster("rotation::large_objects_get_their_wraps_in_little_memory", large),
        Test::on_own_cluster("rotation::rotate_takes_the_offers_of_the_cluster", from_cluster),
        Test::on_own_cluster("rotation::recovery_keys_come_from_the_configuration_alone", recovery),
        Test::on_own_cluster("rotation::forged_offers_are_put_right", forged),
        Test::on_own_cluster("rotation::wraps_for_a_revoked_key_and_classic_wraps_are_reported", reported),
        Test::on_own_cluster("rotation::an_envelope_of_another_object_gets_no_wrap", copied),
    ]
}

/// SealedSecrets in several namespaces of a cluster of their own, their files, and the controller.
pub(crate) struct Fleet<'a> {
    context: &'a Context,
    cluster: &'a Cluster,
    pub(crate) controller: Controller,
    pub(crate) keys: Keys,
    pub(crate) namespaces: Vec<Namespace>,
    pub(crate) first: String,
}

impl<'a> Fleet<'a> {
    /// Installs a controller with one key, and seals these Secrets for namespaces with these prefixes.
    pub(crate) async fn start(
        context: &'a Context,
        cluster: &'a Cluster,
        manifests: &[(&str, String)],
    ) -> Result<Self, Error> {
        installation::apply(cluster).await?;
        let keys = Keys::of(cluster);
        let identity = new_identity();
        keys.identities.create(&PostParams::default(), &secret("one", &identity, FIRST)).await?;
        let controller = started(context, cluster, "one").await?;
        let first = identity.recipient().key_id().to_string();
        let mut fleet = Self { context, cluster, controller, keys, namespaces: Vec::new(), first };
        fleet.fetch_keys()?;
        std::fs::create_dir(fleet.files())?;
        for (prefix, manifest) in manifests {
            let namespace = cluster.namespace(prefix).await?;
            let sealed = fleet.seal(manifest, &namespace)?;
            std::fs::write(fleet.files().join(format!("{prefix}.yaml")), sealed)?;
            fleet.namespaces.push(namespace);
        }
        fleet.apply()?;
        fleet.until_all("settled objects", |status| status.settled.is_some()).await?;
        Ok(fleet)
    }

    pub(crate) fn files(&self) -> PathBuf {
        self.cluster.folder().join("files")
    }

    pub(crate) fn keys_file(&self) -> PathBuf {
        self.cluster.folder().join("keys.yaml")
    }

    pub(crate) fn fetch_keys(&self) -> TestResult {
        Ok(installation::fetch_keys(&self.context.programs, &self.controller.kubeconfig, &self.keys_file())?)
    }

    fn seal(&self, manifest: &str, namespace: &Namespace) -> Result<String, Error> {
        seal_text_with(self.context, &self.keys_file(), manifest, namespace.name())
    }

    /// Takes the offers of the cluster into the files.
    pub(crate) fn rotate(&self) -> TestResult {
        let mut rotate = Command::new(&self.context.programs.waxseal);
        rotate.env_clear().arg("rotate").arg(self.files()).arg("--keys").arg(self.keys_file());
        run(rotate.arg("--kubeconfig").arg(self.cluster.admin_kubeconfig()), "").map(drop)
    }

    /// Runs kubectl as the administrator.
    fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        run(kubectl(self.context, self.cluster).args(arguments), "")
    }

    /// Applies the files, as a GitOps tool does.
    pub(crate) fn apply(&self) -> TestResult {
        let files = self.files();
        self.kubectl(&["apply", "--server-side", "-f", files.to_str().ok_or("a path in UTF-8")?]).map(drop)
    }

    /// Adds a key that was made later than all others. Returns its identity.
    pub(crate) async fn add_primary(&self) -> Result<Identity, Error> {
        let identity = new_identity();
        self.keys.identities.create(&PostParams::default(), &secret("two", &identity, SECOND)).await?;
        self.keys.until_published(identity.recipient().key_id().as_str(), KeyState::Active).await?;
        Ok(identity)
    }

    pub(crate) async fn objects(&self) -> Result<Vec<SealedSecret>, Error> {
        Ok(Api::<SealedSecret>::all(self.cluster.client()).list(&ListParams::default()).await?.items)
    }

    /// Waits until the status of every object is about its present generation and is as wanted. Fails if the controller
    /// is not ready meanwhile. Returns the objects.
    pub(crate) async fn until_all(
        &self,
        what: &str,
        is_as_wanted: impl Fn(&SealedSecretStatus) -> bool,
    ) -> Result<Vec<SealedSecret>, Error> {
        let is_done = |object: &SealedSecret| {
            let is_current = |status: &&SealedSecretStatus| status.observed_generation == object.metadata.generation;
            object.status.as_ref().filter(is_current).is_some_and(&is_as_wanted)
        };
        let done = waiting::until(what, 2 * DEADLINE, async || {
            assert!(readiness(&self.controller).await.is_none_or(|code| code == 200));
            let objects = self.objects().await.ok()?;
            objects.iter().all(is_done).then_some(objects)
        });
        match done.await {
            Ok(objects) => {
                let is_ready = async || (readiness(&self.controller).await == Some(200)).then_some(());
                waiting::until("an answer to a probe", DEADLINE, is_ready).await?;
                Ok(objects)
            }
            Err(error) => {
                let objects = self.objects().await?;
                let status = objects.iter().find(|object| !is_done(object)).and_then(|object| object.status.clone());
                Err(format!("{error}; one object says {status:?}").into())
            }
        }
    }

    /// The resourceVersion of every Secret in the namespaces.
    pub(crate) async fn secret_versions(&self) -> Result<BTreeMap<String, Option<String>>, Error> {
        let mut versions = BTreeMap::new();
        for namespace in &self.namespaces {
            let secrets = namespace.api::<Secret>().list_metadata(&ListParams::default()).await?;
            let named = secrets
                .into_iter()
                .map(|secret| (format!("{}/{}", namespace.name(), secret.name_any()), secret.resource_version()));
            versions.extend(named);
        }
        Ok(versions)
    }

    /// Returns the controller's requests for objects in the namespaces when there are at least this many writes among
    /// them. The API server shows the result of a request before it logs its end.
    async fn requests_until(&self, writes_count: usize) -> Result<Vec<Value>, Error> {
        let all = waiting::until("the audit log", DEADLINE, async || {
            let requests = self.namespaces.iter().map(|namespace| requests_in(self.cluster, namespace).ok());
            let requests = requests.collect::<Option<Vec<_>>>()?.concat();
            (writes(&requests).len() >= writes_count).then_some(requests)
        });
        Ok(all.await?)
    }

    /// Replaces the controller by another one. Waits until it has looked at all objects.
    pub(crate) async fn restart(&mut self) -> TestResult {
        let another = started(self.context, self.cluster, "another").await?;
        std::mem::replace(&mut self.controller, another).stop().await?;
        let count = self.objects().await?.len();
        self.until_counted("sealed_secrets", "reason", "Materialised", count).await
    }

    /// Waits until a metric with this label has a value.
    async fn until_counted(&self, metric: &str, label: &str, value: &str, count: usize) -> TestResult {
        let expected = format!("waxseal_{metric}{{{label}=\"{value}\"}} {count}\n");
        let counted = async || self.controller.get("/metrics").await?.1.contains(&expected).then_some(());
        Ok(waiting::until(&expected, DEADLINE, counted).await?)
    }

    /// Waits until this many objects have a wrap for a key, and only this key opens this many of them.
    async fn until_used(&self, key: &str, count: usize, only_count: usize) -> TestResult {
        self.until_counted("sealing_key_objects", "key", key, count).await?;
        self.until_counted("sealing_key_only_objects", "key", key, only_count).await
    }
}

/// Manifests of Secrets with one value each.
pub(crate) fn secrets(count: usize, length: usize) -> String {
    let manifest = |number| opaque(&format!("db-{number}"), &[("PASSWORD", &"hunter2".repeat(length))]);
    (0..count).map(manifest).collect::<Vec<_>>().join("\n---\n")
}

fn offers_of(object: &SealedSecret) -> Result<&BTreeMap<String, OfferedWraps>, Error> {
    Ok(&object.status.as_ref().ok_or("no status")?.rewrapped)
}

fn all_offers(objects: &[SealedSecret]) -> Result<Vec<BTreeMap<String, OfferedWraps>>, Error> {
    objects.iter().map(|object| offers_of(object).cloned()).collect()
}

/// Whether a status offers one wrap, for this key, and says `Behind`, and the controller has settled it.
pub(crate) fn offers_one_key(status: &SealedSecretStatus, key: &str) -> bool {
    let offered: Vec<_> = status.rewrapped.values().flat_map(|offer| offer.wraps.keys()).collect();
    offered == [key] && key_current(status) == Some(("False", "Behind")) && status.settled.is_some()
}

/// Whether a status has no `KeyCurrent`, so that no wrap is missing, and the controller has settled it.
pub(crate) fn is_current(status: &SealedSecretStatus) -> bool {
    key_current(status).is_none() && status.settled.is_some()
}

fn key_current(status: &SealedSecretStatus) -> Option<(&str, &str)> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == "KeyCurrent")?;
    Some((condition.status.as_str(), condition.reason.as_str()))
}

/// Opens an object with one identity alone, after the offered wraps were added.
fn opens_with_offers(object: &SealedSecret, identity: &Identity) -> TestResult {
    let mut object = object.clone();
    let offers = offers_of(&object)?.clone();
    for (id, offer) in offers {
        let envelope = object.spec.envelopes.get_mut(&id).ok_or("an offer for no envelope")?;
        if envelope.commitment != offer.commitment {
            return Err("an offer for another envelope".into());
        }
        envelope.wraps.extend(offer.wraps);
    }
    let identity = Identity::parse(&identity.expose())?;
    let key = HeldKey::new(identity, KeyRole::Cluster, Timestamp::UNIX_EPOCH, KeyState::Active);
    let opened = open(&Sealed::decode(&object)?, &KeyRing::new(vec![key]))?;
    if opened.broken_wraps.is_empty() { Ok(()) } else { Err(format!("{:?}", opened.broken_wraps).into()) }
}

async fn whole(context: &Context, cluster: &Cluster) -> TestResult {
    const FLOOD: usize = 200;
    const ALL: usize = FLOOD + 3;
    /// More requests than are repeated on a slow machine, and far fewer than one for each object.
    const REPEATED: usize = 10;
    let mut fleet = Fleet::start(context, cluster, &[("flood", secrets(FLOOD, 1)), ("shop", secrets(3, 1))]).await?;
    let secrets_before = fleet.secret_versions().await?;

    let second = fleet.add_primary().await?;
    let second_id = second.recipient().key_id().to_string();
    let objects = fleet.until_all("offers", |status| offers_one_key(status, &second_id)).await?;
    for object in &objects {
        let status = object.status.as_ref().ok_or("no status")?;
        let id = object.spec.envelopes.keys().next().ok_or("no envelope")?;
        assert_eq!(status.keys, BTreeMap::from([(id.clone(), vec![fleet.first.clone()])]));
        let (_, _, message) = condition(object, "KeyCurrent").ok_or("no KeyCurrent")?;
        assert_eq!(message, format!("envelope {id}: no wrap for {second_id}"));
        opens_with_offers(object, &second)?;
    }
    let table = fleet.kubectl(&["get", "wax", "-n", fleet.namespaces[1].name(), "-o", "wide"])?;
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let key_column = rows[0].iter().position(|title| *title == "KEY").ok_or("no column")?;
    assert!(rows.len() == 4 && rows[1..].iter().all(|row| row[key_column] == "Behind"), "{table}");
    assert_fair_order(&objects, &fleet.namespaces[1], FLOOD)?;

    // One more status write for each object, and none of its Secret. The restart finds nothing to do.
    fleet.restart().await?;
    let mut expected = vec!["patch sealedsecrets status"; 2 * ALL];
    expected.extend(["patch secrets"; ALL]);
    let requests = fleet.requests_until(expected.len()).await?;
    let mut written = writes(&requests);
    written.sort();
    assert_eq!(written.len(), expected.len());
    assert!(written == expected, "{written:?}");
    let gets = requests.len() - written.len();
    // The controller gets each object once at first, and the object and its Secret once more after the new key. On a
    // slow machine it repeats a request that got no answer within 10 s.
    assert!((3 * ALL..3 * ALL + REPEATED).contains(&gets), "{gets} instead of {}", 3 * ALL);
    assert_eq!(fleet.secret_versions().await?, secrets_before);

    fleet.until_used(&fleet.first, ALL, ALL).await?;
    fleet.until_used(&second_id, 0, 0).await?;

    // Another change of keys, after which the offers are still right.
    fleet.keys.ask_for(&fleet.first, "Retired").await?;
    let proofs: Vec<_> = objects.iter().filter_map(|object| proof(object.status.as_ref()?)).collect();
    let is_new = |status: &SealedSecretStatus| proof(status).is_some_and(|proof| !proofs.contains(&proof));
    let judged_again = fleet.until_all("judgements with the retired key", is_new).await?;
    assert_eq!(all_offers(&judged_again)?, all_offers(&objects)?);

    // The wraps go into the files, and from there into the cluster.
    fleet.fetch_keys()?;
    let offered = fleet.kubectl(&["get", "wax", "-A", "-o", "json"])?;
    let mut rotate = Command::new(&context.programs.waxseal);
    rotate.env_clear().arg("rotate").arg(fleet.files()).arg("--keys").arg(fleet.keys_file());
    let report = run(rotate.args(["--offers", "-"]), &offered)?;
    assert_eq!(report, "");
    fleet.apply()?;
    let current = fleet.until_all("objects that are up to date", is_current).await?;
    for object in &current {
        let status = object.status.as_ref().ok_or("no status")?;
        let mut both = vec![fleet.first.clone(), second_id.clone()];
        both.sort();
        assert_eq!((&status.rewrapped, status.keys.values().next()), (&BTreeMap::new(), Some(&both)));
        assert_eq!(object.metadata.generation, Some(2));
    }
    assert_eq!(fleet.secret_versions().await?, secrets_before);
    fleet.until_used(&fleet.first, ALL, 0).await?;
    fleet.until_used(&second_id, ALL, 0).await?;
    Ok(())
}

/// `waxseal rotate` asks the cluster itself, as a user who may read SealedSecrets, and as one who may not.
async fn from_cluster(context: &Context, cluster: &Cluster) -> TestResult {
    let fleet = Fleet::start(context, cluster, &[("blog", secrets(2, 1)), ("shop", secrets(3, 1))]).await?;
    let second = fleet.add_primary().await?;
    let second_id = second.recipient().key_id().to_string();
    fleet.until_all("offers", |status| offers_one_key(status, &second_id)).await?;
    fleet.fetch_keys()?;
    let rotate = |kubeconfig: &Path| {
        let mut rotate = Command::new(&context.programs.waxseal);
        rotate.env_clear().arg("rotate").arg(fleet.files()).arg("--keys").arg(fleet.keys_file());
        let output = rotate.arg("--kubeconfig").arg(kubeconfig).output()?;
        let stderr = String::from_utf8(output.stderr)?;
        let said = stderr.split_inclusive('\n').filter(|line| !line.starts_with("sealed to "));
        Ok::<_, Error>((output.status.code(), said.collect::<String>()))
    };
    let kubeconfig = cluster.folder().join("stranger.kubeconfig");
    cluster.write_kubeconfig(&kubeconfig, "stranger", &cluster.user("stranger", "strangers")?, "default")?;
    let said = "the wraps are those that the cluster of context stranger offers\n";
    let refusal = "error: context stranger: the API server does not let you list SealedSecrets in all namespaces (403)\n\
         hint: ask for a ClusterRole with the verb list on sealedsecrets.waxseal.dev in all namespaces\n";
    assert_eq!(rotate(&kubeconfig)?, (Some(5), format!("{said}{refusal}")));

    let kubeconfig = cluster.folder().join("reader.kubeconfig");
    cluster.write_kubeconfig(&kubeconfig, "reader", &cluster.user("reader", "system:masters")?, "default")?;
    let said = "the wraps are those that the cluster of context reader offers\n";
    let expected = format!("{said}changed 5 of 5 SealedSecrets in 2 files\n");
    assert_eq!(rotate(&kubeconfig)?, (Some(0), expected));
    fleet.apply()?;
    fleet.until_all("objects that are up to date", is_current).await?;
    assert_eq!(rotate(&kubeconfig)?, (Some(0), format!("{said}changed 0 of 5 SealedSecrets in 0 files\n")));
    Ok(())
}

fn proof(status: &SealedSecretStatus) -> Option<String> {
    Some(status.settled.as_ref()?.proof.clone())
}

/// The objects of the small namespace do not wait until those of the large one are done.
fn assert_fair_order(objects: &[SealedSecret], small: &Namespace, large_count: usize) -> TestResult {
    let version = |object: &SealedSecret| object.resource_version().and_then(|version| version.parse::<u64>().ok());
    let (of_small, of_large): (Vec<_>, Vec<_>) =
        objects.iter().partition(|object| object.namespace().as_deref() == Some(small.name()));
    let last = of_small.iter().filter_map(|object| version(object)).max().ok_or("no object")?;
    let later = of_large.iter().filter(|object| version(object) > Some(last)).count();
    assert!(later > large_count / 2, "only {later} of {large_count} were written later");
    Ok(())
}

async fn large(context: &Context, cluster: &Cluster) -> TestResult {
    const MEMORY: u64 = 96 * 1024;
    // Each has 700 KB, and 933 KB in base64.
    let fleet = Fleet::start(context, cluster, &[("large", secrets(30, 100_000)), ("shop", secrets(3, 1))]).await?;
    let second = fleet.add_primary().await?;
    let second_id = second.recipient().key_id().to_string();
    fleet.until_all("offers", |status| offers_one_key(status, &second_id)).await?;
    let most = waxseal_tests::memory::most_resident(fleet.controller.process_id())?;
    assert!(most < MEMORY, "{most} KiB were in memory at once, of {MEMORY}");
    Ok(())
}

/// A recovery key is added to the configuration later. Somebody else plants another one.
async fn recovery(context: &Context, cluster: &Cluster) -> TestResult {
    let mut fleet = Fleet::start(context, cluster, &[("shop", secrets(3, 1))]).await?;
    let [ours, planted] = [new_identity(), new_identity()];
    let ours_id = ours.recipient().key_id().to_string();
    let configured = async |name: &str, recipient: &str| {
        let mut command = Command::new(&context.programs.waxseal_controller);
        command.env_clear().env("WAXSEAL_NO_KEY_GENERATION", "true").env("WAXSEAL_RECOVERY_RECIPIENT", recipient);
        let controller = Controller::start_command(cluster, command, name).await?;
        controller.ready().await?;
        Ok::<_, Error>(controller)
    };
    // The old controller must have ended: it deletes the SealingKey of a recovery key that it was not given.
    fleet.controller.kill()?;
    fleet.controller = configured("configured", ours.recipient().as_str()).await?;

    let published = fleet.keys.until_published(&ours_id, KeyState::Active).await?;
    assert_eq!(
        (published.spec.role, published.spec.recipient.as_str()),
        (KeyRole::Recovery, ours.recipient().as_str())
    );
    let mut plant = sealing_key(&planted, KeyState::Active);
    plant.spec.role = KeyRole::Recovery;
    fleet.keys.published.create(&PostParams::default(), &plant).await?;
    fleet.keys.until_gone(planted.recipient().key_id().as_str()).await?;
    let said = "deleted a SealingKey that neither an identity nor the configuration accounts for";
    until_warned(&fleet.controller, said).await?;
    let objects = fleet.until_all("offers", |status| offers_one_key(status, &ours_id)).await?;
    objects.iter().try_for_each(|object| opens_with_offers(object, &ours))?;

    // Another start does not write the SealingKey again. Then the files are rotated.
    let another = configured("again", ours.recipient().as_str()).await?;
    std::mem::replace(&mut fleet.controller, another).stop().await?;
    let again = fleet.keys.published.get(&ours_id).await?.metadata;
    assert_eq!((again.uid, again.generation), (published.metadata.uid, published.metadata.generation));
    fleet.fetch_keys()?;
    fleet.rotate()?;
    fleet.apply()?;
    fleet.until_all("objects that are up to date", is_current).await?;
    let sealed: SealedSecret = serde_json::from_value(crate::sealing::plain_value(
        &fleet.seal(&opaque("new", &[("A", "x")]), &fleet.namespaces[0])?,
    )?)?;
    let wraps: Vec<_> = sealed.spec.envelopes.values().flat_map(|envelope| envelope.wraps.keys()).collect();
    assert!(wraps.len() == 2 && wraps.contains(&&ours_id), "{wraps:?}");

    // Its identity gets into the cluster: it is not a recovery key then.
    fleet.keys.identities.create(&PostParams::default(), &secret("stray", &ours, FIRST)).await?;
    let said = format!(
        "failed to use the recovery key {ours_id}: the controller holds its identity, so it does not survive the cluster; \
         keep the identity offline, or take the key out of the configuration; trying again"
    );
    until_warned(&fleet.controller, &said).await?;
    fleet.keys.identities.delete("stray", &DeleteParams::default()).await?;

    // Without the configuration the key goes.
    let another = started(context, cluster, "without").await?;
    std::mem::replace(&mut fleet.controller, another).stop().await?;
    fleet.keys.until_gone(&ours_id).await?;
    Ok(())
}

/// Somebody who may write a status forges keys and offers.
async fn forged(context: &Context, cluster: &Cluster) -> TestResult {
    let fleet = Fleet::start(context, cluster, &[("shop", secrets(2, 1))]).await?;
    let second = fleet.add_primary().await?;
    let second_id = second.recipient().key_id().to_string();
    let objects = fleet.until_all("offers", |status| offers_one_key(status, &second_id)).await?;
    let [victim, other] = &objects[..] else { return Err("two objects".into()) };
    let id = victim.spec.envelopes.keys().next().ok_or("no envelope")?;
    let (other_id, other_offer) = offers_of(other)?.iter().next().ok_or("no offer")?;
    let stranger = new_identity().recipient().key_id().to_string();
    let (good, of_other) = (&offers_of(victim)?[id].wraps[&second_id], &other_offer.wraps[&second_id]);
    let offer = |key: &str, wrap: &str| json!({"rewrapped": {id: {"wraps": {key: wrap}}}});
    let forgeries = [
        offer(&second_id, "garbage"),
        offer(&second_id, of_other),
        offer(&second_id, &format!("{}AAAAAAAAAAAAAAAAAAAAAA", &good[..good.len() - 22])),
        offer(&stranger, good),
        json!({"rewrapped": {id: {"commitment": other_offer.commitment}}}),
        json!({"rewrapped": {other_id: other_offer}}),
        json!({"rewrapped": null, "keys": {id: [second_id]}, "conditions": []}),
    ];
    let api = fleet.namespaces[0].api::<SealedSecret>();
    let keys = victim.status.as_ref().map(|status| &status.keys);
    for forgery in forgeries {
        let patch = Patch::Merge(json!({"status": forgery}));
        let written = api.patch_status(&victim.name_any(), &PatchParams::default(), &patch).await?;
        assert_ne!(written.status, victim.status, "{forgery}");
        waiting::until(&format!("the end of {forgery}"), DEADLINE, async || {
            let object = api.get(&victim.name_any()).await.ok()?;
            let status = object.status.as_ref()?;
            let is_right = offers_one_key(status, &second_id) && opens_with_offers(&object, &second).is_ok();
            (is_right && Some(&status.keys) == keys).then_some(())
        })
        .await?;
        assert_eq!(api.get(&other.name_any()).await?.resource_version(), other.resource_version());
    }
    Ok(())
}

/// `Exposed` and `NeedsReseal`: nothing that the controller could offer would help. The Secrets stay as they are.
async fn reported(context: &Context, cluster: &Cluster) -> TestResult {
    let fleet = Fleet::start(context, cluster, &[("shop", secrets(2, 1))]).await?;
    let secrets_before = fleet.secret_versions().await?;
    let second = fleet.add_primary().await?;
    let second_id = second.recipient().key_id().to_string();
    fleet.until_all("offers", |status| offers_one_key(status, &second_id)).await?;
    fleet.fetch_keys()?;
    fleet.rotate()?;
    fleet.apply()?;
    fleet.until_all("objects that are up to date", |status| key_current(status).is_none()).await?;

    fleet.keys.ask_for(&fleet.first, "Revoked").await?;
    let is_exposed = |status: &SealedSecretStatus| {
        key_current(status) == Some(("False", "Exposed")) && status.settled.is_some() && status.rewrapped.is_empty()
    };
    let exposed = fleet.until_all("exposed objects", is_exposed).await?;
    let (_, _, message) = condition(&exposed[0], "KeyCurrent").ok_or("no KeyCurrent")?;
    assert!(message.contains(&format!("sealed to {}, which is revoked", fleet.first)), "{message}");
    assert_eq!(fleet.secret_versions().await?, secrets_before);

    let classic = Identity::generate(KeyKind::Classic, &mut randomness::system());
    fleet.keys.identities.create(&PostParams::default(), &secret("classic", &classic, FIRST)).await?;
    fleet.keys.until_published(classic.recipient().key_id().as_str(), KeyState::Active).await?;
    let mut seal = Command::new(&context.programs.waxseal);
    seal.env_clear().args(["seal", "-n", fleet.namespaces[0].name(), "--allow-classic", "--recipient"]);
    let sealed = run(seal.arg(classic.recipient().as_str()).arg("-"), &opaque("old", &[("A", "x")]))?;
    create(&fleet.namespaces[0], &serde_json::from_value(crate::sealing::plain_value(&sealed)?)?).await?;
    let old = with_reason(&fleet.namespaces[0], "old", "Materialised").await?;
    let status = old.status.as_ref().ok_or("no status")?;
    assert_eq!(key_current(status), Some(("False", "NeedsReseal")));
    assert!(status.rewrapped.is_empty() && status.settled.is_some(), "{status:?}");
    Ok(())
}

/// Somebody copies an envelope of another namespace into an object of his own, without its value and with it.
async fn copied(context: &Context, cluster: &Cluster) -> TestResult {
    let fleet = Fleet::start(context, cluster, &[("shop", secrets(1, 1)), ("attacker", secrets(2, 1))]).await?;
    let objects = fleet.objects().await?;
    let is_victim = |object: &&SealedSecret| object.namespace().as_deref() == Some(fleet.namespaces[0].name());
    let victim = objects.iter().find(is_victim).ok_or("no victim")?.clone();
    let stolen = victim.spec.envelopes.keys().next().ok_or("no envelope")?.clone();
    let attacker = &fleet.namespaces[1];
    let sealed = fleet.seal(&opaque("mine", &[("OWN", "x")]), attacker)?;
    let mut own: SealedSecret = serde_json::from_value(crate::sealing::plain_value(&sealed)?)?;
    let bound_here = own.spec.envelopes.values().next().ok_or("no envelope")?.bound_to.clone();
    let mut moved = victim.spec.envelopes.clone();
    own.spec.envelopes.extend(moved.clone());
    moved.values_mut().for_each(|envelope| envelope.bound_to = bound_here.clone());
    let mut unused = own.clone();
    unused.spec.envelopes.extend(moved);
    create(attacker, &unused).await?;
    for (name, is_disguised, reason) in [("moved", false, "Moved"), ("disguised", true, "Unreadable")] {
        let mut object = own.clone();
        object.metadata.name = Some(name.to_owned());
        object.spec.encrypted_data = victim.spec.encrypted_data.clone();
        if is_disguised {
            for envelope in object.spec.envelopes.values_mut() {
                envelope.bound_to = BoundTo { name: Some(name.to_owned()), ..bound_here.clone() };
            }
        }
        create(attacker, &object).await?;
        with_reason(attacker, name, reason).await?;
    }
    with_reason(attacker, "mine", "Materialised").await?;

    let second = fleet.add_primary().await?;
    let offer_of = async |namespace: &Namespace, name: &str| {
        namespace.api::<SealedSecret>().get_opt(name).await.ok()??.status?.rewrapped.into_iter().next()
    };
    let of_victim = waiting::until("an offer", DEADLINE, async || offer_of(&fleet.namespaces[0], "db-0").await).await?;
    let of_mine = waiting::until("an offer", DEADLINE, async || offer_of(attacker, "mine").await).await?;
    assert_eq!(of_victim.0, stolen);
    assert!(of_victim.1.wraps.contains_key(second.recipient().key_id().as_str()));
    assert_ne!(of_mine.0, stolen);
    for object in attacker.api::<SealedSecret>().list(&ListParams::default()).await? {
        let status = object.status.clone().ok_or("no status")?;
        assert!(!status.rewrapped.contains_key(&stolen) && !status.keys.contains_key(&stolen), "{status:?}");
        let is_whole = matches!(object.name_any().as_str(), "mine" | "db-0" | "db-1");
        assert_eq!(status.keys.is_empty(), !is_whole, "{status:?}");
    }
    Ok(())
}
