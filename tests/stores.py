"""An S3 server that tests read and write through the real client."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Server:
    """moto's server in a process of its own."""

    def __init__(self) -> None:
        for _ in range(5):  # another process may take the port before it does
            if self._starts():
                return
        raise TimeoutError("moto's server does not start")

    def _starts(self) -> bool:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        end = time.monotonic() + 180
        while self._process.poll() is None and time.monotonic() < end:
            if self._answers():
                return True
            time.sleep(0.05)
        self.end()
        return False

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/moto-api/", timeout=1).close()
        except OSError:
            return False
        return True

    def ask_for_credentials(self, after: str) -> None:
        """Refuse unknown keys from now on (`0`), or never (`inf`)."""
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", after.encode(), plain)
        urllib.request.urlopen(request, timeout=10).close()

    def stop_answering(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def answer_again(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Bucket:
    """A bucket, looked at by a client of its own."""

    def __init__(self, server: Server, name: str) -> None:
        import boto3

        self.server, self.name = server, name
        self.client: Any = boto3.client("s3", endpoint_url=server.url)
        self.client.create_bucket(Bucket=name)

    def url(self, key: str = "") -> str:
        return f"s3://{self.name}/{key}"

    def put(self, key: str, data: bytes) -> str:
        self.client.put_object(Bucket=self.name, Key=key, Body=data)
        return self.url(key)

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def changed(self, key: str) -> Any:
        """When an object was put."""
        return self.client.head_object(Bucket=self.name, Key=key)["LastModified"]

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def upload(self, folder: Path, prefix: str) -> str:
        """A folder's files below a prefix -> its URL."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())
        return self.url(prefix)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=self.name, Prefix=prefix)
        return [each["Key"] for page in found for each in page.get("Contents", [])]

    def objects(self, prefix: str) -> dict[str, bytes]:
        """The bytes of every object by its key below a prefix."""
        return {key.removeprefix(f"{prefix}/"): self.get(key) for key in self.keys(f"{prefix}/")}


def environment(server: Server) -> dict[str, str]:
    """What a client finds its server and credentials by."""
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": server.url, "AWS_CONFIG_FILE": os.devnull}
