"""Stock lmms-eval, unchanged, asks the real endpoint the questions of a local task.

It is installed by `make test`, beside the environment (requirements/lmms-eval.lock says why).
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from demo.pages import write_pages
from tests.conftest import Endpoint

LMMS_EVAL = Path(sys.prefix) / "lmms-eval"
PAGES = 6

TASK = """\
task: pages
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function pages.pictures
doc_to_text: question
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 8, temperature: 0}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""

PICTURES = """\
from pathlib import Path
from PIL import Image

def pictures(doc):
    return [Image.open(Path(__file__).parent / "data" / doc["image"]).convert("RGB")]
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A folder with the task "pages"."""
    folder = tmp_path / "task"
    rows = write_pages(seed=78, count=PAGES, folder=folder / "data")
    (folder / "pages.yaml").write_text(TASK.format(rows=rows))
    (folder / "pages.py").write_text(PICTURES)
    return folder


def lmms_eval(endpoint: Endpoint, model: str, task: Path, out: Path) -> None:
    offline = {"HF_HOME": str(out / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-m", "lmms_eval", "--model", "openai", "--tasks", "pages"]
    served = f"model_version={model},base_url={endpoint.url}/v1,api_key=none,timeout=300"
    command += ["--model_args", served, "--include_path", str(task), "--batch_size", "1"]
    command += ["--output_path", str(out), "--log_samples"]
    environment = {**os.environ, **offline, "PYTHONPATH": str(LMMS_EVAL)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


def prompt_tokens_of_base_view(client: openai.OpenAI, model: str, task: Path) -> int:
    row = json.loads((task / "data" / "pages.jsonl").read_text().splitlines()[0])
    picture = base64.b64encode((task / "data" / row["image"]).read_bytes()).decode()
    content: list[Any] = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
        {"type": "text", "text": row["question"]},
    ]
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}], max_completion_tokens=1,
        extra_body={"roi": False},
    )  # fmt: skip
    assert answer.usage is not None
    return answer.usage.prompt_tokens


def test_stock_lmms_eval_is_answered_with_zoom(
    endpoint: Endpoint, client: openai.OpenAI, task: Path, tmp_path: Path
) -> None:
    assert (LMMS_EVAL / "lmms_eval").is_dir(), "`make test` installs it"
    model = client.models.list().data[0].id
    lmms_eval(endpoint, model, task, tmp_path / "out")
    [results] = (tmp_path / "out").glob("*/*_results.json")
    score = json.loads(results.read_text())["results"]["pages"]["exact_match,none"]
    assert score > 0.5  # without zoom the shipped model answers a third
    [answers] = (tmp_path / "out").glob("*/*_samples_pages.jsonl")
    rows = [json.loads(line) for line in answers.read_text().splitlines()]
    assert len(rows) == PAGES
    assert all(row["filtered_resps"].isdigit() for row in rows)
    base = prompt_tokens_of_base_view(client, model, task)
    assert rows[0]["token_counts"][0]["input_tokens"] > base + 16  # the crop
