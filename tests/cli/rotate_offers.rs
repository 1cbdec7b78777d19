//! `waxseal rotate` with the wraps that a controller offers: from a cluster, and from files. Forged offers do no harm.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use waxseal_tests::tampering::with_other_start;

use crate::api_server::{failure, point_at, request_line, respond, sealed_secrets, serve_with};
use crate::folder::{Folder, Run, SECRET, envelope};
use crate::rotate::{self, NOTHING, ONE, OTHER, says, wrap};

const SAID: &str = "the wraps are those that the cluster of context test offers\n";

/// A folder with `db.yaml` sealed to `old`, and `keys.yaml`, in which the newer key `new` is the primary.
fn behind() -> Folder {
    let folder = Folder::new();
    for name in ["old", "new", "stranger"] {
        folder.generate(name, &[]);
    }
    let keys = [folder.made_at("old", "2026-01-01T00:00:00Z"), folder.made_at("new", "2026-02-01T00:00:00Z")];
    folder.write("keys.yaml", keys.join("---\n"));
    folder.write("db.yaml", SECRET);
    let sealed = folder.waxseal(&["seal", "db.yaml", "--keys", "old.yaml"]).succeeds();
    folder.write("db.yaml", sealed);
    folder
}

/// Returns the id of the envelope, its commitment, and its wrap for the key `new`, which `waxseal rotate` makes with
/// the identity `old`.
fn good_offer(folder: &Folder) -> (String, String, String) {
    let before = folder.read("db.yaml");
    folder
        .waxseal(&["rotate", "db.yaml", "--keys", "keys.yaml", "--identity", "old.key"])
        .writes(&["db.yaml"])
        .warns("changed 1 of 1 SealedSecret in 1 file\n");
    let after = folder.read("db.yaml");
    folder.write("db.yaml", &before);
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: ")).map(str::to_owned));
        line.expect("a field").trim_matches('"').to_owned()
    };
    (envelope(&before), field(&before, "commitment"), field(&after, &folder.key_id("new")))
}

fn object(name: &str, rewrapped: &Value) -> Value {
    json!({
        "apiVersion": "waxseal.dev/v1alpha1",
        "kind": "SealedSecret",
        "metadata": {"name": name, "namespace": "shop", "uid": "u", "resourceVersion": "5", "generation": 1},
        "spec": {"encryptedData": {"A": "not looked at"}},
        "status": {"rewrapped": rewrapped},
    })
}

fn page(items: &[Value], next: Option<&str>) -> Value {
    let mut page = sealed_secrets(items);
    page["metadata"]["continue"] = json!(next);
    page
}

/// Answers the requests one after the other, each with one page. A request line must contain the first text of its
/// page; otherwise the answer is 500.
fn serve_pages(folder: &Folder, pages: Vec<(&'static str, &'static str, String)>) {
    let served = AtomicUsize::new(0);
    let port = serve_with(move |stream| {
        let line = request_line(&stream);
        let Some((wanted, status, body)) = pages.get(served.fetch_add(1, Ordering::Relaxed)) else { return };
        let is_wanted = line.starts_with("GET /apis/waxseal.dev/v1alpha1/sealedsecrets?") && line.contains(wanted);
        let (status, body) = if is_wanted { (*status, body.as_str()) } else { ("500 Unexpected", "{}") };
        respond(stream, status, body);
    });
    point_at(folder, port);
}

fn serve_one(folder: &Folder, status: &'static str, body: &Value) {
    serve_pages(folder, vec![("limit=", status, body.to_string())]);
}

fn rotate<'a>(folder: &'a Folder, options: &[&str]) -> Run<'a> {
    folder.waxseal(&[&["rotate", "db.yaml", "--keys", "keys.yaml"], options].concat())
}

fn from_cluster(folder: &Folder) -> Run<'_> {
    rotate(folder, &["--kubeconfig", "kubeconfig"])
}

fn behind_line(folder: &Folder, envelope: &str) -> String {
    format!("db.yaml:1: shop/db: Behind: envelope {envelope}: no wrap for {}\n", folder.key_id("new"))
}

#[test]
fn the_offers_of_all_pages_are_read_and_only_wraps_change() {
    let folder = behind();
    let (envelope, commitment, wrap) = good_offer(&folder);
    let before = folder.read("db.yaml");
    let offer = json!({envelope: {"commitment": commitment, "wraps": {folder.key_id("new"): wrap}}});
    // A page that is too large is asked for again, with fewer objects.
    let too_large = " ".repeat(8 * 1024 * 1024 + 1);
    let without_status = json!({"metadata": {"name": "new", "namespace": "shop"}, "spec": {}});
    let pages = vec![
        ("limit=100", "200 OK", too_large),
        ("limit=12", "200 OK", page(&[object("a", &json!({})), without_status], Some("more")).to_string()),
        ("continue=more", "200 OK", page(&[object("renamed", &offer)], None).to_string()),
    ];
    serve_pages(&folder, pages);
    let changed = format!("{SAID}changed 1 of 1 SealedSecret in 1 file\n");
    from_cluster(&folder).writes(&["db.yaml"]).warns(&changed);
    let after = folder.read("db.yaml");
    assert_eq!(after.lines().filter(|line| !before.contains(line)).count(), 1, "{after}");
    assert!(after.contains(&wrap));
    folder.waxseal(&["open", "db.yaml", "--identity", "new.key"]).succeeds();
}

