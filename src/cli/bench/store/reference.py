"""The LMDB backend of hat-event; what it prints is read by the bench: a figure a line, each a rate a second."""

import asyncio
import sys
import time
from pathlib import Path

from hat.event import common
from hat.event.backends import lmdb

TYPES = [("rig-1", "event", f"kind{number:02}") for number in range(100)]
BATCH = 100


def event(number):
    second, rest = divmod(number, 1000)
    return common.Event(
        id=common.EventId(1, number // BATCH + 1, number % BATCH + 1),
        type=TYPES[number * 37 % 100],
        timestamp=common.Timestamp(1_700_000_000 + second, rest * 1000),
        source_timestamp=None,
        payload=common.EventPayloadJson(
            {"kind": 1331, "when": 1700000000.25, "index": number, "context": None}
        ),
    )


async def rate(backend, params, seconds):
    """Queries a second."""
    begin, count = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        await backend.query(params)
        count += 1
    return count / (time.perf_counter() - begin)


async def main(folder, count, seconds):
    conf = {
        "db_path": str(Path(folder) / "reference.db"),
        "identifier": None,
        "flush_period": 1,
        "cleanup_period": 3600,
        "conditions": [],
        "latest": {"subscriptions": [["*"]]},
        "timeseries": [{"order_by": "TIMESTAMP", "subscriptions": [["*"]]}],
    }
    backend = await lmdb.info.create(conf, None, None)
    took = 0.0
    for begin in range(0, count, 10_000):
        events = [event(number) for number in range(begin, min(count, begin + 10_000))]
        start = time.perf_counter()
        for at in range(0, len(events), BATCH):
            await backend.register(events[at : at + BATCH])
        took += time.perf_counter() - start
    start = time.perf_counter()
    await backend.flush()
    took += time.perf_counter() - start
    print(count / took, flush=True)
    series = common.QueryTimeseriesParams
    for params in [
        common.QueryLatestParams(event_types=[TYPES[7]]),
        common.QueryLatestParams(event_types=[("rig-1", "event", "*")]),
        series(max_results=100),
        series(event_types=[TYPES[7]], max_results=100),
        common.QueryServerParams(server_id=1, max_results=100),
    ]:
        print(await rate(backend, params, seconds), flush=True)
    await backend.async_close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
