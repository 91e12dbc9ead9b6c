from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from server.cli import main as cli
from server.cli.setting_flags import add_flags, variables
from server.settings import Settings, SettingsError, read_settings


def given(*flags: str) -> Settings:
    """What the server would read after `sdrpn serve` with `flags`."""
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return read_settings(variables(parser.parse_args(flags)))


def test_nothing_given_is_the_default() -> None:
    assert given() == Settings()
    assert read_settings({"PATH": "/bin"}) == Settings()


def test_flags_say_what_they_say(tmp_path: Path) -> None:
    settings = given(
        *("--roi-default", "off", "--max-inflight", "3", "--request-timeout", "1.5"),
        *("--media-domains", "A.example,.example.org", "b.example:8443", "--no-playground"),
        *("--media-folder", str(tmp_path), "--api-key", "key-1", "key-2"),
    )
    assert (settings.roi_default, settings.max_inflight) == ("off", 3)
    assert settings.request_timeout == 1.5
    assert settings.media_domains == ("a.example", ".example.org", "b.example:8443")
    assert settings.media_folder == tmp_path
    assert [key.get_secret_value() for key in settings.api_key] == ["key-1", "key-2"]
    assert settings.playground is False
    assert "key-1" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SDRPN_MAX_INFLIGHT", "0"),
        ("SDRPN_MAX_INFLIGHT", "many"),
        ("SDRPN_REQUEST_TIMEOUT", "0"),
        ("SDRPN_DRAIN_TIMEOUT", "-1"),
        ("SDRPN_METRICS_PORT", "70000"),
        ("SDRPN_ROI_DEFAULT", "sometimes"),
        ("SDRPN_MEDIA_FOLDER", "/no/such/folder"),
        ("SDRPN_MEDIA_DOMAINS", "http://example.com"),
        ("SDRPN_MEDIA_DOMAINS", "example.com:https"),
        ("SDRPN_MEDIA_DOMAINS", "example.com,user@example.org"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_variable(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable}: ") as caught:
        read_settings({variable: value})
    assert "\n" not in str(caught.value)


def test_serve_stops_before_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--max-inflight", "0"]) == 2
    assert "SDRPN_MAX_INFLIGHT" in capsys.readouterr().err


def test_print_keeps_keys_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--print", "--api-key", "hush", "--max-inflight", "7"]) == 0
    shown = capsys.readouterr().out
    assert "hush" not in shown
    assert "SDRPN_MAX_INFLIGHT=7" in shown
