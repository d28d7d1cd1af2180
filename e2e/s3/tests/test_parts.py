"""Objects that come in parts."""

import hashlib
import io
import os

from boto3.s3.transfer import TransferConfig
from conftest import read, refused

MEBIBYTE = 1024 * 1024


def parts_of(client, bucket, key, pieces, **more):
    upload = client.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]
    parts = []
    for number, data in enumerate(pieces, 1):
        algorithm = {name: value for name, value in more.items() if name == "ChecksumAlgorithm"}
        part = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data, **algorithm)
        sums = {name: value for name, value in part.items() if name.startswith("Checksum")}
        parts.append({"PartNumber": number, "ETag": part["ETag"], **sums})
    return upload, parts


def test_parts_become_an_object(alice, bucket):
    pieces = [os.urandom(5 * MEBIBYTE), os.urandom(6 * MEBIBYTE), b"end"]
    upload, parts = parts_of(alice, bucket, "a", pieces, Metadata={"m": "1"}, Tagging="t=1")
    listed = alice.list_parts(Bucket=bucket, Key="a", UploadId=upload, MaxParts=2)
    assert [part["PartNumber"] for part in listed["Parts"]] == [1, 2] and listed["IsTruncated"]
    assert [one["Key"] for one in alice.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["a"]
    assert refused(alice.get_object, Bucket=bucket, Key="a") == (404, "NoSuchKey")
    done = {"Bucket": bucket, "Key": "a", "UploadId": upload}
    completed = alice.complete_multipart_upload(**done, MultipartUpload={"Parts": parts})
    digests = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    assert completed["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    assert read(alice, bucket, "a") == b"".join(pieces)
    # Who did not hear the answer asks again.
    assert alice.complete_multipart_upload(**done, MultipartUpload={"Parts": parts})["ETag"] == completed["ETag"]
    second = alice.get_object(Bucket=bucket, Key="a", PartNumber=2)
    assert second["Body"].read() == pieces[1] and second["PartsCount"] == 3
    assert refused(alice.get_object, Bucket=bucket, Key="a", PartNumber=4) == (400, "InvalidPart")
    assert alice.head_object(Bucket=bucket, Key="a")["Metadata"] == {"m": "1"}
    told = alice.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=["ObjectParts"], MaxParts=2)["ObjectParts"]
    assert told["TotalPartsCount"] == 3 and [part["Size"] for part in told["Parts"]] == [len(piece) for piece in pieces[:2]]
    assert "Uploads" not in alice.list_multipart_uploads(Bucket=bucket)


def test_wrong_parts_are_refused_and_stay(alice, bucket):
    upload, parts = parts_of(alice, bucket, "a", [b"short", b"end"])
    done = {"Bucket": bucket, "Key": "a", "UploadId": upload}
    complete = lambda parts: refused(alice.complete_multipart_upload, **done, MultipartUpload={"Parts": parts})
    assert complete(parts) == (400, "EntityTooSmall")
    assert complete(parts[::-1]) == (400, "InvalidPartOrder")
    assert complete([{**parts[0], "ETag": '"00000000000000000000000000000000"'}]) == (400, "InvalidPart")
    assert complete([{**parts[0], "PartNumber": 3}]) == (400, "InvalidPart")
    assert complete([]) == (400, "MalformedXML")
    big = {"Bucket": bucket, "Key": "a", "UploadId": upload, "PartNumber": 10001, "Body": b"x"}
    assert refused(alice.upload_part, **big) == (400, "InvalidArgument")
    assert refused(alice.upload_part, **{**big, "PartNumber": 1, "UploadId": "none"}) == (404, "NoSuchUpload")
    alice.complete_multipart_upload(**done, MultipartUpload={"Parts": parts[:1]})
    assert read(alice, bucket, "a") == b"short"
    upload, _ = parts_of(alice, bucket, "b", [b"x"])
    alice.abort_multipart_upload(Bucket=bucket, Key="b", UploadId=upload)
    assert refused(alice.list_parts, Bucket=bucket, Key="b", UploadId=upload) == (404, "NoSuchUpload")


def test_checksums_of_parts(alice, bucket):
    pieces = [os.urandom(5 * MEBIBYTE), b"end"]
    for algorithm, kind in [("CRC32", "FULL_OBJECT"), ("CRC32", "COMPOSITE"), ("SHA256", "COMPOSITE")]:
        key = f"{algorithm}-{kind}"
        upload, parts = parts_of(alice, bucket, key, pieces, ChecksumAlgorithm=algorithm, ChecksumType=kind)
        alice.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
        whole = alice.put_object(Bucket=bucket, Key="whole", Body=b"".join(pieces), ChecksumAlgorithm=algorithm)
        head = alice.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert head["ChecksumType"] == kind
        same = head[f"Checksum{algorithm}"] == whole[f"Checksum{algorithm}"]
        assert same == (kind == "FULL_OBJECT") and head[f"Checksum{algorithm}"].endswith("-2") != same
    wrong = {"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"}
    assert refused(alice.create_multipart_upload, Bucket=bucket, Key="a", **wrong) == (400, "InvalidRequest")


def test_transfers_of_boto3(alice, bucket):
    data = os.urandom(40 * MEBIBYTE)
    config = TransferConfig(multipart_threshold=8 * MEBIBYTE, multipart_chunksize=8 * MEBIBYTE, max_concurrency=4)
    alice.upload_fileobj(io.BytesIO(data), bucket, "large", Config=config)
    back = io.BytesIO()
    alice.download_fileobj(bucket, "large", back, Config=config)
    assert back.getvalue() == data
    # Parts that are copies of parts of it.
    alice.copy({"Bucket": bucket, "Key": "large"}, bucket, "copied", Config=config)
    assert read(alice, bucket, "copied") == data
    assert alice.head_object(Bucket=bucket, Key="copied")["ETag"].endswith('-5"')
