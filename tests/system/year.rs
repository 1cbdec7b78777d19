//! A year of two clusters that share the files of one Git repository: `prod`, a cluster, and `edge`, a machine without
//! Kubernetes. Their keys change every month.
//!
//! After each step every Secret has the right bytes in both, no Secret was written because of a change of keys, and the
//! controller of `prod` was always ready.

mod edge;
mod ledger;
mod prod;
mod repository;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::SignedDuration;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::sealing_key::KeyState;
use waxseal_tests::clock::Clock;
use waxseal_tests::cluster::{Cluster, Namespace};
use waxseal_tests::installation;

use self::edge::Edge;
use self::ledger::Ledger;
use self::prod::Prod;
use self::repository::{Repository, Title};
use crate::registration::{Context, Error, Test, TestResult, own_cluster_slot};
use crate::sealing::{condition, recipient_in};

/// More than the renewal period.
const MONTH: SignedDuration = SignedDuration::from_hours(31 * 24);
/// Less than the renewal period.
const SHORT_MONTH: SignedDuration = SignedDuration::from_hours(29 * 24);
/// The number of SealedSecrets, in three namespaces.
const OBJECTS: usize = 300;
const IN_A_NAMESPACE: usize = OBJECTS / 3;

pub(crate) fn tests() -> Vec<Test> {
    vec![Test::blocking("year::two_clusters_live_through_a_year_of_rotations", |context| {
        let _slot = own_cluster_slot()?;
        let definitions = installation::definitions()?;
        let cluster = Cluster::start(&context.assets.kubernetes, &definitions)?;
        let spare = Cluster::start(&context.assets.kubernetes, &definitions)?;
        cluster.block_on(year(context, &cluster, &spare))
    })]
}

async fn year(context: &Context, cluster: &Cluster, spare: &Cluster) -> TestResult {
    std::fs::create_dir(prod::folder(cluster))?;
    let clock = Clock::new(&context.programs, &prod::folder(cluster).join("clock"))?;
    let mut year = Year::begin(context, cluster, &clock).await?;

    let [first_key, _] = year.primaries.clone();
    year.a_month_passes().await?;
    year.a_needed_key_stays(&first_key)?;
    year.rotate_on_branch("rotation-1")?;
    year.merge("rotation-1").await?;
    year.assert_all_current().await?;

    // A rotation that is forgotten for two months, while others go on.
    let [second_key, _] = year.primaries.clone();
    year.a_month_passes().await?;
    year.rotate_on_branch("rotation-2")?;
    year.edit_one_in(10).await?;
    year.a_needed_key_stays(&second_key)?;

    year.a_month_passes_with_keys_rotate().await?;
    year.rotate_on_branch("rotation-3")?;
    year.merge("rotation-3").await?;
    year.assert_all_current().await?;
    year.prod.replace_controller("march").await?;

    // A rotation waits for a month, while values are edited.
    year.a_month_passes().await?;
    year.merge("rotation-2").await?;
    year.rotate_on_branch("rotation-4")?;
    year.edit_one_in(10).await?;

    year.a_month_passes().await?;
    year.merge("rotation-4").await?;
    year.rotate_on_branch("rotation-5")?;
    year.edit_one_in(30).await?;

    year.the_key_of_prod_is_compromised().await?;
    year.merge("rotation-5").await?;
    year.assert_all_current().await?;

    year.a_month_passes().await?;
    year.rotate_on_branch("rotation-7")?;
    year.merge("rotation-7").await?;
    year.assert_all_current().await?;
    year.back_up()?;

    // The key of this month is not in the backup. Of the cluster's keys, only this key opens the edited values.
    year.a_month_passes().await?;
    year.rotate_on_branch("rotation-8")?;
    year.merge("rotation-8").await?;
    let edited = year.edit_one_in(30).await?;
    year.prod_is_lost(spare, &edited).await?;

    for name in ["rotation-9", "rotation-10"] {
        year.a_month_passes().await?;
        year.rotate_on_branch(name)?;
        year.merge(name).await?;
        year.assert_all_current().await?;
    }
    year.wraps_of_old_keys_go().await?;
    year.an_unneeded_key_goes(&second_key).await?;

    let [only_key, _] = year.primaries.clone();
    year.a_month_passes().await?;
    year.a_needed_key_stays(&only_key)?;
    year.rotate_on_branch("rotation-11")?;
    year.a_month_passes_with_keys_rotate().await?;
    year.merge("rotation-11").await?;
    year.rotate_on_branch("rotation-12")?;
    year.merge("rotation-12").await?;
    year.assert_all_current().await
}

