//! Wraps and identity files, exchanged with other implementations of age in both directions, and broken wraps.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use tempfile::TempDir;
use waxseal_shared::key::{Identity, KeyKind};
use waxseal_shared::randomness;
use waxseal_shared::sealed_secret::SealedSecret;

use crate::peers::{Peer, commitment, filter, wrap};
use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{condition, create, judged, opaque, replace_spec, run, with_reason};

const HYBRID: &[&str] = &[];
const CLASSIC: &[&str] = &["--classic"];

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::blocking("wraps::stock_age_opens_a_hybrid_wrap", |context| opens(context, Peer::Age, HYBRID)),
        Test::blocking("wraps::stock_age_opens_a_classic_wrap", |context| opens(context, Peer::Age, CLASSIC)),
        Test::blocking("wraps::typage_opens_a_hybrid_wrap", |context| opens(context, Peer::Typage, HYBRID)),
        Test::blocking("wraps::typage_opens_a_classic_wrap", |context| opens(context, Peer::Typage, CLASSIC)),
        Test::blocking("wraps::a_hybrid_wrap_of_stock_age_opens", |context| wraps(context, Peer::Age, HYBRID)),
        Test::blocking("wraps::a_classic_wrap_of_stock_age_opens", |context| wraps(context, Peer::Age, CLASSIC)),
        Test::blocking("wraps::a_hybrid_wrap_of_typage_opens", |context| wraps(context, Peer::Typage, HYBRID)),
        Test::blocking("wraps::a_classic_wrap_of_typage_opens", |context| wraps(context, Peer::Typage, CLASSIC)),
        Test::blocking("wraps::a_hybrid_identity_of_age_keygen_opens", |context| age_keygen(context, &["-pq"])),
        Test::blocking("wraps::a_classic_identity_of_age_keygen_opens", |context| age_keygen(context, &[])),
        Test::blocking("wraps::an_identity_that_stock_age_protects_opens", |context| protected(context, Peer::Age)),
        Test::blocking("wraps::an_identity_that_typage_protects_opens", |context| protected(context, Peer::Typage)),
        Test::new("wraps::a_broken_wrap_of_another_key_makes_key_current_false", broken),
    ]
}

/// A folder with an identity, and a SealedSecret that is sealed to this identity.
struct Sealed {
    folder: TempDir,
    identity: PathBuf,
    recipient: String,
    object: SealedSecret,
}

impl Sealed {
    /// Uses an identity that `waxseal keys generate` makes.
    fn new(context: &Context, kind: &[&str]) -> Result<Self, Error> {
        Self::with(context, |identity| {
            let mut generate = Command::new(&context.programs.waxseal);
            run(generate.env_clear().args(["keys", "generate", "-o"]).arg(identity).args(kind), "").map(drop)
        })
    }

    /// Uses an identity that age-keygen makes.
    fn with_age_keygen(context: &Context, kind: &[&str]) -> Result<Self, Error> {
        Self::with(context, |identity| {
            let made = Command::new(&context.assets.age_keygen).args(kind).arg("-o").arg(identity).output()?;
            if made.status.success() { Ok(()) } else { Err("age-keygen fails".into()) }
        })
    }

