//! Whether the controller works: it has judged the present generation of every SealedSecret.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::findings::Findings;
use crate::cluster::{Look, SealedSecretState, Session};
use crate::commands::seal::counted;
use crate::error::CliError;

/// How long a controller may take to judge an object that has just changed.
const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(2);

/// What one list shows.
#[derive(Default)]
struct Seen {
    total: usize,
    unready: usize,
    /// The generation of each object that is not judged, by `NAMESPACE/NAME`.
    unjudged: BTreeMap<String, Option<i64>>,
}

pub(super) fn check(session: &Session, findings: &mut Findings) -> Result<(), CliError> {
    let start = Instant::now();
    let Some(mut seen) = look(session, findings)? else { return Ok(()) };
    let first = seen.unjudged.clone();
    // An object that has just changed is judged a moment later.
    while seen.is_any_still_unjudged(&first) && start.elapsed() < PATIENCE {
        thread::sleep(INTERVAL);
        let Some(again) = look(session, findings)? else { return Ok(()) };
        seen = again;
    }
    seen.unjudged.retain(|title, generation| first.get(title) == Some(generation));
    report(&seen, findings);
    Ok(())
}

/// Lists the SealedSecrets; `None` if that is not possible.
fn look(session: &Session, findings: &mut Findings) -> Result<Option<Seen>, CliError> {
    let mut seen = Seen::default();
    match session.look_at_sealed_secrets(|object| seen.add(&object))? {
        Look::Found(()) => Ok(Some(seen)),
        // The check of the definitions says it.
        Look::Absent => Ok(None),
        Look::Forbidden => {
            findings.not_checked("the controller's work: you may not list SealedSecrets in all namespaces");
            Ok(None)
        }
    }
}

fn report(seen: &Seen, findings: &mut Findings) {
    if seen.total == 0 {
        return findings.not_checked("the controller's work: there is no SealedSecret");
    }
    let total = counted(seen.total, "SealedSecret");
    match seen.unjudged.keys().next() {
        None => findings.ok(format!("the controller has judged every SealedSecret: {}", seen.total)),
        Some(title) => findings.problem(
            format!("the controller has not judged {} of {total}, such as {title}", seen.unjudged.len()),
            "see if the controller runs, and read its log",
        ),
    }
    if seen.unready > 0 {
        findings.info(format!("{} of {total} not Ready: `waxseal status -A` lists them", seen.unready));
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
        if !object.is_judged() {
            let title = format!("{}/{}", object.namespace(), object.name());
            self.unjudged.insert(title, object.metadata.generation);
        }
    }

    fn is_any_still_unjudged(&self, first: &BTreeMap<String, Option<i64>>) -> bool {
        self.unjudged.iter().any(|(title, generation)| first.get(title) == Some(generation))
    }
}
