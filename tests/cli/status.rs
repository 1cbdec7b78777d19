//! `waxseal status`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use waxseal_tests::waiting;

use crate::api_server::{failure, head, kubeconfig, point_at, request_line, respond, sealed_secrets, serve_with};
use crate::folder::{Folder, HOSTILE_NAME, HOSTILE_NAME_ESCAPED, program};

const ALL: &str = "GET /apis/waxseal.dev/v1alpha1/sealedsecrets?";
const DEADLINE: Duration = Duration::from_secs(30);

fn ago(time: SignedDuration) -> String {
    (Timestamp::now() - time).to_string()
}

/// A SealedSecret of generation 2 that is 3 hours old.
fn object(name: &str, status: Value) -> Value {
    json!({
        "apiVersion": "waxseal.dev/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {
            "name": name, "namespace": "shop", "uid": "u", "resourceVersion": "5", "generation": 2,
            "creationTimestamp": ago(SignedDuration::from_mins(185)),
        },
        "spec": {
            "note": "of a newer definition",
            "envelopes": {
                "e0000000001": {"commitment": "", "wraps": {"k0000000000000001": "", "k0000000000000002": ""}},
                "e0000000002": {"commitment": "", "wraps": {"k0000000000000003": ""}},
            },
            "encryptedData": {"A": "wax1.e0000000001.AAAA"},
        },
        "status": status,
    })
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    let since = ago(SignedDuration::from_mins(125));
    json!({"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
}

fn status(generation: i64, conditions: &[Value]) -> Value {
    json!({"observedGeneration": generation, "conditions": conditions})
}

fn ready() -> Value {
    condition("Ready", "True", "Materialised", "the Secret is as this SealedSecret says")
}

/// Answers requests that begin with `wanted` with these items, and every other request with 500.
fn serve_list(folder: &Folder, wanted: &'static str, items: &[Value]) {
    let list = sealed_secrets(items);
    let port = serve_with(move |stream| {
        let line = request_line(&stream);
        let (status, body) =
            if line.starts_with(wanted) { ("200 OK", &list) } else { ("500 Unexpected", &Value::Null) };
        respond(stream, status, &body.to_string());
    });
    point_at(folder, port);
}

fn arguments<'a>(options: &[&'a str]) -> Vec<&'a str> {
    [&["status", "--kubeconfig", "kubeconfig"], options].concat()
}

fn fleet() -> [Value; 6] {
    let behind = condition("KeyCurrent", "False", "Behind", "envelope e0000000001: no wrap for k1");
    let moved = condition("Ready", "False", "Moved", "sealed for shop/other");
    [
        object("good", status(2, &[ready()])),
        object("behind", status(2, &[ready(), behind])),
        object("moved", status(2, &[moved])),
        object("fresh", status(-1, &[])),
        object("changed", status(1, &[ready()])),
        object("strange", json!({"observedGeneration": 2, "conditions": "none"})),
    ]
}

#[test]
fn a_list_shows_ready_reason_key_and_age() {
    let folder = Folder::new();
    serve_list(&folder, ALL, &fleet());
    let outcome = folder.waxseal(&arguments(&["-A"])).finish();
    let expected = "\
NAMESPACE  NAME     READY    REASON        KEY      AGE
shop       good     True     Materialised  Current  3h
shop       behind   True     Materialised  Behind   3h
shop       moved    False    Moved         -        3h
shop       fresh    Unknown  -             -        3h
shop       changed  Unknown  -             -        3h
shop       strange  Unknown  -             -        3h
";
    assert_eq!(outcome.stdout, expected);
    let stderr = "error: context test: 4 of 6 SealedSecrets are not Ready\n\
                  hint: `waxseal status -n NAMESPACE NAME` explains one, and says what to do\n";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(4)));
}

#[test]
fn a_list_in_json_also_has_the_message() {
    let folder = Folder::new();
    serve_list(&folder, ALL, &fleet());
    let outcome = folder.waxseal(&arguments(&["-A", "--format", "json"])).finish();
    assert_eq!(outcome.status.code(), Some(4), "{}", outcome.stderr);
    let mut rows: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    for row in rows.as_array_mut().expect("rows") {
        let age = row.as_object_mut().expect("a row").remove("ageSeconds").and_then(|age| age.as_i64());
        assert!(age.is_some_and(|age| (11_100..11_200).contains(&age)), "{age:?}");
    }
    assert_eq!(
        rows[2],
        json!({
            "namespace": "shop", "name": "moved", "ready": false, "reason": "Moved",
            "message": "sealed for shop/other", "key": null,
        })
    );
    let unknown = json!({
        "namespace": "shop", "name": "changed", "ready": null, "reason": null, "message": null, "key": null,
    });
    assert_eq!(rows[4], unknown);
    assert_eq!([&rows[0]["key"], &rows[1]["key"]], ["Current", "Behind"]);
}

