"""The HTTP API against its own description: whatever fits it, or nearly fits, gets a documented answer."""

import os
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from schemathesis.checks import CHECKS

from ghost_pipeline.serving.app import build_app
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.examples import ALL
from ghost_pipeline_tests.serving.worlds import KEY, bearer

EXAMPLES = int(os.environ.get("GHOST_FUZZ_EXAMPLES", "10" if ALL else "3"))
"""Per operation; `make soak` asks for more."""

pytestmark = pytest.mark.examples

description = schemathesis.openapi.from_dict(build_app(Settings.model_validate({})).openapi())
guarded_description = schemathesis.openapi.from_dict(build_app(Settings.model_validate({"token_key": KEY})).openapi())
NOT_FOR_TOKENS = ["ignored_auth", "missing_required_header", "negative_data_rejection"]
"""The test below adds a token to every request, also to those that are generated to lack one."""
KNOWN = {"user_id": "me", "keyboard_id": "k1"}
quick = hypothesis_settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@description.parametrize()
@quick
def test_every_answer_is_one_that_the_description_names(case: schemathesis.Case[Any], api: httpx.Client) -> None:
    case.call_and_validate(base_url=str(api.base_url))


@pytest.mark.long
@guarded_description.parametrize()
@quick
def test_with_a_token_every_answer_is_one_that_the_description_names(
    case: schemathesis.Case[Any], guarded: httpx.Client
) -> None:
    # A learner and a keyboard that there are: the answers have something in them.
    case.path_parameters.update({name: KNOWN[name] for name in case.path_parameters})
    answer = case.call(base_url=str(guarded.base_url), headers=bearer(KNOWN["user_id"]))
    # The registry's own type is wider than what validating takes.
    case.validate_response(answer, excluded_checks=CHECKS.get_by_names(NOT_FOR_TOKENS))  # type: ignore[arg-type]
