"""What an operator may set about our part of the server, beside vLLM's own flags.

Each field is a flag of `sdrpn serve` (`max_inflight` is `--max-inflight`) and an environment
variable (`SDRPN_MAX_INFLIGHT`). The flags only write the variables: the server reads those, so that
the plugins obey them under plain vLLM too, and keys never show in a process list.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
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

PREFIX = "SDRPN_"


class SettingsError(ValueError):
    """A setting has a value it cannot have; the message is one line naming its variable."""


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
        description="whether chats with a picture that say nothing of `roi` are zoomed",
    )
    media_domains: Annotated[tuple[_Domain, ...], _Listed] = Field(
        default=(),
        description="hosts pictures may be fetched from, comma-separated; `.example.com` takes in "
        "its subdomains, `example.com:8443` another port than 80 and 443",
    )
    media_any_public: bool = Field(
        default=False, description="fetch pictures from any host with public addresses"
    )
    media_folder: DirectoryPath | None = Field(
        default=None, description="folder that `file:` URLs may name pictures in"
    )
    max_inflight: int = Field(
        default=256, ge=1, description="requests worked on at once; more are answered 429"
    )
    request_timeout: float = Field(
        default=600.0,
        gt=0,
        description="seconds a request may take, both passes together; a caller may ask for less "
        "with the header X-Request-Timeout",
    )
    drain_timeout: float = Field(
        default=30.0,
        ge=0,
        description="seconds requests in flight may take to finish after SIGTERM",
    )
    api_key: Annotated[tuple[SecretStr, ...], _Listed] = Field(
        default=(),
        description="keys callers must bring, comma-separated; better set as SDRPN_API_KEY",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="serve /metrics on this port alone, without a key, and not on the main one",
    )
    playground: bool = Field(default=True, description="serve the page to try it on GET /")


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that `environment` holds. Raises SettingsError."""
    given = {
        name: environment[PREFIX + name.upper()]
        for name in Settings.model_fields
        if PREFIX + name.upper() in environment
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        variable = PREFIX + str(first["loc"][0]).upper()
        raise SettingsError(f"{variable}: {first['msg'].lower()}") from error
