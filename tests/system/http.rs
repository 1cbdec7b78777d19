//! The controller's ports for probes and for metrics, and attacks of a Pod on them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Probe;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Api;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use waxseal_tests::cluster::Cluster;
use waxseal_tests::installation::{self, Controller, KEY_NAMESPACE, SERVICE_ACCOUNT};
use waxseal_tests::{memory, waiting};

use crate::registration::{Context, Error, Test, TestResult};

/// The beginning of a request that never ends: no empty line follows.
const HALF_A_REQUEST: &[u8] =
    b"GET /livez HTTP/1.1\r\nHost: waxseal\r\nX-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n";
/// The address of the attacker. Probes come from another address, as those of the kubelet do.
const HOSTILE_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);
/// The number of clients that each hold an unfinished request, and open a new connection after a pause.
const HOSTILE_CLIENTS: usize = 1000;
/// The number of connections that the clients open before the test ends.
const HALF_REQUESTS: usize = 4000;
/// The pause before a new connection. All clients together open 250 connections per second. More of them take all
/// processor time of a small machine, on which other tests run at the same time.
const REOPENED_AFTER: Duration = Duration::from_secs(4);
/// The defaults of the kubelet for `timeoutSeconds` and `failureThreshold`.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const FAILURE_THRESHOLD: usize = 3;
const PROBES: usize = 30;
/// The deadline for that number of answers on a loaded machine.
const LONGEST_PROBING: Duration = Duration::from_secs(60);
/// The growth of the server's memory in KiB that a flood may cause. In a debug build a connection needs 17 KiB. So the
/// 512 connections that the server allows, 256 on each port, need 9 MiB, and those of all hostile clients would need
/// 17 MiB.
const MEMORY_FOR_REQUESTS: u64 = 14 * 1024;
/// The deadline for all connections of a flood.
const FLOODED: Duration = Duration::from_secs(120);
/// Longer than the server's deadline for a connection.
const CLOSED_BY_THEN: Duration = Duration::from_secs(30);
/// The server's deadline for a connection.
const THE_DEADLINE: Duration = Duration::from_secs(5);
const BEFORE_THE_DEADLINE: Duration = Duration::from_secs(4);
/// The number of times that a slow machine may miss the deadline.
const ATTEMPTS: usize = 10;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::on_own_cluster("http::probes_answer_during_a_flood_and_memory_stays_bounded", flood),
        Test::on_own_cluster("http::probes_answer_while_file_descriptors_are_short", few_descriptors),
        Test::on_own_cluster("http::a_peer_with_many_connections_displaces_only_its_own", displacement),
        Test::new("http::every_connection_ends_even_with_a_slow_client", dawdling),
        Test::new("http::each_port_answers_its_own_paths_and_two_methods", answers),
        Test::new("http::probes_and_metrics_have_ports_in_the_deployment_and_only_metrics_are_let_in", ports),
    ]
}

async fn flood(context: &Context, cluster: &Cluster) -> TestResult {
    installation::apply(cluster).await?;
    let controller = Controller::start(cluster, &context.programs, "flooded").await?;
    controller.ready().await?;
    allow_file_descriptors(HOSTILE_CLIENTS + 500)?;
    let before = memory::most_resident(controller.process_id())?;

    let opened = Arc::new(AtomicUsize::new(0));
    let clients = hostile_clients(&controller, HOSTILE_CLIENTS, &opened)?;
    let has_opened = |count| {
        let opened = Arc::clone(&opened);
        waiting::until("the flood", FLOODED, async move || (opened.load(Ordering::Relaxed) >= count).then_some(()))
    };
    has_opened(HOSTILE_CLIENTS).await?;
    assert_probes_answer(&controller).await?;
    let after = memory::most_resident(controller.process_id())?;
    let grown = after.saturating_sub(before);
    assert!(grown < MEMORY_FOR_REQUESTS, "memory grew by {grown} KiB, from {before} to {after}");
    has_opened(HALF_REQUESTS).await?;
    drop(clients);
    Ok(())
}

/// Starts a controller that may open only 64 file descriptors: its server then allows 8 connections on each port. Waits
/// until the controller is ready.
async fn start_with_few_descriptors(context: &Context, cluster: &Cluster) -> Result<Controller, Error> {
    installation::apply(cluster).await?;
    let mut command = Command::new("sh");
    command.env_clear().args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(&context.programs.waxseal_controller);
    let controller = Controller::start_command(cluster, command, "few-descriptors").await?;
    controller.ready().await?;
    Ok(controller)
}

