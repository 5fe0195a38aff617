"""The RPCs: checks a request, asks the reader, the writer or the log, answers in protobuf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Any

import grpc
from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc as rpc

from services.features import transcoding
from services.features.definitions import Definitions
from services.features.domain.events import DETAIL_PAGE_VIEW, EVENT_TYPES, PURCHASE_COMPLETE, RATE
from services.features.domain.features import Feature, Status
from services.features.erasing import Eraser
from services.features.marking import USER
from services.features.merging import Merger
from services.features.ports import StoreDownError
from services.features.questions import VISITOR, Questions, no_feature, subjects
from services.features.reading import Answer, Reader, RowAnswer
from services.features.training import TrainingReader
from services.features.writing import Writer
from services.runtime import exchanges
from services.runtime.errors import ServiceError, aborted, invalid_field, not_found, unavailable
from services.runtime.identifiers import check_id

MAX_EVENTS = 1_000
MAX_CHUNK = 5_000
MAX_PAGE = 1_000
DEFAULT_PAGE = 100
REJECTED_SAMPLES = 100
MAX_TRAINING_FEATURES = 20
# 9999-12-31 UTC, the last day of timestamps.
MAX_TRAINING_US = 253_402_214_400 * 1_000_000
DEFAULT_TRAINING_TYPES = (DETAIL_PAGE_VIEW, "add-to-cart", PURCHASE_COMPLETE, RATE)
# What a ranker learns from: what was shown, and what was bought.
DEFAULT_LABEL_TYPES = ("impression", PURCHASE_COMPLETE)

# Of a caller's time.
COMPUTE_SHARE = 0.8
# Between two chunks of an import.
CHUNK_SECONDS = 60.0

Context = grpc.aio.ServicerContext[Any, Any]


class FeatureServicer(rpc.FeatureServiceServicer):
    """windowshop.features.v1.FeatureService."""

    def __init__(
        self,
        definitions: Definitions,
        reader: Reader,
        writer: Writer,
        eraser: Eraser,
        merger: Merger,
        training: TrainingReader,
        clock_ms: Callable[[], int],
    ) -> None:
        self._definitions = definitions
        self._reader = reader
        self._writer = writer
        self._eraser = eraser
        self._merger = merger
        self._training = training
        self._clock_ms = clock_ms
        self._questions = Questions(definitions)

    async def GetFeatures(self, request: pb.GetFeaturesRequest, context: Context) -> pb.GetFeaturesResponse:
        """See the contract."""
        entity, features = self._questions.meant(request.entity, tuple(request.features))
        check_id(request.id, "id")
        answer = await self._reader.read(
            entity, subjects(request.entity, (request.id,)), features, patience=_patience(context)
        )
        response = pb.GetFeaturesResponse(entity=request.entity, id=request.id, degraded=answer.degraded)
        self._fill(response, features, answer)
        return response

    async def RefreshFeatures(self, request: pb.RefreshFeaturesRequest, context: Context) -> pb.RefreshFeaturesResponse:
        """See the contract."""
        entity, features = self._questions.meant(request.entity, tuple(request.features))
        check_id(request.id, "id")
        answer = await self._reader.read(
            entity, subjects(request.entity, (request.id,)), features, True, _patience(context)
        )
        response = pb.RefreshFeaturesResponse(entity=request.entity, id=request.id, degraded=answer.degraded)
        self._fill(response, features, answer)
        return response

    async def BatchGetFeatures(
        self, request: pb.BatchGetFeaturesRequest, context: Context
    ) -> pb.BatchGetFeaturesResponse:
        """See the contract."""
        return await self.batch(request, _patience(context))

    async def batch(self, request: pb.BatchGetFeaturesRequest, patience: float | None) -> pb.BatchGetFeaturesResponse:
        """The answer to a request, however it came. ``patience``: seconds for the log; see Reader.read."""
        entity, features, known_as = self._questions.batch(request.entity, request.ids, request.features)
        answer = await self._reader.read(entity, known_as, features, patience=patience)
        return pb.BatchGetFeaturesResponse(
            entity=request.entity,
            ids=request.ids,
            columns=[transcoding.feature_column(f, answer.columns[f.name]) for f in features],
            degraded=answer.degraded,
        )

    async def rows(self, request: pb.BatchGetFeaturesRequest, patience: float | None) -> pb.BatchGetFeaturesResponse:
        """`batch`, in rows."""
        return (await self._rows(0, request, patience)).answer

    async def _rows(
        self, number: int, request: pb.BatchGetFeaturesRequest, patience: float | None
    ) -> pb.ReadFeaturesResponse:
        entity, features, known_as = self._questions.again(
            request.entity, request.ids, request.features, request.SerializeToString
        )

        def write(read: RowAnswer) -> pb.ReadFeaturesResponse:
            response = pb.ReadFeaturesResponse(number=number)
            answer = response.answer  # in its place at once: to copy a message is to write it out and read it again
            transcoding.fill_sheet(answer, features, read.found)
            answer.degraded.extend(read.degraded)
            return response

        return await self._reader.read_rows(entity, known_as, features, patience, write)

    async def ReadFeatures(
        self, request_iterator: AsyncIterator[pb.ReadFeaturesRequest], context: Context
    ) -> AsyncIterator[pb.ReadFeaturesResponse]:
        """See the contract."""
        async for response in exchanges.answers(request_iterator, self._read, _refused):
            yield response

    async def _read(self, request: pb.ReadFeaturesRequest, seconds: float) -> pb.ReadFeaturesResponse:
        if request.sheet:
            return await self._rows(request.number, request.read, seconds * COMPUTE_SHARE)
        answer = await self.batch(request.read, seconds * COMPUTE_SHARE)
        return pb.ReadFeaturesResponse(number=request.number, answer=answer)

    async def ListFeatureDefinitions(
        self, request: pb.ListFeatureDefinitionsRequest, context: Context
    ) -> pb.ListFeatureDefinitionsResponse:
        """See the contract. A page token is the name of the page's first feature."""
        if not 0 <= request.page_size <= MAX_PAGE:
            raise invalid_field("pageSize", f"must be 1 to {MAX_PAGE}")
        features, start = self._definitions.features, 0
        if request.page_token:
            names = [f.name for f in features]
            if request.page_token not in names:
                raise invalid_field("pageToken", "is not one that this service gave", reason="INVALID_PAGE_TOKEN")
            start = names.index(request.page_token)
        end = start + (request.page_size or DEFAULT_PAGE)
        return pb.ListFeatureDefinitionsResponse(
            feature_definitions=[transcoding.feature_definition(f) for f in features[start:end]],
            next_page_token=features[end].name if end < len(features) else "",
        )

    async def WriteEvents(self, request: pb.WriteEventsRequest, context: Context) -> pb.WriteEventsResponse:
        """See the contract."""
        if not 1 <= len(request.events) <= MAX_EVENTS:
            raise invalid_field("events", f"must be 1 to {MAX_EVENTS}")
        try:
            written = await self._writer.write(map(transcoding.event, request.events))
        except StoreDownError as error:
            raise _down(error) from error
        return pb.WriteEventsResponse(
            accepted=written.accepted,
            duplicates=written.duplicates,
            rejected=transcoding.rejected(written.rejected),
            unknown_products=written.unknown_products,
            erased=written.erased,
        )

    async def ImportEvents(
        self, request_iterator: AsyncIterator[pb.ImportEventsRequest], context: Context
    ) -> pb.ImportEventsResponse:
        """See the contract."""
        summary, offset = pb.ImportEventsResponse(), 0
        async for chunk in _chunks(request_iterator):
            if not 1 <= len(chunk.events) <= MAX_CHUNK:
                raise invalid_field("events", f"must be 1 to {MAX_CHUNK} in a chunk")
            try:
                written = await self._writer.write(map(transcoding.event, chunk.events))
            except StoreDownError as error:
                raise _down(error) from error
            summary.accepted += written.accepted
            summary.duplicates += written.duplicates
            summary.rejected += len(written.rejected)
            summary.unknown_products += written.unknown_products
            summary.erased += written.erased
            room = REJECTED_SAMPLES - len(summary.rejected_samples)
            summary.rejected_samples.extend(transcoding.rejected(written.rejected[:room], offset))
            offset += len(chunk.events)
        return summary

    async def DeleteEntity(self, request: pb.DeleteEntityRequest, context: Context) -> pb.DeleteEntityResponse:
        """See the contract."""
        if request.entity not in (USER, VISITOR):
            raise invalid_field("entity", f"must be {USER} or {VISITOR}: only persons are erased")
        check_id(request.id, "id")
        try:
            removed = await self._eraser.erase(subjects(request.entity, (request.id,))[0])
        except StoreDownError as error:
            raise unavailable(
                "ERASURE_INCOMPLETE", f"the {error.store} does not answer: not everything is removed; call again"
            ) from error
        return pb.DeleteEntityResponse(removed=removed)

    async def MergeVisitor(self, request: pb.MergeVisitorRequest, context: Context) -> pb.MergeVisitorResponse:
        """See the contract."""
        check_id(request.visitor_id, "visitorId")
        check_id(request.user_id, "userId")
        try:
            merged = await self._merger.merge(request.visitor_id, request.user_id)
        except StoreDownError as error:
            raise unavailable(
                "MERGE_INCOMPLETE", f"the {error.store} does not answer: not everything is merged; call again"
            ) from error
        return pb.MergeVisitorResponse(events=merged.events, lines=merged.lines, erased=merged.erased)

    async def ReadTrainingRows(
        self, request: pb.ReadTrainingRowsRequest, context: Context
    ) -> AsyncIterator[pb.ReadTrainingRowsResponse]:
        """See the contract."""
        start_us = transcoding.microseconds(request.start_time) if request.HasField("start_time") else 0
        end_us = (
            transcoding.microseconds(request.end_time) if request.HasField("end_time") else self._clock_ms() * 1_000
        )
        features = self._asked_of_rows(request.features)
        types = list(request.event_types) or list(DEFAULT_LABEL_TYPES if features else DEFAULT_TRAINING_TYPES)
        if not set(types) <= set(EVENT_TYPES) or len(types) > len(EVENT_TYPES):
            raise invalid_field("eventTypes", "must be event types, each at most once")
        for field, instant_us in (("startTime", start_us), ("endTime", end_us)):
            if not 0 <= instant_us <= MAX_TRAINING_US:
                raise invalid_field(field, "must be from 1970 to 9999")
        if start_us > end_us:
            raise invalid_field("startTime", "must not be after endTime")
        try:
            async with aclosing(self._training.read(start_us, end_us, types, features)) as chunks:
                async for chunk in chunks:
                    for message in transcoding.training_rows(chunk, features):
                        yield message
        except StoreDownError as error:
            raise _down(error) from error

    def _asked_of_rows(self, names: Sequence[str]) -> list[Feature]:
        """The features, of whichever entity type, that training rows are to have; each once, in their order."""
        if len(names) > MAX_TRAINING_FEATURES:
            raise invalid_field("features", f"at most {MAX_TRAINING_FEATURES}")
        declared = {feature.name: feature for feature in self._definitions.features}
        for place, name in enumerate(names):
            if name not in declared:
                raise no_feature("no entity type", name, place)
        return [declared[name] for name in dict.fromkeys(names)]

    def _fill(
        self,
        response: pb.GetFeaturesResponse | pb.RefreshFeaturesResponse,
        features: Sequence[Feature],
        answer: Answer,
    ) -> None:
        """Fills the answer about one entity, or raises what it is instead."""
        now_ms = self._clock_ms()
        readings = [column.readings()[0] for column in answer.columns.values()]
        statuses = [reading.status for reading in readings]
        if Status.NOT_FOUND in statuses:
            raise not_found(
                "ENTITY_NOT_FOUND",
                f"no event and no catalogue entry names this {response.entity}",
                entity=response.entity,
                id=response.id,
            )
        if Status.UNAVAILABLE in statuses:
            raise unavailable("FEATURES_UNAVAILABLE", "the stores that could answer are down")
        for feature, reading in zip(features, readings, strict=True):
            transcoding.fill_value(response.features[feature.name], feature, reading, now_ms)


def _refused(request: pb.ReadFeaturesRequest, error: bytes) -> pb.ReadFeaturesResponse:
    return pb.ReadFeaturesResponse(number=request.number, error=error)


def _patience(context: Context) -> float | None:
    """Seconds for which a read may wait for the log: what is stored must still reach the caller in time."""
    left = context.time_remaining()
    return None if left is None else left * COMPUTE_SHARE


async def _chunks(requests: AsyncIterator[pb.ImportEventsRequest]) -> AsyncIterator[pb.ImportEventsRequest]:
    """The chunks of an import, while its sender sends: an idle one would hold its place among the calls for good."""
    while True:
        try:
            async with asyncio.timeout(CHUNK_SECONDS):
                chunk = await anext(requests)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise aborted(
                "IMPORT_IDLE", f"no chunk came for {CHUNK_SECONDS:g} seconds; send the import again"
            ) from None
        yield chunk


def _down(error: StoreDownError) -> ServiceError:
    return unavailable("EVENT_LOG_UNAVAILABLE", "the event log does not answer; nothing was acknowledged")
