//! Recipients and identities: age's words for public and private keys.

mod age_bytes;
mod agreement;
mod bech32;
mod classic;
mod encrypted_file;
mod file_key;
mod hybrid;
mod identity;
mod identity_file;
mod passphrase;
mod protected_identity_file;
mod recipient;
mod share;
mod stanzas;

pub use age_bytes::contains_encrypted_file;
pub(crate) use classic::STANZA_TAG as CLASSIC_TAG;
pub use encrypted_file::{EncryptedFile, EncryptedFileError, EncryptionError, MAX_RECIPIENTS};
pub(crate) use hybrid::{ENCAPSULATION_BYTES, STANZA_TAG as HYBRID_TAG, has_low_order_share};
pub(crate) use identity::IdentityInner;
pub use identity::{Identity, IdentityError, contains_identity};
pub use identity_file::{IdentityFile, IdentityFileError};
pub(crate) use identity_file::{STATE, state_word};
pub use passphrase::{EmptyPassphrase, Passphrase};
pub use protected_identity_file::{MAX_WORK_FACTOR, ProtectedIdentityFile, ProtectedIdentityFileError};
pub use recipient::{KeyKind, Recipient, RecipientError};
pub(crate) use recipient::{RecipientInner, hex};
use share::is_canonical;
pub(crate) use share::is_low_order;
pub(crate) use stanzas::{HybridRecipient, OwnStanzaOnly};
