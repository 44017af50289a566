"""The real Python service of the environment that runs this file, driven by JSON lines on standard input.

`peer.rs` speaks the same lines for acqbus, so that a check can do the same to both:

    {"op": "answer", "with": {...}}     what the delegate answers from now on; see `Delegate`
    {"op": "publish", "api": "send_event_dict", "topic": 4001, "message": {...}}
    {"op": "saw"}                       the commands that the delegate was called with since the last "saw"
    {"op": "stop"}

Each line is answered by one line. Values are tagged as in tests/vectors/rpc/README.md. The end of the input stops the service.
"""

import argparse
import base64
import dataclasses
import datetime
import json
import sys
import threading
import time
import uuid

from autotrainer.api import api_options, create_api_service
from autotrainer.api.command import api_command
from autotrainer.api.rpc_service import ApiTopic

import autotrainer.api as package

OLD = not hasattr(package, "ApiEvent")
ApiCommand = api_command.ApiCommand
Response = package.ApiCommandRequestResponse
# The old package spells the name of this one wrong.
Result = package.ApiCommandReqeustResult if OLD else package.ApiCommandRequestResult


def untag(value):
    if isinstance(value, list):
        return [untag(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (tag, content), = value.items()
        if tag == "$float":
            return float(content)
        if tag == "$int":
            return int(content)
        if tag == "$uuid":
            return uuid.UUID(content)
        if tag == "$datetime":
            return datetime.datetime.fromtimestamp(content, datetime.timezone.utc)
        if tag == "$date":
            return datetime.date.fromisoformat(content)
        if tag == "$tuple":
            return tuple(untag(item) for item in content)
        if tag == "$set":
            return set(untag(item) for item in content)
        if tag == "$bytes":
            return bytes.fromhex(content)
        if tag == "$dict":
            return {untag(key): untag(item) for key, item in content}
        if tag == "$str":
            return base64.b64decode(content).decode("utf-16-le", "surrogatepass")
    return {key: untag(item) for key, item in value.items()}


def member(enum, number):
    """The member with this value, or the number itself: nothing stops an application from answering one."""
    try:
        return enum(number)
    except (ValueError, TypeError):
        return number


class Delegate:
    """Answers by {"result": ...}, {"raise": text}, {"return": value}, {"echo": true} or {"rig": true}."""

    def __init__(self, service):
        self.service = service
        self.answer = {"result": 100}
        self.saw = []

    def __call__(self, request):
        self.saw.append(int(request.command))
        answer = self.answer
        if "raise" in answer:
            raise RuntimeError(answer["raise"])
        if "return" in answer:
            return untag(answer["return"])
        if "echo" in answer:
            seen = {"command": int(request.command), "custom": request.custom_command, "nonce": request.nonce}
            return Response(result=Result.SUCCESS, data={**seen, "data": request.data})
        if "rig" in answer:
            return self.rig(request)
        fields = {key: untag(value) for key, value in answer.items()}
        fields["result"] = member(Result, fields["result"])
        return Response(**fields)

    def rig(self, request):
        def answer(result, **more):
            return Response(result=result, command=request.command, nonce=request.nonce, **more)

        if request.command == ApiCommand.EMERGENCY_STOP:
            self.publish_event(101, {"reason": "asked"})
            return answer(Result.SUCCESS)
        if request.command == ApiCommand.GET_STATUS:
            return answer(Result.SUCCESS, data={"app_status": 100, "animal_id": "M-1", "balance": -3})
        if request.command != ApiCommand.USER_DEFINED:
            return answer(Result.UNAVAILABLE)
        seconds = (request.data or {}).get("seconds") if isinstance(request.data, dict) else None
        custom = request.custom_command
        if custom in (1, 10):
            if custom == 1:
                later = answer(Result.SUCCESS, data=request.data)
            else:
                later = answer(Result.FAILED, error_code=17, error_message="late")
            timer = threading.Timer(0.3 if seconds is None else seconds, self.send_result, [later])
            timer.daemon = True
            timer.start()
            return answer(Result.PENDING_WITH_NOTIFICATION)
        if custom == 2:
            raise RuntimeError("delegate raised on purpose")
        if custom == 3:
            time.sleep(1 if seconds is None else seconds)
            return answer(Result.SUCCESS)
        if custom == 4:
            return answer(Result.FAILED, error_code=42, error_message="it is broken")
        if custom == 7:
            return answer(Result.SUCCESS, data=request.data)
        if custom == 9:
            return answer(Result.PENDING)
        return answer(Result.UNRECOGNIZED)

    def publish_event(self, kind, context):
        event = {"kind": kind, "when": time.time(), "index": time.perf_counter_ns(), "context": context}
        if OLD:
            self.service.send_dict(ApiTopic.EVENT, event)
        else:
            self.service.send_event_dict(event)

    def send_result(self, response):
        if OLD:
            # The old service publishes dictionaries only.
            self.service.send_dict(ApiTopic.COMMAND_RESULT, dataclasses.asdict(response))
        else:
            self.service.send_command_result(response)


def publish(service, order):
    api, message = order["api"], untag(order["message"])
    topic = member(ApiTopic, order.get("topic"))
    if api == "send":
        return service.send(topic, bytes.fromhex(message))
    if api == "send_string":
        return service.send_string(topic, message)
    if api == "send_dict":
        return service.send_dict(topic, message)
    if api == "send_event_dict":
        if OLD:
            return service.send_dict(ApiTopic.EVENT, message)
        return service.send_event_dict(message)
    if api == "send_event":
        kind = member(package.ApiEventKind, message["kind"])
        return service.send_event(package.ApiEvent(**{**message, "kind": kind}))
    if api == "send_command_result":
        message["command"] = member(ApiCommand, message["command"])
        message["result"] = member(Result, message["result"])
        return service.send_command_result(Response(**message))
    raise ValueError(f"no such call: {api}")


def say(**line):
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--subscriber-port", type=int, required=True)
    parser.add_argument("--command-port", type=int, required=True)
    parser.add_argument("--heartbeat", type=float, default=5)
    parser.add_argument("--identifier", default="autotrainer-device")
    args = parser.parse_args()
    rpc = api_options.RpcOptions(
        enable=True,
        identifier=args.identifier,
        heartbeat_interval=args.heartbeat,
        subscriber_port=args.subscriber_port,
        command_port=args.command_port,
    )
    service = create_api_service(api_options.ApiOptions(rpc=rpc, telemetry=None))
    delegate = Delegate(service)
    service.command_request_delegate = delegate
    service.start()
    say(ready=True)
    for line in sys.stdin:
        order = json.loads(line)
        if order["op"] == "stop":
            break
        if order["op"] == "answer":
            if "none_registered" in order["with"]:
                service.command_request_delegate = None
            else:
                delegate.answer = order["with"]
                service.command_request_delegate = delegate
            say(done=True)
        elif order["op"] == "publish":
            try:
                say(done=True, accepted=publish(service, order))
            except Exception as error:
                say(done=False, error=str(error))
        elif order["op"] == "burst":
            for _ in range(order["count"]):
                delegate.publish_event(1001, None)
            delegate.publish_event(101, {"reason": "asked"})
            say(done=True)
        elif order["op"] == "saw":
            saw, delegate.saw = delegate.saw, []
            say(saw=saw)
    service.stop()
    say(stopped=True)


if __name__ == "__main__":
    main()
