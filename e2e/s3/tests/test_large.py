"""Objects that are longer than 32 bits can say; as these write 30 GB and read 10, only where EDDY_LARGE is set."""

import hashlib
import os

import pytest
from botocore.exceptions import ClientError
from conftest import refused

pytestmark = pytest.mark.skipif("EDDY_LARGE" not in os.environ, reason="EDDY_LARGE is not set")

GIB = 1024**3
BLOCK = 1024 * 1024


def block(number):
    """Bytes that tell where they are."""
    return hashlib.sha256(str(number).encode()).digest() * (BLOCK // 32)


class Body:
    """So many of these blocks, for a client that reads and rewinds."""

    def __init__(self, blocks):
        self.blocks, self.at = blocks, 0

    def __len__(self):
        return self.blocks * BLOCK

    def tell(self):
        return self.at

    def seek(self, to, whence=0):
        self.at = to + (len(self) if whence == 2 else self.at if whence == 1 else 0)
        return self.at

    def read(self, amount=-1):
        left = len(self) - self.at
        amount = left if amount is None or amount < 0 else min(amount, left)
        said = bytearray()
        while len(said) < amount:
            number, within = divmod(self.at, BLOCK)
            some = block(number)[within : within + amount - len(said)]
            said += some
            self.at += len(some)
        return bytes(said)


def check(alice, bucket, blocks):
    assert alice.head_object(Bucket=bucket, Key="large")["ContentLength"] == blocks * BLOCK
    for at in [0, 4095, 4096, blocks - 2]:
        start = at * BLOCK + 17
        got = alice.get_object(Bucket=bucket, Key="large", Range=f"bytes={start}-{start + BLOCK - 1}")
        assert got["ContentRange"] == f"bytes {start}-{start + BLOCK - 1}/{blocks * BLOCK}"
        assert got["Body"].read() == block(at)[17:] + block(at + 1)[:17], at
    body, number = alice.get_object(Bucket=bucket, Key="large")["Body"], 0
    while some := body.read(BLOCK):
        assert some == block(number), number
        number += 1
    assert number == blocks


def test_one_put_of_all_that_it_may_be(alice, bucket):
    alice.put_object(Bucket=bucket, Key="large", Body=Body(5 * 1024))
    check(alice, bucket, 5 * 1024)
    alice.delete_object(Bucket=bucket, Key="large")


def test_a_part_of_all_that_it_may_be(alice, bucket):
    this = {"Bucket": bucket, "Key": "large"}
    upload = alice.create_multipart_upload(**this)["UploadId"]
    etag = alice.upload_part(**this, PartNumber=1, UploadId=upload, Body=Body(5 * 1024))["ETag"]
    with pytest.raises(ClientError):
        alice.upload_part(**this, PartNumber=2, UploadId=upload, Body=Body(5 * 1024 + 1))
    assert len(alice.list_parts(**this, UploadId=upload)["Parts"]) == 1
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    alice.complete_multipart_upload(**this, UploadId=upload, MultipartUpload=parts)
    check(alice, bucket, 5 * 1024)
    assert refused(alice.get_object, **this, Range=f"bytes={5 * GIB}-")[0] == 416
