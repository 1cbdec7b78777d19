//! The terminal that the program was started from, whatever its streams are.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use zeroize::Zeroizing;

/// No terminal gives a longer line at once.
const MAX_LINE_BYTES: usize = 4096;

/// The terminal that is silent now, and what it was set to before.
static SILENCED: Mutex<Option<(File, Termios)>> = Mutex::new(None);

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
    let is_interrupted = line.last() == Some(&silence.interrupt_key);
    let is_ended = line.last() == Some(&b'\n');
    drop(silence);
    if !is_ended {
        // The line break that a finished answer shows by itself.
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

/// A terminal that shows nothing of what is typed until this is dropped, or a signal ends the program.
///
/// It delivers the line at Ctrl-C, rather than a signal.
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
        restore_before_the_end()?;
        // Held until the terminal is silent: a signal restores it afterwards.
        let mut silenced = silenced();
        *silenced = Some((terminal.try_clone()?, before));
        // What was typed before the question does not answer it.
        tcsetattr(terminal, OptionalActions::Flush, &during)?;
        Ok(Self { interrupt_key })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        restore(&mut silenced());
    }
}

/// Has the signals that end a program by default restore the terminal first, from now on.
fn restore_before_the_end() -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
    thread::Builder::new().spawn(move || {
        for signal in signals.forever() {
            // Held until the end: no other question silences the terminal again.
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
        // Nothing else can be done for a terminal that is gone.
        let _unrestored = tcsetattr(terminal, OptionalActions::Now, &before);
    }
}
