//! The Kubernetes backend: carries plans out through the API server.

mod api_failure;
mod client;
mod connection;
mod fetching;
mod identity_secret;
mod keys;
mod lists;
mod metrics;
mod mirror;
mod object_key;
mod objects;
mod reconciler;
mod retry_delays;
mod secret_object;
mod server;
mod server_version;
mod status_patch;
mod stopping;
mod watch_failures;
mod watches;
mod work_queue;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Client, Resource};
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use waxseal_shared::api_group::MARK_LABEL;
use waxseal_shared::key_ring::Keys;
use waxseal_shared::sealed_secret::SealedSecret;

use crate::args;
use crate::kubernetes::fetching::LargeObjects;
use crate::kubernetes::keys::KeySource;
use crate::kubernetes::lists::{Content, Selection};
use crate::kubernetes::metrics::Metrics;
use crate::kubernetes::objects::{Objects, SealedSecretNews, SecretNews, VersionNews};
use crate::kubernetes::reconciler::Context;
use crate::kubernetes::server::Readiness;
use crate::kubernetes::server_version::ServerVersion;
use crate::kubernetes::watch_failures::WatchFailures;
use crate::kubernetes::work_queue::WorkQueue;

/// Looks at this many objects at once. No namespace can take all of it: see the work queue.
const WORKERS: usize = 32;
/// Secrets without a SealedSecret are searched for this often.
const ORPHAN_INTERVAL: Duration = Duration::from_secs(10);

/// A task that runs for ever has ended.
#[derive(Debug, Error)]
#[error("a task of the controller ended unexpectedly")]
struct TaskEnded(#[source] Option<tokio::task::JoinError>);

/// Runs until SIGTERM or SIGINT; finishes what it has begun.
#[tokio::main]
pub(crate) async fn run(args: args::Kubernetes) -> Result<(), Box<dyn Error>> {
    let (client, last_contact, key_namespace) = client::connect(&args).await?;
    let mut stop = stopping::stop_signal()?;
    let (keys_sender, keys) = watch::channel(Keys::Loading);
    let objects = Arc::new(Objects::new());
    let queue = Arc::new(WorkQueue::new());
    let server_version = Arc::new(ServerVersion::new({
        let objects = Arc::clone(&objects);
        move || objects.clear()
    }));
    let metrics = Arc::new(Metrics::new(Arc::clone(&objects), Arc::clone(&last_contact)));
    let (listener, address) = server::bind(&args.listen_addresses())?;
    let context = Arc::new(Context {
        client: client.clone(),
        keys: keys.clone(),
        forbidden: args.forbidden.metadata,
        objects: Arc::clone(&objects),
        metrics: Arc::clone(&metrics),
        large_objects: LargeObjects::new(),
    });

    tracing::info!(%address, key_namespace, version = env!("CARGO_PKG_VERSION"), "started");
    let mut tasks = JoinSet::new();
    let readiness = Readiness { objects: Arc::clone(&objects), keys: keys.clone(), last_contact };
    tasks.spawn(server::serve(listener, readiness, Arc::clone(&metrics)));
    let keys_changed = Arc::new(Notify::new());
    tasks.spawn(KeySource::new(client.clone(), &key_namespace, Arc::clone(&keys_changed)).run(keys_sender));
    for (kind, selection) in [
        ("identity Secrets", keys::identity_secrets(&key_namespace)),
        ("SealingKeys", keys::sealing_keys(&key_namespace)),
    ] {
        let failures = WatchFailures::new(kind, Arc::clone(&metrics));
        tasks.spawn(watch_keys(
            client.clone(),
            selection,
            Arc::clone(&server_version),
            failures,
            Arc::clone(&keys_changed),
        ));
    }
    tasks.spawn(watch_sealed_secrets(Arc::clone(&context), Arc::clone(&queue), Arc::clone(&server_version)));
    tasks.spawn(watch_secrets(Arc::clone(&context), Arc::clone(&queue), Arc::clone(&server_version)));
    tasks.spawn(check_server_version(client, server_version));
    tasks.spawn(look_again_with_new_keys(keys, Arc::clone(&objects), Arc::clone(&queue)));
    tasks.spawn(report_orphans(objects));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(Arc::clone(&context), Arc::clone(&queue), stop.clone()));
    }
    tokio::select! {
        ended = tasks.join_next() => return Err(TaskEnded(ended.and_then(Result::err)).into()),
        ended = first_failure(&mut workers) => return Err(TaskEnded(Some(ended)).into()),
        () = stopping::told_to_stop(&mut stop) => {}
    }
    stopping::wait_for(workers).await;
    tracing::info!("stopped");
    Ok(())
}

