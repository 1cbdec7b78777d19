//! Names that Kubernetes and the format give to things, each in its canonical form.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::{Check, Fault};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $valid:path, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes a text that is already in canonical form; refuses every other.
            pub fn parse(text: &str) -> Result<Self, Fault> {
                if $valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(Check::$check.into())
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Fault;

            fn try_from(text: String) -> Result<Self, Fault> {
                Self::parse(&text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A Kubernetes namespace: a DNS label (RFC 1123 §2.1), 1 to 63 bytes.
    Namespace,
    is_dns_label,
    ObjectNamespace
);

name!(
    /// The name of a Secret or SealedSecret: a DNS subdomain (RFC 1123 §2.1), 1 to 253 bytes.
    ObjectName,
    is_dns_subdomain,
    ObjectName
);

name!(
    /// A key of a Secret's data: `[-._a-zA-Z0-9]{1,253}`, not `.` and not beginning with `..`.
    DataKey,
    is_data_key,
    DataKey
);

name!(
    /// The short name of a recipient: `k` and 16 lower-case hex digits.
    ///
    /// A name, never a proof: to trust a key, compare the whole recipient.
    KeyId,
    is_key_id,
    KeyId
);

name!(
    /// The name of an envelope within its object: `e` and 10 lower-case hex digits.
    EnvelopeId,
    is_envelope_id,
    EnvelopeId
);

fn is_lower_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_dns_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    is_lower_alphanumeric(*first)
        && is_lower_alphanumeric(*last)
        && bytes.iter().all(|&b| is_lower_alphanumeric(b) || b == b'-')
}

fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_part(text)
}

fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_part)
}

fn is_data_key(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text != "."
        && !text.starts_with("..")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Whether a text can be the key of a label: a name, perhaps behind a DNS subdomain and `/`
/// (`IsLabelKey` in `k8s.io/apimachinery/pkg/api/validate/content`).
pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && !name.is_empty() && is_label_value(name),
        None => !text.is_empty() && is_label_value(text),
    }
}

/// Whether a text can be the value of a label (`IsLabelValue` in the same package).
pub(crate) fn is_label_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    text.len() <= 63
        && ends.iter().flatten().all(|byte| byte.is_ascii_alphanumeric())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_lower_hex(text: &str, prefix: char, digits: usize) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|hex| hex.len() == digits && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn is_key_id(text: &str) -> bool {
    is_lower_hex(text, 'k', 16)
}

fn is_envelope_id(text: &str) -> bool {
    is_lower_hex(text, 'e', 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_dns_labels() {
        for good in ["a", "shop", "kube-system", "0", &"x".repeat(63)] {
            assert!(Namespace::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "..", "a\n", &"x".repeat(64)] {
            assert!(Namespace::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn object_names_are_dns_subdomains() {
        for good in ["a", "db.shop", "a-b.c-d", &"x".repeat(253)] {
            assert!(ObjectName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "a..b", "a.", ".a", "a_b", "../x", "a\0", &"x".repeat(254)] {
            assert!(ObjectName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn data_keys_are_safe_as_file_names() {
        for good in ["a", ".dockerconfigjson", "tls.crt", "A_B-c.d", "a..b", &"x".repeat(253)] {
            assert!(DataKey::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "..data", "a/b", "a b", "é", "a\n", &"x".repeat(254)] {
            assert!(DataKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn label_keys_and_values_are_those_of_kubernetes() {
        for good in
            ["app", "A.b_c-D", "0", "example.com/team", "a.b-c/x", &"x".repeat(63), &format!("a/{}", "x".repeat(63))]
        {
            assert!(is_label_key(good), "{good}");
        }
        for bad in ["", "/x", "a/", "a/b/c", "A.com/x", "a_b/x", "-x", "x.", "a b", "é", "x\n", &"x".repeat(64)] {
            assert!(!is_label_key(bad), "{bad}");
        }
        assert!(!is_label_key(&format!("{}/x", "a".repeat(254))));
        for good in ["", "a", "A.b_c-D", "1", &"x".repeat(63)] {
            assert!(is_label_value(good), "{good}");
        }
        for bad in ["-", "a-", "_a", "a b", "a/b", "a:b", "é", &"x".repeat(64)] {
            assert!(!is_label_value(bad), "{bad}");
        }
    }

    #[test]
    fn ids_are_lower_case_hex_of_one_length() {
        assert!(KeyId::parse("k2f41ab09c3d4e5f6").is_ok());
        assert!(EnvelopeId::parse("e7f3a9c21e0").is_ok());
        for bad in ["", "k", "k2F41ab09c3d4e5f6", "e2f41ab09c3d4e5f6", "k2f41ab09c3d4e5f", "k2f41ab09c3d4e5f60"] {
            assert!(KeyId::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "e", "e7F3a9c21e0", "k7f3a9c21e0", "e7f3a9c21e", "e7f3a9c21e00"] {
            assert!(EnvelopeId::parse(bad).is_err(), "{bad}");
        }
    }
}
