//! API servers with the responses that a test wants, and kubeconfigs for them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::folder::{Folder, Run};

/// The token in the kubeconfigs.
pub(crate) const TOKEN: &str = "a-token-nobody-shall-see";

/// A kubeconfig with one context, `test`.
pub(crate) fn kubeconfig(cluster: &Value, user: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": user}],
    })
}

/// Writes a kubeconfig for a server on this port, which speaks plain HTTP.
pub(crate) fn point_at(folder: &Folder, port: u16) {
    let cluster = json!({"server": format!("http://127.0.0.1:{port}")});
    let kubeconfig = kubeconfig(&cluster, &json!({"token": TOKEN}));
    folder.write("kubeconfig", kubeconfig.to_string());
}

/// Answers every connection with this function until the test process ends; returns the port.
pub(crate) fn serve_with(answer: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    thread::spawn(move || listener.incoming().flatten().for_each(answer));
    port
}

/// Answers each list of SealingKeys with this status and JSON, and every other request with 500, until the test process
/// ends; returns the port.
pub(crate) fn serve(status: &'static str, body: Value) -> u16 {
    serve_text(status, body.to_string())
}

/// Like [`serve`], but with any text as the body.
pub(crate) fn serve_text(status: &'static str, body: impl Into<String>) -> u16 {
    let body = body.into();
    serve_with(move |stream| {
        let wanted = "GET /apis/waxseal.dev/v1alpha1/namespaces/waxseal-system/sealingkeys";
        let is_wanted = request_line(&stream).starts_with(wanted);
        let (status, body) = if is_wanted { (status, body.as_str()) } else { ("500 Unexpected", "{}") };
        respond(stream, status, body);
    })
}

/// Reads a request; returns its first line.
pub(crate) fn request_line(stream: impl Read) -> String {
    request(stream).0
}

/// Answers lists of SealingKeys and changes of them; returns the port. Until a change succeeds, lists have the keys
/// `before`, and then the keys `after`. Every change gets the answer `change`: a status and JSON.
pub(crate) fn serve_changes(before: Value, change: (&'static str, Value), after: Value) -> u16 {
    let is_changed = AtomicBool::new(false);
    serve_with(move |stream| {
        let (line, body) = request(&stream);
        let (status, answer) =
            if line.starts_with("PATCH /apis/waxseal.dev/v1alpha1/namespaces/waxseal-system/sealingkeys/") {
                // A change names the uid and the version that were read, and changes only the state.
                let body: Value = serde_json::from_str(&body).expect("JSON");
                assert_eq!(body["metadata"], json!({"resourceVersion": "5", "uid": "u"}));
                assert_eq!(body["spec"].as_object().expect("a spec").keys().collect::<Vec<_>>(), ["state"]);
                is_changed.fetch_or(change.0 == "200 OK", Ordering::Relaxed);
                change.clone()
            } else if is_changed.load(Ordering::Relaxed) {
                ("200 OK", after.clone())
            } else {
                ("200 OK", before.clone())
            };
        respond(stream, status, &answer.to_string());
    })
}

/// Reads a request; returns its first line and its body.
pub(crate) fn request(stream: impl Read) -> (String, String) {
    let mut reader = BufReader::new(stream);
    let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
    if reader.read_line(&mut first).is_err() {
        return Default::default(); // Bytes of TLS, for example.
    }
    while reader.read_line(&mut line).is_ok_and(|_| !line.trim().is_empty()) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a length");
        }
        line.clear();
    }
    let mut body = vec![0; length];
    let _gone = reader.read_exact(&mut body);
    (first, String::from_utf8(body).expect("text"))
}

/// Answers a request. Ignores an error, because the client may be gone.
pub(crate) fn respond(mut stream: impl Write, status: &str, body: &str) {
    let head = head(status, &format!("content-length: {}", body.len()));
    let _gone = stream.write_all(format!("{head}{body}").as_bytes());
}

/// The answer to a request that fails. `waxseal` must not show its message.
pub(crate) fn failure(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "quotes a-secret"})
}

/// The head of a response with JSON.
pub(crate) fn head(status: &str, length: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n{length}\r\n\r\n")
}

/// SealingKeys as the API server lists them, made from files of [`Folder::generate`].
pub(crate) fn list(folder: &Folder, names: &[&str]) -> Value {
    let items: Vec<_> = names.iter().map(|name| object(&folder.read(&format!("{name}.yaml")))).collect();
    list_of(&items)
}

pub(crate) fn list_of(items: &[Value]) -> Value {
    json!({"apiVersion": "waxseal.dev/v1alpha1", "kind": "SealingKeyList", "metadata": {"resourceVersion": "7"}, "items": items})
}

/// SealedSecrets as the API server lists them.
pub(crate) fn sealed_secrets(items: &[Value]) -> Value {
    let metadata = json!({"resourceVersion": "7"});
    json!({"apiVersion": "waxseal.dev/v1alpha1", "kind": "SealedSecretList", "metadata": metadata, "items": items})
}

/// A SealingKey as the API server shows it, made from the text of a file of [`Folder::generate`].
pub(crate) fn object(key: &str) -> Value {
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

pub(crate) fn fetch<'a>(folder: &'a Folder, options: &[&str]) -> Run<'a> {
    folder.waxseal(&[&["keys", "fetch", "-o", "prod.yaml", "--kubeconfig", "kubeconfig"], options].concat())
}
