"""Bodies in signed chunks, and checksums that come after the body, byte by byte as the API's documents say.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
"""

import base64
import datetime
import hashlib
import hmac
import http.client
import zlib
from urllib.parse import urlsplit

import pytest
from conftest import ALICE, DOOR, read, refused

NOTHING = hashlib.sha256(b"").hexdigest()
HOST = urlsplit(DOOR).netloc
DATA = bytes(range(256)) * 1000


def digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


class Upload:
    """A PUT whose body is sent in chunks."""

    def __init__(self, path, payload, trailer=None, length=len(DATA), tweak=lambda body: body, now=None):
        now = now or datetime.datetime.now(datetime.timezone.utc)
        self.when, self.scope = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d/us-east-1/s3/aws4_request")
        key = ("AWS4" + ALICE[1]).encode()
        for part in self.scope.split("/"):
            key = digest(key, part)
        self.key, self.path, self.payload, self.trailer, self.tweak = key, path, payload, trailer, tweak
        self.headers = {
            "content-encoding": "aws-chunked",
            "host": HOST,
            "x-amz-content-sha256": payload,
            "x-amz-date": self.when,
            "x-amz-decoded-content-length": str(length),
        }
        if trailer:
            self.headers["x-amz-trailer"] = trailer[0]
        names = ";".join(sorted(self.headers))
        lines = "".join(f"{name}:{self.headers[name]}\n" for name in sorted(self.headers))
        canonical = f"PUT\n{path}\n\n{lines}\n{names}\n{payload}"
        self.seed = self.sign("AWS4-HMAC-SHA256", hashlib.sha256(canonical.encode()).hexdigest())
        credential = f"Credential={ALICE[0]}/{self.scope}"
        self.headers["authorization"] = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={self.seed}"

    def sign(self, what, *rest):
        return digest(self.key, "\n".join([what, self.when, self.scope, *rest])).hex()

    def body(self, data, size=70_000):
        signs, previous, body = self.payload.startswith("STREAMING-AWS4"), self.seed, b""
        for at in [*range(0, len(data), size), len(data)]:
            chunk = data[at : at + size]
            previous = self.sign("AWS4-HMAC-SHA256-PAYLOAD", previous, NOTHING, hashlib.sha256(chunk).hexdigest())
            body += f"{len(chunk):x}{f';chunk-signature={previous}' if signs else ''}\r\n".encode() + chunk
            body += b"\r\n" if chunk or not self.trailer else b""
        if self.trailer:
            line = ":".join(self.trailer)
            body += f"{line}\r\n".encode()
            if signs:
                last = self.sign("AWS4-HMAC-SHA256-TRAILER", previous, hashlib.sha256(f"{line}\n".encode()).hexdigest())
                body += f"x-amz-trailer-signature:{last}\r\n".encode()
            body += b"\r\n"
        return self.tweak(body)

    def send(self, data=DATA):
        connection = http.client.HTTPConnection(HOST, timeout=20)
        try:
            connection.request("PUT", self.path, body=self.body(data), headers=self.headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()


TRAILER = ("x-amz-checksum-crc32", crc32(DATA))
KINDS = [
    ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", None),
    ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", TRAILER),
    ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", TRAILER),
]


@pytest.mark.parametrize("payload,trailer", KINDS)
def test_what_is_right_is_stored(alice, bucket, payload, trailer):
    assert Upload(f"/{bucket}/right", payload, trailer).send()[0] == 200
    assert read(alice, bucket, "right") == DATA
    head = alice.head_object(Bucket=bucket, Key="right", ChecksumMode="ENABLED")
    assert head["ContentLength"] == len(DATA) and "aws-chunked" not in head.get("ContentEncoding", "")
    if trailer:
        assert head["ChecksumCRC32"] == trailer[1]


@pytest.mark.parametrize("payload,trailer", KINDS)
def test_what_is_wrong_or_cut_off_is_refused_and_nothing_is_stored(alice, bucket, payload, trailer):
    at = 1000  # Within the first chunk's data.
    tweaks = {
        "flipped": lambda body: body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :],
        "cut": lambda body: body[: len(body) // 2],
    }
    if trailer:
        tweaks["without its trailer"] = lambda body: body[: body.rindex(b"\r\n0") + 2]
    for name, tweak in tweaks.items():
        status, text = Upload(f"/{bucket}/wrong", payload, trailer, tweak=tweak).send()
        assert 400 <= status < 500 and "<Code>" in text, (name, status, text)
    for length in [len(DATA) - 1, len(DATA) + 1]:
        assert 400 <= Upload(f"/{bucket}/wrong", payload, trailer, length=length).send()[0] < 500
    if trailer:
        status, text = Upload(f"/{bucket}/wrong", payload, (trailer[0], crc32(b"other"))).send()
        assert status == 400 and "BadDigest" in text, text
    assert refused(alice.head_object, Bucket=bucket, Key="wrong")[0] == 404
