//! Objects that fail a check. Each has one fault. Only in a map with too many entries, the entries are wrong too: a
//! reader counts them first.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use waxseal_shared::format::Check;

use super::draft::{Draft, wrap_text};
use super::object_vector::{Append, ObjectVector};
use super::test_key::{HeldIdentity, TestKey};

/// An object with one envelope for one classic key, and two values.
pub(super) struct Base {
    pub(super) draft: Draft,
    pub(super) key: TestKey,
    pub(super) envelope: String,
    pub(super) held: Vec<HeldIdentity>,
    pub(super) object: Value,
}

impl Base {
    pub(super) fn new(vector: &str) -> Self {
        Self::with_scope(vector, "Strict")
    }

    pub(super) fn with_scope(vector: &str, scope: &'static str) -> Self {
        let key = TestKey::classic("cluster");
        let mut draft = Draft::new(vector);
        draft.scope = scope;
        let envelope = draft.envelope("1", &[&key]);
        draft.value(&envelope, "PASSWORD", b"hunter2");
        draft.value(&envelope, "USER", b"admin");
        let (held, object) = (vec![key.held()], draft.object());
        Self { draft, key, envelope, held, object }
    }

    pub(super) fn spec(&mut self) -> &mut Value {
        &mut self.object["spec"]
    }

    pub(super) fn envelope(&mut self) -> &mut Value {
        &mut self.object["spec"]["envelopes"][&self.envelope]
    }

    pub(super) fn wrap(&mut self) -> &mut Value {
        &mut self.object["spec"]["envelopes"][&self.envelope]["wraps"][self.key.id()]
    }

    pub(super) fn token(&mut self) -> &mut Value {
        &mut self.object["spec"]["encryptedData"]["PASSWORD"]
    }

    /// Returns the age file of the wrap.
    pub(super) fn age_file(&self) -> super::age_file::AgeFile {
        self.draft.age_file(&self.envelope, &self.key)
    }

    /// Replaces the wrap by an age file with the right proof.
    pub(super) fn set_file(&mut self, age_file: &[u8]) {
        let proof = super::draft::proof(self.draft.dek(&self.envelope), self.key.id(), age_file);
        *self.wrap() = json!(wrap_text(age_file, &proof));
    }

    /// Makes the object from the draft again.
    pub(super) fn refresh(&mut self) {
        self.object = self.draft.object();
    }

    /// Changes the id of the envelope.
    pub(super) fn rename_envelope(&mut self, id: &str) {
        let old = std::mem::replace(&mut self.envelope, id.to_owned());
        rename(&mut self.object["spec"]["envelopes"], &old, id);
    }

    pub(super) fn refused(self, comment: &'static str, check: Check, at: At) -> ObjectVector {
        let name = self.draft.vector.clone();
        let place = match at {
            At::Object => BTreeMap::new(),
            At::Envelope => BTreeMap::from([("envelope", self.envelope)]),
            At::Wrap => BTreeMap::from([("envelope", self.envelope), ("wrap", self.key.id().to_owned())]),
            At::Value => BTreeMap::from([("dataKey", "PASSWORD".to_owned())]),
            At::DataKey(name) => BTreeMap::from([("dataKey", name.to_owned())]),
        };
        ObjectVector::refused(&name, comment, self.held, self.object, check, place)
    }
}

