//! tmux: what to ask of it, as a plan that can be printed, and asking it.
//!
//! Only what tmux 3.0 knows is used. Windows are recognised by an option of our own and not by their names or numbers,
//! which belong to the operator, as the server and its configuration do.

#![expect(clippy::disallowed_methods, reason = "this is the one place that starts tmux")]

use std::fmt;
use std::io;
use std::process::{Child, Command, Stdio};

use schemars::JsonSchema;
use serde::Serialize;
use thiserror::Error;

/// The oldest tmux whose commands these are.
const OLDEST: (u32, u32) = (3, 0);
/// The option that says what a window of ours shows.
const VIEW: &str = "@autometta_view";

/// Why tmux did not do what it was asked to.
#[derive(Debug, Error)]
pub enum TmuxError {
    /// It could not be started.
    #[error("tmux cannot be started: {0}; `autometta attach --here` follows without it")]
    Start(io::Error),
    /// It is too old.
    #[error("{0} is older than tmux 3.0; update it, or follow without it: `autometta attach --here`")]
    Old(String),
    /// It refused a command.
    #[error("`{command}` failed: {said}; `autometta attach --here` follows without tmux")]
    Refused {
        /// The command, as a shell would take it.
        command: String,
        /// What tmux said of it.
        said: String,
    },
}

/// A session's name. It holds nothing that tmux reads as part of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SessionName(String);

impl SessionName {
    /// The session of the repository with this slug, which differs for two repositories of one name.
    pub fn of(slug: &crate::core::subscriber::Slug) -> Self {
        Self(format!("autometta-{slug}"))
    }

    /// The target that means this session and no other that begins like it.
    fn exactly(&self) -> String {
        format!("={}", self.0)
    }

    /// The target of its last window.
    fn last_window(&self) -> String {
        format!("={}:{{end}}", self.0)
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// One call of tmux: commands that its server carries out in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation(Vec<Vec<String>>);

impl Invocation {
    fn new(command: &[&str]) -> Self {
        Self(vec![owned(command)])
    }

    fn then(mut self, command: &[&str]) -> Self {
        self.0.push(owned(command));
        self
    }

    /// Shows the session in this terminal.
    pub fn attach(session: &SessionName) -> Self {
        Self::new(&["attach-session", "-t", &session.exactly()])
    }

    /// Shows the session in the tmux around this program.
    pub fn switch(session: &SessionName) -> Self {
        Self::new(&["switch-client", "-t", &session.exactly()])
    }

    /// The program and its arguments.
    pub fn argv(&self) -> Vec<String> {
        let mut argv = vec!["tmux".to_owned()];
        for (index, command) in self.0.iter().enumerate() {
            if index > 0 {
                argv.push(";".to_owned());
            }
            // A word that ends in a semicolon would end the command.
            argv.extend(command.iter().map(|word| match word.strip_suffix(';') {
                Some(before) => format!("{before}\\;"),
                None => word.clone(),
            }));
        }
        argv
    }
}

impl fmt::Display for Invocation {
    /// As it would be typed into a shell.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.argv().iter().map(|word| quoted(word)).collect();
        out.write_str(&words.join(" "))
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=,@%+".contains(letter);
    // An `=` in front is an expansion to zsh.
    if !word.is_empty() && !word.starts_with('=') && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Something that a window shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Window {
    /// What it shows: `status`, `log`, or a run.
    pub view: String,
    /// The program in it, with its arguments.
    pub argv: Vec<String>,
    /// Whether the program is started again where it has ended.
    pub life: WindowLife,
}

/// How long a window is of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WindowLife {
    /// As long as the session: its program is started again.
    Lasting,
    /// Until its program has ended; the last words stay to be read.
    Once,
}

/// A window that there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// tmux's own name for it, which never changes.
    id: String,
    /// What it shows, where it is one of ours.
    view: String,
    /// Whether its program has ended.
    ended: bool,
}

/// What has to be asked of tmux so that a session shows these windows, the one in focus in front. Nothing is taken
/// away, and nothing is asked for what is there already.
pub fn arrange(
    session: &SessionName,
    shown: Option<&[Shown]>,
    wanted: &[Window],
    folder: &str,
    focus: Option<&str>,
) -> Vec<Invocation> {
    // tmux expands formats in the name of a folder.
    let folder = folder.replace('#', "##");
    let mut calls = Vec::new();
    let mut exists = shown.is_some();
    for window in wanted {
        let there = shown.into_iter().flatten().find(|shown| shown.view == window.view);
        let program: Vec<&str> = window.argv.iter().map(String::as_str).collect();
        let front = match there {
            Some(there) => {
                if there.ended && window.life == WindowLife::Lasting {
                    calls.push(Invocation::new(&[&["respawn-window", "-t", &there.id, "--"], &program[..]].concat()));
                }
                there.id.clone()
            }
            None => {
                calls.push(open(session, window, &program, &folder, exists));
                exists = true;
                session.last_window()
            }
        };
        if focus == Some(window.view.as_str()) {
            calls.push(Invocation::new(&["select-window", "-t", &front]));
        }
    }
    calls
}

/// Opens a window, and with the first one the session. One call for all of it: between two calls the operator's own
/// configuration could take the session away, or the window of a program that has ended at once.
fn open(session: &SessionName, window: &Window, program: &[&str], folder: &str, exists: bool) -> Invocation {
    let last = session.last_window();
    let place = ["-n", &window.view, "-c", folder, "--"];
    let opened = if exists {
        Invocation::new(&[&["new-window", "-d", "-a", "-t", &last], &place[..], program].concat())
    } else {
        let name = session.to_string();
        Invocation::new(&[&["new-session", "-d", "-s", &name], &place[..], program].concat()).then(&[
            "set-option",
            "-t",
            &format!("{}:", session.exactly()),
            "destroy-unattached",
            "off",
        ])
    };
    opened.then(&["set-option", "-w", "-t", &last, VIEW, &window.view]).then(&[
        "set-option",
        "-w",
        "-t",
        &last,
        "remain-on-exit",
        "on",
    ])
}

/// The tmux of this machine.
#[derive(Debug)]
pub struct Tmux;

impl Tmux {
    /// The tmux that `PATH` finds; none where there is none.
    pub fn find() -> Result<Option<Self>, TmuxError> {
        let version = match Command::new("tmux").arg("-V").stdin(Stdio::null()).output() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => String::from_utf8_lossy(&other.map_err(TmuxError::Start)?.stdout).trim().to_owned(),
        };
        if is_old(&version) { Err(TmuxError::Old(version)) } else { Ok(Some(Self)) }
    }

