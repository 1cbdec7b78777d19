//! Texts that are hard to edit: each is edited as meant, or refused.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::*;

/// Returns the text of this `spec` after one change; `None` if the change is refused.
fn after(spec: &str, change: Change) -> Option<String> {
    let text = edited(&format!("{HEAD}{spec}"), vec![change]).ok()?;
    Some(text.strip_prefix(HEAD).expect("the same head").to_owned())
}

const NAME: &str = "spec/encryptedData/A";

#[test]
fn unusual_texts_are_edited() {
    for (before, change, expected) in [
        // Keys that contain characters with a meaning in YAML.
        (
            "spec:\n  encryptedData:\n    \"a: b #c\": x\n    'd: {': y\n",
            remove("spec/encryptedData/a: b #c"),
            "spec:\n  encryptedData:\n    'd: {': y\n",
        ),
        (
            "spec:\n  encryptedData: {\"a, b: {\": x, A: y}\n",
            remove("spec/encryptedData/a, b: {"),
            "spec:\n  encryptedData: {A: y}\n",
        ),
        // Explicit keys.
        (
            "spec:\n  ? encryptedData # A: b\n  : # c\n    ? A\n    : x\n",
            set(NAME, "new"),
            "spec:\n  ? encryptedData # A: b\n  : # c\n    ? A\n    : new\n",
        ),
        // Tabs.
        (
            "spec:\n  encryptedData:\t# c\n    A:\tx\t# c\n    B:\ty\n",
            remove(NAME),
            "spec:\n  encryptedData:\t# c\n    B:\ty\n",
        ),
        // For a value that is left out, the parser gives a range far behind the key.
        (
            "spec:\n  envelopes:\n    e1:\n      commitment: c\n      wraps: {}\n      boundTo:\n\n    # about e2\n    e2: {}\n",
            remove("spec/envelopes/e1"),
            "spec:\n  envelopes:\n\n    # about e2\n    e2: {}\n",
        ),
        (
            "spec:\n  envelopes:\n    e1:\n      wraps: {}\n      boundTo: # b\n# about spec\n  scope: Strict\n",
            set("spec/envelopes/e2/wraps/k", "new"),
            "spec:\n  envelopes:\n    e1:\n      wraps: {}\n      boundTo: # b\n    e2:\n      wraps:\n        k: new\n# about spec\n  scope: Strict\n",
        ),
        (
            "spec:\n  encryptedData: # c\n  # d\n  scope: Strict\n",
            set(NAME, "new"),
            "spec:\n  encryptedData: # c\n    A: new\n  # d\n  scope: Strict\n",
        ),
        // A comment behind an entry in braces stays there.
        (
            "spec: {encryptedData: {\n    A: x, # a\n    C: y # c\n  }}\n",
            set("spec/encryptedData/B", "new"),
            "spec: {encryptedData: {\n    A: x, # a\n    B: new,\n    C: y # c\n  }}\n",
        ),
        (
            "spec: {encryptedData: {\n    A: x, # a\n    C: y # c\n  }}\n",
            set("spec/encryptedData/D", "new"),
            "spec: {encryptedData: {\n    A: x, # a\n    C: y, # c\n    D: new\n  }}\n",
        ),
        // `"D":"x"` is valid only because its key is in quotes. A new entry without quotes gets a space after its
        // colon.
        (
            "spec: {encryptedData: {C: y, \"D\":\"x\"}}\n",
            set(NAME, "new"),
            "spec: {encryptedData: {A: new, C: y, \"D\":\"x\"}}\n",
        ),
        // Tags that change nothing.
        (
            "spec:\n  encryptedData:\n    A: !!str x # c\n",
            set(NAME, "new"),
            "spec:\n  encryptedData:\n    A: !!str new # c\n",
        ),
        // The same name in another mapping.
        (
            "spec:\n  template:\n    data:\n      A: x\n  encryptedData:\n    A: x\n",
            set(NAME, "new"),
            "spec:\n  template:\n    data:\n      A: x\n  encryptedData:\n    A: new\n",
        ),
    ] {
        assert_eq!(after(before, change).as_deref(), Some(expected), "{before}");
    }
}

