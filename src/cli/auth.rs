//! `auth`: who pays for each family, where its keys come from, and whether one could start.

use clap::{Args, Subcommand};

use crate::core::family::AuthMode;
use crate::core::ids::FamilyName;
use crate::tick::auth::{self, AuthStatus, FamilyAuth};
use crate::tick::doctor::Finding;

use super::args::ReadArgs;
use super::{DONE, FAILED, Place, REFUSED, doctor, output};

/// `auth`
#[derive(Debug, Args)]
pub struct AuthArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuthCommand,
}

/// What may be asked about logins and keys.
#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Show each family that is needed: who pays, where every variable comes from, what is withheld. Resolves nothing.
    #[command(after_help = "Example:\n  autometta auth status")]
    Status(ReadArgs),
    /// Resolve one family's secrets and look at its login, as a run would before it starts. Shows and spends nothing.
    #[command(after_help = "Example:\n  autometta auth check codex")]
    Check(CheckArgs),
}

/// `auth check`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The family, such as `claude` or `codex`.
    pub family: FamilyName,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

pub fn auth(at: &Place, args: &AuthArgs) -> anyhow::Result<u8> {
    match &args.command {
        AuthCommand::Status(args) => {
            let status = auth::status(&at.site()?);
            if args.json {
                output::json(&status)?;
            } else {
                output::print(&text(&status))?;
            }
            Ok(DONE)
        }
        AuthCommand::Check(args) => check(at, args),
    }
}

fn check(at: &Place, args: &CheckArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let Some(check) = auth::check(&site, &args.family) else {
        let known: Vec<&str> = site.families.iter().map(|spec| spec.name.as_str()).collect();
        eprintln!("autometta: there is no family {}; there are {}", args.family, known.join(", "));
        return Ok(REFUSED);
    };
    if args.json {
        output::json(&check)?;
    } else {
        let verdict = if check.fit { "a run of it could start" } else { "no run of it could start" };
        let text = format!("{}  {}\n{}\n{verdict}\n", check.family, mode(check.mode), lines(&check.findings));
        output::print(&text)?;
    }
    Ok(if check.fit { DONE } else { FAILED })
}

fn mode(mode: AuthMode) -> &'static str {
    match mode {
        AuthMode::Subscription => "subscription",
        AuthMode::Api => "api",
        AuthMode::Local => "local",
        AuthMode::None => "none",
    }
}

fn text(status: &AuthStatus) -> String {
    let families: Vec<String> = status.families.iter().map(family).collect();
    families.join("\n")
}

fn family(family: &FamilyAuth) -> String {
    let program = match (&family.program, &family.version) {
        (Some(path), Some(version)) => format!("  {} ({version})", path.display()),
        (Some(path), None) => format!("  {}", path.display()),
        (None, _) => String::new(),
    };
    let mut text = format!("{}  {}{program}\n", family.family, mode(family.mode));
    for variable in &family.variables {
        let absent = if variable.present == Some(false) { "; not set where ticks run" } else { "" };
        text.push_str(&format!("  {:<9}{} from {}{absent}\n", "variable", variable.name, variable.from));
    }
    for name in &family.withheld {
        text.push_str(&format!("  {:<9}{name} is set here, and its agents do not get it\n", "withheld"));
    }
    text + &lines(&family.findings)
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(doctor::line).collect()
}
