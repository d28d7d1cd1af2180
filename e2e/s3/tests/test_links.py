"""What whoever has a link, or a right to one thing, cannot make of it."""

import base64
import datetime
import hashlib
import hmac
import http.client
import json

import boto3
import pytest
import requests
from botocore.auth import HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from conftest import ALICE, DOOR, read, refused
from test_bad_input import code, signed
from test_streams import HOST, Upload, crc32


def policy(bucket, *statements):
    whole = [{"Principal": "*", "Resource": f"arn:aws:s3:::{bucket}/*", **one} for one in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": whole})


def test_nothing_is_added_to_a_link(alice, anyone, bucket):
    alice.put_object(Bucket=bucket, Key="secret", Body=b"secret")
    link = alice.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "up"})
    assert requests.put(link, data=b"up", timeout=10).status_code == 200
    for name, value in [("x-amz-copy-source", f"/{bucket}/secret"), ("x-amz-acl", "public-read"), ("x-amz-meta-a", "b")]:
        assert code(requests.put(link, headers={name: value}, timeout=10)) == (403, "AccessDenied"), name
    assert read(alice, bucket, "up") == b"up"
    assert refused(anyone.get_object, Bucket=bucket, Key="up") == (403, "AccessDenied")
    # What was signed may come.
    link = alice.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "open", "ACL": "public-read"})
    assert requests.put(link, data=b"open", headers={"x-amz-acl": "public-read"}, timeout=10).status_code == 200
    assert read(anyone, bucket, "open") == b"open"
    # Also not by whoever sees a request that is signed in its headers.
    headers = signed("PUT", f"/{bucket}/seen", b"seen") | {"x-amz-acl": "public-read"}
    assert code(requests.put(f"{DOOR}/{bucket}/seen", data=b"seen", headers=headers, timeout=10)) == (403, "AccessDenied")


def old_link(path, method="PUT", seconds=60):
    request = AWSRequest(method=method, url=DOOR + path)
    HmacV1QueryAuth(Credentials(*ALICE), expires=seconds).add_auth(request)
    return request.prepare().url


def test_a_link_of_version_2_is_for_one_thing_and_for_a_week_at_most(alice, anyone, bucket):
    assert requests.put(old_link(f"/{bucket}/a"), data=b"a", timeout=10).status_code == 200
    assert requests.get(old_link(f"/{bucket}/a", "GET"), timeout=10).content == b"a"
    public = (
        '<AccessControlPolicy xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>alice</ID></Owner>'
        '<AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group">'
        "<URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission></Grant>"
        "</AccessControlList></AccessControlPolicy>"
    )
    for more in ["&acl&acl", "&acl", "&retention", "&legal-hold", "&tagging&tagging"]:
        answer = requests.put(old_link(f"/{bucket}/a") + more, data=public, timeout=10)
        assert answer.status_code == 403, more
    assert refused(anyone.get_object, Bucket=bucket, Key="a") == (403, "AccessDenied")
    assert code(requests.get(old_link(f"/{bucket}/a", "GET", 8 * 24 * 3600), timeout=10)) == (403, "AccessDenied")


def test_old_requests_are_refused(alice, bucket):
    upload = Upload(f"/{bucket}/old", "UNSIGNED-PAYLOAD", now=datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=20))
    answer = requests.put(f"{DOOR}/{bucket}/old", data=b"old", headers=upload.headers, timeout=10)
    assert code(answer) == (403, "RequestTimeTooSkewed")
    # Of version 2, in whose headers the date is signed.
    for minutes, status in [(0, 200), (20, 403)]:
        then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=minutes)
        date = then.strftime("%a, %d %b %Y %H:%M:%S GMT")
        text = f"GET\n\n\n{date}\n/{bucket}"
        signature = base64.b64encode(hmac.new(ALICE[1].encode(), text.encode(), hashlib.sha1).digest()).decode()
        headers = {"Date": date, "Authorization": f"AWS {ALICE[0]}:{signature}"}
        assert requests.get(f"{DOOR}/{bucket}", headers=headers, timeout=10).status_code == status, minutes


