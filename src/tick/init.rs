//! `init`: makes a repository ready, as often as one likes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::budget::Budget;
use crate::core::manifest::Manifest;
use crate::core::state::State;
use crate::core::step::Note;
use crate::files::atomic::{self, Durability};
use crate::files::document;
use crate::files::home::Home;
use crate::files::layout::Layout;
use crate::files::store::{Loaded, Store, StoreError};
use crate::git::{Git, Location, Repo};
use crate::runs;

use super::error::TickError;
use super::site::{LOCAL_MANIFEST, MANIFEST, Site, find_root, read_manifest};
use super::{carry, clock};

/// What `init` did, one line each; empty where everything was there already.
#[derive(Debug, Default)]
pub struct Done {
    /// The repository's root.
    pub root: PathBuf,
    /// What was made.
    pub made: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Whether a state that was made elsewhere is taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopt {
    /// Yes: the operator says that it was moved on purpose.
    Yes,
    /// No.
    No,
}

/// Makes the repository that holds this path ready.
pub fn init(path: &Path, home: &Home, exe: &Path, adopt: Adopt) -> Result<Done, TickError> {
    let root = find_root(path)?;
    let mut done = Done { root: root.clone(), ..Done::default() };
    let git = Git::from_environment();
    git.check()?;
    let manifest = read_manifest(&root)?;
    if let Some(other) = queue_elsewhere(&root)? {
        let refusal = TickError::QueueElsewhere { path: root.clone(), other };
        if !has_queue(&root, manifest.as_ref()) {
            return Err(refusal);
        }
        done.warnings.push(refusal.to_string());
    }
    let manifest = match manifest {
        Some(manifest) => manifest,
        None => {
            let branch = current_branch(&root)?;
            atomic::write_public(&root.join(MANIFEST), manifest_text(&branch).as_bytes())?;
            done.made.push(format!("{MANIFEST}: commit it; stages land on {branch}"));
            read_manifest(&root)?.unwrap_or_default()
        }
    };
    let site = Site::with_manifest(root.clone(), manifest, home, exe)?;
    let base = site.base_branch()?;
    make_state_dir(&site, &mut done)?;
    ignore(&root, LOCAL_MANIFEST, &mut done)?;
    let store = Store::lock_within(&site.layout, Duration::from_secs(60))?
        .ok_or_else(|| TickError::Held { path: site.layout.tick_lock() })?;
    store.redo()?;
    make_state(&site, &store, adopt, &mut done)?;
    let repo = site.repo(store.lock().file().try_clone().ok())?;
    match repo.tip(&base)? {
        Some(_) => {}
        None => done.warnings.push(format!(
            "the branch {base} has no commit yet; nothing is dispatched before there is one to start from"
        )),
    }
    if let Err(error) = repo.committer() {
        done.warnings.push(error.to_string());
    }
    for filter in repo.configured_filters()? {
        done.warnings.push(format!(
            "the filter `{filter}` is configured and used by tracked files; filters are not run in our checkouts, so \
             agents and gates see those files as they are stored"
        ));
    }
    if home.subscribe(&root)? {
        done.made.push(format!("subscribed in {}", home.path().display()));
    }
    Ok(done)
}

/// Another checkout of this repository that has a queue.
fn queue_elsewhere(root: &Path) -> Result<Option<PathBuf>, TickError> {
    for top in open(root)?.other_checkouts()? {
        if has_queue(&top, read_manifest(&top).ok().flatten().as_ref()) {
            return Ok(Some(top));
        }
    }
    Ok(None)
}

fn has_queue(top: &Path, manifest: Option<&Manifest>) -> bool {
    let state_dir = manifest.map_or_else(|| Manifest::default().state_dir, |manifest| manifest.state_dir.clone());
    Layout::new(top, state_dir.as_str()).state_yaml().exists()
}

fn open(root: &Path) -> Result<Repo, TickError> {
    let scratch = Location::find(root)?.git_dir;
    Ok(Repo::open(root, &scratch, Git::from_environment())?)
}

fn current_branch(root: &Path) -> Result<String, TickError> {
    open(root)?.current_branch()?.ok_or_else(|| TickError::NoBaseBranch { path: root.join(MANIFEST) })
}

/// The manifest that `init` writes: what matters, with the defaults as comments.
fn manifest_text(branch: &str) -> String {
    let quoted = serde_json::Value::from(branch).to_string();
    include_str!("../../templates/manifest.yaml").replace("{base_branch}", &quoted)
}

fn make_state_dir(site: &Site, done: &mut Done) -> Result<(), TickError> {
    let dir = site.layout.dir();
    if !dir.is_dir() {
        atomic::make_dirs(dir, Durability::Durable)?;
        done.made.push(format!("{}/", dir.display()));
    }
    let ignore = site.layout.gitignore();
    if !ignore.exists() {
        let text = "# The runtime state of autometta: nothing in here is for git but the README.\n*\n!README.md\n";
        atomic::write_public(&ignore, text.as_bytes())?;
    }
    let readme = dir.join("README.md");
    if !readme.exists() {
        atomic::write_public(&readme, include_bytes!("../../templates/state-readme.md"))?;
    }
    Ok(())
}

/// Adds a line to the repository's `.gitignore`, unless it is there.
fn ignore(root: &Path, line: &str, done: &mut Done) -> Result<(), TickError> {
    let path = root.join(".gitignore");
    let mut text = document::read(&path)?.unwrap_or_default();
    let wanted = line.as_bytes();
    // `/name` ignores the one at the root, which is the one that is meant.
    let is_known = |known: &[u8]| known.strip_prefix(b"/").unwrap_or(known) == wanted;
    if text.split(|byte| *byte == b'\n').any(|known| is_known(known.trim_ascii())) {
        return Ok(());
    }
    if !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text.extend_from_slice(wanted);
    text.push(b'\n');
    atomic::write_public(&path, &text)?;
    done.made.push(format!(".gitignore: {line}"));
    Ok(())
}

fn make_state(site: &Site, store: &Store, adopt: Adopt, done: &mut Done) -> Result<(), TickError> {
    let now = clock::now();
    let note = |event: &str, detail: String| Note {
        stage: None,
        run: None,
        event: event.to_owned(),
        from: None,
        to: None,
        detail,
    };
    match store.load() {
        Ok(loaded) if loaded.state.repo_id == site.repo_id => Ok(()),
        Ok(loaded) if adopt == Adopt::Yes => {
            // To an adopted copy they would look lost, and what is lost is made sure to be dead.
            for (_, flight) in loaded.state.flights() {
                let dir = site.layout.run(&flight.run);
                if dir.exists() && runs::lives_elsewhere(&dir)? {
                    let (path, run) = (site.layout.dir().to_owned(), flight.run.clone());
                    return Err(TickError::AtWorkElsewhere { path, run });
                }
            }
            let state = State { repo_id: site.repo_id.clone(), ..loaded.state.clone() };
            let detail = format!("from {} to {}", loaded.state.repo_id, site.repo_id);
            let after = Loaded { state, budget: loaded.budget.clone() };
            store.commit(Some(&loaded), &after, &[note("adopted", detail)], now)?;
            done.made.push("the state was adopted".to_owned());
            Ok(())
        }
        Ok(loaded) => super::fire::belongs_here(site, &loaded),
        Err(StoreError::NotInitialised(_)) => {
            let loaded = Loaded { state: State::new(site.repo_id.clone()), budget: fresh_budget(&site.manifest, now) };
            store.commit(None, &loaded, &[note("initialised", site.root.display().to_string())], now)?;
            done.made.push(format!("{} and budget.json", site.layout.state_yaml().display()));
            Ok(())
        }
        Err(StoreError::VersionOne { .. }) => {
            let loaded = carry::carry_over(site, store, now)?;
            done.made.push(format!("carried {} stages over from version 1", loaded.state.stages.len()));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The caps of a fresh budget are the manifest's.
fn fresh_budget(manifest: &Manifest, now: chrono::DateTime<chrono::Utc>) -> Budget {
    let caps = &manifest.caps;
    Budget {
        token_cap_total: Some(caps.tokens),
        cost_cap_usd: caps.cost_usd,
        wall_clock_cap_seconds: Some(caps.wall_clock.seconds()),
        clock_tick_cap: Some(caps.ticks),
        consecutive_failure_cap: Some(u64::from(caps.consecutive_failures)),
        window: caps.window,
        window_started_at: Some(now),
        no_progress: caps.no_progress,
        ..Budget::default()
    }
}
