//! Results above a limit: no command writes a file that it would not read again, and the file stays as it is.

use waxseal_shared::manifest::{DocumentKind, MAX_OBJECT_BYTES, split};

use crate::folder::{Folder, HEAD};
use crate::rotate::{behind, rotate};

const MIB: usize = 1 << 20;
const SPLIT_THE_LIST: &str =
    "hint: if this is a list, write its items as documents of their own, as `jq -c '.items[]'` does\n";
const SPLIT_THE_DOCUMENT: &str =
    "hint: write the items of a list as documents of their own, and shorten long comments above a Secret\n";
const SPLIT_THE_INPUT: &str = "hint: divide its documents among several files\n";
const SEAL: [&str; 5] = ["seal", "f.yaml", "--in-place", "--keys", "cluster.yaml"];
const SET: [&str; 5] = ["set", "f.yaml", "NEW", "--keys", "cluster.yaml"];

fn list(items: &[&str]) -> String {
    let item = |text: &&str| format!("- {}\n", text.trim_end().replace('\n', "\n  "));
    format!("apiVersion: v1\nkind: List\nitems:\n{}", items.iter().map(item).collect::<String>())
}

fn secret(bytes: usize) -> String {
    format!("{HEAD}stringData: {{A: {}}}\n", "x".repeat(bytes))
}

/// A folder with a key and a SealedSecret, which is also returned.
fn folder_with_sealed() -> (Folder, String) {
    let folder = Folder::with_key();
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(secret(9)).succeeds();
    (folder, sealed)
}

#[track_caller]
fn assert_not_sealed(text: &str, error: &str) {
    let folder = Folder::with_key();
    folder.write("f.yaml", text);
    folder.waxseal(&SEAL).fails(3, &format!("sealed 0 Secrets in 0 files\nerror: f.yaml{error}"));
}

/// Seals a file in place, and checks that the result can be read.
#[track_caller]
fn assert_sealed(text: &str) {
    let folder = Folder::with_key();
    folder.write("f.yaml", text);
    let outcome = folder.waxseal(&SEAL).writes(&["f.yaml"]).finish();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
    let outcome = folder.waxseal(&["drill", "f.yaml", "--identity", "cluster.key"]).finish();
    assert_eq!(outcome.status.code(), Some(0), "{}", outcome.stderr);
}

#[test]
fn a_list_that_sealing_would_make_too_large_is_refused_and_its_items_are_sealed_as_documents() {
    let items: Vec<_> = (0..7).map(|n| secret(1_000_000).replace("db", &format!("db-{n}"))).collect();
    let items: Vec<_> = items.iter().map(String::as_str).collect();
    let error = format!(":1: after sealing: a document of more than 8 MiB is not read\n{SPLIT_THE_DOCUMENT}");
    assert_not_sealed(&list(&items), &error);
    assert_sealed(&items.join("---\n"));
}

#[test]
fn a_secret_below_comments_that_sealing_would_make_too_large_is_refused() {
    let text = format!("#{}\n{}", "x".repeat(8 * MIB - 1_000_200), secret(1_000_000));
    let error = format!(":1: after sealing: a document of more than 8 MiB is not read\n{SPLIT_THE_DOCUMENT}");
    assert_not_sealed(&text, &error);
}

#[test]
fn a_stream_that_sealing_would_make_too_large_is_refused() {
    let documents: Vec<_> = (0..26).map(|n| secret(1_000_000).replace("db", &format!("db-{n}"))).collect();
    let error = format!(": after sealing: larger than 32 MiB, which is the limit for an input\n{SPLIT_THE_INPUT}");
    assert_not_sealed(&documents.join("---\n"), &error);
}

#[test]
fn a_list_with_as_many_values_as_are_read_is_sealed_and_one_with_more_is_refused() {
    // The list, the sealed Secret and the keys of the other item have 43 keys and values.
    let with = |values: usize| list(&[&secret(9), &format!("{{a: [{}1]}}\n", "1,".repeat(values - 44))]);
    assert_sealed(&with(100_000));
    let error = ":1: after sealing: a document of more than 100000 keys and values is not read\n";
    assert_not_sealed(&with(100_001), &format!("{error}{SPLIT_THE_DOCUMENT}"));
}

#[test]
fn a_stream_with_more_values_than_are_read_is_refused() {
    let other = format!("---\n[{}1]\n", "1,".repeat(99_998));
    // 20 such documents have as many values as a stream may have. The last is shorter, by the values of the Secret.
    let last = format!("---\n[{}1]\n", "1,".repeat(99_998 - 15));
    let text = format!("{}{}{last}", secret(9), other.repeat(19));
    let error = ": after sealing: a stream of more than 2000000 keys and values is not read\n";
    assert_not_sealed(&text, &format!("{error}{SPLIT_THE_INPUT}"));
}