def test_policies_are_not_evaded(alice, bob, versioned):
    bucket = versioned
    version = alice.put_object(Bucket=bucket, Key="a", Body=b"1", Tagging="kind=kept")["VersionId"]
    alice.put_object(Bucket=bucket, Key="other", Body=b"1")
    alice.put_bucket_policy(
        Bucket=bucket,
        Policy=policy(
            bucket,
            {"Effect": "Allow", "Action": ["s3:GetObject*", "s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject*"]},
            {"Effect": "Deny", "Action": "s3:GetObjectVersion", "Condition": {"StringEquals": {"s3:VersionId": version}}},
            {"Effect": "Deny", "Action": "s3:DeleteObject*", "Condition": {"StringEquals": {"s3:ExistingObjectTag/kind": "kept"}}},
            {"Effect": "Deny", "Action": "s3:PutObject", "Condition": {"StringEquals": {"s3:RequestObjectTag/kind": "bad"}}},
        ),
    )
    assert refused(bob.get_object, Bucket=bucket, Key="a", VersionId=version) == (403, "AccessDenied")
    # As it is, which other clients do not leave it.
    connection = http.client.HTTPConnection(HOST, timeout=10)
    connection.request("GET", f"/{bucket}/a?version%49d={version}")
    hidden = connection.getresponse()
    assert hidden.status == 400 and hidden.read() != b"1"
    connection.close()
    # Of many as of one, and by any way that gives tags.
    assert refused(bob.delete_object, Bucket=bucket, Key="a") == (403, "AccessDenied")
    ended = bob.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "a", "VersionId": version}, {"Key": "other"}]})
    assert [one["Code"] for one in ended["Errors"]] == ["AccessDenied"] * 2 and ended["Deleted"][0]["Key"] == "other"
    assert read(alice, bucket, "a") == b"1"
    bad = {"Bucket": bucket, "Key": "b", "Tagging": "kind=bad"}
    assert refused(bob.put_object, **bad) == (403, "AccessDenied")
    assert refused(bob.create_multipart_upload, **bad) == (403, "AccessDenied")
    copy = {"CopySource": {"Bucket": bucket, "Key": "a"}, "TaggingDirective": "REPLACE"}
    assert refused(bob.copy_object, **bad, **copy) == (403, "AccessDenied")
    bob.copy_object(Bucket=bucket, Key="b", Tagging="kind=good", **copy)