struct Year<'a> {
    context: &'a Context,
    clock: &'a Clock,
    repository: Repository<'a>,
    prod: Prod<'a>,
    edge: Edge,
    /// The primary keys of both clusters.
    primaries: [String; 2],
    ledgers: [Ledger; 2],
    /// The folder of this test. `deployed` in it is what both clusters run.
    folder: PathBuf,
    recovery_recipient: String,
    /// The namespaces of the lost cluster. If they were dropped, it would begin to delete hundreds of objects.
    lost: Vec<Namespace>,
}

impl<'a> Year<'a> {
    /// Installs both clusters, and deploys 300 SealedSecrets for both.
    async fn begin(context: &'a Context, cluster: &'a Cluster, clock: &'a Clock) -> Result<Self, Error> {
        let folder = prod::folder(cluster);
        let kubeconfig = folder.join("kubeconfig");
        let mut repository = Repository::create(context, clock, &kubeconfig, &folder.join("repository"))?;
        let published = repository.waxseal(&["keys", "generate", "--recovery", "-o", "../recovery.key"])?;
        let recovery_recipient = recipient_in(&published)?.to_owned();
        std::fs::create_dir_all(folder.join("deployed/apps"))?;
        let namespaces = prod::install(cluster, &kubeconfig).await?;
        let prod = Prod::start(context, cluster, clock, &recovery_recipient, namespaces).await?;
        let edge = Edge::start(context, cluster, clock, &recovery_recipient, &folder.join("deployed/apps"))?;
        let primaries = [prod.keys.primary().await?, edge.until_primary_after("").await?];
        repository.fetch_keys(&prod.controller_log())?;
        std::fs::copy(edge.keys_file(), repository.path(".waxseal/edge.yaml"))?;
        for namespace in &prod.namespaces {
            repository.seal_new(namespace.name(), IN_A_NAMESPACE)?;
        }
        repository.commit("Seal all Secrets")?;
        let ledgers = Default::default();
        let mut year = Self {
            context,
            clock,
            repository,
            prod,
            edge,
            primaries,
            ledgers,
            folder,
            recovery_recipient,
            lost: Vec::new(),
        };
        year.deploy(&[]).await?;
        year.assert_all_current().await?;
        Ok(year)
    }

    /// Brings the branch `main` into both clusters. Only these Secrets may change.
    async fn deploy(&mut self, edited: &[Title]) -> TestResult {
        let changed = self.repository.check_out_main(&self.folder.join("deployed"))?;
        self.prod.apply(&changed).await?;
        self.prod.until("Secrets", is_judged_as_it_is).await?;
        self.edge.until("judgements of what was deployed", &self.prod.objects(), is_judged_as_it_is).await?;
        self.check(edited).await
    }

    /// Checks both clusters: every Secret has the right bytes, and only these were written since the last check.
    async fn check(&mut self, edited: &[Title]) -> TestResult {
        let values = &self.repository.values;
        let [of_prod, of_edge] = &mut self.ledgers;
        of_prod.check("prod", self.prod.secrets().await?, values, edited);
        of_edge.check("edge", self.edge.secrets()?, values, edited);
        self.prod.assert_always_ready();
        Ok(())
    }

    /// Both controllers renew their keys by themselves, and offer wraps for the new ones.
    async fn a_month_passes(&mut self) -> TestResult {
        self.clock.advance(MONTH)?;
        let [of_prod, of_edge] = &self.primaries;
        self.primaries = [self.prod.until_renewed(of_prod).await?, self.edge.until_renewed(of_edge).await?];
        self.until_offered().await
    }

    /// The operator renews the keys.
    async fn a_month_passes_with_keys_rotate(&mut self) -> TestResult {
        self.clock.advance(SHORT_MONTH)?;
        self.repository.waxseal(&["keys", "rotate", "--context", "prod", "--yes"])?;
        let keys_folder = self.edge.keys();
        self.repository.waxseal(&["keys", "rotate", "--keys-dir", keys_folder.to_str().ok_or("UTF-8")?, "--yes"])?;
        let [of_prod, of_edge] = &self.primaries;
        self.primaries = [self.prod.until_primary_after(of_prod).await?, self.edge.until_renewed(of_edge).await?];
        self.until_offered().await
    }

    async fn until_offered(&mut self) -> TestResult {
        let [of_prod, of_edge] = &self.primaries;
        self.prod.until("offers", |object| has_or_is_offered(object, of_prod)).await?;
        let objects = self.prod.objects();
        self.edge.until("offers", &objects, |object| has_or_is_offered(object, of_edge)).await?;
        self.check(&[]).await
    }

