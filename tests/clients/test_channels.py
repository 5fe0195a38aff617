"""Which calls the client makes again, and what it takes for an address."""

import json

import pytest
from windowshop_client import channels


def repeated() -> set[str]:
    names = json.loads(channels._config())["methodConfig"][0]["name"]
    return {f"{name['service'].rpartition('.')[2]}.{name['method']}" for name in names}


def test_reads_and_writes_that_know_their_repetition_are_made_again() -> None:
    assert {
        "FeatureService.GetFeatures",
        "FeatureService.WriteEvents",
        "FeatureService.DeleteEntity",
        "FeatureService.MergeVisitor",
        "PrivacyService.DeleteEntity",
        "RecommendationService.Recommend",
        "CatalogService.ListProducts",
    } <= repeated()


def test_what_a_repetition_would_do_twice_is_left_to_the_caller() -> None:
    once = (
        "CatalogService.SetInventory",
        "CatalogService.UpdateProduct",
        "CatalogService.DeleteProduct",
        "CatalogService.ImportProducts",
        "FeatureService.ImportEvents",
        "ModelService.TrainModel",
        "ModelService.ActivateModel",
        "ServingConfigService.CreateServingConfig",
        "ServingConfigService.UpdateServingConfig",
        "ServingConfigService.DeleteServingConfig",
    )
    assert not set(once) & repeated()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("features:50051", "features:50051"),
        ("dns:///features:50051", "dns:///features:50051"),
        ("localhost:1, 10.0.0.2:2", "ipv4:127.0.0.1:1,10.0.0.2:2"),
    ],
)
def test_addresses(address: str, expected: str) -> None:
    assert channels.target(address) == expected


@pytest.mark.parametrize("address", ["a:1,b:2", "10.0.0.1:1,", "10.0.0.1:1,10.0.0.2:x"])
def test_addresses_that_cannot_be_meant(address: str) -> None:
    with pytest.raises(ValueError, match="in a list"):
        channels.target(address)
