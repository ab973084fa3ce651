//! From a card's text to a [`Card`], with every fault at once.

use std::collections::BTreeMap;

use crate::core::fault::Faults;
use crate::core::ids::StageId;

use super::Verifiers;
use super::judging::{self, Check, CommandRule};
use super::markdown::{self, Code, Document, Element, Item, Marker, Section};
use super::name;
use super::path::RelativePath;
use super::value::{self, Reasons};
use super::{Budget, Card, Deliverable, Limits, MAX_BYTES, Parsed, StageLimits};

/// The languages a fenced block may name and still be shell text.
const SHELL: [&str; 4] = ["", "sh", "shell", "bash"];

/// See [`Card::parse`].
pub(super) fn card(stage: StageId, text: &str) -> Result<Parsed, Faults> {
    if text.len() > MAX_BYTES {
        let size = text.len();
        let message = format!("the card has {size} bytes; {MAX_BYTES} is the most a card may have");
        return Err(Faults::one(None, "", message));
    }
    let mut faults = Faults::default();
    let document = markdown::read(text.strip_prefix('\u{feff}').unwrap_or(text), &mut faults);
    let title = title(&document, &stage, &mut faults);
    let mut reader = Reader::new(&document, faults);

    let mut metadata = reader.required(name::METADATA).map(|section| reader.fields(section, &name::METADATA_KEYS));
    let fields = metadata.get_or_insert_default();
    let worker = reader.required_value(fields, name::WORKER, value::identity);
    let verifiers = reader.verifiers(fields);
    let escalation = reader.value(fields, name::ESCALATION, value::identities).unwrap_or_default();
    let fallback = reader.value(fields, name::FALLBACK, value::identities).unwrap_or_default();
    let fallback_line = fields.get(name::FALLBACK).map(|field| field.line);
    let depends_on =
        reader.value(fields, name::DEPENDS_ON, |text| value::dependencies(text, &stage)).unwrap_or_default();
    let path_claims = reader.value(fields, name::PATH_CLAIMS, value::paths).unwrap_or_default();
    let priority = reader.value(fields, name::PRIORITY, value::priority).unwrap_or_default();
    let not_before = reader.value(fields, name::NOT_BEFORE, value::start_time);
    let every = reader.value(fields, name::EVERY, value::interval);
    let worker_effort = reader.value(fields, name::WORKER_EFFORT, value::effort);
    let verifier_effort = reader.value(fields, name::VERIFIER_EFFORT, value::effort);
    let same_family = reader.value(fields, name::SAME_FAMILY, |text| Ok(text.to_owned()));
    let landing = reader.value(fields, name::LANDING, value::landing);
    let silence_limit = reader.value(fields, name::SILENCE_LIMIT, value::duration);

    let objective = reader.objective();
    let deliverables = reader.deliverables();
    let criteria = reader.criteria();
    let (commands, command_rules) = reader.commands();
    let contract_tests = reader.contract_tests();
    let checks = reader.checks();
    reader.judged_by_something(&commands, &checks);
    let script = reader.script();
    let out_of_scope = reader.out_of_scope();
    let budget = reader.budget();

    let claims_line = fields.get(name::PATH_CLAIMS).map(|field| field.line);
    let claimed = path_claims.iter().map(|path| (claims_line, name::PATH_CLAIMS, path));
    let promised = deliverables.iter().map(|(line, one)| (Some(*line), name::DELIVERABLES, &one.path));
    for (line, place, path) in claimed.chain(promised) {
        reader.claim(line, place, path, &out_of_scope);
    }

    let Reader { mut faults, warnings, .. } = reader;
    match (worker, verifiers) {
        (Some(worker), Some((verifiers, adversarial_seats))) if faults.is_empty() => {
            let deliverables = deliverables.into_iter().map(|(_, one)| one).collect();
            let out_of_scope = out_of_scope.into_iter().map(|(_, path)| path).collect();
            let card = Card {
                stage,
                title,
                worker,
                verifiers,
                adversarial_seats,
                escalation,
                fallback,
                depends_on,
                path_claims,
                priority,
                not_before,
                every,
                worker_effort,
                verifier_effort,
                same_family,
                landing,
                silence_limit,
                objective,
                deliverables,
                criteria,
                commands,
                command_rules,
                contract_tests,
                checks,
                out_of_scope,
                budget,
                script,
            };
            Ok(Parsed { card, warnings, fallback_line })
        }
        _ => {
            faults.0.sort_by_key(|fault| fault.line);
            Err(faults)
        }
    }
}

