//! The order of reconciles: namespaces take turns, and the objects of a namespace come in the order in which they were
//! added.
//!
//! An object is in the queue once, however often it is added, and two reconciles of it never run at the same time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::object_key::ObjectKey;

/// The largest number of reconciles of one namespace that run at the same time: half of the workers. The other half
/// serves the other namespaces while one namespace has large objects.
const MAX_RUNNING_PER_NAMESPACE: usize = 16;

/// The queue that the watches fill and the workers empty.
pub(super) struct WorkQueue {
    turns: Mutex<Turns>,
    changed: Notify,
}

impl WorkQueue {
    pub(super) fn new() -> Self {
        Self { turns: Mutex::new(Turns::default()), changed: Notify::new() }
    }

    /// Adds objects: each is reconciled when its turn comes.
    pub(super) fn add(&self, keys: impl IntoIterator<Item = ObjectKey>) {
        let mut turns = self.lock();
        keys.into_iter().for_each(|key| turns.add(key));
        drop(turns);
        self.changed.notify_waiters();
    }

    /// Waits for the next object. Its reconcile runs until [`done`](Self::done) is called.
    pub(super) async fn next(&self) -> ObjectKey {
        loop {
            let changed = self.changed.notified();
            let mut changed = std::pin::pin!(changed);
            // Before the check: a change between the check and the wait must wake this worker.
            changed.as_mut().enable();
            let due = {
                let mut turns = self.lock();
                if let Some(key) = turns.take(Instant::now()) {
                    return key;
                }
                turns.next_due()
            };
            match due {
                None => changed.await,
                // A change and a timeout have the same effect: check again.
                Some(due) => drop(tokio::time::timeout_at(due, changed).await),
            }
        }
    }

