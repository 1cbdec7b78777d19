//! What can fail while the controller reads, writes and publishes its keys.

use std::time::Duration;

use thiserror::Error;
use waxseal_shared::identity_secret::{FIRST_NAME, successor_name};
use waxseal_shared::names::KeyId;

use super::super::api_failure;

/// The longest time of a request, or of all pages of the identity Secrets, even if the answer arrives very slowly: it
/// must not hold up the next look. The client ends a request earlier if its connection is silent, and uses another
/// connection from then on.
const DEADLINE: Duration = Duration::from_secs(15);

#[derive(Debug, Error)]
pub(super) enum KeyError {
    #[error("failed to {operation}: {}", api_failure::describe(error))]
    Api { operation: String, error: kube::Error },
    #[error("failed to {operation}: no complete answer within {} s", DEADLINE.as_secs())]
    TooSlow { operation: String },
    #[error("failed to {operation}: {}", api_failure::MISSING_DEFINITION)]
    UnknownKind { operation: String },
    #[error(
        "failed to make the first sealing key: a Secret {} exists and is not an identity Secret; delete it, or move \
         what it holds to a Secret of another name",
        FIRST_NAME
    )]
    FirstNameTaken,
    #[error(
        "failed to use the recovery key {0}: the controller holds its identity, so it does not survive the cluster; keep \
         the identity offline, or take the key out of the configuration"
    )]
    RecoveryKeyHeld(KeyId),
    #[error(
        "failed to make a successor of the sealing key {of}: the Secret {} exists and holds no newer key; move what it \
         holds to a Secret of another name",
        successor_name(of)
    )]
    SuccessorNameTaken { of: KeyId },
    #[error(
        "failed to carry out the state that the SealingKey {0} requests: it must be Active, Retired or Revoked; update \
         Waxseal, if a newer version wrote it"
    )]
    UnknownState(KeyId),
    #[error(
        "failed to write the state {state} to the identity Secret {name}: the Secret is immutable; \
         replace it by a Secret that is not immutable and has \"{state}\" under the data key \"state\""
    )]
    Immutable { name: String, state: &'static str },
    #[error(
        "failed to write the state {state} to the identity Secret {name}: the API server accepted the state and did not \
         store it; look for an admission webhook or policy that changes the Secret"
    )]
    StateNotStored { name: String, state: &'static str },
}

impl KeyError {
    /// Whether a failure of this kind often passes within seconds: somebody else wrote first (HTTP 409), the continue
    /// token of a list expired (410), or the API server is not ready to serve the kind (429, after a definition was
    /// created).
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, KeyError::Api { error: kube::Error::Api(answer), .. } if matches!(answer.code, 409 | 410 | 429))
    }

    /// Whether the API server answered, so that the next request may well succeed.
    pub(super) fn is_answer(&self) -> bool {
        !matches!(self, KeyError::TooSlow { .. })
            && !matches!(self, KeyError::Api { error, .. } if !matches!(error, kube::Error::Api(_)))
    }

    /// Converts HTTP 404 to `UnknownKind`, for an operation where 404 can only mean that the definition is missing.
    pub(super) fn with_404_as_unknown_kind(self) -> Self {
        match self {
            KeyError::Api { operation, error: kube::Error::Api(answer) } if answer.code == 404 => {
                KeyError::UnknownKind { operation }
            }
            error => error,
        }
    }
}

/// Makes a request within the deadline; `operation` completes "failed to …".
pub(super) async fn ask<T>(operation: &str, request: impl Future<Output = kube::Result<T>>) -> Result<T, KeyError> {
    let operation = || operation.to_owned();
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(KeyError::Api { operation: operation(), error }),
        Err(_) => Err(KeyError::TooSlow { operation: operation() }),
    }
}