/// The title, from `# Stage card <id>: <title>` and its older forms. The id stands in for a title that is not there.
fn title(document: &Document<'_>, stage: &StageId, faults: &mut Faults) -> String {
    let Some((line, heading)) = document.title else {
        faults.add(Some(1), "", format!("the title is missing; begin with `# Stage card {stage}: <what it does>`"));
        return String::new();
    };
    let mut rest = heading;
    for word in ["stage", "card"] {
        if let Some((first, tail)) = rest.split_once(char::is_whitespace)
            && first.eq_ignore_ascii_case(word)
        {
            rest = tail.trim_start();
        }
    }
    let (id, title) = rest.split_once(':').unwrap_or((rest, ""));
    let (id, title) = (id.trim(), title.trim());
    if id != stage.as_str() && markdown::placeholder(id).is_none() {
        faults.add(
            Some(line),
            "",
            format!("the title names `{id}`, but the card's file is `{stage}.md`; write `# Stage card {stage}: …`"),
        );
    }
    if title.is_empty() { stage.to_string() } else { title.to_owned() }
}

/// One `- **Key:** value`.
struct Field {
    line: usize,
    text: String,
}

type Fields = BTreeMap<&'static str, Field>;

/// The sections by name, and what was found wrong so far.
struct Reader<'d, 't> {
    sections: BTreeMap<&'static str, &'d Section<'t>>,
    /// Where to point at for a section that is not there.
    top: usize,
    faults: Faults,
    warnings: Faults,
}

impl<'d, 't> Reader<'d, 't> {
    fn new(document: &'d Document<'t>, faults: Faults) -> Self {
        let top = document.title.map_or(1, |(line, _)| line);
        let mut reader = Self { sections: BTreeMap::new(), top, faults, warnings: Faults::default() };
        let mut first_lines: BTreeMap<String, usize> = BTreeMap::new();
        for section in &document.sections {
            let heading = section.heading.trim_end_matches(':').trim_end();
            if let Some(first) = first_lines.insert(heading.to_lowercase(), section.line) {
                reader.faults.add(Some(section.line), heading, format!("the section is already on line {first}"));
                continue;
            }
            if let Some(known) = name::SECTIONS.into_iter().find(|known| known.eq_ignore_ascii_case(heading)) {
                reader.sections.insert(known, section);
                continue;
            }
            // People keep notes in sections of their own; only what looks like a slip is worth a word,
            // since `## Acceptance commands` would otherwise be a gate that never runs.
            let nearest = value::nearest(heading, &name::SECTIONS);
            if value::distance(&heading.to_lowercase(), &nearest.to_lowercase()) <= 2 {
                let message = format!("the section is read as a note; is `## {nearest}` meant?");
                reader.warnings.add(Some(section.line), heading, message);
            }
        }
        reader
    }

    fn section(&self, name: &'static str) -> Option<&'d Section<'t>> {
        self.sections.get(name).copied()
    }

    fn required(&mut self, name: &'static str) -> Option<&'d Section<'t>> {
        let section = self.section(name);
        if section.is_none() {
            self.faults.add(Some(self.top), name, format!("the section `## {name}` is missing"));
        }
        section
    }

