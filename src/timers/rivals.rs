//! Timers that are not ours and tick the same home, wherever a host keeps such things and whatever they are called.
//!
//! Looked at are the user's crontab, `/etc/crontab` and `/etc/cron.d`, systemd's units of the user and of the system,
//! and launch agents. What cannot be read is passed over: it belongs to somebody else.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::command::{self, Program, Target, Variables};
use super::error::TimerError;
use super::host::Host;
use super::launchd::Agent;
use super::systemd::Units;
use super::{cron, crontab};

/// An entry that is not ours and ticks this home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Rival {
    /// Where it stands.
    pub place: String,
    /// What it runs, as it is written there.
    pub command: String,
}

impl fmt::Display for Rival {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ticks this home already: `{}`", self.place, self.command)
    }
}

/// Every such entry.
pub(super) fn find(host: &Host, exe: &Path, home: &Path) -> Result<Vec<Rival>, TimerError> {
    let search = Search { host, program: Program::new(exe), home: real(home), text: home.to_string_lossy().into() };
    let mut found = search.in_crontab()?;
    found.extend(search.in_system_crontabs());
    found.extend(search.in_units());
    found.extend(search.in_agents());
    Ok(found)
}

struct Search<'a> {
    host: &'a Host,
    program: Program<'a>,
    home: PathBuf,
    text: String,
}

/// Whose lines a crontab has.
#[derive(Clone, Copy)]
enum Kind {
    /// One user's.
    OneUser,
    /// Everybody's: each line names its user behind the times.
    System,
}

