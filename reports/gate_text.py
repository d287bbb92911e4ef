"""A gate's verdict for those who read it: a terminal, a pull request, JUnit readers, GitHub's annotations."""

from math import isnan
from xml.etree import ElementTree

from evalkit.reports.gate import Gate, Verdict

from .table import MISSING

MARKS = {"passed": "✅ pass", "failed": "❌ fail", "not gated": "not gated"}


def text(verdict: Verdict) -> str:
    """A line for each gate, the worst utterances of those that failed, and the sum."""
    lines = [*verdict.notes]
    for gate in verdict.gates:
        lines.append(f"{gate.outcome.upper() if gate.outcome == 'failed' else gate.outcome:>9}  {gate.message}")
        if gate.outcome == "failed":
            lines += [f"{'':>11}{line}" for line in worst(gate)]
    return "\n".join([*lines, headline(verdict)])


def headline(verdict: Verdict) -> str:
    gated = [gate for gate in verdict.gates if gate.outcome != "not gated"]
    return f"Gate {'passed' if verdict.passed else 'failed'}: {len(verdict.failed)} of {len(gated)} failed."


def worst(gate: Gate) -> list[str]:
    """The utterances that lost most, before and now."""
    return [f"{name}: {before:.{gate.decimals}f} -> {now:.{gate.decimals}f}" for name, before, now in gate.worst]


def markdown(verdict: Verdict) -> str:
    """For a pull request or GITHUB_STEP_SUMMARY."""
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
        lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    for gate in verdict.failed:
        if gate.worst:
            lines += ["", f"Worst utterances, {gate.codec}, {gate.label}:", *(f"- {line}" for line in worst(gate))]
    lines += [
        "",
        *verdict.notes,
        "Worse by more than the margin, with confidence, fails; p is corrected over all gates here.",
    ]
    return "\n".join(lines) + "\n"


def junit(verdict: Verdict) -> str:
    """JUnit XML: a test case for each gate; one that is not gated is skipped."""
    gates = verdict.gates
    skipped = sum(gate.outcome == "not gated" for gate in gates)
    suite = ElementTree.Element(
        "testsuite", name="evalkit gate", tests=str(len(gates)), failures=str(len(verdict.failed)),
        errors="0", skipped=str(skipped),
    )  # fmt: skip
    for gate in gates:
        case = ElementTree.SubElement(suite, "testcase", classname=f"evalkit.gate.{gate.codec}", name=gate.metric)
        if gate.outcome == "failed":
            ElementTree.SubElement(case, "failure", message=gate.message).text = "\n".join(worst(gate))
        elif gate.outcome == "not gated":
            ElementTree.SubElement(case, "skipped", message=gate.message)
        else:
            ElementTree.SubElement(case, "system-out").text = gate.message
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def annotations(verdict: Verdict) -> str:
    """GitHub workflow commands: an error for each gate that failed, a notice where all passed."""

    def data(message: str) -> str:
        return message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    def title(words: str) -> str:
        return data(words).replace(":", "%3A").replace(",", "%2C")

    if verdict.passed:
        return f"::notice title=evalkit gate::{data(headline(verdict))}\n"
    lines = []
    for gate in verdict.failed:
        message = "\n".join([gate.message, *worst(gate)])
        lines.append(f"::error title={title(f'{gate.codec} {gate.label}')}::{data(message)}\n")
    return "".join(lines)
