//! `.waxseal.yaml`: the clusters of a repository, and the rules that say which files are sealed to which clusters.
//!
//! This module checks the text. `configuration/search.rs` finds the file, and `clusters.rs` reads the keys files that
//! it names.

mod globs;
pub(crate) mod search;

use std::borrow::{Borrow, Cow};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use waxseal_shared::manifest::{error_at, read_one};
use waxseal_shared::names::Namespace;
use waxseal_shared::sealed_secret::Scope;

use self::globs::{GlobFault, Globs};
use crate::error::CliError;

pub(crate) const FILE_NAME: &str = ".waxseal.yaml";

/// A `.waxseal.yaml` that was read and checked.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// The folder of the file, without symbolic links. All paths in the file are relative to it.
    pub(crate) folder: PathBuf,
    /// The name of the file that messages show.
    pub(crate) place: String,
    /// The path of the keys file of each cluster, below the folder and without `..`.
    clusters: BTreeMap<ClusterName, PathBuf>,
    /// In the order of the file: the first rule that matches a path counts.
    rules: Vec<Rule>,
}

/// A rule: how the files on some paths are sealed.
#[derive(Debug)]
pub(crate) struct Rule {
    paths: Globs,
    /// The clusters to seal to, all of them clusters of the configuration; at least one.
    pub(crate) clusters: Vec<ClusterName>,
    /// The namespace for manifests without a namespace.
    pub(crate) namespace: Option<Namespace>,
    pub(crate) scope: Option<Scope>,
}

/// The name of a cluster in `.waxseal.yaml`: letters, digits, `.`, `_` and `-`, beginning with a letter or digit, at
/// most 63 bytes. It is shown in commands to copy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClusterName(String);

impl ClusterName {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let begins_well = text.starts_with(|first: char| first.is_ascii_alphanumeric());
        (is_plain && begins_well && text.len() <= 63).then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Lets a map of clusters be searched with any text, also with a text that no cluster can have as its name.
impl Borrow<str> for ClusterName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(rename = "version")]
    _version: u64,
    #[serde(default)]
    clusters: BTreeMap<String, ClusterFields>,
    #[serde(default)]
    rules: Vec<RuleFields>,
    #[serde(default, rename = "scan")]
    _scan: ScanFields,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFields {
    keys: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFields {
    paths: Vec<String>,
    clusters: Vec<String>,
    namespace: Option<String>,
    scope: Option<Scope>,
}

/// The fields for `waxseal scan`, a command of a later version: the files that the command will leave out. This version
/// already checks these fields, so that a configuration that it accepts stays valid.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ScanFields {
    #[serde(default, rename = "allow")]
    _allow: Vec<AllowFields>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowFields {
    #[serde(rename = "path")]
    _path: String,
    #[serde(rename = "reason")]
    _reason: String,
}

impl Configuration {
    /// Reads the text of a `.waxseal.yaml` in `folder`; `place` is the name that messages show.
    ///
    /// Refuses what [`read_one`] refuses, and unknown fields. Also refuses these, and says where they are: another
    /// version, a name that no cluster can have, a keys path that is not the path of a file below the folder or that
    /// leads into `.git`, two clusters with one keys file, a rule with an empty list, an unknown or repeated cluster,
    /// globs that are too many, too long or malformed, and a namespace that is not a DNS label.
    pub(crate) fn parse(folder: PathBuf, place: String, text: &str) -> Result<Self, CliError> {
        let reader = Reader { place: &place, text };
        let fields = reader.fields()?;
        let clusters = reader.clusters(&fields.clusters)?;
        let rules = reader.rules(&fields.rules, &clusters)?;
        Ok(Self { folder, place, clusters, rules })
    }

    /// Returns the number of the first rule that matches a path; the path is relative to the folder.
    pub(crate) fn rule_for(&self, path: &Path) -> Option<usize> {
        self.rules.iter().position(|rule| rule.paths.match_path(path))
    }

    pub(crate) fn rule(&self, number: usize) -> Option<&Rule> {
        self.rules.get(number)
    }

    /// The clusters, each with the path of its keys file.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = (&ClusterName, PathBuf)> {
        self.clusters.iter().map(|(name, path)| (name, self.folder.join(path)))
    }

    /// Finds a cluster, and the path of its keys file.
    pub(crate) fn cluster(&self, name: &str) -> Option<(&ClusterName, PathBuf)> {
        self.clusters.get_key_value(name).map(|(name, path)| (name, self.folder.join(path)))
    }
}

