//! `waxseal doctor`.

use std::io::Write;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::version::Info;
use serde_json::{Value, json};
use waxseal_shared::advice::{Advice, for_ready};
use waxseal_shared::crds;
use waxseal_shared::reason::Reason;

use crate::api_server::{failure, head, list, point_at, request, respond, sealed_secrets, serve_with};
use crate::folder::{Folder, Outcome};

/// A folder with the keys of the cluster.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.generate("one", &[]);
    folder.generate("recovery", &["--recovery"]);
    folder
}

/// The answers of an API server.
struct Cluster {
    /// `None`: the answers have no time.
    clock: Option<Timestamp>,
    resources: Vec<&'static str>,
    definitions: [Value; 2],
    /// `None`: the user may not list them.
    keys: Option<Value>,
    /// `None`: the user may not get the Deployment.
    available_pods: Option<i32>,
    /// The namespace of the Deployment.
    deployed_in: &'static str,
    /// The SealedSecrets; `None`: the user may not list them.
    objects: Option<Vec<Value>>,
    /// Whether the user has a right; `None`: the API server does not tell.
    has_right: Option<fn(&Value) -> bool>,
}

impl Cluster {
    /// A cluster without problems: a key with a backup, a recovery key, and a SealedSecret that is Ready.
    fn good(folder: &Folder) -> Self {
        let mut keys = list(folder, &["one", "recovery"]);
        let identity = json!({"name": "one", "uid": "u"});
        keys["items"][0]["status"] =
            json!({"state": "Active", "lastBackupTime": "2026-01-01T00:00:00Z", "identitySecret": identity});
        keys["items"][1]["status"] = json!({"state": "Active"});
        Self {
            clock: Some(Timestamp::now()),
            resources: vec!["sealedsecrets", "sealedsecrets/status", "sealingkeys", "sealingkeys/status"],
            definitions: crds::all().map(|definition| serde_json::to_value(definition).expect("JSON")),
            keys: Some(keys),
            available_pods: Some(1),
            deployed_in: "waxseal-system",
            objects: Some(vec![object("db", 1)]),
            has_right: Some(|_| true),
        }
    }

    fn answer(&self, line: &str, body: &str) -> (&'static str, Value) {
        let path = line.split([' ', '?']).nth(1).unwrap_or_default();
        let found = match path {
            "/version" => Some(serde_json::to_value(Info::default()).expect("JSON")),
            path if path.ends_with("/deployments/waxseal-controller") => {
                if path.split('/').nth(5) != Some(self.deployed_in) {
                    return ("404 Not Found", failure(404));
                }
                self.available_pods.map(|pods| json!({"metadata": {}, "status": {"availableReplicas": pods}}))
            }
            "/apis/waxseal.dev/v1alpha1" => Some(self.resource_list()),
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => self.has_right.map(|has_right| {
                let review: Value = serde_json::from_str(body).expect("JSON");
                let allowed = has_right(&review["spec"]["resourceAttributes"]);
                json!({"metadata": {}, "spec": {}, "status": {"allowed": allowed}})
            }),
            "/apis/waxseal.dev/v1alpha1/namespaces/waxseal-system/sealingkeys" => self.keys.clone(),
            "/apis/waxseal.dev/v1alpha1/sealedsecrets" => self.objects.as_deref().map(sealed_secrets),
            "/apis/waxseal.dev/v1alpha1/namespaces/shop/sealedsecrets" => self.objects.as_ref().map(|objects| {
                let in_shop = objects.iter().filter(|object| object["metadata"]["namespace"] == "shop");
                sealed_secrets(&in_shop.cloned().collect::<Vec<_>>())
            }),
            path => self
                .definitions
                .iter()
                .find(|found| {
                    found["metadata"]["name"].as_str().is_some_and(|name| path.ends_with(&format!("/{name}")))
                })
                .cloned(),
        };
        match found {
            Some(found) => ("200 OK", found),
            None => ("403 Forbidden", failure(403)),
        }
    }

