mod any_style;
mod fixtures;
mod hard_cases;

use super::*;

fn path(path: &str) -> Vec<String> {
    path.split('/').map(str::to_owned).collect()
}

fn set(at: &str, value: &str) -> Change {
    Change { path: path(at), to: Some(NewValue::Text(value.to_owned())) }
}

fn remove(at: &str) -> Change {
    Change { path: path(at), to: None }
}

fn edited(text: &str, changes: Vec<Change>) -> Result<String, String> {
    let changes = ObjectChanges { document: 0, object: 0, changes };
    apply("f.yaml", text, &[changes]).map_err(|error| error.to_string())
}

const HEAD: &str = "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\nmetadata: {name: db, namespace: shop}\n";

#[test]
fn entries_are_replaced_inserted_and_removed_in_every_style() {
    for (before, change, after) in [
        // Replaced, with the quotes that are there.
        (
            "spec:\n  encryptedData:\n    A: x # c\n",
            set("spec/encryptedData/A", "new"),
            "spec:\n  encryptedData:\n    A: new # c\n",
        ),
        (
            "spec:\n  encryptedData:\n    A: 'x'\n",
            set("spec/encryptedData/A", "new"),
            "spec:\n  encryptedData:\n    A: 'new'\n",
        ),
        (
            "spec: {encryptedData: {\"A\": \"x\"}}\n",
            set("spec/encryptedData/A", "new"),
            "spec: {encryptedData: {\"A\": \"new\"}}\n",
        ),
        (
            "spec:\n  encryptedData:\n    A: >- # c\n        x\n\n    B: z",
            set("spec/encryptedData/A", "new"),
            "spec:\n  encryptedData:\n    A: >- # c\n        new\n\n    B: z",
        ),
        (
            "spec:\n  encryptedData:\n    A:\n      x",
            set("spec/encryptedData/A", "new"),
            "spec:\n  encryptedData:\n    A:\n      new",
        ),
        // Inserted in the order of the names, or at the end.
        (
            "spec:\n  encryptedData: # c\n    # d\n    B: x\n    D: x # e\n    # f\n",
            set("spec/encryptedData/C", "new"),
            "spec:\n  encryptedData: # c\n    # d\n    B: x\n    C: new\n    D: x # e\n    # f\n",
        ),
        (
            "spec:\n  encryptedData: # c\n    # d\n    B: x\n",
            set("spec/encryptedData/A", "new"),
            "spec:\n  encryptedData: # c\n    A: new\n    # d\n    B: x\n",
        ),
        (
            "spec:\r\n  encryptedData:\r\n    B: x\r\n    A: x # e",
            set("spec/encryptedData/AA", "new"),
            "spec:\r\n  encryptedData:\r\n    B: x\r\n    A: x # e\r\n    AA: new",
        ),
        (
            "spec:\n  encryptedData:\n    A: |-\n      x\n  template: {}\n",
            set("spec/encryptedData/no", "new"),
            "spec:\n  encryptedData:\n    A: |-\n      x\n    \"no\": new\n  template: {}\n",
        ),
        (
            "spec: {encryptedData: {A: x}}\n",
            set("spec/encryptedData/B", "new"),
            "spec: {encryptedData: {A: x, B: new}}\n",
        ),
        (
            "spec: {encryptedData: {B: x}}\n",
            set("spec/encryptedData/A", "new"),
            "spec: {encryptedData: {A: new, B: x}}\n",
        ),
        (
            "spec: {scope: Strict}\n",
            set("spec/encryptedData/A", "new"),
            "spec: {encryptedData: {A: new}, scope: Strict}\n",
        ),
        (
            "spec:\n  scope: Strict # c\n# d\n",
            set("spec/encryptedData/A", "new"),
            "spec:\n  encryptedData:\n    A: new\n  scope: Strict # c\n# d\n",
        ),
        (
            "spec:\n  encryptedData: {} # c\n",
            set("spec/encryptedData/A", "new"),
            "spec:\n  encryptedData: # c\n    A: new\n",
        ),
        (
            "spec:\n  encryptedData: # c\n",
            set("spec/encryptedData/A", "new"),
            "spec:\n  encryptedData: # c\n    A: new\n",
        ),
        ("spec:\n  encryptedData: null", set("spec/encryptedData/A", "new"), "spec:\n  encryptedData:\n    A: new"),
        // Removed, with the comment on the same line.
        (
            "spec:\n  encryptedData:\n    # a\n    A: x # c\n    # b\n    B: x\n",
            remove("spec/encryptedData/A"),
            "spec:\n  encryptedData:\n    # a\n    # b\n    B: x\n",
        ),
        (
            "spec:\n  encryptedData:\n    A: x\n    B: x",
            remove("spec/encryptedData/B"),
            "spec:\n  encryptedData:\n    A: x",
        ),
        (
            "spec:\n  encryptedData: # a\n    A: x\n    # b\n",
            remove("spec/encryptedData/A"),
            "spec:\n  encryptedData: {} # a\n    # b\n",
        ),
        ("spec: {encryptedData: {A: x, B: x}}\n", remove("spec/encryptedData/A"), "spec: {encryptedData: {B: x}}\n"),
        ("spec: {encryptedData: {A: x, B: x}}\n", remove("spec/encryptedData/B"), "spec: {encryptedData: {A: x}}\n"),
        ("spec: {encryptedData: {A: x}}\n", remove("spec/encryptedData/A"), "spec: {encryptedData: {}}\n"),
        ("spec: {}\n", remove("spec/encryptedData/A"), "spec: {}\n"),
    ] {
        let head = if before.contains('\r') { HEAD.replace('\n', "\r\n") } else { HEAD.to_owned() };
        assert_eq!(edited(&format!("{head}{before}"), vec![change]), Ok(format!("{head}{after}")), "{before}");
    }
}
