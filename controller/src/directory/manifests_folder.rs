//! The folder of manifests: every SealedSecret in it, and every file that the controller does not understand.
//!
//! The controller follows every symlink: the mounts of the kubelet consist of symlinks, and the owner of the folder
//! vouches for its content. In a folder, the CLI (`cli/src/input.rs`) follows only symlinks to files below that folder.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use waxseal_shared::manifest::{self, DocumentKind, ManifestError, Stream};
use waxseal_shared::names::{Namespace, ObjectName};
use waxseal_shared::reason::Reason;
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::visible_text::visible_path;

use super::durable_file;
use super::folders::visible_entries;
use super::secret_name::SecretName;

const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];
const NO_NAMESPACE: &str = "metadata.namespace: missing; a folder has no default namespace";
const EMPTY_FILE: &str = "no object in it (delete the file if its Secrets should be deleted)";
const EMPTY_LIST: &str = "a list without items (if the Secrets that were in it should be deleted, delete the list, or \
                          the file if it holds nothing else)";
const EMPTY_ITEM: &str = "an item of the list is empty (remove it)";
const NOT_AN_OBJECT: &str = "not a Kubernetes object, which has an apiVersion and a kind";

/// The content of the folder at one moment.
#[derive(Default)]
pub(super) struct FolderContents {
    /// The SealedSecrets by name. If several have the same name, all of them are here.
    pub(super) by_name: BTreeMap<SecretName, Vec<SealedManifest>>,
    /// The files and documents that could not be read, and the SealedSecrets without a namespace.
    pub(super) unreadable: Vec<UnclearFile>,
    /// For each file that could be read: the first place that should hold a Kubernetes object and does not.
    pub(super) not_objects: Vec<UnclearFile>,
    /// The places of Secrets that are not sealed: file and line.
    pub(super) plain_secrets: Vec<String>,
}

/// A SealedSecret and its place.
pub(super) struct SealedManifest {
    /// The file, relative to the folder.
    pub(super) file: String,
    /// The line on which its document begins.
    pub(super) line: usize,
    pub(super) object: SealedSecret,
}

/// A file, or a document in a file, that the controller does not understand: it may be a SealedSecret. Never shows a
/// value of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnclearFile {
    /// The file, relative to the folder.
    file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl FolderContents {
    pub(super) fn sealed_secrets(&self) -> impl Iterator<Item = &SealedManifest> {
        self.by_name.values().flatten()
    }

    /// The first unreadable file, or else the first of `not_objects`: a SealedSecret that is missing may be in it.
    pub(super) fn first_unclear(&self) -> Option<&UnclearFile> {
        self.unreadable.first().or(self.not_objects.first())
    }
}

impl UnclearFile {
    /// `ApiUnavailable` if the file gave no text: it could not be read, is too large or is not UTF-8. Otherwise
    /// `Malformed`.
    pub(super) fn reason(&self) -> Reason {
        if self.line.is_some() { Reason::Malformed } else { Reason::ApiUnavailable }
    }
}

impl fmt::Display for UnclearFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}", self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, " ({hint})"))
    }
}

/// Reads every manifest below a folder, in the order of the file names.
///
/// Ignores hidden files and folders, and reads no file or folder twice. Of a Secret that is not sealed, it returns only
/// the place. Ignores objects of other kinds.
pub(super) fn read(folder: &Path) -> FolderContents {
    let seen = fs::metadata(folder).iter().map(device_and_inode).collect();
    let mut reader = Reader { root: folder, seen, contents: FolderContents::default() };
    reader.read_folder(folder);
    reader.contents
}

struct Reader<'a> {
    root: &'a Path,
    /// Device and inode of every file and folder that was read.
    seen: HashSet<(u64, u64)>,
    contents: FolderContents,
}

