"""ServingConfigService: serving configs over gRPC."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import grpc
from windowshop.recommender.v1 import serving_config_pb2 as pb
from windowshop.recommender.v1 import serving_config_pb2_grpc

from services.recommender.domain.scoring import COLUMNS
from services.recommender.domain.serving import (
    DEFAULT_DEADLINE,
    DEFAULT_EMPTY_REASON,
    ID_RULE,
    Diversity,
    ServingConfig,
    SourceSpec,
    is_config_id,
    problems,
)
from services.recommender.pipeline.serving_configs import Served, ServingConfigs
from services.recommender.servicer.messages import named_fields, refuse, write_time
from services.recommender.servicer.paging import decode_token, encode_token, page_size
from services.runtime.errors import ServiceError, aborted, already_exists, invalid_field, not_found

SERVICE = pb.DESCRIPTOR.services_by_name["ServingConfigService"].full_name

Context = grpc.aio.ServicerContext[Any, Any]

DEFAULT_PAGE = 100
MAX_PAGE = 1_000

_SHARES = ("category_cap", "brand_cap", "session_share", "mmr_lambda", "mmr_vectors", "newcomer_share")
_FIELDS = frozenset(
    {
        "sources",
        "anchors",
        "needs_products",
        "objective",
        "never_bought",
        "fill",
        "diversity",
        "weights",
        "empty_reason",
        *(f"diversity.{share}" for share in _SHARES),
    }
)
# Named in a mask these change nothing: the id says which config, the others are the service's to set.
_IGNORED_FIELDS = frozenset({"id", "origin", "etag", "update_time"})


class ServingConfigServicer(serving_config_pb2_grpc.ServingConfigServiceServicer):
    """Checks, edits, answers."""

    def __init__(self, configs: ServingConfigs, known_sources: Collection[str]) -> None:
        self._configs = configs
        self._known_sources = known_sources

    def register(self, server: grpc.aio.Server) -> None:
        """Adds this service to a server."""
        serving_config_pb2_grpc.add_ServingConfigServiceServicer_to_server(self, server)

    async def ListServingConfigs(
        self, request: pb.ListServingConfigsRequest, context: Context
    ) -> pb.ListServingConfigsResponse:
        """A page of configs, by id."""
        size = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)
        after = decode_token("serving-configs", request.page_token)
        found = self._configs.page(after, size + 1)
        token = encode_token("serving-configs", found[size - 1].config.id) if len(found) > size else ""
        return pb.ListServingConfigsResponse(
            serving_configs=[_write(served) for served in found[:size]], next_page_token=token
        )

    async def GetServingConfig(self, request: pb.GetServingConfigRequest, context: Context) -> pb.ServingConfig:
        """One config, as it serves."""
        served = self._configs.served(request.id)
        if served is None:
            raise _unknown()
        return _write(served)

    async def CreateServingConfig(self, request: pb.CreateServingConfigRequest, context: Context) -> pb.ServingConfig:
        """Adds a config."""
        sent = self._checked(_read(request.serving_config, ServingConfig(request.serving_config.id, ()), _FIELDS))

        def decide(served: Served | None) -> ServingConfig:
            if served is not None:
                raise already_exists("SERVING_CONFIG_EXISTS", f"there is a serving config {sent.id} already")
            return sent

        return _write(await self._configs.edit(sent.id, decide, validate_only=request.validate_only))

    async def UpdateServingConfig(self, request: pb.UpdateServingConfigRequest, context: Context) -> pb.ServingConfig:
        """Changes the named fields of a config, or creates it."""
        sent = request.serving_config
        if not is_config_id(sent.id):
            raise invalid_field("id", ID_RULE, reason="INVALID_ID")
        fields = named_fields(sent, request.update_mask, _FIELDS, _IGNORED_FIELDS)

        def decide(served: Served | None) -> ServingConfig:
            if served is None and not request.allow_missing:
                raise _unknown()
            _expect(served, sent.etag)
            stored, named = (served.config, fields) if served else (ServingConfig(sent.id, ()), _FIELDS)
            return self._checked(_read(sent, stored, named))

        return _write(await self._configs.edit(sent.id, decide, validate_only=request.validate_only))

    async def DeleteServingConfig(
        self, request: pb.DeleteServingConfigRequest, context: Context
    ) -> pb.DeleteServingConfigResponse:
        """Takes an edit back."""
        if "\0" in request.id:
            raise _unknown()  # no text of the store
        restored = await self._configs.take_back(request.id, lambda served: _expect(served, request.etag))
        return pb.DeleteServingConfigResponse(restored=_write(restored) if restored else None)

    def _checked(self, config: ServingConfig) -> ServingConfig:
        refuse(problems(config, self._known_sources, COLUMNS))
        return config


def _unknown() -> ServiceError:
    return not_found("SERVING_CONFIG_NOT_FOUND", "there is no such serving config")


def _expect(served: Served | None, etag: str) -> None:
    if etag and (served is None or served.etag != etag):
        raise aborted("SERVING_CONFIG_CHANGED", "the serving config was changed since it was read; read it again")


def _read(message: pb.ServingConfig, stored: ServingConfig, fields: Collection[str]) -> ServingConfig:
    """``stored`` with the named fields of ``message``; what the message leaves out gets its default."""
    sent = ServingConfig(
        id=message.id,
        sources=tuple(
            SourceSpec(
                source.name,
                source.limit,
                source.deadline_ms / 1000 if source.deadline_ms else DEFAULT_DEADLINE,
                source.weight,
            )
            for source in message.sources
        ),
        anchors=_name(pb.Anchors, message.anchors, "anchors", "session"),
        needs_products=message.needs_products,
        objective=_name(pb.Objective, message.objective, "objective", "weights"),
        never_bought=message.never_bought,
        fill=message.fill if message.HasField("fill") else True,
        empty_reason=message.empty_reason or DEFAULT_EMPTY_REASON,
        diversity=_read_diversity(message.diversity),
        weights=dict(message.weights),
    )
    shares = {share: getattr(sent.diversity, share) for share in _SHARES if f"diversity.{share}" in fields}
    whole = [name for name in fields if "." not in name]
    merged = replace(stored, **{name: getattr(sent, name) for name in whole})
    return (
        merged
        if "diversity" in fields or not shares
        else replace(merged, diversity=replace(stored.diversity, **shares))
    )


def _read_diversity(message: pb.Diversity) -> Diversity:
    def share(name: str) -> float:
        value: float = getattr(message, name)
        return value if message.HasField(name) else 1.0  # type: ignore[arg-type]  # the stub wants a literal

    return Diversity(
        category_cap=share("category_cap"),
        brand_cap=share("brand_cap"),
        session_share=message.session_share,
        mmr_lambda=share("mmr_lambda"),
        mmr_vectors=_name(pb.DiversityVectors, message.mmr_vectors, "diversity.mmrVectors", "text"),
        newcomer_share=message.newcomer_share,
    )


def _name(enum: Any, number: int, field: str, default: str) -> str:
    """The domain's word for an enum's value: its name in small letters."""
    if number == 0:
        return default
    if number not in enum.values():
        raise invalid_field(field, "must be a value of the contract", reason="INVALID_VALUE")
    name: str = enum.Name(number)
    return name.lower()


def _write(served: Served) -> pb.ServingConfig:
    config, shares = served.config, served.config.diversity
    return pb.ServingConfig(
        id=config.id,
        sources=[
            pb.CandidateSource(
                name=source.name, limit=source.limit, deadline_ms=round(source.deadline * 1000), weight=source.weight
            )
            for source in config.sources
        ],
        anchors=pb.Anchors.Value(config.anchors.upper()),
        needs_products=config.needs_products,
        objective=pb.Objective.Value(config.objective.upper()),
        never_bought=config.never_bought,
        fill=config.fill,
        diversity=pb.Diversity(
            category_cap=shares.category_cap,
            brand_cap=shares.brand_cap,
            session_share=shares.session_share,
            mmr_lambda=shares.mmr_lambda,
            mmr_vectors=pb.DiversityVectors.Value(shares.mmr_vectors.upper()),
            newcomer_share=shares.newcomer_share,
        ),
        weights=config.weights,
        empty_reason=config.empty_reason,
        origin=pb.ConfigOrigin.Value(served.origin),
        etag=served.etag,
        update_time=write_time(served.update_time),
    )
