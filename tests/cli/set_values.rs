//! The values of `waxseal set`: from stdin, files, literals and the terminal.

use crate::folder::{HOSTILE_NAME, communicate, data_of};
use crate::set::{SAYS_A, SET_A, folder_with, opened, value};
use crate::terminal::{Session, without_terminal};

#[test]
fn values_come_from_stdin_files_and_literals_byte_for_byte() {
    let folder = folder_with("A: a long value");
    let binary = b"\0\xff\r\nline\n";
    let warning =
        "warning: <stdin>: the value of A ends with a line break; `printf %s` writes none\nset A in shop/db\n";
    folder.waxseal(&SET_A).stdin(binary).writes(&["db.yaml"]).warns(warning);
    assert_eq!(data_of(&opened(&folder, "db.yaml"))["A"], binary);
    folder.write("deep/tls.key", binary);
    let from_file = ["set", "db.yaml", "--keys", "cluster.yaml", "--from-file", "deep/tls.key"];
    folder.waxseal(&from_file).writes(&["db.yaml"]).warns("set tls.key in shop/db\n");
    let named = ["set", "db.yaml", "--keys", "cluster.yaml", "--from-file", "A=deep/tls.key"];
    folder.waxseal(&named).writes(&["db.yaml"]).warns(SAYS_A);
    let data = data_of(&opened(&folder, "db.yaml"));
    assert_eq!((&data["A"][..], &data["tls.key"][..]), (&binary[..], &binary[..]));
    let empty = ["set", "db.yaml", "--keys", "cluster.yaml", "--from-literal", "A="];
    let warning = "warning: A: the shell's history and the list of processes show a value of --from-literal\n";
    folder.waxseal(&empty).writes(&["db.yaml"]).warns(&format!("{warning}{SAYS_A}"));
    assert_eq!(data_of(&opened(&folder, "db.yaml"))["A"], b"");
}

#[test]
fn a_run_without_a_value_is_refused() {
    let folder = folder_with("A: a long value");
    let hint = "hint: pass `--from-literal KEY=` for an empty value\n";
    let nothing = format!("error: nothing on stdin for the value of A\n{hint}");
    folder.waxseal(&SET_A).fails(3, &nothing);
    let stderr = "error: no value to set\nhint: name a data key, or pass `--from-file [KEY=]FILE`\n";
    folder.waxseal(&["set", "db.yaml", "--keys", "cluster.yaml"]).fails(2, stderr);
    folder
        .waxseal(&["set", "db.yaml", "--keys", "cluster.yaml", "--from-file", "absent"])
        .fails(1, "error: absent: no such file or folder\n");
    folder.write("large", vec![b'x'; (1 << 20) + 1]);
    folder
        .waxseal(&["set", "db.yaml", "--keys", "cluster.yaml", "--from-file", "large"])
        .fails(3, "error: large: larger than 1 MiB, which is the limit for a Secret\n");
    let recipients = "error: no recipients to seal to
hint: pass `--to CLUSTER`, `--keys FILE` (`waxseal keys fetch` writes one) or `--recipient age1pq1…`, or write rules into .waxseal.yaml
";
    folder.waxseal(&["set", "db.yaml", "A"]).stdin("x").fails(2, recipients);
}

#[test]
fn a_value_as_an_argument_is_refused_and_not_shown() {
    let folder = folder_with("A: a long value");
    let stderr = "error: KEY=VALUE on the command line: the shell's history keeps the value
hint: name the data key alone, without `=` and a value
";
    for argument in ["A=hunter2", "hunter2=", "=hunter2"] {
        folder.waxseal(&["set", "db.yaml", argument, "--keys", "cluster.yaml"]).fails(2, stderr);
    }
    let literal = ["set", "db.yaml", "--from-literal", "hunter2", "--keys", "cluster.yaml"];
    folder.waxseal(&literal).fails(2, "error: --from-literal: not KEY=VALUE\n");
}

#[test]
fn a_data_key_that_is_given_twice_or_is_invalid_is_refused() {
    let folder = folder_with("A: a long value");
    folder.write("A", "from a file");
    let twice = "error: the data key A is given twice\n";
    let set = ["set", "db.yaml", "A", "--from-file", "A", "--keys", "cluster.yaml"];
    folder.waxseal(&set).stdin("x").fails(2, twice);
    let set = ["set", "db.yaml", "--from-file", "A", "--from-file", "A=A", "--keys", "cluster.yaml"];
    folder.waxseal(&set).fails(2, twice);
    for key in ["..", "a b", HOSTILE_NAME, ""] {
        let outcome = folder.waxseal(&["set", "db.yaml", key, "--keys", "cluster.yaml"]).stdin("hunter2").finish();
        assert_eq!(outcome.status.code(), Some(2), "{}", outcome.stderr);
        assert!(outcome.stderr.starts_with("error: KEY: "), "{}", outcome.stderr);
        assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.stderr);
    }
}

#[test]
fn the_terminal_asks_for_several_values_without_showing_them() {
    let folder = folder_with("A: a long value");
    let set = ["set", "db.yaml", "A", "B", "--keys", "cluster.yaml"];
    let mut session = Session::start(&folder, &set);
    session.answers("Value of A: ", "hunter2hunter2\n");
    session.answers("Value of B: ", " with spaces \n");
    let (outcome, shown) = session.ends();
    let announcement = format!("sealed to {} (Cluster, from cluster.yaml)\n", folder.key_id("cluster"));
    let stderr = format!("{announcement}set A, B in shop/db\n");
    assert_eq!((outcome.stderr, outcome.status.code()), (stderr, Some(0)));
    assert_eq!(shown, "Value of A: \nValue of B: \n");
    let opened = opened(&folder, "db.yaml");
    assert_eq!((value(&opened, "A"), value(&opened, "B")), ("hunter2hunter2".into(), " with spaces ".into()));
}

