"""The services of windowshop; each package below is one deployable, but for the mechanism they share in ``runtime``."""