#[test]
fn the_namespace_is_that_of_the_option_or_of_the_context() {
    let in_shop = "GET /apis/waxseal.dev/v1alpha1/namespaces/shop/sealedsecrets?";
    let in_default = "GET /apis/waxseal.dev/v1alpha1/namespaces/default/sealedsecrets?";
    let table = "NAME  READY  REASON        KEY      AGE\ngood  True   Materialised  Current  3h\n";
    let good = [object("good", status(2, &[ready()]))];
    let folder = Folder::new();
    serve_list(&folder, in_shop, &good);
    folder.waxseal(&arguments(&["-n", "shop"])).prints(table);
    let mut of_shop: Value = serde_json::from_str(&folder.read("kubeconfig")).expect("JSON");
    of_shop["contexts"][0]["context"]["namespace"] = json!("shop");
    folder.write("kubeconfig", of_shop.to_string());
    folder.waxseal(&arguments(&[])).prints(table);
    let mut in_its_namespace = good;
    in_its_namespace[0]["metadata"]["namespace"] = json!("default");
    serve_list(&folder, in_default, &in_its_namespace);
    folder.waxseal(&arguments(&[])).prints(table);
    serve_list(&folder, in_default, &[]);
    assert_eq!(folder.waxseal(&arguments(&[])).warns("no SealedSecrets in default\n"), "");
    folder.waxseal(&arguments(&["--format", "json"])).prints("[]\n");
}

#[test]
fn one_sealed_secret_is_explained_in_words() {
    let folder = Folder::new();
    let broken = condition(
        "KeyCurrent",
        "False",
        "WrapBroken",
        "envelope e0000000001: the wrap for k0000000000000002 is broken",
    );
    let moved = condition("Ready", "False", "Moved", "sealed for shop/other");
    let stalled = condition("Stalled", "True", "Moved", "waiting does not help");
    let mut one = object("db", status(2, &[moved, broken, stalled]));
    one["status"]["keys"] = json!({"e0000000001": ["k0000000000000001"]});
    one["spec"]["template"] = json!({"type": "kubernetes.io/tls"});
    let wanted = "GET /apis/waxseal.dev/v1alpha1/namespaces/shop/sealedsecrets?&fieldSelector=metadata.name%3Ddb&";
    serve_list(&folder, wanted, &[one]);
    let outcome = folder.waxseal(&arguments(&["-n", "shop", "db"])).finish();
    let expected = "\
SealedSecret shop/db, 3h old
Ready: False for 2h, Moved
  message: sealed for shop/other
  meaning: it was sealed for another namespace, name or scope, which the message names
  to do: seal it again for this place, or put it back into its old place
KeyCurrent: False for 2h, WrapBroken
  message: envelope e0000000001: the wrap for k0000000000000002 is broken
  meaning: the wrap for a key, which the message names, is broken: the holder of that key may be unable to open the SealedSecret
  to do: remove the wrap from the file. If the values are meant for the holder of the key, make it anew with `waxseal rotate --replace-broken`, which needs an identity
Stalled: True for 2h, Moved
  message: waiting does not help
Sealed to:
  k0000000000000001 (the controller has checked the wraps for this key)
  k0000000000000002
Secret: shop/db, type kubernetes.io/tls
";
    assert_eq!(outcome.stdout, expected);
    let stderr = "error: context test: 1 of 1 SealedSecret is not Ready\n";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(4)));
    let outcome = folder.waxseal(&arguments(&["-n", "shop", "db", "--format", "json"])).finish();
    let report: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(report["secret"], json!({"namespace": "shop", "name": "db", "type": "kubernetes.io/tls"}));
    assert_eq!(report["sealedTo"][1], json!({"key": "k0000000000000002", "proven": false}));
    assert_eq!(report["conditions"][1]["reason"], "WrapBroken");
    assert!(report["conditions"][1]["remedy"].as_str().is_some_and(|text| text.starts_with("remove the wrap")));
    assert_eq!([&report["name"], &report["ready"]], [&json!("db"), &json!(false)]);
}