impl Reader<'_> {
    fn read_folder(&mut self, folder: &Path) {
        match visible_entries(folder) {
            Ok(entries) => entries.iter().for_each(|entry| self.read_entry(&entry.path())),
            Err(error) => self.cannot_read(folder, &error),
        }
    }

    fn read_entry(&mut self, path: &Path) {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(_) if is_gone(path) => return,
            Err(error) => return self.cannot_read(path, &error),
        };
        if metadata.is_dir() && path.is_symlink() && is_above(path, self.root) {
            return self.cannot_read(path, &io::Error::other("this link leads to a folder above the manifests"));
        }
        let is_read = metadata.is_dir() || is_manifest(path);
        if is_read && self.seen.insert(device_and_inode(&metadata)) {
            if metadata.is_dir() { self.read_folder(path) } else { self.read_file(path) }
        }
    }

    fn read_file(&mut self, path: &Path) {
        let bytes = durable_file::read(path, MAX_FILE_BYTES);
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|_| io::Error::other("not UTF-8")));
        match text.as_deref().map(manifest::split) {
            Ok(Ok(stream)) => self.read_documents(path, &stream),
            Ok(Err(error)) => self.refuse(path, &error),
            Err(error) => self.cannot_read(path, error),
        }
    }

    fn read_documents(&mut self, path: &Path, stream: &Stream<'_>) {
        // Comments before the first `---` are an empty document.
        let mut documents = stream.kinds().filter(|(_, kind)| !matches!(kind, Ok(DocumentKind::Empty))).peekable();
        if documents.peek().is_none() {
            self.is_not_object(path, 1, EMPTY_FILE);
        }
        for (document, kind) in documents {
            match kind {
                Ok(kind) => self.read_object(path, document.line(), &kind),
                Err(error) => self.refuse(path, &error),
            }
        }
    }

    fn read_object(&mut self, path: &Path, line: usize, kind: &DocumentKind) {
        match kind {
            DocumentKind::List(items) if items.is_empty() => self.is_not_object(path, line, EMPTY_LIST),
            DocumentKind::List(items) => items.iter().for_each(|item| self.read_object(path, line, item)),
            DocumentKind::SealedSecret(sealed) => match sealed.read() {
                Ok(object) => self.add(path, line, object),
                Err(error) => self.refuse(path, &error),
            },
            DocumentKind::Secret(_) => self.contents.plain_secrets.push(format!("{}:{line}", self.relative(path))),
            DocumentKind::Empty => self.is_not_object(path, line, EMPTY_ITEM),
            DocumentKind::Other(object) if object.is_kubernetes_object() => {}
            DocumentKind::Other(_) => self.is_not_object(path, line, NOT_AN_OBJECT),
        }
    }

    fn add(&mut self, path: &Path, line: usize, object: SealedSecret) {
        let namespace = object.metadata.namespace.as_deref().map(Namespace::parse);
        let name = object.metadata.name.as_deref().map(ObjectName::parse);
        // A SealedSecret that was read has valid names: only the namespace can be missing.
        let (Some(Ok(namespace)), Some(Ok(name))) = (namespace, name) else {
            return self.contents.unreadable.push(self.unclear(path, Some(line), NO_NAMESPACE.to_owned()));
        };
        let manifest = SealedManifest { file: self.relative(path), line, object };
        self.contents.by_name.entry(SecretName { namespace, name }).or_default().push(manifest);
    }

    fn cannot_read(&mut self, path: &Path, error: &io::Error) {
        self.contents.unreadable.push(self.unclear(path, None, format!("failed to read it: {error}")));
    }

    fn refuse(&mut self, path: &Path, error: &ManifestError) {
        let ((line, column), hint) = (error.place().unzip(), error.hint().map(str::to_owned));
        let unclear = UnclearFile { column, hint, ..self.unclear(path, line, error.to_string()) };
        self.contents.unreadable.push(unclear);
    }

    fn is_not_object(&mut self, path: &Path, line: usize, message: &str) {
        let unclear = self.unclear(path, Some(line), message.to_owned());
        if self.contents.not_objects.last().is_none_or(|last| last.file != unclear.file) {
            self.contents.not_objects.push(unclear);
        }
    }

    fn unclear(&self, path: &Path, line: Option<usize>, message: String) -> UnclearFile {
        UnclearFile { file: self.relative(path), line, column: None, message, hint: None }
    }

    fn relative(&self, path: &Path) -> String {
        let relative = path.strip_prefix(self.root).ok().filter(|relative| *relative != Path::new(""));
        visible_path(relative.unwrap_or(path))
    }
}

