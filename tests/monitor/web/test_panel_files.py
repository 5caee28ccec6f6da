# SPDX-License-Identifier: MIT
"""The panel's files: served as they are, under a policy that they keep, with libraries nobody has changed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from heartfelt.monitor.web import panel
from tests.monitor.serving import Serving, run_command

FOLDER = Path(panel.__file__).parent
OWN = sorted(path for path in FOLDER.rglob("*.js") if "vendor" not in path.parts)


def names(paths):
    return [path.relative_to(FOLDER).as_posix() for path in paths]


def without_comments(text):
    return re.sub(r"/\*.*?\*/|(?<![:\"'`])//[^\n]*|<!--.*?-->", "", text, flags=re.S)


# -- what the files are


def faults_of(text):
    """Finds code that the policy would refuse, or that must not be there because senders' text is shown."""
    text = without_comments(text)
    wrong = {
        "another host": r"[\"'`(=](?:https?:)?//[\w.-]+\.",
        "inline style": r"<[^>]*\sstyle=[\"']",
        "inline handler": r"<[^>]*\son\w+=[\"']",
        "markup from text": r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|srcdoc",
        "code from text": r"\beval\(|new Function|setTimeout\(\s*[\"'`]|javascript:",
        "an attribute of its own making": r"setAttribute\([\"']style",
    }
    return [name for name, pattern in wrong.items() if re.search(pattern, text)]


@pytest.mark.parametrize("path", OWN, ids=names(OWN))
def test_a_module_keeps_the_policy_and_is_short(path):
    text = path.read_text(encoding="utf-8")
    assert faults_of(text) == []
    lines = text.splitlines()
    assert lines[0] == "// SPDX-License-Identifier: MIT"
    assert len(lines) <= 400
    for imported in re.findall(r'(?:from|import)\s*\(?\s*"([^"]+)"', text):
        assert imported.startswith(("./", "../")), imported
        file = (path.parent / imported).resolve()
        assert file.is_file() or file.relative_to(FOLDER).as_posix() in panel.MADE, imported


@pytest.mark.parametrize(
    "planted",
    [
        'box.innerHTML = name;', "html`<p style=\"color: red\">`", 'import x from "https://cdn.example/x.js"',
        "html`<a href='javascript:alert(1)'>`", "html`<img src=x onerror='alert(1)'>`", 'eval("1")',
        'fetch("//other.example/")',
    ],
)  # fmt: skip
def test_what_breaks_the_policy_is_found(planted):
    assert faults_of(f"const a = 1;\n{planted}\n")


def test_the_page_loads_only_what_is_there_and_nothing_inline():
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert faults_of(page) == []
    assert "<style" not in page
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert "/panel/app.js" in loaded
    for path in loaded:
        assert (FOLDER / path.removeprefix("/panel/")).is_file(), path
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.S) == [""]
    for sheet in (FOLDER / "style").glob("*.css"):
        assert f"/panel/style/{sheet.name}" in loaded
        assert not re.search(r"@import|url\(", sheet.read_text(encoding="utf-8"))


def test_the_libraries_are_those_that_the_readme_names():
    readme = (FOLDER / "vendor" / "README.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| (\S+) \|.*\| `([0-9a-f]{64})` \|$", readme.split("| file |")[1], re.M))
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (FOLDER / "vendor").iterdir()
        if path.name != "README.md"
    }
    assert found == told


# -- words


def words_of(path):
    """A file of words by name. One word a line."""
    text = path.read_text(encoding="utf-8")
    body = text.split("export default {", 1)[1].rsplit("};", 1)[0]
    found = {}
    for line in filter(None, (line.strip() for line in body.splitlines())):
        match = re.fullmatch(r"\"?(\w+)\"?: (.+),", line)
        assert match, f"{path}: one word a line, ending in a comma: {line}"
        assert match[1] not in found, f"{path}: {match[1]} is there twice"
        found[match[1]] = match[2]
    return found


WORDS = sorted(path.name for path in (FOLDER / "words" / "en").glob("*.js") if path.name != "index.js")


@pytest.mark.parametrize("name", WORDS)
def test_both_languages_have_the_same_words_and_values(name):
    english, chinese = (words_of(FOLDER / "words" / language / name) for language in ("en", "zh"))
    assert list(english) == list(chinese)
    for key, text in english.items():
        assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", chinese[key])), key


def test_every_word_that_is_used_is_there():
    known = {f"{name.removesuffix('.js')}.{key}" for name in WORDS for key in words_of(FOLDER / "words" / "en" / name)}
    for path in OWN:
        used = re.findall(r"\bt\(\"([\w.]+)\"", without_comments(path.read_text(encoding="utf-8")))
        assert set(used) <= known, path