    fn resource_list(&self) -> Value {
        let resource =
            |name: &&str| json!({"name": name, "singularName": "", "namespaced": true, "kind": "K", "verbs": ["get"]});
        let resources: Vec<_> = self.resources.iter().map(resource).collect();
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "waxseal.dev/v1alpha1", "resources": resources})
    }

    /// Runs `waxseal doctor` with these options.
    fn examined(self, folder: &Folder, options: &[&str]) -> Outcome {
        let date = self.clock.map(|clock| {
            let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
            format!("\r\ndate: {}", printer.timestamp_to_rfc9110_string(&clock).expect("a time"))
        });
        let date = date.unwrap_or_default();
        point_at(
            folder,
            serve_with(move |mut stream| {
                let (line, body) = request(&stream);
                let (status, body) = self.answer(&line, &body);
                let body = body.to_string();
                let head = head(status, &format!("content-length: {}{date}", body.len()));
                let _gone = stream.write_all(format!("{head}{body}").as_bytes());
            }),
        );
        folder.waxseal(&[&["doctor", "--kubeconfig", "kubeconfig"], options].concat()).finish()
    }

    /// Checks that `waxseal doctor` finds exactly this problem.
    #[track_caller]
    fn has_problem(self, folder: &Folder, problem: &str) {
        let outcome = self.examined(folder, &[]);
        let problems: Vec<_> = outcome.stdout.lines().filter(|line| line.starts_with("PROBLEM: ")).collect();
        assert_eq!(problems, [format!("PROBLEM: {problem}")], "{}", outcome.stdout);
        let said = "error: context test: 1 problem\n";
        assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (said, Some(4)));
    }

    fn key(&mut self, at: usize) -> &mut Value {
        &mut self.keys.as_mut().expect("keys")["items"][at]
    }
}

/// A SealedSecret of generation 1. Its status is about the generation `observed`.
fn object(name: &str, observed: i64) -> Value {
    let ready = json!({"type": "Ready", "status": "True", "reason": "Materialised", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    json!({
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "status": {"observedGeneration": observed, "conditions": [ready]},
    })
}

#[test]
fn a_good_cluster_has_no_problem() {
    let folder = folder();
    let outcome = Cluster::good(&folder).examined(&folder, &[]);
    let expected = format!(
        "\
ok: the API server answers
ok: the clocks of this machine and of the API server agree
ok: the cluster serves sealedsecrets of waxseal.dev/v1alpha1 with their status
ok: the definition sealedsecrets.waxseal.dev is the one of this waxseal
ok: the cluster serves sealingkeys of waxseal.dev/v1alpha1 with their status
ok: the definition sealingkeys.waxseal.dev is the one of this waxseal
ok: the Deployment waxseal-controller in waxseal-system has an available Pod
info: your rights are enough for `waxseal status -A`, `waxseal rotate`, `waxseal keys fetch`, `waxseal keys rotate`, \
`waxseal keys delete`, `waxseal keys backup`, `waxseal keys restore`
ok: the primary is {}, made 0s ago
ok: the controller confirms the state of every key
ok: every key is in a backup in its present state
ok: there is an Active recovery key
ok: the controller has judged every SealedSecret: 1
",
        folder.key_id("one")
    );
    let (before, rest) = outcome.stdout.split_once(", made ").expect("the age of the primary");
    let (seconds, after) = rest.split_once("s ago").expect("an age in seconds");
    assert!(seconds.parse::<u32>().is_ok(), "{}", outcome.stdout);
    assert_eq!(format!("{before}, made 0s ago{after}"), expected);
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), ("", Some(0)));
}

