// What figures lack: SVG, PNG with 300 dots to the inch, and their numbers, from a bar that shows on
// hover and focus. Once for all figures of a page; stands behind pens.js.

const ARRAYS = {
  i1: Int8Array, i2: Int16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array,
  u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, u1c: Uint8ClampedArray,
};

// An array as plotly's Python writes it: bytes in base64, "5, 7" as its shape.
function decoded(values) {
  if (!values?.bdata) return values;
  const bytes = Uint8Array.from(atob(values.bdata), letter => letter.charCodeAt(0));
  const flat = [...new ARRAYS[values.dtype](bytes.buffer)];
  const columns = Number(String(values.shape).split(",")[1]);
  if (!columns) return flat;
  return flat.flatMap((_, i) => (i % columns ? [] : [flat.slice(i, i + columns)]));
}

const at = (values, i) => (typeof values === "string" ? values : values?.[i]);
const blank = value => value == null || Number.isNaN(value);

// x, y, z and text of a trace's points; gaps in a line are left out.
function rowsOf(trace) {
  const [x, y, z, words, hover] = ["x", "y", "z", "text", "hovertext"].map(k => decoded(trace[k]));
  const text = words ?? hover;
  if (z) {
    return Array.from(z).flatMap((line, r) => Array.from(line, (value, c) =>
      [at(x, c) ?? c, at(y, r) ?? r, value, at(at(text, r), c)]));
  }
  const rows = Array.from(x ?? y ?? [], (_, i) => [x ? x[i] : i, at(y, i), null, at(text, i)]);
  return rows.filter(row => !blank(row[0]) && !(y && blank(row[1])));
}

// Of plotly's traces, or as JSON within an SVG of the paper's.
function numbers(figure) {
  const stored = figure.querySelector("dc\\:description");
  if (stored) {
    const { columns, data } = JSON.parse(stored.textContent);
    return [columns, ...data];
  }
  return [["trace", "x", "y", "z", "text"], ...figure.data.flatMap((trace, i) =>
    rowsOf(trace).map(row => [trace.name || `trace ${i}`, ...row]))];
}

function table(figure) {
  const cell = value => (blank(value) ? "" : typeof value === "string" ? quoted(value) : value);
  return numbers(figure).map(row => row.map(cell).join(",")).join("\r\n");
}

// The figure's layers in one element, in the colours that they have without the page's styles.
function drawing(figure) {
  const layers = [...figure.querySelectorAll(".main-svg, .wb-figure")];
  const px = value => parseFloat(value) * (value.endsWith("pt") ? 4 / 3 : 1);
  const [width, height] = ["width", "height"].map(side => px(layers[0].getAttribute(side)));
  let root = layers[0];
  if (figure.data) {
    const pen = new SvgPen(width, height);
    pen.rect(0, 0, width, height, { fill: root.style.backgroundColor });
    layers.forEach(layer => pen.root.append(...layer.cloneNode(true).childNodes));
    const passing = ".hoverlayer, .zoomlayer, .draglayer, .selectionlayer";
    pen.root.querySelectorAll(passing).forEach(layer => layer.remove());
    root = pen.root;
  }
  const words = new XMLSerializer().serializeToString(root);
  return { width, height, words: words.replace(/var\([^,)]*, (#\w+)\)/g, "$1") };
}

async function png(figure) {
  const { width, height, words } = drawing(figure);
  const image = make("img", { src: `data:image/svg+xml,${encodeURIComponent(words)}` });
  await image.decode();
  const canvas = make("canvas");
  new CanvasPen(canvas, width, height, DOTS).picture(image, 0, 0, width, height, true);
  const blob = await new Promise(done => canvas.toBlob(done, "image/png"));
  return withResolution(await blob.arrayBuffer());
}

const KINDS = {
  SVG: figure => new Blob([drawing(figure).words], { type: "image/svg+xml" }),
  PNG: png,
  CSV: figure => new Blob([table(figure)], { type: "text/csv" }),
};

function equip(figure) {
  const buttons = Object.entries(KINDS).map(([kind, made]) => {
    const onclick = async () => save(`figure.${kind.toLowerCase()}`, await made(figure));
    return make("button", { textContent: kind, title: `save as ${kind}`, onclick });
  });
  figure.append(make("div", { className: "wb-tools" }, ...buttons));
}

// JupyterLab shows an SVG as an <img>, which no rule of colours reaches.
function look() {
  document.querySelectorAll('img[src^="data:image/svg+xml"][src*="wb-figure"]').forEach(image => {
    const words = decodeURIComponent(image.src.slice(image.src.indexOf(",") + 1));
    image.replaceWith(make("div", { className: "wb-sheet", innerHTML: words }));
  });
  const bare = ":is(.js-plotly-plot, .wb-sheet):not(:has(> .wb-tools))";
  document.querySelectorAll(bare).forEach(equip);
}

function render() {
  if (document.wbTools) return;
  document.wbTools = new MutationObserver(look);
  document.wbTools.observe(document, { childList: true, subtree: true });
  look();
}

export default { render };
