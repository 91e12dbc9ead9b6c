"""A setting is a flag and a YAML key; what cannot be used is refused in one line."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from rpn_plugin.distill.labels.heads import middle_heads, parse_heads, show_heads
from rpn_plugin.distill.labels.pseudo_labels import label_options
from rpn_plugin.distill.settings import (
    LABEL_FIELDS,
    TRAIN_FIELDS,
    DistillSettings,
    SettingsError,
    add_arguments,
    settings_from,
    write_settings,
)


def parsed(*arguments: str) -> DistillSettings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return settings_from(parser.parse_args(arguments))


def test_defaults_are_the_published_recipe() -> None:
    settings = parsed()
    assert (settings.lr, settings.weight_decay, settings.warmup, settings.clip) == (
        1e-4,
        0,
        0.03,
        1,
    )
    assert (settings.epochs, settings.batch, settings.base_tokens, settings.depth) == (
        1,
        128,
        576,
        3,
    )
    assert (settings.beta1, settings.beta2) == (0.9, 0.999)


def test_flags_come_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("lr: 0.5\nbatch: 3\n")
    settings = parsed("--config", str(path), "--batch", "4", "--auto")
    assert (settings.lr, settings.batch, settings.auto) == (0.5, 4, True)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    settings = parsed("--heads", "1:0,2", "--threshold", "0.2", "--images", "pictures")
    write_settings(settings, tmp_path / "settings.yaml")
    assert parsed("--config", str(tmp_path / "settings.yaml")) == settings


@pytest.mark.parametrize(
    ("content", "message"),
    [("lr: much", "lr: "), ("colour: red", "colour: "), ("epochs: 0", "epochs: "),
     ("- a", "does not hold settings"), ("a: [", "cannot read")],
)  # fmt: skip
def test_a_file_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError, match=message) as caught:
        parsed("--config", str(path))
    assert message != "lr: " or "\n" not in str(caught.value)


def test_settings_that_decide_results_exist() -> None:
    assert set(LABEL_FIELDS) | set(TRAIN_FIELDS) <= set(DistillSettings.model_fields)


def test_heads_as_text() -> None:
    heads = parse_heads("16:1,7, 17; 19:17,20", layers=28, heads=28)
    assert heads == {16: (1, 7, 17), 19: (17, 20)}
    assert parse_heads(show_heads(heads), 28, 28) == heads
    assert parse_heads("2:*", 6, 3) == {2: (0, 1, 2)}
    assert middle_heads(28, 2) == dict.fromkeys(range(9, 18), (0, 1))
    for wrong in ("28:1", "3:28", "3", "a:1", "3:x"):
        with pytest.raises(SettingsError, match="heads"):
            parse_heads(wrong, 28, 28)


def test_label_options_by_name() -> None:
    options = label_options("ignore_sinks, relative_peak", foreground=0.3)
    assert options.ignore_sinks
    assert options.relative_peak
    assert not options.exact_padding
    with pytest.raises(ValueError, match="unknown label option 'sinks'"):
        label_options("sinks")
