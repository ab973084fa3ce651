//! Two repositories of one home, the first with a run in flight; and the things that can stand in a file's place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;

use crate::support::night::{HAND_IN, Night, SAY_PASS, text};

/// How long a command may take. It takes milliseconds; the machine may be loaded.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most address space that a command may have, in KiB: a file of gigabytes does not fit into it.
const MEMORY: &str = "1500000";

/// What a command came to.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub text: String,
}

/// Two repositories of one home. The worker of `01-work` in the first waits for the test.
pub struct World {
    pub night: Night,
    /// The other repository.
    pub other: PathBuf,
}

impl World {
    pub fn new() -> Self {
        let worker = format!(
            "echo \"$2\" >>\"$T/starts\"\nuntil test -e \"$T/go\"; do sleep 0.05; done\necho work >a.txt\n{HAND_IN}"
        );
        let night = Night::with(&worker, SAY_PASS);
        let other = night.base().join("other");
        let clone = Command::new("git").args(["clone", "-q"]).args([&night.repo, &other]).output().expect("git runs");
        assert!(clone.status.success(), "{}", text(&clone.stderr));
        fs::copy(night.repo.join(".autometta.yaml"), other.join(".autometta.yaml")).expect("manifest");
        let world = Self { night, other };
        let init = world.night.command(&["init"]).current_dir(&world.other).output().expect("the binary runs");
        assert!(init.status.success(), "{}", text(&init.stderr));
        world.night.queue("01-work");
        world.night.tick_until_that("01-work", |_| world.night.t().join("starts").exists());
        let run = world.run();
        world.night.wait("the agent is on record", || run.join("agent.json").exists());
        // Whatever the launch set off is over.
        world.night.ok(&["tick"]);
        world.night.ok(&["tick"]);
        world
    }

    pub fn state(&self) -> PathBuf {
        self.night.repo.join("state")
    }

    /// The directory of the run in flight.
    pub fn run(&self) -> PathBuf {
        self.state().join("runs/01-work.1.worker")
    }

    /// Runs the binary with a limit on its memory and its time.
    pub fn limited(&self, args: &[&str]) -> Said {
        let mut command = self.night.command(args);
        let program = command.get_program().to_owned();
        let environment: Vec<_> =
            command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        command = Command::new("sh");
        command
            .args(["-c", "ulimit -v \"$1\"; shift; exec \"$@\"", "sh", MEMORY])
            .arg(program)
            .args(args)
            .current_dir(&self.night.repo)
            .env_clear()
            .envs(environment);
        within(&mut command)
    }

    /// When the other repository was last served.
    pub fn served(&self) -> Option<std::time::SystemTime> {
        fs::metadata(self.other.join("state/heartbeat.json")).and_then(|meta| meta.modified()).ok()
    }
}

/// Runs a command, and fails where it does not end.
pub fn within(command: &mut Command) -> Said {
    let (out, err) = (tempfile::tempfile().expect("file"), tempfile::tempfile().expect("file"));
    let (to_out, to_err) = (out.try_clone().expect("file"), err.try_clone().expect("file"));
    let mut child = command.stdin(Stdio::null()).stdout(to_out).stderr(to_err).spawn().expect("the command starts");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().expect("kill");
            panic!("{command:?} does not end\n{}{}", contents(out), contents(err));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Said { code: status.code(), text: contents(out) + &contents(err) }
}

fn contents(mut file: fs::File) -> String {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes)).expect("read");
    text(&bytes)
}

/// What can stand where a file should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    Directory,
    DanglingLink,
    LinkToPasswd,
    LinkToItself,
    LinkToZero,
    LinkToFull,
    Fifo,
    Socket,
    Device,
    Huge,
    Empty,
    Garbage,
}

impl Thing {
    pub const ALL: [Self; 12] = [
        Self::Directory,
        Self::DanglingLink,
        Self::LinkToPasswd,
        Self::LinkToItself,
        Self::LinkToZero,
        Self::LinkToFull,
        Self::Fifo,
        Self::Socket,
        Self::Device,
        Self::Huge,
        Self::Empty,
        Self::Garbage,
    ];

    /// Puts the thing there; false where this machine does not let us make one.
    pub fn put(self, path: &Path) -> bool {
        clear(path);
        match self {
            Self::Directory => fs::create_dir(path).expect("directory"),
            Self::DanglingLink => symlink("nowhere", path).expect("link"),
            Self::LinkToPasswd => symlink("/etc/passwd", path).expect("link"),
            Self::LinkToItself => symlink(path.file_name().expect("name"), path).expect("link"),
            Self::LinkToZero => symlink("/dev/zero", path).expect("link"),
            Self::LinkToFull => symlink("/dev/full", path).expect("link"),
            Self::Fifo => nix::unistd::mkfifo(path, Mode::S_IRWXU).expect("fifo"),
            Self::Socket => drop(std::os::unix::net::UnixListener::bind(path).expect("socket")),
            Self::Device => return device(path),
            // Five gigabytes that take no room on the disk.
            Self::Huge => fs::File::create(path).and_then(|file| file.set_len(5 << 30)).expect("sparse file"),
            Self::Empty => fs::write(path, "").expect("file"),
            Self::Garbage => fs::write(path, b"\x00\xff{\"version\": [\n- : \xc3\x28").expect("file"),
        }
        true
    }

    /// Whether it is a file after all, if not one of ours.
    pub fn is_file(self) -> bool {
        matches!(self, Self::Huge | Self::Empty | Self::Garbage)
    }
}

/// `/dev/zero` under another name; only root may make one.
fn device(path: &Path) -> bool {
    Command::new("mknod").arg(path).args(["c", "1", "5"]).output().expect("mknod runs").status.success()
}

/// Removes whatever stands there.
pub fn clear(path: &Path) {
    match fs::symlink_metadata(path) {
        Err(_) => {}
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).expect("removed"),
        Ok(_) => fs::remove_file(path).expect("removed"),
    }
}

/// What stands there, so that it can be put back as it was: for a link not what it leads to.
pub fn keep(path: &Path) -> Option<Vec<u8>> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map(|_| fs::read(path).expect("file"))
}

/// Puts back what stood there.
pub fn put_back(path: &Path, kept: Option<&[u8]>) {
    clear(path);
    if let Some(bytes) = kept {
        fs::write(path, bytes).expect("put back");
    }
}
