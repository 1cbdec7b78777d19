//! One repository with a work tree, opened so that nothing in it takes effect but its ignore rules.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::bstr::BStr;
use gix::index::entry::Mode;
use gix::open::{Options, Permissions, permissions};
use gix::sec::Permission;

use super::ignore_rules;

/// Objects of more than 64 MiB are not read: the commits and trees of real repositories are smaller.
const ALLOCATION_LIMIT: &str = "gitoxide.objects.allocLimit=67108864";

/// The extensions of repositories that change nothing here, or are heeded. Git itself refuses a
/// repository with one that it does not know.
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
    /// The work tree; `None` for a bare repository, which adds no files.
    work_tree: Option<PathBuf>,
    pub(super) index: gix::index::File,
}

/// Whether a repository would add a path.
pub(super) enum Judgement {
    Ignored,
    Exposed,
    Tracked,
}

impl Repository {
    /// The repository of a folder that holds `.git`. `None` if it cannot be read, belongs to another
    /// user and is not in `safe.directory`, has an extension that is not known here, or has its work
    /// tree elsewhere.
    pub(super) fn of(root: &Path) -> Option<Self> {
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

    /// Says whether the repository would add a path. `nested` are the work trees between its own and
    /// the path: Git adds nothing below one that is a submodule. `None` if rules cannot be read.
    pub(super) fn judge(&self, path: &Path, nested: &[&Path]) -> Option<Judgement> {
        let Some(work_tree) = &self.work_tree else {
            return Some(Judgement::Ignored);
        };
        let relative = path.strip_prefix(work_tree).ok()?;
        let in_tree = |path: &Path| path.strip_prefix(work_tree).map(|path| path.as_os_str().as_bytes().to_vec());
        let nested: Vec<_> = nested.iter().filter_map(|root| in_tree(root).ok()).collect();
        let name = relative.as_os_str().as_bytes();
        for entry in self.index.entries() {
            let tracked: &[u8] = entry.path(&self.index);
            // File systems that fold the case take both for the same file.
            if tracked.eq_ignore_ascii_case(name) {
                return Some(Judgement::Tracked);
            }
            if entry.mode == Mode::COMMIT && nested.iter().any(|root| root == tracked) {
                return Some(Judgement::Ignored);
            }
            // A folder in a sparse index stands for files that are not listed.
            if entry.mode.is_sparse() && name.starts_with(tracked) {
                return None;
            }
        }
        let is_ignored = ignore_rules::ignores(&self.git, &self.index, work_tree, relative)?;
        Some(if is_ignored { Judgement::Ignored } else { Judgement::Exposed })
    }

    /// A path in the work tree as Git has it, without the work tree's own.
    pub(super) fn relative<'a>(&self, path: &'a Path) -> Option<&'a BStr> {
        let relative = path.strip_prefix(self.work_tree.as_ref()?).ok()?;
        Some(relative.as_os_str().as_bytes().into())
    }

    /// The objects that references and the heads of all work trees name; `None` if not all
    /// references can be read.
    pub(super) fn tips(&self) -> Option<BTreeSet<ObjectId>> {
        let mut tips = BTreeSet::new();
        // A symbolic reference names another one, which is among them.
        for reference in self.git.references().ok()?.all().ok()? {
            tips.extend(reference.ok()?.target().try_id().map(ToOwned::to_owned));
        }
        let mut heads = vec!["HEAD".to_owned(), "main-worktree/HEAD".to_owned()];
        for work_tree in self.git.worktrees().ok()? {
            heads.push(format!("worktrees/{}/HEAD", work_tree.id().ok()?));
        }
        for head in heads {
            let head = self.git.try_find_reference(head.as_str()).ok()?;
            tips.extend(head.and_then(|head| head.target().try_id().map(ToOwned::to_owned)));
        }
        Some(tips)
    }

    /// Whether references lie in files, the only way of storing them that is read here.
    pub(super) fn has_references_in_files(&self) -> bool {
        let storage = self.git.config_snapshot().string("extensions.refStorage");
        storage.is_none_or(|storage| storage.eq_ignore_ascii_case(b"files"))
    }
}

/// The configuration of the person counts, because it can name a file of ignore rules, and so do the
/// variables that replace it. No program that a configuration names is started: the library is
/// built without its transports, filters and credential helpers, and it knows no hooks.
fn options() -> Options {
    let environment = permissions::Environment {
        home: Permission::Allow,
        xdg_config_home: Permission::Allow,
        git_prefix: Permission::Allow,
        ..permissions::Environment::isolated()
    };
    // Git is not asked where its own configuration lies.
    let config = permissions::Config { git_binary: false, ..permissions::Config::all() };
    let attributes = permissions::Attributes::isolated();
    Options::default()
        .permissions(Permissions { env: environment, config, attributes })
        .bail_if_untrusted(true)
        .strict_config(true)
        .config_overrides([ALLOCATION_LIMIT])
}

/// Whether the repository has no extension that could change what its files mean.
fn has_known_extensions(git: &gix::Repository) -> bool {
    let config = git.config_snapshot();
    let mut sections = config.sections_by_name("extensions").into_iter().flatten();
    sections
        .all(|section| section.value_names().all(|name| KNOWN_EXTENSIONS.contains(&name.to_ascii_lowercase().as_str())))
}

/// The index where the repository has it, whatever `GIT_INDEX_FILE` says: a hook sets that for the
/// repository that runs it.
fn index(git: &gix::Repository) -> Option<gix::index::File> {
    let path = git.git_dir().join("index");
    if !path.try_exists().ok()? {
        return Some(gix::index::File::from_state(gix::index::State::new(git.object_hash()), path));
    }
    gix::index::File::at(path, git.object_hash(), false, Default::default()).ok()
}
