"""Starts the scripted provider and two servers, runs every client suite against them, ends them.

One server is open, the other asks for a password. Whatever happens, every process that was started
is ended by its id and every directory is removed; when something failed, the end of the servers'
logs is shown. The last line printed is `N passed, N failed`.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import xml.etree.ElementTree as ElementTree

PASSWORD = "correct horse"
READY_SECONDS = 20
PYTHONS = ["1.12.1", "0.1.324"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Rig:
    def __init__(self, root, binary):
        self.clients = pathlib.Path(__file__).resolve().parent
        target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
        self.environments = target / "clients"
        self.binary = binary or target / "debug" / "retold"
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="retold-clients-"))
        self.started = []
        self.logs = []

    def start(self, arguments, **options):
        process = subprocess.Popen(arguments, **options)
        self.started.append(process)
        return process

    def start_upstream(self):
        """Answers the address of the scripted provider, without a path."""
        process = self.start(
            [sys.executable, self.clients / "upstream.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return f"http://127.0.0.1:{int(process.stdout.readline())}"

    def start_server(self, name, upstream, extra):
        """Answers the address of a server that says it is healthy."""
        port = free_port()
        home = self.scratch / name
        home.mkdir()
        # Nothing of the caller's own configuration may reach the server.
        environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
        # The suites are called back on loopback, where a server calls nobody unless it is told so.
        environment |= {"RETOLD_EGRESS_ALLOW": "127.0.0.1"}
        environment |= {"OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": f"{upstream}/v1", **extra}
        log = self.scratch / f"{name}.log"
        self.logs.append(log)
        arguments = [self.binary, "serve", "--port", str(port), "--data-dir", home / "data"]
        with log.open("wb") as output:
            process = self.start(
                arguments,
                env=environment,
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + READY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{url}/v1/health/", timeout=1) as answer:
                    if answer.status == 200:
                        return url
            except OSError:
                pass
            if process.poll() is not None:
                raise RuntimeError(f"{name}: the server ended with code {process.returncode}")
            if time.monotonic() > until:
                raise RuntimeError(f"{name}: the server is not healthy after {READY_SECONDS} s")
            time.sleep(0.02)

    def suites(self):
        """(name, arguments, report) of every suite; each writes a JUnit report."""
        for version in PYTHONS:
            report = self.scratch / f"python-{version}.xml"
            folder = self.clients / f"letta_client_{version.split('.')[0]}"
            python = self.environments / f"python-{version}" / "bin" / "python"
            arguments = [python, "-m", "pytest", folder, "-q", "--tb=short"]
            arguments += ["-p", "no:cacheprovider", "--rootdir", self.clients]
            arguments += ["--import-mode=importlib", "--durations=5"]
            yield f"python {version}", [*arguments, f"--junitxml={report}"], report
        report = self.scratch / "npm.xml"
        tests = sorted((self.clients / "npm").glob("*.test.mjs"))
        arguments = ["node", "--test", "--test-concurrency=1"]
        arguments += ["--test-reporter=spec", "--test-reporter-destination=stdout"]
        arguments += ["--test-reporter=junit", f"--test-reporter-destination={report}"]
        yield "npm 1.12.1", [*arguments, *tests], report

    def run(self, only, expression):
        upstream = self.start_upstream()
        # Both names, as a configuration made for the reference server has them.
        secure = {"LETTA_SERVER_PASSWORD": PASSWORD, "LETTA_SERVER_SECURE": "true"}
        # There MCP servers may be programs, in the words of the reference server.
        secure |= {"MCP_DISABLE_STDIO": "false"}
        environment = {
            **os.environ,
            "RETOLD_URL": self.start_server("open", upstream, {}),
            "RETOLD_SECURE_URL": self.start_server("secure", upstream, secure),
            "RETOLD_PASSWORD": PASSWORD,
            "RETOLD_BINARY": str(self.binary.resolve()),
            "UPSTREAM_URL": upstream,
            "CLIENTS_NODE": str(self.environments / "npm"),
            "PYTHONPATH": str(self.clients),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        passed = failed = 0
        for name, arguments, report in self.suites():
            if only and only not in name:
                continue
            print(f"\n=== {name}", flush=True)
            if expression and name.startswith("python"):
                arguments += ["-k", expression]
            started = time.monotonic()
            code = subprocess.run(arguments, env=environment).returncode
            good, bad = count(report)
            # A suite that ended badly without a failing test, or ran none, has failed as a whole.
            if bad == 0 and (code != 0 or good == 0):
                bad = 1
            print(f"=== {name}: {good} passed, {bad} failed, {time.monotonic() - started:.1f} s")
            passed, failed = passed + good, failed + bad
        if not only or only in "readme":
            good, bad = self.readme(environment)
            passed, failed = passed + good, failed + bad
        return passed, failed

    def readme(self, environment):
        """Runs the README's blocks in Python and JavaScript, with only the port replaced."""
        address = environment["RETOLD_URL"].removeprefix("http://")
        path = self.clients.parents[1] / "README.md"
        if not path.exists():
            print("=== there is no README.md")
            return 0, 1
        found = re.findall(r"^```(python|js)\n(.*?)^```$", path.read_text(), re.M | re.S)
        passed = failed = 0
        for number, (language, code) in enumerate(found, 1):
            for shown in ("localhost:8283", "127.0.0.1:8283"):
                code = code.replace(shown, address)
            # A module finds the npm packages of the folder that it lies in.
            name = self.environments / "npm" / f"readme-{number}.mjs"
            program = "node"
            if language == "python":
                name = self.scratch / f"readme-{number}.py"
                program = self.environments / f"python-{PYTHONS[0]}" / "bin" / "python"
            name.write_text(code)
            code = subprocess.run([program, name], env=environment, timeout=120).returncode
            name.unlink()
            print(f"=== readme block {number} ({language}): {'passed' if code == 0 else 'FAILED'}")
            passed, failed = passed + (code == 0), failed + (code != 0)
        return passed, failed

    def end(self):
        for process in reversed(self.started):
            if process.poll() is None:
                process.terminate()
        for process in reversed(self.started):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                print(f"process {process.pid} had to be killed", flush=True)
                process.kill()
                process.wait()

    def show_logs(self):
        for log in self.logs:
            print(f"--- the end of {log.name}")
            print("\n".join(log.read_text(errors="replace").splitlines()[-60:]))


def count(report):
    """(passed, failed) of a JUnit report. A skipped test counts as failed: nothing here may skip."""
    if not report.exists():
        return 0, 0
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    bad = sum(any(c.tag in ("failure", "error", "skipped") for c in case) for case in cases)
    return len(cases) - bad, bad


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary", nargs="?", type=pathlib.Path)
    arguments.add_argument("--root", type=pathlib.Path, required=True)
    arguments.add_argument("--only", help="run the suites whose name holds this")
    arguments.add_argument("-k", help="run the Python tests that match this expression")
    given = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rig = Rig(given.root, given.binary and given.binary.resolve())
    passed, failed = 0, 1
    try:
        passed, failed = rig.run(given.only, given.k)
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        print(f"the clients could not be run: {error}", flush=True)
    finally:
        rig.end()
        if failed:
            rig.show_logs()
        shutil.rmtree(rig.scratch, ignore_errors=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
