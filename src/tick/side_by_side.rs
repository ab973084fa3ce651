//! Work on many repositories side by side, each piece within a time limit.
//!
//! There are as many pieces under way as there are cores; one that takes longer than a moment waits for a disk, a lock or
//! git rather than for a core, and another is started in its place. What is not done in time is left behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// A piece that takes longer than this leaves its core to another.
const MOMENT: Duration = Duration::from_millis(200);
/// The most pieces that are under way at once.
const MOST: usize = 64;

/// The cores of this machine.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What threads tell.
enum News<R> {
    Begun(usize),
    Done(usize, R),
}

/// A piece of work under way.
struct UnderWay {
    begun: Instant,
    is_slow: bool,
}

/// Does the work of each number below `count`, the lowest first, on that many cores. None for what is not done within
/// the limit; it goes on behind our back until the process ends.
pub fn side_by_side<R: Send + 'static>(
    count: usize,
    cores: usize,
    limit: Duration,
    work: impl Fn(usize) -> R + Send + Sync + 'static,
) -> Vec<Option<R>> {
    let todo = Arc::new(Todo { count, taken: AtomicUsize::new(0), work });
    let (sender, news) = mpsc::channel();
    let mut threads = 0;
    for _ in 0..cores.clamp(1, MOST).min(count) {
        threads += usize::from(start(&todo, &sender));
    }
    if threads == 0 {
        // A machine without room for a thread still has this one.
        return (0..count).map(|number| Some((todo.work)(number))).collect();
    }
    let mut came: Vec<Option<R>> = (0..count).map(|_| None).collect();
    let mut under_way: BTreeMap<usize, UnderWay> = BTreeMap::new();
    let mut open = count;
    while open > 0 {
        let turns = under_way.values().map(|one| one.begun + if one.is_slow { limit } else { limit.min(MOMENT) });
        let wait = turns.min().map_or(limit, |at| at.saturating_duration_since(Instant::now()));
        match news.recv_timeout(wait) {
            Ok(News::Begun(number)) => {
                under_way.insert(number, UnderWay { begun: Instant::now(), is_slow: false });
            }
            Ok(News::Done(number, result)) => {
                if under_way.remove(&number).is_some() {
                    came[number] = Some(result);
                    open -= 1;
                }
            }
            // Nothing is under way and nothing begins any more: the threads have died.
            Err(RecvTimeoutError::Timeout) if under_way.is_empty() => break,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let mut wanted = 0;
        under_way.retain(|_, one| {
            let took = one.begun.elapsed();
            if took >= MOMENT && !one.is_slow {
                one.is_slow = true;
                wanted += 1;
            }
            let is_late = took >= limit;
            if is_late {
                threads -= 1;
                open -= 1;
                wanted += 1;
            }
            !is_late
        });
        let waiting = count.saturating_sub(todo.taken.load(Ordering::Relaxed));
        for _ in 0..wanted.min(waiting).min(MOST.saturating_sub(threads)) {
            threads += usize::from(start(&todo, &sender));
        }
    }
    came
}

/// What the threads share.
struct Todo<W> {
    count: usize,
    taken: AtomicUsize,
    work: W,
}

/// Starts a thread that works until nothing is left to begin; false where the machine has no room for one.
fn start<R: Send + 'static, W: Fn(usize) -> R + Send + Sync + 'static>(
    todo: &Arc<Todo<W>>,
    sender: &Sender<News<R>>,
) -> bool {
    let (todo, sender) = (Arc::clone(todo), sender.clone());
    let work = move || {
        loop {
            let number = todo.taken.fetch_add(1, Ordering::Relaxed);
            if number >= todo.count || sender.send(News::Begun(number)).is_err() {
                return;
            }
            let result = (todo.work)(number);
            if sender.send(News::Done(number, result)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("tick".to_owned()).spawn(work).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_came_of_it_is_in_order_and_the_first_begin_first() {
        let begun = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&begun);
        let came = side_by_side(9, 1, LONG, move |number| {
            seen.lock().expect("begun").push(number);
            number * 10
        });
        assert_eq!(came, (0..9).map(|number| Some(number * 10)).collect::<Vec<_>>());
        assert_eq!(*begun.lock().expect("begun"), (0..9).collect::<Vec<_>>());
        assert!(side_by_side(0, 2, LONG, |number| number).is_empty());
    }

    #[test]
    fn more_that_wait_than_there_are_cores_keep_nobody_waiting() {
        // The first five wait until the last one has run.
        let last = Arc::new((Mutex::new(false), Condvar::new()));
        let came = side_by_side(6, 2, LONG, move |number| {
            let (ran, changed) = &*last;
            let mut ran = ran.lock().expect("ran");
            if number == 5 {
                *ran = true;
                changed.notify_all();
            }
            !changed.wait_timeout_while(ran, LONG, |ran| !*ran).expect("wait").1.timed_out()
        });
        assert_eq!(came, vec![Some(true); 6]);
    }

    #[test]
    fn what_never_ends_is_left_behind_and_all_else_is_done() {
        let came = side_by_side(200, 2, Duration::from_millis(600), |number| {
            if number < 100 {
                loop {
                    std::thread::park();
                }
            }
            number
        });
        let expected: Vec<Option<usize>> = (0..200).map(|number| (number >= 100).then_some(number)).collect();
        assert_eq!(came, expected);
    }
}
