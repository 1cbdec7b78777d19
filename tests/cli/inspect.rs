//! `waxseal inspect`.

use crate::folder::{Folder, HOSTILE_NAME, HOSTILE_NAME_ESCAPED, SECRET, envelope};

fn sealed_in(folder: &Folder) -> (String, String) {
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: db, namespace: shop}}\ntype: kubernetes.io/tls\nimmutable: true\nstringData: {{tls.crt: {}, tls.key: x}}\n",
        "y".repeat(1000)
    );
    let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml", "--scope", "Namespace"]);
    let sealed = seal.stdin(secret).succeeds();
    let envelope = envelope(&sealed);
    (sealed, envelope)
}

#[test]
fn the_text_report_is_complete() {
    let folder = Folder::with_key();
    let (sealed, envelope) = sealed_in(&folder);
    let key = folder.key_id("cluster");
    folder.waxseal(&["inspect", "-"]).stdin(format!("---\n{sealed}")).prints(&format!(
        "shop/db (<stdin>:1)
  scope Namespace, type kubernetes.io/tls, immutable
  envelope {envelope}, claims to be sealed for namespace shop
    key {key} (hybrid)
  data tls.crt: envelope {envelope}, up to 1020 bytes
  data tls.key: envelope {envelope}, up to 252 bytes
"
    ));
}

#[test]
fn an_unusual_type_is_hidden_in_the_text_report() {
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
        assert!(
            report.starts_with("shop/db (<stdin>:1)\n  scope Namespace, type …, immutable\n  envelope "),
            "{report:?}"
        );
    }
    let report: serde_json::Value = serde_json::from_str(&inspect(forged, "json")).expect("JSON");
    assert_eq!(report[0]["type"], "x\nweb/db\n  scope Strict, \u{1b}[2K");
}

#[test]
fn an_empty_type_is_shown_as_opaque() {
    let folder = Folder::with_key();
    let (sealed, _) = sealed_in(&folder);
    let sealed = sealed.replace("type: kubernetes.io/tls", "type: \"\"");
    let report = folder.waxseal(&["inspect", "-"]).stdin(&sealed).succeeds();
    assert!(report.contains("\n  scope Namespace, type Opaque, immutable\n"), "{report}");
    let report = folder.waxseal(&["inspect", "-", "--format", "json"]).stdin(sealed).succeeds();
    assert!(report.contains("\"type\": \"Opaque\""), "{report}");
}

#[test]
fn the_json_report_is_complete() {
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
        "envelopes": {&envelope: {"boundTo": {"namespace": "shop"}, "keys": {folder.key_id("cluster"): {"kind": "hybrid"}}}},
        "data": {
            "tls.crt": {"envelope": &envelope, "maxBytes": 1020},
            "tls.key": {"envelope": &envelope, "maxBytes": 252},
        },
    }]);
    assert_eq!(report, expected);
}

#[test]
fn a_malformed_sealed_secret_and_an_input_without_any_are_refused() {
    let folder = Folder::with_key();
    let (sealed, envelope) = sealed_in(&folder);
    let broken = sealed.replace(&envelope, "e0000000000");
    folder.waxseal(&["inspect", "-"]).stdin(broken).fails(
        3,
        &format!(
            "error: <stdin>:1: shop/db: Malformed: spec.envelopes.e0000000000: its commitment is that of another envelope, {envelope}\n"
        ),
    );
    folder.waxseal(&["inspect", "-"]).stdin("kind: ConfigMap\n").fails(3, "error: <stdin>: no SealedSecret in it\n");
}

#[test]
fn a_sealed_secret_without_a_namespace_is_refused() {
    let folder = Folder::with_key();
    let (sealed, _) = sealed_in(&folder);
    let without = sealed.replacen("\n  namespace: shop\n", "\n", 1);
    let stderr = "error: <stdin>:1: db: Malformed: metadata.namespace: missing\n\
                  hint: write the namespace of its values into the manifest\n";
    folder.waxseal(&["inspect", "-"]).stdin(without).fails(3, stderr);
}

fn secret(name: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: shop}}\nstringData: {{A: x}}\n")
}

fn seal(folder: &Folder, name: &str, scope: &str) -> String {
    folder.waxseal(&["seal", "--keys", "cluster.yaml", "--scope", scope]).stdin(secret(name)).succeeds()
}

/// The first line of each object's report.
fn heads(report: &str) -> Vec<&str> {
    report.lines().filter(|line| !line.starts_with(' ') && !line.is_empty()).collect()
}

#[test]
fn files_folders_and_stdin_are_inspected_together() {
    let folder = Folder::with_key();
    folder.write("apps/deep/a.yaml", seal(&folder, "a", "Strict"));
    folder.write("apps/b.yml", format!("kind: ConfigMap\n---\n{}", seal(&folder, "b", "Strict")));
    folder.write("apps/other.yaml", "kind: ConfigMap\n");
    folder.write("c.yaml", seal(&folder, "c", "Cluster"));
    let stdin = seal(&folder, "d", "Strict");
    let report = folder.waxseal(&["inspect", "apps", "c.yaml", "-"]).stdin(&stdin).succeeds();
    let expected = ["shop/b (apps/b.yml:2)", "shop/a (apps/deep/a.yaml:1)", "shop/c (c.yaml:1)", "shop/d (<stdin>:1)"];
    assert_eq!(heads(&report), expected);
    assert!(report.contains(", claims to be sealed for shop/a\n"), "{report}");
    assert!(report.contains(", claims to be sealed for any place\n"), "{report}");
    assert_eq!(heads(&folder.waxseal(&["inspect"]).stdin(stdin).succeeds()), ["shop/d (<stdin>:1)"]);
    folder.write("none/x.yaml", "kind: ConfigMap\n");
    folder.waxseal(&["inspect", "none"]).prints("");
    folder.waxseal(&["inspect", "none", "--format", "json"]).prints("[]\n");
    let stderr = "error: `-` names stdin twice, and stdin can be read only once\n";
    folder.waxseal(&["inspect", "-", "--keys", "-"]).fails(2, stderr);
}

