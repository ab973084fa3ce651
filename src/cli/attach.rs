//! `attach`: the night in a tmux session, or in this terminal where there is no tmux.
//!
//! It only shows. The windows run commands of this program that read; ending them, the session or this command changes
//! nothing in the queue.

mod here;

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use crate::core::ids::{RunId, StageId};
use crate::core::operate::Refused;
use crate::core::state::{Stage, State};
use crate::core::subscriber::Slug;
use crate::files::store;
use crate::tick::{Site, TickError, belongs_here};
use crate::viewer::{Invocation, SessionName, Tmux, Window, WindowLife, arrange};

use super::{DONE, FAILED, Place, output};

/// The window with the screen of `status`.
const STATUS: &str = "status";
/// The window with what the controller does.
const LOG: &str = "log";
/// How often new runs are looked for while somebody watches.
const LOOK: Duration = Duration::from_secs(1);
/// How soon it shows that somebody has left.
const LEAVE: Duration = Duration::from_millis(50);
/// How many lines of the past a follower begins with.
const PAST: &str = "100";

/// `attach`
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The stage to look at first; one whose runs have ended is shown by its newest run.
    pub stage: Option<StageId>,
    /// Print the exact commands for tmux, one on a line, and open nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Print the same as JSON, and open nothing.
    #[arg(long)]
    pub json: bool,
    /// Follow in this terminal, even where there is a tmux.
    #[arg(long)]
    pub here: bool,
}

/// What `attach --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AttachPlan {
    /// The session; none where this terminal would follow without tmux.
    session: Option<SessionName>,
    /// What there is to show.
    windows: Vec<Window>,
    /// The calls of tmux that open what is not open yet, program and arguments.
    opens: Vec<Vec<String>>,
    /// The call of tmux that shows the session.
    shows: Option<Vec<String>>,
}

pub fn attach(at: &Place, args: &AttachArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let viewed = Viewed::new(&site, args.stage.clone())?;
    let look = viewed.look()?;
    let tmux = if args.here { None } else { Tmux::find()? };
    if args.json || args.dry_run {
        let plan = viewed.plan(tmux.as_ref(), &look)?;
        return if args.json { output::json(&plan.data()).map(|()| DONE) } else { plan.print().map(|()| DONE) };
    }
    match tmux {
        Some(tmux) => in_tmux(&tmux, &viewed, &look),
        None => here::follow(&viewed, &look),
    }
}

/// A repository that is looked at.
struct Viewed<'a> {
    site: &'a Site,
    /// Its root as text.
    root: &'a str,
    session: SessionName,
    stage: Option<StageId>,
}

/// What there is to show now.
struct Look {
    windows: Vec<Window>,
    /// The window that comes to the front.
    focus: Option<String>,
}

impl<'a> Viewed<'a> {
    fn new(site: &'a Site, stage: Option<StageId>) -> anyhow::Result<Self> {
        let root = site
            .root
            .to_str()
            .with_context(|| format!("{}: tmux takes paths in UTF-8 only; move the repository", site.root.display()))?;
        Ok(Self { site, root, session: SessionName::of(&Slug::of(&site.root)), stage })
    }

    fn look(&self) -> anyhow::Result<Look> {
        let loaded = store::peek(&self.site.layout)?;
        belongs_here(self.site, &loaded)?;
        let focus = self.stage.as_ref().map(|id| newest_run(&loaded.state, id)).transpose()?;
        let mut windows = vec![
            self.window(STATUS, WindowLife::Lasting, &["status", "--watch"])?,
            self.window(LOG, WindowLife::Lasting, &["log", "--follow", "-n", PAST])?,
        ];
        let flying = loaded.state.flights().map(|(_, flight)| flight.run.clone());
        let mut runs: Vec<RunId> = flying.collect();
        runs.extend(focus.clone().filter(|run| !runs.contains(run)));
        for run in runs {
            let name = run.to_string();
            windows.push(self.window(&name, WindowLife::Once, &["log", "--run", &name, "--follow"])?);
        }
        Ok(Look { windows, focus: focus.map(|run| run.to_string()) })
    }

    /// A window with a command of this program. A tmux server has an environment of its own, so home is named.
    fn window(&self, view: &str, life: WindowLife, command: &[&str]) -> anyhow::Result<Window> {
        let utf8 = |path: &std::path::Path| {
            let text = path.to_str().map(str::to_owned);
            text.with_context(|| format!("{}: tmux takes paths in UTF-8 only", path.display()))
        };
        let home = format!("AUTOMETTA_HOME={}", utf8(self.site.home.path())?);
        let mut argv = vec!["env".to_owned(), home, utf8(&self.site.exe)?, "--repo".to_owned(), self.root.to_owned()];
        argv.extend(command.iter().map(|word| (*word).to_owned()));
        Ok(Window { view: view.to_owned(), argv, life })
    }

