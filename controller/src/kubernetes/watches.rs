//! Following all objects of one kind: a complete list, then watches that continue from its version.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use kube::Client;
use kube::core::params::WatchParams;
use kube::core::{Request, Status};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::answer_deadlines::WATCH_SECONDS;
use super::lists::{self, Extent, Selection};
use super::metrics::Metrics;
use super::object_key::ObjectKey;
use super::record_cache::{Event, ResourceVersion};
use super::restore_detection::RestoreDetection;
use super::watch_failures::{Refusals, SHORTEST_WATCH, WatchFailures};

/// The next complete list follows after this time, or up to a tenth later: it repairs what a watch has missed.
const LIST_INTERVAL: Duration = Duration::from_mins(10);
/// The longest line of a watch in bytes: etcd stores no object of more than 1.5 MiB.
const LONGEST_EVENT: u64 = 4 * 1024 * 1024;
/// The memory in bytes that a watch keeps from line to line: there can be two watches for each namespace.
const KEPT_FOR_LINES: usize = 64 * 1024;
/// The number of lists that run at the same time, each with a page in memory.
const LISTS_AT_ONCE: usize = 4;

/// One line of a watch.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: EventKind,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum EventKind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

/// The part that bookmarks and objects share.
#[derive(Deserialize)]
struct ObjectVersion {
    metadata: VersionedMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionedMetadata {
    #[serde(default)]
    resource_version: String,
}

/// How a list or a watch ended.
enum End {
    /// The list is complete.
    Listed,
    /// The watch ended: its time was up, or the stream ended earlier. The next watch continues from the last version.
    StreamEnded,
    /// A complete list is needed: the list interval is over, the version of the watch is too old, or the API server was
    /// restored to an earlier state.
    ListAgain,
}

/// What all watches need.
#[derive(Clone)]
pub(super) struct Watches {
    client: Client,
    restore_detection: Arc<RestoreDetection>,
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
    lists: Arc<Semaphore>,
}

impl Watches {
    pub(super) fn new(
        client: Client,
        restore_detection: Arc<RestoreDetection>,
        metrics: Arc<Metrics>,
        refusals: Arc<Refusals>,
    ) -> Self {
        Self { client, restore_detection, metrics, refusals, lists: Arc::new(Semaphore::new(LISTS_AT_ONCE)) }
    }

