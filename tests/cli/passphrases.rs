//! Identity files that a passphrase protects.

use std::io::Write;
use std::iter;
use std::os::unix::process::ExitStatusExt;

use age::armor::{ArmoredWriter, Format};
use age_core::secrecy::SecretString;
use rustix::process::Signal;

use crate::folder::{Folder, SECRET, communicate, data_of};
use crate::terminal::{Session, without_terminal};

const PASSPHRASE: &str = "correct horse";
const OPEN: [&str; 4] = ["open", "sealed.yaml", "--identity", "safe.key"];

fn encrypt(recipient: &dyn age::Recipient, text: &str, format: Format) -> Vec<u8> {
    let mut file = Vec::new();
    let encryptor = age::Encryptor::with_recipients(iter::once(recipient)).expect("one recipient");
    let armour = ArmoredWriter::wrap_output(&mut file, format).expect("memory");
    let mut writer = encryptor.wrap_output(armour).expect("memory");
    writer.write_all(text.as_bytes()).expect("memory");
    writer.finish().and_then(ArmoredWriter::finish).expect("memory");
    file
}

pub(crate) fn protect(text: &str, passphrase: &str, format: Format) -> Vec<u8> {
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
    recipient.set_work_factor(4);
    encrypt(&recipient, text, format)
}

/// A folder with `sealed.yaml`, the protected identity `safe.key` that opens it, and its passphrase in `pass`.
fn folder(format: Format) -> Folder {
    let folder = Folder::with_key();
    let seal = folder.waxseal(&["seal", "--keys", "cluster.yaml"]).stdin(SECRET);
    folder.write("sealed.yaml", seal.succeeds());
    folder.write("safe.key", protect(&folder.read("cluster.key"), PASSPHRASE, format));
    folder.write("pass", format!("{PASSPHRASE}\n"));
    folder
}

fn with_file<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--passphrase-file", "pass"]].concat()
}

#[test]
fn a_passphrase_file_works_for_open_and_keys_public() {
    for format in [Format::Binary, Format::AsciiArmor] {
        let folder = folder(format);
        let opened = folder.waxseal(&with_file(&OPEN)).succeeds();
        assert_eq!(data_of(&opened)["A"], b"a long value");
        let public = folder.waxseal(&with_file(&["keys", "public", "--identity", "safe.key"]));
        public.prints(&folder.read("cluster.yaml"));
        let stdin = folder.waxseal(&[&OPEN[..], &["--passphrase-file", "-"]].concat()).stdin(PASSPHRASE);
        assert_eq!(stdin.succeeds(), opened);
    }
}

#[test]
fn plain_and_protected_identity_files_can_be_combined() {
    let folder = folder(Format::Binary);
    folder.generate("other", &[]);
    let open = folder.waxseal(&with_file(&[&OPEN[..], &["--identity", "other.key"]].concat()));
    assert_eq!(data_of(&open.succeeds())["A"], b"a long value");
}

#[test]
fn one_final_newline_of_a_passphrase_file_is_dropped() {
    let folder = folder(Format::Binary);
    for (pass, is_right) in [(PASSPHRASE, true), ("correct horse\r\n", true), ("correct horse\n\n", false)] {
        folder.write("pass", pass);
        let open = folder.waxseal(&with_file(&OPEN));
        if is_right {
            drop(open.succeeds())
        } else {
            open.fails(3, "error: safe.key: the passphrase does not open it\n")
        }
    }
}

#[test]
fn a_wrong_empty_or_missing_passphrase_file_is_refused() {
    let folder = folder(Format::Binary);
    folder.write("pass", "Correct horse\n");
    folder.waxseal(&with_file(&OPEN)).fails(3, "error: safe.key: the passphrase does not open it\n");
    for empty in ["", "\n"] {
        folder.write("pass", empty);
        folder.waxseal(&with_file(&OPEN)).fails(3, "error: pass: the passphrase is empty\n");
    }
    let absent = folder.waxseal(&[&OPEN[..], &["--passphrase-file", "absent"]].concat());
    absent.fails(1, "error: absent: no such file or folder\n");
}

