//! Noticing that something changed in the folders that are read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::durable_file::shown;
use crate::log::chain;

/// How long nothing must happen before a burst of changes is over.
const QUIET: Duration = Duration::from_millis(150);
/// A burst is not waited out for longer than this.
const LONGEST_BURST: Duration = Duration::from_secs(2);

/// A watch over folders. It may miss changes, behind symlinks for one: look now and then, too.
pub(super) struct Changes {
    folders: Vec<Watched>,
    happened: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
}

struct Watched {
    path: PathBuf,
    mode: RecursiveMode,
    /// What the watch was set on: a folder that takes its place needs a new one.
    watching: Option<FolderIdentity>,
}

/// Tells a folder from another that took its place; inodes alone are used again.
#[derive(PartialEq, Eq)]
struct FolderIdentity {
    path: PathBuf,
    device: u64,
    inode: u64,
    created: Option<SystemTime>,
}

impl Changes {
    /// Watches the first folder with all below it, and the second itself.
    pub(super) fn new(deep: &Path, flat: &Path) -> Self {
        let watched = |path: &Path, mode| Watched { path: path.to_owned(), mode, watching: None };
        let happened = Arc::new(Notify::new());
        let watcher = watcher(&happened)
            .map_err(|error| {
                let cause = chain(&error);
                tracing::warn!("changes are noticed late: failed to watch folders: {cause}");
            })
            .ok();
        Self {
            folders: vec![watched(deep, RecursiveMode::Recursive), watched(flat, RecursiveMode::NonRecursive)],
            happened,
            watcher,
        }
    }

    /// Sets the watch on folders that are there now. Returns whether all are watched.
    pub(super) fn renew(&mut self) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let mut is_watched = true;
        for folder in &mut self.folders {
            is_watched &= folder.renew(watcher);
        }
        is_watched
    }

    /// Waits for a change, and then until the burst of changes is over.
    pub(super) async fn next(&self) {
        self.happened.notified().await;
        let start = Instant::now();
        while start.elapsed() < LONGEST_BURST && timeout(QUIET, self.happened.notified()).await.is_ok() {}
    }
}

impl Watched {
    fn renew(&mut self, watcher: &mut RecommendedWatcher) -> bool {
        let present = FolderIdentity::of(&self.path);
        if present == self.watching {
            return present.is_some();
        }
        if let Some(former) = self.watching.take() {
            // It fails for a folder that is gone, and its watch with it.
            let _ = watcher.unwatch(&former.path);
        }
        let Some(present) = present else { return false };
        match watcher.watch(&present.path, self.mode) {
            Ok(()) => self.watching = Some(present),
            Err(error) => {
                let (path, cause) = (shown(&present.path), chain(&error));
                tracing::debug!("failed to watch {path}: {cause}");
            }
        }
        self.watching.is_some()
    }
}

impl FolderIdentity {
    fn of(path: &Path) -> Option<Self> {
        let path = fs::canonicalize(path).ok()?;
        let metadata = fs::metadata(&path).ok()?;
        let (device, inode, created) = (metadata.dev(), metadata.ino(), metadata.created().ok());
        metadata.is_dir().then_some(Self { path, device, inode, created })
    }
}

/// Symlinks are not followed: one could lead the watch through the whole file system.
fn watcher(happened: &Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let happened = Arc::clone(happened);
    let handler = move |event: notify::Result<Event>| {
        if event.as_ref().map_or(true, is_change) {
            happened.notify_one();
        }
    };
    RecommendedWatcher::new(handler, Config::default().with_follow_symlinks(false))
}

/// Reading is no change: our own would wake us for ever.
fn is_change(event: &Event) -> bool {
    !matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_noticed(changes: &Changes) -> bool {
        timeout(Duration::from_secs(10), changes.next()).await.is_ok()
    }

    #[tokio::test]
    async fn changes_below_the_first_and_in_the_second_folder_are_noticed() {
        let (deep, flat) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        fs::create_dir(deep.path().join("a")).expect("made");
        let mut changes = Changes::new(deep.path(), flat.path());
        assert!(changes.renew());
        fs::write(deep.path().join("a/b.yaml"), "x").expect("written");
        assert!(is_noticed(&changes).await);
        fs::write(flat.path().join("k.key"), "x").expect("written");
        assert!(is_noticed(&changes).await);
    }

    #[tokio::test]
    async fn reading_is_no_change() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.yaml"), "x").expect("written");
        let mut changes = Changes::new(folder.path(), folder.path());
        assert!(changes.renew());
        fs::read(folder.path().join("a.yaml")).expect("readable");
        fs::read_dir(folder.path()).expect("readable").for_each(drop);
        assert!(timeout(2 * QUIET, changes.next()).await.is_err());
    }

    #[tokio::test]
    async fn a_folder_that_returns_is_watched_again() {
        let (parent, flat) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let path = parent.path().join("manifests");
        fs::create_dir(&path).expect("made");
        let mut changes = Changes::new(&path, flat.path());
        assert!(changes.renew());
        fs::remove_dir(&path).expect("removed");
        assert!(!changes.renew());
        fs::create_dir(&path).expect("made");
        assert!(changes.renew());
        // What happened until now.
        let _ = timeout(2 * QUIET, changes.next()).await;
        fs::write(path.join("a.yaml"), "x").expect("written");
        assert!(is_noticed(&changes).await);
    }
}
