//! `subscribe`, `unsubscribe`, `subscribers`: whom a fire serves that is not told which repository.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use crate::tick::subscribers::{self, Standing, Subscription};

use super::args::ReadArgs;
use super::output::{self, Table};
use super::terminal::text;
use super::{DONE, Place};

/// `subscribe`
#[derive(Debug, Args)]
pub struct SubscribeArgs {
    /// The repository, where it is not the one around the present directory.
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// Its place in the order: lower comes first. Default 100, or what it is already.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub weight: Option<i64>,
    /// Leave it out of fires until it is subscribed again without this.
    #[arg(long)]
    pub disabled: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `unsubscribe`
#[derive(Debug, Args)]
pub struct UnsubscribeArgs {
    /// The repository's path, or its name in `autometta subscribers`; without it, the one around the present directory.
    #[arg(value_name = "PATH|SLUG")]
    pub which: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Entry {
    slug: String,
    repo: PathBuf,
    weight: i64,
    enabled: bool,
}

pub fn subscribe(at: &Place, args: &SubscribeArgs) -> anyhow::Result<u8> {
    let path = args.path.clone().map_or_else(|| at.path(), Ok)?;
    let (slug, known) = subscribers::subscribe(&at.home, &path, args.weight, !args.disabled)?;
    if args.json {
        output::json(&Entry { slug, repo: known.repo_path, weight: known.weight, enabled: known.enabled })?;
        return Ok(DONE);
    }
    let served = if known.enabled { "every fire serves it" } else { "no fire serves it until it is enabled" };
    let home = at.home.path().display();
    let repo = known.repo_path.display();
    output::print(&format!("{repo} is subscribed in {home} as {slug}, weight {}; {served}\n", known.weight))?;
    Ok(DONE)
}

pub fn unsubscribe(at: &Place, args: &UnsubscribeArgs) -> anyhow::Result<u8> {
    let which = args.which.clone().map_or_else(|| at.path(), Ok)?;
    let Some(done) = subscribers::unsubscribe(&at.home, &which)? else {
        bail!(
            "{} is not subscribed in {}; `autometta subscribers` lists who is",
            which.display(),
            at.home.path().display()
        );
    };
    if args.json {
        output::json(&done)?;
        return Ok(DONE);
    }
    let name = done.repo.as_ref().map_or_else(|| done.slug.clone(), |repo| repo.display().to_string());
    let mut text = format!("{name} is not subscribed any more: no fire of {} serves it\n", at.home.path().display());
    if !done.in_flight.is_empty() {
        let runs: Vec<String> = done.in_flight.iter().map(ToString::to_string).collect();
        let (them, each) = if runs.len() == 1 { ("it goes", "its end") } else { ("they go", "the end of each") };
        text.push_str(&format!(
            "in flight there: {}; {them} on, and {each} still starts one tick of that repository; `autometta halt --repo \
             {name}` keeps more from starting\n",
            runs.join(", ")
        ));
    }
    if let Some(fault) = &done.fault {
        text.push_str(&format!("what is in flight there is not known: {fault}\n"));
    }
    output::print(&text)?;
    Ok(DONE)
}

pub fn subscribers(at: &Place, args: &ReadArgs) -> anyhow::Result<u8> {
    let known = subscribers::list(&at.home)?;
    if args.json {
        output::json(&known)?;
        return Ok(DONE);
    }
    if known.is_empty() {
        output::print(&format!(
            "nobody has subscribed in {}; `autometta init` or `autometta subscribe` in a repository does\n",
            at.home.path().display()
        ))?;
        return Ok(DONE);
    }
    let mut table = Table::new(&["SLUG", "WEIGHT", "ENABLED", "PATH", "STATE"], usize::MAX);
    for one in &known {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row(vec![
            text::clean(&one.slug),
            or_dash(one.weight.map(|weight| weight.to_string())),
            or_dash(one.enabled.map(|enabled| if enabled { "yes" } else { "no" }.to_owned())),
            or_dash(one.repo.as_ref().map(|repo| text::clean(&repo.display().to_string()))),
            text::clean(&words(one)),
        ]);
    }
    output::print(&table.render())?;
    Ok(DONE)
}

fn words(one: &Subscription) -> String {
    let fault = || one.fault.clone().unwrap_or_default();
    let count =
        |count: Option<usize>, what: &str| count.filter(|count| *count > 0).map(|count| format!("{count} {what}"));
    let under_way: Vec<String> =
        [count(one.in_flight, "in flight"), count(one.queued, "queued")].into_iter().flatten().collect();
    let under_way = (!under_way.is_empty()).then(|| under_way.join(", "));
    match one.state {
        Standing::Gone => "gone".to_owned(),
        Standing::NoAnswer => fault(),
        Standing::Unreadable => format!("unreadable: {}", fault()),
        Standing::Ready => under_way.unwrap_or_else(|| "idle".to_owned()),
        Standing::Halted => {
            let reasons: Vec<&str> = one.halts.iter().map(|halt| halt.as_str()).collect();
            let halted = format!("halted {}", reasons.join(", "));
            under_way.map_or_else(|| halted.clone(), |under_way| format!("{halted}, {under_way}"))
        }
    }
}
