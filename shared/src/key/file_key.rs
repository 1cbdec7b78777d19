//! The file key in a stanza: the symmetric key of an age file.

use age_core::format::{FILE_KEY_BYTES, FileKey};

/// Makes a file key from the opened body of a stanza; `None` if the body has another length.
pub(super) fn file_key(opened: &[u8]) -> Option<FileKey> {
    let bytes: &[u8; FILE_KEY_BYTES] = opened.try_into().ok()?;
    Some(FileKey::init_with_mut(|key| key.copy_from_slice(bytes)))
}
