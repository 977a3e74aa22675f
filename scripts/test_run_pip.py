"""Tests of setup.py with the real pip, which fetches from a local folder or server. Run: python3 scripts/test_run_pip.py"""

import http.server
import os
import resource
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True

import run_pip
from test_setup import STAMPS, TAGS, TORCH, SetupTest

# Setup of the test's own packages, in a process of its own.
OTHER_PROCESS = """
import sys
from pathlib import Path
import setup
setup.platform.machine = lambda: "x86_64"
setup.REQUIREMENTS, setup.RUNTIMES = Path(sys.argv[1]), ("torch",)
sys.exit(setup.main(["--variant", "cpu"]))
"""


class Index(http.server.BaseHTTPRequestHandler):
    """A package index over the wheels of server.folder: pages of links at /simple/NAME/, wheels at /NAME.whl.

    server.faults has what it answers in the place of a "page", a "wheel" or a "tunnel" (what a proxy makes for HTTPS): a
    status, or a function that gets the handler and the body.
    """

    def do_GET(self):
        wheel = self.server.folder / Path(self.path).name
        if wheel.suffix == ".whl":
            return self.answer("wheel", wheel.read_bytes())
        package = Path(self.path).name.replace("-", "_")
        names = (path.name for path in self.server.folder.glob(f"{package}-*.whl"))
        return self.answer("page", "".join(f'<a href="/{name}">{name}</a>' for name in names).encode())

    def do_CONNECT(self):
        self.answer("tunnel", b"")

    def answer(self, what, body):
        fault = self.server.faults.get(what, 200)
        if callable(fault):
            fault(self, body)
            return
        self.send_response(fault)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


