"""Runs a scenario with each proxy or server that the command line names, and prints a table.

Each scenario has its own load, tally and verdict; this file has what they share.
"""

import argparse
import json
import os
import sys
import tempfile

SECONDS_MAX = 7200


def run_each(parser, names, known, options, run_one):
    """The result of each name. Its logs are in a folder of its own, which `options.keep` keeps."""
    options.seconds = min(options.seconds, SECONDS_MAX)
    results = {}
    for name in names:
        if name not in known:
            parser.error(f"{name} is not one of {', '.join(known)}")
        with tempfile.TemporaryDirectory(prefix=f"martlet-{parser.prog}.") as folder:
            if options.keep:
                folder = os.path.join(os.path.abspath(options.keep), name)
                os.makedirs(folder)
            print(f"{name}: {options.seconds} s", file=sys.stderr, flush=True)
            results[name] = run_one(name, options, folder)
    return results


def head_of(names, rows, results):
    """The lines of a table with a column for each result: its names, and a row of each tally."""
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for key, title in rows:
        lines.append(row_of(title, [f"{result['tally'][key]:,}" for result in results.values()]))
    return lines


def row_of(title, cells):
    return f"| {title} | " + " | ".join(cells) + " |"


def print_complaints(results):
    for name, result in results.items():
        for line in result["complaints"][:20]:
            print(f"{name}: {line}")


def lost(result, must_be_zero):
    """What the tally and the count of descriptors say against a proxy."""
    against = [f"{result['tally'][key]} {key}" for key in must_be_zero if result["tally"][key]]
    if result["descriptors"][1] > result["descriptors"][0]:
        against.append("descriptors: {} before, {} after".format(*result["descriptors"]))
    return against


def compare(prog, doc, proxies, clients, run_one, table, verdict, praise):
    """The command line of a scenario for proxies. Returns the exit status: 1 if Martlet failed.

    `praise` is printed for a proxy that `verdict` has nothing against.
    """
    parser = argparse.ArgumentParser(prog=prog, description=doc.split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=300, help="of load per peer (300)")
    parser.add_argument("--peers", default="martlet", help="from martlet,nginx,haproxy (martlet)")
    parser.add_argument(
        "--clients", type=int, default=clients, help=f"concurrent clients ({clients})"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the order of faults (1)")
    parser.add_argument("--binary", required=True, help="the martlet binary")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--keep", help="keep the logs in this folder")
    options = parser.parse_args()
    results = run_each(parser, options.peers.split(","), proxies, options, run_one)
    names = list(results)
    faults = ", ".join(f"{count} {kind}" for kind, count in results[names[0]]["counts"].items())
    print("\n".join(table(results)) + f"\n\nFaults in the run of {names[0]}: {faults}.\n")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=1)
    print_complaints(results)
    for name, result in results.items():
        print(f"{name}: " + ("; ".join(verdict(result)) or praise))
    martlet = results.get("martlet")
    return 1 if martlet and (martlet["complaints"] or verdict(martlet)) else 0
