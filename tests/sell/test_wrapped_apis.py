"""An existing HTTP API is sold as it is: paid before, and changed in nothing but what is of the line or of money."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from someones_api import SomeonesApi, someones_api

from tests.devchain.devchain_process import ChainProcess
from tests.payments.paid_http import Buyer, decoded, encoded
from tests.scenarios.node_process import NodeProcess, usdc

PRICE = 2_000
"""0.002 USD in atomic USDC"""
AT = "/wrapped/theirs"


@pytest.fixture(scope="module")
def theirs() -> Iterator[SomeonesApi]:
    with someones_api() as api:
        yield api


@pytest.fixture(scope="module")
def node(chain: ChainProcess, theirs: SomeonesApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    own = {"Authorization": "Bearer the-sellers", "X-Api-Key": "the-sellers"}
    table = {"name": "theirs", "url": f"{theirs.url}/base", "price_usd": "0.002", "headers": own}
    running = NodeProcess(tmp_path_factory.mktemp("sells") / "seller", chain, wraps=[table])
    yield running
    running.stop()


@pytest.fixture
def shop(node: NodeProcess, chain: ChainProcess, theirs: SomeonesApi) -> Shop:
    theirs.seen.clear()
    return Shop(node, chain, theirs)


class Shop:
    def __init__(self, node: NodeProcess, chain: ChainProcess, theirs: SomeonesApi) -> None:
        self.http, self.chain, self.theirs = node.http, chain, theirs
        self.buyer = Buyer(node.http, chain, chain.funded("1"))

    def asked(self, path: str, method: str = "GET", **request: Any) -> dict[str, Any]:
        answer = self.http.request(method, AT + path, **request)
        assert answer.status_code == 402, answer.text
        return self.buyer.accepts(answer)

    def payment(self, path: str, method: str = "GET", **request: Any) -> dict[str, str]:
        payload = self.buyer.payload(self.asked(path, method, **request))
        return {"PAYMENT-SIGNATURE": encoded(payload)}

    def buy(self, path: str, method: str = "GET", headers: Any = (), **request: Any) -> httpx.Response:
        paid = self.payment(path, method, **request)
        return self.http.request(method, AT + path, headers=[*headers, *paid.items()], **request)

    def left(self, answer: httpx.Response) -> str:
        """Of what the answer's payment bought, in USD."""
        receipt = self.http.get(f"/api/v2/receipts/{decoded(answer, 'payment-response')['receiptId']}").json()
        assert receipt["held_usd_exact"] == "0"
        return str(receipt["left_usd_exact"])


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_it_is_paid_before_and_then_answered_as_it_is(shop: Shop, method: str) -> None:
    """Nothing reaches the API unpaid; method, path, query and body arrive, and status, headers and body come back."""
    request: dict[str, Any] = {} if method in ("GET", "DELETE") else {"content": b"\x00some bytes\xff"}
    asked = shop.asked("/echo?a=1&b=%20x", method, **request)
    assert asked["amount"] == str(PRICE) and not shop.theirs.seen
    before = usdc(shop.chain, asked["payTo"])
    answer = shop.buy("/echo?a=1&b=%20x", method, **request)
    [seen] = shop.theirs.seen
    assert (seen["method"], seen["path"], seen["query"]) == (method, "/base/echo", "a=1&b=%20x")
    assert seen["body"] == request.get("content", b"")
    assert (answer.status_code, answer.content) == (200, request.get("content", b"nothing"))
    assert answer.headers["content-type"] == "application/x-odd" and answer.headers["x-own"] == "1"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["cache-control"] == "public, max-age=60, private"  # no shared cache hands it on unpaid
    assert usdc(shop.chain, asked["payTo"]) - before == PRICE and shop.left(answer) == "0"


def test_the_sellers_credentials_go_out_and_the_callers_stay(shop: Shop) -> None:
    """Neither the caller's key nor cookies nor payment reach the API, nor whose word only a proxy's is, nor what is of
    the line only, either way."""
    given = {
        "Authorization": "Bearer the-callers",
        "Cookie": "session=the-callers",
        "SIGN-IN-WITH-X": "the-callers",
        "X-Api-Key": "the-callers",
        "X_Api_Key": "the-callers",
        "X-Forwarded-For": "the-callers",
        "X_Real_IP": "the-callers",
        "Connection": "keep-alive, X-Of-Mine",
        "X-Of-Mine": "1",
        "TE": "trailers",
        "X-Custom": "kept",
        "Accept": "text/odd",
    }
    answer = shop.buy("/echo", headers=given.items())
    sent = dict(shop.theirs.seen[0]["headers"])
    assert (sent["authorization"], sent["x-api-key"]) == ("Bearer the-sellers", "the-sellers")
    assert (sent["x-custom"], sent["accept"]) == ("kept", "text/odd")
    assert not {"cookie", "sign-in-with-x", "x-of-mine", "te", "payment-signature"} & sent.keys()
    assert "the-callers" not in str(shop.theirs.seen)
    assert not {"x-of-the-line", "the-sellers"} & answer.headers.keys() and "the-sellers" not in str(answer.headers)


