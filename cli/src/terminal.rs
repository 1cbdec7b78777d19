//! The controlling terminal of the process, also if stdin and stderr are redirected.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use zeroize::Zeroizing;

use crate::error::CliError;

/// The longest line that a terminal returns from one read. It drops the rest of a longer line without a word.
const MAX_LINE_BYTES: usize = 4096;

/// How long a read waits for more text after an answer, in tenths of a second. The rest of a paste comes at once.
const WAIT_FOR_MORE: u8 = 1;

/// The terminal whose echo is off now, and its settings from before.
static SILENCED: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// What was typed or pasted at a question.
enum Answer {
    /// A line, with its line break. It has none if Ctrl-D ended it.
    Line(Zeroizing<String>),
    TooLong,
    SeveralLines,
}

/// Asks a question with the echo off, and returns the answer with its line break, if it has one; `None` without a
/// terminal. Errors call the answer `what`, such as "the passphrase". Ctrl-C ends the program.
///
/// Refuses an answer of several lines, and one that is too long. What was not read is dropped, so that the shell does
/// not run it and does not keep it in its history.
pub(crate) fn ask_hidden(question: &str, what: &str) -> Option<Result<Zeroizing<String>, CliError>> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    Some(match ask_at(&terminal, question) {
        Ok(Answer::Line(line)) => Ok(line),
        Ok(Answer::TooLong) => Err(CliError::refused(format!("{what} is too long to be typed"))),
        Ok(Answer::SeveralLines) => Err(CliError::refused(format!("{what} has several lines"))),
        Err(error) => Err(CliError::io(&format!("read {what}"), &error)),
    })
}

fn ask_at(mut terminal: &File, question: &str) -> io::Result<Answer> {
    let silence = Silence::begin(terminal)?;
    terminal.write_all(question.as_bytes())?;
    let mut buffer = Zeroizing::new([0; MAX_LINE_BYTES]);
    let length = terminal.read(buffer.as_mut())?;
    let line = &buffer[..length];
    let is_interrupted = line.last() == Some(&silence.interrupt_key);
    let is_ended = line.last() == Some(&b'\n');
    let has_more = !is_interrupted && silence.discard_rest(terminal)?;
    drop(silence);
    if !is_ended {
        // Only a finished answer echoes its line break.
        terminal.write_all(b"\n")?;
    }
    if is_interrupted {
        emulate_default_handler(SIGINT)?;
        return Err(io::ErrorKind::Interrupted.into());
    }
    if has_more {
        return Ok(Answer::SeveralLines);
    }
    if length == MAX_LINE_BYTES {
        return Ok(Answer::TooLong);
    }
    match str::from_utf8(line) {
        Ok(text) => Ok(Answer::Line(Zeroizing::new(text.to_owned()))),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Keeps the echo of the terminal off until it is dropped or a signal ends the program.
///
/// Ctrl-C ends the line instead of sending a signal.
struct Silence {
    interrupt_key: u8,
}

impl Silence {
    fn begin(terminal: &File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let interrupt_key = before.special_codes[SpecialCodeIndex::VINTR];
        let mut during = before.clone();
        during.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        during.local_modes.insert(LocalModes::ICANON | LocalModes::ECHONL);
        during.special_codes[SpecialCodeIndex::VEOL] = interrupt_key;
        restore_on_signals()?;
        // Keeps the lock until the echo is off. Otherwise a signal could restore the terminal before the echo is off,
        // and the terminal would then stay without echo.
        let mut silenced = silenced();
        *silenced = Some((terminal.try_clone()?, before));
        // Drops what was typed before the question.
        tcsetattr(terminal, OptionalActions::Flush, &during)?;
        Ok(Self { interrupt_key })
    }

    /// Reads and drops the text after the answer, until no more comes. Returns whether there was any.
    fn discard_rest(&self, mut terminal: &File) -> io::Result<bool> {
        let mut during = tcgetattr(terminal)?;
        // Without ICANON, a last line without a line break is read too, and a read ends when the time is over.
        during.local_modes.remove(LocalModes::ICANON);
        during.special_codes[SpecialCodeIndex::VMIN] = 0;
        during.special_codes[SpecialCodeIndex::VTIME] = WAIT_FOR_MORE;
        {
            // With the lock, as in `begin`: after a signal has restored the terminal, it must stay restored.
            let _silenced = silenced();
            tcsetattr(terminal, OptionalActions::Now, &during)?;
        }
        let mut buffer = Zeroizing::new([0; MAX_LINE_BYTES]);
        let mut has_more = false;
        while terminal.read(buffer.as_mut())? > 0 {
            has_more = true;
        }
        Ok(has_more)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        restore(&mut silenced());
    }
}

/// Restores the terminal before a signal ends the program.
fn restore_on_signals() -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    thread::Builder::new().spawn(move || {
        for signal in signals.forever() {
            // Keeps the lock until the program ends, so that no other question turns the echo off again.
            let mut silenced = silenced();
            restore(&mut silenced);
            let _ended = emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

fn silenced() -> MutexGuard<'static, Option<(File, Termios)>> {
    SILENCED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn restore(silenced: &mut Option<(File, Termios)>) {
    if let Some((terminal, before)) = silenced.take() {
        // Drops what was typed and not read: the shell would show it, run it and keep it in its history.
        // Ignores errors: the terminal may be gone.
        let _unrestored = tcsetattr(terminal, OptionalActions::Flush, &before);
    }
}
