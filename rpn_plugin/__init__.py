"""The engine side of sdrpn: tap, region proposal network, side channel, checkpoints, distillation.

Importing this package is cheap and needs neither vLLM nor torch; only `rpn_plugin.engine` imports
vLLM, and only `rpn_plugin.network.rpn`,
`rpn_plugin.network.checkpoint` and `rpn_plugin.distill` import torch.
"""
