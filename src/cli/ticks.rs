//! `tick`: one repository, or every subscriber.

use serde::Serialize;
use tracing::{error, warn};

use crate::tick::{self, Report, Site, TickError};

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
        let report = tick::fire(&site).inspect_err(|error| log_failure(&site.root.display().to_string(), error))?;
        let code = if report.halted.is_empty() { DONE } else { HALTED };
        print(&[Entry { repo: site.root.display().to_string(), report: Some(report), error: None }], args.json)?;
        return Ok(code);
    }
    let mut entries = Vec::new();
    let mut code = DONE;
    for (slug, subscriber) in at.home.subscribers()? {
        let repo = match subscriber {
            Ok(subscriber) if !subscriber.enabled => continue,
            Ok(subscriber) => subscriber.repo_path,
            Err(error) => {
                warn!(subscriber = slug, "{error}");
                code = FAILED;
                entries.push(Entry { repo: slug, report: None, error: Some(error.to_string()) });
                continue;
            }
        };
        // A repository that fails never stops the next one.
        let fired: Result<Report, TickError> = Site::open(&repo, &at.home, &at.exe).and_then(|site| tick::fire(&site));
        let name = repo.display().to_string();
        match fired {
            Ok(report) => {
                if !report.halted.is_empty() && code == DONE {
                    code = HALTED;
                }
                entries.push(Entry { repo: name, report: Some(report), error: None });
            }
            Err(error) => {
                log_failure(&name, &error);
                code = FAILED;
                entries.push(Entry { repo: name, report: None, error: Some(error.to_string()) });
            }
        }
    }
    print(&entries, args.json)?;
    Ok(code)
}

/// What a tick could not do goes into the log, unless the tick has put it there itself.
fn log_failure(repo: &str, error: &TickError) {
    if !matches!(error, TickError::Damaged { .. }) {
        error!(repo, "{error}");
    }
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
