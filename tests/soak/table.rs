//! What a soak has measured, as a table, and whether memory stayed flat.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::audit::Audit;
use super::forces::Soak;
use super::processes::Kind;

/// How much more memory the last tenth of a soak may take than its first.
const GROWTH: f64 = 1.2;
/// How many processes must have been seen in a tenth for its peak to say anything.
const ENOUGH: usize = 30;

/// A figure in the first and in the last tenth of a soak, with how many there were in the scarcer one.
struct Ends {
    first: f64,
    last: f64,
    seen: usize,
}

impl Ends {
    fn of(whole: Duration, seen: &[(Duration, f64)], figure: impl Fn(&mut [f64]) -> f64) -> Self {
        let (tenth, end) = (whole / 10, whole.saturating_sub(whole / 10));
        let within = |from: Duration, to: Duration| -> Vec<f64> {
            seen.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, value)| *value).collect()
        };
        let (mut first, mut last) = (within(Duration::ZERO, tenth), within(end, Duration::MAX));
        let seen = first.len().min(last.len());
        Self { first: figure(&mut first), last: figure(&mut last), seen }
    }
}

fn most(values: &mut [f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The table; what memory says against the model is added to the findings.
pub fn table(soak: &Soak<'_>, audit: &mut Audit<'_>, whole: Duration) -> String {
    let stages: usize = soak.world.repos.iter().map(|repo| repo.plans.len()).sum();
    let mut out = format!("{stages} stages over {} repositories, seed {}\n", soak.world.repos.len(), soak.seed);
    let mut row = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:<44} {value}");
    };
    for (end, count) in &audit.ends {
        row(end, count.to_string());
    }
    soak.with_figures(|figures| {
        let killed = |kind| figures.killed.get(&kind).copied().unwrap_or_default().to_string();
        row("fires of timers", figures.fires.to_string());
        row("ticks killed", killed(Kind::Tick));
        row("supervisors killed", killed(Kind::Supervisor));
        row("gates killed", killed(Kind::Gate));
        row("wakers killed", killed(Kind::Waker));
        row("fires that complained", figures.complaints.len().to_string());
        let commits: usize = soak.commits.iter().map(|count| count.load(Ordering::SeqCst)).sum();
        row("commits of the operator", commits.to_string());
        row("pauses lifted", soak.resumed.load(Ordering::SeqCst).to_string());
        row("questions answered", soak.answered.load(Ordering::SeqCst).to_string());
        let minutes = whole.as_secs_f64() / 60.0;
        row("minutes", format!("{minutes:.1}"));
        row("stages a minute", format!("{:.1}", stages as f64 / minutes));
        for (kind, name) in [(Kind::Tick, "ticks"), (Kind::Supervisor, "supervisors")] {
            let peaks = figures.peaks_of(kind);
            let peaks: Vec<(Duration, f64)> = peaks.iter().map(|(at, kib)| (*at, *kib as f64 / 1024.0)).collect();
            let Ends { first, last, seen } = Ends::of(whole, &peaks, most);
            row(&format!("peak memory of {name}, first and last tenth"), format!("{first:.1} and {last:.1} MiB"));
            if seen >= ENOUGH && last > first * GROWTH {
                audit.findings.push(format!("the memory of {name} grew from {first:.1} to {last:.1} MiB"));
            }
        }
        let times: Vec<(Duration, f64)> =
            figures.times.iter().map(|(at, took)| (*at, took.as_secs_f64() * 1000.0)).collect();
        let Ends { first, last, .. } = Ends::of(whole, &times, median);
        row("a fire over all, median, first and last tenth", format!("{first:.0} and {last:.0} ms"));
    });
    row("processes left", audit.processes_left.to_string());
    row("files left", audit.files_left.to_string());
    out
}
