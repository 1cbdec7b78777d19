//! Wraps of the real program, opened with stock age.

use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use waxseal_shared::sealed_secret::SealedSecret;

use crate::registration::{Context, Error, Test, TestResult};
use crate::sealing::{opaque, run};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::blocking("wraps::stock_age_opens_a_hybrid_wrap", |context| opens(context, &[])),
        Test::blocking("wraps::stock_age_opens_a_classic_wrap", |context| opens(context, &["--classic"])),
        Test::blocking("wraps::an_identity_of_stock_age_opens_what_is_sealed_to_it", age_identity),
    ]
}

/// `cut -d. -f1 | base64 -d | age -d -i IDENTITY` gives 32 bytes whose commitment is the envelope's.
fn opens(context: &Context, kind: &[&str]) -> TestResult {
    let folder = tempfile::tempdir_in(context.cluster.folder())?;
    let (identity, keys) = (folder.path().join("identity"), folder.path().join("keys.yaml"));
    let mut generate = Command::new(&context.programs.waxseal);
    let generated = run(generate.env_clear().args(["keys", "generate", "-o"]).arg(&identity).args(kind), "")?;
    std::fs::write(&keys, generated)?;
    let mut seal = Command::new(&context.programs.waxseal);
    seal.env_clear().args(["seal", "--allow-classic", "-n", "shop", "--keys"]).arg(&keys).arg("-");
    let sealed: SealedSecret = serde_json::from_str(&run(&mut seal, &opaque("db", &[("PASSWORD", "hunter2")]))?)?;
    let envelope = sealed.spec.envelopes.values().next().ok_or("no envelope")?;
    let wrap = envelope.wraps.values().next().ok_or("no wrap")?;
    let age_file = BASE64_STANDARD.decode(wrap.split('.').next().ok_or("no age file")?)?;
    let wrap_file = folder.path().join("wrap.age");
    std::fs::write(&wrap_file, age_file)?;
    let opened = Command::new(&context.assets.age).arg("-d").arg("-i").arg(&identity).arg(&wrap_file).output()?;
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    assert_eq!(opened.stdout.len(), 32);
    assert_eq!(envelope.commitment, commitment(&opened.stdout));
    Ok(())
}

/// The commitment as the specification has it, from another implementation of HKDF.
fn commitment(dek: &[u8]) -> String {
    use aws_lc_rs::hkdf;
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(dek);
    let mut commitment = [0; 32];
    let expanded = prk.expand(&[b"waxseal/v1/commitment"], hkdf::HKDF_SHA256);
    expanded.and_then(|okm| okm.fill(&mut commitment)).expect("32 bytes of 8,160");
    BASE64_STANDARD.encode(commitment)
}

fn age_identity(context: &Context) -> TestResult {
    let folder = tempfile::tempdir_in(context.cluster.folder())?;
    let identity = folder.path().join("identity");
    let made = Command::new(&context.assets.age_keygen).args(["-pq", "-o"]).arg(&identity).output()?;
    assert!(made.status.success());
    let recipient =
        String::from_utf8(Command::new(&context.assets.age_keygen).arg("-y").arg(&identity).output()?.stdout)?;
    let mut seal = Command::new(&context.programs.waxseal);
    seal.env_clear().args(["seal", "-n", "shop", "-r", recipient.trim(), "-"]);
    let sealed = run(&mut seal, &opaque("db", &[("PASSWORD", "hunter2")]))?;
    let sealed_file = folder.path().join("sealed.json");
    std::fs::write(&sealed_file, sealed)?;
    let mut open = Command::new(&context.programs.waxseal);
    let opened = run(open.env_clear().arg("open").arg(&sealed_file).arg("--identity").arg(&identity), "")?;
    let opened: serde_json::Value = serde_json::from_str(&opened).map_err(Error::from)?;
    assert_eq!(opened["data"]["PASSWORD"], BASE64_STANDARD.encode("hunter2"));
    Ok(())
}
