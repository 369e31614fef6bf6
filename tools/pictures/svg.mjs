/** What the pictures share: colours for light and dark, and the few shapes that they are made of. */

export const THEMES = {
  light: {
    text: "#1f2328",
    quiet: "#59636e",
    line: "#d1d9e0",
    surface: "#f6f8fa",
    low: "#bc4c00",
    lowFill: "#fff1e5",
    full: "#0969da",
    fullFill: "#ddf4ff",
    bad: "#cf222e",
    other: "#8250df",
  },
  dark: {
    text: "#e6edf3",
    quiet: "#9198a1",
    line: "#3d444d",
    surface: "#212830",
    low: "#f0883e",
    lowFill: "#3a2412",
    full: "#58a6ff",
    fullFill: "#12283f",
    bad: "#ff7b72",
    other: "#bc8cff",
  },
};

const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");

/** `<name a="b">children</name>`; numbers are rounded, so that a picture made anew is the same file. */
export function el(name, attributes, ...children) {
  const written = Object.entries(attributes)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? Math.round(value * 10) / 10 : escaped(value)}"`)
    .join("");
  return children.length === 0 ? `<${name}${written}/>` : `<${name}${written}>${children.join("")}</${name}>`;
}

export const label = (x, y, value, attributes = {}) => el("text", { x, y, ...attributes }, escaped(value));

/** A picture with its title, which is also what a screen reader says. */
export function picture({ width, height, title, about, theme, body }) {
  return (
    el(
      "svg",
      {
        xmlns: "http://www.w3.org/2000/svg",
        viewBox: `0 0 ${width} ${height}`,
        width,
        height,
        role: "img",
        "font-family": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
        "font-size": 14,
        fill: theme.text,
      },
      el("title", {}, escaped(title)),
      el("desc", {}, escaped(about)),
      ...body.map((part) => `\n${part}`),
    ) + "\n"
  );
}
