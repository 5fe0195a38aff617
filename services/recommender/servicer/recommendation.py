"""RecommendationService: requests checked, answers written; what is recommended is the pipeline's matter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
from windowshop.recommender.v1 import recommendation_pb2, recommendation_pb2_grpc

from services.recommender.pipeline.context import Answer, Ask, Result
from services.recommender.pipeline.recommender import Recommender
from services.recommender.servicer.admission import Admission
from services.recommender.servicer.paging import page_size
from services.recommender.servicer.products import ProductMessages
from services.recommender.servicer.scrolling import continued, next_token
from services.runtime import exchanges
from services.runtime.errors import invalid_field, not_found
from services.runtime.identifiers import check_id

SERVICE = recommendation_pb2.DESCRIPTOR.services_by_name["RecommendationService"].full_name

Context = grpc.aio.ServicerContext[Any, Any]

DEFAULT_CONFIG = "recommended-for-you"
SIMILAR_CONFIG = "similar-items"
DEFAULT_PAGE = 10
MAX_PAGE = 100
MAX_PRODUCTS = 20
MAX_EXCLUDED = 500
MAX_DEVICE = 32


class RecommendationServicer(recommendation_pb2_grpc.RecommendationServiceServicer):
    """Checks, asks the pipeline, answers."""

    def __init__(self, recommender: Recommender, admission: Admission) -> None:
        self._recommender = recommender
        self._admission = admission
        self._messages = ProductMessages()

    def register(self, server: grpc.aio.Server) -> None:
        """Adds this service to a server."""
        recommendation_pb2_grpc.add_RecommendationServiceServicer_to_server(self, server)

    async def Recommend(
        self, request: recommendation_pb2.RecommendRequest, context: Context
    ) -> recommendation_pb2.RecommendResponse:
        """The products to show next."""
        response = recommendation_pb2.RecommendResponse()
        await self._recommend(request, response)
        return response

    async def _recommend(
        self, request: recommendation_pb2.RecommendRequest, response: recommendation_pb2.RecommendResponse
    ) -> None:
        ask = _read(request)
        async with self._admission:
            _write(response, ask, await self._recommender.recommend(ask), self._messages)

    async def StreamRecommend(
        self, request_iterator: AsyncIterator[recommendation_pb2.StreamRecommendRequest], context: Context
    ) -> AsyncIterator[recommendation_pb2.StreamRecommendResponse]:
        """The same of many, each as a call of its own."""
        async for response in exchanges.answers(request_iterator, self._answer, _refused, _left):
            yield response

    async def _answer(
        self, request: recommendation_pb2.StreamRecommendRequest, _: float
    ) -> recommendation_pb2.StreamRecommendResponse:
        response = recommendation_pb2.StreamRecommendResponse(number=request.number)
        await self._recommend(request.ask, response.answer)
        return response

    async def ListSimilarProducts(
        self, request: recommendation_pb2.ListSimilarProductsRequest, context: Context
    ) -> recommendation_pb2.RecommendResponse:
        """Products like one product."""
        product_id = check_id(request.product_id, "productId")
        size = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)
        ask = Ask(SIMILAR_CONFIG, product_ids=(product_id,), page_size=size, explain=request.explain)
        ask = continued(ask, request.page_token)
        async with self._admission:
            if not await self._recommender.knows(product_id):
                raise not_found("PRODUCT_NOT_FOUND", "the catalogue does not have the product")
            response = recommendation_pb2.RecommendResponse()
            _write(response, ask, await self._recommender.recommend(ask), self._messages)
            return response


def _refused(
    request: recommendation_pb2.StreamRecommendRequest, error: bytes
) -> recommendation_pb2.StreamRecommendResponse:
    return recommendation_pb2.StreamRecommendResponse(number=request.number, error=error)


def _left(request: recommendation_pb2.StreamRecommendRequest) -> bool:
    return not request.HasField("ask")


def _read(request: recommendation_pb2.RecommendRequest) -> Ask:
    if request.user_id:
        check_id(request.user_id, "userId")
    if request.visitor_id:
        check_id(request.visitor_id, "visitorId")
    if len(request.device) > MAX_DEVICE:
        raise invalid_field("device", f"must have at most {MAX_DEVICE} characters")
    if len(request.product_ids) > MAX_PRODUCTS:
        raise invalid_field("productIds", f"must have at most {MAX_PRODUCTS} entries")
    if len(request.exclude_product_ids) > MAX_EXCLUDED:
        raise invalid_field("excludeProductIds", f"must have at most {MAX_EXCLUDED} entries")
    for number, product_id in enumerate(request.product_ids):
        check_id(product_id, f"productIds[{number}]")
    for number, product_id in enumerate(request.exclude_product_ids):
        check_id(product_id, f"excludeProductIds[{number}]")
    ask = Ask(
        serving_config=request.serving_config or DEFAULT_CONFIG,
        user_id=request.user_id,
        visitor_id=request.visitor_id,
        product_ids=tuple(dict.fromkeys(request.product_ids)),
        page_size=page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE),
        excluded=tuple(request.exclude_product_ids),
        explain=request.explain,
        device=request.device,
    )
    return continued(ask, request.page_token)


def _write(response: recommendation_pb2.RecommendResponse, ask: Ask, answer: Answer, messages: ProductMessages) -> None:
    """Into an empty message, which may be part of another: a part that is given is copied."""
    response.attribution_token = answer.attribution_token
    response.serving_config = answer.serving_config
    response.model_version = answer.model_version
    response.degraded.extend(answer.degraded)
    response.empty_reason = answer.empty_reason
    response.next_page_token = next_token(ask, answer)
    for result in answer.results:
        # Made in its place: a list of messages would be copied.
        response.results.add(
            id=result.product.id,
            score=result.score,
            reasons=result.reasons,
            product=messages.of(result.product),
            explanation=_write_explanation(result),
        )


def _write_explanation(result: Result) -> recommendation_pb2.Explanation | None:
    if result.explanation is None:
        return None
    return recommendation_pb2.Explanation(
        sources=[
            recommendation_pb2.FoundBy(
                source=trace.source,
                rank=trace.rank,
                score=trace.score,
                share=trace.share,
                anchor_product_id=trace.anchor or "",
            )
            for trace in result.traces
        ],
        contributions=[
            recommendation_pb2.Contribution(
                column=part.column, value=part.value, weight=part.weight, contribution=part.amount
            )
            for part in result.explanation.contributions
        ],
        moved_by=result.explanation.moved_by,
    )
