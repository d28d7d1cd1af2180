"""Users of a door: who asks, with what, and what they find."""

import os
import time
import uuid

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

DOOR = os.environ["EDDY_DOOR"]
ALICE = ("key", "0123456789abcdef")
BOB = ("other", "fedcba9876543210")


def client_of(key=None, style="path", door=DOOR, **more):
    config = Config(
        signature_version="s3v4" if key else UNSIGNED,
        s3={"addressing_style": style},
        retries={"max_attempts": 1},
        **more,
    )
    access, secret = key or (None, None)
    return boto3.client(
        "s3",
        endpoint_url=door,
        region_name="us-east-1",
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        config=config,
    )


@pytest.fixture
def alice():
    return client_of(ALICE)


@pytest.fixture
def bob():
    return client_of(BOB)


@pytest.fixture
def anyone():
    return client_of()


@pytest.fixture
def bucket(alice):
    name = f"test-{uuid.uuid4().hex[:12]}"
    alice.create_bucket(Bucket=name)
    return name


@pytest.fixture
def versioned(alice, bucket):
    alice.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def refused(call, *arguments, **named):
    """What a call is refused with."""
    with pytest.raises(ClientError) as error:
        call(*arguments, **named)
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def read(client, bucket, key, **more):
    return client.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def eventually(holds, seconds=30):
    """Waits until something holds, by looking again and again."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.1)
