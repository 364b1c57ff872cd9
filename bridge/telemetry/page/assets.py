"""How the page looks, how it stays fresh, and the policy that allows these two and nothing else."""

from __future__ import annotations

import base64
import hashlib

__all__ = ["CONTENT_SECURITY_POLICY", "REFRESH_SECONDS", "SCRIPT", "STYLE"]

REFRESH_SECONDS = 2

STYLE = """
:root { color-scheme: light dark; --text: #1b2330; --soft: #5b6474; --page: #f5f6f8; --card: #fff; --line: #e3e6eb;
  --good: #0f7a43; --warn: #9a5b00; --bad: #c21f28; --bad-card: #fdf1f1; --warn-card: #fdf7ec; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ef; --soft: #a0a9b8; --page: #0f1319; --card: #171c24;
  --line: #2a313c; --good: #3ecf83; --warn: #f0ab3c; --bad: #ff7b7b; --bad-card: #2a181b; --warn-card: #272013; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 90rem; padding: 1.5rem clamp(.75rem, 3vw, 2.5rem); background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1rem; font-weight: 600; color: var(--soft); }
h2 { margin: .1rem 0 .25rem; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em; }
h3 { margin: 0 0 .35rem; color: var(--soft); font-size: .75rem; font-weight: 600; letter-spacing: .05em;
  text-transform: uppercase; }
p { margin: .25rem 0 1rem; color: var(--soft); }
a { color: inherit; }
ul { display: flex; flex-wrap: wrap; gap: .4rem; margin: 0 0 1.25rem; padding: 0; list-style: none; }
li { padding: .15rem .75rem; border: 1px solid var(--line); border-radius: 1rem; background: var(--card); }
table { width: 100%; border-collapse: separate; border-spacing: 0; border: 1px solid var(--line);
  border-radius: .75rem; background: var(--card); font-variant-numeric: tabular-nums; overflow: hidden; }
th, td { padding: .5rem .6rem; text-align: left; vertical-align: top; }
tbody + tbody td, thead + tbody td { border-top: 1px solid var(--line); }
tbody tr + tr td { border-top: 0; padding-top: 0; }
th { color: var(--soft); font-size: .75rem; font-weight: 600; letter-spacing: .05em; text-transform: uppercase;
  white-space: nowrap; }
td p { margin: 0; font-size: .85em; } td small { display: block; color: var(--soft); } td b { font-weight: 600; }
.time, .number { white-space: nowrap; } .number { text-align: right; } .state { white-space: nowrap; }
.name { min-width: 11rem; max-width: 18rem; } .id { min-width: 6rem; max-width: 13rem; } td[colspan] { max-width: 0; }
.groups { min-width: 10rem; max-width: 18rem; } li small { color: var(--soft); }
tbody.bad td { background: var(--bad-card); } tbody.warn td { background: var(--warn-card); }
.past { color: var(--soft); }
code { font: .85em ui-monospace, monospace; }
span.good, span.warn, span.bad, span.calm { font-weight: 600; }
span.good, h2.good { color: var(--good); } span.warn, h2.warn { color: var(--warn); }
span.bad, h2.bad { color: var(--bad); } span.calm { color: var(--soft); }
span.good::before, span.warn::before, span.bad::before, span.calm::before { content: ""; display: inline-block;
  width: .55em; height: .55em; margin-right: .45em; border-radius: 50%; background: currentColor; }
#old { display: none; padding: .5rem .75rem; border-radius: .5rem; background: var(--bad); color: var(--card); }
body.old #old { display: block; } body.old main { opacity: .55; }
@media (max-width: 52rem) {
  body { padding-top: 1rem; font-size: 14px; } h2 { font-size: 1.25rem; }
  thead { display: none; } table, tbody { display: block; }
  tr { display: grid; grid-template-columns: 1fr 1fr; gap: 0 .75rem; padding: .5rem .75rem; }
  tr + tr { padding-top: 0; } tbody + tbody, thead + tbody:not(:first-of-type) { border-top: 1px solid var(--line); }
  tbody.bad { background: var(--bad-card); } tbody.warn { background: var(--warn-card); }
  td, tbody + tbody td, thead + tbody td { padding: .1rem 0; border: 0; } .number { text-align: left; }
  td.name, td.id, td.groups, td[colspan] { grid-column: 1 / -1; min-width: 0; max-width: none; }
  td:empty { display: none; }
  td[data-label]::before { content: attr(data-label) " "; color: var(--soft); } td.state small, td.number small {
    display: inline; } td.state small::before, td.number small::before { content: " · "; }
}
"""

# Loading the page as a whole would lose the place that one has scrolled to, and what one is about to copy. Where the
# worker no longer answers the last page stays, and says so: it must not pass for the present.
SCRIPT = """
"use strict";
const refresh = async () => {
  try {
    if (!document.hidden && getSelection().isCollapsed) {
      const answer = await fetch(location.href, { signal: AbortSignal.timeout(10000) });
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const focused = document.activeElement && document.activeElement.id;
      document.title = fresh.title;
      document.body.replaceWith(document.adoptNode(fresh.body));
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    }
  } catch {
    document.body.classList.add("old");
  }
  setTimeout(refresh, REFRESH * 1000);
};
setTimeout(refresh, REFRESH * 1000);
""".replace("REFRESH", str(REFRESH_SECONDS))


def _hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src {_hash_of(STYLE)}; script-src {_hash_of(SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
