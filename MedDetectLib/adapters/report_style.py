"""How `report.html` looks: on screen in light and dark, and on paper."""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --card: #f6f8fa; --line: #d8dee4;
  --ink: #1f2328; --dim: #59636e; --accent: #0969da; --warn: #7d4e00; --warn-page: #fff8c5;
  --warn-line: #d4a72c; }
@media (prefers-color-scheme: dark) { :root { --page: #0d1117; --card: #151b23;
  --line: #2b323b; --ink: #e6edf3; --dim: #9198a1; --accent: #58a6ff; --warn: #f0d58a;
  --warn-page: #272115; --warn-line: #9e6a03; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 32px 24px 48px; }
header { border-bottom: 1px solid var(--line); padding-bottom: 16px; margin-bottom: 24px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 36px 0 10px; }
.kind { color: var(--accent); font-size: 13px; font-weight: 600; letter-spacing: .04em;
  text-transform: uppercase; }
.lead, .dim, figcaption, footer { color: var(--dim); }
.lead { margin: 0; overflow-wrap: anywhere; }
.research { display: inline-block; margin: 12px 0 0; padding: 2px 10px; font-size: 13px;
  border: 1px solid var(--line); border-radius: 99px; color: var(--dim); }
.notes { list-style: none; margin: 0 0 8px; padding: 0; }
.notes li { margin: 8px 0; padding: 10px 14px; color: var(--warn); overflow-wrap: anywhere;
  background: var(--warn-page); border: 1px solid var(--warn-line); border-left-width: 5px;
  border-radius: 6px; }
.notes code { font-weight: 600; margin-right: 8px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 8px 11px; text-align: left; vertical-align: top; white-space: nowrap;
  border-top: 1px solid var(--line); }
thead th { border-top: 0; white-space: normal; vertical-align: bottom;
  background: var(--card); font-size: 13px; color: var(--dim);
  font-weight: 600; }
.facts tr:first-child > * { border-top: 0; }
.facts th { width: 15em; font-weight: 400; color: var(--dim); }
.facts td { white-space: normal; overflow-wrap: anywhere; }
.number { text-align: right; }
.swatch { display: inline-block; width: 12px; height: 12px; margin-right: 8px;
  border-radius: 3px; border: 1px solid rgb(128 128 128 / 60%); vertical-align: -1px;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.bar { display: inline-block; width: 70px; height: 7px; margin-right: 8px; overflow: hidden;
  border-radius: 4px; background: var(--line); vertical-align: 2px;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.bar span { display: block; height: 100%; background: var(--accent); }
.accepted { color: #1a7f37; } .rejected { color: #cf222e; } .edited { color: var(--accent); }
.added { color: #8250df; }
@media (prefers-color-scheme: dark) { .accepted { color: #56d364; }
  .rejected { color: #ff7b72; } .added { color: #d2a8ff; } }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: 8px;
  background: #0d1117; }
figcaption { margin-top: 8px; font-size: 13px; }
code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; }
footer { margin-top: 40px; padding-top: 14px; border-top: 1px solid var(--line);
  font-size: 13px; }
@page { margin: 14mm; }
@media print { body { font-size: 10pt; } main { max-width: none; padding: 0; }
  tr, figure, .notes li { break-inside: avoid; } h2 { break-after: avoid; }
  .scroll { overflow: visible; } th, td { padding: 3px 5px; }
  table { font-size: 8.5pt; } thead th { font-size: 8pt; } .bar { width: 30px; } }
""".strip()
