//! What may be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::core::ids::StageId;

use super::inbox::{AnswerArgs, RejectArgs};

/// Turns a queue of stage cards into verified commits, one cron tick at a time.
#[derive(Debug, Parser)]
#[command(
    name = "autometta",
    version = env!("AUTOMETTA_VERSION"),
    after_help = "Examples:\n  autometta demo                       see it work, in a scratch repository\n  autometta init                       make this repository ready\n  autometta add-stage stage-cards/01-greeting.md\n  autometta run                        work through the queue now\n  */5 * * * * autometta tick           or let cron do it, all night\n\nExit codes: 0 done or nothing to do; 1 failed; 2 wrong usage; 3 refused, and why; 4 halted."
)]
pub struct Cli {
    /// The repository, where it is not the one around the present directory.
    #[arg(long, global = true, value_name = "PATH")]
    pub repo: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a repository ready: manifest, state, ignore lines, subscription. Changes nothing that is there already.
    #[command(after_help = "Example:\n  cd my-repo && autometta init")]
    Init(InitArgs),
    /// Queue stage cards, all or none; every fault of every card is shown at once.
    #[command(name = "add-stage", after_help = "Example:\n  autometta add-stage stage-cards/*.md")]
    AddStage(AddStageArgs),
    /// Write, check and list stage cards.
    #[command(
        after_help = "Examples:\n  autometta card new 07-parser\n  autometta card lint\n  autometta card list --json"
    )]
    Card(CardArgs),
    /// Look once, move every stage at most one step, and exit. Without --repo: every enabled subscriber, by weight.
    #[command(
        after_help = "Examples:\n  autometta tick                        what cron runs\n  autometta tick --repo . --plan        what it would do, changing nothing"
    )]
    Tick(TickArgs),
    /// Have a repository served by every fire of this home's timer, or change how; `init` has done it.
    #[command(
        after_help = "Examples:\n  autometta subscribe\n  autometta subscribe ~/src/greeter --weight 10   before those of weight 100\n  autometta subscribe --disabled                 keep it in the list, and leave it out"
    )]
    Subscribe(super::subscribers::SubscribeArgs),
    /// Leave a repository out of the fires of this home's timer. Nothing in the repository is touched.
    #[command(
        after_help = "Runs in flight go on, and are named. A path that is gone can be unsubscribed as well.\n\nExamples:\n  autometta unsubscribe\n  autometta unsubscribe greeter-1f2e3d4c"
    )]
    Unsubscribe(super::subscribers::UnsubscribeArgs),
    /// List who is subscribed, in the order in which a fire begins with them, and how each stands.
    #[command(
        after_help = "Examples:\n  autometta subscribers\n  autometta subscribers --json | jq '.[] | select(.state != \"ready\")'"
    )]
    Subscribers(ReadArgs),
    /// Tick in the foreground until nothing is left to do. Ctrl-C stops watching; agents go on.
    #[command(after_help = "Example:\n  autometta run")]
    Run(RunArgs),
    /// Show the queue, what runs, what waits and why, and the budget.
    #[command(
        after_help = "Examples:\n  autometta status                      this repository, one screen\n  autometta status --watch              the same, as things happen; q ends it\n  autometta status --all                every subscribed repository, a line each\n  autometta status --json | jq .waits   what comes next for each stage"
    )]
    Status(super::status::StatusArgs),
    /// Show the whole story of one stage, or with --at the queue or a stage as it was.
    #[command(
        after_help = "Examples:\n  autometta show 01-greeting\n  autometta show --at 412                the queue after line 412 of the ledger\n  autometta show 01-greeting --at 412\n  autometta show 01-greeting --json | jq .records"
    )]
    Show(super::show::ShowArgs),
    /// Show the ledger in words, or with --run what an agent prints; --verify checks the ledger's chain of hashes,
    /// --replay makes its decisions again.
    #[command(
        after_help = "Examples:\n  autometta log -n 20 --follow            the newest lines, and what is added\n  autometta log --stage 01-greeting --since 12h\n  autometta log --run 01-greeting -f      what its newest run prints, made readable\n  autometta log --run 01-greeting.1.worker --raw\n  autometta log --verify\n  autometta log --replay --from 400       every decision since line 400, made again"
    )]
    Log(super::log::LogArgs),
    /// Write one self-contained HTML page about the night: what landed, what needs you, what it cost, what ran when.
    #[command(
        after_help = "Examples:\n  autometta report                      writes state/report.html and prints its path\n  autometta report --since 22:00 --output night.html\n  autometta report --json | jq .outcome"
    )]
    Report(super::report::ReportArgs),
    /// Show the queue in the order in which it goes, with what each stage waits for and until when; move, hold, release.
    #[command(
        after_help = "Examples:\n  autometta queue\n  autometta queue --json | jq '.stages[] | {stage, hold, next_at}'\n  autometta queue move 07-parser --first\n  autometta queue hold 07-parser --reason 'waits for the new grammar'\n  autometta queue release 07-parser"
    )]
    Queue(super::queue::QueueArgs),
    /// Draw which stage comes after which.
    #[command(
        after_help = "Examples:\n  autometta graph                       what is left, and all that it depends on\n  autometta graph --dot | dot -Tsvg > graph.svg"
    )]
    Graph(super::graph::GraphArgs),
    /// Put ended stages back into the queue, from their cards as they are now.
    #[command(after_help = "Example:\n  autometta requeue 01-greeting")]
    Requeue(StagesArgs),
    /// Close stages without landing them; runs in flight are stopped.
    #[command(after_help = "Example:\n  autometta skip 01-greeting")]
    Skip(StagesArgs),
    /// Stop the runs of stages in progress; their work is kept.
    #[command(after_help = "Example:\n  autometta cancel 01-greeting")]
    Cancel(StagesArgs),
    /// Show everything that waits for you, with the command for each.
    #[command(after_help = "Examples:\n  autometta inbox\n  autometta inbox --json | jq '.items[].way_out'")]
    Inbox(ReadArgs),
    /// Answer the question of a blocked stage, which then goes on. Without --text or --file your editor is opened.
    #[command(
        after_help = "Examples:\n  autometta answer 04-question --text 'Use the second one.'\n  autometta answer 04-question --file answer.md\n  autometta answer 04-question"
    )]
    Answer(AnswerArgs),
    /// Let a change land that is parked: verified and waiting for you, or in the way of a base that moved.
    #[command(
        after_help = "Where the base changed the same files, git merges the texts, the gates judge the merged tree, and\nwhat git cannot merge is parked again.\n\nExample:\n  autometta approve 05-release"
    )]
    Approve(StagesArgs),
    /// Do not let a parked change land; its work is kept.
    #[command(
        after_help = "Examples:\n  autometta reject 05-release --text 'not in this release'\n  autometta reject 05-release --text 'the names are wrong' --rework"
    )]
    Reject(RejectArgs),
    /// Dispatch nothing more until `resume`; what runs goes on to its end.
    #[command(after_help = "Example:\n  autometta halt --reason 'releasing'")]
    Halt(HaltArgs),
    /// Lift halts and pauses. A cap on spend that is still reached is not lifted.
    #[command(after_help = "Example:\n  autometta resume")]
    Resume(JsonArgs),
    /// Show every cap, what is spent and set aside, and what the next dispatch would take; change caps; drain.
    #[command(
        after_help = "Examples:\n  autometta budget                                    every cap with its figures\n  autometta budget --json | jq .next\n  autometta budget set --tokens 30M --window utc-day\n  autometta budget drain --until 06:00 --tokens 5M   at most so much more, until then"
    )]
    Budget(super::budget::BudgetArgs),
    /// Play the queue through hundreds of nights, drawn from the runs before: what lands when, what it costs, what stops
    /// it, and what to do before.
    #[command(
        after_help = "The first line says whether the night can be left alone. Every decision is the machine's own; only\nhow runs come out is drawn, from what runs of the same model came to before. Reads only, asks no\nprovider, and exits 0 whatever it finds.\n\nExamples:\n  autometta simulate --until 08:00\n  autometta simulate --until 08:00 --json | jq '.landed, .advice'\n  autometta simulate --nights 2000 --seed 7      other nights, and the same again"
    )]
    Simulate(super::simulate::SimulateArgs),
    /// Watch the night in tmux: the status, the log, and a window for each run. Looking changes nothing.
    #[command(
        after_help = "Examples:\n  autometta attach                     open the session, or join it\n  autometta attach 01-greeting         with this stage's run in front\n  autometta attach --dry-run           the exact commands for tmux\n\nThe session has a window for the status, one for the log, and one for each run in flight; while you look, runs that\nbegin get one too. Leave it with your tmux's detach key (C-b d by default). Without tmux, everything is followed in\nthis terminal, each line under its run's name, until Ctrl-C."
    )]
    Attach(super::attach::AttachArgs),
    /// Show who pays for each family's runs and where its keys come from, and prove that one could start.
    #[command(
        after_help = "No value is ever shown, and nothing is spent. `check` exits 0 where a run could start, 1 where it could not,\n3 where there is no such family.\n\nExamples:\n  autometta auth status            each family: who pays, where every variable comes from\n  autometta auth check codex       resolve its secrets and look at its login\n  autometta auth status --json | jq '.families[].variables'"
    )]
    Auth(super::auth::AuthArgs),
    /// Look whether everything is fit for a night, and say what mends what is not; --restore brings a damaged state back.
    #[command(
        after_help = "Exits 0 without faults, 1 with. Changes nothing without --restore.\n\nExamples:\n  autometta doctor                 this machine, home, the timer and this repository\n  autometta doctor --all           every subscribed repository\n  autometta doctor --restore       bring state.yaml and budget.json back from refs/autometta/state"
    )]
    Doctor(super::doctor::DoctorArgs),
    /// Put an agent that you start by hand into the registry of live runs; it is none of the machine's runs.
    #[command(
        after_help = "Examples:\n  autometta register --stage 07-parser -- claude -p 'Look at the parser'\n  autometta register --stage 07-parser --role verifier --pid 4711\n  autometta watch 07-parser.manual.worker"
    )]
    Register(super::register::RegisterArgs),
    /// Wait until a run ends (exit 0) or stands still (exit 2); exit 1 where there is no such run.
    #[command(
        after_help = "Examples:\n  autometta watch 01-greeting.1.worker && echo done\n  autometta watch 01-greeting.1.worker --stall 20m --json"
    )]
    Watch(super::watch::WatchArgs),
    /// What `doctor` asks in the scheduler's environment.
    #[command(name = "__probe", hide = true)]
    Probe(super::doctor::ProbeArgs),
    /// What waits for a process of somebody else.
    #[command(name = "__await", hide = true)]
    Await(super::register::AwaitArgs),
    /// Install the timer that fires `tick`, remove it, or look at it.
    #[command(after_help = "Examples:\n  autometta timer install\n  autometta timer status")]
    Timer(super::timer::TimerArgs),
    /// Judge past candidates again, or hold verifiers against planted candidates whose defects are known.
    #[command(
        after_help = "Without --planted: the verifiers of this repository judge its past candidates again, landed or not;\nstages stay as they are, the records go to state/grades/. With it: a bake-off of seats. Where a seat\ncalls a model it is said first what that may cost. Exits 0 whatever the seats say.\n\nExamples:\n  autometta grade --planted examples/planted\n  autometta grade --planted examples/planted --seat 'GPT-5.6 Sol <gpt-5-6-sol@local>' --max-cost 5\n  autometta grade --newest 10 --yes --json"
    )]
    Grade(super::grade::GradeArgs),
    /// Take away what of the past need not stay, by `keep:` in the manifest. Ticks do the same in passing.
    #[command(
        after_help = "What is in flight, not over, not merged or not reported yet stays, whatever the manifest says; branches\nalways stay. Exits 0 once it is done, 1 where something could not be taken away.\n\nExamples:\n  autometta clean --plan                 what would go, and why\n  autometta clean\n  autometta clean --json | jq .freed_bytes"
    )]
    Clean(super::clean::CleanArgs),
    /// See it work: a scratch repository, four cards, the built-in families, no model and no network.
    #[command(after_help = "Example:\n  autometta demo --keep")]
    Demo(DemoArgs),
    /// Print what a shell needs to complete the words of this program.
    #[command(
        after_help = "Examples:\n  autometta completions bash > ~/.local/share/bash-completion/completions/autometta\n  autometta completions zsh > ~/.zfunc/_autometta\n  autometta completions fish > ~/.config/fish/completions/autometta.fish"
    )]
    Completions(super::completions::CompletionsArgs),
    /// Print the manual page, or write one for every command into a folder.
    #[command(after_help = "Examples:\n  autometta man | man -l -\n  autometta man --out ~/.local/share/man/man1")]
    Man(super::man::ManArgs),
}

