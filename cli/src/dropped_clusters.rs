//! Whether sealing a value again would leave out a cluster that can read the other values of its object.

use std::collections::BTreeSet;
use std::sync::Arc;

use waxseal_shared::names::KeyId;
use waxseal_shared::sealing_key::KeyRole;
use waxseal_shared::visible_text::escaped;

use crate::error::CliError;
use crate::file_names::shell_word;
use crate::keys_file::KeysFile;

/// Refuses recipients that leave out somebody who can read a value of the object now.
///
/// - `wraps`: the key ids of all wraps in the envelopes that values of the object name.
/// - `files`: the keys files of all clusters of the configuration, also of those that are not sealed to, and the files
///   of `--keys`. [`KeysFile::name`] is the name that `--drop-cluster` takes.
/// - `chosen`: the key ids of the recipients that the new values are sealed to.
/// - `dropped`: the values of `--drop-cluster`: the clusters, by name, and the keys, by id, that may be left out.
///
/// A cluster whose own key (role `Cluster`, any state) has a wrap needs an own key among the recipients. A recovery key
/// can be in the files of several clusters, so it does not show which of them the object is for. It is enough if one of
/// the files with this recovery key has a key among the recipients. A wrap for a key that no file has is refused,
/// unless the key is a recipient itself.
///
/// Also refuses a value of `--drop-cluster` that is neither the name of a file nor a key id, and one that the new
/// values would be sealed to.
pub(crate) fn check<'k>(
    wraps: impl IntoIterator<Item = &'k KeyId>,
    files: &[Arc<KeysFile>],
    chosen: &[KeyId],
    dropped: &[String],
) -> Result<(), CliError> {
    check_dropped(files, chosen, dropped)?;
    let is_dropped = |name: &str| dropped.iter().any(|dropped| dropped == name);
    let mut missing: Vec<Missing<'_>> = Vec::new();
    for id in wraps {
        if is_dropped(id.as_str()) || chosen.contains(id) {
            continue;
        }
        let found = missing_for(id, files, chosen);
        missing.extend(found.into_iter().filter(|missing| !is_dropped(missing.name())));
    }
    missing.sort();
    missing.dedup();
    if missing.is_empty() { Ok(()) } else { Err(refusal(&missing)) }
}

fn check_dropped(files: &[Arc<KeysFile>], chosen: &[KeyId], dropped: &[String]) -> Result<(), CliError> {
    for name in dropped {
        let mut meant = files.iter().filter(|file| file.name() == name).peekable();
        if meant.peek().is_none() && KeyId::parse(name).is_err() {
            let error = CliError::usage(format!(
                "`--drop-cluster {}` names neither a cluster with a keys file nor a key id",
                escaped(name)
            ));
            let names: BTreeSet<_> = files.iter().map(|file| file.name()).collect();
            let hint = format!("the clusters are: {}", names.into_iter().collect::<Vec<_>>().join(", "));
            return Err(if files.is_empty() { error } else { error.with_hint(hint) });
        }
        if meant.any(|file| is_sealed_to(file, chosen)) || chosen.iter().any(|id| id.as_str() == name) {
            let error =
                CliError::usage(format!("`--drop-cluster {name}`, but the new value would be sealed to {name}"));
            return Err(error.with_hint("name the clusters to seal to, with `--to CLUSTER` or `--keys KEYS_FILE`"));
        }
    }
    Ok(())
}

/// Somebody who can read a value now, and would not be able to read the new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Missing<'a> {
    Cluster(&'a str),
    /// The holder of a key that no keys file has.
    Key(&'a KeyId),
}

impl<'a> Missing<'a> {
    /// The value of `--drop-cluster` that leaves it out.
    fn name(&self) -> &'a str {
        match self {
            Self::Cluster(name) => name,
            Self::Key(id) => id.as_str(),
        }
    }
}

/// Returns those who have the key with this id, and could not read the new value.
fn missing_for<'a>(id: &'a KeyId, files: &'a [Arc<KeysFile>], chosen: &[KeyId]) -> Vec<Missing<'a>> {
    let cluster = |file: &'a Arc<KeysFile>| Missing::Cluster(file.name());
    let own: Vec<_> = files.iter().filter(|file| has(file, id, KeyRole::Cluster)).collect();
    if !own.is_empty() {
        return own.into_iter().filter(|file| !has_one_of(file, chosen, &[KeyRole::Cluster])).map(cluster).collect();
    }
    let with_recovery_key: Vec<_> = files.iter().filter(|file| has(file, id, KeyRole::Recovery)).collect();
    if with_recovery_key.is_empty() {
        return vec![Missing::Key(id)];
    }
    if with_recovery_key.iter().any(|file| has_one_of(file, chosen, &[KeyRole::Cluster, KeyRole::Recovery])) {
        return Vec::new();
    }
    with_recovery_key.into_iter().map(cluster).collect()
}

fn has(file: &KeysFile, id: &KeyId, role: KeyRole) -> bool {
    file.keys.iter().any(|key| key.role == role && key.recipient.key_id() == id)
}

