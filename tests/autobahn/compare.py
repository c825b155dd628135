#!/usr/bin/env python3
"""Compares two agents of a report of the Autobahn test suite: fails where glassbox does worse than tungstenite.

Cases that send binary frames are counted apart: the protocol has none, and the server closes with 1003 as RFC 6455 says.
"""

import json
import sys
from collections import Counter

UNSUPPORTED = 1003
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


def is_good(case):
    return case["behavior"] in GOOD and case["behaviorClose"] in GOOD


def main():
    with open(sys.argv[1], encoding="utf-8") as report:
        agents = json.load(report)
    ours, theirs = agents["glassbox"], agents["tungstenite"]
    for name, cases in agents.items():
        counts = Counter(f"{c['behavior']}/{c['behaviorClose']}" for c in cases.values())
        print(f"{name}: {len(cases)} cases, " + ", ".join(f"{n} {kind}" for kind, n in counts.most_common()))
    worse = {case for case in theirs if is_good(theirs[case]) and not is_good(ours[case])}
    binary = {case for case in worse if ours[case]["remoteCloseCode"] == UNSUPPORTED}
    print(f"refused as binary: {' '.join(sorted(binary, key=key)) or 'none'}")
    for case in sorted(worse - binary, key=key):
        print(f"worse: {case}: {ours[case]} instead of {theirs[case]}")
    if len(ours) != len(theirs) or not ours:
        sys.exit("the agents did not run the same cases")
    sys.exit(1 if worse - binary else 0)


def key(case):
    return [int(part) for part in case.split(".")]


main()
