"""The demo shop, deterministic and invented, and its way into a running windowshop.

The generator knows no protobuf and no server; `load` knows both and nothing of how the shop is drawn.
"""
