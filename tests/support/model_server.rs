//! A scripted model server on loopback, which drives the real `claude` and `codex` without a network.
//!
//! It speaks just enough of two streaming interfaces: `POST /v1/messages` (Anthropic) and `POST /v1/responses`
//! (`OpenAI`). What the "model" does comes from [`Scenario`]s: the first one whose words stand in the prompt answers,
//! and its n-th step answers the n-th request of the conversation. Everything that was answered is on record, with the
//! usage that was reported, so that a test can compare sums.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The interface that a request came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// `/v1/messages`, which Claude Code calls.
    Anthropic,
    /// `/v1/responses`, which Codex calls.
    OpenAi,
}

/// What a step reports as used. Input never contains the cached part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepUsage {
    pub input: u64,
    pub cached: u64,
    pub cache_write: u64,
    pub output: u64,
}

impl StepUsage {
    pub const NONE: Self = Self { input: 0, cached: 0, cache_write: 0, output: 0 };

    /// The sum of the four.
    pub fn total(self) -> u64 {
        self.input + self.cached + self.cache_write + self.output
    }

    fn plus(self, other: Self) -> Self {
        Self {
            input: self.input + other.input,
            cached: self.cached + other.cached,
            cache_write: self.cache_write + other.cache_write,
            output: self.output + other.output,
        }
    }
}

#[derive(Debug, Clone)]
enum Action {
    Run(String),
    Say(String),
    Answer(Value),
    Refuse {
        status: u16,
        body: Value,
        headers: Vec<(String, String)>,
    },
    Hang(Duration),
    /// What another action would answer, but only its beginning: then the connection is closed.
    Drop(Box<Action>),
}

/// One answer of the model.
#[must_use]
#[derive(Debug, Clone)]
pub struct Step {
    action: Action,
    delay: Duration,
    usage: StepUsage,
}

impl Step {
    fn new(action: Action) -> Self {
        let usage = StepUsage { input: 1200, cached: 0, cache_write: 0, output: 80 };
        Self { action, delay: Duration::ZERO, usage }
    }

    /// Calls the shell tool.
    pub fn run(command: &str) -> Self {
        Self::new(Action::Run(command.to_owned()))
    }

    /// Says its last words; the CLI then ends.
    pub fn say(words: &str) -> Self {
        Self::new(Action::Say(words.to_owned()))
    }

    /// Gives the structured answer that a schema asks for.
    pub fn answer(value: Value) -> Self {
        Self::new(Action::Answer(value))
    }

    /// Refuses with an HTTP status.
    pub fn refuse(status: u16, body: Value) -> Self {
        Self { usage: StepUsage::NONE, ..Self::new(Action::Refuse { status, body, headers: Vec::new() }) }
    }

    /// Answers nothing for so long, then drops the connection.
    pub fn hang(time: Duration) -> Self {
        Self { usage: StepUsage::NONE, ..Self::new(Action::Hang(time)) }
    }

    /// Breaks its answer off before it is complete, and closes the connection.
    pub fn dropped(self) -> Self {
        Self { action: Action::Drop(Box::new(self.action)), ..self }
    }

    /// Adds a header to a refusal.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Action::Refuse { headers, .. } = &mut self.action {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Waits before it answers.
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Reports this usage.
    pub fn using(self, usage: StepUsage) -> Self {
        Self { usage, ..self }
    }
}

/// What the model does when certain words stand in its prompt. Past its last step it says `done`.
#[must_use]
#[derive(Debug, Clone)]
pub struct Scenario {
    words: String,
    steps: Vec<Step>,
    weather: Option<Weather>,
}

/// What every request gets for a time, whatever the step is.
#[derive(Debug, Clone)]
struct Weather {
    from: usize,
    times: usize,
    step: Step,
}

impl Scenario {
    /// For prompts that contain these words; the empty text is in every prompt.
    pub fn when(words: &str) -> Self {
        Self { words: words.to_owned(), steps: Vec::new(), weather: None }
    }

