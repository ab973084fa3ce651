//! Fault points: the named places between two effects on the world, at each of which a test can make a process fail.
//!
//! They exist in debug builds only, and are asleep there until `AUTOMETTA_FAULT_DIR` names a folder: every point that
//! is reached from then on is counted in it, over all processes of a night, and written to its `log`.
//! `AUTOMETTA_FAULT` says what happens where, as a list of `ACTOR/POINT:OCCURRENCE:FAULT` with commas between:
//!
//! - the actor is the run for its supervisor, `tell` for the process that tells a notice, and otherwise the word of the
//!   command, such as `tick`; `*` is everybody;
//! - the point may be followed by `@WORDS`, and then stands only for effects on something whose name holds these words;
//! - the occurrence counts from 1, for each actor and point; `*` is every one;
//! - the fault is `abort` (the process is killed before the effect), `eio`, `enospc`, `eacces` or `eintr` (the effect
//!   does not happen and this is its error), `torn` (half of the bytes are written, then as `abort`), or `pause=FILE`
//!   (`FILE.reached` is made, and the process waits until `FILE` exists).
//!
//! Agents and git get an environment of their own, so this reaches our own processes and nobody else.

#![cfg_attr(
    debug_assertions,
    expect(clippy::disallowed_methods, reason = "what makes faults cannot pass through the points itself")
)]

#[cfg(not(debug_assertions))]
use std::io;

/// A fault point in front of one effect: `fault::point!("name")?`, or with what the effect is about as a second
/// argument, for the log. Evaluates to `io::Result<()>`.
macro_rules! point {
    ($name:literal) => {
        $crate::fault::point!($name, "")
    };
    ($name:literal, $about:expr) => {{
        #[cfg(debug_assertions)]
        let met = $crate::fault::reach($name, &|| ::std::format!("{:?}", $about));
        #[cfg(not(debug_assertions))]
        let met = ::std::io::Result::Ok(());
        met
    }};
}

/// A fault point in front of one write that can also be torn: `fault::write!("name", bytes, |bytes| …)`.
macro_rules! write {
    ($name:literal, $bytes:expr, $write:expr) => {{
        #[cfg(debug_assertions)]
        let written = $crate::fault::reach_write($name, $bytes, $write);
        #[cfg(not(debug_assertions))]
        let written = $crate::fault::whole($bytes, $write);
        written
    }};
}

pub(crate) use {point, write};

