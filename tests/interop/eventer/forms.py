"""Events, queries and their answers of hat-event in the forms that tests/vectors/hat uses."""

from hat.event import common


def event_form(event):
    return {
        "id": list(event.id),
        "type": list(event.type),
        "timestamp": list(event.timestamp),
        "source_timestamp": event.source_timestamp and list(event.source_timestamp),
        "payload": payload_form(event.payload),
    }


def payload_form(payload):
    if payload is None:
        return None
    if isinstance(payload, common.EventPayloadJson):
        return {"json": payload.data}
    return {"binary": {"type": payload.type, "data": bytes(payload.data).hex()}}


def register_event(form):
    return common.RegisterEvent(tuple(form["type"]), timestamp(form["source_timestamp"]), payload(form["payload"]))


def payload(form):
    if form is None:
        return None
    if "json" in form:
        return common.EventPayloadJson(form["json"])
    return common.EventPayloadBinary(form["binary"]["type"], bytes.fromhex(form["binary"]["data"]))


def query_params(form):
    types = form.get("event_types")
    types = None if types is None else [tuple(one) for one in types]
    last = form.get("last_event_id")
    last = last and common.EventId(*last)
    if form["kind"] == "latest":
        return common.QueryLatestParams(types)
    if form["kind"] == "server":
        return common.QueryServerParams(form["server_id"], form.get("persisted", False), form.get("max_results"), last)
    return common.QueryTimeseriesParams(
        types,
        *(timestamp(form.get(bound)) for bound in ("t_from", "t_to", "source_t_from", "source_t_to")),
        common.Order[form.get("order", "DESCENDING")],
        common.OrderBy[form.get("order_by", "TIMESTAMP")],
        form.get("max_results"),
        last,
    )


def timestamp(form):
    return form and common.Timestamp(*form)
