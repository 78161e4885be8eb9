// What figures lack: a bar that saves SVG, PNG with 300 dots to the inch, and their numbers. Once
// for all figures of a page; stands behind pens.js.

function table(sheet) {
  const stored = sheet.getElementsByTagName("dc:description")[0]?.textContent ?? "{}";
  const { columns = [], data = [] } = sheet.layout?.meta ?? JSON.parse(stored);
  const cell = value => (typeof value === "string" ? quoted(value) : value ?? "");
  return [columns, ...data].map(row => row.map(cell).join(",")).join("\r\n");
}

const sizes = svg => [svg.width.baseVal.value, svg.height.baseVal.value];

// The layers of plotly's figure in one element.
function layered(sheet) {
  const layers = [...sheet.querySelectorAll(".main-svg")];
  const [width, height] = sizes(layers[0]);
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
  const [width, height] = sizes(svg);
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
    const onclick = async () => save(`figure.${kind.toLowerCase()}`, await made(sheet));
    return make("button", { textContent: kind, title: `save as ${kind}`, onclick });
  });
  sheet.append(make("div", { className: "wb-tools" }, ...buttons));
}

const TAG = /^(svg|g|defs|path|use|rect|text|image|clipPath|pattern|metadata|RDF|Work|desc.+)$/;
const ODD = /^on|url\((?!#)|^href=(?!#|data:image\/png;)/i;

// Whether an SVG, which anybody's notebook may hold, is shapes and words alone.
const inert = svg => [svg, ...svg.querySelectorAll("*")].every(node =>
  TAG.test(node.localName) &&
  [...node.attributes].every(own => !ODD.test(`${own.localName}=${own.value}`)));

// JupyterLab shows an SVG as an <img>, which no rule of colours reaches.
function look() {
  document.querySelectorAll('img[src^="data:image/svg+xml"][src*="wb-figure"]').forEach(old => {
    const text = decodeURIComponent(old.src.slice(old.src.indexOf(",") + 1));
    const svg = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    if (inert(svg)) old.replaceWith(make("div", { className: "wb-sheet" }, svg));
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
