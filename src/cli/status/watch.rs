//! `--watch`: the same screen again whenever something changes, in place.
//!
//! On a terminal it takes the alternate screen and gives it back however it ends: by `q`, by a signal, by a panic.
//! Each frame is one write, and a frame that looks like the one before is not written. Elsewhere a frame is printed
//! only where there is news; that a second has passed is none. Nothing is ever written to disk.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

use super::{StatusArgs, Subject};
use crate::cli::DONE;
use crate::cli::terminal::Look;
use crate::tick::clock;

/// Takes the alternate screen, hides the cursor, and keeps lines from wrapping.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
/// Gives all of that back.
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Between these, terminals that know them show nothing until all of it is there.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
/// Clears the lines below the one that was written.
const REST: &str = "\r\n\x1b[J";

/// Something from outside.
enum Event {
    /// A key.
    Key(u8),
    /// A signal.
    Signal(Signal),
}

/// Watches until it is told to stop.
pub fn watch(subject: &mut Subject, args: &StatusArgs) -> anyhow::Result<u8> {
    let every = Duration::from_secs(args.every.0);
    if io::stdout().is_terminal() { on_terminal(subject, args, every) } else { in_pipe(subject, args, every) }
}

/// Prints a frame whenever there is news, until the reader goes away.
fn in_pipe(subject: &mut Subject, args: &StatusArgs, every: Duration) -> anyhow::Result<u8> {
    let mut shown = None;
    loop {
        let drawn = subject.draw(args, &Look::new(&args.look), clock::now())?;
        if shown.as_ref() != Some(&drawn.news) {
            let mut out = io::stdout().lock();
            match out.write_all(format!("{}\n", drawn.text).as_bytes()).and_then(|()| out.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(DONE),
                other => other?,
            }
            shown = Some(drawn.news);
        }
        thread::sleep(every);
    }
}

fn on_terminal(subject: &mut Subject, args: &StatusArgs, every: Duration) -> anyhow::Result<u8> {
    // What is wrong from the beginning is said on the terminal as it is.
    let mut text = subject.draw(args, &Look::new(&args.look), clock::now())?.text;
    let events = events()?;
    let screen = Screen::enter()?;
    let mut scroll = Scroll::default();
    let mut shown = String::new();
    loop {
        let frame = frame(&text, rows(), &mut scroll);
        if frame != shown {
            screen.write(&frame)?;
            shown = frame;
        }
        let begun = Instant::now();
        loop {
            match events.recv_timeout(every.saturating_sub(begun.elapsed())) {
                Ok(Event::Key(b'q' | b'Q' | 3 | 4) | Event::Signal(Signal::SIGINT)) => return Ok(DONE),
                Ok(Event::Key(b'j' | b' ')) => scroll.top += 1,
                Ok(Event::Key(b'k')) => scroll.top = scroll.top.saturating_sub(1),
                Ok(Event::Key(_)) => continue,
                Ok(Event::Signal(Signal::SIGWINCH)) => shown.clear(),
                Ok(Event::Signal(signal)) => {
                    drop(screen);
                    return Ok(128_u8.saturating_add(u8::try_from(signal as i32).unwrap_or(0)));
                }
                // Without anybody who tells of keys and signals, time passes all the same.
                Err(RecvTimeoutError::Disconnected) => thread::sleep(every),
                Err(RecvTimeoutError::Timeout) => {}
            }
            break;
        }
        text = match subject.draw(args, &Look::new(&args.look), clock::now()) {
            Ok(drawn) => drawn.text,
            // It may be put right while somebody watches.
            Err(error) => format!("autometta: {error:#}\n"),
        };
    }
}

/// Which lines are shown where not all of them fit.
#[derive(Debug, Default)]
struct Scroll {
    top: usize,
}

/// The text as one write that replaces what stands on the screen.
fn frame(text: &str, rows: usize, scroll: &mut Scroll) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let room = if lines.len() > rows { rows.saturating_sub(1) } else { rows };
    scroll.top = scroll.top.min(lines.len().saturating_sub(room));
    let mut frame = format!("{BEGIN}\x1b[H");
    let mut put = |number: usize, line: &str| {
        let next = if number == 0 { "" } else { "\r\n" };
        // Cleared first: behind a line that fills the screen, the cursor still stands on its last letter.
        frame.push_str(&format!("{next}\x1b[2K{line}"));
    };
    for (number, line) in lines.iter().skip(scroll.top).take(room).enumerate() {
        put(number, line);
    }
    if lines.len() > room {
        let hidden = lines.len() - room - scroll.top;
        put(room, &format!("{hidden} more lines below; j and k move, q ends"));
    }
    // What stands below is cleared from a line of its own, for the same reason.
    if lines.len().min(rows) < rows {
        frame.push_str(REST);
    }
    frame.push_str(END);
    frame
}

