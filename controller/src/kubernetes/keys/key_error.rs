//! What can fail while the controller reads, writes and publishes its keys.

use std::time::Duration;

use thiserror::Error;

use super::super::{api_failure, identity_secret};

/// No request takes longer: an API server that is silent must not hold up the next look.
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub(super) enum KeyError {
    #[error("failed to {operation}: {}", api_failure::describe(error))]
    Api { operation: String, error: kube::Error },
    #[error("failed to {operation}: no answer within {} s", DEADLINE.as_secs())]
    Silence { operation: String },
    #[error("failed to {operation}: the cluster does not know this kind; apply deploy/crds.yaml")]
    UnknownKind { operation: String },
    #[error(
        "failed to make the first sealing key: a Secret {} of another type exists; delete or rename it",
        identity_secret::FIRST_NAME
    )]
    FirstNameTaken,
    #[error(
        "failed to write the state {state} to the identity Secret {name}: it is immutable; replace it by one that is \
         not, with \"{state}\" under the data key \"state\""
    )]
    Immutable { name: String, state: &'static str },
}

impl KeyError {
    /// Whether this often heals within seconds: somebody else wrote first, or the API server is not
    /// ready to serve the kind (HTTP 429 after a definition was created).
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, KeyError::Api { error: kube::Error::Api(answer), .. } if matches!(answer.code, 409 | 410 | 429))
    }

    /// The same for an operation that HTTP 404 can only mean a missing definition for.
    pub(super) fn of_our_kinds(self) -> Self {
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
        Err(_) => Err(KeyError::Silence { operation: operation() }),
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
