"""With whom buckets and objects are shared."""

import json

import requests
from conftest import DOOR, read, refused


def policy(bucket, principal, actions, resource="/*", effect="Allow", **more):
    statement = {"Effect": effect, "Principal": principal, "Action": actions, "Resource": f"arn:aws:s3:::{bucket}{resource}", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_what_is_private_is_nobody_elses(alice, bob, anyone, bucket):
    alice.put_object(Bucket=bucket, Key="a", Body=b"mine")
    for other in [bob, anyone]:
        for call, named in [
            (other.get_object, {"Key": "a"}),
            (other.get_object, {"Key": "missing"}),
            (other.put_object, {"Key": "b"}),
            (other.delete_object, {"Key": "a"}),
            (other.list_objects_v2, {}),
            (other.get_bucket_acl, {}),
            (other.get_bucket_policy, {}),
            (other.put_bucket_acl, {"ACL": "public-read"}),
            (other.delete_bucket, {}),
        ]:
            assert refused(call, Bucket=bucket, **named) == (403, "AccessDenied"), (call, named)
    # That is also so for deletions of many.
    errors = bob.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}]})["Errors"]
    assert errors[0]["Code"] == "AccessDenied" and read(alice, bucket, "a") == b"mine"
    assert bucket not in [one["Name"] for one in bob.list_buckets()["Buckets"]]
    assert refused(bob.create_bucket, Bucket=bucket) == (409, "BucketAlreadyExists")
    expected = {"ExpectedBucketOwner": "bob"}
    assert refused(alice.get_object, Bucket=bucket, Key="a", **expected) == (403, "AccessDenied")


def test_lists_share_buckets_and_objects(alice, bob, anyone, bucket):
    alice.put_object(Bucket=bucket, Key="open", Body=b"all", ACL="public-read")
    alice.put_object(Bucket=bucket, Key="closed", Body=b"mine")
    assert read(anyone, bucket, "open") == b"all"
    assert refused(anyone.get_object, Bucket=bucket, Key="closed") == (403, "AccessDenied")
    alice.put_object_acl(Bucket=bucket, Key="closed", GrantRead='id="bob"')
    assert read(bob, bucket, "closed") == b"mine"
    assert refused(anyone.get_object, Bucket=bucket, Key="closed") == (403, "AccessDenied")
    # The API of files sees it in the same way.
    assert requests.get(f"{DOOR}/v1/files/{bucket}/open", timeout=10).content == b"all"
    assert requests.get(f"{DOOR}/v1/files/{bucket}/closed", timeout=10).status_code == 401
    assert requests.get(f"{DOOR}/v1/files/{bucket}/closed", auth=("other", "fedcba9876543210"), timeout=10).content == b"mine"
    alice.put_bucket_acl(Bucket=bucket, ACL="authenticated-read")
    assert len(bob.list_objects_v2(Bucket=bucket)["Contents"]) == 2
    assert refused(anyone.list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
    assert refused(alice.put_object_acl, Bucket=bucket, Key="open", GrantRead='id="nobody"') == (400, "InvalidArgument")
    grants = alice.get_object_acl(Bucket=bucket, Key="closed")["Grants"]
    assert [(one["Grantee"]["ID"], one["Permission"]) for one in grants] == [("bob", "READ")]
    # Who may write does not own what is there.
    alice.put_bucket_acl(Bucket=bucket, ACL="public-read-write")
    bob.put_object(Bucket=bucket, Key="bobs", Body=b"by bob")
    assert alice.get_object_acl(Bucket=bucket, Key="bobs")["Owner"]["ID"] == "bob"
    assert read(alice, bucket, "bobs") == b"by bob" and read(bob, bucket, "bobs") == b"by bob"
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
    alice.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    assert refused(anyone.get_object, Bucket=bucket, Key="open") == (403, "AccessDenied")
    assert refused(alice.put_object_acl, Bucket=bucket, Key="open", ACL="public-read") == (403, "AccessDenied")
    everyone = policy(bucket, "*", "s3:GetObject")
    assert refused(alice.put_bucket_policy, Bucket=bucket, Policy=everyone) == (403, "AccessDenied")


def test_policies_allow_and_deny(alice, bob, anyone, bucket):
    alice.put_object(Bucket=bucket, Key="pub/a", Body=b"all")
    alice.put_object(Bucket=bucket, Key="own/a", Body=b"mine", Tagging="level=low")
    alice.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, "*", ["s3:GetObject"], "/pub/*"))
    assert read(anyone, bucket, "pub/a") == b"all" and alice.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
    assert refused(anyone.get_object, Bucket=bucket, Key="own/a") == (403, "AccessDenied")
    assert requests.get(f"{DOOR}/v1/files/{bucket}/pub/a", timeout=10).content == b"all"
    tagged = {"Condition": {"StringEquals": {"s3:ExistingObjectTag/level": "low"}}}
    user = {"AWS": "arn:aws:iam:::user/bob"}
    alice.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, user, "s3:*", "*", **tagged))
    assert read(bob, bucket, "own/a") == b"mine"
    assert refused(bob.get_object, Bucket=bucket, Key="pub/a") == (403, "AccessDenied")
    # Who denies it to everyone denies it to themselves, but for the policy.
    alice.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, "*", "s3:*", "*", effect="Deny"))
    assert refused(alice.get_object, Bucket=bucket, Key="pub/a") == (403, "AccessDenied")
    assert requests.get(f"{DOOR}/v1/files/{bucket}/pub/a", auth=("key", "0123456789abcdef"), timeout=10).status_code == 404
    alice.delete_bucket_policy(Bucket=bucket)
    assert read(alice, bucket, "pub/a") == b"all"
    assert refused(alice.get_bucket_policy, Bucket=bucket) == (404, "NoSuchBucketPolicy")
    for wrong in ["{}", "not json", policy("another", "*", "s3:*"), policy(bucket, "*", "s3:*", Condition={"Maybe": {"a": "b"}})]:
        assert refused(alice.put_bucket_policy, Bucket=bucket, Policy=wrong) == (400, "MalformedPolicy"), wrong


def test_pages_of_other_origins(alice, anyone, bucket):
    rule = {
        "AllowedOrigins": ["https://*.example.org"],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    }
    alice.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    assert alice.get_bucket_cors(Bucket=bucket)["CORSRules"] == [rule]
    alice.put_object(Bucket=bucket, Key="a", Body=b"all", ACL="public-read")
    url, origin = f"{DOOR}/{bucket}/a", "https://a.example.org"
    got = requests.get(url, headers={"Origin": origin}, timeout=10)
    assert got.headers["access-control-allow-origin"] == origin and got.headers["access-control-expose-headers"] == "ETag"
    assert "access-control-allow-origin" not in requests.get(url, headers={"Origin": "https://b.org"}, timeout=10).headers
    asked = {"Origin": origin, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-amz-date"}
    told = requests.options(url, headers=asked, timeout=10)
    assert told.status_code == 200 and told.headers["access-control-allow-headers"] == "x-amz-date"
    asked["Access-Control-Request-Method"] = "DELETE"
    assert requests.options(url, headers=asked, timeout=10).status_code == 403
    alice.delete_bucket_cors(Bucket=bucket)
    assert refused(alice.get_bucket_cors, Bucket=bucket) == (404, "NoSuchCORSConfiguration")
