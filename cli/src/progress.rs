//! A progress bar for long work.

use indicatif::{ProgressBar, ProgressStyle};

/// For fewer files, a bar would only flicker.
const MIN_FILES: usize = 100;

/// A progress bar on stderr, if stderr is a terminal. Disappears when it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn of_files(count: usize) -> Self {
        if count < MIN_FILES {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files").expect("a template");
        Self(ProgressBar::new(count as u64).with_style(style))
    }

    pub(crate) fn advance(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
