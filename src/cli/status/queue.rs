//! The queue as a document: what is under way, what waits in the order in which it would start, why, and until when.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::next::{self, Group};
use super::view::{self, Scene};
use crate::cli::terminal::look::Tone;
use crate::cli::terminal::table::{Cell, Column, Grid, Side};
use crate::cli::terminal::text::clean;
use crate::core::ids::StageId;
use crate::core::quantity::Seconds;
use crate::core::state::{Life, Stage};
use crate::core::wait::{Held, MOST_PASSES};

/// What `queue --json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueueDoc {
    /// The repository.
    pub repo: PathBuf,
    /// When it was looked at.
    pub at: DateTime<Utc>,
    /// What is under way, then what waits, in the order in which it would start.
    pub stages: Vec<QueueEntry>,
    /// Stages that have landed and are queued again.
    pub repeats: Vec<Repeating>,
}

/// One stage in the queue.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueueEntry {
    /// Its place in the line, counted from 1; none while it is under way.
    pub place: Option<usize>,
    /// Its id.
    pub stage: StageId,
    /// What it does.
    pub title: String,
    /// Its phase while in progress, else its status.
    pub word: String,
    /// Lower goes first.
    pub priority: i64,
    /// What keeps it from starting: a code for machines; none where it starts at the next tick, or is under way.
    pub hold: Option<String>,
    /// What comes next, or what it waits for, in words.
    pub next: String,
    /// When that is, or when the wait ends by itself, where that is known.
    pub next_at: Option<DateTime<Utc>>,
    /// Set while an operator holds it.
    pub held: Option<Held>,
    /// How many that were queued later have started before it; it goes first once there were 8.
    pub passed_over: u32,
    /// The stages that it depends on.
    pub depends_on: Vec<StageId>,
    /// The paths that it claims.
    pub path_claims: Vec<String>,
}

/// A stage that is queued again.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Repeating {
    /// Its id.
    pub stage: StageId,
    /// How long after its last begin it begins again at the soonest.
    pub every_seconds: Seconds,
    /// When it is queued again; none where it is not.
    pub at: Option<DateTime<Utc>>,
    /// Why it is not.
    pub stopped: Option<String>,
}

/// Builds the document.
pub fn of(scene: &Scene<'_>) -> QueueDoc {
    let find = |id: &StageId| scene.loaded.state.stage(id);
    let turns = next::Turns::new(scene);
    let mut place = 0;
    let (mut flying, mut waiting) = (Vec::new(), Vec::new());
    for view in view::stages(scene) {
        let Some(stage) = find(&view.stage) else { continue };
        let is_pending = matches!(stage.life, Life::Pending(_));
        if !is_pending && !stage.life.is_in_progress() {
            continue;
        }
        let entry = QueueEntry {
            place: None,
            stage: view.stage,
            title: stage.title.clone(),
            word: view.word.to_owned(),
            priority: stage.priority,
            hold: if is_pending { next::hold_code(scene, &turns, stage).map(str::to_owned) } else { None },
            next: view.next,
            next_at: view.next_at,
            held: stage.wait.held.clone(),
            passed_over: stage.wait.passed_over,
            depends_on: stage.depends_on.clone(),
            path_claims: stage.path_claims.clone(),
        };
        if is_pending { waiting.push((entry, view.group)) } else { flying.push(entry) }
    }
    // One that needs a person stands in the line like any other.
    let order: Vec<&StageId> = crate::core::step::order(&scene.loaded.state.stages)
        .into_iter()
        .map(|index| &scene.loaded.state.stages[index].id)
        .collect();
    waiting.sort_by_key(|(entry, _)| order.iter().position(|id| **id == entry.stage));
    let waiting = waiting.into_iter().map(|(entry, group)| {
        place += 1;
        let hold = entry.hold.or_else(|| (group == Group::NeedsYou).then(|| "needs-you".to_owned()));
        QueueEntry { place: Some(place), hold, ..entry }
    });
    let repeating = |stage: &Stage| {
        let repeat = stage.wait.repeat.as_ref().filter(|_| matches!(stage.life, Life::Over(_)))?;
        let (at, stopped) = (stage.repeats_at(), repeat.stopped.clone());
        (at.is_some() || stopped.is_some()).then(|| Repeating {
            stage: stage.id.clone(),
            every_seconds: repeat.every,
            at,
            stopped,
        })
    };
    QueueDoc {
        repo: scene.root.to_owned(),
        at: scene.now,
        stages: flying.into_iter().chain(waiting).collect(),
        repeats: scene.loaded.state.stages.iter().filter_map(repeating).collect(),
    }
}

/// The document as a table.
pub fn render(doc: &QueueDoc, scene: &Scene<'_>) -> String {
    let look = scene.look;
    let mut text = String::new();
    if doc.stages.is_empty() {
        text.push_str("nothing is queued; `autometta add-stage` queues a card\n");
    } else {
        let columns = [
            Column { title: "#", side: Side::Right, dispensable: 0 },
            Column { title: "STAGE", side: Side::Left, dispensable: 0 },
            Column { title: "STATUS", side: Side::Left, dispensable: 1 },
            Column { title: "PRIORITY", side: Side::Right, dispensable: 2 },
        ];
        let mut grid = Grid::new(&columns, "NEXT");
        for entry in &doc.stages {
            let passed = match entry.passed_over {
                0 => String::new(),
                MOST_PASSES.. => ", and goes first: it was passed over often enough".to_owned(),
                1 => ", passed over once".to_owned(),
                times => format!(", passed over {times} times"),
            };
            let cells = vec![
                Cell::plain(entry.place.map_or_else(|| "-".to_owned(), |place| place.to_string())),
                Cell::toned(Tone::Strong, entry.stage.to_string()),
                Cell::plain(entry.word.clone()),
                Cell::plain(entry.priority.to_string()),
            ];
            grid.row(cells, Cell::plain(format!("{}{passed}", entry.next)));
        }
        text.push_str(&grid.render(look));
    }
    for repeat in &doc.repeats {
        let line = match (&repeat.stopped, repeat.at) {
            (Some(why), _) => format!("{} is not queued again: {}", repeat.stage, clean(why)),
            (None, Some(at)) => {
                let at = look.until(at, scene.now);
                format!("{} is queued again at {at}, every {}", repeat.stage, repeat.every_seconds)
            }
            (None, None) => continue,
        };
        text.push_str(&look.cut(&line, look.width));
        text.push('\n');
    }
    text
}
