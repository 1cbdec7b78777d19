//! Inputs at and above every limit: each is read, or refused with a short error in bounded time and memory.

use std::collections::BTreeMap;
use std::fmt::Write;

use waxseal_shared::key::{Identity, KeyKind};
use waxseal_shared::manifest::{Format, write_sealed_secret};
use waxseal_shared::names::{DataKey, Namespace, ObjectName};
use waxseal_shared::randomness;
use waxseal_shared::seal::seal;
use waxseal_shared::sealed_secret::{Scope, SealedSecret};
use waxseal_shared::secret::{SecretBytes, SecretManifest};

use crate::folder::{Folder, HEAD};

const MIB: usize = 1 << 20;
const SEALED_HEAD: &str = "apiVersion: waxseal.dev/v1alpha1\nkind: SealedSecret\n";
const SEAL: [&str; 4] = ["seal", "-", "--keys", "cluster.yaml"];
const INSPECT: [&str; 2] = ["inspect", "-"];
const OPEN: [&str; 4] = ["open", "-", "--identity", "cluster.key"];
const SPLIT_THE_LIST: &str =
    "hint: if this is a list, write its items as documents of their own, as `jq -c '.items[]'` does\n";

/// Commands that read manifests, each with its error for an input without an object of the kind that it reads.
const NO_OBJECT: [(&[&str], &str); 3] = [
    (&SEAL, "error: <stdin>: no Secret in it\n"),
    (&INSPECT, "error: <stdin>: no SealedSecret in it\n"),
    (&OPEN, "error: <stdin>: no SealedSecret in it\n"),
];

/// Checks that `seal`, `inspect` and `open` refuse the text with 3 and exactly this error.
#[track_caller]
fn assert_refused(text: impl AsRef<[u8]>, error: &str) {
    let folder = Folder::with_key();
    for arguments in [&SEAL[..], &INSPECT, &OPEN] {
        folder.bounded_waxseal(arguments).stdin(text.as_ref()).fails(3, &format!("error: <stdin>{error}"));
    }
}

/// Checks that `seal` refuses the text with 3 and exactly this error.
#[track_caller]
fn assert_not_sealed(text: impl AsRef<[u8]>, error: &str) {
    let folder = Folder::with_key();
    folder.bounded_waxseal(&SEAL).stdin(text).fails(3, &format!("error: <stdin>{error}"));
}

/// Checks that `seal`, `inspect` and `open` read the text to its end and find no object.
#[track_caller]
fn assert_read(text: impl AsRef<[u8]>) {
    let folder = Folder::with_key();
    for (arguments, stderr) in NO_OBJECT {
        folder.bounded_waxseal(arguments).stdin(text.as_ref()).fails(3, stderr);
    }
}

#[test]
fn inputs_above_the_size_limit_are_refused() {
    assert_refused(vec![b'#'; 32 * MIB + 1], ": larger than 32 MiB, which is the limit for an input\n");
    assert_refused(vec![b'#'; 100 * MIB], ": larger than 32 MiB, which is the limit for an input\n");
    let folder = Folder::with_key();
    folder.write("db.yaml", vec![b'{'; 100 * MIB]);
    let stderr = "error: db.yaml: larger than 32 MiB, which is the limit for an input\n";
    for arguments in [["seal", "db.yaml", "--keys", "cluster.yaml"], ["open", "db.yaml", "--identity", "cluster.key"]] {
        folder.bounded_waxseal(&arguments).fails(3, stderr);
    }
    folder.bounded_waxseal(&["inspect", "db.yaml"]).fails(3, stderr);
    // An endless file.
    folder
        .bounded_waxseal(&["inspect", "/dev/zero"])
        .fails(3, "error: /dev/zero: larger than 32 MiB, which is the limit for an input\n");
}

#[test]
fn documents_above_the_size_limit_are_refused() {
    let refused = |place: &str| format!(":{place}: a document of more than 8 MiB is not read\n{SPLIT_THE_LIST}");
    assert_refused("\n".repeat(31 * MIB), &refused("1:1"));
    for unit in ["#", "#\r\n", "x ", "[", "{\"a\":", "\u{2028}"] {
        assert_not_sealed(unit.repeat(31 * MIB / unit.len()), &refused("1:1"));
    }
    assert_not_sealed(format!("{HEAD}---\n{{\"a\": \"{}", "x".repeat(9 * MIB)), &refused("4:1"));
    assert_not_sealed(format!("{{}}\n{{\"a\": \"{}\"}}", "x".repeat(9 * MIB)), &refused("1:3"));
}

