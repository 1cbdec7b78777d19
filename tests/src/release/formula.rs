//! The formula for Homebrew.

use super::{Digests, REPOSITORY, TARGETS, Target, VERSION};

/// Returns the formula, which installs both programs from the archives, and `kubectl waxseal`.
pub(super) fn text(digests: &Digests) -> String {
    let systems: String = ["darwin", "linux"].iter().map(|name| system(name, digests)).collect();
    format!(
        r##"class Waxseal < Formula
  desc "Seals Kubernetes Secrets so that they can be committed to Git"
  homepage "{REPOSITORY}"
  version "{VERSION}"
  license "Apache-2.0"

{systems}  def install
    bin.install "waxseal", "waxseal-controller"
    bin.install_symlink "waxseal" => "kubectl-waxseal"
  end

  test do
    assert_match version.to_s, shell_output("#{{bin}}/waxseal --version")
    assert_match version.to_s, shell_output("#{{bin}}/waxseal-controller --version")
  end
end
"##
    )
}

fn system(system: &str, digests: &Digests) -> String {
    let name = if system == "darwin" { "macos" } else { "linux" };
    let targets = TARGETS.iter().filter(|target| target.system == system);
    let archives: String = targets.map(|target| archive(target, digests)).collect();
    format!("  on_{name} do\n{archives}  end\n\n")
}

fn archive(target: &Target, digests: &Digests) -> String {
    let processor = if target.processor == "arm64" { "arm" } else { "intel" };
    let (address, digest) = (target.address(), &digests[&target.archive()]);
    format!("    on_{processor} do\n      url \"{address}\"\n      sha256 \"{digest}\"\n    end\n")
}
