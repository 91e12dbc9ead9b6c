"""Pictures for the model: decoding, token grids, base views and crops.

Serving, distilling, evaluating and the demo all read pictures through this package, so that an RPN
is trained on the pixels it is served with. It needs Pillow, numpy and `rpn_plugin.families`.
"""
