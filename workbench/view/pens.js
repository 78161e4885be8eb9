// What the widgets draw with: elements, numbers, colours, two pens that make the same picture on a
// canvas and as SVG, and files. No module of its own: Python puts it in front of those that use it.

const SVG = "http://www.w3.org/2000/svg";
const DOTS = 300 / 96; // of a PNG, for each CSS px: 300 to the inch
const TINY = 2 ** -24; // below it a half-precision number is 0

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// --- numbers and colours -------------------------------------------------------------------------

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * TINY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function halves(bytes) {
  const numbers = new Float32Array(bytes.byteLength / 2);
  for (let i = 0; i < numbers.length; i++) numbers[i] = half(bytes.getUint16(2 * i, true));
  return numbers;
}

const clip = place => Math.max(-1, Math.min(1, place));

function mix(place, stops) {
  const along = ((place + 1) / 2) * (stops.length - 1);
  const first = Math.min(Math.floor(along), stops.length - 2);
  return stops[first].map((low, i) =>
    Math.round(low + (along - first) * (stops[first + 1][i] - low)));
}

// --- pens: the same drawing on a canvas and as SVG -----------------------------------------------

const ruler = document.createElement("canvas").getContext("2d");
const font = (size, bold) => `${bold ? "600 " : ""}${size}px system-ui, sans-serif`;

function widthOf(words, size) {
  ruler.font = font(size, false);
  return ruler.measureText(words).width;
}

class CanvasPen {
  constructor(canvas, width, height, ratio) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    this.context = canvas.getContext("2d");
    this.context.scale(ratio, ratio);
  }

  moved(x, y, draw) {
    this.context.save();
    this.context.translate(x, y);
    draw();
    this.context.restore();
  }

  rect(x, y, width, height, { fill, stroke, thick = 1 }) {
    this.context.lineWidth = thick;
    if (fill) this.context.fillStyle = fill;
    if (fill) this.context.fillRect(x, y, width, height);
    if (stroke) this.context.strokeStyle = stroke;
    if (stroke) this.context.strokeRect(x, y, width, height);
  }

  curve(from, bend, to, stroke, thick, alpha = 1) {
    const pen = this.context;
    pen.globalAlpha = alpha;
    pen.strokeStyle = stroke;
    pen.lineWidth = thick;
    pen.lineCap = "round";
    pen.beginPath();
    pen.moveTo(...from);
    pen.quadraticCurveTo(...bend, ...to);
    pen.stroke();
    pen.globalAlpha = 1;
  }

  line(points, stroke, thick = 1.5, dash = []) {
    const pen = this.context;
    pen.strokeStyle = stroke;
    pen.lineWidth = thick;
    pen.lineJoin = "round";
    pen.setLineDash(dash);
    pen.beginPath();
    points.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
    pen.stroke();
    pen.setLineDash([]);
  }

  inside(x, y, width, height, draw) {
    this.context.save();
    this.context.beginPath();
    this.context.rect(x, y, width, height);
    this.context.clip();
    draw();
    this.context.restore();
  }

  dot(x, y, radius, fill, stroke, thick = 1) {
    const pen = this.context;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fillStyle = fill;
    if (fill !== "none") pen.fill();
    pen.strokeStyle = stroke;
    pen.lineWidth = thick;
    pen.stroke();
  }

  text(x, y, words, { size = 11, align = "left", turn = 0, fill, bold = false }) {
    const pen = this.context;
    pen.save();
    pen.translate(x, y);
    pen.rotate((turn * Math.PI) / 180);
    pen.font = font(size, bold);
    pen.textAlign = align;
    pen.textBaseline = "middle";
    pen.fillStyle = fill;
    pen.fillText(words, 0, 0);
    pen.restore();
  }

  picture(source, x, y, width, height, smooth) {
    this.context.imageSmoothingEnabled = smooth;
    this.context.drawImage(source, x, y, width, height);
  }
}

class SvgPen {
  constructor(width, height) {
    this.root = document.createElementNS(SVG, "svg");
    this.root.setAttribute("xmlns", SVG);
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.root.setAttribute("width", width);
    this.root.setAttribute("height", height);
    this.into = this.root;
  }

  add(name, attributes) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    this.into.appendChild(element);
    return element;
  }

  moved(x, y, draw) {
    const outside = this.into;
    this.into = this.add("g", { transform: `translate(${x} ${y})` });
    draw();
    this.into = outside;
  }

  rect(x, y, width, height, { fill = "none", stroke = "none", thick = 1 }) {
    this.add("rect", { x, y, width, height, fill, stroke, "stroke-width": thick });
  }

  curve(from, bend, to, stroke, thick, opacity = 1) {
    const d = `M${from} Q${bend} ${to}`;
    const look = { stroke, opacity, "stroke-width": thick, "stroke-linecap": "round" };
    this.add("path", { d, fill: "none", ...look });
  }

  line(points, stroke, thick = 1.5, dash = []) {
    const look = { fill: "none", stroke, "stroke-width": thick, "stroke-linejoin": "round" };
    this.add("polyline", { points: points.join(" "), "stroke-dasharray": dash.join(" "), ...look });
  }

  inside(x, y, width, height, draw) {
    const outside = this.into;
    const id = `clip-${Math.random().toString(36).slice(2)}`;
    this.into = this.add("clipPath", { id });
    this.add("rect", { x, y, width, height });
    this.into = outside;
    this.into = this.add("g", { "clip-path": `url(#${id})` });
    draw();
    this.into = outside;
  }

  dot(cx, cy, r, fill, stroke, thick = 1) {
    this.add("circle", { cx, cy, r, fill, stroke, "stroke-width": thick });
  }

  text(x, y, words, { size = 11, align = "left", turn = 0, fill, bold = false }) {
    const anchor = { left: "start", center: "middle", right: "end" }[align];
    const look = { "font-size": size, "font-family": "system-ui, sans-serif", fill };
    const place = { transform: `translate(${x} ${y}) rotate(${turn})`, "text-anchor": anchor };
    const weight = { "font-weight": bold ? 600 : 400, dy: "0.35em" };
    this.add("text", { ...place, ...look, ...weight }).textContent = words;
  }

  picture(source, x, y, width, height, smooth) {
    const copy = document.createElement("canvas");
    copy.width = source.width;
    copy.height = source.height;
    copy.getContext("2d").drawImage(source, 0, 0);
    const style = smooth ? "" : "image-rendering: pixelated";
    const look = { preserveAspectRatio: "none", style };
    this.add("image", { x, y, width, height, href: copy.toDataURL(), ...look });
  }
}

