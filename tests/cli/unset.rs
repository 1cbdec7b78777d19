//! `waxseal unset`.

use crate::folder::{Folder, HEAD, changed_lines, data_of};

/// A folder with a key, and `db.yaml` with the values A and B in one envelope and C in another.
fn folder() -> Folder {
    let folder = Folder::with_key();
    let secret = format!("{HEAD}stringData: {{A: a long value, B: another long value}}\n");
    let sealed = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(secret).succeeds();
    folder.write("db.yaml", format!("# by hand\n{sealed}---\nkind: ConfigMap # stays\n"));
    let set = folder.waxseal(&["set", "db.yaml", "C", "--keys", "cluster.yaml"]).stdin("a third value");
    set.writes(&["db.yaml"]).warns("set C in shop/db\n");
    folder
}

#[test]
fn a_value_goes_and_no_other_byte_changes() {
    let folder = folder();
    let before = folder.read("db.yaml");
    for (key, lines) in [("A", 1), ("C", 8)] {
        folder.write("db.yaml", &before);
        folder.waxseal(&["unset", "db.yaml", key]).writes(&["db.yaml"]).warns(&format!("removed {key} from shop/db\n"));
        let after = folder.read("db.yaml");
        assert_eq!(before.lines().count() - after.lines().count(), lines);
        let (gone, new) = changed_lines(&after, &before);
        assert_eq!((gone, new.len()), (vec![], lines));
        let opened = folder.waxseal(&["open", "db.yaml", "--identity", "cluster.key"]).succeeds();
        assert!(!data_of(&opened).contains_key(key) && data_of(&opened).len() == 2, "{opened}");
    }
}

#[test]
fn several_values_and_the_last_value_go() {
    let folder = folder();
    let unset = folder.waxseal(&["unset", "db.yaml", "C", "A", "C"]).writes(&["db.yaml"]);
    unset.warns("removed A, C from shop/db\n");
    assert_eq!(folder.read("db.yaml").matches("commitment: ").count(), 1);
    folder.waxseal(&["unset", "db.yaml", "B"]).writes(&["db.yaml"]).warns("removed B from shop/db\n");
    let text = folder.read("db.yaml");
    assert!(!text.contains("wax1.") && !text.contains("commitment"), "{text}");
    assert!(text.starts_with("# by hand\n") && text.ends_with("---\nkind: ConfigMap # stays\n"), "{text}");
    let set = folder.waxseal(&["set", "db.yaml", "A", "--keys", "cluster.yaml"]).stdin("a value again");
    set.writes(&["db.yaml"]).warns("set A in shop/db\n");
    let opened = folder.waxseal(&["open", "db.yaml", "--identity", "cluster.key"]).succeeds();
    assert_eq!(data_of(&opened)["A"], b"a value again");
}

#[test]
fn an_unknown_data_key_is_refused_and_nothing_is_removed() {
    let folder = folder();
    let stderr = "error: db.yaml:1: shop/db: no value for the data key D\n";
    folder.waxseal(&["unset", "db.yaml", "A", "D"]).fails(3, stderr);
    folder.waxseal(&["unset", "db.yaml", "D"]).fails(3, stderr);
    let stderr = "error: KEY=VALUE on the command line: the shell's history keeps the value
hint: name the data key alone, without `=` and a value
";
    folder.waxseal(&["unset", "db.yaml", "A=hunter2"]).fails(2, stderr);
    let stderr = "error: `-` is stdin, and this command changes a file\n";
    folder.waxseal(&["unset", "-", "A"]).fails(2, stderr);
}

#[test]
fn a_name_chooses_among_several_sealed_secrets() {
    let folder = folder();
    let second = format!("{HEAD}stringData: {{A: a long value}}\n").replace("name: db", "name: web");
    let second = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(second).succeeds();
    folder.write("db.yaml", format!("{}---\n{second}", folder.read("db.yaml")));
    let stderr = "error: db.yaml: several SealedSecrets in it
hint: pass `--name [NAMESPACE/]NAME`; the file has shop/db, shop/web
";
    folder.waxseal(&["unset", "db.yaml", "A"]).fails(3, stderr);
    let unset = folder.waxseal(&["unset", "db.yaml", "A", "--name", "shop/web"]).writes(&["db.yaml"]);
    unset.warns("removed A from shop/web\n");
    assert!(folder.read("db.yaml").contains("    A: wax1."));
}
