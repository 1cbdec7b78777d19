//! The Kubernetes backend: reads SealedSecrets from the API server and writes Secrets to it.

mod answer_deadlines;
mod api_failure;
mod cluster_choice;
#[cfg(test)]
mod fake_server;
mod fetching;
mod identity_secret;
mod key_use;
mod keys;
mod lists;
mod metrics;
mod object_key;
mod objects;
mod orphans;
mod own_status;
mod reconciler;
mod record_cache;
mod records;
mod rejected_writes;
mod restore_detection;
mod retry_delays;
mod scope;
mod secret_object;
mod server;
mod status_patch;
mod stopping;
mod watch_failures;
mod watches;
mod work_queue;
mod workers;

use std::error::Error;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use waxseal_shared::key_ring::Keys;

use crate::args;
use crate::kubernetes::fetching::LargeObjects;
use crate::kubernetes::keys::{KeyContext, KeySource, events};
use crate::kubernetes::metrics::Metrics;
use crate::kubernetes::objects::Objects;
use crate::kubernetes::reconciler::Context;
use crate::kubernetes::records::{SealedSecretParts, SecretParts, Unrecorded};
use crate::kubernetes::restore_detection::RestoreDetection;
use crate::kubernetes::scope::ServedScope;
use crate::kubernetes::server::{Port, Readiness};
use crate::kubernetes::stopping::StopSignals;
use crate::kubernetes::watch_failures::Refusals;
use crate::kubernetes::watches::Watches;
use crate::kubernetes::work_queue::WorkQueue;

/// Runs until SIGTERM or SIGINT, and then waits for the reconciles that run.
#[tokio::main]
pub(crate) async fn run(args: args::Kubernetes) -> Result<(), Box<dyn Error>> {
    let recovery = args.recovery.read()?;
    let (client, last_contact, key_namespace) = cluster_choice::connect(&args).await?;
    let signals = StopSignals::handle()?;
    let (probe_listener, address) = server::bind(&args.probe_addresses())?;
    let (metrics_listener, metrics_address) = server::bind(&args.metrics_addresses())?;

    let scopes = ServedScope::of(&args.namespaces);
    let objects = Arc::new(Objects::new(Arc::clone(&scopes)));
    let queue = Arc::new(WorkQueue::new());
    let (keys_sender, keys) = watch::channel(Keys::Loading);
    let metrics = Arc::new(Metrics::new(Arc::clone(&objects), keys.clone(), Arc::clone(&last_contact)));
    let restore_detection = Arc::new(RestoreDetection::new(Arc::clone(&objects)));
    let refusals = Arc::new(Refusals::default());
    let watches =
        Watches::new(client.clone(), Arc::clone(&restore_detection), Arc::clone(&metrics), Arc::clone(&refusals));
    let (stop_sender, stop) = watch::channel(false);
    let keys_changed = Arc::new(Notify::new());
    let readiness = Readiness { objects: Arc::clone(&objects), keys: keys.clone(), last_contact, refusals };
    let context = Arc::new(Context {
        client: client.clone(),
        keys: keys.clone(),
        forbidden: args.forbidden.metadata,
        objects: Arc::clone(&objects),
        metrics: Arc::clone(&metrics),
        large_objects: LargeObjects::new(),
    });

    let namespaces = scope::listing(&*scopes);
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(%address, %metrics_address, key_namespace, namespaces, version, "started");
    let mut tasks = JoinSet::new();
    tasks.spawn(server::serve(probe_listener, Port::Probes(readiness)));
    tasks.spawn(server::serve(metrics_listener, Port::Metrics(Arc::clone(&metrics))));
    let generation = args.key_life.generation();
    let (events, waiting_events) = events::channel();
    tasks.spawn(events::write(client.clone(), key_namespace.clone(), waiting_events));
    let key_context = KeyContext {
        client: client.clone(),
        namespace: key_namespace.clone(),
        scopes: Arc::clone(&scopes),
        changed: Arc::clone(&keys_changed),
        objects: Arc::clone(&objects),
        metrics,
        events,
    };
    tasks.spawn(KeySource::new(key_context, generation, recovery).run(keys_sender));
    for (kind, selection) in [
        ("identity Secrets", keys::identity_secrets(&key_namespace)),
        ("SealingKeys", keys::sealing_keys(&key_namespace)),
    ] {
        let keys_changed = Arc::clone(&keys_changed);
        tasks.spawn(watches.clone().follow::<Unrecorded, _>(kind, selection, move |_| keys_changed.notify_one()));
    }
    for scope in &*scopes {
        tasks.spawn(watches.clone().follow::<SealedSecretParts, _>("SealedSecrets", records::sealed_secrets(scope), {
            let (objects, queue) = (Arc::clone(&objects), Arc::clone(&queue));
            move |event| queue.add(objects.record_sealed_secrets(event))
        }));
        tasks.spawn(watches.clone().follow::<SecretParts, _>("Secrets", records::marked_secrets(scope), {
            let (objects, queue) = (Arc::clone(&objects), Arc::clone(&queue));
            move |event| queue.add(objects.record_secrets(event))
        }));
    }
    tasks.spawn(restore_detection::check(client, key_namespace, restore_detection));
    tasks.spawn(workers::requeue_on_new_keys(keys, Arc::clone(&objects), Arc::clone(&queue)));
    tasks.spawn(orphans::report(objects));
    let workers = workers::start(&context, &queue, &stop);
    Ok(stopping::supervise(tasks, workers, signals, stop_sender).await?)
}
