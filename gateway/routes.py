"""The table of routes: what the REST side offers, one row each; adding a route is adding a row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from gateway.transcoding.binding import Binding, Lines, Query

_VARIABLE = re.compile(r"\{(\w+)\}")


class Timeout(Enum):
    """How long a call may take, in seconds: the one place where these numbers stand."""

    # Twenty times the 50 ms promise: whoever waits for a page has gone before.
    READ = 1.0
    RECOMMEND = 1.0
    # A commit behind a busy disk, a text embedding, a recomputation.
    WRITE = 5.0
    # Nobody waits for a page; a model's activation loads its vectors.
    ADMIN = 10.0
    # As long as it takes; the idle limits of `imports` end one that stands still.
    IMPORT = None


# A request that is all in the path.
NOTHING = Binding()


class Shape(Enum):
    """How the answer is written."""

    PROTO_JSON = "proto3 JSON"
    FEATURE_VALUES = "feature values"
    FEATURE_COLUMNS = "feature columns"


@dataclass(frozen=True, slots=True)
class Route:
    """A row. ``operation`` names it in the OpenAPI document and the log."""

    method: str
    path: str
    rpc: str
    timeout: Timeout
    operation: str
    summary: str
    request: Binding = NOTHING
    response: Shape = Shape.PROTO_JSON
    # RPCs of other services with the same request, called at the same time; their counts are added to the answer's.
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A row that the gateway answers itself."""

    path: str
    operation: str
    summary: str
    content_type: str
    method: str = "GET"


def variables(path: str) -> list[str]:
    """The variables of a path template, in order."""
    return _VARIABLE.findall(path)


_PAGING = {
    "pageSize": Query("page_size", description="At most so many; 0 or left out: the default."),
    "pageToken": Query("page_token", description="nextPageToken of the page before."),
}
_KINDS = (
    "recommended-for-you (left out), discover, buy-it-again, recently-viewed, similar-items, "
    "frequently-bought-together, trending or new-arrivals."
)
_NEXT_RESULTS = Query(
    "page_token", description="nextPageToken of the page before: up to 500 results in all, none of them twice."
)
_EXPLAIN = Query("explain", description="true: each result says how it came about, in explanation.")
_VALIDATE_ONLY = Query("validate_only", description="true: check everything, store nothing.")
_FEATURES = {"features": Query("features", comma=True, description="Names; left out: all of the entity's.")}

