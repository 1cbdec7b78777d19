//! What a pass cannot tell because a manifest is at fault.

use waxseal_shared::format::Sealed;
use waxseal_shared::judgement::Judgement;
use waxseal_shared::reason::Reason;

use super::manifests_folder::{Doubtful, Found, Reading, Unreadable};

/// The manifests of one pass that could be what a SealedSecret became which is not found any more.
///
/// While there is one that is bad, nobody can tell whether a SealedSecret is gone or only its
/// manifest spoiled, and no Secret is deleted. One that is only doubtful may be anything, a values
/// file for a chart for one: it counts for the SealedSecrets that stood in the same file.
#[derive(Default)]
pub(super) struct Gaps {
    bad: Vec<Gap>,
    doubtful: Vec<Gap>,
}

struct Gap {
    /// The file, relative to the folder of manifests.
    file: String,
    reason: Reason,
    /// The place and what is wrong there.
    text: String,
}

impl Gaps {
    /// Those that show before any object is judged: files and documents that could not be read, and
    /// doubtful ones.
    pub(super) fn of_reading(reading: &Reading) -> Self {
        let bad = |unreadable: &Unreadable| Gap {
            file: unreadable.file.clone(),
            reason: unreadable.reason(),
            text: unreadable.to_string(),
        };
        let doubtful = |Doubtful { file, text }: &Doubtful| Gap {
            file: file.clone(),
            reason: Reason::Malformed,
            text: text.clone(),
        };
        Self {
            bad: reading.unreadable.iter().map(bad).collect(),
            doubtful: reading.doubtful.iter().map(doubtful).collect(),
        }
    }

    /// Adds an object if the verdict on it, or another look without keys, says that it is bad.
    pub(super) fn add_if_bad(&mut self, found: &Found, judgement: &Judgement) {
        if let Some(fault) = fault(found, judgement) {
            let text = format!("{}:{}: {}", found.file, found.line, fault.message);
            self.bad.push(Gap { file: found.file.clone(), reason: fault.reason, text });
        }
    }

    /// The place and the fault of the first manifest that is bad.
    pub(super) fn first(&self) -> Option<&str> {
        self.bad.first().map(|gap| gap.text.as_str())
    }

    /// Whether a file could hold what a SealedSecret became that stood in it.
    pub(super) fn is_doubtful(&self, file: &str) -> bool {
        self.doubtful.iter().any(|gap| gap.file == file)
    }

    /// What to say of a SealedSecret that is not found and stood in `file`; `None` without gaps.
    pub(super) fn judgement_on_missing(&self, file: &str) -> Option<Judgement> {
        if let Some(gap) = self.bad.iter().chain(&self.doubtful).find(|gap| gap.file == file) {
            let message = format!("its manifest cannot be used: {}; its Secret stays as it is", gap.text);
            return Some(Judgement::new(gap.reason, message));
        }
        let text = self.first()?;
        let message = format!("not found, but not every manifest can be used: {text}; its Secret stays as it is");
        Some(Judgement::new(Reason::ApiUnavailable, message))
    }
}

/// What is wrong with the manifest itself.
///
/// A lacking or revoked key is no fault: names, form and what the values were sealed for are checked
/// without keys, so such an object is the one that it says it is. Neither is a Secret that cannot be
/// written. Where the verdict stopped short of those checks, they are made here.
fn fault(found: &Found, judgement: &Judgement) -> Option<Judgement> {
    match judgement.reason {
        Reason::Materialised => None,
        Reason::Malformed | Reason::Moved | Reason::Unreadable => Some(judgement.clone()),
        _ => Sealed::decode(&found.object).err().map(|error| Judgement::new(error.reason(), error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;
    use waxseal_shared::names::ObjectName;
    use waxseal_shared::sealed_secret::{EnvelopeSpec, SealedSecret, SealedSecretSpec};

    use super::super::manifests_folder;
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
        gaps.add_if_bad(found, &Judgement::new(reason, "why"));
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
        both.add_if_bad(&found("db.yaml"), &Judgement::new(Reason::Unreadable, "y"));
        let said = |file| both.judgement_on_missing(file).map(|judgement| (judgement.reason, judgement.message));
        let own = "its manifest cannot be used: db.yaml:3: y; its Secret stays as it is";
        assert_eq!(said("db.yaml"), Some((Reason::Unreadable, own.to_owned())));
        let other = "not found, but not every manifest can be used: web.yaml:3: why; its Secret stays as it is";
        assert_eq!(said("api.yaml"), Some((Reason::ApiUnavailable, other.to_owned())));
        assert_eq!(Gaps::default().judgement_on_missing("db.yaml"), None);
    }

    #[test]
    fn a_doubt_counts_only_for_what_stood_in_its_file() {
        let doubtful = vec![Doubtful { file: "db.yaml".to_owned(), text: "db.yaml:1: why".to_owned() }];
        let gaps = Gaps::of_reading(&Reading { doubtful, ..Reading::default() });
        let judgement = gaps.judgement_on_missing("db.yaml").expect("a doubt");
        assert_eq!(judgement.reason, Reason::Malformed);
        assert_eq!(judgement.message, "its manifest cannot be used: db.yaml:1: why; its Secret stays as it is");
        assert!(gaps.is_doubtful("db.yaml") && !gaps.is_doubtful("web.yaml"));
        assert_eq!((gaps.judgement_on_missing("web.yaml"), gaps.first()), (None, None));
    }
    /// Whether nobody could take the SealedSecret that stood in a file for deleted.
    fn is_safe(folder: &TempDir, text: &[u8]) -> bool {
        fs::write(folder.path().join("db.yaml"), text).expect("written");
        let reading = manifests_folder::read(folder.path());
        !reading.objects.is_empty() || Gaps::of_reading(&reading).judgement_on_missing("db.yaml").is_some()
    }

    #[test]
    fn no_flipped_bit_of_its_first_lines_makes_a_manifest_look_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let object = "metadata: {name: db, namespace: shop}\nspec: {}\n";
        let json = r#""metadata": {"name": "db", "namespace": "shop"}, "spec": {}}"#;
        for (head, rest) in [
            ("apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\n", object.to_owned()),
            ("{\"apiVersion\": \"waxseal.dev/v1alpha1\", \"kind\": \"SealedSecret\",\n", json.to_owned()),
            (
                "{\"apiVersion\": \"v1\", \"kind\": \"List\",\n",
                format!(r#""items": [{{"apiVersion": "waxseal.dev/v1alpha1", "kind": "SealedSecret", {json}]}}"#),
            ),
        ] {
            for bit in 0..8 * head.len() {
                let mut text = format!("{head}{rest}").into_bytes();
                text[bit / 8] ^= 1 << (bit % 8);
                assert!(is_safe(&folder, &text), "{}", String::from_utf8_lossy(&text));
            }
        }
    }

    #[test]
    fn no_manifest_that_was_cut_off_looks_deleted() {
        let folder = tempfile::tempdir().expect("a folder");
        let object = "metadata: {name: db, namespace: shop}\nspec: {}\n";
        let text = format!("# mine\napiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\n{object}");
        for end in 0..text.len() {
            assert!(is_safe(&folder, &text.as_bytes()[..end]), "{}", &text[..end]);
        }
    }
}