def hang_up(request, body):
    """Announce a body, and close the connection in its middle."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[: len(body) // 2])


class WithPip(SetupTest):
    def start(self):
        """Setup in another process."""
        return subprocess.Popen(
            [sys.executable, "-B", "-c", OTHER_PROCESS, self.requirements],
            cwd=Path(run_pip.__file__).parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


class FromFolder(WithPip):
    def test_an_interrupted_download_keeps_the_complete_wheels(self):
        start_pip, starts = subprocess.Popen, []

        def start_once(*arguments, **named):
            starts.append(arguments)
            if len(starts) == 2:
                raise KeyboardInterrupt
            return start_pip(*arguments, **named)

        with mock.patch.object(subprocess, "Popen", start_once):
            self.assertEqual(self.run_setup()[0], 130)
        out = self.succeed()
        self.assertRegex(out, r"torch 2\.0 +already downloaded")
        self.assertRegex(out, r"nvidia-math 1\.0 +download")
        self.assertEqual(self.torch_files(), self.CPU_TORCH)

    def test_a_truncated_wheel_is_fetched_again(self):
        wheels = self.runtime / ".wheels"
        wheels.mkdir(parents=True)
        (wheels / f"torch-2.0-{TAGS['torch']}.whl").write_bytes(b"PK")
        self.assertRegex(self.succeed(), r"torch 2\.0 +download")
        self.assertEqual(self.torch_files(), self.CPU_TORCH)

    def test_a_failed_switch_keeps_the_old_set(self):
        self.succeed("cpu")
        before = self.files()
        self.require("cuda", "torch==9.9 --hash=sha256:" + "0" * 64)
        self.refused(r"torch 9\.9: the package index has no such wheel for this platform(; from versions: 2\.0)? \(", "cuda")
        self.assertEqual(self.files(), before)

    def test_hash_mismatch(self):
        self.wheel("torch", "2.0", {**TORCH, "torch/lib/libtorch_cpu.so": "tampered"})
        self.refused("^error: torch 2.0: torch==2.0 does not have the pinned hash, and was thrown away")
        self.assertEqual(self.files(), [])
        self.assertEqual([path for path in self.runtime.glob(".wheels/*") if path.is_file()], [])

    def test_two_at_once_leave_one_whole_set(self):
        both = [self.start() for _ in range(2)]
        self.assertEqual([process.communicate(timeout=60)[1] for process in both], ["", ""])
        self.assertEqual([process.returncode for process in both], [0, 0])
        self.assertEqual(self.torch_files(), self.CPU_TORCH)
        self.assertEqual(sorted(os.listdir(self.runtime / ".stamps")), STAMPS)


PROXIES = [name for kind in ("http", "https", "all") for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY")] + ["no_proxy"]


class FromServer(WithPip):
    def setUp(self):
        super().setUp()
        self.server = self.serve()
        environment = {
            "PIP_FIND_LINKS": "",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"http://localhost:{self.server.server_port}/simple",
            "PIP_RETRIES": "0",
            "PIP_PROGRESS_BAR": "off",
            "PIP_RESUME_RETRIES": "0",
            "NO_PROXY": "localhost",
        }
        self.enterContext(mock.patch.dict(os.environ, environment))
        for variable in ("PIP_NO_INDEX", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", *PROXIES):
            os.environ.pop(variable, None)

    def serve(self, certificate=None):
        server = http.server.ThreadingHTTPServer(("localhost", 0), Index)
        server.daemon_threads, server.folder, server.faults = True, self.index, {}
        # A client that hangs up is no news.
        server.handle_error = lambda *client: None
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def fail_at(self, what, fault, expected):
        self.server.faults = {what: fault}
        self.refused(rf"^error: torch 2\.0: {expected} \(pip's log: {self.runtime}/.pip.log\)\n$")
        self.assertEqual(self.files(), [])
        self.server.faults = {}

    def test_an_answer_that_is_no_index_is_said_with_its_status_and_the_next_one_completes(self):
        page, wheel = (rf"http://localhost:\d+/{path}" for path in ("simple/torch/", r"torch-2\.0-\S+\.whl"))
        check = r"; check the address of the package index and its credentials \(`pip config list`\)"
        for fault, reason, remedy in (
            (401, r"(401 Client Error: Unauthorized|User for \S+)", check),
            (403, "403 Client Error: Forbidden", check),
            (404, "404 Client Error: Not Found", check),
            (500, ".*500.*", "; the package index is in trouble: run this again later"),
        ):
            with self.subTest(fault=fault):
                self.fail_at("page", fault, f"{page}: {reason}{remedy}")
        self.fail_at("wheel", 403, f"{wheel}: 403 Client Error: Forbidden{check}")
        sign_in = lambda request, body: Index.answer(request, None, b"<html>Sign in to the hotel's network</html>")
        self.fail_at("page", sign_in, "the package index has no such wheel for this platform(; from versions: none)?")
        self.succeed()
        self.assertFalse((self.runtime / ".pip.log").exists())

    def test_a_wheel_that_ends_too_early_is_never_taken_for_one(self):
        self.fail_at("wheel", hang_up, "(torch==2.0 does not have the pinned hash, .*cut short.*|.*ended too early; check the network.*)")
        self.assertEqual([path.name for path in self.runtime.glob(".wheels/*.whl")], [])
        self.succeed()
        self.assertEqual(self.torch_files(), self.CPU_TORCH)

    def test_a_full_disk(self):
        self.require("cpu", self.wheel("torch", "2.0", {"torch/random": os.urandom(300_000).hex()}))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        try:
            self.refused("^error: torch 2.0: .*File too large.*; make room, or name another folder with LLAMA2_BENCH_RUNTIME")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        self.assertEqual(self.files(), [])

    def test_an_index_that_says_nothing(self):
        released = threading.Event()
        self.addCleanup(released.set)
        with mock.patch.dict(os.environ, {"PIP_DEFAULT_TIMEOUT": "0.3"}):
            self.fail_at(
                "page", lambda request, body: released.wait(60), r".*(Read timed out|respond).*; check the network, and run this again"
            )

    def test_an_index_that_is_not_there(self):
        for url, reason in (
            ("http://localhost:9/", "Connection refused"),
            ("https://no-such-host.invalid/", "no-such-host.invalid.*(not known|resol|failure)"),
        ):
            with mock.patch.dict(os.environ, {"PIP_INDEX_URL": url}):
                self.refused(f"^error: torch 2.0: .*{reason}.*; check the network, and run this again")

    def test_an_index_that_pip_does_not_trust(self):
        with mock.patch.dict(os.environ, {"PIP_INDEX_URL": "http://index.invalid/"}):
            self.refused("torch 2.0: the package index has no such wheel .*index.invalid is not a trusted or secure host")

    def test_a_proxy_that_wants_a_password(self):
        self.server.faults = {"tunnel": 407}
        proxy = {"PIP_INDEX_URL": "https://index.invalid/", "HTTPS_PROXY": f"http://localhost:{self.server.server_port}"}
        with mock.patch.dict(os.environ, proxy):
            self.refused(
                "torch 2.0: https://index.invalid/torch/: .*407 Proxy Authentication Required.*; check the proxy and its credentials"
            )

    @unittest.skipUnless(shutil.which("openssl"), "openssl makes the certificate")
    def test_a_certificate_that_is_not_trusted_is_said_and_the_remedy_helps(self):
        words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        certificate = self.top / "proxy.pem"
        subprocess.run(
            ["openssl", *words.split(), "-keyout", certificate, "-out", self.top / "certificate.pem"], check=True, capture_output=True
        )
        with open(certificate, "a") as file:
            file.write((self.top / "certificate.pem").read_text())
        url = f"https://localhost:{self.serve(certificate).server_port}/simple"
        with mock.patch.dict(os.environ, {"PIP_INDEX_URL": url}):
            failed = "certificate verify failed: self.signed certificate"
            self.refused(f"torch 2.0: {url}/torch/: .*{failed}.*; if a proxy inspects TLS here, .* PIP_CERT=")
            os.environ["PIP_CERT"] = str(certificate)
            self.succeed()

    def test_a_pip_that_outlives_a_killed_setup_is_waited_for(self):
        asked, released = threading.Event(), threading.Event()
        self.addCleanup(released.set)

        def wait(request, body):
            asked.set()
            released.wait(60)
            Index.answer(request, None, body)

        self.server.faults = {"wheel": wait}
        first = self.start()
        self.assertTrue(asked.wait(60))
        first.send_signal(signal.SIGKILL)
        first.wait()
        first.stdout.close()
        first.stderr.close()
        with self.start() as second:
            lines = iter(second.stdout.readline, "")
            self.assertIn("waiting for another setup of this folder to end\n", lines)
            released.set()
            self.assertEqual((second.communicate(timeout=60)[1], second.returncode), ("", 0))
        self.assertEqual(self.torch_files(), self.CPU_TORCH)


class Why(unittest.TestCase):
    """What pip's versions say, shortened."""

    def test_the_reason_of_each_version_of_pip(self):
        none = "ERROR: No matching distribution found for torch==2.0\n"
        for said, reason in (
            (
                "2026-11-30T00:27:25,222 Could not fetch URL https://i/torch/: There was a problem confirming the ssl certificate: "
                "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1020) - skipping\n" + none,
                "https://i/torch/: There was a problem .* certificate verify failed: .*; if a proxy inspects TLS here",
            ),
            (
                "Could not fetch URL https://i/torch/: connection error: HTTPSConnectionPool(host='i', port=443): Max retries exceeded "
                "with url: /torch/ (Caused by NewConnectionError('<pip._vendor.C object at 0x7f>: Failed to establish a new "
                "connection: [Errno -2] Name or service not known')) - skipping\n" + none,
                r"https://i/torch/: NewConnectionError\('Failed to .* not known'\); check the network",
            ),
            (
                (
                    "2026-11-30T00:27:13,642 ERROR: Exception:\nTimeoutError: timed out\n"
                    "2026-11-30T00:27:13,642 pip._vendor.urllib3.exceptions.ReadTimeoutError: Pool: Read timed out.\n"
                ),
                r"ReadTimeoutError: Pool: Read timed out\.; check the network",
            ),
            ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n", ".*No space left.*; make room"),
            (
                "Could not fetch URL https://other/torch/: 404 - skipping\nERROR: Failed to build llama-cpp-python\n",
                "Failed to build llama",
            ),
            ("/usr/bin/python3: No module named pip\n", "$"),
        ):
            with self.subTest(said=said):
                self.assertRegex(run_pip.why(said), f"^{reason}")


if __name__ == "__main__":
    unittest.main()
