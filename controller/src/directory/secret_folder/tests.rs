use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use waxseal_shared::api_group::{MARK_LABEL, MARK_OWNED};
use waxseal_shared::names::DataKey;
use waxseal_shared::plan::DesiredSecret;
use waxseal_shared::secret::{SecretBytes, SecretData};

use super::*;

struct Place {
    secrets: tempfile::TempDir,
    folder: SecretFolder,
}

fn place() -> Place {
    let secrets = tempfile::tempdir().expect("a folder");
    let folder = at(secrets.path(), "db");
    Place { secrets, folder }
}

fn at(secrets: &Path, name: &str) -> SecretFolder {
    let namespace = Namespace::parse("shop").expect("a namespace");
    SecretFolder::new(secrets, SecretName { namespace, name: ObjectName::parse(name).expect("a name") })
}

fn values(data: &[(&str, &str)]) -> SecretData {
    let value = |(key, value): &(&str, &str)| {
        (DataKey::parse(key).expect("a key"), SecretBytes::new(value.as_bytes().to_vec()))
    };
    data.iter().map(value).collect()
}

fn desired(data: &[(&str, &str)]) -> DesiredSecret {
    DesiredSecret {
        name: ObjectName::parse("db").expect("a name"),
        labels: BTreeMap::from([(MARK_LABEL.to_owned(), MARK_OWNED.to_owned())]),
        annotations: BTreeMap::from([("note".to_owned(), "x".to_owned())]),
        type_: "kubernetes.io/basic-auth".to_owned(),
        immutable: Some(true),
        data: values(data),
    }
}

fn listed(secrets: &tempfile::TempDir) -> usize {
    let mut problems = Problems::default();
    let count = sweep_and_list(secrets.path(), &mut problems).len();
    assert_eq!(problems.failures.len(), 0);
    count
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is there");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.retain(|name| !name.starts_with(VERSION_PREFIX));
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[track_caller]
fn assert_foreign(folder: &SecretFolder) -> String {
    let present = folder.read().expect("readable");
    let Existing::Foreign(message) = present else { panic!("it is foreign") };
    message
}

#[track_caller]
fn assert_holds(folder: &SecretFolder, data: &[(&str, &str)]) {
    let Existing::Ours(existing) = folder.read().expect("readable") else { panic!("it is ours") };
    assert_eq!(existing.data, Some(values(data)));
    for (key, value) in data {
        assert_eq!(fs::read_to_string(folder.path.join(key)).ok().as_deref(), Some(*value));
    }
}

#[test]
fn a_secret_is_laid_out_as_a_volume_and_reads_back() {
    let Place { secrets, folder } = place();
    assert!(matches!(folder.read(), Ok(Existing::Absent)));
    folder.write(&desired(&[("a", "1"), (".b", "")])).expect("written");
    assert_holds(&folder, &[("a", "1"), (".b", "")]);
    assert_eq!(entries(&folder.path), ["..data", ".b", "a"]);
    assert_eq!(entries(&folder.namespace), ["db"]);
    assert_eq!(fs::read_link(folder.path.join("a")).expect("a link"), Path::new("..data/a"));
    let data = folder.path.join("..data");
    for path in [&folder.namespace, &folder.path, &data] {
        assert_eq!(mode(path), FOLDER_MODE, "{}", path.display());
    }
    assert_eq!((mode(&data.join("a")), mode(&data.join(DESCRIPTION))), (FILE_MODE, FILE_MODE));
    let Ok(Existing::Ours(existing)) = folder.read() else { panic!("it is ours") };
    assert_eq!((existing.type_.as_str(), existing.immutable), ("kubernetes.io/basic-auth", true));
    assert_eq!(existing.annotations["note"], "x");
    assert_eq!(listed(&secrets), 1);
}

#[test]
fn a_change_leaves_nothing_of_the_old_version() {
    let Place { secrets: _kept, folder } = place();
    folder.write(&desired(&[("a", "1"), ("b", "2")])).expect("written");
    let old = folder.current_version().expect("readable").expect("one");
    folder.write(&desired(&[("b", "3"), ("c", "4")])).expect("written");
    assert_holds(&folder, &[("b", "3"), ("c", "4")]);
    assert_eq!(entries(&folder.path), ["..data", "b", "c"]);
    assert!(!old.exists());
}

#[test]
fn a_reader_never_sees_half_of_a_version() {
    let Place { secrets: _kept, folder } = place();
    let write = |value: &str| folder.write(&desired(&[("a", value), ("b", value)])).expect("written");
    write("0");
    let data = folder.path.join(CURRENT);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while seen < 2000 {
                let Ok(version) = fs::canonicalize(&data) else { continue };
                let read = |key| fs::read_to_string(version.join(key));
                if let (Ok(a), Ok(b)) = (read("a"), read("b")) {
                    assert_eq!(a, b);
                }
                seen += 1;
            }
        });
        let mut round = 0;
        while !reader.is_finished() {
            round += 1;
            write(&round.to_string());
        }
    });
}