#[test]
fn texts_that_cannot_be_edited_are_refused() {
    for (before, change) in [
        // Anchors, tags of mappings, and keys that are given twice.
        ("spec:\n  encryptedData: &a\n    A: x\n", set(NAME, "new")),
        ("spec:\n  template: {data: &a {B: x}}\n  encryptedData: {A: x}\n", set(NAME, "new")),
        ("spec:\n  encryptedData: !!map\n    A: x\n", set(NAME, "new")),
        ("spec:\n  encryptedData:\n    A: x\n    A: x\n", set(NAME, "new")),
        ("spec:\n  encryptedData:\n    A: x\n  encryptedData:\n    A: x\n", remove(NAME)),
        // Not a mapping, or not a string.
        ("spec:\n  encryptedData: [x]\n", set(NAME, "new")),
        ("spec:\n  encryptedData: text\n", set(NAME, "new")),
        ("spec:\n  encryptedData: \"{}\"\n", set(NAME, "new")),
        ("spec:\n  encryptedData:\n    A:\n    B: x\n", set(NAME, "new")),
        // With `?` or a tag in front of a key, the line of the entry does not begin with the key.
        ("spec:\n  encryptedData:\n    ? A\n    : x\n    ? B\n    : y\n", remove(NAME)),
        ("spec:\n  encryptedData:\n    ? B\n    : x\n", set(NAME, "new")),
        ("spec:\n  encryptedData:\n    !!str A: x\n    B: y\n", remove(NAME)),
        // With the header `|`, the new value would end with a line break.
        ("spec:\n  encryptedData:\n    A: |\n      x\n", set(NAME, "new")),
        // A comment that would become a line of the block scalar before the entry.
        ("spec:\n  encryptedData:\n    B: |-\n      x\n    A: y\n      # c\n    C: z\n", remove(NAME)),
        // A comment between a value and its comma.
        ("spec:\n  encryptedData: {\n    A: x # c\n    , B: y}\n", remove("spec/encryptedData/B")),
        // Tabs in front of the entries of YAML.
        ("spec: {\n\tencryptedData: {\n\t\tA: x,\n\t\tB: y\n\t}\n}\n", set(NAME, "new")),
        // A carriage return alone as a line break.
        ("spec:\r  encryptedData:\r    A: x\r", set("spec/encryptedData/B", "new")),
        ("spec:\n  encryptedData:\n    A: x # c\r    # d\n", remove(NAME)),
    ] {
        assert_eq!(after(before, change), None, "{before}");
    }
}

#[test]
fn an_object_that_is_there_twice_is_changed_once() {
    let object = format!("{HEAD}spec:\n  encryptedData: {{A: x}}\n");
    let changes = ObjectChanges { document: 1, object: 0, changes: vec![set(NAME, "new")] };
    let edited = apply("f", &format!("---\n{object}---\n{object}"), &[changes]).map_err(|error| error.to_string());
    assert_eq!(edited, Ok(format!("---\n{object}---\n{}", object.replace("x}", "new}"))));
}

#[test]
fn the_text_around_the_objects_of_a_list_is_compared_too() {
    let list = |other: &str| format!("kind: List\napiVersion: v1\nitems:\n- {{a: {other}}}\n- &x {{b: c}}\n");
    let object = "- {apiVersion: waxseal.dev/v1alpha1, kind: SealedSecret, metadata: {name: a}, spec: {}}\n";
    let (before, after) = ([&list("1"), object, object].concat(), [&list("2"), object, object].concat());
    assert!(check("f", &before, &before, &[]).is_ok());
    let nothing = [ObjectChanges { document: 0, object: 1, changes: Vec::new() }];
    assert!(check("f", &before, &before, &nothing).is_ok());
    assert!(check("f", &before, &after, &nothing).is_err());
}