#[test]
fn documents_of_the_largest_size_are_read() {
    let most = 8 * MIB;
    assert_read("\n".repeat(most));
    for text in [
        format!("{{\"a\":\"{}\"}}", "x".repeat(most - 8)),
        format!("a: \"{}\"", "\\n".repeat(most / 2 - 3)),
        format!("---\na: |\n {}\n", "x".repeat(most - 12)).repeat(3),
    ] {
        Folder::with_key().bounded_waxseal(&SEAL).stdin(text).fails(3, "error: <stdin>: no Secret in it\n");
    }
}

#[test]
fn large_documents_with_unusual_line_breaks_are_read_or_refused() {
    let line = format!("{}\n ", "x".repeat(1000));
    let large = |mebibytes: usize| format!("---\na: |\n {}# \u{2028}\n", line.repeat(mebibytes * MIB / 1002 - 1));
    let padding = format!("---\n#{}\n", "x".repeat(7 * MIB)).repeat(3);
    let refused =
        "YAML versions disagree on whether a line ends here\nhint: write the character as an escape in double quotes\n";
    assert_not_sealed(format!("{padding}{}", large(8)), &format!(":8379:4: {refused}"));
    let folder = Folder::with_key();
    let text = format!("{padding}{}", large(3));
    folder.bounded_waxseal(&SEAL).stdin(text).fails(3, "error: <stdin>: no Secret in it\n");
    let breaks = format!("---\n#{}\n", "\u{2028}".repeat(MIB - 100)).repeat(8);
    folder.bounded_waxseal(&SEAL).stdin(breaks).fails(3, "error: <stdin>: no Secret in it\n");
}

#[test]
fn more_documents_than_the_limit_are_refused() {
    let refused = |place: &str| {
        format!(":{place}: a stream of more than 10000 documents is not read\nhint: split it into several streams\n")
    };
    assert_refused("---\n".repeat(31 * MIB / 4), &refused("10001:1"));
    assert_refused("a: b\n...\n".repeat(31 * MIB / 9), &refused("20001:1"));
    assert_refused("{}".repeat(31 * MIB / 2), &refused("1:20001"));
    assert_read("---\n{}\n".repeat(10_000));
}

#[test]
fn more_values_in_a_document_than_the_limit_are_refused() {
    let list = |values: usize| format!("[{}1]\n", "1,".repeat(values - 2));
    let refused = format!(": a document of more than 100000 keys and values is not read\n{SPLIT_THE_LIST}");
    assert_refused(list(100_001), &format!(":1:200000{refused}"));
    assert_refused(format!("a:\n{}", "- b\n".repeat(100_000)), &format!(":99999:3{refused}"));
    assert_refused(format!("{HEAD}data:\n{}", "  \"\":\n".repeat(100_000)), &format!(":49998:5{refused}"));
    assert_read(list(100_000));
    // A long stream, in which the last document has as many keys and values as a document may have.
    let padding = format!("---\n#{}\n", "x".repeat(7 * MIB));
    assert_read(format!(
        "{}---\napiVersion: v1\nkind: List\nitems: [{}{{}}]\n",
        padding.repeat(4),
        "{},".repeat(99_992)
    ));
}

#[test]
fn more_values_in_a_stream_than_the_limit_are_refused() {
    let dense = format!("---\n[{}1]\n", "1,".repeat(99_998));
    let refused =
        ":42:1: a stream of more than 2000000 keys and values is not read\nhint: split it into several streams\n";
    assert_not_sealed(dense.repeat(160), refused);
}

#[test]
fn deep_nesting_is_refused() {
    for (unit, column) in [("[", 256), ("{a: ", 1021), ("- ", 511), ("? ", 511)] {
        assert_not_sealed(unit.repeat(7 * MIB / unit.len()), &format!(":1:{column}: nested too deeply\n"));
    }
    let json = format!("{}{}", "[".repeat(3 * MIB), "]".repeat(3 * MIB));
    assert_refused(json, ":1:511: nested too deeply\n");
    let json = format!("{}1{}", "{\"a\":".repeat(MIB), "}".repeat(MIB));
    assert_refused(json, ":1:2551: nested too deeply\n");
    let lists = format!("{}{}", "{apiVersion: v1, kind: List, items: [".repeat(100), "]}".repeat(100));
    let path = format!("items[0]{}", ".items[0]".repeat(7));
    assert_refused(lists, &format!(":1:297: {path}: more than 8 lists inside each other\n"));
}

