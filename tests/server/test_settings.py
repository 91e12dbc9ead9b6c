from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from server.cli import main as cli
from server.cli.serve import add_setting_flags, setting_variables
from server.settings import KEY_VARIABLE, PREFIX, Settings, SettingsError, read_settings


def given(*flags: str) -> Settings:
    """What the server would read after `sdrpn serve` with `flags`."""
    parser = argparse.ArgumentParser()
    add_setting_flags(parser)
    return read_settings(setting_variables(parser.parse_args(flags)))


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


VARIABLES = [PREFIX + name.upper() for name in Settings.model_fields]


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
@pytest.mark.parametrize("variable", VARIABLES)
def test_an_empty_variable_is_not_set_or_is_refused(variable: str, empty: str) -> None:
    if variable == KEY_VARIABLE:
        with pytest.raises(SettingsError, match=f"^{KEY_VARIABLE} is empty"):
            read_settings({variable: empty})
    else:
        assert read_settings({variable: empty}) == Settings()


@pytest.mark.parametrize("empty", [",", " , ,"])
def test_a_list_of_no_keys_does_not_open_the_server(empty: str) -> None:
    with pytest.raises(SettingsError, match=f"^{KEY_VARIABLE} is empty"):
        read_settings({KEY_VARIABLE: empty})


@pytest.mark.parametrize("flag", ["--rpn", "--media-folder", "--api-key", "--metrics-port"])
def test_an_empty_flag_is_not_set_or_is_refused(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = flag in ("--rpn", "--api-key")
    assert cli.main(["serve", "--print", flag, ""]) == (2 if refused else 0)
    assert ("is empty" in capsys.readouterr().err) == refused


@pytest.mark.parametrize(
    ("misspelt", "nearest"),
    [
        ("SDRPN_API_KEYS", "SDRPN_API_KEY"),
        ("SDRPN_APIKEY", "SDRPN_API_KEY"),
        ("SDRPN_MAX_IN_FLIGHT", "SDRPN_MAX_INFLIGHT"),
        ("SDRPN_MEDIA_DOMAIN", "SDRPN_MEDIA_DOMAINS"),
        ("SDRPN_X", "SDRPN_"),
    ],
)
def test_an_unknown_variable_stops_the_start(misspelt: str, nearest: str) -> None:
    with pytest.raises(SettingsError, match=f"^{misspelt} is not a setting; .* {nearest}"):
        read_settings({misspelt: "x"})


def test_variables_of_kubernetes_services_are_passed_over() -> None:
    links = {
        "SDRPN_SERVICE_HOST": "10.0.0.1",
        "SDRPN_SERVICE_PORT": "8000",
        "SDRPN_SERVICE_PORT_HTTP": "8000",
        "SDRPN_PORT": "tcp://10.0.0.1:8000",
        "SDRPN_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "SDRPN_PORT_8000_TCP_ADDR": "10.0.0.1",
        "SDRPN_ROUTER_SERVICE_HOST": "10.0.0.2",
    }
    assert read_settings(links) == Settings()


def test_serve_stops_before_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--max-inflight", "0"]) == 2
    assert "SDRPN_MAX_INFLIGHT" in capsys.readouterr().err


def test_print_keeps_keys_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--print", "--api-key", "hush", "--max-inflight", "7"]) == 0
    shown = capsys.readouterr().out
    assert "hush" not in shown
    assert "SDRPN_MAX_INFLIGHT=7" in shown
