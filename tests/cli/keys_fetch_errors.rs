//! Kubeconfigs and servers that `waxseal keys fetch` cannot use. Each cause has its own error.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};
use serde_json::{Value, json};

use crate::api_server::{
    TOKEN, failure, fetch, head, kubeconfig, list, list_of, object, point_at, request_line, respond, serve, serve_text,
    serve_with,
};
use crate::folder::{Folder, program};

/// More than the timeout of the program.
const MAX_WAIT: Duration = Duration::from_secs(30);
const LOCALHOST: SanType = SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST));
const READ_IT: &str = "hint: name a kubeconfig with `--kubeconfig FILE`, and see what `kubectl config view` says\n";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// Answers requests over TLS; returns the port.
fn serve_tls(authority: &Authority, params: &CertificateParams, body: Value) -> u16 {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a certificate").der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.expect("the default versions").with_no_client_auth().with_single_cert(vec![certificate], key);
    let config = Arc::new(config.expect("they belong together"));
    let body = body.to_string();
    serve_with(move |mut stream| {
        let mut connection = ServerConnection::new(Arc::clone(&config)).expect("a server");
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let mut request = [0; 4096];
        if tls.read(&mut request).is_ok_and(|length| length > 0) {
            respond(&mut tls, "200 OK", &body);
            tls.conn.send_close_notify();
            let _gone = tls.flush();
        }
    })
}

fn server_params(name: SanType) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![name];
    params
}

/// Writes a kubeconfig for a server with TLS.
fn point_at_tls(folder: &Folder, port: u16, authority: &Authority) {
    let ca = BASE64_STANDARD.encode(authority.pem());
    let cluster = json!({"server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": ca});
    folder.write("kubeconfig", kubeconfig(&cluster, &json!({"token": TOKEN})).to_string());
}

#[track_caller]
fn assert_fails(folder: &Folder, cause: &str) {
    fetch(folder, &[]).fails(5, &format!("error: context test: {cause}\n"));
}

/// Checks that `keys fetch` fails with this cause if the kubeconfig has this cluster and this user.
#[track_caller]
fn assert_unusable(cluster: &Value, user: &Value, cause: &str) {
    let folder = Folder::new();
    folder.write("kubeconfig", kubeconfig(cluster, user).to_string());
    assert_fails(&folder, cause);
}

#[test]
fn a_certificate_of_the_kubeconfigs_authority_is_trusted() {
    let folder = Folder::with_key();
    folder.write("prod.yaml", folder.read("cluster.yaml"));
    let authority = authority("tests");
    let port = serve_tls(&authority, &server_params(LOCALHOST), list(&folder, &["cluster"]));
    point_at_tls(&folder, port, &authority);
    fetch(&folder, &["--check"]).prints("");
}

