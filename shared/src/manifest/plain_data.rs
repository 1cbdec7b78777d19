//! The parts of YAML beyond plain data, which are refused.

use std::collections::HashMap;

use super::error::ManifestError;
use super::node::{Content, Node, Tag};
use super::tree::Tree;
use super::unfinished::RENDER_IT;
use super::yaml::QUOTE_THE_SIGN;

const QUOTE_OR_WRITE_OUT: &str = "put a value that begins with & or * in quotes, or write the value out at each place";
const WRITE_IT_OUT: &str = "write the value out at each place";

/// Refuses, anywhere in a node: anchors, aliases, merge keys, tags other than `!!str`, keys that are not scalars, and
/// keys given twice.
pub(super) fn refuse_what_is_not_plain_data(root: &Node, tree: &Tree<'_>) -> Result<(), ManifestError> {
    for node in root.nodes() {
        refuse_anchors_aliases_and_tags(node).map_err(|error| error.at(node))?;
        refuse_keys(node, tree)?;
    }
    Ok(())
}

fn refuse_anchors_aliases_and_tags(node: &Node) -> Result<(), ManifestError> {
    if matches!(node.content, Content::Alias(_)) {
        return Err(ManifestError::new("aliases are not allowed").with_hint(QUOTE_OR_WRITE_OUT));
    }
    if node.anchor.is_some() {
        return Err(ManifestError::new("anchors are not allowed").with_hint(QUOTE_OR_WRITE_OUT));
    }
    if node.tag == Tag::Other {
        return Err(ManifestError::new("tags other than !!str are not allowed").with_hint(QUOTE_THE_SIGN));
    }
    Ok(())
}

fn refuse_keys(mapping: &Node, tree: &Tree<'_>) -> Result<(), ManifestError> {
    let mut seen = HashMap::<&str, &Node>::new();
    for (key, _) in mapping.entries() {
        if key.is_merge_key() {
            let error = ManifestError::new("merge keys are not allowed").at(key).with_path_to(mapping);
            return Err(error.with_hint(WRITE_IT_OUT));
        }
        if let Content::Sequence(_) | Content::Mapping(_) = key.content {
            let error = ManifestError::new("this key is not a string").at(key).with_path_to(mapping);
            return Err(if key.is_mapping() { error.with_hint(RENDER_IT) } else { error });
        }
        // A key without a scalar is an alias, which is refused in its turn.
        if let Some(first) = key.scalar().and_then(|scalar| seen.insert(scalar, key)) {
            let line = tree.position(first.range.start).line;
            return Err(ManifestError::new(format!("given twice, first on line {line}")).at(key));
        }
    }
    Ok(())
}
