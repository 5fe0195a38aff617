"""Settings: every mistake is reported at once, and no value is ever printed."""

import pytest
from pydantic import Field, SecretStr

from services.runtime.settings import Port, ServiceSettings, load


class Settings(ServiceSettings):
    port: Port = Field(1, alias="SOME_PORT")
    url: SecretStr = Field(alias="SOME_URL")


def test_all_mistakes_are_reported_together_without_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOME_PORT", "99999999")
    monkeypatch.delenv("SOME_URL", raising=False)
    with pytest.raises(SystemExit) as caught:
        load(Settings)
    printed = capsys.readouterr().err
    assert caught.value.code == 2
    assert "SOME_PORT" in printed
    assert "SOME_URL" in printed
    assert "99999999" not in printed


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_URL", "postgresql://me:hunter2@db/x")
    settings = load(Settings)
    assert "hunter2" not in repr(settings)
    assert settings.url.get_secret_value().endswith("@db/x")
