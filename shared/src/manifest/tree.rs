//! A parsed document, and the results that are computed once for a document.

use std::cell::OnceCell;

use super::error::ManifestError;
use super::near_secret::NearSecrets;
use super::node::Node;
use super::position::{Position, Positions};

pub(super) struct Tree<'a> {
    root: Node,
    positions: Positions<'a>,
    obstacle: Option<ManifestError>,
    /// See [`Self::may_hide_a_kind`].
    pub(super) may_hide: OnceCell<bool>,
    near_secrets: OnceCell<NearSecrets>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: Node, positions: Positions<'a>, obstacle: Option<ManifestError>) -> Self {
        Self { root, positions, obstacle, may_hide: OnceCell::new(), near_secrets: OnceCell::new() }
    }

    pub(super) fn root(&self) -> &Node {
        &self.root
    }

    pub(super) fn position(&self, offset: usize) -> Position {
        self.positions.at(offset)
    }

    /// Why no object of the document can be read, although the document is valid YAML.
    pub(super) fn obstacle(&self) -> Option<&ManifestError> {
        self.obstacle.as_ref()
    }

    pub(super) fn near_secrets(&self) -> &NearSecrets {
        self.near_secrets.get_or_init(|| NearSecrets::of(&self.root))
    }

    /// Gives an error its position and path.
    pub(super) fn located(&self, error: ManifestError) -> ManifestError {
        match error.offset() {
            Some(offset) => error.with_path_from(&self.root).with_position(self.position(offset)),
            None => error,
        }
    }
}