    /// Calls `on` with every event of the objects that are selected. Never ends.
    ///
    /// `N` selects the parts of each object that are read. `kind` names the objects in log lines and metrics. After a
    /// failure it waits ([`WatchFailures`]) and lists again.
    pub(super) async fn follow<N, R>(self, kind: &'static str, selection: Selection, mut on: impl FnMut(Event<R>))
    where
        N: DeserializeOwned + Into<(ObjectKey, R)>,
    {
        let Self { client, restore_detection, metrics, refusals, lists } = self;
        let mut failures = WatchFailures::new(kind, &selection.scope, metrics, refusals);
        let mut position: Option<String> = None;
        let mut list_at = Instant::now();
        let mut restores = restore_detection.restores();
        loop {
            let started = Instant::now();
            let outcome = match &mut position {
                Some(version) if Instant::now() < list_at => {
                    let watch = watch::<N, R>(&client, &selection, version, &restore_detection, &mut failures, &mut on);
                    tokio::select! {
                        outcome = watch => outcome,
                        Ok(()) = restores.changed() => Ok(End::ListAgain),
                        () = tokio::time::sleep_until(list_at) => Ok(End::ListAgain),
                    }
                }
                _ => {
                    // `acquire` fails only on a closed semaphore, and nothing closes this one.
                    let _permit = lists.acquire().await.ok();
                    restores.mark_unchanged();
                    let listed = list::<N, R>(&client, &selection, &restore_detection, &mut on).await;
                    listed.map(|version| {
                        position = Some(version);
                        list_at = Instant::now() + LIST_INTERVAL + jitter(LIST_INTERVAL / 10);
                        End::Listed
                    })
                }
            };
            match outcome {
                // An API server or a proxy may end each watch at once.
                Ok(End::StreamEnded) => tokio::time::sleep_until(started + SHORTEST_WATCH).await,
                Ok(End::Listed) => {}
                Ok(End::ListAgain) => position = None,
                Err(error) => {
                    // List next: the API server may have been restored to an earlier state during the failure.
                    position = None;
                    tokio::time::sleep(failures.record(&error)).await;
                }
            }
        }
    }
}

async fn list<N, R>(
    client: &Client,
    selection: &Selection,
    restore_detection: &RestoreDetection,
    on: &mut impl FnMut(Event<R>),
) -> kube::Result<String>
where
    N: DeserializeOwned + Into<(ObjectKey, R)>,
{
    let mut listed = Vec::new();
    let before = restore_detection.latest();
    let version = lists::list(client, selection, |object: N| listed.push(object.into())).await?;
    listed.retain(|(key, _)| selection.can_contain(key));
    restore_detection.record_list(before, &version);
    on(Event::Listed(selection.scope.clone(), listed, ResourceVersion::parse(&version)));
    Ok(version)
}

/// Watches from a version on. Changes the version to that of the last event, so that the next watch continues there.
async fn watch<N, R>(
    client: &Client,
    selection: &Selection,
    version: &mut String,
    restore_detection: &RestoreDetection,
    failures: &mut WatchFailures,
    on: &mut impl FnMut(Event<R>),
) -> kube::Result<End>
where
    N: DeserializeOwned + Into<(ObjectKey, R)>,
{
    let params = WatchParams {
        label_selector: selection.labels.map(str::to_owned),
        field_selector: selection.fields.map(str::to_owned),
        timeout: Some(WATCH_SECONDS),
        bookmarks: true,
        send_initial_events: false,
    };
    let request = Request::new(&selection.path);
    let request = match selection.extent {
        Extent::Whole => request.watch(&params, version),
        Extent::Metadata => request.watch_metadata(&params, version),
    };
    let mut lines = Box::pin(client.request_stream(request.map_err(kube::Error::BuildRequest)?).await?);
    failures.accept();
    let accepted = Instant::now();
    let mut text = Vec::new();
    while next_line(&mut lines, &mut text).await? {
        let line: Line<'_> = serde_json::from_slice(&text).map_err(kube::Error::SerdeError)?;
        if matches!(line.kind, EventKind::Error) {
            let status: Status = read(line.object)?;
            // HTTP 410: the API server no longer keeps the version of this watch, so a new list is needed. If the watch
            // lasted, the list follows at once. Otherwise the end of the watch is a failure, and the list waits.
            if status.code == 410 && accepted.elapsed() >= SHORTEST_WATCH {
                return Ok(End::ListAgain);
            }
            return Err(kube::Error::Api(Box::new(status)));
        }
        *version = read::<ObjectVersion>(line.object)?.metadata.resource_version;
        restore_detection.record(version);
        if matches!(line.kind, EventKind::Bookmark) {
            continue;
        }
        let (key, record) = read::<N>(line.object)?.into();
        if !selection.can_contain(&key) {
            continue;
        }
        on(match line.kind {
            EventKind::Deleted => Event::Deleted(key, record),
            _ => Event::Applied(key, record),
        });
    }
    Ok(End::StreamEnded)
}

fn read<T: DeserializeOwned>(object: &RawValue) -> kube::Result<T> {
    serde_json::from_str(object.get()).map_err(kube::Error::SerdeError)
}

/// Reads the next line; returns false at the end.
async fn next_line(lines: &mut (impl AsyncBufRead + Unpin), text: &mut Vec<u8>) -> kube::Result<bool> {
    text.clear();
    text.shrink_to(KEPT_FOR_LINES);
    lines.take(LONGEST_EVENT).read_until(b'\n', text).await.map_err(kube::Error::ReadEvents)?;
    // A line without its end comes from a connection that broke off: the next watch repeats it.
    Ok(text.last() == Some(&b'\n'))
}

/// Returns a random time up to a limit: many controllers that start together must not list together.
fn jitter(limit: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    limit.mul_f64(random as f64 / u64::MAX as f64)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;
    use tokio::sync::watch;
    use waxseal_shared::key_ring::Keys;

    use super::super::objects::Objects;
    use super::super::records::{self, SealedSecretParts, SealedSecretRecord};
    use super::super::scope::ServedScope;
    use super::super::{answer_deadlines, fake_server};
    use super::*;

    /// Follows SealedSecrets for three seconds, while each watch answers with this line; returns the number of lists,
    /// the events and the metrics.
    async fn followed(line: serde_json::Value) -> (u32, Vec<Event<SealedSecretRecord>>, String) {
        let lists = Arc::new(AtomicU32::new(0));
        let client = fake_server::client({
            let lists = Arc::clone(&lists);
            move |uri| {
                if uri.query().is_some_and(|query| query.contains("watch=true")) {
                    return format!("{line}\n");
                }
                lists.fetch_add(1, Ordering::SeqCst);
                json!({"kind": "SealedSecretList", "metadata": {"resourceVersion": "7"}, "items": []}).to_string()
            }
        });
        let url = "http://127.0.0.1:1".parse().expect("a URL");
        let (_, last_contact) = answer_deadlines::connect(kube::Config::new(url)).expect("a client");
        let objects = Arc::new(Objects::new(ServedScope::of(&[])));
        let metrics = Arc::new(Metrics::new(Arc::clone(&objects), watch::channel(Keys::Loading).1, last_contact));
        let detection = Arc::new(RestoreDetection::new(objects));
        let watches = Watches::new(client, detection, Arc::clone(&metrics), Arc::default());
        let mut events = Vec::new();
        let selection = records::sealed_secrets(&ServedScope::Namespace("shop".into()));
        let following = watches.follow::<SealedSecretParts, _>("SealedSecrets", selection, |event| events.push(event));
        assert!(tokio::time::timeout(Duration::from_secs(3), following).await.is_err(), "it never ends");
        (lists.load(Ordering::SeqCst), events, metrics.to_text())
    }

    /// The lists are 0.5 s, 1 s and 2 s apart.
    #[tokio::test]
    async fn a_version_that_is_too_old_at_once_pauses_the_lists_and_counts_as_a_failure() {
        let status = json!({"kind": "Status", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410});
        let (lists, _, metrics) = followed(json!({"type": "ERROR", "object": status})).await;
        assert!((1..=3).contains(&lists), "{lists}");
        let count = metrics.lines().find(|line| line.starts_with("waxseal_watch_failures_total{"));
        assert!(count.is_some_and(|count| count.ends_with(&format!(" {lists}"))), "{metrics}");
    }

    #[tokio::test]
    async fn events_of_other_namespaces_are_dropped() {
        let event = |namespace: &str| {
            let metadata = json!({"name": "db", "namespace": namespace, "resourceVersion": "8"});
            json!({"type": "ADDED", "object": {"metadata": metadata}})
        };
        for (namespace, is_reported) in [("shop", true), ("blog", false)] {
            let (_, events, _) = followed(event(namespace)).await;
            let applied = events.iter().any(|event| matches!(event, Event::Applied(..)));
            assert_eq!(applied, is_reported, "{namespace}: {events:?}");
        }
    }
}