#[test]
fn what_a_crash_left_is_removed_or_completed() {
    let Place { secrets, folder } = place();
    folder.write(&desired(&[("a", "1")])).expect("written");
    let path = &folder.path;
    fs::create_dir(path.join("..v-older")).expect("made");
    fs::write(path.join("..v-older/a"), "0").expect("written");
    symlink("..data/gone", path.join("gone")).expect("linked");
    symlink("..v-older", path.join(format!("{UNFINISHED}link"))).expect("linked");
    fs::remove_file(path.join("a")).expect("removed");
    folder.repair().expect("repaired");
    assert_holds(&folder, &[("a", "1")]);
    assert_eq!(entries(path), ["..data", "a"]);
    assert!(!path.join("..v-older").exists());

    let half = folder.namespace.join(format!("{UNFINISHED}half"));
    fs::create_dir(&half).expect("made");
    fs::write(half.join("a"), "2").expect("written");
    symlink("..v-older", path.join(format!("{UNFINISHED}link"))).expect("linked");
    folder.write(&desired(&[("a", "2")])).expect("written");
    assert_holds(&folder, &[("a", "2")]);
    assert_eq!(listed(&secrets), 1);
    assert_eq!(entries(&folder.namespace), ["db"]);
}

#[test]
fn repairing_a_whole_secret_writes_nothing() {
    let Place { secrets: _kept, folder } = place();
    folder.write(&desired(&[("a", "1")])).expect("written");
    let changed = || fs::symlink_metadata(&folder.path).and_then(|metadata| metadata.modified()).expect("it is there");
    let before = changed();
    folder.repair().expect("repaired");
    assert_eq!(changed(), before);
}

#[test]
fn every_way_of_being_foreign_is_seen() {
    let Place { secrets, folder } = place();
    let elsewhere = tempfile::tempdir().expect("a folder");
    symlink(elsewhere.path(), &folder.namespace).expect("linked");
    assert!(assert_foreign(&folder).ends_with("shop is not a folder and stays as it is: move it away"));
    fs::remove_file(&folder.namespace).expect("removed");

    fs::create_dir(&folder.namespace).expect("made");
    symlink(elsewhere.path(), &folder.path).expect("linked");
    assert!(assert_foreign(&folder).ends_with("db is not a folder and stays as it is: move it away"));
    fs::remove_file(&folder.path).expect("removed");

    fs::write(&folder.path, "").expect("written");
    assert!(assert_foreign(&folder).ends_with("db is not a folder and stays as it is: move it away"));
    fs::remove_file(&folder.path).expect("removed");

    fs::create_dir(&folder.path).expect("made");
    assert!(assert_foreign(&folder).ends_with("db was not made by Waxseal and stays as it is: move it away"));
    symlink(elsewhere.path(), folder.path.join(CURRENT)).expect("linked");
    assert_foreign(&folder);
    assert_eq!(listed(&secrets), 0);
}

#[test]
fn a_copy_from_another_place_or_without_the_mark_is_foreign() {
    let Place { secrets, folder } = place();
    folder.write(&desired(&[("a", "1")])).expect("written");
    let copy = at(secrets.path(), "copy");
    fs::rename(&folder.path, &copy.path).expect("renamed");
    assert_foreign(&copy);
    fs::rename(&copy.path, &folder.path).expect("renamed");
    let path = folder.path.join("..data").join(DESCRIPTION);
    let text = fs::read_to_string(&path).expect("text");
    fs::write(&path, text.replace("owned", "adopt")).expect("written");
    assert_foreign(&folder);
}

