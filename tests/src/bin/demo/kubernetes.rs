//! The demo on a Kubernetes API server of its own. The user's kubeconfig is never read.

use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::thread::sleep;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde_json::json;
use waxseal_shared::manifest::{self, DocumentKind};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::{PublishedKey, SealingKey};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, CONTEXT, Controller, KEY_NAMESPACE};
use waxseal_tests::{assets, prerequisites};

use crate::plain_secrets::Values;
use crate::script::{Place, SEALED};
use crate::stage::{Result, Stage, unexpected};

const KEYS_FILE: &str = "keys.yaml";
const NAMESPACE: &str = "shop";

pub(crate) struct OnKubernetes {
    controller: Option<Controller>,
    cluster: Cluster,
}

impl OnKubernetes {
    /// Starts the API server and applies `deploy/`.
    pub(crate) fn prepare(stage: &Stage) -> Result<Self> {
        prerequisites::check()?;
        let assets = assets::prepare()?;
        writeln!(stderr(), "starting a Kubernetes API server")?;
        let cluster = Cluster::start(&assets.kubernetes, &installation::definitions()?)?;
        cluster.block_on(installation::apply(&cluster))?;
        stage.tell(format_args!(
            "(on the Kubernetes API server {}, with deploy/ on it; the namespace {NAMESPACE} follows)",
            cluster.url()
        ))?;
        Ok(Self { controller: None, cluster })
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.cluster.client(), NAMESPACE)
    }

    fn kubeconfig(&self) -> Result<String> {
        let controller = self.controller.as_ref().ok_or("the controller was not started")?;
        Ok(controller.kubeconfig.display().to_string())
    }

    fn published(&self) -> Result<Vec<PublishedKey>> {
        let api = Api::<SealingKey>::namespaced(self.cluster.client(), KEY_NAMESPACE);
        let objects = self.cluster.block_on(api.list(&ListParams::default()))?;
        Ok(objects.iter().map(PublishedKey::decode).collect::<std::result::Result<_, _>>()?)
    }

    /// Adds every key that the cluster publishes to the keys file.
    fn fetch_keys(&self, stage: &Stage) -> Result<()> {
        let kubeconfig = self.kubeconfig()?;
        let fingerprints: Vec<_> = self.published()?.iter().map(|key| key.recipient.fingerprint()).collect();
        let mut line = vec!["waxseal", "keys", "fetch", "--kubeconfig", &kubeconfig, "--context", CONTEXT];
        line.extend(["--output", KEYS_FILE]);
        line.extend(fingerprints.iter().flat_map(|fingerprint| ["--accept", fingerprint]));
        stage.run(&line)?;
        Ok(())
    }

    fn apply(&self, kind: &DocumentKind) -> Result<()> {
        let (name, resource, object) = match kind {
            DocumentKind::SealedSecret(sealed) => {
                let object = sealed.read()?;
                let resource = ApiResource::erase::<SealedSecret>(&());
                (object.name_any(), resource, serde_json::to_value(object)?)
            }
            DocumentKind::Other(other) => {
                let object = other.read::<DynamicObject>()?;
                let kind = GroupVersionKind::try_from(object.types.clone().unwrap_or_default())?;
                (object.name_any(), ApiResource::from_gvk(&kind), serde_json::to_value(object)?)
            }
            DocumentKind::Empty => return Ok(()),
            DocumentKind::Secret(_) | DocumentKind::List(_) => {
                return Err(unexpected(SEALED, "SealedSecrets", "a plain Secret or a list"));
            }
        };
        let api = Api::<DynamicObject>::namespaced_with(self.cluster.client(), NAMESPACE, &resource);
        let params = PatchParams::apply("kubectl").force();
        self.cluster.block_on(api.patch(&name, &params, &Patch::Apply(object)))?;
        Ok(())
    }
}

