"""The `sdrpn` command."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence

from server.cli import launch
from server.cli import setting_flags as flags

_SERVE_USAGE = "sdrpn serve [--flag=value ...] [MODEL] [--rpn PATH] [--print] [any vllm flag ...]"
_SERVE_ABOUT = """\
Serve MODEL (a Hugging Face folder or name; without one, the small model that ships with sdrpn)
with its RPN, OpenAI-compatible, on 127.0.0.1:8000. Every other flag goes to vLLM's server."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="sdrpn", description="Serve vision-language models that see small detail."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="start the endpoint", usage=_SERVE_USAGE, add_help=False)
    commands.add_parser("distill", help="train an RPN for a model", add_help=False)
    ask_parser = commands.add_parser("ask", help="ask a running endpoint about a picture")
    doctor_parser = commands.add_parser(
        "doctor", help="check that the parts of this installation fit together"
    )
    doctor_parser.add_argument("model", nargs="?", help="default: the shipped one")
    doctor_parser.add_argument("--rpn", metavar="PATH", help="RPN folder (default: MODEL/rpn)")

    convert_parser = commands.add_parser(
        "convert", help="write the RPN of a released checkpoint to a folder of its own"
    )

    eval_parser = commands.add_parser("eval", help="measure a running endpoint on benchmark files")

    from server.cli import ask, convert
    from server.eval import evaluation

    evaluation.add_arguments(eval_parser)
    ask.add_arguments(ask_parser)
    convert.add_arguments(convert_parser)
    if arguments[:1] == ["serve"]:  # its flags are vLLM's, which argparse does not know
        return serve(arguments[1:])
    if arguments[:1] == ["distill"]:  # its steps are optional
        from server.cli import distill

        return distill.main(arguments[1:])
    options = parser.parse_args(arguments)
    if options.command == "ask":
        return ask.run(options)
    if options.command == "eval":
        return evaluation.run(options)
    if options.command == "convert":
        return convert.run(options)
    from server.cli import doctor

    return doctor.run(options.model, options.rpn)


def serve(arguments: Sequence[str]) -> int:
    """Become vLLM's server for the model, with everything else that was asked for."""
    model, flags_given = _take_model(arguments)
    parser = argparse.ArgumentParser(
        usage=_SERVE_USAGE,
        description=_SERVE_ABOUT,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rpn", metavar="PATH", help="RPN folder (default: MODEL/rpn)")
    parser.add_argument(
        "--print", action="store_true", help="show vLLM's command line and environment, and exit"
    )
    flags.add_flags(parser)
    options, vllm_arguments = parser.parse_known_args(flags_given)
    environment = {**os.environ, **flags.variables(options)}
    try:
        planned = launch.plan(model, options.rpn, vllm_arguments, environment)
    except launch.LaunchError as error:
        print(f"sdrpn serve: {error}", file=sys.stderr)
        return 2
    if options.print:
        print(_shown(planned))
        return 0
    launch.run(planned)
    return 0  # not reached: the process has become the server


def _take_model(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The first argument that is no `--flag=value`, unless that is a flag too; and the others.

    An image's entry point puts some of these before what its user adds. After a flag written
    without `=`, only vLLM could tell a model from a value.
    """
    own = next((n for n, one in enumerate(arguments) if not re.match("--[^=]+=", one)), None)
    if own is None or arguments[own].startswith("-"):
        return None, list(arguments)
    return arguments[own], [*arguments[:own], *arguments[own + 1 :]]


def _shown(planned: launch.Launch) -> str:
    """The command line for a shell, with what it needs in the environment; keys are left out."""
    added = [
        f"{name}={'...' if name == flags.KEY_VARIABLE else shlex.quote(value)}"
        for name, value in planned.environment.items()
        if os.environ.get(name) != value
    ]
    return " ".join([*added, shlex.join(planned.plain_command)])


if __name__ == "__main__":
    sys.exit(main())