    fn with(context: &Context, make: impl FnOnce(&Path) -> Result<(), Error>) -> Result<Self, Error> {
        let folder = tempfile::tempdir_in(context.cluster.folder())?;
        let identity = folder.path().join("identity");
        make(&identity)?;
        let recipient = filter(Command::new(&context.assets.age_keygen).arg("-y").arg(&identity), b"")?;
        let recipient = String::from_utf8(recipient)?.trim_end().to_owned();
        let mut seal = Command::new(&context.programs.waxseal);
        seal.env_clear().args(["seal", "--allow-classic", "-n", "shop", "-r", &recipient, "-"]);
        let object = serde_json::from_str(&run(&mut seal, &opaque("db", &[("PASSWORD", "hunter2")]))?)?;
        Ok(Self { folder, identity, recipient, object })
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the commitment, and the wrap with its key id.
    fn only_wrap(&mut self) -> Result<(&str, &str, &mut String), Error> {
        let envelope = self.object.spec.envelopes.values_mut().next().ok_or("no envelope")?;
        let (key_id, wrap) = envelope.wraps.iter_mut().next().ok_or("no wrap")?;
        Ok((&envelope.commitment, key_id, wrap))
    }

    /// Decrypts the DEK with another implementation, and compares it with the commitment.
    fn dek(&mut self, context: &Context, peer: Peer) -> Result<Vec<u8>, Error> {
        let identity = self.identity.clone();
        let (expected, _, wrap) = self.only_wrap()?;
        let age_file = BASE64_STANDARD.decode(wrap.split('.').next().ok_or("no age file")?)?;
        let dek = peer.decrypt(context, &identity, &age_file)?;
        assert_eq!((dek.len(), commitment(&dek).as_str()), (32, expected));
        Ok(dek)
    }

    /// Opens the object with the real program, which must not warn about a wrap.
    fn assert_opens(&self, context: &Context, arguments: &[&str]) -> TestResult {
        let mut open = Command::new(&context.programs.waxseal);
        open.env_clear().args(["open", "-", "--identity"]).arg(&self.identity).args(arguments);
        let opened = filter(&mut open, serde_json::to_string(&self.object)?.as_bytes())?;
        let opened: serde_json::Value = serde_json::from_slice(&opened)?;
        assert_eq!(opened["data"]["PASSWORD"], BASE64_STANDARD.encode("hunter2"));
        Ok(())
    }
}

fn opens(context: &Context, peer: Peer, kind: &[&str]) -> TestResult {
    Sealed::new(context, kind)?.dek(context, peer).map(drop)
}

/// The controller does not hold the identity of the other key, as with a recovery key.
async fn broken(context: &Context) -> TestResult {
    let namespace = context.cluster.namespace("broken-wrap").await?;
    let other = Identity::generate(KeyKind::Hybrid, &mut randomness::system());
    let (other_id, recipient) = (other.recipient().key_id().as_str(), other.recipient().as_str());
    let arguments = ["-n", namespace.name(), "-r", recipient];
    let good: SealedSecret =
        serde_json::from_str(&context.seal_text(&opaque("db", &[("PASSWORD", "hunter2")]), &arguments)?)?;
    create(&namespace, &good).await?;
    let object = with_reason(&namespace, "db", "Materialised").await?;
    assert_eq!(condition(&object, "KeyCurrent"), None);
    let written = namespace.api::<Secret>().get("db").await?.resource_version();

    let mut broken = good.clone();
    let (envelope, spec) = broken.spec.envelopes.iter_mut().next().ok_or("no envelope")?;
    let wrap = spec.wraps.get_mut(other_id).ok_or("no wrap for the other key")?;
    let (age_file, _) = wrap.split_once('.').ok_or("no proof")?;
    *wrap = format!("{age_file}.{}", "A".repeat(22));
    let message = format!("envelope {envelope}: the wrap for {other_id} is broken");
    replace_spec(&namespace, &broken).await?;
    let object = judged(&namespace, "db").await?;
    let reason = |type_| condition(&object, type_).map(|(status, reason, _)| (status, reason));
    let expected = |status: &str, reason: &str| Some((status.to_owned(), reason.to_owned()));
    assert_eq!(reason("Ready"), expected("True", "Materialised"));
    assert_eq!(reason("KeyCurrent"), expected("False", "WrapBroken"));
    assert_eq!(condition(&object, "KeyCurrent").map(|(.., message)| message), Some(message));

    replace_spec(&namespace, &good).await?;
    assert_eq!(condition(&judged(&namespace, "db").await?, "KeyCurrent"), None);
    assert_eq!(namespace.api::<Secret>().get("db").await?.resource_version(), written);
    Ok(())
}

/// Wraps the DEK with another implementation, and adds the proof of the format.
fn wraps(context: &Context, peer: Peer, kind: &[&str]) -> TestResult {
    let mut sealed = Sealed::new(context, kind)?;
    let dek = sealed.dek(context, Peer::Age)?;
    let age_file = peer.encrypt(context, &sealed.recipient, &dek)?;
    let (_, key_id, place) = sealed.only_wrap()?;
    *place = wrap(&dek, key_id, &age_file);
    sealed.assert_opens(context, &[])
}

fn age_keygen(context: &Context, kind: &[&str]) -> TestResult {
    let sealed = Sealed::with_age_keygen(context, kind)?;
    sealed.assert_opens(context, &[])?;
    let mut public = Command::new(&context.programs.waxseal);
    let public = run(public.env_clear().args(["keys", "public", "--identity"]).arg(&sealed.identity), "")?;
    assert!(public.contains(&format!("recipient: {}\n", sealed.recipient)), "{public}");
    Ok(())
}

fn protected(context: &Context, peer: Peer) -> TestResult {
    const PASSPHRASE: &str = "correct horse battery staple";
    let sealed = Sealed::with_age_keygen(context, &["-pq"])?;
    let identity = std::fs::read(&sealed.identity)?;
    std::fs::write(&sealed.identity, peer.protect(context, PASSPHRASE, &identity)?)?;
    let passphrase = sealed.folder().join("passphrase");
    std::fs::write(&passphrase, PASSPHRASE)?;
    sealed.assert_opens(context, &["--passphrase-file", passphrase.to_str().ok_or("a path in UTF-8")?])
}
