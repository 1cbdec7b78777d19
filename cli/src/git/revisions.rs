//! Reads each different content that the files below some paths have in commits, and tells which commits have it.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use gix::bstr::{BStr, BString};
use gix::objs::{FindHeader, Kind, TreeRefIter};
use gix::odb::pack::cache;
use gix::prelude::FindExt;
use gix::{ObjectId, oid};

use super::commits::{Commit, Commits, Reach};
use super::folders::{Folders, ROOT};
use super::repository::Repository;
use crate::input::MAX_INPUT_BYTES;

/// Objects in packs are stored as differences. This many bytes of objects are kept, because the next object is often a
/// difference to one of them.
const PACK_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// The most entries of [`Search::files`]. A path has one entry for each content that it had.
const MAX_FILES: usize = 1_000_000;

/// The contents of files that a search has kept, and the commits that have them.
pub(crate) struct Revisions<T> {
    /// The commits that were searched: parents before children, otherwise oldest first.
    pub(crate) commits: Vec<Commit>,
    /// What `read` returned, once for each content that it kept.
    pub(crate) contents: Vec<T>,
    pub(crate) files: Vec<Revision>,
    /// How many objects are missing or damaged.
    pub(crate) missing: usize,
    /// Whether the repository is a shallow clone.
    pub(crate) is_shallow: bool,
    /// Whether the search has ended early, because there are too many folders or contents.
    pub(crate) is_too_large: bool,
    /// The indexes of the paths that the search found in no commit.
    pub(crate) absent: Vec<usize>,
}

/// One content of one file.
pub(crate) struct Revision {
    /// The path in the work tree, as Git stores it.
    pub(crate) path: Vec<u8>,
    /// The index of the content in [`Revisions::contents`].
    pub(crate) content: usize,
    /// The index of the first commit that has it.
    pub(crate) first: usize,
    /// The index of the last commit that has it. The file can have other contents between.
    pub(crate) last: usize,
    /// The indexes of the commits that have it and that references point to.
    pub(crate) tips: Vec<u32>,
}

/// A content that was not read before.
pub(crate) struct Blob<'a> {
    /// The content; `None` if it is larger than 32 MiB.
    pub(crate) content: Option<&'a [u8]>,
    /// A commit that has it.
    pub(crate) commit: &'a Commit,
    folders: &'a Folders,
    folder: usize,
    name: &'a BStr,
}

impl Blob<'_> {
    /// The path of the file, as Git stores it.
    pub(crate) fn path(&self) -> Vec<u8> {
        self.folders.path(self.folder, self.name)
    }
}

/// Searches the files at or below paths, which are relative to the work tree. `root` is the folder that contains
/// `.git`.
///
/// Calls `read` once for each different content, and keeps it if `read` returns a value. Symbolic links and submodules
/// are skipped. Returns `None` if the repository cannot be read.
pub(crate) fn search<T>(
    root: &Path,
    paths: &[Vec<u8>],
    reach: Reach,
    read: impl FnMut(&Blob<'_>) -> Option<T>,
) -> Option<Revisions<T>> {
    let mut repository = Repository::open(root)?;
    if !repository.has_references_in_files() {
        return None;
    }
    // As in `history.rs`, ignores replacements (git-replace) and Git's namespace: other clones have neither.
    repository.git.objects.ignore_replacements = true;
    repository.git.refs.namespace = None;
    repository.git.objects.set_pack_cache(|| Box::new(cache::lru::MemoryCappedHashmap::new(PACK_CACHE_BYTES)));
    let tips = repository.named_tips()?;
    let Commits { oldest_first, missing } = Commits::read(&repository, tips, reach);
    let mut search = Search::new(&repository, paths, missing, read);
    search.run(&oldest_first, reach);
    Some(search.finish(paths, oldest_first))
}

struct Search<'a, T, R> {
    repository: &'a Repository,
    read: R,
    folders: Folders,
    /// What is known of each blob: the index in `contents`, if it is kept.
    blobs: HashMap<ObjectId, Option<usize>>,
    contents: Vec<T>,
    files: Vec<File>,
    /// The indexes of `files`, by folder, content and name.
    numbers: HashMap<Vec<u8>, usize>,
    missing: HashSet<ObjectId>,
    is_too_large: bool,
    key: Vec<u8>,
    tree: Vec<u8>,
    blob: Vec<u8>,
}

/// A [`Revision`] with the number of its folder.
struct File {
    folder: usize,
    name: BString,
    content: usize,
    first: usize,
    last: usize,
    /// Sorted. A repository can have many tags, so `u32` is used to save memory.
    tips: Vec<u32>,
}

/// The trees that were read, each with the folder that it was read for.
type Seen = HashSet<(ObjectId, usize)>;

