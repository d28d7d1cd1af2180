"""Objects and buckets, by boto3."""

import base64
import datetime
import hashlib
import os
import socket

import requests
from conftest import ALICE, DOOR, client_of, eventually, read, refused

MEBIBYTE = 1024 * 1024


def test_objects_of_all_sizes_come_back(alice, bucket):
    for size in [0, 1, 4096, 65536, 65537, 300_000, 5 * MEBIBYTE + 3, 70 * MEBIBYTE]:
        data = os.urandom(size)
        put = alice.put_object(Bucket=bucket, Key=f"of {size}", Body=data)
        assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
        got = alice.get_object(Bucket=bucket, Key=f"of {size}")
        assert got["Body"].read() == data and got["ContentLength"] == size
        assert "VersionId" not in put and got["ChecksumCRC32"] == put["ChecksumCRC32"]
    alice.delete_object(Bucket=bucket, Key="of 1")
    alice.delete_object(Bucket=bucket, Key="of 1")
    assert refused(alice.get_object, Bucket=bucket, Key="of 1") == (404, "NoSuchKey")
    assert refused(alice.head_object, Bucket=bucket, Key="of 1") == (404, "404")
    assert refused(alice.get_object, Bucket="nowhere-at-all", Key="a") == (404, "NoSuchBucket")