#[test]
fn a_passphrase_file_without_a_protected_identity_is_refused() {
    let folder = folder(Format::Binary);
    let stderr = "error: --passphrase-file: no identity file is protected by a passphrase
hint: leave `--passphrase-file` out
";
    for arguments in [
        &["open", "sealed.yaml", "--identity", "cluster.key", "--passphrase-file", "pass"][..],
        &["keys", "public", "--identity", "cluster.key", "--passphrase-file", "pass"],
    ] {
        folder.waxseal(arguments).fails(2, stderr);
    }
}

#[test]
fn stdin_named_twice_is_refused() {
    let folder = folder(Format::Binary);
    let stderr = "error: `-` names stdin twice, and stdin can be read only once\n";
    for arguments in [
        &["open", "-", "--identity", "safe.key", "--passphrase-file", "-"][..],
        &["open", "-", "--identity", "-"],
        &["open", "sealed.yaml", "--identity", "-", "--identity", "-"],
        &["keys", "public", "--identity", "-", "--passphrase-file", "-"],
    ] {
        folder.waxseal(arguments).stdin(PASSPHRASE).fails(2, stderr);
    }
}

#[test]
fn a_blank_line_before_the_armour_does_not_matter() {
    let folder = folder(Format::AsciiArmor);
    folder.write("safe.key", format!("\n{}", folder.read("safe.key")));
    let opened = folder.waxseal(&with_file(&OPEN)).succeeds();
    assert_eq!(data_of(&opened)["A"], b"a long value");
}

#[test]
fn encrypted_files_that_are_damaged_or_not_identity_files_are_refused() {
    let folder = folder(Format::Binary);
    let identity = folder.read("cluster.key");
    let armoured = String::from_utf8(protect(&identity, PASSPHRASE, Format::AsciiArmor)).expect("armour is text");
    let to_a_key = age::x25519::Identity::generate().to_public();
    let binary = protect(&identity, PASSPHRASE, Format::Binary);
    for (content, error) in [
        (armoured.as_bytes()[..armoured.len() - 40].to_vec(), "its ASCII armour is damaged"),
        (encrypt(&to_a_key, &identity, Format::Binary), "it is encrypted to a key and not with a passphrase"),
        (binary[..50].to_vec(), "it is encrypted, but its age v1 header is damaged, cut off or too long"),
        (
            binary[..binary.len() - 1].to_vec(),
            "the passphrase is right, but the file is damaged: a part of the file does not decrypt",
        ),
        (
            protect("hunter2\n", PASSPHRASE, Format::Binary),
            "its decrypted content is not an identity file: line 1: neither an identity nor a comment",
        ),
    ] {
        folder.write("safe.key", content);
        folder.waxseal(&with_file(&OPEN)).fails(3, &format!("error: safe.key: {error}\n"));
    }
}

#[test]
fn an_excessive_work_factor_is_refused_at_once() {
    let folder = folder(Format::Binary);
    let file = protect(&folder.read("cluster.key"), PASSPHRASE, Format::Binary);
    let factor = file.windows(3).position(|window| window == b" 4\n").expect("the work factor");
    folder.write("safe.key", [&file[..factor], b" 23", &file[factor + 2..]].concat());
    // `waxseal` refuses the file before it asks for the passphrase. Without a terminal, asking is another error.
    let outcome = communicate(without_terminal(&folder, &OPEN), Vec::new());
    let stderr = "error: safe.key: its passphrase takes 2^23 rounds of scrypt, and at most 2^22 are allowed\n";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(3)));
}

#[test]
fn without_a_terminal_a_passphrase_file_is_required() {
    let folder = folder(Format::Binary);
    let outcome = communicate(without_terminal(&folder, &OPEN), PASSPHRASE.into());
    let stderr = "error: safe.key: protected by a passphrase, and there is no terminal to ask for it
hint: pass `--passphrase-file FILE`
";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(2)));
}