/// Like [`ask`]; `None` if the answer is one of these HTTP codes.
pub(super) async fn ask_unless<T>(
    codes: &[u16],
    operation: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<Option<T>, KeyError> {
    match ask(operation, request).await {
        Err(KeyError::Api { error: kube::Error::Api(answer), .. }) if codes.contains(&answer.code) => Ok(None),
        answer => answer.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answer(code: u16, reason: &str) -> KeyError {
        let status = Status { code, reason: reason.to_owned(), message: "hunter2".to_owned(), ..Status::default() };
        KeyError::Api { operation: "list the SealingKeys".to_owned(), error: kube::Error::Api(Box::new(status)) }
    }

    fn too_slow() -> KeyError {
        KeyError::TooSlow { operation: "list the SealingKeys".to_owned() }
    }

    fn no_answer() -> KeyError {
        let error = kube::Error::Service("hunter2".into());
        KeyError::Api { operation: "list the SealingKeys".to_owned(), error }
    }

    #[test]
    fn every_failure_has_its_text() {
        let immutable = KeyError::Immutable { name: "old".to_owned(), state: "Revoked" };
        for (error, text) in [
            (answer(403, "Forbidden"), "failed to list the SealingKeys: HTTP 403 Forbidden"),
            (answer(404, "NotFound"), "failed to list the SealingKeys: HTTP 404 NotFound"),
            (
                answer(404, "NotFound").with_404_as_unknown_kind(),
                "failed to list the SealingKeys: the definition is missing; run `kubectl apply --server-side -f \
                 deploy/kustomize/definitions/crds.yaml`",
            ),
            (answer(403, "Forbidden").with_404_as_unknown_kind(), "failed to list the SealingKeys: HTTP 403 Forbidden"),
            (no_answer(), "failed to list the SealingKeys: no answer"),
            (too_slow(), "failed to list the SealingKeys: no complete answer within 15 s"),
            (
                KeyError::FirstNameTaken,
                "failed to make the first sealing key: a Secret first-sealing-key exists and is not an identity \
                 Secret; delete it, or move what it holds to a Secret of another name",
            ),
            (
                KeyError::SuccessorNameTaken { of: KeyId::parse("k0123456789abcdef").expect("a key id") },
                "failed to make a successor of the sealing key k0123456789abcdef: the Secret \
                 waxseal-key-after-k0123456789abcdef exists and holds no newer key; move what it holds to a Secret of \
                 another name",
            ),
            (
                KeyError::RecoveryKeyHeld(KeyId::parse("k0123456789abcdef").expect("a key id")),
                "failed to use the recovery key k0123456789abcdef: the controller holds its identity, so it does not \
                 survive the cluster; keep the identity offline, or take the key out of the configuration",
            ),
            (
                KeyError::UnknownState(KeyId::parse("k0123456789abcdef").expect("a key id")),
                "failed to carry out the state that the SealingKey k0123456789abcdef requests: it must be Active, \
                 Retired or Revoked; update Waxseal, if a newer version wrote it",
            ),
            (
                immutable,
                "failed to write the state Revoked to the identity Secret old: the Secret is immutable; \
                 replace it by a Secret that is not immutable and has \"Revoked\" under the data key \"state\"",
            ),
            (
                KeyError::StateNotStored { name: "old".to_owned(), state: "Revoked" },
                "failed to write the state Revoked to the identity Secret old: the API server accepted the state and \
                 did not store it; look for an admission webhook or policy that changes the Secret",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn only_conflicts_expired_lists_and_a_kind_that_is_not_served_yet_are_transient() {
        for (code, is_transient) in [(409, true), (410, true), (429, true), (403, false), (404, false), (500, false)] {
            assert_eq!(answer(code, "").is_transient(), is_transient, "{code}");
        }
        assert!(!too_slow().is_transient() && !no_answer().is_transient());
    }

    #[test]
    fn a_refusal_is_an_answer_and_silence_is_not() {
        assert!(answer(500, "").is_answer() && answer(404, "").with_404_as_unknown_kind().is_answer());
        assert!(!too_slow().is_answer() && !no_answer().is_answer());
    }
}
