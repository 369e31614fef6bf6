/**
 * What the precision page adds to the reports' stylesheet. Dtypes differ in lightness too, so that they are told apart
 * without colour.
 */
export const PRECISION_STYLE = `
:root { --f8: #8b3fc7; --f16: #c2570c; --b16: #0f8a74; --f32: #2563c9; --f64: #1b3a78; --none: #a8b0ba; --cast: #b8336a; --zone: #eceef0; --weak: #d5d8dd; --fits: #59616b; --fewer: #98a0aa; }
@media (prefers-color-scheme: dark) { :root { --f8: #c792ff; --f16: #ff9d57; --b16: #3fcfb4; --f32: #6ea8ff; --f64: #a9c2ff; --none: #66707c; --cast: #ff7fab; --zone: #262b31; --weak: #3a4149; --fits: #c3c9d0; --fewer: #87909b; } }
.d-float8_e4m3fn, .d-float8_e5m2 { --d: var(--f8); } .d-float16 { --d: var(--f16); } .d-bfloat16 { --d: var(--b16); } .d-float32 { --d: var(--f32); } .d-float64 { --d: var(--f64); } .d-other { --d: var(--none); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin-top: 24px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 18px 16px; }
.tile b { display: block; font-size: 26px; line-height: 1.25; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.tile.warn b { color: var(--bad); }
.key { display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 0 0 12px; font-size: 13px; color: var(--soft); }
.key i { display: inline-block; width: 14px; height: 11px; border-radius: 3px; margin-right: 7px; background: var(--d); vertical-align: -1px; }
.key i.seam, .flow .track span.seam { background: repeating-linear-gradient(115deg, var(--cast) 0 2px, transparent 2px 4px); }
.key i.zone { background: var(--zone); border: 1px solid var(--line); } .key i.weak { background: var(--weak); } .key i.out { background: var(--bad); }
.map td, .map th { padding: 7px 14px; vertical-align: middle; }
.map th { padding-bottom: 9px; }
.map th:not(:first-child), .map td:not(:first-child) { text-align: left; }
.map td.name { font-weight: 600; white-space: nowrap; }
.map td.name small { font-weight: 400; color: var(--soft); margin-left: 8px; }
.map tr.group td { padding: 7px 14px; color: var(--soft); }
.map tr.group td.name { font-weight: 500; }
.map tbody tr + tr td { border-top-color: color-mix(in srgb, var(--line) 55%, transparent); }
.flow { width: 300px; }
.flow .lane { display: grid; grid-template-columns: 26px 1fr; align-items: center; font-size: 11px; color: var(--soft); }
.flow .lane + .lane { margin-top: 3px; }
.flow .track { display: flex; height: 13px; border-radius: 3px; background: color-mix(in srgb, var(--track) 60%, transparent); overflow: hidden; }
.flow .track span { display: block; min-width: 2px; height: 13px; background: var(--d); }
.flow .track span + span { border-left: 1px solid var(--card); }
.flow .track span.seam { min-width: 4px; }
.flow .note { margin: 3px 0 0 26px; font-size: 11px; color: var(--soft); }
.numbers { width: 270px; }
.strip { width: 250px; height: 34px; }
.strip .zone { fill: var(--zone); } .strip .weak { fill: var(--weak); } .strip line { stroke: var(--line); }
svg.strip path { stroke: none; } .strip .in { fill: var(--fits); } .strip .sub { fill: var(--fewer); } .strip .out { fill: var(--bad); }
.axis { width: 250px; height: 29px; }
.axis .edge { fill: var(--bad); font-weight: 600; font-size: 12px; }
.numbers .bad, .numbers .meh { display: block; font-size: 11px; } .numbers .bad { color: var(--bad); font-weight: 600; } .numbers .meh, .none { color: var(--soft); }
.map tr.axes td, .map tfoot td { border-top: 1px solid var(--line); padding-top: 6px; padding-bottom: 4px; color: var(--soft); font-size: 12px; }
.ops td, .ops th { padding: 6px 14px; } .ops td:nth-child(-n+4), .ops th:nth-child(-n+4) { text-align: left; } .ops i { display: inline-block; width: 10px; height: 10px; border-radius: 3px; background: var(--d); margin-right: 7px; }
.ops tr.first td { border-top: 1px solid var(--soft); }
@media (max-width: 640px) {
  .map, .map tbody, .map tfoot, .map tr, .map td { display: block; width: auto; }
  .map thead { display: none; }
  .map tbody tr + tr { border-top: 1px solid var(--line); }
  .map tbody tr + tr td, .map tr.axes td, .map tfoot td { border-top: 0; }
  .map tr { padding: 8px 0; } .map td { padding: 3px 14px; } .map td:empty { display: none; }
  .map td.name { white-space: normal; overflow-wrap: anywhere; }
  .map td.numbers::before { content: attr(data-label); display: block; color: var(--soft); font-size: 11px; }
}
@media print { .flow, .numbers { width: auto; } }
`.trim();
