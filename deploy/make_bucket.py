"""Make the bucket S3_BUCKET where it does not exist yet; waits for a store that is still starting."""

from __future__ import annotations

import os
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

_SECONDS = 120


def main() -> int:
    """0 once the bucket is there, 1 with one sentence when the store does not answer."""
    name = os.environ["S3_BUCKET"]
    client = boto3.client("s3", config=Config(retries={"max_attempts": 1}, connect_timeout=3, read_timeout=10))
    until = time.monotonic() + float(os.environ.get("BUCKET_SECONDS", _SECONDS))
    while True:
        try:
            if name not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=name)
            print(f"Bucket {name} is there.")
            return 0
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > until:
                print(f"Bucket {name} cannot be made: {error}", file=sys.stderr)
                return 1
            time.sleep(1)


if __name__ == "__main__":
    sys.exit(main())