/// The text of a configuration, to name the place of an error in it.
struct Reader<'a> {
    place: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn fields(&self) -> Result<Fields, CliError> {
        // Reads the version first, and ignores unknown fields: the error for a later version names the version, and not
        // one of its new fields.
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }
        match read_one(self.text) {
            Ok(Version { version }) if version != 1 => {
                Err(self.refused(&["version"], "this waxseal reads version 1 only"))
            }
            _ => read_one(self.text).map_err(|error| CliError::manifest(self.place, &error)),
        }
    }

    fn clusters(&self, fields: &BTreeMap<String, ClusterFields>) -> Result<BTreeMap<ClusterName, PathBuf>, CliError> {
        let mut clusters = BTreeMap::new();
        for (name, ClusterFields { keys }) in fields {
            let cluster = ClusterName::parse(name).ok_or_else(|| {
                let error = self.refused(&["clusters", name], "not a name of a cluster");
                error.with_hint("use at most 63 letters, digits, - _ and ., beginning with a letter or digit")
            })?;
            let refused = |text: String| self.refused(&["clusters", name, "keys"], text);
            let path = path_below(keys).map_err(|fault| {
                refused(fault.to_owned()).with_hint(format!("write a path below the folder of {FILE_NAME}"))
            })?;
            if let Some((other, _)) = clusters.iter().find(|(_, other)| **other == path) {
                return Err(refused(format!("the cluster {other} has the same keys file")));
            }
            clusters.insert(cluster, path);
        }
        Ok(clusters)
    }

    fn rules(&self, fields: &[RuleFields], clusters: &BTreeMap<ClusterName, PathBuf>) -> Result<Vec<Rule>, CliError> {
        let total = globs::check_total(fields.iter().flat_map(|rule| &rule.paths));
        total.map_err(|fault| self.refused(&["rules"], fault.text))?;
        let rules = fields.iter().enumerate().map(|(index, rule)| self.rule(&index.to_string(), rule, clusters));
        rules.collect()
    }

    fn rule(&self, index: &str, fields: &RuleFields, known: &BTreeMap<ClusterName, PathBuf>) -> Result<Rule, CliError> {
        let refused = |field: &str, text: &str| self.refused(&["rules", index, field], text.to_owned());
        if fields.paths.is_empty() {
            return Err(refused("paths", "an empty list: the rule would match no file"));
        }
        if fields.clusters.is_empty() {
            return Err(refused("clusters", "an empty list: there would be nothing to seal to"));
        }
        let paths = self.paths(index, &fields.paths)?;
        let clusters = self.clusters_of_rule(index, &fields.clusters, known)?;
        let namespace = fields.namespace.as_deref().map(Namespace::parse).transpose();
        let namespace = namespace.map_err(|_| refused("namespace", "not a namespace: it must be a DNS label"))?;
        Ok(Rule { paths, clusters, namespace, scope: fields.scope })
    }

    fn paths(&self, rule: &str, texts: &[String]) -> Result<Globs, CliError> {
        Globs::parse(texts).map_err(|GlobFault { index, text, hint }| {
            let index = index.map(|index| index.to_string());
            let path: Vec<_> = ["rules", rule, "paths"].into_iter().chain(index.as_deref()).collect();
            let error = self.refused(&path, text);
            match hint {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        })
    }

    fn clusters_of_rule(
        &self,
        rule: &str,
        names: &[String],
        known: &BTreeMap<ClusterName, PathBuf>,
    ) -> Result<Vec<ClusterName>, CliError> {
        let (mut clusters, mut seen) = (Vec::new(), BTreeSet::new());
        for (index, name) in names.iter().enumerate() {
            let refused = |text: String| self.refused(&["rules", rule, "clusters", &index.to_string()], text);
            let Some((cluster, _)) = known.get_key_value(name.as_str()) else {
                return Err(refused(format!("not a cluster of this file, which has {}", joined(known.keys()))));
            };
            if !seen.insert(cluster) {
                return Err(refused("the cluster is in the list twice".to_owned()));
            }
            clusters.push(cluster.clone());
        }
        Ok(clusters)
    }

    fn refused(&self, path: &[&str], text: impl Into<Cow<'static, str>>) -> CliError {
        CliError::manifest(self.place, &error_at(self.text, path, text))
    }
}