impl<'a, T, R: FnMut(&Blob<'_>) -> Option<T>> Search<'a, T, R> {
    fn new(repository: &'a Repository, paths: &[Vec<u8>], missing: HashSet<ObjectId>, read: R) -> Self {
        Self {
            repository,
            read,
            folders: Folders::leading_to(paths),
            blobs: HashMap::new(),
            contents: Vec::new(),
            files: Vec::new(),
            numbers: HashMap::new(),
            missing,
            is_too_large: false,
            key: Vec::new(),
            tree: Vec::new(),
            blob: Vec::new(),
        }
    }

    /// Searches in full each commit that references point to. For the history, then searches all commits from the
    /// oldest to the newest, to find the first commit of each content, and back again, to find the last. In each
    /// direction, it reads each tree of a folder only once.
    fn run(&mut self, commits: &[Commit], reach: Reach) {
        for number in (0..commits.len()).filter(|number| !commits[*number].references.is_empty()) {
            self.search_commit(commits, number, &mut Seen::new());
        }
        if reach == Reach::History {
            let mut seen = Seen::new();
            (0..commits.len()).for_each(|number| self.search_commit(commits, number, &mut seen));
            seen.clear();
            (0..commits.len()).rev().for_each(|number| self.search_commit(commits, number, &mut seen));
        }
    }

    fn search_commit(&mut self, commits: &[Commit], number: usize, seen: &mut Seen) {
        let hash = self.repository.git.object_hash();
        let mut buffer = std::mem::take(&mut self.tree);
        let mut waiting = vec![(commits[number].tree, ROOT)];
        while let Some((tree, folder)) = waiting.pop() {
            if self.is_too_large || self.folders.are_too_many {
                break;
            }
            if !seen.insert((tree, folder)) {
                continue;
            }
            let object = self.repository.git.objects.find(&tree, &mut buffer).ok();
            let Some(object) = object.filter(|object| object.kind == Kind::Tree) else {
                self.missing.insert(tree);
                continue;
            };
            for entry in TreeRefIter::from_bytes(object.data, hash) {
                let Ok(entry) = entry else {
                    self.missing.insert(tree);
                    break;
                };
                if entry.mode.is_tree() {
                    let inner = self.folders.enter(folder, entry.filename);
                    waiting.extend(inner.map(|inner| (entry.oid.to_owned(), inner)));
                } else if entry.mode.is_blob() && self.folders.wants_file(folder, entry.filename) {
                    self.search_file((commits, number), (folder, entry.filename), entry.oid);
                }
            }
        }
        self.tree = buffer;
    }

    fn search_file(&mut self, (commits, number): (&[Commit], usize), (folder, name): (usize, &BStr), blob: &oid) {
        let content = match self.blobs.get(blob) {
            Some(content) => *content,
            None => self.read_blob(&commits[number], (folder, name), blob),
        };
        let Some(file) = content.and_then(|content| self.file(folder, name, content, number)) else {
            return;
        };
        file.first = file.first.min(number);
        file.last = file.last.max(number);
        if !commits[number].references.is_empty() {
            // No repository has four billion commits.
            let tip = u32::try_from(number).unwrap_or(u32::MAX);
            if let Err(at) = file.tips.binary_search(&tip) {
                file.tips.insert(at, tip);
            }
        }
    }

    /// Returns the file with this content, and adds it if it is new.
    fn file(&mut self, folder: usize, name: &BStr, content: usize, number: usize) -> Option<&mut File> {
        self.key.clear();
        self.key.extend_from_slice(&folder.to_ne_bytes());
        self.key.extend_from_slice(&content.to_ne_bytes());
        self.key.extend_from_slice(name);
        let known = self.numbers.get(&self.key).copied();
        if known.is_none() && self.files.len() >= MAX_FILES {
            self.is_too_large = true;
            return None;
        }
        let index = known.unwrap_or(self.files.len());
        if known.is_none() {
            self.numbers.insert(self.key.clone(), index);
            let name = name.to_owned();
            self.files.push(File { folder, name, content, first: number, last: number, tips: Vec::new() });
        }
        self.files.get_mut(index)
    }

    fn read_blob(&mut self, commit: &Commit, (folder, name): (usize, &BStr), id: &oid) -> Option<usize> {
        let objects = &self.repository.git.objects;
        let content = match objects.find(id, &mut self.blob) {
            Ok(object) => Some(object.data).filter(|data| data.len() <= MAX_INPUT_BYTES),
            // `gix` refuses to read an object above `ALLOCATION_LIMIT` (`repository.rs`), but tells its size.
            Err(_) if objects.try_header(id).is_ok_and(|header| header.is_some_and(is_large)) => None,
            Err(_) => {
                self.missing.insert(id.to_owned());
                self.blobs.insert(id.to_owned(), None);
                return None;
            }
        };
        let kept = (self.read)(&Blob { content, commit, folders: &self.folders, folder, name });
        let index = kept.map(|kept| {
            self.contents.push(kept);
            self.contents.len() - 1
        });
        self.blobs.insert(id.to_owned(), index);
        index
    }

    fn finish(self, paths: &[Vec<u8>], commits: Vec<Commit>) -> Revisions<T> {
        let Self { folders, files, contents, missing, is_too_large, .. } = self;
        let files = files.into_iter().map(|file| Revision {
            path: folders.path(file.folder, file.name.as_ref()),
            content: file.content,
            first: file.first,
            last: file.last,
            tips: file.tips,
        });
        Revisions {
            commits,
            contents,
            files: files.collect(),
            missing: missing.len(),
            is_shallow: self.repository.git.is_shallow().unwrap_or_default(),
            is_too_large: is_too_large || folders.are_too_many,
            absent: (0..paths.len()).filter(|index| !folders.has_found(&paths[*index])).collect(),
        }
    }
}

fn is_large(header: gix::objs::Header) -> bool {
    header.size > MAX_INPUT_BYTES as u64
}
