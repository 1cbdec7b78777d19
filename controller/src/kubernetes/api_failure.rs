//! Failures of the API server in words of Waxseal. Its own text is never shown: it can quote the content of a Secret.

use kube::core::Status;
use waxseal_shared::judgement::Judgement;
use waxseal_shared::reason::Reason;

/// The number of fields that a message names at most.
const MOST_FIELDS: usize = 5;

/// What a message adds to HTTP 404 where it can only mean that the cluster has no definition of the kind.
pub(super) const MISSING_DEFINITION: &str =
    "the definition is missing; run `kubectl apply --server-side -f deploy/kustomize/definitions/crds.yaml`";

/// The verb of the request for a Secret that failed.
#[derive(Clone, Copy)]
pub(super) enum Verb {
    Get,
    Patch,
}

/// Describes a failure: the HTTP code and Kubernetes' reason word, or the kind of failure if the API server gave no
/// complete answer that can be read.
pub(super) fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => match known_reason(status) {
            "" => format!("HTTP {}", status.code),
            reason => format!("HTTP {} {reason}", status.code),
        },
        kube::Error::SerdeError(_) => "the answer could not be read".to_owned(),
        kube::Error::Auth(_) => "the credentials could not be used".to_owned(),
        kube::Error::ReadEvents(_) => "the answer broke off".to_owned(),
        _ => "no answer".to_owned(),
    }
}

/// The failure of a request if the API server answers with something else than was asked for.
pub(super) fn unexpected_answer(answer: &str) -> kube::Error {
    kube::Error::SerdeError(serde::de::Error::custom(answer))
}

/// Returns the judgement on an object whose Secret could not be read or written.
pub(super) fn judgement(error: &kube::Error, verb: Verb) -> Judgement {
    let failure = describe(error);
    let kube::Error::Api(status) = error else {
        return Judgement::new(Reason::ApiUnavailable, format!("the request to the API server failed: {failure}"));
    };
    match status.code {
        409 => Judgement::new(Reason::Conflict, "the Secret changed since it was read; trying again"),
        403 if is_terminating(status) => Judgement::new(Reason::NamespaceTerminating, "the namespace is being deleted"),
        404 => Judgement::new(Reason::NamespaceTerminating, "the namespace is gone"),
        403 if status.message.contains("exceeded quota") => {
            Judgement::new(Reason::Quota, "the namespace's quota has no room for the Secret")
        }
        413 => too_large(),
        422 if status.message.contains("Too long") => too_large(),
        500 if status.message.contains("request is too large") => too_large(),
        401 | 429 | 500.. => Judgement::new(
            Reason::ApiUnavailable,
            format!("the API server cannot read or write the Secret now: {failure}"),
        ),
        403 if is_without_right(status) => Judgement::new(
            Reason::Forbidden,
            format!(
                "the controller may not {} Secrets in this namespace: apply the rights of its installation again",
                verb.as_str()
            ),
        ),
        403 => Judgement::new(Reason::Forbidden, format!("admission control refuses the Secret: {failure}")),
        _ => {
            Judgement::new(Reason::Forbidden, format!("the API server refuses the Secret: {failure}{}", fields(status)))
        }
    }
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::Patch => "create and patch",
        }
    }
}

/// Whether RBAC refused the request. Its text has this form (`k8s.io/apiserver`, `handlers/responsewriters.Forbidden`);
/// the text of an admission policy or webhook has another form.
fn is_without_right(status: &Status) -> bool {
    status.message.contains("cannot ") && status.message.contains(" resource \"secrets\" in API group")
}