#[test]
fn the_terminal_asks_for_one_value_if_stdin_is_a_terminal() {
    let folder = folder_with("A: a long value");
    let mut session = Session::start_with_stdin(&folder, &SET_A);
    session.answers("Value of A: ", "hunter2hunter2\n");
    let (outcome, shown) = session.ends();
    assert!(outcome.stderr.ends_with(SAYS_A) && outcome.status.success(), "{}", outcome.stderr);
    assert_eq!(shown, "Value of A: \n");
    assert_eq!(value(&opened(&folder, "db.yaml"), "A"), "hunter2hunter2");
}

#[test]
fn an_answer_that_is_empty_or_too_long_changes_nothing() {
    let folder = folder_with("A: a long value");
    let set = ["set", "db.yaml", "A", "B", "--keys", "cluster.yaml"];
    let before = folder.read("db.yaml");
    let long = format!("{}\n", "x".repeat(5000));
    let empty = "error: the value of A is empty\nhint: pass `--from-literal KEY=` for an empty value\n";
    let too_long = "error: the value of A is too long to be typed\nhint: pass `--from-file KEY=FILE`\n";
    for (answer, stderr) in [("\n", empty), (&long, too_long)] {
        let mut session = Session::start(&folder, &set);
        session.answers("Value of A: ", answer);
        let (outcome, _) = session.ends();
        assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(3)));
        assert_eq!(folder.read("db.yaml"), before);
    }
    let outcome = communicate(without_terminal(&folder, &set), b"x".to_vec());
    let stderr = "error: no terminal to ask for the value of A
hint: pass `--from-file KEY=FILE`, or one data key alone and the value on stdin
";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(2)));
}

/// [`Session::ends`] checks that the rest is not left for the shell, which would run it and keep it in its history.
#[test]
fn a_pasted_answer_of_several_lines_is_refused() {
    let folder = folder_with("A: a long value");
    let before = folder.read("db.yaml");
    let stderr = "error: the value of A has several lines\nhint: pass `--from-file KEY=FILE`\n";
    // One write of the terminal: a pause between two writes would be an end of the paste.
    let many = format!("{}\n", "a line of a key ".repeat(4)).repeat(30);
    for answer in ["first\nsecond\nthird\n", "first\nsecond", "first\n\n", &many] {
        for keys in [&["A"][..], &["A", "B"]] {
            let set = [&["set", "db.yaml", "--keys", "cluster.yaml"], keys].concat();
            let mut session = Session::start_with_stdin(&folder, &set);
            session.answers("Value of A: ", answer);
            let (outcome, shown) = session.ends();
            assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(3)));
            assert_eq!(shown.trim_end(), "Value of A:");
            assert_eq!(folder.read("db.yaml"), before);
        }
    }
}

#[test]
fn an_answer_with_a_control_character_is_refused() {
    let folder = folder_with("A: a long value");
    let before = folder.read("db.yaml");
    let stderr = "error: the value of A has a control character, such as that of an arrow key
hint: type it again, or pass `--from-file KEY=FILE`
";
    // Ctrl-Z, an arrow key, and a paste that the terminal marks.
    for answer in ["\u{1a}hunter2\n", "hunt\u{1b}[Der2\n", "\u{1b}[200~hunter2\u{1b}[201~\n"] {
        let mut session = Session::start_with_stdin(&folder, &SET_A);
        session.answers("Value of A: ", answer);
        let (outcome, _) = session.ends();
        assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(3)));
        assert_eq!(folder.read("db.yaml"), before);
    }
    let mut session = Session::start_with_stdin(&folder, &SET_A);
    session.answers("Value of A: ", "with a\ttab\n");
    let (outcome, _) = session.ends();
    assert!(outcome.status.success(), "{}", outcome.stderr);
    assert_eq!(value(&opened(&folder, "db.yaml"), "A"), "with a\ttab");
}

/// The question can wait for minutes, and somebody can edit the file in the meantime.
#[test]
fn an_edit_during_the_question_is_not_lost() {
    let folder = folder_with("A: a long value");
    let mut session = Session::start(&folder, &["set", "db.yaml", "A", "B", "--keys", "cluster.yaml"]);
    session.answers("Value of A: ", "hunter2hunter2\n");
    let edited = format!("# by hand\n{}", folder.read("db.yaml"));
    folder.write("db.yaml", &edited);
    session.answers("Value of B: ", "x\n");
    let (outcome, _) = session.ends();
    let stderr =
        "error: db.yaml: changed while waxseal worked on it, so it stays as it is\nhint: run the command again\n";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(1)));
    assert_eq!(folder.read("db.yaml"), edited);
}

#[test]
fn stdin_cannot_hold_both_the_value_and_the_keys() {
    let folder = folder_with("A: a long value");
    let stderr = "error: `--keys -` reads stdin, which holds the value\n\
                  hint: name the keys file, or pass `--from-file KEY=FILE`\n";
    let keys = folder.read("cluster.yaml");
    folder.waxseal(&["set", "db.yaml", "A", "--keys", "-"]).stdin(&keys).fails(2, stderr);
    let twice = ["set", "db.yaml", "--from-literal", "A=b", "--keys", "-", "--keys", "-"];
    let stderr = "error: `-` names stdin twice, and stdin can be read only once\n";
    folder.waxseal(&twice).stdin(&keys).fails(2, stderr);
}
