//! The generated files of `deploy/chart`: the definitions, a copy of the admission policy, and the README with the
//! table of values.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::Value;

const BEGIN: &str = "<!-- The table is generated from values.yaml: cargo run -p waxseal-tests --bin chart -->\n";
const END: &str = "<!-- The end of the table. -->\n";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to read the chart's values")]
    Values(#[from] serde_saphyr::Error),
    #[error("the chart's README has no place for the table of values")]
    NoPlace,
}

/// The folder of the chart.
pub fn folder() -> PathBuf {
    deploy().join("chart")
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

/// Returns the path of each generated file, relative to the [`folder`], and its text.
pub fn generated() -> Result<Vec<(&'static str, String)>, Error> {
    let policy = read(&deploy().join("kustomize/components/admission-policy/admission-policy.yaml"))?;
    let values = values(&read(&folder().join("values.yaml"))?)?;
    let readme = read(&folder().join("README.md"))?;
    let (before, rest) = readme.split_once(BEGIN).ok_or(Error::NoPlace)?;
    let (_, after) = rest.split_once(END).ok_or(Error::NoPlace)?;
    Ok(vec![
        ("files/crds.yaml", waxseal_shared::crds::to_yaml()),
        ("files/admission-policy.yaml", policy),
        ("README.md", format!("{before}{BEGIN}{}{END}{after}", table(&values))),
    ])
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// A value of the chart that has a description.
#[derive(Debug, PartialEq)]
pub struct DescribedValue {
    /// Its keys from the top.
    pub path: Vec<String>,
    /// The comment above it, as one line.
    pub description: String,
    default: Value,
}

/// Reads the values that have a comment above them.
pub fn values(text: &str) -> Result<Vec<DescribedValue>, Error> {
    let defaults: Value = serde_saphyr::from_str(text)?;
    let (mut values, mut path, mut comment) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines() {
        let words = line.trim_start();
        if let Some(words) = words.strip_prefix("# ") {
            comment.push(words);
        } else if let Some((key, _)) = words.split_once(':') {
            path.truncate((line.len() - words.len()) / 2);
            path.push(key.to_owned());
            if !comment.is_empty() {
                let default = defaults.pointer(&format!("/{}", path.join("/"))).cloned().unwrap_or_default();
                values.push(DescribedValue { path: path.clone(), description: comment.join(" "), default });
            }
            comment.clear();
        } else {
            comment.clear();
        }
    }
    Ok(values)
}

fn table(values: &[DescribedValue]) -> String {
    let rows = values.iter().map(|value| {
        let DescribedValue { path, description, default } = value;
        format!("| `{}` | `{default}` | {description} |\n", path.join("."))
    });
    ["| value | default | meaning |\n| --- | --- | --- |\n".to_owned()].into_iter().chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_the_comment_above_it() {
        let text = "# About the file.\n\nimage:\n  # The image,\n  # without a tag.\n  name: a\n# A list.\nlist: []\nplain: 1\n";
        let rows = table(&values(text).expect("values"));
        let expected = "| `image.name` | `\"a\"` | The image, without a tag. |\n| `list` | `[]` | A list. |\n";
        assert_eq!(rows, format!("| value | default | meaning |\n| --- | --- | --- |\n{expected}"));
    }
}
