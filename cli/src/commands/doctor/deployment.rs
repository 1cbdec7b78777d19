//! Whether the controller runs, as Kubernetes sees it.

use waxseal_shared::names::Namespace;

use super::findings::Findings;
use crate::cluster::{DEPLOYMENT, Look, Session};
use crate::error::CliError;

pub(super) fn check(session: &Session, namespace: &Namespace, findings: &mut Findings) -> Result<(), CliError> {
    match session.available_controllers(namespace)? {
        Look::Found(0) => findings.problem(
            format!("the Deployment {DEPLOYMENT} in {namespace} has no available Pod"),
            "see what `kubectl describe` says about the Deployment and its Pods, and read the controller's log",
        ),
        Look::Found(_) => findings.ok(format!("the Deployment {DEPLOYMENT} in {namespace} has an available Pod")),
        Look::Absent => findings.not_checked(format!(
            "whether the controller runs: there is no Deployment {DEPLOYMENT} in {namespace}; if it is in another \
             namespace, name that with `--controller-namespace`"
        )),
        Look::Forbidden => {
            findings.not_checked(format!("whether the controller runs: you may not get Deployments in {namespace}"));
        }
    }
    Ok(())
}