    /// The windows of a session; none where there is no such session.
    pub fn windows(&self, session: &SessionName) -> Result<Option<Vec<Shown>>, TmuxError> {
        let there = Invocation::new(&["has-session", "-t", &session.exactly()]);
        if !self.ask(&there)?.status.success() {
            return Ok(None);
        }
        let format = format!("#{{window_id}} #{{pane_dead}} #{{{VIEW}}}");
        let list = Invocation::new(&["list-windows", "-t", &session.exactly(), "-F", &format]);
        let output = self.ask(&list)?;
        if !output.status.success() {
            return Err(refused(&list, &output.stderr));
        }
        Ok(Some(String::from_utf8_lossy(&output.stdout).lines().filter_map(read_window).collect()))
    }

    /// Has a command carried out.
    pub fn carry_out(&self, call: &Invocation) -> Result<(), TmuxError> {
        let output = self.ask(call)?;
        if output.status.success() { Ok(()) } else { Err(refused(call, &output.stderr)) }
    }

    /// Starts a client that has this terminal until it is done.
    pub fn client(&self, call: &Invocation) -> Result<Child, TmuxError> {
        self.command(call).spawn().map_err(TmuxError::Start)
    }

    fn ask(&self, call: &Invocation) -> Result<std::process::Output, TmuxError> {
        self.command(call).stdin(Stdio::null()).output().map_err(TmuxError::Start)
    }

    #[expect(clippy::unused_self, reason = "whoever has a Tmux has looked whether there is one")]
    fn command(&self, call: &Invocation) -> Command {
        let mut command = Command::new("tmux");
        command.args(&call.argv()[1..]);
        command
    }
}

