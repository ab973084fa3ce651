//! The table: what a changed line may tell, language by language.
//!
//! A row is a regular expression over one line, and says what has to happen to such a line for it to be worth a flag.
//! Every row carries a line that it finds and one that it passes over; the tests hold it to both.

use super::Rule;
use Language::{Build, C, Config, Go, Java, JavaScript, Python, Ruby, Rust, Shell};
use When::{Added, Fewer, Lowered, NumberChanged};

/// What a file is written in, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `.rs`
    Rust,
    /// `.py`
    Python,
    /// JavaScript and TypeScript.
    JavaScript,
    /// `.go`
    Go,
    /// Java, Kotlin, Scala and Groovy.
    Java,
    /// `.rb`
    Ruby,
    /// Shell, bats, and what has no extension but may well be a script.
    Shell,
    /// C and C++.
    C,
    /// Files that hold commands: make, just, the CI's YAML, `package.json`, Dockerfiles.
    Build,
    /// Files that hold settings.
    Config,
}

/// What has to happen to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It is new.
    Added,
    /// More such lines went than came, in one file.
    Fewer,
    /// It stays but for its numbers.
    NumberChanged,
    /// It stays but for its numbers, and one of them is lower; or it went.
    Lowered,
}

/// One row.
pub struct Row {
    /// What it tells.
    pub rule: Rule,
    /// In which files.
    pub languages: &'static [Language],
    /// What has to happen.
    pub when: When,
    /// A regular expression over one line.
    pub pattern: &'static str,
    /// A line that it finds.
    pub finds: &'static str,
    /// A line that it passes over.
    pub passes: &'static str,
}

const fn row(
    rule: Rule,
    languages: &'static [Language],
    when: When,
    pattern: &'static str,
    finds: &'static str,
    passes: &'static str,
) -> Row {
    Row { rule, languages, when, pattern, finds, passes }
}

/// Every language that programs are written in.
const CODE: &[Language] = &[Rust, Python, JavaScript, Go, Java, Ruby, Shell, C];
/// Everything.
const ANY: &[Language] = &[Rust, Python, JavaScript, Go, Java, Ruby, Shell, C, Build, Config];

