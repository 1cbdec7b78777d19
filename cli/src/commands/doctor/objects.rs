//! Whether the controller works: it has judged the present generation of every SealedSecret.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use waxseal_shared::advice::for_ready;
use waxseal_shared::reason::Reason;

use super::findings::Findings;
use super::keys::SEE_LOG;
use crate::cluster::{Look, SealedSecretSelection, SealedSecretState, Session};
use crate::error::CliError;
use crate::streams::counted;

/// How long a controller may take to judge an object that has just changed.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(2);
const SEE_LOG_OR_NAME_NAMESPACES: &str = "see if the controller runs, and read its log. If it serves only some \
                                          namespaces, name them with `--namespaces`";

/// Reasons that hold for every SealedSecret: the controller has no keys.
const WITHOUT_KEYS: [Reason; 2] = [Reason::AwaitingKeys, Reason::KeysLoading];

/// What one list shows.
#[derive(Default)]
struct Seen {
    total: usize,
    unready: usize,
    /// How many SealedSecrets wait because the controller has no keys, by reason.
    without_keys: BTreeMap<Reason, usize>,
    /// The generation of each object that is not judged, by `NAMESPACE/NAME`.
    unjudged: BTreeMap<String, Option<i64>>,
}

pub(super) fn check(
    session: &Session,
    served: &[SealedSecretSelection],
    findings: &mut Findings,
) -> Result<(), CliError> {
    let start = Instant::now();
    let Some(mut seen) = look(session, served, findings)? else { return Ok(()) };
    let first = seen.unjudged.clone();
    // An object that has just changed is judged a moment later.
    while seen.is_any_still_unjudged(&first) && start.elapsed() < PATIENCE {
        thread::sleep(INTERVAL);
        let Some(again) = look(session, served, findings)? else { return Ok(()) };
        seen = again;
    }
    seen.unjudged.retain(|title, generation| first.get(title) == Some(generation));
    report(&seen, served, findings);
    Ok(())
}

/// Lists the SealedSecrets; `None` if that is not possible.
fn look(
    session: &Session,
    served: &[SealedSecretSelection],
    findings: &mut Findings,
) -> Result<Option<Seen>, CliError> {
    let mut seen = Seen::default();
    for selection in served {
        match session.look_at_sealed_secrets(selection, |object| seen.add(&object))? {
            Look::Found(()) => {}
            // `definitions::check` reports the missing definition.
            Look::Absent => return Ok(None),
            Look::Forbidden => {
                let place = selection.place();
                findings.not_checked(format!("the controller's work: you may not list SealedSecrets {place}"));
                return Ok(None);
            }
        }
    }
    Ok(Some(seen))
}

fn report(seen: &Seen, served: &[SealedSecretSelection], findings: &mut Findings) {
    if seen.total == 0 {
        return findings.info("there is no SealedSecret: nothing shows yet that the controller works");
    }
    let total = counted(seen.total, "SealedSecret");
    let (command, remedy) = match served {
        [SealedSecretSelection { namespace: None, .. }] => ("waxseal status -A", SEE_LOG_OR_NAME_NAMESPACES),
        _ => ("waxseal status -n NAMESPACE", SEE_LOG),
    };
    match seen.unjudged.keys().next() {
        None => findings.ok(format!("the controller has judged every SealedSecret: {}", seen.total)),
        Some(title) => findings.problem(
            format!("the controller has not judged {} of {total}, such as {title}", seen.unjudged.len()),
            remedy,
        ),
    }
    for (reason, count) in &seen.without_keys {
        let text = format!("{count} of {total}: {}: {}", reason.as_str(), for_ready(*reason).meaning);
        findings.problem(text, for_ready(*reason).remedy);
    }
    if seen.unready > 0 {
        findings.info(format!("{} of {total} not Ready: `{command}` lists them", seen.unready));
    }
}

impl Seen {
    /// Counts an object, unless it is being deleted: the controller leaves it alone.
    fn add(&mut self, object: &SealedSecretState) {
        if object.metadata.deletion_timestamp.is_some() {
            return;
        }
        self.total += 1;
        self.unready += usize::from(!object.is_ready());
        if let Some(reason) = object.ready_reason().filter(|reason| WITHOUT_KEYS.contains(reason)) {
            *self.without_keys.entry(reason).or_default() += 1;
        }
        if !object.is_judged() {
            let title = format!("{}/{}", object.namespace(), object.name());
            self.unjudged.insert(title, object.metadata.generation);
        }
    }

    fn is_any_still_unjudged(&self, first: &BTreeMap<String, Option<i64>>) -> bool {
        self.unjudged.iter().any(|(title, generation)| first.get(title) == Some(generation))
    }
}
