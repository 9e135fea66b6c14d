"""The text of a report on a run with injected markup in every field; `make campaigns` opens it in a browser."""

import re
from html.parser import HTMLParser

from hostile_runs import hostile_run

from phasecore.runs import write_report


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_no_tag_but_our_own_is_there_and_scripts_carry_the_page_s_number(tmp_path):
    write_report([hostile_run(tmp_path / "run")], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    tags = Tags(text).tags
    (policy,) = [own["content"] for tag, own in tags if tag == "meta" and own.get("http-equiv")]
    assert "default-src 'none'" in policy
    (number,) = re.findall(r"script-src 'nonce-([0-9a-f]{64})'", policy)
    scripts = [own for tag, own in tags if tag == "script"]
    assert len(scripts) >= 3
    assert all(own.get("nonce") == number for own in scripts)
    assert {tag for tag, _ in tags} & {"img", "svg", "iframe", "link", "a", "image", "object", "form"} == set()
    attributes = {name for _, own in tags for name in own}
    assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "srcdoc")]
    # what plotly draws, it draws as text
    drawn = "".join(re.findall(r"Plotly\.newPlot\((.*?)\)\s*\}", text, re.DOTALL))
    assert drawn
    assert "\\u003c" not in drawn.replace("\\u003cextra\\u003e", "").replace("\\u003c\\u002fextra\\u003e", "")
    assert "&lt;" in drawn or "\\u0026lt;" in drawn