async fn watch_sealed_secrets(context: Arc<Context>, queue: Arc<WorkQueue>, server_version: Arc<ServerVersion>) {
    let path = SealedSecret::url_path(&(), None);
    let selection = Selection { path, labels: None, fields: None, content: Content::Whole };
    let failures = WatchFailures::new("SealedSecrets", Arc::clone(&context.metrics));
    watches::follow::<SealedSecretNews, _>(context.client.clone(), selection, &server_version, failures, |event| {
        queue.add(context.objects.see_sealed_secrets(event));
    })
    .await;
}

async fn watch_secrets(context: Arc<Context>, queue: Arc<WorkQueue>, server_version: Arc<ServerVersion>) {
    let path = Secret::url_path(&(), None);
    let selection = Selection { path, labels: Some(MARK_LABEL), fields: None, content: Content::Metadata };
    let failures = WatchFailures::new("Secrets", Arc::clone(&context.metrics));
    watches::follow::<SecretNews, _>(context.client.clone(), selection, &server_version, failures, |event| {
        queue.add(context.objects.see_secrets(event));
    })
    .await;
}

/// Tells of every change of a selection; what is changed is read by who is told.
async fn watch_keys(
    client: Client,
    selection: Selection,
    server_version: Arc<ServerVersion>,
    failures: WatchFailures,
    changed: Arc<Notify>,
) {
    watches::follow::<VersionNews, _>(client, selection, &server_version, failures, |_| changed.notify_one()).await;
}

async fn check_server_version(client: Client, server_version: Arc<ServerVersion>) {
    let path = SealedSecret::url_path(&(), None);
    server_version.check(&client, &path).await;
}

async fn look_again_with_new_keys(mut keys: watch::Receiver<Keys>, objects: Arc<Objects>, queue: Arc<WorkQueue>) {
    while keys.changed().await.is_ok() {
        queue.add(objects.keys());
    }
}

/// Looks at one object after the other until it is told to stop.
async fn work(context: Arc<Context>, queue: Arc<WorkQueue>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = context.objects.listed() => {}
        () = stopping::told_to_stop(&mut stop) => return,
    }
    loop {
        let key = tokio::select! {
            key = queue.next() => key,
            () = stopping::told_to_stop(&mut stop) => return,
        };
        let delay = reconciler::reconcile(&key, &context).await;
        queue.done(key, delay.map(|delay| Instant::now() + delay));
        if *stop.borrow() {
            return;
        }
    }
}

/// A Secret of ours without an owner outlives its SealedSecret, so somebody has to delete it.
async fn report_orphans(objects: Arc<Objects>) {
    loop {
        tokio::time::sleep(ORPHAN_INTERVAL).await;
        for key in objects.new_orphans() {
            let (namespace, name) = (&*key.namespace, &*key.name);
            tracing::warn!(
                namespace,
                name,
                "this Secret was made by Waxseal, its SealedSecret is gone, and it has no owner: nothing deletes it"
            );
        }
    }
}

/// Waits for a worker to panic: workers end in no other way before they are told to.
async fn first_failure(workers: &mut JoinSet<()>) -> tokio::task::JoinError {
    while let Some(ended) = workers.join_next().await {
        if let Err(error) = ended {
            return error;
        }
    }
    std::future::pending().await
}
