//! Texts of the largest size that is read, and texts just beyond it (FORMAT.md §10).

use serde_json::{Value, json};

use super::manifests::{JSON, written_out};

/// Texts that are refused for their size.
pub(super) fn refused() -> Vec<Value> {
    let of = |name: &str, comment: &str, text: String| json!({"comment": comment, "name": name, "refused": "size", "text": text});
    let mut vectors = vec![
        of("json-nested-511", "511 collections in one another, in JSON", nested_json(511)),
        of("yaml-nested-256", "256 collections in flow style in one another", nested_yaml(256)),
        of("lists-nested-9", "9 lists in one another", nested_lists(9)),
        json!({
            "append": {"text": "]", "times": 511},
            "comment": "511 collections, one in the other",
            "name": "nested-511",
            "refused": "size",
            "text": written_out(&format!("HEAD\nspec: {}", "[".repeat(511))),
        }),
    ];
    vectors.extend(repeated(Size::Beyond));
    vectors
}

/// Texts of the largest size, which are read.
pub(super) fn read() -> Vec<Value> {
    let mut vectors = repeated(Size::Greatest);
    for (name, comment, specs, text) in [
        (
            "json-nested-510",
            "510 collections in one another, in JSON",
            json!([{"encryptedData": {"A": "a"}}]),
            nested_json(510),
        ),
        ("lists-nested-8", "8 lists in one another", json!([{"encryptedData": {"A": "a"}}]), nested_lists(8)),
        ("yaml-nested-255", "255 collections in flow style in one another", json!([{}]), nested_yaml(255)),
    ] {
        vectors.push(json!({"comment": comment, "name": name, "specs": specs, "text": text}));
    }
    vectors
}

/// Returns a SealedSecret as JSON, with nested lists in its status. `depth` counts the lists and the object itself.
fn nested_json(depth: usize) -> String {
    let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
    JSON.replace("\"spec\"", &format!("\"status\": {open}{close}, \"spec\""))
}

fn nested_lists(depth: usize) -> String {
    let list = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [".repeat(depth);
    format!("{list}{JSON}{}", "]}".repeat(depth))
}

fn nested_yaml(depth: usize) -> String {
    written_out(&format!("HEAD\nspec: {{}}\nstatus: {}{}\n", "[".repeat(depth), "]".repeat(depth)))
}

#[derive(Clone, Copy, PartialEq)]
enum Size {
    Greatest,
    Beyond,
}

/// Returns a vector for each limit: a text with a repeated end, of the largest size or just beyond it. For the bytes of
/// an object, the text is a few hundred bytes below or beyond the limit.
///
/// Without the items of its status, the object has 15 nodes.
fn repeated(size: Size) -> Vec<Value> {
    let more = usize::from(size == Size::Beyond);
    let text = |rest: &str| written_out(&format!("HEAD\nspec: {{}}\n{rest}"));
    let document = 8 * 1024 * 1024 - text("#").len();
    let values = format!("[{}0]\n", "0,".repeat(199));
    [
        ("nodes", "nodes of a document", text("status:\n"), "- a\n", 100_000 - 15 + more),
        ("nodes-of-stream", "nodes of all documents, 201 in each", String::new(), values.as_str(), 9_950 + more),
        ("documents", "documents", text(""), "---\n", 9_999 + more),
        ("document-bytes", "the bytes of a document, in a comment", text("#"), "x", document + more),
        ("object-bytes", "the bytes of an object", text("status: "), "x", 1_572_500 + 500 * more),
    ]
    .map(|(name, comment, text, append, times)| {
        let append = json!({"text": append, "times": times});
        let specs = if text.is_empty() { json!([]) } else { json!([{}]) };
        match size {
            Size::Greatest => {
                let name = format!("most-{name}");
                json!({"append": append, "comment": comment, "name": name, "specs": specs, "text": text})
            }
            Size::Beyond => {
                let name = format!("too-many-{name}");
                json!({"append": append, "comment": comment, "name": name, "refused": "size", "text": text})
            }
        }
    })
    .into()
}
