"""cocos: exemplar-based image translation with CoCosNet, in batches, from the command line."""

__version__ = "0.1.0"