/// The rows, language by language; what is common to all comes last.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row(Rule::TestSkipped, &[Rust], Added, r"#\[\s*(ignore\b|cfg_attr\([^\]]*\bignore\b|cfg\(any\(\)\))",
        "#[ignore = \"later\"]", "#[test]"),
    row(Rule::TestsRemoved, &[Rust], Fewer, r"^\s*#\[\s*(\w+::)*(test|rstest|test_case|quickcheck)\b",
        "    #[tokio::test]", "#[derive(Debug)]"),
    row(Rule::AssertionsRemoved, &[Rust], Fewer, r"\b(debug_|prop_)?assert\w*!|#\[\s*should_panic|\bpanic!\(",
        "assert_eq!(one, two);", "asserted(one, two);"),
    row(Rule::LintSuppressed, &[Rust], Added, r"#!?\[\s*(allow|expect)\(",
        "#![allow(dead_code)]", "#[must_use]"),

    row(Rule::TestSkipped, &[Python], Added,
        r"@((pytest\.mark|unittest)\.)?(skip|skipif|skipIf|skipUnless|xfail|expectedFailure)\b|\bpytest\.(skip|xfail|importorskip)\(|\.skipTest\(|\braise (unittest\.)?SkipTest\b",
        "@pytest.mark.skip(reason=\"slow\")", "@pytest.mark.parametrize(\"n\", [1])"),
    row(Rule::TestsRemoved, &[Python], Fewer, r"^\s*(async\s+)?def\s+test\w*\s*\(",
        "    def test_greets(self):", "def greet():"),
    row(Rule::AssertionsRemoved, &[Python], Fewer, r"^\s*assert\b|\bself\.assert\w+\(|\bpytest\.(raises|warns)\(",
        "    assert greet() == 1", "    assertion = 1"),
    row(Rule::LintSuppressed, &[Python], Added,
        r"#\s*(noqa|type:\s*ignore|pyright:\s*ignore|pylint:\s*disable|pragma:\s*no cover|mypy:\s*ignore|ruff:\s*noqa|nosec)",
        "import os  # noqa: F401", "import os  # for paths"),

    row(Rule::TestSkipped, &[JavaScript], Added,
        r"\b(it|test|describe|context|suite)\.(skip|todo|only|failing|fixme|skipIf|runIf)\b|\b(xit|xtest|xdescribe|xcontext|fit|fdescribe)\s*\(",
        "it.skip('greets', () => {", "it('skips nothing', () => {"),
    row(Rule::TestsRemoved, &[JavaScript], Fewer, r#"\b(it|test)(\.(each|concurrent)\b.*)?\s*\(\s*['"`]"#,
        "  test('greets', () => {", "  tested('greets')"),
    row(Rule::AssertionsRemoved, &[JavaScript], Fewer, r"\bexpect\s*\(|\bassert(\.\w+)*\s*\(|\.should\b",
        "  expect(greet()).toBe(1)", "  expected(greet())"),
    row(Rule::LintSuppressed, &[JavaScript], Added,
        r"\beslint-disable|@ts-(ignore|nocheck|expect-error)\b|\b(istanbul|c8|v8) ignore\b|\bbiome-ignore\b|\btslint:disable",
        "// eslint-disable-next-line", "// see eslint"),

    row(Rule::TestSkipped, &[Go], Added, r"\b[tbf]\.Skip(f|Now)?\(|^//go:build\s+ignore|testing\.Short\(\)",
        "\tt.Skip(\"flaky\")", "\tskip(t)"),
    row(Rule::TestsRemoved, &[Go], Fewer, r"^func\s+(\([^)]*\)\s*)?(Test|Benchmark|Fuzz|Example)\w*\(",
        "func TestGreet(t *testing.T) {", "func greet() {"),
    row(Rule::AssertionsRemoved, &[Go], Fewer,
        r"\b[tbf]\.(Error|Errorf|Fatal|Fatalf|Fail|FailNow)\(|\b(assert|require)\.\w+\(",
        "\t\tt.Fatalf(\"got %d\", n)", "\t\tt.Logf(\"got %d\", n)"),
    row(Rule::LintSuppressed, &[Go], Added, r"//\s*nolint\b|#nosec\b",
        "x() //nolint:errcheck", "x() // no lint here"),

    row(Rule::TestSkipped, &[Java], Added, r"@(Disabled|Ignore)\w*\b|\bassum(e|ing)\w*\s*\(",
        "    @Disabled(\"later\")", "    @Test"),
    row(Rule::TestsRemoved, &[Java], Fewer, r"^\s*@(Test|ParameterizedTest|RepeatedTest|TestFactory|Property)\b",
        "    @Test", "    @Override"),
    row(Rule::AssertionsRemoved, &[Java], Fewer, r"\bassert\w*\s*(\s|\()|\bverify\s*\(|\.should\w*\(|\bfail\s*\(",
        "    assertEquals(1, greet());", "    greet();"),
    row(Rule::LintSuppressed, &[Java], Added, r"@Suppress(Warnings|FBWarnings|Lint)?\b|//\s*NOSONAR|CHECKSTYLE:OFF|//\s*noinspection",
        "    @SuppressWarnings(\"unchecked\")", "    @SafeVarargs"),

    row(Rule::TestSkipped, &[Ruby], Added, r"^\s*(skip|pending)\b|\b(xit|xdescribe|xcontext|xspecify|xscenario)\b|,\s*(skip|pending):",
        "  xit 'greets' do", "  it 'skips' do"),
    row(Rule::TestsRemoved, &[Ruby], Fewer, r#"^\s*(it|specify|scenario|test)\s*\(?\s*['"]|^\s*def\s+test_\w+"#,
        "  it 'greets' do", "  def greet"),
    row(Rule::AssertionsRemoved, &[Ruby], Fewer, r"\b(assert|refute)(_\w+)?\b|\bexpect\s*[({]|\.should(_not)?\b|\.must_\w+",
        "    assert_equal 1, greet", "    asserted = 1"),
    row(Rule::LintSuppressed, &[Ruby], Added, r"\brubocop:(disable|todo)\b|:nocov:",
        "x = 1 # rubocop:disable Lint/UselessAssignment", "x = 1 # see rubocop"),

    row(Rule::TestSkipped, &[Shell], Added, r"^\s*(bats_)?skip\b",
        "  skip \"no network\"", "  skipped=1"),
    row(Rule::TestsRemoved, &[Shell], Fewer, r"^\s*@test\b|^\s*(function\s+)?test_\w+\s*\(\)",
        "@test \"greets\" {", "greet() {"),
    row(Rule::AssertionsRemoved, &[Shell], Fewer, r"^\s*(!\s*)?(\[\[?|test)\s|\bassert\w*\b|\bgrep\s+-\w*q|\b(cmp|diff)\s",
        "[ \"$(greet)\" = hello ]", "greet"),
    row(Rule::LintSuppressed, &[Shell], Added, r"#\s*shellcheck\s+disable\b",
        "# shellcheck disable=SC2086", "# shellcheck is clean"),
    row(Rule::HardCodedAnswer, &[Shell], Added, r"(\[\[?|\btest)\s.*\s={1,2}\s*\S+(\s*\]\]?)?\s*&&\s*(echo|printf|return)\s",
        "[ \"$1\" = 7 ] && echo 13", "[ -n \"$1\" ] && echo \"$1\""),

    row(Rule::FailureIgnored, &[Shell, Build], Added, r"\|\|\s*(true\b|:\s*($|[;#)])|exit\s+0\b|echo\b)|;\s*true\s*$",
        "cargo test || true", "cargo test || exit 1"),
    row(Rule::FailureIgnored, &[Shell, Build], Added, r"(^|[;&|(]|\bthen|\bdo|\belse)\s*exit\s+0\b",
        "  exit 0", "  exit 1"),
    row(Rule::FailureIgnored, &[Shell, Build], Added, r"\bset\s+\+[a-z]*e|\bset\s+\+o\s+(errexit|pipefail)|\btrap\s+.*\bexit\s+0",
        "set +e", "set -e"),
    row(Rule::FailureIgnored, &[Build], Added, r"^\s*continue-on-error:\s*true|^\s*allow_failure:\s*true|--passWithNoTests|--exit-zero|--no-verify",
        "    continue-on-error: true", "    continue-on-error: false"),

    row(Rule::TestSkipped, &[C], Added, r"\bGTEST_SKIP\b|\bDISABLED_\w+|\bTEST_IGNORE\w*\b|\bSKIP\s*\(|^\s*#\s*if\s+0\b",
        "  GTEST_SKIP() << \"later\";", "  skip_spaces(s);"),
    row(Rule::TestsRemoved, &[C], Fewer,
        r"^\s*(TEST|TEST_F|TEST_P|TYPED_TEST|TEST_CASE|SCENARIO|BOOST_AUTO_TEST_CASE|START_TEST)\s*\(",
        "TEST(Greet, Hello) {", "void greet() {"),
    row(Rule::AssertionsRemoved, &[C], Fewer,
        r"\b(ASSERT|EXPECT|REQUIRE|CHECK|TEST_ASSERT|BOOST_CHECK|BOOST_REQUIRE)(_\w+)?\s*\(|\b(static_)?assert\s*\(|\bck_assert",
        "  EXPECT_EQ(greet(), 1);", "  expects(greet());"),
    row(Rule::LintSuppressed, &[C], Added,
        r"\bNOLINT|#\s*pragma\s+(GCC|clang)\s+diagnostic\s+ignored|#\s*pragma\s+warning\s*\(\s*disable|\bcppcheck-suppress\b",
        "int x; // NOLINT", "int x; // no lint"),

    row(Rule::HardCodedAnswer, CODE, Added,
        r#"\bif\b.*(={2,3}|\.equals\(|\bis\b)\s*("[^"]*"|'[^']*'|-?\d[\d_.]*)[^=<>]*\breturn\s+("[^"]*"|'[^']*'|-?\d[\d_.]*)"#,
        "if n == 7 { return 13; }", "if n == 0 { return other; }"),
    row(Rule::HardCodedAnswer, CODE, Added,
        r#"\breturn\s+("[^"]*"|'[^']*'|-?\d[\d_.]*)\s+if\b.*==\s*("[^"]*"|'[^']*'|-?\d[\d_.]*)"#,
        "return 13 if n == 7", "return total if n == 7"),
    row(Rule::ToleranceChanged, CODE, NumberChanged,
        r"(?i)epsilon|tolerance|\b[ar]?tol\b|\b(rel|abs)\s*=|delta|approx|close_?to|within|abs_diff|almost_?equal|_NEAR\b",
        "assert!((a - b).abs() < EPSILON * 4.0);", "let x = 4.0;"),
    row(Rule::ThresholdLowered, ANY, Lowered,
        r#"(?i)fail[_-]?under|min(imum)?[_-]?(coverage|line)|coverage.*(threshold|min|fail)|\bthreshold|^\s*["']?(branches|functions|lines|statements)["']?\s*[:=]\s*\d"#,
        "fail_under = 90", "under = 90"),
];

