//! Following without tmux: the controller's log and the output of what runs, in one stream, each line with its name.

use std::io::{self, Write as _};
use std::time::Instant;

use anyhow::Context as _;

use crate::viewer::{Followers, News, Window};

use super::super::DONE;
use super::{LOG, LOOK, Look, STATUS, Viewed};

/// Follows until Ctrl-C, or until nobody reads any more.
pub fn follow(viewed: &Viewed, look: &Look) -> anyhow::Result<u8> {
    let mut followers = Followers::new().context("signals cannot be awaited")?;
    let mut following = Vec::new();
    let mut last_words = String::new();
    begin(&mut followers, &mut following, look)?;
    let mut looked = Instant::now();
    loop {
        // A look that fails is made again: the repository may be in the middle of something.
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if let Ok(look) = viewed.look() {
                begin(&mut followers, &mut following, &look)?;
            }
        }
        match followers.next(LOOK) {
            News::Stop => return Ok(DONE),
            News::Line { name, text } => {
                if !show(&name, &text)? {
                    return Ok(DONE);
                }
                if name == LOG {
                    last_words = text;
                }
            }
            News::Ended { name } if name == LOG => {
                anyhow::bail!("`autometta log --follow` has ended: {last_words}");
            }
            News::Ended { .. } | News::Quiet => {}
        }
    }
}

/// What a stream can show: everything but the screen of `status`.
pub fn followed(windows: &[Window]) -> impl Iterator<Item = &Window> {
    windows.iter().filter(|window| window.view != STATUS)
}

/// Starts to follow what is not followed yet.
fn begin(followers: &mut Followers, following: &mut Vec<String>, look: &Look) -> anyhow::Result<()> {
    for window in followed(&look.windows) {
        if !following.contains(&window.view) {
            followers
                .start(&window.view, &window.argv)
                .with_context(|| format!("{} cannot be followed", window.view))?;
            following.push(window.view.clone());
        }
    }
    Ok(())
}

/// Prints a line; false when nobody reads.
fn show(name: &str, text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{name} | {text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true).context("standard output"),
    }
}