// Points in the middle of a box, as large as it lets them be.
function pointsOf(xy, width, height) {
  const [low, high] = [Math.min, Math.max].map(end => [0, 1].map(k => end(...xy.map(p => p[k]))));
  const span = [0, 1].map(k => Math.max(high[k] - low[k], 1e-6));
  const zoom = Math.min((width - 60) / span[0], (height - 60) / span[1]);
  const middle = [width / 2, height / 2];
  return xy.map(p => [0, 1].map(k => middle[k] + (p[k] - (low[k] + high[k]) / 2) * zoom));
}

function drawArc(pen, from, to, stroke, thick) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const bend = [(from[0] + to[0]) / 2 - 0.2 * dy, (from[1] + to[1]) / 2 + 0.2 * dx];
  pen.curve(from, bend, to, stroke, thick, 0.75);
}

// --- files ---------------------------------------------------------------------------------------

function crc(bytes) {
  let rest = -1;
  for (const byte of bytes) {
    rest ^= byte;
    for (let k = 0; k < 8; k++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
  }
  return ~rest >>> 0;
}

// The bytes of a PNG with its resolution said: a pHYs chunk behind the header.
function withResolution(png) {
  const chunk = new DataView(new ArrayBuffer(21));
  chunk.setUint32(0, 9);
  [..."pHYs"].forEach((letter, i) => chunk.setUint8(4 + i, letter.charCodeAt(0)));
  chunk.setUint32(8, Math.round(300 / 0.0254));
  chunk.setUint32(12, Math.round(300 / 0.0254));
  chunk.setUint8(16, 1);
  chunk.setUint32(17, crc(new Uint8Array(chunk.buffer, 4, 13)));
  return new Blob([png.slice(0, 33), chunk.buffer, png.slice(33)], { type: "image/png" });
}

function save(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// Quoted; a spreadsheet takes what begins like a formula for text.
const quoted = words => `"${words.replace(/^[=+\-@]/, "'$&").replaceAll('"', '""')}"`;

// A menu of what a view can be taken away as. drawing(): width, height and what draws with a pen;
// table(): CSV; texts: words on a button -> what it copies.
function takeAway(name, { drawing, table, texts }) {
  const copied = make("textarea", { readOnly: true, rows: 3, hidden: true });
  const png = async () => {
    const [width, height, draw] = drawing();
    const canvas = make("canvas");
    draw(new CanvasPen(canvas, width, height, DOTS));
    const blob = await new Promise(done => canvas.toBlob(done, "image/png"));
    save(`${name}.png`, withResolution(await blob.arrayBuffer()));
  };
  const svg = () => {
    const [width, height, draw] = drawing();
    const pen = new SvgPen(width, height);
    draw(pen);
    const text = new XMLSerializer().serializeToString(pen.root);
    save(`${name}.svg`, new Blob([text], { type: "image/svg+xml" }));
  };
  const csv = () => save(`${name}.csv`, new Blob([table()], { type: "text/csv" }));
  const copy = words => {
    copied.value = texts[words]();
    copied.hidden = false;
    copied.select();
    navigator.clipboard?.writeText(copied.value).catch(() => {});
  };
  const act = (words, onclick) => make("button", { type: "button", textContent: words, onclick });
  const files = [act("PNG, 300 dpi", png), act("SVG", svg), act("CSV", csv)];
  const copies = Object.keys(texts).map(words => act(words, () => copy(words)));
  const inside = make("div", {}, ...files, ...copies, copied);
  return make("details", { className: "save" }, make("summary", { textContent: "save" }), inside);
}

// --- without a kernel ----------------------------------------------------------------------------

// An anywidget's model in a page without a kernel: what was stored, and whom to tell of changes.
function storedModel(stored) {
  const bytes = words => new DataView(Uint8Array.from(atob(words), c => c.charCodeAt(0)).buffer);
  const values = { ...stored.values, live: false };
  for (const [name, words] of Object.entries(stored.bytes)) values[name] = bytes(words);
  if (stored.attention) values.attention = storedModel(stored.attention);
  const listeners = {};
  return {
    get: name => values[name],
    set(name, value) {
      values[name] = value;
      (listeners[`change:${name}`] || []).forEach(does => does());
    },
    setBytes(name, words) {
      this.set(name, bytes(words));
    },
    save_changes() {},
    on: (event, does) => (listeners[event] ||= []).push(does),
    off: (event, does) => {
      listeners[event] = (listeners[event] || []).filter(other => other !== does);
    },
  };
}
