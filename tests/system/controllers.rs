//! Support for the tests: starts controllers, and reads the warnings in their logs.

use std::process::Command;

use serde_json::Value;
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::Controller;
use waxseal_tests::waiting;

use crate::registration::{Context, Error, TestResult};
use crate::sealing::DEADLINE;

/// Starts a controller that makes no keys.
pub(crate) async fn start_without_generation(
    context: &Context,
    cluster: &Cluster,
    name: &str,
) -> Result<Controller, Error> {
    let mut command = Command::new(&context.programs.waxseal_controller);
    command.env_clear().env("WAXSEAL_NO_KEY_GENERATION", "true");
    Ok(Controller::start_command(cluster, command, name).await?)
}

/// A controller that makes no keys and is ready.
pub(crate) async fn started(context: &Context, cluster: &Cluster, name: &str) -> Result<Controller, Error> {
    let controller = start_without_generation(context, cluster, name).await?;
    controller.ready().await?;
    Ok(controller)
}

/// A controller that makes keys and is ready.
pub(crate) async fn started_with_generation(
    context: &Context,
    cluster: &Cluster,
    name: &str,
) -> Result<Controller, Error> {
    let controller = Controller::start(cluster, &context.programs, name).await?;
    controller.ready().await?;
    Ok(controller)
}

/// The answer of a controller to a GET request: the status code and the body. If the first request gets no answer, a
/// second one is sent: the controller closes a connection after 5 s, and on a slow machine it may not have answered by
/// then.
pub(crate) async fn answer(controller: &Controller, path: &str) -> Option<(u16, String)> {
    match controller.get(path).await {
        Some(answer) => Some(answer),
        None => controller.get(path).await,
    }
}

/// The status code that `/readyz` answers.
pub(crate) async fn readiness(controller: &Controller) -> Option<u16> {
    answer(controller, "/readyz").await.map(|(code, _)| code)
}

/// The warnings of a controller, from its log.
pub(crate) fn warnings(controller: &Controller) -> Vec<String> {
    let log = controller.log_text();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let warnings = lines.filter(|line| line["level"] == "WARN");
    warnings.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
}

pub(crate) async fn until_warned(controller: &Controller, text: &str) -> TestResult {
    let said = async || warnings(controller).iter().any(|warning| warning == text).then_some(());
    let outcome = waiting::until(&format!("the warning {text:?}"), DEADLINE, said).await;
    outcome.map_err(|error| format!("{error}; there are {:?}", warnings(controller)).into())
}
