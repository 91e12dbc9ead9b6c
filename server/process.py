"""vLLM's OpenAI server as a process of ours: the same, but for how it starts and ends.

Where our endpoint plugin cannot be loaded, vLLM says so in its log and serves without it: without
keys and guards. Here it is imported first, and a failure ends the start. vLLM's entry point returns
0 when its engine has died.
"""

import sys


def refuse_second_model() -> None:
    """Ends the process if a word among its arguments is no flag's: vLLM would pass over it.

    `sdrpn serve --host 0.0.0.0 MODEL` says `--model` for the shipped model; only vLLM's parser
    knows that MODEL is not a value of `--host`.
    """
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    word = make_arg_parser(FlexibleArgumentParser()).parse_args().model_tag
    if word is not None:
        sys.exit(f"sdrpn serve: is {word!r} the model? It goes first: sdrpn serve {word} ...")


if __name__ == "__main__":
    refuse_second_model()

    from vllm.entrypoints.launchers.api_server.entry import main

    from server import lifecycle, plugin  # noqa: F401

    main()
    sys.exit(lifecycle.exit_status)
