//! The tables: what is done for each of them, and their rows.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::bare::Bare;
use super::counted::{Gits, trace};
use super::descendants::{adopt, are_gone, settle};
use super::support::{
    LIMIT, NAME, Place, argument, children_peak, figures, fsyncs, head, line, once, part_of, processor_time, quiet,
    timed,
};

/// How often the floor is measured.
const TIMES: usize = 60;
/// How many stages go side by side.
const SIDE_BY_SIDE: usize = 8;
/// How often that is done.
const ROUNDS: usize = 8;
/// How many landings are counted rather than timed, of each tenth and alone.
const COUNTED: usize = 5;

/// Prints all that was asked for.
pub fn print() {
    let (times, drained, stages) = (argument("--times", 30_usize), argument("--drain", 200), argument("--stages", 300));
    adopt();
    println!("{}", head(NAME));
    floor();
    if times > 0 {
        alone(times);
        side_by_side();
    }
    for parallel in [1, SIDE_BY_SIDE] {
        if drained > 1 {
            drain(drained, parallel);
        }
    }
    if stages > 0 {
        from_first_to_last(stages);
    }
}

fn floor() {
    let bare = Bare::new();
    line("start /bin/true", timed(TIMES, || quiet("/bin/true", &[], Path::new("/"))));
    line("start git (--version)", timed(TIMES, || quiet("git", &["--version"], Path::new("/"))));
    line("write and fsync a file and its folder", fsyncs(TIMES, bare.root()));
    let landings: Vec<_> = (1..=TIMES).map(|number| bare.land(number)).collect();
    let commands = landings.first().map_or(0, |(_, commands)| *commands);
    line(&format!("a landing's bare git, {commands} commands"), landings.iter().map(|(took, _)| *took).collect());
}

/// A repository in which so many stages may go side by side, in the middle of a night: a stage that waits for a
/// far day keeps the night from ending, and its report from being written, after every landing.
fn place(parallel: usize) -> Place {
    let caps = "caps: {tokens: 900000000, ticks: 1000000, wall_clock: 900 hours}";
    let place = Place::with(&format!("{caps}\nmax_parallel: {parallel}\n"));
    let card = place.card(0);
    let text = fs::read_to_string(place.repo().join(&card)).expect("card");
    let text =
        text.replace("0000-work", "99-far").replace("\n## Obj", "- **Not before:** 2099-01-01T00:00:00Z\n\n## Obj");
    fs::remove_file(place.repo().join(card)).expect("file");
    place.queue(&[place.write_card("99-far", &text.replace("f0", "far"))]);
    place
}

/// How many runs of a role there were.
fn runs(place: &Place, role: &str) -> usize {
    let runs = fs::read_dir(place.repo().join("state/runs")).expect("runs").flatten();
    runs.filter(|run| run.file_name().to_string_lossy().contains(role)).count()
}

/// What one landing took.
struct Took {
    /// Until the card stood in the queue.
    queued: Duration,
    /// From the tick that began it until its file was in the operator's checkout.
    landed: Duration,
    /// The processor's time until nothing of it was at work any more.
    processor: Duration,
}

/// Queues a stage and lands it.
fn land(place: &Place, number: usize, tick: &mut Command) -> Took {
    let queued = place.queue(&[place.card(number)]);
    let (used, begun) = (processor_time(), Instant::now());
    assert!(tick.status().expect("it runs").success());
    let landed = place.wait(vec![number], begun);
    settle();
    Took { queued, landed, processor: processor_time().saturating_sub(used) }
}

fn alone(times: usize) {
    let place = place(1);
    let took: Vec<Took> = (1..=times).map(|number| land(&place, number, &mut place.tick())).collect();
    line("queue a card", took.iter().map(|took| took.queued).collect());
    line("card queued → landed, alone", took.iter().map(|took| took.landed).collect());
    line("  processor time of it", took.iter().map(|took| took.processor).collect());
    println!("{:<NAME$} {:>9.1} MiB", "  peak memory of any process", children_peak());
    let gits = Gits::new(place.root());
    let (mut counts, mut names) = (Vec::new(), BTreeMap::new());
    for number in times + 1..=times + COUNTED {
        land(&place, number, gits.watch(&mut place.tick()));
        let calls = gits.take();
        counts.push(calls.values().sum::<usize>());
        for (name, count) in calls {
            *names.entry(name).or_insert(0) += count;
        }
    }
    count_line("  git processes", counts);
    println!("    {}", told(&names, COUNTED));
    syncs(&place, times + COUNTED + 1);
}