#[test]
fn errors_do_not_hide_the_report_of_the_other_objects() {
    let folder = Folder::with_key();
    let (good, other) = (seal(&folder, "a", "Strict"), seal(&folder, "b", "Strict"));
    let moved = other.replacen("namespace: shop", "namespace: web", 1);
    folder.write("a.yaml", format!("kind: [\n---\n{moved}---\n{good}"));
    folder.write("b.yaml", &other);
    let line = moved.lines().count() + 3;
    let refused = "error: a.yaml:1:7: not YAML: a bracket is never closed
error: a.yaml:2: web/b: Moved: sealed for shop/b (scope Strict), but this object is web/b (scope Strict)
";
    let outcome = folder.waxseal(&["inspect", "a.yaml", "b.yaml"]).finish();
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (refused, Some(3)));
    assert_eq!(heads(&outcome.stdout), [&format!("shop/a (a.yaml:{line})"), "shop/b (b.yaml:1)"]);

    let outcome = folder.waxseal(&["inspect", "absent.yaml", "a.yaml", "b.yaml", "--format", "json"]).finish();
    let absent = "error: absent.yaml: no such file or folder\n";
    assert_eq!((outcome.stderr, outcome.status.code()), (format!("{absent}{refused}"), Some(1)));
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).expect("JSON");
    assert_eq!(report.as_array().map(Vec::len), Some(2));
}

#[test]
fn keys_files_add_role_and_state_to_the_report() {
    let folder = Folder::with_key();
    folder.generate("recovery", &["--recovery"]);
    folder.generate("other", &[]);
    let keys = ["--keys", "cluster.yaml", "--keys", "recovery.yaml", "-r", &folder.recipient("other")];
    let sealed = folder.waxseal(&[&["seal"][..], &keys].concat()).stdin(secret("db")).succeeds();
    let retired = folder.read("cluster.yaml").replace("Active", "Retired");
    folder.write("both.yaml", format!("{retired}---\n{}", folder.read("recovery.yaml")));
    let (cluster, recovery, other) = (folder.key_id("cluster"), folder.key_id("recovery"), folder.key_id("other"));

    let keys = ["--keys", "both.yaml", "--keys", "recovery.yaml"];
    let report = folder.waxseal(&[&["inspect", "-"][..], &keys].concat()).stdin(&sealed).succeeds();
    for line in [
        format!("    key {cluster} (hybrid): Cluster, Retired, in both.yaml\n"),
        format!("    key {recovery} (hybrid): Recovery, Active, in both.yaml; Recovery, Active, in recovery.yaml\n"),
        format!("    key {other} (hybrid): in none of the keys files\n"),
    ] {
        assert!(report.contains(&line), "{report}");
    }
    let report = folder.waxseal(&["inspect", "-", "--keys", "both.yaml", "--format", "json"]).stdin(&sealed).succeeds();
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let envelopes = report[0]["envelopes"].as_object().expect("a map");
    let keys = &envelopes.values().next().expect("an envelope")["keys"];
    let known =
        serde_json::json!({"kind": "hybrid", "known": [{"file": "both.yaml", "role": "Recovery", "state": "Active"}]});
    assert_eq!(keys[&recovery], known);
    assert_eq!(keys[&other], serde_json::json!({"kind": "hybrid", "known": []}));
    folder
        .waxseal(&["inspect", "-", "--keys", "absent.yaml"])
        .stdin(&sealed)
        .fails(1, "error: absent.yaml: no such file or folder\n");
}

#[test]
fn the_json_report_escapes_hidden_characters_and_keeps_values() {
    let folder = Folder::with_key();
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET).succeeds();
    let quoted: String = HOSTILE_NAME.chars().map(|character| format!("\\u{:04x}", u32::from(character))).collect();
    let typed = format!("{sealed}  template:\n    type: \"{quoted}\"\n");
    let file = format!("{HOSTILE_NAME}.yaml");
    folder.write(&file, &typed);
    let json = folder.waxseal(&["inspect", "--format", "json", &file]).succeeds();
    let hidden = |c: &char| c.is_control() && *c != '\n' || ('\u{200b}'..='\u{2069}').contains(c);
    assert_eq!(json.chars().find(hidden), None, "{json:?}");
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report[0]["type"], HOSTILE_NAME);
    assert_eq!(report[0]["place"], format!("{HOSTILE_NAME_ESCAPED}.yaml:1"));
    let text = folder.waxseal(&["inspect", &file]).succeeds();
    assert!(text.contains("scope Strict, type …\n"), "{text}");
}