    /// Fetches the keys of both clusters into the repository.
    fn fetch_keys(&self) -> TestResult {
        self.repository.fetch_keys(&self.prod.controller_log())?;
        std::fs::copy(self.edge.keys_file(), self.repository.path(".waxseal/edge.yaml"))?;
        self.repository.commit("Fetch the keys")
    }

    /// Takes the offers of both clusters into the files.
    fn rotate(&self) -> TestResult {
        self.repository.waxseal(&["rotate", "apps", "--context", "prod"])?;
        let offers = self.edge.status_file();
        self.repository.waxseal(&["rotate", "apps", "--offers", offers.to_str().ok_or("UTF-8")?])?;
        self.repository.commit("Rotate")
    }

    /// Rotates the files of `main` on a branch of this name.
    fn rotate_on_branch(&self, name: &str) -> TestResult {
        self.repository.git(&["checkout", "--quiet", "-b", name])?;
        self.fetch_keys()?;
        self.rotate()?;
        self.repository.waxseal(&["rotate", "apps", "--check"])?;
        self.repository.git(&["checkout", "--quiet", "main"])?;
        Ok(())
    }

    /// Merges a branch into `main`. After conflicts, which end with the files of `main`, rotates again.
    async fn merge(&mut self, branch: &str) -> TestResult {
        let conflicts = self.repository.merge(branch)?;
        if conflicts > 0 {
            self.fetch_keys()?;
            self.rotate()?;
        }
        self.deploy(&[]).await
    }

    /// Changes one value in `count` on `main`, with the keys that `main` knows.
    async fn edit_one_in(&mut self, count: u64) -> Result<Vec<Title>, Error> {
        let edited = self.repository.edit_one_in(count)?;
        assert!(!edited.is_empty());
        self.repository.commit("Change values")?;
        self.deploy(&edited).await?;
        Ok(edited)
    }

    async fn assert_all_current(&self) -> TestResult {
        self.prod.until("up-to-date objects", is_current).await?;
        self.edge.until("up-to-date objects", &self.prod.objects(), is_current).await
    }

    /// Somebody else has the private key: it is revoked, a third of the values are new, and the others are sealed
    /// again.
    async fn the_key_of_prod_is_compromised(&mut self) -> TestResult {
        self.clock.advance(SHORT_MONTH)?;
        let [lost, _] = self.primaries.clone();
        self.repository.waxseal(&["keys", "revoke", &lost, "--context", "prod", "--yes"])?;
        self.primaries[0] = self.prod.until_primary_after(&lost).await?;
        self.prod
            .until("a reaction to the revocation", |object| !has_wrap(object, &lost) || is_exposed(object))
            .await?;
        self.check(&[]).await?;

        self.fetch_keys()?;
        let namespace = self.prod.namespaces[0].name().to_owned();
        self.repository.seal_new(&namespace, IN_A_NAMESPACE)?;
        let others: Vec<_> =
            self.prod.namespaces[1..].iter().map(|namespace| format!("apps/{}", namespace.name())).collect();
        let mut arguments = vec!["rotate", "--reseal", "--identity", "../recovery.key"];
        arguments.extend(others.iter().map(String::as_str));
        self.repository.waxseal(&arguments)?;
        self.repository.commit("New values after the compromise")?;
        self.repository.waxseal(&["rotate", "apps", "--check"])?;
        let edited: Vec<_> =
            self.repository.values.keys().filter(|title| title.starts_with(&namespace)).cloned().collect();
        self.deploy(&edited).await?;
        assert!(!self.prod.objects().iter().any(|object| has_wrap(object, &lost)));
        self.prod.keys.until_published(&lost, KeyState::Revoked).await?;
        self.assert_all_current().await
    }

    /// Tries to delete the primary of `prod`, and a Retired key that values still need: both stay.
    fn a_needed_key_stays(&self, key: &str) -> TestResult {
        let [primary, _] = &self.primaries;
        let reasons = [(key, "is still needed by "), (primary.as_str(), "is still in use: its state is Active")];
        for (key, reason) in reasons {
            let refusal = self.repository.refused(3, &["keys", "delete", key, "apps", "--context", "prod", "--yes"])?;
            assert!(refusal.contains(&format!("{key} {reason}")), "{refusal}");
        }
        Ok(())
    }

    /// Deletes a Retired key of `prod` that nothing needs, after the merged branches are gone.
    async fn an_unneeded_key_goes(&mut self, key: &str) -> TestResult {
        self.repository.delete_merged_branches()?;
        self.back_up()?;
        self.prod.until_backed_up(key).await?;
        self.repository.waxseal(&["keys", "delete", key, "apps", "--context", "prod", "--yes"])?;
        self.prod.keys.until_gone(key).await?;
        self.fetch_keys()?;
        self.deploy(&[]).await?;
        self.assert_all_current().await
    }

