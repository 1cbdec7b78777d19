//! What sealing and opening cost, beside RSA-4096-OAEP on the same values, as Sealed Secrets uses it,
//! and beside the bare key agreements of AWS-LC.
//!
//! `cargo bench --package waxseal-shared`. Compare figures of one run only.

use std::hint::black_box;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{DecapsulationKey, ML_KEM_768};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Kem, OpModeR, OpModeS};
use jiff::Timestamp;
use waxseal_shared::format::{Dek, Sealed, Wrap};
use waxseal_shared::key::{Identity, KeyKind};
use waxseal_shared::key_life::HeldKey;
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::manifest;
use waxseal_shared::names::{DataKey, Namespace, ObjectName};
use waxseal_shared::open::open;
use waxseal_shared::randomness;
use waxseal_shared::seal::seal;
use waxseal_shared::sealed_secret::{Scope, SealedSecret};
use waxseal_shared::sealing_key::{KeyRole, KeyState};
use waxseal_shared::secret::{SecretBytes, SecretManifest};

const COUNTS: [usize; 3] = [1, 10, 100];
const KINDS: [(&str, KeyKind); 2] = [("mlkem768x25519", KeyKind::Hybrid), ("x25519", KeyKind::Classic)];
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
const VALUE: &[u8] = b"correct horse battery staple";

fn namespace() -> Namespace {
    Namespace::parse("shop").expect("a namespace")
}

fn secret(values: usize) -> SecretManifest {
    let value = |index| {
        let key = DataKey::parse(&format!("KEY_{index}")).expect("letters and digits");
        (key, SecretBytes::new(VALUE.to_vec()))
    };
    SecretManifest {
        name: ObjectName::parse("db").expect("a name"),
        namespace: None,
        labels: Default::default(),
        annotations: Default::default(),
        type_: None,
        immutable: None,
        data: (0..values).map(value).collect(),
    }
}

fn sealed(identity: &Identity, values: usize) -> SealedSecret {
    let recipients = [identity.recipient().clone()];
    seal(&secret(values), &namespace(), Scope::Strict, &recipients, &mut randomness::system()).expect("a good Secret")
}

fn ring(identity: Identity) -> KeyRing {
    KeyRing::new(vec![HeldKey::new(identity, KeyRole::Cluster, Timestamp::UNIX_EPOCH, KeyState::Active)])
}

fn sealing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    for (name, kind) in KINDS {
        let identity = Identity::generate(kind, &mut randomness::system());
        for values in COUNTS {
            group.bench_function(BenchmarkId::new(name, values), |bencher| bencher.iter(|| sealed(&identity, values)));
        }
    }
    let rsa = Rsa::generate();
    for values in COUNTS {
        group.bench_function(BenchmarkId::new("rsa4096", values), |bencher| {
            bencher.iter(|| (0..values).map(|_| rsa.seal()).collect::<Vec<_>>());
        });
    }
    group.finish();
}

/// Decodes and opens an object, with a key ring that was made before.
fn opening(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for (name, kind) in KINDS {
        let identity = Identity::generate(kind, &mut randomness::system());
        let objects = COUNTS.map(|values| sealed(&identity, values));
        let ring = ring(identity);
        for (values, object) in COUNTS.into_iter().zip(&objects) {
            group.bench_function(BenchmarkId::new(name, values), |bencher| {
                bencher.iter(|| open(&Sealed::decode(object).expect("our own"), &ring).expect("our own"));
            });
        }
    }
    let rsa = Rsa::generate();
    let value = rsa.seal();
    for values in COUNTS {
        group.bench_function(BenchmarkId::new("rsa4096", values), |bencher| {
            bencher.iter(|| (0..values).map(|_| rsa.open(&value)).collect::<Vec<_>>());
        });
    }
    group.finish();
}

/// Makes one wrap; beside it, the HPKE library's own X-Wing, which does a part of this work.
fn wrapping(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wrap");
    let random = &mut randomness::system();
    let dek = Dek::generate(random);
    for (name, kind) in KINDS {
        let identity = Identity::generate(kind, random);
        group.bench_function(name, |bencher| bencher.iter(|| Wrap::seal(identity.recipient(), &dek, random)));
    }
    let (_, public) = XWing::gen_keypair_with_rng(random);
    group.bench_function("hpke x-wing", |bencher| bencher.iter(|| hpke_seal(&public)));
    group.finish();
}

fn hpke_seal(public: &<XWing as Kem>::PublicKey) -> (<XWing as Kem>::EncappedKey, Vec<u8>) {
    hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        public,
        INFO,
        black_box(&[7; 16]),
        &[],
        &mut randomness::system(),
    )
    .expect("a valid key")
}