#[test]
fn a_sealed_secret_without_judgement_or_with_an_unknown_reason_is_explained_too() {
    let folder = Folder::new();
    serve_list(&folder, "GET ", &[object("db", status(1, &[ready()]))]);
    let outcome = folder.waxseal(&arguments(&["-n", "shop", "db"])).finish();
    let expected = "Ready: Unknown\n  meaning: the controller has not judged this version of the SealedSecret yet\n  \
                    to do: wait some seconds. If this stays, see if the controller runs and serves the namespace\nSealed to:\n";
    assert!(outcome.stdout.contains(expected), "{}", outcome.stdout);
    assert_eq!(outcome.status.code(), Some(4));
    let newer = condition("Ready", "False", "Eclipsed", "the moon is in front");
    serve_list(&folder, "GET ", &[object("db", status(2, &[newer]))]);
    let outcome = folder.waxseal(&arguments(&["-n", "shop", "db"])).finish();
    let expected = "Ready: False for 2h, Eclipsed\n  message: the moon is in front\n  \
                    meaning: this version of waxseal does not know the reason\n  to do: update waxseal\n";
    assert!(outcome.stdout.contains(expected), "{}", outcome.stdout);
}

#[test]
fn texts_of_a_status_cannot_change_the_terminal() {
    let folder = Folder::new();
    let hostile = condition("Ready", "True\u{1b}[2J", HOSTILE_NAME, HOSTILE_NAME);
    let mut object = object("db", status(2, &[hostile]));
    object["spec"]["envelopes"]["e0000000001"]["wraps"] = json!({HOSTILE_NAME: ""});
    object["spec"]["template"] = json!({"type": HOSTILE_NAME});
    serve_list(&folder, "GET ", &[object]);
    let db = ["-n", "shop", "db"];
    for options in [&["-A"][..], &db, &["-A", "--format", "json"], &["-n", "shop", "db", "--format", "json"]] {
        let outcome = folder.waxseal(&arguments(options)).finish();
        let is_hidden = |character: char| character != '\n' && waxseal_shared::visible_text::is_hidden(character);
        assert!(!outcome.stdout.contains(is_hidden), "{}", outcome.stdout);
        assert_eq!(outcome.status.code(), Some(4), "{}", outcome.stderr);
    }
    let text = folder.waxseal(&arguments(&db)).finish().stdout;
    assert!(text.contains(&format!("  message: {HOSTILE_NAME_ESCAPED}\n")), "{text}");
}

#[test]
fn a_name_that_is_not_there_is_an_error() {
    let folder = Folder::new();
    serve_list(&folder, "GET ", &[]);
    folder.waxseal(&arguments(&["db", "-n", "shop"])).fails(
        1,
        "error: context test: no SealedSecret db in shop\n\
         hint: `waxseal status -A` lists the SealedSecrets of all namespaces\n",
    );
}

#[test]
fn an_object_that_was_not_asked_for_is_not_shown() {
    let folder = Folder::new();
    let mut elsewhere = object("db", status(2, &[ready()]));
    elsewhere["metadata"]["namespace"] = json!("evil");
    let foreign = [elsewhere, object("other", status(2, &[ready()]))];
    serve_list(&folder, "GET ", &foreign);
    folder.waxseal(&arguments(&["db", "-n", "shop"])).fails(
        1,
        "error: context test: no SealedSecret db in shop\n\
         hint: `waxseal status -A` lists the SealedSecrets of all namespaces\n",
    );
    let outcome = folder.waxseal(&arguments(&["-n", "shop"])).finish();
    assert!(outcome.stdout.contains("other ") && !outcome.stdout.contains("db"), "{}", outcome.stdout);
    let events = [foreign.as_slice(), &[object("new", status(2, &[ready()]))]].concat();
    let events = events.into_iter().map(|object| event("ADDED", object)).collect();
    serve_watch(&folder, sealed_secrets(&foreign), sealed_secrets(&[]), events);
    let lines = watched(&folder, &["-n", "shop", "--watch"], 3);
    let names: Vec<_> = lines.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(names, ["NAME", "other", "new"]);
}

