//! Searches for files in the index, and in all commits that references lead to.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice};
use gix::objs::{CommitRefIter, Kind, TagRefIter, TreeRefIter};
use gix::prelude::FindExt;

use super::repository::Repository;
use super::{Doubt, Finding};

/// The position of the work tree's root in [`Search::folders`].
const ROOT: usize = 0;

/// Searches the repository of a folder that contains `.git` for files, each with its number, and sends findings.
/// The last finding is `End`, unless the thread panics.
pub(super) fn search(root: &Path, files: &[(usize, PathBuf)], findings: &Sender<Finding>) {
    let doubt = match Repository::open(root) {
        None => Some(Doubt::Unreadable),
        Some(mut repository) => {
            // A replacement (git-replace) hides a commit only in this clone: `git push` sends the commit itself.
            repository.git.objects.ignore_replacements = true;
            repository.git.refs.namespace = None;
            Search::new(&repository, findings).run(files)
        }
    };
    // Ignores errors: the receiver is gone after the timeout.
    let _unheard = findings.send(Finding::End(doubt));
}

struct Search<'a> {
    repository: &'a Repository,
    findings: &'a Sender<Finding>,
    /// The folders of the files to find; the first is the root.
    folders: Vec<Folder>,
    /// How many files are not found yet.
    missing: usize,
    /// The trees that were read, each with the index of the folder whose content it is.
    read: HashSet<(ObjectId, usize)>,
    buffer: Vec<u8>,
}

#[derive(Default)]
struct Folder {
    /// The indexes of its subfolders in [`Search::folders`], by name.
    folders: HashMap<BString, usize>,
    /// The numbers of its files that are not found yet, by name.
    files: HashMap<BString, usize>,
}

impl<'a> Search<'a> {
    fn new(repository: &'a Repository, findings: &'a Sender<Finding>) -> Self {
        let folders = vec![Folder::default()];
        Self { repository, findings, folders, missing: 0, read: HashSet::new(), buffer: Vec::new() }
    }

    /// Searches until all files are found. Returns a doubt if Git may have a file that the search did not find.
    fn run(mut self, files: &[(usize, PathBuf)]) -> Option<Doubt> {
        for (number, file) in files {
            let Some(path) = self.repository.relative(file) else {
                continue;
            };
            if self.repository.index.entry_range(path).is_some() {
                self.report(*number);
            } else {
                self.add(path, *number);
            }
        }
        if self.missing == 0 {
            return None;
        }
        if !self.repository.has_references_in_files() {
            return Some(Doubt::Unreadable);
        }
        match self.repository.tips() {
            Some(tips) => self.walk(tips.into_iter().collect()),
            None => Some(Doubt::Unreadable),
        }
    }

    /// Reads first what references point to, then the parents of these commits, and so on: a file is most likely in a
    /// commit near a reference.
    fn walk(mut self, mut waiting: VecDeque<ObjectId>) -> Option<Doubt> {
        let mut seen: HashSet<ObjectId> = waiting.iter().copied().collect();
        let mut is_complete = true;
        while let Some(id) = waiting.pop_front() {
            let Some((tree, next)) = self.step(id) else {
                is_complete = false;
                continue;
            };
            is_complete &= tree.is_none_or(|tree| self.search_tree(tree));
            if self.missing == 0 {
                return None;
            }
            waiting.extend(next.into_iter().filter(|next| seen.insert(*next)));
        }
        (!is_complete).then_some(Doubt::Incomplete)
    }

    fn add(&mut self, path: &BStr, number: usize) {
        let mut names: Vec<_> = path.split_str("/").map(BString::from).collect();
        let Some(file) = names.pop() else {
            return;
        };
        let mut at = ROOT;
        for name in names {
            let next = self.folders.len();
            at = *self.folders[at].folders.entry(name).or_insert(next);
            if at == next {
                self.folders.push(Folder::default());
            }
        }
        self.folders[at].files.insert(file, number);
        self.missing += 1;
    }

    fn report(&self, number: usize) {
        // Ignores errors: the receiver is gone after the timeout.
        let _unheard = self.findings.send(Finding::Has(number));
    }

    /// Reads an object that a reference, a tag or a commit names. Returns the tree to search and the objects to read
    /// next; `None` if the object is missing or damaged.
    fn step(&mut self, id: ObjectId) -> Option<(Option<ObjectId>, Vec<ObjectId>)> {
        let hash = self.repository.git.object_hash();
        let object = self.repository.git.objects.find(&id, &mut self.buffer).ok()?;
        Some(match object.kind {
            Kind::Commit => {
                let tree = CommitRefIter::from_bytes(object.data, hash).tree_id().ok()?;
                (Some(tree), CommitRefIter::from_bytes(object.data, hash).parent_ids().collect())
            }
            Kind::Tag => (None, vec![TagRefIter::from_bytes(object.data, hash).target_id().ok()?]),
            Kind::Tree => (Some(id), Vec::new()),
            Kind::Blob => (None, Vec::new()),
        })
    }

    /// Searches the tree of a commit; returns false if a tree is missing or damaged.
    fn search_tree(&mut self, tree: ObjectId) -> bool {
        let mut is_complete = true;
        let mut waiting = vec![(tree, ROOT)];
        while let Some((tree, at)) = waiting.pop() {
            if !self.read.insert((tree, at)) {
                continue;
            }
            let hash = self.repository.git.object_hash();
            let Ok(object) = self.repository.git.objects.find(&tree, &mut self.buffer) else {
                is_complete = false;
                continue;
            };
            let folder = &mut self.folders[at];
            for entry in TreeRefIter::from_bytes(object.data, hash) {
                let Ok(entry) = entry else {
                    is_complete = false;
                    break;
                };
                if entry.mode.is_tree() {
                    waiting.extend(folder.folders.get(entry.filename).map(|folder| (entry.oid.to_owned(), *folder)));
                } else if let Some(number) = folder.files.remove(entry.filename) {
                    self.missing -= 1;
                    let _unheard = self.findings.send(Finding::Has(number));
                }
            }
        }
        is_complete
    }
}