#[test]
fn exponential_aliases_and_merge_keys_are_refused_or_skipped() {
    let level = |n: usize| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
    let bomb: String = (1..250).map(level).collect();
    assert_read(format!("a0: &a0 x\n{bomb}"));
    assert_not_sealed(
        format!("{HEAD}a0: &a0 x\n{bomb}"),
        ":4:9: a0: anchors are not allowed\nhint: put a value that begins with & or * in quotes, or write the value out at each place\n",
    );
    let wide: String = (0..20_000).map(|n| format!("k{n}: x, ")).collect();
    let merged = format!("x: &w {{{wide}}}\napiVersion: v1\nkind: List\nitems:\n{}", "- {<<: *w}\n".repeat(15_000));
    assert_read(merged);
}

#[test]
fn bytes_that_are_not_utf_8_are_refused() {
    assert_refused([&vec![b'x'; 31 * MIB][..], b"\xff"].concat(), ": not UTF-8\n");
    // An overlong form, a surrogate, a character above U+10FFFF, and a truncated character.
    for bytes in [&b"a: \xc0\xaf"[..], b"a: \xed\xa0\x80", b"a: \xf4\x90\x80\x80", b"a: \xe2\x82"] {
        assert_refused(bytes, ": not UTF-8\n");
    }
    let utf_16: Vec<u8> = "\u{feff}kind: Secret\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    assert_refused(utf_16, ": not UTF-8\nhint: it looks like UTF-16: save it as UTF-8\n");
    assert_refused("a: \0\n", ":1:4: not YAML\n");
}

#[test]
fn secrets_above_a_limit_are_refused() {
    let keys = |count: usize| (0..count).map(|n| format!("  k{n}: aaaa\n")).collect::<String>();
    assert_not_sealed(format!("{HEAD}data:\n{}", keys(257)), ":1:1: more than 256 data keys\n");
    assert_not_sealed(format!("{HEAD}data:\n{}", keys(49_000)), ":1:1: more than 256 data keys\n");
    let again = format!("{HEAD}data:\n{}  k0: aaaa\n", keys(49_000));
    assert_not_sealed(again, ":49005:3: data.k0: given twice, first on line 5\n");
    let too_much = ":1:1: more than 1 MiB of data, which is the limit for a Secret\n";
    for value in ["x".repeat(MIB + 1), "x".repeat(7 * MIB), "\\x41".repeat(MIB + 1), "é\n\n".repeat(MIB)] {
        assert_not_sealed(format!("{HEAD}stringData: {{A: \"{value}\"}}\n"), too_much);
    }
    assert_not_sealed(format!("{HEAD}data: {{A: {}}}\n", "A".repeat(7 * MIB)), too_much);
    let annotated = |bytes: usize| HEAD.replace("shop}", &format!("shop, annotations: {{a: {}}}}}", "x".repeat(bytes)));
    let message = ":3:52: metadata.annotations: larger than 256 KiB, which is the limit for an object's annotations\n";
    assert_not_sealed(annotated(2 * MIB), message);
    let large = format!("{}stringData: {{A: {}}}\n", annotated(MIB / 5), "x".repeat(MIB));
    assert_not_sealed(
        large,
        ":1: after sealing, the object is larger than 1.5 MiB, which is the limit for an object\n",
    );
    let name = HEAD.replace("db", "\"d\\0b\"");
    let message = ":3:18: metadata.name: a name must be 1 to 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit\n";
    assert_not_sealed(name, message);
}

#[test]
fn a_secret_at_the_limits_is_sealed_and_opened() {
    let folder = Folder::with_key();
    let mut text = format!("{HEAD}data:\n");
    // The longest value that is padded to 4 KiB. 256 of them stay just below 1 MiB.
    for n in 0..256 {
        writeln!(text, "  k{n}: {}", "A".repeat(4092 / 3 * 4)).expect("a String takes everything");
    }
    let warning = "warning: <stdin>:1: larger than 200 KiB when sealed: `kubectl apply` needs `--server-side` for it\n";
    let sealed = folder.waxseal(&SEAL).stdin(&text).warns(warning);
    let opened = folder.waxseal(&OPEN).stdin(&sealed).succeeds();
    assert_eq!(crate::folder::data_of(&opened), crate::folder::data_of(&text));
}