fn device_and_inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Whether a link leads to a folder in which another folder is. Reading it could mean to read the whole machine.
fn is_above(link: &Path, folder: &Path) -> bool {
    let (Ok(target), Ok(folder)) = (link.canonicalize(), folder.canonicalize()) else { return false };
    folder != target && folder.starts_with(target)
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// Whether the entry vanished after its folder was listed. A symlink to nothing did not vanish.
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

    #[test]
    fn extensions_in_capitals_are_read_too() {
        let folder = folder(&[("DB.YAML", &named("a"))]);
        assert_eq!(found(&read(folder.path())), ["DB.YAML:1 a"]);
    }

    fn found(contents: &FolderContents) -> Vec<String> {
        let name = |manifest: &SealedManifest| manifest.object.metadata.name.clone().unwrap_or_default();
        contents.sealed_secrets().map(|found| format!("{}:{} {}", found.file, found.line, name(found))).collect()
    }

    #[test]
    fn every_sealed_secret_is_found_in_order_and_nothing_else() {
        let two = format!("{}---\napiVersion: v1\nkind: ConfigMap\n---\n{}", named("b1"), named("b2"));
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
        let contents = read(folder.path());
        assert_eq!(found(&contents), ["a/deep/a.yaml:1 a", "b.yml:1 b1", "b.yml:8 b2", "c.json:1 c1"]);
        assert_eq!(contents.unreadable, []);
        assert_eq!(contents.plain_secrets, [""; 0]);
        assert_eq!(contents.first_unclear(), None);
    }

    #[test]
    fn a_mount_of_the_kubelet_is_read_once() {
        let folder = folder(&[("..2026_11/a.yaml", &named("a")), ("..2026_11/deep/b.yaml", &named("b"))]);
        symlink("..2026_11", folder.path().join("..data")).expect("linked");
        symlink("..data/a.yaml", folder.path().join("a.yaml")).expect("linked");
        symlink("..data/deep", folder.path().join("deep")).expect("linked");
        let contents = read(folder.path());
        assert_eq!(found(&contents), ["a.yaml:1 a", "deep/b.yaml:1 b"]);
    }

    #[test]
    fn loops_end_and_no_file_counts_twice() {
        let folder = folder(&[("a/a.yaml", &named("a"))]);
        symlink("..", folder.path().join("a/up")).expect("linked");
        symlink("a", folder.path().join("b")).expect("linked");
        symlink("a/a.yaml", folder.path().join("c.yaml")).expect("linked");
        symlink("self.yaml", folder.path().join("self.yaml")).expect("linked");
        let contents = read(folder.path());
        assert_eq!(found(&contents), ["a/a.yaml:1 a"]);
        assert_eq!(contents.unreadable.len(), 1);
        assert_eq!(contents.unreadable[0].file, "self.yaml");
    }

    #[test]
    fn unreadable_documents_are_named_with_their_places_and_the_others_are_read() {
        let mixed = format!("{}---\n{SEALED}{{name: b, namespace: shop}}\nspecs: hunter2\n", named("a"));
        let slip = named("e").replace("kind: Sealed", "kind: Seald");
        let folder = folder(&[("a.yaml", &mixed), ("b.yaml", "a: [\n"), ("d.yaml", &named("d")), ("e.yaml", &slip)]);
        symlink("nowhere", folder.path().join("c.yaml")).expect("linked");
        let contents = read(folder.path());
        assert_eq!(found(&contents), ["a.yaml:1 a", "d.yaml:1 d"]);
        let said: Vec<_> = contents.unreadable.iter().map(UnclearFile::to_string).collect();
        assert_eq!(said[0], "a.yaml:10:1: unknown field \"specs\" (did you mean \"spec\"?)");
        assert!(said[1].starts_with("b.yaml:"), "{}", said[1]);
        assert!(said[2].starts_with("c.yaml: failed to read it: "), "{}", said[2]);
        assert!(
            said[3].starts_with("e.yaml:1:1: a kind that waxseal.dev does not have (write `kind: S"),
            "{}",
            said[3]
        );
        let reasons: Vec<_> = contents.unreadable.iter().map(UnclearFile::reason).collect();
        assert_eq!(reasons, [Reason::Malformed, Reason::Malformed, Reason::ApiUnavailable, Reason::Malformed]);
    }

    #[test]
    fn an_unsealed_secret_is_listed_with_its_place() {
        let plain = "apiVersion: v1\nkind: Secret\nstringData: {A: 0777}\n";
        let folder = folder(&[("a.yaml", &format!("{}---\n{plain}", named("a")))]);
        let contents = read(folder.path());
        assert_eq!((found(&contents), contents.unreadable), (vec!["a.yaml:1 a".to_owned()], Vec::new()));
        assert_eq!(contents.plain_secrets, ["a.yaml:5"]);
    }

    #[test]
    fn hidden_characters_in_names_of_files_are_escaped() {
        let plain = "apiVersion: v1\nkind: Secret\n";
        let folder = folder(&[
            ("a\nb\r/c\u{1b}\u{85}.yaml", &named("a")),
            ("bad\n.yaml", "a: ["),
            ("empty\n.yaml", ""),
            ("plain\u{202e}\n.yaml", plain),
        ]);
        let contents = read(folder.path());
        assert_eq!(found(&contents), ["a\\nb\\r/c\\u{1b}\\u{85}.yaml:1 a"]);
        assert!(contents.unreadable[0].to_string().starts_with("bad\\n.yaml:"), "{}", contents.unreadable[0]);
        assert!(contents.not_objects[0].to_string().starts_with("empty\\n.yaml:1: "), "{}", contents.not_objects[0]);
        assert_eq!(contents.plain_secrets, ["plain\\u{202e}\\n.yaml:1"]);
    }

    /// What is unclear about a file of this text, and how many SealedSecrets are in it.
    fn unclear(text: impl AsRef<[u8]>) -> (Option<String>, usize) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("db.yaml"), text).expect("written");
        let contents = read(folder.path());
        (contents.first_unclear().map(ToString::to_string), contents.sealed_secrets().count())
    }

    #[test]
    fn a_file_without_objects_and_a_document_that_is_not_an_object_are_unclear() {
        for text in ["", "# c\n", "---\n", "~", "# c\n---\n# d\n"] {
            let expected = "db.yaml:1: no object in it (delete the file if its Secrets should be deleted)";
            assert_eq!(unclear(text).0.as_deref(), Some(expected), "{text}");
        }
        for text in [
            "apiversion: v1\nkind: ConfigMap",
            "kind: SealedSecret",
            "apiVersion: v1",
            "apiVersion:\nkind: ConfigMap",
            "apiVersion: v1\nkind: ''",
            "text",
            "- apiVersion: v1\n  kind: ConfigMap",
            "{}",
            "apiVersion: v1\nkind: List\nitems: [{kind: ConfigMap}]",
            "apiVersion: v1\nkind: ConfigMap\n---\nreplicas: 3",
        ] {
            let said = unclear(text).0.unwrap_or_default();
            assert!(said.ends_with(": not a Kubernetes object, which has an apiVersion and a kind"), "{text}: {said}");
        }
        for items in ["", "items:", "items: []"] {
            let expected = format!("db.yaml:1: {EMPTY_LIST}");
            assert_eq!(
                unclear(format!("apiVersion: v1\nkind: List\n{items}")).0.as_deref(),
                Some(expected.as_str()),
                "{items}"
            );
        }
        let expected = "db.yaml:1: an item of the list is empty (remove it)";
        assert_eq!(unclear("apiVersion: v1\nkind: List\nitems: [~]").0.as_deref(), Some(expected));
        let expected = "db.yaml:1: metadata.namespace: missing; a folder has no default namespace";
        assert_eq!(unclear(format!("{SEALED}{{name: db}}\n")), (Some(expected.to_owned()), 0));
    }

    #[test]
    fn each_file_has_only_its_first_place_without_an_object() {
        let folder = folder(&[("a.yaml", "replicas: 3\n---\ntext\n"), ("b.yaml", "")]);
        let said: Vec<_> = read(folder.path()).not_objects.iter().map(UnclearFile::to_string).collect();
        let not_an_object = "a.yaml:1: not a Kubernetes object, which has an apiVersion and a kind";
        let empty = "b.yaml:1: no object in it (delete the file if its Secrets should be deleted)";
        assert_eq!(said, [not_an_object, empty]);
    }

    #[test]
    fn objects_of_every_kind_are_understood() {
        for text in [
            "# c\n---\napiVersion: v1\nkind: ConfigMap\ndata: {a: no}",
            "apiVersion: v1\nkind: Secret\nstringData: {a: 0777}",
            "apiVersion: bitnami.com/v1alpha1\nkind: SealedSecret",
            "apiVersion: v1\nkind: ConfigMap\ndata: {a: &a x, b: *a, b: y}",
            "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod}]",
            "apiVersion: waxseal.dev/v1alpha1\nkind: SealingKey",
        ] {
            assert_eq!(unclear(text).0, None, "{text}");
        }
    }

    #[test]
    fn a_sealed_secret_that_was_cut_off_is_there_or_unclear() {
        let text = format!("# mine\n{}", named("db"));
        for end in 0..text.len() {
            let (unclear, count) = unclear(&text[..end]);
            assert!(unclear.is_some() || count == 1, "{}", &text[..end]);
        }
    }

    #[test]
    fn a_folder_that_is_gone_is_unreadable() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gone");
        let contents = read(&path);
        assert_eq!(contents.unreadable[0].file, path.display().to_string());
    }

    #[test]
    fn a_link_to_a_folder_above_is_not_followed() {
        let outer = folder(&[("secret.yaml", SEALED), ("manifests/note.yaml", "kind: ConfigMap\napiVersion: v1\n")]);
        let manifests = outer.path().join("manifests");
        symlink(outer.path(), manifests.join("up")).expect("linked");
        let contents = read(&manifests);
        assert_eq!(contents.by_name.len(), 0);
        let unreadable: Vec<_> = contents.unreadable.iter().map(ToString::to_string).collect();
        assert_eq!(unreadable, ["up: failed to read it: this link leads to a folder above the manifests"]);
    }
}
