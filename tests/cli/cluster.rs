//! `waxseal keys fetch` against API servers that answer, refuse, or say nothing.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::folder::{Folder, Run, program};
use crate::terminal::Terminal;

/// Longer than this nobody waits for a dead server.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes a kubeconfig for a server on this port.
fn point_at(folder: &Folder, port: u16) {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "users": [{"name": "test", "user": {"token": "a-token-nobody-shall-see"}}],
    });
    folder.write("kubeconfig", kubeconfig.to_string());
}

/// Answers every request with this status and body, until the test process ends.
fn serve(status: &'static str, body: Value) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(&stream, status, &body.to_string());
        }
    });
    port
}

fn answer(mut stream: &TcpStream, status: &str, body: &str) {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let request: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let wanted = "GET /apis/waxseal.dev/v1alpha1/namespaces/waxseal-system/sealingkeys";
    let (status, body) = if request.first().is_some_and(|line| line.starts_with(wanted)) {
        (status, body)
    } else {
        ("500 Unexpected", "{}")
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let _gone = stream.write_all(format!("{head}{body}").as_bytes());
}

/// SealingKeys as the API server lists them, made from files of [`Folder::generate`].
fn list(folder: &Folder, names: &[&str]) -> Value {
    let items: Vec<_> = names.iter().map(|name| object(&folder.read(&format!("{name}.yaml")))).collect();
    json!({"apiVersion": "waxseal.dev/v1alpha1", "kind": "SealingKeyList", "metadata": {"resourceVersion": "7"}, "items": items})
}

fn object(key: &str) -> Value {
    let field = |name: &str| {
        let line = key.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: ")));
        line.expect("a field").trim_matches('"').to_owned()
    };
    json!({
        "apiVersion": "waxseal.dev/v1alpha1",
        "kind": "SealingKey",
        "metadata": {"name": field("name"), "namespace": "waxseal-system", "uid": "u", "resourceVersion": "5", "generation": 1},
        "spec": {"recipient": field("recipient"), "role": field("role"), "createdAt": field("createdAt"), "state": field("state")},
    })
}

fn fetch<'a>(folder: &'a Folder, options: &[&str]) -> Run<'a> {
    folder.waxseal(&[&["keys", "fetch", "-o", "prod.yaml", "--kubeconfig", "kubeconfig"], options].concat())
}

fn fingerprint(folder: &Folder, name: &str) -> String {
    let keys = format!("{name}.yaml");
    let json = folder.waxseal(&["keys", "list", "--keys", &keys, "--format", "json"]).succeeds();
    let rows: Value = serde_json::from_str(&json).expect("JSON");
    rows[0]["fingerprint"].as_str().expect("a fingerprint").to_owned()
}

fn announcement(folder: &Folder, name: &str) -> String {
    let object = object(&folder.read(&format!("{name}.yaml")));
    let (id, spec) = (&object["metadata"]["name"], &object["spec"]);
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let (role, created) = (text(&spec["role"]), text(&spec["createdAt"]));
    format!("new key {} ({role}, Active, created {created}): {}\n", text(id), fingerprint(folder, name))
}

#[test]
fn accepted_keys_are_written_and_seal() {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    point_at(&folder, serve("200 OK", list(&folder, &["recovery", "cluster"])));
    let (one, two) = (fingerprint(&folder, "cluster"), fingerprint(&folder, "recovery"));
    let accept = ["--accept", &one, "--accept", &two];
    let announced = announcement(&folder, "recovery") + &announcement(&folder, "cluster");
    let said = fetch(&folder, &accept).writes(&["prod.yaml"]).warns(&announced);
    assert_eq!(said, "");
    let keys = folder.read("prod.yaml");
    assert!(keys.starts_with("apiVersion: v1\nkind: List\nitems:\n"), "{keys}");
    assert!(!keys.contains("resourceVersion") && !keys.contains("waxseal-system"), "{keys}");
    fetch(&folder, &[]).prints("");
    fetch(&folder, &["--check"]).prints("");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: db, namespace: shop}\nstringData: {A: a long value}\n";
    let sealed = folder.waxseal(&["seal", "--keys", "prod.yaml"]).stdin(secret).succeeds();
    for key in ["cluster.key", "recovery.key"] {
        folder.waxseal(&["open", "-", "--identity", key]).stdin(&sealed).succeeds();
    }
}

#[test]
fn a_key_that_nobody_accepted_is_not_written() {
    let folder = Folder::with_key();
    point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
    let refusal = format!(
        "{}error: prod.yaml: {} was not accepted: the file stays as it is
hint: compare the fingerprint with what the cluster's operator says, then pass `--accept FINGERPRINT`
",
        announcement(&folder, "cluster"),
        folder.key_id("cluster")
    );
    fetch(&folder, &[]).fails(3, &refusal);
    fetch(&folder, &["--accept", "sha256:00"]).stdin("yes\n").fails(3, &refusal);
}

#[test]
fn a_person_at_the_terminal_is_asked() {
    for (answer, code) in [("yes", 0), ("y", 3)] {
        let folder = Folder::with_key();
        point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
        let mut terminal = Terminal::open();
        terminal.types(&format!("{answer}\n"));
        let mut command = Command::new(program());
        command.current_dir(folder.path()).args(["keys", "fetch", "-o", "prod.yaml", "--kubeconfig", "kubeconfig"]);
        let status = command.stdin(terminal.other_end()).stderr(terminal.other_end()).status().expect("waxseal runs");
        drop(command);
        let shown = terminal.shows();
        assert!(shown.contains(&announcement(&folder, "cluster")), "{shown}");
        assert!(shown.contains("Take it into the file? Type yes: "), "{shown}");
        assert_eq!(status.code(), Some(code), "{shown}");
        assert_eq!(folder.path().join("prod.yaml").exists(), code == 0);
    }
}

