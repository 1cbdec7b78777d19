//! The rights of the user, for information.

use waxseal_shared::api_group::GROUP;
use waxseal_shared::names::Namespace;

use super::findings::Findings;
use crate::cluster::{Right, Session};
use crate::error::CliError;

/// What a command needs: verbs on a resource of a group, in all namespaces or only in the namespace of the keys.
struct Need {
    command: &'static str,
    verbs: &'static [&'static str],
    group: &'static str,
    resource: &'static str,
    everywhere: bool,
}

const NEEDS: [Need; 7] = [
    Need { command: "status -A", verbs: &["list"], group: GROUP, resource: "sealedsecrets", everywhere: true },
    Need { command: "rotate", verbs: &["list"], group: GROUP, resource: "sealedsecrets", everywhere: true },
    Need { command: "keys fetch", verbs: &["list"], group: GROUP, resource: "sealingkeys", everywhere: false },
    Need {
        command: "keys rotate",
        verbs: &["list", "patch"],
        group: GROUP,
        resource: "sealingkeys",
        everywhere: false,
    },
    Need { command: "keys delete", verbs: &["delete"], group: "", resource: "secrets", everywhere: false },
    Need {
        command: "keys backup",
        verbs: &["list", "get", "patch"],
        group: "",
        resource: "secrets",
        everywhere: false,
    },
    Need {
        command: "keys restore",
        verbs: &["list", "get", "create"],
        group: "",
        resource: "secrets",
        everywhere: false,
    },
];

pub(super) fn check(session: &Session, namespace: &Namespace, findings: &mut Findings) -> Result<(), CliError> {
    let mut enough = Vec::new();
    for need in &NEEDS {
        match need.missing(session, namespace)? {
            Missing::Nothing => enough.push(format!("`waxseal {}`", need.command)),
            Missing::Verb(verb) => findings.info(format!(
                "your rights are too few for `waxseal {}`: you may not {verb} {} in {}",
                need.command,
                need.resource,
                if need.everywhere { "all namespaces" } else { namespace.as_str() },
            )),
            Missing::Unknown => {
                findings.not_checked("your rights: the API server does not tell them");
                return Ok(());
            }
        }
    }
    if !enough.is_empty() {
        findings.info(format!("your rights are enough for {}", enough.join(", ")));
    }
    Ok(())
}

enum Missing {
    Nothing,
    Verb(&'static str),
    /// The API server does not tell.
    Unknown,
}

impl Need {
    /// The first verb that the user lacks.
    fn missing(&self, session: &Session, namespace: &Namespace) -> Result<Missing, CliError> {
        let namespace = Some(namespace).filter(|_| !self.everywhere);
        for verb in self.verbs {
            match session.has(&Right { verb, group: self.group, resource: self.resource, namespace })? {
                Some(true) => {}
                Some(false) => return Ok(Missing::Verb(verb)),
                None => return Ok(Missing::Unknown),
            }
        }
        Ok(Missing::Nothing)
    }
}
