//! What Git knows of a file. Git is asked, not read: only it knows all of its configuration.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::output::folder_of;

/// Where a path stands with Git.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In no work tree.
    Outside,
    /// In a work tree, and ignored.
    Ignored,
    /// In a work tree, and one `git add .` away from a commit.
    Exposed,
    /// In a work tree, but Git is not there or does not answer.
    Unknown,
}

/// Says where a path, which need not exist, stands with Git.
pub(crate) fn standing(path: &Path) -> Standing {
    let folder = folder_of(path);
    let Ok(folder) = folder.canonicalize() else {
        return Standing::Outside;
    };
    if !folder.ancestors().any(|ancestor| ancestor.join(".git").exists()) {
        return Standing::Outside;
    }
    let Some(name) = path.file_name() else {
        return Standing::Unknown;
    };
    // The dot keeps a name that begins with a colon from being read as a pattern.
    let name = Path::new(".").join(name);
    let answer = git(&folder).args(["check-ignore", "--quiet", "--"]).arg(name).stdout(Stdio::null()).status();
    match answer.ok().and_then(|status| status.code()) {
        Some(0) => Standing::Ignored,
        Some(1) => Standing::Exposed,
        _ => Standing::Unknown,
    }
}

/// Whether the index or a commit of any branch holds the file; no Git is a no.
pub(crate) fn holds(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else {
        return false;
    };
    let (folder, Some(name)) = (folder_of(&path), path.file_name()) else {
        return false;
    };
    prints(&folder, &["ls-files", "--cached"], name) || prints(&folder, &["rev-list", "--max-count=1", "--all"], name)
}

fn prints(folder: &Path, arguments: &[&str], name: &OsStr) -> bool {
    let output = git(folder).env("GIT_LITERAL_PATHSPECS", "1").args(arguments).arg("--").arg(name).output();
    output.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

fn git(folder: &Path) -> Command {
    let mut git = Command::new("git");
    // Programs that a repository's own configuration names are not run.
    git.args(["-c", "core.fsmonitor=false"]).arg("-C").arg(folder);
    // Set inside hooks; they would point at another repository than the path's own.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR"] {
        git.env_remove(name);
    }
    git.env_remove("GIT_LITERAL_PATHSPECS").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_TERMINAL_PROMPT", "0");
    git.stdin(Stdio::null()).stderr(Stdio::null());
    git
}