#[test]
fn each_invalid_certificate_has_its_own_error() {
    let folder = Folder::new();
    let ours = authority("tests");
    let serve = |authority: &Authority, params: &CertificateParams| {
        point_at_tls(&folder, serve_tls(authority, params, list_of(&[])), &ours);
    };
    let signed_by_another = "the server's certificate is not signed by the kubeconfig's CA";
    serve(&authority("others"), &server_params(LOCALHOST));
    assert_fails(&folder, signed_by_another);
    // An authority of the same name with another key.
    serve(&authority("tests"), &server_params(LOCALHOST));
    assert_fails(&folder, signed_by_another);

    let mut old = server_params(LOCALHOST);
    (old.not_before, old.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    serve(&ours, &old);
    assert_fails(&folder, "the server's certificate has expired");

    let mut new = server_params(LOCALHOST);
    (new.not_before, new.not_after) = (date_time_ymd(2990, 1, 1), date_time_ymd(2999, 1, 1));
    serve(&ours, &new);
    assert_fails(&folder, "the server's certificate is not valid yet");

    let elsewhere = SanType::DnsName("elsewhere.test".try_into().expect("a name"));
    serve(&ours, &server_params(elsewhere));
    assert_fails(&folder, "the server's certificate is for another name than 127.0.0.1");

    let port = serve_tls(&ours, &server_params(LOCALHOST), list_of(&[]));
    let cluster = json!({"server": format!("https://127.0.0.1:{port}")});
    assert_unusable(
        &cluster,
        &json!({}),
        "the server's certificate is not signed by a CA of this machine, and the kubeconfig has no CA",
    );
}

#[test]
fn a_server_that_is_not_an_api_server_is_an_error() {
    let folder = Folder::new();
    let authority = authority("tests");
    let port = serve("200 OK", list_of(&[]));
    point_at_tls(&folder, port, &authority);
    assert_fails(&folder, &format!("127.0.0.1:{port} does not speak TLS"));

    let port = serve_tls(&authority, &server_params(LOCALHOST), list_of(&[]));
    point_at(&folder, port);
    assert_fails(&folder, &format!("127.0.0.1:{port} does not answer as an API server does"));

    let port = serve_with(|mut stream| {
        request_line(&stream);
        let _gone = stream.write_all(b"220 mail.test ESMTP\r\n");
    });
    point_at(&folder, port);
    assert_fails(&folder, &format!("127.0.0.1:{port} does not answer as an API server does"));

    let port = serve_with(drop);
    point_at(&folder, port);
    let outcome = fetch(&folder, &[]).finish();
    let start = format!("error: context test: the connection to 127.0.0.1:{port} failed: connection reset\n");
    let end = format!("error: context test: 127.0.0.1:{port} does not answer as an API server does\n");
    // The error depends on how much of the request was sent before the connection closed.
    assert!(outcome.stderr == start || outcome.stderr == end, "{}", outcome.stderr);
    assert_eq!(outcome.status.code(), Some(5));

    for body in ["", "<html>Log in</html>", "{\"kind\": \"SealingKeyLi", "\u{0}"] {
        let port = serve_text("200 OK", body);
        point_at(&folder, port);
        assert_fails(&folder, &format!("127.0.0.1:{port} does not answer as an API server does"));
    }

    // A redirection is not an answer, even if its body is one.
    let port = serve("302 Found", list(&Folder::with_key(), &["cluster"]));
    point_at(&folder, port);
    assert_fails(&folder, &format!("127.0.0.1:{port} does not answer as an API server does"));
}

#[test]
fn error_statuses_and_an_empty_list_have_their_own_errors() {
    let folder = Folder::new();
    for (head, body, stderr) in [
        (
            "403 Forbidden",
            failure(403),
            "error: context test: the API server does not let you list SealingKeys in waxseal-system (403)\nhint: ask for a Role with the verb list on sealingkeys.waxseal.dev in waxseal-system\n",
        ),
        (
            "404 Not Found",
            failure(404),
            "error: context test: the cluster does not know SealingKeys\nhint: waxseal-controller and its custom resource definitions are not installed there\n",
        ),
        ("503 Unavailable", failure(503), "error: context test: the API server answers with an error (503)\n"),
        (
            "200 OK",
            json!({"apiVersion": "waxseal.dev/v1alpha1", "kind": "SealingKeyList", "metadata": {}, "items": []}),
            "error: context test: no SealingKey in the namespace waxseal-system\nhint: wait until waxseal-controller logs \"published the sealing key\", or name its namespace with `--namespace`\n",
        ),
    ] {
        point_at(&folder, serve(head, body));
        fetch(&folder, &[]).fails(5, stderr);
    }
}

#[test]
fn a_response_that_is_not_a_list_of_sealing_keys_is_refused() {
    let folder = Folder::with_key();
    let refusal = "error: context test: the answer is not a list of SealingKeys that this waxseal knows
hint: update waxseal, or see what `kubectl get sealingkeys.waxseal.dev -A` says
";
    let mut unknown_field = object(&folder.read("cluster.yaml"));
    unknown_field["spec"]["trust\u{1b}[2Jme"] = true.into();
    let mut unknown_state = object(&folder.read("cluster.yaml"));
    unknown_state["spec"]["state"] = "Primary".into();
    for body in [
        json!({"apiVersion": "v1", "kind": "SecretList", "metadata": {}, "items": []}),
        json!({"apiVersion": "waxseal.dev/v2", "kind": "SealingKeyList", "metadata": {}, "items": []}),
        json!({"apiVersion": "v1", "kind": "Status", "status": "Success"}),
        json!([]),
        json!(null),
    ] {
        point_at(&folder, serve("200 OK", body));
        fetch(&folder, &[]).fails(3, refusal);
    }
    let mut nameless = unknown_state.clone();
    nameless["metadata"]["name"] = "a\u{1b}[2J".into();
    let id = folder.key_id("cluster");
    for (item, name) in [
        (json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}), "a"),
        (unknown_field, id.as_str()),
        (unknown_state, id.as_str()),
        (nameless, "a\\u{1b}[2J"),
    ] {
        point_at(&folder, serve("200 OK", list_of(&[object(&folder.read("cluster.yaml")), item])));
        fetch(&folder, &[]).fails(
            3,
            &format!(
                "error: context test: the SealingKey {name} has a form that this waxseal does not know
hint: update waxseal, or see what `kubectl get sealingkeys.waxseal.dev -n waxseal-system {name} -o yaml` says
"
            ),
        );
    }
}