ROUTES: tuple[Route, ...] = (
    Route(
        "GET", "/features/{entity}/{id}", "FeatureService.GetFeatures", Timeout.READ,
        "GetFeatures", "Feature values of one entity, each with its status and age.",
        Binding(query=_FEATURES), Shape.FEATURE_VALUES,
    ),
    Route(
        "POST", "/v1/features/{entity}:batchGet", "FeatureService.BatchGetFeatures", Timeout.READ,
        "BatchGetFeatures", "Feature values of up to 1,000 entities of one type, in columns.",
        Binding(body="*", required=True), Shape.FEATURE_COLUMNS,
    ),
    Route(
        "GET", "/v1/featureDefinitions", "FeatureService.ListFeatureDefinitions", Timeout.READ,
        "ListFeatureDefinitions", "Every feature that is served here.", Binding(query=_PAGING),
    ),
    Route(
        "POST", "/v1/features/{entity}/{id}:refresh", "FeatureService.RefreshFeatures", Timeout.WRITE,
        "RefreshFeatures", "Recomputes features of one entity from the event log now.",
        Binding(body="*"), Shape.FEATURE_VALUES,
    ),
    Route(
        "POST", "/v1/events:write", "FeatureService.WriteEvents", Timeout.WRITE,
        "WriteEvents", "Appends up to 1,000 events; durable when answered, idempotent by eventId.",
        Binding(body="*", required=True),
    ),
    Route(
        "POST", "/v1/events:import", "FeatureService.ImportEvents", Timeout.IMPORT,
        "ImportEvents", "Appends any number of events, one a line.",
        Binding(lines=Lines("events", "rejected_samples")),
    ),
    Route(
        "GET", "/v1/users/{id}/recommendations", "RecommendationService.Recommend", Timeout.RECOMMEND,
        "RecommendForUser", "The products to show a user next.",
        Binding(
            path={"id": "user_id"},
            query={
                "servingConfig": Query("serving_config", description=_KINDS),
                "pageSize": Query("page_size", description="1 to 100; left out: 10."),
                "productId": Query("product_ids", description="The product or products on the page; may repeat."),
                "device": Query("device", description="For example mobile, as the shop's events name it."),
                "explain": _EXPLAIN,
                "pageToken": _NEXT_RESULTS,
            },
        ),
    ),
    Route(
        "DELETE", "/v1/users/{id}", "FeatureService.DeleteEntity", Timeout.ADMIN,
        "EraseUser", "Erases a user in every service; zeros for an unknown one; repeat it after 503.",
        Binding(fixed={"entity": "User"}), also=("PrivacyService.DeleteEntity",),
    ),
    Route(
        "DELETE", "/v1/visitors/{id}", "FeatureService.DeleteEntity", Timeout.ADMIN,
        "EraseVisitor", "Erases what a guest did before sign-in, by visitor id, as EraseUser does a user.",
        Binding(fixed={"entity": "Visitor"}), also=("PrivacyService.DeleteEntity",),
    ),
    Route(
        "POST", "/v1/visitors/{visitorId}:merge", "FeatureService.MergeVisitor", Timeout.ADMIN,
        "MergeVisitor", "A guest signs in: what it did up to now becomes the user's; repeat it after 503.",
        Binding(path={"visitorId": "visitor_id"}, body="*", required=True),
    ),
    Route(
        "POST", "/v1/servingConfigs/{id}:recommend", "RecommendationService.Recommend", Timeout.RECOMMEND,
        "Recommend", "The products to show next, with the whole request as JSON.",
        Binding(path={"id": "serving_config"}, body="*"),
    ),
    Route(
        "GET", "/v1/servingConfigs", "ServingConfigService.ListServingConfigs", Timeout.ADMIN,
        "ListServingConfigs", "What each kind of recommendation is made of, by id.", Binding(query=_PAGING),
    ),
    Route(
        "POST", "/v1/servingConfigs", "ServingConfigService.CreateServingConfig", Timeout.ADMIN,
        "CreateServingConfig", "Adds a kind of recommendation.",
        Binding(query={"validateOnly": _VALIDATE_ONLY}, body="serving_config"),
    ),
    Route(
        "GET", "/v1/servingConfigs/{id}", "ServingConfigService.GetServingConfig", Timeout.ADMIN,
        "GetServingConfig", "What one kind of recommendation is made of.",
    ),
    Route(
        "PATCH", "/v1/servingConfigs/{id}", "ServingConfigService.UpdateServingConfig", Timeout.ADMIN,
        "UpdateServingConfig", "Changes fields of a serving config, or creates it; every server follows within 2 s.",
        Binding(
            path={"id": "serving_config.id"},
            query={
                "allowMissing": Query("allow_missing", description="true: create a config that is not there."),
                "updateMask": Query(
                    "update_mask",
                    comma=True,
                    description="Fields to change, those not in the body to their defaults, those of diversity also "
                    "one by one (diversity.mmrLambda); left out: those in the body.",
                ),
                "validateOnly": _VALIDATE_ONLY,
            },
            body="serving_config", mask="update_mask",
        ),
    ),
    Route(
        "DELETE", "/v1/servingConfigs/{id}", "ServingConfigService.DeleteServingConfig", Timeout.ADMIN,
        "DeleteServingConfig", "Takes an edit back: a bundled config is as it came again, a created one is gone.",
        Binding(query={"etag": Query("etag", description="Only if the config is still in this state.")}),
    ),
    Route(
        "GET", "/v1/products/{id}/similar", "RecommendationService.ListSimilarProducts", Timeout.RECOMMEND,
        "ListSimilarProducts", "Products like one product.",
        Binding(
            path={"id": "product_id"},
            query={
                "pageSize": Query("page_size", description="1 to 100; left out: 10."),
                "explain": _EXPLAIN,
                "pageToken": _NEXT_RESULTS,
            },
        ),
    ),
    Route(
        "GET", "/v1/products/{id}", "CatalogService.GetProduct", Timeout.READ,
        "GetProduct", "A product of the catalogue.",
    ),
    Route(
        "GET", "/v1/products", "CatalogService.ListProducts", Timeout.READ,
        "ListProducts", "Products by id, ascending, in pages.", Binding(query=_PAGING),
    ),
    Route(
        "PATCH", "/v1/products/{id}", "CatalogService.UpdateProduct", Timeout.WRITE,
        "UpdateProduct", "Changes fields of a product, or creates it.",
        Binding(
            path={"id": "product.id"},
            query={
                "allowMissing": Query("allow_missing", description="true: create a product that is not there."),
                "updateMask": Query(
                    "update_mask",
                    comma=True,
                    description="Fields to change, those not in the body to their defaults; "
                    "left out: those in the body, of which null and what is empty clear.",
                ),
            },
            body="product", mask="update_mask",
        ),
    ),
    Route(
        "DELETE", "/v1/products/{id}", "CatalogService.DeleteProduct", Timeout.WRITE,
        "DeleteProduct", "Removes a product from the catalogue.",
    ),
    Route(
        "POST", "/v1/products:import", "CatalogService.ImportProducts", Timeout.IMPORT,
        "ImportProducts", "Upserts any number of products, one a line; FULL deletes those it does not name.",
        Binding(
            query={"mode": Query("mode", description="INCREMENTAL (left out) or FULL.")},
            lines=Lines("products", "error_samples", identity="id", whole=("mode", "FULL")),
        ),
    ),
    Route(
        "POST", "/v1/products/{id}:setInventory", "CatalogService.SetInventory", Timeout.WRITE,
        "SetInventory", "Sets the stock of a product; an older setTime than the known one changes nothing.",
        Binding(body="*", required=True),
    ),
    Route(
        "GET", "/v1/models", "ModelService.ListModels", Timeout.ADMIN,
        "ListModels", "Model versions, newest first.", Binding(query=_PAGING),
    ),
    Route(
        "GET", "/v1/models/{id}", "ModelService.GetModel", Timeout.ADMIN,
        "GetModel", "A model version and the progress of its training.",
    ),
    Route(
        "POST", "/v1/models:train", "ModelService.TrainModel", Timeout.ADMIN,
        "TrainModel", "Starts a training run; answers at once.", Binding(body="*"),
    ),
    Route(
        "POST", "/v1/models/{id}:activate", "ModelService.ActivateModel", Timeout.ADMIN,
        "ActivateModel", "Makes a trained model the one that serves.", Binding(body="*"),
    ),
)  # fmt: skip

OPENAPI = Page("/openapi.json", "GetOpenApi", "This document.", "application/json")
REFERENCE = Page("/docs", "GetReference", "This document as a page for people.", "text/html")
LIVE = Page("/livez", "GetLiveness", "200 while the process runs.", "text/plain")
READY = Page("/readyz", "GetReadiness", "200 while requests are welcome, 503 before and while draining.", "text/plain")

PAGES: tuple[Page, ...] = (OPENAPI, REFERENCE, LIVE, READY)