/// Opens one wrap: with an identity that is parsed and expanded each time ("cold"), and with one that was expanded
/// before. Beside it, the HPKE library's own X-Wing, and the bare key agreements of AWS-LC.
fn unwrapping(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unwrap");
    for (name, kind) in KINDS {
        let identity = Identity::generate(kind, &mut randomness::system());
        let sealed = Sealed::decode(&sealed(&identity, 1)).expect("our own");
        let envelope = sealed.envelopes().values().next().expect("one envelope");
        let wrap = envelope.wraps.values().next().expect("one wrap");
        let text = identity.expose();
        group.bench_function(BenchmarkId::new(name, "cold"), |bencher| {
            bencher.iter(|| wrap.open(&Identity::parse(&text).expect("an identity")).expect("its own"));
        });
        group.bench_function(BenchmarkId::new(name, "expanded"), |bencher| {
            bencher.iter(|| wrap.open(&identity).expect("its own"));
        });
    }
    let (private, public) = XWing::gen_keypair_with_rng(&mut randomness::system());
    let (encapsulation, body) = hpke_seal(&public);
    group.bench_function("hpke x-wing", |bencher| {
        bencher.iter(|| {
            hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
                &OpModeR::Base,
                black_box(&private),
                &encapsulation,
                INFO,
                &body,
                &[],
            )
            .expect("its own")
        });
    });
    let ml_kem = DecapsulationKey::generate(&ML_KEM_768).expect("a key");
    let public = ml_kem.encapsulation_key().expect("a key");
    let (ciphertext, _) = public.encapsulate().expect("a ciphertext");
    let ciphertext = ciphertext.as_ref().to_vec();
    group.bench_function("aws-lc ml-kem-768", |bencher| {
        bencher.iter(|| ml_kem.decapsulate(black_box(ciphertext.as_slice()).into()).expect("its own"));
    });
    let own = agreement::PrivateKey::generate(&X25519).expect("a key");
    let other = agreement::PrivateKey::generate(&X25519).and_then(|key| key.compute_public_key()).expect("a key");
    group.bench_function("aws-lc x25519", |bencher| {
        bencher.iter(|| {
            let peer = UnparsedPublicKey::new(&X25519, black_box(other.as_ref()));
            agreement::agree(&own, peer, (), |secret| Ok(secret.to_vec())).expect("a share")
        });
    });
    group.finish();
}

/// Reads the text of a file, and decodes the SealedSecret in it without a key.
fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    let identity = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
    for values in COUNTS {
        let text = manifest::write_sealed_secret(&sealed(&identity, values), manifest::Format::Yaml);
        group.throughput(criterion::Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::new("manifest", values), |bencher| {
            bencher.iter(|| read(black_box(&text)));
        });
    }
    group.finish();
}

fn read(text: &str) -> Sealed {
    let stream = manifest::split(text).expect("our own");
    let Ok(manifest::DocumentKind::SealedSecret(document)) = stream.documents[0].kind() else {
        panic!("a SealedSecret was written");
    };
    Sealed::decode(&document.read().expect("our own")).expect("our own")
}

/// Encrypts each value as Sealed Secrets does: the value under AES-256-GCM with a session key of its own, and the
/// session key under RSA-4096-OAEP-SHA256.
struct Rsa {
    private: OaepPrivateDecryptingKey,
    public: OaepPublicEncryptingKey,
}

struct RsaSealed {
    session_key: Vec<u8>,
    value: Vec<u8>,
}

impl Rsa {
    fn generate() -> Self {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa4096).expect("a key");
        let public = OaepPublicEncryptingKey::new(private.public_key()).expect("its public half");
        Self { private: OaepPrivateDecryptingKey::new(private).expect("a key"), public }
    }

    fn seal(&self) -> RsaSealed {
        let mut key = [0; 32];
        aws_lc_rs::rand::fill(&mut key).expect("the system's generator");
        let mut session_key = vec![0; self.public.ciphertext_size()];
        self.public.encrypt(&OAEP_SHA256_MGF1SHA256, &key, &mut session_key, None).expect("32 bytes");
        let mut value = VALUE.to_vec();
        aes(&key).seal_in_place_append_tag(nonce(), Aad::empty(), &mut value).expect("a short value");
        RsaSealed { session_key, value }
    }

    fn open(&self, sealed: &RsaSealed) -> Vec<u8> {
        let mut key = vec![0; self.private.min_output_size()];
        let key = self.private.decrypt(&OAEP_SHA256_MGF1SHA256, &sealed.session_key, &mut key, None).expect("its own");
        let mut value = sealed.value.clone();
        aes(key).open_in_place(nonce(), Aad::empty(), &mut value).expect("its own").to_vec()
    }
}

fn aes(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes"))
}

/// Zero, as Sealed Secrets has it: the key is used once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

criterion_group!(benches, sealing, opening, wrapping, unwrapping, reading);
criterion_main!(benches);
