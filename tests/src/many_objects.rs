//! What the benchmarks on a cluster share: its preparation, and many SealedSecrets in one namespace.

use std::error::Error;

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::PostParams;
use waxseal_shared::key_life::sealing_recipients;
use waxseal_shared::names::{self, DataKey, ObjectName};
use waxseal_shared::seal::seal;
use waxseal_shared::sealed_secret::{Scope, SealedSecret};
use waxseal_shared::secret::{SecretBytes, SecretManifest};
use waxseal_shared::{manifest, randomness};

use crate::cluster::{Cluster, Namespace};
use crate::programs::{self, Programs};
use crate::{assets, installation, prerequisites};

/// The number of requests at the same time: as many as the controller makes for one namespace.
pub const CONCURRENCY: usize = 16;
/// The number of values of each SealedSecret.
pub const VALUES: usize = 5;

/// Runs a benchmark on a new cluster, on which Waxseal is installed.
pub fn on_new_cluster(
    benchmark: impl AsyncFnOnce(&Cluster, &Programs) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    prerequisites::check()?;
    let programs = programs::build()?;
    let assets = assets::prepare()?;
    let cluster = Cluster::start(&assets.kubernetes, &installation::definitions()?)?;
    cluster.block_on(async {
        installation::apply(&cluster).await?;
        benchmark(&cluster, &programs).await
    })
}

/// Seals this many SealedSecrets to the keys of a keys file, and creates them: `object-0`, `object-1` and so on.
pub async fn create(namespace: &Namespace, keys: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let recipients = sealing_recipients(&manifest::read_keys(keys)?).ok_or("no primary key")?;
    let place = names::Namespace::parse(namespace.name())?;
    let api = namespace.api::<SealedSecret>();
    let params = PostParams::default();
    let create = async |number: usize| {
        let object = seal(&secret(number), &place, Scope::Strict, &recipients, &mut randomness::system())?;
        api.create(&params, &object).await?;
        Ok::<_, Box<dyn Error>>(())
    };
    stream::iter(0..count).map(create).buffer_unordered(CONCURRENCY).try_collect().await
}

fn secret(number: usize) -> SecretManifest {
    let value = |index: usize| {
        let key = DataKey::parse(&format!("KEY_{index}")).expect("letters and a digit");
        (key, SecretBytes::new(format!("value {index} of object {number}").into_bytes()))
    };
    SecretManifest {
        name: ObjectName::parse(&format!("object-{number}")).expect("letters and digits"),
        namespace: None,
        labels: Default::default(),
        annotations: Default::default(),
        type_: None,
        immutable: None,
        data: (0..VALUES).map(value).collect(),
    }
}
