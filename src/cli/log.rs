//! `log`: the ledger in words.

use crate::files::ledger;
use crate::tick::{clock, snapshot};

use super::args::LogArgs;
use super::{DONE, FAILED, Place, output};

pub fn log(at: &Place, args: &LogArgs) -> anyhow::Result<u8> {
    let site = at.site()?;
    let path = site.layout.ledger();
    if args.verify {
        let sealed = snapshot::sealed(&site.repo(None)?)?;
        return match ledger::verify(&path, sealed.as_ref()) {
            Ok(head) => {
                output::print(&format!("{}: {} lines, each follows from the one before\n", path.display(), head.seq))?;
                Ok(DONE)
            }
            Err(error) => {
                eprintln!("autometta: {error}; the copies on refs/autometta/state show what it was");
                Ok(FAILED)
            }
        };
    }
    // Printed as it is read: the ledger may be larger than memory.
    let mut failed = None;
    let zone = clock::now().timezone();
    ledger::walk(&path, |line| {
        let wanted = args.stage.as_ref().is_none_or(|stage| line.note.stage.as_ref() == Some(stage));
        if !wanted || failed.is_some() {
            return;
        }
        let text = if args.json {
            serde_json::to_string(&line).map(|json| json + "\n").map_err(anyhow::Error::from)
        } else {
            let at = line.at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S");
            Ok(format!("{at}  {}\n", output::words(&line.note)))
        };
        failed = text.and_then(|text| output::print(&text)).err();
    })
    .map_err(crate::files::store::StoreError::from)?;
    failed.map_or(Ok(DONE), Err)
}
