//! Names: of stages, runs, roles, families, identities and git objects.
//!
//! Every name that reaches a file path, a ref or an argument list is one of these newtypes,
//! checked once, where it enters.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A name that does not have the shape it must have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a valid {what}: {shape}")]
pub struct NameError {
    /// What was being parsed, for example "stage id".
    pub what: &'static str,
    /// The offending text.
    pub text: String,
    /// The shape that is expected, in words.
    pub shape: &'static str,
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $shape:literal, $pattern:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "description": $shape, "pattern": $pattern})
            }
        }

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { what: $what, text: text.to_owned(), shape: $shape })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

text_name!(
    /// The id of a stage: its card's file name without `.md`, such as `01-greeting`.
    StageId,
    "stage id",
    "two or more digits, optional lower-case letters, a dash, then lower-case letters, digits and dashes",
    r"^[0-9]{2,}[a-z]*-[a-z0-9-]+$",
    |text| {
        let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = text.len() - rest.len();
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
        digits >= 2
            && text.len() <= 100
            && rest.len() > 1
            && rest.starts_with('-')
            && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

text_name!(
    /// The name of a family: the adapter of one agent CLI, such as `claude`.
    FamilyName,
    "family name",
    "a lower-case letter, then lower-case letters, digits, dashes and underscores",
    r"^[a-z][a-z0-9_-]*$",
    |text| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    }
);

text_name!(
    /// A kind of planted defect, such as `off-by-one`.
    DefectClass,
    "defect class",
    "a lower-case letter, then lower-case letters, digits and dashes",
    r"^[a-z][a-z0-9-]*$",
    |text| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

text_name!(
    /// The name of a tier of models, such as `top`.
    TierName,
    "tier name",
    "a lower-case letter, then lower-case letters, digits and dashes",
    r"^[a-z][a-z0-9-]*$",
    |text| {
        text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

text_name!(
    /// The name of a model as its CLI knows it, such as `claude-opus-5`.
    ModelName,
    "model name",
    "one word without blanks that does not begin with a dash",
    r"^[^\s-][^\s]*$",
    |text| !text.is_empty() && !text.starts_with('-') && !text.contains(|c: char| c.is_whitespace() || c.is_control())
);

text_name!(
    /// A git object id in hex: 40 digits in a SHA-1 repository, 64 in a SHA-256 one.
    ObjectId,
    "git object id",
    "40 or 64 lower-case hexadecimal digits",
    r"^([0-9a-f]{40}|[0-9a-f]{64})$",
    |text| {
        (text.len() == 40 || text.len() == 64)
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    }
);

impl ObjectId {
    /// The id that these bytes are, in hex.
    pub fn of_bytes(bytes: [u8; 20]) -> Self {
        use fmt::Write as _;
        Self(bytes.iter().fold(String::with_capacity(40), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
    }
}

/// A commit, named by its object id.
pub type CommitId = ObjectId;
/// A tree, named by its object id.
pub type TreeId = ObjectId;

/// What a run does for its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Makes the change.
    Worker,
    /// Runs the acceptance commands and the standing gates.
    Gate,
    /// Judges the candidate.
    Verifier,
}

impl Role {
    /// The role as it stands in run ids and file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Gate => "gate",
            Self::Verifier => "verifier",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The word that stands for the attempt of a run that was started by hand.
const MANUAL: &str = "manual";

/// The id of one dispatched process: `<stage>.<attempt>.<role>[-<seat>][.r<retry>]`.
///
/// It names a directory under `state/runs/` and is never used twice. A run that a person started by hand has the word
/// `manual` for its attempt: attempts count from 1, so no run of the machine can ever have its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId {
    /// The stage that the run belongs to.
    pub stage: StageId,
    /// The attempt, counted from 1; 0 for a run that was started by hand.
    pub attempt: u32,
    /// What the run does.
    pub role: Role,
    /// The seat of a panel, counted from 1; none outside a panel.
    pub seat: Option<u32>,
    /// How often this seat of this attempt was run before; 0 for the first run.
    pub retry: u32,
}

impl RunId {
    /// The id of a run that a person starts by hand; `number` tells such runs of one stage and role apart, from 0.
    pub fn manual(stage: StageId, role: Role, number: u32) -> Self {
        Self { stage, attempt: 0, role, seat: None, retry: number }
    }

    /// The branch on which what a worker's run left is kept, where it does not land.
    pub fn kept_branch(&self) -> String {
        let retry = if self.retry > 0 { format!("-r{}", self.retry) } else { String::new() };
        format!("wip/{}-attempt-{}{retry}", self.stage, self.attempt)
    }

    /// Whether a person started it: it is none of the machine's, and never stands in the state.
    pub fn is_manual(&self) -> bool {
        self.attempt == 0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_manual() {
            write!(out, "{}.{MANUAL}.{}", self.stage, self.role)?;
        } else {
            write!(out, "{}.{}.{}", self.stage, self.attempt, self.role)?;
        }
        if let Some(seat) = self.seat {
            write!(out, "-{seat}")?;
        }
        if self.retry > 0 {
            write!(out, ".r{}", self.retry)?;
        }
        Ok(())
    }
}

impl FromStr for RunId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError {
            what: "run id",
            text: text.to_owned(),
            shape: "<stage>.<attempt>.<role>, then -<seat> and .r<retry> where they apply",
        };
        let number = |digits: &str| -> Result<u32, NameError> {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            let value: u32 = if plain { digits.parse().map_err(|_| bad())? } else { return Err(bad()) };
            if value == 0 || digits.starts_with('0') { Err(bad()) } else { Ok(value) }
        };
        let mut parts = text.split('.');
        let (Some(stage), Some(attempt), Some(role)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad());
        };
        let retry = match parts.next() {
            None => 0,
            Some(retry) => number(retry.strip_prefix('r').ok_or_else(bad)?)?,
        };
        if parts.next().is_some() {
            return Err(bad());
        }
        let (role, seat) = match role.split_once('-') {
            None => (role, None),
            Some((role, seat)) => (role, Some(number(seat)?)),
        };
        let role = match role {
            "worker" => Role::Worker,
            "gate" => Role::Gate,
            "verifier" => Role::Verifier,
            _ => return Err(bad()),
        };
        let attempt = if attempt == MANUAL { 0 } else { number(attempt)? };
        Ok(Self { stage: stage.parse().map_err(|_| bad())?, attempt, role, seat, retry })
    }
}

impl TryFrom<String> for RunId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

impl JsonSchema for RunId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RunId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "<stage>.<attempt>.<role>[-<seat>][.r<retry>]; `manual` for the attempt of a run started by hand",
            "pattern": r"^[0-9]{2,}[a-z]*-[a-z0-9-]+\.([1-9][0-9]*|manual)\.(worker|gate|verifier)(-[1-9][0-9]*)?(\.r[1-9][0-9]*)?$"
        })
    }
}