/// Returns the names of clusters for a message: `prod, staging`, or `none`.
pub(crate) fn joined<'a>(names: impl Iterator<Item = &'a ClusterName>) -> String {
    let names: Vec<_> = names.map(ClusterName::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Returns the text as a path that stays below its folder, whatever that folder is. The error says why it does not.
fn path_below(text: &str) -> Result<PathBuf, &'static str> {
    if text.is_empty() || text.ends_with('/') {
        return Err("not the name of a file");
    }
    let mut path = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            // Files in `.git`, such as hooks, decide which programs Git starts.
            Component::Normal(name) if name.eq_ignore_ascii_case(".git") => return Err("leads into a Git repository"),
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err("a path with .."),
            Component::RootDir | Component::Prefix(_) => return Err("an absolute path"),
        }
    }
    if path.as_os_str().is_empty() { Err("not the name of a file") } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Configuration {
        Configuration::parse("/r".into(), FILE_NAME.to_owned(), text).expect(text)
    }

    fn refusal(text: &str) -> String {
        Configuration::parse("/r".into(), FILE_NAME.to_owned(), text).expect_err(text).to_string()
    }

    #[test]
    fn the_first_matching_rule_counts() {
        let configuration = parsed(
            "version: 1
clusters:
  prod: {keys: ./.waxseal/prod.yaml}
  staging: {keys: .waxseal/staging.yaml}
rules:
  - {paths: [apps/shop/db.yaml, 'lib/*.yaml'], clusters: [staging]}
  - {paths: ['apps/**'], clusters: [prod, staging], namespace: shop, scope: Namespace}
scan:
  allow: [{path: 'test/**', reason: generated}]
",
        );
        let names: Vec<_> = configuration.clusters().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["prod", "staging"]);
        let (_, keys) = configuration.cluster("prod").expect("a cluster");
        assert_eq!(keys, Path::new("/r/.waxseal/prod.yaml"));
        assert!(configuration.cluster("../prod").is_none());
        let rule = |path: &str| configuration.rule_for(Path::new(path));
        for (path, expected) in [
            ("apps/shop/db.yaml", Some(0)),
            ("lib/a.yaml", Some(0)),
            ("apps/shop/other.yaml", Some(1)),
            ("apps/db.yaml", Some(1)),
            ("lib/a/b.yaml", None),
            ("x.yaml", None),
        ] {
            assert_eq!(rule(path), expected, "{path}");
        }
        let second = configuration.rule(1).expect("a rule");
        assert_eq!(second.clusters.len(), 2);
        assert_eq!(second.namespace.as_ref().map(Namespace::as_str), Some("shop"));
        assert_eq!(second.scope, Some(Scope::Namespace));
    }

    #[test]
    fn the_smallest_file_has_a_version() {
        assert_eq!(parsed("version: 1\n").clusters().count(), 0);
        assert!(refusal("clusters: {}").contains("field \"version\" is missing"));
    }

    #[test]
    fn a_later_version_is_named_before_its_unknown_fields() {
        let expected = "error: .waxseal.yaml:2:10: version: this waxseal reads version 1 only";
        assert_eq!(refusal("groups: []\nversion: 2\n"), expected);
    }

    #[test]
    fn names_of_clusters_are_plain() {
        for name in ["prod", "Prod_1.eu-west", "0", &"x".repeat(63)] {
            assert!(ClusterName::parse(name).is_some(), "{name}");
        }
        for name in ["", "-prod", ".prod", "a/b", "a b", "é", "a\n", &"x".repeat(64)] {
            assert!(ClusterName::parse(name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn keys_paths_stay_below_their_folder() {
        for (text, expected) in [("a.yaml", "a.yaml"), ("./a//b/./c.yaml", "a/b/c.yaml"), ("..a/b", "..a/b")] {
            assert_eq!(path_below(text), Ok(PathBuf::from(expected)));
        }
        for text in ["", ".", "./", "a/", "/a", "..", "../a", "a/../../b", "a/..", ".git/config", "a/.GIT/x"] {
            assert!(path_below(text).is_err(), "{text:?}");
        }
    }
}
