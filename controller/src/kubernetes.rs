//! The Kubernetes backend: carries plans out through the API server.

mod api_failure;
mod client;
mod identity_secret;
mod keys;
mod metrics;
mod reconciler;
mod retry_delays;
mod secret_object;
mod server;
mod settled_objects;
mod status_patch;
mod watch_backoff;

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::Config;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, Predicate, PredicateConfig, WatchStreamExt, predicates, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use waxseal_shared::plan::MARK_LABEL;
use waxseal_shared::sealed_secret::SealedSecret;

use crate::args;
use crate::kubernetes::keys::KeySource;
use crate::kubernetes::metrics::Metrics;
use crate::kubernetes::reconciler::Context;
use crate::kubernetes::watch_backoff::WatchBackoff;

/// A SealedSecret, or what is known of one that does not decode: one bad object must not stop the
/// watch of all others.
type WatchedObject = DeserializeGuard<SealedSecret>;

/// Reconciles at most this many objects at once: enough to keep an API server busy.
const CONCURRENCY: u16 = 16;

/// What has begun when the controller is told to stop has this long to end: less than the 30 s that
/// Kubernetes gives a Pod.
const GRACE: Duration = Duration::from_secs(20);

/// Objects that are gone are forgotten this often.
const FORGETTING_INTERVAL: Duration = Duration::from_secs(15);

/// A watch that goes on failing in the same way says so this often.
const COMPLAINT_INTERVAL: Duration = Duration::from_mins(1);

