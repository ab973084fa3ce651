//! The names of a card's sections and keys, as a card writes them. They are matched without regard to case.

pub(super) const METADATA: &str = "Metadata";
pub(super) const OBJECTIVE: &str = "Objective";
pub(super) const INPUTS: &str = "Inputs";
pub(super) const DELIVERABLES: &str = "Deliverables";
pub(super) const CONSTRAINTS: &str = "Constraints";
pub(super) const CRITERIA: &str = "Acceptance criteria";
pub(super) const COMMAND: &str = "Acceptance command";
pub(super) const OUT_OF_SCOPE: &str = "Out of scope";
pub(super) const BUDGET: &str = "Budget";
pub(super) const SCRIPT: &str = "Script";
pub(super) const CONTRACT_TESTS: &str = "Contract tests";
pub(super) const CHECKS: &str = "Completion checks";
pub(super) const SECTIONS: [&str; 12] = [
    METADATA,
    OBJECTIVE,
    INPUTS,
    DELIVERABLES,
    CONSTRAINTS,
    CRITERIA,
    COMMAND,
    CONTRACT_TESTS,
    CHECKS,
    OUT_OF_SCOPE,
    BUDGET,
    SCRIPT,
];

pub(super) const WORKER: &str = "Worker";
pub(super) const VERIFIER: &str = "Verifier";
pub(super) const PANEL: &str = "Verifier panel";
pub(super) const ESCALATION: &str = "Escalation";
pub(super) const FALLBACK: &str = "Fallback";
pub(super) const DEPENDS_ON: &str = "Depends on";
pub(super) const PATH_CLAIMS: &str = "Path claims";
pub(super) const PRIORITY: &str = "Priority";
pub(super) const NOT_BEFORE: &str = "Not before";
pub(super) const EVERY: &str = "Every";
pub(super) const WORKER_EFFORT: &str = "Worker effort";
pub(super) const VERIFIER_EFFORT: &str = "Verifier effort";
pub(super) const SAME_FAMILY: &str = "Same family";
pub(super) const LANDING: &str = "Landing";
pub(super) const SILENCE_LIMIT: &str = "Silence limit";
pub(super) const METADATA_KEYS: [&str; 15] = [
    WORKER,
    VERIFIER,
    PANEL,
    ESCALATION,
    FALLBACK,
    DEPENDS_ON,
    PATH_CLAIMS,
    PRIORITY,
    NOT_BEFORE,
    EVERY,
    WORKER_EFFORT,
    VERIFIER_EFFORT,
    SAME_FAMILY,
    LANDING,
    SILENCE_LIMIT,
];

pub(super) const WORKER_CLOCK: &str = "Worker wall-clock";
pub(super) const WORKER_TOKENS: &str = "Worker tokens";
pub(super) const WORKER_COST: &str = "Worker cost";
pub(super) const VERIFIER_CLOCK: &str = "Verifier wall-clock";
pub(super) const VERIFIER_TOKENS: &str = "Verifier tokens";
pub(super) const VERIFIER_COST: &str = "Verifier cost";
pub(super) const STAGE_TOKENS: &str = "Stage tokens";
pub(super) const STAGE_COST: &str = "Stage cost";
pub(super) const BUDGET_KEYS: [&str; 8] = [
    WORKER_CLOCK,
    WORKER_TOKENS,
    WORKER_COST,
    VERIFIER_CLOCK,
    VERIFIER_TOKENS,
    VERIFIER_COST,
    STAGE_TOKENS,
    STAGE_COST,
];
