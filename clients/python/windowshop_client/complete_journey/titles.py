"""Makes names that a person can read out of a cash register's abbreviations."""

import re

ABBREVIATIONS = {
    "BEV": "beverage", "BKD": "baked", "BN": "bean", "BRD": "bread", "BRDS": "breads", "BRKFST": "breakfast",
    "BRST": "breast", "BSKTS": "baskets", "BTL": "bottle", "BTLS": "bottles", "BTR": "butter", "CATFD": "cat food",
    "CHIX": "chicken", "CHP": "chopped", "CKTLS": "cocktails", "CKYS": "cookies", "CLEANG": "cleaning",
    "CND": "canned", "CNDY": "candy", "CNTRL": "control", "COCO": "cocoa", "COFF": "coffee", "CONC": "concentrate",
    "CRBNTD": "carbonated", "CRKR": "crackers", "CRMD": "creamed", "CRYSTL": "crystal", "DNR": "dinner",
    "DNRS": "dinners", "DOGFD": "dog food", "DRNK": "drink", "DRNKNG": "drinking", "DRNKS": "drinks",
    "DRSNG": "dressing", "DSH": "dishes", "ELECT": "electrical", "FD": "food", "FDS": "foods", "FEM": "feminine",
    "FLAV": "flavoured", "FLNK": "flank", "FLVR": "flavour", "FLVRD": "flavoured", "FRE": "fresh", "FRZ": "frozen",
    "FRZN": "frozen", "GDS": "goods", "GNGR": "ginger", "GRND": "ground", "HBC": "health & beauty",
    "HNGRS": "hangers", "HYGN": "hygiene", "JCE": "juice", "LIQ": "liquid", "LIQS": "liquids", "LNCHMT": "lunchmeat",
    "LSS": "less", "MEMORABLILIA": "memorabilia", "MFG": "manufacturer", "MISC": "miscellaneous", "MIXS": "mixes",
    "MLK": "milk", "MNRL": "mineral", "MW": "microwave", "MX": "mix", "MXS": "mixes", "NDAIRY": "non-dairy",
    "NTRTNL": "nutritional", "PK": "pack", "PKG": "package", "PCKGD": "packaged", "PKGD": "packaged", "PKLD": "pickled",
    "PLSTC": "plastic", "PNCH": "punch", "PNT": "peanut", "PPK": "prepack", "PREM": "premium", "PREP": "prepared",
    "PROD": "product", "PRPCK": "prepack", "PRSLC": "presliced", "PWDR": "powder", "PWDRS": "powders",
    "REFRGRATD": "refrigerated", "REFRIG": "refrigerated", "REG": "regular", "RW": "random-weight", "SALD": "salad",
    "SFT": "soft", "SHERBTS": "sherbets", "SHLDR": "shoulder", "SHLFSH": "shellfish", "SHNK": "shank",
    "SLC": "sliced", "SNDWCH": "sandwich", "SNGL": "single", "SNKS": "snacks", "SNSL": "seasonal", "SOD": "soda",
    "SPCL": "special", "SPECILATY": "specialty", "SPLY": "supplies", "SPRD": "spreads", "STK": "stick",
    "STRP": "strip", "SUP": "super", "SUPP": "supplies", "SUPPPLIES": "supplies", "SV": "service", "SW": "sweet",
    "SWE": "sweet", "SWEETNERS": "sweeteners", "SWT": "sweet", "TISS": "tissue", "TRSH": "trash", "VEG": "vegetable",
    "WHL": "whole", "WHLSM": "wholesome", "WT": "weight", "WTR": "water", "XPCTRNT": "expectorant",
}  # fmt: skip
"""As used by the department, category and type names of the data."""

ACRONYMS = frozenset({"BBQ", "CD", "DVD", "DVDS", "GM", "IQF", "NZ", "OJ", "OTC", "SPF", "TV", "USA", "VHS"})

SMALL_WORDS = frozenset({"and", "at", "by", "for", "in", "of", "on", "or", "the", "to", "with"})

_WORD = re.compile(r"[A-Za-z']+")


def readable(name: str) -> str:
    """ "FRZN JCE CONC/DRNKS" -> "Frozen Juice Concentrate/Drinks"."""
    words = _WORD.sub(lambda match: _word(match.group()), " ".join(name.split()))
    spaced = re.sub(r"\s*([:,&])\s*", lambda sign: {"&": " & "}.get(sign[1], f"{sign[1]} "), words)
    # A path's levels are set apart by ">", so no name may hold one; some names end in an open bracket.
    closed = re.sub(r"\s*\([^)]*$", "", spaced).replace(">", "-").strip(" -:,&/")
    return closed[:1].upper() + closed[1:]


def size(package: str) -> str:
    """ "EX   16 OZ" -> "16 oz"; empty when it holds no number."""
    found = re.search(r"[\d./]*\d.*", package)
    return " ".join(found.group().split()).lower() if found else ""


def _word(word: str) -> str:
    upper = word.upper()
    if upper in ACRONYMS:
        return upper
    plain = ABBREVIATIONS.get(upper, word.lower())
    if plain in SMALL_WORDS:
        return plain
    return re.sub(r"(?<![a-z'])[a-z]", lambda first: first.group().upper(), plain)