fn syncs(place: &Place, number: usize) {
    place.queue(&[place.card(number)]);
    let begun = Instant::now();
    let Some(trace) = trace(&place.tick(), &place.root().join("recording")) else {
        return println!("  files synced: not counted, strace is not installed");
    };
    place.wait(vec![number], begun);
    settle();
    let traced = trace.read();
    println!("{:<NAME$} {:>9}", "  files and folders synced", traced.syncs);
    println!("{:<NAME$} {:>9}", "  programs started, git's own among them", traced.programs);
}

fn count_line(name: &str, mut counts: Vec<usize>) {
    counts.sort_unstable();
    let at = |part| part_of(&counts, part);
    println!("{name:<NAME$} {:>9} {:>9} {:>9}", at(50), at(10), at(90));
}

/// How often each was called for one of so many stages, the most frequent first.
#[expect(clippy::cast_precision_loss, reason = "some hundred")]
fn told(calls: &BTreeMap<String, usize>, stages: usize) -> String {
    let mut calls: Vec<_> = calls.iter().collect();
    calls.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let each = calls.iter().map(|(name, count)| format!("{name} {:.1}", **count as f64 / stages as f64));
    each.collect::<Vec<_>>().join(", ")
}

#[expect(clippy::cast_precision_loss, reason = "some hundred")]
fn side_by_side() {
    let place = place(SIDE_BY_SIDE);
    let batch = |round: usize| (1..=SIDE_BY_SIDE).map(move |at| round * SIDE_BY_SIDE + at);
    let run = |round: usize, tick: &mut Command| {
        place.queue(&batch(round).map(|number| place.card(number)).collect::<Vec<_>>());
        let (used, begun) = (processor_time(), Instant::now());
        assert!(tick.status().expect("it runs").success());
        let landed = place.wait(batch(round).collect(), begun);
        settle();
        (landed, processor_time().saturating_sub(used))
    };
    let each = |took: Duration| took / u32::try_from(SIDE_BY_SIDE).unwrap_or(1);
    let took: Vec<_> = (0..ROUNDS).map(|round| run(round, &mut place.tick())).collect();
    line("8 queued at once → all landed", took.iter().map(|(landed, _)| *landed).collect());
    line("  for each of them", took.iter().map(|(landed, _)| each(*landed)).collect());
    line("  processor time of each", took.iter().map(|(_, processor)| each(*processor)).collect());
    let stages = (ROUNDS * SIDE_BY_SIDE) as f64;
    for role in ["worker", "gate", "verifier"] {
        println!("{:<NAME$} {:>9.2}", format!("  runs of each, {role}"), runs(&place, role) as f64 / stages);
    }
    let gits = Gits::new(place.root());
    run(ROUNDS, gits.watch(&mut place.tick()));
    let calls = gits.take();
    let count = calls.values().sum::<usize>() as f64 / SIDE_BY_SIDE as f64;
    println!("{:<NAME$} {count:>9.1}", "  git processes of each");
    println!("    {}", told(&calls, SIDE_BY_SIDE));
}

/// Queues many cards at once and lets the ends of runs carry on. Where nothing is at work and something is left, it
/// ticks, as a timer would within its minute.
fn drain(stages: usize, parallel: usize) {
    let place = place(parallel);
    println!("\n{}", head(NAME));
    let cards: Vec<String> = (1..=stages).map(|number| place.card(number)).collect();
    line(&format!("queue {stages} cards"), vec![place.queue(&cards)]);
    let used = processor_time();
    let begun = Instant::now();
    let (mut landings, mut ledger, mut fires) = (Vec::new(), Landings::of(&place), 0);
    while landings.len() < stages {
        if are_gone() {
            landings.resize(landings.len() + ledger.more(), begun.elapsed());
            if landings.len() < stages {
                once(place.tick());
                fires += 1;
            }
        }
        landings.resize(landings.len() + ledger.more(), begun.elapsed());
        let last = landings.last().copied().unwrap_or_default();
        assert!(begun.elapsed().saturating_sub(last) < LIMIT, "no landing any more: {}", place.last_words());
        sleep(Duration::from_millis(1));
    }
    settle();
    let processor = (processor_time().saturating_sub(used)) / u32::try_from(stages).unwrap_or(1);
    let apart = landings.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    println!("{stages} queued, {parallel} at once");
    if parallel == 1 {
        line("  from one to the next", apart);
    }
    line("  processor time of each", vec![processor]);
    #[expect(clippy::cast_precision_loss, reason = "some thousand")]
    let rate = stages as f64 / landings.last().map_or(f64::NAN, Duration::as_secs_f64) * 60.0;
    println!("{:<NAME$} {rate:>9.1}   ({fires} fires)", "  stages landed in a minute");
    line("  the report of that night", timed(COUNTED, || place.command(&["report"])));
}

