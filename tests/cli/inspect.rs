use crate::folder::Folder;

fn sealed_in(folder: &Folder) -> (String, String) {
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: db, namespace: shop}}\ntype: kubernetes.io/tls\nimmutable: true\nstringData: {{tls.crt: {}, tls.key: x}}\n",
        "y".repeat(1000)
    );
    let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml", "--scope", "Namespace"]);
    let sealed = seal.stdin(secret).succeeds();
    let envelope =
        sealed.lines().find_map(|line| line.strip_prefix("    ")?.strip_suffix(':')).expect("an envelope").to_owned();
    (sealed, envelope)
}

#[test]
fn a_report_for_people() {
    let folder = Folder::with_key();
    let (sealed, envelope) = sealed_in(&folder);
    let key = folder.key_id("cluster");
    folder.waxseal(&["inspect", "-"]).stdin(format!("---\n{sealed}")).prints(&format!(
        "shop/db
  scope Namespace, type kubernetes.io/tls, immutable
  envelope {envelope}, bound to namespace shop
    key {key} (hybrid)
  data tls.crt: envelope {envelope}, up to 1020 bytes
  data tls.key: envelope {envelope}, up to 252 bytes
"
    ));
}

#[test]
fn a_type_reaches_the_terminal_only_if_it_looks_like_one() {
    let folder = Folder::with_key();
    let (sealed, _) = sealed_in(&folder);
    let line = "    type: kubernetes.io/tls\n";
    assert!(sealed.contains(line), "{sealed}");
    let inspect = |type_: &str, format: &str| {
        let text = sealed.replace(line, &format!("    type: {type_}\n"));
        folder.waxseal(&["inspect", "-", "--format", format]).stdin(text).succeeds()
    };
    let forged = r#""x\nweb/db\n  scope Strict, \e[2K""#;
    for type_ in [forged, "a b", "é", &"x".repeat(254)] {
        let report = inspect(type_, "text");
        assert!(report.starts_with("shop/db\n  scope Namespace, type …, immutable\n  envelope "), "{report:?}");
    }
    let report: serde_json::Value = serde_json::from_str(&inspect(forged, "json")).expect("JSON");
    assert_eq!(report[0]["type"], "x\nweb/db\n  scope Strict, \u{1b}[2K");
}

#[test]
fn a_report_for_programs() {
    let folder = Folder::with_key();
    let (sealed, envelope) = sealed_in(&folder);
    let text = folder.waxseal(&["inspect", "-", "--format", "json"]).stdin(format!("---\n{sealed}")).succeeds();
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let expected = serde_json::json!([{
        "place": "<stdin>:1",
        "namespace": "shop",
        "name": "db",
        "scope": "Namespace",
        "type": "kubernetes.io/tls",
        "immutable": true,
        "envelopes": {&envelope: {"boundTo": {"namespace": "shop"}, "keys": {folder.key_id("cluster"): "hybrid"}}},
        "data": {
            "tls.crt": {"envelope": &envelope, "paddedBytes": 1024},
            "tls.key": {"envelope": &envelope, "paddedBytes": 256},
        },
    }]);
    assert_eq!(report, expected);
}

#[test]
fn what_is_malformed_is_refused() {
    let folder = Folder::with_key();
    let (sealed, envelope) = sealed_in(&folder);
    let broken = sealed.replace(&envelope, "e0000000000");
    folder.waxseal(&["inspect", "-"]).stdin(broken).fails(
        3,
        &format!(
            "error: <stdin>:1: shop/db: Malformed: spec.envelopes.e0000000000: its commitment belongs to {envelope}\n"
        ),
    );
    folder.waxseal(&["inspect", "-"]).stdin("kind: ConfigMap\n").fails(3, "error: <stdin>: no SealedSecret in it\n");
}
