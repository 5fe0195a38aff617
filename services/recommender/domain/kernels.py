"""What is compiled: steps over a few hundred elements each, of which numpy would take ten calls (docs/adr/0028).

The source is ``_kernels.pyx``, the types are ``_kernels.pyi``; what each function does is said there.
"""

try:
    from services.recommender.domain._kernels import (
        add_up,
        best,
        best_of_shelves,
        better,
        distinct,
        falling,
        fuse,
        givers,
        leading,
        leaves,
        longer,
        look_up,
        named,
        spread,
        traces,
    )
except ImportError as error:
    raise ImportError(
        "services/recommender/domain/_kernels.pyx is not compiled as it is now: run `make setup`"
    ) from error

__all__ = [
    "add_up",
    "best",
    "best_of_shelves",
    "better",
    "distinct",
    "falling",
    "fuse",
    "givers",
    "leading",
    "leaves",
    "longer",
    "look_up",
    "named",
    "spread",
    "traces",
]
