//! The text of a commit, put together here byte by byte, so that the same inputs always give the same hash.
//!
//! No clock and no configuration is read: every date and identity is an argument.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::core::ids::{CommitId, Identity, TreeId};

use super::error::GitError;
use super::loose::{Kind, Loose};
use super::objects::Objects;

/// A name and an address, as commits carry them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    name: String,
    email: String,
}

impl Signature {
    /// With what a commit cannot hold (control characters and angle brackets) taken out; none where nothing is left.
    pub fn new(name: &str, email: &str) -> Option<Self> {
        let clean = |text: &str| {
            let kept: String = text.chars().filter(|c| !c.is_control() && *c != '<' && *c != '>').collect();
            kept.trim().to_owned()
        };
        let (name, email) = (clean(name), clean(email));
        (!name.is_empty() && !email.is_empty()).then_some(Self { name, email })
    }

    /// That of what nobody but this program has made.
    pub(super) fn ours() -> Self {
        Self { name: "autometta".to_owned(), email: "autometta@local".to_owned() }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address, without its angle brackets.
    pub fn email(&self) -> &str {
        &self.email
    }
}

impl From<&Identity> for Signature {
    fn from(identity: &Identity) -> Self {
        Self { name: identity.name().to_owned(), email: identity.email().to_owned() }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} <{}>", self.name, self.email)
    }
}

/// Everything a commit consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitText {
    /// The files.
    pub tree: TreeId,
    /// The commits before it.
    pub parents: Vec<CommitId>,
    /// Who made the change.
    pub author: Signature,
    /// Who recorded it.
    pub committer: Signature,
    /// When, for both; whole seconds count.
    pub at: DateTime<Utc>,
    /// Subject, body and trailers. NUL characters are left out, and it is made to end in one newline.
    pub message: String,
}

impl CommitText {
    /// The commit object's content, in the form of git's `commit` objects, dates in UTC.
    pub fn to_bytes(&self) -> Vec<u8> {
        let parents: Vec<String> = self.parents.iter().map(|parent| format!("parent {parent}\n")).collect();
        // Git knows no dates before 1970.
        let seconds = self.at.timestamp().max(0);
        let message = self.message.replace('\0', "");
        format!(
            "tree {tree}\n{parents}author {author} {seconds} +0000\ncommitter {committer} {seconds} +0000\n\n{message}\n",
            tree = self.tree,
            parents = parents.concat(),
            author = self.author,
            committer = self.committer,
            message = message.trim_end(),
        )
        .into_bytes()
    }
}

impl Objects {
    /// Stores a commit and returns its id. Storing it again changes nothing.
    pub fn write_commit(&self, commit: &CommitText) -> Result<CommitId, GitError> {
        let bytes = commit.to_bytes();
        if let Some(id) = self.stored(&bytes) {
            return Ok(id);
        }
        let object = Loose::new(self.object_format()?, Kind::Commit, &bytes)?;
        self.store([&object])?;
        self.has_stored(bytes, &object.id);
        Ok(object.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_a_commit_object() {
        let id = |digit: &str| digit.repeat(40).parse::<TreeId>().expect("id");
        let commit = CommitText {
            tree: id("a"),
            parents: vec![id("b"), id("c")],
            author: Signature::new("A <evil>\nparent", "a@x\n").expect("signature"),
            committer: Signature::new("C", "c@x").expect("signature"),
            at: DateTime::from_timestamp(1_700_000_000, 999).expect("time"),
            message: "Subject\n\nBody\0\n\n".to_owned(),
        };
        let expected = format!(
            "tree {}\nparent {}\nparent {}\nauthor A evilparent <a@x> 1700000000 +0000\n\
             committer C <c@x> 1700000000 +0000\n\nSubject\n\nBody\n",
            "a".repeat(40),
            "b".repeat(40),
            "c".repeat(40)
        );
        assert_eq!(String::from_utf8(commit.to_bytes()).expect("text"), expected);
    }
}
