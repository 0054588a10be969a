"""axe-core on a page: contrast, names and labels, as WCAG 2 wants them at levels A and AA."""

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


def violations(page, within=None, but=()) -> list[str]:
    """What axe-core objects to: rule, element and why.

    Args:
        page: of the browser.
        within: a CSS selector, for a part of the page.
        but: (rule, beginning of an element) of what is known and not ours.
    """
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=within, options=RULES).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
        if not any(rule["id"] == name and node["html"].startswith(start) for name, start in but)
    ]
