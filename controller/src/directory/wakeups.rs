//! What wakes the loop: a change in a watched folder, a signal to stop, or the time.
//!
//! The loop is a plain thread, so signals come through a channel. (In the cluster backend they come through tokio.)

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::durable_file::UNFINISHED;

/// A burst of changes is over after this long without a change.
const QUIET: Duration = Duration::from_millis(150);
/// The longest wait for the end of a burst.
const LONGEST_BURST: Duration = Duration::from_secs(2);

/// Holds a channel with room for one message. It stands for all changes and signals that the loop has not yet seen.
pub(super) struct Wakeups {
    sender: SyncSender<()>,
    receiver: Receiver<()>,
    is_told_to_stop: Arc<AtomicBool>,
}

impl Wakeups {
    /// Listens for SIGTERM and SIGINT from now on.
    pub(super) fn new() -> io::Result<Self> {
        let (sender, receiver) = sync_channel(1);
        let wakeups = Self { sender, receiver, is_told_to_stop: Arc::default() };
        let (sender, is_told_to_stop) = (wakeups.sender.clone(), Arc::clone(&wakeups.is_told_to_stop));
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        thread::Builder::new().spawn(move || {
            for _signal in signals.forever() {
                is_told_to_stop.store(true, Ordering::Relaxed);
                let _full = sender.try_send(());
            }
        })?;
        Ok(wakeups)
    }

    pub(super) fn is_told_to_stop(&self) -> bool {
        self.is_told_to_stop.load(Ordering::Relaxed)
    }

    /// Waits for a change and for the end of its burst, for a signal, or for the time.
    pub(super) fn wait_until(&self, time: Instant) {
        if self.receiver.recv_timeout(time.saturating_duration_since(Instant::now())).is_err() {
            return;
        }
        let start = Instant::now();
        while start.elapsed() < LONGEST_BURST && self.receiver.recv_timeout(QUIET).is_ok() {}
    }

    /// Wakes the loop at every change below the first folder and in the second, as long as the watcher exists.
    ///
    /// The watcher may miss changes, such as those behind symlinks. It watches the folders that are there now: make a
    /// new watcher before each pass.
    pub(super) fn watch(&self, deep: &Path, flat: &Path) -> notify::Result<RecommendedWatcher> {
        let sender = self.sender.clone();
        let handler = move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, is_change) {
                let _full = sender.try_send(());
            }
        };
        // A symlink could lead the watcher through the whole file system.
        let mut watcher = RecommendedWatcher::new(handler, Config::default().with_follow_symlinks(false))?;
        watcher.watch(deep, RecursiveMode::Recursive)?;
        watcher.watch(flat, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }
}

/// Reading a file is not a change, and neither is a file that is not finished yet: otherwise the controller would wake
/// itself for ever. An event without a path says that events were lost.
fn is_change(event: &Event) -> bool {
    let is_unfinished = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()))
    };
    let is_read = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
    !is_read && (event.paths.is_empty() || !event.paths.iter().all(is_unfinished))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn is_woken(wakeups: &Wakeups, within: Duration) -> bool {
        let start = Instant::now();
        wakeups.wait_until(start + within);
        start.elapsed() < within
    }

    #[test]
    fn changes_below_the_first_and_in_the_second_folder_wake_the_loop() {
        let (deep, flat) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        fs::create_dir(deep.path().join("a")).expect("made");
        let wakeups = Wakeups::new().expect("signals");
        let _watcher = wakeups.watch(deep.path(), flat.path()).expect("both are there");
        fs::write(deep.path().join("a/b.yaml"), "x").expect("written");
        assert!(is_woken(&wakeups, Duration::from_secs(10)));
        fs::write(flat.path().join("k.key"), "x").expect("written");
        assert!(is_woken(&wakeups, Duration::from_secs(10)));
    }

    #[test]
    fn an_unfinished_file_wakes_the_loop_when_it_gets_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let wakeups = Wakeups::new().expect("signals");
        let _watcher = wakeups.watch(folder.path(), folder.path()).expect("it is there");
        let [unfinished, finished] =
            [format!("{UNFINISHED}1"), "k.key".to_owned()].map(|name| folder.path().join(name));
        fs::write(&unfinished, "x").expect("written");
        fs::remove_file(&unfinished).expect("removed");
        assert!(!is_woken(&wakeups, Duration::from_millis(500)));
        fs::write(&unfinished, "x").expect("written");
        fs::rename(&unfinished, finished).expect("renamed");
        assert!(is_woken(&wakeups, Duration::from_secs(10)));
    }

    #[test]
    fn reading_does_not_wake_the_loop() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.yaml"), "x").expect("written");
        let wakeups = Wakeups::new().expect("signals");
        let _watcher = wakeups.watch(folder.path(), folder.path()).expect("it is there");
        fs::read(folder.path().join("a.yaml")).expect("readable");
        fs::read_dir(folder.path()).expect("readable").for_each(drop);
        assert!(!is_woken(&wakeups, 2 * QUIET));
    }

    #[test]
    fn a_missing_folder_cannot_be_watched() {
        let folder = tempfile::tempdir().expect("a folder");
        let wakeups = Wakeups::new().expect("signals");
        assert!(wakeups.watch(&folder.path().join("gone"), folder.path()).is_err());
    }
}
