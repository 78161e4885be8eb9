// What plotly's figures lack: SVG, PNG with 300 dots to the inch, and their numbers, from a bar
// that shows on hover and focus. Once for all figures of a page; stands behind pens.js.

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
  const parts = ["lowerfence", "q1", "median", "q3", "upperfence"].filter(part => trace[part]);
  if (parts.length) {
    return parts.flatMap(part =>
      Array.from(decoded(trace[part]), (value, i) => [at(x, i) ?? i, value, null, part]));
  }
  const rows = Array.from(x ?? y ?? [], (_, i) => [x ? x[i] : i, at(y, i), null, at(text, i)]);
  return rows.filter(row => !blank(row[0]) && !(y && blank(row[1])));
}

function table(gd) {
  const cell = value => (blank(value) ? "" : typeof value === "string" ? quoted(value) : value);
  const lines = gd.data.flatMap((trace, i) =>
    rowsOf(trace).map(row => [trace.name || `trace ${i}`, ...row].map(cell).join(",")));
  return ["trace,x,y,z,text", ...lines].join("\r\n");
}

// The figure's layers in one element, in the colours that they have without the page's styles.
function drawing(gd) {
  const layers = [...gd.querySelectorAll(".main-svg")];
  const [width, height] = ["width", "height"].map(side => Number(layers[0].getAttribute(side)));
  const pen = new SvgPen(width, height);
  pen.rect(0, 0, width, height, { fill: layers[0].style.backgroundColor });
  layers.forEach(layer => pen.root.append(...layer.cloneNode(true).childNodes));
  const passing = ".hoverlayer, .zoomlayer, .draglayer, .selectionlayer";
  pen.root.querySelectorAll(passing).forEach(layer => layer.remove());
  return { width, height, words: new XMLSerializer().serializeToString(pen.root) };
}

async function png(gd) {
  const { width, height, words } = drawing(gd);
  const image = make("img", { src: `data:image/svg+xml,${encodeURIComponent(words)}` });
  await image.decode();
  const canvas = make("canvas");
  new CanvasPen(canvas, width, height, DOTS).picture(image, 0, 0, width, height, true);
  const blob = await new Promise(done => canvas.toBlob(done, "image/png"));
  return withResolution(await blob.arrayBuffer());
}

const KINDS = {
  SVG: gd => new Blob([drawing(gd).words], { type: "image/svg+xml" }),
  PNG: png,
  CSV: gd => new Blob([table(gd)], { type: "text/csv" }),
};

function equip(gd) {
  const buttons = Object.entries(KINDS).map(([kind, made]) => {
    const onclick = async () => save(`figure.${kind.toLowerCase()}`, await made(gd));
    return make("button", { textContent: kind, title: `save as ${kind}`, onclick });
  });
  gd.append(make("div", { className: "wb-tools" }, ...buttons));
}

function render() {
  const bare = ".js-plotly-plot:not(:has(> .wb-tools))";
  const look = () => document.querySelectorAll(bare).forEach(equip);
  if (document.wbTools) return;
  document.wbTools = new MutationObserver(look);
  document.wbTools.observe(document, { childList: true, subtree: true });
  look();
}

export default { render };