fn rows() -> usize {
    const USUAL: u16 = 24;
    let told = terminal_size::terminal_size().map(|(_, terminal_size::Height(rows))| rows);
    usize::from(told.filter(|rows| *rows > 0).unwrap_or(USUAL))
}

/// Keys and signals, one after another. The signals are blocked in every thread from here on, and one thread takes
/// them; a process that is stopped in the alternate screen helps nobody, so Ctrl-Z is taken as well, and nothing done.
fn events() -> io::Result<Receiver<Event>> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH, Signal::SIGTSTP]
    {
        signals.add(signal);
    }
    signals.thread_block()?;
    let (tell, events) = mpsc::channel();
    let tell_keys = tell.clone();
    thread::spawn(move || signals_to(&signals, &tell));
    if io::stdin().is_terminal() {
        thread::spawn(move || keys_to(&tell_keys));
    }
    Ok(events)
}

fn signals_to(signals: &SigSet, tell: &Sender<Event>) {
    while let Ok(signal) = signals.wait() {
        if signal != Signal::SIGTSTP && tell.send(Event::Signal(signal)).is_err() {
            return;
        }
    }
}

fn keys_to(tell: &Sender<Event>) {
    let mut keys = [0; 64];
    while let Ok(read) = io::stdin().lock().read(&mut keys) {
        if read == 0 {
            return;
        }
        for key in arrows(&keys[..read]) {
            if tell.send(Event::Key(key)).is_err() {
                return;
            }
        }
    }
}

/// Arrow keys as the letters that do the same; other sequences are nothing.
fn arrows(bytes: &[u8]) -> Vec<u8> {
    match bytes {
        [0x1b, b'[' | b'O', b'A', ..] => vec![b'k'],
        [0x1b, b'[' | b'O', b'B', ..] => vec![b'j'],
        [0x1b, ..] => Vec::new(),
        keys => keys.to_vec(),
    }
}

/// The terminal while it is ours.
struct Screen {
    before: Arc<Mutex<Option<Termios>>>,
}

impl Screen {
    fn enter() -> anyhow::Result<Self> {
        let before = termios::tcgetattr(io::stdout())?;
        let mut ours = before.clone();
        ours.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        let screen = Self { before: Arc::new(Mutex::new(Some(before))) };
        // A release build aborts on a panic, and then nothing is dropped.
        let kept = Arc::clone(&screen.before);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore(&kept);
            hook(panic);
        }));
        termios::tcsetattr(io::stdout(), SetArg::TCSANOW, &ours)?;
        screen.write(ENTER)?;
        Ok(screen)
    }

    #[expect(clippy::unused_self, reason = "who writes must have the screen")]
    fn write(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore(&self.before);
    }
}

/// Leaves the terminal as it was, once. One that is gone needs nothing.
fn restore(before: &Mutex<Option<Termios>>) {
    let Some(before) = before.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let mut out = io::stdout();
    let _ = out.write_all(LEAVE.as_bytes());
    let _ = out.flush();
    let _ = termios::tcsetattr(&out, SetArg::TCSANOW, &before);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::terminal::text::width;

    #[test]
    fn a_frame_replaces_the_one_before_and_says_what_is_hidden() {
        let mut scroll = Scroll::default();
        assert_eq!(frame("a\nb\n", 5, &mut scroll), format!("{BEGIN}\x1b[H\x1b[2Ka\r\n\x1b[2Kb{REST}{END}"));
        let cut = frame("1\n2\n3\n4\n", 3, &mut scroll);
        assert!(cut.contains("1\r\n\x1b[2K2\r\n\x1b[2K2 more lines below"), "{cut:?}");
        scroll.top = 99;
        let end = frame("1\n2\n3\n4\n", 3, &mut scroll);
        assert!(end.contains("3\r\n\x1b[2K4\r\n\x1b[2K0 more lines below") && scroll.top == 2, "{end:?}");
        assert_eq!(width("0 more lines below; j and k move, q ends"), 40, "it fits the narrowest screen");
    }

    #[test]
    fn arrows_scroll_and_other_sequences_are_no_letters() {
        for (bytes, keys) in [(&b"\x1b[A"[..], &b"k"[..]), (b"\x1bOB", b"j"), (b"\x1b[5~q", b""), (b"jq", b"jq")] {
            assert_eq!(arrows(bytes), keys);
        }
    }
}
