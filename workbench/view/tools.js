// What figures lack: SVG, PNG with 300 dots to the inch, and their numbers, from a bar that shows
// on hover and focus. Once for all figures of a page; stands behind pens.js.

function table(sheet) {
  const stored = sheet.querySelector("dc\\:description")?.textContent ?? "{}";
  const { columns = [], data = [] } = sheet.layout?.meta ?? JSON.parse(stored);
  const cell = value => (typeof value === "string" ? quoted(value) : value ?? "");
  return [columns, ...data].map(row => row.map(cell).join(",")).join("\r\n");
}

// The layers of plotly's figure in one element.
function layered(sheet) {
  const layers = [...sheet.querySelectorAll(".main-svg")];
  const [width, height] = ["width", "height"].map(side => Number(layers[0].getAttribute(side)));
  const pen = new SvgPen(width, height);
  pen.rect(0, 0, width, height, { fill: layers[0].style.backgroundColor });
  layers.forEach(layer => pen.root.append(...layer.cloneNode(true).childNodes));
  const passing = ".hoverlayer, .zoomlayer, .draglayer, .selectionlayer";
  pen.root.querySelectorAll(passing).forEach(layer => layer.remove());
  return pen.root;
}

const drawn = sheet => (sheet.layout ? layered(sheet) : sheet.querySelector("svg"));

// The figure in the colours that it has without the page's rules.
function words(svg) {
  return new XMLSerializer().serializeToString(svg).replace(/var\([^,)]*, (#\w+)\)/g, "$1");
}

async function png(sheet) {
  const svg = drawn(sheet);
  const [width, height] = ["width", "height"].map(name => {
    const side = svg.getAttribute(name);
    return parseFloat(side) * (side.endsWith("pt") ? 4 / 3 : 1);
  });
  const image = make("img", { src: `data:image/svg+xml,${encodeURIComponent(words(svg))}` });
  await image.decode();
  const canvas = make("canvas");
  new CanvasPen(canvas, width, height, DOTS).picture(image, 0, 0, width, height, true);
  const blob = await new Promise(done => canvas.toBlob(done, "image/png"));
  return withResolution(await blob.arrayBuffer());
}

const KINDS = {
  SVG: sheet => new Blob([words(drawn(sheet))], { type: "image/svg+xml" }),
  PNG: png,
  CSV: sheet => new Blob([table(sheet)], { type: "text/csv" }),
};

function equip(sheet) {
  const buttons = Object.entries(KINDS).map(([kind, made]) => {
    const name = `figure.${kind.toLowerCase()}`;
    const onclick = async () => save(name, await made(sheet));
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
  const bare = ":is(.wb-sheet, .js-plotly-plot):not(:has(> .wb-tools))";
  document.querySelectorAll(bare).forEach(equip);
}

function render() {
  if (document.wbTools) return;
  document.wbTools = new MutationObserver(look);
  document.wbTools.observe(document, { childList: true, subtree: true });
  look();
}

export default { render };