fn refused(call: &Invocation, said: &[u8]) -> TmuxError {
    TmuxError::Refused { command: call.to_string(), said: String::from_utf8_lossy(said).trim().to_owned() }
}

/// Whether a version, as `tmux -V` says it, is too old. Builds without a number are taken for new ones.
fn is_old(version: &str) -> bool {
    let number = version.trim_start_matches("tmux ").trim_start_matches("next-");
    let mut parts = number.splitn(2, '.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    match (parts.next().flatten(), parts.next().flatten()) {
        (Some(major), minor) => (major, minor.unwrap_or(0)) < OLDEST,
        (None, _) => false,
    }
}

/// A line of `list-windows`: id, whether its program has ended, what it shows.
fn read_window(line: &str) -> Option<Shown> {
    let mut parts = line.splitn(3, ' ');
    let (id, dead, view) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    Some(Shown { id: id.to_owned(), view: view.to_owned(), ended: dead == "1" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> SessionName {
        SessionName("autometta-app-1a2b".to_owned())
    }

    fn window(view: &str, life: WindowLife) -> Window {
        Window { view: view.to_owned(), argv: vec!["show".to_owned(), view.to_owned()], life }
    }

    fn lines(calls: &[Invocation]) -> Vec<String> {
        calls.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_session_is_made_with_its_first_window_and_the_others_follow() {
        let wanted = [window("status", WindowLife::Lasting), window("01-a.1.worker", WindowLife::Once)];
        let calls = arrange(&session(), None, &wanted, "/src/#1; x", Some("01-a.1.worker"));
        assert_eq!(
            lines(&calls),
            [
                "tmux new-session -d -s autometta-app-1a2b -n status -c '/src/##1; x' -- show status \
                 ';' set-option -t '=autometta-app-1a2b:' destroy-unattached off \
                 ';' set-option -w -t '=autometta-app-1a2b:{end}' @autometta_view status \
                 ';' set-option -w -t '=autometta-app-1a2b:{end}' remain-on-exit on",
                "tmux new-window -d -a -t '=autometta-app-1a2b:{end}' -n 01-a.1.worker -c '/src/##1; x' -- show 01-a.1.worker \
                 ';' set-option -w -t '=autometta-app-1a2b:{end}' @autometta_view 01-a.1.worker \
                 ';' set-option -w -t '=autometta-app-1a2b:{end}' remain-on-exit on",
                "tmux select-window -t '=autometta-app-1a2b:{end}'",
            ]
        );
    }

    #[test]
    fn what_is_there_is_left_and_what_should_last_is_started_again() {
        let shown: Vec<Shown> =
            ["@1 1 status", "@2 0 log", "@5 1 01-a.1.worker", "@6 0 "].into_iter().filter_map(read_window).collect();
        assert_eq!(shown.len(), 4, "a window of the operator's own has no view");
        let wanted = [
            window("status", WindowLife::Lasting),
            window("log", WindowLife::Lasting),
            window("01-a.1.worker", WindowLife::Once),
        ];
        let calls = arrange(&session(), Some(&shown), &wanted, "/src", Some("01-a.1.worker"));
        assert_eq!(lines(&calls), ["tmux respawn-window -t @1 -- show status", "tmux select-window -t @5"]);
        assert_eq!(arrange(&session(), Some(&shown), &wanted[1..], "/src", None), []);
    }

    #[test]
    fn words_reach_shells_and_tmux_as_they_are() {
        let call = Invocation::new(&["new-window", "it's", "a;", "$HOME", "", "=x", "plain-1.2/3"]);
        assert_eq!(call.to_string(), r"tmux new-window 'it'\''s' 'a\;' '$HOME' '' '=x' plain-1.2/3");
        assert_eq!(call.then(&["b"]).argv()[3], r"a\;");
    }

    #[test]
    fn versions_are_told_apart() {
        for (version, old) in [
            ("tmux 3.3a", false),
            ("tmux 3.0", false),
            ("tmux 2.9a", true),
            ("tmux 1.8", true),
            ("tmux next-3.6", false),
            ("tmux next-2.9", true),
            ("tmux 4", false),
            ("tmux openbsd-7.5", false),
            ("tmux master", false),
            ("", false),
        ] {
            assert_eq!(is_old(version), old, "{version}");
        }
    }
}
