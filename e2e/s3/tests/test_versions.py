"""Versions, locks, and rules for how long things stay."""

import datetime

from conftest import eventually, read, refused


def test_versions_are_kept(alice, versioned):
    first = alice.put_object(Bucket=versioned, Key="a", Body=b"1")["VersionId"]
    second = alice.put_object(Bucket=versioned, Key="a", Body=b"2")["VersionId"]
    assert (read(alice, versioned, "a"), read(alice, versioned, "a", VersionId=first)) == (b"2", b"1")
    marker = alice.delete_object(Bucket=versioned, Key="a")
    assert marker["DeleteMarker"]
    assert refused(alice.get_object, Bucket=versioned, Key="a") == (404, "NoSuchKey")
    assert refused(alice.get_object, Bucket=versioned, Key="a", VersionId=marker["VersionId"])[0] == 405
    listed = alice.list_object_versions(Bucket=versioned)
    assert [one["VersionId"] for one in listed["Versions"]] == [second, first]
    assert listed["DeleteMarkers"][0]["IsLatest"]
    alice.delete_object(Bucket=versioned, Key="a", VersionId=marker["VersionId"])
    assert read(alice, versioned, "a") == b"2"
    assert refused(alice.delete_bucket, Bucket=versioned) == (409, "BucketNotEmpty")
    assert refused(alice.get_object, Bucket=versioned, Key="a", VersionId="nonsense") == (400, "InvalidArgument")
    alice.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    assert "VersionId" not in alice.put_object(Bucket=versioned, Key="a", Body=b"3")
    assert read(alice, versioned, "a", VersionId="null") == b"3"
    gone = [{"Key": "a", "VersionId": one} for one in [first, second, "null"]]
    assert len(alice.delete_objects(Bucket=versioned, Delete={"Objects": gone})["Deleted"]) == 3
    alice.delete_bucket(Bucket=versioned)


def test_versions_come_in_pages(alice, versioned):
    for key in ["a", "b/1", "b/2", "c"]:
        for data in [b"1", b"2", b"3"]:
            alice.put_object(Bucket=versioned, Key=key, Body=data)
    pages = alice.get_paginator("list_object_versions").paginate(Bucket=versioned, PaginationConfig={"PageSize": 5})
    all_versions = [(one["Key"], one["IsLatest"]) for page in pages for one in page.get("Versions", [])]
    assert all_versions == [(key, latest) for key in ["a", "b/1", "b/2", "c"] for latest in [True, False, False]]
    page = alice.list_object_versions(Bucket=versioned, Delimiter="/", MaxKeys=4)
    assert [one["Prefix"] for one in page["CommonPrefixes"]] == ["b/"] and page["NextKeyMarker"] == "b/"
    page = alice.list_object_versions(Bucket=versioned, Delimiter="/", KeyMarker="b/")
    assert [one["Key"] for one in page["Versions"]] == ["c"] * 3 and "CommonPrefixes" not in page


def test_locked_versions_stay(alice, bucket):
    name = f"{bucket}-locked"
    alice.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    assert alice.get_bucket_versioning(Bucket=name)["Status"] == "Enabled"
    suspended = {"Status": "Suspended"}
    assert refused(alice.put_bucket_versioning, Bucket=name, VersioningConfiguration=suspended)[0] == 409
    rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
    alice.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=rule)
    version = alice.put_object(Bucket=name, Key="a", Body=b"1")["VersionId"]
    assert alice.get_object_retention(Bucket=name, Key="a")["Retention"]["Mode"] == "GOVERNANCE"
    this = {"Bucket": name, "Key": "a", "VersionId": version}
    assert refused(alice.delete_object, **this) == (403, "AccessDenied")
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": datetime.datetime.now() + datetime.timedelta(hours=1)}
    assert refused(alice.put_object_retention, **this, Retention=shorter) == (403, "AccessDenied")
    alice.put_object_legal_hold(**this, LegalHold={"Status": "ON"})
    assert refused(alice.delete_object, **this, BypassGovernanceRetention=True) == (403, "AccessDenied")
    alice.put_object_legal_hold(**this, LegalHold={"Status": "OFF"})
    # What merely comes in its place may: the version stays.
    alice.put_object(Bucket=name, Key="a", Body=b"2")
    assert read(alice, name, "a", VersionId=version) == b"1"
    assert refused(alice.delete_object, **this) == (403, "AccessDenied")
    alice.delete_object(**this, BypassGovernanceRetention=True)
    strict = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime.datetime.now() + datetime.timedelta(days=1)}
    version = alice.put_object(Bucket=name, Key="b", **strict)["VersionId"]
    kept = {"Bucket": name, "Key": "b", "VersionId": version, "BypassGovernanceRetention": True}
    assert refused(alice.delete_object, **kept) == (403, "AccessDenied")
    errors = alice.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "b", "VersionId": version}]})["Errors"]
    assert errors[0]["Code"] == "AccessDenied"


