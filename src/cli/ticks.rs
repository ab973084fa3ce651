//! `tick`: one repository, or every subscriber.

use std::time::Duration;

use serde::Serialize;
use tracing::{error, warn};

use crate::core::fleet::HomeConfig;
use crate::files::fleet;
use crate::tick::{self, Report, Site};

use super::args::TickArgs;
use super::{DONE, FAILED, HALTED, Place, logging, output};

#[derive(Serialize)]
struct Entry {
    repo: String,
    #[serde(flatten)]
    report: Option<Report>,
    error: Option<String>,
}

pub fn tick(at: &Place, args: &TickArgs) -> anyhow::Result<u8> {
    logging::start(&at.home);
    if args.plan {
        return plan(&at.site()?, args.json);
    }
    if at.repo.is_some() {
        let site = at.site().inspect_err(|error| error!("{error:#}"))?;
        let report = tick::fire(&site).inspect_err(|error| tick::log(&site.root, error))?;
        let code = if report.halted.is_empty() { DONE } else { HALTED };
        print(&[Entry { repo: site.root.display().to_string(), report: Some(report), error: None }], args.json)?;
        return Ok(code);
    }
    all(at, args)
}

/// Every enabled subscriber, side by side. What is told is in their order, whoever was done first.
fn all(at: &Place, args: &TickArgs) -> anyhow::Result<u8> {
    let mut code = DONE;
    let mut refuse = |repo: String, error: &dyn std::fmt::Display| {
        code = FAILED;
        Entry { repo, report: None, error: Some(error.to_string()) }
    };
    let mut entries = Vec::new();
    let config = fleet::config(&at.home).unwrap_or_else(|error| {
        error!("{error}");
        entries.push(refuse(at.home.path().join("config.yaml").display().to_string(), &error));
        HomeConfig::default()
    });
    let mut repos = Vec::new();
    let mut places = Vec::new();
    for (slug, subscriber) in at.home.subscribers()? {
        match subscriber {
            Ok(subscriber) if !subscriber.enabled => {}
            Ok(subscriber) => {
                places.push(entries.len() + repos.len());
                repos.push(subscriber.repo_path);
            }
            Err(error) => {
                warn!(subscriber = slug, "{error}");
                entries.push(refuse(slug, &error));
            }
        }
    }
    let limit = Duration::from_secs(config.tick_timeout.seconds().0);
    let fired = tick::round(&at.home, &at.exe, &repos, limit);
    let mut halted = false;
    for ((repo, fired), place) in repos.iter().zip(fired).zip(places) {
        let repo = repo.display().to_string();
        halted |= fired.report.as_ref().is_some_and(|report| !report.halted.is_empty());
        let entry = match fired.error {
            None => Entry { repo, report: fired.report, error: None },
            Some(error) => Entry { report: fired.report, ..refuse(repo, &error) },
        };
        entries.insert(place.min(entries.len()), entry);
    }
    print(&entries, args.json)?;
    Ok(if code == DONE && halted { HALTED } else { code })
}

fn print(entries: &[Entry], json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&entries);
    }
    for entry in entries {
        if let Some(error) = &entry.error {
            eprintln!("autometta: {}: {error}", entry.repo);
        }
        if let Some(report) = &entry.report {
            output::notes(&report.notes, false)?;
            for warning in &report.warnings {
                eprintln!("autometta: warning: {warning}");
            }
            for failure in &report.failures {
                eprintln!("autometta: {}: {failure} (the next tick tries again)", entry.repo);
            }
        }
    }
    Ok(())
}

fn plan(site: &Site, json: bool) -> anyhow::Result<u8> {
    let plan = tick::plan(site)?;
    if json {
        output::json(&plan)?;
        return Ok(DONE);
    }
    if plan.notes.is_empty() && plan.effects.is_empty() && plan.launches.is_empty() && plan.holds.is_empty() {
        output::print("the next tick would do nothing\n")?;
    }
    output::notes(&plan.notes, false)?;
    let mut text = String::new();
    for effect in &plan.effects {
        text.push_str(&format!("do {effect}\n"));
    }
    for hold in &plan.holds {
        text.push_str(&format!("hold {}: {}\n", hold.stage, hold.why));
    }
    for ask in &plan.asks {
        text.push_str(&format!("ask first {ask} (a plan asks nobody)\n"));
    }
    for launch in &plan.launches {
        text.push_str(&format!("launch {} in {}\n", launch.run, launch.cwd));
        for argv in &launch.argv {
            text.push_str(&format!("  argv {}\n", serde_json::to_string(argv)?));
        }
        text.push_str(&format!("  env {}\n", launch.env.join(" ")));
    }
    output::print(&text)?;
    Ok(DONE)
}
