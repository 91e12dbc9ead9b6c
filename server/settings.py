"""The server's settings, in addition to vLLM's flags.

Each field is a flag of `sdrpn serve` (`max_inflight` is `--max-inflight`) and an environment
variable (`SDRPN_MAX_INFLIGHT`). The flags only set the variables, and the server reads those: so
the settings also work under plain vLLM, and keys are not in the process list.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    DirectoryPath,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
)

from server.pictures.limits import PictureLimits

PREFIX = "SDRPN_"

# Kubernetes gives pods such variables for every Service in the namespace, named like it.
_SERVICE_LINK = re.compile(
    PREFIX + r"([A-Z0-9_]+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)"
)


KEY_VARIABLE = f"{PREFIX}API_KEY"


class SettingsError(ValueError):
    """A setting is invalid; the message is one line that names its variable."""


def _listed(value: Any) -> Any:
    """`a,b` as a list: how lists are written in flags and variables."""
    if not isinstance(value, str):
        return value
    return [item.strip() for item in value.split(",") if item.strip()]


_Listed = BeforeValidator(_listed)


_Domain = Annotated[str, StringConstraints(to_lower=True, pattern=r"^\.?[\w-]+(\.[\w-]+)*(:\d+)?$")]


class Settings(BaseModel):
    """The settings of one server process."""

    model_config = ConfigDict(frozen=True)

    roi_default: Literal["on", "off"] = Field(
        default="on",
        description="whether chats with a picture and without `roi` are zoomed",
    )
    media_domains: Annotated[tuple[_Domain, ...], _Listed] = Field(
        default=(),
        description="hosts pictures may be fetched from, comma-separated; `.example.com` includes "
        "its subdomains, `example.com:8443` allows a port other than 80 and 443",
    )
    media_any_public: bool = Field(
        default=False, description="fetch pictures from any host with public addresses"
    )
    media_folder: DirectoryPath | None = Field(
        default=None, description="folder that `file:` URLs may name pictures in"
    )
    max_picture_mib: int = Field(
        default=PictureLimits.bytes // 2**20, ge=1, description="MiB of one picture's file"
    )
    max_picture_megapixels: int = Field(
        default=PictureLimits.pixels // 1_000_000,
        ge=1,
        le=178,
        description="megapixels of one picture; Pillow decodes at most 178",
    )
    upload_timeout: float = Field(
        default=60.0, gt=0, description="seconds a request's body may take to arrive"
    )
    max_pictures: int = Field(
        default=16,
        ge=1,
        description="pictures in one chat; each costs a decode and up to `base_tokens` tokens",
    )
    max_inflight: int = Field(
        default=256, ge=1, description="requests in flight; more are answered 429"
    )
    request_timeout: float = Field(
        default=600.0,
        gt=0,
        description="seconds a request may take, both passes together; the header "
        "X-Request-Timeout sets less for one request",
    )
    drain_timeout: float = Field(
        default=30.0,
        ge=0,
        description="seconds requests in flight may take to finish after SIGTERM",
    )
    api_key: Annotated[tuple[SecretStr, ...], _Listed] = Field(
        default=(),
        description="keys, comma-separated, one of which every request must carry; set "
        "SDRPN_API_KEY rather than the flag, which the process list shows",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="serve /metrics on this port only, without a key",
    )
    playground: bool = Field(default=True, description="serve the playground on GET /")


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that `environment` holds.

    An empty variable counts as not set; an empty list of keys is refused, as it would open the
    server. Raises SettingsError, also for a variable with our prefix that is no setting.
    """
    fields = {PREFIX + name.upper(): name for name in Settings.model_fields}
    _refuse_unknown(environment, fields)
    values = {
        name: environment[variable].strip()
        for variable, name in fields.items()
        if environment.get(variable, "").strip()
    }
    if KEY_VARIABLE in environment and not _listed(environment[KEY_VARIABLE]):
        raise SettingsError(f"{KEY_VARIABLE} is empty: unset it to serve without a key")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        variable = PREFIX + str(first["loc"][0]).upper()
        raise SettingsError(f"{variable}: {first['msg'].lower()}") from error


def _refuse_unknown(environment: Mapping[str, str], variables: Iterable[str]) -> None:
    for name in environment:
        if name.startswith(PREFIX) and name not in variables and not _SERVICE_LINK.fullmatch(name):
            nearest = difflib.get_close_matches(name, variables, n=1, cutoff=0.0)[0]
            raise SettingsError(f"{name} is not a setting; the nearest is {nearest}")