    /// Adds the next step.
    pub fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Has requests from this step on (counted from 0) answered by another one, so many times or until
    /// [`ModelServer::clear_up`].
    pub fn weather(mut self, from: usize, times: usize, step: Step) -> Self {
        self.weather = Some(Weather { from, times, step });
        self
    }
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub struct Answered {
    pub api: Api,
    /// The model that was asked for.
    pub model: String,
    /// The words of the scenario that answered; none where no scenario did.
    pub scenario: Option<String>,
    /// Which step answered, counted from 0.
    pub step: usize,
    /// The usage that was reported.
    pub usage: StepUsage,
    /// The `authorization` or `x-api-key` header.
    pub credential: Option<String>,
    /// The request itself.
    pub body: Value,
}

#[derive(Debug, Default)]
struct Shared {
    scenarios: Vec<Scenario>,
    answered: Mutex<Vec<Answered>>,
    /// How many requests the weather of each scenario has answered, by its words.
    weathered: Mutex<BTreeMap<String, usize>>,
    clear: AtomicBool,
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Shared {
    /// What answers this request of a scenario.
    fn step(&self, scenario: &Scenario, turn: usize) -> Step {
        let step = || scenario.steps.get(turn).cloned().unwrap_or_else(|| Step::say("done"));
        let Some(weather) = &scenario.weather else { return step() };
        let mut weathered = locked(&self.weathered);
        let times = weathered.entry(scenario.words.clone()).or_default();
        if turn < weather.from || *times >= weather.times || self.clear.load(Ordering::SeqCst) {
            return step();
        }
        *times += 1;
        weather.step.clone()
    }

    /// Waits; false if the server was stopped meanwhile.
    fn wait(&self, time: Duration) -> bool {
        let (stopped, _) = self
            .stop
            .wait_timeout_while(locked(&self.stopped), time, |stopped| !*stopped)
            .unwrap_or_else(PoisonError::into_inner);
        !*stopped
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running server. Dropping it stops it and ends every hang.
#[must_use]
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<thread::JoinHandle<()>>,
}

impl ModelServer {
    /// Starts on a free port of 127.0.0.1.
    pub fn start(scenarios: Vec<Scenario>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
        let address = listener.local_addr().expect("the port's number");
        let shared = Arc::new(Shared { scenarios, ..Shared::default() });
        let accepting = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if *locked(&shared.stopped) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let shared = Arc::clone(&shared);
                    // A client that goes away in the middle of an answer is none of our business.
                    thread::spawn(move || serve(&shared, stream).ok());
                }
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// The address without a path: what `ANTHROPIC_BASE_URL` takes. Codex wants `/v1` behind it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything answered so far, oldest first.
    pub fn answered(&self) -> Vec<Answered> {
        locked(&self.shared.answered).clone()
    }

    /// Ends the weather of every scenario.
    pub fn clear_up(&self) {
        self.shared.clear.store(true, Ordering::SeqCst);
    }

    /// The sum of what was reported by one interface.
    pub fn reported(&self, api: Api) -> StepUsage {
        let answered = locked(&self.shared.answered);
        answered.iter().filter(|one| one.api == api).fold(StepUsage::NONE, |sum, one| sum.plus(one.usage))
    }

    /// A `config.toml` for `CODEX_HOME` that makes Codex ask this server, with the key in `OPENAI_API_KEY`.
    pub fn codex_config(&self) -> String {
        let url = self.url();
        format!(
            "model_provider = \"scripted\"\n[model_providers.scripted]\nname = \"scripted\"\n\
             base_url = \"{url}/v1\"\nenv_key = \"OPENAI_API_KEY\"\nwire_api = \"responses\"\n"
        )
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        *locked(&self.shared.stopped) = true;
        self.shared.stop.notify_all();
        // Wakes the thread that waits for a connection.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            accepting.join().ok();
        }
    }
}

struct Request {
    method: String,
    path: String,
    credential: Option<String>,
    body: Vec<u8>,
}

fn read_request(stream: &TcpStream) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let path = words.next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let (mut length, mut credential) = (0, None);
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim_end().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" | "x-api-key" => credential = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { method, path, credential, body })
}

fn serve(shared: &Shared, stream: TcpStream) -> std::io::Result<()> {
    let request = read_request(&stream)?;
    let api = match (request.method.as_str(), request.path.as_str()) {
        ("POST", path) if path.ends_with("/messages/count_tokens") => {
            return reply(&stream, 200, &json!({"input_tokens": 100}), &[]);
        }
        ("POST", path) if path.ends_with("/messages") => Api::Anthropic,
        ("POST", path) if path.ends_with("/responses") => Api::OpenAi,
        ("POST", path) => {
            let message = format!("no such route: {path}");
            return reply(&stream, 404, &json!({"error": {"type": "not_found_error", "message": message}}), &[]);
        }
        _ => return reply(&stream, 200, &json!({"object": "list", "data": [], "models": []}), &[]),
    };
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let (prompt, turn) = match api {
        Api::Anthropic => anthropic_conversation(&body),
        Api::OpenAi => openai_conversation(&body),
    };
    let scenario = shared.scenarios.iter().find(|scenario| prompt.contains(&scenario.words));
    let step = match scenario {
        Some(scenario) => shared.step(scenario, turn),
        None => Step::say("no scenario has its words in this prompt"),
    };
    locked(&shared.answered).push(Answered {
        api,
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        scenario: scenario.map(|scenario| scenario.words.clone()),
        step: turn,
        usage: reported(api, &step),
        credential: request.credential,
        body: body.clone(),
    });
    if !shared.wait(step.delay) {
        return Ok(());
    }
    match &step.action {
        Action::Hang(time) => {
            shared.wait(*time);
            Ok(())
        }
        Action::Refuse { status, body, headers } => reply(&stream, *status, body, headers),
        action => {
            let (action, dropped) = match action {
                Action::Drop(action) => (&**action, true),
                action => (action, false),
            };
            let mut events = match api {
                Api::Anthropic => anthropic_events(&body, action, step.usage),
                Api::OpenAi => openai_events(action, step.usage),
            };
            if dropped {
                // What completes the answer, with its final usage, is in the later events.
                events.truncate(if api == Api::Anthropic { 3 } else { 1 });
            }
            if api == Api::OpenAi || body["stream"] == true {
                send_events(stream, &events)
            } else {
                reply(&stream, 200, &whole(&events), &[])
            }
        }
    }
}

/// What a step reports: an answer that is broken off, its input and a placeholder of its output, or nothing yet.
fn reported(api: Api, step: &Step) -> StepUsage {
    match (&step.action, api) {
        (Action::Drop(_), Api::Anthropic) => StepUsage { output: 1, ..step.usage },
        (Action::Drop(_), Api::OpenAi) => StepUsage::NONE,
        _ => step.usage,
    }
}

/// Anthropic's answer to a request that wants no stream.
fn whole(events: &[Value]) -> Value {
    let mut message = events[0]["message"].clone();
    let mut block = events[1]["content_block"].clone();
    let delta = &events[2]["delta"];
    match delta["partial_json"].as_str() {
        Some(input) => block["input"] = serde_json::from_str(input).unwrap_or_default(),
        None => block["text"] = delta["text"].clone(),
    }
    message["content"] = json!([block]);
    if let Some(end) = events.get(4) {
        message["stop_reason"] = end["delta"]["stop_reason"].clone();
        message["usage"]["output_tokens"] = end["usage"]["output_tokens"].clone();
    }
    message
}

fn reply(mut stream: &TcpStream, status: u16, body: &Value, headers: &[(String, String)]) -> std::io::Result<()> {
    let body = body.to_string();
    let mut head = format!("HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\nconnection: close\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let length = body.len();
    write!(stream, "{head}content-length: {length}\r\n\r\n{body}")
}

fn send_events(mut stream: TcpStream, events: &[Value]) -> std::io::Result<()> {
    let mut text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_owned();
    for event in events {
        let _ = write!(text, "event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    }
    stream.write_all(text.as_bytes())
}

/// The text of a message's content, which is a text or a list of parts.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

/// What the user said, and how many tools have answered.
fn anthropic_conversation(body: &Value) -> (String, usize) {
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let users = messages.iter().filter(|message| message["role"] == "user");
    let prompt = users.map(|message| content_text(&message["content"])).collect::<Vec<_>>().join("\n");
    let parts = messages.iter().filter_map(|message| message["content"].as_array()).flatten();
    (prompt, parts.filter(|part| part["type"] == "tool_result").count())
}

fn openai_conversation(body: &Value) -> (String, usize) {
    let items = body["input"].as_array().map(Vec::as_slice).unwrap_or_default();
    let users = items.iter().filter(|item| item["role"] == "user");
    let prompt = users.map(|item| content_text(&item["content"])).collect::<Vec<_>>().join("\n");
    (prompt, items.iter().filter(|item| item["type"] == "function_call_output").count())
}

/// An id that no other answer of this process has.
fn fresh_id(prefix: &str) -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    format!("{prefix}_{:020}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

fn anthropic_events(body: &Value, action: &Action, usage: StepUsage) -> Vec<Value> {
    let takes_answers =
        body["tools"].as_array().is_some_and(|tools| tools.iter().any(|t| t["name"] == "StructuredOutput"));
    let tool = match action {
        Action::Run(command) => Some(("Bash", json!({"command": command, "description": "scripted step"}))),
        Action::Answer(answer) if takes_answers => Some(("StructuredOutput", answer.clone())),
        _ => None,
    };
    let (block, delta, stop) = match tool {
        Some((name, input)) => (
            json!({"type": "tool_use", "id": fresh_id("toolu"), "name": name, "input": {}}),
            json!({"type": "input_json_delta", "partial_json": input.to_string()}),
            "tool_use",
        ),
        None => {
            (json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": spoken(action)}), "end_turn")
        }
    };
    // The output of `message_start` is a placeholder, as the real service sends it.
    let counts = json!({
        "input_tokens": usage.input, "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cached, "output_tokens": 1,
    });
    vec![
        json!({"type": "message_start", "message": {
            "id": fresh_id("msg"), "type": "message", "role": "assistant", "model": body["model"], "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": counts,
        }}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
        json!({"type": "content_block_delta", "index": 0, "delta": delta}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": null},
               "usage": {"output_tokens": usage.output}}),
        json!({"type": "message_stop"}),
    ]
}

fn openai_events(action: &Action, usage: StepUsage) -> Vec<Value> {
    let id = fresh_id("resp");
    let item = match action {
        Action::Run(command) => json!({
            "type": "function_call", "id": fresh_id("fc"), "call_id": fresh_id("call"), "name": "exec_command",
            "arguments": json!({"cmd": command, "login": false}).to_string(),
        }),
        action => json!({
            "type": "message", "id": fresh_id("msg"), "role": "assistant",
            "content": [{"type": "output_text", "text": spoken(action)}],
        }),
    };
    // This interface counts the cached part inside the input.
    let input = usage.input + usage.cached + usage.cache_write;
    vec![
        json!({"type": "response.created", "response": {"id": id}}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": item}),
        json!({"type": "response.completed", "response": {"id": id, "usage": {
            "input_tokens": input, "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input + usage.output,
        }}}),
    ]
}

fn spoken(action: &Action) -> String {
    match action {
        Action::Say(words) => words.clone(),
        Action::Answer(answer) => answer.to_string(),
        Action::Run(_) | Action::Refuse { .. } | Action::Hang(_) | Action::Drop(_) => String::new(),
    }
}
