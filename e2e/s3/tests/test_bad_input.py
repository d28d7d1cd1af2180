"""Requests that are wrong are refused in S3's own form, and leave nothing."""

import base64
import http.client
import json
import xml.etree.ElementTree as xml
from urllib.parse import urlsplit

import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import ALICE, DOOR, client_of, read, refused


def signed(method, path, body=b"", secret=ALICE[1], **headers):
    request = AWSRequest(method=method, url=DOOR + path, data=body, headers=headers)
    S3SigV4Auth(Credentials(ALICE[0], secret), "s3", "us-east-1").add_auth(request)
    return dict(request.prepare().headers)


def code(answer):
    return answer.status_code, xml.fromstring(answer.content).findtext("Code")


def test_signatures_that_are_wrong(alice, bucket):
    assert refused(client_of(("key", "wrongwrongwrong0")).list_buckets) == (403, "SignatureDoesNotMatch")
    assert refused(client_of(("nobody", "0123456789abcdef")).list_buckets) == (403, "InvalidAccessKeyId")
    headers = signed("PUT", f"/{bucket}/a", b"hello")
    answer = requests.put(f"{DOOR}/{bucket}/a", data=b"jello", headers=headers, timeout=10)
    assert code(answer) == (400, "XAmzContentSHA256Mismatch")
    assert answer.headers["x-amz-request-id"] == xml.fromstring(answer.content).findtext("RequestId")
    assert requests.put(f"{DOOR}/{bucket}/b", data=b"hello", headers=headers, timeout=10).status_code == 403
    for header in ["", "nonsense", "AWS4-HMAC-SHA256 Credential=key", "Bearer eddy_key_0123456789abcdef"]:
        answer = requests.get(f"{DOOR}/{bucket}/a", headers={"Authorization": header}, timeout=10)
        assert answer.status_code in (400, 403), header
    assert refused(alice.head_object, Bucket=bucket, Key="a")[0] == 404


def test_bodies_that_end_too_soon(alice, bucket):
    headers = signed("PUT", f"/{bucket}/cut", b"x" * 100)
    connection = http.client.HTTPConnection(urlsplit(DOOR).netloc, timeout=10)
    connection.putrequest("PUT", f"/{bucket}/cut", skip_accept_encoding=True, skip_host=False)
    for name, value in headers.items():
        connection.putheader(name, value)
    if "Content-Length" not in headers:
        connection.putheader("Content-Length", "100")
    connection.endheaders(b"x" * 50)
    connection.sock.shutdown(1)
    answer = connection.getresponse()
    assert answer.status == 400
    connection.close()
    assert refused(alice.head_object, Bucket=bucket, Key="cut")[0] == 404
    # What was there stays.
    alice.put_object(Bucket=bucket, Key="cut", Body=b"before")
    connection = http.client.HTTPConnection(urlsplit(DOOR).netloc, timeout=10)
    connection.putrequest("PUT", f"/{bucket}/cut", skip_accept_encoding=True, skip_host=False)
    for name, value in {"Content-Length": "100", **signed("PUT", f"/{bucket}/cut", b"x" * 100)}.items():
        connection.putheader(name, value)
    connection.endheaders(b"x" * 50)
    connection.sock.shutdown(1)
    assert connection.getresponse().status == 400
    connection.close()
    assert read(alice, bucket, "cut") == b"before"


