"""Other ways to a second look, built into the same engine to compare ours with: `--research`.

Nobody who only wants answers needs them. With the setting on, a chat may name one of `ways` in its
`research` field; `python -m loadtests.compare` does.
"""
