"""The demo shop as messages of the contract."""

from google.protobuf.timestamp_pb2 import Timestamp
from windowshop.features.v1 import features_pb2 as f
from windowshop.recommender.v1 import catalog_pb2 as c

from windowshop_client.demo.model import DemoEvent, DemoProduct


def product_message(product: DemoProduct) -> c.Product:
    """The product as ImportProducts takes it."""
    return c.Product(
        id=product.id,
        title=product.title,
        description=product.description,
        categories=product.categories,
        brand=product.brand,
        price=product.price,
        currency_code=product.currency_code,
        available_quantity=product.available_quantity,
        rating_average=product.rating_average,
        rating_count=product.rating_count,
        tags=product.tags,
    )


def event_message(event: DemoEvent) -> f.Event:
    """The event as WriteEvents and ImportEvents take it."""
    lines = [f.ProductDetail(product_id=x.product_id, quantity=x.quantity, price=x.price) for x in event.lines]
    return f.Event(
        event_id=event.event_id,
        event_type=event.event_type,
        user_id=event.user_id,
        session_id=event.session_id,
        event_time=Timestamp(seconds=int(event.event_time.timestamp())),
        product_details=lines,
        revenue=event.revenue,
        rating=event.rating,
        position=event.position,
        device=event.device,
        attributes=event.attributes,
    )
