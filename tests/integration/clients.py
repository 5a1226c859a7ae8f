#!/usr/bin/python3
"""Clients of Python that find the proxy in their environment. usage: clients.py CLIENT ARGUMENT...

Prints what came of it in one line: a status and a body, or the error.
"""

import sys


def urllib_get(url):
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def requests_get(url):
    import requests

    with requests.Session() as session:
        return [(response.status_code, response.content) for response in (session.get(url, timeout=30) for _ in "ab")]


def aiohttp_websocket(url, proxy):
    import asyncio

    import aiohttp

    async def talk():
        async with aiohttp.ClientSession() as session, session.ws_connect(url, proxy=proxy) as socket:
            await socket.send_str("hello")
            return (await socket.receive(timeout=30)).data

    return asyncio.run(talk())


def boto3_s3(bucket, endpoint=None):
    import boto3

    s3 = boto3.client("s3", region_name="us-east-1", endpoint_url=endpoint)
    s3.put_object(Bucket=bucket, Key="a key", Body=b"x" * 100_000)
    return s3.get_object(Bucket=bucket, Key="a key")["Body"].read()


def boto3_kms(region):
    import boto3

    kms = boto3.client("kms", region_name=region)
    return kms.generate_random(NumberOfBytes=4)["Plaintext"]


if __name__ == "__main__":
    try:
        print(globals()[sys.argv[1]](*sys.argv[2:]))
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
