# SPDX-License-Identifier: MIT
"""Reasons as sentences: each code in each language, with the arguments that it has, and the figures in them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("msgspec")
from heartfelt.monitor.reasons import (
    CODES,
    LANGUAGES,
    ArgKind,
    Reason,
    catalogue,
    codes,
    duration_text,
    english,
    figures,
    make,
    read,
    sentence,
    text_reason,
)
from heartfelt.monitor.reasons.reason import MOST_DEPTH, NO_REASON
from tests.monitor.reasons import lives

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text("utf-8"))
FILES = {name: json.loads((Path(catalogue.__file__).parent / f"{name}.json").read_text("utf-8")) for name in LANGUAGES}
PLACE = re.compile(r"\{(\w+)\}")
SAMPLES = {
    ArgKind.DURATION: 65_250,
    ArgKind.TIME: 1_763_812_800_000,
    ArgKind.COUNT: 12_345,
    ArgKind.INTEGER: 12_345,
    ArgKind.RATE: 2.5,
    ArgKind.SHARE: 0.5,
    ArgKind.TEXT: "<a name>",
    ArgKind.REASON: make("alive"),
}


def sample(code, *, whole=True):
    """A reason with all of its arguments, or with those alone that it must have."""
    return make(code, **{arg.name: SAMPLES[arg.kind] for arg in CODES[code] if whole or not arg.optional})


# -- the table and the files


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_code_has_a_sentence_with_exactly_its_arguments(language):
    templates = FILES[language]["reasons"]
    assert set(templates) == set(CODES)
    for code, args in CODES.items():
        places = PLACE.findall(templates[code])
        assert sorted(places) == sorted(arg.name for arg in args), code
        optional = [place for part in re.findall(r"\[.*?\]", templates[code]) for place in PLACE.findall(part)]
        assert sorted(optional) == sorted(arg.name for arg in args if arg.optional), code


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", [code for code in CODES if code])
def test_each_sentence_says_all_of_its_figures_and_nothing_else_of_the_template(language, code):
    said = {
        ArgKind.DURATION: duration_text(65_250, language), ArgKind.TIME: "2025-11-22 12:00:00Z",
        ArgKind.COUNT: "12,345",
        ArgKind.INTEGER: "12345", ArgKind.RATE: "2.5", ArgKind.SHARE: "50%", ArgKind.TEXT: "<a name>",
        ArgKind.REASON: sentence(make("alive"), language),
    }  # fmt: skip
    text = sentence(sample(code), language)
    for arg in CODES[code]:
        assert said[arg.kind] in text, arg.name
    short = sentence(sample(code, whole=False), language)
    for one in (text, short):
        assert one and not re.search(r"[][{}]|None", one)
    assert (short != text) == any(arg.optional for arg in CODES[code])


def test_the_monitor_makes_each_code():
    """None stands in the table unused. Those of jobs and of old rows come from elsewhere than the fleet."""
    made = {reason.code for reason in lives.parts(lives.lived())}
    assert set(CODES) - made == {"", "exit_status", "run_took", "silence"}


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("{nope}", "no argument 'nope'"),
        ("a [b", "cannot be read"),
        ("{stall_ms", "cannot be read"),
        ("[words]", "cannot"),
    ],
)
def test_a_template_that_cannot_be_is_refused(template, fault):
    with pytest.raises(ValueError, match=fault):
        catalogue._languages["en"]._parse("stalled", template)


# -- the vectors, which tests/browser/test_reasons.py holds the panel to


def test_durations():
    for ms, *words in VECTORS["durations"]:
        assert [duration_text(ms, language) for language in LANGUAGES] == words


@pytest.mark.parametrize("kind", ["count", "rate", "share"])
def test_numbers(kind):
    assert [[value, figures.FORMATS[kind](value)] for value, _ in VECTORS[f"{kind}s"]] == VECTORS[f"{kind}s"]


def test_times():
    assert [[ms, figures.utc(ms)] for ms, _ in VECTORS["times"]] == VECTORS["times"]
    assert figures.utc((1 << 63) - 1).endswith(("Z", "s after 1970"))


def test_sentences():
    for code, args, *words in VECTORS["sentences"]:
        reason = read(code, args)
        assert [sentence(reason, language) for language in LANGUAGES] == words


def test_what_does_not_fit_the_table_is_not_read():
    assert [one for one in VECTORS["refused"] if read(*one) is not None] == []
    assert read("stalled", {"stall_ms": 1 << 63}) is None
    assert read("silence", {"silent_ms": 1, "per_s": float("nan")}) is None


# -- the value


@pytest.mark.parametrize("code", CODES)
def test_what_is_made_can_be_read_again_from_json(code):
    for whole in (True, False):
        reason = sample(code, whole=whole)
        fields = json.loads(json.dumps(reason.fields()))
        assert read(fields["reason_code"], fields["reason_args"]) == reason
        assert hash(reason) == hash(read(reason.code, reason.args))


def test_made_of_other_names_it_is_refused():
    for code, args in (
        ("stalled", {}),
        ("stalled", {"ms": 1}),
        ("stalled", {"stall_ms": 1, "more": 2}),
        ("paused", {"x": 1}),
    ):
        with pytest.raises(TypeError, match=f"reason '{code}' takes"):
            make(code, **args)
    with pytest.raises(KeyError):
        make("nonsense")


def test_how_deep_reasons_are_nested_is_bounded():
    args = make("alive").args
    code = "alive"
    for _ in range(MOST_DEPTH - 1):
        code, args = "resumed", {"now": {"code": code, "args": args}}
    assert read(code, args) is not None
    assert read("resumed", {"now": {"code": code, "args": args}}) is None


def test_words_from_elsewhere_stay_as_they_are():
    assert english(text_reason("{peer}; [x]")) == "{peer}; [x]"
    assert text_reason("") == NO_REASON == Reason() and english(NO_REASON) == ""


def test_the_panel_gets_the_same_codes_and_words():
    text = catalogue.panel_module().decode()
    module = json.loads(text.split("export default ", 1)[1].rstrip().removesuffix(";"))
    assert module["words"] == FILES
    assert module["codes"] == {
        code: [[arg.name, arg.kind.value, arg.optional] for arg in args] for code, args in codes.CODES.items()
    }
