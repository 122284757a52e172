"""The house stands: the app starts and answers, and its walls are whole."""

from tests.test_architecture import test_every_import_contract_is_kept  # noqa: F401  (also run by itself: it is quick)


def test_an_unknown_address_is_a_404_page(client):
    answer = client.get("/nothing-here")
    assert answer.status_code == 404
    assert b"There is nothing here" in answer.data


def test_an_unknown_api_address_is_a_404_in_json(client):
    answer = client.get("/api/nothing-here")
    assert answer.status_code == 404
    assert answer.json["error"] == "not_found"
