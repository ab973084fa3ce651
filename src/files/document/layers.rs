//! One document out of two files: a committed one, and one over it that belongs to this machine.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use super::tree::Tree;
use super::{text, value_from_yaml, yaml};
use crate::core::fault::{Fault, Faults};

/// One of the files.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// Its path, for errors.
    pub path: &'a Path,
    /// Its content.
    pub bytes: &'a [u8],
}

/// What is wrong with the files, each fault with the file that it stands in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Error)]
#[error("{}", self.sentence())]
pub struct LayerFaults(pub Vec<(PathBuf, Faults)>);

impl LayerFaults {
    fn sentence(&self) -> String {
        let parts: Vec<String> = self.0.iter().map(|(path, faults)| format!("{}: {faults}", path.display())).collect();
        parts.join("; ")
    }

    fn add(&mut self, path: &Path, fault: Fault) {
        match self.0.iter_mut().find(|(known, _)| known == path) {
            Some((_, faults)) => faults.0.push(fault),
            None => self.0.push((path.to_owned(), Faults(vec![fault]))),
        }
    }
}

/// A typed value from a YAML file and, where there is one, a file over it.
///
/// Each file is held against `T` on its own first, so every file of a layered type must be able to stand alone: no
/// required keys at the top. `merge` then makes one of two, and `check` makes of that what is wanted, or finds what is
/// wrong beyond the shape; its faults are given to the file that holds their place, the upper one first.
///
/// # Errors
/// Everything that is wrong with either file, or with the two together.
pub fn from_yaml_layers<T: DeserializeOwned + JsonSchema, C>(
    base: Layer<'_>,
    local: Option<Layer<'_>>,
    merge: fn(Value, Value) -> Result<T, Faults>,
    check: fn(T) -> Result<C, Faults>,
) -> Result<C, LayerFaults> {
    let mut found = LayerFaults::default();
    let mut read = |layer: Layer<'_>| match value_from_yaml::<T>(layer.bytes) {
        Ok(value) => Some(value),
        Err(faults) => {
            found.0.push((layer.path.to_owned(), faults));
            None
        }
    };
    let (lower, upper) = (read(base), local.map(&mut read));
    let merged = match (lower, upper) {
        (Some(lower), None) => merge(lower, Value::Object(serde_json::Map::new())),
        (Some(lower), Some(Some(upper))) => merge(lower, upper),
        _ => return Err(found),
    };
    let faults = match merged.and_then(check) {
        Ok(checked) => return Ok(checked),
        Err(faults) => faults,
    };
    let trees: Vec<(&Path, Tree)> =
        local.into_iter().chain([base]).map(|layer| (layer.path, tree_of(layer.bytes))).collect();
    for fault in faults.0 {
        let holder = trees.iter().find(|(_, tree)| tree.holds(&fault.place)).or(trees.last());
        if let Some((path, tree)) = holder {
            found.add(path, Fault { line: fault.line.or_else(|| tree.line(&fault.place)), ..fault });
        }
    }
    Err(found)
}

fn tree_of(bytes: &[u8]) -> Tree {
    text(bytes).ok().and_then(|text| yaml::tree(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::manifest::Manifest;

    fn valid(manifest: Manifest) -> Result<Manifest, Faults> {
        let faults = manifest.validate();
        if faults.is_empty() { Ok(manifest) } else { Err(faults) }
    }

    fn read(base: &str, local: Option<&str>) -> Result<Manifest, LayerFaults> {
        let layer = |path, text: &'static str| Layer { path: Path::new(path), bytes: text.as_bytes() };
        from_yaml_layers(
            layer(".autometta.yaml", Box::leak(base.to_owned().into_boxed_str())),
            local.map(|text| layer(".autometta.local.yaml", Box::leak(text.to_owned().into_boxed_str()))),
            Manifest::merged,
            valid,
        )
    }

    #[test]
    fn the_upper_file_wins_and_scalars_keep_their_letters() {
        let base =
            "max_parallel: 2\nfamilies:\n  claude:\n    env: {A: 3.10, B: yes}\ngates:\n- {name: a, run: true}\n";
        let manifest =
            read(base, Some("max_parallel: '4'\nlink:\nfamilies: {claude: {env: {B: 0123}}}\n")).expect("both");
        assert_eq!((manifest.max_parallel, manifest.gates[0].run.as_str()), (4, "true"));
        let env: Vec<_> = manifest
            .families
            .values()
            .next()
            .expect("claude")
            .env
            .iter()
            .flatten()
            .map(|(_, value)| value.clone())
            .collect();
        assert_eq!(env, ["3.10", "0123"]);
        assert_eq!(
            read(base, None).expect("alone"),
            read(base, Some("# nothing yet\n")).expect("with nothing over it")
        );
    }

    #[test]
    fn every_fault_names_the_file_that_it_stands_in() {
        for (base, local, expected) in [
            (
                "gate: []\n",
                Some("max_paralel: 2\n"),
                ".autometta.yaml: line 1: /gate: unknown key `gate`; did you mean `gates`?; \
                 .autometta.local.yaml: line 1: /max_paralel: unknown key `max_paralel`; did you mean `max_parallel`?",
            ),
            (
                "link: []\nmax_parallel: 99\nbase_branch: -x\n",
                Some("\nmax_parallel: 98\n"),
                ".autometta.local.yaml: line 2: /max_parallel: `98` is not between 1 and 64; \
                 .autometta.yaml: line 3: /base_branch: it is not the name of a branch",
            ),
            ("max_parallel: 99\n", None, ".autometta.yaml: line 1: /max_parallel: `99` is not between 1 and 64"),
            ("link: []\n", Some(""), ".autometta.local.yaml: it is empty"),
        ] {
            assert_eq!(read(base, local).expect_err("faults").to_string(), expected);
        }
        assert!(read("max_parallel: 99\n", Some("max_parallel: 1\n")).is_ok(), "what is overridden does not matter");
    }
}
