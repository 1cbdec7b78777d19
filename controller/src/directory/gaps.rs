//! What a pass cannot tell because a manifest is at fault.

use waxseal_shared::format::Sealed;
use waxseal_shared::reason::Reason;
use waxseal_shared::status::Verdict;

use super::manifests_folder::{Found, Unreadable};

/// The manifests of one pass that could be what a SealedSecret became which is not found any more.
///
/// While there is one, nobody can tell whether a SealedSecret is gone or only its manifest spoiled,
/// and no Secret is deleted.
#[derive(Default)]
pub(super) struct Gaps(Vec<Gap>);

struct Gap {
    /// The file, relative to the folder of manifests.
    file: String,
    reason: Reason,
    /// The place and what is wrong there.
    text: String,
}

impl Gaps {
    /// Those that show before any object is judged: files and documents that could not be read.
    pub(super) fn of_unreadable(unreadable: &[Unreadable]) -> Self {
        let gap = |unreadable: &Unreadable| Gap {
            file: unreadable.file.clone(),
            reason: unreadable.reason(),
            text: unreadable.to_string(),
        };
        Self(unreadable.iter().map(gap).collect())
    }

    /// Adds an object if the verdict on it, or another look without keys, says that it is bad.
    pub(super) fn add_if_bad(&mut self, found: &Found, verdict: &Verdict) {
        if let Some(fault) = fault(found, verdict) {
            let text = format!("{}:{}: {}", found.file, found.line, fault.message);
            self.0.push(Gap { file: found.file.clone(), reason: fault.reason, text });
        }
    }

    /// The place and the fault of the first.
    pub(super) fn first(&self) -> Option<&str> {
        self.0.first().map(|gap| gap.text.as_str())
    }

    /// What to say of a SealedSecret that is not found and stood in `file`; `None` without gaps.
    pub(super) fn verdict_on_missing(&self, file: &str) -> Option<Verdict> {
        if let Some(gap) = self.0.iter().find(|gap| gap.file == file) {
            let message = format!("its manifest cannot be used: {}; its Secret stays as it is", gap.text);
            return Some(Verdict::new(gap.reason, message));
        }
        let text = self.first()?;
        let message = format!("not found, but not every manifest can be used: {text}; its Secret stays as it is");
        Some(Verdict::new(Reason::ApiUnavailable, message))
    }
}

/// What is wrong with the manifest itself.
///
/// A lacking or revoked key is no fault: names, form and what the values were sealed for are checked
/// without keys, so such an object is the one that it says it is. Neither is a Secret that cannot be
/// written. Where the verdict stopped short of those checks, they are made here.
fn fault(found: &Found, verdict: &Verdict) -> Option<Verdict> {
    match verdict.reason {
        Reason::Materialised => None,
        Reason::Malformed | Reason::Moved | Reason::Unreadable => Some(verdict.clone()),
        _ => Sealed::decode(&found.object).err().map(|error| Verdict::new(error.reason(), error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use waxseal_shared::names::ObjectName;
    use waxseal_shared::sealed_secret::{EnvelopeSpec, SealedSecret, SealedSecretSpec};

    use super::*;

    /// An object without values.
    fn found(file: &str) -> Found {
        let mut object = SealedSecret::new("web", SealedSecretSpec::default());
        object.metadata.namespace = Some("shop".to_owned());
        let name = ObjectName::parse("web").expect("a name");
        Found { file: file.to_owned(), line: 3, namespace: None, name, object }
    }

    fn gaps(found: &Found, reason: Reason) -> Gaps {
        let mut gaps = Gaps::default();
        gaps.add_if_bad(found, &Verdict::new(reason, "why"));
        gaps
    }

    #[test]
    fn a_bad_manifest_is_a_gap_and_a_lacking_key_is_none() {
        for reason in [Reason::Malformed, Reason::Moved, Reason::Unreadable] {
            assert_eq!(gaps(&found("web.yaml"), reason).first(), Some("web.yaml:3: why"), "{reason}");
        }
        for reason in [
            Reason::Materialised,
            Reason::KeyMissing,
            Reason::KeyRevoked,
            Reason::AwaitingKeys,
            Reason::ForeignOwner,
            Reason::Forbidden,
        ] {
            assert_eq!(gaps(&found("web.yaml"), reason).first(), None, "{reason}");
        }
    }

    #[test]
    fn a_fault_shows_where_the_verdict_is_about_something_else() {
        let mut bad = found("web.yaml");
        bad.object.spec.envelopes.insert("e0123456789".to_owned(), EnvelopeSpec::default());
        for reason in [Reason::AwaitingKeys, Reason::ApiUnavailable] {
            let expected = "web.yaml:3: spec.envelopes.e0123456789.commitment: not 32 bytes in canonical base64";
            assert_eq!(gaps(&bad, reason).first(), Some(expected), "{reason}");
        }
    }

    #[test]
    fn the_file_where_it_stood_comes_before_others() {
        let mut both = gaps(&found("web.yaml"), Reason::Moved);
        both.add_if_bad(&found("db.yaml"), &Verdict::new(Reason::Unreadable, "y"));
        let said = |file| both.verdict_on_missing(file).map(|verdict| (verdict.reason, verdict.message));
        let own = "its manifest cannot be used: db.yaml:3: y; its Secret stays as it is";
        assert_eq!(said("db.yaml"), Some((Reason::Unreadable, own.to_owned())));
        let other = "not found, but not every manifest can be used: web.yaml:3: why; its Secret stays as it is";
        assert_eq!(said("api.yaml"), Some((Reason::ApiUnavailable, other.to_owned())));
        assert_eq!(Gaps::default().verdict_on_missing("db.yaml"), None);
    }
}