async fn few_descriptors(context: &Context, cluster: &Cluster) -> TestResult {
    let controller = start_with_few_descriptors(context, cluster).await?;
    let opened = Arc::new(AtomicUsize::new(0));
    let _clients = hostile_clients(&controller, 200, &opened)?;
    waiting::until("the flood", FLOODED, async || (opened.load(Ordering::Relaxed) >= 1000).then_some(())).await?;
    assert_probes_answer(&controller).await?;
    assert!(!controller.log_text().contains("failed to accept a connection"), "{}", controller.log_text());
    Ok(())
}

/// On each port, a slow client gets its answer while another peer opens more connections than the server allows.
async fn displacement(context: &Context, cluster: &Cluster) -> TestResult {
    let controller = start_with_few_descriptors(context, cluster).await?;
    let (probes, metrics) = addresses(&controller)?;
    displaced(probes, "200 OK").await?;
    displaced(metrics, "404 Not Found").await
}

async fn displaced(address: SocketAddr, status: &str) -> TestResult {
    for _ in 0..ATTEMPTS {
        if is_answered_in_time(address, status).await? {
            return Ok(());
        }
    }
    Err("the server displaced no connection within the time that a slow client has".into())
}

/// Fails unless the slow client gets its answer. Returns `false` if the displacement took so long that the server may
/// have closed the slow client's connection at the deadline for a connection.
async fn is_answered_in_time(address: SocketAddr, status: &str) -> Result<bool, Error> {
    let begin = Instant::now();
    let mut slow = TcpStream::connect(address).await?;
    slow.write_all(HALF_A_REQUEST).await?;
    let mut held = Vec::new();
    for _ in 0..32 {
        let socket = TcpSocket::new_v4()?;
        socket.bind(HOSTILE_ADDRESS)?;
        let mut stream = socket.connect(address).await?;
        stream.write_all(HALF_A_REQUEST).await?;
        held.push(stream);
    }
    // Beyond its limit the server closes the oldest connection of the peer that has the most connections.
    let _ = timeout(CLOSED_BY_THEN, held[0].read_to_end(&mut Vec::new())).await?;
    if begin.elapsed() > BEFORE_THE_DEADLINE {
        return Ok(false);
    }
    slow.write_all(b"\r\n").await?;
    let mut answer = String::new();
    let read = timeout(CLOSED_BY_THEN, slow.read_to_string(&mut answer)).await?;
    if answer.is_empty() && begin.elapsed() > THE_DEADLINE {
        return Ok(false);
    }
    read?;
    assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
    Ok(true)
}

/// The addresses of the probes and of the metrics.
fn addresses(controller: &Controller) -> Result<(SocketAddr, SocketAddr), Error> {
    let probes = controller.address().ok_or("no address")?.parse()?;
    Ok((probes, controller.metrics_address().ok_or("no address")?.parse()?))
}

/// One client sends nothing, one never ends its request, and one never ends its body.
async fn dawdling(context: &Context) -> TestResult {
    let body = b"GET /livez HTTP/1.1\r\nHost: waxseal\r\nContent-Length: 1000000\r\n\r\n";
    let (probes, metrics) = addresses(&context.controller)?;
    for address in [probes, metrics] {
        for sent in [&b""[..], HALF_A_REQUEST, body] {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(sent).await?;
            let ended = timeout(CLOSED_BY_THEN, stream.read_to_end(&mut Vec::new())).await;
            assert!(ended.is_ok(), "{address} stays open after {:?}", String::from_utf8_lossy(sent));
        }
    }
    Ok(())
}