#[test]
fn a_check_names_each_difference() {
    let folder = Folder::with_key();
    folder.generate("new", &[]);
    folder.generate("gone", &[]);
    folder.write("prod.yaml", format!("{}---\n{}", folder.read("cluster.yaml"), folder.read("gone.yaml")));
    let (cluster, new, gone) = (folder.key_id("cluster"), folder.key_id("new"), folder.key_id("gone"));
    let mut keys = list(&folder, &["cluster", "new"]);
    keys["items"][0]["spec"]["state"] = "Retired".into();
    point_at(&folder, serve("200 OK", keys));
    fetch(&folder, &["--check"]).fails(
        4,
        &format!(
            "error: prod.yaml: differs from the cluster: {cluster} is Retired now, {new} is new, {gone} is gone
hint: run `waxseal keys fetch` without `--check`, and commit the file
"
        ),
    );
}

#[test]
fn a_revoked_key_stays_revoked_in_the_file() {
    let folder = Folder::with_key();
    let revoked = folder.read("cluster.yaml").replace("Active", "Revoked");
    folder.write("prod.yaml", &revoked);
    point_at(&folder, serve("200 OK", list(&folder, &["cluster"])));
    let id = folder.key_id("cluster");
    let stderr =
        format!("warning: {id}: is Revoked in the file and not in the cluster; it stays Revoked in the file\n");
    fetch(&folder, &[]).writes(&["prod.yaml"]).warns(&stderr);
    assert!(folder.read("prod.yaml").contains("state: Revoked"));
}

#[test]
fn a_key_never_gets_another_time() {
    let folder = Folder::with_key();
    folder.write("prod.yaml", folder.read("cluster.yaml"));
    let mut keys = list(&folder, &["cluster"]);
    keys["items"][0]["spec"]["createdAt"] = "2020-01-01T00:00:00Z".into();
    point_at(&folder, serve("200 OK", keys));
    let id = folder.key_id("cluster");
    fetch(&folder, &[]).fails(
        3,
        &format!(
            "error: prod.yaml: {id} has another role or creation time in the cluster
hint: they never change: find out who changed them
"
        ),
    );
}

#[test]
fn a_server_that_says_no() {
    let folder = Folder::new();
    let status = |code: u16| json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "quotes a-secret"});
    for (head, body, stderr) in [
        (
            "403 Forbidden",
            status(403),
            "error: context test: the API server does not let you list SealingKeys in waxseal-system (403)\n",
        ),
        (
            "404 Not Found",
            status(404),
            "error: context test: the cluster does not know SealingKeys\nhint: waxseal-controller and its custom resource definitions are not installed there\n",
        ),
        ("503 Unavailable", status(503), "error: context test: the API server answers with an error (503)\n"),
        (
            "200 OK",
            json!({"apiVersion": "waxseal.dev/v1alpha1", "kind": "SealingKeyList", "metadata": {}, "items": []}),
            "error: context test: no SealingKey in the namespace waxseal-system\nhint: name the namespace of waxseal-controller with `--namespace`\n",
        ),
    ] {
        point_at(&folder, serve(head, body));
        fetch(&folder, &[]).fails(5, stderr);
    }
}

#[test]
fn keys_that_are_wrong_are_refused() {
    let folder = Folder::with_key();
    let mut keys = list(&folder, &["cluster"]);
    keys["items"][0]["metadata"]["name"] = "k0000000000000000".into();
    point_at(&folder, serve("200 OK", keys));
    let id = folder.key_id("cluster");
    let stderr =
        format!("error: context test: a SealingKey: metadata.name: must be {id}, the key id of its recipient\n");
    fetch(&folder, &[]).fails(3, &stderr);
}

#[test]
fn no_kubeconfig_and_no_such_context() {
    let folder = Folder::new();
    fetch(&folder, &[]).fails(1, "error: kubeconfig: no such file or folder\n");
    let stderr = "error: there is no kubeconfig that can be read\nhint: name one with `--kubeconfig FILE`, and see what `kubectl config view` says\n";
    folder.write("kubeconfig", "clusters: {}\n");
    fetch(&folder, &[]).fails(5, stderr);
    folder.waxseal(&["keys", "fetch", "-o", "prod.yaml"]).fails(5, stderr);
    point_at(&folder, 1);
    let stderr = "error: context other: the kubeconfig has no such context, or one that cannot be used\n";
    fetch(&folder, &["--context", "other"]).fails(5, stderr);
}

#[test]
fn a_dead_server_is_noticed() {
    let folder = Folder::new();
    // Building it is not what is measured.
    program();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    point_at(&folder, port);
    let start = Instant::now();
    fetch(&folder, &[]).fails(5, "error: context test: the API server did not answer within 8 seconds\n");
    assert!(start.elapsed() < PATIENCE);
    drop(listener);
    let start = Instant::now();
    fetch(&folder, &[]).fails(5, "error: context test: the API server cannot be reached: connection refused\n");
    assert!(start.elapsed() < PATIENCE);
}