/// Lists the fields that the API server refuses. Leaves out everything that does not look like the path of a field.
fn fields(status: &Status) -> String {
    let is_path = |field: &&str| {
        (1..=300).contains(&field.len())
            && field.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_[]/".contains(&byte))
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<_> = causes.map(|cause| cause.field.as_str()).filter(is_path).take(MOST_FIELDS).collect();
    if fields.is_empty() { String::new() } else { format!(" in {}", fields.join(", ")) }
}

fn too_large() -> Judgement {
    Judgement::new(Reason::TooLarge, "the Secret is larger than the API server takes")
}

fn is_terminating(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Returns the reason word of an answer, or nothing if it does not look like a word of Kubernetes.
fn known_reason(status: &Status) -> &str {
    let is_word = status.reason.len() <= 32 && status.reason.bytes().all(|byte| byte.is_ascii_alphabetic());
    if is_word { &status.reason } else { "" }
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn failure(code: u16, reason: &str, message: &str) -> kube::Error {
        let status = Status { code, reason: reason.to_owned(), message: message.to_owned(), ..Status::default() };
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn failures_have_their_reasons() {
        for (code, reason, message, expected) in [
            (409, "Conflict", "", Reason::Conflict),
            (403, "Forbidden", "exceeded quota: secrets", Reason::Quota),
            (403, "Forbidden", "user cannot", Reason::Forbidden),
            (404, "NotFound", "", Reason::NamespaceTerminating),
            (422, "Invalid", "data: Too long: may not be more than 1048576 bytes", Reason::TooLarge),
            (422, "Invalid", "data[tls.crt]: Required value", Reason::Forbidden),
            (500, "", "etcdserver: request is too large", Reason::TooLarge),
            (500, "InternalError", "", Reason::ApiUnavailable),
            (503, "ServiceUnavailable", "", Reason::ApiUnavailable),
            (429, "TooManyRequests", "", Reason::ApiUnavailable),
        ] {
            assert_eq!(judgement(&failure(code, reason, message), Verb::Patch).reason, expected, "{code} {message}");
        }
    }

    #[test]
    fn only_the_text_of_a_missing_right_names_the_verb() {
        let rbac = "secrets \"db\" is forbidden: User \"u\" cannot patch resource \"secrets\" in API group \"\" in the \
                    namespace \"shop\"";
        let text = |message, verb| judgement(&failure(403, "Forbidden", message), verb).message;
        let right = |verbs| {
            format!(
                "the controller may not {verbs} Secrets in this namespace: apply the rights of its installation again"
            )
        };
        assert_eq!(text(rbac, Verb::Patch), right("create and patch"));
        assert_eq!(text(rbac, Verb::Get), right("get"));
        let policy = "secrets \"db\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: hunter2";
        let refused = "admission control refuses the Secret: HTTP 403 Forbidden";
        assert_eq!(text(policy, Verb::Patch), refused);
    }

    #[test]
    fn a_refusal_names_fields_and_quotes_nothing_else() {
        let cause =
            |field: &str| StatusCause { field: field.to_owned(), message: "hunter2".to_owned(), reason: String::new() };
        let causes = vec![cause("data[tls.crt]"), cause("metadata.labels: hunter2 is invalid"), cause("")];
        let details = StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes,
            retry_after_seconds: 0,
        };
        let status = Status { code: 422, reason: "Invalid".to_owned(), details: Some(details), ..Status::default() };
        let text = judgement(&kube::Error::Api(Box::new(status)), Verb::Patch).message;
        assert_eq!(text, "the API server refuses the Secret: HTTP 422 Invalid in data[tls.crt]");
    }

    #[test]
    fn a_failure_without_a_reason_is_its_code_alone() {
        assert_eq!(describe(&failure(404, "NotFound", "")), "HTTP 404 NotFound");
        assert_eq!(describe(&failure(404, "", "the server could not find the requested resource")), "HTTP 404");
    }

    #[test]
    fn the_servers_text_is_never_shown() {
        let text =
            judgement(&failure(422, "Invalid", "invalid character 'h' looking for hunter2"), Verb::Patch).message;
        assert_eq!(text, "the API server refuses the Secret: HTTP 422 Invalid");
        assert_eq!(describe(&failure(422, "hunter2 !", "")), "HTTP 422");
    }
}
