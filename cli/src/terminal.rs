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

/// The longest line that a terminal returns from one read.
pub(crate) const MAX_LINE_BYTES: usize = 4096;

/// The terminal whose echo is off now, and its settings from before.
static SILENCED: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Asks a question with the echo off, and returns the answer with its line break; `None` without a terminal. Ctrl-C
/// ends the program.
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
    let is_interrupted = line.last() == Some(&silence.interrupt_key);
    let is_ended = line.last() == Some(&b'\n');
    drop(silence);
    if !is_ended {
        // Only a finished answer echoes its line break.
        terminal.write_all(b"\n")?;
    }
    if is_interrupted {
        emulate_default_handler(SIGINT)?;
        return Err(io::ErrorKind::Interrupted.into());
    }
    match str::from_utf8(line) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
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
        // Ignores errors: the terminal may be gone.
        let _unrestored = tcsetattr(terminal, OptionalActions::Now, &before);
    }
}
