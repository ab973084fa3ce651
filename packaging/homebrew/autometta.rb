# The Homebrew formula, as a template: a release fills in {{repository}} (owner/name), {{version}} and {{sha256}} (of the
# tag's tarball) and puts the result into a tap.
class Autometta < Formula
  desc "Turns a queue of stage cards into verified commits overnight"
  homepage "https://github.com/{{repository}}"
  url "https://github.com/{{repository}}/archive/refs/tags/v{{version}}.tar.gz"
  sha256 "{{sha256}}"
  license "MIT"
  head "https://github.com/{{repository}}.git", branch: "main"

  depends_on "rust" => :build
  # Apple's git may be older than 2.38.
  depends_on "git"

  def install
    system "cargo", "install", *std_cargo_args
    generate_completions_from_executable(bin/"autometta", "completions", shells: [:bash, :zsh, :fish])
    system bin/"autometta", "man", "--out", man1
    pkgshare.install "examples", "schemas"
  end

  # No `service` block: `brew services` keeps one process alive, and this is a tick that ends. It brings its own timer.
  def caveats
    <<~EOS
      To have the queue looked after, install the timer once; it serves every repository:
        autometta timer install
      `autometta attach` shows the night in tmux where it is installed:
        brew install tmux
    EOS
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/autometta --version")
    ENV["AUTOMETTA_HOME"] = testpath/"home"
    assert_match "landed as", shell_output("#{bin}/autometta demo")
  end
end