#[test]
fn a_typed_passphrase_is_not_echoed() {
    let folder = folder(Format::Binary);
    let mut session = Session::start(&folder, &[&OPEN[..], &["-o", "db.yaml"]].concat());
    session.answers("Passphrase of safe.key: ", "correct horsf\u{7f}e\n");
    let (outcome, shown) = session.ends();
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), ("", Some(0)));
    assert_eq!(shown, "Passphrase of safe.key: \n");
    assert_eq!(data_of(&folder.read("db.yaml"))["A"], b"a long value");
}

#[test]
fn the_passphrase_of_each_protected_file_is_asked_for() {
    let folder = folder(Format::Binary);
    folder.generate("other", &[]);
    folder.write("other.key", protect(&folder.read("other.key"), "battery", Format::AsciiArmor));
    let mut session = Session::start(&folder, &[&OPEN[..], &["--identity", "other.key", "-o", "db.yaml"]].concat());
    session.answers("Passphrase of safe.key: ", "correct horse\n");
    session.answers("Passphrase of other.key: ", "staple\n");
    let (outcome, shown) = session.ends();
    let stderr = "error: other.key: the passphrase does not open it\n";
    assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(3)));
    assert_eq!(shown, "Passphrase of safe.key: \nPassphrase of other.key: \n");
    assert!(!folder.path().join("db.yaml").exists());
}

#[test]
fn an_empty_answer_is_refused() {
    let folder = folder(Format::Binary);
    for answer in ["\n", "\u{4}"] {
        let mut session = Session::start(&folder, &OPEN);
        session.answers("Passphrase of safe.key: ", answer);
        let (outcome, shown) = session.ends();
        let stderr = "error: safe.key: the passphrase is empty\n";
        assert_eq!((outcome.stderr.as_str(), outcome.status.code()), (stderr, Some(3)));
        assert_eq!(shown, "Passphrase of safe.key: \n");
    }
}

#[test]
fn an_answer_that_is_too_long_or_has_several_lines_is_refused() {
    let folder = folder(Format::Binary);
    let long = format!("{}\n", "x".repeat(5000));
    for (answer, fault) in [("correct horse\nbattery\n", "has several lines"), (&long, "is too long to be typed")] {
        let mut session = Session::start(&folder, &OPEN);
        session.answers("Passphrase of safe.key: ", answer);
        let (outcome, _) = session.ends();
        let stderr = format!("error: safe.key: the passphrase {fault}\nhint: pass `--passphrase-file FILE`\n");
        assert_eq!((outcome.stderr, outcome.status.code()), (stderr, Some(3)));
    }
}

#[test]
fn a_signal_restores_the_terminal() {
    let folder = folder(Format::Binary);
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
        let mut session = Session::start(&folder, &OPEN);
        session.answers("Passphrase of safe.key: ", "corr");
        session.signals("Passphrase of safe.key: ", signal);
        let (outcome, shown) = session.ends();
        assert_eq!((outcome.stderr.as_str(), outcome.status.signal()), ("", Some(signal.as_raw())));
        assert_eq!(shown, "Passphrase of safe.key: ");
    }
}

#[test]
fn a_signal_at_the_second_question_restores_the_terminal() {
    let folder = folder(Format::Binary);
    let mut session = Session::start(&folder, &[&OPEN[..], &["--identity", "safe.key"]].concat());
    session.answers("Passphrase of safe.key: ", "correct horse\n");
    session.signals("\nPassphrase of safe.key: ", Signal::TERM);
    let (outcome, shown) = session.ends();
    assert_eq!((outcome.stderr.as_str(), outcome.status.signal()), ("", Some(Signal::TERM.as_raw())));
    assert_eq!(shown, "Passphrase of safe.key: \nPassphrase of safe.key: ");
}

#[test]
fn ctrl_c_at_the_question_restores_the_terminal() {
    let folder = folder(Format::Binary);
    let mut session = Session::start(&folder, &OPEN);
    session.answers("Passphrase of safe.key: ", "corr\u{3}");
    let (outcome, shown) = session.ends();
    assert_eq!((outcome.stderr.as_str(), outcome.status.signal()), ("", Some(2)));
    assert_eq!(shown, "Passphrase of safe.key: \n");
}
