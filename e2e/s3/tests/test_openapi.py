"""What the API of files says of itself, by HTTP."""

import re

import requests
from conftest import DOOR
from openapi_spec_validator import validate

METHODS = ["get", "put", "post", "delete", "patch", "options", "trace"]


def test_the_document_is_valid_and_is_what_there_is():
    answer = requests.get(f"{DOOR}/v1/openapi.json", timeout=10)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    validate(document)
    assert document["openapi"].startswith("3.1")
    for path, described in document["paths"].items():
        at = DOOR + re.sub(r"{[^}]*}", "nowhere", path)
        for method in METHODS:
            found = requests.request(method, at, timeout=10)
            problem = found.headers.get("Content-Type") == "application/problem+json"
            told = (found.status_code, found.json()["code"] if problem else None)
            if method in described:
                assert told[0] != 405 and told[1] != "NoPath", (method, path, told)
            elif method != "options":
                assert told == (405, "NoMethod"), (method, path, told)
    assert requests.get(f"{DOOR}/v1/nowhere", timeout=10).json()["code"] == "NoPath"
