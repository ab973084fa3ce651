//! What Gemini says when it will not work, in its CLI and in others that call it.

use super::Whose::Gemini;
use super::{Pattern, one_model, record};
use crate::core::exit::RefusalClass::{Limit, Overloaded};

/// Its rows, in the order in which they are tried.
pub(super) const ROWS: &[Pattern] = &[
    one_model(
        Gemini,
        Limit,
        "exhausted your capacity on this model",
        "You have exhausted your capacity on this model. Your quota will reset after 8h44m7s.",
        "google-gemini/gemini-cli#13004",
    ),
    one_model(
        Gemini,
        Limit,
        "exhausted your daily quota on this model",
        "[API Error: You have exhausted your daily quota on this model.]",
        "google-gemini/gemini-cli#15576",
    ),
    record(
        Gemini,
        Limit,
        "exceeded your current quota",
        "You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.",
        "google-gemini/gemini-cli#6962",
    ),
    record(
        Gemini,
        Limit,
        "resource has been exhausted",
        "[API Error: Resource has been exhausted (e.g. check quota).]",
        "google-gemini/gemini-cli#19976",
    ),
    record(
        Gemini,
        Limit,
        "resource exhausted",
        "Resource exhausted. Please try again later. Please refer to https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.",
        "google-gemini/gemini-cli#14811",
    ),
    record(Gemini, Limit, "resource_exhausted", "\"status\": \"RESOURCE_EXHAUSTED\"", "google-gemini/gemini-cli#1848"),
    one_model(
        Gemini,
        Overloaded,
        "no capacity available for model",
        "No capacity available for model gemini-3-flash-preview on the server",
        "google-gemini/gemini-cli#23980",
    ),
];
