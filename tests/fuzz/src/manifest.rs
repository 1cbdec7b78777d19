use serde_json::Value;
use waxseal_shared::manifest::{
    Document, DocumentKind, Format, ManifestError, Stream, read_keys, read_one, split, write, write_keys,
    write_sealed_secret, write_secret,
};
use waxseal_shared::sealed_secret::SealedSecret;
use waxseal_shared::secret::SecretManifest;

/// Only Secrets among the first documents are replaced: each replacement reads the whole stream again.
const REPLACED: usize = 4;

/// Reads a text as a manifest. The documents together are the text. An object that is written and read again is the
/// same. Replacing a Secret leaves all other documents as they were.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    read_as_data(text);
    read_as_keys(text);
    let Ok(stream) = told(text, split(text)) else {
        return;
    };
    assert!(texts(&stream).concat() == text, "the documents are not the text");
    for (index, document) in stream.documents.iter().enumerate() {
        assert!(&text[document.range()] == document.text(), "the range of a document is wrong");
        let _ = told(text, document.hidden_secret().map_or(Ok(()), Err));
        let Ok(kind) = told(text, document.kind()) else {
            continue;
        };
        if let DocumentKind::Secret(object) = &kind
            && let Ok(secret) = object.read()
            && index < REPLACED
        {
            assert_replaceable(text, &stream, index, &secret);
        }
        judge(text, kind);
    }
}

fn judge(text: &str, kind: DocumentKind) {
    match kind {
        DocumentKind::Empty => {}
        DocumentKind::Other(object) => {
            let _ = told(text, object.near_secret().map_or(Ok(()), Err));
        }
        DocumentKind::List(items) => items.into_iter().for_each(|item| judge(text, item)),
        DocumentKind::Secret(object) => {
            if let Ok(secret) = told(text, object.read()) {
                for warning in object.warnings(&secret) {
                    assert!(!warning.to_string().contains(char::is_control) && warning.place().is_some());
                }
                both_formats(|format| assert_is_secret(&write_secret(&secret, format), &secret));
            }
        }
        DocumentKind::SealedSecret(object) => {
            let _ = told(text, object.check_values());
            if let Ok(sealed) = told(text, object.read()) {
                both_formats(|format| assert_is_sealed_secret(&write_sealed_secret(&sealed, format), &sealed));
            }
        }
    }
}

/// Returns the result. Asserts that an error is one line and names a place in the text.
fn told<T>(text: &str, result: Result<T, ManifestError>) -> Result<T, ManifestError> {
    if let Err(error) = &result {
        let message = error.to_string();
        assert!(!message.is_empty() && !message.contains(char::is_control), "{message:?}");
        assert!(error.hint().is_none_or(|hint| !hint.contains(char::is_control)));
        let (line, column) = error.place().unwrap_or((1, 1));
        let lines = 1 + text.matches(['\n', '\r']).count();
        assert!((1..=lines).contains(&line) && column >= 1, "{line}:{column} of {lines} lines");
    }
    result
}

fn texts<'a>(stream: &Stream<'a>) -> Vec<&'a str> {
    stream.documents.iter().map(Document::text).collect()
}

fn both_formats(assert: impl Fn(Format)) {
    assert(Format::Yaml);
    assert(Format::Json);
}

/// Replaces a document of a stream as `seal --in-place` does, but with a Secret instead of a SealedSecret.
fn assert_replaceable(text: &str, stream: &Stream<'_>, index: usize, secret: &SecretManifest) {
    let document = &stream.documents[index];
    let replaced = document.replaced_by(&write_secret(secret, stream.format));
    let before_and_after = (&text[..document.range().start], &text[document.range().end..]);
    let whole = format!("{}{replaced}{}", before_and_after.0, before_and_after.1);
    let again = split(&whole).expect("a stream with one document replaced");
    assert!(again.format == stream.format, "another format");
    let mut expected = texts(stream);
    expected[index] = &replaced;
    assert!(texts(&again) == expected, "other documents changed: {whole:?}");
    let Ok(DocumentKind::Secret(object)) = again.documents[index].kind() else {
        panic!("no Secret any more: {whole:?}");
    };
    assert_same_secret(&object.read().expect("the Secret that was written"), secret);
}

fn assert_is_secret(written: &str, secret: &SecretManifest) {
    let stream = split(written).expect("what was written");
    let kinds = kinds(&stream);
    let Ok([DocumentKind::Secret(object)]) = kinds.as_deref() else {
        panic!("not one Secret: {written:?}");
    };
    assert_same_secret(&object.read().expect("the Secret that was written"), secret);
}

fn assert_same_secret(a: &SecretManifest, b: &SecretManifest) {
    assert_eq!((&a.name, &a.namespace, &a.labels, &a.annotations), (&b.name, &b.namespace, &b.labels, &b.annotations));
    assert_eq!((&a.type_, a.immutable), (&b.type_, b.immutable));
    assert!(a.data == b.data, "another value");
}

fn assert_is_sealed_secret(written: &str, sealed: &SealedSecret) {
    let stream = split(written).expect("what was written");
    let kinds = kinds(&stream);
    let Ok([DocumentKind::SealedSecret(object)]) = kinds.as_deref() else {
        panic!("not one SealedSecret: {written:?}");
    };
    let again = object.read().expect("the SealedSecret that was written");
    assert_eq!(&again, sealed);
    assert_eq!(write_sealed_secret(&again, stream.format), written);
}

fn kinds<'a>(stream: &Stream<'a>) -> Result<Vec<DocumentKind<'a>>, ManifestError> {
    stream.documents.iter().map(Document::kind).collect()
}

/// Reads the text as one value. If serde_json reads it too, both values are the same.
fn read_as_data(text: &str) {
    let Ok(value) = told(text, read_one::<Value>(text)) else {
        return;
    };
    if has_float(&value) {
        return;
    }
    match serde_json::from_str::<Value>(text) {
        // serde_json reads `-0` as a float; YAML and Kubernetes read it as the integer 0.
        Ok(expected) if !has_float(&expected) => assert_eq!(value, expected),
        _ => {}
    }
    assert_eq!(read_one::<Value>(&write(&value)).as_ref(), Ok(&value));
}

/// Whether the value has a float: readers round floats differently.
fn has_float(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_float),
        Value::Object(fields) => fields.values().any(has_float),
        _ => false,
    }
}

fn read_as_keys(text: &str) {
    if let Ok(keys) = told(text, read_keys(text)) {
        let written = write_keys(&keys);
        assert_eq!(read_keys(&written).as_ref(), Ok(&keys));
    }
}
