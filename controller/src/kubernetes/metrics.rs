//! What the controller counts; names and reasons only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kube::runtime::reflector::ObjectRef;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use waxseal_shared::reason::Reason;
use waxseal_shared::sealed_secret::SealedSecret;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// The metrics and the registry that prints them.
pub(super) struct Metrics {
    registry: Registry,
    verdicts: Mutex<HashMap<ObjectRef<SealedSecret>, Reason>>,
    objects: Family<ReasonLabel, Gauge>,
    reconciles: Family<ReasonLabel, Counter>,
    writes: Counter,
    watch_failures: Family<KindLabel, Counter>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("waxseal");
        let (objects, reconciles, writes) = (Family::default(), Family::default(), Counter::default());
        registry.register("sealed_secrets", "SealedSecrets by the reason of their last verdict", objects.clone());
        registry.register("reconciles", "Reconciles by the reason they ended with", reconciles.clone());
        registry.register("secret_writes", "Secrets written", writes.clone());
        let watch_failures = Family::default();
        registry.register("watch_failures", "Failed attempts to watch, by kind", watch_failures.clone());
        Self { registry, verdicts: Mutex::default(), objects, reconciles, writes, watch_failures }
    }

    /// Remembers the last verdict on an object.
    pub(super) fn record(&self, key: &ObjectRef<SealedSecret>, reason: Reason) {
        self.reconciles.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), reason);
    }

    /// Counts one written Secret.
    pub(super) fn count_write(&self) {
        self.writes.inc();
    }

    /// Counts one failed attempt to watch objects of a kind.
    pub(super) fn count_watch_failure(&self, kind: &'static str) {
        self.watch_failures.get_or_create(&KindLabel { kind }).inc();
    }

    /// Forgets the objects that are gone.
    pub(super) fn retain(&self, is_there: impl Fn(&ObjectRef<SealedSecret>) -> bool) {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| is_there(key));
    }

    /// The metrics in the OpenMetrics text format.
    pub(super) fn to_text(&self) -> String {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        self.objects.clear();
        for reason in verdicts.values() {
            self.objects.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}