def test_a_stream_streams_and_is_charged_at_its_end(shop: Shop) -> None:
    """The first part is there while the API still holds the second back; the settlement is in the head."""
    paid = shop.payment("/stream")
    with shop.http.stream("GET", f"{AT}/stream", headers=paid) as answer:
        assert "payment-response" in answer.headers and answer.headers["content-type"].startswith("text/event-stream")
        parts = answer.iter_raw()
        assert next(parts) == b"data: one\n\n"
        shop.theirs.go_on()
        assert b"".join(parts) == b"data: two\n\n"
    assert shop.left(answer) == "0"


def test_who_leaves_a_stream_stops_the_api_and_has_paid_for_it(shop: Shop) -> None:
    shop.theirs.stopped.clear()
    paid = shop.payment("/stream")
    with shop.http.stream("GET", f"{AT}/stream", headers=paid) as answer:
        assert next(answer.iter_raw()) == b"data: one\n\n"
    assert shop.theirs.stopped.wait(20)
    while (again := shop.http.get(f"{AT}/stream", headers=paid)).status_code == 409:
        assert again.json()["error"]["code"] == "REQUEST_IN_PROGRESS"
    assert again.status_code == 402


@pytest.mark.parametrize("status", [500, 404])
def test_a_failure_comes_back_unchanged_and_leaves_the_payment_on_its_receipt(shop: Shop, status: int) -> None:
    """And the same payment may be sent again, which costs nothing more."""
    paid = shop.payment(f"/status/{status}")
    for _ in range(2):
        answer = shop.http.get(f"{AT}/status/{status}", headers=paid)
        assert (answer.status_code, answer.json(), answer.headers["x-own"]) == (status, {"said": "no"}, "1")
        assert shop.left(answer) == "0.002"


def test_what_is_left_buys_another_request(shop: Shop) -> None:
    """After a failure the receipt pays for work that does not fail, and no money moves."""
    failed = shop.buy("/status/500")
    asked = shop.asked("/echo")
    before = usdc(shop.chain, asked["payTo"])
    spend = shop.buyer.spend_payload(asked, decoded(failed, "payment-response"), 1)
    answer = shop.http.get(f"{AT}/echo", headers={"PAYMENT-SIGNATURE": encoded(spend)})
    assert (answer.status_code, answer.content) == (200, b"nothing")
    assert usdc(shop.chain, asked["payTo"]) == before and shop.left(failed) == "0"
    signed = ["extensions" in decoded(each, "payment-response") for each in (failed, answer)]
    assert signed == [False, True], "only what was delivered has the seller's word for it"


def test_an_answer_that_breaks_off_breaks_off_here_and_is_not_charged(shop: Shop) -> None:
    paid = shop.payment("/cut")
    with pytest.raises(httpx.RemoteProtocolError), shop.http.stream("GET", f"{AT}/cut", headers=paid) as answer:
        answer.read()
    assert shop.left(answer) == "0.002"


def test_a_compressed_answer_stays_as_it_was_packed(shop: Shop) -> None:
    paid = shop.payment("/zipped")
    with shop.http.stream("GET", f"{AT}/zipped", headers=paid) as answer:
        assert gzip.decompress(b"".join(answer.iter_raw())) == b"small"
    assert answer.headers["content-encoding"] == "gzip"


def test_a_redirect_is_handed_back_and_not_followed(shop: Shop) -> None:
    answer = shop.buy("/elsewhere")
    assert (answer.status_code, answer.headers["location"]) == (307, "http://other.example/x")


def test_an_api_that_would_be_paid_itself_is_no_price_of_ours(shop: Shop) -> None:
    """Its 402 would have a client pay somebody else."""
    answer = shop.buy("/status/402")
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "API_UNREACHABLE")
    assert shop.left(answer) == "0.002"


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/a/../../secret",
        "/%2e%2e/secret",
        "/a/%2E%2e%2fsecret",
        "/%252e%252e/secret",
        "/..%5csecret",
        "//other.example/x",
        "/.%00./x",
    ],
)
def test_no_path_leads_out_of_what_is_sold(shop: Shop, path: str) -> None:
    """Nor to another host: what is not below the base is not found, and has no price."""
    raw = httpx.URL(str(shop.http.base_url)).copy_with(raw_path=(AT + path).encode())
    assert shop.http.get(raw).status_code == 404
    assert not shop.theirs.seen


@pytest.mark.parametrize(
    ("method", "path", "body"), [("POST", "/echo?a=1", b"x"), ("GET", "/echo?a=2", b""), ("GET", "/other?a=1", b"")]
)
def test_a_payment_buys_the_request_it_was_made_for(shop: Shop, method: str, path: str, body: bytes) -> None:
    """Another method, path, query or body is another purchase: refused before anything is settled."""
    paid = shop.payment("/echo?a=1")
    refused = shop.http.request(method, AT + path, content=body, headers=paid)
    assert refused.status_code == 402 and not shop.theirs.seen
    assert shop.http.get(f"{AT}/echo?a=1", headers=paid).status_code == 200