#[test]
fn each_fault_is_a_problem_with_what_to_do() {
    let folder = folder();
    let good = || Cluster::good(&folder);
    let mut cluster = good();
    cluster.clock = Some(Timestamp::now() + SignedDuration::from_secs(230));
    cluster.has_problem(&folder, "the clock of this machine is 3 minutes behind that of the API server: set the clocks of both with NTP: keys are ordered by the time at which they were made");

    let mut cluster = good();
    cluster.resources.remove(1);
    cluster.has_problem(&folder, "the cluster does not serve sealedsecrets/status of waxseal.dev/v1alpha1: install the custom resource definitions of Waxseal");

    let mut cluster = good();
    cluster.definitions[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["scope"] =
        json!({"type": "string"});
    cluster.has_problem(&folder, "the definition sealedsecrets.waxseal.dev differs from the one of this waxseal: install definitions, controller and waxseal of the same version");

    let mut cluster = good();
    cluster.available_pods = Some(0);
    cluster.has_problem(&folder, "the Deployment waxseal-controller in waxseal-system has no available Pod: see what `kubectl describe` says about the Deployment and its Pods, and read the controller's log");

    let mut cluster = good();
    let id = folder.key_id("one");
    cluster.key(0)["status"].as_object_mut().expect("a status").remove("lastBackupTime");
    cluster
        .has_problem(&folder, &format!("no backup has {id} in its present state, Active: make a backup with `waxseal keys backup`, as its `--help` shows"));

    for time in ["garbage", "9999-12-01T00:00:00Z", "1960-01-01T00:00:00Z"] {
        let mut cluster = good();
        cluster.key(0)["status"]["lastBackupTime"] = json!(time);
        cluster
            .has_problem(&folder, &format!("no backup has {id} in its present state, Active: make a backup with `waxseal keys backup`, as its `--help` shows"));
    }

    for field in ["state", "trust"] {
        let mut cluster = good();
        let mut unknown = list(&folder, &["one"])["items"][0].clone();
        unknown["metadata"]["name"] = json!("unknown");
        unknown["spec"][field] = json!("Frozen");
        cluster.keys.as_mut().expect("keys")["items"].as_array_mut().expect("items").push(unknown);
        cluster.has_problem(&folder, "the SealingKey unknown has a form that this waxseal does not know: use definitions, controller and waxseal of the same version");
    }

    let mut cluster = good();
    cluster.key(0)["spec"]["state"] = json!("Retired");
    cluster.key(0)["status"]["state"] = json!("Retired");
    cluster.has_problem(&folder, "no key of the cluster is Active: nothing can be sealed: the controller makes a key by itself, unless key generation is off (then add an identity): see if it runs, and read in its log why it has not done so");

    let mut cluster = good();
    let id = folder.key_id("one");
    cluster.key(0)["spec"]["state"] = json!("Retired");
    cluster.has_problem(&folder, &format!("{id} is to be Retired, and the controller confirms only Active: see if the controller runs, and read its log"));

    let mut cluster = good();
    cluster.key(0)["status"]["state"] = json!("Retired");
    cluster.has_problem(&folder, &format!("{id} is to be Active, and the controller confirms only Retired: see if the controller runs, and read its log"));

    let mut cluster = good();
    cluster.key(1)["spec"]["state"] = json!("Retired");
    cluster.key(1)["status"]["state"] = json!("Retired");
    cluster.has_problem(&folder, "there is no Active recovery key: without the cluster and its backups, nothing opens what is sealed now: name a new recovery key in the controller's configuration with `--recovery-recipient`");

    let mut cluster = good();
    folder.generate("planted", &[]);
    let planted = list(&folder, &["planted"])["items"][0].clone();
    cluster.keys.as_mut().expect("keys")["items"].as_array_mut().expect("items").push(planted);
    let id = folder.key_id("planted");
    cluster.has_problem(&folder, &format!("the controller does not confirm that the SealingKey {id} (Cluster, Active) is its own: seal nothing to it: somebody may have planted it. A controller that runs confirms or deletes it within seconds: see if it runs"));

    let mut cluster = good();
    cluster.objects = Some(vec![object("db", 1), object("new", -1)]);
    cluster.has_problem(&folder, "the controller has not judged 1 of 2 SealedSecrets, such as shop/new: see if the controller runs, and read its log. If it serves only some namespaces, name them with `--namespaces`");

    let mut cluster = good();
    let mut awaiting = object("db", 1);
    awaiting["status"]["conditions"][0]["status"] = json!("False");
    awaiting["status"]["conditions"][0]["reason"] = json!("AwaitingKeys");
    cluster.objects = Some(vec![awaiting, object("other", 1)]);
    let Advice { meaning, remedy } = for_ready(Reason::AwaitingKeys);
    cluster.has_problem(&folder, &format!("1 of 2 SealedSecrets: AwaitingKeys: {meaning}: {remedy}"));

    let mut cluster = good();
    cluster.keys = Some(list(&folder, &[]));
    cluster.has_problem(&folder, "there is no SealingKey in the namespace waxseal-system: see if the controller runs, or name the namespace of the SealingKeys with `--namespace`. If `waxseal status -A` shows AwaitingKeys, put the lost keys back");
}

#[test]
fn only_the_named_namespaces_count() {
    let folder = folder();
    let examined = |namespaces| {
        let mut cluster = Cluster::good(&folder);
        let mut elsewhere = object("new", -1);
        elsewhere["metadata"]["namespace"] = json!("elsewhere");
        cluster.objects = Some(vec![object("db", 1), elsewhere]);
        cluster.examined(&folder, &["--namespaces", namespaces])
    };
    let outcome = examined("shop,shop");
    assert!(outcome.stdout.ends_with("ok: the controller has judged every SealedSecret: 1\n"), "{}", outcome.stdout);
    assert_eq!(outcome.status.code(), Some(0));
    let outcome = examined("shop,forbidden");
    let unchecked = "not checked: the controller's work: you may not list SealedSecrets in forbidden\n";
    assert!(outcome.stdout.ends_with(unchecked), "{}", outcome.stdout);
    let said = "error: context test: 1 check could not be made\n";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (said, Some(4)));
}