/// Whether one of the cluster's own keys is chosen, or any key of a file that has only recovery keys.
fn is_sealed_to(file: &KeysFile, chosen: &[KeyId]) -> bool {
    has_one_of(file, chosen, &[if file.has_cluster_key() { KeyRole::Cluster } else { KeyRole::Recovery }])
}

fn has_one_of(file: &KeysFile, chosen: &[KeyId], roles: &[KeyRole]) -> bool {
    file.keys.iter().any(|key| roles.contains(&key.role) && chosen.contains(key.recipient.key_id()))
}

fn refusal(missing: &[Missing<'_>]) -> CliError {
    let names: Vec<_> = missing.iter().map(Missing::name).collect();
    let text = format!("its values are sealed to {} too, and the new value would not be", names.join(", "));
    let options: Vec<_> = names.iter().map(|name| format!("--drop-cluster {}", shell_word(name))).collect();
    let options = options.join(" ");
    let is_cluster = |missing: &&Missing<'_>| matches!(missing, Missing::Cluster(_));
    let clusters: Vec<_> = missing.iter().filter(is_cluster).map(Missing::name).collect();
    CliError::refused(text).with_hint(match clusters.is_empty() {
        false => format!("seal to {} too, or pass `{options}`", clusters.join(" and ")),
        true => format!(
            "no keys file has {}: fetch the keys again or name the keys file, or pass `{options}`",
            names.join(" or ")
        ),
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use waxseal_shared::key::{Identity, KeyKind};
    use waxseal_shared::randomness;
    use waxseal_shared::sealing_key::{KeyState, PublishedKey};

    use super::*;

    fn key(role: KeyRole, state: KeyState) -> PublishedKey {
        let identity = Identity::generate(KeyKind::Classic, &mut randomness::system());
        PublishedKey { recipient: identity.recipient().clone(), role, created_at: Timestamp::UNIX_EPOCH, state }
    }

    fn id(key: &PublishedKey) -> KeyId {
        key.recipient.key_id().clone()
    }

    /// The file of `--keys NAME`.
    fn keys_file(name: &str, keys: &[PublishedKey]) -> Arc<KeysFile> {
        Arc::new(KeysFile { cluster: None, place: name.to_owned(), keys: keys.to_vec() })
    }

    /// Two clusters, each with a Retired and an Active key, and a recovery key that is in both files.
    struct Keys {
        prod: Vec<PublishedKey>,
        staging: Vec<PublishedKey>,
        recovery: PublishedKey,
        stranger: PublishedKey,
    }

    impl Keys {
        fn new() -> Self {
            let recovery = key(KeyRole::Recovery, KeyState::Active);
            let cluster = || {
                let own = [KeyState::Active, KeyState::Retired].map(|state| key(KeyRole::Cluster, state));
                own.into_iter().chain([recovery.clone()]).collect::<Vec<_>>()
            };
            Self {
                prod: cluster(),
                staging: cluster(),
                stranger: key(KeyRole::Cluster, KeyState::Active),
                recovery: recovery.clone(),
            }
        }

        fn check(&self, wraps: &[&PublishedKey], chosen: &[&PublishedKey], dropped: &[&str]) -> Result<(), String> {
            let files = [keys_file("prod", &self.prod), keys_file("staging", &self.staging)];
            let wraps: Vec<_> = wraps.iter().map(|key| id(key)).collect();
            let chosen: Vec<_> = chosen.iter().map(|key| id(key)).collect();
            let dropped: Vec<_> = dropped.iter().map(|name| (*name).to_owned()).collect();
            check(&wraps, &files, &chosen, &dropped).map_err(|error| error.to_string())
        }
    }

    fn refused(names: &str, hint: &str) -> Result<(), String> {
        let text = format!("error: its values are sealed to {names} too, and the new value would not be");
        Err(format!("{text}\nhint: {hint}"))
    }

    #[test]
    fn the_same_clusters_and_more_are_allowed() {
        let keys = Keys::new();
        let (prod, staging) = (&keys.prod[0], &keys.staging[0]);
        assert_eq!(keys.check(&[], &[prod], &[]), Ok(()));
        assert_eq!(keys.check(&[prod], &[prod], &[]), Ok(()));
        assert_eq!(keys.check(&[prod], &[prod, staging], &[]), Ok(()));
        assert_eq!(keys.check(&[prod, staging], &[staging, prod, &keys.recovery], &[]), Ok(()));
    }

    #[test]
    fn an_old_key_of_a_cluster_stands_for_the_cluster() {
        let keys = Keys::new();
        assert_eq!(keys.check(&[&keys.prod[1]], &[&keys.prod[0]], &[]), Ok(()));
        let expected = refused("prod", "seal to prod too, or pass `--drop-cluster prod`");
        assert_eq!(keys.check(&[&keys.prod[1]], &[&keys.staging[0]], &[]), expected);
    }

    #[test]
    fn a_cluster_that_is_left_out_is_refused_unless_it_is_dropped() {
        let keys = Keys::new();
        let wraps = [&keys.prod[0], &keys.staging[1], &keys.staging[0]];
        let expected = refused("staging", "seal to staging too, or pass `--drop-cluster staging`");
        assert_eq!(keys.check(&wraps, &[&keys.prod[0]], &[]), expected);
        assert_eq!(keys.check(&wraps, &[&keys.prod[0]], &[&id(&keys.stranger).to_string()]), expected);
        assert_eq!(keys.check(&wraps, &[&keys.prod[0]], &["staging"]), Ok(()));
        let hint = "seal to prod and staging too, or pass `--drop-cluster prod --drop-cluster staging`";
        let expected = refused("prod, staging", hint);
        assert_eq!(keys.check(&wraps, &[&keys.stranger], &[]), expected);
    }

    #[test]
    fn a_dropped_name_must_be_a_cluster_or_a_key_id() {
        let keys = Keys::new();
        let prod = &keys.prod[0];
        let unknown = "error: `--drop-cluster stagin` names neither a cluster with a keys file nor a key id\n\
                       hint: the clusters are: prod, staging";
        assert_eq!(keys.check(&[prod], &[prod], &["stagin"]), Err(unknown.to_owned()));
        assert_eq!(keys.check(&[prod], &[prod], &["staging", "k0123456789abcdef"]), Ok(()));
        let error = check(&[], &[], &[], &["prod".to_owned()]).expect_err("no cluster").to_string();
        assert_eq!(error, "error: `--drop-cluster prod` names neither a cluster with a keys file nor a key id");
    }

    #[test]
    fn a_dropped_cluster_cannot_be_sealed_to() {
        let keys = Keys::new();
        let (prod, staging) = (&keys.prod[0], &keys.staging[0]);
        let chosen = |name: &str| {
            let hint = "name the clusters to seal to, with `--to CLUSTER` or `--keys KEYS_FILE`";
            Err(format!("error: `--drop-cluster {name}`, but the new value would be sealed to {name}\nhint: {hint}"))
        };
        assert_eq!(keys.check(&[prod, staging], &[prod, staging], &["staging"]), chosen("staging"));
        let id = id(prod).to_string();
        assert_eq!(keys.check(&[prod], &[prod], &[&id]), chosen(&id));
        // The recovery key is in the file of staging, too.
        assert_eq!(keys.check(&[prod, staging], &[prod, &keys.recovery], &["staging"]), Ok(()));
    }

    #[test]
    fn a_shared_recovery_key_does_not_stand_for_a_cluster() {
        let keys = Keys::new();
        let (prod, recovery) = (&keys.prod[0], &keys.recovery);
        // The recovery key is in the file of staging too. But staging does not hold its identity, and could not read a
        // value that is sealed only to prod and to the recovery key.
        let expected = refused("staging", "seal to staging too, or pass `--drop-cluster staging`");
        assert_eq!(keys.check(&[prod, &keys.staging[0], recovery], &[prod, recovery], &[]), expected);
        // The object was never sealed to staging, and the recovery key is not used any more.
        assert_eq!(keys.check(&[prod, recovery], &[prod], &[]), Ok(()));
    }

    #[test]
    fn recovery_keys_in_a_file_of_their_own_count_as_a_cluster() {
        let (prod, recovery) = (
            key(KeyRole::Cluster, KeyState::Active),
            [KeyState::Active, KeyState::Revoked].map(|state| key(KeyRole::Recovery, state)),
        );
        let files = [keys_file("prod", std::slice::from_ref(&prod)), keys_file("offline", &recovery)];
        let wraps = [id(&prod), id(&recovery[1])];
        let error = check(&wraps, &files, &[id(&prod)], &[]).map_err(|error| error.to_string());
        assert_eq!(error, refused("offline", "seal to offline too, or pass `--drop-cluster offline`"));
        assert!(check(&wraps, &files, &[id(&prod), id(&recovery[0])], &[]).is_ok());
    }

    #[test]
    fn a_key_that_no_file_has_is_refused_unless_it_is_chosen_or_dropped() {
        let keys = Keys::new();
        let (prod, stranger) = (&keys.prod[0], &keys.stranger);
        let name = id(stranger).to_string();
        let hint = format!(
            "no keys file has {name}: fetch the keys again or name the keys file, or pass `--drop-cluster {name}`"
        );
        assert_eq!(keys.check(&[prod, stranger], &[prod], &[]), refused(&name, &hint));
        assert_eq!(keys.check(&[prod, stranger], &[prod, stranger], &[]), Ok(()));
        assert_eq!(keys.check(&[prod, stranger], &[prod], &[&name]), Ok(()));
    }

    #[test]
    fn a_file_name_in_the_hint_is_one_word_for_the_shell() {
        let keys = Keys::new();
        let files = [keys_file("$(id) it's.yaml", &keys.staging)];
        let error = check(&[id(&keys.staging[0])], &files, &[id(&keys.prod[0])], &[]).expect_err("left out");
        let hint = r"seal to $(id) it's.yaml too, or pass `--drop-cluster '$(id) it'\''s.yaml'`";
        assert_eq!(Err(error.to_string()), refused("$(id) it's.yaml", hint));
    }
}