/// The place of the fault in an object.
#[derive(Clone, Copy)]
pub(super) enum At {
    Object,
    Envelope,
    Wrap,
    /// The value `PASSWORD`.
    Value,
    DataKey(&'static str),
}

pub(super) fn rename(map: &mut Value, from: &str, to: &str) {
    let entries = map.as_object_mut().expect("a map");
    let entry = entries.remove(from).expect("an entry of this name");
    entries.insert(to.to_owned(), entry);
}

/// Name, comment, failed check, place, and the change that makes the fault.
type Case = (&'static str, &'static str, Check, At, fn(&mut Base));

/// Name, comment, failed check, and the text in place of the commitment.
type CommitmentCase = (&'static str, &'static str, Check, fn(&[u8]) -> String);

/// Name, comment, scope, and the change that makes the fault.
type ScopedCase = (&'static str, &'static str, &'static str, fn(&mut Base));

pub(super) fn from_cases(cases: &[Case]) -> Vec<ObjectVector> {
    let vector = |&(name, comment, check, at, change): &Case| {
        let mut base = Base::new(name);
        change(&mut base);
        base.refused(comment, check, at)
    };
    cases.iter().map(vector).collect()
}

pub(super) fn objects() -> Vec<ObjectVector> {
    use Check::{DataKeyCount, EnvelopeCount};
    from_cases(&[
        ("data-keys-257", "counted before anything is looked at", DataKeyCount, At::Object, |base| {
            let values: BTreeMap<_, _> = (0..257).map(|number| (format!("K{number}"), "")).collect();
            base.spec()["encryptedData"] = json!(values);
        }),
        ("envelopes-65", "counted before anything is looked at", EnvelopeCount, At::Object, |base| {
            let empty = json!({"commitment": "", "wraps": {}});
            let envelopes: BTreeMap<_, _> = (0..65).map(|number| (format!("e{number:010}"), &empty)).collect();
            base.spec()["envelopes"] = json!(envelopes);
        }),
    ])
}

pub(super) fn envelopes() -> Vec<ObjectVector> {
    use Check::{CommitmentEncoding, CommitmentForeign, CommitmentLength, WrapCount, WrapsEmpty};
    let commitment = |base: &mut Base, change: fn(&[u8]) -> String| {
        let bytes = super::draft::commitment(base.draft.dek(&base.envelope));
        base.envelope()["commitment"] = json!(change(&bytes));
    };
    let mut vectors = from_cases(&[
        ("commitment-of-another", "the id belongs to another commitment", CommitmentForeign, At::Envelope, |base| {
            base.rename_envelope("e0123456789");
        }),
        ("no-wraps", "an envelope that nobody can open", WrapsEmpty, At::Envelope, |base| {
            base.envelope()["wraps"] = json!({});
        }),
        ("wraps-17", "counted before they are looked at", WrapCount, At::Envelope, |base| {
            let wraps: BTreeMap<_, _> = (0..17).map(|number| (format!("k{number:016}"), "")).collect();
            base.envelope()["wraps"] = json!(wraps);
        }),
    ]);
    let cases: [CommitmentCase; 8] = [
        ("commitment-unpadded", "no =", CommitmentEncoding, |bytes| BASE64_STANDARD.encode(bytes).replace('=', "")),
        ("commitment-with-line-break", "a line break", CommitmentEncoding, |bytes| {
            BASE64_STANDARD.encode(bytes) + "\n"
        }),
        ("commitment-unused-bits", "an unused bit is set", CommitmentEncoding, |bytes| {
            let last = BASE64_STANDARD.encode([bytes[30], bytes[31]]);
            let other = char::from(last.as_bytes()[2] + 1);
            format!("{}{}{other}=", BASE64_STANDARD.encode(&bytes[..30]), &last[..2])
        }),
        ("commitment-url-alphabet", "the other alphabet", CommitmentEncoding, |_| "_".repeat(42) + "8="),
        ("commitment-not-base64", "a character of neither alphabet", CommitmentEncoding, |_| "*".repeat(44)),
        ("commitment-31-bytes", "one byte less", CommitmentLength, |bytes| BASE64_STANDARD.encode(&bytes[..31])),
        ("commitment-33-bytes", "one byte more", CommitmentLength, |bytes| {
            BASE64_STANDARD.encode([bytes, &[0]].concat())
        }),
        ("commitment-empty", "no byte", CommitmentLength, |_| String::new()),
    ];
    for (name, comment, check, change) in cases {
        let mut base = Base::new(name);
        commitment(&mut base, change);
        vectors.push(base.refused(comment, check, At::Envelope));
    }
    vectors.push(mixed());
    vectors
}

fn mixed() -> ObjectVector {
    let mut base = Base::new("wraps-of-both-kinds");
    let hybrid = TestKey::hybrid("hybrid cluster");
    let file = base.draft.age_file(&base.envelope, &hybrid).to_bytes();
    base.draft.set_wrap(&base.envelope.clone(), hybrid.id(), &file);
    base.refresh();
    base.refused("one wrap is hybrid, one classic", Check::WrapsMixed, At::Envelope)
}

pub(super) fn bound_to() -> Vec<ObjectVector> {
    let cases: [ScopedCase; 12] = [
        ("moved-to-another-name", "the object was renamed", "Strict", |base| {
            base.object["metadata"]["name"] = json!("db2");
        }),
        ("moved-to-another-namespace", "the object stands elsewhere", "Strict", |base| {
            base.object["metadata"]["namespace"] = json!("web");
        }),
        ("namespace-scope-moved", "the object stands elsewhere", "Namespace", |base| {
            base.object["metadata"]["namespace"] = json!("web");
        }),
        ("bound-to-absent", "Strict without boundTo", "Strict", |base| {
            let envelope = base.envelope().as_object_mut().expect("a map");
            envelope.remove("boundTo");
        }),
        ("bound-to-without-name", "Strict with the namespace alone", "Strict", |base| {
            base.envelope()["boundTo"] = json!({"namespace": "shop"});
        }),
        ("bound-to-too-much", "Namespace with a name", "Namespace", |base| {
            base.envelope()["boundTo"] = json!({"name": "db", "namespace": "shop"});
        }),
        ("cluster-scope-bound-to", "Cluster with a namespace", "Cluster", |base| {
            base.envelope()["boundTo"] = json!({"namespace": "shop"});
        }),
        ("bound-to-empty-name", "an empty name is not an absent one", "Namespace", |base| {
            base.envelope()["boundTo"] = json!({"name": "", "namespace": "shop"});
        }),
        ("bound-to-empty-namespace", "an empty namespace is not an absent one", "Cluster", |base| {
            base.envelope()["boundTo"] = json!({"namespace": ""});
        }),
        ("bound-to-null-name", "null is an absent name", "Strict", |base| {
            base.envelope()["boundTo"] = json!({"name": null, "namespace": "shop"});
        }),
        ("scope-widened", "the scope alone was edited", "Strict", |base| base.spec()["scope"] = json!("Namespace")),
        ("bound-to-no-name-at-all", "boundTo with texts that are not valid names", "Strict", |base| {
            base.envelope()["boundTo"] = json!({"name": "Not a Name", "namespace": ""});
        }),
    ];
    let vector = |(name, comment, scope, change): ScopedCase| {
        let mut base = Base::with_scope(name, scope);
        change(&mut base);
        base.refused(comment, Check::BoundTo, At::Envelope)
    };
    cases.map(vector).into()
}

pub(super) fn values() -> Vec<ObjectVector> {
    use Check::{TokenEncoding, TokenEnvelope, TokenLength, TokenParts, TokenVersion};
    fn token(base: &mut Base, bytes: usize) {
        let body = BASE64_URL_SAFE_NO_PAD.encode(vec![0; bytes]);
        *base.token() = json!(format!("wax1.{}.{body}", base.envelope));
    }
    fn edited(base: &mut Base, edit: impl FnOnce(&str) -> String) {
        let text = base.token().as_str().map(edit);
        *base.token() = json!(text);
    }
    let mut vectors = from_cases(&[
        ("token-of-version-2", "a later version", TokenVersion, At::Value, |base| {
            edited(base, |token| token.replace("wax1.", "wax2."));
        }),
        ("token-upper-case", "the prefix in another case", TokenVersion, At::Value, |base| {
            edited(base, |token| token.replace("wax1.", "WAX1."));
        }),
        ("token-plain", "a value that was never sealed", TokenVersion, At::Value, |base| {
            *base.token() = json!("hunter2");
        }),
        ("token-empty", "no text", TokenVersion, At::Value, |base| *base.token() = json!("")),
        ("token-without-third-part", "one dot", TokenParts, At::Value, |base| {
            *base.token() = json!(format!("wax1.{}", base.envelope));
        }),
        ("token-with-fourth-part", "a third dot is no base64url", TokenEncoding, At::Value, |base| {
            edited(base, |token| format!("{token}.AA"));
        }),
        ("token-padded", "a = at the end", TokenEncoding, At::Value, |base| edited(base, |token| format!("{token}="))),
        ("token-with-line-break", "a line break at the end", TokenEncoding, At::Value, |base| {
            edited(base, |token| format!("{token}\n"));
        }),
        ("token-standard-alphabet", "the other alphabet", TokenEncoding, At::Value, |base| {
            edited(base, |token| format!("{}++", &token[..token.len() - 2]));
        }),
        ("token-body-empty", "nothing after the second dot", TokenLength, At::Value, |base| token(base, 0)),
        ("token-of-32-bytes", "salt and tag alone", TokenLength, At::Value, |base| token(base, 32)),
        ("token-of-287-bytes", "a ciphertext of 255 bytes", TokenLength, At::Value, |base| token(base, 287)),
        ("token-of-289-bytes", "a ciphertext of 257 bytes", TokenLength, At::Value, |base| token(base, 289)),
        ("token-between-lengths", "a ciphertext of 1,056 bytes", TokenLength, At::Value, |base| token(base, 1088)),
        ("token-without-envelope", "the envelope is not there", TokenEnvelope, At::Value, |base| {
            edited(base, |token| format!("wax1.e0123456789{}", &token[16..]));
        }),
    ]);
    let with_more_characters = |name: &str, comment, more: &str| {
        let mut base = Base::new(name);
        // 303 bytes are exactly 404 characters.
        let body = BASE64_URL_SAFE_NO_PAD.encode(vec![0; 303]) + more;
        *base.token() = json!(format!("wax1.{}.{body}", base.envelope));
        base.refused(comment, TokenEncoding, At::Value)
    };
    // 405 characters do not encode whole bytes. The name says something else, and names of vectors never change.
    vectors.push(with_more_characters("token-unused-bits", "one character more than whole bytes need", "B"));
    // 406 characters encode 304 bytes, which is a possible length (p = 272), and leave four bits unused.
    let comment = "the unused bits of the last character are not zero";
    vectors.push(with_more_characters("token-unused-bits-not-zero", comment, "AB"));
    let too_long = {
        let mut base = Base::new("token-too-long");
        *base.token() = json!(format!("wax1.{}.", base.envelope));
        let at = ["spec", "encryptedData", "PASSWORD"].map(str::to_owned).to_vec();
        let vector = base.refused("one character more than 1 MiB takes", Check::TokenSize, At::Value);
        vector.appending(Append { at, text: "A".to_owned(), times: 1_441_836 })
    };
    vectors.push(too_long);
    vectors
}

pub(super) fn templates() -> Vec<ObjectVector> {
    use Check::{TemplateOwnMetadata, TemplateReplicator, TemplateType};
    fn annotated(base: &mut Base, name: &str) {
        base.spec()["template"] = json!({"metadata": {"annotations": {name: ""}}});
    }
    from_cases(&[
        ("type-service-account-token", "it gives rights", TemplateType, At::Object, |base| {
            base.spec()["template"] = json!({"type": "kubernetes.io/service-account-token"});
        }),
        ("type-bootstrap-token", "it gives rights", TemplateType, At::Object, |base| {
            base.spec()["template"] = json!({"type": "bootstrap.kubernetes.io/token"});
        }),
        ("type-sealing-key", "it would plant a key", TemplateType, At::Object, |base| {
            base.spec()["template"] = json!({"type": "waxseal.dev/sealing-key"});
        }),
        ("own-label", "a label of Waxseal's own", TemplateOwnMetadata, At::Object, |base| {
            base.spec()["template"] = json!({"metadata": {"labels": {"waxseal.dev/secret": "owned"}}});
        }),
        ("own-annotation", "an annotation of Waxseal's own", TemplateOwnMetadata, At::Object, |base| {
            annotated(base, "waxseal.dev/x");
        }),
        ("replicator-reflector", "would be copied", TemplateReplicator, At::Object, |base| {
            annotated(base, "reflector.v1.k8s.emberstack.com/reflection-allowed");
        }),
        ("replicator-mittwald", "would be copied", TemplateReplicator, At::Object, |base| {
            annotated(base, "replicator.v1.mittwald.de/replicate-to");
        }),
        ("replicator-kubed", "would be copied", TemplateReplicator, At::Object, |base| {
            annotated(base, "kubed.appscode.com/sync");
        }),
        ("replicator-open-cluster-management", "would be copied", TemplateReplicator, At::Object, |base| {
            annotated(base, "cluster.open-cluster-management.io/backup");
        }),
        ("replicator-hierarchical-namespaces", "would be copied", TemplateReplicator, At::Object, |base| {
            annotated(base, "propagate.hnc.x-k8s.io/all");
        }),
        ("replicator-nadundesilva", "would be copied", TemplateReplicator, At::Object, |base| {
            annotated(base, "replicator.nadundesilva.github.io/object-type");
        }),
        ("replicator-rancher", "would be copied", TemplateReplicator, At::Object, |base| {
            annotated(base, "management.cattle.io/project-scoped-secret");
        }),
    ])
}
