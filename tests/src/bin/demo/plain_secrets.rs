//! The Secrets of a small shop.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::stage::Result;

/// The values of each Secret, by its name.
pub(crate) type Values = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

pub(crate) struct PlainSecret {
    name: &'static str,
    type_: &'static str,
    values: Vec<(&'static str, String)>,
}

/// A database login, a token, a certificate with its key and a pull secret.
pub(crate) fn of_a_shop(password: &str) -> Result<Vec<PlainSecret>> {
    let certificate = rcgen::generate_simple_self_signed(vec!["shop.example.test".to_owned()])?;
    let url = format!("postgres://shop:{password}@db.shop.svc:5432/orders?sslmode=verify-full");
    let login = BASE64_STANDARD.encode("robot:pull-only-2f9c1d7e");
    let docker = format!(r#"{{"auths":{{"registry.example.test":{{"auth":"{login}"}}}}}}"#);
    Ok(vec![
        PlainSecret {
            name: "database",
            type_: "Opaque",
            values: vec![("PASSWORD", password.to_owned()), ("URL", url), ("USER", "shop-orders".to_owned())],
        },
        PlainSecret {
            name: "payments",
            type_: "Opaque",
            values: vec![("API_TOKEN", "pay-example-8Zq2xW7nLr4TfK1c".to_owned())],
        },
        PlainSecret {
            name: "shop-tls",
            type_: "kubernetes.io/tls",
            values: vec![("tls.crt", certificate.cert.pem()), ("tls.key", certificate.signing_key.serialize_pem())],
        },
        PlainSecret {
            name: "registry",
            type_: "kubernetes.io/dockerconfigjson",
            values: vec![(".dockerconfigjson", docker)],
        },
    ])
}

/// Returns a file with all Secrets, and a ConfigMap, which must stay as it is.
pub(crate) fn manifests(secrets: &[PlainSecret]) -> Result<String> {
    let mut text = String::from(CONFIG_MAP);
    for PlainSecret { name, type_, values } in secrets {
        write!(
            text,
            "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n  namespace: shop\n  labels:\n    app: shop\n"
        )?;
        write!(text, "type: {type_}\nstringData:\n")?;
        for (key, value) in values {
            match value.contains('\n') {
                true => {
                    writeln!(text, "  {key}: |")?;
                    value.lines().try_for_each(|line| writeln!(text, "    {line}"))?;
                }
                false => writeln!(text, "  {key}: '{value}'")?,
            }
        }
    }
    Ok(text)
}

/// Returns the values that the Secrets must have in the end.
pub(crate) fn values(secrets: &[PlainSecret]) -> Values {
    let bytes = |(key, value): &(&str, String)| ((*key).to_owned(), value.replace("\r\n", "\n").into_bytes());
    secrets.iter().map(|secret| (secret.name.to_owned(), secret.values.iter().map(bytes).collect())).collect()
}

/// Finds a value in a text, plain or in base64; returns its Secret and its key.
pub(crate) fn shown_in<'a>(text: &str, values: &'a Values) -> Option<(&'a str, &'a str)> {
    let shows = |value: &[u8]| {
        let plain = String::from_utf8_lossy(value);
        let packed = BASE64_STANDARD.encode(value);
        text.contains(plain.trim_end()) || text.contains(packed.trim_end_matches('='))
    };
    let all = values.iter().flat_map(|(secret, values)| values.iter().map(move |(key, value)| (secret, key, value)));
    all.filter(|(_, _, value)| shows(value)).map(|(secret, key, _)| (secret.as_str(), key.as_str())).next()
}

const CONFIG_MAP: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: shop
  namespace: shop
data:
  LOG_LEVEL: info
";