#[test]
fn an_old_primary_is_a_problem_if_the_renewal_period_is_known() {
    let folder = folder();
    for (options, code) in [(&[][..], 0), (&["--renew-after", "0"], 0), (&["--renew-after", "30d"], 4)] {
        let mut cluster = Cluster::good(&folder);
        let old = Timestamp::now() - SignedDuration::from_hours(31 * 24);
        cluster.key(0)["spec"]["createdAt"] = json!(old.to_string());
        let outcome = cluster.examined(&folder, options);
        assert!(outcome.stdout.contains(", made 31d ago"), "{}", outcome.stdout);
        assert_eq!(outcome.status.code(), Some(code), "{}", outcome.stdout);
    }
}

#[test]
fn without_a_deployment_nobody_knows_whether_the_controller_runs() {
    let folder = folder();
    let elsewhere = || Cluster { deployed_in: "operators", ..Cluster::good(&folder) };
    let outcome = elsewhere().examined(&folder, &[]);
    let unchecked = "not checked: whether the controller runs: there is no Deployment waxseal-controller in \
                     waxseal-system; if it is in another namespace, name that with `--controller-namespace`\n";
    assert!(outcome.stdout.contains(unchecked), "{}", outcome.stdout);
    let said = "error: context test: 1 check could not be made\n";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (said, Some(4)));
    let outcome = elsewhere().examined(&folder, &["--controller-namespace", "operators"]);
    let checked = "ok: the Deployment waxseal-controller in operators has an available Pod\n";
    assert!(outcome.stdout.contains(checked), "{}", outcome.stdout);
    assert_eq!(outcome.status.code(), Some(0));
}

#[test]
fn what_the_user_may_not_see_is_not_checked() {
    let folder = folder();
    let mut cluster = Cluster::good(&folder);
    cluster.definitions = [json!({}), json!({})];
    (cluster.keys, cluster.available_pods, cluster.objects) = (None, None, None);
    cluster.has_right = Some(|_| false);
    let outcome = cluster.examined(&folder, &[]);
    let unchecked = outcome.stdout.lines().filter(|line| line.starts_with("not checked: ")).count();
    let info = outcome.stdout.lines().filter(|line| line.starts_with("info: your rights are too few for ")).count();
    assert_eq!((unchecked, info, outcome.status.code()), (5, 7, Some(4)), "{}", outcome.stdout);
    assert_eq!(outcome.stderr, "error: context test: 5 checks could not be made\n");
}

#[test]
fn an_unknown_clock_is_not_checked_and_unknown_rights_do_not_fail_the_command() {
    let folder = folder();
    let outcome = Cluster { clock: None, ..Cluster::good(&folder) }.examined(&folder, &[]);
    let unchecked = "\nnot checked: the clock: the answers of the API server have no time\n";
    assert!(outcome.stdout.contains(unchecked), "{}", outcome.stdout);
    let said = "error: context test: 1 check could not be made\n";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (said, Some(4)));

    let outcome = Cluster { has_right: None, ..Cluster::good(&folder) }.examined(&folder, &[]);
    assert!(outcome.stdout.contains("\ninfo: the API server does not tell your rights\n"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("not checked: "), "{}", outcome.stdout);
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), ("", Some(0)));
}

#[test]
fn a_command_needs_all_of_its_rights() {
    let folder = folder();
    let keys = "you may not list sealingkeys in waxseal-system";
    assert_eq!(
        too_few_rights(&folder, |right| right["resource"] != "sealingkeys"),
        ["keys fetch", "keys rotate", "keys delete", "keys backup", "keys restore"]
            .map(|command| format!("`waxseal {command}`: {keys}"))
    );
    let objects = "you may not list sealedsecrets in all namespaces";
    assert_eq!(
        too_few_rights(&folder, |right| right["resource"] != "sealedsecrets" || right["namespace"].is_string()),
        ["status -A", "rotate", "keys delete"].map(|command| format!("`waxseal {command}`: {objects}"))
    );
    assert_eq!(
        too_few_rights(&folder, |right| right["verb"] == "list"),
        [
            ("keys rotate", "patch sealingkeys"),
            ("keys delete", "delete secrets"),
            ("keys backup", "get secrets"),
            ("keys restore", "get secrets")
        ]
        .map(|(command, right)| format!("`waxseal {command}`: you may not {right} in waxseal-system"))
    );
}