def test_what_an_object_is_known_by(alice, bucket):
    expires = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    alice.put_object(
        Bucket=bucket,
        Key="ä/ö +?&#",
        Body=b"hello",
        ContentType="text/plain",
        CacheControl="max-age=5",
        ContentDisposition="attachment",
        ContentEncoding="identity",
        ContentLanguage="de",
        Expires=expires,
        Metadata={"colour": "red", "size": "10"},
        Tagging="a=1&b=two",
    )
    head = alice.head_object(Bucket=bucket, Key="ä/ö +?&#")
    assert (head["ContentType"], head["CacheControl"], head["ContentLanguage"]) == ("text/plain", "max-age=5", "de")
    assert head["Metadata"] == {"colour": "red", "size": "10"} and head["Expires"] == expires
    assert head["ResponseMetadata"]["HTTPHeaders"]["x-amz-tagging-count"] == "2"
    tags = alice.get_object_tagging(Bucket=bucket, Key="ä/ö +?&#")["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "two"}]
    alice.put_object_tagging(Bucket=bucket, Key="ä/ö +?&#", Tagging={"TagSet": [{"Key": "c", "Value": "3"}]})
    assert alice.get_object_tagging(Bucket=bucket, Key="ä/ö +?&#")["TagSet"] == [{"Key": "c", "Value": "3"}]
    alice.delete_object_tagging(Bucket=bucket, Key="ä/ö +?&#")
    assert alice.get_object_tagging(Bucket=bucket, Key="ä/ö +?&#")["TagSet"] == []
    too_much = {"Metadata": {"a": "x" * 2049}}
    assert refused(alice.put_object, Bucket=bucket, Key="a", **too_much) == (400, "MetadataTooLarge")
    # The same object by the API of files.
    path = f"{DOOR}/v1/files/{bucket}/%C3%A4/%C3%B6%20+%3F&%23"
    answer = requests.get(path, auth=ALICE, timeout=10)
    assert answer.content == b"hello" and answer.headers["x-eddy-meta-colour"] == "red"


def test_ranges_and_conditions(alice, bucket):
    data = bytes(range(256)) * 4096
    tag = alice.put_object(Bucket=bucket, Key="a", Body=data)["ETag"]
    for asked, expected in [("bytes=0-9", data[:10]), ("bytes=-5", data[-5:]), ("bytes=1000000-", data[1000000:])]:
        got = alice.get_object(Bucket=bucket, Key="a", Range=asked)
        assert got["Body"].read() == expected and got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert refused(alice.get_object, Bucket=bucket, Key="a", Range="bytes=2000000-") == (416, "InvalidRange")
    assert read(alice, bucket, "a", IfMatch=tag) == data
    assert refused(alice.get_object, Bucket=bucket, Key="a", IfMatch='"x"') == (412, "PreconditionFailed")
    assert refused(alice.get_object, Bucket=bucket, Key="a", IfNoneMatch=tag)[0] == 304
    # Writes, too: only one of those that must be the first is.
    assert refused(alice.put_object, Bucket=bucket, Key="a", IfNoneMatch="*") == (412, "PreconditionFailed")
    alice.put_object(Bucket=bucket, Key="b", IfNoneMatch="*")
    assert refused(alice.put_object, Bucket=bucket, Key="a", IfMatch='"x"') == (412, "PreconditionFailed")
    assert refused(alice.put_object, Bucket=bucket, Key="c", IfMatch=tag) == (404, "NoSuchKey")
    alice.put_object(Bucket=bucket, Key="a", Body=b"new", IfMatch=tag.strip('"'))
    assert refused(alice.delete_object, Bucket=bucket, Key="a", IfMatch=tag) == (412, "PreconditionFailed")


def test_listings(alice, bucket):
    names = ["a", "b/1", "b/2", "c/d/1", "e f", "ü", "z"]
    for name in names:
        alice.put_object(Bucket=bucket, Key=name)
    pages = alice.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert [entry["Key"] for page in pages for entry in page["Contents"]] == sorted(names, key=str.encode)
    page = alice.list_objects_v2(Bucket=bucket, Delimiter="/", StartAfter="a")
    assert [entry["Key"] for entry in page["Contents"]] == ["e f", "z", "ü"]
    assert [prefix["Prefix"] for prefix in page["CommonPrefixes"]] == ["b/", "c/"] and page["KeyCount"] == 5
    page = alice.list_objects(Bucket=bucket, Delimiter="/", MaxKeys=2)
    assert page["IsTruncated"] and page["NextMarker"] == "b/"
    page = alice.list_objects(Bucket=bucket, Delimiter="/", Marker="b/", Prefix="")
    assert [prefix["Prefix"] for prefix in page["CommonPrefixes"]] == ["c/"]
    assert "Contents" not in alice.list_objects_v2(Bucket=bucket, Prefix="nothing")
    assert refused(alice.list_objects_v2, Bucket=bucket, ContinuationToken="!") == (400, "InvalidArgument")
    assert bucket in [one["Name"] for one in alice.list_buckets()["Buckets"]]
    # Many at once: some of them are not there, which is what was wanted.
    gone = {"Objects": [{"Key": name} for name in [*names, "never"]]}
    assert len(alice.delete_objects(Bucket=bucket, Delete=gone)["Deleted"]) == 8
    alice.delete_bucket(Bucket=bucket)
    assert refused(alice.head_bucket, Bucket=bucket) == (404, "404")


def test_copies(alice, bob, bucket):
    data = os.urandom(6 * MEBIBYTE)
    alice.put_object(Bucket=bucket, Key="a", Body=data, ContentType="x/y", Metadata={"m": "1"}, Tagging="t=1")
    copied = alice.copy_object(Bucket=bucket, Key="b/ä", CopySource={"Bucket": bucket, "Key": "a"})
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    head = alice.head_object(Bucket=bucket, Key="b/ä")
    assert (head["ContentType"], head["Metadata"]) == ("x/y", {"m": "1"}) and read(alice, bucket, "b/ä") == data
    assert alice.get_object_tagging(Bucket=bucket, Key="b/ä")["TagSet"] == [{"Key": "t", "Value": "1"}]
    itself = {"Bucket": bucket, "Key": "a", "CopySource": f"{bucket}/a"}
    assert refused(alice.copy_object, **itself) == (400, "InvalidRequest")
    alice.copy_object(**itself, MetadataDirective="REPLACE", Metadata={"m": "2"})
    assert alice.head_object(Bucket=bucket, Key="a")["Metadata"] == {"m": "2"}
    missing = f"{bucket}/none"
    assert refused(alice.copy_object, Bucket=bucket, Key="c", CopySource=missing) == (404, "NoSuchKey")
    condition = {"CopySourceIfMatch": '"x"'}
    assert refused(alice.copy_object, Bucket=bucket, Key="c", CopySource=f"{bucket}/a", **condition)[0] == 412
    bob.create_bucket(Bucket=f"{bucket}-bob")
    assert refused(bob.copy_object, Bucket=f"{bucket}-bob", Key="c", CopySource=f"{bucket}/a") == (403, "AccessDenied")


def test_checksums_of_all_kinds(alice, bucket):
    for algorithm in ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]:
        if algorithm in ("CRC32C", "CRC64NVME"):
            continue  # boto3 computes these only with a library of its own.
        put = alice.put_object(Bucket=bucket, Key=algorithm, Body=b"hello", ChecksumAlgorithm=algorithm)
        head = alice.head_object(Bucket=bucket, Key=algorithm, ChecksumMode="ENABLED")
        assert head[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"] and head["ChecksumType"] == "FULL_OBJECT"
    wrong = base64.b64encode(b"0" * 32).decode()
    assert refused(alice.put_object, Bucket=bucket, Key="a", Body=b"x", ChecksumSHA256=wrong) == (400, "BadDigest")
    right = base64.b64encode((0x9A71BB4C).to_bytes(4, "big")).decode()
    assert alice.put_object(Bucket=bucket, Key="a", Body=b"hello", ChecksumCRC32C=right)["ChecksumCRC32C"] == right
    # The check value of CRC-64/NVME in the catalogue of parametrised CRC algorithms.
    known = base64.b64encode((0xAE8B14860A799888).to_bytes(8, "big")).decode()
    put = {"Bucket": bucket, "Key": "a", "Body": b"123456789"}
    assert alice.put_object(**put, ChecksumCRC64NVME=known)["ChecksumCRC64NVME"] == known
    assert refused(alice.put_object, **{**put, "Body": b"123456780"}, ChecksumCRC64NVME=known) == (400, "BadDigest")
    assert alice.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")["ChecksumCRC64NVME"] == known
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert refused(alice.put_object, Bucket=bucket, Key="b", Body=b"x", ContentMD5=md5) == (400, "BadDigest")
    assert refused(alice.head_object, Bucket=bucket, Key="b")[0] == 404
    attributes = ["ETag", "ObjectSize", "Checksum", "StorageClass"]
    told = alice.get_object_attributes(Bucket=bucket, Key="SHA256", ObjectAttributes=attributes)
    assert told["ObjectSize"] == 5 and told["ETag"] == hashlib.md5(b"hello").hexdigest()
    assert told["Checksum"]["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"hello").digest()).decode()


def test_signed_links_and_virtual_hosts(alice, bucket, monkeypatch):
    alice.put_object(Bucket=bucket, Key="a b", Body=b"hello")
    link = alice.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"}, ExpiresIn=60)
    assert requests.get(link, timeout=10).content == b"hello"
    assert requests.put(link, data=b"x", timeout=10).status_code == 403
    assert requests.get(link.replace("a%20b", "c"), timeout=10).status_code == 403
    week = alice.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"}, ExpiresIn=604801)
    assert requests.get(week, timeout=10).status_code == 403
    short = alice.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"}, ExpiresIn=1)
    eventually(lambda: requests.get(short, timeout=10).status_code == 403)
    assert "<Code>AccessDenied</Code>" in requests.get(short, timeout=10).text
    write = alice.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "new"}, ExpiresIn=60)
    assert requests.put(write, data=b"by link", timeout=10).status_code == 200
    assert read(alice, bucket, "new") == b"by link"
    # *.localhost is this machine (RFC 6761, section 6.3); not every resolver knows.
    resolve = socket.getaddrinfo
    local = lambda host, *more, **named: resolve("127.0.0.1" if host.endswith("localhost") else host, *more, **named)
    monkeypatch.setattr(socket, "getaddrinfo", local)
    hosted = client_of(ALICE, style="virtual", door=DOOR.replace("127.0.0.1", "s3.localhost"))
    assert read(hosted, bucket, "a b") == b"hello"
    assert [entry["Key"] for entry in hosted.list_objects_v2(Bucket=bucket)["Contents"]] == ["a b", "new"]
    hosted.put_object(Bucket=bucket, Key="v1/files", Body=b"no path of the other API")
    assert read(alice, bucket, "v1/files") == b"no path of the other API"


def test_forms_of_browsers(alice, bucket):
    conditions = [["starts-with", "$Content-Type", "text/"], ["content-length-range", 1, 100]]
    form = alice.generate_presigned_post(bucket, "up/a.txt", Fields={"Content-Type": "text/plain"}, Conditions=conditions)
    send = lambda data: requests.post(form["url"], data=form["fields"], files={"file": data}, timeout=10).status_code
    assert send(b"hello") == 204 and read(alice, bucket, "up/a.txt") == b"hello"
    assert send(b"x" * 101) == 400
    form["fields"]["key"] = "elsewhere"
    assert send(b"hello") in (400, 403)
