//! Other implementations of age, and the format's additions to an age file, computed with another library than
//! Waxseal's.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use aws_lc_rs::hkdf;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::registration::{Context, Error};

/// An implementation of age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The original implementation, in Go.
    Age,
    /// The implementation in TypeScript.
    Typage,
}

impl Peer {
    /// Encrypts a payload for one recipient.
    pub(crate) fn encrypt(self, context: &Context, recipient: &str, payload: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Age => filter(Command::new(&context.assets.age).args(["-r", recipient]), payload),
            Self::Typage => filter(context.typage.command().args(["encrypt", recipient]), payload),
        }
    }

    /// Decrypts a file.
    pub(crate) fn decrypt(self, context: &Context, identity: &Path, file: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Age => filter(Command::new(&context.assets.age).arg("-d").arg("-i").arg(identity), file),
            Self::Typage => filter(context.typage.command().arg("decrypt").arg(identity), file),
        }
    }

    /// Encrypts a payload for a passphrase. The file is binary from age, and armoured from typage.
    pub(crate) fn protect(self, context: &Context, passphrase: &str, payload: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Age => {
                let plugins = context.assets.age_plugin_batchpass.parent().ok_or("a folder of programs")?;
                let mut age = Command::new(&context.assets.age);
                age.env("PATH", plugins).env("AGE_PASSPHRASE", passphrase);
                filter(age.args(["-e", "-j", "batchpass"]), payload)
            }
            Self::Typage => filter(context.typage.command().args(["protect", passphrase]), payload),
        }
    }
}

/// Runs a program with this input; returns its stdout. Fails unless the program exits with 0 and writes nothing to
/// stderr except age's lines about a slow plugin.
pub(crate) fn filter(command: &mut Command, input: &[u8]) -> Result<Vec<u8>, Error> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().expect("stdin is piped above");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    writer.join().expect("the writer does not panic")?;
    let said = String::from_utf8_lossy(&output.stderr);
    // age writes such lines while a plugin is slow, as scrypt is on a busy machine.
    let is_quiet = said.lines().all(|line| line.starts_with("age: waiting on "));
    if !output.status.success() || !is_quiet {
        return Err(format!("{}: {}: {said}", command.get_program().display(), output.status).into());
    }
    Ok(output.stdout)
}

/// Returns the commitment to a DEK in the form that an envelope has.
pub(crate) fn commitment(dek: &[u8]) -> String {
    BASE64_STANDARD.encode(derive(dek, &[b"waxseal/v1/commitment"]))
}

/// Returns a wrap in the form that an envelope has: an age file, and the proof that its maker knew the DEK.
pub(crate) fn wrap(dek: &[u8], key_id: &str, age_file: &[u8]) -> String {
    let digest = Sha256::digest(age_file);
    // A shorter output of HKDF is the beginning of a longer one.
    let proof = &derive(dek, &[b"waxseal/v1/wrap", key_id.as_bytes(), &digest])[..16];
    format!("{}.{}", BASE64_STANDARD.encode(age_file), BASE64_URL_SAFE_NO_PAD.encode(proof))
}

fn derive(dek: &[u8], info: &[&[u8]]) -> [u8; 32] {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(dek);
    let mut output = [0; 32];
    let expanded = prk.expand(info, hkdf::HKDF_SHA256);
    expanded.and_then(|okm| okm.fill(&mut output)).expect("HKDF-SHA256 has up to 8,160 bytes of output");
    output
}