/// `init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Take over a state that was made in another place or on another machine.
    #[arg(long)]
    pub adopt: bool,
    /// Install the timer as well, as `autometta timer install` does.
    #[arg(long)]
    pub timer: bool,
}

/// `add-stage`
#[derive(Debug, Args)]
pub struct AddStageArgs {
    /// The cards.
    #[arg(required = true, value_name = "CARD")]
    pub cards: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `card`
#[derive(Debug, Args)]
pub struct CardArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CardCommand,
}

/// What may be done with cards.
#[derive(Debug, Subcommand)]
pub enum CardCommand {
    /// Write a card with everything to fill in.
    New {
        /// The stage's id, such as 07-parser.
        stage: StageId,
        /// Its title.
        #[arg(long, default_value = "<<what it does, in a few words>>")]
        title: String,
    },
    /// Say everything that is wrong or odd with cards; without names, with all of them.
    Lint {
        /// The cards.
        #[arg(value_name = "CARD")]
        cards: Vec<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the cards that the manifest's globs find, with what the queue says of them.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// `tick`
#[derive(Debug, Args)]
pub struct TickArgs {
    /// Show the exact step and the exact commands, and change nothing. No provider is asked.
    #[arg(long)]
    pub plan: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `run`
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Print nothing but the table at the end.
    #[arg(long)]
    pub quiet: bool,
}

/// Commands that only read.
#[derive(Debug, Args)]
pub struct ReadArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Commands that may print JSON.
#[derive(Debug, Args)]
pub struct JsonArgs {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Commands on stages.
#[derive(Debug, Args)]
pub struct StagesArgs {
    /// The stages.
    #[arg(required = true)]
    pub stages: Vec<StageId>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `halt`
#[derive(Debug, Args)]
pub struct HaltArgs {
    /// Why, for whoever looks.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Keep the scratch repository and say where it is.
    #[arg(long)]
    pub keep: bool,
}
