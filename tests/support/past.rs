//! A long past, made by hand in seconds: everything that stages leave in a state directory that landed long ago.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Makes what is there of so many landed stages; `archived` is how the archive has the stage `id`, which they are like.
pub fn leave(state: &Path, id: &str, archived: &str, numbers: Range<usize>) {
    let put = |name: String, text: &str| {
        let path = state.join(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("folder");
        fs::write(path, text).expect("file");
    };
    let stages = numbers.len();
    for number in numbers {
        let old = format!("{number:06}-old");
        put(format!("archive/{old}.yaml"), &archived.replace(id, &old));
        for role in ["worker", "gate", "verifier"].iter().take(if number % 3 == 0 { 3 } else { 1 }) {
            put(format!("runs/{old}.1.{role}/run.json"), "{}");
            put(format!("runs/{old}.1.{role}/exit.json"), "{}");
            let link = state.join(format!("logs/{old}-{role}.log"));
            symlink(format!("../runs/{old}.1.{role}/stdout.log"), link).expect("link");
        }
        for folder in ["handoffs", "verifiers", "questions"] {
            put(format!("{folder}/{old}.json"), "{}");
        }
        put(format!("answers/{old}.md"), "yes");
        put(format!("cards/{number:064x}.md"), "card");
        put(format!("journal/parts/{number:064x}"), "part");
    }
    // The chain of a line is that of the lines before it, which no tick reads.
    let ledger = state.join("ledger.jsonl");
    let lines = fs::read_to_string(&ledger).expect("ledger");
    let before = lines.lines().next().expect("line").to_owned() + "\n";
    fs::write(&ledger, before.repeat(stages * 10_000 / before.len()) + &lines).expect("ledger");
}
