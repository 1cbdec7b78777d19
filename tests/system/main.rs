//! The tests of Waxseal's programs on a real Kubernetes API server.
//!
//! This test target has a `main` of its own: the preparation can take minutes and shows its progress.
#![expect(clippy::print_stderr, reason = "the preparation's progress is for people")]

mod admission;
mod backup;
mod chart;
mod clock;
mod controllers;
mod deleted_by_hand;
mod git_revert;
mod harness;
mod http;
mod hygiene;
mod image;
mod key_commands;
mod key_delete;
mod key_events;
mod key_namespace;
mod key_status;
mod key_succession;
mod keys;
mod kubectl;
mod kustomize;
mod materialise;
mod missing_rights;
mod namespaced;
mod newer_versions;
mod peers;
mod planted_keys;
mod python_vectors;
mod readme;
mod readme_recovery;
mod readme_rotating;
mod refusals;
mod registration;
mod release;
mod removal;
mod rights;
mod rotation;
mod sealing;
mod startup;
mod status;
mod steadiness;
mod stolen_token;
mod upgrade;
mod user_roles;
mod wraps;
mod year;

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use libtest_mimic::{Arguments, Conclusion, Trial};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::Controller;
use waxseal_tests::{assets, installation, prerequisites, programs, python, report, terminal, typage};

use registration::{Context, Test};

/// Tests mostly wait for the cluster, so a small machine runs more of them at once than it has processors.
const THREADS: usize = 8;

fn main() -> ExitCode {
    terminal::become_program_of_session();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    match run(&arguments) {
        Ok(conclusion) => conclusion.exit_code(),
        Err(error) => {
            eprintln!("\n{}\n", report(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Returns all tests. Every module of tests has a line here.
fn tests() -> Vec<Test> {
    let modules = [
        // The longest tests come first, so that the run does not wait for them alone in the end.
        year::tests(),
        steadiness::tests(),
        admission::tests(),
        backup::tests(),
        chart::tests(),
        clock::tests(),
        deleted_by_hand::tests(),
        git_revert::tests(),
        harness::tests(),
        http::tests(),
        hygiene::tests(),
        image::tests(),
        key_commands::tests(),
        key_delete::tests(),
        key_events::tests(),
        key_status::tests(),
        key_succession::tests(),
        keys::tests(),
        kubectl::tests(),
        kustomize::tests(),
        materialise::tests(),
        missing_rights::tests(),
        namespaced::tests(),
        newer_versions::tests(),
        planted_keys::tests(),
        readme::tests(),
        readme_recovery::tests(),
        readme_rotating::tests(),
        refusals::tests(),
        release::tests(),
        removal::tests(),
        rights::tests(),
        rotation::tests(),
        python_vectors::tests(),
        startup::tests(),
        status::tests(),
        stolen_token::tests(),
        upgrade::tests(),
        user_roles::tests(),
        wraps::tests(),
    ];
    modules.into_iter().flatten().collect()
}

/// Runs the selected tests. The context, and with it the cluster, ends when this function returns or panics.
fn run(arguments: &Arguments) -> Result<Conclusion, Box<dyn Error>> {
    let context = Arc::new(OnceLock::new());
    let trials: Vec<Trial> = tests().into_iter().map(|test| test.into_trial(&context)).collect();
    let is_selected = |trial| !arguments.is_filtered_out(trial);
    if !arguments.list && trials.iter().any(is_selected) {
        let prepared = prepare()?;
        if arguments.filter.is_none() {
            // While other tests run, these builds would take their processor time and delay them.
            for prepare in [assets::helm, assets::kustomize, assets::kubeconform, assets::actionlint] {
                prepare()?;
            }
            prepared.image().map_err(|error| -> Box<dyn Error> { error })?;
        }
        context.get_or_init(|| prepared);
    }
    let conclusion = libtest_mimic::run(arguments, trials);
    context.get().map_or(Ok(()), Context::check_audit_logs).map_err(|error| -> Box<dyn Error> { error })?;
    Ok(conclusion)
}

async fn install(cluster: &Cluster, programs: &programs::Programs) -> Result<Controller, installation::Error> {
    installation::apply(cluster).await?;
    let controller = Controller::start(cluster, programs, "controller").await?;
    controller.ready().await?;
    Ok(controller)
}

fn prepare() -> Result<Context, Box<dyn Error>> {
    prerequisites::check_for_tests()?;
    eprintln!("building the programs under test");
    let programs = programs::build()?;
    let assets = assets::prepare()?;
    let typage = typage::prepare()?;
    let python = python::prepare()?;
    let start = Instant::now();
    let cluster = Cluster::start(&assets.kubernetes, &installation::definitions()?)?;
    let controller = cluster.block_on(install(&cluster, &programs))?;
    let keys_file = cluster.folder().join("keys.yaml");
    installation::fetch_keys(&programs, &controller.kubeconfig, &keys_file)?;
    let seconds = start.elapsed().as_secs_f32();
    eprintln!("started a cluster with Waxseal in it in {seconds:.1} s: {}", cluster.url());
    Ok(Context {
        controller,
        keys_file,
        cluster,
        namespaced_cluster: Mutex::default(),
        image: Mutex::default(),
        programs,
        assets,
        typage,
        python,
    })
}