def test_the_router_and_the_server_know_the_same_pages():
    router = (FOLDER / "lib" / "router.js").read_text(encoding="utf-8")
    routes = dict(re.findall(r'\["(/[\w/:]*)", "(\w+)"\]', router))
    assert {re.sub(r":(\w+)", r"{\1:int}", path) for path in routes} == set(panel.PAGES)


def test_no_module_asks_or_leads_past_the_base():
    for path in OWN:
        text = without_comments(path.read_text(encoding="utf-8"))
        for asked in re.findall(r"\bfetch\((\w*)", text):
            assert asked == "below", path
        if path.name not in ("router.js", "base.js"):
            assert not re.search(r"location\.(?:pathname|href|assign|replace)|history\.(?:push|replace)State", text), (
                path
            )


def test_the_page_names_its_files_below_the_base():
    page = panel.read_files(base="/heartfelt")["index.html"].body
    assert b'"/panel/' not in page
    assert page.replace(b'"/heartfelt/panel/', b'"/panel/') == panel.read_files()["index.html"].body


# -- how they are served


@pytest.fixture(scope="module")
def monitor(tmp_path_factory):
    one = Serving(data=tmp_path_factory.mktemp("panel") / "data")
    one.wait_ready()
    yield one
    one.end()


def test_pages_and_files_are_served_with_a_policy_and_kept(serve):
    monitor = serve()
    index = monitor.get("/")
    assert (index.status, index.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert index.headers["content-security-policy"] == panel.CSP
    assert index.headers["x-content-type-options"] == "nosniff"
    for path in ("/instances", "/instances/7", "/services", "/events", "/webhooks", "/tokens", "/settings"):
        assert monitor.get(path).body == index.body, path
    script = monitor.get("/panel/app.js")
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "no-cache"
    assert monitor.get("/panel/app.js", headers={"If-None-Match": f'"other", {script.headers["etag"]}'}).status == 304
    assert monitor.get("/panel/app.js", headers={"If-None-Match": '"other"'}).body == script.body
    assert "immutable" in monitor.get("/panel/vendor/htm-3.1.1.js").headers["cache-control"]
    assert monitor.request("POST", "/instances", {}).status == 405


def test_nothing_else_is_served(serve):
    monitor = serve()
    for name in ("nothing.js", "__init__.py", "../app.py", "%2e%2e/app.py", "vendor", "README.md", ""):
        answer = monitor.get(f"/panel/{name}")
        assert (answer.status, answer.json["code"]) == (404, "no_such_path"), name


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def test_an_unknown_path_is_a_page_for_browsers(monitor):
    index = monitor.get("/").body
    etag = monitor.get("/").headers["etag"]
    for path in ("/instancez", "/instances/", "/instances/seven", "/index.html", "/apiary", "/a/b/c?d=e", "//"):
        answer = monitor.get(path, headers={"Accept": BROWSER, "If-None-Match": etag})
        assert (answer.status, answer.body) == (404, index), path
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"] == panel.CSP
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers
    head = monitor.request("HEAD", "/instancez", headers={"Accept": "TEXT/HTML"})
    assert (head.status, head.headers["content-length"], head.body) == (404, str(len(index)), b"")


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        *((path, BROWSER) for path in (
            "/api", "/api/v1/none", "/api/v1/instances/", "/sermant", "/sermant/none", "/panel/", "/panel/none.js",
            "/metrics/none", "/healthz/", "/readyz/", "//api/v1/none",
        )),
        *(("/instancez", accept) for accept in (
            None, "", "*/*", "text/*", "application/json", "text/htmlx", "text/html;q=0", "text/html; level=1; q=0.00",
        )),
    ],
)  # fmt: skip
def test_an_unknown_path_is_a_problem_for_programs(monitor, path, accept):
    answer = monitor.get(path, headers={} if accept is None else {"Accept": accept})
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json["code"] == "no_such_path"


def test_what_changes_something_gets_no_page(monitor):
    for method in ("POST", "PUT", "DELETE"):
        answer = monitor.request(method, "/instancez", {}, headers={"Accept": BROWSER})
        assert (answer.status, answer.json["code"]) == (404, "no_such_path")


def test_the_page_needs_no_token_and_its_data_does(serve, tmp_path):
    run_command("token", "create", "any", "--scope", "admin", "--data", tmp_path / "data")
    monitor = serve(auth_require="always")
    assert monitor.get("/").status == 200
    assert monitor.get("/panel/app.js").status == 200
    assert monitor.get("/api/v1/fleet").status == 401
