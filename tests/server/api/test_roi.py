from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from rpn_plugin.regions.zoom_gate import ALWAYS_OPEN, ZoomGate
from server.api.errors import BadRoi
from server.api.roi_options import MAX_REGIONS, GateOptions, RoiOptions, parse_roi
from server.api.roi_report import NO_PICTURE, RegionReport, RoiReport
from server.api.roi_settings import RoiDefaults, RoiSettings

DEFAULTS = RoiDefaults(threshold=0.2, base_tokens=64, crop_tokens=36, max_view_tokens=2048)


def test_roi_is_null_a_boolean_or_an_object() -> None:
    assert parse_roi(None) is None
    assert parse_roi(True) == RoiOptions(enabled=True)
    assert parse_roi(False) == RoiOptions(enabled=False)
    assert parse_roi({}) == RoiOptions(enabled=True)


def test_every_field_of_an_object_is_read() -> None:
    options = parse_roi(
        {
            "enabled": True,
            "threshold": 0.5,
            "max_regions": 2,
            "gate": {"min_peak": 0.5},
            "base_tokens": 100,
            "crop_tokens": 50,
            "boxes": [[0, 0, 10, 20.5]],
            "heatmap": True,
        }
    )
    assert options == RoiOptions(
        threshold=0.5,
        max_regions=2,
        gate=GateOptions(min_peak=0.5, max_area=1.0),
        base_tokens=100,
        crop_tokens=50,
        boxes=[[0, 0, 10, 20.5]],
        heatmap=True,
    )


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("yes", "roi"),
        (1, "roi"),
        ([], "roi"),
        ({"treshold": 0.1}, "roi.treshold"),
        ({"threshold": -0.1}, "roi.threshold"),
        ({"gate": 1}, "roi.gate"),
        ({"gate": "on"}, "roi.gate"),
        ({"gate": {"min_gate_probability": -0.1}}, "roi.gate.min_gate_probability"),
        ({"gate": {"max_confidence": 1.1}}, "roi.gate.max_confidence"),
        ({"gate": {"confidence_tokens": 0}}, "roi.gate.confidence_tokens"),
        ({"gate": {"confidence_tokens": 33}}, "roi.gate.confidence_tokens"),
        ({"gate": {"min_peak": 2}}, "roi.gate.min_peak"),
        ({"gate": {"peek": 0.5}}, "roi.gate.peek"),
        ({"threshold": 1.5}, "roi.threshold"),
        ({"threshold": float("nan")}, "roi.threshold"),
        ({"threshold": "0.5"}, "roi.threshold"),
        ({"enabled": 1}, "roi.enabled"),
        ({"max_regions": 0}, "roi.max_regions"),
        ({"max_regions": MAX_REGIONS + 1}, "roi.max_regions"),
        ({"base_tokens": 3}, "roi.base_tokens"),
        ({"boxes": []}, "roi.boxes"),
        ({"boxes": [[0, 0, 1]]}, "roi.boxes.0"),
        ({"boxes": [[0, 0, 1, float("inf")]]}, "roi.boxes.0.3"),
        ({"boxes": [[5, 0, 5, 9]]}, "roi.boxes"),
        ({"boxes": [[0, 9, 5, 3]]}, "roi.boxes"),
        ({"boxes": [[-1, 0, 5, 3]]}, "roi.boxes"),
        ({"boxes": [[0, 0, 1, 1]] * (MAX_REGIONS + 1)}, "roi.boxes"),
    ],
)
def test_a_malformed_field_is_named(value: Any, param: str) -> None:
    with pytest.raises(BadRoi) as caught:
        parse_roi(value)
    body = caught.value.body()["error"]
    assert body["param"] == param
    assert body["code"] == 400
    assert body["type"] == "BadRequestError"


def test_an_unknown_key_is_refused_with_the_valid_keys() -> None:
    with pytest.raises(
        BadRoi, match=r"unknown key 'max_boxes'.*valid keys: enabled, image, threshold"
    ):
        parse_roi({"max_boxes": 3})


def test_fields_left_out_take_the_served_defaults() -> None:
    settings = RoiSettings.resolve(RoiOptions(crop_tokens=99), DEFAULTS, 1)
    assert (settings.threshold, settings.base_tokens, settings.crop_tokens) == (0.2, 64, 99)
    assert settings.boxes == ()


def test_image_is_a_python_index() -> None:
    places = [RoiSettings.resolve(RoiOptions(image=i), DEFAULTS, 3).image for i in (-3, -1, 0, 2)]
    assert places == [0, 2, 0, 2]
    assert RoiSettings.resolve(None, DEFAULTS, 3).image == 2


@pytest.mark.parametrize("image", [3, -4])
def test_an_image_index_out_of_range_is_refused(image: int) -> None:
    with pytest.raises(BadRoi, match="3 pictures") as caught:
        RoiSettings.resolve(RoiOptions(image=image), DEFAULTS, 3)
    assert caught.value.param == "roi.image"


@pytest.mark.parametrize("enabled", [True, False])
def test_a_chat_without_roi_takes_the_servers_default(enabled: bool) -> None:
    defaults = replace(DEFAULTS, enabled=enabled)
    assert RoiSettings.resolve(None, defaults, 1).enabled is enabled
    assert RoiSettings.resolve(RoiOptions(), defaults, 1).enabled is True


