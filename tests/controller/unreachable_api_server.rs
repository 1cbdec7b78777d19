//! `waxseal-controller kubernetes` without an API server to reach.

use std::io::Read;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use waxseal_tests::waiting;

use crate::{controller, kubeconfig};

const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn sigterm_ends_a_controller_that_waits_for_the_api_server() {
    let (_folder, kubeconfig) = kubeconfig();
    let cluster = ["kubernetes", "--kubeconfig", &kubeconfig, "--context", "dead"];
    let ports = ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let mut child = controller(&cluster).args(ports).spawn().expect("the program runs");
    let mut stderr = child.stderr.take().expect("stderr is piped");
    let mut log = String::new();
    while !log.contains("trying again") {
        let mut buffer = [0; 4096];
        let length = stderr.read(&mut buffer).expect("a log");
        assert_ne!(length, 0, "it ended by itself: {log}");
        log.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    let id = Pid::from_raw(i32::try_from(child.id()).expect("ids fit")).expect("not zero");
    kill_process(id, Signal::TERM).expect("it runs");
    let ended = waiting::until_blocking("the end", DEADLINE, || child.try_wait().expect("our child"));
    if ended.is_err() {
        child.kill().expect("it runs");
    }
    assert_eq!(ended.expect("it stops").code(), Some(0));
}
