//! Secret manifests that are sealed and materialised by every backend.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// The length of the shortest value that is searched for: a shorter text can appear by chance.
const SHORTEST_TRACE: usize = 8;

/// One Secret manifest; its namespace, if it has one, is `shop`.
pub struct Fixture {
    /// What is special about the Secret, or the name of its file.
    pub name: String,
    /// The manifest.
    pub text: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read the fixtures")]
    Read(#[from] std::io::Error),
    #[error("failed to understand a fixture")]
    Yaml(#[from] serde_saphyr::Error),
}

/// Returns the manifests: some as kubectl prints them, some as people write them.
pub fn secrets() -> Result<Vec<Fixture>, Error> {
    let mut fixtures = by_hand();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"))? {
        let path = entry?.path();
        if path.is_dir() {
            continue;
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        fixtures.push(Fixture { name, text: std::fs::read_to_string(&path)? });
    }
    Ok(fixtures)
}

impl Fixture {
    /// Returns the values, by an independent YAML reader and the rules of the Kubernetes API.
    pub fn values(&self) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let manifest: Value = serde_saphyr::from_str(&self.text)?;
        let fields = |field: &str| manifest[field].as_object().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().expect("a fixture's values are strings").to_owned();
        let mut values = BTreeMap::new();
        for (key, value) in fields("data") {
            let packed: String = text(&value).split_whitespace().collect();
            values.insert(key, BASE64_STANDARD.decode(packed).expect("a fixture's data is base64"));
        }
        values.extend(fields("stringData").into_iter().map(|(key, value)| (key, text(&value).into_bytes())));
        Ok(values)
    }

    /// Fails if a value shows in a sealed manifest, plain or in base64.
    pub fn assert_holds_no_value(&self, sealed: &str) {
        let values = self.values().expect("the fixture was read before");
        assert_eq!(shown_value(sealed, &values), None, "{}: a value shows in the sealed manifest", self.name);
    }
}

/// Returns the data key of the first value that shows in a sealed manifest, plain or in base64. Ignores values of fewer
/// than 8 bytes, which can appear by chance.
pub fn shown_value<'a>(sealed: &str, values: &'a BTreeMap<String, Vec<u8>>) -> Option<&'a str> {
    let shows = |value: &[u8]| {
        // The base64 of the last one or two bytes depends on the bytes after them.
        let packed = BASE64_STANDARD.encode(&value[..value.len() / 3 * 3]);
        sealed.as_bytes().windows(value.len()).any(|window| window == value) || sealed.contains(&packed)
    };
    let mut values = values.iter().filter(|(_, value)| value.len() >= SHORTEST_TRACE);
    values.find(|(_, value)| shows(value)).map(|(key, _)| key.as_str())
}

fn by_hand() -> Vec<Fixture> {
    let fixture = |name: &str, text: String| Fixture { name: name.to_owned(), text };
    vec![
        fixture("data and stringData mixed", MIXED.to_owned()),
        fixture("256 KiB of random bytes", random()),
        fixture("a PEM with CRLF", pem()),
        fixture("strings that look like something else", LOOKALIKES.to_owned()),
        fixture("no data at all", "apiVersion: v1\nkind: Secret\nmetadata: {name: nothing}\n".to_owned()),
    ]
}

const MIXED: &str = "\
apiVersion: v1
kind: Secret
metadata:
  name: mixed
  labels: {team: shop}
stringData:
  BOTH: stringData wins over data
  TEXT: |
    two lines,
    and a final newline
  EMPTY: ''
data:
  BOTH: ZGF0YSBsb3Nlcw==
  BINARY: AAECA/79/v8=
  FOLDED: |
    YSB2YWx1ZSB0aGF0IHNvbWVib2R5
    IHdyYXBwZWQgYnkgaGFuZA==
  NOTHING: ''
";

const LOOKALIKES: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: lookalikes}
stringData:
  EMOJI: '🦭 sealed with wax, not with a kiss'
  NORWAY: 'no'
  MODE: '0777'
  FLOAT: \"1e3\"
  TEMPLATE: '{{ .Values.password }} $(PASSWORD) ${PASSWORD}'
  JSON: '{\"a\": [1, \"two\"]}'
";

fn random() -> String {
    use sha2::{Digest, Sha256};
    let blocks = (0u32..8192).flat_map(|block| Sha256::digest(block.to_be_bytes()));
    let bytes: Vec<u8> = blocks.collect();
    let manifest = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "random"},
        "data": {"bytes": BASE64_STANDARD.encode(bytes)},
    });
    manifest.to_string()
}

fn pem() -> String {
    let pem = "-----BEGIN PRIVATE KEY-----\r\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\r\n-----END PRIVATE KEY-----\r\n";
    let manifest = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pem"}, "stringData": {"key.pem": pem},
    });
    manifest.to_string()
}
