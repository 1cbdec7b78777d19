//! Reporting Secrets that nothing deletes: their SealedSecret is gone, and they have no owner.

use std::sync::Arc;
use std::time::Duration;

use super::objects::Objects;

const INTERVAL: Duration = Duration::from_secs(10);

/// Searches for orphans again and again, and logs each orphan once.
pub(super) async fn report(objects: Arc<Objects>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        for key in objects.new_orphans() {
            let (namespace, name) = (&*key.namespace, &*key.name);
            tracing::warn!(
                namespace,
                name,
                "this Secret was made by Waxseal, its SealedSecret is gone, and it has no owner: nothing deletes it"
            );
        }
    }
}
