"""Paths, queries and bodies into requests."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from windowshop.features.v1 import features_pb2 as features
from windowshop.recommender.v1 import catalog_pb2 as catalog
from windowshop.recommender.v1 import recommendation_pb2 as recommendation

from gateway.clients import RPCS
from gateway.routes import ROUTES, variables
from gateway.transcoding.binding import RequestBinder
from services.runtime.errors import ServiceError

BY_OPERATION = {route.operation: route for route in ROUTES}


def bind(
    operation: str, path: Mapping[str, str], query: Mapping[str, Sequence[str]] | None = None, body: bytes = b""
) -> Any:
    route = BY_OPERATION[operation]
    binder = RequestBinder(RPCS[route.rpc].request, route.request, variables(route.path))
    return binder.bind(path, query or {}, body)


def refused(operation: str, *arguments: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as caught:
        bind(operation, *arguments)
    return caught.value.reason, caught.value.violations[0].field


USER = {"entity": "User", "id": "u:1"}


def test_path_and_comma_list() -> None:
    assert bind("GetFeatures", USER, {"features": ["a,b"]}) == features.GetFeaturesRequest(
        entity="User", id="u:1", features=["a", "b"]
    )


def test_an_empty_parameter_is_left_out() -> None:
    assert bind("GetFeatures", USER, {"features": [""]}) == features.GetFeaturesRequest(entity="User", id="u:1")
    assert bind("ListProducts", {}, {"pageSize": [""], "pageToken": [""]}) == catalog.ListProductsRequest()


def test_recommendations_for_a_user() -> None:
    query = {"servingConfig": ["trending"], "pageSize": ["5"], "productId": ["a", "b"], "device": ["app"]}
    assert bind("RecommendForUser", {"id": "u"}, query) == recommendation.RecommendRequest(
        user_id="u", serving_config="trending", page_size=5, product_ids=["a", "b"], device="app"
    )


def test_update_with_mask_and_body() -> None:
    request = bind(
        "UpdateProduct",
        {"id": "p"},
        {"allowMissing": ["true"], "updateMask": ["availableQuantity,title"]},
        b'{"title": "t", "availableQuantity": 3}',
    )
    assert request == catalog.UpdateProductRequest(
        product=catalog.Product(id="p", title="t", available_quantity=3),
        update_mask=FieldMask(paths=["available_quantity", "title"]),
        allow_missing=True,
    )


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b'{"brand": "", "tags": [], "price": null, "title": "t"}', ["brand", "tags", "price", "title"]),
        (b'{"availableQuantity": 0, "available_time": null}', ["available_quantity", "available_time"]),
        (b"{}", []),
        (b"", []),
    ],
)
def test_an_update_without_a_mask_changes_what_the_body_names(body: bytes, paths: list[str]) -> None:
    """Also what it empties, which a message cannot tell from what was left out."""
    assert list(bind("UpdateProduct", {"id": "p"}, {}, body).update_mask.paths) == paths
    masked = bind("UpdateProduct", {"id": "p"}, {"updateMask": ["title"]}, body)
    assert list(masked.update_mask.paths) == ["title"]


@pytest.mark.parametrize(
    ("operation", "path", "query", "body", "expected"),
    [
        ("GetFeatures", {"entity": "User", "id": "a b"}, {}, b"", ("INVALID_ID", "id")),
        ("GetFeatures", {"entity": "User", "id": "a" * 129}, {}, b"", ("INVALID_ID", "id")),
        ("GetFeatures", {"entity": "Üser", "id": "a"}, {}, b"", ("INVALID_ID", "entity")),
        ("GetFeatures", {"entity": "User", "id": "\udcff"}, {}, b"", ("INVALID_ID", "id")),
        ("GetFeatures", USER, {"feature": ["a"]}, b"", ("UNKNOWN_PARAMETER", "feature")),
        ("GetFeatures", USER, {"features": ["a,,b"]}, b"", ("INVALID_VALUE", "features")),
        ("GetFeatures", USER, {"features": ["a", "b"]}, b"", ("INVALID_VALUE", "features")),
        ("GetFeatures", USER, {"features": ["\x00"]}, b"", ("INVALID_VALUE", "features")),
        ("GetFeatures", USER, {"features": ["\udcff"]}, b"", ("INVALID_VALUE", "features")),
        ("ListProducts", {}, {"pageSize": ["1.5"]}, b"", ("INVALID_VALUE", "pageSize")),
        ("ListProducts", {}, {"pageSize": ["9999999999"]}, b"", ("INVALID_VALUE", "pageSize")),
        ("ListProducts", {}, {"pageSize": ["١"]}, b"", ("INVALID_VALUE", "pageSize")),
        ("ListProducts", {}, {"pageSize": ["1", "2"]}, b"", ("INVALID_VALUE", "pageSize")),
        ("UpdateProduct", {"id": "p"}, {"allowMissing": ["yes"]}, b"", ("INVALID_VALUE", "allowMissing")),
        ("UpdateProduct", {"id": "p"}, {"updateMask": ["available_quantity"]}, b"", ("INVALID_VALUE", "updateMask")),
        ("UpdateProduct", {"id": "p"}, {}, b'{"id": "q"}', ("INVALID_VALUE", "id")),
        ("UpdateProduct", {"id": "p"}, {}, b'{"colour": 1}', ("UNKNOWN_FIELD", "colour")),
        ("SetInventory", {"id": "p"}, {}, b'{"id": "q"}', ("INVALID_VALUE", "id")),
        ("SetInventory", {"id": "p"}, {}, b"[]", ("INVALID_VALUE", "(body)")),
        ("DeleteProduct", {"id": "p"}, {"allowMissing": ["true"]}, b"", ("UNKNOWN_PARAMETER", "allowMissing")),
    ],
)
def test_what_does_not_fit_is_named(
    operation: str, path: dict[str, str], query: dict[str, list[str]], body: bytes, expected: tuple[str, str]
) -> None:
    assert refused(operation, path, query, body) == expected


def test_a_body_may_repeat_the_path() -> None:
    assert bind("SetInventory", {"id": "p"}, {}, b'{"id": "p", "availableQuantity": 0}').available_quantity == 0


def test_no_body_is_an_empty_one() -> None:
    assert bind("RefreshFeatures", USER) == features.RefreshFeaturesRequest(entity="User", id="u:1")
