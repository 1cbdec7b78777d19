//! The folders of a work tree that a search enters, each with a number.

use std::collections::HashMap;

use gix::bstr::{BStr, BString, ByteSlice};

/// The most folders. A small repository can have billions: a tree can hold another tree under many names, and that tree
/// can hold a third one in the same way.
const MAX_FOLDERS: usize = 200_000;

/// The number of the work tree's root.
pub(super) const ROOT: usize = 0;

/// The folders that lead to the paths to search, and those below these paths.
pub(super) struct Folders {
    list: Vec<Folder>,
    /// Whether folders were left out because of [`MAX_FOLDERS`].
    pub(super) are_too_many: bool,
}

#[derive(Default)]
struct Folder {
    parent: usize,
    name: BString,
    /// Whether the folder is a path to search or is below such a path. The path can also be a file.
    is_searched: bool,
    /// Whether a commit has a file or folder of this path.
    is_found: bool,
    /// The numbers of its subfolders by name.
    folders: HashMap<BString, usize>,
}

impl Folders {
    /// Returns the folders that lead to these paths, which are relative to the root.
    pub(super) fn leading_to(paths: &[Vec<u8>]) -> Self {
        let mut folders = Self { list: vec![Folder::default()], are_too_many: false };
        for path in paths {
            let mut at = ROOT;
            for name in path.split_str("/").filter(|name| !name.is_empty()) {
                let known = folders.list[at].folders.get(name.as_bstr()).copied();
                at = known.unwrap_or_else(|| folders.add(at, name.as_bstr()));
            }
            folders.list[at].is_searched = true;
        }
        folders
    }

    /// Returns the number of a subfolder, which it adds if it is new; `None` if the subfolder is not searched. Marks a
    /// path to search as found.
    pub(super) fn enter(&mut self, folder: usize, name: &BStr) -> Option<usize> {
        if let Some(known) = self.list[folder].folders.get(name).copied() {
            self.list[known].is_searched |= self.list[folder].is_searched;
            self.list[known].is_found = true;
            return Some(known);
        }
        if !self.list[folder].is_searched {
            return None;
        }
        if self.list.len() >= MAX_FOLDERS {
            self.are_too_many = true;
            return None;
        }
        let added = self.add(folder, name);
        self.list[added].is_searched = true;
        Some(added)
    }

    /// Whether to search a file of a folder. If the file itself is a path to search, marks the path as found.
    pub(super) fn wants_file(&mut self, folder: usize, name: &BStr) -> bool {
        let named = self.list[folder].folders.get(name).copied();
        let named = named.filter(|named| self.list[*named].is_searched);
        if let Some(named) = named {
            self.list[named].is_found = true;
        }
        named.is_some() || self.list[folder].is_searched
    }

    /// The path of a file, as Git stores it.
    pub(super) fn path(&self, mut folder: usize, file: &BStr) -> Vec<u8> {
        let mut names = vec![file];
        while folder != ROOT {
            names.push(self.list[folder].name.as_bstr());
            folder = self.list[folder].parent;
        }
        names.reverse();
        gix::bstr::join("/", names)
    }

    /// Whether a commit has a file or folder of this path, which was given to [`Self::leading_to`].
    pub(super) fn has_found(&self, path: &[u8]) -> bool {
        let mut names = path.split_str("/").filter(|name| !name.is_empty());
        let folder = names.try_fold(ROOT, |at, name| self.list[at].folders.get(name.as_bstr()).copied());
        folder.is_some_and(|folder| folder == ROOT || self.list[folder].is_found)
    }

    fn add(&mut self, parent: usize, name: &BStr) -> usize {
        let number = self.list.len();
        self.list[parent].folders.insert(name.to_owned(), number);
        self.list.push(Folder { parent, name: name.to_owned(), ..Folder::default() });
        number
    }
}