/// With empty pages, and with the same page again and again.
#[test]
fn a_list_without_end_is_refused() {
    let folder = Folder::new();
    let object = object("db", status(2, &[ready()]));
    for (items, has_new_tokens) in [(vec![], true), (vec![object], false)] {
        let count = AtomicUsize::new(0);
        let page = sealed_secrets(&items);
        point_at(
            &folder,
            serve_with(move |stream| {
                request_line(&stream);
                let token = if has_new_tokens { count.fetch_add(1, Ordering::Relaxed) } else { 0 };
                let mut page = page.clone();
                page["metadata"]["continue"] = json!(format!("more{token}"));
                respond(stream, "200 OK", &page.to_string());
            }),
        );
        folder.waxseal(&arguments(&["-A"])).fails(
            3,
            "error: context test: the answer is not a list of SealedSecrets that this waxseal knows\n\
             hint: update waxseal, or see what `kubectl get sealedsecrets.waxseal.dev -A` says\n",
        );
    }
}

#[test]
fn a_cluster_that_cannot_be_asked_is_an_error() {
    let folder = Folder::new();
    point_at(
        &folder,
        serve_with(|stream| {
            request_line(&stream);
            respond(stream, "403 Forbidden", &failure(403).to_string());
        }),
    );
    let refused = |role, place| {
        format!(
            "error: context test: the API server does not let you list SealedSecrets {place} (403)\n\
             hint: ask for a {role} with the verb list on sealedsecrets.waxseal.dev {place}\n"
        )
    };
    folder.waxseal(&arguments(&["-A"])).fails(5, &refused("ClusterRole", "in all namespaces"));
    folder.waxseal(&arguments(&["-n", "shop"])).fails(5, &refused("Role", "in shop"));
    folder.waxseal(&arguments(&["--watch"])).fails(5, &refused("Role", "in default"));
    point_at(&folder, 1);
    let stderr = "error: context test: connection refused by 127.0.0.1:1\n";
    folder.waxseal(&arguments(&["-A"])).fails(5, stderr);
    let cluster = json!({"server": "http://127.0.0.1:1"});
    let mut strange = kubeconfig(&cluster, &json!({}));
    strange["contexts"][0]["context"]["namespace"] = json!("No Namespace");
    folder.write("kubeconfig", strange.to_string());
    let stderr = "error: context test: its namespace: a namespace must be 1 to 63 lower-case letters, digits and '-', \
                  beginning and ending with a letter or digit\n";
    folder.waxseal(&arguments(&[])).fails(5, stderr);
}

#[test]
fn a_name_in_all_namespaces_is_a_usage_error() {
    let folder = Folder::new();
    for options in [&["-A", "db"][..], &["-A", "-n", "shop"]] {
        let outcome = folder.waxseal(&arguments(options)).finish();
        assert_eq!(outcome.status.code(), Some(2), "{}", outcome.stderr);
    }
}

/// Lists once with `first` and then with `again`. The first watch gets these events, and then its connection closes; a
/// later watch is silent until the client is gone.
fn serve_watch(folder: &Folder, first: Value, again: Value, events: Vec<Value>) {
    let (lists, watches) = (AtomicUsize::new(0), AtomicUsize::new(0));
    point_at(
        folder,
        serve_with(move |mut stream| {
            let line = request_line(&stream);
            if !line.contains("watch=true") {
                let list = if lists.fetch_add(1, Ordering::Relaxed) == 0 { &first } else { &again };
                return respond(stream, "200 OK", &list.to_string());
            }
            let count = watches.fetch_add(1, Ordering::Relaxed);
            if count == 0 {
                assert!(line.contains("resourceVersion=7"), "{line}");
            }
            let events = if count == 0 { events.as_slice() } else { &[] };
            let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
            let _gone = stream.write_all(format!("{}{lines}", head("200 OK", "x-a: b")).as_bytes());
            if count > 0 {
                thread::spawn(move || stream.read(&mut [0]));
            }
        }),
    );
}

fn event(type_: &str, object: Value) -> Value {
    json!({"type": type_, "object": object})
}