def test_a_threshold_of_zero_is_not_the_default() -> None:
    assert RoiSettings.resolve(RoiOptions(threshold=0.0), DEFAULTS, 1).threshold == 0.0


@pytest.mark.parametrize("field", ["base_tokens", "crop_tokens"])
def test_a_budget_over_the_models_limit_is_refused(field: str) -> None:
    at_limit = RoiSettings.resolve(RoiOptions.model_validate({field: 2048}), DEFAULTS, 1)
    assert getattr(at_limit, field) == 2048
    with pytest.raises(BadRoi, match="at most 2048") as caught:
        RoiSettings.resolve(RoiOptions.model_validate({field: 2049}), DEFAULTS, 1)
    assert caught.value.param == f"roi.{field}"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("peak", "min_peak"),
        ("area", "max_area"),
        ("sure", "max_confidence"),
        ("sure_tokens", "confidence_tokens"),
        ("need", "min_gate_probability"),
    ],
)
def test_an_old_gate_field_is_refused_with_its_new_name(old: str, new: str) -> None:
    with pytest.raises(BadRoi, match=rf"`roi\.gate\.{new}`") as caught:
        parse_roi({"gate": {old: 1}})
    assert caught.value.param == f"roi.gate.{old}"


@pytest.mark.parametrize(("old", "new"), [("sure", "confidence"), ("need", "gate_probability")])
def test_an_old_response_field_is_refused_with_its_new_name(old: str, new: str) -> None:
    fields = NO_PICTURE.model_dump(mode="json")
    with pytest.raises(ValidationError, match=rf"`roi\.{new}`"):
        RoiReport.model_validate({**fields, old: 0.5})


def test_confidence_needs_log_probabilities() -> None:
    """With --logprobs-mode raw_logits a token's `logprob` is no logarithm of a probability."""
    logits = replace(GATED, confidence=False)
    assert RoiSettings.resolve(None, logits, 1).gate == replace(OWN, max_confidence=None)
    with pytest.raises(BadRoi, match="--logprobs-mode"):
        RoiSettings.resolve(RoiOptions(gate=GateOptions(max_confidence=0.5)), logits, 1)


def test_the_report_omits_an_absent_heatmap() -> None:
    report = RoiReport(
        regions=[RegionReport(box=[1, 2, 3, 4], score=0.5)],
        image=0,
        image_size=(100, 50),
        grid=(4, 8),
        skipped=None,
        timings={"pictures": 1.5},
    )
    assert report.model_dump(mode="json") == {
        "regions": [{"box": [1, 2, 3, 4], "score": 0.5}],
        "image": 0,
        "image_size": [100, 50],
        "grid": [4, 8],
        "skipped": None,
        "timings": {"pictures": 1.5},
        "pass1_usage": None,
    }
    with_map = report.model_copy(update={"heatmap": [[0.25]]})
    assert with_map.model_dump(mode="json")["heatmap"] == [[0.25]]


OWN = ZoomGate(
    min_peak=0.6, max_area=0.5, max_confidence=0.8, confidence_tokens=3, min_gate_probability=0.3
)
GATED = replace(DEFAULTS, gate=OWN, learned_gate=True)


@pytest.mark.parametrize(
    ("option", "gate"),
    [
        (None, OWN),
        (True, OWN),
        (False, ALWAYS_OPEN),
        (GateOptions(min_peak=0.1), ZoomGate(min_peak=0.1, confidence_tokens=3)),
        (
            GateOptions(max_confidence=1.0, min_gate_probability=0.0),
            ZoomGate(max_confidence=1.0, confidence_tokens=3, min_gate_probability=0.0),
        ),
        (
            GateOptions(max_confidence=0.5, confidence_tokens=2),
            ZoomGate(max_confidence=0.5, confidence_tokens=2),
        ),
    ],
)
def test_the_gate_is_the_rpns_unless_the_request_has_its_own(
    option: GateOptions | bool | None, gate: ZoomGate
) -> None:
    assert RoiSettings.resolve(RoiOptions(gate=option), GATED, 1).gate == gate


def test_an_rpns_gate_that_is_off_by_default_is_used_on_request() -> None:
    off_by_default = replace(GATED, gate_default=False)
    assert RoiSettings.resolve(None, off_by_default, 1).gate == ALWAYS_OPEN
    assert RoiSettings.resolve(RoiOptions(gate=True), off_by_default, 1).gate == OWN


def test_min_gate_probability_without_a_learned_gate_is_refused() -> None:
    with pytest.raises(BadRoi, match="this RPN has none") as caught:
        RoiSettings.resolve(RoiOptions(gate=GateOptions(min_gate_probability=0.5)), DEFAULTS, 1)
    assert caught.value.param == "roi.gate.min_gate_probability"


@pytest.mark.parametrize("name", ["confidence", "gate_probability"])
def test_the_report_omits_absent_gate_values(name: str) -> None:
    report = RoiReport(
        regions=[], image=0, image_size=(9, 9), grid=(1, 1), skipped="gate", timings={}
    )
    assert name not in report.model_dump(mode="json")
    assert report.model_copy(update={name: 0.01}).model_dump(mode="json")[name] == 0.01