    /// The keys of a section that is a list of `- **Key:** value`.
    fn fields(&mut self, section: &Section<'_>, known: &[&'static str]) -> Fields {
        let mut fields = Fields::new();
        let (items, strays) = markdown::items(&section.elements);
        for (line, text) in strays {
            self.faults.add(Some(line), section.heading, format!("`{text}` is not a `- **Key:** value` line"));
        }
        for Item { line, text, .. } in items {
            let Some((key, text)) = key_and_value(&text) else {
                self.faults.add(Some(line), section.heading, format!("`{text}` is not a `- **Key:** value` line"));
                continue;
            };
            let Some(name) = known.iter().find(|name| same_key(name, key)) else {
                let nearest = value::nearest(key, known);
                let message = format!("the key `{key}` is unknown; the nearest known key is `{nearest}`");
                self.faults.add(Some(line), section.heading, message);
                continue;
            };
            if let Some(first) = fields.get(name) {
                self.faults.add(Some(line), *name, format!("the key is already on line {}", first.line));
                continue;
            }
            if text.is_empty() {
                self.faults.add(Some(line), *name, "the key has no value; give one or remove the line");
            }
            fields.insert(*name, Field { line, text: text.to_owned() });
        }
        fields
    }

    /// The value behind a key. Nothing, besides faults, when it is absent, empty, a placeholder or wrong.
    fn value<T>(
        &mut self,
        fields: &Fields,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, Reasons>,
    ) -> Option<T> {
        let field = fields.get(key)?;
        if field.text.is_empty() || markdown::placeholder(&field.text).is_some() {
            return None;
        }
        match read(&field.text) {
            Ok(value) => Some(value),
            Err(reasons) => {
                for reason in reasons {
                    self.faults.add(Some(field.line), key, reason);
                }
                None
            }
        }
    }

    fn metadata_line(&self) -> Option<usize> {
        self.section(name::METADATA).map(|section| section.line)
    }

    fn required_value<T>(
        &mut self,
        fields: &Fields,
        key: &'static str,
        read: impl FnOnce(&str) -> Result<T, Reasons>,
    ) -> Option<T> {
        // A section that is missing as a whole has been reported already.
        if let (Some(line), false) = (self.metadata_line(), fields.contains_key(key)) {
            self.faults.add(Some(line), name::METADATA, format!("`**{key}:**` is missing"));
        }
        self.value(fields, key, read)
    }

    /// Who judges, and which seats are adversarial.
    fn verifiers(&mut self, fields: &Fields) -> Option<(Verifiers, Vec<u32>)> {
        let one = self.value(fields, name::VERIFIER, value::verifier);
        let panel = self.value(fields, name::PANEL, value::panel);
        let panel = panel.map(|(panel, adversarial)| (Verifiers::Panel(panel), adversarial));
        match (fields.get(name::VERIFIER), fields.get(name::PANEL), self.metadata_line()) {
            (Some(_), Some(second), _) => {
                let message = "the card has a `Verifier`, too; keep one of the two";
                self.faults.add(Some(second.line), name::PANEL, message);
            }
            (None, None, Some(line)) => {
                let message = "`**Verifier:**` or `**Verifier panel:**` is missing";
                self.faults.add(Some(line), name::METADATA, message);
            }
            _ => {}
        }
        one.or(panel)
    }

    fn objective(&mut self) -> String {
        let Some(section) = self.required(name::OBJECTIVE) else { return String::new() };
        let mut text = String::new();
        for element in &section.elements {
            match element {
                Element::Line { text: line, .. } => text.push_str(line.trim_end()),
                Element::Code(code) => text.push_str(code.text.trim_end_matches('\n')),
            }
            text.push('\n');
        }
        let text = text.trim();
        if text.is_empty() {
            self.faults.add(Some(section.line), name::OBJECTIVE, "the section is empty; say what the stage is for");
        }
        text.to_owned()
    }

    fn deliverables(&mut self) -> Vec<(usize, Deliverable)> {
        let Some(section) = self.required(name::DELIVERABLES) else { return Vec::new() };
        let (items, strays) = markdown::items(&section.elements);
        let is_none = |text: &str| text.trim_end_matches('.').eq_ignore_ascii_case("none");
        let says_none = match (items.as_slice(), strays.as_slice()) {
            ([], [(_, only)]) => is_none(only),
            ([only], []) => is_none(&only.text),
            _ => false,
        };
        if says_none {
            return Vec::new();
        }
        if items.is_empty() && !strays.iter().any(|(_, text)| markdown::placeholder(text).is_some()) {
            let message = "no deliverable is listed; list paths as in 1. `src/greet.rs`: what it is, or write `none`";
            self.faults.add(Some(section.line), name::DELIVERABLES, message);
        }
        let mut deliverables = Vec::new();
        for item in &items {
            if markdown::placeholder(&item.text).is_some() {
                continue;
            }
            match markdown::leading_code(&item.text) {
                None => {
                    let message = "the item does not begin with a path in backticks";
                    self.faults.add(Some(item.line), name::DELIVERABLES, message);
                }
                Some((path, rest)) => {
                    if let Some(path) = self.listed_path(item.line, name::DELIVERABLES, path, rest) {
                        let note = rest.trim_start_matches([' ', ':', '-', '–', '—']).trim_end().to_owned();
                        let removed = judging::says_removed(&note);
                        deliverables.push((item.line, Deliverable { path, note, removed }));
                    }
                }
            }
        }
        deliverables
    }

    fn out_of_scope(&mut self) -> Vec<(usize, RelativePath)> {
        let Some(section) = self.section(name::OUT_OF_SCOPE) else { return Vec::new() };
        let mut paths = Vec::new();
        for item in &markdown::items(&section.elements).0 {
            if markdown::placeholder(&item.text).is_some() {
                continue;
            }
            if let Some((path, rest)) = markdown::leading_code(&item.text) {
                let path = self.listed_path(item.line, name::OUT_OF_SCOPE, path, rest);
                paths.extend(path.map(|path| (item.line, path)));
            } else if item.text.contains(['/', '.']) && !item.text.trim_end_matches('.').contains(char::is_whitespace) {
                let message = format!("`{}` is read as prose; put a path in backticks", item.text);
                self.warnings.add(Some(item.line), name::OUT_OF_SCOPE, message);
            }
        }
        paths
    }

    /// The path that an item begins with.
    fn listed_path(&mut self, line: usize, place: &'static str, path: &str, rest: &str) -> Option<RelativePath> {
        // A second path would be overlooked, and the night would be spent on finding out.
        let next = rest.trim_start();
        let next = [",", "and ", "& ", "+ "].into_iter().find_map(|link| next.strip_prefix(link)).map(str::trim_start);
        if let Some((second, _)) = next.and_then(markdown::leading_code) {
            let message = format!("`{path}` and `{second}` share an item; give each path its own");
            self.faults.add(Some(line), place, message);
        }
        match path.parse::<RelativePath>() {
            Ok(path) => Some(path),
            Err(error) => {
                self.faults.add(Some(line), place, error.to_string());
                None
            }
        }
    }

    fn criteria(&mut self) -> Vec<String> {
        let Some(section) = self.required(name::CRITERIA) else { return Vec::new() };
        let (items, _) = markdown::items(&section.elements);
        if items.is_empty() {
            let message = "no criterion is listed; write at least one, as in 1. `greet World` prints a greeting";
            self.faults.add(Some(section.line), name::CRITERIA, message);
        }
        let mut criteria = Vec::new();
        for (expected, Item { line, marker, text }) in (1..).zip(items) {
            match marker {
                Marker::Number(number) if number == expected => {}
                Marker::Number(number) => {
                    let message = format!("criterion {number} stands where {expected} is expected");
                    self.faults.add(Some(line), name::CRITERIA, message);
                }
                Marker::Bullet => {
                    let message = format!("a criterion has a bullet; number it {expected}");
                    self.faults.add(Some(line), name::CRITERIA, message);
                }
            }
            if text.is_empty() {
                self.faults.add(Some(line), name::CRITERIA, format!("criterion {expected} is empty"));
            }
            criteria.push(text);
        }
        criteria
    }

    fn commands(&mut self) -> (Vec<String>, Vec<CommandRule>) {
        let Some(section) = self.section(name::COMMAND) else { return (Vec::new(), Vec::new()) };
        let blocks = section.elements.iter().filter_map(as_code);
        let rules = blocks.map(|code| judging::command_rule(code, &mut self.faults)).collect();
        (self.shell_blocks(section, name::COMMAND), rules)
    }

    fn judged_by_something(&mut self, commands: &[String], checks: &[Check]) {
        if commands.is_empty() && !checks.iter().any(|check| matches!(check, Check::Command(_))) {
            let message = "there is no acceptance command; the verifier alone judges";
            self.warnings.add(Some(self.top), name::COMMAND, message);
        }
    }

    fn contract_tests(&mut self) -> Vec<RelativePath> {
        let Some(section) = self.section(name::CONTRACT_TESTS) else { return Vec::new() };
        let listed = judging::contract_items(section, &mut self.faults);
        let paths = listed.iter().filter_map(|(line, path, rest)| {
            let path = self.listed_path(*line, name::CONTRACT_TESTS, path, rest)?;
            judging::check_pattern(*line, &path, &mut self.faults);
            Some(path)
        });
        paths.collect()
    }

    fn checks(&mut self) -> Vec<Check> {
        self.section(name::CHECKS).map(|section| judging::checks(section, &mut self.faults)).unwrap_or_default()
    }

    fn script(&mut self) -> Option<String> {
        let section = self.section(name::SCRIPT)?;
        let mut blocks = self.shell_blocks(section, name::SCRIPT);
        if blocks.len() > 1 {
            self.faults.add(Some(section.line), name::SCRIPT, "there are several blocks; a script is one");
        }
        blocks.pop()
    }

    /// The text of each shell block of a section, of which there must be one.
    fn shell_blocks(&mut self, section: &Section<'_>, place: &'static str) -> Vec<String> {
        let blocks = || section.elements.iter().filter_map(as_code);
        if blocks().next().is_none() {
            self.faults.add(Some(section.line), place, "there is no fenced shell block; put the command into one");
        }
        for code in blocks() {
            let says_something =
                code.text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'));
            if !SHELL.iter().any(|known| known.eq_ignore_ascii_case(code.language)) {
                let message = format!("a block of `{}` is no command; commands are fenced as `sh`", code.language);
                self.faults.add(Some(code.line), place, message);
            } else if !says_something {
                self.faults.add(Some(code.line), place, "the block holds no command, so it would always pass");
            }
            if code.language.eq_ignore_ascii_case("bash") {
                self.warnings.add(Some(code.line), place, "the block says `bash`, but it is run by `sh`");
            }
        }
        blocks().map(|code| code.text.clone()).collect()
    }

    fn budget(&mut self) -> Budget {
        let Some(section) = self.section(name::BUDGET) else { return Budget::default() };
        let fields = self.fields(section, &name::BUDGET_KEYS);
        Budget {
            worker: Limits {
                wall_clock_seconds: self.value(&fields, name::WORKER_CLOCK, value::duration),
                tokens: self.value(&fields, name::WORKER_TOKENS, value::tokens),
                cost_usd: self.value(&fields, name::WORKER_COST, value::dollars),
            },
            verifier: Limits {
                wall_clock_seconds: self.value(&fields, name::VERIFIER_CLOCK, value::duration),
                tokens: self.value(&fields, name::VERIFIER_TOKENS, value::tokens),
                cost_usd: self.value(&fields, name::VERIFIER_COST, value::dollars),
            },
            stage: StageLimits {
                tokens: self.value(&fields, name::STAGE_TOKENS, value::tokens),
                cost_usd: self.value(&fields, name::STAGE_COST, value::dollars),
            },
        }
    }

    /// Notes a path that the stage is to change and must not change, or that no file is likely to have.
    fn claim(
        &mut self,
        line: Option<usize>,
        place: &'static str,
        path: &RelativePath,
        out_of_scope: &[(usize, RelativePath)],
    ) {
        if let Some((other, _)) = out_of_scope.iter().find(|(_, out)| out.covers_alias(path.as_str())) {
            self.faults.add(line, place, format!("`{path}` is out of scope by line {other}; remove one of the two"));
        }
        if path.as_str().contains('*') {
            let message = format!("the `*` in `{path}` is no wildcard; name the folder with a trailing `/`");
            self.warnings.add(line, place, message);
        }
    }
}

fn as_code<'e, 't>(element: &'e Element<'t>) -> Option<&'e Code<'t>> {
    match element {
        Element::Code(code) => Some(code),
        Element::Line { .. } => None,
    }
}

/// Splits `**Key:** value`, `**Key**: value` or `Key: value`.
fn key_and_value(text: &str) -> Option<(&str, &str)> {
    let (key, value) = match text.strip_prefix("**") {
        None => text.split_once(':')?,
        Some(bold) => {
            let (key, rest) = bold.split_once("**")?;
            match key.trim_end().strip_suffix(':') {
                Some(key) => (key, rest),
                None => (key, rest.trim_start().strip_prefix(':')?),
            }
        }
    };
    Some((key.trim(), value.trim()))
}

/// `worker wall clock` is the same key as `Worker wall-clock`.
fn same_key(one: &str, other: &str) -> bool {
    let words =
        |key: &str| key.to_lowercase().replace('-', " ").split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    words(one) == words(other)
}