/// Returns the first lines that `--watch` prints, closes its stdout, and checks that the command then ends with 0.
fn watched(folder: &Folder, options: &[&str], count: usize) -> Vec<String> {
    let mut command = Command::new(program());
    folder.isolated(&mut command).args(arguments(options)).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("waxseal starts");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let shown: Vec<_> = lines.by_ref().take(count).map(|line| line.expect("text")).collect();
    drop(lines);
    let ended = waiting::until_blocking("the end", DEADLINE, || child.try_wait().expect("a child"));
    let status = ended.unwrap_or_else(|error| {
        let _dead = child.kill().and_then(|()| child.wait());
        panic!("{error} after {shown:?}")
    });
    let mut stderr = String::new();
    child.stderr.take().expect("it is piped").read_to_string(&mut stderr).expect("text");
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{shown:?}");
    shown
}

#[test]
fn watch_prints_a_line_for_each_change_until_its_reader_is_gone() {
    let folder = Folder::new();
    let [good, behind, moved, fresh, ..] = fleet();
    let mut touched = good.clone();
    touched["metadata"]["resourceVersion"] = json!("8");
    let healed = object("moved", status(2, &[ready()]));
    let events = vec![
        event("MODIFIED", touched),
        event("ADDED", fresh),
        event("BOOKMARK", json!({"kind": "SealedSecret", "apiVersion": "a", "metadata": {"resourceVersion": "9"}})),
        event("MODIFIED", healed.clone()),
        event("DELETED", behind.clone()),
        event("ERROR", json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired"})),
    ];
    // Between the end of the watch and the second list, `fresh` is deleted.
    let again = sealed_secrets(&[good.clone(), healed]);
    serve_watch(&folder, sealed_secrets(&[good, behind, moved]), again, events);
    let table = [
        "NAME    READY  REASON        KEY      AGE",
        "behind  True   Materialised  Behind   3h",
        "good    True   Materialised  Current  3h",
        "moved   False  Moved         -        3h",
        "fresh   Unknown  -             -        3h",
        "moved   True   Materialised  Current  3h",
        "behind  -      (deleted)     -        3h",
        "fresh   -      (deleted)     -        3h",
    ];
    assert_eq!(watched(&folder, &["-n", "shop", "--watch"], table.len()), table);
}

#[test]
fn watch_in_json_prints_an_object_on_each_line() {
    let folder = Folder::new();
    let [good, behind, ..] = fleet();
    serve_watch(
        &folder,
        sealed_secrets(&[good]),
        sealed_secrets(&[]),
        vec![event("ADDED", behind.clone()), event("DELETED", behind)],
    );
    let lines = watched(&folder, &["-A", "--watch", "--format", "json"], 3);
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let shown: Vec<_> = lines.iter().map(|line| (line["name"].as_str(), line["deleted"].as_bool())).collect();
    assert_eq!(shown, [(Some("good"), Some(false)), (Some("behind"), Some(false)), (Some("behind"), Some(true))]);
}

#[test]
fn a_watch_that_is_refused_is_an_error() {
    let folder = Folder::new();
    let list = sealed_secrets(&[]);
    point_at(
        &folder,
        serve_with(move |stream| match request_line(&stream).contains("watch=true") {
            true => respond(stream, "403 Forbidden", &failure(403).to_string()),
            false => respond(stream, "200 OK", &list.to_string()),
        }),
    );
    let outcome = folder.waxseal(&arguments(&["--watch"])).finish();
    let stderr = "error: context test: the API server does not let you watch SealedSecrets in default (403)\n\
                  hint: ask for a Role with the verb watch on sealedsecrets.waxseal.dev in default\n";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(5)));
}

#[test]
fn a_server_whose_versions_always_expire_is_asked_once_a_second() {
    let folder = Folder::new();
    let lists: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let seen = Arc::clone(&lists);
    point_at(
        &folder,
        serve_with(move |stream| match request_line(&stream).contains("watch=true") {
            true => respond(stream, "410 Gone", &failure(410).to_string()),
            false => {
                let mut seen = seen.lock().expect("no panic");
                seen.push(Instant::now());
                let name = format!("object-{}", seen.len());
                respond(stream, "200 OK", &sealed_secrets(&[object(&name, status(2, &[ready()]))]).to_string());
            }
        }),
    );
    // The head, the object of the first list, and two lines for each later list: a deletion and an addition.
    watched(&folder, &["-n", "shop", "--watch"], 6);
    let lists = lists.lock().expect("no panic");
    let pauses: Vec<_> = lists.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= 2 && pauses.iter().all(|pause| *pause >= Duration::from_millis(900)), "{pauses:?}");
}
