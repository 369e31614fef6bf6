import { PALETTE_STYLE } from "./palette.js";

/** The page's only stylesheet. */
export const STYLE = `
:root { color-scheme: light dark; --page: #f7f7f5; --card: #fff; --ink: #1b1f24; --soft: #5b6470; --line: #e3e4e6; --track: #eceef0;
  --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1c2024; --ink: #e8eaed; --soft: #9aa4b0; --line: #30363d; --track: #2a3036;
  --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1136px; margin: 0 auto; padding: 40px 24px 56px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 36px 0 12px; }
h3 { font-size: 14px; margin: 0; font-weight: 600; }
p { margin: 0; }
.sub, .note, figcaption p, footer { color: var(--soft); }
.note { margin-top: 12px; max-width: 78ch; }
.card, figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.card { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 11px 16px; text-align: right; white-space: nowrap; }
th { font-size: 12px; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--line); vertical-align: bottom; line-height: 1.35; white-space: normal; text-wrap: balance; }
th:first-child, td:first-child { text-align: left; }
td.many { white-space: normal; min-width: 16em; }
td.many span { white-space: nowrap; }
@media (max-width: 800px) { main { padding: 24px 16px 40px; } th, td { padding: 10px; } }
tbody tr + tr td { border-top: 1px solid var(--line); }
td.run { font-weight: 600; white-space: normal; overflow-wrap: anywhere; min-width: 15em; max-width: 30em; }
td.run small { display: block; font-weight: 400; color: var(--soft); }
.named { display: flex; align-items: baseline; } .named .swatch { flex: none; }
th.path, td.path { text-align: left; } td.path { white-space: normal; overflow-wrap: anywhere; font-size: 13px; }
.list th, .list td { font-size: 14px; padding: 8px 16px; border-bottom: 0; vertical-align: baseline; line-height: 1.5; }
.list th { width: 30%; text-align: left; white-space: normal; overflow-wrap: anywhere; } .list td { text-align: left; }
.list tr + tr th { border-top: 1px solid var(--line); }
td.settings { white-space: normal; overflow-wrap: anywhere; }
td .bar { display: block; height: 4px; margin-top: 5px; border-radius: 2px; background: var(--track); }
td .bar i { display: block; height: 4px; border-radius: 2px; }
.swatch { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 8px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 12px; font-size: 13px; }
.legend span { overflow-wrap: anywhere; }
.legend b { color: var(--bad); font-weight: 600; } .legend i { font-style: normal; color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 16px; }
figure { margin: 0; padding: 16px 16px 8px; min-width: 0; display: flex; flex-direction: column; }
figcaption { margin-bottom: 8px; }
figcaption p { font-size: 13px; }
.plot { position: relative; margin-top: auto; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg.swatch { width: 18px; vertical-align: baseline; flex: none; }
svg text { font-size: 11px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.grid line { stroke: var(--line); }
.grid .axis, .grid .tick { stroke: var(--soft); stroke-opacity: 0.6; }
svg path { fill: none; stroke: currentColor; stroke-linejoin: round; }
svg path.raw { stroke-width: 1; stroke-opacity: 0.18; }
svg path.at.all { color: var(--soft); } svg path.at { fill: currentColor; stroke: var(--card); stroke-width: 1.5; }
svg path.mark { stroke: var(--bad); stroke-width: 2; }
svg circle { fill: currentColor; stroke: var(--card); stroke-width: 1.5; }
.pointer line { stroke: var(--soft); stroke-dasharray: 3 3; }
.tip { position: absolute; top: 6px; pointer-events: none; background: var(--card); color: var(--ink); border: 1px solid var(--line); border-radius: 8px;
  box-shadow: 0 4px 16px rgb(0 0 0 / 0.16); padding: 7px 11px; font-size: 12px; line-height: 1.55; max-width: 75%; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; z-index: 1; }
.tip div { display: flex; align-items: baseline; } .tip .swatch { flex: none; } .tip b { margin-left: auto; padding-left: 12px; white-space: nowrap; }
.tip .x { color: var(--soft); }
.tip .skip { color: var(--bad); white-space: normal; max-width: 230px; }
details { margin-top: 12px; }
summary { cursor: pointer; color: var(--soft); }
details .card { margin-top: 12px; }
footer { margin-top: 40px; font-size: 13px; }
${PALETTE_STYLE}
@media (max-width: 640px) {
  table.stacks, .stacks tbody, .stacks tr, .stacks td { display: block; }
  .stacks thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .stacks tr { padding: 10px 14px; }
  .stacks tbody tr + tr { border-top: 1px solid var(--line); }
  .stacks tbody tr + tr td { border-top: 0; }
  .stacks td, .stacks td:first-child { padding: 3px 0; max-width: none; min-width: 0; }
  .stacks td:not(.run) { display: grid; grid-template-columns: minmax(8em, 45%) 1fr; gap: 0 12px; text-align: right; white-space: normal; overflow-wrap: anywhere; }
  .stacks td::before { content: attr(data-label); color: var(--soft); font-size: 13px; text-align: left; }
  .stacks td.run::before { content: none; }
  .stacks td .bar { grid-column: 1 / -1; }
  .list, .list tbody, .list tr, .list th, .list td { display: block; width: auto; }
  .list tr + tr th, .list tr + tr td { border-top: 0; } .list tr + tr { border-top: 1px solid var(--line); }
  .list th { padding: 8px 14px 0; } .list td { padding: 0 14px 8px; }
  .stacks td.path { display: block; text-align: left; } .stacks td.path::before { display: block; }
  figure { padding: 14px 10px 6px; }
  svg text { font-size: 17px; }
  .tip { left: 0 !important; right: 0 !important; top: 100%; max-width: none; }
}
@media print { main { padding: 0; } figure, .card { break-inside: avoid; } }
`.trim();
