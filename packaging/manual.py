#!/usr/bin/env python3
"""Creates the manual page (troff) from the help texts of the command.

Reads the output of `martlet --experimental-dump-help` from standard input.
"""
import json
import re
import sys


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def prose(text):
    """Converts paragraphs; indented lines are printed unchanged."""
    lines, shown = [], False
    for line in text.strip("\n").split("\n"):
        is_example = line.startswith("  ")
        if is_example != shown:
            lines.append(".nf" if is_example else ".fi")
            shown = is_example
        if not line.strip():
            lines.append(".PP")
        elif line.isupper():
            lines.append(f".B {escape(line)}\n.br")
        else:
            lines.append(escape(line))
    if shown:
        lines.append(".fi")
    return "\n".join(lines)


def name(option):
    names = []
    for each in option.get("names", []):
        dashes = "-" if each["kind"] == "short" else "--"
        names.append(dashes + each["name"])
    value = option.get("valueName", "")
    if option["kind"] == "positional":
        return f"<{value}>"
    return ", ".join(names) + (f" <{value}>" if option["kind"] == "option" else "")


def options(command):
    text = []
    for each in command.get("arguments", []):
        if not each.get("shouldDisplay", True):
            continue
        text.append(f".TP\n.B {escape(name(each))}\n{escape(each.get('abstract', ''))}")
        if each.get("defaultValue"):
            text.append(f"Default: {escape(each['defaultValue'])}.")
    return "\n".join(text)


def main():
    root = json.load(sys.stdin)["command"]
    print('.TH MARTLET 1 "" "martlet" "User commands"')
    print(f".SH NAME\nmartlet \\- {escape(root['abstract'])}")
    print(".SH SYNOPSIS\n.B martlet\n.I command\n.RI [ options ]")
    print(".SH DESCRIPTION\n" + prose(root.get("discussion", "")))
    print(".SH COMMANDS")
    for command in root.get("subcommands", []):
        if command["commandName"] == "help" or not command.get("shouldDisplay", True):
            continue
        print(f".SS martlet {escape(command['commandName'])}")
        print(escape(command.get("abstract", "")))
        if command.get("discussion"):
            print(".PP\n" + prose(command["discussion"]))
        print(options(command))
    print(".SH FILES\n.TP\n.I /etc/martlet/config.json\nThe configuration of the service.")
    print(".TP\n.I /run/martlet/admin.sock\nThe admin socket of the service.")


main()
