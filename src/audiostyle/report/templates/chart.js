const svgElement = (name, attributes, text = "") => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
};

// Draw curves, by name, over the iterations on a logarithmic scale; return whether a value is positive.
function drawChart(figure, iterations, curves, end) {
  const values = Object.values(curves).flat().filter((value) => value > 0);
  if (!values.length) return false;
  let low = Math.log10(Math.min(...values)), high = Math.log10(Math.max(...values));
  if (high - low < 0.3) { low -= 0.15; high += 0.15; }
  const y = (value) => (value > 0 ? (100 * (high - Math.log10(value))) / (high - low) : 100);
  const last = Math.max(1, iterations[iterations.length - 1]);
  const lines = [], items = [];
  Object.entries(curves).forEach(([name, curve], k) => {
    const css = `curve c${k % 9}`;
    const points = curve.map((value, j) => `${(100 * iterations[j]) / last},${y(value)}`).join(" ");
    lines.push(svgElement("polyline", { class: css, points }));
    const item = document.createElement("li"), note = document.createElement("span");
    const swatch = svgElement("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" });
    swatch.append(svgElement("line", { class: css, x1: 0, x2: 24, y1: 4, y2: 4 }));
    note.className = "note";
    note.textContent = Number(curve[curve.length - 1]).toPrecision(3);
    item.append(swatch, `${name} `, note);
    items.push(item);
  });
  const ticks = [0, 50, 100].map((at) => {
    const value = 10 ** (high - ((high - low) * at) / 100);
    const dy = at === 0 ? "0.8em" : at === 100 ? "0" : "0.35em";
    return svgElement("text", { x: "100%", y: `${at}%`, dx: -6, dy }, value < 0.001 ? value.toExponential(1) : value.toPrecision(2));
  });
  figure.querySelector(".plot").replaceChildren(...lines);
  figure.querySelector(".legend").replaceChildren(...items);
  figure.querySelector(".y-axis").replaceChildren(...ticks);
  figure.querySelector(".x-axis").replaceChildren(
    svgElement("text", { x: 0, y: 14, class: "first" }, "iteration 0"),
    svgElement("text", { x: "100%", y: 14, class: "last" }, end),
  );
  return true;
}