#[test]
fn forged_offers_change_nothing_or_do_no_harm() {
    let folder = behind();
    let (envelope, commitment, wrap) = good_offer(&folder);
    let (new, stranger) = (folder.key_id("new"), folder.key_id("stranger"));
    let other_commitment = with_other_start(&commitment);
    let nothing = format!("{SAID}changed 0 of 1 SealedSecret in 0 files\n1 of 1 SealedSecret is not up to date\n");
    for forged in [
        json!("garbage"),
        json!({envelope.clone(): "garbage"}),
        json!({envelope.clone(): {"commitment": commitment, "wraps": {new.clone(): "garbage"}}}),
        json!({envelope.clone(): {"commitment": commitment, "wraps": {new.clone(): format!("{wrap}\n")}}}),
        json!({envelope.clone(): {"commitment": commitment, "wraps": {stranger: wrap}}}),
        json!({envelope.clone(): {"commitment": other_commitment, "wraps": {new.clone(): wrap}}}),
        json!({"e0123456789": {"commitment": commitment, "wraps": {new.clone(): wrap}}}),
    ] {
        serve_one(&folder, "200 OK", &page(&[object("db", &forged)], None));
        let outcome = from_cluster(&folder).finish();
        assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (nothing.as_str(), Some(0)), "{forged}");
        assert_eq!(outcome.stdout, behind_line(&folder, &envelope));
    }

    // A wrap of another envelope has the right form, so `rotate` takes it: without an identity it cannot see the
    // difference. The file still opens with the old key, and `open` then warns of the broken wrap.
    folder.write("other.yaml", SECRET.replace("name: db", "name: other"));
    let sealed = folder.waxseal(&["seal", "other.yaml", "--keys", "new.yaml"]).succeeds();
    let of_other = sealed.lines().find_map(|line| line.trim().strip_prefix(&format!("{new}: ")));
    let of_other = of_other.expect("a wrap").trim_matches('"');
    let forged = json!({envelope.clone(): {"commitment": commitment, "wraps": {new.clone(): of_other}}});
    // Offers of an object with the name in the file come first, wherever they are in the list.
    let good = json!({envelope.clone(): {"commitment": commitment, "wraps": {new.clone(): wrap}}});
    let before = folder.read("db.yaml");
    let mut objects = vec![object("a", &forged); 20];
    objects.push(object("db", &good));
    serve_one(&folder, "200 OK", &page(&objects, None));
    let changed = format!("{SAID}changed 1 of 1 SealedSecret in 1 file\n");
    from_cluster(&folder).writes(&["db.yaml"]).warns(&changed);
    folder.waxseal(&["open", "db.yaml", "--identity", "new.key"]).succeeds();

    folder.write("db.yaml", before);
    serve_one(&folder, "200 OK", &page(&[object("db", &forged)], None));
    from_cluster(&folder).writes(&["db.yaml"]).warns(&changed);
    let opened = folder.waxseal(&["open", "db.yaml", "--identity", "old.key"]).finish();
    assert_eq!(opened.status.code(), Some(0));
    let broken = format!("envelope {envelope}: the wrap for {new} is broken");
    assert!(opened.stderr.contains(&broken), "{}", opened.stderr);
}

#[test]
fn an_error_of_the_cluster_is_named_and_the_file_stays() {
    let folder = behind();
    let secrets = json!({"apiVersion": "v1", "kind": "SecretList", "metadata": {}, "items": []});
    let update = "hint: update waxseal, or see what `kubectl get sealedsecrets.waxseal.dev -A` says\n";
    let not_known = "the answer is not a list of SealedSecrets that this waxseal knows\n";
    for (http, body, code, error) in [
        (
            "403 Forbidden",
            failure(403),
            5,
            "the API server does not let you list SealedSecrets in all namespaces (403)\nhint: ask for a ClusterRole with the verb list on sealedsecrets.waxseal.dev in all namespaces\n".to_owned(),
        ),
        (
            "404 Not Found",
            failure(404),
            5,
            "the cluster does not know SealedSecrets\nhint: waxseal-controller and its custom resource definitions are \
             not installed there\n"
                .to_owned(),
        ),
        ("410 Gone", failure(410), 5, "the API server answers with an error (410)\n".to_owned()),
        ("200 OK", secrets, 3, format!("{not_known}{update}")),
        ("200 OK", json!({"items": [1]}), 3, format!("{not_known}{update}")),
    ] {
        serve_one(&folder, http, &body);
        from_cluster(&folder).fails(code, &format!("{SAID}error: context test: {error}"));
    }
    folder.write("kubeconfig", "{}");
    from_cluster(&folder).fails(5, "error: no current context; the kubeconfig has no contexts\n");
}