/// The commands for which the rights of a user are too few, each with the reason.
fn too_few_rights(folder: &Folder, has_right: fn(&Value) -> bool) -> Vec<String> {
    let outcome = Cluster { has_right: Some(has_right), ..Cluster::good(folder) }.examined(folder, &[]);
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), ("", Some(0)), "{}", outcome.stdout);
    let too_few = outcome.stdout.lines().filter_map(|line| line.strip_prefix("info: your rights are too few for "));
    too_few.map(str::to_owned).collect()
}

#[test]
fn json_has_verdict_text_and_remedy() {
    let folder = folder();
    let mut cluster = Cluster::good(&folder);
    cluster.objects = Some(Vec::new());
    cluster.key(0)["status"]["lastBackupTime"] = Value::Null;
    let outcome = cluster.examined(&folder, &["--format", "json"]);
    let lines: Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(lines[0], json!({"verdict": "ok", "text": "the API server answers"}));
    let lines = lines.as_array().expect("lines");
    let problem = lines.iter().find(|line| line["verdict"] == "problem").expect("a problem");
    assert_eq!(problem["remedy"], "make a backup with `waxseal keys backup`, as its `--help` shows");
    assert_eq!(
        lines.last().expect("a line")["text"],
        "there is no SealedSecret: nothing shows yet that the controller works"
    );
    assert_eq!(outcome.status.code(), Some(4));
}

#[test]
fn a_server_that_is_not_an_api_server_is_an_error() {
    let folder = folder();
    for (status, body) in [
        ("200 OK", "<html>Log in</html>"),
        ("302 Found", ""),
        ("404 Not Found", ""),
        ("403 Forbidden", "<html>No</html>"),
    ] {
        point_at(
            &folder,
            serve_with(move |stream| {
                request(&stream);
                respond(stream, status, body);
            }),
        );
        let outcome = folder.waxseal(&["doctor", "--kubeconfig", "kubeconfig"]).finish();
        assert!(!outcome.stdout.contains("the API server answers"), "{status}: {}", outcome.stdout);
        assert!(outcome.stderr.contains(" does not answer as an API server does\n"), "{status}: {}", outcome.stderr);
        assert_eq!(outcome.status.code(), Some(5), "{status}: {}", outcome.stderr);
    }
}

#[test]
fn an_api_server_that_answers_with_an_error_is_an_error() {
    let folder = folder();
    point_at(
        &folder,
        serve_with(|stream| {
            request(&stream);
            respond(stream, "500 Internal Server Error", "{}");
        }),
    );
    let outcome = folder.waxseal(&["doctor", "--kubeconfig", "kubeconfig"]).finish();
    assert!(!outcome.stdout.contains("the API server answers"), "{}", outcome.stdout);
    let said = "error: context test: the API server answers with an error (";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    assert_eq!(outcome.status.code(), Some(5), "{}", outcome.stderr);
}

#[test]
fn an_answer_in_an_unknown_form_is_refused() {
    let folder = folder();
    let version = serde_json::to_string(&Info::default()).expect("JSON");
    point_at(
        &folder,
        serve_with(move |stream| {
            let (line, _) = request(&stream);
            let body = if line.contains("/version") { version.as_str() } else { "[1]" };
            respond(stream, "200 OK", body);
        }),
    );
    let outcome = folder.waxseal(&["doctor", "--kubeconfig", "kubeconfig"]).finish();
    let said = "error: context test: the answer about the API group waxseal.dev has a form that this waxseal does not \
                know\nhint: update waxseal\n";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (said, Some(3)));
}

#[test]
fn a_cluster_that_cannot_be_reached_is_an_error() {
    let folder = folder();
    point_at(&folder, 1);
    let outcome = folder.waxseal(&["doctor", "--kubeconfig", "kubeconfig"]).finish();
    let said = "error: context test: connection refused by 127.0.0.1:1\n";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (said, Some(5)));
}