#[test]
fn a_damaged_description_is_a_failure_and_not_a_foreign_folder() {
    let Place { secrets, folder } = place();
    folder.write(&desired(&[("a", "1")])).expect("written");
    fs::write(folder.path.join(CURRENT).join(DESCRIPTION), "").expect("emptied");
    assert!(folder.read().is_err());
    let mut problems = Problems::default();
    assert_eq!(sweep_and_list(secrets.path(), &mut problems).len(), 0);
    assert!(problems.failures.iter().any(|text| text.ends_with("..secret.json is damaged")), "{:?}", problems.failures);
}

#[test]
fn values_that_are_not_regular_files_count_as_changed() {
    let Place { secrets: _kept, folder } = place();
    folder.write(&desired(&[("a", "1")])).expect("written");
    let version = folder.current_version().expect("readable").expect("one");
    fs::remove_file(version.join("a")).expect("removed");
    symlink("/etc/hostname", version.join("a")).expect("linked");
    let Ok(Existing::Ours(existing)) = folder.read() else { panic!("it is ours") };
    assert_eq!(existing.data, None);
}

#[test]
fn deleting_the_last_secret_also_removes_the_namespace_folder() {
    let Place { secrets, folder } = place();
    let other = at(secrets.path(), "web");
    folder.write(&desired(&[("a", "1")])).expect("written");
    other.write(&desired(&[("a", "1")])).expect("written");
    folder.delete().expect("deleted");
    assert_eq!(entries(&folder.namespace), ["web"]);
    other.delete().expect("deleted");
    assert_eq!(entries(secrets.path()), [""; 0]);
}

/// Whatever the number of steps that were done before the crash.
#[test]
fn an_interrupted_deletion_beside_a_file_of_somebody_else_goes_on() {
    for done in 0..=5 {
        let Place { secrets, folder } = place();
        folder.write(&desired(&[("a", "1"), ("b", "2")])).expect("written");
        fs::create_dir(folder.path.join("..v-older")).expect("made");
        fs::write(folder.path.join("mine"), "").expect("written");
        let present = durable_file::entries(&folder.path).expect("readable");
        let own = folder.in_order_of_deletion(present).expect("readable");
        assert_eq!(own.len(), 5);
        for entry in &own[..done] {
            fs::rename(entry.path(), secrets.path().join(entry.file_name())).expect("moved");
        }
        // The first step removes the older version, and the second step removes the current version.
        assert_eq!(listed(&secrets), usize::from(done < 2), "{done}");
        if done < 2 {
            assert_holds(&folder, &[("a", "1"), ("b", "2")]);
            folder.delete().expect("deleted");
        }
        let left: Vec<_> = fs::read_dir(&folder.path).expect("it is there").flatten().collect();
        assert_eq!(left.iter().map(DirEntry::file_name).collect::<Vec<_>>(), ["mine"], "{done}");
    }
}

/// An error that differs each time would be logged each time.
#[test]
fn an_error_does_not_have_the_random_name_of_a_folder() {
    let secrets = tempfile::tempdir().expect("a folder");
    let error = || new_folder_in(&secrets.path().join("absent"), VERSION_PREFIX).expect_err("no folder").to_string();
    assert_eq!(error(), error());
}

#[test]
fn a_secret_that_cannot_be_read_hides_no_other_secret() {
    let secrets = tempfile::tempdir().expect("a folder");
    for name in ["db", "web"] {
        at(secrets.path(), name).write(&desired(&[("A", "one")])).expect("written");
    }
    let broken = at(secrets.path(), "db").path.join(CURRENT).join(DESCRIPTION);
    fs::remove_file(&broken).expect("removed");
    fs::create_dir(&broken).expect("a folder in its place");
    let mut problems = Problems::default();
    let found = sweep_and_list(secrets.path(), &mut problems);
    assert_eq!(found.iter().map(|folder| folder.name.name.as_str()).collect::<Vec<_>>(), ["web"]);
    assert_eq!(problems.failures.len(), 1, "{:?}", problems.failures);
}

#[test]
fn a_namespace_folder_of_somebody_else_stays() {
    let Place { secrets, folder } = place();
    fs::create_dir(&folder.namespace).expect("made");
    fs::set_permissions(&folder.namespace, fs::Permissions::from_mode(0o750)).expect("changed");
    folder.write(&desired(&[("a", "1")])).expect("written");
    folder.delete().expect("deleted");
    assert_eq!(entries(secrets.path()), ["shop"]);
}