impl Place for OnKubernetes {
    fn start(&mut self, stage: &Stage) -> Result<()> {
        stage.tell(format_args!("$ waxseal-controller kubernetes --context {CONTEXT} --kubeconfig … &"))?;
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
        let cluster = &self.cluster;
        let controller = cluster.block_on(async {
            Api::all(cluster.client()).create(&PostParams::default(), &namespace).await?;
            let controller = Controller::start(cluster, &stage.programs, "demo").await?;
            controller.ready().await?;
            Result::Ok(controller)
        })?;
        std::os::unix::fs::symlink(&controller.log, stage.path(crate::stage::LOG))?;
        self.controller = Some(controller);
        stage.wait_for("the first key", &1, || Ok(self.published()?.len()), usize::to_string)?;
        self.fetch_keys(stage)
    }

    fn keys_file(&self) -> &'static str {
        KEYS_FILE
    }

    fn deliver(&self, stage: &Stage) -> Result<()> {
        stage.tell(format_args!("(as `kubectl apply --server-side -f {SEALED}` does it)"))?;
        let text = stage.read(SEALED)?;
        for document in &manifest::split(&text)?.documents {
            self.apply(&document.kind()?)?;
        }
        Ok(())
    }

    fn values(&self, _: &Stage) -> Result<Values> {
        let secrets = self.cluster.block_on(self.secrets().list(&ListParams::default()))?;
        let values = |secret: Secret| -> BTreeMap<_, _> {
            secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect()
        };
        Ok(secrets.into_iter().map(|secret| (secret.name_any(), values(secret))).collect())
    }

    fn show(&self, stage: &Stage, secret: &str, key: &str) -> Result<()> {
        stage.tell(format_args!("(Secret {NAMESPACE}/{secret}, data key {key}:)"))?;
        let values = self.values(stage)?;
        let value = values.get(secret).and_then(|values| values.get(key)).cloned().unwrap_or_default();
        stage.quote(&String::from_utf8(value)?)
    }

    fn version(&self, _: &Stage, secret: &str) -> Result<String> {
        let secret = self.cluster.block_on(self.secrets().get(secret))?;
        Ok(secret.resource_version().unwrap_or_default())
    }

    fn judgement(&self, _: &Stage, name: &str) -> Result<(String, String)> {
        let api = Api::<SealedSecret>::namespaced(self.cluster.client(), NAMESPACE);
        let object = self.cluster.block_on(api.get(name))?;
        let status = object.status.filter(|status| status.observed_generation == object.metadata.generation);
        let conditions = status.unwrap_or_default().conditions;
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        Ok(ready.map(|ready| (ready.reason, ready.message)).unwrap_or_default())
    }

    fn add_key(&self, stage: &Stage) -> Result<String> {
        // Keys are ordered by creation time in whole seconds: a key of the same second would not be newer.
        sleep(Duration::from_secs(1));
        stage.run(&["waxseal", "keys", "generate", "--output", "new.key"])?;
        let identity = stage.read("new.key")?;
        stage
            .tell(format_args!("(new.key becomes a Secret of the type waxseal.dev/sealing-key in {KEY_NAMESPACE})"))?;
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "second-sealing-key"},
            "type": "waxseal.dev/sealing-key",
            "stringData": {"identity": identity, "state": "Active"},
        }))?;
        let api = Api::<Secret>::namespaced(self.cluster.client(), KEY_NAMESPACE);
        self.cluster.block_on(api.create(&PostParams::default(), &secret))?;
        stage.wait_for("the published keys", &2, || Ok(self.published()?.len()), usize::to_string)?;
        self.fetch_keys(stage)?;
        let newest = self.published()?.into_iter().max_by_key(|key| key.created_at);
        let id = newest.ok_or("no key is published")?.recipient.key_id().to_string();
        stage.confirm(format_args!("{KEYS_FILE} has the new key {id}; nothing was restarted"))?;
        Ok(id)
    }

    fn delete(&self, stage: &Stage, secret: &str) -> Result<()> {
        stage.tell(format_args!("(as `kubectl delete secret -n {NAMESPACE} {secret}` does it)"))?;
        self.cluster.block_on(self.secrets().delete(secret, &DeleteParams::default()))?;
        Ok(())
    }
}
