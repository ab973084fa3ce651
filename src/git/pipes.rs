//! Feeding and draining a child over its three pipes, in one thread: most children live for a millisecond, and a thread
//! for each pipe would cost as much again.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::time::Instant;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::fault;

/// How much is read at a time.
const PIECE: usize = 64 * 1024;

/// A child's pipes, and what went through them.
#[derive(Debug)]
pub(super) struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    input: Vec<u8>,
    given: usize,
    /// What it has printed.
    pub(super) out: Vec<u8>,
    /// What it has complained of.
    pub(super) err: Vec<u8>,
}

/// How it came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// The child has closed its output.
    ToItsEnd,
    /// It has said as much as anybody wants to know.
    ToEnough,
    /// The time was up.
    TooLate,
}

impl Pipes {
    /// Takes over a child's pipes, and begins to give it its input.
    pub(super) fn of(child: &mut Child, input: Option<Vec<u8>>) -> io::Result<Self> {
        let mut pipes = Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            input: Vec::new(),
            given: 0,
            out: Vec::new(),
            err: Vec::new(),
        };
        for pipe in [pipes.stdin.as_ref().map(AsFd::as_fd), pipes.stdout.as_ref().map(AsFd::as_fd)] {
            pipe.map_or(Ok(()), do_not_wait)?;
        }
        pipes.stderr.as_ref().map_or(Ok(()), |pipe| do_not_wait(pipe.as_fd()))?;
        if let Some(input) = input {
            fault::write!("git.input", &input, |input| {
                pipes.input = input.to_vec();
                pipes.give()
            })?;
        }
        Ok(pipes)
    }

    /// Moves bytes until the child has closed its output, has printed more than `most` bytes, or the time is up.
    pub(super) fn run(&mut self, most: usize, deadline: Option<Instant>) -> io::Result<Came> {
        let mut piece = vec![0; PIECE];
        while self.stdout.is_some() || self.stderr.is_some() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Came::TooLate);
            }
            let time = left.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
            let ready = self.wait(time)?;
            if ready.stdin {
                self.give()?;
            }
            if ready.stdout && !take(self.stdout.as_mut(), &mut self.out, &mut piece) {
                self.stdout = None;
            }
            if ready.stderr && !take(self.stderr.as_mut(), &mut self.err, &mut piece) {
                self.stderr = None;
            }
            if self.out.len() > most {
                return Ok(Came::ToEnough);
            }
        }
        Ok(Came::ToItsEnd)
    }

    /// Waits until something can be moved.
    fn wait(&self, time: PollTimeout) -> io::Result<Ready> {
        let pipes = [
            self.stdin.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::POLLOUT)),
            self.stdout.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::POLLIN)),
            self.stderr.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::POLLIN)),
        ];
        let mut fds: Vec<PollFd<'_>> = pipes.iter().flatten().map(|(pipe, flags)| PollFd::new(*pipe, *flags)).collect();
        match poll(&mut fds, time) {
            Err(nix::errno::Errno::EINTR) => return Ok(Ready::default()),
            other => other?,
        };
        let mut polled = fds.iter();
        let mut is_ready =
            |pipe: Option<_>| pipe.and_then(|_| polled.next()?.revents()).is_some_and(|events| !events.is_empty());
        let [stdin, stdout, stderr] = pipes;
        Ok(Ready { stdin: is_ready(stdin), stdout: is_ready(stdout), stderr: is_ready(stderr) })
    }

    /// Gives the child what it takes just now of what is left of its input. One that reads no more has what it wants.
    fn give(&mut self) -> io::Result<()> {
        while let Some(stdin) = &mut self.stdin {
            match stdin.write(&self.input[self.given..]) {
                Ok(written) => self.given += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.stdin = None,
                Err(error) => return Err(error),
            }
            if self.given == self.input.len() {
                self.stdin = None;
            }
        }
        Ok(())
    }
}

/// Which pipes something can be done with.
#[derive(Debug, Default, Clone, Copy)]
struct Ready {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

/// Takes what there is just now; false where the pipe is closed. A read error means that the child is gone; its exit code
/// tells the rest.
fn take(pipe: Option<&mut impl Read>, into: &mut Vec<u8>, piece: &mut [u8]) -> bool {
    let Some(pipe) = pipe else { return false };
    match pipe.read(piece) {
        Ok(0) => false,
        Ok(read) => {
            into.extend_from_slice(&piece[..read]);
            true
        }
        Err(error) => matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock),
    }
}

/// Our end of a pipe never waits; the child's end is another one.
fn do_not_wait(pipe: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(pipe, FcntlArg::F_GETFL)?);
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