/// The landings that a ledger tells of.
struct Landings {
    ledger: fs::File,
    /// A line that was only begun when it was read.
    begun: Vec<u8>,
}

impl Landings {
    fn of(place: &Place) -> Self {
        let mut ledger = fs::File::open(place.repo().join("state/ledger.jsonl")).expect("ledger");
        ledger.seek(SeekFrom::End(0)).expect("its end");
        Self { ledger, begun: Vec::new() }
    }

    /// How many there are that were not there before.
    fn more(&mut self) -> usize {
        self.ledger.read_to_end(&mut self.begun).expect("lines");
        let whole = self.begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = self.begun.split_off(whole);
        let lines = std::mem::replace(&mut self.begun, rest);
        String::from_utf8_lossy(&lines).matches("\"event\":\"landed\"").count()
    }
}

/// Lands stages one after the other, and tells by tenths what each took.
fn from_first_to_last(stages: usize) {
    let stages = stages.max(20);
    let place = place(1);
    let gits = Gits::new(place.root());
    println!(
        "\n{:<12} {:>29} {:>9} {:>9} {:>9} {:>6} {:>6}",
        "", "queued → landed", "cpu", "queue", "idle", "git", "packs"
    );
    println!(
        "{:<12} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6}",
        "stages", "median ms", "p10", "p90", "median", "median", "median", "each", "there"
    );
    for tenth in 0..10 {
        let (from, to) = (stages * tenth / 10 + 1, stages * (tenth + 1) / 10);
        let counted = COUNTED.min((to + 1 - from) / 2);
        let took: Vec<Took> = (from..=to - counted).map(|number| land(&place, number, &mut place.tick())).collect();
        let mut calls = 0;
        for number in to - counted + 1..=to {
            land(&place, number, gits.watch(&mut place.tick()));
            calls += gits.take().values().sum::<usize>();
        }
        let landed = took.iter().map(|took| took.landed).collect();
        let processor = took.iter().map(|took| took.processor).collect();
        let queued = took.iter().map(|took| took.queued).collect();
        #[expect(clippy::cast_precision_loss, reason = "some hundred")]
        let calls = calls as f64 / counted.max(1) as f64;
        let [median, low, high] = figures(landed);
        let ([processor, ..], [queued, ..]) = (figures(processor), figures(queued));
        let [idle, ..] = figures(timed(TIMES, || place.tick()));
        println!(
            "{:<12} {median:>9.1} {low:>9.1} {high:>9.1} {processor:>9.1} {queued:>9.1} {idle:>9.2} {calls:>6.1} {:>6}",
            format!("{from}–{to}"),
            packs(&place)
        );
    }
    for (name, folder) in [("state/", "state"), (".git/", ".git")] {
        let (bytes, files) = room(&place.repo().join(folder));
        let each = |number: u64| number / stages as u64;
        println!("on disk for each of them below {name:<7} {:>6} KiB in {} files", each(bytes) / 1024, each(files));
    }
}

fn packs(place: &Place) -> usize {
    let packs = fs::read_dir(place.repo().join(".git/objects/pack")).into_iter().flatten().flatten();
    packs.filter(|file| file.path().extension().is_some_and(|ending| ending == "pack")).count()
}

/// The bytes on disk and the number of all files and folders below one.
fn room(folder: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in fs::read_dir(folder).expect("folder").flatten() {
        let found = entry.metadata().expect("file");
        let below = if found.is_dir() { room(&entry.path()) } else { (0, 0) };
        sum = (sum.0 + found.blocks() * 512 + below.0, sum.1 + 1 + below.1);
    }
    sum
}
