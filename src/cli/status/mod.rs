//! `status`: one screen for one repository, one line each for all of them, once or as things happen.
//!
//! `eye` reads, `view` and `next` turn what was read into a document, `screen` and `fleet_screen` draw documents, and
//! `watch` draws them again when they change.

mod eye;
mod fleet;
mod fleet_screen;
mod next;
mod queue;
mod screen;
#[cfg(test)]
mod tests;
mod view;
mod watch;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use clap::Args;

use super::terminal::{Look, LookArgs};
use super::{DONE, Place, output};
use crate::core::ids::Identity;
use crate::core::quantity::Seconds;
use crate::core::state::Stage;
use crate::files::store::Loaded;
use crate::tick::{Site, clock};

pub use eye::Eye;
pub use fleet::Fleet;
pub use queue::QueueDoc;
pub use screen::Finished;
pub use view::{Hand, RepoStatus, StageView};

/// `status`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that somebody types")]
pub struct StatusArgs {
    /// Show every subscribed repository, a line each; so does `status` outside a repository.
    #[arg(long, conflicts_with = "all_stages")]
    pub all: bool,
    /// List every stage that has ended instead of the newest ten.
    #[arg(long)]
    pub all_stages: bool,
    /// Draw again whenever something changes, until q or Ctrl-C.
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
    /// How often --watch looks, such as 5s.
    #[arg(long, requires = "watch", default_value = "1s", value_parser = interval, value_name = "TIME")]
    pub every: Seconds,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// The look of the screen.
    #[command(flatten)]
    pub look: LookArgs,
}

fn interval(text: &str) -> Result<Seconds, String> {
    Seconds::parse(text).ok_or_else(|| "expected a time such as 1s, 30s or 5 minutes".to_owned())
}

/// What is looked at.
pub enum Subject {
    /// One repository.
    Repo(Box<Eye>),
    /// All of them.
    Fleet(fleet::FleetEye),
}

impl Subject {
    fn of(at: &Place, args: &StatusArgs) -> anyhow::Result<Self> {
        let outside = || Ok::<_, anyhow::Error>(at.repo.is_none() && !at.path()?.join(".git").exists());
        if args.all || outside()? {
            return Ok(Self::Fleet(fleet::FleetEye::new(&at.home)));
        }
        Ok(Self::Repo(Box::new(Eye::new(&at.path()?, &at.home, &at.exe))))
    }

    /// The screen as it is now.
    fn draw(&mut self, args: &StatusArgs, look: &Look, now: DateTime<Utc>) -> anyhow::Result<Drawn> {
        let finished = if args.all_stages { Finished::All } else { Finished::Newest };
        Ok(match self {
            Self::Repo(eye) => {
                let status = eye.look(now, look)?;
                Drawn { text: screen::render(&status, look, finished), news: status.news() }
            }
            Self::Fleet(eye) => {
                let fleet = eye.look(now)?;
                Drawn { text: fleet_screen::render(&fleet, look), news: fleet.news() }
            }
        })
    }
}

/// A screen.
struct Drawn {
    /// As it is shown.
    text: String,
    /// What of it is news where it differs: everything but times and ages.
    news: String,
}

pub fn status(at: &Place, args: &StatusArgs) -> anyhow::Result<u8> {
    let mut subject = Subject::of(at, args)?;
    if args.watch {
        return watch::watch(&mut subject, args);
    }
    let look = Look::new(&args.look);
    let now = clock::now();
    match (&mut subject, args.json) {
        (Subject::Repo(eye), true) => output::json(&eye.look(now, &look)?)?,
        (Subject::Fleet(eye), true) => output::json(&eye.look(now)?)?,
        (subject, false) => output::print(&subject.draw(args, &look, now)?.text)?,
    }
    Ok(DONE)
}

/// The screen of a repository after `run` and `demo`.
pub fn text(site: &Site, now: DateTime<Utc>) -> anyhow::Result<String> {
    let look = Look::new(&LookArgs::default());
    let status = Eye::new(&site.root, &site.home, &site.exe).look(now, &look)?;
    Ok(screen::render(&status, &look, Finished::Newest))
}

/// The screen of a state of the past: what stood in the files then, and nothing of what else was going on.
pub fn past(site: &Site, loaded: &Loaded, look: &Look, at: DateTime<Utc>) -> String {
    let family = |identity: &Identity| site.families.of(identity).map(|spec| spec.name.clone());
    let pause = |identity: &Identity| site.paused(loaded, identity, at);
    let scene = view::Scene {
        root: &site.root,
        loaded,
        policy: &site.policy,
        family: &family,
        pause: &pause,
        heartbeat: None,
        timer: None,
        glances: &BTreeMap::new(),
        manual: Vec::new(),
        archived: 0,
        now: at,
        look,
    };
    let words = "rules and families are those of the manifest as it is now".to_owned();
    let beat = view::Beat { last: None, every_seconds: None, pulse: view::Pulse::Unneeded, words };
    let status = RepoStatus { forecast: None, beat, ..view::of(&scene) };
    screen::render(&status, look, Finished::All)
}

/// What comes next for one stage, as `status` says it; for `show`.
pub fn stage_view(eye: &mut Eye, look: &Look, now: DateTime<Utc>, stage: &Stage) -> anyhow::Result<StageView> {
    eye.scene(now, look, |_, scene| view::view(scene, &next::Turns::new(scene), stage))
}

/// The queue of a repository: as a document, and as it is shown.
pub fn queue(eye: &mut Eye, look: &Look, now: DateTime<Utc>) -> anyhow::Result<(QueueDoc, String)> {
    eye.scene(now, look, |_, scene| {
        let doc = queue::of(scene);
        let text = queue::render(&doc, scene);
        (doc, text)
    })
}

/// How long ago something was.
pub fn since(at: DateTime<Utc>, now: DateTime<Utc>) -> Seconds {
    super::terminal::look::between(at, now)
}
