//! The folder of manifests: every SealedSecret in it, and every file that could not be read.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use waxseal_shared::key_life::forbids_first_key;
use waxseal_shared::manifest::{self, DocumentKind, ManifestError, Stream};
use waxseal_shared::names::{Namespace, ObjectName};
use waxseal_shared::reason::Reason;
use waxseal_shared::sealed_secret::SealedSecret;

use super::doubts::{Doubt, is_void};
use super::durable_file::{self, shown};

/// The largest file that is read.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;
/// What is said of a SealedSecret without a namespace.
pub(super) const NO_NAMESPACE: &str = "metadata.namespace: missing; a folder has no default namespace";
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// What the folder holds at one moment.
#[derive(Default)]
pub(super) struct Reading {
    /// The SealedSecrets in the order of their files.
    pub(super) objects: Vec<Found>,
    /// The files and documents that could not be read.
    pub(super) unreadable: Vec<Unreadable>,
    /// The files that could hold what a SealedSecret became, if one stood there: many others are
    /// among them that never held one.
    pub(super) doubtful: Vec<Doubtful>,
    /// Where a Secret stands that nobody sealed: file and line.
    pub(super) plain_secrets: Vec<String>,
}

/// A SealedSecret and where it stands.
pub(super) struct Found {
    /// The file, relative to the folder.
    pub(super) file: String,
    /// The line on which its document begins.
    pub(super) line: usize,
    /// Its namespace; a manifest without one is refused, but not here.
    pub(super) namespace: Option<Namespace>,
    pub(super) name: ObjectName,
    pub(super) object: SealedSecret,
}

/// A file, or a document of it, that could not be read. Never quotes what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unreadable {
    /// The file, relative to the folder of manifests.
    pub(super) file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// A file, and the first of what is doubtful about it.
pub(super) struct Doubtful {
    /// The file, relative to the folder.
    pub(super) file: String,
    /// The place and what is doubtful there.
    pub(super) text: String,
}

impl Reading {
    /// Whether any value is sealed, to whatever key.
    pub(super) fn names_keys(&self) -> bool {
        self.objects.iter().any(|found| forbids_first_key(&found.object))
    }
}

impl Unreadable {
    /// Whether the manifest itself is at fault, or the reading of it.
    pub(super) fn reason(&self) -> Reason {
        if self.line.is_some() { Reason::Malformed } else { Reason::ApiUnavailable }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}", self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

/// Reads every manifest below a folder, in the order of their names.
///
/// Hidden files and folders are passed over; symlinks are followed, as mounts of the kubelet
/// consist of them, but no file or folder is read twice. Of a Secret only the place is told;
/// documents of other kinds are ignored.
pub(super) fn read(folder: &Path) -> Reading {
    let seen = fs::metadata(folder).iter().map(device_and_inode).collect();
    let mut reader = Reader { root: folder, seen, reading: Reading::default() };
    reader.read_folder(folder);
    reader.reading
}

struct Reader<'a> {
    root: &'a Path,
    /// Device and inode of what was read.
    seen: HashSet<(u64, u64)>,
    reading: Reading,
}

