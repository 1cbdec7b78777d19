//! The workers that reconcile the objects of the work queue.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use waxseal_shared::key_ring::Keys;

use super::objects::Objects;
use super::reconciler::{self, Context};
use super::stopping::stopped;
use super::work_queue::WorkQueue;

/// The number of reconciles that run at the same time. The work queue limits the share of a namespace.
const WORKERS: usize = 32;

/// Starts the workers. When the program stops, each worker finishes its reconcile and ends.
pub(super) fn start(context: &Arc<Context>, queue: &Arc<WorkQueue>, stop: &watch::Receiver<bool>) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(Arc::clone(context), Arc::clone(queue), stop.clone()));
    }
    workers
}

/// Adds all objects to the queue whenever the keys change. Ends only if the sender of the keys is gone.
pub(super) async fn requeue_on_new_keys(mut keys: watch::Receiver<Keys>, objects: Arc<Objects>, queue: Arc<WorkQueue>) {
    while keys.changed().await.is_ok() {
        queue.add(objects.object_keys());
    }
}

async fn work(context: Arc<Context>, queue: Arc<WorkQueue>, mut stop: watch::Receiver<bool>) {
    loop {
        let key = tokio::select! {
            key = queue.next() => key,
            () = stopped(&mut stop) => return,
        };
        let delay = reconciler::reconcile(&key, &context).await;
        queue.done(key, delay.map(|delay| Instant::now() + delay));
        if *stop.borrow() {
            return;
        }
    }
}
