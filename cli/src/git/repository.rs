//! A repository, opened so that nothing in it takes effect except its ignore rules.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::bstr::{BStr, BString};
use gix::index::entry::Mode;
use gix::open::{Options, Permissions, permissions};
use gix::sec::Permission;

use super::ignore_rules;

/// Limits objects to 64 MiB: the commits and trees of real repositories are smaller.
const ALLOCATION_LIMIT: &str = "gitoxide.objects.allocLimit=67108864";

/// The repository extensions that this module supports. Git, too, refuses a repository with an unknown extension.
const KNOWN_EXTENSIONS: [&str; 8] = [
    "noop",
    "preciousobjects",
    "partialclone",
    "worktreeconfig",
    "objectformat",
    "compatobjectformat",
    "refstorage",
    "relativeworktrees",
];

/// The repository of a work tree.
pub(super) struct Repository {
    pub(super) git: gix::Repository,
    /// The work tree; `None` for a bare repository, which has no files to add.
    work_tree: Option<PathBuf>,
    pub(super) index: gix::index::File,
}

/// Whether a repository would add a path.
pub(super) enum PathState {
    Ignored,
    /// Neither ignored nor tracked: `git add` would add it.
    Exposed,
    Tracked,
}

impl Repository {
    /// Opens the repository of a folder that contains `.git`.
    ///
    /// Returns `None` if it cannot be read, has an unknown extension, has a work tree other than `root`, or belongs to
    /// another user and is not in `safe.directory`.
    pub(super) fn open(root: &Path) -> Option<Self> {
        let git = options().open(root.join(".git")).ok()?.to_thread_local();
        let work_tree = match git.workdir() {
            Some(work_tree) => Some(work_tree.canonicalize().ok().filter(|work_tree| work_tree == root)?),
            None => None,
        };
        if !has_known_extensions(&git) {
            return None;
        }
        let index = index(&git)?;
        Some(Self { git, work_tree, index })
    }

    /// Returns whether the repository would add a path; `None` if ignore rules cannot be read.
    ///
    /// `nested` are the work trees between the repository's own and the path: Git adds nothing below a submodule.
    pub(super) fn path_state(&self, path: &Path, nested: &[&Path]) -> Option<PathState> {
        let Some(work_tree) = &self.work_tree else {
            return Some(PathState::Ignored);
        };
        let relative = path.strip_prefix(work_tree).ok()?;
        let in_tree = |path: &Path| path.strip_prefix(work_tree).map(|path| path.as_os_str().as_bytes().to_vec());
        let nested: Vec<_> = nested.iter().filter_map(|root| in_tree(root).ok()).collect();
        let name = relative.as_os_str().as_bytes();
        for entry in self.index.entries() {
            let tracked: &[u8] = entry.path(&self.index);
            // Both are the same file on a case-insensitive file system.
            if tracked.eq_ignore_ascii_case(name) {
                return Some(PathState::Tracked);
            }
            if entry.mode == Mode::COMMIT && nested.iter().any(|root| root == tracked) {
                return Some(PathState::Ignored);
            }
            // A sparse index lists a folder instead of the files in it.
            if entry.mode.is_sparse() && name.starts_with(tracked) {
                return None;
            }
        }
        let is_ignored = ignore_rules::ignores(&self.git, &self.index, work_tree, relative)?;
        Some(if is_ignored { PathState::Ignored } else { PathState::Exposed })
    }

    /// Returns the path relative to the work tree, as Git stores it.
    pub(super) fn relative<'a>(&self, path: &'a Path) -> Option<&'a BStr> {
        let relative = path.strip_prefix(self.work_tree.as_ref()?).ok()?;
        Some(relative.as_os_str().as_bytes().into())
    }

    /// Returns the objects that references and the heads of all work trees point to; `None` if a reference cannot be
    /// read.
    pub(super) fn tips(&self) -> Option<BTreeSet<ObjectId>> {
        Some(self.named_tips()?.into_values().collect())
    }

    /// Like [`Self::tips`], with the full name of each reference.
    pub(super) fn named_tips(&self) -> Option<BTreeMap<BString, ObjectId>> {
        let mut tips = BTreeMap::new();
        // Skips symbolic references: their targets are in the list too.
        for reference in self.git.references().ok()?.all().ok()? {
            let reference = reference.ok()?;
            let name = reference.name().as_bstr().to_owned();
            tips.extend(reference.target().try_id().map(|id| (name, id.to_owned())));
        }
        let mut heads = vec!["HEAD".to_owned(), "main-worktree/HEAD".to_owned()];
        for work_tree in self.git.worktrees().ok()? {
            heads.push(format!("worktrees/{}/HEAD", work_tree.id().ok()?));
        }
        for head in heads {
            let target = self.git.try_find_reference(head.as_str()).ok()?;
            tips.extend(target.and_then(|target| target.target().try_id().map(|id| (head.into(), id.to_owned()))));
        }
        Some(tips)
    }

    /// Whether references are stored in files, the only format that this module reads.
    pub(super) fn has_references_in_files(&self) -> bool {
        let storage = self.git.config_snapshot().string("extensions.refStorage");
        storage.is_none_or(|storage| storage.eq_ignore_ascii_case(b"files"))
    }
}

/// Reads the configuration of the user and the environment variables that replace it, because they can name a file of
/// ignore rules. Starts no program that a configuration names: `gix` is built without transports, filters and
/// credential helpers, and has no hooks.
fn options() -> Options {
    let environment = permissions::Environment {
        home: Permission::Allow,
        xdg_config_home: Permission::Allow,
        git_prefix: Permission::Allow,
        ..permissions::Environment::isolated()
    };
    // `git_binary` would start Git to ask for the path of its configuration.
    let config = permissions::Config { git_binary: false, ..permissions::Config::all() };
    let attributes = permissions::Attributes::isolated();
    Options::default()
        .permissions(Permissions { env: environment, config, attributes })
        .bail_if_untrusted(true)
        .strict_config(true)
        .config_overrides([ALLOCATION_LIMIT])
}

/// Whether this module supports all extensions of the repository.
fn has_known_extensions(git: &gix::Repository) -> bool {
    let config = git.config_snapshot();
    let mut sections = config.sections_by_name("extensions").into_iter().flatten();
    sections
        .all(|section| section.value_names().all(|name| KNOWN_EXTENSIONS.contains(&name.to_ascii_lowercase().as_str())))
}

/// Opens the index of the repository. Ignores `GIT_INDEX_FILE`: Git sets it in hooks, for the repository of the hook.
fn index(git: &gix::Repository) -> Option<gix::index::File> {
    let path = git.git_dir().join("index");
    if !path.try_exists().ok()? {
        return Some(gix::index::File::from_state(gix::index::State::new(git.object_hash()), path));
    }
    gix::index::File::at(path, git.object_hash(), false, Default::default()).ok()
}
