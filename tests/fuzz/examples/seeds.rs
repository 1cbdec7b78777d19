//! Makes the seeds anew, except those of `manifest`: seals the objects of `seeds/object`, and derives the other seeds
//! from them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use waxseal_fuzz::{held, seeds, value};
use waxseal_shared::key::{Identity, KeyKind, Recipient};
use waxseal_shared::names::{DataKey, Namespace, ObjectName};
use waxseal_shared::randomness;
use waxseal_shared::seal::seal;
use waxseal_shared::sealed_secret::{Scope, SealedSecret};
use waxseal_shared::secret::{SecretBytes, SecretManifest};

const NAMESPACE: &str = "shop";

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for ((target, name), bytes) in seeds::derived(&objects()) {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

/// The objects in the order of `TEXTS` in `genuine.rs`.
fn objects() -> Vec<SealedSecret> {
    let [primary, older, classic, revoked] = recipients();
    let recovery = Identity::generate(KeyKind::Hybrid, &mut randomness::system()).recipient().clone();
    let mut namespace = secret("namespace", Scope::Namespace, &["LARGE_FILE", "TOKEN"]);
    (namespace.type_, namespace.immutable) = (Some("example.com/token".to_owned()), Some(true));
    vec![
        sealed(&secret("strict", Scope::Strict, &["PASSWORD", "USER"]), Scope::Strict, &[&primary, &recovery]),
        sealed(&namespace, Scope::Namespace, &[&classic]),
        sealed(&secret("cluster", Scope::Cluster, &["KEY"]), Scope::Cluster, &[&primary]),
        two_envelopes(&classic),
        sealed(&secret("two-keys", Scope::Strict, &["PASSWORD"]), Scope::Strict, &[&primary, &older, &recovery]),
        sealed(&secret("revoked", Scope::Strict, &["PASSWORD"]), Scope::Strict, &[&revoked]),
    ]
}

fn recipients() -> [Recipient; 4] {
    let recipients: Vec<_> = held().into_iter().map(|key| key.published().recipient.clone()).collect();
    recipients.try_into().expect("as many keys as `held` returns")
}

fn two_envelopes(recipient: &Recipient) -> SealedSecret {
    let name = "two-envelopes";
    let mut object = sealed(&secret(name, Scope::Strict, &["PASSWORD"]), Scope::Strict, &[recipient]);
    let other = sealed(&secret(name, Scope::Strict, &["USER"]), Scope::Strict, &[recipient]);
    object.spec.envelopes.extend(other.spec.envelopes);
    object.spec.encrypted_data.extend(other.spec.encrypted_data);
    object
}

fn secret(name: &str, scope: Scope, keys: &[&str]) -> SecretManifest {
    let entry =
        |key: &&str| (DataKey::parse(key).expect("a data key"), SecretBytes::new(value(scope, NAMESPACE, name, key)));
    SecretManifest {
        name: ObjectName::parse(name).expect("a name"),
        namespace: None,
        labels: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
        annotations: BTreeMap::new(),
        type_: None,
        immutable: None,
        data: keys.iter().map(entry).collect(),
    }
}

fn sealed(secret: &SecretManifest, scope: Scope, recipients: &[&Recipient]) -> SealedSecret {
    let namespace = Namespace::parse(NAMESPACE).expect("a namespace");
    let recipients: Vec<_> = recipients.iter().map(|recipient| (*recipient).clone()).collect();
    seal(secret, &namespace, scope, &recipients, &mut randomness::system()).expect("what can be sealed")
}