/// Who works or judges, as git writes people: `Claude Sonnet 5 <claude-sonnet-5@local>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Identity {
    name: String,
    email: String,
}

impl Identity {
    /// The name in front of the address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address, without its angle brackets.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// The address's local part, which names the model: `claude-sonnet-5`.
    pub fn handle(&self) -> &str {
        self.email.split_once('@').map_or(self.email.as_str(), |(local, _)| local)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} <{}>", self.name, self.email)
    }
}

impl FromStr for Identity {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError {
            what: "identity",
            text: text.to_owned(),
            shape: "a name and an address in angle brackets, such as `Claude Sonnet 5 <claude-sonnet-5@local>`",
        };
        let clean = |part: &str| !part.is_empty() && !part.chars().any(|c| c.is_control() || c == '<' || c == '>');
        let (name, rest) = text.trim().split_once('<').ok_or_else(bad)?;
        let email = rest.strip_suffix('>').ok_or_else(bad)?;
        let name = name.trim();
        if !text.trim().contains(char::is_control)
            && clean(name)
            && clean(email)
            && !email.contains(char::is_whitespace)
            && !email.starts_with(['@', '-'])
        {
            Ok(Self { name: name.to_owned(), email: email.to_owned() })
        } else {
            Err(bad())
        }
    }
}

impl TryFrom<String> for Identity {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<Identity> for String {
    fn from(identity: Identity) -> Self {
        identity.to_string()
    }
}

impl JsonSchema for Identity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Identity".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "a name and an address in angle brackets",
            "pattern": r"^[^<>]+ <[^<>\s]+>$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stage_ids_have_the_shape_of_the_contract() {
        for good in ["01-greeting", "00b-fixtures", "123abc-x", "01--", "01-a-1"] {
            assert!(good.parse::<StageId>().is_ok(), "{good}");
        }
        for bad in ["", "1-x", "01", "01-", "01_x", "01-X", "a1-x", "01A-x", "01-x/..", "01-x.1", "01-é"] {
            assert!(bad.parse::<StageId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn run_ids_survive_a_round_trip_and_nothing_else_parses() {
        for good in [
            "01-a.1.worker",
            "01-a.manual.worker",
            "01-a.manual.gate.r3",
            "01-a.12.verifier-3",
            "01-a.1.gate.r2",
            "00b-x.2.verifier-1.r9",
        ] {
            assert_eq!(good.parse::<RunId>().expect(good).to_string(), good);
        }
        for bad in [
            "01-a",
            "01-a.1",
            "01-a.0.worker",
            "01-a.01.worker",
            "01-a.1.boss",
            "01-a.1.worker.2",
            "01-a.1.worker.r0",
            "01-a.1.worker-0",
            "01-a.1.worker-",
            "01-a.1.worker.r1.r2",
            "../x.1.worker",
            "01-a.+1.worker",
        ] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn identities_are_what_git_can_write() {
        let one: Identity = "Claude Sonnet 5 <claude-sonnet-5@local>".parse().expect("identity");
        assert_eq!(
            (one.name(), one.email(), one.handle()),
            ("Claude Sonnet 5", "claude-sonnet-5@local", "claude-sonnet-5")
        );
        for bad in ["", "Claude", "Claude <>", "<a@b>", "A <a@b", "A <a b>", "A\n <a@b>", "A <a@b> <c@d>", "A <-x@y>"] {
            assert!(bad.parse::<Identity>().is_err(), "{bad}");
        }
    }
}
