"""The programs that people use."""

import os
import subprocess

import pytest
from conftest import ALICE, DOOR

HOST = DOOR.removeprefix("http://")


@pytest.fixture
def run(tmp_path):
    """Runs a program in an empty home."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": ALICE[0],
        "AWS_SECRET_ACCESS_KEY": ALICE[1],
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": DOOR,
        "RCLONE_CONFIG_EDDY_TYPE": "s3",
        "RCLONE_CONFIG_EDDY_PROVIDER": "Other",
        "RCLONE_CONFIG_EDDY_ACCESS_KEY_ID": ALICE[0],
        "RCLONE_CONFIG_EDDY_SECRET_ACCESS_KEY": ALICE[1],
        "RCLONE_CONFIG_EDDY_ENDPOINT": DOOR,
        "RCLONE_S3_CHUNK_SIZE": "5M",
        "RCLONE_S3_UPLOAD_CUTOFF": "6M",
    }
    s3cmd = [f"--host={HOST}", f"--host-bucket={HOST}", "--no-ssl", f"--access_key={ALICE[0]}", f"--secret_key={ALICE[1]}"]

    def run(*command):
        command = [*command[:1], *(s3cmd if command[0] == "s3cmd" else []), *command[1:]]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    return run


@pytest.fixture
def folder(tmp_path):
    """Some files, one of them long."""
    files = {"a.txt": b"hello", "sub/b ä+.bin": os.urandom(300_000), "sub/long": os.urandom(18 * 1024 * 1024), "empty": b""}
    for name, data in files.items():
        path = tmp_path / "from" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return files


def same(folder, files):
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == files


def test_aws_cli(run, folder, tmp_path, bucket):
    run("aws", "s3", "mb", f"s3://{bucket}-cli")
    run("aws", "s3", "sync", "from", f"s3://{bucket}/x")
    assert "sub/long" in run("aws", "s3", "ls", "--recursive", f"s3://{bucket}")
    run("aws", "s3", "sync", f"s3://{bucket}/x", "to")
    same(tmp_path / "to", folder)
    assert run("aws", "s3", "sync", "from", f"s3://{bucket}/x") == ""
    run("aws", "s3", "mv", f"s3://{bucket}/x/sub/long", f"s3://{bucket}-cli/long")
    assert "x/sub/long" not in run("aws", "s3", "ls", "--recursive", f"s3://{bucket}")
    run("aws", "s3", "rb", "--force", f"s3://{bucket}-cli")


def test_rclone(run, folder, tmp_path, bucket):
    run("rclone", "sync", "from", f"eddy:{bucket}/x")
    run("rclone", "check", "--download", "from", f"eddy:{bucket}/x")
    run("rclone", "sync", f"eddy:{bucket}/x", "to")
    same(tmp_path / "to", folder)
    run("rclone", "move", f"eddy:{bucket}/x", f"eddy:{bucket}/y")
    assert "a.txt" in run("rclone", "lsf", f"eddy:{bucket}/y")
    run("rclone", "purge", f"eddy:{bucket}")


def test_s3cmd(run, folder, tmp_path, bucket):
    run("s3cmd", "sync", "--multipart-chunk-size-mb=5", "from/", f"s3://{bucket}/x/")
    listed = run("s3cmd", "ls", "--recursive", f"s3://{bucket}")
    assert all(name in listed for name in folder)
    run("s3cmd", "sync", f"s3://{bucket}/x/", "to/")
    same(tmp_path / "to", folder)
    run("s3cmd", "setacl", "--acl-public", f"s3://{bucket}/x/a.txt")
    run("s3cmd", "cp", f"s3://{bucket}/x/a.txt", f"s3://{bucket}/copied")
    run("s3cmd", "del", "--recursive", "--force", f"s3://{bucket}")
    run("s3cmd", "rb", f"s3://{bucket}")
