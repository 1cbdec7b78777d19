//! The metrics of the controller. Their labels are kinds, reasons and key ids, never the name of an object.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::watch;
use waxseal_shared::key_ring::Keys;
use waxseal_shared::names::KeyId;
use waxseal_shared::reason::Reason;

use super::answer_deadlines::LastContact;
use super::objects::Objects;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KeyLabel {
    key: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// The metrics and the registry that prints them.
pub(super) struct Metrics {
    registry: Registry,
    objects: Arc<Objects>,
    keys: watch::Receiver<Keys>,
    last_contact: Arc<LastContact>,
    key_objects: Family<KeyLabel, Gauge>,
    key_only_objects: Family<KeyLabel, Gauge>,
    key_backups: Family<KeyLabel, Gauge>,
    backups: Mutex<BTreeMap<KeyId, Timestamp>>,
    pub(super) broken_identities: Gauge,
    sealed_secrets: Family<ReasonLabel, Gauge>,
    silence: Gauge<f64, AtomicU64>,
    reconciles: Family<ReasonLabel, Counter>,
    pub(super) reconcile_timeouts: Counter,
    pub(super) secret_writes: Counter,
    pub(super) failed_status_writes: Counter,
    watch_failures: Family<KindLabel, Counter>,
}

impl Metrics {
    /// Metrics of these objects and keys, and of the time since the API server last sent anything.
    pub(super) fn new(objects: Arc<Objects>, keys: watch::Receiver<Keys>, last_contact: Arc<LastContact>) -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("waxseal"),
            objects,
            keys,
            last_contact,
            key_objects: Family::default(),
            key_only_objects: Family::default(),
            key_backups: Family::default(),
            backups: Mutex::default(),
            broken_identities: Gauge::default(),
            sealed_secrets: Family::default(),
            silence: Gauge::default(),
            reconciles: Family::default(),
            reconcile_timeouts: Counter::default(),
            secret_writes: Counter::default(),
            failed_status_writes: Counter::default(),
            watch_failures: Family::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let help = "SealedSecrets by the reason that their last reconcile ended with";
        registry.register("sealed_secrets", help, self.sealed_secrets.clone());
        let help = "SealedSecrets with a wrap for a published key, as their statuses say";
        registry.register("sealing_key_objects", help, self.key_objects.clone());
        let help = "SealedSecrets that only this published key opens, as their statuses say";
        registry.register("sealing_key_only_objects", help, self.key_only_objects.clone());
        registry.register_with_unit(
            "sealing_key_last_backup_timestamp",
            "When the identity of a sealing key was last backed up, as seconds since 1970",
            Unit::Seconds,
            self.key_backups.clone(),
        );
        let help = "Identity Secrets that are not used, because they are broken";
        registry.register("broken_identities", help, self.broken_identities.clone());
        registry.register("reconciles", "Reconciles by the reason they ended with", self.reconciles.clone());
        let timeouts = self.reconcile_timeouts.clone();
        registry.register("reconcile_timeouts", "Reconciles that did not finish in time", timeouts);
        registry.register("secret_writes", "Secrets written", self.secret_writes.clone());
        registry.register("failed_status_writes", "Status writes that failed", self.failed_status_writes.clone());
        registry.register("watch_failures", "Failed lists and watches by kind", self.watch_failures.clone());
        registry.register_with_unit(
            "api_silence",
            "How long ago the API server last sent anything",
            Unit::Seconds,
            self.silence.clone(),
        );
    }

    pub(super) fn count_reconcile(&self, reason: Reason) {
        self.reconciles.get_or_create(&ReasonLabel { reason: reason.as_str() }).inc();
    }

    pub(super) fn count_watch_failure(&self, kind: &'static str) {
        self.watch_failures.get_or_create(&KindLabel { kind }).inc();
    }

    /// Sets when each key was last backed up.
    pub(super) fn set_backups(&self, backups: BTreeMap<KeyId, Timestamp>) {
        *self.backups.lock().unwrap_or_else(PoisonError::into_inner) = backups;
    }

    /// The metrics in the OpenMetrics text format.
    pub(super) fn to_text(&self) -> String {
        self.sealed_secrets.clear();
        for (reason, count) in self.objects.counts_by_reason() {
            self.sealed_secrets.get_or_create(&ReasonLabel { reason: reason.as_str() }).set(count);
        }
        self.key_objects.clear();
        self.key_only_objects.clear();
        for key in self.keys.borrow().published() {
            let label = KeyLabel { key: key.recipient.key_id().to_string() };
            if let Some(counts) = self.objects.counts_of_key(key.recipient.key_id()) {
                self.key_objects.get_or_create(&label).set(counts.objects);
                self.key_only_objects.get_or_create(&label).set(counts.only_objects);
            }
        }
        self.key_backups.clear();
        for (key, time) in &*self.backups.lock().unwrap_or_else(PoisonError::into_inner) {
            self.key_backups.get_or_create(&KeyLabel { key: key.to_string() }).set(time.as_second());
        }
        self.silence.set(self.last_contact.age().as_secs_f64());
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}
