"""Requests made by chance, from good to rubbish."""

import json


def chance_request(dice):
    """A request that may be anything from good to rubbish."""
    names = ["command", "customCommand", "nonce", "data", "custom_command", "Nonce", "clientID", "x y", "é", "_a"]
    texts = ["", "abc", "John Smith", "A_B", "a-b c", "é\u2028", "NaN", "5d5a4a1e-4df2", "x" * 40, "\u0001", '"', "\\"]

    def value(depth):
        kind = dice.randrange(9 if depth < 3 else 7)
        if kind == 0:
            return dice.choice([None, True, False])
        if kind in (1, 2):
            return dice.choice([0, 1, -1, 300, 400, 99999, 77777, 2**63, -(2**63), 10**40, dice.randrange(-(10**6), 10**6)])
        if kind in (3, 4):
            return dice.choice([0.0, -0.0, 400.0, 1e-7, 1e16, 0.1, 1e22, 123456789.123, dice.uniform(-1e9, 1e9), 1.5e300])
        if kind in (5, 6):
            return dice.choice(texts)
        if kind == 7:
            return [value(depth + 1) for _ in range(dice.randrange(4))]
        return {dice.choice(names): value(depth + 1) for _ in range(dice.randrange(4))}

    request = {name: value(0) for name in dice.sample(names, dice.randrange(1, 6))}
    if dice.random() < 0.9:
        request["command"] = dice.choice([400, 400, 300, 99999, 0, 400.0, 77777, value(1)])
    text = json.dumps(request, ensure_ascii=dice.random() < 0.5, separators=dice.choice([(",", ":"), (", ", ": ")]))
    found = bytearray(text.encode())
    if dice.random() < 0.4:
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(found) + 1)
            piece = dice.choice([b"", b"\x00", b"\xff", b" ", b"\t", b"E", b"-", b"_", b"[", b"}", b'"', b"\\ud800", b"1", b"\\"])
            found[at : at + dice.randrange(3)] = piece
    return bytes(found)
