//! The commits that references lead to, in the order in which they were made.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use gix::ObjectId;
use gix::bstr::BString;
use gix::objs::{CommitRefIter, Kind, TagRefIter};
use gix::prelude::FindExt;

use super::repository::Repository;

/// Which commits to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The commits that references point to.
    Tips,
    /// The commits that references other than tags point to: branches, remote-tracking branches, the heads of work
    /// trees, and others such as the stash.
    Branches,
    /// The commits that references point to, and all commits before them.
    History,
}

/// A commit, or a tree that a reference points to directly.
pub(crate) struct Commit {
    pub(crate) id: ObjectId,
    /// The committer's time in seconds since 1970; `None` for a tree, or if it cannot be read.
    pub(crate) seconds: Option<i64>,
    /// The short names of the references that point to it.
    pub(crate) references: Vec<String>,
    pub(super) tree: ObjectId,
    parents: Vec<ObjectId>,
}

pub(super) struct Commits {
    /// Parents come before their children; otherwise older commits come first.
    pub(super) oldest_first: Vec<Commit>,
    /// The objects that are missing or damaged.
    pub(super) missing: HashSet<ObjectId>,
}

impl Commits {
    pub(super) fn read(repository: &Repository, tips: BTreeMap<BString, ObjectId>, reach: Reach) -> Self {
        let mut reader = Reader::new(repository);
        for (name, tip) in tips {
            if reach == Reach::Branches && name.starts_with(b"refs/tags/") {
                continue;
            }
            if let Some(number) = reader.commit_of(tip) {
                reader.commits[number].add_reference(&name.to_string());
            }
        }
        let mut next = 0;
        while reach == Reach::History && next < reader.commits.len() {
            for parent in reader.commits[next].parents.clone() {
                reader.commit_of(parent);
            }
            next += 1;
        }
        Self { oldest_first: oldest_first(reader.commits, &reader.numbers), missing: reader.missing }
    }
}

impl Commit {
    /// Adds the name of a reference as Git accepts it: `main`, `origin/main`, `tags/v1`.
    fn add_reference(&mut self, name: &str) {
        // The head of this work tree has a second name, such as `main-worktree/HEAD`.
        let is_head = name.ends_with("/HEAD") && !name.starts_with("refs/");
        if is_head && self.references.iter().any(|known| known == "HEAD") {
            return;
        }
        let prefixes = ["refs/heads/", "refs/remotes/", "refs/"];
        let short = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
        self.references.push(short.unwrap_or(name).to_owned());
    }
}

struct Reader<'a> {
    repository: &'a Repository,
    commits: Vec<Commit>,
    /// The indexes of the commits in `commits`.
    numbers: HashMap<ObjectId, usize>,
    missing: HashSet<ObjectId>,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(repository: &'a Repository) -> Self {
        Self { repository, commits: vec![], numbers: HashMap::new(), missing: HashSet::new(), buffer: vec![] }
    }

    /// Returns the index of the commit that an object is or that a tag leads to. Returns `None` for an object that
    /// cannot be read, and for a blob: a reference that points to a blob gives no folder to search.
    fn commit_of(&mut self, mut id: ObjectId) -> Option<usize> {
        loop {
            if let Some(number) = self.numbers.get(&id) {
                return Some(*number);
            }
            match self.read(id) {
                Some(Object::Commit(commit)) => {
                    self.numbers.insert(id, self.commits.len());
                    self.commits.push(commit);
                }
                Some(Object::Tag(target)) => id = target,
                Some(Object::Blob) => return None,
                None => {
                    self.missing.insert(id);
                    return None;
                }
            }
        }
    }

    fn read(&mut self, id: ObjectId) -> Option<Object> {
        let hash = self.repository.git.object_hash();
        let object = self.repository.git.objects.find(&id, &mut self.buffer).ok()?;
        Some(match object.kind {
            Kind::Commit => {
                let fields = || CommitRefIter::from_bytes(object.data, hash);
                let seconds = fields().committer().ok().map(|committer| committer.seconds());
                let tree = fields().tree_id().ok()?;
                let parents = fields().parent_ids().collect();
                Object::Commit(Commit { id, seconds, references: Vec::new(), tree, parents })
            }
            Kind::Tree => {
                Object::Commit(Commit { id, seconds: None, references: Vec::new(), tree: id, parents: Vec::new() })
            }
            Kind::Tag => Object::Tag(TagRefIter::from_bytes(object.data, hash).target_id().ok()?),
            Kind::Blob => Object::Blob,
        })
    }
}

enum Object {
    /// A commit, or a tree as a commit without parents.
    Commit(Commit),
    /// A tag with the object that it points to.
    Tag(ObjectId),
    Blob,
}

/// Sorts commits: a commit comes after its parents, also if its clock was wrong.
fn oldest_first(commits: Vec<Commit>, numbers: &HashMap<ObjectId, usize>) -> Vec<Commit> {
    let parents = |commit: &Commit| -> Vec<usize> {
        commit.parents.iter().filter_map(|parent| numbers.get(parent).copied()).collect()
    };
    let mut children = vec![0_usize; commits.len()];
    commits.iter().flat_map(parents).for_each(|parent| children[parent] += 1);
    let is_tip = |number: &usize| children[*number] == 0;
    let mut ready: BinaryHeap<_> =
        (0..commits.len()).filter(is_tip).map(|number| (commits[number].seconds, number)).collect();
    let mut commits: Vec<_> = commits.into_iter().map(Some).collect();
    let mut sorted = Vec::with_capacity(commits.len());
    while let Some((_, number)) = ready.pop() {
        let Some(commit) = commits[number].take() else {
            continue;
        };
        for parent in parents(&commit) {
            children[parent] -= 1;
            if children[parent] == 0 {
                ready.push((commits[parent].as_ref().and_then(|parent| parent.seconds), parent));
            }
        }
        sorted.push(commit);
    }
    sorted.reverse();
    sorted
}