def test_only_who_may_lock_does(alice, bob, bucket):
    name = f"{bucket}-locked"
    alice.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    allow = {"Effect": "Allow", "Action": ["s3:PutObject"]}
    alice.put_bucket_policy(Bucket=name, Policy=policy(name, allow))
    later = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=5)
    retention = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": later}
    target = {"Bucket": name, "Key": "a"}
    bob.put_object(**target, Body=b"1")
    for lock in [retention, {"ObjectLockLegalHoldStatus": "ON"}]:
        assert refused(bob.put_object, **target, Body=b"1", **lock) == (403, "AccessDenied")
        assert refused(bob.create_multipart_upload, **target, **lock) == (403, "AccessDenied")
    alice.put_bucket_policy(Bucket=name, Policy=policy(name, {**allow, "Action": ["s3:PutObject", "s3:PutObjectRetention"]}))
    bob.put_object(**target, Body=b"2", **retention)
    assert refused(bob.put_object, **target, Body=b"1", ObjectLockLegalHoldStatus="ON") == (403, "AccessDenied")
    # What is locked is not changed by the other API, either.
    url = f"{DOOR}/v1/metadata/{name}/a"
    answer = requests.put(url, json={"metadata": {"a": "b"}}, auth=ALICE, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (409, "Locked")


def test_what_is_shown_does_not_act(alice, anyone, bucket):
    alice.put_object(Bucket=bucket, Key="page", Body=b"<script>", ContentType="text/html", ACL="public-read")
    answer = requests.get(f"{DOOR}/{bucket}/page", timeout=10)
    assert answer.headers["Content-Security-Policy"].startswith("sandbox") and answer.headers["X-Content-Type-Options"] == "nosniff"
    # A bucket that has a host of its own is a site of its own.
    own = requests.get(f"{DOOR}/page", headers={"Host": f"{bucket}.s3.localhost"}, timeout=10)
    assert own.content == b"<script>" and "Content-Security-Policy" not in own.headers
    chosen = requests.get(f"{DOOR}/{bucket}/page?response-content-type=text/plain", timeout=10)
    assert code(chosen) == (400, "InvalidRequest")
    answer = alice.get_object(Bucket=bucket, Key="page", ResponseContentType="text/plain")
    assert answer["ContentType"] == "text/plain"


def test_a_header_of_another_operation_changes_no_bytes(alice, bucket):
    data = b'<ETag>"x"</ETag>\xff' * 400_000
    alice.put_object(Bucket=bucket, Key="a", Body=data, ACL="public-read")
    answer = requests.get(f"{DOOR}/{bucket}/a", headers={"x-amz-object-attributes": "ETag"}, timeout=20)
    assert answer.content == data
    assert '"' not in alice.get_object_attributes(Bucket=bucket, Key="a", ObjectAttributes=["ETag"])["ETag"]


@pytest.mark.parametrize("size", [1_000_000, 20_000_000])
def test_one_long_chunk_without_a_signature_is_taken(alice, bucket, size):
    data = bytes(range(256)) * (size // 256)
    checksum = ("x-amz-checksum-crc32", crc32(data))
    upload = Upload(f"/{bucket}/one", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", checksum, len(data))
    answer = requests.put(f"{DOOR}/{bucket}/one", data=upload.body(data, size=len(data)), headers=upload.headers, timeout=30)
    assert answer.status_code == 200, answer.text
    assert read(alice, bucket, "one") == data


def test_a_long_chunk_with_a_signature_is_refused(alice, bucket):
    data = bytes(3_000_000)
    upload = Upload(f"/{bucket}/long", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", length=len(data))
    answer = requests.put(f"{DOOR}/{bucket}/long", data=upload.body(data, size=len(data)), headers=upload.headers, timeout=30)
    assert code(answer) == (400, "InvalidRequest")
    assert requests.put(f"{DOOR}/{bucket}/long", data=upload.body(data, size=1_000_000), headers=upload.headers, timeout=30).status_code == 200
    assert read(alice, bucket, "long") == data


def test_uploads_under_a_prefix_are_listed_once(alice, bucket):
    for key in ["a/1", "a/2", "b/1", "c", "d/1"]:
        for _ in range(2):
            alice.create_multipart_upload(Bucket=bucket, Key=key)
    seen, marker = [], {}
    while True:
        page = alice.list_multipart_uploads(Bucket=bucket, Delimiter="/", MaxUploads=1, **marker)
        seen += [one["Prefix"] for one in page.get("CommonPrefixes", [])] + [one["Key"] for one in page.get("Uploads", [])]
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert seen == ["a/", "b/", "c", "c", "d/"]


def test_links_that_boto3_makes_by_itself_are_of_version_2_and_good(alice, bucket):
    # Without a version said, for the region that it takes for the first one.
    session = boto3.session.Session(aws_access_key_id=ALICE[0], aws_secret_access_key=ALICE[1], region_name="us-east-1")
    client = session.client("s3", endpoint_url=DOOR, config=Config(s3={"addressing_style": "path"}))
    link = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a", "ContentType": "text/plain", "Metadata": {"a": "b"}})
    assert "Signature=" in link
    headers = {"content-type": "text/plain", "x-amz-meta-a": "b"}
    answer = requests.put(link, data=b"a", headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    head = alice.head_object(Bucket=bucket, Key="a")
    assert (head["ContentType"], head["Metadata"]) == ("text/plain", {"a": "b"})
    assert requests.get(client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a"}), timeout=10).content == b"a"


def test_uploads_of_keys_that_sort_last_are_listed_to_an_end(alice, bucket):
    for _ in range(3):
        alice.create_multipart_upload(Bucket=bucket, Key="a/\U0010ffffx")
    page = alice.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [one["Prefix"] for one in page["CommonPrefixes"]] == ["a/"] and not page["IsTruncated"]
    assert not alice.list_multipart_uploads(Bucket=bucket, MaxUploads=0)["IsTruncated"]