#[test]
fn an_object_beside_one_that_cannot_be_read_is_changed() {
    let object = "{apiVersion: waxseal.dev/v1alpha1, kind: SealedSecret, spec: {encryptedData: {A: x}}}";
    for broken in [object.replace("A: x", "A: x, A: y"), object.replace("spec:", "status: 1e999, spec:")] {
        let list = |object: &str| format!("apiVersion: v1\nkind: List\nitems:\n- {broken}\n- {object}\n");
        let changes = ObjectChanges { document: 0, object: 1, changes: vec![set(NAME, "new")] };
        let edited = apply("f", &list(object), &[changes]).map_err(|error| error.to_string());
        assert_eq!(edited, Ok(list(&object.replace("A: x", "A: new"))));
    }
}

#[test]
fn deep_lists_are_edited() {
    let object = "{apiVersion: waxseal.dev/v1alpha1, kind: SealedSecret, spec: {encryptedData: {A: x}}}";
    let (list, end) = ("{apiVersion: v1, kind: List, items: [".repeat(8), "]}".repeat(8));
    let text = format!("{list}{object}{end}\n");
    assert_eq!(edited(&text, vec![set(NAME, "new")]), Ok(text.replace("x}", "new}")));
}

/// An object with 64 envelopes of 16 wraps, of more than 1 MiB.
fn large_object(name: &str) -> String {
    let mut text = HEAD.replace("name: db", &format!("name: {name}")) + "spec:\n  envelopes:\n";
    let wrap = "YWdl".repeat(260);
    for envelope in 0..64 {
        let _ = write!(text, "    e{envelope:02}: # c\n      commitment: c\n      wraps:\n");
        (0..16).for_each(|wrap_number| text.push_str(&format!("        k{wrap_number:02}: {wrap}\n")));
    }
    text.push_str("  encryptedData:\n");
    (0..64).for_each(|value| text.push_str(&format!("    A{value:02}: wax1.e00.{value}\n")));
    text
}

#[test]
fn a_hundred_changes_of_a_large_object_take_seconds() {
    let text = large_object("db");
    assert!(text.len() > 1 << 20);
    let mut changes: Vec<_> = (0..32).map(|value| set(&format!("spec/encryptedData/A{value:02}"), "new")).collect();
    changes.extend((0..34).map(|number| set(&format!("spec/envelopes/e{number:02}/wraps/k16"), "new")));
    changes.extend((0..34).map(|number| remove(&format!("spec/envelopes/e{number:02}/wraps/k00"))));
    assert!(succeeds_within_20_seconds(|| edited(&text, changes).is_ok()));
}

#[test]
fn changes_of_many_objects_of_a_list_take_seconds() {
    let object = |number: usize| {
        let object = HEAD.replace("name: db", &format!("name: db{number}"));
        let object = format!("{object}spec:\n  encryptedData:\n    A: {}\n    B: x\n", "wax1".repeat(1000));
        object.lines().map(|line| format!("  {line}\n")).collect::<String>().replacen(' ', "-", 1)
    };
    let text = format!("apiVersion: v1\nkind: List\nitems:\n{}", (0..300).map(object).collect::<String>());
    let changes = || vec![set(NAME, "new"), remove("spec/encryptedData/B"), set("spec/encryptedData/C", "new")];
    let all: Vec<_> = (0..300).map(|object| ObjectChanges { document: 0, object, changes: changes() }).collect();
    assert!(text.len() > 1 << 20 && succeeds_within_20_seconds(|| apply("f", &text, &all).is_ok()));
}

/// Whether the work succeeds within 20 seconds. Tests are not optimised, and run beside each other.
fn succeeds_within_20_seconds(work: impl FnOnce() -> bool) -> bool {
    let start = Instant::now();
    work() && start.elapsed() < Duration::from_secs(20)
}
