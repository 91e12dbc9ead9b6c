"""Our HTTP routes beside vLLM's, and the answer to a RequestError that a route raises.

Rests on vLLM's `with_cancellation` (a client that hangs up cancels the handler) and on
`app.state`: `sdrpn_chat` is set by `plugin.py`, `engine_client` by vLLM.
"""

import asyncio

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.entrypoints.serve.utils.api_utils import (
    load_aware_call,
    validate_json_request,
    with_cancellation,
)
from vllm.v1.engine.exceptions import EngineDeadError

from server.api.errors import NotFound, RequestError
from server.guard.asgi import error_response
from server.handlers.chat import TwoPassChat

ENGINE_ANSWERS_WITHIN = 10.0
"""Seconds. The engine answers between two steps, and a long prefill on a CPU takes a while."""

router = APIRouter()


def attach(app: FastAPI) -> None:
    """Adds the routes to vLLM's app, and the handler that answers a RequestError."""
    app.include_router(router)
    app.router.redirect_slashes = False  # `ErrorForm` takes trailing slashes off
    app.add_exception_handler(RequestError, _answer_request_error)


async def _answer_request_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return error_response(error)


async def regions(request: ChatCompletionRequest, raw_request: Request) -> JSONResponse:
    """The regions a chat completion would be answered with: its `roi` object, and no answer."""
    chat: TwoPassChat = raw_request.app.state.sdrpn_chat
    report = await chat.regions(request, raw_request)
    if isinstance(report, ErrorResponse):
        return JSONResponse(report.model_dump(), status_code=report.error.code)
    return JSONResponse(report.model_dump(mode="json"))


# vLLM's decorators are untyped, and look for arguments of these two names.
router.add_api_route(
    "/v1/regions",
    with_cancellation(load_aware_call(regions)),
    methods=["POST"],
    dependencies=[Depends(validate_json_request)],
)


@router.get("/v1/models/{model_id:path}")
async def model(model_id: str, raw_request: Request) -> JSONResponse:
    """One of the models that `/v1/models` lists. Raises NotFound."""
    models = await raw_request.app.state.openai_serving_models.show_available_models()
    for card in models.data:
        if card.id == model_id:
            return JSONResponse(card.model_dump())
    raise NotFound(f"the model {model_id!r} does not exist", "model")


@router.get("/health/live")
async def live(raw_request: Request) -> JSONResponse:
    """200 while this process handles requests and its engine is not hung; else 503."""
    state = raw_request.app.state
    if state.sdrpn_engine_probe.hung(state.sdrpn_admission.inflight):
        return _not_ready("the engine has been silent for too long")
    return JSONResponse({"status": "live"})


@router.get("/health/ready")
async def ready(raw_request: Request) -> JSONResponse:
    """200 if requests are taken and the engine answers now; else 503 with the reason."""
    if reason := raw_request.app.state.sdrpn_admission.closed:
        return _not_ready(reason)
    engine = raw_request.app.state.engine_client
    try:
        async with asyncio.timeout(ENGINE_ANSWERS_WITHIN):
            asleep = await engine.is_sleeping()
    except EngineDeadError:
        return _not_ready("the engine is dead")
    except TimeoutError:
        return _not_ready(f"the engine did not answer within {ENGINE_ANSWERS_WITHIN:.0f} s")
    return _not_ready("the engine is asleep") if asleep else JSONResponse({"status": "ready"})


def _not_ready(reason: str) -> JSONResponse:
    return JSONResponse(
        {"status": "not ready", "reason": reason}, status_code=503, headers={"Retry-After": "5"}
    )
