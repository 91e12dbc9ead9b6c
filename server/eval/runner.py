"""Asks an endpoint many questions, a bounded number in flight, and keeps every answer.

Answers are appended to a file, one a line: a run that was interrupted goes on with the rest.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from server.eval.benchmarks import Benchmark, Question
from server.eval.conditions import Condition

_PATIENCE = httpx.Timeout(600.0, connect=10.0)
_TRIES = 8
_BUSY = (429, 503)


@dataclass(frozen=True)
class EvalResult:
    """One answer in results.jsonl.

    `score` is 0 to 1. `error` says why there is no answer. `began` and `ended` are Unix times.
    `session` names the run. `regions` counts the crops; `prompt_tokens` are those of the pass that
    answered.
    """

    condition: str
    id: str
    group: str
    answer: str
    score: float
    regions: int
    prompt_tokens: int
    began: float
    ended: float
    session: str
    error: str | None = None


class AnswerError(Exception):
    """The endpoint's answer cannot be read; the message says why."""


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and how: `model` as served, answers of at most `max_tokens`."""

    url: str
    model: str
    api_key: str | None
    max_tokens: int
    in_flight: int


def read_answers(path: Path) -> list[EvalResult]:
    """The answers in the file `path`, without failures and without a line that a crash cut off."""
    if not path.exists():
        return []
    answers: dict[tuple[str, str], EvalResult] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = EvalResult(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if row.error is None:
            answers[row.condition, row.id] = row
    return list(answers.values())


async def ask_all(
    endpoint: Endpoint,
    benchmark: Benchmark,
    questions: Sequence[Question],
    condition: Condition,
    path: Path,
    answered: Callable[[EvalResult], None],
) -> list[EvalResult]:
    """Asks all `questions` under one condition; each answer is appended to `path`."""
    # The cache salt, of its own: prompts cached for one condition would speed up the next.
    session = f"{condition.name.replace('@', '-')}-{time.time_ns():x}"
    headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
    limits = httpx.Limits(max_connections=endpoint.in_flight)
    unasked = iter(questions)
    results: list[EvalResult] = []
    async with httpx.AsyncClient(
        base_url=endpoint.url, headers=headers, timeout=_PATIENCE, limits=limits
    ) as http:
        with path.open("a", encoding="utf-8") as file:
            _end_cut_line(path, file)

            async def work(questions: Iterable[Question]) -> None:
                for question in questions:
                    result = await _ask(http, endpoint, benchmark, question, condition, session)
                    file.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")
                    file.flush()
                    results.append(result)
                    answered(result)

            async with asyncio.TaskGroup() as group:
                for _ in range(endpoint.in_flight):
                    group.create_task(work(unasked))
    return results


def _end_cut_line(path: Path, file: Any) -> None:
    """Ends a last line that a crash cut off."""
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        file.write("\n")


async def _ask(
    http: httpx.AsyncClient,
    endpoint: Endpoint,
    benchmark: Benchmark,
    question: Question,
    condition: Condition,
    session: str,
) -> EvalResult:
    began = time.time()
    text, regions, tokens, error = "", 0, 0, None
    try:
        picture = await asyncio.to_thread(question.picture_bytes)
        body = _request(endpoint, benchmark, question, condition, picture, session)
        text, tokens, regions = _parse(await _post(http, body))
    except (OSError, httpx.HTTPError, AnswerError) as problem:
        error = f"{type(problem).__name__}: {problem}"
    score = benchmark.metric(text, question.answers) if error is None else 0.0
    return EvalResult(
        condition.name, question.id, question.group, text, score, regions, tokens, began,
        time.time(), session, error,
    )  # fmt: skip


def _request(
    endpoint: Endpoint,
    benchmark: Benchmark,
    question: Question,
    condition: Condition,
    picture: bytes,
    session: str,
) -> dict[str, Any]:
    url = "data:application/octet-stream;base64," + base64.b64encode(picture).decode()
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": question.text + benchmark.suffix},
    ]
    return {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": content}],
        "temperature": 0,
        "max_completion_tokens": endpoint.max_tokens,
        "cache_salt": session,
        "roi": condition.roi(question),
    }


def _parse(response: httpx.Response) -> tuple[str, int, int]:
    """The answer's text, prompt tokens and number of regions. Raises AnswerError."""
    try:
        answer = response.json()
        text = answer["choices"][0]["message"]["content"] or ""
        return text.strip(), int(answer["usage"]["prompt_tokens"]), len(answer["roi"]["regions"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        start = response.text[:200]
        raise AnswerError(f"not a chat completion with `roi` ({error!r}): {start}") from error


async def _post(http: httpx.AsyncClient, body: dict[str, Any]) -> httpx.Response:
    """The answer; while the endpoint is busy, the request is sent again. Raises HTTPError."""
    for attempt in range(_TRIES):
        response = await http.post("/v1/chat/completions", json=body)
        if response.status_code not in _BUSY or attempt == _TRIES - 1:
            break
        await asyncio.sleep(_pause(response, attempt))
    if response.is_success:
        return response
    message = f"{response.status_code} {response.text[:300]}"
    raise httpx.HTTPStatusError(message, request=response.request, response=response)


def _pause(response: httpx.Response, attempt: int) -> float:
    try:
        return min(60.0, float(response.headers["retry-after"]))
    except (KeyError, ValueError):
        return min(60.0, 0.5 * (1 << attempt))
