//! The packages in `Cargo.lock`.

use std::collections::BTreeSet;
use std::io;

/// Name, version and checksum of a package. The checksum of a package of this repository is empty.
pub type Locked = [String; 3];

/// Reads the packages of a lock file. `path` is relative to the repository.
pub fn packages(path: &str) -> io::Result<BTreeSet<Locked>> {
    let text = std::fs::read_to_string(format!("{}/../{path}", env!("CARGO_MANIFEST_DIR")))?;
    let field = |package: &str, name: &str| {
        let value = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        value.unwrap_or_default().trim_matches('"').to_owned()
    };
    let packages = text.split("[[package]]").skip(1);
    Ok(packages.map(|package| ["name", "version", "checksum"].map(|name| field(package, name))).collect())
}
