"""Scores over HTTP: the numbers of `evaluate`, in any company, whatever else is asked, and while versions change."""

import asyncio
import contextlib
import http.client
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import jsonschema
import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.serving.bodies import INSIDE, JSON, Asked, fuzzed
from pipeline.adapters import approvals, files, model_folder, registry, tracking, verification
from pipeline.adapters.serving import answers, app, current, examples, reading, server, together
from pipeline.errors import ParamsError, RegistryError
from pipeline.paths import Workspace
from tests.nested_leads import nested

pytestmark = pytest.mark.slow

NOW = datetime(2026, 1, 31, 12, 0, 0, 7, tzinfo=UTC)
LIMITS = app.Limits(body=500_000, leads=60, check_s=0.05)
NUMBERS = ["score", "probability", "interval_low", "interval_high", "base", "fit_points", "engagement_points"]


# A server in a thread, and who asks it


class Shelf:
    """Versions in folders; `now` is the one that should answer."""

    def __init__(self, folders):
        self.folders, self.now = folders, 1

    def named(self):
        return self.now, str(self.folders[self.now])

    def load(self, number):
        return model_folder.load(self.folders[number])


@contextlib.contextmanager
def answering(answers_with, limits=LIMITS, log=None):
    """The app on a free port; gives its address as host and port."""
    listening = server.listen("127.0.0.1", 0)
    address = listening.getsockname()[:2]
    made = app.make(
        answers_with,
        limits,
        address=server.address(listening),
        log=log or logging.getLogger("tests.serving"),
        clock=lambda: NOW,
    )
    running = server.server(made)
    thread = threading.Thread(target=running.run, args=([listening],))
    thread.start()
    try:
        yield address
    finally:
        running.should_exit = True
        thread.join(timeout=30)


