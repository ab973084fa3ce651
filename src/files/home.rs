//! `~/.autometta` (or `$AUTOMETTA_HOME`): the subscribers, the logs, and the id of this machine.

#![expect(clippy::disallowed_methods, reason = "this is where the environment says where home is")]

use std::env;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::atomic::{self, Durability, WriteError};
use super::document::{self, DocumentError};
use super::ledger::sha256_hex;
use crate::core::fault::Faults;
use crate::core::models::ModelTable;
use crate::core::rates::RateTable;
use crate::core::subscriber::{Slug, Subscriber};
use crate::core::timer::TimerRecord;
use crate::fault;

/// Why home cannot be used.
#[derive(Debug, Error)]
pub enum HomeError {
    /// No environment variable says where it is.
    #[error("neither AUTOMETTA_HOME nor HOME is set; set one of them to a directory of yours")]
    Unknown,
    /// It cannot be made or read.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file in it cannot be understood.
    #[error("{path} cannot be used: {faults}")]
    Faults {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        faults: Faults,
    },
    /// A file in it cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A file in it cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A subscriber by the name of its file, or what is wrong with it.
pub type Entry = (String, Result<Subscriber, HomeError>);

/// The directory.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// The directory that the environment names; it is not made here.
    pub fn from_env() -> Result<Self, HomeError> {
        let named = env::var_os("AUTOMETTA_HOME").filter(|value| !value.is_empty()).map(PathBuf::from);
        let default =
            || env::var_os("HOME").filter(|value| !value.is_empty()).map(|home| Path::new(&home).join(".autometta"));
        let path = named.or_else(default).ok_or(HomeError::Unknown)?;
        let path = std::path::absolute(&path).map_err(|source| HomeError::Io { path: path.clone(), source })?;
        Ok(Self { path })
    }

