"""Runs vLLM's OpenAI server with checks of its start and an exit status of its own.

vLLM loads the endpoint plugin after its engine has started, which takes minutes for a large model.
This module imports the plugin first, so that a failure ends the start at once. vLLM's entry point
returns 0 when its engine has died; this module then exits with `lifecycle.exit_status`.
"""

import sys


def check_arguments() -> None:
    """Ends the process for flags that cannot work, and for a word that belongs to no flag.

    vLLM would pass over such a word. `sdrpn serve --host 0.0.0.0 MODEL` sets `--model` to the
    shipped model, because only vLLM's parser can tell that MODEL is not the value of `--host`.
    """
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    from server.vllm_flags import refusal

    parser = make_arg_parser(FlexibleArgumentParser())
    options = parser.parse_args()
    if options.model_tag is not None:
        word = options.model_tag
        sys.exit(f"sdrpn serve: is {word!r} the model? It goes first: sdrpn serve {word} ...")
    if reason := refusal(parser, options):
        sys.exit(f"sdrpn serve: {reason}")


if __name__ == "__main__":
    check_arguments()

    from vllm.entrypoints.launchers.api_server.entry import main

    from server import lifecycle, plugin  # noqa: F401

    main()
    sys.exit(lifecycle.exit_status)