impl Search<'_> {
    /// Whether what this command ticks may be our home.
    fn is_ours(&self, target: Option<&Target>) -> bool {
        match target {
            None => false,
            Some(Target::Unclear) => true,
            Some(Target::Home(home)) => real(home) == self.home,
        }
    }

    fn in_crontab(&self) -> Result<Vec<Rival>, TimerError> {
        let Some(mut bytes) = cron::list(self.host)? else { return Ok(Vec::new()) };
        if let Some(block) = crontab::find(&bytes, &self.text)? {
            bytes.drain(block.range);
        }
        Ok(self.in_lines(&bytes, &format!("the crontab of {}", self.host.user), Kind::OneUser))
    }

    fn in_system_crontabs(&self) -> Vec<Rival> {
        let mut paths = vec![self.host.etc.join("crontab")];
        paths.extend(files(&self.host.etc.join("cron.d"), None));
        let read = paths.iter().filter_map(|path| Some((path.display().to_string(), fs::read(path).ok()?)));
        read.flat_map(|(place, bytes)| self.in_lines(&bytes, &place, Kind::System)).collect()
    }

    /// The lines of a crontab, crontab(5).
    fn in_lines(&self, bytes: &[u8], place: &str, kind: Kind) -> Vec<Rival> {
        let mut settings: Vec<(String, String)> = Vec::new();
        let mut found = Vec::new();
        for line in String::from_utf8_lossy(bytes).lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(setting) = setting(line) {
                settings.push(setting);
                continue;
            }
            let times = if line.starts_with('@') { 1 } else { 5 };
            let mut rest = behind_words(line, times);
            let mut user = self.host.user.as_str();
            if matches!(kind, Kind::System) {
                user = rest.split_whitespace().next().unwrap_or_default();
                rest = behind_words(rest, 1);
            }
            let mut variables = Variables::of(self.host.home_of(user).as_deref());
            for (name, value) in &settings {
                variables.set(name, value);
            }
            let target = command::of_text(&job(rest), &variables, &self.program);
            if self.is_ours(target.as_ref()) {
                found.push(Rival { place: place.to_owned(), command: rest.to_owned() });
            }
        }
        found
    }

    fn in_units(&self) -> Vec<Rival> {
        let own = Units::of(self.host, &self.text).map(|units| units.service());
        let of_user = [
            self.host.config.as_ref().map(|config| config.join("systemd/user")),
            self.host.home.as_ref().map(|home| home.join(".local/share/systemd/user")),
            Some(self.host.etc.join("systemd/user")),
        ];
        let mut folders: Vec<(PathBuf, &str)> =
            of_user.into_iter().flatten().map(|folder| (folder, self.host.user.as_str())).collect();
        folders.push((self.host.etc.join("systemd/system"), "root"));
        let mut found = Vec::new();
        for (folder, user) in folders {
            for path in files(&folder, Some("service")) {
                let text = fs::read_to_string(&path).ok().filter(|_| Some(&path) != own.as_ref());
                let place = path.display().to_string();
                found.extend(text.into_iter().flat_map(|text| self.in_unit(&text, &place, user)));
            }
        }
        found
    }

    /// The services of a unit file, systemd.service(5).
    fn in_unit(&self, text: &str, place: &str, user: &str) -> Vec<Rival> {
        let text = text.replace("\\\n", " ");
        let keys: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let values = |key: &'static str| keys.iter().filter(move |(known, _)| *known == key).map(|(_, value)| *value);
        let home = self.host.home_of(values("User").next_back().unwrap_or(user));
        let plain = |text: &str| {
            let home = home.as_ref().map(|home| home.display().to_string()).unwrap_or_default();
            text.replace("%h", &home).replace("%%", "%")
        };
        let variables = Variables::of(home.as_deref());
        let environment: String =
            values("Environment").flat_map(|value| ["export ".to_owned(), plain(value), "\n".to_owned()]).collect();
        let mut found = Vec::new();
        for command in values("ExecStart") {
            let job = format!("{environment}{}", plain(command.trim_start_matches(['@', '-', ':', '+', '!'])));
            if self.is_ours(command::of_text(&job, &variables, &self.program).as_ref()) {
                found.push(Rival { place: place.to_owned(), command: command.to_owned() });
            }
        }
        found
    }

    fn in_agents(&self) -> Vec<Rival> {
        let own = Agent::of(self.host, &self.text).map(|agent| agent.path());
        let of_user = self.host.home.as_ref().map(|home| home.join("Library/LaunchAgents"));
        let folders = of_user.into_iter().chain([PathBuf::from("/Library/LaunchAgents")]);
        let paths = folders.flat_map(|folder| files(&folder, Some("plist"))).filter(|path| Some(path) != own.as_ref());
        paths.filter_map(|path| self.in_agent(&path)).collect()
    }

    /// A launch agent, launchd.plist(5).
    fn in_agent(&self, path: &Path) -> Option<Rival> {
        let list = plist::Value::from_file(path).ok()?.into_dictionary()?;
        let text = |value: &plist::Value| value.as_string().map(str::to_owned);
        let words: Vec<String> = match list.get("ProgramArguments").and_then(plist::Value::as_array) {
            Some(words) => words.iter().filter_map(text).collect(),
            None => list.get("Program").and_then(text).into_iter().collect(),
        };
        let mut variables = Variables::of(self.host.home.as_deref());
        for (name, value) in
            list.get("EnvironmentVariables").and_then(plist::Value::as_dictionary).into_iter().flatten()
        {
            variables.set(name, value.as_string().unwrap_or_default());
        }
        let target = command::of_words(&words, &variables, &self.program);
        let rival = || Rival { place: path.display().to_string(), command: words.join(" ") };
        self.is_ours(target.as_ref()).then(rival)
    }
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// The files of a folder, by name, with this extension where one is asked for.
fn files(folder: &Path, extension: Option<&str>) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let fits = |path: &PathBuf| {
        path.is_file() && extension.is_none_or(|wanted| path.extension().is_some_and(|found| found == wanted))
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(fits).collect();
    paths.sort();
    paths
}

/// A line that sets a variable: `NAME = value`, with quotes or without.
fn setting(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim().trim_matches(['"', '\'']), value.trim());
    let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    is_name.then(|| (name.to_owned(), unquoted.unwrap_or(value).to_owned()))
}

/// What stands behind so many words.
fn behind_words(line: &str, words: usize) -> &str {
    let mut rest = line.trim_start();
    for _ in 0..words {
        rest = rest.find(char::is_whitespace).map_or("", |end| rest[end..].trim_start());
    }
    rest
}

