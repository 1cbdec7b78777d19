//! The terminal that the program was started from, whatever its streams are.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// No terminal gives a longer line at once.
const MAX_LINE_BYTES: usize = 4096;

/// Asks a question whose answer does not show, and gives the answer with its line break; `None`
/// without a terminal. Ctrl-C ends the program.
pub(crate) fn ask_hidden(question: &str) -> Option<io::Result<Zeroizing<String>>> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    Some(ask_at(&terminal, question))
}

fn ask_at(mut terminal: &File, question: &str) -> io::Result<Zeroizing<String>> {
    let silence = Silence::begin(terminal)?;
    terminal.write_all(question.as_bytes())?;
    let mut buffer = Zeroizing::new([0; MAX_LINE_BYTES]);
    let length = terminal.read(buffer.as_mut())?;
    let line = &buffer[..length];
    let is_interrupted = line.last() == Some(&silence.interrupt_key());
    let is_ended = line.last() == Some(&b'\n');
    drop(silence);
    if !is_ended {
        // The line break that a finished answer shows by itself.
        terminal.write_all(b"\n")?;
    }
    if is_interrupted {
        kill_process(getpid(), Signal::INT)?;
        return Err(io::ErrorKind::Interrupted.into());
    }
    match str::from_utf8(line) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A terminal that shows nothing of what is typed until this is dropped.
///
/// It delivers the line at Ctrl-C, rather than a signal that would leave it silent for good.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silence<'a> {
    fn begin(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut during = before.clone();
        during.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        during.local_modes.insert(LocalModes::ICANON | LocalModes::ECHONL);
        during.special_codes[SpecialCodeIndex::VEOL] = before.special_codes[SpecialCodeIndex::VINTR];
        // What was typed before the question is no answer to it.
        tcsetattr(terminal, OptionalActions::Flush, &during)?;
        Ok(Self { terminal, before })
    }

    fn interrupt_key(&self) -> u8 {
        self.before.special_codes[SpecialCodeIndex::VINTR]
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // Nothing else can be done for a terminal that is gone.
        let _unrestored = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