    /// Ends the reconcile of an object. The next one starts at `requeue_at`, or when the object is added.
    pub(super) fn done(&self, key: ObjectKey, requeue_at: Option<Instant>) {
        self.lock().done(key, requeue_at);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Turns {
    /// The namespaces that wait, in the order of their turns.
    namespaces: VecDeque<Arc<str>>,
    /// The objects that wait, by namespace; no queue is empty.
    waiting: HashMap<Arc<str>, VecDeque<ObjectKey>>,
    /// All objects of `waiting`.
    queued: HashSet<ObjectKey>,
    /// The objects whose reconcile runs, and whether they were added again since it started.
    active: HashMap<ObjectKey, bool>,
    /// The number of reconciles that run, by namespace.
    busy: HashMap<Arc<str>, usize>,
    /// The times of requeued objects. An entry of `by_time` that differs from `later` is ignored.
    later: HashMap<ObjectKey, Instant>,
    by_time: BinaryHeap<Reverse<(Instant, ObjectKey)>>,
}

impl Turns {
    fn add(&mut self, key: ObjectKey) {
        self.later.remove(&key);
        if let Some(is_added_again) = self.active.get_mut(&key) {
            *is_added_again = true;
            return;
        }
        if !self.queued.insert(key.clone()) {
            return;
        }
        let waiting = self.waiting.entry(Arc::clone(&key.namespace)).or_default();
        if waiting.is_empty() {
            self.namespaces.push_back(Arc::clone(&key.namespace));
        }
        waiting.push_back(key);
    }

    fn take(&mut self, now: Instant) -> Option<ObjectKey> {
        self.add_due(now);
        let has_room =
            |namespace: &Arc<str>| self.busy.get(namespace).is_none_or(|busy| *busy < MAX_RUNNING_PER_NAMESPACE);
        let turn = self.namespaces.iter().position(has_room)?;
        let namespace = self.namespaces.remove(turn)?;
        let waiting = self.waiting.get_mut(&namespace)?;
        let key = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting.remove(&namespace);
        } else {
            self.namespaces.push_back(namespace);
        }
        self.queued.remove(&key);
        *self.busy.entry(Arc::clone(&key.namespace)).or_default() += 1;
        self.active.insert(key.clone(), false);
        Some(key)
    }

    fn done(&mut self, key: ObjectKey, requeue_at: Option<Instant>) {
        if let Some(busy) = self.busy.get_mut(&key.namespace) {
            *busy -= 1;
            if *busy == 0 {
                self.busy.remove(&key.namespace);
            }
        }
        if self.active.remove(&key) == Some(true) {
            self.add(key);
        } else if let Some(time) = requeue_at {
            self.later.insert(key.clone(), time);
            self.by_time.push(Reverse((time, key)));
        }
    }

    fn add_due(&mut self, now: Instant) {
        while let Some(Reverse((time, _))) = self.by_time.peek()
            && *time <= now
        {
            let Some(Reverse((time, key))) = self.by_time.pop() else {
                return;
            };
            if self.later.get(&key) == Some(&time) {
                self.add(key);
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        self.by_time.peek().map(|Reverse((time, _))| *time)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(text: &str) -> ObjectKey {
        let (namespace, name) = text.split_once('/').expect("namespace/name");
        ObjectKey::new(namespace, name)
    }

    fn turns(keys: &[&str]) -> Turns {
        let mut turns = Turns::default();
        keys.iter().for_each(|text| turns.add(key(text)));
        turns
    }

    fn take_all(turns: &mut Turns) -> Vec<String> {
        let now = Instant::now();
        std::iter::from_fn(|| turns.take(now)).map(|key| format!("{}/{}", key.namespace, key.name)).collect()
    }

    #[test]
    fn namespaces_take_turns_and_their_objects_keep_their_order() {
        let mut turns = turns(&["flood/1", "flood/2", "flood/3", "shop/1", "flood/4", "shop/2"]);
        assert_eq!(take_all(&mut turns), ["flood/1", "shop/1", "flood/2", "shop/2", "flood/3", "flood/4"]);
    }

    #[test]
    fn a_namespace_leaves_workers_to_others() {
        let flood: Vec<_> = (0..MAX_RUNNING_PER_NAMESPACE + 2).map(|number| format!("flood/{number}")).collect();
        let mut turns = turns(&flood.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(take_all(&mut turns).len(), MAX_RUNNING_PER_NAMESPACE);
        turns.add(key("shop/db"));
        assert_eq!(take_all(&mut turns), ["shop/db"]);
        turns.done(key("flood/0"), None);
        assert_eq!(take_all(&mut turns), [format!("flood/{MAX_RUNNING_PER_NAMESPACE}")]);
    }

    #[test]
    fn an_object_is_queued_once_and_taken_by_one_worker() {
        let mut turns = turns(&["shop/db", "shop/db"]);
        let now = Instant::now();
        assert_eq!(turns.take(now), Some(key("shop/db")));
        turns.add(key("shop/db"));
        turns.add(key("shop/db"));
        assert_eq!(turns.take(now), None);
        turns.done(key("shop/db"), None);
        assert_eq!(take_all(&mut turns), ["shop/db"]);
    }

    #[test]
    fn a_requeued_object_comes_at_its_time_unless_it_is_added_before() {
        let now = Instant::now();
        let soon = now + Duration::from_secs(1);
        let mut turns = turns(&["shop/db", "shop/web"]);
        for _ in 0..2 {
            let key = turns.take(now).expect("two are queued");
            turns.done(key, Some(soon));
        }
        assert_eq!((turns.take(now), turns.next_due()), (None, Some(soon)));
        turns.add(key("shop/web"));
        assert_eq!(turns.take(now), Some(key("shop/web")));
        turns.done(key("shop/web"), None);
        assert_eq!(turns.take(soon), Some(key("shop/db")));
        assert_eq!((turns.take(soon), turns.next_due()), (None, None));
    }

    #[tokio::test]
    async fn a_waiting_worker_gets_added_and_requeued_objects() {
        let queue = Arc::new(WorkQueue::new());
        let worker = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move {
                let first = queue.next().await;
                queue.done(first.clone(), Some(Instant::now() + Duration::from_millis(20)));
                (first, queue.next().await)
            }
        });
        tokio::task::yield_now().await;
        queue.add([key("shop/db")]);
        assert_eq!(worker.await.expect("no panic"), (key("shop/db"), key("shop/db")));
    }
}