    /// A home in this directory.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the logs are.
    pub fn log_dir(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Makes the directory, for its owner alone.
    pub fn ensure(&self) -> Result<(), HomeError> {
        let io = |source| HomeError::Io { path: self.path.clone(), source };
        if !self.path.is_dir() {
            fault::point!("home.make", &self.path).map_err(io)?;
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(io)?;
        }
        let mode = fs::metadata(&self.path).map_err(io)?.permissions().mode();
        if mode & 0o077 != 0 {
            fault::point!("home.mode", &self.path).map_err(io)?;
            fs::set_permissions(&self.path, fs::Permissions::from_mode(0o700)).map_err(io)?;
        }
        Ok(())
    }

    fn subscriber_dir(&self) -> PathBuf {
        self.path.join("subscribers")
    }

    /// Everyone who has subscribed, by weight and then by name; a file that cannot be used is a fault of its own and
    /// hides nobody else.
    pub fn subscribers(&self) -> Result<Vec<Entry>, HomeError> {
        let dir = self.subscriber_dir();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(HomeError::Io { path: dir, source }),
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(slug) =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".yaml"))
            else {
                continue;
            };
            let slug = slug.to_owned();
            let read = document::read(&path).map_err(HomeError::from).and_then(|bytes| {
                let bytes = bytes.unwrap_or_default();
                let faulty = |faults| HomeError::Faults { path, faults };
                match document::from_yaml::<Subscriber>(&bytes) {
                    Ok(known) if known.validate().is_empty() => Ok(known),
                    Ok(known) => Err(faulty(document::locate(&bytes, known.validate()))),
                    Err(faults) => Err(faulty(faults)),
                }
            });
            found.push((slug, read));
        }
        found.sort_by_key(|(slug, subscriber)| (subscriber.as_ref().map_or(0, |known| known.weight), slug.clone()));
        Ok(found)
    }

    /// Subscribes a repository; true when it was not subscribed before.
    pub fn subscribe(&self, repo: &Path) -> Result<bool, HomeError> {
        let slug = Slug::of(repo);
        if self.subscriber_file(slug.as_str()).exists() {
            return Ok(false);
        }
        self.set_subscriber(None, &Subscriber::new(repo))?;
        Ok(true)
    }

    /// Writes a subscription, under the name that it has already or the one that its path gives it; gives the name.
    pub fn set_subscriber(&self, slug: Option<String>, entry: &Subscriber) -> Result<String, HomeError> {
        self.ensure()?;
        let slug = slug.unwrap_or_else(|| Slug::of(&entry.repo_path).as_str().to_owned());
        let path = self.subscriber_file(&slug);
        let text = document::to_yaml(entry).map_err(|error| HomeError::Faults {
            path: path.clone(),
            faults: Faults::one(None, "", error.to_string()),
        })?;
        atomic::make_dirs(&self.subscriber_dir(), Durability::Durable)?;
        atomic::write(&path, text.as_bytes(), Durability::Durable)?;
        Ok(slug)
    }

    /// Takes a subscription away; one that is not there is as good as taken away.
    pub fn unsubscribe(&self, slug: &str) -> Result<(), HomeError> {
        Ok(atomic::remove_durably(&self.subscriber_file(slug))?)
    }

    /// Whether fires serve the repository at this path, as far as the file that is named after it says.
    pub fn serves(&self, repo: &Path) -> bool {
        let read = document::read(&self.subscriber_file(Slug::of(repo).as_str())).ok().flatten();
        let known = read.and_then(|bytes| document::from_yaml::<Subscriber>(&bytes).ok());
        known.is_some_and(|known| known.enabled && known.repo_path == repo)
    }

    fn subscriber_file(&self, slug: &str) -> PathBuf {
        self.subscriber_dir().join(format!("{slug}.yaml"))
    }

    /// What the tiers of models stand for; an empty table where there is no file.
    pub fn models(&self) -> Result<ModelTable, HomeError> {
        let path = self.path.join("models.yaml");
        let Some(bytes) = document::read(&path)? else { return Ok(ModelTable::default()) };
        let faulty = |faults| HomeError::Faults { path: path.clone(), faults };
        let table: ModelTable = document::from_yaml(&bytes).map_err(faulty)?;
        let faults = table.validate();
        if faults.is_empty() { Ok(table) } else { Err(faulty(document::locate(&bytes, faults))) }
    }

    /// What models cost; without a file, the list prices that are compiled in.
    pub fn rates(&self) -> Result<RateTable, HomeError> {
        let path = self.path.join("rates.yaml");
        let Some(bytes) = document::read(&path)? else { return Ok(RateTable::default()) };
        let faulty = |faults| HomeError::Faults { path: path.clone(), faults };
        let table: RateTable = document::from_yaml(&bytes).map_err(faulty)?;
        let faults = table.validate();
        if faults.is_empty() { Ok(table) } else { Err(faulty(document::locate(&bytes, faults))) }
    }

    /// Where the versions of agents' programs are remembered.
    pub fn cli_versions(&self) -> PathBuf {
        self.path.join("cli-versions.json")
    }

    /// Where the installed timer is written down.
    pub fn timer_path(&self) -> PathBuf {
        self.path.join("timer.json")
    }

    /// The timer that was installed; none where there is none.
    pub fn timer(&self) -> Result<Option<TimerRecord>, HomeError> {
        let path = self.timer_path();
        let Some(bytes) = document::read(&path)? else { return Ok(None) };
        document::from_json(bytes).map(Some).map_err(|faults| HomeError::Faults { path, faults })
    }

    /// Writes down the timer that was installed, or that there is none any more.
    pub fn set_timer(&self, record: Option<&TimerRecord>) -> Result<(), HomeError> {
        let path = self.timer_path();
        let Some(record) = record else { return Ok(atomic::remove(&path)?) };
        self.ensure()?;
        let text = document::to_json_pretty(record).map_err(|error| HomeError::Faults {
            path: path.clone(),
            faults: Faults::one(None, "", error.to_string()),
        })?;
        Ok(atomic::write(&path, text.as_bytes(), Durability::Durable)?)
    }

    /// A text that names this machine: the system's machine id, or one that is made once and kept here.
    pub fn machine_id(&self) -> Result<String, HomeError> {
        if let Ok(id) = fs::read_to_string("/etc/machine-id")
            && !id.trim().is_empty()
        {
            return Ok(id.trim().to_owned());
        }
        let path = self.path.join("machine-id");
        if let Some(bytes) = document::read(&path)? {
            return Ok(String::from_utf8_lossy(&bytes).trim().to_owned());
        }
        self.ensure()?;
        let mut bytes = [0_u8; 16];
        let io = |source| HomeError::Io { path: PathBuf::from("/dev/urandom"), source };
        fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).map_err(io)?;
        let id = sha256_hex(&bytes)[..32].to_owned();
        atomic::write(&path, id.as_bytes(), Durability::Durable)?;
        Ok(id)
    }
}

/// Names a repository on this machine. A state that is copied to another place or machine does not bear its name.
pub fn repo_id(machine: &str, repo: &Path) -> String {
    sha256_hex(format!("autometta\0{machine}\0{}", repo.display()).as_bytes())[..32].to_owned()
}
