//! What Waxseal's programs share: the format, the keys and the decisions.
//!
//! The crate does no input or output and reads no clock, environment or terminal: time, randomness and
//! keys are arguments. Two libraries draw randomness of their own ([`randomness`]).
//!
//! # Map
//!
//! | to | read |
//! | --- | --- |
//! | turn text into objects, and objects into text | [`manifest`], [`visible_text`] |
//! | know the resources | [`sealed_secret`], [`sealing_key`], [`api_group`], [`crds`], [`secret`] |
//! | check the format (`FORMAT.md`) | [`format`], [`template`], [`names`] |
//! | seal and open | [`mod@seal`], [`mod@open`] |
//! | follow a change of keys, and know when a key may go | [`rotation`], [`key_need`] |
//! | make and keep keys, and draw randomness | [`key`], [`key_ring`], [`key_life`], [`key_succession`], [`randomness`] |
//! | store keys, back them up, and add recovery keys | [`identity_secret`], [`key_backup`], [`recovery_keys`] |
//! | decide what to do about an object, and say what came of it | [`mod@plan`], [`judgement`], [`reason`], [`advice`], [`status`], [`settled`] |
//!
//! # Wiping
//!
//! Types that own a secret ([`secret::SecretBytes`], [`format::Dek`], [`key::Identity`],
//! [`key::Passphrase`]) wipe it when they are dropped, and never print it. Work with keys ends with wiping
//! the stack that it used. All other memory that held a secret, such as the text and the tree of a
//! manifest and what libraries copied, is wiped by the allocator when it is freed: a program that uses
//! this crate sets such an allocator, as `waxseal` and `waxseal-controller` do.
//!
//! # Seal, open, plan
//!
//! ```
//! use waxseal_shared::format::Sealed;
//! use waxseal_shared::key::KeyKind;
//! use waxseal_shared::key_life::HeldKey;
//! use waxseal_shared::key_ring::{KeyRing, Keys};
//! use waxseal_shared::names::{DataKey, Namespace, ObjectName};
//! use waxseal_shared::open::open;
//! use waxseal_shared::plan::{Existing, Plan, plan};
//! use waxseal_shared::randomness;
//! use waxseal_shared::seal::seal;
//! use waxseal_shared::sealed_secret::Scope;
//! use waxseal_shared::sealing_key::KeyRole;
//! use waxseal_shared::secret::{SecretBytes, SecretManifest};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut random = randomness::system();
//! let now = "2026-11-21T12:00:00Z".parse()?;
//! let key = HeldKey::generate(KeyKind::Hybrid, KeyRole::Cluster, now, &mut random);
//!
//! // A developer seals a Secret with the public half of the key.
//! let value = SecretBytes::new(b"correct-horse".to_vec());
//! let secret = SecretManifest {
//!     name: ObjectName::parse("db")?,
//!     namespace: None,
//!     labels: Default::default(),
//!     annotations: Default::default(),
//!     type_: None,
//!     immutable: None,
//!     data: [(DataKey::parse("PASSWORD")?, value)].into(),
//! };
//! let recipients = [key.published().recipient.clone()];
//! let object = seal(&secret, &Namespace::parse("shop")?, Scope::Strict, &recipients, &mut random)?;
//! assert!(object.spec.encrypted_data["PASSWORD"].starts_with("wax1."));
//!
//! // The holder of the private half opens it.
//! let ring = KeyRing::new(vec![key]);
//! let opened = open(&Sealed::decode(&object)?, &ring)?;
//! assert_eq!(opened.data[&DataKey::parse("PASSWORD")?].expose(), b"correct-horse");
//!
//! // A controller asks what to do about the object while no Secret has its name.
//! let keys = Keys::Held(ring.into());
//! let Plan::Write(desired, done) = plan(&object, &keys, &[], &Existing::Absent, &mut random) else {
//!     panic!("not opened")
//! };
//! assert_eq!((desired.type_.as_str(), done.judgement.is_ready()), ("Opaque", true));
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

pub mod advice;
pub mod api_group;
pub mod crds;
pub mod format;
pub mod identity_secret;
pub mod judgement;
pub mod key;
pub mod key_backup;
pub mod key_life;
pub mod key_need;
pub mod key_ring;
pub mod key_succession;
pub mod manifest;
pub mod names;
pub mod open;
pub mod plan;
pub mod randomness;
pub mod reason;
pub mod recovery_keys;
pub mod rotation;
pub mod seal;
pub mod sealed_secret;
pub mod sealing_key;
pub mod secret;
mod secret_fault;
pub mod settled;
mod stack;
pub mod status;
pub mod template;
pub mod visible_text;