def test_bodies_that_stall(alice, bucket):
    upload = alice.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    basic = {"Authorization": "Basic " + base64.b64encode(":".join(ALICE).encode()).decode(), "Content-Length": "100000"}
    paths = [f"/{bucket}/stalled", f"/{bucket}/parts?partNumber=1&uploadId={upload}", f"/v1/files/{bucket}/stalled"]
    connections = []
    for path in paths:
        connection = http.client.HTTPConnection(urlsplit(DOOR).netloc, timeout=60)
        headers = basic if path.startswith("/v1/") else signed("PUT", path, b"x" * 100_000)
        connection.putrequest("PUT", path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        if "Content-Length" not in headers:
            connection.putheader("Content-Length", "100000")
        connection.endheaders(b"x" * 50_000)
        connections.append(connection)
    # The door is told to wait for 15 s.
    for path, connection in zip(paths, connections):
        answer = connection.getresponse()
        said = answer.read()
        if path.startswith("/v1/"):
            assert (answer.status, json.loads(said)["code"]) == (408, "Silence")
        else:
            assert (answer.status, xml.fromstring(said).findtext("Code")) == (400, "RequestTimeout")
        connection.close()
    assert refused(alice.head_object, Bucket=bucket, Key="stalled")[0] == 404
    assert "Parts" not in alice.list_parts(Bucket=bucket, Key="parts", UploadId=upload)


def test_lengths_and_names_that_are_wrong(alice, bucket):
    upload = alice.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    for path in [f"/{bucket}/long", f"/{bucket}/parts?partNumber=1&uploadId={upload}"]:
        request = AWSRequest(method="PUT", url=DOOR + path, headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
        S3SigV4Auth(Credentials(*ALICE), "s3", "us-east-1").add_auth(request)
        too_long = dict(request.prepare().headers) | {"Content-Length": str(5 * 1024**3 + 1)}
        connection = http.client.HTTPConnection(urlsplit(DOOR).netloc, timeout=10)
        connection.request("PUT", path, headers=too_long)
        answer = connection.getresponse()
        assert answer.status == 400 and b"EntityTooLarge" in answer.read()
        connection.close()
    assert "Parts" not in alice.list_parts(Bucket=bucket, Key="parts", UploadId=upload)
    assert refused(alice.put_object, Bucket=bucket, Key="k" * 1025)[0] == 400
    alice.put_object(Bucket=bucket, Key="k" * 1024, Body=b"long")
    assert read(alice, bucket, "k" * 1024) == b"long"
    for name in ["UPPER", "a_b", "ab", "-a-b", "a..b", "192.168.5.4", "xn--abc", "a" * 64]:
        for method in ["PUT", "GET"]:
            answer = requests.request(method, f"{DOOR}/{name}", headers=signed(method, f"/{name}"), timeout=10)
            assert answer.status_code == 400, name
    # Keys that look like ways are only names.
    for tricky in ["../../etc/passwd", "a/../b", "..", "//a//", "./x"]:
        alice.put_object(Bucket=bucket, Key=tricky, Body=tricky.encode())
        assert read(alice, bucket, tricky) == tricky.encode()
        assert tricky in [one["Key"] for one in alice.list_objects_v2(Bucket=bucket)["Contents"]]
    for path in [f"/{bucket}/%ff", f"/{bucket}/a%c0%af"]:
        for method in ["PUT", "GET"]:
            answer = requests.request(method, DOOR + path, headers=signed(method, path), timeout=10)
            assert code(answer) == (400, "InvalidURI"), path


def test_documents_that_are_wrong(alice, bucket):
    def send(query, document):
        path = f"/{bucket}?{query}="
        headers = signed("PUT", path, document, **{"Content-Type": "application/xml"})
        return requests.put(DOOR + path, data=document, headers=headers, timeout=10)

    for query in ["versioning", "cors", "tagging", "lifecycle", "acl"]:
        for document in [b"<", b"<a/>", b"\xff", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"]:
            answer = send(query, document)
            assert answer.status_code == 400 and code(answer)[1] in ("MalformedXML", "InvalidRequest"), (query, document)
    deep = b"<a>" * 100_000
    assert send("cors", deep).status_code == 400
    large = b"<a>" + b" " * (5 * 1024 * 1024) + b"</a>"
    assert send("cors", large).status_code == 400
    objects = {"Objects": [{"Key": str(number)} for number in range(1001)]}
    assert refused(alice.delete_objects, Bucket=bucket, Delete=objects) == (400, "MalformedXML")
    assert refused(alice.put_object, Bucket=bucket, Key="a", ServerSideEncryption="AES256") == (501, "NotImplemented")
    assert refused(alice.get_bucket_website, Bucket=bucket) == (501, "NotImplemented")