#[test]
fn one_bad_document_after_many_good_documents_is_refused() {
    let good = |n: usize| format!("{}stringData: {{A: value-{n}}}\n---\n", HEAD.replace("db", &format!("db-{n}")));
    let text: String = (0..9_999).map(good).collect();
    assert_not_sealed(format!("{text}kind: [\n"), ":49996:7: not YAML: a bracket is never closed\n");
    let large = format!("---\n{HEAD}stringData: {{A: {}}}\n", "x".repeat(MIB)).repeat(30);
    assert_not_sealed(format!("{large}---\nkind: [\n"), ":152:7: not YAML: a bracket is never closed\n");
}

#[test]
fn one_bad_sealed_secret_after_many_good_ones_is_refused() {
    let annotations = (0..60).map(|n| format!("k{n}: x, ")).collect::<String>();
    let good = |n: usize| {
        format!(
            "---\n{SEALED_HEAD}metadata: {{name: n{n}, namespace: a, annotations: {{{annotations}}}}}\nspec: {{}}\n"
        )
    };
    let text: String = (0..9_999).map(good).collect();
    let text = format!("{text}---\n{SEALED_HEAD}");
    let stderr = "error: <stdin>:49997:1: field \"metadata\" is missing\n";
    let folder = Folder::with_key();
    folder.bounded_waxseal(&OPEN).stdin(&text).fails(3, stderr);
    let outcome = folder.bounded_waxseal(&INSPECT).stdin(&text).finish();
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(3)));
    assert_eq!(outcome.stdout.matches("scope Strict").count(), 9_999);
}

#[test]
fn the_first_hundred_errors_are_shown_and_the_others_counted() {
    let item = "{\"apiVersion\":\"waxseal.dev/v1alpha1\",\"kind\":\"SealedSecret\"}";
    let list = format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{}]}}\n", vec![item; 15_000].join(","));
    let folder = Folder::with_key();
    for arguments in [&INSPECT[..], &OPEN] {
        let text = list.repeat(20);
        let said: String = (0..100)
            .map(|n| {
                format!("error: <stdin>:1:{}: items[{n}]: field \"metadata\" is missing\n", 43 + n * (item.len() + 1))
            })
            .collect();
        let hidden = "error: <stdin>: 299900 more errors not shown\n";
        folder.bounded_waxseal(arguments).stdin(text).fails(3, &format!("{said}{hidden}"));
    }
}

/// A SealedSecret with one value, and one envelope with a wrap for each of this many recipients.
fn sealed(key: usize, recipients: usize) -> SealedSecret {
    let name = ObjectName::parse("db").expect("a name");
    let data =
        BTreeMap::from([(DataKey::parse(&format!("k{key}")).expect("a key"), SecretBytes::new(b"value".to_vec()))]);
    let (labels, annotations) = (BTreeMap::new(), BTreeMap::new());
    let secret = SecretManifest { name, namespace: None, labels, annotations, type_: None, immutable: None, data };
    let random = &mut randomness::system();
    let recipients: Vec<_> =
        (0..recipients).map(|_| Identity::generate(KeyKind::Classic, random).recipient().clone()).collect();
    let namespace = Namespace::parse("shop").expect("a namespace");
    seal(&secret, &namespace, Scope::Strict, &recipients, random).expect("it is within its limits")
}

/// Merges SealedSecrets into one.
fn joined(parts: impl Iterator<Item = SealedSecret>) -> String {
    let joined = parts.reduce(|mut all, part| {
        all.spec.envelopes.extend(part.spec.envelopes);
        all.spec.encrypted_data.extend(part.spec.encrypted_data);
        all
    });
    write_sealed_secret(&joined.expect("at least one"), Format::Yaml)
}

#[track_caller]
fn assert_malformed(text: &str, error: &str) {
    let folder = Folder::with_key();
    for arguments in [&INSPECT[..], &OPEN] {
        folder.bounded_waxseal(arguments).stdin(text).fails(3, &format!("error: <stdin>:1{error}\n"));
    }
}