async fn answers(context: &Context) -> TestResult {
    let (probes, metrics) = addresses(&context.controller)?;
    for (address, request, status, body) in [
        (probes, "GET /livez", "200 OK", "ok"),
        (probes, "GET /livez?verbose", "200 OK", "ok"),
        (probes, "HEAD /livez", "200 OK", ""),
        (probes, "GET /readyz", "200 OK", "ok"),
        (probes, "GET /metrics", "404 Not Found", "not found"),
        (probes, "GET /secrets", "404 Not Found", "not found"),
        (probes, "POST /livez", "405 Method Not Allowed", ""),
        (metrics, "GET /livez", "404 Not Found", "not found"),
        (metrics, "GET /readyz", "404 Not Found", "not found"),
        (metrics, "HEAD /metrics", "200 OK", ""),
        (metrics, "POST /metrics", "405 Method Not Allowed", ""),
    ] {
        let answer = exchange(address, request).await?;
        let (head, said) = answer.split_once("\r\n\r\n").ok_or("no head")?;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {head}");
        assert!(head.contains("connection: close"), "{request}: {head}");
        assert_eq!(said, body, "{request}");
    }
    let text = exchange(metrics, "GET /metrics").await?;
    assert!(text.contains("content-type: application/openmetrics-text; version=1.0.0"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    for address in [probes, metrics] {
        let long = exchange(address, &format!("GET /{}", "x".repeat(20_000))).await?;
        assert!(long.starts_with("HTTP/1.1 4"), "{long}");
    }
    Ok(())
}

async fn ports(context: &Context) -> TestResult {
    let client = context.cluster.client();
    let deployment = Api::<Deployment>::namespaced(client.clone(), KEY_NAMESPACE).get(SERVICE_ACCOUNT).await?;
    let pod = deployment.spec.template.spec.ok_or("no Pod")?;
    let container = &pod.containers[0];
    let ports = container.ports.iter().flatten();
    let ports: Vec<_> = ports.map(|port| (port.name.as_deref(), port.container_port)).collect();
    assert_eq!(ports, [(Some("http"), 8080), (Some("metrics"), 8081)]);
    let probe =
        |probe: &Option<Probe>| probe.as_ref()?.http_get.as_ref().map(|get| (get.path.clone(), get.port.clone()));
    let at_http = |path: &str| Some((Some(path.to_owned()), IntOrString::String("http".to_owned())));
    assert_eq!(probe(&container.liveness_probe), at_http("/livez"));
    assert_eq!(probe(&container.readiness_probe), at_http("/readyz"));

    let policy = Api::<NetworkPolicy>::namespaced(client, KEY_NAMESPACE).get(SERVICE_ACCOUNT).await?;
    let ingress = policy.spec.and_then(|spec| spec.ingress).unwrap_or_default();
    let let_in: Vec<_> = ingress.iter().flat_map(|rule| rule.ports.iter().flatten()).collect();
    assert_eq!(let_in.len(), 1);
    assert_eq!(let_in[0].port, Some(IntOrString::String("metrics".to_owned())));
    Ok(())
}

async fn exchange(address: SocketAddr, request: &str) -> Result<String, Error> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: waxseal\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    timeout(CLOSED_BY_THEN, stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

/// Clients that each hold an unfinished request on one of the two ports, and count their connections. They end on drop.
fn hostile_clients(controller: &Controller, count: usize, opened: &Arc<AtomicUsize>) -> Result<JoinSet<()>, Error> {
    let (probes, metrics) = addresses(controller)?;
    let mut clients = JoinSet::new();
    for address in [probes, metrics].into_iter().cycle().take(count) {
        let opened = Arc::clone(opened);
        clients.spawn(async move {
            loop {
                // An error does not matter: no port is free at the moment, or the server ends the connection.
                let _ = hold_half_a_request(address, &opened).await;
                sleep(REOPENED_AFTER).await;
            }
        });
    }
    Ok(clients)
}

async fn hold_half_a_request(address: SocketAddr, opened: &AtomicUsize) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(HOSTILE_ADDRESS)?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(HALF_A_REQUEST).await?;
    opened.fetch_add(1, Ordering::Relaxed);
    stream.read_to_end(&mut Vec::new()).await.map(drop)
}

/// Probes like the kubelet, but more often. Fails after as many failures in a row as make the kubelet restart the Pod.
///
/// A failed probe does not count if an idle server in this process is slow at the same moment: then the machine is
/// overloaded, and not the controller.
async fn assert_probes_answer(controller: &Controller) -> TestResult {
    let idle = idle_server().await?;
    for path in ["/livez", "/readyz"] {
        let (mut answers, mut failures) = (0, 0);
        waiting::until("answers to the probes", LONGEST_PROBING, async || {
            let probe = timeout(PROBE_TIMEOUT, controller.get(path));
            let compared = timeout(PROBE_TIMEOUT / 20, async { TcpStream::connect(idle).await?.read_u8().await });
            let (answer, compared) = tokio::join!(probe, compared);
            match (answer, compared) {
                (Ok(Some((200, _))), _) => (answers, failures) = (answers + 1, 0),
                (_, Ok(Ok(_))) => failures += 1,
                _ => {}
            }
            assert!(failures < FAILURE_THRESHOLD, "{path}: {failures} probes in a row failed");
            (answers == PROBES).then_some(())
        })
        .await?;
    }
    Ok(())
}

/// Returns the address of a server that answers each connection with one byte.
async fn idle_server() -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // A client that gave up does not matter.
            let _ = stream.write_u8(0).await;
        }
    });
    Ok(address)
}

/// Raises this process's soft limit; fails if the hard limit is lower.
fn allow_file_descriptors(count: usize) -> TestResult {
    let limit = getrlimit(Resource::Nofile);
    let wanted = count as u64;
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
        .map_err(|error| format!("failed to allow {wanted} open files, which this test needs: {error}").into())
}
