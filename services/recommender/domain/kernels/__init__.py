"""What is compiled: steps over a few hundred elements each, of which numpy would take ten calls (docs/adr/0028).

It knows arrays of numbers, no product and no shopper. The sources are ``compiled.pyx`` and what that includes. Types,
and what each function does, are in ``compiled.pyi``.
"""

try:
    from services.recommender.domain.kernels.compiled import (
        add_leaves,
        add_up,
        best,
        best_of_shelves,
        better,
        distinct,
        falling,
        fuse,
        givers,
        inner,
        leading,
        longer,
        look_up,
        named,
        solve,
        spread,
        traces,
    )
except ImportError as error:
    raise ImportError("services/recommender/domain/kernels is not compiled as it is now: run `make setup`") from error

__all__ = [
    "add_leaves",
    "add_up",
    "best",
    "best_of_shelves",
    "better",
    "distinct",
    "falling",
    "fuse",
    "givers",
    "inner",
    "leading",
    "longer",
    "look_up",
    "named",
    "solve",
    "spread",
    "traces",
]
