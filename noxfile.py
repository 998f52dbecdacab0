"""One session per check; ``nox`` runs those that CI runs, the tests last."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True
nox.options.stop_on_first_error = False
nox.options.sessions = [
    *("format", "lint", "imports", "types", "bandit", "audit"),
    *("speed", "executable", "wheel", "zipapp", "tests"),
]

# The checks start hundreds of programs, each of which would compile all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parent
ASYNC_WORDS = re.compile(r"\b(async|await|trio)\b")
"""What modules have in them that the rules on async code are about: half of them."""
ASYNC_RULES = (
    "--select=ASYNC1,ASYNC2,ASYNC4",
    "--enable=ASYNC1,ASYNC2,ASYNC4",  # so that no time is spent on others
    # 114 and 128: a start function may hand `task_status` on, which the checker doesn't follow.
    # 127: httpx is what the design names; its successor is weighed in docs/explanation.
    "--extend-ignore=ASYNC114,ASYNC127,ASYNC128",
)

PARALLEL = ("-n", "3", "--max-worker-restart=0")
"""CI has two cores, a quarter of which was idle with two: most tests wait for processes.

A process that ends before its time ends the run. Were it replaced, xdist would begin the test that
ended it anew, and where that was not the first of its file's, wait for nothing for ever.
"""

ROOMS_HELD_TO_95 = ("supervision", "protocol", "multiplexer")


def install(session: nox.Session, *groups: str) -> None:
    """Install onemcp with some dependency groups."""
    session.install("-e", ".", *nox.project.dependency_groups(PYPROJECT, *groups))


PYPROJECT = nox.project.load_toml("pyproject.toml")


@nox.session(name="format")
def format_(session: nox.Session) -> None:
    """Check that the code is formatted."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "format", "--check", ".")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, complexity, and the traps of async code."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    modules = sorted(Path("onemcp").rglob("*.py"))
    asynchronous = [str(each) for each in modules if ASYNC_WORDS.search(each.read_text("utf-8"))]
    session.run("flake8", *ASYNC_RULES, *asynchronous)


@nox.session
def imports(session: nox.Session) -> None:
    """Check that imports point one way."""
    install(session, "lint")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session, "types")
    session.run("mypy")


@nox.session
def bandit(session: nox.Session) -> None:
    """Check the code for known kinds of weaknesses."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "audit"))
    session.run("bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", "onemcp")


@nox.session
def audit(session: nox.Session) -> None:
    """Check what onemcp depends on for known vulnerabilities."""
    install(session, "audit")
    freeze = ["uv", "pip", "freeze", "--quiet", "--exclude-editable"]
    listed = session.run(*freeze, silent=True, external=True)
    requirements = Path(session.create_tmp()) / "requirements.txt"
    requirements.write_text(str(listed), encoding="utf-8")
    report = Path(session.create_tmp()) / "audit.json"
    options = ["--disable-pip", "--no-deps", "--progress-spinner=off", "--format=json"]
    session.run(
        "pip-audit",
        *options,
        "--output",
        str(report),
        "-r",
        str(requirements),
        success_codes=[0, 1],
    )
    audited = json.loads(report.read_text(encoding="utf-8"))["dependencies"]
    vulnerable = {each["name"]: each["vulns"] for each in audited if each.get("vulns")}
    if vulnerable:
        session.error(json.dumps(vulnerable, indent=2))
    unknown = [each["name"] for each in audited if "skip_reason" in each]
    if len(unknown) == len(audited):
        # Behind a mirror that serves packages, but no advisories, nothing can be said.
        session.skip("no advisories can be had here: NOTHING WAS AUDITED")
    if unknown:
        session.warn(f"not audited: {', '.join(unknown)}")


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, and hold the coverage.

    Arguments are handed to pytest; with any, coverage is not held.
    """
    install(session, "test")
    data = {"COVERAGE_FILE": str(Path(session.create_tmp()).resolve() / "coverage")}
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    session.run("coverage", "erase", env=data)
    session.run("coverage", "run", "-m", "pytest", *PARALLEL, env=data)
    session.run("coverage", "combine", "--quiet", env=data)
    for room in ROOMS_HELD_TO_95:
        include = f"--include=onemcp/{room}/*"
        session.run("coverage", "report", include, "--fail-under=95", "--format=total", env=data)
    session.run("coverage", "report", "--fail-under=90", env=data)


