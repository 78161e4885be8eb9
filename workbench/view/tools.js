// What figures lack: SVG, PNG with 300 dots to the inch, and their numbers, from a bar that shows
// on hover and focus. Once for all figures of a page; stands behind pens.js.

function table(svg) {
  const stored = svg.querySelector("dc\\:description");
  const { columns, data } = JSON.parse(stored?.textContent ?? '{"columns": [], "data": []}');
  const cell = value => (typeof value === "string" ? quoted(value) : value ?? "");
  return [columns, ...data].map(row => row.map(cell).join(",")).join("\r\n");
}

// The figure in the colours that it has without the page's rules.
function words(svg) {
  return new XMLSerializer().serializeToString(svg).replace(/var\([^,)]*, (#\w+)\)/g, "$1");
}

async function png(svg) {
  const px = side => parseFloat(svg.getAttribute(side)) * 4 / 3; // which is in pt
  const [width, height] = [px("width"), px("height")];
  const image = make("img", { src: `data:image/svg+xml,${encodeURIComponent(words(svg))}` });
  await image.decode();
  const canvas = make("canvas");
  new CanvasPen(canvas, width, height, DOTS).picture(image, 0, 0, width, height, true);
  const blob = await new Promise(done => canvas.toBlob(done, "image/png"));
  return withResolution(await blob.arrayBuffer());
}

const KINDS = {
  SVG: svg => new Blob([words(svg)], { type: "image/svg+xml" }),
  PNG: png,
  CSV: svg => new Blob([table(svg)], { type: "text/csv" }),
};

function equip(sheet) {
  const buttons = Object.entries(KINDS).map(([kind, made]) => {
    const name = `figure.${kind.toLowerCase()}`;
    const onclick = async () => save(name, await made(sheet.querySelector("svg")));
    return make("button", { textContent: kind, title: `save as ${kind}`, onclick });
  });
  sheet.append(make("div", { className: "wb-tools" }, ...buttons));
}

// JupyterLab shows an SVG as an <img>, which no rule of colours reaches.
function look() {
  document.querySelectorAll('img[src^="data:image/svg+xml"][src*="wb-figure"]').forEach(image => {
    const svg = decodeURIComponent(image.src.slice(image.src.indexOf(",") + 1));
    image.replaceWith(make("div", { className: "wb-sheet", innerHTML: svg }));
  });
  document.querySelectorAll(".wb-sheet:not(:has(> .wb-tools))").forEach(equip);
}

function render() {
  if (document.wbTools) return;
  document.wbTools = new MutationObserver(look);
  document.wbTools.observe(document, { childList: true, subtree: true });
  look();
}

export default { render };
