//! The manifest for krew, with which `kubectl krew install` installs `kubectl waxseal`.

use super::{Digests, REPOSITORY, TARGETS, Target, VERSION};

/// Returns the manifest in krew's `v1alpha2`.
pub(super) fn manifest(digests: &Digests) -> String {
    let platforms: String = TARGETS.iter().map(|target| platform(target, digests)).collect();
    format!(
        "\
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: waxseal
spec:
  version: v{VERSION}
  homepage: {REPOSITORY}
  shortDescription: Seal Secrets for Git, and rotate their keys
  description: |
    Seals Kubernetes Secrets so that they can be committed to Git, shows what the cluster says of
    each SealedSecret, and rotates the keys. The cluster needs the controller of Waxseal.
  platforms:
{platforms}"
    )
}

fn platform(target: &Target, digests: &Digests) -> String {
    let (folder, archive) = (target.folder(), target.archive());
    format!(
        "    - selector:
        matchLabels:
          os: {}
          arch: {}
      uri: {}
      sha256: {}
      files:
        - from: {folder}/waxseal
          to: .
        - from: {folder}/LICENSE
          to: .
      bin: waxseal
",
        target.system,
        target.processor,
        target.address(),
        digests[&archive],
    )
}