#[test]
fn sealed_secrets_above_a_limit_are_refused() {
    let folder = Folder::with_key();
    let most = joined((0..64).map(|n| sealed(n, 1)));
    assert_eq!(folder.bounded_waxseal(&INSPECT).stdin(&most).succeeds().matches("\n  envelope ").count(), 64);
    let more = joined((0..65).map(|n| sealed(n, 1)));
    let hint = "hint: if a merge put the envelopes of two branches together: undo the merge, run `waxseal rotate \
                --reseal` on the file in each branch, and merge again";
    assert_malformed(&more, &format!(": shop/db: Malformed: spec.envelopes: more than 64 envelopes\n{hint}"));

    let mut object = sealed(0, 16);
    let text = write_sealed_secret(&object, Format::Yaml);
    assert_eq!(folder.bounded_waxseal(&INSPECT).stdin(&text).succeeds().matches("\n    key ").count(), 16);
    let (id, envelope) = object.spec.envelopes.iter_mut().next().expect("one envelope");
    let wrap = envelope.wraps.values().next().expect("a wrap").clone();
    envelope.wraps.insert("k0000000000000000".to_owned(), wrap);
    let error = format!(": shop/db: Malformed: spec.envelopes.{id}.wraps: more than 16 wraps");
    assert_malformed(&write_sealed_secret(&object, Format::Yaml), &error);

    let mut object = sealed(0, 1);
    let token = object.spec.encrypted_data.values().next().expect("a value").clone();
    object.spec.encrypted_data.extend((1..256).map(|n| (format!("k{n}"), token.clone())));
    let text = write_sealed_secret(&object, Format::Yaml);
    assert_eq!(folder.bounded_waxseal(&INSPECT).stdin(&text).succeeds().matches("\n  data ").count(), 256);
    object.spec.encrypted_data.insert("k256".to_owned(), token);
    let error = ": shop/db: Malformed: spec.encryptedData: more than 256 data keys";
    assert_malformed(&write_sealed_secret(&object, Format::Yaml), error);

    let status = format!("status: {{x: {}}}\n", "x".repeat(1536 * 1024));
    let error = ":1: larger than 1.5 MiB, which is the limit for an object";
    assert_malformed(&format!("{}{status}", write_sealed_secret(&sealed(0, 1), Format::Yaml)), error);
}

/// Files that the author of a pull request can write, for all commands that change SealedSecrets.
#[test]
fn hostile_files_are_refused_within_bounds_and_stay_as_they_are() {
    let folder = crate::rotate::behind();
    let good = folder.read("db.yaml");
    let broken = "{\"apiVersion\":\"waxseal.dev/v1alpha1\",\"kind\":\"SealedSecret\"}";
    let laughs = (1..30).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)).collect::<String>();
    for hostile in [
        "#".repeat((32 << 20) + 1),
        "[".repeat(8 << 20),
        "a: {b: ".repeat(1 << 20),
        format!("a0: &a0 x\n{laughs}{good}"),
        format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{}]}}\n", vec![broken; 15_000].join(",")),
        format!("{good}---\n").repeat(10_001),
        good.replace("name: db", "name: \"a\\e[2K\\u202Eb\""),
        good.replace("name: db", "name: db\n  name: web"),
        good.replace("  wraps:", "  \"wr\\u0061ps\": {}\n      wraps:"),
        format!("{good}apiVersion: waxseal.dev/v1alpha1\n"),
        format!("%TAG ! tag:example.com,2026:\n---\n{good}"),
        good.replace("    A: ", "    <<: {B: hunter2}\n    A: "),
    ] {
        folder.write("x.yaml", &hostile);
        for arguments in [
            &["set", "x.yaml", "A", "--keys", "keys.yaml"][..],
            &["unset", "x.yaml", "A"],
            &["rotate", "x.yaml", "--keys", "keys.yaml", "--identity", "recovery.key"],
            &["rotate", "x.yaml", "--keys", "keys.yaml", "--check"],
        ] {
            let outcome = folder.bounded_waxseal(arguments).stdin("hunter2").finish();
            let start = &hostile[..hostile.len().min(60)];
            let expected = if arguments.contains(&"--check") { 4 } else { 3 };
            assert_eq!(outcome.status.code(), Some(expected), "{arguments:?} {start}: {}", outcome.stderr);
            assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
            assert!(!outcome.stderr.contains(['\u{1b}', '\u{202e}']), "{}", outcome.stderr);
        }
    }
}