/// A write in a build without fault points.
#[cfg(not(debug_assertions))]
pub(crate) fn whole(bytes: &[u8], write: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<()> {
    write(bytes)
}

#[cfg(debug_assertions)]
pub(crate) use awake::{reach, reach_write};

#[cfg(debug_assertions)]
mod awake {
    use std::ffi::OsString;
    use std::fs::{self, File, OpenOptions};
    use std::io::{self, Write as _};
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;
    use std::time::Duration;

    use nix::libc;
    use nix::sys::signal::{Signal, raise};

    /// What happens at a point.
    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Fault {
        Abort,
        Error(i32),
        Torn,
        Pause(PathBuf),
    }

    /// Where it happens; none is everywhere.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Order {
        actor: Option<String>,
        point: Option<String>,
        about: Option<String>,
        occurrence: Option<u64>,
        fault: Fault,
    }

    #[derive(Debug)]
    struct Plan {
        folder: PathBuf,
        actor: String,
        orders: Vec<Order>,
    }

    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();

    /// Passes a point.
    pub(crate) fn reach(name: &'static str, about: &dyn Fn() -> String) -> io::Result<()> {
        match plan().and_then(|plan| plan.reach(name, about)) {
            None => Ok(()),
            Some(Fault::Error(number)) => Err(io::Error::from_raw_os_error(*number)),
            // What cannot be torn just ends.
            Some(Fault::Abort | Fault::Torn) => die(),
            Some(Fault::Pause(file)) => {
                wait_for(file);
                Ok(())
            }
        }
    }

    /// Passes a point in front of a write.
    pub(crate) fn reach_write(
        name: &'static str,
        bytes: &[u8],
        write: impl FnOnce(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        match plan().and_then(|plan| plan.reach(name, &|| format!("{} bytes", bytes.len()))) {
            None => write(bytes),
            Some(Fault::Error(number)) => Err(io::Error::from_raw_os_error(*number)),
            Some(Fault::Torn) => {
                write(&bytes[..bytes.len() / 2])?;
                die()
            }
            Some(Fault::Abort) => die(),
            Some(Fault::Pause(file)) => {
                wait_for(file);
                write(bytes)
            }
        }
    }

    fn plan() -> Option<&'static Plan> {
        PLAN.get_or_init(|| {
            let folder = PathBuf::from(std::env::var_os("AUTOMETTA_FAULT_DIR")?);
            let orders = std::env::var("AUTOMETTA_FAULT").unwrap_or_default();
            // A plan that means nothing must not pass for a night without faults.
            let orders = parse(&orders).unwrap_or_else(|| die());
            Some(Plan { folder, actor: actor(&std::env::args_os().collect::<Vec<_>>()), orders })
        })
        .as_ref()
    }

    /// Who this process is, by its arguments.
    fn actor(arguments: &[OsString]) -> String {
        let word = |at: usize| arguments.get(at).map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        match word(1).as_str() {
            "__supervise" => Path::new(&word(2)).file_name().unwrap_or_default().to_string_lossy().into_owned(),
            "__tell" => "tell".to_owned(),
            other => other.to_owned(),
        }
    }

    fn parse(text: &str) -> Option<Vec<Order>> {
        let any = |word: &str| (word != "*").then(|| word.to_owned());
        text.split(',')
            .filter(|order| !order.is_empty())
            .map(|order| {
                let mut parts = order.splitn(3, ':');
                let (actor, point) = parts.next()?.split_once('/')?;
                let (point, about) = point.split_once('@').map_or((point, None), |(point, about)| (point, Some(about)));
                let occurrence = match parts.next()? {
                    "*" => None,
                    number => Some(number.parse().ok()?),
                };
                let fault = match parts.next()? {
                    "abort" => Fault::Abort,
                    "torn" => Fault::Torn,
                    "eio" => Fault::Error(libc::EIO),
                    "enospc" => Fault::Error(libc::ENOSPC),
                    "eacces" => Fault::Error(libc::EACCES),
                    "eintr" => Fault::Error(libc::EINTR),
                    other => Fault::Pause(PathBuf::from(other.strip_prefix("pause=")?)),
                };
                Some(Order { actor: any(actor), point: any(point), about: about.map(str::to_owned), occurrence, fault })
            })
            .collect()
    }

    impl Plan {
        fn reach(&self, name: &'static str, about: &dyn Fn() -> String) -> Option<&Fault> {
            // A folder that is gone means that the night is over, and nobody counts any more.
            let occurrence = self.count(name).ok()?;
            let fault = self
                .orders
                .iter()
                .find(|order| {
                    order.actor.as_ref().is_none_or(|actor| *actor == self.actor)
                        && order.point.as_ref().is_none_or(|point| point == name)
                        && order.about.as_ref().is_none_or(|words| about().contains(words))
                        && order.occurrence.is_none_or(|wanted| wanted == occurrence)
                })
                .map(|order| &order.fault);
            let mark = if fault.is_some() { " FAULT" } else { "" };
            self.log(&format!("{} {name} {occurrence} {}{mark}\n", self.actor, about().replace('\n', " "))).ok()?;
            fault
        }

        fn count(&self, name: &str) -> io::Result<u64> {
            let path = self.folder.join(format!("{}~{name}", self.actor.replace('/', "_")));
            let mut file = OpenOptions::new().append(true).create(true).open(path)?;
            file.lock()?;
            file.write_all(b".")?;
            Ok(file.metadata()?.len())
        }

        fn log(&self, line: &str) -> io::Result<()> {
            OpenOptions::new().append(true).create(true).open(self.folder.join("log"))?.write_all(line.as_bytes())
        }
    }

    fn wait_for(file: &Path) {
        let mut reached = file.as_os_str().to_owned();
        reached.push(".reached");
        // Whoever cannot say that it waits does not wait.
        if File::create(reached).is_err() {
            return;
        }
        while !fs::exists(file).unwrap_or(true) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends this process as a power cut would: at once, with nothing cleared away.
    fn die() -> ! {
        // It does not come back.
        let _ = raise(Signal::SIGKILL);
        std::process::abort()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_plan_is_read_whole_or_not_at_all() {
            let all =
                parse("tick/atomic.write:3:torn,*/run.pulse@.txn:*:abort,01-a.1.worker/x:1:pause=/t/go").expect("plan");
            assert_eq!(all.len(), 3);
            let order = |actor: &str, point: &str, occurrence, fault| Order {
                actor: (actor != "*").then(|| actor.to_owned()),
                point: Some(point.to_owned()),
                about: None,
                occurrence,
                fault,
            };
            assert_eq!(all[0], order("tick", "atomic.write", Some(3), Fault::Torn));
            assert_eq!(all[1], Order { about: Some(".txn".to_owned()), ..order("*", "run.pulse", None, Fault::Abort) });
            assert_eq!(all[2], order("01-a.1.worker", "x", Some(1), Fault::Pause("/t/go".into())));
            for wrong in ["tick:1:abort", "tick/x:one:abort", "tick/x:1:explode", "tick/x"] {
                assert_eq!(parse(wrong), None, "{wrong}");
            }
        }

        #[test]
        fn an_actor_is_known_by_its_command() {
            for (words, name) in [
                (&["a", "__supervise", "/r/state/runs/01-a.1.gate"][..], "01-a.1.gate"),
                (&["a", "__tell", "/n.json"], "tell"),
                (&["a", "tick", "--repo", "/r"], "tick"),
                (&["a"], ""),
            ] {
                assert_eq!(actor(&words.iter().map(OsString::from).collect::<Vec<_>>()), name);
            }
        }
    }
}
