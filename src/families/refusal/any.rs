//! What several CLIs say, or one that has no table of its own: copilot, opencode, qwen.

use super::Whose::Any;
use super::{Pattern, one_model, record, start};
use crate::core::exit::RefusalClass::{Auth, Billing, Configuration, Context, Limit, Model, Network, Overloaded};

/// Its rows, in the order in which they are tried.
pub(super) const ROWS: &[Pattern] = &[
    record(Any, Billing, "payment required", "Payment required: insufficient credits", "peer's vectors"),
    record(Any, Billing, "insufficient credits", "Payment required: insufficient credits", "peer's vectors"),
    record(
        Any,
        Billing,
        "you have no quota",
        "402 {\"error\":{\"message\":\"You have no quota\",\"code\":\"quota_exceeded\"}}",
        "github/copilot-cli#3431",
    ),
    record(
        Any,
        Billing,
        "exceeded your premium request allowance",
        "You have exceeded your premium request allowance.",
        "earendil-works/pi#3643",
    ),
    record(Any, Context, "context length exceeded", "context length exceeded", "peer's vectors"),
    record(Any, Context, "too many tokens in request", "too many tokens in request", "peer's vectors"),
    one_model(Any, Model, "model not available", "Model not available on your plan", "peer's vectors"),
    record(Any, Auth, "invalid_api_key", "invalid_api_key", "peer's vectors"),
    record(Any, Auth, "invalid api key", "Invalid API key", "peer's vectors"),
    record(Any, Limit, "free allocated quota exceeded", "429 Free allocated quota exceeded.", "QwenLM/qwen-code#1742"),
    record(Any, Limit, "free usage exceeded", "Free usage exceeded, subscribe to Go", "anomalyco/opencode#50093"),
    record(
        Any,
        Limit,
        "freeusagelimiterror",
        "Error: 429: {\"type\":\"FreeUsageLimitError\",\"message\":\"Error from provider (Console): Rate limit exceeded. Please try again later.\"}",
        "anomalyco/opencode#42029",
    ),
    record(
        Any,
        Limit,
        "hit a rate limit",
        "Sorry, you've hit a rate limit that restricts the number of Copilot model requests you can make within a specific time period. Please try again in 2 hours.",
        "github/copilot-cli#2144",
    ),
    record(
        Any,
        Limit,
        "rate limit exceeded",
        "Upstream request failed: [rate_limit_exceeded] Rate limit exceeded. Please retry after a brief wait.",
        "anomalyco/opencode#47747",
    ),
    record(
        Any,
        Limit,
        "too many requests, the rate limit",
        "Too many requests, the rate limit is 8000000 tokens per minute.",
        "anomalyco/opencode#21465",
    ),
    record(Any, Limit, "usage limit reached", "Usage limit reached.", "codex 0.169.0, binary"),
    record(Any, Limit, "rate_limit_error", "rate_limit_error: too many requests", "peer's vectors"),
    record(Any, Limit, "rate limited", "Error 429: Rate limited", "peer's vectors"),
    record(Any, Limit, "retry after", "Please retry after 30 seconds", "peer's vectors"),
    record(Any, Overloaded, "overloaded_error", "overloaded_error", "peer's vectors"),
    record(Any, Overloaded, "service unavailable", "Service unavailable (503)", "peer's vectors"),
    start(
        Any,
        Configuration,
        "op-fetch: error:",
        "op-fetch: error: failed to resolve CLAUDE_CODE_OAUTH_TOKEN (op exit 1)",
        "incident 2026-09-03",
    ),
];

/// Wordings of a connection that failed, tried after the statuses: they are the outermost words of longer lines.
pub(super) const NETWORK: &[Pattern] = &[
    record(Any, Network, "request timed out", "Request timed out after 60s", "peer's vectors"),
    record(Any, Network, "etimedout", "ETIMEDOUT", "peer's vectors"),
    record(Any, Network, "econnrefused", "ECONNREFUSED", "peer's vectors"),
    record(
        Any,
        Network,
        "econnreset",
        "API Error: Unable to connect to API (ECONNRESET)",
        "anthropics/claude-code#42949",
    ),
    record(Any, Network, "socket hang up", "socket hang up", "peer's vectors"),
    record(
        Any,
        Network,
        "unable to connect to api",
        "Unable to connect to API. Check your internet connection",
        "claude 2.1.197, binary",
    ),
    record(
        Any,
        Network,
        "connection error",
        "API Error (Connection error.) · Retrying in 1 seconds… (attempt 1/10)",
        "anthropics/claude-code#6596",
    ),
    record(Any, Network, "fetch failed", "TypeError (fetch failed)", "anthropics/claude-code#8030"),
    record(
        Any,
        Network,
        "stream disconnected before completion",
        "Reconnecting... 2/5 (stream disconnected before completion: failed to lookup address information: Name does not resolve)",
        "codex 0.169.0, measured",
    ),
    record(
        Any,
        Network,
        "stream closed before response.completed",
        "stream error: stream closed before response.completed",
        "router-for-me/CLIProxyAPI#2358",
    ),
    record(
        Any,
        Network,
        "waiting for network",
        "Reconnecting... waiting for network (Connection failed: error sending request)",
        "codex 0.169.0, binary",
    ),
    record(
        Any,
        Network,
        "error sending request",
        "error sending request for url (https://chatgpt.com/backend-api/codex/responses)",
        "openai/codex#13811",
    ),
];
