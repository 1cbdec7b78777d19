//! Objects whose Secret this process has seen to be right: nothing is read, opened or written for
//! them until something changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use waxseal_shared::key_ring::KeyRing;
use waxseal_shared::sealed_secret::SealedSecret;

use super::keys::KeyState;

/// What was true when an object was settled.
struct Settled {
    uid: Option<String>,
    generation: Option<i64>,
    secret_version: String,
    ring: Arc<KeyRing>,
}

/// The settled objects, and the metadata of all marked Secrets to compare them with.
pub(super) struct SettledObjects {
    secrets: Store<PartialObjectMeta<Secret>>,
    settled: Mutex<HashMap<ObjectRef<SealedSecret>, Settled>>,
}

impl SettledObjects {
    pub(super) fn new(secrets: Store<PartialObjectMeta<Secret>>) -> Self {
        Self { secrets, settled: Mutex::new(HashMap::new()) }
    }

    /// Waits until all marked Secrets have been listed once.
    pub(super) async fn listed(&self) {
        // An error means that the watch has ended, and with it the controller.
        let _ = self.secrets.wait_until_ready().await;
    }

    /// Whether the watch knows a marked Secret of the object's name.
    pub(super) fn has_marked_secret(&self, object: &SealedSecret) -> bool {
        self.secret(object).is_some()
    }

    /// Whether object, keys and Secret are what they were when the object was settled.
    pub(super) fn is_settled(&self, object: &SealedSecret, keys: &KeyState) -> bool {
        let KeyState::Held(ring) = keys else {
            return false;
        };
        let secret_version = self.secret(object).and_then(|secret| secret.resource_version());
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.get(&ObjectRef::from_obj(object)).is_some_and(|then| {
            object.metadata.deletion_timestamp.is_none()
                && then.uid == object.metadata.uid
                && then.generation == object.metadata.generation
                && Some(&then.secret_version) == secret_version.as_ref()
                && Arc::ptr_eq(&then.ring, ring)
        })
    }

    /// Whether an object that was settled has no Secret any more.
    pub(super) fn has_vanished(&self, object: &SealedSecret) -> bool {
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        settled.contains_key(&ObjectRef::from_obj(object)) && self.secret(object).is_none()
    }

    /// Remembers that an object's Secret is right at this resourceVersion.
    pub(super) fn remember(&self, object: &SealedSecret, keys: &KeyState, secret_version: String) {
        let KeyState::Held(ring) = keys else {
            return;
        };
        let then = Settled {
            uid: object.metadata.uid.clone(),
            generation: object.metadata.generation,
            secret_version,
            ring: Arc::clone(ring),
        };
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).insert(ObjectRef::from_obj(object), then);
    }

    /// Forgets the objects that are gone.
    pub(super) fn retain(&self, is_there: impl Fn(&ObjectRef<SealedSecret>) -> bool) {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| is_there(key));
    }

    fn secret(&self, object: &SealedSecret) -> Option<Arc<PartialObjectMeta<Secret>>> {
        let namespace = object.namespace().unwrap_or_default();
        self.secrets.get(&ObjectRef::new(&object.name_any()).within(&namespace))
    }
}