    fn plan(&self, tmux: Option<&Tmux>, look: &Look) -> anyhow::Result<Plan> {
        let windows = look.windows.clone();
        let Some(tmux) = tmux else { return Ok(Plan { windows, tmux: None }) };
        let shown = tmux.windows(&self.session)?;
        let opens = arrange(&self.session, shown.as_deref(), &windows, self.root, look.focus.as_deref());
        let shows = if is_in_tmux() { Invocation::switch(&self.session) } else { Invocation::attach(&self.session) };
        Ok(Plan { windows, tmux: Some(TmuxPlan { session: self.session.clone(), opens, shows }) })
    }
}

/// The run of a stage that is worth a look: the one in flight that was dispatched last, or else the last one of all.
fn newest_run(state: &State, id: &StageId) -> anyhow::Result<RunId> {
    let stage: &Stage = state.stage(id).ok_or_else(|| TickError::from(Refused::Unknown(id.clone())))?;
    let flying = stage.life.flights().last().map(|flight| flight.run.clone());
    let past = || stage.history.last().map(|past| past.run.clone());
    flying.or_else(past).with_context(|| format!("{id} has not run yet; `autometta status` says what it waits for"))
}

/// What would be done.
struct Plan {
    windows: Vec<Window>,
    tmux: Option<TmuxPlan>,
}

struct TmuxPlan {
    session: SessionName,
    opens: Vec<Invocation>,
    shows: Invocation,
}

impl Plan {
    fn data(self) -> AttachPlan {
        let tmux = self.tmux.as_ref();
        AttachPlan {
            session: tmux.map(|tmux| tmux.session.clone()),
            opens: tmux.map(|tmux| tmux.opens.iter().map(Invocation::argv).collect()).unwrap_or_default(),
            shows: tmux.map(|tmux| tmux.shows.argv()),
            windows: self.windows,
        }
    }

    fn print(&self) -> anyhow::Result<()> {
        let Some(tmux) = &self.tmux else {
            let views: Vec<&str> = here::followed(&self.windows).map(|window| window.view.as_str()).collect();
            return output::print(&format!("without tmux, this terminal would follow: {}\n", views.join(", ")));
        };
        let calls: Vec<String> = tmux.opens.iter().chain([&tmux.shows]).map(ToString::to_string).collect();
        output::print(&(calls.join("\n") + "\n"))
    }
}

/// Opens what is not open yet and shows it, adding windows for runs that begin meanwhile.
fn in_tmux(tmux: &Tmux, viewed: &Viewed, look: &Look) -> anyhow::Result<u8> {
    let shows = open(tmux, viewed, look)?;
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        output::print(&format!("session {} is ready; show it with: {shows}\n", viewed.session))?;
        return Ok(DONE);
    }
    if is_in_tmux() {
        tmux.carry_out(&shows)?;
        return Ok(DONE);
    }
    let mut client = tmux.client(&shows)?;
    let mut looked = Instant::now();
    loop {
        if let Some(status) = client.try_wait()? {
            return Ok(if status.success() { DONE } else { FAILED });
        }
        std::thread::sleep(LEAVE);
        if looked.elapsed() < LOOK {
            continue;
        }
        looked = Instant::now();
        // The operator is looking at something else on this very screen: what fails now is tried again, in silence.
        if let Ok(look) = viewed.look()
            && let Ok(Some(shown)) = tmux.windows(&viewed.session)
        {
            for call in arrange(&viewed.session, Some(&shown), &look.windows, viewed.root, None) {
                let _ = tmux.carry_out(&call);
            }
        }
    }
}

/// Opens what is not open yet, and says how it is shown.
fn open(tmux: &Tmux, viewed: &Viewed, look: &Look) -> anyhow::Result<Invocation> {
    let carry_out = || -> anyhow::Result<Invocation> {
        let plan = viewed.plan(Some(tmux), look)?.tmux.context("there is a tmux")?;
        for call in &plan.opens {
            tmux.carry_out(call)?;
        }
        Ok(plan.shows)
    };
    // Another `attach` may have made the session between the look and the call; then its windows are there at the next.
    carry_out().or_else(|_| carry_out())
}

/// Whether this runs inside tmux, whose client is then switched instead of nesting one in the other.
#[expect(clippy::disallowed_methods, reason = "TMUX is how tmux says so")]
fn is_in_tmux() -> bool {
    std::env::var_os("TMUX").is_some_and(|socket| !socket.is_empty())
}
