"""A service of auto-trainer-api, driven by lines on standard input; each is answered by one line on standard output."""

import sys
import time
from datetime import datetime, timezone

from autotrainer.api import (
    ApiCommandRequestResponse,
    ApiCommandRequestResult,
    ApiEvent,
    ApiEventKind,
    ApiOptions,
    create_api_service,
)
from autotrainer.api.api_options import RpcOptions

subscriber_port, command_port = int(sys.argv[1]), int(sys.argv[2])
service = create_api_service(
    ApiOptions(
        rpc=RpcOptions(
            heartbeat_interval=1, subscriber_port=subscriber_port, command_port=command_port
        )
    )
)


def delegate(request):
    if request.data is not None:
        time.sleep(float(request.data))
    return ApiCommandRequestResponse(result=ApiCommandRequestResult.SUCCESS)


def event(index):
    context = {
        "session_id": "S20250102_001",
        "trial_id": 42,
        "batch_id": None,
        "location": "/data/20250102/session_001/tri",
    }
    return ApiEvent(ApiEventKind.trialStarted, datetime.now(timezone.utc), index, context)


def call(count):
    """Median and 99th percentile of the call, in microseconds."""
    times = []
    for index in range(count):
        message = event(index)
        begin = time.perf_counter_ns()
        service.send_event(message)
        times.append(time.perf_counter_ns() - begin)
    times.sort()
    return f"{times[count // 2] / 1000} {times[count * 99 // 100] / 1000}"


def burst(count):
    for index in range(count):
        service.send_event(event(index))
    return "done"


def paced(count):
    """A thousand a second; the index is the moment of the call."""
    due = time.monotonic()
    for _ in range(count):
        due += 0.001
        time.sleep(max(0.0, due - time.monotonic()))
        service.send_event(event(time.monotonic_ns()))
    return "done"


service.command_request_delegate = delegate
service.start()
print("ready", flush=True)
# Ends when the bench closes the pipe, or dies.
for line in sys.stdin:
    verb, count = line.split()
    print({"call": call, "burst": burst, "paced": paced}[verb](int(count)), flush=True)
service.stop()
