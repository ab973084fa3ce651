//! One readable line for a record of an agent's output, for people who watch.
//!
//! Agents print what they like, so control characters, terminal escapes among them, never pass.

use serde_json::Value;

const WIDTH: usize = 200;

/// A record of Claude Code.
pub(super) fn claude(record: &Value) -> Option<String> {
    match text(record, "/type")? {
        "system" => match text(record, "/subtype")? {
            "init" => Some(format!("started with {}", one_line(text(record, "/model")?))),
            "api_retry" => Some(format!(
                "retry {} of {}: {}",
                record.get("attempt")?,
                record.get("max_retries")?,
                one_line(text(record, "/error").unwrap_or("no reason given"))
            )),
            _ => None,
        },
        "assistant" => joined(record, |block| match text(block, "/type")? {
            "text" => Some(one_line(text(block, "/text")?)),
            "tool_use" => Some(tool(text(block, "/name")?, block.get("input")?)),
            _ => None,
        }),
        "user" => joined(record, |block| match block.get("content")? {
            Value::String(said) => Some(format!("→ {}", one_line(said))),
            Value::Array(parts) => Some(format!("→ {}", one_line(text(parts.first()?, "/text")?))),
            _ => None,
        }),
        "result" => {
            let failed = record.get("is_error") != Some(&Value::Bool(false));
            let said = text(record, "/result").or_else(|| text(record, "/subtype"))?;
            Some(format!("{}: {}", if failed { "failed" } else { "done" }, one_line(said)))
        }
        _ => None,
    }
}

/// A record of Codex.
pub(super) fn codex(record: &Value) -> Option<String> {
    match text(record, "/type")? {
        "thread.started" => Some("started".to_owned()),
        "item.started" if text(record, "/item/type") == Some("command_execution") => {
            Some(format!("$ {}", one_line(text(record, "/item/command")?)))
        }
        "item.completed" => match text(record, "/item/type")? {
            "command_execution" => Some(format!("→ {}", one_line(text(record, "/item/aggregated_output")?))),
            "agent_message" | "reasoning" => Some(one_line(text(record, "/item/text")?)),
            "error" => Some(format!("note: {}", one_line(text(record, "/item/message")?))),
            other => Some(one_line(other)),
        },
        "error" => Some(format!("error: {}", one_line(text(record, "/message")?))),
        "turn.failed" => Some(format!("failed: {}", one_line(text(record, "/error/message")?))),
        "turn.completed" => Some("done".to_owned()),
        _ => None,
    }
}

/// A line of plain text.
pub(super) fn plain(line: &[u8]) -> Option<String> {
    let line = one_line(&String::from_utf8_lossy(line));
    (!line.is_empty()).then_some(line)
}

fn text<'a>(record: &'a Value, pointer: &str) -> Option<&'a str> {
    record.pointer(pointer).and_then(Value::as_str)
}

/// The parts of a message, each made readable, on one line.
fn joined(record: &Value, readable: impl Fn(&Value) -> Option<String>) -> Option<String> {
    let blocks = record.pointer("/message/content")?.as_array()?;
    let parts: Vec<String> = blocks.iter().filter_map(readable).filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// A tool call by the one input that says most.
fn tool(name: &str, input: &Value) -> String {
    let telling = ["command", "file_path", "path", "pattern", "url", "query", "prompt"];
    let detail = telling.iter().find_map(|key| input.get(key)?.as_str());
    match detail {
        Some(detail) => format!("{}: {}", one_line(name), one_line(detail)),
        None => one_line(name),
    }
}

/// The first [`WIDTH`] characters, with runs of white space and control characters as one space.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut length = 0;
    let mut gap = false;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            gap = length > 0;
            continue;
        }
        if length >= WIDTH {
            line.push('…');
            break;
        }
        if gap {
            line.push(' ');
            length += 1;
            gap = false;
        }
        line.push(c);
        length += 1;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captured_streams_read_well() {
        let read = |lines: &str, how: fn(&Value) -> Option<String>| -> Vec<String> {
            lines.lines().filter_map(|line| how(&serde_json::from_str(line).expect("record"))).collect()
        };
        assert_eq!(
            read(include_str!("../../tests/fixtures/agent-output/claude-success.jsonl"), claude),
            [
                "started with claude-opus-4-8[1m]",
                "Bash: echo hello > a.txt && cat a.txt",
                "→ hello",
                "I made a.txt.",
                "done: I made a.txt."
            ]
        );
        assert_eq!(
            read(include_str!("../../tests/fixtures/agent-output/codex-success.jsonl"), codex)[2..],
            ["$ /bin/bash -c 'echo hello > b.txt && cat b.txt'", "→ hello", "I made b.txt.", "done"]
        );
        let retries = read(include_str!("../../tests/fixtures/agent-output/claude-401-retrying-killed.jsonl"), claude);
        assert_eq!(retries[1], "retry 1 of 10: authentication_failed");
    }

    #[test]
    fn escapes_and_floods_do_not_reach_the_terminal() {
        assert_eq!(plain(b"\x1b[2Ja\r\nb\x07"), Some("[2Ja b".to_owned()));
        assert_eq!(plain(b" \n"), None);
        let long = plain("é".repeat(1000).as_bytes()).expect("line");
        assert_eq!(long.chars().count(), WIDTH + 1);
    }
}