impl Reader<'_> {
    fn read_folder(&mut self, folder: &Path) {
        match visible_entries(folder) {
            Ok(names) => names.into_iter().for_each(|name| self.read_entry(&folder.join(name))),
            Err(error) => self.cannot_read(folder, &error),
        }
    }

    fn read_entry(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                if self.is_new(&metadata) {
                    self.read_folder(path);
                }
            }
            Ok(metadata) => {
                if is_manifest(path) && self.is_new(&metadata) {
                    self.read_file(path);
                }
            }
            Err(_) if is_gone(path) => {}
            Err(error) => self.cannot_read(path, &error),
        }
    }

    fn is_new(&mut self, metadata: &Metadata) -> bool {
        self.seen.insert(device_and_inode(metadata))
    }

    fn read_file(&mut self, path: &Path) {
        let bytes = match durable_file::read(path, MAX_FILE_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => return self.cannot_read(path, &error.source),
        };
        let Ok(text) = str::from_utf8(&bytes) else {
            return self.cannot_read(path, &io::Error::other("not UTF-8"));
        };
        match manifest::split(text) {
            Ok(stream) => self.read_documents(path, &stream),
            Err(error) => self.refuse(path, &error),
        }
    }

    fn read_documents(&mut self, path: &Path, stream: &Stream<'_>) {
        let mut doubt = None;
        let mut is_all_void = true;
        for (document, kind) in stream.kinds() {
            is_all_void &= kind.as_ref().is_ok_and(is_void);
            match kind {
                Ok(kind) => {
                    let line = document.line();
                    doubt = doubt.or_else(|| Some((line, Doubt::about(&kind)?)));
                    self.read_objects(path, line, &kind);
                }
                Err(error) => self.refuse(path, &error),
            }
        }
        if is_all_void {
            self.doubt(path, 1, &Doubt::Nothing);
        } else if let Some((line, doubt)) = doubt {
            self.doubt(path, line, &doubt);
        }
    }

    fn read_objects(&mut self, path: &Path, line: usize, kind: &DocumentKind) {
        match kind {
            DocumentKind::List(items) => items.iter().for_each(|item| self.read_objects(path, line, item)),
            DocumentKind::SealedSecret(sealed) => match sealed.read() {
                Ok(object) => self.add(path, line, object),
                Err(error) => self.refuse(path, &error),
            },
            DocumentKind::Secret(_) => self.reading.plain_secrets.push(format!("{}:{line}", self.relative(path))),
            DocumentKind::Empty | DocumentKind::Other(_) => {}
        }
    }

    fn add(&mut self, path: &Path, line: usize, object: SealedSecret) {
        let namespace = object.metadata.namespace.as_deref().map(Namespace::parse).transpose();
        let name = ObjectName::parse(object.metadata.name.as_deref().unwrap_or_default());
        match (namespace, name) {
            (Ok(namespace), Ok(name)) => {
                self.reading.objects.push(Found { file: self.relative(path), line, namespace, name, object });
            }
            (Err(error), _) | (_, Err(error)) => self.cannot_read(path, &io::Error::other(error)),
        }
    }

    fn cannot_read(&mut self, path: &Path, error: &io::Error) {
        let (file, message) = (self.relative(path), format!("failed to read it: {error}"));
        self.reading.unreadable.push(Unreadable { file, line: None, column: None, message, hint: None });
    }

    fn refuse(&mut self, path: &Path, error: &ManifestError) {
        self.reading.unreadable.push(Unreadable {
            file: self.relative(path),
            line: error.place().map(|(line, _)| line),
            column: error.place().map(|(_, column)| column),
            message: error.to_string(),
            hint: error.hint().map(str::to_owned),
        });
    }

    fn doubt(&mut self, path: &Path, line: usize, doubt: &Doubt) {
        let file = self.relative(path);
        let text = match doubt.place() {
            Some((line, column)) => format!("{file}:{line}:{column}: {doubt}"),
            None => format!("{file}:{line}: {doubt}"),
        };
        self.reading.doubtful.push(Doubtful { file, text });
    }

    fn relative(&self, path: &Path) -> String {
        match path.strip_prefix(self.root) {
            Ok(relative) if relative != Path::new("") => shown(relative),
            _ => shown(path),
        }
    }
}

fn device_and_inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn visible_entries(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !name.as_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
}