#[test]
fn a_host_name_that_cannot_be_resolved_is_an_error() {
    // A name that is refused without a query: its first label is too long.
    let host = format!("{}.test", "a".repeat(64));
    let cluster = json!({"server": format!("http://{host}:6443")});
    assert_unusable(&cluster, &json!({}), &format!("cannot resolve host {host}"));
    let cluster = json!({"server": format!("https://user:{TOKEN}@{host}")});
    assert_unusable(&cluster, &json!({}), &format!("cannot resolve host {host}"));
    // A name that never exists (RFC 2606 §2). The short timeout is for resolvers that do not answer.
    let folder = Folder::new();
    let cluster = json!({"server": "https://api.invalid"});
    folder.write("kubeconfig", kubeconfig(&cluster, &json!({})).to_string());
    let run = fetch(&folder, &[]).env("RES_OPTIONS", "timeout:1 attempts:1");
    run.fails(5, "error: context test: cannot resolve host api.invalid\n");
}

#[test]
fn a_server_that_does_not_answer_is_an_error_after_a_timeout() {
    let folder = Folder::new();
    // Builds the program before the time is measured.
    program();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    point_at(&folder, port);
    let start = Instant::now();
    assert_fails(&folder, &format!("127.0.0.1:{port} did not answer within 8 seconds"));
    assert!(start.elapsed() < MAX_WAIT);
    drop(listener);
    let start = Instant::now();
    assert_fails(&folder, &format!("connection refused by 127.0.0.1:{port}"));
    assert!(start.elapsed() < MAX_WAIT);
}

/// Writes the same bytes until the connection closes.
fn write_endlessly(stream: &mut TcpStream, bytes: &[u8]) {
    while stream.write_all(bytes).is_ok() {}
}

#[test]
fn an_endless_response_is_read_up_to_the_limit() {
    let folder = Folder::new();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16));
    for status in ["200 OK", "403 Forbidden", "500 Internal Server Error"] {
        let chunk = chunk.clone();
        let port = serve_with(move |mut stream| {
            request_line(&stream);
            let _gone = stream.write_all(head(status, "transfer-encoding: chunked").as_bytes());
            write_endlessly(&mut stream, chunk.as_bytes());
        });
        point_at(&folder, port);
        let arguments = ["keys", "fetch", "-o", "prod.yaml", "--kubeconfig", "kubeconfig"];
        let cause = format!("the answer of 127.0.0.1:{port} is larger than 8 MiB, which is the limit");
        folder.bounded_waxseal(&arguments).fails(5, &format!("error: context test: {cause}\n"));
    }
}

