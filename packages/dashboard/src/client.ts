/**
 * What the page runs: the values under the pointer. The charts are complete without it. Plain old JavaScript, as the
 * browser gets it; texts reach the page through `textContent` only.
 */
export const CLIENT = `
"use strict";
for (const source of document.querySelectorAll("script[data-chart]")) {
  const data = JSON.parse(source.textContent);
  const figure = source.parentElement;
  const svg = figure.querySelector("svg");
  const pointer = figure.querySelector(".pointer");
  const tip = figure.querySelector(".tip");
  const make = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    return element;
  };
  const line = (className, ...parts) => {
    const row = document.createElement("div");
    row.className = className;
    row.append(...parts);
    return row;
  };
  const swatch = (line) => {
    const mark = document.createElement("span");
    mark.className = "swatch b" + line.slice(1);
    return mark;
  };
  const nearest = (series, left) => {
    let best = -1, distance = Infinity;
    for (let i = 0; i < series.at.length; i++) {
      if (series.at[i] === null) continue;
      const d = Math.abs(series.at[i][0] - left);
      if (d < distance || (d === distance && data.stepped)) { best = i; distance = d; }
    }
    if (best > 0 && data.stepped && series.at[best][0] > left && series.at[best - 1]) best--;
    return best;
  };
  const hide = () => { pointer.replaceChildren(); tip.hidden = true; };
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const left = (event.clientX - box.left) * data.width / box.width;
    let anchor = null;
    const rows = [], dots = [];
    for (const series of data.series) {
      const i = nearest(series, left);
      if (i < 0) continue;
      const [x, y] = series.at[i];
      if (anchor === null || Math.abs(x - left) < Math.abs(anchor.x - left)) anchor = { x, label: series.label[i] };
      dots.push(make("circle", { cx: x, cy: y, r: 4, class: series.line }));
      const value = document.createElement("b");
      value.textContent = series.text[i];
      rows.push(line("", swatch(series.line), series.name, value));
      for (const mark of series.marks) if (Math.abs(mark.at - left) <= 4) rows.push(line("skip", mark.text));
    }
    for (const mark of data.axisMarks) if (Math.abs(mark.at - left) <= 4) rows.push(line("at", swatch(mark.line), mark.text));
    if (anchor === null) return hide();
    pointer.replaceChildren(make("line", { x1: anchor.x, x2: anchor.x, y1: data.top, y2: data.floor }), ...dots);
    tip.replaceChildren(line("x", data.xLabel + " " + anchor.label), ...rows);
    tip.hidden = false;
    const at = anchor.x * box.width / data.width;
    const onRight = at < box.width / 2;
    tip.style.left = onRight ? at + 14 + "px" : "auto";
    tip.style.right = onRight ? "auto" : box.width - at + 14 + "px";
  });
}
`.trim();