/// Runs until SIGTERM or SIGINT; finishes what it has begun.
#[tokio::main]
pub(crate) async fn run(args: args::Kubernetes) -> Result<(), Box<dyn Error>> {
    let (client, key_namespace) = client::connect(&args).await?;
    let stop = stop_signal()?;
    let metrics = Arc::new(Metrics::new());
    let (keys_sender, keys) = watch::channel(keys::KeyState::Loading);
    let (store, writer) = reflector::store();
    let (secrets, secrets_writer) = reflector::store();
    let (secrets_listed, secrets_listings) = watch::channel(());
    let (server, address) = server::bind(&args.listen_addresses())?;
    let forbidden = args.forbidden.metadata;
    let context = Arc::new(Context::new(client.clone(), keys.clone(), forbidden, secrets, Arc::clone(&metrics)));

    tracing::info!(%address, key_namespace, version = env!("CARGO_PKG_VERSION"), "started");
    let serving = tokio::spawn(server::serve(server, store.clone(), keys.clone(), Arc::clone(&metrics)));
    let keeping_keys = tokio::spawn(KeySource::new(client.clone(), &key_namespace).run(keys_sender));
    let forgetting = tokio::spawn(forget_what_is_gone(store.clone(), Arc::clone(&context)));

    let sealed_secrets = sealed_secrets(client.clone(), writer, Arc::clone(&metrics));
    let marked_secrets = marked_secrets(client, secrets_writer, secrets_listed, metrics);
    let controller = Controller::for_stream(sealed_secrets, store.clone())
        .watches_stream(marked_secrets, of_the_same_name)
        .reconcile_all_on(changes(secrets_listings))
        .reconcile_all_on(changes(keys))
        .with_config(Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(told_to_stop(stop.clone()))
        .run(reconciler::reconcile, reconciler::on_error, context)
        .for_each(|_| std::future::ready(()));
    tokio::select! {
        () = controller => {}
        () = out_of_patience(stop, store) => {}
    }

    forgetting.abort();
    keeping_keys.abort();
    serving.abort();
    tracing::info!("stopped");
    Ok(())
}

/// Every change of a SealedSecret that can change what is to be done; our own status writes are
/// none.
fn sealed_secrets(
    client: Client,
    writer: reflector::store::Writer<WatchedObject>,
    metrics: Arc<Metrics>,
) -> impl futures::Stream<Item = Result<WatchedObject, watcher::Error>> {
    watcher(Api::<WatchedObject>::all(client), watcher::Config::default())
        .backoff(WatchBackoff::default())
        .modify(|object| {
            let metadata = match &mut object.0 {
                Ok(sealed) => &mut sealed.metadata,
                Err(invalid) => &mut invalid.metadata,
            };
            metadata.managed_fields = None;
        })
        .reflect(writer)
        .applied_objects()
        .predicate_filter(predicates::generation.combine(predicates::finalizers), PredicateConfig::default())
        .inspect_err(complain("SealedSecrets", metrics))
        .filter(is_item)
}

/// Every change and deletion of a Secret that carries the mark; metadata only.
///
/// `listed` is told of every complete list: a Secret that was deleted while nothing was watched is
/// just not in it.
fn marked_secrets(
    client: Client,
    writer: reflector::store::Writer<PartialObjectMeta<Secret>>,
    listed: watch::Sender<()>,
    metrics: Arc<Metrics>,
) -> impl futures::Stream<Item = Result<PartialObjectMeta<Secret>, watcher::Error>> {
    watcher(Api::<PartialObjectMeta<Secret>>::all(client), watcher::Config::default().labels(MARK_LABEL))
        .backoff(WatchBackoff::default())
        .modify(|secret| secret.metadata.managed_fields = None)
        .reflect(writer)
        .inspect_ok(move |event| {
            if matches!(event, watcher::Event::InitDone) {
                listed.send_replace(());
            }
        })
        .touched_objects()
        .inspect_err(complain("Secrets", metrics))
        .filter(is_item)
}

/// The SealedSecret that a marked Secret is for, whatever its owner references say: they may have
/// been taken away.
fn of_the_same_name(secret: PartialObjectMeta<Secret>) -> Option<ObjectRef<WatchedObject>> {
    let namespace = secret.namespace()?;
    Some(ObjectRef::new(&secret.name_any()).within(&namespace))
}

/// Failures end here: for the failure of one watch the library's controller holds up all of them.
fn is_item<T>(item: &Result<T, watcher::Error>) -> std::future::Ready<bool> {
    std::future::ready(item.is_ok())
}

/// Counts every failure of a watch, and logs it if it is news or the last line is a minute old.
fn complain(kind: &'static str, metrics: Arc<Metrics>) -> impl FnMut(&watcher::Error) {
    let mut last: Option<(Instant, String)> = None;
    move |error| {
        metrics.count_watch_failure(kind);
        let failure = watch_failure(error);
        if last.as_ref().is_some_and(|(at, said)| *said == failure && at.elapsed() < COMPLAINT_INTERVAL) {
            return;
        }
        tracing::warn!("watching {kind} failed, trying again: {failure}");
        last = Some((Instant::now(), failure));
    }
}

/// Keeps what is remembered of objects from growing with those that are long gone.
async fn forget_what_is_gone(store: reflector::Store<WatchedObject>, context: Arc<Context>) {
    let mut interval = tokio::time::interval(FORGETTING_INTERVAL);
    loop {
        interval.tick().await;
        context.retain(|key| {
            let watched = ObjectRef::new(&key.name).within(key.namespace.as_deref().unwrap_or_default());
            store.get(&watched).is_some()
        });
    }
}

/// What is safe to say of a failed watch: the server's code and reason, or the kind of failure.
fn watch_failure(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => api_failure::describe(error),
        watcher::Error::WatchError(status) => format!("HTTP {} {}", status.code, status.reason),
        watcher::Error::NoResourceVersion => "the API server sent no resourceVersion".to_owned(),
    }
}

/// One item for each change of what all objects depend on.
fn changes<T>(receiver: watch::Receiver<T>) -> impl futures::Stream<Item = ()> {
    futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        Some(((), receiver))
    })
}

/// Becomes true at the first SIGTERM or SIGINT.
fn stop_signal() -> Result<watch::Receiver<bool>, std::io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: finishing what has begun");
        sender.send_replace(true);
    });
    Ok(receiver)
}

async fn told_to_stop(mut stop: watch::Receiver<bool>) {
    // An error means that nobody is left to tell, which ends the program too.
    let _ = stop.wait_for(|is_told| *is_told).await;
}

/// Ends when what has begun has had its time, or nothing can have begun: the library waits for the
/// first list, also of an API server that never answers.
async fn out_of_patience(stop: watch::Receiver<bool>, store: reflector::Store<WatchedObject>) {
    told_to_stop(stop).await;
    if store.wait_until_ready().now_or_never().is_some() {
        tokio::time::sleep(GRACE).await;
    }
}
