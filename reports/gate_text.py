"""A gate's verdict for those who read it: a terminal, a pull request, JUnit readers, GitHub's annotations."""

from math import isnan
from xml.etree import ElementTree

from evalkit.reports.gate import Gate, Undecided, Verdict

from . import escape
from .cells import MISSING

UNDECIDED = "Gate undecided: it does not pass."
MARKS = {"passed": "✅ pass", "failed": "❌ fail", "not gated": "not gated"}


def text(verdict: Verdict) -> str:
    """A line for each gate, the worst utterances of those that failed, and the sum."""
    lines = [*verdict.notes]
    for gate in verdict.gates:
        lines.append(f"{gate.outcome.upper() if gate.outcome == 'failed' else gate.outcome:>9}  {gate.message}")
        if gate.outcome == "failed":
            lines += [f"{'':>11}{line}" for line in worst(gate)]
    return "\n".join(map(escape.terminal, [*lines, headline(verdict)]))


def headline(verdict: Verdict) -> str:
    """The sum, in one sentence."""
    gated = [gate for gate in verdict.gates if gate.outcome != "not gated"]
    return f"Gate {'passed' if verdict.passed else 'failed'}: {len(verdict.failed)} of {len(gated)} failed."


def worst(gate: Gate) -> list[str]:
    """The utterances that lost most, before and now."""
    return [f"{name}: {before:.{gate.decimals}f} -> {now:.{gate.decimals}f}" for name, before, now in gate.worst]


def markdown(verdict: Verdict | Undecided) -> str:
    """For a pull request or GITHUB_STEP_SUMMARY."""
    if isinstance(verdict, Undecided):
        return f"### {UNDECIDED}\n\n{escape.markdown(verdict.reason)}\n"
    lines = [
        f"### {headline(verdict)}",
        "",
        "| | Codec | Metric | baseline | now | worse by | at least | margin | p | n |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for gate in verdict.gates:
        numbers = (gate.before, gate.now, gate.worse, gate.at_least, gate.margin)
        shown = [MISSING if isnan(number) else f"{number:.{gate.decimals}f}" for number in numbers]
        p = MISSING if isnan(gate.p) else f"{gate.p:.2g}"
        cells = [MARKS[gate.outcome], gate.codec, gate.label, *shown, p, str(gate.n or MISSING)]
        lines.append("| " + " | ".join(map(escape.markdown, cells)) + " |")
    for gate in verdict.failed:
        if gate.worst:
            lines += ["", escape.markdown(f"Worst utterances, {gate.codec}, {gate.label}:")]
            lines += [f"- {escape.markdown(line)}" for line in worst(gate)]
    lines += [
        "",
        *map(escape.markdown, verdict.notes),
        "A gate fails if it is significantly worse by more than the margin; p is corrected over all gates.",
    ]
    return "\n".join(lines) + "\n"


def junit(verdict: Verdict | Undecided) -> str:
    """JUnit XML: a test case for each gate; one that is not gated is skipped. Undecided is one case with an error."""
    if isinstance(verdict, Undecided):
        suite = ElementTree.Element("testsuite", name="evalkit gate", tests="1", failures="0", errors="1", skipped="0")
        case = ElementTree.SubElement(suite, "testcase", classname="evalkit.gate", name="gate")
        ElementTree.SubElement(case, "error", message=escape.xml(verdict.reason))
        return _document(suite)
    gates = verdict.gates
    skipped = sum(gate.outcome == "not gated" for gate in gates)
    suite = ElementTree.Element(
        "testsuite", name="evalkit gate", tests=str(len(gates)), failures=str(len(verdict.failed)),
        errors="0", skipped=str(skipped),
    )  # fmt: skip
    for gate in gates:
        codec, metric, message = map(escape.xml, (gate.codec, gate.metric, gate.message))
        case = ElementTree.SubElement(suite, "testcase", classname=f"evalkit.gate.{codec}", name=metric)
        if gate.outcome == "failed":
            ElementTree.SubElement(case, "failure", message=message).text = "\n".join(map(escape.xml, worst(gate)))
        elif gate.outcome == "not gated":
            ElementTree.SubElement(case, "skipped", message=message)
        else:
            ElementTree.SubElement(case, "system-out").text = message
    return _document(suite)


def _document(suite: ElementTree.Element) -> str:
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def annotations(verdict: Verdict | Undecided) -> str:
    """GitHub workflow commands: an error for each gate that failed or for the reason of none, a notice where all
    passed."""
    if isinstance(verdict, Undecided):
        return f"::error title=evalkit gate::{escape.annotation(verdict.reason)}\n"
    if verdict.passed:
        return f"::notice title=evalkit gate::{escape.annotation(headline(verdict))}\n"
    lines = []
    for gate in verdict.failed:
        title = escape.annotation_title(f"{gate.codec} {gate.label}")
        message = "%0A".join(map(escape.annotation, [gate.message, *worst(gate)]))
        lines.append(f"::error title={title}::{message}\n")
    return "".join(lines)
