//! The rights of the user, for information.

use waxseal_shared::api_group::GROUP;
use waxseal_shared::names::Namespace;

use super::findings::Findings;
use crate::cluster::{Right, Session};
use crate::error::CliError;

/// The rights that a command needs.
struct Need {
    command: &'static str,
    rights: &'static [Verbs],
}

/// Verbs on a resource of a group, in all namespaces or only in the namespace of the keys.
struct Verbs {
    verbs: &'static [&'static str],
    group: &'static str,
    resource: &'static str,
    everywhere: bool,
}

const LIST_SEALED_SECRETS: Verbs =
    Verbs { verbs: &["list"], group: GROUP, resource: "sealedsecrets", everywhere: true };
const LIST_SEALING_KEYS: Verbs = on_sealing_keys(&["list"]);
const CHANGE_SEALING_KEYS: Verbs = on_sealing_keys(&["list", "patch"]);
const DELETE_IDENTITIES: Verbs = on_secrets(&["delete"]);
const RECORD_BACKUPS: Verbs = on_secrets(&["list", "get", "patch"]);
const STORE_IDENTITIES: Verbs = on_secrets(&["list", "get", "create"]);

const NEEDS: [Need; 7] = [
    Need { command: "status -A", rights: &[LIST_SEALED_SECRETS] },
    Need { command: "rotate", rights: &[LIST_SEALED_SECRETS] },
    Need { command: "keys fetch", rights: &[LIST_SEALING_KEYS] },
    Need { command: "keys rotate", rights: &[CHANGE_SEALING_KEYS] },
    Need { command: "keys delete", rights: &[LIST_SEALING_KEYS, LIST_SEALED_SECRETS, DELETE_IDENTITIES] },
    Need { command: "keys backup", rights: &[RECORD_BACKUPS, LIST_SEALING_KEYS] },
    Need { command: "keys restore", rights: &[STORE_IDENTITIES, LIST_SEALING_KEYS] },
];

const fn on_sealing_keys(verbs: &'static [&'static str]) -> Verbs {
    Verbs { verbs, group: GROUP, resource: "sealingkeys", everywhere: false }
}

const fn on_secrets(verbs: &'static [&'static str]) -> Verbs {
    Verbs { verbs, group: "", resource: "secrets", everywhere: false }
}

pub(super) fn check(session: &Session, namespace: &Namespace, findings: &mut Findings) -> Result<(), CliError> {
    let mut enough = Vec::new();
    for need in &NEEDS {
        match need.missing(session, namespace)? {
            Missing::Nothing => enough.push(format!("`waxseal {}`", need.command)),
            Missing::Verb(verb, verbs) => findings.info(format!(
                "your rights are too few for `waxseal {}`: you may not {verb} {} in {}",
                need.command,
                verbs.resource,
                if verbs.everywhere { "all namespaces" } else { namespace.as_str() },
            )),
            Missing::Unknown => {
                findings.info("the API server does not tell your rights");
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
    /// The verb that the user lacks, and the [`Verbs`] that it belongs to.
    Verb(&'static str, &'static Verbs),
    /// The API server does not tell.
    Unknown,
}

impl Need {
    /// The first verb that the user lacks.
    fn missing(&self, session: &Session, namespace: &Namespace) -> Result<Missing, CliError> {
        for verbs in self.rights {
            let namespace = Some(namespace).filter(|_| !verbs.everywhere);
            for verb in verbs.verbs {
                match session.has(&Right { verb, group: verbs.group, resource: verbs.resource, namespace })? {
                    Some(true) => {}
                    Some(false) => return Ok(Missing::Verb(verb, verbs)),
                    None => return Ok(Missing::Unknown),
                }
            }
        }
        Ok(Missing::Nothing)
    }
}
