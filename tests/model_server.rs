//! The scripted model server, driven by plain HTTP: what the real CLIs rely on in it.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::model_server::{Api, ModelServer, Scenario, Step, StepUsage};

/// Posts a body and returns the whole answer as text, up to the end of the connection.
fn post(server: &ModelServer, path: &str, body: &Value) -> String {
    let address = server.url().replace("http://", "");
    let mut stream = TcpStream::connect(address).expect("connection");
    let body = body.to_string();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nX-Api-Key: sk-test\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).expect("request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answer");
    answer
}

fn events(answer: &str) -> Vec<Value> {
    let data = answer.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).expect("event")).collect()
}

fn anthropic(messages: &Value) -> Value {
    json!({"model": "m", "stream": true, "messages": messages, "tools": [{"name": "Bash"}, {"name": "StructuredOutput"}]})
}

const USAGE: StepUsage = StepUsage { input: 1500, cached: 500, cache_write: 7, output: 60 };

#[test]
fn a_conversation_goes_through_its_steps() {
    let server = ModelServer::start(vec![
        Scenario::when("WRITE").then(Step::run("echo \"hi\"").using(USAGE)).then(Step::say("Done.")),
    ]);
    let first =
        post(&server, "/v1/messages?beta=true", &anthropic(&json!([{"role": "user", "content": "please WRITE"}])));
    let first = events(&first);
    assert_eq!(first[0]["message"]["usage"]["cache_read_input_tokens"], 500);
    assert_eq!(first[1]["content_block"]["name"], "Bash");
    let input: Value = serde_json::from_str(first[2]["delta"]["partial_json"].as_str().expect("input")).expect("json");
    assert_eq!(input["command"], "echo \"hi\"");
    assert_eq!(first[4]["usage"]["output_tokens"], 60);

    let result = json!([{"role": "user", "content": [{"type": "text", "text": "please WRITE"}]},
                        {"role": "user", "content": [{"type": "tool_result", "content": "hi"}]}]);
    let second = events(&post(&server, "/v1/messages", &anthropic(&result)));
    assert_eq!(second[2]["delta"]["text"], "Done.");

    let tools = json!({"model": "m", "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "WRITE"}]}]});
    let third = events(&post(&server, "/v1/responses", &tools));
    assert_eq!(third[1]["item"]["name"], "exec_command");
    assert_eq!(third[2]["response"]["usage"]["input_tokens"], 2007, "the cached part stands inside the input");

    assert_eq!(server.reported(Api::Anthropic), StepUsage { input: 2700, cached: 500, cache_write: 7, output: 140 });
    assert_eq!(server.reported(Api::OpenAi).total(), 2067);
    let steps: Vec<usize> = server.answered().iter().map(|answered| answered.step).collect();
    assert_eq!(steps, [0, 1, 0]);
    assert_eq!(server.answered()[0].credential.as_deref(), Some("sk-test"));
}

#[test]
fn structured_answers_take_the_form_that_each_cli_wants() {
    let answer = json!({"overall": "PASS"});
    let server = ModelServer::start(vec![Scenario::when("").then(Step::answer(answer.clone()))]);
    let one = events(&post(&server, "/v1/messages", &anthropic(&json!([]))));
    assert_eq!(
        (&one[1]["content_block"]["name"], &one[2]["delta"]["partial_json"]),
        (&json!("StructuredOutput"), &json!(answer.to_string()))
    );
    let other = events(&post(&server, "/v1/responses", &json!({"input": []})));
    assert_eq!(other[1]["item"]["content"][0]["text"], answer.to_string());
}

#[test]
fn refusals_carry_their_status_and_headers_and_cost_nothing() {
    let body = json!({"error": {"message": "slow down"}});
    let step = Step::refuse(429, body.clone()).header("retry-after", "30");
    let server = ModelServer::start(vec![Scenario::when("LIMIT").then(step)]);
    let answer = post(&server, "/v1/messages", &anthropic(&json!([{"role": "user", "content": "LIMIT"}])));
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(answer.contains("retry-after: 30\r\n") && answer.ends_with(&body.to_string()), "{answer}");
    assert_eq!(server.reported(Api::Anthropic).total(), 0);

    let lost = post(&server, "/v1/messages", &anthropic(&json!([{"role": "user", "content": "other"}])));
    assert!(lost.contains("no scenario"), "{lost}");
    assert!(post(&server, "/v1/elsewhere", &json!({})).starts_with("HTTP/1.1 404 "));
    assert_eq!(server.answered().len(), 2);
}

#[test]
fn stopping_the_server_ends_a_hang() {
    let server = ModelServer::start(vec![Scenario::when("").then(Step::hang(Duration::from_secs(600)))]);
    let address = server.url().replace("http://", "");
    let mut stream = TcpStream::connect(address).expect("connection");
    stream.write_all(b"POST /v1/responses HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}").expect("request");
    let limit = Instant::now() + Duration::from_secs(30);
    while server.answered().is_empty() {
        assert!(Instant::now() < limit, "the request never arrived");
        std::thread::yield_now();
    }
    drop(server);
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the end of the connection");
    assert_eq!(answer, b"");
}