/// What cron hands to the shell: up to the first `%` that is not escaped.
fn job(command: &str) -> String {
    let mut text = String::with_capacity(command.len());
    let mut letters = command.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' if letters.next_if_eq(&'%').is_some() => text.push('%'),
            '%' => break,
            letter => text.push(letter),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use assert_fs::TempDir;
    use assert_fs::prelude::*;

    /// A host that is this folder.
    fn host(dir: &TempDir) -> Host {
        Host {
            home: Some(dir.path().join("user")),
            user: "root".to_owned(),
            uid: 0,
            config: Some(dir.path().join("user/.config")),
            runtime: dir.path().join("run"),
            path: dir.path().join("bin").into(),
            etc: dir.path().join("etc"),
        }
    }

    fn places(dir: &TempDir, home: &Path) -> Vec<String> {
        let found = find(&host(dir), &dir.path().join("bin/am"), home).expect("looked");
        let base = dir.path().display().to_string();
        found.into_iter().map(|rival| rival.place.replace(&base, "")).collect()
    }

    #[test]
    fn rivals_are_found_in_every_place_and_those_of_other_homes_are_none() {
        let service = |lines: &str| format!("[Service]\nType=oneshot\n{lines}\n");
        let agent = |words: &str, env: &str| {
            format!(
                "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>Label</key><string>x</string>\
                 <key>ProgramArguments</key><array>{words}</array>\
                 <key>EnvironmentVariables</key><dict>{env}</dict></dict></plist>"
            )
        };
        let string = |text: &str| format!("<string>{text}</string>");
        let ours = "AUTOMETTA_HOME=HERE";
        for (file, text, is_rival) in [
            ("etc/crontab", format!("# comment\n17 * * * * root {ours} autometta tick\n"), true),
            ("etc/crontab", "AUTOMETTA_HOME = \"HERE\"\n@hourly nobody /usr/bin/autometta tick\n".to_owned(), true),
            ("etc/crontab", "17 * * * * nobody autometta tick\n".to_owned(), false),
            ("etc/cron.d/x", "*/5 * * * * root AUTOMETTA_HOME=/other autometta tick\n".to_owned(), false),
            ("etc/cron.d/x", "*/5 * * * * root date +\\%H; autometta tick --repo /r\n".to_owned(), false),
            ("etc/cron.d/x", format!("*/5 * * * * root export {ours}; date +\\%H; autometta tick\n"), true),
            ("etc/cron.d/x", format!("*/5 * * * * root true%{ours} autometta tick\n"), false),
            (
                "user/.config/systemd/user/x.service",
                service(&format!("Environment=\"{ours}\" B=1\nExecStart=-/usr/bin/env \\\n  autometta tick")),
                true,
            ),
            ("user/.config/systemd/user/x.service", service("ExecStart=%h/bin/autometta tick"), false),
            (
                "user/.config/systemd/user/x.service",
                service(&format!("Environment={ours}\nExecStart=/usr/bin/autometta status")),
                false,
            ),
            (
                "etc/systemd/system/x.service",
                service(&format!("User=nobody\nEnvironment={ours}\nExecStart=/usr/bin/autometta tick")),
                true,
            ),
            (
                "user/Library/LaunchAgents/x.plist",
                agent(&(string("/bin/sh") + &string("-c") + &string(&format!("{ours} autometta tick"))), ""),
                true,
            ),
            (
                "user/Library/LaunchAgents/x.plist",
                agent(
                    &(string("/opt/autometta") + &string("tick")),
                    &format!("<key>AUTOMETTA_HOME</key>{}", string("HERE")),
                ),
                true,
            ),
            ("user/Library/LaunchAgents/x.plist", agent(&(string("/opt/autometta") + &string("tick")), ""), false),
        ] {
            let dir = TempDir::new().expect("dir");
            let here = dir.path().join("here").display().to_string();
            dir.child(file).write_str(&text.replace("HERE", &here)).expect("file");
            let expected = if is_rival { vec![format!("/{file}")] } else { Vec::new() };
            assert_eq!(places(&dir, Path::new(&here)), expected, "{file}: {text}");
        }
    }

    #[test]
    fn the_usual_home_is_found_without_being_named_and_through_links() {
        let dir = TempDir::new().expect("dir");
        dir.child("user/.autometta/x").write_str("").expect("file");
        dir.child("user/.config/systemd/user/x.service").write_str("ExecStart=autometta tick\n").expect("file");
        assert_eq!(places(&dir, &dir.path().join("user/.autometta")).len(), 1);
        std::os::unix::fs::symlink(dir.path().join("user"), dir.path().join("link")).expect("link");
        assert_eq!(places(&dir, &dir.path().join("link/.autometta")).len(), 1);
        assert_eq!(places(&dir, &dir.path().join("elsewhere")), Vec::<String>::new());
    }
}
