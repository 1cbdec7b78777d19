//! The bill of materials of a program (SBOM), in CycloneDX 1.6.
//!
//! Its components are the packages that Cargo compiles for the program on any [target](super::TARGETS), also those that
//! only run during the build: macros, build scripts, and what these need. `cargo metadata` would name more, because it
//! unites the features that all packages of the workspace ask for. The crate `cyclonedx-bom` is not used, because it
//! writes CycloneDX only up to 1.5.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::process::Command;

use serde_json::{Value, json};

use super::{Error, REPOSITORY, TARGETS, VERSION};
use crate::lock_file::{self, Locked};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Package and licence. Cargo writes the depth before them, and ` (*)` after them for a package that it has printed
/// already.
const FORMAT: &str = "|{p}|{l}|";

pub(super) fn text(program: &str) -> Result<String, Error> {
    let mut graph = Graph::default();
    graph.add(&tree(program)?)?;
    let root = format!("{program}@{VERSION}");
    let bill = bill(&graph, &root, &lock_file::packages("Cargo.lock").map_err(Error::Lock)?);
    Ok(format!("{bill:#}\n"))
}

/// Asks Cargo for the trees of all targets, with an empty line between two.
fn tree(program: &str) -> Result<String, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let output = Command::new(cargo)
        .current_dir(FOLDER)
        .args(["tree", "--locked", "--package", program, "--edges", "normal,build"])
        .args(TARGETS.iter().flat_map(|target| ["--target", target.triple]))
        .args(["--prefix", "depth", "--format", FORMAT])
        .output()
        .map_err(Error::Cargo)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(Error::Tree { program: program.to_owned(), log })
        }
    }
}

fn bill(graph: &Graph, root: &str, lock: &BTreeSet<Locked>) -> Value {
    let component = |(id, package): (&String, &Package)| package.component(id, lock);
    let others = graph.packages.iter().filter(|(id, _)| *id != root);
    let mut program = graph.packages.get_key_value(root).map(component).unwrap_or_default();
    program["type"] = json!("application");
    let needs = graph.needs.iter().map(|(id, needs)| json!({"ref": id, "dependsOn": needs}));
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": program},
        "components": others.map(component).collect::<Vec<_>>(),
        "dependencies": needs.collect::<Vec<_>>(),
    })
}

/// Packages and what they need, by `NAME@VERSION`.
#[derive(Default)]
struct Graph {
    packages: BTreeMap<String, Package>,
    needs: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// Adds trees. Cargo prints the needs of a package once: where the package comes again, they are left out.
    fn add(&mut self, trees: &str) -> Result<(), Error> {
        let mut above: Vec<String> = Vec::new();
        for line in trees.lines().filter(|line| !line.is_empty()) {
            let (depth, package) = Package::parse(line).ok_or_else(|| Error::TreeLine { line: line.to_owned() })?;
            let id = format!("{}@{}", package.name, package.version);
            above.truncate(depth);
            if let Some(user) = above.last() {
                self.needs.entry(user.clone()).or_default().insert(id.clone());
            }
            self.needs.entry(id.clone()).or_default();
            self.packages.insert(id.clone(), package);
            above.push(id);
        }
        Ok(())
    }
}

struct Package {
    name: String,
    version: String,
    licence: String,
    /// The folder in this repository; `None` for a package of crates.io.
    folder: Option<String>,
}

impl Package {
    /// Reads a line such as `2|clap_derive v4.6.7 (proc-macro)|MIT OR Apache-2.0| (*)` or `0|waxseal v0.1.0
    /// (/a/cli)|…|`.
    fn parse(line: &str) -> Option<(usize, Self)> {
        let mut fields = line.split('|');
        let depth = fields.next()?.parse().ok()?;
        let (package, licence) = (fields.next()?, fields.next()?);
        let mut words = package.split(' ');
        let (name, version) = (words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned());
        let path = package.split_once(" (/").map(|(_, path)| path.trim_end_matches(')'));
        let folder = path.and_then(|path| path.rsplit('/').next()).map(str::to_owned);
        // Older packages have a slash between licences, which SPDX does not know.
        Some((depth, Self { name, version, licence: licence.replace('/', " OR "), folder }))
    }

    fn component(&self, id: &str, lock: &BTreeSet<Locked>) -> Value {
        let Self { name, version, licence, .. } = self;
        let mut component = json!({
            "type": "library",
            "bom-ref": id,
            "name": name,
            "version": version,
            "purl": self.address(),
            "licenses": [{"expression": licence}],
        });
        let locked = lock.iter().find(|[locked, number, _]| locked == name && number == version);
        if let Some([_, _, checksum]) = locked.filter(|_| self.folder.is_none()) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        component
    }

    /// The package URL, see <https://github.com/package-url/purl-spec>.
    fn address(&self) -> String {
        let Self { name, version, folder, .. } = self;
        match folder {
            Some(folder) => {
                format!("pkg:github{}@v{version}#{folder}", REPOSITORY.trim_start_matches("https://github.com"))
            }
            None => format!("pkg:cargo/{name}@{}", version.replace('+', "%2B")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_become_packages_and_what_they_need() {
        let trees = "0|a v1.0.0 (/home/a b/cli)|MIT|\n1|b v2.0.0+c (proc-macro)|MIT/ISC|\n2|c v3.0.0|MIT|\n\
                    1|d v4.0.0|MIT|\n2|b v2.0.0+c (proc-macro)|MIT/ISC| (*)\n\n\
                    0|a v1.0.0 (/home/a b/cli)|MIT|\n1|c v3.0.0|MIT|\n";
        let mut graph = Graph::default();
        graph.add(trees).expect("two trees");
        let needs: Vec<_> = graph.needs.iter().map(|(id, needs)| (id.as_str(), Vec::from_iter(needs))).collect();
        assert_eq!(
            format!("{needs:?}"),
            r#"[("a@1.0.0", ["b@2.0.0+c", "c@3.0.0", "d@4.0.0"]), ("b@2.0.0+c", ["c@3.0.0"]), ("c@3.0.0", []), ("d@4.0.0", ["b@2.0.0+c"])]"#
        );
        let [a, b] = ["a@1.0.0", "b@2.0.0+c"].map(|id| &graph.packages[id]);
        assert_eq!([a.address(), b.address()], ["pkg:github/waxseal/waxseal@v1.0.0#cli", "pkg:cargo/b@2.0.0%2Bc"]);
        assert_eq!(b.licence, "MIT OR ISC");
    }

    #[test]
    fn an_unknown_line_of_a_tree_is_refused() {
        let refused = Graph::default().add("[build-dependencies]").expect_err("no package");
        assert_eq!(refused.to_string(), "failed to understand `cargo tree`: [build-dependencies]");
    }
}