    /// Writes the keys of `prod` to a new backup.
    fn back_up(&self) -> TestResult {
        let _absent = std::fs::remove_file(self.folder.join("backup.age"));
        self.repository
            .waxseal(&["keys", "backup", "-o", "../backup.age", "--to", "prod", "--context", "prod"])
            .map(drop)
    }

    /// The cluster is gone. A new one gets the keys of the last backup, and then the files. `unbacked` are the Secrets
    /// with values that only a newer key opens: the recovery key gives them a wrap.
    async fn prod_is_lost(&mut self, spare: &'a Cluster, unbacked: &[Title]) -> TestResult {
        let namespaces = prod::install(spare, &self.folder.join("kubeconfig")).await?;
        let restore = ["keys", "restore", "../backup.age", "--identity", "../recovery.key"];
        let into_prod = ["--to", "prod", "--context", "prod", "--no-wait", "--yes"];
        self.repository.waxseal(&[&restore[..], &into_prod].concat())?;
        let restored = Prod::start(self.context, spare, self.clock, &self.recovery_recipient, namespaces).await?;
        self.lost = std::mem::replace(&mut self.prod, restored).namespaces;
        self.prod.apply(&[self.folder.join("deployed/apps")]).await?;
        self.prod
            .until("what the restored keys open", |object| {
                let is_unbacked = unbacked.contains(&prod::title(object));
                reason(object, "Ready").as_deref() == Some(if is_unbacked { "KeyMissing" } else { "Materialised" })
            })
            .await?;

        // The lost key was the only Active one.
        let [lost, of_edge] = self.primaries.clone();
        self.primaries = [self.prod.until_primary_after(&lost).await?, of_edge];
        self.fetch_keys()?;
        self.repository.waxseal(&["rotate", "apps", "--identity", "../recovery.key", "--to", "prod"])?;
        self.repository.commit("Rotate for the restored cluster")?;
        self.ledgers[0] = Ledger::default();
        self.deploy(&[]).await?;
        self.assert_all_current().await
    }

    /// The recovery key removes the wraps of Retired keys.
    async fn wraps_of_old_keys_go(&mut self) -> TestResult {
        self.repository.waxseal(&["rotate", "--prune", "--identity", "../recovery.key", "apps"])?;
        self.repository.commit("Prune")?;
        self.deploy(&[]).await?;
        // The primaries of both clusters, and the recovery key.
        for object in self.prod.objects() {
            assert!(wraps(&object).values().all(|keys| keys.len() == 3), "{:?}", wraps(&object));
        }
        self.assert_all_current().await
    }
}

/// The keys that have a wrap, for each envelope.
fn wraps(object: &SealedSecret) -> BTreeMap<String, BTreeSet<&str>> {
    let envelopes = object.spec.envelopes.iter();
    envelopes.map(|(id, envelope)| (id.clone(), envelope.wraps.keys().map(String::as_str).collect())).collect()
}

fn has_wrap(object: &SealedSecret, key: &str) -> bool {
    wraps(object).values().any(|keys| keys.contains(key))
}

/// Whether each envelope has a wrap for a key, or the status offers one.
fn has_or_is_offered(object: &SealedSecret, key: &str) -> bool {
    let Some(status) = &object.status else { return false };
    let offered = |id: &str| status.rewrapped.get(id).is_some_and(|offer| offer.wraps.contains_key(key));
    wraps(object).iter().all(|(id, keys)| keys.contains(key) || offered(id))
}

/// Whether the status is about exactly these envelopes and wraps, and the Secret is right.
fn is_judged_as_it_is(object: &SealedSecret) -> bool {
    let Some(status) = &object.status else { return false };
    let proven: BTreeMap<_, BTreeSet<_>> =
        status.keys.iter().map(|(id, keys)| (id.clone(), keys.iter().map(String::as_str).collect())).collect();
    proven == wraps(object) && reason(object, "Ready").as_deref() == Some("Materialised")
}

fn is_current(object: &SealedSecret) -> bool {
    is_judged_as_it_is(object) && reason(object, "KeyCurrent").is_none()
}

fn is_exposed(object: &SealedSecret) -> bool {
    reason(object, "KeyCurrent").as_deref() == Some("Exposed")
        || reason(object, "Ready").as_deref() == Some("KeyRevoked")
}

fn reason(object: &SealedSecret, type_: &str) -> Option<String> {
    condition(object, type_).map(|(_, reason, _)| reason)
}