#[test]
fn an_item_that_would_be_nested_too_deeply_in_block_style_is_refused() {
    let item = |depth: usize| format!("a:\n  {}{}{}\n", "- ".repeat(depth), "[".repeat(100), "]".repeat(100));
    assert_sealed(&list(&[&item(100), &secret(9)]));
    let error = format!(":1: after sealing: nested too deeply\n{SPLIT_THE_DOCUMENT}");
    assert_not_sealed(&list(&[&item(200), &secret(9)]), &error);
    assert_sealed(&[item(200), secret(9)].join("---\n"));
}

#[test]
fn set_refuses_a_file_or_a_document_that_would_be_too_large() {
    let (folder, sealed) = folder_with_sealed();
    let comment = |bytes: usize| format!("# {}\n", "x".repeat(bytes - 3));
    let refuses = |text: &str, error: &str| {
        folder.write("f.yaml", text);
        folder.waxseal(&SET).stdin("a new value").fails(3, &format!("error: f.yaml{error}"));
    };
    let others = format!("---\n{}", comment(7 * MIB)).repeat(4);
    let last = 32 * MIB - sealed.len() - others.len() - 4;
    let error = format!(": after the change: larger than 32 MiB, which is the limit for an input\n{SPLIT_THE_INPUT}");
    refuses(&format!("{sealed}{others}---\n{}", comment(last)), &error);
    let sealed_list = list(&[&sealed]);
    let error = format!(":1: after the change: a document of more than 8 MiB is not read\n{SPLIT_THE_LIST}");
    refuses(&format!("{}{sealed_list}", comment(8 * MIB - sealed_list.len())), &error);
    let dense = list(&[&sealed, &format!("{{a: [{}1]}}\n", "1,".repeat(100_000 - 44))]);
    let error = ":1: after the change: a document of more than 100000 keys and values is not read\n";
    refuses(&dense, &format!("{error}{SPLIT_THE_LIST}"));
    // The last of 21 documents makes room for the keys and values of the SealedSecret.
    let other = |values: usize| format!("---\n[{}1]\n", "1,".repeat(values - 2));
    let dense = format!("{sealed}{}{}", other(100_000).repeat(19), other(100_000 - 33));
    let error = ": after the change: a stream of more than 2000000 keys and values is not read\n";
    refuses(&dense, &format!("{error}{SPLIT_THE_INPUT}"));
}

/// The size of the only object of a text as JSON.
fn object_size(text: &str) -> usize {
    let stream = split(text).expect("a stream");
    let Ok(DocumentKind::SealedSecret(object)) = stream.documents[0].kind() else { panic!("a SealedSecret") };
    object.to_value().expect("plain data").to_string().len()
}

/// Makes an object as large as this by an annotation.
fn padded(sealed: &str, size: usize) -> String {
    let padded =
        |bytes: usize| sealed.replace("spec:\n", &format!("  annotations:\n    pad: {}\nspec:\n", "x".repeat(bytes)));
    padded(1 + size - object_size(&padded(1)))
}

#[test]
fn set_and_rotate_refuse_an_object_that_would_be_too_large_and_resealing_helps() {
    let folder = behind();
    let seal = |keys: &str| folder.waxseal(&["seal", "--keys", keys]).stdin(secret(1_000_000)).finish().stdout;
    let sealed = seal("before.yaml");
    let larger = "after the change: larger than 1.5 MiB, which is the limit for an object\n";
    let reseal = "hint: `waxseal rotate FILE --reseal --identity IDENTITY_FILE`, with the same `--keys`, puts all values into one \
         envelope\n";
    let set = |key: &str, keys: &str| folder.waxseal(&["set", "db.yaml", key, "--keys", keys]).stdin("x");
    let refused = |hint: &str| format!("error: db.yaml:1: {larger}{hint}");

    folder.write("db.yaml", &sealed);
    set("B", "before.yaml").writes(&["db.yaml"]).warns("set B in shop/db\n");
    folder.write("db.yaml", padded(&folder.read("db.yaml"), MAX_OBJECT_BYTES - 1000));
    set("C", "before.yaml").fails(3, &refused(reseal));
    let not_rotated = format!("changed 0 of 1 SealedSecret in 0 files\n{}", refused(reseal));
    rotate(&folder, "db.yaml", &[]).fails(3, &not_rotated);
    let resealed = rotate(&folder, "db.yaml", &["--reseal"]).writes(&["db.yaml"]);
    resealed.warns("changed 1 of 1 SealedSecret in 1 file\n");
    set("C", "keys.yaml").writes(&["db.yaml"]).warns("set C in shop/db\n");

    // In one envelope, the values themselves are too large.
    folder.write("db.yaml", padded(&sealed, MAX_OBJECT_BYTES - 1000));
    let not_rotated = format!(
        "changed 0 of 1 SealedSecret in 0 files\n{}",
        refused("hint: divide the values among several SealedSecrets\n")
    );
    rotate(&folder, "db.yaml", &[]).fails(3, &not_rotated);
}