def ask(address, asked):
    """Status, headers and body of the answer to one request on a connection of its own."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    try:
        connection.request(asked.method, asked.path, asked.body, asked.headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def post(address, path, document):
    status, _, body = ask(address, Asked("POST", path, json.dumps(document).encode()))
    return status, json.loads(body)


@pytest.fixture(scope="module")
def expected(demo_run):
    """What `evaluate` holds for sixty rows of the test window."""
    scores = pd.read_parquet(demo_run / "data/evaluate/scores.parquet")
    return scores.sample(LIMITS.leads, random_state=7).reset_index(drop=True)


@pytest.fixture(scope="module")
def leads(demo_run, expected):
    return nested(demo_run, expected[["lead_id", "as_of"]])


@pytest.fixture(scope="module")
def folders(demo_run, tmp_path_factory):
    """The scorer of the run, and one whose level is higher."""
    first = demo_run / "data/calibrate/scorer"
    scorer = model_folder.load(first)
    second = tmp_path_factory.mktemp("second") / "scorer"
    second.mkdir()
    model_folder.write(
        second,
        spec=scorer.spec,
        margin=scorer.margin,
        level=scorer.level + 0.5,
        calibration=scorer.calibration,
        interval=scorer.interval,
        tiers=scorer.tiers,
        grades=scorer.grades,
        deal_values=scorer.deal_values,
    )
    return {1: first, 2: second}


@pytest.fixture(scope="module")
def scorer(folders):
    return model_folder.load(folders[1])


@pytest.fixture(scope="module")
def address(folders):
    """A server that answers with the scorer of the run."""
    with answering(current.Current(Shelf(folders), logging.getLogger("tests.serving"))) as found:
        yield found


# The numbers


def test_scores_are_those_of_evaluate(address, leads, expected, scorer):
    status, answer = post(address, "/score/batch", {"leads": leads})
    assert (status, answer["model_version"], answer["version"]) == (200, scorer.version, 1)
    got = pd.DataFrame(answer["results"])
    for name in NUMBERS:
        np.testing.assert_allclose(got[name].astype("float64"), expected[name], atol=1e-9, rtol=0)
    for name in ("lead_id", "tier", "grade", "model_version"):
        assert got[name].tolist() == expected[name].tolist()
    assert got["reasons"].tolist() == [json.loads(text) for text in expected["reasons"]]
    assert got["flags"].tolist() == [text.split(";") if text else [] for text in expected["flags"]]
    assert got["refused"].isna().all()
    assert pd.to_datetime(got["as_of"]).dt.tz_localize(None).tolist() == expected["as_of"].tolist()
    assert set(got["as_of_from"]) == {"request"}
    for k, result in enumerate(answer["results"]):
        assert round(result["base"] + sum(reason["points"] for reason in result["reasons"]), 1) == result["score"], k


def test_one_lead_gets_what_it_gets_among_many(address, leads):
    alone = [post(address, "/score", {"lead": lead})[1]["result"] for lead in leads[:3]]
    assert post(address, "/score/batch", {"leads": leads[:3]})[1]["results"] == alone
    with ThreadPoolExecutor(30) as pool:
        at_once = list(pool.map(lambda lead: post(address, "/score", {"lead": lead})[1]["result"], leads[:30]))
    assert at_once == post(address, "/score/batch", {"leads": leads[:30]})[1]["results"]


ODD = [
    {"employees": True},
    {"employees": 1},
    {"employees": "many"},
    {"budget_confirmed": True},
    {"budget_confirmed": 0},
    {"as_of": "9999-12-31"},
    {"as_of": "2024-09-21T00:00:00.123456789Z"},
    {"as_of": 20241121},
    {"as_of": "2024-09-21T02:00:00+02:00"},
    {"lead_id": None},
    {"email": "someone@example.com", "has_work_email": None},
    {"activities": [{"kind": None, "happened_at": "2024-01-01T00:00:00.000000001"}, {}]},
    {"changes": [{"column": "employees", "recorded_at": "2024-09-01", "old_value": True, "new_value": 1}]},
]


def test_odd_company_changes_no_answer(scorer, leads):
    """The scorer reads a column at once: true beside 1, or nanoseconds beside the year 9999, must not meet in one."""
    form = reading.Form.of(scorer.spec)
    asked = [reading.leads({"lead": lead | odd}, "lead", form, "", 1) for lead, odd in zip(leads, ODD, strict=False)]
    asked += [reading.leads({"lead": lead}, "lead", form, "", 1) for lead in leads[len(ODD) : len(ODD) + 1]]
    alone = [answers.told(scorer.predict(pd.DataFrame(one.leads, dtype=object))) for one in asked]
    assert [one.apart for one in asked].count(True) == 2

    async def at_once():
        scoring = together.Together()
        work = asyncio.create_task(scoring.run())
        found = await asyncio.gather(*(scoring.score(scorer, one.leads, apart=one.apart) for one in asked))
        work.cancel()
        return found

    for odd, left, right in zip([*ODD, {}], alone, asyncio.run(at_once()), strict=True):
        assert left == right, odd


def test_a_lead_that_cannot_be_scored_comes_back_with_the_reason(address, leads):
    bad = [leads[0] | {"as_of": "1999-01-01"}, leads[1], leads[2] | {"employees": "many"}, leads[3] | {"lead_id": None}]
    status, answer = post(address, "/score/batch", {"leads": bad})
    assert status == 200
    assert [result["refused"] for result in answer["results"]] == [
        "as_of is before created_at",
        None,
        "employees is not a number",
        "lead_id is missing",
    ]
    first = answer["results"][0]
    assert (first["score"], first["probability"], first["tier"], first["reasons"]) == (None, None, None, [])
    assert answer["results"][3]["lead_id"] is None


def test_a_lead_without_as_of_is_scored_now_and_says_so(address, leads):
    undated = {name: value for name, value in leads[0].items() if name not in ("as_of", "converted_at")}
    _, answer = post(address, "/score", {"lead": undated | {"campaing": "x"}})
    assert (answer["result"]["as_of"], answer["result"]["as_of_from"]) == ("2026-01-31T12:00:00Z", "clock")
    assert "campaing" in answer["unread"]
    dated = undated | {"as_of": "2026-01-31T12:00:00"}
    assert post(address, "/score", {"lead": dated})[1]["result"] == answer["result"] | {"as_of_from": "request"}


def test_no_leads_get_no_scores(address):
    assert post(address, "/score/batch", {"leads": []})[1]["results"] == []


# Scoring together


class Counting:
    """A scorer that answers with what it was given, and fails on a poisoned lead."""

    version = "counting"

    def __init__(self):
        self.calls = []

    def predict(self, frame):
        self.calls.append(frame["n"].tolist())
        if (frame["n"] < 0).any():
            raise ValueError("a lead's value")
        time.sleep(0.001)
        return pd.DataFrame({"n": frame["n"].astype(object)})


REQUEST = st.tuples(st.integers(0, 40), st.booleans(), st.booleans())


@settings(max_examples=25)
@given(requests=st.lists(REQUEST, min_size=1, max_size=12))
def test_every_request_gets_its_own_answers_in_order(requests):
    """Sizes, which are apart, and which hold a lead that the scorer fails on: only those fail."""
    counting = Counting()

    async def at_once():
        scoring = together.Together()
        work = asyncio.create_task(scoring.run())
        jobs = []
        for k, (size, apart, poisoned) in enumerate(requests):
            rows = [{"n": 1000 * k + i} for i in range(size)] + [{"n": -1}] * poisoned
            jobs.append(scoring.score(counting, rows, apart=apart))
        found = await asyncio.gather(*jobs, return_exceptions=True)
        work.cancel()
        return found

    for k, ((size, _, poisoned), found) in enumerate(zip(requests, asyncio.run(at_once()), strict=True)):
        if poisoned:
            assert isinstance(found, ValueError)
        else:
            assert found == [{"n": 1000 * k + i} for i in range(size)]
    for call in counting.calls:
        owners = {n // 1000 for n in call if n >= 0}
        assert len(owners) == 1 or not any(requests[k][1] for k in owners)


def test_a_large_request_does_not_hold_up_a_small_one(monkeypatch):
    monkeypatch.setattr(together, "MOST_ROWS", 10)
    counting = Counting()

    async def both():
        scoring = together.Together()
        work = asyncio.create_task(scoring.run())
        large = asyncio.create_task(scoring.score(counting, [{"n": n} for n in range(100)], apart=False))
        await asyncio.sleep(0)
        small = await scoring.score(counting, [{"n": 1000}], apart=False)
        assert not large.done()
        assert len(await large) == 100
        work.cancel()
        return small

    assert asyncio.run(both()) == [{"n": 1000}]
    assert max(map(len, counting.calls)) == 10
    assert 1000 in counting.calls[0] + counting.calls[1]


def test_those_who_wait_share_a_call():
    counting = Counting()

    async def at_once():
        scoring = together.Together()
        work = asyncio.create_task(scoring.run())
        await asyncio.gather(*(scoring.score(counting, [{"n": n}], apart=False) for n in range(50)))
        work.cancel()

    asyncio.run(at_once())
    assert len(counting.calls) == 1


# What a request may hold

SPEC = {
    "facts": [{"name": "has_phone", "column": "phone", "fact": "present"}],
    "profile": [
        {"name": "size", "source": "Size", "declared": {"type": "number"}},
        {"name": "has_phone", "source": "has_phone", "declared": {"type": "boolean"}},
    ],
    "names": {"Size": "size", "id": "lead_id"},
    "kinds": [{"name": "call"}],
    "tracked": [],
    "checks": [{"name": "size", "type": "number"}],
}
FORM = reading.Form.of(SPEC)
SOUND = {"lead_id": "a", "created_at": "2026-01-01", "size": 5, "activities": []}


def test_the_form_of_a_scorer():
    assert FORM.needed == ("lead_id", "created_at", "size", "activities")
    assert FORM.spellings["size"] == {"size", "Size"}
    assert {"phone", "has_phone", "converted_at", "changes", "id"} <= FORM.read
    assert FORM.times == {"created_at", "as_of", "converted_at", "lost_at"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": NaN}', "NaN and Infinity"),
        (b'{"a": -Infinity}', "NaN and Infinity"),
        (b'{"a": 1, "a": 2}', "a key stands twice"),
        (b'{"a": 1} x', "line 1, column 10"),
        (b'{"a": "\xff"}', "not UTF-8, from byte 7 on"),
        (b'\xef\xbb\xbf{"a": 1}', "line 1, column 1"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"1" * 5000, "thousands of digits"),
        (b"01", "line 1, column 2"),
        (b"{'a': 1}", "line 1, column 2"),
    ],
)
def test_what_is_not_json_is_refused(body, said):
    with pytest.raises(reading.Refusal, match=said) as refusal:
        reading.document(body)
    assert refusal.value.status == 400


def test_json_is_read_exactly():
    text = '{"a": [1, 1.5, 9007199254740993, 0.1, "\\ud83d\\ude00", "\\u0000", null, true]}'
    assert reading.document(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], 'one key "lead"'),
        ({}, 'one key "lead"'),
        ({"lead": SOUND, "x": 1}, 'one key "lead"'),
        ({"leads": [SOUND]}, 'one key "lead"'),
        ({"lead": [SOUND]}, "lead is not an object"),
        ({"lead": {}}, "lead lacks lead_id, created_at, size, activities"),
        ({"lead": SOUND | {"size": [1]}}, "lead.size is neither text"),
        ({"lead": SOUND | {"size": 2**63}}, "lead.size is a whole number beyond 64 bits"),
        ({"lead": SOUND | {"size": float("inf")}}, "lead.size is a number beyond"),
        ({"lead": SOUND | {"lead_id": True}}, "lead.lead_id is neither text nor a number"),
        ({"lead": SOUND | {"activities": {}}}, "lead.activities is not a list of objects"),
        ({"lead": SOUND | {"activities": [1]}}, "lead.activities is not a list of objects"),
        ({"lead": SOUND | {"activities": [{}, {"kind": {}}]}}, r"lead.activities\[1\].kind is neither"),
    ],
)
def test_what_holds_no_lead_is_refused(document, said):
    with pytest.raises(reading.Refusal, match=said) as refusal:
        reading.leads(document, "lead", FORM, "now", 2)
    assert refusal.value.status == 422


def test_the_place_of_a_fault_is_named_and_never_the_value():
    with pytest.raises(reading.Refusal) as refusal:
        reading.leads({"leads": [SOUND, SOUND | {"size": {"secret": 1}, "secret": 2}]}, "leads", FORM, "now", 2)
    assert refusal.value.sentence == "leads[1].size is neither text, number, true, false nor null."


def test_too_many_leads_or_sets_of_columns_are_refused():
    with pytest.raises(reading.Refusal, match="3 leads are more than the 2") as refusal:
        reading.leads({"leads": [SOUND] * 3}, "leads", FORM, "now", 2)
    assert refusal.value.status == 413
    optional = ["phone", "has_phone", "changes", "Size", "id"]
    shapes = [SOUND | dict.fromkeys(optional[:k] + optional[k + 2 :]) for k in range(5)]
    assert len(reading.leads({"leads": shapes}, "leads", FORM, "now", 9).leads) == 5
    shapes = [
        SOUND | {name: None for i, name in enumerate(optional) if k >> i & 1} for k in range(reading.MOST_SHAPES * 2)
    ]
    with pytest.raises(reading.Refusal, match="sets of columns"):
        reading.leads({"leads": shapes}, "leads", FORM, "now", 99)


def test_a_lead_is_handed_over_as_the_scorer_reads_it():
    given = {
        "id": 7,
        "created_at": "2026-01-01",
        "Size": True,
        "activities": [{"kind": "call", "happened_at": "2026-01-02", "note": {"any": 1}}],
        "changes": None,
        "zeal": 1,
    }
    read = reading.leads({"leads": [given, SOUND | {"as_of": None}]}, "leads", FORM, "now", 2)
    assert read.leads[0] == {
        "id": 7,
        "created_at": "2026-01-01",
        "Size": "true",
        "activities": [{"kind": "call", "happened_at": "2026-01-02"}],
        "changes": [],
        "as_of": "now",
        "converted_at": None,
        "lost_at": None,
    }
    assert (read.clocked, read.apart, read.unread) == ([True, False], False, ["zeal"])


@pytest.mark.parametrize(
    ("moment", "apart"),
    [("2026-01-01T00:00:00.123456", False), ("2026-01-01T00:00:00.1234567Z", True), (20260101, False), (None, False)],
)
def test_moments_that_need_nanoseconds_keep_apart(moment, apart):
    for dated in (
        {"created_at": moment},
        {"lost_at": moment},
        {"activities": [{"recorded_at": moment}]},
        {"changes": [{"recorded_at": moment}]},
    ):
        assert reading.leads({"lead": SOUND | dated}, "lead", FORM, "now", 1).apart == apart


# Answers and their limits


def test_scores_become_json():
    frame = pd.DataFrame(
        {
            "lead_id": pd.Series(["a", None], dtype="str"),
            "as_of": pd.to_datetime(["2026-01-31 12:00:00.5", None]).astype("datetime64[us]"),
            "score": [0.1, float("nan")],
            "tier": ["A", ""],
            "reasons": ['[{"points":1.5}]', "[]"],
            "flags": ["x:a;y", ""],
        }
    )
    assert answers.told(frame) == [
        {
            "lead_id": "a",
            "as_of": "2026-01-31T12:00:00.500000Z",
            "score": 0.1,
            "tier": "A",
            "reasons": [{"points": 1.5}],
            "flags": ["x:a", "y"],
        },
        {"lead_id": None, "as_of": None, "score": None, "tier": None, "reasons": [], "flags": []},
    ]


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        (Asked("GET", "/nowhere", b"", {}), 404, "nothing here"),
        (Asked("POST", "/score/", b"{}"), 404, "nothing here"),
        (Asked("GET", "/score", b"", {}), 405, "another method"),
        (Asked("POST", "/score", b"{}", {}), 415, "application/json"),
        (Asked("POST", "/score", b"{}", {"Content-Type": "text/json"}), 415, "application/json"),
        (Asked("POST", "/score", b"{}", {"Content-Type": "application/json; charset=latin-1"}), 415, "UTF-8"),
        (Asked("POST", "/score", b"{}", JSON | {"Content-Encoding": "gzip"}), 415, "without an encoding"),
        (Asked("POST", "/score", b"{}", {"Content-Type": 'Application/JSON; charset="UTF-8"'}), 422, "one key"),
        (Asked("POST", "/score", b"nope"), 400, "not JSON"),
        (Asked("POST", "/score/batch", json.dumps({"leads": [{}] * 61}).encode()), 413, "61 leads"),
    ],
)
def test_what_is_wrong_is_said_and_who_says_it(address, asked, status, said, scorer):
    got, headers, body = ask(address, asked)
    answer = json.loads(body)
    assert (got, answer["model_version"], answer["version"]) == (status, scorer.version, 1)
    assert said in answer["error"]
    assert headers["x-model-version"] == scorer.version


def test_a_body_over_the_limit_is_refused_before_it_is_read(address):
    declared = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500001\r\n\r\n{"
    chunk = b"c350\r\n" + b" " * 50_000 + b"\r\n"
    chunked = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    for sent in (declared, chunked + chunk * 11):
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(sent)
            assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_body_that_does_not_come_is_not_waited_for(folders, monkeypatch):
    monkeypatch.setattr(app, "READ_S", 0.1)
    begun = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    with (
        answering(current.Current(Shelf(folders), logging.getLogger("tests.serving"))) as found,
        socket.create_connection(found, timeout=30) as connection,
    ):
        connection.sendall(begun)
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_room_is_given_back():
    room = app._Room(10)
    with room.held() as take:
        take(8)
        with pytest.raises(reading.Refusal) as refusal, room.held() as other:
            other(2)
            other(1)
        assert (refusal.value.status, room.used) == (503, 8)
    assert room.used == 0


def test_a_fault_of_the_scorer_is_told_without_a_value(folders, leads, caplog):
    found = current.Current(Shelf(folders), logging.getLogger("tests.serving"))

    class Broken:
        spec, version = found.served.scorer.spec, found.served.scorer.version

        def predict(self, frame):
            raise ValueError(f"cannot read {frame['lead_id'].iloc[0]}")

    found.served = current.Served(**vars(found.served) | {"scorer": Broken()})
    with answering(found) as at, caplog.at_level(logging.ERROR):
        status, answer = post(at, "/score", {"lead": leads[0]})
    assert status == 500
    assert answer["error"].startswith("the scorer failed on this request")
    logged = " ".join(record.getMessage() for record in caplog.records)
    assert "ValueError < test_serving.py:" in logged and leads[0]["lead_id"] not in logged


def test_bent_requests_never_break_it(address, leads):
    """The benchmark sends 10,000."""
    bent = list(fuzzed(leads[0], 300, seed=5))
    with ThreadPoolExecutor(30) as pool:
        answered = list(pool.map(lambda asked: ask(address, asked), bent))
    statuses = {status for status, _, _ in answered}
    assert {200, 400, 404, 405, 415, 422} <= statuses and max(statuses) < 500
    for asked, (status, _, body) in zip(bent, answered, strict=True):
        assert "model_version" in json.loads(body) or status == 200
        assert not INSIDE.search(body) or INSIDE.search(asked.body), asked


# The page


def test_the_example_is_valid_and_is_answered(address):
    document = json.loads(ask(address, Asked("GET", "/openapi.json", b"", {}))[2])
    schemas = document["components"]["schemas"]
    for path, schema in (("/score", "OneLead"), ("/score/batch", "SeveralLeads")):
        example = schemas[schema]["example"]
        jsonschema.validate(example, {"$ref": f"#/components/schemas/{schema}", **document})
        status, answer = post(address, path, example)
        result = answer["result"] if path == "/score" else answer["results"][0]
        assert (status, result["refused"], answer["unread"]) == (200, None, [])
        assert result["score"] == pytest.approx(100 * result["probability"], abs=0.05)
        answered = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer, answered | {"components": document["components"]})
    assert set(schemas["Result"]["properties"]) == set(result)
    jsonschema.validate(
        post(address, "/score", {})[1], {"$ref": "#/components/schemas/Fault", "components": document["components"]}
    )


def test_the_page_is_complete_in_itself(address):
    for path in ("/", "/docs"):
        status, headers, body = ask(address, Asked("GET", path, b"", {}))
        text = body.decode()
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
        assert "<script" not in text
        assert text.replace(f"http://{address[0]}:{address[1]}/score", "").count("://") == 0
        assert "curl -s http://127.0.0.1:" in text and "&#34;lead_id&#34;: &#34;example-1&#34;" in text


def test_the_example_gives_way_to_the_rules_of_a_contract(scorer):
    checks = [one | {"own": [NEVER]} if one["name"] == "industry" else one for one in scorer.spec["checks"]]
    strict = type(scorer)(**vars(scorer) | {"spec": scorer.spec | {"checks": checks}})
    example, answer = examples.scored(strict)
    assert (example["industry"], answer["refused"]) == (None, None)


NEVER = {"expectation": "expect_column_values_to_match_regex", "kwargs": {"regex": "^never$"}, "reason": "never"}


# Versions that change


def until(holds):
    """Wait for it, and say so where it does not come."""
    for _ in range(1200):
        if holds():
            return
        time.sleep(0.05)
    raise TimeoutError


def test_a_change_under_load_fails_no_request(folders, leads):
    shelf = Shelf(folders)
    found = current.Current(shelf, logging.getLogger("tests.serving"))
    lead = {"lead": leads[0]}
    with answering(found) as at, ThreadPoolExecutor(8) as pool:
        old = post(at, "/score", lead)[1]["result"]
        answered, enough = [], threading.Event()

        def go_on():
            while not enough.is_set():
                answered.append(post(at, "/score", lead))

        asking = [pool.submit(go_on) for _ in range(8)]
        until(lambda: len(answered) > 8)
        shelf.now = 2
        until(lambda: answered[-1][1]["version"] == 2)
        seen = len(answered)
        until(lambda: len(answered) > seen + 16)
        enough.set()
        for one in asking:
            one.result()
        new = post(at, "/score", lead)[1]["result"]
        health = json.loads(ask(at, Asked("GET", "/health", b"", {}))[2])
    assert old["probability"] < new["probability"]
    expected = {1: old, 2: new}
    assert {status for status, _ in answered} == {200}
    assert {answer["version"] for _, answer in answered} == {1, 2}
    assert all(answer["result"] == expected[answer["version"]] for _, answer in answered)
    assert all(answer["model_version"] == answer["result"]["model_version"] for _, answer in answered)
    assert (health["version"], health["status"], health["trouble"]) == (2, "ready", None)


def test_what_cannot_be_loaded_does_not_take_over(folders, tmp_path, caplog):
    altered = shutil.copytree(folders[2], tmp_path / "altered")
    (altered / "data" / "calibration.json").write_text("{}")
    shelf = Shelf(folders | {3: altered})
    found = current.Current(shelf, logging.getLogger("tests.serving"))
    shelf.now = 3
    with caplog.at_level(logging.INFO):
        found.check()
        found.check()
    assert found.served.number == 1
    assert found.trouble == "version 3 could not be loaded; version 1 goes on answering."
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "missing, added or altered: data/calibration.json" in caplog.text
    shelf.now = 2
    found.check()
    assert (found.served.number, found.trouble) == (2, "")


def test_a_store_that_does_not_answer_changes_nothing(folders):
    shelf = Shelf(folders)
    found = current.Current(shelf, logging.getLogger("tests.serving"))
    shelf.now = 9
    found.check()
    assert "version that should answer could not be loaded; version 1 goes on" in found.trouble
    shelf.now = 1
    found.check()
    assert found.trouble == ""


# The command


def test_where_no_server_can_listen_is_said():
    with server.listen("127.0.0.1", 0) as taken:
        assert server.is_local(taken)
        port = taken.getsockname()[1]
        assert server.address(taken) == f"http://127.0.0.1:{port}"
        with pytest.raises(ParamsError, match=f"--port {port}: no server can listen there"):
            server.listen("127.0.0.1", port)
    with server.listen("0.0.0.0", 0) as everywhere:
        assert not server.is_local(everywhere)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_server_told_to_end_before_it_has_begun_ends(sign):
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        with server.listen("127.0.0.1", 0) as listening:
            server.run(FastAPI(), listening, lambda: signal.raise_signal(sign))
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@pytest.mark.parametrize("host", ["..", "a" * 64 + ".example"])
def test_a_name_that_no_host_can_have_is_a_fault_of_the_asker(host):
    with pytest.raises(ParamsError, match="no server can listen there"):
        server.listen(host, 0)


def test_the_command_serves_until_it_is_told_to_end(demo_run, leads, tmp_path, monkeypatch):
    project = shutil.copytree(demo_run, tmp_path / "project")
    monkeypatch.chdir(project)
    store = tracking.open_store(Workspace(project))
    with pytest.raises(RegistryError, match="no version of lead-scoring-demo is champion yet"):
        current.Registered(store, "demo", "champion").named()
    approvals.approve(store, "demo", 1, "A reviewer", "why", asked=1)
    assert current.Registered(store, "demo", "champion").named() == (1, registry.find(store, "demo", 1).scorer)
    command = [sys.executable, "-m", "pipeline.cli", "serve", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline()
            assert "answers on http://127.0.0.1:" in line
            host, port = line.strip().rpartition("//")[2].split(":")
            with ThreadPoolExecutor(4) as pool:
                asked = [pool.submit(post, (host, int(port)), "/score", {"lead": lead}) for lead in leads[:4]]
                asked[0].result()
                time.sleep(0.05)
                process.send_signal(signal.SIGTERM)
                answered = [one.result() for one in asked]
            assert process.wait(timeout=30) == 0
            assert [status for status, _ in answered] == [200] * 4
            assert process.stderr.read() == "serve: ended\n"
        finally:
            process.kill()


def test_an_exported_folder_answers_by_its_hash_and_is_nobody_in_the_registry(folders, leads):
    sha256 = files.sha256(folders[1])
    found = verification.verified(str(folders[1]), registered=lambda: pytest.fail("no registry"), sha256=sha256)
    answers_with = current.Current(current.Exported(found), logging.getLogger("tests.serving"))
    answers_with.check()
    assert (answers_with.served.number, answers_with.served.content, answers_with.trouble) == (None, sha256, "")
    with answering(answers_with) as address:
        status, answer = post(address, "/score/batch", {"leads": leads[:2]})
        assert (status, answer["version"], answer["model_version"]) == (200, None, found.version)
        assert len(answer["results"]) == 2