#[test]
fn one_object_that_is_too_large_is_an_error() {
    let folder = behind();
    let too_large = " ".repeat(8 * 1024 * 1024 + 1);
    let pages = ["limit=100", "limit=12", "limit=1 "].map(|limit| (limit, "200 OK", too_large.clone()));
    serve_pages(&folder, pages.to_vec());
    let outcome = from_cluster(&folder).finish();
    assert_eq!(outcome.status.code(), Some(5));
    let end = "is larger than 8 MiB, which is the limit\n";
    assert!(outcome.stderr.ends_with(end), "{}", outcome.stderr);
}

#[test]
fn a_context_is_refused_if_the_wraps_come_from_elsewhere() {
    let folder = behind();
    for source in [&["--check"][..], &["--offers", "-"], &["--identity", "old.key"]] {
        let outcome = rotate(&folder, &[source, &["--context", "test"]].concat()).finish();
        assert_eq!(outcome.status.code(), Some(2));
        let expected = format!("error: the argument '{}", source[0]);
        assert!(outcome.stderr.starts_with(&expected), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("cannot be used with"), "{}", outcome.stderr);
    }
}

#[test]
fn a_status_file_of_a_controller_without_kubernetes_has_offers() {
    let folder = behind();
    let (envelope, commitment, wrap) = good_offer(&folder);
    let rewrapped = json!({envelope: {"commitment": commitment, "wraps": {folder.key_id("new"): wrap}}});
    let entry = json!({"file": "db.yaml", "namespace": "shop", "name": "db", "status": {"rewrapped": rewrapped}});
    let without = json!({"namespace": "shop", "name": "web", "status": {}});
    let shapes = [json!("x"), json!(["x"]), json!(null), json!({"rewrapped": "x"})];
    let others = shapes.map(|status| json!({"namespace": "shop", "name": "api", "status": status}));
    let entries: Vec<_> = others.into_iter().chain([without, entry]).collect();
    let report = json!({"sealedSecrets": entries, "unreadable": []});
    folder.write("status.json", report.to_string());
    rotate(&folder, &["--offers", "status.json"]).writes(&["db.yaml"]).warns("changed 1 of 1 SealedSecret in 1 file\n");
    assert!(folder.read("db.yaml").contains(&wrap));
}

/// A SealedSecret with a status that offers wraps for these envelopes, each with id, commitment and lines of wraps.
fn offers(sealed: &str, offers: &[(&str, &str, &str)]) -> String {
    let mut text = format!("{sealed}status:\n  observedGeneration: 1\n  rewrapped:\n");
    for (id, commitment, wraps) in offers {
        text.push_str(&format!("    {id}:\n      commitment: {commitment}\n      wraps:\n{wraps}"));
    }
    text
}

#[test]
fn offers_are_taken_for_the_same_envelope_and_the_keys_of_the_keys_files() {
    let folder = rotate::behind();
    folder.generate("foreign", &[]);
    let before = folder.read("db.yaml");
    let [old, new, foreign] = ["old", "new", "foreign"].map(|name| folder.key_id(name));
    let id = envelope(&before);
    let commitment = before.lines().find_map(|line| line.trim().strip_prefix("commitment: ")).expect("it has one");
    says(rotate::rotate(&folder, "db.yaml", &[]).writes(&["db.yaml"]), "", ONE);
    let rewrapped = folder.read("db.yaml");
    let good = wrap(&rewrapped, &new);
    let renamed = before.replace("name: db", "name: web").replace("namespace: shop", "namespace: other");
    let another = with_other_start(commitment);
    let take = |offers: &str| {
        folder.write("db.yaml", &before);
        folder.waxseal(&["rotate", "db.yaml", "--keys", "keys.yaml", "--offers", "-"]).stdin(offers)
    };
    // The name of an object can change on its way to the cluster.
    for object in [&before, &renamed] {
        says(take(&offers(object, &[(&id, commitment, good)])).writes(&["db.yaml"]), "", ONE);
        assert_eq!(folder.read("db.yaml"), rewrapped);
    }
    let behind = format!("db.yaml:1: shop/db: Behind: envelope {id}: no wrap for {new}\n");
    let stderr = format!("{NOTHING}1 of 1 SealedSecret is not up to date\n");
    let garbage = format!("        {new}: hunter2\n");
    let renamed_wrap = good.replace(&new, &foreign);
    for offers in [
        before.clone(),
        offers(&before, &[]).replace("  rewrapped:\n", ""),
        offers(&before, &[(&id, &another, good)]),
        offers(&before, &[("e0123456789", commitment, good)]),
        offers(&before, &[(&id, commitment, &renamed_wrap)]),
        offers(&before, &[(&id, commitment, &garbage)]),
        offers(&before, &[(&id, commitment, &garbage.replace("hunter2", "[hunter2]"))]),
        format!("{before}status: hunter2\n"),
    ] {
        says(take(&offers), &behind, &stderr);
    }
    // A wrap that is there already stays, whatever an offer says.
    let other_wrap = good.replace(&new, &old);
    says(take(&offers(&before, &[(&id, commitment, &other_wrap)])), &behind, &stderr);
    for text in ["", OTHER] {
        take(text).fails(3, "error: <stdin>: no SealedSecret in it\n");
    }
}