#[test]
fn a_slow_response_is_an_error_after_a_timeout() {
    let folder = Folder::new();
    program();
    let port = serve_with(|mut stream| {
        request_line(&stream);
        let _gone = stream.write_all(head("200 OK", "transfer-encoding: chunked").as_bytes());
        while stream.write_all(b"1\r\n \r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    point_at(&folder, port);
    let start = Instant::now();
    assert_fails(&folder, &format!("127.0.0.1:{port} did not answer within 8 seconds"));
    assert!(start.elapsed() < MAX_WAIT);
}

#[test]
fn endless_headers_are_read_up_to_a_limit() {
    let folder = Folder::new();
    let port = serve_with(|mut stream| {
        request_line(&stream);
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        write_endlessly(&mut stream, format!("x: {}\r\n", "x".repeat(1 << 12)).as_bytes());
    });
    point_at(&folder, port);
    let arguments = ["keys", "fetch", "-o", "prod.yaml", "--kubeconfig", "kubeconfig"];
    let cause = format!("127.0.0.1:{port} does not answer as an API server does");
    folder.bounded_waxseal(&arguments).fails(5, &format!("error: context test: {cause}\n"));
}

#[test]
fn a_kubeconfig_that_is_missing_or_invalid_is_an_error() {
    let folder = Folder::new();
    fetch(&folder, &[]).fails(5, &format!("error: kubeconfig kubeconfig: no such file\n{READ_IT}"));
    let home = folder.path().join("no-home/.kube/config");
    let stderr = format!("error: kubeconfig {}: no such file\n{READ_IT}", home.display());
    let run = || folder.waxseal(&["keys", "fetch", "-o", "prod.yaml"]);
    run().fails(5, &stderr);
    run().env("KUBECONFIG", "absent").fails(5, &format!("error: kubeconfig absent: no such file\n{READ_IT}"));
    for text in [TOKEN, "[a-token-nobody-shall-see]", "apiVersion: {", "contexts: {a: a-token-nobody-shall-see}"] {
        folder.write("kubeconfig", text);
        fetch(&folder, &[]).fails(5, &format!("error: kubeconfig kubeconfig: not a kubeconfig\n{READ_IT}"));
        let stderr = format!("error: kubeconfig: not a kubeconfig\n{READ_IT}");
        run().env("KUBECONFIG", "kubeconfig").fails(5, &stderr);
    }
    let is_key = "error: $KUBECONFIG or $HOME: this is a private key, but a path is expected
hint: the shell's history and the list of processes hold it now: make a new key
";
    for (variable, path) in [("KUBECONFIG", "AGE-SECRET-KEY-1HUNTER2"), ("HOME", "./age-secret-key-1hunter2")] {
        run().env(variable, path).fails(2, is_key);
    }
    folder.write("kubeconfig", b"\xff");
    let stderr = format!("error: kubeconfig kubeconfig: invalid data\n{READ_IT}");
    fetch(&folder, &[]).fails(5, &stderr);
}

#[test]
fn a_missing_context_is_an_error_with_the_list_of_contexts() {
    let folder = Folder::new();
    let mut config = kubeconfig(&json!({"server": "http://127.0.0.1:1"}), &json!({"token": TOKEN}));
    let another = json!({"name": "b\u{1b}[2J\u{202e}\nc", "context": {"cluster": "other"}});
    config["contexts"].as_array_mut().expect("a list").push(another);
    folder.write("kubeconfig", config.to_string());
    let have = "the kubeconfig has: test, b\\u{1b}[2J\\u{202e}\\nc\nhint: name one with `--context CONTEXT`\n";
    let fails = |options: &[&str], stderr: &str| fetch(&folder, options).fails(5, stderr);
    fails(&["--context", "oth\u{1b}er"], &format!("error: no context oth\\u{{1b}}er; {have}"));
    fails(&["--context", ""], &format!("error: no context ; {have}"));
    for current in [json!(null), json!("")] {
        config["current-context"] = current;
        folder.write("kubeconfig", config.to_string());
        fails(&[], &format!("error: no current context; {have}"));
    }
    let entries = config["contexts"].clone();
    config["contexts"] = json!([{"name": "test"}]);
    folder.write("kubeconfig", config.to_string());
    fails(&["--context", "test"], "error: context test: its entry in the kubeconfig is empty\n");
    config["contexts"] = json!([{"name": "test", "context": {"cluster": "oth\u{202e}er"}}]);
    folder.write("kubeconfig", config.to_string());
    let stderr = "error: context test: the kubeconfig does not have its cluster, oth\\u{202e}er\n";
    fails(&["--context", "test"], stderr);
    config["contexts"] = entries;
    config["current-context"] = "gone".into();
    folder.write("kubeconfig", config.to_string());
    fails(&[], &format!("error: no context gone; {have}"));
    folder.write("kubeconfig", "");
    fails(&[], "error: no current context; the kubeconfig has no contexts\n");
}

#[test]
fn each_invalid_context_has_its_own_error() {
    let server = json!({"server": "https://127.0.0.1:1"});
    let with = |name: &str, value: &str| {
        let mut cluster = server.clone();
        cluster[name] = value.into();
        cluster
    };
    let nobody = json!({});
    let no_url = "the `server` of its cluster is not a URL with http:// or https://";
    for (cluster, cause) in [
        (json!({}), "its cluster has no `server`"),
        (json!({"server": "a b"}), no_url),
        (json!({"server": ""}), no_url),
        (json!({"server": "127.0.0.1:6443"}), no_url),
        (json!({"server": "ftp://127.0.0.1"}), no_url),
        (
            with("proxy-url", "http://127.0.0.1:1"),
            "`proxy-url` or $HTTPS_PROXY names a proxy, and waxseal connects without one
hint: write the keys file with `kubectl get sealingkeys -n waxseal-system -o yaml` instead",
        ),
        (with("proxy-url", "a b"), "the proxy's URL is not a URL"),
        (
            with("certificate-authority", "/absent/ca.pem"),
            "cannot read certificate authority /absent/ca.pem: no such file",
        ),
        (with("certificate-authority-data", "*"), "the certificate authority in the kubeconfig is not base64"),
    ] {
        assert_unusable(&cluster, &nobody, cause);
    }
    let (text, hint) = (BASE64_STANDARD.encode(TOKEN), "\nhint: see if `kubectl` can use the context");
    for (user, cause) in [
        (
            json!({"client-certificate": "/absent/c\u{202e}.pem", "client-key-data": text}),
            "cannot read client certificate /absent/c\\u{202e}.pem: no such file".to_owned(),
        ),
        (
            json!({"client-certificate-data": text, "client-key": TOKEN}),
            "cannot read the kubeconfig's client key: no such file".to_owned(),
        ),
        (
            json!({"client-certificate-data": TOKEN, "client-key-data": text}),
            "the client certificate in the kubeconfig is not base64".to_owned(),
        ),
        (json!({"client-certificate-data": text}), "the kubeconfig has no client key".to_owned()),
        (
            json!({"client-certificate-data": text, "client-key-data": text}),
            format!("the certificates of the context cannot be used{hint}"),
        ),
        (json!({"tokenFile": TOKEN}), format!("cannot read the kubeconfig's token file: no such file{hint}")),
        (json!({"token": "two\nlines"}), format!("the kubeconfig's credentials cannot be used{hint}")),
    ] {
        assert_unusable(&server, &user, &cause);
    }
}

#[test]
fn the_output_of_a_login_plugin_is_not_shown() {
    let exec = |command: &str, script: &str| {
        json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": command,
            "args": ["-c", script],
            "interactiveMode": "Never",
        }})
    };
    let server = json!({"server": "http://127.0.0.1:1"});
    let hint = "\nhint: see if `kubectl` can use the context";
    assert_unusable(
        &server,
        &exec("no-such-plugin", ""),
        &format!("cannot start the kubeconfig's login plugin: no such file{hint}"),
    );
    for script in [format!("echo {TOKEN}; exit 1"), format!("echo {TOKEN}"), "echo '{}'".to_owned()] {
        assert_unusable(&server, &exec("sh", &script), &format!("the kubeconfig's login plugin failed{hint}"));
    }
}
