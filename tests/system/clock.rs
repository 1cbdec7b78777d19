//! The wall clock of the real programs, moved by the test.

use std::process::Command;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use waxseal_shared::sealing_key::{KeyState, PublishedKey};
use waxseal_tests::clock::Clock;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, CONTEXT, Controller};

use crate::key_namespace::Keys;
use crate::registration::{Context, Test, TestResult};
use crate::sealing::{patch, run};

const DAY: SignedDuration = SignedDuration::from_hours(24);

pub(crate) fn tests() -> Vec<Test> {
    vec![Test::on_own_cluster("clock::keys_are_as_old_as_the_moved_clock_says", moved)]
}

/// The clock is a year ahead of the API server's when the controller starts, and then moves while it runs.
async fn moved(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let clock = Clock::new(&context.programs, &cluster.folder().join("clock"))?;
    clock.advance(365 * DAY)?;
    let mut command = Command::new(&context.programs.waxseal_controller);
    clock.give_to(command.env_clear().env("WAXSEAL_RENEW_AFTER", "30d"));
    let controller = Controller::start_command(cluster, command, "moved").await?;
    controller.ready().await?;
    let keys = Keys::of(cluster);
    let first = keys.decoded().await?.pop().ok_or("no key")?;
    let ahead = first.created_at.duration_since(Timestamp::now());
    assert!(ahead > 364 * DAY && ahead < 366 * DAY, "{ahead}");

    let fetch = |clock: Option<&Clock>| {
        let mut fetch = Command::new(&context.programs.waxseal);
        fetch.env_clear().args(["keys", "fetch", "--context", CONTEXT, "--kubeconfig"]).arg(&controller.kubeconfig);
        fetch.args(["--accept", first.recipient.fingerprint().as_str(), "-o"]).arg(cluster.folder().join("keys.yaml"));
        if let Some(clock) = clock {
            clock.give_to(&mut fetch);
        }
        run(&mut fetch, "")
    };
    let refusal = fetch(None).err().ok_or("the key is from the future")?.to_string();
    assert!(refusal.contains("is in the future"), "{refusal}");
    fetch(Some(&clock))?;

    clock.advance(31 * DAY)?;
    wake(&keys).await?;
    let old = keys.until_published(first.recipient.key_id().as_str(), KeyState::Retired).await?;
    let both = keys.decoded().await?;
    let new = both.iter().find(|key| key.state == KeyState::Active).ok_or("no Active key")?;
    let apart = new.created_at.duration_since(PublishedKey::decode(&old)?.created_at);
    assert!(both.len() == 2 && apart >= 31 * DAY && apart < 32 * DAY, "{apart}");
    Ok(())
}

/// Makes the controller look at its keys at once: without this, it looks only after up to a minute.
pub(crate) async fn wake(keys: &Keys) -> TestResult {
    let names = keys.identity_names().await?;
    let name = names.first().ok_or("no identity Secret")?;
    let time = Timestamp::now().to_string();
    patch(&keys.identities, name, json!({"metadata": {"annotations": {"example.com/touched": time}}})).await?;
    Ok(())
}