/// Whether it vanished after its folder was listed; a symlink to nothing did not.
fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const SEALED: &str = "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nspec: {}\nmetadata: ";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            fs::write(path, text).expect("written");
        }
        folder
    }

    fn named(name: &str) -> String {
        format!("{SEALED}{{name: {name}, namespace: shop}}\n")
    }

    fn found(reading: &Reading) -> Vec<String> {
        reading.objects.iter().map(|found| format!("{}:{} {}", found.file, found.line, found.name)).collect()
    }

    #[test]
    fn every_sealed_secret_is_found_in_order_and_nothing_else() {
        let two = format!("{}---\nkind: ConfigMap\n---\n{}", named("b1"), named("b2"));
        let list = r#"{"apiVersion": "waxseal.dev/v1alpha1", "kind": "SealedSecretList", "items":
            [{"metadata": {"name": "c1", "namespace": "shop"}, "spec": {}}]}"#;
        let folder = folder(&[
            ("b.yml", &two),
            ("a/deep/a.yaml", &named("a")),
            ("c.json", list),
            ("notes.txt", "kind: ["),
            (".hidden.yaml", "kind: ["),
            (".git/x.yaml", "kind: ["),
        ]);
        let reading = read(folder.path());
        assert_eq!(found(&reading), ["a/deep/a.yaml:1 a", "b.yml:1 b1", "b.yml:7 b2", "c.json:1 c1"]);
        assert_eq!(reading.unreadable, []);
        assert_eq!(reading.plain_secrets, [""; 0]);
        assert!(!reading.names_keys());
    }

    #[test]
    fn a_mount_of_the_kubelet_is_read_once() {
        let folder = folder(&[("..2026_11/a.yaml", &named("a")), ("..2026_11/deep/b.yaml", &named("b"))]);
        symlink("..2026_11", folder.path().join("..data")).expect("linked");
        symlink("..data/a.yaml", folder.path().join("a.yaml")).expect("linked");
        symlink("..data/deep", folder.path().join("deep")).expect("linked");
        let reading = read(folder.path());
        assert_eq!(found(&reading), ["a.yaml:1 a", "deep/b.yaml:1 b"]);
    }

    #[test]
    fn loops_end_and_no_file_counts_twice() {
        let folder = folder(&[("a/a.yaml", &named("a"))]);
        symlink("..", folder.path().join("a/up")).expect("linked");
        symlink("a", folder.path().join("b")).expect("linked");
        symlink("a/a.yaml", folder.path().join("c.yaml")).expect("linked");
        symlink("self.yaml", folder.path().join("self.yaml")).expect("linked");
        let reading = read(folder.path());
        assert_eq!(found(&reading), ["a/a.yaml:1 a"]);
        assert_eq!(reading.unreadable.len(), 1);
        assert_eq!(reading.unreadable[0].file, "self.yaml");
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_place_and_the_rest_is_read() {
        let mixed = format!("{}---\n{SEALED}{{name: b, namespace: shop}}\nspecs: hunter2\n", named("a"));
        let slip = named("e").replace("kind: Sealed", "kind: Seald");
        let folder = folder(&[("a.yaml", &mixed), ("b.yaml", "a: [\n"), ("d.yaml", &named("d")), ("e.yaml", &slip)]);
        symlink("nowhere", folder.path().join("c.yaml")).expect("linked");
        let reading = read(folder.path());
        assert_eq!(found(&reading), ["a.yaml:1 a", "d.yaml:1 d"]);
        let said: Vec<_> = reading.unreadable.iter().map(Unreadable::to_string).collect();
        assert_eq!(said[0], "a.yaml:10:1: unknown field \"specs\" (did you mean \"spec\"?)");
        assert!(said[1].starts_with("b.yaml:"), "{}", said[1]);
        assert!(said[2].starts_with("c.yaml: failed to read it: "), "{}", said[2]);
        assert!(
            said[3].starts_with("e.yaml:1:1: a kind that waxseal.dev does not have (write `kind: S"),
            "{}",
            said[3]
        );
        let reasons: Vec<_> = reading.unreadable.iter().map(Unreadable::reason).collect();
        assert_eq!(reasons, [Reason::Malformed, Reason::Malformed, Reason::ApiUnavailable, Reason::Malformed]);
    }

    #[test]
    fn a_secret_that_nobody_sealed_is_told_with_its_place() {
        let plain = "apiVersion: v1\nkind: Secret\nstringData: {A: 0777}\n";
        let folder = folder(&[("a.yaml", &format!("{}---\n{plain}", named("a")))]);
        let reading = read(folder.path());
        assert_eq!((found(&reading), reading.unreadable), (vec!["a.yaml:1 a".to_owned()], Vec::new()));
        assert_eq!(reading.plain_secrets, ["a.yaml:5"]);
    }

    #[test]
    fn hidden_characters_in_names_of_files_are_replaced() {
        let plain = "apiVersion: v1\nkind: Secret\n";
        let folder = folder(&[
            ("a\nb\r/c\u{1b}\u{85}.yaml", &named("a")),
            ("bad\n.yaml", "a: ["),
            ("doubt\n.yaml", ""),
            ("plain\u{202e}\n.yaml", plain),
        ]);
        let reading = read(folder.path());
        assert_eq!(found(&reading), ["a\u{fffd}b\u{fffd}/c\u{fffd}\u{fffd}.yaml:1 a"]);
        assert!(reading.unreadable[0].to_string().starts_with("bad\u{fffd}.yaml:"), "{}", reading.unreadable[0]);
        assert!(reading.doubtful[0].text.starts_with("doubt\u{fffd}.yaml:1: "), "{}", reading.doubtful[0].text);
        assert_eq!(reading.doubtful[0].file, "doubt\u{fffd}.yaml");
        assert_eq!(reading.plain_secrets, ["plain\u{fffd}\u{fffd}.yaml:1"]);
    }

    #[test]
    fn a_folder_that_is_gone_is_unreadable() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gone");
        let reading = read(&path);
        assert_eq!(reading.unreadable[0].file, path.display().to_string());
    }
}
