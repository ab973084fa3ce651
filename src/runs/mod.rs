//! One run: launching, supervising, probing and killing it.
//!
//! A run owns one directory and one lock. The tick launches a supervisor ([`launch()`]) and forgets it; the supervisor
//! ([`supervise()`]) claims the run, starts the program, watches it, ends everything that descends from it, and writes
//! `exit.json` last. Later ticks look at the directory ([`probe()`]). Liveness is the lock, never a pid.
//!
//! What this layer defends against is death at any instant and programs that misbehave. A program that may write
//! into the state directory can forge its own record there; keeping it out is its sandbox's task.
//!
//! Nothing here knows a CLI, git, or the state machine: what a line of output means is behind [`StreamMeter`].

mod claim;
mod clock;
mod dir;
mod error;
mod gates;
mod glance;
mod inquiry;
mod launch;
mod leak;
mod login;
mod meter;
mod outbox;
mod patience;
mod probe;
mod process;
mod program;
mod pumps;
mod reach;
mod redact;
mod register;
mod registry;
mod secret;
mod stop;
mod supervise;
mod tail;
mod teller;
mod transcript;
mod tree;
mod waiter;
mod watch;

pub use clock::readings;
pub use dir::RunDir;
pub use error::RunError;
pub use glance::{Glance, Glancer, LogTail};
pub use inquiry::{Answer, Inquiry, inherited, locate, names_of_environment};
pub use launch::{Launched, launch, launch_given};
pub use leak::secrets_left;
pub use login::{LoginState, login_state};
pub use meter::{Hurry, MeterFor, MeterResult, NoMeter, Refused, StreamMeter};
pub use probe::{LostRun, Pulse, Sighting, SupervisorState, lives_elsewhere, probe};
pub use process::boot_id;
pub use reach::{REACH_LIMIT, Reaching, reach};
pub use register::{Life, Registered, await_process, new_manual, process_of, registered, retire_lost};
pub use secret::{Resolved, resolve_secret};
pub use stop::{Stopped, asked_to_stop, reap_lost, stop};
pub use supervise::supervise;
pub use teller::{CommandEnd, detach, run_command, start_teller};
pub use transcript::TranscriptPlace;
pub use waiter::{become_tick, start_tick, start_waiter};
