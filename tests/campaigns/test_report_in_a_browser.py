"""The report of a run that anybody may have made, in a real browser: no script runs but ours, no request leaves.

`make campaigns` runs this where Chromium is installed (apt-get install chromium); the suite reads the page's text
(`tests/reporting/test_hostile_reports.py`).
"""

import http.server
import json
import shutil
import subprocess
import threading
from typing import ClassVar

import pytest
from hostile_runs import hostile_run
from processes import SECONDS

from phasecore.runs import write_report

pytestmark = pytest.mark.campaign


class Counting(http.server.BaseHTTPRequestHandler):
    requests: ClassVar[list[str]] = []

    def do_GET(self):
        self.requests.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


def dumped(page, folder):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert browser, "install chromium: apt-get install chromium"
    log = folder / "net.json"
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", f"--log-net-log={log}",
               f"--user-data-dir={folder / 'profile'}", "--disable-background-networking", "--dump-dom"]  # fmt: skip
    command = [browser, *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, log.read_text()


def test_a_page_that_is_open_to_all_would_be_noticed(tmp_path, server):
    page = tmp_path / "open.html"
    page.write_text(f"<title>sound</title><script>document.title='owned'</script><img src='{server}/seen'>")
    dom, log = dumped(page, tmp_path)
    assert "<title>owned" in dom
    assert "/seen" in Counting.requests
    assert "/seen" in log


def test_no_script_runs_and_no_request_leaves(tmp_path, server):
    Counting.requests.clear()
    run = hostile_run(tmp_path / "run", server)
    write_report([run, hostile_run(tmp_path / "<img src=x onerror=alert(1)>", server)], tmp_path / "report.html")
    dom, log = dumped(tmp_path / "report.html", tmp_path)
    assert "main-svg" in dom, "the figures are not drawn: the page forbids its own scripts"
    assert "<title>owned" not in dom
    assert "<a href" not in dom.partition("<body>")[2].replace('<a rel="tooltip"', "")
    assert Counting.requests == []
    events = json.loads(log if log.rstrip().endswith("}") else log.rstrip().rstrip(",") + "]}")["events"]
    asked = {event["params"]["url"] for event in events if "url" in event.get("params", {})}
    assert not [url for url in asked if server in url], asked
