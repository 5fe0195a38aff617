"""Serving configs from the terminal."""

import json
from pathlib import Path

from windowshop.recommender.v1 import serving_config_pb2 as s

from tests.clients.conftest import Command
from tests.clients.fake_services import State


async def test_an_update_names_what_the_file_names(state: State, windowshop: Command, tmp_path: Path) -> None:
    changes = tmp_path / "changes.json"
    changes.write_text(json.dumps({"weights": {}, "diversity": {"mmrLambda": 0.7}, "etag": "e1"}))
    checked = await windowshop("serving-configs", "update", "discover", str(changes), "--validate-only")
    assert checked.output == "discover: would be edited; nothing was changed\n"
    assert state.configs == {}
    done = await windowshop("serving-configs", "update", "discover", str(changes), "--create")
    assert done.output == "discover: edited, etag e2\n"
    request = state.config_updates[-1]
    assert list(request.update_mask.paths) == ["weights", "diversity", "etag"]
    assert (request.serving_config.etag, request.serving_config.diversity.mmr_lambda) == ("e1", 0.7)
    assert (request.allow_missing, request.validate_only) == (True, False)


async def test_all_pages_of_configs_are_listed(state: State, windowshop: Command) -> None:
    for name in ("discover", "mine", "trending"):
        sources = [s.CandidateSource(name="popular", limit=9, weight=0.5)]
        state.configs[name] = s.ServingConfig(id=name, sources=sources, objective=s.WEIGHTS, origin=s.CREATED)
    listed = await windowshop("serving-configs", "list")
    assert [line.split("\t")[0] for line in listed.output.splitlines()[1:]] == ["discover", "mine", "trending"]
    assert "popular 0.5" in listed.output
    shown = await windowshop("serving-configs", "get", "mine")
    assert json.loads(shown.output)["sources"][0]["name"] == "popular"
    missing = await windowshop("serving-configs", "get", "nothing")
    assert missing.exit_code == 1
    assert "SERVING_CONFIG_NOT_FOUND" in missing.stderr


async def test_a_deletion_says_what_became_of_it(state: State, windowshop: Command) -> None:
    state.configs = {
        "mine": s.ServingConfig(id="mine", origin=s.CREATED),
        "discover": s.ServingConfig(id="discover", origin=s.EDITED),
    }
    assert (await windowshop("serving-configs", "delete", "mine")).output == "mine: gone\n"
    assert (await windowshop("serving-configs", "delete", "discover")).output == "discover: as it came again\n"


async def test_what_is_no_config_is_refused_before_it_is_sent(
    state: State, windowshop: Command, tmp_path: Path
) -> None:
    file = tmp_path / "bad.json"
    for text in ("not json", '{"colour": "red"}', "[]"):
        file.write_text(text)
        result = await windowshop("serving-configs", "update", "discover", str(file))
        assert result.exit_code == 1
        assert "not a serving config" in result.stderr
    assert state.config_updates == []
