//! The cluster `prod`: its controller, what the controller says of each SealedSecret, and the Secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use tokio::task::JoinHandle;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_tests::clock::Clock;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation::{self, Controller};
use waxseal_tests::waiting;

use super::ledger::{Marker, Observed};
use super::repository::Title;
use crate::clock::wake;
use crate::controllers::readiness;
use crate::key_namespace::Keys;
use crate::kustomize::kubectl;
use crate::registration::{Context, Error, TestResult};
use crate::sealing::{run, values};

const DEADLINE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(100);
const NAMESPACES: [&str; 3] = ["shop", "blog", "bank"];

pub(super) struct Prod<'a> {
    context: &'a Context,
    clock: &'a Clock,
    cluster: &'a Cluster,
    recovery_recipient: String,
    pub(super) keys: Keys,
    pub(super) namespaces: Vec<Namespace>,
    controller: Arc<Controller>,
    witness: Witness,
    seen: Arc<Mutex<BTreeMap<Title, SealedSecret>>>,
    _follower: Background,
}

/// A task that is aborted when this value is dropped.
struct Background(JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks a controller for its readiness all the time. Every other answer than 200 is a fault, and so are four requests
/// in a row without an answer: on a slow machine, the controller may close a connection before it has answered.
struct Witness {
    _polling: Background,
    answers: Arc<Mutex<Vec<Option<u16>>>>,
}

impl Witness {
    fn of(controller: Arc<Controller>) -> Self {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let writing = Arc::clone(&answers);
        let polling = tokio::spawn(async move {
            loop {
                let answer = readiness(&controller).await;
                writing.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                tokio::time::sleep(POLL).await;
            }
        });
        Self { _polling: Background(polling), answers }
    }

    fn assert_always_ready(&self) {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ready = answers.contains(&Some(200)) && answers.iter().flatten().all(|code| *code == 200);
        // `readiness` returns `None` after two requests.
        let is_silent = answers.windows(2).any(|two| two.iter().all(Option::is_none));
        assert!(is_ready && !is_silent, "{answers:?}");
    }
}

/// Installs Waxseal in a cluster, without a controller. Makes the namespaces, and writes a kubeconfig for the person.
pub(super) async fn install(cluster: &Cluster, kubeconfig: &Path) -> Result<Vec<Namespace>, Error> {
    installation::apply(cluster).await?;
    cluster.write_kubeconfig(kubeconfig, "prod", &cluster.user("operator", "system:masters")?, "default")?;
    let mut namespaces = Vec::new();
    for prefix in NAMESPACES {
        namespaces.push(cluster.namespace(prefix).await?);
    }
    Ok(namespaces)
}

impl<'a> Prod<'a> {
    /// Starts a controller that renews its keys every 30 days.
    pub(super) async fn start(
        context: &'a Context,
        cluster: &'a Cluster,
        clock: &'a Clock,
        recovery_recipient: &str,
        namespaces: Vec<Namespace>,
    ) -> Result<Self, Error> {
        let controller = start_controller(context, cluster, clock, recovery_recipient, "start").await?;
        let seen = Arc::default();
        let follower = tokio::spawn(follow(Api::all(cluster.client()), Arc::clone(&seen)));
        let (keys, recovery_recipient) = (Keys::of(cluster), recovery_recipient.to_owned());
        let witness = Witness::of(Arc::clone(&controller));
        Ok(Self {
            context,
            clock,
            cluster,
            recovery_recipient,
            keys,
            namespaces,
            controller,
            witness,
            seen,
            _follower: Background(follower),
        })
    }

    /// Replaces the controller by another one, as an update of its node does. The new controller is ready before the
    /// old one ends.
    pub(super) async fn replace_controller(&mut self, name: &str) -> TestResult {
        let controller =
            start_controller(self.context, self.cluster, self.clock, &self.recovery_recipient, name).await?;
        let witness = Witness::of(Arc::clone(&controller));
        self.assert_always_ready();
        (self.controller, self.witness) = (controller, witness);
        Ok(())
    }

    pub(super) fn assert_always_ready(&self) {
        self.witness.assert_always_ready();
    }

    pub(super) fn controller_log(&self) -> String {
        self.controller.log_text()
    }

    /// Makes the controller see the new time at once: without this, it looks only after up to a minute. Waits until
    /// another key is the primary; returns its id.
    pub(super) async fn until_renewed(&self, old: &str) -> Result<String, Error> {
        wake(&self.keys).await?;
        self.until_primary_after(old).await
    }

    pub(super) async fn until_primary_after(&self, old: &str) -> Result<String, Error> {
        let renewed = waiting::until("a new primary", DEADLINE, async || {
            let id = self.keys.primary().await.ok()?;
            (id != old).then_some(id)
        });
        Ok(renewed.await?)
    }

    /// Waits until the controller has published that a key is in a backup.
    pub(super) async fn until_backed_up(&self, key: &str) -> TestResult {
        let published = async || {
            let status = self.keys.published.get_opt(key).await.ok()??.status?;
            status.last_backup_time.map(drop)
        };
        Ok(waiting::until(&format!("the backup of {key}"), DEADLINE, published).await?)
    }

    /// Applies manifests, as a GitOps tool does. Returns when the controller has judged everything.
    pub(super) async fn apply(&self, manifests: &[PathBuf]) -> TestResult {
        if manifests.is_empty() {
            return Ok(());
        }
        let mut kubectl = kubectl(self.context, self.cluster);
        kubectl.args(["apply", "--server-side", "--recursive"]);
        run(kubectl.args(manifests.iter().flat_map(|file| [Path::new("-f"), file])), "")?;
        let objects = Api::<SealedSecret>::all(self.cluster.client()).list_metadata(&ListParams::default()).await?;
        let generations: BTreeMap<Title, _> =
            objects.iter().map(|object| (title(object), object.metadata.generation)).collect();
        self.until("judgements of what was deployed", |object| {
            object.metadata.generation >= generations[&title(object)] && is_judged(object)
        })
        .await
    }

    /// Waits until every SealedSecret is as wanted.
    pub(super) async fn until(&self, what: &str, is_as_wanted: impl Fn(&SealedSecret) -> bool) -> TestResult {
        let mut different = None;
        let done = waiting::until(what, DEADLINE, async || {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            different =
                seen.values().find(|object| !is_as_wanted(object)).map(|object| (title(object), object.status.clone()));
            (different.is_none() && seen.len() == super::OBJECTS).then_some(())
        });
        let outcome = done.await;
        outcome.map_err(|error| format!("{error}; one object: {different:?}").into())
    }

    /// The SealedSecrets as they were last seen.
    pub(super) fn objects(&self) -> Vec<SealedSecret> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Reads all Secrets.
    pub(super) async fn secrets(&self) -> Result<BTreeMap<Title, Observed>, Error> {
        let mut secrets = BTreeMap::new();
        for namespace in &self.namespaces {
            for secret in namespace.api::<Secret>().list(&ListParams::default()).await? {
                let version = secret.resource_version().ok_or("no resourceVersion")?;
                let observed = Observed { values: values(&secret).into_iter().collect(), marker: Marker(version) };
                secrets.insert(title(&secret), observed);
            }
        }
        Ok(secrets)
    }
}

async fn start_controller(
    context: &Context,
    cluster: &Cluster,
    clock: &Clock,
    recovery_recipient: &str,
    name: &str,
) -> Result<Arc<Controller>, Error> {
    let mut command = Command::new(&context.programs.waxseal_controller);
    command.env_clear().env("WAXSEAL_RENEW_AFTER", "30d").env("WAXSEAL_RECOVERY_RECIPIENT", recovery_recipient);
    clock.give_to(&mut command);
    let controller = Controller::start_command(cluster, command, name).await?;
    controller.ready().await?;
    Ok(Arc::new(controller))
}

/// Keeps the newest state of every SealedSecret. A list of all would be 10 MB.
async fn follow(objects: Api<SealedSecret>, seen: Arc<Mutex<BTreeMap<Title, SealedSecret>>>) {
    let mut events = watcher(objects, watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                seen.insert(title(&object), object);
            }
            Ok(watcher::Event::Delete(object)) => {
                seen.remove(&title(&object));
            }
            // After an error, the watcher lists again.
            Ok(_) | Err(_) => {}
        }
    }
}

pub(super) fn title(object: &impl ResourceExt) -> Title {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// Whether the status is about the present generation.
fn is_judged(object: &SealedSecret) -> bool {
    object.status.as_ref().is_some_and(|status| status.observed_generation == object.metadata.generation)
}

/// The folder of a cluster for the files of this test.
pub(super) fn folder(cluster: &Cluster) -> PathBuf {
    cluster.folder().join("year")
}
