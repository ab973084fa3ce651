//! `demo`: a scratch repository with four cards on the built-in families, worked through with real supervisors and
//! real ticks.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::core::ids::StageId;
use crate::core::state::{EndStatus, Life, Stage};
use crate::files::home::Home;
use crate::files::store::Loaded;
use crate::git::{Git, Repo, Signature};
use crate::tick::init::{self, Adopt};
use crate::tick::{Site, clock, operate};

use super::args::DemoArgs;
use super::{DONE, FAILED, logging, output, run, status};

/// The cards, and how each is meant to end.
const CARDS: [(&str, &str, EndStatus); 4] = [
    ("01-greeting", include_str!("../../templates/demo/01-greeting.md"), EndStatus::Completed),
    ("02-farewell", include_str!("../../templates/demo/02-farewell.md"), EndStatus::Completed),
    ("03-arithmetic", include_str!("../../templates/demo/03-arithmetic.md"), EndStatus::VerifierFailed),
    ("04-question", include_str!("../../templates/demo/04-question.md"), EndStatus::Blocked),
];

pub fn demo(args: &DemoArgs) -> anyhow::Result<u8> {
    let scratch = Scratch::new()?;
    let repo = scratch.path.join("greeter");
    let home = Home::at(&scratch.path.join("home"));
    let exe = std::env::current_exe()?;
    logging::start(&home);
    let root = make_repository(&repo)?;
    let done = init::init(&root, &home, &exe, Adopt::No)?;
    output::print(&format!("a scratch repository: {}\n", done.root.display()))?;
    let cards: Vec<PathBuf> = write_cards(&done.root)?;
    let site = Site::open(&done.root, &home, &exe)?;
    let (queued, _) = operate::add_stages(&site, &cards)?;
    output::notes(&queued, false)?;
    output::print("\nworking through it, one tick at a time:\n")?;
    let loaded = run::drain(&site, false)?;
    let now = clock::now();
    output::print(&format!("\n{}", status::text(&site, now)?))?;
    let git = site.repo(None)?;
    output::print(&format!("\ncommits on {}:\n{}", site.base_branch()?, commits(&git, &loaded)?))?;
    output::print(&format!("reasons of what did not land:\n{}", reasons(&loaded)))?;
    let wrong = unexpected(&loaded);
    for line in &wrong {
        eprintln!("autometta: {line}");
    }
    if args.keep || !wrong.is_empty() {
        let kept = scratch.keep();
        output::print(&format!(
            "kept: {}\nlook around: AUTOMETTA_HOME={} autometta --repo {} show 03-arithmetic\n",
            kept.display(),
            home.path().display(),
            done.root.display()
        ))?;
    }
    Ok(if wrong.is_empty() { DONE } else { FAILED })
}

/// A scratch folder that goes away with its owner.
struct Scratch {
    path: PathBuf,
    keep: bool,
}

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let parent = std::env::temp_dir();
        let path = parent.join(format!("autometta-demo-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("{}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    fn keep(mut self) -> PathBuf {
        self.keep = true;
        self.path.clone()
    }
}

impl Drop for Scratch {
    #[expect(clippy::disallowed_methods, reason = "the demo made this folder and takes it away again")]
    fn drop(&mut self) {
        if !self.keep {
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

/// A repository with one commit, made without the operator's git configuration.
fn make_repository(path: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir(path)?;
    for (name, text) in [("README.md", "# Greeter\n"), (".gitignore", "/state/\n.autometta.local.yaml\n")] {
        crate::files::atomic::write_public(&path.join(name), text.as_bytes())?;
    }
    let git = Git::from_environment();
    git.check()?;
    let operator = Signature::new("Demo Operator", "operator@demo.invalid").context("signature")?;
    git.create_repository(path, "main", &operator, "Begin")?;
    Ok(std::fs::canonicalize(path)?)
}

fn write_cards(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for (name, text, _) in CARDS {
        std::fs::create_dir_all(root.join("stage-cards"))?;
        let path = root.join("stage-cards").join(format!("{name}.md"));
        crate::files::atomic::write_public(&path, text.as_bytes())?;
        paths.push(path);
    }
    Ok(paths)
}

fn commits(repo: &Repo, loaded: &Loaded) -> anyhow::Result<String> {
    let mut text = String::new();
    for stage in &loaded.state.stages {
        if let Life::Over(over) = &stage.life
            && let Some(commit) = &over.commit
        {
            for line in repo.commit_for_people(commit)?.lines() {
                text.push_str(&format!("  {line}\n"));
            }
            text.push('\n');
        }
    }
    Ok(text)
}

fn reasons(loaded: &Loaded) -> String {
    let mut text = String::new();
    for stage in &loaded.state.stages {
        if let Life::Over(over) = &stage.life
            && over.commit.is_none()
            && let Some(reason) = &over.reason
        {
            text.push_str(&format!("  {} is {} ({})\n", stage.id, over.status.as_str(), reason.code));
            for line in reason.detail.trim_end().lines() {
                text.push_str(&format!("    | {line}\n"));
            }
        }
    }
    text
}

/// Stages that did not end as the demo means them to.
fn unexpected(loaded: &Loaded) -> Vec<String> {
    let ended = |stage: &Stage| match &stage.life {
        Life::Over(over) => Some(over.status),
        _ => None,
    };
    CARDS
        .iter()
        .filter_map(|(name, _, expected)| {
            let id: StageId = name.parse().ok()?;
            let stage = loaded.state.stage(&id);
            (stage.and_then(ended) != Some(*expected)).then(|| {
                let word = stage.map_or("gone", |stage| stage.life.word());
                format!("{name} should have ended as {} and is {word}", expected.as_str())
            })
        })
        .collect()
}