@nox.session(python=["3.11", "3.12", "3.13"])
def versions(session: nox.Session) -> None:
    """Run the tests that need nothing but Python, on every supported version."""
    install(session, "test")
    session.run("pytest", "-m", "not interop and not conformance and not soak", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Kill backends at random under load, for ONEMCP_SOAK_SECONDS (an hour by default)."""
    install(session, "test")
    seconds = os.environ.get("ONEMCP_SOAK_SECONDS", "3600")
    unlimited = ("--timeout=0", "-o", "faulthandler_timeout=0")
    run = ("pytest", "-m", "soak", *unlimited, *session.posargs)
    session.run(*run, env={"ONEMCP_SOAK_SECONDS": seconds})


@nox.session
def speed(session: nox.Session) -> None:
    """Check that a call has not become dearer, beside a fixed baseline in the same run."""
    install(session, "test")
    session.run("python", "tests/bench/gate.py")


def test_built(session: nox.Session, variable: str, built: Path) -> None:
    """Run the tests of something that has been built; they are in `tests/executable`."""
    session.run("pytest", "-q", "tests/executable", env={variable: str(built)})


def need_binutils(session: nox.Session) -> None:
    """See that PyInstaller can take libraries apart; install what it needs where that may be."""
    if shutil.which("objdump") is None and shutil.which("apt-get") and os.geteuid() == 0:
        session.run("apt-get", "install", "--quiet", "--yes", "binutils", external=True)
    if shutil.which("objdump") is None:
        reason = "PyInstaller needs objdump and objcopy: install binutils"
        session.error(reason) if os.environ.get("CI") else session.skip(reason)


@nox.session
def executable(session: nox.Session) -> None:
    """Build dist/onemcp, one file that runs where there is no Python, and try it there."""
    need_binutils(session)
    install(session, "executable", "test")
    built = ROOT / "dist" / "onemcp"
    session.run("python", "configs/packaging/executable.py", str(built))
    test_built(session, "ONEMCP_BUILT_EXECUTABLE", built)


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel into dist, install it where nothing else is, and try it there."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "test"))
    folder = Path(session.create_tmp()).resolve()
    session.run("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), external=True)
    (built,) = folder.glob("*.whl")
    target = folder / "environment"
    session.run("uv", "venv", "--quiet", "--clear", str(target), external=True)
    python = str(target / "bin" / "python")
    session.run("uv", "pip", "install", "-q", "--python", python, str(built), external=True)
    test_built(session, "ONEMCP_BUILT_WHEEL", target / "bin" / "onemcp")
    (ROOT / "dist").mkdir(exist_ok=True)
    shutil.copy(built, ROOT / "dist")


@nox.session
def zipapp(session: nox.Session) -> None:
    """Build dist/onemcp.pyz, which unpacks itself where there is a Python like this one."""
    install(session, "zipapp", "test")
    built = ROOT / "dist" / "onemcp.pyz"
    built.parent.mkdir(exist_ok=True)
    options = ["--compressed", "--console-script", "onemcp", "--output-file", str(built)]
    session.run("shiv", "--quiet", *options, ".")
    test_built(session, "ONEMCP_BUILT_ZIPAPP", built)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure onemcp beside a direct call and other gateways; write docs/benchmarks.md.

    The other gateways are installed once, into environments of their own, which are kept.
    """
    install(session, "test")
    cache = session.cache_dir / "bench"
    # As pip does when it installs; uv doesn't, and the first start would take twice as long.
    compiled = ["onemcp", session.virtualenv.location]
    session.run("python", "-m", "compileall", "-q", *compiled, silent=True, success_codes=[0, 1])
    session.run("python", "tests/bench/run.py", "--cache", str(cache), *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Break things around onemcp, or another gateway; write docs/resilience.md."""
    install(session, "test")
    session.run("python", "-m", "tests.faults", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Look for bytes that do harm, for ONEMCP_FUZZ_SECONDS (a minute by default) a target.

    Arguments name targets, by default all of them. What is learned is kept for the next time.
    """
    install(session, "test", "fuzz")
    seconds = os.environ.get("ONEMCP_FUZZ_SECONDS", "60")
    listed = "from tests.fuzz.targets import TARGETS; print(*TARGETS)"
    for target in session.posargs or str(session.run("python", "-c", listed, silent=True)).split():
        corpus = ROOT / ".cache" / "fuzz" / target
        corpus.parent.mkdir(parents=True, exist_ok=True)
        bounds = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048"]
        found = f"-artifact_prefix={corpus}-"
        session.run("python", "-m", "tests.fuzz", target, str(corpus), *bounds, found)
