//! The form of a test: a name, and a function from the context to a result.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use libtest_mimic::{Failed, Trial};
use tokio::sync::{Semaphore, SemaphorePermit};
use waxseal_tests::assets::Assets;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::image::{self, Image};
use waxseal_tests::installation::{self, Controller};
use waxseal_tests::programs::Programs;
use waxseal_tests::python::Python;
use waxseal_tests::report;
use waxseal_tests::typage::Typage;

use crate::rights;

/// The cluster, the controller and the programs that all tests share.
pub(crate) struct Context {
    /// The controller of the shared cluster. It is dropped before the cluster.
    pub(crate) controller: Controller,
    /// The cluster's public keys, as `waxseal keys fetch` wrote them.
    pub(crate) keys_file: PathBuf,
    pub(crate) cluster: Cluster,
    /// Started by the first test that needs it.
    pub(crate) namespaced_cluster: Mutex<Option<Arc<Cluster>>>,
    /// Built by the first test that needs it.
    pub(crate) image: Mutex<Option<Image>>,
    pub(crate) programs: Programs,
    pub(crate) assets: Assets,
    pub(crate) typage: Typage,
    pub(crate) python: Python,
}

impl Context {
    /// Returns the cluster that the tests of [`Test::on_namespaced_cluster`] share; the first call starts it. No
    /// controller on it serves all namespaces.
    fn namespaced_cluster(&self) -> Result<Arc<Cluster>, Error> {
        let mut started = self.namespaced_cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = &*started {
            return Ok(Arc::clone(cluster));
        }
        let cluster = Cluster::start(&self.assets.kubernetes, &installation::definitions()?)?;
        Ok(Arc::clone(started.insert(Arc::new(cluster))))
    }

    /// The image of `deploy/image`.
    pub(crate) fn image(&self) -> Result<Image, Error> {
        let mut built = self.image.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(image) = &*built {
            return Ok(image.clone());
        }
        Ok(built.insert(image::build(&self.cluster.folder().join("image"))?).clone())
    }
}

impl Context {
    /// Fails if a controller on a shared cluster asked for anything that is not among its rights.
    pub(crate) fn check_audit_logs(&self) -> TestResult {
        rights::nothing_else_was_asked_for(&self.cluster)?;
        let namespaced = self.namespaced_cluster.lock().unwrap_or_else(PoisonError::into_inner);
        namespaced.as_ref().map_or(Ok(()), |cluster| rights::nothing_else_was_asked_for(cluster))
    }
}

/// A test may fail with any error, also a string, or by a panic.
pub(crate) type TestResult = Result<(), Error>;
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// How many tests at once may run clusters of their own. Each takes most of a processor when it starts, and deadlines
/// of other tests would pass meanwhile.
static OWN_CLUSTERS: Semaphore = Semaphore::const_new(4);

/// Waits until the test may start a cluster of its own.
pub(crate) fn own_cluster_slot() -> Result<SemaphorePermit<'static>, Error> {
    Ok(futures::executor::block_on(OWN_CLUSTERS.acquire())?)
}

/// A test that runs when the context is ready.
pub(crate) struct Test {
    name: &'static str,
    run: Box<dyn FnOnce(&Context) -> TestResult + Send>,
}

impl Test {
    /// A test on the shared cluster. It runs on the cluster's runtime.
    pub(crate) fn new(name: &'static str, run: impl AsyncFnOnce(&Context) -> TestResult + Send + 'static) -> Self {
        Self::blocking(name, |context| context.cluster.block_on(run(context)))
    }

    /// A test on a cluster of its own, on which no controller runs at first. The test also fails if a controller asked
    /// for anything that is not among its rights.
    pub(crate) fn on_own_cluster(
        name: &'static str,
        run: impl AsyncFnOnce(&Context, &Cluster) -> TestResult + Send + 'static,
    ) -> Self {
        Self::blocking(name, |context| {
            let _slot = own_cluster_slot()?;
            let cluster = Cluster::start(&context.assets.kubernetes, &installation::definitions()?)?;
            cluster.block_on(run(context, &cluster))?;
            rights::nothing_else_was_asked_for(&cluster)
        })
    }

    /// A test of controllers that serve only some namespaces, on a cluster that it shares with others of its kind.
    pub(crate) fn on_namespaced_cluster(
        name: &'static str,
        run: impl AsyncFnOnce(&Context, &Cluster) -> TestResult + Send + 'static,
    ) -> Self {
        Self::blocking(name, |context| {
            let cluster = context.namespaced_cluster()?;
            cluster.block_on(run(context, &cluster))
        })
    }

    /// Like [`on_own_cluster`](Self::on_own_cluster), with the admission plugin that OpenShift enables.
    pub(crate) fn on_cluster_as_in_openshift(
        name: &'static str,
        run: impl AsyncFnOnce(&Context, &Cluster) -> TestResult + Send + 'static,
    ) -> Self {
        Self::blocking(name, |context| {
            let _slot = own_cluster_slot()?;
            let cluster = Cluster::start_as_in_openshift(&context.assets.kubernetes, &installation::definitions()?)?;
            cluster.block_on(run(context, &cluster))?;
            rights::nothing_else_was_asked_for(&cluster)
        })
    }

    /// A test outside of any async runtime, on the shared cluster or on one that it starts itself.
    pub(crate) fn blocking(name: &'static str, run: impl FnOnce(&Context) -> TestResult + Send + 'static) -> Self {
        Self { name, run: Box::new(run) }
    }

    /// Converts the test for the test runner. The context must be set before the trial runs.
    pub(crate) fn into_trial(self, context: &Arc<OnceLock<Context>>) -> Trial {
        let context = Arc::clone(context);
        Trial::test(self.name, move || {
            let context = context.get().ok_or("the tests were not prepared")?;
            (self.run)(context).map_err(|error| Failed::from(report(&*error)))
        })
    }
}