def test_lifecycle_rules_are_kept_and_wrong_ones_refused(alice, bucket):
    rules = [{"ID": "one", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}]
    alice.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    assert alice.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
    wrong = [{**rules[0], "Expiration": {"Days": 0}}]
    wrong = {"Bucket": bucket, "LifecycleConfiguration": {"Rules": wrong}}
    assert refused(alice.put_bucket_lifecycle_configuration, **wrong) == (400, "InvalidArgument")
    alice.delete_bucket_lifecycle(Bucket=bucket)
    none = (404, "NoSuchLifecycleConfiguration")
    assert refused(alice.get_bucket_lifecycle_configuration, Bucket=bucket) == none


def test_what_rules_are_about_goes_and_nothing_else(alice, versioned):
    # A day is a second here: see ../run.
    for key in ["tmp/old", "tmp/large", "kept"]:
        for body in [b"1", b"2" * 100]:
            alice.put_object(Bucket=versioned, Key=key, Body=body)
    begun = alice.create_multipart_upload(Bucket=versioned, Key="tmp/parts")["UploadId"]
    rules = [
        {"ID": "expire", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}},
        {"ID": "older", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}},
        {"ID": "parts", "Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
        {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": "kept"}, "Expiration": {"Days": 1}},
    ]
    alice.put_bucket_lifecycle_configuration(Bucket=versioned, LifecycleConfiguration={"Rules": rules})
    keys = lambda: [entry["Key"] for entry in alice.list_objects_v2(Bucket=versioned).get("Contents", [])]
    eventually(lambda: keys() == ["kept"])
    # The present ones became older ones, which go too; of the others none does.
    versions = lambda: [entry["Key"] for entry in alice.list_object_versions(Bucket=versioned).get("Versions", [])]
    eventually(lambda: versions() == ["kept", "kept"])
    eventually(lambda: "Uploads" not in alice.list_multipart_uploads(Bucket=versioned))
    assert refused(alice.list_parts, Bucket=versioned, Key="tmp/parts", UploadId=begun) == (404, "NoSuchUpload")
    assert read(alice, versioned, "kept") == b"2" * 100


def test_buckets_and_objects_have_tags(alice, bob, bucket):
    none = (404, "NoSuchTagSet")
    assert refused(alice.get_bucket_tagging, Bucket=bucket) == none
    tags = [{"Key": "team", "Value": "sea"}, {"Key": "of", "Value": "ada"}]
    alice.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    by_key = lambda tags: sorted(tags, key=lambda tag: tag["Key"])
    assert by_key(alice.get_bucket_tagging(Bucket=bucket)["TagSet"]) == by_key(tags)
    assert refused(bob.get_bucket_tagging, Bucket=bucket)[0] == 403
    twice = {"TagSet": [tags[0], tags[0]]}
    assert refused(alice.put_bucket_tagging, Bucket=bucket, Tagging=twice)[0] == 400
    alice.delete_bucket_tagging(Bucket=bucket)
    assert refused(alice.get_bucket_tagging, Bucket=bucket) == none
    alice.put_object(Bucket=bucket, Key="a", Body=b"1", Tagging="x=1&y=2")
    assert alice.head_object(Bucket=bucket, Key="a")["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert len(alice.get_object_tagging(Bucket=bucket, Key="a")["TagSet"]) == 2
    alice.put_object_tagging(Bucket=bucket, Key="a", Tagging={"TagSet": tags[:1]})
    assert alice.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == tags[:1]
    alice.delete_object_tagging(Bucket=bucket, Key="a")
    assert alice.get_object_tagging(Bucket=bucket, Key="a")["TagSet"] == []