/// Globs of what configures a CI.
pub const CI_PATHS: &[&str] = &[
    ".github/workflows",
    ".github/actions",
    ".gitlab-ci.yml",
    ".gitlab/ci",
    ".circleci",
    ".buildkite",
    ".drone.yml",
    ".travis.yml",
    "appveyor.yml",
    "azure-pipelines*.yml",
    "bitbucket-pipelines.yml",
    "Jenkinsfile",
    ".woodpecker*",
    ".forgejo/workflows",
];

/// Globs of what git or its hooks act upon. A stage may change such a file only where its card names it.
pub const GIT_PATHS: &[&str] = &[
    "**/.gitattributes",
    "**/.gitmodules",
    ".lfsconfig",
    "**/.husky",
    "**/.githooks",
    "**/githooks",
    "**/git-hooks",
    ".pre-commit-config.yaml",
    "lefthook.{yml,yaml}",
    ".lefthook.{yml,yaml}",
];

/// What a file is written in.
pub fn language(path: &str) -> Option<Language> {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let builds = ["makefile", "gnumakefile", "justfile", "dockerfile", "package.json", "jenkinsfile", "rakefile"];
    if builds.contains(&name.as_str()) {
        return Some(Build);
    }
    let Some((_, extension)) = name.rsplit_once('.') else { return Some(Shell) };
    Some(match extension {
        "rs" => Rust,
        "py" | "pyi" => Python,
        "js" | "jsx" | "mjs" | "cjs" | "ts" | "tsx" | "mts" | "cts" | "vue" | "svelte" => JavaScript,
        "go" => Go,
        "java" | "kt" | "kts" | "scala" | "groovy" => Java,
        "rb" | "rake" => Ruby,
        "sh" | "bash" | "zsh" | "ksh" | "bats" => Shell,
        "c" | "h" | "cc" | "cpp" | "cxx" | "hh" | "hpp" | "hxx" | "m" | "mm" => C,
        "yml" | "yaml" | "mk" | "gradle" | "just" => Build,
        "toml" | "cfg" | "ini" | "json" | "xml" | "properties" | "conf" | "rc" | "coveragerc" => Config,
        _ => return None,
    })
}

/// Whether a path is one of tests, where fixed answers belong.
pub fn is_test_path(path: &str) -> bool {
    path.to_lowercase().split(['/', '.', '_', '-']).any(|part| matches!(part, "test" | "tests" | "spec" | "specs"))
        || path.contains("__tests__")
}
